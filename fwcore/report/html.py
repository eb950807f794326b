"""A replay as one page: no network, no server, everything inside the file.

The page is a skeleton of sections, a style (page.css), a script of its own (page.js), Bokeh's
script and one block of JSON. A content security policy forbids it to fetch anything. What could
grow with the capture is bounded here: samples, bands and the rows of tables; the JSON
result has the rest.
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
from fwcore.report import charts, facts
from fwcore.report.text import banner
from fwcore.result import Result

MAX_ROWS = 1000  # of transitions and events; beyond that a table helps nobody
MAX_VICTIMS = 20_000
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


def write(result: Result, path: str | Path) -> int:
    """Writes the page; returns its size in bytes."""
    return write_page(render(result), path)


def write_page(page: str, path: str | Path) -> int:
    """Writes any page; returns its size in bytes. Raises OutputError."""
    data = page.encode("utf-8", "backslashreplace")
    with Output(path) as output:
        output.write(data)
    return len(data)


def render(result: Result) -> str:
    """The page of one result."""
    made = charts.make(result)
    chart_script, divs = charts.embed(made) if made else ("", {})
    sections = [
        _tiles(result), _memory(divs), _chart("Sessions", divs, "sessions", "setups"),
        _chart("Verdicts and reasons", divs, "verdicts", "reasons"), _reasons(result),
        _exposure(result, divs), _hit(result), _transitions(result), _events(result),
        _victims(result), _settings(result), _laws(result),
    ]  # fmt: skip
    names = ", ".join(Path(str(row["path"])).name for row in result.data.get("inputs", ()))
    start, end = facts.span(result)
    data = {"end": (end - start) / 1e9, "charts": len(made), "victims": _victim_columns(result)}
    return assemble(
        title=names or "capture",
        subtitle=f"{result.data['personality']} · {units.clock(start)} UTC · "
        f"{units.nanoseconds(end - start)} of capture · fwcore {result.data['fwcore']}",
        banner=_banner(result),
        body="\n".join(part for part in sections if part),
        footer=f"Outcome <code>{_text(result.data['outcome'])}</code>",
        data=data,
        chart_script=chart_script,
    )


def assemble(
    *, title: str, subtitle: str, banner: str, body: str, footer: str, data: Any, chart_script: str
) -> str:
    """The skeleton filled in; `title` and `subtitle` are text, the rest is HTML already."""
    folder = resources.files("fwcore.report")
    return PAGE.format(
        policy=POLICY, title=_text(title), subtitle=_text(subtitle), banner=banner, body=body,
        footer=footer, data=script_json(data), chart_script=chart_script,
        style=(folder / "page.css").read_text(), script=(folder / "page.js").read_text(),
        library=charts.script() if chart_script else "",
    )  # fmt: skip


def script_json(data: Any) -> str:
    """JSON that may stand within a script element, whatever strings it holds."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _text(value: Any) -> str:
    return html.escape(str(value))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[int] = ()) -> str:
    """A scrolling table; columns listed in `numbers` stand to the right.

    A cell is text; a (text, class) pair gets that class; a row may end in a dict of attributes.
    """
    made = []
    for row in rows:
        cells, attributes = list(row), ""
        if cells and isinstance(cells[-1], dict):
            attributes = "".join(f' {key}="{_text(value)}"' for key, value in cells.pop().items())
        tds = []
        for at, cell in enumerate(cells):
            text, kind = cell if isinstance(cell, tuple) else (cell, "")
            kind = " ".join(filter(None, (kind, "n" if at in numbers else "")))
            tds.append(
                f"<td{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{_text(text)}</td>"
            )
        made.append(f"<tr{attributes}>{''.join(tds)}</tr>")
    top = "".join(
        f'<th class="n">{_text(name)}</th>' if at in numbers else f"<th>{_text(name)}</th>"
        for at, name in enumerate(head)
    )
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(made)}</tbody></table></div>"
    )


def section(title: str, *parts: str, identifier: str = "") -> str:
    """A card with a title; nothing when all parts are empty."""
    inner = "\n".join(part for part in parts if part)
    name = f' id="{identifier}"' if identifier else ""
    return f"<section{name}><h2>{_text(title)}</h2>\n{inner}</section>" if inner else ""


def note(text: str) -> str:
    """A quiet line under a title."""
    return f'<p class="note">{_text(text)}</p>'


def _more(shown: int, whole: int) -> str:
    return note(f"the first {shown} of {units.count(whole)}; the JSON has all") * (whole > shown)


