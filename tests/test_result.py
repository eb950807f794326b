"""The result object: items, attributes, tables, files."""

import json
import sys
import zipfile

import fake
import numpy as np
import pytest

from fwcore._layout import SESSION_DTYPE
from fwcore.errors import FwcoreError, MissingExtra
from fwcore.result import Blocked, Result, Section, plain, rows_to_array

SESSIONS = np.zeros(3, SESSION_DTYPE)
SESSIONS["created_packet"] = 1, 5, 9


@pytest.fixture
def result():
    return Result(fake.make(), {"sessions": SESSIONS})


def test_items_attributes_and_paths_agree(result):
    peak = result.data["sessions"]["peak"]
    assert result.sessions.peak == result["sessions"]["peak"] == result["sessions.peak"] == peak
    assert result["memory.peak.used"] == result.memory.peak.used
    assert set(result) == set(result.data)


def test_an_unknown_name_says_what_there_is(result):
    with pytest.raises(AttributeError, match="created, live, peak"):
        result.sessions.crated  # noqa: B018
    with pytest.raises(KeyError, match=r"no 'sessions\.crated'"):
        result["sessions.crated"]


def test_repr_tells_the_story_in_one_line(result):
    text = repr(result)
    assert "1,204,331 packets" in text and "4 transitions" in text and result.outcome in text
    assert "\n" not in text and repr(result.sessions).startswith("<result.sessions: created=")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, 0),
        ({"inputs": [{"path": "x", "fault": {"message": "cut", "byte_offset": 9}}]}, 3),
        ({"interrupted": True}, 130),
        ({"inputs": [{"path": "x", "fault": "cut"}], "interrupted": True}, 130),
        ({"laws": {"pages": False}, "interrupted": True}, 5),
        ({"laws": {"pages": False, "live": True}}, 5),
        ({"interrupted": True, "interrupted_by": "SIGTERM"}, 143),
        ({"interrupted": True, "interrupted_by": "SIGHUP"}, 129),
        ({"lost": [{"path": "y", "message": "full"}], "inputs": [{"path": "x", "fault": "cut"}]},
         2),
    ],
)
def test_exit_code(change, code):
    assert Result({**fake.make(), **change}).exit_code == code


def test_every_lost_output_is_told(result):
    lost = result.with_lost("a.json", "full").with_lost("b.json", "gone").data["lost"]
    assert [row["path"] for row in lost] == ["a.json", "b.json"]


def test_tables_are_copies_with_named_columns(result):
    victims = result.array("victims")
    assert victims.shape == (400,)
    assert victims["key"][0] == "10.0.0.0:1024-203.0.113.0:443/tcp"
    timeline = result.array("timeline")
    assert timeline["verdict_drop"][-1] == result.verdicts.drop
    assert timeline["reason_hit"][-1] == result.reasons.hit
    sessions = result.array("sessions")
    sessions["bytes"] = 7
    assert result.array("sessions")["bytes"].sum() == 0
    assert [int(row["created_packet"]) for row in result.iter_sessions()] == [1, 5, 9]
    with pytest.raises(KeyError, match="there are victims"):
        result.array("victim")


def test_a_table_is_made_when_it_is_asked_for_and_once(tmp_path):
    made = []

    def sessions():
        made.append(1)
        rows = np.zeros(3, SESSION_DTYPE)
        rows["created_packet"] = range(3)
        return rows

    lazy = Result(fake.make(), {"sessions": sessions})
    assert "sessions" in lazy.arrays
    assert lazy.to_json() and not made
    assert [row["created_packet"] for row in lazy.iter_sessions()] == [0, 1, 2]
    assert (lazy.array("sessions") == [*lazy.iter_sessions()]).all()
    lazy.save_state(tmp_path / "state.npz")
    again = Result.load(tmp_path / "state.npz").array("sessions")
    assert again["created_packet"].tolist() == [0, 1, 2]
    assert made == [1]


