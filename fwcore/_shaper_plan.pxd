# The class that owns a shaper's memory.

from libc.stdint cimport uint32_t, uint64_t

from fwcore._use cimport Use
from fwcore.dataplane.shaping cimport class_t, heap_t, link_t, shaper_t

cdef object within(array, str where, dict limits)
cdef object distances_of(links)

cdef class Planned:
    cdef shaper_t core
    cdef Use use             # its own, or that of the fast path whose it is
    cdef object keeper       # weak reference to the fast path; None: nobody's
    cdef list parts          # arrays behind the pointers
    cdef object plan
    cdef list busy           # by link: {rate: time taken in 1 / rate ns}, of former settings
    cdef readonly uint32_t sessions
    cdef public long long free   # pages, where nobody else accounts for them

    cdef void disown(self) noexcept
    cdef void *room(self, size_t bytes) except NULL
    cdef int resize(self, uint32_t sessions) except -1
    cdef int keep_rows(self) except -1
    cdef int _samples(self) except -1
    cdef dict _busy(self, uint32_t i)
    cdef int _rows(self, plan) except -1
    cdef int _kinds(self) except -1
    cdef int _meters(self, plan, rooms=*) except -1
    cdef int _links(self, plan, distances) except -1
    cdef int _classes(self, plan) except -1
    cdef int _parent(self, uint32_t i) except -1
    cdef int _class(self, uint32_t i) except -1
    cdef int _heap(self, heap_t *h, uint32_t count) except -1
    cdef int _children(self) except -1
    cdef int _rows_of(self, link_t *link) except -1
    cdef int _shares_of(self, class_t *c) except -1
    cdef int _bucket(self, class_t *c, int which, uint64_t rate, uint64_t depth) except -1
    cdef int _lineage(self, const class_t *c, uint64_t *most) except -1
    cdef int _maps(self) except -1
    cdef int ways(self) except -1
    cdef int _ids(self, link_t *link) except -1
    cdef int _waits(self, packets_max, keep) except -1
    cdef int _arena(self, uint64_t packets) except -1
