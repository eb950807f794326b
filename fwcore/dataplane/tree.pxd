# The tree of a link: the order of service, which is sch_htb.c's [R].
#
# A waiting leaf may send when it is green, or when it is yellow and all above it are up to the
# first green one, its lender; above all stands the link, which always lends. Green leaves go
# first, then those of the deepest lenders; within that by priority, then in turn. Who stands in
# which row, and who feeds whom, is colour.pxd's.
#
# A pointer of a row of lenders or of green leaves (row_at) stands on a member or on nothing: when
# its member goes, it moves to the next one. Where the leaves of one parent take turns (turn) it is
# an id that need not be there: the next one at or above it is meant, and past the last one the turn
# is the first one's again and the pointer one step up moves on.
#
# Bounds: a choice costs a step for each class above the leaf; where colours are walked, and where
# the time has to be exact (link_t.exact), every leaf in which something waits.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fwcore.dataplane.bits cimport bits_has, bits_next
from fwcore.dataplane.colour cimport (
    class_head, class_turn, colours_look, colours_walk, colours_walk_row, feed_of, leaf_order,
    leaf_turn, row_of,
)
from fwcore.dataplane.heap cimport heap_first
from fwcore.dataplane.layout cimport fw_clz64, fw_ctz64
from fwcore.dataplane.queue cimport shares_wake
from fwcore.dataplane.shaping cimport (
    LENT_BY_ITSELF, NEED_PACKET, NOT_LENT, SHAPE_NEVER, SHAPE_NIL, SHARE_NONE, TREE_DEPTH_MAX,
    bucket_charge, bucket_pay, bucket_ready, bucket_settle, bucket_want, class_t, cost_of, link_t,
    shaper_t, span_t, turn_t,
)


# --- classes by id --------------------------------------------------------------------------------

cdef inline uint32_t class_from(const shaper_t *s, const link_t *link, int64_t id_) noexcept nogil:
    """Place of the first class of a link whose id is no less. They stand by ascending id."""
    cdef uint32_t low = 0, high = link.classes_count, middle
    while low < high:
        middle = (low + high) // 2
        if s.classes[link.classes + middle].id < id_:
            low = middle + 1
        else:
            high = middle
    return low


cdef inline uint32_t class_of(const shaper_t *s, const link_t *link, int64_t id_) noexcept nogil:
    """The class of an id, or NIL."""
    cdef uint32_t place = class_from(s, link, id_)
    if place < link.classes_count and s.classes[link.classes + place].id == id_:
        return link.classes + place
    return SHAPE_NIL


cdef inline uint32_t leaf_of(const link_t *link, int64_t id_) noexcept nogil:
    """The leaf of an id, else the one with the lowest."""
    return link.leaf_by_id[id_] if 0 <= id_ < link.ids else link.lowest


cdef inline uint32_t child_from(
    const shaper_t *s, uint32_t first, uint32_t count, int64_t id_,
) noexcept nogil:
    """Place of the first of these children whose id is no less."""
    cdef uint32_t low = 0, high = count, middle
    while low < high:
        middle = (low + high) // 2
        if s.classes[s.children[first + middle]].id < id_:
            low = middle + 1
        else:
            high = middle
    return low


# --- rows of lenders and of green leaves ----------------------------------------------------------

cdef inline turn_t nobody() noexcept nogil:
    cdef turn_t turn
    turn.id = -1
    turn.place = SHAPE_NIL
    return turn


cdef inline void row_set(link_t *link, int order, int priority, turn_t at) noexcept nogil:
    link.row_at[order][priority] = at
    if at.id < 0:
        link.row_set[order] &= ~(<uint32_t>1 << priority)
        if link.row_set[order] == 0:
            link.rows_held &= ~(<uint32_t>1 << order)
    else:
        link.row_set[order] |= <uint32_t>1 << priority
        link.rows_held |= <uint32_t>1 << order


cdef inline turn_t row_from(
    const shaper_t *s, const link_t *link, int order, int priority, uint32_t least,
) noexcept nogil:
    """The first member of a row from a place on."""
    cdef turn_t found = nobody()
    if not (link.row_any[order] >> priority) & 1:
        return found
    if order == 0:
        if least == 0:
            found.id = 0
            found.place = 0
        return found
    found.place = bits_next(row_of(link, order, priority), &link.span, least)
    if found.place != SHAPE_NIL:
        found.id = s.classes[link.classes + found.place].id
    return found


