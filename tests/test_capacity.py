"""Planning: the article's figures, and headroom and outlook worked out by hand."""

import json
from fractions import Fraction

import pytest

from fwcore import capacity
from fwcore.errors import SettingsError
from fwcore.report import plan as plan_page, text
from fwcore.settings import load

MB = 10**6


def connections(result):
    return next(line for line in result.lines if line.name == "connections")


# ---------------------------------------------------------------- memory by owner


def test_the_articles_figures():
    """[C] 512 000 connections need about 210 MB, 128 000 about 50; at least 150 MB saved."""
    cos = load("cos-core")
    assert connections(capacity.plan(cos)).bytes == 210_944_000
    assert connections(capacity.plan(cos, 128_000)).bytes == 52_736_000
    (lever,) = capacity.levers(cos, connections=128_000)
    assert lever.saved_bytes == 158_208_000 >= 150 * MB
    assert (lever.before, lever.after, lever.restart) == (512_000, 128_000, True)


def test_plan_of_cos_core():
    result = capacity.plan(load("cos-core"), 128_000, 100)
    assert [(line.owner, line.name, line.bytes) for line in result.lines] == [
        ("base", "system", 429_496_729),  # 40 % of 1 GiB
        ("base", "IPsec tunnels", 19_353_600),  # 100 x (65 536 + 128 000)
        ("sessions", "connections", 52_736_000),
    ]
    assert (result.lines[1].count, result.lines[1].bytes_each) == (100, 193_536)
    # ceil(448 850 329 / 4096) + ceil(52 736 000 / 4096) = 109 583 + 12 875
    assert result.used_pages == 122_458
    assert result.free_bytes == (262_144 - 122_458) * 4096 == 572_153_856
    assert result.above_floor and result.when == "at start" and result.short_bytes == 0


def test_the_floor():
    """One page above and one below 100 MB: 24 415 x 4096 = 100 003 840."""
    for free, above in ((24_415, True), (24_414, False)):
        base = (262_144 - 51_500 - free) * 4096
        result = capacity.plan(load("cos-core", base_bytes=base))
        assert result.free_bytes == free * 4096 and result.above_floor is above


def test_base_items_are_lines_and_levers():
    items = [{"name": "rings", "count": 512, "bytes_each": 2048},
             {"name": "IDP", "count": 1, "bytes_each": 30 * MB}]
    settings = load("cos-core", base_items=items)
    assert [line.name for line in capacity.plan(settings).lines] == ["rings", "IDP", "connections"]
    saved = {lever.lever: lever.saved_bytes for lever in capacity.levers(settings)}
    assert saved["without IDP"] == 30 * MB and saved["without rings"] == 1_048_576
    given = load("cos-core", base_items=items, base_bytes=31 * MB)  # then the items do not count
    assert [line.name for line in capacity.plan(given).lines] == ["system", "connections"]


def test_slab_is_planned_at_a_full_table():
    settings = load("fortios-7", ram_bytes=100 * 4096, max_connections=200)  # base 60, 4 a page
    result = capacity.plan(settings)
    assert (result.used_pages, result.short_bytes) == (110, 10 * 4096)
    assert result.free_bytes == 0 and result.when == "at a full table"
    assert capacity.plan(settings, 100).free_bytes == 15 * 4096


def test_more_than_memory_is_one_line():
    with pytest.raises(SettingsError, match="does not fit memory") as refused:
        capacity.plan(load("cos-core"), 4_000_000)
    assert "\n" not in str(refused.value)


def test_results_fit_json():
    settings = load("cos-core", licence_tunnels=500)
    shown = [capacity.plan(settings).as_dict(), capacity.headroom(settings).as_dict(),
             capacity.outlook(settings, 100).as_dict(),
             [each.as_dict() for each in capacity.levers(settings)]]
    assert json.loads(json.dumps(shown)) == shown


# ---------------------------------------------------------------- levers


def test_fewer_connections_make_tunnels_cheaper():
    """[C] "memory allocations for IPsec tunnels would be higher the more connections"."""
    settings = load("cos-core", licence_tunnels=500)
    fewer, tunnels = capacity.levers(settings)
    assert fewer.setting == "max_connections" and fewer.after == 128_000
    assert fewer.of_which_tunnels_bytes == 500 * 384_000
    assert fewer.saved_bytes == 158_208_000 + 192_000_000
    assert (tunnels.before, tunnels.after) == (500, 100)
    assert tunnels.saved_bytes == 400 * (65_536 + 512_000)


