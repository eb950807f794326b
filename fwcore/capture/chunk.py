"""Frames in bulk: one buffer and five arrays that say where each frame lies in it; who reads them.

A chunk copies nothing: ``data`` is the mapped file, a block of a decompressed stream, or bytes
packed once. What holds for every chunk: ``offset + captured`` lies within ``data`` and
``0 <= time_ns <= 2**62``. ``captured`` may exceed ``length``: some writers do that, and who reads
the frame takes the smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np

from fwcore import arguments
from fwcore._layout import LATEST_NS
from fwcore._pack import Packed
from fwcore._parsed import Parsed
from fwcore.errors import DataError, FrameError

if TYPE_CHECKING:  # as in fwcore.engine
    from numpy.typing import ArrayLike
    from typing_extensions import Buffer

Array = np.ndarray[Any, np.dtype[Any]]

CHUNK_SIZE = 8192
"""Frames per chunk. Its arrays (26 bytes a frame) and small frames fit a second-level cache of a
MiB, and the five microseconds of Python a chunk become less than a nanosecond a frame: 22.8 ns a
packet with 4 096, 22.6 with 8 192, 22.1 with 12 288 at 1 000 sessions; 35.4, 33.9 and 33.3 at a
million (November 2026)."""

READ_SIZE = 32768
"""Frames per chunk that is read from a file and judged by a replay, whose steps of Python a chunk
are 120 microseconds: 15 ns a packet with 8 192, of 60 in all. The loop itself is no slower with
arrays of a MiB from the third-level cache: 24 ns with either (EPYC Milan, November 2026)."""


def held_text(count: int, first: int) -> str:
    """What a reader says of times outside that range: how many, and which packet's was first."""
    if count == 1:
        return (f"packet {first} has a time outside seconds 0 to {LATEST_NS // 10**9} (1970 to"
                " 2116) and is taken as of the nearer end")
    return (f"{count} packets, packet {first} the first, have times outside seconds 0 to"
            f" {LATEST_NS // 10**9} (1970 to 2116) and are taken as of the nearer end: between"
            " them no time passes")

