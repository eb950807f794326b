"""The native reader of pcapng files: sections, interfaces, and the packets in between.

    section   | interface | interface | packet | ... | section | interface | packet ...
    block     type 4 | length 4 | body, padded to 4 | length 4

The walk over packets is in C; it comes back for section headers and interfaces, which are read
here. A new section forgets the interfaces and may change the byte order. Blocks of other types
(names, statistics, secrets, custom) are skipped; of those that Wireshark numbers as frames a note
says that there are any. Source: draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct

import numpy as np

from fwcore._capture import ScanStatus, capture_scan_pcapng
from fwcore.capture.chunk import Array
from fwcore.capture.native import NativeReader, Room, packet_limit, whole_header
from fwcore.capture.stream import Source
from fwcore.errors import CaptureError

MAGIC = b"\x0a\x0d\x0d\x0a"
SECTION_BYTES = 28
INTERFACE_BYTES = 20
ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
OPTION_TSRESOL = 9
OPTION_TSOFFSET = 14
MICROSECONDS = b"\x06"        # what if_tsresol is where it is not said
NOTES_MAX = 10
NO_LIMIT = 2**32 - 1
COLUMNS = 7


class BlockError(Exception):
    """A section header or interface block does not make sense."""


def resolution(code: int) -> tuple[int, int, int]:
    """An if_tsresol byte as (multiply, divide, shift): ns = ticks * multiply / divide >> shift.

    The top bit chooses between powers of two and of ten. A unit too fine for 64 bits of it to
    reach one nanosecond has divide 0.
    """
    power = code & 0x7F
    if code & 0x80:
        return 10**9, 1, power
    if power <= 9:
        return 10 ** (9 - power), 1, 0
    return 1, (10 ** (power - 9) if power <= 28 else 0), 0


def options(body: bytes, order: str) -> dict[int, bytes]:
    """The options at the end of a block, the first of each code; raises BlockError."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        if code == 0:
            break
        if at + 4 + size > len(body):
            raise BlockError(f"option {code} of {size} bytes reaches past its block")
        found.setdefault(code, body[at + 4 : at + 4 + size])
        at += 4 + size + (-size & 3)
    return found


def interface_row(block: bytes, order: str, notes: list[str]) -> list[int]:
    """The row of the interface table for an interface block (columns: scan.pxd); BlockError.

    An option of a wrong length is as good as none, as Wireshark has it; ``notes`` takes a line.
    """
    if len(block) < INTERFACE_BYTES:
        raise BlockError(f"an interface block of {len(block)} bytes; it has at least 20")
    link, snaplen = struct.unpack_from(order + "HxxI", block, 8)
    found = options(block[16:-4], order)
    tsresol = found.get(OPTION_TSRESOL, MICROSECONDS)
    tsoffset = found.get(OPTION_TSOFFSET, bytes(8))
    if len(tsresol) != 1:
        notes.append(f"if_tsresol has {len(tsresol)} bytes, not 1: times are read as microseconds")
        tsresol = MICROSECONDS
    if len(tsoffset) != 8:
        notes.append(f"if_tsoffset has {len(tsoffset)} bytes, not 8: no offset is added")
        tsoffset = bytes(8)
    (offset_s,) = struct.unpack(order + "Q", tsoffset)
    return [link, snaplen or NO_LIMIT, packet_limit(link), *resolution(tsresol[0]), offset_s]


