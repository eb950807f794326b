"""A comparison on a terminal of 80 columns: the answer in sentences, then what it rests on.

Up to four settings stand side by side; more stand under one another. What all labels have in
common is left out of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fwcore import units
from fwcore.report import answer, facts, graph, shaping, text
from fwcore.report.compare import OUTCOMES, TONES, sentence
from fwcore.result import Result

SHOWN = 8  # groups
HARMED = 6  # hosts and policies
SIDE_BY_SIDE = 4  # settings
SHORT = {"denied": "deny", "uninspected": "unseen", "dropped": "drop", "refused": "refuse"}
ROOM = text.WIDTH - text.INDENT

Made = Mapping[str, Any]
"""A comparison as plain values: `Comparison.to_dict`, or its JSON."""


def show(made: Made, style: text.Style | None = None) -> str:
    """The comparison at 80 columns."""
    style = style or text.Style()
    names = short_names(made["settings"])
    total = units.plural(made["flows"], "flow")
    keys = [
        line for short, name in zip(names, made["settings"], strict=True) if short != name
        for line in text.fold(f"{short} = {name}", text.WIDTH - 2)
    ]  # fmt: skip
    blocks = [
        "\n".join([f"{style.paint('fwcore compare', 'strong')}{style.dot}{total}",
                   *(f"  {line}" for line in keys)]),
        "\n".join(f"  {line}" for told in sentences(made, names)
                  for line in text.fold(told, text.WIDTH - 2)),
        "\n".join(text.section("flows", _table(made, names, style), style)),
        "\n".join(text.section("joined", _joined(made, names, style), style)),
    ]  # fmt: skip
    blocks += _over_time(made, names, style)
    for title, name in (("hosts", "host"), ("policies", "policy_name")):
        if made[title]:
            blocks.append("\n".join(text.section(
                title, _harmed(made, title, name, names, style), style)))
    return "\n\n".join(blocks) + "\n"


def short_names(names: Sequence[str], room: int = 0) -> list[str]:
    """Labels without what they have in common; letters where one is still too long."""
    room = room or (16 if len(names) > SIDE_BY_SIDE else ROOM // (len(names) + 1) - 2)
    parts = [name.split(",") for name in names]
    common = set(parts[0]).intersection(*parts[1:])
    short = [",".join(part for part in each if part not in common) or name
             for each, name in zip(parts, names, strict=True)]
    keys = {part.partition("=")[0] for part in short}
    if len(keys) == 1 and all("=" in part and "," not in part for part in short):
        short = [part.partition("=")[2] for part in short]
    if max(map(len, short)) > room or len(set(short)) < len(short):
        short = [_letters(at) for at in range(len(names))]
    return short


def _letters(at: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    return (_letters(at // 26 - 1) if at >= 26 else "") + chr(ord("A") + at % 26)


def sentences(made: Made, names: Sequence[str]) -> list[str]:
    """The answer: what each setting cost, and whom the worst of them."""
    harm, settings = made["harm"], list(made["settings"])
    told = []
    shown = harm if len(harm) <= SIDE_BY_SIDE else list({row["name"]: row for row in (
        min(harm, key=lambda row: row["lost"]), max(harm, key=lambda row: row["lost"]))}.values())
    for row in shown:
        at = settings.index(row["name"])
        told.append(f"Under {names[at]}: {cost(row, Result(made['results'][at]))}.")
    worst = max(harm, key=lambda row: (row["lost"], row["dropped_bytes"]))
    least = min(harm, key=lambda row: (row["lost"], row["dropped_bytes"]))
    more = worst["lost"] - least["lost"]
    most, fewest = (pick(harm, key=lambda row: row["sessions_taken"]) for pick in (max, min))
    if more:
        name = names[settings.index(worst["name"])]
        told.append(f"{name} costs {units.plural(more, 'flow')} more than"
                    f" {names[settings.index(least['name'])]}"
                    f" ({signed_size(worst['dropped_bytes'] - least['dropped_bytes'])} dropped)"
                    f"{_whom(made, worst['name'], least['name'])}.")
    elif most["sessions_taken"] > fewest["sessions_taken"]:
        number = most["sessions_taken"] - fewest["sessions_taken"]
        told.append(f"{names[settings.index(most['name'])]} takes"
                    f" {units.plural(number, 'session')} more than"
                    f" {names[settings.index(fewest['name'])]}.")
    alike = (all(len({row[key] for row in harm}) == 1 for key in ("dropped_bytes",
                                                                  "uninspected_bytes"))
             and all(len(set(group["outcomes"].values())) == 1 for group in made["groups"]))
    if alike:
        told.append(f"Every flow fared alike under {'both' if len(harm) == 2 else 'all'}.")
    told += [shaping.open_loop(result) for result in map(Result, made["results"])
             if shaping.section(result) is not None][:1]
    if silence := facts.silence(Result(made["results"][0])):
        told.append(f"{silence}.")
    if all(answer.inspects_nothing(each) for each in made["results"]):
        told.append(answer.NOTHING_INSPECTED)
    return told


def cost(row: Mapping[str, Any], result: Result) -> str:
    """What one setting cost, in words, and for want of what; `row` is of `harm`."""
    scarce = answer.refused(result)
    why = f"; {units.plural(scarce, 'packet')} refused for want of memory or room" * bool(scarce)
    lost = (f"{units.plural(row['lost'], 'flow')} lost packets"
            f" ({units.size(row['dropped_bytes'])} dropped{why}{answer.others(result)})")
    unseen = (f"{units.plural(row['uninspected'], 'flow')} passed unscanned"
              f" ({units.size(row['uninspected_bytes'])})")
    turned = (f"{units.size(row['turned']['bytes'])} of"
              f" {units.plural(row['turned']['flows'], 'flow')} unscanned since the other end began"
              f" {'it' if row['turned']['flows'] == 1 else 'them'} anew")
    mode = {name: spent for name, spent in row["conserve_seconds"].items() if name != "off"}
    spent = sum(mode.values())
    began = next((f" from packet {units.count(each['packet'])} on"
                  for each in result.data["conserve"]["transitions"] if each["to"] != "off"), "")
    verdicts = result.data["verdicts"]
    inspects = verdicts["inspect"] or verdicts["bypass"] or row["turned"]["bytes"]
    return ", ".join([
        lost if row["lost"] else f"no flow lost a packet{answer.others(result)}",
        *([f"{units.plural(row['sessions_taken'], 'session')} taken"] if row["sessions_taken"]
          else []),
        *([unseen] if row["uninspected_bytes"] else ["none unscanned"]
          if inspects and not row["turned"]["bytes"] else []),
        *([turned] if row["turned"]["bytes"] else []),
        *([f"conserve mode {units.seconds(spent)}{began}"] if spent else
          ["conserve mode never on"] if facts.setting(result, "machine") != "none" else []),
        *([row["shaping"]] if "shaping" in row else []),
    ])


def _whom(made: Made, name: str, least: str) -> str:
    """Policy and host that one setting cost most beyond another: '; most of policy web (46 flows
    instead of 12, +202 KiB) and host 10.0.0.5 (3 flows instead of 1, +12.1 KiB)'."""
    parts = []
    for title, key, word in (("policies", "policy_name", "policy"), ("hosts", "host", "host")):
        if title == "policies" and [row[key] for row in made[title]] == ["0"]:
            continue        # where there are no policies
        more = [(row["cost"][name]["lost"] - row["cost"][least]["lost"],
                 row["cost"][name]["dropped_bytes"] - row["cost"][least]["dropped_bytes"], row)
                for row in made[title]]
        lost, size, most = max(more, key=lambda each: each[:2], default=(0, 0, None))
        if most is None or lost <= 0:
            continue
        costs, alike = most["cost"], sum(each[:2] == (lost, size) for each in more) - 1
        parts.append(f"{word} {most[key]} ({units.plural(costs[name]['lost'], 'flow')}"
                     f" instead of {units.count(costs[least]['lost'])}, {signed_size(size)}"
                     + (f"; {units.plural(alike, 'other')} as much" if alike else "") + ")")
    return f"; most of {' and '.join(parts)}" if parts else ""


