"""The twin against scenarios small enough to be worked out by hand: frames, time, a full table.

The numbers expected stand beside the sums that give them. Times are seconds after packet 1 unless
a name ends in _ns.
"""

import struct
from ipaddress import ip_address

import pytest
from by_hand import (  # noqa: F401 - the fixture is in force
    ACK,
    FIN,
    RST,
    SYN,
    T0,
    A,
    B,
    C,
    S,
    X,
    books_balance,
    icmp,
    in_bucket,
    kinds,
    modes,
    plain,
    reasons,
    send,
    tcp,
    udp,
)
from frames import ethernet, ip, tcp as tcp_header, udp as udp_header

from fwcore import reference as twin
from fwcore.reference import (
    parse,
    table,
)

# --- Parse ---------------------------------------------------------------------------------


def kind_of(frame, captured=None, wire=None, link=1):
    wire = len(frame) if wire is None else wire
    return parse(frame[:captured], wire, link).kind


def test_every_prefix_of_a_tcp_frame():
    frame = tcp(A, 1, X, 80, SYN, payload=10)  # 14 + 20 + 20 + 10
    for captured in range(len(frame) + 1):
        kind = kind_of(frame, captured, wire=len(frame))
        assert kind == ("session" if captured >= 54 else "truncated")
    for wire in range(len(frame)):
        assert kind_of(frame, wire, wire=wire) == "malformed"


@pytest.mark.parametrize("frame", [
    ethernet(ip(A, X, 6, tcp_header(1, 2, SYN), options=bytes(8)), 5, 6),
    ethernet(ip("2001:db8::1", "2001:db8::2", 0, b"\x2c\0" + bytes(6)
               + struct.pack(">BBHI", 17, 0, 1, 9) + udp_header(1, 2, 8))),
    ethernet(ip(A, X, 1, bytes([3, 0, 0, 0, 0, 0, 0, 0])
               + ip(X, A, 17, udp_header(1, 2)))),
])
def test_prefixes_have_a_kind_and_do_not_read_outside(frame):
    for link in (0, 1, 12, 101, 113, 228, 229, 276, 999):
        for captured in range(len(frame) + 1):
            for wire in (captured, len(frame)):
                assert kind_of(frame, captured, wire, link)


def test_header_contradictions():
    def mutate(at, value):
        frame = bytearray(tcp(A, 1, X, 80, ACK, payload=4))
        frame[at] = value
        return kind_of(bytes(frame))

    assert mutate(14, 0x45) == "session"
    assert mutate(14, 0x55) == "malformed"  # version 5
    assert mutate(14, 0x44) == "malformed"  # IHL 4
    assert mutate(17, 19) == "malformed"  # total length below the header
    assert mutate(17, 45) == "malformed"  # total 45 of 44 on the wire
    assert mutate(17, 39) == "malformed"  # 19 bytes of TCP
    assert mutate(46, 0x40) == "malformed"  # data offset 4
    assert mutate(46, 0x70) == "malformed"  # 28 > 24 bytes of TCP
    assert mutate(46, 0x60) == "session"  # 24: no payload


def test_payload_comes_from_ip_lengths():
    padded = tcp(A, 1, X, 80, ACK, payload=4) + bytes(6)
    assert parse(padded, len(padded), 1).payload == 4
    frame = ethernet(ip(A, X, 6, tcp_header(1, 80, ACK, 100), length=0))
    packet = parse(frame[:60], len(frame), 1)
    assert packet.offloaded and packet.payload == 100


def test_ipv6_jumbo_and_offload():
    jumbo = b"\x11\0" + b"\xc2\x04" + struct.pack(">I", 16)
    frame = ethernet(ip("::1", "::2", 0, jumbo + udp_header(1, 2), length=0))
    packet = parse(frame, len(frame), 1)
    assert (packet.kind, packet.payload, packet.offloaded) == ("session", 0, False)
    frame = ethernet(ip("::1", "::2", 17, udp_header(1, 2, 5), length=0))
    packet = parse(frame, len(frame), 1)
    assert (packet.kind, packet.payload, packet.offloaded) == ("session", 5, True)
    none = b"\x11\0" + bytes(6)  # six times Pad1
    frame = ethernet(ip("::1", "::2", 0, none + udp_header(1, 2, 5), length=0))
    assert parse(frame, len(frame), 1).offloaded


