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
from fwcore._tally import Tally
from fwcore.errors import FwcoreError, LawBroken
from fwcore.flow import Endpoint, Flow
from fwcore.hits import TAKEN
from fwcore.report import shaping
from fwcore.report.flow_ledger import FLOWS_MOST, FlowLedger, FlowTable, Traffic
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
FLOW_COLUMNS = {"packets dropped": "dropped", "bytes dropped": "dropped_bytes",
                "packets unscanned": "bypassed", "bytes unscanned": "bypassed_bytes",
                "sessions taken": "taken"}  # fmt: skip


def harmful(found: np.ndarray) -> np.ndarray:
    """Which indices into OUTCOMES say that something was lost, taken or unscanned, bool."""
    return ~np.isin(found, [OUTCOMES.index(name) for name in HARMLESS])


def _lost(fates: np.ndarray) -> np.ndarray:
    """Which flows lost a packet otherwise than denied, bool[k]."""
    return fates["dropped"] > fates["denied"]


# What a setting cost, to be summed over flows; of one that has no fate, nothing.
COST: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "lost": _lost,
    "sessions_taken": itemgetter("taken"),
    "dropped_packets": lambda fates: fates["dropped"] - fates["denied"],
    "dropped_bytes": lambda fates: fates["dropped_bytes"] - fates["denied_bytes"],
    "uninspected": lambda fates: fates["bypassed"] > 0,
    "uninspected_packets": itemgetter("bypassed"),
    "uninspected_bytes": itemgetter("bypassed_bytes"),
}


def _kinds(table: FlowTable) -> np.ndarray:
    """Index into OUTCOMES for each of the fates, uint8[k]."""
    fates = table.fates
    found = np.zeros(len(fates), dtype=np.uint8)
    for name, holds in (
        ("denied", fates["denied"] > 0),
        ("uninspected", fates["bypassed"] > 0),
        ("dropped", _lost(fates)),
        ("taken", fates["taken"] > 0),
        ("refused", _lost(fates) & (fates["dropped"] == table["packets"][fates["place"]])),
    ):
        found[holds] = OUTCOMES.index(name)
    return found


def outcomes(table: FlowTable) -> np.ndarray:
    """Index into OUTCOMES for each flow, uint8[m]."""
    return table.spread(_kinds(table))


