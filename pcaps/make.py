"""Writes the small captures of this folder with Scapy: ``python pcaps/make.py [folder]``.

Each function tells one story and returns its frames; README.md lists them, ``expected.toml`` says
what must come out, reasoned from the rules and from the construction here. Nothing is random:
the same Scapy writes the same bytes.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

from scapy.all import (
    AH,
    ARP,
    DNS,
    DNSQR,
    DNSRR,
    ESP,
    GRE,
    ICMP,
    IP,
    LLC,
    PPP,
    STP,
    TCP,
    UDP,
    Dot1AD,
    Dot1Q,
    Dot3,
    Ether,
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Packet,
    PPPoE,
    PPPoED,
    Raw,
)
from scapy.contrib.mpls import MPLS

START_S = 1_700_000_000
MAC = {"dst": "02:00:00:00:00:02", "src": "02:00:00:00:00:01"}
ETHERNET, RAW_IP = 1, 101


class Story:
    """Frames in the order of their times: (time_ns from the start, bytes, wire length, link)."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes, int, int]] = []

    def add(self, time_s: float, packet: Packet | bytes, wire: int | None = None,
            captured: int | None = None, link: int = ETHERNET) -> None:
        """``captured`` cuts the frame; ``wire`` is its length on the wire (default: all of it)."""
        octets = bytes(packet)
        wire = len(octets) if wire is None else wire
        self.frames.append((round(time_s * 1e9), octets[:captured], wire, link))

    def rows(self, *packets: Packet | bytes, start_s: float = 0.0, gap_s: float = 0.01) -> Story:
        """Packets at equal distances, each whole."""
        for number, packet in enumerate(packets):
            self.add(start_s + number * gap_s, packet)
        return self

    def sorted(self) -> list[tuple[int, bytes, int, int]]:
        return sorted(self.frames, key=lambda row: row[0])


def ip4(src: str, dst: str, **fields) -> Packet:
    return Ether(**MAC) / IP(src=src, dst=dst, **fields)


def ip6(src: str, dst: str, **fields) -> Packet:
    return Ether(**MAC) / IPv6(src=src, dst=dst, **fields)


def tcp(src: str, dst: str, flags: str, payload: bytes = b"") -> Packet:
    """``"10.0.0.1:1000"`` to ``"203.0.113.1:80"``; numbers do not matter to the simulator."""
    (a, sport), (b, dport) = src.split(":"), dst.split(":")
    return ip4(a, b) / TCP(sport=int(sport), dport=int(dport), flags=flags) / Raw(payload)


def udp(src: str, dst: str, payload: bytes = b"x" * 20) -> Packet:
    (a, sport), (b, dport) = src.split(":"), dst.split(":")
    return ip4(a, b) / UDP(sport=int(sport), dport=int(dport)) / Raw(payload)


def raw_wire(packet: Packet, at: int, octets: bytes) -> bytes:
    """The built packet with ``octets`` written over position ``at``."""
    whole = bytearray(bytes(packet))
    whole[at:at + len(octets)] = octets
    return bytes(whole)


def arp() -> Packet:
    return Ether(**MAC) / ARP(hwsrc=MAC["src"], psrc="10.0.0.1", pdst="10.0.0.254")


# --- stories of sessions ----------------------------------------------------------------------


def exchange(story: Story, time_s: float, client: str, server: str, sizes: list[tuple[str, int]],
             gap_s: float = 0.02, cut: int | None = None) -> None:
    """A whole TCP connection: handshake, payloads ((">" or "<"), bytes), close by the client."""
    (a, sport), (b, dport) = client.split(":"), server.split(":")
    seq = {">": 1000, "<": 5000}
    course = [(">", "S", 0), ("<", "SA", 0), (">", "A", 0)]
    course += [(direction, "PA", size) for direction, size in sizes]
    course += [(">", "FA", 0), ("<", "FA", 0), (">", "A", 0)]
    for number, (direction, flags, size) in enumerate(course):
        back = "<" if direction == ">" else ">"
        ends = (a, b, sport, dport) if direction == ">" else (b, a, dport, sport)
        packet = ip4(ends[0], ends[1]) / TCP(
            sport=int(ends[2]), dport=int(ends[3]), flags=flags, seq=seq[direction],
            ack=seq[back] if "A" in flags else 0) / Raw(_text(direction, size))
        seq[direction] += size + ("S" in flags) + ("F" in flags)
        story.add(time_s + number * gap_s, packet, captured=cut)


