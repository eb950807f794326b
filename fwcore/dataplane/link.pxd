# Links: out of where, and what leaves when.
#
#     arrive -> enqueue -> class -> serve -> line -> left -> next link, or gone
#                  |          |
#            queue_full     codel, pushed_out, cleared
#            no_memory
#
# Overview: a link sends one packet at a time; one without a line releases at the first nanosecond
# that its classes allow. Between packets the shaper goes from one moment to the next
# (shaper_advance), at each through the links downstream first; what a link hands on arrives at the
# next one as any packet does. Each link a packet ends at is a row of departures, which are always
# digested and kept where somebody asks.
#
# Laws: every packet that came in is sent, dropped, cleared or waiting; a line sends one packet at
# a time; nothing is rounded but what is reported; pages are those of the queued bytes.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fwcore.dataplane.colour cimport leaf_order, leaf_turn
from fwcore.dataplane.heap cimport heap_drop, heap_first, heap_second, heap_set
from fwcore.dataplane.held cimport (
    class_gone, class_over, class_push_out, class_put, class_room, departure_row, link_cleared,
    link_depart, link_drop, pages_ask, wait_give, wait_new,
)
from fwcore.dataplane.layout cimport TIME_MAX_NS
from fwcore.dataplane.meter cimport bytes_of
from fwcore.dataplane.queue cimport (
    codel_rests, codel_take, fifo_take, share_emptied, share_of, shares_take,
)
from fwcore.dataplane.shaping cimport (
    DELAY_BUCKETS, DISCARD_CODEL, DISCARD_RED, DROP_CODEL, DROP_NO_MEMORY, DROP_PUSHED_OUT,
    DROP_RED, DROP_TAIL, FATE_NO_MEMORY, FATE_PASSED_ON, FATE_QUEUE_FULL, FATE_SENT, NOT_LENT,
    PASSES_ONTO, PLACE_OUT, PLACE_PARKED, SHAPE_NEVER, SHAPE_NIL, SHAPE_NO_MEMORY, SHAPE_PASSED,
    SHAPE_QUEUE_FULL, SHARE_NONE, bucket_charge, class_t, delay_bucket, fifo_t, line_end, link_t,
    list_t, red_drops, shaper_t, share_t, sum_add, wait_t,
)
from fwcore.dataplane.tree cimport (
    choice_t, leaf_lets, leaf_of, link_due, tree_charge, tree_choose, tree_look, tree_pick,
    tree_turn,
)

cdef enum:
    DROPPED_NOT = -1


# --- in -------------------------------------------------------------------------------------------

cdef inline int link_refuses(
    const shaper_t *s, const link_t *link, class_t *leaf, uint64_t size, uint64_t packet,
) noexcept nogil:
    """Which way to discard refuses a packet at arrival (DROP_*), or DROPPED_NOT."""
    cdef int room
    if (leaf.tails and size <= leaf.most and class_room(leaf, size)
            and s.waiting < s.waiting_max):
        return DROPPED_NOT
    if size > leaf.most:
        leaf.giants += 1
        return DROP_TAIL
    room = class_room(leaf, size)
    if leaf.row.limit_packets == 0:  # no queue: at once or not at all
        room = link.line == SHAPE_NIL and leaf_order(s, leaf, s.now_ns, size) != NOT_LENT
    if leaf.row.share == SHARE_NONE and not room:
        return DROP_TAIL
    if leaf.row.discard == DISCARD_RED and red_drops(
            leaf.row.red_min, leaf.row.red_max, leaf.row.red_probability, leaf.waiting, s.seed,
            packet, link.number):
        return DROP_RED
    if s.waiting + 1 > s.waiting_max and (leaf.row.share == SHARE_NONE or room):
        return DROP_TAIL  # with shares another one would make room
    return DROPPED_NOT


cdef inline int link_is_idle(const link_t *link) noexcept nogil:
    """Whether nothing is here, so that a packet that comes is the only one there is to send."""
    return link.queued == 0 and link.rows_held == 0 and not link.left


cdef inline void link_peaks(link_t *link) noexcept nogil:
    """What is held here has become more."""
    if link.queued > link.peak[0]:
        link.peak[0] = link.queued
    if link.queued_bytes > link.crest:
        link.crest = link.queued_bytes
        if link.crest > link.peak[1]:
            link.peak[1] = link.crest


