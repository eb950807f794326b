"""Shaping in the engine against the firewall's twin: random settings, traffic and deeds."""

from __future__ import annotations

import numpy as np
import pytest
from examples import SHARE
from frames import dns, echo, ethernet, icmp_error, ip, tcp, udp
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from twin import Pair

from fwcore import _shaper
from fwcore.capture import Chunk
from fwcore.engine import Engine
from fwcore.errors import ConfigFrozen, DataError, SettingsError
from fwcore.report import facts
from fwcore.settings import load

MS = 10**6
START = 10**18
PAGE = 4096
HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.1.3", "192.0.2.9")
HOSTS6 = ("2001:db8::1", "2001:db8::2", "2001:db8:1::3", "2001:db8:9::9")
RATES = (0, 400_000, 1_000_000, "3Mbit", 1_000_007)


@st.composite
def meter(draw, name):
    count = draw(st.sampled_from(("ip", "frame", "wire", "packets")))
    rungs = [{"rate": draw(st.sampled_from((8, 8000, 300_000))),
              "depth": draw(st.integers(1, 4000)),
              **draw(st.sampled_from(({}, {"dscp": 10}, {"class": 2})))}
             for _ in range(draw(st.integers(1, 2)))]
    key = draw(st.sampled_from(("none", "policy", "rule", "source", "destination", "initiator")))
    limits = draw(st.sampled_from(({}, {"max_sessions": 2}, {"max_udp_sessions": 1}))) \
        if key == "initiator" else {}
    over = draw(st.sampled_from(({}, {"over": "pass"}, {"over": "class", "over_class": 3})))
    return {"name": name, "rungs": rungs, "key": key, "count": count,
            "keys_max": draw(st.integers(1, 4)), "overhead_bytes": draw(st.integers(-20, 20)),
            "need": draw(st.sampled_from(("packet", "level"))), **limits, **over}


@st.composite
def leaf(draw, link, number, parent=0):
    discard = draw(st.sampled_from((
        {}, {"discard": "red", "red_min": 1, "red_max": 6, "red_probability": 50},
        {"discard": "codel", "target": "2ms", "interval": "9ms", "ecn": True})))
    share = draw(st.sampled_from((
        {}, {"share": "flow", "shares": 3}, {"share": "source", "shares": 2},
        {"share": "destination", "shares": 2, "share_ceiling": 200_000, "share_burst": 2000})))
    need = {} if discard.get("discard") == "codel" else draw(
        st.sampled_from(({}, {"need": "packet"})))
    buckets = draw(st.sampled_from((
        {}, {"guarantee": 50_000, "guarantee_burst": 1600},
        {"ceiling": 300_000, "ceiling_burst": 3000},
        {"guarantee": 90_000, "ceiling": 400_000, "ceiling_burst": 1700})))
    return {"link": link, "id": number, "parent": parent, "priority": draw(st.integers(0, 2)),
            "limit_packets": draw(st.integers(1, 9)),
            "quantum_bytes": draw(st.integers(256, 2000)), **discard, **share, **need, **buckets}


@st.composite
def shaping(draw):
    """Meters, one or two links in a chain with their trees, and rows."""
    links = [{"name": "a", "rate": draw(st.sampled_from(RATES)),
              "next": draw(st.sampled_from(("", "b")))},
             {"name": "b", "rate": draw(st.sampled_from(RATES)), "count": "wire"}]
    classes = [draw(leaf("a", 2)), draw(leaf("a", 3)),
               {"link": "b", "id": 9, "guarantee": 200_000, "ceiling": 900_000},
               draw(leaf("b", 2, 9)), draw(leaf("b", 3, draw(st.sampled_from((0, 9)))))]
    names = st.lists(st.sampled_from(("m", "n")), max_size=3)
    out = st.sampled_from(("a", "a", "b", ""))
    rows = []
    for number in range(draw(st.integers(1, 3))):
        row = {"id": number + 1, "meters": draw(names), "reply_meters": draw(names),
               "link": draw(out), "reply_link": draw(out),
               **draw(st.sampled_from(({}, {"source": ["10.0.0.0/24", "2001:db8::/64"]},
                                       {"protocol": "udp", "ports": [53]}, {"dscp": [0, 46]},
                                       {"policy": [2]})))}
        if row["link"] and draw(st.booleans()):
            row["class"] = draw(st.integers(2, 3))
            row["class_by_dscp"] = {"46": 2, "0": 3}
        if row["reply_link"] and draw(st.booleans()):
            row["reply_class_by_dscp"] = draw(st.sampled_from(({}, {"46": 3}, {"0": 2, "46": 3})))
        rows.append(row)
    return {"meters": [draw(meter("m")), draw(meter("n"))], "links": links, "classes": classes,
            "shapings": rows}


