# Initiators and how many live sessions each has: for sessions_per_host, idledrop and the snapshots.
#
# An entry lives as long as its host has sessions; max_connections entries always suffice. The hash
# is keyed with the table's seeds. Its chains begin in what the lines of buckets leave free.

from libc.stdint cimport uint32_t, uint64_t

from fwcore.dataplane.layout cimport (
    HOST_SIX, NIL, RECORD_MASK, control_t, fw_bucket, fw_mum, host_row_t, host_t, table_t)


cdef inline uint32_t *host_head(
    const table_t *table, const control_t *control, uint64_t lo, uint64_t hi, uint32_t family,
) noexcept nogil:
    """Where the chain of an address begins: two to a bucket."""
    cdef uint64_t h = fw_mum(lo ^ control.config.seeds[3], hi ^ family ^ control.config.seeds[5])
    cdef uint32_t slot = fw_bucket(h, 2 * control.config.buckets)
    return &table.lines[slot >> 1].hosts[slot & 1]


cdef inline uint32_t host_live(const host_t *h) noexcept nogil:
    """Sessions that it has initiated and that live."""
    return h.count & RECORD_MASK


cdef inline uint32_t host_family(const host_t *h) noexcept nogil:
    return 6 if h.count & HOST_SIX else 4


cdef inline uint32_t host_find(
    const table_t *table, const control_t *control, uint64_t lo, uint64_t hi, uint32_t family,
) noexcept nogil:
    cdef uint32_t host = host_head(table, control, lo, hi, family)[0]
    while host != NIL:  # bounded by the hosts of one chain
        if (table.hosts[host].lo == lo and table.hosts[host].hi == hi
                and host_family(&table.hosts[host]) == family):
            return host
        host = table.hosts[host].next
    return NIL


cdef inline uint32_t host_enter(
    table_t *table, const control_t *control, uint64_t lo, uint64_t hi, uint32_t family,
) noexcept nogil:
    """One more session of this initiator; its entry. => fewer than max_connections are live."""
    cdef uint32_t host = host_find(table, control, lo, hi, family)
    cdef uint32_t *head
    cdef host_t *h
    if host == NIL:
        host = table.free_host
        h = &table.hosts[host]
        table.free_host = h.next
        if host >= table.hosts_high:
            table.hosts_high = host + 1
        head = host_head(table, control, lo, hi, family)
        h.lo = lo
        h.hi = hi
        h.count = HOST_SIX if family == 6 else 0
        h.next = head[0]
        head[0] = host
    table.hosts[host].count += 1
    return host


cdef inline void host_leave(table_t *table, const control_t *control, uint32_t host) noexcept nogil:
    """One session fewer; the last one frees the entry."""
    cdef host_t *h = &table.hosts[host]
    cdef uint32_t *link
    h.count -= 1
    if host_live(h):
        return
    link = host_head(table, control, h.lo, h.hi, host_family(h))
    while link[0] != host:  # bounded by the hosts of one chain
        link = &table.hosts[link[0]].next
    link[0] = h.next
    h.count = 0
    h.next = table.free_host
    table.free_host = host


# --- ranking ------------------------------------------------------------------------------------
# The hosts with most sessions without sorting the rest: a heap of those that were best so far,
# the last of them on top, which each better one replaces.

cdef inline int host_ahead(const host_row_t *one, const host_row_t *other) noexcept nogil:
    """More sessions come first, then the lower address, then IPv4."""
    if one.live != other.live:
        return one.live > other.live
    if one.high != other.high:
        return one.high < other.high
    if one.low != other.low:
        return one.low < other.low
    return one.family < other.family


cdef inline void hosts_sink(host_row_t *heap, uint64_t count, uint64_t at) noexcept nogil:
    """Lets a row down until it is behind all below it. Bound: the heap's depth."""
    cdef host_row_t row = heap[at]
    cdef uint64_t below = 2 * at + 1
    while below < count:
        if below + 1 < count and host_ahead(&heap[below], &heap[below + 1]):
            below += 1
        if not host_ahead(&row, &heap[below]):
            break
        heap[at] = heap[below]
        at = below
        below = 2 * at + 1
    heap[at] = row


cdef inline void hosts_heap(host_row_t *rows, uint64_t count) noexcept nogil:
    cdef uint64_t at = count // 2
    while at:
        at -= 1
        hosts_sink(rows, count, at)


cdef inline uint64_t hosts_top(const table_t *table, host_row_t *out, uint64_t room) noexcept nogil:
    """Up to `room` hosts with most live sessions, best first; how many. Bound: hosts_high sinks."""
    cdef uint64_t i, count = 0
    cdef host_row_t row
    if room == 0:
        return 0
    for i in range(table.hosts_high):
        if table.hosts[i].count == 0:
            continue
        row.high = table.hosts[i].hi
        row.low = table.hosts[i].lo
        row.live = host_live(&table.hosts[i])
        row.family = host_family(&table.hosts[i])
        if count < room:
            out[count] = row
            count += 1
            if count == room:
                hosts_heap(out, count)
        elif host_ahead(&row, &out[0]):
            out[0] = row
            hosts_sink(out, count, 0)
    if count < room:
        hosts_heap(out, count)
    for i in range(count, 1, -1):  # the last goes behind the others, then the next
        row = out[0]
        out[0] = out[i - 1]
        out[i - 1] = row
        hosts_sink(out, i - 1, 0)
    return count
