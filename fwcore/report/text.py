"""The summary of a replay on a terminal of 80 columns.

What came in; what happened and why; memory against its thresholds; transitions; who was hit; what
passed unscanned; whether the laws hold; how fast it was. Sections with nothing to say are left out.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fwcore import units
from fwcore.escape import visible_tree
from fwcore.report import answer, facts, graph, shaping
from fwcore.result import Result
from fwcore.words import OWNERS

WIDTH = 80
INDENT = 12  # where a section's lines begin; its title stands before
BAR = 24
LEAST_BAR = 6
NAME_WIDTH = 24  # of a host or policy in a table's column
GRAPH = WIDTH - INDENT - 6  # characters of a picture's axis of time
SHOWN_TRANSITIONS = 8
SHOWN_CLASSES = 8

ANSI = {
    "good": "32", "info": "36", "warn": "33", "bad": "31", "extreme": "35", "dim": "2",
    "strong": "1", "fill": "34", "alarm": "1;97;41",
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """How to write: with colours or without, with block characters or in ASCII."""

    colour: bool = False
    unicode: bool = True

    def paint(self, text: str, tone: str) -> str:
        """`text` in a tone; itself without colours."""
        if not self.colour or tone not in ANSI or not text:
            return text
        return f"\x1b[{ANSI[tone]}m{text}\x1b[0m"

    def bar(self, part: float, whole: float, width: int = BAR) -> str:
        """A horizontal bar; anything above zero shows at least a sliver."""
        if not whole or part <= 0:
            return ""
        if not self.unicode:
            return "#" * max(1, round(part / whole * width))
        eighths = max(1, round(part / whole * width * 8))
        return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()

    @property
    def arrow(self) -> str:
        """Between two modes."""
        return "→" if self.unicode else "->"

    @property
    def dot(self) -> str:
        """Between figures of one line."""
        return " · " if self.unicode else ", "


def summary(result: Result, style: Style | None = None) -> str:
    """The whole summary, ending in a newline; no line is longer than 80 columns."""
    style = style or Style()
    result = Result(visible_tree(result.data))     # its texts may come from anywhere
    parts = [
        _head, _answer, _input, _verdicts, _reasons, _memory, _transitions, _sessions, _taken,
        _victims, _exposure, _shaping, _laws, _speed,
    ]  # fmt: skip
    blocks = []
    for part in parts:
        rows = list(part(result, style))
        if rows:
            blocks.append("\n".join(rows))
    return "\n\n".join(blocks) + "\n"


def section(title: str, rows: Sequence[str], style: Style) -> Iterator[str]:
    """Rows with the title before the first one."""
    for number, row in enumerate(rows):
        name = title if number == 0 else ""
        yield (style.paint(f"  {name:<{INDENT - 2}}", "strong") + row).rstrip()


def wrap(parts: Sequence[str], style: Style, width: int = WIDTH - INDENT) -> list[str]:
    """Figures joined by dots, broken between units."""
    rows: list[str] = []
    for part in parts:
        if rows and len(rows[-1]) + len(style.dot) + len(part) <= width:
            rows[-1] += style.dot + part
        else:
            rows.append(part)
    return rows


def columns(
    rows: Sequence[Sequence[str]], tones: Sequence[str], style: Style, *, left: int = 1
) -> list[str]:
    """A small table: the first `left` columns to the left, others right; row 0 is its head."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    written = []
    for number, row in enumerate(rows):
        cells = []
        for at, cell in enumerate(row):
            padded = f"{cell:<{widths[at]}}" if at < left else f"{cell:>{widths[at]}}"
            nothing = number == 0 or cell in ("0", "0 B")     # a zero is no alarm
            cells.append(style.paint(padded, "dim" if nothing else tones[at]))
        written.append("  ".join(cells).rstrip())
    return written


def beside(name: str) -> str:
    """A name in its column; nothing, where it is so long that it stands above (`below_names`)."""
    return name if len(name) <= NAME_WIDTH else ""


def below_names(lines: Sequence[str], names: Sequence[str]) -> list[str]:
    """A table's rows, the head first. A long name has a line above its figures: cut off, one
    address reads like another; in its column, figures have no room."""
    rows = [lines[0]]
    for line, name in zip(lines[1:], names, strict=True):
        rows += [line] if beside(name) else [name, line]
    return rows


# -- sections -----------------------------------------------------------------------------------


