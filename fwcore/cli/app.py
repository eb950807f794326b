"""The root of the commands, and what is checked of each before it runs."""

from __future__ import annotations

from typing import Any

import click

from fwcore.cli import exits

INPUTS = {"captures": "the capture", "settings_file": "--settings", "policy_file": "--policy",
          "result_file": "the result", "expect_file": "--expect", "baseline": "--baseline",
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
    ORDER = ("replay", "live", "ask", "compare", "explain", "report", "top", "demand", "shape",
             "synth", "bench", "plan", "personality", "settings", "glossary", "completion")

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.commands, key=lambda name: (
            self.ORDER.index(name) if name in self.ORDER else -1))

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


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]},
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
