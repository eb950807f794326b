"""fwcore bench: how fast the data plane is here, and whether it became slower.

    for each case:  a temporary directory;  N times a fresh process, pinned to one core
                    -> median, least, most; the ratio to its yardstick, measured in turn with it
    --baseline, --against:  held against an earlier run, or against another build (guard.py)

A ratio is (time of the yardstick) / (time of the case for a packet, set-up, transition ...): 0.5
is half the yardstick's speed. The yardstick is the bare loop, and for what is a process of its own
an empty Python. A ratio survives another load and, nearly, another machine; nanoseconds do not.

Laws: no absolute speed is ever asserted; every number comes with the machine it was taken on.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from fwcore import __version__
from fwcore.bench import guard, history as courses
from fwcore.bench.cases import CASES, GUARDED, QUICK, Case
from fwcore.bench.guard import Finding, Record
from fwcore.bench.processes import PACKAGE, measure, measure_pair
from fwcore.errors import FwcoreError
from fwcore.interruption import Interrupted, Interruption
from fwcore.report import checks
from fwcore.words import nearest

RUNS = 5
QUICK_RUNS = 1
FAIL_OVER = "20%"
EXIT_SLOWER = 4


# --- running --------------------------------------------------------------------------------------


def run(
    only: Sequence[str] = (),
    repeat: int | None = None,
    quick: bool = False,
    baseline: str | None = None,
    against: str | None = None,
    fail_over: str | float | None = None,
    guarded: bool = False,
    history: str | None = None,
    json_file: str | None = None,
    markdown: str | None = None,
    junit: str | None = None,
) -> int:
    """Runs the cases and prints a row each; 0, or 4 when one became slower.

    ``only``: names, several between commas (default: all but those that run on request);
    ``repeat``: processes a case (default 5, quick 1, quick and held against something 3);
    ``quick``: small sizes; ``baseline``: JSON lines of an earlier run; ``against``: the Python of
    an environment with another build; ``fail_over``: how much slower is too slow ("20%", 0.2);
    ``guarded``: what a job of a CI asks ``against`` another build, in little time; ``history``: a
    directory that keeps runs, where their course is drawn; ``json_file``: JSON lines go there, "-"
    prints them instead of the table; ``markdown``, ``junit``: a summary for a job's page goes
    there, also of a run that was interrupted or could not be. Raises FwcoreError;
    Interrupted when what was measured until then is said.
    """
    with _said(markdown, junit):
        return _run(only, repeat, quick, baseline, against, fail_over, guarded, history, json_file,
                    markdown, junit)


@contextmanager
def _said(markdown: str | None, junit: str | None) -> Iterator[None]:
    """Where there is no result, --junit and --markdown say why: none of an earlier run stands."""
    try:
        yield
    except FwcoreError as error:
        with suppress(FwcoreError):
            _write_summary([], [str(error)], [checks.Check("run", str(error))], "", markdown, junit)
        raise


def _run(
    only: Sequence[str], repeat: int | None, quick: bool, baseline: str | None,
    against: str | None, fail_over: str | float | None, guarded: bool, history: str | None,
    json_file: str | None, markdown: str | None, junit: str | None,
) -> int:
    cases = chosen(only or (GUARDED if guarded else ()), quick)
    held, quick = baseline is not None or against is not None, quick or guarded
    runs = repeat or (guard.GUARD_RUNS if guarded else RUNS if not quick
                      else guard.RUNS_MIN if held or history else QUICK_RUNS)
    share = guard.parse_share(fail_over if fail_over is not None
                              else guard.GUARD_SHARE if guarded else FAIL_OVER)
    before = _checked(cases, runs, quick, baseline, against, fail_over, repeat, guarded)
    if history and (held or runs < guard.RUNS_MIN):
        raise FwcoreError("bench: --history keeps runs of this build by itself, of "
                          f"{guard.RUNS_MIN} processes or more (--repeat {guard.RUNS_MIN})")
    past = courses.read(history) if history else []
    table = json_file != "-"
    stream = sys.stdout if table else sys.stderr
    if table:
        print(heading(), flush=True)
    records: list[Record] = []
    others, found = before or {}, []
    stopped: Interrupted | None = None
    try:
        with Interruption() as interruption, interruption.waiting():
            for record, other in records_of(cases, runs, quick, against):
                records.append(record)
                if other is not None:
                    others[record["bench"]] = other
                print(row(record) if table else json.dumps(record), flush=True)
            if history:
                _write_lines(json_file, records, table)
                return _kept(history, past, records, quick, stream)
            found = guard.findings(records, others, CASES, share, builds=against is not None)
            found = confirmed(found, runs, quick, others, against, share, stream)
    except Interrupted as signal:
        stopped = signal
        found = [finding._replace(red=False) for finding in guard.findings(    # none twice
            records, others, CASES, share, builds=against is not None)]
    _write_lines(json_file, records, table)
    if held:
        lines = report(found, share)
        if before is not None:
            lines += guard.strangeness(surroundings(), before) + guard.unheld(cases, before)
        made = [checks.Check(each.name, each.text() if each.red else "") for each in found]
        if stopped is not None:
            lines.append(
                f"interrupted by {stopped} after {len(records)} of {len(cases)} benchmarks")
            made.append(checks.Check("run to the end", lines[-1]))
        print("\n" + "\n".join(lines), file=stream)
        _write_summary(found, lines, made, "in turn" if before is None else "of the yardstick",
                       markdown, junit)
    if stopped is not None:
        raise stopped
    return EXIT_SLOWER if any(finding.red for finding in found) else 0


def _write_lines(json_file: str | None, records: Sequence[Record], table: bool) -> None:
    if json_file and table:
        checks.write(json_file, "".join(json.dumps(record) + "\n" for record in records))


def _write_summary(found: Sequence[Finding], lines: Sequence[str], made: Sequence[checks.Check],
                   how: str, markdown: str | None, junit: str | None) -> None:
    """For a job's page."""
    if markdown:
        checks.write(markdown, as_markdown(found, lines, how))
    if junit:
        checks.write(junit, checks.junit(made, "fwcore bench"))


