"""How much the benchmarks replay, and the capture again, later."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fwcore.capture import CHUNK_SIZE, Chunk, open_capture

PACKETS = 4 * 32 * CHUNK_SIZE


def later(path: Path, turn: int) -> list[Chunk]:
    """The capture's chunks, one run of the capture later each turn."""
    with open_capture(str(path)) as reader:
        chunks = list(reader)
    span = int(chunks[-1].time_ns[-1] - chunks[0].time_ns[0]) + 1000
    return [replace(chunk, time_ns=chunk.time_ns + turn * span) for chunk in chunks]