def signed_size(number: int) -> str:
    """A difference of bytes: '+595 KiB'."""
    return ("+" if number > 0 else "") + units.size(number)


def _table(made: Made, names: Sequence[str], style: text.Style) -> list[str]:
    """Figures of each setting: side by side, or a line a setting when there are many."""
    harm = made["harm"]
    many = len(names) > SIDE_BY_SIDE
    kinds = [kind for kind in OUTCOMES if any(row["flows"][kind] for row in harm)
             or (not many and kind != "denied")]
    rows = [
        [*(units.short(row["flows"][kind]) for kind in kinds), units.short(row["sessions_taken"]),
         units.size(row["dropped_bytes"]), units.size(row["uninspected_bytes"])]
        for row in harm
    ]  # fmt: skip
    if many:
        head = [*(SHORT.get(kind, kind) for kind in kinds), "sess", "dropped", "unscanned"]
        tones = [*(TONES[kind] for kind in kinds), "bad", "bad", "warn"]
        groups = [(tone, [column])
                  for tone, column in zip(tones, zip(head, *rows, strict=True), strict=True)]
        return _stacked(["", *names], groups, names, style)
    labels = [*kinds, "sessions taken", "bytes dropped", "bytes unscanned"]
    turned = [["", *names], *zip(labels, *rows, strict=True),
              ["mode changes", *(units.count(row["transitions"]) for row in harm)]]
    return text.columns(turned, [""] * (len(names) + 1), style)


