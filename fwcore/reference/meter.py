"""Meters: how fast. Exact integers only.

    Bucket      a level that fills with time and is debited by packets
    Account     the buckets of one key, one for each rung, and who holds them
    Meter       a row, its accounts by key, and its counters

The unit of a level is g nanobits, g = gcd(rate, 10^9): a nanosecond brings rate / g units and a
bit costs 10^9 / g. Nothing is ever rounded.
"""

from __future__ import annotations

from math import gcd

from fwcore.reference.rows import Arrival, MeterRow, Session
from fwcore.reference.words import SECOND

UNITS_MAX = 2**61
"""A deeper bucket is refused, so that the fast path's 64 bits always hold a level."""


class Bucket:
    """A level that fills at a rate up to its depth, and never stands below a debt; full when new.
    """

    def __init__(
        self, rate: int, depth: int, bits: int = 8, unit_rate: int = 0,
        debt_ns: int | None = None,
    ) -> None:
        """`depth` in things of `bits` bits; `unit_rate` gives the unit to a bucket of rate 0;
        `debt_ns` of its rate is the deepest debt."""
        g = gcd(rate or unit_rate, SECOND)
        self.g = g
        self.rate = rate
        self.fill = rate // g
        self.price = bits * (SECOND // g)
        self.depth = depth * self.price
        if self.depth > UNITS_MAX:
            raise ValueError(f"depth {depth} at rate {rate} is above 2^61 units of {g} nanobits")
        self.debt = UNITS_MAX if debt_ns is None else min(debt_ns * self.fill, UNITS_MAX)
        self.level = self.depth
        self.time = 0

    def at(self, now: int) -> int:
        """The level at a time not before the last one."""
        return min(self.depth, self.level + self.fill * (now - self.time))

    def settle(self, now: int) -> None:
        """Fill up to now."""
        self.level, self.time = self.at(now), now

    def charge(self, now: int, things: int) -> None:
        """Fill, then debit."""
        self.settle(now)
        self.level = max(self.level - things * self.price, -self.debt)

    def allows(self, now: int, need: str, things: int) -> bool:
        """Whether a packet conforms: equality does."""
        return self.at(now) >= self.want(need, things)

    def want(self, need: str, things: int) -> int:
        """The level that a packet needs."""
        return things * self.price if need == "packet" else 0

    def ready(self, now: int, need: str, things: int) -> int | None:
        """The first nanosecond from now on at which a packet conforms; None: never."""
        want = self.want(need, things)
        short = want - self.at(now)
        if short <= 0:
            return now
        if want > self.depth or not self.fill:
            return None
        return now + -(-short // self.fill)

    def full_at(self, now: int) -> bool:
        """Whether nothing is missing."""
        return self.at(now) == self.depth

    def take_over(self, old: Bucket, now: int) -> None:
        """Go on with an older bucket's level, at most full; a changed unit rounds down."""
        self.level = max(-self.debt, min(self.depth, old.at(now) * old.g // self.g))
        self.time = now


class Account:
    """The buckets of one key. `sessions`: those that hold it, by transport."""

    def __init__(self, row: MeterRow) -> None:
        bits = 1 if row.count == "packets" else 8
        self.row = row
        self.excess_only = row.algorithm == "rfc2697"
        rate = row.rungs[0].rate
        self.buckets = [Bucket(rung.rate, rung.depth, bits, rate) for rung in row.rungs]
        self.holders: dict[int, int] = {}  # session handle -> protocol

    def settle(self, now: int) -> None:
        """Fill up to now; by RFC 2697 what the first bucket cannot hold goes to the second."""
        if not self.excess_only:
            for bucket in self.buckets:
                bucket.settle(now)
            return
        first, second = self.buckets
        spare = first.level + first.fill * (now - first.time) - first.depth
        first.settle(now)
        second.level = min(second.depth, second.level + max(0, spare))
        second.time = now

    def colour(self, now: int, things: int) -> int:
        """The rung of a packet, from 0; as many as there are rungs: beyond the last."""
        self.settle(now)
        fits = [bucket.allows(now, self.row.need, things) for bucket in self.buckets]
        if len(fits) == 2 and self.row.algorithm != "rfc2698":
            return 0 if fits[0] else 1 if fits[1] else 2
        colour = len(fits)
        while colour and fits[colour - 1]:
            colour -= 1
        return colour

    def debit(self, now: int, things: int, colour: int) -> None:
        """Pay for a packet of a colour that conforms."""
        alone = len(self.buckets) == 2 and self.row.algorithm != "rfc2698"
        for bucket in self.buckets[colour:colour + 1] if alone else self.buckets[colour:]:
            bucket.charge(now, things)

    def sessions(self, protocol: int | None = None) -> int:
        """Live sessions that hold this key."""
        if protocol is None:
            return len(self.holders)
        return sum(held == protocol for held in self.holders.values())


class Meter:
    """A row and its accounts. Keyed: one for each key that a session holds or held last."""

    def __init__(self, row: MeterRow) -> None:
        self.row = row
        self.accounts: dict[object, Account] = {}
        self.idle: dict[object, None] = {}  # keys without a session, the longest first
        self.shared: Account | None = None
        self.keys_forgotten = 0
        self.keys_shared = 0
        self.passed = {"packets": 0, "bytes": 0}
        self.dropped = {"packets": 0, "bytes": 0}
        self.by_colour = [0] * (len(row.rungs) + 1)
        self.watch()
        if row.key == "none":
            self.accounts[None] = Account(row)

    def watch(self) -> None:
        """Begins the count that the law of its bound compares with depth and rate."""
        self.charged = [0] * len(self.row.rungs)  # things that buckets paid for, by colour
        self.heaviest = 0
        self.since = 0
        self.forgotten_before = self.keys_forgotten

    # -- keys --

    def key_of(self, session: Session, rule: int, direction: str) -> object:
        """What a session's bucket is told apart by."""
        key = self.row.key
        if key in ("source", "destination"):
            return session.source(direction) if key == "source" else session.destination(direction)
        return {"none": None, "policy": session.policy, "rule": rule,
                "initiator": session.initiator}[key]

    def would_hold(self, key: object) -> Account | None:
        """The account that a new session of this key would share; None: one of its own."""
        if key in self.accounts:
            return self.accounts[key]
        if len(self.accounts) < self.row.keys_max or self.idle:
            return None
        return self.shared

    def admits(self, session: Session, rule: int) -> bool:
        """Whether the limits of sessions let one more in."""
        row = self.row
        account = self.would_hold(self.key_of(session, rule, "forward"))
        for most, protocol in ((row.max_sessions, None), (row.max_tcp_sessions, 6),
                               (row.max_udp_sessions, 17)):
            counted = protocol in (None, session.protocol)
            if most and counted and account and account.sessions(protocol) >= most:
                return False
        return True

    def take(self, key: object, handle: int, protocol: int) -> Account:
        """A session takes its bucket; at most `keys_max` are kept."""
        account = self.accounts.get(key)
        if account is None and len(self.accounts) >= self.row.keys_max:
            if self.idle:
                oldest = next(iter(self.idle))
                del self.idle[oldest], self.accounts[oldest]
                self.keys_forgotten += 1
            else:
                self.keys_shared += 1
                self.shared = account = self.shared or Account(self.row)
        if account is None:
            account = self.accounts[key] = Account(self.row)
        self.idle.pop(key, None)
        account.holders[handle] = protocol
        return account

    def leave(self, key: object, account: Account, handle: int) -> None:
        """A session ends: a key that nobody holds any more may be forgotten."""
        account.holders.pop(handle, None)
        if not account.holders and self.accounts.get(key) is account:
            self.idle[key] = None

    # -- packets --

    def things(self, arrival: Arrival) -> int:
        """What a packet costs, in what the meter counts."""
        if self.row.count == "packets":
            return 1
        return arrival.bytes(self.row.count, self.row.overhead)

    def size(self, arrival: Arrival) -> int:
        """Bytes for the counters; a meter of packets counts frames."""
        count = "frame" if self.row.count == "packets" else self.row.count
        return arrival.bytes(count, self.row.overhead)

    def charge(self, account: Account, now: int, things: int, colour: int) -> None:
        """Pay for a packet of a colour that conforms."""
        self.since = self.since if self.heaviest else now
        self.heaviest = max(self.heaviest, things)
        self.charged[colour] += things
        account.debit(now, things, colour)

    def bounded(self, now: int) -> bool:
        """Whether no colour let more pass than depth + rate x time, for each bucket there was.

        Where a packet's debt may have been cut to what a level holds, nothing is known.
        """
        row, passed = self.row, 0
        buckets = len(self.accounts) + bool(self.shared)
        buckets += self.keys_forgotten - self.forgotten_before
        slack = self.heaviest if row.need == "level" else 0
        bits = 1 if row.count == "packets" else 8
        for number, rung in enumerate(row.rungs):
            alone = row.algorithm != "rfc2698"
            passed = self.charged[number] + (0 if alone else passed)
            rate = row.rungs[0].rate if row.algorithm == "rfc2697" else rung.rate
            if slack * bits * (SECOND // gcd(rung.rate or row.rungs[0].rate, SECOND)) > UNITS_MAX:
                continue
            over = passed - (rung.depth + slack) * buckets
            if over * bits * SECOND > rate * (now - self.since) * buckets:
                return False
        return True

    def reconfigure(self, row: MeterRow, now: int) -> bool:
        """Go on as another row; False where it is another meter altogether."""
        old = self.row
        if (row.key, row.algorithm, len(row.rungs)) != (old.key, old.algorithm, len(old.rungs)):
            return False
        if (row.count == "packets") != (old.count == "packets"):
            return False
        self.row = row
        for account in [*self.accounts.values(), *([self.shared] if self.shared else [])]:
            account.settle(now)
            before, fresh = account.buckets, Account(row)
            account.row, account.buckets = row, fresh.buckets
            for bucket, older in zip(account.buckets, before, strict=True):
                bucket.take_over(older, now)
        self.watch()
        return True
