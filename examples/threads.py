"""Threads: an engine has one user at a time, so each thread has its own. The loop runs without the
interpreter's lock, so that they run side by side."""

from concurrent.futures import ThreadPoolExecutor

from fwcore import Engine
from fwcore.capture.synth import make


def share(seed: int) -> tuple[int, str]:
    """One share of the traffic through an engine of its own."""
    with Engine(max_connections=1000) as engine:
        for chunk in make("mix", packets=20_000, sessions=500, seed=seed):
            engine.process(chunk)
        return len(engine), engine.outcome()


with ThreadPoolExecutor(2) as threads:
    for sessions, outcome in threads.map(share, (1, 2)):
        print(sessions, outcome)