def _joined(made: Made, names: Sequence[str], style: text.Style) -> list[str]:
    rows = []
    short = dict(zip(made["settings"], names, strict=True))
    found = made["groups"]
    for group in found[:SHOWN]:
        kinds = {short[name]: kind for name, kind in group["outcomes"].items()}
        words = sentence(names, kinds)
        tone = TONES[max(kinds.values(), key=OUTCOMES.index)]
        amount = f"{units.count(group['flows']):>9} {units.size(group['bytes']):>9}  "
        first, *rest = text.fold(words, ROOM - len(amount))
        rows.append(amount + style.paint(first, tone))
        rows += [" " * len(amount) + style.paint(line, tone) for line in rest]
        if len(set(kinds.values())) > 1:
            for flow in group["largest"][:3]:
                line = (f"{flow['flow']} frame.number=={flow['first_packet']}"
                        f" policy {flow['policy_name']}, {units.size(flow['bytes'])}")
                rows += [style.paint(f"{'':{6 if at == 0 else 8}}{part}", "dim")
                         for at, part in enumerate(text.fold(line, ROOM - 8))]
    if len(found) > SHOWN:
        rest = sum(group["flows"] for group in found[SHOWN:])
        rows += text.fold(f"{units.plural(rest, 'flow')} more in {len(found) - SHOWN} groups:"
                          " --json, or each flow with --flows", ROOM)
    return rows


def _over_time(made: Made, names: Sequence[str], style: text.Style) -> list[str]:
    """What waited, delays and drops under each setting over time, where something was shaped."""
    settings = [(name, Result(result)) for name, result in zip(names, made["results"], strict=True)]
    picture = graph.against(settings[:SIDE_BY_SIDE], width=text.GRAPH, unicode=style.unicode)
    if picture is None:
        return []
    title = "shaping over time"
    if len(settings) > SIDE_BY_SIDE:
        title += f", the first {SIDE_BY_SIDE} of {len(settings)} settings"
    longest = max(facts.length_ns(result) for _, result in settings[:SIDE_BY_SIDE])
    return ["\n".join([style.paint(f"  {title}", "strong"),
                       *text.picture(picture, longest, style)])]


def _harmed(
    made: Made, title: str, name: str, names: Sequence[str], style: text.Style
) -> list[str]:
    """Hosts or policies with what each setting cost them, most telling first; figures for which
    80 columns have no room are named."""
    kinds = (("lost", "lost", units.short, "bad"), ("dropped_bytes", "dropped", units.size, "bad"),
             ("sessions_taken", "taken", units.short, "bad"),
             ("uninspected_bytes", "unscanned", units.size, "warn"))  # fmt: skip
    rows, whole, shown = made[title], made["settings"], made[title][:HARMED]
    called = [str(row[name]) for row in shown]
    first = [name.removesuffix("_name"), *map(text.beside, called)]
    groups, left_out = [], []
    for key, word, form, tone in kinds:
        if not any(row["cost"][setting][key] for row in rows for setting in whole):
            continue
        columns = [[f"{word} {short}", *(form(row["cost"][setting][key]) for row in shown)]
                   for setting, short in zip(whole, names, strict=True)]
        if _wide([first, *columns]) <= ROOM:
            groups.append((tone, columns))
        else:
            left_out.append(word)
    lines = _stacked(first, groups, called, style)
    if left_out:
        lines += text.fold(f"no room for {', '.join(left_out)} under each of {len(whole)} settings:"
                           " --html, or --json", ROOM)
    if made[f"{title}_harmed"] > HARMED:
        rest = units.count(made[f"{title}_harmed"] - HARMED)
        lines += text.fold(f"{rest} more: --html, or --flows", ROOM)
    return lines


Columns = Sequence[Sequence[str]]
"""Of a table, each with its head."""


def _stacked(
    first: Sequence[str], groups: Sequence[tuple[str, Columns]], names: Sequence[str],
    style: text.Style,
) -> list[str]:
    """A table of `first` and of groups of columns, each in a tone. Groups for which 80 columns have
    no room stand in a further one below."""
    tables: list[tuple[list[Sequence[str]], list[str]]] = [([first], [""])]
    for tone, columns in groups:
        if _wide([*tables[-1][0], *columns]) > ROOM:
            tables.append(([first], [""]))
        tables[-1][0].extend(columns)
        tables[-1][1].extend([tone] * len(columns))
    return [line for columns, tones in tables for line in text.below_names(
        text.columns(list(zip(*columns, strict=True)), tones, style), names)]


def _wide(columns: Columns) -> int:
    """Characters of a table of these columns."""
    return sum(2 + max(map(len, column)) for column in columns) - 2
