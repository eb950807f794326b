"""Work that follows who judges, in a thread: two cores for what is written of a capture.

    caller   do(what), do(what), ...             BEHIND of them wait at most
    thread   one after the other, in their order

Laws: what is done, and in what order, is as without a thread. What one of them raises is raised
where the next is given, or at the end, and none behind it is done. Where no thread can start, the
caller does it. A fork waits for what is being done, and in it nothing is: it has no thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any
from weakref import WeakSet

from fwcore.capture.ahead import WAIT_S
from fwcore.errors import OutputError
from fwcore.interruption import block_signals, wait_through

BEHIND = 3
"""Chunks whose rows wait at most."""
_begun: WeakSet[Behind] = WeakSet()
_held: list[Behind] = []        # within a fork


class Behind:
    """A thread that begins with the first thing to do, and ends with ``end``."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._room = threading.Semaphore(BEHIND)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.busy = threading.Lock()                # while something is done
        self._error: BaseException | None = None    # not raised yet
        self._failed = False                        # what waits is not done, until the end

    def do(self, what: Callable[[], Any]) -> None:
        """Soon. Raises what went wrong before."""
        self._check()
        if self._thread is None and not self._start():
            what()
            return
        while not self._room.acquire(timeout=WAIT_S):
            pass
        self._jobs.put(what)

    def end(self) -> None:
        """When all is done. Raises what went wrong."""
        self.stop()
        self._check()

    def stop(self) -> None:
        """The same, whatever went wrong; what a signal raises comes behind it."""
        if self._thread is not None:
            self._jobs.put(None)
            wait_through(self._wait)
        self._thread, self._failed = None, False

    def _wait(self) -> None:
        while not self._ended.wait(WAIT_S):
            pass

    def drop(self, error: BaseException) -> None:
        """Nothing that waits is done any more."""
        self._error, self._failed = self._error or error, True

    def leave(self) -> None:
        """In a fork: the thread stayed behind."""
        self._thread = None
        self.drop(OutputError("a fork of a run writes none of its outputs"))

    def _check(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _start(self) -> bool:
        self._thread = threading.Thread(target=self._work, name="replay-behind", daemon=True)
        self._ended.clear()
        try:
            self._thread.start()
        except RuntimeError:     # the limit of processes
            self._thread = None
        _begun.add(self)
        return self._thread is not None

    def _work(self) -> None:
        """The thread; signals are for who judges."""
        block_signals()
        while (what := self._jobs.get()) is not None:
            try:
                with self.busy:
                    if not self._failed:
                        what()
            except BaseException as error:  # whatever it is, it is the caller's
                self.drop(error)
            del what     # and the chunk that it holds
            self._room.release()
        self._ended.set()


def _hold() -> None:
    _held.extend(_begun)
    for each in _held:
        each.busy.acquire()


def _let_go(*, in_fork: bool = False) -> None:
    while _held:
        each = _held.pop()
        each.busy.release()
        if in_fork:
            each.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_let_go,
                        after_in_child=partial(_let_go, in_fork=True))
