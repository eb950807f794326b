"""fwcore report."""

from __future__ import annotations

from typing import Any

import click

from fwcore.cli import exits, options, running
from fwcore.cli.app import app
from fwcore.errors import FwcoreError


@app.command()
@click.argument("result_file", metavar="RESULT", type=click.Path())
@options.JSON
@options.HTML
@options.PLOT
@options.VICTIMS
@options.TIMELINE
@options.QUIET
def report(result_file: str, **given: Any) -> int:
    """Show a saved result again: RESULT is what --json or --state wrote.

    The JSON of compare and of explain is shown as those show it.

    \b
    fwcore report run.state
    fwcore report result.json --html report.html --quiet
    """
    from fwcore import terminal
    from fwcore.report import saved
    from fwcore.result import Result

    told = saved.read(result_file)
    if told is not None:
        if any(given[f"{name}_file"] for name in ("html", "plot", "victims", "timeline")):
            raise FwcoreError(f"{result_file}: of a saved {told['kind']} there is only the text;"
                              " ask the command itself for files")
        return running.json_or_text(told, given["json_file"], lambda: "" if given["quiet"] else
                                    saved.render(told, terminal.style()))
    result = Result.load(result_file)
    written = running.write_files(result, given)
    spoken = exits.last(running.said(result, given), 0)
    return exits.gravest(result.exit_code, written, spoken)
