"""fwcore bench: how fast the data plane is here, and whether it became slower.

    for each case:  a temporary directory;  N times a fresh process, pinned to one core
                    -> median, least, most; the ratio to the bare loop, measured in turn with it
    --baseline:     ratios against those of an earlier run, never absolute speeds

A ratio is (time of the bare loop for a packet) / (time of the case for a packet, set-up,
transition ...): 0.5 is half the bare loop's speed. It survives another load and, nearly, another
machine; nanoseconds do not.

Laws: no absolute speed is ever asserted; every number comes with the machine it was taken on.
"""

from __future__ import annotations

import difflib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fwcore import __version__
from fwcore.bench_cases import CASES, Case
from fwcore.errors import FwcoreError

RUNS = 5
FAIL_OVER = "20%"
EXIT_SLOWER = 4
PACKAGE = Path(__file__).resolve().parent

Record = dict[str, Any]


# --- running --------------------------------------------------------------------------------------


def run(
    only: Sequence[str] = (),
    repeat: int | None = None,
    quick: bool = False,
    baseline: str | None = None,
    fail_over: str | float | None = None,
    json_file: str | None = None,
) -> int:
    """Runs the cases and prints a row each; 0, or 4 when one fell behind the baseline.

    ``only``: names (default: all but those that run on request); ``repeat``: processes a case
    (default 5, quick 1); ``quick``: small sizes, some 12 s in all; ``baseline``: JSON lines of an
    earlier run; ``fail_over``: how much slower is too slow ("20%", 0.2); ``json_file``: JSON lines
    go there, "-" prints them instead of the table. Raises FwcoreError.
    """
    cases = chosen(only)
    if repeat is not None and repeat < 1:
        raise FwcoreError(f"bench: {repeat} runs; at least 1 is needed")
    if fail_over is not None and baseline is None:
        raise FwcoreError("bench: --fail-over needs a --baseline FILE to hold the figures against")
    share = parse_share(FAIL_OVER if fail_over is None else fail_over)
    before = None if baseline is None else read_baseline(baseline)
    if before is not None:
        check_fit(before, cases, quick, str(baseline))
    runs = repeat or (1 if quick else RUNS)
    table = json_file != "-"
    if table:
        print(heading(), flush=True)
    records = []
    for record in records_of(cases, runs, quick):
        records.append(record)
        print(row(record) if table else json.dumps(record), flush=True)
    if json_file and table:
        write_lines(json_file, records)
    if before is None:
        return 0
    return report(compared(records, before, share), share, sys.stdout if table else sys.stderr)


def chosen(only: Sequence[str]) -> list[Case]:
    """The cases of these names; all but the large ones when there are none."""
    for name in only:
        if name not in CASES:
            close = difflib.get_close_matches(name, CASES, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise FwcoreError(f"bench: there is no benchmark {name!r}{hint} "
                              f"(benchmarks: {', '.join(CASES)})")
    if only:
        return [CASES[name] for name in dict.fromkeys(only)]
    return [case for case in CASES.values() if not case.on_request]


def records_of(cases: Iterable[Case], runs: int, quick: bool) -> Iterator[Record]:
    """A record a case, as soon as its processes are through."""
    where = surroundings()
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="fwcore-bench-") as directory:
            measured = [measure(case, directory, quick) for _ in range(runs)]
        yield summary(case, measured, quick) | where


def measure(case: Case, directory: str, quick: bool) -> Record:
    """One fresh process; the fields of Measured."""
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "fwcore.bench_cases", case.name,
         json.dumps(case.setup(directory, quick))],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise FwcoreError(f"bench {case.name}: its process failed: {last}")
    record: Record = json.loads(done.stdout)
    return record


def summary(case: Case, measured: Sequence[Record], quick: bool) -> Record:
    """Median and spread of a case's processes."""
    values = [each["value"] for each in measured]
    bare = [each["bare_ns"] for each in measured if each["bare_ns"] is not None]
    ratios = [each["bare_ns"] / each["each_ns"] for each in measured if each["bare_ns"] is not None]
    middle = measured[values.index(statistics.median_low(values))]
    return {
        "bench": case.name, "value": digits(statistics.median(values)), "unit": case.unit,
        "median": digits(statistics.median(values)), "min": digits(min(values)),
        "max": digits(max(values)), "runs": len(values),
        "ratio_to_bare": digits(statistics.median(ratios)) if ratios else None,
        "bare_ns": digits(statistics.median(bare)) if bare else None,
        "packets": middle["packets"], "sessions": middle["sessions"], "quick": quick,
        "question": case.question, "aim": case.aim, "detail": middle["detail"],
    }


def digits(number: float) -> float:
    """Five significant digits: more would be noise."""
    return float(f"{number:.5g}")


