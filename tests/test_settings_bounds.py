"""Both ends of every setting: an engine that judges at time 0 and at the end of time, as the twin.

The bounds of ``DECLARATIONS`` follow the fields of layout.h that hold the values.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from examples import SOME
from frames import ethernet, ip, tcp, udp
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from twin import assert_same

from fwcore import shaping_values
from fwcore._demand import UNITS_MAX
from fwcore._layout import LATEST_NS
from fwcore.capture import Chunk
from fwcore.errors import SettingsError
from fwcore.reference import meter as twin_meter
from fwcore.settings import BY_NAME, DECLARATIONS, load
from fwcore.settings.declared import HUGE, MANY
from fwcore.units import PAGE_BYTES, pages_of, to_ns

DATAPLANE = Path(__file__).parent.parent / "fwcore" / "dataplane"
LAYOUT, SHAPING = ((DATAPLANE / name).read_text() for name in ("layout.h", "shaping.h"))
# Each of these is memory of this machine: as many as it takes here, but no more.
MEMORY = ("max_connections", "buckets", "fragments_max", "victims_max")
HERE = 1 << 10
NUMBERS = [row for row in DECLARATIONS if row.kind in ("count", "bytes", "percent", "seconds")]
TABLES = {"max_connections": 8, "buckets": 8, "fragments_max": 4, "victims_max": 4}
POLICIES = [{"id": 1, "protocol": "tcp", "inspection": "flow+proxy"}, {"id": 2}]


def ends(row):
    """The lowest and the highest value, as far as this machine has the memory."""
    return [row.low, min(row.high, HERE) if row.name in MEMORY else row.high]


def traffic():
    """Sessions and objects at the beginning of time, and once more at its end."""
    times, frames = [], []
    for moment in (0, 1, LATEST_NS - 1, LATEST_NS):
        for port in (1000, 1001, 1002):
            for flags, payload in (("S", 0), ("A", 0), ("PA", 5000), ("FA", 1)):
                frames.append(ethernet(ip("10.0.0.1", "10.0.0.2", 6,
                                          tcp(port, 80, flags, payload))))
                times.append(moment)
        frames.append(ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(1000, 53, 16), more=True)))
        frames.append(ethernet(ip("10.0.0.1", "10.0.0.2", 17, bytes(24), fragment=3)))
        times += [moment, moment]
    return Chunk.from_frames(frames, times)


TRAFFIC = traffic()


def judged(personality, **changes):
    """An engine of these settings has judged as the twin does; False: they do not go together."""
    try:
        loaded = load(personality, **{"seed": 1, "base_bytes": 0, "policies": POLICIES, **changes})
    except SettingsError as refused:
        words = "does not fit memory|would latch|is not (above|below) memory_use_threshold"
        if not re.search(words, str(refused)):
            raise
        return False
    assert_same(loaded, [TRAFFIC])
    return True


@pytest.mark.parametrize("name", [row.name for row in NUMBERS])
@pytest.mark.parametrize("personality", ["fortios-7", "fortios-5", "fortios-4", "linux-conntrack"])
def test_each_setting_at_its_lowest_and_at_its_highest(personality, name):
    for value in ends(BY_NAME[name]):
        ram = {"ram_bytes": BY_NAME["ram_bytes"].high} if value == BY_NAME[name].high else {}
        changes = {**TABLES, "session_bytes": 144, **ram, name: value}
        if name.startswith("memory_use_threshold"):
            changes = {**changes, **{
                f"memory_use_threshold_{level}": at for level, at in
                zip(("green", "red", "extreme"), (70, 71, 72) if value == 70 else (95, 96, 97),
                    strict=True)}}
        latches = (name, value) == ("cache_limit_bytes", BY_NAME[name].high) and (
            personality in ("fortios-5", "fortios-4"))
        assert judged(personality, **changes) != latches, (name, value)


@pytest.mark.parametrize("personality", ["fortios-5", "fortios-4"])
@pytest.mark.parametrize("ram_pages", [4, 5, 8, 9])
@pytest.mark.parametrize("model_bytes", [1, 1 << 29, 1 << 50])
def test_few_pages_of_ram_can_be_short(personality, ram_pages, model_bytes):
    """20 % of 4 pages and 12 % of 8 were levels of 0: memory failed and no mode had begun."""
    assert judged(personality, **TABLES, ram_bytes=ram_pages * PAGE_BYTES, cache_limit_bytes=0,
                  model_bytes=model_bytes, shm_limit_bytes=1 << 30, oversize_bytes=1 << 20)


def drawn():
    """Any of the settings at either end."""
    return st.fixed_dictionaries(
        {name: st.sampled_from([*ends(BY_NAME[name]), count]) for name, count in TABLES.items()},
        optional={row.name: st.sampled_from(ends(row)) for row in NUMBERS
                  if row.name not in TABLES})


@hypothesis_settings(max_examples=SOME, deadline=None,
                     suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["plain", "fortios-7", "fortios-5", "fortios-4", "linux-conntrack"]),
       drawn(), st.sampled_from(["pass", "off", "one-shot", "idledrop"]),
       st.sampled_from(["refuse", "bucket", "tension", "replace_oldest", "early_drop"]))
def test_settings_at_their_ends_together(personality, changes, av_failopen, when_full):
    judged(personality, **changes, av_failopen=av_failopen, when_full=when_full)


# --- widths -------------------------------------------------------------------------------------


def fields_of(struct):
    """Name -> bits of the whole numbers of a struct in dataplane/layout.h."""
    body = re.search(r"typedef struct \{([^{}]*)\} " + struct + ";", LAYOUT)[1]
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL)
    found = {}
    for kind, bits, names in re.findall(r"(u?int)(\d+)_t ([^;]+);", body):
        for name in names.split(","):
            found[name.split("[")[0].strip()] = int(bits) - (kind == "int")
    return found


def test_every_number_fits_the_field_that_holds_it():
    fields = fields_of("config_t")
    seen = set()
    for row in NUMBERS:
        for field, number in {
            row.name: row.high, row.name.replace("_bytes", "_pages"): pages_of(int(row.high)),
            "total_pages" if row.name == "ram_bytes" else "": pages_of(int(row.high)),
            f"{row.name.removesuffix('_s')}_ns": to_ns(row.high),
            "timeout_ns" if row.table == "timeouts" else "": to_ns(row.high),
        }.items():
            if field in fields and (field.endswith("_ns") == (row.kind == "seconds")):
                assert 0 <= number < 2 ** fields[field], (row.name, field)
                seen.add(field)
    assert {"max_connections", "total_pages", "base_pages", "sweep_ns", "timeout_ns",
            "fragments_max", "victims_max", "ips_throughput_bps", "oversize_bytes",
            "half_open_limit", "proxy_session_pages", "midstream_grace_ns"} <= seen


def constant(name, header=LAYOUT):
    """A number that a header names, in a #define or an enum: 8, 0xFFu, 5LL or (1LL << 8)."""
    found = re.search(rf"^(?:#define {name} |    {name} = )\(?(\w+)(?: << (\d+))?", header,
                      re.MULTILINE)
    return int(found[1].rstrip("uUL"), 0) << int(found[2] or 0)


