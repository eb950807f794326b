"""What meters and links cost a packet: the same packets with and without, in turn.

Packets of 60 bytes come in bursts, those of 32 us at once, at 0.95 of the line, so that queues
form and empty; ``load_150_ns`` in the details is the same at 1.5, where a third is dropped. Classes
are by host. Departures are digested, no file is written. What a case adds is the median over its
slices of the time with these rows less the time without, one after the other.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace as replaced
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fwcore.bench.traffic import Openings, earlier
from fwcore.bench.turns import (
    Measured,
    Setup,
    alternate,
    bare_loop,
    chunk_step,
    many_slices,
    whole_slices,
)
from fwcore.capture import CHUNK_SIZE, Chunk, open_capture, synth
from fwcore.capture.workload import CLIENT_NET
from fwcore.engine import Engine
from fwcore.settings import load

FRAME_BYTES = 60
RATE_PPS = 1_000_000
HOSTS = 1000
BUCKETS = 65_536
LOADS = (0.95, 1.5)
Rows = Callable[[int], dict[str, Any]]


def meter(line: int, hosts: int = 0) -> dict[str, Any]:
    """One policer of the line's rate; with hosts: of each its part."""
    rate = max(8, line // hosts) if hosts else line
    return {
        "meters": [{"name": "m", "rungs": [{"rate": rate, "depth": 20_000}], "count": "frame",
                    **({"key": "source", "keys_max": hosts} if hosts else {})}],
        "shapings": [{"id": 1, "meters": ["m"]}]}


def tbf(line: int) -> dict[str, Any]:
    """One class with a ceiling of the whole packet, as Linux' tbf."""
    return {
        "links": [{"name": "w"}],
        "classes": [{"link": "w", "id": 1, "ceiling": line, "ceiling_burst": 20_000,
                     "need": "packet", "limit_packets": 1000}],
        "shapings": [{"id": 1, "link": "w"}]}


def strict(line: int) -> dict[str, Any]:
    """Six classes without guarantee."""
    classes = [{"link": "w", "id": n + 1, "priority": n} for n in range(6)]
    return {"links": [{"name": "w", "rate": line}], "classes": classes, "shapings": by_host(6)}


def htb(line: int, leaves: int) -> dict[str, Any]:
    """As many leaves as share the line in equal guarantees, and may borrow."""
    classes = [{"link": "w", "id": n + 1, "guarantee": max(8, line // leaves),
                "guarantee_burst": 3000, "ceiling": line, "ceiling_burst": 20_000,
                "quantum_bytes": 1514, "limit_packets": 100} for n in range(leaves)]
    return {"links": [{"name": "w", "rate": line}], "classes": classes,
            "shapings": by_host(leaves)}


def fair(line: int) -> dict[str, Any]:
    """One class of 1 024 sub-queues with CoDel, as Linux' fq_codel."""
    return {
        "links": [{"name": "w", "rate": line}],
        "classes": [{"link": "w", "id": 1, "share": "flow", "shares": 1024, "discard": "codel",
                     "limit_packets": 10_240}],
        "shapings": [{"id": 1, "link": "w"}]}


def by_host(classes: int) -> list[dict[str, Any]]:
    """Rows that send hosts in turn to the classes."""
    rows = []
    for number in range(classes):
        hosts = range(number, HOSTS, classes)
        rows.append({"id": number + 1, "link": "w", "class": number + 1, "source": [
            _address(CLIENT_NET + 1 + host) for host in hosts]})
    return rows


def _address(number: int) -> str:
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def measure_shaping(setup: Setup, rows: Rows) -> Measured:
    """Nanoseconds that a packet takes more than in an engine without these rows."""
    usual, over = (_measured(setup, rows, load_) for load_ in LOADS)
    return usual._replace(detail=usual.detail | {
        "load_150_ns": over.value, "load_150_dropped": over.detail["dropped"]})


def _measured(setup: Setup, rows: Rows, load_: float) -> Measured:
    packets, sessions = whole_slices(setup.packets), setup.sessions
    workload = synth.make("uniform", sessions=sessions, packets=packets,
                          hosts=hosts_of(sessions), rate_pps=RATE_PPS)
    path = Path(setup.directory) / "shaped.pcap"
    synth.to_pcap(path, workload)
    line = int(RATE_PPS * FRAME_BYTES * 8 / load_)
    engines = [filled(sessions, rows(line)), filled(sessions, {})]
    slices = many_slices(packets)
    readers = [open_capture(str(path)) for _ in engines]
    turns = alternate(bare_loop(path, sessions), packets, [
        chunk_step(iter(reader), packets // slices // CHUNK_SIZE, partial(in_bursts, engine))
        for reader, engine in zip(readers, engines, strict=True)], slices)
    more = [(a - b) / turns.packets for a, b in zip(*turns.others, strict=True)]
    found = engines[0].shaping()
    assert found["unshaped"]["packets"] == 0
    return Measured(statistics.median(more), turns.bare_ns, turns.each_ns(0), packets, sessions, {
        "without_ns": turns.each_ns(1), "spread_ns": max(more) - min(more),
        "dropped": int(engines[0].fastpath.outcome_counts()[3].sum())})


def hosts_of(sessions: int) -> int:
    """As many as there are buckets, or those that the classes are chosen by."""
    return BUCKETS if sessions >= BUCKETS else HOSTS


def filled(sessions: int, rows: dict[str, Any]) -> Engine:
    """``plain`` with these rows and every session in its table; nothing waits."""
    engine = Engine(load("plain", seed=1, max_connections=262_144, **rows))
    opening = Openings(sessions=sessions, packets=sessions, hosts=hosts_of(sessions))
    engine.process(earlier(opening.part(0, sessions)))
    engine.drain()
    return engine


def in_bursts(engine: Engine, chunk: Chunk) -> Any:
    """The chunk's packets of 32 us at once."""
    times = chunk.time_ns & ~np.int64(0x7FFF)
    return engine.process(replaced(chunk, time_ns=times))


SHAPED: Sequence[tuple[str, str, Rows, int, str]] = (
    ("police-1", "one shared meter", meter, HOSTS, "5 ns"),
    ("police-host-65536", "a meter a host", partial(meter, hosts=BUCKETS), BUCKETS, "30 ns"),
    ("tbf", "a link of one class with a bucket", tbf, HOSTS, "15 ns"),
    ("priority-6", "a line with six strict classes", strict, HOSTS, "30 ns"),
    ("htb-8", "HTB with 8 classes that borrow", partial(htb, leaves=8), HOSTS, "45 ns"),
    ("htb-64", "HTB with 64 classes that borrow", partial(htb, leaves=64), HOSTS, "60 ns"),
    ("htb-1000", "HTB with 1 000 classes that borrow", partial(htb, leaves=1000), HOSTS, "100 ns"),
    ("fq-1024", "fq_codel with 1 024 flows", fair, HOSTS, "50 ns"),
)
"""Name, what is there, rows for a line of so many bit/s, sessions, aim."""
