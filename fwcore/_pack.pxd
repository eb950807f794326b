from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


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

    cdef int reserve(self, size_t bytes) except -1
    cdef int place(self, size_t bytes) except -1
    cdef int add(self, const uint8_t *data, size_t size) except -1
    cdef int add_rows(self, object rows) except -1
    cdef int add_one(self, object item, int depth) except -1
    cdef int add_all(self, object items, int depth) except -1
    cdef int set_times(self, object times) except -1
    cdef int set_lengths(self, object lengths) except -1
    cdef int set_links(self, object link) except -1
    cdef int grow(self, void **array, size_t bytes) except -1
