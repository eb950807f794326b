"""The skeleton of every page, and the pieces that it is made of: cards, tables, notes.

No network, no server, everything inside the file: a style (page.css), a script (page.js), Bokeh's
script where there are charts, and one block of JSON. A content security policy forbids the page to
fetch anything. What is text becomes HTML here and nowhere else.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from fwcore import units
from fwcore.outfile import Output
from fwcore.report import charts

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{banner}
<header><div><div><h1>{title}</h1><p class="sub">{subtitle}</p></div>
<button id="theme" type="button">Dark</button></div></header>
<main>
{body}
<footer>{footer}</footer>
</main>
<script type="application/json" id="data">{data}</script>
<script>{library}</script>
{chart_script}
<script>{script}</script>
</body>
</html>
"""


def write(page: str, path: str | Path) -> int:
    """Writes a page; returns its size in bytes. Raises OutputError."""
    data = page.encode("utf-8", "backslashreplace")
    with Output(path) as output:
        output.write(data)
    return len(data)


def assemble(
    *, title: str, subtitle: str, banner: str, body: str, footer: str, data: Any, chart_script: str
) -> str:
    """The skeleton filled in; `title` and `subtitle` are text, the rest is HTML already."""
    folder = resources.files("fwcore.report")
    return PAGE.format(
        policy=POLICY, title=escaped(title), subtitle=escaped(subtitle), banner=banner, body=body,
        footer=footer, data=script_json(data), chart_script=chart_script,
        style=(folder / "page.css").read_text(), script=(folder / "page.js").read_text(),
        library=charts.script() if chart_script else "",
    )  # fmt: skip


def script_json(data: Any) -> str:
    """JSON that may stand within a script element, whatever strings it holds."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def escaped(value: Any) -> str:
    """Text as HTML."""
    return html.escape(str(value))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[int] = ()) -> str:
    """A scrolling table; columns listed in `numbers` stand to the right.

    A cell is text, or (text, class), or (text, class, style); a row may end in a dict of
    attributes.
    """
    made = []
    for row in rows:
        cells, attributes = list(row), ""
        if cells and isinstance(cells[-1], dict):
            attributes = "".join(f' {key}="{escaped(value)}"' for key, value in cells.pop().items())
        tds = []
        for at, cell in enumerate(cells):
            shown, kind, style = (*cell, "", "")[:3] if isinstance(cell, tuple) else (cell, "", "")
            kind = " ".join(filter(None, (kind, "n" if at in numbers else "")))
            given = (f' class="{kind}"' if kind else "") + (f' style="{style}"' if style else "")
            tds.append(f"<td{given}>{escaped(shown)}</td>")
        made.append(f"<tr{attributes}>{''.join(tds)}</tr>")
    top = "".join(
        f'<th class="n">{escaped(name)}</th>' if at in numbers else f"<th>{escaped(name)}</th>"
        for at, name in enumerate(head)
    )
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(made)}</tbody></table></div>"
    )


def told(sentences: Iterable[str]) -> str:
    """The answer, in sentences."""
    held = (units.DIGITS.sub("&nbsp;", escaped(each)) for each in sentences if each)
    return "".join(f'<p class="told">{each}</p>' for each in held)


def section(title: str, *parts: str, identifier: str = "") -> str:
    """A card with a title; nothing when all parts are empty."""
    inner = "\n".join(part for part in parts if part)
    name = f' id="{identifier}"' if identifier else ""
    return f"<section{name}><h2>{escaped(title)}</h2>\n{inner}</section>" if inner else ""


def note(text: str) -> str:
    """A quiet line under a title."""
    return f'<p class="note">{escaped(text)}</p>'


def more(shown: int, whole: int) -> str:
    """A note where a table ends before its rows do."""
    return note(f"the first {shown} of {units.count(whole)}; the JSON has all") * (whole > shown)
