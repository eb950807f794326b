"""Links, classes and meters over time: how rows are kept, and what is drawn of them."""

import re

import numpy as np
import pytest
from frames import ethernet, ip, udp
from shaping_core import declared_of
from test_shaping_core import Both, over

from fwcore import _shaper
from fwcore.capture import Chunk
from fwcore.engine import Engine
from fwcore.errors import FwcoreError
from fwcore.reference.rows import (
    ClassRow,
    Declared,
    LinkRow,
    MeterRow,
    RungRow,
    Session,
    ShapingRow,
)
from fwcore.replay.body import engine_result
from fwcore.report import html, over_time, plot, text
from fwcore.result import Result
from fwcore.settings import load
from fwcore.shaping_layout import lay_out

MS = 10**6
RATE = 8_000_000          # a byte a microsecond
SIZE = 1000


def line_of(*classes, meters=(), **more):
    """A link at RATE, and a row for everything."""
    return Declared(
        meters=meters, links=(LinkRow("w", RATE),), classes=classes,
        rows=(ShapingRow(1, meters=tuple(row.name for row in meters), link="w"),), **more)


def test_a_full_table_keeps_each_second_row_with_what_was_most_of_both():
    both = Both(line_of(ClassRow("w", 1, limit_packets=30)))
    both.begin("a", Session())
    room = 512
    for number in range(room + 1):
        for _ in range(number % 7):
            both.packet(0, SIZE, "a")
        both.advance(1000 * (number % 5) + 1)
        both.both("sample")
    rows = both.twin.samples
    halved = [over(before, row) for before, row in zip(rows[:room:2], rows[1:room:2], strict=True)]
    assert both.core.samples == [*halved, rows[room]]
    for _ in range(3):                      # what somebody asks for is kept
        both.advance(1)
        both.both("sample")
    assert len(both.core.samples) == room // 2 + 4


def test_a_crest_between_two_samples_is_seen():
    both = Both(line_of(ClassRow("w", 1)))
    both.begin("a", Session())
    both.both("sample")
    for _ in range(3):
        both.packet(0, SIZE, "a")
    both.advance(10 * MS)
    both.both("sample")
    row = both.core.samples[-1]
    assert row["links"]["w"] == (3000, 3 * MS, 3000)
    assert row["classes"]["w:1"] == (3, 0, 2000, 3 * MS)     # one was on the line at once
    assert both.core.samples == both.twin.samples


def test_samples_are_taken_over_by_name():
    """A class that went away has no words; a new one was at 0 until now."""
    meter = MeterRow("m", (RungRow(8000, SIZE),))
    both = Both(line_of(ClassRow("w", 1), ClassRow("w", 2), meters=(meter,)))
    both.begin("a", Session())
    both.packet(0, SIZE, "a")
    both.packet(0, SIZE, "a")               # more than its bucket holds
    both.both("sample")
    both.both("configure", line_of(ClassRow("w", 1), ClassRow("w", 3), meters=(meter,)))
    both.advance(5 * MS)
    both.both("sample")
    both.compare()
    first, last = both.core.samples
    assert first["classes"]["w:3"] == (0, 0, 0, 0)
    assert last["classes"]["w:1"][0] == 1
    assert first["meters"]["m"] == last["meters"]["m"] == (1, 1)


@pytest.mark.parametrize("change", [
    {"shaper_samples": lambda words: words[:-1]},
    {"shaper_samples": lambda words: np.concatenate([words, words])},
    {"shaper_samples": lambda words: words + np.uint64(1 << 62)},
])
def test_rows_that_cannot_be_are_refused(change):
    both = Both(line_of(ClassRow("w", 1)))
    both.begin("a", Session())
    both.advance(MS)
    both.both("sample")
    state = both.core.shaper.state()
    for name, turn in change.items():
        state[name] = turn(state[name])
    with pytest.raises(_shaper.DataError, match="samples"):
        both.core.make(0, 64).set_state(state)