PACKETS = st.lists(st.tuples(
    st.sampled_from((0, 0, 1000, MS, 7 * MS, 60 * MS, 2000 * MS, -5 * MS)),
    st.sampled_from(("udp", "udp", "tcp", "tcp", "error", "first", "later")),
    st.integers(0, 3), st.integers(0, 3), st.integers(0, 2), st.sampled_from((53, 443)),
    st.booleans(), st.sampled_from((0, 0, 46 << 2, 2, 46 << 2 | 1)), st.integers(0, 1400),
    st.booleans()), min_size=1, max_size=30)


def frame_of(row) -> bytes:
    _, kind, a, b, port, service, reply, mark, payload, six = row
    hosts = HOSTS6 if six else HOSTS
    ends, ports = (hosts[a], hosts[b]), (1000 + port, service)
    if reply:
        ends, ports = ends[::-1], ports[::-1]
    if kind == "error":
        quoted = ip(*ends, 17, udp(*ports))
        body = ip(ends[1], ends[0], 58 if six else 1, icmp_error(quoted, 1 if six else 3))
    elif kind == "first":
        body = ip(*ends, 17, udp(*ports, 16), more=True, identifier=port)
    elif kind == "later":
        body = ip(*ends, 17, bytes(24), fragment=3, identifier=port)
    elif kind == "tcp":
        body = ip(*ends, 6, tcp(*ports, "PA" if payload % 3 else "S", payload))
    else:
        body = ip(*ends, 17, udp(*ports, payload))
    marked = bytearray(body)
    if six:
        marked[0] = 0x60 | mark >> 4
        marked[1] = (mark & 15) << 4 | marked[1] & 15
    else:
        marked[1] = mark
    return ethernet(bytes(marked))


def chunk_of(table, now) -> Chunk:
    times = []
    for row in table:
        now += row[0]
        times.append(max(0, now))
    return Chunk.from_frames([frame_of(row) for row in table], times)


DEEDS = st.lists(st.one_of(
    st.tuples(st.just("packets"), PACKETS, st.integers(1, 20)),
    st.tuples(st.just("packets"), PACKETS, st.just(1000)),
    st.tuples(st.just("advance"), st.sampled_from((0, MS, 300 * MS, 10**11))),
    st.tuples(st.just("configure"), shaping()),
    st.tuples(st.just("unshape")), st.tuples(st.just("clear")),
    st.tuples(st.just("restart"), st.sampled_from((4, 40)), st.booleans()),
    st.tuples(st.just("save")),
    st.tuples(st.just("drain"))), min_size=1, max_size=4)
BESIDE = st.sampled_from((
    {}, {"queue_accounting": "bytes"},
    {"queue_accounting": "bytes", "ram_bytes": 14 * PAGE, "base_bytes": 4 * PAGE,
     "accounting": "slab", "session_bytes": 2000, "when_full": "tension"},
    {"queue_accounting": "bytes", "personality": "fortios-7", "ram_bytes": 30 * PAGE,
     "base_bytes": 22 * PAGE, "cache_limit_bytes": 0, "session_bytes": 2000},
    {"queue_packets_max": 3}, {"max_connections": 3}, {"zone": "vlan"},
    {"personality": "linux-conntrack"}))
POLICIES = [{"id": 1, "protocol": "tcp", "inspection": "flow+proxy"}, {"id": 2}]


def do(pair, deed, *what):
    """One deed; what is refused is done to neither."""
    now = max(pair.twin.now, START)
    if deed == "packets":
        chunk = chunk_of(what[0], now)
        for at in range(0, len(chunk), what[1]):
            pair.process(chunk.slice(at, min(len(chunk), at + what[1])))
    elif deed == "advance":
        pair.advance(now + what[0])
    elif deed in ("drain", "clear", "save"):
        getattr(pair, deed)()
    else:
        try:
            if deed == "restart":
                pair.restart(max_connections=what[0], keep=what[1])
            else:
                pair.configure(**(what[0] if what else {"shapings": []}))
        except (SettingsError, ConfigFrozen):
            pass