def _text(direction: str, size: int) -> bytes:
    start = b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n" if direction == ">" else \
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
    return (start + b"abcdefgh" * 200)[:size]


def lookup(story: Story, time_s: float, client: str, name: str, answered: bool = True) -> None:
    """A DNS query to 10.0.0.53 and its answer 10 ms later."""
    a, sport = client.split(":")
    ask = DNS(id=int(sport), rd=1, qd=DNSQR(qname=name))
    story.add(time_s, ip4(a, "10.0.0.53") / UDP(sport=int(sport), dport=53) / ask)
    if answered:
        tell = DNS(id=int(sport), qr=1, rd=1, ra=1, qd=DNSQR(qname=name),
                   an=DNSRR(rrname=name, ttl=300, rdata="203.0.113.10"))
        story.add(time_s + 0.01, ip4("10.0.0.53", a) / UDP(sport=53, dport=int(sport)) / tell)


def web() -> Story:
    """Twenty page visits: a name asked for, a page fetched, both ends closed. Then silence."""
    story = Story()
    for visit in range(20):
        client = f"10.0.1.{1 + visit % 5}"
        lookup(story, visit * 0.5, f"{client}:{2000 + visit}", "www.example.com")
        exchange(story, visit * 0.5 + 0.03, f"{client}:{3000 + visit}", "203.0.113.10:80",
                 [(">", 300), ("<", 1460), ("<", 1460), ("<", 200)])
    story.add(400.0, arp())
    return story


def syn_flood() -> Story:
    """One honest connection, then 500 spoofed SYNs in five seconds, then the honest one again."""
    story = Story().rows(
        tcp("10.0.0.1:1000", "203.0.113.80:443", "S"),
        tcp("203.0.113.80:443", "10.0.0.1:1000", "SA"),
        tcp("10.0.0.1:1000", "203.0.113.80:443", "A"))
    for number in range(500):
        source = f"{11 + number % 100}.{number % 7}.{number % 13}.{1 + number % 250}"
        story.add(0.5 + number * 0.01,
                  tcp(f"{source}:{10_000 + number}", "203.0.113.80:443", "S"))
    story.add(5.8, tcp("10.0.0.1:1000", "203.0.113.80:443", "PA", b"still here"))
    return story


def tcp_states() -> Story:
    """A row of packets for each way through the TCP table; each on ports of its own."""
    one, two = "10.0.0.1:{}", "203.0.113.1:80"
    rows = []
    for port, course in enumerate(TCP_COURSES, 1001):
        a = one.format(port)
        for step in course.split():
            pair = (a, two) if step[0] == ">" else (two, a)
            payload = b"data" if "P" in step else b""
            rows.append(tcp(*pair, "" if step[1:] == "0" else step[1:], payload))
    return Story().rows(*rows)


TCP_COURSES = (
    ">S <SA >A >PA <PA >FA <FA >A",  # the whole life, the client closes
    ">S <SA >A <FA >A >FA <A",  # the server closes first
    ">S <S >SA <SA >A >PA",  # simultaneous open
    ">S <RA",  # refused
    ">S <SA >A >R",  # reset in the middle
    ">PA <A",  # seen from the middle
    ">FA <FA",  # seen from the last words
    ">R",  # only a reset
    "<SA >A >PA",  # the SYN was not seen
    ">S <A >PA >FA",  # illegal in SYN_SENT: ACK by the server, data, FIN
    ">S <SA >A >S >0 >PA",  # illegal in ESTABLISHED: SYN, no flags at all
    ">S <SA >A >FA <FA >S <SA",  # the same ports again: clash
)


def one_shot() -> Story:
    """Proxied connections before (1), within (2) and after (3) conserve mode; 1 goes on.

    The first packet is at 1.0 s; pressure lasts from 5.5 s to 10.5 s (4.5 and 9.5 after it).
    """
    story, server = Story(), "203.0.113.10:80"
    for time_s, port in ((1.0, 1001), (6.0, 1002), (11.0, 1003)):
        a = f"10.0.0.1:{port}"
        story.rows(tcp(a, server, "S"), tcp(server, a, "SA"), tcp(a, server, "A"),
                   tcp(a, server, "PA", b"G" * 200), tcp(server, a, "PA", b"o" * 1000),
                   start_s=time_s)
    first = "10.0.0.1:1001"
    story.add(7.0, tcp(server, first, "PA", b"o" * 1000))  # the object goes on being scanned
    story.add(7.1, tcp(first, server, "PA", b"G" * 200))  # a new object
    story.add(7.2, tcp(first, server, "A"))
    story.add(12.1, tcp(server, "10.0.0.1:1002", "PA", b"o" * 1000))
    return story


