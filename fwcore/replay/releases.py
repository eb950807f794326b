"""What leaves links while a capture is judged, and what became of packets after their verdict.

    judged chunk --> frames at a link wait here, copied; the others leave as they come
                 --> rows of --verdicts wait in a spool until all of a chunk have their fate
    departures   --> frames are written in the order of their release, fates are noted

Memory: the frames that wait, which are as many as the queues hold; rows wait in temporary files.
What links release stands between the packets as it happened, however the capture was cut.
"""

from __future__ import annotations

import pickle
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fwcore import _shaper
from fwcore._capture import capture_pack
from fwcore._columns import mark_frames
from fwcore._layout import Verdict
from fwcore.capture import Chunk

if TYPE_CHECKING:
    from fwcore.engine import Engine
    from fwcore.replay.judged import Judged

RECORD = 16                    # bytes before a frame of a pcap
PASSED_ON = _shaper.FATES.index("passed_on")
SENT = _shaper.FATES.index("sent")
FATES = np.array([*_shaper.FATES, ""])
UNDECIDED, NO_FATE = 254, len(_shaper.FATES)
FATE = np.dtype([("release_ns", "<i8"), ("fate", "u1")])
NONE = -1


def packed(chunk: Chunk, chosen: NDArray[np.int64]) -> Chunk:
    """Copies of the chosen frames (indices), side by side."""
    captured = chunk.captured[chosen]
    out = np.empty(RECORD * len(chosen) + int(captured.sum(dtype=np.uint64)), np.uint8)
    capture_pack(chunk.data, chunk.offset, chunk.captured, chunk.length,
                 np.zeros(len(chunk), np.int64), chosen, out)
    ends = np.cumsum(captured.astype(np.uint64) + np.uint64(RECORD))
    return Chunk(out, ends - captured, captured, chunk.length[chosen], chunk.time_ns[chosen],
                 chunk.link[chosen])


