# A loaded chunk, for the loop.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from fwcore._pack cimport Packed
from fwcore._parsed cimport Frames, Parsed
from fwcore.dataplane.frame cimport chunk_t, parser_t


cdef class Loaded:
    cdef chunk_t c
    # the arrays behind it, held meanwhile
    cdef Frames frames
    cdef const int64_t[::1] time_ns
    cdef uint16_t[::1] outcome
    cdef uint64_t[::1] flow
    cdef uint8_t[::1] reply
    cdef Parsed parsed          # what they are, where somebody has found out; or None
    cdef Packed packed          # or the frames that were packed
    cdef bint holds             # 1: some of the arrays

    cdef int hold(self, object chunk, object outcome, object flow, object reply) except -1
    cdef int _hold(self, object chunk, object outcome, object flow, object reply) except -1
    cdef int _hold_packed(self, Packed packed, object outcome, object flow, object reply) except -1
    cdef void lend(self, Packed packed, uint16_t *outcome) noexcept
    cdef void trust(self, const parser_t *parser) noexcept
    cdef void let_go(self) noexcept
