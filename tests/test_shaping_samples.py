"""Links, classes and meters over time: how rows are kept, and what is drawn of them."""

import json
import re

import numpy as np
import pytest
from frames import ethernet, ip, udp
from shaping_core import declared_of
from test_shaping_core import Both, over

from fwcore import _shaper, schema, units
from fwcore.capture import Chunk
from fwcore.engine import Engine
from fwcore.errors import FwcoreError
from fwcore.flow import parse as flow_of
from fwcore.reference.rows import (
    ClassRow,
    Declared,
    LinkRow,
    MeterRow,
    RungRow,
    Session,
    ShapingRow,
)
from fwcore.replay.beside import replay_beside
from fwcore.replay.body import engine_result
from fwcore.report import (
    charts,
    compare,
    compare_page,
    compare_text,
    explain,
    facts,
    graph,
    html,
    over_time,
    plot,
    text,
)
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
    drawn = (tmp_path / "picture.svg").read_text()
    assert all(words in drawn for words in ("longest delay", "% of the line", "Shaping dropped"))


def test_a_link_without_a_line_has_no_share_of_it_in_the_picture(result, tmp_path):
    found = result.data["shaping_timeline"]
    lineless = [link | {"rate": 0} for link in found["links"]]
    plot.write(Result(result.data | {"shaping_timeline": found | {"links": lineless}}),
               tmp_path / "picture.svg")
    drawn = (tmp_path / "picture.svg").read_text()
    assert "longest delay" in drawn
    assert "% of the line" not in drawn


@pytest.mark.parametrize(("times", "ends"), [
    ([0, 10, 20, 30, 40, 100, 200], [1, 2, 3, 4, 5, 6]),     # steps of 10
    ([0, 10, 13, 100, 200], [1, 2, 3, 4]),                   # a stretch of 3 before a silence
    ([0, 10, 11, 100, 200], [2, 3, 4]),     # one of 1 is no stretch: the one before ends with it
    ([0, 1, 100, 200], [2, 3]),             # nor is the first
    ([0, 10, 20, 195, 200], [1, 2, 4])])    # what is left at the end is the last one's
def test_a_stretch_ends_before_a_silence(times, ends):
    """What was most before would be drawn all through it."""
    found = over_time._ends(np.array(times, np.int64), 0, 20)
    assert found.tolist() == ends


def test_two_settings_stand_side_by_side_to_one_scale(result):
    """The second has half as much of everything: its bars reach half as high."""
    found = result.data["shaping_timeline"]
    halves = found | {kind: [
        {name: [each // 2 for each in column] if name in ("queue_bytes", "slowest_ns", "dropped")
         else column for name, column in row.items()} for row in found[kind]]
        for kind in ("links", "classes", "meters")}
    other = Result(result.data | {"shaping_timeline": halves})
    drawn = graph.against([("A", result), ("B", other)], width=40)
    named = {label.text: [graph.EIGHTHS.index(cell.text) for cell in cells]
             for label, cells in drawn.rows}
    assert list(named) == [f"{kind} {name}" for kind in ("queue", "delay", "drops")
                           for name in "AB"]
    for kind in ("queue", "delay", "drops"):
        assert max(named[f"{kind} A"]) == 8
        assert max(named[f"{kind} B"]) in (4, 5)        # an eighth is begun where one is rounded
    most = max(found["links"][0]["queue_bytes"])
    assert f"queue {units.size(most)}" in drawn.legend
    unshaped = Result({key: value for key, value in result.data.items()
                       if key != "shaping_timeline"})
    assert graph.against([("A", unshaped)], width=40) is None


def test_a_setting_is_one_of_all_its_links_and_meters(result):
    shown = over_time.shown(result)
    twice = shown._replace(links=shown.links * 2)
    one, two = over_time.whole(shown), over_time.whole(twice)
    assert (two["queue"] == 2 * one["queue"]).all() and (two["delay"] == one["delay"]).all()
    seconds, found = np.diff(shown.edges), result.data["shaping_timeline"]
    assert (one["drops"] * seconds).sum() == pytest.approx(
        sum(row["dropped"][-1] for row in (*found["classes"], *found["meters"])))


def test_a_comparison_has_it_on_the_terminal_and_in_the_page(monkeypatch):
    """A polices, B makes wait: 1 500 packets of 1 000 bytes, 100 a second too many."""
    frames = [ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(9, 1, SIZE - 42)))]
    table = np.frombuffer(frames[0], np.uint8).reshape(1, -1)[np.zeros(1500, int)]
    chunk = Chunk.from_array(table, 10**18 + np.arange(1500) * 900_000)
    meter = {"name": "m", "rungs": [{"rate": RATE, "depth": 5000}], "count": "frame"}
    every = {"seed": 1, "max_connections": 100}
    made = compare.run([chunk], {
        "A": load("plain", meters=[meter], shapings=[{"id": 1, "meters": ["m"]}], **every),
        "B": load("plain", links=[{"name": "w", "rate": RATE}],
                  shapings=[{"id": 1, "link": "w"}], **every)}, replay_beside)
    told = compare_text.show(made.to_dict())
    lines = {row.split()[0] + row.split()[1]: row for row in told.splitlines()
             if re.match(r" +(queue|delay|drops) [AB]\b", row)}
    assert set(lines) == {f"{kind}{name}" for kind in ("queue", "delay", "drops") for name in "AB"}
    assert "█" in lines["queueB"] and "█" in lines["dropsA"]
    assert not set("▁▂▃▄▅▆▇█") & set(lines["queueA"] + lines["dropsB"])
    assert max(map(len, told.splitlines())) <= 80
    drawn = {}
    monkeypatch.setattr(charts, "embed", lambda found: (
        drawn.update(found) or "", {name: f"[{name}]" for name in found}))
    page = compare_page.render(made)
    assert page.index("Shaping over time") < page.index("[against_queue]") < page.index(
        "[against_delay]") < page.index("[against_drops]")
    labels = [[item.label.value for item in drawn[f"against_{kind}"].legend[0].items]
              for kind in charts.AGAINST]
    assert labels == [["A", "B"]] * 3


