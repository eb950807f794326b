"""What is damaged, has no end, or unpacks to more than it may: said by every command that reads it.
"""

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fwcore import cli, infile, policy
from fwcore.errors import FwcoreError, OutputError
from fwcore.result import ROW_TABLES, Result

PCAPS = Path(__file__).parent.parent / "pcaps"
CONSERVE = [str(PCAPS / "conserve.pcap"), "--settings", str(PCAPS / "conserve.toml")]


@pytest.fixture
def run(capfd):
    """Runs a command: exit code, standard output, standard error."""
    def once(*given):
        code = cli.main([str(each) for each in given])
        return code, *capfd.readouterr()
    return once


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """conserve.pcap without its last 30 bytes."""
    path = tmp_path_factory.mktemp("damaged") / "cut.pcap"
    path.write_bytes((PCAPS / "conserve.pcap").read_bytes()[:-30])
    return path


# --- a capture's fault ----------------------------------------------------------------------------


@pytest.mark.parametrize("given", [
    ("replay", "-q"), ("explain", "--packet", 3904), ("explain", "--host", "10.1.1.39"),
    ("explain", "--flow", "10.1.1.39:20154-10.0.0.53:53/udp"), ("top",), ("demand",),
    ("compare", "-q", "--with", "fortios-7", "--with", "fortios-5"),
], ids=lambda given: "-".join(map(str, given)))
def test_every_command_says_a_fault_once(run, damaged, given):
    command, *more = given
    code, _, err = run(command, damaged, *more)
    assert code == 3
    assert err.count("cut.pcap: the file ends within a record") == 1


def test_a_packet_behind_a_fault(run, damaged):
    code, out, err = run("explain", damaged, "--packet", 3941)
    assert (code, out) == (2, "")
    assert "ends within a record" in err and "there is no packet 3941: the capture has 3940" in err


def test_json_of_explain_has_the_fault(run, damaged):
    for given in (("--packet", 3904), ("--host", "10.1.1.39")):
        code, out, _ = run("explain", damaged, *given, "--json", "-")
        assert code == 3
        assert "ends within a record" in json.loads(out)["inputs"][0]["fault"]["message"]


def test_the_gravest_code_stands(run, damaged, tmp_path):
    """A full disk before a fault, wherever it is found: 2 before 3."""
    run("replay", damaged, "-q", "--json", tmp_path / "r.json")
    for given in (("replay", damaged, "-q", "--json", "/dev/full"),
                  ("report", tmp_path / "r.json", "-q", "--json", "/dev/full"),
                  ("top", damaged, "--json", "/dev/full"),
                  ("demand", damaged, "--json", "/dev/full"),
                  ("compare", damaged, "-q", "--with", "plain", "--with", "fortios-5", "--json",
                   "/dev/full")):
        assert run(*given)[0] == 2, given


@pytest.mark.parametrize(("where", "value"), [
    (("grace_unsure",), "x"), (("memory", "thresholds", "kernel"), [1]),
    (("memory", "thresholds", "kernel"), {"green": 1}),
    (("memory", "thresholds", "unified", "enter"), 1), (("whole",), {"packets": 1}),
])
def test_a_result_that_no_view_could_show_is_refused(run, tmp_path, where, value):
    run("replay", *CONSERVE, "-q", "--json", tmp_path / "r.json")
    data = json.loads((tmp_path / "r.json").read_text())
    inner = data
    for name in where[:-1]:
        inner = inner[name]
    inner[where[-1]] = value
    (tmp_path / "r.json").write_text(json.dumps(data))
    code, _, err = run("report", tmp_path / "r.json", "--html", tmp_path / "x.html")
    assert code == 2 and where[-1] in err


@pytest.mark.parametrize("change", [
    {"total_pages": 0}, {"met": {"meters": [], "dscp": None, "link": "wan"}},
    {"met": {"meters": [], "dscp": None, "link": "wan", "class": 1, "waiting": 0, "fate": "sent",
             "wait_ns": None}}], ids=lambda change: next(iter(change)))
