"""The same traffic under several settings, joined flow by flow.

A *flow* is a 5-tuple of the capture, whether or not a session was ever made for it: a refused flow
has packets and verdicts too. Its number comes from the frames alone, since a run's own depends on
its settings (seed, zone, tracker); all runs see the same packets, so flows are joined by it. Each
run gives, for every packet, its own number, verdict and reason, and for every session taken its
own number. Sessions taken come from the log, which forgets none: no figure rests on the ring of
victims.

    lived        every packet passed, inspected where its policy asks for it
    denied       no policy accepts it: what was dropped was dropped for that, and is no harm
    uninspected  every packet passed, some without an inspection that its policy asks for
    dropped      some packets were dropped otherwise, and no session of it was taken
    taken        a session of it was taken (evicted, tension, killed)
    refused      every packet was dropped, and not for want of a policy alone

A flow has the worst of these that is true of it; it is *lost* where it lost a packet otherwise than
denied, whatever else became of it, and unscanned where a packet passed so: sums do not hang on
which is worse. A session that was taken while no packet of its flow was dropped is no flow lost.
What is denied counts apart.
What all settings refuse alike (malformed packets) cancels in the differences. A flow belongs to
the host that began it, as the first run saw it, and under each setting to the policy that takes it
there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from operator import itemgetter
from typing import Any

import numpy as np

from fwcore import policy, policy_layout, policy_lookup
from fwcore._columns import Fragment
from fwcore._layout import Reason, Verdict
from fwcore._tally import Tally
from fwcore.datagrams import Datagrams
from fwcore.errors import FwcoreError, LawBroken
from fwcore.flow import Endpoint, Flow
from fwcore.hits import TAKEN
from fwcore.replay import Judged
from fwcore.report import shaping
from fwcore.result import Result
from fwcore.rows import RowFile
from fwcore.words import protocol_text

TONES = {"lived": "good", "denied": "dim", "uninspected": "warn", "dropped": "warn", "taken": "bad",
         "refused": "bad"}
OUTCOMES = tuple(TONES)
HARMLESS = ("lived", "denied")
TAKEN_CAUSES = tuple(cause.name.lower() for cause in TAKEN)
EXAMPLES = 5  # of a group
NAMED = 100  # hosts and policies in the JSON
BLOCK = 1 << 16  # rows of a file written at a time
FLOWS_MOST = 1 << 31  # entries that a tally has room for
SUMS = ("packets", "bytes", "dropped", "dropped_bytes", "denied", "denied_bytes", "bypassed",
        "bypassed_bytes", "taken",
        "forwarded_a", "forwarded_b")  # bytes of what that end of the key began
FLOW_COLUMNS = {"packets dropped": "dropped", "bytes dropped": "dropped_bytes",
                "packets unscanned": "bypassed", "bytes unscanned": "bypassed_bytes",
                "sessions taken": "taken"}  # fmt: skip
FIRST_DTYPE = np.dtype([("first_packet", "u8"), ("key", "u8", 5), ("from_b", "u1")])
FLOW_DTYPE = np.dtype([
    ("flow", "u8"), *((name, FIRST_DTYPE[name]) for name in FIRST_DTYPE.names or ()),
    *((name, "i8") for name in SUMS)])


# -- sums per flow ------------------------------------------------------------------------------


class FlowLedger:
    """Sums per flow, from one run: its packets, and with `take` its sessions that ended.

    A look-up a packet; memory follows the number of flows, not of packets. ``datagram_zone``:
    whether fragments of two VLANs are of two datagrams; the same for all runs that are joined.
    """

    def __init__(self, *, vlan_zone: bool = False, datagram_zone: bool | None = None) -> None:
        self._flows = Tally(1, len(SUMS), FLOWS_MOST)
        self._first: list[np.ndarray] = []      # FIRST_DTYPE: of each flow's first packet, in order
        self._vlan_zone = vlan_zone
        self._datagrams: Datagrams[tuple[int, int]] = Datagrams(
            vlan_zone=vlan_zone if datagram_zone is None else datagram_zone)    # (flow, from_b)
        self._names = Tally(1, 1, FLOWS_MOST)   # the run's own numbers ...
        self._named: list[np.ndarray] = []      # ... and the flow that came first under each
        self.seen = 0

    def packets(self, judged: Judged) -> None:
        """The replay's `flows`: the chunk's frames say which flow each packet is of."""
        rows = judged.rows
        flow, from_b = self._of_datagrams(rows, judged.chunk.time_ns, judged.reply)
        new = self.add(flow, judged.outcome, judged.chunk.length, judged.flow, judged.number,
                       from_b)
        first = self._first[-1]
        first["key"] = rows["key"][new]
        if self._vlan_zone:      # for policies; what numbers the flow knows no zone
            first["key"] = policy_lookup.zoned(rows["key"][new], rows["zone"][new])

    def _of_datagrams(
        self, rows: np.ndarray, times_ns: np.ndarray, reply: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(flow, from_b) of each packet; later fragments have those of their first. By frames and
        times alone, which are the same in every run."""
        flow, from_b = rows["flow"], rows["swapped"] ^ reply
        parts = np.flatnonzero(rows["fragment"] != Fragment.WHOLE)
        if len(parts):
            flow = flow.copy()
        for at in parts.tolist():
            if rows["fragment"][at] == Fragment.FIRST:
                said = int(flow[at]), int(from_b[at])
                self._datagrams.begin(rows[at], times_ns[at], said)
            elif first := self._datagrams.of(rows[at], times_ns[at]):
                flow[at], from_b[at] = first
        return flow, from_b

    def add(
        self, flow: np.ndarray, outcome: np.ndarray, length: np.ndarray,
        own: np.ndarray | None = None, number: np.ndarray | None = None,
        from_b: np.ndarray | None = None,
    ) -> np.ndarray:
        """One chunk: flow uint64[n] (0: none), outcome uint8[n, 2] (verdict, reason), length[n];
        own uint64[n]: the run's numbers for them; number uint64[n]: the packets', in order;
        from_b uint8[n]: 1 where endpoint b began the packet's session.

        Which packets are the first of a flow, int64[m].
        """
        flow = np.asarray(flow, dtype=np.uint64)
        own = flow if own is None else np.asarray(own, dtype=np.uint64)
        number = np.arange(self.seen + 1, self.seen + len(flow) + 1) if number is None else number
        from_b = np.zeros(len(flow), np.uint8) if from_b is None else from_b
        if not len(flow) == len(own) == len(outcome) == len(length) == len(number):
            raise ValueError("flow, outcome and length must have one row a packet")
        self.seen += len(flow)
        keyed = slice(None) if flow.all() else np.flatnonzero(flow)
        new = self._flows.add((flow[keyed],), _amounts(
            np.asarray(outcome)[keyed], np.asarray(length)[keyed], from_b[keyed]))
        new = new if isinstance(keyed, slice) else keyed[new]
        first = np.zeros(len(new), FIRST_DTYPE)
        first["first_packet"], first["from_b"] = number[new], from_b[new]
        self._first.append(first)
        both = np.flatnonzero((flow != 0) & (own != 0))
        self._named.append(flow[both][self._names.add((own[both],), (np.ones(len(both)),))])
        return new

    def take(self, ended: np.ndarray) -> None:
        """Sessions that ended (SESSION_DTYPE[n]); those taken count for their flow: that of the
        first packet with the session's number."""
        own = ended["flow"][np.isin(ended["cause"], TAKEN)]
        if not len(own):
            return
        at = self._names.places((own,))
        if at.min() < 0:
            raise RuntimeError("a session was taken of a flow that has no packet")
        self._named = [np.concatenate(self._named)]
        amounts = np.zeros((len(SUMS), len(own)), np.uint64)
        amounts[SUMS.index("taken")] = 1
        self._flows.add((self._named[0][at],), amounts)

    def table(self) -> np.ndarray:
        """FLOW_DTYPE[m], sorted by flow."""
        keys, sums = self._flows.table()
        order = np.argsort(keys[:, 0])
        whole = np.zeros(len(order), FLOW_DTYPE)
        whole["flow"] = keys[order, 0]
        first = np.concatenate([np.zeros(0, FIRST_DTYPE), *self._first])[order]
        for name in FIRST_DTYPE.names or ():
            whole[name] = first[name]
        for name, column in zip(SUMS, sums.T, strict=True):
            whole[name] = column[order]
        return whole


