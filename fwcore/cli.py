"""The command line. Every command imports what it needs when it runs, so that --help is quick.

Results go to standard output, progress and errors to standard error; an error is one line that
begins with "fwcore:". Exit codes:

    0  done
    2  usage, settings, or a file that cannot be read
    3  a fault within a capture; what came before it was processed
    4  --expect-outcome differs, or a benchmark is below --fail-over
    5  a law is broken: two sources of one figure disagree
  130  interrupted; what was done until then is reported
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fwcore.errors import FwcoreError

if TYPE_CHECKING:
    from fwcore.result import Result

EXIT_DEFECT, EXIT_USAGE, EXIT_EXPECTATION, EXIT_INTERRUPTED = 1, 2, 4, 130
EXIT_CODES = (__doc__ or "").partition("Exit codes:\n\n")[2]
COMPLETION = {
    "bash": 'eval "$(_FWCORE_COMPLETE=bash_source fwcore)"  # in ~/.bashrc',
    "zsh": 'eval "$(_FWCORE_COMPLETE=zsh_source fwcore)"  # in ~/.zshrc',
    "fish": "_FWCORE_COMPLETE=fish_source fwcore | source  # in ~/.config/fish/config.fish",
}
PERSONALITIES = ("fortios-7", "fortios-5", "fortios-4", "cos-core", "linux-conntrack", "plain")
TIMINGS = "original | speed:X | pps:N | line-rate:10G"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; the exit code."""
    try:
        code = app.main(args=argv, prog_name="fwcore", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except FwcoreError as error:
        return _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return EXIT_USAGE
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "fwcore"
        return _fail(f"{error.format_message()} (see {command} --help)", EXIT_USAGE)
    except click.ClickException as error:
        return _fail(error.format_message(), EXIT_USAGE)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads on: no second complaint at exit
        return 0
    except MemoryError as error:
        return _fail(f"not enough memory: {error}", EXIT_USAGE)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", EXIT_USAGE)
    except Exception as error:
        return _defect(error)


def _defect(error: Exception) -> int:
    """A mistake of ours: one line too, unless FWCORE_DEBUG asks for the whole story."""
    if os.environ.get("FWCORE_DEBUG"):
        raise error
    what = f"{type(error).__name__}: {error}"
    return _fail(f"{what} - a defect of fwcore; FWCORE_DEBUG=1 shows where", EXIT_DEFECT)


def _fail(message: str, code: int) -> int:
    print("fwcore: " + " ".join(message.split()), file=sys.stderr)
    return code


# -- options that several commands share --------------------------------------------------------

_SETTINGS = (
    click.option("--personality", metavar="NAME", shell_complete=lambda *_: PERSONALITIES,
                 help=f"What it behaves like: {', '.join(PERSONALITIES)}."),
    click.option("--settings", "settings_file", type=click.Path(), metavar="FILE",
                 help="Settings in TOML."),
    click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
                 help="One setting; may be repeated. 'fwcore settings' lists them."),
    click.option("--policy", "policy_file", type=click.Path(), metavar="FILE",
                 help="Policies in TOML, instead of those in the settings."),
    click.option("--pressure", multiple=True, metavar="'KEY=VALUE ...'",
                 help="Pressure on memory, like 'at_s=1 add_bytes=64MiB'."),
    click.option("--seed", type=int, metavar="N", help="Seed of the bucket hash."),
)  # fmt: skip


def _chunk_size() -> int:
    from fwcore.capture import CHUNK_SIZE  # when a command runs, and not for --help

    return CHUNK_SIZE


