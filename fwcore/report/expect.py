"""What differs between a result and the one that was expected: first the setting, then the figure,
then where in the capture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fwcore.result import Result

# What a machine, a version or a file name changes, and what stands for all of it.
APART = ("schema", "fwcore", "inputs", "settings", "speed", "pace", "timeline", "outcome", "laws",
         "table", "lost", "interrupted", "interrupted_by")


def differences(result: Result, expected: Result) -> list[str]:
    """At most three lines; none where the outcomes are the same."""
    if result.data["outcome"] == expected.data["outcome"]:
        return []
    found = [_setting(result.data, expected.data), _counter(result.data, expected.data),
             _packet(result.data, expected.data)]
    return [each for each in found if each] or ["the outcomes differ in rows that are not kept"]


def _setting(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """The first setting that has another value, and how many have."""
    values = [{name: row.get("value") for name, row in each.get("settings", {}).items()}
              for each in (here, there)]
    names = [name for name in values[1] if values[0].get(name) != values[1][name]]
    if not names:
        return ""
    more = f" ({len(names) - 1} more settings differ)" if len(names) > 1 else ""
    return f"setting {names[0]}: {values[0].get(names[0])}, expected {values[1][names[0]]}{more}"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every number by its dotted name, in order; rows by their place."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _flat(each, f"{name}[{at}]")
    else:
        yield name, value


def _counter(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """The first figure that differs."""
    mine = dict(_flat({name: each for name, each in here.items() if name not in APART}))
    for name, value in _flat({name: each for name, each in there.items() if name not in APART}):
        if name in mine and mine[name] != value:
            return f"{name}: {mine[name]}, expected {value}"
    return ""


def _packet(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """Between which packets verdicts or reasons part: samples of the timeline stand for them."""
    lines = [each.get("timeline") or {} for each in (here, there)]
    packets = [line.get("packet", []) for line in lines]
    before = 0
    for at, (packet, other) in enumerate(zip(*packets, strict=False)):
        if packet != other:
            break
        for group in ("verdicts", "reasons"):
            names = {**lines[0][group], **lines[1][group]}
            for name in names:
                counts = [line[group].get(name, [0] * len(line["packet"]))[at] for line in lines]
                if counts[0] != counts[1]:
                    return (f"the first packet that differs is of {before + 1} to {packet}:"
                            f" {group}.{name} {counts[0]}, expected {counts[1]}")
        before = packet
    return ""
