"""Times of day in a pressure script, amounts as vendors write them, and what choices do."""

import itertools

import pytest
from hypothesis import given, strategies as st

from fwcore import cli, settings as settings_module, units
from fwcore.capture import Chunk
from fwcore.engine import Engine
from fwcore.errors import SettingsError
from fwcore.replay import replay
from fwcore.settings import BY_NAME, DECLARATIONS, MARKS, load
from fwcore.settings.declared import MEANINGS
from fwcore.settings.rows import clock_ns

START = 1_700_000_000 * 10**9             # 2023-11-14 22:13:20 UTC
DAY = 86_400 * 10**9


def frames():
    return [Chunk.from_frames([b"x" * 60] * 3, [START, START + 10**9, START + 60 * 10**9], link=9)]


@pytest.mark.parametrize(("at", "second"), [
    ("22:13:30", 10), ("22:13:30.25", 10.25), ("22:14", 40), ("2023-11-14 22:13:30", 10),
    ("2023-11-14T22:13:30", 10), ("22:13:20", 0)])
def test_a_time_of_day_is_the_same_as_its_second(at, second):
    times = []
    for moment in ({"at": at}, {"at_s": second}):
        pressure = [{**moment, "add_bytes": 1200 * 1024}]
        result = replay(frames(), load("fortios-7", ram_bytes="4MiB", pressure=pressure))
        times.append([row["time_ns"] for row in result["conserve"]["transitions"]])
    assert times[0] == times[1] == [START + int(second * 10**9)]


@given(st.integers(0, DAY - 1), st.integers(0, 20_000), st.integers(0, DAY - 1))
def test_without_a_date_it_is_the_next_such_moment(clock, days, part):
    first = days * DAY + part
    text = f"{clock // 3600 // 10**9:02d}:{clock // 60 // 10**9 % 60:02d}:" \
           f"{clock // 10**9 % 60:02d}.{clock % 10**9:09d}"
    found = clock_ns(text, first)
    assert found % DAY == clock and first <= found < first + DAY


@pytest.mark.parametrize("at", ["", "13", "25:00", "13:60", "13:00:61", 1300, "2023-02-30 13:00",
                                "13:00 Uhr"])
def test_what_is_no_time_of_day_is_refused(at):
    with pytest.raises(SettingsError, match="at = "):
        load("fortios-7", pressure=[{"at": at, "add_bytes": 4096}])


def test_moments_that_cannot_be(tmp_path):
    row = {"at": "13:00", "add_bytes": 4096}
    with pytest.raises(SettingsError, match="one moment is enough"):
        load("fortios-7", pressure=[row | {"at_s": 3}])
    with pytest.raises(SettingsError, match="an Engine takes at_s"):
        Engine(load("fortios-7", pressure=[row]))
    with pytest.raises(SettingsError, match="standard input"):
        replay("-", load("fortios-7", pressure=[row]))
    early = load("fortios-7", pressure=[row | {"at": "2020-01-01 13:00"}])
    with pytest.raises(SettingsError, match="before the first packet"):
        replay(frames(), early)


@pytest.mark.parametrize(("text", "number"), [
    ("2G", 2 << 30), ("512k", 512 << 10), ("64M", 64 << 20), ("1918 MB", 1918 << 20)])
def test_amounts_as_vendors_write_them(text, number):
    assert load("fortios-7", None, [f"ram-bytes={text}", "base-bytes=0"]).ram_bytes == number
    if "cos-core" in settings_module.personalities() and text == "512k":
        made = load("cos-core", None, [f"oversize-bytes={text}"])
        assert made.oversize_bytes == 512_000       # MB is 10^6 there


def test_every_choice_that_decides_says_what_it_does():
    for name, meanings in MEANINGS.items():
        assert set(meanings) == set(BY_NAME[name].choices), name
    assert {row.name for row in DECLARATIONS if len(row.choices) > 2 and row.kind == "choice"} <= (
        set(MEANINGS))


def test_look_ups_take_the_vendors_spelling_and_give_reasons(capfd):
    assert cli.main(["settings", "av-failopen"]) == 0
    out = capfd.readouterr().out
    assert "one-shot: as pass, and new sessions pass unscanned after the mode too" in out
    assert cli.main(["personality", "show", "fortios-7"]) == 0
    shown = capfd.readouterr().out
    assert "default: availability before security" in shown
    assert all(f"{mark}  {meaning}" in shown for mark, meaning in MARKS.items())
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(("key", "last"), [
    ("class.limit_packets", "without it: 1000"), ("meter.name", "needed"),
    ("class.ecn", "without it: false"), ("fortios.shaping-profile.type", "without it: policing"),
    ("fortios.traffic-shaper.diffserv", "without it: disable"),
    ("tc.class.burst", "as tc writes a size: 1600, 15k (a key of [[tc.class]])"),
    ("tc.qdisc.interval", "without it: 100 ms"), ("tc.qdisc.quantum", "without it: 1514")])
def test_a_key_of_a_row_says_what_stands_without_it(capfd, key, last):
    assert cli.main(["settings", key]) == 0
    told = capfd.readouterr().out.splitlines()
    after = told[told.index(key) + 1:]
    own = itertools.takewhile(lambda line: line.startswith(" "), after)
    assert list(own)[-1].strip() == last


def test_on_the_command_line(capfd, tmp_path):
    assert cli.main(["replay", "pcaps/web.pcap", "--personality", "fortios-7", "--set",
                     "ram-bytes=2G", "--pressure", "at=22:14 add_bytes=700M", "--json",
                     str(tmp_path / "r.json"), "-q"]) == 0
    assert units.clock(START) == "2023-11-14 22:13:20.000"
