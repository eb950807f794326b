"""The processes of a benchmark: one by itself, or one of each of two builds, in turn.

    measure         start -> JSON
    measure_pair    both start, set up, say "ready" -> one slice of one, one slice of the other ...

Of a pair only one runs at a time, on the same core, for a millisecond or so: whatever the
neighbours do, they do to both, and a pair of slices tells more than two runs. A build that knows
nothing of turns runs through, and is held against the other run by run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from fwcore.bench.cases import Case
from fwcore.bench.turns import PAIRED, READY
from fwcore.errors import FwcoreError

PACKAGE = Path(__file__).resolve().parent.parent
Record = dict[str, Any]


def measure(case: Case, directory: str, quick: bool) -> Record:
    """One fresh process; the fields of Measured. Raises FwcoreError."""
    process = _started(case, directory, quick, None, paired=False)
    try:
        said, errors = process.communicate()
    finally:
        process.kill()      # where the wait for it was interrupted
        process.communicate()
    return _record(case, process, said, errors)


def measure_pair(
    case: Case, directory: str, quick: bool, python: str, first: int,
) -> tuple[Record, Record]:
    """A fresh process of this build and one of another environment's, in turn; ``first``: which of
    them begins. Raises FwcoreError."""
    places = [Path(directory) / name for name in ("now", "before")]
    both: list[subprocess.Popen[str]] = []
    try:
        for place, which in zip(places, (None, python), strict=True):
            place.mkdir(exist_ok=True)
            both.append(_started(case, str(place), quick, which, paired=True))
        last = _in_turn(both, first)
        found = []
        for process, line in zip(both, last, strict=True):
            said, errors = process.communicate()
            found.append(_record(case, process, line + said, errors))
    finally:
        for process in both:
            process.kill()
            process.communicate()
    return found[0], found[1]


def _in_turn(both: list[subprocess.Popen[str]], first: int) -> list[str]:
    """Lets them go in turn while they are ready; what each said after its last turn."""
    said = [_line(process) for process in both]
    order = (first, 1 - first)
    while READY in said:
        for at in order:
            if said[at] == READY:
                _go(both[at])
                said[at] = _line(both[at])
    return said


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write("go\n")
        process.stdin.flush()
    except BrokenPipeError:       # it has failed: it is asked for its words later
        pass


def _started(
    case: Case, directory: str, quick: bool, python: str | None, paired: bool,
) -> subprocess.Popen[str]:
    """Not the directory one stands in, which may be a checkout, but this package is what runs."""
    environment = dict(os.environ)
    environment.pop(PAIRED, None)
    if paired:
        environment[PAIRED] = "1"
    if python is None:
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            [python or sys.executable, "-P", "-m", "fwcore.bench.worker", case.name,
             json.dumps(case.setup(directory, quick))],
            env=environment, text=True, stdin=pipe if paired else subprocess.DEVNULL, stdout=pipe,
            stderr=pipe)
    except OSError as error:
        raise FwcoreError(f"bench --against {python}: cannot be started "
                          f"({error.strerror})") from None


def _record(case: Case, process: subprocess.Popen[str], said: str, errors: str) -> Record:
    if process.returncode:
        last = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise FwcoreError(f"bench {case.name}: its process failed: {last}")
    record: Record = json.loads(said)
    return record