@hypothesis_settings(max_examples=SHARE, deadline=None,
                     suppress_health_check=list(HealthCheck))
@given(shaping(), BESIDE, PACKETS, DEEDS, st.integers(1, 64))
def test_the_engine_shapes_as_the_twin_does(rows, beside, first, deeds, group):
    settings = load(**{"seed": 1, "max_connections": 40, "policies": POLICIES, "victims_max": 100,
                       "fragments_max": 16, **beside, **rows})
    pair = Pair(settings, group=group, departures=True)
    do(pair, "packets", first, 7)
    for deed in deeds:
        do(pair, *deed)
        pair.compare()
    do(pair, "drain")
    pair.compare()
    left = [(row.packet, row.time_ns, row.link, row.cls, row.fate,
             255 if row.dscp is None else row.dscp) for row in pair.twin.shaper.departures]
    found = [(*row[:4], _shaper.FATES[row[4]], row[5])
             for row in pair.engine.departures().tolist()]
    assert found == left


def test_however_packets_are_cut_they_leave_alike():
    rows = {"links": [{"name": "w", "rate": "1Mbit"}], "shapings": [{"id": 1, "link": "w"}]}
    table = [(MS, "udp", n % 3, 3, n % 3, 53, False, 0, 300, False) for n in range(200)]
    chunk, found = chunk_of(table, START), []
    for cut, group in ((1, 1), (7, 32), (1000, 64)):
        engine = Engine(load(seed=1, max_connections=64, **rows), departures=True, group=group)
        for at in range(0, len(chunk), cut):
            engine.process(chunk.slice(at, min(len(chunk), at + cut)))
        engine.drain()
        found.append((engine.outcome(), engine.departures().tolist()))
        assert all(engine.laws().values())
    assert found[0] == found[1] == found[2]
    assert len(found[0][1]) == 200


def test_without_a_row_nothing_of_shaping_exists():
    rows = {"meters": [{"name": "m", "rungs": [{"rate": 8, "depth": 1}]}],
            "links": [{"name": "w", "rate": 1}]}
    chunk = chunk_of([(MS, "udp", 0, 3, 0, 53, False, 0, 300, False)] * 50, START)
    plain = Engine(load(seed=1, max_connections=64))
    declared = Engine(load(seed=1, max_connections=64, **rows))
    for engine in (plain, declared):
        engine.process(chunk)
        engine.drain()
        assert len(engine.departures()) == 0
        assert "shaping" not in engine.counters()
    assert plain.outcome() == declared.outcome()


def test_what_a_meter_drops_is_in_no_exposure_and_no_session():
    """Red at once: TCP is bypassed (av-failopen pass); two of five packets conform."""
    rows = {"meters": [{"name": "m", "rungs": [{"rate": 8, "depth": 300}]}],
            "shapings": [{"id": 1, "meters": ["m"]}]}
    settings = load("fortios-7", seed=1, max_connections=64, ram_bytes=100 * PAGE,
                    base_bytes=90 * PAGE,
                    policies=[{"id": 1, "inspection": "proxy"}], cache_limit_bytes=0, **rows)
    pair = Pair(settings)
    frames = [ethernet(ip("10.0.0.1", "10.0.0.2", 6, tcp(1000, 80, flags, 80)))
              for flags in ("S", "A", "A", "A", "A")]
    pair.process(Chunk.from_frames(frames, [START] * 5))
    pair.compare()
    counters = pair.engine.counters()
    assert counters["reasons"]["over_limit"] == 3
    assert counters["exposure"]["packets"] == 2
    (session,) = pair.engine.sessions()
    assert session["packets"].tolist() == [2, 0]
    assert session["bytes"].tolist() == [2 * len(frames[0]), 0]


