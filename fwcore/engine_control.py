"""The control plane of an engine: what is decided at a stop.

    stop -> machines -> latch, IPS, warning -> gate row -> idledrop rounds -> events

The fast path stops when a gauge has left its quiet interval or a round of idledrop is due;
``_settle`` lets the machines decide, to a fixpoint, and applies what follows. Nothing here happens
per chunk or per call, so that no division of the packets changes a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from fwcore import conserve, counters, failopen, policy
from fwcore._fastpath import STOPPED_AT_TICK, STOPPED_BY_PACKET, FastPath
from fwcore._layout import (
    GATE_DTYPE,
    LATEST_NS,
    MEMORY_NS,
    EndCause,
    Gauge,
    Gauges,
    Reason,
    record,
)
from fwcore._use import Use, exclusive, unclosed, undivided
from fwcore.events import Event, EventLog, Transition
from fwcore.settings import Settings
from fwcore.units import SECOND_NS
from fwcore.words import MODES, ON, OWNERS

EXTREME_FLAP_NS = 60 * SECOND_NS  # an entry this soon after the exit is a flap (semantics 8) [D]
TABLE_FULL_LEFT_PERCENT = 90      # the table is no longer full below this [D]
GATES_KEPT = 256                  # gate rows as records
HOSTS_IN_SNAPSHOT = 10
SNAPSHOTS_WITH_HOSTS = 100        # transitions that keep their top hosts


Method = TypeVar("Method", bound=Callable[..., Any])


def told(method: Method) -> Method:
    """A method after which those are told who listen: when its deed is whole."""
    @wraps(method)
    def then(self: Control, /, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        self._tell()
        return result

    return cast(Method, then)


class Control:
    """The part of an engine that decides. Its fields may be read at any time."""

    fastpath: FastPath

    def __init__(
        self, settings: Settings, policies: tuple[policy.Policy, ...], log: bool | str,
    ) -> None:
        self.settings = settings
        self.policies = policies
        self._log = log
        self.transitions: EventLog[Transition] = EventLog(settings.transitions_max)
        self.events: EventLog[Event] = EventLog(settings.events_max)
        self.flaps = 0
        self.mode_ns: dict[str, int] = dict.fromkeys(MODES, 0)
        self.idledrop_hosts: dict[tuple[int, int], int] = {}
        self.forced: str | None = None      # the mode that the operator holds, see ``force``
        self._ended: list[NDArray[np.void]] = []
        self._keep = self._watch = False    # departures; arrivals
        self._left: list[NDArray[np.void]] = []
        self._came: list[NDArray[np.void]] = []
        self._heard: list[NDArray[np.void]] | None = None   # departures that are yet to be told
        self._left_before = 0               # departures that were seen
        self._ended_before = 0              # sessions that were taken out of it
        self._use = Use()
        self._begun = False
        self._begun_ns = 0
        self._proxy_policies = policy.has_proxy(policies)
        self._set_machines()
        self.modes = {machine.name: "off" for machine in self.machines}
        self.latch = False
        self.ips_fail = False
        self.low_memory = False
        self._warning = conserve.LowMemoryWarning() if self.settings.machine == "none" else None
        self._full_since: int | None = None
        self._full_before = (0, 0)
        self._full_followed: dict[str, int] = {}
        self._left_extreme_ns: int | None = None
        self._mode = "off"
        self._mode_since: int | None = None

    def _set_machines(self) -> None:
        """The machines that the settings ask for, and their levels."""
        self.machines = conserve.machines(self.settings, proxy_policies=self._proxy_policies)
        self.thresholds = {machine.name: machine.thresholds() for machine in self.machines}

    @property
    @unclosed
    def mode(self) -> str:
        """The worst mode of any machine: off, on, extreme."""
        return max(self.modes.values(), key=MODES.index, default="off")

    @property
    @unclosed
    def begun_ns(self) -> int:
        """Time of the first packet, ns; 0 before it."""
        return self._begun_ns

    @exclusive
    def mode_times_ns(self) -> dict[str, int]:
        """Capture time spent in each mode (the worst of any machine) up to now, ns."""
        spent = dict(self.mode_ns)
        if self._mode_since is not None:
            spent[self._mode] += self.fastpath.now_ns - self._mode_since
        return spent

    @property
    @exclusive
    def label(self) -> str:
        """The mode as the device shows it (with ``freeable``)."""
        snapshot = self._snapshot(self.fastpath.gauges())
        for machine in self.machines:
            if machine.name == "unified":
                return machine.label(self.modes["unified"], snapshot)
        return self.mode

    @exclusive
    def event_rows(self) -> list[dict[str, Any]]:
        """Every event kept, in the result's form: figures and the vendor's text."""
        self._note_full()
        return [each.to_result(self.settings, self.thresholds) for each in self.events]

    @undivided
    def _begin(self, time_ns: int) -> None:
        self.fastpath.begin(time_ns)     # which may refuse the time
        self._begun = True
        self._mode_since = self._begun_ns = self.fastpath.now_ns
        self._settle("start", 0)

    @undivided
    def _resume(self, time_ns: int) -> None:
        """After a restart the clock takes the next packet's time, also an earlier one."""
        now_ns = self.fastpath.now_ns
        if self.fastpath.resume(time_ns):
            self._move_times(now_ns, time_ns)

    @undivided
    def _answer(self) -> bool:
        """What the loop came back for; whether the chunk is at its end.

        A stop that an exception kept from being answered is answered by whoever comes next.
        """
        if self._log:
            self._collect()
        self._collect_left()
        stop = self.fastpath.stopped
        if stop:
            cause = "packet" if stop & STOPPED_BY_PACKET else "time"
            self._settle(cause, self.fastpath.packet, tick=bool(stop & STOPPED_AT_TICK))
        return self.fastpath.at_end

    def _tell(self) -> None:
        """Those who are asked or listen are told here; nobody does."""

    def _by_hand(self) -> None:
        """What follows from what was done by hand: noted with the last packet, cause ``packet``."""
        if self._log:
            self._collect()
        self._collect_left()
        if self._begun:
            self._settle("packet", self.fastpath.packet)

    def _snapshot(self, gauges: Gauges) -> conserve.Snapshot:
        return conserve.Snapshot(
            total_pages=self.settings.total_pages, used_pages=gauges.used_pages,
            cache_pages=gauges.cache_pages,
            free_pages=gauges.free_pages, shm_pages=gauges.shm_pages,
            proxy_sessions=gauges.proxy_sessions)

    def _settle(self, cause: str, packet: int, tick: bool = False) -> None:
        """What follows at a stop: machines, latch, IPS, warnings, gate row, idledrop."""
        if tick and self._idledrop_active():
            self._idledrop_round(cause, packet)
            self._decide(cause, packet)
        elif self._decide(cause, packet) and self._idledrop_active():
            self._idledrop_round(cause, packet)

    def _decide(self, cause: str, packet: int) -> bool:
        """Lets the machines decide and applies the gate row; whether one of them left off."""
        gauges = self.fastpath.gauges()
        snapshot = self._snapshot(gauges)
        now_ns = gauges.now_ns
        left_off = latched = changed = False
        for machine in self.machines:
            mode = self.modes[machine.name]
            for after in self._steps(machine, mode, snapshot):
                self._note_transition(cause, packet, now_ns, machine.name, mode, after, snapshot)
                if mode == "off":
                    left_off = True
                    latched |= failopen.sets_latch(machine.name, self.settings)
                mode = after
                changed = True
            self.modes[machine.name] = mode
        if latched and not self.latch:
            self.latch = True
            self.events.append(Event("one_shot_latched", packet, now_ns))
        if changed:
            self._note_mode(now_ns)
        told = len(self.events) + self.events.forgotten
        self._note_states(packet, gauges, snapshot)
        self._apply(gauges, snapshot)
        if changed or len(self.events) + self.events.forgotten > told:
            self.fastpath.sample()  # so that what follows from an event does not show before it
        return left_off

    def _steps(
        self, machine: conserve.Machine, mode: str, snapshot: conserve.Snapshot,
    ) -> list[str]:
        """The modes that a machine passes through now: as it decides, or as it is held."""
        if self.forced is None:
            return machine.settle(mode, snapshot)
        at, to = MODES.index(mode), MODES.index(self.forced)
        if machine.name != "unified":
            to = min(to, MODES.index(ON))
        return list(MODES[at + 1:to + 1]) if to > at else [MODES[to]] * (to < at)

    def _note_transition(
        self, cause: str, packet: int, now_ns: int, machine: str, before: str, after: str,
        snapshot: conserve.Snapshot,
    ) -> None:
        if after == "extreme":
            left = self._left_extreme_ns
            self.flaps += left is not None and now_ns - left < EXTREME_FLAP_NS
        if before == "extreme":
            self._left_extreme_ns = now_ns
        kept = None
        if len(self.transitions) < SNAPSHOTS_WITH_HOSTS:
            queues = self.fastpath.queue_pages[0]
            kept = {"sessions": self.fastpath.live, "hosts": self._top_hosts(HOSTS_IN_SNAPSHOT),
                    "memory": dict(zip(OWNERS, self.fastpath.owners(), strict=True))
                    | ({"queues": queues} if queues else {})}
        transition = Transition(
            packet, now_ns, cause, machine, before, after, snapshot.used_pages,
            snapshot.cache_pages, snapshot.free_pages, kept)
        self.transitions.append(transition)
        self.events.append(transition.to_event(snapshot))

    def _note_mode(self, now_ns: int) -> None:
        """Time spent in the worst mode of any machine."""
        since = self._mode_since
        if since is not None:
            self.mode_ns[self._mode] += now_ns - since
        self._mode_since = now_ns
        self._mode = self.mode

    def _move_times(self, now_ns: int, to_ns: int) -> None:
        """The clock was set back: what is noted stays as long ago."""
        self._note_mode(now_ns)
        self._mode_since = to_ns
        if self._full_since is not None:
            self._full_since = to_ns - min(now_ns - self._full_since, MEMORY_NS)
        if self._left_extreme_ns is not None:
            self._left_extreme_ns = to_ns - min(now_ns - self._left_extreme_ns, MEMORY_NS)

    def _note_states(
        self, packet: int, gauges: Gauges, snapshot: conserve.Snapshot,
    ) -> None:
        """IPS fail state, low memory warning, full table: events where they change."""
        now_ns = gauges.now_ns
        fail = failopen.ips_fail_state(
            self.modes, bool(gauges.ips_full), self.settings, proxy_policies=self._proxy_policies)
        if fail != self.ips_fail:
            self.ips_fail = fail
            kind = "ips_fail_open_entered" if fail else "ips_fail_open_left"
            self.events.append(Event(kind, packet, now_ns))
        if self._warning is not None:
            for low in self._warning.settle(self.low_memory, snapshot):
                self.low_memory = low
                kind = "memory_warning" if low else "memory_warning_cleared"
                self.events.append(Event(kind, packet, now_ns, snapshot=snapshot))
        limit = self.settings.max_connections
        if self._full_since is None and gauges.live_sessions >= limit:
            self._full_since = now_ns
            self._full_before = self._full_counts()
            self._full_followed = {}
            self.events.append(Event("table_full", packet, now_ns, followed=self._full_followed))
        elif self._full_since is not None and gauges.live_sessions <= self._full_left():
            self.events.append(Event(
                "table_full_ended", packet, now_ns,
                figures={"duration_ns": now_ns - self._full_since}))
            self._note_full()
            self._full_since = None

    def _full_counts(self) -> tuple[int, int]:
        """Packets refused for want of a record, and sessions evicted for one, so far."""
        refused = self.fastpath.outcome_counts()[:, Reason.TABLE_FULL].sum()
        return int(refused), int(self.fastpath.counters()["ended"][EndCause.EVICTED])

    def _note_full(self) -> None:
        """What came of the full table up to now, for the text of its event."""
        if self._full_since is not None:
            refused, evicted = self._full_counts()
            before = self._full_before
            self._full_followed.update(refused=refused - before[0], evicted=evicted - before[1])

    def _full_left(self) -> int:
        return self.settings.max_connections * TABLE_FULL_LEFT_PERCENT // 100

    def _apply(self, gauges: Gauges, snapshot: conserve.Snapshot) -> None:
        """The gate row and the quiet intervals that go with the present state."""
        quiets = [machine.quiet(self.modes[machine.name], snapshot) for machine in self.machines
                  if self.forced is None]
        if self._warning is not None:
            quiets.append(self._warning.quiet(self.low_memory, snapshot))
        if self._full_since is None:
            quiets.append({Gauge.LIVE_SESSIONS: (-1, self.settings.max_connections)})
        else:
            quiets.append({Gauge.LIVE_SESSIONS: (self._full_left(), conserve.OPEN_HIGH)})
        quiets.append({Gauge.IPS_FULL: (0, 2) if gauges.ips_full else (-1, 1)})
        armed = conserve.intersect(quiets)
        row = failopen.gate_row(
            self.modes, self.latch, self.ips_fail, self.settings,
            proxy_policies=self._proxy_policies)
        self.row = row
        self.fastpath.apply(_gate(
            row, tuple(armed.items()), self._idledrop_active(), MODES.index(self.mode)))

    def _idledrop_active(self) -> bool:
        return failopen.idledrop_active(
            self.modes, self.settings, proxy_policies=self._proxy_policies)

    def _idledrop_round(self, cause: str, packet: int) -> None:
        """Ends the sessions of the host that has most, then of the next, until the mode is left.

        Counts are taken once, by one scan; the machines are asked after each host [H].
        """
        numbers, rows, protected = self.fastpath.live_sessions()
        mortal = protected == 0
        busy = np.zeros_like(mortal)
        if self.settings.idledrop_variant == "idle":
            idle_ns = self.fastpath.now_ns - rows["last_seen_ns"]
            busy = mortal & (idle_ns < self.settings.idledrop_idle_ns)
            mortal &= ~busy
        dropped_hosts = dropped = 0
        for host, records in by_host(rows, numbers, mortal):
            self.fastpath.end_sessions(records, int(EndCause.KILLED))
            if self._log:
                self._collect()
            dropped_hosts += 1
            dropped += len(records)
            self.idledrop_hosts[host] = self.idledrop_hosts.get(host, 0) + len(records)
            self._decide(cause, packet)
            if not self._idledrop_active():
                break
        else:
            seen_ns = rows["last_seen_ns"][busy]
            self.fastpath.rest_until(
                int(seen_ns.min()) + self.settings.idledrop_idle_ns if len(seen_ns) else LATEST_NS)
        if dropped:
            self.events.append(Event(
                "idledrop", packet, self.fastpath.now_ns,
                figures={"hosts": dropped_hosts, "sessions": dropped}))

    def _collect(self) -> None:
        rows = self.fastpath.collect_log()
        if len(rows):
            self._ended.append(rows)

    def _collect_left(self) -> None:
        """What left links, and what came to them, as far as somebody keeps it."""
        shaper = self.fastpath.shaper
        if shaper is None:
            return
        if len(rows := shaper.departures()):
            self._left_before += len(rows)
            for kept in (self._left if self._keep else None, self._heard):
                if kept is not None:
                    kept.append(rows)
        if self._watch and len(rows := shaper.arrivals()):
            self._came.append(rows)

    def _hear_departures(self, heard: bool) -> None:
        """Departures are kept until they are told, or no longer."""
        self._heard = [] if heard else None
        if heard and self.fastpath.shaper is not None:
            self.fastpath.shaper.keep()

    def _gathers(self) -> bool:
        """Whether rows have to be taken from the fast path while it runs."""
        return bool(self._log or self._keep or self._watch or self._heard is not None)

    def _top_hosts(self, count: int) -> list[dict[str, Any]]:
        return [
            {"host": counters.address_text(high << 64 | low, family), "sessions": live}
            for high, low, live, family in self.fastpath.hosts(count).tolist()]