def test_extension_headers_eight_and_nine():
    for count, kind in ((8, "session"), (9, "malformed")):
        chain = b"".join(bytes([0x3C]) + bytes(7) for _ in range(count - 1))
        chain += bytes([17]) + bytes(7)
        assert kind_of(ethernet(ip("::1", "::2", 60, chain + udp_header(1, 2)))) == kind
    too_long = bytes([17, 3]) + bytes(6)  # 32 bytes of 16
    assert kind_of(ethernet(ip("::1", "::2", 60, too_long + udp_header(1, 2)))) == "malformed"


def test_shims_sixteen_and_seventeen():
    packet = ip(A, X, 17, udp_header(1, 2))
    assert kind_of(ethernet(packet, *range(16))) == "session"
    assert kind_of(ethernet(packet, *range(17))) == "malformed"
    labels = bytes([0, 0, 0, 1]) * 3 + bytes([0, 0, 1, 1])
    mpls = bytes(12) + b"\x88\x47" + labels
    assert kind_of(mpls + packet) == "session"
    assert kind_of(mpls + b"\x10") == "non_ip"
    assert kind_of(mpls) == "malformed"
    assert kind_of(mpls, wire=len(mpls) + 9) == "truncated"


def test_other_ways_to_ip():
    packet = ip(A, X, 17, udp_header(1, 2))
    pppoe = bytes(12) + b"\x88\x64\x11\x00\0\0\0\0\x00\x21"
    assert kind_of(pppoe + packet) == "session"
    assert kind_of(pppoe[:15] + b"\x09" + pppoe[16:] + packet) == "non_ip"
    assert kind_of(packet, link=101) == kind_of(packet, link=228) == "session"
    assert kind_of(packet, link=229) == "malformed"
    assert kind_of(b"\x50", link=101) == kind_of(b"", link=12) == "malformed"
    for family in (b"\2\0\0\0", b"\0\0\0\2"):
        assert kind_of(family + packet, link=0) == "session"
    assert kind_of(b"\7\0\0\0" + packet, link=108) == "non_ip"
    assert kind_of(bytes(14) + b"\x08\0" + packet, link=113) == "session"
    assert kind_of(b"\x08\0" + bytes(18) + packet, link=276) == "session"
    assert kind_of(b"", link=105) == "unsupported_link"
    assert kind_of(bytes(12) + b"\x08\x06" + bytes(28)) == "non_ip"  # ARP


def test_keys_are_canonical():
    there = parse(udp(A, 5, X, 9), 42, 1)
    back = parse(udp(X, 9, A, 5), 42, 1)
    assert there.key == back.key
    assert there.source_first and not back.source_first
    ping, pong = (parse(icmp(a, b, kind, b"\x12\x34\0\1"), 42, 1)
                  for a, b, kind in ((X, A, 8), (A, X, 0)))
    assert ping.key == pong.key and ping.key.port_a == ping.key.port_b == 0x1234
    stamp = parse(icmp(X, A, 13), 42, 1).key
    assert (stamp.port_a, stamp.port_b) == (13, 65535)
    assert parse(icmp(A, X, 13), 42, 1).key == stamp


def test_zone_is_the_outermost_vlan():
    packet = ip(A, X, 17, udp_header(1, 2))
    frame = ethernet(packet, 0xE064, 7)  # priority bits are not part of the id 0x064
    assert parse(frame, len(frame), 1, vlan_zone=True).key.zone == 100
    assert parse(frame, len(frame), 1).key.zone == 0
    one = plain(zone="vlan")
    assert reasons(one, [ethernet(packet, 1), ethernet(packet, 2), ethernet(packet, 1)]) == [
        "new", "new", "hit"]


def test_shift_moves_addresses():
    firewall = plain()
    assert reasons(firewall, [udp(A, 1, X, 2)] * 2) == ["new", "hit"]
    firewall.shift = 1
    assert send(firewall, udp(A, 1, X, 2))[1] == "new"
    assert send(firewall, udp("10.255.255.255", 1, X, 2))[1] == "new"
    newest = list(firewall.sessions)[-1]
    assert str(ip_address(newest.address_a)) == "10.0.0.0"  # the first octet stays


