"""Sinks: the files that are written while packets are judged.

    write      what was forwarded, as pcap
    verdicts   a row a packet
    sessions   a row a session that ever lived

Law: a file that cannot be written on - a full disk, frames that do not fit it - is given up and
named in ``lost``; the run and the other files go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fwcore._fastpath import EndCause, Reason, Verdict
from fwcore.capture import Chunk, PcapWriter
from fwcore.counters import address_text, key_text, state_name
from fwcore.errors import FwcoreError, PipeClosed
from fwcore.replay.judged import Judged
from fwcore.rows import RowFile
from fwcore.words import CLASSES

VERDICTS = np.array([member.name.lower() for member in Verdict])
REASONS = np.array([member.name.lower() for member in Reason])


class Sinks:
    """Opened before the first packet; what is not committed is discarded."""

    def __init__(
        self, write: str | None, verdicts: str | None, sessions: str | None,
        addresses: bool = False,
    ) -> None:
        self._addresses = addresses
        self.lost: list[dict[str, str]] = []
        self.pipe_closed = False
        self._files: dict[str, Any] = {}
        kinds = (("write", PcapWriter, write), ("verdicts", RowFile, verdicts),
                 ("sessions", RowFile, sessions))
        try:
            for name, kind, path in kinds:
                if path:
                    self._files[name] = kind(path)
            if "verdicts" in self:      # columns have their names, also where no packet comes
                none = np.zeros(0, np.uint64)
                self.take(Judged(Chunk.from_frames([], []), np.zeros((0, 2), np.uint8), none,
                                 none.astype(np.uint8), none))
        except BaseException:
            self._discard()
            raise

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def take(self, judged: Judged, shown: NDArray[np.bool_] | None = None) -> None:
        """A judged chunk; ``shown`` bool[n]: which packets have a row, None: all."""
        if "write" in self:
            self._each("write", PcapWriter.write, judged.chunk,
                       judged.outcome[:, 0] != Verdict.DROP)
        if "verdicts" in self:
            self._each("verdicts", RowFile.write, verdict_columns(judged, shown, self._addresses))

    def take_sessions(self, blocks: Iterable[NDArray[Any]]) -> None:
        """Sessions (``SESSION_DTYPE``) that ended, or still stand at the end."""
        for rows in blocks:
            self._each("sessions", RowFile.write, session_columns(rows))

    def commit(self) -> None:
        """All files are whole."""
        for name in list(self._files):
            self._each(name, type(self._files[name]).close)
        self._files.clear()

    def _each(self, name: str, do: Callable[..., Any], *given: Any) -> None:
        file = self._files.get(name)
        if file is None:
            return
        try:
            do(file, *given)
        except PipeClosed:
            self.pipe_closed = True
            self._files.pop(name).discard()
        except FwcoreError as error:
            self.lost.append({"path": file.path, "message": str(error)})
            self._files.pop(name).discard()

    def _discard(self) -> None:
        for file in self._files.values():
            file.discard()
        self._files.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._discard()


def verdict_columns(
    judged: Judged, shown: NDArray[np.bool_] | None = None, addresses: bool = False
) -> dict[str, Any]:
    """A row a packet; ``addresses``: with whom it is from and to."""
    columns = {
        "packet": judged.number, "time_ns": judged.chunk.time_ns, "length": judged.chunk.length,
        "verdict": VERDICTS[judged.outcome[:, 0]], "reason": REASONS[judged.outcome[:, 1]],
        "flow": judged.flow,
    }
    if addresses:
        rows = judged.rows
        columns |= {
            "source": _address_texts(rows, "source"), "source_port": rows["source_port"],
            "destination": _address_texts(rows, "destination"),
            "destination_port": rows["destination_port"], "protocol": rows["protocol"]}
    return columns if shown is None else {name: each[shown] for name, each in columns.items()}


def _address_texts(rows: NDArray[Any], side: str) -> NDArray[Any]:
    """Addresses as text, each distinct one written once; "" where there is none."""
    words = np.column_stack([rows["family"].astype(np.uint64), rows[side]])
    known, place = np.unique(words, axis=0, return_inverse=True)
    texts = [address_text(high << 64 | low, family) if family else ""
             for family, high, low in known.tolist()]
    found: NDArray[Any] = np.array(texts or [""], dtype=str)[place.reshape(-1)]
    return found


def session_columns(rows: NDArray[Any]) -> dict[str, Any]:
    """Sessions (``SESSION_DTYPE``) as columns for a file or a table; cause ``live`` while it is."""
    causes = [EndCause(c).name.lower() if c != 255 else "live" for c in rows["cause"].tolist()]
    return {
        "key": [key_text(row) for row in rows],
        "state": [state_name(state) for state in rows["state"].tolist()],
        "policy": rows["policy"], "inspection": [CLASSES[i] for i in rows["inspection"]],
        "cause": causes, "created_packet": rows["created_packet"],
        "ended_packet": rows["ended_packet"], "created_ns": rows["created_ns"],
        "last_seen_ns": rows["last_seen_ns"], "ended_ns": rows["ended_ns"],
        "packets_forward": rows["packets"][:, 0], "packets_reply": rows["packets"][:, 1],
        "bytes_forward": rows["bytes"][:, 0], "bytes_reply": rows["bytes"][:, 1],
        "exposed": rows["exposed"], "flow": rows["flow"],
    }
