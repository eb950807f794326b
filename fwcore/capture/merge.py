"""Several captures as one, by time: taps of two links, or files of a ring that overlap.

Each capture keeps its own order: a frame counts as no earlier than those before it in its file.
Of frames at one moment that of the capture named first comes first. So the order follows from the
files alone, and not from how they are cut into chunks.

    a   1 4 4 9        order: a1 b2 a4 a4 b4 b3 a9        (b3 went back in time, right after b4)
    b   2 4 3
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore.capture.chain import ChainReader
from fwcore.capture.chunk import Chunk, Reader


class MergedReader(ChainReader):
    """Captures read side by side, all of them open at once; a fault ends its own capture only.

    ``judged_of`` says how many frames of each are among the first so many.
    """

    def __init__(self, parts: Sequence[Reader]) -> None:
        super().__init__(parts)
        self._before = np.zeros(len(self.parts), dtype=np.int64)  # yielded before the last chunk
        self._last = np.zeros(0, dtype=np.intp)                   # whose its frames are

    def __iter__(self) -> Iterator[Chunk]:
        heads = [_Head(part) for part in self.parts]
        while live := [at for at, head in enumerate(heads) if head.fill()]:
            bound, whose = min((heads[at].last, at) for at in live)
            taken = [(at, heads[at].take(bound, at <= whose)) for at in live]
            origin = np.concatenate([np.full(len(keys), at) for at, (_, keys) in taken])
            order = np.argsort(np.concatenate([keys for _, (_, keys) in taken]), kind="stable")
            self._before += np.bincount(self._last, minlength=len(self.parts))
            self._last = origin[order]
            chunks = [chunk for _, (chunk, _) in taken if len(chunk)]
            yield _ordered(Chunk.concatenate(chunks), order)

    def judged_of(self, packets: int) -> list[int]:
        """Of each capture, the frames among the first ``packets``; none are known of before the
        last chunk that was read."""
        rest = max(0, packets - int(self._before.sum()))
        found = self._before + np.bincount(self._last[:rest], minlength=len(self.parts))
        return [int(count) for count in found]


class _Head:
    """What of a capture has been read and not yielded: a chunk, and the times that order it."""

    def __init__(self, part: Reader) -> None:
        self._part = part
        self._chunks = iter(part)
        self._chunk: Chunk | None = None
        self._keys: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._floor = -(1 << 63)

    def fill(self) -> bool:
        """Reads on where nothing is left; false at the end."""
        while self._chunk is None or not len(self._chunk):
            self._chunk = next(self._chunks, None)
            if self._chunk is None:
                self._part.close()
                return False
            keys = np.maximum(np.maximum.accumulate(self._chunk.time_ns), self._floor)
            self._keys, self._floor = keys, int(keys[-1]) if len(keys) else self._floor
        return True

    @property
    def last(self) -> int:
        return int(self._keys[-1])

    def take(self, bound: int, inclusive: bool) -> tuple[Chunk, NDArray[np.int64]]:
        """The frames before a moment, or up to and with it."""
        assert self._chunk is not None
        many = int(np.searchsorted(self._keys, bound, side="right" if inclusive else "left"))
        chunk, keys = _alone(self._chunk.slice(0, many)), self._keys[:many]
        self._chunk, self._keys = self._chunk.slice(many, len(self._chunk)), self._keys[many:]
        return chunk, keys


def _alone(chunk: Chunk) -> Chunk:
    """The same frames with the stretch of data that they lie in, not the whole mapped file."""
    if not len(chunk):
        return chunk.slice(0, 0)
    begin, end = int(chunk.offset.min()), int((chunk.offset + chunk.captured).max())
    return Chunk(chunk.data[begin:end], chunk.offset - np.uint64(begin), chunk.captured,
                 chunk.length, chunk.time_ns, chunk.link)


def _ordered(chunk: Chunk, order: NDArray[Any]) -> Chunk:
    return Chunk(chunk.data, chunk.offset[order], chunk.captured[order], chunk.length[order],
                 chunk.time_ns[order], chunk.link[order])
