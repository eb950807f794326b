"""[[meter]] [[link]] [[class]] [[shaping]] as they are written, to numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from fwcore.reference.policy import policy_parse
from fwcore.reference.rows import (
    ClassRow,
    Declared,
    LinkRow,
    MeterRow,
    RungRow,
    ShapingRow,
)

MULTIPLES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
TIMES = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
CONDITIONS = ("zone", "source", "destination", "protocol", "ports")


def rate_of(value: int | str, whole: int = 0) -> int:
    """Bit/s: a number, `10Mbit`, `125kB`, or a percentage of the link, floored."""
    if isinstance(value, int):
        return value
    value = "".join(value.split())
    if value.endswith("%"):
        return int(whole * Fraction(value[:-1]) / 100)
    match = re.fullmatch(r"([\d.]+)([kMG]?)(bit|B)", value)
    if not match:
        raise ValueError(f"no rate: {value}")
    bits = Fraction(match[1]) * MULTIPLES[match[2]] * (8 if match[3] == "B" else 1)
    return int(bits)


def all_of_it(value: int | str) -> bool:
    """Whether it is written as 100 % of the link."""
    return isinstance(value, str) and "%" in value and Fraction(value.partition("%")[0]) == 100


def ns_of(value: str) -> int:
    """A time as text, in nanoseconds."""
    match = re.fullmatch(r"([\d.]+)(s|ms|us|ns)", "".join(value.split()))
    if not match:
        raise ValueError(f"no time: {value}")
    return int(Fraction(match[1]) * TIMES[match[2]])


def depth_of(value: int | str, rate: int, bits: int = 8) -> int:
    """Bytes (packets), or a time of the rate, floored."""
    return value if isinstance(value, int) else max(1, rate * ns_of(value) // (bits * 10**9))


def meter_row(row: Mapping[str, Any]) -> MeterRow:
    """A `[[meter]]`."""
    given = dict(row)
    bits = 1 if given.get("count") == "packets" else 8
    rungs: list[RungRow] = []
    for rung in given.pop("rungs"):
        rate = rate_of(rung.get("rate", 0))
        rungs.append(RungRow(rate, depth_of(rung["depth"], rate or rungs[0].rate, bits),
                                  rung.get("dscp"), rung.get("class")))
    rename(given, overhead_bytes="overhead")
    return MeterRow(rungs=tuple(rungs), **given)


def link_row(row: Mapping[str, Any]) -> LinkRow:
    """A `[[link]]`."""
    given = dict(row)
    rename(given, overhead_bytes="overhead")
    given["rate"] = rate_of(given.get("rate", 0))
    return LinkRow(**given)


def class_row(row: Mapping[str, Any], links: dict[str, LinkRow]) -> ClassRow:
    """A `[[class]]`."""
    given = dict(row)
    whole = links[given["link"]].rate
    guarantee = rate_of(given.pop("guarantee", 0), whole)
    ceiling = given.pop("ceiling", "100%")
    ceiling = 0 if all_of_it(ceiling) else rate_of(ceiling, whole)
    auto = min(200_000, max(1000, guarantee // 80)) if guarantee else 1514
    quantum = given.pop("quantum_bytes", "auto")
    share = rate_of(given.pop("share_ceiling", 0))
    return ClassRow(
        guarantee=guarantee, ceiling=ceiling, share_ceiling=share,
        guarantee_burst=depth_of(given.pop("guarantee_burst", "10ms"), guarantee),
        ceiling_burst=depth_of(given.pop("ceiling_burst", "10ms"), ceiling),
        share_burst=depth_of(given.pop("share_burst", "10ms"), share),
        quantum=auto if quantum == "auto" else quantum,
        target_ns=ns_of(given.pop("target", "5ms")),
        interval_ns=ns_of(given.pop("interval", "100ms")), **given)


def shaping_row(row: Mapping[str, Any], number: int) -> ShapingRow:
    """A `[[shaping]]`; its conditions are those of a policy, and more."""
    given = {"id": number, **row}
    who = policy_parse({name: given.pop(name) for name in CONDITIONS if name in given})
    rename(given, **{"class": "cls", "reply_class": "reply_cls"})
    for name in ("meters", "reply_meters"):
        given[name] = tuple(given.get(name, ()))
    for name in ("policy", "dscp"):
        value = given.get(name, ())
        given[name] = frozenset([value] if isinstance(value, int) else value)
    for name in ("class_by_dscp", "reply_class_by_dscp"):
        if name in given:
            given[name] = {int(k): v for k, v in given[name].items()}
    return ShapingRow(**given, who=who)


def rename(row: dict[str, Any], **names: str) -> None:
    """Other names for keys."""
    for old, new in names.items():
        if old in row:
            row[new] = row.pop(old)


def declared(
    meters: Iterable[Mapping[str, Any]], links: Iterable[Mapping[str, Any]],
    classes: Iterable[Mapping[str, Any]], shapings: Iterable[Mapping[str, Any]], **more: Any,
) -> Declared:
    """All rows; `more`: the other fields."""
    link_rows = [link_row(link) for link in links]
    by_name = {link.name: link for link in link_rows}
    return Declared(
        meters=tuple(map(meter_row, meters)), links=tuple(link_rows),
        classes=tuple(class_row(cls, by_name) for cls in classes),
        rows=tuple(shaping_row(each, n) for n, each in enumerate(shapings, 1)), **more)
