"""The twin against scenarios small enough to be worked out by hand.

The numbers expected stand beside the sums that give them. Times are seconds after packet 1 unless
a name ends in _ns.
"""

import hashlib
import json
import os
import re
import struct
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest
from frames import ethernet, ip, tcp as tcp_header, udp as udp_header

from fwcore import reference as twin
from fwcore.reference import (
    BYPASS,
    DROP,
    FORWARD,
    INSPECT,
    PAGE,
    Config,
    Firewall,
    gate,
    machines,
    parse,
    table,
)
from fwcore.reference.leak import Leak

S = 10**9
T0 = 1_700_000_000 * S
FIN, SYN, RST, ACK = 1, 2, 4, 16
A, B, C, X = "10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.1"


# --- Frames --------------------------------------------------------------------------------


def tcp(source, sport, destination, dport, flags, payload=0):
    return ethernet(ip(source, destination, 6, tcp_header(sport, dport, flags, payload)))


def udp(source, sport, destination, dport, payload=0):
    return ethernet(ip(source, destination, 17, udp_header(sport, dport, payload)))


def icmp(source, destination, kind, rest=b"\0\0\0\0", body=b""):
    return ethernet(ip(source, destination, 1, bytes([kind, 0, 0, 0]) + rest + body))


# --- A firewall that speaks in names -------------------------------------------------------


def plain(**settings):
    return Firewall(Config(**{"ram_bytes": 4 * PAGE, "max_connections": 8, "buckets": 1,
                              **settings}))


def send(firewall, frame, at=0.0, **more):
    """(verdict, reason) by name."""
    verdict, reason = firewall.packet(frame, T0 + round(at * S), **more)
    return twin.VERDICTS[verdict], twin.REASONS[reason]


def reasons(firewall, frames, at=0.0):
    return [send(firewall, frame, at)[1] for frame in frames]


def kinds(firewall):
    return [event["kind"] for event in firewall.events]


def modes(firewall):
    return [(row["packet"], row["time_ns"] - T0, row["cause"], row["from"], row["to"])
            for row in firewall.transitions]


def in_bucket(firewall, bucket, source=A, first_port=1000):
    """Frames of new UDP sessions that all hash to one bucket."""
    port = first_port
    while True:
        frame = udp(source, port, X, 53)
        key = parse(frame, len(frame), 1).key
        hashed = table.key_hash(key, firewall.hash_keys)
        if table.bucket_of(hashed, firewall.config.buckets) == bucket:
            yield frame
        port += 1


@pytest.fixture(autouse=True)
def books_balance(monkeypatch):
    """After every packet of every test: pages add up, sessions made = standing + ended."""
    packet = Firewall.packet

    def checked(self, *arguments, **more):
        result = packet(self, *arguments, **more)
        memory = self.memory
        assert memory.free + sum(memory.pages.values()) == memory.total
        assert min(memory.free, *memory.pages.values()) >= 0
        assert self.created == self.live + sum(self.ended.values())
        assert sum(self.reasons.values()) == sum(self.verdicts.values()) == self.packets
        held = sum(s.object.pages if s.object else 0 for s in self.sessions.values())
        proxied = sum(s.proxied for s in self.sessions.values())
        assert proxied == self.proxy_sessions
        assert memory.pages["shm"] == held + proxied * self.proxy_pages + self.script_shm
        exposed = sum(row["packets"] for row in self.exposure.values())
        assert exposed == self.verdicts["bypass"]
        return result

    monkeypatch.setattr(Firewall, "packet", checked)


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


# --- Memory --------------------------------------------------------------------------------


def test_slab_with_a_hole_needs_nothing_after_the_pass():
    # 4 pages, 2 of them base; 4 sessions a page: 8 sessions fit
    firewall = plain(base_bytes=2 * PAGE, accounting="slab", session_bytes=1024,
                     max_connections=100)
    for port in range(8):
        send(firewall, udp(A, port, X, 9))
    assert firewall.memory.now() == {
        "base": 2, "sessions": 2, "shm": 0, "cache": 0, "free": 0, "used": 4}
    assert send(firewall, udp(A, 8, X, 9))[1] == "new"  # 8 - 1 + 1 = 8 sessions: 2 pages
    assert (firewall.page_requests, firewall.page_failures) == (3, 1)  # sessions 1, 5 and 9
    assert firewall.stampede["pages_needed"] == 1
    assert firewall.ended["tension"] == 1


