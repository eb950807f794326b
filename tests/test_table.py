"""Chains of the index: sessions come and go in every order, and the index says the same."""

import random

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

import fwcore
from fwcore._fastpath import EndCause

FRAMES = [
    bytes(Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
          / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1000 + i, dport=53))
    for i in range(64)
]


def engine_of(buckets):
    return fwcore.Engine(fwcore.load("plain", assignments=[
        "max_connections=64", f"buckets={buckets}", "when_full=refuse", "seed=1"]))


def agree(engine, live):
    """The audit's own count, and the order within buckets, against what must live."""
    audit = engine.fastpath.audit()
    assert (audit["live"], audit["index_entries"], audit["misplaced"]) == (live, live, 0)
    assert audit["host_entries_wrong"] == 0


@pytest.mark.parametrize("sessions", [8, 9, 16, 17, 64])
def test_the_youngest_of_a_chain_ends_and_then_the_oldest(sessions):
    with engine_of(1) as engine:
        engine.process_frames(FRAMES[:sessions], range(sessions))
        for place in (-1, 0, -1, 0):
            numbers, _, _ = engine.fastpath.live_sessions()
            engine.fastpath.end_sessions(numbers[[place]], int(EndCause.CLEARED))
            sessions -= 1
            agree(engine, sessions)


@pytest.mark.parametrize("buckets", [1, 2, 7])
def test_sessions_come_and_go_in_any_order(buckets):
    chance = random.Random(buckets)
    with engine_of(buckets) as engine:
        for turn in range(300):
            frames = chance.sample(FRAMES, chance.randrange(20))
            if frames:
                engine.process_frames(frames, np.full(len(frames), turn))
            numbers, _, _ = engine.fastpath.live_sessions()
            chosen = [n for n in numbers if chance.random() < chance.choice((0.05, 0.5, 1.0))]
            chance.shuffle(chosen)
            engine.fastpath.end_sessions(np.array(chosen, np.uint32), int(EndCause.CLEARED))
            agree(engine, len(numbers) - len(chosen))


def test_a_table_made_smaller_forgets_its_hosts():
    with fwcore.Engine(fwcore.load("cos-core", assignments=["max_connections=64"])) as engine:
        frames = [bytes(Ether() / IP(src=f"10.0.0.{i}", dst="10.9.0.1") / UDP(sport=9, dport=53))
                  for i in range(1, 60)]
        engine.process_frames(frames, range(len(frames)))
        engine.restart(max_connections=4)
        assert [len(part) for part in engine.fastpath.hosts()] == [0, 0, 0]
        agree(engine, 0)
