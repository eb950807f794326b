"""Who is asked before a session begins: the openings, and what was decided of them.

    FastPath.set_decider(Decider())      run() -> a stop, and openings that wait
                   waiting() -> rows     decide(decisions)      forget(), at the end of a call

The loop stops in front of a packet whose session nobody has decided of, and looks on through the
frames behind it (``dataplane/decider.pxd``); which function decides is the engine's affair.
"""

from weakref import ref as _ref

import numpy as np

from libc.stdint cimport uint32_t
from libc.string cimport memset

from fwcore import _layout
from fwcore._use cimport Use
from fwcore.dataplane.decider cimport decider_forget, decider_look
from fwcore.dataplane.layout cimport (
    DECISION_ACCEPT, DECISION_COUNT, NIL, OPENINGS_MAX, decision_t, fw_t, opening_t)
from fwcore.errors import DataError


cdef class Decider:
    """The openings of one fast path: at most 1024 at a time."""

    def __cinit__(self):
        cdef opening_t[::1] rows
        cdef uint32_t[::1] heads
        memset(&self.core, 0, sizeof(self.core))
        self.openings = np.zeros(OPENINGS_MAX, _layout.OPENING_DTYPE)
        self.decisions = np.zeros(OPENINGS_MAX * sizeof(decision_t), np.uint8)
        self.heads = np.full(OPENINGS_MAX, NIL, np.uint32)
        rows, heads = self.openings, self.heads
        self.core.openings, self.core.heads = &rows[0], &heads[0]
        self.core.decisions = <decision_t *><size_t>self.decisions.ctypes.data
        self.core.look = decider_look
        self.use = Use()

    cdef int join(self, object fastpath, fw_t *fw, Use use) except -1:
        """Becomes a fast path's, which has yet to ask it. Raises DataError where it is one's
        already, or was."""
        if self.keeper is not None:
            raise DataError("decider: it is a fast path's already, or was")
        self.keeper = _ref(fastpath)
        self.fw, self.use = fw, use
        return 0

    cdef void leave(self) noexcept:
        """The fast path asks another one, or nobody, or is closed."""
        self.drop()
        self.fw = NULL

    cdef void drop(self) noexcept:
        decider_forget(&self.core)
        if self.fw != NULL:
            self.fw.decided = DECISION_ACCEPT

    @property
    def waits(self):
        """Sessions that wait for an answer."""
        return self.core.count - self.core.answered

    def waiting(self):
        """Their rows (OPENING_DTYPE), in order, a copy."""
        with self.use:
            return self.openings[self.core.answered:self.core.count].copy()

    def decide(self, decisions):
        """Answers (uint32[n]) to all that wait: 0 by the policy that matches, 1 drop, from 2 on
        the index of a policy. Raises DataError, and gives none."""
        cdef const uint32_t[::1] given
        cdef uint32_t i
        if (not isinstance(decisions, np.ndarray) or decisions.dtype != np.uint32
                or decisions.ndim != 1 or len(decisions) != self.waits):
            raise DataError(f"decider: uint32[{self.waits}] is asked for")
        given = np.ascontiguousarray(decisions)
        with self.use:
            if self.fw == NULL or self.keeper() is None:
                raise DataError("decider: it is no fast path's")
            for i in range(<uint32_t>given.shape[0]):
                if given[i] >= DECISION_COUNT + self.fw.control.policies.count:
                    raise DataError(f"decider: {given[i]}: there is no such policy")
            for i in range(<uint32_t>given.shape[0]):
                self.core.decisions[self.core.answered + i].decision = given[i]
            self.core.answered = self.core.count

    def forget(self):
        """What was decided, and what waits; nothing where the fast path is closed."""
        with self.use:
            self.drop()
