"""Runs side by side: each finds what it would alone, whatever becomes of the threads."""

import threading
import time
from pathlib import Path

import pytest

from fwcore.errors import CaptureError
from fwcore.interruption import Interrupted
from fwcore.replay import beside, replay
from fwcore.replay.beside import Hands, replay_beside, side_by_side
from fwcore.report import compare
from fwcore.settings import load

PCAPS = Path(__file__).parent.parent / "pcaps"
CAPTURE, SETTINGS = PCAPS / "conserve.pcap", PCAPS / "conserve.toml"
OWN = ("speed", "pace")        # what a clock on the wall said


def three():
    return [load(file=SETTINGS, av_failopen="off"), load(file=SETTINGS, av_failopen="pass", seed=7),
            load("plain", max_connections=64, zone="vlan", when_full="bucket")]


def listeners(many):
    heard = [[] for _ in range(many)]
    return heard, {"flows": [lambda judged, into=into: into.append(
        (judged.first, len(judged.chunk), judged.outcome.tobytes(), judged.number.tolist()))
        for into in heard], "ended": [lambda rows: None] * many}


@pytest.mark.parametrize("options", [
    {}, {"filter": "tcp", "loop": 2}, {"timing": "speed:3", "limit": 1500}, {"threads": 2},
])
def test_each_finds_what_it_would_alone(options):
    heard, told = listeners(3)
    together = replay_beside(CAPTURE, three(), chunk_size=100, **told, **options)
    for at, (settings, made) in enumerate(zip(three(), together, strict=True)):
        alone, one = listeners(1)
        expected = replay(CAPTURE, settings, chunk_size=100, flows=one["flows"][0],
                          ended=one["ended"][0], **options)
        assert {key: value for key, value in made.data.items() if key not in OWN} == {
            key: value for key, value in expected.data.items() if key not in OWN}
        assert heard[at] == alone[0] and len(alone[0]) > 1


def test_a_comparison_is_the_same_however_many_are_judged_at_once():
    named = dict(zip("abc", three(), strict=True))
    first, *others = (compare.run([CAPTURE], named, replay_beside, many, chunk_size=100)
                      for many in (1, 2, 3))
    for other in others:
        made = other.to_dict()
        for key, value in first.to_dict().items():
            assert key == "results" or made[key] == value, key
    assert first.harm()[2]["sessions_taken"] > 0


def test_threads_that_cannot_start_are_done_without(monkeypatch):
    heard, told = listeners(3)
    replay_beside(CAPTURE, three(), **told)
    start, begun = threading.Thread.start, []

    def limited(thread):
        begun.append(thread)
        if len(begun) > 1:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    without, told = listeners(3)
    replay_beside(CAPTURE, three(), **told)
    assert without == heard and len(begun) == 2


def test_what_is_said_meanwhile_is_of_the_same_chunk():
    seen, (heard, told) = [], listeners(2)
    replay_beside(CAPTURE, three()[:2], chunk_size=100, seen=seen.append, filter="udp", **told)
    assert [(each.first, len(each.chunk), each.number.tolist()) for each in seen] == [
        (first, count, numbers) for first, count, _, numbers in heard[0]]


def test_a_capture_that_cannot_be_read_is_said_once():
    _, told = listeners(3)
    with pytest.raises(CaptureError):
        replay_beside("/nonexistent.pcap", three(), **told)


@pytest.mark.parametrize("many", [1, 2, 3])
def test_an_error_of_one_comes_when_all_are_through(many):
    done = []

    def work(number):
        time.sleep(0.01 * number)
        done.append(number)
        if number != 1:
            raise ValueError(number)
        return number

    with Hands(many) as hands, pytest.raises(ValueError, match="0"):
        hands.do([lambda number=number: work(number) for number in range(3)])
    assert sorted(done) == [0, 1, 2]
    with Hands(many) as hands:
        assert hands.do([lambda number=number: -number for number in range(3)]) == [0, -1, -2]


def test_what_a_signal_raises_comes_when_all_are_through():
    done = []

    def slow():
        time.sleep(0.05)
        done.append(1)

    def signalled():
        raise Interrupted(2)

    with Hands(2) as hands, pytest.raises(Interrupted):
        hands.do([slow, slow], signalled)
    assert done == [1, 1]


def test_a_signal_before_a_thing_is_begun_leaves_it_not_undone(monkeypatch):
    """It had been taken from the list, was never done, and was waited for without end."""
    done, do, signals = [], beside._Job.do, [Interrupted(2)]

    def signalled(job):
        if signals:
            raise signals.pop()
        do(job)

    monkeypatch.setattr(beside._Job, "do", signalled)
    with Hands(1) as hands, pytest.raises(Interrupted):
        hands.do([lambda: done.append(0), lambda: done.append(1)])
    assert done == [0, 1]


def test_a_core_each_unless_said():
    assert side_by_side(3) == 3 and side_by_side(None) >= 1
