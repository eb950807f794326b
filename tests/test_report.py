"""Summary, graph, figures, tables, picture."""

import re
import sys

import fake
import numpy as np
import pytest

from fwcore import rows, units
from fwcore.errors import FwcoreError, MissingExtra
from fwcore.replay import replay
from fwcore.report import facts, graph, plot, text
from fwcore.result import Result
from fwcore.settings import load

ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def result():
    return Result(fake.make())


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("ends", ["off", "on"])
def test_summary_fits_80_columns_and_has_every_section(unicode, ends):
    made = Result(fake.make(ends=ends, packets=987_654_321))
    written = text.summary(made, text.Style(unicode=unicode))
    assert max(map(len, written.splitlines())) <= 80
    for title in ("in", "verdicts", "why", "memory", "modes", "sessions", "hosts hit", "policies",
                  "exposure", "laws", "speed"):  # fmt: skip
        assert f"\n  {title} " in written
    assert written.isascii() != unicode


def test_a_host_that_was_hit_is_named_whole():
    data = fake.make()
    address = "2001:db8:1234:5678:9abc:def0:1234:5678"
    data["top"]["hosts"][0]["host"] = address
    lines = text.summary(Result(data)).splitlines()
    at = lines.index(f"{'':12}{address}")
    assert lines[at + 1].split()[0].isdigit() and max(map(len, lines)) <= 80


def test_colours_change_nothing_but_colours(result):
    plain, coloured = (text.summary(result, text.Style(colour=colour)) for colour in (False, True))
    stripped = [line.rstrip() for line in ANSI.sub("", coloured).splitlines()]
    assert stripped == plain.splitlines() and plain != coloured


def test_transitions_with_their_packets(result):
    written = text.summary(result)
    for row in result.data["conserve"]["transitions"]:
        assert f"packet {units.count(row['packet']):>12}" in written


def test_banner_only_while_a_mode_is_on(result):
    assert "conserve mode" not in text.summary(result).splitlines()[1]
    on = Result(fake.make(ends="on"))
    assert "extreme low memory mode" in text.summary(on).splitlines()[1]


def test_many_transitions_are_shortened():
    data = fake.make()
    data["conserve"]["transitions"] *= 500
    written = text.summary(Result(data))
    assert "... 1 992 more" in written and len(written.splitlines()) < 80


def test_a_quiet_capture_leaves_sections_out():
    data = fake.make(victims=0)
    data["timeline"], data["events"], data["top"] = {}, [], {"hosts": [], "policies": []}
    data["exposure"].update(sessions=0, packets=0, bytes=0)
    data["conserve"].update(transitions=[], mode="off")
    data["reasons"] = {"hit": 10}
    data["stampede"]["passes"] = 0
    written = text.summary(Result(data))
    for title in ("why", "modes", "hosts hit", "exposure"):
        assert f"\n  {title} " not in written


def test_one_packet_is_no_packets():
    data = fake.make()
    data["packets"], data["pace"] = 1, {"late_packets": 1}
    written = text.summary(Result(data))
    assert " 1 packet ·" in written and "1 packet late by more than 1 ms\n" in written


def test_broken_law_and_fault_stand_out():
    data = fake.make()
    data["laws"]["pages"] = False
    data["inputs"][0]["fault"] = {"message": "ends within a record", "byte_offset": 4711}
    written = text.summary(Result(data))
    assert "broken: pages" in written and "ends within a record at byte 4711" in written


def test_graph_puts_lines_where_thresholds_are(result):
    made = graph.memory(result, width=40, height=9)
    labels = [label.text for label, _ in made.rows]
    marked = [label for label in labels if label.split(" ")[0] in ("green", "red", "extreme")]
    assert marked == ["extreme 95%", "red 88%", "green 82%"]
    assert all(len(cells) == 40 for _, cells in made.rows)
    modes = "".join(cell.text for cell in made.rows[-1][1])
    assert re.fullmatch(r"·+▒+█+▒+·+", modes)


def test_graph_of_a_single_moment():
    data = fake.make(samples=1, duration_s=0)
    assert graph.memory(Result(data), width=10) is not None


