"""Replay: one outcome however it is cut, read and paced; time rewritten; turns, files, faults."""

import csv
import gzip
import json
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from frames import ethernet, ip, udp

from fwcore.capture import Chunk, open_capture
from fwcore.capture.synth import make
from fwcore.engine_control import Control
from fwcore.errors import CaptureError, FwcoreError, SettingsError
from fwcore.replay import Timing, replay
from fwcore.replay.pace import Pace
from fwcore.report import text
from fwcore.result import Result
from fwcore.settings import load

PCAPS = Path(__file__).parent.parent / "pcaps"
WEB = PCAPS / "web.pcap"            # 241 packets, 400 s, 40 sessions
WEB_NS, WEB_PACKETS = 400 * 10**9, 241


@pytest.fixture(scope="module")
def conserve():
    return load(file=PCAPS / "conserve.toml")


@pytest.fixture(scope="module")
def outcome(conserve):
    return replay(PCAPS / "conserve.pcap", conserve)["outcome"]


# --- one outcome ---


@pytest.mark.parametrize("group", [1, 2, 32, 64])
@pytest.mark.parametrize("chunk_size", [1, 7, 4096, 1 << 20])
def test_groups_and_chunks_do_not_matter(conserve, outcome, group, chunk_size):
    result = replay(PCAPS / "conserve.pcap", conserve, group=group, chunk_size=chunk_size)
    assert result["outcome"] == outcome


@pytest.mark.parametrize("reader", ["native", "scapy", "PcapReader"])
def test_who_reads_does_not_matter(conserve, outcome, reader):
    result = replay(PCAPS / "conserve.pcap", conserve, reader=reader)
    assert result["outcome"] == outcome
    assert result["inputs"][0]["reader"] == {"scapy": "RawPcapReader"}.get(reader, reader)


def test_pace_does_not_matter():
    given = {"timing": "speed:1000", "chunk_size": 64}
    paced, plain = replay(WEB, pace=True, **given), replay(WEB, **given)
    assert paced["outcome"] == plain["outcome"]
    assert paced["duration_ns"] == WEB_NS // 1000
    assert paced["speed.wall_s"] >= 0.4
    assert set(paced["pace"]) == {"late_packets", "max_late_ns", "median_late_ns"}
    assert paced["pace.max_late_ns"] > 0
    assert paced["pace.late_packets"] <= WEB_PACKETS


def test_paced_packets_come_when_they_are_due():
    chunk = Chunk.from_frames([b"x" * 60] * 5, [100, 100, 20_000_100, 20_000_100, 30_000_100])
    begin = time.monotonic()
    came = [(len(part), time.monotonic() - begin) for part in Pace().parts(chunk)]
    assert sum(count for count, _ in came) == 5
    assert came[-1][1] >= 0.03


# --- time ---


def timed(text, lengths, times):
    """Times of frames under a timing, whole and one by one."""
    chunk = Chunk.from_frames([b"x"] * len(lengths), times, lengths)
    timing = Timing.parse(text)
    apart = [int(timing.retime(chunk.slice(i, i + 1)).time_ns[0]) for i in range(len(chunk))]
    assert Timing.parse(text).retime(chunk).time_ns.tolist() == apart
    return apart


def test_line_rate():
    # 84 + 24 bytes are 864 bits: 86.4 ns at 10 Gbit/s, rounded down
    assert timed("line-rate:10G", [84] * 6, [7] * 6) == [7, 93, 179, 266, 352, 439]
    # short frames are padded to 60: 84 bytes, 672 bits, 67.2 ns; 1514 + 24: 1230.4
    assert timed("line-rate:10G", [14, 60, 1514, 60], [0, 5, 6, 7]) == [0, 67, 134, 1364]
    assert timed("line-rate:1M", [60, 60], [0, 0]) == [0, 672_000]


