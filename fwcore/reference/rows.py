"""What is declared of shaping, every value already a number.

Rates are bit/s (packets/s where a meter counts packets), depths bytes (packets), times
nanoseconds. 0 stands for "none" wherever a rate, a limit or a mark may be missing; what else 0
could mean is said beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fwcore.reference.packet import Packet
from fwcore.reference.policy import Policy, policy_match

WIRE_OVERHEAD = 24
"""Preamble, delimiter, frame check sequence and gap of Ethernet, beyond a frame's length."""
ADDRESS = 2**128 - 1
LINKS_MAX = 8
"""Links of one chain [R: Clavister: at most 8 pipes]."""
COUNTS = ("ip", "frame", "wire", "packets")
KEYS = ("none", "policy", "rule", "source", "destination", "initiator")
DIRECTIONS = ("forward", "reply")


@dataclass(frozen=True)
class RungRow:
    """One rate of a meter and what a packet of its colour gets."""

    rate: int
    depth: int
    dscp: int | None = None
    cls: int | None = None


@dataclass(frozen=True)
class MeterRow:
    """How fast."""

    name: str
    rungs: tuple[RungRow, ...]
    algorithm: str = "rfc2698"  # rfc2698 | rfc2697 | rfc4115
    key: str = "none"
    keys_max: int = 65_536
    need: str = "packet"  # packet | level
    count: str = "ip"
    overhead: int = 0
    over: str = "drop"  # drop | pass | class
    over_class: int | None = None
    max_sessions: int = 0
    max_tcp_sessions: int = 0
    max_udp_sessions: int = 0


@dataclass(frozen=True)
class LinkRow:
    """Out of where. Rate 0: no line."""

    name: str
    rate: int = 0
    count: str = "frame"
    overhead: int = 0
    next: str = ""


@dataclass(frozen=True)
class ClassRow:
    """Who next: a node of a link's tree. `guarantee` or `ceiling` 0: no such bucket."""

    link: str
    id: int
    parent: int = 0  # 0: the link
    guarantee: int = 0
    ceiling: int = 0
    guarantee_burst: int = 0  # bytes
    ceiling_burst: int = 0
    priority: int = 0
    quantum: int = 1514
    limit_packets: int = 1000  # 0: no queue; what cannot leave as it comes is dropped
    limit_bytes: int = 0
    discard: str = "tail"  # tail | red | codel
    red_min: int = 83  # packets [R: FortiOS]
    red_max: int = 250
    red_probability: int = 0  # percent
    target_ns: int = 5_000_000  # RFC 8289
    interval_ns: int = 100_000_000
    ecn: bool = False
    share: str = "none"  # none | flow | source | destination
    shares: int = 1024
    share_ceiling: int = 0
    share_burst: int = 0
    need: str = "level"


@dataclass(frozen=True)
class ShapingRow:
    """Which meters, link and class the packets of a session meet, each way."""

    id: int
    meters: tuple[str, ...] = ()
    reply_meters: tuple[str, ...] = ()
    link: str = ""
    reply_link: str = ""
    cls: int | None = None
    reply_cls: int | None = None
    class_by_dscp: Mapping[int, int] = field(default_factory=dict)
    reply_class_by_dscp: Mapping[int, int] | None = None  # None: as class_by_dscp
    source: tuple[int, int] | None = None  # lowest and highest address; None: any
    destination: tuple[int, int] | None = None
    protocol: int | None = None
    ports: tuple[int, int] | None = None  # of the responder
    policy: frozenset[int] = frozenset()
    dscp: frozenset[int] = frozenset()
    who: Policy | None = None  # zone, networks, protocol and ports as in [[policy]]

    def matches(self, session: Session) -> bool:
        """Whether a session that begins is shaped by this row."""
        return (
            _within(session.initiator, self.source)
            and _within(session.responder, self.destination)
            and self.protocol in (None, session.protocol)
            and _within(session.port, self.ports)
            and (not self.policy or session.policy in self.policy)
            and (not self.dscp or session.dscp in self.dscp)
            and (self.who is None or session.first is None or policy_match(
                self.who, session.first, session.initiator & ADDRESS,
                session.responder & ADDRESS, session.port)))

    def by_dscp(self, direction: str) -> Mapping[int, int]:
        """Classes by a packet's own DSCP."""
        own = self.reply_class_by_dscp
        return own if direction == "reply" and own is not None else self.class_by_dscp

    def direction(self, direction: str) -> tuple[tuple[str, ...], str, int | None]:
        """Meters, link and class of one way."""
        if direction == "forward":
            return self.meters, self.link, self.cls
        return self.reply_meters, self.reply_link, self.reply_cls


def _within(value: int, span: tuple[int, int] | None) -> bool:
    return span is None or span[0] <= value <= span[1]


@dataclass(frozen=True)
class Declared:
    """All rows, in the order of the file."""

    meters: tuple[MeterRow, ...] = ()
    links: tuple[LinkRow, ...] = ()
    classes: tuple[ClassRow, ...] = ()
    rows: tuple[ShapingRow, ...] = ()
    seed: int = 0
    queue_packets_max: int = 0  # 0: the sum of limit_packets
    accounting: str = "none"  # none | bytes


@dataclass(frozen=True)
class Session:
    """What shaping has to know of a session; facts of its set-up. IPv6: an address has bit 128."""

    initiator: int = 0
    responder: int = 0
    protocol: int = 17
    port: int = 0  # the responder's
    policy: int = 0
    dscp: int = 0  # of its first packet
    hash: int = 0  # 64 bits, the same both ways
    first: Packet | None = None  # that made it, where there is a firewall

    def source(self, direction: str) -> int:
        """The sender's address."""
        return self.initiator if direction == "forward" else self.responder

    def destination(self, direction: str) -> int:
        """The receiver's address."""
        return self.responder if direction == "forward" else self.initiator


@dataclass(frozen=True)
class Arrival:
    """A packet that the firewall has let pass."""

    number: int
    time_ns: int
    frame: int  # bytes on the wire
    ip: int = 0  # bytes by the IP header; 0: not IP, the frame counts
    dscp: int = 0
    ect: bool = False

    def bytes(self, count: str, overhead: int) -> int:
        """Bytes as a meter or link counts them; at least 1 [R: Linux qdisc_pkt_len]."""
        size = self.frame
        if count == "ip" and self.ip:
            size = self.ip
        elif count == "wire":
            size += WIRE_OVERHEAD
        return max(1, size + overhead)
