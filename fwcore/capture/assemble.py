"""Columns of header fields -> frames with valid checksums, without a Python loop per packet.

A *layout* is everything that a class of frames has in common: family, protocol, payload, and so
the sizes, the template bytes and the constant part of both checksums. *Columns* hold what differs
from packet to packet. All frames of one layout are made together: the template is copied, the
columns are written into it as strided views, then the rows go to their places in the packed buffer.

    columns ──► rows of layout 0 ──► template + columns ──► buffer[offset]
            ──► rows of layout 1 ──► ...

Checksums: ones' complement sums are sums modulo 65 535, in which a 32-bit word counts like its two
halves (RFC 1071). The sum of the template, with zeros in place of the columns, is taken once;
a packet adds its columns and folds. Both directions have the same sum, for addition commutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Column = Callable[[int, str], np.ndarray]      # (where, dtype): a field of all frames

ETHERNET_BYTES = 14
MIN_FRAME_BYTES = 60  # IEEE 802.3: 64 with the FCS, which captures do not hold
RECORD_BYTES = 16  # the header of a pcap record
TCP, UDP = 6, 17
IP_BYTES = {4: 20, 6: 40}
L4_BYTES = {TCP: 20, UDP: 8}

CLIENT_MAC = bytes.fromhex("020000000001")  # locally administered
SERVER_MAC = bytes.fromhex("020000000002")
CLIENT_PREFIX = bytes.fromhex("fd0000000000000000000000")  # fd00::/96, RFC 4193
SERVER_PREFIX = bytes.fromhex("200100020000000000000000")  # 2001:2::/96, benchmarking, RFC 5180


def _sum16(octets: bytes) -> int:
    """Sum of the big-endian 16-bit words of ``octets``; an odd last byte is padded with zero."""
    return int(np.frombuffer(octets + b"\0" * (len(octets) % 2), ">u2").sum(dtype=np.uint64))


@dataclass(frozen=True)
class Layout:
    """What frames of one class have in common. ``snap_bytes`` 0 keeps whole frames.

    In a UDP payload of two bytes or more the first two are overwritten by the ``stamp`` column
    (a DNS id, a counter).
    """

    family: int
    protocol: int
    payload: bytes = b""
    snap_bytes: int = 0
    wire_bytes: int = field(init=False)  # bytes of the frame, padded, without FCS
    captured_bytes: int = field(init=False)
    l4_at: int = field(init=False)  # offset of the TCP or UDP header
    head_bytes: int = field(init=False)  # all bytes that a column may change
    template: bytes = field(init=False)
    ip_sum: int = field(init=False)
    l4_sum: int = field(init=False)

    def __post_init__(self) -> None:
        l4_at = ETHERNET_BYTES + IP_BYTES[self.family]
        header = l4_at + L4_BYTES[self.protocol]
        payload = b"\0\0" + self.payload[2:] if self.stamped else self.payload
        l4_bytes = L4_BYTES[self.protocol] + len(payload)
        ip = self._ip(l4_bytes)
        l4 = self._l4(l4_bytes) + payload
        frame = SERVER_MAC + CLIENT_MAC
        frame += (b"\x08\x00" if self.family == 4 else b"\x86\xdd") + ip + l4
        frame = frame.ljust(MIN_FRAME_BYTES, b"\0")
        captured = min(len(frame), self.snap_bytes or len(frame))
        pseudo = self.protocol + l4_bytes
        if self.family == 6:
            pseudo += _sum16(CLIENT_PREFIX) + _sum16(SERVER_PREFIX)
        constants = {
            "wire_bytes": len(frame), "captured_bytes": captured, "l4_at": l4_at,
            "head_bytes": header + (2 if self.stamped else 0), "template": frame[:captured],
            "ip_sum": _sum16(ip), "l4_sum": _sum16(l4) + pseudo,
        }
        for name, value in constants.items():
            object.__setattr__(self, name, value)

    @property
    def stamped(self) -> bool:
        return self.protocol == UDP and len(self.payload) >= 2

    def _ip(self, l4_bytes: int) -> bytes:
        """IP header, addresses and checksum zero, but for the prefixes of IPv6. TTL 64, DF."""
        if self.family == 4:
            total = 20 + l4_bytes
            return (b"\x45\0" + total.to_bytes(2, "big") + b"\0\0\x40\0\x40"
                    + bytes([self.protocol]) + bytes(10))
        return (b"\x60\0\0\0" + l4_bytes.to_bytes(2, "big") + bytes([self.protocol, 64])
                + CLIENT_PREFIX + bytes(4) + SERVER_PREFIX + bytes(4))

    def _l4(self, l4_bytes: int) -> bytes:
        """TCP (window 65535, no options) or UDP header; what columns fill in is zero."""
        if self.protocol == TCP:
            return bytes(12) + b"\x50\0\xff\xff" + bytes(4)
        return bytes(4) + l4_bytes.to_bytes(2, "big") + bytes(2)


@dataclass(frozen=True, slots=True)
class Columns:
    """n packets. Arrays are of length n; client, server, ports, flags, seq, ack, stamp: uint64[n].

    An int stands for a column of equal values, ``reply`` None for "all from the client",
    ``layout`` None for "all of layout 0". Addresses are the 32-bit number (IPv4) or the low
    32 bits (IPv6).
    """

    client: np.ndarray | int
    server: np.ndarray | int
    client_port: np.ndarray | int
    server_port: np.ndarray | int
    reply: np.ndarray | None = None  # bool[n]
    layout: np.ndarray | None = None  # intp[n]
    flags: np.ndarray | int = 0
    seq: np.ndarray | int = 0
    ack: np.ndarray | int = 0
    stamp: np.ndarray | int = 0

    def rows(self, index: np.ndarray) -> Columns:
        """The columns of some of the packets."""
        picked = {}
        for name in self.__slots__:
            value = getattr(self, name)
            picked[name] = value[index] if isinstance(value, np.ndarray) else value
        return Columns(**picked)


@dataclass(frozen=True, slots=True)
class Frames:
    """Packed frames: data uint8[...], offset uint64[n], captured and length uint32[n].

    With ``room`` bytes before each frame; ``offset`` points behind the room.
    """

    data: np.ndarray
    offset: np.ndarray
    captured: np.ndarray
    length: np.ndarray


def fold(total: np.ndarray) -> np.ndarray:
    """Sums below 2**48 -> the 16-bit ones' complement checksum, uint64[n] (RFC 1071)."""
    total = (total & 0xFFFFFFFF) + (total >> 32)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def assemble(layouts: tuple[Layout, ...], columns: Columns, time_ns: np.ndarray,
             room: int = 0) -> Frames:
    """Frames of ``columns``, in order, packed. ``room`` is 0, or 16 for pcap record headers."""
    count = len(time_ns)
    if len(layouts) == 1:
        layout = layouts[0]
        width = room + layout.captured_bytes
        data = np.empty((count, width), np.uint8)
        data[:] = np.frombuffer(bytes(room) + layout.template, np.uint8)
        _write_heads(layout, data, columns, time_ns, room)
        offset = np.arange(count, dtype=np.uint64) * width + room
        captured = np.full(count, layout.captured_bytes, np.uint32)
        length = np.full(count, layout.wire_bytes, np.uint32)
        return Frames(data.reshape(-1), offset, captured, length)
    assert columns.layout is not None  # several layouts: each packet says which
    captured = np.array([x.captured_bytes for x in layouts], np.uint32)[columns.layout]
    length = np.array([x.wire_bytes for x in layouts], np.uint32)[columns.layout]
    end = np.cumsum(captured + np.uint32(room), dtype=np.uint64)
    start = end - captured - room
    data = np.empty((int(end[-1]) if count else 0,), np.uint8)
    order = np.argsort(columns.layout.astype(np.uint8), kind="stable")
    bounds = np.searchsorted(columns.layout[order], np.arange(len(layouts) + 1))
    for number, layout in enumerate(layouts):
        rows = order[bounds[number]:bounds[number + 1]]
        if len(rows):
            _place(layout, data, start[rows], columns.rows(rows), time_ns[rows], room)
    return Frames(data, start + room, captured, length)


