"""``--filter``: which frames of the capture are packets, and the numbers they have in it.

A filter leaves traffic out and changes nothing else: a packet keeps its number in the capture, and
time counts from the capture's first frame to its last, so that a step of a pressure script hits
where it would have hit. What is left out took no memory; to restrict what is said and not what is
judged, see ``focus``.

Law: ``numbers`` of the engine's own packet numbers are those of the frames that matched, however
the frames are cut into chunks. A bit a frame is kept for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore.capture import Chunk, Filter


class Selection:
    """The frames of a run, chunk by chunk. Raises CaptureError where the text is no filter."""

    def __init__(self, text: str | None = None) -> None:
        self.text = text or ""
        self.frames = self.packets = 0
        self.first_ns: int | None = None
        self.last_ns = 0               # with a filter
        self.filter = Filter(text) if text else None
        self._masks: list[NDArray[np.uint8]] = []      # packed, of chunks in which a frame matched
        self._frames: list[int] = []                   # before each of them
        self._packets: list[int] = []

    def __bool__(self) -> bool:
        """Whether anything may be left out."""
        return self.filter is not None

    def take(self, chunk: Chunk) -> Chunk:
        """The frames that are packets; the chunk itself without a filter."""
        if self.first_ns is None and len(chunk):
            self.first_ns = int(chunk.time_ns[0])
        if self.filter is None:
            self.frames = self.packets = self.frames + len(chunk)
            return chunk
        if len(chunk):
            self.last_ns = max(self.last_ns, int(chunk.time_ns.max()))
        mask = self.filter(chunk) if chunk.matched is None else chunk.matched
        kept = int(mask.sum())
        if kept:
            self._masks.append(np.packbits(mask))
            self._frames.append(self.frames)
            self._packets.append(self.packets)
        self.frames += len(chunk)
        self.packets += kept
        return chunk if kept == len(chunk) else chunk.select(mask)

    def numbers(self, own: Any) -> NDArray[np.uint64]:
        """Numbers in the capture, uint64[n], of the run's own packet numbers; 0 stays 0."""
        found: NDArray[np.uint64] = np.asarray(own, dtype=np.uint64)
        if self.filter is None or not len(found):
            return found
        own, found = found, np.zeros(len(found), dtype=np.uint64)
        part = np.searchsorted(np.array(self._packets, dtype=np.uint64), own, side="left") - 1
        for at in np.unique(part[own > 0]).tolist():
            places = np.flatnonzero(np.unpackbits(self._masks[at]))
            chosen = (part == at) & (own > 0)
            within = own[chosen] - np.uint64(self._packets[at] + 1)
            found[chosen] = places[within] + (self._frames[at] + 1)
        return found

    def number(self, own: int) -> int:
        """The same of one packet."""
        return int(self.numbers([own])[0])

    def frames_of(self, packets: int) -> int:
        """Frames that have been dealt with when so many packets are: all behind the last packet
        of a whole run too."""
        return self.frames if packets == self.packets else self.number(packets)