cdef inline int link_lets(
    shaper_t *s, link_t *link, class_t *leaf, uint64_t size,
) noexcept nogil:
    """Whether a packet that is the only one here may go at once; then it is paid for, and counted
    as come. => link_is_idle, and leaf.passes"""
    if size > leaf.most or s.waiting >= s.waiting_max:
        return 0
    if leaf.row.limit_bytes and size > leaf.row.limit_bytes:
        return 0
    if not leaf_lets(s, link, leaf, s.now_ns, size):
        return 0
    s.order += 1
    link_came(leaf, size)
    if size > leaf.crest:
        leaf.crest = size
    if leaf.row.discard == DISCARD_CODEL:   # what it finds in a queue that was empty
        leaf.codel.first_above = leaf.codel.dropping = 0
    return 1


cdef inline int link_out(
    shaper_t *s, link_t *link, class_t *leaf, uint64_t size, uint64_t packet, uint8_t mark,
) noexcept nogil:
    """Sends a packet at once; 0: nothing was done. => link_is_idle, and leaf.passes out"""
    if not link_lets(s, link, leaf, size):
        return 0
    link.peak[0] += link.peak[0] == 0
    if size > link.crest:
        link.crest = size
        if size > link.peak[1]:
            link.peak[1] = size
    link_count(s, link, leaf, size, 0)
    departure_row(s, packet, s.now_ns, link, leaf, FATE_SENT, mark)
    return 1


cdef inline int link_onto(
    shaper_t *s, link_t *link, class_t *leaf, wait_t *w,
) noexcept nogil:
    """Puts the packet at wait_free on the line at once; 0: nothing was done. => link_is_idle, and
    leaf.passes onto it"""
    if not link_lets(s, link, leaf, w.size):
        return 0
    link.queued, link.queued_bytes = 1, w.size
    link_peaks(link)
    wait_here(s, leaf, w)
    line_begin(s, link, <uint32_t>(leaf - s.classes), wait_new(s), s.now_ns, 0)
    link_wait(s, link, link.end_ns + (link.end_rest != 0))
    return 1


cdef inline void link_came(class_t *leaf, uint64_t size) noexcept nogil:
    """Counts a packet that comes."""
    leaf.arrived[0] += 1
    leaf.arrived[1] += size
    if size > leaf.largest:
        leaf.largest = size


cdef inline void wait_here(shaper_t *s, const class_t *leaf, wait_t *w) noexcept nogil:
    """A packet waits in a leaf from now on."""
    w.time_ns, w.order, w.cls = s.now_ns, s.order, leaf.id


cdef inline int link_joins(
    const shaper_t *s, const link_t *link, const class_t *leaf, uint64_t size,
) noexcept nogil:
    """Whether a packet is one more behind others of its class, so that nothing else changes."""
    return (link.line != SHAPE_NIL and leaf.waiting and leaf.tails and not s.accounted
            and size <= leaf.most and s.waiting < s.waiting_max and class_room(leaf, size))


cdef inline void link_join(shaper_t *s, link_t *link, class_t *leaf) noexcept nogil:
    """Puts the packet at wait_free there. => link_joins"""
    cdef uint32_t at = wait_new(s)
    cdef wait_t *w = &s.waits[at]
    s.order += 1
    link_came(leaf, w.size)
    wait_here(s, leaf, w)
    class_put(s, leaf, at)
    link.queued += 1
    link.queued_bytes += w.size
    link_peaks(link)


cdef inline int link_enqueue(
    shaper_t *s, link_t *link, class_t *leaf, uint32_t pinned,
) noexcept nogil:
    """Puts the packet that stands at wait_free into its class and serves; SHAPE_PASSED, or why it
    was dropped."""
    cdef wait_t *w = &s.waits[s.wait_free]
    cdef uint64_t size = bytes_of(w, link.row.count, link.row.overhead)
    w.size, w.share = size, 0
    if leaf.passes and link_is_idle(link):
        if leaf.passes == PASSES_ONTO:
            if link_onto(s, link, leaf, w):
                return SHAPE_PASSED
        elif link_out(s, link, leaf, size, w.packet, w.mark):
            return SHAPE_PASSED
    s.order += 1
    link_came(leaf, size)
    return link_queue(s, link, leaf, w, pinned)


