"""A policy of one's own: a server is spoken to by so many new clients a second, and by no more."""

import collections
import sys

import numpy as np

from fwcore import Decision, Engine, open_capture

if len(sys.argv) != 2:
    sys.exit(f"usage: {sys.argv[0]} CAPTURE")

CLIENTS = 20                # of a server that may begin in one second


def decide(rows: np.ndarray) -> np.ndarray:
    """n sessions that would begin -> n decisions. Who has been counted is not counted again."""
    decisions = np.full(len(rows), Decision.ACCEPT)
    seconds = rows["time_ns"] // 10**9
    for at, (row, second) in enumerate(zip(rows, seconds.tolist(), strict=True)):
        clients = begun[row["responder"].tobytes(), int(row["responder_port"]), second]
        if len(clients) == CLIENTS and int(row["flow"]) not in clients:
            decisions[at] = Decision.DROP
        else:
            clients.add(int(row["flow"]))
    return decisions


begun: dict[tuple[bytes, int, int], set[int]] = collections.defaultdict(set)
with Engine("linux-conntrack") as engine, open_capture(sys.argv[1]) as capture:
    engine.decide(decide)
    for chunk in capture:
        engine.process(chunk)
    counters = engine.counters()
    print(f"{counters['sessions']['created']} sessions,",
          f"{counters['reasons']['denied']} packets denied,",
          f"{sum(len(clients) == CLIENTS for clients in begun.values())} busy seconds")
