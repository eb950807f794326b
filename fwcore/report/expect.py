"""What differs between a result and the one that was expected: first the setting, then the figure,
then the packet. And what of it is worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fwcore import units
from fwcore._layout import Reason, Verdict
from fwcore.replay import trail
from fwcore.report import answer
from fwcore.result import Result

# What a machine, a version or a file name changes, and what stands for all of it.
APART = ("schema", "fwcore", "inputs", "settings", "speed", "pace", "timeline", "shaping_timeline",
         "trail", "outcome", "laws", "table", "lost", "interrupted", "interrupted_by")
COUNTED = ("packets", "bytes", "verdicts", "reasons", "sessions", "exposure", "memory", "conserve")
NAMED = 3       # further settings


def differences(result: Result, expected: Result) -> list[str]:
    """At most five lines; none where the outcomes are the same, and the figures beside them."""
    if result.data["outcome"] == expected.data["outcome"]:
        return _altered(result.data, expected.data)
    found = [look(result.data, expected.data)
             for look in (_capture, _setting, _harm, _counter, _packet)]
    return [each for each in found if each] or [
        f"outcome {result.data['outcome']}, expected {expected.data['outcome']}: by no figure that"
        " is kept"]


def worse(result: Result, expected: Result) -> list[str]:
    """What costs more than it did, a line each; none where nothing does. Another capture is no
    measure, and neither are other packets."""
    here, there = result.data, expected.data
    other = _capture(here, there) or (
        f"packets: {here['packets']}, and {there['packets']} there"
        if here["packets"] != there["packets"] else "")
    if other:
        return [f"cannot be compared: {other}"]
    mine, theirs = _costs(here), _costs(there)
    found = [f"{name}: {units.count(mine[name])}, at most {units.count(theirs[name])}"
             for name in mine if mine[name] > theirs[name]]
    now, before = _began(here), _began(there)
    if now is not None and (before is None or now < before):
        found.append(f"conserve mode from packet {units.count(now)}, "
                     + ("none before" if before is None else f"not before {units.count(before)}"))
    return found


def _altered(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """One outcome has one set of figures, as long as one version counts them."""
    if any(here.get(name) != there.get(name) for name in ("fwcore", "focus")):
        return []
    known = COUNTED if _setting(here, there) else set(here) - set(APART)
    counted = [{name: each[name] for name in known if name in each} for each in (here, there)]
    found = _counter(*counted)
    if not found:
        return []
    return [f"{found}, though the outcome is the same: the saved result was changed"]


def _capture(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """That it was of another capture, as far as names tell."""
    mine, other = ([Path(str(row["path"])).name for row in each["inputs"]]
                   for each in (here, there))
    if mine == other:
        return ""
    return f"it is of {', '.join(other) or 'no capture'}, and this is {', '.join(mine) or 'none'}"


def _harm(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """What the difference costs, or spares."""
    mine, other = ({name: units.count(number) for name, number in _costs(each).items()} | {
        "conserve mode from packet": "none" if (began := _began(each)) is None else
        units.count(began)} for each in (here, there))
    return "; ".join(f"{name} {mine[name]}, expected {other[name]}"
                     for name in mine if mine[name] != other[name])


def _costs(data: Mapping[str, Any]) -> dict[str, int]:
    """What a run cost; more is worse."""
    result = Result(data)
    spent = sum(seconds for mode, seconds in data["conserve"]["seconds"].items() if mode != "off")
    return {"packets refused": answer.refused(result), "sessions taken": answer.taken(result),
            "bytes unscanned": data["exposure"]["bytes"],
            "milliseconds in conserve mode": round(spent * 1000)}


def _began(data: Mapping[str, Any]) -> int | None:
    """The packet with which conserve mode was first entered."""
    return next((row["packet"] for row in data["conserve"]["transitions"] if row["to"] != "off"),
                None)


def _setting(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """The first setting that has another value, and how many have."""
    values = [{name: row.get("value") for name, row in each.get("settings", {}).items()}
              for each in (here, there)]
    names = [name for name in values[1] if values[0].get(name) != values[1][name]]
    if not names:
        return ""
    rest = names[1:1 + NAMED]
    left = "" if len(names) <= 1 + NAMED else f" and {len(names) - 1 - NAMED} more"
    more = f" ({', '.join(rest)}{left} differ{'s' * (len(names) == 2)} too)" if rest else ""
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
    """The first packet whose verdict or reason differs, or the stretch that it lies in."""
    rows = [each.get("trail") for each in (here, there)]
    if not rows[0] or not rows[1]:
        return ""
    mine, other = trail.unpacked(rows[0]), trail.unpacked(rows[1])
    kept = " of those that the filter kept" if "filter" in here else ""
    if mine is None or other is None:
        return _stretch(rows[0], rows[1], kept)
    count = min(len(mine), len(other))
    differs = np.flatnonzero((mine[:count] != other[:count]).any(axis=1))
    if len(differs):
        at = int(differs[0])
        return (f"the first packet that differs is {at + 1}{kept}: {_outcome(mine[at])}, expected"
                f" {_outcome(other[at])} ({len(differs)} of {count} differ)")
    if not count and len(mine) != len(other):
        return f"there are {len(mine)} packets{kept}, expected {len(other)}"
    return "" if len(mine) == len(other) else (
        f"packets 1 to {count}{kept} are the same; there are {len(mine)}, expected {len(other)}")


def _outcome(both: Any) -> str:
    """'drop conserve_block'; numbers where a crafted file names none that there is."""
    verdict, reason = (int(each) for each in both)
    try:
        return f"{Verdict(verdict).name.lower()} {Reason(reason).name.lower()}"
    except ValueError:
        return f"verdict {verdict} reason {reason}"


def _stretch(here: Mapping[str, Any], there: Mapping[str, Any], kept: str) -> str:
    """Between which packets it lies, where one of the results is too long to keep every packet."""
    stride = max(here["stride"], there["stride"])
    pairs = list(zip(trail.stretches(here, stride), trail.stretches(there, stride), strict=False))
    at = next((at for at, (mine, other) in enumerate(pairs) if mine != other), len(pairs))
    until = f"to {(at + 1) * stride}" if at < len(pairs) else "on"
    return f"the first packet that differs is of {at * stride + 1} {until}{kept}"
