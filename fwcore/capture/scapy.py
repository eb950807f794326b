"""Captures through Scapy: its readers, and packets somebody made with it.

Scapy reads or builds everything once into one packed chunk, which then replays as fast as a mapped
file, looped or paced; ``load_s`` is what that took. Frames, times, lengths and link types are those
of the native readers, to the nanosecond: where Scapy would give something else (a record that is
cut, an if_tsoffset it does not know, interfaces of an earlier section) the reader mends it or stops
with a fault that says so. Scapy is imported here only, and only when asked for.
"""

from __future__ import annotations

import os
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from decimal import ROUND_FLOOR, Decimal
from typing import Any, NamedTuple, Self

from fwcore._layout import LATEST_NS
from fwcore.capture.chunk import CHUNK_SIZE, LINK_MASK, Chunk, Fault, held_text
from fwcore.capture.detect import open_native
from fwcore.capture.native import packet_limit
from fwcore.capture.pcapng import NO_LIMIT, OPTION_TSOFFSET
from fwcore.errors import CaptureError

WHOLE = 1 << 30
"""Frame bytes to ask Scapy for: it cuts frames at 65 535 unless told otherwise."""

OPEN_READERS = ("RawPcapReader", "PcapReader", "RawPcapNgReader", "PcapNgReader")

NATIVE = "read it with --reader native"


class Record(NamedTuple):
    """One frame as Scapy gave it."""

    data: bytes
    length: int
    time_ns: int
    link: int


class _Stop(Exception):
    """A fault: where, and what."""

    def __init__(self, byte_offset: int, message: str) -> None:
        super().__init__(message)
        self.byte_offset = byte_offset


