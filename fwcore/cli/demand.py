"""fwcore demand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from fwcore.cli import exits, options, running
from fwcore.cli.app import app
from fwcore.errors import FwcoreError
from fwcore.escape import visible_tree

BY = ("all", "policy", "host", "flow", "dscp")


@app.command()
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
@click.option("--by", type=click.Choice(BY), default="all", show_default=True,
              help="One bucket, or one for each policy, source address, way of a flow, or mark.")
@click.option("--settings", "settings_file", type=click.Path(), metavar="FILE",
              help="Whose [[policies]] --by policy goes by.")
@click.option("--policy", "policy_file", type=click.Path(), metavar="FILE",
              help="Policies in TOML, instead of those in the settings.")
@click.option("--rates", metavar="LIST", help="Up to 16, like 512k,1.5Mbit,2MB.")
@click.option("--depths", metavar="LIST", help="Up to 8, bytes or time, like 15kB,10ms,1s.")
@click.option("--count", type=click.Choice(("ip", "frame", "wire")), default="ip",
              show_default=True, help="A packet's cost: its IP length, frame, or frame + 24.")
@click.option("--delay", metavar="TIME", help="p99 of the line; 20ms if not given.")
@click.option("--keys-max", type=click.IntRange(1, 1 << 24), default=65536, show_default=True,
              metavar="N", help="Buckets kept; packets of further keys are counted.")  # fmt: skip
@options.several(options.CAPTURE)
@options.JSON
@options.HTML
def demand(captures: tuple[str, ...], **given: Any) -> int:
    """What rate and what bucket this traffic needs.

    At 16 rates in one pass: the smallest bucket that drops nothing, what usual ones drop and whom
    they hit. Then the slowest FIFO line that keeps the delay.

    \b
    fwcore demand web.pcap
    fwcore demand web.pcap --by host --rates 512k,1M,2M --depths 15kB,50ms
    fwcore demand web.pcap --by policy --policy policies.toml
    fwcore demand web.pcap --filter 'src net 10.0.0.0/8' --html demand.html
    """
    from fwcore import terminal
    from fwcore.report import demand as view

    made = _measured(captures, given)
    code = exits.of_inputs(made["inputs"])
    if given["html_file"]:
        from fwcore.report import page

        code = exits.gravest(code, exits.attempt(
            page.write, view.render_html(visible_tree(made)), given["html_file"]))
    spoken = running.json_or_text(made, given["json_file"], lambda: view.render_text(
        visible_tree(made), terminal.style()))
    return exits.gravest(code, spoken)


def _measured(captures: Sequence[str], given: dict[str, Any]) -> dict[str, Any]:
    """Both parts and what was read; standard input is read once, so that it has no line."""
    from fwcore import demand as module
    from fwcore.interruption import Interruption
    from fwcore.replay import Turns

    if given["loop"] > 1:
        raise FwcoreError("demand needs the traffic as it was: --loop has no meaning here")
    if "-" in captures and given["delay"]:
        raise FwcoreError("a line's rate is searched in several passes, and standard input can be"
                          " read once: save it to a file, or leave --delay out")
    rates = module.rates_of(given["rates"] or module.RATES)
    depths = module.depths_of(given["depths"] or module.DEPTHS)
    delay_ns = module.time_of(given["delay"] or module.DELAY)
    owners = _owners(given)
    turns = Turns(lambda: _reader(captures, given), 1, given["limit"])
    with Interruption() as interruption, interruption.waiting():
        made = module.meters(
            _timed(turns, given), rates, depths, given["by"], given["count"], given["keys_max"],
            owners)
        made["inputs"] = turns.judged_inputs(turns.packets)
        made["line"] = None if "-" in captures else module.line(
            lambda: _timed(Turns(lambda: _reader(captures, given), 1, given["limit"]), given),
            delay_ns)
    return made


def _owners(given: dict[str, Any]) -> Any:
    """Whose policies the buckets are of; None where no bucket is a policy's."""
    from fwcore import demand as module, settings

    if given["by"] == "policy":
        return module.Owners(settings.load(
            None, given["settings_file"], policy_file=given["policy_file"]))
    if given["settings_file"] or given["policy_file"]:
        raise FwcoreError("--settings and --policy say whose policies the buckets are of: give"
                          " --by policy with them")
    return None


def _reader(captures: Sequence[str], given: dict[str, Any]) -> Any:
    from fwcore.capture import open_captures

    return open_captures(list(captures), reader=given["reader"], chunk_size=given["chunk_size"],
                         merge=given["merge"], threads=given["threads"])


def _timed(turns: Any, given: dict[str, Any]) -> Iterator[Any]:
    from fwcore.replay import Selection, Timing

    timing, selection = Timing.parse(given["timing"]), Selection(given["filter_"])
    return (selection.take(timing.retime(chunk)) for _, chunk in turns)