def test_flag_classes():
    classes = {0: "NONE", FIN: "FIN", SYN: "SYN", SYN | ACK: "SYNACK", ACK: "ACK",
               FIN | ACK: "FIN", SYN | FIN: "SYN", RST | SYN: "RST", RST | ACK: "RST"}
    for flags, name in classes.items():
        assert twin.Packet(flags=flags).flag_class == name


# --- Hash ----------------------------------------------------------------------------------


def test_seeds_are_the_published_splitmix64():
    assert table.seeds(0)[:3] == (
        0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)


def test_mum_and_bucket():
    assert table.mum(2**63, 4) == 2  # 2**65: low 0, high 2
    assert table.mum(2**64 - 1, 2**64 - 1) == 1 ^ (2**64 - 2)
    assert table.bucket_of(2**64 - 1, 10) == 9
    assert table.bucket_of(2**32 - 1, 10) == 0
    assert table.bucket_of(0x8000000000000000, 7) == 3


# --- TCP -----------------------------------------------------------------------------------


def test_tcp_table_has_every_cell():
    assert len(twin.TCP_TABLE) == 7 * 2 * 6
    assert sum(state is None for state in twin.TCP_TABLE.values()) == 38


def test_a_connection_from_syn_to_close():
    firewall = plain()
    there, back = (A, 1000, X, 80), (X, 80, A, 1000)
    steps = [
        (there, SYN, "new", "SYN_SENT"), (there, ACK, "tcp_invalid", "SYN_SENT"),
        (back, SYN | ACK, "hit", "SYN_RECV"), (there, ACK, "hit", "ESTABLISHED"),
        (there, SYN, "tcp_invalid", "ESTABLISHED"), (there, 0, "tcp_invalid", "ESTABLISHED"),
        (back, FIN | ACK, "hit", "FIN_WAIT_REPLY"), (there, FIN | ACK, "hit", "TIME_WAIT"),
        (back, ACK, "hit", "TIME_WAIT"), (there, RST, "hit", "CLOSED"),
        (there, 0, "tcp_invalid", "CLOSED"), (back, SYN, "new", "SYN_SENT"),
    ]
    for ends, flags, reason, state in steps:
        assert send(firewall, tcp(*ends, flags))[1] == reason
        assert [s.state for s in firewall.sessions.values()] == [state]
    assert firewall.ended["clash"] == 1
    assert next(iter(firewall.sessions.values())).host[0] == int(ip_address(X))


def test_syn_ack_first_comes_from_the_responder():
    firewall = plain(policies=[{"id": 1, "source": [A], "ports": [80]}])
    assert send(firewall, tcp(X, 80, A, 1000, SYN | ACK))[1] == "new"
    assert send(firewall, tcp(A, 1000, X, 80, ACK))[1] == "hit"
    assert next(iter(firewall.sessions.values())).state == "ESTABLISHED"


def test_midstream():
    ack = tcp(A, 1, X, 2, ACK)
    assert send(plain(), ack)[1] == "new"
    assert send(plain(midstream="drop"), ack) == ("drop", "no_session")
    grace = plain(midstream="grace", midstream_grace_s=30)
    assert send(grace, udp(A, 1, X, 2))[1] == "new"
    assert send(grace, ack, 29.999999999)[1] == "new"
    assert send(grace, tcp(B, 1, X, 2, ACK), 30)[1] == "no_session"
    assert send(grace, tcp(B, 1, X, 2, SYN), 30)[1] == "new"


# --- Time ----------------------------------------------------------------------------------


def test_expiry_at_ticks_and_at_deadlines():
    firewall = plain(udp_s=2)
    first, second, third = (udp(A, port, X, 53) for port in (1, 2, 3))
    send(firewall, first)  # deadline 2.0, tick 2
    send(firewall, second, 0.5)  # deadline 2.5, tick 3
    send(firewall, third, 1.999999999)
    assert firewall.live == 3
    send(firewall, third, 2.0)
    assert (firewall.live, firewall.ended["expired"]) == (2, 1)
    send(firewall, third, 2.7)
    assert firewall.live == 2  # past its deadline, but it still stands
    assert send(firewall, second, 2.8)[1] == "new"  # and is never hit
    assert firewall.ended["expired"] == 2
    send(firewall, third, 2.9)
    send(firewall, third, 10**9)  # a silence of 31 years: everything expired meanwhile
    assert (firewall.live, firewall.ended["expired"]) == (1, 4)


