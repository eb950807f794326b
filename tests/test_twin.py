"""The engine against its plain twin, verdict by verdict, on random traffic and random settings."""

from __future__ import annotations

from examples import MANY
from frames import echo, ethernet, icmp_error, ip, tcp, udp
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from twin import Pair, assert_same

from fwcore._layout import LATEST_NS
from fwcore.capture import Chunk
from fwcore.settings import load

PAGE = 4096
HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.1.3", "192.0.2.9")
HOSTS6 = ("2001:db8::1", "2001:db8::2", "2001:db8:1::3", "2001:db8:9::9")
STEPS_NS = (0, 1, 1000, 10**6, 4 * 10**8, 10**9, 3 * 10**9, 12 * 10**9, 70 * 10**9, -5 * 10**8,
            5000 * 10**9, 50 * 365 * 86400 * 10**9)
TCP_FLAGS = ("S", "SA", "A", "PA", "FA", "R", "RA", "F", "", "SF", "SR", "AU", "SU", "RU")
PAYLOADS = (0, 1, 100, 1400, 4096, 9000)
KINDS = ("tcp", "tcp", "tcp", "tcp", "udp", "udp", "udp", "echo", "gre", "error", "first", "later",
         "icmp", "liar", "broken")
ICMP_TYPES = (0, 8, 9, 13, 14, 15, 16, 17, 18, 42, 128, 129, 130, 135, 137, 139, 140, 143)

rows = st.tuples(
    st.sampled_from(STEPS_NS), st.sampled_from(KINDS), st.integers(0, 3), st.integers(0, 3),
    st.integers(0, 3), st.integers(0, 2), st.booleans(), st.sampled_from(TCP_FLAGS),
    st.sampled_from(PAYLOADS), st.booleans())


def frame_of(row) -> bytes:
    """One row of a table of packets as a frame."""
    _, kind, a, b, port, service, reply, flags, payload, six = row
    hosts = HOSTS6 if six else HOSTS
    ends = (hosts[a], hosts[b])
    ports = (1000 + port, (80, 443, 53)[service])
    if reply:
        ends, ports = ends[::-1], ports[::-1]
    if kind == "tcp":
        return ethernet(ip(*ends, 6, tcp(*ports, flags, payload)))
    if kind == "udp":
        return ethernet(ip(*ends, 17, udp(*ports, payload)), *[port] * (service == 2))
    if kind == "echo":
        return ethernet(ip(*ends, 58 if six else 1, echo(port, reply, 6 if six else 4)))
    if kind == "icmp":
        number = (payload + port * 5 + service) % len(ICMP_TYPES)
        body = bytes((ICMP_TYPES[number], 0, 0, 0, 0, port, 0, 1))
        return ethernet(ip(*ends, 58 if six else 1, body))
    if kind == "liar":  # UDP whose length is not that of the packet
        body = udp(*ports, 20)
        said = (0, 7, 8, 28, 29, 60)[payload % 6]
        return ethernet(ip(*ends, 17, body[:4] + said.to_bytes(2, "big") + body[6:]))
    if kind == "broken":  # a data offset of 0, in a first fragment or not
        return ethernet(ip(*ends, 6, tcp(*ports, flags)[:12] + bytes(20), more=port > 1,
                           identifier=service))
    if kind == "gre":
        return ethernet(ip(*ends, 47, bytes(payload % 50)))
    if kind == "error":
        quoted = ip(*ends, 6 if flags == "S" else 17, udp(*ports))
        back = ends[0] if port else ends[1]
        cut = quoted[:44 if six else 24] if service == 1 else quoted
        return ethernet(ip(ends[1], back, 58 if six else 1, icmp_error(cut, 1 if six else 3)))
    if kind == "first":
        return ethernet(ip(*ends, 17, udp(*ports, 16), more=True, identifier=service))
    return ethernet(ip(*ends, 17, bytes(24), fragment=3, identifier=service))


def chunk_of(table) -> Chunk:
    """The table's packets, times added up from a fixed start."""
    now, times = 10**18, []
    for row in table:
        now = min(now + row[0], LATEST_NS)
        times.append(now)
    return Chunk.from_frames([frame_of(row) for row in table], times)


