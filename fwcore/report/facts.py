"""What several views need to know about a result, worked out once: lines, bands, series, rates.

thresholds   each machine's levels as lines in one picture, whatever it measures
bands        when which mode was on, from the transitions (exact, not sampled)
samples      which rows of the timeline a picture shows: all, or the extremes of each stretch
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fwcore import units
from fwcore.result import Result, timeline_columns
from fwcore.words import MODES, OWNERS

VERDICTS = ("forward", "inspect", "bypass", "drop")
TONES = {"forward": "good", "inspect": "info", "bypass": "warn", "drop": "bad"}
MODE_TONES = {"off": "dim", "on": "warn", "extreme": "bad"}
NORMAL_REASONS = ("new", "hit")
OWNER_COLOURS = {"base": "#64748b", "sessions": "#3b82f6", "shm": "#8b5cf6", "queues": "#0d9488",
                 "cache": "#b58f55"}
FLAT = 50  # memory that moves by less than this part of RAM makes no picture
HARMS = {"taken": "bad", "dropped": "bad", "bypassed": "warn"}
AMOUNTS = {"taken": "bytes", "dropped": "dropped_bytes", "bypassed": "bypassed_bytes"}
"""Which column has the bytes of each harm."""
HIT_WORDS = {"sessions": "standing"}     # when the run ended
HIT_COLUMNS = ("sessions", "packets", *(name for pair in AMOUNTS.items() for name in pair))


class Line(NamedTuple):
    """A threshold: drawn at `pages` on the stack of used pages, or of used and cache."""

    name: str
    pages: int
    on_cache: bool  # the level counts used + freeable (extreme; everything measured on free)
    tone: str
    text: str


def on_cache(result: Result) -> list[str]:
    """Which levels count freeable pages too: ['extreme counts both'], or nothing."""
    names = sorted({line.name for line in lines(result) if line.on_cache})
    return [f"{' and '.join(names)} count{'s' * (len(names) == 1)} both"] if names else []


class Band(NamedTuple):
    """A stretch of capture time in one mode, the worst of all machines."""

    start_ns: int
    end_ns: int
    mode: str


def span(result: Result) -> tuple[int, int]:
    """First and last moment of the capture in ns; (0, duration) when nothing was sampled."""
    times = result.data.get("timeline", {}).get("time_ns") or [0]
    start = int(times[0])
    return start, max(start + int(result.data.get("duration_ns", 0)), int(times[-1]))


def length_ns(result: Result) -> int:
    """From the first packet to the last."""
    start, end = span(result)
    return end - start


def lines(result: Result) -> list[Line]:
    """The thresholds of every machine, lowest first."""
    memory = result.data.get("memory", {})
    total = memory.get("total_pages", 0)
    found = []
    for machine, levels in memory.get("thresholds", {}).items():
        for name, level in (levels or {}).items():
            if not isinstance(level, int) or name not in (
                "green",
                "red",
                "extreme",
                "enter",
                "leave",
            ):
                continue
            if machine == "unified":
                tone = {"green": "good", "red": "bad", "extreme": "extreme"}[name]
                pages, on_cache, label = level, name == "extreme", name
            else:  # measured on free pages: what is left of the total
                pages, on_cache, label = total - level, True, f"{machine} {name}"
                tone = "bad" if name == "enter" else "good"
            percent = f"{100 * pages / total:.0f}%" if total else ""
            found.append(Line(name, pages, on_cache, tone, f"{label} {percent}"))
    return sorted(found, key=lambda line: line.pages)


def worst(modes: Mapping[str, str]) -> str:
    """The most serious of the machines' modes."""
    return max(modes.values(), key=_severity, default="off")


def _severity(mode: str) -> int:
    return MODES.index(mode) if mode in MODES else 1


