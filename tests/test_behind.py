"""What follows who judges: in order, and what goes wrong is said."""

import threading
import time

import pytest

from fwcore.replay.behind import BEHIND, Behind


def test_all_is_done_in_order_before_the_end():
    done, behind = [], Behind()
    for number in range(50):
        behind.do(lambda number=number: (time.sleep(0.001), done.append(number)))
        assert number - len(done) <= BEHIND + 1
    behind.end()
    assert done == list(range(50))
    behind.do(lambda: done.append(50))      # and it may go on
    behind.end()
    assert done[-1] == 50


def test_what_goes_wrong_is_raised_once_and_nothing_is_done_behind_it():
    done, behind = [], Behind()

    def wrong():
        raise MemoryError("no room")

    def on():
        for _ in range(1000):
            behind.do(lambda: done.append(1))
            time.sleep(0.001)

    behind.do(wrong)
    with pytest.raises(MemoryError, match="no room"):
        on()
    assert done == []
    behind.end()


def test_what_waited_behind_it_is_not_done_either_when_it_was_raised():
    done, behind, gate = [], Behind(), threading.Event()

    def wrong():
        raise MemoryError("no room")

    def on():
        while True:
            behind.do(lambda: (gate.wait(), done.append(1)))

    behind.do(wrong)
    with pytest.raises(MemoryError, match="no room"):
        on()
    behind.do(lambda: done.append(2))
    gate.set()
    behind.end()
    assert done == []
    behind.do(lambda: done.append(3))
    behind.end()
    assert done == [3]


def test_what_waits_when_a_run_fails_is_dropped():
    done, behind, gate = [], Behind(), threading.Event()
    behind.do(gate.wait)
    behind.do(lambda: done.append(1))
    behind.drop(ValueError())
    gate.set()
    behind.stop()
    assert done == []


def test_a_thread_that_cannot_start_is_done_without(monkeypatch):
    def refused(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    done, behind = [], Behind()
    behind.do(lambda: done.append(threading.current_thread()))
    behind.end()
    assert done == [threading.current_thread()]
