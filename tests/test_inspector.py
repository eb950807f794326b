"""Sessions whose first bytes somebody else looks at: the engine's inspector, against the twin's."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
from examples import SHARE
from frames import START, chunk, ethernet, ip, tcp, udp
from hypothesis import given, settings as hypothesis_settings, strategies as st
from test_twin import HYPOTHESIS, PAGE, groups, memory_settings, table_settings
from twin import Pair

from fwcore import (
    Answer,
    Chunk,
    DataError,
    Engine,
    EngineBusy,
    Reason,
    SettingsError,
    StateError,
    Verdict,
    load,
)

S = 10**9
POLICY = {"id": 7, "inspection": "proxy"}
FORWARD = (Verdict.FORWARD, Reason.HIT)
SEEN = (Verdict.INSPECT, Reason.HIT)
BLOCKED = (Verdict.DROP, Reason.INSPECTOR_BLOCK)
BYPASSED = (Verdict.BYPASS, Reason.BYPASS_INSPECTOR)


def said(data=b"", host=1, flags="PA", reply=False, port=4000, vlan=()):
    """A segment with these bytes."""
    ends, ports = (f"10.0.0.{host}", "192.0.2.1"), (port, 80)
    if reply:
        ends, ports = ends[::-1], ports[::-1]
    return ethernet(ip(*ends, 6, tcp(*ports, flags) + data), *vlan)


def opened(host=1, port=4000):
    return [said(b"", host, "S", port=port), said(b"", host, "SA", True, port),
            said(b"", host, "A", port=port)]


class Listener:
    """An inspector that remembers: what has "evil" in it is blocked, what has "by" bypassed."""

    def __init__(self, fail=0):
        self.rows, self.calls, self.fail = [], 0, fail

    def __call__(self, rows):
        if self.fail:
            self.fail -= 1
            raise KeyError("no model")
        self.calls += 1
        shown = [row["payload"].tobytes() for row in rows]
        self.rows += [(int(row["packet"]), bool(row["reply"]), bytes(row["payload"][:row["size"]]),
                       int(row["seen"])) for row in rows]
        return [Answer.BLOCK if b"evil" in each else Answer.BYPASS if b"by" in each
                else Answer.ACCEPT for each in shown]


def engine_with(listener, first_bytes=8, **settings):
    engine = Engine(**{"policies": [POLICY], "max_connections": 64, "seed": 1} | settings)
    engine.inspect(listener, first_bytes=first_bytes)
    return engine


def judged(engine, frames, at_ns=START):
    return [tuple(row) for row in engine.process(chunk(frames, at_ns)).tolist()]


# --- who is asked what, and when ---


def test_the_first_bytes_of_the_first_run_are_a_question():
    listener = Listener()
    engine = engine_with(listener)
    frames = [*opened(), said(b"GET "), said(b"evil!"), said(b"more"), said(b"", reply=True)]
    assert judged(engine, frames) == [
        (Verdict.INSPECT, Reason.NEW), SEEN, SEEN, SEEN, SEEN, BLOCKED, BLOCKED]
    assert listener.rows == [(5, False, b"GET evil", 9)]  # eight of nine


@pytest.mark.parametrize("last, packet, verdict", [
    (said(b"answer", reply=True), 5, SEEN), (said(b"", flags="FA"), 5, SEEN),
    (said(b"", flags="R"), 5, SEEN), (said(b"", flags="FA", reply=True), 5, SEEN),
])
def test_the_end_of_a_run_makes_it_a_question(last, packet, verdict):
    listener = Listener()
    engine = engine_with(listener, 100)
    assert judged(engine, [*opened(), said(b"evil"), last])[-1] == verdict
    assert listener.rows == [(packet, False, b"evil", 4)]
    assert judged(engine, [said(b"on")]) == [BLOCKED]


def test_who_speaks_first_is_looked_at():
    listener = Listener()
    engine = engine_with(listener, 4)
    frames = [*opened(), said(b"SSH-2.0", reply=True), said(b"evil")]
    assert judged(engine, frames)[-2:] == [SEEN, SEEN]
    assert listener.rows == [(4, True, b"SSH-", 7)]


def test_a_packet_alone_passes_and_the_next_does_not():
    engine = engine_with(Listener(), 1)
    frame = ethernet(ip("10.0.0.1", "192.0.2.53", 17, udp(5000, 53) + b"evil"))
    assert engine.judge(frame, START) == (Verdict.INSPECT, Reason.NEW)   # one byte: "e"
    engine = engine_with(Listener(), 4)
    assert engine.judge(frame, START) == (Verdict.INSPECT, Reason.NEW)
    assert engine.judge(frame, START + 1) == BLOCKED
    assert [tuple(row) for row in engine.process_frames([frame] * 2, [START + 2] * 2).tolist()] \
        == [BLOCKED, BLOCKED]


def test_one_who_is_asked_cannot_take_the_packets_away():
    """The rest of them stayed unjudged, as outcomes of 0: forwarded."""
    engine = Engine(policies=[POLICY], max_connections=64)

    def unload(rows):
        engine.fastpath.unload()
        return [Answer.ACCEPT for _ in rows]

    engine.inspect(unload, first_bytes=4)
    frames = chunk([*opened(), said(b"evil"), said(b"more")], START)
    with pytest.raises(DataError, match="load and unload are the engine's"):
        engine.process(frames)
    assert engine.process(frames).shape == (5, 2)     # it goes on with what it is given next


def test_sessions_without_proxy_inspection_are_nobodys_business():
    listener = Listener()
    engine = engine_with(listener, policies=[{"id": 1, "inspection": "flow", "ports": [80]},
                                             {"id": 2}])
    assert judged(engine, [*opened(), said(b"evilevil"), said(b"evil")])[-1] == SEEN
    assert listener.calls == 0


def test_only_sessions_that_begin_from_now_on_are_asked_about():
    listener, engine = Listener(), Engine(policies=[POLICY], max_connections=64)
    judged(engine, [*opened(), said(b"ev")])
    engine.inspect(listener, first_bytes=4)
    assert judged(engine, [said(b"ilevil"), said(b"evil")], START + S) == [SEEN, SEEN]
    assert listener.calls == 0


def test_many_sessions_are_one_call():
    listener = Listener()
    engine = engine_with(listener, 4)
    frames = [frame for host in range(1, 51) for frame in (*opened(host), said(b"evil", host))]
    judged(engine, [*frames, *(said(b"on", host) for host in range(1, 51))])
    assert [row[0] for row in listener.rows] == list(range(4, 201, 4))
    assert listener.calls == 1     # in front of the first packet that waits, of all


def test_more_sessions_than_rows():
    """Rows grow with the sessions whose bytes are gathered, and no call has more than 256."""
    for cut in (1, 1000):
        listener = Listener()
        engine = engine_with(listener, 4, max_connections=1024)
        flows = list(itertools.product((1, 2, 3), range(1, 255)))
        starts = [said(b"ev", host, port=port) for port, host in flows]
        ends = [said(b"il", host, port=port) for port, host in flows]
        frames = chunk([*starts, *ends, *ends[:9]])
        found = np.concatenate([engine.process(frames.slice(at, min(at + cut, len(frames))))
                                for at in range(0, len(frames), cut)])
        assert len(listener.rows) == len(ends)
        assert {row[2] for row in listener.rows} == {b"evil"}
        assert (found[-9:] == BLOCKED).all()
        assert cut == 1 or listener.calls == 4  # 238 by the end of a call, 256, 256, 12
        assert engine.fastpath.inspector.places == 1024  # for 762 at a time


def test_a_cut_frame_ends_what_is_shown():
    listener = Listener()
    engine = engine_with(listener, 12)
    frames = [*opened(), said(b"one "), said(b"two "), said(b"three")]
    whole = Chunk.from_frames([frame[:56] if i == 4 else frame for i, frame in enumerate(frames)],
                              [START + i for i in range(6)], [len(frame) for frame in frames])
    engine.process(whole)
    assert listener.rows == [(6, False, b"one tw", 13)]


def test_a_session_that_ends_is_asked_about_all_the_same_and_its_heir_is_not_it():
    listener = Listener()
    engine = engine_with(listener, 4, tcp_s=5)
    frames = [said(b"evil", 1), said(b"", 2), said(b"", 1)]
    engine.process(Chunk.from_frames(frames, [START, START + 10 * S, START + 11 * S]))
    assert (listener.calls, listener.rows) == (1, [(1, False, b"evil", 4)])
    assert engine.sessions()["created_packet"].tolist() == [2, 3]
    assert judged(engine, [said(b"", 1)], START + 12 * S) == [SEEN]


def test_who_ends_before_the_question_leaves_the_row():
    listener = Listener()
    engine = engine_with(listener, 8, max_connections=1, buckets=1)
    judged(engine, [said(b"evil", host) for host in range(1, 255)])
    assert (listener.calls, engine.fastpath.inspector.places) == (0, 64)


def test_a_run_that_was_let_pass_is_not_shown_with_the_next():
    listener = Listener()
    engine = engine_with(listener, 9000, oversize_bytes=5000)
    frames = [*opened(), said(b"x" * 3000), said(b"x" * 3000), said(b"y" * 99, reply=True),
              said(b"x")]
    assert (Verdict.BYPASS, Reason.BYPASS_OVERSIZE) in judged(engine, frames)
    assert listener.rows == [(7, True, b"y" * 99, 99)]


# --- what an answer does ---


def test_a_blocked_session_does_not_move_and_stands_as_long_as_it_is_tried():
    engine = engine_with(Listener(), 4, tcp_s=10, midstream="drop")
    judged(engine, [*opened(), said(b"evil")])
    for second in (9, 18, 27):
        assert judged(engine, [said(b"", flags="R"), said(b"", flags="S"), said(b"", flags="SA")],
                      START + second * S) == [BLOCKED] * 3
    assert engine.sessions({"state": "established"})["packets"].tolist() == [[12, 1]]
    engine.advance(START + 38 * S)
    assert len(engine) == 0
    assert judged(engine, [said(b"", flags="S")], START + 39 * S) == [(Verdict.INSPECT, Reason.NEW)]


def test_what_is_bypassed_is_exposure():
    engine = engine_with(Listener(), 4)
    assert judged(engine, [*opened(), said(b"by!!"), said(b"12"), said(b"", reply=True)])[-2:] == [
        BYPASSED, BYPASSED]
    exposure = engine.counters()["exposure"]
    assert exposure["by_cause"]["inspector"] == {
        "sessions": 1, "packets": 2, "bytes": len(said(b"12")) + len(said(b""))}
    assert "inspector" not in Engine().counters()["exposure"]["by_cause"]
    assert engine.check_laws()


def test_its_memory_is_in_the_accounts_until_the_question():
    engine = engine_with(Listener(), 10_000, proxy_session_bytes=2 * PAGE)
    judged(engine, [*opened(), said(b"x" * 5000)])
    assert (engine.owners()["shm"], engine.counters()["proxy"]["sessions"]) == (4, 1)
    judged(engine, [said(b"x" * 5000)], START + S)
    assert (engine.owners()["shm"], engine.counters()["proxy"]["sessions"]) == (0, 0)
    assert engine.counters()["memory"]["peak"]["shm"] == 4  # the page of the last is gone at once


@pytest.mark.parametrize("failopen, verdict", [
    ("pass", (Verdict.BYPASS, Reason.BYPASS_CONSERVE)), ("off", (Verdict.DROP, Reason.KILLED))])
def test_the_gate_decides_before_it(failopen, verdict):
    listener = Listener()
    engine = engine_with(listener, 4, personality="fortios-7", av_failopen=failopen)
    judged(engine, opened())
    engine.force("on")
    assert judged(engine, [said(b"evil")], START + S) == [verdict]
    assert listener.calls == 0


# --- the function ---


def test_its_exception_comes_out_and_the_question_is_asked_again():
    listener = Listener(fail=2)
    engine = engine_with(listener, 4)
    with pytest.raises(KeyError) as caught:
        judged(engine, [*opened(), said(b"evil"), said(b"on")])
    assert "4 of the 5 packets" in caught.value.__notes__[0]
    assert len(engine.judged) == 4
    with pytest.raises(StateError, match="1 sessions"):
        copy.copy(engine.__reduce__())
    with pytest.raises(KeyError):
        engine.judge(said(b"on"), START + S)
    assert engine.judge(said(b"on"), START + S) == BLOCKED
    assert listener.rows == [(4, False, b"evil", 4)]


@pytest.mark.parametrize("given", [
    None, [], [Answer.ACCEPT] * 2, [3], [-1], [0.5], ["block"], Answer.BLOCK,
    np.zeros((1, 1), int)])
def test_answers_that_are_none(given):
    engine = engine_with(lambda rows: given, 4)
    with pytest.raises(DataError, match="1 questions want 1 of Answer"):
        judged(engine, [*opened(), said(b"evil")])
    engine.inspect(Listener(), first_bytes=4)  # who waited is nobody's now
    assert judged(engine, [said(b"on")], START + S) == [BYPASSED]


def test_answers_may_be_an_array():
    engine = engine_with(lambda rows: np.full(len(rows), Answer.BLOCK), 4)
    assert judged(engine, [*opened(), said(b"good"), said(b"on")])[-1] == BLOCKED


def test_it_may_not_call_the_engine():
    engine = engine_with(lambda rows: engine.sessions(), 4)
    with pytest.raises(EngineBusy):
        judged(engine, [*opened(), said(b"evil")])


@pytest.mark.parametrize("first_bytes", [0, -1, 2**20 + 1, 1.5, "8", None])
def test_so_many_bytes_cannot_be_asked_for(first_bytes):
    engine = Engine(max_connections=4)
    with pytest.raises(SettingsError, match="first_bytes"):
        engine.inspect(Listener(), first_bytes=first_bytes)
    assert engine.fastpath.inspector is None


def test_where_it_ends_the_device_scans_on():
    first, second = Listener(), Listener()
    engine = Engine(policies=[POLICY], max_connections=64)
    stop = engine.inspect(first, first_bytes=8)
    judged(engine, [*opened(), said(b"evil")])
    engine.inspect(second, first_bytes=4)
    stop()                       # it has been replaced: nothing ends
    assert judged(engine, [said(b"evil"), *opened(2), said(b"evil", 2), said(b"on", 2)],
                  START + S)[0] == SEEN
    assert (first.calls, second.calls) == (0, 1)
    assert engine.owners()["shm"] > 0  # the device's own object
    assert engine.check_laws()


def test_a_saved_engine_has_none():
    engine = engine_with(Listener(), 8)
    judged(engine, [*opened(), said(b"evil"), *opened(2), said(b"evilevil", 2)])
    other = copy.deepcopy(engine)
    for each, first in ((engine, BLOCKED), (other, SEEN)):
        assert judged(each, [said(b"evil"), said(b"on"), said(b"on", 2)], START + S)[1:] == [
            first, BLOCKED]
        assert each.check_laws()


def test_a_larger_table_keeps_what_is_gathered():
    listener = Listener()
    engine = engine_with(listener, 8)
    judged(engine, [*opened(2), *opened(), said(b"evil")])
    engine.restart(keep=True, max_connections=1)
    assert judged(engine, [said(b"evil"), said(b"on")], START + S) == [SEEN, BLOCKED]
    engine.clear()
    assert engine.check_laws()


# --- against the twin ---

STEPS_NS = (0, 0, 1, 1000, 10**8, 10**9, 12 * 10**9)
FLAGS = (*["PA"] * 8, "S", "SA", "FA", "R")
SIZES = (0, 1, 7, 40, 1400, 5000)
DEEDS = (*[""] * 80, "save", "keep", "clear", "inspect", "end", "force")
packets = st.tuples(
    st.sampled_from(STEPS_NS), st.sampled_from(("tcp", "tcp", "udp", "first", "later", "error")),
    st.integers(1, 2), st.integers(0, 1), st.booleans(), st.sampled_from(FLAGS),
    st.sampled_from(SIZES), st.sampled_from((0, 0, 0, 3, 40)), st.booleans(),
    st.sampled_from(DEEDS))


def frame_of(number, row):
    """(what was captured, length on the wire) of a row; every packet says something else."""
    _, kind, host, port, reply, flags, size, cut, six, _ = row
    ends = (f"2001:db8::{host}", "2001:db8:9::9") if six else (f"10.0.0.{host}", "192.0.2.1")
    ports, data = (4000 + port, 80), bytes((number + i) % 251 for i in range(size))
    if reply:
        ends, ports = ends[::-1], ports[::-1]
    if kind == "tcp":
        body = ip(*ends, 6, tcp(*ports, flags) + data)
    elif kind == "udp":
        body = ip(*ends, 17, udp(*ports, size)[:8] + data)
    elif kind == "error":
        quoted = ip(*ends, 6, tcp(*ports, flags))
        body = ip(ends[1], ends[0], 58 if six else 1, bytes((1 if six else 3, 1, 0, 0)) + bytes(4)
                  + quoted)
    else:
        first = kind == "first"
        body = ip(*ends, 6 if port else 17,
                  (tcp(*ports, flags) if port else udp(*ports)) + data if first else data,
                  more=first, fragment=0 if first else 9)
    frame = ethernet(body)
    return frame[:len(frame) - cut], len(frame)


def answer(payload, reply, seen, policy):
    """Any function of its row."""
    return ("accept", "block", "bypass")[(sum(payload) + 2 * reply + seen + policy) % 3]


inspected = st.lists(st.fixed_dictionaries({
    "protocol": st.sampled_from(["any", "any", "tcp", "udp"]),
    "inspection": st.sampled_from(["proxy", "proxy", "proxy", "flow+proxy", "flow"]),
}), min_size=1, max_size=2).map(
    lambda rules: [{**rule, "id": i + 1} for i, rule in enumerate(rules)])


@hypothesis_settings(HYPOTHESIS, max_examples=SHARE)
@given(st.lists(packets, min_size=12, max_size=40), memory_settings, table_settings, inspected,
       st.sampled_from([10, 40]), groups, st.sampled_from([1, 7, 4096]),
       st.sampled_from([1, 1, 8, 8, 1500, 9000]))
def test_an_inspector_is_asked_as_the_twins(
    table, memory, chosen, rules, base, group, cut, first_bytes,
):
    """Whatever else may be done to an engine between packets; however the packets are divided."""
    memory = {**memory, "base_bytes": base * PAGE, "policies": rules, "session_bytes": 100}
    if memory["machine"] != "unified":
        memory["cache_limit_bytes"] = 0
    pair = Pair(load("plain", **{**chosen, **memory}), group=group)
    pair.inspect(answer, first_bytes)
    begin, times = 0, [START + at for at in itertools.accumulate(row[0] for row in table)]
    shown = [frame_of(at, row) for at, row in enumerate(table)]
    whole = Chunk.from_frames([frame for frame, _ in shown], times, [size for _, size in shown])
    for at, row in enumerate(table, 1):
        if at - begin < cut and not row[-1] and at < len(table):
            continue
        pair.process(whole.slice(begin, at))
        begin = at
        deed(pair, row[-1], first_bytes, at)
    assert pair.asked == pair.wanted
    pair.compare()


def deed(pair, name, first_bytes, at):
    """What else is done."""
    if name == "inspect":
        pair.inspect(answer, first_bytes)
    elif name == "keep":
        pair.restart(keep=True)
    elif name == "end":
        pair.end(at)
    elif name == "force":
        pair.force(("on", None)[at % 2])
    elif name:
        getattr(pair, name)()