def test_timeouts_by_state():
    def life(*packets):
        """Whole seconds after which the session made by these packets is gone."""
        firewall = plain(tcp_s=50, tcp_halfopen_s=10, tcp_halfclose_s=20, tcp_timewait_s=1,
                         tcp_rst_s=5, udp_s=30, icmp_s=6, other_s=7)
        for frame in packets:
            send(firewall, frame)
        for second in range(1, 60):
            send(firewall, bytes(60), second)
            if not firewall.live:
                return second
        return None

    syn = tcp(A, 1, X, 2, SYN)
    syn_ack = tcp(X, 2, A, 1, SYN | ACK)
    ack, fin, fin_back = tcp(A, 1, X, 2, ACK), tcp(A, 1, X, 2, FIN), tcp(X, 2, A, 1, FIN)
    assert life(syn) == life(syn, syn_ack) == 10
    assert life(syn, syn_ack, ack) == life(ack) == 50
    assert life(ack, fin) == life(ack, fin_back) == 20
    assert life(ack, fin, fin_back) == 1
    assert life(ack, tcp(A, 1, X, 2, RST)) == 5
    assert life(udp(A, 1, X, 2)) == 30
    assert life(icmp(A, X, 8)) == 6
    assert life(ethernet(ip(A, X, 47, b""))) == life(
        ethernet(ip(A, X, 132, bytes(12)))) == 7


def test_closed_sessions_end_closed():
    firewall = plain(tcp_rst_s=5)
    send(firewall, tcp(A, 1, X, 2, RST))
    send(firewall, bytes(60), 5)
    assert firewall.ended["closed"] == 1


def test_time_never_runs_back():
    firewall = plain(udp_s=5)
    send(firewall, udp(A, 1, X, 2), 3)
    send(firewall, udp(A, 1, X, 2), 1)
    send(firewall, udp(A, 1, X, 2), 3)
    assert firewall.time_reversed == 1 and firewall.now == T0 + 3 * S


def test_shifting_a_capture_in_time_changes_nothing_but_times():
    def run(offset):
        firewall = plain(udp_s=1, when_full="bucket", max_connections=2)
        for step in range(40):
            firewall.packet(udp(A, step % 3, X, 9), offset + step * 377_000_000)
        return firewall

    one, other = run(0), run(123_456_789)
    assert one.counters() == other.counters()
    assert one.outcome() != other.outcome()  # events carry times
    assert run(0).outcome() == one.outcome()


# --- Fragments and ICMP errors -------------------------------------------------------------


def fragments(ident=7, source=A, port=1):
    """First (16 bytes of UDP) and later fragment (8 bytes) of one datagram."""
    first = ip(source, X, 17, udp_header(port, 53, 8), more=True, identifier=ident)
    later = ip(source, X, 17, bytes(8), fragment=2, identifier=ident)
    return ethernet(first), ethernet(later)


def test_fragments_follow_their_first():
    firewall = plain()
    first, later = fragments()
    assert send(firewall, later) == ("forward", "fragment_orphan")
    assert send(firewall, first) == ("forward", "new")
    assert send(firewall, later, 29.999999999) == ("forward", "fragment")
    assert send(firewall, later, 30) == ("forward", "fragment_orphan")
    session = next(iter(firewall.sessions.values()))
    assert (session.packets, session.last_seen_ns) == (2, T0 + 30 * S - 1)
    assert firewall.decode["fragments"] == 4
    assert firewall.decode["udp"] == 1


def test_fragments_of_a_refused_first_share_its_verdict():
    firewall = plain(policies=[{"id": 1, "action": "deny"}], orphan_fragments="drop")
    first, later = fragments()
    assert reasons(firewall, [later, first, later]) == ["fragment_orphan", "denied", "denied"]
    assert firewall.verdicts["drop"] == 3


