"""What traffic demands, to read: rates, depths, drops, whom they hit, and the line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fwcore import units
from fwcore.demand import rate_text
from fwcore.report import text

KEYS = {
    "all": "one bucket for all", "policy": "a bucket for each policy",
    "host": "a bucket for each source address", "flow": "a bucket for each way of a flow",
    "dscp": "a bucket for each mark",
}  # fmt: skip
OPEN_LOOP = (
    "Open loop: exact is what this would have done to these packets. Captured TCP was sent by ends"
    " that saw another network; it would slow down after a drop, so that its goodput is not told."
)
PER_TABLE = 5     # depths side by side in 80 columns
SHOWN_KEYS = 10


def tcp_word(row: Mapping[str, Any]) -> str:
    """What a rate means for TCP: the smallest depth given at which it loses nothing."""
    cells = sorted(row["dropped"], key=lambda cell: cell["depth_bytes"])
    if not cells:
        return ""
    spared = [cell["depth"] for at, cell in enumerate(cells)
              if not any(later["tcp_packets"] for later in cells[at:])]
    return f"whole from {spared[0]}" if spared else "loses at each"


def render_text(made: Mapping[str, Any], style: text.Style) -> str:
    """The whole answer at 80 columns."""
    blocks = ["\n".join(_head(made, style))]
    depths = [cell["depth"] for cell in made["rates"][0]["dropped"]]
    blocks.append("\n".join(_bucket(made, style)))
    for begin in range(0, len(depths), PER_TABLE):
        part = slice(begin, begin + PER_TABLE)
        blocks.append("\n".join(_cells(made, style, "dropped", part, _share_of(made))))
    for begin in range(0, len(depths), PER_TABLE):
        part = slice(begin, begin + PER_TABLE)
        blocks.append("\n".join(_cells(made, style, "flows hit", part, _flows)))
    for rows in (_top(made, style), _line(made, style), _caveat(style)):
        made_rows = "\n".join(rows)
        if made_rows:
            blocks.append(made_rows)
    return "\n\n".join(blocks) + "\n"


def tcp_share(made: Mapping[str, Any]) -> str:
    """TCP's share of the bytes."""
    return f"TCP {units.share(made['tcp_bytes'], made['bytes'])} of the bytes"


def figures(made: Mapping[str, Any]) -> list[str]:
    """What came in, and what meets no bucket."""
    found = [
        units.plural(made["packets"], "packet"), f"{units.count(made['bytes'])} bytes"
        f" ({made['count']})", units.nanoseconds(made["duration_ns"]), tcp_share(made),
    ]  # fmt: skip
    if made["by"] != "all":
        found.append(units.plural(made["keys"], "bucket"))
    if made["time_reversed"]:
        found.append(f"{units.count(made['time_reversed'])} back in time")
    found += [f"left out: {name} {units.count(part)}" for name, part in made["left_out"].items()]
    lost = made["forgotten"]
    if lost["packets"]:
        found.append(f"no place for the keys of {units.count(lost['packets'])} packets,"
                     f" {units.count(lost['bytes'])} bytes: see --keys-max")
    if made["flowless"]:
        found.append(f"{units.count(made['flowless'])} dropped ones count for no flow")
    return found


def _head(made: Mapping[str, Any], style: text.Style) -> Iterator[str]:
    yield style.paint("fwcore demand", "strong") + style.dot + KEYS[made["by"]]
    yield from text.section("in", text.wrap(figures(made), style), style)


def _bucket(made: Mapping[str, Any], style: text.Style) -> Iterator[str]:
    rows = [["rate", "smallest depth", "of the rate", "TCP"]]
    rows += [
        [rate_text(row["rate"]), f"{units.count(row['depth_bytes'])} B",
         units.nanoseconds(row["depth_ns"]), tcp_word(row)]
        for row in made["rates"]
    ]  # fmt: skip
    yield from text.section("no drop", text.columns(rows, [""] * 4, style), style)


def _share_of(made: Mapping[str, Any]) -> Any:
    return lambda cell: units.share(cell["bytes"], made["bytes"]) if cell["packets"] else "-"


def _flows(cell: Mapping[str, Any]) -> str:
    return units.count(cell["flows"]) if cell["packets"] else "-"


def _cells(made: Mapping[str, Any], style: text.Style, title: str, part: slice,
           say: Any) -> Iterator[str]:
    head = "bytes, rate" if title == "dropped" else "rate"
    rows = [[head, *(cell["depth"] for cell in made["rates"][0]["dropped"][part])]]
    rows += [[rate_text(row["rate"]), *map(say, row["dropped"][part])] for row in made["rates"]
             if any(cell["packets"] for cell in row["dropped"][part])]
    table = text.columns(rows, [""] * len(rows[0]), style) if len(rows) > 1 else ["nothing"]
    yield from text.section(title, table, style)


