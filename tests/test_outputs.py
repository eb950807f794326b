"""Outputs: apart from what is read, whole or not there; signals; pipes; what is not printable."""

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest

from fwcore import cli, escape, preflight, rows
from fwcore.capture import Chunk, open_capture
from fwcore.cli.app import INPUTS
from fwcore.errors import FwcoreError, OutputError, PipeClosed
from fwcore.outfile import Output, check_apart
from fwcore.replay import Timing, replay
from fwcore.replay.turns import later
from fwcore.rows import RowFile
from fwcore.settings import load

PCAPS = Path(__file__).parent.parent / "pcaps"
WEB = PCAPS / "web.pcap"
CONSERVE = (str(PCAPS / "conserve.pcap"), "--settings", str(PCAPS / "conserve.toml"))
FWCORE = (sys.executable, "-m", "fwcore")


def fwcore(*argv, **more):
    return subprocess.run([*FWCORE, *map(str, argv)], text=True, capture_output=True, check=False,
                          timeout=60, **more)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with a capture, a symbolic link and a hard link to it, and settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pcap").write_bytes(WEB.read_bytes())
    (tmp_path / "soft").symlink_to("a.pcap")
    (tmp_path / "hard").hardlink_to("a.pcap")
    (tmp_path / "s.toml").write_text('personality = "plain"\n')
    return tmp_path


# --- an output is no input ---


@pytest.mark.parametrize("argv", [
    *(("replay", "a.pcap", f"--{name}", path)
      for name in ("write", "verdicts", "sessions", "json", "html", "state")
      for path in ("a.pcap", "soft", "hard", "./a.pcap")),
    ("replay", "a.pcap", "--settings", "s.toml", "--json", "s.toml"),
    ("replay", "a.pcap", "--policy", "s.toml", "--html", "s.toml"),
    ("explain", "a.pcap", "--flow", "1.1.1.1:1-2.2.2.2:2/tcp", "--json", "soft"),
    ("compare", "a.pcap", "--with", "s.toml", "--with", "plain", "--html", "s.toml"),
    ("report", "a.pcap", "--json", "hard"),
    ("bench", "--baseline", "s.toml", "--json", "s.toml"),
    ("replay", "a.pcap", "--json", "x", "--html", "./x"),
    ("replay", "a.pcap", "--victims", "x.csv", "--timeline", "x.csv"),
    ("replay", "a.pcap", "--json", "-", "--write", "-"),
    ("synth", "web", "x", "--json", "x"),
])  # fmt: skip
def test_an_output_that_is_read_or_written_already_is_refused(here, argv, capfd):
    from fwcore.cli import main

    before = {path.name: path.read_bytes() for path in here.iterdir()}
    assert main(argv) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "name another" in err
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before


