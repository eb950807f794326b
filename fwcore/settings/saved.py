"""Settings written down, and the same settings again: for a saved engine.

What was given is written, not what follows; that it leads to the same figures again is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fwcore.errors import SettingsError
from fwcore.schema import COUNT, check, integer, listed
from fwcore.settings.declared import BY_NAME, DECLARATIONS, ROW_KINDS
from fwcore.settings.document import Row
from fwcore.settings.layers import Settings, built
from fwcore.settings.personality import read_personality
from fwcore.settings.values import Given, Share, show

SHARE = {"share": listed(COUNT, integer(1, "a number above 0"))}


def to_plain(settings: Settings) -> dict[str, Any]:
    """The settings as JSON can hold them."""
    return {
        "personality": settings.personality,
        "origin": settings.origin.get("personality", ""),
        "given": {name: [_plain(each.value), each.origin] for name, each in settings.given.items()},
        "rows": {kind: [dict(row) for row in getattr(settings, attribute)]
                 for kind, attribute in ROW_KINDS.items()},
        "values": {each.name: _plain(settings.value(each.name)) for each in DECLARATIONS},
    }


def from_plain(plain: Mapping[str, Any]) -> Settings:
    """Settings of what ``to_plain`` gave; SettingsError where they do not come out the same."""
    given = {name: Given(_read(value), str(origin))
             for name, (value, origin) in plain["given"].items()}
    unknown = [name for name in given if name not in BY_NAME]
    if unknown:
        raise SettingsError(f"saved settings: unknown setting {unknown[0]!r}")
    rows = {kind: tuple(Row(row, f"saved {kind} {number}")
                        for number, row in enumerate(plain["rows"][kind], 1))
            for kind in ROW_KINDS}
    name = str(plain["personality"])
    if name.endswith(".toml") and not os.path.isfile(name):     # a pipe would be waited for
        raise SettingsError(f"saved settings: its personality {show(name)} is no file here")
    settings = built(read_personality(name), str(plain["origin"]), given, rows)
    for each in DECLARATIONS:
        if _plain(settings.value(each.name)) != plain["values"].get(each.name):
            raise SettingsError(
                f"saved settings: {each.name} was {plain['values'].get(each.name)!r} and is"
                f" {settings.value(each.name)!r} here")
    return settings


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