def _place(layout: Layout, data: np.ndarray, start: np.ndarray, columns: Columns,
           time_ns: np.ndarray, room: int) -> None:
    """Writes the frames of one layout, room included, to their places in the packed buffer."""
    whole = room + layout.captured_bytes
    head = room + layout.head_bytes
    if whole - head < 64:  # one copy of a short frame costs less than two
        head = whole
    template = np.frombuffer(bytes(room) + layout.template, np.uint8)
    heads = np.empty((len(start), head), np.uint8)
    heads[:] = template[:head]
    _write_heads(layout, heads, columns, time_ns, room)
    start = start.astype(np.intp)
    if whole > head:
        rest = _windows(data, whole - head)
        rest[start + head] = template[head:].view(f"V{whole - head}")[0]
    _windows(data, head)[start] = heads.view(f"V{head}")[:, 0]


def _windows(data: np.ndarray, size: int) -> np.ndarray:
    """Every run of ``size`` bytes in ``data`` as one item, overlapping: NumPy copies it whole."""
    return np.ndarray((len(data) - size + 1,), f"V{size}", data, strides=(1,))


def _write_heads(layout: Layout, matrix: np.ndarray, columns: Columns, time_ns: np.ndarray,
                 room: int) -> None:
    """Fills the fields that differ into ``matrix`` uint8[n, at least room + head_bytes]."""
    count, stride = matrix.shape

    def column(at: int, dtype: str) -> np.ndarray:
        return np.ndarray((count,), dtype, matrix, room + at, (stride,))

    if not count:
        return
    if room:
        _write_record(layout, column, time_ns)
    _write_addresses(layout, column, columns)
    c, l4_at = columns, layout.l4_at
    total = (np.asarray(c.client, np.uint64) + np.asarray(c.server, np.uint64))
    if layout.family == 4:
        column(24, ">u2")[:] = fold(total + layout.ip_sum)
    total = total + c.client_port + c.server_port + layout.l4_sum
    if layout.protocol == TCP:
        column(l4_at + 4, ">u4")[:] = c.seq
        column(l4_at + 8, ">u4")[:] = c.ack
        column(l4_at + 13, "u1")[:] = c.flags
        column(l4_at + 16, ">u2")[:] = fold(total + c.seq + c.ack + c.flags)
        return
    if layout.stamped:
        column(l4_at + 8, ">u2")[:] = c.stamp
        total = total + c.stamp
    checksum = fold(total)
    checksum[checksum == 0] = 0xFFFF  # RFC 768: zero would mean "no checksum"
    column(l4_at + 6, ">u2")[:] = checksum


