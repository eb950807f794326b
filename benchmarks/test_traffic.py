"""Does other traffic cost more than 60-byte IPv4 frames: IPv6, mix, ten thousand a second?"""

from __future__ import annotations

from pathlib import Path

import pytest

from fwcore.bench.cases import CASES


@pytest.mark.parametrize("name", ["everything-65536", "ipv6-1000", "mix-1000", "slow-1000"])
def test_traffic(benchmark, tmp_path: Path, name):
    """The case as ``fwcore bench`` runs it, in this process; its own figure is in extra_info."""
    case = CASES[name]
    setup = case.setup(str(tmp_path), quick=True)
    measured = benchmark.pedantic(case.measure, args=(setup,), rounds=1)
    benchmark.extra_info["ns_per_packet"] = measured.value
    benchmark.extra_info["bare_ns"] = measured.bare_ns
    assert measured.packets > 0
