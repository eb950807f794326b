"""The native reader of pcap files: both byte orders, three record formats.

    0   magic 4 | version 2+2 | zone 4 | accuracy 4 | snap length 4 | link type 4
    24  seconds 4 | fraction 4 | captured 4 | length 4 | (8 more: modified) | bytes ...

Format: draft-ietf-opsawg-pcap; the modified format (24-byte record headers, of a patched libpcap
of 1999) by libpcap's sf-pcap.c. Names of the formats are those of capinfos.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from fwcore._capture import ScanStatus, capture_scan_pcap
from fwcore.capture.chunk import LINK_MASK, Array
from fwcore.capture.native import NativeReader, Room, packet_limit, whole_header
from fwcore.capture.stream import Source
from fwcore.errors import CaptureError

HEADER_BYTES = 24


class Form(NamedTuple):
    """What a magic number says of the records that follow."""

    name: str
    order: str
    """Of bytes, as struct writes it."""
    record_bytes: int
    unit_ns: int


MAGICS = {
    struct.pack(order + "I", magic): Form(name, order, record_bytes, unit_ns)
    for order in "<>"
    for magic, name, record_bytes, unit_ns in (
        (0xA1B2C3D4, "pcap", 16, 1000),
        (0xA1B23C4D, "nsecpcap", 16, 1),
        (0xA1B2CD34, "modpcap", 24, 1000),
    )
}


class PcapReader(NativeReader):
    """Frames of a pcap file. A fraction of a second of one second or more simply adds."""

    def _begin(self, source: Source) -> None:
        header = whole_header(self.path, source, HEADER_BYTES, MAGICS)
        self._form = MAGICS[header[:4]]
        major, minor = struct.unpack_from(self._form.order + "HH", header, 4)
        if major != 2:
            raise CaptureError(
                f"{self.path}: byte 4: pcap version {major}.{minor}, only 2.x is known; "
                "convert it with editcap"
            )
        (word,) = struct.unpack_from(self._form.order + "I", header, 20)
        self.link = (word & LINK_MASK) & 0xFFFF
        self.format = self._form.name
        self._limit = packet_limit(self.link)
        self._swapped = self._form.order == ">"
        self._position = HEADER_BYTES

    def _scan(self, data: Array, room: Room) -> tuple[int, ScanStatus]:
        form = self._form
        count, self._position, status = capture_scan_pcap(
            data, self._position, len(data), self._swapped, form.record_bytes, form.unit_ns,
            self._limit, room.offset, room.captured, room.length, room.time_ns)
        room.link[:count] = self.link
        return count, ScanStatus(status)

    def _explain(self, data: Array, status: ScanStatus) -> str:
        left = len(data) - self._position
        if left < self._form.record_bytes:
            return (f"the file ends {left} bytes into the {self._form.record_bytes}-byte header "
                    "of a record")
        if status == ScanStatus.JOINED:
            return ("the header of another capture stands where a record would be: files that were"
                    " put one behind the other; give them one by one, or join them with mergecap")
        at = data[self._position + 8 : self._position + 12].tobytes()
        (captured,) = struct.unpack(self._form.order + "I", at)
        if status == ScanStatus.LONG:
            return (f"a record claims {captured} captured bytes, and at most {self._limit} are "
                    "possible: the file is damaged from here on")
        return (f"the file ends within a record: {left - self._form.record_bytes} of its "
                f"{captured} bytes are there")
