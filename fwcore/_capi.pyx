"""The functions of include/fwcore.h, behind a capsule: an engine for those who call from C.

    C program, extension ──fwcore.h──► API ──► handle ──► Engine.process
                                                 └─ frames that C lends: Borrowed

Everything here takes Python's lock by itself and lets no exception out: what was raised becomes
the text of ``fwcore_error``, one for each thread. A handle is a number that is never given twice,
so that one which was freed is told from one that stands.
"""

import tomllib as _tomllib
from contextlib import suppress as _suppress

import numpy as np

from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fwcore._pack cimport Borrowed
from fwcore._shaper import DEPARTURE_DTYPE as _DEPARTURE_DTYPE
from fwcore.engine import Engine as _Engine
from fwcore.errors import DataError, EngineClosed, SettingsError
from fwcore.fastpath cimport (
    FWCORE_BYPASSED, fwcore_chunk, fwcore_decider, fwcore_departure, fwcore_inspector,
    fwcore_opening, fwcore_question, fwcore_t)
from fwcore.words import MODES as _MODES

cdef extern from *:
    """
    enum { FW_TEXT_BYTES = 512 };
    static _Thread_local char fw_text[FW_TEXT_BYTES] = "nothing has failed yet";
    """
    enum:
        FW_TEXT_BYTES
    char *fw_text

cdef extern from "fwcore.h" nogil:
    enum:
        FWCORE_API_VERSION
    const char *FWCORE_CAPSULE
    ctypedef struct fwcore_api:
        uint32_t version, bytes
        fwcore_t (*make)(const char *settings, const char *lines)
        fwcore_t (*of "of")(PyObject *engine)
        int (*release)(fwcore_t fw)
        int (*load)(fwcore_t fw, const fwcore_chunk *chunk)
        int64_t (*run)(fwcore_t fw, uint16_t *outcome, uint64_t *flow, uint8_t *reply)
        int (*advance)(fwcore_t fw, int64_t now_ns)
        int (*counters)(fwcore_t fw, const char *const *names, int64_t *values, uint64_t count)
        int (*mode)(fwcore_t fw)
        int64_t (*departures)(fwcore_t fw, fwcore_departure *rows, uint64_t room)
        const char *(*error)()
        int (*inspect)(fwcore_t fw, fwcore_inspector ask, void *context, uint32_t first_bytes)
        int (*decide)(fwcore_t fw, fwcore_decider ask, void *context)

cdef extern from "dataplane/layout.h":
    pass

cdef extern from *:
    """
    #define FW_SAME(ours, theirs, field)                                                     \\
        _Static_assert(offsetof(ours, field) == offsetof(theirs, field)                      \\
                       && sizeof(((ours *)0)->field) == sizeof(((theirs *)0)->field), #field);
    #define FW_SAME_ENDS(ours, theirs)                                                       \\
        FW_SAME(ours, theirs, initiator) FW_SAME(ours, theirs, responder)                    \\
        FW_SAME(ours, theirs, initiator_port) FW_SAME(ours, theirs, responder_port)          \\
        FW_SAME(ours, theirs, zone) FW_SAME(ours, theirs, protocol)                          \\
        FW_SAME(ours, theirs, family) FW_SAME(ours, theirs, policy)                          \\
        FW_SAME(ours, theirs, inspection) FW_SAME(ours, theirs, flow)
    #define FW_SAME_SESSION(field) FW_SAME(fwcore_question, session_row_t, field)
    _Static_assert(sizeof(fwcore_question) == sizeof(question_t), "the payload begins there");
    _Static_assert(offsetof(question_t, session) == 0, "its fields come first");
    FW_SAME_ENDS(fwcore_question, session_row_t)
    FW_SAME_SESSION(state) FW_SAME_SESSION(cause) FW_SAME_SESSION(exposed)
    FW_SAME_SESSION(created_ns) FW_SAME_SESSION(last_seen_ns) FW_SAME_SESSION(ended_ns)
    FW_SAME_SESSION(created_packet) FW_SAME_SESSION(ended_packet)
    FW_SAME_SESSION(bytes) FW_SAME_SESSION(packets)
    FW_SAME(fwcore_question, question_t, packet) FW_SAME(fwcore_question, question_t, seen)
    FW_SAME(fwcore_question, question_t, size) FW_SAME(fwcore_question, question_t, reply)
    _Static_assert(sizeof(fwcore_opening) == sizeof(opening_t), "a row each");
    FW_SAME_ENDS(fwcore_opening, opening_t)
    FW_SAME(fwcore_opening, opening_t, time_ns) FW_SAME(fwcore_opening, opening_t, packet)
    """


