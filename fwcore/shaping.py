"""Shaping as settings say it: meters, links, classes, and which sessions meet them.

    [[meter]] [[link]] [[class]] [[shaping]]  --parse-->  Declared, every value a number
                                              --shaping_layout-->  arrays of the fast path

Rates are bit/s (packets/s where a meter counts packets), depths bytes (packets), times ns. 0
stands for "none" wherever a rate, a limit or a mark may be missing.

Laws: a name that is used is declared; a chain of links and a tree of classes have no circle; a
session that no row matches is not shaped; no row at all: nothing of this exists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fwcore.policy import DEFAULT, Policy, who
from fwcore.shaping_values import (
    CHAIN_MAX,
    CLASS,
    LARGEST_FRAME,
    LINK,
    MATCH,
    METER,
    RUNG,
    RUNGS_MAX,
    SHAPING,
    TREE_DEPTH_MAX,
    WHOLE_LINK,
    Place,
    Within,
    is_whole,
    known_keys,
    read_depth,
    read_ids,
    read_keys,
    read_rate,
    read_time,
    read_whole,
)
from fwcore.words import nearest

# --- what is declared -----------------------------------------------------------------------------


@dataclass(frozen=True)
class RungRow:
    """One rate of a meter and what a packet of its colour gets."""

    rate: int
    depth: int
    dscp: int | None = None
    cls: int | None = None


@dataclass(frozen=True)
class MeterRow:
    """How fast."""

    name: str
    rungs: tuple[RungRow, ...]
    algorithm: str = "rfc2698"
    key: str = "none"
    keys_max: int = 65_536
    need: str = "packet"
    count: str = "ip"
    overhead: int = 0
    over: str = "drop"
    over_class: int | None = None
    max_sessions: int = 0
    max_tcp_sessions: int = 0
    max_udp_sessions: int = 0


@dataclass(frozen=True)
class LinkRow:
    """Out of where. Rate 0: no line."""

    name: str
    rate: int = 0
    count: str = "frame"
    overhead: int = 0
    next: str = ""


@dataclass(frozen=True)
class ClassRow:
    """Who next: a node of a link's tree. `guarantee` or `ceiling` 0: no such bucket."""

    link: str
    id: int
    parent: int = 0
    guarantee: int = 0
    ceiling: int = 0
    guarantee_burst: int = 0
    ceiling_burst: int = 0
    priority: int = 0
    quantum: int = LARGEST_FRAME
    limit_packets: int = 1000
    limit_bytes: int = 0
    discard: str = "tail"
    red_min: int = 83
    red_max: int = 250
    red_probability: int = 0
    target_ns: int = 5_000_000
    interval_ns: int = 100_000_000
    ecn: bool = False
    share: str = "none"
    shares: int = 1024
    share_ceiling: int = 0
    share_burst: int = 0
    need: str = "level"


@dataclass(frozen=True)
class ShapingRow:
    """Which meters, link and class the packets of a session meet, each way."""

    id: int
    meters: tuple[str, ...] = ()
    reply_meters: tuple[str, ...] = ()
    link: str = ""
    reply_link: str = ""
    cls: int | None = None
    reply_cls: int | None = None
    class_by_dscp: Mapping[int, int] = field(default_factory=dict)
    reply_class_by_dscp: Mapping[int, int] | None = None
    policy: frozenset[int] = frozenset()
    dscp: frozenset[int] = frozenset()
    who: Policy = DEFAULT  # zone, addresses, protocol, ports

    def by_dscp(self, direction: str) -> Mapping[int, int]:
        """Classes by a packet's own DSCP, of one way."""
        own = self.reply_class_by_dscp
        return own if direction == "reply" and own is not None else self.class_by_dscp


