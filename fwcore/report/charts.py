"""The charts of a page, made with Bokeh, whose own script (1.3 MB) goes into the page.

Every chart of a page shares one time axis: zooming one zooms all. Colours are Bokeh's business
only where they carry meaning; text, grid and background follow the page's theme (page.js).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fwcore.demand import rate_text
from fwcore.errors import MissingExtra
from fwcore.report import facts, over_time
from fwcore.result import Result
from fwcore.words import MODES

try:
    from bokeh.core.validation import silence
    from bokeh.core.validation.warnings import MISSING_RENDERERS
    from bokeh.embed import components
    from bokeh.models import (
        BasicTickFormatter,
        ColumnDataSource,
        FixedTicker,
        HoverTool,
        Label,
        Legend,
        NumeralTickFormatter,
        Range1d,
        Span,
    )
    from bokeh.plotting import figure
    from bokeh.resources import INLINE
except ImportError:
    raise MissingExtra("the page needs bokeh: pip install 'fwcore[report]'") from None

silence(MISSING_RENDERERS)  # nothing came: its charts are empty, and nobody need be told

SAMPLES = 1500  # rows of the timeline that a page holds; more than a screen has columns
BINS = 300  # equal stretches of time for figures per second
MAX_BANDS = 2000
LINKS_DRAWN, CLASSES_DRAWN = 3, 8
AGAINST = {"queue": ("KiB waiting", 1024), "delay": ("ms, longest delay", 1e6),
           "drops": ("packets dropped/s", 1)}
WHOLE_COLOUR = "#64748b"  # of all classes of a link together
LABELLED_BANDS = 12  # with more than these, names over the bands would cover one another
CLOSE = 0.045  # of RAM: nearer thresholds have their names side by side
SMALL = 8  # of RAM: what stays below this part vanishes beside base
NARROW = 20  # a band below this part of the capture has no name over it
LONG_S = 300  # a longer capture's axis reads in hours, minutes and seconds
MIB_PAGES = 256
FONT = "system-ui, sans-serif"
COLOURS = {
    **facts.OWNER_COLOURS,
    "forward": "#22a06b", "inspect": "#2f9fd0", "bypass": "#e0a106", "drop": "#d64545",
    "good": "#22a06b", "bad": "#d64545", "extreme": "#c026d3", "on": "#e0a106",
    "created": "#22a06b", "ended": "#64748b", "tension": "#d64545", "evicted": "#e07a2f",
}  # fmt: skip
SERIES_COLOURS = (
    "#d64545", "#e0a106", "#3b82f6", "#8b5cf6", "#22a06b", "#e07a2f", "#2f9fd0", "#c026d3",
)  # fmt: skip
# One colour for one reason in every page: what passes is green and blue, what passes unscanned
# amber to brown, what is lost red to violet.
REASON_COLOURS = {
    "new": "#22a06b", "hit": "#3b9a6d", "related": "#5fb48c", "fragment": "#6bb894",
    "tcp_invalid": "#2f9fd0", "non_ip": "#64748b", "unsupported_link": "#7b8798",
    "truncated": "#8d99a8", "fragment_orphan": "#4f83cc", "bypass_conserve": "#e0a106",
    "bypass_kernel": "#c98a00", "bypass_one_shot": "#cb9f35", "bypass_proxy_table": "#b7791f",
    "bypass_ips": "#a16207", "bypass_oversize": "#c9a227", "bypass_no_memory": "#8a5a00",
    "malformed": "#be123c", "icmp_orphan": "#be5a7c", "no_session": "#e07a2f",
    "denied": "#8b5cf6", "conserve_block": "#d64545", "extreme": "#c026d3",
    "ips_block": "#3b82f6", "half_open_limit": "#b45309", "host_limit": "#c2410c",
    "proxy_table_full": "#db2777", "table_full": "#e11d48", "no_memory": "#b91c1c",
    "killed": "#ec4899", "over_limit": "#f43f5e", "queue_full": "#a21caf",
    "bypass_inspector": "#9a6b12", "inspector_block": "#d9467a",
}  # fmt: skip


def script() -> str:
    """Bokeh's own script, minified: the part without widgets and tables."""
    resources = INLINE.clone()
    resources.components = ["bokeh"]
    return "\n".join(resources.js_raw)


