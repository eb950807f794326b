"""Sessions of which somebody else decides before they begin: the engine's decider, the twin's."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from examples import SHARE
from frames import START, chunk, echo, ethernet, icmp_error, ip, tcp, udp
from hypothesis import given, settings as hypothesis_settings, strategies as st
from test_twin import (
    HYPOTHESIS,
    PAGE,
    chunk_of,
    groups,
    memory_settings,
    policies,
    rows,
    table_settings,
)
from twin import Pair, opening_of

from fwcore import (
    Answer,
    DataError,
    Decision,
    Engine,
    EngineBusy,
    Reason,
    Verdict,
    load,
)
from fwcore._decider import Decider

S = 10**9
NEW = (Verdict.FORWARD, Reason.NEW)
HIT = (Verdict.FORWARD, Reason.HIT)
ARP = bytes(12) + b"\x08\x06" + bytes(28)
DENIED = (Verdict.DROP, Reason.DENIED)


def said(host=1, port=4000, flags="S", service=80, reply=False):
    ends, ports = (f"10.0.0.{host}", "192.0.2.1"), (port, service)
    if reply:
        ends, ports = ends[::-1], ports[::-1]
    return ethernet(ip(*ends, 6, tcp(*ports, flags)))


def told(host=1, port=4000, service=53, reply=False):
    ends, ports = (f"10.0.{host >> 8}.{host & 255}", "192.0.2.1"), (port, service)
    if reply:
        ends, ports = ends[::-1], ports[::-1]
    return ethernet(ip(*ends, 17, udp(*ports)))


class Listener:
    """A decider that remembers: telnet and odd ports of initiators are dropped."""

    def __init__(self, fail=0):
        self.rows, self.calls, self.fail = [], [], fail

    def __call__(self, rows):
        if self.fail:
            self.fail -= 1
            raise KeyError("no model")
        self.calls.append(len(rows))
        self.rows += [(int(row["packet"]), int(row["initiator_port"]), int(row["responder_port"]))
                      for row in rows]
        odd = (rows["initiator_port"] & 1 == 1) | (rows["responder_port"] == 23)
        return np.where(odd, Decision.DROP, Decision.ACCEPT)


def engine_with(decider, **settings):
    engine = Engine(**{"max_connections": 4096, "seed": 1} | settings)
    engine.decide(decider)
    return engine


def judged(engine, frames, at_ns=START):
    return [tuple(row) for row in engine.process(chunk(frames, at_ns)).tolist()]


# --- who is asked what, and when ---


def test_a_chunk_is_one_question_and_each_flow_a_row():
    listener = Listener()
    engine = engine_with(listener)
    frames = [said(1), said(1, flags="SA", reply=True), said(2, 4001), said(1, flags="A"),
              said(2, 4001), said(3, service=23), told(4), told(4, reply=True), ARP]
    assert judged(engine, frames) == [
        NEW, HIT, DENIED, HIT, DENIED, DENIED, NEW, HIT, (Verdict.FORWARD, Reason.NON_IP)]
    assert listener.calls == [4]
    assert listener.rows == [(1, 4000, 80), (3, 4001, 80), (6, 4000, 23), (7, 4000, 53)]
    assert judged(engine, [said(1, flags="A"), told(4)], START + S) == [HIT, HIT]
    assert listener.calls == [4]   # those that stand are nobody's business


def test_a_row_says_who_begins_what_by_which_policy_and_when():
    shown = []
    engine = engine_with(lambda rows: shown.append(rows) or [Decision.ACCEPT] * len(rows),
                         zone="vlan", policies=[{"id": 9, "protocol": "udp"},
                                                {"id": 7, "inspection": "flow+proxy"}])
    frames = [ethernet(ip("2001:db8::2", "2001:db8::1", 6, tcp(4000, 80, "S")), 5),
              said(1, 80, "SA", 4000), told(3)]
    engine.process(chunk(frames, START))
    first, second, third = shown[0]
    assert bytes(first["initiator"])[-1] == 2 and bytes(first["responder"])[-1] == 1
    assert first[["initiator_port", "responder_port", "zone", "protocol", "family", "policy",
                  "inspection", "packet"]].tolist() == (4000, 80, 5, 6, 6, 7, 3, 1)
    assert first["time_ns"] == START
    assert bytes(second["initiator"])[:4] == bytes((192, 0, 2, 1))   # the SYN was not seen
    assert second[["initiator_port", "responder_port", "packet"]].tolist() == (4000, 80, 2)
    assert (third["policy"], third["inspection"], third["family"]) == (9, 0, 4)
    flows = {row["flow"] for row in engine.sessions()}
    assert flows == set(shown[0]["flow"])


@pytest.mark.parametrize("frames, reason", [
    ([said(flags="R")], Reason.NO_SESSION),
    ([ethernet(ip("10.0.0.1", "192.0.2.1", 17, bytes(8), fragment=3))], Reason.FRAGMENT_ORPHAN),
    ([ethernet(ip("192.0.2.1", "10.0.0.1", 1, icmp_error(ip(
        "10.0.0.1", "192.0.2.1", 17, udp(1, 2)))))], Reason.ICMP_ORPHAN),
    ([ethernet(ip("10.0.0.1", "192.0.2.1", 47, bytes(8)))], Reason.DENIED)])
def test_what_policies_and_rules_refuse_is_not_asked(frames, reason):
    listener = Listener()
    engine = engine_with(listener, midstream="drop", policies=[
        {"id": 1, "protocol": "tcp"}, {"id": 2, "protocol": "udp"}])
    assert judged(engine, frames)[0][1] == reason
    assert listener.calls == []


def test_what_comes_after_it_refuses_as_ever():
    listener = Listener()
    engine = engine_with(listener, sessions_per_host=1)
    assert judged(engine, [said(1), said(1, 4002)]) == [
        NEW, (Verdict.DROP, Reason.HOST_LIMIT)]
    assert listener.calls == [2]


def test_fragments_follow_what_was_decided():
    first = ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(4001, 53, 16), more=True))
    later = ethernet(ip("10.0.0.1", "192.0.2.1", 17, bytes(24), fragment=3))
    assert judged(engine_with(Listener()), [first, later]) == [DENIED, DENIED]


def test_a_dropped_flow_is_asked_of_again_in_the_next_call():
    listener = Listener()
    engine = engine_with(listener)
    assert judged(engine, [told(1, 4001)] * 3) == [DENIED] * 3
    assert judged(engine, [told(1, 4001)] * 3, START + S) == [DENIED] * 3
    assert listener.calls == [1, 1]
    assert engine.judge(told(1, 4001), START + 2 * S) == DENIED
    assert engine.judge(told(1, 4002), START + 2 * S) == NEW
    assert engine.judge(told(1, 4001), START + 2 * S) == DENIED
    assert listener.calls == [1] * 5
    found = engine.process_frames([told(2, 4001), told(2, 4000)], [START + 3 * S] * 2)
    assert [tuple(row) for row in found.tolist()] == [DENIED, NEW]
    assert listener.calls == [1] * 5 + [2]


def test_the_other_direction_is_another_question():
    engine = engine_with(lambda rows: np.where(rows["responder_port"] == 53, Decision.DROP,
                                               Decision.ACCEPT))
    assert judged(engine, [told(1), told(1, reply=True), told(1)]) == [DENIED, NEW, HIT]


def test_who_expires_or_comes_anew_is_asked_of_again():
    listener = Listener()
    engine = engine_with(listener, udp_s=5, tcp_rst_s=20)
    judged(engine, [told(1), said(1), said(1, flags="R")])
    assert judged(engine, [said(1), told(1)], START + 10 * S) == [NEW, NEW]
    assert listener.calls == [2, 2]


def test_more_flows_than_a_question_has_room_for():
    for cut in (700, 10_000):
        listener = Listener()
        engine = engine_with(listener)
        frames = chunk([told(host, 4000 + (host % 7 == 0)) for host in range(2500)] * 2)
        found = np.concatenate([engine.process(frames.slice(at, min(at + cut, len(frames))))
                                for at in range(0, len(frames), cut)])
        want = np.array([host % 7 == 0 for host in range(2500)] * 2)
        assert ((found[:, 0] == Verdict.DROP) == want).all()
        assert max(listener.calls) <= 1024
        assert {row[0] for row in listener.rows} >= set(range(1, 2501))
        if cut == 10_000:   # the dropped ones again, where what was decided had no room
            assert listener.calls[:2] == [1024, 1024] and len(listener.calls) <= 5


def test_frames_are_looked_through_once():
    """Flows that begin from the other side after they were refused: a question each, no more."""
    listener = Listener()
    hosts = range(1, 255)
    engine = engine_with(listener)
    judged(engine, [*(told(host, 4001, 23) for host in hosts),
                    *(told(host, 4001, 23, True) for host in hosts)])
    assert listener.calls == [254] + [1] * 254


# --- what a decision does ---


POLICIES = [{"id": 1, "protocol": "tcp"}, {"id": 5, "inspection": "proxy"},
            {"id": 6, "action": "deny"}]


def test_a_policy_may_be_named():
    def by_port(rows):
        return [{4000: 1, 4001: 5, 4002: 6}.get(int(row["initiator_port"]), Decision.ACCEPT)
                for row in rows]

    engine = engine_with(by_port, policies=POLICIES)
    frames = [said(1, port) for port in (4000, 4001, 4002, 4003)]
    assert judged(engine, frames) == [NEW, (Verdict.INSPECT, Reason.NEW), DENIED, NEW]
    assert engine.sessions()["policy"].tolist() == [1, 5, 1]
    assert engine.counters()["proxy"]["sessions"] == 1
    assert engine.check_laws()


def test_the_id_of_the_policy_that_matches_is_that_policy():
    """Also where there is none: 0."""
    engine = engine_with(lambda rows: rows["policy"], policies=[
        {"id": 5, "protocol": "tcp"}, {"id": 3, "protocol": "udp", "inspection": "proxy"}])
    assert judged(engine, [told(1)]) == [(Verdict.INSPECT, Reason.NEW)]
    engine = engine_with(lambda rows: rows["policy"])
    assert judged(engine, [told(1)]) == [NEW]


def test_no_policy_is_carried_over_to_the_next_packet():
    engine = engine_with(lambda rows: [5] * len(rows), policies=POLICIES)
    stop = engine.decide(lambda rows: [5] * len(rows))
    assert judged(engine, [said(1)]) == [(Verdict.INSPECT, Reason.NEW)]
    stop()
    assert engine.fastpath.decider is None
    assert judged(engine, [said(2)], START + S) == [NEW]


def test_new_policies_hold_for_what_was_not_decided_by_the_old_ones():
    seen = []
    engine = engine_with(lambda rows: seen.append(rows["policy"].tolist()) or [5] * len(rows),
                         policies=POLICIES)
    judged(engine, [said(1)])
    engine.configure(policies=[{"id": 3}, {"id": 5, "action": "deny"}])
    assert judged(engine, [said(2)], START + S) == [DENIED]
    assert seen == [[1], [3]]


# --- the function ---


def test_its_exception_comes_out_in_front_of_the_packet():
    listener = Listener(fail=2)
    engine = engine_with(listener)
    judged(engine, [ARP])
    with pytest.raises(KeyError) as caught:
        judged(engine, [ARP, said(1), said(2)])
    assert "1 of the 3 packets" in caught.value.__notes__[0]
    assert len(engine.judged) == 1 and len(engine) == 0
    with pytest.raises(KeyError):
        engine.judge(said(2), START + S)
    other = copy.deepcopy(engine)       # nothing is due
    assert engine.judge(said(2), START + S) == NEW
    assert listener.rows == [(3, 4000, 80)]
    assert other.judge(said(3, 4001), START + S) == NEW     # a copy asks nobody


@pytest.mark.parametrize("given", [
    None, [], [Decision.ACCEPT] * 2, [0.5], ["drop"], Decision.DROP, [True], [-3], [9], [2**40],
    np.full(1, 2**63, np.uint64), np.zeros((1, 1), int)])
def test_decisions_that_are_none(given):
    engine = engine_with(lambda rows: given)
    with pytest.raises(DataError, match=r"1 openings want 1|is the id of no policy"):
        judged(engine, [said(1)])
    assert len(engine) == 0
    engine.decide(Listener())
    assert judged(engine, [said(1)], START + S) == [NEW]


def test_it_may_not_call_the_engine():
    engine = engine_with(lambda rows: engine.sessions())
    with pytest.raises(EngineBusy):
        judged(engine, [said(1)])


def test_the_next_one_takes_the_place_of_the_first():
    first, second = Listener(), Listener()
    engine = Engine(max_connections=64)
    stop = engine.decide(first)
    engine.decide(second)
    stop()                       # it has been replaced: nothing ends
    assert judged(engine, [said(1, 4001)]) == [DENIED]
    assert (first.calls, second.calls) == ([], [1])


def test_beside_an_inspector():
    listener = Listener()
    engine = engine_with(listener, policies=[{"id": 1, "inspection": "proxy"}])
    engine.inspect(lambda rows: [Answer.BLOCK] * len(rows), first_bytes=1)
    first, other = (ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(port, 53, 9)))
                    for port in (4000, 4001))
    assert judged(engine, [first, first, other, first]) == [
        (Verdict.INSPECT, Reason.NEW), (Verdict.DROP, Reason.INSPECTOR_BLOCK), DENIED,
        (Verdict.DROP, Reason.INSPECTOR_BLOCK)]
    assert listener.calls == [2]


def test_it_outlives_a_larger_table_and_a_clearance():
    engine = engine_with(Listener(), max_connections=5000)
    judged(engine, [told(host) for host in range(4500)])
    assert engine.clear() == 4500
    engine.restart(keep=True, max_connections=10)
    assert judged(engine, [told(1, 4001), told(1)], START + S) == [DENIED, NEW]
    engine.close()


def test_a_decider_is_one_fast_paths():
    decider, engine, other = Decider(), Engine(max_connections=4), Engine(max_connections=4)
    engine.fastpath.set_decider(decider)
    for fastpath in (engine.fastpath, other.fastpath):
        with pytest.raises(DataError, match="a fast path's already"):
            fastpath.set_decider(decider)
    for wrong in (np.zeros(1, np.uint32), np.zeros(0, np.int64), [], None):
        with pytest.raises(DataError, match="uint32"):
            decider.decide(wrong)
    assert decider.waits == 0 and len(decider.waiting()) == 0


# --- however the packets are divided, and against the twin ---


def by_key(initiator, responder, protocol, port, zone, policy):
    """Any function of an opening, with the ids of the policies there are."""
    number = (initiator * 7 + responder * 3 + protocol + port + zone + policy) % 11
    return Decision.DROP if number < 3 else Decision.ACCEPT if number < 8 else policy


def outcome(frames, cut):
    def decide(rows):
        return [by_key(*opening_of(row)[2:]) for row in rows]

    engine = engine_with(decide, max_connections=50, personality="fortios-7", seed=3)
    for at in range(0, len(frames), cut):
        engine.process(frames.slice(at, min(at + cut, len(frames))))
    assert engine.check_laws()
    return engine.outcome()


def test_chunks_of_any_size_have_one_outcome():
    frames = [ethernet(ip(f"10.0.{i % 7}.{i % 11}", "192.0.2.1", 17, udp(4000 + i % 13, 53)))
              if i % 3 else said(i % 200, 4000 + i % 5, ("S", "A", "R")[i % 7 % 3], reply=i % 2)
              for i in range(1500)]
    frames.append(ethernet(ip("10.0.0.1", "192.0.2.1", 1, echo(7))))
    whole = chunk(frames, START)
    assert len({outcome(whole, cut) for cut in (1, 7, 4096)}) == 1


DEEDS = (*[""] * 60, "save", "keep", "clear", "decide", "decide_no_more", "end", "force")


@hypothesis_settings(HYPOTHESIS, max_examples=SHARE)
@given(st.lists(st.tuples(rows, st.sampled_from(DEEDS)), min_size=12, max_size=40), memory_settings,
       table_settings, policies, st.sampled_from([10, 40]), groups, st.sampled_from([1, 7, 4096]))
def test_a_decider_is_asked_as_the_twins(table, memory, chosen, rules, base, group, cut):
    """Whatever else may be done to an engine between packets; however the packets are divided."""
    memory = {**memory, "base_bytes": base * PAGE, "policies": rules, "session_bytes": 100}
    if memory["machine"] != "unified":
        memory["cache_limit_bytes"] = 0
    ids = [rule["id"] for rule in rules] or [0]

    def decision(*row):
        number = by_key(*row)
        return number if number < 0 else ids[sum(row) % len(ids)]

    pair = Pair(load("plain", **{**chosen, **memory}), group=group)
    pair.decide(decision)
    begin, whole = 0, chunk_of([row for row, _ in table])
    for at, (_, deed) in enumerate(table, 1):
        if at - begin < cut and not deed and at < len(table):
            continue
        pair.process(whole.slice(begin, at))
        begin = at
        do(pair, deed, decision, at)
    if cut == 1:
        assert pair.openings == pair.opened
    assert {row[2:] for row in pair.openings} >= {row[2:] for row in pair.opened}
    pair.compare()


def do(pair, name, decision, at):
    """What else is done."""
    if name == "decide":
        pair.decide(decision)
    elif name == "keep":
        pair.restart(keep=True)
    elif name == "end":
        pair.end(at)
    elif name == "force":
        pair.force(("on", None)[at % 2])
    elif name:
        getattr(pair, name)()