def test_a_table_in_blocks_is_written_as_the_whole_one(tmp_path):
    rows = np.zeros(70, SESSION_DTYPE)
    rows["created_packet"] = range(70)
    parts = [rows[:30], rows[30:30], rows[30:]]
    one = Result(fake.make(), {"sessions": rows})
    other = Result(fake.make(), {"sessions": Blocked(70, SESSION_DTYPE, rows.copy, parts.copy)})
    for name, result in (("one", one), ("other", other)):
        result.save_state(tmp_path / name)
    np.savez(tmp_path / "numpy", sessions=rows)
    with zipfile.ZipFile(tmp_path / "numpy.npz") as archive:
        expected = archive.read("sessions.npy")
    for name in ("one", "other"):
        with zipfile.ZipFile(tmp_path / name) as archive:
            assert archive.read("sessions.npy") == expected
    assert (other.array("sessions") == rows).all()
    short = Result(fake.make(), {"sessions": Blocked(71, SESSION_DTYPE, rows.copy, parts.copy)})
    with pytest.raises(FwcoreError, match="changed while"):
        short.save_state(tmp_path / "short")
    assert not (tmp_path / "short").exists()


def test_rows_of_uneven_keys_and_none():
    table = rows_to_array([{"a": 1, "b": "x", "n": {"no": 1}}, {"a": None, "c": 2}])
    assert table.dtype.names == ("a", "b", "c")
    assert table.tolist() == [(1, "x", 0), (0, "", 2)]
    assert len(rows_to_array([])) == 0


def test_json_round_trip(result, tmp_path):
    path = tmp_path / "r.json"
    text = result.to_json(path)
    assert Result.load(path).data == json.loads(text) == result.data


def test_state_round_trip_keeps_the_tables(result, tmp_path):
    path = tmp_path / "r.state"
    result.save_state(path)
    again = Result.load(path)
    assert again.data == result.data
    assert (again.array("sessions") == SESSIONS).all()


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 no", b"[]", b"{}", b'{"schema": 9}', b'{"schema": 0}', b"\xff"]
)
def test_other_files_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(FwcoreError, match="neither a result") as caught:
        Result.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "content"), [
    ("x", bytes.fromhex("d4c3b2a1") + bytes(20)), ("x.pcap.gz", b"\x1f\x8b"), ("x.cap", b"")])
def test_a_capture_is_called_a_capture(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FwcoreError, match="this is a capture: use fwcore replay"):
        Result.load(tmp_path / name)


def test_a_result_of_another_schema_is_refused():
    for schema in (0, 2):
        with pytest.raises(FwcoreError, match=f"its schema is {schema}, this fwcore reads 1"):
            Result.from_json(json.dumps({**fake.make(), "schema": schema}))


def test_a_missing_file():
    with pytest.raises(FwcoreError, match="No such file"):
        Result.load("/nowhere/r.json")


def test_plain_knows_numpy_and_refuses_the_rest():
    assert json.dumps([np.int64(3), np.arange(2)], default=plain) == "[3, [0, 1]]"
    with pytest.raises(TypeError, match="set has no place"):
        json.dumps({1}, default=plain)


def test_pandas(result):
    pandas = pytest.importorskip("pandas")
    frame = result.to_pandas("timeline")
    assert isinstance(frame, pandas.DataFrame) and str(frame.index[0])[:10] == "2022-11-02"


def test_without_pandas_the_error_names_the_extra(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"fwcore\[pandas\]"):
        result.to_pandas("victims")


def test_a_forged_name_says_nothing_to_a_terminal_or_a_page():
    """In a session of Python or a notebook; a result may be somebody else's."""
    forged = Result({**fake.make(), "personality": "\x1b[2J<script>", "outcome": "\x9b"})
    assert repr(forged).isprintable()
    assert repr(Section({"\x1b]0;": 1})).isprintable()
    assert "<script>" not in forged._repr_html_()


def test_a_path_that_is_no_text_is_in_tables_as_it_is_in_files():
    """Arrow and pandas have no lone surrogates: the table of inputs was a traceback."""
    data = fake.make()
    data["inputs"][0]["path"] = "\udcff.pcap"
    result = Result(data)
    assert result.columns("inputs")["path"][0] == "\\udcff.pcap"
    pytest.importorskip("pyarrow")
    assert result.to_arrow("inputs")["path"][0].as_py() == "\\udcff.pcap"


def test_a_timeline_has_nothing_but_columns():
    data = fake.make()
    data["timeline"]["more"] = 1
    with pytest.raises(FwcoreError, match=r"timeline.more is int, where a list"):
        Result.from_json(json.dumps(data))
