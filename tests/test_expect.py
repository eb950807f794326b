"""--expect names what differs: the setting, the figure, where in the capture."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, strategies as st

from fwcore import cli
from fwcore.replay import replay, trail
from fwcore.replay.trail import Trail
from fwcore.report import expect
from fwcore.settings import load

ROOT = Path(__file__).parent.parent
PCAPS = ROOT / "pcaps"
CONSERVE = [str(PCAPS / "conserve.pcap"), "--settings", str(PCAPS / "conserve.toml")]


def test_the_first_setting_figure_and_packet(tmp_path, capfd):
    saved = tmp_path / "r.json"
    assert cli.main(["replay", *CONSERVE, "-q", "--json", str(saved)]) == 0
    assert cli.main(["replay", *CONSERVE, "-q", "--expect", str(saved)]) == 0
    capfd.readouterr()
    code = cli.main(["replay", *CONSERVE, "-q", "--set", "av-failopen=off", "--expect",
                     str(saved)])
    said = capfd.readouterr().err
    assert code == 4
    assert "setting av_failopen: off, expected pass" in said
    assert "verdicts.inspect: " in said or "verdicts.bypass: 0, expected 482" in said
    assert "the first packet that differs is 1637: drop killed" in said
    assert cli.main(["replay", *CONSERVE, "-q", "--expect", str(tmp_path / "no.json")]) == 2
    assert cli.main(["replay", *CONSERVE, "-q", "--expect", ""]) == 2
    assert cli.main(["replay", *CONSERVE, "-q", "--expect-outcome", ""]) == 2


def outcomes(**more):
    """The result, and verdict and reason of each packet."""
    seen = []
    result = replay(CONSERVE[0], load(file=CONSERVE[2], **more), flows=lambda judged: seen.extend(
        map(tuple, judged.outcome.tolist())))
    return result, seen


def test_the_packet_is_the_first_that_differs():
    """Against each packet's verdict of both runs; then without what is kept of every packet."""
    (kept, mine), (other, theirs) = outcomes(), outcomes(av_failopen="off")
    first = next(at for at, (a, b) in enumerate(zip(mine, theirs, strict=True), 1) if a != b)
    assert f"the first packet that differs is {first}: " in expect.differences(other, kept)[-1]
    for result in (kept, other):
        result.data["trail"]["packed"] = None
    line = expect.differences(other, kept)[-1]
    assert line == "the first packet that differs is of 1 on"       # less than one stretch


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1, 900, 4096, 9000])), max_size=9),
       st.integers(0, 40_000), st.integers(100, 20_000))
