"""Sinks: the files that are written while packets are judged.

    write       what was forwarded, as pcap; with shaping what left, when it left
    verdicts    a row a packet
    departures  a row for each link that a packet ended at
    sessions    a row a session that ever lived

Law: a file that cannot be written on - a full disk, frames that do not fit it, no memory for its
rows - is given up and named in ``lost``; the run and the other files go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fwcore._columns import address_texts, key_texts
from fwcore._layout import EndCause, Reason, TcpState, Verdict
from fwcore._shaper import DEPARTURE_DTYPE
from fwcore.capture import Chunk, capture_writer
from fwcore.counters import state_name
from fwcore.errors import FwcoreError, PipeClosed
from fwcore.replay.behind import Behind
from fwcore.replay.judged import Judged
from fwcore.rows import RowFile, Texts, Words
from fwcore.words import CLASSES

if TYPE_CHECKING:
    from fwcore.replay.releases import Releases

VERDICTS = tuple(member.name.lower() for member in Verdict)
REASONS = tuple(member.name.lower() for member in Reason)
STATES = tuple(state_name(state) for state in TcpState)
CAUSES = (*(member.name.lower() for member in EndCause), "live")
BLOCK_SESSIONS = 1 << 14       # sessions whose columns are made at a time


class Sinks:
    """Opened before the first packet; what is not committed is discarded. ``behind``: files that
    nobody sees before they are whole are written in a thread of their own."""

    def __init__(
        self, write: str | None = None, verdicts: str | None = None,
        sessions: str | None = None,
        addresses: bool = False, departures: str | None = None,
        releases: Releases | None = None, behind: bool = False,
    ) -> None:
        self._addresses = addresses
        self._releases = releases
        self.lost: list[dict[str, str]] = []
        self.pipe_closed = False
        self._files: dict[str, Any] = {}
        kinds = (("write", capture_writer, write), ("verdicts", RowFile, verdicts),
                 ("departures", RowFile, departures), ("sessions", RowFile, sessions))
        try:
            for name, kind, path in kinds:
                if path:
                    self._files[name] = kind(path)
            self._heads()
        except BaseException:
            self._discard()
            raise
        # A link's frames lie in room that is used again.
        self._behind = Behind() if behind and releases is None and self._files and all(
            file.placed for file in self._files.values()) else None
        for name, file in self._files.items():
            if self._behind is not None and isinstance(file, RowFile):
                self._behind.do(partial(self._each, name, RowFile.prepare))

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def _heads(self) -> None:
        """Columns have their names, also where no packet comes."""
        if "verdicts" in self:
            columns = verdict_columns(_nothing(), None, self._addresses)
            if self._releases is not None:
                columns = self._releases.header(columns)
            self._each("verdicts", lambda file: file.write(columns))
        if "departures" in self:
            from fwcore.replay.releases import departure_columns

            self._each("departures", lambda file: file.write(departure_columns(
                np.zeros(0, DEPARTURE_DTYPE), np.zeros(0, np.uint64), ())))

    def take(
        self, judged: Judged, shown: NDArray[np.bool_] | None = None,
        numbers: Callable[[Any], NDArray[np.uint64]] = np.asarray,
    ) -> None:
        """A judged chunk; ``shown`` bool[n]: which packets have a row, None: all. ``numbers``
        gives the run's packets their numbers in the capture."""
        if self._releases is not None:
            self._take_shaped(self._releases, judged, shown, numbers)
            return
        self._soon(partial(self._write_judged, judged, shown))

    def _soon(self, write: Callable[[], None]) -> None:
        """Writes behind who judges, where that may be."""
        if self._behind is None:
            write()
        elif self._files:
            self._behind.do(write)

    def _write_judged(self, judged: Judged, shown: NDArray[np.bool_] | None) -> None:
        self._each("write", lambda file: file.write(
            judged.chunk, judged.outcome[:, 0] != Verdict.DROP))
        self._each("verdicts", lambda file: file.write(
            verdict_columns(judged, shown, self._addresses)))

    def drained(self, numbers: Callable[[Any], NDArray[np.uint64]]) -> None:
        """What waited at the end has left."""
        if self._releases is not None:
            self._take_shaped(self._releases, _nothing(), None, numbers)
            self._releases.close()

    def _take_shaped(
        self, releases: Releases, judged: Judged, shown: NDArray[np.bool_] | None,
        numbers: Callable[[Any], NDArray[np.uint64]],
    ) -> None:
        """The same where links hold packets; without packets: what left since."""
        columns = {}
        if "verdicts" in self and len(judged.chunk):
            columns = verdict_columns(judged, None, self._addresses)
        frames, rows, departures = releases.take(judged, (columns, shown))
        if frames is not None:
            self._each("write", lambda file: file.write(frames))
        self._each("verdicts", lambda file: [file.write(each) for each in rows])
        if len(departures):
            from fwcore.replay.releases import departure_columns

            self._each("departures", lambda file: file.write(departure_columns(
                departures, numbers(departures["packet"]), releases.links)))

    def take_sessions(self, blocks: Iterable[NDArray[Any]]) -> None:
        """Sessions (``SESSION_DTYPE``) that ended, or still stand at the end."""
        for rows in blocks:
            for begin in range(0, max(1, len(rows)), BLOCK_SESSIONS):   # none: the columns
                self._soon(partial(self._write_sessions, rows[begin:begin + BLOCK_SESSIONS]))

    def _write_sessions(self, rows: NDArray[Any]) -> None:
        self._each("sessions", lambda file: file.write(session_columns(rows)))

    def commit(self) -> None:
        """All files are whole."""
        if self._behind is not None:
            self._behind.end()
        for name in list(self._files):
            self._each(name, type(self._files[name]).close)
        self._files.clear()

    def _each(self, name: str, do: Callable[[Any], Any]) -> None:
        """Does something to a file, where it is wanted and was not given up."""
        file = self._files.get(name)
        if file is None:
            return
        try:
            do(file)
        except PipeClosed:
            self.pipe_closed = True
            self._files.pop(name).discard()
        except (FwcoreError, MemoryError) as error:
            message = (str(error) if isinstance(error, FwcoreError)
                       else f"{file.path}: writing failed (not enough memory)")
            self.lost.append({"path": file.path, "message": message})
            self._files.pop(name).discard()

    def _discard(self) -> None:
        for file in self._files.values():
            file.discard()
        self._files.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        try:
            if self._behind is not None:
                if error is not None:
                    self._behind.drop(error)
                self._behind.stop()
        finally:
            self._discard()


