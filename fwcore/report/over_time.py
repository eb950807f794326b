"""Shaping over time: how full queues were, how much of a line was taken, how long packets took.

    samples of the result --stretches--> Links, classes, meters: a figure for each stretch of time

What is most or longest in a stretch is that of any moment within it, not only where it was
sampled. Samples end with the last packet: what drains then is in no stretch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fwcore._layout import LATEST_NS
from fwcore.report import facts
from fwcore.result import Result

STRETCHES = 300
Figures = NDArray[np.float64]


class Over(NamedTuple):
    """A class or a meter: a name, and its figures for each stretch."""

    name: str
    lost: Figures          # packets dropped each second
    backlog: Figures       # bytes at most; a meter has none
    slowest: Figures       # longest delay of what left, ns


class Line(NamedTuple):
    """A link: figures for each stretch, and its classes, those with most to say first."""

    name: str
    rate: int              # bit/s; 0: no line
    queue: Figures         # bytes at most, the packet on the line included
    taken: Figures         # of the time, 0 to 1
    speed: Figures         # bit/s that left
    slowest: Figures       # of any class
    classes: tuple[Over, ...]


class Shown(NamedTuple):
    """All of it; `edges` are seconds since the first packet, one more than there are stretches."""

    edges: Figures
    links: tuple[Line, ...]
    meters: tuple[Over, ...]
    left_out: Mapping[str, int]


KINDS = {"queue": "bytes waiting at most", "delay": "longest delay, ns",
         "drops": "packets dropped a second"}
NOTHING = Shown(np.zeros(1), (), (), {})


def shown(result: Result, stretches: int = STRETCHES) -> Shown | None:
    """What a result has of shaping over time; None where there is nothing to draw."""
    found = result.data.get("shaping_timeline")
    return of_timeline(found, facts.span(result)[0], stretches) if found else None


def of_timeline(
    found: Mapping[str, Any], start: int, stretches: int = STRETCHES,
) -> Shown | None:
    """The same of a ``shaping_timeline``, from a time on in ns."""
    if not found["time_ns"] or found["time_ns"][-1] - start >= LATEST_NS:
        return None
    times = np.array(found["time_ns"], np.int64)
    kept = _ends(times, min(start, int(times[0])), stretches)
    if not len(kept):
        return None
    edges = np.concatenate([[min(start, int(times[0]))], times[kept]])
    cut = _Cut(kept, np.diff(edges) / 1e9)
    links = tuple(_line(row, cut, found["classes"]) for row in found["links"])
    meters = tuple(Over(row["name"], cut.each_second(row["dropped"]), cut.none, cut.none)
                   for row in found["meters"] if any(row["dropped"]))
    return Shown((edges - edges[0]) / 1e9, links, meters, found["left_out"])


def whole(shown: Shown) -> Mapping[str, Figures]:
    """All links and meters of a setting as one, by what it is: KINDS."""
    none = np.zeros(len(shown.edges) - 1)
    classes = [each for line in shown.links for each in line.classes]
    return {
        "queue": np.add.reduce([none, *(line.queue for line in shown.links)]),
        "delay": np.maximum.reduce([none, *(line.slowest for line in shown.links)]),
        "drops": np.add.reduce([none, *(each.lost for each in (*classes, *shown.meters))])}


def corners(shown: Shown) -> Figures:
    """Seconds of the corners of steps; `stepped` has what stands at them."""
    return np.repeat(shown.edges, 2)[1:-1]


def stepped(figures: Figures) -> Figures:
    """A figure of each stretch at both of its ends."""
    return np.repeat(figures, 2)


def _ends(times: NDArray[np.int64], start: int, stretches: int) -> NDArray[np.int64]:
    """Samples at which stretches end: none is much shorter than the others. One ends before a
    silence, too: what was most before it did not last through it."""
    step = max(1, (int(times[-1]) - start) // stretches)
    kept, last = [], start
    after = [*times[1:].tolist(), int(times[-1])]
    for at, (time, following) in enumerate(zip(times.tolist(), after, strict=True)):
        silence = following - time >= step
        if time - last >= (step / 4 if silence else step):
            kept.append(at)
        elif silence and kept:
            kept[-1] = at
        else:
            continue
        last = time
    if kept and kept[-1] != len(times) - 1:
        kept[-1] = len(times) - 1
    return np.array(kept, np.int64)


class _Cut(NamedTuple):
    """How samples are put together."""

    kept: NDArray[np.int64]
    seconds: Figures

    @property
    def none(self) -> Figures:
        return np.zeros(len(self.kept))

    def rise(self, sums: Sequence[int]) -> Figures:
        """What came to a sum in each stretch."""
        at_ends = np.array(sums, np.float64)[self.kept]
        return np.maximum(0.0, np.diff(at_ends, prepend=0.0))

    def each_second(self, sums: Sequence[int]) -> Figures:
        """The same by time."""
        return self.rise(sums) / self.seconds

    def most(self, figures: Sequence[int]) -> Figures:
        """The most of each stretch."""
        begins = np.concatenate([[0], self.kept[:-1] + 1])
        return np.maximum.reduceat(np.array(figures, np.float64), begins)


def _line(row: Mapping[str, Any], cut: _Cut, classes: Sequence[Mapping[str, Any]]) -> Line:
    own = tuple(
        Over(f"{each['link']}:{each['id']}", cut.each_second(each["dropped"]),
             cut.most(each["backlog_bytes"]), cut.most(each["slowest_ns"]))
        for each in classes if each["link"] == row["name"])
    slowest = np.maximum.reduce([each.slowest for each in own]) if own else cut.none
    return Line(row["name"], row["rate"], cut.most(row["queue_bytes"]),
                np.minimum(1.0, cut.rise(row["taken_ns"]) / (cut.seconds * 1e9)),
                8 * cut.each_second(row["bytes"]), slowest, own)
