"""--filter leaves traffic out and changes nothing else: numbers, time, what the script does."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from fwcore import cli
from fwcore.capture import Chunk, Filter, load as load_capture, open_capture
from fwcore.errors import CaptureError
from fwcore.replay import Selection, replay
from fwcore.result import Result
from fwcore.settings import load

PCAPS = Path(__file__).parent.parent / "pcaps"
CONSERVE = PCAPS / "conserve.pcap"
PRESSED = load("fortios-7", ram_bytes="4MiB", pressure=[
    {"at_s": 20.0, "add_bytes": 1200 * 1024}, {"at_s": 30.0, "add_bytes": -1200 * 1024}])


def numbers_of(text, path=CONSERVE):
    with open_capture(str(path)) as reader:
        return (np.flatnonzero(Filter(text)(load_capture(reader))) + 1).tolist()


@pytest.mark.parametrize("chunk_size", [7, 8192])
def test_a_packet_keeps_its_number(tmp_path, chunk_size):
    """Where no packet touches another's fate, a filtered run says the same of each that is left."""
    rows = {}
    for text in (None, "tcp port 443"):
        path = tmp_path / f"{text is None}.csv"
        settings = load("plain", midstream="allow", seed=1)
        result = replay(CONSERVE, settings, filter=text, verdicts=str(path), limit=1000,
                        chunk_size=chunk_size, sessions=str(tmp_path / "s.csv"))
        with path.open(newline="") as file:
            rows[text] = list(csv.DictReader(file))
    kept = {number for number in numbers_of("tcp port 443") if number <= 1000}
    assert 0 < len(kept) < 1000 and result["packets"] == len(kept)
    assert rows["tcp port 443"] == [row for row in rows[None] if int(row["packet"]) in kept]
    assert result["filter"] == {"text": "tcp port 443", "frames": 1000}
    assert result["inputs"][0]["packets"] == 1000
    with (tmp_path / "s.csv").open(newline="") as file:
        assert {int(row["created_packet"]) for row in csv.DictReader(file)} <= kept
    assert {int(n) for n in result.array("sessions")["created_packet"]} <= kept


def test_time_counts_from_the_captures_first_frame_to_its_last():
    """The script hits where it would have hit, although the first packet left comes later."""
    chunk = Chunk.from_frames([b"x" * 60] * 41, [n * 10**9 for n in range(41)], link=9999)
    full = replay([chunk], PRESSED)
    left = replay([chunk], PRESSED, filter="tcp")
    assert left["packets"] == 0 and left["duration_ns"] == full["duration_ns"] == 40 * 10**9
    times = [[(row["time_ns"], row["to"]) for row in result["conserve"]["transitions"]]
             for result in (full, left)]
    assert times[0] == times[1] == [(20 * 10**9, "on"), (30 * 10**9, "off")]
    assert left["timeline"]["time_ns"][-1] == 40 * 10**9
    assert left["conserve"]["seconds"] == full["conserve"]["seconds"]


def test_every_number_of_a_result_is_the_captures():
    settings = load("plain", max_connections=4, when_full="bucket", seed=1)
    kept = set(numbers_of("udp"))
    result = replay(CONSERVE, settings, filter="udp")
    victims = result["victims"]
    assert victims and {row["packet"] for row in victims} <= kept
    assert {row["created_packet"] for row in victims} <= kept
    assert max(row["packet"] for row in victims) > result["packets"]
    assert {row["packet"] for row in result["events"]} <= kept | {0}
    assert {*result["timeline"]["packet"]} <= kept | {0}


def test_explain_has_the_captures_numbers(tmp_path):
    out = tmp_path / "life.json"
    result = replay(CONSERVE, load("plain", seed=1), filter="udp", sessions=str(tmp_path / "s.csv"))
    with (tmp_path / "s.csv").open(newline="") as file:
        row = next(iter(csv.DictReader(file)))
    argv = ["explain", str(CONSERVE), "--flow", row["key"], "--filter", "udp", "--json", str(out)]
    assert cli.main(argv) == 0
    life = json.loads(out.read_text())
    assert life["rows"][0]["packet"] == int(row["created_packet"])
    assert life["capture_packets"] == result["inputs"][0]["packets"]


@given(st.lists(st.lists(st.booleans(), max_size=40), max_size=6))
def test_numbers_of_packets_are_those_of_the_frames_that_matched(masks):
    selection = Selection("tcp")
    shown = iter(masks)
    selection.filter = lambda chunk: np.array(next(shown), dtype=bool)
    expected, frame = [], 0
    for mask in masks:
        chunk = Chunk.from_frames([b"x"] * len(mask), range(len(mask)))
        assert len(selection.take(chunk)) == sum(mask)
        expected += [frame + at + 1 for at, kept in enumerate(mask) if kept]
        frame += len(mask)
    own = np.arange(len(expected) + 1)
    assert selection.numbers(own).tolist() == [0, *expected]
    assert selection.numbers(own[::-1]).tolist() == [*expected[::-1], 0]
    assert (selection.frames, selection.packets) == (frame, len(expected))


def test_what_is_no_filter_is_refused_before_anything_is_opened():
    with pytest.raises(CaptureError, match="filter 'nonsense'"):
        replay("missing.pcap", filter="nonsense")


def test_a_filtered_result_survives_its_file(tmp_path):
    result = replay(CONSERVE, load("plain"), filter="udp")
    result.to_json(tmp_path / "r.json")
    assert Result.load(tmp_path / "r.json")["filter"] == result["filter"]