def test_levers_of_fortios():
    found = {each.setting: each for each in capacity.levers(load("fortios-7"), objects=10)}
    assert found["oversize_bytes"].saved_bytes == 10 * 5 * 2**20
    # 52 429 pages -> 26 215 pages (214 748 364 and 107 374 182 bytes)
    assert found["cache_limit_bytes"].saved_bytes == 26_214 * 4096
    assert found["max_connections"].saved_bytes == 187_500 * 4096
    assert found["max_connections"].saves == "at most"
    assert not found["max_connections"].restart


# ---------------------------------------------------------------- headroom


def test_headroom_of_slab():
    """100 pages, base 60, 4 sessions a page: red at 88, so with session 27 x 4 + 1."""
    settings = load("fortios-7", ram_bytes=100 * 4096, max_connections=1000)
    room = capacity.headroom(settings)
    assert room.sessions == {"red": 109, "extreme": 137, "memory": 161, "table full": 1000}
    assert room.first == "red"
    assert room.bytes == {"red": 28 * 4096, "extreme": 35 * 4096, "memory": 40 * 4096}
    later = capacity.headroom(settings, live=100, shm_pages=2)  # 25 + 2 pages
    assert later.sessions["red"] == 101 - 100 and later.used_pages == 87
    assert later.sessions["table full"] == 900
    assert capacity.headroom(settings, live=1000).sessions["table full"] == 0
    assert capacity.headroom(settings, live=109).sessions["red"] == 0


def test_headroom_when_the_table_fills_first():
    settings = load("fortios-7", ram_bytes=100 * 4096, max_connections=108)
    assert capacity.headroom(settings).first == "table full"
    assert settings.warnings


def test_headroom_of_whole_pages():
    """Two pages a session: red at 88 with base 60 is session 14."""
    settings = load("fortios-7", ram_bytes=100 * 4096, session_bytes=5000)
    assert capacity.headroom(settings).sessions["red"] == 14
    assert capacity.headroom(settings).sessions["memory"] == 21


def test_headroom_of_a_preallocated_table():
    room = capacity.headroom(load("cos-core"))
    assert room.sessions == {"low memory": None, "memory": None, "table full": 512_000}
    assert room.first == "table full"
    # 1 GiB - 40 % - 51 500 pages = 105 786 free; the warning comes at 24 414
    assert room.bytes["low memory"] == (105_786 - 24_414) * 4096


def test_headroom_of_fortios_4():
    """base 314 573; kernel at 473 089, proxy at 461 375 used pages."""
    room = capacity.headroom(load("fortios-4"))
    assert room.sessions["proxy"] == (461_375 - 314_573 - 1) * 4 + 1 == 587_205
    assert room.sessions["kernel"] == (473_089 - 314_573 - 1) * 4 + 1
    assert room.first == "proxy"


def test_headroom_refuses_more_than_the_table():
    with pytest.raises(SettingsError, match="max_connections = 512000"):
        capacity.headroom(load("cos-core"), live=512_001)


# ---------------------------------------------------------------- outlook


def test_days_to_each_level():
    """100 pages, base 60; one page a day: red (88) in 28 days, extreme in 35, gone in 40."""
    settings = load("fortios-7", ram_bytes=100 * 4096)
    result = capacity.outlook(settings, leak_bytes_per_day=4096)
    assert result.days == {"red": 28, "extreme": 35, "memory": 40}
    assert result.until == "red" and result.days_between_restarts == 28
    late = capacity.outlook(settings, leak_bytes_per_day=4096, until="memory")
    assert late.days_between_restarts == 40
    assert capacity.outlook(settings, Fraction(4096, 86400)).days == result.days
    assert capacity.outlook(settings, leak_bytes_per_day=4096, live=8).days["red"] == 26


def test_once_a_week_becomes_once_a_month():
    """[C] 48 MB above the floor are leaked in a week; 158 MB more last for 30 days.

    Base 174 475 pages + table 51 500: 11 755 pages to the low-memory level at 237 730.
    128 000 connections free 38 625 pages: 50 380 x 7 / 11 755 = 30.0 days.
    """
    before = load("cos-core", base_bytes=174_475 * 4096)
    after = before.replace(max_connections=128_000)
    result = capacity.outlook(before, restart_every_days=7, after=after)
    assert result.until == "low memory"
    assert result.leak_bytes_per_day == Fraction(11_755 * 4096, 7)
    assert result.days_between_restarts == 7
    assert result.days_between_restarts_after == Fraction(50_380 * 7, 11_755)
    assert round(result.days_between_restarts_after) == 30


def test_a_level_that_has_come_is_zero_days_away():
    settings = load("fortios-7", ram_bytes=100 * 4096, base_bytes=90 * 4096)
    assert capacity.outlook(settings, 1).days["red"] == 0
    with pytest.raises(SettingsError, match="tells nothing"):
        capacity.outlook(settings, restart_every_days=7)


