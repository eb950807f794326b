"""One replay: opens, drives, and says what was found."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fwcore import arguments
from fwcore._layout import SESSION_DTYPE
from fwcore.capture import READ_SIZE, Chunk, parse_ahead
from fwcore.capture.ahead import cores
from fwcore.engine import Engine
from fwcore.engine_setup import settings_of
from fwcore.errors import FwcoreError, SettingsError
from fwcore.hits import HIT_VERDICTS, Hits
from fwcore.interruption import Interrupted, Interruption
from fwcore.outfile import check_apart
from fwcore.replay.aftermath import Aftermath
from fwcore.replay.body import NS, renumbered, result_body
from fwcore.replay.damage import Silence, short_frames
from fwcore.replay.feed import Feed, Progress
from fwcore.replay.judged import Judged
from fwcore.replay.pace import Pace
from fwcore.replay.selection import Selection
from fwcore.replay.sinks import BLOCK_SESSIONS, Sinks
from fwcore.replay.sources import check_loop, opener_of, paths_of
from fwcore.replay.timing import Timing
from fwcore.replay.trail import Trail
from fwcore.replay.turns import Turns
from fwcore.result import Blocked, Result
from fwcore.settings import Settings
from fwcore.settings.rows import at_clock
from fwcore.units import THREADS_MAX, TURNS_MAX

if TYPE_CHECKING:    # imported where somebody asks for them
    from fwcore.replay.focus import FocusLedger
    from fwcore.replay.recency import Recency
    from fwcore.replay.releases import Releases

SHIFT_STEP = 0x9E3779          # spreads the turns of a looped replay over the last 24 bits

Flows = Callable[[Judged], None]
Ended = Callable[[NDArray[Any]], None]


def replay(
    source: Any,
    settings: Settings | str | os.PathLike[str] | None = None,
    *,
    policies: Sequence[Any] | None = None,
    timing: str | None = None,
    pace: bool = False,
    loop: int = 1,
    limit: int | None = None,
    reader: str = "native",
    filter: str | None = None,  # noqa: A002 - the option's name
    focus: str | None = None,
    addresses: bool = False,
    merge: bool = False,
    lru: bool = False,
    chunk_size: int = READ_SIZE,
    threads: int | None = None,
    group: int = 32,
    write: str | None = None,
    verdicts: str | None = None,
    departures: str | None = None,
    sessions: str | None = None,
    state: str | None = None,
    seed: int | None = None,
    flows: Flows | None = None,
    ended: Ended | None = None,
    progress: Progress | None = None,
    interruption: Interruption | None = None,
) -> Result:
    """Replays captures through a firewall and says what became of every packet.

    ``source``: a path or several, a Workload, or Chunks in memory. ``settings``: from
    ``fwcore.load``; ``policies`` replaces its policies. ``timing`` rewrites capture time
    (``Timing``); ``pace`` waits for it. ``loop``: turns, each later and with other addresses.
    ``limit``: frames in all. ``filter``: which of them are packets (``Selection``); ``focus``: whom
    the result is about (``Focus``). ``merge``: captures by time, not in a row. ``lru``: what that
    would have taken (``Recency``). ``threads``: one judges, the others read ahead of it (None: two
    where there are two cores); no outcome depends on it. ``write``: what was forwarded, as pcap;
    with shaping as it left. ``verdicts``: a row a packet (with ``addresses``), ``departures``: one
    for each link it ended at, ``sessions``: one a session; CSV or Parquet by name. ``state``: all.
    ``flows(Judged)`` is called a chunk, ``ended(SESSION_DTYPE[n])`` with what ended (with
    ``sessions`` or ``focus`` all, else victims), ``progress``: true stops.

    Returns a Result. Raises CaptureError, SettingsError, OutputError before the first packet.
    """
    settings = _seeded(settings_of(settings, {}), seed)
    files = {"write": write, "verdicts": verdicts, "departures": departures, "sessions": sessions,
             "state": state}
    check_kinds(
        {"timing": timing, "filter": filter, "focus": focus, "reader": reader}, files,
        {"pace": pace, "addresses": addresses, "merge": merge, "lru": lru},
        {"flows": flows, "ended": ended, "progress": progress}, interruption)
    check(source, loop, limit, chunk_size, threads, files)
    begin = time.perf_counter_ns()
    selection = Selection(filter)
    opener = opener_of(source, reader, chunk_size, merge, threads, selection.filter)
    feed = Feed(Turns(opener, loop, limit), Timing.parse(timing), selection,
                interruption or Interruption(), Pace() if pace else None, progress)
    settings = by_the_clock(settings, source, opener)
    with closing(feed.open()):
        engine = Engine(settings, policies=policies, group=group, **_told(settings, files),
                        log=bool(sessions) or focus is not None or lru or "victims")
        with Sinks(write, verdicts, sessions, addresses, departures,
                   _releases(engine, files), _several(threads)) as sinks:
            run = Run(engine, feed, sinks, _about(focus, engine), flows, ended,
                      recency=_recency(settings, engine) if lru else None)
            feed.turns.begins = partial(begin_turn, [engine])
            feed.through(run.judge)
            run.finish()
            return _kept(run.result(begin), state)


def _kept(result: Result, state: str | None) -> Result:
    """The result, with its state in a file; one that cannot be written is named in ``lost``."""
    if state:
        try:
            result.save_state(state)
        except FwcoreError as error:
            return result.with_lost(state, str(error))
    return result


def check_kinds(
    texts: Mapping[str, Any], files: Mapping[str, Any], flags: Mapping[str, Any],
    functions: Mapping[str, Any], interruption: Any,
) -> None:
    """Raises SettingsError for what is of another kind than is asked for; None is not given."""
    for check, given in ((arguments.text, texts), (arguments.flag, flags),
                         (arguments.function, functions), (arguments.path, files)):
        for name, value in given.items():
            if value is not None:
                check(name, value, SettingsError)
    if interruption is not None and not isinstance(interruption, Interruption):
        raise SettingsError(f"interruption: {interruption!r:.80} is none")


def check(
    source: Any, loop: int, limit: int | None, chunk_size: int, threads: int | None,
    files: Mapping[str, str | None],
) -> None:
    """Raises SettingsError and what else is known before a capture is opened."""
    for name, value in (("loop", loop), ("limit", limit), ("chunk_size", chunk_size),
                        ("threads", threads)):
        if value is not None or name in ("loop", "chunk_size"):
            arguments.whole(name, value, error=SettingsError)
    if not 1 <= loop <= TURNS_MAX or (limit is not None and limit < 0) or chunk_size < 1:
        raise SettingsError(f"loop is from 1 to {TURNS_MAX} (then addresses come again),"
                            " chunk size at least 1, limit at least 0")
    if threads is not None and not 1 <= threads <= THREADS_MAX:
        raise SettingsError(f"threads {threads}: 1, the one that judges, to {THREADS_MAX}")
    check_loop(source, loop)
    check_apart([(name, path) for name, path in files.items() if path],
                [("the capture", path) for path in paths_of(source)])


def _several(threads: int | None) -> bool:
    """Whether more than one thread may work; None: a core each."""
    return (cores() if threads is None else threads) > 1


def _seeded(settings: Settings, seed: int | None) -> Settings:
    return settings if seed is None else settings.replace(seed=seed)


def by_the_clock(settings: Settings, source: Any, readers: Callable[[], Any]) -> Settings:
    """Settings whose pressure is in seconds: times of day count from the capture's first packet."""
    if not any("at" in row for row in settings.pressure):
        return settings
    if "-" in paths_of(source):
        raise SettingsError("at: a time of day needs the capture's first packet beforehand, and"
                            " standard input can be read once: save it to a file, or use at_s")
    with closing(readers()) as reader:
        first = next((int(chunk.time_ns[0]) for chunk in reader if len(chunk)), 0)
    return settings.replace(pressure=at_clock(settings.pressure, first))