_CAPTURE = (
    click.option("--reader", type=click.Choice(["native", "scapy"]), default="native",
                 show_default=True, help="Who reads the capture."),
    click.option("--filter", "filter_", metavar="TEXT",
                 help="Only these packets, like 'host 10.0.0.5 and tcp port 443'."),
    click.option("--timing", default="original", show_default=True, metavar="HOW",
                 help=f"Rewrite capture time: {TIMINGS}."),
    click.option("--loop", type=click.IntRange(1), default=1, metavar="N",
                 help="Replay N times, each time with other addresses."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Stop after N packets."),
    click.option("--chunk-size", type=click.IntRange(1), default=_chunk_size, hidden=True),
)  # fmt: skip

_JSON = click.option(
    "--json", "json_file", metavar="FILE", help="The result as JSON; '-' prints it instead."
)
_HTML = click.option("--html", "html_file", type=click.Path(), metavar="FILE",
                     help="A page to look at, all in one file.")  # fmt: skip
_QUIET = click.option("-q", "--quiet", is_flag=True, help="No summary, no progress.")


def _with(options: Sequence[Callable]) -> Callable:
    """One decorator from several options, in their order."""

    def decorate(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _settings(given: dict[str, Any], more: Sequence[str] = (), **overrides: Any) -> Any:
    """Settings from the shared options (taken out of `given`); warnings go to standard error."""
    from fwcore import settings

    pressure = [_pressure(text) for text in given["pressure"]]
    if pressure:
        overrides["pressure"] = pressure
    if given["seed"] is not None:
        overrides["seed"] = given["seed"]
    return settings.load(
        overrides.pop("personality", given["personality"]),
        overrides.pop("file", given["settings_file"]),
        (*given["assignments"], *more),
        policy_file=given["policy_file"],
        **overrides,
    )


def _pressure(text: str) -> dict[str, Any]:
    """'at_s=1 owner=base add_bytes=4096' as a row of [[pressure]]."""
    row: dict[str, Any] = {}
    for part in text.replace(",", " ").split():
        key, equals, value = part.partition("=")
        if not equals:
            raise FwcoreError(f"--pressure {text!r}: {part!r} is not KEY=VALUE")
        row[key] = _number(value)
    return row


def _number(value: str) -> int | float | str:
    """A number, also '-8MiB'; text stays text (settings judge it)."""
    for unit, factor in (("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)):
        if value.endswith(unit):
            try:
                return int(value.removesuffix(unit)) * factor
            except ValueError:
                continue
    try:
        return float(value)
    except ValueError:
        return value


def _warn(settings: Any, loop: int, variant: str = "") -> None:
    """What settings, and what they are run with, should be known for before packet 1."""
    from fwcore import preflight, terminal

    name = terminal.style(sys.stderr).paint("fwcore: note:", "warn")
    for warning in (*settings.warnings, *preflight.notes(settings, loop)):
        print(f"{name} {variant and variant + ': '}{warning}", file=sys.stderr)


def _check_outputs(given: dict[str, Any]) -> None:
    from fwcore import preflight

    preflight.check_outputs({
        name.removesuffix("_file"): path
        for name, path in given.items()
        if path and name.removesuffix("_file") in preflight.OUTPUTS and name.endswith("_file")
    })  # fmt: skip


def _emit(text: str, quiet: bool = False) -> None:
    if not quiet:
        click.echo(text, nl=False, color=True)


def _json_or_text(data: Any, json_file: str | None, text: Callable[[], str]) -> None:
    """JSON to its file and the text to the terminal, or JSON alone for '-'."""
    import json

    from fwcore import terminal
    from fwcore.result import plain

    if json_file:
        terminal.write_text(json_file, json.dumps(data, indent=1, default=plain) + "\n")
    if json_file != "-":
        _emit(text())


class _Group(click.Group):
    """Commands in the order in which they are written; a near miss is answered with the name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from fwcore.words import nearest

            raise click.UsageError(
                f"no command {args[0]!r}{nearest(args[0], self.commands)}", ctx) from error


def _version(ctx: click.Context, _option: Any, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from fwcore import __version__

        click.echo(f"fwcore {__version__}")
        ctx.exit()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]},
             epilog="\b\nExit codes:\n" + EXIT_CODES)  # fmt: skip
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
              help="Show the version.")  # fmt: skip
def app() -> None:
    """What a stateful firewall does when memory runs out: replay a capture and see.

    \b
    fwcore replay web.pcap --personality fortios-7 --set ram_bytes=1GiB
    fwcore replay web.pcap --personality fortios-7 --html report.html
    fwcore compare web.pcap --with fortios-7 --with fortios-5
    fwcore explain web.pcap --flow 10.0.0.5:4321-203.0.113.9:443/tcp
    """


# -- replay -------------------------------------------------------------------------------------


@app.command()
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
@_with(_SETTINGS)
@_with(_CAPTURE)
@click.option("--pace", is_flag=True, help="Also wait for each packet's time.")
@_JSON
@_HTML
@click.option("--plot", "plot_file", type=click.Path(), metavar="FILE",
              help="The main picture alone, .png or .svg.")  # fmt: skip
@click.option("--state", "state_file", type=click.Path(), metavar="FILE",
              help="All that later views need.")  # fmt: skip
@click.option("--write", "write_file", type=click.Path(), metavar="FILE",
              help="What was forwarded, as pcap.")  # fmt: skip
@click.option("--verdicts", "verdicts_file", type=click.Path(), metavar="FILE",
              help="A row a packet, .csv or .parquet.")  # fmt: skip
@click.option("--sessions", "sessions_file", type=click.Path(), metavar="FILE",
              help="Every session that ever lived, .csv or .parquet.")  # fmt: skip
@click.option("--victims", "victims_file", type=click.Path(), metavar="FILE",
              help="Sessions that were taken, .csv or .parquet.")  # fmt: skip
@click.option("--timeline", "timeline_file", type=click.Path(), metavar="FILE",
              help="Memory and counters over time, .csv or .parquet.")  # fmt: skip
@click.option("--expect-outcome", metavar="DIGEST", help="Exit with 4 when the outcome differs.")
@_QUIET
def replay(captures: tuple[str, ...], **given: Any) -> int:
    """Run captures through a firewall and say what became of every packet.

    CAPTURE is pcap or pcapng, also .gz and .zst; '-' is standard input. Several are replayed one
    after the other.

    \b
    fwcore replay web.pcap
    fwcore replay web.pcap --personality fortios-7 --set ram_bytes=512MiB
    fwcore replay web.pcap --settings my.toml --html report.html
    fwcore replay day1.pcapng.zst day2.pcapng.zst --timing speed:10
    fwcore replay web.pcap --pressure 'at_s=10 add_bytes=200MiB'
    fwcore replay web.pcap --json - | jq .conserve.transitions
    """
    _check_outputs(given)
    settings = _settings(given)
    if not given["quiet"]:
        _warn(settings, given["loop"])
    result = _replay(captures, settings, given)
    _write_files(result, given)
    if given["json_file"] != "-":
        _emit(_summary(result), given["quiet"])
    return _replay_exit(result, given["expect_outcome"])


def _replay(captures: Sequence[str], settings: Any, given: dict[str, Any], **more: Any) -> Any:
    """Calls the replay with the shared options, a progress line and a Ctrl-C that finishes."""
    from fwcore import replay as module
    from fwcore.terminal import Progress

    files = {
        name: given[f"{name}_file"]
        for name in ("write", "verdicts", "sessions", "state")
        if given.get(f"{name}_file")
    }
    with Progress(given.get("quiet", False)).interruptible() as progress:
        return module.replay(
            list(captures), settings, timing=given["timing"], pace=given.get("pace", False),
            loop=given["loop"], limit=given["limit"], reader=given["reader"],
            filter=given["filter_"], chunk_size=given["chunk_size"], progress=progress,
            **files, **more,
        )  # fmt: skip


def _write_files(result: Result, given: dict[str, Any]) -> None:
    """The files that are made from a result, in the order in which they cost time."""
    from fwcore import terminal

    if given.get("json_file"):
        terminal.write_text(given["json_file"], result.to_json())
    for name in ("victims", "timeline"):
        if given.get(f"{name}_file"):
            from fwcore.report import tables

            tables.write(result.array(name), given[f"{name}_file"])
    if given.get("plot_file"):
        from fwcore.report import plot

        plot.write(result, given["plot_file"])
    if given.get("html_file"):
        from fwcore.report import html

        html.write(result, given["html_file"])


def _summary(result: Result) -> str:
    from fwcore import terminal
    from fwcore.report import text

    return text.summary(result, terminal.style())


def _replay_exit(result: Result, expected: str | None) -> int:
    """The exit code, with a line on standard error for everything that went wrong."""
    from fwcore.report import facts

    broken = facts.broken_laws(result)
    if broken:
        _fail(f"broken laws: {', '.join(broken)}: this is a defect of fwcore", result.exit_code)
    for row in result.data.get("inputs", ()):
        if row.get("fault"):
            fault = row["fault"]
            where = f" at byte {fault['byte_offset']}" if isinstance(fault, dict) else ""
            what = fault["message"] if isinstance(fault, dict) else fault
            _fail(f"{row['path']}: {what}{where}; everything before it was processed", 3)
    if result.data.get("interrupted"):
        _fail(f"interrupted after packet {result.data['packets']}", EXIT_INTERRUPTED)
    if result.exit_code == 0 and expected is not None and expected != result.data["outcome"]:
        return _fail(f"outcome {result.data['outcome']}, expected {expected}", EXIT_EXPECTATION)
    return result.exit_code


# -- compare, explain ---------------------------------------------------------------------------


@app.command()
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
@click.option("--with", "variants", multiple=True, required=True, metavar="WHAT",
              help="Personality, settings file or 'key=value,...'; twice or more.")  # fmt: skip
@_with(_SETTINGS)
@_with(_CAPTURE)
@_JSON
@_HTML
@_QUIET
def compare(captures: tuple[str, ...], variants: tuple[str, ...], **given: Any) -> int:
    """The same traffic under several settings, joined flow by flow.

    The other options hold for every run; each --with changes them for one.

    \b
    fwcore compare web.pcap --with fortios-7 --with fortios-5
    fwcore compare web.pcap --personality fortios-7 \\
        --with av_failopen=pass --with av_failopen=off --html compare.html
    fwcore compare web.pcap --with mine.toml --with fortios-7,seed=2
    """
    from fwcore import terminal
    from fwcore.report import compare as module

    if len(variants) < 2:
        raise click.UsageError("compare needs --with at least twice")
    if len(set(variants)) < len(variants):
        raise click.UsageError("compare: the same --with was given twice")
    if "-" in captures:
        raise click.UsageError("compare reads captures once for each --with, and standard input"
                               " can be read once: save it to a file")
    _check_outputs(given)
    given["assignments"] = (f"victims_max={module.VICTIMS}", *given["assignments"])
    named = {variant: _variant(variant, given) for variant in variants}
    if not given["quiet"]:
        for variant, settings in named.items():
            _warn(settings, given["loop"], variant)

    def run(paths: Sequence[str], settings: Any, **more: Any) -> Any:
        return _replay(paths, settings, given, **more)

    comparison = module.run(list(captures), named, run)
    if given["html_file"]:
        from fwcore.report import html

        html.write_page(module.render_html(comparison), given["html_file"])
    if not given["quiet"] or given["json_file"]:
        _json_or_text(
            comparison.to_dict() if given["json_file"] else None, given["json_file"],
            lambda: "" if given["quiet"] else module.render_text(comparison, terminal.style()),
        )  # fmt: skip
    return max(result.exit_code for result in comparison.results)


def _variant(text: str, given: dict[str, Any]) -> Any:
    """Settings of one --with: a file or a personality first, assignments after it."""
    first, *rest = text.split(",")
    overrides: dict[str, Any] = {}
    if "=" in first:
        rest.insert(0, first)
    elif first.endswith(".toml") or Path(first).is_file():
        overrides["file"] = first
    else:
        overrides["personality"] = first
    assignments: list[str] = []
    for part in rest:
        if "=" in part or not assignments:
            assignments.append(part)
        else:  # a value with commas, like ips_trigger=conserve,buffer
            assignments[-1] += "," + part
    return _settings(given, assignments, **overrides)


@app.command()
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...")
@click.option("--flow", required=True, metavar="A:PORT-B:PORT/PROTOCOL", help="Whose life to tell.")
@_with(_SETTINGS)
@_with(_CAPTURE)
@_JSON
def explain(captures: tuple[str, ...], flow: str, **given: Any) -> int:
    """The life of one flow, packet by packet, and which packet ended it.

    \b
    fwcore explain web.pcap --flow 10.0.0.5:4321-203.0.113.9:443/tcp
    fwcore explain web.pcap --flow '[2001:db8::5]:4321-[2001:db8::9]:53/udp'
    """
    from fwcore import flow as flows, terminal
    from fwcore.report import explain as module

    wanted = flows.parse(flow)
    settings = _settings(given)
    life = module.run(
        _chunks(captures, given), _engine(settings), wanted, vlan_zone=settings.zone == "vlan"
    )
    _json_or_text(life, given["json_file"], lambda: module.render_text(life, terminal.style()))
    return 0


def _chunks(captures: Sequence[str], given: dict[str, Any]) -> Any:
    """The captures' packets as the replay would feed them: filter, timing and limit applied."""
    from fwcore.capture import open_captures
    from fwcore.replay import Timing, Turns

    def readers() -> Any:
        options = {"reader": given["reader"], "chunk_size": given["chunk_size"]}
        return open_captures(list(captures), filter=given["filter_"], **options)

    if given["loop"] > 1:
        raise FwcoreError("explain follows one turn of a capture: --loop has no meaning here")
    timing = Timing.parse(given["timing"])
    return (timing.retime(chunk) for _, chunk in Turns(readers, 1, given["limit"]))


def _engine(settings: Any) -> Any:
    from fwcore.engine import Engine

    return Engine(settings, log=True)


@app.command()
@click.argument("result_file", metavar="RESULT", type=click.Path())
@_JSON
@_HTML
@click.option("--plot", "plot_file", type=click.Path(), metavar="FILE",
              help="The main picture alone, .png or .svg.")  # fmt: skip
@click.option("--victims", "victims_file", type=click.Path(), metavar="FILE",
              help="Sessions that were taken, .csv or .parquet.")  # fmt: skip
@click.option("--timeline", "timeline_file", type=click.Path(), metavar="FILE",
              help="Memory and counters over time, .csv or .parquet.")  # fmt: skip
@_QUIET
def report(result_file: str, **given: Any) -> int:
    """Show a saved result again: RESULT is what --json or --state wrote.

    \b
    fwcore report run.state
    fwcore report result.json --html report.html --quiet
    """
    from fwcore.result import Result

    _check_outputs(given)
    result = Result.load(result_file)
    _write_files(result, given)
    if given["json_file"] != "-":
        _emit(_summary(result), given["quiet"])
    return result.exit_code


# -- making traffic, measuring ------------------------------------------------------------------


@app.command()
@click.argument("workload", metavar="WORKLOAD")
@click.argument("output", type=click.Path(), metavar="FILE")
@click.option("--packets", type=int, metavar="N", help="How many packets.")
@click.option("--rate", "rate_pps", type=int, metavar="PPS", help="Packets per second.")
@click.option("--duration", "duration_s", type=float, metavar="S", help="Seconds of capture.")
@click.option("--hosts", type=int, metavar="N", help="Client hosts.")
@click.option("--sessions", type=int, metavar="N", help="Sessions at a time.")
@click.option("--seed", type=int, metavar="N", help="Another seed, other traffic.")
@click.option("--set", "more", multiple=True, metavar="KEY=VALUE", help="Any other parameter.")
@_JSON
@_QUIET
def synth(workload: str, output: str, more: tuple[str, ...], **given: Any) -> int:
    """Make traffic: a capture of WORKLOAD, the same for the same parameters.

    Workloads: imix, web, dns-storm, syn-flood, port-scan, churn, elephants, uniform, mix. FILE '-'
    is standard output, to be piped into 'fwcore replay -'.

    \b
    fwcore synth web web.pcap --rate 100000 --duration 30
    fwcore synth uniform u.pcap --packets 4000000 --set frame_bytes=60
    fwcore synth syn-flood - --rate 500000 | fwcore replay -
    """
    from fwcore import units
    from fwcore.capture import synth as module
    from fwcore.terminal import Progress

    names = ("packets", "rate_pps", "duration_s", "hosts", "sessions", "seed")
    parameters = {name: given[name] for name in names}
    made = module.make(workload, **parameters, **dict(map(_pair, more)))
    with Progress(given["quiet"]).interruptible() as progress:

        def advance(packets: int, _written: int) -> None:
            if progress(packets, packets, made.packets):
                raise KeyboardInterrupt

        packets, written = module.to_pcap(output, made, advance)
    data = {"workload": module.describe(made), "path": output, "packets": packets, "bytes": written}
    if output == "-":
        return 0
    _json_or_text(data, given["json_file"], lambda: "" if given["quiet"] else (
        f"{output}: {units.count(packets)} packets, {units.size(written)}\n"
        f"{module.describe(made)}\n"))  # fmt: skip
    return 0


def _pair(text: str) -> tuple[str, int | bool]:
    key, equals, value = text.partition("=")
    if value in ("true", "false"):
        return key, value == "true"
    if not equals or not value.lstrip("-").isdecimal():
        raise FwcoreError(f"--set {text!r}: a workload's parameter is KEY=INTEGER or KEY=true")
    return key, int(value)


@app.command()
@click.option("--baseline", type=click.Path(), metavar="FILE", help="An earlier run's JSON lines.")
@click.option("--against", metavar="PYTHON",
              help="The Python of another build, measured in turn with this one.")  # fmt: skip
@click.option("--fail-over", metavar="SHARE", default=None,
              help="Exit with 4 when slower by more, like 20%.")  # fmt: skip
@click.option("--markdown", type=click.Path(), metavar="FILE",
              help="A summary for a job's page.")  # fmt: skip
@click.option("--only", multiple=True, metavar="NAME", help="Only these benchmarks.")
@click.option("--repeat", type=click.IntRange(1), metavar="N", help="Runs of each.")
@click.option("--quick", is_flag=True, help="Small sizes, one run each: some 12 s in all.")
@_JSON
def bench(**given: Any) -> int:
    """How fast the data plane is on this machine, one JSON line a benchmark.

    Benchmarks: read, parse, hit-1000, hit-65536, hit-1000000, miss-1000, miss-65536, miss-1000000,
    everything-1000, everything-65536, everything-1000000, ipv6-1000, ipv6-1000000, mix-1000,
    mix-1000000, slow-1000, slow-1000000, slow-expiring, setup-8, setup-1000, evict-bucket,
    evict-replace-oldest, evict-tension, tension-pass, transition, crossings, share, import,
    start, bytes-per-connection, imix-file.

    \b
    fwcore bench --json baseline.jsonl
    fwcore bench --baseline baseline.jsonl --fail-over 20%
    fwcore bench --against before/bin/python --only hit-1000 --only setup-8
    """
    from fwcore import bench as module

    return module.run(**given)


# -- planning and looking things up --------------------------------------------------------------


@app.command()
@_with(_SETTINGS)
@click.option("--connections", type=int, metavar="N", help="Plan for this many (max_connections).")
@click.option("--tunnels", type=int, metavar="N", help="Plan for this many IPsec tunnels.")
@click.option("--leak", "leak_bytes_per_s", type=int, metavar="BYTES", help="A leak a second.")
@click.option("--restart-every", type=int, metavar="DAYS", help="The leak, as restarts needed.")
@_JSON
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
    made = page.make(_settings(given), **{name: given[name] for name in names})
    _json_or_text(made, given["json_file"], lambda: page.render(made, terminal.style()))
    return 0


@app.group(cls=_Group)
def personality() -> None:
    """The firewalls that can be simulated."""


@personality.command("list")
@_JSON
def personality_list(json_file: str | None) -> int:
    """Names, and what each is like."""
    from fwcore import settings, terminal
    from fwcore.report import text

    rows = []
    for name in settings.personalities():
        made = settings.load(name)
        rows.append(
            {
                "name": name,
                **{
                    key: getattr(made, key)
                    for key in ("machine", "when_full", "accounting", "max_connections")
                },
                "summary": settings.read_personality(name).summary,
            }
        )
    head = [key for key in rows[0] if key != "summary"]
    table = [head, *([str(row[key]) for key in head] for row in rows)]
    style = terminal.style()

    def render() -> str:
        """A line of figures each, and what it is below: 80 columns."""
        lines = list(text.columns(table, [""] * len(head), style, left=6))
        told = [f"{line}\n    {style.paint(row['summary'], 'dim')}"
                for line, row in zip(lines[1:], rows, strict=True)]
        return "\n".join([lines[0], *told]) + "\n"

    _json_or_text(rows, json_file, render)
    return 0


@personality.command("show")
@click.argument("name", shell_complete=lambda *_: PERSONALITIES)
@_JSON
def personality_show(name: str, json_file: str | None) -> int:
    """Every effective value of NAME, where it comes from, and its source's mark."""
    from fwcore import settings

    data = settings.load(name).describe()
    _json_or_text(data, json_file, lambda: _settings_table(data))
    return 0


@app.command("settings")
@click.argument("word", required=False)
@_JSON
def settings_list(word: str | None, json_file: str | None) -> int:
    """All settings, with what is allowed; WORD narrows it down.

    \b
    fwcore settings
    fwcore settings threshold
    """
    from fwcore import settings

    rows = [
        {"name": row.name, "help": row.help, "allowed": row.allowed(), "reason": row.reason}
        for row in settings.DECLARATIONS
        if not word or word.lower() in f"{row.name} {row.help}".lower()
    ]
    if not rows:
        raise FwcoreError(f"no setting has {word!r} in its name or meaning")
    _json_or_text(rows, json_file, lambda: "".join(map(_setting_text, rows)))
    return 0


def _setting_text(row: dict[str, str]) -> str:
    from fwcore import terminal
    from fwcore.report import text

    style = terminal.style()
    lines = [style.paint(row["name"], "strong")]
    lines += [f"    {part}" for part in text.fold(row["help"], 74)]
    allowed = row["allowed"] + (f" ({row['reason']})" if row["reason"] else "")
    lines += [style.paint(f"    {part}", "dim") for part in text.fold(allowed, 74)]
    return "\n".join(lines) + "\n"


def _settings_table(data: dict[str, dict[str, Any]]) -> str:
    from fwcore import terminal
    from fwcore.report import text

    rows = [["setting", "value", "mark", "from"]]
    for name, row in data.items():
        value = row["value"]
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        if isinstance(value, (list, tuple)):
            shown = ", ".join(map(str, value)) or "none"
        rows.append([name, shown, row.get("mark", ""), row["from"]])
    tones = ["", "info", "dim", "dim"]
    return "\n".join(text.columns(rows, tones, terminal.style(), left=4)) + "\n"


@app.command()
@click.argument("word", required=False)
@_JSON
def glossary(word: str | None, json_file: str | None) -> int:
    """What a counter means, when it goes back to zero, and the vendor's name for it.

    \b
    fwcore glossary tension
    fwcore glossary sessions.ended
    """
    from fwcore import glossary as module

    found = list(module.search(word)) if word else list(module.ENTRIES)
    if not found:
        raise FwcoreError(f"no counter has {word!r} in its name or meaning")
    rows = [entry._asdict() for entry in found]
    _json_or_text(rows, json_file, lambda: "".join(map(_glossary_text, found)))
    return 0


def _glossary_text(entry: Any) -> str:
    from fwcore import terminal
    from fwcore.report import text

    style = terminal.style()
    quiet = f"reset: {entry.reset}" + (f"; vendor: {entry.vendor}" if entry.vendor else "")
    lines = [style.paint(entry.name, "strong")]
    lines += [f"    {part}" for part in text.fold(entry.meaning, 74)]
    lines += [style.paint(f"    {part}", "dim") for part in text.fold(quiet, 74)]
    return "\n".join(lines) + "\n"


@app.command()
@click.argument("shell", type=click.Choice(sorted(COMPLETION)))
def completion(shell: str) -> int:
    """How to switch on completion in your shell."""
    click.echo(COMPLETION[shell])
    return 0
