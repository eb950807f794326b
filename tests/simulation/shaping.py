"""Rows of shaping, drawn: meters, chains of links with their trees, and who goes where.

Most rates are so small that buckets run dry and queues fill within a few packets; some stand at
the ends of their ranges. Each tree has leaves 2 and 3, which meters and rows name. What the
settings refuse together is left to who draws them.
"""

from __future__ import annotations

from random import Random
from typing import Any

RATES = (1, 8, 8000, 50_000, 400_000, 1_000_000, "3Mbit", 1_000_007, 10**12)
BURSTS = (1, 300, 1600, 3000, 20_000)
MARKS = (0, 10, 46, 63)
COUNTS = ("ip", "frame", "wire")
Row = dict[str, Any]


def meter(rng: Random, name: str) -> Row:
    algorithm = rng.choice(("rfc2698", "rfc2698", "rfc2698", "rfc2697", "rfc4115"))
    rungs = [{"rate": rng.choice(RATES), "depth": rng.choice(BURSTS),
              **rng.choice(({}, {"dscp": rng.choice(MARKS)}, {"class": 2}))}
             for _ in range(rng.choice((1, 2, 3, 8)) if algorithm == "rfc2698" else 2)]
    if algorithm == "rfc2697":
        del rungs[1]["rate"]
    key = rng.choice(("none", "policy", "rule", "source", "destination", "initiator"))
    limits = {rng.choice(("max_sessions", "max_tcp_sessions", "max_udp_sessions")):
              rng.randrange(1, 4)} if key == "initiator" else {}
    over = rng.choice(({}, {"over": "pass"}, {"over": "class", "over_class": 3}))
    return {"name": name, "rungs": rungs, "algorithm": algorithm, "key": key, "keys_max":
            rng.choice((1, 2, 5, 64)), "count": rng.choice((*COUNTS, "packets")),
            "overhead_bytes": rng.choice((-65_535, -20, -1, 0, 0, 7, 20, 65_535)),
            "need": rng.choice(("packet", "level")), **limits, **over}


def buckets(rng: Random, left: dict[int, int], number: int, parent: int) -> Row:
    """A guarantee of what is left of its parent's, and a ceiling that is no less."""
    guarantee = rng.choice((0, left[parent] // 2, left[parent] // 3, left[parent]))
    left[parent] -= guarantee
    left[number] = guarantee
    row: Row = {"guarantee": guarantee, "guarantee_burst": rng.choice(BURSTS)} if guarantee else {}
    if rng.randrange(2):
        row |= {"ceiling": guarantee + rng.choice((1, 8000, 300_000)),
                "ceiling_burst": rng.choice(BURSTS)}
    return row


def queue(rng: Random) -> Row:
    """What a leaf holds, and how it gives up."""
    if rng.randrange(8) == 0:
        return {"limit_packets": 0}
    discard = rng.choice((
        {}, {}, {"discard": "red", "red_min": 1, "red_max": 6, "red_probability": 50},
        {"discard": "codel", "target": "2ms", "interval": "9ms", "ecn": bool(rng.randrange(2))}))
    share = rng.choice((
        {}, {}, {"share": "flow", "shares": 3}, {"share": "source", "shares": 2},
        {"share": "destination", "shares": 2, "share_ceiling": 200_000, "share_burst": 2000}))
    need = {"need": "packet"} if discard.get("discard") != "codel" and rng.randrange(2) else {}
    return {"limit_packets": rng.choice((1, 3, 9, 200)), "limit_bytes": rng.choice((0, 0, 4000)),
            "quantum_bytes": rng.choice(("auto", 256, 1514, 2000)), **discard, **share, **need}


def tree(rng: Random, link: Row) -> list[Row]:
    """Classes of a link: some that lend, below one another, and leaves below these."""
    whole = link["rate"] if isinstance(link["rate"], int) else 3_000_000
    left = {0: whole or 10**6}
    rows = []
    for number in rng.sample(range(9, 65_536), rng.choice((0, 0, 1, 2, 4))):
        parent = rng.choice(list(left))
        rows.append({"link": link["name"], "id": number, "parent": parent,
                     "need": rng.choice(("level", "level", "packet")),
                     **buckets(rng, left, number, parent)})
    above, most = list(left), rng.choice((2, 2, 3, 7))  # priorities: few, for turns; or many
    for number in (2, 3, *rng.sample(range(4, 9), rng.choice((0, 0, 3)))):
        parent = rng.choice(above)
        rows.append({"link": link["name"], "id": number, "parent": parent,
                     "priority": rng.randrange(most), **queue(rng),
                     **buckets(rng, left, number, parent)})
    return rows


def links(rng: Random) -> list[Row]:
    """Each may hand on to one behind it."""
    names = "abcdefgh"[:rng.choice((1, 2, 2, 3, 8))]
    return [{"name": name, "rate": rng.choice((0, *RATES)), "count": rng.choice(COUNTS),
             "overhead_bytes": rng.choice((0, 0, 0, -14, 24, -65_535)),
             "next": rng.choice(("", *names[at + 1:][:2]))} for at, name in enumerate(names)]


def shaping(rng: Random) -> Row:
    """Keywords of ``fwcore.load`` and of ``configure``."""
    lines = links(rng)
    names = [link["name"] for link in lines]
    rows = []
    for number in range(rng.choice((0, 1, 1, 2, 3))):
        row = {"id": rng.choice((number + 1, 2**32 - 1 - number)),
               "link": rng.choice((*names, "")), "reply_link": rng.choice((*names, "")),
               **{name: rng.choices("mn", k=rng.randrange(5))
                  for name in ("meters", "reply_meters")},
               **rng.choice(({}, {}, {"source": ["10.0.0.0/24", "2001:db8::/64"]},
                             {"protocol": "udp", "ports": [53]}, {"dscp": [0, 46]},
                             {"policy": [2]}))}
        if row["link"] and rng.randrange(2):
            row |= {"class": rng.choice((2, 3)), "class_by_dscp": {"46": 2, "0": 3}}
        if row["reply_link"] and rng.randrange(2):
            row |= {"reply_class": rng.choice((2, 3)),
                    "reply_class_by_dscp": rng.choice(({}, {"0": 2, "63": 3}))}
        rows.append(row)
    return {"meters": [meter(rng, "m"), meter(rng, "n")], "links": lines,
            "classes": [row for link in lines for row in tree(rng, link)], "shapings": rows}