cdef inline int link_queue(
    shaper_t *s, link_t *link, class_t *leaf, wait_t *w, uint32_t pinned,
) noexcept nogil:
    """The same where it has to wait, were it for no time. => it was counted, and w is its place"""
    cdef uint64_t size = w.size
    cdef uint64_t before
    cdef int why
    if leaf.row.share != SHARE_NONE:
        w.share = share_of(s, leaf, s.wait_free, s.now_ns)
    why = link_refuses(s, link, leaf, size, w.packet)
    if why == DROPPED_NOT and not pages_ask(s, link, size, pinned):
        why = DROP_NO_MEMORY
    if why != DROPPED_NOT:
        leaf.dropped[why] += 1
        leaf.dropped_bytes += size
        return SHAPE_NO_MEMORY if why == DROP_NO_MEMORY else SHAPE_QUEUE_FULL
    before = leaf.fifo.count if leaf.row.share == SHARE_NONE else leaf.listed
    wait_here(s, leaf, w)
    class_put(s, leaf, wait_new(s))
    link.queued += 1
    link.queued_bytes += size
    link_peaks(link)
    while leaf.row.share != SHARE_NONE and class_over(leaf):  # bounded by what waits
        link_drop(s, link, leaf, class_push_out(s, leaf, s.now_ns), DROP_PUSHED_OUT, s.now_ns)
        before = 0
    if before == 0:  # else it would send what it would have sent
        leaf_turn(s, link, leaf, s.now_ns)
    if link.line == SHAPE_NIL:  # else it is due when its transmission ends, as before
        link_serve(s, link, s.now_ns, s.now_ns, 0)
    return SHAPE_PASSED


# --- out ------------------------------------------------------------------------------------------

cdef inline uint32_t class_take(
    shaper_t *s, link_t *link, class_t *c, int64_t now,
) noexcept nogil:
    """The packet to send; NIL: CoDel took them all, or none conforms to its share."""
    cdef list_t dropped
    cdef uint32_t at, gone
    dropped.head = dropped.tail = SHAPE_NIL
    if c.row.share != SHARE_NONE:
        at = shares_take(s, c, now, &dropped)
    elif c.row.discard == DISCARD_CODEL and not codel_rests(&c.codel, c, s, &c.fifo, now):
        at = codel_take(s, c, &c.codel, &c.fifo, now, &dropped)
    else:
        c.codel.first_above = 0
        at = fifo_take(s, &c.fifo)
    while dropped.head != SHAPE_NIL:  # bounded by the queue
        gone = dropped.head
        dropped.head = s.waits[gone].next
        class_gone(s, c, gone)
        link_drop(s, link, c, gone, DROP_CODEL, now)
    if at != SHAPE_NIL:
        class_gone(s, c, at)
    return at


cdef inline void line_watch(link_t *link) noexcept nogil:
    """Notes a transmission that begins before the one before has ended: none does."""
    if link.line_bytes == 0 and link.first_ns == 0:
        link.first_ns = link.start_ns
    if link.start_ns < link.last_ns or (
            link.start_ns == link.last_ns and link.start_rest < link.last_rest):
        link.overlaps += 1


cdef inline void line_begin(
    shaper_t *s, link_t *link, uint32_t leaf, uint32_t at, int64_t start_ns, uint64_t rest,
) noexcept nogil:
    """A transmission begins at an exact time. => the link has a line, and it is free"""
    link.line, link.line_leaf, link.line_rate = at, leaf, link.row.rate
    link.start_ns, link.start_rest = start_ns, rest
    line_watch(link)
    link.end_ns = line_end(s.waits[at].size, link.row.rate, start_ns, rest, &link.end_rest)


# Who was picked last, and whether that would be so again where no time has come.
cdef struct pick_t:
    class_t *leaf
    uint32_t number
    int order, again


cdef inline uint32_t link_pick(
    shaper_t *s, link_t *link, int64_t now, pick_t *pick,
) noexcept nogil:
    """What link_choose would do where rows are those of now; NIL: nothing was done, it is to be
    asked. => the link is plain"""
    cdef uint32_t at
    cdef uint64_t size
    cdef class_t *leaf
    if not pick.again or heap_first(&link.turns) <= now:
        pick.again = 0
        at = tree_pick(s, link, now, &pick.order)
        if at == SHAPE_NIL:
            return SHAPE_NIL
        pick.number, pick.leaf = at, &s.classes[at]
    leaf = pick.leaf
    if leaf.tails:
        at = fifo_take(s, &leaf.fifo)
        class_gone(s, leaf, at)
    else:
        at = class_take(s, link, leaf, now)
        if at == SHAPE_NIL:
            pick.again = 0
            leaf_turn(s, link, leaf, now)
            return SHAPE_NIL
    size = s.waits[at].size
    pick.again = not tree_turn(s, link, leaf, pick.order, size)
    if pick.order == 0:
        leaf.borrowed += 1
    else:
        bucket_charge(&leaf.guarantee, now, size)
    if leaf.ceiling.price:
        bucket_charge(&leaf.ceiling, now, size)
    if (leaf.fifo.count == 0 and leaf.listed == 0) or leaf.ceiling.level < 0 or (
            pick.order and leaf.guarantee.level < 0):
        pick.again = 0
        leaf_turn(s, link, leaf, now)
        tree_look(s, link, now)
    return at


