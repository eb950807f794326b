# The shaper, for the fast path.

from libc.stdint cimport int64_t, uint32_t

from fwcore._shaper_state cimport Kept
from fwcore._use cimport Use
from fwcore.dataplane.match cimport asker_t
from fwcore.dataplane.shaping cimport link_t, meter_t

cdef class Shaper(Kept):
    cdef int own(self, object fastpath, Use use) except -1
    cdef int close(self, str why) except -1
    cdef int _advance(self, int64_t until_ns) except -1
    cdef int _ask(self, asker_t *a, session) except -1
    cdef dict _delays(self, uint32_t number)
    cdef tuple _waiting(self, uint32_t number)
    cdef bint _serial(self, uint32_t i)
    cdef bint _bound(self, const meter_t *m)
    cdef bint _accounted(self, const link_t *link, uint32_t number, packets, size)