def _kept(folder: str, past: Sequence[Record], records: Sequence[Record], quick: bool,
          stream: Any) -> int:
    """Keeps a run, draws the course; 4 when a figure became slower with it, and did so again."""
    run = courses.line_of(records, quick)
    alike = [each for each in past if courses.kind_of(each) == courses.kind_of(run)]
    names = list(run["figures"])
    _, newest = courses.report([*alike, run], names)
    if newest:
        red = [CASES[name] for name in newest]
        print(f"\nonce more: {', '.join(newest)}", file=stream, flush=True)
        for again, _ in records_of(red, len(records[0]["values"]), quick):
            run["figures"][again["bench"]]["ratios"] += guard.speeds(again)
    lines, newest = courses.report([*alike, run], names)
    courses.append(folder, run)
    checks.write(str(Path(folder, courses.PAGE)), courses.page([*alike, run], names))
    if len(alike) < len(past):
        lines.append(f"{len(past) - len(alike)} runs of another machine, Python or size are not"
                     " in this course")
    print("\n" + "\n".join(lines), file=stream)
    return EXIT_SLOWER if newest else 0


def _checked(cases: Sequence[Case], runs: int, quick: bool, baseline: str | None,
             against: str | None, fail_over: object, repeat: int | None, guarded: bool,
             ) -> dict[str, Record] | None:
    """The baseline, when there is one and all fits together. Raises FwcoreError."""
    if repeat is not None and repeat < 1:
        raise FwcoreError(f"bench: {repeat} runs; at least 1 is needed")
    if baseline is not None and against is not None:
        raise FwcoreError("bench: --baseline or --against, not both")
    if fail_over is not None and baseline is None and against is None:
        raise FwcoreError("bench: --fail-over needs something to hold the figures against: "
                          "--baseline FILE or --against PYTHON")
    if guarded and against is None:
        raise FwcoreError("bench: --guard holds this build against another: --against PYTHON")
    if against is not None and runs < (guard.GUARD_RUNS if guarded else guard.RUNS_MIN):
        raise FwcoreError(f"bench: {runs} runs say nothing of their spread; --repeat "
                          f"{guard.GUARD_RUNS if guarded else guard.RUNS_MIN} or more")
    if baseline is None:
        return None
    before = guard.read_baseline(baseline)
    guard.check_fit(before, cases, runs, quick, baseline)
    return before


def confirmed(found: Sequence[Finding], runs: int, quick: bool, others: dict[str, Record],
              against: str | None, share: float, stream: Any) -> list[Finding]:
    """The findings, where each red one was measured once more and is red only if it is again."""
    red = [CASES[finding.name] for finding in found if finding.red]
    if not red:
        return list(found)
    print(f"\nonce more: {', '.join(case.name for case in red)}", file=stream, flush=True)
    second = {}
    for record, other in records_of(red, runs, quick, against):
        found_again = guard.findings([record], {record["bench"]: other or others[record["bench"]]},
                                     CASES, share, builds=against is not None)
        second[record["bench"]] = found_again[0]
    return [finding if finding.name not in second
            else finding if second[finding.name].red else second[finding.name]
            for finding in found]


