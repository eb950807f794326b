"""How a capture finds its reader, and several captures theirs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fwcore import arguments
from fwcore._parsed import Parsing
from fwcore.capture.ahead import AheadReader, can, compressed, cores
from fwcore.capture.chain import ChainReader
from fwcore.capture.chunk import CHUNK_SIZE, Chunk, Reader
from fwcore.capture.detect import open_native
from fwcore.capture.filter import Filter, FilteredReader
from fwcore.errors import CaptureError
from fwcore.units import THREADS_MAX

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
    chunk_size = arguments.whole("chunk_size", chunk_size, 1, CaptureError)
    reader = arguments.text("reader", reader, CaptureError)
    chosen = filter if filter is None or isinstance(filter, Filter) else Filter(filter)
    if reader == "native":
        opened: Reader = open_native(path, chunk_size)
    elif reader in READERS or reader == "scapy":
        from fwcore.capture.scapy import ScapyReader

        opened = ScapyReader(path, "RawPcapReader" if reader == "scapy" else reader,
                             min(chunk_size, CHUNK_SIZE))     # or the first takes seconds
    else:
        raise CaptureError(f"unknown reader {reader!r}; there are {', '.join(READERS)}")
    return opened if chosen is None else FilteredReader(opened, chosen)


def open_captures(
    paths: Iterable[str],
    *,
    reader: str = "native",
    chunk_size: int = CHUNK_SIZE,
    filter: str | Filter | None = None,  # noqa: A002 - the option's name
    merge: bool = False,
    threads: int | None = 1,
    asking: Filter | None = None,
) -> ChainReader:
    """Open captures to be read in a row; errors as of ``open_capture``, before any is read.

    Files are closed again until it is their turn, so that there may be thousands. ``merge``: they
    are read side by side instead, in the order of their times (``MergedReader``). ``threads``, with
    the caller's (None: two, where there are two cores): large files are read ahead in the others
    (``AheadReader``), one at a time unless they are merged. What is read does not depend on it.
    ``asking``: which frames match is found out there, too (``Chunk.matched``), and none left out.
    """
    chosen = filter if filter is None or isinstance(filter, Filter) else Filter(filter)
    many = min(2, cores()) if threads is None else arguments.whole(
        "threads", threads, error=CaptureError)
    if not 1 <= many <= THREADS_MAX:
        raise CaptureError(f"threads {many}: 1, the one that judges, to {THREADS_MAX}")
    others = many - 1
    parts: list[Reader] = []
    names = [str(path) for path in paths]
    if names.count("-") > 1:
        raise CaptureError("standard input can be read once, but \"-\" is given more than once")
    for name in names:
        part = open_capture(name, reader=reader, chunk_size=chunk_size, filter=chosen)
        if name != "-" and len(names) > 1 and not merge:
            part.close()
        if can(part) and (others if not merge else len(parts) < others):
            part = AheadReader(part, asking)
        parts.append(part)
    if merge and len(parts) > 1:
        from fwcore.capture.merge import MergedReader

        return MergedReader(parts)
    return ChainReader(parts)


def parse_ahead(reader: Any, parsing: Parsing) -> None:
    """Has what is read from now on parsed, where it is read ahead and handed on as it was read.

    Not of a compressed file: whoever decompresses has more to do than who judges.
    """
    if type(reader) is ChainReader:
        for part in reader.parts:
            if isinstance(part, AheadReader) and not compressed(part):
                part.parsing = parsing


def load(reader: Reader) -> Chunk:
    """All frames of a reader in one chunk, their bytes in memory, for loops and benchmarks."""
    return Chunk.concatenate(reader)
