"""Each listed change of the code must turn a test red: tests/mutants.toml.

    python tools/mutants.py [NAME ...] [--changed BASE] [--tests "PATHS"] [--jobs 2]
                            [--seconds 180] [--within SECONDS]

A mutant is applied in a copy of the checkout as it is built; the extensions that it is in are built
again (-O1: quick), and the tests run until the first failure. Red, a crash or a time-out kills it.
One that survives, or that cannot be built, is listed at the end, which is then 1. The test that
turned red has to be green in the checkout itself; where it is not, the end is 2.

A mutant names the tests that kill it; ``--tests`` asks others. ``--changed BASE`` tries those of
the files that differ from the commit BASE only: what a change of them has to answer for.
``--within`` begins no other mutant after so many seconds, and says how many were left.
"""

from __future__ import annotations

import argparse
import math
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from scratch import ROOT, build, built_copy, environment

LIST = ROOT / "tests" / "mutants.toml"
CFLAGS = "-O1 -w"
# What is found need not be made small; the examples are as many as FWCORE_EXAMPLES says.
QUICK = {"HYPOTHESIS_PROFILE": "mutants", "PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True)
class Mutant:
    """``old`` occurs once in ``file``; ``new`` takes its place."""

    name: str
    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]  # files, or nodes in them

    @property
    def compiled(self) -> bool:
        return not self.file.endswith(".py")

    def text(self) -> str:
        """The file with the change."""
        text = (ROOT / self.file).read_text()
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.name}: its text occurs {text.count(self.old)} times in {self.file}")
        return text.replace(self.old, self.new)


def load(path: Path = LIST) -> list[Mutant]:
    rows = tomllib.loads(path.read_text())["mutant"]
    return [Mutant(**{**row, "tests": tuple(row["tests"])}) for row in rows]


def changed_since(base: str) -> frozenset[str]:
    """Files that differ from a commit, in the working tree too. Raises ValueError."""
    done = subprocess.run(["git", "diff", "--name-only", "-z", base, "--"], cwd=ROOT, text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise ValueError(f"--changed {base}: {done.stderr.strip() or 'git failed'}")
    return frozenset(name for name in done.stdout.split("\0") if name)


@dataclass(frozen=True)
class Red:
    """What a run of tests ended with: the test that failed, where one did, and in words."""

    node: str
    text: str


def red(folder: Path, tests: Sequence[str], seconds: float) -> Red | None:
    """How these tests end in a folder at the first that is not green; None: they all are."""
    command = [
        sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
        "--benchmark-disable", "-m", "not slow", "--tb=no", *tests]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(folder, **QUICK), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        text, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Red("", "time-out")
    if process.returncode == 0:
        return None
    if process.returncode < 0:
        return Red("", f"killed by signal {-process.returncode}")
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind in ("FAILED", "ERROR"):
            node = rest.split(" - ")[0]
            return Red(node, node)
    return Red("", text[-200:])


class Bench:
    """A copy of the checkout in which one mutant after another is tried."""

    def __init__(self, folder: Path, tests: list[str], seconds: float) -> None:
        self.folder = built_copy(folder)
        stamp = self.folder / "build" / "flags.txt"
        if stamp.exists():  # what a mutant is not in stays as it was built, whatever the flags
            stamp.write_text(f"{stamp.read_text()} {CFLAGS}")
        self.tests = tests  # none: those that a mutant names
        self.seconds = seconds

    def attempt(self, mutant: Mutant) -> Red | str:
        """What killed a mutant; or why nothing did, in words."""
        path = self.folder / mutant.file
        original = path.read_text()
        self._write(path, mutant.text())
        try:
            if mutant.compiled:
                done = build(self.folder, CFLAGS)
                if done.returncode:
                    return "does not build: " + done.stdout[-300:]
            return red(self.folder, self.tests or mutant.tests, self.seconds) or "survived"
        finally:
            self._write(path, original)

    def _write(self, path: Path, text: str) -> None:
        """A source, without what Python compiled of it: that is told apart by whole seconds."""
        path.write_text(text)
        for stale in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            stale.unlink()


@dataclass
class Round:
    """The mutants of a call, and what became of them."""

    todo: queue.SimpleQueue[Mutant]
    until: float
    survivors: list[str] = field(default_factory=list)
    killers: dict[str, str] = field(default_factory=dict)  # test -> a mutant that it killed

    def work(self, bench: Bench) -> None:
        while time.monotonic() < self.until:
            try:
                mutant = self.todo.get_nowait()
            except queue.Empty:
                return
            begin = time.monotonic()
            end = bench.attempt(mutant)
            if isinstance(end, Red):
                word, by = "killed  ", end.text
                if end.node:
                    self.killers.setdefault(end.node, mutant.name)
            else:
                word, by = "SURVIVED", end
                self.survivors.append(f"{mutant.name} ({mutant.file}): {mutant.why}; {end}")
            print(f"{word} {mutant.name:32} {time.monotonic() - begin:5.0f} s  {by}", flush=True)


def run(mutants: Sequence[Mutant], tests: list[str], jobs: int, seconds: float,
        within: float) -> int:
    # Python's first: they need the extensions as they were built.
    todo: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
    for mutant in sorted(mutants, key=lambda mutant: mutant.compiled):
        todo.put(mutant)
    tried = Round(todo, time.monotonic() + within)
    with tempfile.TemporaryDirectory(prefix="fwcore-mutants-") as temporary:
        threads = [
            threading.Thread(target=tried.work, args=(
                Bench(Path(temporary) / f"bench{i}" / "fwcore", tests, seconds),))
            for i in range(min(jobs, len(mutants)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for survivor in tried.survivors:
        print(f"survived: {survivor}")
    left = f", {todo.qsize()} not tried in {within:.0f} s" if todo.qsize() else ""
    print(f"mutants: {len(mutants) - todo.qsize()} tried, {len(tried.survivors)} survived{left}")
    if tried.killers and (why := red(ROOT, sorted(tried.killers), seconds)):
        print(f"mutants: red without a change, so that nothing is said of what it killed:"
              f" {why.text}")
        return 2
    return 1 if tried.survivors else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--changed", metavar="BASE", help="only of files that differ from it")
    parser.add_argument("--tests", default="", help="in place of a mutant's own, between spaces")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=180, help="for the tests of a mutant")
    parser.add_argument("--within", type=float, default=math.inf,
                        help="seconds after which none is begun")
    options = parser.parse_args()
    mutants = load()
    unknown = set(options.names) - {mutant.name for mutant in mutants}
    if unknown:
        parser.error(f"no such mutants: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in mutants if not options.names or mutant.name in options.names]
    if options.changed:
        try:
            files = changed_since(options.changed)
        except ValueError as error:
            parser.error(str(error))
        chosen = [mutant for mutant in chosen if mutant.file in files]
        if not chosen:
            print(f"mutants: none of a file that differs from {options.changed}")
            return 0
    return run(chosen, options.tests.split(), options.jobs, options.seconds, options.within)


if __name__ == "__main__":
    sys.exit(main())
