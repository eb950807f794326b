"""What is wrong with a capture as a whole, and not with its traffic.

Some tools cut frames and lose their length on the wire: the record calls a frame whole that its IP
header says is longer. Judged as they stand such frames are malformed, thousands of them, and none
of them was. ``short_frames = "cut"`` takes them as what they are.
"""

from __future__ import annotations

import numpy as np

from fwcore._columns import Kind, parse_columns
from fwcore._layout import Reason
from fwcore.replay.judged import Judged


def short_frames(judged: Judged) -> int:
    """How many frames of a chunk are malformed only for that."""
    if not any(reason == Reason.MALFORMED for _, reason in judged.kinds):
        return 0
    malformed = judged.outcome[:, 1] == Reason.MALFORMED
    rows = parse_columns(judged.chunk.select(malformed), cut=True)
    return int(np.sum(rows["kind"] != Kind.MALFORMED))
