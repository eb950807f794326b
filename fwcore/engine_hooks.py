"""Who is told what happens, and who is asked: functions called with a batch at stops and at the end
of calls.

    engine.on("transition", f)     f(batch): transitions since the last call, in order
    engine.inspect(f)              f(rows) -> answers: sessions whose first bytes have come
    engine.decide(f)               f(rows) -> decisions: sessions that would begin

A batch has the newest; ``batch.lost`` says how many of the older ones are not in it. It is never
once a packet, but where frames are judged one at a time. A function that calls the engine gets
EngineBusy, but may end itself; its exception comes out of the call that told it, when all others
have been told too, and what it was told is told once; what it was asked and did not answer is asked
again with the next call.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from fwcore._decider import Decider
from fwcore._inspector import FIRST_BYTES_MAX, Inspector
from fwcore._layout import SESSION_DTYPE, Answer
from fwcore._shaper import DEPARTURE_DTYPE, FATES
from fwcore._use import exclusive, undivided
from fwcore.engine_memory import Memory
from fwcore.errors import DataError, SettingsError, StateError
from fwcore.events import Event, EventLog, Transition
from fwcore.tables import Names, Rows
from fwcore.words import nearest

KINDS = ("transition", "event", "new_session", "ended", "victim", "departure")
NEWEST = 10_000            # rows of a batch at most
DEPARTED: Names = {"fate": dict(enumerate(FATES))}


Row = TypeVar("Row")
Table = TypeVar("Table")


@dataclass(frozen=True, slots=True)
class Batch(Sequence[Row], Generic[Row, Table]):
    """What happened since the last batch: ``rows`` are Transitions, Events, sessions or departures
    (structured arrays as ``Engine.sessions`` and ``Engine.departures`` give); ``lost``: older ones
    that are not among them."""

    kind: str
    rows: Table
    lost: int

    def __len__(self) -> int:
        return len(self.rows)       # type: ignore[arg-type]

    def __getitem__(self, place: Any) -> Any:
        return self.rows[place]     # type: ignore[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)      # type: ignore[call-overload, no-any-return]


Hook = Callable[[Batch[Any, Any]], object]
# questions to answers, see Hooks.inspect
Asked = Callable[[NDArray[Any]], Sequence[int] | NDArray[Any]]
DROP = 1                   # a decision, for the fast path; from here on: 1 + place of a policy


class Decision(IntEnum):
    """What a decider says of a new session, where it names no policy by its id (0 and above)."""

    ACCEPT = -1   # by the policy that matches
    DROP = -2     # as if no policy accepted it


class Hooks(Memory):
    """The part of an engine that tells."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._hooks: dict[str, list[Hook]] = {}
        self._told: dict[str, int] = {}
        self._teller = 0            # the thread that tells just now
        self._inspects: Asked | None = None
        self._decides: Asked | None = None

    @overload
    def on(
        self, kind: Literal["transition"],
        function: Callable[[Batch[Transition, list[Transition]]], object],
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, kind: Literal["event"], function: Callable[[Batch[Event, list[Event]]], object],
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, kind: Literal["new_session", "ended", "victim", "departure"],
        function: Callable[[Batch[np.void, Rows]], object],
    ) -> Callable[[], None]: ...

    @exclusive
    def on(self, kind: str, function: Hook) -> Callable[[], None]:
        """From now on, ``function(batch)`` is called with what happens; returns what ends that.

        Batches come at stops and at the end of calls, kind by kind, in the order of ``KINDS``; rows
        of one kind in order of time.

        ``kind``: transition, event, victim, departure; ended (``Engine(log=True)``); new_session:
        those that stand still when they are told. Raises SettingsError.
        """
        if not isinstance(kind, str) or kind not in KINDS:
            raise SettingsError(
                f"on: {kind!r}: allowed: {', '.join(KINDS)}{nearest(kind, KINDS)}")
        _check_callable("on", function)
        if kind == "ended" and not self._log:
            raise SettingsError("on: ended: the engine keeps no log: Engine(..., log=True)")
        if kind not in self._hooks:
            self._hooks[kind] = []
            self._listen(kind, deque(maxlen=NEWEST))
            self._told[kind] = self._happened(kind)
        self._hooks[kind].append(function)
        self._watch_all()
        return lambda: self._off(kind, function)

    def _off(self, kind: str, function: Hook) -> None:
        """Who is being told just now may end itself, or another."""
        if self._teller == threading.get_ident():
            self._drop(kind, function)
        else:
            self._drop_alone(kind, function)

    @exclusive
    def _drop_alone(self, kind: str, function: Hook) -> None:
        self._drop(kind, function)

    def _drop(self, kind: str, function: Hook) -> None:
        hooks = self._hooks.get(kind, [])
        if function in hooks:
            hooks.remove(function)
        if not hooks and self._hooks.pop(kind, None) is not None:
            self._listen(kind, None)
        self._watch_all()

    def _watch_all(self) -> None:
        """Whether there is somebody to tell or to ask."""
        self.fastpath.watched = (
            bool(self._hooks) or self._inspects is not None or self._decides is not None)

    # --- an inspector ---

    @exclusive
    @undivided
    def inspect(self, function: Asked, *, first_bytes: int = 1024) -> Callable[[], None]:
        """From now on, ``function(rows)`` says what becomes of inspected sessions, by their first
        payload; returns what ends that.

        It stands in the proxy's place, for sessions that begin from now on and whose policy asks
        for ``proxy`` inspection; gate, pages and the proxy's table decide before it, as ever. A
        session is a question when the first run of payload in one direction that is scanned has
        ``first_bytes`` bytes, or is over: the other side sends payload, FIN, RST. Its pages are
        given back then, the packets up to here have passed, and no other packet of it is judged
        before the answer.

        ``rows``: a structured array of n questions, in order, at most 256: fields as ``sessions()``
        has them, and ``packet`` (that made it one), ``reply`` (1: the responder's bytes), ``seen``
        (bytes of the run, by the lengths), ``size``, and ``payload`` uint8[n, first_bytes]: the
        first ``size`` of them, captured without a gap; the rest is 0. Answers: n of ``Answer``, as
        a sequence or an array: ACCEPT (INSPECT from now on), BYPASS, BLOCK (DROP, as long as the
        session stands). They come at stops and at the end of calls; that rows go by one call or by
        several changes no verdict, where an answer follows from its row.

        An exception comes out of the call, and the same questions are asked with the next. The
        next inspector takes the place of this one. Where it ends, sessions whose bytes were being
        gathered are scanned as without it, and those that wait are bypassed. Raises SettingsError.
        """
        _check_callable("inspect", function)
        if not isinstance(first_bytes, int) or not 1 <= first_bytes <= FIRST_BYTES_MAX:
            raise SettingsError(f"inspect: first_bytes: {first_bytes!r} is not in"
                                f" 1..{FIRST_BYTES_MAX}")
        inspector = Inspector(first_bytes)
        self.fastpath.set_inspector(inspector)
        self._inspects = function
        self._watch_all()
        return lambda: self._inspect_no_more(inspector)

    @exclusive
    @undivided
    def _inspect_no_more(self, inspector: Inspector) -> None:
        if self.fastpath.inspector is inspector:
            self.fastpath.set_inspector(None)
            self._inspects = None
            self._watch_all()

    def _ask(self) -> None:
        """Asks about all sessions that wait, and gives their answers."""
        inspector = self.fastpath.inspector
        if inspector is not None and self._inspects is not None:
            if inspector.waits:
                rows = inspector.waiting()
                inspector.answer(_answers(self._inspects(rows), len(rows)))
            inspector.make_room()
        decider = self.fastpath.decider
        if decider is not None and self._decides is not None and decider.waits:
            rows = decider.waiting()
            decider.decide(self._decisions(self._decides(rows), rows))

    def _check_asked(self) -> None:
        inspector = self.fastpath.inspector
        if inspector is not None and inspector.waits:
            raise StateError(f"the inspector has yet to answer for {inspector.waits} sessions")

    # --- a decider ---

    @exclusive
    @undivided
    def decide(self, function: Asked) -> Callable[[], None]:
        """From now on, ``function(rows)`` says which sessions may begin; returns what ends that.

        For who brings policies of their own: it stands behind the engine's. A packet without a
        session that policies accept is not judged before the function has said something of its
        flow; gate, limits, room and pages come after it, as ever.

        ``rows``: a structured array of n openings, at most 1024, in order of their packets:
        ``initiator`` and ``responder`` uint8[16], their ports, ``zone``, ``protocol``, ``family``,
        ``policy`` (id of the one that matches) and ``inspection`` (its class bits), ``flow``,
        ``packet`` and ``time_ns`` of the first packet. Behind the packet that has to wait come
        those of the chunk that would begin a session, a flow once, as things stand then; in the end
        they may not, where a limit refuses them or a session was there before. Decisions: n of
        ``Decision.ACCEPT`` (by that policy), ``Decision.DROP`` (``denied``), or the id of another
        policy, which then is the session's: what it inspects, and where it denies, ``denied``.

        What was decided holds to the end of the call, or until 1024 others were asked of; a dropped
        flow is asked of again with its next packet after that. So no verdict depends on how packets
        are divided, where a decision follows from addresses, ports, protocol, zone and policy.

        An exception comes out of the call, in front of the packet, and what was decided is
        forgotten. The next decider takes the place of this one. None is saved.
        """
        _check_callable("decide", function)
        self.fastpath.set_decider(decider := Decider())
        self._decides = function
        self._watch_all()
        return lambda: self._decide_no_more(decider)

    @exclusive
    @undivided
    def _decide_no_more(self, decider: Decider) -> None:
        if self.fastpath.decider is decider:
            self.fastpath.set_decider(None)
            self._decides = None
            self._watch_all()

    def _decisions(self, given: Any, rows: NDArray[Any]) -> NDArray[np.uint32]:
        """As the fast path takes them. Raises DataError."""
        found = _numbers(given, len(rows))
        if found is None:
            raise DataError(f"decide: {len(rows)} openings want {len(rows)} of Decision, or ids of"
                            f" policies: the function gave {given!r:.80}")
        decisions = np.where(found == Decision.DROP, DROP, 0).astype(np.uint32)
        others = np.flatnonzero((found != rows["policy"]) & (found != Decision.ACCEPT)
                                & (found != Decision.DROP))
        if len(others):
            places = {policy.id: at for at, policy in enumerate(self.policies, DROP + 1)}
            for at in others.tolist():
                if int(found[at]) not in places:
                    raise DataError(f"decide: {int(found[at])} is the id of no policy, and no"
                                    f" Decision: the function gave {given!r:.80}")
                decisions[at] = places[int(found[at])]
        return decisions

    def _forget(self) -> None:
        """At the end of a call: what was decided."""
        if self.fastpath.decider is not None:
            self.fastpath.decider.forget()

    # --- telling ---

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
        return int(
            self.fastpath.counters()["sessions_created" if kind == "new_session" else "victims"])

    def _tell(self) -> None:
        """Asks who is asked, and tells everybody what has happened since."""
        self._ask()
        if not self._hooks:
            return
        failed: list[BaseException] = []
        self._teller = threading.get_ident()
        try:
            for kind in KINDS:
                self._tell_of(kind, failed)
        finally:
            self._teller = 0
        if failed:
            raise failed[0]

    def _tell_of(self, kind: str, failed: list[BaseException]) -> None:
        """One kind to all who hear of it: what one raises costs no other a batch."""
        if kind not in self._hooks:
            return
        count = self._happened(kind)
        fresh = count - self._told[kind]
        if not fresh:
            return
        self._told[kind] = count
        rows = self._rows_since(kind, fresh)
        batch: Batch[Any, Any] = Batch(kind, rows, fresh - len(rows))
        for function in tuple(self._hooks[kind]):
            try:
                function(batch)
            except BaseException as error:
                failed.append(error)

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
            rows = np.concatenate([np.zeros(0, DEPARTURE_DTYPE), *heard])[-fresh:]
            return Rows.of(rows, DEPARTED)
        if kind == "victim":
            return Rows.of(self.fastpath.victims()[-fresh:])
        if kind == "ended":
            return Rows.of(np.concatenate([np.zeros(0, SESSION_DTYPE), *self._ended])[-fresh:])
        return Rows.of(self.fastpath.newborn_rows(fresh))


def _check_callable(what: str, function: object) -> None:
    if not callable(function):
        raise SettingsError(f"{what}: {function!r:.80} is no function")


def _numbers(given: Any, count: int) -> NDArray[Any] | None:
    """count integers that a function gave, as an array; None: it did not."""
    try:
        found = np.asarray(given if isinstance(given, np.ndarray) else list(given))
    except (TypeError, ValueError):
        return None
    return found if found.shape == (count,) and found.dtype.kind in "iu" else None


def _answers(given: Any, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8[count] of what an inspector gave. Raises DataError."""
    found = _numbers(given, count)
    if found is None or not 0 <= found.min() <= found.max() < len(Answer):
        raise DataError(f"inspect: {count} questions want {count} of Answer: the function gave"
                        f" {given!r:.80}")
    return found.astype(np.uint8)