cdef inline turn_t row_after(
    const shaper_t *s, const link_t *link, int order, int priority,
) noexcept nogil:
    """The member behind the one that the pointer stands on."""
    return row_from(s, link, order, priority, link.row_at[order][priority].place + 1)


cdef inline void rows_mend(shaper_t *s, link_t *link) noexcept nogil:
    """A pointer whose member went away moves to the next one, or to nothing."""
    cdef int order, priority
    cdef turn_t at
    cdef uint32_t bits, orders = link.rows_held
    if not link.left:
        return
    link.left = 0
    while orders:  # bounded by ORDERS
        order = fw_ctz64(orders)
        orders &= orders - 1
        bits = link.row_set[order]
        while bits:
            priority = fw_ctz64(bits)
            bits &= bits - 1
            at = link.row_at[order][priority]
            if order == 0:
                if not (link.row_any[0] >> priority) & 1:
                    row_set(link, 0, priority, nobody())
            elif (at.place >= link.classes_count
                    or s.classes[link.classes + at.place].id != at.id
                    or not bits_has(row_of(link, order, priority), at.place)):
                row_set(link, order, priority, row_from(s, link, order, priority, at.place))


# --- whose turn it is -----------------------------------------------------------------------------

cdef inline turn_t feed_from(
    const shaper_t *s, const link_t *link, int parent, int priority, uint32_t least,
) noexcept nogil:
    """The first of those that feed a class (-1: the link), from a place on."""
    cdef const span_t *span
    cdef const uint64_t *set_ = feed_of(s, link, parent, priority, &span)
    cdef turn_t found
    cdef uint32_t first = link.children if parent < 0 else s.classes[parent].children
    found.id = -1
    found.place = bits_next(set_, span, least)
    if found.place != SHAPE_NIL:
        found.id = s.classes[s.children[first + found.place]].id
    return found


cdef inline turn_t *turn_of(shaper_t *s, link_t *link, int parent, int priority) noexcept nogil:
    """The turn below a class; -1: below the link."""
    return &link.turn[priority] if parent < 0 else &s.classes[parent].turn[priority]


cdef inline void tree_step(
    shaper_t *s, link_t *link, int order, int priority, const int *path, int steps,
) noexcept nogil:
    """Moves the pointer one step up from where the turn began anew."""
    cdef turn_t *turn
    if steps == 0:
        row_set(link, order, priority, row_after(s, link, order, priority))
        return
    turn = turn_of(s, link, path[steps - 1], priority)
    turn[0] = feed_from(s, link, path[steps - 1], priority, turn.place + 1)


cdef inline uint32_t tree_descend(
    shaper_t *s, link_t *link, int order, int priority,
) noexcept nogil:
    """Follows the turns from a row of lenders down to a leaf. => the row has members.

    Bounded: a turn that began anew is found when it is met again.
    """
    cdef int path[TREE_DEPTH_MAX + 1]
    cdef int steps = 0
    cdef turn_t at
    cdef turn_t *turn
    cdef uint32_t node, first
    while True:
        if steps == 0:
            if link.row_at[order][priority].id < 0:
                row_set(link, order, priority, row_from(s, link, order, priority, 0))
            if order == 0:
                path[0] = -1
                steps = 1
                continue
            node = link.classes + link.row_at[order][priority].place
        else:
            turn = turn_of(s, link, path[steps - 1], priority)
            at.id = -1
            if turn.id >= 0:
                at = feed_from(s, link, path[steps - 1], priority, turn.place)
            if at.id < 0:
                turn[0] = feed_from(s, link, path[steps - 1], priority, 0)
                steps -= 1
                tree_step(s, link, order, priority, path, steps)
                continue
            turn[0] = at
            first = (link.children if path[steps - 1] < 0
                     else s.classes[path[steps - 1]].children)
            node = s.children[first + at.place]
        if s.classes[node].leaf:
            return node
        path[steps] = <int>node
        steps += 1


