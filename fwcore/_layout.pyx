"""What layout.h says, for Python: its lists as enums, its structs as dtypes, records of them.

    layout.h ──► Verdict, Reason ...   CONFIG_DTYPE, COUNTERS_DTYPE ...   TCP tables
                                            │
                 record(dtype, values) ─────┴──► what FastPath takes, looked at (config_read)

Laws: no name, number or width is said here that the header says; what crosses the line is a record
of one of these dtypes, and a copy.
"""

from collections import namedtuple as _namedtuple
from enum import IntEnum
from operator import index as _index

import numpy as np

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from fwcore.dataplane.digest cimport (
    digest_add, digest_begin, digest_end, rows_add, rows_begin, rows_end, rows_keys,
)
from fwcore.dataplane.layout cimport (
    ANSWER_COUNT, ANSWER_NAMES, CLASS_COUNT, CLOCK_MEMORY_NS, DIGEST_BYTES, END_COUNT, END_NAMES,
    EXPOSURE_COUNT, EXPOSURE_NAMES, FLAG_CLASS, FORCED_MAX, FRAGMENTS_MAX, GATE_COUNT, GATE_NAMES,
    GAUGE_COUNT, GAUGE_NAMES, MIDSTREAM_COUNT, MIDSTREAM_NAMES, OBJECT_BYTES_MAX, OBJECT_COUNT,
    OBJECT_NAMES, PAGES_MAX, PAGE_BYTES, PLACE_COUNT, PLACE_NAMES, PLACE_STATE, POLICY_COUNT,
    POLICY_NAMES, REASON_COUNT, REASON_NAMES, RECORD_MASK, STATE_COUNT, STATE_NAMES, SWEEP_MIN_NS,
    TCP_FIRST, TCP_STEP, TIMEOUT_COUNT, TIMEOUT_NAMES, TIME_MAX_NS, TRACKER_COUNT, TRACKER_NAMES,
    VERDICT_COUNT, VERDICT_NAMES, VICTIMS_MAX, DIRECTION_COUNT, WHEN_FULL_COUNT, WHEN_FULL_NAMES,
    ROW_KEYS, ROW_WORDS, block4_t, config_t, counters_t, digest_t, gate_t, gauges_t, guard_t,
    host_row_t, leak_t, opening_t, row6_t, rows_digest_t, sample_t, session_row_t, step_t,
)
from fwcore.errors import DataError


# --- lists --------------------------------------------------------------------------------------

cdef object _enum(str name, const char *const *names, int count):
    """An IntEnum from a list of layout.h."""
    members = {(<bytes>names[i]).decode(): i for i in range(count)}
    return IntEnum(name, members, module=__name__)


Verdict = _enum("Verdict", VERDICT_NAMES, VERDICT_COUNT)
Reason = _enum("Reason", REASON_NAMES, REASON_COUNT)
Exposure = _enum("Exposure", EXPOSURE_NAMES, EXPOSURE_COUNT)
EndCause = _enum("EndCause", END_NAMES, END_COUNT)
TcpState = _enum("TcpState", STATE_NAMES, STATE_COUNT)
WhenFull = _enum("WhenFull", WHEN_FULL_NAMES, WHEN_FULL_COUNT)
Midstream = _enum("Midstream", MIDSTREAM_NAMES, MIDSTREAM_COUNT)
Tracker = _enum("Tracker", TRACKER_NAMES, TRACKER_COUNT)
GateAction = _enum("GateAction", GATE_NAMES, GATE_COUNT)
ObjectAction = _enum("ObjectAction", OBJECT_NAMES, OBJECT_COUNT)
PolicyAction = _enum("PolicyAction", POLICY_NAMES, POLICY_COUNT)
Gauge = _enum("Gauge", GAUGE_NAMES, GAUGE_COUNT)
Answer = _enum("Answer", ANSWER_NAMES, ANSWER_COUNT)
TIMEOUTS = tuple((<bytes>TIMEOUT_NAMES[i]).decode().lower() for i in range(TIMEOUT_COUNT))
LATEST_NS = TIME_MAX_NS
MEMORY_NS = CLOCK_MEMORY_NS  # of the clock when it is set back


# --- structs ------------------------------------------------------------------------------------

cdef object _dtypes():
    """dtypes of the structs that cross the line: theirs is the only list of names and widths."""
    cdef config_t config
    cdef gate_t gate
    cdef block4_t block
    cdef row6_t row
    cdef guard_t guard
    cdef session_row_t session
    cdef host_row_t host
    cdef sample_t sample
    cdef step_t step
    cdef leak_t leak
    cdef counters_t counters
    cdef gauges_t gauges
    cdef opening_t opening
    return [np.asarray(part).dtype for part in (
        <const config_t[:1]>&config, <const gate_t[:1]>&gate, <const block4_t[:1]>&block,
        <const row6_t[:1]>&row, <const guard_t[:1]>&guard, <const session_row_t[:1]>&session,
        <const host_row_t[:1]>&host, <const sample_t[:1]>&sample, <const step_t[:1]>&step,
        <const leak_t[:1]>&leak, <const counters_t[:1]>&counters, <const gauges_t[:1]>&gauges,
        <const opening_t[:1]>&opening)]


