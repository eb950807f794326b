"""Pace: packets are judged when their time has come on the wall clock, and how late each was."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fwcore.capture import Chunk

NS = 10**9
LATE_NS = 1_000_000            # a paced packet later than this is counted
PACE_SPIN_NS = 60_000          # what sleep oversleeps; the rest is waited for actively


@dataclass
class Pace:
    """Waits until a packet's time has come on the wall clock; how late each was."""

    begin_ns: int | None = None
    first_ns: int = 0
    late_packets: int = 0
    max_late_ns: int = 0
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(64, dtype=np.int64))

    def parts(self, chunk: Chunk) -> Generator[Chunk, None, None]:
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
