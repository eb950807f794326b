"""The main picture alone - memory by owner, thresholds, modes - as PNG or SVG, with Matplotlib.

Where it shaped, the busiest links stand below: what waited, and how much of the line was taken.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from fwcore import units
from fwcore.errors import FwcoreError, MissingExtra
from fwcore.escape import shown, visible
from fwcore.outfile import Output
from fwcore.report import answer, facts, over_time
from fwcore.result import Result

ENDINGS = (".png", ".svg", ".pdf")
SAMPLES = 3000
MIB_PAGES = 256
LINKS_DRAWN = 3
QUEUE_COLOUR, LINE_COLOUR = "#0d9488", "#1e40af"
TONES = {"good": "#1b8a5a", "bad": "#c53030", "extreme": "#86198f"}
BAND_TEXT = {"on": "conserve", "extreme": "extreme"}
BAND_NAMES = 20  # a band below this part of the time has no name
BANDS = {"on": "#e0a106", "extreme": "#a21caf"}
BAND_INK = {"on": "#8a6200", "extreme": "#86198f"}    # of a name that stands on its band


def write(result: Result, path: str | Path) -> None:
    """Writes the picture; the file's ending says which kind."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise FwcoreError(f"{path}: a picture is written as .png, .svg or .pdf")
    try:
        import matplotlib
    except ImportError:
        raise MissingExtra(
            f"{path}: a picture needs matplotlib: pip install 'fwcore[report]'"
        ) from None
    from matplotlib.figure import Figure

    kind = Path(path).suffix.lower().removeprefix(".")
    columns = facts.timeline(result, SAMPLES)
    if not columns:
        raise FwcoreError(f"{path}: the result has no timeline to draw")
    columns = facts.steps(columns)
    with matplotlib.rc_context({"svg.hashsalt": "fwcore", "svg.fonttype": "none", "font.size": 10}):
        shown = over_time.shown(result) or over_time.NOTHING
        links = shown.links[:LINKS_DRAWN]
        figure = Figure(figsize=(11, 5 + 1.7 * len(links)), layout="constrained")
        axes = figure.subplots(1 + len(links), squeeze=False, sharex=True,
                               height_ratios=[5, *[1.7] * len(links)])[:, 0]
        _draw(axes[0], result, columns)
        for below, line in zip(axes[1:], links, strict=True):
            _draw_link(below, shown, line)
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        with Output(path) as output:
            figure.savefig(output.file, format=kind, dpi=150, metadata=metadata)


def _draw(axes: Any, result: Result, columns: dict[str, np.ndarray]) -> None:
    second = columns["second"]
    owners = facts.owners(columns)
    parts = [columns[owner] / MIB_PAGES for owner in owners]
    colours = [facts.OWNER_COLOURS[owner] for owner in owners]
    axes.stackplot(second, *parts, labels=owners, colors=colours, linewidth=0)
    axes.plot(second, columns["used"] / MIB_PAGES, color="#1e40af", linewidth=1.4, label="used")
    start, _ = facts.span(result)
    for band in facts.bands(result)[:500]:
        left, right = ((moment - start) / 1e9 for moment in (band.start_ns, band.end_ns))
        axes.axvspan(left, right, color=BANDS[band.mode], alpha=0.25, linewidth=0, zorder=0)
        if (right - left) * BAND_NAMES > second[-1] - second[0]:
            axes.annotate(BAND_TEXT[band.mode], (left, 1), xycoords=("data", "axes fraction"),
                          xytext=(3, -3), textcoords="offset points", va="top", fontsize=9,
                          color=BAND_INK[band.mode], fontweight="bold")  # fmt: skip
    for line in facts.lines(result):
        level, colour = line.pages / MIB_PAGES, TONES[line.tone]
        axes.axhline(level, color=colour, linestyle="--", linewidth=1.1)
        axes.annotate(line.text, (1.005, level), xycoords=("axes fraction", "data"),
                      color=colour, va="center", fontsize=9)  # fmt: skip
    axes.set_xlim(second[0], second[-1] if second[-1] > second[0] else second[0] + 1)
    axes.set_ylim(0, result.data["memory"]["total_pages"] / MIB_PAGES * 1.02)
    axes.set(xlabel="seconds since the first packet", ylabel="MiB")
    told = "\n".join(
        line for sentence in answer.headline(result) for line in textwrap.wrap(sentence, 120))
    axes.set_title(f"{_title(result)}\n{shown(told)}", loc="left", fontsize=10)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=7, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _draw_link(axes: Any, shown: over_time.Shown, line: over_time.Line) -> None:
    """What waited, and how much of the line was taken."""
    second = over_time.corners(shown)
    axes.fill_between(second, over_time.stepped(line.queue / 1024), color=QUEUE_COLOUR, alpha=0.6,
                      linewidth=0)
    axes.set_ylabel("KiB waiting", color=QUEUE_COLOUR)
    axes.set_ylim(0, max(1.0, float(line.queue.max()) / 1024) * 1.1)
    sides = [axes]
    if line.rate:
        beside = axes.twinx()
        beside.plot(second, over_time.stepped(100 * line.taken), color=LINE_COLOUR, linewidth=1.1)
        beside.set_ylabel("% of the line", color=LINE_COLOUR)
        beside.set_ylim(0, 110)
        sides.append(beside)
    slowest = units.nanoseconds(int(line.slowest.max()))
    axes.set_title(f"{visible(line.name)}: longest delay {slowest}", loc="left", fontsize=10)
    for each in sides:
        each.spines["top"].set_visible(False)
    if not line.rate:
        axes.spines["right"].set_visible(False)


def _title(result: Result) -> str:
    names = ", ".join(visible(Path(str(row["path"])).name) for row in result.data.get("inputs", ()))
    mode = facts.mode_at_end(result)
    packets = units.plural(result.data["packets"], "packet")
    end = "" if mode == "off" else f" - conserve mode {mode} at the end"
    return f"{names} - {result.data['personality']} - {packets}{end}"
