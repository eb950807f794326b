"""Egress: what a packet meets after its verdict, and what shaping has to know of its session."""

from __future__ import annotations

from collections.abc import Callable

from fwcore.reference.clock import Clock
from fwcore.reference.config import Config
from fwcore.reference.declared import declared
from fwcore.reference.packet import Packet
from fwcore.reference.policy import Policy
from fwcore.reference.rows import Arrival, Declared, Session as Asker
from fwcore.reference.session import Judgement, Session
from fwcore.reference.shaping import Shaper
from fwcore.reference.table import key_hash
from fwcore.reference.words import DROP


class Egress(Clock):
    """The part of a firewall that has meters and links; `shaper` is None before the first row."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.of_session: Session | None = None  # that the packet being judged is of
        self.declared = Declared()
        self.set_shaper()

    def set_shaper(self) -> None:
        """What is declared of shaping holds from now on; before the first row there is nothing."""
        config = self.config
        found = declared(
            config.meters, config.links, config.classes, config.shapings, seed=config.seed,
            queue_packets_max=config.queue_packets_max, accounting=config.queue_accounting)
        if self.shaper is None and found.rows:
            self.shaper = Shaper(found, self.queue_pages, self.queue_pages_back)
            self.shaper.now = self.now
        elif self.shaper and found != self.declared:
            self.shaper.advance(self.now)  # packets that were dropped did not come to it
            self.shaper.configure(found)
        self.declared = found

    def egress(self, packet: Packet, judged: Judgement, wire: int) -> Judgement:
        """Meters and queues, for what passed; an ICMP error meets the queue of those it goes to."""
        if self.shaper is None or judged.verdict == DROP:
            return judged
        session = self.of_session
        related = judged.reason == "related"
        direction = "reply" if self.reply != related else "forward"
        arrival = Arrival(self.number, self.now, wire, packet.ip_bytes, packet.traffic_class >> 2,
                          bool(packet.traffic_class & 3))
        told = self.shaper.arrive(
            arrival, session.shaped if session else None, direction, not related)
        if not told.reason:
            return judged
        assert session is not None
        if not related:
            session.dropped[direction][0] += 1
            session.dropped[direction][1] += wire
        return Judgement(DROP, told.reason)

    def asker(self, packet: Packet, from_initiator: bool, policy: Policy) -> Asker:
        """What shaping has to know of the session that a packet would make."""
        assert packet.key is not None
        mark = (packet.family == 6) << 128
        ends = (packet.source | mark, packet.destination | mark)
        initiator, responder = ends if from_initiator else ends[::-1]
        port = packet.destination_port if from_initiator else packet.source_port
        return Asker(initiator, responder, packet.protocol, port, policy.id,
                     packet.traffic_class >> 2, key_hash(packet.key, self.hash_keys), packet)

    def queue_pages(self, need: Callable[[], int], pinned: int | None) -> bool:
        """Pages for queued bytes; the session of the packet that arrives is spared."""
        if not self.request(need, self.of_session if pinned is not None else None):
            return False
        self.memory.queues += need()
        return True

    def queue_pages_back(self, pages: int) -> None:
        """Pages of queued bytes become free."""
        self.memory.queues -= pages
        self.memory.free += pages

    def drain(self) -> None:
        """What waits leaves in its time; the clock stands. Machines look, at this time, when
        something follows."""
        if self.shaper:
            pages = self.memory.queues
            self.shaper.advance(self.now)
            self.shaper.drain()
            self.unseen |= self.memory.queues != pages
            self.sample()
