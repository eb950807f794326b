"""What the data plane digests with, against Python's own, in any division."""

from __future__ import annotations

import hashlib
import random

import pytest

from fwcore._layout import blake2b16, blake2bp16
from fwcore.reference.shaping import blake2bp

SIZES = [0, 1, 22, 127, 128, 129, 383, 384, 385, 511, 512, 513, 895, 896, 897, 1023, 1024, 1025,
         1535, 1536, 1537, 22 * 4096, 100_000]
# blake2.net, testvectors: of nothing, and of 0, 1, 2 ... 254
NOTHING = "b5ef811a8038f70b628fa8b294daae7492b1ebe343a80eaabbf1f6ae664dd67b"
COUNTED = "3f35c45d24fcfb4acca651076c08000e279ebbff37a1333ce19fd577202dbd24"


def plain(data):
    return hashlib.blake2b(data, digest_size=16).digest()


def tree(data):
    return blake2bp(data)[:16]


def test_the_twin_is_the_published_one():
    assert blake2bp(b"")[:32].hex() == NOTHING
    assert blake2bp(bytes(range(255)))[:32].hex() == COUNTED


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("made", "wanted"), [(blake2b16, plain), (blake2bp16, tree)])
def test_it_is_the_same_in_any_division(made, wanted, size):
    draw = random.Random(size)
    data = draw.randbytes(size)
    cuts = sorted(draw.randrange(size + 1) for _ in range(draw.randrange(40)))
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, size], strict=True)]
    rows = [data[at:at + 22] for at in range(0, size, 22)]
    assert made([data]) == made(parts) == made(rows) == wanted(data)