def test_bands_follow_the_worst_machine():
    def row(second, machine, to):
        return {"machine": machine, "to": to, "time_ns": second * 10**9}

    data = {
        "timeline": {"time_ns": [0, 10 * 10**9]}, "duration_ns": 10 * 10**9,
        "conserve": {"transitions": [row(1, "proxy", "on"), row(2, "kernel", "on"),
                                     row(3, "proxy", "off"), row(5, "kernel", "off"),
                                     row(7, "proxy", "on")]},
    }  # fmt: skip
    assert [(band.start_ns // 10**9, band.end_ns // 10**9, band.mode)
            for band in facts.bands(Result(data))] == [(1, 5, "on"), (7, 10, "on")]  # fmt: skip


def test_levels_of_free_memory_become_levels_of_use():
    memory = {"total_pages": 1000, "thresholds": {"kernel": {"enter": 200, "leave": 300}}}
    found = facts.lines(Result({"memory": memory}))
    assert [(line.pages, line.text) for line in found] == [
        (700, "kernel leave 70%"), (800, "kernel enter 80%")]  # fmt: skip


def test_thinning_keeps_the_peak_and_the_changes():
    made = Result(fake.make(samples=20_000))
    whole, thin = facts.timeline(made), facts.timeline(made, 1000)
    assert len(thin["second"]) < 1500
    assert thin["used"].max() == whole["used"].max()
    assert set(whole["time_ns"][np.flatnonzero(np.diff(whole["mode"])) + 1]) <= set(thin["time_ns"])


def stepped(*rows):
    """Columns from rows (second, mode, used, dropped so far)."""
    second, mode, used, dropped = (np.array(column) for column in zip(*rows, strict=True))
    return {"second": second.astype(float), "mode": mode, "used": used, "verdict_drop": dropped}


# Nothing until 7.3 s, when memory jumps and the mode changes; then 10 packets dropped a second.
JUMP = stepped((0, 0, 100, 0), (5, 0, 100, 0), (7.3, 1, 900, 0), (10, 1, 900, 27))


def test_a_value_holds_until_the_next_sample():
    made = facts.steps(JUMP)
    assert made["second"].tolist() == [0, 5, 5, 7.3, 7.3, 10, 10]
    assert len(made["second"]) == len(made["used"])
    before = made["second"] < 7.3
    assert set(made["used"][before].tolist()) == {100}
    assert made["used"][made["second"].tolist().index(7.3)] == 100      # up to the very moment
    assert made["used"][-1] == 900


@pytest.mark.parametrize("bins", [2, 3, 7, 300])
def test_no_rate_moves_before_the_mode_that_caused_it(bins):
    second, rates = facts.rebin(JUMP, ["verdict_drop"], bins)
    rate = rates["verdict_drop"]
    assert len(second) == len(rate) and (np.diff(second) >= 0).all()
    assert second[0] == 0 and second[-1] == 10
    assert rate[: np.searchsorted(second, 7.3, side="left")].max() == 0
    assert rate[-1] == pytest.approx(10)
    total = (rate[::2] * (second[1::2] - second[::2])).sum()
    assert total == pytest.approx(27)           # what the stretches show is what was counted


def test_changes_that_are_close_do_not_make_a_rate_explode():
    rows = [(0, 0, 1, 0), (5, 1, 1, 0), (5.000001, 0, 1, 9), (5.000002, 1, 1, 9), (10, 1, 1, 9)]
    second, rates = facts.rebin(stepped(*rows), ["verdict_drop"], 5)
    assert rates["verdict_drop"].max() < 10 and np.diff(second[::2]).min() > 0.6


def test_the_graph_of_a_terminal_does_not_rise_before_the_jump():
    data = fake.make(samples=2, duration_s=10)
    line, start = data["timeline"], data["timeline"]["time_ns"][0]
    for name, (low, high) in {"base": (1000, 20_000), "sessions": (0, 0), "shm": (0, 0),
                              "cache": (0, 0)}.items():
        line[name] = [low, high]
    line["free"] = [data["memory"]["total_pages"] - used for used in (1000, 20_000)]
    line["time_ns"] = [start, start + 10**10]
    used, _ = graph._columns_of_time(facts.timeline(Result(data)), 20)
    assert used.tolist() == [1000] * 19 + [20_000]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (units.count(1204331), "1 204 331"), (units.short(9999), "9 999"),
        (units.short(19_700_000), "19.7 M"), (units.size(1023), "1023 B"),
        (units.size(1 << 20), "1 MiB"), (units.size(1020 * 1024), "1020 KiB"),
        (units.seconds(0), "0 s"), (units.seconds(0.00083), "830 us"),
        (units.seconds(125), "2 m 05 s"), (units.seconds(59.999), "60 s"),
        (units.seconds(90061), "1 d 01 h"), (units.share(1, 100000), "<0.1 %"),
        (units.share(0, 0), "-"),
        (units.clock(1_667_433_500 * 10**9), "2022-11-02 23:58:20.000"),
        (units.signed(-3), "-3"), (units.signed(1200), "+1 200"),
        (units.plural(1, "pass", "passes"), "1 pass"),
    ],
)  # fmt: skip
def test_figures(made, expected):
    assert made == expected


