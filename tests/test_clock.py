"""What falls due between packets: ticks, owed pages, rounds of idledrop, samples; odd clocks."""

from __future__ import annotations

import resource
import signal

import numpy as np
import pytest
from frames import ethernet, ip, tcp, udp
from twin import Pair, assert_same

from fwcore.capture import Chunk
from fwcore.engine import Engine
from fwcore.settings import load

S = 10**9
PAGE = 4096
T0 = 10**18
YEARS = 54 * 365 * 86400 * S


def udp_from(host, payload=0, length=None):
    """A frame of one host, for a chunk: (frame, length on the wire)."""
    frame = ethernet(ip(f"10.0.{host >> 8}.{host & 255}", "192.0.2.1", 17, udp(host, 53, payload)))
    return frame, len(frame) if length is None else length


def largest():
    """As much payload as a frame can have: no IP length, so that what the wire says holds."""
    frame = udp_from(1)[0]
    return frame[:16] + b"\0\0" + frame[18:], 2**32 - 1


def tcp_from(host, flags="A", payload=0):
    frame = ethernet(ip(f"10.0.0.{host}", "192.0.2.1", 6, tcp(1000 + host, 80, flags, payload)))
    return frame, len(frame)


def chunk_of(*rows):
    """(ns after T0, frame, length on the wire) each."""
    times, frames, lengths = zip(*((T0 + at, *row) for at, row in rows), strict=True)
    return Chunk.from_frames(list(frames), list(times), lengths=list(lengths))


# --- ticks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sweep_s", [0.001, 0.02, 1, 7])
def test_a_clock_may_jump_over_years(sweep_s):
    frames = [udp_from(host)[0] for host in (1, 2, 3, 4, 1)]
    times = [0, 1_700_000_000 * S, 1_700_000_001 * S, 1_700_000_500 * S, 1 << 62]
    pair = Pair(load("plain", sweep_s=sweep_s, udp_s=3))
    for frame, time_ns in zip(frames, times, strict=True):
        pair.process(Chunk.from_frames([frame], [time_ns]))
        pair.compare()
    assert pair.engine.counters()["sessions"]["ended"]["expired"] == 4


