"""Sources: what may be replayed - paths, a workload, chunks in memory - as something to open."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

from fwcore.capture import Chunk, Filter, open_captures
from fwcore.errors import FrameError, SettingsError


def paths_of(source: Any) -> list[str]:
    """The paths among a source; none of what is in memory."""
    items = [source] if isinstance(source, str | os.PathLike) else source
    if not isinstance(items, list | tuple):
        return []
    return [os.fspath(item) for item in items if isinstance(item, str | os.PathLike)]


def check_loop(source: Any, loop: int) -> None:
    """SettingsError for several turns over what can be gone through once."""
    if loop > 1 and "-" in paths_of(source):
        raise SettingsError(
            f"loop {loop}: standard input can be read once; save it to a file to loop it")
    if loop > 1 and isinstance(source, Iterator):
        raise SettingsError(f"loop {loop}: a generator can be gone through once; give a list")


def opener_of(
    source: Any, reader: str, chunk_size: int, merge: bool = False,
    threads: int | None = None, asking: Filter | None = None,
) -> Callable[[], Any]:
    """What opens the source for a turn; ``threads`` None: a core each, at most two,
    which find out, too, which frames match what is ``asking``."""
    if isinstance(source, str | os.PathLike):
        source = [source]
    elif hasattr(source, "open"):
        return lambda: source.open(chunk_size)
    elif isinstance(source, Chunk) or not isinstance(source, Iterable):
        source = [source]
    if isinstance(source, Iterator):
        stream = _Stream(source)
        return lambda: stream
    items = list(source)
    if items and all(isinstance(item, Chunk) for item in items):
        return lambda: _Loaded(items)
    paths = [str(item) for item in items]
    return lambda: open_captures(
        paths, reader=reader, chunk_size=chunk_size, merge=merge, threads=threads, asking=asking)


class _Loaded:
    """Chunks in memory as a reader: loaded once, replayed as often as wanted."""

    path, reader, format, fault = "memory", "memory", "chunks", None

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.chunks = chunks
        self.packets = self.position_bytes = 0
        self.size_bytes = sum(int(chunk.captured.sum()) for chunk in chunks)

    def __iter__(self) -> Iterator[Chunk]:
        self.packets = 0
        for chunk in self.chunks:
            self.packets += len(chunk)
            self.position_bytes += int(chunk.captured.sum())
            yield chunk

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> _Loaded:
        return self

    def __exit__(self, *exception: object) -> None:
        return


class _Stream(_Loaded):
    """Chunks as they come: each is let go of when it was judged."""

    format = "stream"

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        super().__init__(())
        self.stream = chunks

    def __iter__(self) -> Iterator[Chunk]:
        for chunk in self.stream:
            if not isinstance(chunk, Chunk):
                raise FrameError(
                    f"{type(chunk).__name__} is no chunk: a generator gives Chunks; paths are given"
                    " as a list")
            self.packets += len(chunk)
            yield chunk

    def close(self) -> None:
        """Ends a generator that was not gone through."""
        if isinstance(self.stream, Generator):
            self.stream.close()
