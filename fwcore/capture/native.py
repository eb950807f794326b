"""What the readers of pcap and pcapng share: walking a source chunk by chunk, and faults.

A reader is opened on the first bytes of its file; each iteration starts at the first frame again
(standard input can be iterated once). What stops a reader is kept in ``fault``, after everything
before it was yielded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterator
from typing import Self

import numpy as np

from fwcore._capture import ScanStatus
from fwcore.capture.chunk import Array, Chunk, Fault, held_text
from fwcore.capture.stream import Source, open_source
from fwcore.errors import CaptureError

PACKET_LIMIT = 262_144
"""Longest sane captured length, bytes: MAXIMUM_SNAPLEN of libpcap (pcap-int.h). No capture tool
takes more of a frame, so a longer record is a damaged one, and trusting its length would swallow
the rest of the file."""

PACKET_LIMITS = {231: 128 << 20, 249: 128 << 20, 279: 8 << 20}
"""LINKTYPEs whose packets may be longer: D-Bus, USBPcap, EBHSCR (libpcap, pcap-common.c)."""

ROOM_GROWTH = 1 << 16
"""Largest room allocated before it is known to be needed, frames."""


class Room:
    """The arrays of one chunk while it is being filled."""

    def __init__(self, size: int) -> None:
        self.offset: Array = np.empty(size, np.uint64)
        self.captured: Array = np.empty(size, np.uint32)
        self.length: Array = np.empty(size, np.uint32)
        self.time_ns: Array = np.empty(size, np.int64)
        self.link: Array = np.empty(size, np.uint16)

    def chunk(self, data: Array, count: int) -> Chunk:
        """The first ``count`` frames as a chunk of ``data``."""
        whole = Chunk(data, self.offset, self.captured, self.length, self.time_ns, self.link)
        return whole if count == len(self.offset) else whole.slice(0, count)


class NativeReader(ABC):
    """Base of the native readers; see the Reader protocol in ``fwcore.capture``."""

    reader = "native"

    def __init__(self, path: str, source: Source, chunk_size: int) -> None:
        self.path = path
        self.chunk_size = chunk_size
        self.packets = 0
        self.fault: Fault | None = None
        self.said: list[str] = []      # what was read on over; not in the way of any packet
        self.held = self.first_held = 0     # times outside capture time; the first one's packet
        self.compression = source.compression
        self.format = ""
        self._source: Source | None = source
        self._position = 0
        self._begun = False
        self.size_bytes = 0 if source.compression or path == "-" else len(source.data)
        self.file_bytes = source.file_bytes
        self._begin(source)

    @abstractmethod
    def _begin(self, source: Source) -> None:
        """Read the file header and set ``format`` and ``_position``; raises CaptureError."""

    @abstractmethod
    def _scan(self, data: Array, room: Room) -> tuple[int, ScanStatus]:
        """Take frames of data from ``_position`` on, and move it; frames taken, why it ended."""

    def _explain(self, data: Array, status: ScanStatus) -> str:
        """What is wrong at ``_position``."""
        return f"this record of {len(data) - self._position} bytes is damaged"

    @property
    def notes(self) -> list[str]:
        """What was read on over, and how many times are not what the file says."""
        return [*self.said, held_text(self.held, self.first_held)] if self.held else self.said

    @property
    def position_bytes(self) -> int:
        """Bytes read so far: of the file, where that is known; of its contents otherwise."""
        if self._source is None:
            return self._position
        return self._source.compressed_bytes() or self._source.base + self._position

    def __iter__(self) -> Iterator[Chunk]:
        source = self._restart()
        while True:
            if self._source is not source:
                raise closed_meanwhile(self.path)
            chunk = self._next(source)
            if chunk is None:
                source.release()
                return
            self.packets += len(chunk)
            yield chunk

    def _restart(self) -> Source:
        """The source at the first frame, opened anew unless nothing was read of it yet."""
        if self._begun or self._source is None:
            if self.path == "-":
                raise CaptureError("standard input can be read once: save it to a file to loop it")
            self.close()
            self._source = open_source(self.path)
            self.packets, self.fault = 0, None
            self.held = self.first_held = 0
            try:
                self._begin(self._source)
            except BaseException:
                self.close()    # or the next iteration would go on in what was not begun
                raise
        self._begun = True
        return self._source

    def _next(self, source: Source) -> Chunk | None:
        """The next frames, None at the end or a fault."""
        while self.fault is None:
            data = source.data
            left = len(data) - self._position
            room = Room(min(self.chunk_size, max(left // 16, 1), ROOM_GROWTH))
            count, status = self._scan(data, room)
            if count:
                return room.chunk(data, count)
            if status in (ScanStatus.END, ScanStatus.CUT) and source.more(self._position):
                self._position = 0
                continue
            if status == ScanStatus.END and not source.problem:
                return None
            self._fail(source, status)
        return None

    def _fail(self, source: Source, status: ScanStatus) -> None:
        """Keep the fault at the present position."""
        ended = status in (ScanStatus.END, ScanStatus.CUT)
        message = (source.problem if ended else "") or self._explain(source.data, status)
        if source.compression:
            message += f" (byte offset within the decompressed {source.compression} stream)"
        self.fault = Fault(self.path, source.base + self._position, self.packets, message)

    def close(self) -> None:
        """Let go of the file; chunks stay valid. Iterating again opens it again."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def closed_meanwhile(path: str) -> CaptureError:
    """For who reads on where another has closed the reader, or begun it anew."""
    return CaptureError(f"{path}: closed, or begun anew, while it was being read")


def whole_header(path: str, source: Source, size: int, magics: Container[bytes]) -> bytes:
    """The first ``size`` bytes, or CaptureError: the file ends within its header, or begins with
    none of the ``magics`` by which its reader was chosen."""
    while len(source.data) < size and source.more(0):
        pass
    if len(source.data) < size:
        why = source.problem or "the capture was never completed"
        raise CaptureError(
            f"{path}: ends at byte {len(source.data)}, within the {size} bytes of its header: {why}"
        )
    header = source.data[:size].tobytes()
    if header[:4] not in magics:
        raise CaptureError(f"{path}: byte 0: begins with {header[:4].hex(' ')}, and otherwise when"
                           " it was opened: it was written anew since; start again")
    return header


def packet_limit(link: int) -> int:
    """Longest sane captured length for a link type, bytes."""
    return PACKET_LIMITS.get(link, PACKET_LIMIT)
