"""Rows of shaping, drawn: meters, a chain of links with their trees, and who goes where.

Most rates are so small that buckets run dry and queues fill within a few packets; some stand at
the ends of their ranges. What the settings refuse together is left to who draws them.
"""

from __future__ import annotations

from random import Random
from typing import Any

RATES = (8, 8000, 50_000, 400_000, 1_000_000, "3Mbit", 1_000_007, (1 << 40) - 1)
BURSTS = (1, 300, 1600, 3000, 20_000)
MARKS = (0, 10, 46, 63)
Row = dict[str, Any]


def meter(rng: Random, name: str) -> Row:
    algorithm = rng.choice(("rfc2698", "rfc2698", "rfc2698", "rfc2697", "rfc4115"))
    rungs = [{"rate": rng.choice(RATES), "depth": rng.choice(BURSTS),
              **rng.choice(({}, {"dscp": rng.choice(MARKS)}, {"class": 2}))}
             for _ in range(rng.randrange(1, 4) if algorithm == "rfc2698" else 2)]
    if algorithm == "rfc2697":
        rungs[1]["rate"] = 0
    key = rng.choice(("none", "policy", "rule", "source", "destination", "initiator"))
    limits = {"max_sessions": rng.randrange(1, 4)} if key == "initiator" else {}
    over = rng.choice(({}, {"over": "pass"}, {"over": "class", "over_class": 3}))
    return {"name": name, "rungs": rungs, "algorithm": algorithm, "key": key, "keys_max":
            rng.choice((1, 2, 5, 64)), "count": rng.choice(("ip", "frame", "wire", "packets")),
            "overhead_bytes": rng.randrange(-20, 21), "need": rng.choice(("packet", "level")),
            **limits, **over}


def leaf(rng: Random, link: str, number: int, parent: int = 0) -> Row:
    discard = rng.choice((
        {}, {}, {"discard": "red", "red_min": 1, "red_max": 6, "red_probability": 50},
        {"discard": "codel", "target": "2ms", "interval": "9ms", "ecn": bool(rng.randrange(2))}))
    share = rng.choice((
        {}, {}, {"share": "flow", "shares": 3}, {"share": "source", "shares": 2},
        {"share": "destination", "shares": 2, "share_ceiling": 200_000, "share_burst": 2000}))
    need = {"need": "packet"} if discard.get("discard") != "codel" and rng.randrange(2) else {}
    buckets = rng.choice((
        {}, {"guarantee": 50_000, "guarantee_burst": 1600},
        {"ceiling": 300_000, "ceiling_burst": 3000},
        {"guarantee": 90_000, "ceiling": 400_000, "ceiling_burst": 1700}))
    return {"link": link, "id": number, "parent": parent, "priority": rng.randrange(8),
            "limit_packets": rng.choice((1, 3, 9, 200)), "limit_bytes": rng.choice((0, 0, 4000)),
            "quantum_bytes": rng.choice((256, 1514, 2000)), **discard, **share, **need, **buckets}


def shaping(rng: Random) -> Row:
    """Keywords of ``fwcore.load`` and of ``configure``."""
    links = [{"name": "a", "rate": rng.choice((0, *RATES)), "next": rng.choice(("", "b"))},
             {"name": "b", "rate": rng.choice((0, *RATES)), "count": "wire"}]
    classes = [leaf(rng, "a", 2), leaf(rng, "a", 3)]
    if rng.randrange(2):
        classes += [{"link": "b", "id": 9, "guarantee": 200_000, "ceiling": 900_000},
                    leaf(rng, "b", 2, 9), leaf(rng, "b", 3, rng.choice((0, 9)))]
    rows = []
    for number in range(rng.choice((0, 1, 1, 2, 3))):
        row = {"id": number + 1, "link": rng.choice("aab"), "reply_link": rng.choice("ab"),
               **{name: rng.choices("mn", k=rng.randrange(4))
                  for name in ("meters", "reply_meters")},
               **rng.choice(({}, {}, {"source": ["10.0.0.0/24", "2001:db8::/64"]},
                             {"protocol": "udp", "ports": [53]}, {"dscp": [0, 46]},
                             {"policy": [2]}))}
        if rng.randrange(2):
            row |= {"class": rng.choice((2, 3)), "class_by_dscp": {"46": 2, "0": 3}}
        rows.append(row)
    return {"meters": [meter(rng, "m"), meter(rng, "n")], "links": links, "classes": classes,
            "shapings": rows}
