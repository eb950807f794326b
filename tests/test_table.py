"""Chains of the index: sessions come and go in every order, and the index says the same."""

import random
import subprocess
import sys
from collections import Counter
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest
from frames import ethernet, ip, udp

import fwcore
from fwcore._layout import EndCause
from fwcore.counters import address_text
from fwcore.engine_control import by_host

FRAMES = [ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(1000 + i, 53))) for i in range(64)]


def engine_of(buckets):
    return fwcore.Engine(fwcore.load("plain", assignments=[
        "max_connections=64", f"buckets={buckets}", "when_full=refuse", "seed=1"]))


def agree(engine, live):
    """The audit's own count, and the order within buckets, against what must live."""
    audit = engine.fastpath.audit()
    assert (audit["live"], audit["index_entries"], audit["misplaced"]) == (live, live, 0)
    assert audit["host_entries_wrong"] == audit["lines_wrong"] == 0


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
            if turn % 50 == 49:     # overflow lines are as none was ever used
                engine.clear()
                agree(engine, 0)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_an_engine_takes_less_than_184_bytes_a_connection():
    """All of it, in memory that is really there, when it is made."""
    program = """
from fwcore import Engine
from fwcore.bench.cases import resident_bytes
Engine(max_connections=1000).close()
before = resident_bytes()
engine = Engine(max_connections=1_000_000)
print(resident_bytes() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 170 < int(done.stdout) / 1_000_000 < 184


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc")
@pytest.mark.parametrize("threads", ["may start", "cannot start"])
def test_who_touches_memory_is_gone_when_an_engine_is_made(threads):
    program = """
import os, resource, sys
from fwcore import Engine
engine = Engine(max_connections=1000)   # has read what another user may not
before = len(os.listdir("/proc/self/task"))
if sys.argv[1] == "cannot start":
    if os.getuid() == 0:        # for whom the limit is none
        os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
engine.restart(max_connections=600_000)
print(len(os.listdir("/proc/self/task")) - before, engine.fastpath.audit()["live"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, threads], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0"]


def test_a_table_made_smaller_forgets_its_hosts():
    with fwcore.Engine(fwcore.load("cos-core", assignments=["max_connections=64"])) as engine:
        frames = [ethernet(ip(f"10.0.0.{i}", "10.9.0.1", 17, udp(9, 53))) for i in range(1, 60)]
        engine.process_frames(frames, range(len(frames)))
        engine.restart(max_connections=4)
        assert len(engine.fastpath.hosts()) == 0
        agree(engine, 0)


# --- looking in -----------------------------------------------------------------------------------


def crowd(sources, seed=1):
    """An engine with one UDP session for each (source, port), made in this order."""
    engine = fwcore.Engine(fwcore.load("plain", max_connections=512, buckets=9, seed=seed))
    frames = [ethernet(ip(source, "2001:db8::99" if ":" in source else "192.0.2.1", 17,
                          udp(port, 53))) for source, port in sources]
    engine.process_frames(frames, range(len(frames)))
    return engine


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [False, True])
def test_hosts_are_ranked_as_a_plain_sort_ranks_them(seed, ties):
    chance = random.Random(seed)
    hosts = [f"10.{chance.randrange(256)}.0.{i}" for i in range(60)] + [
        "::a00:1", "10.0.0.1", *(f"2001:db8::{1 + i:x}:{1 + i % 7}" for i in range(40))]
    chance.shuffle(hosts)
    sources = [(host, port) for host in hosts
               for port in range(1, 2 if ties else chance.randrange(2, 6))]
    chance.shuffle(sources)
    with crowd(sources, seed) as engine:
        counted = Counter(host for host, _ in sources)
        wanted = sorted(counted, key=lambda host: (
            -counted[host], int(ip_address(host)), ip_address(host).version))
        for count in (0, 1, 2, 10, len(wanted), 1000):
            assert engine.top_hosts(count) == [
                {"host": host, "sessions": counted[host]} for host in wanted[:count]]
        assert engine.fastpath.hosts()["live"].tolist() == [counted[host] for host in wanted]
        assert engine.top_hosts(-1) == []


def test_sessions_stand_in_order_of_creation_whatever_came_and_went():
    chance = random.Random(3)
    sources = [(f"10.0.{i % 7}.{i % 50}", 1000 + i) for i in range(300)]
    with crowd(sources) as engine:
        for _ in range(4):
            numbers, _, _ = engine.fastpath.live_sessions()
            gone = chance.sample(numbers.tolist(), 60)
            engine.fastpath.end_sessions(np.array(gone, np.uint32), int(EndCause.CLEARED))
            frames = [ethernet(ip(host, "192.0.2.1", 17, udp(port, 53))) for host, port in
                      chance.sample(sources, 80)]
            engine.process_frames(frames, range(1000, 1080))
        numbers, rows, _ = engine.fastpath.live_sessions()
        made = rows["created_packet"].tolist()
        assert made == sorted(set(made))
        assert len(set(numbers.tolist())) == len(made) == engine.fastpath.live
        for row in rows:
            host, port = str(ip_address(bytes(row["initiator"][:4]))), int(row["initiator_port"])
            assert engine.lookup(host, port, "192.0.2.1", 53, "udp") == row


def test_sessions_by_host_most_sessions_first_and_no_spared_one():
    sources = [("10.0.0.2", 1), ("2001:db8::1", 1), ("10.0.0.1", 1), ("10.0.0.2", 2),
               ("10.0.0.1", 2), ("10.0.0.3", 1), ("10.0.0.4", 1), ("10.0.0.4", 2)]
    with crowd(sources) as engine:
        numbers, rows, _ = engine.fastpath.live_sessions()
        mortal = np.array([1, 1, 1, 0, 1, 1, 0, 0], bool)
        found = [(address_text(*host), rows["created_packet"][np.isin(numbers, records)].tolist())
                 for host, records in by_host(rows, numbers, mortal)]
        assert found == [("10.0.0.1", [3, 5]), ("10.0.0.2", [1]), ("10.0.0.3", [6]),
                         ("2001:db8::1", [2])]
        assert list(by_host(rows[:0], numbers[:0], mortal[:0])) == []
