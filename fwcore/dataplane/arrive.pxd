# Arrival: a packet that the firewall let pass meets its meters, then the class of a link.
#
#     meters asked, all of them -> one drops | all that conform are debited -> class -> link
#
# Laws: nothing is debited for a packet that a meter drops; mark and class are those of the first
# meter that gives one.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fwcore.dataplane.link cimport link_enqueue
from fwcore.dataplane.meter cimport account_colour, bytes_of, meter_charge, meter_things
from fwcore.dataplane.shaping cimport (
    COUNT_FRAME, COUNT_PACKETS, METERS_MAX, NOWHERE, NO_MARK, OVER_CLASS, OVER_DROP, SHAPE_NIL,
    SHAPE_OVER_LIMIT, SHAPE_PASSED, WENT_AWAY, account_t, class_t, link_t, met_t, meter_t, shaped_t,
    shaper_t, shaping_row_t, wait_t,
)
from fwcore.dataplane.tree cimport leaf_of


cdef struct judged_t:
    int why                # SHAPE_*
    int link, cls          # number and id; -1: none
    uint8_t mark


cdef inline uint64_t counted_size(const meter_t *m, const wait_t *p) noexcept nogil:
    """Bytes for the counters; a meter of packets counts frames."""
    cdef uint32_t count = COUNT_FRAME if m.row.count == COUNT_PACKETS else m.row.count
    return bytes_of(p, count, m.row.overhead)


cdef inline met_t *met_begin(shaper_t *s, const wait_t *p) noexcept nogil:
    """A row of what a packet meets, where that is kept; else NULL."""
    cdef met_t *met
    if s.met_fill >= s.met_room:
        return NULL
    met = &s.met[s.met_fill]
    s.met_fill += 1
    memset(met, 255, sizeof(met_t))
    met.packet, met.time_ns, met.departed = p.packet, s.now_ns, s.digest.count
    met.waiting = 0
    met.waiting_bytes = 0
    return met


cdef inline void met_meter(
    met_t *met, const shaper_t *s, const meter_t *m, const account_t *a, int i, int colour,
) noexcept nogil:
    """Notes a meter that was asked, before it is paid."""
    met.meter[i] = <uint32_t>(m - s.meters)
    met.colour[i] = <uint8_t>colour
    met.level[i] = a.level[m.row.rungs - 1] // <int64_t>m.rung[m.row.rungs - 1].price


cdef inline int meters_judge(
    shaper_t *s, const shaped_t *h, const shaping_row_t *r, wait_t *p, int *cls, met_t *met,
) noexcept nogil:
    """Asks all meters of the packet's direction, then debits; 0: it is dropped. Sets mark and
    class: each is that of the first meter that gives one."""
    cdef int colour[METERS_MAX]
    cdef int i, k, wants
    cdef meter_t *m
    for i in range(h.meters[p.direction]):
        if r.meters[p.direction][i] < 0 or h.account[p.direction][i] == SHAPE_NIL:
            continue
        m = &s.meters[r.meters[p.direction][i]]
        colour[i] = account_colour(
            m, &s.accounts[h.account[p.direction][i]], s.now_ns, meter_things(m, p))
        if met != NULL:
            met_meter(met, s, m, &s.accounts[h.account[p.direction][i]], i, colour[i])
        if colour[i] == m.row.rungs and m.row.over == OVER_DROP:
            m.dropped[0] += 1
            m.dropped[1] += counted_size(m, p)
            m.by_colour[colour[i]] += 1
            return 0
    for i in range(h.meters[p.direction]):
        if r.meters[p.direction][i] < 0 or h.account[p.direction][i] == SHAPE_NIL:
            continue
        m = &s.meters[r.meters[p.direction][i]]
        m.passed[0] += 1
        m.passed[1] += counted_size(m, p)
        m.by_colour[colour[i]] += 1
        if colour[i] == m.row.rungs:
            wants = m.row.over_class if m.row.over == OVER_CLASS else -1
        else:
            wants = m.row.cls[colour[i]]
            if p.mark == NO_MARK:
                p.mark = m.row.dscp[colour[i]]
            for k in range(i):
                if h.account[p.direction][k] == h.account[p.direction][i]:
                    break
            else:
                meter_charge(m, &s.accounts[h.account[p.direction][i]], meter_things(m, p),
                             colour[i], s.now_ns)
        if cls[0] < 0:
            cls[0] = wants
    return 1


cdef inline int way_is_gone(
    const shaped_t *h, const shaping_row_t *r, int direction, int metered,
) noexcept nogil:
    """Whether all that a way of a session named has gone away since. => it has no link"""
    cdef int i, named = r.link[direction] == WENT_AWAY
    for i in range(METERS_MAX if metered else 0):
        if r.meters[direction][i] >= 0 and h.account[direction][i] != SHAPE_NIL:
            return 0
        named |= r.meters[direction][i] == WENT_AWAY
    return named


cdef inline judged_t arrival_judge(
    shaper_t *s, const shaped_t *h, int metered, uint32_t pinned, met_t *met,
) noexcept nogil:
    """Meters, then the class of a link."""
    cdef wait_t *p = &s.waits[s.wait_free]
    cdef judged_t judged
    cdef const shaping_row_t *r
    cdef link_t *link
    cdef class_t *leaf
    cdef int cls = -1
    judged.why = SHAPE_PASSED
    judged.link = judged.cls = -1
    judged.mark = p.mark = NO_MARK
    if h == NULL or h.row == 0:
        s.unshaped[0] += 1
        s.unshaped[1] += p.frame
        return judged
    r = &s.rows[h.row - 1]
    if metered and not meters_judge(s, h, r, p, &cls, met):
        judged.why = SHAPE_OVER_LIMIT
        return judged
    judged.mark = p.mark
    if r.link[p.direction] < 0:
        if way_is_gone(h, r, p.direction, metered):
            s.unshaped[0] += 1
            s.unshaped[1] += p.frame
        return judged
    if cls < 0:
        if metered:
            cls = r.by_dscp[p.direction][p.dscp]
        if cls < 0:
            cls = r.cls[p.direction]
    link = &s.links[r.link[p.direction]]
    leaf = &s.classes[leaf_of(link, cls)]
    judged.link = <int>link.number
    judged.cls = leaf.id
    if met != NULL:
        met.waiting, met.waiting_bytes = <uint32_t>leaf.waiting, leaf.waiting_bytes
    judged.why = link_enqueue(s, link, leaf, pinned)
    return judged


cdef inline judged_t shaper_arrive(
    shaper_t *s, const shaped_t *h, int metered, uint32_t pinned,
) noexcept nogil:
    """Judges a packet that the firewall let pass. => it stands at wait_free, its mark apart, and
    all that is due before it has happened.

    `metered` is 0 for ICMP errors, which meet their session's class but no meter.
    """
    cdef met_t *met = met_begin(s, &s.waits[s.wait_free])
    cdef judged_t judged = arrival_judge(s, h, metered, pinned, met)
    if met != NULL:
        met.why, met.mark = <uint8_t>judged.why, judged.mark
        met.link = <uint16_t>judged.link if judged.link >= 0 else NOWHERE
        met.cls = <uint16_t>judged.cls if judged.cls >= 0 else 0
    return judged
