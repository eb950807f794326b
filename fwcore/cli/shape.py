"""fwcore shape: what a shaping configuration means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from fwcore.cli import exits, options, running
from fwcore.cli.app import Group, app
from fwcore.escape import visible_tree


@app.group(cls=Group)
def shape() -> None:
    """Meters, classes and links, in our words or a vendor's."""


@shape.command("check")
@click.argument("settings_file", metavar="FILE", type=click.Path())
@click.option("--personality", metavar="NAME", shell_complete=lambda *_: options.PERSONALITIES,
              help="Instead of the one that FILE names.")
@click.option("--capture", "captures", multiple=True, metavar="CAPTURE",
              help="Its largest frame stands for 1514 bytes.")  # fmt: skip
@options.JSON
def shape_check(settings_file: str, personality: str | None, captures: tuple[str, ...],
                json_file: str | None) -> int:
    """What the shaping of FILE means, and what in it can never act.

    \b
    fwcore shape check wan.toml
    fwcore shape check wan.toml --capture sender.pcap
    """
    from fwcore import settings, shaping_check, shaping_values, terminal
    from fwcore.report import shape as view

    loaded = settings.load(personality, settings_file)
    code, largest = _largest(captures) if captures else (
        exits.DONE, shaping_values.LARGEST_FRAME)
    made = {"file": settings_file, "personality": loaded.personality,
            **shaping_check.meaning(loaded.shaping, loaded.shaping_rows, largest)}
    spoken = running.json_or_text(made, json_file, lambda: view.render_text(
        visible_tree(made), terminal.style()))
    return exits.gravest(code, spoken)


def _largest(captures: Sequence[str]) -> tuple[int, int]:
    """(exit code, bytes of the largest frame): segmentation offload leaves some of 64 KiB."""
    from fwcore.capture import open_captures
    from fwcore.interruption import Interruption
    from fwcore.replay import Turns

    turns = Turns(lambda: open_captures(list(captures)), 1, None)
    largest: Any = 0
    with Interruption() as interruption, interruption.waiting():
        for _, chunk in turns:
            largest = max(largest, int(chunk.length.max()) if len(chunk) else 0)
        code = exits.of_inputs(turns.judged_inputs(turns.packets))
    return code, max(1, largest)
