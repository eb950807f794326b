"""Shaping as settings say it: meters, links, classes, and which sessions meet them.

    [[meter]] [[link]] [[class]] [[shaping]]  --parse-->  Declared, every value a number
                                              --shaping_layout-->  arrays of the fast path

Rates are bit/s (packets/s where a meter counts packets), depths bytes (packets), times ns. 0
stands for "none" wherever a rate, a limit or a mark may be missing.

Laws: a name that is used is declared; a chain of links and a tree of classes have no circle; a
session that no row matches is not shaped; no row at all: nothing of this exists.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd
from typing import Any, NamedTuple

from fwcore.errors import SettingsError
from fwcore.policy import DEFAULT, Policy, who
from fwcore.units import SECOND_NS
from fwcore.words import nearest

UNITS_MAX = 1 << 61   # of g nanobits, g = gcd(rate, 10^9): what a level of 64 bits can count
RATE_MAX = 10**12     # bit/s: a line of 1 Tbit/s
BYTES_MAX = 1 << 40
RUNGS_MAX = 8
METERS_MAX = 4
CHAIN_MAX = 8         # [R: Clavister: at most 8 pipes]
TREE_DEPTH_MAX = 8    # [R: Linux TC_HTB_MAXDEPTH]
PRIORITIES = 8        # [R: Linux TC_HTB_NUMPRIO]
LARGEST_FRAME = 1514  # a bucket below this never lets an ordinary packet pass
WHOLE_LINK = 1        # id of the class of a link that declares none
_RATE = re.compile(r"\s*([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*([kMG]?)(bit|B)\s*")
_TIME = re.compile(r"\s*([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*(s|ms|us|ns)\s*")
_PERCENT = re.compile(r"\s*([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*%\s*")
_MULTIPLES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_TIMES = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


class Key(NamedTuple):
    """One key of a row: what it takes, what it is without, and what it means."""

    kind: str  # name | choice | count | bool | rate | depth | time | names | ids | map | rungs
    help: str
    default: Any = None
    low: int = 0
    high: int = 0
    choices: tuple[str, ...] = ()

    def allowed(self) -> str:
        """The allowed values in words."""
        return {
            "name": "a name of 1 to 64 characters", "bool": "true or false",
            "choice": "one of " + ", ".join(self.choices),
            "rate": f'{self.low} to {self.high} bit/s, or text such as "10Mbit" or "125kB"',
            "share": f'{self.low} to {self.high} bit/s, text such as "10Mbit", or a share of the'
                     ' link such as "20%"',
            "depth": f'{self.low} to {self.high} bytes, or a time of the rate such as "10ms"',
            "time": f'a time such as "5ms", {self.low} to {self.high} ns',
            "names": f"a list of at most {self.high} names",
            "ids": f"a list of numbers from {self.low} to {self.high}",
            "map": "a table of DSCP 0 to 63 -> class id",
            "rungs": f"1 to {self.high} tables of rate, depth, dscp, class",
            "quantum": f'{self.low} to {self.high} bytes, or "auto"',
        }.get(self.kind, f"{self.low} to {self.high}")


_DEPTH = ("depth", 1, 1 << 60)
METER: Mapping[str, Key] = {
    "name": Key("name", "what [[shaping]] rows call it"),
    "rungs": Key("rungs", "rates with their depth, the lowest first; each may give a mark and a"
                 " class", high=RUNGS_MAX),
    "algorithm": Key("choice", "of two rungs: RFC 2698 and more rungs, 2697 or 4115", "rfc2698",
                     choices=("rfc2698", "rfc2697", "rfc4115")),
    "key": Key("choice", "a bucket of its own for each", "none",
               choices=("none", "policy", "rule", "source", "destination", "initiator")),
    "keys_max": Key("count", "buckets kept", 65_536, 1, 1 << 22),
    "need": Key("choice", "the whole packet must be in the bucket, or its level not be negative",
                "packet", choices=("packet", "level")),
    "count": Key("choice", "bytes of the IP packet, of the frame, of the frame on the wire (+ 24);"
                 " or packets", "ip", choices=("ip", "frame", "wire", "packets")),
    "overhead_bytes": Key("count", "added to each packet", 0, -65_535, 65_535),
    "over": Key("choice", "what becomes of a packet beyond the last rung", "drop",
                choices=("drop", "pass", "class")),
    "over_class": Key("count", "id of that class, on each link of a row that names the meter", None,
                      1, 65_535),
    "max_sessions": Key("count", "key initiator: more sessions are refused; 0 is off", 0, 0,
                        1 << 30),
    "max_tcp_sessions": Key("count", "the same of TCP", 0, 0, 1 << 30),
    "max_udp_sessions": Key("count", "the same of UDP", 0, 0, 1 << 30),
}
RUNG: Mapping[str, Key] = {
    "rate": Key("rate", "bit/s, or packets/s where the meter counts packets", None, 1, RATE_MAX),
    "depth": Key(_DEPTH[0], "of the bucket: bytes (packets), or a time of its rate", None, 1,
                 _DEPTH[2]),
    "dscp": Key("count", "mark of its packets", None, 0, 63),
    "class": Key("count", "class of its packets", None, 1, 65_535),
}
LINK: Mapping[str, Key] = {
    "name": Key("name", "what classes and [[shaping]] rows call it"),
    "rate": Key("rate", "of the line; 0: no line, packets leave as soon as classes allow", 0, 0,
                RATE_MAX),
    "count": Key("choice", "bytes of the IP packet, of the frame, or of the frame on the wire",
                 "frame", choices=("ip", "frame", "wire")),
    "overhead_bytes": Key("count", "added to each packet", 0, -65_535, 65_535),
    "next": Key("name", "the link that what leaves enters", ""),
}
CLASS: Mapping[str, Key] = {
    "link": Key("name", "whose class it is"),
    "id": Key("count", "unique within its link", None, 1, 65_535),
    "parent": Key("count", "id of the class above; 0: the link", 0, 0, 65_535),
    "guarantee": Key("share", "what it has before others; 0: nothing", 0, 0, RATE_MAX),
    "ceiling": Key("share", "what it never exceeds", "100%", 1, RATE_MAX),
    "guarantee_burst": Key("depth", "bucket of the guarantee", "10ms", 1, _DEPTH[2]),
    "ceiling_burst": Key("depth", "bucket of the ceiling", "10ms", 1, _DEPTH[2]),
    "priority": Key("count", "0 goes first", 0, 0, PRIORITIES - 1),
    "quantum_bytes": Key("quantum", "what it sends in its turn", "auto", 256, 1 << 30),
    "limit_packets": Key("count", "packets that may wait; 0: no queue, what cannot leave as it"
                         " comes is dropped", 1000, 0, 1 << 20),
    "limit_bytes": Key("count", "bytes that may wait; 0: no limit", 0, 0, BYTES_MAX),
    "discard": Key("choice", "which way to discard", "tail", choices=("tail", "red", "codel")),
    "red_min": Key("count", "red: waiting packets from which some are dropped", 83, 0, 1 << 20),
    "red_max": Key("count", "red: waiting packets from which all are dropped", 250, 1, 1 << 20),
    "red_probability": Key("count", "red: percent dropped just below red_max", 0, 0, 100),
    "target": Key("time", "codel: a wait that may stand", "5ms", 0, 1 << 62),
    "interval": Key("time", "codel: for so long", "100ms", 1, (1 << 32) - 1),
    "ecn": Key("bool", "codel: mark packets that can be marked instead of dropping them", False),
    "share": Key("choice", "sub-queues of their own for each, served in turn", "none",
                 choices=("none", "flow", "source", "destination")),
    "shares": Key("count", "sub-queues", 1024, 1, 65_536),
    "share_ceiling": Key("rate", "what no sub-queue exceeds; 0: no limit", 0, 0, RATE_MAX),
    "share_burst": Key("depth", "bucket of share_ceiling", "10ms", 1, _DEPTH[2]),
    "need": Key("choice", "the whole packet must be in a bucket, or its level not be negative",
                "level", choices=("level", "packet")),
}
MATCH = ("zone", "source", "destination", "protocol", "ports")   # as in [[policy]]
SHAPING: Mapping[str, Key] = {
    "id": Key("count", "of the row", None, 0, 2**32 - 1),
    "meters": Key("names", "that packets of the initiator meet", (), high=METERS_MAX),
    "reply_meters": Key("names", "that packets of the responder meet", (), high=METERS_MAX),
    "link": Key("name", "that packets of the initiator leave by", ""),
    "reply_link": Key("name", "that packets of the responder leave by", ""),
    "class": Key("count", "a leaf of that link; without it the leaf with the lowest id", None, 1,
                 65_535),
    "reply_class": Key("count", "the same of reply_link", None, 1, 65_535),
    "class_by_dscp": Key("map", "class by a packet's own DSCP; not listed: class", {}),
    "reply_class_by_dscp": Key("map", "the same of replies; without it they go by class_by_dscp",
                               None),
    "policy": Key("ids", "sessions of these policies", (), 0, 2**32 - 1),
    "dscp": Key("ids", "sessions whose first packet has one of these", (), 0, 63),
}
KINDS = {"meter": METER, "link": LINK, "class": CLASS, "shaping": SHAPING}


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

    def by_dscp(self, way: str) -> Mapping[int, int]:
        """Classes by a packet's own DSCP, of one way."""
        own = self.reply_class_by_dscp
        return own if way == "reply" and own is not None else self.class_by_dscp


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


