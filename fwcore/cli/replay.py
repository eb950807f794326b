"""fwcore replay."""

from __future__ import annotations

import re
from typing import Any

import click

from fwcore.cli import exits, given as module, options, running
from fwcore.cli.app import app


def _settings(given: dict[str, Any]) -> Any:
    made = module.settings(given)
    if not given["quiet"]:
        module.warn(made, given["loop"])
    return made


def _digest(_ctx: click.Context, _option: Any, value: str | None) -> str | None:
    if value and not re.fullmatch(r"[0-9]+:[0-9a-f]+", value):
        raise click.BadParameter(f"{value[:80]!r} is no outcome, like 1:5d3c...: see outcome in"
                                 " the JSON of --json")
    return value


@app.command()
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
@options.several(options.SETTINGS)
@options.several(options.CAPTURE)
@click.option("--each", is_flag=True,
              help="A run for each capture; {name} in an output's path is the capture's name.")
@click.option("--focus", metavar="WHOM",
              help="Restrict the report, not the traffic: 'host 10.0.0.5', 'net 10.1.0.0/16',"
                   " 'policy 3', or a flow.")  # fmt: skip
@click.option("--lru", is_flag=True,
              help="Say what least-recently-used would have taken instead of the sessions taken.")
@click.option("--pace", is_flag=True, help="Also wait for each packet's time.")
@options.JSON
@options.HTML
@options.PLOT
@click.option("--state", "state_file", type=click.Path(), metavar="FILE",
              help="All that later views need.")  # fmt: skip
@click.option("--write", "write_file", type=click.Path(), metavar="FILE",
              help="What was forwarded, as pcap, or as pcapng where FILE ends so; with shaping as"
                   " it left.")  # fmt: skip
@click.option("--verdicts", "verdicts_file", type=click.Path(), metavar="FILE",
              help="A row a packet, .csv, .jsonl or .parquet.")  # fmt: skip
@click.option("--departures", "departures_file", type=click.Path(), metavar="FILE",
              help="A row for each link that a packet ended at, as --verdicts.")  # fmt: skip
@click.option("--addresses", is_flag=True, help="Addresses and ports in the rows of --verdicts.")
@click.option("--sessions", "sessions_file", type=click.Path(), metavar="FILE",
              help="Every session that ever lived, .csv, .jsonl or .parquet.")  # fmt: skip
@options.VICTIMS
@options.TIMELINE
@click.option("--expect-outcome", metavar="DIGEST", callback=_digest,
              help="Exit with 4 when the outcome differs.")  # fmt: skip
@click.option("--expect", "expect_file", type=click.Path(), metavar="RESULT",
              help="Exit with 4 when the outcome is not that of a saved result, and name the first"
                   " setting, figure and packet that differ.")  # fmt: skip
@click.option("--no-worse", "no_worse_file", type=click.Path(), metavar="RESULT",
              help="Exit with 4 when more packets are refused, sessions taken or bytes unscanned"
                   " than in a saved result, or conserve mode begins earlier or lasts longer.")
@click.option("--junit", "junit_file", type=click.Path(), metavar="FILE",
              help="What was checked (outcome, laws, captures) as JUnit XML.")  # fmt: skip
@click.option("--markdown", "markdown_file", type=click.Path(), metavar="FILE",
              help="The same with the answer, for a job's page.")  # fmt: skip
@options.QUIET
def replay(captures: tuple[str, ...], **given: Any) -> int:
    """Run captures through a firewall and say what became of every packet.

    CAPTURE is pcap or pcapng, also .gz and .zst; '-' is standard input. Several are replayed one
    after the other, and have to follow each other in time; --merge puts their packets in the order
    of their times, --each makes a run for each.

    \b
    fwcore replay web.pcap
    fwcore replay web.pcap --personality fortios-7 --set ram_bytes=512MiB
    fwcore replay web.pcap --settings my.toml --html report.html
    fwcore replay day1.pcapng.zst day2.pcapng.zst --timing speed:10
    fwcore replay web.pcap --pressure 'at_s=10 add_bytes=200MiB'
    fwcore replay web.pcap --focus 'host 10.0.0.5'
    fwcore replay web.pcap --json - | jq .conserve.transitions
    fwcore replay day*.pcap --each --json '{name}.json'
    """

    if given.pop("each"):
        from fwcore.cli import each as every

        made = _settings(given)
        return every.run(captures, made, given)
    with running.checked(given):
        saved = running.saved_results(given)
        made = _settings(given)
        result = running.replay(captures, made, given)
    differ = running.differences(result, saved)
    written = exits.gravest(running.write_files(result, given),
                            running.write_checks(result, given, differ))
    spoken = exits.last(running.said(result, given), 0)
    code = exits.of_replay(result, written, given["expect_outcome"])
    return exits.gravest(code, exits.of_expected(result, differ), spoken)
