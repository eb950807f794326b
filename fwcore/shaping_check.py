"""What a shaping configuration means, and what of it can never act.

    shaping.Declared, and the rows that say it  --meaning-->  rules, meters, links as plain data
                                                --findings-->  never: it cannot act, whatever comes
                                                               perhaps: allowed, probably not meant

No packet is looked at. What is told as "never" follows from the figures alone. Rates are bit/s
(packets/s where a meter counts packets), depths bytes (packets), times ns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fwcore import policy
from fwcore.shaping import ClassRow, Declared, MeterRow, ShapingRow
from fwcore.shaping_values import LARGEST_FRAME, RATE_MAX
from fwcore.units import SECOND_NS
from fwcore.words import protocol_text

TCP_DEPTH_NS = 10_000_000   # a bucket of less: TCP gets less than its rate [R: public threads]
DIRECTIONS = ("forward", "reply")
NEVER, PERHAPS = "never", "perhaps"


def time_of(depth: int, rate: int, bits: int = 8) -> int:
    """How long a rate takes to fill a bucket, ns, rounded down."""
    return depth * bits * SECOND_NS // rate if rate else 0


def endless(rate: int) -> bool:
    """A rung that stands for no limit."""
    return rate >= RATE_MAX


@dataclass(frozen=True)
class Finding:
    """What can never act, or is probably not meant, and where it stands."""

    kind: str
    where: str
    text: str


class Check:
    """A configuration with the places of its rows."""

    def __init__(self, declared: Declared, rows: Mapping[str, Sequence[Any]],
                 largest: int = LARGEST_FRAME) -> None:
        self.declared = declared
        self.largest = largest
        self.places = {
            kind: [getattr(row, "where", f"{kind} {at}") for at, row in enumerate(each, 1)]
            for kind, each in rows.items()}
        self.meters = {row.name: row for row in declared.meters}
        self.links = {row.name: row for row in declared.links}
        self.trees = {name: {row.id: row for row in declared.classes_of(name)}
                      for name in self.links}
        self.parents = {name: {row.parent for row in tree.values()}
                        for name, tree in self.trees.items()}
        self.behind = dict(self.hidden())
        self.living = [row for at, row in enumerate(declared.rows) if at not in self.behind]
        self.reached = self.reach()

    def leaves(self, link: str) -> list[ClassRow]:
        return [row for row in self.trees[link].values() if row.id not in self.parents[link]]

    def leaf(self, link: str, wanted: int | None) -> int:
        """The leaf of an id, else the one with the lowest."""
        ids = [row.id for row in self.leaves(link)]
        return wanted if wanted in ids else ids[0]

    def lineage(self, row: ClassRow) -> Iterator[ClassRow]:
        """A class and all above it."""
        at: ClassRow | None = row
        while at is not None:
            yield at
            at = self.trees[row.link].get(at.parent)

    # -- who is reached --

    def hidden(self) -> Iterator[tuple[int, int]]:
        """(row, the earlier row that takes all its sessions), by number in the file."""
        for at, row in enumerate(self.declared.rows):
            for before in range(at):
                if covers(self.declared.rows[before], row):
                    yield at, before
                    break

    def directions(self, row: ShapingRow) -> Iterator[tuple[str, tuple[str, ...], str, int | None]]:
        yield "forward", row.meters, row.link, row.cls
        yield "reply", row.reply_meters, row.reply_link, row.reply_cls

    def reach(self) -> set[tuple[str, int]]:
        """(link, leaf) that a rule leads to, through chains too."""
        found: set[tuple[str, int]] = set()
        for row in self.living:
            for direction, names, link, cls in self.directions(row):
                if not link:
                    continue
                given = [cls, *row.by_dscp(direction).values()]
                for meter in (self.meters[name] for name in names):
                    given += [meter.over_class, *(rung.cls for rung in meter.rungs)]
                found |= {(link, self.leaf(link, each)) for each in given
                          if each is not None or each is cls}
        for _ in self.links:    # as often as a chain may be long
            found |= {(after, self.leaf(after, cls)) for name, cls in found
                      if (after := self.links[name].next)}
        return found

    def users(self, name: str) -> list[ShapingRow]:
        """Rules that name a meter."""
        return [row for row in self.living if name in (*row.meters, *row.reply_meters)]

    # -- findings --

    def findings(self) -> list[Finding]:
        """All of them; what can never act first, in the order of the file."""
        found = [*self.rule_findings(), *self.meter_findings(), *self.link_findings(),
                 *self.class_findings()]
        return [each for kind in (NEVER, PERHAPS) for each in found if each.kind == kind]

    def rule_findings(self) -> Iterator[Finding]:
        for at, row in enumerate(self.declared.rows):
            where = self.places["shaping"][at]
            if at in self.behind:
                first = self.declared.rows[self.behind[at]]
                yield Finding(NEVER, where, f"rule {row.id} stands behind rule {first.id}, which"
                              " takes all its sessions")
                continue
            for direction, names, *_ in self.directions(row):
                if len(set(names)) < len(names):
                    yield Finding(NEVER, where, f"rule {row.id}, {direction}: a meter named twice"
                                  " is one bucket and is paid once")
        yield from self.one_direction()
        lines = [row.name for row in self.declared.links if row.rate]
        if self.living and lines and not takes_all(self.living):
            yield Finding(PERHAPS, self.places["shaping"][-1], "what no rule takes meets no meter"
                          f" and takes nothing of a line ({', '.join(lines)}): put a last rule"
                          " without conditions")

    def one_direction(self) -> Iterator[Finding]:
        """Rules of one direction, those of the same one together."""
        alone: dict[bool, list[int]] = {}
        for at, row in enumerate(self.declared.rows):
            forward = bool(row.meters or row.link)
            if at not in self.behind and forward != bool(row.reply_meters or row.reply_link):
                alone.setdefault(forward, []).append(at)
        for forward, rows in alone.items():
            ids = listed(str(self.declared.rows[at].id) for at in rows)
            shaped, other = ("the initiator's packets", "replies") if forward else (
                "replies", "the initiator's packets")
            yield Finding(PERHAPS, self.places["shaping"][rows[0]],
                          f"{'rule' if len(rows) == 1 else 'rules'} {ids}: {shaped} alone are"
                          f" shaped; {other} meet no meter and no link")

    def meter_findings(self) -> Iterator[Finding]:
        for where, meter in zip(self.places["meter"], self.declared.meters, strict=True):
            users = self.users(meter.name)
            if not users:
                yield Finding(NEVER, where, f"no rule leads to meter {meter.name!r}")
            yield from self.rung_findings(where, meter)
            if 0 < meter.max_sessions <= max(meter.max_tcp_sessions, meter.max_udp_sessions):
                yield Finding(NEVER, where, f"meter {meter.name!r}: a limit of TCP or UDP sessions"
                              f" not below max_sessions = {meter.max_sessions} is never reached")
            classed = meter.over_class is not None or any(
                rung.cls is not None for rung in meter.rungs)
            linked = any(link for row in users for _, names, link, _ in self.directions(row)
                         if meter.name in names)
            if users and classed and not linked:
                yield Finding(NEVER, where, f"meter {meter.name!r} gives classes, and no rule that"
                              " names it has a link")

    def rung_findings(self, where: str, meter: MeterRow) -> Iterator[Finding]:
        bits = 1 if meter.count == "packets" else 8
        extra = {"wire": 24}.get(meter.count, 0) + meter.overhead
        for number, rung in enumerate(meter.rungs, 1):
            named = f"meter {meter.name!r}, rung {number}"
            after = meter.rungs[number] if number < len(meter.rungs) else None
            if meter.algorithm == "rfc2698" and after and (
                    rung.rate >= after.rate and rung.depth >= after.depth):
                yield Finding(NEVER, where, f"meter {meter.name!r}: rung {number + 1} is no faster"
                              f" and no deeper than rung {number}; its colour never happens")
            if bits == 1 or endless(rung.rate):
                continue
            size = max(1, self.largest + extra)
            if rung.depth < size and meter.need == "packet":
                never = f"lets a frame of {self.largest} bytes pass"
                if after:
                    never = f"holds a frame of {self.largest} bytes, which never has its colour"
                yield Finding(PERHAPS, where, f"{named}: its bucket of {rung.depth} bytes never"
                              f" {never}")
            rate = rung.rate or meter.rungs[0].rate
            if time_of(rung.depth, rate) < TCP_DEPTH_NS:
                yield Finding(PERHAPS, where, f"{named}: {rung.depth} bytes are less than 10 ms of"
                              " its rate; TCP gets less than the rate")

    def link_findings(self) -> Iterator[Finding]:
        used = {link for link, _ in self.reached}
        for where, link in zip(self.places["link"], self.declared.links, strict=True):
            if link.name not in used:
                yield Finding(NEVER, where, f"no rule leads to link {link.name!r}")
                continue
            feeders = [row for row in self.declared.links
                       if row.next == link.name and row.name in used]
            direct = any(name == link.name for row in self.living
                         for _, _, name, _ in self.directions(row))
            alike = all((row.count, row.overhead) == (link.count, link.overhead) for row in feeders)
            capped = any(row.ceiling for row in self.trees[link.name].values())
            total = sum(row.rate for row in feeders)
            if link.rate and len(feeders) == 1 and not direct and alike and not capped and (
                    0 < total <= link.rate):
                yield Finding(PERHAPS, where, f"link {link.name!r} holds hardly more than a frame:"
                              " what feeds it is no faster; its priorities and limits rarely act")

    def class_findings(self) -> Iterator[Finding]:
        yield from self.idle_classes()
        for where, row in zip(self.places["class"], self.declared.classes, strict=True):
            named = f"class {row.id} of link {row.link!r}"
            leaf = row.id not in self.parents[row.link]
            line = self.links[row.link].rate
            if leaf and (row.link, row.id) not in self.reached:
                continue
            yield from self.bucket_findings(where, named, row, line)
            if leaf and not line and not row.share_ceiling and not any(
                    each.ceiling for each in self.lineage(row)):
                yield Finding(NEVER, where, f"{named}: nothing waits here, for the link has no line"
                              " and no class on the way a ceiling; priority, limit and guarantee"
                              " do not act")
            elif leaf:
                yield from queue_findings(where, named, row)

    def idle_classes(self) -> Iterator[Finding]:
        """Leaves that no rule leads to, those of one place together."""
        idle: dict[tuple[str, str], list[int]] = {}
        for where, row in zip(self.places["class"], self.declared.classes, strict=True):
            if row.id not in self.parents[row.link] and (row.link, row.id) not in self.reached and (
                    any(link == row.link for link, _ in self.reached)):
                idle.setdefault((where, row.link), []).append(row.id)
        for (where, link), ids in idle.items():
            noun = "class" if len(ids) == 1 else "classes"
            yield Finding(NEVER, where, f"no rule leads to {noun} {spans(ids)} of link {link!r}")

    def bucket_findings(self, where: str, named: str, row: ClassRow, line: int,
                        ) -> Iterator[Finding]:
        holds = row.need == "level" or row.ceiling_burst >= self.largest
        if row.ceiling and line and row.ceiling >= line and holds:
            yield Finding(NEVER, where, f"{named}: its ceiling is not below the rate of the link;"
                          " the line is there first")
        elif row.ceiling and any(self.stops_first(each, row) for each in self.askers(row)):
            yield Finding(NEVER, where, f"{named}: its ceiling is not below that of a class above"
                          " it, and its bucket no smaller")
        for name, rate, depth in (("guarantee", row.guarantee, row.guarantee_burst),
                                  ("ceiling", row.ceiling, row.ceiling_burst)):
            if not rate:
                continue
            if depth < self.largest:
                what = "never lets pass" if row.need == "packet" else "is less than"
                yield Finding(PERHAPS, where, f"{named}: the bucket of its {name}, {depth} bytes,"
                              f" {what} a frame of {self.largest}")
        share, deep = row.share_ceiling, row.share_burst >= row.ceiling_burst
        if share and row.need == "level" and (
                0 < line <= share or (0 < row.ceiling <= share and deep)):
            told = f"{named}: share_ceiling is not below what the class may have"
            if row.share == "flow":
                yield Finding(NEVER, where, told)
            else:
                yield Finding(PERHAPS, where, f"{told}; it does no more than keep the sub-queue for"
                              " its address until its bucket is full again")

    def askers(self, row: ClassRow) -> Iterator[ClassRow]:
        """Classes above that are asked whenever a class wants to send: up to the first that may
        lend of its own. One with a guarantee does not always ask."""
        if row.guarantee:
            return
        for each in self.lineage(row):
            if each is not row:
                yield each
                if each.guarantee:
                    return

    @staticmethod
    def stops_first(above: ClassRow, row: ClassRow) -> bool:
        """Whether a ceiling above is empty whenever that of the class is."""
        return (above.need == row.need == "level" and 0 < above.ceiling <= row.ceiling
                and above.ceiling_burst <= row.ceiling_burst)


def queue_findings(where: str, named: str, row: ClassRow) -> Iterator[Finding]:
    """What of a queue never acts."""
    most = row.limit_packets - (row.share == "none")    # waiting before one that comes
    if row.discard == "red" and most <= row.red_min:
        yield Finding(NEVER, where, f"{named}: the queue is full (limit {row.limit_packets}) before"
                      f" RED begins above {row.red_min} packets")
    elif row.discard == "red" and not row.red_probability and most < row.red_max:
        yield Finding(NEVER, where, f"{named}: RED of 0 percent, and the limit is not above its"
                      " maximum: it never drops")
    if row.share != "none" and row.shares == 1:
        yield Finding(PERHAPS, where, f"{named}: one sub-queue shares nothing out")


# --- which sessions -------------------------------------------------------------------------------


def covers(wide: ShapingRow, row: ShapingRow) -> bool:
    """Whether every session that a row takes is one that another takes."""
    a, b = wide.who, row.who
    return (
        a.zone in (policy.ANY, b.zone) and a.protocol in (policy.ANY, b.protocol)
        and nets_within(b.source, a.source) and nets_within(b.destination, a.destination)
        and (not a.ports or (bool(b.ports) and all(
            any(low <= first and last <= high for low, high in a.ports)
            for first, last in b.ports)))
        and (not wide.policy or (bool(row.policy) and row.policy <= wide.policy))
        and (not wide.dscp or (bool(row.dscp) and row.dscp <= wide.dscp)))


def nets_within(nets: Sequence[policy.Network], wide: Sequence[policy.Network]) -> bool:
    """Whether each network lies within one of the others; none is any."""
    if not wide:
        return True
    return bool(nets) and all(any(
        each.version == other.version and each.subnet_of(other)  # type: ignore[arg-type]
        for other in wide) for each in nets)


def takes_all(rows: Iterable[ShapingRow]) -> bool:
    """Whether some row takes every session, or rows by mark together do."""
    marks: set[int] = set()
    for row in rows:
        if covers(replace(row, dscp=frozenset()), ShapingRow(0)):
            marks |= row.dscp or set(range(64))
    return len(marks) == 64


def told(row: ShapingRow) -> str:
    """Which sessions a row takes, in words."""
    who = row.who
    parts = []
    if who.zone != policy.ANY:
        parts.append(f"VLAN {who.zone}")
    if who.protocol != policy.ANY:
        parts.append(protocol_text(who.protocol))
    for word, nets in (("from", who.source), ("to", who.destination)):
        if nets:
            parts.append(f"{word} {listed(map(str, nets))}")
    if who.ports:
        parts.append("port " + listed(
            str(low) if low == high else f"{low}-{high}" for low, high in who.ports))
    if row.policy:
        parts.append("policy " + listed(map(str, sorted(row.policy))))
    if row.dscp:
        parts.append("first packet marked " + spans(row.dscp))
    return ", ".join(parts) or "all sessions"


def listed(words: Iterable[str], most: int = 8) -> str:
    """A list that does not go on for ever."""
    found = list(words)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def spans(numbers: Iterable[int]) -> str:
    """1, 2, 3, 7 -> "1-3, 7"."""
    made: list[list[int]] = []
    for number in sorted(numbers):
        if made and number == made[-1][1] + 1:
            made[-1][1] = number
        else:
            made.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in made)


# --- as plain data --------------------------------------------------------------------------------


def meaning(declared: Declared, rows: Mapping[str, Sequence[Any]],
            largest: int = LARGEST_FRAME) -> dict[str, Any]:
    """Rules, meters, links with their classes, findings; of integers, texts and lists."""
    check = Check(declared, rows, largest)
    places = check.places
    return {
        "largest_frame": largest,
        "rules": [_rule(check, row, where) for row, where in zip(
            declared.rows, places["shaping"], strict=True)],
        "meters": [_meter(check, row, where) for row, where in zip(
            declared.meters, places["meter"], strict=True)],
        "links": [_link(check, row.name, where) for row, where in zip(
            declared.links, places["link"], strict=True)],
        "findings": [vars(each) for each in check.findings()],
    }


def _rule(check: Check, row: ShapingRow, where: str) -> dict[str, Any]:
    directions = {}
    for direction, names, link, cls in check.directions(row):
        directions[direction] = {
            "meters": list(names), "link": link or None,
            "class": check.leaf(link, cls) if link else None,
            "class_by_dscp": {str(mark): check.leaf(link, each) for mark, each in sorted(
                row.by_dscp(direction).items())} if link else {}}
    return {"id": row.id, "where": where, "sessions": told(row), **directions}


def _meter(check: Check, row: MeterRow, where: str) -> dict[str, Any]:
    bits = 1 if row.count == "packets" else 8
    rungs = []
    for rung in row.rungs:
        rate = rung.rate or row.rungs[0].rate
        rungs.append({
            "rate": rung.rate, "rate_bytes": rung.rate // 8 if bits == 8 else None,
            "depth": rung.depth, "depth_ns": time_of(rung.depth, rate, bits),
            "no_limit": endless(rung.rate), "dscp": rung.dscp, "class": rung.cls})
    return {
        "name": row.name, "where": where, "rungs": rungs, "algorithm": row.algorithm,
        "key": row.key, "keys_max": row.keys_max, "need": row.need, "count": row.count,
        "overhead_bytes": row.overhead, "over": row.over, "over_class": row.over_class,
        "max_sessions": row.max_sessions, "max_tcp_sessions": row.max_tcp_sessions,
        "max_udp_sessions": row.max_udp_sessions,
        "rules": [each.id for each in check.users(row.name)]}


def _link(check: Check, name: str, where: str) -> dict[str, Any]:
    row, tree = check.links[name], check.trees[name]
    classes = []
    for each in tree.values():
        inner = each.id in check.parents[name]
        below = [other.guarantee for other in tree.values() if other.parent == each.id]
        classes.append({
            "id": each.id, "parent": each.parent, "leaf": not inner,
            **{key: getattr(each, key) for key in (
                "guarantee", "guarantee_burst", "ceiling", "ceiling_burst", "priority", "quantum",
                "limit_packets", "limit_bytes", "discard", "red_min", "red_max",
                "red_probability", "target_ns", "interval_ns", "ecn", "share", "shares",
                "share_ceiling", "share_burst", "need")},
            "guarantees_below": sum(below)})
    return {
        "name": name, "where": where, "rate": row.rate, "count": row.count,
        "overhead_bytes": row.overhead, "next": row.next or None, "classes": classes,
        "guarantees": sum(each.guarantee for each in tree.values() if not each.parent)}
