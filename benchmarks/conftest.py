"""What the benchmarks share. Each file asks one question; ``fwcore bench`` asks them all.

    pytest benchmarks --benchmark-only              tables of 1 000 and 65 536 sessions
    pytest benchmarks --benchmark-only --large      ... and of 1 000 000

Here a case runs in one process, for looking into one thing (``--benchmark-compare``, ``-k``,
``--benchmark-cprofile``); groups are questions, and extra_info has the ratio to the bare loop,
which runs before each round. For figures to quote, and to guard, use ``fwcore bench``: fresh
processes, a spread, and what is red measured again. Nothing asserts a speed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shared import PACKETS

from fwcore.bench.cases import filled_engine, uniform_file
from fwcore.bench.turns import Setup, bare_loop, bare_time, mapped
from fwcore.engine import Engine

ROUNDS = 9
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


@pytest.fixture(scope="session")
def yardstick(place: Path) -> Callable[[], float]:
    """Nanoseconds a packet of the bare loop, over 65 536 sessions, as of now."""
    path, packets = uniform_file(Setup(str(place), PACKETS, 65_536))
    bare = bare_loop(path.rename(place / "yardstick.pcap"), 65_536)

    def run() -> float:
        bare.rewind(mapped(place / "yardstick.pcap"))
        return bare_time(bare, packets) / packets

    return run


@pytest.fixture
def measure(
    request: pytest.FixtureRequest, benchmark: Any, yardstick: Callable[[], float],
) -> Callable[..., Any]:
    """``measure(work, packets, prepare)``: rounds of ``work(*prepare(round))``, per packet."""

    def run(work: Callable[..., Any], packets: int, prepare: Callable[[int], Any]) -> Any:
        turn = iter(range(1 << 30))
        bare: list[float] = []

        def before() -> tuple[tuple[Any], dict[str, Any]]:
            prepared = prepare(next(turn))
            bare.append(yardstick())
            return (prepared,), {}

        benchmark.group = request.node.originalname.removeprefix("test_")
        result = benchmark.pedantic(work, setup=before, rounds=ROUNDS)
        if benchmark.stats is not None:
            each_ns = benchmark.stats.stats.median * 1e9 / packets
            benchmark.extra_info["packets"] = packets
            benchmark.extra_info["ns_per_packet"] = each_ns
            benchmark.extra_info["ratio_to_bare"] = statistics.median(bare) / each_ns
        return result

    return run