def test_tables_as_files(result, tmp_path):
    csv = tmp_path / "v.csv"
    assert rows.write(result.array("victims"), csv) == 400
    lines = csv.read_text().splitlines()
    assert lines[0].startswith("packet,created_packet,key,cause") and len(lines) == 401
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    parquet = tmp_path / "v.parquet"
    rows.write(result.array("victims"), parquet)
    assert pyarrow.parquet.read_table(parquet).column("cause")[0].as_py() == "tension"


def test_tables_say_what_they_can_write(result, tmp_path, monkeypatch):
    with pytest.raises(FwcoreError, match=r"\.csv, \.jsonl or \.parquet"):
        rows.write(result.array("victims"), tmp_path / "v.xlsx")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"fwcore\[parquet\]"):
        rows.write(result.array("victims"), tmp_path / "v.parquet")


def test_picture(result, tmp_path):
    pytest.importorskip("matplotlib")
    plot.write(result, tmp_path / "m.png")
    assert (tmp_path / "m.png").read_bytes()[:4] == b"\x89PNG"
    plot.write(result, tmp_path / "m.svg")
    plot.write(result, tmp_path / "n.svg")
    svg = (tmp_path / "m.svg").read_text()
    assert "<svg" in svg and "extreme 95%" in svg
    assert svg == (tmp_path / "n.svg").read_text()
    with pytest.raises(FwcoreError, match=r"\.svg or \.pdf"):
        plot.write(result, tmp_path / "m.gif")


def test_picture_without_matplotlib(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"fwcore\[report\]"):
        plot.write(result, tmp_path / "m.png")


def test_what_came_after_the_last_sample_is_shown_too():
    data = fake.make(samples=1, ends="on", duration_s=3)
    data["packets"], data["verdicts"]["drop"] = 900, 300
    data["timeline"]["packet"] = [0]
    del data["timeline"]["verdicts"]["drop"]
    columns = facts.timeline(Result(data))
    assert columns["second"].tolist() == [0, 3] and columns["packet"].tolist() == [0, 900]
    assert columns["verdict_drop"].tolist() == [0, 300]
    assert columns["used"][-1] == data["memory"]["now"]["used"]


@pytest.mark.parametrize(("personality", "said"), [
    ("fortios-7", "█ used, ░ freeable, extreme counts both, mode ▒ on █ extreme"),
    ("fortios-5", "█ used, ░ freeable, enter and leave count both, mode ▒ on")])
def test_the_graph_says_what_its_marks_are(personality, said):
    made = replay("pcaps/conserve.pcap", load(personality, "pcaps/conserve.toml"))
    assert said in text.summary(made, text.Style(unicode=True))


def test_sessions_taken_without_a_time_they_were_idle():
    """Of a forged result: it was a traceback."""
    taken = {"sessions": 1, "bytes": 9, "established": 0, "active": 0, "idle": {}}
    forged = Result(fake.make() | {"taken": taken, "lru": {**taken, "same": 1}})
    assert "1 of 1 the same" in text.summary(forged)
