"""One value of a row of shaping: its key, its range, its unit, and where it stands.

    text or integer of a settings file -> Key says what it may be -> an exact integer

Rates become bit/s, depths bytes, times nanoseconds. What is wrong is said with file, row and key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import gcd
from typing import Any, NamedTuple

from fwcore._layout import LATEST_NS
from fwcore.errors import SettingsError
from fwcore.units import SECOND_NS, nanoseconds
from fwcore.words import cut, nearest

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

    def without(self) -> str:
        """What it is where it is left out, in words; "" where nothing stands for it."""
        if self.default is None:
            return "needed" if self.kind == "name" else ""
        if self.kind == "switch":
            return "enable" if self.default else "disable"
        if self.kind.startswith("tc-"):
            return "" if not self.default else (
                nanoseconds(self.default) if self.kind == "tc-time" else str(self.default))
        if isinstance(self.default, tuple):
            return ", ".join(map(str, self.default))
        return str(self.default).lower() if self.kind == "bool" else str(self.default or (
            "" if isinstance(self.default, (str, dict)) else 0))


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
    "quantum_bytes": Key("quantum", "what it sends in its turn; auto: a tenth of what its guarantee"
                         " brings in a second, 1000 to 200000, and 1514 without one", "auto", 256,
                         1 << 30),
    "limit_packets": Key("count", "packets that may wait; 0: no queue, what cannot leave as it"
                         " comes is dropped", 1000, 0, 1 << 20),
    "limit_bytes": Key("count", "bytes that may wait; 0: no limit", 0, 0, BYTES_MAX),
    "discard": Key("choice", "which way to discard", "tail", choices=("tail", "red", "codel")),
    "red_min": Key("count", "red: waiting packets from which some are dropped", 83, 0, 1 << 20),
    "red_max": Key("count", "red: waiting packets from which all are dropped", 250, 1, 1 << 20),
    "red_probability": Key("count", "red: percent dropped just below red_max", 0, 0, 100),
    "target": Key("time", "codel: a wait that may stand", "5ms", 0, LATEST_NS),
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
        return self.error(
            name, f"{name} = {cut(repr(value))} {problem}; allowed: {key.allowed()}")


class Within(Place):
    """A table within a row: it stands where the row's key does."""

    def __init__(self, outer: Place, key: str, row: Mapping[str, Any]) -> None:
        super().__init__(row, outer.kind, 0)
        self.fallback = outer.where(key)

    def where(self, key: str) -> str:
        """``file:line`` of the key around it."""
        return self.fallback


def read_whole(place: Place, name: str, key: Key, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise place.refuse(name, key, value, "is not a whole number")
    if not key.low <= value <= key.high:
        raise place.refuse(name, key, value, "is out of range")
    return value


def read_rate(place: Place, name: str, key: Key, value: Any, whole: int = 0) -> int:
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
    return read_whole(place, name, key, value)


def is_whole(value: Any) -> bool:
    """Whether it is written as all of the link: then the line is there first."""
    share = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    return share is not None and Fraction(share[1]) == 100


def read_time(place: Place, name: str, key: Key, value: Any) -> int:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise place.refuse(name, key, value, "is no time")
    return read_whole(place, name, key, int(Fraction(match[1]) * _TIMES[match[2]]))


def read_depth(place: Place, name: str, key: Key, value: Any, rate: int, bits: int = 8,
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
        number = read_whole(place, name, key, value)
    most = UNITS_MAX // (bits * (SECOND_NS // gcd(rate or unit_rate, SECOND_NS)))
    if number > most:
        raise place.error(
            name, f"{name} = {value!r} is {number} bytes; at {rate or unit_rate} bit/s a bucket"
            f" holds at most {most} (2^61 units of its level)")
    return number


def read_names(place: Place, name: str, key: Key, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        raise place.refuse(name, key, value, "is no list of names")
    if len(value) > key.high:
        raise place.refuse(name, key, value, f"has {len(value)}")
    return tuple(value)


def read_ids(place: Place, name: str, key: Key, value: Any) -> frozenset[int]:
    listed = value if isinstance(value, (list, tuple)) else [value]
    if not listed:
        raise place.refuse(name, key, value, "matches nothing; leave it out")
    return frozenset(read_whole(place, name, key, each) for each in listed)


def read_value(place: Place, name: str, key: Key, value: Any) -> Any:
    """A value that needs nothing else to be understood."""
    if key.kind == "count":
        return read_whole(place, name, key, value)
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
    return {"rate": read_rate, "time": read_time, "names": read_names, "ids": read_ids}[key.kind](
        place, name, key, value)


def known_keys(place: Place, row: Mapping[str, Any], known: Mapping[str, Key],
          more: Sequence[str] = ()) -> None:
    """Every key is known, and those without a default are there."""
    allowed = (*known, *more)
    for key in row:
        if key not in allowed:
            raise place.error(key, f'unknown key "{key}" in [[{place.kind}]]'
                              f"{nearest(key, allowed)}; allowed: {', '.join(allowed)}")


def read_keys(place: Place, known: Mapping[str, Key], *names: str) -> dict[str, Any]:
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
