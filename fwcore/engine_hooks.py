"""Who is told what happens: functions called with a batch at stops and at the end of calls.

    engine.on("transition", f)     f(batch): transitions since the last call, in order

A batch has the newest; ``batch.lost`` says how many of the older ones are not in it. It is never
once a packet, but where frames are judged one at a time. A function that calls the engine gets
EngineBusy, its exception comes out of the call that told it, and what it was told is told once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fwcore._layout import SESSION_DTYPE
from fwcore._shaper import DEPARTURE_DTYPE
from fwcore._use import exclusive
from fwcore.engine_memory import Memory
from fwcore.errors import SettingsError
from fwcore.events import EventLog
from fwcore.words import nearest

KINDS = ("transition", "event", "new_session", "ended", "victim", "departure")
NEWEST = 10_000            # rows of a batch at most


@dataclass(frozen=True, slots=True)
class Batch(Sequence[Any]):
    """What happened since the last batch: ``rows`` are Transitions, Events, sessions or departures
    (structured arrays as ``Engine.sessions`` and ``Engine.departures`` give); ``lost``: older ones
    that are not among them."""

    kind: str
    rows: Any
    lost: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        return self.rows[place]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)


Hook = Callable[[Batch], object]


class Hooks(Memory):
    """The part of an engine that tells."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._hooks: dict[str, list[Hook]] = {}
        self._told: dict[str, int] = {}

    @exclusive
    def on(self, kind: str, function: Hook) -> Callable[[], None]:
        """From now on, ``function(batch)`` is called with what happens; returns what ends that.

        ``kind``: transition, event, victim, departure; ended (``Engine(log=True)``); new_session:
        those that stand still when they are told. Raises SettingsError.
        """
        if kind not in KINDS:
            raise SettingsError(
                f"on: {kind!r}: allowed: {', '.join(KINDS)}{nearest(kind, KINDS)}")
        if kind == "ended" and not self._log:
            raise SettingsError("on: ended: the engine keeps no log: Engine(..., log=True)")
        if kind not in self._hooks:
            self._hooks[kind] = []
            self._listen(kind, deque(maxlen=NEWEST))
            self._told[kind] = self._happened(kind)
        self._hooks[kind].append(function)
        self.fastpath.watched = True
        return lambda: self._off(kind, function)

    @exclusive
    def _off(self, kind: str, function: Hook) -> None:
        hooks = self._hooks.get(kind, [])
        if function in hooks:
            hooks.remove(function)
        if not hooks and self._hooks.pop(kind, None) is not None:
            self._listen(kind, None)
        self.fastpath.watched = bool(self._hooks)

    def _log_of(self, kind: str) -> EventLog[Any] | None:
        if kind == "transition":
            return self.transitions
        return self.events if kind == "event" else None

    def _listen(self, kind: str, heard: deque[Any] | None) -> None:
        log = self._log_of(kind)
        if log is not None:
            log.heard = heard
        elif kind == "new_session":
            self.fastpath.note_newborn(heard is not None)
        elif kind == "departure":
            self._hear_departures(heard is not None)

    def _happened(self, kind: str) -> int:
        """How many of a kind there were in this run."""
        log = self._log_of(kind)
        if log is not None:
            return len(log) + log.forgotten
        if kind == "departure":
            return self._left_before
        if kind == "ended":
            self._collect()
            return self._ended_before + sum(map(len, self._ended))
        return self.fastpath.counters()["created" if kind == "new_session" else "victims"]

    def _tell(self) -> None:
        """Tells everybody what has happened since."""
        for kind in KINDS if self._hooks else ():
            if kind not in self._hooks:
                continue
            count = self._happened(kind)
            fresh = count - self._told[kind]
            if not fresh:
                continue
            self._told[kind] = count
            rows = self._rows_since(kind, fresh)
            batch = Batch(kind, rows, fresh - len(rows))
            for function in tuple(self._hooks[kind]):
                function(batch)

    def _rows_since(self, kind: str, fresh: int) -> Any:
        """The newest of the last ``fresh`` of a kind."""
        log = self._log_of(kind)
        if log is not None:
            heard = list(log.heard or ())[-fresh:]
            if log.heard:
                log.heard.clear()
            return heard
        fresh = min(fresh, NEWEST)
        if kind == "departure":
            heard, self._heard = self._heard or [], []
            return np.concatenate([np.zeros(0, DEPARTURE_DTYPE), *heard])[-fresh:]
        if kind == "victim":
            return self.fastpath.victims()[-fresh:]
        if kind == "ended":
            return np.concatenate([np.zeros(0, SESSION_DTYPE), *self._ended])[-fresh:]
        return self.fastpath.newborn_rows(fresh)
