# The tree of a link: classes, their colours, and the order of service, which is sch_htb.c's [R].
#
#     red     its ceiling stops it
#     green   it has of its own guarantee
#     yellow  else: it may borrow from the first green one above, where nothing red is on the way
#
# A waiting leaf may send when it is green, or when it is yellow and all above it are up to the
# first green one, its lender; above all stands the link, which always lends. Green leaves go
# first, then those of the deepest lenders; within that by priority, then in turn.
#
# A pointer of a row of lenders or of green leaves (row_at) stands on a member or on nothing: when
# its member goes, it moves to the next one. Where the leaves of one parent take turns (turn) it is
# an id that need not be there: the next one at or above it is meant, and past the last one the turn
# is the first one's again and the pointer one step up moves on.
#
# Bounds: every loop goes over the leaves of a link in which something waits, or up a lineage.

from libc.stdint cimport int8_t, int64_t, uint32_t, uint64_t

from fwcore.dataplane.layout cimport fw_ctz64
from fwcore.dataplane.queue cimport shares_unpark, shares_wake
from fwcore.dataplane.shaping cimport (
    LENT_BY_ITSELF, NOT_LENT, ORDERS, PRIORITIES, SHAPE_NEVER, SHAPE_NIL, SHARE_NONE,
    TREE_DEPTH_MAX, bucket_at, bucket_charge, bucket_ready, bucket_t, bucket_want, class_t, link_t,
    shaper_t,
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


cdef inline int bucket_stops(
    const bucket_t *b, int need, int64_t now, uint64_t size,
) noexcept nogil:
    return bucket_at(b, now) < bucket_want(b, need, size)


# --- who may send ---------------------------------------------------------------------------------

cdef inline int leaf_order(
    const shaper_t *s, const class_t *leaf, int64_t now, uint64_t size,
) noexcept nogil:
    """LENT_BY_ITSELF, the depth of its lender, 0 the link; NOT_LENT: it may not send so much."""
    cdef const class_t *c = leaf
    while True:  # bounded by the depth of the tree
        if c.ceiling.price and bucket_stops(&c.ceiling, c.need, now, size):
            return NOT_LENT
        if c.guarantee.price and not bucket_stops(&c.guarantee, c.need, now, size):
            return LENT_BY_ITSELF if c == leaf else c.depth
        if c.parent < 0:
            return 0
        c = &s.classes[c.parent]


cdef inline int class_active(shaper_t *s, class_t *leaf, int64_t now) noexcept nogil:
    """Whether a packet waits that could be asked for."""
    if leaf.row.share == SHARE_NONE:
        return leaf.fifo.count != 0
    shares_unpark(s, leaf, now)
    return leaf.listed != 0


cdef inline int tree_orders(shaper_t *s, link_t *link, int64_t now) noexcept nogil:
    """Notes the order of each waiting leaf; the highest, or NOT_LENT."""
    cdef int best = NOT_LENT, order
    cdef uint32_t word, at
    cdef uint64_t bits
    for word in range(link.words):
        bits = s.maps[link.map + word]
        while bits:
            at = s.leaves[link.leaves + word * 64 + fw_ctz64(bits)]
            bits &= bits - 1
            order = NOT_LENT
            if class_active(s, &s.classes[at], now):
                order = leaf_order(s, &s.classes[at], now, class_head(s, &s.classes[at]))
            s.orders[at] = <int8_t>order
            if order > best:
                best = order
    return best


cdef inline int tree_priority(const shaper_t *s, const link_t *link, int order) noexcept nogil:
    """The first priority among the leaves of an order. => there is one."""
    cdef int best = PRIORITIES
    cdef uint32_t word, at
    cdef uint64_t bits
    for word in range(link.words):
        bits = s.maps[link.map + word]
        while bits:
            at = s.leaves[link.leaves + word * 64 + fw_ctz64(bits)]
            bits &= bits - 1
            if s.orders[at] == order and s.classes[at].priority < best:
                best = s.classes[at].priority
    return best


cdef inline int64_t member_of(
    const shaper_t *s, const class_t *leaf, int order,
) noexcept nogil:
    """Whom a leaf stands for in a row: itself, or its lender; the link is 0."""
    cdef const class_t *c = leaf
    if order == LENT_BY_ITSELF:
        return leaf.id
    if order == 0:
        return 0
    while c.depth > order:
        c = &s.classes[c.parent]
    return c.id


cdef inline int64_t row_next(
    const shaper_t *s, const link_t *link, int order, int priority, int64_t above,
) noexcept nogil:
    """The lowest id of a row above one; -1: none."""
    cdef int64_t best = -1, member
    cdef uint32_t word, at
    cdef uint64_t bits
    for word in range(link.words):
        bits = s.maps[link.map + word]
        while bits:
            at = s.leaves[link.leaves + word * 64 + fw_ctz64(bits)]
            bits &= bits - 1
            if s.orders[at] == order and s.classes[at].priority == priority:
                member = member_of(s, &s.classes[at], order)
                if member > above and (best < 0 or member < best):
                    best = member
    return best


cdef inline void rows_mend(shaper_t *s, link_t *link) noexcept nogil:
    """A pointer whose member went away moves to the next one, or to nothing."""
    cdef int order, priority
    cdef int64_t at
    cdef uint32_t bits
    for order in range(ORDERS):
        bits = link.row_set[order]
        while bits:
            priority = fw_ctz64(bits)
            bits &= bits - 1
            at = link.row_at[order][priority]
            if row_next(s, link, order, priority, at - 1) != at:
                row_set(link, order, priority, row_next(s, link, order, priority, at))


cdef inline void row_set(link_t *link, int order, int priority, int64_t at) noexcept nogil:
    link.row_at[order][priority] = at
    if at < 0:
        link.row_set[order] &= ~(<uint32_t>1 << priority)
    else:
        link.row_set[order] |= <uint32_t>1 << priority


cdef inline int64_t feed_from(
    const shaper_t *s, const link_t *link, int order, int priority, int parent, int64_t least,
) noexcept nogil:
    """The lowest id, no less than one, of those below a class (-1: the link) through which its
    lending goes; -1: none."""
    cdef int64_t best = -1
    cdef const class_t *c
    cdef uint32_t word, at
    cdef uint64_t bits
    for word in range(link.words):
        bits = s.maps[link.map + word]
        while bits:
            at = s.leaves[link.leaves + word * 64 + fw_ctz64(bits)]
            bits &= bits - 1
            c = &s.classes[at]
            if s.orders[at] != order or c.priority != priority:
                continue
            while c.parent >= 0 and c.parent != parent:
                c = &s.classes[c.parent]
            if c.parent == parent and c.depth > order and c.id >= least and (
                    best < 0 or c.id < best):
                best = c.id
    return best


cdef inline uint32_t class_of(const shaper_t *s, const link_t *link, int64_t id_) noexcept nogil:
    """The class of an id, or NIL. Classes of a link stand by ascending id."""
    cdef uint32_t low = link.classes, high = link.classes + link.classes_count, middle
    while low < high:
        middle = (low + high) // 2
        if s.classes[middle].id < id_:
            low = middle + 1
        else:
            high = middle
    if low < link.classes + link.classes_count and s.classes[low].id == id_:
        return low
    return SHAPE_NIL


cdef inline uint32_t leaf_of(const shaper_t *s, const link_t *link, int64_t id_) noexcept nogil:
    """The leaf of an id, else the one with the lowest."""
    cdef uint32_t at = class_of(s, link, id_) if id_ >= 0 else SHAPE_NIL
    if at != SHAPE_NIL and s.classes[at].leaf:
        return at
    return link.lowest


# --- whose turn it is -----------------------------------------------------------------------------

cdef inline int64_t *turn_of(shaper_t *s, link_t *link, int parent, int priority) noexcept nogil:
    """The turn below a class; -1: below the link."""
    return &link.turn[priority] if parent < 0 else &s.classes[parent].turn[priority]


cdef inline void tree_step(
    shaper_t *s, link_t *link, int order, int priority, const int *path, int steps,
) noexcept nogil:
    """Moves the pointer one step up from where the turn began anew."""
    cdef int64_t *turn
    if steps == 0:
        row_set(link, order, priority,
                row_next(s, link, order, priority, link.row_at[order][priority]))
        return
    turn = turn_of(s, link, path[steps - 1], priority)
    turn[0] = feed_from(s, link, order, priority, path[steps - 1], turn[0] + 1)


cdef inline uint32_t tree_descend(
    shaper_t *s, link_t *link, int order, int priority,
) noexcept nogil:
    """Follows the turns from a row of lenders down to a leaf. => the row has members.

    Bounded: a turn that began anew is found when it is met again.
    """
    cdef int path[16]
    cdef int steps = 0
    cdef int64_t at
    cdef int64_t *turn
    cdef uint32_t node
    while True:
        if steps == 0:
            at = link.row_at[order][priority]
            if at < 0:
                at = row_next(s, link, order, priority, -1)
            row_set(link, order, priority, at)
        else:
            turn = turn_of(s, link, path[steps - 1], priority)
            at = -1
            if turn[0] >= 0:
                at = feed_from(s, link, order, priority, path[steps - 1], turn[0])
            if at < 0:
                turn[0] = feed_from(s, link, order, priority, path[steps - 1], 0)
                steps -= 1
                tree_step(s, link, order, priority, path, steps)
                continue
            turn[0] = at
        if at == 0:  # the link
            path[steps] = -1
            steps += 1
            continue
        node = class_of(s, link, at)
        if s.classes[node].leaf:
            return node
        path[steps] = <int>node
        steps += 1


cdef struct choice_t:
    uint32_t leaf           # NIL: nobody may send
    int order
    int64_t after           # who stands behind it in its turn; -1: nobody


cdef inline choice_t tree_choose(shaper_t *s, link_t *link, int64_t now) noexcept nogil:
    """The leaf that is served, and how."""
    cdef choice_t choice
    cdef const class_t *leaf
    cdef int priority
    choice.leaf = SHAPE_NIL
    choice.after = -1
    choice.order = tree_orders(s, link, now)
    rows_mend(s, link)
    if choice.order == NOT_LENT:
        return choice
    priority = tree_priority(s, link, choice.order)
    if link.row_at[choice.order][priority] < 0:
        row_set(link, choice.order, priority, row_next(s, link, choice.order, priority, -1))
    if choice.order == LENT_BY_ITSELF:
        choice.leaf = class_of(s, link, link.row_at[LENT_BY_ITSELF][priority])
        choice.after = row_next(s, link, LENT_BY_ITSELF, priority,
                                link.row_at[LENT_BY_ITSELF][priority])
        return choice
    choice.leaf = tree_descend(s, link, choice.order, priority)
    leaf = &s.classes[choice.leaf]
    choice.after = feed_from(s, link, choice.order, priority, leaf.parent, leaf.id + 1)
    return choice


cdef inline void tree_turn(
    shaper_t *s, link_t *link, class_t *leaf, const choice_t *choice, uint64_t size,
) noexcept nogil:
    """A send takes its bytes off the deficit; below 0 it is the next one's turn."""
    cdef int64_t deficit = leaf.deficit[choice.order] - <int64_t>size
    if deficit < 0:
        deficit += leaf.row.quantum
        if choice.order == LENT_BY_ITSELF:
            row_set(link, LENT_BY_ITSELF, leaf.priority, choice.after)
        else:
            turn_of(s, link, leaf.parent, leaf.priority)[0] = choice.after
    leaf.deficit[choice.order] = deficit


cdef inline void tree_charge(
    shaper_t *s, class_t *leaf, int64_t now, uint64_t size, int order,
) noexcept nogil:
    """Pays for a packet that left: ceilings all the way up, guarantees from the lender on."""
    cdef class_t *c = leaf
    while True:  # bounded by the depth of the tree
        if c.ceiling.price:
            bucket_charge(&c.ceiling, now, size)
        if c.depth <= order:
            if c.guarantee.price:
                bucket_charge(&c.guarantee, now, size)
        else:
            c.borrowed += 1
        if c.parent < 0:
            return
        c = &s.classes[c.parent]


# --- when -----------------------------------------------------------------------------------------

cdef inline int64_t class_earliest(
    const shaper_t *s, const class_t *leaf, int64_t now, uint64_t size,
) noexcept nogil:
    """The first nanosecond at which its tree lets such a packet of a leaf pass, or NEVER."""
    cdef const class_t *path[16]
    cdef const class_t *c = leaf
    cdef int steps = 0
    cdef int64_t own, lent = now, unstopped
    while True:  # bounded by the depth of the tree
        path[steps] = c
        steps += 1
        if c.parent < 0:
            break
        c = &s.classes[c.parent]
    while steps:
        steps -= 1
        c = path[steps]
        unstopped = now
        if c.ceiling.price:
            unstopped = bucket_ready(&c.ceiling, now, bucket_want(&c.ceiling, c.need, size))
        if c.guarantee.price:
            own = bucket_ready(&c.guarantee, now, bucket_want(&c.guarantee, c.need, size))
            if own < lent:
                lent = own
        if unstopped > lent:
            lent = unstopped
    return lent


cdef inline int64_t class_due(shaper_t *s, class_t *leaf, int64_t now) noexcept nogil:
    """When a waiting packet of a leaf may leave. => one waits."""
    cdef int64_t wakes = now if leaf.row.share == SHARE_NONE else shares_wake(s, leaf, now)
    cdef int64_t allowed = class_earliest(s, leaf, now, class_head(s, leaf))
    return wakes if wakes > allowed else allowed


cdef inline int64_t link_due(shaper_t *s, link_t *link, int64_t now) noexcept nogil:
    """The next moment at which something happens here by itself."""
    cdef int64_t best = SHAPE_NEVER, time_ns
    cdef uint32_t word, at
    cdef uint64_t bits
    if link.line != SHAPE_NIL:
        return link.end_ns + (link.end_rest != 0)
    for word in range(link.words):
        bits = s.maps[link.map + word]
        while bits:
            at = s.leaves[link.leaves + word * 64 + fw_ctz64(bits)]
            bits &= bits - 1
            time_ns = class_due(s, &s.classes[at], now)
            if time_ns < best:
                best = time_ns
    return best