def bands(result: Result) -> list[Band]:
    """Every stretch in which a mode other than off was on, in time order."""
    start, end = span(result)
    modes: dict[str, str] = {}
    found: list[Band] = []
    since, mode = start, "off"
    for row in result.data.get("conserve", {}).get("transitions", ()):
        modes[row["machine"]] = row["to"]
        now = worst(modes)
        if now == mode:
            continue
        moment = min(max(row["time_ns"], since), max(end, since))     # in the picture, in order
        if mode != "off" and moment > since:
            found.append(Band(since, moment, mode))
        since, mode = moment, now
    if mode != "off":
        found.append(Band(since, max(end, since), mode))
    return found


def eventful(result: Result) -> bool:
    """Whether there is a picture of memory worth drawing: a mode, or memory that moved."""
    memory = result.data["memory"]
    used = [*timeline(result).get("used", ()), memory["peak"]["used"], memory["now"]["used"]]
    return bool(result.data["conserve"]["transitions"]) or (
        max(used) - min(used)) * FLAT > memory["total_pages"]


def mode_at_end(result: Result) -> str:
    """The mode when the capture ended: off, on or extreme."""
    conserve = result.data.get("conserve", {})
    mode = conserve.get("mode", "off")
    if isinstance(mode, Mapping):  # a mode for each machine
        return worst(mode)
    return mode if mode in MODES else "on"


