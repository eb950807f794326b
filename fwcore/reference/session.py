"""What the firewall remembers of traffic: sessions, their objects, judgements, first fragments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from fwcore.reference.packet import Key
from fwcore.reference.policy import Policy
from fwcore.reference.shaping import Shaped
from fwcore.reference.tcp import HALF_OPEN


@dataclass
class Object:
    """A run of payload in one direction of a proxied session."""

    direction: str
    shown: bytes = b""  # what an inspector will see of it
    gap: bool = False  # a frame was cut: what follows it does not join
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
    answered: bool = False  # the responder was heard, other than by what is invalid
    timeout: str = ""  # row of the timeouts, where state and transport do not say it
    last: tuple[str, str] = ("", "")  # tracker linux: flags and direction of the last packet
    closing: bool = False  # tracker linux: FIN_WAIT was entered
    challenge: bool = False  # tracker linux: the responder may answer a SYN with an ACK
    both: bool = False  # tracker linux: SYN from both sides
    directions: set[str] = field(default_factory=set)
    object: Object | None = None
    shaped: Shaped | None = None  # what it met at its set-up
    dropped: dict[str, list[int]] = field(  # by way: packets and bytes that egress dropped
        default_factory=lambda: {"forward": [0, 0], "reply": [0, 0]})
    exposed: set[str] = field(default_factory=set)  # causes already counted for it
    asks: bool = False  # an inspector is to be asked about its first bytes
    blocked: bool = False  # which has blocked it

    @property
    def host(self) -> tuple[int, int]:
        """Address and family of the initiator: the order in which idledrop breaks ties."""
        address = self.key.address_a if self.initiator_first else self.key.address_b
        return address, self.key.family

    @property
    def passed_bytes(self) -> int:
        """Bytes that were not dropped at egress."""
        return self.bytes - sum(size for _, size in self.dropped.values())

    @property
    def half_open(self) -> bool:
        """TCP before ESTABLISHED, UDP with exactly one packet."""
        return self.state in HALF_OPEN or (self.transport == "udp" and self.packets == 1)

    @property
    def local(self) -> bool:
        """TCP to the firewall itself: tension and idledrop never take it [R]."""
        return self.transport == "tcp" and self.policy.action == "local"


class Question(NamedTuple):
    """What an inspector is asked."""

    session: Session
    reply: bool  # the responder sent the run
    payload: bytes  # the first of its bytes that were captured, without a gap
    seen: int  # payload bytes of the run, by the lengths
    packet: int


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
    reply: bool  # whether the first was sent by the responder
    judgement: Judgement
