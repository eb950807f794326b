"""Leaks: many pages between two packets are taken together, and it is as if one by one."""

from __future__ import annotations

import signal

import pytest
from frames import ethernet, ip, tcp, udp
from hypothesis import example, given, strategies as st
from twin import Pair

from fwcore.capture import Chunk
from fwcore.engine import Engine
from fwcore.settings import load

S = 10**9
PAGE = 4096
T0 = 10**18


def chunk_of(*times_ns):
    frames = [ethernet(ip(f"10.0.0.{at % 9 + 1}", "192.0.2.1", 17, udp(1000, 53, 40)))
              for at in range(len(times_ns))]
    return Chunk.from_frames(frames, [T0 + at for at in times_ns])


@pytest.fixture
def in_time():
    """A test that takes more than five seconds fails, and does not hang."""
    def fail(*_):
        raise AssertionError("five seconds are over")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, 5)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_step_comes_before_a_leak_of_its_moment():
    """One page is free when both are due: base has it, shm is short of its own."""
    pair = Pair(load(
        "fortios-7", ram_bytes=100 * PAGE, base_bytes=99 * PAGE, session_bytes=PAGE,
        max_connections=9, cache_limit_bytes=0,
        pressure=[{"at_s": 1, "owner": "base", "add_bytes": PAGE},
                  {"owner": "shm", "leak_bytes_per_s": PAGE}]))
    pair.process(chunk_of(0, S))
    base, _, shm, *_ = pair.engine.fastpath.owners()
    assert (base, shm) == (100, 0)
    pair.compare()


@pytest.mark.parametrize("rate", [10**12, 2**50, 3])
def test_no_leak_takes_long(in_time, rate):
    """Each page at its nanosecond, red and extreme with the first that reaches them; all RAM."""
    total = 2**38
    settings = load("fortios-7", ram_bytes=total * PAGE, base_bytes=0, max_connections=9,
                    cache_limit_bytes=0, pressure=[{"leak_bytes_per_s": rate}])

    def due_ns(page):
        return -(-page * PAGE * S // rate)

    with Engine(settings) as engine:
        engine.process(chunk_of(0))
        end_ns = min(due_ns(total), 2**61) + S
        for at_ns in sorted((1, S, end_ns // 3, end_ns)):
            engine.advance(T0 + at_ns)
            leaked = min(at_ns * rate // (PAGE * S), total)
            assert engine.counters()["memory"]["now"]["base"] in (leaked, total - 1)
        rows = [(row["time_ns"] - T0, row["to"]) for row in engine.transitions.to_dicts()]
    levels = {"on": total * 88 // 100, "extreme": total * 95 // 100}
    crossed = [(due_ns(level - (due_ns(level) < 180 * S)), mode)    # the session's page, as long
               for mode, level in levels.items()]                   # as it lives
    assert rows == [row for row in crossed if row[0] <= end_ns]


pages = st.integers(1, 400)
leaks = st.lists(st.fixed_dictionaries({
    "at_s": st.sampled_from([0, 0, 0.5, 1.7]), "owner": st.sampled_from(["base", "shm"]),
    "leak_bytes_per_s": st.integers(1, 900 * PAGE)}), min_size=1, max_size=3)
others = st.lists(st.one_of(
    st.fixed_dictionaries({"fail_every": st.integers(1, 60)}),
    st.fixed_dictionaries({"fail_nth": st.integers(1, 300)}),
    st.fixed_dictionaries({
        "at_s": st.sampled_from([0.2, 1, 2.5]), "owner": st.sampled_from(["base", "shm"]),
        "add_bytes": st.integers(-300, 300).filter(bool).map(lambda count: count * PAGE)}),
), max_size=3)


def test_what_a_packet_gives_back_is_asked_for_at_the_next_tick():
    """An object that cannot grow is let go. Its session is spared by the pass, so that nothing else
    would bring a tick."""
    data = ethernet(ip("10.0.0.1", "10.0.0.254", 6, tcp(4000, 22, "A", 9000)))
    pair = Pair(load(
        "plain", ram_bytes=74 * PAGE, base_bytes=36 * PAGE, accounting="slab",
        timeline_interval_s=10**9, pressure=[{"at_s": 2.5, "add_bytes": 60 * PAGE}],
        policies=[{"id": 1, "action": "local", "inspection": "flow+proxy"}]))
    for frame, at_s, free in ((data, 0, 30), (data, 304, 3), (b"", 316, 0)):
        pair.process(Chunk.from_frames([frame], [T0 + at_s * S + S // 9]))
        assert pair.engine.owners()["free"] == free
    pair.compare()


@pytest.mark.parametrize("owner", ["base", "shm"])
def test_what_nobody_could_give_is_not_asked_for_at_each_tick(in_time, owner):
    """All RAM is taken, and who lives is spared by the pass: that is so for years of ticks."""
    syn = ethernet(ip("10.0.0.1", "10.0.0.254", 6, tcp(4000, 22, "S")))
    pair = Pair(load(
        "plain", ram_bytes=100 * PAGE, base_bytes=0, session_bytes=PAGE, max_connections=9,
        buckets=1 << 16, accounting="slab", cache_limit_bytes=0, tcp_halfopen_s=2**31,
        policies=[{"id": 1, "action": "local"}],
        pressure=[{"owner": owner, "leak_bytes_per_s": PAGE}]))
    pair.process(Chunk.from_frames([syn], [T0]))
    for at_s in (60, 10**9):
        pair.advance(T0 + at_s * S)
        pair.compare()
    memory = pair.engine.counters()["memory"]
    assert (len(pair.engine), pair.engine.owners()["free"]) == (1, 0)
    assert memory["page_requests"] < 200 and memory["page_failures"] == 1
    pair.advance(T0 + (2**31 + 1) * S)      # it ended, and its page is what was asked for
    pair.compare()
    assert (len(pair.engine), pair.engine.owners()[owner]) == (0, 100)


@given(
    personality=st.sampled_from(["fortios-7", "fortios-5", "fortios-4", "plain"]),
    leaks=leaks, others=others, ram=st.integers(300, 1200), cache=st.integers(0, 100),
    steps=st.lists(st.sampled_from([1, S // 100, S // 3, S, 3 * S]), min_size=1, max_size=12),
    interval=st.sampled_from([0, 0.3, 10]), breath=st.sampled_from([0, 1]))
@example("fortios-5", [{"owner": "shm", "leak_bytes_per_s": 7 * PAGE}] * 2, [{"fail_every": 5}],
         400, 50, [S, 3 * S, 3 * S], 0.3, 1)
@example("fortios-5", [{"owner": "shm", "leak_bytes_per_s": 7 * PAGE}] * 2, [], 400, 50,
         [7 * S], 0, 0)
def test_together_they_leave_what_one_by_one_would(
        personality, leaks, others, ram, cache, steps, interval, breath):
    settings = load(personality, ram_bytes=ram * PAGE, base_bytes=ram // 3 * PAGE,
                    model_bytes=2**30, max_connections=8, session_bytes=PAGE,
                    cache_limit_bytes=cache * PAGE, timeline_interval_s=interval,
                    udp_s=2, pressure=leaks + others)
    pair = Pair(settings, breath=breath)
    now = 0
    for step in steps:
        pair.process(chunk_of(now, now + step // 2))
        now += step
        pair.engine.advance(T0 + now)
        pair.twin.advance(T0 + now)
        pair.compare()
