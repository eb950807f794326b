# The audit: a fresh walk through everything that is linked, against what the counters claim.
#
# Overview: index, hosts, timers, order of creation, fragments and every list of what is free are
# walked once each. Whatever does not fit is counted, not followed: a walk has a bound, so that a
# list which runs in a circle ends as one fault more.
#
# Law: it changes nothing and trusts nothing; each thing is counted from where it stands.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from fwcore.dataplane.clock cimport clock_earliest, clock_slot_tick, clock_tick_ns
from fwcore.dataplane.fragment cimport fragment_slot
from fwcore.dataplane.hosts cimport host_family, host_head, host_live
from fwcore.dataplane.layout cimport (
    DUE_COUNT, NIL, PROTECTED_BIT, RECORD_MASK, SESSION_HALF_OPEN, SESSION_LOCAL, SESSION_ONCE,
    SESSION_PROXIED, SLOT_BIT, WAYS, WHEEL_LEVELS, WHEEL_SLOTS, WHEN_FULL_REPLACE_OLDEST, audit_t,
    control_t, fragment_t, fw_bucket, fw_clock_t, fw_prefetch, host_t, line_t, memory_t, record_t,
    table_t,
)
from fwcore.dataplane.session cimport object_pages, session_due_tick, session_hash
from fwcore.dataplane.table cimport (
    coming_begin, coming_next, coming_t, line_after, overflow_lines)

cdef enum:
    LINES_AHEAD = 8      # buckets whose records are under way from memory while one is looked at


# --- the index ----------------------------------------------------------------------------------

cdef inline void audit_prefetch(const table_t *table, uint64_t bucket) noexcept nogil:
    """What a bucket further on names. A prefetch reads nothing: any number may stand there."""
    cdef const line_t *line = &table.lines[bucket]
    cdef uint32_t way
    fw_prefetch(&table.hosts[line.hosts[0]])
    fw_prefetch(&table.hosts[line.hosts[1]])
    for way in range(WAYS):
        fw_prefetch(&table.records[line.record[way] & RECORD_MASK])
        fw_prefetch(&table.records[line.record[way] & RECORD_MASK].a_hi)


cdef inline uint64_t audit_entry(
    const table_t *table, const control_t *control, uint64_t bucket, const line_t *line,
    uint32_t way, uint64_t last, uint32_t *hosts, audit_t *a,
) noexcept nogil:
    """One entry of the index: its record, its place, its tag; the packet that created it.

    `last`: the packet that created the entry before it. `hosts`: written, one session more.
    """
    cdef uint32_t number = line.record[way] & RECORD_MASK
    cdef const record_t *r = &table.records[number]
    cdef uint64_t hash_
    cdef int local
    if number >= control.config.max_connections or r.meta == 0 or r.host >= table.hosts_high:
        a.misplaced += 1
        return last
    hash_ = session_hash(control, r)
    local = (r.flags & SESSION_LOCAL) != 0
    a.misplaced += fw_bucket(hash_, control.config.buckets) != bucket
    a.misplaced += r.created_packet < last
    a.tags_wrong += line.tag[way] != <uint16_t>hash_
    a.tags_wrong += ((line.record[way] & PROTECTED_BIT) != 0) != local
    hosts[r.host] += 1
    a.half_open += (r.flags & (SESSION_HALF_OPEN | SESSION_ONCE)) != 0
    a.spared += local
    if r.flags & SESSION_PROXIED:
        a.proxied += 1
        a.shm_pages += object_pages(r) + control.config.proxy_session_pages
    return r.created_packet


cdef inline void audit_index(
    const table_t *table, const control_t *control, uint32_t *hosts, audit_t *a,
) noexcept nogil:
    """Every bucket; `hosts`: written, sessions by host entry. Bound: lines, and entries of each."""
    cdef uint64_t overflow = overflow_lines(control)
    cdef uint64_t bucket, depth, last, lines = 0
    cdef uint32_t way, free_line = table.free_line
    cdef const line_t *line
    for bucket in range(control.config.buckets):
        if bucket + LINES_AHEAD < control.config.buckets:
            audit_prefetch(table, bucket + LINES_AHEAD)
        line = &table.lines[bucket]
        depth = last = 0
        while True:
            for way in range(line.count):
                last = audit_entry(table, control, bucket, line, way, last, hosts, a)
            depth += line.count
            if line.next == NIL or lines == overflow:
                break
            a.lines_wrong += line.count != WAYS  # only the last of a chain may be short
            lines += 1
            line = &table.lines[line.next]
        a.index_entries += depth
        a.depth = depth if depth > a.depth else a.depth
    while free_line != NIL and lines <= overflow:
        lines += 1
        free_line = line_after(table, free_line)
    a.lines_wrong += lines != overflow


# --- hosts and free records ---------------------------------------------------------------------

cdef inline void audit_hosts(
    const table_t *table, const control_t *control, const uint32_t *hosts, audit_t *a,
) noexcept nogil:
    """`hosts`: sessions by entry, as the index has them. Bound: entries, and chains."""
    cdef uint64_t i, chained = 0
    cdef uint32_t host
    cdef const uint32_t *head
    cdef const host_t *h
    for i in range(table.hosts_high):
        a.hosts_live += host_live(&table.hosts[i])
        a.host_entries_wrong += host_live(&table.hosts[i]) != hosts[i]
    for i in range(2 * control.config.buckets):
        head = &table.lines[i >> 1].hosts[i & 1]
        host = head[0]
        while host != NIL and chained <= control.config.max_connections:
            h = &table.hosts[host]
            chained += 1
            a.host_entries_wrong += host_live(h) == 0 or head != host_head(
                table, control, h.lo, h.hi, host_family(h))
            host = h.next
    host = table.free_host
    while host != NIL and chained <= control.config.max_connections:
        chained += 1
        a.host_entries_wrong += table.hosts[host].count != 0
        host = table.hosts[host].next
    a.host_entries_wrong += chained != control.config.max_connections


