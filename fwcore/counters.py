"""Counters of an engine by name, the laws, and rows as others read them.

Everything that leaves an engine as a number is put together here; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore import conserve
from fwcore._columns import key_texts
from fwcore._layout import EndCause, Exposure, Reason, TcpState, Verdict
from fwcore.rows import Texts
from fwcore.words import CLASSES, OWNERS, protocol_text


def _names(enum: Any) -> list[str]:
    return [member.name.lower() for member in enum]


PEAKS = (*OWNERS, "free", "used")
# Added after 0.1, behind what its lists end with: they stand here unless they are 0.
REASONS_LATER = tuple(_names(Reason)[Reason.KILLED + 1:])
CAUSES_LATER = tuple(_names(Exposure)[Exposure.NO_MEMORY + 1:])
# Reasons of packets refused for want of memory or room; what a policy denies or a header forfeits
# is no harm, and what meets a packet that was let in is told by itself.
REFUSALS = tuple(name for name in _names(Reason)[Reason.CONSERVE_BLOCK:] if name not in (
    "over_limit", "queue_full", "bypass_inspector", "inspector_block"))


def _memory(engine: Any, raw: dict[str, Any]) -> dict[str, Any]:
    gauges = engine.fastpath.gauges()
    used, free = gauges.used_pages, gauges.free_pages
    now = dict(zip(OWNERS, engine.fastpath.owners(), strict=True))
    peak = dict(zip(PEAKS, raw["peaks"], strict=True))
    queues, queues_peak = engine.fastpath.queue_pages
    if queues:
        now["queues"] = queues
    if queues_peak:
        peak["queues"] = queues_peak
    return {
        "total_pages": engine.settings.total_pages,
        "now": now | {"free": free, "used": used},
        "peak": peak,
        "script_short_pages": raw["script_short"],
        "page_requests": raw["page_requests"],
        "page_failures": raw["page_failures"],
    }


def _stampede(raw: dict[str, Any]) -> dict[str, Any]:
    split = {
        name: {"passes": raw["passes_for"][i], "sessions_deleted": raw["deleted"][i]}
        for i, name in enumerate(("by_page", "by_full_table"))}
    return {"passes": raw["passes"], "pages_needed": raw["pages_needed"],
            "sessions_deleted": sum(raw["deleted"])} | split


def _exposure(raw: dict[str, Any]) -> dict[str, Any]:
    by_cause = {
        name: {"sessions": raw["exposed_sessions"][i], "packets": raw["exposed_packets"][i],
               "bytes": raw["exposed_bytes"][i]}
        for i, name in enumerate(_names(Exposure))}
    return {"sessions": raw["exposed_any"], "packets": sum(raw["exposed_packets"]),
            "bytes": sum(raw["exposed_bytes"]), "by_cause": causes_met(by_cause)}


def _decode(engine: Any, reasons: dict[str, int]) -> dict[str, int]:
    found = engine.fastpath.decode_counts()
    for name in ("non_ip", "truncated", "unsupported_link"):
        found[name] = reasons[name]
    order = ("ipv4", "ipv6", "tcp", "udp", "icmp", "sctp", "other_ip", "non_ip", "fragments",
             "malformed", "truncated", "offloaded", "unsupported_link")
    return {name: found[name] for name in order}


def without_later(reasons: dict[str, int]) -> dict[str, int]:
    """Reasons with their packets, without those that were added after 0.1 and have none."""
    return {name: count for name, count in reasons.items() if count or name not in REASONS_LATER}


def causes_met(by_cause: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Causes of exposure, without those that were added after 0.1 and have no packet."""
    return {name: row for name, row in by_cause.items()
            if row["packets"] or name not in CAUSES_LATER}


