"""Settings from the options that were given, and what is to be said of them before packet 1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fwcore import terminal, words
from fwcore.errors import FwcoreError, SettingsError


def settings(given: dict[str, Any], more: Sequence[str] = (), **overrides: Any) -> Any:
    """Settings from the shared options (taken out of `given`); warnings go to standard error."""
    from fwcore import settings as module

    pressure = [pressure_row(text) for text in given["pressure"]]
    if pressure:
        overrides["pressure"] = pressure
    if given["seed"] is not None:
        overrides["seed"] = given["seed"]
    file = overrides.pop("file", given["settings_file"])
    return module.load(
        overrides.pop("personality", given["personality"]),
        file,
        (*given["assignments"], *more),
        policy_file=given["policy_file"],
        **overrides,
    )


def pressure_row(text: str) -> dict[str, Any]:
    """'at_s=1 owner=base add_bytes=4096' as a row of [[pressure]]; `at=13:32:50` too."""
    row: dict[str, Any] = {}
    for part in text.replace(",", " ").split():
        key, equals, value = part.partition("=")
        if not equals:
            raise FwcoreError(f"--pressure {text!r}: {part!r} is not KEY=VALUE")
        if words.spelled(key) in row:
            raise FwcoreError(f"--pressure {text!r}: {key} is given twice; two things that happen"
                              " are two --pressure")
        row[words.spelled(key)] = number(value)
    return row


def number(value: str) -> int | float | str:
    """A number, also '-8MiB'; text stays text (settings judge it)."""
    for unit, factor in (("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)):
        if value.endswith(unit):
            try:
                return int(value.removesuffix(unit)) * factor
            except ValueError:
                continue
    try:
        return float(value)
    except ValueError:
        return value


def variant(text: str, given: dict[str, Any]) -> Any:
    """Settings of one --with: a file or a personality first, assignments after it."""
    first, *rest = text.split(",")
    overrides: dict[str, Any] = {}
    if "=" in first:
        rest.insert(0, first)
    elif first.endswith(".toml") or Path(first).is_file():
        overrides["file"] = first
    else:
        overrides["personality"] = first
    assignments: list[str] = []
    for part in rest:
        if "=" in part or not assignments:
            assignments.append(part)
        else:  # a value with commas, like ips_trigger=conserve,buffer
            assignments[-1] += "," + part
    try:
        return settings(given, assignments, **overrides)
    except SettingsError as error:      # an assignment of ours is not what --set gave
        found = re.match(r"--set: ([\w.-]+)", str(error))
        if found and found[1] in {words.spelled(part.partition("=")[0]) for part in assignments}:
            raise SettingsError(f"--with {text}{str(error).removeprefix('--set')}") from None
        raise


def warn(made: Any, loop: int, name: str = "") -> None:
    """What settings, and what they are run with, should be known for before packet 1."""
    from fwcore import preflight

    for warning in (*made.warnings, *preflight.notes(made, loop)):
        terminal.note(f"fwcore: note: {name and name + ': '}{warning}")