def test_no_page_at_all():
    firewall = plain(base_bytes=4 * PAGE, accounting="slab", session_bytes=1024)
    assert send(firewall, udp(A, 1, X, 9)) == ("drop", "no_memory")
    assert firewall.stampede["passes"] == 1


def test_big_sessions_take_whole_pages():
    firewall = plain(accounting="slab", session_bytes=PAGE + 1)
    assert reasons(firewall, [udp(A, port, X, 9) for port in (1, 2, 3)]) == ["new"] * 3
    assert firewall.memory.now()["sessions"] == 4
    assert (firewall.live, firewall.ended["tension"]) == (2, 1)


def test_forced_failures_fail_the_first_attempt_only():
    firewall = plain(accounting="slab", session_bytes=PAGE, buckets=1,
                     pressure=[{"fail_every": 3}, {"fail_nth": 2}])
    assert reasons(firewall, [udp(A, port, X, 9) for port in range(4)]) == ["new"] * 4
    # request 2 costs session 1, request 3 session 2
    assert [v["created_packet"] for v in firewall.victims] == [1, 2]
    assert (firewall.page_requests, firewall.page_failures) == (4, 2)


def test_pressure_steps_and_retries():
    # 10 pages; 2 sessions of one page each
    firewall = plain(ram_bytes=10 * PAGE, accounting="slab", session_bytes=PAGE, udp_s=3,
                     pressure=[{"at_s": 1.5, "owner": "base", "add_bytes": 12 * PAGE},
                               {"at_s": 6.0, "add_bytes": -3 * PAGE}])
    reasons(firewall, [udp(A, 1, X, 9), udp(A, 2, X, 9)])
    send(firewall, bytes(60), 1.5)
    # 12 of 8 free: a pass deletes session 1, 9 are taken, 3 are short
    assert firewall.memory.now()["base"] == 9 and firewall.short["base"] == 3
    send(firewall, bytes(60), 1.9)
    assert firewall.live == 1
    send(firewall, bytes(60), 2.0)  # retry: a pass deletes session 2, its page is taken
    assert firewall.live == 0
    assert firewall.memory.now()["base"] == 10 and firewall.short["base"] == 2
    send(firewall, bytes(60), 6.0)  # 3 back: 2 that were short, 1 page
    assert firewall.memory.now()["base"] == 9 and firewall.short["base"] == 0
    assert firewall.stampede["pages_needed"] == 12 + 3
    assert firewall.counters()["memory"]["peak"]["free"] == 10


def test_script_gives_back_only_its_own_shm():
    firewall = plain(ram_bytes=10 * PAGE, cache_limit_bytes=PAGE, pressure=[
        {"at_s": 0.0, "owner": "shm", "add_bytes": 3 * PAGE},
        {"at_s": 1.0, "owner": "shm", "add_bytes": -9 * PAGE}])
    send(firewall, bytes(60))
    assert firewall.memory.now()["shm"] == 3
    send(firewall, bytes(60), 1)
    now = firewall.memory.now()  # one page of sessions; one of three stays in the cache
    assert (now["shm"], now["cache"], now["free"]) == (0, 1, 8)
    assert firewall.memory.attempt(9) and firewall.memory.now()["cache"] == 0


def test_a_leak_page_by_page():
    # 1 page of preallocated sessions, 3 free; 8192 bytes a second from 0.25 s
    firewall = plain(pressure=[{"at_s": 0.25, "leak_bytes_per_s": 8192},
                               {"at_s": 3.6, "add_bytes": -2 * PAGE}])
    send(firewall, bytes(60))
    for at, base in ((0.749999999, 0), (0.75, 1), (1.25, 2), (1.75, 3), (2.25, 3), (3.5, 3)):
        send(firewall, bytes(60), at)
        assert firewall.memory.now()["base"] == base
    assert firewall.short["base"] == 1  # due at 2.25, stalled
    send(firewall, bytes(60), 3.6)  # one page that was short, one real
    assert (firewall.short["base"], firewall.memory.now()["base"]) == (0, 2)
    send(firewall, bytes(60), 4.499999999)  # goes on from tick 4: next page at 4.5
    assert firewall.memory.now()["base"] == 2
    send(firewall, bytes(60), 4.5)
    assert firewall.memory.now()["base"] == 3


def test_odd_leak_rate_rounds_up():
    leak = Leak("base", 0, 3)
    assert leak.due_ns == 1_365_333_333_334  # 4096e9 / 3 = 1365333333333.3
    leak.page = 3
    assert leak.due_ns == 4096 * S


