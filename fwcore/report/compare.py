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
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from operator import itemgetter
from typing import Any

import numpy as np

from fwcore import policy, policy_layout, policy_lookup
from fwcore._columns import Fragment, flow_columns, parse_columns
from fwcore._tally import Flows, Tally
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
FLOW_COLUMNS = {"packets dropped": "dropped", "bytes dropped": "dropped_bytes",
                "packets unscanned": "bypassed", "bytes unscanned": "bypassed_bytes",
                "sessions taken": "taken"}  # fmt: skip
NAMES_WAITING = 1 << 20  # of flows, before they are sorted out


# -- sums per flow ------------------------------------------------------------------------------


class FlowLedger:
    """Sums per flow, from one run: its packets, and with `take` its sessions that ended.

    A look-up a packet; memory follows the number of flows, not of packets. ``datagram_zone``:
    whether fragments of two VLANs are of two datagrams; the same for all runs that are joined.
    """

    def __init__(self, *, vlan_zone: bool = False, datagram_zone: bool | None = None) -> None:
        self._flows = Flows()
        self._vlan_zone = vlan_zone
        self._datagrams: Datagrams[tuple[int, int]] = Datagrams(
            vlan_zone=vlan_zone if datagram_zone is None else datagram_zone)    # (flow, from_b)
        self._names = Tally(1, 1, FLOWS_MOST)   # the run's own numbers ...
        self._named: list[np.ndarray] = []      # ... and the flow that came first under each
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []     # (own, flow): not yet there
        self._waits = 0
        self.seen = 0

    def packets(self, judged: Judged) -> None:
        """The replay's `flows`: the chunk's frames say which flow each packet is of."""
        chunk, shift = judged.chunk, judged.shift
        flow, swapped, parts = flow_columns(chunk, shift=shift, cut=True)
        from_b = swapped ^ judged.reply
        if len(parts):
            self._follow(parse_columns(chunk.select(parts), shift=shift, cut=True), parts,
                         chunk.time_ns, flow, from_b)
        new = self.add(flow, judged.outcome, chunk.length, judged.flow, judged.number, from_b)
        if len(new):
            rows = parse_columns(chunk.select(new), shift=shift, cut=True)
            # for policies; what numbers the flow knows no zone
            key = policy_lookup.zoned(rows["key"], rows["zone"]) if self._vlan_zone else rows["key"]
            self._flows.set_keys(len(self._flows) - len(new), np.ascontiguousarray(key))

    def _follow(
        self, rows: np.ndarray, parts: np.ndarray, times_ns: np.ndarray, flow: np.ndarray,
        from_b: np.ndarray,
    ) -> None:
        """Writes into flow and from_b: later fragments (`rows` of them, `parts` their places) have
        those of their first. By frames and times alone, which are the same in every run."""
        for row, at in zip(rows, parts.tolist(), strict=True):
            if row["fragment"] == Fragment.FIRST:
                self._datagrams.begin(row, times_ns[at], (int(flow[at]), int(from_b[at])))
            elif first := self._datagrams.of(row, times_ns[at]):
                flow[at], from_b[at] = first

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
        flow = np.ascontiguousarray(flow, np.uint64)
        own = flow if own is None else np.ascontiguousarray(own, np.uint64)
        number = np.arange(self.seen + 1, self.seen + len(flow) + 1) if number is None else number
        from_b = np.zeros(len(flow), np.uint8) if from_b is None else from_b
        self.seen += len(flow)
        new, named = self._flows.add(
            flow, own, np.ascontiguousarray(number, np.uint64),
            np.ascontiguousarray(outcome, np.uint8), np.ascontiguousarray(length, np.uint32),
            np.ascontiguousarray(from_b, np.uint8))
        self._waiting.append((own[named], flow[named]))
        self._waits += len(named)
        if self._waits > NAMES_WAITING:
            self._sort_out()
        return new

    def _sort_out(self) -> None:
        """Numbers that wait get their flow: that of the first packet with it."""
        own, flow = (np.concatenate(each) for each in zip(*self._waiting, strict=True))
        self._waiting, self._waits = [], 0
        self._named.append(flow[self._names.add((own,), (np.ones(len(own)),))])

    def take(self, ended: np.ndarray) -> None:
        """Sessions that ended (SESSION_DTYPE[n]); those taken count for their flow: that of the
        first packet with the session's number."""
        own = ended["flow"][np.isin(ended["cause"], TAKEN)]
        if not len(own):
            return
        if self._waiting:
            self._sort_out()
        at = self._names.places((own,))
        if at.min() < 0:
            raise RuntimeError("a session was taken of a flow that has no packet")
        self._named = [np.concatenate(self._named)]
        self._flows.take(self._named[0][at])

    def table(self) -> np.ndarray:
        """FLOW_DTYPE[m], in the order of the flows' first packets."""
        return self._flows.table()


