# The class that takes over from a shaper of other settings.

from libc.stdint cimport uint32_t, uint64_t

from fwcore._shaper_plan cimport Planned
from fwcore.dataplane.shaping cimport class_t, link_t, meter_t, turn_t, wait_t

cdef list numbers_of(str what, given, size_t count, size_t there)

cdef class Changed(Planned):
    cdef int serve(self) except -1
    cdef int _take_over(self, Planned old, list meters, list links, bint serve) except -1
    cdef int _take_samples(self, Planned old, list meters, list links) except -1
    cdef tuple _same_words(self, Planned old, list meters, list links)
    cdef list _take_meters(self, Planned old, meters)
    cdef int _take_sessions(self, Planned old, kept, meters, links) except -1
    cdef int _take_turns(self, turn_t *turns, const turn_t *was, uint32_t first,
                         uint32_t count) except -1
    cdef int _take_account(self, Planned old, meter_t *m, meter_t *before, uint32_t there,
                           uint32_t here) except -1
    cdef int _take_meter(self, Planned old, meter_t *m, meter_t *before) except -1
    cdef int _take_link(self, Planned old, uint32_t here, uint32_t there) except -1
    cdef int _take_line(self, Planned old, link_t *link, link_t *was) except -1
    cdef list _leave(self, Planned old, link_t *link, link_t *was, uint32_t number)
    cdef int _adopt(self, class_t *c, const class_t *was, const uint64_t *before, size_t there,
                    size_t here) except -1
    cdef int _put_back(self, Planned old, link_t *was, link_t *link, uint32_t place) except -1
    cdef int _go_on(self, Planned old, const class_t *leaf, link_t *was, const wait_t *w,
                    uint32_t number) except -1
