"""The cases of ``fwcore bench`` under pytest-benchmark, each once, for looking into one of them.

    make bench                                          all, small
    make bench BENCHMARKS="benchmarks -k evict"         some
    pytest benchmarks --benchmark-enable --large        all, in their own sizes

A case is written in ``fwcore.bench.cases`` alone, and says itself what it took: the time shown
here is its nanoseconds a packet (a set-up, a pass, ...; 0 where its figure is no time), as
``--benchmark-compare`` holds them against an earlier run's, and extra_info has its figure in its
own unit and its ratio to the bare loop. All run in one process (``--benchmark-cprofile`` works):
for figures to quote, and to guard, use ``fwcore bench``, which has a fresh process a run, a spread,
and what is red measured again.
Nothing asserts a speed; each case asserts that its work was done.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from fwcore.bench.cases import Case
from fwcore.bench.turns import Measured


class Figures:
    """The clock that pytest-benchmark reads before and after a case: it moves by what the case
    says, so that captures and tables are not in it."""

    __name__ = "what the case measured"
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


FIGURES = Figures()


@pytest.mark.benchmark(timer=FIGURES)
def test_case(benchmark: Any, tmp_path: Path, case: Case, quick: bool) -> None:
    setup = case.setup(str(tmp_path), quick)

    def run() -> Measured:
        measured = case.measure(setup)
        FIGURES.now_s += (measured.each_ns or 0) / 1e9
        return measured

    benchmark.group = case.name.partition("-")[0]
    measured = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info.update(
        {"question": case.question, case.unit: measured.value, "bare_ns": measured.bare_ns,
         "ratio": measured.ratio, **measured.detail})
    assert math.isfinite(measured.value)
