"""What can be looked up: personalities, settings, counters; completion of the shell."""

from __future__ import annotations

from typing import Any

import click

from fwcore.cli import exits, options, running
from fwcore.cli.app import Group, app
from fwcore.errors import FwcoreError

COMPLETION = {
    "bash": 'eval "$(_FWCORE_COMPLETE=bash_source fwcore)"  # in ~/.bashrc',
    "zsh": 'eval "$(_FWCORE_COMPLETE=zsh_source fwcore)"  # in ~/.zshrc',
    "fish": "_FWCORE_COMPLETE=fish_source fwcore | source  # in ~/.config/fish/config.fish",
}


@app.group(cls=Group)
def personality() -> None:
    """The firewalls that can be simulated."""


@personality.command("list")
@options.JSON
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

    return running.json_or_text(rows, json_file, render)


@personality.command("show", short_help="Every effective value of NAME, and where it comes from.")
@click.argument("name", shell_complete=lambda *_: options.PERSONALITIES)
@options.JSON
def personality_show(name: str, json_file: str | None) -> int:
    """Every effective value of NAME, where it comes from, and its source's mark."""
    from fwcore import settings

    data = settings.load(name).describe()
    return running.json_or_text(data, json_file, lambda: _settings_table(data))


@app.command("settings")
@click.argument("word", required=False)
@options.JSON
def settings_list(word: str | None, json_file: str | None) -> int:
    """All settings, with what is allowed; WORD narrows it down.

    \b
    fwcore settings
    fwcore settings threshold
    """
    from fwcore import settings, shaping_values
    from fwcore.settings import sysctl, tables, wirings
    from fwcore.words import spelled

    rows = [
        {"name": row.name, "help": row.help, "allowed": row.allowed(), "reason": row.reason,
         "choices": dict(row.meanings()), "default": settings.load().describe()[row.name]["value"],
         **({"sysctl": sysctl.BY_SETTING[row.name]} if row.name in sysctl.BY_SETTING else {})}
        for row in settings.DECLARATIONS
    ] + [
        {"name": f"{kind}.{name}", "help": key.help, "allowed": key.allowed(),
         "reason": f"a key of [[{kind}]]", "choices": {}, "default": key.default,
         "without": key.without()}
        for kind, keys in shaping_values.KINDS.items() for name, key in keys.items()
    ] + [
        {"name": f"{vendor}.{kind}.{name}".replace("_", "-"), "help": key.help,
         "allowed": tables.allowed(key), "choices": {}, "default": key.default,
         "without": key.without(), "reason": f"a key of [[{vendor}.{kind.replace('_', '-')}]]"}
        for vendor, words in wirings.UNDERSTOOD.items()
        for kind, keys in words.kinds.items() for name, key in keys.items()
    ]
    rows = [row for row in rows
            if not word or spelled(word.lower()) in spelled(
                f"{row['name']} {row['help']} {row.get('sysctl', '')}".lower())]
    if not rows:
        raise FwcoreError(f"no setting has {word!r} in its name or meaning")
    return running.json_or_text(rows, json_file, lambda: "".join(map(_setting_text, rows)))


def _setting_text(row: dict[str, Any]) -> str:
    from fwcore import terminal
    from fwcore.report import text

    style = terminal.style()
    lines = [style.paint(row["name"], "strong")]
    lines += [f"    {part}" for part in text.fold(row["help"], 74)]
    allowed = row["allowed"] + (f" ({row['reason']})" if row["reason"] else "")
    lines += [style.paint(f"    {part}", "dim") for part in text.fold(allowed, 74)]
    if "sysctl" in row:
        lines.append(style.paint(f"    Linux: {row['sysctl']}", "dim"))
    for choice, meaning in row["choices"].items():
        lines += [f"      {part}" for part in text.fold(f"{choice}: {meaning}", 72)]
    default = row["default"]
    if "without" in row:    # a key of a row
        stands = row["without"]
        words = stands if stands in ("", "needed") else f"without it: {stands}"
        lines += [style.paint(f"    {part}", "dim") for part in text.fold(words, 74) if part]
        return "\n".join([*lines, ""])
    shown = ", ".join(map(str, default)) if isinstance(default, list) else str(default)
    shown = shown.lower() if isinstance(default, bool) else shown
    lines.append(style.paint(f"    plain: {shown}", "dim"))
    return "\n".join(lines) + "\n"


def _settings_table(data: dict[str, dict[str, Any]]) -> str:
    from fwcore import settings, terminal
    from fwcore.report import text

    rows = [["setting", "value", "mark", "from"]]
    for name, row in data.items():
        value = row["value"]
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        if isinstance(value, (list, tuple)):
            shown = ", ".join(map(str, value)) or "none"
        rows.append([name, shown, row.get("mark", ""), row["from"]])
    style = terminal.style()
    head, *lines = text.columns(rows, ["", "info", "dim", "dim"], style, left=4)
    told = [head]
    for line, row in zip(lines, data.values(), strict=True):
        told.append(line)
        told += [style.paint(f"    {part}", "dim") for part in text.fold(row.get("why", ""), 74)
                 if part]
    told += ["", *(f"{mark}  {meaning}" for mark, meaning in settings.MARKS.items())]
    return "\n".join(told) + "\n"


@app.command()
@click.argument("word", required=False)
@options.JSON
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
    return running.json_or_text(rows, json_file, lambda: "".join(map(_glossary_text, found)))


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
    return exits.last(COMPLETION[shell] + "\n", 0)
