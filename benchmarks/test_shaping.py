"""What do meters and links cost a packet, over the same run without them?"""

from __future__ import annotations

from pathlib import Path

import pytest

from fwcore.bench.cases import CASES
from fwcore.bench.shaping import SHAPED


@pytest.mark.parametrize("name", [row[0] for row in SHAPED])
def test_shaping(benchmark, tmp_path: Path, name):
    """The case as ``fwcore bench`` runs it, in this process; its own figure is in extra_info."""
    case = CASES[name]
    setup = case.setup(str(tmp_path), quick=True)
    measured = benchmark.pedantic(case.measure, args=(setup,), rounds=1)
    benchmark.extra_info["ns_per_packet_more"] = measured.value
    benchmark.extra_info.update(measured.detail)
    assert measured.packets > 0
