"""INT, TERM and HUP as one question: stop here, and report what was done.

    waiting for something     the first signal ends the wait at once (Interrupted)
    at work                   the first signal is noted; the work ends where it next would wait
    a second signal           ends either at once

So Ctrl-C, ``timeout`` and systemd all get a result, at the end of a chunk or out of the middle of a
silent pipe, and nothing is left half done. A signal that was ignored stays ignored (nohup).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """Somebody asked to stop; ``number`` is the signal that said so."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interruption:
    """Within ``with``, the signals are taken as above. Only the main thread can take them."""

    def __init__(self) -> None:
        self.number = 0
        self._waiting = False
        self._before: dict[int, Any] = {}

    def _ask(self, number: int, _frame: Any) -> None:
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
