"""What a frame says: the canonical key of its session, and the packet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

FIN_FLAG, SYN_FLAG, RST_FLAG, ACK_FLAG, URG_FLAG = 0x01, 0x02, 0x04, 0x10, 0x20
FLAG_CLASSES = ("SYN", "SYNACK", "FIN", "ACK", "RST", "NONE")
LINUX_FLAGS = {
    SYN_FLAG: "SYN", SYN_FLAG | URG_FLAG: "SYN", SYN_FLAG | ACK_FLAG: "SYNACK", RST_FLAG: "RST",
    RST_FLAG | ACK_FLAG: "RST", FIN_FLAG | ACK_FLAG: "FIN", FIN_FLAG | ACK_FLAG | URG_FLAG: "FIN",
    ACK_FLAG: "ACK", ACK_FLAG | URG_FLAG: "ACK",
}
"""tcp_valid_flags of Linux, PSH and the ECN bits left out; any other set is invalid [R]."""


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
    end: int = 0  # of the IP packet within the frame: the payload stands before it
    ip_bytes: int = 0  # of the outermost IP packet; 0: not IP
    traffic_class: int = 0  # its DSCP << 2 | ECN
    offloaded: bool = False
    fragment: str = ""  # "" | first | later
    fragment_protocol: int = 0
    fragment_id: int = 0
    key: Key | None = None
    source_first: bool = True  # the source is the key's endpoint a
    linux: bool = False  # parsed as Linux tracks: flags, ICMP pairs, UDP lengths
    broken: bool = False  # UDP whose length cannot be
    icmp_type: int = 0
    quoted_source: int = 0  # of the packet that an ICMP error quotes

    @property
    def flag_class(self) -> str:
        """The one class of TCP flags that the state table knows."""
        if self.linux:
            known = FIN_FLAG | SYN_FLAG | RST_FLAG | ACK_FLAG | URG_FLAG
            return LINUX_FLAGS.get(self.flags & known, "NONE")
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