def _head(result: Result, style: Style) -> Iterator[str]:
    data = result.data
    name = style.paint(f"fwcore {data.get('fwcore', '')}", "strong")
    yield name + style.dot + str(data.get("personality", ""))
    yield from (f"  {line}" for line in fold(facts.about(result), WIDTH - 2) if line)
    mode = facts.mode_at_end(result)
    if mode != "off":
        yield style.paint(f"  {banner(result)}  ", "alarm")
    if data.get("interrupted"):
        yield style.paint("  Interrupted: this is what was done until then.  ", "warn")


def _answer(result: Result, style: Style) -> Iterator[str]:
    """What happened, what it cost, to whom."""
    for sentence in answer.sentences(result):
        yield from (f"  {line}" for line in fold(sentence, WIDTH - 2))


def banner(result: Result) -> str:
    """The device's own words while a mode is on."""
    machines = {row["machine"]: row["to"] for row in result.data["conserve"].get("transitions", ())}
    if facts.mode_at_end(result) == "extreme":
        return "Kernel enters extreme low memory mode"
    if machines.get("kernel") == "on":
        return "The system has entered system conserve mode"
    return "The system has entered conserve mode"


def _input(result: Result, style: Style) -> Iterator[str]:
    data = result.data
    rows = []
    for row in data.get("inputs", ()):
        path, rest = str(row["path"]), f" ({row['format']}, {row['reader']})"
        room = WIDTH - INDENT - len(rest)
        rows.append((path if len(path) <= room else "..." + path[-room + 3 :]) + rest)
        if row.get("fault"):
            rows += [style.paint(text, "bad") for text in fold(f"fault: {_fault(row['fault'])}")]
    figure = [
        units.plural(data["packets"], "packet"),
        units.size(data["bytes"]),
        f"{units.nanoseconds(data['duration_ns'])} of capture",
    ]
    if data.get("time_reversed"):
        figure.append(f"{units.count(data['time_reversed'])} back in time")
    decoded = [f"{name} {units.short(part)}" for name, part in data["decode"].items() if part]
    for said in (facts.short_frames(result), facts.pressure_late(result),
                 facts.silence(result)):
        rows += [style.paint(text, "warn") for text in fold(said) if text]
    yield from section("in", [*rows, *wrap(figure, style), *wrap(decoded, style)], style)


def _fault(fault: object) -> str:
    if isinstance(fault, dict):
        where = f" at byte {fault['byte_offset']}" if "byte_offset" in fault else ""
        return f"{fault.get('message', 'damaged')}{where}"
    return str(fault)


def fold(text: str, width: int = WIDTH - INDENT) -> list[str]:
    """`text` in lines of at most `width`, at least one; a number stays on one."""
    held = units.DIGITS.sub("\0", text)
    return [line.replace("\0", " ") for line in textwrap.wrap(held, width)] or [""]


def _verdicts(result: Result, style: Style) -> Iterator[str]:
    packets = result.data["packets"]
    rows = []
    for name in facts.VERDICTS:
        number = result.data["verdicts"].get(name, 0)
        if not number and name in ("bypass", "inspect"):
            continue
        tone = facts.TONES[name]
        figure = f"{name:<8} {units.count(number):>14} {units.share(number, packets):>8}  "
        rows.append(figure + style.paint(style.bar(number, packets), tone))
    yield from section("verdicts", rows, style)


def _reasons(result: Result, style: Style) -> Iterator[str]:
    packets = result.data["packets"]
    rows = [
        f"{name:<20} {units.count(number):>14} {units.share(number, packets):>8}"
        for name, number in facts.top_reasons(result)
    ]
    yield from section("why", rows, style)


def _memory(result: Result, style: Style) -> Iterator[str]:
    memory = result.data["memory"]
    total = memory["total_pages"]
    now, peak = memory["now"], memory["peak"]
    rows = wrap([
        f"{units.pages_size(total)} of RAM",
        f"used {units.pages_size(now['used'])} ({units.share(now['used'], total)})",
        f"peak {units.pages_size(peak['used'])} ({units.share(peak['used'], total)})",
    ], style)
    rows += wrap([f"{name} {units.pages_size(now[name])}" for name in (*OWNERS, "free")], style)
    yield from section("memory", rows, style)
    if not facts.eventful(result):
        return
    made = graph.memory(result, width=GRAPH, unicode=style.unicode)
    if made:
        yield ""
        yield from picture(made, facts.length_ns(result), style)


def picture(
    made: graph.Graph, length_ns: int, style: Style, begins: str = "0", ends: str = "",
) -> Iterator[str]:
    """A graph's lines, with its axis of time, so long, and its legend."""
    side = graph.SIDE
    for label, cells in made.rows:
        text = style.paint(f"{label.text[:side]:>{side}} ", label.tone)
        yield (text + "".join(style.paint(run, tone) for run, tone in _runs(cells))).rstrip()
    width = len(made.rows[0][1])
    ends = ends or units.nanoseconds(length_ns)
    yield style.paint(f"{'':>{side}} {begins}{ends:>{width - len(begins)}}", "dim")
    for line in fold(made.legend, width):
        yield style.paint(f"{'':>{side}} {line}", "dim")


