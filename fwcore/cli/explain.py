"""fwcore explain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from fwcore.cli import exits, given as settings_of, options, running
from fwcore.cli.app import app
from fwcore.errors import FwcoreError
from fwcore.escape import visible_tree


@app.command()
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
@click.option("--flow", metavar="A:PORT-B:PORT/PROTOCOL", help="Whose life to tell.")
@click.option("--packet", type=click.IntRange(1), metavar="N",
              help="The flow of this packet, numbered as in Wireshark; of an ICMP"
                   " error, the flow that it is about.")  # fmt: skip
@click.option("--host", metavar="ADDRESS", help="Every flow of a host, and what became of it.")
@options.several(options.SETTINGS)
@options.several(options.CAPTURE)
@options.JSON
def explain(
    captures: tuple[str, ...], flow: str | None, packet: int | None, host: str | None, **given: Any
) -> int:
    """The life of one flow, packet by packet, and which packet ended it; or a host's flows.

    \b
    fwcore explain web.pcap --packet 97
    fwcore explain web.pcap --host 10.0.0.5
    fwcore explain web.pcap --flow 10.0.0.5:4321-203.0.113.9:443/tcp
    fwcore explain web.pcap --flow '[2001:db8::5]:4321-[2001:db8::9]:53/udp'
    """
    from fwcore import flow as flows, terminal
    from fwcore.interruption import Interruption
    from fwcore.replay import Selection
    from fwcore.report import explain as module

    if [flow, packet, host].count(None) != 2:
        raise click.UsageError("explain takes one of --flow, --packet and --host")
    settings = settings_of.settings(given)
    if host is not None:
        return _host(captures, host, settings, given)
    if packet is not None and "-" in captures:
        raise FwcoreError("--packet looks the flow up first, and standard input can be read once:"
                          " save it to a file, or give --flow")
    vlan_zone = settings.zone == "vlan"
    wanted = flows.parse(flow) if flow is not None else _of_packet(
        captures, given, packet or 0, vlan_zone)
    selection, turns = Selection(given["filter_"]), _turns(captures, given)
    with Interruption() as interruption, interruption.waiting():
        life = module.run(_frames(turns, given), _engine(settings), wanted,
                          vlan_zone=vlan_zone, selection=selection)
    life["inputs"] = turns.judged_inputs(turns.packets)
    code = exits.of_inputs(life["inputs"])
    spoken = running.json_or_text(life, given["json_file"], lambda: module.show(
        visible_tree(life), terminal.style()))
    return exits.gravest(code, spoken)


def _of_packet(
    captures: Sequence[str], given: dict[str, Any], packet: int, vlan_zone: bool
) -> Any:
    """The flow of a packet; where there is none, what is wrong with the capture is said first."""
    from fwcore.report import explain as module

    turns = _turns(captures, given)
    try:
        return module.flow_of_packet(_frames(turns, given), packet, vlan_zone=vlan_zone)
    except FwcoreError:
        exits.of_inputs(turns.inputs)
        raise


def _host(
    captures: Sequence[str], host: str, settings: Any, given: dict[str, Any]
) -> int:
    """Every flow with an end at the host, as one run saw it."""
    from fwcore import terminal
    from fwcore.report import host_flows

    codes: list[int] = []

    def replay(paths: Sequence[str], chosen: Any, **more: Any) -> Any:
        result = running.replay(paths, chosen, given, **more)
        codes.append(exits.of_replay(result, 0, None))
        return result

    made = host_flows.run(list(captures), host, settings, replay)
    spoken = running.json_or_text(
        made, given["json_file"],
        lambda: host_flows.show(visible_tree(made), terminal.style()))
    return exits.gravest(*codes, spoken)


def _turns(captures: Sequence[str], given: dict[str, Any]) -> Any:
    """The captures as the replay would read them, the limit applied."""
    from fwcore.capture import open_captures
    from fwcore.replay import Turns

    def readers() -> Any:
        return open_captures(list(captures), reader=given["reader"],
                             chunk_size=given["chunk_size"], merge=given["merge"],
                             threads=given["threads"])

    if given["loop"] > 1:
        raise FwcoreError("explain follows one turn of a capture: --loop has no meaning here")
    return Turns(readers, 1, given["limit"])


def _frames(turns: Any, given: dict[str, Any]) -> Any:
    """Their frames at the times that the replay would give them."""
    from fwcore.replay import Timing

    timing = Timing.parse(given["timing"])
    return (timing.retime(chunk) for _, chunk in turns)


def _engine(settings: Any) -> Any:
    from fwcore.engine import Engine

    return Engine(settings, log=True, departures=True, arrivals=True)