def test_memory_warning_without_machine():
    ram = 200 * 10**6
    ram -= ram % PAGE
    firewall = Firewall(Config(ram_bytes=ram, accounting="slab", pressure=[
        {"at_s": 1.0, "add_bytes": 101 * 10**6}, {"at_s": 2.0, "add_bytes": -9 * 10**6},
        {"at_s": 3.0, "add_bytes": -3 * 10**6}]))
    for at in range(4):
        send(firewall, bytes(60), at)
    assert [(e["kind"], e["packet"]) for e in firewall.events] == [
        ("memory_warning", 2), ("memory_warning_cleared", 4)]


# --- Machines ------------------------------------------------------------------------------


def snapshot(total=100, used=0, cache=0, shm=0, proxy=0):
    return machines.Snapshot(total, used, cache, total - used - cache, shm, proxy)


def steps(machine, key, values, start="off", **fixed):
    """Modes after each value of one field, every step on its own."""
    mode, seen = start, []
    for value in values:
        mode = machine.step(mode, snapshot(**{**fixed, key: value}))
        seen.append(mode)
    return seen


def test_unified_levels_of_997_mib():
    machine = machines.Unified(Config(ram_bytes=997 * 2**20), 997 * 256)
    # 255232 pages: 82 % is 209290.24, 88 % is 224604.16, 95 % is 242470.4
    assert (machine.green, machine.red, machine.extreme) == (209290, 224604, 242470)
    assert steps(machine, "used", (224603, 224604, 209290, 209289), total=255232) == [
        "off", "on", "on", "off"]
    assert steps(machine, "used", (242469, 242470, 242469, 209289), "on", total=255232) == [
        "on", "extreme", "on", "off"]


def test_unified_counts_freeable_for_extreme_only():
    machine = machines.Unified(Config(), 100)
    assert machine.step("off", snapshot(used=87, cache=13)) == "off"
    assert machine.step("on", snapshot(used=88, cache=7)) == "extreme"
    assert machine.step("extreme", snapshot(used=81, cache=19)) == "off"


