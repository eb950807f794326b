"""Links: out of where, and who next. The order of service is that of Linux' sch_htb.c [R].

    Link            a line, one packet at a time, and the tree that is served
     +- Class       colour by two buckets: red (ceiling), green (guarantee), else yellow
         +- leaf    a queue: a Fifo or Shares, with one way to discard

A waiting leaf may send when it is green, or when it is yellow and all above it are up to the
first green one, its lender; above all stands the link, which always lends. Green leaves go
first, then the leaves of the deepest lenders; within that by priority, then in turn.

A pointer of a row of lenders or of green leaves stands on a member or on nothing: when its
member goes, it moves to the next one. Where the leaves of one parent take turns it is an id that
need not be there: the next one at or above it is meant, and past the last one the turn is the
first one's again and the pointer one step up moves on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fwcore.reference.discard import Waiting
from fwcore.reference.rows import ClassRow, LinkRow
from fwcore.reference.tree import OWN, Class, above, lender_of
from fwcore.reference.words import SECOND


class Line(NamedTuple):
    """The packet on the line and when its last bit has left: whole + rest / rate."""

    packet: Waiting
    leaf: Class
    rate: int
    start: tuple[int, int]  # whole and rest
    whole: int
    rest: int

    @property
    def parts(self) -> int:
        """How long the line is taken, in 1 / rate ns."""
        return (self.whole - self.start[0]) * self.rate + self.rest - self.start[1]

    @property
    def end(self) -> int:
        """The first whole nanosecond not before the exact end."""
        return self.whole + bool(self.rest)


class Link:
    """A line and its tree. `release` is told each packet that left, `drop` each that CoDel took."""

    def __init__(
        self, row: LinkRow, number: int,
        release: Callable[[Link, Class, Waiting, int], None],
        drop: Callable[[Link, Class, Waiting, str, int], None],
    ) -> None:
        self.row = row
        self.number = number
        self.identity = object()  # kept under new rows; one that comes back has another
        self.release = release
        self.drop = drop
        self.classes: dict[int, Class] = {}
        self.former: list[Class] = []  # those that went away
        self.line: Line | None = None
        self.rows: dict[tuple[int, int], int | None] = {}  # (order, priority) -> id
        self.turns: dict[tuple[int, int], int | None] = {}  # (parent id, priority) -> id
        self.queued_bytes = 0
        self.queued = 0
        self.pages = 0
        self.packets = 0
        self.bytes = 0
        self.line_bytes = 0  # of those that were on the line
        self.busy: dict[int, int] = {}  # by rate: time taken until now, in 1 / rate ns
        self.peak = {"packets": 0, "bytes": 0}
        self.taken = 0  # ns of transmissions that ended, each rounded down
        self.crest = 0  # most queued bytes since the last sample
        self.first_ns: int | None = None  # when the first transmission began
        self.last_end = (0, 0)
        self.overlaps = 0  # transmissions that began before the one before had ended

    def plant(self, rows: list[ClassRow], seed: int) -> None:
        """Make the tree."""
        self.classes = {row.id: Class(row, seed) for row in rows}
        for row in rows:
            node = self.classes[row.id]
            if row.parent:
                node.parent = self.classes[row.parent]
                node.parent.children.append(node)

    def leaves(self) -> list[Class]:
        """Leaves by ascending id."""
        return [self.classes[i] for i in sorted(self.classes) if not self.classes[i].children]

    def leaf(self, wanted: int | None) -> Class:
        """The leaf of an id, else the one with the lowest."""
        node = self.classes.get(wanted) if wanted is not None else None
        return node if node is not None and not node.children else self.leaves()[0]

    @property
    def busy_ns(self) -> int:
        """How long the line has been taken, rounded down."""
        return sum(parts // rate for rate, parts in self.busy.items())

    def taken_until(self, now: int) -> int:
        """The same with the transmission that goes on; a busy time may lose part of a ns."""
        return self.taken + (now - self.line.start[0] if self.line else 0)

    @property
    def serial(self) -> bool:
        """Whether one packet at a time was sent; all fit between the first and the last."""
        span = self.last_end[0] + 1 - (self.first_ns or 0)
        return not self.overlaps and self.busy_ns <= max(0, span)

    # -- moments --

    def due(self, now: int) -> int | None:
        """The next moment at which something happens here by itself."""
        if self.line:
            return self.line.end
        times = [time for leaf in self.leaves() if (time := leaf.due(now)) is not None]
        return min(times, default=None)

    def moment(self, now: int) -> None:
        """What is due: the transmission that ends, ends; then it is served."""
        exact = (now, 0)
        if self.line:
            if self.line.end > now:
                return
            line, self.line = self.line, None
            self.line_bytes += line.packet.size
            self.last_end = (line.whole, line.rest)
            self.taken += line.whole - line.start[0]
            self.busy[line.rate] = self.busy.get(line.rate, 0) + line.parts
            if line.rate == self.row.rate:  # a changed rate begins at a whole nanosecond
                exact = (line.whole, line.rest)
            self.left(line.packet, line.leaf, now)
        self.serve(now, exact)

    def serve(self, now: int, start: tuple[int, int]) -> None:
        """Give out the line, or let leave what may where there is none."""
        while self.line is None and (chosen := self.choose(now)) is not None:
            leaf, lender, parent_turn = chosen
            packet = leaf.take(now, self.dropper(leaf, now))
            if packet is None:
                continue
            self.turn(leaf, lender, packet.size, parent_turn)
            leaf.charge(now, packet.size, lender)
            self.mend_rows(self.lenders(now))
            self.begin(packet, leaf, now, start)

    def free_for(self, leaf: Class, size: int, now: int) -> bool:
        """Whether a packet that comes to a leaf without a queue may leave at once."""
        return self.line is None and lender_of(leaf, now, size) is not None

    def dropper(self, leaf: Class, now: int) -> Callable[[Waiting], None]:
        """What CoDel calls for a packet that it drops."""
        def drop(packet: Waiting) -> None:
            leaf.gone(packet)
            self.drop(self, leaf, packet, "codel", now)
        return drop

    def begin(self, packet: Waiting, leaf: Class, now: int, start: tuple[int, int]) -> None:
        """Begin a transmission at an exact time; without a line it is over at once."""
        if not self.row.rate:
            self.left(packet, leaf, now)
            return
        self.first_ns = start[0] if self.first_ns is None else self.first_ns
        self.overlaps += start < self.last_end
        whole, rest = divmod(start[1] + packet.size * 8 * SECOND, self.row.rate)
        self.line = Line(packet, leaf, self.row.rate, start, start[0] + whole, rest)

    def left(self, packet: Waiting, leaf: Class, now: int) -> None:
        """A packet has left this link."""
        self.packets += 1
        self.bytes += packet.size
        leaf.sent["packets"] += 1
        leaf.sent["bytes"] += packet.size
        leaf.delays.append(now - packet.time_ns)
        leaf.slowest = max(leaf.slowest, now - packet.time_ns)
        self.release(self, leaf, packet, now)

    # -- the order of service --

    def lenders(self, now: int) -> dict[int, int]:
        """The order of each leaf that may send now: OWN, or the depth of its lender."""
        found = {}
        for leaf in self.leaves():
            if leaf.active(now) and (order := lender_of(leaf, now)) is not None:
                found[leaf.row.id] = order
        return found

    def members(self, lenders: dict[int, int], order: int, priority: int) -> list[int]:
        """Ids of a row: green leaves, or classes that lend at one depth; the link is 0."""
        ids = set()
        for leaf_id, its in lenders.items():
            leaf = self.classes[leaf_id]
            if its == order and leaf.row.priority == priority:
                ids.add(leaf_id if order == OWN else above(leaf, order))
        return sorted(ids)

    def feed(self, lenders: dict[int, int], order: int, priority: int, parent: int) -> list[int]:
        """Ids of those below a class through which its lending goes."""
        ids = set()
        for leaf_id, its in lenders.items():
            leaf = self.classes[leaf_id]
            if its == order and leaf.row.priority == priority:
                for node in leaf.lineage():
                    if node.depth > order and node.row.parent == parent:
                        ids.add(node.row.id)
        return sorted(ids)

    def mend_rows(self, lenders: dict[int, int]) -> None:
        """A pointer whose member went away moves to the next one, or to nothing."""
        for (order, priority), at in self.rows.items():
            if at is not None:
                members = self.members(lenders, order, priority)
                if at not in members:
                    self.rows[order, priority] = following(members, at)

    def choose(self, now: int) -> tuple[Class, int, int | None] | None:
        """The leaf that is served, its order, and who stands after it in its turn."""
        lenders = self.lenders(now)
        self.mend_rows(lenders)
        if not lenders:
            return None
        order = max(lenders.values())
        priority = min(self.classes[i].row.priority for i in lenders if lenders[i] == order)
        row = self.members(lenders, order, priority)
        if self.rows.get((order, priority)) is None:
            self.rows[order, priority] = row[0]
        if order == OWN:
            at = self.rows[order, priority]
            assert at is not None
            return self.classes[at], order, following(row, at)
        leaf = self.descend(lenders, order, priority, row)
        feed = self.feed(lenders, order, priority, leaf.row.parent)
        return leaf, order, following(feed, leaf.row.id)

    def descend(
        self, lenders: dict[int, int], order: int, priority: int, row: list[int]
    ) -> Class:
        """Follow the turns from a row of lenders down to a leaf."""
        path: list[int] = []  # parents whose turn is looked at, the lender first
        while True:
            if not path:
                at = self.rows[order, priority]
                at = row[0] if at is None else at
                self.rows[order, priority] = at
            else:
                feed = self.feed(lenders, order, priority, path[-1])
                turn = self.turns.get((path[-1], priority))
                at = None if turn is None else next((i for i in feed if i >= turn), None)
                self.turns[path[-1], priority] = feed[0] if at is None else at
                if at is None:
                    path.pop()
                    self.step(lenders, order, priority, row, path)
                    continue
            if at and not self.classes[at].children:
                return self.classes[at]
            path.append(at)

    def step(
        self, lenders: dict[int, int], order: int, priority: int, row: list[int],
        path: list[int],
    ) -> None:
        """Move the pointer one step up from where the turn began anew."""
        if not path:
            at = self.rows[order, priority]
            assert at is not None
            self.rows[order, priority] = following(row, at)
            return
        turn = self.turns[path[-1], priority]
        assert turn is not None
        feed = self.feed(lenders, order, priority, path[-1])
        self.turns[path[-1], priority] = following(feed, turn)

    def turn(self, leaf: Class, lender: int, size: int, after: int | None) -> None:
        """A send takes its bytes off the deficit; below 0 it is the next one's turn."""
        deficit = leaf.deficit.get(lender, 0) - size
        if deficit < 0:
            deficit += leaf.row.quantum
            if lender == OWN:
                self.rows[lender, leaf.row.priority] = after
            else:
                self.turns[leaf.row.parent, leaf.row.priority] = after
        leaf.deficit[lender] = deficit


def following(ids: list[int], at: int) -> int | None:
    """The next id above one."""
    return next((i for i in ids if i > at), None)
