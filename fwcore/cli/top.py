"""fwcore top."""

from __future__ import annotations

from typing import Any

import click

from fwcore.cli import exits, given as settings_of, options, running
from fwcore.cli.app import app
from fwcore.errors import FwcoreError
from fwcore.escape import visible_tree

KINDS = ("host", "policy", "service")


@app.command()
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
@click.option("--by", multiple=True, type=click.Choice(KINDS),
              help="Only these kinds; may be repeated.")  # fmt: skip
@options.several(options.SETTINGS)
@options.several(options.CAPTURE)
@options.JSON
def top(captures: tuple[str, ...], by: tuple[str, ...], **given: Any) -> int:
    """Who makes this traffic: bit/s and packets/s by host, policy and service, over time.

    \b
    fwcore top web.pcap
    fwcore top web.pcap --policy mine.toml --by policy
    fwcore top web.pcap --json - | jq '.host[0]'
    """
    from fwcore import policy, terminal
    from fwcore.capture import open_captures
    from fwcore.interruption import Interruption
    from fwcore.replay import Selection, Timing, Turns
    from fwcore.report import top as module

    if given["loop"] > 1:
        raise FwcoreError("top needs the traffic as it was: --loop has no meaning here")
    settings = settings_of.settings(given)
    selection, timing = Selection(given["filter_"]), Timing.parse(given["timing"])
    turns = Turns(lambda: open_captures(
        list(captures), reader=given["reader"], chunk_size=given["chunk_size"],
        merge=given["merge"], threads=given["threads"]), 1, given["limit"])
    with Interruption() as interruption, interruption.waiting():
        made = module.make(
            (selection.take(timing.retime(chunk)) for _, chunk in turns),
            policy.parse(settings.policies), vlan_zone=settings.zone == "vlan")
    made["inputs"] = turns.judged_inputs(turns.packets)
    code = exits.of_inputs(made["inputs"])
    spoken = running.json_or_text(made, given["json_file"], lambda: module.show(
        visible_tree(made), terminal.style(), by or KINDS))
    return exits.gravest(code, spoken)
