"""Every scenario of tests/scenarios/*.toml, through the fast path and through the twin."""

import pytest
import scenario as notation

import fwcore
from fwcore.errors import SettingsError

ALL = notation.read_all()
RUNS = [pytest.param(row, id=row.id) for row in ALL if row.row.get("packets")]
REFUSED = [pytest.param(row, id=row.id) for row in ALL if "refused" in row.row]
LEVELS = [pytest.param(row, id=row.id) for row in ALL if "thresholds" in row.row]


def test_every_scenario_has_a_name_of_its_own_and_says_why():
    names = [row.id for row in ALL]
    assert len(names) == len(set(names))
    assert len(names) >= 80
    assert all(row.row["why"].strip() and row.row["says"] and row.row["source"] for row in ALL)


def test_a_scenario_has_packets_or_is_about_settings_alone():
    assert not [row.id for row in ALL
                if not {"packets", "refused", "thresholds"} & row.row.keys()]


@pytest.mark.parametrize("row", RUNS)
def test_the_fast_path_does_what_the_scenario_says(row):
    story = notation.run_engine(row)
    buckets = fwcore.load(**row.overrides()).buckets
    assert notation.differences(row, story, buckets) == []
    assert notation.deeds_differences(row, story, buckets) == []
    assert [law for law, holds in story.laws.items() if not holds] == []


@pytest.mark.parametrize("row", RUNS)
def test_one_call_or_many_is_the_same(row):
    assert notation.run_engine(row).outcome == notation.run_engine(row, one_call=True).outcome


@pytest.mark.parametrize("row", RUNS)
def test_the_twin_does_what_the_scenario_says(row):
    story = notation.run_twin(row)
    assert notation.differences(row, story, fwcore.load(**row.overrides()).buckets) == []
    assert story.outcome == notation.run_engine(row).outcome


@pytest.mark.parametrize(("name", "told", "other"), [
    ("packets", "forward new", "drop denied"), ("packets", "used 87", "used 86"),
    ("transitions", "3 packet 5", "3 time 5"), ("transitions", "88/0/12", "88/0/13")])
def test_another_expectation_is_a_difference(name, told, other):
    (found,) = (row for row in ALL if row.id == "time-reversed")
    row = notation.Scenario(found.file, dict(found.row), found.preset)
    story = notation.run_engine(row)
    row.row[name] = row.row[name].replace(told, other)
    assert notation.differences(row, story, 1)
    for missing in ("transitions", "victims", "events"):
        row.row[missing] = "1 1 invented"
        assert [line for line in notation.differences(row, story, 1) if missing in line]


@pytest.mark.parametrize("line", [
    "3 0 s > S -> forward new", "1 0 s > S", "1 0 t > S -> forward new", "1 0 s > Q -> forward new",
    "1-3 0 s[1..2] > S -> forward new", "1 0.0000000001 s > S -> forward new"])
def test_a_line_that_is_no_packet_is_refused(line):
    row = notation.Scenario("", {"flows": "s 10.0.0.1:1 > 10.0.0.2:2 tcp", "packets": line})
    with pytest.raises((AssertionError, KeyError)):
        list(notation.steps_of(row, 1))


@pytest.mark.parametrize("row", LEVELS)
def test_thresholds_are_those_worked_out(row):
    engine = fwcore.Engine(fwcore.load(**row.overrides()))
    levels = {f"{machine}.{name}": pages for machine, each in engine.thresholds.items()
              for name, pages in each.items()}
    expected = row.row["thresholds"]
    assert {name: levels.get(name) for name in expected} == expected
    if "packets" not in row.row and "machines" in expected:
        assert set(engine.thresholds) == set(expected["machines"])


@pytest.mark.parametrize("row", REFUSED)
def test_settings_are_refused_with_the_reason(row):
    with pytest.raises(SettingsError) as error:
        fwcore.load(**row.overrides())
    for text in row.row["refused"].split(" ... "):
        assert text in str(error.value)


def test_the_page_is_up_to_date():
    assert notation.PAGE.read_text() == notation.render(), "run python tests/scenario.py"
