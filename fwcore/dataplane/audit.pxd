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
from fwcore.dataplane.hosts cimport host_slot
from fwcore.dataplane.layout cimport (
    DUE_COUNT, NIL, PROTECTED_BIT, RECORD_MASK, SESSION_HALF_OPEN, SESSION_LOCAL, SESSION_ONCE,
    SESSION_PROXIED, WAYS, WHEEL_LEVELS, WHEEL_SLOTS, WHEN_FULL_REPLACE_OLDEST, audit_t, fragment_t,
    fw_bucket, fw_t, host_t, line_t, record_t,
)
from fwcore.dataplane.session cimport object_pages, session_due_tick, session_hash


# --- the index ----------------------------------------------------------------------------------

cdef inline uint64_t audit_entry(
    const fw_t *fw, uint64_t bucket, const line_t *line, uint32_t way, uint64_t last,
    uint32_t *hosts, audit_t *a,
) noexcept nogil:
    """One entry of the index: its record, its place, its tag; the packet that created it.

    `last`: the packet that created the entry before it. `hosts`: written, one session more.
    """
    cdef uint32_t number = line.record[way] & RECORD_MASK
    cdef const record_t *r = &fw.records[number]
    cdef uint64_t hash_
    cdef int local
    if number >= fw.config.max_connections or r.meta == 0 or r.host >= fw.hosts_high:
        a.misplaced += 1
        return last
    hash_ = session_hash(fw, r)
    local = (r.flags & SESSION_LOCAL) != 0
    a.misplaced += fw_bucket(hash_, fw.config.buckets) != bucket
    a.misplaced += r.created_packet < last
    a.tags_wrong += line.tag[way] != <uint16_t>hash_
    a.tags_wrong += ((line.record[way] & PROTECTED_BIT) != 0) != local
    hosts[r.host] += 1
    a.half_open += (r.flags & (SESSION_HALF_OPEN | SESSION_ONCE)) != 0
    if r.flags & SESSION_PROXIED:
        a.proxied += 1
        a.shm_pages += object_pages(r) + fw.config.proxy_session_pages
    return r.created_packet


cdef inline void audit_index(const fw_t *fw, uint32_t *hosts, audit_t *a) noexcept nogil:
    """Every bucket; `hosts`: written, sessions by host entry. Bound: lines, and entries of each."""
    cdef uint64_t overflow = (fw.config.max_connections + WAYS - 1) // WAYS
    cdef uint64_t bucket, depth, last, lines = 0
    cdef uint32_t way, free_line = fw.free_line
    cdef const line_t *line
    for bucket in range(fw.config.buckets):
        line = &fw.lines[bucket]
        depth = last = 0
        while True:
            for way in range(line.count):
                last = audit_entry(fw, bucket, line, way, last, hosts, a)
            depth += line.count
            if line.next == NIL or lines == overflow:
                break
            a.lines_wrong += line.count != WAYS  # only the last of a chain may be short
            lines += 1
            line = &fw.lines[line.next]
        a.index_entries += depth
        a.depth = depth if depth > a.depth else a.depth
    while free_line != NIL and lines <= overflow:
        lines += 1
        free_line = fw.lines[free_line].next
    a.lines_wrong += lines != overflow


# --- hosts and free records ---------------------------------------------------------------------

cdef inline void audit_hosts(const fw_t *fw, const uint32_t *hosts, audit_t *a) noexcept nogil:
    """`hosts`: sessions by entry, as the index has them. Bound: entries, and slots of the hash."""
    cdef uint64_t i, chained = 0
    cdef uint32_t host
    cdef const host_t *h
    for i in range(fw.hosts_high):
        a.hosts_live += fw.hosts[i].live
        a.host_entries_wrong += fw.hosts[i].live != hosts[i]
    for i in range(<uint64_t>fw.host_mask + 1):
        host = fw.host_heads[i]
        while host != NIL and chained <= fw.config.max_connections:
            h = &fw.hosts[host]
            chained += 1
            a.host_entries_wrong += h.live == 0 or host_slot(fw, h.lo, h.hi, h.family) != i
            host = h.next
    host = fw.free_host
    while host != NIL and chained <= fw.config.max_connections:
        chained += 1
        host = fw.hosts[host].next
    a.host_entries_wrong += chained != fw.config.max_connections


cdef inline void audit_free_records(const fw_t *fw, audit_t *a) noexcept nogil:
    """=> a.live: the records that are not free."""
    cdef uint32_t record = fw.free_record
    cdef uint64_t free = 0
    while record != NIL and free <= fw.config.max_connections:
        free += 1
        a.misplaced += fw.records[record].meta != 0
        record = fw.timers[record].next
    a.live = fw.config.max_connections - free


