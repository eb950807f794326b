"""Simulates years of a firewall's life until the time is up or something is wrong.

    python tools/simulate.py [--seconds 600] [--seed N] [--kind twin|bulk|alone] [--jobs 2] [--all]

The first seed is printed first; without one it is drawn anew. Case n has seed + n, in three kinds:
`twin` runs the engine beside its plain twin and compares after each step, `bulk` beside a twin that
runs in a process of its own, by thousands of packets, `alone` the engine at full speed with laws
and audit; half, a quarter and a quarter of the time. What fails, crashes or does not end is the
end, with 1 (but for a case that the engine alone ends, and the twin does not in time); of `twin` it
is shrunk to a program of a few lines. `--all` goes on and lists each kind of failure once.
`--twin-python pypy3`: the twin of `bulk` there, four times as fast.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import mmap
import os
import secrets
import select
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from simulation import bulk, draw, shrink
from simulation.case import Alone, run
from simulation.elsewhere import Elsewhere

SHARES = {"twin": 2, "bulk": 1, "alone": 1}
KINDS = tuple(SHARES)
LAST_CASE_S = 15  # what a case may take beyond the time; then it is left undecided
FIELDS = 3 + len(KINDS)  # seed, kind, cases, packets of each kind


@dataclass
class Worker:
    """A child that runs case after case, and the page on which it says where it is."""

    number: int
    page: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, 8 * FIELDS))
    child: int = 0
    reader: int = -1
    place: tuple[int, ...] = ()
    since: float = 0.0

    @property
    def figures(self) -> np.ndarray:
        return np.frombuffer(self.page, np.uint64)


def work(
    figures: np.ndarray, seeds: range, kinds: tuple[str, ...], until: float, python: str,
) -> None:
    """Runs cases until the time is up; the kind that has had less of its share comes next."""
    spent = dict.fromkeys(kinds, 0.0)
    with contextlib.closing(Elsewhere(python)) as twin:
        for seed in seeds:
            begin = time.monotonic()
            if begin > until:
                return
            kind = min(kinds, key=lambda kind: spent[kind] / SHARES[kind])
            figures[0], figures[1] = seed, KINDS.index(kind)
            figures[2] += 1
            judge(seed, kind, twin, functools.partial(note, figures, 3 + KINDS.index(kind)))
            spent[kind] += time.monotonic() - begin


def note(figures: np.ndarray, column: int, packets: int) -> None:
    """So many more packets were judged."""
    figures[column] += packets


def judge(seed: int, kind: str, twin: Elsewhere, judged: Callable[[int], None]) -> None:
    """Runs the case of a seed; ``judged`` is told of packets as they are judged."""
    if kind == "alone":
        bulk.run(seed, judged)
    elif kind == "bulk":
        bulk.beside(seed, twin, judged)
    else:
        judged(run(draw.case(Random(seed))))


def start(
    worker: Worker, first: int, options: argparse.Namespace, kinds: tuple[str, ...], until: float,
) -> None:
    """A child that goes on with the seeds of its number."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    worker.child = os.fork()
    if worker.child == 0:
        text = ""
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            seeds = range(first, 1 << 64, options.jobs)
            work(worker.figures, seeds, kinds, until, options.twin_python)
        except BaseException as error:
            text = shrink.told(error)
        os.write(writer, text.encode()[:60_000])
        os._exit(0)
    os.close(writer)
    worker.reader, worker.place, worker.since = reader, (), 0.0


def worked(child: int) -> float:
    """Seconds of the processor's time that a child has had; the clock's where nothing tells."""
    try:
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(worker: Worker) -> str | None:
    """None while the child works; else "" or how its last case failed."""
    now, place = worked(worker.child), tuple(worker.figures.tolist())
    if place != worker.place:
        worker.place, worker.since = place, now
    hung = now - worker.since > shrink.HANG_S
    if hung:
        os.kill(worker.child, signal.SIGKILL)
    elif not select.select([worker.reader], [], [], 0.2)[0]:
        return None
    text = "" if hung else os.read(worker.reader, 65_536).decode(errors="replace")
    status = os.waitpid(worker.child, 0)[1]
    os.close(worker.reader)
    if hung:
        return f"hang: no end after {now - worker.since:.0f} s of work"
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else text