def _top(made: Mapping[str, Any], style: text.Style) -> Iterator[str]:
    if not made["top"]:
        return
    middle = len(made["rates"]) // 2
    head = f"depth at {rate_text(made['rates'][middle]['rate'])}"
    rows = [["key", "packets", "bytes", head]]
    rows += [
        [_fitted(row["key"]), units.count(row["packets"]), units.count(row["bytes"]),
         f"{units.count(row['depth_bytes'][middle])} B"]
        for row in made["top"][:SHOWN_KEYS]
    ]  # fmt: skip
    yield from text.section("most", text.columns(rows, [""] * 4, style), style)


def _fitted(key: str, room: int = 28) -> str:
    return key if len(key) <= room else key[: room - 3] + "..."


def line_words(made: Mapping[str, Any]) -> str:
    """The line's answer as a sentence; nothing where none was searched."""
    found = made["line"]
    if not found:
        return "standard input is read once: no line's rate was searched"
    delay = units.nanoseconds(found["delay_ns"])
    if not found["packets"]:
        return "no packet meets a line"
    if found["rate"] is None:
        return f"no line up to 10 Tbit/s keeps p99 within {delay}"
    least = "or less " if found["at_least"] else ""
    passes = units.plural(found["passes"], "pass", "passes")
    return (f"{units.count(found['rate'])} bit/s {least}keeps p99 within {delay}, line time"
            f" included (frames, FIFO, no limit; to 1 %, {passes})")


def _line(made: Mapping[str, Any], style: text.Style) -> Iterator[str]:
    yield from text.section("line", text.fold(line_words(made)), style)


def _caveat(style: text.Style) -> Iterator[str]:
    yield from text.section("note", text.fold(OPEN_LOOP), style)


# -- as a page ----------------------------------------------------------------------------------


def render_html(made: Mapping[str, Any]) -> str:
    """The answer as a page: both curves and every figure."""
    from fwcore.report import charts, page

    script, divs = charts.embed(charts.demand(made["rates"], made["bytes"]))
    chart = {name: f'<div class="chart">{div}</div>' for name, div in divs.items()}
    names = ", ".join(str(row["path"]) for row in made["inputs"])
    body = [
        page.section("The smallest bucket without a drop", page.note(OPEN_LOOP),
                     chart["depth"], _depths_html(made)),
        page.section("What usual buckets drop", page.note(tcp_share(made)),
                     chart.get("dropped", ""), _dropped_html(made)),
        page.section("Keys with most bytes", _top_html(made)),
        page.section("The slowest line", page.note(line_words(made))),
    ]  # fmt: skip
    return page.assemble(
        title=f"What {names or 'the traffic'} demands",
        subtitle=" · ".join([KEYS[made["by"]], *figures(made)]), banner="",
        body="\n".join(part for part in body if part), footer="", chart_script=script,
        data={"end": 1, "charts": len(divs), "tables": []},
    )  # fmt: skip


def _depths_html(made: Mapping[str, Any]) -> str:
    from fwcore.report import page

    rows = [[rate_text(row["rate"]), units.count(row["depth_bytes"]),
             f"{row['depth_ns'] / 1e6:.3f}", tcp_word(row)] for row in made["rates"]]
    return page.table(["rate, bit/s", "bytes", "ms of the rate", "TCP"], rows, (0, 1, 2))


def _dropped_html(made: Mapping[str, Any]) -> str:
    from fwcore.report import page

    rows = [[rate_text(row["rate"]), cell["depth"], units.count(cell["depth_bytes"]),
             units.share(cell["packets"], made["packets"]),
             units.share(cell["bytes"], made["bytes"]),
             units.share(cell["tcp_bytes"], made["tcp_bytes"]), units.count(cell["flows"]),
             units.count(cell["keys"])]
            for row in made["rates"] for cell in row["dropped"] if cell["packets"]]
    head = ["rate, bit/s", "depth", "bytes", "packets dropped", "bytes dropped",
            "of TCP's bytes", "flows hit", "keys hit"]
    return page.table(head, rows, range(2, 8)) if rows else page.note("Nothing.")


def _top_html(made: Mapping[str, Any]) -> str:
    from fwcore.report import page

    if not made["top"]:
        return ""
    rates: Sequence[str] = [rate_text(row["rate"]) for row in made["rates"]]
    rows = [[row["key"], units.count(row["packets"]), units.count(row["bytes"]),
             *map(units.count, row["depth_bytes"])] for row in made["top"]]
    return page.note("Smallest depth without a drop, in bytes, by rate.") + page.table(
        ["key", "packets", "bytes", *rates], rows, range(1, len(rates) + 3))