@lru_cache(maxsize=GATES_KEPT)
def _gate(
    row: failopen.GateRow, armed: tuple[tuple[Gauge, tuple[int, int]], ...], idledrop: bool,
    mode: int,
) -> NDArray[Any]:
    """A gate row and its quiet intervals as the fast path takes them, which copies it: a machine
    that goes to and fro has two."""
    low = [-1] * len(Gauge)
    high = [conserve.OPEN_HIGH] * len(Gauge)
    for gauge, (below, above) in armed:
        low[gauge], high[gauge] = below, above
    made = record(GATE_DTYPE, row._asdict() | {
        "low": low, "high": high, "idledrop": idledrop, "mode": mode})
    made.flags.writeable = False
    return made


def by_host(
    rows: NDArray[np.void], numbers: NDArray[np.uint32], mortal: NDArray[np.bool_],
) -> Iterator[tuple[tuple[int, int], NDArray[np.uint32]]]:
    """Initiators as (address, family) with their mortal sessions, in order of creation.

    Hosts with most sessions first, those that are spared counted too; of equal ones the lower
    address, then IPv4. Hosts whose sessions are all spared do not come.
    """
    place, first = counters.hosts_of(rows)
    counts = np.bincount(place, minlength=len(first))
    chosen = np.flatnonzero(mortal)
    chosen = chosen[np.argsort(place[chosen], kind="stable")]
    ends = np.cumsum(np.bincount(place[chosen], minlength=len(first)))
    begins = np.concatenate([[0], ends[:-1]])
    ranked = np.argsort(-counts, kind="stable")  # hosts are numbered by address already
    for host in ranked[(ends > begins)[ranked]].tolist():
        row = rows[first[host]]
        yield counters.host_key(row), numbers[chosen[begins[host]:ends[host]]]