def samples(columns: Mapping[str, np.ndarray], limit: int) -> np.ndarray:
    """Indices (m,) of at most about `limit` timeline rows, extremes and mode changes kept."""
    length = min((len(column) for column in columns.values()), default=0)
    if length <= limit:
        return np.arange(length)
    used = columns["used"]
    edges = np.linspace(0, length, limit // 4 + 1).astype(np.int64)
    starts = edges[:-1]
    kept = [starts, np.array([length - 1])]
    for pick in (np.argmin, np.argmax):
        kept.append(np.array([a + pick(used[a:b]) for a, b in zip(starts, edges[1:], strict=True)]))
    changes = np.flatnonzero(np.diff(columns["mode"])) + 1
    kept.append(changes[:: len(changes) // (limit // 4) + 1])
    return np.unique(np.concatenate(kept))


def timeline(result: Result, limit: int = 10**9) -> dict[str, np.ndarray]:
    """The timeline's columns (m,), thinned to about `limit` rows, plus `second`, `queues`, `used`.

    A sample has no pages of queues: they are what neither another owner has nor is free.
    """
    columns = timeline_columns(result.data.get("timeline", {}))
    if not columns or not len(columns.get("time_ns", ())):
        return {}
    columns = _with_end(result, columns)
    total = result.data["memory"]["total_pages"]
    others = sum(columns[owner].astype(np.int64) for owner in OWNERS)
    columns["queues"] = total - columns["free"].astype(np.int64) - others
    columns["used"] = total - columns["free"].astype(np.int64) - columns["cache"]
    chosen = samples(columns, limit)
    thinned = {name: column[chosen] for name, column in columns.items()}
    thinned["second"] = (thinned["time_ns"] - columns["time_ns"][0]) / 1e9
    return thinned


def owners(columns: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Who has pages in these columns, the cache last; queues where they ever had some."""
    queues = ("queues",) if columns["queues"].any() else ()
    return (*OWNERS[:-1], *queues, OWNERS[-1])


def _with_end(result: Result, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The samples and, when packets came after the last of them, the result's own figures."""
    data = result.data
    if int(columns["packet"][-1]) >= data.get("packets", 0) > 0 or "memory" not in data:
        return dict(columns)
    sessions, ended = data["sessions"], data["sessions"]["ended"]
    last = {
        "time_ns": span(result)[1], "packet": data["packets"],
        "mode": _severity(mode_at_end(result)), "live": sessions["live"],
        "created": sessions["created"], "ended": sum(ended.values()),
        "tension": ended["tension"], "evicted": ended["evicted"],
        "exposed_packets": data["exposure"]["packets"],
        **{name: data["memory"]["now"][name] for name in (*OWNERS, "free")},
    }  # fmt: skip
    for group in ("verdicts", "reasons"):  # one that came up only after the last sample is new
        last |= {f"{group[:-1]}_{name}": value for name, value in data[group].items() if value}
    none = np.zeros(len(columns["time_ns"]), dtype=np.int64)
    names = dict.fromkeys([*columns, *last])
    return {
        name: np.append(column := columns.get(name, none), last.get(name, column[-1]))
        for name in names
    }


def steps(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns (m,) as corners (2m - 1,): each value holds until the next sample.

    A line through the samples themselves would begin to move before what moved it.
    """
    moments = np.repeat(np.arange(len(columns["second"])), 2)
    return {
        name: column[moments[1:] if name in ("second", "time_ns") else moments[:-1]]
        for name, column in columns.items()
    }


def held(second: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The value of the last sample at or before each moment; the first one's before it."""
    return values[np.maximum(np.searchsorted(second, at, side="right") - 1, 0)]


def bin_edges(columns: Mapping[str, np.ndarray], bins: int) -> np.ndarray:
    """About `bins` equal stretches of time, divided also where the mode changed (seconds).

    So no stretch has a rate from both sides of a change; an edge closer to a change than a
    quarter of a stretch gives way to it, and of changes that close the first stands for all.
    """
    second = columns["second"]
    edges = np.linspace(second[0], second[-1], min(bins, max(2, len(second))))
    close = (edges[1] - edges[0]) / 4
    changes: list[float] = []
    for change in second[1:][np.diff(columns["mode"]) != 0].tolist():
        ends = (*changes[-1:], float(edges[0]))
        if all(change - end > close for end in ends) and edges[-1] - change > close:
            changes.append(change)
    if changes:
        gap = np.abs(edges[1:-1, None] - np.array(changes)).min(axis=1)
        edges = np.sort(np.concatenate([edges[[0, -1]], edges[1:-1][gap > close], changes]))
    return edges


def rebin(
    columns: Mapping[str, np.ndarray], names: Sequence[str], bins: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Rates over `bin_edges`, as corners of steps: (seconds, name -> per second).

    Samples taken at transitions may lie a microsecond apart; stretches keep a rate from
    exploding between two of them.
    """
    second, edges = columns["second"], bin_edges(columns, bins)
    width = np.diff(edges)
    rates = {}
    for name in names:
        rise = np.diff(np.interp(edges, second, columns[name].astype(np.float64)))
        rate = np.divide(rise, width, out=np.zeros(len(width)), where=width > 0)
        rates[name] = np.repeat(rate, 2)
    return np.repeat(edges, 2)[1:-1], rates


def top_reasons(
    result: Result, number: int | None = 6, *, unusual: bool = True,
) -> list[tuple[str, int]]:
    """Reasons by packets, most first; without `new` and `hit` when only the unusual count."""
    rows = [
        (name, packets)
        for name, packets in result.data.get("reasons", {}).items()
        if packets and not (unusual and name in NORMAL_REASONS)
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0]))[:number]


def hit(result: Result, kind: str) -> tuple[list[str], list[list[Any]]]:
    """Who was hit: (columns, rows) of the result's top hosts or policies; harmed ones only."""
    name = {"hosts": "host", "policies": "id"}[kind]
    found = result.data.get("top", {}).get(kind, [])
    harmed = [row for row in found if any(row.get(column) for column in HARMS)]
    columns = [column for column in HIT_COLUMNS if any(row.get(column) for row in harmed)]
    named = policy_text if kind == "policies" else lambda _result, host: host
    return columns, [[named(result, row[name]), *(row.get(column, 0) for column in columns)]
                     for row in harmed]


class Part(NamedTuple):
    """How much of what was done to the worst hit was done to one: 0 to 1, drawn as a bar."""

    share: float
    tone: str
    of: str


def hit_parts(result: Result, kind: str) -> list[Part]:
    """A bar for each row of `hit`: by bytes dropped; where none were, by what else was done."""
    columns, found = hit(result, kind)
    harm = next((harm for harm in ("dropped", "taken", "bypassed") if harm in columns), "")
    by = AMOUNTS.get(harm, "")
    at = 1 + columns.index(by if by in columns else harm) if harm else 0
    most = max((row[at] for row in found), default=0) if harm else 0
    return [Part(row[at] / most if most else 0.0, HARMS.get(harm, ""), harm) for row in found]


def hit_cells(result: Result, kind: str) -> tuple[list[str], list[list[str]]]:
    """The same as texts, for a table: a harm's bytes stand behind its number, in one cell."""
    columns, found = hit(result, kind)
    shown = [name for name in columns if name not in AMOUNTS.values()]
    rows = []
    for name, *values in found:
        figures = dict(zip(columns, values, strict=True))
        cells = []
        for column in shown:
            amount = figures.get(AMOUNTS.get(column, ""))
            cells.append(units.count(figures[column])
                         + (f" · {units.size(amount)}" if amount and figures[column] else ""))
        rows.append([str(name), *cells])
    return [HIT_WORDS.get(name, name) for name in shown], rows


def about(result: Result) -> str:
    """Whom a result is about, and what was left out of the traffic; '' where it is everything."""
    parts = []
    if "focus" in result.data:
        whole = result.data["whole"]
        parts.append(f"about {result.data['focus']['text']}: {units.count(result.data['packets'])}"
                     f" of {units.plural(whole['packets'], 'packet')},"
                     f" {units.plural(result.data['focus']['flows'], 'flow')}; memory"
                     f"{', modes and shaping' if result.data.get('shaping') else ' and modes'} are"
                     " those of all")
    if "filter" in result.data:
        given = result.data["filter"]
        packets = result.data.get("whole", result.data)["packets"]
        parts.append(f"filter {given['text']}: {units.count(packets)} of"
                     f" {units.plural(given['frames'], 'frame')}; the rest took no memory")
    return "; ".join(parts)


def unnamed(result: Result) -> str:
    """What is missing from the rows of hosts; '' when nothing is."""
    top = result.data.get("top", {})
    parts = [f"{units.plural(top[key], word)}"
             for key, word in (("forgotten_packets", "packet"), ("forgotten_sessions", "session"))
             if top.get(key)]
    return f"not counted for any host: {', '.join(parts)}" if parts else ""


def policy_text(result: Result, number: int) -> str:
    """A policy by its name, or its number."""
    return str(result.data.get("policy_names", {}).get(str(number), number))


def short_frames(result: Result) -> str:
    """What to do about frames that are shorter than IP says; '' where there are none."""
    number = result.data.get("short_frames", 0)
    if not number:
        return ""
    return (
        f"{units.plural(number, 'frame')} malformed only because IP says more than the record,"
        " which calls them whole: who wrote this capture cut it and lost the lengths;"
        ' short_frames = "cut" takes them as cut')


def pressure_late(result: Result) -> str:
    """That the capture ended before pressure came; '' where all came."""
    number = result.data.get("pressure_late", 0)
    if not number:
        return ""
    return (f"{units.plural(number, 'row')} of [[pressure]] never happened: at_s (or at) is after"
            " the last packet")


def silence(result: Result) -> str:
    """That most of the capture's time passed without a packet; '' where it did not.

    Durations (of a mode, of a capture) count it: whoever reads 2132 d must see where they are.
    """
    found = result.data.get("silence")
    if not found or 2 * found["ns"] < result.data["duration_ns"]:
        return ""
    return (f"{units.nanoseconds(found['ns'])} of the capture passed without a packet, before"
            f" packet {units.count(found['packet'])}; durations count them")


def setting(result: Result, name: str) -> Any:
    """A setting's effective value, None when the result does not have it."""
    return result.data.get("settings", {}).get(name, {}).get("value")


def broken_laws(result: Result) -> list[str]:
    """Names of the laws that do not hold."""
    return [name for name, holds in result.data.get("laws", {}).items() if not holds]
