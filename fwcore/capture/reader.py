"""How a capture finds its reader, and several captures in a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Self

from fwcore.capture.ahead import AheadReader, cores, helps
from fwcore.capture.chunk import CHUNK_SIZE, Chunk, Fault, Reader
from fwcore.capture.detect import open_native
from fwcore.capture.filter import Filter, FilteredReader
from fwcore.errors import CaptureError

READERS = ("native", "RawPcapReader", "PcapReader")
"""Names for ``--reader``; "scapy" stands for RawPcapReader."""


def open_capture(
    path: str,
    *,
    reader: str = "native",
    chunk_size: int = CHUNK_SIZE,
    filter: str | Filter | None = None,  # noqa: A002 - the option's name
) -> Reader:
    """Open one capture: a file (pcap, pcapng; gzip, zstd), or "-" for standard input.

    ``filter`` (see ``fwcore.capture.filter``) leaves out frames, which then are no packets.
    Raises CaptureError (missing, empty, directory, no capture, unknown reader, bad filter) and
    MissingExtra (zstd). Faults further in are kept in the reader's ``fault``.
    """
    path = str(path)
    if chunk_size < 1:
        raise CaptureError(f"a chunk has at least 1 frame, not {chunk_size}")
    chosen = Filter(filter) if isinstance(filter, str) else filter
    if reader == "native":
        opened: Reader = open_native(path, chunk_size)
    elif reader in READERS or reader == "scapy":
        from fwcore.capture.scapy import ScapyReader

        opened = ScapyReader(path, "RawPcapReader" if reader == "scapy" else reader, chunk_size)
    else:
        raise CaptureError(f"unknown reader {reader!r}; there are {', '.join(READERS)}")
    return opened if chosen is None else FilteredReader(opened, chosen)


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


def open_captures(
    paths: Iterable[str],
    *,
    reader: str = "native",
    chunk_size: int = CHUNK_SIZE,
    filter: str | Filter | None = None,  # noqa: A002 - the option's name
    merge: bool = False,
    threads: int | None = 1,
) -> ChainReader:
    """Open captures to be read in a row; errors as of ``open_capture``, before any is read.

    Files are closed again until it is their turn, so that there may be thousands. ``merge``: they
    are read side by side instead, in the order of their times (``MergedReader``). ``threads``, with
    the caller's (None: two, where there are two cores): large files are read ahead in the others
    (``AheadReader``), one at a time unless they are merged. What is read does not depend on it.
    """
    chosen = Filter(filter) if isinstance(filter, str) else filter
    others = (min(2, cores()) if threads is None else threads) - 1
    parts: list[Reader] = []
    names = [str(path) for path in paths]
    if names.count("-") > 1:
        raise CaptureError("standard input can be read once, but \"-\" is given more than once")
    for name in names:
        part = open_capture(name, reader=reader, chunk_size=chunk_size, filter=chosen)
        if name != "-" and len(names) > 1 and not merge:
            part.close()
        if helps(part) and (others if not merge else len(parts) < others):
            part = AheadReader(part)
        parts.append(part)
    if merge and len(parts) > 1:
        from fwcore.capture.merge import MergedReader

        return MergedReader(parts)
    return ChainReader(parts)


def load(reader: Reader) -> Chunk:
    """All frames of a reader in one chunk, their bytes in memory, for loops and benchmarks."""
    return Chunk.concatenate(reader)
