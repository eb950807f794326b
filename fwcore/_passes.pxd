# Passes one and two over a group of packets: frames to packets, tags to records, all on their way
# from memory while others are finished.
#
# Law: they change nothing but the packets they write and the flows that were asked for; what they
# find is a guess, which pass three (packet_finish in _fastpath.pyx) looks at.

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from fwcore.dataplane.frame cimport chunk_t, frame_expect, parser_t
from fwcore.dataplane.hosts cimport host_head
from fwcore.dataplane.layout cimport (
    GROUP_MAX, KIND_KEYED, NIL, PARSED_BYTES, RECORD_MASK, control_t, fw_bucket, fw_ctz32,
    fw_prefetch, fw_prefetch_read, fw_t, fw_unlikely, line_t, packet_t, record_t, table_t,
)
from fwcore.dataplane.parse cimport parse_placed
from fwcore.dataplane.session cimport session_prefetch_end
from fwcore.dataplane.table cimport coming_begin, coming_next, coming_t, table_tagged

cdef enum:
    PARSED_AHEAD = 64      # lines of another core's: its cache, or memory, is asked so far ahead


cdef inline uint32_t group_size(
    const chunk_t *chunk, uint64_t position, uint32_t group,
) noexcept nogil:
    return group if chunk.count - position >= group else <uint32_t>(chunk.count - position)


cdef inline void packet_line(
    const table_t *table, const control_t *control, packet_t *p,
) noexcept nogil:
    """The bucket's line is on its way."""
    p.bucket = fw_bucket(p.hash, control.config.buckets)
    fw_prefetch(&table.lines[p.bucket])


cdef inline void group_parse(
    const table_t *table, const control_t *control, const parser_t *parser, const chunk_t *chunk,
    uint64_t first, uint32_t count, packet_t *packets,
) noexcept nogil:
    """Pass one: frames to packets."""
    cdef uint64_t i
    cdef packet_t *p
    for i in range(first, first + count):
        p = &packets[i - first]
        frame_expect(chunk.data, chunk.offset, i, chunk.count)
        parse_placed(chunk.data, chunk.size, chunk.offset[i], chunk.captured[i], chunk.length[i],
                     chunk.link[i], parser, p)
        packet_line(table, control, p)


cdef inline void group_take(
    const table_t *table, const control_t *control, const parser_t *parser, const chunk_t *chunk,
    uint64_t first, uint32_t count, packet_t *packets,
) noexcept nogil:
    """Pass one where somebody has parsed beforehand (_parsed.pyx)."""
    cdef uint64_t i
    cdef packet_t *p
    for i in range(first, first + count):
        p = &packets[i - first]
        fw_prefetch_read(chunk.parsed + (i + PARSED_AHEAD) * PARSED_BYTES)
        memcpy(p, chunk.parsed + i * PARSED_BYTES, PARSED_BYTES)
        if fw_unlikely(p.fragment):     # what goes with it has no room there
            parse_placed(chunk.data, chunk.size, chunk.offset[i], chunk.captured[i],
                         chunk.length[i], chunk.link[i], parser, p)
        packet_line(table, control, p)


cdef inline void group_begin(
    const fw_t *fw, const parser_t *parser, const chunk_t *chunk, uint64_t first, uint32_t count,
    packet_t *packets,
) noexcept nogil:
    """Pass one, and the flows that are asked for."""
    cdef uint32_t i
    if chunk.parsed != NULL:
        group_take(&fw.table, &fw.control, parser, chunk, first, count, packets)
    else:
        group_parse(&fw.table, &fw.control, parser, chunk, first, count, packets)
    if chunk.flow != NULL:
        for i in range(count):
            chunk.flow[first + i] = packets[i].hash


cdef inline void group_fetch(
    const fw_t *fw, packet_t *packets, uint32_t count,
) noexcept nogil:
    """Pass two: tags to records, which are on their way. Guesses, which pass three looks at."""
    cdef packet_t *p
    cdef const line_t *line
    cdef const record_t *r
    cdef uint32_t i, mask
    cdef coming_t coming
    cdef const uint32_t *heads[GROUP_MAX]
    cdef uint32_t fresh = 0
    cdef int ruled = fw.control.policies.count != 0
    coming_begin(&fw.table, &coming)
    for i in range(count):
        p = &packets[i]
        p.guess = 0
        if p.kind != KIND_KEYED:
            continue
        line = &fw.table.lines[p.bucket]
        mask = table_tagged(line, p.hash)
        if mask:
            p.guess = line.record[fw_ctz32(mask)] & RECORD_MASK
            r = &fw.table.records[p.guess]
            fw_prefetch(r)
            if ruled or p.key.meta >> 56 == 6:
                fw_prefetch(&r.a_hi)
        else:
            heads[fresh] = host_head(
                &fw.table, &fw.control, p.key.b_lo if p.swapped else p.key.a_lo,
                p.key.b_hi if p.swapped else p.key.a_hi, <uint32_t>(p.key.meta >> 56))
            fw_prefetch(heads[fresh])
            fresh += 1
            if coming.record != NIL:
                fw_prefetch(&fw.table.records[coming.record])
                fw_prefetch(&fw.table.records[coming.record].a_hi)
                fw_prefetch(&fw.table.timers[coming.record])
                coming_next(&fw.table, &fw.control, &coming)
            elif line.count:
                fw_prefetch(&fw.table.records[line.record[0] & RECORD_MASK])
                fw_prefetch(&fw.table.records[line.record[0] & RECORD_MASK].a_hi)
            if fw.counters.victims:
                fw_prefetch(&fw.table.reborn[p.hash & fw.table.reborn_mask])
    for i in range(fresh):
        if heads[i][0] != NIL:
            fw_prefetch(&fw.table.hosts[heads[i][0]])
    if fw_unlikely(fw.shaper != NULL):
        fw.egress.fetch(fw, packets, count)


cdef inline void group_fetch_victims(
    const table_t *table, const control_t *control, const packet_t *packets, uint32_t count,
) noexcept nogil:
    """With a full table, what the end of each likely victim touches."""
    cdef const line_t *line
    cdef uint32_t i
    for i in range(count):
        if packets[i].kind != KIND_KEYED:
            continue
        line = &table.lines[packets[i].bucket]
        if line.count and not table_tagged(line, packets[i].hash):
            session_prefetch_end(table, control, line.record[0] & RECORD_MASK, 1)
