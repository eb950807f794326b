"""Memory against its thresholds as a small graph of characters.

    95% extreme ┈┈┈┈┈┈┈┈┈┈┈┈▂▄▃┈┈┈┈┈
    88% red     ┈┈┈┈┈┈┈┈▄▇██████▅┈┈┈
    82% green   ┈┈┈▂▄▆███████████▆▃┈
                ▄▆██████████████████
    mode        ········▒▒▒▒██▒▒▒▒▒·

A column is a stretch of time and shows the highest use within it; an eighth of a character is the
unit of height. Freeable pages stand lighter on top. Under ASCII, '#' and ':' take their places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fwcore import units
from fwcore.report import facts, over_time
from fwcore.result import Result

EIGHTHS = " ▁▂▃▄▅▆▇█"
ASCII_EIGHTHS = " ..::++##"
LINKS_DRAWN = 3
CLASSES_DRAWN = 4  # that a flow's packets came to
SIDE = 16  # characters left of a graph
MODE_MARKS = {"off": "·", "on": "▒", "extreme": "█"}
ASCII_MODE_MARKS = {"off": ".", "on": "o", "extreme": "X"}


@dataclass(frozen=True)
class Cell:
    """One character and its tone."""

    text: str
    tone: str


@dataclass(frozen=True)
class Graph:
    """Rows of cells, each row with the text on its left and that text's tone."""

    rows: tuple[tuple[Cell, tuple[Cell, ...]], ...]
    legend: str


def memory(result: Result, *, width: int, height: int = 9, unicode: bool = True) -> Graph | None:
    """The graph of memory and modes, `width` columns of time; None without a timeline."""
    columns = facts.timeline(result)
    total = result.data.get("memory", {}).get("total_pages", 0)
    if not columns or not total:
        return None
    used, top = _columns_of_time(columns, width)
    low, high = _scale(used, top, facts.lines(result), total)
    rows = []
    for row in range(height - 1, -1, -1):
        floor = low + (high - low) * row / height
        ceiling = low + (high - low) * (row + 1) / height
        label, line_tone = _label(result, floor, ceiling, total, row, height)
        cells = tuple(
            _cell(used[at], top[at], floor, ceiling, line_tone, unicode) for at in range(width)
        )
        rows.append((Cell(label, line_tone or "dim"), cells))
    rows.append((Cell("mode", "dim"), _mode_row(result, width, unicode)))
    return Graph(tuple(rows), _legend(result, unicode))


def _legend(result: Result, unicode: bool) -> str:
    """What the marks are, and which levels count what is freeable."""
    fill, light, marks = ("█", "░", MODE_MARKS) if unicode else ("#", ":", ASCII_MODE_MARKS)
    met = [f"{marks[mode]} {mode}" for mode in ("on", "extreme")
           if any(band.mode == mode for band in facts.bands(result))]
    return ", ".join([f"{fill} used, {light} freeable", *facts.on_cache(result),
                      *([f"mode {' '.join(met)}"] if met else [])])