def test_settings_go_as_far_as_the_header_says():
    rows = {name: BY_NAME[name] for name in (
        "oversize_bytes", "fragments_max", "victims_max", "sweep_s")}
    assert constant("TIME_MAX_NS") == LATEST_NS
    assert rows["oversize_bytes"].high == constant("OBJECT_BYTES_MAX")
    assert to_ns(rows["sweep_s"].low) == constant("SWEEP_MIN_NS")
    assert rows["fragments_max"].high <= constant("FRAGMENTS_MAX")
    assert rows["victims_max"].high <= constant("VICTIMS_MAX")
    assert pages_of(HUGE) <= constant("PAGES_MAX")
    for name in ("ram_bytes", "base_bytes", "cache_limit_bytes", "shm_limit_bytes"):
        assert BY_NAME[name].high == HUGE


@pytest.mark.parametrize("name", [
    "METERS_MAX", "RUNGS_MAX", "CHAIN_MAX", "TREE_DEPTH_MAX", "PRIORITIES", "UNITS_MAX"])
def test_shaping_goes_as_far_as_the_header_says(name):
    assert getattr(shaping_values, name) == constant(name, SHAPING)


def test_a_level_is_as_deep_everywhere():
    assert UNITS_MAX == twin_meter.UNITS_MAX == shaping_values.UNITS_MAX
    assert shaping_values.CLASS["target"].high == LATEST_NS == constant("TIME_MAX_NS")


def test_a_deadline_at_the_end_of_time_is_a_time():
    for row in NUMBERS:
        if row.kind == "seconds":
            assert LATEST_NS + to_ns(row.high) <= 2**63 - 1, row.name


def test_records_and_lines_have_numbers():
    mask, nil = constant("RECORD_MASK"), constant("NIL")
    connections, buckets = BY_NAME["max_connections"].high, BY_NAME["buckets"].high
    assert connections <= MANY < mask
    assert buckets + -(-connections // 8) < nil
    assert BY_NAME["licence_connections"].high == connections
