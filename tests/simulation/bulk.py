"""The engine alone, or beside its twin: packets by the million, drawn in bulk; laws and audit
after each chunk, and beside the twin verdicts and counters.

A pool of frames is drawn once a case and varied in bulk: a tile of each with other addresses,
ports and flags, some with bytes changed. A packet is then an index into the pool and a time, so
that drawing one costs some nanoseconds. One case in eight is run twice, cut otherwise and with
another group: the outcome has to be the same.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from twin import Pair, assert_laws

from fwcore.capture import Chunk
from fwcore.engine import Engine
from fwcore.errors import ConfigFrozen, SettingsError
from fwcore.settings import load
from simulation import draw
from simulation.elsewhere import Elsewhere

TILES = 64                # variations of each frame of the pool
CHUNK = 65_536
CHUNK_BESIDE = 8192       # beside the twin, which is a thousand times as slow
FRAME_BYTES = 128         # a frame's place in the pool
MOST_CONNECTIONS = 1 << 16
SECOND = 10**9


class Pool:
    """Frames side by side in one buffer: where each lies, how long it is, of which link type."""

    def __init__(self, rng: Random, random: np.random.Generator) -> None:
        frames = [draw.frame(rng) for _ in range(rng.choice((8, 40, 120)))]
        count = len(frames) * TILES
        room = np.zeros((count, FRAME_BYTES), np.uint8)
        captured = np.empty(count, np.uint32)
        length = np.empty(count, np.uint32)
        link = np.empty(count, np.uint16)
        for at, (data, wire, kind) in enumerate(frames):
            tile = np.s_[at * TILES:(at + 1) * TILES]
            data = data[:FRAME_BYTES]
            room[tile, :len(data)] = np.frombuffer(data, np.uint8)
            captured[tile], length[tile], link[tile] = len(data), wire, kind
        self._vary(room, random, rng)
        self.data = room.reshape(-1)
        self.offset = np.arange(count, dtype=np.uint64) * np.uint64(FRAME_BYTES)
        self.captured, self.length, self.link = captured, length, link

    def _vary(self, room: np.ndarray, random: np.random.Generator, rng: Random) -> None:
        """Other hosts and ports in most (Ethernet, IPv4 without options); some damaged."""
        count = len(room)
        hosts, ports = rng.choice((2, 16, 256)), rng.choice((1, 8, 256))
        plain = (room[:, 12] == 8) & (room[:, 13] == 0) & (random.random(count) < 0.9)
        for column, most in ((29, hosts), (33, hosts), (35, ports), (37, ports)):
            room[plain, column] = random.integers(0, most, count)[plain]
        damaged = random.random(count) < 0.02
        places = random.integers(0, 60, count)
        room[damaged, places[damaged]] = random.integers(0, 256, count, np.uint8)[damaged]

    def chunk(self, random: np.random.Generator, times: np.ndarray) -> Chunk:
        """So many packets as there are times."""
        which = random.integers(0, len(self.offset), len(times), np.int32)
        return Chunk(self.data, self.offset[which], self.captured[which], self.length[which],
                     times, self.link[which])


def settings(rng: Random) -> dict[str, Any]:
    """As beside the twin, with larger tables."""
    chosen = draw.settings(rng)
    if rng.randrange(2):
        bolder = chosen | {"max_connections": rng.choice((1000, 10_000, MOST_CONNECTIONS)),
                           "buckets": rng.choice((16, 1000, 1 << 14))}
        if "ram_bytes" in chosen and rng.randrange(2):
            bolder |= {"ram_bytes": 64 << 20, "base_bytes": 20 << 20}
        try:
            if load(**bolder).max_connections <= MOST_CONNECTIONS:
                return bolder
        except SettingsError:
            pass
    return chosen


def times(
    rng: Random, random: np.random.Generator, clock: draw.Clock, count: int = CHUNK,
) -> np.ndarray:
    """int64[count]: a pace of this chunk, jitter back and forth, now and then a leap before it."""
    pace = rng.choice((1, 100, 10_000, 10**6))
    begin = clock.next()
    steps = random.integers(0, 2 * pace, count, np.int64)
    found = begin + np.cumsum(steps)
    if rng.randrange(2):
        found += random.integers(-5 * pace, 5 * pace, count, np.int64)
    found = np.clip(found, 0, draw.TIME_MAX)
    clock.now = int(found[-1])
    return found


def operate(engine: Engine | Pair, rng: Random, clock: draw.Clock) -> None:
    """A deed between two chunks, as an operator does it; a refused one changes nothing."""
    pick = rng.randrange(9)
    try:
        if pick == 0:
            engine.configure(**draw.changes(rng))
        elif pick == 1:
            engine.restart(max_connections=rng.choice((16, 1000, 5000)))
        elif pick == 2:
            engine.clear()
        elif pick == 3:
            engine.advance(clock.next())
        elif pick == 4:
            engine.configure(**draw.shaping(rng))
        elif pick == 5:
            engine.drain()
        elif pick == 6:
            engine.restart(keep=True, max_connections=rng.choice((16, 1000, 5000)))
    except (SettingsError, ConfigFrozen):
        pass


def life(
    seed: int, chunks: int, cut: int, group: int, judged: Callable[[int], None],
) -> str:
    """The outcome of one engine's life; AssertionError for a broken law; ``judged``: told of
    packets after each chunk."""
    rng, random = Random(seed), np.random.default_rng(seed)
    chosen = load(**settings(rng))
    pool, clock = Pool(rng, random), draw.Clock(rng)
    with Engine(chosen, group=group) as engine:
        for _ in range(chunks):
            chunk = pool.chunk(random, times(rng, random, clock))
            for at in range(0, CHUNK, cut):
                engine.process(chunk.slice(at, min(at + cut, CHUNK)))
            judged(CHUNK)
            assert_laws(engine)
            operate(engine, rng, clock)
            assert_laws(engine)
        return engine.outcome()


def run(seed: int, judged: Callable[[int], None] = lambda packets: None) -> None:
    """One life, or the same one twice; ``judged`` is told of packets as they are judged."""
    rng = Random(~seed)
    chunks = rng.choice((1, 4, 16, 64))
    outcome = life(
        seed, chunks, rng.choice((CHUNK, 8192)), rng.choice((1, 16, 32, 64)), judged)
    if rng.randrange(8) == 0:
        again = life(seed, chunks, rng.choice((1000, 333, 8191)), rng.choice((2, 32)), judged)
        assert again == outcome, "the outcome depends on chunks or groups"


def beside(
    seed: int, twin: Elsewhere, judged: Callable[[int], None] = lambda packets: None,
) -> None:
    """One life beside the twin; ``judged`` is told of packets as they are judged."""
    rng, random = Random(seed), np.random.default_rng(seed)
    cut, group = rng.choice((CHUNK_BESIDE, 1000, 333)), rng.choice((1, 2, 16, 32, 64))
    chosen = load(**settings(rng))
    pool, clock = Pool(rng, random), draw.Clock(rng)
    pair = Pair(chosen, elsewhere=twin, group=group)
    with pair.engine:
        for _ in range(rng.choice((1, 4, 16))):
            chunk = pool.chunk(random, times(rng, random, clock, CHUNK_BESIDE))
            for at in range(0, CHUNK_BESIDE, cut):
                pair.process(chunk.slice(at, min(at + cut, CHUNK_BESIDE)))
            judged(CHUNK_BESIDE)
            pair.compare_counters()
            operate(pair, rng, clock)
        pair.compare()
