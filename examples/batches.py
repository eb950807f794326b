"""NumPy batches: frames of one width as rows, judged where they lie."""

import numpy as np

from fwcore import Chunk, Engine, Reason

COUNT, WIDTH = 10_000, 60
HEADER = bytes.fromhex(
    "000000000000000000000000" "0800" "450000" "2e" "00000000" "4011" "0000" "0a000000" "cb007109"
    "0000" "0035" "001a" "0000")

rng = np.random.default_rng(1)
frames = np.zeros((COUNT, WIDTH), np.uint8)
frames[:, : len(HEADER)] = np.frombuffer(HEADER, np.uint8)
frames[:, 28:30] = rng.integers(0, 4, (COUNT, 2))        # the client's address
frames[:, 34:36] = rng.integers(0, 8, (COUNT, 2))        # its port
times = np.arange(COUNT, dtype=np.int64) * 1000

with Engine(max_connections=512) as engine:
    outcome = engine.process(Chunk.from_array(frames, times))
    for reason, count in zip(*np.unique(outcome[:, 1], return_counts=True), strict=True):
        print(Reason(reason).name, count)
    print(engine.top_hosts(3))
