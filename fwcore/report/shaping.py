"""Shaping in words and rows: for the summary, the page, and a comparison.

Delays are those of packets that were sent, line time included, to the end of their bucket of a
histogram of 32 buckets to a doubling: at most 3.2 % above the true one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fwcore import units
from fwcore.result import Result

Section = Mapping[str, Any]
LATER = ("codel", "pushed_out")  # ways to drop a packet that was let in, whose flow lost none then
CLASS_HEAD = ("class", "packets", "dropped", "p50", "p95", "p99", "longest")
METER_HEAD = ("meter", "passed", "dropped", "share", "bytes dropped")
NAMED = 5
LINK_HEAD = ("link", "packets", "bytes", "line taken", "queue at most")


def section(result: Result) -> Section | None:
    """What the result says of shaping; None where nothing was shaped."""
    found: Section | None = result.data.get("shaping")
    return found


def dropped(row: Section) -> int:
    """Packets that a class dropped, in whatever way."""
    return sum(row["dropped"].values())


def class_rows(found: Section) -> list[list[str]]:
    """Those that any packet came to, the most first."""
    rows = [row for row in found["classes"] if row["packets"] or dropped(row) or row["waiting"]]
    rows.sort(key=lambda row: -(row["packets"] + dropped(row)))
    return [[f"{row['link']}:{row['id']}", units.count(row["packets"]), units.count(dropped(row)),
             *(delay(row["delay_ns"][each]) for each in ("p50", "p95", "p99", "max"))]
            for row in rows]


def meter_rows(found: Section) -> list[list[str]]:
    """A row a meter that met packets."""
    made = []
    for row in found["meters"]:
        lost, all_ = row["dropped"]["packets"], row["passed"]["packets"] + row["dropped"]["packets"]
        if all_:
            made.append([row["name"], units.count(row["passed"]["packets"]), units.count(lost),
                         units.share(lost, all_), units.size(row["dropped"]["bytes"])])
    return made


def link_rows(found: Section, duration_ns: int) -> list[list[str]]:
    """A row a link; the line's time against the capture's, with what it took to drain."""
    time_ns = duration_ns + found["drain_ns"]
    return [[row["name"], units.count(row["packets"]), units.size(row["bytes"]),
             units.share(row["busy_ns"], time_ns) if row["rate"] and time_ns else "",
             f"{units.plural(row['queue_peak']['packets'], 'packet')},"
             f" {units.size(row['queue_peak']['bytes'])}"]
            for row in found["links"]]


def remarks(found: Section) -> list[str]:
    """What of the packets or the settings met nothing, or could not be met."""
    made = []
    if found["unshaped"]["packets"]:
        made.append(f"{units.plural(found['unshaped']['packets'], 'packet')} met neither meter nor"
                    " link: no row matched, or what it named went away")
    idle = [row["name"] for row in found["links"] if row["priorities"] > 1 and row["packets"]
            and row["queue_peak"]["packets"] <= 1]
    if idle:
        more = f" and {units.count(len(idle) - NAMED)} more" if len(idle) > NAMED else ""
        noun, whose = ("link", "its") if len(idle) == 1 else ("links", "their")
        made.append(f"nothing ever waited at {noun} {', '.join(idle[:NAMED])}{more}: {whose}"
                    " priorities changed nothing")
    giants = [row for row in found["classes"] if row["giants"]]
    if giants:
        named = ", ".join(f"{row['link']}:{row['id']}" for row in giants[:NAMED])
        more = f" and {units.count(len(giants) - NAMED)} more" if len(giants) > NAMED else ""
        made.append(f"{units.plural(sum(row['giants'] for row in giants), 'packet')} larger than"
                    f" what a bucket ever holds (giants): dropped by class {named}{more}")
    return made


def delay(ns: int) -> str:
    """A delay with three digits."""
    return units.nanoseconds(ns)


def lost(found: Section) -> int:
    """Packets that meters and classes dropped."""
    of_meters: int = sum(row["dropped"]["packets"] for row in found["meters"])
    return of_meters + sum(map(dropped, found["classes"]))


def sentence(found: Section) -> str:
    """What shaping did, in one sentence."""
    busy = [row for row in found["classes"] if row["delay_ns"]["p99"]]
    text = f"Shaping dropped {units.plural(lost(found), 'packet')}"
    if busy:
        slow = max(busy, key=lambda row: row["delay_ns"]["p99"])
        text += (f"; class {slow['link']}:{slow['id']} delayed its own by"
                 f" {delay(slow['delay_ns']['p50'])} at p50, {delay(slow['delay_ns']['p99'])} at"
                 " p99")
    return text + "."


def short(found: Section) -> str:
    """The same for a comparison: '3 packets policed, delayed by 12 ms at p99'."""
    policed = sum(row["dropped"]["packets"] for row in found["meters"])
    queues = sum(map(dropped, found["classes"]))
    parts = [f"{units.plural(policed, 'packet')} policed"] if policed else []
    waited = sum(row["dropped"][how] for row in found["classes"] for how in LATER)
    later = "" if not waited else " while waiting" if waited == queues else (
        f", {units.count(waited)} of them while waiting")
    parts += [f"{units.plural(queues, 'packet')} dropped by queues{later}"] if queues else []
    busy = [row["delay_ns"]["p99"] for row in found["classes"] if row["packets"]]
    parts += [f"delayed by {delay(max(busy))} at p99"] if busy and max(busy) else []
    return ", ".join(parts) or "nothing policed or delayed"


def open_loop(result: Result) -> str:
    """What a capture cannot say; a live run that sends can, for its ends are shaped."""
    found = result.data["shaping"]
    share = units.share(round(found["open_loop"]["tcp_share_of_bytes"] * 10**6), 10**6)
    live = result.data.get("live", {}).get("interfaces", {})
    if any(row["sent"] for row in live.values()):
        return (f"Live: {share} of the shaped bytes are TCP, sent by ends that could react to what"
                " was done here.")
    return (f"Open loop: {share} of the shaped bytes are TCP, sent by ends that saw another"
            " network. Exact is what this box would have done to these packets, and the delay of"
            " what does not react; not exact is what TCP would have made of it.")
