"""Tracker linux: the engine's table against the twin's rules, and each rule that has no table."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from examples import SHARE
from frames import echo, ethernet, icmp_error, ip, tcp, udp
from hypothesis import given, settings as hypothesis_settings, strategies as st
from twin import Pair, assert_same, run_twin

from fwcore import Engine, Reason, Verdict, reference
from fwcore._layout import TcpState, Tracker, tcp_tables
from fwcore.capture import Chunk
from fwcore.reference.linux import LINUX_ROWS, LINUX_START, LINUX_TABLE, reopens, tcp_step
from fwcore.reference.packet import FLAG_CLASSES
from fwcore.reference.session import Session
from fwcore.settings import load

SECOND = 10**9
START = 10**18
CLIENT, SERVER = "10.0.0.1", "192.0.2.9"
WAYS = ("forward", "reply")
IGNORED, AGAIN, ILLEGAL = 128, 254, 255


def chunk(*rows: tuple[float, bytes]) -> Chunk:
    """Frames at seconds after the first."""
    return Chunk.from_frames([frame for _, frame in rows],
                             [START + round(at * SECOND) for at, _ in rows])


def segment(text: str, port: int = 4000) -> bytes:
    """``">SA"``: a segment of the client (or ``<`` of the server) with these flags."""
    ends, ports = (CLIENT, SERVER), (port, 80)
    turn = 1 if text[0] == ">" else -1
    return ethernet(ip(*ends[::turn], 6, tcp(*ports[::turn], text[1:])))


def datagram(text: str, port: int = 4000) -> bytes:
    ends, ports = (CLIENT, SERVER), (port, 53)
    turn = 1 if text[0] == ">" else -1
    return ethernet(ip(*ends[::turn], 17, udp(*ports[::turn])))


def told(settings, *rows):
    """Reasons of the packets, as engine and twin agree on them; and the engine."""
    packets = chunk(*rows)
    engine = assert_same(settings, [packets])
    return [reference.REASONS[row[1]] for row in run_twin(settings, [packets])[0]], engine


# --- the table ----------------------------------------------------------------------------------


def test_the_linux_table_has_every_cell():
    assert len(LINUX_TABLE) == len(LINUX_ROWS) * 6 == 9 * 2 * 6


def remembered(session) -> tuple:
    return session.state, session.last, session.closing, session.challenge, session.both


def session_of(memory: tuple, answered: bool) -> Session:
    session = Session(None, 0, 0, 0, 0, 1, "tcp", True, None, 0, False, None, memory[0])
    _, session.last, session.closing, session.challenge, session.both = memory
    session.answered = answered
    return session


def test_every_place_of_the_engine_is_a_memory_of_the_twin():
    """All that the twin can remember is walked through, beside the engine's table: the same cells
    are invalid, ignored, open anew, and lead to places that show the same state."""
    tables = tcp_tables()
    first, step, places = tables["first"][Tracker.LINUX][0], tables["step"], tables["places"]
    todo, seen = [], set()
    for flags, state in LINUX_START.items():
        todo.append(((state, (flags, "forward"), False, False, False), False,
                     first[FLAG_CLASSES.index(flags)]))
    while todo:
        memory, answered, place = todo.pop()
        if (memory, answered, place) in seen:
            continue
        seen.add((memory, answered, place))
        assert places[place] == (places[place][0], memory[0])
        for way, direction in enumerate(WAYS):
            for number, flags in enumerate(FLAG_CLASSES):
                cell = step[place][way][number]
                session = session_of(memory, answered)
                if flags == "SYN" and reopens(session, direction, flags):
                    assert cell == AGAIN
                    continue
                said = tcp_step(session, direction, flags)
                assert (cell == ILLEGAL) == (said == "invalid"), (places[place], direction, flags)
                if said in ("invalid", "gone"):
                    continue
                assert (cell >= IGNORED) == (said in ("ignored", "kept"))
                todo.append((remembered(session), answered or way == 1, cell & ~IGNORED))
    assert {place for _, _, place in seen} == {
        number for number, (name, _) in enumerate(places) if name.startswith("L_")}


def test_places_that_linux_never_comes_to_are_not_in_its_rows():
    tables = tcp_tables()
    for number, (name, _) in enumerate(tables["places"]):
        for row in tables["step"][number]:
            to = [tables["places"][cell & ~IGNORED][0] for cell in row if cell < AGAIN]
            if name.startswith("L_"):
                assert all(each.startswith("L_") for each in to)
            else:
                assert not any(each.startswith("L_") for each in to)


# --- engine and twin, deep ----------------------------------------------------------------------

steps = st.tuples(
    st.sampled_from([0, 0, 0, 0.001, 0.5, 1.9, 2.0, 2.1, 29, 31, 61, 119, 121, 301]),
    st.sampled_from(["tcp", "tcp", "tcp", "tcp", "udp", "udp", "gre", "echo"]),
    st.sampled_from("><"),
    st.sampled_from(["S", "S", "SA", "SA", "A", "A", "A", "FA", "FA", "R", "RA", "F", "", "SF"]))


def frame_of(kind: str, way: str, flags: str) -> bytes:
    if kind == "tcp":
        return segment(way + flags)
    if kind == "udp":
        return datagram(way)
    ends = (CLIENT, SERVER)[::1 if way == ">" else -1]
    if kind == "gre":
        return ethernet(ip(*ends, 47, bytes(8)))
    return ethernet(ip(*ends, 1, echo(7, "A" in flags)))


@hypothesis_settings(max_examples=SHARE, deadline=None)
@given(st.lists(steps, min_size=1, max_size=60),
       st.fixed_dictionaries({"invalid": st.sampled_from(["forward", "drop"]),
                              "midstream_initiator": st.sampled_from(["sender", "ports"]),
                              "midstream": st.sampled_from(["allow", "drop"])}))
def test_one_of_each_for_long(table, chosen):
    """Few sessions and many packets, so that their memory is gone through."""
    now, rows = 0.0, []
    for wait, kind, way, flags in table:
        now += wait
        rows.append((now, frame_of(kind, way, flags)))
    assert_same(load("linux-conntrack", max_connections=16, **chosen), [chunk(*rows)])


# --- rules --------------------------------------------------------------------------------------

LINUX = load("linux-conntrack", max_connections=64)


def states(engine) -> list[str]:
    return [TcpState(int(row["state"])).name for row in engine.sessions()]


@pytest.mark.parametrize(("invalid", "verdict"), [("forward", Verdict.FORWARD),
                                                   ("drop", Verdict.DROP)])
def test_what_is_not_loose_is_invalid(invalid, verdict):
    """nf_conntrack_tcp_loose = 0 drops nothing by itself: it tracks nothing."""
    settings = load("linux-conntrack", assignments=["nf_conntrack_tcp_loose=0"], invalid=invalid)
    with Engine(settings) as engine:
        outcome = engine.process(chunk((0, segment(">A")), (1, segment(">A")), (2, segment(">S"))))
        assert outcome.tolist()[:2] == [[verdict, Reason.TCP_INVALID]] * 2
        assert outcome.tolist()[2] == [Verdict.FORWARD, Reason.NEW]


@pytest.mark.parametrize("flags", ["SA", "FA", "R", "RA", "F", "", "SF", "SR", "FPU", "RU"])
def test_only_syn_and_ack_open(flags):
    reasons, engine = told(LINUX, (0, segment(">" + flags)))
    assert reasons == ["tcp_invalid"]
    assert engine.counters()["sessions"]["created"] == 0
    assert engine.counters()["verdicts"]["forward"] == 1


def test_what_is_invalid_is_dropped_where_the_setting_says_so():
    settings = LINUX.replace(invalid="drop")
    reasons, engine = told(
        settings, (0, segment(">S")), (0, segment("<F")), (0, segment(">SA", 7)),
        (0, ethernet(ip(SERVER, CLIENT, 1, echo(9, reply=True)))))
    assert reasons == ["new", "tcp_invalid", "tcp_invalid", "icmp_orphan"]
    assert engine.counters()["verdicts"]["drop"] == 3


def test_a_scan_leaves_nothing():
    _, engine = told(LINUX, *[row for port in range(1000, 1040) for row in (
        (0, segment(">S", port)), (0, segment("<RA", port)))])
    assert engine.counters()["sessions"]["live"] == 0
    assert engine.counters()["sessions"]["ended"]["closed"] == 40


def test_a_reset_of_an_answered_session_leaves_it_closed():
    _, engine = told(LINUX, (0, segment(">S")), (0, segment("<SA")), (0, segment("<R")))
    assert states(engine) == ["CLOSED"]


def test_a_syn_again_does_not_restart_the_timer():
    reasons, engine = told(LINUX, (0, segment(">S")), (100, segment(">S")), (121, segment(">S")))
    assert reasons == ["new", "hit", "new"]
    assert engine.counters()["sessions"]["ended"]["expired"] == 1


def test_udp_is_a_stream_after_two_seconds():
    rows = [(0, datagram(">")), (0.1, datagram("<")), (2.0, datagram(">"))]
    _, engine = told(LINUX, *rows, (33, datagram(">")))
    assert engine.counters()["sessions"]["ended"]["expired"] == 1
    _, engine = told(LINUX, *rows, (2.1, datagram(">")), (121, datagram(">")))
    assert engine.counters()["sessions"]["ended"]["expired"] == 0


def test_one_identifier_both_ways_is_two_sessions():
    ask = [(0, ethernet(ip(*ends, 1, echo(5)))) for ends in ((CLIENT, SERVER), (SERVER, CLIENT))]
    reasons, engine = told(LINUX, *ask, (1, ethernet(ip(SERVER, CLIENT, 1, echo(5, reply=True)))))
    assert reasons == ["new", "new", "hit"]
    assert engine.sessions()["packets"].tolist() == [[1, 1], [1, 0]]
    assert engine.sessions()["zone"].tolist() == [0, 0]


def test_neighbour_discovery_makes_no_entry():
    frames = [(0, ethernet(ip("2001:db8::1", "2001:db8::2", 58, bytes((kind, *bytes(23))))))
              for kind in (133, 134, 135, 136, 130, 131, 132, 143)]
    reasons, engine = told(LINUX, *frames)
    assert set(reasons) == {"icmp_orphan"}
    assert engine.counters()["verdicts"]["forward"] == len(frames)
    assert engine.counters()["sessions"]["created"] == 0


def test_an_error_goes_to_whoever_sent_the_packet():
    quoted = ip(CLIENT, SERVER, 17, udp(4000, 53))
    right, wrong = (ethernet(ip("10.9.9.9", to, 1, icmp_error(quoted)))
                    for to in (CLIENT, "10.0.0.77"))
    reasons, _ = told(LINUX, (0, datagram(">")), (1, right), (1, wrong))
    assert reasons == ["new", "related", "icmp_orphan"]


def test_udp_that_lies_about_its_length_makes_no_entry():
    body = udp(1000, 53, 20)
    lies = [ethernet(ip(CLIENT, SERVER, 17, body[:4] + said.to_bytes(2, "big") + body[6:]))
            for said in (0, 7, 29, 65535)]
    reasons, engine = told(LINUX, *((0, lie) for lie in lies))
    assert set(reasons) == {"malformed"}
    assert engine.counters()["decode"]["malformed"] == 0
    assert engine.counters()["decode"]["udp"] == 4


def test_buckets_are_half_the_connections():
    assert load("linux-conntrack", max_connections=1001).buckets == 501
    assert load("plain", max_connections=1001).buckets == 251


def test_the_collector_leaves_95_percent_of_those_it_may_not_take():
    """A refused packet asks for it; it comes at the whole minute and takes what closes."""
    settings = load("linux-conntrack", max_connections=300, tcp_timewait_s=600, tcp_closewait_s=600)
    rows = []
    for port in range(1000, 1300):  # assured, and a third of them closing
        rows += [(0, segment(">S", port)), (0, segment("<SA", port)), (0, segment(">A", port))]
        if port % 3 == 0:
            rows += [(0, segment(">FA", port)), (0, segment("<A", port))]
    flood = [(1, segment(">S", port)) for port in range(2000, 2100)]
    reasons, engine = told(settings, *rows, *flood, (59, segment(">A", 1001)))
    assert reasons[-2] == "table_full"
    assert engine.counters()["sessions"]["live"] == 300
    _, engine = told(settings, *rows, *flood, (60, segment(">A", 1001)))
    assert engine.counters()["sessions"]["live"] == 3 * 95 - 1
    assert engine.counters()["sessions"]["ended"]["evicted"] == 16
    _, engine = told(settings, *rows, (60, segment(">A", 1001)))
    assert engine.counters()["sessions"]["live"] == 300  # nobody was refused


# --- every personality --------------------------------------------------------------------------


def test_a_malformed_first_fragment_takes_its_later_ones_along():
    broken = tcp(1000, 80)[:12] + bytes(20)
    first = ip(CLIENT, SERVER, 6, broken, more=True, identifier=3)
    later = ip(CLIENT, SERVER, 6, bytes(24), fragment=4, identifier=3)
    rows = (0, ethernet(first)), (1, ethernet(later)), (30, ethernet(later))
    for name in ("plain", "fortios-7", "linux-conntrack"):
        reasons, engine = told(load(name, max_connections=64), *rows)
        assert reasons == ["malformed", "malformed", "fragment_orphan"]
        assert engine.counters()["decode"]["malformed"] == 1


def test_so_do_those_of_a_malformed_ipv6_datagram():
    first = ip("2001:db8::1", "2001:db8::2", 60, bytes((6, 200, *bytes(22))), more=True)
    later = ip("2001:db8::1", "2001:db8::2", 60, bytes(24), fragment=3)
    reasons, _ = told(load("plain", max_connections=64), (0, ethernet(first)), (1, ethernet(later)))
    assert reasons == ["malformed", "malformed"]


def test_a_server_met_mid_stream_is_the_responder():
    rows = [(0, segment("<A")), (0, segment("<FA", 4001)), (0, segment("<R", 4002))]
    _, engine = told(load("plain", max_connections=64), *rows)
    assert engine.sessions()["packets"].tolist() == [[0, 1]] * 3
    assert states(engine) == ["ESTABLISHED", "FIN_WAIT_REPLY", "CLOSED"]
    _, engine = told(load("plain", max_connections=64, midstream_initiator="sender"), *rows)
    assert engine.sessions()["packets"].tolist() == [[1, 0]] * 3


def grace(**changes):
    return load("plain", max_connections=64, buckets=1, midstream="grace", midstream_grace_s=30,
                accounting="slab", session_bytes=4096, **changes)


def test_a_victim_gets_no_grace_until_a_syn_makes_it_anew():
    evict = {"pressure": [{"fail_nth": 2}]}
    rows = [(0, segment(">S")), (1, segment(">S", 4001)), (2, segment(">A"))]
    reasons, _ = told(grace(**evict), *rows)
    assert reasons == ["new", "new", "no_session"]
    reasons, _ = told(grace(**evict), *rows, (3, segment(">S")), (3, segment(">R")),
                      (8.5, segment(">A")))
    assert reasons[3:] == ["new", "hit", "new"]
    reasons, _ = told(grace(), *rows, (3, segment("<A", 4002)))
    assert reasons[2:] == ["tcp_invalid", "new"]


def test_nobody_is_told_from_victims_that_were_not_written_down():
    pair = Pair(grace(pressure=[{"fail_nth": 2}]).replace(midstream="allow"))
    pair.process(chunk((0, segment(">S")), (1, segment(">S", 4001))))
    pair.configure(midstream="grace")
    pair.process(chunk((2, segment(">A", 4007)), (3, segment(">S", 4007))))
    pair.compare()
    assert pair.engine.counters()["grace_unsure"] == 1


def test_grace_that_comes_later_knows_the_victims_from_then_on(tmp_path):
    """The memory for them is taken then; it is saved, and outlives another turn of the setting."""
    pair = Pair(grace(pressure=[{"fail_nth": 2}]).replace(midstream="drop"))
    assert pair.engine.fastpath.memory["graves"] == 0
    pair.process(chunk((0, segment(">S"))))
    pair.configure(midstream="grace")
    assert pair.engine.fastpath.memory["graves"] > 0
    pair.process(chunk((1, segment(">S", 4001)), (2, segment(">A"))))
    pair.compare()
    assert pair.engine.counters()["reasons"]["no_session"] == 1
    pair.configure(midstream="allow")
    pair.engine.save(tmp_path / "saved")
    saved = Engine.restore(tmp_path / "saved")
    for engine in (pair.engine, saved):
        engine.configure(midstream="grace")
        engine.process(chunk((3, segment(">A")), (4, segment(">A", 4009))))
        assert engine.counters()["reasons"]["no_session"] == 2      # a stranger is not refused
        assert engine.counters().get("grace_unsure", 0) == 0
    assert saved.outcome() == pair.engine.outcome()


def test_grace_whose_memory_cannot_be_had_leaves_all_as_it_was():
    with Engine(grace().replace(midstream="drop")) as engine:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (4096 * pages + (1 << 18), limits[1]))
        try:
            with pytest.raises(MemoryError):
                engine.configure(midstream="grace", half_open_limit=7)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
        assert (engine.settings.midstream, engine.settings.half_open_limit) == ("drop", 0)
        assert engine.configure(midstream="grace").midstream == "grace"
