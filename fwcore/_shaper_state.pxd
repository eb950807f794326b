# The class that takes up what a shaper wrote down.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fwcore._shaper_written cimport (
    Written, kept_account_t, kept_class_t, kept_link_t, kept_meter_t, kept_share_t, kept_wait_t,
)
from fwcore.dataplane.shaping cimport class_t, link_t, meter_t, share_t, shaped_t

cdef class Kept(Written):
    cdef int take_up(self, tables, uint64_t packets) except -1
    cdef object _set_accounts(self, meters, accounts)
    cdef int _set_account(self, const kept_account_t *row, uint32_t *place) except -1
    cdef int _set_meter(self, meter_t *m, const kept_meter_t *row) except -1
    cdef int _set_sessions(self, sessions, accounts, places) except -1
    cdef int _hold(self, shaped_t *h, int direction, int k, uint32_t at, int64_t meter) except -1
    cdef int _set_samples(self, words) except -1
    cdef int _set_rows(self, rows) except -1
    cdef int _set_classes(self, classes, delays) except -1
    cdef int _set_class(self, class_t *c, const kept_class_t *row) except -1
    cdef int _set_shares(self, shares) except -1
    cdef int _set_share(self, class_t *c, share_t *share, const kept_share_t *row) except -1
    cdef int _set_waits(self, waits, uint64_t packets) except -1
    cdef uint32_t _set_wait(self, const kept_wait_t *row) noexcept
    cdef int _put(self, class_t *c, uint32_t at) except -1
    cdef int _wake_shares(self, class_t *c) except -1
    cdef int _set_links(self, links, busy) except -1
    cdef int _set_link(self, link_t *link, const kept_link_t *row) except -1
    cdef int _set_line(self, link_t *link, const kept_link_t *row) except -1
    cdef int _stand(self, link_t *link, classes) except -1
    cdef int _check_colour(self, link_t *link, class_t *c, const kept_class_t *row) except -1
