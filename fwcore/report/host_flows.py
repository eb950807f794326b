"""The flows of one host: with whom, under which policy, how much, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import numpy as np

from fwcore import policy, units
from fwcore.errors import FwcoreError
from fwcore.report import text
from fwcore.report.compare import HARMLESS, OUTCOMES, TONES, Comparison
from fwcore.report.flow_ledger import FlowLedger

SHOWN = 40
SUMS = {"sessions_taken": "taken",
        "dropped_packets": "dropped", "dropped_bytes": "dropped_bytes",
        "uninspected_packets": "bypassed", "uninspected_bytes": "bypassed_bytes"}


def run(
    paths: Sequence[str], host: str, settings: Any, replay: Callable[..., Any]
) -> dict[str, Any]:
    """Plain values: the host's flows in the order of their first packets."""
    try:
        address = ip_address(host)
    except ValueError:
        raise FwcoreError(f"host {host[:80]!r} is no address, like 10.0.0.5") from None
    ledger = FlowLedger(vlan_zone=settings.zone == "vlan")
    result = replay(paths, settings, flows=ledger.packets, ended=ledger.take)
    joined = Comparison(("run",), (result,), (ledger.table(),),
                        (policy.parse(settings.policies),))
    halves = np.array(divmod(int(address), 1 << 64), dtype=np.uint64)
    here = np.zeros(len(joined.ends), dtype=bool)
    for side in ("initiator", "responder"):
        here |= (joined.ends[side] == halves).all(axis=1)
    here &= joined.ends["family"] == address.version
    order = np.flatnonzero(here)
    order = order[np.argsort(joined.flows[0]["first_packet"][order], kind="stable")]
    table = joined.flows[0]
    sums = [table[column][order].tolist() for column in SUMS.values()]
    rows = [named | {"outcome": OUTCOMES[found], **dict(zip(SUMS, values, strict=True))}
            for named, found, values in zip(
                joined.named(order), joined.found[0, order].tolist(), zip(*sums, strict=True),
                strict=True)]
    return {"schema": 1, "kind": "host", "host": str(address), "packets": result["packets"],
            "inputs": result["inputs"], "flows": rows}


def show(made: Mapping[str, Any], style: text.Style) -> str:
    """The flows at 80 columns, two lines each, those that were harmed first."""
    rows = made["flows"]
    lines = [style.paint(f"fwcore explain{style.dot}host {made['host']}", "strong"), ""]
    if not rows:
        checked = units.plural(made["packets"], "packet")
        return "\n".join([*lines, f"  No flow of this host among {checked}."]) + "\n"
    harmed = [row for row in rows if row["outcome"] not in HARMLESS]
    sums = {kind: sum(row["outcome"] == kind for row in rows) for kind in OUTCOMES}
    told = ", ".join(f"{units.count(number)} {kind}" for kind, number in sums.items() if number)
    dropped, unseen = (units.size(sum(row[key] for row in rows))
                       for key in ("dropped_bytes", "uninspected_bytes"))
    lines += [f"  {part}" for part in text.fold(
        f"{units.plural(len(rows), 'flow')}: {told}. {dropped} dropped, {unseen} passed"
        " unscanned.", text.WIDTH - 2)]
    lines.append("")
    shown = [*harmed, *(row for row in rows if row["outcome"] in HARMLESS)][:SHOWN]
    for row in shown:
        kind = style.paint(f"{row['outcome']:<11}", TONES[row["outcome"]])
        lines.append(f"  {kind} {row['flow']}")
        lines.append(style.paint(
            f"{'':14}frame.number=={row['first_packet']} policy {row['policy_name']},"
            f" {units.plural(row['packets'], 'packet')}, {units.size(row['bytes'])}"[:text.WIDTH],
            "dim"))
    if len(rows) > SHOWN:
        lines.append(f"  {units.plural(len(rows) - SHOWN, 'flow')} more: --json")
    lines += ["", "  One of them, packet by packet: --packet N"]
    return "\n".join(lines) + "\n"
