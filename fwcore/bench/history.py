"""The course of each figure over commits, and where it changed: ``fwcore bench --history DIR``.

    a run -> a line of DIR/history.jsonl: commit, machine, each figure's ratios to its yardstick
    runs of one machine and size -> change points -> lines of the terminal, DIR/history.html

Change points are found by E-divisive means (Matteson and James, "A Nonparametric Approach for
Multiple Change Point Analysis of Multivariate Data", JASA 109, 2014; for benchmarks in a CI: Daly
et al., "The Use of Change Point Detection to Identify Software Performance Regressions", ICPE
2020): the split of a series with the greatest energy distance between its parts counts when no
more than one in a hundred shufflings has one as great; then each part is split likewise. The points
are processes, a split is between runs, and the medians of the parts have to differ by SHIFT_LEAST:
statistics tell noise from change, and not whether a change matters.
"""

from __future__ import annotations

import errno
import json
import os
import statistics
import time
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fwcore.bench.guard import Record, read_lines, speeds
from fwcore.errors import FwcoreError
from fwcore.schema import FLAG, TEXT, above_zero, either, named, some

FILE, PAGE = "history.jsonl", "history.html"
RUNS_MOST = 100          # the latest, of which changes are looked for
SHUFFLES = 199
SIGNIFICANT = 0.01
SHIFT_LEAST = 0.075      # of the medians: half of the 15 % that has to be found [D]
ROUNDING = 1e-9          # of an energy, by which two that are the same may differ
POINTS_LEAST = 3         # of a part: fewer processes have no spread to speak of
BARS = "▁▂▃▄▅▆▇█"
RUN = {"machine": {"cpu": TEXT}, "quick": FLAG, "python": TEXT, "commit": either(None, TEXT),
       "figures": named({"ratios": some(above_zero)})}
WHOSE = "run of fwcore bench --history; delete it, or name another directory"


class Change(NamedTuple):
    """A figure is another from a run on. ``slower``: 0.15: that much more time than before."""

    run: int
    commit: str
    slower: float


# --- the file -------------------------------------------------------------------------------------


def line_of(records: Sequence[Record], quick: bool) -> Record:
    """A run as it is kept."""
    where = {name: records[0][name] for name in ("machine", "commit", "fwcore", "python", "numpy")}
    return {"time_s": int(time.time()), "quick": quick, **where, "figures": {
        record["bench"]: {"ratios": speeds(record), "median": record["median"],
                          "unit": record["unit"]} for record in records}}


def read(folder: str) -> list[Record]:
    """The runs that are kept, in order. Raises FwcoreError with the line at fault."""
    path = Path(folder, FILE)
    if not path.exists():
        return []
    return [run for _, run in read_lines(str(path), "history", RUN, WHOSE)]


