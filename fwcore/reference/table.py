"""Key -> hash -> bucket."""

from __future__ import annotations

from fwcore.reference.packet import Key
from fwcore.reference.words import MASK64

GOLDEN = 0x9E3779B97F4A7C15


def splitmix64(state: int) -> int:
    """The output that belongs to a state of the stream, which counts up by GOLDEN."""
    z = state & MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def seeds(seed: int) -> tuple[int, ...]:
    """Six 64-bit keys k0..k5 from the setting `seed`, by splitmix64."""
    return tuple(splitmix64(seed + n * GOLDEN) for n in range(1, 7))


def mum(a: int, b: int) -> int:
    """Multiply two 64-bit numbers and fold the 128-bit product."""
    product = a * b
    return (product & MASK64) ^ (product >> 64)


def key_hash(key: Key, k: tuple[int, ...]) -> int:
    """The 64-bit keyed hash of a canonical key."""
    a_high, a_low = key.address_a >> 64, key.address_a & MASK64
    b_high, b_low = key.address_b >> 64, key.address_b & MASK64
    meta = (key.port_a | key.port_b << 16 | key.zone << 32 | key.protocol << 48
            | key.family << 56)
    value = mum(a_low ^ k[0], b_low ^ k[1])
    if key.family == 6:
        value ^= mum(a_high ^ k[2], b_high ^ k[3])
    return mum(value ^ k[4], meta ^ k[5])


def bucket_of(hash_value: int, buckets: int) -> int:
    """The upper half of the hash, scaled to the number of buckets."""
    return ((hash_value >> 32) * buckets) >> 32