def slow_twin(seed: int, kind: str) -> bool:
    """Whether the engine alone comes to the end of a case beside the twin that did not end."""
    return kind == "twin" and not shrink.failure_of(
        lambda: run(draw.case(Random(seed)), Alone)).startswith("hang")


def report(seed: int, kind: str, failure: str, options: argparse.Namespace) -> None:
    """What failed, and how to see it again."""
    other = kind == "bulk" and options.twin_python != sys.executable
    named = f" TWIN_PYTHON={shlex.quote(options.twin_python)}" if other else ""
    print(f"\nsimulate: seed {seed}, {kind}: {failure}")
    print(f"again: make simulate SEED={seed} KIND={kind}{named}")
    if kind == "twin":
        case, failure = shrink.smallest(draw.case(Random(seed)), failure, options.shrink_seconds)
        print(f"smallest: {failure}\n\nPYTHONPATH=tests .venv/bin/python - <<'END'")
        print(case.program() + "END", flush=True)


def stop(worker: Worker) -> None:
    """Ends a child that has nothing more to say."""
    os.kill(worker.child, signal.SIGKILL)
    os.waitpid(worker.child, 0)
    os.close(worker.reader)
    worker.child = 0


def go_on(
    workers: list[Worker], seen: set[str], options: argparse.Namespace, kinds: tuple[str, ...],
    until: float,
) -> None:
    """Until the time is up, or after a failure unless `--all`; its kind is in ``seen`` then."""
    while busy := [worker for worker in workers if worker.child]:
        for worker in busy:
            failure = watch(worker)
            if time.monotonic() > until + LAST_CASE_S and failure is None:
                stop(worker)
            if failure is None:
                continue
            worker.child = 0
            seed, kind = int(worker.figures[0]), KINDS[int(worker.figures[1])]
            slow = failure.startswith("hang") and slow_twin(seed, kind)
            if slow:
                print(f"simulate: seed {seed}: left undecided, the twin is slow", flush=True)
            elif failure and shrink.kind(failure) not in seen:
                seen.add(shrink.kind(failure))
                report(seed, kind, failure, options)
            if failure and (slow or options.all) and time.monotonic() < until:
                start(worker, seed + options.jobs, options, kinds, until)
        if seen and not options.all:
            return


def simulate(options: argparse.Namespace) -> int:
    """Runs the workers; how many kinds of failure there were."""
    kinds = (options.kind,) if options.kind else KINDS
    until = time.monotonic() + options.seconds
    workers = [Worker(number) for number in range(options.jobs)]
    for worker in workers:
        start(worker, options.seed + worker.number, options, kinds, until)
    seen: set[str] = set()
    try:
        go_on(workers, seen, options, kinds, until)
    except KeyboardInterrupt:       # no error: what was done by then is told
        print("simulate: interrupted", flush=True)
    finally:
        for worker in workers:
            if worker.child:
                stop(worker)
    cases, twin, bulk, alone = sum(worker.figures[2:] for worker in workers).tolist()
    print(f"simulate: {cases} cases, {twin + bulk} packets beside the twin ({twin} step by step),"
          f" {alone} with the engine alone; {len(seen)} kinds of failure")
    return len(seen)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, help="of the first case; drawn anew without it")
    parser.add_argument("--kind", choices=KINDS, help="only this one")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--twin-python", default=sys.executable, help="runs the twin of bulk")
    parser.add_argument("--all", action="store_true", help="go on after a failure")
    parser.add_argument("--shrink-seconds", type=float, default=120)
    options = parser.parse_args()
    if options.jobs < 1:
        parser.error(f"--jobs {options.jobs}: one at least")
    if options.seed is not None and not 0 <= options.seed < 1 << 63:
        parser.error(f"--seed {options.seed}: 0 to 2^63 - 1")
    if shutil.which(options.twin_python) is None:
        parser.error(f"--twin-python {options.twin_python}: no such program")
    if options.seed is None:
        options.seed = secrets.randbits(48)
    print(f"simulate: seed {options.seed}", flush=True)
    return 1 if simulate(options) else 0


if __name__ == "__main__":
    sys.exit(main())
