"""fwcore report."""

from __future__ import annotations

from typing import Any

import click

from fwcore.cli import exits, options, running
from fwcore.cli.app import app


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

    \b
    fwcore report run.state
    fwcore report result.json --html report.html --quiet
    """
    from fwcore.result import Result

    result = Result.load(result_file)
    written = running.write_files(result, given)
    spoken = exits.last(running.said(result, given), 0)
    return result.exit_code or written or spoken
