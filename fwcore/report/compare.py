"""The same traffic under several settings, joined flow by flow.

A *flow* is a 5-tuple of the capture, whether or not a session was ever made for it: a refused flow
has packets and verdicts too. Its number comes from the frames alone, since a run's own depends on
its settings (seed, zone, tracker); all runs see the same packets, so flows are joined by it. Each
run gives, for every packet, its own number, verdict and reason, and for every session taken its
own number. Sessions taken come from the log, which forgets none: no figure rests on the ring of
victims.

    lived        every packet passed, inspected where its policy asks for it
    uninspected  every packet passed, some without an inspection that its policy asks for
    dropped      some packets were dropped, and no session of it was taken
    evicted      a session of it was taken (evicted, tension, killed)
    refused      every packet was dropped

A flow has the worst of these that is true of it. What all settings refuse alike (a policy's deny,
malformed packets) is in the table too, and cancels in the differences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fwcore import units
from fwcore._columns import parse_columns
from fwcore.capture import Chunk
from fwcore.errors import FwcoreError, LawBroken
from fwcore.hits import TAKEN
from fwcore.report import facts, text
from fwcore.result import Result

OUTCOMES = ("lived", "uninspected", "dropped", "evicted", "refused")
LOST = ("dropped", "evicted", "refused")  # harm by what did not pass, not by what passed unseen
BYPASS, DROP = 2, 3
TAKEN_CAUSES = tuple(cause.name.lower() for cause in TAKEN)
EXAMPLES = 5
SHOWN = 12  # groups on a terminal
LONGEST_NAME = 14  # of a setting on a terminal; beyond it becomes A, B, C
MERGE_EVERY = 64  # chunks between merges: memory follows the number of flows, not of packets
SUMS = ("packets", "bytes", "dropped", "dropped_bytes", "bypassed", "bypassed_bytes", "evicted")
FLOW_DTYPE = np.dtype([("flow", "u8"), ("first_packet", "u8"), *((name, "i8") for name in SUMS)])


class FlowLedger:
    """Sums per flow, from one run: its packets, and with `take` its sessions that ended."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._names: list[np.ndarray] = []      # the run's own number, the capture's: uint64[n, 2]
        self.seen = 0

    def packets(self, chunk: Chunk, own: np.ndarray, outcome: np.ndarray, shift: int) -> None:
        """The replay's `flows`: the chunk's frames say which flow each packet is of."""
        self(parse_columns(chunk, shift=shift)["flow"], outcome, chunk.length, own)

    def __call__(
        self, flow: np.ndarray, outcome: np.ndarray, length: np.ndarray,
        own: np.ndarray | None = None,
    ) -> None:
        """One chunk: flow uint64[n] (0: none), outcome uint8[n, 2] (verdict, reason), length[n];
        own uint64[n]: the run's numbers for them."""
        flow = np.asarray(flow, dtype=np.uint64)
        own = flow if own is None else np.asarray(own, dtype=np.uint64)
        if not len(flow) == len(own) == len(outcome) == len(length):
            raise ValueError("flow, outcome and length must have one row a packet")
        part = _sum_chunk(flow, np.asarray(outcome)[:, 0], np.asarray(length), self.seen)
        self.seen += len(flow)
        both = np.flatnonzero((flow != 0) & (own != 0))
        self._names.append(np.column_stack([own[both], flow[both]]))
        if len(self._names) >= MERGE_EVERY:
            self._names = [self._named()]
        self._add(part)

    def take(self, ended: np.ndarray) -> None:
        """Sessions that ended (SESSION_DTYPE[n]); those taken count for their flow: that of the
        first packet with the session's number."""
        own, count = np.unique(
            ended["flow"][np.isin(ended["cause"], TAKEN)], return_counts=True)
        self._names = [self._named()]
        names = self._names[0]
        at = np.searchsorted(names[:, 0], own)
        if len(own) and (at.max() >= len(names) or (names[at, 0] != own).any()):
            raise RuntimeError("a session was taken of a flow that has no packet")
        part = np.zeros(len(own), dtype=FLOW_DTYPE)
        part["flow"], part["evicted"] = names[at, 1], count
        part["first_packet"] = np.iinfo(np.uint64).max      # it is known from the packets
        self._add(part)

    def _named(self) -> np.ndarray:
        """Each number of the run once, ascending, with the flow that came first under it."""
        rows = np.concatenate([np.zeros((0, 2), np.uint64), *self._names])
        return rows[np.unique(rows[:, 0], return_index=True)[1]]

    def _add(self, part: np.ndarray) -> None:
        self._parts.append(part)
        if len(self._parts) >= MERGE_EVERY:
            self._parts = [merge(self._parts)]

    def table(self) -> np.ndarray:
        """FLOW_DTYPE[m], sorted by flow."""
        flows = merge(self._parts)
        if len(flows) and not flows["packets"].all():
            raise RuntimeError("a session was taken of a flow that has no packet")
        return flows