def _runs(cells: Sequence[graph.Cell]) -> Iterator[tuple[str, str]]:
    """Neighbours of one tone together, so that a colour is written once a run."""
    text, tone = "", ""
    for cell in cells:
        if cell.tone != tone and text:
            yield text, tone
            text = ""
        text, tone = text + cell.text, cell.tone
    yield text, tone


def _transitions(result: Result, style: Style) -> Iterator[str]:
    conserve = result.data["conserve"]
    found = conserve.get("transitions", [])
    start, _ = facts.span(result)
    rows = []
    half = SHOWN_TRANSITIONS // 2
    shown = found if len(found) <= SHOWN_TRANSITIONS else [*found[:half], None, *found[-half:]]
    for row in shown:
        if row is None:
            rows.append(f"... {units.count(len(found) - 2 * half)} more, see --html or --json")
            continue
        change = style.paint(
            f"{row['from']:>7} {style.arrow} {row['to']:<7}",
            facts.MODE_TONES.get(row["to"], "warn"),
        )
        used = units.share(row["used_pages"], result.data["memory"]["total_pages"])
        rows.append(
            f"{row['machine']:<9}{change} packet {units.count(row['packet']):>12} "
            f"{units.since(row['time_ns'], start):>11} {used:>7}"
        )
    if found:
        times = [f"{mode} {units.seconds(value)}" for mode, value in conserve["seconds"].items()]
        if conserve.get("flaps"):
            times.append(units.plural(conserve["flaps"], "flap") + " into extreme")
        rows += wrap(times, style)
    yield from section("modes", rows, style)


def _sessions(result: Result, style: Style) -> Iterator[str]:
    sessions, table = result.data["sessions"], result.data["table"]
    first = [
        f"{units.count(sessions['created'])} created",
        f"peak {units.count(sessions['peak'])} of {units.count(table['max_connections'])}",
        f"{units.count(sessions['live'])} stand",
    ]
    ended = [f"{cause} {units.count(part)}" for cause, part in sessions["ended"].items() if part]
    rows = wrap(first, style) + wrap(["ended: " + ended[0], *ended[1:]] if ended else [], style)
    if sessions.get("reborn"):
        rows.append(f"{units.count(sessions['reborn'])} came back after they had been taken")
    if result.data.get("grace_unsure"):
        rows += fold(f"{units.plural(result.data['grace_unsure'], 'segment')} got no midstream"
                     " grace: whether they are of a victim could not be told")
    stampede = result.data["stampede"]
    if stampede["passes"] and "focus" not in result.data:
        rows += fold(
            f"memory tension: {units.plural(stampede['passes'], 'pass', 'passes')} took "
            f"{units.plural(stampede['sessions_deleted'], 'session')} for "
            f"{units.plural(stampede['pages_needed'], 'page')}"
        )
    yield from section("sessions", rows, style)


def _victims(result: Result, style: Style) -> Iterator[str]:
    gap = False
    for kind, title in (("hosts", "hosts hit"), ("policies", "policies")):
        names, found = facts.hit_cells(result, kind)
        if not found:
            continue
        rows = [["host" if kind == "hosts" else "policy", *names],
                *([beside(name), *cells] for name, *cells in found[:5])]
        if gap:
            yield ""
        gap = True
        tones = ["", *(facts.HARMS.get(column, "") for column in names)]
        lines = _barred(columns(rows, tones, style), columns(rows, tones, Style()),
                        facts.hit_parts(result, kind), style)
        lines = below_names(lines, [name for name, *_ in found[:5]])
        if kind == "hosts" and facts.unnamed(result):
            lines = [*lines, *fold(facts.unnamed(result))]
        yield from section(title, lines, style)


def _barred(
    lines: Sequence[str], bare: Sequence[str], parts: Sequence[facts.Part], style: Style,
) -> list[str]:
    """A table's rows with a bar behind each, as long as there is room; `bare`: without colours."""
    wide = max(map(len, bare))
    room = min(BAR, WIDTH - INDENT - wide - 2)
    if room < LEAST_BAR:
        return list(lines)
    return [lines[0], *(
        f"{line}{'':{wide - len(plain)}}  {style.paint(style.bar(part.share, 1, room), part.tone)}"
        for line, plain, part in zip(lines[1:], bare[1:], parts, strict=False))]


