"""What somebody writes who embeds fwcore: read by mypy as strictly as it can, and run by a test.

Each mistake below has its mark, and a mark without its mistake is an error: so the types are real
ones, and none is Any.
"""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import fwcore
from fwcore import (
    Answer,
    Batch,
    Chunk,
    Decision,
    Engine,
    Event,
    FwcoreError,
    Reason,
    Settings,
    Verdict,
)


def judged(engine: Engine, frames: list[bytes]) -> dict[str, int]:
    """Packets by verdict."""
    outcome = engine.process_frames(frames, [i * 1000 for i in range(len(frames))])
    assert_type(outcome, NDArray[np.uint8])
    found: dict[str, int] = {}
    for verdict, reason in outcome.tolist():
        name = f"{Verdict(verdict).name} {Reason(reason).name}"
        found[name] = found.get(name, 0) + 1
    return found


def settings_of(path: Path | None) -> Settings:
    """Of a file, or of a personality."""
    return fwcore.load(file=path) if path else fwcore.load("fortios-7", ram_bytes="512MiB")


def looked_at(engine: Engine) -> tuple[int, str]:
    """How many sessions, and the mode."""
    assert_type(engine.mode, str)
    assert_type(engine.settings, Settings)
    assert_type(engine.settings.max_connections, int)
    assert_type(engine.outcome(), str)
    listened(engine)
    return len(engine.sessions()), engine.mode


def looks(rows: NDArray[np.void]) -> list[Answer]:
    """An inspector that blocks who is spoken to first by the other side."""
    return [Answer.BLOCK if row["reply"] else Answer.ACCEPT for row in rows]


def chooses(rows: NDArray[np.void]) -> list[int]:
    """A decider by port, which names a policy."""
    return [7 if row["responder_port"] == 53 else Decision.DROP for row in rows]


def placed(table: NDArray[np.uint8]) -> tuple[Chunk, Chunk]:
    """Frames where they lie: rows of a table, and the same memory as a buffer."""
    count, width = table.shape
    return (Chunk.from_array(table, range(count)),
            Chunk.from_buffer(table.data, np.arange(count) * width, [width] * count, range(count)))


def refused(frames: list[bytes]) -> str:
    """What an error says."""
    try:
        Chunk.from_frames(frames, [0])
    except FwcoreError as error:
        return str(error)
    return ""


def told(batch: Batch[Event, list[Event]]) -> None:
    """A listener."""
    assert_type(batch[0:1], Any)
    for event in batch:
        assert_type(event, Event)


def listened(engine: Engine) -> None:
    """What a function is given follows from the kind."""
    engine.on("event", told)()
    engine.on("transition", lambda batch: [each.to_mode for each in batch])()
    engine.on("new_session", lambda batch: batch.rows.to_pandas())()


def mistakes(engine: Engine) -> None:
    """Not to be called."""
    engine.on("evnt", told)  # type: ignore[call-overload]
    engine.on("transition", told)  # type: ignore[call-overload]
    engine.configure(udp_z=5)  # type: ignore[call-arg]
    engine.configure(udp_s="5")  # type: ignore[arg-type]
    engine.configure(av_failopen="perhaps")  # type: ignore[arg-type]
    engine.restart(max_connections="many")  # type: ignore[arg-type]
    Engine(max_conections=5)  # type: ignore[call-arg]
    fwcore.load("plain", lowmem="yes")  # type: ignore[arg-type]
    engine.proces_frames([], [])  # type: ignore[attr-defined]
    fwcore.Engin()  # type: ignore[attr-defined]
    engine.judge("text", 0)  # type: ignore[arg-type]
    engine.process_frames([b""], 0)  # type: ignore[arg-type]
    Chunk.from_buffer("text", [0], [4], [0])  # type: ignore[arg-type]
    Chunk.from_buffer(b"text", [0], [4], engine)  # type: ignore[arg-type]
    Chunk.from_array(np.zeros((1, 4), np.uint8), engine)  # type: ignore[arg-type]
    Verdict.ACCEPT  # type: ignore[attr-defined]  # noqa: B018
    engine.mode + 1  # type: ignore[operator]
    engine.inspect(looks)()
    engine.inspect(str)  # type: ignore[arg-type]
    engine.decide(chooses)()
    engine.decide(Decision.DROP)  # type: ignore[arg-type]


def main(frame: bytes) -> dict[str, int]:
    """A run."""
    with Engine("fortios-7", ram_bytes="512MiB") as engine:
        found = judged(engine, [frame, frame])
        assert looked_at(engine) == (1, "off")
        assert_type(engine.judge(memoryview(frame), 5000), tuple[Verdict, Reason])
    with Engine(settings_of(None)) as other:
        assert judged(other, [frame, frame]) == found
    assert refused([frame, frame])
    assert [len(chunk) for chunk in placed(np.zeros((2, 60), np.uint8))] == [2, 2]
    return found
