"""What does conserve mode cost: a transition, and crossings of red that change nothing?"""

from __future__ import annotations

from fwcore.bench.cases import GIB, conserve_engine, pressure
from fwcore.capture import synth


def test_transitions(benchmark):
    """1 000 transitions, each by a step of the script between two packets."""
    count = 500
    chunk = synth.make("uniform", sessions=1000, packets=2 * count + 2, rate_pps=1000).part(
        0, 2 * count + 2)
    rows = pressure(count, 0.001, GIB, 15 * GIB // 2)
    engine = benchmark.pedantic(
        lambda engine: (engine.process(chunk), engine)[1],
        setup=lambda: ((conserve_engine(rows),), {}), rounds=3)
    assert len(engine.transitions) + engine.transitions.forgotten == 2 * count


def test_crossings(benchmark):
    """600 crossings of red in a million packets, green is never reached: one transition."""
    high, low = GIB * 8 * 90 // 100, GIB * 8 * 86 // 100
    packets, crossings = 1_000_000, 600
    chunk = synth.make("uniform", sessions=65_536, packets=packets).part(0, packets)
    rows = pressure(crossings, 1 / (2 * crossings + 2), high, high + (high - low))
    rows[1:] = [{**row, "add_bytes": -row["add_bytes"]} for row in rows[1:]]
    engine = benchmark.pedantic(
        lambda engine: (engine.process(chunk), engine)[1],
        setup=lambda: ((conserve_engine(rows),), {}), rounds=3)
    assert len(engine.transitions) == 1
