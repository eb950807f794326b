"""What happened, as records, and how the vendor would have said it.

    Transition   a machine changed its mode
    Event        something worth a line: a transition, a full table, the IPS fail state, ...
    EventLog     either kind, bounded, with a count of what did not fit

A record is figures; its text is made afterwards, from the record, the settings and the snapshot
taken with it. Texts take no part in the digest of a run (``to_dict``), so wording may improve.
What the engine has no figure for is printed as the vendor prints "nothing": 0. Never invented.

Marks on texts: [K] FortiGate KB 198580, [H] FortiOS 5 online help, [R] public record (captures, log
references), [D] our words, where the vendor has none or none is known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Generic, NamedTuple, TypeVar

from fwcore.units import MB, MIB_PAGES, PAGE_BYTES, SECOND_NS
from fwcore.words import MODES

KINDS: Final = (
    "conserve_entered", "conserve_left", "extreme_entered", "extreme_left",
    "one_shot_latched", "one_shot_released", "ips_fail_open_entered", "ips_fail_open_left",
    "memory_warning", "memory_warning_cleared", "table_full", "table_full_ended",
    "idledrop", "configured", "restarted", "mode_forced", "mode_released",
)

# (from, to) -> kind. One event for one transition: extreme to off leaves conserve mode as a whole,
# so that entering and leaving it always pair.
KIND_OF_STEP: Final = {
    ("off", "on"): "conserve_entered",
    ("on", "off"): "conserve_left",
    ("on", "extreme"): "extreme_entered",
    ("extreme", "on"): "extreme_left",
    ("extreme", "off"): "conserve_left",
}


@dataclass(frozen=True, slots=True)
class Transition:
    """A machine changed its mode, seen when packet ``packet`` was judged or about to be.

    ``cause``: ``packet`` (it crossed the level; the next one sees the new gate), ``time``
    (something was due when it arrived; it sees the new gate) or ``start`` (packet 0).
    ``snapshot`` is what else was kept of the moment (memory by owner, sessions, hosts); it is part
    of the result, not of the digest.
    """

    packet: int
    time_ns: int
    cause: str
    machine: str
    from_mode: str
    to_mode: str
    used_pages: int
    freeable_pages: int
    free_pages: int
    snapshot: Mapping[str, Any] | None = None

    @property
    def kind(self) -> str:
        """The kind of event that this step is."""
        return KIND_OF_STEP[self.from_mode, self.to_mode]

    def to_dict(self) -> dict[str, Any]:
        """The digest's form: integers and names."""
        return {
            "packet": self.packet,
            "time_ns": self.time_ns,
            "cause": self.cause,
            "machine": self.machine,
            "from": self.from_mode,
            "to": self.to_mode,
            "used_pages": self.used_pages,
            "freeable_pages": self.freeable_pages,
            "free_pages": self.free_pages,
        }

    def to_result(self) -> dict[str, Any]:
        """The result's form: the digest's, and ``snapshot`` where some was kept."""
        return self.to_dict() | ({"snapshot": dict(self.snapshot)} if self.snapshot else {})

    def to_event(self, snapshot: Any = None) -> Event:
        """The event of this transition; it names the machine."""
        return Event(self.kind, self.packet, self.time_ns, self.machine, snapshot=snapshot)


@dataclass(frozen=True, slots=True)
class Event:
    """Something reported. ``figures`` are integers, units in their names.

    ``machine`` only where a machine's mode changed. For the text alone, and not part of the digest:
    ``snapshot``, the memory at that moment (total_pages, used_pages, cache_pages, free_pages), and
    ``followed``, counts of what came of it (a full table: packets ``refused``, sessions
    ``evicted``); who made the event fills them while the state lasts.
    """

    kind: str
    packet: int
    time_ns: int
    machine: str = ""
    figures: Mapping[str, int] = field(default_factory=dict)
    snapshot: Any = None
    followed: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The digest's form: kind, packet, time_ns, the machine if one is named, the figures."""
        record: dict[str, Any] = {
            "kind": self.kind, "packet": self.packet, "time_ns": self.time_ns
        }
        if self.machine:
            record["machine"] = self.machine
        return {**record, **self.figures}

    def to_result(self, settings: Any, thresholds: Thresholds | None = None) -> dict[str, Any]:
        """The result's form: the digest's, and ``text``."""
        return self.to_dict() | {"text": vendor_text(self, settings, thresholds=thresholds)}


Record = TypeVar("Record", Transition, Event)

TABLE_FULL_TEXT: Final = "connection table full"  # ours, and of devices that say nothing yet [D]

# Machine name -> its levels in pages, as the machines' thresholds() say.
Thresholds = Mapping[str, Mapping[str, int]]