def test_a_queue_drives_a_firewall_into_conserve_mode_and_out_again():
    """100 pages, 79 of them base and one of sessions: red at 88, green at 82 (FortiOS 7).

    Frames of 4096 bytes on a line of 1 Mbit/s take 32.768 ms each; the n-th queued one is the n-th
    page. The 8th makes 88: on with that packet. Below 82 when one is left: of 12 the 11th leaves
    at 11 x 32.768 ms, between packets.
    """
    rows = {"links": [{"name": "w", "rate": "1Mbit"}], "shapings": [{"id": 1, "link": "w"}]}
    settings = load("fortios-7", seed=1, max_connections=64, ram_bytes=100 * PAGE,
                    base_bytes=79 * PAGE,
                    cache_limit_bytes=0, queue_accounting="bytes", **rows)
    pair = Pair(settings)
    frame = ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(1000, 53, 4096 - 42)))
    pair.process(Chunk.from_frames([frame] * 12, [START] * 12))
    pair.advance(START + 10**9)
    pair.compare()
    told = [(row["packet"], row["cause"], row["time_ns"] - START, row["to"], row["used_pages"])
            for row in pair.engine.transitions.to_dicts()]
    assert told == [(8, "packet", 0, "on", 88), (12, "time", 360_448_000, "off", 81)]
    assert pair.engine.counters()["memory"]["peak"]["queues"] == 12
    assert "queues" not in pair.engine.counters()["memory"]["now"]


def test_pages_of_queues_are_used_and_seen_over_time():
    """Sixty pages of base, one of sessions, twelve of queues: what is used is all of them."""
    rows = {"links": [{"name": "w", "rate": "1Mbit"}], "shapings": [{"id": 1, "link": "w"}]}
    engine = Engine(load("fortios-7", seed=1, max_connections=64, ram_bytes=100 * PAGE,
                         base_bytes=60 * PAGE, cache_limit_bytes=0, queue_accounting="bytes",
                         timeline_interval_s=0.01, **rows))
    frame = ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(1000, 53, 4096 - 42)))
    engine.process(Chunk.from_frames([frame] * 12, [START] * 12))
    engine.advance(START + 10**9)
    columns = facts.timeline(engine.result())
    assert facts.owners(columns) == ("base", "sessions", "shm", "queues", "cache")
    assert (columns["queues"].max(), columns["used"].max()) == (12, 73)
    assert (columns["queues"][-1], columns["used"][-1]) == (0, 61)


def test_a_full_memory_drops_what_would_wait():
    rows = {"links": [{"name": "w", "rate": 8000}], "shapings": [{"id": 1, "link": "w"}]}
    settings = load("plain", seed=1, ram_bytes=4 * PAGE, base_bytes=PAGE, session_bytes=64,
                    max_connections=4, queue_accounting="bytes", cache_limit_bytes=0, **rows)
    pair = Pair(settings)
    frame = ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(1000, 53, 1458)))
    pair.process(Chunk.from_frames([frame] * 8, [START] * 8))
    pair.compare()
    assert pair.engine.counters()["reasons"]["no_memory"] == 3  # 5 x 1500 bytes in 2 pages
    assert pair.engine.counters()["memory"]["now"]["queues"] == 2


def test_departures_are_kept_only_when_asked_for():
    rows = {"links": [{"name": "w"}], "shapings": [{"id": 1, "link": "w"}]}
    chunk = chunk_of([(MS, "udp", 0, 3, 0, 53, False, 0, 300, False)] * 3, START)
    for kept in (False, True):
        engine = Engine(load(seed=1, max_connections=64, **rows), departures=kept)
        engine.process(chunk)
        assert len(engine.departures()) == 3 * kept
        assert len(engine.departures()) == 0


def test_many_departures_come_between_the_packets_of_a_chunk():
    rows = {"links": [{"name": "w"}], "shapings": [{"id": 1, "link": "w"}]}
    count = 9000
    frame = ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(1000, 53, 10)))
    chunk = Chunk.from_frames([frame] * count, [START] * count)
    engine = Engine(load(seed=1, max_connections=64, **rows), departures=True)
    engine.process(chunk)
    assert np.array_equal(engine.departures()["packet"], np.arange(1, count + 1))


@pytest.mark.parametrize("name", ["meters", "links", "classes", "shapings"])
def test_a_plan_of_numbers_that_lead_nowhere_is_refused(name):
    from fwcore.shaping_layout import lay_out

    plan = lay_out(load(
        seed=1, meters=[{"name": "m", "rungs": [{"rate": 8, "depth": 1}]}],
        links=[{"name": "w"}], shapings=[{"id": 1, "meters": ["m"], "link": "w"}]).shaping)
    kind, field, value = {"meters": ("meters", "rungs", 9), "links": ("links", "next", 1),
                          "classes": ("classes", "link", 1),
                          "shapings": ("rows", "meters", 1)}[name]
    getattr(plan, kind)[field] = value
    with pytest.raises(DataError):
        _shaper.Shaper(plan)


