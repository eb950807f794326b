"""Whether `fwcore bench --guard` can be trusted: beside neighbours who are hard on memory.

    for no, one, two neighbours:    ROUNDS runs of this build against itself         no one is red
                                    ROUNDS runs where hit, miss, set-up and evict
                                    take 15 % longer, against this build             each is red

    .venv/bin/python tools/guard.py --rounds 20

A slowdown is planted in the process that is measured: after each chunk it spins for a share of
what the chunk took. Prints a line a run and how long it took; exits with 1 where one is wrong.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 90
NEIGHBOUR = """
import numpy as np, os, sys
a, b = np.zeros(1 << 24), np.ones(1 << 24)
while os.getppid() == int(sys.argv[1]):
    a[:] = b
    b[::8] = a[::8] + 1 - b[1::8]
"""
PLANTED = """
import time
from fwcore.bench import cases, turns

SHARE = {share}

def spinning(work):
    def slow(chunk):
        begin = time.thread_time_ns()
        work(chunk)
        end = time.thread_time_ns()
        while time.thread_time_ns() - end < SHARE * (end - begin):
            pass
    return slow

along, drive = turns.along_file, turns.drive
cases.along_file = lambda path, packets, sessions, work, known=None: along(
    path, packets, sessions, spinning(work), known)
cases.measure_miss.__globals__["drive"] = lambda engine: spinning(drive(engine))
"""


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Processes that go through 256 MiB all the time."""
    running = [subprocess.Popen([sys.executable, "-c", NEIGHBOUR, str(os.getpid())])
               for _ in range(count)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def slowed(folder: Path, share: float) -> Path:
    """What stands for a Python: the benchmark's process, slower by a share."""
    start = folder / "start.py"
    start.write_text(PLANTED.format(share=share) + f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from fwcore.bench.worker import main
sys.exit(main(sys.argv[sys.argv.index("fwcore.bench.worker") + 1:]))
""")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -P {start} "$@"\n')
    python.chmod(0o755)
    return python


def run(now: str, before: str) -> tuple[int, float, str]:
    """(exit code, seconds, what was said) of a guard."""
    begin = time.monotonic()
    text = ("import sys; sys.executable = sys.argv[1]; from fwcore import bench;"
            "sys.exit(bench.run(guarded=True, against=sys.argv[2]))")
    done = subprocess.run([sys.executable, "-P", "-c", text, now, before], capture_output=True,
                          text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return done.returncode, time.monotonic() - begin, done.stdout + done.stderr


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--share", type=float, default=0.15)
    given = parser.parse_args()
    wrong = late = 0
    with tempfile.TemporaryDirectory() as folder:
        slow, same = str(slowed(Path(folder), given.share)), sys.executable
        for count in given.neighbours:
            for turn in range(given.rounds):
                for now, expected in ((same, 0), (slow, 6)):
                    with neighbours(count):
                        code, spent, said = run(now, same)
                    red = said.count("slower; of the yardstick")
                    fine = red == expected and code == (4 if expected else 0)
                    wrong += not fine
                    late += spent > LIMIT_S
                    print(f"{count} neighbours, round {turn + 1}: {red} of 6 red, {expected}"
                          f" planted, {spent:.0f} s{'' if fine else ' - WRONG'}", flush=True)
                    if not fine:
                        print(said, flush=True)
    print(f"{wrong} wrong, {late} took longer than {LIMIT_S} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
