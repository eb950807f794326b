"""The live part of a result as text: interfaces, delay; and one screen of a run under way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fwcore import units

FATES = ("lost", "faulty", "withheld", "cut", "full", "too_long", "down", "refused")


def lines(live: Mapping[str, Any]) -> str:
    """What a live run adds to a replay's summary."""
    made = []
    for name, row in live["interfaces"].items():
        rest = ", ".join(f"{fate.replace('_', ' ')} {row[fate]:,}" for fate in FATES if row[fate])
        made.append(f"  {name:<9} arrived {row['arrived']:,}, taken {row['taken']:,},"
                    f" sent {row['sent']:,}{', ' + rest if rest else ''}".replace(",", " ", 0))
    delay = live["delay"]
    if delay["max_ns"]:
        made.append(f"  delay     p50 {units.nanoseconds(delay['p50_ns'])},"
                    f" p99 {units.nanoseconds(delay['p99_ns'])} from arrival to sent")
    return "\n".join(made) + "\n"


def screen(figures: Mapping[str, Any], events: list[str]) -> list[str]:
    """A run under way on one screen: lines without colour."""
    memory, rates = figures["memory"]["now"], figures["rates"]
    total = figures["memory"]["total_pages"]
    share = memory["used"] / max(1, total)
    filled = round(share * 40)
    made = [
        f"fwcore live  {figures['personality']}  {units.seconds(figures['up_s'])}"
        f"   conserve mode: {figures['label']}", "",
        f"memory   [{'#' * filled}{'.' * (40 - filled)}] {share:6.1%} of"
        f" {total * 4096 // (1 << 20):,} MiB",
        f"sessions {figures['sessions']['live']:>12,}   new {rates['sessions']:>12,.0f}/s",
        f"packets  {figures['packets']:>12,}   now {rates['packets']:>12,.0f}/s"
        f"   {rates['bits'] / 1e6:,.1f} Mbit/s", ""]
    for name, count in figures["verdicts"].items():
        made.append(f"{name:<8} {count:>12,}")
    made.append("")
    for name, row in figures["interfaces"].items():
        bad = sum(row[fate] for fate in FATES if fate != "withheld")
        made.append(f"{name:<15} {row['state']:<5} taken {row['taken']:>12,}   sent"
                    f" {row['sent']:>12,}   lost {row['lost']:>8,}   not sent {bad:>8,}")
    made += ["", *events[-8:]]
    return made
