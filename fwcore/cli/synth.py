"""fwcore synth."""

from __future__ import annotations

import re
from typing import Any

import click

from fwcore.cli import options, running
from fwcore.cli.app import app
from fwcore.errors import FwcoreError


@app.command()
@click.argument("workload", metavar="WORKLOAD")
@click.argument("output", type=click.Path(), metavar="FILE")
@click.option("--packets", type=int, metavar="N", help="How many packets.")
@click.option("--rate", "rate_pps", type=int, metavar="PPS", help="Packets per second.")
@click.option("--duration", "duration_s", type=float, metavar="S", help="Seconds of capture.")
@click.option("--hosts", type=int, metavar="N", help="Client hosts.")
@click.option("--sessions", type=int, metavar="N", help="Sessions at a time.")
@click.option("--seed", type=int, metavar="N", help="Another seed, other traffic.")
@click.option("--set", "more", multiple=True, metavar="KEY=VALUE", help="Any other parameter.")
@options.JSON
@options.QUIET
def synth(workload: str, output: str, more: tuple[str, ...], **given: Any) -> int:
    """Make traffic: a capture of WORKLOAD, the same for the same parameters.

    Workloads: imix, web, dns-storm, syn-flood, port-scan, churn, elephants, uniform, mix. FILE '-'
    is standard output, to be piped into 'fwcore replay -'.

    \b
    fwcore synth web web.pcap --rate 100000 --duration 30
    fwcore synth uniform u.pcap --packets 4000000 --set frame_bytes=60
    fwcore synth syn-flood - --rate 500000 | fwcore replay -
    """
    from fwcore import units
    from fwcore.capture import synth as module
    from fwcore.capture.workload import describe
    from fwcore.interruption import Interruption
    from fwcore.terminal import Progress

    names = ("packets", "rate_pps", "duration_s", "hosts", "sessions", "seed")
    parameters = {name: given[name] for name in names}
    made = module.make(workload, **parameters, **dict(map(_pair, more)))
    with Interruption() as interruption, Progress(given["quiet"]) as progress:

        def advance(packets: int, _written: int) -> None:
            progress(packets, packets, made.packets)

        with interruption.waiting():     # a file that is not whole is no file
            packets, written = module.to_pcap(output, made, advance)
    data = {"workload": describe(made), "path": output, "packets": packets, "bytes": written}
    text = f"{output}: {units.plural(packets, 'packet')}, {units.size(written)}\n{describe(made)}\n"
    quiet = given["quiet"] or output == "-"
    return running.json_or_text(data, given["json_file"], lambda: "" if quiet else text)


def _pair(text: str) -> tuple[str, int | bool]:
    key, equals, value = text.partition("=")
    if value in ("true", "false"):
        return key, value == "true"
    if not equals or not re.fullmatch("-?[0-9]{1,18}", value):
        raise FwcoreError(f"--set {text!r}: a workload's parameter is KEY=INTEGER or KEY=true")
    return key, int(value)