def test_packets_per_second():
    assert timed("pps:3", [60] * 4, [50, 51, 60, 70]) == [
        50, 333_333_383, 666_666_716, 1_000_000_050]
    assert timed("pps:2.5k", [60] * 3, [0, 0, 0]) == [0, 400_000, 800_000]


def test_speed():
    assert timed("speed:2", [60] * 4, [10, 110, 111, 1010]) == [10, 60, 60, 510]
    assert timed("speed:0.5", [60] * 2, [10, 110]) == [10, 210]


def test_original_times_are_not_touched():
    chunk = Chunk.from_frames([b"x"], [5])
    assert Timing.parse(None).retime(chunk) is Timing.parse("original").retime(chunk) is chunk


@pytest.mark.parametrize("text", ["speed:0", "speed", "pps:-1", "line-rate:x", "fast", "pps:1/0",
                                  "original:2", "line-rate:100T"])
def test_what_is_no_timing(text):
    with pytest.raises(SettingsError, match="use original"):
        replay(WEB, timing=text)


# --- turns, limits, interruption, faults ---


def test_turns_multiply_sessions_and_time_goes_on():
    one, three = replay(WEB), replay(WEB, loop=3, chunk_size=50)
    assert three["packets"] == 3 * one["packets"] == 3 * WEB_PACKETS
    assert three["sessions.created"] == 3 * one["sessions.created"] == 120
    pause = WEB_NS // (WEB_PACKETS - 1)
    assert three["duration_ns"] == 3 * WEB_NS + 2 * pause
    assert [row["packets"] for row in three["inputs"]] == [WEB_PACKETS]
    assert all(three["laws"].values())


def test_a_limit_counts_over_all_turns():
    result = replay(WEB, loop=3, limit=300)
    assert result["packets"] == 300
    short = replay([WEB, WEB], limit=10)
    assert short["packets"] == 10
    assert [row["packets"] for row in short["inputs"]] == [10, 0]
    assert replay(WEB, limit=10, chunk_size=3)["outcome"] == short["outcome"]


@pytest.mark.parametrize("given", [{"loop": 0}, {"limit": -1}, {"chunk_size": 0}])
def test_bounds(given):
    with pytest.raises(SettingsError, match="at least"):
        replay(WEB, **given)


def test_interrupted():
    seen = []

    def stop(packets, done, total):
        seen.append((packets, done, total))
        return len(seen) == 2

    result = replay(WEB, chunk_size=50, progress=stop)
    assert result["interrupted"]
    assert result.exit_code == 130
    assert result["packets"] == 100
    assert [row["packets"] for row in result["inputs"]] == [100]
    assert result["outcome"] == replay(WEB, limit=100)["outcome"]
    assert [packets for packets, _, _ in seen] == [50, 100]
    assert seen[0][1] < seen[1][1] < seen[1][2] == WEB.stat().st_size


def test_a_chunk_cut_short_counts_as_far_as_it_was_judged(monkeypatch, tmp_path):
    """Nothing that was judged is lost, and what was not is said."""
    real, asked = Control._settle, []

    def settle(self, cause, packet, tick=False):
        real(self, cause, packet, tick)
        if cause != "start" and not asked:
            asked.append(packet - (cause == "time"))  # such a packet is yet to be judged
            raise KeyboardInterrupt

    monkeypatch.setattr(Control, "_settle", settle)
    rows = tmp_path / "rows.csv"
    settings = load(file=str(PCAPS / "conserve.toml"))
    result = replay(PCAPS / "conserve.pcap", settings, verdicts=str(rows))
    done = asked[0]
    assert result["interrupted_by"] == "SIGINT" and result.exit_code == 130
    assert result["packets"] == done == sum(result["verdicts"].values())
    assert result["unjudged"] > 0 and all(result["laws"].values())
    assert len(rows.read_text().splitlines()) == done + 1


