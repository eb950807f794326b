"""What passed unscanned after the mode had ended: sessions keep what they were given at the start.

A bypass that conserve mode gave holds for the session's life (semantics 9), so that traffic may go
on unscanned long after the mode is off. Which mode a packet met follows from the transitions: one
of cause ``packet`` counts from the next packet on, one of cause ``time`` or ``start`` from its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fwcore._layout import Reason, Verdict
from fwcore.engine import Engine
from fwcore.replay.judged import Judged

REASONS = (Reason.BYPASS_CONSERVE, Reason.BYPASS_KERNEL)
OF_A_MODE = frozenset((int(Verdict.BYPASS), int(reason)) for reason in REASONS)


class Aftermath:
    """Gathered chunk by chunk; ``row`` is None where transitions were forgotten."""

    def __init__(self) -> None:
        self.packets = self.bytes = 0
        self._flows = np.zeros(0, dtype=np.uint64)
        self._modes: dict[str, str] = {}
        self._known = 0

    def take(
        self, engine: Engine, first: int, judged: Judged, shown: NDArray[np.bool_] | None = None,
    ) -> None:
        """A chunk of n, judged just now, whose first packet has the run's number ``first``;
        ``shown`` bool[n]: those that count, None: all."""
        if judged.kinds.isdisjoint(OF_A_MODE):
            return
        outcome = judged.outcome
        off = self._off(engine, first, len(outcome))
        after = (outcome[:, 0] == Verdict.BYPASS) & np.isin(outcome[:, 1], REASONS) & off
        if shown is not None:
            after &= shown
        if after.any():
            self.packets += int(after.sum())
            self.bytes += int(judged.chunk.length[after].sum())
            self._flows = np.union1d(self._flows, judged.flow[after])

    def _off(self, engine: Engine, first: int, count: int) -> NDArray[np.bool_]:
        """Which packets met all machines off, bool[n]."""
        off = np.ones(count, dtype=bool)
        begin = 0
        for place in range(self._known, len(engine.transitions)):
            row = engine.transitions[place]
            at = min(max(row.packet - first + (row.cause == "packet"), begin), count)
            off[begin:at] = self._all_off()
            begin = at
            self._modes[row.machine] = row.to_mode
        self._known = len(engine.transitions)
        off[begin:] = self._all_off()
        return off

    def _all_off(self) -> bool:
        return all(mode == "off" for mode in self._modes.values())

    def row(self, engine: Engine) -> dict[str, int] | None:
        """{"sessions", "packets", "bytes"}."""
        if engine.transitions.forgotten:
            return None
        return {"sessions": len(self._flows), "packets": self.packets, "bytes": self.bytes}