def idledrop() -> Story:
    """Hosts with 5, 3, 3 and 1 sessions; two tie. At 10.5 s memory runs short."""
    story, time_s = Story(), 0.0
    for host, sessions in ((3, 3), (1, 5), (4, 1), (2, 3)):
        for number in range(sessions):
            story.add(time_s, udp(f"10.0.0.{host}:{1000 + number}", "203.0.113.9:5000"))
            time_s += 0.1
    for host in (1, 2, 3, 4):
        story.add(11.0 + host, udp(f"10.0.0.{host}:1000", "203.0.113.9:5000"))
    return story


def ips_buffer() -> Story:
    """Ten payloads of 1 000 bytes at one moment fill a buffer of 10 000, drained at 1 000 B/s."""
    story, flow = Story(), ("10.0.0.1:1000", "203.0.113.9:5000")
    for _ in range(10):
        story.add(0.0, udp(*flow, b"p" * 1000))
    story.add(1.0, udp("10.0.0.2:1000", flow[1], b"n"))  # a new session while it is full
    story.add(2.0, udp(*flow, b""))  # the old one, nothing to scan
    story.add(4.9, udp("10.0.0.3:1000", flow[1], b"n"))  # 5 100 bytes left: still too full
    story.add(5.1, udp("10.0.0.4:1000", flow[1], b"n"))  # half empty since 5.0 s
    return story


# --- stories of frames ------------------------------------------------------------------------


def fragments() -> Story:
    """First, later, out of order, orphan, tiny, too short, IPv6, atomic, and one too late."""
    data = bytes(UDP(sport=1000, dport=2000, len=24) / Raw(b"f" * 16))
    src, dst = "10.0.0.1", "203.0.113.1"

    def part(number: int, offset: int, more: bool, octets: bytes, proto: int = 17) -> Packet:
        return ip4(src, dst, id=number, frag=offset, flags="MF" if more else 0,
                   proto=proto) / Raw(octets)

    def part6(number: int, offset: int, more: int, octets: bytes) -> Packet:
        return ip6("fd00::1", "2001:db8::1") / IPv6ExtHdrFragment(
            nh=17, id=number, offset=offset, m=more) / Raw(octets)

    def ports(number: int) -> bytes:
        return struct.pack("!HH", 1000 + number, 2000) + data[4:]

    header = bytes(TCP(sport=1004, dport=80, flags="A"))
    story = Story().rows(
        part(1, 0, True, ports(1)), part(1, 3, True, b"g" * 24), part(1, 6, False, b"h" * 8),
        part(2, 3, False, b"g" * 24), part(2, 0, True, ports(2)), part(2, 3, False, b"g" * 24),
        part(3, 5, False, b"orphan!!"),
        part(4, 0, True, header[:8], 6), part(4, 1, False, header[8:] + b"data", 6),
        part(5, 0, True, b"ab"),
        part6(6, 0, 1, ports(6)), part6(6, 3, 0, b"g" * 24), part6(7, 3, 0, b"g" * 24),
        part6(8, 0, 0, ports(8)),
        ip4(src, dst, id=9, flags="MF") / ICMP(type=8, id=9) / Raw(b"e" * 16),
        part(9, 3, False, b"e" * 8, 1))
    story.add(40.0, part(1, 9, False, b"late" * 2))
    return story


