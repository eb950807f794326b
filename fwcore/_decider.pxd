# Who decides of new sessions: the class that owns the openings, for the fast path.

from fwcore._use cimport Use
from fwcore.dataplane.layout cimport decider_t, fw_t


cdef class Decider:
    cdef decider_t core
    cdef object openings        # behind core
    cdef object decisions
    cdef object heads
    cdef fw_t *fw               # of the fast path whose it is; NULL: nobody's
    cdef object keeper          # ... weak reference to it
    cdef Use use                # that of the fast path

    cdef int join(self, object fastpath, fw_t *fw, Use use) except -1
    cdef void leave(self) noexcept
    cdef void drop(self) noexcept
