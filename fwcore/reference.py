"""The twin: the whole firewall once more, in plain Python, slow and obvious.

It shares nothing with the rest of the package and is the oracle of the tests: the same
capture, settings and seed must give the same verdict for every packet, the same events and
the same counters here and in the fast path. Read it first; it follows a packet's life:

    words and numbers -> settings -> parse -> key and hash -> policy -> TCP table
      -> conserve machines -> gate -> Firewall (time, packet, table, memory, control, counters)

                  +---------------- the next packet sees the new gate -----------------+
                  v                                                                    |
    frame -> moments due -> parse -> find -> admit -> insert -> objects, IPS -> verdict -> settle

Laws. One reason per packet. Capture time in integer nanoseconds is the only clock. Every page
has one owner: base + sessions + shm + cache + free = total. Every session ends for one cause.

Marks beside numbers: [C] Clavister article, [K] FortiGate KB 198580, [H] FortiOS 5 help,
[T] FortiOS 7 tuning guide, [R] public record, [D] decision of this project.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

# --- Words and numbers ---------------------------------------------------------------------

PAGE = 4096
"""Bytes of one page of accounted memory."""
SECOND = 10**9
"""Nanoseconds of a second."""
MIB = 2**20
GIB = 2**30
MASK64 = 2**64 - 1

FORWARD, INSPECT, BYPASS, DROP = range(4)
VERDICTS = ("forward", "inspect", "bypass", "drop")

REASONS = (
    "new", "hit", "related", "fragment", "tcp_invalid", "non_ip", "unsupported_link",
    "truncated", "fragment_orphan", "bypass_conserve", "bypass_kernel", "bypass_one_shot",
    "bypass_proxy_table", "bypass_ips", "bypass_oversize", "bypass_no_memory", "malformed",
    "icmp_orphan", "no_session", "denied", "conserve_block", "extreme", "ips_block",
    "half_open_limit", "host_limit", "proxy_table_full", "table_full", "no_memory", "killed",
)
REASON = {name: number for number, name in enumerate(REASONS)}

CAUSES = ("conserve", "kernel", "one_shot", "proxy_table", "ips", "oversize", "no_memory")
"""Why a packet passed without an inspection that its policy asks for."""

ENDS = ("expired", "closed", "clash", "evicted", "tension", "killed", "cleared")
END = {name: number for number, name in enumerate(ENDS)}
VICTIM_ENDS = ("evicted", "tension", "killed")

DECODE = (
    "ipv4", "ipv6", "tcp", "udp", "icmp", "sctp", "other_ip", "non_ip", "fragments",
    "malformed", "truncated", "offloaded", "unsupported_link",
)

FLOW, PROXY = 1, 2
"""Bits of an inspection class: 0 none, 1 flow, 2 proxy, 3 flow and proxy."""
INSPECTIONS = ("none", "flow", "proxy", "flow+proxy")

FRAGMENT_LIFE_NS = 30 * SECOND
FLAP_NS = 60 * SECOND
"""An entry into extreme sooner than this after the last exit is a flap [D]."""
EARLY_DROP_BUCKETS = 8
"""Linux looks at this many buckets before it refuses [R]."""


def pages_of(byte_count: int) -> int:
    """Pages that hold so many bytes: rounded up."""
    return -(-byte_count // PAGE)


def nanoseconds(seconds: float) -> int:
    """Seconds of a setting as integer nanoseconds."""
    return round(seconds * SECOND)


# --- Settings ------------------------------------------------------------------------------


@dataclass
class Config:
    """Every setting, already resolved to numbers; the defaults are the personality `plain`.

    `buckets`, `model_bytes` and `shm_limit_bytes` of 0 take their default from other fields.
    """

    ram_bytes: int = GIB
    base_bytes: int = 0
    session_bytes: int = 144
    max_connections: int = 262_144
    buckets: int = 0
    when_full: str = "bucket"  # refuse | bucket | tension | replace_oldest | early_drop
    midstream: str = "allow"  # allow | drop | grace
    midstream_grace_s: float = 30
    accounting: str = "preallocated"  # slab | preallocated
    machine: str = "none"  # unified | fortios-5 | kernel+proxy | none
    memory_use_threshold_green: int = 82  # percent of RAM [T]
    memory_use_threshold_red: int = 88  # [T]
    memory_use_threshold_extreme: int = 95  # [T]
    av_failopen: str = "pass"  # pass | off | one-shot | idledrop [H]
    av_failopen_session: bool = False
    ips_fail_open: bool = False
    ips_trigger: tuple[str, ...] = ("conserve", "buffer")
    ips_socket_bytes: int = 64 * MIB
    ips_throughput_bps: int = 0  # 0: unlimited
    extreme_scope: str = "all"  # all | inspected
    idledrop_variant: str = "host"  # host | idle
    idledrop_idle_s: float = 60
    kernel_mode: str = "bypass"  # bypass | av-failopen [K]
    lowmem: bool = False
    model_bytes: int = 0  # 0: RAM rounded up to 128 MiB
    sip_alg: bool = True
    shm_limit_bytes: int = 0  # 0: a quarter of RAM [D]
    proxy_max_sessions: int = 50_000
    proxy_session_bytes: int = 16 * 1024
    oversize_bytes: int = 10 * MIB
    cache_limit_bytes: int = 0
    half_open_limit: int = 0  # 0: off
    sessions_per_host: int = 0  # 0: off
    zone: str = "none"  # none | vlan
    non_ip: str = "forward"  # forward | drop
    orphan_fragments: str = "forward"  # forward | drop
    sweep_s: float = 1
    tcp_s: float = 3600  # timeouts: FortiOS [R]
    tcp_halfopen_s: float = 10
    tcp_halfclose_s: float = 120
    tcp_timewait_s: float = 1
    tcp_rst_s: float = 5
    udp_s: float = 180
    icmp_s: float = 60
    other_s: float = 60
    fragments_max: int = 1024
    victims_max: int = 10_000
    transitions_max: int = 10_000
    events_max: int = 10_000
    seed: int = 0
    policies: list[dict[str, Any]] = field(default_factory=list)
    pressure: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Fill the three settings whose default depends on others."""
        self.buckets = self.buckets or -(-self.max_connections // 4)
        self.model_bytes = self.model_bytes or -(-self.ram_bytes // (128 * MIB)) * 128 * MIB
        self.shm_limit_bytes = self.shm_limit_bytes or self.ram_bytes // 4


# --- Parse: frame -> packet ----------------------------------------------------------------

TCP, UDP, SCTP, ICMP, ICMPV6 = 6, 17, 132, 1, 58
HEADER_BYTES = {"tcp": 20, "udp": 8, "sctp": 12, "icmp": 8}
FIRST_FRAGMENT_BYTES = {"tcp": 4, "udp": 4, "sctp": 4, "icmp": 8}
TCP_FLAGS_BYTES = 14
"""Bytes of a TCP header up to and including its flags."""

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

EXTENSION_UNITS = (0, 43, 60, 135, 139, 140)  # length (n + 1) * 8
EXTENSION_AH, EXTENSION_FRAGMENT = 51, 44
EXTENSIONS_MAX = 8
JUMBO_OPTION = 0xC2

ICMP_ERRORS = {4: (3, 4, 5, 11, 12), 6: (1, 2, 3, 4)}
ICMP_ECHOS = {4: (8, 0), 6: (128, 129)}
ICMP_TYPE_PORT = 65535
"""Port b of ICMP that is neither echo nor error; such ports do not swap with the addresses."""

FIN_FLAG, SYN_FLAG, RST_FLAG, ACK_FLAG = 0x01, 0x02, 0x04, 0x10
FLAG_CLASSES = ("SYN", "SYNACK", "FIN", "ACK", "RST", "NONE")


class Malformed(Exception):
    """A header contradicts itself or does not fit what was on the wire."""


class Truncated(Exception):
    """A header was on the wire but not captured."""


class Orphan(Exception):
    """The packet an ICMP error quotes cannot give a key."""


class Key(NamedTuple):
    """Canonical 5-tuple and zone: both directions of a session have the same one."""

    family: int  # 4 or 6
    protocol: int
    zone: int
    address_a: int  # the smaller endpoint
    port_a: int
    address_b: int
    port_b: int


@dataclass
class Packet:
    """A parsed frame. `kind` says which of the other fields mean something."""

    kind: str = ""  # session | icmp_error | later | non_ip | unsupported_link
    #                 | malformed | truncated
    family: int = 0  # 4 or 6 once the IP header was valid
    zone: int = 0
    source: int = 0
    destination: int = 0
    protocol: int = 0
    transport: str = ""  # tcp | udp | icmp | sctp | other
    source_port: int = 0
    destination_port: int = 0
    flags: int = 0
    payload: int = 0
    offloaded: bool = False
    fragment: str = ""  # "" | first | later
    fragment_protocol: int = 0
    fragment_id: int = 0
    key: Key | None = None
    source_first: bool = True  # the source is the key's endpoint a

    @property
    def flag_class(self) -> str:
        """The one class of TCP flags that the state table knows."""
        if self.flags & RST_FLAG:
            return "RST"
        if self.flags & SYN_FLAG:
            return "SYNACK" if self.flags & ACK_FLAG else "SYN"
        if self.flags & FIN_FLAG:
            return "FIN"
        return "ACK" if self.flags & ACK_FLAG else "NONE"

    def fragment_key(self) -> tuple[int, ...]:
        """What a later fragment and its first have in common; not canonical."""
        return (self.family, self.source, self.destination, self.fragment_id,
                self.fragment_protocol, self.zone)


class Frame:
    """Captured bytes with the length on the wire; every header is asked for before it is read."""

    def __init__(self, data: bytes, wire: int, shift: int = 0) -> None:
        self.wire = wire
        self.data = bytes(data[:wire])
        self.shift = shift

    def need(self, at: int, count: int, end: int) -> None:
        """Bytes [at, at + count) must lie before `end` (else malformed) and be captured."""
        if at + count > end:
            raise Malformed
        if at + count > len(self.data):
            raise Truncated

    def number(self, at: int, count: int) -> int:
        """Big-endian number of `count` bytes; the caller has asked for them."""
        return int.from_bytes(self.data[at:at + count], "big")

    def address(self, at: int, family: int) -> int:
        """An IP address as a number, moved by the shift of a looped replay."""
        if family == 4:
            address = self.number(at, 4)
            return (address & 0xFF000000) | ((address + self.shift) & 0x00FFFFFF)
        address = self.number(at, 16)
        return (address >> 32 << 32) | ((address + self.shift) & 0xFFFFFFFF)


def parse(data: bytes, wire: int, link: int, *, vlan_zone: bool = False, shift: int = 0) -> Packet:
    """Give the packet of one frame: exactly one kind, for any bytes; never raises."""
    packet = Packet()
    frame = Frame(data, wire, shift)
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
    if total < header or total > frame.wire - at:
        raise Malformed
    frame.need(at, header, frame.wire)
    packet.family = 4
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
    if length > remaining:
        raise Malformed
    packet.family = 6
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


def extension_bytes(kind: int, length_field: int) -> int:
    """Length of an IPv6 extension header from its length byte."""
    if kind == EXTENSION_FRAGMENT:
        return 8
    if kind == EXTENSION_AH:
        return (length_field + 2) * 4
    return (length_field + 1) * 8


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
    kind = frame.data[at]
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
    if kind in ICMP_ECHOS[packet.family]:
        packet.source_port = packet.destination_port = identifier
    else:
        packet.source_port, packet.destination_port = kind, ICMP_TYPE_PORT


def set_key(packet: Packet) -> None:
    """Make the canonical key: the smaller (address, port) is endpoint a."""
    source = (packet.source, packet.source_port)
    destination = (packet.destination, packet.destination_port)
    typed = packet.transport == "icmp" and packet.destination_port != packet.source_port
    if typed:
        packet.source_first = packet.source <= packet.destination
        a, b = sorted((packet.source, packet.destination))
        ports = (packet.source_port, packet.destination_port)
        packet.key = Key(packet.family, packet.protocol, packet.zone, a, ports[0], b, ports[1])
        return
    packet.source_first = source <= destination
    first, second = (source, destination) if packet.source_first else (destination, source)
    packet.key = Key(packet.family, packet.protocol, packet.zone, *first, *second)


def quoted_key(frame: Frame, outer: Packet, at: int, end: int) -> Key | None:
    """Key of the packet that an ICMP error quotes in [at, end); lengths are not looked at."""

    def need(position: int, count: int) -> None:
        if position + count > end:
            raise Orphan
        frame.need(position, count, end)

    quoted = Packet(family=outer.family, zone=outer.zone)
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
    need(at, 8)
    return quoted_transport(frame, quoted, at)


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


# --- Key -> hash -> bucket -----------------------------------------------------------------


def seeds(seed: int) -> tuple[int, ...]:
    """Six 64-bit keys k0..k5 from the setting `seed`, by splitmix64."""
    state = seed & MASK64
    keys = []
    for _ in range(6):
        state = (state + 0x9E3779B97F4A7C15) & MASK64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
        keys.append(z ^ (z >> 31))
    return tuple(keys)


def mum(a: int, b: int) -> int:
    """Multiply two 64-bit numbers and fold the 128-bit product."""
    product = a * b
    return (product & MASK64) ^ (product >> 64)


def key_hash(key: Key, k: tuple[int, ...]) -> int:
    """The 64-bit keyed hash of a canonical key."""
    a_high, a_low = key.address_a >> 64, key.address_a & MASK64
    b_high, b_low = key.address_b >> 64, key.address_b & MASK64
    meta = (key.port_a | key.port_b << 16 | key.zone << 32 | key.protocol << 48
            | key.family << 56)
    value = mum(a_low ^ k[0], b_low ^ k[1])
    if key.family == 6:
        value ^= mum(a_high ^ k[2], b_high ^ k[3])
    return mum(value ^ k[4], meta ^ k[5])


def bucket_of(hash_value: int, buckets: int) -> int:
    """The upper half of the hash, scaled to the number of buckets."""
    return ((hash_value >> 32) * buckets) >> 32


# --- Policies ------------------------------------------------------------------------------

PROTOCOLS = {
    "icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58,
    "ospf": 89, "sctp": 132,
}
FLOW_FEATURES = ("ips", "application-control", "dos", "flow-antivirus", "flow-dlp",
                 "flow-webfilter")  # [H]; every other feature inspects content in a proxy


class Policy(NamedTuple):
    """One rule: what it matches (None: anything) and what it does."""

    id: int
    zone: int | None
    sources: list[Any] | None  # ipaddress networks
    destinations: list[Any] | None
    protocol: int | None
    ports: list[tuple[int, int]] | None  # of the responder, both ends included
    action: str  # accept | deny | local
    inspection: int  # FLOW and PROXY bits


ACCEPT_ALL = Policy(0, None, None, None, None, None, "accept", 0)


def policy_parse(row: dict[str, Any]) -> Policy:
    """One `[[policy]]` of the settings file."""
    protocol = row.get("protocol", "any")
    zone = row.get("zone", "any")
    ports = row.get("ports", "any")
    if isinstance(ports, int):
        ports = [ports]
    return Policy(
        id=int(row.get("id", 0)),
        zone=None if zone in ("any", None) else int(zone),
        sources=policy_networks(row.get("source", "any")),
        destinations=policy_networks(row.get("destination", "any")),
        protocol=None if protocol in ("any", None) else policy_protocol(protocol),
        ports=[port_range(p) for p in ports] if ports not in ("any", None, []) else None,
        action=row.get("action", "accept"),
        inspection=inspection_class(row.get("inspection", "none")),
    )


def policy_networks(value: str | Iterable[str] | None) -> list[Any] | None:
    """CIDR strings as networks; None is any address of either family."""
    if value in ("any", None) or value == ["any"]:
        return None
    names = [value] if isinstance(value, str) else list(value or ())
    return [ipaddress.ip_network(name, strict=False) for name in names]


def policy_protocol(value: str | int) -> int:
    """A protocol by name or number."""
    text = str(value).lower()
    return PROTOCOLS[text] if text in PROTOCOLS else int(text)


def port_range(value: int | str) -> tuple[int, int]:
    """`80` or `"8000-8099"`."""
    low, _, high = str(value).partition("-")
    return int(low), int(high or low)


def inspection_class(value: str | Iterable[str]) -> int:
    """Class bits of a word or of a list of features [H]."""
    if isinstance(value, str) and value in INSPECTIONS:
        return INSPECTIONS.index(value)
    features = [value] if isinstance(value, str) else value
    bits = 0
    for feature in features:
        if feature in INSPECTIONS:
            bits |= INSPECTIONS.index(feature)
        else:
            bits |= FLOW if feature in FLOW_FEATURES else PROXY
    return bits


def networks_contain(networks: list[Any] | None, family: int, address: int) -> bool:
    """Whether an address lies in one of the networks (None: always)."""
    if networks is None:
        return True
    return any(
        net.version == family
        and address & int(net.netmask) == int(net.network_address)
        for net in networks
    )


def policy_match(policy: Policy, packet: Packet, initiator: int, responder: int, port: int) -> bool:
    """Whether a policy speaks of a new session; `port` is the responder's."""
    if policy.zone is not None and policy.zone != packet.zone:
        return False
    if policy.protocol is not None and policy.protocol != packet.protocol:
        return False
    if policy.ports is not None:
        if packet.transport not in ("tcp", "udp", "sctp"):
            return False
        if not any(low <= port <= high for low, high in policy.ports):
            return False
    return (networks_contain(policy.sources, packet.family, initiator)
            and networks_contain(policy.destinations, packet.family, responder))


# --- TCP -----------------------------------------------------------------------------------

HALF_OPEN = ("SYN_SENT", "SYN_RECV")
CLOSING = ("TIME_WAIT", "CLOSED")

TCP_START = {
    "SYN": "SYN_SENT", "SYNACK": "SYN_RECV", "FIN": "FIN_WAIT", "ACK": "ESTABLISHED",
    "RST": "CLOSED", "NONE": "ESTABLISHED",
}

# (state, direction) -> the next state in the columns of FLAG_CLASSES; "-" is illegal.
#   S SYN_SENT  R SYN_RECV  E ESTABLISHED  F FIN_WAIT (initiator's FIN)
#   G FIN_WAIT_REPLY (responder's FIN)  T TIME_WAIT  C CLOSED
TCP_ROWS = {
    #                             SYN  SYNACK FIN  ACK  RST  NONE
    ("SYN_SENT", "forward"):       "S   -      -    -    C    -",
    ("SYN_SENT", "reply"):         "R   R      -    -    C    -",
    ("SYN_RECV", "forward"):       "R   R      F    E    C    -",
    ("SYN_RECV", "reply"):         "R   R      G    R    C    -",
    ("ESTABLISHED", "forward"):    "-   -      F    E    C    -",
    ("ESTABLISHED", "reply"):      "-   E      G    E    C    -",
    ("FIN_WAIT", "forward"):       "-   -      F    F    C    -",
    ("FIN_WAIT", "reply"):         "-   -      T    F    C    -",
    ("FIN_WAIT_REPLY", "forward"): "-   -      T    G    C    -",
    ("FIN_WAIT_REPLY", "reply"):   "-   -      G    G    C    -",
    ("TIME_WAIT", "forward"):      "-   -      T    T    C    -",
    ("TIME_WAIT", "reply"):        "-   -      T    T    C    -",
    ("CLOSED", "forward"):         "-   -      C    C    C    -",
    ("CLOSED", "reply"):           "-   -      C    C    C    -",
}
TCP_LETTERS = {
    "-": None, "S": "SYN_SENT", "R": "SYN_RECV", "E": "ESTABLISHED", "F": "FIN_WAIT",
    "G": "FIN_WAIT_REPLY", "T": "TIME_WAIT", "C": "CLOSED",
}
TCP_TABLE = {
    (state, direction, flags): TCP_LETTERS[letter]
    for (state, direction), row in TCP_ROWS.items()
    for flags, letter in zip(FLAG_CLASSES, row.split(), strict=True)
}

TIMEOUT_SETTING = {
    "SYN_SENT": "tcp_halfopen_s", "SYN_RECV": "tcp_halfopen_s", "ESTABLISHED": "tcp_s",
    "FIN_WAIT": "tcp_halfclose_s", "FIN_WAIT_REPLY": "tcp_halfclose_s",
    "TIME_WAIT": "tcp_timewait_s", "CLOSED": "tcp_rst_s",
    "udp": "udp_s", "icmp": "icmp_s", "sctp": "other_s", "other": "other_s",
}


# --- A session -----------------------------------------------------------------------------


@dataclass
class Object:
    """A run of payload in one direction of a proxied session."""

    direction: str
    bytes: int = 0
    pages: int = 0
    bypass: str | None = None  # exposure cause once it is not scanned


@dataclass(eq=False)
class Session:
    """One entry of the connection table."""

    key: Key
    hash: int
    bucket: int
    created_ns: int
    last_seen_ns: int
    created_packet: int
    transport: str
    initiator_first: bool  # the initiator is the key's endpoint a
    policy: Policy
    inspection: int  # FLOW and PROXY bits that apply to it
    proxied: bool  # its proxy part is inspected
    bypass: str | None  # exposure cause when its proxy part is not
    state: str  # TCP state, "" otherwise
    packets: int = 0
    bytes: int = 0
    assured: bool = False  # TCP: was ESTABLISHED; UDP: packets in both directions
    directions: set[str] = field(default_factory=set)
    object: Object | None = None
    exposed: set[str] = field(default_factory=set)  # causes already counted for it

    @property
    def host(self) -> tuple[int, int]:
        """Address and family of the initiator: the order in which idledrop breaks ties."""
        address = self.key.address_a if self.initiator_first else self.key.address_b
        return address, self.key.family

    @property
    def half_open(self) -> bool:
        """TCP before ESTABLISHED, UDP with exactly one packet."""
        return self.state in HALF_OPEN or (self.transport == "udp" and self.packets == 1)

    @property
    def local(self) -> bool:
        """TCP to the firewall itself: tension and idledrop never take it [R]."""
        return self.transport == "tcp" and self.policy.action == "local"


# --- Conserve machines ---------------------------------------------------------------------


class Snapshot(NamedTuple):
    """What the machines look at, in pages and sessions."""

    total: int
    used: int
    cache: int
    free: int
    shm: int
    proxy_sessions: int


class Unified:
    """FortiOS 5.6 and later [T]: three levels of used memory."""

    name = "unified"

    def __init__(self, config: Config, total: int) -> None:
        self.green = total * config.memory_use_threshold_green // 100
        self.red = total * config.memory_use_threshold_red // 100
        self.extreme = total * config.memory_use_threshold_extreme // 100

    def step(self, mode: str, now: Snapshot) -> str:
        """One decision; extreme has no hysteresis of its own."""
        if mode == "off":
            return "on" if now.used >= self.red else "off"
        if now.used < self.green:
            return "off"
        return "extreme" if now.used + now.cache >= self.extreme else "on"


class FreeMemory:
    """FortiOS 4 [K]: on below `enter` free pages, off above `leave`."""

    def __init__(self, name: str, enter: int, leave: int, reach: int | None = None) -> None:
        self.name = name
        self.enter = enter
        self.leave = leave
        self.reach = reach  # pages the kernel can reach (lowmem); None: all

    def step(self, mode: str, now: Snapshot) -> str:
        """One decision on the pages that are free without the cache."""
        free = now.free if self.reach is None else max(0, self.reach - now.used - now.cache)
        if mode == "off":
            return "on" if free < self.enter else "off"
        return "off" if free > self.leave else "on"


def kernel_machine(config: Config, total: int) -> FreeMemory:
    """Levels by RAM [K]; below 512 MiB the KB lists none."""
    if config.ram_bytes < 512 * MIB:
        return FreeMemory("kernel", -1, -1)
    if config.lowmem:
        reach = total * 7 // 8
        return FreeMemory("kernel", reach * 20 // 100, reach * 30 // 100, reach)
    if config.ram_bytes >= GIB:
        return FreeMemory("kernel", 200 * MIB // PAGE, 300 * MIB // PAGE)
    return FreeMemory("kernel", total * 20 // 100, total * 30 // 100)


def proxy_machine(config: Config, total: int) -> FreeMemory:
    """Levels by the RAM of the model [K]; below 128 MiB the first row [D]."""
    if config.model_bytes >= GIB:
        return FreeMemory("proxy", total * 12 // 100, total * 18 // 100)
    if config.model_bytes >= 512 * MIB:
        return FreeMemory("proxy", total * 20 // 100, total * 30 // 100)
    if config.model_bytes >= 256 * MIB:
        return FreeMemory("proxy", 40 * MIB // PAGE, 60 * MIB // PAGE)
    return FreeMemory("proxy", 10 * MIB // PAGE, 20 * MIB // PAGE)


class FortiOS5:
    """FortiOS 5 [H]: one mode; RAM, shared memory and the proxy table lead into it."""

    name = "fortios-5"

    def __init__(self, config: Config, total: int, proxy_runs: bool) -> None:
        self.enter = total * 20 // 100
        self.leave = total * 30 // 100
        self.proxy_runs = proxy_runs
        self.shm_limit = pages_of(config.shm_limit_bytes)
        self.shm_enter = self.shm_limit * 20 // 100
        self.shm_leave = self.shm_limit * 30 // 100
        self.proxy_max = config.proxy_max_sessions
        self.proxy_leave = config.proxy_max_sessions * 90 // 100

    def step(self, mode: str, now: Snapshot) -> str:
        """One decision: any way leads in, all of them must be clear to leave."""
        shm_free = self.shm_limit - now.shm
        enters = now.free < self.enter
        leaves = now.free > self.leave
        if self.proxy_runs:
            enters |= shm_free < self.shm_enter or now.proxy_sessions >= self.proxy_max
            leaves &= shm_free > self.shm_leave and now.proxy_sessions <= self.proxy_leave
        if mode == "off":
            return "on" if enters else "off"
        return "off" if leaves and not enters else "on"


def make_machines(config: Config, total: int, proxy_policies: bool) -> list[Any]:
    """The machines of an appliance, in the order in which they decide."""
    if config.machine == "unified":
        return [Unified(config, total)]
    if config.machine == "fortios-5":
        return [FortiOS5(config, total, proxy_policies or config.sip_alg)]
    if config.machine == "kernel+proxy":
        return [kernel_machine(config, total), proxy_machine(config, total)]
    return []


# --- The gate ------------------------------------------------------------------------------


@dataclass
class Gate:
    """What the control plane tells the data plane: one row, looked up and never computed.

    `flow`, `proxy`: what happens to that part of a new session: None admits it, ("bypass",
    cause) or ("drop", reason). `whole` does not care about parts: None or ("drop", reason).
    """

    whole: dict[int, str] = field(default_factory=dict)  # inspection class -> drop reason
    flow: tuple[str, str] | None = None
    proxy: tuple[str, str] | None = None
    proxy_full: tuple[str, str] = ("drop", "proxy_table_full")
    ips_bypass: bool = False  # packets of flow sessions pass unscanned
    object_start: str = "grant"  # grant | kill | exposure cause of the bypass
    page_request: str = "grant"  # grant | kill
    object_refused: str = "bypass"  # bypass | kill


def gate_governor(modes: dict[str, str], config: Config, proxy_policies: bool) -> str:
    """Who decides about the proxy part: "off", "kernel" or "failopen" (av-failopen)."""
    if modes.get("kernel", "off") != "off" and config.kernel_mode == "bypass":
        return "kernel"
    if config.machine == "fortios-5" and not proxy_policies:
        return "off"
    return "failopen" if any(mode != "off" for mode in modes.values()) else "off"


def gate_row(
    modes: dict[str, str], latch: bool, ips_fail: bool, config: Config, proxy_policies: bool
) -> Gate:
    """The row of the table in semantics 9 for a state of things."""
    gate = Gate()
    action = config.av_failopen
    governor = gate_governor(modes, config, proxy_policies)
    if governor == "kernel":
        gate.proxy, gate.object_start = ("bypass", "kernel"), "kernel"
    elif governor == "failopen" and action == "off":
        gate.proxy = ("drop", "conserve_block")
        gate.object_start = gate.page_request = "kill"
    elif governor == "failopen" and action == "idledrop":
        gate.proxy = ("drop", "conserve_block")
    elif governor == "failopen":
        cause = "kernel" if modes.get("kernel", "off") != "off" else "conserve"
        gate.proxy, gate.object_start = ("bypass", cause), cause
    elif latch:  # "will force new sessions to bypass": what is proxied already is scanned [H]
        gate.proxy = ("bypass", "one_shot")
    if action in ("off", "idledrop"):
        gate.object_refused = "kill"
    elif config.av_failopen_session and config.machine != "fortios-5":
        gate.proxy_full = ("bypass", "proxy_table")
    if ips_fail and config.ips_fail_open:
        gate.ips_bypass = True
    elif ips_fail:
        gate.flow = ("drop", "ips_block")
    if "extreme" in modes.values():
        classes = (0, 1, 2, 3) if config.extreme_scope == "all" else (1, 2, 3)
        gate.whole = dict.fromkeys(classes, "extreme")
    return gate


# --- Memory: who owns the pages ------------------------------------------------------------

OWNERS = ("base", "sessions", "shm", "cache")


class Memory:
    """The RAM of the appliance in pages; `free` is a counter of its own, never derived."""

    def __init__(self, config: Config) -> None:
        self.total = pages_of(config.ram_bytes)
        self.cache_limit = pages_of(config.cache_limit_bytes)
        self.pages = dict.fromkeys(OWNERS, 0)
        self.pages["base"] = pages_of(config.base_bytes)
        if config.accounting == "preallocated":
            self.pages["sessions"] = pages_of(config.max_connections * config.session_bytes)
        self.free = self.total - sum(self.pages.values())
        if self.free < 0:
            raise ValueError(f"{-self.free} pages more at start than the {self.total} of RAM")
        self.peak = self.now()

    @property
    def used(self) -> int:
        """Pages in use; the cache counts as freeable, not as used."""
        return self.pages["base"] + self.pages["sessions"] + self.pages["shm"]

    def now(self) -> dict[str, int]:
        """Pages by owner, with free and used."""
        return {**self.pages, "free": self.free, "used": self.used}

    def sample(self) -> None:
        """Remember the highest values seen."""
        for name, value in self.now().items():
            self.peak[name] = max(self.peak[name], value)

    def attempt(self, need: int) -> bool:
        """Take `need` pages from free, reclaiming cache when short; all or nothing."""
        if self.free < need:
            moved = min(self.pages["cache"], need - self.free)
            self.pages["cache"] -= moved
            self.free += moved
        if self.free < need:
            return False
        self.free -= need
        return True

    def release_shm(self, count: int) -> None:
        """Buffers go to the cache up to its limit, the rest to free."""
        self.pages["shm"] -= count
        cached = min(count, max(0, self.cache_limit - self.pages["cache"]))
        self.pages["cache"] += cached
        self.free += count - cached


class Judgement(NamedTuple):
    """What happens to a packet and why; `cause` and `session` feed the exposure ledger."""

    verdict: int
    reason: str
    cause: str | None = None
    session: Session | None = None


class FragmentEntry(NamedTuple):
    """What later fragments follow: the session of the first or, without one, its judgement."""

    inserted_ns: int
    key: Key | None
    source_first: bool
    judgement: Judgement


@dataclass
class Leak:
    """Bytes per second that somebody loses; page k falls due at anchor + k pages' time."""

    owner: str
    start_ns: int  # relative to packet 1
    bytes_per_s: int
    anchor_ns: int = 0
    page: int = 1
    stalled: bool = False

    @property
    def due_ns(self) -> int:
        """The nanosecond at which the next page is due."""
        return self.anchor_ns + -(-self.page * PAGE * SECOND // self.bytes_per_s)


# --- The firewall --------------------------------------------------------------------------


class Firewall:
    """One appliance. `packet` judges one frame and gives its verdict and reason."""

    def __init__(self, config: Config) -> None:
        self.config = config = replace(config)
        self.shift = 0  # moves addresses in looped replays
        self.hash_keys = seeds(config.seed)
        self.memory = Memory(config)
        self.modes: dict[str, str] = {}
        self.latch = False  # one-shot: AV stays bypassed after the mode
        self.ips_fail = False
        self.load_settings()
        self.start_counters()
        # the connection table: in order of creation, as a whole and in each bucket
        self.sessions: dict[Key, Session] = {}
        self.chains: dict[int, dict[Key, Session]] = {}
        self.expiry_floor: int | None = None  # no session is due before it
        self.fragments: OrderedDict[tuple[int, ...], FragmentEntry] = OrderedDict()
        self.reborn_size = 1
        while self.reborn_size < min(2**20, config.max_connections):
            self.reborn_size *= 2
        self.reborn_filter: dict[int, int] = {}
        # time
        self.started = False
        self.t0 = 0
        self.now = 0
        self.number = 0  # the packet being judged
        self.sweep_ns = nanoseconds(config.sweep_s)
        # pressure script
        rows = config.pressure
        steps = [row for row in rows if row.get("add_bytes")]
        self.steps = deque(sorted(steps, key=lambda row: nanoseconds(row.get("at_s", 0))))
        self.leaks = [
            Leak(row.get("owner", "base"), nanoseconds(row.get("at_s", 0)),
                 row["leak_bytes_per_s"])
            for row in rows if row.get("leak_bytes_per_s")
        ]
        self.short = {"base": 0, "shm": 0}
        self.script_shm = 0  # pages of shm that the script holds
        # the buffer of the IPS, drained in bit-nanoseconds with carry
        self.ips_level = 0
        self.ips_carry = 0
        self.ips_drained_ns = 0
        self.ips_full = False
        # control plane
        self.warned = False
        self.table_full_since: int | None = None
        self.extreme_left_ns: int | None = None
        self.gate = Gate()
        self.set_gate()

    def load_settings(self) -> None:
        """What follows from settings that may change while running."""
        config = self.config
        self.policies = [policy_parse(row) for row in config.policies] or [ACCEPT_ALL]
        self.proxy_policies = any(
            policy.inspection & PROXY and policy.action != "deny" for policy in self.policies)
        self.machines = make_machines(config, self.memory.total, self.proxy_policies)
        self.modes = {m.name: self.modes.get(m.name, "off") for m in self.machines}
        self.timeouts = {
            kind: nanoseconds(getattr(config, name)) for kind, name in TIMEOUT_SETTING.items()
        }
        self.proxy_pages = pages_of(config.proxy_session_bytes)
        self.memory.cache_limit = pages_of(config.cache_limit_bytes)

    def start_counters(self) -> None:
        """All counters at zero, all ledgers empty."""
        self.packets = 0
        self.bytes = 0
        self.time_reversed = 0
        self.verdicts = dict.fromkeys(VERDICTS, 0)
        self.reasons = dict.fromkeys(REASONS, 0)
        self.decode = dict.fromkeys(DECODE, 0)
        self.created = 0
        self.peak = 0
        self.reborn = 0
        self.ended = dict.fromkeys(ENDS, 0)
        self.stampede: dict[str, Any] = {
            "passes": 0, "pages_needed": 0, "sessions_deleted": 0,
            "by_page": {"passes": 0, "sessions_deleted": 0},
            "by_full_table": {"passes": 0, "sessions_deleted": 0},
        }
        self.page_requests = 0
        self.page_failures = 0
        self.exposed_sessions = 0
        self.exposure = {c: {"sessions": 0, "packets": 0, "bytes": 0} for c in CAUSES}
        self.proxy_sessions = 0
        self.proxy_peak = 0
        self.objects = 0
        self.objects_bypassed = 0
        self.objects_oversize = 0
        self.ips_filled_bytes = 0
        self.ips_full_count = 0
        self.fragments_forgotten = 0
        self.flaps = 0
        self.victims: deque[dict[str, Any]] = deque(maxlen=self.config.victims_max)
        self.victims_forgotten = 0
        self.transitions: list[dict[str, Any]] = []
        self.transitions_forgotten = 0
        self.events: list[dict[str, Any]] = []
        self.events_forgotten = 0
        self.idledrop_hosts: list[dict[str, Any]] = []
        self.packet_digest = hashlib.blake2b(digest_size=16)
        self.victim_digest = hashlib.blake2b(digest_size=16)

    @property
    def live(self) -> int:
        """Sessions that stand in the table."""
        return len(self.sessions)

    # -- A packet, step by step (semantics 3) --

    def packet(
        self, frame: bytes, time_ns: int, wire_length: int | None = None, link: int = 1
    ) -> tuple[int, int]:
        """Judge one frame; give the numbers of its verdict and of its one reason."""
        wire = len(frame) if wire_length is None else wire_length
        if not self.started:
            self.start(time_ns)
        self.packets += 1
        self.bytes += wire
        self.number = self.packets
        if time_ns < self.now:
            self.time_reversed += 1
        target = max(self.now, time_ns)
        self.advance(target)
        self.now = target
        packet = parse(frame, wire, link, vlan_zone=self.config.zone == "vlan", shift=self.shift)
        self.count_decode(packet)
        judged = self.judge(packet, wire)
        if packet.fragment == "first" and packet.kind in ("session", "icmp_error"):
            self.fragment_store(packet, judged)
        if judged.verdict == BYPASS:
            self.expose(judged, wire)
        self.verdicts[VERDICTS[judged.verdict]] += 1
        self.reasons[judged.reason] += 1
        self.packet_digest.update(bytes((judged.verdict, REASON[judged.reason])))
        self.sample()
        self.settle("packet")
        return judged.verdict, REASON[judged.reason]

    def start(self, time_ns: int) -> None:
        """Before packet 1: its time is the zero of ticks and script, the machines decide once."""
        self.started = True
        self.t0 = self.now = self.ips_drained_ns = time_ns
        for leak in self.leaks:
            leak.anchor_ns = self.t0 + leak.start_ns
        self.settle("start")

    def count_decode(self, packet: Packet) -> None:
        """Count a frame by its outermost IP header and by what became of it."""
        if packet.kind in ("malformed", "truncated", "non_ip", "unsupported_link"):
            self.decode[packet.kind] += 1
        if packet.family:
            self.decode[f"ipv{packet.family}"] += 1
        if packet.kind in ("session", "icmp_error"):
            name = packet.transport
            self.decode["other_ip" if name == "other" else name] += 1
        self.decode["fragments"] += bool(packet.fragment)
        self.decode["offloaded"] += packet.offloaded

    def judge(self, packet: Packet, wire: int) -> Judgement:
        """One verdict and one reason for any kind of packet."""
        if packet.kind == "session":
            return self.judge_session(packet, wire)
        if packet.kind == "later":
            return self.judge_later(packet, wire)
        if packet.kind == "icmp_error":
            return self.judge_icmp_error(packet)
        if packet.kind == "malformed" or self.config.non_ip == "drop":
            return Judgement(DROP, packet.kind)
        return Judgement(FORWARD, packet.kind)

    def judge_session(self, packet: Packet, wire: int) -> Judgement:
        """Find or admit the session, step TCP, then inspect."""
        assert packet.key is not None
        flags = packet.flag_class if packet.transport == "tcp" else ""
        session = self.find(packet.key, flags)
        reason = "hit"
        if session is None:
            made = self.admit(packet, flags)
            if isinstance(made, str):
                return Judgement(DROP, made)
            session, reason = made, "new"
        direction = self.count_to_session(session, packet.source_first, wire)
        if flags and reason == "hit":
            state = TCP_TABLE[session.state, direction, flags]
            if state is None:
                return self.session_judgement(session, "tcp_invalid", None)
            session.state = state
        self.touch(session)
        return self.inspect(session, direction, packet.payload, flags in ("FIN", "RST"), reason)

    def judge_icmp_error(self, packet: Packet) -> Judgement:
        """An error shares the verdict of the session it speaks of and touches nothing."""
        session = self.find(packet.key, "") if packet.key else None
        if session is None:
            return Judgement(DROP, "icmp_orphan")
        return self.session_judgement(session, "related", None)

    def judge_later(self, packet: Packet, wire: int) -> Judgement:
        """A later fragment follows its first."""
        entry = self.fragments.get(packet.fragment_key())
        if entry and self.now - entry.inserted_ns < FRAGMENT_LIFE_NS:
            if entry.key is None:
                return entry.judgement._replace(session=None)
            session = self.find(entry.key, "")
            if session is not None:
                direction = self.count_to_session(session, entry.source_first, wire)
                self.touch(session)
                return self.inspect(session, direction, packet.payload, False, "fragment")
        drop = self.config.orphan_fragments == "drop"
        return Judgement(DROP if drop else FORWARD, "fragment_orphan")

    def fragment_store(self, packet: Packet, judged: Judgement) -> None:
        """Remember a first fragment, as the newest; when full the oldest entry goes."""
        table = self.fragments
        while table:
            oldest = next(iter(table.values()))
            if self.now - oldest.inserted_ns < FRAGMENT_LIFE_NS:
                break
            table.popitem(last=False)
        table.pop(packet.fragment_key(), None)
        if len(table) >= self.config.fragments_max:
            self.fragments_forgotten += 1
            if not table:
                return
            table.popitem(last=False)
        stands = packet.kind == "session" and packet.key in self.sessions
        key = packet.key if stands else None
        entry = FragmentEntry(self.now, key, packet.source_first, judged)
        table[packet.fragment_key()] = entry

    def count_to_session(self, session: Session, source_first: bool, wire: int) -> str:
        """Count a packet to its session; give its direction."""
        direction = "forward" if source_first == session.initiator_first else "reply"
        session.packets += 1
        session.bytes += wire
        session.directions.add(direction)
        if session.transport == "udp" and len(session.directions) == 2:
            session.assured = True
        return direction

    def touch(self, session: Session) -> None:
        """Re-arm the deadline of a session."""
        session.last_seen_ns = self.now
        session.assured |= session.state == "ESTABLISHED"
        deadline = self.deadline(session)
        if self.expiry_floor is None or deadline < self.expiry_floor:
            self.expiry_floor = deadline

    def deadline(self, session: Session) -> int:
        """The moment from which a session is never hit again."""
        return session.last_seen_ns + self.timeouts[session.state or session.transport]

    # -- Verdict, objects, IPS --

    def session_judgement(self, session: Session, reason: str, cause: str | None) -> Judgement:
        """The worst of the parts; `cause` is that of an object which is not scanned."""
        cause = session.bypass or cause
        if cause is None and session.inspection & FLOW and self.gate.ips_bypass:
            cause = "ips"
        if cause is not None:
            if reason in ("new", "hit"):
                reason = f"bypass_{cause}"
            return Judgement(BYPASS, reason, cause, session)
        return Judgement(INSPECT if session.inspection else FORWARD, reason)

    def inspect(
        self, session: Session, direction: str, payload: int, ends: bool, reason: str
    ) -> Judgement:
        """Object and IPS accounting of a packet, then its verdict; `ends`: FIN or RST."""
        cause = None
        if session.proxied and payload:
            cause = self.object_payload(session, direction, payload)
            if cause == "kill":
                self.end(session, "killed")
                return Judgement(DROP, "killed")
        if ends:
            self.object_end(session)
        if payload and session.inspection & FLOW and not self.gate.ips_bypass:
            self.ips_fill(payload)
        return self.session_judgement(session, reason, cause)

    def object_payload(self, session: Session, direction: str, payload: int) -> str | None:
        """Payload of a proxied session: None (scanned), an exposure cause, or "kill"."""
        if session.object and session.object.direction != direction:
            self.object_end(session)
        if session.object is None:
            start = self.gate.object_start
            if start == "kill":
                return "kill"
            session.object = Object(direction)
            self.objects += 1
            if start != "grant":
                session.object.bypass = start
                self.objects_bypassed += 1
        thing = session.object
        if thing.bypass:
            return thing.bypass
        if thing.bytes + payload > self.config.oversize_bytes:
            self.objects_oversize += 1
            return self.object_bypass(thing, "oversize")
        thing.bytes += payload
        need = pages_of(thing.bytes) - thing.pages
        if need == 0:
            return None
        if self.gate.page_request == "kill":
            return "kill"
        if self.request(lambda: need, pinned=session):
            thing.pages += need
            self.memory.pages["shm"] += need
            return None
        if self.gate.object_refused == "kill":
            return "kill"
        self.objects_bypassed += 1
        return self.object_bypass(thing, "no_memory")

    def object_bypass(self, thing: Object, cause: str) -> str:
        """Give up scanning: the pages go at once, the rest of the run passes."""
        self.memory.release_shm(thing.pages)
        thing.pages = 0
        thing.bypass = cause
        return cause

    def object_end(self, session: Session) -> None:
        """The run of payload is over."""
        if session.object:
            self.memory.release_shm(session.object.pages)
            session.object = None

    def ips_drain(self) -> None:
        """Empty the IPS buffer by what its throughput allowed since the last time."""
        self.ips_carry += (self.now - self.ips_drained_ns) * self.config.ips_throughput_bps
        self.ips_drained_ns = self.now
        drained, self.ips_carry = divmod(self.ips_carry, 8 * SECOND)
        self.ips_level = max(0, self.ips_level - drained)
        if self.ips_level == 0:
            self.ips_carry = 0

    def ips_fill(self, payload: int) -> None:
        """Payload that the IPS has to look at; throughput 0 is unlimited."""
        if self.config.ips_throughput_bps == 0:
            return
        self.ips_drain()
        self.ips_filled_bytes += payload
        self.ips_level = min(self.ips_level + payload, self.config.ips_socket_bytes)
        if self.ips_level >= self.config.ips_socket_bytes and not self.ips_full:
            self.ips_full = True
            self.ips_full_count += 1

    def ips_half_empty_ns(self) -> int:
        """The first nanosecond at which the buffer is drained to half."""
        excess = self.ips_level - self.config.ips_socket_bytes // 2
        if excess <= 0 or self.config.ips_throughput_bps == 0:
            return self.now
        bits = excess * 8 * SECOND - self.ips_carry
        return self.ips_drained_ns + -(-bits // self.config.ips_throughput_bps)

    def expose(self, judged: Judgement, wire: int) -> None:
        """Enter a BYPASS into the exposure ledger."""
        assert judged.cause is not None
        row = self.exposure[judged.cause]
        row["packets"] += 1
        row["bytes"] += wire
        session = judged.session
        if session is not None and judged.cause not in session.exposed:
            row["sessions"] += 1
            self.exposed_sessions += not session.exposed
            session.exposed.add(judged.cause)

    # -- The connection table --

    def find(self, key: Key, flags: str) -> Session | None:
        """The session under a key; one past its deadline or closed before a SYN ends here."""
        session = self.sessions.get(key)
        if session is None:
            return None
        if self.deadline(session) <= self.now:
            self.end_by_timeout(session)
            return None
        if flags == "SYN" and session.state in CLOSING:
            self.end(session, "clash")
            return None
        return session

    def admit(self, packet: Packet, flags: str) -> Session | str:
        """A miss: make a session, or say the reason of the first refusal."""
        config = self.config
        if flags and not packet.flags & SYN_FLAG and not self.midstream_allowed():
            return "no_session"
        from_initiator = flags != "SYNACK"  # a SYN+ACK is sent by the responder
        policy = self.policy_of(packet, from_initiator)
        if policy is None or policy.action == "deny":
            return "denied"
        inspection = policy.inspection if packet.transport in ("tcp", "udp") else 0
        refusal, bypass = self.gate_decide(inspection)
        if refusal:
            return refusal
        state = TCP_START[flags] if flags else ""
        host = (packet.source if from_initiator else packet.destination, packet.family)
        refusal = self.limits_refuse(host, state in HALF_OPEN or packet.transport == "udp")
        if refusal:
            return refusal
        proxied = bool(inspection & PROXY) and bypass is None
        if proxied and self.proxy_sessions >= config.proxy_max_sessions:
            action, word = self.gate.proxy_full
            if action == "drop":
                return word
            proxied, bypass = False, word
        assert packet.key is not None
        hash_value = key_hash(packet.key, self.hash_keys)
        bucket = bucket_of(hash_value, config.buckets)
        if self.live >= config.max_connections and not self.make_room(bucket):
            return "table_full"
        need_proxy = self.proxy_pages if proxied else 0
        if not self.request(lambda: self.slab_need() + need_proxy):
            return "no_memory"
        session = Session(
            packet.key, hash_value, bucket, self.now, self.now, self.number, packet.transport,
            packet.source_first == from_initiator, policy, inspection, proxied, bypass, state,
        )
        self.insert(session)
        return session

    def limits_refuse(self, host: tuple[int, int], half_open: bool) -> str | None:
        """The limits on half-open sessions and on sessions of one initiator; 0 is off."""
        standing = self.sessions.values()
        limit = self.config.half_open_limit
        if half_open and limit and sum(s.half_open for s in standing) >= limit:
            return "half_open_limit"
        limit = self.config.sessions_per_host
        if limit and sum(s.host == host for s in standing) >= limit:
            return "host_limit"
        return None

    def midstream_allowed(self) -> bool:
        """Whether TCP without SYN may begin a session now."""
        if self.config.midstream == "grace":
            return self.now - self.t0 < nanoseconds(self.config.midstream_grace_s)
        return self.config.midstream == "allow"

    def policy_of(self, packet: Packet, from_initiator: bool) -> Policy | None:
        """The first policy that matches a new session."""
        ends = (packet.source, packet.destination)
        initiator, responder = ends if from_initiator else ends[::-1]
        port = packet.destination_port if from_initiator else packet.source_port
        for policy in self.policies:
            if policy_match(policy, packet, initiator, responder, port):
                return policy
        return None

    def gate_decide(self, inspection: int) -> tuple[str | None, str | None]:
        """Drop reason and bypass cause of a new session, from the gate row alone."""
        gate = self.gate
        if inspection in gate.whole:
            return gate.whole[inspection], None
        bypass = None
        if inspection & PROXY and gate.proxy:
            action, word = gate.proxy
            if action == "drop":
                return word, None
            bypass = word
        if inspection & FLOW and gate.flow:
            return gate.flow[1], None
        return None, bypass

    def insert(self, session: Session) -> None:
        """Put a new session into the table; its pages have been granted."""
        self.memory.pages["sessions"] += self.slab_need()
        if session.proxied:
            self.memory.pages["shm"] += self.proxy_pages
            self.proxy_sessions += 1
        self.sessions[session.key] = session
        self.chains.setdefault(session.bucket, {})[session.key] = session
        self.created += 1
        self.peak = max(self.peak, self.live)
        slot = session.hash % self.reborn_size
        if self.reborn_filter.get(slot) == session.hash | 1:
            self.reborn += 1
            del self.reborn_filter[slot]

    def end(self, session: Session, cause: str) -> None:
        """Take a session out of the table, give its pages back, enter it into the ledgers."""
        self.object_end(session)
        if session.proxied:
            self.memory.release_shm(self.proxy_pages)
            self.proxy_sessions -= 1
        pages = self.slab_pages(self.live) - self.slab_pages(self.live - 1)
        self.memory.pages["sessions"] -= pages
        self.memory.free += pages
        del self.sessions[session.key]
        chain = self.chains[session.bucket]
        del chain[session.key]
        if not chain:
            del self.chains[session.bucket]
        self.ended[cause] += 1
        if cause in VICTIM_ENDS:
            self.add_victim(session, cause)

    def end_by_timeout(self, session: Session) -> None:
        """A session past its deadline was closed before, or it expired."""
        self.end(session, "closed" if session.state in CLOSING else "expired")

    def add_victim(self, session: Session, cause: str) -> None:
        """One row of the victim ledger; the filter will recognise the session if reborn."""
        self.reborn_filter[session.hash % self.reborn_size] = session.hash | 1
        self.victim_digest.update(session.created_packet.to_bytes(8, "little"))
        self.victim_digest.update(self.number.to_bytes(8, "little"))
        self.victim_digest.update(bytes([END[cause]]))
        if len(self.victims) == self.victims.maxlen:
            self.victims_forgotten += 1
        self.victims.append({
            "created_packet": session.created_packet, "ended_packet": self.number,
            "key": session.key, "cause": cause, "age_ns": self.now - session.created_ns,
            "idle_ns": self.now - session.last_seen_ns, "bytes": session.bytes,
            "state": session.state, "policy": session.policy.id,
            "inspection": INSPECTIONS[session.inspection],
        })

    # -- Eviction: a full table --

    def make_room(self, bucket: int) -> bool:
        """The table is full: free a record in the way of `when_full`, or refuse."""
        way = self.config.when_full
        if way == "bucket":
            while bucket not in self.chains:
                bucket = (bucket + 1) % self.config.buckets
            self.end(next(iter(self.chains[bucket].values())), "evicted")
            return True
        if way == "replace_oldest":
            self.end(next(iter(self.sessions.values())), "evicted")
            return True
        if way == "early_drop":
            return self.early_drop(bucket)
        if way == "tension":
            return self.tension_pass("by_full_table", 0, None) > 0
        return False

    def early_drop(self, bucket: int) -> bool:
        """Linux: all sessions that are not assured, of the first near bucket that has any."""
        for step in range(min(EARLY_DROP_BUCKETS, self.config.buckets)):
            chain = self.chains.get((bucket + step) % self.config.buckets, {})
            doomed = [session for session in chain.values() if not session.assured]
            for session in doomed:
                self.end(session, "evicted")
            if doomed:
                return True
        return False

    def tension_pass(self, why: str, needed: int, pinned: Session | None) -> int:
        """Delete the oldest session of every bucket [H], except local TCP and the pinned one."""
        deleted = 0
        for bucket in sorted(self.chains):
            for session in self.chains[bucket].values():
                if not session.local and session is not pinned:
                    self.end(session, "tension")
                    deleted += 1
                    break
        self.stampede["pages_needed"] += needed
        for counter in (self.stampede, self.stampede[why]):
            counter["passes"] += 1
            counter["sessions_deleted"] += deleted
        return deleted

    # -- Pages --

    def slab_pages(self, live: int) -> int:
        """Pages of so many sessions; preallocated sessions need none beyond the start's."""
        size = self.config.session_bytes
        if self.config.accounting == "preallocated":
            return 0
        if size > PAGE:
            return live * pages_of(size)
        return -(-live // (PAGE // size))

    def slab_need(self) -> int:
        """Pages that one more session needs."""
        return self.slab_pages(self.live + 1) - self.slab_pages(self.live)

    def request(self, need: Callable[[], int], pinned: Session | None = None) -> bool:
        """Take pages, all or nothing, if need be with one tension pass; need 0 asks nothing."""
        first = need()
        if first == 0:
            return True
        self.page_requests += 1
        if not self.failure_forced() and self.memory.attempt(first):
            return True
        self.page_failures += 1
        self.tension_pass("by_page", first, pinned)
        return self.memory.attempt(need())  # a slab may have a hole now: nothing needed

    def failure_forced(self) -> bool:
        """Whether the script fails this request."""
        number = self.page_requests
        for row in self.config.pressure:
            every = row.get("fail_every", 0)
            if row.get("fail_nth") == number or (every and number % every == 0):
                return True
        return False

    # -- The pressure script --

    def grow(self, owner: str, pages: int) -> None:
        """The script asks for pages; what there is not stays short until a later tick."""
        taken = pages
        if not self.request(lambda: pages):
            taken = min(pages, self.memory.free + self.memory.pages["cache"])
            self.memory.attempt(taken)
            self.short[owner] += pages - taken
        self.hold(owner, taken)

    def hold(self, owner: str, pages: int) -> None:
        """Book pages that were taken for the script."""
        self.memory.pages[owner] += pages
        if owner == "shm":
            self.script_shm += pages

    def give_back(self, owner: str, pages: int) -> None:
        """The script gives back: first what it still waits for, then what it holds."""
        forgiven = min(pages, self.short[owner])
        self.short[owner] -= forgiven
        pages -= forgiven
        if owner == "base":
            pages = min(pages, self.memory.pages["base"])
            self.memory.pages["base"] -= pages
            self.memory.free += pages
        else:
            pages = min(pages, self.script_shm)
            self.script_shm -= pages
            self.memory.release_shm(pages)

    def retry_worthwhile(self, owner: str) -> bool:
        """Short of pages, and there may be some."""
        there = self.memory.free + self.memory.pages["cache"]
        return self.short[owner] > 0 and (there > 0 or self.live > 0)

    def retry(self) -> None:
        """At a tick: ask again for what is short; then stalled leaks may go on from here."""
        for owner in ("base", "shm"):
            if self.retry_worthwhile(owner):
                pages, self.short[owner] = self.short[owner], 0
                self.grow(owner, pages)
        for leak in self.leaks:
            if leak.stalled and self.short[leak.owner] == 0:
                leak.stalled, leak.anchor_ns, leak.page = False, self.now, 1

    def leak_pages(self, leak: Leak) -> None:
        """Take every page of a leak that is due; one it cannot have stalls the leak."""
        while not leak.stalled and leak.due_ns <= self.now:
            leak.page += 1
            if self.short[leak.owner] == 0 and self.request(lambda: 1):
                self.hold(leak.owner, 1)
            else:
                self.short[leak.owner] += 1
                leak.stalled = True

    # -- Time: the moments between two packets (semantics 2) --

    def advance(self, target: int) -> None:
        """Go through the moments due up to `target` in time order; silence costs nothing."""
        while (moment := self.next_moment()) is not None and moment <= target:
            self.moment(moment)

    def next_moment(self) -> int | None:
        """The next nanosecond at which something may be due."""
        due = [leak.due_ns for leak in self.leaks if not leak.stalled]
        if self.steps:
            due.append(self.t0 + nanoseconds(self.steps[0].get("at_s", 0)))
        if self.ips_full:
            due.append(max(self.now, self.ips_half_empty_ns()))
        tick = self.tick_after(self.now)
        if self.round_due() or any(map(self.retry_worthwhile, self.short)) or any(
            leak.stalled and self.short[leak.owner] == 0 for leak in self.leaks
        ):
            due.append(tick)
        elif self.sessions and self.expiry_floor is not None:
            due.append(max(tick, self.tick_after(self.expiry_floor - 1)))
        return min(due, default=None)

    def tick_after(self, time_ns: int) -> int:
        """The first tick later than a time; ticks stand at whole sweeps after packet 1."""
        return self.t0 + max(1, (time_ns - self.t0) // self.sweep_ns + 1) * self.sweep_ns

    def moment(self, time_ns: int) -> None:
        """All that is due at one nanosecond, in its order; then the machines decide."""
        self.now = time_ns
        tick = time_ns > self.t0 and (time_ns - self.t0) % self.sweep_ns == 0
        if tick:
            self.retry()
        while self.steps and self.t0 + nanoseconds(self.steps[0].get("at_s", 0)) <= time_ns:
            row = self.steps.popleft()
            owner = row.get("owner", "base")
            if row["add_bytes"] > 0:
                self.grow(owner, pages_of(row["add_bytes"]))
            else:
                self.give_back(owner, pages_of(-row["add_bytes"]))
        for leak in self.leaks:
            self.leak_pages(leak)
        if tick:
            self.expire()
        if self.ips_full and self.ips_half_empty_ns() <= time_ns:
            self.ips_drain()
            self.ips_full = False
        if tick and self.round_due():
            self.idledrop_round("time")
        self.sample()
        self.settle("time")

    def expire(self) -> None:
        """At a tick: end every session whose deadline has come."""
        if self.expiry_floor is None or self.expiry_floor > self.now:
            return
        for session in list(self.sessions.values()):
            if self.deadline(session) <= self.now:
                self.end_by_timeout(session)
        self.expiry_floor = min(map(self.deadline, self.sessions.values()), default=None)

    def sample(self) -> None:
        """Remember peaks."""
        self.memory.sample()
        self.proxy_peak = max(self.proxy_peak, self.proxy_sessions)

    # -- The control plane: after every moment and every packet --

    def settle(self, cause: str) -> None:
        """A stop: the machines decide, and an entry into a mode begins an idledrop round.

        Settling again without a change of a gauge has no effect.
        """
        entered = self.decide(cause)
        if entered and self.round_due():
            self.idledrop_round(cause)
        self.sample()

    def decide(self, cause: str) -> bool:
        """Machines, latch, IPS, warnings, gate, in this order; True if a machine left off."""
        entered = [m.name for m in self.machines if self.machine_settle(m, cause)]
        governed = [name for name in entered
                    if name != "kernel" or self.config.kernel_mode == "av-failopen"]
        if governed and self.config.av_failopen == "one-shot" and not self.latch:
            self.latch = True
            self.event("one_shot_latched")
        self.decide_ips()
        self.decide_low_memory()
        self.decide_table_full()
        self.set_gate()
        return bool(entered)

    def machine_settle(self, machine: Any, cause: str) -> bool:
        """Run one machine to its fixpoint; True if it left off on the way."""
        entered = False
        while True:
            mode = self.modes[machine.name]
            new = machine.step(mode, self.snapshot())
            if new == mode:
                return entered
            entered |= mode == "off"
            self.modes[machine.name] = new
            self.transition(machine.name, mode, new, cause)

    def snapshot(self) -> Snapshot:
        """What the machines look at now."""
        memory = self.memory
        return Snapshot(memory.total, memory.used, memory.pages["cache"], memory.free,
                        memory.pages["shm"], self.proxy_sessions)

    def transition(self, machine: str, old: str, new: str, cause: str) -> None:
        """Record a change of mode and its event."""
        row = {"packet": self.number, "time_ns": self.now, "cause": cause, "machine": machine,
               "from": old, "to": new, "used_pages": self.memory.used,
               "freeable_pages": self.memory.pages["cache"], "free_pages": self.memory.free}
        if len(self.transitions) < self.config.transitions_max:
            self.transitions.append(row)
        else:
            self.transitions_forgotten += 1
        if new == "extreme":
            left = self.extreme_left_ns
            self.flaps += left is not None and self.now - left < FLAP_NS
            kind = "extreme_entered"
        elif new == "off":
            kind = "conserve_left"
        else:
            kind = "extreme_left" if old == "extreme" else "conserve_entered"
        if old == "extreme":
            self.extreme_left_ns = self.now
        self.event(kind, machine=machine)

    def event(self, kind: str, **figures: Any) -> None:
        """Report something."""
        if len(self.events) < self.config.events_max:
            self.events.append(
                {"kind": kind, "packet": self.number, "time_ns": self.now, **figures}
            )
        else:
            self.events_forgotten += 1

    def decide_ips(self) -> None:
        """IPS fails while a mode is on or while its buffer is full, as `ips_trigger` says."""
        trigger = self.config.ips_trigger
        conserve = any(
            mode != "off" and name != "kernel" and (name != "fortios-5" or self.proxy_policies)
            for name, mode in self.modes.items()
        )
        fail = ("conserve" in trigger and conserve) or ("buffer" in trigger and self.ips_full)
        if fail != self.ips_fail:
            self.ips_fail = fail
            self.event("ips_fail_open_entered" if fail else "ips_fail_open_left")

    def decide_low_memory(self) -> None:
        """Without a machine: a warning below 100 MB of free RAM [C], cleared at 110 [D]."""
        if self.config.machine != "none":
            return
        free_bytes = self.memory.free * PAGE
        if not self.warned and free_bytes < 100 * 10**6:
            self.warned = True
            self.event("memory_warning")
        elif self.warned and free_bytes >= 110 * 10**6:
            self.warned = False
            self.event("memory_warning_cleared")

    def decide_table_full(self) -> None:
        """The table is full until a tenth of it is free."""
        most = self.config.max_connections
        if self.table_full_since is None and self.live >= most:
            self.table_full_since = self.now
            self.event("table_full")
        elif self.table_full_since is not None and self.live <= most * 90 // 100:
            self.event("table_full_ended", duration_ns=self.now - self.table_full_since)
            self.table_full_since = None

    def set_gate(self) -> None:
        """Hand the data plane its row."""
        self.gate = gate_row(self.modes, self.latch, self.ips_fail, self.config,
                             self.proxy_policies)

    def round_due(self) -> bool:
        """Idledrop governs the gate now, and there are sessions to kill."""
        if self.config.av_failopen != "idledrop" or not self.sessions:
            return False
        return gate_governor(self.modes, self.config, self.proxy_policies) == "failopen"

    def idledrop_round(self, cause: str) -> None:
        """Kill the sessions of the busiest hosts, host by host, until the mode is left."""
        count: dict[tuple[int, int], int] = {}
        for session in self.sessions.values():
            count[session.host] = count.get(session.host, 0) + 1
        hosts = killed = 0
        for host in sorted(count, key=lambda host: (-count[host], host)):
            doomed = [s for s in self.sessions.values() if s.host == host and self.idle(s)]
            if not doomed:
                continue
            for session in doomed:
                self.end(session, "killed")
            hosts += 1
            killed += len(doomed)
            address = ipaddress.IPv4Address if host[1] == 4 else ipaddress.IPv6Address
            self.idledrop_hosts.append({"host": str(address(host[0])), "sessions": len(doomed)})
            self.decide(cause)
            if not self.round_due():
                break
        if killed:
            self.event("idledrop", hosts=hosts, sessions=killed)

    def idle(self, session: Session) -> bool:
        """Whether idledrop may kill a session: any [H], or only those long idle."""
        if session.local:
            return False
        idle_ns = self.now - session.last_seen_ns
        return (self.config.idledrop_variant == "host"
                or idle_ns >= nanoseconds(self.config.idledrop_idle_s))

    # -- The operator --

    def clear(self) -> None:
        """End all sessions, in order of creation."""
        for session in list(self.sessions.values()):
            self.end(session, "cleared")
        self.after_operator()

    def configure(self, **changes: Any) -> None:
        """Change soft settings; a change of av-failopen ends the one-shot residue [H]."""
        released = self.latch and changes.get("av_failopen", "one-shot") != "one-shot"
        for name, value in changes.items():
            if not hasattr(self.config, name):
                raise AttributeError(f"no setting {name!r}")
            setattr(self.config, name, value)
        self.load_settings()
        self.sweep_ns = nanoseconds(self.config.sweep_s)
        self.expiry_floor = min(map(self.deadline, self.sessions.values()), default=None)
        if released:
            self.latch = False
            self.event("one_shot_released")
        self.event("configured")
        self.after_operator()

    def after_operator(self) -> None:
        """What changed by hand takes effect for the next packet."""
        self.sample()
        if self.started:
            self.settle("packet")
        self.set_gate()

    # -- Counters and outcome --

    def counters(self) -> dict[str, Any]:
        """All counters, as they go into the outcome."""
        by_cause = {cause: dict(row) for cause, row in self.exposure.items()}
        return {
            "packets": self.packets,
            "bytes": self.bytes,
            "time_reversed": self.time_reversed,
            "verdicts": dict(self.verdicts),
            "reasons": dict(self.reasons),
            "decode": dict(self.decode),
            "sessions": {"created": self.created, "live": self.live, "peak": self.peak,
                         "reborn": self.reborn, "ended": dict(self.ended)},
            "memory_tension": self.ended["tension"],
            "stampede": {name: dict(value) if isinstance(value, dict) else value
                         for name, value in self.stampede.items()},
            "memory": {
                "total_pages": self.memory.total,
                "now": self.memory.now(),
                "peak": dict(self.memory.peak),
                "script_short_pages": sum(self.short.values()),
                "page_requests": self.page_requests,
                "page_failures": self.page_failures,
            },
            "exposure": {
                "sessions": self.exposed_sessions,
                "packets": sum(row["packets"] for row in by_cause.values()),
                "bytes": sum(row["bytes"] for row in by_cause.values()),
                "by_cause": by_cause,
            },
            "proxy": {"sessions": self.proxy_sessions, "peak": self.proxy_peak,
                      "objects": self.objects, "objects_bypassed": self.objects_bypassed,
                      "objects_oversize": self.objects_oversize},
            "ips": {"filled_bytes": self.ips_filled_bytes, "full_count": self.ips_full_count},
            "fragments_forgotten": self.fragments_forgotten,
            "flaps": self.flaps,
            "transitions_forgotten": self.transitions_forgotten,
            "events_forgotten": self.events_forgotten,
        }

    def outcome(self) -> str:
        """The digest of everything that must not depend on how the run was made."""
        ledger = {"transitions": self.transitions, "events": self.events,
                  "counters": self.counters()}
        text = json.dumps(ledger, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.packet_digest.digest())
        digest.update(self.victim_digest.digest())
        digest.update(text.encode("ascii"))
        return "1:" + digest.hexdigest()
