# Colours of the classes of a link, and the sets that follow from them.
#
#     red     its ceiling stops it: nothing of it goes
#     green   it has of its own guarantee: it stands in a row
#     yellow  else: it would borrow, and stands among those that feed its parent
#
#     row of green leaves, of lenders by depth <-- green -- class -- yellow --> feed of its parent
#
# What waits in a leaf is asked for at its priority, and by its colour so is that of its parent, up
# to the first that is not yellow. So a class stands in one set for each priority; a change of
# colour moves it, and costs a step for each class above it at most. Colours change by themselves
# when a bucket fills: `turns` has the next time of each class that is asked.
#
# Where a parent asks for the whole packet, its colour depends on whose packet it is: there
# (link_t.walks) the leaves are gone through, and the sets made anew for who is looked for.
#
# Laws: colours are those of the time of the last look at the link, or of a class's last change; a
# class that nothing asks for stands in no set and has no time.

from libc.stdint cimport int8_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from fwcore.dataplane.bits cimport bits_add, bits_any, bits_drop
from fwcore.dataplane.heap cimport heap_drop, heap_first, heap_set
from fwcore.dataplane.layout cimport fw_ctz64
from fwcore.dataplane.queue cimport shares_unpark
from fwcore.dataplane.shaping cimport (
    COLOUR_GREEN, COLOUR_RED, COLOUR_YELLOW, LENT_BY_ITSELF, NOT_LENT, ORDERS, PRIORITIES,
    SHAPE_NEVER, SHAPE_NIL, SHARE_NONE, bucket_ready, bucket_settle, bucket_t, bucket_want, class_t,
    link_t, shaper_t, span_t,
)


cdef inline uint64_t class_head(const shaper_t *s, const class_t *c) noexcept nogil:
    """Bytes of the packet that would go; 0 where nobody asks for it."""
    cdef uint32_t number
    if c.row.share == SHARE_NONE:
        return s.waits[c.fifo.head].size if c.fifo.count else 0
    if not c.lineage_asks:
        return 0
    number = c.fresh.head
    while number != SHAPE_NIL:
        if s.shares[c.shares_first + number].fifo.count:
            return s.waits[s.shares[c.shares_first + number].fifo.head].size
        number = s.shares[c.shares_first + number].next
    number = c.old.head
    while number != SHAPE_NIL:
        if s.shares[c.shares_first + number].fifo.count:
            return s.waits[s.shares[c.shares_first + number].fifo.head].size
        number = s.shares[c.shares_first + number].next
    return 0


# --- sets -----------------------------------------------------------------------------------------

cdef inline uint64_t *row_of(const link_t *link, int order, int priority) noexcept nogil:
    """The set of a row; that of order 0 has the link alone, and is no set."""
    return link.rows + <uint64_t>(order * PRIORITIES + priority) * link.span.total


cdef inline uint64_t *feed_of(
    const shaper_t *s, const link_t *link, int parent, int priority, const span_t **span,
) noexcept nogil:
    """The set of children that feed a class; -1: the link."""
    if parent < 0:
        span[0] = &link.feed_span
        return link.feed + <uint64_t>priority * link.feed_span.total
    span[0] = &s.classes[parent].span
    return s.classes[parent].feed + <uint64_t>priority * s.classes[parent].span.total


cdef inline void row_note(link_t *link, int order, int priority, int any_) noexcept nogil:
    """Whether a row has members."""
    if any_:
        link.row_any[order] |= 1 << priority
        link.lent |= <uint32_t>1 << order
        return
    link.row_any[order] &= ~(1 << priority)
    if link.row_any[order] == 0:
        link.lent &= ~(<uint32_t>1 << order)


cdef inline int class_order(const class_t *c) noexcept nogil:
    """The order of what a green class lends."""
    return LENT_BY_ITSELF if c.leaf else c.depth


cdef inline void class_enter(
    shaper_t *s, link_t *link, class_t *c, int priority, int64_t now, int looks,
) noexcept nogil:
    """Something of a class is asked for at a priority. Bounded by the depth of the tree.

    `looks`: at those above that nothing asked for until now; else colours are as they are.
    """
    cdef uint64_t *set_
    cdef const span_t *span
    cdef int fresh
    while c.colour != COLOUR_RED:
        if c.colour == COLOUR_GREEN:
            bits_add(row_of(link, class_order(c), priority), &link.span,
                     <uint32_t>(c - s.classes) - link.classes)
            row_note(link, class_order(c), priority, 1)
            return
        set_ = feed_of(s, link, c.parent, priority, &span)
        fresh = not bits_any(set_, span)
        bits_add(set_, span, c.child)
        if not fresh:
            return
        if c.parent < 0:
            row_note(link, 0, priority, 1)
            return
        c = &s.classes[c.parent]
        if looks and c.asked == 0:
            class_look(s, link, c, now)
        c.asked |= 1 << priority


