# What a shaper writes down: a row for each noun, and the class that writes them.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fwcore._shaper_change cimport Changed
from fwcore.dataplane.layout cimport HALVES, rows_digest_t
from fwcore.dataplane.shaping cimport (
    COUNTED, DROP_COUNT, ORDERS, PRIORITIES, RUNGS_MAX, class_t, codel_t,
)

cdef struct kept_shaper_t:
    int64_t now_ns
    uint64_t order, came_bytes, tcp_bytes, sessions_hit
    uint64_t unshaped[COUNTED]
    uint64_t samples_every, samples_passed
    rows_digest_t digest


cdef struct kept_meter_t:
    uint64_t passed[COUNTED]
    uint64_t dropped[COUNTED]
    uint64_t by_colour[RUNGS_MAX + 1]
    uint64_t charged[RUNGS_MAX]
    uint64_t keys_forgotten, keys_shared, heaviest, forgotten_before
    int64_t since


cdef struct kept_account_t:   # a meter's are side by side: held, idle ones in their order, shared
    int64_t time_ns
    int64_t level[RUNGS_MAX]
    uint64_t key[HALVES]
    uint32_t family, meter, shared, pad


cdef struct kept_link_t:
    int32_t row_at[ORDERS * PRIORITIES]         # ids
    int32_t turn[PRIORITIES]            # ids
    uint32_t line_gone         # 1: the class of what is on the line went away; line_cls was its id
    uint32_t line_cls
    uint64_t line_rate         # 0: the line is free
    int64_t start_ns, end_ns
    uint64_t start_rest, end_rest
    uint64_t packets, bytes, line_bytes
    uint64_t peak[COUNTED]
    uint64_t busy[HALVES]      # low, high
    uint64_t busy_before[HALVES]
    uint64_t before_rate
    int64_t first_ns, last_ns
    uint64_t last_rest, overlaps, crest, taken_ns


cdef struct kept_busy_t:       # of former rates
    uint64_t rate, low, high
    uint32_t link, pad


cdef struct kept_class_t:
    int64_t guarantee, guarantee_ns, ceiling, ceiling_ns   # levels, and as of when
    codel_t codel
    int64_t deficit[ORDERS]
    int32_t turn[PRIORITIES]            # ids
    int64_t turn_ns            # when its colour may change
    uint64_t largest, giants, borrowed, delay_max, dropped_bytes, crest, slowest
    uint64_t arrived[COUNTED]
    uint64_t sent[COUNTED]
    uint64_t cleared[COUNTED]
    uint64_t dropped[DROP_COUNT]
    uint32_t colour, pad


cdef struct kept_delay_t:      # a bucket of a class's histogram that is not empty
    uint64_t count
    uint32_t cls, bucket


cdef struct kept_share_t:      # a class's are side by side: the new list, the old one, the others
    int64_t credit, level, time_ns, since
    codel_t codel
    uint64_t address[HALVES]
    uint32_t family, place, number, cls


cdef struct kept_wait_t:       # a queue's in their order
    uint64_t packet, order, flow, size
    int64_t time_ns
    uint64_t source[HALVES]
    uint64_t destination[HALVES]
    uint32_t frame, ip, share
    uint32_t cls               # its number; of a packet on a line the link's
    uint16_t id
    uint8_t mark, ect, direction, family, line, pad


cdef class Written(Changed):
    cdef dict written(self, numbers)
    cdef int renumber(self, numbers, uint32_t sessions) except -1
    cdef object _samples_written(self)
    cdef object _accounts_written(self)
    cdef object _sessions_written(self, numbers)
    cdef object _meters_written(self)
    cdef object _links_written(self)
    cdef object _busy_written(self)
    cdef object _classes_written(self)
    cdef object _delays_written(self)
    cdef object _shares_written(self)
    cdef object _waits_written(self)
    cdef list _shares_in_order(self, const class_t *c)
    cdef list _queue(self, const class_t *c)
