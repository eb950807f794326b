"""Counters by name, laws that can be broken, and rows as others read them."""

from types import SimpleNamespace

import numpy as np
import pytest
from frames import echo, ethernet, ip, tcp, udp

from fwcore import counters
from fwcore._layout import COUNTERS_DTYPE, EndCause, Exposure, Reason, TcpState, Verdict
from fwcore.engine import Engine
from fwcore.settings import load

S = 10**9
PAGE = 4096
NEVER = [{"source": "192.0.2.1", "inspection": "none"}, {"inspection": "proxy"}]


def lived():
    """An engine after some packets of three hosts, with shm of its own and of a script."""
    engine = Engine(load(
        "fortios-7", ram_bytes=100 * PAGE, max_connections=8, policies=NEVER, victims_max=4,
        pressure=[{"at_s": 0, "owner": "shm", "add_bytes": 3 * PAGE}], proxy_session_bytes=PAGE))
    frames = [ethernet(ip(f"10.0.0.{host}", "192.0.2.9", 6, tcp(1000 + port, 80, "S")))
              for host in (1, 2, 3) for port in range(host)]
    frames.append(ethernet(ip("2001:db8::1", "2001:db8::9", 17, udp(5, 53))))
    engine.process_frames(frames, [S * i for i in range(len(frames))])
    return engine


def stand_in(engine):
    """What ``counters`` asks an engine, in copies that a test may change."""
    fastpath = engine.fastpath
    given = {name: getattr(fastpath, name)() for name in (
        "counters", "outcome_counts", "outcome_recount", "gauges", "owners", "decode_counts",
        "samples", "audit")}
    figures = SimpleNamespace(queue_pages=fastpath.queue_pages, **{
        name: (value.copy() if isinstance(value, np.ndarray) else value)
        for name, value in given.items()})

    class Asked(SimpleNamespace):
        shaper = None
        queue_pages = property(lambda self: figures.queue_pages)

    asked = Asked(**{name: lambda name=name: getattr(figures, name) for name in given})
    return figures, SimpleNamespace(
        fastpath=asked, settings=engine.settings, machines=engine.machines, flaps=5,
        transitions=SimpleNamespace(forgotten=6), events=SimpleNamespace(forgotten=7),
        _shaping=dict)


def added(rows, place):
    """The same tuple with one more at a place."""
    return tuple(value + (i == place) for i, value in enumerate(rows))


def change(figures, where, at):
    """One more in a figure: ("audit", "live"), ("owners", 3), ("counters", "ended")."""
    value = getattr(figures, where)
    if isinstance(value, dict):
        value[at] = added(value[at], 0) if isinstance(value[at], (list, tuple)) else value[at] + 1
    elif isinstance(value, np.ndarray):
        value[at] += 1
    elif hasattr(value, "_replace"):
        setattr(figures, where, value._replace(**{at: getattr(value, at) + 1}))
    else:
        setattr(figures, where, added(value, at))


BREAKS = [
    ("verdicts_recounted", "outcome_recount", (Verdict.DROP, Reason.DENIED)),
    ("live_by_scan", "audit", "hosts_live"),
    ("live_by_scan", "audit", "host_entries_wrong"),
    ("live_by_scan", "audit", "half_open"),
    ("index_entries", "audit", "index_entries"),
    ("index_entries", "audit", "misplaced"),
    ("timers", "audit", "timers"),
    ("timers", "audit", "timers_wrong"),
    ("timers", "audit", "overdue"),
    ("lists", "audit", "tags_wrong"),
    ("lists", "audit", "lines_wrong"),
    ("lists", "audit", "ages_wrong"),
    ("lists", "audit", "fragments_wrong"),
    ("created_accounted", "counters", "sessions_created"),
    ("created_accounted", "counters", "ended"),
    ("pages_total", "owners", 0),
    ("pages_total", "queue_pages", 0),
    ("pages_total", "gauges", "used_pages"),
    ("pages_total", "gauges", "free_pages"),
    ("buffer_pages", "audit", "shm_pages"),
    ("buffer_pages", "audit", "proxied"),
    ("buffer_pages", "counters", "script_shm"),
    ("buffer_pages", "counters", "proxy_sessions"),
    ("exposure_ledger", "counters", "exposed_packets"),
    ("tension_counted", "counters", "deleted"),
]


@pytest.mark.parametrize(("law", "where", "at"), BREAKS)
def test_one_figure_more_breaks_the_law(law, where, at):
    with lived() as engine:
        figures, asked = stand_in(engine)
    assert all(counters.laws(asked).values())
    change(figures, where, at)
    assert [name for name, holds in counters.laws(asked).items() if not holds] == [law]


def test_a_session_that_nobody_paid_for_breaks_a_law():
    """Slab of 4 a page: 7 sessions take 2 pages, 9 take 3."""
    with lived() as engine:
        figures, asked = stand_in(engine)
    for name in ("live", "index_entries", "hosts_live", "timers"):
        figures.audit[name] += 2
    figures.counters["sessions_live"] += 2
    figures.counters["sessions_created"] += 2
    assert [name for name, holds in counters.laws(asked).items() if not holds] == ["session_pages"]


