"""Queues: all links, what waits in them, its pages, and what leaves when.

    enqueue  a packet into a class, or why not    moment   what is due at one nanosecond
    depart   a row for each link it ends at       advance, drain, clear
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fwcore.reference.discard import Waiting, red_drops
from fwcore.reference.link import Link
from fwcore.reference.rows import LINKS_MAX, Arrival, ClassRow, Declared, LinkRow, Session
from fwcore.reference.tree import Class
from fwcore.reference.words import pages_of

FATES = ("sent", "passed_on", "queue_full", "codel", "pushed_out", "cleared", "no_memory")
END_OF_TIME = 2**62
"""What would leave later is cleared."""


class Departure(NamedTuple):
    """A packet ends at a link; `dscp` None: no mark."""

    packet: int
    time_ns: int
    link: int
    cls: int
    fate: str
    dscp: int | None


Request = Callable[[Callable[[], int], "int | None"], bool]
"""Pages for queues, all or nothing: asked with the need, which a pass may change, and with the
session that must not be ended for it."""


class Queues:
    """All links of a firewall. It holds no clock: times come in."""

    def __init__(
        self, declared: Declared, request: Request | None = None,
        give: Callable[[int], None] | None = None,
    ) -> None:
        self.request = request or (lambda need, pinned: True)
        self.give = give or (lambda pages: None)
        self.departures: list[Departure] = []
        self.links: dict[str, Link] = {}
        self.order = 0
        self.pages = 0
        self.now = 0
        self.plant(declared)
        for link in declared.links:
            self.links[link.name] = self.make_link(link, len(self.links))

    def plant(self, declared: Declared) -> None:
        """Take over the rows themselves."""
        self.declared = declared
        names = {row.name: row for row in declared.links}
        self.distance = {row.name: distance(row, names) for row in declared.links}
        self.queue_packets_max = declared.queue_packets_max or sum(
            limit_of(declared, row.name) for row in declared.links)

    def make_link(self, row: LinkRow, number: int) -> Link:
        """A link with its tree."""
        link = Link(row, number, self.left, self.dropped)
        link.plant(classes_of(self.declared, row.name), self.declared.seed)
        return link

    # -- In --

    def waiting(
        self, arrival: Arrival, link: Link, leaf: Class, session: Session, direction: str,
        dscp: int | None,
    ) -> Waiting:
        """The packet as it stands in a queue of a link."""
        self.order += 1
        size = arrival.bytes(link.row.count, link.row.overhead)
        address = session.destination(direction) if leaf.row.share == "destination" \
            else session.source(direction)
        share = leaf.shares.share_of(session.hash, address, self.now).number \
            if leaf.shares else 0
        return Waiting(arrival, size, self.now, self.order, dscp, leaf.row.id, share,
                       session, direction)

    def enqueue(self, link: Link, leaf: Class, packet: Waiting, pinned: int | None) -> str:
        """Put a packet into its class and serve; "" or why it was dropped."""
        add(leaf.arrived, packet.size)
        leaf.largest = max(leaf.largest, packet.size)
        why = self.refusal(link, leaf, packet)
        if why:
            leaf.dropped[why] += 1
            leaf.dropped_bytes += packet.size
            return "queue_full"
        if not self.take_pages(link, packet.size, pinned):
            leaf.dropped["no_memory"] += 1
            leaf.dropped_bytes += packet.size
            return "no_memory"
        leaf.put(packet)
        link.queued += 1
        link.queued_bytes += packet.size
        link.peak["packets"] = max(link.peak["packets"], link.queued)
        link.peak["bytes"] = max(link.peak["bytes"], link.queued_bytes)
        link.crest = max(link.crest, link.queued_bytes)
        while leaf.shares and leaf.over():
            self.dropped(link, leaf, leaf.push_out(self.now), "pushed_out", self.now)
        link.serve(self.now, (self.now, 0))
        return ""

    def refusal(self, link: Link, leaf: Class, packet: Waiting) -> str:
        """Which way to discard refuses a packet at arrival."""
        if leaf.giant(packet.size):
            leaf.giants += 1
            return "tail"
        if not leaf.row.limit_packets:
            if not link.free_for(leaf, packet.size, self.now):
                return "tail"
        elif not leaf.shares and not leaf.room(packet.size):
            return "tail"
        if leaf.row.discard == "red" and red_drops(
            leaf.row, leaf.waiting, self.declared.seed, packet.arrival.number, link.number
        ):
            return "red"
        waiting = sum(node.waiting for each in self.links.values()
                      for node in each.classes.values())
        pushes = leaf.shares and not leaf.room(packet.size)  # another one will make room
        return "tail" if waiting + 1 > self.queue_packets_max and not pushes else ""

    # -- Pages --

    def take_pages(self, link: Link, size: int, pinned: int | None) -> bool:
        """Pages for what the link will then hold."""
        def need() -> int:
            return self.pages_for(link.queued_bytes + size) - link.pages

        if need() > 0 and not self.request(need, pinned):
            return False
        added = need()
        link.pages += added
        self.pages += added
        return True

    def pages_for(self, size: int) -> int:
        """Pages of so many queued bytes; none where queues are not accounted."""
        return pages_of(size) if self.declared.accounting == "bytes" else 0

    def release_pages(self, link: Link) -> None:
        """Give back what the link holds no longer."""
        spare = link.pages - self.pages_for(link.queued_bytes)
        link.pages -= spare
        self.pages -= spare
        if spare:
            self.give(spare)

    # -- Departures --

    def depart(self, link: Link, leaf: Class, packet: Waiting, fate: str, now: int) -> None:
        """A row; the packet is in this link no longer."""
        self.departures.append(Departure(
            packet.arrival.number, now, link.number, leaf.row.id, fate, packet.dscp))
        link.queued -= 1
        link.queued_bytes -= packet.size
        self.release_pages(link)

    def left(self, link: Link, leaf: Class, packet: Waiting, now: int) -> None:
        """A packet left a link: it is sent, or comes to the next one at once."""
        further = self.links.get(link.row.next)
        self.depart(link, leaf, packet, "passed_on" if further else "sent", now)
        if further:
            there = further.leaf(leaf.row.id)
            handed = self.waiting(
                packet.arrival, further, there, packet.session, packet.direction, packet.dscp)
            if why := self.enqueue(further, there, handed, None):
                self.departures.append(Departure(
                    packet.arrival.number, now, further.number, there.row.id, why, packet.dscp))

    def dropped(self, link: Link, leaf: Class, packet: Waiting, why: str, now: int) -> None:
        """A packet that waited is given up."""
        leaf.dropped[why] += 1
        leaf.dropped_bytes += packet.size
        self.depart(link, leaf, packet, why, now)

    def cleared(self, link: Link, leaf: Class, packet: Waiting) -> None:
        """A packet whose queue is no more."""
        add(leaf.cleared, packet.size)
        self.depart(link, leaf, packet, "cleared", self.now)

    # -- Time --

    def due(self) -> int | None:
        """The next moment of any link."""
        times = [time for link in self.links.values() if (time := link.due(self.now)) is not None]
        return min(times, default=None)

    def moment(self, now: int) -> None:
        """All that is due at one nanosecond: links downstream first."""
        self.now = now
        for link in sorted(self.links.values(), key=lambda link: self.distance[link.row.name]):
            link.moment(now)

    def advance(self, until: int) -> None:
        """Go through the moments up to a time, that one included."""
        while (time := self.due()) is not None and time <= until:
            self.moment(time)
        self.now = max(self.now, until)

    def drain(self, until: int | None = None) -> None:
        """Let leave what waits; what would leave after 2^62 is cleared."""
        while (time := self.due()) is not None and time <= (END_OF_TIME if until is None
                                                            else until):
            self.moment(time)
        if until is None:
            self.clear()
        else:
            self.now = max(self.now, until)

    def clear(self) -> None:
        """Nothing waits any more."""
        for link in self.links.values():
            self.clear_link(link)

    def clear_link(self, link: Link) -> None:
        """All of a link's packets are cleared, the one on the line first."""
        if link.line:
            line, link.line = link.line, None
            self.cleared(link, line.leaf, line.packet)
        waiting = [(packet, leaf) for leaf in link.leaves() for packet in leaf.everything()]
        for packet, leaf in sorted(waiting, key=lambda row: row[0].order):
            self.cleared(link, leaf, packet)


def add(counter: dict[str, int], size: int) -> None:
    """Count one packet."""
    counter["packets"] += 1
    counter["bytes"] += size


def classes_of(declared: Declared, link: str) -> list[ClassRow]:
    """The rows of a link's tree; one whole class where there is none."""
    return [row for row in declared.classes if row.link == link] or [ClassRow(link, 1)]


def limit_of(declared: Declared, link: str) -> int:
    """Packets that may wait in a link's leaves; one passes through a leaf without a queue."""
    rows = classes_of(declared, link)
    parents = {row.parent for row in rows}
    return sum(max(1, row.limit_packets) for row in rows if row.id not in parents)


def distance(row: LinkRow, links: dict[str, LinkRow]) -> int:
    """Links after this one; a chain has no circle and at most 8 links."""
    steps = 0
    while row.next:
        row, steps = links[row.next], steps + 1
        if steps >= LINKS_MAX:
            raise ValueError(f"link {row.name}: a circle, or a chain of more than {LINKS_MAX}")
    return steps