cdef class _Inspects:
    """An inspector in C, as ``Engine.inspect`` calls it: each question by itself."""

    cdef fwcore_inspector ask
    cdef void *context

    def __call__(self, rows):
        cdef uint8_t[::1] answers = np.empty(len(rows), np.uint8)
        cdef const uint8_t *row = <const uint8_t *><size_t>rows.ctypes.data
        cdef size_t i, stride = rows.dtype.itemsize
        cdef int answer = 0
        with nogil:
            for i in range(<size_t>answers.shape[0]):
                answer = self.ask(self.context, <const fwcore_question *>row,
                                  row + sizeof(fwcore_question))
                if not 0 <= answer <= FWCORE_BYPASSED:
                    break
                answers[i] = answer
                row += stride
        if not 0 <= answer <= FWCORE_BYPASSED:
            raise DataError(f"the inspector in C answered {answer}: 0 accept, 1 block, 2 bypass")
        return np.asarray(answers)


cdef class _Decides:
    """A decider in C, as ``Engine.decide`` calls it: each opening by itself."""

    cdef fwcore_decider ask
    cdef void *context

    def __call__(self, rows):
        cdef int64_t[::1] decisions = np.empty(len(rows), np.int64)
        cdef const uint8_t *row = <const uint8_t *><size_t>rows.ctypes.data
        cdef size_t i, stride = rows.dtype.itemsize
        with nogil:
            for i in range(<size_t>decisions.shape[0]):
                decisions[i] = self.ask(self.context, <const fwcore_opening *>row)
                row += stride
        return np.asarray(decisions)


cdef class _Handle:
    """A firewall that C holds: its engine, whether it is ours to close, the frames lent, the
    departures that there was no room for yet, what ends asking an inspector and a decider."""

    cdef object engine
    cdef bint ours
    cdef Borrowed frames
    cdef object left
    cdef object inspected, decided

    def __cinit__(self, engine, bint ours):
        self.engine, self.ours = engine, ours
        self.frames = Borrowed()
        self.left = np.zeros(0, _DEPARTURE_DTYPE)


cdef dict _handles = {}
cdef uint64_t _newest = 0


cdef _Handle _held(fwcore_t fw):
    try:
        return <_Handle>_handles[fw]
    except KeyError:
        raise DataError(f"{fw} is no firewall's handle: it was freed, or never was one") from None


cdef fwcore_t _hold(engine, bint ours):
    global _newest
    _newest += 1
    _handles[_newest] = _Handle(engine, ours)
    return _newest


cdef void _note(object error) noexcept:
    """What was raised, as the text of this thread."""
    cdef bytes text = (f"{error}" or type(error).__name__).encode("utf-8", "replace")
    cdef size_t size
    if not isinstance(error, Exception):    # Ctrl-C and its like say nothing of themselves
        text = type(error).__name__.encode()
    text = text[:FW_TEXT_BYTES - 1]
    size = len(text)
    memcpy(fw_text, <const char *>text, size)
    fw_text[size] = 0


cdef fwcore_t _make(const char *settings, const char *lines) noexcept with gil:
    try:
        given = None if settings == NULL else (<bytes>settings).decode()
        text = "" if lines == NULL else (<bytes>lines).decode()
        try:
            changes = _tomllib.loads(text)
        except _tomllib.TOMLDecodeError as error:
            raise SettingsError(f"lines: {error}") from None
        return _hold(_Engine(given, **changes), True)
    except BaseException as error:
        _note(error)
        return 0


cdef fwcore_t _of(PyObject *engine) noexcept with gil:
    try:
        if engine == NULL or not isinstance(<object>engine, _Engine):
            raise DataError("fwcore_of: an Engine is asked for")
        return _hold(<object>engine, False)
    except BaseException as error:
        _note(error)
        return 0


cdef int _release(fwcore_t fw) noexcept with gil:
    cdef _Handle handle
    try:
        handle = _held(fw)
        if handle.ours:
            handle.engine.close()       # busy: it stays
        else:
            for end in (handle.inspected, handle.decided):
                if end is not None:     # nobody is asked who may be gone
                    with _suppress(EngineClosed):
                        end()
        del _handles[fw]
        return 0
    except BaseException as error:
        _note(error)
        return -1


cdef int _load(fwcore_t fw, const fwcore_chunk *chunk) noexcept with gil:
    cdef _Handle handle
    try:
        handle = _held(fw)
        if chunk == NULL:
            raise DataError("fwcore_load: no chunk")
        handle.frames = Borrowed()
        handle.frames.lend(chunk.data, chunk.size, chunk.offset, chunk.captured, chunk.length,
                           chunk.time_ns, chunk.link, chunk.count)
        return 0
    except BaseException as error:
        _note(error)
        return -1


cdef int64_t _run(
    fwcore_t fw, uint16_t *outcome, uint64_t *flow, uint8_t *reply,
) noexcept with gil:
    cdef _Handle handle
    cdef Borrowed frames
    cdef size_t count
    try:
        handle = _held(fw)
        frames, handle.frames = handle.frames, Borrowed()
        count = frames.count
        if count == 0:
            return 0
        if outcome == NULL:
            handle.frames = frames
            raise DataError("fwcore_run: outcome is NULL")
        try:
            judged = handle.engine.process(
                frames, None if flow == NULL else <uint64_t[:count]>flow,
                None if reply == NULL else <uint8_t[:count]>reply)
            _give(judged, outcome, count)
        except BaseException:
            if not frames.held:     # the engine was in use: what it judged is another's
                handle.frames = frames
                raise
            judged = handle.engine.judged
            if frames.held:
                _give(judged, outcome, count)
            raise
        finally:
            if frames.held:
                handle.engine.fastpath.unload()
        return <int64_t>count
    except BaseException as error:
        _note(error)
        return -1


