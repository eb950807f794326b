"""Ways to discard: tail by limits (in the class), RED at arrival, CoDel at departure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import NamedTuple

from fwcore.reference.rows import Arrival, ClassRow, Session
from fwcore.reference.table import GOLDEN, splitmix64

CE = 64  # a mark: congestion experienced, beside the DSCP that is added
CE_ALONE = 128


class Waiting(NamedTuple):
    """A packet in a queue."""

    arrival: Arrival
    size: int  # bytes as the link counts
    time_ns: int  # when it came to this link
    order: int  # of its coming, over all links
    dscp: int | None  # what it was marked with: a DSCP, CE + a DSCP, CE_ALONE
    cls: int  # the class it was put into
    share: int  # its sub-queue
    session: Session
    direction: str


class Fifo:
    """Packets in the order of their coming, and their bytes."""

    def __init__(self) -> None:
        self.packets: deque[Waiting] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.packets)

    def put(self, packet: Waiting) -> None:
        """At the tail."""
        self.packets.append(packet)
        self.bytes += packet.size

    def take(self, tail: bool = False) -> Waiting:
        """From the head, or from the tail."""
        packet = self.packets.pop() if tail else self.packets.popleft()
        self.bytes -= packet.size
        return packet


def red_drops(row: ClassRow, waiting: int, seed: int, packet: int, link: int) -> bool:
    """Whether RED refuses a packet before which so many wait in its class."""
    if waiting < row.red_min:
        return False
    if waiting >= row.red_max:
        return True
    chance = splitmix64(seed + (packet * 65536 + link) * GOLDEN) >> 32
    span = row.red_max - row.red_min
    return chance * 100 * span < row.red_probability * (waiting - row.red_min) * 2**32


@dataclass
class Codel:
    """The state of RFC 8289 for one queue; times of 0 mean "not set"."""

    target: int
    interval: int
    ecn: bool
    first_above: int = 0
    drop_next: int = 0
    count: int = 0
    last_count: int = 0
    dropping: bool = False

    def take_over(self, old: Codel | None) -> None:
        """Go on where another one, of a former row, stands."""
        if old:
            self.first_above, self.drop_next = old.first_above, old.drop_next
            self.count, self.last_count, self.dropping = old.count, old.last_count, old.dropping

    def law(self, time: int) -> int:
        """The time of the next drop: interval / sqrt(count) later, rounded down."""
        return time + isqrt(self.interval**2 // self.count)

    def look(self, fifo: Fifo, now: int, largest: int) -> tuple[Waiting | None, bool]:
        """Take the head; whether it may be dropped: above target for an interval."""
        if not fifo:
            self.first_above = 0
            return None, False
        packet = fifo.take()
        if now - packet.time_ns < self.target or fifo.bytes <= largest:
            self.first_above = 0
        elif not self.first_above:
            self.first_above = now + self.interval
        elif now >= self.first_above:
            return packet, True
        return packet, False

    def marked(self, packet: Waiting | None) -> Waiting | None:
        """The packet with a mark that tells of congestion instead of a drop [R: Linux], or None."""
        if not self.ecn or packet is None or not packet.arrival.ect:
            return None
        if packet.dscp is None:
            return packet._replace(dscp=CE_ALONE)
        return packet if packet.dscp == CE_ALONE else packet._replace(dscp=packet.dscp | CE)

    def take(
        self, fifo: Fifo, now: int, largest: int, drop: Callable[[Waiting], None]
    ) -> Waiting | None:
        """The packet to send, after dropping what is due; None: nothing is left."""
        packet, over = self.look(fifo, now, largest)
        if not self.dropping:
            return self.enter(fifo, now, largest, drop, packet) if over else packet
        self.dropping = over
        while self.dropping and now >= self.drop_next:
            self.count += 1
            if told := self.marked(packet):
                packet = told
                self.drop_next = self.law(self.drop_next)
                break
            assert packet is not None
            drop(packet)
            packet, self.dropping = self.look(fifo, now, largest)
            if self.dropping:
                self.drop_next = self.law(self.drop_next)
        return packet

    def enter(
        self, fifo: Fifo, now: int, largest: int, drop: Callable[[Waiting], None],
        packet: Waiting | None,
    ) -> Waiting | None:
        """Begin to drop; soon after the last time the rate of drops goes on where it was."""
        told = self.marked(packet)
        if not told:
            assert packet is not None
            drop(packet)
            told, _ = self.look(fifo, now, largest)
        self.dropping = True
        delta = self.count - self.last_count
        recent = now - self.drop_next < 16 * self.interval
        self.count = self.last_count = delta if delta > 1 and recent else 1
        self.drop_next = self.law(now)
        return told
