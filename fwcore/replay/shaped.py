"""What meters, links and classes did, as a result has it: named rows, delays as percentiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore.engine_shaping import Shaped

LINKS_SEEN, CLASSES_SEEN, METERS_SEEN = 16, 64, 16    # over time: those with most traffic or drops


def shaping_timeline(engine: Shaped) -> dict[str, Any]:
    """The result's ``shaping_timeline``: samples of links, classes and meters as columns.

    Those that most came to; ``left_out`` says how many others there are. => the engine shapes
    """
    shaper, settings = engine.fastpath.shaper, engine.settings.shaping
    assert shaper is not None
    found = shaper.samples()
    meters, links = engine.shaping_names()
    rates = {row.name: row.rate for row in settings.links}
    counted = shaper.counters()["classes"]
    last = {name: rows[-1] if len(rows) else np.zeros(rows.shape[1:], np.uint64)
            for name, rows in found.items() if name != "time_ns"}
    chosen = {
        "links": _busiest(last["links"][:, 0] + last["links"][:, 1], LINKS_SEEN),
        "classes": _busiest(last["classes"][:, :2].sum(axis=1), CLASSES_SEEN),
        "meters": _busiest(last["meters"].sum(axis=1), METERS_SEEN)}
    return {
        "time_ns": found["time_ns"].tolist(),
        "links": [{"name": links[at], "rate": rates[links[at]], **_columns(
            found["links"][:, at], "bytes", "taken_ns", "queue_bytes")} for at in chosen["links"]],
        "classes": [{"link": links[counted[at]["link"]], "id": counted[at]["id"], **_columns(
            found["classes"][:, at], "packets", "dropped", "backlog_bytes", "slowest_ns")}
            for at in chosen["classes"]],
        "meters": [{"name": meters[at], **_columns(found["meters"][:, at], "passed", "dropped")}
                   for at in chosen["meters"]],
        "left_out": {name: int(np.count_nonzero(last[name].any(axis=1))) - len(chosen[name])
                     for name in chosen}}


def _busiest(figures: NDArray[Any], most: int) -> list[int]:
    """Numbers of those with any, the most first, ties by number."""
    order = np.argsort(-figures.astype(np.float64), kind="stable")[:most]
    return [int(at) for at in order if figures[at]]


def _columns(rows: NDArray[Any], *names: str) -> dict[str, list[int]]:
    return {name: rows[:, at].tolist() for at, name in enumerate(names)}


def shaping_section(engine: Shaped) -> dict[str, Any]:
    """The result's ``shaping``; => the engine shapes."""
    found, settings = engine.shaping(), engine.settings.shaping
    shaper = engine.fastpath.shaper
    assert shaper is not None
    keys = {row.name: row.key for row in settings.meters}
    rates = {row.name: row.rate for row in settings.links}
    ranks = {row.name: len({each.priority for each in settings.leaves_of(row.name)})
             for row in settings.links}
    came, tcp, hit = shaper.open_loop()
    return {
        "unshaped": found["unshaped"],
        "meters": [{"name": name, "key": keys[name], **row}
                   for name, row in found["meters"].items()],
        "links": [{"name": name, "rate": rates[name], "priorities": ranks[name], **row}
                  for name, row in found["links"].items()],
        "classes": [_class(name, row, delays) for (name, row), delays in zip(
            found["classes"].items(), shaper.delays_ns(), strict=True)],
        "drain_ns": max(0, shaper.now_ns - engine.fastpath.now_ns),
        "open_loop": {"tcp_share_of_bytes": tcp / came if came else 0.0, "flows_hit": hit},
    }


def _class(name: str, row: dict[str, Any], delays: dict[str, int]) -> dict[str, Any]:
    link, _, cls = name.rpartition(":")
    shown = {key: row[key] for key in row if key != "delay_max"}
    return {"link": link, "id": int(cls), **shown,
            "delay_ns": delays | {"max": row["delay_max"]}}