cdef inline void audit_free_records(
    const table_t *table, const control_t *control, audit_t *a,
) noexcept nogil:
    """=> a.live: the records that are not free. What they tell of each other is what is so."""
    cdef uint32_t record = table.free_record
    cdef uint64_t free = 0
    cdef coming_t walk
    coming_begin(table, &walk)
    while record != NIL and free <= control.config.max_connections:
        free += 1
        a.misplaced += table.records[record].meta != 0 or walk.record != record
        record = table.timers[record]
        if walk.record < control.config.max_connections:
            coming_next(table, control, &walk)
    a.misplaced += walk.record != NIL
    a.live = control.config.max_connections - free


# --- time ---------------------------------------------------------------------------------------

cdef inline void audit_slot(
    const table_t *table, const control_t *control, const fw_clock_t *clock, uint32_t slot,
    uint64_t tick, uint64_t present, audit_t *a,
) noexcept nogil:
    """The sessions of a slot that falls due at `tick`: not yet, and not too late for any."""
    cdef uint32_t record = clock.head[slot]
    cdef uint32_t before = SLOT_BIT | slot
    cdef uint64_t latest
    if tick <= present and not (clock.unfinished and tick == present):
        a.overdue += 1
    while record != NIL and a.timers <= control.config.max_connections:
        a.timers += 1
        a.timers_wrong += table.records[record].timer_prev != before
        a.timers_wrong += table.records[record].meta == 0
        latest = session_due_tick(control, clock, &table.records[record])
        a.overdue += tick > (latest if latest > present else present + 1)
        before = record
        record = table.timers[record]


cdef inline void audit_timers(
    const table_t *table, const control_t *control, const fw_clock_t *clock, audit_t *a,
) noexcept nogil:
    """Every slot of the wheel, and the deadlines. No session stands past its tick."""
    cdef uint64_t base, present = 0
    cdef int level, slot, marked
    if clock.now_ns > clock.start_ns:
        present = <uint64_t>(clock.now_ns - clock.start_ns) // <uint64_t>control.config.sweep_ns
    for level in range(WHEEL_LEVELS):
        base = clock.tick >> 6 * level
        for slot in range(WHEEL_SLOTS):
            marked = (clock.map[level] >> slot) & 1
            a.timers_wrong += marked != (clock.head[level * WHEEL_SLOTS + slot] != NIL)
            if marked:
                audit_slot(table, control, clock, level * WHEEL_SLOTS + slot,
                           (base + (slot - base) % WHEEL_SLOTS) << 6 * level, present, a)
    a.overdue += clock.deadline_ns > clock_earliest(clock, DUE_COUNT)
    base = clock_slot_tick(clock)
    a.overdue += base != 0 and clock.deadline_ns > clock_tick_ns(control, clock, base)


cdef inline void audit_ages(
    const table_t *table, const memory_t *memory, const control_t *control, audit_t *a,
) noexcept nogil:
    """The order of creation, which only `replace_oldest` keeps. Bound: max_connections."""
    cdef uint32_t record = table.oldest
    cdef uint32_t before = NIL
    cdef uint64_t entries = 0, last = 0
    if control.config.when_full != WHEN_FULL_REPLACE_OLDEST:
        return
    while record != NIL and entries <= control.config.max_connections:
        entries += 1
        a.ages_wrong += table.records[record].age_prev != before or table.records[record].meta == 0
        a.ages_wrong += table.records[record].created_packet < last
        last = table.records[record].created_packet
        before = record
        record = table.records[record].age_next
    a.ages_wrong += before != table.newest or entries != memory.live


# --- fragments ----------------------------------------------------------------------------------

cdef inline void audit_fragments(
    const memory_t *memory, const control_t *control, audit_t *a,
) noexcept nogil:
    """In order of arrival, by hash slot, and the free ones. Bound: entries, and slots."""
    cdef uint32_t entry = memory.fragment_oldest
    cdef uint32_t before = NIL
    cdef uint64_t i, chained = 0, entries = 0
    cdef int64_t last = 0
    cdef const fragment_t *e
    while entry != NIL and entries <= control.config.fragments_max:
        e = &memory.fragments[entry]
        entries += 1
        a.fragments_wrong += e.older != before or e.inserted_ns < last
        last = e.inserted_ns
        before = entry
        entry = e.newer
    a.fragments_wrong += before != memory.fragment_newest
    for i in range(<uint64_t>memory.fragment_mask + 1):
        entry = memory.fragment_heads[i]
        while entry != NIL and chained <= control.config.fragments_max:
            e = &memory.fragments[entry]
            chained += 1
            a.fragments_wrong += fragment_slot(
                memory, control, e.meta, e.source_lo, e.destination_lo, e.id) != i
            entry = e.chain
    a.fragments_wrong += chained != entries
    entry = memory.fragment_free
    while entry != NIL and chained <= control.config.fragments_max:
        chained += 1
        entry = memory.fragments[entry].chain
    a.fragments_wrong += chained != control.config.fragments_max


cdef inline void audit_walk(
    const table_t *table, const memory_t *memory, const control_t *control,
    const fw_clock_t *clock, uint32_t *hosts, audit_t *a,
) noexcept nogil:
    """Everything. `hosts`: uint32[hosts_high], zeros; written. => a: zeros before."""
    audit_index(table, control, hosts, a)
    audit_hosts(table, control, hosts, a)
    audit_free_records(table, control, a)
    audit_timers(table, control, clock, a)
    audit_ages(table, memory, control, a)
    audit_fragments(memory, control, a)
