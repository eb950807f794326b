"""The tree of a link: classes, their colours, and the queue of a leaf.

    red     its ceiling stops it
    green   it has of its own guarantee
    yellow  else: it may borrow from the first green one above, where nothing red is on the way
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fwcore.reference.discard import Codel, Fifo, Waiting
from fwcore.reference.meter import Bucket
from fwcore.reference.rows import ClassRow
from fwcore.reference.shares import Shares
from fwcore.reference.words import SECOND

OWN = 1000
"""Order of a leaf that is green itself: before every depth of lending."""
DEBT_NS = 60 * SECOND
"""A class is never in debt of more time than this [R: sch_htb's mbuffer]."""
DROPS = ("tail", "red", "codel", "pushed_out", "no_memory")


class Class:
    """A node of the tree. A leaf has a queue."""

    def __init__(self, row: ClassRow, seed: int) -> None:
        self.row = row
        self.parent: Class | None = None
        self.children: list[Class] = []
        self.guarantee = bucket_of(row.guarantee, row.guarantee_burst)
        self.ceiling = bucket_of(row.ceiling, row.ceiling_burst)
        self.deficit: dict[int, int] = {}
        self.queue = Fifo()
        self.shares = Shares(row, seed) if row.share != "none" else None
        self.codel = Codel(row.target_ns, row.interval_ns, row.ecn) \
            if row.discard == "codel" and row.share == "none" else None
        self.waiting = 0
        self.waiting_bytes = 0
        self.largest = 0
        self.arrived = {"packets": 0, "bytes": 0}
        self.sent = {"packets": 0, "bytes": 0}
        self.dropped = dict.fromkeys(DROPS, 0)
        self.dropped_bytes = 0
        self.cleared = {"packets": 0, "bytes": 0}
        self.giants = 0
        self.borrowed = 0
        self.delays: list[int] = []
        self.crest = 0    # most waiting bytes since the last sample
        self.slowest = 0  # longest delay since then

    @property
    def depth(self) -> int:
        """Steps below the link."""
        return 1 if self.parent is None else self.parent.depth + 1

    def lineage(self) -> Iterator[Class]:
        """This class and all above it."""
        node: Class | None = self
        while node is not None:
            yield node
            node = node.parent

    @property
    def need(self) -> str:
        """What its buckets ask; with shares it is they that may need the whole packet."""
        return "level" if self.shares else self.row.need

    # -- colours --

    def red(self, now: int, size: int) -> bool:
        """Its ceiling stops it."""
        return self.ceiling is not None and not self.ceiling.allows(now, self.need, size)

    def green(self, now: int, size: int) -> bool:
        """It has of its own."""
        return self.guarantee is not None and self.guarantee.allows(now, self.need, size)

    def earliest(self, now: int, size: int) -> int | None:
        """The first nanosecond from now on at which it lets such a packet pass; None: never."""
        unstopped = self.ceiling.ready(now, self.need, size) if self.ceiling else now
        if unstopped is None:
            return None
        own = self.guarantee.ready(now, self.need, size) if self.guarantee else None
        lent = self.parent.earliest(now, size) if self.parent else now
        ways = [time for time in (own, lent) if time is not None]
        return max(unstopped, min(ways)) if ways else None

    def ever(self, size: int) -> bool:
        """Whether full buckets would let such a packet pass."""
        def holds(bucket: Bucket) -> bool:
            return bucket.want(self.need, size) <= bucket.depth

        if self.ceiling and not holds(self.ceiling):
            return False
        if self.guarantee and holds(self.guarantee):
            return True
        return self.parent.ever(size) if self.parent else True

    def giant(self, size: int) -> bool:
        """A packet that could wait for ever."""
        row = self.row
        if self.shares and row.share_ceiling and row.need == "packet":
            bucket = Bucket(row.share_ceiling, row.share_burst)
            if size * bucket.price > bucket.depth:
                return True
        return not self.ever(size)

    def charge(self, now: int, size: int, lender: int) -> None:
        """Pay for a packet that left: ceilings all the way up, guarantees from the lender on."""
        for node in self.lineage():
            if node.ceiling:
                node.ceiling.charge(now, size)
            if lender == OWN or node.depth <= lender:
                if node.guarantee:
                    node.guarantee.charge(now, size)
            else:
                node.borrowed += 1

    # -- the queue of a leaf --

    def active(self, now: int) -> bool:
        """Whether a packet waits that could be asked for."""
        return self.shares.waiting(now) if self.shares else bool(self.queue)

    def head(self) -> int:
        """Bytes of the packet that would go."""
        lists = (*self.shares.new, *self.shares.old) if self.shares else ()
        fifos = [self.queue, *(share.fifo for share in lists)]
        return next((fifo.packets[0].size for fifo in fifos if fifo), 0)

    def due(self, now: int) -> int | None:
        """When a waiting packet may leave."""
        wakes = (self.shares.wakes(now) if self.shares else now) if self.waiting else None
        allowed = self.earliest(now, self.head())
        return None if wakes is None or allowed is None else max(wakes, allowed)

    def room(self, size: int) -> bool:
        """Whether a packet may come in by the limits."""
        row = self.row
        bytes_fit = not row.limit_bytes or self.waiting_bytes + size <= row.limit_bytes
        return self.waiting + 1 <= row.limit_packets and bytes_fit

    def over(self) -> bool:
        """Whether the limits are passed."""
        row = self.row
        return self.waiting > row.limit_packets or 0 < row.limit_bytes < self.waiting_bytes

    def put(self, packet: Waiting) -> None:
        """At the tail."""
        if self.shares:
            self.shares.put(self.shares.get(packet.share), packet)
        else:
            self.queue.put(packet)
        self.waiting += 1
        self.waiting_bytes += packet.size
        self.crest = max(self.crest, self.waiting_bytes)

    def gone(self, packet: Waiting) -> None:
        """It waits no longer."""
        self.waiting -= 1
        self.waiting_bytes -= packet.size

    def take(self, now: int, drop: Callable[[Waiting], None]) -> Waiting | None:
        """The packet to send; None: CoDel took them all, or none conforms to its share."""
        if self.shares:
            packet = self.shares.take(now, self.largest, drop)
        elif self.codel:
            packet = self.codel.take(self.queue, now, self.largest, drop)
        else:
            packet = self.queue.take()
        if packet:
            self.gone(packet)
        return packet

    def push_out(self, now: int) -> Waiting:
        """Give up a packet: the fattest share's head, else the tail."""
        packet = self.shares.push_out(now) if self.shares else self.queue.take(tail=True)
        self.gone(packet)
        return packet

    def fifos(self) -> list[Fifo]:
        """All queues of this class."""
        return [self.queue, *(share.fifo for share in self.shares.all.values())] \
            if self.shares else [self.queue]

    def everything_waiting(self) -> list[Waiting]:
        """All packets, in order of their coming."""
        packets = [packet for fifo in self.fifos() for packet in fifo.packets]
        return sorted(packets, key=lambda packet: packet.order)

    def everything(self) -> list[Waiting]:
        """Take all packets out, in order of their coming."""
        packets = self.everything_waiting()
        for fifo in self.fifos():
            fifo.packets.clear()
            fifo.bytes = 0
        if self.shares:
            self.shares.empty()
        for packet in packets:
            self.gone(packet)
        return packets


def bucket_of(rate: int, burst: int) -> Bucket | None:
    """The bucket of a class, where it has that rate."""
    return Bucket(rate, burst, debt_ns=DEBT_NS) if rate else None


def lender_of(leaf: Class, now: int, size: int | None = None) -> int | None:
    """Who lets a leaf send its head, or a packet of a size: OWN, the depth of its lender, 0 the
    link; None: nobody."""
    size = leaf.head() if size is None else size
    for node in leaf.lineage():
        if node.red(now, size):
            return None
        if node.green(now, size):
            return OWN if node is leaf else node.depth
    return 0


def above(leaf: Class, depth: int) -> int:
    """The id of the class above a leaf at a depth; 0: the link."""
    return next((node.row.id for node in leaf.lineage() if node.depth == depth), 0)