@pytest.mark.parametrize("at_ns", [4 * S, 5 * S, 5 * S + 1, 179 * S])
def test_sessions_past_a_shorter_timeout_end_at_the_next_tick(at_ns):
    pair = Pair(load("plain", udp_s=180))
    pair.process(chunk_of((0, udp_from(1)), (S // 2, udp_from(2)), (at_ns, udp_from(3))))
    pair.configure(udp_s=5)
    pair.compare()
    before = pair.engine.fastpath.now_ns
    pair.process(chunk_of((at_ns + 1, tcp_from(1))))
    assert pair.engine.fastpath.now_ns >= before
    pair.process(chunk_of((at_ns + 2 * S, tcp_from(2))))
    pair.compare()
    assert pair.engine.fastpath.live == 3


@pytest.mark.parametrize("again_ns", [None, 0, S // 2, S, 3 * S - 1])
@pytest.mark.parametrize("timeout_s", [3, 2.5])
def test_a_session_ends_at_the_tick_that_its_timeout_ends_with(timeout_s, again_ns):
    """However it was armed: as it began, when its slot came up, by other settings."""
    for settings in ({"udp_s": timeout_s}, {"udp_s": 60}):
        pair = Pair(load("plain", **settings))
        pair.process(chunk_of((0, udp_from(1))))
        if again_ns is not None:
            pair.process(chunk_of((again_ns, udp_from(1))))
        pair.configure(udp_s=timeout_s)
        tick_ns = -(-int((again_ns or 0) + timeout_s * S) // S) * S
        pair.advance(T0 + tick_ns - 1)
        assert pair.engine.fastpath.live == 1
        pair.advance(T0 + tick_ns)
        assert pair.engine.fastpath.live == 0
        pair.compare()


@pytest.mark.parametrize("ahead", [
    1, 62, 63, 64, 65, 127, 4031, 4032, 4095, 4096, 4097, 64**3 - 1, 64**3, 64**3 + 63])
@pytest.mark.parametrize("begins", [0, 1, 63, 65, 4032, 4095, 64**3 - 1])
def test_a_session_ends_at_its_tick_wherever_it_stands_in_the_wheel(begins, ahead):
    """At every edge of a level, and where its slot is a whole turn off; one that begins halfway
    makes the wheel go on by then."""
    pair = Pair(load("plain", udp_s=ahead))
    half, end = begins + ahead // 2, begins + ahead
    for at, host in ((0, 9), (begins, 1), (half, 2)):
        pair.process(chunk_of((at * S, udp_from(host))))
        pair.compare()
    for at in (end * S - 1, end * S, (half + ahead) * S - 1, (half + ahead) * S):
        pair.advance(T0 + max(at, half * S))
        pair.compare()
    assert pair.engine.fastpath.live == 0


@pytest.mark.parametrize("begins", [0, 1, 50, 63, 64 * 64 - 1])
def test_within_63_ticks_a_session_waits_for_none_but_its_own(begins):
    """It is not looked at, and put elsewhere, where a turn of the wheel ends."""
    with Engine(load("plain", udp_s=63)) as engine:
        engine.process(chunk_of((0, udp_from(2)), (begins * S, udp_from(1))))
        ticks = engine.fastpath.state()[1]["wheel_ticks"].tolist()
        assert begins + 63 in ticks


# --- time without packets -----------------------------------------------------------------------


def test_what_is_due_happens_without_a_packet():
    leak = [{"at_s": 2, "owner": "base", "leak_bytes_per_s": 10 * PAGE}]
    settings = load("fortios-7", ram_bytes=100 * PAGE, base_bytes=50 * PAGE, session_bytes=PAGE,
                    max_connections=16, cache_limit_bytes=0, pressure=leak, udp_s=5)
    pair = Pair(settings)
    pair.advance(T0 - 5 * S)  # before the first packet: nothing
    pair.process(chunk_of((0, udp_from(1)), (0, udp_from(2))))
    for at in (-S, 0, 2 * S, 3 * S, 3 * S, 30 * S):
        pair.advance(T0 + at)
        pair.compare()
    rows = pair.engine.transitions.to_dicts()
    assert [(row["packet"], row["cause"], row["to"]) for row in rows] == [
        (2, "time", "on"), (2, "time", "extreme")]
    assert pair.engine.fastpath.now_ns == T0 + 30 * S
    assert pair.engine.counters()["sessions"]["ended"]["expired"] == 2
    pair.process(chunk_of((29 * S, udp_from(3))))
    pair.compare()
    assert pair.engine.counters()["time_reversed"] == 1


def test_verdicts_do_not_depend_on_advancing():
    settings = idledrop(pressure=[{"at_s": 1, "owner": "shm", "leak_bytes_per_s": 999}])
    rows = [(at, udp_from(at % 89)) for at in range(0, 30 * S, 1_700_000_000)]
    chunk = chunk_of(*rows)
    with Engine(settings) as engine, Engine(settings) as other:
        wanted = engine.process(chunk).tolist()
        for i in range(len(chunk)):
            other.advance(int(chunk.time_ns[i]) - 850_000_000)
            assert other.process(chunk.slice(i, i + 1)).tolist() == [wanted[i]]
            other.advance(int(chunk.time_ns[i]))
        assert other.counters() == engine.counters()


@pytest.mark.parametrize("time_ns", [-1, (1 << 62) + 1])
def test_time_stays_in_its_range(time_ns):
    with Engine(max_connections=16) as engine:
        engine.process(chunk_of((0, udp_from(1))))
        with pytest.raises(ValueError, match=r"not in 0\.\.2\*\*62"):
            engine.advance(time_ns)


# --- clocks that glitch -------------------------------------------------------------------------


@pytest.mark.parametrize("breath", [0, 1])
def test_a_live_clock_that_glitches_is_held(breath):
    """What is due within the step stops the loop, and the packet keeps the time it was given."""
    leak = [{"at_s": 2, "owner": "base", "leak_bytes_per_s": 10 * PAGE}]
    settings = load("fortios-7", ram_bytes=100 * PAGE, base_bytes=50 * PAGE, session_bytes=PAGE,
                    max_connections=16, cache_limit_bytes=0, pressure=leak, udp_s=2, max_step_s=4)
    pair = Pair(settings, breath=breath)
    rows = [(0, udp_from(1)), (S, udp_from(2)), (YEARS, udp_from(3)), (2 * S, udp_from(4)),
            (5 * S, udp_from(5)), (9 * S, udp_from(6)), (YEARS, udp_from(7)), (14 * S, udp_from(8))]
    pair.process(chunk_of(*rows))
    pair.compare()
    counters = pair.engine.counters()
    assert (counters["time_jumped"], counters["time_reversed"]) == (2, 1)
    assert pair.engine.fastpath.now_ns == T0 + 14 * S
    assert {row["to"] for row in pair.engine.transitions.to_dicts()} == {"on", "extreme"}


@pytest.mark.parametrize("breath", [0, 1])
def test_what_is_due_before_a_held_packet_gives_it_no_second_step(breath):
    pair = Pair(load("plain", max_step_s=1, udp_s=9, timeline_interval_s=0.3), breath=breath)
    pair.process(chunk_of((0, udp_from(1)), (YEARS, udp_from(1)), (2 * S + 1, udp_from(1))))
    pair.compare()
    assert pair.engine.fastpath.now_ns == T0 + 2 * S
    assert pair.engine.counters()["time_jumped"] == 2


def test_a_step_as_long_as_allowed_holds_nobody():
    pair = Pair(load("plain", max_step_s=4, udp_s=9))
    pair.process(chunk_of(*((4 * S * i, udp_from(i)) for i in range(9))))
    pair.configure(max_step_s=0)
    pair.process(chunk_of((YEARS, udp_from(1))))
    pair.configure(max_step_s=1)
    pair.process(chunk_of((2 * YEARS, udp_from(2))))
    pair.compare()
    assert pair.engine.counters()["time_jumped"] == 1


def test_a_step_is_held_after_a_restart_on_an_earlier_clock():
    """Found at random: the step allowed before the restart stood as the deadline after it."""
    pair = Pair(load("plain", max_step_s=0.35, timeline_interval_s=7))
    for time_ns in (1_797_843_912_986, None, 0, 1_000_001_000):
        if time_ns is None:
            pair.restart()
        else:
            pair.process(Chunk.from_frames([b""], [time_ns]))
        pair.compare()
    assert pair.engine.fastpath.now_ns == 350_000_000
    assert pair.engine.counters()["time_jumped"] == 1


@pytest.mark.parametrize("before_s", [0, 4835, 1])
def test_a_step_made_shorter_holds_the_very_next_packet(before_s):
    """Nothing else is due that would have the clock looked at."""
    pair = Pair(load("plain", max_step_s=before_s, timeline_interval_s=254_023_119))
    pair.process(chunk_of((0, udp_from(1))))
    pair.configure(max_step_s=2.5)
    pair.process(chunk_of((3 * S, udp_from(1))))
    pair.compare()
    assert pair.engine.counters()["time_jumped"] == 1
    assert pair.engine.fastpath.now_ns == T0 + 2_500_000_000


@pytest.mark.parametrize("leaks", [0, 1])  # one that leaks for so long has no memory left
def test_an_engine_outlives_a_frame_of_a_far_future(leaks):
    """After a restart the clock takes the next packet's time, and what is to come is as far off."""
    steps = [{"at_s": 5, "owner": "base", "add_bytes": 5 * PAGE},
             {"at_s": 1, "owner": "shm", "leak_bytes_per_s": 999}]
    settings = load("fortios-7", ram_bytes=100 * PAGE, base_bytes=50 * PAGE, session_bytes=PAGE,
                    max_connections=16, cache_limit_bytes=0, udp_s=2, pressure=steps[:1 + leaks])
    pair = Pair(settings)
    for turn in range(4):
        pair.process(chunk_of((0, udp_from(1)), (2 * S + turn, udp_from(2))))
        pair.process(Chunk.from_frames([udp_from(3)[0]], [1 << 62]))
        pair.restart()
        pair.process(chunk_of((3 * S, udp_from(4)), (4 * S, udp_from(5))))
        assert pair.engine.fastpath.now_ns == T0 + 4 * S
        pair.compare()
        pair.process(chunk_of((7 * S, udp_from(6))))
        assert pair.engine.counters()["sessions"]["live"] == 1 - leaks
        pair.restart()
    pair.compare()


def test_a_step_that_is_to_come_stays_as_far_off():
    """Due 2 s after the restart, wherever the clock goes on."""
    pair = Pair(load(
        "fortios-7", ram_bytes=100 * PAGE, base_bytes=50 * PAGE, session_bytes=PAGE,
        max_connections=16, cache_limit_bytes=0,
        pressure=[{"at_s": 5, "owner": "base", "add_bytes": 5 * PAGE}]))
    pair.process(chunk_of((0, udp_from(1)), (3 * S, udp_from(2))))
    pair.restart()
    for at, taken in ((S, 0), (3 * S - 1, 0), (3 * S, 5)):
        pair.process(chunk_of((at, udp_from(3))))
        assert pair.engine.fastpath.owners()[0] == 50 + taken
    pair.compare()


def test_a_frame_alone_sets_the_clock_too():
    with Engine(max_connections=16) as engine:
        for time_ns in (T0, 1 << 62):
            engine.judge(udp_from(1)[0], time_ns)
        engine.restart()
        engine.judge(udp_from(1)[0], T0 + S)
        assert engine.fastpath.now_ns == T0 + S
        assert engine.counters()["time_reversed"] == 0


def test_a_held_clock_needs_no_restart():
    with Engine(max_connections=16, max_step_s=1, udp_s=2) as engine:
        engine.process(chunk_of((0, udp_from(1)), (YEARS, udp_from(2))))
        assert engine.clear() == 2
        engine.process(chunk_of((S, udp_from(1)), (2 * S, udp_from(2)), (4 * S, udp_from(3))))
        counters = engine.counters()
        assert (counters["time_jumped"], counters["time_reversed"]) == (2, 0)
        assert engine.fastpath.now_ns == T0 + 3 * S
        assert counters["sessions"]["ended"]["expired"] == 1


# --- breath -------------------------------------------------------------------------------------


class Alarm:
    """Raises Ctrl-C in the main thread after so many seconds, whatever runs then."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __enter__(self):
        def stop(number, frame):
            raise KeyboardInterrupt

        self.before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(self, *error):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)


def interrupted_in_expiry(**settings):
    """(engine, how many had expired) of an engine whose expiry of 10 000 an exception broke off."""
    chunk = chunk_of(*((at, udp_from(at)) for at in range(10_000)))
    for turn in range(200):
        engine = Engine(max_connections=20_000, udp_s=3, seed=1, **settings)
        engine.process(chunk)
        engine.fastpath.breath = 1
        try:
            with Alarm(0.0002 * (1 + turn % 20)):
                engine.advance(T0 + 4 * S)
        except KeyboardInterrupt:
            pass
        if 0 < engine.fastpath.live < 10_000:
            return engine, 10_000 - engine.fastpath.live
        engine.close()
    raise AssertionError("no signal came within the expiry")


def test_an_expiry_that_was_broken_off_goes_on():
    engine, expired = interrupted_in_expiry()
    with engine, Engine(max_connections=20_000, udp_s=3, seed=1) as other:
        assert all(engine.laws().values())
        assert engine.counters()["sessions"]["ended"]["expired"] == expired
        other.process(chunk_of(*((at, udp_from(at)) for at in range(10_000))))
        for each in (engine, other):
            each.process(chunk_of((4 * S + 500, udp_from(1))))
        assert engine.counters() == other.counters()
        assert engine.outcome() == other.outcome()


def test_the_rest_of_an_expiry_may_end_otherwise():
    """And the next moment is whole again: its step of the script comes before its expiry."""
    step = [{"at_s": 8, "owner": "base", "add_bytes": 400 * PAGE}]
    engine, expired = interrupted_in_expiry(
        ram_bytes=1000 * PAGE, timeline_interval_s=0, pressure=step)
    with engine:
        engine.clear()
        engine.process(chunk_of((5 * S, udp_from(1)), (8 * S, udp_from(2))))
        ended = engine.counters()["sessions"]["ended"]
        assert (ended["expired"], ended["cleared"]) == (expired, 10_000 - expired)
        assert ended["tension"] == 1
        assert all(engine.laws().values())


def test_frames_that_an_exception_came_through_are_counted_in_its_note():
    """Also where it comes within an expiry among frames, between two functions of the engine."""
    chunk, notes, said = chunk_of(*((at, udp_from(at)) for at in range(10_000))), [], []
    for turn in range(200):
        with Engine(max_connections=20_000, udp_s=3, seed=1) as engine:
            engine.process(chunk)
            engine.fastpath.breath = 9_000      # most of it before the first look at signals
            try:
                with Alarm(0.00005 * (1 + turn % 20)):
                    engine.process_frames([udp_from(1)[0]] * 3, [T0 + S, T0 + 4 * S, T0 + 4 * S])
            except KeyboardInterrupt as error:
                if 0 < engine.fastpath.live < 9_999 and len(engine.judged) < 3:
                    said.append(f"fwcore: {len(engine.judged)} of the 3 packets")
                    notes.append([note[:len(said[-1])] for note in error.__notes__])
    assert said and notes == [[each] for each in said]


# --- the IPS buffer -----------------------------------------------------------------------------


def ips_pair(socket_bytes, throughput_bps):
    rules = [{"id": 1, "action": "accept", "inspection": "flow"}]
    return Pair(load("fortios-7", ips_socket_bytes=socket_bytes, policies=rules,
                     ips_throughput_bps=throughput_bps))


@pytest.mark.parametrize("how", ["configure", "restart"])
@pytest.mark.parametrize("changes", [
    {"ips_socket_bytes": 1 << 40}, {"ips_socket_bytes": 30_000}, {"ips_socket_bytes": 10},
    {"ips_throughput_bps": 0}, {"ips_throughput_bps": 1}, {"ips_throughput_bps": 1 << 40},
])
def test_a_full_ips_buffer_follows_its_settings(changes, how):
    pair = ips_pair(10_000, 8000)
    pair.process(chunk_of((0, udp_from(1, 20_000)), (1, udp_from(2)), (S, udp_from(3))))
    assert pair.engine.counters()["ips"]["full_count"] == 1
    getattr(pair, how)(**changes)
    pair.compare()
    for at in (S + 1, 2 * S, 7 * S):
        pair.process(chunk_of((at, udp_from(4 + at % 97)), (at, udp_from(1, 200))))
        pair.compare()


def test_a_wide_ips_buffer_drains_in_its_time():
    pair = ips_pair(6 << 30, 8 << 30)
    rows = [(0, largest()), (1, largest()), (4, udp_from(5))]
    pair.process(chunk_of(*rows, (2 * S, udp_from(6)), (4 * S, udp_from(7))))
    pair.compare()
    assert pair.engine.counters()["reasons"]["ips_block"] == 2


# --- rounds of idledrop and owed pages ----------------------------------------------------------


def idledrop(**changes):
    """100 pages, a page a session; base 95 from the start: the mode is on, nothing to kill."""
    return load("fortios-7", **{
        "ram_bytes": 100 * PAGE, "base_bytes": 95 * PAGE, "session_bytes": PAGE, "buckets": 4,
        "max_connections": 16, "av_failopen": "idledrop", "cache_limit_bytes": 0,
        "extreme_scope": "inspected", "midstream": "allow"} | changes)


@pytest.mark.parametrize("interval_s", [0, 1, 2, 10, 1000])
@pytest.mark.parametrize("variant", ["host", "idle"])
def test_rounds_do_not_wait_for_samples(interval_s, variant):
    settings = idledrop(timeline_interval_s=interval_s, idledrop_variant=variant,
                        idledrop_idle_s=4)
    rows = [(at, udp_from(at % 89)) for at in range(0, 30 * S, 1_700_000_000)]
    engine = assert_same(settings, [chunk_of(*rows)])
    assert engine.counters()["sessions"]["ended"]["killed"] > 5


@pytest.mark.parametrize("interval_s", [0, 1, 10])
def test_owed_pages_do_not_wait_for_samples(interval_s):
    """All RAM is owed; preallocated sessions come, and at each tick a pass takes them."""
    settings = load("plain", ram_bytes=50 * PAGE, max_connections=16, buckets=4, session_bytes=100,
                    timeline_interval_s=interval_s,
                    pressure=[{"at_s": 0, "owner": "base", "add_bytes": 100 * PAGE}])
    rows = [(at, udp_from(at % 89)) for at in range(0, 30 * S, 1_700_000_000)]
    engine = assert_same(settings, [chunk_of(*rows)])
    assert engine.counters()["memory_tension"] == len(rows) - 1


def test_rounds_go_on_after_more_samples_than_there_is_room_for():
    rows = [(at * S // 2, udp_from(1)) for at in range(2 * 4200)]  # kept alive, and sampled
    script = [{"at_s": 4199, "owner": "base", "add_bytes": 50 * PAGE}]
    late = [(4200 * S + at * 300_000_000, udp_from(7 + at)) for at in range(20)]
    settings = idledrop(base_bytes=40 * PAGE, pressure=script)
    engine = assert_same(settings, [chunk_of(*rows, *late)])
    assert len(engine.fastpath.samples()) < 4096
    assert engine.counters()["sessions"]["ended"]["killed"] > 10


def test_a_round_that_ends_nothing_is_not_repeated(monkeypatch):
    """Only sessions that are spared stand: local TCP, and one that is not idle for long enough."""
    rounds = []
    whole = Engine._idledrop_round
    monkeypatch.setattr(
        Engine, "_idledrop_round", lambda self, *given: rounds.append(given) or whole(self, *given))
    rules = [{"id": 1, "protocol": "tcp", "action": "local"}, {"id": 2, "action": "accept"}]
    settings = idledrop(policies=rules, idledrop_variant="idle", idledrop_idle_s=900,
                        udp_s=2000, tcp_s=100_000)
    pair = Pair(settings)
    pair.process(chunk_of((0, tcp_from(1)), (S, udp_from(2)), (400 * S, udp_from(2))))
    pair.process(chunk_of((2000 * S, udp_from(3)), (2500 * S, tcp_from(1))))
    pair.compare()
    assert pair.engine.counters()["sessions"]["ended"]["killed"] == 1  # at 1300 s
    assert len(rounds) <= 6
    pair.process(chunk_of((100_000 * S, tcp_from(1))))
    pair.compare()
    assert pair.engine.counters()["sessions"]["ended"]["killed"] == 2
    assert len(rounds) <= 8


@pytest.mark.parametrize("changes", [
    {"idledrop_idle_s": 3}, {"idledrop_variant": "host"}, {"av_failopen": "pass"}])
def test_a_round_follows_its_settings(changes):
    settings = idledrop(idledrop_variant="idle", idledrop_idle_s=900, config_freeze=False)
    pair = Pair(settings)
    pair.process(chunk_of((0, udp_from(1)), (S, udp_from(2)), (10 * S, udp_from(3))))
    pair.configure(**changes)
    pair.process(chunk_of((10 * S + 1, udp_from(4)), (20 * S, udp_from(5))))
    pair.compare()


# --- the timeline -------------------------------------------------------------------------------


def test_rows_asked_for_do_not_stretch_the_grid():
    with Engine(max_connections=16, timeline_interval_s=1) as engine:
        engine.process(chunk_of((0, udp_from(1))))
        for _ in range(10_000):  # as many changes within one interval
            engine.take("base", 4096)
            engine.sample()
            engine.give("base", 4096)
            engine.sample()
        engine.process(chunk_of(*((at * S, udp_from(1)) for at in range(1, 4))))
        times = engine.fastpath.samples()["time_ns"].tolist()
        assert times == sorted(times)
        assert times[-3:] == [T0 + at * S for at in (1, 2, 3)]


def test_who_looks_often_at_what_stands_still_forgets_nothing():
    """What the last row says is said: 20 000 looks at one moment left three moments of 600."""
    with Engine(max_connections=16, timeline_interval_s=1) as engine:
        engine.process(chunk_of(*((at * S, udp_from(1)) for at in range(600))))
        for _ in range(20_000):
            engine.sample()
        rows = engine.result().array("timeline")
        assert rows["time_ns"].tolist() == [T0 + at * S for at in range(600)] + [T0 + 599 * S]
        assert engine.fastpath.samples()["asked"].tolist() == [0] * 600 + [1]
        engine.take("base", 4096)
        assert len(engine.result().array("timeline")) == 602


def test_who_looks_often_at_links_that_stand_still_forgets_nothing():
    """Frames wait while they are looked at: rows of links, and those beside them, stay."""
    settings = load("plain", max_connections=16, timeline_interval_s=1,
                    links=[{"name": "w", "rate": 800}], shapings=[{"link": "w"}])
    with Engine(settings) as engine:
        engine.process(chunk_of(*((at * S, udp_from(1)) for at in range(200))))
        engine.sample()
        rows = engine.fastpath.samples()
        links = engine.fastpath.shaper.samples()
        for _ in range(5000):
            engine.sample()
        assert engine.fastpath.samples().tobytes() == rows.tobytes()
        for name, column in engine.fastpath.shaper.samples().items():
            assert column.tobytes() == links[name].tobytes(), name


def test_a_full_timeline_samples_half_as_often():
    with Engine(max_connections=16, timeline_interval_s=1) as engine:
        engine.process(chunk_of(*((at * S, udp_from(1)) for at in range(5000))))
        times = engine.fastpath.samples()["time_ns"] - T0
        assert times.tolist() == [at * S for at in range(0, 5000, 2)]


def test_halving_keeps_the_rows_of_events():
    steps = [{"at_s": at, "add_bytes": 4096} for at in (1001.25, 3000.5)]
    with Engine(max_connections=16, timeline_interval_s=1, pressure=steps) as engine:
        engine.process(chunk_of(*((at * S, udp_from(1)) for at in range(20_000))))
        rows = engine.fastpath.samples()
        asked = (rows["time_ns"][rows["asked"] == 1] - T0) / S
        assert asked.tolist() == [1001.25, 3000.5]
        grid = np.diff((rows["time_ns"][rows["asked"] == 0] - T0) // S)
        assert set(grid.tolist()) <= {4, 8} and len(rows) <= 4096


def test_a_pressure_step_has_a_sample_at_its_moment():
    step = [{"at_s": 1.25, "add_bytes": 1 << 20}, {"at_s": 3.75, "add_bytes": -(1 << 20)}]
    settings = load("fortios-7", ram_bytes=1 << 26, timeline_interval_s=1, pressure=step)
    with Engine(settings) as engine:
        engine.process(chunk_of(*((at * S, udp_from(1)) for at in range(6))))
        rows = engine.fastpath.samples()
        seconds, base = (rows["time_ns"] - T0) / S, rows["pages"][:, 0].astype(np.int64)
        moved = seconds[1:][np.diff(base) != 0]
        assert moved.tolist() == [1.25, 3.75]


@pytest.mark.parametrize(("duration_s", "apart_s", "rows"), [
    (0.2, 0.001, (200, 210)), (2, 0.008, (500, 750)), (300, 0.128, (2000, 3000))])
def test_an_automatic_timeline_is_fine_for_short_captures(duration_s, apart_s, rows):
    with Engine(max_connections=16, timeline_interval_s="auto") as engine:
        step = duration_s * S // 3000
        engine.process(chunk_of(*((int(at * step), udp_from(1)) for at in range(3001))))
        times = engine.fastpath.samples()["time_ns"]
        assert rows[0] <= len(times) <= rows[1]
        assert np.diff(times).max() <= max(2 * step, apart_s * S)


# --- figures as wide as their settings ----------------------------------------------------------


def test_an_object_may_be_as_large_as_its_limit():
    rules = [{"id": 1, "action": "accept", "inspection": "proxy"}]
    settings = load("fortios-7", ram_bytes=1 << 44, oversize_bytes=1 << 40, policies=rules)
    pair = Pair(settings)
    pair.process(chunk_of(*((at, largest()) for at in range(300))))
    pair.compare()
    assert pair.engine.counters()["proxy"]["objects_oversize"] == 1
    pair.process(chunk_of((500 * S, tcp_from(1))))  # the session is over, its pages are given back
    pair.compare()


def test_a_table_that_cannot_be_had_leaves_the_old_one(monkeypatch):
    """The memory is refused after the settings were found good: nothing has changed."""
    with Engine(load("cos-core", max_connections=64, ram_bytes=1 << 40)) as engine:
        engine.process(chunk_of((0, udp_from(1))))
        monkeypatch.setattr("fwcore.engine.check_room", lambda config: None)
        monkeypatch.setattr(Engine, "_check_pages", lambda *_: None)
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, limits[1]))
        try:
            with pytest.raises(MemoryError):
                engine.restart(max_connections=100_000_000)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
        engine.process(chunk_of((S, udp_from(2)), (500 * S, udp_from(3))))
        assert engine.fastpath.max_connections == 64
        assert engine.counters()["sessions"]["created"] == 3
