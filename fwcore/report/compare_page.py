"""A comparison as a page: sentences, figures as a heat map, hosts, policies, every harmed flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fwcore import units
from fwcore.escape import visible_tree
from fwcore.report import charts, facts, page, searchable
from fwcore.report.compare import (
    HARMLESS,
    NAMED,
    OUTCOMES,
    TONES,
    Comparison,
    flow_text,
    harmful,
    sentence,
)
from fwcore.report.compare_text import sentences, short_names, signed_size

MAX_FLOWS = 20_000
CHARTED = 6  # settings whose memory is drawn
NAME_WIDTH = 32  # characters of a name before it is broken, however many columns stand beside it


def render(comparison: Comparison) -> str:
    """The page; timelines stand under one another on one axis of time."""
    names = short_names(comparison.names, 40)
    made, shared = {}, None
    for at, result in enumerate(comparison.results[:CHARTED]):
        columns = facts.timeline(result, charts.SAMPLES)
        if not columns:
            continue
        shared = shared or charts.time_range(columns)
        for name, chart in charts.make(result, x_range=shared, prefix=f"{at}-").items():
            if name in ("memory", "verdicts"):
                made[f"{name}_{at}"] = chart
    if shared:
        made |= charts.against(list(zip(names, comparison.results, strict=True))[:CHARTED], shared)
    script, divs = charts.embed(made) if made else ("", {})
    start, end = facts.span(comparison.results[0])
    flows = _flows(comparison, names)
    body = [_answer(comparison, names), _harm(comparison, names),
            _costs("Hosts", comparison.hosts(), "host", comparison.names, names),
            _costs("Policies", comparison.by_policy(), "policy_name", comparison.names, names),
            _groups(comparison, names), flows.section("Flows harmed") if flows else ""]
    if drawn := [divs[f"against_{kind}"] for kind in charts.AGAINST if f"against_{kind}" in divs]:
        body.append(page.section("Shaping over time", page.note(
            "All links of a setting together: what waited at most, the longest delay of what left,"
            " what meters and queues dropped. Click a name to hide it."),
            *(f'<div class="chart">{chart}</div>' for chart in drawn)))
    for kind, title in (("memory", "Memory"), ("verdicts", "Verdicts")):
        for at, name in enumerate(names):
            if f"{kind}_{at}" in divs:
                chart = f'<div class="chart">{divs[f"{kind}_{at}"]}</div>'
                body.append(page.section(f"{title}: {name}", chart))
    return page.assemble(
        title="The same traffic, " + " against ".join(names) if len(names) <= 4
        else f"The same traffic under {len(names)} settings",
        subtitle=f"{units.plural(len(comparison.flows[0]), 'flow')}, joined packet by packet",
        banner="", body="\n".join(part for part in body if part), footer="", chart_script=script,
        data={"end": (end - start) / 1e9, "charts": len(made),
              "tables": [flows.data()] if flows else []},
    )  # fmt: skip


def _answer(comparison: Comparison, names: Sequence[str]) -> str:
    legend = [f"{short} = {name}" for short, name in zip(names, comparison.names, strict=True)
              if short != name]
    return page.section("The answer", page.told(sentences(comparison.to_dict(), names)),
                        page.note("; ".join(legend)) if legend else "")


def heat(value: float, most: float, shown: str) -> tuple[str, str, str]:
    """A cell whose ground is as strong as its share of the most."""
    share = round(100 * (value / most) ** 0.5) if most and value > 0 else 0
    return shown, "heat", f"--heat:{share}%"


def _harm(comparison: Comparison, names: Sequence[str]) -> str:
    harm = comparison.harm()
    figures: list[tuple[str, Any, Any]] = [
        *((kind, [row["flows"][kind] for row in harm], units.count) for kind in OUTCOMES),
        ("sessions taken", [row["sessions_taken"] for row in harm], units.count),
        ("bytes dropped", [row["dropped_bytes"] for row in harm], units.size),
        ("bytes unscanned", [row["uninspected_bytes"] for row in harm], units.size),
        ("mode changes", [row["transitions"] for row in harm], units.count),
    ]  # fmt: skip
    rows = []
    for at, name in enumerate(names):
        cells = [form(values[at]) if label in (*HARMLESS, "mode changes")
                 else heat(values[at], max(values), form(values[at]))
                 for label, values, form in figures]
        rows.append([name, *cells])
    short = dict(zip(comparison.names, names, strict=True))
    net = [
        (f"{short[row['name']]} against {short[row['against']]}", units.signed(row["lost"]),
         units.signed(row["uninspected"]), signed_size(row["dropped_bytes"]),
         signed_size(row["uninspected_bytes"]))
        for row in comparison.net()
    ]  # fmt: skip
    return page.section(
        "Harm, setting by setting",
        page.table(("setting", *(label for label, _, _ in figures)), rows,
                   range(1, 1 + len(figures))),
        page.table(("net", "flows that lost packets", "flows passed unscanned",
                    "bytes dropped", "bytes unscanned"), net, (1, 2, 3, 4)),
    )  # fmt: skip


def _costs(
    title: str, rows: Sequence[Mapping[str, Any]], name: str, whole: Sequence[str],
    names: Sequence[str],
) -> str:
    """Hosts or policies against settings, a heat map; a column a figure and setting."""
    if not rows:
        return ""
    rows = visible_tree(list(rows))
    columns = []
    for key, word, form in (("lost", "lost", units.count), ("dropped_bytes", "dropped", units.size),
                            ("sessions_taken", "taken", units.count),
                            ("uninspected_bytes", "unscanned", units.size)):
        most = max(row["cost"][setting][key] for row in rows for setting in whole)
        if most:
            columns += [(f"{word}, {short}", setting, key, form, most)
                        for setting, short in zip(whole, names, strict=True)]
    made = [
        [(str(row[name]), "name", f"--name:{min(len(str(row[name])), NAME_WIDTH)}ch"),
         units.count(row["flows"]), units.size(row["bytes"]),
         *(heat(row["cost"][setting][key], most, form(row["cost"][setting][key]))
           for _, setting, key, form, most in columns)]
        for row in rows[:NAMED]
    ]  # fmt: skip
    head = (name.removesuffix("_name"), "flows", "bytes", *(column[0] for column in columns))
    return page.section(
        f"{title} harmed", page.note(
            "Flows that lost packets, bytes dropped, sessions taken and bytes passed unscanned"
            " under each setting; where the settings differ most stands first."),
        page.table(head, made, range(1, len(head))), page.more(NAMED, len(rows)))


def _groups(comparison: Comparison, names: Sequence[str]) -> str:
    short = dict(zip(comparison.names, names, strict=True))
    rows = [
        (sentence(names, {short[name]: kind for name, kind in group["outcomes"].items()}),
         units.count(group["flows"]), units.count(group["packets"]), units.size(group["bytes"]),
         ", ".join(flow["flow"] for flow in group["largest"][:3]))
        for group in comparison.groups()
    ]  # fmt: skip
    head = ("what became of them", "flows", "packets", "bytes", "largest")
    return page.section("Joined", page.table(head, rows, (1, 2, 3)))


def _flows(comparison: Comparison, names: Sequence[str]) -> searchable.Table | None:
    """Every flow that a setting harmed, as a table to search and sort; those that
    fared unlike under them stand first."""
    harmed = np.flatnonzero(harmful(comparison.found).any(axis=0))
    if not len(harmed):
        return None
    first = comparison.flows[0]
    alike = (comparison.found[:, harmed] == comparison.found[0, harmed]).all(axis=0)
    order = harmed[np.lexsort((first["first_packet"][harmed], -first["bytes"][harmed], alike))]
    chosen = order[:MAX_FLOWS]
    ids = comparison.policies_at(chosen, 0).tolist()
    columns: list[searchable.Column] = [
        searchable.Column("first packet", "count", first["first_packet"][chosen].tolist()),
        searchable.Column("flow", "code", [flow_text(row) for row in comparison.ends_at(chosen)]),
        searchable.words("policy", [comparison.policy_text(number) for number in ids]),
        searchable.Column("packets", "count", first["packets"][chosen].tolist()),
        searchable.Column("bytes", "bytes", first["bytes"][chosen].tolist()),
    ]
    for name, found in zip(names, comparison.found, strict=True):
        kinds = [OUTCOMES[kind] for kind in found[chosen].tolist()]
        columns.append(searchable.words(name, kinds, TONES))
    return searchable.Table("flows", columns, len(harmed), "flows harmed",
                            "address, port, policy, outcome")
