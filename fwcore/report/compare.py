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
from fwcore._layout import Reason, Verdict
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
MERGE_EVERY = 64  # chunks between merges: memory follows the number of flows, not of packets
SUMS = ("packets", "bytes", "dropped", "dropped_bytes", "denied", "bypassed", "bypassed_bytes",
        "taken", "forwarded_a", "forwarded_b")  # bytes of what that end of the key began
FLOW_COLUMNS = {"packets dropped": "dropped", "bytes dropped": "dropped_bytes",
                "packets unscanned": "bypassed", "bytes unscanned": "bypassed_bytes",
                "sessions taken": "taken"}  # fmt: skip
FLOW_DTYPE = np.dtype([
    ("flow", "u8"), ("first_packet", "u8"), ("key", "u8", 5), ("from_b", "u1"),
    *((name, "i8") for name in SUMS)])  # fmt: skip


# -- sums per flow ------------------------------------------------------------------------------


class FlowLedger:
    """Sums per flow, from one run: its packets, and with `take` its sessions that ended."""

    def __init__(self, *, vlan_zone: bool = False) -> None:
        self._parts: list[np.ndarray] = []
        self._vlan_zone = vlan_zone
        self._names: list[np.ndarray] = []      # the run's own number, the capture's: uint64[n, 2]
        self.seen = 0

    def packets(self, judged: Judged) -> None:
        """The replay's `flows`: the chunk's frames say which flow each packet is of."""
        rows = judged.rows
        part = self.add(rows["flow"], judged.outcome, judged.chunk.length, judged.flow,
                        judged.number, rows["swapped"] ^ judged.reply)
        at = np.searchsorted(judged.number, part["first_packet"])
        part["key"] = rows["key"][at]
        if self._vlan_zone:      # for policies; what numbers the flow knows no zone
            part["key"][:, 0] |= rows["zone"][at].astype(np.uint64) << np.uint64(32)
        part["from_b"] = rows["swapped"][at] ^ judged.reply[at]

    def add(
        self, flow: np.ndarray, outcome: np.ndarray, length: np.ndarray,
        own: np.ndarray | None = None, number: np.ndarray | None = None,
        from_b: np.ndarray | None = None,
    ) -> np.ndarray:
        """One chunk: flow uint64[n] (0: none), outcome uint8[n, 2] (verdict, reason), length[n];
        own uint64[n]: the run's numbers for them; number uint64[n]: the packets', in order;
        from_b uint8[n]: 1 where endpoint b began the packet's session.

        Its sums, FLOW_DTYPE[m], a view of what is kept.
        """
        flow = np.asarray(flow, dtype=np.uint64)
        own = flow if own is None else np.asarray(own, dtype=np.uint64)
        number = np.arange(self.seen + 1, self.seen + len(flow) + 1) if number is None else number
        if not len(flow) == len(own) == len(outcome) == len(length) == len(number):
            raise ValueError("flow, outcome and length must have one row a packet")
        part = _sum_chunk(flow, np.asarray(outcome), np.asarray(length), number,
                          np.zeros(len(flow), np.uint8) if from_b is None else from_b)
        self.seen += len(flow)
        both = np.flatnonzero((flow != 0) & (own != 0))
        self._names.append(np.column_stack([own[both], flow[both]]))
        if len(self._names) >= MERGE_EVERY:
            self._names = [self._named()]
        self._add(part)
        return part

    def take(self, ended: np.ndarray) -> None:
        """Sessions that ended (SESSION_DTYPE[n]); those taken count for their flow: that of the
        first packet with the session's number."""
        own, count = np.unique(
            ended["flow"][np.isin(ended["cause"], TAKEN)], return_counts=True)
        self._names = [self._named()]
        names = self._names[0]
        at = np.searchsorted(names[:, 0], own)
        if len(own) and (at.max() >= len(names) or (names[at, 0] != own).any()):
            raise RuntimeError("a session was taken of a flow that has no packet")
        part = np.zeros(len(own), dtype=FLOW_DTYPE)
        part["flow"], part["taken"] = names[at, 1], count
        part["first_packet"] = np.iinfo(np.uint64).max      # it is known from the packets
        self._add(part)

    def _named(self) -> np.ndarray:
        """Each number of the run once, ascending, with the flow that came first under it."""
        rows = np.concatenate([np.zeros((0, 2), np.uint64), *self._names])
        return rows[np.unique(rows[:, 0], return_index=True)[1]]

    def _add(self, part: np.ndarray) -> None:
        if len(self._parts) >= MERGE_EVERY:
            self._parts = [merge(self._parts)]
        self._parts.append(part)

    def table(self) -> np.ndarray:
        """FLOW_DTYPE[m], sorted by flow."""
        flows = merge(self._parts)
        if len(flows) and not flows["packets"].all():
            raise RuntimeError("a session was taken of a flow that has no packet")
        return flows


