"""The engine as a library: sessions gone through and ended, memory and mode by hand, rules anew."""

import copy
from array import array

import numpy as np
import pytest
from frames import START, chunk, dns, web
from twin import Pair

from fwcore import (
    Chunk,
    DataError,
    Engine,
    EngineBusy,
    EngineClosed,
    FlowError,
    FrameError,
    Reason,
    Result,
    SettingsError,
    Verdict,
    flow as flows,
    load,
)
from fwcore.replay import replay

S = 10**9
PAGE = 4096


def laws_hold(engine):
    assert [name for name, holds in engine.laws().items() if not holds] == []


# --- sessions ---


@pytest.fixture
def engine():
    with Engine(max_connections=64, log=True) as made:
        made.process(chunk([dns(1), dns(2), web(3), web(3, "A"), dns(1, 5001)]))
        yield made
        laws_hold(made)


def test_an_engine_is_a_collection_of_its_sessions(engine):
    assert len(engine) == 4
    assert [int(row["created_packet"]) for row in engine] == [1, 2, 3, 5]
    assert bool(Engine(max_connections=4))


@pytest.mark.parametrize("flow, there", [
    ("10.0.0.1:5000-192.0.2.53:53/udp", True), ("192.0.2.53:53-10.0.0.1:5000/udp", True),
    (("192.0.2.53", 53, "10.0.0.2", 5000, "udp"), True), ("10.0.0.3:4000-192.0.2.1:80/tcp", True),
    (flows.parse("10.0.0.1:5001-192.0.2.53:53/udp"), True),
    ("10.0.0.1:5002-192.0.2.53:53/udp", False), (12345, False),
])
def test_a_flow_is_in_it_or_not(engine, flow, there):
    assert (flow in engine) is there


def test_each_row_names_its_session(engine):
    for row in engine.sessions():
        assert row in engine
        assert int(row["flow"]) in engine


@pytest.mark.parametrize("flow", [None, 1.5, True, -1, 1 << 64, (1, 2), b"10.0.0.1", "nonsense"])
def test_what_names_no_flow(engine, flow):
    with pytest.raises(FlowError):
        assert flow in engine
    with pytest.raises(FlowError):
        engine.end("10.0.0.1:5000-192.0.2.53:53/udp", flow)
    assert len(engine) == 4  # all or none


def test_sessions_are_ended_by_their_flow(engine):
    assert engine.end("10.0.0.1:5000-192.0.2.53:53/udp", "10.0.0.1:5000-192.0.2.53:53/udp",
                      "10.9.9.9:1-10.9.9.8:2/udp", engine.sessions()[2]) == 2
    assert engine.sessions()["created_packet"].tolist() == [2, 5]
    assert engine.counters()["sessions"]["ended"]["cleared"] == 2
    seen = engine.ended()
    assert seen["created_packet"].tolist() == [1, 3]
    engine.end(engine.sessions()[0])
    assert engine.ended(len(seen))["created_packet"].tolist() == [2]
    assert [len(rows) for rows in engine.collect_ended()] == [3]
    engine.end(engine.sessions()[0])
    assert engine.ended(3)["created_packet"].tolist() == [5]
    assert len(engine.ended(4)) == 0


def test_without_a_log_nobody_knows_who_ended():
    with pytest.raises(SettingsError, match="log=True"):
        Engine(max_connections=4).ended()


@pytest.mark.parametrize("where, created", [
    ({}, [1, 2, 3, 5]), ({"protocol": "tcp"}, [3]), ({"initiator": "10.0.0.0/31"}, [1, 5]),
    ({"host": "192.0.2.53"}, [1, 2, 5]), ({"port": [80, 5001]}, [3, 5]), ({"port": ()}, []),
    ({"state": "established"}, []), ({"state": "syn_sent", "policy": 0}, [3]),
    ({"responder": ("192.0.2.1", "2001:db8::/32")}, [3]),
    (lambda rows: rows["created_packet"] > 2, [3, 5]),
])
def test_sessions_that_are_asked_for(engine, where, created):
    assert engine.sessions(where)["created_packet"].tolist() == created
    assert engine.sessions(where, limit=1)["created_packet"].tolist() == created[:1]


