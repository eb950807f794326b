"""The root of the commands, and what is checked of each before it runs.

A command's file is imported when the command is asked for: what one does not know of the other
fifteen costs nothing. Their one line of help stands here, so that --help imports none.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import click

from fwcore.cli import exits

COMMANDS = {
    "replay": ("replay", "Captures through a firewall: what became of every packet."),
    "live": ("live", "Be a bump in the wire, look at an interface, judge a queue."),
    "ask": ("live", "Ask a live run, or change it: what it answers, as JSON."),
    "compare": ("compare", "The same traffic under several settings, joined flow by flow."),
    "explain": ("explain", "The life of one flow, packet by packet; or a host's flows."),
    "report": ("report", "Show a saved result again: what --json or --state wrote."),
    "top": ("top", "Who makes this traffic: by host, policy, service, over time."),
    "demand": ("demand", "What rate and what bucket this traffic needs."),
    "shape": ("shape", "Meters, classes and links, in our words or a vendor's."),
    "synth": ("synth", "Make traffic: the same capture for the same parameters."),
    "bench": ("bench", "How fast the data plane is on this machine."),
    "plan": ("plan", "Memory by owner, headroom, and what each lever saves."),
    "personality": ("lookup", "The firewalls that can be simulated."),
    "settings": ("lookup", "All settings, with what is allowed; WORD narrows it down."),
    "glossary": ("lookup", "What a counter means, its reset, the vendor's name for it."),
    "completion": ("lookup", "How to switch on completion in your shell."),
}
"""Name: the file below ``fwcore.cli`` that it is in, what it is for. In the order of the help."""

INPUTS = {"captures": "the capture", "settings_file": "--settings", "policy_file": "--policy",
          "result_file": "the result", "expect_file": "--expect",
          "no_worse_file": "--no-worse", "baseline": "--baseline",
          "variants": "--with"}


class Command(click.Command):
    """A command whose values are not empty and whose files are apart, before anything is opened.

    ``--json ''`` is a variable that was not set: to ignore it would lose the run.
    """

    def invoke(self, ctx: click.Context) -> Any:
        for param in self.params:
            value = ctx.params.get(param.name or "")
            if value == "" or (isinstance(value, tuple) and "" in value):
                is_option = isinstance(param, click.Option)
                name = param.opts[-1] if is_option else param.make_metavar(ctx)
                raise click.UsageError(f"{name} is empty: name a value, or leave it out", ctx)
        _check_files(ctx.params)
        return super().invoke(ctx)


def _check_files(given: dict[str, Any]) -> None:
    from fwcore import preflight

    outputs = {name.removesuffix("_file"): path for name, path in given.items()
               if path and name.endswith("_file") and name not in INPUTS}
    outputs |= {name: given[name] for name in ("output", "markdown", "junit") if given.get(name)}
    if given.get("events_to"):
        outputs["events"] = given["events_to"]
    if not outputs and not given.get("each"):
        return
    inputs = []
    for name, called in INPUTS.items():
        paths = given.get(name) or ()
        for path in (paths,) if isinstance(paths, str) else paths:
            inputs.append((called, path.split(",")[0] if name == "variants" else path))
    if given.get("each"):
        preflight.check_each(outputs, given["captures"], given["merge"], given["expect_outcome"])
        for capture in given["captures"]:
            preflight.check_outputs(
                {name: preflight.for_capture(path, capture) for name, path in outputs.items()},
                inputs)
        return
    preflight.check_outputs(outputs, inputs)


class Group(click.Group):
    """Commands in the order in which they are written; a near miss is answered with the name."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from fwcore.words import nearest

            raise click.UsageError(
                f"no command {args[0]!r}{nearest(args[0], self.commands)}", ctx) from error


class Files(dict[str, click.Command]):
    """The commands of ``COMMANDS``: each is there, and imported when it is looked up."""

    def __missing__(self, name: str) -> click.Command:
        import_module(f"fwcore.cli.{COMMANDS[name][0]}")     # which adds it
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in COMMANDS else default

    def items(self) -> Any:
        return [(name, self[name]) for name in self]

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)


class Root(Group):
    """The first of the groups, whose commands are files."""

    group_class = Group

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.commands = Files()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click has it, without importing one of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _version(ctx: click.Context, _option: Any, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from fwcore import __version__

        click.echo(f"fwcore {__version__}")
        ctx.exit()


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]},
             epilog="\b\nExit codes:\n" + exits.TEXT)  # fmt: skip
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
