"""What compare and explain saved, shown again: told from a result by its `kind`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fwcore import shape
from fwcore.errors import FwcoreError
from fwcore.escape import visible_tree
from fwcore.report import text
from fwcore.report.compare import OUTCOMES

SHAPES = {"compare": shape.COMPARE, "explain": shape.EXPLAIN}


def read(path: str) -> dict[str, Any] | None:
    """The comparison or explanation that a file holds, None for anything else.

    Raises FwcoreError, with the place, where it is damaged.
    """
    try:
        raw = Path(path).read_bytes()
        data = json.loads(raw) if raw[:1] == b"{" else None
    except (OSError, ValueError, RecursionError):
        return None  # whoever reads results says what is wrong with it
    if not isinstance(data, dict) or data.get("kind") not in SHAPES:
        return None
    kind = str(data["kind"])
    try:
        shape.check(data, SHAPES[kind], kind)
        if kind == "compare":
            _agree(data)
    except FwcoreError as error:
        raise FwcoreError(f"{path}: not a whole {kind}: {error}") from None
    return data


def _agree(made: Mapping[str, Any]) -> None:
    """Every part speaks of the same settings and the known outcomes."""
    names = made["settings"]
    if len(names) < 2 or [row["name"] for row in made["harm"]] != names:
        raise FwcoreError("harm is not of the settings named")
    for title in ("hosts", "policies"):
        if any(list(row["cost"]) != names for row in made[title]):
            raise FwcoreError(f"{title}: cost is not of the settings named")
    for row in made["groups"]:
        if list(row["outcomes"]) != names or not set(row["outcomes"].values()) <= set(OUTCOMES):
            raise FwcoreError("groups: outcomes are not of the settings named")
    if any(set(row["flows"]) != set(OUTCOMES) for row in made["harm"]):
        raise FwcoreError("harm: flows are not by outcome")


def render(made: Mapping[str, Any], style: text.Style) -> str:
    """What the command itself shows."""
    from fwcore.report import compare_text, explain

    made = visible_tree(made)
    return (compare_text if made["kind"] == "compare" else explain).show(made, style)
