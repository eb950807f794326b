"""What does a new session cost, under how many policies?"""

from __future__ import annotations

import pytest
from shared import PACKETS

from fwcore.bench.cases import WIDE
from fwcore.bench.traffic import MixOpenings, OfficeOpenings, office_policies
from fwcore.capture import CHUNK_SIZE, synth
from fwcore.engine import Engine
from fwcore.settings import load


@pytest.mark.parametrize("opening, policies", [
    (MixOpenings, synth.MIX_POLICIES), (OfficeOpenings, office_policies(1000)),
], ids=["8-policies", "1000-policies"])
def test_set_up(measure, opening, policies):
    packets = PACKETS // 2
    workload = opening(sessions=packets, packets=packets)
    chunks = list(workload.chunks(CHUNK_SIZE))
    engine = Engine(load("plain", seed=1, max_connections=packets, **WIDE), policies=policies)

    def prepare(_turn):
        engine.clear()
        return chunks

    def set_up(chunks):
        for chunk in chunks:
            engine.process(chunk)

    measure(set_up, packets, prepare)
    assert engine.fastpath.live == packets
