"""Frame -> packet: from the link layer to the IP header; ports and below are in transport.py."""

from __future__ import annotations

from fwcore.reference.frame import (
    EXTENSION_AH,
    EXTENSION_FRAGMENT,
    EXTENSION_UNITS,
    EXTENSIONS_MAX,
    Frame,
    Malformed,
    Truncated,
    extension_bytes,
)
from fwcore.reference.packet import Packet
from fwcore.reference.transport import parse_transport

LINK_ETHERNET, LINK_SLL, LINK_SLL2 = 1, 113, 276
LINKS_RAW = (101, 12, 14)
LINK_IPV4, LINK_IPV6 = 228, 229
LINKS_NULL = (0, 108)
AF_IPV4 = (2,)
AF_IPV6 = (24, 28, 30, 10)
ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_PPPOE = 0x0800, 0x86DD, 0x8864
ETHERTYPES_VLAN = (0x8100, 0x88A8, 0x9100)
ETHERTYPES_MPLS = (0x8847, 0x8848)
PPP_IPV4, PPP_IPV6 = 0x0021, 0x0057
SHIMS_MAX = 16
"""VLAN tags and MPLS labels on the way to IP [D]."""
JUMBO_OPTION = 0xC2


def parse(
    data: bytes, wire: int, link: int, *, vlan_zone: bool = False, shift: int = 0,
    linux: bool = False, short_cut: bool = False,
) -> Packet:
    """Give the packet of one frame: exactly one kind, for any bytes; never raises."""
    packet = Packet(linux=linux)
    frame = Frame(data, wire, shift, short_cut)
    try:
        packet.kind = parse_link(frame, packet, link, vlan_zone)
    except Malformed:
        packet.kind = "malformed"
    except Truncated:
        packet.kind = "truncated"
    return packet


def parse_link(frame: Frame, packet: Packet, link: int, vlan_zone: bool) -> str:
    """Find the IP header behind one of the known link types."""
    if link == LINK_ETHERNET:
        frame.need(0, 14, frame.wire)
        return parse_ethertype(frame, packet, 14, frame.number(12, 2), vlan_zone)
    if link == LINK_SLL:
        frame.need(0, 16, frame.wire)
        return parse_ethertype(frame, packet, 16, frame.number(14, 2), vlan_zone)
    if link == LINK_SLL2:
        frame.need(0, 20, frame.wire)
        return parse_ethertype(frame, packet, 20, frame.number(0, 2), vlan_zone)
    if link in LINKS_RAW:
        frame.need(0, 1, frame.wire)
        version = frame.data[0] >> 4
        if version not in (4, 6):
            raise Malformed
        return parse_ipv4(frame, packet, 0) if version == 4 else parse_ipv6(frame, packet, 0)
    if link == LINK_IPV4:
        return parse_ipv4(frame, packet, 0)
    if link == LINK_IPV6:
        return parse_ipv6(frame, packet, 0)
    if link in LINKS_NULL:
        frame.need(0, 4, frame.wire)
        either = {int.from_bytes(frame.data[:4], order) for order in ("little", "big")}
        if either & set(AF_IPV4):
            return parse_ipv4(frame, packet, 4)
        if either & set(AF_IPV6):
            return parse_ipv6(frame, packet, 4)
        return "non_ip"
    return "unsupported_link"


def parse_ethertype(
    frame: Frame, packet: Packet, at: int, ethertype: int, vlan_zone: bool
) -> str:
    """Walk VLAN tags, MPLS labels and PPPoE to the IP header; zone = the outermost VLAN id."""
    shims = 0
    while ethertype in ETHERTYPES_VLAN:
        if shims == SHIMS_MAX:
            raise Malformed
        frame.need(at, 4, frame.wire)
        if shims == 0 and vlan_zone:
            packet.zone = frame.number(at, 2) & 0x0FFF
        ethertype = frame.number(at + 2, 2)
        at += 4
        shims += 1
    if ethertype == ETHERTYPE_IPV4:
        return parse_ipv4(frame, packet, at)
    if ethertype == ETHERTYPE_IPV6:
        return parse_ipv6(frame, packet, at)
    if ethertype in ETHERTYPES_MPLS:
        return parse_mpls(frame, packet, at, shims)
    if ethertype == ETHERTYPE_PPPOE:
        return parse_pppoe(frame, packet, at)
    return "non_ip"


def parse_mpls(frame: Frame, packet: Packet, at: int, shims: int) -> str:
    """Walk labels to the bottom of the stack; the first nibble then tells the version."""
    bottom = False
    while not bottom:
        if shims == SHIMS_MAX:
            raise Malformed
        frame.need(at, 4, frame.wire)
        bottom = bool(frame.data[at + 2] & 1)
        at += 4
        shims += 1
    frame.need(at, 1, frame.wire)
    version = frame.data[at] >> 4
    if version == 4:
        return parse_ipv4(frame, packet, at)
    return parse_ipv6(frame, packet, at) if version == 6 else "non_ip"


