"""fwcore bench: the comparison with a baseline, the form of its figures, and that each case runs.

Cases run here in this process and tiny: what they find out about speed is of no interest.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from fwcore import bench
from fwcore._bare import BareLoop, bench_parse
from fwcore._fastpath import Verdict
from fwcore.bench_cases import (
    CASES,
    CHUNK_SIZE,
    SLICES,
    MixOpenings,
    OfficeOpenings,
    Openings,
    Setup,
    office_policies,
)
from fwcore.capture import Chunk, synth
from fwcore.engine import Engine
from fwcore.errors import FwcoreError

FIELDS = {
    "bench", "value", "unit", "median", "min", "max", "runs", "ratio_to_bare", "packets",
    "sessions", "machine", "commit", "fwcore", "python", "numpy",
}
TINY = {"transition": (400, 100), "imix-file": (20_000, 100), "bytes-per-connection": (0, 40_000)}
SLOW = ("import", "start")  # processes of their own; test_a_quick_run has one


def made(name, ratio=0.5, value=20.0, quick=False):
    """A record as a run would give it."""
    return {"bench": name, "value": value, "ratio_to_bare": ratio, "quick": quick}


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
    assert (measured.bare_ns is None) == (name == "bytes-per-connection")
    if name not in ("crossings", "share", "bytes-per-connection"):
        assert measured.value > 0


def test_names_questions_and_units_are_given():
    for name, case in CASES.items():
        assert case.name == name
        assert case.question
        assert case.unit in ("ns/packet", "ns/set-up", "ms", "us", "%", "bytes", "x")


# --- the bare loop --------------------------------------------------------------------------------


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


def test_a_run_held_against_itself_and_against_a_faster_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "measure", lambda case, directory, quick: {
        "value": 30.0, "bare_ns": 12.0, "each_ns": 30.0, "packets": 1, "sessions": 1,
        "detail": {}})
    same = write(tmp_path / "same", made("read", 0.4), made("parse", 0.47))
    faster = write(tmp_path / "faster", made("read", 0.4), made("parse", 0.49))
    assert bench.run(["read", "parse"], repeat=1, baseline=same, fail_over="20%") == 0
    assert "0 slower" in capsys.readouterr().out
    assert bench.run(["read", "parse"], repeat=1, baseline=faster, fail_over="20%") == 4
    out = capsys.readouterr().out
    assert "1 slower" in out
    assert "parse: 22% slower" in out


# --- the baseline ---------------------------------------------------------------------------------


@pytest.mark.parametrize("old, new, share, behind", [
    (made("read", 0.5), made("read", 0.5), 0.2, False),
    (made("read", 0.5), made("read", 0.42), 0.2, False),
    (made("read", 0.5), made("read", 0.41), 0.2, True),
    (made("read", 0.5), made("read", 0.9), 0.0, False),
    (made("read", 0.5, value=1.0), made("read", 0.5, value=99.0), 0.2, False),
    (made("bytes-per-connection", None, 150), made("bytes-per-connection", None, 152), 0.2, False),
    (made("bytes-per-connection", None, 150), made("bytes-per-connection", None, 200), 0.2, True),
])
def test_ratios_are_compared_and_not_speeds(old, new, share, behind):
    [(name, _, too_slow)] = bench.compared([new], {old["bench"]: old}, share)
    assert (name, too_slow) == (old["bench"], behind)


def test_differences_of_differences_and_new_cases_are_not_compared():
    assert bench.compared([made("crossings")], {"crossings": made("crossings")}, 0.2) == []
    assert bench.compared([made("read")], {"parse": made("parse")}, 0.2) == []


@pytest.mark.parametrize("text, share", [("20%", 0.2), ("0.2", 0.2), (0.2, 0.2), (" 5 %", 0.05),
                                         ("0%", 0.0)])
def test_shares(text, share):
    assert bench.parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "much", "-1%", "nan", "1e9%", "inf"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(FwcoreError, match="fail-over"):
        bench.parse_share(text)


@pytest.mark.parametrize("content, message", [
    ("", "is empty"),
    ("\n\n", "is empty"),
    ("no json\n", "line 1 is no result"),
    ('{"bench": "read", "value": 1, "ratio_to_bare": 1}\n[]\n', "line 2 is no result"),
    ('{"bench": "read", "value": "fast", "ratio_to_bare": 1}\n', "line 1 is no result"),
    ('{"bench": "other", "value": 1, "ratio_to_bare": 1}\n', "none of these benchmarks"),
    ('{"bench": "read", "value": 1, "ratio_to_bare": 1, "quick": true}\n', "with --quick"),
])
def test_a_baseline_that_does_not_fit_is_refused_before_anything_runs(
        content, message, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("it was run"))
    path = tmp_path / "baseline.jsonl"
    path.write_text(content)
    with pytest.raises(FwcoreError, match=message):
        bench.run(["read"], baseline=str(path))


@pytest.mark.parametrize("given, message", [
    ({"only": ["reed"]}, "did you mean read"),
    ({"repeat": 0}, "0 runs"),
    ({"fail_over": "20%"}, "needs a --baseline"),
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
        bench.measure(CASES["read"], str(tmp_path), True)