@pytest.mark.parametrize(("ram", "lowmem", "enter", "leave"), [
    (2**30, False, 51200, 76800),  # 200 and 300 MB of 256 pages
    (2**30 - 2**20, False, 52377, 78566),  # 261888 pages: 52377.6, 78566.4
    (512 * 2**20, False, 26214, 39321),  # 131072 pages: 26214.4, 39321.6
    (2**30, True, 45875, 68812),  # reach 229376: 45875.2, 68812.8
])
def test_kernel_levels(ram, lowmem, enter, leave):
    machine = machines.kernel_machine(Config(ram_bytes=ram, lowmem=lowmem), ram // PAGE)
    assert (machine.enter, machine.leave) == (enter, leave)


@pytest.mark.parametrize("lowmem", [False, True])
def test_below_512_mib_there_is_no_kernel_machine(lowmem):
    config = Config(ram_bytes=511 * 2**20, lowmem=lowmem, machine="kernel+proxy")
    assert [machine.name for machine in machines.make_machines(config, 511 * 256, False)] == [
        "proxy"]


@pytest.mark.parametrize(("ram_mib", "enter", "leave"), [
    (100, 2560, 5120), (128, 2560, 5120), (129, 10240, 15360), (256, 10240, 15360),
    (512, 26214, 39321),  # 20 and 30 % of 131072
    (1024, 31457, 47185),  # 12 and 18 % of 262144: 31457.28, 47185.92
])
def test_proxy_levels(ram_mib, enter, leave):
    machine = machines.proxy_machine(Config(ram_bytes=ram_mib * 2**20), ram_mib * 256)
    assert (machine.enter, machine.leave) == (enter, leave)


def test_free_memory_in_both_directions():
    machine = machines.FreeMemory("proxy", 12, 18)
    assert steps(machine, "used", (88, 89, 82, 81)) == ["off", "on", "on", "off"]
    kernel = machines.FreeMemory("kernel", 17, 26, reach=87)
    assert steps(kernel, "used", (70, 71, 61, 60)) == ["off", "on", "on", "off"]
    assert kernel.step("off", snapshot(used=60, cache=11)) == "on"
    assert kernel.step("on", snapshot(used=99)) == "on"


def test_fortios_5_three_ways_in():
    config = Config(proxy_max_sessions=10, shm_limit_bytes=40 * PAGE)
    machine = machines.FortiOS5(config, 100, proxy_runs=True)
    assert steps(machine, "used", (80, 81, 70, 69)) == ["off", "on", "on", "off"]
    # free shm below 8 of 40 enters, above 12 leaves
    assert steps(machine, "shm", (32, 33, 28, 27)) == ["off", "on", "on", "off"]
    assert steps(machine, "proxy", (9, 10, 9, 8), "off") == ["off", "on", "off", "off"]
    assert machine.step("on", snapshot(used=69, shm=28)) == "on"
    quiet = machines.FortiOS5(config, 100, proxy_runs=False)
    assert quiet.step("off", snapshot(shm=40, proxy=10)) == "off"
    assert quiet.step("on", snapshot(shm=40, proxy=10)) == "off"


def test_modes_events_and_flaps():
    firewall = Firewall(Config(
        ram_bytes=100 * PAGE, base_bytes=80 * PAGE, accounting="slab", machine="unified",
        ips_trigger=(), pressure=[{"at_s": at, "add_bytes": pages * PAGE} for at, pages in (
            (1.0, 8), (2.0, 7), (3.0, -5), (62.0, 5), (63.0, -20))]))
    send(firewall, udp(A, 1, X, 9))  # 80 + 1 pages
    assert send(firewall, udp(A, 2, X, 9), 1.5) == ("forward", "new")  # 89: on
    assert send(firewall, udp(A, 3, X, 9), 2.5) == ("drop", "extreme")  # 96
    assert send(firewall, udp(A, 2, X, 9), 2.6) == ("forward", "hit")
    assert send(firewall, udp(A, 3, X, 9), 3.5) == ("forward", "new")  # 91: on
    send(firewall, bytes(60), 63.5)
    assert modes(firewall) == [
        (2, 1 * S, "time", "off", "on"), (3, 2 * S, "time", "on", "extreme"),
        (5, 3 * S, "time", "extreme", "on"), (6, 62 * S, "time", "on", "extreme"),
        (6, 63 * S, "time", "extreme", "off")]
    assert kinds(firewall) == ["conserve_entered", "extreme_entered", "extreme_left",
                               "extreme_entered", "conserve_left"]
    assert firewall.flaps == 1  # 59 s after the exit


def test_a_packet_may_cross_two_levels_and_the_next_sees_it():
    firewall = Firewall(Config(
        ram_bytes=100 * PAGE, base_bytes=80 * PAGE, accounting="slab", machine="unified",
        policies=[{"id": 1, "inspection": "proxy"}], proxy_session_bytes=14 * PAGE))
    assert send(firewall, udp(A, 1, X, 9)) == ("inspect", "new")  # 80 + 1 + 14 = 95
    assert modes(firewall) == [(1, 0, "packet", "off", "on"), (1, 0, "packet", "on", "extreme")]
    assert send(firewall, udp(A, 2, X, 9)) == ("drop", "extreme")
    start = Firewall(Config(ram_bytes=100 * PAGE, base_bytes=88 * PAGE, accounting="slab",
                            machine="unified"))
    send(start, udp(A, 1, X, 9))
    assert modes(start) == [(0, 0, "start", "off", "on")]


# --- The gate ------------------------------------------------------------------------------

ADMIT = None
BLOCK = ("drop", "conserve_block")


@pytest.mark.parametrize(("modes", "action", "proxy", "start", "page", "refused"), [
    ({"unified": "off"}, "pass", ADMIT, "grant", "grant", "bypass"),
    ({"unified": "off"}, "off", ADMIT, "grant", "grant", "kill"),
    ({"unified": "off"}, "idledrop", ADMIT, "grant", "grant", "kill"),
    ({"unified": "on"}, "pass", ("bypass", "conserve"), "conserve", "grant", "bypass"),
    ({"unified": "on"}, "one-shot", ("bypass", "conserve"), "conserve", "grant", "bypass"),
    ({"unified": "on"}, "off", BLOCK, "kill", "kill", "kill"),
    ({"unified": "on"}, "idledrop", BLOCK, "grant", "grant", "kill"),
    ({"unified": "extreme"}, "off", BLOCK, "kill", "kill", "kill"),
    ({"kernel": "on", "proxy": "on"}, "off", ("bypass", "kernel"), "kernel", "grant", "kill"),
    ({"kernel": "off", "proxy": "on"}, "off", BLOCK, "kill", "kill", "kill"),
])
def test_gate_cells(modes, action, proxy, start, page, refused):
    row = gate.gate_row(modes, False, False, Config(av_failopen=action), True)
    assert (row.proxy, row.object_start, row.page_request, row.object_refused) == (
        proxy, start, page, refused)
    assert row.flow is None and not row.ips_bypass
    assert row.whole == (dict.fromkeys(range(4), "extreme") if "extreme" in modes.values()
                         else {})


def test_gate_of_ips_scope_latch_and_kernel_mode():
    on = {"unified": "on"}
    assert gate.gate_row(on, False, True, Config(), True).flow == ("drop", "ips_block")
    opened = gate.gate_row(on, False, True, Config(ips_fail_open=True), True)
    assert opened.ips_bypass and opened.flow is None
    config = Config(extreme_scope="inspected")
    assert 0 not in gate.gate_row({"unified": "extreme"}, False, False, config, True).whole
    config = Config(av_failopen="one-shot")
    assert gate.gate_row({"unified": "off"}, True, False, config, True).proxy == (
        "bypass", "one_shot")
    config = Config(av_failopen="off", kernel_mode="av-failopen", machine="kernel+proxy")
    assert gate.gate_row({"kernel": "on", "proxy": "off"}, False, False, config, True
                         ).proxy == BLOCK
    config = Config(av_failopen="off", machine="fortios-5")
    assert gate.gate_row({"fortios-5": "on"}, False, False, config, False).proxy is None


def squeezed(**settings):
    """100 pages, 70 base; conserve from 1 s on by 20 pages more, until 5 s."""
    return Firewall(Config(**{
        "ram_bytes": 100 * PAGE, "base_bytes": 70 * PAGE, "accounting": "slab",
        "machine": "unified", "proxy_session_bytes": PAGE, "ips_trigger": (),
        "policies": [{"id": 1, "protocol": "tcp", "inspection": ["antivirus"]},
                     {"id": 2, "ports": [53], "inspection": ["ips"]},
                     {"id": 3, "ports": [99], "inspection": "flow+proxy"}, {"id": 4}],
        "pressure": [{"at_s": 1.0, "add_bytes": 20 * PAGE},
                     {"at_s": 5.0, "add_bytes": -20 * PAGE}], **settings}))


def classes(port):
    """One new flow of each class: proxy, flow, both, none."""
    return [tcp(A, port, X, 80, SYN), udp(A, port, X, 53), udp(A, port, X, 99),
            udp(A, port, X, 1000)]


@pytest.mark.parametrize(("settings", "expected"), [
    ({"av_failopen": "pass"}, ["bypass_conserve", "new", "bypass_conserve", "new"]),
    ({"av_failopen": "off"}, ["conserve_block", "new", "conserve_block", "new"]),
    ({"av_failopen": "off", "ips_trigger": ("conserve",)},
     ["conserve_block", "ips_block", "conserve_block", "new"]),
    ({"av_failopen": "pass", "ips_trigger": ("conserve",)},
     ["bypass_conserve", "ips_block", "ips_block", "new"]),
    ({"av_failopen": "pass", "ips_trigger": ("conserve",), "ips_fail_open": True},
     ["bypass_conserve", "bypass_ips", "bypass_conserve", "new"]),
])
def test_classes_while_conserving(settings, expected):
    firewall = squeezed(**settings)
    for frame in classes(1):
        assert send(firewall, frame)[1] == "new"
    send(firewall, bytes(60), 1)
    assert reasons(firewall, classes(2), 1) == expected
    send(firewall, bytes(60), 5)
    assert reasons(firewall, classes(3), 5) == ["new"] * 4


def test_ips_fail_open_reaches_existing_flow_sessions():
    firewall = squeezed(ips_trigger=("conserve",), ips_fail_open=True)
    dns = udp(A, 1, X, 53)
    assert send(firewall, dns) == ("inspect", "new")
    assert send(firewall, dns, 1) == ("bypass", "bypass_ips")
    assert send(firewall, dns, 5) == ("inspect", "hit")
    assert firewall.exposure["ips"] == {"sessions": 1, "packets": 1, "bytes": 42}
    assert kinds(firewall) == ["conserve_entered", "ips_fail_open_entered", "conserve_left",
                               "ips_fail_open_left"]


def test_one_shot_stays_after_recovery_until_it_is_changed():
    firewall = squeezed(av_failopen="one-shot")
    assert send(firewall, tcp(A, 1, X, 80, SYN))[1] == "new"
    assert send(firewall, tcp(A, 2, X, 80, SYN), 1)[1] == "bypass_conserve"
    assert send(firewall, tcp(A, 3, X, 80, SYN), 5)[1] == "bypass_one_shot"
    assert send(firewall, tcp(A, 2, X, 80, SYN), 5)[1] == "bypass_conserve"  # for its life
    assert send(firewall, tcp(A, 1, X, 80, SYN), 5) == ("inspect", "hit")
    firewall.configure(av_failopen="pass")
    assert send(firewall, tcp(A, 4, X, 80, SYN), 5) == ("inspect", "new")
    assert kinds(firewall) == ["conserve_entered", "one_shot_latched", "conserve_left",
                               "one_shot_released", "configured"]
    assert firewall.exposure["conserve"]["packets"] == 2
    assert firewall.exposure["conserve"]["sessions"] == 1


def test_kernel_and_proxy_side_by_side():
    gib = 2**30
    firewall = Firewall(Config(
        ram_bytes=2 * gib, base_bytes=gib, accounting="slab", machine="kernel+proxy",
        av_failopen="off", policies=[{"id": 1, "inspection": "proxy"}], pressure=[
            # proxy enters below 12 % of 2 GiB: 62914 pages, kernel below 51200
            {"at_s": 1.0, "add_bytes": gib - 60000 * PAGE},
            {"at_s": 2.0, "add_bytes": 10000 * PAGE}]))
    assert send(firewall, udp(A, 1, X, 9))[1] == "new"
    assert send(firewall, udp(A, 2, X, 9), 1)[1] == "conserve_block"
    assert send(firewall, udp(A, 2, X, 9), 2)[1] == "bypass_kernel"
    assert [row["machine"] for row in firewall.transitions] == ["proxy", "kernel"]


def test_fortios_5_without_proxy_policies_changes_nothing():
    firewall = squeezed(base_bytes=80 * PAGE, machine="fortios-5", av_failopen="off", policies=[],
                        ips_trigger=("conserve",))
    assert send(firewall, udp(A, 1, X, 9))[1] == "new"
    assert firewall.modes == {"fortios-5": "on"}  # 19 free of 20
    assert send(firewall, udp(A, 2, X, 9))[1] == "new"
    assert kinds(firewall) == ["conserve_entered"]


# --- Idledrop ------------------------------------------------------------------------------


def crowd(**settings):
    """79 base pages and 7 one-page sessions; 2 more pages at 1 s; green 84, red 88."""
    firewall = squeezed(base_bytes=79 * PAGE, session_bytes=PAGE, av_failopen="idledrop",
                        memory_use_threshold_green=84, policies=[{"id": 1}],
                        pressure=[{"at_s": 1.0, "add_bytes": 2 * PAGE}], **settings)
    for packet, host in enumerate((B, A, C, B, A, C, C)):
        send(firewall, udp(host, packet, X, 9))
    return firewall


def test_idledrop_kills_the_busiest_hosts_and_breaks_ties_by_address():
    firewall = crowd()
    firewall.configure(policies=[{"id": 1}, {"id": 2, "inspection": "proxy"}])
    send(firewall, bytes(60), 1)
    # 88 used: C's three go (85), then A's two (83 < 84), B stays
    assert firewall.idledrop_hosts == [{"host": C, "sessions": 3}, {"host": A, "sessions": 2}]
    assert [(v["created_packet"], v["ended_packet"]) for v in firewall.victims] == [
        (3, 8), (6, 8), (7, 8), (2, 8), (5, 8)]
    assert modes(firewall) == [(8, S, "time", "off", "on"), (8, S, "time", "on", "off")]
    assert kinds(firewall) == ["configured", "conserve_entered", "conserve_left", "idledrop"]
    assert firewall.events[-1] == {"kind": "idledrop", "packet": 8, "time_ns": T0 + S,
                                   "hosts": 2, "sessions": 5}


def test_idledrop_of_the_idle_waits_for_a_tick():
    firewall = crowd(idledrop_variant="idle", idledrop_idle_s=2)
    send(firewall, udp(C, 2, X, 9), 1)  # on, nobody idle for 2 s
    assert firewall.live == 7
    send(firewall, bytes(60), 1.999)
    assert firewall.live == 7
    send(firewall, bytes(60), 2)  # C's two that are idle: 86, A's two: 84, B's two: 82
    assert firewall.live == 1 and firewall.ended["killed"] == 6
    assert firewall.transitions[-1]["time_ns"] == T0 + 2 * S


def test_idledrop_spares_local_tcp_and_blocks_proxied_flows():
    firewall = squeezed(av_failopen="idledrop", session_bytes=PAGE, policies=[
        {"id": 1, "ports": [22], "action": "local"}, {"id": 2, "inspection": "proxy"}])
    send(firewall, tcp(A, 1, X, 22, SYN))
    send(firewall, udp(A, 1, X, 22))
    send(firewall, tcp(A, 1, X, 80, SYN), 1)
    assert firewall.ended["killed"] == 1 and firewall.live == 1
    assert send(firewall, tcp(A, 1, X, 80, SYN), 2)[1] == "conserve_block"


# --- Objects -------------------------------------------------------------------------------


def proxied(**settings):
    """1000 pages, a page a proxied session, no machine; the session of port 1 is open."""
    firewall = Firewall(Config(**{
        "ram_bytes": 1000 * PAGE, "accounting": "slab", "proxy_session_bytes": PAGE,
        "cache_limit_bytes": 2 * PAGE, "oversize_bytes": 10_000,
        "policies": [{"id": 1, "inspection": "proxy"}], **settings}))
    assert send(firewall, tcp(A, 1, X, 80, ACK)) == ("inspect", "new")
    return firewall


def test_object_pages_come_and_go():
    firewall = proxied()
    there, back = (A, 1, X, 80), (X, 80, A, 1)

    def after(ends, flags, payload):
        result = send(firewall, tcp(*ends, flags, payload))
        now = firewall.memory.now()
        return (*result, now["shm"], now["cache"])

    assert after(there, ACK, 4096) == ("inspect", "hit", 2, 0)
    assert after(there, ACK, 1) == ("inspect", "hit", 3, 0)
    assert after(back, ACK, 0) == ("inspect", "hit", 3, 0)  # no payload: the run goes on
    assert after(back, ACK, 100) == ("inspect", "hit", 2, 2)  # two to the cache, one new
    assert after(back, ACK, 9900) == ("inspect", "hit", 4, 2)  # 10000 bytes: 3 pages
    assert after(back, ACK, 1) == ("bypass", "bypass_oversize", 1, 2)
    assert after(back, ACK, 1) == ("bypass", "bypass_oversize", 1, 2)
    assert after(back, ACK, 0) == ("inspect", "hit", 1, 2)
    assert after(there, FIN | ACK, 10) == ("inspect", "hit", 1, 2)  # counted, then ended
    assert after(there, RST, 0) == ("inspect", "hit", 1, 2)
    counters = firewall.counters()
    assert counters["proxy"] == {"sessions": 1, "peak": 1, "objects": 3,
                                 "objects_bypassed": 0, "objects_oversize": 1}
    assert counters["memory"]["peak"]["shm"] == 4
    send(firewall, bytes(60), 5)
    assert firewall.memory.now()["shm"] == 0


def test_objects_in_conserve_finish_or_pass():
    pressure = [{"at_s": 1.0, "add_bytes": 900 * PAGE}]
    firewall = proxied(machine="unified", ips_trigger=(), pressure=pressure)
    there, back = (A, 1, X, 80), (X, 80, A, 1)
    assert send(firewall, tcp(*there, ACK, 100))[1] == "hit"
    assert send(firewall, tcp(*there, ACK, 5000), 1)[1] == "hit"  # finished
    assert send(firewall, tcp(*back, ACK, 100), 1) == ("bypass", "bypass_conserve")
    assert send(firewall, tcp(*back, ACK, 0), 1) == ("inspect", "hit")
    assert (firewall.objects, firewall.objects_bypassed) == (2, 1)
    for payload, result in ((3996, "hit"), (3997, "killed")):  # a second page is asked for
        firewall = proxied(machine="unified", ips_trigger=(), av_failopen="off",
                           pressure=pressure)
        send(firewall, tcp(*there, ACK, 100))
        assert send(firewall, tcp(*there, ACK, payload), 1)[1] == result
    assert firewall.victims[-1]["cause"] == "killed"
    assert firewall.victims[-1]["bytes"] == 54 + 154 + 54 + 3997


@pytest.mark.parametrize(("action", "result"), [
    ("pass", ("bypass", "bypass_no_memory")), ("one-shot", ("bypass", "bypass_no_memory")),
    ("off", ("drop", "killed")), ("idledrop", ("drop", "killed")),
])
def test_an_object_that_gets_no_page(action, result):
    firewall = proxied(ram_bytes=2 * PAGE, av_failopen=action)  # session, proxy session
    assert send(firewall, tcp(A, 1, X, 80, ACK, 10)) == result
    assert firewall.ended["tension"] == 0  # its own session is pinned


def test_proxy_table_full():
    other = udp(B, 1, X, 80)
    assert send(proxied(proxy_max_sessions=1), other) == ("drop", "proxy_table_full")
    for action, result in (("pass", "bypass_proxy_table"), ("one-shot", "bypass_proxy_table"),
                           ("off", "proxy_table_full"), ("idledrop", "proxy_table_full")):
        firewall = proxied(proxy_max_sessions=1, av_failopen_session=True, av_failopen=action)
        assert send(firewall, other)[1] == result


# --- IPS -----------------------------------------------------------------------------------


def test_ips_buffer_fills_and_drains_by_the_nanosecond():
    # 8000 bit/s: one byte a millisecond
    firewall = squeezed(machine="none", ips_trigger=("buffer",), ips_socket_bytes=1000,
                        ips_throughput_bps=8000, pressure=[])
    assert send(firewall, udp(A, 1, X, 53, 600))[1] == "new"
    assert send(firewall, udp(A, 1, X, 53, 600), 0.1)[1] == "hit"  # 600 - 100 + 600: full
    assert send(firewall, udp(A, 1, X, 53), 0.1) == ("inspect", "hit")
    assert send(firewall, udp(A, 2, X, 53), 0.599999999)[1] == "ips_block"
    assert send(firewall, udp(A, 2, X, 53), 0.6)[1] == "new"
    assert (firewall.ips_filled_bytes, firewall.ips_full_count) == (1200, 1)
    assert [(e["kind"], e["packet"]) for e in firewall.events[1:]] == [
        ("ips_fail_open_entered", 2), ("ips_fail_open_left", 5)]


def test_ips_deadline_moves_with_later_filling():
    firewall = squeezed(machine="none", ips_trigger=("buffer",), ips_socket_bytes=1000,
                        ips_throughput_bps=8000, pressure=[])
    send(firewall, udp(A, 1, X, 53, 1000))
    send(firewall, udp(A, 1, X, 53, 200), 0.3)  # 700 + 200: half empty at 0.7
    assert send(firewall, udp(A, 2, X, 53), 0.699999999)[1] == "ips_block"
    assert send(firewall, udp(A, 2, X, 53), 0.7)[1] == "new"


# --- The outcome and the captures ----------------------------------------------------------


def test_outcome_by_hand():
    firewall = plain(max_connections=1)
    for port in (1, 2):
        send(firewall, udp(A, port, X, 9))

    def short(data):
        return hashlib.blake2b(data, digest_size=16)

    pairs = short(bytes([FORWARD, 0, FORWARD, 0])).digest()
    victims = short(struct.pack("<QQB", 1, 2, 3)).digest()
    text = json.dumps({"transitions": [], "events": firewall.events,
                       "counters": firewall.counters()}, sort_keys=True,
                      separators=(",", ":")).encode()
    assert firewall.outcome() == "1:" + short(pairs + victims + text).hexdigest()
    assert (FORWARD, INSPECT, BYPASS, DROP) == (0, 1, 2, 3)
    assert (len(twin.REASONS), len(twin.CAUSES), len(twin.ENDS)) == (33, 8, 7)
    assert all(twin.REASONS[9 + n] == f"bypass_{cause}" for n, cause in enumerate(twin.CAUSES[:7]))


def test_the_twin_shares_nothing():
    files = sorted(Path(twin.__file__).parent.glob("*.py"))
    assert len(files) > 20
    for path in files:
        text = path.read_text()
        imported = re.findall(r"^\s*(?:from|import)\s+([\w.]+)", text, re.MULTILINE)
        assert [name for name in imported if name.split(".")[0] not in sys.stdlib_module_names
                and not name.startswith("fwcore.reference.")] == [], path
        assert len(text.splitlines()) <= 400, f"{path}: more than can be read in a sitting"


CAPTURES = Path(os.environ.get(
    "FWCORE_CAPTURES", Path(__file__).parents[2] / "shared" / "pcaps"))


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no captures beside the checkout")
def test_captures_never_raise():
    utils = pytest.importorskip("scapy.utils")
    faults = (EOFError, OSError, ValueError, struct.error, utils.Scapy_Exception)
    for path in sorted(CAPTURES.iterdir()):
        firewall = squeezed(max_connections=50, when_full="tension")
        with path.open("rb") as file:
            try:
                reader = utils.RawPcapReader(file)
            except faults:  # not a capture that Scapy reads
                continue
            while True:
                try:
                    frame, meta = reader._read_packet()
                except faults:  # the end, or a fault of the capture
                    break
                link = meta.linktype if hasattr(meta, "linktype") else reader.linktype
                firewall.packet(bytes(frame), firewall.packets * 10**7, meta.wirelen, link)
        assert firewall.outcome()
