"""Each listed change of the code must turn a test red: tests/mutants.toml.

    python tools/mutants.py [NAME ...] [--changed BASE] [--tests "PATHS"] [--jobs 2]
                            [--seconds 180] [--within SECONDS]

A mutant is applied in a built copy of the project, the extensions are built again where it is in
them (-O1: quick), and the tests run until the first failure. Red, a crash or a time-out kills it.
One that survives, or that cannot be built, is listed at the end, which is then 1. The tests have to
be green without a change; otherwise nothing is said about the mutants, and the end is 2.

A mutant may name the tests that kill it; without, those of TESTS have to. ``--changed BASE`` tries
those of the files that differ from the commit BASE only: what a change of them has to answer for.
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
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from scratch import ROOT, build, copy_to, environment

LIST = ROOT / "tests" / "mutants.toml"
# Quick ones that hold the code against something else; what is not there yet is left out.
TESTS = (
    "tests/test_table.py", "tests/test_pcaps.py", "tests/test_conserve.py",
    "tests/test_failopen.py", "tests/test_engine.py", "tests/test_scenarios.py",
    "tests/test_twin.py",
)
CFLAGS = "-O1 -w"


@dataclass(frozen=True)
class Mutant:
    """``old`` occurs once in ``file``; ``new`` takes its place."""

    name: str
    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...] = ()  # files, or nodes in them; none: TESTS

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
    return [Mutant(**{**row, "tests": tuple(row.get("tests", ()))}) for row in rows]


def changed_since(base: str) -> frozenset[str]:
    """Files that differ from a commit, in the working tree too. Raises ValueError."""
    done = subprocess.run(["git", "diff", "--name-only", "-z", base, "--"], cwd=ROOT, text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise ValueError(f"--changed {base}: {done.stderr.strip() or 'git failed'}")
    return frozenset(name for name in done.stdout.split("\0") if name)


class Bench:
    """A built copy in which one mutant after another is tried."""

    def __init__(self, folder: Path, tests: list[str], seconds: float, told: bool) -> None:
        self.folder = copy_to(folder)
        self.tests = tests
        self.told = told  # which tests to run was said: a mutant's own do not count
        self.seconds = seconds
        self.stale = True

    def prepare(self) -> str:
        """Builds the extensions; what the compiler says when it cannot."""
        for made in (*self.folder.glob("fwcore/*.c"), *self.folder.glob("fwcore/*.so")):
            made.unlink()
        done = build(self.folder, CFLAGS)
        self.stale = False
        return done.stdout if done.returncode else ""

    def red(self, tests: Sequence[str] = ()) -> str:
        """Why these tests, or all of the bench, are not green, or ""."""
        command = [
            sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
            "--benchmark-disable", "-m", "not slow", "--tb=no", *(tests or self.tests)]
        process = subprocess.Popen(
            command, cwd=self.folder, env=environment(self.folder), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            text, _ = process.communicate(timeout=self.seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return "time-out"
        if process.returncode == 0:
            return ""
        failed = [line for line in text.splitlines() if line.startswith(("FAILED", "ERROR"))]
        if process.returncode < 0:
            return f"killed by signal {-process.returncode}"
        return failed[0].removeprefix("FAILED ").split(" - ")[0] if failed else text[-200:]

    def attempt(self, mutant: Mutant) -> tuple[bool, str]:
        """(killed, by what) of one mutant."""
        path = self.folder / mutant.file
        original = (ROOT / mutant.file).read_text()
        path.write_text(mutant.text())
        try:
            if mutant.compiled or self.stale:
                self.stale = True
                if problem := self.prepare():
                    self.stale = True
                    return False, "does not build: " + problem[-300:]
                self.stale = mutant.compiled
            why = self.red(() if self.told else mutant.tests)
            return bool(why), why
        finally:
            path.write_text(original)


def work(
    bench: Bench, todo: queue.SimpleQueue[Mutant], survivors: list[str], until: float,
) -> None:
    while time.monotonic() < until:
        try:
            mutant = todo.get_nowait()
        except queue.Empty:
            return
        begin = time.monotonic()
        killed, by = bench.attempt(mutant)
        if not killed:
            survivors.append(f"{mutant.name} ({mutant.file}): {mutant.why} {by}".rstrip())
        print(f"{'killed  ' if killed else 'SURVIVED'} {mutant.name:32}"
              f" {time.monotonic() - begin:5.0f} s  {by}", flush=True)


def run(mutants: Sequence[Mutant], tests: list[str], jobs: int, seconds: float,
        told: bool, within: float) -> int:
    until = time.monotonic() + within
    # Python's first, out of the build without a change; then every one builds for itself.
    todo: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
    for mutant in sorted(mutants, key=lambda mutant: mutant.compiled):
        todo.put(mutant)
    survivors: list[str] = []
    with tempfile.TemporaryDirectory(prefix="fwcore-mutants-") as temporary:
        benches = [Bench(Path(temporary) / f"bench{i}" / "fwcore", tests, seconds, told)
                   for i in range(jobs)]
        for bench in benches:
            if problem := bench.prepare():
                print(problem)
                return 2
        own = {name for mutant in mutants for name in mutant.tests}
        every = sorted(set(tests) | (set() if told else own))
        if why := benches[0].red(every):
            print(f"mutants: the tests are red without a change: {why}")
            return 2
        threads = [threading.Thread(target=work, args=(bench, todo, survivors, until))
                   for bench in benches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for survivor in survivors:
        print(f"survived: {survivor}")
    left = f", {todo.qsize()} not tried in {within:.0f} s" if todo.qsize() else ""
    print(f"mutants: {len(survivors)} survived{left}")
    return 1 if survivors else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--changed", metavar="BASE", help="only of files that differ from it")
    parser.add_argument("--tests", help="test files, between spaces")
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
    tests = options.tests.split() if options.tests else [
        name for name in TESTS if (ROOT / name).exists()]
    return run(chosen, tests, options.jobs, options.seconds, bool(options.tests),
               options.within)


if __name__ == "__main__":
    sys.exit(main())
