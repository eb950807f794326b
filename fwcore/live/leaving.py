"""Which frames of a live run wait at links, which leave, when, and with which mark.

    a judged batch --arrivals, departures of the engine--> kept, rows for ``leave`` of the source

Frames stay with the source (rings, a queue); here are only numbers. The rows are in the order in
which packets leave: what a link releases before a packet came stands before it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fwcore import _shaper
from fwcore._layout import Verdict
from fwcore.engine import Engine
from fwcore.replay.releases import PASSED_ON, SENT, leaving_order


class Leave(NamedTuple):
    """What a source is told: see ``Rings.leave``."""

    first: int
    kept: NDArray[np.uint8]
    packet: NDArray[np.uint64]
    due_ns: NDArray[np.int64]
    sent: NDArray[np.uint8]
    mark: NDArray[np.uint8]


class Leaving:
    """Follows an engine made with ``departures`` and ``arrivals``, one batch after another."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._packets = self._departed = 0

    def take(self, outcome: NDArray[np.uint8]) -> Leave:
        """After a batch with this outcome (uint8[n, 2]), or after time has passed (n = 0)."""
        arrivals, departures = self._engine.arrivals(), self._engine.departures()
        first = self._packets + 1
        self._packets += len(outcome)
        at = (arrivals["packet"] - np.uint64(first)).astype(np.int64)
        passed = outcome[:, 0] != Verdict.DROP
        kept = np.zeros(len(outcome), np.uint8)
        kept[at] = passed[at] & (arrivals["link"] != _shaper.NO_LINK)
        free = arrivals[passed[at] & (kept[at] == 0)]
        passed[at] = False                       # what is left was not asked about: no rows now
        bare = np.zeros(int(passed.sum()), _shaper.ARRIVAL_DTYPE)
        bare["packet"] = np.flatnonzero(passed) + first
        bare["time_ns"], bare["mark"] = self._engine.fastpath.now_ns, _shaper.UNMARKED
        bare["departed"] = self._departed + len(departures)
        ends = departures["fate"] != PASSED_ON
        gone, free = departures[ends], np.concatenate([free, bare])
        here = gone["packet"] >= first
        kept[(gone["packet"][here] - np.uint64(first)).astype(np.int64)] = 0
        order = leaving_order(self._departed + np.flatnonzero(ends), free["departed"])
        self._departed += len(departures)

        def rows(of_gone: NDArray[Any], of_free: NDArray[Any]) -> NDArray[Any]:
            return np.ascontiguousarray(np.concatenate([of_gone, of_free])[order])

        return Leave(
            first, kept, rows(gone["packet"], free["packet"]),
            rows(gone["time_ns"], free["time_ns"]),
            rows((gone["fate"] == SENT).astype(np.uint8), np.ones(len(free), np.uint8)),
            rows(gone["dscp"], free["mark"]))

    @property
    def next_ns(self) -> int | None:
        """When something leaves next, as far as is known now; None: nothing waits."""
        shaper = self._engine.fastpath.shaper
        return None if shaper is None else shaper.next_ns