def harmful(found: np.ndarray) -> np.ndarray:
    """Which indices into OUTCOMES say that something was lost, taken or unscanned, bool."""
    return ~np.isin(found, [OUTCOMES.index(name) for name in HARMLESS])


def _amounts(outcome: np.ndarray, length: np.ndarray, from_b: np.ndarray) -> np.ndarray:
    """What each packet adds to SUMS, uint64[SUMS, n]."""
    verdict, length = outcome[:, 0], length.astype(np.uint64)
    dropped, bypassed = verdict == Verdict.DROP, verdict == Verdict.BYPASS
    forward, denied = verdict == Verdict.FORWARD, dropped & (outcome[:, 1] == Reason.DENIED)
    made = np.zeros((len(SUMS), len(verdict)), np.uint64)
    for row, amount in zip(made, (
            1, length, dropped, dropped * length, denied, denied * length, bypassed,
            bypassed * length, 0,
            (forward & (from_b == 0)) * length, (forward & (from_b == 1)) * length), strict=True):
        row[:] = amount
    return made


def _lost(flows: np.ndarray) -> np.ndarray:
    """Which flows lost a packet otherwise than denied, bool[m]."""
    return flows["dropped"] > flows["denied"]


# What a setting cost, to be summed over flows.
COST: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "lost": _lost,
    "sessions_taken": itemgetter("taken"),
    "dropped_packets": lambda flows: flows["dropped"] - flows["denied"],
    "dropped_bytes": lambda flows: flows["dropped_bytes"] - flows["denied_bytes"],
    "uninspected": lambda flows: flows["bypassed"] > 0,
    "uninspected_packets": itemgetter("bypassed"),
    "uninspected_bytes": itemgetter("bypassed_bytes"),
}


