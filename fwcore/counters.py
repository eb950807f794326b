"""Counters of an engine by name, the laws, and rows as others read them.

Everything that leaves an engine as a number is put together here; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from ipaddress import ip_address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore import conserve, glossary
from fwcore._columns import key_texts
from fwcore._layout import EndCause, Exposure, Reason, TcpState, Verdict
from fwcore.rows import Texts
from fwcore.words import CLASSES, OWNERS, protocol_text


def _names(enum: Any) -> list[str]:
    return [member.name.lower() for member in enum]


PEAKS = (*OWNERS, "free", "used")
# A plain counter is named after its path: sessions_created of counters_t is sessions.created.
PATHS = {entry.name.replace(".", "_"): entry.name for entry in glossary.ENTRIES}
LATER = {entry.name for entry in glossary.ENTRIES if entry.later}
# Added after 0.1, behind what its lists end with: they stand here unless they are 0.
REASONS_LATER = tuple(_names(Reason)[Reason.KILLED + 1:])
CAUSES_LATER = tuple(_names(Exposure)[Exposure.NO_MEMORY + 1:])
# Reasons of packets refused for want of memory or room; what a policy denies or a header forfeits
# is no harm, and what meets a packet that was let in is told by itself.
REFUSALS = tuple(name for name in _names(Reason)[Reason.CONSERVE_BLOCK:] if name not in (
    "over_limit", "queue_full", "bypass_inspector", "inspector_block"))


def refused(reasons: dict[str, int]) -> int:
    """Packets dropped for want of memory or room, of reasons with their packets."""
    return sum(reasons.get(name, 0) for name in REFUSALS)


def without_later(reasons: dict[str, int]) -> dict[str, int]:
    """Reasons with their packets, without those that were added after 0.1 and have none."""
    return {name: count for name, count in reasons.items() if count or name not in REASONS_LATER}


def causes_met(by_cause: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Causes of exposure, without those that were added after 0.1 and have no packet."""
    return {name: row for name, row in by_cause.items()
            if row["packets"] or name not in CAUSES_LATER}


def counters(engine: Any) -> dict[str, Any]:
    """Every counter by name, as the digest and the result have them; integers only."""
    found = by_path(engine)
    shaper = engine._shaping()
    tree: dict[str, Any] = {"shaping": shaper} if shaper else {}
    for path in sorted(found, key=_place):
        if found[path] or path not in LATER:
            *above, name = path.split(".")
            section = tree
            for each in above:
                section = section.setdefault(each, {})
            section[name] = found[path]
    tree["reasons"] = without_later(tree["reasons"])
    tree["exposure"]["by_cause"] = causes_met(tree["exposure"]["by_cause"])
    return tree


@cache
def _place(path: str) -> int:
    """Where the entry of a counter stands in the glossary."""
    return next(place for place, entry in enumerate(glossary.ENTRIES)
                if entry is glossary.find(path))


def by_path(engine: Any) -> dict[str, int]:
    """Every counter by its path. What the data plane counts under the name of an entry is that
    counter; what is put together of other figures stands here."""
    fastpath = engine.fastpath
    raw, counts, gauges = fastpath.counters(), fastpath.outcome_counts(), fastpath.gauges()
    reasons = _each("reasons", Reason, counts.sum(axis=0).tolist())
    found = {PATHS[field]: raw[field] for field in PATHS.keys() & raw.keys()}
    found |= _each("verdicts", Verdict, counts.sum(axis=1).tolist()) | reasons
    found |= {f"decode.{name}": count for name, count in fastpath.decode_counts().items()}
    found |= {f"decode.{name}": reasons[f"reasons.{name}"]
              for name in ("non_ip", "truncated", "unsupported_link")}
    found |= _each("sessions.ended", EndCause, raw["ended"])
    found["memory_tension"] = raw["ended"][EndCause.TENSION]
    found["stampede.sessions_deleted"] = sum(raw["deleted"])
    for i, name in enumerate(("by_page", "by_full_table")):
        found[f"stampede.{name}.passes"] = raw["passes_for"][i]
        found[f"stampede.{name}.sessions_deleted"] = raw["deleted"][i]
    found |= {"memory.total_pages": engine.settings.total_pages,
              "memory.now.free": gauges.free_pages, "memory.now.used": gauges.used_pages}
    now, peak = fastpath.queue_pages
    found |= {"memory.now.queues": now, "memory.peak.queues": peak}
    for when, names, pages in (("now", OWNERS, fastpath.owners()), ("peak", PEAKS, raw["peaks"])):
        found |= {f"memory.{when}.{name}": n for name, n in zip(names, pages, strict=True)}
    for what in ("sessions", "packets", "bytes"):
        found |= {f"exposure.by_cause.{name}.{what}": n
                  for name, n in zip(_names(Exposure), raw[f"exposed_{what}"], strict=True)}
    return found | {
        "exposure.packets": sum(raw["exposed_packets"]),
        "exposure.bytes": sum(raw["exposed_bytes"]), "flaps": engine.flaps,
        "transitions_forgotten": engine.transitions.forgotten,
        "events_forgotten": engine.events.forgotten,
    }