def harmful(found: np.ndarray) -> np.ndarray:
    """Which indices into OUTCOMES say that something was lost, taken or unscanned, bool."""
    return ~np.isin(found, [OUTCOMES.index(name) for name in HARMLESS])


def _sum_chunk(
    flow: np.ndarray, outcome: np.ndarray, length: np.ndarray, number: np.ndarray,
    from_b: np.ndarray,
) -> np.ndarray:
    """FLOW_DTYPE[m] of one chunk."""
    verdict = outcome[:, 0]
    ids, first, slot = np.unique(flow, return_index=True, return_inverse=True)
    part = np.zeros(len(ids), dtype=FLOW_DTYPE)
    part["flow"], part["first_packet"] = ids, number[first]
    denied = (verdict == Verdict.DROP) & (outcome[:, 1] == Reason.DENIED)
    part["denied"] = np.bincount(slot, denied, len(ids))
    weights = {"": None, "dropped": verdict == Verdict.DROP, "bypassed": verdict == Verdict.BYPASS}
    for name, weight in weights.items():
        counted = np.ones(len(flow)) if weight is None else weight.astype(np.float64)
        part[name or "packets"] = np.bincount(slot, counted, len(ids))
        part[f"{name}_bytes".lstrip("_")] = np.bincount(slot, counted * length, len(ids))
    for name, end in (("forwarded_a", 0), ("forwarded_b", 1)):
        counted = (verdict == Verdict.FORWARD) & (from_b == end)
        part[name] = np.bincount(slot, counted * length.astype(np.float64), len(ids))
    return part[ids != 0]


def merge(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Several FLOW_DTYPE tables as one, sorted by flow: sums, and the rest of its first packet."""
    rows = np.concatenate(parts) if parts else np.zeros(0, dtype=FLOW_DTYPE)
    order = np.lexsort((rows["first_packet"], rows["flow"]))
    ids, first, slot = np.unique(rows["flow"][order], return_index=True, return_inverse=True)
    whole = rows[order[first]]
    for name in SUMS:
        sums = np.zeros(len(ids), dtype=np.int64)
        np.add.at(sums, slot, rows[name][order])
        whole[name] = sums
    return whole


def _lost(flows: np.ndarray) -> np.ndarray:
    """Which flows lost a packet otherwise than denied, bool[m]."""
    return flows["dropped"] > flows["denied"]


# What a setting cost, to be summed over flows.
COST: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "lost": _lost,
    "sessions_taken": itemgetter("taken"),
    "dropped_packets": itemgetter("dropped"),
    "dropped_bytes": itemgetter("dropped_bytes"),
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
        kinds, slot = np.unique(self.found, axis=1, return_inverse=True)
        slot = slot.reshape(-1)
        whole = self.flows[0]
        rows = []
        for at in range(kinds.shape[1]):
            members = np.flatnonzero(slot == at)
            first = np.sort(whole["first_packet"][members])
            most = members[np.lexsort((whole["first_packet"][members], -whole["bytes"][members]))]
            rows.append({
                "outcomes": {name: OUTCOMES[kinds[run, at]] for run, name in enumerate(self.names)},
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
        keys = np.column_stack([self.ends["family"].astype(np.uint64), high, low])
        hosts, place = np.unique(keys, axis=0, return_inverse=True)
        place = place.reshape(-1)
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


def _sums(place: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Sum of values[m] for each of `count` places, exact."""
    found = np.zeros(count, dtype=np.int64)
    np.add.at(found, place, np.asarray(values, dtype=np.int64))
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
    for settings in named.values():
        ledger = FlowLedger(vlan_zone=getattr(settings, "zone", "none") == "vlan")
        results.append(replay(paths, settings, flows=ledger.packets, ended=ledger.take, **options))
        flows.append(ledger.table())
        policies.append(policy.parse(getattr(settings, "policies", ())))
    return Comparison(tuple(named), tuple(results), tuple(flows), tuple(policies))
