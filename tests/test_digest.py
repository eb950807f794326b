"""What the data plane digests with, against Python's own and the twin's, in any division."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest

from fwcore._layout import blake2b16, rows_digest
from fwcore.reference.shaping import rows_digest as rows_digest_of_twin

SIZES = [0, 1, 22, 127, 128, 129, 383, 384, 385, 511, 512, 513, 895, 896, 897, 1023, 1024, 1025,
         1535, 1536, 1537, 22 * 4096, 100_000]
COUNTS = [0, 1, 2, 63, 64, 65, 127, 128, 129, 511, 512, 513, 575, 576, 577, 5000]
MOST = 2**64 - 1


@pytest.mark.parametrize("size", SIZES)
def test_bytes_in_any_division(size):
    draw = random.Random(size)
    data = draw.randbytes(size)
    cuts = sorted(draw.randrange(size + 1) for _ in range(draw.randrange(40)))
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, size], strict=True)]
    rows = [data[at:at + 22] for at in range(0, size, 22)]
    wanted = hashlib.blake2b(data, digest_size=16).digest()
    assert blake2b16([data]) == blake2b16(parts) == blake2b16(rows) == wanted


@pytest.mark.parametrize("count", COUNTS)
def test_rows_are_those_of_the_twin(count):
    draw = random.Random(count)
    rows = [tuple(draw.choice([0, 1, MOST, draw.randrange(2**64)]) for _ in range(4))
            for _ in range(count)]
    made = rows_digest(np.array(rows, np.uint64).reshape(-1, 4))
    assert made == rows_digest_of_twin(rows)


def test_the_sums_are_those_worked_out_by_hand():
    """splitmix64 from 0 begins e220a8397b1dcdaf, 6e789e6aa1b965f4, 06c45d188009454f,
    f88bb8a8724c81ec: the published numbers of its author's program."""
    keys = 0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC
    total = (1 + keys[0]) * (2 + keys[1]) + (3 + keys[2]) * (4 + keys[3])
    text = (total % 2**128).to_bytes(16, "little") + (1).to_bytes(8, "little")
    wanted = hashlib.blake2b(text, digest_size=16).digest()
    assert rows_digest(np.array([[1, 2, 3, 4]], np.uint64)) == wanted


@pytest.mark.parametrize("count", [1, 64, 65, 200])
def test_each_word_each_row_and_the_order_of_rows_tell(count):
    rows = np.arange(4 * count, dtype=np.uint64).reshape(-1, 4)
    seen = {rows_digest(rows), rows_digest(rows[:-1]), rows_digest(np.vstack([rows, 0 * rows[:1]]))}
    if count > 1:
        seen.add(rows_digest(rows[::-1]))
    for at in {0, count // 2, count - 1}:
        for word in range(4):
            other = rows.copy()
            other[at, word] ^= np.uint64(1)
            seen.add(rows_digest(other))
    assert len(seen) == 3 + (count > 1) + 4 * len({0, count // 2, count - 1})
