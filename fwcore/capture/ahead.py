"""A reader that runs ahead, in a thread beside the one that judges: two cores for one capture.

    thread   a turn -> read, decompress, scan, and   -> chunk, and the reader's figures with it
                       filter: Chunk.matched
                       or parse: Chunk.parsed
    caller   takes the chunk -> gives the turn back                    AHEAD turns there are

Laws: chunks and their order are the reader's own. What is said of the capture (``packets``,
``fault``, ``notes``, ``position_bytes``) is as of the chunk that was taken last, as if nobody had
read any further. An error comes where it would have come without a thread, behind everything that
was read before it; one that was closed or begun anew meanwhile is an error as without a thread.
Where no thread can start, the caller reads in turn. The thread ends with the iteration, at latest
with ``close``. Whoever drops an iteration runs no code of ours: a signal there would have nobody to
tell.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Generator, Iterator
from dataclasses import replace as replaced
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Self

from fwcore._parsed import Parsing
from fwcore.capture.chunk import Chunk, Fault, Reader
from fwcore.capture.filter import Filter
from fwcore.capture.native import NativeReader, closed_meanwhile
from fwcore.interruption import block_signals, wait_through

AHEAD = 2
"""Chunks that wait at most: their arrays, and small frames, stay in the cache that cores share."""

WORTH_BYTES = 1 << 20
"""Of a file on the disk: one that is smaller is read before a thread has begun."""

WAIT_S = 0.2
"""A signal that comes just before a wait begins is heard when it ends: so none is longer."""


def cores() -> int:
    """The cores that this process may use. Two processors of one core count once: they share what
    works, and who reads would take from who judges.
    """
    if hasattr(os, "sched_getaffinity"):
        return len({siblings(processor) for processor in os.sched_getaffinity(0)})
    return os.cpu_count() or 1


def siblings(processor: int) -> str:
    """Which processors are one core with this one; itself where nothing tells."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list"
                    ).read_text().strip()
    except OSError:
        return str(processor)


def can(reader: Reader) -> bool:
    """Whether a thread may read ahead: files, large ones, read without Python.

    A pipe is written on another core already, and whoever waits for one has to wake for a signal.
    """
    inner = getattr(reader, "inner", reader)
    return isinstance(inner, NativeReader) and inner.file_bytes >= WORTH_BYTES


def compressed(reader: Reader) -> bool:
    """Whether there is something to decompress."""
    return bool(getattr(getattr(reader, "inner", reader), "compression", ""))


class _Figures(NamedTuple):
    """What a reader says of itself at one of its chunks."""

    packets: int
    position_bytes: int
    fault: Fault | None
    notes: list[str]


class _Run:
    """One iteration: its thread, None where the caller reads, and what the two hand each other."""

    def __init__(self) -> None:
        self.turns: SimpleQueue[object] = SimpleQueue()    # True: one more chunk; else: no more
        self.read: SimpleQueue[tuple[Chunk | BaseException | None, _Figures]] = SimpleQueue()
        self.thread: threading.Thread | None = None
        self.dropped: weakref.ref[Any] | None = None
        self.stopped = False
        self.ended = threading.Event()    # a ``join`` that a signal ends takes a thread for ended
        self._process = os.getpid()
        for _ in range(AHEAD):
            self.turns.put(True)

    def watch(self, chunks: Generator[Chunk]) -> Generator[Chunk]:
        """Ends the thread when nobody has its chunks any more."""
        self.dropped = weakref.ref(chunks, self.turns.put)
        return chunks

    @property
    def over(self) -> bool:
        """Whether nothing comes any more: it was stopped, or its thread stayed behind in a fork."""
        if self.stopped or self.thread is None:
            return self.stopped
        return self._process != os.getpid() or (
            not self.thread.is_alive() and self.read.empty())

    def stop(self) -> None:
        """Ends the thread, which is at most one chunk away. What a signal raises comes behind it.

        One that was not seen to start is not waited for: it reads nothing.
        """
        self.stopped = True
        self.turns.put(False)
        if self.thread is not None:
            wait_through(self._wait)

    def _wait(self) -> None:
        assert self.thread is not None
        while self.thread.is_alive() and not self.ended.wait(WAIT_S):
            pass
        if self.thread.is_alive():
            self.thread.join()


class AheadReader:
    """A reader whose chunks were read beforehand; ``asking``: and say which of them match it."""

    def __init__(self, inner: Reader, asking: Filter | None = None) -> None:
        self.inner, self._asking = inner, asking
        self.path, self.reader, self.format = inner.path, inner.reader, inner.format
        self.size_bytes = inner.size_bytes
        self.parsing: Parsing | None = None    # how who judges parses, where frames are for it
        self._figures = self._now()
        self._run = _Run()

    @property
    def packets(self) -> int:
        return self._figures.packets

    @property
    def position_bytes(self) -> int:
        return self._figures.position_bytes

    @property
    def fault(self) -> Fault | None:
        return self._figures.fault

    @property
    def notes(self) -> list[str]:
        return self._figures.notes

    def _now(self) -> _Figures:
        inner = self.inner
        return _Figures(inner.packets, inner.position_bytes, inner.fault,
                        list(getattr(inner, "notes", ())))

    def __iter__(self) -> Iterator[Chunk]:
        run = _Run()
        return run.watch(self._chunks(run))

    def _chunks(self, run: _Run) -> Generator[Chunk]:
        """What the thread read; without ``finally``, which would run where this is dropped."""
        self._run.stop()
        self._run = run
        run.thread = threading.Thread(
            target=self._ahead, args=(run,), name="capture-ahead", daemon=True)
        try:
            run.thread.start()
        except RuntimeError:     # the limit of processes
            if run.thread.is_alive():    # it is a signal's
                raise
            run.thread = None
            yield from self._in_turn(run)
            return
        while True:
            if run.over:
                raise closed_meanwhile(self.path)
            try:
                item, self._figures = run.read.get(timeout=WAIT_S)
            except Empty:
                continue
            if isinstance(item, BaseException):
                run.stop()
                raise item
            if item is None:
                run.stop()
                return
            run.turns.put(True)
            yield item

    def _in_turn(self, run: _Run) -> Generator[Chunk]:
        """The same without a thread."""
        chunks = iter(self.inner)
        while True:
            if run.over:
                raise closed_meanwhile(self.path)
            try:
                chunk = next(chunks, None)
            finally:
                self._figures = self._now()
            if chunk is None:
                return
            yield chunk

    def _ahead(self, run: _Run) -> None:
        """The thread: as many chunks as there are turns; signals are for who judges."""
        block_signals()
        try:
            chunks = iter(self.inner)
            while run.turns.get() is True and not run.stopped:
                chunk = next(chunks, None)
                if chunk is not None:
                    chunk = self._looked_at(chunk)
                run.read.put((chunk, self._now()))
                if chunk is None:
                    return
        except BaseException as error:  # whatever it is, it is the caller's
            run.read.put((error, self._now()))
        finally:
            run.ended.set()

    def _looked_at(self, chunk: Chunk) -> Chunk:
        """With what can be found out of it here; of what a filter may leave out no more than that.
        """
        if self._asking is not None:
            return replaced(chunk, matched=self._asking(chunk))
        if self.parsing is not None:
            return replaced(chunk, parsed=self.parsing.parse(chunk))
        return chunk

    def close(self) -> None:
        try:
            self._run.stop()
        finally:
            self.inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