def icmp_errors() -> Story:
    """Errors that quote sessions, in both families and for echo, and errors that quote nothing."""
    a, b, router = "10.0.0.1", "203.0.113.1", "198.51.100.1"
    first = udp(f"{a}:1000", f"{b}:2000")
    syn = tcp(f"{a}:1001", f"{b}:80", "S")
    six = ip6("fd00::1", "2001:db8::1") / UDP(sport=1002, dport=2000) / Raw(b"x" * 40)
    echo = ip4(a, b) / ICMP(type=8, id=77) / Raw(b"ping")
    stranger = udp(f"{a}:9999", f"{b}:2000")

    def error(kind: int, code: int, quoted: Packet, size: int = 28, src: str = router) -> Packet:
        return ip4(src, a) / ICMP(type=kind, code=code) / Raw(bytes(quoted[IP])[:size])

    nested = ip4(router, a) / ICMP(type=3, code=1) / Raw(bytes(stranger[IP])[:28])
    return Story().rows(
        first, error(3, 3, first, src=b), error(11, 0, first), error(3, 1, stranger),
        syn, error(3, 4, syn), error(5, 1, syn),
        six, ip6("2001:db8::ff", "fd00::1") / ICMPv6PacketTooBig(mtu=1280) / Raw(bytes(six[IPv6])),
        ip6("2001:db8::ff", "fd00::1") / ICMPv6DestUnreach(code=4) / Raw(
            bytes(IPv6(src="fd00::9", dst="2001:db8::1") / UDP(sport=9, dport=9))),
        echo, ip4(b, a) / ICMP(type=0, id=77) / Raw(b"ping"), error(11, 0, echo),
        error(3, 1, nested, 56),  # an error about an error
        error(3, 3, first, 24),  # four bytes of the quoted UDP header only
        # a timestamp request is neither an error nor an echo
        ip4(b, a) / ICMP(type=13, id=5, ts_ori=1, ts_rx=2, ts_tx=3) / Raw(b"t" * 12),
        error(12, 0, first))


def ipv6() -> Story:
    """Extension headers of every kind, as many as are allowed and one more, ND, echo, tunnels."""
    a, b = "fd00::1", "2001:db8::1"

    def six(*layers: Packet) -> Packet:
        packet = ip6(a, b)
        for layer in layers:
            packet = packet / layer
        return packet

    options, data = IPv6ExtHdrDestOpt, Raw(b"v6" * 10)
    nine = [options() for _ in range(9)]
    zero = raw_wire(six(UDP(sport=1008, dport=2000), data), 18, b"\0\0")
    return Story().rows(
        six(UDP(sport=1001, dport=2000), data),
        ip6(b, a) / UDP(sport=2000, dport=1001) / data,
        six(IPv6ExtHdrHopByHop(), TCP(sport=1002, dport=80, flags="S")),
        six(IPv6ExtHdrRouting(addresses=["2001:db8::2"]), UDP(sport=1003, dport=2000), data),
        six(options(), options(), UDP(sport=1004, dport=2000), data),
        six(AH(nh=17, payloadlen=4, icv=b"i" * 12), UDP(sport=1005, dport=2000), data),
        six(*nine[:8], UDP(sport=1006, dport=2000), data),
        six(*nine, UDP(sport=1007, dport=2000), data),
        zero,
        six(ESP(spi=1, seq=1, data=b"e" * 16)),
        ip6(a, b, nh=59),
        six(ICMPv6EchoRequest(id=7)), ip6(b, a) / ICMPv6EchoReply(id=7),
        ip6("fe80::1", "ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt="fe80::2"),
        ip6(a, b) / GRE() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2),
        ip4("10.0.0.1", "203.0.113.1", proto=41) / IPv6(src=a, dst=b) / UDP() / data)


def tags() -> Story:
    """The same UDP session through VLANs, stacks of them, MPLS and PPPoE, and what is not IP."""
    packet = IP(src="10.0.0.1", dst="203.0.113.1") / UDP(sport=1000, dport=2000) / Raw(b"x" * 20)
    six = IPv6(src="fd00::1", dst="2001:db8::1") / UDP(sport=1000, dport=2000) / Raw(b"x" * 20)
    link = Ether(**MAC)
    return Story().rows(
        link / packet,
        link / Dot1Q(vlan=10) / packet,
        link / Dot1Q(vlan=20) / packet,
        link / Dot1AD(vlan=10) / Dot1Q(vlan=30) / packet,
        Ether(**MAC, type=0x9100) / Raw(b"\x00\x14\x08\x00" + bytes(packet)),
        Ether(**MAC, type=0x8847) / MPLS(label=16, s=1) / packet,
        Ether(**MAC, type=0x8847) / MPLS(label=16, s=0) / MPLS(label=17, s=0)
        / MPLS(label=18, s=1) / six,
        Ether(**MAC, type=0x8847) / MPLS(label=16, s=1) / Raw(b"\0\0\0\0pseudowire"),
        link / PPPoE(sessionid=1) / PPP(proto=0x21) / packet,
        link / Dot1Q(vlan=10) / PPPoE(sessionid=1) / PPP(proto=0x57) / six,
        link / PPPoE(sessionid=1) / PPP(proto=0xC021) / Raw(b"\1\1\0\4"),
        link / PPPoED(code=9), arp(),
        Ether(**MAC, type=0x88CC) / Raw(b"lldp" * 8),
        Dot3(dst="01:80:c2:00:00:00", src=MAC["src"]) / LLC() / STP())