def test_memory_is_bounded_by_the_number_of_classes():
    """Of many classes fewer rows are kept; the plan says what they take."""
    classes = tuple(ClassRow("w", n + 1, limit_packets=1) for n in range(3000))
    plan = lay_out(declared_of(line_of(*classes)))
    shaper = _shaper.Shaper(plan)
    for number in range(300):
        shaper.advance(number)
        shaper.sample()
    rows = len(shaper.samples()["time_ns"])
    assert 32 <= rows <= 64 + 64
    few = lay_out(declared_of(line_of(ClassRow("w", 1))))
    assert plan.bytes(0, 1, False) - few.bytes(0, 1, False) > 64 * 8 * 4 * 2999


# --- what is drawn --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    """Bursts at twice the line for half a second, then half of it."""
    engine = Engine(load(
        "plain", seed=1, max_connections=100, meters=[
            {"name": "m", "rungs": [{"rate": 6_000_000, "depth": 20_000}], "count": "frame"}],
        links=[{"name": "wan <1>", "rate": RATE}],
        classes=[{"link": "wan <1>", "id": n, "limit_packets": 50} for n in (1, 2)],
        shapings=[{"id": n, "ports": [n], "link": "wan <1>", "class": n,
                   "meters": ["m"] if n == 1 else []} for n in (1, 2)]))
    frames = [ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(9, port, SIZE - 42))) for port in (1, 2)]
    table = np.frombuffer(b"".join(frames), np.uint8).reshape(2, -1)
    gaps = np.where(np.arange(1500) < 1000, 500_000, 2_000_000)
    engine.process(Chunk.from_array(table[np.arange(1500) % 2], 10**18 + np.cumsum(gaps)))
    engine.fastpath.sample()
    found = engine_result(engine)
    return Result.from_json(found.to_json())


def test_the_result_has_what_there_was_at_the_last_packet(result):
    found = result.data["shaping_timeline"]
    assert found["left_out"] == {"links": 0, "classes": 0, "meters": 0}
    line, = found["links"]
    sent = sum(row["packets"][-1] for row in found["classes"])
    assert line["bytes"][-1] == sent * SIZE
    assert max(line["queue_bytes"]) == result.data["shaping"]["links"][0]["queue_peak"]["bytes"]
    assert max(max(row["slowest_ns"]) for row in found["classes"]) == max(
        row["delay_ns"]["max"] for row in result.data["shaping"]["classes"])
    assert found["meters"][0]["dropped"][-1] == (
        result.data["shaping"]["meters"][0]["dropped"]["packets"])


def test_the_line_is_full_and_then_half_full(result):
    shown = over_time.shown(result)
    line, = shown.links
    middles = (shown.edges[:-1] + shown.edges[1:]) / 2
    assert line.taken[(middles > 0.1) & (middles < 0.45)].min() == pytest.approx(1, abs=0.01)
    assert line.taken[middles > 0.8].mean() == pytest.approx(0.5, abs=0.02)
    assert (line.speed[(middles > 0.1) & (middles < 0.45)].mean()
            == pytest.approx(RATE, rel=0.02))
    seconds = np.diff(shown.edges)
    assert (shown.meters[0].lost * seconds).sum() == pytest.approx(
        result.data["shaping_timeline"]["meters"][0]["dropped"][-1])
    assert line.queue[middles > 0.9].max() <= SIZE


def test_the_terminal_draws_it_within_80_columns(result):
    for unicode in (True, False):
        lines = text.summary(result, text.Style(unicode=unicode)).splitlines()
        drawn = [row for row in lines if re.match(r" *wan <1> (queue|line|delay) ", row)]
        assert len(drawn) == 3
        assert max(map(len, lines)) <= 80
        assert ("█" if unicode else "#") in drawn[1]


def test_the_page_and_the_picture_draw_it(result, tmp_path):
    page = html.render(result)
    assert "<h3>wan &lt;1&gt;</h3>" in page
    assert "longest delay" in page
    plot.write(result, tmp_path / "picture.svg")
    assert "longest delay" in (tmp_path / "picture.svg").read_text()


def test_a_crafted_one_is_refused_by_name(result):
    found = result.data["shaping_timeline"]
    data = result.data | {"shaping_timeline": found | {"time_ns": found["time_ns"][1:]}}
    with pytest.raises(FwcoreError, match="shaping_timeline"):
        Result.from_json(Result(data).to_json())