policy = st.fixed_dictionaries({
    "source": st.sampled_from(["any", ["10.0.0.0/24"], ["10.0.0.1/32", "2001:db8::/64"]]),
    "destination": st.sampled_from(["any", ["192.0.2.0/24", "2001:db8:9::/48"]]),
    "protocol": st.sampled_from(["any", "tcp", "udp", 47]),
    "action": st.sampled_from(["accept", "accept", "accept", "accept", "deny", "local"]),
    "inspection": st.sampled_from(["none", "flow", "proxy", "flow+proxy", ["antivirus", "ips"]]),
})
policies = st.lists(st.tuples(policy, st.sampled_from([None, [80], ["50-500"]]),
                              st.sampled_from([None, None, 0, 1])), max_size=4).map(
    lambda rules: [
        {**rule, "id": i + 1, **({"ports": ports} if ports and rule["protocol"] != 47 else {}),
         **({"zone": zone} if zone is not None else {})}
        for i, (rule, ports, zone) in enumerate(rules)])

pressure = st.lists(st.one_of(
    st.fixed_dictionaries({
        "at_s": st.sampled_from([0.0, 0.4, 1.0, 2.5, 12.0]),
        "owner": st.sampled_from(["base", "shm"]),
        "add_bytes": st.integers(-30, 60).filter(bool).map(lambda pages: pages * PAGE)}),
    st.fixed_dictionaries({
        "at_s": st.sampled_from([0.0, 1.5]), "owner": st.sampled_from(["base", "shm"]),
        "leak_bytes_per_s": st.sampled_from([1, 1000, 4096, 50_000])}),
    st.fixed_dictionaries({"fail_every": st.integers(1, 5)}),
    st.fixed_dictionaries({"fail_nth": st.integers(1, 9)}),
), max_size=4)

table_settings = st.fixed_dictionaries({
    "max_connections": st.integers(4, 16), "buckets": st.integers(1, 8),
    "when_full": st.sampled_from(["refuse", "bucket", "tension", "replace_oldest", "early_drop"]),
    "midstream": st.sampled_from(["allow", "allow", "drop", "grace"]),
    "midstream_grace_s": st.just(2), "seed": st.integers(0, 3),
    "half_open_limit": st.sampled_from([0, 0, 2]), "sessions_per_host": st.sampled_from([0, 0, 3]),
    "zone": st.sampled_from(["none", "vlan"]), "non_ip": st.sampled_from(["forward", "drop"]),
    "orphan_fragments": st.sampled_from(["forward", "drop"]),
    "fragments_max": st.sampled_from([1, 2, 1024]), "tcp_timewait_s": st.just(1),
    "timeline_interval_s": st.sampled_from([0, 0.3, 1, 2, 10, 1000]),
    "midstream_initiator": st.sampled_from(["ports", "sender"]),
    "max_step_s": st.sampled_from([0, 0, 0.5, 3]),
    "short_frames": st.sampled_from(["malformed", "cut"]),
    "invalid": st.sampled_from(["forward", "forward", "drop"]),
    "tracker": st.sampled_from(["plain", "plain", "linux"]),
})
# Ticks, and timeouts of not too many of them: what may be done at each tick, the twin does.
ticks = st.one_of(
    st.fixed_dictionaries({
        "sweep_s": st.sampled_from([1, 1, 7, 2.5]), "udp_s": st.sampled_from([3, 180]),
        "tcp_s": st.just(3600), "tcp_halfclose_s": st.sampled_from([2, 120]),
        "tcp_halfopen_s": st.just(10), "tcp_rst_s": st.just(5)}),
    st.fixed_dictionaries({
        "sweep_s": st.sampled_from([0.001, 0.02]), "udp_s": st.sampled_from([0.5, 3]),
        "tcp_s": st.just(4), "tcp_halfclose_s": st.just(2), "tcp_halfopen_s": st.just(3),
        "tcp_rst_s": st.just(0.0015), "icmp_s": st.just(2), "other_s": st.just(1),
        "tcp_synrecv_s": st.just(3), "tcp_closewait_s": st.just(1), "tcp_lastack_s": st.just(1),
        "tcp_unanswered_s": st.sampled_from([2, 5]), "udp_stream_s": st.just(4),
        "gre_s": st.just(1), "gre_stream_s": st.just(2)}))
table_settings = st.tuples(table_settings, ticks).map(lambda both: both[0] | both[1])

