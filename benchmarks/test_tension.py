"""How long does the oldest session of every bucket take to go?"""

from __future__ import annotations

from fwcore.bench.traffic import Openings
from fwcore.engine import Engine
from fwcore.settings import load


def test_tension_pass(measure, sessions):
    """A full table, four sessions a bucket; one packet calls for the pass."""
    everyone = Openings(sessions=1 << 24, packets=1 << 24)
    engine = Engine(load("plain", seed=1, max_connections=sessions, buckets=-(-sessions // 4),
                         when_full="tension"))
    position = 0

    def prepare(_turn):
        nonlocal position
        holes = sessions - engine.fastpath.live
        engine.process(everyone.part(position, position + holes))
        position += holes + 1
        return everyone.part(position - 1, position)

    measure(engine.process, sessions // 4, prepare)
    assert engine.fastpath.counters()["passes"] >= 1