@pytest.mark.parametrize("between", [0, 1, 15, 16, 100])
def test_sessions_stand_in_order_of_creation_however_far_apart(between):
    with Engine(max_connections=64, buckets=7, seed=3) as engine:
        for host in (9, 3, 20, 1, 14):
            engine.process(chunk([dns(host)] * (1 + between)))
        assert engine.sessions()["created_packet"].tolist() == [
            1 + i * (1 + between) for i in range(5)]
        assert engine.sessions()["initiator"][:, 3].tolist() == [9, 3, 20, 1, 14]


def test_the_oldest_so_many(engine):
    for limit in range(6):
        rows = engine.sessions(limit=limit)
        assert np.array_equal(rows, engine.sessions()[:limit])


@pytest.mark.parametrize("where, text", [
    ({"protocl": 6}, 'did you mean "protocol"'), ({"protocol": "tpc"}, "tpc"),
    ({"initiator": "10.0.0"}, "10.0.0"), ({"state": "open"}, "open"), ({"bytes": 5}, "function"),
])
def test_what_cannot_be_asked_for(engine, where, text):
    with pytest.raises(FlowError, match=text):
        engine.sessions(where)


def test_a_function_of_rows_may_not_call_the_engine(engine):
    with pytest.raises(EngineBusy):
        engine.sessions(lambda rows: engine.clear())


def test_a_large_table_is_cleared_as_a_whole():
    """Both ways of clearing leave the same: nobody's log, and a session at a time."""
    settings = load("fortios-7", max_connections=8192, buckets=64, ram_bytes="512MiB",
                    proxy_session_bytes=PAGE, cache_limit_bytes=PAGE, seed=1,
                    policies=[{"protocol": "tcp", "inspection": "proxy"}, {"protocol": "udp"}])
    frames = [dns(host) for host in range(4500)] + [web(1, "S", port) for port in range(1, 2000)]
    engines = [Engine(settings), Engine(settings, log=True)]
    for each in engines:
        for begin in (START, START + S):
            each.process(chunk(frames, begin))
            assert each.clear() == len(frames)
            assert len(each) == 0
            laws_hold(each)
        each.process(chunk(frames[:3], START + 2 * S))
    assert engines[0].counters() == engines[1].counters()
    assert engines[0].outcome() == engines[1].outcome()


# --- memory and mode ---


def small(**changes):
    given = {"ram_bytes": 100 * PAGE, "base_bytes": 40 * PAGE, "max_connections": 64, "buckets": 4,
             "cache_limit_bytes": 0, "session_bytes": PAGE, "seed": 1, "config_freeze": False}
    return load("fortios-7", **given | changes)


def test_pages_are_taken_and_given_as_by_a_script():
    pair = Pair(small())
    pair.take("shm", 3 * PAGE)     # before the first packet
    pair.process(chunk([dns(1), dns(2)]))
    engine = pair.engine
    assert engine.take("base", "100KiB") == 25
    pair.twin.take("base", 25 * PAGE)
    assert engine.owners() == {
        "base": 65, "sessions": 2, "shm": 3, "cache": 0, "free": 30, "used": 70}
    assert engine.give("base", 25 * PAGE) == 25
    pair.twin.give("base", 25 * PAGE)
    pair.take("base", 50 * PAGE)   # past extreme
    assert engine.mode == "extreme"
    pair.process(chunk([dns(3)], START + S))
    pair.compare()
    pair.take("base", 50 * PAGE)   # more than there is: tension, and the rest is owed
    assert engine.counters()["memory"]["script_short_pages"] > 0
    pair.advance(START + 3 * S)
    pair.give("base", 200 * PAGE)  # what is owed first
    pair.give("shm", PAGE)
    pair.process(chunk([dns(4)], START + 4 * S))
    assert engine.mode == "off"
    pair.compare()


@pytest.mark.parametrize("owner, amount", [
    ("cache", 1), ("sessions", 1), ("bas", 1), ("base", -1), ("base", "1 parsec"), ("base", 1.5),
    ("base", True), ("base", 1 << 60), (0, 1),
])
def test_what_cannot_be_taken(owner, amount):
    with Engine(small()) as engine:
        before = engine.owners()
        for deed in (engine.take, engine.give):
            with pytest.raises(SettingsError):
                deed(owner, amount)
        assert engine.owners() == before