cdef int _give(judged, uint16_t *outcome, size_t count) except -1:
    """Outcomes uint8[n, 2] into the caller's array of ``count``, and 0 behind them."""
    cdef const uint8_t[:, ::1] rows = judged
    cdef size_t done = min(<size_t>rows.shape[0], count)
    if done:
        memcpy(outcome, &rows[0, 0], 2 * done)
    memset(outcome + done, 0, 2 * (count - done))
    return 0


cdef int _advance(fwcore_t fw, int64_t now_ns) noexcept with gil:
    try:
        _held(fw).engine.advance(now_ns)
        return 0
    except BaseException as error:
        _note(error)
        return -1


cdef int _counters(
    fwcore_t fw, const char *const *names, int64_t *values, uint64_t count,
) noexcept with gil:
    cdef uint64_t i
    try:
        figures = _held(fw).engine.counters()
        if count and (names == NULL or values == NULL):
            raise DataError("fwcore_counters: names or values are NULL")
        found = []
        for i in range(count):
            if names[i] == NULL:
                raise DataError(f"fwcore_counters: names[{i}] is NULL")
            found.append(_figure(figures, (<bytes>names[i]).decode()))
        for i in range(count):
            values[i] = found[i]
        return 0
    except BaseException as error:
        _note(error)
        return -1


def _figure(figures, name):
    """The integer under a dotted name. Raises DataError."""
    at = figures
    for part in name.split("."):
        if not isinstance(at, dict) or part not in at:
            raise DataError(f"fwcore_counters: there is no counter {name!r}")
        at = at[part]
    if not isinstance(at, int):
        raise DataError(f"fwcore_counters: {name} is no number; give one of what is in it")
    return at


cdef int _inspect(
    fwcore_t fw, fwcore_inspector ask, void *context, uint32_t first_bytes,
) noexcept with gil:
    cdef _Handle handle
    cdef _Inspects inspects
    try:
        handle = _held(fw)
        if ask == NULL:
            if handle.inspected is not None:
                handle.inspected()
            handle.inspected = None
            return 0
        inspects = _Inspects()
        inspects.ask, inspects.context = ask, context
        handle.inspected = handle.engine.inspect(inspects, first_bytes=first_bytes)
        return 0
    except BaseException as error:
        _note(error)
        return -1


cdef int _decide(fwcore_t fw, fwcore_decider ask, void *context) noexcept with gil:
    cdef _Handle handle
    cdef _Decides decides
    try:
        handle = _held(fw)
        if ask == NULL:
            if handle.decided is not None:
                handle.decided()
            handle.decided = None
            return 0
        decides = _Decides()
        decides.ask, decides.context = ask, context
        handle.decided = handle.engine.decide(decides)
        return 0
    except BaseException as error:
        _note(error)
        return -1


cdef int _mode(fwcore_t fw) noexcept with gil:
    try:
        return _MODES.index(_held(fw).engine.mode)
    except BaseException as error:
        _note(error)
        return -1


cdef int64_t _departures(fwcore_t fw, fwcore_departure *rows, uint64_t room) noexcept with gil:
    cdef _Handle handle
    cdef uint64_t i, count
    try:
        handle = _held(fw)
        if rows == NULL and room:
            raise DataError("fwcore_departures: rows is NULL")
        handle.left = np.concatenate([handle.left, handle.engine.departures()])
        count = min(room, len(handle.left))
        for i, row in enumerate(handle.left[:count].tolist()):
            memset(&rows[i], 0, sizeof(fwcore_departure))
            rows[i].packet, rows[i].time_ns, rows[i].link = row[0], row[1], row[2]
            rows[i].class_id, rows[i].fate, rows[i].dscp = row[3], row[4], row[5]
        handle.left = handle.left[count:]
        return <int64_t>count
    except BaseException as error:
        _note(error)
        return -1


cdef const char *_error() noexcept nogil:
    return fw_text


cdef fwcore_api _api
memset(&_api, 0, sizeof(fwcore_api))
_api.version, _api.bytes = FWCORE_API_VERSION, sizeof(fwcore_api)
_api.make, _api.of, _api.release = _make, _of, _release
_api.load, _api.run, _api.advance = _load, _run, _advance
_api.counters, _api.mode, _api.departures = _counters, _mode, _departures
_api.error = _error
_api.inspect, _api.decide = _inspect, _decide

API = PyCapsule_New(&_api, FWCORE_CAPSULE, NULL)