def outcomes(flows: np.ndarray) -> np.ndarray:
    """Index into OUTCOMES for each row of a FLOW_DTYPE table, uint8[m]."""
    found = np.zeros(len(flows), dtype=np.uint8)
    for name, holds in (
        ("denied", flows["denied"] > 0),
        ("uninspected", flows["bypassed"] > 0),
        ("dropped", _lost(flows)),
        ("taken", flows["taken"] > 0),
        ("refused", _lost(flows) & (flows["dropped"] == flows["packets"])),
    ):
        found[holds] = OUTCOMES.index(name)
    return found


# -- the join -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """Results of the same capture under named settings, and what became of every flow."""

    names: tuple[str, ...]
    results: tuple[Result, ...]
    flows: tuple[np.ndarray, ...]  # FLOW_DTYPE[m] each, the same flows in the same order
    policies: tuple[tuple[policy.Policy, ...], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        first = self.flows[0]["flow"]
        for name, table in zip(self.names, self.flows, strict=True):
            if not np.array_equal(table["flow"], first):
                raise FwcoreError(f"{name} saw other flows than {self.names[0]}: not one capture")
        for name, table, result in zip(self.names, self.flows, self.results, strict=True):
            ended = result.data["sessions"]["ended"]
            if table["taken"].sum() != sum(ended[cause] for cause in TAKEN_CAUSES):
                raise LawBroken(f"{name}: sessions taken of flows are not those that were counted;"
                                " a defect of fwcore, please report")

    @cached_property
    def found(self) -> np.ndarray:
        """Index into OUTCOMES of each flow under each setting, uint8[settings, m]."""
        return np.stack([outcomes(table) for table in self.flows])

    @cached_property
    def ends(self) -> np.ndarray:
        """Who began each flow and whom to, ENDS_DTYPE[m]."""
        return policy_lookup.ends_of(self.flows[0]["key"], self.flows[0]["from_b"])

    @cached_property
    def policy_ids(self) -> np.ndarray:
        """Id of each flow's policy under each setting, int64[settings, m]; -1: none takes it."""
        rows = []
        for at, table in enumerate(self.flows):
            known = self.policies[at] if self.policies else (policy.DEFAULT,)
            ids = np.array([*(each.id for each in known), -1], dtype=np.int64)
            ends = policy_lookup.ends_of(table["key"], table["from_b"])
            rows.append(ids[policy_lookup.find(policy_layout.compile_policies(known), ends)])
        return np.stack(rows)

    def turned(self, at: int) -> np.ndarray:
        """Bytes of each flow that a setting let pass without the inspection that the flow's policy
        asks for, since its session was begun anew by the other end, int64[m].

        So does what comes back midstream from a responder whose initiator was refused.
        """
        known = self.policies[at] if self.policies else (policy.DEFAULT,)
        asking = [each.id for each in known if each.inspection]
        table = self.flows[at]
        other = np.where(table["from_b"] != 0, table["forwarded_a"], table["forwarded_b"])
        return np.where(np.isin(self.policy_ids[at], asking), other, 0)

    def policy_text(self, number: int) -> str:
        """A policy by its name, or its number; `no policy` for -1."""
        return policy.NO_POLICY if number < 0 else self._called.get(number, str(number))

    @cached_property
    def _called(self) -> dict[int, str]:
        """Policies that have a name, by id."""
        return {each.id: called[each.id] for rows in self.policies
                for called in (policy.called(rows),) for each in rows if each.name}

    def flow(self, at: int) -> dict[str, Any]:
        """One flow by name: who, under which policy (of the first setting), how much."""
        row, first = self.ends[at], self.flows[0][at]
        return {
            "flow": flow_text(row), "policy": int(self.policy_ids[0, at]),
            "policy_name": self.policy_text(int(self.policy_ids[0, at])),
            "first_packet": int(first["first_packet"]), "packets": int(first["packets"]),
            "bytes": int(first["bytes"]),
        }  # fmt: skip

    def groups(self) -> list[dict[str, Any]]:
        """Flows by what became of them under each setting, most bytes first (lived by all last)."""
        slot, count = np.zeros(self.found.shape[1], np.int64), 1
        for found in self.found:     # one number for what became of a flow under all so far
            slot, count = _numbered(slot * len(OUTCOMES) + found, count * len(OUTCOMES))
        whole = self.flows[0]
        rows = []
        for at in range(count):
            members = np.flatnonzero(slot == at)
            kinds = self.found[:, members[0]]
            first = np.sort(whole["first_packet"][members])
            most = members[np.lexsort((whole["first_packet"][members], -whole["bytes"][members]))]
            rows.append({
                "outcomes": {name: OUTCOMES[kinds[run]] for run, name in enumerate(self.names)},
                "flows": len(members),
                "packets": int(whole["packets"][members].sum()),
                "bytes": int(whole["bytes"][members].sum()),
                "first_packets": first[:EXAMPLES].tolist(),
                "largest": [self.flow(each) for each in most[:EXAMPLES].tolist()],
            })  # fmt: skip
        return sorted(
            rows, key=lambda row: (set(row["outcomes"].values()) <= set(HARMLESS), -row["bytes"])
        )

    def hosts(self) -> list[dict[str, Any]]:
        """What each setting cost each host that began flows: harmed ones, worst first."""
        high, low = self.ends["initiator"].T
        keys = (self.ends["family"], high, low)
        tally = Tally(len(keys), 1, FLOWS_MOST)
        tally.add(keys, (np.ones(len(high)),))
        hosts, place = tally.table()[0], tally.places(keys)
        rows = self._costs([place] * len(self.names), len(hosts))
        for row in rows:
            family, top, bottom = hosts[row.pop("at")].tolist()
            row["host"] = str(_address(family, top, bottom))
        return _worst_first(rows, "host")

    def by_policy(self) -> list[dict[str, Any]]:
        """What each setting cost the flows of each of its policies: harmed ones, worst first."""
        ids, place = np.unique(self.policy_ids, return_inverse=True)
        rows = self._costs(list(place.reshape(self.policy_ids.shape)), len(ids))
        for row in rows:
            row["policy"] = int(ids[row.pop("at")])
            row["policy_name"] = self.policy_text(row["policy"])
        return _worst_first(rows, "policy")

    def _costs(self, places: Sequence[np.ndarray], count: int) -> list[dict[str, Any]]:
        """Sums by place: {at, flows, bytes, cost: {setting: {COST}}}, for places with any harm."""
        first = self.flows[0]
        sums = {
            "flows": np.bincount(places[0], minlength=count),
            "bytes": _sums(places[0], first["bytes"], count),
        }
        cost = []
        for table, place in zip(self.flows, places, strict=True):
            cost.append({name: _sums(place, column(table), count)
                         for name, column in COST.items()})
        harmed = np.zeros(count, dtype=bool)
        for each in cost:
            harmed |= np.any([column != 0 for column in each.values()], axis=0)
        return [
            {"at": at, **{name: int(column[at]) for name, column in sums.items()},
             "cost": {name: {key: int(column[at]) for key, column in each.items()}
                      for name, each in zip(self.names, cost, strict=True)}}
            for at in np.flatnonzero(harmed).tolist()
        ]  # fmt: skip

    def harm(self) -> list[dict[str, Any]]:
        """For each setting: flows by outcome, and what was lost or passed unscanned in bytes."""
        rows = []
        for at, (name, table, found, result) in enumerate(zip(
                self.names, self.flows, self.found, self.results, strict=True)):
            turned = self.turned(at)
            number = np.bincount(found, minlength=len(OUTCOMES))
            rows.append({
                "name": name, "personality": result.data["personality"],
                "flows": {kind: int(number[which]) for which, kind in enumerate(OUTCOMES)},
                "harmed": int(harmful(found).sum()),
                **{each: int(column(table).sum()) for each, column in COST.items()},
                "denied_packets": int(table["denied"].sum()),
                "denied_bytes": int(table["denied_bytes"].sum()),
                "turned": {"flows": int((turned > 0).sum()), "bytes": int(turned.sum())},
                "transitions": len(result.data["conserve"]["transitions"]),
                "conserve_seconds": dict(result.data["conserve"]["seconds"]),
                "peak_used_pages": int(result.data["memory"]["peak"]["used"]),
                "outcome": result.data["outcome"],
                **({"shaping": shaping.short(shaped)}
                   if (shaped := shaping.section(result)) is not None else {}),
            })  # fmt: skip
        return rows

    def net(self) -> list[dict[str, Any]]:
        """What each later setting does more (+) or less (-) than the first."""
        rows = self.harm()
        keys = ("harmed", *COST)
        return [
            {
                "name": row["name"],
                "against": rows[0]["name"],
                **{key: row[key] - rows[0][key] for key in keys},
            }
            for row in rows[1:]
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything above as plain values, with each run's result but its victims."""
        hosts, policies = self.hosts(), self.by_policy()
        return {
            "schema": 1, "kind": "compare", "flows": len(self.flows[0]),
            "settings": list(self.names), "harm": self.harm(), "net": self.net(),
            "groups": self.groups(), "hosts_harmed": len(hosts), "hosts": hosts[:NAMED],
            "policies_harmed": len(policies), "policies": policies[:NAMED],
            "results": [
                {name: value for name, value in result.data.items() if name != "victims"}
                for result in self.results
            ],
        }  # fmt: skip

    def write_flows(self, path: str) -> None:
        """A row a flow, with its fate under each setting, to a file: CSV, or Parquet by ending."""
        file = RowFile(path)
        try:
            for begin in range(0, max(1, len(self.ends)), BLOCK):
                file.write(self._columns(slice(begin, begin + BLOCK)))
        except BaseException:
            file.discard()
            raise
        file.close()

    def _columns(self, part: slice) -> dict[str, Any]:
        ends, first, ids = self.ends[part], self.flows[0][part], self.policy_ids[0, part]
        made: dict[str, Any] = {
            "flow": [flow_text(row) for row in ends],
            **{side: [str(_address(int(row["family"]), *row[side].tolist())) for row in ends]
               for side in ("initiator", "responder")},
            "port": ends["responder_port"],
            "protocol": [protocol_text(number) for number in ends["protocol"].tolist()],
            "policy": ids, "policy_name": [self.policy_text(number) for number in ids.tolist()],
            "first_packet": first["first_packet"], "packets": first["packets"],
            "bytes": first["bytes"],
        }  # fmt: skip
        for name, table, found in zip(self.names, self.flows, self.found, strict=True):
            made[f"{name}: outcome"] = [OUTCOMES[kind] for kind in found[part].tolist()]
            for label, column in FLOW_COLUMNS.items():
                made[f"{name}: {label}"] = table[column][part]
        return made


def _numbered(code: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """Codes below `most` as the numbers of those that occur, in their order, and how many do."""
    there = np.bincount(code, minlength=most) > 0
    return (np.cumsum(there) - 1)[code], int(there.sum())


def _sums(place: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Sum of values[m] for each of `count` places, exact."""
    values = np.asarray(values, dtype=np.int64)
    if int(np.abs(values).sum(dtype=np.float64)) < 1 << 52:      # so far, doubles are too
        return np.bincount(place, values, count).astype(np.int64)
    found = np.zeros(count, dtype=np.int64)
    np.add.at(found, place, values)
    return found


def _worst_first(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Where the settings differ most first: by flows lost, bytes dropped, sessions taken, bytes
    unscanned."""
    def spread(row: dict[str, Any], key: str) -> int:
        values = [cost[key] for cost in row["cost"].values()]
        return max(values) - min(values)
    keys = ("lost", "dropped_bytes", "sessions_taken", "uninspected_bytes")
    return sorted(rows, key=lambda row: (*(-spread(row, key) for key in keys), str(row[name])))


def _address(family: int, high: int, low: int) -> IPv4Address | IPv6Address:
    return IPv4Address(low) if family == 4 else IPv6Address(high << 64 | low)


def address_of(row: Any, side: str) -> IPv4Address | IPv6Address:
    """An end's address, of a row of ENDS_DTYPE."""
    return _address(int(row["family"]), *row[side].tolist())


def flow_text(row: Any) -> str:
    """ENDS_DTYPE as `explain --flow` takes it, the initiator first."""
    if not row["family"]:
        return "unknown"
    ends = [Endpoint(_address(int(row["family"]), *row[side].tolist()), int(row[f"{side}_port"]))
            for side in ("initiator", "responder")]  # fmt: skip
    return str(Flow(ends[0], ends[1], int(row["protocol"]), int(row["zone"])))


def sentence(names: Sequence[str], kinds: Mapping[str, str]) -> str:
    """A group in words: 'lived under all', 'taken only under A', 'dropped under A, B'."""
    different = set(kinds.values())
    if len(different) == 1:
        return f"{different.pop()} under {'both' if len(names) == 2 else 'all'}"
    harmed = [name for name in names if kinds[name] != "lived"]
    if len(harmed) == 1:
        return f"{kinds[harmed[0]]} only under {harmed[0]}"
    if len(names) == 2:
        return ", ".join(f"{kinds[name]} under {name}" for name in names)
    return "; ".join(
        f"{kind} under {', '.join(name for name in names if kinds[name] == kind)}"
        for kind in OUTCOMES if kind in different)


# -- running it ---------------------------------------------------------------------------------


def run(paths: Sequence[Any], named: Mapping[str, Any], replay: Any, **options: Any) -> Comparison:
    """Replays the capture once for each setting; `replay` is `fwcore.replay.replay`."""
    results: list[Result] = []
    flows: list[np.ndarray] = []
    policies = []
    zones = [getattr(settings, "zone", "none") == "vlan" for settings in named.values()]
    for settings, vlan_zone in zip(named.values(), zones, strict=True):
        ledger = FlowLedger(vlan_zone=vlan_zone, datagram_zone=any(zones))
        results.append(replay(paths, settings, flows=ledger.packets, ended=ledger.take, **options))
        flows.append(ledger.table())
        policies.append(policy.parse(getattr(settings, "policies", ())))
    return Comparison(tuple(named), tuple(results), tuple(flows), tuple(policies))