LINK_MASK = 0x0FFFFFFF
"""The link type in the pcap header's last word; the bits above tell of frame check sequences."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames of a capture, in the order of the file.

    ``data`` uint8[size]; ``offset`` uint64[n]; ``captured`` and ``length`` (on the wire)
    uint32[n], bytes; ``time_ns`` int64[n], since the epoch; ``link`` uint16[n], LINKTYPE numbers.
    All are C-contiguous. What a reader's thread found out ahead, or None: ``matched`` bool[n],
    which frames match a filter that was asked; ``parsed``, what they are, for the fast path that is
    to judge them (``FastPath.parsing``).
    """

    data: Array
    offset: Array
    captured: Array
    length: Array
    time_ns: Array
    link: Array
    matched: Array | None = None
    parsed: Parsed | None = None

    def __len__(self) -> int:
        return len(self.offset)

    def slice(self, start: int, stop: int) -> Chunk:
        """Frames start to stop (0-based, stop exclusive) of the same data, as views. DataError."""
        part = np.s_[arguments.whole("start", start):arguments.whole("stop", stop)]
        return Chunk(self.data, self.offset[part], self.captured[part], self.length[part],
                     self.time_ns[part], self.link[part])

    def select(self, mask: Array) -> Chunk:
        """The frames where ``mask`` (bool[n]) is true, or those at places (integers); the arrays
        are copies, the data is not. Raises DataError.
        """
        kind = mask.dtype.kind if isinstance(mask, np.ndarray) and mask.ndim == 1 else ""
        if not (kind == "b" and len(mask) == len(self)) and not (kind and kind in "iu" and (
                not len(mask) or -len(self) <= mask.min() <= mask.max() < len(self))):
            raise DataError(f"select: bool[{len(self)}] or places below that are asked for:"
                            f" {mask!r:.80} was given")
        return Chunk(self.data, self.offset[mask], self.captured[mask], self.length[mask],
                     self.time_ns[mask], self.link[mask])

    def frame(self, i: int) -> bytes:
        """The captured bytes of frame i (0-based; below 0 from the end). Raises DataError."""
        if not -len(self) <= arguments.whole("frame", i) < len(self):
            raise DataError(f"frame {i}: the chunk has {len(self)}")
        begin = int(self.offset[i])
        return self.data[begin : begin + int(self.captured[i])].tobytes()

    @classmethod
    def from_frames(
        cls,
        frames: Iterable[Any],
        times_ns: Iterable[int],
        lengths: Iterable[int] | None = None,
        link: int | Iterable[int] = 1,
    ) -> Chunk:
        """Frames packed into one chunk: whatever has a buffer, from any iterable, in one pass.

        ``frames``: bytes, memoryviews, NumPy rows; a table uint8[n, width]; or iterables of such
        things. ``times_ns``: integers of 0..2**62. ``lengths``: on the wire, by default a frame's
        own. Raises FrameError, naming the frame.
        """
        packed = Packed()
        packed.pack(frames, times_ns, lengths, link)
        return cls(*packed.arrays())

    @classmethod
    def from_array(
        cls, frames: Array, times_ns: ArrayLike, captured: ArrayLike | None = None,
        lengths: ArrayLike | None = None, link: int = 1,
    ) -> Chunk:
        """The rows of a table uint8[n, width] as frames, without a copy where it is C-contiguous.

        ``times_ns`` int64[n]; ``captured``: bytes of each row that count, by default all;
        ``lengths``: on the wire, by default what was captured. Raises FrameError.
        """
        if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 2:
            raise FrameError("from_array: a table uint8[n, width] is asked for")
        table = np.ascontiguousarray(frames)
        count, width = table.shape
        if captured is None:
            captured = np.full(count, width, np.uint32)
        chunk = cls._placed(table.reshape(-1), np.arange(count, dtype=np.uint64) * np.uint64(width),
                            captured, times_ns, lengths, link)
        if count and int(chunk.captured.max()) > width:
            raise FrameError(f"from_array: captured is more than the {width} bytes of a row")
        return chunk

    @classmethod
    def from_buffer(
        cls, buffer: Buffer, offsets: ArrayLike, captured: ArrayLike, times_ns: ArrayLike,
        lengths: ArrayLike | None = None, link: int = 1,
    ) -> Chunk:
        """Frames where they lie in a buffer (bytes, mmap, memoryview, uint8[size]): no copy.

        ``offsets`` uint64[n] and ``captured`` uint32[n] say where each lies; the rest as in
        ``from_array``. Raises FrameError, also where one reaches past the buffer.
        """
        try:
            data = np.frombuffer(memoryview(buffer), np.uint8)
        except (TypeError, ValueError, BufferError) as error:
            raise FrameError(f"from_buffer: {type(buffer).__name__}: {error}") from None
        chunk = cls._placed(data, offsets, captured, times_ns, lengths, link)
        past = np.flatnonzero((chunk.offset > len(data))
                              | (len(data) - chunk.offset < chunk.captured))
        if len(past):
            raise FrameError(f"from_buffer: frame {past[0]} reaches past the {len(data)} bytes")
        return chunk

    @classmethod
    def _placed(
        cls, data: Array, offsets: Any, captured: Any, times_ns: Any, lengths: Any, link: int,
    ) -> Chunk:
        times = _column("times_ns", times_ns, np.int64, LATEST_NS)
        kept = _column("captured", captured, np.uint32, (1 << 32) - 1)
        wire = kept if lengths is None else _column("lengths", lengths, np.uint32, (1 << 32) - 1)
        links = np.full(len(times), _column("link", [link], np.uint16, 65535)[0], np.uint16)
        places = _column("offsets", offsets, np.uint64, LATEST_NS)
        for name, column in (("offsets", places), ("captured", kept), ("lengths", wire)):
            if len(column) != len(times):
                raise FrameError(f"{len(times)} times, {len(column)} {name}: one of each per frame")
        return cls(data, places, kept, wire, times, links)

    @classmethod
    def concatenate(cls, chunks: Iterable[Chunk]) -> Chunk:
        """One chunk of all frames; data is copied unless every chunk has the same. FrameError."""
        parts = list(chunks) if isinstance(chunks, Iterable) else [chunks]
        for part in parts:
            if not isinstance(part, Chunk):
                raise FrameError(f"concatenate: {type(part).__name__} is no chunk")
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
        captured, length, time_ns, link = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("captured", "length", "time_ns", "link"))
        return cls(data, np.concatenate(offsets), captured, length, time_ns, link)


def _column(name: str, values: Any, dtype: type, highest: int) -> Array:
    """Integers of 0..highest as an array (n,); FrameError names the first that is none."""
    given = np.asarray(values)
    if given.ndim != 1 or (len(given) and given.dtype.kind not in "iu"):
        raise FrameError(f"{name}: {given.dtype}, {given.ndim} axes: integers (n,) are asked for")
    bad = np.flatnonzero((given < 0) | (given > highest)) if len(given) else given
    if len(bad):
        raise FrameError(f"{name}: frame {bad[0]}: {given[bad[0]]} is not in 0..{highest}")
    return np.ascontiguousarray(given, dtype)


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