def malformed() -> Story:
    """One frame for each way a header can contradict itself, be cut, or leave its length out."""
    whole = udp("10.0.0.1:1000", "203.0.113.1:2000")  # 14 + 20 + 8 + 20 bytes
    syn = tcp("10.0.0.1:1001", "203.0.113.1:80", "S")
    six = ip6("fd00::1", "2001:db8::1") / UDP(sport=1002, dport=2000) / Raw(b"x" * 20)
    tagged = Ether(**MAC)
    for _ in range(17):
        tagged = tagged / Dot1Q(vlan=5)
    options = ip6("fd00::1", "2001:db8::1") / IPv6ExtHdrDestOpt() / Raw(b"x" * 4)
    story = Story().rows(
        whole,
        raw_wire(whole, 14, b"\x55"),  # version 5
        raw_wire(whole, 14, b"\x44"),  # header of 16 bytes
        raw_wire(whole, 16, b"\0\x13"),  # total length 19, less than the header
        raw_wire(whole, 16, b"\0\x60"),  # total length 96, more than the frame has
        raw_wire(whole, 16, b"\0\x1b"),  # 7 bytes for UDP
        raw_wire(syn, 16, b"\0\x27"),  # 19 bytes for TCP
        raw_wire(syn, 46, b"\x40"),  # TCP header of 16 bytes
        raw_wire(syn, 46, b"\x60"),  # TCP header of 24 bytes in 20
        raw_wire(six, 14, b"\x50"),  # version 5
        raw_wire(six, 18, b"\0\x40"),  # 64 bytes of payload, 28 there
        raw_wire(options, 55, b"\x05"),  # extension header of 48 bytes in 12
        tagged / whole[IP],  # the seventeenth tag
        bytes(whole)[:13],  # no whole Ethernet header on the wire
        bytes(whole)[:20],  # IPv4 header ends with the frame
        ip4("10.0.0.1", "203.0.113.1", id=5, flags="MF", proto=17) / Raw(b"ab"),
        raw_wire(whole, 16, b"\0\0"),  # total length 0: segmentation offload
        raw_wire(six, 18, b"\0\0"))
    late = 1.0
    for frame, captured in ((whole, 0), (whole, 13), (whole, 33), (whole, 41), (syn, 50),
                            (six, 53), (six, 61), (whole, 42)):
        octets = bytes(frame)
        story.add(late, octets, wire=len(octets), captured=captured)
        late += 0.01
    return story


def two_interfaces() -> Story:
    """A session seen on an Ethernet and on a raw IP interface with other units of time."""
    ask = udp("10.0.0.1:1000", "203.0.113.1:53")
    answer = udp("203.0.113.1:53", "10.0.0.1:1000")
    story = Story()
    story.add(0.0, ask)
    story.add(0.000_001_5, answer[IP], link=RAW_IP)  # 1.5 us: only nanoseconds can say it
    story.add(0.1, ask)
    story.add(0.2, ask[IP], link=RAW_IP)
    story.add(0.3, arp())
    return story


# --- the demonstration ------------------------------------------------------------------------

CONSERVE_S = (20.5, 50.5)  # conserve mode, and
EXTREME_S = (36.5, 44.5)  # extreme within: the pressure script of conserve.toml
CLIENTS = 40
NAMES = ("www.example.com", "mail.example.org", "files.example.net", "news.example.com")


def conserve() -> Story:
    """A minute at a branch office: DNS, web, mail, file transfer, terminals; memory runs short.

    A hundred terminal and mailbox sessions stay open all the time (so at least 25 pages of
    sessions); everything else is short, so that at most 160 sessions and 9 proxied ones stand at
    a time. What the firewall will refuse gets no answer here: a lone SYN and one more after 1 s.
    Frames of the longer connections are cut at 128 bytes.
    """
    story = Story()
    for number in range(100):
        _terminal(story, number)
    for number in range(180):  # three names a second
        time_s = 0.05 + number / 3
        lookup(story, time_s, f"{_client(number)}:{20_000 + number}", NAMES[number % 4],
               answered=not _within(time_s, EXTREME_S))
    for number in range(90):
        _connection(story, 0.21 + number / 1.5, number, 30_000, "203.0.113.10:80", EXTREME_S,
                    [(">", 380), ("<", 1460), ("<", 1460), ("<", 1000), (">", 380), ("<", 900)])
    for number in range(60):
        _connection(story, 0.37 + number, number + 7, 31_000, "203.0.113.11:443", EXTREME_S,
                    [(">", 300), ("<", 1200), (">", 120), ("<", 800)])
    for number in range(20):
        _connection(story, 0.71 + number * 3, number + 13, 32_000, "203.0.113.25:25", EXTREME_S,
                    [("<", 80), (">", 30), ("<", 60), (">", 1460), (">", 1460), ("<", 40)])
    for number in range(15):
        _connection(story, 1.13 + number * 4, number + 29, 33_000, "10.2.0.5:445", CONSERVE_S,
                    [(">", 200)] + [("<", 1460)] * 12 + [(">", 60)])
    for number in range(6):  # nobody may use telnet
        story.add(5.9 + number * 10, tcp(f"{_client(number)}:34000", "203.0.113.99:23", "S"))
    return story