def test_fragment_table_forgets_the_oldest():
    firewall = plain(fragments_max=2)
    pairs = [fragments(ident) for ident in range(3)]
    assert reasons(firewall, [pair[0] for pair in pairs]) == ["new", "hit", "hit"]
    assert firewall.fragments_forgotten == 1
    assert reasons(firewall, [pair[1] for pair in pairs]) == [
        "fragment_orphan", "fragment", "fragment"]
    send(firewall, pairs[0][0], 30)  # the two others are 30 s old: dropped, not forgotten
    assert firewall.fragments_forgotten == 1


def test_first_fragment_needs_its_ports_only():
    def first(size):
        return ethernet(ip(A, X, 6, tcp_header(1, 80, SYN)[:size], more=True))

    assert kind_of(first(3)) == "malformed"
    assert parse(first(4), 38, 1).flag_class == "NONE"
    assert parse(first(13), 47, 1).flag_class == "NONE"
    assert parse(first(14), 48, 1).flag_class == "SYN"
    assert kind_of(first(14), captured=47, wire=48) == "truncated"


def test_ipv6_fragments():
    def fragment(place, body):
        return ethernet(ip("::1", "::2", 44, struct.pack(">BBHI", 17, 0, place, 9) + body))

    firewall = plain()
    assert reasons(firewall, [
        fragment(0, udp_header(1, 2)), fragment(1, udp_header(1, 2)), fragment(8, bytes(4)),
    ]) == ["new", "hit", "fragment"]  # the first is atomic: no fragment
    assert firewall.decode["fragments"] == 2


def test_icmp_errors_belong_to_the_session_they_quote():
    firewall = plain()
    sent = ip(A, X, 17, udp_header(5, 53))
    error = icmp("203.0.113.9", A, 3, body=sent)
    assert send(firewall, error) == ("drop", "icmp_orphan")
    send(firewall, ethernet(sent), 1)
    assert send(firewall, error, 2) == ("forward", "related")
    session = next(iter(firewall.sessions.values()))
    assert (session.packets, session.last_seen_ns) == (1, T0 + S)
    for quote in (sent[:27], b"\x55" + sent[1:], ip(A, X, 1, bytes([3]) + bytes(7)),
                  ip(A, X, 17, udp_header(5, 53), fragment=1)):
        assert send(firewall, icmp(X, A, 11, body=quote), 2)[1] == "icmp_orphan"
    assert send(firewall, error[:60], 2, wire_length=len(error))[1] == "truncated"
    assert send(firewall, error, 181)[1] == "icmp_orphan"  # 180 s after its last packet
    assert firewall.decode["icmp"] == 7


# --- A full table --------------------------------------------------------------------------


def test_refuse():
    firewall = plain(max_connections=2, when_full="refuse")
    assert reasons(firewall, [udp(A, port, X, 9) for port in (1, 2, 3, 1)]) == [
        "new", "new", "table_full", "hit"]
    assert kinds(firewall)[1:] == ["table_full"]  # after the low memory warning


def test_replace_oldest_and_rebirth():
    firewall = plain(max_connections=2, when_full="replace_oldest")
    frames = [udp(A, port, X, 9) for port in (1, 2, 3)]
    assert reasons(firewall, [*frames, frames[0]]) == ["new"] * 4
    assert [(v["created_packet"], v["ended_packet"], v["cause"]) for v in firewall.victims] == [
        (1, 3, "evicted"), (2, 4, "evicted")]
    assert firewall.reborn == 1
    firewall.clear()
    assert firewall.ended == {**dict.fromkeys(twin.ENDS, 0), "evicted": 2, "cleared": 2}


def test_bucket_takes_the_oldest_of_its_own_or_the_next():
    firewall = plain(max_connections=3, buckets=4, when_full="bucket")
    ones, threes = in_bucket(firewall, 1), in_bucket(firewall, 3)
    for frame in (next(threes), next(threes), next(ones)):  # packets 1, 2, 3
        send(firewall, frame)
    send(firewall, next(ones))  # packet 4: its own bucket holds packet 3's
    send(firewall, next(in_bucket(firewall, 2)))  # 2 is empty: bucket 3 loses packet 1's
    send(firewall, next(in_bucket(firewall, 0)))  # 0 is empty: bucket 1 loses packet 4's
    assert [v["created_packet"] for v in firewall.victims] == [3, 1, 4]


