"""What traffic demands, by the definitions: every window, every bucket, every line.

    smallest_depth    the worst of all windows: what came in it less what the rate brought
    dropped           a meter's own bucket for each key, asked packet by packet
    late              a FIFO line in fractions of a nanosecond
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from fwcore.reference.meter import Bucket
from fwcore.reference.words import SECOND


class Demanded(NamedTuple):
    """A packet; `flow` None: it has none."""

    time_ns: int
    bytes: int
    key: Hashable = None
    flow: Hashable = None
    tcp: bool = False


def in_order(packets: Sequence[Demanded]) -> list[Demanded]:
    """One older than the one before it arrives when that did."""
    found: list[Demanded] = []
    for packet in packets:
        now = max(packet.time_ns, found[-1].time_ns) if found else packet.time_ns
        found.append(packet._replace(time_ns=now))
    return found


def smallest_depth(packets: Sequence[Demanded], rate: int) -> int:
    """The bytes that a bucket of each key has to hold so that none drops anything."""
    found = Fraction(0)
    for key in {packet.key for packet in packets}:
        mine = [packet for packet in in_order(packets) if packet.key == key]
        for first, begin in enumerate(mine):
            came = 0
            for packet in mine[first:]:
                came += packet.bytes
                brought = Fraction(rate * (packet.time_ns - begin.time_ns), 8 * SECOND)
                found = max(found, came - brought)
    return ceil(found)


def dropped(packets: Sequence[Demanded], rate: int, depth: int) -> dict[str, int]:
    """What buckets of this depth drop, and how many keys and flows lose something."""
    buckets: dict[Hashable, Bucket] = {}
    lost = []
    for packet in in_order(packets):
        bucket = buckets.setdefault(packet.key, Bucket(rate, depth))
        if bucket.allows(packet.time_ns, "packet", packet.bytes):
            bucket.charge(packet.time_ns, packet.bytes)
        else:
            lost.append(packet)
    of_tcp = [packet for packet in lost if packet.tcp]
    return {
        "packets": len(lost), "bytes": sum(packet.bytes for packet in lost),
        "tcp_packets": len(of_tcp), "tcp_bytes": sum(packet.bytes for packet in of_tcp),
        "keys": len({packet.key for packet in lost}),
        "flows": len({packet.flow for packet in lost} - {None}),
    }


def late(packets: Sequence[Demanded], rate: int, delay_ns: int) -> int:
    """Packets that leave a FIFO line more than `delay_ns` after they came."""
    free, found = Fraction(0), 0
    for packet in in_order(packets):
        free = max(free, Fraction(packet.time_ns)) + Fraction(8 * SECOND * packet.bytes, rate)
        found += ceil(free) - packet.time_ns > delay_ns
    return found
