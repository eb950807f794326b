"""The simulation: it finds what is planted, shrinks it, and what it found stays mended."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
import twin
from frames import ethernet, ip, udp
from simulation import bulk, draw, shrink, story
from simulation.case import Alone, Case, chunk_of, run
from simulation.corpus import corpus
from simulation.elsewhere import Elsewhere
from simulation.targets import CASES, TARGETS, Choices
from twin import Pair

from fwcore import reference
from fwcore.capture import Chunk
from fwcore.errors import SettingsError
from fwcore.settings import load

ROOT = Path(__file__).resolve().parent.parent
PAGE = 4096
S = 10**9
UDP = ethernet(ip("10.0.0.1", "192.0.2.9", 17, udp(1000, 53)))


def packets(*times_ns):
    return ("packets", 1000, [(time_ns, UDP, len(UDP), 1) for time_ns in times_ns])


# --- found by it --------------------------------------------------------------------------------


def test_memory_has_peaks_before_packet_1():
    run(Case({}, {}, [("clear",)]))


def test_memory_has_peaks_after_a_restart_before_packet_1():
    run(Case({}, {}, [("restart", {"max_connections": 16})]))


def test_a_restart_after_the_script_gave_back_some_of_the_base():
    script = [{"at_s": 1, "owner": "base", "add_bytes": -3 * PAGE}]
    run(Case({"personality": "fortios-7", "max_connections": 16, "pressure": script}, {},
             [packets(0, 2 * S), ("restart", {"max_connections": 8}), packets(3 * S)]))


def test_a_restart_whose_tunnels_do_not_fit_changes_nothing():
    script = [{"at_s": 1, "owner": "base", "add_bytes": 20 * PAGE}]
    settings = load("plain", ram_bytes=64 * PAGE, tunnel_base_bytes=PAGE, max_connections=16,
                    ipsec_max_tunnels=1, pressure=script)
    pair = Pair(settings)
    pair.process(chunk_of(packets(0, 2 * S)[2]))
    with pytest.raises(SettingsError, match="ipsec_max_tunnels"):
        pair.restart(ipsec_max_tunnels=50)
    pair.compare()
    assert pair.engine.fastpath.live == 1


def test_where_the_kernel_has_no_level_nobody_holds_its_machine():
    run(Case({"ram_bytes": 79 * PAGE, "machine": "kernel+proxy", "max_connections": 300}, {},
             [("force", "on"), packets(0)]))


def test_a_link_that_carried_more_than_two_gigabytes_keeps_its_law():
    """Bytes in billionths of a bit go beyond 64 bits there."""
    links = [{"name": "a", "rate": 400_000, "count": "wire"}]
    shapings = [{"id": 1, "link": "a", "reply_link": "", "meters": [], "reply_meters": []}]
    run(Case({"links": links, "shapings": shapings}, {}, [
        ("packets", 1, [(S, UDP, 2**32 - 1, 1)]), ("packets", 1, [(10**8 * S, b"", 54, 1)])]))


# --- what it is made of -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_a_seed_is_the_whole_of_a_case(seed):
    assert draw.case(Random(seed)) == draw.case(Random(seed))


def test_cases_have_every_deed():
    verbs = {step[0] for seed in range(40) for step in draw.case(Random(seed)).steps}
    assert verbs == {"packets", "configure", "restart", "clear", "advance", "end", "take", "give",
                     "force", "save", "drain", "look", "inspect", "decide", "undecide"}


def test_a_difference_is_found_and_shrunk(monkeypatch):
    """A twin that does not count fragments: one packet is enough to see it."""
    count = reference.Firewall.count_decode

    def planted(firewall, packet):
        packet.fragment = ""
        count(firewall, packet)

    monkeypatch.setattr(reference.Firewall, "count_decode", planted)
    for seed in range(1000):
        case = draw.case(Random(seed))
        if failure := shrink.failure_of(functools.partial(run, case)):
            break
    assert failure.startswith("AssertionError: counters.decode.fragments: engine ")
    least, failure = shrink.smallest(case, failure)
    assert (least.packets, len(least.steps), least.settings) == (1, 1, {})
    assert failure == "AssertionError: counters.decode.fragments: engine 1, twin 0"
    with pytest.raises(AssertionError, match=r"decode.fragments: engine 1, twin 0"):
        exec(least.program(), {})


def test_a_broken_law_is_found_by_the_engine_alone(monkeypatch):
    from fwcore import counters

    monkeypatch.setattr(counters, "_failure_after_mode", lambda engine, raw: False)
    with pytest.raises(AssertionError, match="page_failure_after_mode"):
        bulk.run(3)


@pytest.fixture(params=["", "pypy3"])
def elsewhere(request):
    """A twin in a process of its own, on this Python and on another one."""
    if request.param and not shutil.which(request.param):
        pytest.skip(f"needs the program {request.param}")
    with contextlib.closing(Elsewhere(request.param)) as twin:
        yield twin


def test_packets_in_bulk_beside_a_twin_elsewhere(elsewhere):
    judged = []
    for seed in (4, 6):
        bulk.beside(seed, elsewhere, judged.append)
    assert len(judged) > 2
    assert set(judged) == {bulk.CHUNK_BESIDE}


def test_a_difference_from_a_twin_elsewhere_is_found(elsewhere, monkeypatch):
    """A twin with room for one session."""
    def planted(settings):
        return dataclasses.replace(config(settings), max_connections=1, when_full="refuse")

    config = twin.config_of
    monkeypatch.setattr(twin, "config_of", planted)
    with pytest.raises(AssertionError, match=r"packet \d+: engine .*, twin "):
        bulk.beside(3, elsewhere)


def test_what_a_twin_elsewhere_raises_is_told(elsewhere):
    with pytest.raises(AssertionError, match="the twin raised TypeError: "):
        elsewhere.start("not settings")
    elsewhere.process.kill()
    with pytest.raises(AssertionError, match="the twin's process ended: -9"):
        elsewhere.run(story.live)


def never_ends():
    while True:
        pass


@pytest.mark.parametrize("deed, told", [
    (lambda: os.kill(os.getpid(), signal.SIGTERM), "signal 15"),
    (never_ends, "hang: no end after 1 s of work"),
    (lambda: {}["x"], "KeyError: 'x' (test_simulation.py:"),
    (lambda: None, ""),
])
def test_what_becomes_of_a_deed(deed, told):
    found = shrink.failure_of(deed, 1 if deed is never_ends else 20)
    assert found.startswith(told) and bool(found) == bool(told)


def test_the_engine_alone_goes_through_a_case_as_beside_its_twin():
    """Which says, of a case that does not end, which of the two it is."""
    for seed in range(40):
        made = draw.case(Random(seed))
        assert run(made, Alone) == run(made)


def test_what_only_waits_hangs_too():
    assert shrink.failure_of(lambda: time.sleep(60), 5, wait=0.5).startswith("hang")


def test_the_program_says_its_seed_first_and_what_it_did_last():
    done = subprocess.run(
        [sys.executable, "tools/simulate.py", "--seconds", "1", "--seed", "5", "--jobs", "1"],
        cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "simulate: seed 5"
    assert lines[-1].startswith("simulate: ") and lines[-1].endswith("; 0 kinds of failure")


def test_an_interrupted_program_says_what_it_did_and_leaves_nobody_behind():
    with subprocess.Popen(
            [sys.executable, "tools/simulate.py", "--seconds", "60", "--jobs", "2"], cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True) as program:
        seed = program.stdout.readline()
        time.sleep(2)
        os.killpg(program.pid, signal.SIGINT)
        out, err = program.communicate(timeout=30)  # all who hold the pipes have gone by then
    assert seed.startswith("simulate: seed ") and err == "" and program.returncode == 0
    assert "interrupted" in out and " 0 kinds of failure" in out


@pytest.mark.parametrize(("option", "value"), [
    ("--jobs", "0"), ("--seed", "-5"), ("--seed", str(1 << 63)), ("--twin-python", "/nowhere")])
def test_what_the_program_cannot_do_is_said_before_it_begins(option, value):
    done = subprocess.run([sys.executable, "tools/simulate.py", "--seconds", "1", option, value],
                          cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and not done.stdout
    assert f"error: {option} {value}: " in done.stderr


def test_what_failed_beside_a_twin_elsewhere_names_its_python(tmp_path):
    """A program that is there and is no Python."""
    other = tmp_path / "no python"
    other.write_text("#!/bin/sh\nexit 3\n")
    other.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "tools/simulate.py", "--seconds", "20", "--seed", "7", "--jobs", "1",
         "--kind", "bulk", "--twin-python", str(other)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "simulate: seed 7, bulk: AssertionError: the twin's process ended: 3" in done.stdout
    assert f"again: make simulate SEED=7 KIND=bulk TWIN_PYTHON='{other}'" in done.stdout


# --- fuzzing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_passes(target):
    """What the fuzzer has found worth keeping, in this build."""
    inputs = corpus(target)
    assert inputs
    for name, data in inputs.items():
        failure = shrink.failure_of(functools.partial(TARGETS[target], data))
        assert not failure, f"{name}: {failure}"


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff" * 7, bytes(range(256)) * 8])
def test_any_bytes_are_a_case(data):
    for case in CASES.values():
        assert case(data) == case(data)


def test_bytes_are_choices_and_then_zeros():
    choices = Choices(b"\x05\xff\x01")
    assert [choices.getrandbits(3), choices.getrandbits(9), choices.getrandbits(64)] == [5, 511, 0]
    assert choices.choice("abc") == "a"


def test_an_ipv4_header_that_contradicts_itself_is_no_first_fragment():
    """Total length beyond the frame, and the bits of a fragment: nothing is remembered of it."""
    broken = ethernet(ip("10.0.0.1", "10.0.0.3", 17, bytes(24), more=True))
    broken = broken[:16] + b"\xff\xff" + broken[18:]
    whole = ethernet(ip("10.0.0.1", "10.0.0.3", 17, udp(1, 2, 16), more=True))
    pair = Pair(load("plain", fragments_max=1))
    pair.process(Chunk.from_frames([broken, whole], [0, 1]))
    pair.compare()
    assert pair.engine.counters()["fragments_forgotten"] == 0
