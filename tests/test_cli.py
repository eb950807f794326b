"""The command line: words, files, exit codes. The replay is played back from a made-up result."""

import atexit
import gc
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import click
import fake
import numpy as np
import pytest
from frames import ethernet, ip, udp

from fwcore import cli, terminal
from fwcore.capture import Chunk
from fwcore.cli import given
from fwcore.errors import FwcoreError
from fwcore.interruption import Interrupted, Interruption
from fwcore.replay import Judged
from fwcore.result import Result

ROOT = Path(__file__).parent.parent
FRAME = ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(1, 2)))


class Settings:
    """Enough of Settings for the command line."""

    warnings = ("the table fills before red",)
    policies, machine, tracker, given = (), "none", "plain", ()


@pytest.fixture
def played(monkeypatch):
    """Replaces settings and replay; yields a dict whose `data` is the result to be returned."""
    box = {"data": fake.make(), "asked": []}

    def replay(paths, settings, given, **more):
        box["asked"].append((list(paths), settings, given, more))
        if "flows" in more:
            one = np.ones(1, np.uint64)
            more["flows"](Judged(Chunk.from_frames([FRAME], [0]), np.array([[0, 1]], np.uint8),
                                 one, one.astype(np.uint8)))
        return Result(box["data"])

    def replay_beside(paths, settings, given, flows, ended, seen):
        return [replay(paths, one, given, flows=told, ended=gone)
                for one, told, gone in zip(settings, flows, ended, strict=True)]

    def settings(given, more=(), **overrides):
        made = Settings()
        made.given, made.more, made.overrides = given, list(more), overrides
        return made

    monkeypatch.setattr("fwcore.cli.given.settings", settings)
    monkeypatch.setattr("fwcore.cli.running.replay", replay)
    monkeypatch.setattr("fwcore.cli.running.replay_beside", replay_beside)
    return box


@pytest.fixture
def run(capfd):
    def call(*argv):
        code = cli.main(argv)
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_summary_on_standard_output(run, played):
    code, out, err = run("replay", "web.pcap")
    assert code == 0 and "verdicts" in out and "\x1b" not in out
    assert err == "fwcore: note: the table fills before red\n"


def test_quiet_is_quiet(run, played):
    assert run("replay", "web.pcap", "-q") == (0, "", "")


def test_json_instead_of_the_summary(run, played):
    code, out, _ = run("replay", "web.pcap", "--json", "-")
    assert code == 0 and json.loads(out) == played["data"]