cdef inline uint32_t link_choose(
    shaper_t *s, link_t *link, int64_t now, uint32_t *leaf_,
) noexcept nogil:
    """The packet that goes next, which is paid for, and its leaf; NIL: none may.

    Bounded by what waits: each turn takes a packet out, or finds that none conforms.
    """
    cdef choice_t choice = tree_choose(s, link, now)
    cdef class_t *leaf
    cdef uint32_t at
    while choice.leaf != SHAPE_NIL:
        leaf = &s.classes[choice.leaf]
        at = class_take(s, link, leaf, now)
        if at != SHAPE_NIL:
            tree_turn(s, link, leaf, choice.order, s.waits[at].size)
            tree_charge(s, link, leaf, now, s.waits[at].size, choice.order)
            leaf_[0] = choice.leaf
            return at
        leaf_turn(s, link, leaf, now)
        choice = tree_choose(s, link, now)
    return SHAPE_NIL


cdef inline void link_serve(
    shaper_t *s, link_t *link, int64_t now, int64_t start_ns, uint64_t rest,
) noexcept nogil:
    """Gives out the line, from an exact time, or lets leave what may where there is none."""
    cdef uint32_t at, leaf = SHAPE_NIL
    while link.line == SHAPE_NIL:  # bounded by what waits
        at = link_choose(s, link, now, &leaf)
        if at == SHAPE_NIL:
            break
        if link.row.rate == 0:
            link_left(s, link, &s.classes[leaf], at, now)
            continue
        line_begin(s, link, leaf, at, start_ns, rest)
    link_wait(s, link, link_due(s, link, now))


cdef inline void link_wait(shaper_t *s, link_t *link, int64_t due_ns) noexcept nogil:
    """The next moment of a link; => that of all stands first."""
    link.due_ns = due_ns
    if s.links_count == 1:
        s.due_ns = due_ns
        return
    if due_ns == SHAPE_NEVER:
        heap_drop(&s.due, link.rank)
    else:
        heap_set(&s.due, link.rank, due_ns)
    s.due_ns = heap_first(&s.due)


cdef inline void link_count(
    shaper_t *s, link_t *link, class_t *leaf, uint64_t size, uint64_t delay,
) noexcept nogil:
    """Counts a packet that leaves."""
    link.packets += 1
    link.bytes += size
    leaf_count(s, leaf, <uint32_t>(leaf - s.classes), size, delay)


cdef inline void leaf_count(
    shaper_t *s, class_t *leaf, uint32_t number, uint64_t size, uint64_t delay,
) noexcept nogil:
    """The same at its class."""
    leaf.sent[0] += 1
    leaf.sent[1] += size
    if delay > leaf.slowest:
        leaf.slowest = delay
        if delay > leaf.delay_max:
            leaf.delay_max = delay
    s.delays[<uint64_t>number * DELAY_BUCKETS + delay_bucket(delay)] += 1


cdef inline void link_left(
    shaper_t *s, link_t *link, class_t *leaf, uint32_t at, int64_t now,
) noexcept nogil:
    """A packet has left this link: it is sent, or comes to the next one at once."""
    cdef wait_t *w = &s.waits[at]
    cdef link_t *further = NULL
    cdef class_t *there
    cdef int why
    link_count(s, link, leaf, w.size, <uint64_t>(now - w.time_ns))
    if link.row.next >= 0:
        further = &s.links[link.row.next]
    link_depart(s, link, leaf, at, FATE_SENT if further == NULL else FATE_PASSED_ON, now)
    wait_give(s, at)
    if further == NULL:
        return
    w.dscp = 0
    there = &s.classes[leaf_of(further, leaf.id)]   # which it comes to where it stands
    why = link_enqueue(s, further, there, SHAPE_NIL)
    if why != SHAPE_PASSED:
        departure_row(s, w.packet, now, further, there,
                      FATE_NO_MEMORY if why == SHAPE_NO_MEMORY else FATE_QUEUE_FULL, w.mark)


