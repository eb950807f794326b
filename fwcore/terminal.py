"""What the command line needs of a terminal: colours or not, a progress line, where JSON goes.

Colours and progress appear on a terminal only; ``NO_COLOR`` (any value, no-color.org) and
``TERM=dumb`` switch colours off. Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

REDRAW_S = 0.1
BAR_WIDTH = 24


def colours(stream: IO[str]) -> bool:
    """Whether to colour what goes to this stream."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def writes_blocks(stream: Any) -> bool:
    """Whether the stream's encoding has block characters."""
    try:
        "█▁░┈→·".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
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
    or packets; total 0 is unknown). Returns True once the user asked to stop.
    """

    def __init__(self, quiet: bool = False, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shown = not quiet and self._stream.isatty()
        self._blocks = writes_blocks(self._stream)
        self._start = self._last = time.monotonic()
        self.stopped = False
        self._drawn = False

    def __call__(self, packets: int, done: int = 0, total: int = 0) -> bool:
        now = time.monotonic()
        if self._shown and now - self._last >= REDRAW_S:
            self._last = now
            self._draw(packets, done, total, now - self._start)
        return self.stopped

    def _draw(self, packets: int, done: int, total: int, elapsed: float) -> None:
        from fwcore import units

        parts = [f"{units.short(packets)} packets", f"{units.short(packets / elapsed)}/s"]
        if total > 0 and done > 0:
            part = min(1.0, done / total)
            filled = round(part * BAR_WIDTH)
            full, empty = ("█", "░") if self._blocks else ("#", "-")
            parts.insert(0, f"{full * filled}{empty * (BAR_WIDTH - filled)} {part:4.0%}")
            parts.append(f"{units.seconds(elapsed / part - elapsed)} left")
        self._stream.write("\r\x1b[K" + "  ".join(parts))
        self._stream.flush()
        self._drawn = True

    def close(self) -> None:
        """Clears the line."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    @contextmanager
    def interruptible(self) -> Iterator[Progress]:
        """Within: the first Ctrl-C asks to stop after the chunk, the second stops at once."""

        def ask(_number: int, _frame: Any) -> None:
            self.stopped = True
            signal.signal(signal.SIGINT, before)

        before = signal.getsignal(signal.SIGINT)
        try:
            signal.signal(signal.SIGINT, ask)
        except ValueError:  # not the main thread: Ctrl-C goes elsewhere
            before = None
        try:
            yield self
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)
            self.close()


def write_text(target: str, text: str) -> None:
    """`text` to a file, or to standard output for "-"."""
    if target == "-":
        sys.stdout.write(text)
        return
    with open(target, "w", encoding="utf-8") as file:
        file.write(text)
