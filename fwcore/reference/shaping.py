"""Shaping: what a packet meets after the firewall has judged it.

    row_of, admits, begin, end      a session: its row, its limits, its buckets
    arrive                          a packet: meters, then the class of a link, or why not
    due, moment                     what happens by itself, one nanosecond at a time
    advance, drain, clear           the same, driven from outside
    configure                       other rows while running
    sample                          a row of what links, classes and meters did until now

    packet --> meters --> class --> link --> departure
                 |          |         +--> next link
                 over       queue_full, no_memory, codel, pushed_out

It holds no clock of its own: times come in. Pages of queues are asked for and given back through
`request` and `give`. Laws: every packet that came in is sent, dropped or waiting; a line sends
one packet at a time; nothing is rounded but what is reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fwcore.reference.discard import Waiting
from fwcore.reference.link import Link
from fwcore.reference.meter import Account, Meter
from fwcore.reference.queues import FATES, Queues, Request, add
from fwcore.reference.rows import DIRECTIONS, Arrival, Declared, Session, ShapingRow
from fwcore.reference.table import GOLDEN, splitmix64
from fwcore.reference.tree import Class
from fwcore.reference.words import MASK64, SECOND

NO_MARK = 255
BLOCK_ROWS = 64
KEYS = [splitmix64(number * GOLDEN) for number in range(1, 4 * BLOCK_ROWS + 1)]


@dataclass
class Shaped:
    """A session under its row. `held`: what it took, way by way, in the row's order.

    `links`: the identity of each way's link, None where there is none.
    """

    session: Session
    row: ShapingRow
    handle: int
    held: dict[str, list[tuple[Meter, object, Account]]] = field(default_factory=dict)
    links: dict[str, object] = field(default_factory=dict)


class Judged(NamedTuple):
    """What became of a packet at arrival. `reason` "": it passed."""

    reason: str
    link: int | None = None
    cls: int | None = None
    dscp: int | None = None


class Shaper(Queues):
    """All meters and links of a firewall."""

    def __init__(
        self, declared: Declared, request: Request | None = None,
        give: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(declared, request, give)
        self.meters = {row.name: Meter(row) for row in declared.meters}
        self.unshaped = {"packets": 0, "bytes": 0}
        self.handles = 0
        self.samples: list[dict[str, Any]] = []

    # -- Sessions --

    def row_of(self, session: Session) -> ShapingRow | None:
        """The first row that matches; None: unshaped."""
        return next((row for row in self.declared.rows if row.matches(session)), None)

    def admits(self, row: ShapingRow | None, session: Session) -> bool:
        """Whether the limits of sessions of the row's meters let a new one in."""
        names = (*row.meters, *row.reply_meters) if row else ()
        return all(self.meters[name].admits(session, row.id)
                   for name in names if row and name in self.meters)

    def begin(self, row: ShapingRow | None, session: Session) -> Shaped | None:
        """A session is made: it takes its buckets, the forward way's first."""
        if row is None:
            return None
        self.handles += 1
        shaped = Shaped(session, row, self.handles)
        for direction in DIRECTIONS:
            link = self.links.get(row.direction(direction)[1])
            shaped.links[direction] = link.identity if link else None
            shaped.held[direction] = []
            for name in row.direction(direction)[0]:
                if name in self.meters:
                    meter = self.meters[name]
                    key = meter.key_of(session, row.id, direction)
                    account = meter.take(key, shaped.handle, session.protocol)
                    shaped.held[direction].append((meter, key, account))
        return shaped

    def end(self, shaped: Shaped | None) -> None:
        """A session ends: its buckets may be forgotten; what it has in queues still leaves."""
        if shaped:
            for direction in DIRECTIONS:
                for meter, key, account in shaped.held[direction]:
                    meter.leave(key, account, shaped.handle)

    # -- A packet --

    def arrive(
        self, arrival: Arrival, shaped: Shaped | None, direction: str = "forward",
        metered: bool = True,
    ) -> Judged:
        """Judge a packet that the firewall let pass; all that is due before it happens first.

        `metered` is False for ICMP errors, which meet their session's class but no meter.
        """
        self.advance(arrival.time_ns)
        if shaped is None:
            self.beside(arrival)
            return Judged("")
        verdict, dscp, cls = (
            self.meter(arrival, shaped, direction) if metered else (True, None, None))
        if not verdict:
            return Judged("over_limit")
        _, name, default = shaped.row.direction(direction)
        link = self.links.get(name)
        if link is None or link.identity is not shaped.links[direction]:
            if self.gone(shaped, direction, metered):
                self.beside(arrival)
            return Judged("", dscp=dscp)
        if cls is None:
            by_dscp = shaped.row.by_dscp(direction) if metered else {}
            cls = by_dscp.get(arrival.dscp, default)
        leaf = link.leaf(cls)
        packet = self.waiting(arrival, link, leaf, shaped.session, direction, dscp)
        reason = self.enqueue(link, leaf, packet, shaped.handle)
        return Judged(reason, link.number, leaf.row.id, dscp)

    def beside(self, arrival: Arrival) -> None:
        """A packet meets no meter and no link."""
        self.unshaped["packets"] += 1
        self.unshaped["bytes"] += arrival.frame

    def gone(self, shaped: Shaped, direction: str, metered: bool) -> bool:
        """Whether all that a way of a session without a link named has gone away since."""
        held = [meter for meter, _, _ in shaped.held[direction]] if metered else []
        if any(self.meters.get(meter.row.name) is meter for meter in held):
            return False
        return bool(held or shaped.row.direction(direction)[1])

    def meter(
        self, arrival: Arrival, shaped: Shaped, direction: str
    ) -> tuple[bool, int | None, int | None]:
        """Ask all meters of a way, then debit; whether it passes, its mark and its class."""
        held = [(meter, account) for meter, _, account in shaped.held[direction]
                if self.meters.get(meter.row.name) is meter]
        asked = []
        for meter, account in held:
            colour = account.colour(self.now, meter.things(arrival))
            asked.append((meter, account, colour))
            if colour == len(meter.row.rungs) and meter.row.over == "drop":
                add(meter.dropped, meter.size(arrival))
                meter.by_colour[colour] += 1
                return False, None, None
        marks: list[int | None] = []
        classes: list[int | None] = []
        done: set[int] = set()
        for meter, account, colour in asked:
            add(meter.passed, meter.size(arrival))
            meter.by_colour[colour] += 1
            if colour == len(meter.row.rungs):
                marks.append(None)
                classes.append(meter.row.over_class if meter.row.over == "class" else None)
                continue
            marks.append(meter.row.rungs[colour].dscp)
            classes.append(meter.row.rungs[colour].cls)
            if id(account) not in done:
                meter.charge(account, self.now, meter.things(arrival), colour)
            done.add(id(account))
        return True, first(marks), first(classes)

    # -- Change --

    def configure(self, declared: Declared) -> None:
        """Other rows; levels and queues stay as far as they fit."""
        meters = {}
        for meter in declared.meters:
            old = self.meters.get(meter.name)
            kept = old is not None and old.reconfigure(meter, self.now)
            meters[meter.name] = old if old is not None and kept else Meter(meter)
            for sample in () if kept else self.samples:
                sample["meters"].pop(meter.name, None)
        self.meters = meters
        for name in [name for name in self.links if name not in {r.name for r in declared.links}]:
            self.clear_link(self.links[name])
            del self.links[name]
        self.plant(declared)
        before, self.links = self.links, {}
        for number, row in enumerate(declared.links):
            self.links[row.name] = self.make_link(row, number)
            if row.name in before:
                self.replant(before[row.name], self.links[row.name])
        self.keep_samples()
        for link in sorted(self.links.values(), key=lambda link: self.distance[link.row.name]):
            link.serve(self.now, (self.now, 0))

    def keep_samples(self) -> None:
        """Rows of what there still is; what is new was at 0 until now."""
        classes = [f"{link.row.name}:{number}" for link in self.links.values()
                   for number in link.classes]
        for kind, names, words in (("links", self.links, 3), ("classes", classes, 4),
                                   ("meters", self.meters, 2)):
            for sample in self.samples:
                sample[kind] = {name: sample[kind].get(name, (0,) * words) for name in names}

    def replant(self, old: Link, new: Link) -> None:
        """A link under new rows takes over the line, the levels, the turns and the queues."""
        new.turns = {(parent, priority): at for (parent, priority), at in old.turns.items()
                     if not parent or parent in new.classes}
        for name in ("identity", "line", "rows", "queued", "queued_bytes", "pages", "packets",
                     "bytes", "line_bytes", "busy", "peak", "former", "first_ns", "last_end",
                     "overlaps", "taken", "crest"):
            setattr(new, name, getattr(old, name))
        packets = []
        for leaf in old.leaves():
            there = new.classes.get(leaf.row.id)
            for packet in leaf.everything():
                if there is None or there.children:
                    self.cleared(new, leaf, packet)
                else:
                    packets.append((packet, leaf))
        for node in old.classes.values():
            if node.row.id in new.classes:
                adopt(node, new.classes[node.row.id], self.now)
            else:
                new.former.append(node)
        if new.line:
            keep = new.line.leaf
            if old.classes.get(keep.row.id) is keep:
                keep = new.classes.get(keep.row.id, keep)
            new.line = new.line._replace(leaf=keep)
        for packet, leaf in sorted(packets, key=lambda row: row[0].order):
            self.put_back(new, new.classes[packet.cls], packet, leaf)
        for leaf in new.leaves():
            while leaf.over():
                self.dropped(new, leaf, leaf.push_out(self.now), "pushed_out", self.now)

    def put_back(self, link: Link, leaf: Class, packet: Waiting, before: Class) -> None:
        """A packet that waited goes on waiting, unless it never could leave."""
        if leaf.giant(packet.size):
            leaf.giants += 1
            self.dropped(link, leaf, packet, "pushed_out", self.now)
            return
        fresh = self.waiting(
            packet.arrival, link, leaf, packet.session, packet.direction, packet.dscp)
        if leaf.shares and before.shares:
            share = leaf.shares.get(fresh.share)
            if share.codel and not share.fifo:  # it goes on where that of its first packet stood
                share.codel.take_over(before.shares.get(packet.share).codel)
        leaf.put(packet._replace(share=fresh.share))

    # -- Over time --

    def sample(self) -> None:
        """Keep a row: sums until now, and what was most since the row before."""
        links = list(self.links.values())
        self.samples.append({
            "time_ns": self.now,
            "links": {link.row.name: (link.bytes, link.taken_until(self.now), link.crest)
                      for link in links},
            "classes": {f"{link.row.name}:{leaf.row.id}": (
                leaf.sent["packets"], sum(leaf.dropped.values()), leaf.crest, leaf.slowest)
                for link in links for leaf in link.classes.values()},
            "meters": {m.row.name: (m.passed["packets"], m.dropped["packets"])
                       for m in self.meters.values()}})
        for link in links:
            link.crest = link.queued_bytes
            for leaf in link.classes.values():
                leaf.crest, leaf.slowest = leaf.waiting_bytes, 0

    # -- Counters --

    def digest(self) -> bytes:
        """Of all departures, each a row of four words."""
        return rows_digest([(
            row.packet, row.time_ns, row.link | row.cls << 16,
            FATES.index(row.fate) | (NO_MARK if row.dscp is None else row.dscp) << 8)
            for row in self.departures])

    def counters(self) -> dict[str, Any]:
        """What comes out, by meter, link and class."""
        links = list(self.links.values())
        return {
            "unshaped": dict(self.unshaped),
            "pages": self.pages,
            "meters": {m.row.name: {
                "keys": len(m.accounts), "passed": dict(m.passed), "dropped": dict(m.dropped),
                "by_colour": list(m.by_colour), "keys_forgotten": m.keys_forgotten,
                "keys_shared": m.keys_shared} for m in self.meters.values()},
            "links": {link.row.name: {
                "packets": link.packets, "bytes": link.bytes, "busy_ns": link.busy_ns,
                "queue_peak": dict(link.peak), "pages": link.pages} for link in links},
            "classes": {f"{link.row.name}:{leaf.row.id}": {
                **leaf.sent, "dropped": dict(leaf.dropped), "borrowed": leaf.borrowed,
                "giants": leaf.giants, "waiting": leaf.waiting,
                "delay_max": max(leaf.delays, default=0)}
                for link in links for leaf in link.classes.values()},
        }

    def laws(self) -> dict[str, bool]:
        """What holds at every moment, each from two sources."""
        links = list(self.links.values())
        return {
            "shaped_accounted": all(map(accounted, links)),
            "queue_pages": all(link.pages == self.pages_for(held_bytes(link)) for link in links)
            and self.pages == sum(link.pages for link in links),
            "link_busy": all(sum(link.busy.values()) == link.line_bytes * 8 * SECOND
                             for link in links),
            "link_serial": all(link.serial for link in links),
            "meter_bound": all(meter.bounded(self.now) for meter in self.meters.values()),
        }