cdef inline uint32_t tree_below(shaper_t *s, link_t *link, int priority) noexcept nogil:
    """The same where all classes are leaves below the link, which lends. => its row has members,
    and its pointer stands on it"""
    cdef turn_t *turn = &link.turn[priority]
    cdef uint32_t place = SHAPE_NIL
    cdef const uint64_t *set_ = link.feed + <uint64_t>priority * link.feed_span.total
    if turn.id >= 0:
        if turn.place < link.children_count and bits_has(set_, turn.place):
            return link.classes + turn.place
        place = bits_next(set_, &link.feed_span, turn.place)
    if place == SHAPE_NIL:
        place = bits_next(set_, &link.feed_span, 0)
    turn.id, turn.place = s.classes[link.classes + place].id, place
    return link.classes + place


cdef inline uint32_t tree_pick(
    shaper_t *s, link_t *link, int64_t now, int *order,
) noexcept nogil:
    """The leaf of tree_choose, and its order, where rows are those of now; else NIL. => all
    classes are leaves below the link"""
    cdef int priority
    if link.left or link.lent == 0 or heap_first(&link.turns) <= now:
        return SHAPE_NIL
    order[0] = 63 - fw_clz64(link.lent)
    priority = fw_ctz64(link.row_any[order[0]])
    if link.row_at[order[0]][priority].id < 0:
        row_set(link, order[0], priority, row_from(s, link, order[0], priority, 0))
    if order[0] == 0:
        return tree_below(s, link, priority)
    return link.classes + link.row_at[order[0]][priority].place


cdef struct choice_t:
    uint32_t leaf           # NIL: nobody may send
    int order


cdef inline void tree_look(shaper_t *s, link_t *link, int64_t now) noexcept nogil:
    """=> rows are those of now, and their pointers stand on members."""
    if link.walks or link.left or heap_first(&link.turns) <= now:
        tree_look_again(s, link, now)


cdef inline void tree_look_again(shaper_t *s, link_t *link, int64_t now) noexcept nogil:
    """The same where colours or members may be others than at the last look."""
    if link.walks:
        colours_walk(s, link, now)
    else:
        colours_look(s, link, now)
    rows_mend(s, link)


cdef inline choice_t tree_choose(shaper_t *s, link_t *link, int64_t now) noexcept nogil:
    """The leaf that is served, and how."""
    cdef choice_t choice
    cdef int priority, order
    tree_look(s, link, now)
    choice.leaf = SHAPE_NIL
    choice.order = 0
    if link.lent == 0:
        return choice
    choice.order = order = 63 - fw_clz64(link.lent)
    priority = fw_ctz64(link.row_any[order])
    if link.row_at[order][priority].id < 0:
        row_set(link, order, priority, row_from(s, link, order, priority, 0))
    if order == LENT_BY_ITSELF:
        choice.leaf = link.classes + link.row_at[order][priority].place
        return choice
    if link.children_count == link.classes_count:
        choice.leaf = tree_below(s, link, priority)
        return choice
    if link.walks:
        colours_walk_row(s, link, order, priority)
    choice.leaf = tree_descend(s, link, order, priority)
    return choice


cdef inline int tree_turn(
    shaper_t *s, link_t *link, class_t *leaf, int order, uint64_t size,
) noexcept nogil:
    """A send takes its bytes off the deficit; below 0 it is the next one's turn, and 1. => sets are
    those of the choice"""
    leaf.deficit[order] -= <int64_t>size
    if leaf.deficit[order] >= 0:
        return 0
    leaf.deficit[order] += leaf.row.quantum
    if order == LENT_BY_ITSELF:
        row_set(link, LENT_BY_ITSELF, leaf.priority,
                row_after(s, link, LENT_BY_ITSELF, leaf.priority))
    else:
        turn_of(s, link, leaf.parent, leaf.priority)[0] = feed_from(
            s, link, leaf.parent, leaf.priority, leaf.child + 1)
    return 1


