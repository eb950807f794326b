"""The schema of a result: what stands where, so that a damaged or crafted one is refused by name.

A result read from a file may hold anything. It is held against ``RESULT`` once, when it is loaded;
whoever shows it may then take what is here for granted. A key with "?" may be missing; what is not
named here may be anything that is plain and not nested beyond reason, but in rows of a table, whose
every key is a column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from fwcore.errors import FwcoreError
from fwcore.words import MODES

Check = Callable[[Any, str], None]

DEPTH = 16                      # of what is not named; a result of ours has 6


def _wrong(where: str, wanted: str, value: Any) -> FwcoreError:
    shown = repr(value)[:40] if isinstance(value, str | float | None) else type(value).__name__
    return FwcoreError(f"{where} is {shown}, where {wanted} is wanted")


# --- single values --------------------------------------------------------------------------------


def integer(low: int, wanted: str, high: int = (1 << 63) - 1) -> Check:
    """A whole number from ``low`` to ``high``; ``wanted`` says so in words."""
    def check(value: Any, where: str) -> None:
        if type(value) is not int or not low <= value <= high:
            raise _wrong(where, wanted, value)
    return check


def one_of(*words: str) -> Check:
    """One of these words."""
    def check(value: Any, where: str) -> None:
        if type(value) is not str or value not in words:
            raise _wrong(where, " or ".join(words), value)
    return check


def number(value: Any, where: str) -> None:
    """A finite number below 1e30, as long as anything that is counted or measured."""
    if type(value) not in (int, float) or not abs(value) < 1e30:
        raise _wrong(where, "a number", value)


def above_zero(value: Any, where: str) -> None:
    """A number above 0, so far from both ends that a ratio of two is a number, too."""
    if type(value) not in (int, float) or not 1e-30 < value < 1e30:
        raise _wrong(where, "a number above 0", value)


def _kind(kind: type, wanted: str) -> Check:
    def check(value: Any, where: str) -> None:
        if type(value) is not kind:
            raise _wrong(where, wanted, value)
    return check


def anything(value: Any, where: str, depth: int = DEPTH) -> None:
    """Plain and finite, and not nested too deeply."""
    if depth == 0:
        raise FwcoreError(f"{where[:80]}...: nested too deeply")
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(where, "a number", value)
    if isinstance(value, Mapping):
        for key, each in value.items():
            anything(each, f"{where}.{key}", depth - 1)
    elif isinstance(value, list):
        for each in value:
            anything(each, where, depth - 1)


UNIFIED_LEVELS = ("green", "red", "extreme")
MACHINE_LEVELS = ("enter", "leave", "shm_enter", "shm_leave", "proxy_sessions_enter",
                  "proxy_sessions_leave")
COUNT = integer(0, "a count")
TIME = integer(-(1 << 63), "a number of nanoseconds")
TEXT = _kind(str, "text")
FLAG = _kind(bool, "true or false")
MODE = one_of(*MODES)


# --- what is made of them -------------------------------------------------------------------------


def rows(shape: Any) -> Check:
    """A list of this shape."""
    def check_rows(value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        for at, each in enumerate(value):
            check(each, shape, f"{where}[{at}]")
    return check_rows


def table(shape: Mapping[str, Any], others: Check | None = None) -> Check:
    """Rows of this shape and no other keys, or of ``others``."""
    known = {name.removesuffix("?") for name in shape}
    listed_rows = rows(shape)

    def check_table(value: Any, where: str) -> None:
        listed_rows(value, where)
        for at, row in enumerate(value):
            for name in row.keys() - known:
                if others is None:
                    raise FwcoreError(f"{where}[{at}].{name}: there are {', '.join(sorted(known))}")
                others(row[name], f"{where}[{at}].{name}")
    return check_table


def some(shape: Any) -> Check:
    """A list of this shape, and not an empty one."""
    def check_some(value: Any, where: str) -> None:
        if value == []:
            raise FwcoreError(f"{where} is empty")
        check(value, rows(shape), where)
    return check_some


def named(shape: Any) -> Check:
    """A dictionary of this shape, whatever its keys."""
    def check_named(value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise _wrong(where, "a dictionary", value)
        for key, each in value.items():
            check(each, shape, f"{where}.{key}")
    return check_named


def listed(*shapes: Any) -> Check:
    """A list of as many things, each of its own shape."""
    def check_listed(value: Any, where: str) -> None:
        if not isinstance(value, list) or len(value) != len(shapes):
            raise _wrong(where, f"a list of {len(shapes)}", value)
        for at, (each, shape) in enumerate(zip(value, shapes, strict=True)):
            check(each, shape, f"{where}[{at}]")
    return check_listed


def either(*shapes: Any) -> Check:
    """One of several shapes; None stands for null."""
    def check_either(value: Any, where: str) -> None:
        for shape in shapes[:-1]:
            try:
                check(value, shape, where)
            except FwcoreError:
                continue
            return
        check(value, shapes[-1], where)
    return check_either


def shaping_timeline(value: Any, where: str) -> None:
    """Columns as long as there are times, and these in order."""
    check(value, SHAPING_TIMELINE, where)
    times = value["time_ns"]
    if any(a >= b for a, b in pairwise(times)):
        raise FwcoreError(f"{where}.time_ns does not ascend")
    for kind in ("links", "classes", "meters"):
        for at, row in enumerate(value[kind]):
            for name, each in row.items():
                if isinstance(each, list) and len(each) != len(times):
                    raise FwcoreError(f"{where}.{kind}[{at}].{name} has {len(each)} samples,"
                                      f" time_ns {len(times)}")


def timeline(value: Any, where: str) -> None:
    """Columns of one length, times in order; an empty one has none."""
    if value == {}:
        return
    check(value, TIMELINE, where)
    columns = {name: each for name, each in value.items() if name not in ("verdicts", "reasons")}
    check(columns, named(_kind(list, "a list")), where)
    for group in ("verdicts", "reasons"):
        columns |= {f"{group}.{name}": each for name, each in value[group].items()}
    times = value["time_ns"]
    for name, each in columns.items():
        if len(each) != len(times):
            raise FwcoreError(f"{where}.{name} has {len(each)} samples, time_ns {len(times)}")
    if any(a > b for a, b in pairwise(times)):
        raise FwcoreError(f"{where}.time_ns runs backwards")
    if any(each >= len(MODES) for each in value["mode"]):
        raise FwcoreError(f"{where}.mode: there are modes 0 to {len(MODES) - 1}")


def thresholds(value: Any, where: str) -> None:
    """{machine: {level: pages} or null}; the levels are those that views draw."""
    check(value, named(either(None, named(COUNT))), where)
    for machine, levels in value.items():
        known = UNIFIED_LEVELS if machine == "unified" else MACHINE_LEVELS
        for name in levels or ():
            if name not in known:
                raise FwcoreError(f"{where}.{machine}.{name}: there are {', '.join(known)}")


def shaped(value: Any, where: str) -> None:
    """What a packet met of shaping; where it met a link: what became of it, and when."""
    check(value, MET, where)
    if "link" in value:
        check(value, MET_LINK, where)
        if value["fate"]:
            TIME(value["wait_ns"], f"{where}.wait_ns")


def ended(value: Any, where: str) -> None:
    """A session of an explanation; what ended with a packet did so at a time."""
    check(value, ENDED, where)
    if value["packet"] is not None:
        TIME(value["time_ns"], f"{where}.time_ns")


def check(value: Any, shape: Any, where: str = "result") -> None:
    """Raises FwcoreError, with the place, when a value is not of a shape."""
    if shape is None:
        if value is not None:
            raise _wrong(where, "null", value)
        return
    if not isinstance(shape, Mapping):
        shape(value, where)
        return
    if not isinstance(value, Mapping):
        raise _wrong(where, "a dictionary", value)
    for key, inner in shape.items():
        name = key.removesuffix("?")
        if name in value:
            check(value[name], inner, f"{where}.{name}")
        elif name == key:
            raise FwcoreError(f"{where}.{name} is missing")
    for key, each in value.items():
        if key not in shape and f"{key}?" not in shape:
            anything(each, f"{where}.{key}")


def _counts(names: str, **more: Any) -> dict[str, Any]:
    return dict.fromkeys(names.split(), COUNT) | more


COUNTS = rows(COUNT)
HITS = _counts("dropped? bypassed? taken? sessions? packets? bytes? dropped_bytes? "
               "bypassed_bytes?")
PAIR = _counts("packets bytes")
EXPOSED = _counts("sessions packets bytes")
SHAPING_TIMELINE = {
    "time_ns": rows(TIME), "left_out": _counts("links classes meters"),
    "links": rows({"name": TEXT, "rate": COUNT, **dict.fromkeys(
        ("bytes", "taken_ns", "queue_bytes"), COUNTS)}),
    "classes": rows({"link": TEXT, "id": COUNT, **dict.fromkeys(
        ("packets", "dropped", "backlog_bytes", "slowest_ns"), COUNTS)}),
    "meters": rows({"name": TEXT, "passed": COUNTS, "dropped": COUNTS})}
TIMELINE = dict.fromkeys(
    "packet mode live created ended tension evicted free exposed_packets base sessions shm "
    "cache".split(), COUNTS) | {
    "time_ns": rows(TIME), "verdicts": named(COUNTS), "reasons": named(COUNTS)}
COST = _counts("lost sessions_taken dropped_packets dropped_bytes uninspected"
               " uninspected_packets uninspected_bytes")
HARMED = {"flows": COUNT, "bytes": COUNT, "cost": named(COST)}
PAIR_FLOWS = _counts("flows bytes")
INPUTS = table({
    "path": TEXT, "format": TEXT, "reader": TEXT, "packets": COUNT, "notes?": rows(TEXT),
    "fault": either(None, TEXT, {"message": TEXT, "byte_offset": COUNT})})
HOST = {
    "host": TEXT, "packets": COUNT, "inputs": INPUTS,
    "flows": rows({"flow": TEXT, "policy_name": TEXT, "outcome": TEXT, **_counts(
        "first_packet packets bytes dropped_bytes uninspected_bytes")}),
}
MET = {"meters": rows({"name": TEXT, "colour": COUNT, "level": TIME, "rungs": COUNT,
                       "counts": TEXT}), "dscp": either(None, COUNT)}
MET_LINK = {"link": TEXT, "fate": TEXT, "wait_ns": either(None, TIME), **_counts(
    "class waiting waiting_bytes")}
ENDED = {"created_packet": COUNT, "packet": either(None, COUNT), "time_ns": either(None, TIME),
         "cause": TEXT}
EXPLAIN = {
    "flow": TEXT, "start_ns": TIME, "capture_packets": COUNT, "kept": COUNT, "nearest?": rows(TEXT),
    "inputs": INPUTS,
    "rows": rows({
        **_counts("packet length used_pages freeable_pages"), "time_ns": TIME,
        "total_pages": integer(1, "a number of pages above 0"),
        **dict.fromkeys("direction flags mode gate verdict reason".split(), TEXT),
        **dict.fromkeys(("before", "state"), either(None, TEXT)),
        **dict.fromkeys(("session", "was"), either(None, COUNT)), "met?": shaped}),
    "sessions": rows(ended),
    "shaping_timeline?": shaping_timeline,
}
RESULT = {
    "fwcore": TEXT, "personality": TEXT, "outcome": TEXT, "duration_ns": COUNT,
    **_counts("packets bytes memory_tension time_reversed? time_jumped? victims_forgotten? flaps?"
              " unjudged? short_frames? pressure_late? grace_unsure?"),
    "silence?": _counts("ns packet"),
    "interrupted?": FLAG, "interrupted_by?": TEXT, "lost?": rows({"path": TEXT, "message": TEXT}),
    "inputs": INPUTS, "policy_names?": named(TEXT), "filter?": {"text": TEXT, "frames": COUNT},
    "focus?": {"text": TEXT, "flows": COUNT},
    "whole?": {"packets": COUNT, "sessions": {"peak": COUNT}},
    "settings?": named({"from?": TEXT, "mark?": either(None, TEXT)}),
    "verdicts": _counts("forward inspect bypass drop"),
    "reasons": named(COUNT), "decode": named(COUNT), "laws": named(FLAG),
    "sessions": _counts("created live peak reborn?", ended=_counts(
        "tension evicted expired? closed? clash? killed? cleared?")),
    "stampede": _counts("passes pages_needed sessions_deleted"),
    "memory": {
        "total_pages": COUNT, "now": _counts("base sessions shm cache free used"),
        "peak": _counts("used base? sessions? shm? cache? free?"),
        "thresholds?": thresholds},
    "conserve": {
        "mode": either(MODE, named(MODE)), "label?": TEXT, "flaps?": COUNT,
        "seconds": named(number),
        "transitions": table({
            **_counts("packet used_pages freeable_pages free_pages"), "snapshot?": anything,
            "time_ns": TIME, "cause": TEXT, "machine": TEXT, "from": MODE, "to": MODE})},
    "exposure": {**EXPOSED, "by_cause": named(EXPOSED), "after?": EXPOSED},
    "taken?": _counts("sessions established active bytes", idle=named(COUNT)),
    "lru?": _counts("sessions same established active", idle=named(COUNT)),
    "victims?": table({
        **_counts("packet created_packet bytes policy"), "age_ns": TIME, "idle_ns": TIME,
        **dict.fromkeys("key cause state inspection".split(), TEXT)}),
    "events?": table({"time_ns": TIME, "packet": COUNT, "kind": TEXT, "machine?": TEXT,
                      "text?": TEXT}, COUNT),
    "table": {"max_connections": COUNT},
    "top?": {"hosts?": table({"host": TEXT, **HITS}), "policies?": table({"id": COUNT, **HITS}),
             **_counts("forgotten_packets? forgotten_sessions?")},
    "timeline?": timeline,
    "trail?": {"packets": COUNT, "stride": COUNT, "digests": TEXT, "packed": either(None, TEXT)},
    "speed": {**dict.fromkeys("packets_per_s ns_per_packet wall_s longest_pause_ns".split(),
                              number), "load_s?": number},
    "shaping?": {
        "unshaped": PAIR, "drain_ns": COUNT,
        "meters": rows({"name": TEXT, "key": TEXT, "passed": PAIR, "dropped": PAIR,
                        "by_colour": COUNTS, **_counts("keys keys_forgotten keys_shared")}),
        "links": rows({"name": TEXT, "queue_peak": PAIR,
                       **_counts("rate packets bytes busy_ns pages priorities")}),
        "classes": rows({
            "link": TEXT, "dropped": named(COUNT), "delay_ns": _counts("p50 p95 p99 max"),
            **_counts("id packets bytes borrowed giants waiting")}),
        "open_loop": {"tcp_share_of_bytes": number, "flows_hit": COUNT}},
    "shaping_timeline?": shaping_timeline,
    "pace?": {"late_packets?": COUNT, "max_late_ns?": COUNT},
}
COMPARE = {
    "flows": COUNT, "settings": rows(TEXT), "hosts_harmed": COUNT, "policies_harmed": COUNT,
    "harm": rows({"name": TEXT, "shaping?": TEXT, "flows": named(COUNT),
                  "conserve_seconds": named(number), "turned": PAIR_FLOWS, **_counts(
        "lost uninspected dropped_bytes uninspected_bytes sessions_taken transitions")}),
    "groups": rows({"outcomes": named(TEXT), **_counts("flows packets bytes"), "largest": rows(
        {"flow": TEXT, "policy_name": TEXT, **_counts("first_packet bytes")})}),
    "results": rows(RESULT), "hosts": rows({"host": TEXT, **HARMED}),
    "policies": rows({"policy_name": TEXT, **HARMED}),
}
