"""Layers of settings, and what they resolve to.

    personalities/fortios-7.toml   every setting, each with its mark and a reason
              |  overlaid by
    personalities/<name>.toml      only what this generation does otherwise
              |  posture           sets av_failopen and ips_fail_open
              |  settings file     key = value, [timeouts], [[base_item]], [[policy]], [[pressure]],
              |                    [[meter]], [[link]], [[class]], [[shaping]], and vendors' words
              |                    for these
              |  --set key=value
              v  arguments
    Settings                       later layers win; where each value comes from is kept

What the user did not give is worked out anew when something else changes (``base_bytes`` stays
60 % when ``ram_bytes`` is replaced).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from fwcore import arguments
from fwcore.errors import SettingsError
from fwcore.settings import checks, sysctl
from fwcore.settings.declared import BY_NAME, DECLARATIONS, POSTURES, ROW_KINDS, TIMEOUTS, VENDORS
from fwcore.settings.document import Document, Row, read_document
from fwcore.settings.personality import BASE_PERSONALITY, Personality, built_in, read_personality
from fwcore.settings.resolved import Resolved, Timeouts
from fwcore.settings.rows import ROW_CHECKS, rows_of
from fwcore.settings.values import (
    Bad,
    Given,
    Share,
    coerce,
    declared,
    from_text,
    give,
    refuse,
    show,
)
from fwcore.units import GIB, MIB, PAGE_BYTES, ceil_div
from fwcore.words import nearest, spelled

if TYPE_CHECKING:    # only who reads types waits for them
    from fwcore.settings.keywords import EveryKeyword, PolicyKeywords


@dataclass(frozen=True)
class Settings(Resolved):
    """Every setting of ``DECLARATIONS``, resolved and valid.

    Made by ``load``; changed by ``replace``. Equality and hash look at the values, not at where
    they come from. Raises SettingsError when a value or a combination is not allowed.
    """

    chosen: Personality = dataclasses.field(kw_only=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        for declaration in DECLARATIONS:
            value = self.value(declaration.name)
            try:
                coerce(declaration, value)
            except Bad as bad:
                raise refuse(
                    self.where(declaration.name), declaration, value, str(bad)
                ) from None
        checks.refuse_together(self)

    def replace(self, /, **changes: Unpack[EveryKeyword]) -> Settings:
        """The same with changes, validated again; what was not given is worked out anew.

        Keyword arguments as in ``load``: any setting, a timeout, policies, pressure, base_items,
        meters, links, classes, shapings, wirings.
        """
        origin = "argument" if "personality" in changes else self.origin.get("personality", "")
        others: dict[str, Any] = {**changes}
        chosen = (read_personality(others.pop("personality")) if "personality" in others
                  else self.chosen)     # as it was read: its file may be another by now
        rows = {kind: getattr(self, attribute) for kind, attribute in ROW_KINDS.items()}
        given = dict(self.given)
        _take_arguments(others, chosen.kilo, given, rows)
        return built(chosen, origin, given, rows)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed and probably not meant; said at start."""
        return checks.warnings(self)


def _flat(name: str) -> str:
    return spelled(name).removeprefix("timeouts.")


def _assignment(text: str, where: str = "--set") -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SettingsError(f'{where}: {show(text)} is not key=value')
    name, value = sysctl.translated(_flat(name.strip()), value, where)
    if name in ROW_KINDS or name in ROW_KINDS.values():
        raise SettingsError(f"{where}: {name} are rows of a settings file, not a value")
    return name, value


def assigned(text: str, where: str = "--set") -> tuple[str, Any]:
    """"key=value" -> the setting's name, and the value as its declaration types it.

    Whether it is allowed is not said here. Raises SettingsError, which begins with ``where``.
    """
    name, value = _assignment(text, where)
    return name, from_text(declared(name, where), value)


