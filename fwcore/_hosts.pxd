# Initiators and how many live sessions each has: for sessions_per_host, idledrop and the snapshots.
#
# An entry lives as long as its host has sessions; max_connections entries always suffice. The hash
# is keyed with the table's seeds.

from libc.stdint cimport uint32_t, uint64_t

from fwcore._layout cimport NIL, fw_mum, fw_t, host_t


cdef inline uint32_t host_slot(
    const fw_t *fw, uint64_t lo, uint64_t hi, uint32_t family,
) noexcept nogil:
    cdef uint64_t h = fw_mum(lo ^ fw.config.seeds[3], hi ^ family ^ fw.config.seeds[5])
    return <uint32_t>(h >> 32) & fw.host_mask


cdef inline uint32_t host_find(
    const fw_t *fw, uint64_t lo, uint64_t hi, uint32_t family,
) noexcept nogil:
    cdef uint32_t host = fw.host_heads[host_slot(fw, lo, hi, family)]
    while host != NIL:  # bounded by the hosts of one slot
        if fw.hosts[host].lo == lo and fw.hosts[host].hi == hi and fw.hosts[host].family == family:
            return host
        host = fw.hosts[host].next
    return NIL


cdef inline uint32_t host_enter(
    fw_t *fw, uint64_t lo, uint64_t hi, uint32_t family,
) noexcept nogil:
    """One more session of this initiator; its entry. => fewer than max_connections are live."""
    cdef uint32_t host = host_find(fw, lo, hi, family)
    cdef uint32_t slot
    cdef host_t *h
    if host == NIL:
        host = fw.free_host
        h = &fw.hosts[host]
        fw.free_host = h.next
        if host >= fw.hosts_high:
            fw.hosts_high = host + 1
        slot = host_slot(fw, lo, hi, family)
        h.lo = lo
        h.hi = hi
        h.family = family
        h.live = 0
        h.next = fw.host_heads[slot]
        fw.host_heads[slot] = host
    fw.hosts[host].live += 1
    return host


cdef inline void host_leave(fw_t *fw, uint32_t host) noexcept nogil:
    """One session fewer; the last one frees the entry."""
    cdef host_t *h = &fw.hosts[host]
    cdef uint32_t *link
    h.live -= 1
    if h.live:
        return
    link = &fw.host_heads[host_slot(fw, h.lo, h.hi, h.family)]
    while link[0] != host:  # bounded by the hosts of one slot
        link = &fw.hosts[link[0]].next
    link[0] = h.next
    h.next = fw.free_host
    fw.free_host = host