@dataclass(frozen=True)
class Declared:
    """All rows, in the order of the file. ``warnings``: what is allowed and probably not meant."""

    meters: tuple[MeterRow, ...] = ()
    links: tuple[LinkRow, ...] = ()
    classes: tuple[ClassRow, ...] = ()
    rows: tuple[ShapingRow, ...] = ()
    warnings: tuple[str, ...] = field(default=(), compare=False)

    def __bool__(self) -> bool:
        """Whether anything is shaped."""
        return bool(self.rows)

    @property
    def changes_frames(self) -> bool:
        """Whether packets may wait or be marked, and are not only dropped."""
        marks = any(rung.dscp is not None for meter in self.meters for rung in meter.rungs)
        return bool(self.rows) and (marks or any(
            row.link or row.reply_link for row in self.rows))

    def classes_of(self, link: str) -> list[ClassRow]:
        """The rows of a link's tree, by ascending id; one whole class where there is none."""
        rows = sorted((row for row in self.classes if row.link == link), key=lambda row: row.id)
        return rows or [ClassRow(link, WHOLE_LINK)]

    def leaves_of(self, link: str) -> list[ClassRow]:
        """Those of them that have a queue."""
        rows = self.classes_of(link)
        parents = {row.parent for row in rows}
        return [row for row in rows if row.id not in parents]


# --- one row --------------------------------------------------------------------------------------


def _rung(place: Place, row: Any, bits: int, algorithm: str, first: int) -> RungRow:
    if not isinstance(row, Mapping):
        raise place.refuse("rungs", METER["rungs"], row, "is no table")
    place = Within(place, "rungs", row)
    known_keys(place, row, RUNG)
    excess = algorithm == "rfc2697" and first
    for name in ("depth",) if excess else ("rate", "depth"):
        if name not in row:
            raise place.error("rungs", f"rungs: {dict(row)!r} needs {name}")
    if excess and row.get("rate", 0) != 0:
        raise place.error("rungs", "rungs: by rfc2697 the second rung is the excess burst: it has"
                          " a depth and no rate")
    rate = 0 if excess else read_rate(place, "rate", RUNG["rate"], row["rate"])
    depth = read_depth(place, "depth", RUNG["depth"], row["depth"], rate or first, bits, first)
    marks = {name: read_whole(place, name, RUNG[name], row[name]) if name in row else None
             for name in ("dscp", "class")}
    return RungRow(rate, depth, marks["dscp"], marks["class"])


def _meter(place: Place) -> MeterRow:
    row = place.row
    known_keys(place, row, METER)
    given = read_keys(place, METER, *(name for name in METER if name != "rungs"))
    listed = row.get("rungs")
    if not isinstance(listed, (list, tuple)) or not 1 <= len(listed) <= RUNGS_MAX:
        raise place.refuse("rungs", METER["rungs"], listed, "are no rungs")
    if given["algorithm"] != "rfc2698" and len(listed) != 2:
        raise place.error("algorithm", f"algorithm = {given['algorithm']!r} has two rungs, and"
                          f" there are {len(listed)}")
    bits = 1 if given["count"] == "packets" else 8
    rungs: list[RungRow] = []
    for each in listed:
        rungs.append(_rung(place, each, bits, given["algorithm"], rungs[0].rate if rungs else 0))
    if (given["over"] == "class") != (given["over_class"] is not None):
        raise place.error("over_class", 'over = "class" and over_class go together')
    for name in ("max_sessions", "max_tcp_sessions", "max_udp_sessions"):
        if given[name] and given["key"] != "initiator":
            raise place.error(name, f'{name} counts sessions of a host: it needs key = "initiator"')
    given["overhead"] = given.pop("overhead_bytes")
    return MeterRow(rungs=tuple(rungs), **given)


def _link(place: Place) -> LinkRow:
    known_keys(place, place.row, LINK)
    given = read_keys(place, LINK, *LINK)
    given["overhead"] = given.pop("overhead_bytes")
    return LinkRow(**given)


_ONLY = {  # key -> (key, value): without it the first one would do nothing
    "red_min": ("discard", "red"), "red_max": ("discard", "red"),
    "red_probability": ("discard", "red"), "target": ("discard", "codel"),
    "interval": ("discard", "codel"), "ecn": ("discard", "codel"),
}
_QUEUE = ("priority", "quantum_bytes", "limit_packets", "limit_bytes", "discard", "share")