class PcapNgReader(NativeReader):
    """Frames of a pcapng file. A packet without a time has that of the packet before, or 0."""

    def _begin(self, source: Source) -> None:
        self.format = "pcapng"
        self.said = []
        self._shown = self._behind = 0      # blocks with a number in Wireshark; packets before
        self._order = "<"
        self._table: Array = np.empty((8, COLUMNS), np.uint64)
        self._interfaces = self._table[:0]
        self._last_ns = 0
        self._position = 0
        self._wrong = ""
        header = whole_header(self.path, source, 12, (MAGIC,))
        if header[8:] not in ORDERS:
            raise CaptureError(
                f"{self.path}: byte 8: begins like pcapng, but its byte-order mark is "
                f"{header[8:].hex()}: damaged, or no capture"
            )

    @property
    def notes(self) -> list[str]:
        """What was read on over, and whose numbers are not Wireshark's."""
        if not self._shown:
            return super().notes
        blocks = "a block" if self._shown == 1 else f"{self._shown} blocks"
        return [*super().notes, f"{blocks} after packet {self._behind}, custom ones or entries of"
                " a log, no packets here and frames for Wireshark: its numbers are higher from"
                " there on"]

    def _scan(self, data: Array, room: Room) -> tuple[int, ScanStatus]:
        count = 0
        while True:
            (taken, self._position, status, self._last_ns, held, first, shown,
             before) = capture_scan_pcapng(
                data, self._position, len(data), self._order == ">", self._interfaces,
                self._last_ns, room.offset[count:], room.captured[count:], room.length[count:],
                room.time_ns[count:], room.link[count:])
            if held and not self.held:
                self.first_held = self.packets + count + first + 1
            self.held += held
            if shown and not self._shown:
                self._behind = self.packets + count + before
            self._shown += shown
            count += taken
            if status != ScanStatus.CONTROL:
                return count, ScanStatus(status)
            answer = self._control(data)
            if answer is not None:
                return count, answer

    def _control(self, data: Array) -> ScanStatus | None:
        """Read the section header or interface at ``_position`` and pass it; None if it is well."""
        start = self._position
        head = data[start : start + SECTION_BYTES].tobytes()
        section = head[:4] == MAGIC
        if section:
            if len(head) < 12:
                return ScanStatus.CUT
            if head[8:12] not in ORDERS:
                self._wrong = f"a section header with the byte-order mark {head[8:12].hex()}"
                return ScanStatus.CONTROL
            self._order = ORDERS[head[8:12]]
        (total,) = struct.unpack_from(self._order + "I", head, 4)
        try:
            if section:
                if not self._whole_section(data, total):
                    return ScanStatus.CUT
            else:
                self._add(data[start : start + total].tobytes())
        except BlockError as error:
            self._wrong = str(error)
            return ScanStatus.CONTROL
        self._position = start + total
        return None

    def _add(self, block: bytes) -> None:
        """One more interface of the section; the table doubles, for a file may have millions."""
        said: list[str] = []
        row = interface_row(block, self._order, said)
        for text in said[: NOTES_MAX - len(self.said)]:
            self.said.append(f"interface {len(self._interfaces)}: {text}")
        count = len(self._interfaces)
        if count == len(self._table):
            self._table = np.concatenate([self._table, np.empty_like(self._table)])
        self._table[count] = row
        self._interfaces = self._table[: count + 1]

    def _whole_section(self, data: Array, total: int) -> bool:
        """Begin the section at ``_position``; False if the bytes end within its header."""
        start = self._position
        if total < SECTION_BYTES or total & 3 or total > 1 << 27:
            raise BlockError(f"a section header of {total} bytes")
        if start + total > len(data):
            return False
        head = data[start : start + SECTION_BYTES].tobytes()
        major, minor = struct.unpack_from(self._order + "HH", head, 12)
        if major != 1:
            raise BlockError(f"pcapng version {major}.{minor}, only 1.x is known")
        tail = data[start + total - 4 : start + total].tobytes()
        if struct.unpack(self._order + "I", tail)[0] != total:
            raise BlockError(f"the length after a section header differs from {total} before it")
        self._interfaces = self._table[:0]
        return True

    def _explain(self, data: Array, status: ScanStatus) -> str:
        left = len(data) - self._position
        head = data[self._position : self._position + 12].tobytes().ljust(12, b"\0")
        kind, total = struct.unpack_from(self._order + "II", head)
        if status == ScanStatus.CUT:
            if left < 12:
                return f"the file ends {left} bytes into a block"
            return f"the file ends within a block: {left} of its {total} bytes are there"
        why = {
            ScanStatus.LONG: "is longer than any packet can be",
            ScanStatus.LENGTH: "has an impossible length",
            ScanStatus.TRAILER: "gives another length at its end",
            ScanStatus.SPACE: "claims more captured bytes than it has",
            ScanStatus.INTERFACE: "names an interface that its section does not describe",
            ScanStatus.CONTROL: self._wrong,
        }[status]
        if status == ScanStatus.CONTROL:
            return f"{why}: the file is damaged from here on"
        return (f"a block of type {kind:#x} and {total} bytes {why}: the file is damaged from "
                "here on")
