"""What is odd about a capture as a whole, and not about its traffic.

Some tools cut frames and lose their length on the wire: the record calls a frame whole that its IP
header says is longer. Judged as they stand such frames are malformed, thousands of them, and none
of them was. ``short_frames = "cut"`` takes them as what they are.

Captures that were put together of several have years without a packet in them, which every duration
counts: the longest such silence is found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fwcore._columns import Kind, parse_columns
from fwcore._layout import Reason
from fwcore.replay.judged import Judged

SILENCE_NS = 3600 * 10**9      # a shorter one is none


def short_frames(judged: Judged) -> int:
    """How many frames of a chunk are malformed only for that."""
    if not any(reason == Reason.MALFORMED for _, reason in judged.kinds):
        return 0
    malformed = judged.outcome[:, 1] == Reason.MALFORMED
    rows = parse_columns(judged.chunk.select(malformed), cut=True)
    return int(np.sum(rows["kind"] != Kind.MALFORMED))


@dataclass
class Silence:
    """The longest time without a packet, and the number of the one that ended it."""

    ns: int = SILENCE_NS
    packet: int = 0

    def take(self, judged: Judged, before_ns: int, after_ns: int) -> None:
        """A chunk of packets, between the clock's times before its first and after its last."""
        if after_ns - before_ns <= self.ns:      # so most chunks cost nothing
            return
        clock = np.maximum.accumulate(np.append(before_ns, judged.chunk.time_ns))
        steps = np.diff(clock)
        at = int(steps.argmax())
        if steps[at] > self.ns:
            self.ns, self.packet = int(steps[at]), int(judged.number[at])
