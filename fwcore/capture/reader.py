"""The reader protocol, how a file finds its reader, and several captures in a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, Self, runtime_checkable

from fwcore.capture.chunk import CHUNK_SIZE, Chunk, Fault
from fwcore.capture.filter import Filter, FilteredReader
from fwcore.capture.native import NativeReader
from fwcore.capture.pcap import MAGICS, PcapReader
from fwcore.capture.pcapng import MAGIC, PcapNgReader
from fwcore.capture.stream import GZIP_MAGIC, ZSTD_MAGIC, Source, open_source
from fwcore.errors import CaptureError

READERS = ("native", "RawPcapReader", "PcapReader")
"""Names for ``--reader``; "scapy" stands for RawPcapReader."""

OTHERS = {
    b"BZh": "bzip2: decompress it first (bzip2 -dc FILE | fwcore replay -)",
    b"\xfd7zXZ": "xz: decompress it first (xz -dc FILE | fwcore replay -)",
    b"\x04\x22\x4d\x18": "lz4: decompress it first (lz4 -dc FILE | fwcore replay -)",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"snoop\0": "a snoop capture: convert it with editcap -F pcap",
    GZIP_MAGIC: "gzip within gzip: decompress it once",
    ZSTD_MAGIC: "zstd within a compressed file: decompress it once",
}
"""What a file that is no capture may be instead, and what to do then."""


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


def open_native(path: str, chunk_size: int = CHUNK_SIZE) -> NativeReader:
    """The native reader for what the file contains; its name does not matter."""
    source = open_source(path)
    try:
        while len(source.data) < 4 and source.more(0):
            pass
        magic = source.data[:8].tobytes()
        if magic[:4] == MAGIC:
            return PcapNgReader(path, source, chunk_size)
        if magic[:4] in MAGICS:
            return PcapReader(path, source, chunk_size)
        raise CaptureError(_not_a_capture(path, source, magic))
    except BaseException:
        source.close()
        raise


def _not_a_capture(path: str, source: Source, magic: bytes) -> str:
    """The message for a file that begins with ``magic``."""
    where = f" once decompressed ({source.compression})" if source.compression else ""
    if source.problem:
        return f"{path}: byte {len(source.data)}{where}: {source.problem}; fetch the file again"
    if not magic:
        return f"{path}: is empty{where} (0 bytes): was the capture ever written?"
    if len(magic) < 4:
        return f"{path}: ends at byte {len(magic)}{where}, too short for a capture"
    for start, hint in OTHERS.items():
        if magic.startswith(start):
            return f"{path}: byte 0{where}: not a capture but {hint}"
    wrong = ""
    if path.endswith((".gz", ".zst")) and not source.compression:
        wrong = f"; it is not compressed either, whatever its name {path.rpartition('.')[2]} says"
    return (f"{path}: byte 0{where}: not a capture: begins with {magic[:4].hex(' ')}, neither "
            f"pcap nor pcapng{wrong}; convert other formats with editcap -F pcap")


class ChainReader:
    """Several captures, one after the other; their times follow as they are.

    A fault ends its own capture only. ``parts`` are the readers, each with its own figures;
    ``fault`` is the first fault of all.
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
        for part in self.parts:
            yield from part
            part.close()

    def close(self) -> None:
        for part in self.parts:
            part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def open_captures(
    paths: Iterable[str],
    *,
    reader: str = "native",
    chunk_size: int = CHUNK_SIZE,
    filter: str | Filter | None = None,  # noqa: A002 - the option's name
) -> ChainReader:
    """Open captures to be read in a row; errors as of ``open_capture``, before any is read.

    Files are closed again until it is their turn, so that there may be thousands.
    """
    chosen = Filter(filter) if isinstance(filter, str) else filter
    parts: list[Reader] = []
    names = [str(path) for path in paths]
    if names.count("-") > 1:
        raise CaptureError("standard input can be read once, but \"-\" is given more than once")
    for name in names:
        part = open_capture(name, reader=reader, chunk_size=chunk_size, filter=chosen)
        if name != "-" and len(names) > 1:
            part.close()
        parts.append(part)
    return ChainReader(parts)


def load(reader: Reader) -> Chunk:
    """All frames of a reader in one chunk, their bytes in memory, for loops and benchmarks."""
    return Chunk.concatenate(reader)
