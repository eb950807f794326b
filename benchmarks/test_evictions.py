"""What does a new session cost in a full table, where another one has to go for it?"""

from __future__ import annotations

import pytest
from shared import PACKETS

from fwcore.bench.traffic import Openings
from fwcore.engine import Engine
from fwcore.settings import load


@pytest.mark.parametrize("when_full", ["bucket", "replace_oldest", "tension"])
def test_eviction(measure, when_full, sessions):
    packets = PACKETS // 4
    everyone = Openings(sessions=1 << 24, packets=1 << 24)
    engine = Engine(load("plain", seed=1, max_connections=sessions, when_full=when_full))
    engine.process(everyone.part(0, sessions))

    def prepare(turn):
        first = sessions + turn * packets
        return everyone.part(first, first + packets)

    measure(engine.process, packets, prepare)
    assert engine.fastpath.counters()["victims"] >= packets
