"""The packets of a replay as they come: read, rewritten, selected, waited for."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar

from fwcore.capture import Chunk
from fwcore.interruption import Interrupted, Interruption
from fwcore.replay.pace import Pace
from fwcore.replay.selection import Selection
from fwcore.replay.timing import Timing
from fwcore.replay.turns import Turns

Progress = Callable[[int, int, int], Any]
Item = TypeVar("Item")


@dataclass
class Feed:
    """One course through the captures, for all who judge what it gives."""

    turns: Turns
    timing: Timing
    selection: Selection
    interruption: Interruption
    pace: Pace | None = None
    progress: Progress | None = None
    packets: int = 0
    interrupted_by: str = ""

    def open(self) -> Any:
        """A capture that cannot be opened says so before files are made."""
        with self.interruption.waiting():
            return self.turns.open()

    def through(self, judge: Callable[[Chunk], Any]) -> None:
        """Gives chunks to judge, to the end, or to where somebody asked to stop."""
        try:
            with closing(self._chunks()) as chunks:
                for chunk in chunks:
                    judge(chunk)
        except KeyboardInterrupt as error:
            number = error.number if isinstance(error, Interrupted) else signal.SIGINT
            self.interrupted_by = signal.Signals(number).name

    def _chunks(self) -> Generator[Chunk, None, None]:
        """The packets among the frames; of frames without any an empty chunk, for time counts from
        the first frame."""
        for _, chunk in self._awaited(iter(self.turns)):
            packets = self.selection.take(self.timing.retime(chunk))
            if self.pace is None or not len(packets):
                yield packets
            else:
                yield from self._awaited(self.pace.parts(packets))
            self.packets += len(packets)
            if self.progress is not None and self.progress(
                    self.packets, self.turns.done, self.turns.total):
                raise Interrupted(signal.SIGINT)

    def _awaited(self, items: Generator[Item, None, None]) -> Generator[Item, None, None]:
        """Each item as it comes; a signal ends the wait for one, but never the work on one."""
        with closing(items):
            while True:
                with self.interruption.waiting():
                    item = next(items, None)
                if item is None:
                    return
                yield item