def _columns_of_time(columns: dict[str, Any], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Highest used and used + cache in each of `width` equal stretches of time."""
    second, used = columns["second"], columns["used"]
    top = used + columns["cache"]
    length = second[-1] - second[0]
    slot = np.minimum((second - second[0]) / (length or 1) * width, width - 1).astype(np.int64)
    begins = second[0] + np.arange(width) * (length or 1) / width
    found = []
    for series in (used, top):
        column = facts.held(second, series, begins).astype(np.int64)
        np.maximum.at(column, slot, series)
        found.append(column)
    return found[0], found[1]


def _scale(used: np.ndarray, top: np.ndarray, lines: list[Any], total: int) -> tuple[float, float]:
    """Lowest and highest page count shown: everything that happened and every threshold."""
    low = min([int(used.min()), *(line.pages for line in lines)])
    high = max([int(top.max()), *(line.pages for line in lines)])
    margin = max(1.0, 0.08 * (high - low), 0.02 * total)
    return max(0.0, low - margin), min(float(total), high + margin / 2)


def _label(
    result: Result, floor: float, ceiling: float, total: int, row: int, height: int
) -> tuple[str, str]:
    """Text left of a row, and the tone of the line through it ('' when there is none)."""
    here = [line for line in facts.lines(result) if floor <= line.pages < ceiling]
    if not here:
        return (f"{100 * ceiling / total:.0f}%" if row == height - 1 else
                f"{100 * floor / total:.0f}%" if row == 0 else ""), ""  # fmt: skip
    if len(here) == 1:
        return here[0].text, here[0].tone
    return ", ".join(line.text.split()[0] for line in here), here[-1].tone


def _cell(used: int, top: int, floor: float, ceiling: float, line_tone: str, unicode: bool) -> Cell:
    """What stands in one row of one column: used, freeable, a line, or nothing."""
    part = (used - floor) / (ceiling - floor)
    if part >= 1:
        return Cell("█" if unicode else "#", "fill")
    if unicode and part >= 1 / 8:
        return Cell(EIGHTHS[int(part * 8)], "fill")
    if not unicode and part >= 0.5:
        return Cell("#", "fill")
    if (top - floor) / (ceiling - floor) >= 0.5:
        return Cell("░" if unicode else ":", "dim")
    if line_tone:
        return Cell("┈" if unicode else "-", line_tone)
    return Cell(" ", "")


def _mode_row(result: Result, width: int, unicode: bool) -> tuple[Cell, ...]:
    """The worst mode of each stretch of time."""
    marks = MODE_MARKS if unicode else ASCII_MODE_MARKS
    start, end = facts.span(result)
    length = max(1, end - start)
    modes = ["off"] * width
    for band in facts.bands(result):
        first = min(width - 1, (band.start_ns - start) * width // length)
        last = min(width - 1, max(first, (band.end_ns - 1 - start) * width // length))
        for at in range(first, last + 1):
            modes[at] = facts.worst({"before": modes[at], "band": band.mode})
    return tuple(Cell(marks.get(mode, marks["on"]), facts.MODE_TONES[mode]) for mode in modes)


def shaping(result: Result, *, width: int, unicode: bool = True) -> Graph | None:
    """Of the busiest links a row of what waited, of the line, of delays: each to its own most."""
    shown = over_time.shown(result, width)
    if shown is None or not shown.links:
        return None
    rows, most = [], []
    for line in shown.links[:LINKS_DRAWN]:
        parts = [("queue", line.queue, units.size(float(line.queue.max()))),
                 ("line", line.taken, units.share(float(line.taken.max()), 1.0)),
                 ("delay", line.slowest, units.nanoseconds(int(line.slowest.max())))]
        for name, figures, text in parts:
            if figures.any():
                top = 1.0 if name == "line" else float(figures.max())
                label = f"{line.name[:SIDE - len(name) - 1]} {name}"
                rows.append((Cell(label, "dim"), bars(shown.edges, figures / top, width, unicode)))
                most.append(f"{label} {text}")
    return Graph(tuple(rows), "at most: " + ", ".join(most)) if rows else None


def queues(
    shown: over_time.Shown, came: Sequence[float], *, width: int, unicode: bool = True,
) -> Graph | None:
    """What waited in each class, to one scale, and under it when packets came, in seconds."""
    every = [each for line in shown.links for each in line.classes][:CLASSES_DRAWN]
    top = max((float(each.backlog.max()) for each in every), default=0.0)
    if top == 0:
        return None
    end = max(float(shown.edges[-1]), *came)
    rows = [(Cell(f"{each.name[:SIDE - 6]} queue", "dim"),
             bars(shown.edges, each.backlog / top, width, unicode, end)) for each in every]
    marks = [Cell(" ", "")] * width
    for second in came:
        marks[min(width - 1, int(second * width / end))] = Cell("↑" if unicode else "^", "info")
    slowest = max(float(each.slowest.max()) for each in every)
    return Graph((*rows, (Cell("its packets", "dim"), tuple(marks))),
                 f"at most: queue {amount('queue', top)}, delay {amount('delay', slowest)}")


def against(
    settings: Sequence[tuple[str, Result]], *, width: int, unicode: bool = True,
) -> Graph | None:
    """What waited, delays and drops under each of several settings: a row each, those of one kind
    side by side and to one scale. None where nothing of it was shaped."""
    drawn = [(name, shown) for name, result in settings
             if (shown := over_time.shown(result, width)) is not None]
    if not drawn:
        return None
    end = max(float(shown.edges[-1]) for _, shown in drawn)
    rows, most = [], []
    for kind in over_time.KINDS:
        figures = [(name, shown, over_time.whole(shown)[kind]) for name, shown in drawn]
        top = max(float(each.max()) for _, _, each in figures)
        if top == 0:
            continue
        for name, shown, each in figures:
            label = f"{kind} {name}"[:SIDE]
            rows.append((Cell(label, "dim"), bars(shown.edges, each / top, width, unicode, end)))
        most.append(f"{kind} {amount(kind, top)}")
    return Graph(tuple(rows), "at most: " + ", ".join(most)) if rows else None


def amount(kind: str, figure: float) -> str:
    """A figure of over_time.KINDS in words."""
    if kind == "queue":
        return units.size(figure)
    return units.nanoseconds(int(figure)) if kind == "delay" else f"{units.short(figure)}/s"


def bars(
    edges: np.ndarray, parts: np.ndarray, width: int, unicode: bool, end: float = 0.0,
) -> tuple[Cell, ...]:
    """A character a column: the most of the stretches in it, in eighths; what is not 0 shows.

    `edges` are those of the stretches, from 0; the columns reach to `end`, else to the last one.
    """
    edges = edges * (width / (end or edges[-1]))
    found = np.zeros(width)
    for part, low, high in zip(parts.tolist(), edges[:-1].tolist(), edges[1:].tolist(),
                               strict=True):
        first = min(width - 1, int(low))
        last = max(first + 1, min(width, int(np.ceil(high))))
        found[first:last] = np.maximum(found[first:last], part)
    marks = EIGHTHS if unicode else ASCII_EIGHTHS
    return tuple(Cell(marks[int(np.ceil(part * 8))], "fill") for part in found.tolist())