def parse_pppoe(frame: Frame, packet: Packet, at: int) -> str:
    """PPPoE session: 6 bytes and the PPP protocol; any code but 0 is not data."""
    frame.need(at, 8, frame.wire)
    if frame.data[at + 1] != 0:
        return "non_ip"
    protocol = frame.number(at + 6, 2)
    if protocol == PPP_IPV4:
        return parse_ipv4(frame, packet, at + 8)
    return parse_ipv6(frame, packet, at + 8) if protocol == PPP_IPV6 else "non_ip"


def parse_ipv4(frame: Frame, packet: Packet, at: int) -> str:
    """IPv4 header with options; total length 0 is segmentation offload."""
    frame.need(at, 20, frame.wire)
    if frame.data[at] >> 4 != 4:
        raise Malformed
    header = (frame.data[at] & 0x0F) * 4
    if header < 20:
        raise Malformed
    total = frame.number(at + 2, 2)
    if total == 0:
        packet.offloaded = True
        total = frame.wire - at
    if total < header or not frame.reaches(at, total):
        raise Malformed
    frame.need(at, header, frame.wire)
    packet.family = 4
    packet.ip_bytes = total
    packet.end = at + total
    packet.traffic_class = frame.data[at + 1]
    packet.source = frame.address(at + 12, 4)
    packet.destination = frame.address(at + 16, 4)
    packet.protocol = packet.fragment_protocol = frame.data[at + 9]
    packet.fragment_id = frame.number(at + 4, 2)
    place = frame.number(at + 6, 2)
    if place & 0x1FFF:
        packet.fragment = "later"
        packet.payload = total - header
        return "later"
    if place & 0x2000:
        packet.fragment = "first"
    return parse_transport(frame, packet, at + header, at + total)


def parse_ipv6(frame: Frame, packet: Packet, at: int) -> str:
    """IPv6 header and up to 8 extension headers; payload length 0 is jumbo or offload."""
    frame.need(at, 40, frame.wire)
    if frame.data[at] >> 4 != 6:
        raise Malformed
    length = frame.number(at + 4, 2)
    following = frame.data[at + 6]
    remaining = frame.wire - at - 40
    if length == 0:
        length = jumbo_length(frame, at + 40) if following == 0 else 0
        if length == 0:
            packet.offloaded = True
            length = remaining
    if not frame.reaches(at + 40, length):
        raise Malformed
    packet.family = 6
    packet.ip_bytes = 40 + length
    packet.end = at + 40 + length
    packet.traffic_class = frame.number(at, 2) >> 4 & 0xFF
    packet.source = frame.address(at + 8, 6)
    packet.destination = frame.address(at + 24, 6)
    at += 40
    end = at + length
    seen = 0
    while following in EXTENSION_UNITS or following in (EXTENSION_AH, EXTENSION_FRAGMENT):
        if seen == EXTENSIONS_MAX:
            raise Malformed
        seen += 1
        frame.need(at, 8, end)
        size = extension_bytes(following, frame.data[at + 1])
        if at + size > end:
            raise Malformed
        if following == EXTENSION_FRAGMENT and parse_ipv6_fragment(frame, packet, at) == "later":
            packet.payload = end - at - size
            return "later"
        following = frame.data[at]
        at += size
    packet.protocol = following
    return parse_transport(frame, packet, at, end)


def parse_ipv6_fragment(frame: Frame, packet: Packet, at: int) -> str:
    """A fragment header; the last one seen counts; offset 0 without M is no fragment."""
    place = frame.number(at + 2, 2)
    packet.fragment_protocol = packet.protocol = frame.data[at]
    packet.fragment_id = frame.number(at + 4, 4)
    packet.fragment = "later" if place & 0xFFF8 else "first" if place & 1 else ""
    return packet.fragment


def jumbo_length(frame: Frame, at: int) -> int:
    """The jumbo payload length in a hop-by-hop header, 0 if there is none."""
    frame.need(at, 8, frame.wire)
    size = extension_bytes(0, frame.data[at + 1])
    frame.need(at, size, frame.wire)
    end = at + size
    at += 2
    while at < end:
        if frame.data[at] == 0:  # Pad1 has no length byte
            at += 1
            continue
        if at + 2 > end:
            break
        length = frame.data[at + 1]
        if frame.data[at] == JUMBO_OPTION and length == 4 and at + 6 <= end:
            return frame.number(at + 2, 4)
        at += 2 + length
    return 0