def counters(engine: Any) -> dict[str, Any]:
    """Every counter by name, as the digest and the result have them; integers only."""
    raw = engine.fastpath.counters()
    counts = engine.fastpath.outcome_counts()
    reasons = dict(zip(_names(Reason), (int(n) for n in counts.sum(axis=0)), strict=True))
    verdicts = dict(zip(_names(Verdict), (int(n) for n in counts.sum(axis=1)), strict=True))
    reasons = without_later(reasons)
    # counters that stand here unless they are 0
    later = {name: raw[name] for name in ("grace_unsure", "time_jumped")}
    shaper = engine.shaping()
    return {name: count for name, count in later.items() if count} | (
            {"shaping": shaper} if shaper else {}) | {
        "packets": raw["packets"], "bytes": raw["bytes"], "time_reversed": raw["time_reversed"],
        "verdicts": verdicts, "reasons": reasons, "decode": _decode(engine, reasons),
        "sessions": {
            "created": raw["created"], "live": raw["live"], "peak": raw["peak"],
            "reborn": raw["reborn"],
            "ended": dict(zip(_names(EndCause), raw["ended"], strict=True))},
        "memory_tension": raw["ended"][EndCause.TENSION],
        "stampede": _stampede(raw), "memory": _memory(engine, raw),
        "exposure": _exposure(raw),
        "proxy": {
            "sessions": raw["proxy_sessions"], "peak": raw["proxy_peak"],
            "objects": raw["objects"], "objects_bypassed": raw["objects_bypassed"],
            "objects_oversize": raw["objects_oversize"]},
        "ips": {"filled_bytes": raw["ips_filled_bytes"], "full_count": raw["ips_full_count"]},
        "fragments_forgotten": raw["fragments_forgotten"], "flaps": engine.flaps,
        "transitions_forgotten": engine.transitions.forgotten,
        "events_forgotten": engine.events.forgotten,
    }


# --- laws -----------------------------------------------------------------------------------------


def _failure_after_mode(engine: Any, raw: dict[str, Any]) -> bool:
    """A page failed only after conserve mode was hit, or by crossing both levels at once.

    The fast path kept the least used memory at which an unforced request failed while every
    machine was off; on those figures some machine has to leave off.
    """
    if not engine.machines or not raw["failures_off"]:
        return True
    need = raw["failure_need"]
    snapshot = conserve.Snapshot(
        engine.settings.total_pages, raw["failure_used"] + need, raw["failure_cache"],
        max(0, raw["failure_free"] - need), raw["failure_shm"], 0)
    return any(machine.step("off", snapshot) != "off" for machine in engine.machines)


def _shaping_laws(engine: Any, queues: int) -> dict[str, bool]:
    """The laws of a shaper, where there is one."""
    shaper = engine.fastpath.shaper
    if shaper is None:
        return {}
    found = shaper.laws()
    return found | {"queue_pages": found["queue_pages"] and queues == shaper.pages}


def laws(engine: Any, scan: dict[str, int] | None = None) -> dict[str, bool]:
    """Each law and whether it holds; the two sources are independent.

    ``scan``: a ``FastPath.audit`` of this very state, where the caller has one already.
    """
    raw = engine.fastpath.counters()
    scan = engine.fastpath.audit() if scan is None else scan
    counts = engine.fastpath.outcome_counts()
    recount = engine.fastpath.outcome_recount()
    gauges = engine.fastpath.gauges()
    used, free = gauges.used_pages, gauges.free_pages
    owners = engine.fastpath.owners()
    queues = engine.fastpath.queue_pages[0]
    settings = engine.settings
    bypassed = int(counts[Verdict.BYPASS].sum())
    return {
        "verdicts_recounted": bool((recount == counts).all()
                                   and recount.sum() == raw["packets"]),
        "live_by_scan": scan["live"] == raw["live"] == scan["hosts_live"]
        and scan["host_entries_wrong"] == 0 and scan["half_open"] == raw["half_open"],
        "index_entries": scan["index_entries"] == scan["live"] and scan["misplaced"] == 0,
        "timers": scan["timers"] == scan["live"]
        and scan["timers_wrong"] == scan["overdue"] == 0,
        "lists": scan["tags_wrong"] == scan["lines_wrong"] == scan["ages_wrong"]
        == scan["fragments_wrong"] == 0,
        "created_accounted": raw["created"] == raw["live"] + sum(raw["ended"]),
        "pages_total": sum(owners) + queues + free == settings.total_pages
        and used == sum(owners[:3]) + queues,
        "session_pages": owners[1] == settings.session_pages(scan["live"]),
        "buffer_pages": owners[2] == scan["shm_pages"] + raw["script_shm"]
        and scan["proxied"] == raw["proxy_sessions"],
        "exposure_ledger": sum(raw["exposed_packets"]) == bypassed,
        "tension_counted": sum(raw["deleted"]) == raw["ended"][EndCause.TENSION],
        "page_failure_after_mode": _failure_after_mode(engine, raw),
        **_shaping_laws(engine, queues),
    }


