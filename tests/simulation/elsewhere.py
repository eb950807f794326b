"""A twin in a process of its own, beside the engine and on another Python if that is quicker."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
from typing import Any

from fwcore import reference
from simulation import story


class Elsewhere:
    """What ``Pair`` asks of a twin, asked of one that runs elsewhere.

    ``python``: the program; PyPy runs the twin some five times as fast. AssertionError: the twin
    raised, or its process is gone.
    """

    def __init__(self, python: str = "") -> None:
        self.process = subprocess.Popen(
            [python or sys.executable, story.__file__], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)
        self.asked = 0

    def start(self, config: reference.Config) -> Elsewhere:
        """A new firewall there."""
        self.run(reference.Firewall, config)
        return self

    def ask(self, function: Any, *arguments: Any, **keywords: Any) -> None:
        """Has it begin; ``answer`` waits for its end."""
        assert self.process.stdin is not None
        try:
            pickle.dump((function, arguments, keywords), self.process.stdin, 4)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise AssertionError(f"the twin's process ended: {self.process.wait()}") from None

    def answer(self) -> Any:
        """What the function returned."""
        assert self.process.stdout is not None
        try:
            well, found = pickle.load(self.process.stdout)
        except EOFError:
            raise AssertionError(f"the twin's process ended: {self.process.wait()}") from None
        assert well, f"the twin raised {found.splitlines()[-1]}\n{found}"
        return found

    def run(self, function: Any, *arguments: Any, **keywords: Any) -> Any:
        """Calls a function there, with the firewall before its arguments; what it returns."""
        self.ask(function, *arguments, **keywords)
        return self.answer()

    @property
    def live(self) -> int:
        return int(self.run(story.live))

    def configure(self, **changes: Any) -> None:
        self.run(reference.Firewall.configure, **changes)

    def restart(self, **changes: Any) -> None:
        self.run(reference.Firewall.restart, **changes)

    def clear(self) -> None:
        self.run(reference.Firewall.clear)

    def drain(self) -> None:
        self.run(reference.Firewall.drain)

    def advance(self, now_ns: int) -> None:
        self.run(reference.Firewall.advance, now_ns)

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what was asked of one that is gone
            self.process.stdin.close()
        self.process.wait()
