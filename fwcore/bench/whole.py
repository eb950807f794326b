"""Measuring what a user waits for: the whole command, two cores, calls of few frames, outputs.

What is a process of its own is timed from its start to its exit, in turn with another: the bare
loop as a whole program, or the plain command.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fwcore.bench.traffic import Openings, earlier
from fwcore.bench.turns import (
    SLICES,
    Measured,
    Setup,
    alternate,
    bare_loop,
    finished,
    whole_slices,
)
from fwcore.capture import CHUNK_SIZE, open_capture, synth
from fwcore.engine import Engine
from fwcore.replay import replay
from fwcore.settings import load

BARE = """
import mmap, sys
from fwcore._bare import BareLoop
with open(sys.argv[1], "rb") as file:
    BareLoop(int(sys.argv[2]), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)).run(1 << 62)
"""
PAIRS = 3


def spawn_ms(*arguments: str) -> float:
    """Wall time of a Python process from its start to its end."""
    begin = time.perf_counter_ns()
    subprocess.run([sys.executable, "-P", *arguments], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter_ns() - begin) / 1e6


def capture_of(setup: Setup) -> tuple[Path, int]:
    """A uniform capture of 60-byte frames, and its packets."""
    packets = whole_slices(setup.packets)
    path = Path(setup.directory) / "whole.pcap"
    synth.to_pcap(path, synth.make("uniform", sessions=setup.sessions, packets=packets))
    with open(path, "rb") as file:
        os.fsync(file.fileno())     # or the kernel writes it on the other core for seconds
    return path, packets


def room_for(sessions: int) -> int:
    """Connections of a table that holds them all: what is measured is no eviction."""
    return max(262_144, sessions + sessions // 16)


def words_of(name: str, path: Path, setup: Setup, *more: str) -> list[str]:
    """A command over the capture of which only the result is wanted."""
    return ["-m", "fwcore", name, str(path), "--json", os.devnull,
            "--set", f"max_connections={room_for(setup.sessions)}", *more]


def command_ms(path: Path, setup: Setup, *more: str) -> float:
    """Milliseconds of a replay."""
    return spawn_ms(*words_of("replay", path, setup, "--quiet", *more))


def every_core() -> None:
    """Undoes the worker's pin: two threads need two cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def measure_command(setup: Setup) -> Measured:
    path, packets = capture_of(setup)
    every_core()
    spent: list[list[float]] = [[], []]
    for _ in range(PAIRS):
        spent[0].append(spawn_ms("-c", BARE, str(path), str(setup.sessions)))
        spent[1].append(command_ms(path, setup))
    bare, whole = (statistics.median(each) * 1e6 / packets for each in spent)
    return Measured(whole, bare, whole, packets, setup.sessions, {})


def measure_two_cores(setup: Setup) -> Measured:
    """One thread and two in turn, in one process; the reader's speed beside."""
    path, packets = capture_of(setup)
    every_core()
    settings = load("plain", max_connections=room_for(setup.sessions))
    spent: list[list[float]] = [[], []]
    for turn in range(2 * PAIRS):
        threads = 1 + turn % 2
        made = replay(path, settings, threads=threads)
        speed = made["speed"]
        spent[threads - 1].append(speed["wall_s"])
        assert made["packets"] == packets
    gain = statistics.median(a / b for a, b in zip(*spent, strict=True))
    return Measured(gain, None, None, packets, setup.sessions, {
        "one_s": statistics.median(spent[0]), "two_s": statistics.median(spent[1]),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1})


