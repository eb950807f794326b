"""What those get who look on while packets are judged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore._columns import parse_columns
from fwcore.capture import Chunk


@dataclass(frozen=True)
class Judged:
    """A chunk of n packets after it was judged.

    ``outcome`` uint8[n, 2]: Verdict, Reason; ``flow`` uint64[n]: the run's own flow numbers, which
    depend on its settings, 0 without a key; ``reply`` uint8[n]: 1 where the sender is the
    session's responder, or would be; ``number`` uint64[n]: in the capture; ``shift``: of the
    addresses in a looped replay.
    """

    chunk: Chunk
    outcome: NDArray[np.uint8]
    flow: NDArray[np.uint64]
    reply: NDArray[np.uint8]
    number: NDArray[np.uint64]
    shift: int = 0

    @cached_property
    def kinds(self) -> frozenset[tuple[int, int]]:
        """(Verdict, Reason) that occur: most who look on look for few of them."""
        packed = np.ascontiguousarray(self.outcome).view("<u2").reshape(-1)
        return frozenset((kind & 255, kind >> 8)
                         for kind in np.flatnonzero(np.bincount(packed)).tolist())

    @cached_property
    def rows(self) -> NDArray[Any]:
        """The frames as the firewall's parser reads them, FRAME_DTYPE[n]; ``flow`` there comes
        from the frames alone and joins several runs of one capture."""
        return parse_columns(self.chunk, shift=self.shift, cut=True)