def test_standard_input_and_output_are_files_too(here):
    with open("a.pcap", "rb") as stdin:
        assert fwcore("replay", "-", "--write", "soft", stdin=stdin).returncode == 2
    with open("out", "w") as stdout:
        done = subprocess.run([*FWCORE, "replay", "a.pcap", "--json", "out"], stdout=stdout,
                              stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and "standard output" in done.stderr


def test_devices_may_stand_twice(here):
    done = fwcore("replay", "a.pcap", "--json", "/dev/null", "--html", "/dev/null", "--verdicts",
                  "/dev/null", "--write", "/dev/null", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_replay_of_python_asks_too(here):
    with pytest.raises(FwcoreError, match="is read: name another"):
        replay("a.pcap", write="hard")
    check_apart([("--json", "x")], [("the capture", "a.pcap")])


# --- whole or not there ---


def test_an_earlier_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "r.json"
    path.write_text("earlier")
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    output = Output(link)
    output.write(b"half")
    output.discard()
    assert path.read_text() == "earlier" and sorted(os.listdir(tmp_path)) == ["link", "r.json"]
    with Output(link) as output:
        output.write(b"whole")
    assert path.read_text() == "whole" and link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    path.write_text("earlier")
    monkeypatch.setattr("fwcore.outfile.open", _refuse, raising=False)
    with pytest.raises(OutputError, match=r"r\.json: cannot be written \(Permission denied\)"):
        Output(path)
    assert os.listdir(tmp_path) == ["r.json"]


def _refuse(*_given):
    raise PermissionError(13, "Permission denied")


def _small_files():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)     # EFBIG instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))


def test_a_full_disk_is_named_and_the_rest_is_written(tmp_path, monkeypatch):
    """A limit on the size of files stands for the disk; an earlier result stays."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v.csv").write_text("earlier")
    done = fwcore("replay", *CONSERVE, "--verdicts", "v.csv", "--write", "w.pcap", "--html",
                  "r.html", "--victims", "t.csv", preexec_fn=_small_files)
    assert done.returncode == 2 and "verdicts" in done.stdout
    for name in ("v.csv", "w.pcap", "r.html"):
        assert f"{name}: writing failed (File too large)" in done.stderr
    assert "as it was" in done.stderr and (tmp_path / "v.csv").read_text() == "earlier"
    assert sorted(os.listdir(tmp_path)) == ["t.csv", "v.csv"]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_folder_that_goes_away_costs_its_file_only(tmp_path, threads):
    """It cost the run its result and the other files, and left one half written."""
    gone, stays = tmp_path / "gone", tmp_path / "s.csv"
    gone.mkdir()
    result = replay(WEB, load(), threads=threads, verdicts=str(gone / "v.csv"),
                    sessions=str(stays), progress=lambda *_: shutil.rmtree(gone, True))
    assert [row["path"] for row in result["lost"]] == [str(gone / "v.csv")]
    assert [each.name for each in tmp_path.iterdir()] == ["s.csv"]


def test_a_device_that_is_full(tmp_path):
    done = fwcore("replay", *CONSERVE, "--json", "/dev/full", "--victims", tmp_path / "v.csv")
    assert done.returncode == 2 and "/dev/full: writing failed" in done.stderr
    assert (tmp_path / "v.csv").exists() and "verdicts" in done.stdout
    with open("/dev/full", "w") as full:
        done = subprocess.run([*FWCORE, "replay", WEB], stdout=full, stderr=subprocess.PIPE,
                              text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "fwcore: standard output: writing failed (No space left on device)\n"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_without_rows_have_columns(tmp_path, ending):
    paths = {name: str(tmp_path / f"{name}.{ending}") for name in ("verdicts", "sessions")}
    replay(WEB, limit=0, **paths)
    found = {}
    for name, path in paths.items():
        if ending == "csv":
            header, *lines = Path(path).read_text().splitlines()
            found[name] = header.split(",")
            assert not lines
        else:
            found[name] = pytest.importorskip("pyarrow.parquet").read_table(path).column_names
    assert found["verdicts"] == ["packet", "time_ns", "length", "verdict", "reason", "flow"]
    assert found["sessions"][:2] == ["key", "state"]


def test_frames_that_do_not_fit_cost_their_file_only(tmp_path):
    chunk = Chunk.from_frames([b"x" * 60] * 2, [1, 2], link=[1, 113])
    result = replay([chunk], write=str(tmp_path / "w.pcap"), verdicts=str(tmp_path / "v.csv"))
    assert result.exit_code == 2 and "link type 113" in result["lost"][0]["message"]
    assert result["packets"] == 2 and os.listdir(tmp_path) == ["v.csv"]


# --- pipes ---


def closed(*argv):
    """A run whose standard output nobody reads: its exit code and standard error."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as stdout:
        done = subprocess.run([*FWCORE, *map(str, argv)], stdout=stdout, stderr=subprocess.PIPE,
                              text=True, check=False)
    return done.returncode, done.stderr


def test_a_closed_pipe_hides_nothing(tmp_path):
    assert closed("replay", WEB, "--html", tmp_path / "r.html") == (141, "")
    assert (tmp_path / "r.html").exists()
    assert closed("replay", WEB, "--expect-outcome", "1:0")[0] == 4
    for argv in (("--help",), ("--version",), ("settings",), ("glossary", "--json", "-"),
                 ("synth", "web", "-"), ("replay", WEB, "--write", "-")):
        assert closed(*argv) == (141, "")


def test_closed_standard_streams(here):
    def run(text):
        line = f'"{sys.executable}" -m fwcore {text}'
        return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)

    done = run("replay a.pcap --json j >&-")
    assert done.returncode == 2 and "standard output is closed" in done.stderr
    assert json.loads(Path("j").read_text())["packets"] == 241
    assert run("replay a.pcap -q --json j >&-").returncode == 0
    assert run("replay nowhere 2>&-").returncode == 2
    assert "verdicts" in run("replay a.pcap 2>&-").stdout
    done = run("replay - <&-")
    assert done.returncode == 2 and "standard input is closed" in done.stderr
    assert Path("a.pcap").read_bytes() == WEB.read_bytes()


