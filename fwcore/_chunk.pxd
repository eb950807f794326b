# A loaded chunk, for the loop.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fwcore._pack cimport Packed
from fwcore._parsed cimport Frames, Parsed
from fwcore.dataplane.frame cimport parser_t


cdef struct chunk_t:
    # The arrays of a loaded chunk; they outlive every run over it. That they are not written to
    # meanwhile is not believed: a frame's place is looked at again when it is read.
    const uint8_t *data
    uint64_t size
    const uint64_t *offset
    const uint32_t *captured
    const uint32_t *length
    const int64_t *time_ns
    const uint16_t *link
    uint16_t *outcome     # verdict, reason << 8
    uint64_t *flow        # keyed hash a packet; NULL: not wanted
    uint8_t *reply        # 1: sent by the session's responder; NULL: not wanted
    uint64_t count
    const uint8_t *parsed  # PARSED_BYTES a frame, see _parsed.pyx; NULL: nobody has


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