def test_a_page_failure_while_every_machine_is_off_breaks_a_law():
    """Of 100 pages red is at 88; 87 used and one asked for is where conserve mode is hit."""
    with lived() as engine:
        figures, asked = stand_in(engine)
    raw = figures.counters
    for used, need, holds in ((86, 1, False), (87, 1, True), (80, 7, False), (80, 8, True)):
        raw |= {"failures_off": 1, "failure_used": used, "failure_need": need,
                "failure_free": 100 - used, "failure_cache": 0, "failure_shm": 0}
        assert counters.laws(asked)["page_failure_after_mode"] is holds
    raw["failures_off"] = 0
    assert counters.laws(asked)["page_failure_after_mode"]


def test_a_page_failure_is_held_against_the_memory_that_there_was():
    """A restart with a larger table has more pages where RAM is as much as is needed."""
    with Engine(load("fortios-7", ram_bytes="auto", base_bytes=PAGE, licence_tunnels=10**5,
                     tunnel_bytes_per_connection=PAGE, max_connections=10)) as engine:
        before = engine.settings.total_pages
        engine.take("shm", PAGE)
        assert engine.fastpath.counters()["failures_off"]
        engine.restart(max_connections=100)
        assert engine.settings.total_pages > before
        engine.check_laws()


def test_each_counter_under_its_name():
    """Every figure of the fast path is another number here: none takes another's place."""
    with lived() as engine:
        figures, asked = stand_in(engine)
    raw, number = figures.counters, iter(range(1000, 5000))
    for name, value in raw.items():
        raw[name] = ([next(number) for _ in value] if isinstance(value, (list, tuple))
                     else next(number))
    figures.gauges = figures.gauges._replace(
        used_pages=next(number), free_pages=next(number))
    figures.owners = tuple(next(number) for _ in range(4))
    figures.outcome_counts = np.zeros_like(figures.outcome_counts)
    figures.outcome_counts[Verdict.BYPASS, Reason.HIT] = 3
    figures.outcome_counts[Verdict.DROP, Reason.DENIED] = 4
    found = counters.counters(asked)
    causes = [cause.name.lower() for cause in EndCause]
    assert found["sessions"]["ended"] == dict(zip(causes, raw["ended"], strict=True))
    assert found["memory_tension"] == raw["ended"][EndCause.TENSION]
    assert [found["sessions"][name] for name in ("created", "live", "peak", "reborn")] == [
        raw[f"sessions_{name}"] for name in ("created", "live", "peak", "reborn")]
    stampede = found["stampede"]
    assert (stampede["passes"], stampede["pages_needed"]) == (
        raw["stampede_passes"], raw["stampede_pages_needed"])
    assert stampede["sessions_deleted"] == sum(raw["deleted"])
    for place, name in enumerate(("by_page", "by_full_table")):
        assert stampede[name] == {"passes": raw["passes_for"][place],
                                  "sessions_deleted": raw["deleted"][place]}
    memory = found["memory"]
    assert (memory["now"]["used"], memory["now"]["free"]) == figures.gauges[:2]
    owners = ("base", "sessions", "shm", "cache")
    assert [memory["now"][name] for name in owners] == list(figures.owners)
    assert [memory["peak"][name] for name in (*owners, "free", "used")] == raw["peaks"]
    assert (memory["script_short_pages"], memory["page_requests"], memory["page_failures"]) == (
        raw["memory_script_short_pages"], raw["memory_page_requests"], raw["memory_page_failures"])
    exposure = found["exposure"]
    assert (exposure["sessions"], exposure["packets"], exposure["bytes"]) == (
        raw["exposure_sessions"], sum(raw["exposed_packets"]), sum(raw["exposed_bytes"]))
    for place, cause in enumerate(Exposure):
        assert exposure["by_cause"][cause.name.lower()] == {
            name: raw[f"exposed_{name}"][place] for name in ("sessions", "packets", "bytes")}
    assert found["verdicts"] == {"forward": 0, "inspect": 0, "bypass": 3, "drop": 4}
    assert (found["reasons"]["hit"], found["reasons"]["denied"]) == (3, 4)
    assert found["proxy"] == {name: raw[f"proxy_{name}"] for name in (
        "sessions", "peak", "objects", "objects_bypassed", "objects_oversize")}
    assert found["ips"] == {"filled_bytes": raw["ips_filled_bytes"],
                            "full_count": raw["ips_full_count"]}
    assert [found[name] for name in (
        "flaps", "transitions_forgotten", "events_forgotten", "grace_unsure")] == [
            5, 6, 7, raw["grace_unsure"]]


