"""A replay as one page.

What could grow with the capture is bounded here: samples, bands and the rows of tables; the JSON
result has the rest.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fwcore import units
from fwcore.escape import visible_tree
from fwcore.report import answer, charts, facts, over_time, page, searchable, shaping
from fwcore.report.page import escaped, more, note, section, table
from fwcore.report.text import banner
from fwcore.result import Result
from fwcore.settings import MARKS

MAX_ROWS = 1000  # of transitions and events; beyond that a table helps nobody
MAX_VICTIMS = 20_000


def write(result: Result, path: str | Path) -> int:
    """Writes the page; returns its size in bytes."""
    return page.write(render(result), path)


def render(result: Result) -> str:
    """The page of one result."""
    result = Result(visible_tree(result.data))     # its texts may come from anywhere
    made = charts.make(result)
    chart_script, divs = charts.embed(made) if made else ("", {})
    victims = _victims(result)
    sections = [
        page.told([*answer.sentences(result), facts.short_frames(result),
                   facts.pressure_late(result), facts.silence(result)]), _tiles(result),
        _memory(result, divs), _chart("Sessions", divs, "sessions", "setups"),
        _chart("Verdicts and reasons", divs, "verdicts", "reasons"), _reasons(result),
        _exposure(result, divs), _shaping(result, divs), _hit(result), _transitions(result),
        _events(result),
        _victim_section(result, victims), _settings(result), _laws(result),
    ]  # fmt: skip
    names = ", ".join(Path(str(row["path"])).name for row in result.data.get("inputs", ()))
    start, end = facts.span(result)
    data = {"end": (end - start) / 1e9, "charts": len(made),
            "tables": [victims.data()] if victims else []}
    return page.assemble(
        title=names or "capture",
        subtitle=f"{result.data['personality']} · {units.clock(start)} UTC · "
        f"{units.nanoseconds(end - start)} of capture · fwcore {result.data['fwcore']}"
        + (f" · {facts.about(result)}" if facts.about(result) else ""),
        banner=_banner(result),
        body="\n".join(part for part in sections if part),
        footer=f"Outcome <code>{escaped(result.data['outcome'])}</code>",
        data=data,
        chart_script=chart_script,
    )


# -- parts --------------------------------------------------------------------------------------


def _banner(result: Result) -> str:
    mode = facts.mode_at_end(result)
    if mode == "off":
        return ""
    memory = result.data["memory"]
    used = units.share(memory["now"]["used"], memory["total_pages"])
    return (
        f'<div id="banner" class="{mode}" role="alert">{escaped(banner(result))}'
        f"<small>Conserve mode is {mode} at the end of this run: {used} of memory in use"
        "</small></div>"
    )


def _tiles(result: Result) -> str:
    """Figures of what happened; those of what did not are left out."""
    data = result.data
    packets, verdicts, sessions = data["packets"], data["verdicts"], data["sessions"]
    taken, refused = answer.taken(result), answer.refused(result)
    spent = sum(value for mode, value in data["conserve"]["seconds"].items() if mode != "off")
    peak = units.share(data["memory"]["peak"]["used"], data["memory"]["total_pages"])
    tiles = [
        (units.short(packets), "packets", "", True),
        (units.share(verdicts["drop"], packets), "dropped", "bad" * bool(verdicts["drop"]), True),
        (units.short(refused), "packets refused for want of memory or room", "bad", refused),
        (units.share(verdicts["bypass"], packets), "passed unscanned", "warn", verdicts["bypass"]),
        (units.short(sessions["peak"]),
         f"sessions at the peak, of {units.short(data['table']['max_connections'])}", "", True),
        (units.short(taken), "sessions taken", "bad", taken),
        (units.short(data.get("taken", {}).get("established", 0)), "of these established",
         "bad" if data.get("taken", {}).get("established") else "good", taken),
        (units.seconds(spent), "in conserve mode", "warn", spent),
        (peak, "of memory at the peak", "", True),
    ]  # fmt: skip
    inner = "".join(
        f'<div class="tile"><b class="{tone}">{escaped(value)}</b>'
        f"<span>{escaped(name)}</span></div>"
        for value, name, tone, shown in tiles if shown
    )
    return f'<div class="tiles">{inner}</div>'


def _memory(result: Result, divs: dict[str, str]) -> str:
    if "memory" not in divs:
        return ""
    return section(
        "Memory",
        note("Drag to zoom all charts; click a name to hide it. Bands: conserve mode, extreme."
             + "".join(f" Of used and freeable pages, {said}." for said in facts.on_cache(result))),
        f'<div class="chart">{divs["memory"]}</div>',
        f'<div class="chart">{divs["others"]}</div>' if "others" in divs else "",
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
        for name, number in facts.top_reasons(result, None, unusual=False)
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
        for cause, row in (*exposure["by_cause"].items(),
                           ("of these after the mode", exposure.get("after", {"packets": 0})))
        if row["packets"]
    ]
    return section(
        "Exposure",
        note("Passed without an inspection that its policy asks for."),
        f'<div class="chart">{divs["exposure"]}</div>' if "exposure" in divs else "",
        table(("cause", "sessions", "packets", "bytes"), rows, (1, 2, 3)),
    )


def _shaping(result: Result, divs: dict[str, str]) -> str:
    found = shaping.section(result)
    if found is None:
        return ""
    tables = [
        (shaping.LINK_HEAD, shaping.link_rows(found, result.data["duration_ns"])),
        (shaping.CLASS_HEAD, shaping.class_rows(found)),
        (shaping.METER_HEAD, shaping.meter_rows(found)),
    ]
    made = [table(head, rows[:MAX_ROWS], tuple(range(1, len(head)))) + more(MAX_ROWS, len(rows))
            for head, rows in tables if rows]
    return section("Shaping", note(shaping.open_loop(result)), *map(
        note, shaping.remarks(found)), *_links_over_time(result, divs), *made)


def _links_over_time(result: Result, divs: dict[str, str]) -> list[str]:
    """Of each of the busiest links what waited, how full its line was, how long packets took."""
    shown = over_time.shown(result) if divs else None
    if shown is None:
        return []
    made = []
    for at, line in enumerate(shown.links[:charts.LINKS_DRAWN]):
        made.append(f"<h3>{escaped(line.name)}</h3>")
        made += [f'<div class="chart">{divs[name]}</div>'
                 for name in (f"queue{at}", f"line{at}", f"delay{at}") if name in divs]
    if "meters" in divs:
        made += ["<h3>Meters</h3>", f'<div class="chart">{divs["meters"]}</div>']
    drawn = min(len(shown.links), charts.LINKS_DRAWN)
    others = len(shown.links) - drawn + shown.left_out["links"]
    if others:
        made.append(note(f"the busiest {drawn} of {drawn + others} links; the tables have all"))
    return made


def _hit(result: Result) -> str:
    made = []
    for kind, title in (("hosts", "Hosts hit"), ("policies", "Policies hit")):
        names, found = facts.hit_cells(result, kind)
        tones = [facts.HARMS.get(name, "") for name in names]
        parts = facts.hit_parts(result, kind)
        rows = [[name, *((cell, tone if cell != "0" else "dim")
                         for cell, tone in zip(cells, tones, strict=True)),
                 ("", f"bar {part.tone}", f"--part:{100 * part.share:.0f}%")]
                for (name, *cells), part in zip(found, parts, strict=True)]
        if rows:
            numbers = tuple(range(1, len(names) + 1))
            head = ("host" if kind == "hosts" else "policy", *names, parts[0].of)
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
        table(head, rows, (0, 1, 5, 6, 7)), more(MAX_ROWS, len(found)), identifier="transitions",
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
        more(MAX_ROWS, len(found)),
    )


def _victims(result: Result) -> searchable.Table | None:
    """Sessions taken, as a table to search and sort."""
    found = result.data.get("victims", [])
    rows = found[:MAX_VICTIMS]
    if not rows:
        return None
    policies = [facts.policy_text(result, row["policy"]) for row in rows]
    columns = [
        searchable.Column("ended at packet", "count", [row["packet"] for row in rows]),
        searchable.Column("created at", "count", [row["created_packet"] for row in rows]),
        searchable.Column("session", "code", [row["key"] for row in rows]),
        searchable.words("cause", [str(row["cause"]) for row in rows],
                         dict.fromkeys({str(row["cause"]) for row in rows}, "bad")),
        searchable.Column("age s", "seconds", [row["age_ns"] // 10**6 for row in rows]),
        searchable.Column("idle s", "seconds", [row["idle_ns"] // 10**6 for row in rows]),
        searchable.Column("bytes", "bytes", [row["bytes"] for row in rows]),
        searchable.words("state", [str(row["state"]) for row in rows]),
        searchable.words("policy", policies),
        searchable.words("inspection", [str(row["inspection"]) for row in rows]),
    ]
    every = len(found) + result.data.get("victims_forgotten", 0)
    return searchable.Table("victims", columns, every, "sessions taken",
                            "address, port, state, policy 3", "cause")


def _victim_section(result: Result, victims: searchable.Table | None) -> str:
    if victims is None:
        return ""
    forgotten = result.data.get("victims_forgotten", 0)
    kept = len(result.data["victims"])
    return victims.section(
        "Victims",
        note(f"The last {units.count(kept)} of {units.count(kept + forgotten)}; the"
             f" ledger forgot {units.count(forgotten)} earlier ones (victims_max). Counts elsewhere"
             " on this page are of all.") if forgotten else "",
        more(MAX_VICTIMS, kept))


def _settings(result: Result) -> str:
    rows = [
        (
            name,
            (_value(row.get("value")), "code"),
            row.get("from", ""),
            (row.get("mark", "") or "", "dim"),
            (row.get("why", "") or "", "dim"),
        )
        for name, row in sorted(result.data.get("settings", {}).items())
    ]
    legend = "; ".join(f"{mark}: {meaning}" for mark, meaning in MARKS.items())
    return section("Settings", note(f"Source: {legend}."),
                   table(("name", "value", "from", "source", "why"), rows)) if rows else ""


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
