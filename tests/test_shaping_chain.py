"""A chain of 8 links and 64 classes: every packet has an end, memory stays what it was.

FWCORE_SHAPED_PACKETS is how many come; `make chain` has ten million.
"""

from __future__ import annotations

import os

import numpy as np
from frames import ethernet, ip, udp

from fwcore.capture import Chunk
from fwcore.engine import Engine
from fwcore.settings import load

PACKETS = int(os.environ.get("FWCORE_SHAPED_PACKETS", "60000"))
LINKS, LEAVES = 8, 7          # and one class above them
CHUNK = 20_000
SIZE = 200
PAGE = 4096


def chain():
    """Each link a little slower than the one before, so that all of them queue and drop."""
    links = [{"name": f"l{n}", "rate": 90_000_000 - 1_000_000 * n,
              "next": f"l{n + 1}" if n + 1 < LINKS else ""} for n in range(LINKS)]
    classes = []
    for n in range(LINKS):
        classes.append({"link": f"l{n}", "id": 100, "ceiling": 85_000_000 - 1_000_000 * n})
        classes += [
            {"link": f"l{n}", "id": leaf + 1, "parent": 100, "guarantee": 4_000_000,
             "priority": leaf % 3, "limit_packets": 40,
             **({"share": "flow", "shares": 4, "discard": "codel"} if leaf == 6 else {})}
            for leaf in range(LEAVES)]
    rows = [{"id": leaf + 1, "ports": [1000 + leaf], "link": "l0", "class": leaf + 1}
            for leaf in range(LEAVES)]
    return {"links": links, "classes": classes, "shapings": rows}


def resident():
    """Pages of memory that this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])


def test_a_chain_of_eight_links_and_64_classes_keeps_its_memory():
    """Offered is 1.1 of the first line, with pauses in which all of it drains."""
    random = np.random.default_rng(1)
    frames = [ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(2000 + flow, 1000 + leaf, SIZE - 42)))
              for leaf in range(LEAVES) for flow in range(4)]
    table = np.frombuffer(b"".join(frames), np.uint8).reshape(-1, SIZE)
    step = SIZE * 8 * 10**9 // 99_000_000
    engine = Engine(load(seed=1, max_connections=1000, **chain()))
    now, early = 10**18, 0
    for done in range(0, PACKETS, CHUNK):
        times = now + np.arange(CHUNK, dtype=np.int64) * step
        now = int(times[-1]) + 10**9
        engine.process(Chunk.from_array(table[random.integers(0, len(table), CHUNK)], times))
        if done <= max(CHUNK, PACKETS // 10):   # chunks of 4 MB come from the heap by and by
            early = resident()
    grown = resident() - early
    engine.drain()
    found = engine.shaping()
    assert all(engine.laws().values())
    assert sum(row["waiting"] for row in found["classes"].values()) == 0
    sent = [found["links"][f"l{n}"]["packets"] for n in range(LINKS)]
    lost = [sum(sum(row["dropped"].values()) for name, row in found["classes"].items()
                if name.startswith(f"l{n}:")) for n in range(LINKS)]
    assert [sent[0] + lost[0], *(b + c for b, c in zip(sent[1:], lost[1:], strict=True))] == [
        PACKETS, *sent[:-1]]
    assert min(lost) > 0
    assert grown < 256, f"{grown} pages more after {PACKETS} packets"