def test_a_flow_sees_its_queue_while_it_came():
    """Two flows share a queue; the second comes at 100 ms, when the queue is being emptied."""
    engine = Engine(load("plain", seed=1, max_connections=100, links=[{"name": "w", "rate": RATE}],
                         shapings=[{"id": 1, "link": "w"}]), log=True, departures=True,
                    arrivals=True)
    frames = [ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(9, port, SIZE - 42))) for port in (1, 2)]
    table = np.frombuffer(b"".join(frames), np.uint8).reshape(2, -1)
    which = np.array([0] * 200 + [1, 1] + [0] * 10)
    times = np.array([0] * 200 + [100 * MS, 150 * MS] + [400 * MS + at * MS for at in range(10)])
    life = explain.run([Chunk.from_array(table[which], 10**18 + times)], engine,
                       flow_of("10.0.0.1:9-10.0.0.2:2/udp"))
    first, second = (row["met"] for row in life["rows"])
    # packet n leaves at n ms: at 100 ms the line has just begun packet 101, 99 wait behind it
    assert (first["waiting"], first["waiting_bytes"]) == (99, 99 * SIZE)
    assert (second["waiting"], second["waiting_bytes"]) == (50, 50 * SIZE)
    found = life["shaping_timeline"]
    assert [(row["link"], row["id"]) for row in found["classes"]] == [("w", 1)]
    assert found["time_ns"][0] <= 10**18 + 100 * MS
    assert found["time_ns"][-1] <= 10**18 + 401 * MS
    told = explain.show(life)
    assert "behind 99 packets, 96.7 KiB" in " ".join(told.split())
    (queue,), (marks,) = ([row for row in told.splitlines() if word in row]
                          for word in ("w:1 queue", "its packets"))
    assert "█" in queue and marks.count("↑") == 2
    schema.check(json.loads(json.dumps(life | {"inputs": []})), schema.EXPLAIN)


def test_who_lost_most_has_the_longest_bar(result):
    hosts = [{"host": f"10.0.0.{n}", "dropped": 10, "dropped_bytes": 400 * n, "taken": 0}
             for n in (4, 2, 1)]
    data = Result(result.data | {"top": result.data["top"] | {"hosts": hosts}})
    assert [part.share for part in facts.hit_parts(data, "hosts")] == [1.0, 0.5, 0.25]
    lines = [row for row in text.summary(data).splitlines() if "10.0.0." in row and "█" in row]
    assert [row.count("█") for row in lines] == [24, 12, 6]
    page = html._hit(data)
    assert all(f"--part:{part}%" in page for part in (100, 50, 25))


def test_a_crafted_one_is_refused_by_name(result):
    found = result.data["shaping_timeline"]
    data = result.data | {"shaping_timeline": found | {"time_ns": found["time_ns"][1:]}}
    with pytest.raises(FwcoreError, match="shaping_timeline"):
        Result.from_json(Result(data).to_json())