def test_with_a_shaper_a_restart_does_not_set_the_clock_back():
    """Meters and links know no time before their last one."""
    rows = {"meters": [{"name": "m", "rungs": [{"rate": 8000, "depth": 100}]}],
            "links": [{"name": "a", "rate": 80_000}],
            "shapings": [{"id": 1, "link": "a", "meters": ["m"]}]}
    pair = Pair(load("plain", config_freeze=False, seed=1, max_connections=16, **rows))
    for at in (START, 10**9, 2 * 10**9, START + 10**9):
        pair.process(Chunk.from_frames([ethernet(ip(HOSTS[0], HOSTS[3], 17, udp(1, 2, 30)))], [at]))
        pair.restart()
    pair.compare()
    assert pair.engine.counters()["time_reversed"] == 2


def test_what_comes_after_a_drain_arrives_when_that_ended():
    """The clock stood while all left; what happens until it is there again sets no link back."""
    pair = Pair(load(
        "plain", seed=1, max_connections=16,
        links=[{"name": "slow", "rate": 8}, {"name": "wan", "rate": 8_000_000}],
        shapings=[{"id": 1, "link": "slow", "protocol": "udp"}, {"id": 2, "link": "wan"}],
    ), departures=True)
    other = ethernet(ip(HOSTS[0], HOSTS[3], 1, echo(1)))
    pair.process(Chunk.from_frames([dns(1)], [START], [1000]))
    pair.drain()
    end = START + 1000 * 10**9
    for second in range(200, 900, 200):  # sessions have ended before
        pair.process(Chunk.from_frames([other], [START + second * 10**9]))
        pair.compare()
    assert pair.engine.departures()["time_ns"].min() == end


def test_a_clock_that_was_not_set_back_leaves_what_is_noted_of_modes():
    rows = {"links": [{"name": "a", "rate": 80_000}], "shapings": [{"id": 1, "link": "a"}]}
    pair = Pair(load("fortios-7", config_freeze=False, seed=1, max_connections=16, **rows))
    for at in (START, 10**9):
        pair.process(Chunk.from_frames([ethernet(ip(HOSTS[0], HOSTS[3], 17, udp(1, 2, 30)))], [at]))
        pair.force("extreme")
        pair.force(None)
        pair.restart()
    pair.compare()
    assert pair.engine.counters()["flaps"] == 1
    assert pair.engine.mode_times_ns() == {"off": 0, "on": 0, "extreme": 0}


@hypothesis_settings(max_examples=SHARE, deadline=None)
@given(st.sampled_from(("none", "source", "policy")), st.sampled_from(("packet", "level")),
       st.sampled_from(("drop", "pass")), st.sampled_from(("ip", "frame", "wire")),
       st.sampled_from((60, 100, 1000)), st.integers(-20, 20), st.sampled_from((8, 8000, 10**6)),
       st.lists(st.tuples(st.sampled_from((0, 1, 7 * MS, 100 * MS)),
                          st.sampled_from((60, 100, 1000)), st.integers(0, 2)),
                min_size=1, max_size=40))
def test_a_bucket_that_stands_alone_is_asked_as_any_other(
    key, need, over, count, depth, overhead, rate, packets,
):
    """Where somebody wants to be told of arrivals, packets go the way that others go."""
    row = {"name": "m", "key": key, "need": need, "over": over, "count": count,
           "overhead_bytes": overhead, "rungs": [{"rate": rate, "depth": depth}]}
    frames = [ethernet(ip(HOSTS[host], "192.0.2.1", 17, udp(9, 9, size - 42)))
              for _, size, host in packets]
    times = START + np.cumsum([gap for gap, _, _ in packets])
    found = []
    for told in (False, True):
        engine = Engine(load("plain", seed=1, max_connections=10, meters=[row],
                             shapings=[{"id": 1, "meters": ["m"]}]), arrivals=told)
        judged = engine.process(Chunk.from_frames(frames, times.tolist()))
        found.append((judged.tolist(), engine.shaping(), engine.outcome()))
        assert all(engine.laws().values())
    assert found[0] == found[1]


