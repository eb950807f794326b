"""Engine: fast path, machines, gate and events. The class people embed.

    settings -> FastPath          process(chunk): run ... stop ... settle ... run
                  |  ^
            stop  |  | gate row, quiet intervals
                  v  |
       machines -> latch, IPS, warning -> gate row -> idledrop rounds -> events

The fast path stops when a gauge has left its quiet interval or a round of idledrop is due;
``settle`` lets the machines decide, to a fixpoint, and applies what follows. Nothing here happens
per chunk or per call, so that no division of the packets changes a result.

Laws: see ``laws``. An engine has one user at a time; several share nothing. What may come at any
time, a handler's exception or a call from elsewhere, comes between decisions and not within one:
``@exclusive`` keeps others out, ``@undivided`` makes signals wait.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fwcore import conserve, counters, failopen, policy
from fwcore._fastpath import (
    CONFIG_DTYPE,
    GATE_DTYPE,
    STOPPED_AT_TICK,
    STOPPED_BY_PACKET,
    TIMEOUTS,
    EndCause,
    Exposure,
    FastPath,
    Gauge,
    Midstream,
    Reason,
    TcpState,
    Tracker,
    Use,
    Verdict,
    WhenFull,
    exclusive,
    memory_plan,
    record,
    undivided,
)
from fwcore.errors import ConfigFrozen, FlowError, LawBroken, SettingsError
from fwcore.events import Event, EventLog, Transition
from fwcore.policy_layout import compile_policies, lay_out
from fwcore.settings import Settings, load
from fwcore.units import SECOND_NS, pages_of, to_ns
from fwcore.words import ICMP, ICMPV6, MODES, OWNERS, protocol_number

OPEN = (-1, 1 << 62)
EXTREME_FLAP_NS = 60 * SECOND_NS  # an entry this soon after the exit is a flap (semantics 8) [D]
TABLE_FULL_LEFT_PERCENT = 90      # the table is no longer full below this [D]
HOSTS_IN_SNAPSHOT = 10
SNAPSHOTS_WITH_HOSTS = 100        # transitions that keep their top hosts
# Settings whose figures are memory taken at the start: they change by restart() only.
FIXED = frozenset((
    "personality", "ram_bytes", "base_bytes", "accounting", "session_bytes", "max_connections",
    "licence_connections", "buckets", "when_full", "zone", "tracker", "sweep_s",
    "ipsec_max_tunnels",
    "licence_tunnels", "tunnel_base_bytes", "tunnel_bytes_per_connection", "machine", "seed",
    "model_bytes", "proxy_session_bytes", "shm_limit_bytes", "fragments_max", "victims_max",
    "transitions_max", "events_max", "timeline_interval_s", "policies", "pressure", "base_items",
))
RESTARTABLE = frozenset(("max_connections", "ipsec_max_tunnels"))


def splitmix64(seed: int, count: int) -> list[int]:
    """The first ``count`` numbers of the splitmix64 stream (Steele, Lea, Flood 2014)."""
    mask = (1 << 64) - 1
    numbers = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        numbers.append(z ^ (z >> 31))
    return numbers


# --- settings to what the fast path reads --------------------------------------------------------


def _config(settings: Settings, seed: int, log: bool | str) -> dict[str, Any]:
    """The numbers of ``config_t``, by its names."""
    drop, forward = int(Verdict.DROP), int(Verdict.FORWARD)
    slab = settings.accounting == "slab"
    timeouts = settings.timeouts.as_ns()
    # TCP that was never answered has no more than TCP.
    timeouts["tcp_unanswered"] = min(timeouts["tcp_unanswered"], timeouts["tcp"])
    nths = [row["fail_nth"] for row in settings.pressure if "fail_nth" in row]
    everys = [row["fail_every"] for row in settings.pressure if "fail_every" in row]
    return {
        "timeout_ns": [timeouts[name] for name in TIMEOUTS],
        "ports_decide": int(settings.midstream_initiator == "ports"),
        "invalid_verdict": drop if settings.invalid == "drop" else forward,
        "midstream": int(Midstream[settings.midstream.upper()]),
        "midstream_grace_ns": settings.midstream_grace_ns,
        "half_open_limit": settings.half_open_limit,
        "sessions_per_host": settings.sessions_per_host,
        "proxy_max_sessions": settings.proxy_max_sessions,
        "proxy_session_pages": settings.proxy_session_pages,
        "cache_limit_pages": settings.cache_limit_pages,
        "oversize_bytes": settings.oversize_bytes,
        "ips_socket_bytes": settings.ips_socket_bytes,
        "ips_throughput_bps": settings.ips_throughput_bps,
        "idledrop_idle_ns":
            settings.idledrop_idle_ns if settings.idledrop_variant == "idle" else 0,
        "non_ip_verdict": drop if settings.non_ip == "drop" else forward,
        "orphan_verdict": drop if settings.orphan_fragments == "drop" else forward,
        "seeds": splitmix64(seed, 6),
        "max_connections": settings.max_connections,
        "buckets": settings.buckets,
        "sweep_ns": settings.sweep_ns,
        "timeline_ns": settings.timeline_interval_ns,
        "total_pages": settings.total_pages,
        "base_pages": settings.base_pages,
        "sessions_per_page": settings.sessions_per_page if slab else 0,
        "pages_per_session": settings.pages_per_session if slab else 0,
        "preallocated_pages": settings.preallocated_pages,
        "preallocated": int(not slab),
        "fragments_max": settings.fragments_max,
        "victims_max": settings.victims_max,
        "when_full": int(WhenFull[settings.when_full.upper()]),
        "zone": int(settings.zone == "vlan"),
        "tracker": int(Tracker[settings.tracker.upper()]),
        "log": 2 if log == "victims" else int(log),
        "fail_nth": nths, "fail_nths": len(nths),
        "fail_every": everys, "fail_everys": len(everys),
    }


def _script(settings: Settings) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Steps (time_ns, owner, pages) by time, and leaks (time_ns, owner, bytes a second)."""
    owner = {name: number for number, name in enumerate(OWNERS)}
    steps, leaks = [], []
    for row in settings.pressure:
        at_ns = to_ns(row.get("at_s", 0))
        if "add_bytes" in row:
            steps.append((at_ns, owner[row.get("owner", "base")], pages_of(row["add_bytes"])))
        elif "leak_bytes_per_s" in row:
            leaks.append((at_ns, owner[row.get("owner", "base")], int(row["leak_bytes_per_s"])))
    return sorted(steps, key=lambda step: step[0]), leaks