def test_a_trail_is_what_was_put_in(runs, changed, size):
    kinds = [kind for kind, count in runs for _ in range(count)]
    table = np.array([[kind, 7 * kind] for kind in kinds], np.uint8).reshape(-1, 2)
    whole, parts, other = Trail(), Trail(), Trail()
    whole.add(table)
    for at in range(0, len(table), size):
        parts.add(table[at:at + size])
    assert parts.row() == whole.row()
    assert np.array_equal(trail.unpacked(parts.row()), table)
    if changed < len(kinds):
        table[changed] = 3, 28
        other.add(table)
        pairs = zip(*(trail.stretches(each.row(), 4096) for each in (whole, other)), strict=True)
        differs = [at for at, (a, b) in enumerate(pairs) if a != b]
        assert differs == [changed // 4096] * (changed < len(table) // 4096 * 4096)


def test_a_long_trail_keeps_its_size_and_can_be_held_against_a_short_one():
    random = np.random.default_rng(1)
    table = random.integers(0, 4, (5_000_000, 2)).astype(np.uint8)
    long, short = Trail(), Trail()
    long.add(table)
    table[700_000, 1] = 28
    short.add(table[:2_500_000])
    rows = long.row(), short.row()
    assert rows[0]["packed"] is None and [row["stride"] for row in rows] == [16384, 8192]
    assert all(256 <= len(row["digests"]) // 16 <= 512 for row in rows)
    pairs = zip(*(trail.stretches(row, 16384) for row in rows), strict=False)
    assert [at for at, (a, b) in enumerate(pairs) if a != b] == [700_000 // 16384]


@pytest.mark.parametrize("damage", [
    {"packed": "no"}, {"packed": "eJwDAAAAAAE="}, {"packets": 9}, {"packets": 2**62},
    {"packed": None, "digests": "x"},
    {"packed": None, "stride": 3}])
def test_a_damaged_trail_is_refused(damage, tmp_path, capfd):
    result, _ = outcomes(av_failopen="off")
    data = json.loads(result.to_json())
    data["trail"] |= damage
    (tmp_path / "r.json").write_text(json.dumps(data))
    assert cli.main(["replay", *CONSERVE, "-q", "--expect", str(tmp_path / "r.json")]) == 2
    assert "trail." in capfd.readouterr().err


def test_a_jobs_page(tmp_path, capfd):
    result, _ = outcomes()
    result.to_json(str(tmp_path / "r.json"))
    files = ["--junit", str(tmp_path / "o.xml"), "--markdown", str(tmp_path / "o.md")]
    given = ["replay", *CONSERVE, "-q", *files, "--expect", str(tmp_path / "r.json")]
    assert cli.main(given) == 0
    suite = ElementTree.parse(tmp_path / "o.xml").getroot()[0]
    assert suite.get("failures") == "0" and len(suite) == len(result.data["laws"]) + 2
    assert "0 failed" in (tmp_path / "o.md").read_text()
    assert cli.main([*given, "--set", "av-failopen=off"]) == 4
    suite = ElementTree.parse(tmp_path / "o.xml").getroot()[0]
    failed = [case.get("name") for case in suite if len(case)]
    assert failed == ["outcome"] and suite.get("failures") == "1"
    assert "packet that differs is 1637" in suite[0][0].text
    assert "| outcome | setting av\\_failopen: off" in (tmp_path / "o.md").read_text()


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    path = tmp_path_factory.mktemp("baseline") / "r.json"
    assert cli.main(["replay", *CONSERVE, "-q", "--json", str(path)]) == 0
    return path


def test_the_harm_is_named_and_further_settings(baseline, capfd):
    assert cli.main(["replay", *CONSERVE, "-q", "--expect", str(baseline), "--set",
                     "ram_bytes=3900000"]) == 4
    said = capfd.readouterr().err
    assert "setting ram_bytes: 3900000, expected 4096000 (shm_limit_bytes differs too)" in said
    assert ("packets refused 87, expected 83; sessions taken 113, expected 0; bytes unscanned"
            " 229 078, expected 233 358") in said


@pytest.mark.parametrize(("changes", "said"), [
    (["ram_bytes=4300000"], []), (["ram_bytes=4096000"], []),
    (["ram_bytes=3900000"], ["packets refused: 87, at most 83", "sessions taken: 113, at most 0"]),
    (["memory_use_threshold_red=72", "memory_use_threshold_green=70"],
     ["milliseconds in conserve mode: 56 493, at most 30 000",
      "conserve mode from packet 301, not before 1 629"]),
    (["av_failopen=off"], ["packets refused: 330, at most 83", "sessions taken: 1, at most 0"]),
])
def test_what_costs_no_more_may_be_otherwise(baseline, tmp_path, capfd, changes, said):
    sets = [part for change in changes for part in ("--set", change)]
    code = cli.main(["replay", *CONSERVE, "-q", *sets, "--no-worse", str(baseline), "--junit",
                     str(tmp_path / "o.xml")])
    lines = [line.removeprefix("fwcore: --no-worse: ")
             for line in capfd.readouterr().err.splitlines() if "--no-worse" in line]
    assert (code, set(said) <= set(lines), bool(lines)) == (4 if said else 0, True, bool(said))
    suite = ElementTree.parse(tmp_path / "o.xml").getroot()[0]
    assert [case.get("name") for case in suite if len(case)] == ["no worse"] * bool(said)


def test_another_capture_is_no_measure(baseline, capfd):
    assert cli.main(["replay", str(PCAPS / "web.pcap"), "-q", "--no-worse", str(baseline)]) == 4
    assert "cannot be compared: it is of conserve.pcap, and this is web" in capfd.readouterr().err
    assert cli.main(["replay", *CONSERVE, "-q", "--limit", "9", "--no-worse", str(baseline)]) == 4
    assert "cannot be compared: packets: 9, and 3941 there" in capfd.readouterr().err


def test_another_capture_is_called_one(baseline, tmp_path, capfd):
    head = tmp_path / "head.pcap"
    head.write_bytes(Path(CONSERVE[0]).read_bytes()[:24])
    assert cli.main(["replay", str(head), *CONSERVE[1:], "-q", "--expect", str(baseline)]) == 4
    said = capfd.readouterr().err
    assert "it is of conserve.pcap, and this is head.pcap" in said
    assert "there are 0 packets, expected 3941" in said
    assert cli.main(["replay", *CONSERVE, "-q", "--expect-outcome", "2:00"]) == 4
    assert "made by another version, whose outcomes begin with 2:" in capfd.readouterr().err


def test_a_baseline_that_was_changed_is_no_baseline(baseline, tmp_path, capfd):
    given = ["replay", *CONSERVE, "-q", "--expect"]
    for group, name, step, said in (
            ("verdicts", "inspect", 1, "verdicts.inspect: 798, expected 799"),
            ("decode", "tcp", -1, "decode.tcp: 3605, expected 3604"),
            (None, "duration_ns", 1, "duration_ns: "),
            (None, "denied", 93, "denied: 6, expected 99")):
        data = json.loads(baseline.read_text())
        (data[group] if group else data)[name] += step
        (tmp_path / "changed.json").write_text(json.dumps(data))
        assert cli.main([*given, str(tmp_path / "changed.json")]) == 4
        err = capfd.readouterr().err
        assert said in err and "though the outcome is the same: the saved result was changed" in err
    assert cli.main([*given, str(baseline), "--focus", "policy 3"]) == 0


def test_what_was_expected_is_said_beside_a_capture_s_fault(baseline, tmp_path, capfd):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(Path(CONSERVE[0]).read_bytes()[:300_000])
    assert cli.main(["replay", str(cut), *CONSERVE[1:], "-q", "--expect", str(baseline)]) == 3
    said = capfd.readouterr().err
    assert "ends within a record" in said and "--expect: packets: 2651, expected 3941" in said


@pytest.mark.parametrize("each", [(), ("--each",)])
def test_a_run_that_could_not_be_leaves_no_green_page(baseline, tmp_path, capfd, each):
    (tmp_path / "empty.pcap").write_bytes(b"")
    (tmp_path / "o.xml").write_text("green")
    (tmp_path / "o.md").write_text("green")
    assert cli.main(["replay", str(tmp_path / "empty.pcap"), "-q", "--expect", str(baseline), *each,
                     "--junit", str(tmp_path / "o.xml"), "--markdown", str(tmp_path / "o.md")]) == 2
    suite = ElementTree.parse(tmp_path / "o.xml").getroot()[0]
    assert suite.get("failures") == "1" and "empty.pcap: is empty" in suite[0][0].text
    assert "is empty" in (tmp_path / "o.md").read_text()


def test_each_says_of_which_capture(baseline, tmp_path, capfd):
    for name in ("conserve", "web"):
        (tmp_path / f"{name}.json").write_bytes(baseline.read_bytes())
    given = ["replay", CONSERVE[0], str(PCAPS / "web.pcap"), *CONSERVE[1:], "-q", "--each"]
    assert cli.main([*given, "--expect", str(tmp_path / "{name}.json")]) == 4
    said = capfd.readouterr().err
    assert "web.pcap: --expect: it is of conserve.pcap" in said
    assert "conserve.pcap: --expect" not in said
    assert cli.main([*given, "--expect", str(baseline)]) == 2
    assert "has {name} in it" in capfd.readouterr().err


def test_the_workflows_name_options_that_there_are():
    """Each line of docs/ci that begins with fwcore is one that the command line takes."""
    lines = [(path.name, line.strip().removeprefix("- ").removeprefix("run: "))
             for path in sorted((ROOT / "docs" / "ci").glob("*.yml"))
             for line in path.read_text().splitlines() if not line.startswith("#")]
    commands = [(name, line.split()) for name, line in lines if line.startswith("fwcore ")]
    assert [name for name, _ in commands] == [
        *["github.yml"] * 2, *["gitlab.yml"] * 2, "history.yml"]
    for _, (_, command, *options) in commands:
        cli.app.commands[command].make_context(command, list(options))