cdef inline void class_withdraw(
    shaper_t *s, link_t *link, class_t *c, int priority,
) noexcept nogil:
    """Nothing of a class is asked for at a priority any more. Bounded by the depth of the tree."""
    cdef uint64_t *set_
    cdef const span_t *span
    link.left = 1
    while c.colour != COLOUR_RED:
        if c.colour == COLOUR_GREEN:
            set_ = row_of(link, class_order(c), priority)
            bits_drop(set_, &link.span, <uint32_t>(c - s.classes) - link.classes)
            if not bits_any(set_, &link.span):
                row_note(link, class_order(c), priority, 0)
            return
        set_ = feed_of(s, link, c.parent, priority, &span)
        bits_drop(set_, span, c.child)
        if bits_any(set_, span):
            return
        if c.parent < 0:
            row_note(link, 0, priority, 0)
            return
        c = &s.classes[c.parent]
        c.asked &= ~(1 << priority)
        if c.asked == 0:
            heap_drop(&link.turns, <uint32_t>(c - s.classes) - link.classes)


# --- colours --------------------------------------------------------------------------------------

cdef inline int class_colour(
    const class_t *c, int64_t now, uint64_t size, int64_t *until,
) noexcept nogil:
    """Its colour, and the first nanosecond at which it may be another one."""
    cdef int64_t ready
    until[0] = SHAPE_NEVER
    if c.ceiling.price:
        ready = bucket_ready(&c.ceiling, now, bucket_want(&c.ceiling, c.need, size))
        if ready > now:
            until[0] = ready
            return COLOUR_RED
    if c.guarantee.price:
        ready = bucket_ready(&c.guarantee, now, bucket_want(&c.guarantee, c.need, size))
        if ready <= now:
            return COLOUR_GREEN
        until[0] = ready
    return COLOUR_YELLOW


cdef inline void class_look(
    shaper_t *s, link_t *link, class_t *c, int64_t now,
) noexcept nogil:
    """Its colour as of now. => it stands in no set. A parent's does not depend on the packet."""
    cdef int64_t until = SHAPE_NEVER
    c.colour = COLOUR_YELLOW
    if c.shuts:
        c.colour = class_colour(c, now, class_head(s, c) if c.leaf else 0, &until)
    if c.leaf and c.parked and heap_first(&c.wakes) < until:
        until = heap_first(&c.wakes)
    if until != SHAPE_NEVER:
        heap_set(&link.turns, <uint32_t>(c - s.classes) - link.classes, until)
    elif link.turns.count:
        heap_drop(&link.turns, <uint32_t>(c - s.classes) - link.classes)


cdef inline void class_turn(
    shaper_t *s, link_t *link, class_t *c, int64_t now,
) noexcept nogil:
    """Looks at it again, and moves it where its colour changed."""
    cdef int before = c.colour, after
    cdef uint32_t bits
    class_look(s, link, c, now)
    after = c.colour
    if after == before:
        return
    c.colour = before
    bits = c.asked
    while bits:
        class_withdraw(s, link, c, fw_ctz64(bits))
        bits &= bits - 1
    c.colour = after
    bits = c.asked
    while bits:
        class_enter(s, link, c, fw_ctz64(bits), now, 1)
        bits &= bits - 1


cdef inline void leaf_turn(
    shaper_t *s, link_t *link, class_t *leaf, int64_t now,
) noexcept nogil:
    """What waits in a leaf has changed, or its time has come."""
    cdef uint64_t active = leaf.fifo.count if leaf.row.share == SHARE_NONE else leaf.listed
    if link.walks or (active and leaf.asked and not leaf.shuts and link.turns.count == 0):
        return  # nothing ever changes its colour
    leaf_turn_again(s, link, leaf, now, active != 0)


cdef inline void leaf_turn_again(
    shaper_t *s, link_t *link, class_t *leaf, int64_t now, int active,
) noexcept nogil:
    """The same where it may make a difference."""
    if active and leaf.asked:
        class_turn(s, link, leaf, now)
        return
    if active:
        class_look(s, link, leaf, now)
        leaf.asked = <uint8_t>(1 << leaf.priority)
        class_enter(s, link, leaf, leaf.priority, now, 1)
        return
    if leaf.asked:
        class_withdraw(s, link, leaf, leaf.priority)
        leaf.asked = 0
    if leaf.parked:
        heap_set(&link.turns, <uint32_t>(leaf - s.classes) - link.classes,
                 heap_first(&leaf.wakes))
    elif link.turns.count:
        heap_drop(&link.turns, <uint32_t>(leaf - s.classes) - link.classes)