def surroundings() -> Record:
    """Where a figure was taken, and of what."""
    return {
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "kernel": platform.release(),
                    "architecture": platform.machine()},
        "commit": commit(), "fwcore": __version__, "python": platform.python_version(),
        "numpy": np.__version__,
    }


def cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit that the package lies in, "+" when it was changed since; None: no checkout."""
    git = ["git", "-C", str(PACKAGE)]
    try:
        found = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True,
                               text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no", "."],
                                 capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return found + ("+" if changed.strip() else "")


# --- the baseline ---------------------------------------------------------------------------------


def parse_share(text: str | float) -> float:
    """"20%" or 0.2 -> 0.2. Raises FwcoreError."""
    try:
        if isinstance(text, str) and text.strip().endswith("%"):
            share = float(text.strip()[:-1]) / 100
        else:
            share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 100:
        raise FwcoreError(f"bench: --fail-over {text!r}: a share like 20% or 0.2")
    return share


def read_baseline(path: str) -> dict[str, Record]:
    """Records of an earlier run, by name. Raises FwcoreError with the line at fault."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise FwcoreError(f"{path}: the baseline cannot be read ({why})") from None
    found: dict[str, Record] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            found[record["bench"]] = record
            float(record["value"])
            float(record["ratio_to_bare"] or 0)
        except (ValueError, KeyError, TypeError):
            raise FwcoreError(f"{path}: line {number} is no result of fwcore bench --json; "
                              "write a baseline with: fwcore bench --json FILE") from None
    if not found:
        raise FwcoreError(f"{path}: the baseline is empty; write one with: "
                          "fwcore bench --json FILE")
    return found


def check_fit(before: dict[str, Record], cases: Sequence[Case], quick: bool, path: str) -> None:
    """Raises FwcoreError when nothing could be compared, before anything is measured."""
    common = [case.name for case in cases if case.name in before]
    if not common:
        raise FwcoreError(f"{path}: the baseline has none of these benchmarks; it has "
                          f"{', '.join(before)}")
    for name in common:
        if bool(before[name].get("quick")) != quick:
            how = "with" if before[name].get("quick") else "without"
            raise FwcoreError(f"{path}: {name} was taken {how} --quick; sizes differ, so run it "
                              f"{how} --quick or take a new baseline")


def compared(
    records: Iterable[Record], before: dict[str, Record], share: float,
) -> list[tuple[str, float, bool]]:
    """(name, how much slower than before, whether that is too much); new cases are left out.

    By the ratio to the bare loop; by the value where there is none (bytes).
    """
    rows = []
    for record in records:
        name = record["bench"]
        if name not in before or not CASES[name].compared:
            continue
        old, new = before[name], record
        if old.get("ratio_to_bare") and new["ratio_to_bare"]:
            slower = old["ratio_to_bare"] / new["ratio_to_bare"] - 1
        else:
            slower = new["value"] / old["value"] - 1 if old["value"] else 0.0
        rows.append((name, slower, slower > share))
    return rows


def report(rows: Sequence[tuple[str, float, bool]], share: float, stream: Any) -> int:
    """Says what became slower; the exit code."""
    behind = [(name, slower) for name, slower, too_slow in rows if too_slow]
    print(f"\n{len(rows)} benchmarks held against the baseline, {len(behind)} slower by more than "
          f"{share:.0%}", file=stream)
    for name, slower in behind:
        print(f"  {name}: {slower:.0%} slower, held against the bare loop", file=stream)
    return EXIT_SLOWER if behind else 0


# --- output ---------------------------------------------------------------------------------------


def heading() -> str:
    where = surroundings()
    machine = where["machine"]
    names = f"{'benchmark':<21}{'sessions':>9}{'median':>9} {'unit':<10}{'M/s':>6}"
    return (f"fwcore {__version__} on {machine['cpu']}, {machine['cores']} cores, "
            f"Linux {machine['kernel']}\n{names}{'least':>8}{'most':>8}{'of bare':>8}")


def row(record: Record) -> str:
    """One line of 79 columns. M/s: millions of packets (set-ups) a second."""
    unit, median = record["unit"], record["median"]
    rate = f"{1e3 / median:.1f}" if unit.startswith("ns/") and median > 0 else ""
    ratio = record["ratio_to_bare"]
    of_bare = "" if ratio is None or not unit.startswith("ns/") else f"{ratio:.2f}"
    return (f"{record['bench']:<21}{record['sessions']:>9}{median:>9.4g} {unit:<10}{rate:>6}"
            f"{record['min']:>8.4g}{record['max']:>8.4g}{of_bare:>8}").rstrip()


def write_lines(path: str, records: Iterable[Record]) -> None:
    """JSON lines. Raises FwcoreError."""
    text = "".join(json.dumps(record) + "\n" for record in records)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FwcoreError(f"{path}: cannot be written ({error.strerror})") from None
