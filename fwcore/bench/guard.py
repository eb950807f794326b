"""Whether a benchmark became slower: figures of now held against an earlier run, or another build.

    --baseline FILE     the ratio to the yardstick, process by process, against the baseline's
    --against PYTHON    another build of fwcore, slice by slice in turn with this one

Against a baseline a finding needs two things: the median is slower by more than the share asked
for, and every process of now is slower than every one of before. The spread that is in the figures
thereby decides how much a benchmark may wander: a quiet one is held closely, a restless one is not
failed by its own noise. What is red is measured once more, and fails only when it is red again.

Laws: nothing is passed over in silence. What the baseline lacks, what has no yardstick, and a
baseline of another machine or version are said; they fail nothing.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from fwcore import infile
from fwcore.bench.cases import Case
from fwcore.errors import FwcoreError
from fwcore.escape import visible_tree
from fwcore.schema import FLAG, TEXT, above_zero, check, number, rows

RUNS_MIN = 3      # fewer processes have no spread to speak of [D]
GUARD_RUNS = 4    # of --guard: one in ten lies apart, by where its memory came to lie
GUARD_SHARE = 0.075     # half of the 15 % that it has to find: as far from either mistake [D]
LINES_MOST = 1 << 26    # bytes of a file of records: a hundred thousand
Record = dict[str, Any]
SURROUNDINGS = {"machine?": {"cpu?": TEXT, "architecture?": TEXT},
                "python?": TEXT, "numpy?": TEXT, "fwcore?": TEXT}
RECORD = {"bench": TEXT, "values": rows(number), "ratios": rows(above_zero), "median": number,
          "quick?": FLAG, **SURROUNDINGS}


class Finding(NamedTuple):
    """One benchmark, now and before. ``speeds``: of each process, in parts of the yardstick."""

    name: str
    slower: float            # 0.2: a fifth more time than before; negative: less
    red: bool
    before: Sequence[float]
    now: Sequence[float]
    before_value: float
    now_value: float
    unit: str

    def text(self) -> str:
        """What became of it, with both spreads and the raw figures beside."""
        what = "slower" if self.slower >= 0 else "faster"
        return (f"{self.name}: {abs(self.slower):.0%} {what}; of the yardstick "
                f"{_span(self.now)}, before {_span(self.before)}; "
                f"{self.now_value:.4g} {self.unit}, before {self.before_value:.4g}")


def _span(speeds: Sequence[float]) -> str:
    return f"{statistics.median(speeds):.3g} ({min(speeds):.3g} to {max(speeds):.3g})"


# --- deciding -------------------------------------------------------------------------------------


def speeds(record: Record) -> list[float]:
    """Speed of each process of a record, in parts of its yardstick; an amount counts inversely."""
    if record["ratios"]:
        return [float(ratio) for ratio in record["ratios"]]
    return [1.0 / value for value in record["values"]]


def compare(name: str, now: Record, before: Record, share: float) -> Finding:
    """One benchmark held against what it was."""
    new, old = speeds(now), speeds(before)
    slower = statistics.median(old) / statistics.median(new) - 1
    return Finding(name, slower, slower > share and max(new) < min(old), old, new,
                   before["median"], now["median"], now["unit"])


def compare_builds(name: str, now: Record, other: Record, share: float) -> Finding:
    """One benchmark of two builds in turn, slice by slice: pairs need no yardstick.

    Whatever the neighbours did, they did to both of a pair. Red when the processes, each by the
    median of its pairs, are slower by more than the share in the median, and all but a quarter of
    them by more than half of it.
    """
    medians = sorted(statistics.median(mine / theirs for mine, theirs in zip(*run, strict=True))
                     for run in _runs(now, other))
    slower = statistics.median(medians) - 1
    return Finding(name, slower, slower > share and medians[len(medians) // 4] > 1 + share / 2,
                   [1.0] * len(medians), [1 / median for median in medians],
                   other["median"], now["median"], now["unit"])


def _runs(now: Record, other: Record) -> list[tuple[Sequence[float], Sequence[float]]]:
    """Figures to be paired, run by run: slices, where both builds have as many, or whole runs."""
    runs = list(zip(now.get("slices", ()), other.get("slices", ()), strict=False))
    if runs and all(len(mine) == len(theirs) > 0 for mine, theirs in runs):
        return runs
    return [([mine], [theirs])
            for mine, theirs in zip(now["values"], other["values"], strict=True)]


def findings(records: Iterable[Record], before: dict[str, Record], cases: dict[str, Case],
             share: float, builds: bool) -> list[Finding]:
    """Of those that both have and that are held against something."""
    how = compare_builds if builds else compare
    return [how(record["bench"], record, before[record["bench"]], share)
            for record in records
            if record["bench"] in before and cases[record["bench"]].compared]


def unheld(chosen: Sequence[Case], before: dict[str, Record]) -> list[str]:
    """Lines about what is not held against the baseline, and why."""
    lines = []
    missing = [case.name for case in chosen if case.name not in before]
    if missing:
        lines.append(f"not in the baseline, so not held: {', '.join(missing)}")
    loose = [case.name for case in chosen if not case.compared]
    if loose:
        lines.append(f"a difference of two figures, so not held: {', '.join(loose)}")
    names = {case.name for case in chosen}
    idle = [name for name in before if name not in names]
    if idle:
        lines.append(f"in the baseline, but not run: {', '.join(idle)}")
    return lines


def strangeness(here: Record, before: dict[str, Record]) -> list[str]:
    """Lines about how the baseline's surroundings differ from these."""
    there = next(iter(before.values()))
    lines = []
    for what, old, new in (
            ("processor", there.get("machine", {}).get("cpu"), here["machine"]["cpu"]),
            ("architecture", there.get("machine", {}).get("architecture"),
             here["machine"]["architecture"]),
            ("Python", there.get("python"), here["python"]),
            ("NumPy", there.get("numpy"), here["numpy"]),
            ("fwcore", there.get("fwcore"), here["fwcore"])):
        if old != new:
            lines.append(f"the baseline is of another {what}: {old}, here {new}")
    return lines


