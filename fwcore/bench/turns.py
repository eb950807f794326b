"""Measuring within one process: the bare loop and a case in turn, slice by slice.

``value`` is the median over the slices of one process. ``bare_ns`` is what the bare loop (bare.h)
took for a packet of the same file, measured in turn with the slices; it maps the file anew, too.
"""

from __future__ import annotations

import mmap
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fwcore._bare import BareLoop
from fwcore.capture import CHUNK_SIZE, Chunk, open_capture
from fwcore.engine import Engine

# What a slice takes is what this thread had of its core, not what others had of it meanwhile.
clock = time.thread_time_ns

# In the environment of a process that takes turns with another build's: slices are many then.
PAIRED = "FWCORE_BENCH_PAIRED"
READY = "ready\n"
IS_PAIRED = PAIRED in os.environ

SLICES = 32 if IS_PAIRED else 8     # bare, fwcore, bare, fwcore ... within one process
QUICK_CHUNKS = 2 if IS_PAIRED else 6      # of a slice in a quick run


class Setup(NamedTuple):
    """What a run is given: sizes may be scaled down, the directory is gone afterwards."""

    directory: str
    packets: int
    sessions: int


class Measured(NamedTuple):
    """What one process found out. ``each_ns``: the time that is held against ``bare_ns``."""

    value: float
    bare_ns: float | None
    each_ns: float | None
    packets: int
    sessions: int
    detail: dict[str, Any]
    slices: list[int] = []       # nanoseconds of each, where a case has them  # noqa: RUF012
    ratio: float | None = None   # to the bare loop, slice by slice; None: bare_ns by each_ns


def mapped(path: Path) -> np.ndarray:
    """The file, mapped anew."""
    with open(path, "rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def bare_loop(path: Path, sessions: int) -> BareLoop:
    """A bare loop that knows every session of the file, at the begin of a fresh map of it."""
    bare = BareLoop(sessions, np.fromfile(path, np.uint8))
    bare.run(1 << 62)
    bare.rewind(mapped(path))
    return bare


def timed(work: Callable[[], Any]) -> int:
    """Nanoseconds of a call, or what it says itself (an int)."""
    begin = clock()
    said = work()
    return said if isinstance(said, int) else clock() - begin


def bare_time(bare: BareLoop, count: int) -> int:
    """Nanoseconds for the next ``count`` records."""
    begin = clock()
    bare.run(count)
    return clock() - begin


def wait_turn() -> None:
    """Where two builds take turns: says that the next slice may come, and waits until it may."""
    if IS_PAIRED:
        print(READY, end="", flush=True)
        sys.stdin.readline()


class Turns(NamedTuple):
    """Nanoseconds of each slice, by who did it; ``packets`` in a slice."""

    bare: list[int]
    others: list[list[int]]
    packets: int

    def each_ns(self, which: int = 0) -> float:
        return statistics.median(self.others[which]) / self.packets

    def mean_ns(self) -> float:
        """Where work comes in bursts: a median would tell of the slices that have one, or none."""
        return statistics.fmean(self.others[0]) / self.packets

    @property
    def bare_ns(self) -> float:
        return statistics.median(self.bare) / self.packets

    @property
    def ratio(self) -> float:
        """The bare loop's time by that of the first, of slices that followed each other."""
        return statistics.median(a / b for a, b in zip(self.bare, self.others[0], strict=True))


def alternate(
    bare: BareLoop, packets: int, steps: Sequence[Callable[[], Any]], slices: int = SLICES,
) -> Turns:
    """Bare loop and steps in turn; each call of a step does the next slice of the packets."""
    count = packets // slices
    turns = Turns([], [[] for _ in steps], count)
    for _ in range(slices):
        wait_turn()
        turns.bare.append(bare_time(bare, count))
        for spent, step in zip(turns.others, steps, strict=True):
            spent.append(timed(step))
    return turns


def chunk_step(
    chunks: Iterator[Chunk], per_slice: int, work: Callable[[Chunk], Any],
) -> Callable[[], None]:
    """A step that takes the chunks of one slice through ``work``."""

    def step() -> None:
        for chunk in islice(chunks, per_slice):
            work(chunk)

    return step


def along_file(
    path: Path, packets: int, sessions: int, work: Callable[[Chunk], Any],
    known: int | None = None,
) -> Turns:
    """The staircase's measurement: read the file chunk by chunk, ``work`` on each."""
    bare = bare_loop(path, known or sessions)
    with open_capture(str(path)) as reader:
        step = chunk_step(iter(reader), packets // SLICES // CHUNK_SIZE, work)
        return alternate(bare, packets, [step])


def whole_slices(packets: int) -> int:
    """The packets that make slices of whole chunks."""
    return max(1, packets // (SLICES * CHUNK_SIZE)) * SLICES * CHUNK_SIZE


def many_slices(packets: int) -> int:
    """More of them where two ways are compared: a disturbance then spoils one pair only."""
    return 4 * SLICES if packets % (4 * SLICES * CHUNK_SIZE) == 0 else SLICES


def drive(engine: Engine) -> Callable[[Chunk], None]:
    """Chunks straight through the fast path, without what the engine adds."""
    room = np.zeros(CHUNK_SIZE, np.uint16)
    load_chunk, run = engine.fastpath.load, engine.fastpath.run

    def work(chunk: Chunk) -> None:
        load_chunk(chunk, room[:len(chunk)])
        while run():
            pass

    return work


def finished(turns: Turns, setup: Setup, engine: Engine | None, packets: int,
             in_bursts: bool = False, **detail: Any) -> Measured:
    """The usual end: nanoseconds a packet against the bare loop's."""
    sessions = setup.sessions
    if engine is not None:
        sessions = engine.fastpath.live
        detail["bytes_of_table"] = sum(engine.fastpath.memory.values())
    each_ns = turns.mean_ns() if in_bursts else turns.each_ns()
    ratio = turns.bare_ns / each_ns if in_bursts else turns.ratio
    return Measured(each_ns, turns.bare_ns, each_ns, packets, sessions, detail, turns.others[0],
                    ratio)