# --- rows as others read them ---------------------------------------------------------------------


def address_text(number: int, family: int) -> str:
    """An address as text from its number and family (4 or 6)."""
    return str(ip_address(number.to_bytes(4 if family == 4 else 16, "big")))


def host_key(row: Any) -> tuple[int, int]:
    """A session's initiator as (address, family)."""
    family = int(row["family"])
    return int.from_bytes(bytes(row["initiator"][: 4 if family == 4 else 16]), "big"), family


def host_words(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The initiators of sessions (``SESSION_DTYPE[n]``): high and low half of the address as a
    number, uint64[n] each, and the family uint8[n]."""
    high, low = rows["initiator"].view(">u8").astype(np.uint64).reshape(-1, 2).T
    four = rows["family"] == 4
    low = np.where(four, high >> np.uint64(32), low)
    return np.where(four, np.uint64(0), high), low, rows["family"]


def ranked(
    columns: Sequence[NDArray[Any]],
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Rows of columns[n] sorted, the first column first: (their order intp[n], bool[n]: where a
    row differs from the one before it). Of equal ones the earlier comes first."""
    order = np.lexsort(columns[::-1])
    ordered = [column[order] for column in columns]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = np.any([column[1:] != column[:-1] for column in ordered], axis=0)
    return order, begins


def hosts_of(rows: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which initiator each session has: (its number intp[n], a row of each number intp[m]).

    Initiators are numbered by address (as a number), then family.
    """
    order, begins = ranked(host_words(rows))
    place = np.empty(len(rows), dtype=np.intp)
    place[order] = np.cumsum(begins) - 1
    return place, order[begins]


def key_text(row: Any) -> str:
    """``10.0.0.5:4321-203.0.113.9:443/tcp``: the notation of ``fwcore explain --flow``."""
    size = 4 if row["family"] == 4 else 16
    ends = []
    for address, port in (("initiator", "initiator_port"), ("responder", "responder_port")):
        text = str(ip_address(bytes(row[address][:size])))
        ends.append(f"[{text}]:{row[port]}" if size == 16 else f"{text}:{row[port]}")
    protocol = protocol_text(int(row["protocol"]))
    zone = f"@{row['zone']}" if row["zone"] else ""
    return f"{ends[0]}-{ends[1]}/{protocol}{zone}"


def state_name(state: int) -> str:
    """The state's public name; FIN_WAIT is kept as two."""
    name = TcpState(state).name
    return "FIN_WAIT" if name == "FIN_WAIT_REPLY" else name


def victim_rows(rows: NDArray[Any]) -> list[dict[str, Any]]:
    """Rows of the victim ledger (``SESSION_DTYPE[n]``) in the contract's form."""
    causes = {cause.value: cause.name.lower() for cause in EndCause}
    states = {state.value: state_name(state) for state in TcpState}
    columns = {
        "packet": rows["ended_packet"].tolist(), "created_packet": rows["created_packet"].tolist(),
        "key": Texts(*key_texts(rows)).tolist(),
        "cause": [causes[each] for each in rows["cause"].tolist()],
        "age_ns": (rows["ended_ns"] - rows["created_ns"]).tolist(),
        "idle_ns": (rows["ended_ns"] - rows["last_seen_ns"]).tolist(),
        "bytes": rows["bytes"].sum(axis=1).tolist(),
        "state": [states[each] for each in rows["state"].tolist()],
        "policy": rows["policy"].tolist(),
        "inspection": [CLASSES[each] for each in rows["inspection"].tolist()],
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def timeline(engine: Any) -> dict[str, Any]:
    """The samples as columns: name -> list of int (verdicts and reasons: name -> name -> list)."""
    rows = engine.fastpath.samples()
    plain = ("time_ns", "packet", "mode", "live", "created", "ended", "tension", "evicted",
             "free", "exposed_packets")
    columns: dict[str, Any] = {name: rows[name].tolist() for name in plain}
    for i, owner in enumerate(OWNERS):
        columns[owner] = rows["pages"][:, i].tolist()
    for field, enum in (("verdicts", Verdict), ("reasons", Reason)):
        columns[field] = {name: rows[field][:, i].tolist()
                          for i, name in enumerate(_names(enum)) if np.any(rows[field][:, i])}
    return columns