# --- the baseline's file --------------------------------------------------------------------------


def parse_share(text: str | float) -> float:
    """"20%" or 0.2 -> 0.2. Raises FwcoreError; 20 without its sign would never fail anything."""
    try:
        if isinstance(text, str) and text.strip().endswith("%"):
            share = float(text.strip()[:-1]) / 100
        else:
            share = float(text)
            if share > 1:
                raise FwcoreError(
                    f"bench: --fail-over {text}: is {text}% meant? A bare number is a share of "
                    "1, like 0.2")
    except ValueError:
        share = -1.0
    if not 0 <= share <= 10:
        raise FwcoreError(f"bench: --fail-over {text!r}: a share like 20% or 0.2")
    return share


def read_lines(path: str, what: str, shape: Any, whose: str) -> Iterator[tuple[int, Record]]:
    """(line, record) of JSON lines, each of a shape, and harmless where it is shown.

    Raises FwcoreError: the file (``what`` it is) cannot be read, or a line is none of ``whose``.
    """
    try:
        lines = infile.read(path, LINES_MOST).decode().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise FwcoreError(f"{path}: the {what} cannot be read ({why})") from None
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            record = visible_tree(json.loads(text))
            check(record, shape, "it")
        except (ValueError, FwcoreError, RecursionError) as error:
            why = f" ({error})" if isinstance(error, FwcoreError) else ""
            raise FwcoreError(f"{path}: line {line} is no {whose}{why}") from None
        yield line, record


def read_baseline(path: str) -> dict[str, Record]:
    """Records of an earlier run, by name. Raises FwcoreError with the line at fault."""
    how = "result of fwcore bench --json; write a baseline with: fwcore bench --json FILE"
    found: dict[str, Record] = {}
    for line, record in read_lines(path, "baseline", RECORD, how):
        found[record["bench"]] = record
        if not record["ratios"] and not all(value > 1e-30 for value in record["values"]):
            raise FwcoreError(f"{path}: line {line} is no {how}")
    if not found:
        raise FwcoreError(f"{path}: the baseline is empty; write one with: "
                          "fwcore bench --json FILE")
    return found


def check_fit(before: dict[str, Record], cases: Sequence[Case], runs: int, quick: bool,
              path: str) -> None:
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
        if len(speeds(before[name])) < RUNS_MIN:
            raise FwcoreError(f"{path}: {name} was taken with fewer than {RUNS_MIN} runs, which "
                              f"says nothing of its spread; take it with --repeat {RUNS_MIN} or "
                              "more")
    if runs < RUNS_MIN:
        raise FwcoreError(f"bench: {runs} runs say nothing of their spread; hold at least "
                          f"{RUNS_MIN} against a baseline (--repeat {RUNS_MIN})")