# --- time -----------------------------------------------------------------------------------------

cdef inline void link_moment(shaper_t *s, link_t *link, int64_t now) noexcept nogil:
    """What is due: the transmission that ends, ends; then it is served."""
    cdef uint32_t at = link.line
    cdef int64_t start_ns = now
    cdef uint64_t rest = 0, whole
    if at != SHAPE_NIL:
        if link.end_ns + (link.end_rest != 0) > now:
            link_wait(s, link, link_due(s, link, now))
            return
        link.line = SHAPE_NIL
        link.line_bytes += s.waits[at].size
        link.last_ns, link.last_rest = link.end_ns, link.end_rest
        whole = <uint64_t>(link.end_ns - link.start_ns)
        link.taken_ns += whole
        if link.line_rate == link.row.rate:
            sum_add(&link.busy, whole, link.line_rate, link.end_rest, link.start_rest)
            start_ns, rest = link.end_ns, link.end_rest
        else:  # a changed rate begins at a whole nanosecond
            sum_add(&link.busy_before, whole, link.line_rate, link.end_rest, link.start_rest)
            link.before_rate = link.line_rate
        link_left(s, link, &s.classes[link.line_leaf], at, now)
    link_serve(s, link, now, start_ns, rest)


cdef inline int link_runs(const shaper_t *s, const link_t *link) noexcept nogil:
    """Whether transmissions may follow one another with nothing to do but to serve."""
    return (link.line != SHAPE_NIL and link.line_rate == link.row.rate and link.row.next < 0
            and not s.accounted)


cdef inline void link_run(shaper_t *s, link_t *link, int64_t until) noexcept nogil:
    """What is due up to a time at a link that no other has to do with meanwhile: transmissions
    that follow one another, until the line is free. => link_runs, and one is due

    What is said of the line, and sums, are taken once for all of them: each begins where the one
    before ended. Bounded by what waits.
    """
    cdef int64_t first_ns = link.start_ns, start_ns = first_ns, end_ns = link.end_ns
    cdef uint64_t first_rest = link.start_rest, start_rest = first_rest, rest = link.end_rest
    cdef uint64_t rate = link.row.rate, count = 0, size = 0
    cdef int64_t now = link.due_ns
    cdef uint32_t at = link.line, leaf
    cdef pick_t pick
    cdef wait_t *w
    pick.number, pick.leaf, pick.order, pick.again = (
        link.line_leaf, &s.classes[link.line_leaf], 0, 0)
    link.line = SHAPE_NIL
    while now <= until:
        w = &s.waits[at]
        s.now_ns = now
        count += 1
        size += w.size
        leaf_count(s, pick.leaf, pick.number, w.size, <uint64_t>(now - w.time_ns))
        departure_row(s, w.packet, now, link, pick.leaf, FATE_SENT, w.mark)
        wait_give(s, at)
        leaf = pick.number
        at = link_pick(s, link, now, &pick) if link.plain else SHAPE_NIL
        if at == SHAPE_NIL:
            at = link_choose(s, link, now, &leaf)
            if at == SHAPE_NIL:
                break
            pick.number, pick.leaf = leaf, &s.classes[leaf]
        start_ns, start_rest = end_ns, rest
        end_ns = line_end(s.waits[at].size, rate, start_ns, start_rest, &rest)
        now = end_ns + (rest != 0)
    link.line, link.line_leaf = at, leaf if at == SHAPE_NIL else pick.number
    link.start_ns, link.start_rest, link.end_ns, link.end_rest = start_ns, start_rest, end_ns, rest
    if at == SHAPE_NIL:
        start_ns, start_rest = end_ns, rest
    link.last_ns, link.last_rest = start_ns, start_rest
    link.line_bytes += size
    link.packets += count
    link.bytes += size
    link.queued -= count
    link.queued_bytes -= size
    link.taken_ns += <uint64_t>(start_ns - first_ns)
    sum_add(&link.busy, <uint64_t>(start_ns - first_ns), rate, start_rest, first_rest)
    link_wait(s, link, link_due(s, link, s.now_ns))