def leaving_order(
    departed: NDArray[np.int64], before: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """In which order packets go out: those that links let go, and those that no link held.

    ``departed`` int64[n]: numbers of the former's rows, from 0; ``before`` uint64[m]: how many rows
    there were when each of the latter came, which goes behind those. int64[n + m], places among
    the n and then the m.
    """
    return np.argsort(
        np.concatenate([2 * departed + 1, 2 * before.astype(np.int64)]), kind="stable")


# --- rows of --verdicts ---------------------------------------------------------------------------


class Spool:
    """Rows of packets, in order, until every one of a chunk has its fate."""

    def __init__(self) -> None:
        self._columns: Any = tempfile.TemporaryFile()  # noqa: SIM115 - see close
        self._file: Any = tempfile.TemporaryFile()  # noqa: SIM115
        self._first: list[int] = []                 # packet of each chunk that waits
        self._open: list[int] = []                  # its packets without a fate
        self._place: deque[int] = deque()
        self._origin = self._rows = 0               # the packet of the first row; rows in the file

    def put(self, first: int, columns: Any, fates: NDArray[Any]) -> None:
        """A chunk; ``fates`` FATE[n], UNDECIDED for packets that wait."""
        if not self._first:
            self._origin, self._rows = first, 0
            self._columns.seek(0)
        self._file.seek(self._rows * FATE.itemsize)   # a map leaves it at the end of older rows
        self._first.append(first)
        self._open.append(int((fates["fate"] == UNDECIDED).sum()))
        self._place.append(self._columns.tell())
        pickle.dump(columns, self._columns)
        self._file.write(fates.tobytes())
        self._rows += len(fates)

    def note(self, packets: NDArray[np.uint64], fates: NDArray[Any]) -> None:
        """Packets that waited have their fate now."""
        if not len(packets):
            return
        self._file.flush()
        rows = np.memmap(self._file, FATE, "r+", shape=(self._rows,))
        rows[packets - np.uint64(self._origin)] = fates
        chunks, counts = np.unique(
            np.searchsorted(np.array(self._first, np.uint64), packets, "right") - 1,
            return_counts=True)
        for chunk, count in zip(chunks.tolist(), counts.tolist(), strict=True):
            self._open[chunk] -= count

    def ready(self) -> Iterator[tuple[Any, NDArray[Any]]]:
        """Chunks from the front on that are whole: columns, FATE[n]."""
        while self._open and self._open[0] == 0:
            end = self._first[1] if len(self._first) > 1 else self._origin + self._rows
            begin = self._first.pop(0)
            self._open.pop(0)
            self._file.flush()
            rows = np.array(np.memmap(
                self._file, FATE, "r", (begin - self._origin) * FATE.itemsize, (end - begin,)))
            back = self._columns.tell()
            self._columns.seek(self._place.popleft())
            columns = pickle.load(self._columns)
            self._columns.seek(back)
            yield columns, rows

    def close(self) -> None:
        self._columns.close()
        self._file.close()


# --- frames ---------------------------------------------------------------------------------------


class Frames:
    """Frames that wait at links, and the order in which frames leave."""

    def __init__(self) -> None:
        self._chunk = Chunk.from_frames([], [])
        self._number = np.zeros(0, np.uint64)
        self._departed = 0

    def leave(
        self, judged: Judged, arrivals: NDArray[Any], first: int, departures: NDArray[Any],
    ) -> Chunk:
        """What leaves with this chunk: at its release time, with its mark, in that order."""
        at = (arrivals["packet"] - np.uint64(first)).astype(np.int64)
        passed = judged.outcome[at, 0] != Verdict.DROP
        held = passed & (arrivals["link"] != _shaper.NO_LINK)
        pool = Chunk.concatenate([self._chunk, judged.chunk])
        base = len(self._chunk)
        number = np.concatenate([
            self._number, np.arange(first, first + len(judged.chunk), dtype=np.uint64)])
        gone = departures["fate"] == SENT
        free = arrivals[passed & ~held]
        packets = np.concatenate([departures["packet"][gone], free["packet"]])
        order = leaving_order(self._departed + np.flatnonzero(gone), free["departed"])
        self._departed += len(departures)
        chosen = np.searchsorted(number, packets)[order]
        out = packed(pool, chosen)
        out.time_ns[:] = np.concatenate([departures["time_ns"][gone], free["time_ns"]])[order]
        mark_frames(out, np.concatenate([departures["dscp"][gone], free["mark"]])[order],
                    _shaper.UNMARKED)
        waits = np.concatenate([np.ones(base, bool), np.zeros(len(judged.chunk), bool)])
        waits[base + at[held]] = True
        ended = departures["packet"][departures["fate"] != PASSED_ON]
        waits[np.searchsorted(number, ended)] = False
        self._number = number[waits]
        self._chunk = packed(pool, np.flatnonzero(waits))
        return out


class Releases:
    """Files of a replay whose settings shape: who asks is ``Sinks``."""

    def __init__(self, engine: Engine, *, frames: bool, rows: bool) -> None:
        self._engine = engine
        self.meters, self.links = engine.shaping_names()
        self._frames = Frames() if frames else None
        self._spool = Spool() if rows else None
        self._packets = 0

    def take(
        self, judged: Judged, columns: Any,
    ) -> tuple[Chunk | None, list[Any], NDArray[Any]]:
        """A judged chunk: frames that leave, rows that are whole, departures.

        ``columns``: of its rows, in a pair with those that are shown (bool[n], None: all).
        """
        arrivals, departures = self._engine.arrivals(), self._engine.departures()
        first = self._packets + 1
        self._packets += len(judged.chunk)
        if self._spool is not None and len(judged.chunk):
            self._put(judged, columns, first, arrivals)
        if self._spool is not None:
            ends = departures[departures["fate"] != PASSED_ON]
            fates = np.zeros(len(ends), FATE)
            fates["release_ns"] = np.where(ends["fate"] == SENT, ends["time_ns"], NONE)
            fates["fate"] = ends["fate"]
            self._spool.note(ends["packet"], fates)
        frames = None
        if self._frames is not None:
            frames = self._frames.leave(judged, arrivals, first, departures)
        rows = [] if self._spool is None else [
            self._columns(fates, *held) for held, fates in self._spool.ready()]
        return frames, rows, departures

    def _put(self, judged: Judged, columns: Any, first: int, arrivals: NDArray[Any]) -> None:
        at = (arrivals["packet"] - np.uint64(first)).astype(np.int64)
        passed = judged.outcome[at, 0] != Verdict.DROP
        held = passed & (arrivals["link"] != _shaper.NO_LINK)
        fates = np.zeros(len(judged.chunk), FATE)
        fates["fate"], fates["release_ns"] = NO_FATE, NONE
        fates["release_ns"][at[passed]] = arrivals["time_ns"][passed]
        fates["fate"][at[held]] = UNDECIDED
        assert self._spool is not None
        self._spool.put(first, (*columns, arrivals, at), fates)

    def _columns(
        self, fates: NDArray[Any], columns: dict[str, Any], shown: NDArray[np.bool_] | None,
        arrivals: NDArray[Any], at: NDArray[np.int64],
    ) -> dict[str, Any]:
        """A row a packet: what it met, and its fate."""
        met = np.zeros(len(fates), _shaper.ARRIVAL_DTYPE)
        met["link"], met["meter"], met["mark"] = _shaper.NO_LINK, _shaper.NO_METER, 255
        met["colour"] = 255
        met[at] = arrivals
        last = met["meter"] != _shaper.NO_METER     # the last that was asked decides
        place = last.shape[1] - 1 - np.argmax(last[:, ::-1], axis=1)
        rows = np.arange(len(met))
        held = met["link"] != _shaper.NO_LINK
        release = fates["release_ns"]
        made = columns | {
            "meter": np.array([*self.meters, ""])[np.where(
                last.any(axis=1), met["meter"][rows, place], len(self.meters))],
            "colour": _where(last.any(axis=1), met["colour"][rows, place]),
            "link": np.array([*self.links, ""])[np.where(held, met["link"], len(self.links))],
            "class": _where(held, met["cls"]),
            "release_ns": _where(release != NONE, release),
            "wait_ns": _where(release != NONE, np.where(
                at_index(met, at), release - met["time_ns"], 0)),
            "fate": FATES[fates["fate"]],
            "dscp": _where(met["mark"] != _shaper.UNMARKED, met["mark"]),
        }
        return made if shown is None else {name: each[shown] for name, each in made.items()}

    def header(self, columns: dict[str, Any]) -> dict[str, Any]:
        """The columns' names, without a row."""
        none = np.zeros(0, np.int64)
        return self._columns(np.zeros(0, FATE), columns, None,
                             np.zeros(0, _shaper.ARRIVAL_DTYPE), none)

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()


def departure_columns(
    rows: NDArray[Any], number: NDArray[np.uint64], links: Sequence[str],
) -> dict[str, Any]:
    """A row for each link that a packet ended at; ``number``: the packets' in the capture.

    ``ce``: 1 where CoDel has set congestion experienced, here or at a link before.
    """
    mark = rows["dscp"]
    return {
        "packet": number, "time_ns": rows["time_ns"], "link": np.array([*links, ""])[rows["link"]],
        "class": rows["class"], "fate": FATES[rows["fate"]],
        "dscp": _where(mark < _shaper.MARKED_CE_ALONE, mark % _shaper.MARKED_CE),
        "ce": ((mark >= _shaper.MARKED_CE) & (mark != _shaper.UNMARKED)).astype(np.uint8)}


def at_index(met: NDArray[Any], at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool[n]: the packets that came to meters or links."""
    found = np.zeros(len(met), bool)
    found[at] = True
    return found


def _where(known: NDArray[np.bool_], values: NDArray[Any]) -> np.ma.MaskedArray[Any, Any]:
    """Values where they are known; an empty cell elsewhere."""
    return np.ma.MaskedArray(values, mask=~known)
