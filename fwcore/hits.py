"""Who was hit: hosts by sessions taken and by packets dropped or let through uninspected.

The fast path keeps no figures by host; it says of each packet whether the session's responder sent
it, and the host is read from the packet by the same parser. So a server's lost replies count for
the client whose session it was.

Laws: each dropped or bypassed packet counts for one host, or is forgotten; at most ``HIT_HOSTS``
entries are kept, in the order in which hosts were first hit, so that chunks do not matter.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore import counters
from fwcore._columns import Kind, parse_columns
from fwcore._fastpath import Verdict
from fwcore.capture import CHUNK_SIZE, Chunk
from fwcore.engine import Engine

HIT_HOSTS = 100_000            # a host that lost packets both ways takes two
KEY_A, KEY_B = [3, 1], [4, 2]  # words of a key: high and low half of an endpoint's address

Host = tuple[int, int]         # address as a number, family


def initiators(
    rows: NDArray[Any], reply: NDArray[np.uint8], dropped: NDArray[np.bool_],
) -> NDArray[np.uint64]:
    """Address of each packet's initiator, uint64[n, 2], high and low half.

    Of an ICMP error with a session: the initiator of the packet that it quotes; of one without
    (they are dropped), its sender.
    """
    answers = (reply != 0)[:, None]
    found = np.where(answers, rows["destination"], rows["source"])
    quotes = ((rows["kind"] == Kind.QUOTE) & ~dropped)[:, None]
    if quotes.any():
        from_b = (rows["swapped"] != reply)[:, None]
        ends = np.where(from_b, rows["key"][:, KEY_B], rows["key"][:, KEY_A])
        found = np.where(quotes, ends, found)
    return found


class Hits:
    """Who was hit, gathered chunk by chunk beside an engine."""

    def __init__(self) -> None:
        self.dropped: Counter[Host] = Counter()
        self.bypassed: Counter[Host] = Counter()
        self.forgotten = 0

    def add(
        self, chunk: Chunk, verdict: NDArray[np.uint8], reply: NDArray[np.uint8], shift: int = 0,
    ) -> None:
        """Counts the dropped and bypassed packets of a chunk of n.

        ``verdict`` uint8[n], ``reply`` uint8[n] as ``Engine.process`` gives them; ``shift``: of
        the addresses in a looped replay.
        """
        hit = np.flatnonzero((verdict == Verdict.DROP) | (verdict == Verdict.BYPASS))
        for begin in range(0, len(hit), CHUNK_SIZE):
            part = hit[begin:begin + CHUNK_SIZE]
            rows = parse_columns(chunk.select(part), shift=shift)
            dropped = verdict[part] == Verdict.DROP
            known = rows["family"] != 0
            self.forgotten += int(len(part) - known.sum())
            rows, dropped = rows[known], dropped[known]
            address = initiators(rows, reply[part][known], dropped)
            self._count(address, rows["family"], dropped)

    def _count(
        self, address: NDArray[np.uint64], family: NDArray[np.uint8], dropped: NDArray[np.bool_],
    ) -> None:
        """Packets by host, each distinct (host, verdict) once, in the order of its first packet."""
        order, begins = counters.ranked((address[:, 0], address[:, 1], family, dropped))
        first = order[begins]
        count = np.diff(np.flatnonzero(begins), append=len(order))
        by_packet = np.argsort(first)
        first = first[by_packet]
        columns = (address[first, 0], address[first, 1], family[first], dropped[first],
                   count[by_packet])
        for high, low, version, lost, packets in zip(
                *(column.tolist() for column in columns), strict=True):
            counter = self.dropped if lost else self.bypassed
            host = (high << 64 | low, version)
            if host in counter or len(self.dropped) + len(self.bypassed) < HIT_HOSTS:
                counter[host] += packets
            else:
                self.forgotten += packets

    def rows(self, engine: Engine, count: int = 10) -> dict[str, Any]:
        """{"hosts": rows, "policies": rows, "forgotten_packets"}, most hit first."""
        victims = engine.victims()
        place, first = counters.hosts_of(victims)
        taken = np.bincount(place, minlength=len(first))
        lost = np.zeros(len(first), dtype=np.uint64)
        np.add.at(lost, place, victims["bytes"].sum(axis=1))
        by_taken = {counters.host_key(victims[row]): (int(taken[i]), int(lost[i]))
                    for i, row in enumerate(first.tolist())}
        live = engine.fastpath.hosts(count).tolist()
        hosts = {*by_taken, *self._most(count),
                 *((high << 64 | low, family) for high, low, _, family in live)}
        found = [self._row(engine, host, *by_taken.get(host, (0, 0))) for host in hosts]
        ranked = heapq.nsmallest(count, found, key=lambda row: (
            -row["taken"], -row["dropped"] - row["bypassed"], -row["sessions"], row["host"]))
        return {"hosts": ranked, "policies": policies_of(victims)[:count],
                "forgotten_packets": self.forgotten}

    def _row(self, engine: Engine, host: Host, taken: int, lost: int) -> dict[str, Any]:
        return {"host": counters.address_text(*host), "dropped": self.dropped.get(host, 0),
                "bypassed": self.bypassed.get(host, 0), "taken": taken, "bytes": lost,
                "sessions": engine.fastpath.sessions_of(*host)}

    def _most(self, count: int) -> list[Host]:
        """Hosts with most packets dropped or bypassed; of equal ones the lower address."""
        both = self.dropped + self.bypassed
        return heapq.nsmallest(count, both, key=lambda host: (-both[host], host))


def policies_of(victims: NDArray[Any]) -> list[dict[str, int]]:
    """Sessions taken and their bytes by policy, most first."""
    numbers, place = np.unique(victims["policy"], return_inverse=True)
    taken = np.bincount(place, minlength=len(numbers))
    lost = np.zeros(len(numbers), dtype=np.uint64)
    np.add.at(lost, place, victims["bytes"].sum(axis=1))
    rows = [{"id": int(number), "taken": int(taken[i]), "bytes": int(lost[i])}
            for i, number in enumerate(numbers)]
    return sorted(rows, key=lambda row: (-row["taken"], row["id"]))
