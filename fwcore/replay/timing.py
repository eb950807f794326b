"""Timing: the time of packets, rewritten. Exact to the nanosecond, rounded down, or refused.

    new time = first packet's time + (what is counted) x (nanoseconds each)

What is counted are nanoseconds of the capture (``speed``), packets (``pps``) or bits on the wire
(``line-rate``); the nanoseconds each are a fraction, and no float comes near it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace as replaced
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fwcore._layout import LATEST_NS
from fwcore.capture import Chunk
from fwcore.errors import SettingsError

if TYPE_CHECKING:
    from fractions import Fraction

NS = 10**9
WIRE_OVERHEAD_BYTES = 24       # preamble 8, FCS 4, gap 12: what line rate counts [IEEE 802.3]
SMALLEST_FRAME_BYTES = 60      # without FCS; shorter ones are padded on the wire
UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "": 1}
AMOUNT = r"(?i)([0-9.]{1,32}(?:e[+-]?[0-9]{1,2}|/[0-9]{1,32})?)([kmgt]?)"
GIGA, TEN_TERA = 10**9, 10**13   # what is given is from 1/GIGA to TEN_TERA


@dataclass
class Timing:
    """How capture time is rewritten: ``original``, ``speed:X``, ``pps:N``, ``line-rate:10G``.

    ``retime`` takes chunks in order and keeps what it needs between them, so that the times do not
    depend on how the packets are cut into chunks.
    """

    kind: str = "original"
    each_ns: int | Fraction = 1
    text: str = "original"
    first_ns: int | None = None
    packets: int = 0
    bits: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Timing:
        """Raises SettingsError for anything else."""
        text = text or "original"
        kind, _, amount = text.partition(":")
        if text == "original":
            return cls()
        number = _amount(amount)
        if kind not in ("speed", "pps", "line-rate") or number is None:
            raise SettingsError(
                f"timing {text[:80]!r}: use original, speed:X (2 is twice as fast), pps:N or "
                "line-rate:10G, with a number from 1e-9 to 1e13")
        return cls(kind, (1 if kind == "speed" else NS) / number, text)

    def retime(self, chunk: Chunk) -> Chunk:
        """The chunk with its new times; the same object when they do not change.

        Raises SettingsError for a packet that would come before 1970 or beyond 2116.
        """
        if self.kind == "original" or not len(chunk):
            return chunk
        if self.first_ns is None:
            self.first_ns = int(chunk.time_ns[0])
        if self.kind == "speed":
            times = self._after(self.first_ns, 0, chunk.time_ns - self.first_ns)
        elif self.kind == "pps":
            times = self._after(self.first_ns, self.packets, np.arange(len(chunk), dtype=np.int64))
        else:
            times = self._after(self.first_ns, self.bits, self._on_the_wire(chunk.length))
        self.packets += len(chunk)
        return replaced(chunk, time_ns=np.ascontiguousarray(times, dtype=np.int64))

    def _on_the_wire(self, length: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Bits of this chunk before each of its frames, when all follow without a pause."""
        frame = np.maximum(length.astype(np.int64), SMALLEST_FRAME_BYTES) + WIRE_OVERHEAD_BYTES
        ends = np.cumsum(frame) * 8
        self.bits += int(ends[-1])
        begins: NDArray[np.int64] = ends - frame * 8
        return begins

    def _after(self, first_ns: int, before: int, counted: NDArray[np.int64]) -> NDArray[np.int64]:
        """first_ns + (before + counted) x each_ns, rounded down.

        In 64 bits where they hold every intermediate value, otherwise in Python's integers.
        """
        by, over = self.each_ns.numerator, self.each_ns.denominator
        for at in (int(counted.argmin()), int(counted.argmax())):
            moment = first_ns + (before + int(counted[at])) * by // over
            if not 0 <= moment <= LATEST_NS:
                raise SettingsError(
                    f"timing {self.text!r}: packet {self.packets + at + 1} would come at second "
                    f"{moment // NS}; there are seconds 0 to {LATEST_NS // NS} (the year 2116)")
        start, rest = divmod(before * by, over)
        if over * (by + 1) < 1 << 63:
            whole, part = counted // over, counted % over
            return whole * by + (part * by + rest) // over + (first_ns + start)
        exact = [first_ns + (before + each) * by // over for each in counted.tolist()]
        return np.array(exact, dtype=np.int64)


def _amount(text: str) -> Fraction | None:
    """``2.5``, ``1/3``, ``10G``: a number with an optional k, M, G, T; None for anything else."""
    from fractions import Fraction  # which most runs need not wait for

    match = re.fullmatch(AMOUNT, text)
    try:
        number = Fraction(match[1]) * UNITS[match[2].lower()] if match else Fraction(0)
    except (ValueError, ZeroDivisionError):
        return None
    return number if Fraction(1, GIGA) <= number <= TEN_TERA else None
