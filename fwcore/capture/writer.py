"""Writing frames, with their times in ns: pcap, which has one link type, and pcapng."""

from __future__ import annotations

import struct
from typing import Any, Self

import numpy as np

from fwcore._capture import capture_pack
from fwcore.capture.chunk import Array, Chunk
from fwcore.errors import CaptureError, OutputError
from fwcore.outfile import Output

MAGIC_NS = 0xA1B23C4D
BLOCK_SECTION, BLOCK_INTERFACE, BYTE_ORDER = 0x0A0D0D0A, 1, 0x1A2B3C4D
SNAPLEN = 262_144


class PcapWriter:
    """A pcap file that is written chunk by chunk; "-" is standard output.

    ``link`` is the LINKTYPE of the file; None takes that of the first frame written (a file
    without frames then says Ethernet). It takes its place when it is closed. Raises OutputError
    when it cannot be written, CaptureError for a frame that does not fit it: another link type, or
    a time after 2106, which pcap cannot say.
    """

    _RECORD_MOST = 16       # bytes beside the frame
    _LIMIT = "its time is after 2106"

    def __init__(self, path: str, link: int | None = None) -> None:
        self.path = str(path)
        self.link = link
        self.packets = 0
        self._begun = False
        self._output = Output(path)

    @property
    def placed(self) -> bool:
        """Whether nobody sees the file before it is whole."""
        return self._output.placed

    def write(self, chunk: Chunk, mask: Array | None = None) -> int:
        """Write the frames of a chunk, those where ``mask`` (bool[n]) is true; returns how many."""
        if mask is None:
            chosen = np.arange(len(chunk), dtype=np.int64)
        else:
            chosen = np.flatnonzero(mask).astype(np.int64, copy=False)
        if not len(chosen):
            return 0
        interface = self._interfaces(chunk.link[chosen])
        room = self._RECORD_MOST * len(chosen) + int(chunk.captured[chosen].sum(dtype=np.uint64))
        out = np.empty(room, np.uint8)
        try:
            size = capture_pack(chunk.data, chunk.offset, chunk.captured, chunk.length,
                                chunk.time_ns, chosen, out, interface)
        except ValueError as error:
            raise CaptureError(
                f"{self.path}: {error}: {self._LIMIT} or its bytes are not there") from error
        self._write(out[:size].data)
        self.packets += len(chosen)
        return len(chosen)

    def _interfaces(self, links: Array) -> Array | None:
        """Whether all frames are of the file's link type; a pcap record has no interface."""
        if self.link is None:
            self.link = int(links[0])
        other = np.flatnonzero(links != self.link)
        if len(other):
            raise CaptureError(
                f"{self.path}: packet {self.packets + int(other[0]) + 1} has link type "
                f"{links[other[0]]} and the file {self.link}: pcap holds one; write to a name "
                "that ends with .pcapng, or filter")
        return None

    def _head(self) -> bytes:
        """What stands before the first frame."""
        link = 1 if self.link is None else self.link
        return struct.pack("=IHHIIII", MAGIC_NS, 2, 4, 0, 0, SNAPLEN, link)

    def _write(self, data: memoryview | bytes) -> None:
        if not self._begun:
            self._begun = True
            self._output.write(self._head())
        self._output.write(data)

    def close(self) -> None:
        """Finish the file; one without frames still gets its header."""
        if self._output.file.closed:
            return
        try:
            self._write(b"")
        except OutputError:
            self.discard()
            raise
        self._output.commit()

    def discard(self) -> None:
        """The file will not be whole: nothing of it stays."""
        self._output.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, *_error: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


class PcapngWriter(PcapWriter):
    """The same as a pcapng file, of as many link types as there are: an interface for each.

    ``link`` is that of the first interface; None takes the first frame's. Raises CaptureError for
    a frame of more than 128 MiB.
    """

    _RECORD_MOST = 35       # header, length again, and up to three zeros
    _LIMIT = "it has more than 128 MiB"

    def __init__(self, path: str, link: int | None = None) -> None:
        super().__init__(path, link)
        self._described: list[int] = []

    def _interfaces(self, links: Array) -> Array:
        """The interface of each frame; the description of a new one goes before them."""
        if self.link is None:
            self.link = int(links[0])
        self._write(b"")
        for link in np.unique(links).tolist():
            if link not in self._described:
                self._describe(link)
        described = np.array(self._described)
        order = np.argsort(described)
        return order[np.searchsorted(described, links, sorter=order)].astype(np.uint32)

    def _describe(self, link: int) -> None:
        self._described.append(link)
        self._output.write(_interface_block(link))

    def _head(self) -> bytes:
        """A section, and its first interface."""
        self._described.append(1 if self.link is None else self.link)
        section = struct.pack("=IIIHHqI", BLOCK_SECTION, 28, BYTE_ORDER, 1, 0, -1, 28)
        return section + _interface_block(self._described[0])


def _interface_block(link: int) -> bytes:
    """An interface without a limit of length, its times in 10^-9 s (if_tsresol 9)."""
    return struct.pack("=IIHHIHHBxxxHHI", BLOCK_INTERFACE, 32, link, 0, 0, 9, 1, 9, 0, 0, 32)


def capture_writer(path: str) -> PcapWriter:
    """What writes a capture under this name: pcapng where it ends so, else pcap."""
    return (PcapngWriter if str(path).endswith(".pcapng") else PcapWriter)(path)