def test_a_capture_on_standard_output_is_a_capture(here):
    with open("w.pcap", "wb") as stdout:
        subprocess.run([*FWCORE, "replay", "a.pcap", "--write", "-"], stdout=stdout, check=True)
    with open_capture("w.pcap") as reader:
        assert sum(map(len, reader)) == 241 and reader.fault is None


# --- signals ---


def started(*argv, stdin=None):
    """A run that is about to wait; its pipe of standard error says nothing yet."""
    return subprocess.Popen([*FWCORE, *argv], stdin=stdin, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, restore_signals=True)


@pytest.mark.parametrize("number, code", [
    (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_gap_of_a_paced_run(here, number, code):
    """The second packet of web.pcap comes after seconds: it is waited for, and given up."""
    with started("replay", "a.pcap", "--pace", "--timing", "speed:0.01", "--json", "r.json",
                 "--verdicts", "v.csv") as run:
        _wait_for_part(here)
        time.sleep(0.3)
        run.send_signal(number)
        _out, err = run.communicate(timeout=20)
    assert run.returncode == code and b"interrupted after packet" in err
    made = json.loads(Path("r.json").read_text())
    assert made["interrupted"] and made["interrupted_by"] == signal.Signals(number).name
    assert made["packets"] == made["inputs"][0]["packets"] < 241
    assert len(Path("v.csv").read_text().splitlines()) == made["packets"] + 1


def _wait_for_part(folder):
    """Until the run has opened its outputs, 20 s at most."""
    for _ in range(200):
        if list(folder.glob(".fwcore-*.part")):
            return
        time.sleep(0.1)
    raise AssertionError("nothing was opened")


def _wait_for_silence(run):
    """Until a run has read all that was written, and sleeps because there is no more; 20 s."""
    asleep = 0
    for _ in range(400):
        left = fcntl.ioctl(run.stdin, termios.FIONREAD, bytes(4))
        state = Path(f"/proc/{run.pid}/stat").read_text().rpartition(")")[2].split()[0]
        asleep = asleep + 1 if left == bytes(4) and state == "S" else 0
        if asleep == 5:
            return
        time.sleep(0.05)
    raise AssertionError("nobody reads")


def test_standard_input_is_judged_as_it_comes(here):
    """Ten packets, and then silence: a signal finds them judged and written."""
    data = WEB.read_bytes()
    with started("replay", "-", "--json", "r.json", "--verdicts", "v.csv",
                 stdin=subprocess.PIPE) as run:
        run.stdin.write(data[: len(data) // 2])
        run.stdin.flush()
        _wait_for_part(here)
        _wait_for_silence(run)
        run.send_signal(signal.SIGTERM)
        _out, err = run.communicate(timeout=20)
    assert run.returncode == 143, err
    assert 50 < json.loads(Path("r.json").read_text())["packets"] < 241


def test_silent_standard_input_is_left_at_once(here):
    with started("replay", "-", stdin=subprocess.PIPE) as run:
        _wait_for_silence(run)
        run.send_signal(signal.SIGINT)
        _out, err = run.communicate(timeout=20)
    assert run.returncode == 130 and b"fwcore: interrupted" in err


# --- what is not printable ---


def test_words_and_pages():
    assert escape.visible("a\x1b]0;x\x07\u202eb\udcff\nü→") == "a\\x1b]0;x\\x07\\u202eb\\xff\\nü→"
    assert escape.shown("\x1b[31mred\x1b[0m\n\x1b[2J", colour=True) == (
        "\x1b[31mred\x1b[0m\n\\x1b[2J")
    assert "\x1b" not in escape.shown("\x1b[31mred\x1b[0m")
    tree = escape.visible_tree({"a\x1b": ["\x07", 1, ("x",)]})
    assert tree == {"a\\x1b": ["\\x07", 1, ["x"]]}


def test_no_escape_of_a_file_name_reaches_the_terminal(here, capfdbinary):
    from fwcore.cli import main

    name = os.fsdecode(b"a\x1b[2J\xff\x9b.pcap")
    Path(name).write_bytes(WEB.read_bytes())
    for argv, code in ((("replay", name, "--html", "p.html", "--json", "r.json"), 0),
                       (("report", "r.json", "--html", "q.html"), 0),
                       (("replay", name, "--json", name), 2), (("report", name), 2),
                       (("replay", name + "x"), 2), (("explain", name, "--flow", name), 2)):
        assert main(argv) == code
        shown = b"".join(capfdbinary.readouterr())
        assert b"a\\x1b[2J" in shown
        assert b"\x1b" not in shown and b"\x9b" not in shown and b"a defect" not in shown


def test_no_cell_is_a_formula(tmp_path):
    table = np.array([("=cmd|' /C calc'!A0", -1), ("-1", 2), ("ok", 3)],
                     dtype=[("@key", "U20"), ("bytes", "i8")])
    rows.write(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == (
        "'@key,bytes\n'=cmd|' /C calc'!A0,-1\n'-1,2\nok,3\n")


# --- empty values ---


@pytest.mark.parametrize("argv", [
    ("replay", "x", "--json", ""), ("replay", "x", "--set", ""), ("replay", ""),
    ("replay", "x", "--filter", ""), ("report", ""), ("bench", "--only", "", "--quick"),
    ("replay", "x", "--expect-outcome", ""),
])  # fmt: skip
def test_an_empty_value_is_refused(argv, capfd):
    from fwcore.cli import main

    assert main(argv) == 2
    _out, err = capfd.readouterr()
    assert "is empty: name a value" in err and err.count("\n") == 1


# --- time ---


def at(text, times, lengths=None):
    chunk = Chunk.from_frames([b"x"] * len(times), times, lengths)
    return Timing.parse(text).retime(chunk).time_ns.tolist()


def test_timing_is_exact():
    ten_to_12 = 10**12
    assert at("speed:0.333333333333", [0, 1200 * 10**9]) == [
        0, 1200 * 10**9 * ten_to_12 // 333333333333]
    assert at("speed:3.14159265358979", [5, 5 + 400 * 10**9]) == [
        5, 5 + 400 * 10**9 * 10**14 // 314159265358979]
    assert at("line-rate:1.9", [0, 0], [60, 60]) == [0, 672 * 10**10 // 19]
    assert at("line-rate:0.5", [0, 0], [60, 60]) == [0, 1344 * 10**9]
    longest = (2**32 - 1 + 24) * 8 // 10      # 3.4 s of 10 Gbit/s
    assert at("line-rate:10G", [0] * 4, [2**32 - 1] * 4) == [0, *(
        (2**32 - 1 + 24) * 8 * n // 10 for n in (1, 2, 3))] and longest > 3 * 10**9
    assert at("pps:1e-9", [7, 7]) == [7, 7 + 10**18]
    assert at("speed:1e13", [0, 1 << 62]) == [0, (1 << 62) // 10**13]
    assert at("speed:1/3", [0, 10]) == [0, 30]


@pytest.mark.parametrize("text", [
    "speed:1e-300", "pps:1e-10", "speed:1e-999999999", "line-rate:1e14", "pps:" + "9" * 100_000])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(FwcoreError, match="from 1e-9 to 1e13"):
        Timing.parse(text)


@pytest.mark.parametrize("text, times", [
    ("speed:1e-9", [0, 5 * 10**9]), ("pps:1e-9", [0] * 6), ("speed:0.001", [10**9, 0])])
def test_a_time_that_is_none_is_refused(text, times):
    with pytest.raises(FwcoreError, match=f"packet {len(times)} would come at second"):
        at(text, times)


def test_turns_end_with_time():
    chunk = Chunk.from_frames([b"x"] * 3, [0, (1 << 62) - 5, 1 << 62])
    assert later(chunk.slice(0, 2), 5, 1).time_ns.tolist() == [5, 1 << 62]
    for offset in (1, 1 << 70):
        with pytest.raises(FwcoreError, match="--loop: turn 2 would come to second"):
            later(chunk, offset, 1)


def test_duration_is_to_the_latest_packet():
    frames = Chunk.from_frames([b"x" * 60] * 3, [10, 500, 200])
    assert replay([frames])["duration_ns"] == 490


def test_a_pipe_is_no_output(tmp_path):
    with pytest.raises(PipeClosed), Output(tmp_path / "x"):
        raise BrokenPipeError(32, "Broken pipe")
    assert not list(tmp_path.iterdir())


# --- what is read: told, and never a defect ---


@pytest.mark.parametrize("text, said", [
    ("a = " + "[" * 100_000, "nested too deeply"), ("a = " + "9" * 100_000, "digits")])
@pytest.mark.parametrize("option", ["--settings", "--policy"])
def test_settings_that_cannot_be_read(tmp_path, capfd, option, text, said):
    from fwcore.cli import main

    (tmp_path / "s.toml").write_text(text)
    assert main(["replay", str(WEB), option, str(tmp_path / "s.toml")]) == 2
    _out, err = capfd.readouterr()
    assert "s.toml" in err and said in err and err.count("\n") == 1
    for given in (("shape", "check"), ("demand", str(WEB), "--by", "policy", option)):
        assert main([*given, str(tmp_path / "s.toml")]) == 2
        assert said in capfd.readouterr().err


@pytest.mark.parametrize("argv", [
    ("synth", "web", "x", "--set", "hosts=" + "9" * 100_000),
    ("replay", WEB, "--set", "max_connections=" + "9" * 100_000),
    ("replay", WEB, "--pressure", "at_s=" + "9" * 100_000),
    ("replay", WEB, "--seed", "9" * 100_000), ("replay", WEB, "--limit", "9" * 100_000),
    ("replay", WEB, "--timing", "pps:" + "9" * 100_000),
    ("explain", WEB, "--flow", "1.1.1.1:" + "9" * 100_000 + "-1.1.1.2:1/tcp"),
    ("explain", WEB, "--flow", "1.1.1.1:1-1.1.1.2:1/" + "9" * 100_000),
    ("explain", WEB, "--flow", "1.1.1.1:1-1.1.1.2:1/tcp@" + "9" * 100_000),
    ("bench", "--baseline", "x", "--fail-over", "9" * 100_000 + "%"),
    ("replay", WEB, "--filter", "port " + "9" * 100_000),
])  # fmt: skip
def test_an_integer_of_100_000_digits(argv, capfd):
    from fwcore.cli import main

    assert main([*map(str, argv)]) == 2
    _out, err = capfd.readouterr()
    assert "a defect" not in err and err.count("\n") == 1


def test_a_fault_and_an_interruption_and_an_output():
    """The gravest stands: a law, an interruption, an output, a fault."""
    import fake

    from fwcore.result import Result

    data = fake.make() | {"inputs": [{"path": "x", "fault": {"message": "cut", "byte_offset": 9}}]}
    assert Result(data).exit_code == 3
    assert Result(data | {"lost": [{"path": "x", "message": "y"}]}).exit_code == 2
    for name, code in (("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGPIPE", 141)):
        stopped = data | {"interrupted": True, "interrupted_by": name, "lost": [1]}
        assert Result(stopped).exit_code == code
    assert Result(data | {"interrupted": True, "laws": {"a": False}}).exit_code == 5


def test_a_checkout_that_was_not_built_says_so(tmp_path):
    import fwcore as package

    shutil.copytree(Path(package.__file__).parent, tmp_path / "fwcore",
                    ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    packages = str(Path(np.__file__).parent.parent)     # without what an editable install adds

    def run(*argv):
        return subprocess.run([sys.executable, "-S", *map(str, argv)], cwd=tmp_path, text=True,
                              env=os.environ | {"PYTHONPATH": packages}, capture_output=True,
                              check=False)

    assert run("-m", "fwcore", "--version").returncode == 0
    assert "this is a checkout. Build it" in run("-c", "import fwcore.engine").stderr
    done = run("-m", "fwcore", "replay", WEB)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "this is a checkout. Build it" in done.stderr


def test_every_output_of_every_command_is_checked_before_the_first_packet():
    for name, command in cli.app.commands.items():
        given = {param.name: param for param in command.params if param.name.endswith("_file")}
        outputs = {each.removesuffix("_file") for each in given if each not in INPUTS}
        assert outputs <= set(preflight.OUTPUTS), name


def test_every_flow_goes_to_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", str(WEB), "--with", "plain", "--with", "fortios-7",
                     "-q", "--flows", "flows.csv"]) == 0
    assert len((tmp_path / "flows.csv").read_text().splitlines()) > 10


@pytest.mark.parametrize("filtered", [None, "tcp"])
def test_files_are_the_same_whatever_the_threads(tmp_path, filtered):
    made = {}
    for threads in (1, 2):
        files = {name: tmp_path / f"{name}-{threads}" for name in ("write", "verdicts", "sessions")}
        result = replay(PCAPS / "conserve.pcap", load(file=PCAPS / "conserve.toml"),
                        threads=threads, chunk_size=100, filter=filtered, addresses=True,
                        **{name: str(path) for name, path in files.items()})
        made[threads] = [path.read_bytes() for path in files.values()]
        assert result["packets"] and not result.data.get("lost")
    assert made[1] == made[2] and all(made[1])


def test_a_file_that_is_given_up_behind_who_judges_is_named(tmp_path, monkeypatch):
    def full(*_given):
        raise OutputError("v.csv: writing failed (No space left on device)")

    before = RowFile.write
    monkeypatch.setattr(RowFile, "write", lambda self, columns: (
        full() if "verdict" in columns and len(columns["packet"]) else before(self, columns)))
    result = replay(PCAPS / "conserve.pcap", load(file=PCAPS / "conserve.toml"), threads=2,
                    verdicts=str(tmp_path / "v.csv"), sessions=str(tmp_path / "s.csv"))
    assert [row["path"] for row in result.data["lost"]] == [str(tmp_path / "v.csv")]
    assert not (tmp_path / "v.csv").exists() and (tmp_path / "s.csv").read_text()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_package_that_cannot_be_imported_costs_its_file_only(tmp_path, monkeypatch, threads):
    """pyarrow is there, and made for another NumPy: the run lost its result to a traceback."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    result = replay(PCAPS / "conserve.pcap", write=tmp_path / "w.pcap", threads=threads,
                    verdicts=tmp_path / "v.parquet", sessions=tmp_path / "s.parquet")
    assert sorted(Path(row["path"]).name for row in result["lost"]) == ["s.parquet", "v.parquet"]
    assert all("pyarrow, which cannot be imported" in row["message"] for row in result["lost"])
    assert result.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["w.pcap"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("where", ["columns", "group", "close"])
def test_no_memory_for_a_file_costs_that_file_only(tmp_path, monkeypatch, threads, where):
    """It ended the run, whose result was lost with every other file."""
    def full(*_given, **_more):
        raise MemoryError("Unable to allocate 3 GiB")

    if where == "columns":
        monkeypatch.setattr("fwcore.replay.sinks.session_columns", full)
    else:
        pytest.importorskip("pyarrow")
        before = rows._parquet_writer

        def writer(file, schema):
            made = before(file, schema)
            name = "write_table" if where == "group" else "close"
            still = getattr(made, name)

            def once(*_given):
                setattr(made, name, still)
                full()

            setattr(made, name, once)
            return made

        monkeypatch.setattr(rows, "_parquet_writer", writer)
    result = replay(PCAPS / "conserve.pcap", load(file=PCAPS / "conserve.toml"), threads=threads,
                    sessions=tmp_path / "s.parquet", verdicts=tmp_path / "v.csv",
                    write=tmp_path / "w.pcap")
    assert [row["message"] for row in result["lost"]] == [
        f"{tmp_path / 's.parquet'}: writing failed (not enough memory)"]
    assert result.exit_code == 2 and result["packets"] > 1_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.csv", "w.pcap"]


def test_no_memory_for_what_is_made_of_a_result_is_one_line(tmp_path, monkeypatch, capsys):
    def full(*_given):
        raise MemoryError

    monkeypatch.setattr("fwcore.result.laid_out", full)
    code = cli.main(["replay", *CONSERVE, "--json", str(tmp_path / "r.json"),
                     "--state", str(tmp_path / "r.state"), "--timeline", str(tmp_path / "t.csv")])
    said = capsys.readouterr()
    assert code == 2 and "3 941 packets" in said.out and sorted(said.err.splitlines()) == [
        f"fwcore: {tmp_path / 'r.state'}: writing failed (not enough memory)",
        "fwcore: an output could not be made: not enough memory"]
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


FORKED = """
import os, sys
from fwcore.replay import replay
from fwcore.settings import load

threads, path, settings, how, *files = sys.argv[1:]
fork = []

def hook(judged):
    if judged.first > 1000 and not fork:
        fork.append(os.fork())
        if fork[0] == 0 and how == "exit":
            sys.exit(7)

try:
    result = replay(path, load(file=settings), threads=int(threads), chunk_size=100, flows=hook,
                    verdicts=files[0], sessions=files[1], write=files[2])
except Exception as error:
    os._exit(8)
if fork[0] == 0:
    os._exit(9 if len(result["lost"]) == 3 else 10)
print(os.waitstatus_to_exitcode(os.waitpid(fork[0], 0)[1]), result.exit_code, result["packets"])
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("how", ["exit", "go on"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_fork_leaves_what_its_parent_writes_alone(tmp_path, threads, how, ending):
    """It waited for a thread that it had not, and took its parent's files away."""
    made = {}
    for forked in (False, True):
        folder = tmp_path / str(forked)
        folder.mkdir()
        files = folder / f"v.{ending}", folder / f"s.{ending}", folder / "w.pcap"
        if forked:
            done = subprocess.run(
                [sys.executable, "-W", "ignore::DeprecationWarning",    # Python 3.12: of any fork
                 "-c", FORKED, str(threads), CONSERVE[0], CONSERVE[2], how, *map(str, files)],
                capture_output=True, text=True, timeout=30, check=False)
            ended = 7 if how == "exit" else 8 if threads == 2 else 9
            assert (done.stdout, done.stderr) == (f"{ended} 0 3941\n", "")
        else:
            replay(CONSERVE[0], load(file=CONSERVE[2]), threads=threads, chunk_size=100,
                   verdicts=files[0], sessions=files[1], write=files[2])
        made[forked] = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert made[True] == made[False] and len(made[True]) == 3