class EventLog(Generic[Record]):
    """The first ``limit`` records, in order; later ones are counted in ``forgotten``.

    ``heard``: where every record is put as well, for somebody who listens.
    """

    __slots__ = ("_records", "forgotten", "heard", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.forgotten = 0
        self.heard: deque[Record] | None = None
        self._records: list[Record] = []

    def append(self, record: Record) -> None:
        if self.heard is not None:
            self.heard.append(record)
        if len(self._records) < self.limit:
            self._records.append(record)
        else:
            self.forgotten += 1

    @property
    def full(self) -> bool:
        """Whether the next record would only be counted: no need to make it in full."""
        return len(self._records) >= self.limit

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __getitem__(self, place: int) -> Record:
        return self._records[place]

    def to_dicts(self) -> list[dict[str, Any]]:
        """All records in the digest's form."""
        return [record.to_dict() for record in self._records]


# --- Text --------------------------------------------------------------------------------------


class _Line(NamedTuple):
    """What a text is made from."""

    event: Event
    settings: Any
    snapshot: Any
    thresholds: Thresholds

    def mib(self, name: str) -> int:
        """A figure of the snapshot, whole MB of 2**20 bytes, floored; 0 without a snapshot."""
        return getattr(self.snapshot, name, 0) // MIB_PAGES

    def level_mib(self, name: str) -> int:
        """A threshold of the event's machine, the same way; 0 where there is none."""
        return self.thresholds.get(self.event.machine, {}).get(name, 0) // MIB_PAGES

    def figure(self, name: str) -> int:
        return self.event.figures.get(name, 0)

    def followed(self, name: str) -> int:
        return self.event.followed.get(name, 0)


def vendor_text(
    event: Event | Transition,
    settings: Any,
    snapshot: Any = None,
    *,
    thresholds: Thresholds | None = None,
) -> str:
    """One line as the generation that ``settings`` describe would write it.

    ``snapshot`` stands in for the event's own. ``thresholds``: machine name -> levels in pages.
    """
    if isinstance(event, Transition):
        event = event.to_event()
    line = _Line(event, settings, snapshot or event.snapshot, thresholds or {})
    texts = _TEXTS[family(settings)]
    return (texts.get(event.kind) or _OURS[event.kind])(line)


def family(settings: Any) -> str:
    """Whose words to use: by the machine, and without one by the personality."""
    by_machine = {"unified": "fortios-7", "fortios-5": "fortios-5", "kernel+proxy": "fortios-4"}
    if settings.machine in by_machine:
        return by_machine[settings.machine]
    personality = getattr(settings, "personality", "plain")
    return personality if personality in ("cos-core", "linux-conntrack") else "plain"


# FortiOS 5.6 and later [R] ----------------------------------------------------------------------


def _log(line: _Line, logid: str, logdesc: str, fields: str, msg: str) -> str:
    """A line of the event log: header in capture time (UTC), then what the entry says."""
    time = datetime.fromtimestamp(line.event.time_ns // SECOND_NS, UTC)
    return (
        f'date={time:%Y-%m-%d} time={time:%H:%M:%S} eventtime={line.event.time_ns} tz="+0000"'
        f' logid="{logid}" type="event" subtype="system" level="critical" vd="root"'
        f' logdesc="{logdesc}" {fields}msg="{msg}"'
    )


def _memory_fields(line: _Line, conserve: str) -> str:
    return (
        f'service="kernel" conserve="{conserve}" total="{line.mib("total_pages")} MB"'
        f' used="{line.mib("used_pages")} MB" red="{line.level_mib("red")} MB"'
        f' green="{line.level_mib("green")} MB" '
    )


def _unified_entered(line: _Line) -> str:
    return _log(
        line, "0100022011", "Memory conserve mode entered", _memory_fields(line, "on"),
        "Kernel enters memory conserve mode",
    )


def _unified_left(line: _Line) -> str:
    # The id by pairing with 22011; not seen in a capture [R].
    return _log(
        line, "0100022012", "Memory conserve mode exited", _memory_fields(line, "exit"),
        "Kernel leaves memory conserve mode",
    )


def _logged(logid: str, logdesc: str, msg: str) -> Callable[[_Line], str]:
    """An entry without fields of its own."""
    return lambda line: _log(line, logid, logdesc, "", msg)


def _ips_action(line: _Line) -> str:
    # "drop" as captured, under fail-open disable [R]; "pass" for enable [D].
    return "pass" if line.settings.ips_fail_open else "drop"


def _unified_ips_entered(line: _Line) -> str:
    return _log(
        line, "0100022700", "IPS session scan paused", f'action="{_ips_action(line)}" ',
        "IPS session scan, enter fail open mode",
    )


# FortiOS 4 and 5 [K] ----------------------------------------------------------------------------


def _margins(line: _Line, conserve: str, msg: str) -> str:
    return (
        f'conserve={conserve} total={line.mib("total_pages")} free={line.mib("free_pages")}'
        f' entermargin={line.level_mib("enter")} exitmargin={line.level_mib("leave")} msg="{msg}"'
    )


def _old_entered(line: _Line) -> str:
    if line.event.machine == "kernel":
        return 'msg="The system has entered system conserve mode"'
    return _margins(line, "on", "The system has entered conserve mode")


def _old_left(line: _Line) -> str:
    if line.event.machine == "kernel":
        return 'msg="The system exited system conserve mode"'
    return _margins(line, "exit", "The system exited conserve mode")


def _old_ips_entered(line: _Line) -> str:
    return (
        'logid="0100022700" level="critical" logdesc="IPS session scan paused"'
        f' action="{_ips_action(line)}" msg="IPS session scan, enter fail open mode"'
    )


def _connection_limit(line: _Line) -> str:
    """The dashboard's line [K]: 0 seconds when the limit has just been reached."""
    seconds = line.figure("duration_ns") // SECOND_NS
    return f"FortiGate has reached system connection limit for {seconds} seconds"


# cOS Core [R]: ids, events and actions from its log reference ------------------------------------


def _cos_table_full(line: _Line) -> str:
    """What the full table did to connections: cOS says nothing of one that only fits exactly."""
    if line.followed("refused"):
        return "CONN: id=00600011 event=out_of_connections action=drop"
    if line.followed("evicted"):
        return "CONN: id=00600003 event=connection_table_full action=replacing_conn"
    return TABLE_FULL_TEXT


# Linux [R]: net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc -----------------------------


def _linux_table_full(line: _Line) -> str:
    """The kernel's line stands only where early drop found nothing and a packet was refused."""
    if line.followed("refused"):
        return "nf_conntrack: table full, dropping packet"
    return TABLE_FULL_TEXT


# Ours [D] ---------------------------------------------------------------------------------------


def _says(text: str) -> Callable[[_Line], str]:
    """A text without figures."""
    return lambda line: text


def _free_mb(line: _Line) -> int:
    """Free memory in MB of 10**6 bytes, as cOS counts, floored."""
    return getattr(line.snapshot, "free_pages", 0) * PAGE_BYTES // MB


def _memory_warning(line: _Line) -> str:
    return f"free memory is low: {_free_mb(line)} MB, below 100 MB"


def _memory_warning_cleared(line: _Line) -> str:
    return f"free memory is no longer low: {_free_mb(line)} MB"


def _table_full_ended(line: _Line) -> str:
    return f"connection table no longer full, after {line.figure('duration_ns') // SECOND_NS} s"


def _idledrop(line: _Line) -> str:
    return f"idledrop: ended {line.figure('sessions')} sessions of {line.figure('hosts')} hosts"


def _mode(verb: str) -> Callable[[_Line], str]:
    return lambda line: f"{line.event.machine}: {verb}"


_OURS: Final[dict[str, Callable[[_Line], str]]] = {
    "conserve_entered": _mode("conserve mode entered"),
    "conserve_left": _mode("conserve mode left"),
    "extreme_entered": _mode("extreme low memory mode entered"),
    "extreme_left": _mode("extreme low memory mode left"),
    "one_shot_latched": _says(
        "av-failopen one-shot: new sessions bypass the AV proxy until av-failopen is changed or"
        " the unit is restarted"
    ),
    "one_shot_released": _says("av-failopen one-shot: new sessions are scanned again"),
    "ips_fail_open_entered": _says("IPS session scan, enter fail open mode"),
    "ips_fail_open_left": _says("IPS session scan, exit fail open mode"),
    "memory_warning": _memory_warning,
    "memory_warning_cleared": _memory_warning_cleared,
    "table_full": _says(TABLE_FULL_TEXT),
    "table_full_ended": _table_full_ended,
    "idledrop": _idledrop,
    "configured": _says("configuration changed"),
    "restarted": _says("restarted"),
    "mode_forced": lambda line: f"mode held by the operator: {MODES[line.figure('mode')]}",
    "mode_released": _says("mode no longer held by the operator: memory decides"),
}

_OLD_FORTIOS: Final[dict[str, Callable[[_Line], str]]] = {
    "conserve_entered": _old_entered,
    "conserve_left": _old_left,
    "ips_fail_open_entered": _old_ips_entered,
    "ips_fail_open_left": _says(
        'logid="0100022701" level="critical" logdesc="IPS session scan resumed"'
        ' msg="IPS session scan, exit fail open mode"'
    ),
    "table_full": _connection_limit,
    "table_full_ended": _connection_limit,
}

# Family -> kind -> text; a kind that a family has no words for falls back to ours.
_TEXTS: Final[dict[str, dict[str, Callable[[_Line], str]]]] = {
    "fortios-7": {
        "conserve_entered": _unified_entered,
        "conserve_left": _unified_left,
        # Ids and descriptions from the log reference [R]; the first message from captures [R], the
        # others by analogy [D].
        "extreme_entered": _logged("0100022022", "Extreme low memory mode entered",
                                   "Kernel enters extreme low memory mode"),
        "extreme_left": _logged("0100022023", "Extreme low memory mode exited",
                                "Kernel leaves extreme low memory mode"),
        "ips_fail_open_entered": _unified_ips_entered,
        "ips_fail_open_left": _logged("0100022701", "IPS session scan resumed",
                                      "IPS session scan, exit fail open mode"),
        "table_full": _connection_limit,
        "table_full_ended": _connection_limit,
    },
    "fortios-5": _OLD_FORTIOS,
    "fortios-4": _OLD_FORTIOS,
    "cos-core": {"table_full": _cos_table_full},
    "linux-conntrack": {"table_full": _linux_table_full},
    "plain": {},
}
