"""The programs of examples/: each is short, runs, and says what it is said to say."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LINES = 40

SAYS = {
    "frames": ["FORWARD NEW", "FORWARD HIT", "FORWARD HIT", "True 1"],
    "batches": None, "threads": None, "event_loop": ["2000 packets,"],
    "processes": ["True "], "scapy_sniff": None, "af_packet": None,
}


def run(name, *arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py"), *arguments], text=True,
        capture_output=True, check=False, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_each_example_is_short_and_is_run():
    assert {path.stem for path in EXAMPLES} == set(SAYS)
    assert [path.name for path in EXAMPLES if len(path.read_text().splitlines()) > LINES] == []


@pytest.mark.parametrize("name", ["frames", "batches", "threads", "event_loop", "processes"])
def test_an_example_says(name):
    lines = run(name)
    assert lines
    for line, want in zip(lines, SAYS[name] or [], strict=False):
        assert line.startswith(want)


def test_the_one_of_scapy_names_layers():
    lines = run("scapy_sniff", "pcaps/web.pcap")
    assert len(lines) == 10
    assert all(line.startswith("FORWARD ") and "Raw" not in line.split()[2] for line in lines)
    assert any("TCP" in line for line in lines)


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