def test_a_capture_that_ends_within_a_record(tmp_path):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(WEB.read_bytes()[:-5])
    after = tmp_path / "after.pcap"
    whole = bytearray(WEB.read_bytes())
    at = 24
    while at < len(whole):
        seconds, _, captured, _ = struct.unpack_from("<IIII", whole, at)
        struct.pack_into("<I", whole, at, seconds + 3600)
        at += 16 + captured
    after.write_bytes(whole)
    with pytest.raises(CaptureError, match="captures given together follow each other"):
        replay([WEB, WEB], write=str(tmp_path / "out.pcap"))
    assert not (tmp_path / "out.pcap").exists()
    result = replay([cut, after])
    assert result.exit_code == 3
    assert result["packets"] == 2 * WEB_PACKETS - 1
    first, second = result["inputs"]
    assert first["packets"] == WEB_PACKETS - 1
    assert first["fault"]["packet"] == WEB_PACKETS - 1
    assert 0 < first["fault"]["byte_offset"] < cut.stat().st_size
    assert second["packets"] == WEB_PACKETS
    assert second["fault"] is None
    assert replay(cut)["outcome"] == replay(WEB, limit=WEB_PACKETS - 1)["outcome"]


def test_nothing_is_written_when_a_capture_cannot_be_opened(tmp_path):
    with pytest.raises(CaptureError, match="no such file"):
        replay(tmp_path / "none.pcap", verdicts=str(tmp_path / "v.csv"))
    assert not list(tmp_path.iterdir())


# --- sources ---


def test_sources_are_alike(tmp_path):
    with open_capture(WEB) as reader:
        chunks = list(reader)
    packed = tmp_path / "web"
    packed.write_bytes(gzip.compress(WEB.read_bytes()))
    results = [replay(source) for source in (WEB, str(WEB), [WEB], chunks, chunks[0], packed)]
    assert len({result["outcome"] for result in results}) == 1


def test_a_workload_is_a_source():
    result = replay(make("uniform", packets=5000, sessions=100))
    assert result["packets"] == 5000
    assert result["sessions.created"] == 100
    assert replay(make("uniform", packets=5000, sessions=100), loop=2)["sessions.created"] == 200


def fwcore(*arguments, stdin=None):
    return subprocess.run([sys.executable, "-m", "fwcore", *arguments], stdin=stdin,
                          capture_output=True, text=True, check=False)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input(tmp_path, pack):
    piped = tmp_path / "piped"
    piped.write_bytes(pack(WEB.read_bytes()))
    with piped.open("rb") as stdin:
        done = fwcore("replay", "-", "--json", "-", stdin=stdin)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["outcome"] == replay(WEB)["outcome"]


def test_standard_input_has_no_second_turn(tmp_path):
    with WEB.open("rb") as stdin:
        done = fwcore("replay", "-", "--loop", "2", stdin=stdin)
    assert done.returncode == 2
    assert "standard input can be read once" in done.stderr
    assert done.stderr.count("\n") == 1


# --- files ---


def rows_of(path):
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    from pyarrow import parquet

    return parquet.read_table(path).to_pylist()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rows_of_verdicts_and_sessions(tmp_path, conserve, ending):
    verdicts, sessions = tmp_path / f"v.{ending}", tmp_path / f"s.{ending}"
    seen = []
    result = replay(PCAPS / "conserve.pcap", conserve, verdicts=str(verdicts), chunk_size=500,
                    sessions=str(sessions),
                    flows=lambda judged: seen.extend(judged.flow.tolist()))
    rows = rows_of(verdicts)
    assert [int(row["packet"]) for row in rows] == list(range(1, result["packets"] + 1))
    assert [int(row["flow"]) for row in rows] == seen
    assert sum(int(row["length"]) for row in rows) == result["bytes"]
    for kind in ("verdict", "reason"):
        names = [row[kind] for row in rows]
        assert {name: names.count(name) for name in result[f"{kind}s"]} == dict(result[f"{kind}s"])
    rows = rows_of(sessions)
    assert len(rows) == result["sessions.created"]
    causes = [row["cause"] for row in rows]
    assert causes.count("live") == result["sessions.live"]
    for cause, count in result["sessions.ended"].items():
        assert causes.count(cause) == count
    assert all("-" in row["key"] and int(row["packets_forward"]) >= 1 for row in rows)