def test_a_life_that_could_not_be_shown_is_refused(run, tmp_path, change):
    run("explain", *CONSERVE, "--packet", 97, "--json", tmp_path / "e.json")
    data = json.loads((tmp_path / "e.json").read_text())
    data["rows"][0] |= change
    (tmp_path / "e.json").write_text(json.dumps(data))
    code, _, err = run("report", tmp_path / "e.json")
    assert code == 2 and next(iter(change)) in err


def test_a_group_alone_says_its_help_on_a_full_disk_too(run, monkeypatch):
    """Its help is a result like any other."""
    def full(_text):
        raise OutputError("standard output: writing failed (No space left on device)")
    monkeypatch.setattr("fwcore.terminal.say", full)
    for given in ((), ("shape",), ("personality",)):
        code, _, err = run(*given)
        assert code == 2 and "No space left" in err and "Traceback" not in err


# --- files without an end -------------------------------------------------------------------------


@pytest.mark.parametrize("given", [
    ("replay", CONSERVE[0], "-q", "--settings"), ("replay", CONSERVE[0], "-q", "--policy"),
    ("plan", "--settings"), ("shape", "check")], ids=lambda given: given[0])
def test_settings_have_an_end(run, given):
    code, _, err = run(*given, "/dev/zero")
    assert code == 2 and "/dev/zero: has more than 16777216 bytes" in err


@pytest.mark.parametrize("given", [("report",), ("replay", CONSERVE[0], "-q", "--expect")],
                         ids=lambda given: given[0])
def test_what_cannot_be_a_result_is_not_read_on(run, given):
    code, _, err = run(*given, "/dev/zero")
    assert code == 2 and "/dev/zero: neither a result" in err


def test_a_file_is_read_to_its_bound(tmp_path):
    path = tmp_path / "a"
    for size in (0, 1, 99, 100):
        path.write_bytes(b"x" * size)
        assert infile.read(path, 100) == b"x" * size
    path.write_bytes(b"x" * 101)
    with pytest.raises(FwcoreError, match="a: has more than 100 bytes"):
        infile.read(path, 100)
    assert infile.read(path, 200, lambda head: head[:1] == b"y") == b"x" * 101
    with pytest.raises(FileNotFoundError):
        infile.read(tmp_path / "b", 100)


# --- a state file that is more than it says -------------------------------------------------------


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """The members of a state file."""
    path = tmp_path_factory.mktemp("state") / "run.state"
    assert cli.main(["replay", *CONSERVE, "-q", "--state", str(path)]) == 0
    assert len(Result.load(path).array("sessions")) == Result.load(path).sessions.live
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _archive(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _npy(table):
    file = io.BytesIO()
    np.save(file, table)
    return file.getvalue()


def test_a_table_that_is_not_ours_is_not_unpacked(run, state, tmp_path):
    wide = b"\x93NUMPY\x01\x00\x76\x00" + (
        b"{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999,), }").ljust(117) + b"\n"
    for data in (wide, _npy(np.zeros((3, 3))), _npy(np.zeros(5))):
        code, _, err = run("report", _archive(tmp_path / "a", state | {"sessions.npy": data}))
        assert code == 2 and "sessions in the archive is no table of ours" in err
    code, _, err = run("report", _archive(tmp_path / "a", state | {"more.npy": _npy(np.zeros(5))}))
    assert code == 2 and "more in the archive is no table of ours" in err
    sessions = np.load(io.BytesIO(state["sessions.npy"]))
    many = state | {"sessions.npy": _npy(np.concatenate([sessions, sessions[:1]]))}
    code, _, err = run("report", _archive(tmp_path / "a", many))
    assert code == 2 and f"has {len(sessions) + 1} rows, where the result knows" in err


@pytest.mark.parametrize("kind", [[], {}, None, 5, "other"])
def test_a_kind_that_is_none(run, tmp_path, kind):
    (tmp_path / "a.json").write_text(json.dumps({"kind": kind}))
    code, _, err = run("report", tmp_path / "a.json")
    assert code == 2 and "the JSON has no 'schema'" in err


# --- outputs --------------------------------------------------------------------------------------


def test_a_state_goes_to_a_device(run):
    assert run("replay", *CONSERVE, "-q", "--state", "/dev/null") == (0, "", "")


def test_a_table_without_rows_has_its_columns(run, tmp_path):
    (tmp_path / "empty.pcap").write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 96, 1))
    pandas = pytest.importorskip("pandas")
    flood = ("--set", "max_connections=64", "--set", "buckets=16")
    for name, capture in (("without", tmp_path / "empty.pcap"), ("with", PCAPS / "syn-flood.pcap")):
        for ending in ("csv", "parquet"):
            assert run("replay", capture, "-q", *flood, "--victims",
                       tmp_path / f"{name}.{ending}")[0] == 0
    for read in (lambda name: pandas.read_csv(tmp_path / f"{name}.csv"),
                 lambda name: pandas.read_parquet(tmp_path / f"{name}.parquet")):
        assert len(read("without")) == 0 < len(read("with"))
        assert list(read("without").columns) == list(read("with").columns)


