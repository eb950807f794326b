"""fwcore explain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from fwcore.cli import given as settings_of, options, running
from fwcore.cli.app import app
from fwcore.errors import FwcoreError
from fwcore.escape import visible_tree


@app.command()
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
@click.option("--flow", required=True, metavar="A:PORT-B:PORT/PROTOCOL", help="Whose life to tell.")
@options.several(options.SETTINGS)
@options.several(options.CAPTURE)
@options.JSON
def explain(captures: tuple[str, ...], flow: str, **given: Any) -> int:
    """The life of one flow, packet by packet, and which packet ended it.

    \b
    fwcore explain web.pcap --flow 10.0.0.5:4321-203.0.113.9:443/tcp
    fwcore explain web.pcap --flow '[2001:db8::5]:4321-[2001:db8::9]:53/udp'
    """
    from fwcore import flow as flows, terminal
    from fwcore.interruption import Interruption
    from fwcore.replay import Selection
    from fwcore.report import explain as module

    wanted = flows.parse(flow)
    settings = settings_of.settings(given)
    selection = Selection(given["filter_"])
    with Interruption() as interruption, interruption.waiting():
        life = module.run(_frames(captures, given), _engine(settings), wanted,
                          vlan_zone=settings.zone == "vlan", selection=selection)
    return running.json_or_text(life, given["json_file"], lambda: module.render_text(
        visible_tree(life), terminal.style()))


def _frames(captures: Sequence[str], given: dict[str, Any]) -> Any:
    """The captures' frames as the replay would read them: timing and limit applied."""
    from fwcore.capture import open_captures
    from fwcore.replay import Timing, Turns

    def readers() -> Any:
        return open_captures(list(captures), reader=given["reader"],
                             chunk_size=given["chunk_size"])

    if given["loop"] > 1:
        raise FwcoreError("explain follows one turn of a capture: --loop has no meaning here")
    timing = Timing.parse(given["timing"])
    return (timing.retime(chunk) for _, chunk in Turns(readers, 1, given["limit"]))


def _engine(settings: Any) -> Any:
    from fwcore.engine import Engine

    return Engine(settings, log=True)