def marked(mark, number, size):
    """A datagram of a host with this DSCP."""
    packet = bytearray(ip(f"10.0.0.{number}", HOSTS[3], 17, udp(9, 9, size - 42)))
    packet[1] = mark << 2
    return ethernet(bytes(packet))


@pytest.mark.parametrize("told", [False, True])
def test_a_packet_goes_to_the_class_of_its_mark(told):
    """Its own, whatever that of its session's first one was."""
    classes = [{"link": "wan", "id": number} for number in (1, 2, 3)]
    pair = Pair(load("plain", max_connections=64, links=[{"name": "wan", "rate": 8_000_000}],
                     classes=classes, shapings=[{"link": "wan", "class": 2, "class_by_dscp": {
                         "46": 3, "0": 1}}]), departures=True, arrivals=told)
    marks = (46, 0, 8, 46)
    pair.process(Chunk.from_frames([marked(mark, 1, 60) for mark in marks], [START] * 4))
    pair.drain()
    pair.compare()
    rows = pair.engine.departures()
    assert dict(zip(rows["packet"].tolist(), rows["class"].tolist(), strict=True)) == {
        1: 3, 2: 1, 3: 2, 4: 3}


def test_what_a_header_says_is_known_wherever_something_asks():
    """A meter's count, a row's mark; by settings that changed, too. Else it is not looked at."""
    meter = {"name": "m", "rungs": [{"rate": 8, "depth": 100}], "count": "frame"}
    row = {"meters": ["m"]}
    pair = Pair(load("plain", max_connections=64, meters=[meter], shapings=[row]))
    times = iter(range(START, START + 10**14, 10**12))      # each finds the bucket full

    def passed(mark, number, size):
        frame = marked(mark, number, size) + bytes(20)      # padded
        counted = pair.engine.shaping()["meters"]["m"]["passed"]["bytes"]
        pair.process(Chunk.from_frames([frame], [next(times)]))
        pair.compare()
        return pair.engine.shaping()["meters"]["m"]["passed"]["bytes"] - counted

    assert passed(0, 1, 60) == 80
    pair.configure(meters=[{**meter, "count": "ip"}])
    assert passed(0, 1, 60) == 46
    pair.configure(meters=[meter], shapings=[{**row, "dscp": [46]}])
    assert (passed(46, 2, 60), passed(0, 3, 60)) == (80, 0)


@pytest.mark.parametrize("metered", [False, True])
def test_a_link_that_comes_back_has_none_of_its_old_sessions(metered):
    """A name that went away is gone for them, whoever bears it later; new sessions have it."""
    wan, other = ({"name": name, "rate": 8_000_000} for name in ("wan", "other"))
    meters = [{"name": "m", "rungs": [{"rate": 8_000_000, "depth": 9000}]}] if metered else []
    row = {"link": "wan", "meters": [meter["name"] for meter in meters]}
    pair = Pair(load("plain", max_connections=64, links=[wan], meters=meters, shapings=[row]))
    times = iter(range(10**9, 10**11, 10**9))

    def passed(number):
        pair.process(Chunk.from_frames([dns(number)], [next(times)]))
        pair.compare()
        found = pair.engine.counters()["shaping"]
        return found["unshaped"]["packets"], {
            name: link["queue_peak"]["packets"] for name, link in found["links"].items()}

    assert passed(1) == (0, {"wan": 1})
    pair.configure(links=[{**wan, "rate": 9_000_000}])      # it stands: they keep it
    assert passed(1) == (0, {"wan": 1})
    pair.configure(links=[other], shapings=[{**row, "link": "other"}])
    assert passed(1) == (not metered, {"other": 0})
    pair.configure(links=[other, wan], shapings=[row])
    assert passed(1) == (2 * (not metered), {"other": 0, "wan": 0})
    pair.save()
    assert passed(1) == (3 * (not metered), {"other": 0, "wan": 0})
    assert passed(2) == (3 * (not metered), {"other": 0, "wan": 1})


