from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fwcore.dataplane.layout cimport TIME_MAX_NS


cdef int64_t whole(object number, str what, size_t place, int64_t highest) except -1


cdef class Packed:
    cdef uint8_t *data
    cdef size_t size, room           # bytes of frames, and what there is memory for
    cdef uint64_t *offset
    cdef uint32_t *captured
    cdef uint32_t *length
    cdef int64_t *time_ns
    cdef uint16_t *link
    cdef size_t count, places        # frames, and what there is memory for
    cdef int held                    # by fast paths that run over it
    cdef bint filling                # within pack: what is asked for frames may not call again

    cdef int fill(self, object frames, object times, object lengths, object link) except -1
    cdef int check_count(self, object rows, object times) except -1
    cdef int reserve(self, size_t bytes, size_t frames) except -1
    cdef int check(self, size_t bytes) except -1
    cdef void put(self, const void *data, size_t size) noexcept
    cdef int add(self, const void *data, size_t size) except -1
    cdef int add_rows(self, object rows) except -1
    cdef int add_one(self, object item, int depth) except -1
    cdef int add_all(self, object items, int depth) except -1
    cdef int add_list(self, object items, int depth) except -1
    cdef Py_ssize_t add_bytes(self, PyObject **items, Py_ssize_t count) except -1
    cdef int set_times(self, object times) except -1
    cdef int set_times_list(self, object times) except -1
    cdef int set_lengths(self, object lengths) except -1
    cdef int set_links(self, object link) except -1
    cdef int grow(self, void **array, size_t bytes) except -1


cdef class Borrowed(Packed):
    cdef int lend(
        self, const uint8_t *data, uint64_t size, const uint64_t *offset, const uint32_t *captured,
        const uint32_t *length, const int64_t *time_ns, const uint16_t *link, uint64_t count,
    ) except -1


cdef inline uint64_t frames_check(
    const uint64_t *offset, const uint32_t *captured, const int64_t *time_ns, uint64_t count,
    uint64_t size,
) noexcept nogil:
    """The first frame that reaches past its data or has no valid time; count: none."""
    cdef uint64_t i, at_ns, latest = TIME_MAX_NS, bad = 0
    if size < latest:  # then a top bit below tells, and the compiler takes several at once
        for i in range(count):
            bad |= offset[i] | offset[i] << 1
            bad |= size - offset[i] - captured[i]
            bad |= <uint64_t>time_ns[i] | (latest - <uint64_t>time_ns[i])
        if not bad >> 63:
            return count
    for i in range(count):
        at_ns = <uint64_t>time_ns[i]
        if offset[i] > size or size - offset[i] < captured[i] or at_ns > latest:
            return i
    return count


cdef object frame_fault(
    uint64_t place, uint64_t offset, uint32_t captured, int64_t time_ns, uint64_t size)
