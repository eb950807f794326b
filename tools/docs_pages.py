"""Pages of the documentation that are made from the code: settings, personalities, glossary.

A hook of mkdocs, which asks for them while it builds, so that they cannot fall behind. Run as a
program it prints one: ``python tools/docs_pages.py settings``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fwcore import glossary, settings, shaping_values
from fwcore.settings import Declaration, Share, tables, wirings
from fwcore.shaping_values import Key

MARKS = (
    "Marks: C Clavister cOS Core article, K FortiGate KB 198580, H FortiOS 5 online help, T FortiOS"
    " 7 tuning guide, R public record, D decision of this project; see [the rules](rules.md)."
)
NARROW = "\N{NARROW NO-BREAK SPACE}"
MADE = "This page is made from the code."


def amount(value: int) -> str:
    """Bytes, in the largest binary unit that gives a whole number."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= size and value % size == 0:
            return f"{value // size}{NARROW}{unit}"
    return cell(value)


def cell(value: Any) -> str:
    """A value as it reads well, safe within a table."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, Share):
        text = f"{value.percent} % of RAM"
    elif isinstance(value, int):
        text = f"{value:,}".replace(",", NARROW)
    elif isinstance(value, list | tuple):
        text = ", ".join(map(str, value)) or "none"
    else:
        text = "random" if value is None else str(value)
    return text.replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _kind(row: Declaration) -> str:
    text = row.allowed() + (f"; {row.reason}" if row.reason else "")
    return text.replace("|", "\\|")


def settings_page() -> str:
    """Every setting: meaning, what is allowed."""
    rows = [[f"`{row.name}`", row.help, _kind(row)] for row in settings.DECLARATIONS]
    return f"""# Settings

{MADE} `fwcore settings` prints it. Values are on the page of [personalities](personalities.md).

Settings stand in a TOML file (`--settings`), flat but for `[timeouts]`, or on the command line
(`--set key=value`). Later ones win: personality, posture, file, `--set`, arguments. Amounts of
bytes may be numbers or text: `KiB`, `MiB`, `GiB` are powers of two, `kB`, `MB`, `GB` what the
vendor means by them. An amount that means pages is rounded up to pages of 4096 bytes.

{table(["setting", "meaning", "allowed"], rows)}
## Rows

`[[policy]]`, in order; the first that matches wins:

| key | meaning |
|---|---|
| `id` | number, shown in results |
| `source`, `destination` | `"any"` or a list of networks |
| `protocol` | name, number or `"any"` |
| `ports` | the responder's: a list of numbers and ranges such as `"8000-8099"` |
| `zone` | VLAN id, with `zone = "vlan"` |
| `action` | `accept`, `deny`, `local` |
| `inspection` | `none`, `flow`, `proxy`, `flow+proxy`, or a list of features |

`[[base_item]]`: `name`, `count`, `bytes_each`; counted when `base_bytes` is not given.

`[[pressure]]`: `at_s`, `owner` and `add_bytes`; or `at_s`, `owner` and `leak_bytes_per_s`; or
`fail_nth`, or `fail_every`. See [pressure](rules.md#pressure).

## Rows of shaping

What they do is said in [the rules](rules.md#shaping). `[[shaping]]` takes the conditions of
`[[policy]]`, too. [A vendor's tables](shaping.md) are spellings of these rows.

{_tables(shaping_values.KINDS)}
{"".join(_tables(vendor.kinds, f"{name}.") for name, vendor in wirings.UNDERSTOOD.items())}"""


def _tables(kinds: Mapping[str, Mapping[str, Key]], vendor: str = "") -> str:
    """A table for each kind of row: keys, meaning, what is allowed, what stands without."""
    parts = []
    for kind, keys in kinds.items():
        names = [name.replace("_", "-") if vendor else name for name in keys]
        rows = [[f"`{name}`", key.help, tables.allowed(key).replace("|", "\\|"), key.without()]
                for name, key in zip(names, keys.values(), strict=True)]
        title = f"{vendor}{kind.replace('_', '-')}"
        head = ["key", "meaning", "allowed", "without it"]
        parts.append(f"`[[{title}]]`\n\n{table(head, rows)}")
    return "\n".join(parts) + "\n"


def personalities_page() -> str:
    """Every value of every personality, with its mark; why, where a personality says it itself."""
    names = settings.personalities()
    described = {name: settings.load(name).describe() for name in names}
    rows = []
    for row in settings.DECLARATIONS:
        cells = []
        for name in names:
            entry = described[name][row.name]
            own = entry["from"].startswith("personality")
            show = amount if row.kind == "bytes" else cell
            text = f"{show(entry['value'])}{NARROW}{entry['mark']}".strip()
            cells.append(f"**{text}**" if own else text)
        if row.name != "personality":
            rows.append([f"`{row.name}`", *cells])
    abouts = table(["personality", "what it is"],
                   [[f"`{name}`", settings.read_personality(name).summary] for name in names])
    return f"""# Personalities

{MADE} `fwcore personality show NAME` prints one column. {MARKS}

{abouts}
Bold is what a personality says itself; the rest is the default. A default without a machine that
asks for it has no effect.

{table(["setting", *names], rows)}
## Why

{"".join(_whys(name) for name in names)}"""


def _whys(name: str) -> str:
    entries = settings.read_personality(name).entries
    rows = [[f"`{key}`", cell(entry.value), entry.mark, entry.why.replace("|", "\\|")]
            for key, entry in entries.items()]
    return f"### {name}\n\n{table(['setting', 'value', 'mark', 'why'], rows)}\n"


def glossary_page() -> str:
    """Every counter."""
    return f"""# Glossary

{MADE} `fwcore glossary WORD` searches it. A counter's name is its path in the result; memory is in
pages of 4096 bytes, times ending in `_ns` are nanoseconds.

{glossary.markdown()}"""


PAGES = {
    "settings": settings_page, "personalities": personalities_page, "glossary": glossary_page,
}


def on_files(files: Any, config: Any) -> Any:
    """mkdocs asks for its files: these are added."""
    from mkdocs.structure.files import File

    for name, page in PAGES.items():
        files.append(File.generated(config, f"{name}.md", content=page()))
    return files


if __name__ == "__main__":
    print(PAGES[sys.argv[1]](), end="")
