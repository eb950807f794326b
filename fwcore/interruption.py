"""INT, TERM and HUP as one question: stop here, and report what was done.

    waiting for something     the first signal ends the wait at once (Interrupted)
    at work                   the first signal is noted; the work ends where it next would wait
    a second signal           ends either at once

So Ctrl-C, ``timeout`` and systemd all get a result, at the end of a chunk or out of the middle of a
silent pipe, and nothing is left half done. A signal that was ignored stays ignored (nohup).

Around it, where there is nothing to report, they end a command with one line (``Taken``):

    while it is imported      at once (``end_at_once``)
    then                      by Interrupted, so that what is half written goes (``interrupt``)
    when it has ended         nothing: its exit code stands
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
IMPORTING = "<frozen importlib._bootstrap>"
half_written: set[str] = set()
"""Files beside the place of an output, which go where a process ends at once."""


class Interrupted(KeyboardInterrupt):
    """Somebody asked to stop; ``number`` is the signal that said so."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def end_at_once(number: int, _frame: FrameType | None) -> NoReturn:
    """One line and the documented exit code, whatever is going on; of what is tidied up no more
    than files that are half written."""
    for path in tuple(half_written):
        with suppress(OSError):
            os.unlink(path)
    try:
        os.write(2, f"fwcore: interrupted by {signal.Signals(number).name}\n".encode())
    finally:
        os._exit(128 + number)


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Raises Interrupted where the program stands; ends at once where that is within an import,
    whose C would take the exception for an error of its own, or forget it."""
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            end_at_once(number, frame)
        frame = frame.f_back
    raise Interrupted(number)


def block_signals() -> None:
    """In a thread beside the main one: signals are for that."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def wait_through(wait: Callable[[], Any]) -> None:
    """Waits, again if need be, until that came to its end; what signals raised meanwhile is raised
    behind it. For waits that raise nothing of their own."""
    raised: BaseException | None = None
    while True:
        try:
            wait()
            break
        except BaseException as error:  # whatever it is, it is the caller's
            raised = error
    if raised is not None:
        raise raised


class Taken:
    """Within ``with``, the signals are a function's (number, frame). Only the main thread can take
    them."""

    def __init__(self, ask: Callable[[int, FrameType | None], Any]) -> None:
        self._ask = ask
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before in (signal.SIG_IGN, None):
                continue
            try:
                signal.signal(number, self._ask)
            except ValueError:     # not the main thread: signals go elsewhere
                break
            self._before[number] = before
        return self

    def __exit__(self, *exception: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def ignore(self) -> None:
        """From here on they are lost."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)


class Interruption(Taken):
    """Within ``with``, the signals are taken as the first table says."""

    def __init__(self) -> None:
        super().__init__(self._note)
        self.number = 0
        self._waiting = False

    def _note(self, number: int, _frame: FrameType | None) -> None:
        again, self.number = bool(self.number), number
        if again or self._waiting:
            raise Interrupted(number)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Where nothing is lost when it is left: raises Interrupted, also for what was noted."""
        self._waiting = True       # before the look at what was noted, so that none falls between
        try:
            if self.number:
                raise Interrupted(self.number)
            yield
        finally:
            self._waiting = False
