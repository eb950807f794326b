"""``--lru``: what least-recently-used would have taken, where a full table or a page took sessions.

Memory tension takes the oldest session of every bucket, old by its beginning: also one that had a
packet a moment ago. Beside the engine this ledger keeps when each session was last seen, in order.
Whenever sessions are evicted or taken by tension, it takes the same number off the front of the
order as it stood before that moment, and says how long those had been idle, and how many of them
were TCP in ESTABLISHED (``Places``); then the real ones go.

    moment      a packet number and a time: what was taken there counts as one choice
    candidates  all that live, but for the session whose packet is judged, local TCP, and what was
                chosen before: it would be gone, so that no session is counted twice

It is a ledger beside the engine and not a second run: the sessions are those that the firewall had,
after all it really took before, and what it did not have any more can not be chosen. Memory: an
entry a live session; time: a step a packet.

Law (``recency``): for every session its TCP state, and when it was last seen, are the engine's own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore import policy_layout, policy_lookup
from fwcore._columns import Fragment, Kind
from fwcore._layout import EndCause, PolicyAction, Reason, TcpState, Verdict
from fwcore.datagrams import Datagrams
from fwcore.errors import SettingsError
from fwcore.hits import IDLE_S, MORE
from fwcore.policy import Policy
from fwcore.replay.judged import Judged
from fwcore.replay.places import Places
from fwcore.settings import Settings
from fwcore.units import SECOND_NS
from fwcore.words import TCP

CHOSEN = (EndCause.EVICTED, EndCause.TENSION)
# A packet with one of these belongs to a flow, and leaves its session as it is or makes none.
ASIDE = (Reason.RELATED, Reason.TCP_INVALID, Reason.FRAGMENT_ORPHAN, Reason.ICMP_ORPHAN)
AT_EGRESS = (Reason.OVER_LIMIT, Reason.QUEUE_FULL)      # dropped after its session took it


class Recency:
    """The ledger of one run. Raises SettingsError where it could not be exact."""

    def __init__(self, settings: Settings, policies: Sequence[Policy]) -> None:
        if settings.queue_accounting == "bytes" and settings.links:
            raise SettingsError('lru: with queue_accounting = "bytes" a packet that is dropped for'
                                ' want of a page has made its session or not, and nobody outside'
                                ' knows; use "none"')
        self._seen: OrderedDict[int, int] = OrderedDict()     # flow -> ns, longest ago first
        self._chosen: dict[int, int] = {}                     # the same, chosen and standing still
        self._places = Places(settings.tracker)
        self._local: set[int] = set()                         # flows that tension leaves alone
        self._policies = (policy_layout.compile_policies(policies)
                          if any(each.action == PolicyAction.LOCAL for each in policies) else None)
        self._vlan_zone = settings.zone == "vlan"
        self._fragments: Datagrams[int] = Datagrams(vlan_zone=self._vlan_zone)     # flows
        self._at = 0                                          # packets gone through
        self._now_ns = 0
        self._gone = 0                                        # flow that its own packet ended
        self.holds = True
        self.sessions = self.same = self.established = 0
        self.idle = dict.fromkeys((*IDLE_S, MORE), 0)
        self._bounds = [seconds * SECOND_NS for seconds in IDLE_S.values()]

    def take(self, judged: Judged, ended: Sequence[NDArray[Any]]) -> None:
        """A chunk of n, judged just now, and all that ended since the last one, in order."""
        if self._policies is not None:
            self._note_local(judged)
        rows = _moments(ended)
        place = 0
        self._now_ns = int(judged.now_ns[-1])
        aside = np.isin(judged.outcome[:, 1], ASIDE)
        verdicts, reasons = judged.outcome.T
        makes_none = (((verdicts == Verdict.DROP) & ~np.isin(reasons, AT_EGRESS))
                      | (reasons == Reason.FRAGMENT))
        columns = (self._flows(judged), judged.now_ns, aside, makes_none, judged.reply,
                   self._places.classes(judged))
        for flow, now_ns, left, none, direction, class_ in zip(
                *(column.tolist() for column in columns), strict=True):
            self._at += 1
            self._gone = 0
            while place < len(rows) and rows[place][0] <= self._at:
                self._moment(rows[place], flow, now_ns)
                place += 1
            if left or not flow or flow == self._gone or (none and not self._stands(flow)):
                continue
            if self._places.step(flow, direction, class_):
                self._note_seen(flow, now_ns)
        for moment in rows[place:]:
            self._moment(moment, 0, self._now_ns)

    def end(self, ended: Sequence[NDArray[Any]], standing: NDArray[Any]) -> None:
        """What ended after the last packet, and the sessions that stand (SESSION_DTYPE[n])."""
        for moment in _moments(ended):
            self._moment(moment, 0, self._now_ns)
        known = {flow: (seen_ns, self._places.state(flow))
                 for flow, seen_ns in (*self._seen.items(), *self._chosen.items())}
        rows = zip(*(standing[name].tolist() for name in ("flow", "last_seen_ns", "state")),
                   strict=True)
        self.holds &= known == {flow: (seen_ns, state) for flow, seen_ns, state in rows}

    def _stands(self, flow: int) -> bool:
        return flow in self._seen or flow in self._chosen

    def _note_seen(self, flow: int, now_ns: int) -> None:
        if flow in self._chosen:
            self._chosen[flow] = now_ns
        else:
            self._seen[flow] = now_ns
            self._seen.move_to_end(flow)

    def _moment(self, moment: tuple[Any, ...], flow: int, now_ns: int) -> None:
        """What ended at one packet and time: first what the order would have given instead."""
        _packet, ended_ns, rows = moment
        taken = {each for each, *_, cause in rows if cause in CHOSEN}
        for each, seen_ns, state, created_now, cause in rows:
            if cause in CHOSEN and taken:       # what ended before them is gone
                pinned = flow if ended_ns == now_ns and flow not in taken else 0
                self._choose(taken, ended_ns, pinned)
                taken = set()
            stood = self._chosen if each in self._chosen else self._seen
            known = stood.pop(each, None), self._places.state(each)
            self._places.forget(each)
            if each == flow and (cause == EndCause.KILLED       # the packet that it has just seen
                                 or (cause == EndCause.CLOSED and seen_ns == ended_ns)):
                self._gone = flow
            elif not created_now:
                self.holds &= known == (seen_ns, state)

    def _choose(self, taken: set[int], now_ns: int, pinned: int) -> None:
        """The same number of sessions, longest idle first; each goes once."""
        free = (each for each in self._seen.items()
                if each[0] != pinned and each[0] not in self._local)
        for flow, seen_ns in list(islice(free, len(taken))):
            self._chosen[flow] = self._seen.pop(flow)
            self.sessions += 1
            self.same += flow in taken
            self.established += self._places.state(flow) == TcpState.ESTABLISHED
            place = int(np.searchsorted(self._bounds, now_ns - seen_ns, side="right"))
            self.idle[(*IDLE_S, MORE)[place]] += 1

    def _flows(self, judged: Judged) -> NDArray[np.uint64]:
        """The flow of each packet, uint64[n]; later fragments have that of their first."""
        rows = judged.rows
        first, later = rows["fragment"] == Fragment.FIRST, rows["kind"] == Kind.LATER
        if not (first | later).any():
            return judged.flow
        flows = judged.flow.copy()
        for at in np.flatnonzero(first | later).tolist():
            if first[at]:
                self._fragments.begin(rows[at], 0, int(flows[at]))
            elif judged.outcome[at, 1] == Reason.FRAGMENT:
                flows[at] = self._fragments.of(rows[at], 0) or 0    # not late: it was followed
        return flows

    def _note_local(self, judged: Judged) -> None:
        """TCP to the firewall itself, which tension never takes."""
        rows = judged.rows
        key = rows["key"]
        if self._vlan_zone:
            key = policy_lookup.zoned(key, rows["zone"])
        ends = policy_lookup.ends_of(key, rows["swapped"] ^ judged.reply)
        assert self._policies is not None
        at = policy_lookup.find(self._policies, ends)
        actions = [each.action == PolicyAction.LOCAL for each in self._policies.policies]
        local = (at >= 0) & np.array([*actions, False])[at] & (ends["protocol"] == TCP)
        self._local.update(judged.flow[local].tolist())

    def row(self) -> dict[str, Any]:
        """{sessions, same (really taken too), established, active (idle < 1 s), idle: {...}}."""
        return {"sessions": self.sessions, "same": self.same, "established": self.established,
                "active": self.idle["below_1s"], "idle": dict(self.idle)}


def _moments(blocks: Iterable[NDArray[Any]]) -> list[tuple[Any, ...]]:
    """[(packet, time, [(flow, last seen, state, made by that packet, cause)])], in order."""
    found: list[tuple[Any, ...]] = []
    for rows in blocks:
        made_now = rows["created_packet"] == rows["ended_packet"]
        columns = [rows[name].tolist() for name in (
            "ended_packet", "ended_ns", "flow", "last_seen_ns", "state", "cause")]
        for packet, ended_ns, flow, seen_ns, state, cause, now in zip(
                *columns, made_now.tolist(), strict=True):
            if not found or found[-1][:2] != (packet, ended_ns):
                found.append((packet, ended_ns, []))
            found[-1][2].append((flow, seen_ns, state, now, cause))
    return found
