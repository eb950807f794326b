"""What compare and explain saved, shown again: told from a result by its `kind`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from fwcore import infile, schema
from fwcore.errors import FwcoreError
from fwcore.escape import visible_tree
from fwcore.report import text
from fwcore.report.compare import OUTCOMES
from fwcore.result import RESULT_MOST

SCHEMAS = {"compare": schema.COMPARE, "explain": schema.EXPLAIN, "host": schema.HOST}


def read(path: str) -> dict[str, Any] | None:
    """The comparison or explanation (of a flow, of a host) that a file holds, None for others.

    Raises FwcoreError, with the place, where it is damaged.
    """
    try:
        raw = infile.read(path, RESULT_MOST, lambda head: head[:1] == b"{")
        data = json.loads(raw) if raw[:1] == b"{" else None
    except (OSError, ValueError, RecursionError, FwcoreError):
        return None  # whoever reads results says what is wrong with it
    if not isinstance(data, dict):
        return None
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in SCHEMAS:
        return None
    try:
        schema.check(data, SCHEMAS[kind], kind)
        if kind == "compare":
            _agree(data)
        if kind == "host" and not {row["outcome"] for row in data["flows"]} <= set(OUTCOMES):
            raise FwcoreError("flows: an outcome is none of the known ones")
    except FwcoreError as error:
        raise FwcoreError(f"{path}: not a whole {kind}: {error}") from None
    return data


def _agree(made: Mapping[str, Any]) -> None:
    """Every part speaks of the same settings and the known outcomes."""
    names = made["settings"]
    if len(names) < 2 or [row["name"] for row in made["harm"]] != names:
        raise FwcoreError("harm is not of the settings named")
    if len(made["results"]) != len(names):
        raise FwcoreError(f"{len(made['results'])} results of {len(names)} settings")
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
    from fwcore.report import compare_text, explain, host_flows

    made = visible_tree(made)
    show: dict[str, Callable[[Mapping[str, Any], text.Style], str]] = {
        "compare": compare_text.show, "explain": explain.show, "host": host_flows.show}
    return show[made["kind"]](made, style)