def test_the_columns_of_each_table_are_those_of_its_rows(run, tmp_path):
    runs = (["replay", *CONSERVE], ["replay", str(PCAPS / "syn-flood.pcap"),
            "--set", "max_connections=64", "--set", "buckets=16"])
    seen = set()
    for at, given in enumerate(runs):
        assert run(*given, "-q", "--json", tmp_path / f"{at}.json")[0] == 0
        result = Result.load(tmp_path / f"{at}.json")
        for name in ROW_TABLES:
            found = result.array(name)
            if len(found):
                seen.add(name)
                assert list(found.dtype.names) == ROW_TABLES[name].split(), name
    assert seen == {*ROW_TABLES}


def test_the_page_shows_no_marks_of_a_file_name(run, tmp_path):
    path = tmp_path / "a\x1b[2J\u202epcap.pcap"
    path.write_bytes((PCAPS / "web.pcap").read_bytes())
    assert run("replay", path, "-q", "--html", tmp_path / "a.html")[0] == 0
    page = (tmp_path / "a.html").read_text()
    assert not {"\x1b", "\u202e"} & {*page}
    assert "a\\x1b[2J\\u202epcap.pcap" in page


# --- words ----------------------------------------------------------------------------------------


def test_the_option_that_is_wrong_is_the_one_named(run):
    web = str(PCAPS / "web.pcap")
    for given, said in (
        (("compare", web, "-q", "--with", "ram_bytes=", "--with", "plain"),
         'fwcore: --with ram_bytes=: ram_bytes = "" is not a number'),
        (("compare", web, "-q", "--set", "ram_bytes=", "--with", "seed=2", "--with", "plain"),
         'fwcore: --set: ram_bytes = "" is not a number'),
        (("plan", "--leak", "0"), "fwcore: --leak 0: a leak is more than 0"),
        (("plan", "--leak", "much"), "--leak"),
        (("plan", "--restart-every", "0"), "'--restart-every': 0 is not in the range x>=1"),
        (("synth", "web", "-", "--duration", "nan"), "allowed: more than 0 and less than"),
        (("replay", web, "--expect-outcome", "garbage"), "'garbage' is no outcome"),
    ):
        code, out, err = run(*given)
        assert (code, out) == (2, "") and said in err, given


def test_a_leak_is_an_amount(run):
    both = [run("plan", "--personality", "fortios-7", "--leak", leak) for leak in ("4KiB", "4096")]
    assert both[0] == both[1] and both[0][0] == 0


def test_none_stands_alone():
    with pytest.raises(FwcoreError, match="'none' stands alone, not in a list"):
        policy.parse([{"id": 1, "inspection": ["none", "antivirus"]}])


# --- explain --------------------------------------------------------------------------------------


def test_a_later_fragment_is_of_the_flow_of_the_first(run, tmp_path):
    code, out, _ = run("explain", PCAPS / "fragments.pcap", "--packet", 2)
    assert code == 0
    assert out == run("explain", PCAPS / "fragments.pcap", "--packet", 1)[1]


def test_a_filter_says_what_it_keeps(run):
    code, out, _ = run("explain", PCAPS / "web.pcap", "--packet", 3, "--filter", "host 9.9.9.9")
    assert code == 0
    assert "among the 0 packets that the filter keeps of 241" in " ".join(out.split())