def test_written_is_what_passed(tmp_path, conserve):
    kept = tmp_path / "kept.pcap"
    result = replay(PCAPS / "conserve.pcap", conserve, write=str(kept))
    with open_capture(kept) as reader:
        assert sum(map(len, reader)) == result["packets"] - result["verdicts.drop"]
    assert result["verdicts.drop"] == 89


def test_state_round_trip(tmp_path, conserve):
    state = tmp_path / "run.state"
    result = replay(PCAPS / "conserve.pcap", conserve, state=str(state))
    again = Result.load(state)
    assert again.to_json() == result.to_json()
    assert np.array_equal(again.array("sessions"), result.array("sessions"))
    assert len(again.array("sessions")) == result["sessions.live"]


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(FwcoreError, match="cannot be written"):
        replay(WEB, verdicts=str(tmp_path / "no" / "v.csv"))


# --- what a result shows ---


def test_the_timeline_reaches_to_the_end(conserve):
    line = replay(PCAPS / "conserve.pcap", conserve)["timeline"]
    assert line["packet"][-1] == 3941
    assert line["live"][-1] == replay(PCAPS / "conserve.pcap", conserve)["sessions.live"]


def test_transitions_keep_a_snapshot(conserve):
    rows = replay(PCAPS / "conserve.pcap", conserve)["conserve"]["transitions"]
    assert len(rows) == 4
    assert {"sessions", "hosts", "memory"} == set(rows[0]["snapshot"])
    assert sum(rows[0]["snapshot"]["memory"][name] for name in ("base", "sessions", "shm")) == (
        rows[0]["used_pages"])


def test_a_snapshot_has_the_pages_of_queues():
    """Of 100 pages 60 are base, one is for a session; frames of a page wait: red is at 88."""
    frame = ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(1, 2, 4096 - 42)))
    made = replay([Chunk.from_frames([frame] * 30, [10**18] * 30)], load(
        "fortios-7", ram_bytes=100 * 4096, max_connections=10, queue_accounting="bytes",
        links=[{"name": "w", "rate": "1Mbit"}], shapings=[{"link": "w"}]))
    (entered, *_) = made["conserve"]["transitions"]
    assert (entered["packet"], entered["used_pages"]) == (27, 88)
    assert entered["snapshot"]["memory"] == {
        "base": 60, "sessions": 1, "shm": 0, "cache": 0, "queues": 27}


def test_a_capture_is_not_changed_while_it_is_read(tmp_path):
    copy = shutil.copy(WEB, tmp_path / "copy.pcap")
    assert replay(copy, loop=2)["outcome"] == replay(WEB, loop=2)["outcome"]
    assert Path(copy).read_bytes() == WEB.read_bytes()


def test_a_turn_beyond_the_end_of_time_is_refused():
    chunk = Chunk.from_frames([bytes(60)] * 2, [0, 2**61])
    assert replay(chunk, loop=1)["packets"] == 2
    with pytest.raises(SettingsError, match="turn 2 would come to second 6917529027; there are"
                                            " seconds 0 to 4611686018"):
        replay(chunk, loop=2)


def test_pressure_that_never_came_is_said():
    rows = [{"at_s": at_s, "add_bytes": 4096} for at_s in (0, 2, 2.5)]
    rows += [{"fail_nth": 1}, {"at_s": 3, "leak_bytes_per_s": 1}]
    chunk = Chunk.from_frames([bytes(60)] * 2, [10**9, 3 * 10**9])
    result = replay(chunk, load("plain", pressure=rows))
    assert result["pressure_late"] == 2
    assert "2 rows of [[pressure]] never happened" in text.summary(result)
    assert "pressure_late" not in replay(chunk, load("plain", pressure=rows[:2])).data
