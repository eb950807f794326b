"""What the command line needs of a terminal: colours or not, a progress line, two doors.

Colours and progress appear on a terminal only; ``NO_COLOR`` (any value, no-color.org) and
``TERM=dumb`` switch colours off. Results go to standard output (``say``), everything else to
standard error (``note``), and what is not printable goes through neither.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import IO, Any, Self

from fwcore.errors import OutputError, PipeClosed
from fwcore.escape import shown, visible

REDRAW_S = 0.1
BAR_WIDTH = 24


def colours(stream: IO[str] | None) -> bool:
    """Whether to colour what goes to this stream."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream is not None and stream.isatty()


def writes_blocks(stream: Any) -> bool:
    """Whether the stream's encoding has block characters."""
    try:
        "█▁░┈→·".encode(stream.encoding or "ascii")
    except (AttributeError, UnicodeEncodeError, LookupError):
        return False
    return True


def style(stream: IO[str] | None = None) -> Any:
    """The report's Style for a stream (standard output)."""
    from fwcore.report.text import Style

    stream = stream or sys.stdout
    return Style(colour=colours(stream), unicode=writes_blocks(stream))


class Progress:
    """One line on standard error: share, packets, rate, time left. Silent in a pipe.

    Called as ``progress(packets, done, total)`` - packets so far, and how far of how much (bytes,
    or packets; total 0 is unknown). A terminal that goes away (HUP) only ends the line.
    """

    def __init__(self, quiet: bool = False, stream: IO[str] | None = None) -> None:
        self._stream: Any = stream or sys.stderr
        self._shown = not quiet and self._stream is not None and self._stream.isatty()
        self._blocks = writes_blocks(self._stream)
        self._start = self._last = time.monotonic()
        self._drawn = False

    def __call__(self, packets: int, done: int = 0, total: int = 0) -> None:
        now = time.monotonic()
        if self._shown and now - self._last >= REDRAW_S:
            self._last = now
            self._draw(packets, done, total, now - self._start)

    def _draw(self, packets: int, done: int, total: int, elapsed: float) -> None:
        from fwcore import units

        parts = [f"{units.short(packets)} packets", f"{units.short(packets / elapsed)}/s"]
        if total > 0 and done > 0:
            part = min(1.0, done / total)
            filled = round(part * BAR_WIDTH)
            full, empty = ("█", "░") if self._blocks else ("#", "-")
            parts.insert(0, f"{full * filled}{empty * (BAR_WIDTH - filled)} {part:4.0%}")
            parts.append(f"{units.seconds(elapsed / part - elapsed)} left")
        self._write("\r\x1b[K" + "  ".join(parts))
        self._drawn = True

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._shown = False

    def close(self) -> None:
        """Clears the line."""
        if self._drawn:
            self._write("\r\x1b[K")
            self._drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def say(text: str) -> None:
    """A result to standard output, at once. Raises OutputError, PipeClosed when nobody reads it."""
    stream = sys.stdout
    if not text:
        return
    if stream is None:
        raise OutputError("standard output is closed: nothing can be written to it")
    text = shown(text, colours(stream))
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except BrokenPipeError:
        silence()
        raise PipeClosed("standard output: nobody reads it any more") from None
    except OSError as error:
        silence()
        raise OutputError(f"standard output: writing failed ({error.strerror})") from None


def note(text: str) -> None:
    """One line to standard error; lost where that is closed."""
    stream = sys.stderr
    if stream is None:
        return
    line = visible(" ".join(text.split()))
    encoding = stream.encoding or "utf-8"
    with suppress(OSError, ValueError):
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()


def silence() -> None:
    """Standard output goes nowhere from here on: no second complaint when the process ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def hold_streams() -> None:
    """Takes the places of closed standard streams, so that no file opened later stands there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)      # the lowest number that is free: this one
