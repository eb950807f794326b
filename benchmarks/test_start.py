"""How long until a process has imported fwcore, and until it has replayed ten packets?"""

from __future__ import annotations

import subprocess
import sys

import pytest

from fwcore.capture import synth


@pytest.mark.parametrize("replayed", [False, True], ids=["import", "ten-packets"])
def test_start(benchmark, tmp_path, replayed):
    path = tmp_path / "ten.pcap"
    synth.to_pcap(path, synth.make("web", packets=10))
    words = ["-m", "fwcore", "replay", str(path)] if replayed else ["-c", "import fwcore"]
    benchmark.pedantic(
        subprocess.run, args=([sys.executable, *words],),
        kwargs={"check": True, "stdout": subprocess.DEVNULL}, rounds=5)