def _client(number: int) -> str:
    return f"10.1.1.{1 + number * 7 % CLIENTS}"


def _within(time_s: float, window: tuple[float, float]) -> bool:
    return window[0] <= time_s < window[1]


def _connection(story: Story, time_s: float, number: int, port: int, server: str,
                refused: tuple[float, float], sizes: list[tuple[str, int]]) -> None:
    """A connection, or in the window in which it is refused a SYN and a second one."""
    client = f"{_client(number)}:{port + number}"
    if not _within(time_s, refused):
        exchange(story, time_s, client, server, sizes, gap_s=0.06, cut=128)
        return
    story.add(time_s, tcp(client, server, "S"))
    if _within(time_s + 1.0, refused):
        story.add(time_s + 1.0, tcp(client, server, "S"))


def _terminal(story: Story, number: int) -> None:
    """A session that opens in the first ten seconds and sends a little every eight."""
    server = f"203.0.113.{60 + number % 5}:{22 if number % 2 else 993}"
    client = f"{_client(number)}:{40_000 + number}"
    start_s = number * 0.1
    story.rows(tcp(client, server, "S"), tcp(server, client, "SA"), tcp(client, server, "A"),
               start_s=start_s, gap_s=0.02)
    time_s = start_s + 2.0
    while time_s < 60:
        story.add(time_s, tcp(client, server, "PA", b"k" * 48))
        story.add(time_s + 0.02, tcp(server, client, "PA", b"r" * 96))
        time_s += 8.0


# --- files ------------------------------------------------------------------------------------

STORIES = {
    "web.pcap": web, "syn-flood.pcap": syn_flood, "tcp-states.pcap": tcp_states,
    "one-shot.pcap": one_shot, "idledrop.pcap": idledrop, "ips-buffer.pcap": ips_buffer,
    "fragments.pcap": fragments, "icmp-errors.pcap": icmp_errors, "ipv6.pcap": ipv6,
    "tags.pcap": tags, "malformed.pcap": malformed, "two-interfaces.pcapng": two_interfaces,
    "conserve.pcap": conserve,
}


def write_pcap(path: Path, story: Story) -> None:
    """A nanosecond pcap (Ethernet), little-endian: Scapy's writer cannot keep empty captures."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, ETHERNET))
        for time_ns, frame, wire, _ in story.sorted():
            second, nanosecond = divmod(time_ns, 10**9)
            file.write(struct.pack("<IIII", START_S + second, nanosecond, len(frame), wire))
            file.write(frame)


def write_pcapng(path: Path, story: Story) -> None:
    """Two interfaces: 0 Ethernet in microseconds (the default), 1 raw IP in nanoseconds."""

    def block(kind: int, body: bytes) -> bytes:
        size = 12 + len(body)
        return struct.pack("<II", kind, size) + body + struct.pack("<I", size)

    with path.open("wb") as file:
        file.write(block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)))
        file.write(block(1, struct.pack("<HHI", ETHERNET, 0, 262144)))
        resolution = struct.pack("<HHB3x", 9, 1, 9) + struct.pack("<HH", 0, 0)
        file.write(block(1, struct.pack("<HHI", RAW_IP, 0, 262144) + resolution))
        for time_ns, frame, wire, link in story.sorted():
            interface = int(link == RAW_IP)
            ticks = START_S * 10**9 + time_ns
            if not interface:
                ticks //= 1000
            head = struct.pack("<IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(frame),
                               wire)
            file.write(block(6, head + frame + b"\0" * (-len(frame) % 4)))


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, tell in STORIES.items():
        write = write_pcapng if name.endswith("ng") else write_pcap
        write(folder / name, tell())
        print(f"{name:24} {(folder / name).stat().st_size:>9} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