def accounted(link: Link) -> bool:
    """Arrivals = left + dropped + cleared + waiting, in packets and bytes, for each class."""
    for leaf in (*link.classes.values(), *link.former):
        line = link.line if link.line and link.line.leaf is leaf else None
        waiting = leaf.everything_waiting()
        packets = leaf.sent["packets"] + sum(leaf.dropped.values()) + leaf.cleared["packets"]
        size = leaf.sent["bytes"] + leaf.dropped_bytes + leaf.cleared["bytes"]
        packets += len(waiting) + bool(line)
        size += sum(packet.size for packet in waiting) + (line.packet.size if line else 0)
        if leaf.arrived != {"packets": packets, "bytes": size}:
            return False
    return True


def held_bytes(link: Link) -> int:
    """Bytes that a link really holds: those that wait and the packet on the line."""
    waiting = sum(packet.size for leaf in link.classes.values()
                  for packet in leaf.everything_waiting())
    return waiting + (link.line.packet.size if link.line else 0)


def adopt(old: Class, new: Class, now: int) -> None:
    """A class under a new row keeps its levels, deficits and counters."""
    for name in ("guarantee", "ceiling"):
        before, after = getattr(old, name), getattr(new, name)
        if before and after:
            after.take_over(before, now)
    if new.codel:
        new.codel.take_over(old.codel)
    for name in ("deficit", "largest", "arrived", "sent", "dropped", "dropped_bytes", "cleared",
                 "giants", "borrowed", "delays", "crest", "slowest"):
        setattr(new, name, getattr(old, name))


def first(values: list[int | None]) -> int | None:
    """The first that says something."""
    return next((value for value in values if value is not None), None)


def rows_digest(rows: list[tuple[int, int, int, int]]) -> bytes:
    """BLAKE2b of what blocks of 64 rows come to by NH (UMAC, 1999), and of their count: 16 bytes.

    A block is the sum of (a + k0) * (b + k1) + (c + k2) * (d + k3) modulo 2**128, each sum in
    brackets modulo 2**64; the keys are splitmix64's from 0 on. The last block may be empty.
    """
    sums = [0] * (len(rows) // BLOCK_ROWS + 1)
    for number, (a, b, c, d) in enumerate(rows):
        k = KEYS[4 * (number % BLOCK_ROWS):]
        sums[number // BLOCK_ROWS] += (
            (a + k[0] & MASK64) * (b + k[1] & MASK64) + (c + k[2] & MASK64) * (d + k[3] & MASK64))
    text = b"".join((total % 2**128).to_bytes(16, "little") for total in sums)
    return hashlib.blake2b(text + len(rows).to_bytes(8, "little"), digest_size=16).digest()
