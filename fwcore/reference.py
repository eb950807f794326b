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
from dataclasses import dataclass, field
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
