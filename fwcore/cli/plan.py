"""fwcore plan."""

from __future__ import annotations

from typing import Any

import click

from fwcore.cli import given as settings_of, options, running
from fwcore.cli.app import app
from fwcore.escape import visible_tree


@app.command()
@options.several(options.SETTINGS)
@click.option("--connections", type=int, metavar="N", help="Plan for this many (max_connections).")
@click.option("--tunnels", type=int, metavar="N", help="Plan for this many IPsec tunnels.")
@click.option("--leak", "leak_bytes_per_s", type=int, metavar="BYTES", help="A leak a second.")
@click.option("--restart-every", type=int, metavar="DAYS", help="The leak, as restarts needed.")
@options.JSON
def plan(**given: Any) -> int:
    """Memory by owner, headroom, and what each lever saves.

    \b
    fwcore plan --personality cos-core --connections 512000 --tunnels 200
    fwcore plan --personality fortios-7 --set ram_bytes=2GiB --leak 1000
    fwcore plan --personality cos-core --connections 128000 --restart-every 7
    """
    from fwcore import terminal
    from fwcore.report import plan as page

    names = ("connections", "tunnels", "leak_bytes_per_s", "restart_every")
    made = page.make(settings_of.settings(given), **{name: given[name] for name in names})
    return running.json_or_text(made, given["json_file"], lambda: page.render(
        visible_tree(made), terminal.style()))
