"""Rows of a settings file: [[base_item]] and [[pressure]]; [[policy]] has a file of its own."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fwcore.errors import SettingsError
from fwcore.settings.declared import HUGE, LONG, MANY, Declaration
from fwcore.settings.document import Row
from fwcore.settings.values import Bad, coerce, refuse, show
from fwcore.units import DAY_S, SECOND_NS, clock, to_ns
from fwcore.words import nearest

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
DAY_NS = DAY_S * SECOND_NS
_POSITIVE = Declaration("", "count", "", "", 1, HUGE)
_AT = Declaration("at_s", "seconds", "s", "", 0, LONG)


def _row_value(row: Row, key: str, declaration: Declaration, kilo: int) -> Any:
    try:
        return coerce(declaration, row[key], kilo)
    except Bad as bad:
        named = declaration._replace(name=key)
        raise refuse(row.lines.get(key, row.where), named, row[key], str(bad)) from None


def _row_keys(row: Row, kind: str, known: Sequence[str]) -> None:
    for key in row:
        if key not in known:
            raise SettingsError(
                f'{row.lines.get(key, row.where)}: unknown key "{key}" in [[{kind}]]'
                f"{nearest(key, known)}; allowed: {', '.join(known)}"
            )


def _check_base_item(row: Row, kilo: int) -> Row:
    """name, count, bytes_each; all required."""
    _row_keys(row, "base_item", ("name", "count", "bytes_each"))
    for key in ("name", "count", "bytes_each"):
        if key not in row:
            raise SettingsError(f"{row.where}: [[base_item]] needs {key}")
    if not isinstance(row["name"], str) or not row["name"]:
        raise SettingsError(f"{row.lines.get('name', row.where)}: name must be a text")
    count = Declaration("count", "count", "", "", 0, MANY)
    size = Declaration("bytes_each", "bytes", "bytes", "", 0, HUGE)
    values = {
        "name": row["name"],
        "count": _row_value(row, "count", count, kilo),
        "bytes_each": _row_value(row, "bytes_each", size, kilo),
    }
    return Row(values, row.where, row.lines)


_CLOCK = re.compile(r"(?:(\d{4}-\d\d-\d\d)[ T])?(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?")


def clock_ns(text: str, first_ns: int) -> int:
    """The moment that a clock names: "13:32:50", "2026-11-02 13:32:50.25", in UTC; ns since 1970.

    Without a date: the first such moment that is not before ``first_ns``. Raises ValueError.
    """
    match = _CLOCK.fullmatch(text.strip())
    if not match:
        raise ValueError("is no time of day such as 13:32:50")
    date, hour, minute, second, part = match.groups()
    day = datetime.date.fromisoformat(date) if date else EPOCH.date()
    moment = datetime.datetime(day.year, day.month, day.day, int(hour), int(minute),
                               int(second or 0), tzinfo=datetime.UTC)
    found = int((moment - EPOCH).total_seconds()) * SECOND_NS + int((part or "0").ljust(9, "0"))
    if not date:
        found += first_ns // DAY_NS * DAY_NS
        found += DAY_NS if found < first_ns else 0
    return found


def at_clock(rows: Sequence[Row], first_ns: int) -> tuple[Row, ...]:
    """[[pressure]] rows whose ``at`` is a time of day, as seconds from the first packet.

    Raises SettingsError for a moment before it.
    """
    made = []
    for row in rows:
        if "at" in row:
            at_ns = clock_ns(row["at"], first_ns) - first_ns
            if at_ns < 0:
                raise SettingsError(
                    f"{row.lines.get('at', row.where)}: at = {show(row['at'])} is before the first"
                    f" packet, which came at {clock(first_ns)} UTC")
            values = {key: row[key] for key in row if key != "at"}
            row = Row(values | {"at_s": at_ns / SECOND_NS, "at_ns": at_ns}, row.where, row.lines)
        made.append(row)
    return tuple(made)


def _check_at(row: Row) -> None:
    """A time of day; not beside at_s. What it is in seconds the first packet says."""
    where = row.lines.get("at", row.where)
    if "at_s" in row:
        raise SettingsError(f"{where}: at and at_s are given: one moment is enough")
    try:
        if not isinstance(row["at"], str):
            raise ValueError("is no text such as \"13:32:50\"")
        clock_ns(row["at"], 0)
    except ValueError as error:
        raise SettingsError(f"{where}: at = {show(row['at'])}: {error}") from None


def _check_pressure(row: Row, kilo: int) -> Row:
    """One of: add_bytes at at_s, leak_bytes_per_s from at_s, fail_every, fail_nth.

    The row returned has at_s, at_ns and owner filled in where they mean something; the defaults
    are at_s = 0 for a leak and owner = "base". With ``at``, a time of day, it has that instead.
    """
    verbs = ("add_bytes", "leak_bytes_per_s", "fail_every", "fail_nth")
    row = Row({key: row[key] for key in row if key != "at_ns"}, row.where, row.lines)
    _row_keys(row, "pressure", ("at_s", "at", "owner", *verbs))
    named = [verb for verb in verbs if verb in row]
    if len(named) != 1:
        raise SettingsError(f"{row.where}: [[pressure]] needs exactly one of {', '.join(verbs)}")
    verb = named[0]
    if verb.startswith("fail"):
        for key in ("at_s", "at", "owner"):
            if key in row:
                raise SettingsError(
                    f"{row.lines.get(key, row.where)}: {verb} counts page requests; {key} has no"
                    " meaning with it"
                )
        return Row({verb: _row_value(row, verb, _POSITIVE, kilo)}, row.where, row.lines)
    owner = row.get("owner", "base")
    if owner not in ("base", "shm"):
        raise SettingsError(
            f"{row.lines.get('owner', row.where)}: owner = {show(owner)} is unknown; allowed:"
            " base, shm; sessions and cache follow from traffic"
        )
    if verb == "add_bytes" and not {"at_s", "at"} & set(row):
        raise SettingsError(f"{row.where}: add_bytes needs at_s (seconds from packet 1), or at")
    if "at" in row:
        _check_at(row)
    at_s = _row_value(row, "at_s", _AT, kilo) if "at_s" in row else 0
    size = Declaration(verb, "bytes", "bytes", "", -HUGE if verb == "add_bytes" else 1, HUGE)
    moment = {"at": row["at"]} if "at" in row else {"at_s": at_s, "at_ns": to_ns(at_s)}
    values = {**moment, "owner": owner, verb: _row_value(row, verb, size, kilo)}
    if not values[verb]:
        raise SettingsError(f"{row.lines.get(verb, row.where)}: add_bytes = 0 does nothing")
    return Row(values, row.where, row.lines)


def _keep(row: Row, kilo: int) -> Row:
    """Judged by policy.parse and shaping.parse; here they only keep their place."""
    return row


ROW_CHECKS: Mapping[str, Callable[[Row, int], Row]] = {
    "base_item": _check_base_item,
    "policy": _keep,
    "pressure": _check_pressure,
    "meter": _keep, "link": _keep, "class": _keep, "shaping": _keep, "wiring": _keep,
}


def rows_of(kind: str, rows: Any, origin: str) -> tuple[Row, ...]:
    """Rows given as an argument."""
    if isinstance(rows, (str, Mapping)) or not isinstance(rows, Iterable):
        raise SettingsError(f"{origin}: {kind} is not a list of rows")
    result: list[Row] = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise SettingsError(f"{origin}: {kind} row {number} is not a table")
        placed = row if isinstance(row, Row) else Row(row, f"{origin}, {kind} {number}")
        result.append(placed)
    return tuple(result)
