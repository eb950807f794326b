"""Who was hit: hosts by sessions taken and by packets dropped or let through uninspected.

The fast path keeps no figures by host; it says of each packet whether the session's responder sent
it, and the host is read from the packet by the same parser. So a server's lost replies count for
the client whose session it was; also when the session was taken, or refused, and its packets are
dropped without one: who began a flow is remembered from its session that was taken, or from its
first packet that was hit. (What comes after a session that ended by itself counts for its sender.)

Sessions taken come from the log of victims, which forgets none, and not from the ledger's ring.

Laws: each dropped or bypassed packet and each session taken counts for one host, or is forgotten
and counted so; each session taken counts for its policy, and so does each dropped or bypassed
packet that has a key and a policy that takes it. At most ``HIT_HOSTS`` entries are kept, in
the order in which hosts were first hit, so that chunks do not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore import counters, policy_lookup
from fwcore._columns import Fragment, Kind, parse_columns
from fwcore._layout import SESSION_DTYPE, EndCause, Verdict
from fwcore._tally import Tally, begun, taken
from fwcore.capture import CHUNK_SIZE, Chunk
from fwcore.datagrams import Datagrams
from fwcore.engine_control import Control
from fwcore.policy import Policy
from fwcore.policy_layout import compile_policies
from fwcore.units import SECOND_NS

HIT_FLOWS = 1 << 22            # of which it is remembered who began them
HIT_HOSTS = 100_000            # a host that lost packets both ways takes two
KEY_A, KEY_B = [3, 1], [4, 2]  # words of a key: high and low half of an endpoint's address

SUMS = ("taken", "bytes", "dropped", "bypassed", "dropped_bytes", "bypassed_bytes")
NOBODY = np.zeros(0, np.uint64)
HIT_VERDICTS = (Verdict.DROP, Verdict.BYPASS)
TAKEN = (EndCause.EVICTED, EndCause.TENSION, EndCause.KILLED)

IDLE_S = {"below_1s": 1, "below_10s": 10, "below_60s": 60, "below_600s": 600}
MORE = "from_600s"
BOUNDS_NS = np.array([*IDLE_S.values()], np.int64) * SECOND_NS


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
    """Who was hit, gathered chunk by chunk beside an engine with these policies.

    ``flows_max``: flows of which it is remembered who began them, some 30 bytes each; what comes
    of others without a session counts for its sender.
    """

    def __init__(
        self, policies: Sequence[Policy] = (), *, vlan_zone: bool = False,
        flows_max: int = HIT_FLOWS,
    ) -> None:
        self.ask(policies)
        self._vlan_zone = vlan_zone
        self._policy_packets = Tally(1, 4, 1 << 32)    # (id,): dropped, bypassed, their bytes
        self._packets = Tally(4, 2, HIT_HOSTS)     # (high, low, family, verdict): packets, bytes
        self._nameless = 0                         # packets of no host
        self._taken = Tally(3, 2, HIT_HOSTS)       # (high, low, family): sessions, bytes
        # of first fragments: flow, key, swapped, from_b
        self._datagrams: Datagrams[tuple[Any, ...]] = Datagrams(vlan_zone=vlan_zone)
        self._directions = Tally(1, 1, flows_max)   # (flow,): 1, or 2 where endpoint b began it
        self._ended: list[NDArray[Any]] = []       # whose initiators are not yet in it
        self._policies = Tally(1, 2, 1 << 32)          # (id,): sessions, bytes
        self._unlisted = 0
        self.lost = {"sessions": 0, "established": 0, "active": 0, "bytes": 0}
        self.idle = dict.fromkeys((*IDLE_S, MORE), 0)

    def ask(self, policies: Sequence[Policy]) -> None:
        """From now on these policies say whose a packet is."""
        self._asked = policies
        self._table = compile_policies(policies) if policies else None

    def follow(self, engine: Control) -> None:
        """The same of an engine, whose policies may have been replaced."""
        if engine.policies is not self._asked:
            self.ask(engine.policies)

    def take(self, ended: NDArray[Any]) -> None:
        """Counts the sessions taken among ended ones (``SESSION_DTYPE[n]``), by host and policy.

        Those of a chunk come before the chunk does.
        """
        self._ended.append(ended)
        sessions, size, established, idle = taken(
            ended, self._taken, self._policies, BOUNDS_NS)
        for name, count in zip(self.idle, idle, strict=True):
            self.idle[name] += count
        for name, count in (("sessions", sessions), ("bytes", size), ("active", idle[0]),
                            ("established", established)):
            self.lost[name] += count

    def forget(self, sessions: int) -> None:
        """So many sessions taken have left no row."""
        self._unlisted += sessions

    def taken_row(self) -> dict[str, Any]:
        """Of all sessions taken: {sessions, established, active (idle < 1 s), bytes, idle: {...}};
        ``idle`` counts them by the time since their last packet."""
        return {**self.lost, "idle": dict(self.idle)}

    def add(
        self, chunk: Chunk, verdict: NDArray[np.uint8], reply: NDArray[np.uint8],
        flow: NDArray[np.uint64], number: NDArray[np.uint64], shift: int = 0,
        times: Callable[[], NDArray[np.int64]] | None = None,
    ) -> None:
        """Counts the dropped and bypassed packets of a chunk of n.

        ``verdict`` uint8[n], ``reply`` uint8[n] and ``flow`` uint64[n] as ``Engine.process`` gives
        them; ``number`` uint64[n]: the run's own numbers; ``shift``: of the addresses in a looped
        replay. ``times`` says when they were judged, int64[n], asked where there are fragments;
        without it their own times count.
        """
        hit = np.flatnonzero((verdict == Verdict.DROP) | (verdict == Verdict.BYPASS))
        for begin in range(0, len(hit), CHUNK_SIZE):
            part = hit[begin:begin + CHUNK_SIZE]
            rows = parse_columns(chunk.select(part), shift=shift, cut=True)
            dropped = verdict[part] == Verdict.DROP
            from_b = rows["swapped"] ^ reply[part]
            self._remember(flow[part], number[part], from_b)
            if (rows["fragment"] != Fragment.WHOLE).any():
                now_ns = chunk.time_ns if times is None else times()
                self._follow(rows, now_ns[part], from_b)
            answers = np.where(rows["flow"] != 0, rows["swapped"] ^ from_b, reply[part])
            self._count_policies(rows, answers, dropped)
            known = rows["family"] != 0
            self._nameless += int(len(part) - known.sum())
            rows, dropped = rows[known], dropped[known]
            address = initiators(rows, answers[known], dropped)
            self._packets.add((address[:, 0], address[:, 1], rows["family"], dropped),
                              (np.ones(len(rows), np.uint64), rows["length"]))
        self.settle()

    def settle(self) -> None:
        """The chunk has no more packets that were hit."""
        if self._ended:
            self._remember(NOBODY, NOBODY, NOBODY.astype(np.uint8))

    def _remember(
        self, flow: NDArray[np.uint64], number: NDArray[np.uint64], from_b: NDArray[np.uint8]
    ) -> None:
        """Who began the flows of packets, into ``from_b`` (1: endpoint b); of the sessions taken
        until then too."""
        ended = (np.concatenate(self._ended) if len(self._ended) > 1
                 else self._ended[0] if self._ended else np.zeros(0, SESSION_DTYPE))
        known = begun(self._directions, ended, flow, number, from_b)
        self._ended = [ended[known:]] if known < len(ended) else []

    def _follow(
        self, rows: NDArray[Any], times_ns: NDArray[np.int64], from_b: NDArray[np.uint8]
    ) -> None:
        """Later fragments become packets of their first one's flow, as far as that was hit too."""
        for at in np.flatnonzero(rows["fragment"] != Fragment.WHOLE).tolist():
            if rows["fragment"][at] == Fragment.FIRST:
                said = rows["flow"][at], rows["key"][at].copy(), rows["swapped"][at], from_b[at]
                self._datagrams.begin(rows[at], times_ns[at], said)
            elif first := self._datagrams.of(rows[at], times_ns[at]):
                rows["flow"][at], rows["key"][at], rows["swapped"][at], from_b[at] = first

    def _count_policies(
        self, rows: NDArray[Any], reply: NDArray[np.uint8], dropped: NDArray[np.bool_],
    ) -> None:
        """Packets by the policy that takes their session, or would; none for what has no key."""
        if self._table is None:
            return
        keyed = rows["flow"] != 0
        key = rows["key"][keyed]
        if self._vlan_zone:
            key = policy_lookup.zoned(key, rows["zone"][keyed])
        at = policy_lookup.find(
            self._table, policy_lookup.ends_of(key, (rows["swapped"] ^ reply)[keyed]))
        taken = at >= 0
        lost, size = dropped[keyed][taken], rows["length"][keyed][taken]
        self._policy_packets.add((self._table.policy_id[at[taken]],),
                                 (lost, ~lost, size * lost, size * ~lost))

    def forgotten_packets(self) -> int:
        """Packets of hosts that are not kept, and of none."""
        return self._nameless + self._packets.forgotten()[0]

    def rows(self, engine: Control, count: int = 10, *, live: bool = True) -> dict[str, Any]:
        """{"hosts", "policies": rows, "forgotten_packets", "forgotten_sessions"}, most hit first.

        ``live``: hosts with most sessions too, whether hit or not. What was forgotten is missing
        from the rows of hosts; the rows of policies are whole.
        """
        keys, sums = self._by_host().table()
        crowded = [(high, low, family) for high, low, _, family in
                   (engine.fastpath.hosts(count).tolist() if live else [])]
        most = {*_most(keys, sums[:, 0], count), *_most(keys, sums[:, 2] + sums[:, 3], count)}
        found = [_row(engine, tuple(keys[at].tolist()), sums[at].tolist()) for at in most]
        known = {tuple(keys[at].tolist()) for at in most}
        for host in crowded:
            if host not in known:
                same = np.flatnonzero((keys == np.array(host, np.uint64)).all(axis=1))
                found.append(_row(engine, host, sums[same].sum(axis=0).tolist()))
        return {"hosts": _worst(found)[:count], "policies": self._policy_rows()[:count],
                "forgotten_packets": self.forgotten_packets(),
                "forgotten_sessions": self._unlisted + self._taken.forgotten()[0]}

    def _by_host(self) -> Tally:
        """(high, low, family): sessions taken, their bytes, packets dropped, bypassed, and the
        bytes of either."""
        whole = Tally(3, len(SUMS), 2 * HIT_HOSTS)
        keys, sums = self._taken.table()
        none = np.zeros(len(keys), np.uint64)
        whole.add(keys.T, (sums[:, 0], sums[:, 1], none, none, none, none))
        keys, sums = self._packets.table()
        none, lost = np.zeros(len(keys), np.uint64), keys[:, 3] != 0
        whole.add(keys.T[:3], (none, none, *(
            sums[:, which] * verdict for which in (0, 1) for verdict in (lost, ~lost))))
        return whole

    def _policy_rows(self) -> list[dict[str, int]]:
        """Packets dropped and bypassed with their bytes, sessions taken and theirs by policy, most
        first."""
        whole: dict[int, dict[str, int]] = {}
        for names, tally in ((SUMS[:2], self._policies), (SUMS[2:], self._policy_packets)):
            for (policy,), sums in tally.items():
                row = whole.setdefault(policy, {"id": policy, **dict.fromkeys(SUMS, 0)})
                row.update(zip(names, sums, strict=True))
        return sorted(whole.values(), key=lambda row: (
            -row["taken"], -row["dropped"] - row["bypassed"], row["id"]))


