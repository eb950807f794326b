# What a link holds: packets in their classes, the pages that they own, and the rows of those that
# leave it.
#
# Laws: pages are those of the queued bytes; each packet that leaves a link is a row, which is
# always digested, and kept where somebody asks.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fwcore.dataplane.digest cimport rows_add
from fwcore.dataplane.layout cimport PAGE_BYTES
from fwcore.dataplane.queue cimport fifo_put, fifo_take_last, shares_push_out, shares_put
from fwcore.dataplane.shaping cimport (
    DROP_CODEL, FATE_CLEARED, FATE_CODEL, FATE_PUSHED_OUT, SHARE_NONE, class_t, departure_t, link_t,
    shaper_t,
)


# --- what waits -----------------------------------------------------------------------------------

cdef inline uint32_t wait_new(shaper_t *s) noexcept nogil:
    """A place for a packet. => there is one: waiting_max, and those of lines and who arrives."""
    cdef uint32_t at = s.wait_free
    s.wait_free = s.waits[at].next
    return at


cdef inline void wait_give(shaper_t *s, uint32_t at) noexcept nogil:
    s.waits[at].next = s.wait_free
    s.wait_free = at


cdef inline void map_set(shaper_t *s, const class_t *c) noexcept nogil:
    """Notes whether something waits in a leaf."""
    cdef uint64_t *word = &s.maps[s.links[c.link].map + c.leaf_bit // 64]
    cdef uint64_t bit = <uint64_t>1 << (c.leaf_bit & 63)
    if c.waiting:
        word[0] |= bit
    else:
        word[0] &= ~bit


cdef inline void class_put(shaper_t *s, class_t *c, uint32_t at) noexcept nogil:
    """A packet at the tail of a leaf, whose turn (leaf_turn) is the caller's to look at."""
    if c.row.share == SHARE_NONE:
        fifo_put(s, &c.fifo, at)
    else:
        shares_put(s, c, at)
    c.waiting += 1
    c.waiting_bytes += s.waits[at].size
    if c.waiting_bytes > c.crest:
        c.crest = c.waiting_bytes
    s.waiting += 1
    if c.waiting == 1:
        map_set(s, c)


cdef inline void class_gone(shaper_t *s, class_t *c, uint32_t at) noexcept nogil:
    """It waits no longer."""
    c.waiting -= 1
    c.waiting_bytes -= s.waits[at].size
    s.waiting -= 1
    if c.waiting == 0:
        map_set(s, c)


cdef inline int class_room(const class_t *c, uint64_t size) noexcept nogil:
    """Whether a packet may come in by the limits."""
    if c.row.limit_bytes and c.waiting_bytes + size > c.row.limit_bytes:
        return 0
    return c.waiting < c.row.limit_packets


cdef inline int class_over(const class_t *c) noexcept nogil:
    """Whether the limits are passed."""
    return c.waiting > c.row.limit_packets or (
        c.row.limit_bytes and c.waiting_bytes > c.row.limit_bytes)


cdef inline uint32_t class_push_out(shaper_t *s, class_t *c, int64_t now) noexcept nogil:
    """Gives up a packet: the fattest share's head, else the tail. => one waits."""
    cdef uint32_t at
    if c.row.share == SHARE_NONE:
        at = fifo_take_last(s, &c.fifo)
    else:
        at = shares_push_out(s, c, now)
    class_gone(s, c, at)
    return at


# --- pages ----------------------------------------------------------------------------------------

cdef inline uint64_t queue_pages(const shaper_t *s, uint64_t size) noexcept nogil:
    """Pages of so many queued bytes; none where queues are not accounted."""
    return (size + PAGE_BYTES - 1) // PAGE_BYTES if s.accounted else 0


cdef inline int pages_ask(
    shaper_t *s, link_t *link, uint64_t size, uint32_t pinned,
) noexcept nogil:
    """Pages for what the link will then hold; 0: there are none."""
    cdef uint64_t need
    if not s.accounted:
        return 1
    need = queue_pages(s, link.queued_bytes + size) - link.pages
    if need == 0:
        return 1
    if s.request != NULL and not s.request(s.owner, need, pinned):
        return 0
    link.pages += need
    s.pages += need
    return 1


cdef inline void pages_spare(shaper_t *s, link_t *link) noexcept nogil:
    """Gives back what the link holds no longer."""
    cdef uint64_t spare
    if link.pages == 0:
        return
    spare = link.pages - queue_pages(s, link.queued_bytes)
    if spare == 0:
        return
    link.pages -= spare
    s.pages -= spare
    if s.give != NULL:
        s.give(s.owner, spare)


# --- departures -----------------------------------------------------------------------------------

cdef inline void departure_row(
    shaper_t *s, uint64_t packet, int64_t now, const link_t *link, const class_t *c, int fate,
    uint8_t mark,
) noexcept nogil:
    """A packet ends at a link."""
    cdef departure_t *to
    rows_add(&s.digest, s.row_keys, packet, <uint64_t>now, link.number | <uint64_t>c.id << 16,
             <uint64_t>fate | <uint64_t>mark << 8)
    if s.departures_fill < s.departures_room:
        to = &s.departures[s.departures_fill]
        s.departures_fill += 1
        to.packet = packet
        to.time_ns = now
        to.link = <uint16_t>link.number
        to.cls = c.id
        to.fate = <uint8_t>fate
        to.dscp = mark


cdef inline void link_depart(
    shaper_t *s, link_t *link, const class_t *c, uint32_t at, int fate, int64_t now,
) noexcept nogil:
    """A row, and the packet is in this link no longer; its place is the caller's to give back."""
    departure_row(s, s.waits[at].packet, now, link, c, fate, s.waits[at].mark)
    link.queued -= 1
    link.queued_bytes -= s.waits[at].size
    pages_spare(s, link)


cdef inline void link_drop(
    shaper_t *s, link_t *link, class_t *c, uint32_t at, int what, int64_t now,
) noexcept nogil:
    """A packet that waited is given up."""
    c.dropped[what] += 1
    c.dropped_bytes += s.waits[at].size
    link_depart(s, link, c, at, FATE_CODEL if what == DROP_CODEL else FATE_PUSHED_OUT, now)
    wait_give(s, at)


cdef inline void link_cleared(shaper_t *s, link_t *link, class_t *c, uint32_t at) noexcept nogil:
    """A packet whose queue is no more."""
    c.cleared[0] += 1
    c.cleared[1] += s.waits[at].size
    link_depart(s, link, c, at, FATE_CLEARED, s.now_ns)
    wait_give(s, at)
