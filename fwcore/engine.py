"""Engine: one firewall. The class people embed.

    settings -> FastPath          process(chunk): run ... stop ... settle ... run
    (engine_setup)|  ^
            stop  |  | gate row, quiet intervals
                  v  |
             control plane (engine_control)

Laws: see ``laws``. An engine has one user at a time; several share nothing. What may come at any
time, a handler's exception or a call from elsewhere, comes between decisions and not within one:
``@exclusive`` keeps others out, ``@undivided`` makes signals wait.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from operator import index
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from fwcore import __version__, arguments, counters, infile, policy
from fwcore._fastpath import FastPath
from fwcore._layout import CONFIG_DTYPE, SESSION_DTYPE, Reason, Verdict, record
from fwcore._pack import Packed
from fwcore._shaper import ARRIVAL_DTYPE, DEPARTURE_DTYPE
from fwcore._use import exclusive, unclosed, undivided
from fwcore.engine_control import told
from fwcore.engine_setup import (
    FIXED,
    RESTARTABLE,
    check_room,
    check_time,
    config_of,
    script_of,
    settings_of,
)
from fwcore.engine_shaping import Shaped
from fwcore.errors import (
    ConfigFrozen,
    DataError,
    FwcoreError,
    LawBroken,
    SettingsError,
    StateError,
)
from fwcore.events import Event
from fwcore.outfile import Output
from fwcore.policy_layout import compile_policies, lay_out
from fwcore.result import Result, as_html
from fwcore.settings import Settings, named

if TYPE_CHECKING:  # only who brings frames needs them
    from typing_extensions import Buffer

    from fwcore.capture import Chunk
    from fwcore.engine_state import Tables
    from fwcore.settings.keywords import EngineKeywords, PolicyKeywords


POLICIES_MAX = 65535


class Engine(Shaped):
    """One firewall: settings in, packets through, verdicts and events out.

    ``settings``: a ``Settings`` (``fwcore.load``), the name of a personality, the path of a
    settings file (``.toml``), or None for ``plain``; ``overrides`` are settings by name, as in
    ``load``. ``policies``: rows as in a settings file, instead of the
    settings' own. ``log``: keep every ended session for ``collect_ended``, or with "victims" those
    that were evicted, taken by tension or killed; none is forgotten. A seed of None draws a
    random one: hash flooding needs the secret, and then two runs place sessions differently.
    ``group``: packets whose memory accesses overlap, 1 to 64; no outcome depends on it.
    ``departures``: keep a row for each packet that a link releases or drops; ``arrivals``: one for
    each that comes to meters or links.

    One user at a time: a call while another thread, or one of this thread, is within the engine
    raises EngineBusy. ``mode``, ``settings``, ``events``, ``transitions`` and ``len`` may be read
    meanwhile. After ``close`` every method and property raises EngineClosed; what was noted,
    as ``settings``, ``policies``, ``events``, ``transitions``, stays.

    Raises SettingsError; MemoryError when the table cannot be had.
    """

    def __init__(
        self,
        settings: Settings | str | os.PathLike[str] | None = None,
        *,
        policies: Iterable[Any] | None = None,
        log: bool | Literal["victims"] = False,
        group: int = 32,
        departures: bool = False,
        arrivals: bool = False,
        **overrides: Unpack[EngineKeywords],
    ) -> None:
        settings = settings_of(settings, overrides)
        if isinstance(group, bool) or not isinstance(group, int) or not 1 <= group <= 64:
            raise SettingsError(f"group: {group!r} is not in 1..64")
        if not isinstance(log, str) or log != "victims":
            log = arguments.flag('log, where it is not "victims"', log, SettingsError)
        keep = arguments.flag("departures", departures, SettingsError)
        watch = arguments.flag("arrivals", arrivals, SettingsError)
        rows = policy.listed(settings.policies if policies is None else policies)
        parsed = policy.parse(rows)
        if len(parsed) > POLICIES_MAX:
            raise SettingsError(f"policies: {len(parsed)}; allowed: {POLICIES_MAX}")
        super().__init__(settings, parsed, log)
        self._ruled = bool(rows)
        self._rows = rows
        self._policy_ids = np.array([each.id for each in parsed], np.uint32)
        drawn = int.from_bytes(os.urandom(8), "little")
        self.seed = drawn if settings.seed is None else settings.seed
        self._group = group
        self._packed = Packed()
        self._keep, self._watch = keep, watch
        self._build()

    # --- building ---

    def _build(self) -> None:
        config = config_of(self.settings, self.seed, self._log)
        check_room(config)
        self.fastpath = FastPath(
            record(CONFIG_DTYPE, config), *script_of(self.settings), group=self._group,
            outer=self._use)
        self.fastpath.set_policies(_compiled(self.policies, self._ruled))
        if self.settings.shapes:
            self._shape(self.settings)

    @exclusive
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

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._use.closed

    # --- packets ---

    @exclusive
    def process(
        self, chunk: Chunk, flow: NDArray[np.uint64] | None = None,
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
    @unclosed
    def judged(self) -> NDArray[np.uint8]:
        """Outcomes of the chunk that came last, as far as it was judged: uint8[n, 2], a copy.

        That is all of it, unless an exception came through ``process``.
        """
        return self.fastpath.rows[: self.fastpath.position].copy()

    def _process(
        self, chunk: Chunk, flow: NDArray[np.uint64] | None = None,
        reply: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        count = len(chunk) if isinstance(chunk, Packed) else len(getattr(chunk, "offset", ()))
        return self._run(chunk, count, flow, reply)

    def _run(
        self, chunk: Any, count: int, flow: NDArray[np.uint64] | None = None,
        reply: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Loads and runs a chunk, or what was packed."""
        if self._log or self.fastpath.stopped:
            self._answer()
        rows = np.zeros((count, 2), dtype=np.uint8)
        self.fastpath.load(chunk, rows.reshape(-1).view(np.uint16), flow, reply)
        self.fastpath.rows = rows
        try:
            if count and not self._begun:
                self._begin(self.fastpath.first_ns)
            elif count and self.fastpath.resuming:
                self._resume(self.fastpath.first_ns)
            self._go_on()
        except BaseException as error:
            self._cut_short(error)
            raise
        return rows

    def _go_on(self) -> None:
        """Runs what is loaded to its end."""
        loads = self.fastpath.loads
        try:
            while self.fastpath.run() or self._gathers():
                end = self._answer()
                self._tell()
                self._still_loaded(loads)
                if end:
                    break
            self._tell()
            self._still_loaded(loads)
        finally:
            self._forget()

    def _still_loaded(self, loads: int) -> None:
        """DataError where who was asked or told let go of what is judged."""
        if self.fastpath.loads != loads:
            raise DataError(
                "engine.fastpath: load and unload are the engine's while it judges; one whom it"
                " asked or told has called them, and packets of this chunk were not judged")

    def _cut_short(self, error: BaseException) -> None:
        """What an exception says of the chunk that it came through."""
        self._answer()
        done, count = self.fastpath.position, len(self.fastpath.rows)
        error.add_note(
            f"fwcore: {done} of the {count} packets of this chunk were judged; Engine.judged"
            f" has their outcomes, chunk.slice({done}, {count}) is the rest")

    @exclusive
    def begin(self, time_ns: int) -> None:
        """Time zero (capture time, ns), for traffic that begins before the first packet to judge.

        Grace, timeline and pressure script count from it. Without this call, and in all but the
        first, it is the first packet's time. Raises DataError for a time outside 0..2**62.
        """
        check_time(time_ns)
        if not self._begun:
            self._begin(time_ns)

    @exclusive
    @told
    def advance(self, now_ns: int) -> None:
        """Lets time pass without a packet: what is due up to ``now_ns`` happens (capture time, ns).

        For live traffic, and before looking in. What happens has cause ``time`` and the number of
        the last packet; a packet older than ``now_ns`` that comes later is judged at ``now_ns``
        and counted in ``time_reversed``. A time that has passed already, and any before the first
        packet, does nothing. Raises DataError for a time outside 0..2**62.
        """
        self._advance(now_ns)

    def _advance(self, now_ns: int) -> None:
        check_time(now_ns)
        self._answer()
        while self._begun and self.fastpath.advance(now_ns):
            self._answer()
        self._answer()

    def process_frames(
        self,
        frames: Iterable[Any],
        times_ns: Iterable[int],
        lengths: Iterable[int] | None = None,
        link: int | Iterable[int] = 1,
    ) -> NDArray[np.uint8]:
        """Judges frames: bytes or whatever else has a buffer; uint8[n, 2]: Verdict, Reason.

        ``frames``: any iterable, a table uint8[n, width], or iterables of such things; copied in
        one pass. ``times_ns``: capture times, integers; ``lengths``: on the wire where frames are
        cut. Raises FrameError, and judges nothing, naming the frame.
        """
        return self.fastpath.judge_frames(self, self._packed, frames, times_ns, lengths, link)

    def _frames_slowly(self) -> NDArray[np.uint8]:
        """What ``FastPath.judge_frames`` leaves to its keeper, who is within: the first frames,
        those who listen, a log."""
        return self._run(self._packed, len(self._packed))

    def _frames_on(self) -> None:
        """The same: a stop among frames, and what comes after it."""
        end = self._answer()
        self._tell()
        if not end:
            self._go_on()

    def judge(
        self, frame: Buffer, now_ns: int, length: int | None = None, link: int = 1,
    ) -> tuple[Verdict, Reason]:
        """Judges one frame, now: (Verdict, Reason). For who has no batch; a batch costs less.

        ``now_ns``: its capture time, integer ns; ``length``: on the wire where the frame is cut.
        Raises FrameError, and judges nothing.
        """
        return self.fastpath.judge(self, frame, now_ns, length, link)

    def _judge_slowly(
        self, found: tuple[Verdict, Reason] | None, frame: Buffer, now_ns: int,
        length: int | None, link: int,
    ) -> tuple[Verdict, Reason]:
        """What ``FastPath.judge`` leaves to its keeper, who is within: the first frame, stops."""
        if not self._begun:
            self._packed_alone(frame, now_ns, length, link)
            self._begin(index(now_ns))
        elif self.fastpath.resuming:
            self._packed_alone(frame, now_ns, length, link)
            self._resume(index(now_ns))
        self._answer()
        try:
            while found is None:
                self._ask()
                found = self.fastpath.judge_on(frame, now_ns, length, link)
                self._answer()
        finally:
            self._forget()
        self._tell()
        return found

    def _packed_alone(self, frame: Buffer, now_ns: int, length: int | None, link: int) -> None:
        """FrameError where this cannot be judged: before the clock begins with it."""
        Packed().pack([frame], [now_ns], None if length is None else [length], link)

    # --- written down, and taken up again ---

    @exclusive
    @undivided
    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the engine to a file, whole or not at all; ``restore`` makes it again.

        Sessions, timers, memory, machines, meters, what waits in queues, ledgers, counters, the
        seed: what follows is the same to the digest. Functions are not saved, nor bytes that are
        gathered for an inspector: what follows is what would without it. Raises OutputError;
        StateError where policies are no plain values, and while an inspector's answers are due.
        """
        data = self._to_bytes()
        with Output(path) as output:
            output.write(data)

    @classmethod
    def restore(cls, path: str | os.PathLike[str]) -> Engine:
        """An engine as ``save`` wrote it. Reading one runs no code.

        Raises StateError for a file that is none, or damaged, or of another version; MemoryError
        when its table cannot be had.
        """
        from fwcore import engine_state as state

        try:
            data = infile.read(path, state.FILE_MOST, lambda head: head[:6] == state.MAGIC[:6])
        except OSError as error:
            raise StateError(f"{os.fspath(path)}: cannot be read: {error.strerror}") from None
        except FwcoreError as error:
            raise StateError(str(error)) from None
        try:
            return cls._from_bytes(data)
        except StateError as error:
            raise StateError(f"{os.fspath(path)}: {error}") from None

    def _finish(self) -> None:
        """Answers what waits, and ends a moment that an exception cut short.

        What an operator made due at this nanosecond still waits for the next packet.
        """
        self._answer()
        while self.fastpath.unfinished:
            self.fastpath.advance(self.fastpath.now_ns)
            self._answer()

    def _to_bytes(self) -> bytes:
        from fwcore import engine_state as state
        from fwcore.settings import saved

        self._finish()
        self.fastpath.let_leave()
        self._collect_left()
        self._check_asked()
        figures, tables = self.fastpath.state()
        tables["records"]["asked"] = tables["records"]["question"] = 0
        ended = np.concatenate([np.zeros(0, SESSION_DTYPE), *self._ended])
        gone = self._policy_ids[len(self.policies):].tolist()
        header = {
            "fwcore": __version__, "settings": saved.to_plain(self.settings), "seed": self.seed,
            "log": self._log, "departures": self._keep, "arrivals": self._watch,
            "group": self._group, "policies": [dict(row) for row in self._rows],
            "policies_gone": gone, "control": state.control_state(self), "figures": figures}
        return state.to_bytes(header, {
            **tables, "ended": ended,
            "departures": np.concatenate([np.zeros(0, DEPARTURE_DTYPE), *self._left]),
            "arrivals": np.concatenate([np.zeros(0, ARRIVAL_DTYPE), *self._came])})

    @classmethod
    def _from_bytes(cls, data: bytes) -> Engine:
        from fwcore import engine_state as state
        from fwcore.settings import saved

        header, tables = state.from_bytes(data)
        try:
            settings = saved.from_plain(header["settings"])
            engine = cls(settings.replace(seed=header["seed"]), policies=header["policies"],
                         log=header["log"], group=header["group"],
                         departures=header["departures"], arrivals=header["arrivals"])
            engine.settings = settings
            engine._take_up(header, tables)
        except MemoryError:
            raise
        except state.WRONG as error:
            raise StateError(f"not what an engine saves: {error}") from None
        broken = [name for name, holds in engine.laws().items() if not holds]
        if broken:
            raise StateError(f"not what an engine saves: broken laws {', '.join(broken)}")
        return engine

    def _take_up(self, header: dict[str, Any], tables: Tables) -> None:
        from fwcore import engine_state as state

        gone = np.array(header["policies_gone"], np.uint32)
        if len(self.policies) + len(gone) > POLICIES_MAX:
            raise StateError("more policies than there may be")
        moved = np.zeros(len(self._policy_ids), np.uint16)
        self._set_rules(self.policies, self._ruled, moved, gone)
        self._set_machines()
        state.set_control(self, header["control"])
        state.check_rows(tables["victims"])
        self._ended = [state.check_rows(tables["ended"])]
        self._left, self._came = state.check_left(tables, self._keep, self._watch)
        if len(tables["shaper"]) and self._plan is None:    # its last row went away
            self._shape(self.settings)
        self.fastpath.set_state(header["figures"], tables)
        if bool(header["figures"]["begun"]) != self._begun:
            raise StateError("the clock has begun, or has not")

    def __reduce__(self) -> tuple[Any, ...]:
        return _taken_up, (type(self), self._bytes())

    @exclusive
    @undivided
    def _bytes(self) -> bytes:
        return self._to_bytes()

    def __copy__(self) -> Engine:
        raise StateError("a copy of an engine would share its table; copy.deepcopy makes another")

    # --- control while running ---

    @exclusive
    @told
    @undivided
    def configure(self, /, **changes: Unpack[PolicyKeywords]) -> Settings:
        """Changes settings while running; the new settings, validated as a whole.

        Raises ConfigFrozen while a mode is on and ``config_freeze`` is set, SettingsError for
        figures that are memory taken at the start (``restart`` changes those). A refused change
        leaves the old settings whole. What the machines make of it is noted with the last packet
        and cause ``packet``: the next one sees the new gate. What is as it was is no change, and
        no event.
        """
        given = named(changes)
        if given and self.settings.config_freeze and self.mode != "off":
            raise ConfigFrozen(
                f"{', '.join(given)}: the configuration is frozen in conserve mode"
                f" (config_freeze of {self.settings.personality}); wait until it is left")
        fixed = sorted(FIXED & given.keys())
        if fixed:
            raise SettingsError(self._fixed_text(fixed))
        new = self.settings.replace(**given)
        rules = self._rules(new.policies) if "policies" in given else None
        if new == self.settings and (
                rules is None or rules[:2] == (self.policies, self._ruled)):
            self.settings = new     # what was given is kept when others change
            return new
        released = self.latch and new.av_failopen != self.settings.av_failopen
        soft = record(CONFIG_DTYPE, config_of(new, self.seed, self._log))
        self.fastpath.make_ready(soft)
        self._answer()
        self._reshape(self.settings, new)
        self.settings = new
        self.fastpath.set_soft(soft)
        if rules is not None:
            self._set_rules(*rules)
            self._rows = new.policies
        self._set_machines()
        packet, now_ns = self.fastpath.packet, self.fastpath.now_ns
        if released:
            self.latch = False
            self.events.append(Event("one_shot_released", packet, now_ns))
        self.events.append(Event("configured", packet, now_ns))
        self._by_hand()
        return new

    def _rules(
        self, rows: Sequence[Any],
    ) -> tuple[tuple[policy.Policy, ...], bool, NDArray[np.uint16], NDArray[np.uint32]]:
        """New policies; where each of the old ones is among their ids, and the ids of those that
        are gone, behind them: sessions that stand keep what they were given. Raises SettingsError.
        """
        parsed = policy.parse(rows)
        places = {each.id: place for place, each in reversed([*enumerate(parsed)])}
        standing = {int(place) for place in np.unique(self.fastpath.policies_standing())}
        moved = np.zeros(len(self._policy_ids), np.uint16)
        gone: list[int] = []
        for place, number in enumerate(self._policy_ids.tolist()):
            if number in places:
                moved[place] = places[number]
            elif place in standing:
                moved[place] = len(parsed) + len(gone)
                gone.append(number)
        if len(parsed) + len(gone) > POLICIES_MAX:
            raise SettingsError(
                f"policies: {len(parsed)}, and {len(gone)} that are gone have sessions still;"
                f" allowed: {POLICIES_MAX}")
        return parsed, bool(rows), moved, np.array(gone, np.uint32)

    def _set_rules(
        self, parsed: tuple[policy.Policy, ...], ruled: bool, moved: NDArray[np.uint16],
        gone: NDArray[np.uint32],
    ) -> None:
        self.fastpath.set_policies(_compiled(parsed, ruled), moved, gone)
        self.policies, self._ruled = parsed, ruled
        ids = np.array([each.id for each in parsed], np.uint32)
        self._policy_ids = np.concatenate([ids, gone])
        self._proxy_policies = policy.has_proxy(parsed)

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
    @told
    @undivided
    def restart(self, *, keep: bool = False, **changes: Unpack[PolicyKeywords]) -> int:
        """Restarts the firewall with changes: every session is torn down (``cleared``).

        ``keep``: the sessions stay, the newest as far as the new table holds them, and what waits
        in queues; no device does that. The only way to another ``max_connections`` or
        ``ipsec_max_tunnels`` [C]. Counters, events and the outcome go on; unless sessions are kept,
        the clock takes the time of the packet that comes next, also an earlier one, as after a
        frame of a far future. Returns how many sessions were torn down. Before anything is done it
        raises SettingsError when the new settings are not allowed, and MemoryError when their table
        cannot be had.
        """
        keep, given = arguments.flag("restart: keep", keep), named(changes)
        fixed = sorted((FIXED - RESTARTABLE) & given.keys())
        if fixed:
            raise SettingsError(self._fixed_text(fixed))
        new, old = self.settings.replace(**given), self.settings
        rules = self._rules(new.policies) if "policies" in given else None
        config = config_of(new, self.seed, self._log)
        check_room(config)
        self._finish()
        self._check_pages(new, ", ".join(sorted(given)), keep)
        table = self.fastpath.prepare(record(CONFIG_DTYPE, config))
        cleared = self._clear(self.fastpath.live - new.max_connections if keep else None, not keep)
        packet, now_ns = self.fastpath.packet, self.fastpath.now_ns
        self.settings = new
        if self.latch:
            self.latch = False
            self.events.append(Event("one_shot_released", packet, now_ns))
        self.fastpath.rebuild(table, keep)
        self._reshape(old, new)
        if rules is not None:
            self._set_rules(*rules)
            self._rows = new.policies
        modes = self.modes
        self._set_machines()
        self.modes = {machine.name: modes.get(machine.name, "off") for machine in self.machines}
        self.events.append(Event("restarted", packet, now_ns, figures={"sessions": cleared}))
        self._by_hand()
        return cleared

    def _check_pages(self, new: Settings, names: str, keep: bool) -> None:
        """SettingsError where a new table does not fit beside what outlives every session.

        That is the base, what the pressure script holds, and the cache, to which the buffers of
        the sessions go; with ``keep`` what the sessions hold.
        """
        base, _, shm, cache = self.fastpath.owners()
        base = max(0, base + new.base_pages - self.settings.base_pages)
        scripted = self.fastpath.counters()["script_shm"]
        limit = max(cache, new.cache_limit_pages)
        held = base + scripted + min(limit, cache + shm - scripted)
        if keep:
            held = base + shm + cache + self.fastpath.queue_pages[0]
        need = new.session_pages(min(self.fastpath.live, new.max_connections) if keep else 0)
        total = new.total_pages
        if held + need > total:
            raise SettingsError(
                f"{names}: the new table takes {need} of {total} pages, and {held} are held by"
                " base, pressure script and cache; choose fewer connections, or wait")

    # --- looking in ---

    def result(self) -> Result:
        """What was found up to now, as a replay has it: for the report, the page, tables.

        ``to_pandas("sessions")`` has the sessions that stand now.
        """
        from fwcore.replay.body import engine_result  # who only embeds needs none of it

        self.sample()
        return engine_result(self)

    @exclusive
    def sample(self) -> None:
        """A row of the timeline as of now; no verdict depends on it."""
        if self._begun:
            self.fastpath.sample()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        owners, counts = self.owners(), self.counters()
        return as_html(f"fwcore engine: {self.settings.personality}", {
            "packets": counts["packets"], "sessions": len(self),
            "of": self.settings.max_connections, "mode": self.mode,
            **{f"pages {name}": pages for name, pages in owners.items()},
            **{f"verdict {name}": count for name, count in counts["verdicts"].items()},
        })

    @exclusive
    @undivided
    def drain(self, until_ns: int | None = None) -> None:
        """Lets leave what waits at links.

        None: all of it, each at its time; the clock, machines and script stand where they are, and
        packets that come before the last has left arrive at links and meters when it has.
        Else what is due up to a time happens, as ``advance`` does.
        """
        if until_ns is not None:
            self._advance(until_ns)
            return
        self._answer()
        self.fastpath.let_leave(drain=True)
        self._collect_left()
        self._tell()

    @exclusive
    def counters(self) -> dict[str, Any]:
        """Every counter by name, integers only: what the outcome is made from."""
        return counters.counters(self)

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


def _compiled(policies: tuple[policy.Policy, ...], ruled: bool) -> Any:
    """As the fast path takes them; None accepts everything."""
    return lay_out(compile_policies(policies)) if ruled else None


def _taken_up(kind: type[Engine], data: bytes) -> Engine:
    """What pickle and deepcopy call."""
    return kind._from_bytes(data)