def chosen(only: Sequence[str], quick: bool = False) -> list[Case]:
    """The cases of these names, several between commas; all but the large ones without any."""
    names = dict.fromkeys(name.strip() for each in only for name in each.split(","))
    for name in names:
        if name not in CASES:
            raise FwcoreError(f"bench: there is no benchmark {name!r}{nearest(name, CASES)} "
                              f"(benchmarks: {', '.join(CASES)})")
    if names:
        return [CASES[name] for name in names]
    return [case for case in CASES.values()
            if (case.name in QUICK if quick else not case.on_request)]


def records_of(
    cases: Iterable[Case], runs: int, quick: bool, against: str | None = None,
) -> Iterator[tuple[Record, Record | None]]:
    """(record, that of the other build), a case at a time, as soon as its processes are through.

    This build and the other take turns, slice by slice, and who begins takes turns too.
    """
    where = surroundings()
    for case in cases:
        mine: list[Record] = []
        theirs: list[Record] = []
        with tempfile.TemporaryDirectory(prefix="fwcore-bench-") as directory:
            for turn in range(runs):
                if against is None:
                    mine.append(measure(case, directory, quick))
                    continue
                now, other = measure_pair(case, directory, quick, against, turn % 2)
                mine.append(now)
                theirs.append(other)
        if against is None:
            yield summary(case, mine, quick) | where, None
            continue
        yield summary(case, mine, quick, True) | where, summary(case, theirs, quick, True)


def summary(case: Case, measured: Sequence[Record], quick: bool, against: bool = False) -> Record:
    """Median, spread and every value of a case's processes; their slices, where two builds took
    turns."""
    values = [each["value"] for each in measured]
    bare = [each["bare_ns"] for each in measured if each["bare_ns"] is not None]
    ratios = [each.get("ratio") or each["bare_ns"] / each["each_ns"]
              for each in measured if each["bare_ns"] is not None]
    middle = measured[values.index(statistics.median_low(values))]
    return {
        "bench": case.name, "value": digits(statistics.median(values)), "unit": case.unit,
        "median": digits(statistics.median(values)), "min": digits(min(values)),
        "max": digits(max(values)), "runs": len(values), "values": [digits(v) for v in values],
        "from": case.source, "yardstick": case.yardstick if bare else None,
        "ratio": digits(statistics.median(ratios)) if ratios else None,
        "ratios": [digits(ratio) for ratio in ratios],
        "bare_ns": digits(statistics.median(bare)) if bare else None,
        "packets": middle["packets"], "sessions": middle["sessions"], "quick": quick,
        "question": case.question, "aim": case.aim, "detail": middle["detail"],
    } | ({"slices": [each.get("slices", []) for each in measured]} if against else {})


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


# --- output ---------------------------------------------------------------------------------------


def heading() -> str:
    where = surroundings()
    machine = where["machine"]
    names = f"{'benchmark':<21}{'from':<7}{'sessions':>8}{'median':>8} {'unit':<9}{'M/s':>5}"
    return (f"fwcore {__version__} on {machine['cpu']}, {machine['cores']} cores, "
            f"Linux {machine['kernel']}\n{names}{'least':>7}{'most':>7}{'bare':>6}")


def row(record: Record) -> str:
    """One line of 79 columns. M/s: millions of packets (set-ups) a second."""
    unit, median = record["unit"], record["median"]
    rate = f"{1e3 / median:.1f}" if unit.startswith("ns/") and median > 0 else ""
    ratio = record["ratio"]
    of_bare = "" if ratio is None or not unit.startswith("ns/") else f"{ratio:.2f}"
    return (f"{record['bench']:<21}{record['from']:<7}{record['sessions']:>8}{median:>8.4g}"
            f" {unit:<9}{rate:>5}{record['min']:>7.4g}{record['max']:>7.4g}{of_bare:>6}").rstrip()


def report(found: Sequence[Finding], share: float) -> list[str]:
    """Lines: how many were held, and each that became slower."""
    red = [finding for finding in found if finding.red]
    benchmarks = "1 benchmark" if len(found) == 1 else f"{len(found)} benchmarks"
    return [f"{benchmarks} held against what was before, {len(red)} slower by more than "
            f"{share:.0%}", *(f"  {finding.text()}" for finding in red)]


def as_markdown(found: Sequence[Finding], lines: Sequence[str], how: str) -> str:
    """A table for the page of a job, then the lines. ``how`` the last figure was found: it is no
    ratio of the two before it, which were taken at another time or beside other neighbours."""
    rows = [f"| {finding.name} | {CASES[finding.name].source} | {finding.before_value:.4g} | "
            f"{finding.now_value:.4g} {finding.unit} | {finding.slower:+.1%} | "
            f"{'**slower**' if finding.red else 'ok'} |" for finding in found]
    head = [f"| benchmark | from | before | now | slower, {how} | |", "|---|---|--:|--:|--:|---|"]
    return "\n".join([*(head if rows else []), *rows, *([""] if rows else []), *lines, ""])
