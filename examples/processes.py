"""Processes: an engine goes to another process as it is, by pickle, and comes back."""

import multiprocessing

from fwcore import Engine
from fwcore.capture.synth import make


def further(engine: Engine, seed: int) -> Engine:
    """Lets an engine judge some traffic, wherever this runs."""
    for chunk in make("mix", packets=5_000, sessions=200, seed=seed):
        engine.process(chunk)
    return engine


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(further, (further(Engine(max_connections=500, seed=7), 1), 2))
    here = further(further(Engine(max_connections=500, seed=7), 1), 2)
    print(there.outcome() == here.outcome(), len(there))