def _about(focus: str | None, engine: Engine) -> FocusLedger | None:
    """Whom the result is about; None: everybody."""
    if focus is None:
        return None
    from fwcore.replay.focus import Focus, FocusLedger

    return FocusLedger(
        Focus(focus, engine.settings, engine.policies), engine.settings.victims_max)


def _recency(settings: Settings, engine: Engine) -> Recency:
    from fwcore.replay.recency import Recency

    return Recency(settings, engine.policies)


def _told(settings: Settings, files: Mapping[str, str | None]) -> dict[str, Any]:
    """What the engine keeps of shaping for files."""
    if not settings.shapes:
        return {}
    return {"departures": any(files[name] for name in ("write", "verdicts", "departures")),
            "arrivals": any(files[name] for name in ("write", "verdicts"))}


def _releases(engine: Engine, files: Mapping[str, str | None]) -> Releases | None:
    """Who holds frames and rows until they leave; None where nothing does."""
    if not any(_told(engine.settings, files).values()):
        return None
    from fwcore.replay.releases import Releases

    return Releases(engine, frames=bool(files["write"]), rows=bool(files["verdicts"]))


def begin_turn(engines: Sequence[Engine], turn: int, reader: Any) -> None:
    """Before anything is read: other addresses, which whoever reads ahead parses, too, as the first
    engine does."""
    for engine in engines:
        engine.fastpath.shift = turn * SHIFT_STEP & 0xFFFFFF
    parse_ahead(reader, engines[0].fastpath.parsing())