class ScapyReader:
    """A file through Scapy's RawPcapReader or PcapReader; see the Reader protocol.

    ``reader`` is the class that Scapy chose (RawPcapNgReader for a pcapng file), ``load_s`` the
    seconds Scapy took, 0 before the first iteration. Raises CaptureError at once for a file that
    is no capture, or one that Scapy cannot open.
    """

    def __init__(
        self, path: str, name: str = "RawPcapReader", chunk_size: int = CHUNK_SIZE,
    ) -> None:
        if path == "-":
            raise CaptureError(f"standard input is not read through Scapy: {NATIVE}")
        with open_native(path) as native:
            self.format = native.format
        self._open = _opener(path, name)
        opened = self._open()
        self.reader = type(opened).__name__
        opened.close()
        self.path, self.chunk_size = path, chunk_size
        self.packets = 0
        self.fault: Fault | None = None
        self.size_bytes = os.path.getsize(path)
        self.load_s = 0.0
        self.notes: list[str] = []
        self._chunk: Chunk | None = None
        self._name = name

    def load(self) -> Chunk:
        """All frames in one chunk, read by Scapy the first time."""
        if self._chunk is None:
            begin = time.perf_counter()
            records: list[Record] = []
            try:
                self._read(records.append)
            except _Stop as stop:
                self.fault = Fault(self.path, stop.byte_offset, len(records), str(stop))
            self._chunk, self.notes = pack(records), held(records)
            self.load_s = time.perf_counter() - begin
        return self._chunk

    def _read(self, take: Callable[[Record], None]) -> None:
        """Hand every frame to ``take``; raises _Stop at a fault."""
        with self._open("RawPcapReader") as raw:
            records = _pcapng_records(raw) if self.format == "pcapng" else _pcap_records(raw)
            if self._name == "RawPcapReader":
                for record in records:
                    take(record)
                return
            # A dissected packet no longer knows its link type, nor whether it was cut, nor that
            # it had no time: a raw reader beside it does.
            with self._open() as packets:
                if self.format == "pcapng":
                    _Blocks(packets)
                for record in records:
                    packet = packets.read_packet(WHOLE)
                    take(record._replace(data=bytes(packet.original)))

    @property
    def position_bytes(self) -> int:
        """In proportion to the packets yielded."""
        return self.size_bytes * self.packets // max(len(self.load()), 1)

    def __iter__(self) -> Iterator[Chunk]:
        chunk = self.load()
        self.packets = 0
        for start in range(0, len(chunk), self.chunk_size):
            part = chunk.slice(start, start + self.chunk_size)
            self.packets += len(part)
            yield part

    def close(self) -> None:
        """Forget the packed frames."""
        self._chunk = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class PacketsReader:
    """Frames that are in memory already, as a reader; made by ``from_packets``."""

    def __init__(self, chunk: Chunk, reader: str, chunk_size: int, load_s: float) -> None:
        self.path, self.format = "(packets)", "packets"
        self.fault: Fault | None = None
        self.notes: list[str] = []
        self._chunk, self.reader, self.chunk_size = chunk, reader, chunk_size
        self.packets = 0
        self.load_s = load_s
        self.size_bytes = int(chunk.captured.sum())

    def load(self) -> Chunk:
        """All frames in one chunk."""
        return self._chunk

    @property
    def position_bytes(self) -> int:
        """In proportion to the packets yielded."""
        return self.size_bytes * self.packets // max(len(self._chunk), 1)

    def __iter__(self) -> Iterator[Chunk]:
        self.packets = 0
        for start in range(0, len(self._chunk), self.chunk_size):
            part = self._chunk.slice(start, start + self.chunk_size)
            self.packets += len(part)
            yield part

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing to close."""


def from_packets(
    packets: Iterable[Any],
    times_ns: Iterable[int] | None = None,
    *,
    link: int | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> PacketsReader:
    """Scapy packets, or ``bytes``, as a reader.

    A dissected packet gives its ``original`` bytes, its ``wirelen`` and its ``time``; a crafted
    one is built, and needs its time in ``times_ns`` (what Scapy calls its time is when it was
    made). ``bytes`` without ``times_ns`` are all at 0. ``link`` is the LINKTYPE; None takes it
    from the packet's first layer, Ethernet for bytes. An open reader of Scapy (RawPcapReader,
    PcapReader) is read to its end; its fault, if any, is that of the result. Raises CaptureError,
    naming the packet.
    """
    begin = time.perf_counter()
    if type(packets).__module__ == "scapy.utils" and type(packets).__name__ in OPEN_READERS:
        return _from_reader(packets, chunk_size, begin)
    _load_layers()
    times = iter(times_ns) if times_ns is not None else None
    records: list[Record] = []
    kind = ""
    for number, packet in enumerate(packets, 1):
        given = None if times is None else next(times, None)
        if times is not None and given is None:
            raise CaptureError(f"packet {number}: has no time: times_ns holds {number - 1}")
        kind = kind or type(packet).__name__
        records.append(_record(packet, number, given, link))
    reader = type(packets).__name__ if hasattr(packets, "read_packet") else f"list of {kind}"
    found = PacketsReader(pack(records), reader, chunk_size, time.perf_counter() - begin)
    found.notes = held(records)
    return found


def _load_layers() -> None:
    """Link layers for packets yet to be dissected; ``scapy.utils`` alone knows none."""
    if "scapy.utils" in sys.modules:
        from scapy.layers import inet, inet6, l2  # noqa: F401 - they register themselves


def _from_reader(raw: Any, chunk_size: int, begin: float) -> PacketsReader:
    """What an open reader of Scapy still has; its offsets are right if it is at its first packet.

    Dissecting would change nothing but lose what a packet does not know: see ``_read``.
    """
    records: list[Record] = []
    fault = None
    try:
        records.extend(_pcapng_records(raw) if hasattr(raw, "interfaces") else _pcap_records(raw))
    except _Stop as stop:
        fault = Fault(str(raw.filename), stop.byte_offset, len(records), str(stop))
    reader = PacketsReader(pack(records), type(raw).__name__, chunk_size,
                           time.perf_counter() - begin)
    reader.fault, reader.notes = fault, held(records)
    return reader


def _record(packet: Any, number: int, time_ns: int | None, link: int | None) -> Record:
    """A packet, or bytes, as a frame."""
    if isinstance(packet, (bytes, bytearray, memoryview)):
        data = bytes(packet)
        return Record(data, len(data), time_ns or 0, 1 if link is None else link)
    if not hasattr(packet, "original"):
        raise CaptureError(
            f"packet {number}: a {type(packet).__name__} is neither a Scapy packet nor bytes")
    data = bytes(packet.original or b"")
    if not data:
        if time_ns is None:
            raise CaptureError(
                f"packet {number}: was crafted and has no capture time: give times_ns, "
                "nanoseconds since the epoch, one for each packet")
        data = bytes(packet)
    length = getattr(packet, "wirelen", None)
    if time_ns is None:
        time_ns = int((Decimal(packet.time).scaleb(9)).to_integral_value(ROUND_FLOOR))
    return Record(data, len(data) if length is None else int(length), time_ns,
                  _link_of(packet, number) if link is None else link)


def _link_of(packet: Any, number: int) -> int:
    """LINKTYPE by the first layer of a packet."""
    from scapy.config import conf

    found = conf.l2types.layer2num.get(type(packet))
    if found is not None:
        return int(found)
    if type(packet).__name__ in ("IP", "IPv6"):
        return 101
    raise CaptureError(
        f"packet {number}: begins with {type(packet).__name__}, which is no link layer: "
        "give link=, or import scapy.layers.all before reading")


def held(records: list[Record]) -> list[str]:
    """What is to be said of times outside capture time, if there are any."""
    places = [number for number, record in enumerate(records, 1)
              if not 0 <= record.time_ns <= LATEST_NS]
    return [held_text(len(places), places[0])] if places else []


def pack(records: list[Record]) -> Chunk:
    """Frames in one chunk; times are held in [0, 2**62]."""
    if not records:
        return Chunk.from_frames([], [])
    data, length, time_ns, link = zip(*records, strict=True)
    times = [min(max(at_ns, 0), LATEST_NS) for at_ns in time_ns]
    return Chunk.from_frames(data, times, length, link)


def _opener(path: str, name: str) -> Callable[..., Any]:
    """A function that opens the file with the class of Scapy of that name, or another."""
    def opened(other: str = name) -> Any:
        from scapy import utils
        from scapy.error import Scapy_Exception

        # Opened here: Scapy leaves the file open when it does not like what is in it.
        file = open(path, "rb")  # noqa: SIM115 - Scapy's reader closes it
        try:
            return getattr(utils, other)(file)
        except (Scapy_Exception, OSError, EOFError, struct.error, zlib.error) as error:
            file.close()
            raise CaptureError(
                f"{path}: Scapy's {other} cannot read it ({error}): {NATIVE}") from error
    return opened


def _damaged(error: EOFError) -> str:
    """Why Scapy stopped, "" for a regular end: it says EOFError for nearly everything."""
    if str(error):
        return str(error)
    cause = error.__context__
    return str(cause) if isinstance(cause, (OSError, OverflowError, zlib.error)) else ""


def _pcap_records(raw: Any) -> Iterator[Record]:
    """Records of Scapy's reader of pcap files."""
    unit = 1 if raw.nano else 1000
    link = raw.linktype & LINK_MASK & 0xFFFF
    limit = packet_limit(link)
    position = 24
    read = raw._read_packet
    while True:
        try:
            data, (seconds, fraction, length, captured) = read(WHOLE)
        except EOFError as error:
            why = _damaged(error)
            if why or raw.f.tell() > position:
                why = why or "the file ends within the header of a record"
                raise _Stop(position, why) from None
            return
        if captured > limit:
            raise _Stop(position, f"a record claims {captured} captured bytes, and at most {limit} "
                        "are possible: the file is damaged from here on")
        if captured != len(data):
            if len(data) >= 65_535:
                raise _Stop(position, f"Scapy cuts this record of {captured} bytes: {NATIVE}")
            raise _Stop(position, f"the file ends within a record: {len(data)} of its {captured} "
                        "bytes are there")
        yield Record(data, length, seconds * 10**9 + fraction * unit, link)
        position += 16 + captured


