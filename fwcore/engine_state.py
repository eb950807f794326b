"""A saved engine: everything that later packets depend on, in a format of its own.

    "FWCORE" 0 5 | length of the header | header, JSON | tables, one after the other | BLAKE2b-128

The header has settings, policies, what the control plane knows, figures, and for each table its
name, fields and rows. Nothing in it is run, and nothing is believed: the checksum is looked at
first, every number before it is used, and at the end every law must hold. Sessions are linked anew
(``dataplane/keep.pxd``), so that no index comes from a file.

Law: what follows is, to the digest, what would have followed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from fwcore import conserve
from fwcore._fastpath_state import STATE_DTYPES
from fwcore._layout import LATEST_NS, SESSION_DTYPE, EndCause, TcpState
from fwcore._shaper import ARRIVAL_DTYPE, DEPARTURE_DTYPE, FATES, WHYS
from fwcore.engine_control import Control
from fwcore.errors import FwcoreError, StateError
from fwcore.events import KIND_OF_STEP, KINDS, Event, EventLog, Transition
from fwcore.schema import (
    COUNT,
    FLAG,
    MODE,
    TEXT,
    anything,
    check,
    either,
    integer,
    listed,
    named,
    one_of,
    rows,
)
from fwcore.words import MODES

MAGIC = b"FWCORE\0\5"
DIGEST_BYTES = 16
HEADER_MAX = 1 << 30
FILE_MOST = 1 << 36         # bytes: beyond any table that can be had
Tables = dict[str, np.ndarray[Any, np.dtype[Any]]]
DTYPES = {**STATE_DTYPES, "ended": SESSION_DTYPE, "departures": DEPARTURE_DTYPE,
          "arrivals": ARRIVAL_DTYPE}
COUNTED_MOST = 1 << 60      # years of bytes at 100 Gbit/s; what is told has 63 bits, sums too
SHAPED_MOST = 1 << 62       # ... and times without a sign are among what a shaper counts
TOLD = dict.fromkeys(("counters", "samples", "victims", "ended"), COUNTED_MOST) | dict.fromkeys(
    ("shaper", "shaper_meters", "shaper_links", "shaper_classes", "shaper_delays",
     "shaper_sessions", "shaper_samples"), SHAPED_MOST)
NO_COUNT = ("flow", "busy", "busy_before")      # a digest, and numbers of 128 bits
PLAIN = ("_begun_ns", "latch", "ips_fail", "low_memory", "flaps", "forced", "_begun", "_full_since",
         "_left_extreme_ns", "_mode", "_mode_since", "_ended_before", "_left_before")


# --- to bytes and back --------------------------------------------------------------------------


def to_bytes(header: Mapping[str, Any], tables: Tables) -> bytes:
    """Header and tables as one piece, with its checksum."""
    known = [[name, _fields(table.dtype), len(table)] for name, table in tables.items()]
    text = json.dumps({**header, "tables": known}, separators=(",", ":"), default=_number).encode()
    parts = [MAGIC, len(text).to_bytes(8, "little"), text]
    for table in tables.values():
        clean = np.zeros(len(table), table.dtype)   # what lies between fields is nobody's business
        clean[...] = table
        parts.append(clean.tobytes())
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        digest.update(part)
    return b"".join([*parts, digest.digest()])


def from_bytes(data: bytes) -> tuple[dict[str, Any], Tables]:
    """Header and tables of ``to_bytes``; StateError for anything else."""
    if data[:6] != MAGIC[:6]:
        raise StateError("no saved engine: it does not begin with FWCORE")
    if data[:8] != MAGIC:
        raise StateError(f"saved by another version: format {data[7:8].hex() or 'none'}, this one"
                         f" reads {MAGIC[7]:02x}")
    body = len(data) - DIGEST_BYTES
    length = int.from_bytes(data[8:16], "little")
    if body < 16 or length > min(body - 16, HEADER_MAX) or hashlib.blake2b(
            data[:body], digest_size=DIGEST_BYTES).digest() != data[body:]:
        raise StateError("damaged: its checksum is wrong")
    try:
        header = json.loads(data[16:16 + length])
        check(header, HEADER, "header")
        check(header, {"tables": rows(listed(TEXT, anything, COUNT))}, "header")
    except (ValueError, RecursionError) as error:
        raise StateError(f"damaged: its header cannot be read ({error})") from None
    except FwcoreError as error:
        raise StateError(f"not what an engine saves: {error}") from None
    tables, at = {}, 16 + length
    names = [name for name, _, _ in header["tables"]]
    if sorted(names) != sorted(DTYPES):
        raise StateError(f"its tables are {', '.join(names)}: another version's")
    for name, fields, count in header["tables"]:
        dtype = DTYPES[name]
        if fields != _fields(dtype):
            raise StateError(f"table {name} has other fields: it was saved by another version")
        if count > (body - at) // dtype.itemsize:
            raise StateError(f"table {name}: {count} rows are more than there are")
        tables[name] = np.frombuffer(data, dtype, count, at).copy()
        at += count * dtype.itemsize
    if at != body:
        raise StateError(f"{body - at} bytes more than its tables have")
    check_told(tables)
    return header, tables


def _fields(dtype: np.dtype[Any]) -> Any:
    """A dtype as JSON has it after reading."""
    return json.loads(json.dumps(np.lib.format.dtype_to_descr(dtype)))


def _number(value: Any) -> Any:
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    raise StateError(
        f"{type(value).__name__} cannot be saved; give policies as rows of plain values")


# --- what stands in a header ----------------------------------------------------------------------

FIGURES = named(COUNT)
NOW = integer(0, "a time of the clock, nanoseconds", LATEST_NS)
AGO = integer(-(1 << 63), "a time until now, nanoseconds", LATEST_NS)   # the clock was set back
ROWS = rows(named(anything))        # held to the rules of settings and policies as any others are
PAGES = dict.fromkeys(("used_pages", "freeable_pages", "free_pages"), COUNT)
CONTROL = {
    "_begun_ns": NOW, "_mode_since": either(None, NOW),
    **dict.fromkeys(("_full_since", "_left_extreme_ns"), either(None, AGO)),
    **dict.fromkeys(("latch", "ips_fail", "low_memory", "_begun"), FLAG),
    **dict.fromkeys(("flaps", "_ended_before", "_left_before", "transitions_forgotten",
                     "events_forgotten"), COUNT),
    "_mode": MODE, "forced": either(None, MODE), "modes": named(MODE),
    "mode_ns": dict.fromkeys(MODES, COUNT),
    "full_before": listed(COUNT, COUNT), "full_followed": FIGURES,
    "idledrop_hosts": rows(listed(
        integer(0, "an address", (1 << 128) - 1), integer(4, "family 4 or 6", 6), COUNT)),
    "transitions": rows(listed(
        {"packet": COUNT, "time_ns": NOW, "cause": one_of("packet", "time", "start"),
         "machine": TEXT, "from": MODE, "to": MODE, **PAGES},
        either(None, {"sessions": COUNT, "memory": FIGURES,
                      "hosts": rows({"host": TEXT, "sessions": COUNT})}))),
    "events": rows(listed(
        one_of(*KINDS), COUNT, NOW, TEXT, FIGURES,
        either(None, listed(*[COUNT] * len(conserve.Snapshot._fields))), FIGURES)),
}
HEADER = {
    "fwcore": TEXT, "seed": integer(0, "a seed of 64 bits", (1 << 64) - 1), "group": COUNT,
    "log": either(FLAG, TEXT), "departures": FLAG, "arrivals": FLAG,
    "policies": ROWS, "policies_gone": rows(integer(0, "a policy's id", (1 << 32) - 1)),
    "settings": {
        "personality": TEXT, "own": anything, "origin": TEXT,
        "given": named(listed(anything, TEXT)), "rows": named(ROWS), "values": named(anything)},
    "control": CONTROL, "figures": named(integer(-(1 << 63), "a figure", (1 << 64) - 1)),
}


# --- the control plane --------------------------------------------------------------------------


def control_state(engine: Control) -> dict[str, Any]:
    """What the control plane knows, as plain values."""
    return {name: getattr(engine, name) for name in PLAIN} | {
        "modes": engine.modes, "mode_ns": engine.mode_ns, "full_before": engine._full_before,
        "full_followed": engine._full_followed,
        "idledrop_hosts": [[*host, count] for host, count in engine.idledrop_hosts.items()],
        "transitions": [[each.to_dict(), each.snapshot] for each in engine.transitions],
        "transitions_forgotten": engine.transitions.forgotten,
        "events": [[e.kind, e.packet, e.time_ns, e.machine, dict(e.figures),
                    None if e.snapshot is None else list(e.snapshot), dict(e.followed)]
                   for e in engine.events],
        "events_forgotten": engine.events.forgotten,
    }


def set_control(engine: Control, state: Mapping[str, Any]) -> None:
    """Takes up ``control_state``, which is of the schema. Raises StateError."""
    for name in PLAIN:
        setattr(engine, name, state[name])
    if engine._begun and engine._mode_since is None:
        raise StateError("a mode since no time, of a clock that has begun")
    modes = dict(state["modes"])
    if modes.keys() != engine.modes.keys():
        raise StateError(f"modes {modes} of other machines")
    engine.modes = modes
    engine.mode_ns = {name: state["mode_ns"][name] for name in MODES}
    refused, evicted = state["full_before"]
    engine._full_before = refused, evicted
    engine._full_followed = dict(state["full_followed"])
    engine.idledrop_hosts = {(address, family): count
                             for address, family, count in state["idledrop_hosts"]}
    _set_log(engine.transitions, map(_transition, state["transitions"]),
             state["transitions_forgotten"])
    _set_log(engine.events, map(_event, state["events"]), state["events_forgotten"])
    if engine._full_since is not None:     # what comes of the full table is told in its event
        for event in engine.events:
            if event.kind == "table_full" and event.time_ns == engine._full_since:
                object.__setattr__(event, "followed", engine._full_followed)


def _set_log(log: EventLog[Any], records: Any, forgotten: int) -> None:
    for record in records:
        log.append(record)
    if log.forgotten:
        raise StateError("more transitions or events than the settings keep")
    log.forgotten = forgotten


def _transition(row: Any) -> Transition:
    fields, snapshot = row
    made = Transition(
        fields["packet"], fields["time_ns"], fields["cause"], fields["machine"], fields["from"],
        fields["to"], fields["used_pages"], fields["freeable_pages"], fields["free_pages"],
        snapshot)
    if (made.from_mode, made.to_mode) not in KIND_OF_STEP:
        raise StateError(f"a transition from {made.from_mode} to {made.to_mode}")
    return made


def _event(row: Any) -> Event:
    kind, packet, time_ns, machine, figures, snapshot, followed = row
    kept = None if snapshot is None else conserve.Snapshot(*snapshot)
    return Event(kind, packet, time_ns, machine, figures, kept, followed)


def check_told(tables: Tables) -> None:
    """Counts that a result can hold, and samples in order of their packets; StateError for others.
    Their times may run backwards: a restart takes the next packet's."""
    for name, most in TOLD.items():
        table = tables[name]
        for field in table.dtype.names or ("",):
            column = table[field] if field else table
            if column.dtype == np.uint64 and field not in NO_COUNT and len(column) \
                    and column.max() > most:
                raise StateError(f"table {name}: {field or 'a figure'} counts more than there"
                                 " ever were")
    packets = tables["samples"]["packet"]
    if (packets[1:] < packets[:-1]).any():
        raise StateError("table samples: packet runs backwards")
    if (tables["gate"]["mode"] >= len(MODES)).any():
        raise StateError("table gate: a mode that there is not")


def check_rows(rows: Any) -> Any:
    """Rows of sessions whose every enum has a name; StateError otherwise."""
    if len(rows) and not (
            (rows["cause"] < len(EndCause)).all() and (rows["state"] < len(TcpState)).all()
            and np.isin(rows["family"], (4, 6)).all() and (rows["inspection"] < 4).all()):
        raise StateError("a session of no kind among those that ended")
    return rows


def check_left(tables: Tables, departures: bool, arrivals: bool) -> tuple[list[Any], list[Any]]:
    """Rows of departures and arrivals that nobody asked for yet; StateError for others."""
    left, came = tables["departures"], tables["arrivals"]
    if (len(left) and not departures) or (len(came) and not arrivals):
        raise StateError("departures or arrivals, of an engine that keeps none")
    if (left["fate"] >= len(FATES)).any() or (came["why"] >= len(WHYS)).any():
        raise StateError("a departure or an arrival of no kind")
    return [left], [came]


WRONG = (FwcoreError, KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError)
"""What reading a header of other values than were written may raise."""
