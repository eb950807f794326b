"""Pages, bytes, seconds, and how amounts read: one spelling everywhere.

Everything may import this file; it imports nothing of the package. The twin has its own.

``KiB MiB GiB`` are powers of two. "MB" is what a vendor means by it: 2**20 bytes in FortiOS, 10**6
in cOS Core (the article's 512 000 x 412 B "= 210.9 MB").
"""

from __future__ import annotations

import datetime
import re
from typing import Final

PAGE_BYTES: Final = 4096
MIB: Final = 1 << 20                # "MB" of FortiOS
GIB: Final = 1 << 30
MB: Final = 10**6                   # "MB" of cOS Core
MIB_PAGES: Final = MIB // PAGE_BYTES
SECOND_NS: Final = 10**9
DAY_S: Final = 86_400
TURNS_MAX: Final = 1 << 24          # of a loop: later ones would have the addresses of earlier ones
THREADS_MAX: Final = 64             # of a replay
# The space within a number, or between a number and its unit: no line breaks there.
DIGITS: Final = re.compile(r"(?<=\d) (?=\d{3}\b|(?:[KMGT]iB|B|k|M|s|ms|us|m|h|%)(?!\w))")


# --- from one unit to another --------------------------------------------------------------------


def ceil_div(amount: int, unit: int) -> int:
    """``amount / unit`` rounded up."""
    return -(-amount // unit)


def pages_of(amount_bytes: int) -> int:
    """Pages of a byte amount, rounded away from zero."""
    return ceil_div(amount_bytes, PAGE_BYTES) if amount_bytes >= 0 else amount_bytes // PAGE_BYTES


def percent_of(total: int, percent: int) -> int:
    """``percent`` of ``total``, floored."""
    return total * percent // 100


def to_ns(seconds: int | float) -> int:
    """Seconds as integer nanoseconds; whole seconds are exact."""
    if isinstance(seconds, int):
        return seconds * SECOND_NS
    return round(seconds * SECOND_NS)


# --- how they read -------------------------------------------------------------------------------


def count(number: int | float) -> str:
    """1204331 -> '1 204 331' (no-break spaces are not needed: it is a terminal's column)."""
    return f"{int(number):,}".replace(",", " ")


def signed(number: int) -> str:
    """A difference: '+1 204', '-3', '0'."""
    return f"+{count(number)}" if number > 0 else count(number)


def short(number: float) -> str:
    """1204331 -> '1.20 M'; below 10 000 exact."""
    for limit, divisor, unit in ((1e4, 1, ""), (1e6, 1e3, " k"), (1e9, 1e6, " M")):
        if abs(number) < limit:
            return count(number) if divisor == 1 else f"{number / divisor:.3g}{unit}"
    return f"{number / 1e9:.3g} G"


def size(number: int | float) -> str:
    """Bytes in binary units, as FortiOS means MB: 923 KiB, 1.42 GiB."""
    value = float(number)
    if abs(value) < 1024:
        return f"{value:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if abs(value) < 1023.5:
            return f"{value:.0f} {unit}" if abs(value) >= 99.95 else f"{value:.3g} {unit}"
    return f"{value / 1024:.3g} TiB"


def pages_size(pages: int) -> str:
    """Pages of 4096 bytes as a size."""
    return size(pages * PAGE_BYTES)


def share(part: float, whole: float) -> str:
    """'12.3 %'; a small but real share never reads 0.0."""
    if not whole:
        return "-"
    percent = 100.0 * part / whole
    if 0 < percent < 0.1:
        return "<0.1 %"
    return f"{percent:.1f} %"


def seconds(value: float) -> str:
    """A duration for reading: 830 us, 12.4 ms, 3.20 s, 2 m 05 s, 3 h 12 m, 4 d 3 h."""
    if value and abs(value) < 1e-3:
        return f"{value * 1e6:.3g} us"
    if abs(value) < 1:
        return f"{value * 1e3:.3g} ms" if value else "0 s"
    if abs(value) < 60:
        return f"{value:.3g} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def nanoseconds(value: int) -> str:
    """The same for a count of nanoseconds."""
    return seconds(value / 1e9)


def clock(time_ns: int) -> str:
    """A capture's moment as a date in UTC, to the millisecond."""
    moment = datetime.datetime.fromtimestamp(time_ns // 10**9, tz=datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns // 10**6 % 1000:03d}"


def since(time_ns: int, start_ns: int) -> str:
    """A moment as seconds since the first packet: '12.346 s'."""
    return f"{(time_ns - start_ns) / 1e9:.3f} s"


def plural(number: int, noun: str, many: str | None = None) -> str:
    """'1 session', '2 sessions'."""
    return f"{count(number)} {noun if number == 1 else many or noun + 's'}"
