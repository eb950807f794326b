"""Several captures in a row, each where the one before it had ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Self

from fwcore.capture.chunk import Chunk, Fault, Reader
from fwcore.errors import CaptureError


class ChainReader:
    """Several captures, one after the other, each beginning where the one before it had ended.

    Iterating raises CaptureError where one begins earlier: spliced, the two would share one time
    line on which neither was recorded. A fault ends its own capture only. ``parts`` are the
    readers, each with its own figures; ``fault`` is the first fault of all.
    """

    def __init__(self, parts: Iterable[Reader]) -> None:
        self.parts = tuple(parts)
        self.path = " ".join(part.path for part in self.parts)
        self.reader = " ".join(dict.fromkeys(part.reader for part in self.parts))
        self.format = " ".join(dict.fromkeys(part.format for part in self.parts))

    @property
    def packets(self) -> int:
        return sum(part.packets for part in self.parts)

    @property
    def fault(self) -> Fault | None:
        return next((part.fault for part in self.parts if part.fault is not None), None)

    @property
    def size_bytes(self) -> int:
        sizes = [part.size_bytes for part in self.parts]
        return sum(sizes) if all(sizes) else 0

    @property
    def position_bytes(self) -> int:
        return sum(part.position_bytes for part in self.parts)

    def __iter__(self) -> Iterator[Chunk]:
        last_ns, before = -(1 << 63), ""
        several = len(self.parts) > 1
        for part in self.parts:
            end_ns, begun = last_ns, False
            for chunk in part:
                if several and len(chunk) and not begun:
                    begun = True
                    first_ns = int(chunk.time_ns[0])
                    if first_ns < last_ns:
                        raise CaptureError(
                            f"{part.path} begins at {_clock(first_ns)}, before {before} ends at"
                            f" {_clock(last_ns)}: captures given together follow each other"
                            " in time; order them, merge them by time (--merge), or replay"
                            " each alone (--each)")
                if several and len(chunk):
                    end_ns = max(end_ns, int(chunk.time_ns.max()))
                yield chunk
            last_ns, before = end_ns, part.path if begun else before
            part.close()

    def close(self) -> None:
        for part in self.parts:
            part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _clock(time_ns: int) -> str:
    """A capture time in UTC, to the microsecond; in seconds where no calendar reaches."""
    try:
        return f"{datetime.fromtimestamp(time_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S}" \
               f".{time_ns % 10**9 // 1000:06d}"
    except (OverflowError, ValueError, OSError):
        return f"{time_ns // 10**9} s"