def _take_assignments(texts: Sequence[str], kilo: int, given: dict[str, Given]) -> None:
    for text in texts:
        name, typed = assigned(text)
        given[name] = give(name, typed, "--set", kilo)


TABLES = (*ROW_KINDS, *VENDORS, "timeouts")


def _take_document(
    document: Document, kilo: int, given: dict[str, Given], rows: dict[str, tuple[Row, ...]]
) -> None:
    known: dict[str, str] = {}
    for key, value in document.data.items():
        name, value = sysctl.translated(spelled(key), value, document.where(key))
        _once(known, name, key, document.where(key))
        if name in VENDORS:
            from fwcore.settings import wirings

            rows["wiring"] += tuple(wirings.rows_of(document, key))
        elif name in ROW_KINDS:
            rows[name] += document.rows(key)
        elif name == "timeouts":
            _take_timeouts(document, kilo, given, known)
        elif name not in BY_NAME and (isinstance(value, dict) or (
                isinstance(value, list) and value and isinstance(value[0], dict))):
            raise SettingsError(f'{document.where(key)}: unknown table "{key}"'
                                f"{nearest(key, TABLES)}; allowed: {', '.join(TABLES)}")
        else:
            given[name] = give(name, value, f"file {document.where(key)}", kilo)


def _once(known: dict[str, str], name: str, key: str, where: str) -> None:
    """Refuses a setting that one source gives twice, under whatever names; ``known``: those of it
    so far."""
    if name in known:
        raise SettingsError(f"{where}: {key} is {name}, which is given too, as {known[name]}")
    known[name] = key


def _take_timeouts(
    document: Document, kilo: int, given: dict[str, Given], known: dict[str, str]
) -> None:
    table = document.data["timeouts"]
    if not isinstance(table, dict):
        raise SettingsError(f"{document.where('timeouts')}: timeouts is a table: [timeouts]")
    for key, value in table.items():
        where = document.where("timeouts", key)
        name, value = sysctl.translated(spelled(key), value, where)
        if name not in TIMEOUTS:
            raise SettingsError(
                f'{where}: unknown timeout "{key}"{nearest(key, TIMEOUTS)}; allowed:'
                f" {', '.join(TIMEOUTS)}"
            )
        _once(known, name, key, where)
        given[name] = give(name, value, f"file {where}", kilo)


def _take_arguments(
    overrides: Mapping[str, Any], kilo: int, given: dict[str, Given],
    rows: dict[str, tuple[Row, ...]],
) -> None:
    plural = {attribute: kind for kind, attribute in ROW_KINDS.items()}
    for name, value in named(overrides).items():
        if name in plural:
            rows[plural[name]] = rows_of(plural[name], value, "argument")
        else:
            given[name] = give(name, value, "argument", kilo)


