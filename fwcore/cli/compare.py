"""fwcore compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from fwcore.cli import exits, given as settings_of, options, running
from fwcore.cli.app import app
from fwcore.escape import visible


@app.command()
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
@click.option("--with", "variants", multiple=True, required=True, metavar="WHAT",
              help="Personality, settings file or 'key=value,...'; twice or more.")  # fmt: skip
@options.several(options.SETTINGS)
@options.several(options.CAPTURE)
@options.JSON
@options.HTML
@click.option("--flows", "flows_file", type=click.Path(), metavar="FILE",
              help="Every flow and what became of it, .csv, .jsonl or .parquet.")  # fmt: skip
@options.QUIET
def compare(captures: tuple[str, ...], variants: tuple[str, ...], **given: Any) -> int:
    """The same traffic under several settings, joined flow by flow.

    The other options hold for every run; each --with changes them for one. Which hosts, policies
    and flows it cost, with amounts: the page has a search, --flows every flow.

    \b
    fwcore compare web.pcap --with fortios-7 --with fortios-5
    fwcore compare web.pcap --personality fortios-7 \\
        --with av-failopen=pass --with av-failopen=off --html compare.html
    fwcore compare web.pcap --with mine.toml --with fortios-7,seed=2
    """
    from fwcore import terminal
    from fwcore.replay.beside import side_by_side
    from fwcore.report import compare as module, compare_text

    if len(variants) < 2:
        raise click.UsageError("compare needs --with at least twice")
    if len(set(variants)) < len(variants):
        raise click.UsageError("compare: the same --with was given twice")
    if "-" in captures:
        raise click.UsageError("compare reads captures once for each --with, and standard input"
                               " can be read once: save it to a file")
    named = {visible(variant): settings_of.variant(variant, given) for variant in variants}
    if not given["quiet"]:
        for variant, settings in named.items():
            settings_of.warn(settings, given["loop"], variant)

    def run(paths: Sequence[str], settings: Sequence[Any], **more: Any) -> Any:
        results = running.replay_beside(paths, settings, given, **more)
        for result in results:
            if result.data.get("interrupted"):     # a part of a capture compares nothing
                raise click.exceptions.Exit(exits.of_replay(result, 0, None))
        return results

    comparison = module.run(list(captures), named, run, side_by_side(given["threads"]))
    codes = [exits.of_replay(result, 0, None) for result in _unlike(comparison.results)]
    if given["html_file"]:
        from fwcore.report import compare_page, page

        made = compare_page.render(comparison)
        codes.append(exits.attempt(page.write, made, given["html_file"]))
    if given["flows_file"]:
        codes.append(exits.attempt(comparison.write_flows, given["flows_file"]))
    if not given["quiet"] or given["json_file"]:
        codes.append(running.json_or_text(
            comparison.to_dict() if given["json_file"] else None, given["json_file"],
            lambda: "" if given["quiet"] else compare_text.show(
                comparison.to_dict(), terminal.style()),
        ))  # fmt: skip
    return exits.gravest(*codes)


def _unlike(results: Sequence[Any]) -> list[Any]:
    """One result, and each other that ended otherwise: what they share is said once."""
    first, *rest = results
    return [first, *(result for result in rest if result.exit_code != first.exit_code)]
