# First fragments, and what the later ones of the same packet follow: a session's key or a verdict.
#
# A bounded table in order of arrival; an entry lives FRAGMENT_LIFE_NS. When it is full the oldest
# goes, counted. The key is (source, destination, id, protocol, zone), not canonical.

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from fwcore.dataplane.layout cimport (
    FRAGMENT_LIFE_NS, NIL, control_t, fragment_t, fw_clock_t, fw_mum, fw_t, memory_t, packet_t,
)


cdef inline uint32_t fragment_slot(
    const memory_t *memory, const control_t *control, uint64_t meta, uint64_t source,
    uint64_t destination, uint32_t id_,
) noexcept nogil:
    cdef uint64_t h = fw_mum(
        source ^ control.config.seeds[0], destination ^ control.config.seeds[1])
    h = fw_mum(h ^ id_, meta ^ control.config.seeds[2])
    return <uint32_t>(h >> 32) & memory.fragment_mask


cdef inline int fragment_same(const fragment_t *e, const packet_t *p) noexcept nogil:
    return (e.meta == p.fragment_meta and e.id == p.fragment_id
            and e.source_lo == p.source_lo and e.destination_lo == p.destination_lo
            and e.source_hi == p.source_hi and e.destination_hi == p.destination_hi)


cdef inline uint32_t fragment_lookup(
    const memory_t *memory, const control_t *control, const packet_t *p,
) noexcept nogil:
    """The entry under the packet's fragment key, however old; or NIL."""
    cdef uint32_t entry = memory.fragment_heads[fragment_slot(
        memory, control, p.fragment_meta, p.source_lo, p.destination_lo, p.fragment_id)]
    while entry != NIL:  # bounded by the entries of one slot
        if fragment_same(&memory.fragments[entry], p):
            return entry
        entry = memory.fragments[entry].chain
    return NIL


cdef inline uint32_t fragment_find(
    const memory_t *memory, const control_t *control, const fw_clock_t *clock, const packet_t *p,
) noexcept nogil:
    """The entry that a later fragment follows, or NIL."""
    cdef uint32_t entry = fragment_lookup(memory, control, p)
    if entry == NIL or clock.now_ns - memory.fragments[entry].inserted_ns >= FRAGMENT_LIFE_NS:
        return NIL
    return entry


cdef inline void fragment_remove(
    memory_t *memory, const control_t *control, uint32_t entry,
) noexcept nogil:
    cdef fragment_t *e = &memory.fragments[entry]
    cdef uint32_t *link = &memory.fragment_heads[
        fragment_slot(memory, control, e.meta, e.source_lo, e.destination_lo, e.id)]
    while link[0] != entry:  # bounded by the entries of one slot
        link = &memory.fragments[link[0]].chain
    link[0] = e.chain
    if e.older != NIL:
        memory.fragments[e.older].newer = e.newer
    else:
        memory.fragment_oldest = e.newer
    if e.newer != NIL:
        memory.fragments[e.newer].older = e.older
    else:
        memory.fragment_newest = e.older
    e.chain = memory.fragment_free
    memory.fragment_free = entry


cdef inline void fragment_make_room(fw_t *fw, const packet_t *p) noexcept nogil:
    """Drops an entry of the same key, what has outlived itself, and, if still full, the oldest."""
    cdef uint32_t entry = fragment_lookup(&fw.memory, &fw.control, p)
    if entry != NIL:
        fragment_remove(&fw.memory, &fw.control, entry)
    while fw.memory.fragment_oldest != NIL:  # each entry is dropped once
        entry = fw.memory.fragment_oldest
        if fw.clock.now_ns - fw.memory.fragments[entry].inserted_ns < FRAGMENT_LIFE_NS:
            break
        fragment_remove(&fw.memory, &fw.control, entry)
    if fw.memory.fragment_free == NIL:
        fragment_remove(&fw.memory, &fw.control, fw.memory.fragment_oldest)
        fw.counters.fragments_forgotten += 1


cdef inline void fragment_link(
    memory_t *memory, const control_t *control, const fragment_t *given,
) noexcept nogil:
    """An entry as the youngest. => one is free."""
    cdef uint32_t entry = memory.fragment_free
    cdef uint32_t slot = fragment_slot(
        memory, control, given.meta, given.source_lo, given.destination_lo, given.id)
    cdef fragment_t *e = &memory.fragments[entry]
    memory.fragment_free = e.chain
    e[0] = given[0]
    e.chain = memory.fragment_heads[slot]
    memory.fragment_heads[slot] = entry
    e.older = memory.fragment_newest
    e.newer = NIL
    if e.older != NIL:
        memory.fragments[e.older].newer = entry
    else:
        memory.fragment_oldest = entry
    memory.fragment_newest = entry


cdef inline void fragment_store(
    fw_t *fw, const packet_t *p, int session, int verdict, int reason,
) noexcept nogil:
    """Remembers a first fragment: the session's key (session = 1) or its verdict."""
    cdef fragment_t e
    fragment_make_room(fw, p)
    memset(&e, 0, sizeof(fragment_t))
    e.meta = p.fragment_meta
    e.source_lo = p.source_lo
    e.source_hi = p.source_hi
    e.destination_lo = p.destination_lo
    e.destination_hi = p.destination_hi
    e.id = p.fragment_id
    e.key = p.key
    e.session = session
    e.swapped = p.swapped
    e.verdict = verdict
    e.reason = reason
    e.direction = p.direction
    e.inserted_ns = fw.clock.now_ns
    fragment_link(&fw.memory, &fw.control, &e)
