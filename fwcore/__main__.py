"""``fwcore`` and ``python -m fwcore``: the command line, from its first moment to its last.

What a command needs takes up to half a second to import. A signal meanwhile ends it at once, with
one line and its documented exit code: out of an import an exception would be a traceback.
"""

import atexit
import os
import sys

from fwcore.interruption import Taken, end_at_once

__all__ = ["main"]


def main() -> int:
    """Runs the command that was typed; the exit code. => the process ends with it."""
    # NumPy's BLAS, of which nothing here is used, has threads that turn on the spot for 0.1 s: on
    # the core where captures are read.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signals = Taken(end_at_once).__enter__()
    atexit.register(signals.ignore)     # threads have ended: the exit code is no signal's any more
    from fwcore.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
