"""A plan to read: memory by owner, headroom, levers, and the outlook with a leak."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fwcore import capacity, units
from fwcore.errors import SettingsError
from fwcore.report import text


def make(
    settings: Any,
    *,
    connections: int | None = None,
    tunnels: int | None = None,
    leak_bytes_per_s: int | None = None,
    restart_every: int | None = None,
    free_bytes: int | None = None,
) -> dict[str, Any]:
    """Plain values: the plan for these counts; a leak's outlook now and after the change.

    ``free_bytes``: also how many connections leave so much free. What cannot be configured for
    want of memory is planned all the same, with what is missing.
    """
    try:
        planned = capacity.with_counts(settings, connections, tunnels)
    except SettingsError as error:
        return _misfit(settings, connections, tunnels, error)
    made = {
        "change": {name: [before, after] for name, before, after in (
            ("max_connections", settings.max_connections, planned.max_connections),
            ("ipsec_max_tunnels", settings.tunnels, planned.tunnels)) if before != after},
        "connections_for": None if free_bytes is None else {
            "free_bytes": free_bytes, "connections": capacity.connections_for(planned, free_bytes)},
        "plan": capacity.plan(planned).as_dict(),
        "headroom": capacity.headroom(planned).as_dict(),
        "levers": [lever.as_dict() for lever in capacity.levers(planned)],
        "outlook": None,
    }
    if leak_bytes_per_s is not None or restart_every is not None:
        after = planned if planned is not settings else None
        made["outlook"] = capacity.outlook(
            settings, leak_bytes_per_s, restart_every_days=restart_every, after=after
        ).as_dict()
    return made


def _misfit(
    settings: Any, connections: int | None, tunnels: int | None, error: SettingsError
) -> dict[str, Any]:
    """The plan of a table that is larger than memory; ``error`` where that is not what is wrong."""
    try:
        roomy = capacity.with_counts(capacity.roomy(settings), connections, tunnels)
    except SettingsError:
        raise error from None
    return {
        "change": {}, "connections_for": None, "headroom": None, "outlook": None,
        "plan": capacity.plan(roomy).within(settings.total_pages).as_dict(),
        "levers": [lever.as_dict() for lever in capacity.levers(roomy)],
    }


def render(made: Mapping[str, Any], style: text.Style) -> str:
    """The plan at 80 columns."""
    blocks = []
    for part in (_memory, _headroom, _levers, _outlook):
        rows = list(part(made, style))
        if rows:
            blocks.append("\n".join(rows))
    return "\n\n".join(blocks) + "\n"


def _megabytes(number: int) -> str:
    """Both readings of MB, for the articles differ: '210.9 MB (201 MiB)'."""
    return f"{number / 1e6:.1f} MB ({units.size(number)})"


def _memory(made: Mapping[str, Any], style: text.Style) -> Iterator[str]:
    found = made["plan"]
    yield (
        style.paint(f"fwcore plan{style.dot}{found['personality']}", "strong")
        + f"{style.dot}{units.count(found['connections'])} connections"
        + f"{style.dot}{units.count(found['tunnels'])} tunnels, {found['when']}"
    )
    yield ""
    rows = [["owner", "what", "count", "each", "bytes"]]
    rows += [
        [line["owner"], line["name"], units.count(line["count"]),
         units.size(line["bytes_each"]), _megabytes(line["bytes"])]
        for line in found["lines"]
    ]  # fmt: skip
    rows.append(["", "of RAM", "", "", _megabytes(found["total_bytes"])])
    rows.append(["", "free", "", "", _megabytes(found["free_bytes"])])
    yield from text.section("memory", text.columns(rows, [""] * 5, style, left=2), style)
    if found["short_bytes"]:
        yield style.paint(
            f"{'':12}It does not fit: {_megabytes(found['short_bytes'])} short.", "bad"
        )
    elif not found["above_floor"]:
        floor = _megabytes(found["floor_bytes"])
        yield style.paint(f"{'':12}Less than the recommended {floor} stay free.", "warn")


def _headroom(made: Mapping[str, Any], style: text.Style) -> Iterator[str]:
    found = made["headroom"]
    if not found:
        return
    rows = [["until", "sessions", "bytes"]]
    order = sorted(found["sessions"].items(), key=lambda row: (row[1] is None, row[1]))
    for name, sessions in order:
        room = found["bytes"].get(name)
        rows.append([
            name, "never by these" if sessions is None else units.count(sessions),
            "" if room is None else units.size(room),
        ])  # fmt: skip
    yield from text.section("headroom", text.columns(rows, ["", "", ""], style), style)
    wanted = made["connections_for"]
    if wanted:
        size, most = units.size(wanted["free_bytes"]), wanted["connections"]
        yield f"{'':12}" + (f"{size} stay free with at most {units.count(most)} connections."
                            if most else f"{size} do not stay free with any connection.")


def _levers(made: Mapping[str, Any], style: text.Style) -> Iterator[str]:
    rows = [["lever", "from", "to", "saves", ""]]
    for lever in made["levers"]:
        notes = []
        by_tunnels = lever["of_which_tunnels_bytes"]
        if by_tunnels and by_tunnels != lever["saved_bytes"]:
            notes.append(f"{units.size(by_tunnels)} of it by tunnels")
        if lever["restart"]:
            notes.append("restart")
        rows.append([
            lever["lever"], _amount(lever["before"], lever["setting"]),
            _amount(lever["after"], lever["setting"]), units.size(lever["saved_bytes"]),
            ", ".join(notes),
        ])  # fmt: skip
    if len(rows) > 1:
        yield from text.section("levers", text.columns(rows, [""] * 5, style), style)


def _amount(value: int, setting: str) -> str:
    return units.size(value) if setting.endswith("_bytes") else units.count(value)


def _outlook(made: Mapping[str, Any], style: text.Style) -> Iterator[str]:
    found = made["outlook"]
    if not found:
        return
    after = found["days_after"]
    head = ["days until", "now", *(["after the change"] if after else [])]
    rows = [head]
    for name, days in sorted(found["days"].items(), key=lambda row: row[1]):
        later = [f"{after[name]:.1f}" if name in after else ""] if after else []
        rows.append([name, f"{days:.1f}", *later])
    yield from text.section("leak", text.columns(rows, [""] * len(head), style), style)
    between = f"a restart every {found['days_between_restarts']:.1f} days"
    if after:
        between += f" becomes one every {found['days_between_restarts_after']:.1f}"
    yield f"{'':12}{units.size(found['leak_bytes_per_day'])} a day: {between}"
    changes = [f"{name} {units.count(before)} {style.arrow} {units.count(later)}"
               for name, (before, later) in made["change"].items()]
    if after:
        yield f"{'':12}The change: {', '.join(changes)}."
