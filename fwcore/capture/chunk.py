"""Frames in bulk: one buffer and five arrays that say where each frame lies in it; who reads them.

A chunk copies nothing: ``data`` is the mapped file, a block of a decompressed stream, or bytes
packed once. What holds for every chunk: ``offset + captured`` lies within ``data`` and
``0 <= time_ns <= 2**62``. ``captured`` may exceed ``length``: some writers do that, and who reads
the frame takes the smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from fwcore.errors import CaptureError

Array = np.ndarray[Any, np.dtype[Any]]

CHUNK_SIZE = 8192
"""Frames per chunk. Its arrays (26 bytes a frame) and small frames fit a second-level cache of a
MiB, and the five microseconds of Python a chunk become less than a nanosecond a frame: 22.8 ns a
packet with 4 096, 22.6 with 8 192, 22.1 with 12 288 at 1 000 sessions; 35.4, 33.9 and 33.3 at a
million (November 2026)."""

TIME_MAX_NS = 2**62
"""Times are clamped to [0, TIME_MAX_NS], so that a sum of two never overflows."""

LINK_MASK = 0x0FFFFFFF
"""The link type in the pcap header's last word; the bits above tell of frame check sequences."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames of a capture, in the order of the file.

    ``data`` uint8[size]; ``offset`` uint64[n]; ``captured`` and ``length`` (on the wire)
    uint32[n], bytes; ``time_ns`` int64[n], since the epoch; ``link`` uint16[n], LINKTYPE numbers.
    All are C-contiguous.
    """

    data: Array
    offset: Array
    captured: Array
    length: Array
    time_ns: Array
    link: Array

    def __len__(self) -> int:
        return len(self.offset)

    def slice(self, start: int, stop: int) -> Chunk:
        """Frames start to stop (0-based, stop exclusive) of the same data, as views."""
        part = np.s_[start:stop]
        return Chunk(self.data, self.offset[part], self.captured[part], self.length[part],
                     self.time_ns[part], self.link[part])

    def select(self, mask: Array) -> Chunk:
        """The frames where ``mask`` (bool[n]) is true; the arrays are copies, the data is not."""
        return Chunk(self.data, self.offset[mask], self.captured[mask], self.length[mask],
                     self.time_ns[mask], self.link[mask])

    def frame(self, i: int) -> bytes:
        """The captured bytes of frame i (0-based)."""
        begin = int(self.offset[i])
        return self.data[begin : begin + int(self.captured[i])].tobytes()

    @classmethod
    def from_frames(
        cls,
        frames: Sequence[bytes],
        times_ns: Iterable[int],
        lengths: Iterable[int] | None = None,
        link: int | Sequence[int] = 1,
    ) -> Chunk:
        """Pack frames into one chunk; a frame's wire length is its own where none is given."""
        captured = np.fromiter((len(frame) for frame in frames), np.uint32, len(frames))
        time_ns = np.array([min(max(int(t), 0), TIME_MAX_NS) for t in times_ns], np.int64)
        length = captured.copy() if lengths is None else np.array(list(lengths), np.uint32)
        links = np.empty(len(frames), np.uint16)
        links[:] = link
        if len(time_ns) != len(frames) or len(length) != len(frames):
            raise CaptureError(
                f"{len(frames)} frames come with {len(time_ns)} times and {len(length)} lengths: "
                "give one of each per frame"
            )
        offset = np.zeros(len(frames), np.uint64)
        np.cumsum(captured[:-1], dtype=np.uint64, out=offset[1:])
        data = np.frombuffer(b"".join(frames), np.uint8)
        return cls(data, offset, captured, length, time_ns, links)

    @classmethod
    def concatenate(cls, chunks: Iterable[Chunk]) -> Chunk:
        """One chunk of all frames; data is copied unless every chunk has the same."""
        parts = list(chunks)
        if not parts:
            return cls.from_frames([], [])
        datas: list[Array] = []
        offsets: list[Array] = []
        base = 0
        for part in parts:
            if not datas or part.data is not datas[-1]:
                base += len(datas[-1]) if datas else 0
                datas.append(part.data)
            offsets.append(part.offset + np.uint64(base))
        data = datas[0] if len(datas) == 1 else np.concatenate(datas)
        rest = (np.concatenate([getattr(part, name) for part in parts])
                for name in ("captured", "length", "time_ns", "link"))
        return cls(data, np.concatenate(offsets), *rest)


@dataclass(frozen=True)
class Fault:
    """Where a capture stopped making sense. Everything before it was yielded."""

    path: str
    byte_offset: int
    """Start of the record or block at fault; of a compressed file, in the decompressed bytes."""
    packet: int
    """Whole packets before it."""
    message: str

    def __str__(self) -> str:
        return (f"{self.path}: byte {self.byte_offset}: {self.message}; "
                f"the {self.packet} packets before it were read")


@runtime_checkable
class Reader(Protocol):
    """A capture as chunks. What it yields does not depend on how it is cut into chunks."""

    path: str
    reader: str
    """"native", or the class of Scapy that read it."""
    format: str

    @property
    def packets(self) -> int:
        """Yielded so far."""

    @property
    def fault(self) -> Fault | None:
        """Set when the capture ends within a record or is damaged: all before it was yielded."""

    @property
    def size_bytes(self) -> int:
        """Of the file, 0 when not known."""

    @property
    def position_bytes(self) -> int:
        """Read so far, on the scale of ``size_bytes``."""

    def __iter__(self) -> Iterator[Chunk]:
        """Chunks from the first frame on, each of at most the reader's chunk size."""

    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...
