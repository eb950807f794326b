"""The answer before the figures: what happened, what it cost, and to whom, in three sentences.

Every number is one of the result's; nothing is said that rests on rows that a ring forgot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fwcore import counters, units
from fwcore.report import facts, shaping
from fwcore.result import Result

TAKEN = ("evicted", "tension", "killed")
HARM_WORDS = (("taken", "session", "taken"), ("dropped", "packet", "dropped"),
              ("bypassed", "packet", "unscanned"))
SHAPED = ("over_limit", "queue_full")
DROPS = ("no_session", "denied", "malformed", "icmp_orphan")    # of the others, those that say so
LINUX_DROPS = DROPS[:2]     # of the rest it forwards some


# What only a policy that inspects can come to.
INSPECTED = ("conserve_block", "ips_block", "proxy_table_full", "killed")
NOTHING_INSPECTED = ("No packet met a policy that inspects: there was nothing that the mode could"
                     " have left unscanned.")


def sentences(result: Result) -> list[str]:
    """Up to five: the mode, what passed unscanned or was lost, who was hit most, shaping, and
    whether there was anything to inspect."""
    found = [_mode(result), _cost(result), _whom(result), _shaping(result),
             NOTHING_INSPECTED if inspects_nothing(result.data) else ""]
    return [each for each in found if each]


def headline(result: Result) -> list[str]:
    """Those that a picture has room for: the mode, what it cost, shaping."""
    return [each for each in (_mode(result), _cost(result), _shaping(result)) if each]


def inspects_nothing(found: Mapping[str, Any]) -> bool:
    """Whether a result had conserve mode, and no packet that an inspection was asked for."""
    return bool("focus" not in found and found["packets"] and found["conserve"]["transitions"]
                and not found["verdicts"]["inspect"] and not found["verdicts"]["bypass"]
                and not any(found["reasons"].get(name) for name in INSPECTED))


def _shaping(result: Result) -> str:
    found = shaping.section(result)
    return shaping.sentence(found) if found is not None else ""


def taken(result: Result) -> int:
    """Sessions evicted, taken by tension or killed."""
    ended = result.data["sessions"]["ended"]
    return sum(ended.get(cause, 0) for cause in TAKEN)


def refused(result: Result) -> int:
    """Packets dropped for want of memory or room."""
    return counters.refused(result.data["reasons"])


def _mode(result: Result) -> str:
    """Whether a mode was on, how long, from which packet to which."""
    conserve = result.data["conserve"]
    rows = conserve["transitions"]
    spent = {mode: value for mode, value in conserve["seconds"].items() if mode != "off" and value}
    table = result.data["table"]["max_connections"]
    peak = result.data.get("whole", result.data)["sessions"]["peak"]
    full = (f"The connection table was full ({units.count(table)})." if peak >= table else
            f"The connection table held up to {units.count(peak)} of {units.count(table)}.")
    if not rows:
        if facts.setting(result, "machine") == "none":
            return full
        memory = result.data["memory"]
        most = units.share(memory["peak"]["used"], memory["total_pages"])
        return f"Conserve mode was never on: memory in use rose to {most}." if peak < table else (
            f"Conserve mode was never on. {full}")
    began, ended = _spells(rows)
    text = f"Conserve mode {units.seconds(sum(spent.values()))}"
    if spent.get("extreme"):
        text += f", {units.seconds(spent['extreme'])} of it extreme"
    if len(began) > 1:
        text += f", in {units.count(len(began))} spells"
    if began:
        first, last = began[0]["packet"], ended[-1]["packet"] if ended else 0
        until = units.count(last) if facts.mode_at_end(result) == "off" and ended else "the end"
        text += (f"; before packet {units.count(first)}" if until == units.count(first) else
                 f"; packets {units.count(first)} to {until}")
    return f"{text}."


def _spells(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Any], list[Any]]:
    """Transitions with which the first machine left off, and the last one came back to it."""
    modes: dict[str, str] = {}
    began, ended = [], []
    for row in rows:
        before = facts.worst(modes)
        modes[row["machine"]] = row["to"]
        after = facts.worst(modes)
        if before == "off" != after:
            began.append(row)
        elif after == "off" != before:
            ended.append(row)
    return began, ended


def _cost(result: Result) -> str:
    """What passed unscanned, what was refused, which sessions were taken."""
    exposure, parts = result.data["exposure"], []
    if exposure["packets"]:
        text = (f"{units.plural(exposure['sessions'], 'session')},"
                f" {units.size(exposure['bytes'])} passed unscanned")
        after = exposure.get("after", {})
        if after.get("packets"):
            text += (f" ({units.plural(after['packets'], 'packet')} of these after the mode had"
                     f" ended, in {units.plural(after['sessions'], 'session')})")
        parts.append(text)
    scarce, lost = refused(result), taken(result)
    if scarce:
        parts.append(f"{units.plural(scarce, 'packet')} refused for want of memory or room")
    if lost:
        parts.append(f"{units.plural(lost, 'session')} taken{_which(result)}")
    rest = others(result)
    if not parts:
        return f"Nothing was lost for want of memory or room, and nothing passed unscanned{rest}."
    if not scarce and not lost:
        parts.append("none lost")
    text = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 and scarce + lost else
                                    ", " if len(parts) > 1 else "") + parts[-1]
    return f"{text}{rest}."


def others(result: Result) -> str:
    """What was dropped for reasons that are neither memory nor room nor shaping, the most of it by
    name: '; 733 packets dropped otherwise (no_session 733)'."""
    reasons = result.data["reasons"]
    known = (*counters.REFUSALS, *SHAPED)
    number = result.data["verdicts"]["drop"] - sum(reasons.get(name, 0) for name in known)
    if number <= 0:
        return ""
    drops = LINUX_DROPS if facts.setting(result, "tracker") == "linux" else DROPS
    named = [f"{name} {units.count(reasons[name])}" for name in sorted(
        drops, key=lambda name: -reasons.get(name, 0)) if reasons.get(name)][:2]
    return (f"; {units.plural(number, 'packet')} dropped otherwise"
            + (f" ({', '.join(named)})" if named else ""))


def _which(result: Result) -> str:
    """What the sessions taken were: ' (12 established, 340 active within a second)'."""
    row = result.data.get("taken")
    if not row:
        return ""
    whose = "its" if row["sessions"] == 1 else "their"
    text = (f"{_or_none(row['established'])} established, {_or_none(row['active'])} active in"
            f" {whose} last second")
    lru = result.data.get("lru", {})
    if lru.get("sessions"):
        text += (f"; least-recently-used would have taken {units.count(lru['sessions'])}:"
                 f" {_or_none(lru['established'])} established, {_or_none(lru['active'])} active")
    return f" ({text})"


def _or_none(number: int) -> str:
    return units.count(number) if number else "none"


def _stands_out(result: Result, figures: Mapping[str, int]) -> bool:
    """Whether this is a hundredth of what was lost and passed unscanned: a flood spares nobody."""
    verdicts = result.data["verdicts"]
    whole = {"taken": taken(result), "dropped": verdicts["drop"], "bypassed": verdicts["bypass"]}
    return any(figures.get(name, 0) * 100 >= number > 0 for name, number in whole.items())


def _few(figures: Mapping[str, int]) -> str:
    return ", ".join(f"{units.short(figures[key])} {noun}{'s' * (figures[key] != 1)} {what}"
                     for key, noun, what in HARM_WORDS if figures.get(key))


def _whom(result: Result) -> str:
    """The host and the policy that were hit most."""
    parts = []
    for kind, word in (("hosts", "host"), ("policies", "policy")):
        columns, rows = facts.hit(result, kind)
        if not rows:
            continue
        name, *values = rows[0]
        figures = dict(zip(columns, values, strict=True))
        if kind == "policies" and len(rows) == 1 and name == "0":
            continue        # where there are no policies
        if kind == "hosts" and not _stands_out(result, figures):
            parts.append(f"no host more than others (at most {_few(figures)})")
            continue
        parts.append(f"{word} {name} ({_few(figures)})")
    return f"Hit most: {' and '.join(parts)}." if parts else ""