@pytest.mark.parametrize("owner, pages", [(1, 1), (3, 1), (0, -1), (0, (1 << 50) + 1)])
def test_the_fast_path_believes_no_owner(owner, pages):
    with Engine(small()) as engine, pytest.raises(DataError):
        engine.fastpath.take(owner, pages)


@pytest.mark.parametrize("machine", ["unified", "fortios-5", "kernel+proxy"])
def test_a_mode_is_held_and_let_go(machine):
    pair = Pair(small(machine=machine, ram_bytes=1 << 30, base_bytes=0, shm_limit_bytes=1 << 28,
                      extreme_scope="all", policies=[{"inspection": "proxy"}]))
    for at, mode in enumerate(("on", "extreme", "off", "extreme", None, "on", "on", None)):
        pair.force(mode)
        pair.process(chunk([dns(at + 1)], START + at * S))
        want = mode or "off"
        assert pair.engine.mode == ("on" if want == "extreme" and machine != "unified" else want)
        pair.compare()
    kinds = [event.kind for event in pair.engine.events if event.kind.startswith("mode_")]
    assert kinds == ["mode_forced"] * 4 + ["mode_released", "mode_forced", "mode_released"]


def test_a_held_mode_is_not_left_by_memory():
    pair = Pair(small())
    pair.process(chunk([dns(1)]))
    pair.take("base", 52 * PAGE)
    assert pair.engine.mode == "on"
    pair.force("off")
    pair.process(chunk([dns(2)], START + S))
    assert pair.engine.mode == "off"
    pair.force(None)
    assert pair.engine.mode == "on"
    pair.compare()


def test_a_mode_that_nobody_can_hold():
    with pytest.raises(SettingsError, match="plain has no conserve machine"):
        Engine(max_connections=4).force("on")
    with pytest.raises(SettingsError, match="allowed: off, on, extreme"):
        Engine(small()).force("red")


# --- rules ---


def test_policies_are_replaced_and_sessions_stay():
    accept, deny = {"id": 7, "protocol": "udp"}, {"id": 8, "action": "deny"}
    inspect = {"id": 9, "protocol": "udp", "inspection": "proxy"}
    pair = Pair(small(session_bytes=100, policies=[accept, deny]))
    pair.process(chunk([dns(1), web(1)]))
    pair.configure(policies=[inspect])      # 7 is gone, its session is not
    pair.process(chunk([dns(1), dns(2), web(1)], START + S))
    pair.compare()
    assert pair.engine.sessions()["policy"].tolist() == [7, 9]
    pair.configure(policies=[deny, accept, inspect])
    pair.process(chunk([dns(1), dns(2), dns(3)], START + 2 * S))
    pair.compare()
    assert pair.engine.sessions()["policy"].tolist() == [7, 9]
    pair.configure(policies=[])             # everything passes
    pair.process(chunk([dns(4)], START + 3 * S))
    pair.compare()
    assert pair.engine.sessions()["policy"].tolist() == [7, 9, 0]
    pair.configure(policies=[accept])
    pair.clear()
    pair.process(chunk([dns(5)], START + 4 * S))
    assert pair.engine.sessions()["policy"].tolist() == [7]
    pair.compare()


def test_a_proxy_that_comes_and_goes_with_the_policies():
    """FortiOS 5 watches shared memory while a proxy runs."""
    pair = Pair(load("fortios-5", ram_bytes=1 << 20, base_bytes=0, max_connections=64,
                     sip_alg=False, shm_limit_bytes=16 * PAGE, cache_limit_bytes=0, seed=1))
    pair.process(chunk([dns(1)]))
    pair.take("shm", 15 * PAGE)
    assert pair.engine.mode == "off"
    pair.configure(policies=[{"inspection": "proxy"}])
    assert pair.engine.mode == "on"
    pair.configure(policies=[{"inspection": "none"}])
    pair.process(chunk([dns(1), dns(2)], START + S))
    pair.compare()