# --- one value ------------------------------------------------------------------------------------


class Place:
    """A row and where it stands; what it refuses says so."""

    def __init__(self, row: Mapping[str, Any], kind: str, number: int) -> None:
        self.row = row
        self.kind = kind
        self.fallback = f"{kind} {number}"

    def where(self, key: str) -> str:
        """``file:line`` of a key, else of the row."""
        where = getattr(self.row, "where", self.fallback)
        found: str = getattr(self.row, "lines", {}).get(key, where)
        return found

    def error(self, key: str, text: str) -> SettingsError:
        return SettingsError(f"{self.where(key)}: {text}")

    def refuse(self, name: str, key: Key, value: Any, problem: str) -> SettingsError:
        shown = repr(value)[:60]
        return self.error(name, f"{name} = {shown} {problem}; allowed: {key.allowed()}")


class _Within(Place):
    """A table within a row: it stands where the row's key does."""

    def __init__(self, outer: Place, key: str, row: Mapping[str, Any]) -> None:
        super().__init__(row, outer.kind, 0)
        self.fallback = outer.where(key)

    def where(self, key: str) -> str:
        """``file:line`` of the key around it."""
        return self.fallback


def _whole(place: Place, name: str, key: Key, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise place.refuse(name, key, value, "is not a whole number")
    if not key.low <= value <= key.high:
        raise place.refuse(name, key, value, "is out of range")
    return value


def _rate(place: Place, name: str, key: Key, value: Any, whole: int = 0) -> int:
    """Bit/s: a number, ``"10Mbit"``, ``"125kB"``, or of a link's rate ``"20%"``, floored."""
    if isinstance(value, str):
        share = _PERCENT.fullmatch(value) if key.kind == "share" else None
        match = _RATE.fullmatch(value)
        if share:
            if not Fraction(share[1]) <= 100:
                raise place.refuse(name, key, value, "is more than there is")
            if not whole:
                raise place.refuse(name, key, value, "is a share of a link without a rate")
            value = int(whole * Fraction(share[1]) / 100)
        elif match:
            bits = Fraction(match[1]) * _MULTIPLES[match[2]] * (8 if match[3] == "B" else 1)
            if bits.denominator != 1:
                raise place.refuse(name, key, value, "is not a whole number of bit/s")
            value = int(bits)
        else:
            raise place.refuse(name, key, value, "is no rate")
    return _whole(place, name, key, value)


def _time(place: Place, name: str, key: Key, value: Any) -> int:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise place.refuse(name, key, value, "is no time")
    return _whole(place, name, key, int(Fraction(match[1]) * _TIMES[match[2]]))


def _depth(place: Place, name: str, key: Key, value: Any, rate: int, bits: int = 8,
           unit_rate: int = 0) -> int:
    """Bytes (packets), or a time of the rate, floored; held to what 64 bits can count."""
    if isinstance(value, str):
        match = _TIME.fullmatch(value)
        if not match:
            raise place.refuse(name, key, value, "is neither bytes nor a time")
        number = int(rate * Fraction(match[1]) * _TIMES[match[2]] / (bits * SECOND_NS))
        if number < 1:
            raise place.refuse(name, key, value, f"is less than one byte at {rate} bit/s")
    else:
        number = _whole(place, name, key, value)
    most = UNITS_MAX // (bits * (SECOND_NS // gcd(rate or unit_rate, SECOND_NS)))
    if number > most:
        raise place.error(
            name, f"{name} = {value!r} is {number} bytes; at {rate or unit_rate} bit/s a bucket"
            f" holds at most {most} (2^61 units of its level)")
    return number


def _names(place: Place, name: str, key: Key, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        raise place.refuse(name, key, value, "is no list of names")
    if len(value) > key.high:
        raise place.refuse(name, key, value, f"has {len(value)}")
    return tuple(value)


def _ids(place: Place, name: str, key: Key, value: Any) -> frozenset[int]:
    listed = value if isinstance(value, (list, tuple)) else [value]
    if not listed:
        raise place.refuse(name, key, value, "matches nothing; leave it out")
    return frozenset(_whole(place, name, key, each) for each in listed)


def read_value(place: Place, name: str, key: Key, value: Any) -> Any:
    """A value that needs nothing else to be understood."""
    if key.kind == "count":
        return _whole(place, name, key, value)
    if key.kind == "name":
        if not isinstance(value, str) or not (1 <= len(value) <= 64 or value == key.default):
            raise place.refuse(name, key, value, "is no name")
        return value
    if key.kind == "bool":
        if not isinstance(value, bool):
            raise place.refuse(name, key, value, "is neither true nor false")
        return value
    if key.kind == "choice":
        if not isinstance(value, str) or value not in key.choices:
            raise place.refuse(name, key, value, f"is unknown{nearest(value, key.choices)}")
        return value
    return {"rate": _rate, "time": _time, "names": _names, "ids": _ids}[key.kind](
        place, name, key, value)


def _keys(place: Place, row: Mapping[str, Any], known: Mapping[str, Key],
          more: Sequence[str] = ()) -> None:
    """Every key is known, and those without a default are there."""
    allowed = (*known, *more)
    for key in row:
        if key not in allowed:
            raise place.error(key, f'unknown key "{key}" in [[{place.kind}]]'
                              f"{nearest(key, allowed)}; allowed: {', '.join(allowed)}")


def _take(place: Place, known: Mapping[str, Key], *names: str) -> dict[str, Any]:
    """The values of some keys, given or as they are without."""
    found = {}
    for name in names:
        key = known[name]
        if name in place.row:
            found[name] = read_value(place, name, key, place.row[name])
        elif key.default is None and key.kind == "name":
            raise place.error(name, f"[[{place.kind}]] needs {name}")
        else:
            found[name] = key.default
    return found


# --- one row --------------------------------------------------------------------------------------


def _rung(place: Place, row: Any, bits: int, algorithm: str, first: int) -> RungRow:
    if not isinstance(row, Mapping):
        raise place.refuse("rungs", METER["rungs"], row, "is no table")
    place = _Within(place, "rungs", row)
    _keys(place, row, RUNG)
    excess = algorithm == "rfc2697" and first
    for name in ("depth",) if excess else ("rate", "depth"):
        if name not in row:
            raise place.error("rungs", f"rungs: {dict(row)!r} needs {name}")
    if excess and "rate" in row:
        raise place.error("rungs", "rungs: by rfc2697 the second rung is the excess burst: it has"
                          " a depth and no rate")
    rate = 0 if excess else _rate(place, "rate", RUNG["rate"], row["rate"])
    depth = _depth(place, "depth", RUNG["depth"], row["depth"], rate or first, bits, first)
    marks = {name: _whole(place, name, RUNG[name], row[name]) if name in row else None
             for name in ("dscp", "class")}
    return RungRow(rate, depth, marks["dscp"], marks["class"])


def _meter(place: Place) -> MeterRow:
    row = place.row
    _keys(place, row, METER)
    given = _take(place, METER, *(name for name in METER if name != "rungs"))
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
    _keys(place, place.row, LINK)
    given = _take(place, LINK, *LINK)
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
    _keys(place, row, CLASS)
    if "id" not in row:
        raise place.error("id", "[[class]] needs id")
    simple = [name for name, key in CLASS.items()
              if key.kind not in ("share", "depth", "quantum", "time")]
    given = _take(place, CLASS, *simple)
    if given["link"] not in links:
        raise place.error("link", f"link = {given['link']!r} is not declared"
                          f"{nearest(given['link'], links)}")
    _class_sense(place, given, (given["link"], given["id"]) in parents)
    whole = links[given["link"]].rate
    guarantee = _rate(place, "guarantee", CLASS["guarantee"], row.get("guarantee", 0), whole)
    ceiling = 0
    if row.get("ceiling", "100%") != "100%":
        ceiling = _rate(place, "ceiling", CLASS["ceiling"], row["ceiling"], whole)
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
            bursts[name] = _depth(place, name, CLASS[name], row[name], rate)
        elif rate:
            bursts[name] = max(1, rate // (8 * 100))  # 10 ms
    for name in ("target", "interval"):
        given[f"{name}_ns"] = _time(place, name, CLASS[name], row.get(name, CLASS[name].default))
    auto = min(200_000, max(1000, guarantee // 80)) if guarantee else LARGEST_FRAME
    quantum = row.get("quantum_bytes", "auto")
    if quantum != "auto":
        auto = _whole(place, "quantum_bytes", CLASS["quantum_bytes"], quantum)
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
        found[int(text)] = _whole(place, name, SHAPING["class"], cls)
    return found


def _shaping(place: Place, number: int) -> ShapingRow:
    row = place.row
    _keys(place, row, SHAPING, MATCH)
    names = [name for name, key in SHAPING.items() if key.kind in ("names", "name", "count")
             and name != "id"]
    given = _take(place, SHAPING, *names)
    given["cls"], given["reply_cls"] = given.pop("class"), given.pop("reply_class")
    for name in ("policy", "dscp"):
        given[name] = frozenset()
        if name in row:
            given[name] = _ids(place, name, SHAPING[name], row[name])
    ident = _whole(place, "id", SHAPING["id"], row.get("id", number))
    if "reply_class_by_dscp" in row:
        given["reply_class_by_dscp"] = _by_dscp(place, "reply_class_by_dscp")
    return ShapingRow(ident, class_by_dscp=_by_dscp(place, "class_by_dscp"),
                      who=who(row, place.fallback), **given)


# --- rows against each other ----------------------------------------------------------------------


def _unique(places: Sequence[Place], key: str, names: Sequence[Any]) -> None:
    seen = set()
    for place, name in zip(places, names, strict=True):
        if name in seen:
            raise place.error(key, f"{key} = {name!r} is given twice")
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
                raise place.error("parent", f"parent = {here.parent}: link {here.link!r} has no"
                                  " such class")
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
    for way, names, link, cls in (("", row.meters, row.link, row.cls),
                                  ("reply_", row.reply_meters, row.reply_link, row.reply_cls)):
        for name in names:
            if name not in meters:
                raise place.error(f"{way}meters", f"{way}meters: {name!r} is not declared"
                                  f"{nearest(name, meters)}")
        if link and link not in links:
            raise place.error(f"{way}link", f"{way}link = {link!r} is not declared"
                              f"{nearest(link, links)}")
        if cls is not None and not link:
            raise place.error(f"{way}class", f"{way}class = {cls} needs {way}link")
        if not link:
            continue
        if cls is not None:
            _leaf(place, f"{way}class", link, cls, leaves)
        own = "reply_class_by_dscp" if way and row.reply_class_by_dscp is not None else (
            "class_by_dscp")
        for wanted in row.by_dscp("reply" if way else "forward").values():
            _leaf(place, own, link, wanted, leaves)
        for name in names:
            meter = meters[name]
            for given in (meter.over_class, *(rung.cls for rung in meter.rungs)):
                if given is not None:
                    _leaf(place, f"{way}meters", link, given, leaves)
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
            way = "the initiator's" if each.meters or each.link else "the responder's"
            found.append(f"shaping {each.id}: {way} packets alone are shaped; the other way has no"
                         " meters and no link")
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
    leaves = {name: {row.id for row in declared.classes_of(name)} - {
        row.parent for row in declared.classes_of(name)} for name in by_name}
    named = {row.name: row for row in meter_rows}
    for place, row in zip(shaped, shaping_rows, strict=True):
        _uses(place, row, named, by_name, leaves)
    return declared