class _Blocks:
    """Scapy's pcapng reader, watched: where each block begins, and what Scapy passes over."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.start = 0
        self._block, self._section = raw._read_block, raw._read_block_shb
        raw._read_block, raw._read_block_shb = self.block, self.section
        raw._check_interface_id = self.check
        self._kinds = {kind: raw.blocktypes[kind] for kind in (1, 2, 6)}
        raw.blocktypes.update({1: self.interface, 2: self.packet, 6: self.enhanced})

    def block(self, *arguments: Any, **keywords: Any) -> Any:
        self.start = self.raw.f.tell()
        return self._block(*arguments, **keywords)

    def section(self) -> None:
        """Scapy would go on counting the interfaces of the section before."""
        self._section()
        self.raw.interfaces.clear()

    def check(self, number: int) -> bool:
        """Scapy would leave the packet out, with a warning."""
        if number >= len(self.raw.interfaces):
            raise _Stop(self.start, "a block names an interface that its section does not describe")
        return True

    def interface(self, block: bytes, size: int) -> None:
        """Scapy takes snap length 0 at its word, and knows no if_tsoffset."""
        self._kinds[1](block, size)
        raw = self.raw
        if raw._read_options(block[8:]).get(OPTION_TSOFFSET, b"").strip(b"\0"):
            raise _Stop(self.start, f"an if_tsoffset, which Scapy ignores: {NATIVE}")
        link, snaplen, found = raw.interfaces[-1]
        raw.interfaces[-1] = (link, snaplen or NO_LIMIT, found)

    def packet(self, block: bytes, size: int) -> Any:
        self._fits(block)
        return self._kinds[2](block, size)

    def enhanced(self, block: bytes, size: int) -> Any:
        self._fits(block)
        return self._kinds[6](block, size)

    def _fits(self, block: bytes) -> None:
        """Scapy would give what the block has."""
        if len(block) < 20:
            raise _Stop(self.start, "a packet block has an impossible length")
        (captured,) = struct.unpack_from(self.raw.endian + "I", block, 12)
        if captured > len(block) - 20:
            raise _Stop(self.start, "a block claims more captured bytes than it has")


def _pcapng_records(raw: Any) -> Iterator[Record]:
    """Packets of Scapy's reader of pcapng files."""
    watch = _Blocks(raw)
    last_ns = 0
    while True:
        try:
            data, meta = raw._read_packet(WHOLE)
        except EOFError as error:
            why = _damaged(error)
            if why or raw.f.tell() > watch.start:
                why = why or "the file ends within a block, or the block is damaged"
                raise _Stop(watch.start, why) from None
            return
        if len(data) > packet_limit(meta.linktype):
            raise _Stop(watch.start, f"a packet of {len(data)} bytes: longer than any can be")
        if meta.tshigh is not None:
            ticks = (meta.tshigh << 32) + meta.tslow
            last_ns = ticks * 10**9 // meta.tsresol
        yield Record(data, meta.wirelen, last_ns, meta.linktype)
