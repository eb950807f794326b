"""Sessions of an engine as others see them: looked up, gone through, ended.

A session is named by its flow, in either direction: text (``10.0.0.5:4321-203.0.113.9:443/tcp``),
a ``Flow``, a 5-tuple, a row of ``sessions()``, or the number that a row has as ``flow``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_network
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore import arguments
from fwcore._layout import SESSION_DTYPE, EndCause, TcpState
from fwcore._use import exclusive, unclosed, undivided
from fwcore.engine_control import HOSTS_IN_SNAPSHOT, Control, told
from fwcore.errors import FlowError, SettingsError
from fwcore.flow import Flow, flow_key, key_of, parse
from fwcore.tables import Rows
from fwcore.words import nearest, protocol_number

FlowLike = str | Flow | int | np.integer[Any] | np.void | tuple[Any, ...]
Where = Callable[[Rows], NDArray[np.bool_]] | Mapping[str, Any]

BLOCK = 1 << 16            # sessions that are looked at together
BULK = 4096                # from so many sessions on a table is cleared as a whole
EITHER = {"host": ("initiator", "responder"), "port": ("initiator_port", "responder_port")}


class Sessions(Control):
    """The part of an engine that knows its sessions."""

    @unclosed
    def __len__(self) -> int:
        """Sessions that live."""
        return self.fastpath.live

    def __bool__(self) -> bool:
        """Always true: an engine without sessions is an engine still."""
        return True

    def __iter__(self) -> Iterator[np.void]:
        """The sessions that live now, in order of creation: rows of ``sessions()``."""
        return iter(self.sessions().view(np.ndarray))     # its rows are np.void, faster

    def __contains__(self, flow: object) -> bool:
        """Whether a session of this flow lives."""
        return self._found(flow) is not None

    @exclusive
    def _found(self, flow: Any) -> int | None:
        return self.fastpath.locate(_name_of(flow))

    @exclusive
    def sessions(self, where: Where | None = None, limit: int | None = None) -> Rows:
        """The live sessions, in order of creation: a structured array, a copy. As a table
        for people: ``columns()``, ``to_pandas()``, ``to_arrow()``, ``pandas.DataFrame(rows)``.

        Fields: ``initiator`` and ``responder`` uint8[16] in network order (IPv4 in the first
        four); ``initiator_port``, ``responder_port`` (of ICMP what stands for them), ``zone``,
        ``protocol`` (by number), ``family`` (4 or 6); ``policy`` (its id), ``state`` (TcpState),
        ``inspection`` (bits: 1 flow, 2 proxy), ``cause`` (EndCause; 255: live), ``exposed`` (a bit
        for each Exposure); ``flow`` (keyed hash, the same both ways); ``created_ns``,
        ``last_seen_ns``, ``ended_ns`` (0: live); ``created_packet``, ``ended_packet`` (numbers from
        1; 0: none); ``bytes`` and ``packets`` (forward, reply). Of those who ended ``victims``,
        ``ended`` and ``on`` have the same.

        ``where``: field -> value, or several of which one has to be it; ``initiator`` and
        ``responder`` as addresses or networks, ``host`` and ``port`` at either end, ``protocol``
        and ``state`` by name. Or a function of rows that says which (bool[n]); it may not call the
        engine. ``limit``: the oldest so many of them. Raises FlowError.
        """
        if limit is not None:
            limit = arguments.whole("sessions: limit", limit, 0, FlowError)
        if where is not None and not callable(where) and not isinstance(where, Mapping):
            raise FlowError(f"sessions: {type(where).__name__} says of no field what it is to be:"
                            " {'host': '10.0.0.5'} is asked for, or a function of rows")
        if where is None and limit is None:
            return Rows.of(self.fastpath.live_sessions()[1])
        chosen = where if callable(where) else chooser(where or {})
        numbers = self.fastpath.live_records()
        if where is None:
            return Rows.of(self.fastpath.rows_of(numbers[:limit]))
        found, count = [np.zeros(0, SESSION_DTYPE)], 0
        for begin in range(0, len(numbers), BLOCK):
            rows = Rows.of(self.fastpath.rows_of(numbers[begin:begin + BLOCK]))
            found.append(rows[_mask(chosen(rows), len(rows))])
            count += len(found[-1])
            if limit is not None and count >= limit:
                break
        return Rows.of(np.concatenate(found)[:limit])

    @exclusive
    def lookup(
        self, source: str, source_port: int, destination: str, destination_port: int,
        protocol: str | int = "tcp", zone: int = 0,
    ) -> np.void | None:
        """The session of a 5-tuple, in either direction, or None. A row of ``sessions``."""
        return self.fastpath.find(
            flow_key(source, source_port, destination, destination_port, protocol, zone))

    @exclusive
    @told
    @undivided
    def end(self, *flows: FlowLike) -> int:
        """Ends the sessions of these flows (``cleared``), in this order; how many there were.

        Raises FlowError for what names no flow, and ends none then.
        """
        self._answer()
        found = [self.fastpath.locate(_name_of(flow)) for flow in flows]
        numbers = [number for number in dict.fromkeys(found) if number is not None]
        self.fastpath.end_sessions(np.array(numbers, np.uint32), int(EndCause.CLEARED))
        self._by_hand()
        return len(numbers)

    @exclusive
    @told
    @undivided
    def clear(self) -> int:
        """Ends every session (``cleared``), oldest first; how many.

        The clock stays, also after a frame of a far future: what is earlier is ``time_reversed``.
        After ``restart`` it takes the time of the next packet.
        """
        self._answer()
        return self._clear()

    def _clear(self, most: int | None = None, queues: bool = True) -> int:
        """Ends the oldest ``most``, or all; how many. ``queues``: what waits is cleared."""
        one_by_one = (self._log or self.fastpath.shaper is not None
                      or self.fastpath.inspector is not None)
        if most is not None or one_by_one or self.fastpath.live < BULK:
            numbers = self.fastpath.live_records()
            numbers = numbers if most is None else numbers[:max(0, most)]
            self.fastpath.end_sessions(numbers, int(EndCause.CLEARED))
            ended = len(numbers)
        else:
            ended = self.fastpath.clear()
        if queues:
            self.fastpath.let_leave(clear=True)
        if ended or (queues and self.fastpath.shaper is not None):
            self._by_hand()
        return ended

    # --- those that ended ---

    @exclusive
    def victims(self) -> Rows:
        """The victim ledger, oldest first: sessions evicted, taken by tension, or killed."""
        return Rows.of(self.fastpath.victims())

    @exclusive
    @undivided
    def ended(self, since: int = 0) -> Rows:
        """Sessions that ended, in order (see ``log``), without the first ``since`` of the run.

        To be told of each once: ``rows = engine.ended(seen); seen += len(rows)``. They are kept
        until ``collect_ended`` takes them. Raises SettingsError where no log was asked for, and
        DataError.
        """
        since = arguments.whole("ended: since", since)
        if not self._log:
            raise SettingsError("ended: the engine keeps no log: Engine(..., log=True)")
        self._collect()
        rows = np.concatenate([np.zeros(0, SESSION_DTYPE), *self._ended])
        self._ended = [rows] if len(rows) else []
        return Rows.of(rows[max(0, since - self._ended_before):].copy())

    @exclusive
    @undivided
    def collect_ended(self) -> list[Rows]:
        """Sessions that ended since the last call (see ``log``), in order, by blocks."""
        self._collect()
        ended, self._ended = self._ended, []
        self._ended_before += sum(map(len, ended))
        return [Rows.of(rows) for rows in ended]

    @exclusive
    def top_hosts(self, count: int = HOSTS_IN_SNAPSHOT) -> list[dict[str, Any]]:
        """Initiators with most live sessions: [{host, sessions}]. Raises DataError."""
        return self._top_hosts(arguments.whole("top_hosts", count))


# --- which sessions -------------------------------------------------------------------------------


def _mask(given: Any, count: int) -> NDArray[np.bool_]:
    """bool[count] that a function of rows gave. Raises FlowError."""
    if not isinstance(given, np.ndarray) or given.dtype.kind != "b" or given.shape != (count,):
        raise FlowError(f"sessions: {count} rows want bool[{count}], which of them: the function"
                        f" gave {given!r:.80}")
    return given


def _name_of(flow: Any) -> tuple[int, ...] | int:
    """A flow in the form ``FastPath.locate`` takes."""
    if isinstance(flow, np.void) and flow.dtype == SESSION_DTYPE:
        return int(flow["flow"])
    if isinstance(flow, int | np.integer) and not isinstance(flow, bool):
        if not 0 <= flow < 1 << 64:
            raise FlowError(f"flow {flow} is no number of 64 bits")
        return int(flow)
    if isinstance(flow, str):
        flow = parse(flow)
    if isinstance(flow, Flow):
        return key_of(flow)
    if isinstance(flow, tuple) and len(flow) in (5, 6):
        return flow_key(*flow)
    raise FlowError(
        f"{type(flow).__name__} names no flow; give text, a Flow, (source, port, destination, port,"
        " protocol), a row of sessions(), or its flow")


def chooser(where: Mapping[str, Any]) -> Callable[[Rows], NDArray[np.bool_]]:
    """A function of rows: which of them have what ``where`` asks for. Raises FlowError."""
    tests = []
    for name, value in where.items():
        fields = EITHER.get(name, (name,))
        if fields[0] not in (SESSION_DTYPE.names or ()):
            near = nearest(name, [*(SESSION_DTYPE.names or ()), *EITHER])
            raise FlowError(f"where: sessions have no {name!r}{near}")
        values = value if isinstance(value, list | tuple | set | frozenset) else (value,)
        tests.append((fields, [_test(fields[0], each) for each in values]))

    def chosen(rows: Rows) -> NDArray[np.bool_]:
        kept = np.ones(len(rows), dtype=bool)
        for fields, wanted in tests:
            kept &= np.any([test(rows, field) for test in wanted for field in fields]
                           or [np.zeros(len(rows), dtype=bool)], axis=0)
        return kept

    return chosen


def _test(field: str, value: Any) -> Callable[[Rows, str], NDArray[np.bool_]]:
    """One value of one field."""
    try:
        if field in ("initiator", "responder"):
            return _network_test(str(value))
        if field == "protocol":
            number = protocol_number(value)
        elif field == "state" and isinstance(value, str):
            number = TcpState[value.upper()]
        elif field in ("packets", "bytes"):
            raise FlowError(f"where: {field} are two, forward and reply; give a function of rows")
        else:
            number = int(value)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        if isinstance(error, FlowError):
            raise
        raise FlowError(f"where: {field}: {value!r} is none: {error}") from None
    return lambda rows, name: rows[name] == number


def _network_test(text: str) -> Callable[[Rows, str], NDArray[np.bool_]]:
    network = ip_network(text, strict=False)
    size = network.max_prefixlen // 8
    mask = np.frombuffer(network.netmask.packed, np.uint8)
    want = np.frombuffer(network.network_address.packed, np.uint8)
    return lambda rows, name: (rows["family"] == network.version) & (
        (rows[name][:, :size] & mask) == want).all(axis=1)
