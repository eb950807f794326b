"""Frame -> packet: ports, TCP flags, payload, ICMP and the packet that an ICMP error quotes."""

from __future__ import annotations

from fwcore.reference.frame import (
    EXTENSION_AH,
    EXTENSION_FRAGMENT,
    EXTENSION_UNITS,
    EXTENSIONS_MAX,
    Frame,
    Malformed,
    Orphan,
    extension_bytes,
)
from fwcore.reference.linux import ICMP_PAIRS, ICMP_REPLIES
from fwcore.reference.packet import Key, Packet

TCP, UDP, SCTP, ICMP, ICMPV6 = 6, 17, 132, 1, 58
HEADER_BYTES = {"tcp": 20, "udp": 8, "sctp": 12, "icmp": 8}
FIRST_FRAGMENT_BYTES = {"tcp": 4, "udp": 4, "sctp": 4, "icmp": 8}
TCP_FLAGS_BYTES = 14
"""Bytes of a TCP header up to and including its flags."""

ICMP_ERRORS = {4: (3, 4, 5, 11, 12), 6: (1, 2, 3, 4)}
ICMP_ECHOS = {4: (8, 0), 6: (128, 129)}
ICMP_TYPE_PORT = 65535
"""Port b of ICMP that is neither echo nor error; such ports do not swap with the addresses."""


def transport_name(family: int, protocol: int) -> str:
    """What the ports of a packet mean; ICMP of the other family is just another protocol."""
    if protocol == (ICMP if family == 4 else ICMPV6):
        return "icmp"
    return {TCP: "tcp", UDP: "udp", SCTP: "sctp"}.get(protocol, "other")


def parse_transport(frame: Frame, packet: Packet, at: int, end: int) -> str:
    """Ports, flags and payload of [at, end); a first fragment needs no more than its ports."""
    name = packet.transport = transport_name(packet.family, packet.protocol)
    length = end - at
    if name == "other":
        packet.payload = length
        set_key(packet)
        return "session"
    first = packet.fragment == "first"
    frame.need(at, (FIRST_FRAGMENT_BYTES if first else HEADER_BYTES)[name], end)
    if name == "icmp":
        return parse_icmp(frame, packet, at, end)
    packet.source_port = frame.number(at, 2)
    packet.destination_port = frame.number(at + 2, 2)
    if name == "tcp":
        parse_tcp(frame, packet, at, end)
    else:
        packet.payload = max(0, length - HEADER_BYTES[name])
    if name == "udp" and packet.linux and len(frame.data) >= at + HEADER_BYTES["udp"] <= end:
        said = frame.number(at + 4, 2)
        packet.broken = said < HEADER_BYTES["udp"] or (said > length and not first)
    set_key(packet)
    return "session"


def parse_tcp(frame: Frame, packet: Packet, at: int, end: int) -> None:
    """Flags and payload of TCP; a first fragment too short for its flags has none."""
    length = end - at
    first = packet.fragment == "first"
    if first and length < TCP_FLAGS_BYTES:
        return
    frame.need(at, TCP_FLAGS_BYTES, end)
    header = (frame.data[at + 12] >> 4) * 4
    if header < 20 or (header > length and not first):
        raise Malformed
    packet.flags = frame.data[at + 13]
    packet.payload = max(0, length - header)


def parse_icmp(frame: Frame, packet: Packet, at: int, end: int) -> str:
    """Echo by identifier, errors by the packet they quote, the rest by type."""
    kind = packet.icmp_type = frame.data[at]
    packet.payload = end - at - 8
    if kind in ICMP_ERRORS[packet.family]:
        try:
            packet.key = quoted_key(frame, packet, at + 8, end)
        except Orphan:
            packet.key = None
        return "icmp_error"
    set_icmp_ports(packet, kind, frame.number(at + 4, 2))
    set_key(packet)
    return "session"


def set_icmp_ports(packet: Packet, kind: int, identifier: int) -> None:
    """Both ports of an echo are its identifier; other types stand in the first port."""
    if packet.linux:
        packet.icmp_type = kind
        pair = ICMP_REPLIES[packet.family].get(kind, kind)
        packet.source_port = identifier if pair in ICMP_PAIRS[packet.family] else 0
        packet.destination_port = pair
    elif kind in ICMP_ECHOS[packet.family]:
        packet.source_port = packet.destination_port = identifier
    else:
        packet.source_port, packet.destination_port = kind, ICMP_TYPE_PORT


