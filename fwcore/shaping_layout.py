"""Shaping as the fast path reads it: rows of numbers for names and words.

    shaping.Declared  --lay_out-->  Plan: meters, links, classes, rows, and who matches them

A [[shaping]] row has one row of ``matches`` for each family, source, destination and range of
ports; they stand in the order of their rows, so that the first that matches names the first row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore import _shaper, _shaper_plan, policy
from fwcore.errors import SettingsError
from fwcore.shaping import Declared, ShapingRow

MATCHES_MAX = 1 << 20
NONE = -1
_HALF = (1 << 64) - 1


@dataclass(frozen=True, eq=False)
class Plan:
    """What ``_shaper.Shaper`` is made of; names and classes as they are numbered."""

    meters: NDArray[Any]
    links: NDArray[Any]
    classes: NDArray[Any]
    rows: NDArray[Any]
    matches: NDArray[Any]
    policy_ids: NDArray[np.uint32]
    meter_names: tuple[str, ...]
    link_names: tuple[str, ...]

    def bytes(self, sessions: int, packets_max: int, keep: bool) -> int:
        """About what a shaper of it takes of this machine's memory."""
        packets = packets_max or int(
            np.maximum(self.classes["limit_packets"], 1).sum(dtype=np.uint64))
        keyed = self.meters["key"] != _shaper.KEYS.index("none")
        keys = int(self.meters["keys_max"][keyed].sum(dtype=np.uint64))
        shares = int(self.classes["shares"][self.classes["share"] != 0].sum(dtype=np.uint64))
        return (sessions * 64 + packets * (96 + 44 * keep) + keys * 136 + shares * 200
                + (len(self.classes) + len(self.links)) * 17_408 + len(self.links) * 262_144
                + self.rows.nbytes + len(self.matches) * (self.matches.itemsize + 12)
                + self._bytes_of_samples())

    def _bytes_of_samples(self) -> int:
        row = 8 * (1 + 3 * len(self.links) + 4 * len(self.classes) + 2 * len(self.meters))
        return row * max(64, min(512, (1 << 23) // row))

    def named(self, found: dict[str, Any]) -> dict[str, Any]:
        """A shaper's counters by names: meters, links, and classes as ``link:id``."""
        return found | {
            "meters": dict(zip(self.meter_names, found["meters"], strict=True)),
            "links": dict(zip(self.link_names, found["links"], strict=True)),
            "classes": {
                f"{self.link_names[row['link']]}:{row['id']}":
                    {key: row[key] for key in row if key not in ("link", "id")}
                for row in found["classes"]}}


def _number(value: int | None) -> int:
    return NONE if value is None else value


def _meters(declared: Any) -> NDArray[Any]:
    made = np.zeros(len(declared.meters), _shaper_plan.METER_DTYPE)
    for at, row in zip(made, declared.meters, strict=True):
        for name in ("keys_max", "max_sessions", "max_tcp_sessions", "max_udp_sessions",
                     "overhead"):
            at[name] = getattr(row, name)
        at["algorithm"] = _shaper.ALGORITHM_NAMES.index(row.algorithm)
        at["key"] = _shaper.KEYS.index(row.key)
        at["need"] = _shaper.NEEDS.index(row.need)
        at["count"] = _shaper.COUNTS.index(row.count)
        at["over"] = _shaper.OVERS.index(row.over)
        at["over_class"] = _number(row.over_class)
        at["rungs"] = len(row.rungs)
        for number, rung in enumerate(row.rungs):
            at["rate"][number], at["depth"][number] = rung.rate, rung.depth
            at["dscp"][number] = _shaper.UNMARKED if rung.dscp is None else rung.dscp
            at["cls"][number] = _number(rung.cls)
    return made


def _classes(declared: Any, links: Sequence[str]) -> NDArray[Any]:
    rows = [(number, row) for number, name in enumerate(links)
            for row in declared.classes_of(name)]
    made = np.zeros(len(rows), _shaper_plan.CLASS_DTYPE)
    for at, (link, row) in zip(made, rows, strict=True):
        for name in ("id", "parent", "guarantee", "ceiling", "guarantee_burst", "ceiling_burst",
                     "priority", "quantum", "limit_packets", "limit_bytes", "red_min", "red_max",
                     "red_probability", "target_ns", "interval_ns", "ecn", "shares",
                     "share_ceiling", "share_burst"):
            at[name] = getattr(row, name)
        at["link"] = link
        at["discard"] = _shaper.DISCARD_NAMES.index(row.discard)
        at["share"] = _shaper.SHARE_NAMES.index(row.share)
        at["need"] = _shaper.NEEDS.index(row.need)
    return made


def _rows(declared: Any, meters: Sequence[str], links: Sequence[str]) -> NDArray[Any]:
    made = np.zeros(len(declared.rows), _shaper_plan.SHAPING_DTYPE)
    for at, row in zip(made, declared.rows, strict=True):
        at["id"] = row.id
        for direction, names in enumerate((row.meters, row.reply_meters)):
            numbers = [meters.index(name) for name in names]
            at["meters"][direction] = numbers + [NONE] * (
                _shaper.DIRECTION_METERS - len(numbers))
        at["link"] = [links.index(name) if name else NONE for name in (row.link, row.reply_link)]
        at["cls"] = [_number(row.cls), _number(row.reply_cls)]
        at["by_dscp"] = [[row.by_dscp(direction).get(mark, NONE) for mark in range(64)]
                         for direction in ("forward", "reply")]
    return made


def _halves(number: int) -> list[int]:
    return [number >> 64, number & _HALF]


def _matches_of(number: int, row: ShapingRow) -> Iterator[dict[str, Any]]:
    """Each way for a session to match a row."""
    who = row.who
    for family in who.families():
        for source, source_mask in policy.of_family(who.source, family):
            for destination, destination_mask in policy.of_family(who.destination, family):
                for low, high in who.ports or ((0, 65535),):
                    yield {
                        "row": number, "family": family, "protocol": who.protocol,
                        "zone": who.zone, "has_ports": bool(who.ports), "port_low": low,
                        "port_high": high, "source": _halves(source),
                        "source_mask": _halves(source_mask), "destination": _halves(destination),
                        "destination_mask": _halves(destination_mask),
                        "dscp": sum(1 << mark for mark in row.dscp)}


def _matches(declared: Any) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    found: list[dict[str, Any]] = []
    ids: list[int] = []
    for number, row in enumerate(declared.rows):
        first, count = len(ids), len(row.policy)
        ids += sorted(row.policy)
        for match in _matches_of(number, row):
            found.append(match | {"policies_first": first, "policies": count})
            if len(found) > MATCHES_MAX:
                raise SettingsError(
                    f"shaping {row.id}: rows times their networks and ports are more than"
                    f" {MATCHES_MAX}; use fewer")
    made = np.zeros(len(found), _shaper_plan.MATCH_DTYPE)
    for at, match in zip(made, found, strict=True):
        for name, value in match.items():
            at[name] = value
    return made, np.array(ids, dtype=np.uint32)


def lay_out(declared: Declared) -> Plan:
    """The arrays of what is declared. Raises SettingsError where they were too long."""
    meters = tuple(row.name for row in declared.meters)
    names = tuple(row.name for row in declared.links)
    links = np.zeros(len(names), _shaper_plan.LINK_DTYPE)
    for at, row in zip(links, declared.links, strict=True):
        at["rate"], at["overhead"] = row.rate, row.overhead
        at["count"] = _shaper.COUNTS.index(row.count)
        at["next"] = names.index(row.next) if row.next else NONE
    matches, ids = _matches(declared)
    return Plan(_meters(declared), links, _classes(declared, names),
                _rows(declared, meters, names), matches, ids, meters, names)


def places(new: Plan, old: Plan) -> tuple[list[int], list[int]]:
    """For each meter and each link of a plan its number in another; -1: it was not there."""
    return tuple(  # type: ignore[return-value]
        [before.index(name) if name in before else NONE for name in after]
        for after, before in ((new.meter_names, old.meter_names),
                              (new.link_names, old.link_names)))
