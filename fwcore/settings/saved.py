"""Settings written down, and the same settings again: for a saved engine.

What was given is written, not what follows; that it leads to the same figures again is looked at.
A personality of the user's own is written whole: no other file is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fwcore.errors import SettingsError
from fwcore.schema import COUNT, TEXT, anything, check, integer, listed, named, one_of
from fwcore.settings.declared import BY_NAME, DECLARATIONS, MARKS, ROW_KINDS, personalities
from fwcore.settings.document import Row
from fwcore.settings.layers import Settings, built
from fwcore.settings.personality import KILOS, Entry, Personality, built_in
from fwcore.settings.values import Given, Share, show

SHARE = {"share": listed(COUNT, integer(1, "a number above 0"))}
OWN = {"summary": TEXT, "kilo": COUNT,
       "entries": named(listed(anything, one_of(*MARKS), TEXT, TEXT))}


def to_plain(settings: Settings) -> dict[str, Any]:
    """The settings as JSON can hold them."""
    return {
        "personality": settings.personality, "own": _own(settings.chosen),
        "origin": settings.origin.get("personality", ""),
        "given": {name: [_plain(each.value), each.origin] for name, each in settings.given.items()},
        "rows": {kind: [dict(row) for row in getattr(settings, attribute)]
                 for kind, attribute in ROW_KINDS.items()},
        "values": {each.name: _plain(settings.value(each.name)) for each in DECLARATIONS},
    }


def from_plain(plain: Mapping[str, Any]) -> Settings:
    """Settings of what ``to_plain`` gave; SettingsError where they do not come out the same."""
    chosen = _personality(str(plain["personality"]), plain["own"])
    given = {name: Given(_read(value), str(origin))
             for name, (value, origin) in plain["given"].items()}
    unknown = [name for name in (*chosen.entries, *given) if name not in BY_NAME]
    if unknown:
        raise SettingsError(f"saved settings: unknown setting {unknown[0]!r}")
    rows = {kind: tuple(Row(row, f"saved {kind} {number}")
                        for number, row in enumerate(plain["rows"][kind], 1))
            for kind in ROW_KINDS}
    settings = built(chosen, str(plain["origin"]), given, rows)
    for each in DECLARATIONS:
        if _plain(settings.value(each.name)) != plain["values"].get(each.name):
            raise SettingsError(
                f"saved settings: {each.name} was {plain['values'].get(each.name)!r} and is"
                f" {settings.value(each.name)!r} here")
    return settings


def _own(chosen: Personality) -> dict[str, Any] | None:
    """What a personality says; None for one of the package."""
    if chosen.name in personalities():
        return None
    return {"summary": chosen.summary, "kilo": chosen.kilo,
            "entries": {name: [_plain(entry.value), *entry[1:]]
                        for name, entry in chosen.entries.items()}}


def _personality(name: str, own: Any) -> Personality:
    if (own is None) != (name in personalities()):
        raise SettingsError(f"saved settings: personality {show(name)} is "
                            + ("unknown" if own is None else "the package's own"))
    if own is None:
        return built_in(name)
    check(own, OWN, "saved settings")
    if own["kilo"] not in KILOS:
        raise SettingsError(f"saved settings: a kilobyte of {own['kilo']}")
    entries = {key: Entry(_read(value), *told) for key, (value, *told) in own["entries"].items()}
    return Personality(name, own["summary"], own["kilo"], entries)


def _plain(value: Any) -> Any:
    if isinstance(value, Share):
        return {"share": list(value.percent.as_integer_ratio())}
    return list(value) if isinstance(value, tuple) else value


def _read(value: Any) -> Any:
    if isinstance(value, dict):
        from fractions import Fraction

        check(value, SHARE, "saved settings")
        return Share(Fraction(*value["share"]))
    return tuple(value) if isinstance(value, list) else value
