"""The filter against a plain loop over Scapy's dissection, and its messages."""

import ipaddress
import random

import pytest
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, CookedLinux, Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.sctp import SCTP
from scapy.packet import Raw
from test_capture import capture, pcap, rows

from fwcore.capture import CaptureError, Chunk, Filter, open_capture, open_captures

__all__ = ["capture"]
MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}   # or Scapy asks the network
V4 = ["10.0.0.1", "10.0.0.2", "192.168.7.9"]
V6 = ["2001:db8::1", "2001:db8:0:1::2", "fe80::1"]


def shims(rng):
    """Headers between Ethernet and IP, and whether they are PPPoE."""
    return rng.choice([
        lambda ether: ether, lambda ether: ether / Dot1Q(vlan=5),
        lambda ether: ether / Dot1AD() / Dot1Q(),
        lambda ether: ether / MPLS(label=3, s=0) / MPLS(label=4, s=1),
        lambda ether: ether / Dot1Q() / PPPoE() / PPP()])(Ether(**MACS))


def packet(rng):
    """A random packet, whole."""
    six = rng.random() < 0.4
    transport = rng.choice([
        TCP(sport=rng.choice([80, 5000]), dport=rng.choice([443, 80])),
        UDP(sport=rng.choice([53, 5000]), dport=rng.choice([443, 53])),
        SCTP(sport=80, dport=53), ICMPv6EchoRequest() if six else ICMP(), Raw(b"rest")])
    if not six:
        ip = IP(src=rng.choice(V4), dst=rng.choice(V4), frag=rng.choice([0, 0, 0, 185]),
                options=rng.choice([[], [], b"\1\1\1\0"]))
        if isinstance(transport, Raw):
            ip.proto = 47
    else:
        ip = IPv6(src=rng.choice(V6), dst=rng.choice(V6))
        for header in rng.choice([[], [], [IPv6ExtHdrHopByHop()], [IPv6ExtHdrDestOpt()],
                                  [IPv6ExtHdrFragment(offset=rng.choice([0, 9]))]]):
            ip = ip / header
        if isinstance(transport, Raw):
            ip.nh = 47
    return ip / transport


