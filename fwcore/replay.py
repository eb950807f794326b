"""Replay: captures -> engine -> result. Time, pace, turns and files; no rule of the firewall.

    readers --chunk--> retime --chunk--> engine --verdicts--> collectors (files, flows, recount)

The time of a packet may be rewritten (``timing``), which changes what the firewall does; when it
is judged by the wall clock (``pace``) does not.
"""

from __future__ import annotations

import csv
import heapq
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace as replaced
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore import __version__
from fwcore._fastpath import EndCause, Reason, Verdict
from fwcore.capture import CHUNK_SIZE, Chunk, open_captures
from fwcore.counters import (
    address_text,
    counters,
    key_text,
    laws,
    state_name,
    timeline,
    victim_dict,
)
from fwcore.engine import Engine
from fwcore.errors import FwcoreError, MissingExtra, SettingsError
from fwcore.hits import Hits
from fwcore.result import Result
from fwcore.settings import Settings, load
from fwcore.words import CLASSES

NS = 10**9
WIRE_OVERHEAD_BYTES = 24       # preamble 8, FCS 4, gap 12: what line rate counts [IEEE 802.3]
SMALLEST_FRAME_BYTES = 60      # without FCS; shorter ones are padded on the wire
LATE_NS = 1_000_000            # a paced packet later than this is counted
PACE_SPIN_NS = 60_000          # what sleep oversleeps; the rest is waited for actively
IDLEDROP_HOSTS = 1000          # of the result, those that lost most sessions to idledrop
SHIFT_STEP = 0x9E3779          # spreads the turns of a looped replay over the last 24 bits
UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "": 1}

Flows = Callable[[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint32]], None]
Progress = Callable[[int, int, int], bool]


# --- timing ---------------------------------------------------------------------------------------