def test_every_figure_of_the_data_plane_is_a_counter_or_told_otherwise():
    """A field without a line in the glossary would be counted, and shown to nobody."""
    told = {"outcome", "decode", "ended", "deleted", "passes_for", "victims",
            "exposed_packets", "exposed_bytes", "exposed_sessions",
            "failures_off", "failure_used", "failure_free", "failure_shm", "failure_cache",
            "failure_need"}
    assert set(COUNTERS_DTYPE.names) - counters.PATHS.keys() == told


def test_counters_stand_in_the_order_of_the_glossary():
    with lived() as engine:
        found = engine.counters()
    assert list(found) == [
        "packets", "bytes", "time_reversed", "verdicts", "reasons", "decode", "sessions",
        "memory_tension", "stampede", "memory", "exposure", "proxy", "ips", "fragments_forgotten",
        "flaps", "transitions_forgotten", "events_forgotten"]
    assert list(found["decode"]) == [
        "ipv4", "ipv6", "tcp", "udp", "icmp", "sctp", "other_ip", "non_ip", "fragments",
        "malformed", "truncated", "offloaded", "unsupported_link"]
    assert list(found["memory"]) == [
        "total_pages", "now", "peak", "script_short_pages", "page_requests", "page_failures"]


def test_what_came_later_stands_there_unless_it_is_0():
    with lived() as engine:
        figures, asked = stand_in(engine)
    figures.counters |= {"time_jumped": 0, "grace_unsure": 0}
    assert not {"time_jumped", "grace_unsure"} & counters.counters(asked).keys()
    figures.counters |= {"time_jumped": 1, "grace_unsure": 2}
    figures.queue_pages = (0, 3)
    found = counters.counters(asked)
    assert (found["time_jumped"], found["grace_unsure"]) == (1, 2)
    assert "queues" not in found["memory"]["now"]
    assert found["memory"]["peak"]["queues"] == 3


def test_the_timeline_has_each_owner_in_its_column():
    samples = np.zeros(2, Engine(load("plain", max_connections=1)).fastpath.samples().dtype)
    samples["pages"] = [[1, 2, 3, 4], [5, 6, 7, 8]]
    samples["free"], samples["mode"] = [9, 10], [0, 2]
    samples["reasons"][:, Reason.DENIED] = [0, 11]
    fastpath = SimpleNamespace(samples=lambda: samples, now_ns=0)
    found = counters.timeline(SimpleNamespace(fastpath=fastpath))
    assert [found[name] for name in ("base", "sessions", "shm", "cache", "free", "mode")] == [
        [1, 5], [2, 6], [3, 7], [4, 8], [9, 10], [0, 2]]
    assert found["reasons"] == {"denied": [0, 11]} and found["verdicts"] == {}


def test_a_victim_in_the_contracts_form():
    """Created at 1 s, last seen at 4 s, taken at 10 s."""
    settings = load("plain", max_connections=1, when_full="replace_oldest", zone="vlan")
    with Engine(settings) as engine:
        forth = ethernet(ip("10.0.0.1", "192.0.2.9", 6, tcp(1000, 80, "S")), 7)
        back = ethernet(ip("192.0.2.9", "10.0.0.1", 6, tcp(80, 1000, "SA")), 7)
        other = ethernet(ip("10.0.0.2", "192.0.2.9", 1, echo(5)))
        engine.process_frames([forth, back, other], [S, 4 * S, 10 * S])
        (victim,) = counters.victim_rows(engine.victims())
    assert victim == {
        "packet": 3, "created_packet": 1, "key": "10.0.0.1:1000-192.0.2.9:80/tcp@7",
        "cause": "evicted", "age_ns": 9 * S, "idle_ns": 6 * S, "bytes": len(forth) + len(back),
        "state": "SYN_RECV", "policy": 0, "inspection": "none"}


def test_both_halves_of_a_closing_session_are_called_fin_wait():
    names = {state: counters.state_name(int(state)) for state in TcpState}
    assert names[TcpState.FIN_WAIT] == names[TcpState.FIN_WAIT_REPLY] == "FIN_WAIT"
    assert all(names[state] == state.name for state in TcpState if "FIN_WAIT" not in state.name)


def test_hosts_are_numbered_by_address_then_family():
    """The same number in both families is two hosts; IPv4 stands first."""
    with Engine(load("plain")) as engine:
        rows = np.zeros(5, engine.sessions().dtype)
    for row, (text, family) in zip(rows, (
            ("0a000002", 4), ("0" * 24 + "0a000002", 6), ("0a000001", 4),
            ("20010db8" + "0" * 23 + "1", 6), ("0a000002", 4)), strict=True):
        row["initiator"][:len(text) // 2] = list(bytes.fromhex(text))
        row["family"] = family
    place, first = counters.hosts_of(rows)
    assert place.tolist() == [1, 2, 0, 3, 1]
    assert first.tolist() == [2, 0, 1, 3]
    assert [counters.host_key(rows[i]) for i in first] == [
        (0x0A000001, 4), (0x0A000002, 4), (0x0A000002, 6), (0x20010DB8 << 96 | 1, 6)]