memory_settings = st.fixed_dictionaries({
    "ram_bytes": st.integers(60, 120).map(lambda pages: pages * PAGE),
    "base_bytes": st.integers(10, 50).map(lambda pages: pages * PAGE),
    "accounting": st.sampled_from(["slab", "slab", "preallocated"]),
    "session_bytes": st.sampled_from([100, 1024, 2000, 4096, 9000]),
    "machine": st.sampled_from(["unified", "unified", "fortios-5", "kernel+proxy", "none"]),
    "memory_use_threshold_green": st.integers(70, 80),
    "memory_use_threshold_red": st.integers(81, 88),
    "memory_use_threshold_extreme": st.integers(89, 97),
    "av_failopen": st.sampled_from(["pass", "off", "one-shot", "idledrop"]),
    "av_failopen_session": st.booleans(), "ips_fail_open": st.booleans(),
    "ips_trigger": st.sampled_from([["conserve", "buffer"], ["buffer"], ["conserve"]]),
    "ips_socket_bytes": st.sampled_from([2000, 10_000, 64 << 20]),
    "ips_throughput_bps": st.sampled_from([0, 8000, 1_000_003]),
    "extreme_scope": st.sampled_from(["all", "inspected"]),
    "idledrop_variant": st.sampled_from(["host", "idle"]), "idledrop_idle_s": st.just(2),
    "kernel_mode": st.sampled_from(["bypass", "av-failopen"]),
    "model_bytes": st.sampled_from([512 << 20, 1 << 30]),
    "sip_alg": st.booleans(), "shm_limit_bytes": st.sampled_from([4 * PAGE, 12 * PAGE, 40 * PAGE]),
    "proxy_max_sessions": st.sampled_from([1, 2, 50]),
    "proxy_session_bytes": st.sampled_from([PAGE, 16384]),
    "oversize_bytes": st.sampled_from([5000, 10 << 20]),
    "cache_limit_bytes": st.sampled_from([0, 3 * PAGE, 10 * PAGE]),
})

HYPOTHESIS = hypothesis_settings(
    max_examples=MANY, deadline=None, report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                           HealthCheck.large_base_example])


# Found by changing one line of the fast path and seeing nothing turn red.


def test_a_fragment_is_followed_for_less_than_thirty_seconds():
    first, later = (0, "first", 0, 1, 0, 0, False, "", 0, False), "later"
    follow = (30 * 10**9 - 1, later, 0, 1, 0, 0, False, "", 0, False)
    too_late = (1, later, 0, 1, 0, 0, False, "", 0, False)
    engine = assert_same(load("plain"), [chunk_of([first, follow, too_late])])
    assert engine.counters()["reasons"]["fragment"] == 1
    assert engine.counters()["reasons"]["fragment_orphan"] == 1


def test_a_full_fragment_table_forgets_the_oldest():
    firsts = [(1, "first", 0, 1, 0, service, False, "", 0, False) for service in (0, 1, 2)]
    laters = [(1, "later", 0, 1, 0, service, False, "", 0, False) for service in (0, 1, 2)]
    engine = assert_same(load("plain", fragments_max=2), [chunk_of(firsts + laters)])
    assert engine.counters()["fragments_forgotten"] == 1
    assert engine.counters()["reasons"]["fragment"] == 2


def test_zone_zero_is_a_zone():
    frames = [ethernet(ip(HOSTS[0], HOSTS[3], 17, udp(1, 2)), *vlans) for vlans in ((), (7,))]
    rules = [{"id": 1, "zone": 0, "action": "accept"}]
    engine = assert_same(load("plain", zone="vlan", policies=rules),
                         [Chunk.from_frames(frames, [10**18, 10**18 + 1])])
    assert engine.counters()["reasons"]["denied"] == 1


def test_equal_ends_are_not_swapped():
    frames = [ethernet(ip(host, host, 17, udp(9, 9))) for host in (HOSTS[0], HOSTS6[0])]
    engine = assert_same(load("plain"), [Chunk.from_frames(frames, [10**18, 10**18 + 1])])
    assert engine.sessions()["packets"].tolist() == [[1, 0], [1, 0]]


def test_no_more_cache_is_reclaimed_than_is_missing():
    # 60 pages: base 40, shm 10 given back to the cache at 1 s, 10 free; 15 more take 5 of it.
    script = [{"at_s": at, "owner": owner, "add_bytes": pages * PAGE}
              for at, owner, pages in ((0.0, "shm", 10), (1.0, "shm", -10), (2.0, "base", 15))]
    settings = load("plain", ram_bytes=60 * PAGE, base_bytes=40 * PAGE, accounting="slab",
                    session_bytes=100, max_connections=16, machine="unified",
                    cache_limit_bytes=10 * PAGE, pressure=script)
    row = (0, "gre", 0, 3, 0, 0, False, "", 0, False)
    engine = assert_same(settings, [chunk_of([row, (3 * 10**9, *row[1:])])])
    assert engine.counters()["memory"]["now"]["cache"] == 5 - 1  # a page of sessions, too


def test_a_host_that_talks_to_itself_has_one_session():
    frames = [ethernet(ip(HOSTS6[0], HOSTS6[0], 17, udp(*ports))) for ports in ((9, 5), (5, 9))]
    engine = assert_same(load("plain"), [Chunk.from_frames(frames, [10**18, 10**18 + 1])])
    assert engine.sessions()["packets"].tolist() == [[1, 1]]


