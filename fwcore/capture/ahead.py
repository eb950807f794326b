"""A reader that runs ahead, in a thread beside the one that judges: two cores for one capture.

    thread   a turn -> read, decompress, scan, and   -> chunk, and the reader's figures with it
                       filter: Chunk.matched
                       or parse: Chunk.parsed
    caller   takes the chunk -> gives the turn back                    AHEAD turns there are

Laws: chunks and their order are the reader's own. What is said of the capture (``packets``,
``fault``, ``notes``, ``position_bytes``) is as of the chunk that was taken last, as if nobody had
read any further. An error comes where it would have come without a thread, behind everything that
was read before it. The thread ends with the iteration, at latest with ``close``.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace as replaced
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple, Self

from fwcore._parsed import Parsing
from fwcore.capture.chunk import Chunk, Fault, Reader
from fwcore.capture.filter import Filter
from fwcore.capture.native import NativeReader
from fwcore.interruption import SIGNALS

AHEAD = 3
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


class AheadReader:
    """A reader whose chunks were read beforehand; ``asking``: and say which of them match it."""

    def __init__(self, inner: Reader, asking: Filter | None = None) -> None:
        self.inner, self._asking = inner, asking
        self.path, self.reader, self.format = inner.path, inner.reader, inner.format
        self.size_bytes = inner.size_bytes
        self.parsing: Parsing | None = None    # how who judges parses, where frames are for it
        self._figures = self._now()
        self._thread: threading.Thread | None = None
        self._turns: SimpleQueue[bool] = SimpleQueue()
        self._stopped = False

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
        self._stop()
        self._turns, self._stopped = SimpleQueue(), False
        read: SimpleQueue[tuple[Chunk | BaseException | None, _Figures]] = SimpleQueue()
        for _ in range(AHEAD):
            self._turns.put(True)
        self._thread = threading.Thread(
            target=self._run, args=(self._turns, read), name="capture-ahead", daemon=True)
        self._thread.start()
        try:
            while True:
                try:
                    item, self._figures = read.get(timeout=WAIT_S)
                except Empty:
                    continue
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    return
                self._turns.put(True)
                yield item
        finally:
            self._stop()

    def _run(
        self, turns: SimpleQueue[bool],
        read: SimpleQueue[tuple[Chunk | BaseException | None, _Figures]],
    ) -> None:
        """The thread: as many chunks as there are turns; signals are for who judges."""
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            chunks = iter(self.inner)
            while turns.get() and not self._stopped:
                chunk = next(chunks, None)
                if chunk is not None:
                    chunk = self._looked_at(chunk)
                read.put((chunk, self._now()))
                if chunk is None:
                    return
        except BaseException as error:  # whatever it is, it is the caller's
            read.put((error, self._now()))

    def _looked_at(self, chunk: Chunk) -> Chunk:
        """With what can be found out of it here; of what a filter may leave out no more than that.
        """
        if self._asking is not None:
            return replaced(chunk, matched=self._asking(chunk))
        if self.parsing is not None:
            return replaced(chunk, parsed=self.parsing.parse(chunk))
        return chunk

    def _stop(self) -> None:
        """Ends the thread; it is at most one chunk away."""
        thread, self._thread = self._thread, None
        self._stopped = True
        self._turns.put(False)
        if thread is not None:
            thread.join()

    def close(self) -> None:
        self._stop()
        self.inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
