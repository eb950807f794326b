"""Who was hit: hosts by sessions taken and by packets dropped or let through uninspected.

The fast path keeps no figures by host; it says of each packet whether the session's responder sent
it, and the host is read from the packet by the same parser. So a server's lost replies count for
the client whose session it was.

Sessions taken come from the log of victims, which forgets none, and not from the ledger's ring.

Laws: each dropped or bypassed packet and each session taken counts for one host, or is forgotten
and counted so; each session taken counts for its policy, and so does each dropped or bypassed
packet that has a key and a policy that takes it. At most ``HIT_HOSTS`` entries are kept, in
the order in which hosts were first hit, so that chunks do not matter.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore import counters, policy_lookup
from fwcore._columns import Kind, parse_columns
from fwcore._fastpath import EndCause, TcpState, Verdict
from fwcore.capture import CHUNK_SIZE, Chunk
from fwcore.engine import Engine
from fwcore.policy import Policy
from fwcore.policy_layout import compile_policies
from fwcore.units import SECOND_NS

HIT_HOSTS = 100_000            # a host that lost packets both ways takes two
KEY_A, KEY_B = [3, 1], [4, 2]  # words of a key: high and low half of an endpoint's address

TAKEN = (EndCause.EVICTED, EndCause.TENSION, EndCause.KILLED)

IDLE_S = {"below_1s": 1, "below_10s": 10, "below_60s": 60, "below_600s": 600}
MORE = "from_600s"

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
    """Who was hit, gathered chunk by chunk beside an engine with these policies."""

    def __init__(self, policies: Sequence[Policy] = (), *, vlan_zone: bool = False) -> None:
        self._table = compile_policies(policies) if policies else None
        self._vlan_zone = vlan_zone
        self.policy_packets: dict[Verdict, Counter[int]] = {
            Verdict.DROP: Counter(), Verdict.BYPASS: Counter()}
        self.dropped: Counter[Host] = Counter()
        self.bypassed: Counter[Host] = Counter()
        self.forgotten = 0
        self.taken: Counter[Host] = Counter()
        self.taken_bytes: Counter[Host] = Counter()
        self.policies: Counter[int] = Counter()
        self.policy_bytes: Counter[int] = Counter()
        self.forgotten_sessions = 0
        self.lost = {"sessions": 0, "established": 0, "active": 0, "bytes": 0}
        self.idle = dict.fromkeys((*IDLE_S, MORE), 0)

    def take(self, ended: NDArray[Any]) -> None:
        """Counts the sessions taken among ended ones (``SESSION_DTYPE[n]``), by host and policy."""
        victims = ended[np.isin(ended["cause"], TAKEN)]
        if not len(victims):
            return
        lost = victims["bytes"].sum(axis=1)
        self._describe(victims, int(lost.sum()))
        place, first = counters.hosts_of(victims)
        sessions, sizes = np.bincount(place, minlength=len(first)), _sums(place, lost, len(first))
        for number in np.argsort(first).tolist():      # hosts in the order of their first victim
            host = counters.host_key(victims[first[number]])
            if host in self.taken or len(self.taken) < HIT_HOSTS:
                self.taken[host] += int(sessions[number])
                self.taken_bytes[host] += int(sizes[number])
            else:
                self.forgotten_sessions += int(sessions[number])
        numbers, place = np.unique(victims["policy"], return_inverse=True)
        sessions, sizes = np.bincount(place), _sums(place, lost, len(numbers))
        for policy, count, size in zip(
                numbers.tolist(), sessions.tolist(), sizes.tolist(), strict=True):
            self.policies[policy] += count
            self.policy_bytes[policy] += size

    def _describe(self, victims: NDArray[Any], size: int) -> None:
        """What state the sessions taken were in, and how long they had been idle."""
        idle = victims["ended_ns"] - victims["last_seen_ns"]
        place = np.searchsorted(np.array([*IDLE_S.values()]) * SECOND_NS, idle, side="right")
        counts = np.bincount(place, minlength=len(self.idle)).tolist()
        for name, count in zip(self.idle, counts, strict=True):
            self.idle[name] += count
        for name, count in (
                ("sessions", len(victims)), ("bytes", size), ("active", counts[0]),
                ("established", int((victims["state"] == TcpState.ESTABLISHED).sum()))):
            self.lost[name] += count

    def taken_row(self) -> dict[str, Any]:
        """Of all sessions taken: {sessions, established, active (idle < 1 s), bytes, idle: {...}};
        ``idle`` counts them by the time since their last packet."""
        return {**self.lost, "idle": dict(self.idle)}

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
            rows = parse_columns(chunk.select(part), shift=shift, cut=True)
            dropped = verdict[part] == Verdict.DROP
            self._count_policies(rows, reply[part], dropped)
            known = rows["family"] != 0
            self.forgotten += int(len(part) - known.sum())
            rows, dropped = rows[known], dropped[known]
            address = initiators(rows, reply[part][known], dropped)
            self._count(address, rows["family"], dropped)

    def _count_policies(
        self, rows: NDArray[Any], reply: NDArray[np.uint8], dropped: NDArray[np.bool_],
    ) -> None:
        """Packets by the policy that takes their session, or would; none for what has no key."""
        if self._table is None:
            return
        keyed = rows["flow"] != 0
        key = rows["key"][keyed]
        if self._vlan_zone:
            key[:, 0] |= rows["zone"][keyed].astype(np.uint64) << np.uint64(32)
        at = policy_lookup.find(
            self._table, policy_lookup.ends_of(key, (rows["swapped"] ^ reply)[keyed]))
        for verdict, chosen in ((Verdict.DROP, dropped), (Verdict.BYPASS, ~dropped)):
            ids, counts = np.unique(
                self._table.policy_id[at[chosen[keyed] & (at >= 0)]], return_counts=True)
            self.policy_packets[verdict].update(dict(zip(ids.tolist(), counts.tolist(),
                                                         strict=True)))

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

    def rows(self, engine: Engine, count: int = 10, *, live: bool = True) -> dict[str, Any]:
        """{"hosts", "policies": rows, "forgotten_packets", "forgotten_sessions"}, most hit first.

        ``live``: hosts with most sessions too, whether hit or not. What was forgotten is missing
        from the rows of hosts; the rows of policies are whole.
        """
        crowded = engine.fastpath.hosts(count).tolist() if live else []
        most_taken = heapq.nsmallest(
            count, self.taken, key=lambda host: (-self.taken[host], host))
        hosts = {*most_taken, *self._most(count),
                 *((high << 64 | low, family) for high, low, _, family in crowded)}
        found = [self._row(engine, host) for host in hosts]
        ranked = heapq.nsmallest(count, found, key=lambda row: (
            -row["taken"], -row["dropped"] - row["bypassed"], -row["sessions"], row["host"]))
        return {"hosts": ranked, "policies": self._policies()[:count],
                "forgotten_packets": self.forgotten,
                "forgotten_sessions": self.forgotten_sessions}

    def _row(self, engine: Engine, host: Host) -> dict[str, Any]:
        return {"host": counters.address_text(*host), "dropped": self.dropped.get(host, 0),
                "bypassed": self.bypassed.get(host, 0), "taken": self.taken.get(host, 0),
                "bytes": self.taken_bytes.get(host, 0),
                "sessions": engine.fastpath.sessions_of(*host)}

    def _most(self, count: int) -> list[Host]:
        """Hosts with most packets dropped or bypassed; of equal ones the lower address."""
        both = self.dropped + self.bypassed
        return heapq.nsmallest(count, both, key=lambda host: (-both[host], host))

    def _policies(self) -> list[dict[str, int]]:
        """Packets dropped and bypassed, sessions taken and their bytes by policy, most first."""
        dropped, bypassed = self.policy_packets[Verdict.DROP], self.policy_packets[Verdict.BYPASS]
        rows = [{"id": policy, "dropped": dropped[policy], "bypassed": bypassed[policy],
                 "taken": self.policies[policy], "bytes": self.policy_bytes[policy]}
                for policy in {*self.policies, *dropped, *bypassed}]
        return sorted(rows, key=lambda row: (
            -row["taken"], -row["dropped"] - row["bypassed"], row["id"]))


def _sums(place: NDArray[np.intp], values: NDArray[Any], count: int) -> NDArray[np.uint64]:
    """Sum of values[n] for each of ``count`` places, exact."""
    found = np.zeros(count, dtype=np.uint64)
    np.add.at(found, place, values)
    return found