@pytest.mark.parametrize("leak", [{}, {"leak_bytes_per_s": 0}, {"leak_bytes_per_day": -1},
                                  {"leak_bytes_per_s": 1, "leak_bytes_per_day": 1},
                                  {"restart_every_days": 0},
                                  {"leak_bytes_per_s": 1, "until": "green"}])
def test_leaks_that_are_refused(leak):
    with pytest.raises(SettingsError):
        capacity.outlook(load("cos-core"), **leak)


def test_the_level_stays_the_same_after_a_change():
    """red is first before; after, it is still red that a restart is due at."""
    before = load("fortios-7", ram_bytes=100 * 4096)
    result = capacity.outlook(before, leak_bytes_per_day=4096, after=before.replace(base_bytes=0))
    assert result.days_between_restarts_after == 88


# ---------------------------------------------------------------- edges


def test_exactly_the_floor_is_above_it():
    """100 MB is 10^8 bytes = 24 414.0625 pages: 24 415 free pages are at least that."""
    free = 24_415
    at = load("plain", ram_bytes=(free + 1000) * 4096, base_bytes=1000 * 4096, accounting="slab",
              session_bytes=4096, max_connections=1)
    assert capacity.plan(at.replace(base_bytes=999 * 4096)).free_bytes == free * 4096
    assert capacity.plan(at.replace(base_bytes=999 * 4096)).above_floor
    assert not capacity.plan(at).above_floor


def test_a_floor_of_exactly_the_free_bytes(monkeypatch):
    planned = load("plain", ram_bytes=1 << 20, max_connections=1)
    monkeypatch.setattr(capacity, "FLOOR_BYTES", capacity.plan(planned).free_bytes)
    assert capacity.plan(planned).above_floor


def test_no_tunnels_are_no_tunnels_whatever_the_licence_says():
    licensed = load("cos-core", licence_tunnels=500, tunnel_base_bytes=10_000)
    assert licensed.tunnels == 500
    without = capacity.with_counts(licensed, tunnels=0)
    assert (without.tunnels, without.licence_tunnels, without.tunnels_bytes) == (0, 0, 0)
    assert capacity.with_counts(licensed, tunnels=3).licence_tunnels == 500


def test_the_level_asked_for_stays_after_a_change():
    """200 pages, plain: until memory is gone, although the warning comes first."""
    before = load("fortios-7", ram_bytes=1000 * 4096, base_bytes=500 * 4096)
    after = before.replace(base_bytes=400 * 4096)
    found = capacity.outlook(before, leak_bytes_per_day=4096, after=after, until="memory")
    assert found.until == "memory"
    assert (found.days_between_restarts, found.days_between_restarts_after) == (500, 600)
    assert min(found.days_after.values()) == 480  # red, at 880 pages, would have come first


def test_a_plan_that_does_not_fit_says_what_is_short():
    made = plan_page.make(load("cos-core"), connections=5_000_000)
    needed = 5_000_000 * 412 + load("cos-core").base_bytes
    assert 0 <= made["plan"]["short_bytes"] - (needed - 2**30) < 3 * 4096
    assert made["plan"]["free_bytes"] == 0 and made["plan"]["total_bytes"] == 2**30
    assert "It does not fit: 1415.8 MB" in plan_page.render(made, text.Style())
    with pytest.raises(SettingsError, match="out of range"):
        plan_page.make(load("cos-core"), connections=0)


@pytest.mark.parametrize("personality", ["cos-core", "fortios-7"])
def test_how_low_for_so_much_free(personality):
    settings = load(personality, max_connections=2_000_000 if personality == "fortios-7" else 500)
    wanted = capacity.plan(settings, 300).free_bytes
    most = plan_page.make(settings, free_bytes=wanted)["connections_for"]["connections"]
    assert most >= 300 and capacity.plan(settings, most).free_bytes >= wanted
    assert capacity.plan(settings, most + 1).free_bytes < wanted
    assert capacity.connections_for(settings, 1 << 40) == 0


def test_what_a_lever_saves_through_tunnels_is_said():
    said = plan_page.render(
        plan_page.make(load("cos-core", licence_tunnels=500)), text.Style())
    assert "334 MiB  183 MiB of it by tunnels, restart\n" in said    # 192 000 000 bytes
    assert said.count("by tunnels") == 1


def test_after_the_change_says_which():
    made = plan_page.make(load("cos-core"), connections=128_000, restart_every=7)
    assert "The change: max_connections 512 000" in plan_page.render(made, text.Style())