def _most(keys: NDArray[np.uint64], amount: NDArray[np.uint64], count: int) -> list[int]:
    """Places of the hosts with most of an amount, of those that have any; of equal ones the lower
    address."""
    some = np.flatnonzero(amount)
    if len(some) > count:
        least = np.partition(amount[some], len(some) - count)[len(some) - count]
        some = some[amount[some] >= least]
    order = np.lexsort((*keys[some].T[::-1], -amount[some].astype(np.int64)))
    places: list[int] = some[order[:count]].tolist()
    return places


def _worst(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Most hit first: who lost most sessions, and who lost most packets or had them unscanned, take
    turns, so that neither hides the other."""
    place: dict[str, tuple[int, int]] = {}
    harms: tuple[Callable[[dict[str, Any]], int], ...] = (
        lambda row: row["taken"], lambda row: row["dropped"] + row["bypassed"])
    for turn, harm in enumerate(harms):
        harmed = sorted((row for row in rows if harm(row)), key=lambda row: (
            -harm(row), -row["taken"] - row["dropped"] - row["bypassed"], row["host"]))
        for at, row in enumerate(harmed):
            place[row["host"]] = min(place.get(row["host"], (at, turn)), (at, turn))
    last = (len(rows), 0)
    return sorted(rows, key=lambda row: (
        place.get(row["host"], last), -row["sessions"], row["host"]))


def _row(engine: Control, host: tuple[int, ...], sums: list[int]) -> dict[str, Any]:
    high, low, family = host
    address = high << 64 | low
    return {"host": counters.address_text(address, family), **dict(zip(SUMS, sums, strict=True)),
            "sessions": engine.fastpath.sessions_of(address, family)}