(CONFIG_DTYPE, GATE_DTYPE, BLOCK4_DTYPE, ROW6_DTYPE, GUARD_DTYPE, SESSION_DTYPE, HOST_DTYPE,
 SAMPLE_DTYPE, STEP_DTYPE, LEAK_DTYPE, COUNTERS_DTYPE, _GAUGES_DTYPE, OPENING_DTYPE) = _dtypes()
Gauges = _namedtuple("Gauges", _GAUGES_DTYPE.names)


cdef object copied(const void *rows, size_t count, object dtype):
    """What stands there, as an array of this dtype: a copy. A view of the structs themselves would
    have NumPy work their dtype out each time."""
    cdef size_t size = count * <size_t>dtype.itemsize
    cdef uint8_t[::1] out
    made = np.empty(size, np.uint8)
    if size:
        out = made
        memcpy(&out[0], rows, size)
    return made.view(dtype)


cdef dict _rooms = {}      # dtype -> name -> (place, cells of an array or 0, lowest, highest)


cdef dict _rooms_of(dtype):
    """What each field of a dtype holds, found once."""
    cdef dict rooms = _rooms.get(dtype)
    if rooms is None:
        rooms = {}
        for place, name in enumerate(dtype.names):
            field = dtype[name]
            limits = np.iinfo(field.base)
            rooms[name] = (place, field.shape[0] if field.shape else 0, int(limits.min),
                           int(limits.max))
        _rooms[dtype] = rooms  # whole: another thread may have come meanwhile
    return rooms


def record(dtype, values):
    """A record of ``dtype`` (one of this module's) from name -> integer or integers; shape (1,).

    Names that are missing are 0, and so is the rest of an array. Raises DataError for a name that
    is not there and for what is no integer or does not fit its field.
    """
    cdef dict rooms = _rooms_of(dtype)
    cdef list filled = [[0] * room[1] if room[1] else 0 for room in rooms.values()]
    for name, value in values.items():
        if name not in rooms:
            raise DataError(f"{name}: no such field; there are {', '.join(dtype.names)}")
        place, cells, low, high = rooms[name]
        numbers = value if isinstance(value, (list, tuple, np.ndarray)) else (value,)
        if len(numbers) > (cells or 1):
            raise DataError(f"{name}: {len(numbers)} numbers, and there is room for {cells or 1}")
        for i, number in enumerate(numbers):
            if type(number) is not int:
                try:
                    number = _index(number)
                except TypeError:
                    raise DataError(f"{name}: {number!r} is no integer") from None
            if not low <= number <= high:
                raise DataError(f"{name}: {number} does not fit {dtype[name].base}")
            if cells:
                filled[place][i] = number
            else:
                filled[place] = number
    return np.array([tuple(filled)], dtype)


# --- what may stand in them ---------------------------------------------------------------------

# Field of config_t -> lowest and highest number. What is not named may be anything.
cdef dict CONFIG_LIMITS = {
    "max_connections": (1, RECORD_MASK), "buckets": (1, RECORD_MASK),
    "sweep_ns": (SWEEP_MIN_NS, LATEST_NS), "timeline_ns": (0, LATEST_NS),
    "timeline_most_ns": (0, LATEST_NS),
    "midstream_grace_ns": (0, LATEST_NS), "idledrop_idle_ns": (0, LATEST_NS - 1),
    "timeout_ns": (0, LATEST_NS - 1),  # a time and a timeout fit 63 bits
    "max_step_ns": (0, LATEST_NS - 1),
    "total_pages": (0, PAGES_MAX), "base_pages": (0, PAGES_MAX),
    "preallocated_pages": (0, PAGES_MAX), "cache_limit_pages": (0, PAGES_MAX),
    "oversize_bytes": (0, OBJECT_BYTES_MAX),
    "proxy_session_pages": (0, PAGES_MAX), "sessions_per_page": (0, PAGE_BYTES),
    "pages_per_session": (0, 1 << 30), "fail_nths": (0, FORCED_MAX),
    "fail_everys": (0, FORCED_MAX), "fragments_max": (1, FRAGMENTS_MAX),
    "victims_max": (1, VICTIMS_MAX),
    "when_full": (0, WHEN_FULL_COUNT - 1), "midstream": (0, MIDSTREAM_COUNT - 1),
    "preallocated": (0, 1), "zone": (0, 1), "log": (0, 2), "ports_decide": (0, 1),
    "short_cut": (0, 1),
    "tracker": (0, TRACKER_COUNT - 1), "invalid_verdict": (0, VERDICT_COUNT - 1),
    "non_ip_verdict": (0, VERDICT_COUNT - 1), "orphan_verdict": (0, VERDICT_COUNT - 1),
}
# The same for a gate row.
cdef dict GATE_LIMITS = {
    "action": (0, GATE_COUNT - 1), "reason": (0, REASON_COUNT - 1),
    "cause": (0, EXPOSURE_COUNT - 1), "full_action": (0, GATE_COUNT - 1),
    "full_reason": (0, REASON_COUNT - 1), "full_cause": (0, EXPOSURE_COUNT - 1),
    "ips_bypass": (0, 1), "object_start": (0, OBJECT_COUNT - 1),
    "object_cause": (0, EXPOSURE_COUNT - 1), "page_request": (0, OBJECT_COUNT - 1),
    "object_refused": (0, OBJECT_COUNT - 1), "idledrop": (0, 1),
}