def _nothing() -> Judged:
    """A chunk without a packet."""
    none = np.zeros(0, np.uint64)
    return Judged(Chunk.from_frames([], []), np.zeros((0, 2), np.uint8), none,
                  none.astype(np.uint8))


def verdict_columns(
    judged: Judged, shown: NDArray[np.bool_] | None = None, addresses: bool = False
) -> dict[str, Any]:
    """A row a packet; ``addresses``: with whom it is from and to."""
    columns: dict[str, Any] = {
        "packet": judged.number, "time_ns": judged.chunk.time_ns, "length": judged.chunk.length,
        "verdict": Words(judged.outcome[:, 0], VERDICTS),
        "reason": Words(judged.outcome[:, 1], REASONS),
        "flow": judged.flow,
    }
    if addresses:
        rows = judged.rows
        columns |= {
            "source": _address_texts(rows, "source"), "source_port": rows["source_port"],
            "destination": _address_texts(rows, "destination"),
            "destination_port": rows["destination_port"], "protocol": rows["protocol"]}
    return columns if shown is None else {name: each[shown] for name, each in columns.items()}


def _address_texts(rows: NDArray[Any], side: str) -> Texts:
    """Addresses as text; "" where there is none."""
    return Texts(*address_texts(rows[side][:, 0], rows[side][:, 1], rows["family"]))


def session_columns(rows: NDArray[Any]) -> dict[str, Any]:
    """Sessions (``SESSION_DTYPE``) as columns for a file or a table; cause ``live`` while it is."""
    return {
        "key": Texts(*key_texts(rows)), "state": Words(rows["state"], STATES),
        "policy": rows["policy"], "inspection": Words(rows["inspection"], CLASSES),
        "cause": Words(np.minimum(rows["cause"], len(CAUSES) - 1), CAUSES),
        "created_packet": rows["created_packet"],
        "ended_packet": rows["ended_packet"], "created_ns": rows["created_ns"],
        "last_seen_ns": rows["last_seen_ns"], "ended_ns": rows["ended_ns"],
        "packets_forward": rows["packets"][:, 0], "packets_reply": rows["packets"][:, 1],
        "bytes_forward": rows["bytes"][:, 0], "bytes_reply": rows["bytes"][:, 1],
        "exposed": rows["exposed"], "flow": rows["flow"],
    }
