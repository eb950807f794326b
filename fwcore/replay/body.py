"""The body of a result: what an engine knows, without what only a replay knows."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from fwcore import __version__, policy
from fwcore.counters import address_text, counters, laws, refused, timeline, victim_rows
from fwcore.engine_shaping import Shaped
from fwcore.hits import Hits
from fwcore.replay.shaped import shaping_section, shaping_timeline
from fwcore.result import Result

if TYPE_CHECKING:
    from fwcore.replay.selection import Selection

NS = 10**9
IDLEDROP_HOSTS = 1000          # of the result, those that lost most sessions to idledrop


def _conserve(engine: Shaped) -> dict[str, Any]:
    return {
        "mode": engine.mode, "label": engine.label, "flaps": engine.flaps,
        "seconds": {name: ns / NS for name, ns in engine.mode_times_ns().items()},
        "transitions": [each.to_result() for each in engine.transitions],
    }


def result_body(engine: Shaped, hits: Hits | None = None) -> dict[str, Any]:
    """The contract's result of an engine, without what only a replay knows.

    ``hits``: who was hit, gathered beside the engine; without it the sessions taken are those that
    the victim ledger still has, and the others are in ``top.forgotten_sessions``.
    """
    settings = engine.settings
    victims = engine.victims()
    forgotten = engine.fastpath.counters()["victims"] - len(victims)
    if hits is None:
        hits = Hits()
        hits.take(victims)
        hits.forget(forgotten)
    body = counters(engine)
    if "shaping" in body:
        body["shaping"] = shaping_section(engine)
        body["shaping_timeline"] = shaping_timeline(engine)
    memory = body["memory"]
    memory["thresholds"] = engine.thresholds
    raw = engine.fastpath.counters()
    body["sessions"]["half_open"] = raw["half_open"]
    body["denied"] = body["reasons"]["denied"]
    body["refused"] = refused(body["reasons"])
    scan = engine.fastpath.audit()
    parts = engine.fastpath.memory
    connection = sum(parts[name] for name in ("records", "index", "overflow", "timers"))
    hosts = heapq.nsmallest(
        IDLEDROP_HOSTS, engine.idledrop_hosts.items(), key=lambda item: (-item[1], item[0]))
    called = policy.called(engine.policies)
    names = {str(each.id): called[each.id] for each in engine.policies if each.name}
    return ({"policy_names": names} if names else {}) | {
        "schema": 1, "fwcore": __version__, "personality": settings.personality,
        "settings": settings.describe(), **body, "conserve": _conserve(engine),
        "idledrop": {"hosts": [{"host": address_text(*host), "sessions": count}
                               for host, count in hosts]},
        "victims": victim_rows(victims),
        "victims_forgotten": forgotten,
        "events": engine.event_rows(),
        "table": {
            "max_connections": settings.max_connections, "buckets": settings.buckets,
            "bytes": sum(parts.values()), "parts": parts,
            "bytes_per_connection": -(-connection // settings.max_connections),
            "max_depth": scan["depth"]},
        "top": hits.rows(engine), "taken": hits.taken_row(), "timeline": timeline(engine),
        "laws": laws(engine, scan), "outcome": engine.outcome(),
    }


def renumbered(body: dict[str, Any], selection: Selection) -> None:
    """Gives every packet of a result its number in the capture, and says what was left out."""
    body["filter"] = {"text": selection.text, "frames": selection.frames}
    line = body["timeline"]
    line["packet"] = selection.numbers(line["packet"]).tolist()
    for rows, names in (
        (body["victims"], ("packet", "created_packet")), (body["events"], ("packet",)),
        (body["conserve"]["transitions"], ("packet",)),
    ):
        for name in names:
            numbers = selection.numbers([row[name] for row in rows]).tolist()
            for row, number in zip(rows, numbers, strict=True):
                row[name] = number


def engine_result(engine: Shaped) -> Result:
    """What an engine that was fed by hand has found, as a replay of the same packets has it.

    Inputs and speed are nobody's; the sessions are those that stand now.
    """
    body = result_body(engine) | {
        "inputs": [], "interrupted": False,
        "duration_ns": max(0, engine.fastpath.now_ns - engine.begun_ns),
        "speed": dict.fromkeys(
            ("wall_s", "packets_per_s", "ns_per_packet", "longest_pause_ns", "load_s"), 0),
        "pace": {"late_packets": 0, "max_late_ns": 0},
    }
    return Result(body, {"sessions": engine.sessions()})