def _taken(result: Result, style: Style) -> Iterator[str]:
    """What state the sessions taken were in."""
    row = result.data.get("taken")
    if not row or not row["sessions"]:
        return
    figures = [f"{units.plural(row['sessions'], 'session')} of {units.size(row['bytes'])}",
               f"{units.count(row['established'])} established",
               f"{units.count(row['active'])} active in the last second"]
    yield from section("taken", [*wrap(figures, style), *wrap(_idle(row), style),
                                 *_instead(result, style)], style)


def _idle(row: Mapping[str, Any]) -> list[str]:
    """How many sessions had been silent for how long."""
    found = [f"{name.replace('_', ' ')} {units.count(number)}"
             for name, number in row["idle"].items() if number]
    return [f"idle {found[0]}", *found[1:]] if found else []


def _instead(result: Result, style: Style) -> list[str]:
    """What least-recently-used would have taken, where a replay was asked."""
    row = result.data.get("lru")
    if not row or not row["sessions"]:
        return []
    return wrap([f"least-recently-used: {units.count(row['established'])} established",
                 f"{units.count(row['active'])} active in the last second",
                 f"{units.count(row['same'])} of {units.count(row['sessions'])} the same",
                 *_idle(row)], style)


def _exposure(result: Result, style: Style) -> Iterator[str]:
    exposure = result.data["exposure"]
    if not exposure["packets"]:
        return
    rows = [["unscanned", "sessions", "packets", "bytes"]]
    causes = [(name, row) for name, row in exposure["by_cause"].items() if row["packets"]]
    after = exposure.get("after", {"packets": 0})
    more = [("all", exposure)] if len(causes) != 1 else []
    more += [("after the mode", after)] if after["packets"] else []
    for name, row in (*causes, *more):
        packets, sessions = units.count(row["packets"]), units.count(row["sessions"])
        rows.append([name, sessions, packets, units.size(row["bytes"])])
    yield from section("exposure", columns(rows, ["warn", "", "", ""], style), style)


def _shaping(result: Result, style: Style) -> Iterator[str]:
    found = shaping.section(result)
    if found is None:
        return
    tones = ["", "", "bad", *[""] * 4]
    blocks = [
        [shaping.LINK_HEAD, *shaping.link_rows(found, result.data["duration_ns"])],
        [shaping.CLASS_HEAD, *shaping.class_rows(found)],
        [shaping.METER_HEAD, *shaping.meter_rows(found)],
    ]
    rows: list[str] = []
    for head, *body in blocks:
        if body:
            rows += columns([head, *body[:SHOWN_CLASSES]], tones, style)
        if len(body) > SHOWN_CLASSES:
            rows.append(f"... {units.count(len(body) - SHOWN_CLASSES)} more, see --html or --json")
    for remark in shaping.remarks(found):
        rows += fold(remark)
    yield from section("shaping", [*rows, *fold(shaping.open_loop(result))], style)
    made = graph.shaping(result, width=GRAPH, unicode=style.unicode)
    if made:
        yield ""
        yield from picture(made, facts.length_ns(result), style)


def _laws(result: Result, style: Style) -> Iterator[str]:
    laws, broken = result.data["laws"], facts.broken_laws(result)
    if broken:
        rows = [style.paint(text, "bad") for text in fold("broken: " + ", ".join(broken))]
    else:
        rows = [style.paint(f"all {len(laws)} hold", "good")]
    yield from section("laws", [*rows, f"outcome {result.data['outcome']}"], style)


def _each(value: float) -> str:
    """Nanoseconds: 123 ns, 9.46 us."""
    return f"{value:.3g} ns" if value < 999.5 else units.seconds(value / 1e9)


def _speed(result: Result, style: Style) -> Iterator[str]:
    speed, pace = result.data["speed"], result.data.get("pace", {})
    figures = [
        f"{units.short(speed['packets_per_s'])} packets/s",
        f"{_each(speed['ns_per_packet'])} a packet", f"{units.seconds(speed['wall_s'])} in all",
        f"longest pause {units.nanoseconds(speed['longest_pause_ns'])}"]
    if speed.get("load_s"):
        figures.append(f"reading, writing files {units.seconds(speed['load_s'])}")
    rows = wrap(figures, style)
    if pace.get("late_packets"):
        late = f"{units.plural(pace['late_packets'], 'packet')} late"
        late += (f", at most {units.nanoseconds(pace['max_late_ns'])}" if "max_late_ns" in pace
                 else " by more than 1 ms")    # of a live run
        rows.append(late)
    yield from section("speed", rows, style)