# -- parts --------------------------------------------------------------------------------------


def _banner(result: Result) -> str:
    mode = facts.mode_at_end(result)
    if mode == "off":
        return ""
    memory = result.data["memory"]
    used = units.share(memory["now"]["used"], memory["total_pages"])
    return (
        f'<div id="banner" class="{mode}" role="alert">{_text(banner(result))}'
        f"<small>Conserve mode is {mode} at the end of this run: {used} of memory in use"
        "</small></div>"
    )


def _tiles(result: Result) -> str:
    data = result.data
    verdicts, packets = data["verdicts"], data["packets"]
    peak = units.share(data["memory"]["peak"]["used"], data["memory"]["total_pages"])
    tiles = [
        (units.short(packets), "packets", ""),
        (units.share(verdicts["drop"], packets), "dropped", "bad" if verdicts["drop"] else ""),
        (units.share(verdicts["bypass"], packets), "passed unscanned",
         "warn" if verdicts["bypass"] else ""),
        (units.short(data["sessions"]["peak"]), "sessions at the peak", ""),
        (units.short(data["memory_tension"]), "taken by memory tension",
         "bad" if data["memory_tension"] else ""),
        (peak, "of memory at the peak", ""),
        (units.short(data["speed"]["packets_per_s"]), "packets per second", ""),
    ]  # fmt: skip
    inner = "".join(
        f'<div class="tile"><b class="{tone}">{_text(value)}</b><span>{name}</span></div>'
        for value, name, tone in tiles
    )
    return f'<div class="tiles">{inner}</div>'


def _memory(divs: dict[str, str]) -> str:
    if "memory" not in divs:
        return ""
    return section(
        "Memory",
        note("Drag to zoom all charts; click a name to hide it. Bands: conserve mode, extreme."),
        f'<div class="chart">{divs["memory"]}</div>',
        '<div class="tools"><button id="whole" type="button">Whole capture</button></div>',
    )


def _chart(title: str, divs: dict[str, str], *names: str) -> str:
    return section(
        title, *(f'<div class="chart">{divs[name]}</div>' for name in names if name in divs)
    )


def _reasons(result: Result) -> str:
    packets = result.data["packets"]
    rows = [
        (name, units.count(number), units.share(number, packets))
        for name, number in facts.top_reasons(result, 29, unusual=False)
    ]
    verdicts = [
        (name, units.count(number), units.share(number, packets))
        for name, number in result.data["verdicts"].items()
    ]
    head = ("packets", "share")
    return (
        '<div class="pair">'
        + section("Every verdict", table(("verdict", *head), verdicts, (1, 2)))
        + section("Every reason", table(("reason", *head), rows, (1, 2)))
        + "</div>"
    )


def _exposure(result: Result, divs: dict[str, str]) -> str:
    exposure = result.data["exposure"]
    if not exposure["packets"]:
        return ""
    rows = [
        (
            cause,
            units.count(row["sessions"]),
            units.count(row["packets"]),
            units.size(row["bytes"]),
        )
        for cause, row in exposure["by_cause"].items()
        if row["packets"]
    ]
    return section(
        "Exposure",
        note("Passed without an inspection that its policy asks for."),
        f'<div class="chart">{divs["exposure"]}</div>' if "exposure" in divs else "",
        table(("cause", "sessions", "packets", "bytes"), rows, (1, 2, 3)),
    )


def _hit(result: Result) -> str:
    made = []
    for kind, title in (("hosts", "Hosts hit"), ("policies", "Policies hit")):
        names, found = facts.hit(result, kind)
        rows = []
        for name, *values in found:
            cells: list[Any] = [name]
            for column, value in zip(names, values, strict=True):
                shown = units.size(value) if column == "bytes" else units.count(value)
                tone = facts.HARMS.get(column, "") if value else "dim"
                cells.append((shown, tone))
            rows.append(cells)
        if rows:
            numbers = tuple(range(1, len(names) + 1))
            head = ("host" if kind == "hosts" else "policy", *names)
            made.append(section(title, table(head, rows, numbers), note(facts.unnamed(result))
                                if kind == "hosts" and facts.unnamed(result) else ""))
    return f'<div class="pair">{"".join(made)}</div>' if made else ""


