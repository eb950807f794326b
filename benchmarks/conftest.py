"""What the benchmarks share. Each file asks one question; ``fwcore bench`` asks them all.

    pytest benchmarks --benchmark-only              tables of 1 000 and 65 536 sessions
    pytest benchmarks --benchmark-only --large      ... and of 1 000 000

Here a case runs in one process, for looking into one thing (``--benchmark-compare``, ``-k``,
``--benchmark-cprofile``). For figures to quote use ``fwcore bench``: fresh processes, and the bare
loop in turn with each. Nothing asserts a speed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shared import PACKETS

from fwcore.bench_cases import Setup, filled_engine, uniform_file
from fwcore.engine import Engine

ROUNDS = 5
SIZES = (1000, 65_536, 1_000_000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--large", action="store_true", help="also tables of a million sessions")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "sessions" in metafunc.fixturenames:
        large = metafunc.config.getoption("--large")
        metafunc.parametrize("sessions", SIZES if large else SIZES[:2], scope="module")


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("captures")


@pytest.fixture(scope="module")
def capture(place: Path, sessions: int) -> Path:
    """The uniform workload of 60-byte frames over so many sessions, a pcap."""
    path, _ = uniform_file(Setup(str(place), PACKETS, sessions))
    return path.rename(place / f"uniform-{sessions}.pcap")


@pytest.fixture(scope="module")
def engine(sessions: int) -> Engine:
    """plain, with every session of the capture in its table."""
    return filled_engine(Setup("", PACKETS, sessions))


@pytest.fixture
def measure(benchmark: Any) -> Callable[..., Any]:
    """``measure(work, packets, prepare)``: rounds of ``work(*prepare(round))``, per packet."""

    def run(work: Callable[..., Any], packets: int, prepare: Callable[[int], Any]) -> Any:
        turn = iter(range(1 << 30))
        result = benchmark.pedantic(
            work, setup=lambda: ((prepare(next(turn)),), {}), rounds=ROUNDS)
        if benchmark.stats is not None:
            benchmark.extra_info["packets"] = packets
            benchmark.extra_info["ns_per_packet"] = benchmark.stats.stats.median * 1e9 / packets
        return result

    return run