def _check_room(config: dict[str, Any]) -> None:
    """Raises SettingsError when this machine has less memory than the table takes."""
    need = sum(memory_plan(config).values())
    try:
        there = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        there = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    if need > there:
        raise SettingsError(
            f"max_connections = {config['max_connections']}: fwcore's own table needs {need} bytes,"
            f" this machine has {there} available; choose fewer connections or buckets"
        )


class Engine:
    """One firewall: settings in, packets through, verdicts and events out.

    ``settings``: a ``Settings`` (``fwcore.load``), or None for personality ``plain`` with
    ``overrides`` as keyword arguments. ``policies``: rows as in a settings file, instead of the
    settings' own. ``log``: keep every ended session for ``collect_ended``, or with "victims" those
    that were evicted, taken by tension or killed; none is forgotten. A seed of None draws a
    random one: hash flooding needs the secret, and then two runs place sessions differently.
    ``group``: packets whose memory accesses overlap, 1 to 64; no outcome depends on it.

    One user at a time: a call while another thread, or one of this thread, is within the engine
    raises EngineBusy, one after ``close`` EngineClosed. ``mode``, ``settings``, ``events`` and
    ``transitions`` may be read at any time.

    Raises SettingsError; MemoryError when the table cannot be had.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        policies: Sequence[Any] | None = None,
        log: bool | Literal["victims"] = False,
        group: int = 32,
        **overrides: Any,
    ) -> None:
        self.settings = load(**overrides) if settings is None else settings
        if settings is not None and overrides:
            self.settings = settings.replace(**overrides)
        if not isinstance(self.settings, Settings):
            raise SettingsError(
                f"settings: {type(settings).__name__} is none; load them: fwcore.load(...)")
        if isinstance(group, bool) or not isinstance(group, int) or not 1 <= group <= 64:
            raise SettingsError(f"group: {group!r} is not in 1..64")
        rows = self.settings.policies if policies is None else policies
        self._ruled = bool(rows)
        self.policies = policy.parse(rows)
        if len(self.policies) > 65535:
            raise SettingsError(f"policies: {len(self.policies)}; allowed: 65535")
        seed = self.settings.seed
        self.seed = secrets.randbits(64) if seed is None else seed
        self._log, self._group = log, group
        self.transitions: EventLog[Transition] = EventLog(self.settings.transitions_max)
        self.events: EventLog[Event] = EventLog(self.settings.events_max)
        self.flaps = 0
        self.mode_ns: dict[str, int] = dict.fromkeys(MODES, 0)
        self.idledrop_hosts: dict[tuple[int, int], int] = {}
        self._use = Use()
        self._outcome = np.zeros(0, dtype=np.uint16)
        self._begun = False
        self._ended: list[NDArray[Any]] = []
        self._prepare()
        self._build()

    # --- building ---

    def _prepare(self) -> None:
        """What follows from settings and policies alone."""
        self._proxy_policies = policy.has_proxy(self.policies)
        self.machines = conserve.machines(self.settings, proxy_policies=self._proxy_policies)
        self.thresholds = {machine.name: machine.thresholds() for machine in self.machines}
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

    def _build(self) -> None:
        config = _config(self.settings, self.seed, self._log)
        _check_room(config)
        self.fastpath = FastPath(
            record(CONFIG_DTYPE, config), *_script(self.settings), group=self._group)
        table = compile_policies(self.policies) if self._ruled else None
        self.fastpath.set_policies(lay_out(table) if table is not None else None)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the table's memory back; figures read before stay valid, a second call is fine.

        Raises EngineBusy while somebody is within.
        """
        if self._use.close():
            self.fastpath.close()

    # --- packets ---

    @exclusive
    def process(
        self, chunk: Any, flow: NDArray[np.uint64] | None = None,
        reply: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Judges a chunk of n frames; uint8[n, 2]: Verdict, Reason.

        ``flow``: uint64[n], written: the packet's flow (keyed hash), 0 without a key. ``reply``:
        uint8[n], written: 1 where the sender is the session's responder, or would be. Raises
        FrameError, and judges nothing, where the chunk is none. An exception of a signal's handler
        (Ctrl-C) comes between packets and says in a note how many were judged; see ``judged``.
        """
        return self._process(chunk, flow, reply)

    @property
    def judged(self) -> NDArray[np.uint8]:
        """Outcomes of the chunk that came last, as far as it was judged: uint8[n, 2], a copy.

        That is all of it, unless an exception came through ``process``.
        """
        done = self._outcome[: self.fastpath.position].copy()
        return done.view(np.uint8).reshape(-1, 2)

    def _process(
        self, chunk: Any, flow: NDArray[np.uint64] | None = None,
        reply: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        self._answer()
        outcome = np.zeros(len(getattr(chunk, "offset", ())), dtype=np.uint16)
        self.fastpath.load(chunk, outcome, flow, reply)
        self._outcome = outcome
        try:
            if len(outcome) and not self._begun:
                self._begin(int(chunk.time_ns[0]))
            while self.fastpath.run() or self._log:
                if self._answer():
                    break
        except BaseException as error:
            self._answer()
            done, count = self.fastpath.position, len(outcome)
            error.add_note(
                f"fwcore: {done} of the {count} packets of this chunk were judged; Engine.judged"
                f" has their outcomes, chunk.slice({done}, {count}) is the rest")
            raise
        return outcome.view(np.uint8).reshape(-1, 2)

    @exclusive
    def advance(self, now_ns: int) -> None:
        """Lets time pass without a packet: what is due up to ``now_ns`` happens (capture time, ns).

        For live traffic, and before looking in. What happens has cause ``time`` and the number of
        the last packet; a packet older than ``now_ns`` that comes later is judged at ``now_ns``
        and counted in ``time_reversed``. A time that has passed already, and any before the first
        packet, does nothing. Raises DataError for a time outside 0..2**62.
        """
        self._answer()
        while self._begun and self.fastpath.advance(now_ns):
            self._answer()
        self._answer()

    @undivided
    def _begin(self, time_ns: int) -> None:
        self._begun = True
        self.fastpath.begin(time_ns)
        self._mode_since = self.fastpath.now_ns
        self._settle("start", 0)

    @undivided
    def _answer(self) -> bool:
        """What the loop came back for; whether the chunk is at its end.

        A stop that an exception kept from being answered is answered by whoever comes next.
        """
        if self._log:
            self._collect()
        stop = self.fastpath.stopped
        if stop:
            cause = "packet" if stop & STOPPED_BY_PACKET else "time"
            self._settle(cause, self.fastpath.packet, tick=bool(stop & STOPPED_AT_TICK))
        return self.fastpath.at_end

    @exclusive
    def process_frames(
        self,
        frames: Sequence[bytes],
        times_ns: Sequence[int],
        lengths: Sequence[int] | None = None,
        link: int = 1,
    ) -> NDArray[np.uint8]:
        """Judges frames given as bytes; uint8[n, 2]: Verdict, Reason.

        ``times_ns``: capture times, integers; ``lengths``: on the wire where frames are cut.
        Raises FrameError, as ``Chunk.from_frames`` does, naming the frame.
        """
        from fwcore.capture import Chunk  # only who brings frames needs it

        return self._process(Chunk.from_frames(frames, times_ns, lengths=lengths, link=link))

    # --- the control plane ---

    def _snapshot(self, gauges: tuple[int, ...]) -> conserve.Snapshot:
        return conserve.Snapshot(
            total_pages=self.settings.total_pages, used_pages=gauges[0], cache_pages=gauges[6],
            free_pages=gauges[1], shm_pages=gauges[2], proxy_sessions=gauges[3])

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
        now_ns = gauges[7]
        left_off = latched = changed = False
        for machine in self.machines:
            mode = self.modes[machine.name]
            for after in machine.settle(mode, snapshot):
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
            kept = {"sessions": self.fastpath.live, "hosts": self._top_hosts(HOSTS_IN_SNAPSHOT),
                    "memory": dict(zip(OWNERS, self.fastpath.owners(), strict=True))}
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

    def _note_states(
        self, packet: int, gauges: tuple[int, ...], snapshot: conserve.Snapshot,
    ) -> None:
        """IPS fail state, low memory warning, full table: events where they change."""
        now_ns = gauges[7]
        fail = failopen.ips_fail_state(
            self.modes, bool(gauges[5]), self.settings, proxy_policies=self._proxy_policies)
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
        if self._full_since is None and gauges[4] >= limit:
            self._full_since = now_ns
            self._full_before = self._full_counts()
            self._full_followed = {}
            self.events.append(Event("table_full", packet, now_ns, followed=self._full_followed))
        elif self._full_since is not None and gauges[4] <= self._full_left():
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

    def _apply(self, gauges: tuple[int, ...], snapshot: conserve.Snapshot) -> None:
        """The gate row and the quiet intervals that go with the present state."""
        quiets = [machine.quiet(self.modes[machine.name], snapshot) for machine in self.machines]
        if self._warning is not None:
            quiets.append(self._warning.quiet(self.low_memory, snapshot))
        if self._full_since is None:
            quiets.append({Gauge.LIVE_SESSIONS: (-1, self.settings.max_connections)})
        else:
            quiets.append({Gauge.LIVE_SESSIONS: (self._full_left(), OPEN[1])})
        quiets.append({Gauge.IPS_FULL: (0, 2) if gauges[5] else (-1, 1)})
        armed = conserve.intersect(quiets)
        low = [-1] * len(Gauge)
        high = [OPEN[1]] * len(Gauge)
        for gauge, (below, above) in armed.items():
            low[gauge], high[gauge] = below, above
        row = failopen.gate_row(
            self.modes, self.latch, self.ips_fail, self.settings,
            proxy_policies=self._proxy_policies)
        self.row = row
        self.fastpath.apply(record(GATE_DTYPE, row._asdict() | {
            "low": low, "high": high, "idledrop": self._idledrop_active(),
            "mode": MODES.index(self.mode)}))

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
                int(seen_ns.min()) + self.settings.idledrop_idle_ns if len(seen_ns) else OPEN[1])
        if dropped:
            self.events.append(Event(
                "idledrop", packet, self.fastpath.now_ns,
                figures={"hosts": dropped_hosts, "sessions": dropped}))

    # --- control while running ---

    @exclusive
    @undivided
    def configure(self, **changes: Any) -> Settings:
        """Changes settings while running; the new settings, validated as a whole.

        Raises ConfigFrozen while a mode is on and ``config_freeze`` is set, SettingsError for
        figures that are memory taken at the start (``restart`` changes those). A refused change
        leaves the old settings whole. What the machines make of it is noted with the last packet
        and cause ``packet``: the next one sees the new gate.
        """
        frozen = self.settings.config_freeze and self.mode != "off"
        if frozen:
            raise ConfigFrozen(
                f"{', '.join(changes)}: the configuration is frozen in conserve mode"
                f" (config_freeze of {self.settings.personality}); wait until it is left")
        fixed = sorted(FIXED & changes.keys())
        if fixed:
            raise SettingsError(self._fixed_text(fixed))
        new = self.settings.replace(**changes)
        released = self.latch and new.av_failopen != self.settings.av_failopen
        self._answer()
        self.settings = new
        self.fastpath.set_soft(record(CONFIG_DTYPE, _config(new, self.seed, self._log)))
        self.machines = conserve.machines(new, proxy_policies=self._proxy_policies)
        self.thresholds = {machine.name: machine.thresholds() for machine in self.machines}
        packet, now_ns = self.fastpath.packet, self.fastpath.now_ns
        if released:
            self.latch = False
            self.events.append(Event("one_shot_released", packet, now_ns))
        self.events.append(Event("configured", packet, now_ns))
        if self._begun:
            self._settle("packet", packet)
        return new

    def _fixed_text(self, names: Sequence[str]) -> str:
        """Why a change needs a restart, and what that does."""
        live = self.fastpath.live
        listed = ", ".join(names)
        if RESTARTABLE.issuperset(names):
            return (
                f"{listed}: memory for connections and tunnels is taken at start; this needs"
                f" restart({listed}=...), which tears all {live} sessions down: do it out of"
                " hours or in a maintenance window")
        return f"{listed}: fixed when an engine is made; make a new Engine with these settings"

    @exclusive
    @undivided
    def restart(self, **changes: Any) -> int:
        """Restarts the firewall with changes: every session is torn down (``cleared``).

        The only way to another ``max_connections`` or ``ipsec_max_tunnels`` [C]. Counters, events
        and the outcome go on. Returns how many sessions were torn down. Before anything is done
        it raises SettingsError when the new settings are not allowed, and MemoryError when their
        table cannot be had.
        """
        fixed = sorted((FIXED - RESTARTABLE) & changes.keys())
        if fixed:
            raise SettingsError(self._fixed_text(fixed))
        new = self.settings.replace(**changes)
        config = _config(new, self.seed, self._log)
        _check_room(config)
        self._answer()
        self._check_pages(config, ", ".join(sorted(changes)))
        table = self.fastpath.prepare(record(CONFIG_DTYPE, config))
        cleared = self._clear()
        packet, now_ns = self.fastpath.packet, self.fastpath.now_ns
        self.settings = new
        if self.latch:
            self.latch = False
            self.events.append(Event("one_shot_released", packet, now_ns))
        self.fastpath.rebuild(table)
        modes = self.modes
        self.machines = conserve.machines(new, proxy_policies=self._proxy_policies)
        self.thresholds = {machine.name: machine.thresholds() for machine in self.machines}
        self.modes = {machine.name: modes.get(machine.name, "off") for machine in self.machines}
        self.events.append(Event("restarted", packet, now_ns, figures={"sessions": cleared}))
        if self._begun:
            self._settle("packet", packet)
        return cleared

    def _check_pages(self, config: dict[str, Any], names: str) -> None:
        """SettingsError where a new table does not fit beside what outlives every session.

        That is the base, what the pressure script holds, and the cache, to which the buffers of
        the sessions go.
        """
        base, _, shm, cache = self.fastpath.owners()
        base = max(0, base + config["base_pages"] - self.settings.base_pages)
        scripted = self.fastpath.counters()["script_shm"]
        limit = max(cache, config["cache_limit_pages"])
        held = base + scripted + min(limit, cache + shm - scripted)
        need, total = config["preallocated_pages"], config["total_pages"]
        if held + need > total:
            raise SettingsError(
                f"{names}: the new table takes {need} of {total} pages, and {held} are held by"
                " base, pressure script and cache; choose fewer connections, or wait")

    @exclusive
    @undivided
    def clear(self) -> int:
        """Ends every session (``cleared``), oldest first; how many."""
        self._answer()
        return self._clear()

    def _clear(self) -> int:
        numbers, _, _ = self.fastpath.live_sessions()
        self.fastpath.end_sessions(numbers, int(EndCause.CLEARED))
        if self._log:
            self._collect()
        if self._begun and len(numbers):
            self._settle("packet", self.fastpath.packet)
        return len(numbers)

    # --- looking in ---

    @property
    def mode(self) -> str:
        """The worst mode of any machine: off, on, extreme."""
        return max(self.modes.values(), key=MODES.index, default="off")

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
    def sessions(self) -> NDArray[Any]:
        """Every live session, in order of creation: a structured array, a copy.

        Fields as ``session_row_t``: addresses uint8[16] in network order (IPv4 in the first
        four), ports, policy id, state (TcpState), times in ns, packets and bytes (forward, reply).
        """
        return self.fastpath.live_sessions()[1]

    @exclusive
    def lookup(
        self, source: str, source_port: int, destination: str, destination_port: int,
        protocol: str | int = "tcp", zone: int = 0,
    ) -> Any | None:
        """The session of a 5-tuple, in either direction, or None. A row of ``sessions``."""
        return self.fastpath.find(
            flow_key(source, source_port, destination, destination_port, protocol, zone))

    @exclusive
    def victims(self) -> NDArray[Any]:
        """The victim ledger, oldest first: sessions evicted, taken by tension, or killed."""
        return self.fastpath.victims()

    @exclusive
    @undivided
    def collect_ended(self) -> Iterable[NDArray[Any]]:
        """Sessions that ended since the last call (see ``log``), in order, by blocks."""
        ended, self._ended = self._ended, []
        return ended

    def _collect(self) -> None:
        rows = self.fastpath.collect_log()
        if len(rows):
            self._ended.append(rows)

    @exclusive
    def top_hosts(self, count: int = HOSTS_IN_SNAPSHOT) -> list[dict[str, Any]]:
        """Initiators with most live sessions: [{host, sessions}]."""
        return self._top_hosts(count)

    def _top_hosts(self, count: int) -> list[dict[str, Any]]:
        return [
            {"host": counters.address_text(high << 64 | low, family), "sessions": live}
            for high, low, live, family in self.fastpath.hosts(count).tolist()]

    @exclusive
    def event_rows(self) -> list[dict[str, Any]]:
        """Every event kept, in the result's form: figures and the vendor's text."""
        self._note_full()
        return [each.to_result(self.settings, self.thresholds) for each in self.events]

    @exclusive
    def counters(self) -> dict[str, Any]:
        """Every counter by name, integers only: what the outcome is made from."""
        return counters.counters(self)

    @exclusive
    def outcome(self) -> str:
        """The digest of everything that happened: "1:" and 32 hex digits (semantics 2)."""
        packets, victims = self.fastpath.digests()
        story = {
            "transitions": self.transitions.to_dicts(), "events": self.events.to_dicts(),
            "counters": counters.counters(self),
        }
        text = json.dumps(story, sort_keys=True, separators=(",", ":"))
        digest = hashlib.blake2b(packets + victims + text.encode("ascii"), digest_size=16)
        return "1:" + digest.hexdigest()

    @exclusive
    def laws(self) -> dict[str, bool]:
        """Each law of semantics 12 and whether it holds; two independent sources each."""
        return counters.laws(self)

    def check_laws(self) -> dict[str, bool]:
        """The same; raises LawBroken when one does not hold."""
        found = self.laws()
        broken = [name for name, holds in found.items() if not holds]
        if broken:
            raise LawBroken(f"broken law: {', '.join(broken)}; a defect of fwcore, please report")
        return found


# --- keys and addresses ---------------------------------------------------------------------------


def flow_key(
    source: str, source_port: int, destination: str, destination_port: int,
    protocol: str | int, zone: int = 0,
) -> tuple[int, int, int, int, int, int, int]:
    """A 5-tuple in the form ``FastPath.find`` takes.

    ``protocol``: a name or a number. Raises FlowError.
    """
    ends = [_address(source), _address(destination)]
    version = ends[0].version
    if ends[1].version != version:
        raise FlowError(f"{source} and {destination} are of different IP versions")
    try:
        number = protocol_number(protocol)
    except ValueError as error:
        raise FlowError(str(error)) from None
    if isinstance(protocol, str) and number == ICMP and version == 6:
        number = ICMPV6
    for what, value, highest in (("port", source_port, 65535), ("port", destination_port, 65535),
                                 ("zone", zone, 4095)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) \
                or not 0 <= value <= highest:
            raise FlowError(f"{what} {value!r} is not a whole number of 0..{highest}")
    return (int(ends[0]), int(ends[1]), int(source_port), int(destination_port), number,
            int(zone), version)


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise FlowError(f"{text!r} is no address, like 10.0.0.5 or 2001:db8::5") from None


def by_host(
    rows: NDArray[Any], numbers: NDArray[np.uint32], mortal: NDArray[np.bool_],
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


__all__ = ["Engine", "Exposure", "Reason", "TcpState", "Verdict", "by_host", "flow_key"]