def test_files(run, played, tmp_path):
    names = {"--json": "r.json", "--victims": "v.csv", "--timeline": "t.csv", "--plot": "m.svg",
             "--html": "r.html"}  # fmt: skip
    pytest.importorskip("bokeh")
    pytest.importorskip("matplotlib")
    argv = [part for option, name in names.items() for part in (option, str(tmp_path / name))]
    assert run("replay", "web.pcap", "-q", *argv)[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == set(names.values())


def test_a_saved_result_shows_the_same(run, played, tmp_path):
    Result(played["data"]).save_state(tmp_path / "s")
    Result(played["data"]).to_json(tmp_path / "j")
    fresh = run("replay", "web.pcap")[1]
    assert run("report", str(tmp_path / "s"))[1] == run("report", str(tmp_path / "j"))[1] == fresh


@pytest.mark.parametrize(
    ("change", "argv", "code", "said"),
    [
        ({}, ("--expect-outcome", fake.make()["outcome"]), 0, ""),
        ({}, ("--expect-outcome", "1:00"), 4, "expected 1:00"),
        ({"interrupted": True}, (), 130, "interrupted after packet 1204331"),
        ({"laws": {"pages": False}}, (), 5, "broken laws: pages"),
        ({"inputs": [{"path": "x.pcap", "format": "pcap", "reader": "native", "packets": 3,
                      "fault": {"message": "ends within a record", "byte_offset": 77}}]}, (), 3,
         "x.pcap: ends within a record at byte 77; everything before"),
    ],
)  # fmt: skip
def test_exit_codes(run, played, change, argv, code, said):
    played["data"].update(change)
    got, out, err = run("replay", "web.pcap", *argv)
    assert got == code and said in err and out.startswith("fwcore ")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("replay",), "Missing argument"), (("replya", "x"), 'did you mean "replay"?'),
        (("replay", "x", "--personalty", "y"), "--personality"),
        (("replay", "x", "--loop", "0"), "--loop"),
        (("compare", "x", "--with", "a"), "at least twice"),
        (("compare", "x", "--with", "a", "--with", "a"), "given twice"),
        (("explain", "x", "--flow", "nonsense"), "write it like"),
        (("report", "/nowhere"), "No such file"), (("report", "/tmp"), "Is a directory"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line(run, argv, said):
    code, out, err = run(*argv)
    assert code == 2 and out == "" and said in err
    assert err.startswith("fwcore: ") and err.count("\n") == 1


@pytest.mark.parametrize(("argv", "said"), [
    (("replay", "x", "--personality", "fortios7"), 'fwcore: unknown personality "fortios7"'),
    (("personality", "show", "foo"), 'fwcore: unknown personality "foo"'),
    (("plan", "--free", "xyz"), 'fwcore: --free = "xyz" is not a number of bytes'),
    (("replay", "x", "--seed", "-1"), "--seed: seed = -1 is out of range"),
    (("replay", "x", "--pressure", "fail_nth=1", "--pressure", "at_s=1"), "--pressure 2: "),
    (("compare", "x", "--with", "foo", "--with", "plain"), 'fwcore: unknown personality "foo"'),
    (("plan", "--connections", "-5"), "--connections: max_connections = -5"),
    (("plan", "--free", "9" * 5000), "is out of range"),
    (("plan", "--leak", "1", "--restart-every", "1"), "--leak and --restart-every both"),
    (("replay", "x", "--limit", "y"), "'y' is not a whole number"),
    (("replay", "x", "--loop", str((1 << 24) + 1)), "1<=x<=16777216"),
])
def test_what_is_wrong_is_said_of_the_option(run, argv, said):
    code, out, err = run(*argv)
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1


def test_no_line_about_a_command_is_cut_short(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for group in ((), ("personality",), ("shape",)):
        _, out, _ = run(*group, "--help")
        assert "..." not in out.partition("Commands:")[2]
        assert max(map(len, out.splitlines())) <= 80


def test_errors_carry_their_exit_code(run, played, monkeypatch):
    def fail(*_args, **_more):
        raise FwcoreError("setting x\nis wrong")

    monkeypatch.setattr("fwcore.cli.given.settings", fail)
    assert run("replay", "x") == (2, "", "fwcore: setting x is wrong\n")


def test_compare(run, played, tmp_path):
    played["data"]["sessions"]["ended"] |= {"evicted": 0, "tension": 0, "killed": 0}
    code, out, _ = run("compare", "c.pcap", "--with", "fortios-7", "--with", "av_failopen=off",
                       "--json", str(tmp_path / "c.json"))  # fmt: skip
    assert code == 0 and "lived under both" in out
    assert json.loads((tmp_path / "c.json").read_text())["settings"] == [
        "fortios-7",
        "av_failopen=off",
    ]
    first, second = (asked[1] for asked in played["asked"])
    assert first.overrides == {"personality": "fortios-7"} and second.more == ["av_failopen=off"]


def test_a_variant_may_name_a_file_and_values_with_commas(played, tmp_path):
    made = given.variant("my.toml,ips_trigger=conserve,buffer,av_failopen=off", {})
    assert made.overrides == {"file": "my.toml"}
    assert made.more == ["ips_trigger=conserve,buffer", "av_failopen=off"]


def test_pressure_as_text():
    assert given.pressure_row("at_s=1.5 owner=base add_bytes=-4096") == {
        "at_s": 1.5, "owner": "base", "add_bytes": -4096}  # fmt: skip
    assert given.pressure_row("at_s=0, add_bytes=-8MiB") == {"at_s": 0, "add_bytes": -(8 << 20)}
    assert given.pressure_row("fail_every=3") == {"fail_every": 3}
    with pytest.raises(FwcoreError, match="is not KEY=VALUE"):
        given.pressure_row("fail_every")
    with pytest.raises(FwcoreError, match="add-bytes is given twice"):
        given.pressure_row("at_s=1 add_bytes=1 add-bytes=1GiB")


def test_a_plan_has_no_pressure(run, tmp_path):
    code, _, err = run("plan", "--pressure", "at_s=0 add_bytes=500MiB")
    assert code == 2 and "a plan has no moments" in err
    path = tmp_path / "p.toml"
    path.write_text("[[pressure]]\nat_s = 0\nadd_bytes = 4096\n")
    code, _, err = run("plan", "--settings", str(path))
    assert code == 0 and "note: [[pressure]] is not counted" in err
    assert "--pressure" not in run("plan", "--help")[1]


def every_command():
    def walk(command, path):
        yield path, command
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, (*path, name))

    return list(walk(cli.app, ()))


@pytest.mark.parametrize(("path", "command"), every_command(), ids=str)
def test_every_command_has_help_and_json(run, path, command):
    code, out, _ = run(*path, "--help")
    assert code == 0 and out.startswith("Usage: fwcore")
    assert max(map(len, out.splitlines())) <= 80
    if not isinstance(command, click.Group) and path != ("completion",):
        assert "--json" in out


def test_examples_in_the_help_name_options_that_exist():
    for path, command in every_command():
        known = {name for other, child in every_command() for param in child.params
                 for name in param.opts if other == path}  # fmt: skip
        for line in (command.help or "").splitlines():
            if path and line.strip().startswith("fwcore " + " ".join(path)):
                used = {word for word in line.split("|")[0].split() if word.startswith("--")}
                assert used <= known | {"--help"}, (path, line)


def test_help_imports_nothing_heavy():
    """What makes --help quick (70 ms, November 2026); no clock can say so on a busy machine."""
    code = ("import sys; from fwcore.cli import main; main(['--help']); print(sorted({"
            "'fwcore._layout', 'fwcore._capture', 'numpy', 'scapy', 'bokeh', 'matplotlib', "
            "'pandas', 'pyarrow', 'asyncio', 'multiprocessing'} "
            "& set(sys.modules)), file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=False)
    assert "Usage: fwcore" in done.stdout
    assert done.stderr == "[]\n"


def test_a_plain_replay_imports_what_it_uses():
    """What makes the start quick: shaping, vendors' words, other commands, pages stay where they
    are until somebody asks (845 M instructions from start to exit with them 941, November 2026).

    NumPy is half of what is left, click and hashlib (the digest) most of what is not ours.
    """
    code = ("import sys; from fwcore.cli import main; main(sys.argv[1:]); print(*sorted("
            "name for name in sys.modules if name.startswith('fwcore.') or '.' not in name),"
            " file=sys.stderr)")
    done = subprocess.run(
        [sys.executable, "-c", code, "replay", ROOT / "pcaps" / "web.pcap", "--quiet",
         "--json", "-"],
        capture_output=True, text=True, check=True)
    names = set(done.stderr.split())
    assert json.loads(done.stdout)["packets"] and "fwcore.engine" in names
    unused = {
        "secrets", "random", "hmac", "tempfile", "shutil", "html", "fractions", "decimal",
        "difflib", "asyncio", "multiprocessing", "logging", "scapy", "pyarrow", "pandas", "bokeh",
        "matplotlib",
        *(f"fwcore.{name}" for name in (
            "schema", "shaping", "shaping_values", "shaping_layout", "shaping_check", "capacity",
            "demand", "settings.wirings", "settings.fortios", "settings.cos",
            "settings.tc", "replay.focus", "replay.recency", "replay.releases", "capture.scapy",
            "capture.synth", "capture.merge", "report.text", "report.html")),
        *(f"fwcore.cli.{path.stem}" for path in (ROOT / "fwcore" / "cli").glob("[a-z]*.py")
          if path.stem not in ("app", "exits", "given", "options", "replay", "running")),
    }
    assert not names & unused


def test_colours_only_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    _master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream, open(os.devnull, "w") as pipe:
        assert terminal.colours(stream) and not terminal.colours(pipe)
        monkeypatch.setenv("NO_COLOR", "1")
        assert not terminal.colours(stream)


def test_progress_on_a_terminal_and_nothing_in_a_pipe(monkeypatch):
    monkeypatch.setattr(terminal, "REDRAW_S", 0)
    master, slave = pty.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        progress = terminal.Progress(stream=stream)
        progress(500_000, 25, 100)
        progress.close()
        written = os.read(master, 4096).decode()
    assert "25%" in written and "500 k packets" in written and "left" in written
    with open(os.devnull, "w") as pipe:
        assert not terminal.Progress(stream=pipe)._shown


def test_the_first_signal_asks_the_second_stops():
    import signal

    # Started in the background of a script, a process ignores SIGINT: begin from Python's own.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(Interrupted, match="SIGTERM"), interruption.waiting():
                pass
            with pytest.raises(Interrupted, match="SIGINT"):
                signal.raise_signal(signal.SIGINT)
        with (Interruption() as interruption, pytest.raises(Interrupted, match="SIGHUP"),
              interruption.waiting()):
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(run, shell):
    code, out, _ = run("completion", shell)
    assert code == 0 and f"{shell}_source" in out


def test_version(run):
    code, out, _ = run("--version")
    assert code == 0 and out.startswith("fwcore ")


def test_a_defect_is_one_line_too(run, played, monkeypatch):
    def fail(*_args, **_more):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("fwcore.cli.running.replay", fail)
    monkeypatch.delenv("FWCORE_DEBUG", raising=False)
    code, out, err = run("replay", "x", "-q")
    assert (code, out) == (1, "") and err.startswith(
        "fwcore: ZeroDivisionError: by zero - a defect"
    )
    monkeypatch.setenv("FWCORE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["replay", "x", "-q"])


def test_the_shell_can_ask_for_completions():
    asked = {"_FWCORE_COMPLETE": "bash_complete", "COMP_WORDS": "fwcore exp", "COMP_CWORD": "1"}
    code = "import sys; from fwcore.cli import main; sys.exit(main([]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=False, env={**os.environ, **asked})  # fmt: skip
    assert "explain" in done.stdout


# -- with the real engine -----------------------------------------------------------------------

PRESSED = (
    "--personality", "fortios-7", "--set", "ram_bytes=96MiB", "--set", "max_connections=1500",
    "--set", "timeline_interval_s=0.01", "--pressure", "at_s=0.05 add_bytes=40MiB",
)  # fmt: skip


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    pytest.importorskip("fwcore.engine")
    from fwcore.capture import synth

    path = tmp_path_factory.mktemp("c") / "web.pcap"
    synth.to_pcap(path, synth.make("web", packets=20_000, rate_pps=200_000, sessions=200))
    return str(path)


def test_replay_for_real(run, capture, tmp_path):
    state, digest = str(tmp_path / "s"), None
    code, out, _ = run("replay", capture, *PRESSED, "--state", state, "--json", str(tmp_path / "j"))
    assert code == 0 and "off → on" in out and "all " in out
    assert max(map(len, out.splitlines())) <= 80
    result = Result.load(state)
    digest = result.outcome
    assert result.packets == 20_000 and len(result.array("sessions")) == result.sessions.live
    assert run("report", state)[1] == out == run("report", str(tmp_path / "j"))[1]
    assert run("replay", capture, *PRESSED, "-q", "--expect-outcome", digest)[0] == 0
    other = (*PRESSED, "--timing", "speed:2")
    assert run("replay", capture, *other, "-q", "--expect-outcome", digest)[0] == 4


def test_a_page_for_real(run, capture, tmp_path):
    pytest.importorskip("bokeh")
    page = tmp_path / "r.html"
    assert run("replay", capture, *PRESSED, "-q", "--html", str(page))[0] == 0
    assert 'id="banner"' in page.read_text() and "enters memory conserve mode" in page.read_text()


def test_compare_for_real(run, capture, tmp_path):
    code, _, _ = run("compare", capture, *PRESSED, "--with", "av_failopen=pass", "--with",
                     "extreme_scope=inspected", "--json", str(tmp_path / "c"), "-q")  # fmt: skip
    made = json.loads((tmp_path / "c").read_text())
    assert code == 0 and sum(row["flows"] for row in made["groups"]) == made["flows"] > 0
    for row, result in zip(made["harm"], made["results"], strict=True):
        assert row["dropped_packets"] == result["verdicts"]["drop"]
        assert row["uninspected_packets"] == result["verdicts"]["bypass"]
        assert row["outcome"] == result["outcome"]


@pytest.mark.parametrize("chunk_size", ["64", "4096"])
def test_explain_for_real(run, capture, tmp_path, chunk_size):
    run("replay", capture, *PRESSED, "-q", "--verdicts", str(tmp_path / "v.csv"), "--sessions",
        str(tmp_path / "s.csv"))  # fmt: skip
    import csv

    with open(tmp_path / "v.csv") as file:
        verdicts = list(csv.DictReader(file))
    with open(tmp_path / "s.csv") as file:
        session = next(row for row in csv.DictReader(file) if row["cause"] == "tension")
    code, out, _ = run("explain", capture, *PRESSED, "--flow", session["key"], "--chunk-size",
                       chunk_size, "--json", str(tmp_path / "e"))  # fmt: skip
    made = json.loads((tmp_path / "e").read_text())
    own = [row for row in verdicts if row["flow"] == session["flow"]]
    assert code == 0
    assert [(str(row["packet"]), row["verdict"].lower(), row["reason"].lower())
            for row in made["rows"]] == [
        (row["packet"], row["verdict"], row["reason"]) for row in own]  # fmt: skip
    end = next(end for end in made["sessions"] if end["cause"] == "tension")
    assert str(end["packet"]) == session["ended_packet"]
    assert f"was ended by packet {end['packet']:,}".replace(",", " ") in out


def test_bench_passes_its_options_on(run, monkeypatch):
    from fwcore import bench

    asked = []
    monkeypatch.setattr(bench, "run", lambda **given: asked.append(given) or 4)
    assert run("bench", "--quick", "--only", "parse", "--repeat", "2", "--baseline", "b.jsonl",
               "--fail-over", "20%", "--json", "-") == (4, "", "")
    assert run("bench") == (4, "", "")
    assert asked[0] == {"quick": True, "only": ("parse",), "repeat": 2, "baseline": "b.jsonl",
                        "fail_over": "20%", "json_file": "-", "against": None,
                        "markdown": None, "junit": None, "guarded": False, "history": None}
    assert asked[1]["quick"] is False


def test_standard_input_is_not_compared(run, played):
    code, out, err = run("compare", "-", "--with", "plain", "--with", "fortios-7")
    assert (code, out) == (2, "")
    assert "standard input can be read once" in err


def test_bench_help_names_every_benchmark():
    from fwcore.bench.cases import CASES

    text = " ".join(cli.app.commands["bench"].help.split())
    said = text.partition("Benchmarks: ")[2].partition(".")[0]
    assert said.split(", ") == list(CASES)


@pytest.mark.parametrize("option, path, said", [
    ("--html", "none/x.html", "there is no directory none"),
    ("--state", "file/x.state", "file is no directory"),
    ("--write", ".", "it is a directory"),
    ("--plot", "x.jpg", "--plot is written as .png or .svg"),
    ("--verdicts", "x.txt", "--verdicts is written as .csv or .jsonl or .parquet"),
    ("--sessions", "x.csv.gz", "--sessions is written as .csv or .jsonl or .parquet"),
    ("--departures", "x.json", "--departures is written as .csv or .jsonl or .parquet"),
])  # fmt: skip
def test_outputs_are_checked_before_packet_1(
        run, played, tmp_path, monkeypatch, option, path, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    code, out, err = run("replay", "web.pcap", option, path)
    assert code == 2 and said in err and err.count("\n") == 1 and not out and not played["asked"]


@pytest.mark.parametrize("option, path, module", [
    ("--html", "x.html", "bokeh"), ("--plot", "x.png", "matplotlib"),
    ("--verdicts", "x.parquet", "pyarrow"),
])  # fmt: skip
def test_extras_are_checked_before_packet_1(
        run, played, tmp_path, monkeypatch, option, path, module):
    monkeypatch.setitem(sys.modules, module, None)
    code, _, err = run("replay", "web.pcap", option, str(tmp_path / path))
    assert code == 2 and f"needs {module}" in err and not played["asked"]


def test_compare_says_the_notes_of_each_variant(run, played):
    played["data"]["sessions"]["ended"] |= {"evicted": 0, "tension": 0, "killed": 0}
    _, _, err = run("compare", "web.pcap", "--with", "plain", "--with", "fortios-7")
    assert [line.split(": ")[2] for line in err.splitlines()] == ["plain", "fortios-7"]


def test_notes_on_policies_that_do_nothing():
    from fwcore import preflight, settings

    unified = settings.load("fortios-7")
    assert "before extreme" in next(preflight.notes(unified, 1))
    rows = [{"destination": "10.0.0.0/8", "inspection": "proxy"}]
    inspecting = settings.load("fortios-7", policies=rows)
    assert not list(preflight.notes(inspecting, 1))
    assert "later turns have other addresses" in next(preflight.notes(inspecting, 2))


def test_a_zone_that_nothing_is_of_is_said():
    from fwcore import settings

    for rows in ({"policies": [{"zone": 10}, {"zone": 0}]},
                 {"meters": [{"name": "m", "rungs": [{"rate": 8, "depth": 64}]}],
                  "shapings": [{"zone": 10, "meters": ["m"]}]}):
        said = set(settings.load("plain", **rows).warnings)
        said -= set(settings.load("plain", zone="vlan", **rows).warnings)
        assert len(said) == 1
        assert said.pop().startswith("what asks for zone 10 never")
    assert not settings.load("plain", policies=[{"zone": 0}, {"zone": "any"}]).warnings


def test_a_capture_is_not_reported(run, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes.fromhex("d4c3b2a1") + bytes(20))
    code, _, err = run("report", str(path))
    assert code == 2 and "this is a capture: use fwcore replay" in err


def test_explain_names_the_nearest_flows(run):
    path = os.path.join(os.path.dirname(__file__), "..", "pcaps", "web.pcap")
    code, out, _ = run("explain", path, "--flow", "10.0.1.1:1-10.0.0.53:9/tcp")
    near = out.partition("Nearest flows in the capture:\n")[2].split()
    assert code == 0 and 1 <= len(near) <= 5
    assert near[0].startswith("10.0.1.1:") and "-10.0.0.53:53/udp" in near[0]
    code, out, _ = run("explain", path, "--flow", near[0])
    assert code == 0 and "Nearest" not in out


@pytest.mark.parametrize(("options", "said"), [
    (["--set", "nf_conntrack_max=1000"], "buckets = 500, as of a machine that was made for"),
    (["--set", "nf_conntrack_max=1000", "--set", "buckets=9"], ""), ([], "")])
def test_a_smaller_table_alone_keeps_a_machine_s_buckets(run, options, said):
    code, _, err = run("replay", "pcaps/web.pcap", "--personality", "linux-conntrack", *options)
    assert code == 0
    assert said in err if said else "buckets" not in err


@pytest.mark.parametrize(("earlier", "kept"), [("", True), ("import numpy; ", False)])
def test_a_process_of_ours_looks_for_no_garbage_at_its_end(earlier, kept):
    """What was imported is left out of the last collections."""
    program = (f"{earlier}import atexit, gc; from fwcore.cli import main;"
               " atexit.register(lambda: print(gc.get_freeze_count() > 1000));"
               " main(['explain', '--help'])")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == str(kept), done.stderr


def test_a_process_of_ours_has_no_threads_that_multiply(monkeypatch):
    """Only before NumPy is there, and unless somebody has said otherwise."""
    monkeypatch.setattr(gc, "set_threshold", lambda *_: None)
    monkeypatch.setattr(atexit, "register", lambda _: None)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.delitem(sys.modules, "numpy")
    cli._settle_in()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    cli._settle_in()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    monkeypatch.undo()
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    cli._settle_in()
    assert "OPENBLAS_NUM_THREADS" not in os.environ
