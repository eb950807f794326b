"""What became of every packet, small enough to stay in a result: so that ``--expect`` can say which
packet is the first that differs.

    packed    verdict and reason of each packet, compressed, while that is little
    digests   of stretches of packets, always: 4 096 each at first, twice as many when there are 512

Two results name the packet where both are packed, and else the stretch. The digest of a stretch is
made from those of its halves, so that results of unlike length can be held against each other.
A stretch that is like the one before it costs next to nothing.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore._layout import blake2b16
from fwcore.errors import FwcoreError

STRIDE, STRETCHES = 4096, 512
DIGEST_BYTES = 8
PACKED_MOST = 64 << 10       # bytes: 100 000 packets and more, millions of a flood
PACKETS_MOST = 1 << 26       # of a trail that is packed
EACH = 2                     # bytes of a packet: verdict and reason
SAME = struct.Struct("<2sI") # before stretches of one kind: its bytes, how many packets
MIXED = b"\xff\xff"          # in their place: so many packets follow


class Trail:
    """Gathered chunk by chunk; the same however the packets are cut."""

    def __init__(self) -> None:
        self._packets = 0
        self._stride = STRIDE
        self._digests: list[bytes] = []
        self._halves: list[bytes] = []          # finished parts of the stretch that is under way
        self._rest = self._last = self._last_digest = b""
        self._packer: Any = zlib.compressobj(1)
        self._packed = bytearray()
        self._same = (MIXED, 0)                 # kind, packets: stretches that wait for another
        self._alike = False                     # whether the last stretch is of one kind

    def add(self, outcome: NDArray[np.uint8]) -> None:
        """A chunk of n: outcome uint8[n, 2], verdict and reason."""
        data = self._rest + outcome.tobytes()
        self._packets += len(outcome)
        size = STRIDE * EACH
        whole = len(data) - len(data) % size
        for at in range(0, whole, size):
            self._block(data[at:at + size])
        self._rest = data[whole:]

    def _block(self, data: bytes) -> None:
        """STRIDE packets are done."""
        if data != self._last:
            self._last, self._last_digest = data, _digest(data)
            self._alike = data == data[:EACH] * STRIDE
        if self._packer is not None:
            self._pack(data)
        self._halves.append(self._last_digest)
        if len(self._halves) * STRIDE < self._stride:
            return
        self._digests.append(joined(self._halves, len(self._halves))[0])
        self._halves = []
        if len(self._digests) == STRETCHES:
            self._digests = joined(self._digests, 2)
            self._stride *= 2

    def _pack(self, data: bytes) -> None:
        kind = data[:EACH] if self._alike else MIXED
        if self._same[0] != kind:
            self._flush()
        if self._alike:
            self._same = kind, self._same[1] + STRIDE
        else:
            self._packed += self._packer.compress(SAME.pack(MIXED, STRIDE) + data)
        if len(self._packed) > PACKED_MOST or self._packets > PACKETS_MOST:
            self._packer = None

    def _flush(self) -> None:
        if self._same[1]:
            self._packed += self._packer.compress(SAME.pack(*self._same))
        self._same = MIXED, 0

    def row(self) -> dict[str, Any]:
        """{packets, stride, digests (hex, one after the other), packed (base64) or None}."""
        packed = None
        if self._packer is not None and self._packets <= PACKETS_MOST:
            end = SAME.pack(MIXED, len(self._rest) // EACH) + self._rest
            if self._same[1]:
                end = SAME.pack(*self._same) + end
            packer = self._packer.copy()
            data = bytes(self._packed) + packer.compress(end) + packer.flush()
            packed = base64.b64encode(data).decode() if len(data) <= PACKED_MOST else None
        return {"packets": self._packets, "stride": self._stride,
                "digests": b"".join(self._digests).hex(), "packed": packed}


def _digest(data: bytes) -> bytes:
    return blake2b16((data,))[:DIGEST_BYTES]    # hashlib would cost a start 3 ms


def joined(digests: list[bytes], many: int) -> list[bytes]:
    """Digests of stretches `many` times as long (a power of two); an unfinished one is left out."""
    while many > 1:
        digests = [_digest(digests[at] + digests[at + 1]) for at in range(0, len(digests) - 1, 2)]
        many //= 2
    return digests


def unpacked(row: Mapping[str, Any]) -> NDArray[np.uint8] | None:
    """Verdict and reason of each packet, uint8[n, 2]; None: not kept. Raises FwcoreError."""
    if row["packed"] is None:
        return None
    if row["packets"] > PACKETS_MOST:
        raise FwcoreError(f"trail.packed is damaged: of {row['packets']} packets none is kept")
    try:
        data = zlib.decompressobj().decompress(
            base64.b64decode(row["packed"], validate=True), 2 * EACH * PACKETS_MOST)
        both = np.frombuffer(b"".join(_parts(data, row["packets"])), np.uint8)
    except (zlib.error, binascii.Error, ValueError, struct.error):
        both = None
    if both is None or len(both) != row["packets"] * EACH:
        raise FwcoreError("trail.packed is damaged: it has no verdict for each packet")
    return both.reshape(-1, EACH)


def _parts(data: bytes, most: int) -> Iterator[bytes]:
    """The bytes of stretches, one after the other; ValueError for more than there are packets."""
    at = 0
    while at < len(data):
        kind, count = SAME.unpack_from(data, at)
        at += SAME.size
        most -= count
        if most < 0 or count > PACKETS_MOST:
            raise ValueError
        if kind == MIXED:
            yield data[at:at + count * EACH]
            at += count * EACH
        else:
            yield kind * count


def stretches(row: Mapping[str, Any], stride: int) -> list[bytes]:
    """Digests of the trail's whole stretches of so many packets. Raises FwcoreError."""
    try:
        data = bytes.fromhex(row["digests"])
    except ValueError:
        raise FwcoreError("trail.digests is damaged: it is not hexadecimal") from None
    part = max(1, row["stride"])
    many = stride // part
    if many < 1 or many & (many - 1) or stride % part:
        raise FwcoreError(f"trail.stride {row['stride']} is no part of {stride}")
    return joined([data[at:at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES)], many)