def test_an_answered_syn_is_still_half_open():
    table = [(0, "tcp", 0, 3, 0, 0, False, "S", 0, False),
             (1, "tcp", 0, 3, 0, 0, True, "SA", 0, False),
             (1, "tcp", 1, 3, 0, 0, False, "S", 0, False)]
    engine = assert_same(load("plain", half_open_limit=1), [chunk_of(table)])
    assert engine.counters()["reasons"]["half_open_limit"] == 1


def test_a_victim_is_reborn_once():
    def udp_from(host, wait=0):
        return (wait, "udp", host, 3, 0, 0, False, "", 0, False)

    table = [udp_from(0), udp_from(1), udp_from(0), udp_from(0, 70 * 10**9)]
    settings = load("plain", max_connections=16, buckets=1, accounting="slab", session_bytes=4096,
                    udp_s=3, pressure=[{"fail_nth": 2}])
    engine = assert_same(settings, [chunk_of(table)])
    assert engine.counters()["sessions"]["created"] == 4
    assert engine.counters()["sessions"]["reborn"] == 1


groups = st.sampled_from([1, 2, 32, 64])
cuts = st.sampled_from([1, 3, 1000])
breaths = st.sampled_from([1, 40, 1 << 19])


def pieces(table, cut):
    """The table as chunks of ``cut`` packets: no result may depend on it."""
    whole = chunk_of(table)
    return [whole.slice(at, min(at + cut, len(whole))) for at in range(0, len(whole), cut)]


@HYPOTHESIS
@given(st.lists(rows, min_size=1, max_size=40), table_settings, groups, cuts, breaths)
def test_tables_alone(table, chosen, group, cut, breath):
    """Table, TCP, timeouts, limits, fragments and ICMP errors, without memory."""
    assert_same(load("plain", **chosen), pieces(table, cut), group=group, breath=breath)


def fitting(memory, table, rules, script):
    """Settings that pass validation: a legacy machine refuses a cache that would latch it."""
    chosen = {**table, **memory, "policies": rules, "pressure": script}
    if chosen["accounting"] == "preallocated":
        chosen["session_bytes"] = 100
    if chosen["machine"] != "unified":
        chosen["cache_limit_bytes"] = 0
    return load("plain", **chosen)


@HYPOTHESIS
@given(st.lists(rows, min_size=1, max_size=50), memory_settings, table_settings, policies, pressure,
       groups, cuts, breaths)
def test_memory_and_modes(table, memory, chosen, rules, script, group, cut, breath):
    """Everything: pages, machines, gate, objects, IPS, pressure, under little RAM."""
    assert_same(fitting(memory, chosen, rules, script), pieces(table, cut), group=group,
                breath=breath)


@HYPOTHESIS
@given(st.lists(st.tuples(rows, st.sampled_from(STEPS_NS[:10])), min_size=1, max_size=40),
       memory_settings, table_settings, policies, pressure, breaths)
def test_time_passes_without_packets(table, memory, chosen, rules, script, breath):
    """Between packets time goes on, to moments before and after that of the next packet."""
    pair = Pair(fitting(memory, chosen, rules, script), breath=breath)
    whole = chunk_of([row for row, _ in table])
    for i, (_, wait_ns) in enumerate(table):
        now_ns = max(0, min(int(whole.time_ns[i]) + wait_ns, LATEST_NS))
        pair.process(whole.slice(i, i + 1))
        pair.advance(now_ns)
    pair.compare()


def at_thresholds(low, high):
    """A script that moves base about the thresholds of 512 MiB and more (pages of change)."""
    change = st.integers(low, high).filter(bool).map(lambda pages: pages * PAGE)
    return st.lists(st.fixed_dictionaries({
        "at_s": st.sampled_from([0.0, 0.4, 1.0, 2.5, 12.0]), "owner": st.just("base"),
        "add_bytes": change}), max_size=4)


@HYPOTHESIS
@given(st.lists(rows, min_size=1, max_size=40), memory_settings, table_settings, policies,
       at_thresholds(-20_000, 20_000), st.sampled_from([512 << 20, 1 << 30]), st.booleans())
def test_kernel_and_proxy_side_by_side(table, memory, chosen, rules, script, ram, lowmem):
    """FortiOS 4 at sizes for which the KB has rows: base begins between enter and leave."""
    free = 260 << 20 if ram == 1 << 30 else ram // 4
    memory = {**memory, "machine": "kernel+proxy", "ram_bytes": ram, "base_bytes": ram - free,
              "lowmem": lowmem, "session_bytes": 4 << 20, "accounting": "slab"}
    assert_same(fitting(memory, chosen, rules, script), [chunk_of(table)])