@dataclass
class Timing:
    """How capture time is rewritten: ``original``, ``speed:X``, ``pps:N``, ``line-rate:10G``.

    ``retime`` takes chunks in order and keeps what it needs between them, so that the times do not
    depend on how the packets are cut into chunks.
    """

    kind: str = "original"
    number: Fraction = field(default_factory=lambda: Fraction(1))
    first_ns: int | None = None
    packets: int = 0
    bit_ns: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Timing:
        """Raises SettingsError for anything else."""
        kind, _, amount = (text or "original").partition(":")
        try:
            if kind == "original" and not amount:
                return cls()
            if kind in ("speed", "pps", "line-rate"):
                return cls(kind, _amount(amount))
        except (ValueError, ZeroDivisionError):
            pass
        raise SettingsError(
            f"timing {text!r}: use original, speed:X (2 is twice as fast), pps:N or line-rate:10G")

    def retime(self, chunk: Chunk) -> Chunk:
        """The chunk with its new times; the same object when they do not change."""
        if self.kind == "original" or not len(chunk):
            return chunk
        if self.first_ns is None:
            self.first_ns = int(chunk.time_ns[0])
        if self.kind == "speed":
            times = self._scaled(chunk.time_ns)
        elif self.kind == "pps":
            numbers = np.arange(self.packets, self.packets + len(chunk), dtype=np.int64)
            times = _muldiv(numbers, NS * self.number.denominator, self.number.numerator)
            times += self.first_ns
        else:
            times = self._on_the_wire(chunk.length)
        self.packets += len(chunk)
        return replaced(chunk, time_ns=np.ascontiguousarray(times, dtype=np.int64))

    def _scaled(self, time_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        assert self.first_ns is not None  # retime sets it with the first chunk
        since = time_ns - self.first_ns
        return _muldiv(since, self.number.denominator, self.number.numerator) + self.first_ns

    def _on_the_wire(self, length: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Begin of each frame when all follow each other without a pause."""
        rate = int(self.number)
        frame = np.maximum(length.astype(np.int64), SMALLEST_FRAME_BYTES) + WIRE_OVERHEAD_BYTES
        bits = np.cumsum(frame) * 8
        begins = np.concatenate([[0], bits[:-1]]) * NS + self.bit_ns
        assert self.first_ns is not None
        times = self.first_ns + begins // rate
        total = int(bits[-1]) * NS + self.bit_ns
        self.first_ns += total // rate
        self.bit_ns = total % rate
        return times


def _amount(text: str) -> Fraction:
    """``2.5``, ``10G``: a positive number with an optional k, M, G, T."""
    unit = text[-1:].lower() if text[-1:].lower() in UNITS else ""
    number = Fraction(text[: len(text) - len(unit)]) * UNITS[unit]
    if number <= 0 or number > 10**13:
        raise ValueError(text)
    return number


def _muldiv(values: NDArray[np.int64], by: int, over: int) -> NDArray[np.int64]:
    """values * by // over for int64 values; exact as long as over * by fits 63 bits."""
    return values // over * by + values % over * by // over


# --- turns ----------------------------------------------------------------------------------------


@dataclass
class Turns:
    """The captures, ``loop`` times, each turn later and with other addresses."""

    readers: Callable[[], Any]
    loop: int = 1
    limit: int | None = None
    inputs: list[dict[str, Any]] = field(default_factory=list)
    packets: int = 0
    done: int = 0
    total: int = 0
    opened: Any = None      # the captures, opened already: the first turn takes them

    def open(self) -> Any:
        """Opens the captures for the first turn: standard input can be opened only once."""
        self.opened = self.readers()
        return self.opened

    def __iter__(self) -> Generator[tuple[int, Chunk], None, None]:
        """(turn, chunk), at most ``limit`` packets in all."""
        offset = 0
        for turn in range(self.loop):
            first: int | None = None
            last = packets = 0
            reader = self.readers() if self.opened is None else self.opened
            self.opened = None
            try:
                for chunk in reader:
                    if len(chunk):
                        first = int(chunk.time_ns[0]) if first is None else first
                        last = max(last, int(chunk.time_ns.max()))
                        packets += len(chunk)
                    part = self._limited(chunk)
                    self._where(reader, turn)
                    yield turn, _later(part, offset) if offset else part
                    if self.limit is not None and self.packets >= self.limit:
                        break
            finally:  # also when the run is interrupted
                if turn == 0:
                    self.inputs = _inputs(reader, packets - self.packets)
                reader.close()
            if first is None or (self.limit is not None and self.packets >= self.limit):
                return
            offset += last - first + max(1, (last - first) // max(1, packets - 1))

    def _limited(self, chunk: Chunk) -> Chunk:
        if self.limit is not None and self.packets + len(chunk) > self.limit:
            chunk = chunk.slice(0, self.limit - self.packets)
        self.packets += len(chunk)
        return chunk

    def _where(self, reader: Any, turn: int) -> None:
        size = getattr(reader, "size_bytes", 0)
        self.total = size * self.loop
        self.done = turn * size + getattr(reader, "position_bytes", 0)


def _later(chunk: Chunk, offset_ns: int) -> Chunk:
    return replaced(chunk, time_ns=np.minimum(chunk.time_ns + offset_ns, 1 << 62))


def _inputs(reader: Any, unused: int) -> list[dict[str, Any]]:
    """One row a capture: path, reader, format, packets, fault; ``unused`` were read in vain."""
    rows = []
    for each in getattr(reader, "parts", None) or [reader]:
        fault = each.fault
        rows.append({
            "path": str(each.path), "reader": each.reader, "format": each.format,
            "packets": each.packets, "fault": None if fault is None else {
                "path": str(fault.path), "byte_offset": fault.byte_offset,
                "packet": fault.packet, "message": fault.message}})
    for row in reversed(rows):
        spare = min(unused, row["packets"])
        row["packets"] -= spare
        unused -= spare
    return rows


# --- pace -----------------------------------------------------------------------------------------


@dataclass
class Pace:
    """Waits until a packet's time has come on the wall clock; how late each was."""

    begin_ns: int | None = None
    first_ns: int = 0
    late_packets: int = 0
    max_late_ns: int = 0
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(64, dtype=np.int64))

    def parts(self, chunk: Chunk) -> Iterator[Chunk]:
        """The chunk in pieces, each when its first packet is due."""
        position = 0
        while position < len(chunk):
            due = self._due(chunk.time_ns[position:])
            count = int(np.searchsorted(due, self._wait(int(due[0])), side="right"))
            count = max(1, count)
            self._note(due[:count])
            yield chunk.slice(position, position + count)
            position += count

    def _due(self, time_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.begin_ns is None:
            self.begin_ns = time.monotonic_ns()
            self.first_ns = int(time_ns[0])
        return np.maximum.accumulate(time_ns) - self.first_ns + self.begin_ns

    def _wait(self, due_ns: int) -> int:
        """Returns the wall clock, which has reached ``due_ns``."""
        now = time.monotonic_ns()
        if due_ns - now > PACE_SPIN_NS:
            time.sleep((due_ns - now - PACE_SPIN_NS) / NS)
        while (now := time.monotonic_ns()) < due_ns:
            pass
        return now

    def _note(self, due: NDArray[np.int64]) -> None:
        late = np.maximum(time.monotonic_ns() - due, 0)
        self.late_packets += int((late > LATE_NS).sum())
        self.max_late_ns = max(self.max_late_ns, int(late.max()))
        classes = np.ceil(np.log2(late + 1)).astype(np.int64)
        self.histogram += np.bincount(classes, minlength=64)[:64]

    def figures(self) -> dict[str, int]:
        """late_packets (beyond 1 ms), max_late_ns, and the median's class bound median_late_ns."""
        total = int(self.histogram.sum())
        middle = int(np.searchsorted(np.cumsum(self.histogram), (total + 1) // 2))
        return {"late_packets": self.late_packets, "max_late_ns": self.max_late_ns,
                "median_late_ns": (1 << middle) - 1 if total else 0}


# --- files ----------------------------------------------------------------------------------------


class RowFile:
    """Rows to a file, streamed in blocks of columns: Parquet by its ending, otherwise CSV."""

    def __init__(self, path: str) -> None:
        self.path = str(path)
        self._parquet: Any = None
        self._csv: Any = None
        self._file: Any = None
        if self.path.endswith(".parquet"):
            try:
                import pyarrow.parquet  # noqa: F401 - heavy, and an extra
            except ImportError:
                raise MissingExtra(
                    f"{path}: Parquet needs pyarrow: pip install 'fwcore[parquet]', or write .csv"
                ) from None
        try:
            self._file = open(  # noqa: SIM115 - close() closes it
                self.path, "wb" if self._is_parquet else "w",
                newline=None if self._is_parquet else "")
        except OSError as error:
            raise FwcoreError(f"{path}: cannot be written ({error.strerror})") from None

    @property
    def _is_parquet(self) -> bool:
        return self.path.endswith(".parquet")

    def write(self, columns: dict[str, Any]) -> None:
        """One block: name -> array or list, all of one length."""
        if self._is_parquet:
            import pyarrow as pa
            from pyarrow import parquet

            table = pa.table({name: pa.array(values) for name, values in columns.items()})
            if self._parquet is None:
                self._parquet = parquet.ParquetWriter(self._file, table.schema)
            self._parquet.write_table(table)
            return
        if self._csv is None:
            self._csv = csv.writer(self._file, lineterminator="\n")
            self._csv.writerow(columns)
        lists = [v.tolist() if hasattr(v, "tolist") else v for v in columns.values()]
        self._csv.writerows(zip(*lists, strict=True))

    def close(self) -> None:
        if self._parquet is not None:
            self._parquet.close()
        if self._file is not None:
            self._file.close()


VERDICTS = np.array([member.name.lower() for member in Verdict])
REASONS = np.array([member.name.lower() for member in Reason])


def _verdict_columns(chunk: Chunk, outcome: NDArray[np.uint8], flow: Any, first: int) -> dict:
    return {
        "packet": np.arange(first, first + len(chunk), dtype=np.uint64),
        "time_ns": chunk.time_ns, "length": chunk.length,
        "verdict": VERDICTS[outcome[:, 0]], "reason": REASONS[outcome[:, 1]], "flow": flow,
    }


def session_columns(rows: NDArray[Any]) -> dict[str, Any]:
    """Sessions (``SESSION_DTYPE``) as columns for a file or a table; cause ``live`` while it is."""
    causes = [EndCause(c).name.lower() if c != 255 else "live" for c in rows["cause"].tolist()]
    return {
        "key": [key_text(row) for row in rows],
        "state": [state_name(state) for state in rows["state"].tolist()],
        "policy": rows["policy"], "inspection": [CLASSES[i] for i in rows["inspection"]],
        "cause": causes, "created_packet": rows["created_packet"],
        "ended_packet": rows["ended_packet"], "created_ns": rows["created_ns"],
        "last_seen_ns": rows["last_seen_ns"], "ended_ns": rows["ended_ns"],
        "packets_forward": rows["packets"][:, 0], "packets_reply": rows["packets"][:, 1],
        "bytes_forward": rows["bytes"][:, 0], "bytes_reply": rows["bytes"][:, 1],
        "exposed": rows["exposed"], "flow": rows["flow"],
    }


# --- the result -----------------------------------------------------------------------------------


def _conserve(engine: Engine) -> dict[str, Any]:
    return {
        "mode": engine.mode, "label": engine.label, "flaps": engine.flaps,
        "seconds": {name: ns / NS for name, ns in engine.mode_times_ns().items()},
        "transitions": [each.to_result() for each in engine.transitions],
    }


def result_body(engine: Engine, hits: Hits | None = None) -> dict[str, Any]:
    """The contract's result of an engine, without what only a replay knows."""
    settings = engine.settings
    body = counters(engine)
    memory = body["memory"]
    memory["thresholds"] = engine.thresholds
    raw = engine.fastpath.counters()
    body["sessions"]["half_open"] = raw["half_open"]
    refusals = ("no_session", "conserve_block", "extreme", "ips_block", "half_open_limit",
                "host_limit", "proxy_table_full", "table_full", "no_memory")
    body["denied"] = body["reasons"]["denied"]
    body["refused"] = sum(body["reasons"][name] for name in refusals)
    scan = engine.fastpath.audit()
    victims = engine.victims()
    parts = engine.fastpath.memory
    connection = sum(parts[name] for name in ("records", "index", "overflow", "timers"))
    hosts = heapq.nsmallest(
        IDLEDROP_HOSTS, engine.idledrop_hosts.items(), key=lambda item: (-item[1], item[0]))
    return {
        "schema": 1, "fwcore": __version__, "personality": settings.personality,
        "settings": settings.describe(), **body, "conserve": _conserve(engine),
        "idledrop": {"hosts": [{"host": address_text(*host), "sessions": count}
                               for host, count in hosts]},
        "victims": [victim_dict(row) for row in victims],
        "victims_forgotten": raw["victims"] - len(victims),
        "events": [each.to_result(settings, engine.thresholds) for each in engine.events],
        "table": {
            "max_connections": settings.max_connections, "buckets": settings.buckets,
            "bytes": sum(parts.values()), "parts": parts,
            "bytes_per_connection": -(-connection // settings.max_connections),
            "max_depth": scan["depth"]},
        "top": (hits or Hits()).rows(engine), "timeline": timeline(engine),
        "laws": laws(engine, scan), "outcome": engine.outcome(),
    }


# --- replay ---------------------------------------------------------------------------------------


@dataclass
class _Run:
    """One replay under way."""

    engine: Engine
    turns: Turns
    timing: Timing
    pace: Pace | None
    flows: Flows | None
    progress: Progress | None
    files: dict[str, Any]
    packets: int = 0
    first_ns: int | None = None
    last_ns: int = 0
    process_ns: int = 0
    longest_pause_ns: int = 0
    interrupted: bool = False
    hits: Hits = field(default_factory=Hits)

    def drive(self) -> None:
        with closing(iter(self.turns)) as turns:
            for turn, chunk in turns:
                self.engine.fastpath.shift = turn * SHIFT_STEP & 0xFFFFFF
                timed = self.timing.retime(chunk)
                for part in self.pace.parts(timed) if self.pace else (timed,):
                    self._judge(part)
                if self.progress is not None and self.progress(
                        self.packets, self.turns.done, self.turns.total):
                    self.interrupted = True
                    return

    def last_sample(self) -> None:
        """The timeline reaches to the last packet."""
        if self.packets:
            self.engine.fastpath.sample()

    def _judge(self, chunk: Chunk) -> None:
        if not len(chunk):
            return
        wanted = self.flows is not None or "verdicts" in self.files
        flow = np.zeros(len(chunk), dtype=np.uint64) if wanted else None
        reply = np.zeros(len(chunk), dtype=np.uint8)
        begin = time.perf_counter_ns()
        outcome = self.engine.process(chunk, flow, reply)
        spent = time.perf_counter_ns() - begin
        self.process_ns += spent
        self.longest_pause_ns = max(self.longest_pause_ns, spent)
        if self.first_ns is None:
            self.first_ns = int(chunk.time_ns[0])
        self.last_ns = max(self.last_ns, self.engine.fastpath.now_ns)
        self.packets += len(chunk)
        self.hits.add(chunk, outcome[:, 0], reply, self.engine.fastpath.shift)
        if self.flows is not None and flow is not None:
            self.flows(flow, outcome, chunk.length)
        if "write" in self.files:
            self.files["write"].write(chunk, outcome[:, 0] != Verdict.DROP)
        if "verdicts" in self.files:
            first = self.packets - len(chunk) + 1
            self.files["verdicts"].write(_verdict_columns(chunk, outcome, flow, first))
        if "sessions" in self.files:
            for rows in self.engine.collect_ended():
                self.files["sessions"].write(session_columns(rows))


def _readers_of(
    source: Any, reader: str, chunk_size: int, filter_: str | None,
) -> Callable[[], Any]:
    """What opens the captures for a turn."""
    if isinstance(source, (str, os.PathLike)):
        source = [source]
    elif hasattr(source, "open"):
        return lambda: source.open(chunk_size)
    elif isinstance(source, Chunk) or not isinstance(source, Iterable):
        source = [source]
    items = list(source)
    if items and all(isinstance(item, Chunk) for item in items):
        return lambda: _Loaded(items)
    paths = [str(item) for item in items]
    return lambda: open_captures(paths, reader=reader, chunk_size=chunk_size, filter=filter_)


def _is_standard_input(source: Any) -> bool:
    if isinstance(source, str):
        return source == "-"
    return isinstance(source, (list, tuple)) and any(
        isinstance(item, str) and item == "-" for item in source)


class _Loaded:
    """Chunks in memory as a reader: loaded once, replayed as often as wanted."""

    path, reader, format, fault = "memory", "memory", "chunks", None

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.chunks = chunks
        self.packets = self.position_bytes = 0
        self.size_bytes = sum(int(chunk.captured.sum()) for chunk in chunks)

    def __iter__(self) -> Iterator[Chunk]:
        for chunk in self.chunks:
            self.packets += len(chunk)
            self.position_bytes += int(chunk.captured.sum())
            yield chunk

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> _Loaded:
        return self

    def __exit__(self, *exception: object) -> None:
        return


def replay(
    source: Any,
    settings: Settings | None = None,
    *,
    policies: Sequence[Any] | None = None,
    timing: str | None = None,
    pace: bool = False,
    loop: int = 1,
    limit: int | None = None,
    reader: str = "native",
    filter: str | None = None,  # noqa: A002 - the option's name
    chunk_size: int = CHUNK_SIZE,
    group: int = 32,
    write: str | None = None,
    verdicts: str | None = None,
    sessions: str | None = None,
    state: str | None = None,
    seed: int | None = None,
    flows: Flows | None = None,
    progress: Progress | None = None,
) -> Result:
    """Replays captures through a firewall and says what became of every packet.

    ``source``: a path or several, a Workload, or Chunks in memory. ``settings``: from
    ``fwcore.load``; ``policies`` replaces its policies. ``timing`` rewrites capture time
    (``Timing``); ``pace`` waits for it. ``loop``: turns, each later and with other addresses.
    ``limit``: packets in all. ``write``: what was forwarded, as pcap. ``verdicts``: a row a packet,
    ``sessions``: a row a session that ever lived; CSV, or Parquet by ending. ``state``: the state
    file. ``flows(flow uint64[n], outcome uint8[n, 2], length uint32[n])`` is called a chunk.
    ``progress(packets, done, total)`` is called a chunk; true stops.

    Returns a Result; its ``exit_code`` tells of faults and broken laws. Raises CaptureError and
    SettingsError before the first packet.
    """
    settings = load() if settings is None else settings
    if seed is not None:
        settings = settings.replace(seed=seed)
    if loop < 1 or (limit is not None and limit < 0) or chunk_size < 1:
        raise SettingsError("loop and chunk size are at least 1, limit at least 0")
    if loop > 1 and _is_standard_input(source):
        raise SettingsError(
            f"loop {loop}: standard input can be read once; save it to a file to loop it")
    begin = time.perf_counter_ns()
    turns = Turns(_readers_of(source, reader, chunk_size, filter), loop, limit)
    with ExitStack() as stack:
        # A capture that cannot be opened says so before files are made.
        stack.callback(turns.open().close)
        files = _open_files(stack, write, verdicts, sessions)
        engine = Engine(settings, policies=policies, log=bool(sessions), group=group)
        run = _Run(engine, turns, Timing.parse(timing), Pace() if pace else None, flows, progress,
                   files)
        try:
            run.drive()
        except KeyboardInterrupt:
            run.interrupted = True
        run.last_sample()
        if sessions:
            for rows in [*engine.collect_ended(), engine.sessions()]:
                if len(rows):
                    files["sessions"].write(session_columns(rows))
        result = _result(run, time.perf_counter_ns() - begin)
    if state:
        result.save_state(state)
    return result


def _open_files(
    stack: ExitStack, write: str | None, verdicts: str | None, sessions: str | None,
) -> dict[str, Any]:
    from fwcore.capture import PcapWriter

    files: dict[str, Any] = {}
    if write:
        files["write"] = stack.enter_context(PcapWriter(write))
    for name, path in (("verdicts", verdicts), ("sessions", sessions)):
        if path:
            files[name] = RowFile(path)
            stack.callback(files[name].close)
    return files


def _result(run: _Run, wall_ns: int) -> Result:
    engine = run.engine
    body = result_body(engine, run.hits)
    seconds = max(1, run.process_ns) / NS
    body |= {
        "inputs": run.turns.inputs,
        "duration_ns": run.last_ns - run.first_ns if run.first_ns is not None else 0,
        "interrupted": run.interrupted,
        "speed": {
            "wall_s": wall_ns / NS, "packets_per_s": run.packets / seconds,
            "ns_per_packet": run.process_ns / max(1, run.packets),
            "longest_pause_ns": run.longest_pause_ns,
            "load_s": (wall_ns - run.process_ns) / NS},
        "pace": run.pace.figures() if run.pace else {"late_packets": 0, "max_late_ns": 0},
    }
    return Result(body, {"sessions": engine.sessions})
