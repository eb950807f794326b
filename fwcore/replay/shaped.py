"""What meters, links and classes did, as a result has it: named rows, delays as percentiles."""

from __future__ import annotations

from typing import Any

from fwcore.engine_shaping import Shaped

PERCENTILES = (50, 95, 99)


def shaping_section(engine: Shaped) -> dict[str, Any]:
    """The result's ``shaping``; => the engine shapes."""
    found, settings = engine.shaping(), engine.settings.shaping
    shaper = engine.fastpath.shaper
    assert shaper is not None
    keys = {row.name: row.key for row in settings.meters}
    rates = {row.name: row.rate for row in settings.links}
    came, tcp, hit = shaper.open_loop()
    return {
        "unshaped": found["unshaped"],
        "meters": [{"name": name, "key": keys[name], **row}
                   for name, row in found["meters"].items()],
        "links": [{"name": name, "rate": rates[name], **row}
                  for name, row in found["links"].items()],
        "classes": [_class(engine, at, name, row)
                    for at, (name, row) in enumerate(found["classes"].items())],
        "drain_ns": max(0, shaper.now_ns - engine.fastpath.now_ns),
        "open_loop": {"tcp_share_of_bytes": tcp / came if came else 0.0, "flows_hit": hit},
    }


def _class(engine: Shaped, number: int, name: str, row: dict[str, Any]) -> dict[str, Any]:
    link, _, cls = name.rpartition(":")
    shaper = engine.fastpath.shaper
    assert shaper is not None
    delays = dict(zip((f"p{each}" for each in PERCENTILES), shaper.delay_ns(number, PERCENTILES),
                      strict=True))
    most = row["delay_max"]
    return {"link": link, "id": int(cls), **{key: row[key] for key in row if key != "delay_max"},
            "delay_ns": delays | {"max": most}}