def _class(place: Place, links: Mapping[str, LinkRow], parents: set[tuple[Any, Any]]) -> ClassRow:
    row = place.row
    known_keys(place, row, CLASS)
    if "id" not in row:
        raise place.error("id", "[[class]] needs id")
    simple = [name for name, key in CLASS.items()
              if key.kind not in ("share", "depth", "quantum", "time")]
    given = read_keys(place, CLASS, *simple)
    if given["link"] not in links:
        raise place.error("link", f"link = {given['link']!r} is not declared"
                          f"{nearest(given['link'], links)}")
    _class_sense(place, given, (given["link"], given["id"]) in parents)
    whole = links[given["link"]].rate
    guarantee = read_rate(place, "guarantee", CLASS["guarantee"], row.get("guarantee", 0), whole)
    ceiling = 0
    if not is_whole(row.get("ceiling", "100%")):
        ceiling = read_rate(place, "ceiling", CLASS["ceiling"], row["ceiling"], whole)
    if ceiling and guarantee > ceiling:
        raise place.error("ceiling", f"ceiling {ceiling} bit/s is below the guarantee {guarantee}")
    bursts: dict[str, Any] = {}
    for name, rate, of in (("guarantee_burst", guarantee, "guarantee"),
                           ("ceiling_burst", ceiling, "ceiling"),
                           ("share_burst", given["share_ceiling"], "share_ceiling")):
        if name in row and not rate:
            raise place.error(name, f"{name} is the bucket of a {of}, and there is none")
        bursts[name] = 0
        if name in row:
            bursts[name] = read_depth(place, name, CLASS[name], row[name], rate)
        elif rate:
            bursts[name] = max(1, rate // (8 * 100))  # 10 ms
    for name in ("target", "interval"):
        given[f"{name}_ns"] = read_time(
            place, name, CLASS[name], row.get(name, CLASS[name].default))
    auto = min(200_000, max(1000, guarantee // 80)) if guarantee else LARGEST_FRAME
    quantum = row.get("quantum_bytes", "auto")
    if quantum != "auto":
        auto = read_whole(place, "quantum_bytes", CLASS["quantum_bytes"], quantum)
    return ClassRow(guarantee=guarantee, ceiling=ceiling, quantum=auto, **bursts, **given)


def _class_sense(place: Place, given: Mapping[str, Any], inner: bool) -> None:
    """Keys that would do nothing, and what does not go together."""
    for name, (other, value) in _ONLY.items():
        if name in place.row and given[other] != value:
            raise place.error(name, f'{name} is of {other} = "{value}"')
    for name in ("shares", "share_ceiling", "share_burst"):
        if name in place.row and given["share"] == "none":
            raise place.error(name, f"{name} is of a class with share")
    if inner:
        for name in _QUEUE:
            if name in place.row:
                raise place.error(name, f"{name}: a class with classes below it has no queue")
    for name in ("limit_bytes", "discard", "share"):
        if not given["limit_packets"] and given[name] not in (0, "tail", "none"):
            raise place.error(name, f"{name} is of a queue, and limit_packets = 0 is none")
    if given["discard"] == "codel" and given["need"] == "packet":
        raise place.error("need", 'need = "packet" does not go with discard = "codel"')
    if given["discard"] == "red" and given["red_min"] >= given["red_max"]:
        raise place.error("red_max", f"red_max {given['red_max']} is not above red_min"
                          f" {given['red_min']}")


def _by_dscp(place: Place, name: str) -> dict[int, int]:
    key, value = SHAPING[name], place.row.get(name, {})
    found = {}
    if not isinstance(value, Mapping):
        raise place.refuse(name, key, value, "is no table")
    for mark, cls in value.items():
        text = str(mark)
        if not (text.isascii() and text.isdecimal() and len(text) <= 2 and int(text) < 64):
            raise place.refuse(name, key, mark, "is no DSCP")
        found[int(text)] = read_whole(place, name, SHAPING["class"], cls)
    return found


def _shaping(place: Place, number: int) -> ShapingRow:
    row = place.row
    known_keys(place, row, SHAPING, MATCH)
    names = [name for name, key in SHAPING.items() if key.kind in ("names", "name", "count")
             and name != "id"]
    given = read_keys(place, SHAPING, *names)
    given["cls"], given["reply_cls"] = given.pop("class"), given.pop("reply_class")
    for name in ("policy", "dscp"):
        given[name] = frozenset()
        if name in row:
            given[name] = read_ids(place, name, SHAPING[name], row[name])
    ident = read_whole(place, "id", SHAPING["id"], row.get("id", number))
    if "reply_class_by_dscp" in row:
        given["reply_class_by_dscp"] = _by_dscp(place, "reply_class_by_dscp")
    return ShapingRow(ident, class_by_dscp=_by_dscp(place, "class_by_dscp"),
                      who=who(row, place.fallback), **given)


# --- rows against each other ----------------------------------------------------------------------


def _unique(places: Sequence[Place], key: str, names: Sequence[Any]) -> None:
    seen = set()
    for place, name in zip(places, names, strict=True):
        if name in seen:
            link, own = name if isinstance(name, tuple) else ("", name)
            where = f" for link {link!r}" if link else ""
            raise place.error(key, f"{key} = {own!r} is given twice{where}")
        seen.add(name)


def _chains(places: Sequence[Place], links: Mapping[str, LinkRow]) -> None:
    for place, row in zip(places, links.values(), strict=True):
        here, steps = row, 0
        while here.next:
            if here.next not in links:
                raise place.error("next", f"next = {here.next!r} is not declared"
                                  f"{nearest(here.next, links)}")
            here, steps = links[here.next], steps + 1
            if steps >= CHAIN_MAX:
                raise place.error("next", f"link {row.name!r}: a circle, or a chain of more than"
                                  f" {CHAIN_MAX} links")


def _trees(
    places: Sequence[Place], rows: Sequence[ClassRow], links: Mapping[str, LinkRow],
) -> None:
    """Parents are there, no circle, not too deep, and guarantees fit what is above them."""
    nodes = {(row.link, row.id): row for row in rows}
    for place, row in zip(places, rows, strict=True):
        here, steps = row, 1
        while here.parent:
            if (here.link, here.parent) not in nodes:
                near = ", ".join(map(str, sorted(
                    each for link, each in nodes if link == here.link)[:20]))
                raise place.error("parent", f"parent = {here.parent}: link {here.link!r} has no"
                                  f" such class; it has {near}")
            here, steps = nodes[here.link, here.parent], steps + 1
            if steps > TREE_DEPTH_MAX:
                raise place.error("parent", f"class {row.id}: a circle, or more than"
                                  f" {TREE_DEPTH_MAX} classes deep")
    below = Counter[tuple[str, int]]()
    for row in rows:
        below[row.link, row.parent] += row.guarantee
    for place, row in zip(places, rows, strict=True):
        above = nodes.get((row.link, row.parent))
        most = links[row.link].rate if above is None else (
            above.guarantee or above.ceiling or links[row.link].rate)
        total = below[row.link, row.parent]
        if row.guarantee and most and total > most:
            named = f"class {row.parent}" if above else f"link {row.link!r}"
            raise place.error("guarantee", f"guarantees below {named} add up to {total} bit/s, and"
                              f" it has {most}")


def _leaf(place: Place, key: str, link: str, cls: int, leaves: Mapping[str, set[int]]) -> None:
    """Whether a class is a leaf of a link."""
    if cls not in leaves[link]:
        near = ", ".join(map(str, sorted(leaves[link])[:20]))
        raise place.error(key, f"{key}: class {cls} is no leaf of link {link!r}; leaves: {near}")


def _uses(
    place: Place, row: ShapingRow, meters: Mapping[str, MeterRow], links: Mapping[str, LinkRow],
    leaves: Mapping[str, set[int]],
) -> None:
    """What a [[shaping]] row names is there."""
    for direction, names, link, cls in (
            ("", row.meters, row.link, row.cls),
            ("reply_", row.reply_meters, row.reply_link, row.reply_cls),
    ):
        for name in names:
            if name not in meters:
                raise place.error(f"{direction}meters",
                                  f"{direction}meters: {name!r} is not declared"
                                  f"{nearest(name, meters)}")
        if link and link not in links:
            raise place.error(f"{direction}link", f"{direction}link = {link!r} is not declared"
                              f"{nearest(link, links)}")
        if cls is not None and not link:
            raise place.error(
                f"{direction}class", f"{direction}class = {cls} needs {direction}link")
        if not link:
            continue
        if cls is not None:
            _leaf(place, f"{direction}class", link, cls, leaves)
        own = "reply_class_by_dscp" if direction and row.reply_class_by_dscp is not None else (
            "class_by_dscp")
        for wanted in row.by_dscp("reply" if direction else "forward").values():
            _leaf(place, own, link, wanted, leaves)
        for name in names:
            meter = meters[name]
            for given in (meter.over_class, *(rung.cls for rung in meter.rungs)):
                if given is not None:
                    _leaf(place, f"{direction}meters", link, given, leaves)
    if row.class_by_dscp and not (row.link or row.reply_link):
        raise place.error("class_by_dscp", "class_by_dscp needs a link")
    if row.reply_class_by_dscp is not None and not row.reply_link:
        raise place.error("reply_class_by_dscp", "reply_class_by_dscp needs reply_link")


def _warnings(meters: Sequence[MeterRow], classes: Sequence[ClassRow],
              rows: Sequence[ShapingRow]) -> tuple[str, ...]:
    """What is allowed and probably not meant."""
    found = []
    for meter in meters:
        if meter.count == "packets":
            continue
        for number, rung in enumerate(meter.rungs, 1):
            if rung.depth < LARGEST_FRAME:
                found.append(f"meter {meter.name!r}: the bucket of rung {number} holds"
                             f" {rung.depth} bytes, less than a frame of {LARGEST_FRAME}")
    for row in classes:
        for name, rate, depth in (("guarantee_burst", row.guarantee, row.guarantee_burst),
                                  ("ceiling_burst", row.ceiling, row.ceiling_burst)):
            if rate and depth < LARGEST_FRAME:
                found.append(f"class {row.id} of link {row.link!r}: {name} is {depth} bytes, less"
                             f" than a frame of {LARGEST_FRAME}")
    for each in rows:
        if bool(each.meters or each.link) != bool(each.reply_meters or each.reply_link):
            direction = "the initiator's" if each.meters or each.link else "the responder's"
            found.append(f"shaping {each.id}: {direction} packets alone are shaped; the other way"
                         " has no meters and no link")
    return tuple(found)


def parse(
    meters: Sequence[Mapping[str, Any]] = (), links: Sequence[Mapping[str, Any]] = (),
    classes: Sequence[Mapping[str, Any]] = (), rows: Sequence[Mapping[str, Any]] = (),
) -> Declared:
    """What rows of a settings file declare. Raises SettingsError with place and nearest name."""
    metered = [Place(row, "meter", n) for n, row in enumerate(meters, 1)]
    linked = [Place(row, "link", n) for n, row in enumerate(links, 1)]
    classed = [Place(row, "class", n) for n, row in enumerate(classes, 1)]
    shaped = [Place(row, "shaping", n) for n, row in enumerate(rows, 1)]
    meter_rows = [_meter(place) for place in metered]
    _unique(metered, "name", [row.name for row in meter_rows])
    link_rows = [_link(place) for place in linked]
    _unique(linked, "name", [row.name for row in link_rows])
    by_name = {row.name: row for row in link_rows}
    _chains(linked, by_name)
    parents = {(row.get("link"), row.get("parent", 0)) for row in classes
               if isinstance(row.get("link"), str) and isinstance(row.get("parent", 0), int)}
    class_rows = [_class(place, by_name, parents) for place in classed]
    _unique(classed, "id", [(row.link, row.id) for row in class_rows])
    _trees(classed, class_rows, by_name)
    shaping_rows = [_shaping(place, n) for n, place in enumerate(shaped, 1)]
    _unique(shaped, "id", [row.id for row in shaping_rows])
    declared = Declared(tuple(meter_rows), tuple(link_rows), tuple(class_rows),
                        tuple(shaping_rows), _warnings(meter_rows, class_rows, shaping_rows))
    leaves = {name: {row.id for row in declared.leaves_of(name)} for name in by_name}
    named = {row.name: row for row in meter_rows}
    for place, row in zip(shaped, shaping_rows, strict=True):
        _uses(place, row, named, by_name, leaves)
    return declared