def named(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by the names that settings have here, however they are spelled and whatever other
    names they go by. Raises SettingsError for one that is given twice."""
    known: dict[str, str] = {}
    found: dict[str, Any] = {}
    for written, value in _with_timeouts(given):
        name, value = sysctl.translated(spelled(written), value, "argument")
        name = ROW_KINDS.get(name, name)
        _once(known, name, written, "argument")
        found[name] = value
    return found


def _with_timeouts(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Arguments one by one, ``timeouts`` as those that it holds."""
    for written, value in given.items():
        if written != "timeouts":
            yield written, value
            continue
        values = value._asdict() if isinstance(value, Timeouts) else value
        if not isinstance(values, Mapping):
            raise SettingsError(f"argument: timeouts = {show(value)} is no table of seconds")
        for key, seconds in values.items():
            arguments.text("argument: timeout", key, SettingsError)
            if sysctl.translated(spelled(key), seconds, "argument")[0] not in TIMEOUTS:
                raise SettingsError(f'argument: unknown timeout "{key}"{nearest(key, TIMEOUTS)};'
                                    f" allowed: {', '.join(TIMEOUTS)}")
            yield key, seconds


def _choose(
    name: str | None, document: Document | None, assignments: Sequence[str]
) -> tuple[Personality, str]:
    """The personality: argument, then --set, then the settings file, then plain; and its origin."""
    origin = "argument"
    if name is None:
        for text in assignments:
            key, value = _assignment(text)
            if key == "personality":
                name, origin = value.strip().strip("\"'"), "--set"
    if name is None and document is not None and "personality" in document.data:
        name, origin = document.data["personality"], f"file {document.where('personality')}"
    if name is None:
        name, origin = "plain", "default"
    if not isinstance(name, str):
        raise SettingsError(f"{origin.removeprefix('file ')}: personality is not a name")
    return read_personality(name, origin.removeprefix("file ")), origin


def load(
    personality: str | None = None,
    file: str | Path | None = None,
    assignments: Sequence[str] = (),
    *,
    policy_file: str | Path | None = None,
    **overrides: Unpack[PolicyKeywords],
) -> Settings:
    """Settings from a personality, a settings file, ``--set`` texts and arguments, in this order.

    personality: built-in name or the path of a .toml; None: as ``--set personality=`` or the file
    says, else "plain". file: TOML, ``key = value``. assignments: "key=value" each. policy_file:
    TOML with [[policy]] rows, replaces those of ``file``. overrides: any setting or timeout by
    name, policies, pressure, base_items, meters, links, classes, shapings (sequences of dicts),
    wirings (rows of vendors, each with kind_of), timeouts (dict).
    Raises SettingsError with setting, place, allowed range and reason.
    """
    if isinstance(assignments, str | bytes) or not isinstance(assignments, Iterable):
        raise SettingsError(f'assignments: {assignments!r:.80}: a list is asked for, like'
                            ' ["udp_s=30"]')
    assignments = [arguments.text("assignments", each, SettingsError) for each in assignments]
    document = None if file is None else read_document(file)
    chosen, origin = _choose(personality, document, assignments)
    given: dict[str, Given] = {}
    rows: dict[str, tuple[Row, ...]] = dict.fromkeys(ROW_KINDS, ())
    if document is not None:
        _take_document(document, chosen.kilo, given, rows)
    if policy_file is not None:
        rows["policy"] = _read_policy_file(policy_file)
    _take_assignments(assignments, chosen.kilo, given)
    _take_arguments(overrides, chosen.kilo, given, rows)
    return built(chosen, origin, given, rows)


def _read_policy_file(path: str | Path) -> tuple[Row, ...]:
    document = read_document(path)
    for key in document.data:
        if key != "policy":
            raise SettingsError(f"{document.where(key)}: a policy file has [[policy]] rows only")
    return document.rows("policy")


def _overlay(
    chosen: Personality, given: Mapping[str, Given]
) -> dict[str, tuple[Any, str, str, str]]:
    """name -> (value, origin, mark, why): fortios-7, the personality, posture, what was given."""
    values: dict[str, tuple[Any, str, str, str]] = {}
    for source in (built_in(BASE_PERSONALITY), chosen):
        own = source.name == chosen.name
        origin = f"personality {source.name}" if own else "default"
        for name, entry in source.entries.items():
            values[name] = (entry.value, origin, entry.mark, entry.why)
    posture = given["posture"].value if "posture" in given else values["posture"][0]
    if posture != "none":
        for name, value in zip(("av_failopen", "ips_fail_open"), POSTURES[posture], strict=True):
            values[name] = (value, f"posture {posture}", "T", "decision matrix of the guide")
    for name, each in given.items():
        values[name] = (each.value, each.origin, "", "")
    return values


def _resolve(values: Mapping[str, Any]) -> dict[str, Any]:
    """Shares of RAM, "auto" and "dynamic" as numbers."""
    numbers = dict(values)
    if numbers["max_connections"] == "dynamic":
        numbers["max_connections"] = numbers["licence_connections"]
    if numbers["ram_bytes"] == "auto":
        numbers["ram_bytes"] = _room(numbers)
    ram = numbers["ram_bytes"]
    numbers = {name: value.of(ram) if isinstance(value, Share) else value
               for name, value in numbers.items()}
    if numbers["buckets"] == "auto":
        each = 2 if numbers["tracker"] == "linux" else 4
        numbers["buckets"] = ceil_div(numbers["max_connections"], each)
    if numbers["model_bytes"] == "auto":
        numbers["model_bytes"] = ceil_div(ram, 128 * MIB) * 128 * MIB
    return numbers


def _room(numbers: Mapping[str, Any]) -> int:
    """RAM of what is a table and no appliance: no obstacle to it, up to the most there is [D]."""
    base, connections = numbers["base_bytes"], numbers["max_connections"]
    tunnels = (numbers["ipsec_max_tunnels"] or numbers["licence_tunnels"]) * (
        numbers["tunnel_base_bytes"] + numbers["tunnel_bytes_per_connection"] * connections)
    table = connections * numbers["session_bytes"] * (numbers["accounting"] == "preallocated")
    taken = ceil_div(tunnels + (0 if isinstance(base, Share) else base), PAGE_BYTES) + ceil_div(
        table, PAGE_BYTES)
    return min(max(GIB, taken * PAGE_BYTES), int(declared("ram_bytes", "").high))


def built(
    chosen: Personality, personality_origin: str, given: Mapping[str, Given],
    rows: Mapping[str, tuple[Row, ...]],
) -> Settings:
    """Overlay, resolve, validate."""
    given = {name: each for name, each in given.items() if name != "personality"}
    layers = _overlay(chosen, given)
    values = {name: layer[0] for name, layer in layers.items()}
    origin = {name: layer[1] for name, layer in layers.items()}
    origin["personality"] = personality_origin
    checked = {kind: tuple(ROW_CHECKS[kind](row, chosen.kilo) for row in each)
               for kind, each in rows.items()}
    marks = {name: layer[2] for name, layer in layers.items()}
    if checked["base_item"] and "base_bytes" not in given:
        items = checked["base_item"]
        values["base_bytes"] = sum(row["count"] * row["bytes_each"] for row in items)
        origin["base_bytes"], marks["base_bytes"] = f"file {items[0].where}", ""
    numbers = _resolve(values)
    timeouts = Timeouts(**{name: numbers.pop(name) for name in TIMEOUTS})
    cache_limit = numbers.pop("cache_limit_bytes")
    settings = Settings(
        **numbers,
        cache_limit_bytes=cache_limit if "cache_limit_bytes" in given else 0,
        personality=chosen.name,
        timeouts=timeouts,
        base_items=checked["base_item"],
        policies=checked["policy"],
        pressure=checked["pressure"],
        meters=checked["meter"], links=checked["link"], classes=checked["class"],
        shapings=checked["shaping"], wirings=checked["wiring"],
        kilo=chosen.kilo, chosen=chosen, given=given, origin=origin, marks=marks,
        reasons={name: layer[3] for name, layer in layers.items()},
    )
    return settings if "cache_limit_bytes" in given else _with_cache(settings, cache_limit)


def _with_cache(settings: Settings, cache_limit: int) -> Settings:
    """The personality's cache, lowered where it would latch the machine [D].

    60 % base, 10 % cache and leaving above 30 % free do not go together to the last page; a
    default must not be refused for that.
    """
    room = checks.cache_room_pages(settings)
    origin = dict(settings.origin)
    if room is not None and room >= 0 and ceil_div(cache_limit, PAGE_BYTES) > room:
        cache_limit = room * PAGE_BYTES
        origin["cache_limit_bytes"] += ", lowered so that the machine can be left"
    return dataclasses.replace(settings, cache_limit_bytes=cache_limit, origin=origin)
