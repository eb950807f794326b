# The index and the records: find, link, unlink, the oldest of a bucket.
#
# Overview: a bucket is a line of eight entries (16-bit tag, record number), one cache line; what
# does not fit goes on in chained overflow lines. Entries stand in order of creation across the
# whole chain; removing one moves the younger ones up, so that every line but the last is full and
# ceil(n / 8) overflow lines always suffice.
#
# Records that are free are a stack. Whoever is to begin many sessions wants all that come next on
# their way from memory at once, and going along a list waits for each: so a free record knows the
# next COMING ones (free_t), which it copies from the one it lies on.
#
# Laws: as many index entries as records in use; the first entry of a bucket is its oldest session;
# a record's number appears once, in the bucket of its key.

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fwcore.dataplane.layout cimport (
    COMING, FW_ASSERT, NIL, PROTECTED_BIT, RECORD_MASK, WAYS, control_t, free_t, fw_ctz32,
    fw_key_t, fw_prefetch, fw_tags, line_t, record_t, table_t,
)


cdef inline int table_same(const record_t *r, const fw_key_t *key) noexcept nogil:
    if r.meta != key.meta or r.a_lo != key.a_lo or r.b_lo != key.b_lo:
        return 0
    return key.meta >> 56 == 4 or (r.a_hi == key.a_hi and r.b_hi == key.b_hi)


cdef inline uint32_t table_tagged(const line_t *line, uint64_t hash_) noexcept nogil:
    """Bit i: entry i of the line may be the key's."""
    return fw_tags(line.tag, <uint16_t>hash_) & ((<uint32_t>1 << line.count) - 1)


cdef inline uint32_t table_find(
    const table_t *table, const fw_key_t *key, uint64_t hash_, uint32_t bucket,
) noexcept nogil:
    """The record under key, or NIL."""
    cdef const line_t *line = &table.lines[bucket]
    cdef uint32_t mask, record
    while True:  # bounded: one turn a line of the bucket's chain
        mask = table_tagged(line, hash_)
        while mask:  # at most eight
            record = line.record[fw_ctz32(mask)] & RECORD_MASK
            if table_same(&table.records[record], key):
                return record
            mask &= mask - 1
        if line.next == NIL:
            return NIL
        line = &table.lines[line.next]


cdef inline uint64_t overflow_lines(const control_t *control) noexcept nogil:
    """As many as hold all sessions, whatever buckets they are in."""
    return (control.config.max_connections + WAYS - 1) // WAYS


cdef inline uint32_t line_after(const table_t *table, uint32_t free_line) noexcept nogil:
    """The next free overflow line. Behind one that was never used, and says nothing, that is its
    neighbour: so memory for chains that nobody needs is not touched."""
    cdef uint32_t following = table.lines[free_line].next
    return following if following else free_line + 1


cdef inline void table_link(
    table_t *table, uint32_t bucket, uint64_t hash_, uint32_t entry,
) noexcept nogil:
    """Adds an entry (record number, protected bit) as the youngest of its bucket."""
    cdef line_t *line = &table.lines[bucket]
    cdef uint32_t fresh
    while line.next != NIL:  # bounded by the chain
        line = &table.lines[line.next]
    if line.count == WAYS:
        fresh = table.free_line
        FW_ASSERT(fresh != NIL)
        table.free_line = line_after(table, fresh)
        line.next = fresh
        line = &table.lines[fresh]
        line.next = NIL
        line.count = 0
    line.tag[line.count] = <uint16_t>hash_
    line.record[line.count] = entry
    line.count += 1


