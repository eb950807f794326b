"""Sums by key: the same whatever the blocks, and bounded by who came first."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, strategies as st

from fwcore import tally as module
from fwcore.tally import Tally

rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2**40)), max_size=60)


@given(rows, st.integers(1, 12), st.integers(1, 7), st.integers(1, 20))
def test_sums_are_those_of_a_dictionary_that_keeps_who_came_first(rows, room, size, block):
    found = Tally(2, 1, room)
    kept: Counter[tuple[int, int]] = Counter()
    forgotten = 0
    before, module.BLOCK_ROWS = module.BLOCK_ROWS, block
    try:
        for begin in range(0, len(rows), size):
            part = np.array(rows[begin:begin + size], np.uint64).reshape(-1, 3)
            found.add((part[:, 0], part[:, 1]), (part[:, 2],))
            for high, low, amount in part.tolist():
                if (high, low) in kept or len(kept) < room:
                    kept[high, low] += amount
                else:
                    forgotten += amount
    finally:
        module.BLOCK_ROWS = before
    assert [(key, sums[0]) for key, sums in found.items()] == list(kept.items())
    assert (found.forgotten(), len(found)) == ([forgotten], len(kept))
