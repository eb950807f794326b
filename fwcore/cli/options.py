"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from fwcore.units import THREADS_MAX, TURNS_MAX

Decorator = Callable[[Any], Any]


class Number(click.FloatRange):
    """A number, which NaN is not."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None,
    ) -> float:
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is no number.", param, ctx)
        return found


# By their files alone: what reads them takes longer than --help may.
PERSONALITIES = tuple(sorted(
    path.stem for path in (Path(__file__).parent.parent / "personalities").glob("*.toml")))
TIMINGS = "original | speed:X | pps:N | line-rate:10G"

APPLIANCE = (
    click.option("--personality", metavar="NAME", shell_complete=lambda *_: PERSONALITIES,
                 help=f"What it behaves like: {', '.join(PERSONALITIES)}."),
    click.option("--settings", "settings_file", type=click.Path(), metavar="FILE",
                 help="Settings in TOML."),
    click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
                 help="One setting; may be repeated. 'fwcore settings' lists them."),
    click.option("--policy", "policy_file", type=click.Path(), metavar="FILE",
                 help="Policies in TOML, instead of those in the settings."),
    click.option("--seed", type=int, metavar="N", help="Seed of the bucket hash."),
)  # fmt: skip
PRESSURE = click.option(
    "--pressure", multiple=True, metavar="'KEY=VALUE ...'",
    help="Pressure on memory: 'at_s=1 add_bytes=64MiB', 'at=13:32:50 ...'.")
SETTINGS = (*APPLIANCE, PRESSURE)


def _chunk_size() -> int:
    from fwcore.capture import READ_SIZE  # when a command runs, and not for --help

    return READ_SIZE


CAPTURE = (
    click.option("--reader", type=click.Choice(["native", "scapy"]), default="native",
                 show_default=True, help="Who reads the capture."),
    click.option("--filter", "filter_", metavar="TEXT",
                 help="Only these frames are packets: 'host 10.0.0.5 and tcp port 443'. They keep"
                      " their numbers and times; the rest takes no memory."),
    click.option("--merge", is_flag=True,
                 help="Several captures as one, in the order of their times."),
    click.option("--timing", default="original", show_default=True, metavar="HOW",
                 help=f"Rewrite capture time: {TIMINGS}."),
    click.option("--loop", type=click.IntRange(1, TURNS_MAX), default=1, metavar="N",
                 help="Replay N times, each time with other addresses."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Stop after N packets."),
    click.option("--threads", type=click.IntRange(1, THREADS_MAX), metavar="N",
                 help="Threads: one judges (of compare one for each setting), the others read ahead"
                      " of it; no outcome depends on it.  [default: 2 where there are two cores]"),
    click.option("--chunk-size", type=click.IntRange(1), default=_chunk_size, hidden=True),
)  # fmt: skip

JSON = click.option(
    "--json", "json_file", metavar="FILE", help="The result as JSON; '-' prints it instead."
)
HTML = click.option("--html", "html_file", type=click.Path(), metavar="FILE",
                     help="A page to look at, all in one file.")  # fmt: skip
PLOT = click.option("--plot", "plot_file", type=click.Path(), metavar="FILE",
                    help="The main picture alone, .png, .svg or .pdf.")  # fmt: skip
VICTIMS = click.option("--victims", "victims_file", type=click.Path(), metavar="FILE",
                       help="Sessions that were taken, .csv, .jsonl or .parquet.")  # fmt: skip
TIMELINE = click.option("--timeline", "timeline_file", type=click.Path(), metavar="FILE",
                        help="Memory, counters over time, .csv, .jsonl or .parquet.")  # fmt: skip
QUIET = click.option("-q", "--quiet", is_flag=True, help="No summary, no progress.")


def several(options: Sequence[Decorator]) -> Decorator:
    """One decorator from several options, in their order."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