def harmful(found: np.ndarray) -> np.ndarray:
    """Which indices into OUTCOMES say that something was lost, taken or unscanned, bool."""
    return ~np.isin(found, [OUTCOMES.index(name) for name in HARMLESS])


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
    def costs(self) -> list[dict[str, np.ndarray]]:
        """What each setting cost each flow: COST, int64[m] each."""
        return [{name: np.ascontiguousarray(column(table), np.int64)
                 for name, column in COST.items()} for table in self.flows]

    @cached_property
    def ends(self) -> np.ndarray:
        """Who began each flow and whom to, ENDS_DTYPE[m]."""
        return policy_lookup.ends_of(self.flows[0]["key"], self.flows[0]["from_b"])

    @cached_property
    def policy_ids(self) -> np.ndarray:
        """Id of each flow's policy under each setting, int64[settings, m]; -1: none takes it."""
        rows: list[np.ndarray] = []
        for at, table in enumerate(self.flows):
            known = self.policies[at] if self.policies else (policy.DEFAULT,)
            alike = self._alike(at)
            if at and alike and (not self.policies or known == self.policies[0]):
                rows.append(rows[0])
                continue
            ids = np.array([*(each.id for each in known), -1], dtype=np.int64)
            ends = self.ends if alike else policy_lookup.ends_of(table["key"], table["from_b"])
            rows.append(ids[policy_lookup.find(policy_layout.compile_policies(known), ends)])
        return np.stack(rows)

    def _alike(self, at: int) -> bool:
        """Whether a setting saw the flows begun by the same ends as the first did."""
        first, table = self.flows[0], self.flows[at]
        return table is first or all(
            np.array_equal(table[name], first[name]) for name in ("from_b", "key"))

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
            members = np.flatnonzero(slot == at) if count > 1 else np.arange(len(whole))
            kinds = self.found[:, members[0]]
            most = members[_largest(whole["bytes"][members], EXAMPLES)]
            rows.append({
                "outcomes": {name: OUTCOMES[kinds[run]] for run, name in enumerate(self.names)},
                "flows": len(members),
                "packets": int(whole["packets"][members].sum()),
                "bytes": int(whole["bytes"][members].sum()),
                "first_packets": whole["first_packet"][members[:EXAMPLES]].tolist(),
                "largest": [self.flow(each) for each in most.tolist()],
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
        ids = np.array(sorted({-1, *(each.id for known in self.policies or ((policy.DEFAULT,),)
                                     for each in known)}), np.int64)
        rows = self._costs([np.searchsorted(ids, each) for each in self.policy_ids], len(ids))
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
        for columns, place in zip(self.costs, places, strict=True):
            cost.append({name: _sums(place, column, count) for name, column in columns.items()})
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
        return deepcopy(self._harm)

    @cached_property
    def _harm(self) -> list[dict[str, Any]]:
        rows = []
        for at, (name, table, found, result) in enumerate(zip(
                self.names, self.flows, self.found, self.results, strict=True)):
            turned = self.turned(at)
            number = np.bincount(found, minlength=len(OUTCOMES))
            rows.append({
                "name": name, "personality": result.data["personality"],
                "flows": {kind: int(number[which]) for which, kind in enumerate(OUTCOMES)},
                "harmed": int(harmful(found).sum()),
                **{each: int(column.sum()) for each, column in self.costs[at].items()},
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


def _largest(values: np.ndarray, many: int) -> np.ndarray:
    """Places of the largest so many, largest first; of equal ones the first."""
    some = np.arange(len(values))
    if len(values) > many:
        some = np.flatnonzero(values >= np.partition(values, len(values) - many)[-many])
    return some[np.argsort(-values[some], kind="stable")][:many]


def _numbered(code: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """Codes below `most` as the numbers of those that occur, in their order, and how many do."""
    there = np.bincount(code, minlength=most) > 0
    return (np.cumsum(there) - 1)[code], int(there.sum())


def _sums(place: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Sum of values[m] for each of `count` places, exact."""
    values = np.ascontiguousarray(values, dtype=np.int64)
    if not values.any():
        return np.zeros(count, np.int64)
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
        results.append(Result(replay(       # without the sessions, which hold the whole engine
            paths, settings, flows=ledger.packets, ended=ledger.take, **options).data))
        flows.append(ledger.table())
        policies.append(policy.parse(getattr(settings, "policies", ())))
    return Comparison(tuple(named), tuple(results), tuple(flows), tuple(policies))
