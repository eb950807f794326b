"""Frames by hand, for tests and tools: Ethernet, IPv4 and IPv6, TCP, UDP, ICMP, fragments.

Without checksums, but for what a kernel is to take (``checked``). What others build is held against
these or has to be another's: pcaps/make.py is Scapy's, the made-up traffic is arrays.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import ip_address

from fwcore.capture import Chunk

START = 1_000 * 10**9       # of chunk, ns
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32}


def flag_bits(letters: str) -> int:
    """``"SA"`` to the bits of a TCP header."""
    return sum(FLAGS[letter] for letter in letters)


def tcp(source_port: int, destination_port: int, flags: str | int = "A",
        payload: int = 0, numbers: tuple[int, int] = (1, 1)) -> bytes:
    """``flags``: letters, or their bits; ``numbers``: of the sequence, and acknowledged."""
    bits = flags if isinstance(flags, int) else flag_bits(flags)
    head = struct.pack(
        "!HHIIBBHHH", source_port, destination_port, *numbers, 5 << 4, bits, 1024, 0, 0)
    return head + bytes(payload)


def udp(source_port: int, destination_port: int, payload: int = 0) -> bytes:
    return struct.pack("!HHHH", source_port, destination_port, 8 + payload, 0) + bytes(payload)


def echo(identifier: int, reply: bool = False, family: int = 4) -> bytes:
    kind = (0 if reply else 8) if family == 4 else (129 if reply else 128)
    return struct.pack("!BBHHH", kind, 0, 0, identifier, 1)


def icmp_error(quoted: bytes, kind: int = 3) -> bytes:
    """An ICMP error that quotes an IP packet (as many bytes as given)."""
    return struct.pack("!BBHI", kind, 1, 0, 0) + quoted


def ip(source: str | int, destination: str | int, protocol: int, body: bytes, *, fragment: int = 0,
       more: bool = False, identifier: int = 1, length: int | None = None,
       options: bytes = b"") -> bytes:
    """An IP packet; ``fragment``: offset in units of 8 bytes (IPv6: with a fragment header).

    ``length``: what its field says, if not the truth; ``options``: of IPv4, words of four bytes.
    """
    a, b = ip_address(source), ip_address(destination)
    if a.version == 4:
        size = 20 + len(options)
        return struct.pack(
            "!BBHHHBBH4s4s", 0x40 | size // 4, 0, size + len(body) if length is None else length,
            identifier & 0xFFFF, (more << 13) | fragment, 64, protocol, 0, a.packed, b.packed,
        ) + options + body
    if fragment or more:
        body = struct.pack("!BBHI", protocol, 0, fragment << 3 | more, identifier) + body
        protocol = 44
    return struct.pack("!IHBB16s16s", 6 << 28, len(body) if length is None else length, protocol,
                       64, a.packed, b.packed) + body


def checked(packet: bytes) -> bytes:
    """The IPv4 header's checksum set right: a kernel drops a packet with a wrong one."""
    size = (packet[0] & 15) * 4
    if packet[0] >> 4 != 4 or not 20 <= size <= len(packet):
        return packet
    head = bytearray(packet[:size])
    head[10:12] = b"\0\0"
    total = sum(struct.unpack(f"!{size // 2}H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head[10:12] = struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
    return bytes(head) + packet[size:]


def ethernet(packet: bytes, *vlans: int, ends: bytes = bytes(12)) -> bytes:
    """A frame with VLAN ids from the outermost to the innermost; ``ends``: MAC addresses."""
    kind = b"\x08\x00" if packet[:1] and packet[0] >> 4 == 4 else b"\x86\xdd"
    tags = b"".join(struct.pack("!HH", 0x8100, vlan) for vlan in vlans)
    return ends + tags + kind + packet


def sctp(source_port: int, destination_port: int, payload: int = 0) -> bytes:
    return struct.pack("!HHII", source_port, destination_port, 1, 0) + bytes(payload)


# Ways in which an IP packet travels: name -> (link type, what stands before it).
WAYS = {
    "ethernet": (1, lambda kind: bytes(12) + kind),
    "vlan": (1, lambda kind: bytes(12) + b"\x81\x00\x00\x07" + kind),
    "qinq": (1, lambda kind: bytes(12) + b"\x88\xa8\x00\x07\x81\x00\x00\x09" + kind),
    "mpls": (1, lambda kind: bytes(12) + b"\x88\x47\x00\x01\x00\x40\x00\x02\x01\x40"),
    "pppoe": (1, lambda kind: bytes(12) + b"\x88\x64\x11\x00\x00\x01\x00\x30"
              + (b"\x00\x21" if kind == b"\x08\x00" else b"\x00\x57")),
    "sll": (113, lambda kind: bytes(14) + kind),
    "sll2": (276, lambda kind: kind + bytes(18)),
    "null": (0, lambda kind: b"\x02\0\0\0" if kind == b"\x08\x00" else b"\x1e\0\0\0"),
    "raw": (101, lambda kind: b""),
    "unknown": (105, lambda kind: bytes(24)),
}


def travelling(packet: bytes, way: str) -> tuple[bytes, int]:
    """(frame, link type) of an IP packet."""
    link, before = WAYS[way]
    kind = b"\x08\x00" if packet[:1] and packet[0] >> 4 == 4 else b"\x86\xdd"
    return before(kind) + packet, link


def dns(host: int = 1, port: int = 5000) -> bytes:
    """A question of host 10.0.x.x, x.x the number given."""
    return ethernet(ip(f"10.0.{host >> 8}.{host & 255}", "192.0.2.53", 17, udp(port, 53, 20)))


def web(host: int = 1, flags: str = "S", port: int = 4000) -> bytes:
    """A segment of host 10.0.0.x to a server."""
    return ethernet(ip(f"10.0.0.{host}", "192.0.2.1", 6, tcp(port, 80, flags)))


def chunk(frames: Sequence[bytes], at_ns: int = START) -> Chunk:
    """Frames a nanosecond apart."""
    return Chunk.from_frames(frames, [at_ns + i for i in range(len(frames))])
