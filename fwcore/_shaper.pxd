# The class that owns a shaper's memory, for the fast path.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fwcore._use cimport Use
from fwcore.dataplane.meter cimport asker_t
from fwcore.dataplane.shaping cimport class_t, heap_t, link_t, meter_t, shaper_t, turn_t

cdef class Shaper:
    cdef shaper_t core
    cdef Use use             # its own, or that of the fast path whose it is
    cdef object keeper       # weak reference to the fast path; None: nobody's
    cdef list parts          # arrays behind the pointers
    cdef object plan
    cdef list busy           # by link: {rate: time taken in 1 / rate ns}, of former settings
    cdef readonly uint32_t sessions
    cdef public long long free   # pages, where nobody else accounts for them

    cdef void *room(self, size_t bytes) except NULL
    cdef int resize(self, uint32_t sessions) except -1
    cdef int serve(self) except -1
    cdef int own(self, object fastpath, Use use) except -1
    cdef int close(self, str why) except -1
    cdef void disown(self) noexcept
    cdef int _rows(self, plan) except -1
    cdef int _meters(self, plan, rooms=*) except -1
    cdef int _links(self, plan, distances) except -1
    cdef int _classes(self, plan) except -1
    cdef int _maps(self) except -1
    cdef int _waits(self, packets_max, keep) except -1
    cdef int _take_over(self, Shaper old, list meters, list links, bint serve) except -1
    cdef list _take_meters(self, Shaper old, meters)
    cdef int _take_sessions(self, Shaper old, kept, meters, links) except -1
    cdef dict _busy(self, uint32_t i)
    cdef int _advance(self, int64_t until_ns) except -1
    cdef int _parent(self, uint32_t i) except -1
    cdef int _class(self, uint32_t i) except -1
    cdef int _children(self) except -1
    cdef int _heap(self, heap_t *h, uint32_t count) except -1
    cdef int _rows_of(self, link_t *link) except -1
    cdef int _shares_of(self, class_t *c) except -1
    cdef int _take_turns(self, turn_t *turns, const turn_t *was, uint32_t first,
                         uint32_t count) except -1
    cdef int _bucket(self, class_t *c, int which, uint64_t rate, uint64_t depth) except -1
    cdef int _lineage(self, const class_t *c, uint64_t *most) except -1
    cdef int _arena(self, uint64_t packets) except -1
    cdef int _take_account(self, Shaper old, meter_t *m, meter_t *before, uint32_t there,
                           uint32_t here) except -1
    cdef int _take_meter(self, Shaper old, meter_t *m, meter_t *before) except -1
    cdef int _take_link(self, Shaper old, uint32_t here, uint32_t there) except -1
    cdef int _take_line(self, Shaper old, link_t *link, link_t *was) except -1
    cdef list _leave(self, Shaper old, link_t *link, link_t *was, uint32_t number)
    cdef int _adopt(self, class_t *c, const class_t *was, const uint64_t *before, size_t there,
                    size_t here) except -1
    cdef int _put_back(self, Shaper old, link_t *link, uint32_t place) except -1
    cdef int _ask(self, asker_t *a, session) except -1
    cdef tuple _waiting(self, uint32_t number)
    cdef bint _serial(self, uint32_t i)
    cdef bint _bound(self, const meter_t *m)
    cdef bint _accounted(self, const link_t *link, uint32_t number, packets, size)