cdef inline void tree_charge(
    shaper_t *s, link_t *link, class_t *leaf, int64_t now, uint64_t size, int order,
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
        if c == leaf:
            leaf_turn(s, link, leaf, now)
        elif c.shuts and c.asked and not link.walks:
            class_turn(s, link, c, now)
        if c.parent < 0:
            break
        c = &s.classes[c.parent]
    tree_look(s, link, now)


cdef inline void tree_pass(
    shaper_t *s, link_t *link, class_t *leaf, int64_t now, uint64_t size, int order,
) noexcept nogil:
    """What choice, turn and charge do for a packet that is alone in its link: each turn on its
    way is its own. => rows have no members, their pointers stand on nothing"""
    cdef class_t *c = leaf
    cdef turn_t *turn
    leaf.deficit[order] -= <int64_t>size
    while True:  # bounded by the depth of the tree
        if c.ceiling.price:
            bucket_charge(&c.ceiling, now, size)
        if c.depth > order:
            turn = turn_of(s, link, c.parent, leaf.priority)
            turn.id, turn.place = c.id, c.child
            c.borrowed += 1
        elif c.guarantee.price:
            bucket_charge(&c.guarantee, now, size)
        if c.parent < 0:
            break
        c = &s.classes[c.parent]
    if leaf.deficit[order] < 0:
        leaf.deficit[order] += leaf.row.quantum
        if order != LENT_BY_ITSELF:
            turn_of(s, link, leaf.parent, leaf.priority)[0] = nobody()


cdef inline int leaf_lets(
    shaper_t *s, link_t *link, class_t *leaf, int64_t now, uint64_t size,
) noexcept nogil:
    """Whether its tree lets a packet go that is alone in its link; then it is paid for. => rows
    have no members, their pointers stand on nothing"""
    cdef int order
    cdef int64_t total = 0, own
    if leaf.parent >= 0:
        order = leaf_order(s, leaf, now, size)
        if order != NOT_LENT:
            tree_pass(s, link, leaf, now, size, order)
        return order != NOT_LENT
    if leaf.ceiling.price:   # the same of a leaf below the link, in one
        total = cost_of(leaf.ceiling.price, size)
        if bucket_settle(&leaf.ceiling, now) < (total if leaf.need == NEED_PACKET else 0):
            return 0
    order = 0
    if leaf.guarantee.price:
        own = cost_of(leaf.guarantee.price, size)
        if bucket_settle(&leaf.guarantee, now) >= (own if leaf.need == NEED_PACKET else 0):
            bucket_pay(&leaf.guarantee, own)
            order = LENT_BY_ITSELF
    if leaf.ceiling.price:
        bucket_pay(&leaf.ceiling, total)
    leaf.deficit[order] -= <int64_t>size
    if order == 0:
        leaf.borrowed += 1
        link.turn[leaf.priority].id, link.turn[leaf.priority].place = leaf.id, leaf.child
    if leaf.deficit[order] < 0:
        leaf.deficit[order] += leaf.row.quantum
        if order == 0:
            link.turn[leaf.priority] = nobody()
    return 1


# --- when -----------------------------------------------------------------------------------------

cdef inline int64_t class_earliest(
    const shaper_t *s, const class_t *leaf, int64_t now, uint64_t size,
) noexcept nogil:
    """The first nanosecond at which its tree lets such a packet of a leaf pass, or NEVER."""
    cdef const class_t *path[TREE_DEPTH_MAX + 1]
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
    cdef int64_t wakes = now if leaf.row.share == SHARE_NONE else shares_wake(leaf, now)
    cdef int64_t allowed = class_earliest(s, leaf, now, class_head(s, leaf))
    return wakes if wakes > allowed else allowed


cdef inline int64_t link_due(shaper_t *s, link_t *link, int64_t now) noexcept nogil:
    """The next moment at which something happens here by itself; where that need not be exact, no
    later. => it was served now"""
    cdef int64_t best = SHAPE_NEVER, time_ns
    cdef uint32_t word, at
    cdef uint64_t bits
    if link.line != SHAPE_NIL:
        return link.end_ns + (link.end_rest != 0)
    if not link.exact:
        return heap_first(&link.turns)
    for word in range(link.words):
        bits = s.maps[link.map + word]
        while bits:
            at = s.leaves[link.leaves + word * 64 + fw_ctz64(bits)]
            bits &= bits - 1
            time_ns = class_due(s, &s.classes[at], now)
            if time_ns < best:
                best = time_ns
    return best
