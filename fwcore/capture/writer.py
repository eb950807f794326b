"""Writing frames as a nanosecond pcap file of one link type."""

from __future__ import annotations

import struct
from typing import Any, Self

import numpy as np

from fwcore._capture import capture_pack
from fwcore.capture.chunk import Array, Chunk
from fwcore.errors import CaptureError, OutputError
from fwcore.outfile import Output

MAGIC_NS = 0xA1B23C4D
SNAPLEN = 262_144


class PcapWriter:
    """A pcap file that is written chunk by chunk; "-" is standard output.

    ``link`` is the LINKTYPE of the file; None takes that of the first frame written (a file
    without frames then says Ethernet). It takes its place when it is closed. Raises OutputError
    when it cannot be written, CaptureError for a frame that does not fit it: another link type, or
    a time after 2106, which pcap cannot say.
    """

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
        links = chunk.link[chosen]
        if self.link is None:
            self.link = int(links[0])
        other = np.flatnonzero(links != self.link)
        if len(other):
            raise CaptureError(
                f"{self.path}: packet {self.packets + int(other[0]) + 1} has link type "
                f"{links[other[0]]} and the file {self.link}: pcap holds one; filter, or write "
                "each to a file of its own"
            )
        room = 16 * len(chosen) + int(chunk.captured[chosen].sum(dtype=np.uint64))
        out = np.empty(room, np.uint8)
        try:
            size = capture_pack(chunk.data, chunk.offset, chunk.captured, chunk.length,
                                chunk.time_ns, chosen, out)
        except ValueError as error:
            raise CaptureError(
                f"{self.path}: {error}: its time is after 2106 or its bytes are not there"
            ) from error
        self._write(out[:size].data)
        self.packets += len(chosen)
        return len(chosen)

    def _write(self, data: memoryview | bytes) -> None:
        if not self._begun:
            self._begun = True
            link = 1 if self.link is None else self.link
            self._output.write(struct.pack("=IHHIIII", MAGIC_NS, 2, 4, 0, 0, SNAPLEN, link))
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