cdef inline void table_close_gap(
    table_t *table, line_t *line, uint32_t way, line_t *before,
) noexcept nogil:
    """Moves every younger entry of the chain one place up, over the one at (line, way).

    ``before``: the line in front of this one, NULL for a bucket's first. An overflow line that
    becomes empty is given back.
    """
    cdef line_t *after
    cdef uint16_t tags[WAYS - 1]
    cdef uint32_t records[WAYS - 1]
    cdef uint32_t i
    FW_ASSERT(line.count > way)
    while True:  # bounded by the chain
        if way == 0:  # most often: all at once, and what lies behind the last entry
            memcpy(tags, &line.tag[1], sizeof(tags))
            memcpy(records, &line.record[1], sizeof(records))
            memcpy(&line.tag[0], tags, sizeof(tags))
            memcpy(&line.record[0], records, sizeof(records))
        for i in range(way + 1, line.count if way else 0):
            line.tag[i - 1] = line.tag[i]
            line.record[i - 1] = line.record[i]
        if line.next == NIL:
            break
        after = &table.lines[line.next]
        line.tag[WAYS - 1] = after.tag[0]
        line.record[WAYS - 1] = after.record[0]
        before = line
        line = after
        way = 0
    line.count -= 1
    if line.count == 0 and before != NULL:
        line.next = table.free_line
        table.free_line = before.next
        before.next = NIL


cdef inline void table_unlink(table_t *table, uint32_t bucket, uint32_t record) noexcept nogil:
    """=> the record stands in the bucket. Age order is kept."""
    cdef line_t *line = &table.lines[bucket]
    cdef line_t *before = NULL
    cdef uint32_t way
    while True:  # bounded by the chain
        for way in range(line.count):
            if line.record[way] & RECORD_MASK == record:
                table_close_gap(table, line, way, before)
                return
        FW_ASSERT(line.next != NIL)
        before = line
        line = &table.lines[line.next]


cdef inline uint32_t table_oldest(const table_t *table, uint32_t bucket) noexcept nogil:
    """The oldest session of the bucket, or NIL."""
    cdef const line_t *line = &table.lines[bucket]
    return line.record[0] & RECORD_MASK if line.count else NIL


cdef inline uint32_t table_oldest_free(
    const table_t *table, uint32_t bucket, uint32_t pinned,
) noexcept nogil:
    """The oldest that a tension pass may take: neither protected nor pinned; or NIL."""
    cdef const line_t *line = &table.lines[bucket]
    cdef uint32_t way, entry
    while True:  # bounded by the chain
        for way in range(line.count):
            entry = line.record[way]
            if not entry & PROTECTED_BIT and entry != pinned:
                return entry
        if line.next == NIL:
            return NIL
        line = &table.lines[line.next]


# --- what is free -------------------------------------------------------------------------------

cdef inline void table_free(table_t *table, uint32_t record) noexcept nogil:
    """The record is free, and the first to be taken. Under one that was never given back stand more
    of them, which need not be told."""
    cdef uint32_t top = table.free_record
    cdef free_t *free = <free_t *>&table.records[record]
    free.meta = 0
    free.coming[0] = top
    if top < table.records_high:
        memcpy(&free.coming[1], (<const free_t *>&table.records[top]).coming,
               (COMING - 1) * sizeof(uint32_t))
    table.timers[record] = top
    table.free_record = record
    if record >= table.records_high:
        table.records_high = record + 1


cdef struct coming_t:
    # A walk along what is free.
    uint32_t record       # where it stands; NIL: at the end
    uint32_t by           # the free record that tells what comes
    uint32_t told         # so many it has told


cdef inline void coming_begin(const table_t *table, coming_t *walk) noexcept nogil:
    walk.record = walk.by = table.free_record
    walk.told = 0


cdef inline void coming_next(
    const table_t *table, const control_t *control, coming_t *walk,
) noexcept nogil:
    """=> it is not at the end."""
    if walk.record >= table.records_high:
        walk.record += 1
        if walk.record == control.config.max_connections:
            walk.record = NIL
        return
    if walk.told == 0 or walk.told == COMING:
        walk.by = walk.record
        walk.told = 0
    walk.record = (<const free_t *>&table.records[walk.by]).coming[walk.told]
    if walk.told == 0:  # who tells next: there when it is asked
        fw_prefetch(&table.records[(<const free_t *>&table.records[walk.by]).coming[COMING - 1]])
    walk.told += 1
