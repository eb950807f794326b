"""A shaping configuration in words: who meets what, how fast, and what of it can never act."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from fwcore import units
from fwcore.report import text

KEYS = {
    "none": "one bucket for all", "policy": "a bucket for each policy",
    "rule": "a bucket for each rule", "source": "a bucket for each sender",
    "destination": "a bucket for each receiver",
    "initiator": "a bucket for each initiator, both ways together",
}
COUNTS = {"ip": "IP lengths", "frame": "frames", "wire": "frames on the wire (+ 24)",
          "packets": "packets"}
DIRECTIONS = (("forward", "initiator"), ("reply", "replies"))
HEADS = {"never": "can never act", "perhaps": "probably not meant"}
TONES = {"never": "bad", "perhaps": "warn"}


def rate_of(bits: int) -> str:
    """1500000 -> '1.5 Mbit/s'; exact."""
    for size, unit in ((10**9, "Gbit/s"), (10**6, "Mbit/s"), (10**3, "kbit/s")):
        if bits >= size:
            return f"{_exact(bits, size)} {unit}"
    return f"{bits} bit/s"


def bytes_of(bits: int) -> str:
    """The same in bytes: 1500000 -> '187.5 kB/s'."""
    for size, unit in ((8 * 10**9, "GB/s"), (8 * 10**6, "MB/s"), (8 * 10**3, "kB/s")):
        if bits >= size:
            return f"{_exact(bits, size)} {unit}"
    return f"{_exact(bits, 8)} B/s"


def _exact(number: int, unit: int) -> str:
    whole, rest = divmod(number, unit)
    return f"{whole}" if not rest else f"{number / unit:.9f}".rstrip("0")


def render_text(made: Mapping[str, Any], style: text.Style) -> str:
    """The whole answer at 80 columns."""
    blocks = [[_head(made, style)]]
    blocks += [list(_rule(row, style)) for row in made["rules"]]
    blocks += [list(_meter(row, style)) for row in made["meters"]]
    blocks += [list(_link(row, made["largest_frame"], style)) for row in made["links"]]
    for kind, head in HEADS.items():
        mine = [row for row in made["findings"] if row["kind"] == kind]
        if mine:
            blocks.append([style.paint(head, TONES[kind]), *(
                line for row in mine for line in _lines(f"{row['where']}: {row['text']}", 2, 4))])
    if not made["findings"] and made["rules"]:
        blocks.append(["nothing in it stands idle"])
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _lines(words: str, first: int = 2, then: int = 4) -> list[str]:
    """Folded to 80 columns, what goes on a little deeper."""
    head, *rest = textwrap.wrap(words, text.WIDTH - then, break_on_hyphens=False) or [""]
    return [" " * first + head, *(" " * then + line for line in rest)]


def _head(made: Mapping[str, Any], style: text.Style) -> str:
    if not made["rules"]:
        return "nothing is shaped: there is no rule that leads to a meter or a link"
    counted = [units.plural(len(made[name]), name[:-1]) for name in ("rules", "meters", "links")]
    return style.paint(style.dot.join(counted), "strong")


def _title(name: str, where: str, style: text.Style) -> str:
    room = text.WIDTH - len(name) - 2
    shown = where if len(where) <= room else "..." + where[-max(0, room - 3):]
    return style.paint(name, "strong") + "  " + style.paint(shown, "dim")


def _rule(row: Mapping[str, Any], style: text.Style) -> Iterator[str]:
    yield _title(f"rule {row['id']}", row["where"], style)
    yield from _lines(row["sessions"])
    for key, called in DIRECTIONS:
        direction = row[key]
        parts = [f"meter {name!r}" for name in direction["meters"]]
        if direction["link"]:
            cls = f"class {direction['class']}"
            by_class: dict[int, list[int]] = {}
            for mark, each in direction["class_by_dscp"].items():
                by_class.setdefault(each, []).append(int(mark))
            others = [f"marked {_marks(marks)}: {each}" for each, marks in sorted(by_class.items())
                      if each != direction["class"]]
            cls += f" ({'; '.join(others)})" if others else ""
            parts.append(f"leaves by {direction['link']!r}, {cls}")
        yield from _lines(f"{called}: " + ("; ".join(parts) or "not shaped"))


def _marks(marks: list[int]) -> str:
    from fwcore.shaping_check import spans

    return spans(marks)


def _meter(row: Mapping[str, Any], style: text.Style) -> Iterator[str]:
    yield _title(f"meter {row['name']!r}", row["where"], style)
    told = [KEYS[row["key"]], "counts " + COUNTS[row["count"]]]
    if row["overhead_bytes"]:
        told.append(f"{units.signed(row['overhead_bytes'])} bytes each")
    if row["need"] == "level":
        told.append("passes while the bucket is not in debt")
    if row["algorithm"] != "rfc2698":
        told.append(row["algorithm"])
    limits = [f"at most {row[f'max_{word}sessions']} {word.rstrip('_').upper()} sessions".replace(
        "  ", " ") for word in ("", "tcp_", "udp_") if row[f"max_{word}sessions"]]
    yield from _lines("; ".join([*told, *limits]))
    for rung in row["rungs"]:
        yield from _lines(_rung(rung, row["count"]))
    if not row["rungs"][-1]["no_limit"]:
        over = {"drop": "dropped", "pass": "passes, unmarked",
                "class": f"goes to class {row['over_class']}"}[row["over"]]
        yield from _lines(f"beyond: {over}")
    rules = ", ".join(map(str, row["rules"]))
    yield from _lines(f"rules: {rules or 'none'}")


def _rung(rung: Mapping[str, Any], count: str) -> str:
    last = units.nanoseconds(rung["depth_ns"])
    if rung["no_limit"]:
        words = "no limit"
    elif count == "packets":
        words = (f"up to {units.count(rung['rate'])} packets/s, bucket"
                 f" {units.plural(rung['depth'], 'packet')} = {last}")
    elif rung["rate"]:
        words = (f"up to {rate_of(rung['rate'])} = {bytes_of(rung['rate'])}, bucket"
                 f" {units.plural(rung['depth'], 'byte')} = {last}")
    else:
        words = f"excess burst {units.plural(rung['depth'], 'byte')}"
    marks = [f"mark {rung['dscp']}"] if rung["dscp"] is not None else []
    marks += [f"class {rung['class']}"] if rung["class"] is not None else []
    return words + (f": {', '.join(marks)}" if marks else "")


def _link(row: Mapping[str, Any], largest: int, style: text.Style) -> Iterator[str]:
    yield _title(f"link {row['name']!r}", row["where"], style)
    told = ["no line: packets leave as soon as classes allow"]
    if row["rate"]:
        line = units.nanoseconds(largest * 8 * units.SECOND_NS // row["rate"])
        told = [f"{rate_of(row['rate'])} = {bytes_of(row['rate'])}",
                f"a frame of {largest} bytes takes {line}"]
    told.append("counts " + COUNTS[row["count"]])
    if row["overhead_bytes"]:
        told.append(f"{units.signed(row['overhead_bytes'])} bytes each")
    if row["next"]:
        told.append(f"then link {row['next']!r}")
    yield from _lines("; ".join(told))
    for cls in row["classes"]:
        yield from _lines(_class(cls, row, largest), 2, 6)
    if row["guarantees"]:
        of = f" of {rate_of(row['rate'])}" if row["rate"] else ""
        yield from _lines(f"guarantees add up to {rate_of(row['guarantees'])}{of}")


def _class(cls: Mapping[str, Any], link: Mapping[str, Any], largest: int) -> str:
    words = [f"class {cls['id']}" + (f" below {cls['parent']}" if cls["parent"] else "")]
    for name in ("guarantee", "ceiling"):
        if cls[name]:
            words.append(f"{name} {rate_of(cls[name])} = {bytes_of(cls[name])}, bucket"
                         f" {units.plural(cls[name + '_burst'], 'byte')}")
    if not cls["leaf"]:
        below = cls["guarantees_below"]
        return "; ".join([*words, *([f"guarantees below it {rate_of(below)}"] if below else [])])
    words.append(f"priority {cls['priority']}")
    if cls["share"] != "none":
        each = {"flow": "flow", "source": "sender", "destination": "receiver"}[cls["share"]]
        words.append(f"{cls['shares']} sub-queues by {each}, {cls['quantum']} bytes in turn")
        if cls["share_ceiling"]:
            words.append(f"each up to {rate_of(cls['share_ceiling'])}")
    return "; ".join([*words, *_queue(cls, link, largest)])


def _queue(cls: Mapping[str, Any], link: Mapping[str, Any], largest: int) -> Iterator[str]:
    if not cls["limit_packets"]:
        yield "no queue: what cannot leave at once is dropped"
        return
    size = cls["limit_packets"] * largest
    limit = units.plural(cls["limit_packets"], "packet")
    if cls["limit_bytes"]:
        size = min(size, cls["limit_bytes"])
        limit = units.plural(cls["limit_bytes"], "byte")
    rate = min((each for each in (cls["ceiling"], link["rate"]) if each), default=0)
    full = f", {units.nanoseconds(size * 8 * units.SECOND_NS // rate)} when full" if rate else ""
    yield f"waiting: at most {limit}{full}"
    if cls["discard"] == "red":
        yield (f"RED from {cls['red_min']} to {cls['red_max']} packets, up to"
               f" {cls['red_probability']} percent")
    elif cls["discard"] == "codel":
        yield (f"CoDel {units.nanoseconds(cls['target_ns'])} in"
               f" {units.nanoseconds(cls['interval_ns'])}"
               + (", marks where it can (ECN)" if cls["ecn"] else ""))
