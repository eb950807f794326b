"""Every counter has one entry, every entry says something, and every enum is covered exactly."""

import pytest

from fwcore import glossary
from fwcore._layout import EndCause, Exposure, Reason, Verdict
from fwcore._rings import COUNTERS as PORT_COUNTERS
from fwcore.counters import by_path
from fwcore.engine import Engine
from fwcore.events import KINDS

# What an engine counts, where all that came later has happened; and what a result adds to it.
COUNTED = set(by_path(Engine(personality="plain"))) - {
    f"exposure.by_cause.{cause.name.lower()}.{name}"
    for cause in Exposure for name in ("sessions", "packets", "bytes")}
ADDED = [
    "duration_ns", "refused", "short_frames", "pressure_late", "silence", "victims_forgotten",
    "sessions.half_open", "memory.thresholds", "conserve.flaps", "conserve.seconds",
    "idledrop.hosts",
    *(f"exposure.after.{name}" for name in ("sessions", "packets", "bytes")),
    *(f"top.{name}" for name in ("forgotten_packets", "forgotten_sessions")),
    *(f"taken.{name}" for name in ("sessions", "established", "active", "bytes", "idle")),
    *(f"lru.{name}" for name in ("sessions", "same", "established", "active", "idle")),
    *(f"table.{name}" for name in (
        "max_connections", "buckets", "bytes", "bytes_per_connection", "max_depth")),
    *(f"speed.{name}" for name in (
        "wall_s", "packets_per_s", "ns_per_packet", "longest_pause_ns", "load_s")),
    *(f"pace.{name}" for name in ("late_packets", "max_late_ns")),
    *(f"shaping.{name}" for name in ("unshaped", "pages", "drain_ns")),
    *(f"shaping.meters.{name}" for name in (
        "keys", "keys_forgotten", "keys_shared", "passed", "dropped", "by_colour")),
    *(f"shaping.links.{name}" for name in (
        "packets", "bytes", "busy_ns", "queue_peak", "pages", "priorities")),
    *(f"shaping.classes.{name}" for name in (
        "packets", "bytes", "dropped", "borrowed", "giants", "waiting", "delay_max", "delay_ns")),
    *(f"shaping.open_loop.{name}" for name in ("tcp_share_of_bytes", "flows_hit")),
    *(f"live.interfaces.{name}" for name in PORT_COUNTERS),
    *(f"live.delay.{name}" for name in ("p50_ns", "p99_ns", "max_ns")),
]
ENUMS = {"verdicts": Verdict, "reasons": Reason, "sessions.ended": EndCause,
         "exposure.by_cause": Exposure}


@pytest.mark.parametrize(("prefix", "members"), ENUMS.items())
def test_enums_are_covered_exactly_and_in_order(prefix, members):
    depth = prefix.count(".") + 1
    found = [
        entry.name for entry in glossary.ENTRIES
        if entry.name.startswith(f"{prefix}.") and entry.name.count(".") == depth
    ]
    assert found == [f"{prefix}.{member.name.lower()}" for member in members]


def test_kinds_of_events_are_covered_exactly():
    assert [entry.name for entry in glossary.EVENTS] == [f"events.{kind}" for kind in KINDS]


def test_counters_are_covered_exactly():
    from_enums = {f"{prefix}.{m.name.lower()}" for prefix, members in ENUMS.items()
                  for m in members}
    from_events = {f"events.{kind}" for kind in KINDS}
    assert set(glossary.BY_NAME) == {*COUNTED, *ADDED, *from_enums, *from_events}
    assert not COUNTED & set(ADDED)


def test_each_counter_has_one_entry():
    names = [entry.name.replace(".", "_") for entry in glossary.ENTRIES]  # as in the data plane
    assert len(names) == len(set(names))


@pytest.mark.parametrize("entry", glossary.ENTRIES, ids=lambda entry: entry.name)
def test_entries_say_something(entry):
    assert len(entry.meaning) > 8
    assert not entry.meaning.endswith(".")
    assert entry.reset in (glossary.RUN, glossary.NOW, glossary.PEAK, glossary.FIXED)
    assert "|" not in f"{entry.name}{entry.meaning}{entry.vendor}"


VENDOR = [
    ("memory_tension", "memory_tension_drop"), ("sessions.ended.clash", "clash"),
    ("sessions.half_open", "ephemeral"), ("sessions.live", "session_count"),
    ("sessions.ended.cleared", "flush"), ("table.max_depth", "max_depth"),
    ("reasons.tcp_invalid", "conntrack -S invalid"),
]


@pytest.mark.parametrize(("name", "vendor"), VENDOR)
def test_vendors_names(name, vendor):
    assert glossary.BY_NAME[name].vendor == vendor


def test_find():
    assert glossary.find("packets").name == "packets"
    assert glossary.find("exposure.by_cause.ips.packets").name == "exposure.by_cause.ips"
    assert glossary.find("memory.thresholds.unified.red").name == "memory.thresholds"
    assert glossary.find("nothing.of.the.kind") is None


def test_search():
    assert "sessions.half_open" in {entry.name for entry in glossary.search("EPHEMERAL")}
    assert not list(glossary.search("no such word"))


def test_text_and_markdown():
    line = glossary.text(glossary.BY_NAME["sessions.live"])
    assert line == (
        "sessions.live: sessions standing [vendor: session_count]"
        " (reset: never: the present figure)"
    )
    rows = glossary.markdown().splitlines()
    assert len(rows) == len(glossary.ENTRIES) + 2
    assert all(row.count("|") == 5 for row in rows)