def embed(charts: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """(one script element, name -> div) for charts that share a document."""
    made, divs = components(dict(charts))
    return made, divs


def make(result: Result, *, x_range: Any = None, prefix: str = "") -> dict[str, Any]:
    """The charts of one result by name; empty without a timeline."""
    columns = facts.timeline(result, SAMPLES)
    if not columns:
        return {}
    x_range = x_range or time_range(columns)
    ends, rates = facts.rebin(columns, _rate_names(columns), BINS)
    columns = facts.steps(columns)
    charts = {
        "memory": memory(result, columns, x_range),
        **_beside_base(result, columns, x_range),
        "sessions": _live(columns, x_range, result.data["table"]["max_connections"]),
        "setups": _lines(
            "setups", ends, rates, ("created", "ended", "tension", "evicted"), x_range, "sessions/s"
        ),
        "verdicts": _stack("verdicts", ends, rates, "verdict_", facts.VERDICTS, x_range),
    }
    reasons = [name for name, _ in facts.top_reasons(result, 8)]
    if reasons:
        charts["reasons"] = _lines(
            "reasons", ends, rates, [f"reason_{name}" for name in reasons], x_range, "packets/s"
        )
    if columns.get("exposed_packets", np.zeros(1))[-1]:
        charts["exposure"] = _exposure(columns, x_range)
    charts |= shaping(result, x_range)
    for name, chart in charts.items():
        chart.name = f"{prefix}{name}"
    return charts


def time_range(columns: Mapping[str, np.ndarray]) -> Any:
    """The shared axis of time: seconds since the first packet."""
    end = float(columns["second"][-1]) or 1.0
    return Range1d(0.0, end, bounds=(0.0, end), name="time")


def _rate_names(columns: Mapping[str, np.ndarray]) -> list[str]:
    counted = ("created", "ended", "tension", "evicted")
    prefixed = [name for name in columns if name.startswith(("verdict_", "reason_"))]
    return [name for name in counted if name in columns] + prefixed


def _figure(name: str, x_range: Any, height: int, unit: str, **options: Any) -> Any:
    chart = figure(
        name=name, x_range=x_range, height=height, sizing_mode="stretch_width",
        tools="xpan,xbox_zoom,xwheel_zoom,reset,save", active_drag="xbox_zoom",
        active_scroll=None, toolbar_location="right", background_fill_color=None,
        border_fill_color=None, outline_line_color=None, **options,
    )  # fmt: skip
    chart.toolbar.logo = None
    chart.toolbar.autohide = True
    chart.yaxis.axis_label = unit
    chart.axis.axis_label_text_font_style = "normal"
    _counted(chart, 0)
    chart.yaxis.ticker.desired_num_ticks = 5
    chart.axis.axis_label_text_font = chart.axis.major_label_text_font = FONT
    chart.xgrid.grid_line_color = None
    chart.min_border_left = 80
    chart.axis.axis_line_color = None
    chart.axis.minor_tick_line_color = None
    if x_range.end > LONG_S:
        chart.xaxis.formatter = NumeralTickFormatter(format="00:00:00")
    else:
        chart.xaxis.formatter = BasicTickFormatter(use_scientific=False)
    return chart


def _counted(chart: Any, most: float) -> None:
    """How the axis writes its numbers: from a million on in full, for 'm' is no million; with more
    digits where two would make all of them 0."""
    form = "0,0" if most >= 1e6 else "0.[000000]" if 0 < most < 0.1 else "0.[00]a"
    chart.yaxis.formatter = NumeralTickFormatter(format=form)


def _legend(chart: Any, items: Sequence[tuple[str, list[Any]]]) -> None:
    legend = Legend(
        items=list(items), orientation="horizontal", click_policy="hide", border_line_color=None,
        background_fill_color=None, spacing=14, padding=0, margin=4, glyph_width=14,
        glyph_height=14, label_text_font_size="12px", label_text_font=FONT, ncols=8,
        location="top_left",
    )  # fmt: skip
    chart.add_layout(legend, "above")


def _hover(chart: Any, renderer: Any, rows: Sequence[tuple[str, str]]) -> None:
    chart.add_tools(
        HoverTool(
            renderers=[renderer], mode="vline", tooltips=list(rows), line_policy="nearest",
            point_policy="follow_mouse",
        )
    )  # fmt: skip


def memory(result: Result, columns: Mapping[str, np.ndarray], x_range: Any) -> Any:
    """Pages by owner over time, thresholds as lines, modes as bands."""
    total = result.data["memory"]["total_pages"] / MIB_PAGES
    chart = _figure("memory", x_range, 380, "MiB", y_range=Range1d(0, total * 1.08))
    chart.yaxis.formatter = NumeralTickFormatter(format="0,0.[00]")
    unit = "hours, minutes and seconds" if x_range.end > LONG_S else "seconds"
    chart.xaxis.axis_label = f"{unit} since the first packet"
    _bands(chart, result, total * 1.08)
    stack, top = {}, np.zeros(len(columns["second"]))
    owners = facts.owners(columns)
    for owner in owners:
        stack[f"{owner}_low"] = top.astype(np.float32)
        top = top + columns[owner] / MIB_PAGES
        stack[f"{owner}_top"] = top.astype(np.float32)
        stack[owner] = (columns[owner] / MIB_PAGES).astype(np.float32)
    used = (columns["used"] / MIB_PAGES).astype(np.float32)
    mode = [MODES[at] for at in columns["mode"]]
    source = ColumnDataSource(
        {
            **stack,
            "used": used,
            "mode": mode,
            "second": columns["second"],
            "packet": columns["packet"],
        }
    )
    areas = [
        (owner, [chart.varea(
            "second", f"{owner}_low", f"{owner}_top", source=source, fill_color=COLOURS[owner],
            fill_alpha=0.55 if owner == "cache" else 1.0,
        )])
        for owner in owners
    ]  # fmt: skip
    edge = chart.line("second", "used", source=source, line_color="#4c8dff", line_width=1.6)
    _legend(chart, [*areas, ("used", [edge])])
    rows = [(owner, f"@{owner}{{0,0.0}} MiB") for owner in owners]
    _hover(chart, edge, [("time", "@second{0.000} s"), ("packet", "@packet{0,0}"),
                         ("mode", "@mode"), ("used", "@used{0,0.0} MiB"), *rows])  # fmt: skip
    _thresholds(chart, result)
    return chart


def _beside_base(
    result: Result, columns: Mapping[str, np.ndarray], x_range: Any
) -> dict[str, Any]:
    """The same without base, where it would hide the others: a panel of its own."""
    owners = facts.owners(columns)[1:]
    others = np.add.reduce([columns[owner] for owner in owners])
    if not 0 < others.max() * SMALL < result.data["memory"]["total_pages"]:
        return {}
    chart = _figure("others", x_range, 200, "MiB, without base")
    top, stack = np.zeros(len(others)), {}
    for owner in owners:
        stack[f"{owner}_low"] = top.astype(np.float32)
        top = top + columns[owner] / MIB_PAGES
        stack[f"{owner}_top"] = top.astype(np.float32)
        stack[owner] = (columns[owner] / MIB_PAGES).astype(np.float32)
    source = ColumnDataSource({**stack, "second": columns["second"], "top": top})
    areas = [(owner, [chart.varea("second", f"{owner}_low", f"{owner}_top", source=source,
                                  fill_color=COLOURS[owner])]) for owner in owners]
    edge = chart.line("second", "top", source=source, line_alpha=0.0)
    _legend(chart, areas)
    _counted(chart, float(top.max()))
    _hover(chart, edge, [("time", "@second{0.000} s"),
                         *((owner, f"@{owner}{{0,0.00}} MiB") for owner in owners)])
    return {"others": chart}


def _bands(chart: Any, result: Result, top: float) -> None:
    """Modes as bands over the whole height: one glyph, however many there are."""
    start, _ = facts.span(result)
    found = facts.bands(result)
    found = found[:: len(found) // MAX_BANDS + 1]
    source = ColumnDataSource({
        "left": [(band.start_ns - start) / 1e9 for band in found],
        "right": [(band.end_ns - start) / 1e9 for band in found],
        "colour": [COLOURS["extreme" if band.mode == "extreme" else "on"] for band in found],
        "name": [f" {band.mode}" if _wide(result, band) else "" for band in found],
    })  # fmt: skip
    chart.quad(
        "left", "right", top, 0, source=source, fill_color="colour", fill_alpha=0.22,
        line_color=None, name="bands", level="underlay",
    )  # fmt: skip
    edge = top / 1.06
    chart.quad("left", "right", top, edge, source=source, fill_color="colour", line_color=None)
    if len(found) <= LABELLED_BANDS:
        chart.text(
            "left", (top + edge) / 2, "name", source=source, text_color="#ffffff",
            text_font_size="11px", text_font_style="bold", text_font={"value": FONT},
            text_baseline="middle", name="band names",
        )  # fmt: skip


def _wide(result: Result, band: facts.Band) -> bool:
    """Whether a band is wide enough for its name."""
    start, end = facts.span(result)
    return (band.end_ns - band.start_ns) * NARROW > end - start


def _thresholds(chart: Any, result: Result) -> None:
    room = result.data["memory"]["total_pages"] / MIB_PAGES * CLOSE
    slot, below = 0, -room
    for line in facts.lines(result):
        level = line.pages / MIB_PAGES
        colour = COLOURS[line.tone]
        slot = (slot + 1) % 4 if level - below < room else 0  # beside one it would cover
        below = level
        chart.add_layout(
            Span(location=level, dimension="width", line_color=colour, line_dash="dashed",
                 line_width=1.4, level="overlay")
        )  # fmt: skip
        text = line.text + (" (used + freeable)" if line.on_cache else "")
        chart.add_layout(
            Label(x=6 + slot * 220, y=level, x_units="screen", text=text, text_color=colour,
                  y_offset=1, text_font_size="11px", text_font_style="bold", text_font=FONT,
                  background_fill_color="#ffffff", background_fill_alpha=0.85,  # base is dark
                  name="threshold", tags=[text, line.text])
        )  # fmt: skip


def _live(columns: Mapping[str, np.ndarray], x_range: Any, capacity: int) -> Any:
    """Sessions that stand; a line where the table is full, once half of it was used."""
    chart = _figure("sessions", x_range, 200, "sessions")
    _counted(chart, float(columns["live"].max()))
    source = ColumnDataSource({"second": columns["second"], "live": columns["live"]})
    chart.varea("second", 0, "live", source=source, fill_color=COLOURS["sessions"], fill_alpha=0.25)
    edge = chart.line("second", "live", source=source, line_color=COLOURS["sessions"], line_width=2)
    _legend(chart, [("live", [edge])])
    _hover(chart, edge, [("time", "@second{0.000} s"), ("live", "@live{0,0}")])
    if 2 * int(columns["live"].max()) >= capacity:
        chart.y_range = Range1d(0, capacity * 1.15)
        chart.add_layout(Span(location=capacity, dimension="width", line_color=COLOURS["drop"],
                              line_dash="dashed", line_width=1.4))
        chart.add_layout(Label(x=6, y=capacity, x_units="screen", y_offset=1,
                               text=f"full: {capacity:,} sessions".replace(",", " "),
                               text_color=COLOURS["drop"], text_font_size="11px",
                               text_font_style="bold", text_font=FONT, name="capacity"))
    return chart


def _lines(
    name: str, ends: np.ndarray, rates: Mapping[str, np.ndarray], names: Sequence[str],
    x_range: Any, unit: str,
) -> Any:  # fmt: skip
    chart = _figure(name, x_range, 220, unit)
    names = [series for series in names if series in rates and rates[series].any()]
    data = {series: rates[series].astype(np.float32) for series in names}
    _counted(chart, max((float(each.max(initial=0)) for each in data.values()), default=0))
    source = ColumnDataSource({"second": ends, **data})
    items, rows = [], [("time", "@second{0.000} s")]
    for at, series in enumerate(names):
        label = series.removeprefix("reason_")
        colour = COLOURS.get(series) or REASON_COLOURS.get(
            label, SERIES_COLOURS[at % len(SERIES_COLOURS)])
        edge = chart.line("second", series, source=source, line_color=colour, line_width=1.8)
        items.append((label, [edge]))
        rows.append((label, f"@{{{series}}}{{0,0.[0]}}"))
    _legend(chart, items)
    if items:
        _hover(chart, items[0][1][0], rows)
    return chart


def _stack(
    name: str, ends: np.ndarray, rates: Mapping[str, np.ndarray], prefix: str,
    parts: Sequence[str], x_range: Any,
) -> Any:  # fmt: skip
    chart = _figure(name, x_range, 220, "packets/s")
    data: dict[str, np.ndarray] = {"second": ends}
    top = np.zeros(len(ends))
    for part in parts:
        data[f"{part}_low"] = top.astype(np.float32)
        top = top + rates.get(prefix + part, 0)
        data[f"{part}_top"] = top.astype(np.float32)
        data[part] = rates.get(prefix + part, np.zeros(len(ends))).astype(np.float32)
    _counted(chart, float(top.max(initial=0)))
    source = ColumnDataSource(data)
    items = [
        (part, [chart.varea("second", f"{part}_low", f"{part}_top", source=source,
                            fill_color=COLOURS[part], fill_alpha=0.75)])
        for part in parts
    ]  # fmt: skip
    edge = chart.line("second", f"{parts[-1]}_top", source=source, line_alpha=0.0)
    _legend(chart, items)
    rows = [(part, f"@{part}{{0,0.[0]}}") for part in parts]
    _hover(chart, edge, [("time", "@second{0.000} s"), *rows])
    return chart


def _exposure(columns: Mapping[str, np.ndarray], x_range: Any) -> Any:
    chart = _figure("exposure", x_range, 180, "packets, so far")
    _counted(chart, float(columns["exposed_packets"].max()))
    source = ColumnDataSource({"second": columns["second"], "packets": columns["exposed_packets"]})
    colour = COLOURS["bypass"]
    chart.varea("second", 0, "packets", source=source, fill_color=colour, fill_alpha=0.30)
    edge = chart.line("second", "packets", source=source, line_color=colour, line_width=2)
    _legend(chart, [("passed unscanned", [edge])])
    _hover(chart, edge, [("time", "@second{0.000} s"), ("unscanned", "@packets{0,0}")])
    return chart


def shaping(result: Result, x_range: Any) -> dict[str, Any]:
    """Of each of the busiest links its queue, its line and its classes' delays; drops of meters."""
    shown = over_time.shown(result)
    if shown is None:
        return {}
    made = {}
    for at, line in enumerate(shown.links[:LINKS_DRAWN]):
        made[f"queue{at}"] = _over_time(
            f"queue{at}", shown, x_range, "KiB waiting",
            [(each.name, each.backlog / 1024) for each in line.classes[:CLASSES_DRAWN]],
            whole=line.queue / 1024)
        if line.rate:
            made[f"line{at}"] = _over_time(f"line{at}", shown, x_range, "% of the line", (),
                                           whole=100 * line.taken, most=100.0)
        made[f"delay{at}"] = _over_time(
            f"delay{at}", shown, x_range, "ms, longest delay",
            [(each.name, each.slowest / 1e6) for each in line.classes[:CLASSES_DRAWN]])
    if shown.meters:
        made["meters"] = _over_time(
            "meters", shown, x_range, "packets dropped/s",
            [(each.name, each.lost) for each in shown.meters[:CLASSES_DRAWN]])
    return made


def against(settings: Sequence[tuple[str, Result]], x_range: Any) -> dict[str, Any]:
    """What waited, delays and drops of shaping: a chart each, a line a setting."""
    drawn = [(name, shown) for name, result in settings
             if (shown := over_time.shown(result)) is not None]
    made = {}
    for kind, (unit, size) in AGAINST.items():
        figures = [(name, shown, over_time.whole(shown)[kind] / size) for name, shown in drawn]
        if not any(each.any() for _, _, each in figures):
            continue
        chart = made[f"against_{kind}"] = _figure(f"against-{kind}", x_range, 190, unit)
        _counted(chart, max(float(each.max()) for _, _, each in figures))
        items = []
        for at, (name, shown, each) in enumerate(figures):
            source = ColumnDataSource({"second": over_time.corners(shown),
                                       "y": over_time.stepped(each).astype(np.float32)})
            edge = chart.line("second", "y", source=source, line_width=1.8,
                              line_color=SERIES_COLOURS[at % len(SERIES_COLOURS)])
            items.append((name, [edge]))
            _hover(chart, edge, [("time", "@second{0.000} s"), (name, "@y{0,0.[00]}")])
        _legend(chart, items)
    return made


def _over_time(
    name: str, shown: over_time.Shown, x_range: Any, unit: str,
    series: Sequence[tuple[str, np.ndarray]], whole: np.ndarray | None = None, most: float = 0.0,
) -> Any:  # fmt: skip
    """Steps: `whole` as an area, the others as lines over it."""
    chart = _figure(name, x_range, 170, unit, **(
        {"y_range": Range1d(0, 1.1 * most)} if most else {}))
    every = [*([("whole", whole)] if whole is not None else []), *series]
    _counted(chart, max((float(each.max(initial=0)) for _, each in every), default=0))
    data = {f"y{at}": over_time.stepped(each).astype(np.float32)
            for at, (_, each) in enumerate(every)}
    source = ColumnDataSource({"second": over_time.corners(shown), **data})
    items, rows = [], [("time", "@second{0.000} s")]
    for at, (label, _) in enumerate(every):
        area = whole is not None and at == 0
        colour = WHOLE_COLOUR if area else SERIES_COLOURS[(at - (whole is not None)) % 8]
        if area:
            label = unit
            chart.varea("second", 0, f"y{at}", source=source, fill_color=colour, fill_alpha=0.3)
        edge = chart.line("second", f"y{at}", source=source, line_color=colour,
                          line_width=1.2 if area else 1.8)
        items.append((label, [edge]))
        rows.append((label, f"@y{at}{{0,0.[00]}}"))
    if series:
        _legend(chart, items)
    if items:
        _hover(chart, items[0][1][0], rows)
    return chart


def demand(rates: Sequence[Mapping[str, Any]], whole_bytes: int) -> dict[str, Any]:
    """Curves over the rate: the smallest depth without a drop, and what each depth given drops."""
    numbers = [row["rate"] for row in rates]
    x_range = Range1d(min(numbers) / 1.2, max(numbers) * 1.2, name="rate")
    log = {"x_axis_type": "log", "y_axis_type": "log"}
    depth = _figure("depth", x_range, 320, "bytes", **log)
    source = ColumnDataSource({
        "rate": numbers, "name": list(map(rate_text, numbers)),
        "bytes": [max(row["depth_bytes"], 1) for row in rates],
        "ms": [row["depth_ns"] / 1e6 for row in rates],
    })  # fmt: skip
    edge = depth.line("rate", "bytes", source=source, line_color="#4c8dff", line_width=1.8)
    depth.scatter("rate", "bytes", source=source, fill_color="#4c8dff", line_color=None, size=6)
    _counted(depth, max(row["depth_bytes"] for row in rates))
    _hover(depth, edge, [("rate", "@name bit/s"), ("depth", "@bytes{0,0} B"),
                         ("of the rate", "@ms{0,0.[000]} ms")])  # fmt: skip
    made = {"depth": depth}
    depths = [cell["depth"] for cell in rates[0]["dropped"]]
    if depths and whole_bytes:
        made["dropped"] = _dropped(rates, depths, whole_bytes, x_range)
    for chart in made.values():
        chart.xaxis.axis_label = "rate, bit/s"
        _decades(chart, numbers)
    return made


def _decades(chart: Any, rates: Sequence[int]) -> None:
    """The rates at which the axis is marked: powers of ten, or those given where they lie close."""
    powers = [10**at for at in range(13) if min(rates) <= 10**at <= max(rates)]
    marks = powers if len(powers) > 1 else sorted({min(rates), max(rates)})
    chart.xaxis.ticker = FixedTicker(ticks=marks)
    chart.xaxis.major_label_overrides = {mark: rate_text(mark) for mark in marks}


def _dropped(
    rates: Sequence[Mapping[str, Any]], depths: Sequence[str], whole_bytes: int, x_range: Any
) -> Any:
    chart = _figure("dropped", x_range, 320, "% of the bytes", x_axis_type="log")
    chart.y_range.start = 0
    data = {f"depth_{at}": [100 * row["dropped"][at]["bytes"] / whole_bytes for row in rates]
            for at in range(len(depths))}  # fmt: skip
    source = ColumnDataSource({"rate": [row["rate"] for row in rates],
                               "name": [rate_text(row["rate"]) for row in rates], **data})
    items, rows = [], [("rate", "@name bit/s")]
    for at, name in enumerate(depths):
        edge = chart.line("rate", f"depth_{at}", source=source, line_width=1.8,
                          line_color=SERIES_COLOURS[at % len(SERIES_COLOURS)])  # fmt: skip
        items.append((name, [edge]))
        rows.append((name, f"@depth_{at}{{0.[00]}} %"))
    _legend(chart, items)
    _hover(chart, items[0][1][0], rows)
    return chart