def plain(inner, word):
    """Whether a packet (its outermost IP header and what is in it) matches a primitive."""
    words = word.split()
    later = (inner.haslayer(IP) and inner[IP].frag > 0) or (
        inner.haslayer(IPv6ExtHdrFragment) and inner[IPv6ExtHdrFragment].offset > 0)
    kinds = {"tcp": TCP, "udp": UDP, "sctp": SCTP, "icmp": ICMP, "icmp6": ICMPv6EchoRequest}
    if words[0] in ("ip", "ip6"):
        return inner.haslayer(IP if words[0] == "ip" else IPv6) > 0
    side = next((side for side in ("src", "dst") if side in words), None)
    if "port" in words:
        protocols = [kinds[words[0]]] if words[0] in kinds else [TCP, UDP, SCTP]
        return not later and any(
            inner.haslayer(kind) and int(words[-1]) in [
                getattr(inner[kind], end) for end in ("sport", "dport")
                if side is None or end[0] == side[0]] for kind in protocols)
    if "host" in words or "net" in words:
        network = ipaddress.ip_network(words[-1])
        ip = inner[IP] if inner.haslayer(IP) else inner[IPv6]
        return any(ipaddress.ip_address(getattr(ip, end)) in network for end in ("src", "dst")
                   if side in (None, end))
    return inner.number == {"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "icmp6": 58}[words[0]]


PRIMITIVES = [
    "tcp", "udp", "sctp", "icmp", "icmp6", "ip", "ip6", "port 80", "src port 53", "dst port 443",
    "tcp port 80", "udp dst port 53", "sctp port 80", "host 10.0.0.1", "src host 10.0.0.2",
    "dst host 2001:db8::1", "host fe80::1", "net 10.0.0.0/8", "net 10.0.0.2/31", "net 0.0.0.0/0",
    "net 2001:db8::/32", "net 2001:db8:0:1::/64", "src net ::/0", "dst net 192.168.0.0/16"]


@pytest.fixture(scope="module")
def traffic():
    """600 random packets as a chunk over four link types, and as packets."""
    rng = random.Random(7)
    packets, frames, links = [], [], []
    numbers = {TCP: 6, UDP: 17, SCTP: 132, ICMP: 1, ICMPv6EchoRequest: 58, Raw: 47}
    for _ in range(600):
        inner = packet(rng)
        number = numbers[type(inner.lastlayer())]
        link = rng.choice([1, 1, 1, 101, 113, 0])
        if link == 1:
            head = shims(rng)
            if PPP in head:
                head[PPP].proto = 0x57 if IPv6 in inner else 0x21
            frame = bytes(head / inner)
        elif link == 113:
            frame = bytes(CookedLinux() / inner)
        elif link == 0:
            family = rng.choice([24, 28, 30]) if IPv6 in inner else 2
            frame = family.to_bytes(4, rng.choice(["little", "big"])) + bytes(inner)
        else:
            frame = bytes(inner)
        inner.number = number
        packets.append(inner)
        frames.append(frame)
        links.append(link)
    return Chunk.from_frames(frames, range(600), link=links), packets



@pytest.mark.parametrize("word", PRIMITIVES)
def test_primitive_is_what_a_plain_loop_finds(traffic, word):
    chunk, packets = traffic
    wanted = [bool(plain(p, word)) for p in packets]
    assert Filter(word)(chunk).tolist() == wanted
    assert any(wanted)
    assert Filter(f"not {word}")(chunk).tolist() == [not w for w in wanted]


def test_joins_as_tcpdump(traffic):
    chunk, _ = traffic
    def mask(text):
        return Filter(text)(chunk)
    tcp, udp, port = mask("tcp"), mask("udp"), mask("port 80")
    assert (mask("tcp or udp and port 80") == ((tcp | udp) & port)).all()
    assert (mask("tcp or (udp and port 80)") == (tcp | (udp & port))).all()
    assert (mask("not tcp and not port 80") == (~tcp & ~port)).all()
    assert (mask("!(tcp||udp)&&!port 80") == (~(tcp | udp) & ~port)).all()


def test_arp():
    frames = [bytes(Ether(**MACS) / ARP(psrc="10.0.0.1", pdst="10.0.0.2")),
              bytes(Ether(**MACS) / IP() / UDP())]
    chunk = Chunk.from_frames(frames, [0, 0])
    for text in ("arp", "host 10.0.0.1", "dst net 10.0.0.2/32", "not ip"):
        assert Filter(text)(chunk).tolist() == [True, False]
    assert Filter("dst host 10.0.0.1")(chunk).tolist() == [False, False]


def test_every_prefix_and_unknown_links(traffic):
    chunk, _ = traffic
    filters = [Filter(word) for word in PRIMITIVES]
    for link in (0, 1, 101, 113, 276, 9999):
        frames = [chunk.frame(i)[:cut] for i in range(0, 60, 3)
                  for cut in range(len(chunk.frame(i)) + 1)]
        part = Chunk.from_frames(frames, range(len(frames)), link=link)
        for test in filters:
            found = test(part)
            assert found.dtype == bool
            assert len(found) == len(part)
            assert link != 9999 or not found.any()
    assert Filter("ip")(Chunk.from_frames([], [])).tolist() == []


def test_filtered_reader(capture):
    frames = [bytes(Ether(**MACS) / IP() / UDP(dport=53 + i % 2)) for i in range(10)]
    path = capture(pcap(frames)[:-1])
    with open_capture(path, filter="port 54", chunk_size=3) as reader:
        assert [row[0] for row in rows(reader)] == frames[1:9:2]
        assert (reader.packets, reader.format, reader.reader) == (4, "pcap", "native")
        assert reader.fault.packet == 9
    assert open_captures([path, path], filter="tcp").packets == 0
    assert rows(open_captures([path, path], filter="tcp")) == []


@pytest.mark.parametrize(("text", "words"), [
    ("", "position 1: the end: expected one of host"),
    ("hots 10.0.0.1", "position 1: 'hots': .*did you mean \"host\""),
    ("tcp and prot 80", "position 9: 'prot': .*did you mean \"port\""),
    ("tcp udp", "position 5: 'udp': expected 'and'"),
    ("10.0.0.1", "write 'host 10.0.0.1'"),
    ("host 10.0.0", "position 6: '10.0.0': expected an IPv4 or IPv6 address"),
    ("net 10.0.0.1/8", "host bits set"),
    ("port http", "position 6: 'http': expected a port number"),
    ("port 65536", "expected a port number"), ("port", "position 5: the end"),
    ("(tcp", r"expected 'and', 'or' or '\)'"), ("tcp)", "position 4"), ("tcp and", "the end"),
    ("src tcp", "position 5: 'tcp'"), ("tcp src host", "position 9: 'host': expected 'port'"),
])
def test_errors_say_where(text, words):
    with pytest.raises(CaptureError, match=words):
        Filter(text)
