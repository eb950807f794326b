"""INT, TERM and HUP at any moment of any command: one line, and the documented exit code."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fwcore import terminal
from fwcore.cli import main

PCAPS = Path(__file__).parent.parent / "pcaps"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A command in a process of its own, which sends itself a signal when a module begins to be
# imported, or when its process ends.
PROGRAM = """
import atexit, os, signal, sys

def end():
    os.kill(os.getpid(), signal.{name})

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "{at}":
            end()

if "{at}" == "its end":
    atexit.register(end)
sys.meta_path.insert(0, Finder())
sys.argv = ["fwcore", *{words}]
from fwcore.__main__ import main
sys.exit(main())
"""


def ended(name, at, *words):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(name=name, at=at, words=words)],
        capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(("at", "words"), [
    ("click", ["--version"]), ("fwcore.cli.lookup", ["personality"]),
    ("fwcore.settings", ["plan"]), ("numpy", ["live", "--read-only", "lo"]),
    ("fwcore._layout", ["replay", "none.pcap"]),
])
def test_a_signal_within_an_import_is_one_line(number, at, words):
    """INT was a traceback, TERM and HUP ended it without a word."""
    name = signal.Signals(number).name
    assert ended(name, at, *words) == (128 + number, f"fwcore: interrupted by {name}\n")


def test_a_signal_within_an_import_leaves_nothing_half_written(tmp_path):
    """Tables are begun before pyarrow is there."""
    pytest.importorskip("pyarrow")
    assert ended("SIGTERM", "pyarrow.lib", "compare", str(PCAPS / "web.pcap"), "--with", "plain",
                 "--with", "fortios-5", "-q", "--flows", str(tmp_path / "f.parquet")) == (
                     143, "fwcore: interrupted by SIGTERM\n")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_after_all_was_done_changes_no_exit_code(number):
    assert ended(signal.Signals(number).name, "its end", "--version") == (0, "")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("words", [["settings", "ram"], ["plan"], ["glossary", "flaps"]])
def test_a_signal_while_a_command_works(number, words, monkeypatch, capsys):
    """Also where nothing waits for it; what was there before is there again."""
    name = signal.Signals(number).name
    before = [signal.getsignal(each) for each in SIGNALS]
    monkeypatch.setattr(terminal, "say", lambda text: signal.raise_signal(number))
    assert main(words) == 128 + number
    assert capsys.readouterr().err == f"fwcore: interrupted by {name}\n"
    assert [signal.getsignal(each) for each in SIGNALS] == before