def append(folder: str, run: Record) -> None:
    """Adds a run, whole or not at all. Raises FwcoreError."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with open(Path(folder, FILE), "ab", buffering=0) as file:
            before, line = file.tell(), json.dumps(run).encode() + b"\n"
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(before)   # half a line would be no run when it is read
                raise
    except OSError as error:
        raise FwcoreError(f"{folder}: the history cannot be written ({error.strerror})") from None


def kind_of(run: Record) -> tuple[Any, ...]:
    """What has to be the same for two runs to be of one course."""
    return run["machine"]["cpu"], bool(run["quick"]), run["python"].rpartition(".")[0]


# --- where it changed -----------------------------------------------------------------------------


def course(runs: Sequence[Record], name: str) -> tuple[list[list[float]], list[str]]:
    """(the figure's points, run by run; the commits) of the runs that have it."""
    having = [run for run in runs if name in run["figures"]][-RUNS_MOST:]
    return ([[float(each) for each in run["figures"][name]["ratios"]] for run in having],
            [str(run["commit"]) for run in having])


def changes(points: Sequence[Sequence[float]], commits: Sequence[str]) -> list[Change]:
    """Where a course changed, in order; the same each time it is asked."""
    ends = np.cumsum([len(each) for each in points])
    flat = np.log(np.array([each for run in points for each in run]))
    found: list[int] = []
    parts = [(0, len(points))]
    while parts:
        begin, end = parts.pop()
        at = _split(flat, ends, begin, end)
        if at is not None:
            found.append(at)
            parts += [(begin, at), (at, end)]
    marks = [0, *sorted(found), len(points)]
    middle = [statistics.median([each for run in points[a:b] for each in run])
              for a, b in pairwise(marks)] if points else []
    return [Change(at, commits[at], before / after - 1)
            for at, before, after in zip(marks[1:-1], middle, middle[1:], strict=False)]


def _split(flat: NDArray[Any], ends: NDArray[Any], begin: int, end: int) -> int | None:
    """The run with which a stretch of runs begins anew; None: it is of one kind."""
    first = int(ends[begin - 1]) if begin else 0
    part = flat[first:int(ends[end - 1])] if end else flat[:0]
    places = [run for run in range(begin + 1, end)
              if POINTS_LEAST <= ends[run - 1] - first <= len(part) - POINTS_LEAST]
    if not places:
        return None
    cuts = np.array([int(ends[run - 1]) - first for run in places])
    energies = _energies(part, cuts)
    best = int(energies.argmax())
    cut = int(cuts[best])
    if abs(float(np.median(part[:cut]) - np.median(part[cut:]))) < np.log1p(SHIFT_LEAST):
        return None
    random = np.random.default_rng(len(part))
    great = energies[best] * (1 - ROUNDING)     # points that are alike have shufflings alike
    as_great = sum(bool(_energies(random.permutation(part), cuts).max() >= great)
                   for _ in range(SHUFFLES))
    return places[best] if (1 + as_great) / (1 + SHUFFLES) <= SIGNIFICANT else None


def _energies(part: NDArray[Any], cuts: NDArray[Any]) -> NDArray[Any]:
    """The energy distance between what is before and behind each cut, scaled by their sizes."""
    size = len(part)
    to_earlier, to_all = np.zeros(size), np.zeros(size)
    for at, point in enumerate(part):
        apart = np.abs(part - point)
        to_earlier[at], to_all[at] = apart[:at].sum(), apart.sum()
    left = 2 * to_earlier.cumsum()[cuts - 1]
    across = to_all.cumsum()[cuts - 1] - left
    right = to_all.sum() - left - 2 * across
    behind = size - cuts
    distance = 2 * across / (cuts * behind) - left / cuts**2 - right / behind**2
    scaled: NDArray[Any] = cuts * behind / size * distance
    return scaled


# --- what is shown --------------------------------------------------------------------------------


def bars(values: Sequence[float]) -> str:
    """A line of bars from the least to the most."""
    low, high = min(values), max(values)
    span = max(high - low, high * SHIFT_LEAST)     # noise is no mountain range
    return "".join(BARS[min(7, int(8 * (value - low) / span))] for value in values)


def report(runs: Sequence[Record], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Lines of the terminal, and the figures that became slower with the newest run."""
    lines = [f"{len(runs)} runs of this machine and these sizes; speed in parts of the yardstick"]
    newest = []
    for name in names:
        points, commits = course(runs, name)
        middle = [statistics.median(each) for each in points]
        lines.append(f"{name:<21}{middle[-1]:>7.3g}  {bars(middle[-46:])}")
        for change in changes(points, commits):
            what = "slower" if change.slower > 0 else "faster"
            size = change.slower if change.slower > 0 else 1 / (1 + change.slower) - 1
            lines.append(f"{'':<21}{size:.0%} {what} since {change.commit}, run "
                         f"{change.run + 1} of {len(points)}")
            if change.run == len(points) - 1 and change.slower > 0:
                newest.append(name)
    return lines, newest


def page(runs: Sequence[Record], names: Sequence[str]) -> str:
    """The same as a page: a curve a figure, its changes marked."""
    parts = []
    for name in names:
        points, commits = course(runs, name)
        middle = [statistics.median(each) for each in points]
        found = changes(points, commits)
        told = "; ".join(f"{change.slower:+.0%} time since {escape(change.commit)}"
                         for change in found) or "no change"
        parts.append(f"<h2>{escape(name)}</h2>\n<p>{middle[-1]:.3g} of its yardstick's speed. "
                     f"{told}.</p>\n{_curve(points, commits, found)}")
    return ("<!doctype html>\n<html lang=en><meta charset=utf-8>"
            "<meta name=viewport content='width=device-width'><title>fwcore bench</title>\n"
            "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
            "padding:0 1rem;color-scheme:light dark}svg{width:100%;height:auto}"
            "h2{font-size:1rem;margin-bottom:0}p{margin:0}</style>\n"
            f"<h1>Speed over {len(runs)} runs</h1>\n" + "\n".join(parts) + "\n</html>\n")


def _curve(points: Sequence[Sequence[float]], commits: Sequence[str],
           found: Sequence[Change]) -> str:
    """An SVG of 600 x 90: medians as a line, processes as dots, a bar at each change."""
    flat = [each for run in points for each in run]
    low, high = 0.0, max(flat) * 1.05
    step = 580 / max(1, len(points) - 1)

    def place(run: int, value: float) -> tuple[float, float]:
        return 10 + run * step, 85 - 80 * (value - low) / (high - low)

    dots = "".join("<circle cx={:.1f} cy={:.1f} r=1.5 />".format(*place(run, value))
                   for run, each in enumerate(points) for value in each)
    line = " ".join("{:.1f},{:.1f}".format(*place(run, statistics.median(each)))
                    for run, each in enumerate(points))
    marks = "".join(f"<line x1={x:.1f} x2={x:.1f} y1=2 y2=88 stroke=#d33 stroke-dasharray=3 />"
                    for x in (10 + (change.run - 0.5) * step for change in found))
    title = escape(f"from {commits[0]} to {commits[-1]}")
    return (f"<svg viewBox='0 0 600 90' role=img><title>{title}</title><g fill=currentColor "
            f"opacity=.4>{dots}</g><polyline points='{line}' fill=none stroke=currentColor "
            f"stroke-width=1.5 />{marks}</svg>")