def test_policies_that_cannot_be():
    with Engine(max_connections=4) as engine:
        engine.process(chunk([dns(1)]))
        with pytest.raises(SettingsError):
            engine.configure(policies=[{"protocol": "carrier pigeon"}])
        fast = engine.fastpath
        for moved in (None, np.zeros(0, np.uint16), np.zeros(1, np.uint8), np.ones(1, np.uint16)):
            with pytest.raises(DataError, match="policies"):
                fast.set_policies(None, moved)
        for gone in ([1], np.zeros(1, np.int64)):
            with pytest.raises(DataError, match="gone"):
                fast.set_policies(None, np.zeros(1, np.uint16), gone)
        assert engine.sessions()["policy"].tolist() == [0]


# --- frames, one at a time and many ---


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("breath", [0, 1])
def test_frames_judged_singly_are_as_in_a_chunk(log, breath):
    """Through stops by packet, by time and by the log, and whatever the look at signals."""
    settings = small(max_connections=16, pressure=[
        {"at_s": 0.000001, "add_bytes": 50 * PAGE}, {"at_s": 1, "add_bytes": -20 * PAGE}])
    frames = [dns(1 + i % 23, 5000 + i % 7) for i in range(60)]
    times = [START + i * S // 20 for i in range(60)]
    one, all_ = Engine(settings, log=log), Engine(settings, log=log)
    one.fastpath.breath = breath or one.fastpath.breath
    outcome = all_.process(Chunk.from_frames(frames, times))
    singly = [one.judge(frame, at_ns) for frame, at_ns in zip(frames, times, strict=True)]
    assert [(int(v), int(r)) for v, r in singly] == [tuple(pair) for pair in outcome.tolist()]
    assert all(isinstance(v, Verdict) and isinstance(r, Reason) for v, r in singly)
    assert len(one.transitions) > 1
    assert one.outcome() == all_.outcome()
    if log:
        assert np.array_equal(one.ended(), all_.ended())
    laws_hold(one)


@pytest.mark.parametrize("breath", [0, 1])
def test_frames_judged_by_few_are_as_in_a_chunk(breath):
    """Through stops by packet and by time, whatever the look at signals, and what `judged` says."""
    settings = small(max_connections=16, pressure=[
        {"at_s": 0.000001, "add_bytes": 50 * PAGE}, {"at_s": 1, "add_bytes": -20 * PAGE}])
    frames = [dns(1 + i % 23, 5000 + i % 7) for i in range(60)]
    times = [START + i * S // 20 for i in range(60)]
    few, all_ = Engine(settings), Engine(settings)
    few.fastpath.breath = breath or few.fastpath.breath
    outcome = all_.process(Chunk.from_frames(frames, times)).tolist()
    found = []
    for at in range(0, 60, 7):
        found += few.process_frames(frames[at:at + 7], times[at:at + 7]).tolist()
        assert few.judged.tolist() == found[at:]
    assert found == outcome and len(few.transitions) > 1
    assert few.outcome() == all_.outcome()
    assert few.process_frames([], []).shape == (0, 2) == few.judged.shape
    laws_hold(few)


def test_an_exception_at_a_stop_says_how_many_frames_were_judged():
    settings = small(max_connections=16, pressure=[{"at_s": 1, "add_bytes": 50 * PAGE}])
    with Engine(settings) as engine:
        engine.process_frames([dns(1)], [START])

        def failing():
            raise KeyError("settled")

        engine._answer, answer = failing, engine._answer
        with pytest.raises(KeyError):
            engine.process_frames([dns(2), dns(3)], [START + 1, START + 2 * S])
        engine._answer = answer
        assert engine.judged.tolist() == [[Verdict.FORWARD, Reason.NEW]]
        assert engine.process_frames([dns(2)], [START + 3 * S])[:, 1].tolist() == [Reason.HIT]
        assert engine.mode == "on"
        laws_hold(engine)


def test_a_frame_is_whatever_has_a_buffer():
    with Engine(max_connections=8) as engine:
        for at, kind in enumerate((bytes, bytearray, memoryview,
                                   lambda frame: np.frombuffer(frame, np.uint8))):
            assert engine.judge(kind(dns(1)), at)[1] == (Reason.HIT if at else Reason.NEW)
        assert engine.judge(dns(1)[14:], 10, link=101)[1] == Reason.HIT
        engine.judge(dns(1)[:40], 11, length=1500)
        assert engine.counters()["bytes"] == 4 * len(dns(1)) + len(dns(1)) - 14 + 1500


@pytest.mark.parametrize("given", [
    ("text", 1), (5, 1), (None, 1), (dns(), -1), (dns(), 1.5), (dns(), True),
    (dns(), (1 << 62) + 1), (dns(), 1 << 64), (dns(), 1, -1), (dns(), 1, 1 << 32),
    (dns(), 1, None, 1 << 16), (np.zeros((4, 4))[:, 1], 1),
    (np.zeros(60), 1), (np.zeros(30, np.uint16), 1), (array("d", [0.0] * 8), 1),
    (np.array([dns(), None], object), 1), (memoryview(array("H", range(30))), 1),
])
@pytest.mark.parametrize("begun", [False, True])
def test_what_is_no_frame_is_not_judged(given, begun):
    with Engine(max_connections=8) as engine:
        if begun:
            engine.judge(dns(), 1)
        with pytest.raises(FrameError):
            engine.judge(*given)
        assert engine.counters()["packets"] == begun
        assert engine.judge(dns(), 0)[1] == (Reason.HIT if begun else Reason.NEW)


def test_judging_is_for_one_at_a_time():
    engine = Engine(max_connections=8)

    class Asking(list):
        def __iter__(self):
            engine.judge(dns(), 1)
            return iter([])

    with pytest.raises(EngineBusy):
        engine.process_frames(Asking(), [])
    engine.close()
    with pytest.raises(EngineClosed):
        engine.judge(dns(), 1)


def nested():
    yield dns(1)
    yield (dns(host) for host in (2, 3))
    yield [memoryview(dns(4)), [bytearray(dns(5)), (np.frombuffer(dns(6), np.uint8),)]]
    yield np.frombuffer(dns(7) + dns(8), np.uint8).reshape(2, -1)
    yield np.frombuffer(dns(9), np.uint8)[::1]


def test_frames_come_in_any_shape():
    want = [dns(host) for host in range(1, 10)]
    chunk = Chunk.from_frames(nested(), iter(range(9)), lengths=range(100, 109), link=[1] * 9)
    assert [chunk.frame(i) for i in range(9)] == want
    assert chunk.time_ns.tolist() == list(range(9))
    assert chunk.length.tolist() == list(range(100, 109))
    with Engine(max_connections=64) as engine:
        assert engine.process_frames(nested(), np.arange(9))[:, 1].tolist() == [Reason.NEW] * 9
        table = np.frombuffer(b"".join(want), np.uint8).reshape(9, -1)
        assert engine.process_frames(table, np.arange(9))[:, 1].tolist() == [Reason.HIT] * 9
        turned = np.asfortranarray(table)
        assert engine.process_frames(turned, range(9))[:, 1].tolist() == [Reason.HIT] * 9
        assert engine.process_frames(nested(), [5] * 9, link=1).shape == (9, 2)
        assert len(engine) == 9


@pytest.mark.parametrize("frames, times, more, text", [
    (b"one", [1], {}, "is one frame"), ("text", [1], {}, "give a list"),
    (5, [1], {}, "give a list"), (["text"], [1], {}, "frame 0: str"),
    ([dns(), 5], [1, 2], {}, "frame 1: int"), ([dns()], [], {}, "1 frames, 0 times"),
    ([dns()], [1, 2], {}, "more times"),
    ([dns()], np.arange(2), {}, "1 frames, 2 times"), ([dns()], np.array([-1]), {}, "time_ns -1"),
    ([dns()], [1.5], {}, "time_ns 1.5"), ([dns()], [1 << 63], {}, "time_ns"),
    ([dns()], np.array([1.0]), {}, "time_ns"), ([dns()], [True], {}, "time_ns True"),
    ([dns()], [1], {"lengths": [1 << 32]}, "length"), ([dns()], [1], {"lengths": []}, "0 lengths"),
    ([dns()], [1], {"link": -1}, "link"), ([dns()], [1], {"link": [1, 1]}, "more links"),
    ([np.zeros(4, np.uint16)], [1], {}, "2 bytes"), (np.zeros(4, np.uint8), [1], {}, "one frame"),
    ([[[[[[[[[[b""]]]]]]]]]], [1], {}, "list has no bytes"),
])
def test_frames_that_are_none(frames, times, more, text):
    with Engine(max_connections=8) as engine:
        for deed in (engine.process_frames, Chunk.from_frames):
            with pytest.raises(FrameError, match=text):
                deed(frames, times, **more)
        assert engine.counters()["packets"] == 0
        assert engine.process_frames([dns()], [1]).tolist() == [[0, 0]]


class Asked:
    """A time, or a list of one frame, that does something when it is asked for."""

    def __init__(self, deed):
        self.deed = deed

    def __index__(self):
        self.deed()
        return 1

    def __iter__(self):
        self.deed()
        return iter([dns()])


def test_lists_that_change_while_they_are_gone_through():
    with Engine(max_connections=8) as engine:
        for change, text in (("clear", "3 frames, 2 times"), ("copy", None),
                             ("pop", "3 frames, 2 times")):
            times = [0]
            times += [Asked(getattr(times, change)), 2]
            if text is None:
                assert len(engine.process_frames((dns(), dns(), dns()), times)) == 3
                continue
            with pytest.raises(FrameError, match=text):
                engine.process_frames([dns()] * 3, times)
        frames = [dns()]
        frames += [Asked(frames.clear), dns()]
        with pytest.raises(FrameError, match="2 frames, and more times"):
            engine.process_frames(frames, [1, 2, 3])
        frames = [dns()]
        frames += [Asked(lambda: frames.append(memoryview(dns(2)))), dns()]
        assert engine.process_frames(frames, (1, 2, 3, 4))[:, 1].tolist() == [
            Reason.HIT] * 3 + [Reason.NEW]
        empty = engine.process_frames(np.zeros((2, 0), np.uint8), (5, 5))
        assert empty[:, 1].tolist() == [Reason.MALFORMED] * 2
        table = np.frombuffer(dns() * 6, np.uint8).reshape(6, -1)
        assert (engine.process_frames(memoryview(table[::2]), (6,) * 3)[:, 1] == Reason.HIT).all()


def test_an_iterable_that_fails_leaves_nothing():
    def failing():
        yield dns()
        raise KeyError("mine")

    with Engine(max_connections=8) as engine:
        with pytest.raises(KeyError):
            engine.process_frames(failing(), [1, 2])
        assert engine.process_frames([], []).shape == (0, 2)
        assert len(engine.judged) == 0


def test_rows_of_a_table_are_frames_where_they_lie():
    table = np.frombuffer(dns(1) + dns(2), np.uint8).reshape(2, -1)
    chunk = Chunk.from_array(table, [1, 2], lengths=[1500, 1501])
    assert np.shares_memory(chunk.data, table)
    assert [chunk.frame(i) for i in range(2)] == [dns(1), dns(2)]
    cut = Chunk.from_array(table, np.array([1, 2]), captured=[20, 0], link=101)
    assert (cut.frame(0), cut.frame(1), cut.link.tolist()) == (dns(1)[:20], b"", [101, 101])
    with Engine(max_connections=8) as engine:
        assert engine.process(chunk)[:, 1].tolist() == [Reason.NEW] * 2
    assert len(Chunk.from_array(np.zeros((0, 60), np.uint8), [])) == 0
    for given in ((table.astype(np.int16), [1, 2]), (table[0], [1]), (table, [1]),
                  (table, [1.0, 2]), (table, [1, 2], [99, 1]), (table, [-1, 2]),
                  (table, [1, 2], None, [1, 1 << 32])):
        with pytest.raises(FrameError):
            Chunk.from_array(*given)


def test_frames_in_a_buffer_are_not_copied():
    data = bytearray(b"..." + dns(1) + dns(2))
    size = len(dns(1))
    chunk = Chunk.from_buffer(data, [3 + size, 3], np.full(2, size, np.uint32), [1, 2])
    assert np.shares_memory(chunk.data, np.frombuffer(data, np.uint8))
    assert [chunk.frame(i) for i in range(2)] == [dns(2), dns(1)]
    with Engine(max_connections=8) as engine:
        assert engine.process(chunk)[:, 1].tolist() == [Reason.NEW] * 2
    for given in ((5, [0], [1], [1]), (data, [0], [len(data) + 1], [1]),
                  (data, [1 << 62], [1], [1]), (data, [-1], [1], [1]), (data, [0, 1], [1], [1]),
                  (data, [len(data)], [1], [1])):
        with pytest.raises(FrameError):
            Chunk.from_buffer(*given)


# --- who is told ---


def told_by(engine, *kinds):
    """What each kind is told, as it comes."""
    heard = []
    for kind in kinds:
        engine.on(kind, lambda batch: heard.append((batch.kind, list(batch), batch.lost)))
    return heard


def test_what_happens_is_told_at_stops_and_at_the_end_of_a_call():
    with Engine(small(victims_max=2, max_connections=4), log=True) as engine:
        engine.process(chunk([dns(9)]))
        heard = told_by(engine, "transition", "event", "new_session", "ended", "victim")
        assert heard == []
        engine.process(chunk([dns(1), dns(2)], START + S))
        assert [(kind, len(rows), lost) for kind, rows, lost in heard] == [("new_session", 2, 0)]
        assert [int(row["created_packet"]) for row in heard[0][1]] == [2, 3]
        heard.clear()
        engine.take("base", 52 * PAGE)
        assert [(kind, [each.kind for each in rows]) for kind, rows, _ in heard] == [
            ("transition", ["conserve_entered", "extreme_entered"]),
            ("event", ["conserve_entered", "extreme_entered", "ips_fail_open_entered"])]
        heard.clear()
        engine.give("base", 52 * PAGE)
        engine.end("10.0.0.1:5000-192.0.2.53:53/udp")
        assert [kind for kind, _, _ in heard] == ["transition", "event", "ended"]
        heard.clear()
        engine.process(chunk([dns(host) for host in range(20, 40)], START + 2 * S))
        assert sum(len(rows) + lost for kind, rows, lost in heard if kind == "victim") == len(
            engine.victims()) + engine.fastpath.counters()["victims"] - 2
        assert any(lost for kind, _, lost in heard if kind == "victim")


def test_a_batch_is_told_once_and_singly_only_to_who_asks_singly():
    with Engine(max_connections=64) as engine:
        heard = told_by(engine, "new_session")
        engine.process(chunk([dns(host) for host in range(1, 30)]))
        engine.advance(START + S)
        assert [(len(rows), lost) for _, rows, lost in heard] == [(29, 0)]
        engine.judge(dns(40), START + 2 * S)
        engine.judge(dns(40), START + 2 * S)
        assert [(len(rows), lost) for _, rows, lost in heard] == [(29, 0), (1, 0)]
        engine.process_frames([dns(1)], [START + 900 * S])
        assert len(engine) == 1


def test_new_sessions_are_known_by_their_birth():
    """Also where a record was used again within a batch, and after a table of another size."""
    with Engine(max_connections=4, when_full="replace_oldest") as engine:
        heard = told_by(engine, "new_session")
        engine.process(chunk([dns(host) for host in range(1, 11)]))
        # The table was full after 4, which is a stop; of the next 6 the first 2 live no longer.
        assert [(len(rows), lost) for _, rows, lost in heard] == [(4, 0), (4, 2)]
        assert [int(row["created_packet"]) for row in heard[1][1]] == [7, 8, 9, 10]
        heard.clear()
        engine.restart(keep=True, max_connections=3)
        engine.process(chunk([dns(20)], START + S))
        assert [int(row["created_packet"]) for _, rows, _ in heard for row in rows] == [11]
        engine.clear()
        engine.process(chunk([dns(21)], START + 2 * S))
        assert [int(row["created_packet"]) for _, rows, _ in heard for row in rows] == [11, 12]
        with pytest.raises(DataError, match="note_newborn"):
            Engine(max_connections=4).fastpath.newborn_rows(1)


def test_who_listens_may_stop_and_may_fail():
    def failing(batch):
        raise KeyError(len(batch))

    with Engine(max_connections=64) as engine:
        off = engine.on("new_session", failing)
        with pytest.raises(KeyError, match="2"):
            engine.process(chunk([dns(1), dns(2)]))
        assert engine.process(chunk([dns(1)]))[:, 1].tolist() == [Reason.HIT]  # told once
        off()
        off()
        engine.process(chunk([dns(3)]))
        assert engine.fastpath.watched is False
        engine.on("new_session", lambda batch: engine.clear())
        with pytest.raises(EngineBusy, match="by this thread"):
            engine.process(chunk([dns(4)]))
        assert len(engine) == 4


def test_what_nobody_can_listen_to():
    with Engine(max_connections=4) as engine:
        with pytest.raises(SettingsError, match='did you mean "transition"'):
            engine.on("transitions", print)
        with pytest.raises(SettingsError, match="log=True"):
            engine.on("ended", print)


def test_listening_changes_nothing():
    settings = small(max_connections=16, pressure=[
        {"at_s": 0.1, "add_bytes": 50 * PAGE}, {"at_s": 1, "add_bytes": -20 * PAGE}])
    frames = [dns(1 + i % 23) for i in range(60)]
    times = [START + i * S // 20 for i in range(60)]
    one, other = Engine(settings), Engine(settings)
    heard = told_by(one, "transition", "event", "victim", "new_session")
    one.process_frames(frames, times)
    other.process_frames(frames, times)
    assert one.outcome() == other.outcome()
    assert [each for kind, rows, _ in heard for each in rows if kind == "transition"] == list(
        other.transitions)


# --- what was found ---


def test_an_engine_has_the_result_of_a_replay():
    settings = small(max_connections=16, session_bytes=100, policies=[
        {"id": 1, "protocol": "tcp", "inspection": "proxy"}, {"id": 2, "protocol": "udp"}])
    chunks = [chunk([dns(1), web(2), dns(3)]), chunk([web(2, "A"), dns(1)], START + S)]
    with Engine(settings, log="victims") as engine:
        for each in chunks:
            engine.process(each)
        other = copy.deepcopy(engine)
        found, again = engine.result(), other.result()
    replayed = replay(iter(chunks), settings)     # a generator, as it comes
    replayed.data["exposure"].pop("after", None)  # what exposed sessions did later: a replay's own
    for key, value in replayed.data.items():
        if key not in ("inputs", "speed", "settings", "trail"):     # a replay's own
            assert found.data[key] == value == again.data[key], key
    assert Result.from_json(found.to_json()).data["outcome"] == found.outcome
    assert "sessions created" in found._repr_html_()
    columns = found.columns("sessions")
    assert columns["initiator"].tolist() == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert columns["state"].tolist() == ["none", "syn_sent", "none"]
    assert columns["protocol"].tolist() == ["udp", "tcp", "udp"]
    assert columns["cause"].tolist() == ["live"] * 3
    assert columns["packets_forward"].tolist() == [2, 2, 1]


def test_tables_open_in_pandas_and_arrow():
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    with Engine(max_connections=16) as engine:
        engine.process(chunk([dns(1), web(2)]))
        result = engine.result()
    frame = result.to_pandas("sessions")
    assert frame.index.name == "time"
    assert frame.index[0] == pandas.Timestamp(START, unit="ns", tz="UTC")
    assert frame["responder"].tolist() == ["192.0.2.53", "192.0.2.1"]
    table = result.to_arrow("sessions")
    assert table.column("initiator").type == pyarrow.string()
    assert table.num_rows == 2
    assert result.to_pandas("timeline").index.name == "time"


def test_an_engine_shows_itself():
    with Engine("fortios-7", ram_bytes="512MiB", max_connections=16) as engine:
        assert "fortios-7" in engine._repr_html_()
        assert engine.result().outcome == engine.outcome()  # before the first packet too


def test_a_generator_is_gone_through_once():
    with pytest.raises(SettingsError, match="gone through once"):
        replay(iter([chunk([dns(1)])]), load(), loop=2)
    with pytest.raises(FrameError, match="bytes is no chunk"):
        replay(iter([dns(1)]), load())
    assert replay(iter([chunk([dns(host)]) for host in range(9)]), load(), limit=4)["packets"] == 4
