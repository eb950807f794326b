"""Turns: the captures once, or several times, each turn later and with other addresses."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace as replaced
from typing import Any

from fwcore._layout import LATEST_NS
from fwcore.capture import Chunk
from fwcore.errors import SettingsError
from fwcore.units import SECOND_NS


@dataclass
class Turns:
    """The captures, ``loop`` times, each turn later; ``inputs`` says what the first one read."""

    readers: Callable[[], Any]
    loop: int = 1
    limit: int | None = None
    inputs: list[dict[str, Any]] = field(default_factory=list)
    packets: int = 0
    done: int = 0
    total: int = 0
    opened: Any = None      # the captures, opened already: the first turn takes them
    merged: Callable[[int], list[int]] | None = None     # how many frames are of which capture
    begins: Callable[[int, Any], None] | None = None     # told of each turn, and of what it reads

    def open(self) -> Any:
        """Opens the captures for the first turn: standard input can be opened only once."""
        self.opened = self.readers()
        self.inputs = _inputs(self.opened)     # what is known if it goes no further
        return self.opened

    def __iter__(self) -> Generator[tuple[int, Chunk], None, None]:
        """(turn, chunk), at most ``limit`` packets in all.

        Raises SettingsError for a turn that would go beyond the end of time.
        """
        offset = 0
        for turn in range(self.loop):
            first: int | None = None
            last = packets = 0
            reader = self.readers() if self.opened is None else self.opened
            self.opened = None
            if self.begins is not None:
                self.begins(turn, reader)
            try:
                for chunk in reader:
                    if len(chunk):
                        first = int(chunk.time_ns[0]) if first is None else first
                        packets += len(chunk)
                    if len(chunk) and self.loop > 1:
                        last = max(last, int(chunk.time_ns.max()))
                    part = self._limited(chunk)
                    self._where(reader, turn)
                    yield turn, later(part, offset, turn) if offset else part
                    if self.limit is not None and self.packets >= self.limit:
                        break
            finally:  # also when the run is interrupted
                if turn == 0:
                    self.inputs = _inputs(reader)
                    self.merged = getattr(reader, "judged_of", None)
                reader.close()
            if first is None or turn + 1 == self.loop or (
                    self.limit is not None and self.packets >= self.limit):
                return
            offset += last - first + max(1, (last - first) // max(1, packets - 1))

    def judged_inputs(self, packets: int) -> list[dict[str, Any]]:
        """The inputs, with the packets that were judged of each, ``packets`` in all turns."""
        rows = [dict(row) for row in self.inputs]
        unused = max(0, sum(row["packets"] for row in rows) - packets)
        if unused and self.merged is not None:
            for row, judged in zip(rows, self.merged(packets), strict=True):
                row["packets"] = judged
            return rows
        for row in reversed(rows):
            spare = min(unused, row["packets"])
            row["packets"] -= spare
            unused -= spare
        return rows

    def _limited(self, chunk: Chunk) -> Chunk:
        if self.limit is not None and self.packets + len(chunk) > self.limit:
            chunk = chunk.slice(0, self.limit - self.packets)
        self.packets += len(chunk)
        return chunk

    def _where(self, reader: Any, turn: int) -> None:
        size = getattr(reader, "size_bytes", 0)
        self.total = size * self.loop
        self.done = turn * size + getattr(reader, "position_bytes", 0)


def later(chunk: Chunk, offset_ns: int, turn: int) -> Chunk:
    """The chunk ``offset_ns`` later. Raises SettingsError where that is beyond the end of time."""
    if len(chunk) and int(chunk.time_ns.max()) + offset_ns > LATEST_NS:
        raise SettingsError(
            f"--loop: turn {turn + 1} would come to second"
            f" {(int(chunk.time_ns.max()) + offset_ns) // SECOND_NS}; there are seconds 0 to"
            f" {LATEST_NS // SECOND_NS} (the year 2116): use --loop {turn}, or bring the times"
            " nearer (--timing pps:N)")
    return replaced(chunk, time_ns=chunk.time_ns + offset_ns)


def _inputs(reader: Any) -> list[dict[str, Any]]:
    """One row a capture: path, reader, format, packets, fault; notes, if there are any."""
    rows = []
    for each in getattr(reader, "parts", None) or [reader]:
        fault, notes = each.fault, list(getattr(each, "notes", ()))
        rows.append({
            "path": str(each.path), "reader": each.reader, "format": each.format,
            "packets": each.packets, "fault": None if fault is None else {
                "path": str(fault.path), "byte_offset": fault.byte_offset,
                "packet": fault.packet, "message": fault.message}}
            | ({"notes": notes} if notes else {}))
    return rows
