"""Personalities: each firewall as data, every value with its mark and its reason."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fwcore import arguments
from fwcore.errors import SettingsError
from fwcore.settings.declared import BY_NAME, MARKS, PERSONALITIES, personalities
from fwcore.settings.document import Document, read_document
from fwcore.settings.values import declared, give, show
from fwcore.units import MB, MIB
from fwcore.words import nearest

BASE_PERSONALITY = "fortios-7"  # complete: what others do not mention comes from here
KILOS = (1000, 1024)


class Entry(NamedTuple):
    """A value of a personality with its mark, its reason and its ``file:line``."""

    value: Any
    mark: str
    why: str
    where: str


class Personality(NamedTuple):
    """A named set of settings. ``entries`` are its own values only, in the order of the file."""

    name: str
    summary: str
    kilo: int  # what this vendor's kB is: one of KILOS
    entries: Mapping[str, Entry]


def read_personality(name: str, where: str = "argument") -> Personality:
    """A built-in personality, or one read from a file when ``name`` is a path ending in .toml.

    Raises SettingsError: unknown name, or whatever is wrong in the file, with file and line.
    """
    if arguments.text(f"{where}: personality", name, SettingsError).endswith(".toml"):
        return _from_file(name, Path(name))
    if name not in personalities():
        raise SettingsError(
            f'{where}: unknown personality {show(name)}{nearest(name, personalities())}; '
            f"allowed: {', '.join(personalities())}, or the path of a .toml file"
        )
    return built_in(name)


@functools.cache
def built_in(name: str) -> Personality:
    return _from_file(name, PERSONALITIES / f"{name}.toml")


def _from_file(name: str, path: Path) -> Personality:
    document = read_document(path)
    for key in document.data:
        if key not in ("about", "settings", "timeouts"):
            raise SettingsError(
                f"{document.where(key)}: a personality has [about], [settings] and [timeouts],"
                f" not {key}"
            )
        if not isinstance(document.data[key], dict):
            raise SettingsError(f"{document.where(key)}: {key} is a table: [{key}]")
    about = document.data.get("about", {})
    megabyte = about.get("megabyte", MIB)
    if megabyte not in (MB, MIB):
        raise SettingsError(
            f"{document.where('about', 'megabyte')}: megabyte is 1000000 or 1048576"
        )
    kilo = KILOS[megabyte == MIB]
    entries = {
        key: _entry(document, table, key, kilo)
        for table in ("settings", "timeouts")
        for key in document.data.get(table, {})
    }
    return Personality(name, str(about.get("summary", "")), kilo, entries)


def _entry(document: Document, table: str, key: str, kilo: int) -> Entry:
    """``key = {value = ..., mark = "T", why = "..."}`` of a personality."""
    where = document.where(table, key)
    declared(key, where)
    if key == "personality" or (BY_NAME[key].table or "settings") != table:
        raise SettingsError(f"{where}: {key} does not belong into [{table}]")
    written = document.data[table][key]
    if not isinstance(written, dict) or set(written) != {"value", "mark", "why"}:
        raise SettingsError(
            f"{where}: write {key} = {{value = ..., mark = ..., why = ...}}: in a personality"
            " every value goes with its mark and reason"
        )
    mark = written["mark"]
    if not isinstance(mark, str) or mark not in MARKS:
        raise SettingsError(
            f"{where}: mark = {show(mark)} is unknown; allowed: one of {', '.join(sorted(MARKS))}"
        )
    given = give(key, written["value"], where, kilo)
    return Entry(given.value, mark, str(written["why"]), where)
