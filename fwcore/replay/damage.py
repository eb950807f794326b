"""What is wrong with a capture as a whole, and not with its traffic.

Some tools cut frames and lose their length on the wire: the record calls a frame whole that its IP
header says is longer. Judged as they stand such frames are malformed, thousands of them, and none
of them was. ``short_frames = "cut"`` takes them as what they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore._columns import Kind, parse_columns
from fwcore._fastpath import Reason
from fwcore.capture import Chunk


def short_frames(chunk: Chunk, outcome: NDArray[Any]) -> int:
    """How many frames of a chunk of n are malformed only for that; ``outcome`` uint8[n, 2]."""
    malformed = outcome[:, 1] == Reason.MALFORMED
    if not malformed.any():
        return 0
    rows = parse_columns(chunk.select(malformed), cut=True)
    return int(np.sum(rows["kind"] != Kind.MALFORMED))
