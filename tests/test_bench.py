"""fwcore bench: the comparison with a baseline, the form of its figures, and that each case runs.

Cases run here in this process and tiny: what they find out about speed is of no interest.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from fwcore import bench
from fwcore._bare import BareLoop, bench_parse
from fwcore._layout import Verdict
from fwcore.bench import guard, processes, runs, whole
from fwcore.bench.cases import CASES, GUARDED
from fwcore.bench.traffic import MixOpenings, OfficeOpenings, Openings, office_policies
from fwcore.bench.turns import SLICES, Setup
from fwcore.capture import CHUNK_SIZE, Chunk, synth
from fwcore.engine import Engine
from fwcore.errors import FwcoreError
from fwcore.interruption import Interrupted

FIELDS = {
    "bench", "value", "unit", "median", "min", "max", "runs", "values", "yardstick", "ratio",
    "ratios", "packets", "sessions", "machine", "commit", "fwcore", "python", "numpy",
}
TINY = {"transition": (400, 100), "imix-file": (20_000, 100), "bytes-per-connection": (0, 40_000)}
# processes of their own; test_a_quick_run has one
SLOW = ("import", "start", "command-1000", "command-1000000", "outputs", "two-cores-1000000")


def made(name, ratios=(0.49, 0.5, 0.51), values=(20.4, 20.0, 19.6), quick=False):
    """A record as a run would give it."""
    return {"bench": name, "values": list(values), "ratios": list(ratios), "quick": quick,
            "median": sorted(values)[len(values) // 2], "unit": CASES[name].unit,
            "machine": {"cpu": "c", "architecture": "a"}, "python": "3", "numpy": "2",
            "fwcore": "0"}


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


# --- every case -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CASES if name not in SLOW])
def test_each_case_does_its_work(name, tmp_path):
    packets, sessions = TINY.get(name, (SLICES * CHUNK_SIZE, 2000))
    measured = CASES[name].measure(Setup(str(tmp_path), packets, sessions))
    json.dumps(measured._asdict())
    assert np.isfinite(measured.value)
    assert (measured.bare_ns is None) == (name in ("bytes-per-connection", "two-cores-1000"))
    if CASES[name].compared and name != "bytes-per-connection":  # else a difference
        assert measured.value > 0


def test_names_questions_and_units_are_given():
    for name, case in CASES.items():
        assert case.name == name
        assert case.question
        assert case.unit in ("ns/packet", "ns/set-up", "ms", "us", "%", "bytes", "x")


# --- the bare loop --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["command-1000", "outputs"])
def test_the_whole_command_is_timed(name, tmp_path, monkeypatch):
    """What is timed is asked for; a process of each would be seconds."""
    asked = []
    monkeypatch.setattr(whole, "PAIRS", 1)
    monkeypatch.setattr(whole, "spawn_ms", lambda *words: asked.append(words) or len(asked))
    measured = CASES[name].measure(Setup(str(tmp_path), SLICES * CHUNK_SIZE, 2000))
    assert measured.value > 0
    options = {word for words in asked for word in words if word.startswith("--")}
    assert {"--json", "--quiet"} <= options
    assert ("--verdicts" in options) == (name == "outputs")
    assert all("max_connections=262144" in words for words in asked if "-m" in words)


def test_a_million_sessions_are_timed_in_a_table_that_holds_them(tmp_path):
    setup = Setup(str(tmp_path), 0, 1_000_000)
    commands = [asked.words for asked in whole.outputs(tmp_path / "a.pcap", setup).values()]
    assert {words[2] for words in commands} == {"replay", "explain", "compare"}
    assert all("max_connections=1062500" in words for words in commands)


def test_what_any_capture_costs_does_not_count(monkeypatch):
    monkeypatch.setattr(whole, "spawn_ms", lambda *_: 2300.0)
    assert whole.Asked([], 1.3, 1000.0).times(1000.0) == 1.3


@pytest.mark.parametrize("ipv6", [False, True])
def test_the_bare_loop_finds_each_session_once(tmp_path, ipv6):
    path = tmp_path / "a.pcap"
    workload = Openings(sessions=500, packets=500, frame_bytes=62, ipv6=ipv6)
    synth.to_pcap(path, workload)
    bare = BareLoop(500, np.fromfile(path, np.uint8))
    assert bare.run(400) == 0
    assert bare.sessions == 400
    assert bare.run(1000) == 0, "100 records are left, none of a known session"
    assert bare.sessions == 500
    bare.rewind(np.fromfile(path, np.uint8))
    assert bare.run(1000) == 500


def test_the_bare_loop_knows_both_directions(tmp_path):
    path = tmp_path / "a.pcap"
    synth.to_pcap(path, synth.make("dns-storm", packets=1000, sessions=100))
    bare = BareLoop(1000, np.fromfile(path, np.uint8))
    bare.run(1000)
    engine = Engine(seed=1)
    engine.process(synth.make("dns-storm", packets=1000, sessions=100).part(0, 1000))
    assert bare.sessions == engine.fastpath.live


def test_the_bare_loop_takes_no_more_sessions_than_it_has_room_for(tmp_path):
    path = tmp_path / "a.pcap"
    synth.to_pcap(path, Openings(sessions=500, packets=500))
    bare = BareLoop(10, np.fromfile(path, np.uint8))
    bare.run(500)
    assert 10 <= bare.sessions <= 32


@pytest.mark.parametrize("cut", range(0, 24 + 2 * 76 + 1, 7))
def test_the_bare_loop_stays_within_what_it_is_given(tmp_path, cut):
    path = tmp_path / "a.pcap"
    synth.to_pcap(path, Openings(sessions=2, packets=2))
    data = np.fromfile(path, np.uint8)[:cut].copy()
    bare = BareLoop(10, data)
    bare.run(10)
    assert bare.sessions == max(0, (cut - 24 + 2) // 76), "58 bytes of a frame are enough"


def test_a_record_length_beyond_the_file_ends_the_bare_loop(tmp_path):
    path = tmp_path / "a.pcap"
    synth.to_pcap(path, Openings(sessions=2, packets=2))
    data = np.fromfile(path, np.uint8)
    data[24 + 8:24 + 12] = 255
    bare = BareLoop(10, data)
    bare.run(10)
    assert bare.sessions == 1


def test_parsing_alone_reads_every_frame_and_checks_the_chunk():
    chunk = synth.make("mix", packets=1000).part(0, 1000)
    assert bench_parse(chunk) == bench_parse(chunk) != 0
    chunk.offset[7] = len(chunk.data)
    with pytest.raises(ValueError, match="frame 7"):
        bench_parse(chunk)
    assert bench_parse(Chunk.from_frames([], [])) == 0


# --- the traffic ----------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", [Openings, MixOpenings, OfficeOpenings])
def test_every_opening_is_a_session(opening):
    workload = opening(sessions=5000, packets=5000)
    engine = Engine(seed=1)
    engine.process(workload.part(0, 5000))
    assert engine.fastpath.live == 5000


def test_the_office_traffic_meets_all_of_its_policies():
    rows = office_policies(1000)
    assert len({json.dumps({**row, "id": 0}) for row in rows}) == 1000
    engine = Engine(seed=1, policies=rows)
    engine.process(OfficeOpenings(sessions=20_000, packets=20_000).part(0, 20_000))
    assert engine.fastpath.outcome_counts()[Verdict.FORWARD].sum() == 20_000
    assert len(set(engine.sessions()["policy"].tolist())) > 900


# --- the run --------------------------------------------------------------------------------------


def test_a_quick_run_prints_a_table_and_writes_json_lines(tmp_path, capsys):
    path = tmp_path / "lines.jsonl"
    assert bench.run(["read", "start"], quick=True, json_file=str(path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["fwcore", "benchmark", "read", "start"]
    assert max(map(len, lines[1:])) <= 80
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        assert record.keys() >= FIELDS
        assert record["machine"].keys() == {"cpu", "cores", "kernel", "architecture"}
        assert record["min"] <= record["median"] <= record["max"]
        assert record["runs"] == 1


def test_json_on_standard_output_replaces_the_table(capsys):
    assert bench.run(["read"], repeat=2, quick=True, json_file="-") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["bench"], record["runs"]) == ("read", 2)


class Processes:
    """Stands for the processes: how many were asked for, and what each would measure."""

    def __init__(self, monkeypatch, speeds, other=None):
        self.speeds, self.other, self.count = speeds, other, 0
        monkeypatch.setattr(runs, "measure", self.measure)
        monkeypatch.setattr(runs, "measure_pair", self.measure_pair)

    def measure(self, case, directory, quick):
        self.count += 1
        return self.record(self.speeds)

    def measure_pair(self, case, directory, quick, python, first):
        self.count += 1
        return self.record(self.speeds), self.record(self.other)

    def record(self, speeds):
        speed = speeds[(self.count - 1) % len(speeds)]
        return {"value": 12.0 / speed, "bare_ns": 12.0, "each_ns": 12.0 / speed, "packets": 1,
                "sessions": 1, "detail": {}}


@pytest.mark.parametrize("before, code, told", [
    ((0.49, 0.50, 0.51), 0, "1 benchmark held against what was before, 0 slower"),
    ((0.62, 0.63, 0.64), 4, "read: 26% slower; of the yardstick 0.5 (0.49 to 0.51), before 0.63"),
    ((0.40, 0.41, 0.42), 0, "0 slower"),
    ((0.45, 0.63, 0.64), 0, "0 slower"),  # its own spread reaches down to what is seen now
])
def test_a_run_against_a_baseline(before, code, told, tmp_path, monkeypatch, capsys):
    Processes(monkeypatch, (0.49, 0.50, 0.51))
    path = write(tmp_path / "baseline", made("read", before))
    assert bench.run(["read"], repeat=3, baseline=path, fail_over="20%") == code
    assert told in capsys.readouterr().out


def test_what_is_red_is_measured_again_and_fails_only_when_it_is_red_again(
        tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "baseline", made("read", (0.5, 0.5, 0.5)), made("parse"))
    disturbed = Processes(monkeypatch, (0.3, 0.3, 0.3, 0.5, 0.5, 0.5))
    assert bench.run(["read"], repeat=3, baseline=path) == 0
    assert disturbed.count == 6
    assert "once more: read" in capsys.readouterr().out
    slow = Processes(monkeypatch, (0.3, 0.3, 0.3))
    assert bench.run(["read"], repeat=3, baseline=path) == 4
    assert slow.count == 6


@pytest.mark.parametrize("other, code", [
    ((0.5, 0.4, 0.3), 0),               # both wander, the pairs do not
    ((0.6, 0.48, 0.36), 4),             # a fifth slower in each pair
    ((0.6, 0.48, 0.30), 0),             # not in each
])
def test_two_builds_are_compared_pair_by_pair(other, code, monkeypatch, capsys, tmp_path):
    Processes(monkeypatch, (0.5, 0.4, 0.3), other)
    page = tmp_path / "summary.md"
    assert bench.run(["read"], repeat=3, against="python3", fail_over="15%",
                     markdown=str(page)) == code
    assert ("**slower**" in page.read_text()) == (code == 4)
    assert "| benchmark | from | before | now | slower, in turn | |" in page.read_text()
    assert "\n| read | file | " in page.read_text()


@pytest.mark.parametrize("given", [{"guarded": True}, {"only": ["read", "setup-8"], "repeat": 3}])
def test_an_interrupted_guard_says_what_it_had_measured(given, monkeypatch, capsys, tmp_path):
    """And names nothing slower: it was not measured again."""

    class Stopped(Processes):
        def measure_pair(self, case, directory, *rest):
            if case.name == "setup-8":
                signal.raise_signal(signal.SIGTERM)
            return super().measure_pair(case, directory, *rest)

    Stopped(monkeypatch, (0.4,), (0.6,))
    page, lines, summary = (tmp_path / name for name in ("junit.xml", "lines", "summary.md"))
    with pytest.raises(Interrupted, match="SIGTERM"):
        bench.run(against="python3", junit=str(page), json_file=str(lines), markdown=str(summary),
                  **given)
    done = 3 if "guarded" in given else 1
    said = f"interrupted by SIGTERM after {done} of {6 if done == 3 else 2} benchmarks"
    suite = ElementTree.parse(page).getroot()[0]
    assert suite.get("failures") == "1"
    assert suite[-1].get("name") == "run to the end"
    assert suite[-1][0].get("message") == said
    assert len(suite) == done + 1
    assert len(lines.read_text().splitlines()) == done
    assert said in summary.read_text() and said in capsys.readouterr().out


def test_a_guard_that_cannot_run_says_so_for_the_jobs_page(tmp_path):
    page, summary = tmp_path / "junit.xml", tmp_path / "summary.md"
    page.write_text("of an earlier run")
    with pytest.raises(FwcoreError, match="cannot be started"):
        bench.run(guarded=True, against=str(tmp_path / "none"), junit=str(page),
                  markdown=str(summary))
    assert ElementTree.parse(page).getroot()[0].get("failures") == "1"
    assert "cannot be started" in page.read_text() and "cannot be started" in summary.read_text()


def test_a_process_does_not_outlive_the_wait_for_it(monkeypatch, tmp_path):
    started = []

    class Hangs(subprocess.Popen):
        def __init__(self, words, **given):
            super().__init__([sys.executable, "-c", "import time; time.sleep(60)"], **given)
            started.append(self)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(processes.subprocess, "Popen", Hangs)
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            processes.measure(CASES["read"], str(tmp_path), True)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert started[0].returncode == -signal.SIGKILL


def test_a_record_is_a_line_whatever_its_text_has(tmp_path):
    """JSON lets U+2028 and U+0085 stand in a string as they are."""
    record = made("read") | {"machine": {"cpu": "c\u2028d\x85", "architecture": "a"}}
    path = tmp_path / "baseline"
    path.write_text(json.dumps(record, ensure_ascii=False) + "\r\n", encoding="utf-8")
    assert guard.read_baseline(str(path))["read"]["median"] == record["median"]


def test_nothing_is_passed_over_in_silence(tmp_path, monkeypatch, capsys):
    Processes(monkeypatch, (0.49, 0.50, 0.51))
    path = write(tmp_path / "baseline", made("read"), made("hit-1000"))
    assert bench.run(["read", "parse", "crossings"], repeat=3, baseline=path) == 0
    out = capsys.readouterr().out
    assert "not in the baseline, so not held: parse, crossings" in out
    assert "in the baseline, but not run: hit-1000" in out
    assert "a difference of two figures, so not held: crossings" in out
    assert "the baseline is of another processor: c, here" in out
    assert "the baseline is of another Python: 3, here" in out


def test_a_process_runs_this_package_whatever_stands_in_the_present_directory(
        tmp_path, monkeypatch):
    package = tmp_path / "fwcore"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('a checkout without its modules')")
    monkeypatch.chdir(tmp_path)
    case = CASES["import"]
    assert runs.measure(case, str(tmp_path), True)["value"] > 0


def test_another_build_that_cannot_be_started_is_named(tmp_path):
    with pytest.raises(FwcoreError, match="--against /nonexistent: cannot be started"):
        runs.measure_pair(CASES["read"], str(tmp_path), True, "/nonexistent", 0)


# --- two builds, slice by slice -------------------------------------------------------------------


def paired(*shares):
    """Records of two builds, run by run: how much slower this one is in each of its slices."""
    before = [[1000, 3000, 1000, 1000] for _ in shares]
    now = [[value * (1 + each) for value in run]
           for run, each in zip(before, shares, strict=True)]
    return {**made("read"), "slices": now}, {**made("read"), "slices": before}


@pytest.mark.parametrize("shares, red", [
    ((0.0, 0.0), False), ((0.15, 0.15), True), ((0.15, 0.02), False), ((0.05, 0.05), False),
    ((-0.15, -0.15), False),
    ((0.15, 0.15, 0.15, 0.02), True),      # of four, one may lie apart: slower or not
    ((0.0, 0.0, 0.0, 0.25), False), ((0.0, 0.0, 0.25, 0.25), False),
    ((0.02, 0.15, 0.12, 0.03), False)])
def test_slices_are_paired_whatever_came_between(shares, red):
    now, before = paired(*shares)
    now["slices"][0][0] *= 50          # a neighbour
    finding = guard.compare_builds("read", now, before, guard.GUARD_SHARE)
    assert finding.red == red


def test_a_build_that_knows_nothing_of_turns_is_held_run_by_run():
    now, before = paired(0.15, 0.15)
    before["slices"] = [[], []]
    assert guard.compare_builds("read", now, before, 0.1).slower == 0


def test_two_processes_take_turns(tmp_path):
    """The same build twice: as many slices of each, of the same work; and no turn is left over."""
    now, before = runs.measure_pair(CASES["hit-1000"], str(tmp_path), True, sys.executable, 1)
    assert len(now["slices"]) == len(before["slices"]) == 32
    assert now["packets"] == before["packets"]
    finding = guard.compare_builds(
        "hit-1000", *({**made("hit-1000"), "slices": [each["slices"]]} for each in (now, before)),
        10.0)
    assert not finding.red


def test_one_of_a_pair_that_fails_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("FWCORE_BENCH_CPU", "none")
    with pytest.raises(FwcoreError, match="bench read: its process failed: ValueError"):
        runs.measure_pair(CASES["read"], str(tmp_path), True, sys.executable, 0)


def test_a_guard_has_its_cases_and_its_share(monkeypatch, capsys):
    Processes(monkeypatch, (0.5, 0.5), (0.5, 0.5))
    assert bench.run(guarded=True, against="python3") == 0
    assert f"{len(GUARDED)} benchmarks held" in capsys.readouterr().out
    Processes(monkeypatch, (0.5, 0.5), (0.55, 0.55))
    assert bench.run(guarded=True, against="python3") == 4
    with pytest.raises(FwcoreError, match="--guard holds this build against another"):
        bench.run(guarded=True)


# --- the baseline ---------------------------------------------------------------------------------


@pytest.mark.parametrize("old, new, share, red", [
    ((0.50, 0.50, 0.50), (0.50, 0.50, 0.50), 0.2, False),
    ((0.50, 0.50, 0.50), (0.42, 0.42, 0.42), 0.2, False),
    ((0.50, 0.50, 0.50), (0.41, 0.41, 0.41), 0.2, True),
    ((0.50, 0.50, 0.50), (0.41, 0.41, 0.50), 0.2, False),   # one process was as quick as before
    ((0.50, 0.50, 0.50), (0.90, 0.90, 0.90), 0.0, False),
])
def test_a_finding_is_a_median_and_a_gap(old, new, share, red):
    finding = guard.compare("read", made("read", new), made("read", old), share)
    assert finding.red == red


@pytest.mark.parametrize("old, new, red", [(150, 152, False), (150, 200, True)])
def test_an_amount_is_held_against_an_amount(old, new, red):
    name = "bytes-per-connection"
    finding = guard.compare(name, made(name, (), [new] * 3), made(name, (), [old] * 3), 0.2)
    assert finding.red == red
    assert finding.slower == pytest.approx(new / old - 1)


def test_a_start_is_held_against_an_empty_python():
    assert {CASES["start"].yardstick, CASES["import"].yardstick} == {"an empty Python"}
    assert {case.yardstick for case in CASES.values()} == {
        "an empty Python", "bare loop", "the bare loop, whole"}
    assert {case.source for case in CASES.values()} == {"file", "memory", "whole"}


@pytest.mark.parametrize("text, share", [("20%", 0.2), ("0.2", 0.2), (0.2, 0.2), (" 5 %", 0.05),
                                         ("0%", 0.0), ("1", 1.0), ("1000%", 10.0)])
def test_shares(text, share):
    assert guard.parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "much", "-1%", "nan", "1e9%", "inf", "1001%"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(FwcoreError, match="fail-over"):
        guard.parse_share(text)


@pytest.mark.parametrize("text", ["20", 20, "1.01"])
def test_a_bare_number_above_one_is_no_guard_that_never_fires(text):
    with pytest.raises(FwcoreError, match=f"is {text}% meant"):
        guard.parse_share(text)


GOOD = json.dumps(made("read"))


@pytest.mark.parametrize("content, message", [
    ("", "is empty"),
    ("\n\n", "is empty"),
    ("no json\n", "line 1 is no result"),
    (GOOD + "\n[]\n", "line 2 is no result"),
    ("[" * 100_000 + "\n", "line 1 is no result"),
    (json.dumps(made("read", ("fast",))), "line 1 is no result"),
    (json.dumps(made("read", (0.0, 0.1, 0.1))), "line 1 is no result"),
    (json.dumps(made("read", (), (0, 0, 0))), "line 1 is no result"),
    (json.dumps(made("parse")), "none of these benchmarks"),
    (json.dumps(made("read", quick=True)), "with --quick"),
    (json.dumps(made("read", (0.5, 0.5))), "fewer than 3 runs"),
])
def test_a_baseline_that_does_not_fit_is_refused_before_anything_runs(
        content, message, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "measure", lambda *_: pytest.fail("it was run"))
    path = tmp_path / "baseline.jsonl"
    path.write_text(content)
    with pytest.raises(FwcoreError, match=message):
        bench.run(["read"], baseline=str(path))


def test_names_of_benchmarks_may_stand_between_commas():
    chosen = runs.chosen(["setup-8, read", "setup-8", "hit-1000"])
    assert [case.name for case in chosen] == ["setup-8", "read", "hit-1000"]


@pytest.mark.parametrize("given, message", [
    ({"only": ["reed"]}, 'did you mean "read"'),
    ({"only": ["read,reed"]}, "no benchmark 'reed'"),
    ({"repeat": 0}, "0 runs"),
    ({"fail_over": "20%"}, "needs something to hold"),
    ({"baseline": "a", "against": "b"}, "not both"),
    ({"against": "python3", "repeat": 2}, "2 runs say nothing"),
    ({"baseline": "/nonexistent/file"}, "No such file"),
    ({"only": ["read"], "repeat": 1, "quick": True, "json_file": "/nonexistent/file"},
     "cannot be written"),
])
def test_mistakes_are_one_clear_line(given, message):
    with pytest.raises(FwcoreError, match=message) as caught:
        bench.run(**given)
    assert "\n" not in str(caught.value)


def test_a_process_that_fails_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("FWCORE_BENCH_CPU", "none")
    with pytest.raises(FwcoreError, match="bench read: its process failed: ValueError"):
        runs.measure(CASES["read"], str(tmp_path), True)