# --- time ---------------------------------------------------------------------------------------

cdef inline void audit_slot(
    const fw_t *fw, uint32_t slot, uint64_t tick, uint64_t present, audit_t *a,
) noexcept nogil:
    """The sessions of a slot that falls due at `tick`: not yet, and not too late for any."""
    cdef uint32_t record = fw.clock.head[slot]
    cdef uint32_t before = PROTECTED_BIT | slot
    cdef uint64_t latest
    if tick <= present and not (fw.clock.unfinished and tick == present):
        a.overdue += 1
    while record != NIL and a.timers <= fw.config.max_connections:
        a.timers += 1
        a.timers_wrong += fw.timers[record].prev != before or fw.records[record].meta == 0
        latest = session_due_tick(fw, &fw.records[record])
        a.overdue += tick > (latest if latest > present else present + 1)
        before = record
        record = fw.timers[record].next


cdef inline void audit_timers(const fw_t *fw, audit_t *a) noexcept nogil:
    """Every slot of the wheel, and the deadlines. No session stands past its tick."""
    cdef uint64_t base, present = 0
    cdef int level, slot, marked
    if fw.clock.now_ns > fw.clock.start_ns:
        present = <uint64_t>(fw.clock.now_ns - fw.clock.start_ns) // <uint64_t>fw.config.sweep_ns
    for level in range(WHEEL_LEVELS):
        base = fw.clock.tick >> (6 * level + 6) << (6 * level + 6)
        for slot in range(WHEEL_SLOTS):
            marked = (fw.clock.map[level] >> slot) & 1
            a.timers_wrong += marked != (fw.clock.head[level * WHEEL_SLOTS + slot] != NIL)
            if marked:
                audit_slot(fw, level * WHEEL_SLOTS + slot, base | <uint64_t>slot << (6 * level),
                           present, a)
    a.overdue += fw.clock.deadline_ns > clock_earliest(fw, DUE_COUNT)
    base = clock_slot_tick(&fw.clock)
    a.overdue += base != 0 and fw.clock.deadline_ns > clock_tick_ns(fw, base)


cdef inline void audit_ages(const fw_t *fw, audit_t *a) noexcept nogil:
    """The order of creation, which only `replace_oldest` keeps. Bound: max_connections."""
    cdef uint32_t record = fw.oldest
    cdef uint32_t before = NIL
    cdef uint64_t entries = 0, last = 0
    if fw.config.when_full != WHEN_FULL_REPLACE_OLDEST:
        return
    while record != NIL and entries <= fw.config.max_connections:
        entries += 1
        a.ages_wrong += fw.records[record].age_prev != before or fw.records[record].meta == 0
        a.ages_wrong += fw.records[record].created_packet < last
        last = fw.records[record].created_packet
        before = record
        record = fw.records[record].age_next
    a.ages_wrong += before != fw.newest or entries != fw.live


# --- fragments ----------------------------------------------------------------------------------

cdef inline void audit_fragments(const fw_t *fw, audit_t *a) noexcept nogil:
    """In order of arrival, by hash slot, and the free ones. Bound: entries, and slots."""
    cdef uint32_t entry = fw.fragment_oldest
    cdef uint32_t before = NIL
    cdef uint64_t i, chained = 0, entries = 0
    cdef int64_t last = 0
    cdef const fragment_t *e
    while entry != NIL and entries <= fw.config.fragments_max:
        e = &fw.fragments[entry]
        entries += 1
        a.fragments_wrong += e.older != before or e.inserted_ns < last
        last = e.inserted_ns
        before = entry
        entry = e.newer
    a.fragments_wrong += before != fw.fragment_newest
    for i in range(<uint64_t>fw.fragment_mask + 1):
        entry = fw.fragment_heads[i]
        while entry != NIL and chained <= fw.config.fragments_max:
            e = &fw.fragments[entry]
            chained += 1
            a.fragments_wrong += fragment_slot(
                fw, e.meta, e.source_lo, e.destination_lo, e.id) != i
            entry = e.chain
    a.fragments_wrong += chained != entries
    entry = fw.fragment_free
    while entry != NIL and chained <= fw.config.fragments_max:
        chained += 1
        entry = fw.fragments[entry].chain
    a.fragments_wrong += chained != fw.config.fragments_max


cdef inline void audit_walk(const fw_t *fw, uint32_t *hosts, audit_t *a) noexcept nogil:
    """Everything. `hosts`: uint32[hosts_high], zeros; written. => a: zeros before."""
    audit_index(fw, hosts, a)
    audit_hosts(fw, hosts, a)
    audit_free_records(fw, a)
    audit_timers(fw, a)
    audit_ages(fw, a)
    audit_fragments(fw, a)
