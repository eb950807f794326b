"""Captured bytes: each header is asked for before it is read."""

from __future__ import annotations

EXTENSION_UNITS = (0, 43, 60, 135, 139, 140)  # length (n + 1) * 8
EXTENSION_AH, EXTENSION_FRAGMENT = 51, 44
EXTENSIONS_MAX = 8


class Malformed(Exception):
    """A header contradicts itself or does not fit what was on the wire."""


class Truncated(Exception):
    """A header was on the wire but not captured."""


class Orphan(Exception):
    """The packet an ICMP error quotes cannot give a key."""


class Frame:
    """Captured bytes with the length on the wire; every header is asked for before it is read."""

    def __init__(
        self, data: bytes, wire: int, shift: int = 0, short_cut: bool = False
    ) -> None:
        self.wire = wire
        self.data = bytes(data[:wire])
        self.shift = shift
        self.whole = len(self.data) == wire     # as the record has it
        self.short_cut = short_cut

    def need(self, at: int, count: int, end: int) -> None:
        """Bytes [at, at + count) must lie before `end` (else malformed) and be captured."""
        if at + count > end:
            raise Malformed
        if at + count > len(self.data):
            raise Truncated

    def reaches(self, at: int, count: int) -> bool:
        """Whether bytes [at, at + count) are on the wire, or were before a tool lost its length."""
        if at + count > self.wire and self.short_cut and self.whole and count <= 0xFFFF:
            self.wire = at + count
        return at + count <= self.wire

    def number(self, at: int, count: int) -> int:
        """Big-endian number of `count` bytes; the caller has asked for them."""
        return int.from_bytes(self.data[at:at + count], "big")

    def address(self, at: int, family: int) -> int:
        """An IP address as a number, moved by the shift of a looped replay."""
        if family == 4:
            address = self.number(at, 4)
            return (address & 0xFF000000) | ((address + self.shift) & 0x00FFFFFF)
        address = self.number(at, 16)
        return (address >> 32 << 32) | ((address + self.shift) & 0xFFFFFFFF)


def extension_bytes(kind: int, length_field: int) -> int:
    """Length of an IPv6 extension header from its length byte."""
    if kind == EXTENSION_FRAGMENT:
        return 8
    if kind == EXTENSION_AH:
        return (length_field + 2) * 4
    return (length_field + 1) * 8
