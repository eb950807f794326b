"""The programs of examples/: each is short, runs, and says what it is said to say."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import live_net
import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LINES = 40

SAYS = {
    "frames": ["FORWARD NEW", "FORWARD HIT", "FORWARD HIT", "True 1"],
    "batches": None, "threads": None, "event_loop": ["2000 packets,"],
    "processes": ["True "], "scapy_sniff": None, "af_packet": None, "nfqueue": None,
    "decider": ["120 sessions, 381 packets denied, 6 busy seconds"],
    "inspector": ["20 BLOCK, 120 packets blocked, 4 pages at most"],
}
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
MISSING = live_net.missing()


def run(name, *arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py"), *arguments], text=True,
        capture_output=True, check=False, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_each_example_is_short_and_is_run():
    assert {path.stem for path in EXAMPLES} == set(SAYS)
    others = [*(ROOT / "examples").glob("*.c"), *(ROOT / "examples").glob("*.pyx")]
    assert [path.name for path in (*EXAMPLES, *others)
            if len(path.read_text().splitlines()) > LINES] == []


@pytest.mark.parametrize("name", ["frames", "batches", "threads", "event_loop", "processes"])
def test_an_example_says(name):
    lines = run(name)
    assert lines
    for line, want in zip(lines, SAYS[name] or [], strict=False):
        assert line.startswith(want)


@pytest.mark.parametrize(
    "name", [path.stem for path in EXAMPLES if "sys.argv" in path.read_text()])
def test_an_example_that_wants_arguments_says_which(name):
    done = subprocess.run([sys.executable, str(ROOT / "examples" / f"{name}.py")], text=True,
                          capture_output=True, check=False, cwd=ROOT, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    assert [line[:7] for line in done.stderr.splitlines()] == ["usage: "]


def test_the_one_of_scapy_names_layers():
    lines = run("scapy_sniff", "pcaps/web.pcap")
    assert len(lines) == 10
    assert all(line.startswith("FORWARD ") and "Raw" not in line.split()[2] for line in lines)
    assert any("TCP" in line for line in lines)


def test_the_one_of_an_inspection_blocks_by_name():
    assert run("inspector", "pcaps/web.pcap") == SAYS["inspector"]


def test_the_one_of_a_policy_holds_a_flood_off():
    assert run("decider", "pcaps/syn-flood.pcap") == SAYS["decider"]


@pytest.mark.skipif(not hasattr(socket, "AF_PACKET") or os.geteuid() != 0,
                    reason="AF_PACKET needs Linux and root")
def test_the_one_of_af_packet_hears_the_loopback():
    path = ROOT / "examples" / "af_packet.py"
    with subprocess.Popen([sys.executable, str(path), "lo", "4"], stdout=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout.readline() == "listening\n"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(4):
                sender.sendto(b"x", ("127.0.0.1", 9))
        lines = process.stdout.read().splitlines()
    assert process.returncode == 0
    assert any("frames, 0 dropped" in line for line in lines)


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_the_one_of_nfqueue_gives_verdicts():
    with live_net.Wire() as wire:
        wire.ip("server", "link set lo up")
        try:
            wire.queue("server", 5)
        except OSError as error:
            pytest.skip(f"no NFQUEUE: {error.strerror}")
        path = ROOT / "examples" / "nfqueue.py"
        process = wire.spawn("server", [sys.executable, str(path), "5", "4"])
        try:
            assert process.stdout.readline() == "listening\n"
            receiver = wire.socket("server", socket.AF_INET, socket.SOCK_DGRAM)
            receiver.bind(("127.0.0.1", 6007))
            sender = wire.socket("server", socket.AF_INET, socket.SOCK_DGRAM)
            for i in range(4):
                sender.sendto(b"%d" % i, ("127.0.0.1", 6007))
                assert receiver.recv(9) == b"%d" % i
            said, errors = process.communicate(timeout=live_net.PATIENCE_S)
        finally:
            process.kill()
    assert (said, errors) == ("4 packets, 0 dropped, 1 sessions, mode off\n", "")


def test_the_notebook_runs():
    """As Jupyter runs it, where that is there; else its code, cell by cell."""
    try:
        import nbclient
        import nbformat
    except ImportError:
        nbclient = None
    if nbclient is not None:
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        nbclient.NotebookClient(notebook, timeout=120, resources={
            "metadata": {"path": str(ROOT)}}).execute()
        return
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"]
             if cell["cell_type"] == "code"]
    assert len(cells) >= 4 and not any(cell["outputs"] for cell in cells)
    code = "\n".join("".join(cell["source"]) for cell in cells)
    done = subprocess.run([sys.executable, "-"], input=code, text=True, capture_output=True,
                          check=False, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