def _each(path: str, enum: Any, counts: list[int]) -> dict[str, int]:
    return {f"{path}.{name}": count for name, count in zip(_names(enum), counts, strict=True)}


# --- laws -----------------------------------------------------------------------------------------


def _failure_after_mode(engine: Any, raw: dict[str, Any]) -> bool:
    """A page failed only after conserve mode was hit, or by crossing both levels at once.

    The fast path kept the least used memory at which an unforced request failed while every
    machine was off; on those figures some machine has to leave off.
    """
    if not engine.machines or not raw["failures_off"]:
        return True
    total = engine.settings.total_pages
    then = sum(raw[f"failure_{name}"] for name in ("used", "cache", "free")) or total
    need, cache, shm, free = (  # a restart may have changed how many pages there are
        raw[f"failure_{name}"] * total // then for name in ("need", "cache", "shm", "free"))
    snapshot = conserve.Snapshot(
        total, total - cache - free + need, cache, max(0, free - need), shm, 0)
    return any(machine.step("off", snapshot) != "off" for machine in engine.machines)


def _shaping_laws(engine: Any, queues: int) -> dict[str, bool]:
    """The laws of a shaper, where there is one."""
    shaper = engine.fastpath.shaper
    if shaper is None:
        return {}
    found: dict[str, bool] = shaper.laws()
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
        "live_by_scan": scan["live"] == raw["sessions_live"] == scan["hosts_live"]
        and scan["host_entries_wrong"] == 0 and scan["half_open"] == raw["half_open"]
        and scan["spared"] == raw["spared"],
        "index_entries": scan["index_entries"] == scan["live"] and scan["misplaced"] == 0,
        "timers": scan["timers"] == scan["live"]
        and scan["timers_wrong"] == scan["overdue"] == 0,
        "lists": scan["tags_wrong"] == scan["lines_wrong"] == scan["ages_wrong"]
        == scan["fragments_wrong"] == 0,
        "created_accounted": raw["sessions_created"] == raw["sessions_live"] + sum(raw["ended"]),
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
    """The samples as columns: name -> list of int (verdicts and reasons: name -> name -> list).

    Of an engine that was restarted on an earlier clock, those since then.
    """
    rows = engine.fastpath.samples()
    rows = rows[rows["time_ns"] <= engine.fastpath.now_ns]
    back = np.flatnonzero(rows["time_ns"][1:] < rows["time_ns"][:-1])
    rows = rows[back[-1] + 1:] if len(back) else rows
    plain = ("time_ns", "packet", "mode", "live", "created", "ended", "tension", "evicted",
             "free", "exposed_packets")
    columns: dict[str, Any] = {name: rows[name].tolist() for name in plain}
    for i, owner in enumerate(OWNERS):
        columns[owner] = rows["pages"][:, i].tolist()
    for field, enum in (("verdicts", Verdict), ("reasons", Reason)):
        columns[field] = {name: rows[field][:, i].tolist()
                          for i, name in enumerate(_names(enum)) if np.any(rows[field][:, i])}
    return columns
