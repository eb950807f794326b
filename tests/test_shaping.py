"""Shaping: every scenario of tests/scenarios/90-shaping*.toml through the twin."""

import pytest
import shaping_scenario as notation

from fwcore.reference.rows import ClassRow, Declared, LinkRow, MeterRow, RungRow
from fwcore.reference.shaping import Shaper

ALL = notation.read_all()


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in ALL])
def test_the_twin_does_what_the_scenario_says(row):
    story = notation.Run(row).run()
    assert notation.differences(row, story) == []
    assert [law for law, holds in story.laws.items() if not holds] == []


def test_every_scenario_has_a_name_of_its_own_and_says_why():
    names = [row.id for row in ALL]
    assert len(names) == len(set(names))
    assert len(names) >= 100
    assert all(row.row["why"].strip() and row.row["says"] and row.row["source"] for row in ALL)


def test_many_are_about_trees_and_chains():
    assert sum("parent" in str(row.row.get("class")) or "next" in str(row.row.get("link"))
               or row.id.startswith(("tree", "htb", "chain")) for row in ALL) >= 20


@pytest.mark.parametrize(("told", "other"), [
    ("w:1 sent 5.333334", "w:1 sent 5.333333"), ("w:1 sent 8 ", "w:1 sent 9 "),
    ("w:1 sent 2.666667", "queue_full"), ("w:1 sent 2.666667", "w:1 codel 2.666667")])
def test_another_expectation_is_a_difference(told, other):
    (found,) = (row for row in ALL if row.id == "link-three-frames-at-3-mbit")
    assert told in found.row["packets"]
    row = notation.Scenario("", found.row | {"packets": found.row["packets"].replace(told, other)})
    assert notation.differences(row, notation.Run(row).run())
    for wrong in ({"order": "1 3 2"}, {"expect": {"links.w.packets": 2}}):
        row = notation.Scenario("", found.row | wrong)
        assert notation.differences(row, notation.Run(row).run())


@pytest.mark.parametrize("line", ["2 0 a > 100 -> pass", "1 0 a 100 -> pass", "1 0 a > 100",
                                  "1 0.0000001 a > 100 -> pass", "1 0 b > 100 -> pass",
                                  "! 0 jump", "! end a"])
def test_a_line_that_is_none_is_refused(line):
    row = notation.Scenario("", {"flows": "a 10.0.0.1:1 > 10.0.0.2:2 udp", "packets": line})
    with pytest.raises((AssertionError, KeyError)):
        notation.Run(row).run()


def test_a_circle_and_a_long_chain_are_refused():
    for links in ([LinkRow("a", next="b"), LinkRow("b", next="a")],
                  [LinkRow(str(n), next=str(n + 1) if n < 8 else "") for n in range(9)]):
        with pytest.raises(ValueError, match="more than 8"):
            Shaper(Declared(links=tuple(links)))
    Shaper(Declared(links=tuple(
        LinkRow(str(n), next=str(n + 1) if n < 7 else "") for n in range(8))))


def test_a_depth_is_held_to_what_64_bits_can_count():
    most = 2**61 // (8 * 10**9)  # g = 1
    Shaper(Declared(meters=(MeterRow("m", (RungRow(10**9 + 7, most),)),)))
    with pytest.raises(ValueError, match="above 2\\^61"):
        Shaper(Declared(meters=(MeterRow("m", (RungRow(10**9 + 7, most + 1),)),)))
    with pytest.raises(ValueError, match="above 2\\^61"):
        Shaper(Declared(links=(LinkRow("w"),), classes=(
            ClassRow("w", 1, ceiling=7, ceiling_burst=most + 1),)))


def test_what_would_leave_after_the_end_of_time_is_cleared():
    row = notation.Scenario("", {
        "link": [{"name": "w", "rate": 1}], "shaping": [{"id": 1, "link": "w"}],
        "flows": "a 10.0.0.1:1 > 10.0.0.2:2 udp",
        "packets": "1-2 0 a > 1500 -> *\n3 0 a > 3000000000000000 -> *"})
    story = notation.Run(row).run()
    assert [end[0].split()[1] for end in story.ends.values()] == ["sent", "sent", "cleared"]
    assert all(story.laws.values())
