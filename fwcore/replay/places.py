"""Where each TCP session stands in its table, followed from outside by what was judged.

The engine's own tables, read with the same indices: (place, direction, class of flags) -> place. So
whoever looks on knows a session's state at any packet, and whether a packet moved its deadline.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fwcore._columns import Kind
from fwcore._layout import TcpState, Tracker, tcp_tables
from fwcore.replay.judged import Judged
from fwcore.words import TCP

IGNORED = 128     # this bit of a cell: to that place, and the deadline stays
NO_CLASS = -1     # of what makes no TCP step


class Places:
    """Flow -> place, of those that live."""

    def __init__(self, tracker: str) -> None:
        tables = tcp_tables()
        number = Tracker[tracker.upper()]
        self._classes = np.array(tables["classes"][number], np.int8)
        self._first, self._step = tables["first"][number], tables["step"]
        self._states = [TcpState[state] for _, state in tables["places"]]
        self._place: dict[int, int] = {}

    def classes(self, judged: Judged) -> NDArray[np.int8]:
        """The class of each packet's flags, int8[n]; NO_CLASS: no TCP, or no header of it."""
        rows = judged.rows
        keyed = (rows["kind"] == Kind.KEYED) & (rows["protocol"] == TCP)
        return np.where(keyed, self._classes[rows["tcp_flags"] & 63], np.int8(NO_CLASS))

    def step(self, flow: int, direction: int, class_: int) -> bool:
        """A packet that its session takes, or that makes it; whether the deadline moves."""
        if class_ == NO_CLASS:
            return True
        place = self._place.get(flow)
        step = self._first if place is None else self._step[place]
        cell = step[direction][class_]
        self._place[flow] = cell & ~IGNORED
        return not cell & IGNORED

    def state(self, flow: int) -> int:
        """TcpState; NONE of what is not TCP."""
        place = self._place.get(flow)
        return TcpState.NONE if place is None else self._states[place]

    def forget(self, flow: int) -> None:
        """Its session has ended."""
        self._place.pop(flow, None)