def measure_calls(setup: Setup, frames: int) -> Measured:
    """Frames as bytes, so many a call, as a program has them that embeds an engine."""
    path, packets = capture_of(setup)
    engine = Engine(load("plain", seed=1, max_connections=262_144))
    opening = Openings(sessions=setup.sessions, packets=setup.sessions)
    engine.process(earlier(opening.part(0, setup.sessions)))
    with open_capture(str(path)) as reader:
        chunk = next(iter(reader))
    held = [chunk.frame(at) for at in range(len(chunk))]
    times, first = chunk.time_ns.tolist(), engine.fastpath.packet
    groups = [(held[at:at + frames], times[at:at + frames])
              for at in range(0, CHUNK_SIZE, frames)]

    def step() -> None:
        for _ in range(packets // SLICES // CHUNK_SIZE):
            for some, when in groups:
                engine.process_frames(some, when)

    turns = alternate(bare_loop(path, setup.sessions), packets, [step])
    assert engine.fastpath.packet - first == packets
    return finished(turns, setup, engine, packets)


class Asked(NamedTuple):
    """What is asked for besides, and how many times the plain command it may take, beyond some
    milliseconds that it takes for any capture."""

    words: list[str]
    may: float
    beyond_ms: float = 0.0

    def times(self, plain_ms: float) -> float:
        """Measured once: how many times the plain command."""
        return (spawn_ms(*self.words) - self.beyond_ms) / plain_ms


def made_in(setup: Setup) -> Path:
    """Where outputs go, and nothing else."""
    folder = Path(setup.directory, "outputs")
    folder.mkdir(exist_ok=True)
    return folder


def outputs(path: Path, setup: Setup) -> dict[str, Asked]:
    """Of each output the command, and its limit."""
    folder = made_in(setup)
    table = ".parquet" if importlib.util.find_spec("pyarrow") else ".csv"
    replayed = partial(words_of, "replay", path, setup, "--quiet")
    rows = {
        "verdicts": Asked(replayed("--verdicts", str(folder / f"v{table}")), 1.5),
        "sessions": Asked(replayed("--sessions", str(folder / f"s{table}")), 2.0),
        "write": Asked(replayed("--write", str(folder / "w.pcap")), 1.5),
        "state": Asked(replayed("--state", str(folder / "state.npz")), 1.5),
        "html": Asked(replayed("--html", str(folder / "r.html")), 1.3, 1000.0),
        "filter": Asked(replayed("--filter", "udp"), 1.2),
        "timing": Asked(replayed("--timing", "speed:2"), 1.1),
        "explain": Asked(words_of("explain", path, setup, "--packet", "1"), 1.3),
        "compare": Asked(words_of("compare", path, setup, "--quiet", "--with", "plain",
                                  "--with", "plain,seed=2"), 2.5),
    }
    if importlib.util.find_spec("bokeh") is None:     # an extra, too
        del rows["html"]
    return rows


def measure_outputs(setup: Setup) -> Measured:
    """Each output as a multiple of the plain command, in turn; the value is the one that is
    furthest above what it may cost, in parts of that."""
    path, packets = capture_of(setup)
    every_core()
    wanted = outputs(path, setup)

    def once(asked: Asked) -> float:
        plain_ms = command_ms(path, setup)
        for earlier_one in made_in(setup).iterdir():   # in whose place a file is written out first
            earlier_one.unlink()
        return asked.times(plain_ms)

    found = {name: statistics.median(once(asked) for _ in range(PAIRS))
             for name, asked in wanted.items()}
    worst = max(found[name] / asked.may for name, asked in wanted.items())
    return Measured(worst, None, None, packets, setup.sessions, {
        "times_the_command": found, "may": {name: asked.may for name, asked in wanted.items()},
        "beyond_ms": {name: asked.beyond_ms for name, asked in wanted.items()
                      if asked.beyond_ms}})


def measure_start(setup: Setup, replayed: bool) -> Measured:
    """Median of so many processes as there are packets, each in turn with an empty Python, which
    is the yardstick."""
    ten = Path(setup.directory) / "ten.pcap"
    synth.to_pcap(ten, synth.make("web", packets=10))
    words = ("-m", "fwcore", "replay", str(ten)) if replayed else ("-c", "import fwcore")
    spent: list[list[float]] = [[], []]
    for _ in range(setup.packets):
        spent[0].append(spawn_ms("-c", "pass"))
        spent[1].append(spawn_ms(*words))
    empty, value = map(statistics.median, spent)
    return Measured(value, empty * 1e6, value * 1e6, 10 if replayed else 0, 0,
                    {"python_ms": empty})