# -- the join -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """Results of the same capture under named settings, and what became of every flow."""

    names: tuple[str, ...]
    results: tuple[Result, ...]
    flows: tuple[FlowTable, ...]  # of the same flows in the same order
    policies: tuple[tuple[policy.Policy, ...], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        first = self.flows[0]
        for name, table in zip(self.names, self.flows, strict=True):
            if table.flows is not first.flows and not np.array_equal(
                    table["flow"], first["flow"]):
                raise FwcoreError(f"{name} saw other flows than {self.names[0]}: not one capture")
        for name, table, result in zip(self.names, self.flows, self.results, strict=True):
            ended = result.data["sessions"]["ended"]
            if table.fates["taken"].sum() != sum(ended[cause] for cause in TAKEN_CAUSES):
                raise LawBroken(f"{name}: sessions taken of flows are not those that were counted;"
                                " a defect of fwcore, please report")

    @cached_property
    def found(self) -> np.ndarray:
        """Index into OUTCOMES of each flow under each setting, uint8[settings, m]."""
        return np.stack([outcomes(table) for table in self.flows])

    @cached_property
    def costs(self) -> list[dict[str, np.ndarray]]:
        """What each setting cost the flows that have a fate under it: COST, int64[k] each."""
        return [{name: np.ascontiguousarray(column(table.fates), np.int64)
                 for name, column in COST.items()} for table in self.flows]

    @cached_property
    def ends(self) -> np.ndarray:
        """Who began each flow and whom to, ENDS_DTYPE[m]."""
        return self.ends_at(slice(None))

    def ends_at(self, places: Any, at: int = 0) -> np.ndarray:
        """Who began flows and whom to, as a setting saw it: ENDS_DTYPE of those places."""
        table = self.flows[at]
        return policy_lookup.ends_of(table.key[places], table.from_b[places])

    @cached_property
    def policy_ids(self) -> np.ndarray:
        """Id of each flow's policy under each setting, int64[settings, m]; -1: none takes it."""
        rows: list[np.ndarray] = []
        for at, table in enumerate(self.flows):
            first = self.flows[0]
            alike = at and (not self.policies or self.policies[at] == self.policies[0]) and all(
                np.array_equal(getattr(table, name), getattr(first, name))
                for name in ("from_b", "key"))
            rows.append(rows[0] if alike else self.policies_at(slice(None), at))
        return np.stack(rows)

    def policies_at(self, places: Any, at: int) -> np.ndarray:
        """Id of the policy of flows under a setting, int64[those places]; -1: none takes it."""
        table, ids = self._asked[at]
        return ids[policy_lookup.find(table, self.ends_at(places, at))]

    @cached_property
    def _asked(self) -> list[tuple[policy_layout.PolicyTable, np.ndarray]]:
        """The policies of each setting, and the id of each, -1 behind them."""
        return [(policy_layout.compile_policies(known),
                 np.array([*(each.id for each in known), -1], dtype=np.int64))
                for known in self.policies or ((policy.DEFAULT,),) * len(self.flows)]

    def turned(self, at: int) -> np.ndarray:
        """Bytes of flows that a setting let pass without the inspection that the flow's policy
        asks for, since their session was begun anew by the other end, int64[some].

        So does what comes back midstream from a responder whose initiator was refused.
        """
        known = self.policies[at] if self.policies else (policy.DEFAULT,)
        asking = [each.id for each in known if each.inspection]
        fates = self.flows[at].fates
        some = fates[fates["turned"] > 0] if asking else fates[:0]
        return some["turned"][np.isin(self.policies_at(some["place"], at), asking)]

    def policy_text(self, number: int) -> str:
        """A policy by its name, or its number; `no policy` for -1."""
        return policy.NO_POLICY if number < 0 else self._called.get(number, str(number))

    @cached_property
    def _called(self) -> dict[int, str]:
        """Policies that have a name, by id."""
        return {each.id: called[each.id] for rows in self.policies
                for called in (policy.called(rows),) for each in rows if each.name}

    def named(self, places: np.ndarray) -> list[dict[str, Any]]:
        """Flows by name: who, under which policy (of the first setting), how much."""
        first = self.flows[0]
        columns = [first[name][places].tolist() for name in ("first_packet", "packets", "bytes")]
        return [
            {"flow": flow_text(ends), "policy": number, "policy_name": self.policy_text(number),
             "first_packet": packet, "packets": packets, "bytes": size}
            for ends, number, packet, packets, size in zip(
                self.ends_at(places), self.policies_at(places, 0).tolist(), *columns, strict=True)
        ]  # fmt: skip

    def groups(self) -> list[dict[str, Any]]:
        """Flows by what became of them under each setting, most bytes first (lived by all last)."""
        whole, any_harmed = self.flows[0], self.found.any(axis=0)
        harmed = np.flatnonzero(any_harmed)
        slot, count = np.zeros(len(harmed), np.int64), 1
        for found in self.found:     # one number for what became of a flow under all so far
            slot, count = _numbered(
                slot * len(OUTCOMES) + found[harmed], count * len(OUTCOMES))
        rows = []
        for members in (np.flatnonzero(~any_harmed),
                        *(harmed[slot == each] for each in range(count))):
            if not len(members):
                continue
            kinds = self.found[:, members[0]]
            most = members[_largest(whole["bytes"][members], EXAMPLES)]
            rows.append({
                "outcomes": {name: OUTCOMES[kinds[run]] for run, name in enumerate(self.names)},
                "flows": len(members),
                "packets": int(whole["packets"][members].sum()),
                "bytes": int(whole["bytes"][members].sum()),
                "first_packets": whole["first_packet"][members[:EXAMPLES]].tolist(),
                "largest": self.named(most),
            })  # fmt: skip
        return sorted(
            rows, key=lambda row: (set(row["outcomes"].values()) <= set(HARMLESS), -row["bytes"])
        )

    def hosts(self) -> list[dict[str, Any]]:
        """What each setting cost each host that began flows: harmed ones, worst first."""
        harmed = self._with_fates()
        if not len(harmed):
            return []
        keys = (self.ends["family"], *self.ends["initiator"].T)
        tally = Tally(len(keys), 1, FLOWS_MOST)
        tally.add([key[harmed] for key in keys], (np.ones(len(harmed)),))
        hosts, place = tally.table()[0], tally.places(keys)
        rows = self._costs([place] * len(self.names), len(hosts))
        for row in rows:
            family, top, bottom = hosts[row.pop("at")].tolist()
            row["host"] = str(_address(family, top, bottom))
        return _worst_first(rows, "host")

    def by_policy(self) -> list[dict[str, Any]]:
        """What each setting cost the flows of each of its policies: harmed ones, worst first."""
        if not len(self._with_fates()):
            return []
        ids = np.array(sorted({-1, *(each.id for known in self.policies or ((policy.DEFAULT,),)
                                     for each in known)}), np.int64)
        rows = self._costs([np.searchsorted(ids, each) for each in self.policy_ids], len(ids))
        for row in rows:
            row["policy"] = int(ids[row.pop("at")])
            row["policy_name"] = self.policy_text(row["policy"])
        return _worst_first(rows, "policy")

    def _with_fates(self) -> np.ndarray:
        """Places of the flows that have a fate under some setting, int64[some]."""
        found = np.zeros(len(self.flows[0]), dtype=bool)
        for table in self.flows:
            found[table.fates["place"]] = True
        return np.flatnonzero(found)

    def _costs(self, places: Sequence[np.ndarray], count: int) -> list[dict[str, Any]]:
        """Sums by place, -1 for none: {at, flows, bytes, cost: {setting: {COST}}}, for places with
        any harm."""
        counted = places[0] >= 0
        sums = {
            "flows": np.bincount(places[0][counted], minlength=count),
            "bytes": _sums(places[0][counted], self.flows[0]["bytes"][counted], count),
        }
        cost = []
        for columns, place, table in zip(self.costs, places, self.flows, strict=True):
            here = place[table.fates["place"]]
            cost.append({name: _sums(here, column, count) for name, column in columns.items()})
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
                "denied_packets": int(table.fates["denied"].sum()),
                "denied_bytes": int(table.fates["denied_bytes"].sum()),
                "turned": {"flows": len(turned), "bytes": int(turned.sum())},
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
        first, *others = self.harm()
        return [{"name": row["name"], "against": first["name"],
                 **{key: row[key] - first[key] for key in ("harmed", *COST)}} for row in others]

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
        with RowFile(path) as file:
            for begin in range(0, max(1, len(self.ends)), BLOCK):
                file.write(self._columns(slice(begin, begin + BLOCK)))

    def _columns(self, part: slice) -> dict[str, Any]:
        ends, ids = self.ends_at(part), self.policies_at(part, 0)
        made: dict[str, Any] = {
            "flow": [flow_text(row) for row in ends],
            **{side: [str(address_of(row, side)) for row in ends]
               for side in ("initiator", "responder")},
            "port": ends["responder_port"],
            "protocol": [protocol_text(number) for number in ends["protocol"].tolist()],
            "policy": ids, "policy_name": [self.policy_text(number) for number in ids.tolist()],
            **{name: self.flows[0][name][part] for name in ("first_packet", "packets", "bytes")},
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
        values: list[int] = [cost[key] for cost in row["cost"].values()]
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
    ends = [Endpoint(address_of(row, side), int(row[f"{side}_port"]))
            for side in ("initiator", "responder")]
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


def run(
    paths: Sequence[Any], named: Mapping[str, Any], replay: Any, many: int = 1, **options: Any,
) -> Comparison:
    """Replays the capture under each setting, so many side by side, each of which holds a table of
    its own meanwhile; `replay` is `fwcore.replay.replay_beside`."""
    results: list[Result] = []
    flows: list[FlowTable] = []
    zones = [getattr(settings, "zone", "none") == "vlan" for settings in named.values()]
    for begin in range(0, len(named), many):
        part = slice(begin, begin + many)
        traffic = Traffic(datagram_zone=any(zones))
        ledgers = [FlowLedger(traffic, vlan_zone=zone) for zone in zones[part]]
        made = replay(paths, list(named.values())[part], flows=[each.packets for each in ledgers],
                      ended=[each.take for each in ledgers], seen=traffic.look, **options)
        # without the sessions, which hold the whole engine
        results += [Result(made.pop(0).data) for _ in ledgers]
        flows += [ledger.table() for ledger in ledgers]
    policies = [policy.parse(getattr(settings, "policies", ())) for settings in named.values()]
    return Comparison(tuple(named), tuple(results), tuple(flows), tuple(policies))
