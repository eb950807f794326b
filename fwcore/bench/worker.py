"""One process of one benchmark: python -P -m fwcore.bench.worker NAME SETUP prints one JSON line.

``-P``: the directory one stands in, which may be a checkout without the built modules, is no
place to import fwcore from.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from fwcore.bench.cases import CASES
from fwcore.bench.turns import Setup


def pin() -> int | None:
    """Keeps this process on one core (FWCORE_BENCH_CPU, or the last it may use); which."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cpu = int(os.environ.get("FWCORE_BENCH_CPU", max(os.sched_getaffinity(0))))
    os.sched_setaffinity(0, {cpu})
    return cpu


def main(arguments: Sequence[str]) -> int:
    """NAME and the fields of a Setup as JSON; prints the Measured as JSON."""
    name, fields = arguments
    pin()
    print(json.dumps(CASES[name].measure(Setup(*json.loads(fields)))._asdict()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
