"""Pictures of the documentation, made anew: ``python tools/docs_pictures.py [CHROMIUM]``.

    docs/images/report.png              the top of the demonstration's report, by Chromium
    docs/images/legacy-and-unified.png  FortiOS 4 and FortiOS 7 under docs/legacy.toml

They are committed, for neither a reader nor the site's build should need a browser.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from fwcore import load
from fwcore.replay import replay
from fwcore.report import html

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
CAPTURE = ROOT / "pcaps" / "conserve.pcap"
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)
MIB_PAGES = 256
COLOURS = {"on": "#f0c674", "extreme": "#b05fc0", "proxy": "#f0c674", "kernel": "#d97b53"}


def report_picture(chromium: str) -> None:
    """The report as a browser shows it."""
    result = replay(str(CAPTURE), load(file=str(ROOT / "pcaps" / "conserve.toml")))
    with tempfile.TemporaryDirectory() as directory:
        page = Path(directory, "report.html")
        html.write(result, str(page))
        subprocess.run(
            [chromium, *QUIET, f"--user-data-dir={directory}/profile",
             f"--screenshot={IMAGES / 'report.png'}", "--window-size=1200,1400", page.as_uri()],
            check=True, capture_output=True)


def intervals(result: Any, machine: str) -> list[tuple[str, float, float]]:
    """(mode, begin, end) in seconds since packet 1, modes other than off."""
    first = int(result.array("timeline")["time_ns"][0])
    found, begin, mode = [], 0.0, "off"
    for row in result.conserve.transitions:
        if row["machine"] != machine:
            continue
        at = (row["time_ns"] - first) / 1e9
        if mode != "off":
            found.append((mode, begin, at))
        begin, mode = at, row["to"]
    if mode != "off":
        found.append((mode, begin, result.duration_ns / 1e9))
    return found


def timeline(axes: Any, strips: Any, result: Any) -> None:
    """Used memory with its thresholds, and a strip a machine below."""
    rows = result.array("timeline")
    seconds = (rows["time_ns"] - rows["time_ns"][0]) / 1e9
    used = rows["base"] + rows["sessions"] + rows["shm"]
    axes.fill_between(seconds, used / MIB_PAGES, step="post", color="#8592a3")
    total = result.memory.total_pages
    for machine, levels in result.data["memory"]["thresholds"].items():
        for name, pages in levels.items():
            free = name in ("enter", "leave")
            level = (total - pages if free else pages) / MIB_PAGES
            text = f"{machine} {name}" if free else name
            colour = {"enter": "#c03030", "red": "#c03030", "extreme": "#8a1a9a"}.get(
                name, "#1f8a5b")
            axes.axhline(level, color=colour, linestyle="--", linewidth=1)
            # The kernel's labels to the left, so that close levels stay apart.
            left = machine == "kernel"
            axes.text(0.5 if left else 59.5, level, text, color=colour, fontsize=8,
                      ha="left" if left else "right", va="bottom")
    machines = list(result.data["memory"]["thresholds"])
    for place, machine in enumerate(reversed(machines)):
        for mode, begin, end in intervals(result, machine):
            colour = COLOURS.get(machine, COLOURS[mode])
            strips.barh(place, end - begin, left=begin, color=colour, height=0.8)
            strips.text((begin + end) / 2, place, mode, ha="center", va="center", fontsize=8)
    strips.set_yticks(range(len(machines)), list(reversed(machines)))
    strips.set_ylim(-0.6, 1.6)
    strips.set_xlabel("seconds since the first packet")
    axes.set_title(f"{result.personality}: {result.verdicts.bypass} packets unscanned,"
                   f" {result.verdicts.drop} dropped", fontsize=10)


def legacy_picture() -> None:
    """Both generations side by side."""
    figure, cells = plt.subplots(
        2, 2, figsize=(11, 4.6), sharex=True, height_ratios=(5, 1), layout="constrained")
    for column, name in enumerate(("fortios-4", "fortios-7")):
        settings = load(name, ROOT / "docs" / "legacy.toml")
        timeline(cells[0][column], cells[1][column], replay(str(CAPTURE), settings))
        cells[0][column].set_ylim(1000, 2048)
        cells[0][column].set_xlim(0, 60)
    cells[0][0].set_ylabel("MiB used")
    figure.savefig(IMAGES / "legacy-and-unified.png", dpi=110)


if __name__ == "__main__":
    IMAGES.mkdir(parents=True, exist_ok=True)
    legacy_picture()
    report_picture(sys.argv[1] if len(sys.argv) > 1 else "chromium")
