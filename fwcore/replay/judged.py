"""What those get who look on while packets are judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore._columns import parse_columns
from fwcore._tally import kinds
from fwcore.capture import Chunk


@dataclass(frozen=True)
class Seen:
    """A chunk of n packets, and where they stand.

    ``first``: the run's own number of the first packet, of which ``numbers`` makes those in the
    capture, where they differ; ``shift``: of the addresses in a looped replay.
    """

    chunk: Chunk
    _: KW_ONLY
    first: int = 1
    numbers: Callable[[NDArray[np.uint64]], NDArray[np.uint64]] | None = None
    shift: int = 0

    @cached_property
    def number(self) -> NDArray[np.uint64]:
        """Of each packet in the capture, uint64[n]."""
        own = np.arange(self.first, self.first + len(self.chunk), dtype=np.uint64)
        return own if self.numbers is None else self.numbers(own)


@dataclass(frozen=True)
class Judged(Seen):
    """The same after they were judged.

    ``outcome`` uint8[n, 2]: Verdict, Reason; ``flow`` uint64[n]: the run's own flow numbers, which
    depend on its settings, 0 without a key; ``reply`` uint8[n]: 1 where the sender is the
    session's responder, or would be. ``before_ns``: what time it was when the first came;
    ``step_ns``: ``max_step_s``.
    """

    outcome: NDArray[np.uint8]
    flow: NDArray[np.uint64]
    reply: NDArray[np.uint8]
    _: KW_ONLY
    before_ns: int = 0
    step_ns: int = 0

    @cached_property
    def now_ns(self) -> NDArray[np.int64]:
        """When each packet was judged, int64[n]: the clock goes back for none, and with
        ``max_step_s`` a step on at most."""
        times = self.chunk.time_ns
        if not self.step_ns:
            return np.maximum(np.maximum.accumulate(times), self.before_ns)
        found, now_ns = [], self.before_ns
        for time_ns in times.tolist():
            now_ns = min(max(now_ns, time_ns), now_ns + self.step_ns)
            found.append(now_ns)
        return np.array(found, np.int64)

    @cached_property
    def kinds(self) -> frozenset[tuple[int, int]]:
        """(Verdict, Reason) that occur: most who look on look for few of them."""
        return kinds(np.ascontiguousarray(self.outcome))

    @cached_property
    def rows(self) -> NDArray[Any]:
        """The frames as the firewall's parser reads them, FRAME_DTYPE[n]; ``flow`` there comes
        from the frames alone and joins several runs of one capture."""
        return parse_columns(self.chunk, shift=self.shift, cut=True)
