"""linux-conntrack against the kernel of this machine, in two network namespaces of its own.

Small forms of what ``make kernel`` does in full; the random sample has a new seed each time, which
a failure shows. Without root, nft or nf_conntrack there is nothing to ask.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

import kernel
from netlab import CODES, Lab, missing

WHY = missing()
pytestmark = [pytest.mark.skipif(bool(WHY), reason=WHY or "there is one"),
              pytest.mark.xdist_group("kernel")]


@pytest.fixture
def lab():
    with Lab() as one:
        yield one


@pytest.fixture
def patient(lab):
    lab.long_timeouts(kernel.LONG_S)
    return lab


def test_the_lab_tells_the_states_apart(patient):
    talk = kernel.Talk(0)
    steps = [(0, "S"), (1, "SA"), (0, "A"), (0, "F"), (0, "FA")]
    codes = patient.send([talk.says(direction, flags) for direction, flags in steps])
    assert [CODES[code] for code in codes] == ["new", "reply", "hit", "invalid", "hit"]
    entry, = patient.entries()
    assert (entry.state, entry.destination_port) == ("FIN_WAIT", 80)
    patient.flush()
    assert patient.entries() == []


def test_all_sequences_of_three_packets(patient):
    score = kernel.Score()
    kernel.compare_sequences(patient, kernel.short_sequences(3), score)
    assert score.compared == 20 + 20**2 + 20**3
    assert score.agreed == score.compared, score.text("sequences")


def test_what_is_not_loose_takes_up_no_connection(patient):
    """nf_conntrack_tcp_loose = 0 is midstream drop: invalid, and forwarded."""
    patient.set("netfilter/nf_conntrack_tcp_loose", 0)
    score = kernel.Score()
    kernel.compare_sequences(patient, kernel.short_sequences(2), score, midstream="drop")
    assert score.compared == 20 + 20**2
    assert score.agreed == score.compared, score.text("sequences")


def test_random_sequences(patient):
    seed = random.SystemRandom().randrange(2**32)
    score = kernel.Score()
    kernel.compare_sequences(patient, kernel.random_sequences(2_000, seed), score)
    assert score.compared == 2_000
    assert score.share >= kernel.FLOORS["sequences"], score.text(f"seed {seed}")


def test_captures(patient):
    score = kernel.Score()
    for path in kernel.captures():
        kernel.compare_capture(patient, path, score)
    assert score.compared > 4_000
    floor = score.compared * kernel.FLOORS["captures"] - kernel.CRAFTED
    assert score.agreed >= floor, score.text("captures")


def test_timeouts(lab):
    score = kernel.Score()
    kernel.compare_timeouts(lab, score)
    assert score.compared == len(kernel.KINDS)
    assert score.agreed == score.compared, score.text("timeouts")


@pytest.mark.slow
def test_floods(patient):
    """Sets the machine's table size for some seconds, and restores it. Above 95 % the kernel's
    collector drops early, too, whenever it comes by: where it did, the flood is sent again."""
    for _ in range(3):
        score = kernel.Score()
        kernel.compare_floods(patient, score, 1024)
        if score.agreed == score.compared:
            break
    assert score.agreed == score.compared, score.text("floods")
