# Sets of small numbers: a bit each, and above every 64 words a bit for each that is not empty, so
# that the next member is found by a few steps (Eiffel's hierarchical find-first-set).
#
# A set is an array of words; what its levels are stands in a span_t, which many sets share.

from libc.stdint cimport uint32_t, uint64_t

from fwcore.dataplane.layout cimport fw_ctz64
from fwcore.dataplane.shaping cimport SHAPE_NIL, span_t


cdef inline int bits_has(const uint64_t *w, uint32_t number) noexcept nogil:
    return (w[number >> 6] >> (number & 63)) & 1


cdef inline int bits_any(const uint64_t *w, const span_t *n) noexcept nogil:
    """Whether it has a member: the last word is the top."""
    return w[n.total - 1] != 0


cdef inline void bits_add(uint64_t *w, const span_t *n, uint32_t number) noexcept nogil:
    cdef uint32_t level
    for level in range(n.levels):
        w[n.first[level] + (number >> 6)] |= <uint64_t>1 << (number & 63)
        number >>= 6


cdef inline void bits_drop(uint64_t *w, const span_t *n, uint32_t number) noexcept nogil:
    cdef uint32_t level
    for level in range(n.levels):
        w[n.first[level] + (number >> 6)] &= ~(<uint64_t>1 << (number & 63))
        if w[n.first[level] + (number >> 6)]:
            return
        number >>= 6


cdef inline uint32_t bits_next(
    const uint64_t *w, const span_t *n, uint32_t least,
) noexcept nogil:
    """The lowest member that is not below a number, or NIL. Bounded by the levels."""
    cdef uint32_t level = 0
    cdef uint64_t rest
    while True:
        if least >> 6 < n.words[level]:
            rest = w[n.first[level] + (least >> 6)] >> (least & 63)
            if rest:
                least += fw_ctz64(rest)
                break
        level += 1
        if level == n.levels:
            return SHAPE_NIL
        least = (least >> 6) + 1
    while level:
        level -= 1
        least = least * 64 + fw_ctz64(w[n.first[level] + least])
    return least