cdef inline int link_idle(shaper_t *s, link_t *link, int64_t now) noexcept nogil:
    """Whether what is due is but a colour that lets nothing go: then nothing has happened."""
    if link.exact or link.line != SHAPE_NIL:
        return 0
    tree_look(s, link, now)
    if link.lent:
        return 0
    link_wait(s, link, link_due(s, link, now))
    return 1


cdef inline void shaper_go(shaper_t *s, int64_t until) noexcept nogil:
    """What is due next, and what follows up to a time where one link alone has to do with it.
    => something is due"""
    cdef link_t *link = s.links
    if s.links_count > 1:
        link = &s.links[s.by_distance[s.due.item[0]]]
        if heap_second(&s.due) <= until:
            until = heap_second(&s.due) - 1
    if until >= s.due_ns and link_runs(s, link):
        link_run(s, link, until)
    else:
        shaper_moment(s, s.due_ns)


cdef inline void shaper_moment(shaper_t *s, int64_t now) noexcept nogil:
    """All that is due at one nanosecond: links downstream first, each once."""
    cdef uint32_t i, count = 0
    cdef link_t *link
    if s.links_count == 1:
        if not link_idle(s, s.links, now):
            s.now_ns = now
            link_moment(s, s.links, now)
        return
    while heap_first(&s.due) <= now:
        s.now_due[count] = s.due.item[0]
        heap_drop(&s.due, s.now_due[count])
        count += 1
    for i in range(count):
        link = &s.links[s.by_distance[s.now_due[i]]]
        if not link_idle(s, link, now):
            s.now_ns = now
            link_moment(s, link, now)
    s.due_ns = heap_first(&s.due)


cdef inline void shaper_advance(shaper_t *s, int64_t until) noexcept nogil:
    """Goes through the moments up to a time, that one included. Bounded by what waits."""
    while s.due_ns <= until:
        shaper_go(s, until)
    if until > s.now_ns:
        s.now_ns = until


cdef inline fifo_t *clear_first(shaper_t *s, link_t *link, class_t **of) noexcept nogil:
    """The queue of a link whose head came first, or NULL."""
    cdef fifo_t *first = NULL
    cdef fifo_t *f
    cdef class_t *c
    cdef uint32_t i, number
    for i in range(link.leaves_count):
        c = &s.classes[s.leaves[link.leaves + i]]
        if c.waiting == 0:
            continue
        for number in range(1 if c.row.share == SHARE_NONE else c.shares_high):
            f = &c.fifo if c.row.share == SHARE_NONE else &s.shares[c.shares_first + number].fifo
            if f.count and (
                    first == NULL or s.waits[f.head].order < s.waits[first.head].order):
                first = f
                of[0] = c
    return first


cdef inline void link_clear(shaper_t *s, link_t *link) noexcept nogil:
    """All of a link's packets are cleared, the one on the line first."""
    cdef uint32_t at = link.line, number, i
    cdef class_t *c = NULL
    cdef share_t *share
    cdef fifo_t *f
    if at != SHAPE_NIL:
        link.line = SHAPE_NIL
        link_cleared(s, link, &s.classes[link.line_leaf], at)
    f = clear_first(s, link, &c)
    while f != NULL:  # bounded by what waits
        at = fifo_take(s, f)
        class_gone(s, c, at)
        link_cleared(s, link, c, at)
        f = clear_first(s, link, &c)
    for i in range(link.leaves_count):
        c = &s.classes[s.leaves[link.leaves + i]]
        c.listed = c.parked = 0
        for number in range(c.shares_high if c.row.share != SHARE_NONE else 0):
            share = &s.shares[c.shares_first + number]
            if share.place == PLACE_PARKED:
                share.place = PLACE_OUT
                heap_drop(&c.wakes, number)
            if share.made:
                share_emptied(s, c, number)
        leaf_turn(s, link, c, s.now_ns)
    link_wait(s, link, SHAPE_NEVER)


cdef inline void shaper_clear(shaper_t *s) noexcept nogil:
    """Nothing waits any more."""
    cdef uint32_t i
    for i in range(s.links_count):
        link_clear(s, &s.links[i])


cdef inline void shaper_drain(shaper_t *s) noexcept nogil:
    """Lets leave what waits; what would leave after the end of time is cleared."""
    while s.due_ns <= TIME_MAX_NS:  # bounded by what waits
        shaper_go(s, TIME_MAX_NS)
    shaper_clear(s)