def test_early_drop_spares_the_assured():
    firewall = plain(max_connections=3, buckets=1, when_full="early_drop")
    answered = [udp(A, 1, X, 9), udp(X, 9, A, 1)]
    for frame in (*answered, udp(A, 2, X, 9), tcp(A, 3, X, 9, SYN)):
        send(firewall, frame)
    assert send(firewall, udp(A, 4, X, 9))[1] == "new"  # both that are not assured went
    assert [v["created_packet"] for v in firewall.victims] == [3, 4]
    for frame in (udp(X, 9, A, 4), tcp(A, 5, X, 9, ACK)):  # three assured ones now
        send(firewall, frame)
    assert send(firewall, udp(A, 6, X, 9))[1] == "table_full"


def test_early_drop_looks_at_eight_buckets():
    firewall = plain(max_connections=1, buckets=16, when_full="early_drop")
    send(firewall, next(in_bucket(firewall, 9)))
    assert send(firewall, next(in_bucket(firewall, 1)))[1] == "table_full"  # 1..8
    assert send(firewall, next(in_bucket(firewall, 2)))[1] == "new"  # 2..9
    firewall = plain(max_connections=1, buckets=16, when_full="early_drop")
    send(firewall, next(in_bucket(firewall, 1)))
    assert send(firewall, next(in_bucket(firewall, 10)))[1] == "new"  # 10..15, 0, 1


@pytest.mark.parametrize("buckets", [1, 4, 64])
def test_tension_takes_the_oldest_of_every_bucket(buckets):
    firewall = plain(max_connections=8, buckets=buckets, when_full="tension")
    for port in range(8):
        send(firewall, udp(A, port, X, 9))
    oldest = {}
    for session in firewall.sessions.values():
        oldest.setdefault(session.bucket, session.created_packet)
    assert send(firewall, udp(A, 8, X, 9))[1] == "new"
    assert [v["created_packet"] for v in firewall.victims] == [
        oldest[bucket] for bucket in sorted(oldest)]
    deleted = len(oldest)
    assert firewall.ended["tension"] == deleted
    assert firewall.stampede == {
        "passes": 1, "pages_needed": 0, "sessions_deleted": deleted,
        "by_page": {"passes": 0, "sessions_deleted": 0},
        "by_full_table": {"passes": 1, "sessions_deleted": deleted}}


def test_tension_protects_local_tcp():
    firewall = plain(max_connections=2, when_full="tension", policies=[
        {"id": 1, "protocol": "tcp", "ports": [22], "action": "local"}, {"id": 2}])
    ssh = tcp(A, 1, X, 22, SYN)
    assert reasons(firewall, [ssh, udp(A, 2, X, 9), tcp(A, 3, X, 22, SYN)]) == ["new"] * 3
    assert [v["created_packet"] for v in firewall.victims] == [2]
    assert send(firewall, udp(A, 4, X, 9))[1] == "table_full"  # only local ones are left
    assert firewall.stampede["passes"] == 2


def test_limits():
    half = plain(half_open_limit=1)
    assert reasons(half, [udp(A, 1, X, 9), tcp(A, 1, X, 9, SYN), tcp(A, 1, X, 9, ACK),
                          udp(X, 9, A, 1), udp(A, 2, X, 9)]) == [
        "new", "half_open_limit", "new", "hit", "new"]
    host = plain(sessions_per_host=1)
    assert reasons(host, [udp(A, 1, X, 9), udp(A, 2, X, 9), udp(B, 1, X, 9),
                          tcp(X, 9, B, 3, SYN | ACK)]) == [
        "new", "host_limit", "new", "host_limit"]


def test_table_full_event_ends_at_nine_tenths():
    firewall = plain(max_connections=10, when_full="refuse", udp_s=5)
    for port in range(10):
        send(firewall, udp(A, port, X, 9))
    send(firewall, udp(A, 9, X, 9), 4)
    send(firewall, bytes(60), 7)
    assert kinds(firewall) == ["memory_warning", "table_full", "table_full_ended"]
    assert firewall.events[2]["duration_ns"] == 5 * S
