# Frames of a chunk, and what they are where somebody has parsed them beforehand, for the loop.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fwcore.dataplane.frame cimport parser_t
from fwcore.dataplane.layout cimport SEED_WORDS

cdef enum:
    SPARES = 8               # rooms that wait to be used again


cdef class Frames:
    # the arrays of a chunk, held so that no others come to stand in their place
    cdef const uint8_t[::1] data
    cdef const uint64_t[::1] offset
    cdef const uint32_t[::1] captured
    cdef const uint32_t[::1] length
    cdef const uint16_t[::1] link
    cdef const uint8_t *bytes_      # NULL: there is none
    cdef uint64_t count, size

    cdef bint same(self, Frames other) noexcept


cdef class Parsing:
    cdef parser_t parser
    cdef uint64_t seeds[SEED_WORDS]
    cdef uint8_t *spare[SPARES]
    cdef size_t spare_bytes[SPARES]

    cdef uint8_t *room(self, size_t bytes) except NULL
    cdef void give_back(self, uint8_t *room, size_t bytes) noexcept


cdef class Parsed:
    cdef Frames frames
    cdef Parsing parsing
    cdef uint8_t *packets    # PARSED_BYTES a frame
    cdef size_t room

    cdef void parse(self) noexcept
    cdef bint of(self, Frames frames) noexcept


cdef Parsing parsing_by(const parser_t *parser)