def _write_record(layout: Layout, column: Column, time_ns: np.ndarray) -> None:
    """The pcap record header in the 16 bytes before the frame, little-endian, nanoseconds."""
    seconds = time_ns // 1_000_000_000
    column(-16, "<u4")[:] = seconds
    column(-12, "<u4")[:] = time_ns - seconds * 1_000_000_000
    column(-8, "<u4")[:] = layout.captured_bytes
    column(-4, "<u4")[:] = layout.wire_bytes


def _write_addresses(layout: Layout, column: Column, c: Columns) -> None:
    """MAC and IP addresses and ports, exchanged in replies."""
    source, destination = (26, 30) if layout.family == 4 else (34, 50)
    ports = layout.l4_at, layout.l4_at + 2
    if c.reply is None:
        column(source, ">u4")[:] = c.client
        column(destination, ">u4")[:] = c.server
        column(ports[0], ">u2")[:] = c.client_port
        column(ports[1], ">u2")[:] = c.server_port
        return
    direction = c.reply.view(np.uint8)
    column(0, "V12")[:] = _pair(SERVER_MAC + CLIENT_MAC, CLIENT_MAC + SERVER_MAC)[direction]
    column(source, ">u4")[:] = np.where(c.reply, c.server, c.client)
    column(destination, ">u4")[:] = np.where(c.reply, c.client, c.server)
    column(ports[0], ">u2")[:] = np.where(c.reply, c.server_port, c.client_port)
    column(ports[1], ">u2")[:] = np.where(c.reply, c.client_port, c.server_port)
    if layout.family == 6:
        prefixes = _pair(CLIENT_PREFIX, SERVER_PREFIX)
        column(source - 12, "V12")[:] = prefixes[direction]
        column(destination - 12, "V12")[:] = prefixes[1 - direction]


def _pair(forward: bytes, reply: bytes) -> np.ndarray:
    return np.frombuffer(forward + reply, "V12")