def test_who_comes_behind_others_of_its_class_is_held_to_the_limits():
    """While the line is busy nothing else changes; a limit of packets and one of bytes."""
    for limit, waiting in (({"limit_packets": 3}, 3), ({"limit_bytes": 2500}, 2)):
        pair = Pair(load("plain", max_connections=64, links=[{"name": "w", "rate": 8000}],
                         classes=[{"link": "w", "id": 1, "limit_packets": 90, **limit}],
                         shapings=[{"link": "w"}]))
        pair.process(Chunk.from_frames([dns(1)] * 9, [START] * 9, [1000] * 9))
        pair.compare()
        assert pair.engine.result()["reasons"]["queue_full"] == 9 - 1 - waiting


def test_what_a_drain_gave_back_is_seen_at_its_own_time_when_something_follows():
    """Not when a row of the timeline is due."""
    pair = Pair(load("fortios-7", ram_bytes=100 * PAGE, base_bytes=75 * PAGE, max_connections=16,
                     accounting="slab", cache_limit_bytes=0, queue_accounting="bytes", seed=1,
                     timeline_interval_s=0.001, links=[{"name": "wan", "rate": 8000}],
                     shapings=[{"link": "wan", "protocol": "udp"}]))
    pair.process(Chunk.from_frames([dns(1)] * 9, [START] * 9, [2 * PAGE] * 9))
    pair.drain()
    pair.compare()
    assert pair.engine.mode == "on"
    pair.advance(START + 10**9)
    pair.compare()
    assert (pair.engine.mode, pair.engine.transitions[-1].time_ns) == ("off", START)


@pytest.mark.parametrize("deed", ["configure", "drain"])
def test_what_is_done_by_hand_is_done_now(deed):
    """Not when a packet last came to a link: here one was dropped since."""
    pair = Pair(load("plain", max_connections=64, links=[{"name": "wan", "rate": 1}],
                     shapings=[{"link": "wan"}], policies=[{"id": 1, "protocol": "udp"}]),
                departures=True)
    pair.process(Chunk.from_frames([dns(1), dns(1)], [START, START], [1 << 31, 1500]))
    denied = ethernet(ip(HOSTS[0], HOSTS[3], 1, echo(1)))
    pair.process(Chunk.from_frames([denied], [START + 10**9]))
    if deed == "drain":
        pair.drain()            # both would leave after the end of time
    else:
        pair.configure(classes=[{"link": "wan", "id": 1, "limit_bytes": 100}])
    pair.compare()
    assert set(pair.engine.departures()["time_ns"].tolist()) == {START + 10**9}


def test_a_debt_that_no_level_holds_breaks_no_bound():
    """Two frames of 4 GB at 8 bit/s: the first one's debt is cut to 73 of its 136 years."""
    pair = Pair(load("plain", max_connections=4, shapings=[{"meters": ["m"]}], meters=[
        {"name": "m", "rungs": [{"rate": 8, "depth": 300}], "need": "level", "count": "frame"}]))
    for time_ns in (0, 24 * 10**17):
        pair.process(Chunk.from_frames([dns(1)], [time_ns], [2**32 - 1]))
        pair.compare()
    assert pair.engine.shaping()["meters"]["m"]["passed"]["packets"] == 2


def test_packets_whose_link_and_meters_went_away_are_counted():
    """They met nothing, and were in no figure."""
    link = {"name": "wan", "rate": 8_000_000}
    meter = {"name": "m", "rungs": [{"rate": 8_000_000, "depth": 9000}]}
    pair = Pair(load("plain", max_connections=64, links=[link], meters=[meter], shapings=[
        {"link": "wan", "protocol": "udp"}, {"meters": ["m"], "protocol": "tcp"}]))
    times = iter(range(10**9, 10**11, 10**9))
    syn = ethernet(ip("10.0.0.1", "10.9.0.1", 6, tcp(1000, 80, "S")))

    def pass_one():
        pair.process(Chunk.from_frames([dns(1), syn], [at := next(times), at + 1]))
        return pair.engine.shaping()["unshaped"]["packets"]

    assert pass_one() == 0
    pair.configure(links=[], shapings=[{"meters": ["m"], "protocol": "tcp"}])
    assert pass_one() == 1                      # the datagram; the segment has its meter
    pair.configure(meters=[], shapings=[])
    pair.save()
    assert pass_one() == 3
    pair.configure(links=[{**link, "name": "other"}])
    assert pass_one() == 5
    pair.compare()
