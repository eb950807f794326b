# What others see of the table: record numbers, and a row for each session. Read only, no GIL.
#
# A session's bytes lie anywhere, so that each pass asks for the records it is about to need
# (ROWS_AHEAD). In order of creation: numbers by bucket, then when each was made, the sort of which
# is the caller's, then the rows. Following the order of age instead would wait for each record
# before the next is known.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fwcore.dataplane.layout cimport (
    NIL, RECORD_MASK, SESSION_LOCAL, control_t, fw_bucket, fw_ctz32, fw_prefetch, fw_t, line_t,
    session_row_t, table_t,
)
from fwcore.dataplane.session cimport session_hash, session_row
from fwcore.dataplane.table cimport table_tagged

cdef enum:
    ROWS_AHEAD = 16     # records on their way at once


cdef inline void rows_records(
    const table_t *table, const control_t *control, uint32_t *out,
) noexcept nogil:
    """Numbers of the records in use, in order of their buckets. => room for memory.live"""
    cdef const line_t *line
    cdef uint64_t bucket, found = 0
    cdef uint32_t direction
    for bucket in range(control.config.buckets):
        line = &table.lines[bucket]
        while True:  # bounded by the lines of the bucket
            for direction in range(line.count):
                out[found] = line.record[direction] & RECORD_MASK
                found += 1
            if line.next == NIL:
                break
            line = &table.lines[line.next]


cdef inline void rows_created(
    const table_t *table, const uint32_t *records, uint64_t count, uint64_t *out,
) noexcept nogil:
    """The packet that made each; no two of them the same."""
    cdef uint64_t i
    for i in range(count):
        if i + ROWS_AHEAD < count:
            fw_prefetch(&table.records[records[i + ROWS_AHEAD]].created_packet)
        out[i] = table.records[records[i]].created_packet


cdef inline void rows_sessions(
    const fw_t *fw, const uint32_t *records, uint64_t count, session_row_t *rows,
    uint8_t *protected,
) noexcept nogil:
    """A row a record, and whether a tension pass spares it."""
    cdef uint64_t i
    for i in range(count):
        if i + ROWS_AHEAD < count:
            fw_prefetch(&fw.table.records[records[i + ROWS_AHEAD]])
            fw_prefetch(&fw.table.records[records[i + ROWS_AHEAD]].a_hi)
        session_row(fw, records[i], 255,
                    session_hash(&fw.control, &fw.table.records[records[i]]), &rows[i])
        protected[i] = (fw.table.records[records[i]].flags & SESSION_LOCAL) != 0


cdef inline uint32_t rows_find(
    const table_t *table, const control_t *control, uint64_t hash_,
) noexcept nogil:
    """The session whose key has this hash, or NIL."""
    cdef const line_t *line = &table.lines[fw_bucket(hash_, control.config.buckets)]
    cdef uint32_t mask, record
    while True:  # bounded by the lines of the bucket
        mask = table_tagged(line, hash_)
        while mask:  # at most eight
            record = line.record[fw_ctz32(mask)] & RECORD_MASK
            if session_hash(control, &table.records[record]) == hash_:
                return record
            mask &= mask - 1
        if line.next == NIL:
            return NIL
        line = &table.lines[line.next]