def _transitions(result: Result) -> str:
    found = result.data["conserve"]["transitions"]
    start, _ = facts.span(result)
    total = result.data["memory"]["total_pages"]
    rows = [
        (units.count(row["packet"]), units.since(row["time_ns"], start), row["machine"],
         (f"{row['from']} → {row['to']}", facts.MODE_TONES.get(row["to"], "warn")), row["cause"],
         units.share(row["used_pages"], total), units.pages_size(row["freeable_pages"]),
         units.pages_size(row["free_pages"]), {"data-second": (row["time_ns"] - start) / 1e9})
        for row in found[:MAX_ROWS]
    ]  # fmt: skip
    if not rows:
        return ""
    head = ("packet", "time", "machine", "mode", "cause", "used", "freeable", "free")
    times = ", ".join(
        f"{mode} {units.seconds(value)}"
        for mode, value in result.data["conserve"]["seconds"].items()
    )
    return section(
        "Conserve mode", note(f"{times}. Click a row to look closer."),
        table(head, rows, (0, 1, 5, 6, 7)), _more(MAX_ROWS, len(found)), identifier="transitions",
    )  # fmt: skip


def _events(result: Result) -> str:
    found = result.data.get("events", [])
    start, _ = facts.span(result)
    rows = [
        (units.count(row["packet"]), units.since(row["time_ns"], start), row["kind"],
         (row.get("text", ""), "code"), {"data-second": (row["time_ns"] - start) / 1e9})
        for row in found[:MAX_ROWS]
    ]  # fmt: skip
    if not rows:
        return ""
    return section(
        "Events, in the device's words",
        table(("packet", "time", "event", "text"), rows, (0, 1)),
        _more(MAX_ROWS, len(found)),
    )


def _victim_columns(result: Result) -> dict[str, Any]:
    """Victims as columns; words that repeat are numbers into a list of words."""
    found = result.data.get("victims", [])
    rows = found[:MAX_VICTIMS]
    columns: dict[str, Any] = {
        "all": len(found) + result.data.get("victims_forgotten", 0),
        "packet": [row["packet"] for row in rows],
        "created": [row["created_packet"] for row in rows],
        "key": [row["key"] for row in rows],
        "age": [row["age_ns"] // 10**6 for row in rows],
        "idle": [row["idle_ns"] // 10**6 for row in rows],
        "bytes": [row["bytes"] for row in rows],
        "policy": [row["policy"] for row in rows],
    }
    for name in ("cause", "state", "inspection"):
        words = sorted({str(row[name]) for row in rows})
        number = {word: at for at, word in enumerate(words)}
        columns[f"{name}s"] = words
        columns[name] = [number[str(row[name])] for row in rows]
    return columns


def _victims(result: Result) -> str:
    found = result.data.get("victims", [])
    if not found:
        return ""
    forgotten = result.data.get("victims_forgotten", 0)
    head = ("ended at packet", "created at", "session", "cause", "age s", "idle s", "bytes",
            "state", "policy", "inspection")  # fmt: skip
    search = (
        '<div class="tools"><input id="search" type="search" '
        'placeholder="address, port, state, policy 3">'
        '<select id="cause"><option value="">every cause</option></select>'
        '<span id="found" class="dim"></span></div>'
    )
    body = table(head, (), (0, 1, 4, 5, 6, 8)).replace("<tbody>", '<tbody id="victims">')
    return section(
        "Victims",
        note(f"The last {units.count(len(found))} of {units.count(len(found) + forgotten)}; the"
             f" ledger forgot {units.count(forgotten)} earlier ones (victims_max). Counts elsewhere"
             " on this page are of all.") if forgotten else "",
        search, body, _more(MAX_VICTIMS, len(found)),
    )  # fmt: skip


def _settings(result: Result) -> str:
    rows = [
        (
            name,
            (_value(row.get("value")), "code"),
            row.get("from", ""),
            (row.get("mark", "") or "", "dim"),
        )
        for name, row in sorted(result.data.get("settings", {}).items())
    ]
    return section("Settings", table(("name", "value", "from", "source"), rows)) if rows else ""


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _laws(result: Result) -> str:
    rows = [
        (name, ("holds", "good") if holds else ("broken", "bad"))
        for name, holds in result.data["laws"].items()
    ]
    inputs = [
        (row["path"], row["format"], row["reader"], units.count(row["packets"]),
         (str(row["fault"] or "none"), "bad" if row["fault"] else "dim"))
        for row in result.data["inputs"]
    ]  # fmt: skip
    captures = table(("path", "format", "reader", "packets", "fault"), inputs, (3,))
    return (
        '<div class="pair">'
        + section("Laws", table(("law", ""), rows))
        + section("Captures", captures)
        + "</div>"
    )