cdef inline void colours_look(shaper_t *s, link_t *link, int64_t now) noexcept nogil:
    """=> all colours are those of now. Bounded: a class comes up once."""
    cdef class_t *c
    while heap_first(&link.turns) <= now:
        c = &s.classes[link.classes + link.turns.item[0]]
        if not c.leaf:
            class_turn(s, link, c, now)
            continue
        if c.parked:
            shares_unpark(s, c, now)
        leaf_turn(s, link, c, now)


# --- leaf by leaf ---------------------------------------------------------------------------------

cdef inline int bucket_stops(
    bucket_t *b, int need, int64_t now, uint64_t size,
) noexcept nogil:
    return bucket_settle(b, now) < bucket_want(b, need, size)


cdef inline int leaf_order(
    const shaper_t *s, class_t *leaf, int64_t now, uint64_t size,
) noexcept nogil:
    """LENT_BY_ITSELF, the depth of its lender, 0 the link; NOT_LENT: it may not send so much."""
    cdef class_t *c = leaf
    while True:  # bounded by the depth of the tree
        if c.ceiling.price and bucket_stops(&c.ceiling, c.need, now, size):
            return NOT_LENT
        if c.guarantee.price and not bucket_stops(&c.guarantee, c.need, now, size):
            return LENT_BY_ITSELF if c == leaf else c.depth
        if c.parent < 0:
            return 0
        c = &s.classes[c.parent]


cdef inline const class_t *class_above(
    const shaper_t *s, const class_t *c, int depth,
) noexcept nogil:
    """The class of a lineage at a depth. => there is one"""
    while c.depth > depth:
        c = &s.classes[c.parent]
    return c


cdef inline void colours_walk(shaper_t *s, link_t *link, int64_t now) noexcept nogil:
    """=> rows are those of now, and who feeds the link. Bounded by the classes of the link."""
    cdef uint32_t word, at
    cdef uint64_t bits
    cdef int order
    cdef class_t *leaf
    memset(link.rows, 0, <uint64_t>ORDERS * PRIORITIES * link.span.total * sizeof(uint64_t))
    memset(link.feed, 0, <uint64_t>PRIORITIES * link.feed_span.total * sizeof(uint64_t))
    memset(link.row_any, 0, sizeof(link.row_any))
    link.lent, link.left = 0, 1
    for word in range(link.words):
        bits = s.maps[link.map + word]
        while bits:
            at = s.leaves[link.leaves + word * 64 + fw_ctz64(bits)]
            bits &= bits - 1
            leaf = &s.classes[at]
            order = NOT_LENT
            if leaf.row.share != SHARE_NONE:
                shares_unpark(s, leaf, now)
            if leaf.fifo.count or leaf.listed:
                order = leaf_order(s, leaf, now, class_head(s, leaf))
            s.orders[at] = <int8_t>order
            if order == NOT_LENT:
                continue
            row_note(link, order, leaf.priority, 1)
            if order == 0:
                bits_add(link.feed + <uint64_t>leaf.priority * link.feed_span.total,
                         &link.feed_span, class_above(s, leaf, 1).child)
            else:
                bits_add(row_of(link, order, leaf.priority), &link.span, <uint32_t>(class_above(
                    s, leaf, leaf.depth if order == LENT_BY_ITSELF else order) - s.classes)
                    - link.classes)


cdef inline void colours_walk_row(
    shaper_t *s, link_t *link, int order, int priority,
) noexcept nogil:
    """=> who feeds a class stands there, for the lending of one row. Bounded by the classes."""
    cdef uint32_t word, at
    cdef uint64_t bits
    cdef const span_t *span
    cdef uint64_t *set_
    cdef const class_t *c
    for at in range(link.classes, link.classes + link.classes_count):
        if not s.classes[at].leaf:
            set_ = feed_of(s, link, <int>at, priority, &span)
            memset(set_, 0, span.total * sizeof(uint64_t))
    for word in range(link.words):
        bits = s.maps[link.map + word]
        while bits:
            at = s.leaves[link.leaves + word * 64 + fw_ctz64(bits)]
            bits &= bits - 1
            c = &s.classes[at]
            if s.orders[at] != order or c.priority != priority:
                continue
            while c.parent >= 0 and c.depth > order:
                set_ = feed_of(s, link, c.parent, priority, &span)
                bits_add(set_, span, c.child)
                c = &s.classes[c.parent]
