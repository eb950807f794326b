"""Shares: the sub-queues of one class, served in turn as RFC 8290 has it.

    new list --> credit > 0: serve --> old list --> ... --> emptied: out
                                          ^
    parked (its own bucket does not conform) --- the first ns it conforms
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from fwcore.reference.discard import Codel, Fifo, Waiting
from fwcore.reference.meter import Bucket
from fwcore.reference.rows import ClassRow
from fwcore.reference.table import splitmix64
from fwcore.reference.words import MASK64

NONE, NEW, OLD, PARKED = range(4)
"""Where a sub-queue stands."""


def address_hash(address: int, seed: int) -> int:
    """64 bits of an address, for those that found every sub-queue taken."""
    return splitmix64(splitmix64(seed ^ address >> 64 & MASK64) ^ address & MASK64)


@dataclass
class Share:
    """One sub-queue."""

    number: int
    codel: Codel | None
    bucket: Bucket | None
    fifo: Fifo = field(default_factory=Fifo)
    credit: int = 0
    place: int = NONE
    address: int | None = None
    since: int = 0  # parked: the moment from which it may conform


class Shares:
    """All sub-queues of a class, made when first used."""

    def __init__(self, row: ClassRow, seed: int) -> None:
        self.row = row
        self.seed = seed
        self.all: dict[int, Share] = {}
        self.new: deque[Share] = deque()
        self.old: deque[Share] = deque()

    # -- which sub-queue --

    def share_of(self, flow: int, address: int, now: int) -> Share:
        """The sub-queue of a packet: by the session's hash, or one for each address."""
        if self.row.share == "flow":
            return self.get(flow * self.row.shares >> 64)
        for share in self.all.values():
            if share.address is not None and self.is_free(share, now):
                share.address = None
        for share in self.all.values():
            if share.address == address:
                return share
        for number in range(self.row.shares):
            share = self.get(number)
            if share.address is None and self.is_free(share, now):
                share.address = address
                return share
        return self.get(address_hash(address, self.seed) * self.row.shares >> 64)

    def is_free(self, share: Share, now: int) -> bool:
        """It holds nothing and its bucket misses nothing."""
        return not share.fifo and (share.bucket is None or share.bucket.full_at(now))

    def get(self, number: int) -> Share:
        """A sub-queue by number."""
        if number not in self.all:
            row = self.row
            codel = Codel(row.target_ns, row.interval_ns, row.ecn) \
                if row.discard == "codel" else None
            bucket = Bucket(row.share_ceiling, row.share_burst) if row.share_ceiling else None
            self.all[number] = Share(number, codel, bucket)
        return self.all[number]

    # -- packets --

    def put(self, share: Share, packet: Waiting) -> None:
        """At the tail of its sub-queue; one in no list begins in the new one."""
        share.fifo.put(packet)
        if share.place == NONE:
            share.place, share.credit = NEW, self.row.quantum
            self.new.append(share)

    def fattest(self) -> Share:
        """The sub-queue with most bytes; ties: the lowest number."""
        return min(self.all.values(), key=lambda share: (-share.fifo.bytes, share.number))

    def push_out(self, now: int) -> Waiting:
        """Drop from the head of the fattest."""
        share = self.fattest()
        packet = share.fifo.take()
        if share.place == PARKED:
            share.since = now
            if not share.fifo:
                share.place = NONE
        return packet

    def empty(self) -> None:
        """Its packets were taken out: what was parked waits for nothing."""
        for share in self.all.values():
            if share.place == PARKED:
                share.place = NONE

    # -- service --

    def ready(self, share: Share, now: int) -> int:
        """The first nanosecond at which a sub-queue's head conforms to its bucket."""
        if share.bucket is None:
            return now
        time = share.bucket.ready(now, self.row.need, share.fifo.packets[0].size)
        assert time is not None  # giants never came in
        return time

    def unpark(self, now: int) -> None:
        """What conforms again goes to the end of the old list, by time and number."""
        due = []
        for share in self.all.values():
            if share.place == PARKED:
                assert share.bucket is not None
                since = max(share.since, share.bucket.time)
                if (time := self.ready(share, since)) <= now:
                    due.append((time, share.number, share))
        for _, _, share in sorted(due, key=lambda row: row[:2]):
            share.place = OLD
            self.old.append(share)

    def waiting(self, now: int) -> bool:
        """Whether a list holds a packet."""
        self.unpark(now)
        return any(share.fifo for share in (*self.new, *self.old))

    def wakes(self, now: int) -> int | None:
        """When a list will hold a packet; None: there is none."""
        times = [now if share.place != PARKED else self.ready(share, now)
                 for share in self.all.values() if share.fifo]
        return min(times, default=None)

    def take(
        self, now: int, largest: int, drop: Callable[[Waiting], None]
    ) -> Waiting | None:
        """The packet whose turn it is; None when no list holds one any more."""
        self.unpark(now)
        while self.new or self.old:
            here = self.new or self.old
            share = here[0]
            if share.fifo and self.ready(share, now) > now:
                here.popleft()
                share.place, share.since = PARKED, now
            elif share.credit <= 0:
                share.credit += self.row.quantum
                self.rotate(here)
            elif packet := self.serve(share, now, largest, drop):
                share.credit -= packet.size
                return packet
            elif here is self.new:
                self.rotate(here)
            else:
                here.popleft().place = NONE
        return None

    def rotate(self, here: deque[Share]) -> None:
        """From the head of a list to the end of the old one."""
        share = here.popleft()
        share.place = OLD
        self.old.append(share)

    def serve(
        self, share: Share, now: int, largest: int, drop: Callable[[Waiting], None]
    ) -> Waiting | None:
        """The head of one sub-queue, by its CoDel; its bucket is charged."""
        if share.codel:
            packet = share.codel.take(share.fifo, now, largest, drop)
        else:
            packet = share.fifo.take() if share.fifo else None
        if packet and share.bucket:
            share.bucket.charge(now, packet.size)
        return packet