def set_key(packet: Packet) -> None:
    """Make the canonical key: the smaller (address, port) is endpoint a."""
    source = (packet.source, packet.source_port)
    destination = (packet.destination, packet.destination_port)
    typed = packet.transport == "icmp" and packet.destination_port != packet.source_port
    if packet.linux and packet.transport == "icmp":
        set_pair_key(packet)
        return
    if typed:
        packet.source_first = packet.source <= packet.destination
        a, b = sorted((packet.source, packet.destination))
        ports = (packet.source_port, packet.destination_port)
        packet.key = Key(packet.family, packet.protocol, packet.zone, a, ports[0], b, ports[1])
        return
    packet.source_first = source <= destination
    first, second = (source, destination) if packet.source_first else (destination, source)
    packet.key = Key(packet.family, packet.protocol, packet.zone, *first, *second)


REQUEST_FROM_B = 0x8000
"""In the key's zone, whose VLAN id has 12 bits: the requester is endpoint b."""


def set_pair_key(packet: Packet) -> None:
    """ICMP as Linux tracks it: identifier and type of the request, and who asks."""
    a, b = sorted((packet.source, packet.destination))
    answers = packet.icmp_type in ICMP_REPLIES[packet.family]
    requester = packet.destination if answers else packet.source
    zone = packet.zone | (REQUEST_FROM_B if requester != a else 0)
    packet.source_first = packet.source == a
    if a == b:
        packet.source_first = not answers
    packet.key = Key(packet.family, packet.protocol, zone, a, packet.source_port, b,
                     packet.destination_port)


def quoted_key(frame: Frame, outer: Packet, at: int, end: int) -> Key | None:
    """Key of the packet that an ICMP error quotes in [at, end); lengths are not looked at."""

    def need(position: int, count: int) -> None:
        if position + count > end:
            raise Orphan
        frame.need(position, count, end)

    quoted = Packet(family=outer.family, zone=outer.zone, linux=outer.linux)
    need(at, 20 if outer.family == 4 else 40)
    if frame.data[at] >> 4 != outer.family:
        raise Orphan
    if outer.family == 4:
        header = (frame.data[at] & 0x0F) * 4
        if header < 20 or frame.number(at + 6, 2) & 0x1FFF:
            raise Orphan
        quoted.protocol = frame.data[at + 9]
        quoted.source = frame.address(at + 12, 4)
        quoted.destination = frame.address(at + 16, 4)
        at += header
    else:
        quoted.protocol = frame.data[at + 6]
        quoted.source = frame.address(at + 8, 6)
        quoted.destination = frame.address(at + 24, 6)
        at += 40
        seen = 0
        while quoted.protocol in (*EXTENSION_UNITS, EXTENSION_AH, EXTENSION_FRAGMENT):
            if seen == EXTENSIONS_MAX:
                raise Orphan
            seen += 1
            need(at, 8)
            size = extension_bytes(quoted.protocol, frame.data[at + 1])
            if quoted.protocol == EXTENSION_FRAGMENT and frame.number(at + 2, 2) & 0xFFF8:
                raise Orphan
            quoted.protocol = frame.data[at]
            at += size
    outer.quoted_source = quoted.source
    ports = outer.linux and quoted.protocol in (TCP, UDP, SCTP)
    need(at, 4 if ports else 8)
    key = quoted_transport(frame, quoted, at)
    outer.source_first = quoted.source_first
    return key


def quoted_transport(frame: Frame, quoted: Packet, at: int) -> Key | None:
    """Ports of a quoted packet; an error that quotes an error belongs to no session."""
    quoted.transport = transport_name(quoted.family, quoted.protocol)
    if quoted.transport == "icmp":
        kind = frame.data[at]
        if kind in ICMP_ERRORS[quoted.family]:
            raise Orphan
        set_icmp_ports(quoted, kind, frame.number(at + 4, 2))
    elif quoted.transport != "other":
        quoted.source_port = frame.number(at, 2)
        quoted.destination_port = frame.number(at + 2, 2)
    set_key(quoted)
    return quoted.key