def _sum_chunk(
    flow: np.ndarray, verdict: np.ndarray, length: np.ndarray, before: int
) -> np.ndarray:
    """FLOW_DTYPE[m] of one chunk whose first packet is number before + 1."""
    ids, first, slot = np.unique(flow, return_index=True, return_inverse=True)
    part = np.zeros(len(ids), dtype=FLOW_DTYPE)
    part["flow"], part["first_packet"] = ids, first + before + 1
    weights = {"": None, "dropped": verdict == DROP, "bypassed": verdict == BYPASS}
    for name, weight in weights.items():
        counted = np.ones(len(flow)) if weight is None else weight.astype(np.float64)
        part[name or "packets"] = np.bincount(slot, counted, len(ids))
        part[f"{name}_bytes".lstrip("_")] = np.bincount(slot, counted * length, len(ids))
    return part[ids != 0]


def merge(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Several FLOW_DTYPE tables as one: sums added, the lowest first packet, sorted by flow."""
    rows = np.concatenate(parts) if parts else np.zeros(0, dtype=FLOW_DTYPE)
    ids, slot = np.unique(rows["flow"], return_inverse=True)
    whole = np.zeros(len(ids), dtype=FLOW_DTYPE)
    whole["flow"] = ids
    whole["first_packet"] = np.iinfo(np.uint64).max
    np.minimum.at(whole["first_packet"], slot, rows["first_packet"])
    for name in SUMS:
        np.add.at(whole[name], slot, rows[name])
    return whole


def outcomes(flows: np.ndarray) -> np.ndarray:
    """Index into OUTCOMES for each row of a FLOW_DTYPE table, uint8[m]."""
    found = np.zeros(len(flows), dtype=np.uint8)
    for name, holds in (
        ("uninspected", flows["bypassed"] > 0),
        ("dropped", flows["dropped"] > 0),
        ("evicted", flows["evicted"] > 0),
        ("refused", flows["dropped"] == flows["packets"]),
    ):
        found[holds] = OUTCOMES.index(name)
    return found


@dataclass(frozen=True)
class Comparison:
    """Results of the same capture under named settings, and what became of every flow."""

    names: tuple[str, ...]
    results: tuple[Result, ...]
    flows: tuple[np.ndarray, ...]  # FLOW_DTYPE[m] each, the same flows in the same order

    def __post_init__(self) -> None:
        first = self.flows[0]["flow"]
        for name, table in zip(self.names, self.flows, strict=True):
            if not np.array_equal(table["flow"], first):
                raise FwcoreError(f"{name} saw other flows than {self.names[0]}: not one capture")
        for name, table, result in zip(self.names, self.flows, self.results, strict=True):
            ended = result.data["sessions"]["ended"]
            if table["evicted"].sum() != sum(ended[cause] for cause in TAKEN_CAUSES):
                raise LawBroken(f"{name}: sessions taken of flows are not those that were counted;"
                                " a defect of fwcore, please report")

    def groups(self) -> list[dict[str, Any]]:
        """Flows by what became of them under each setting, most bytes first (lived by all last)."""
        found = np.stack([outcomes(table) for table in self.flows])
        kinds, slot = np.unique(found, axis=1, return_inverse=True)
        slot = slot.reshape(-1)
        rows = []
        for at in range(kinds.shape[1]):
            members = np.flatnonzero(slot == at)
            first = np.sort(self.flows[0]["first_packet"][members])
            rows.append({
                "outcomes": {name: OUTCOMES[kinds[run, at]] for run, name in enumerate(self.names)},
                "flows": len(members),
                "packets": int(self.flows[0]["packets"][members].sum()),
                "bytes": int(self.flows[0]["bytes"][members].sum()),
                "first_packets": first[:EXAMPLES].tolist(),
            })  # fmt: skip
        return sorted(
            rows, key=lambda row: (set(row["outcomes"].values()) == {"lived"}, -row["bytes"])
        )

    def harm(self) -> list[dict[str, Any]]:
        """For each setting: flows by outcome, and what was lost or passed unscanned in bytes."""
        rows = []
        for name, table, result in zip(self.names, self.flows, self.results, strict=True):
            number = np.bincount(outcomes(table), minlength=len(OUTCOMES))
            rows.append({
                "name": name, "personality": result.data["personality"],
                "flows": {kind: int(number[at]) for at, kind in enumerate(OUTCOMES)},
                "harmed": int(len(table) - number[0]),
                "lost": int(sum(number[OUTCOMES.index(kind)] for kind in LOST)),
                "uninspected": int(number[OUTCOMES.index("uninspected")]),
                "dropped_packets": int(table["dropped"].sum()),
                "dropped_bytes": int(table["dropped_bytes"].sum()),
                "uninspected_packets": int(table["bypassed"].sum()),
                "uninspected_bytes": int(table["bypassed_bytes"].sum()),
                "sessions_taken": int(table["evicted"].sum()),
                "transitions": len(result.data["conserve"]["transitions"]),
                "conserve_seconds": dict(result.data["conserve"]["seconds"]),
                "peak_used_pages": int(result.data["memory"]["peak"]["used"]),
                "outcome": result.data["outcome"],
            })  # fmt: skip
        return rows

    def net(self) -> list[dict[str, Any]]:
        """What each later setting does more (+) or less (-) than the first."""
        rows = self.harm()
        keys = ("harmed", "lost", "uninspected", "dropped_bytes", "uninspected_bytes",
                "sessions_taken")  # fmt: skip
        return [
            {
                "name": row["name"],
                "against": rows[0]["name"],
                **{key: row[key] - rows[0][key] for key in keys},
            }
            for row in rows[1:]
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything above as plain values, with each run's result but its victims."""
        return {
            "schema": 1, "flows": len(self.flows[0]), "settings": list(self.names),
            "harm": self.harm(), "net": self.net(), "groups": self.groups(),
            "results": [
                {name: value for name, value in result.data.items() if name != "victims"}
                for result in self.results
            ],
        }  # fmt: skip


def sentence(names: Sequence[str], kinds: Mapping[str, str]) -> str:
    """A group in words: 'lived under all', 'evicted only under A', 'A dropped, B uninspected'."""
    different = set(kinds.values())
    if len(different) == 1:
        return f"{different.pop()} under {'both' if len(names) == 2 else 'all'}"
    harmed = [name for name in names if kinds[name] != "lived"]
    if len(harmed) == 1:
        return f"{kinds[harmed[0]]} only under {harmed[0]}"
    return ", ".join(f"{kinds[name]} under {name}" for name in names)


# -- on a terminal ------------------------------------------------------------------------------


def render_text(comparison: Comparison, style: text.Style | None = None) -> str:
    """The comparison at 80 columns."""
    style = style or text.Style()
    names, harm = _short_names(comparison.names), comparison.harm()
    rows = [["", *names]]
    for kind in OUTCOMES:
        rows.append([kind, *(units.count(row["flows"][kind]) for row in harm)])
    for key, label in (
        ("sessions_taken", "sessions taken"), ("dropped_bytes", "bytes dropped"),
        ("uninspected_bytes", "bytes unscanned"), ("transitions", "transitions"),
    ):  # fmt: skip
        plain = key in ("sessions_taken", "transitions")
        rows.append(
            [label, *((units.count if plain else units.size)(row[key]) for row in harm)]
        )
    total = units.plural(len(comparison.flows[0]), "flow")
    head = f"{style.paint('fwcore compare', 'strong')}{style.dot}{total}"
    keys = [
        f"{short} = {name}"
        for short, name in zip(names, comparison.names, strict=True)
        if short != name
    ]
    blocks = [
        "\n".join([head, *(f"  {key}" for key in keys)]),
        "\n".join(text.section("flows", text.columns(rows, [""] * len(rows[0]), style), style)),
        "\n".join(text.section("joined", _joined(comparison, names, style), style)),
        "\n".join(text.section("net", _net(comparison, names), style)),
    ]
    return "\n\n".join(blocks) + "\n"


def _short_names(names: Sequence[str]) -> list[str]:
    """Names that fit a column; letters when one is too long."""
    if max(map(len, names)) <= LONGEST_NAME:
        return list(names)
    return [chr(ord("A") + at) for at in range(len(names))]


def _joined(comparison: Comparison, names: Sequence[str], style: text.Style) -> list[str]:
    rows = []
    short = dict(zip(comparison.names, names, strict=True))
    found = comparison.groups()
    for group in found[:SHOWN]:
        kinds = {short[name]: kind for name, kind in group["outcomes"].items()}
        worst = max(OUTCOMES.index(kind) for kind in kinds.values())
        words = sentence(names, kinds)
        tone = ("good", "warn", "warn", "bad", "bad")[worst]
        rows.append(
            f"{units.count(group['flows']):>9} {units.size(group['bytes']):>9}  "
            + style.paint(words, tone)
        )
        if words.split()[-1] not in ("both", "all"):
            packets = ", ".join(map(str, group["first_packets"][:3]))
            rows.append(style.paint(f"{'':21}first seen at packet {packets}", "dim"))
    if len(found) > SHOWN:
        rest = sum(group["flows"] for group in found[SHOWN:])
        rows.append(f"{units.count(rest):>9} in {len(found) - SHOWN} smaller groups: --json")
    return rows


def _net(comparison: Comparison, names: Sequence[str]) -> list[str]:
    rows = []
    for row, name in zip(comparison.net(), names[1:], strict=True):
        rows += text.wrap(
            [
                f"{name} against {names[0]}: {units.signed(row['lost'])} flows dropped,"
                " evicted or refused",
                f"{units.signed(row['uninspected'])} flows passed uninspected",
                f"{_signed_size(row['dropped_bytes'])} dropped",
                f"{_signed_size(row['uninspected_bytes'])} unscanned",
            ],
            text.Style(unicode=False),
        )
    return rows


def _signed_size(number: int) -> str:
    return ("+" if number > 0 else "") + units.size(number)


# -- as a page ----------------------------------------------------------------------------------


def render_html(comparison: Comparison) -> str:
    """The comparison as a page, timelines under one another on one axis of time."""
    from fwcore.report import charts, html

    made, shared = {}, None
    for at, result in enumerate(comparison.results):
        columns = facts.timeline(result, charts.SAMPLES)
        if not columns:
            continue
        shared = shared or charts.time_range(columns)
        for name, chart in charts.make(result, x_range=shared, prefix=f"{at}-").items():
            if name in ("memory", "verdicts"):
                made[f"{name}_{at}"] = chart
    script, divs = charts.embed(made) if made else ("", {})
    start, end = facts.span(comparison.results[0])
    body = [_groups_html(comparison), _harm_html(comparison)]
    for kind, title in (("memory", "Memory"), ("verdicts", "Verdicts")):
        for at, name in enumerate(comparison.names):
            if f"{kind}_{at}" in divs:
                chart = f'<div class="chart">{divs[f"{kind}_{at}"]}</div>'
                body.append(html.section(f"{title}: {name}", chart))
    return html.assemble(
        title="The same traffic, " + " against ".join(comparison.names),
        subtitle=f"{units.plural(len(comparison.flows[0]), 'flow')}, joined packet by packet",
        banner="", body="\n".join(body), footer="", chart_script=script,
        data={"end": (end - start) / 1e9, "charts": len(made), "victims": {"causes": []}},
    )  # fmt: skip


def _groups_html(comparison: Comparison) -> str:
    from fwcore.report import html

    rows = [
        (sentence(comparison.names, group["outcomes"]), units.count(group["flows"]),
         units.count(group["packets"]), units.size(group["bytes"]),
         ", ".join(map(units.count, group["first_packets"])))
        for group in comparison.groups()
    ]  # fmt: skip
    head = ("what became of them", "flows", "packets", "bytes", "first seen at packet")
    return html.section("Joined", html.table(head, rows, (1, 2, 3)))


def _harm_html(comparison: Comparison) -> str:
    from fwcore.report import html

    rows = [
        (row["name"], *(units.count(row["flows"][kind]) for kind in OUTCOMES),
         units.count(row["sessions_taken"]), units.size(row["dropped_bytes"]),
         units.size(row["uninspected_bytes"]), units.count(row["transitions"]))
        for row in comparison.harm()
    ]  # fmt: skip
    head = (
        "setting",
        *OUTCOMES,
        "sessions taken",
        "bytes dropped",
        "bytes unscanned",
        "transitions",
    )
    net = [
        (f"{row['name']} against {row['against']}", units.signed(row["lost"]),
         units.signed(row["uninspected"]), _signed_size(row["dropped_bytes"]),
         _signed_size(row["uninspected_bytes"]))
        for row in comparison.net()
    ]  # fmt: skip
    return html.section(
        "Harm, setting by setting",
        html.table(head, rows, tuple(range(1, 10))),
        html.table(("net", "flows dropped, evicted or refused", "flows passed uninspected",
                    "bytes dropped", "bytes unscanned"), net, (1, 2, 3, 4)),
    )


# -- running it ---------------------------------------------------------------------------------


def run(paths: Sequence[Any], named: Mapping[str, Any], replay: Any, **options: Any) -> Comparison:
    """Replays the capture once for each setting; `replay` is `fwcore.replay.replay`."""
    results: list[Result] = []
    flows: list[np.ndarray] = []
    for settings in named.values():
        ledger = FlowLedger()
        results.append(replay(paths, settings, flows=ledger.packets, ended=ledger.take, **options))
        flows.append(ledger.table())
    return Comparison(tuple(named), tuple(results), tuple(flows))