cdef int _read(values, dtype, dict limits, str what, void *to, size_t size) except -1:
    """Copies a record of this dtype, whose fields keep to their limits, or raises DataError.

    A transition comes this way: fields are gone through as plain numbers, and nothing is asked of
    NumPy a field.
    """
    cdef bytes raw
    if not isinstance(values, np.ndarray) or values.size != 1 or (
            values.dtype is not dtype and values.dtype != dtype):
        raise DataError(f"{what}: one record of {what.upper()}_DTYPE is asked for: record(...)")
    raw = values.tobytes()
    for name, field in zip(dtype.names, np.frombuffer(raw, dtype).item()):
        if name not in limits:
            continue
        low, high = limits[name]
        for number in field.ravel().tolist() if isinstance(field, np.ndarray) else (field,):
            if not low <= number <= high:
                raise DataError(f"{what}: {name}: {number} is not in {low}..{high}")
    memcpy(to, <const char *>raw, size)
    return 0


cdef int gate_read(values, gate_t *gate) except -1:
    """GATE_DTYPE to gate_t; DataError for a row that has no action or reason behind it."""
    return _read(values, GATE_DTYPE, GATE_LIMITS, "gate", gate, sizeof(gate_t))


cdef int config_read(values, config_t *config) except -1:
    """CONFIG_DTYPE to config_t; DataError for what the data plane could not bear."""
    _read(values, CONFIG_DTYPE, CONFIG_LIMITS, "config", config, sizeof(config_t))
    config.steps = config.leaks = 0
    if config.base_pages + config.preallocated_pages > config.total_pages:
        raise DataError(
            f"config: base_pages {config.base_pages} and preallocated_pages"
            f" {config.preallocated_pages} are more than total_pages {config.total_pages}")
    for i in range(config.fail_everys):
        if config.fail_every[i] == 0:
            raise DataError("config: fail_every: 0 is not in 1..2**64-1")
    return 0


cdef void timeouts_split(control_t *control) noexcept:
    """What follows from the timeouts of its config, see clock_tick_after."""
    cdef uint64_t sweep_ns = <uint64_t>control.config.sweep_ns
    cdef uint64_t timeout_ns
    cdef int i
    for i in range(TIMEOUT_COUNT):
        timeout_ns = <uint64_t>control.config.timeout_ns[i]
        control.timeouts[i].ticks = timeout_ns // sweep_ns
        control.timeouts[i].rest_ns = timeout_ns % sweep_ns


# --- single stages, for tests and for those who build on them ------------------------------------

def tcp_tables():
    """The TCP tables as they are indexed: {"classes": [tracker][flags] -> class, "first":
    [tracker][way][class], "step": [place][way][class], "places": (name, state's name) each}; 128
    and more are no places."""
    return {
        "classes": [[FLAG_CLASS[t][flags] for flags in range(64)] for t in range(TRACKER_COUNT)],
        "first": [[[TCP_FIRST[t][w][c] for c in range(CLASS_COUNT)] for w in range(DIRECTION_COUNT)]
                  for t in range(TRACKER_COUNT)],
        "step": [[[TCP_STEP[p][w][c] for c in range(CLASS_COUNT)] for w in range(DIRECTION_COUNT)]
                 for p in range(PLACE_COUNT)],
        "places": [((<bytes>PLACE_NAMES[p]).decode(), (<bytes>STATE_NAMES[PLACE_STATE[p]]).decode())
                   for p in range(PLACE_COUNT)],
    }


def blake2b16(parts):
    """BLAKE2b with 16 bytes out, fed part by part, as the data plane computes it."""
    cdef digest_t digest
    cdef const uint8_t[::1] part
    cdef uint8_t out[DIGEST_BYTES]
    digest_begin(&digest)
    for data in parts:
        if len(data):
            part = data
            digest_add(&digest, &part[0], part.shape[0])
    digest_end(&digest, out)
    return bytes(out[:DIGEST_BYTES])


def rows_digest(rows):
    """The digest of rows, uint64[n, 4], as the data plane computes that of departures."""
    cdef uint64_t[ROW_KEYS] keys
    cdef rows_digest_t digest
    cdef uint8_t out[DIGEST_BYTES]
    cdef const uint64_t[:, ::1] words = np.ascontiguousarray(rows, np.uint64).reshape(-1, ROW_WORDS)
    cdef Py_ssize_t i
    rows_keys(keys)
    rows_begin(&digest)
    for i in range(words.shape[0]):
        rows_add(&digest, keys, words[i, 0], words[i, 1], words[i, 2], words[i, 3])
    rows_end(&digest, out)
    return bytes(out[:DIGEST_BYTES])
