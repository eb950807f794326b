"""Who is asked about sessions' first bytes: the rows, and what an answer does.

    FastPath.set_inspector(Inspector(first_bytes))     run() -> STOPPED_TO_ASK
                                 waiting() -> rows     answer(answers), make_room()

The loop gathers the bytes and stops in front of a packet whose session waits
(``dataplane/inspector.pxd``); which function answers is the engine's affair.
"""

from operator import index as _index
from weakref import ref as _ref

import numpy as np

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from fwcore._use cimport Use
from fwcore.dataplane.inspector cimport (
    inspector_answer, inspector_ask, inspector_forget, inspector_gather, inspector_look,
    question_at, question_free)
from fwcore.dataplane.layout cimport (
    ANSWER_COUNT, ASKED_NOT, ASKED_WAITS, EXPOSURE_INSPECTOR, NIL, fw_t, question_t, record_t,
    session_row_t)
from fwcore.errors import DataError

FIRST_BYTES_MAX = 1 << 20
cdef enum:
    PLACES = 64            # rows at the beginning


cdef object _dtype(uint32_t first_bytes, size_t stride):
    """A question as others see it: the session's row, and the bytes."""
    cdef question_t *q = NULL
    cdef session_row_t session
    own = np.asarray(<const session_row_t[:1]>&session).dtype
    names = [*own.names, "packet", "seen", "size", "reply", "payload"]
    formats = [*(own[name] for name in own.names), "<u8", "<u8", "<u4", "u1",
               (np.uint8, (first_bytes,))]
    offsets = [*(own.fields[name][1] for name in own.names), <size_t>&q.packet, <size_t>&q.seen,
               <size_t>&q.size, <size_t>&q.reply, sizeof(question_t)]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": stride})


cdef class Inspector:
    """Rows for one fast path; ``first_bytes``: of a run of payload, 1 to 2**20. They grow with the
    sessions whose bytes are gathered at a time. Raises DataError."""

    def __cinit__(self, first_bytes):
        first_bytes = _index(first_bytes)
        if not 1 <= first_bytes <= FIRST_BYTES_MAX:
            raise DataError(f"first_bytes: {first_bytes} is not in 1..{FIRST_BYTES_MAX}")
        memset(&self.core, 0, sizeof(self.core))
        self.core.first_bytes = first_bytes
        self.core.stride = (sizeof(question_t) + first_bytes + 7) & ~<size_t>7
        self.core.free = NIL
        self.core.look = inspector_look
        self.core.gather = inspector_gather
        self.core.ask = inspector_ask
        self.core.forget = inspector_forget
        self.use = Use()
        self.dtype = _dtype(self.core.first_bytes, self.core.stride)
        self.rows = np.zeros(0, self.dtype)
        self._grow(PLACES)

    cdef int _grow(self, uint32_t places) except -1:
        """So many rows; those that are new are free."""
        cdef uint8_t[::1] bytes_
        cdef uint32_t place
        rows = np.zeros(places * self.core.stride, np.uint8)
        rows[:self.core.places * self.core.stride] = self.rows.view(np.uint8)
        bytes_ = rows
        self.core.rows = &bytes_[0]
        self.rows = rows.view(self.dtype)
        for place in range(self.core.places, places):
            question_free(&self.core, place)
        self.core.places = places
        return 0

    cdef int join(self, object fastpath, fw_t *fw, Use use) except -1:
        """Becomes a fast path's, which has yet to ask it. Raises DataError where it is one's
        already, or was."""
        if self.keeper is not None:
            raise DataError("inspector: it is a fast path's already, or was")
        self.keeper = _ref(fastpath)
        self.fw, self.use = fw, use
        return 0

    cdef void leave(self) noexcept:
        """The fast path asks another one, or nobody: whose bytes were being gathered is scanned as
        without one, who waits for an answer is bypassed."""
        cdef fw_t *fw = self.fw
        cdef record_t *r
        cdef uint64_t record
        for record in range(fw.control.config.max_connections):
            r = &fw.table.records[record]
            if r.meta and r.asked == ASKED_WAITS:
                r.bypass = 1 + EXPOSURE_INSPECTOR
            r.asked = ASKED_NOT
            r.question = 0
        self.disown()

    cdef void disown(self) noexcept:
        """The fast path is closed, or done with it."""
        self.fw = NULL
        self.core.waiting = 0

    @property
    def places(self):
        """Rows there are."""
        return self.core.places

    @property
    def waits(self):
        """Sessions that wait for an answer."""
        return self.core.waiting

    def waiting(self):
        """Their rows, in order, a copy: fields as ``SESSION_DTYPE``, and packet, seen, size, reply,
        payload uint8[first_bytes], of which ``size`` are bytes and the rest is 0."""
        cdef uint32_t i
        cdef question_t *question
        with self.use:
            places = [self.core.questions[i] for i in range(self.core.waiting)]
            for i in range(self.core.waiting):
                question = question_at(&self.core, self.core.questions[i])
                memset(<uint8_t *>question + sizeof(question_t) + question.size, 0,
                       self.core.first_bytes - question.size)
            return self.rows[places]

    def answer(self, answers):
        """Answers (uint8[n], ``Answer``) to all that wait. Raises DataError, and gives none."""
        cdef const uint8_t[::1] given
        cdef uint32_t i
        if (not isinstance(answers, np.ndarray) or answers.dtype != np.uint8 or answers.ndim != 1
                or len(answers) != self.core.waiting
                or (len(answers) and answers.max() >= ANSWER_COUNT)):
            raise DataError(f"inspector: uint8[{self.core.waiting}], numbers of Answer, is asked"
                            " for")
        given = np.ascontiguousarray(answers)
        with self.use:
            if self.fw == NULL or self.keeper() is None:
                raise DataError("inspector: it is no fast path's")
            for i in range(self.core.waiting):
                inspector_answer(self.fw, self.core.questions[i], given[i])
            self.core.waiting = 0

    def make_room(self):
        """More rows, where none is free. Raises MemoryError."""
        with self.use:
            if self.core.free == NIL and self.core.waiting == 0:
                self._grow(2 * self.core.places)
