"""A leak: bytes per second that somebody loses."""

from __future__ import annotations

from dataclasses import dataclass

from fwcore.reference.words import PAGE, SECOND


@dataclass
class Leak:
    """Bytes per second that somebody loses; page k falls due at anchor + k pages' time."""

    owner: str
    start_ns: int  # relative to packet 1
    bytes_per_s: int
    anchor_ns: int = 0
    page: int = 1
    stalled: bool = False

    @property
    def due_ns(self) -> int:
        """The nanosecond at which the next page is due."""
        return self.anchor_ns + -(-self.page * PAGE * SECOND // self.bytes_per_s)
