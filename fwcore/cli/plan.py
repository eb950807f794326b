"""fwcore plan."""

from __future__ import annotations

from typing import Any

import click

from fwcore.cli import given as settings_of, options, running
from fwcore.cli.app import app
from fwcore.escape import visible_tree

NO_MOMENT = ("a plan has no moments at which something happens; what others hold from the start is"
             " base_bytes (--set base_bytes=1GiB), a leak is --leak")


@app.command()
@options.several(options.APPLIANCE)
@click.option("--pressure", multiple=True, hidden=True)
@click.option("--connections", type=int, metavar="N", help="Plan for this many (max_connections).")
@click.option("--tunnels", type=int, metavar="N", help="Plan for this many IPsec tunnels.")
@click.option("--leak", "leak", metavar="AMOUNT", help="A leak a second, like 1000 or 4KiB.")
@click.option("--restart-every", type=click.IntRange(1), metavar="DAYS",
              help="The leak, as restarts needed.")  # fmt: skip
@click.option("--free", "free", metavar="AMOUNT",
              help="Also: how many connections leave so much free, like 200MiB.")  # fmt: skip
@options.JSON
def plan(**given: Any) -> int:
    """Memory by owner, headroom, and what each lever saves.

    \b
    fwcore plan --personality cos-core --connections 512000 --tunnels 200
    fwcore plan --personality fortios-7 --set ram_bytes=2GiB --leak 1000
    fwcore plan --personality cos-core --connections 128000 --restart-every 7
    fwcore plan --personality cos-core --tunnels 500 --free 200MiB
    """
    from fwcore import terminal
    from fwcore.report import plan as page
    from fwcore.settings.values import amount_bytes

    if given["pressure"]:
        raise click.UsageError(f"--pressure {given['pressure'][0]!r}: {NO_MOMENT}")
    if given["leak"] is not None and given["restart_every"] is not None:
        raise click.UsageError("--leak and --restart-every both say how large a leak is: give one")
    names = ("connections", "tunnels", "restart_every")
    settings = settings_of.settings(given)
    if settings.pressure:
        terminal.note(f"fwcore: note: [[pressure]] is not counted: {NO_MOMENT}")
    free, leak = (None if given[name] is None else amount_bytes(
        given[name], settings.kilo, f"--{name}") for name in ("free", "leak"))
    if leak == 0:
        raise click.UsageError("--leak 0: a leak is more than 0 bytes a second")
    made = page.make(settings, free_bytes=free, leak_bytes_per_s=leak,
                     **{name: given[name] for name in names})
    return running.json_or_text(made, given["json_file"], lambda: page.render(
        visible_tree(made), terminal.style()))