def _times_of(judged: Judged, shown: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """When packets of a chunk were judged; None: all."""
    return judged.now_ns if shown is None else judged.now_ns[shown]


@dataclass
class Run:
    """What one engine makes of a feed."""

    engine: Engine
    feed: Feed
    sinks: Sinks
    focus: FocusLedger | None = None
    flows: Flows | None = None
    ended: Ended | None = None
    recency: Recency | None = None
    packets: int = 0
    first_ns: int | None = None
    last_ns: int = 0
    process_ns: int = 0
    longest_pause_ns: int = 0
    unjudged: int = 0                 # packets of the last chunk, which an interruption cut short
    short_frames: int = 0

    def __post_init__(self) -> None:
        self.aftermath = Aftermath()
        self.trail = Trail()
        self.silence = Silence()
        self.hits = Hits(self.engine.policies, vlan_zone=self.engine.settings.zone == "vlan")

    def finish(self) -> None:
        """What comes behind the last packet."""
        self._to_the_end()
        if self.first_ns is not None:
            self.engine.fastpath.sample()     # the timeline reaches to the last packet
        self.engine.drain()
        self.sinks.drained(self.feed.selection.numbers)
        self._take_ended()
        if "sessions" in self.sinks or self.focus is not None:
            for live in self._live():
                self._write_sessions(live if self.focus is None else self.focus.end(live))

    def _live(self) -> Iterator[NDArray[Any]]:
        """The sessions that stand, block by block, at least one: all at once are much memory."""
        fastpath = self.engine.fastpath
        numbers = fastpath.live_records()
        for begin in range(0, max(1, len(numbers)), BLOCK_SESSIONS):
            yield fastpath.rows_of(numbers[begin:begin + BLOCK_SESSIONS])

    def _begin(self) -> None:
        """Time counts from the first frame, be it a packet or not."""
        selection = self.feed.selection
        if selection and self.first_ns is None and selection.first_ns is not None:
            self.first_ns = self.last_ns = selection.first_ns
            self.engine.begin(self.first_ns)

    def _to_the_end(self) -> None:
        """What is due between the last packet and the capture's last frame happens too."""
        selection = self.feed.selection
        if selection and self.first_ns is not None and not self.feed.interrupted_by:
            self.engine.advance(selection.last_ns)
            self.last_ns = max(self.last_ns, selection.last_ns)

    def judge(self, chunk: Chunk) -> None:
        """The next chunk of the feed."""
        self._begin()
        if not len(chunk):
            return
        flow = np.zeros(len(chunk), dtype=np.uint64)
        reply = np.zeros(len(chunk), dtype=np.uint8)
        begin = time.perf_counter_ns()
        try:
            outcome = self.engine.process(chunk, flow, reply)
        except KeyboardInterrupt:
            outcome = self.engine.judged
            self.unjudged += len(chunk) - len(outcome)
            self._take(chunk.slice(0, len(outcome)), outcome, flow, reply, begin)
            raise
        self._take(chunk, outcome, flow, reply, begin)

    def _take(
        self, chunk: Chunk, outcome: NDArray[np.uint8], flow: NDArray[np.uint64],
        reply: NDArray[np.uint8], begin: int,
    ) -> None:
        """What was judged, since ``begin``, to all who want it; flows and replies go first."""
        if not len(chunk):
            return
        flow, reply = flow[: len(chunk)], reply[: len(chunk)]
        spent = time.perf_counter_ns() - begin
        self.process_ns += spent
        self.longest_pause_ns = max(self.longest_pause_ns, spent)
        if self.first_ns is None:
            self.first_ns = self.last_ns = int(chunk.time_ns[0])
        before_ns, self.last_ns = self.last_ns, max(self.last_ns, self.engine.fastpath.now_ns)
        self.packets += len(chunk)
        first = self.packets - len(chunk) + 1
        judged = Judged(chunk, outcome, flow, reply, first=first, shift=self.engine.fastpath.shift,
                        numbers=self.feed.selection.numbers, before_ns=before_ns,
                        step_ns=self.engine.settings.max_step_ns)
        self.silence.take(judged, before_ns, self.last_ns)
        if self.flows is not None:
            self.flows(judged)
        shown = None if self.focus is None else self.focus.take(judged)
        self.aftermath.take(self.engine, first, judged, shown)
        self.short_frames += short_frames(judged)
        self.trail.add(outcome)
        self._take_ended(judged)
        self._take_hits(judged, shown)
        self.sinks.take(judged, shown, self.feed.selection.numbers)
        if self.sinks.pipe_closed:       # whom packets were written for has gone
            raise Interrupted(signal.SIGPIPE)

    def _take_hits(self, judged: Judged, shown: NDArray[np.bool_] | None) -> None:
        """Who lost packets, where somebody did."""
        if not any(verdict in HIT_VERDICTS for verdict, _ in judged.kinds):
            self.hits.settle()
            return
        number = np.arange(judged.first, judged.first + len(judged.chunk), dtype=np.uint64)
        chunk, verdict, reply, flow = judged.chunk, judged.outcome[:, 0], judged.reply, judged.flow
        times = partial(_times_of, judged, shown)
        if shown is not None:
            chunk, number = chunk.select(shown), number[shown]
            verdict, reply, flow = verdict[shown], reply[shown], flow[shown]
        self.hits.add(chunk, verdict, reply, flow, number, judged.shift, times)

    def _take_ended(self, judged: Judged | None = None) -> None:
        """What ended since the last time, to all who count it; None: after the last packet."""
        blocks = self.engine.collect_ended()
        if self.recency is not None and judged is not None:
            self.recency.take(judged, blocks)
        elif self.recency is not None:
            self.recency.end(blocks, self.engine.sessions())
        for rows in blocks:
            if self.ended is not None:
                self.ended(rows)
            about = rows if self.focus is None else self.focus.end(rows)
            self.hits.take(about)
            self._write_sessions(about)

    def _write_sessions(self, rows: NDArray[Any]) -> None:
        if "sessions" in self.sinks:
            self.sinks.take_sessions([self._numbered(rows)])

    def _standing(self) -> NDArray[Any]:
        """Sessions that stand, those the result is about."""
        rows = self.engine.sessions()
        return self._numbered(rows if self.focus is None else rows[self.focus.focus.sessions(rows)])

    def _numbered(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Sessions with the capture's packet numbers."""
        if self.feed.selection:
            rows = rows.copy()
            for name in ("created_packet", "ended_packet"):
                rows[name] = self.feed.selection.numbers(rows[name])
        return rows

    def _pressure_late(self) -> int:
        """Rows of [[pressure]] whose moment has not come."""
        if self.first_ns is None:
            return len(self.engine.settings.pressure)
        passed_ns = max(self.last_ns, self.engine.fastpath.now_ns) - self.first_ns
        return sum(row.get("at_ns", 0) > passed_ns for row in self.engine.settings.pressure)

    def result(self, begin_ns: int) -> Result:
        """What was found, when all files are whole; ``begin_ns``: when all began."""
        body = result_body(self.engine, self.hits)
        self.sinks.commit()
        wall_ns = time.perf_counter_ns() - begin_ns
        feed, selection = self.feed, self.feed.selection
        if selection:
            renumbered(body, selection)
        if self.focus is not None:
            self.focus.apply(body, self.hits.rows(self.engine, live=False), selection)
        seconds = max(1, self.process_ns) / NS
        after = self.aftermath.row(self.engine)
        if after is not None:
            body["exposure"]["after"] = after
        body |= {
            "inputs": feed.turns.judged_inputs(selection.frames_of(self.packets)),
            "duration_ns": self.last_ns - self.first_ns if self.first_ns is not None else 0,
            "interrupted": bool(feed.interrupted_by), "trail": self.trail.row(),
            "speed": {
                "wall_s": wall_ns / NS, "packets_per_s": self.packets / seconds,
                "ns_per_packet": self.process_ns / max(1, self.packets),
                "longest_pause_ns": self.longest_pause_ns,
                "load_s": (wall_ns - self.process_ns) / NS},
            "pace": feed.pace.figures() if feed.pace else {"late_packets": 0, "max_late_ns": 0},
        }
        if self.recency is not None:
            body["lru"], body["laws"]["recency"] = self.recency.row(), self.recency.holds
        if self.short_frames:
            body["short_frames"] = self.short_frames
        if self.silence.packet:
            body["silence"] = {"ns": self.silence.ns, "packet": self.silence.packet}
        if feed.interrupted_by:
            body["interrupted_by"] = feed.interrupted_by
            if self.unjudged:
                body["unjudged"] = self.unjudged
        late = self._pressure_late()
        if late:
            body["pressure_late"] = late
        if self.sinks.lost:
            body["lost"] = self.sinks.lost
        return Result(body, {"sessions": self._standing if self.focus is not None else Blocked(
            len(self.engine), SESSION_DTYPE, self._standing,
            lambda: map(self._numbered, self._live()))})
