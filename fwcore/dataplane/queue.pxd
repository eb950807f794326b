# Queues of a class: packets in order, ways to discard at departure, and sub-queues in turn.
#
#     new list --> credit > 0: serve --> old list --> ... --> emptied: out     (RFC 8290)
#                                           ^
#     parked (its own bucket does not conform) --- the first ns it conforms
#
# Laws: a sub-queue stands in one place; `listed` counts those in the lists that hold packets.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fwcore.dataplane.layout cimport fw_likely, fw_unlikely
from fwcore.dataplane.shaping cimport (
    DISCARD_CODEL, NEED_PACKET, PLACE_NEW, PLACE_OLD, PLACE_OUT, PLACE_PARKED, SHAPE_NEVER,
    SHAPE_NIL, SHARE_DESTINATION, SHARE_FLOW, arrival_t, bucket_at, bucket_charge, bucket_ready,
    bucket_t, bucket_want, class_t, codel_t, fifo_t, list_t, shape_isqrt, shape_scale,
    shape_splitmix, share_t, shaper_t, wait_t,
)


# --- packets in order -----------------------------------------------------------------------------

cdef inline void fifo_begin(fifo_t *f) noexcept nogil:
    f.head = f.tail = SHAPE_NIL
    f.bytes = f.count = 0


cdef inline void fifo_put(shaper_t *s, fifo_t *f, uint32_t at) noexcept nogil:
    s.waits[at].next = SHAPE_NIL
    if f.tail != SHAPE_NIL:
        s.waits[f.tail].next = at
    else:
        f.head = at
    f.tail = at
    f.bytes += s.waits[at].size
    f.count += 1


cdef inline uint32_t fifo_take(shaper_t *s, fifo_t *f) noexcept nogil:
    """The head. => there is one."""
    cdef uint32_t at = f.head
    f.head = s.waits[at].next
    if f.head == SHAPE_NIL:
        f.tail = SHAPE_NIL
    f.bytes -= s.waits[at].size
    f.count -= 1
    return at


cdef inline uint32_t fifo_take_last(shaper_t *s, fifo_t *f) noexcept nogil:
    """The tail: for changes of settings only, bounded by the queue. => there is one."""
    cdef uint32_t at = f.head, before = SHAPE_NIL
    while s.waits[at].next != SHAPE_NIL:
        before = at
        at = s.waits[at].next
    f.tail = before
    if before == SHAPE_NIL:
        f.head = SHAPE_NIL
    else:
        s.waits[before].next = SHAPE_NIL
    f.bytes -= s.waits[at].size
    f.count -= 1
    return at


# --- CoDel (RFC 8289) -----------------------------------------------------------------------------

cdef inline int64_t codel_law(const codel_t *c, int64_t time_ns, int64_t interval) noexcept nogil:
    """The time of the next drop: interval / sqrt(count) later, rounded down."""
    return time_ns + <int64_t>shape_isqrt(<uint64_t>interval * <uint64_t>interval // c.count)


cdef inline uint32_t codel_look(
    shaper_t *s, const class_t *leaf, codel_t *c, fifo_t *f, int64_t now, int *over,
) noexcept nogil:
    """Takes the head; whether it may be dropped: above target for an interval. NIL: empty."""
    cdef uint32_t at
    over[0] = 0
    if f.count == 0:
        c.first_above = 0
        return SHAPE_NIL
    at = fifo_take(s, f)
    if now - s.waits[at].time_ns < leaf.row.target_ns or f.bytes <= leaf.largest:
        c.first_above = 0
    elif c.first_above == 0:
        c.first_above = now + leaf.row.interval_ns
    elif now >= c.first_above:
        over[0] = 1
    return at


cdef inline int codel_marks(const shaper_t *s, const class_t *leaf, uint32_t at) noexcept nogil:
    """Whether congestion is told by a mark instead of a drop [R: Linux]."""
    return leaf.row.ecn and at != SHAPE_NIL and s.waits[at].ect


cdef inline uint32_t codel_enter(
    shaper_t *s, const class_t *leaf, codel_t *c, fifo_t *f, int64_t now, uint32_t at,
    list_t *dropped,
) noexcept nogil:
    """Begins to drop; soon after the last time the rate of drops goes on where it was."""
    cdef int over
    cdef uint64_t delta
    if not codel_marks(s, leaf, at):
        codel_drop(s, at, dropped)
        at = codel_look(s, leaf, c, f, now, &over)
    c.dropping = 1
    delta = c.count - c.last_count
    c.count = c.last_count = (
        delta if delta > 1 and now - c.drop_next < 16 * leaf.row.interval_ns else 1)
    c.drop_next = codel_law(c, now, leaf.row.interval_ns)
    return at


cdef inline void codel_drop(shaper_t *s, uint32_t at, list_t *dropped) noexcept nogil:
    """Keeps a dropped packet in its order, for who accounts for it."""
    s.waits[at].next = SHAPE_NIL
    if dropped.tail != SHAPE_NIL:
        s.waits[dropped.tail].next = at
    else:
        dropped.head = at
    dropped.tail = at


cdef inline uint32_t codel_take(
    shaper_t *s, const class_t *leaf, codel_t *c, fifo_t *f, int64_t now, list_t *dropped,
) noexcept nogil:
    """The packet to send, after dropping what is due; NIL: nothing is left."""
    cdef int over
    cdef uint32_t at = codel_look(s, leaf, c, f, now, &over)
    if not c.dropping:
        return codel_enter(s, leaf, c, f, now, at, dropped) if over else at
    c.dropping = over
    while c.dropping and now >= c.drop_next:  # bounded by the queue
        c.count += 1
        if codel_marks(s, leaf, at):
            c.drop_next = codel_law(c, c.drop_next, leaf.row.interval_ns)
            break
        codel_drop(s, at, dropped)
        at = codel_look(s, leaf, c, f, now, &over)
        c.dropping = over
        if over:
            c.drop_next = codel_law(c, c.drop_next, leaf.row.interval_ns)
    return at


# --- sub-queues -----------------------------------------------------------------------------------

cdef inline share_t *share_at(const shaper_t *s, const class_t *c, uint32_t number) noexcept nogil:
    return &s.shares[c.shares_first + number]


cdef inline bucket_t share_bucket(const class_t *c, const share_t *share) noexcept nogil:
    """Its bucket as it stands. => the class has a ceiling for shares."""
    cdef bucket_t bucket = c.share_bucket
    bucket.level = share.level
    bucket.time_ns = share.time_ns
    return bucket


cdef inline int64_t share_ready(
    const shaper_t *s, const class_t *c, const share_t *share, int64_t now,
) noexcept nogil:
    """The first nanosecond at which its head conforms to its bucket. => it holds one."""
    cdef bucket_t bucket
    if c.share_bucket.price == 0:
        return now
    bucket = share_bucket(c, share)
    return bucket_ready(
        &bucket, now, bucket_want(&bucket, c.row.need, s.waits[share.fifo.head].size))


cdef inline int share_free(const class_t *c, const share_t *share, int64_t now) noexcept nogil:
    """It holds nothing and its bucket misses nothing."""
    cdef bucket_t bucket
    if not share.made:
        return 1
    if share.fifo.count:
        return 0
    if c.share_bucket.price == 0:
        return 1
    bucket = share_bucket(c, share)
    return bucket_at(&bucket, now) == bucket.depth


cdef inline uint32_t share_get(shaper_t *s, class_t *c, uint32_t number) noexcept nogil:
    """Makes the sub-queue of this number when it is first used."""
    cdef share_t *share = share_at(s, c, number)
    if not share.made:
        share.made = 1
        share.next = SHAPE_NIL
        fifo_begin(&share.fifo)
        share.level = c.share_bucket.depth
        share.time_ns = 0
        if number >= c.shares_high:
            c.shares_high = number + 1
    return number


cdef inline uint32_t share_of_address(
    shaper_t *s, class_t *c, const uint64_t *address, uint32_t family, int64_t now,
) noexcept nogil:
    """The sub-queue of an address: its own as long as it holds packets or its bucket is not full;
    where all are taken, that of its hash. Bounded by the shares."""
    cdef share_t *share
    cdef uint32_t number, free = SHAPE_NIL
    cdef uint64_t hash_
    for number in range(c.shares_high):
        share = share_at(s, c, number)
        if not share.made:
            continue
        if share.family and share_free(c, share, now):
            share.family = 0
        if share.family == family and share.address[0] == address[0] and (
                share.address[1] == address[1]):
            return number
    for number in range(c.row.shares):
        share = share_at(s, c, number)
        if not share.made or (share.family == 0 and share_free(c, share, now)):
            free = number
            break
    if free != SHAPE_NIL:
        share_get(s, c, free)
        share = share_at(s, c, free)
        share.family = family
        share.address[0], share.address[1] = address[0], address[1]
        return free
    hash_ = shape_splitmix(shape_splitmix(s.seed ^ address[0]) ^ address[1])
    return share_get(s, c, <uint32_t>shape_scale(hash_, c.row.shares))


cdef inline uint32_t share_of(
    shaper_t *s, class_t *c, const arrival_t *p, int64_t now,
) noexcept nogil:
    """The sub-queue of a packet: by its session's hash, or one for each address."""
    if c.row.share == SHARE_FLOW:
        return share_get(s, c, <uint32_t>shape_scale(p.flow, c.row.shares))
    if c.row.share == SHARE_DESTINATION:
        return share_of_address(s, c, p.ends.destination, p.family, now)
    return share_of_address(s, c, p.ends.source, p.family, now)


cdef inline void share_append(
    shaper_t *s, class_t *c, list_t *to, uint32_t number, uint32_t place,
) noexcept nogil:
    """At the end of one of the lists."""
    cdef share_t *share = share_at(s, c, number)
    share.place = place
    share.next = SHAPE_NIL
    if to.tail != SHAPE_NIL:
        share_at(s, c, to.tail).next = number
    else:
        to.head = number
    to.tail = number


cdef inline uint32_t share_pop(shaper_t *s, class_t *c, list_t *of) noexcept nogil:
    """The head of a list. => there is one."""
    cdef uint32_t number = of.head
    of.head = share_at(s, c, number).next
    if of.head == SHAPE_NIL:
        of.tail = SHAPE_NIL
    return number


cdef inline void shares_put(shaper_t *s, class_t *c, uint32_t at) noexcept nogil:
    """A packet at the tail of its sub-queue; one in no list begins in the new one."""
    cdef share_t *share = share_at(s, c, s.waits[at].share)
    cdef int empty = share.fifo.count == 0
    fifo_put(s, &share.fifo, at)
    if share.place == PLACE_OUT:
        share.credit = c.row.quantum
        share_append(s, c, &c.fresh, s.waits[at].share, PLACE_NEW)
        c.listed += 1
    elif share.place != PLACE_PARKED:
        c.listed += empty


cdef inline uint32_t shares_push_out(shaper_t *s, class_t *c, int64_t now) noexcept nogil:
    """The head of the sub-queue with most bytes, ties the lowest number. => a packet waits."""
    cdef share_t *fattest = NULL
    cdef share_t *share
    cdef uint32_t number, at
    for number in range(c.shares_high):
        share = share_at(s, c, number)
        if share.made and share.fifo.count and (
                fattest == NULL or share.fifo.bytes > fattest.fifo.bytes):
            fattest = share
    at = fifo_take(s, &fattest.fifo)
    if fattest.place == PLACE_PARKED:
        fattest.since = now
        if fattest.fifo.count == 0:
            fattest.place = PLACE_OUT
            c.parked -= 1
    elif fattest.fifo.count == 0:
        c.listed -= 1
    return at


cdef inline int64_t share_wakes(
    const shaper_t *s, const class_t *c, const share_t *share,
) noexcept nogil:
    """When a parked sub-queue conforms."""
    return share_ready(s, c, share, share.since if share.since > share.time_ns else share.time_ns)


cdef inline void shares_unpark(shaper_t *s, class_t *c, int64_t now) noexcept nogil:
    """What conforms again goes to the end of the old list, by time and number."""
    cdef share_t *share
    cdef uint32_t number, first = 0
    cdef int64_t time_ns, best
    while c.parked:  # bounded by the parked ones: each turn takes one out
        best = SHAPE_NEVER
        for number in range(c.shares_high):
            share = share_at(s, c, number)
            if share.made and share.place == PLACE_PARKED:
                time_ns = share_wakes(s, c, share)
                if time_ns < best:
                    best = time_ns
                    first = number
        if best > now:
            return
        share_append(s, c, &c.old, first, PLACE_OLD)
        c.parked -= 1
        c.listed += 1


cdef inline int64_t shares_wake(shaper_t *s, class_t *c, int64_t now) noexcept nogil:
    """When a list will hold a packet. => something waits."""
    cdef share_t *share
    cdef uint32_t number
    cdef int64_t time_ns, best = SHAPE_NEVER
    if c.listed:
        return now
    for number in range(c.shares_high):
        share = share_at(s, c, number)
        if share.made and share.place == PLACE_PARKED:
            time_ns = share_ready(s, c, share, now)
            if time_ns < best:
                best = time_ns
    return best


cdef inline uint32_t share_serve(
    shaper_t *s, class_t *c, share_t *share, int64_t now, list_t *dropped,
) noexcept nogil:
    """The head of one sub-queue, by its CoDel; its bucket is charged. NIL: nothing is left."""
    cdef uint32_t at = SHAPE_NIL
    cdef int before = share.fifo.count != 0
    cdef bucket_t bucket
    if c.row.discard == DISCARD_CODEL:
        at = codel_take(s, c, &share.codel, &share.fifo, now, dropped)
    elif share.fifo.count:
        at = fifo_take(s, &share.fifo)
    if before and share.fifo.count == 0:
        c.listed -= 1
    if at != SHAPE_NIL and c.share_bucket.price:
        bucket = share_bucket(c, share)
        bucket_charge(&bucket, now, s.waits[at].size)
        share.level = bucket.level
        share.time_ns = bucket.time_ns
    return at


cdef inline uint32_t shares_take(
    shaper_t *s, class_t *c, int64_t now, list_t *dropped,
) noexcept nogil:
    """The packet whose turn it is; NIL when no list holds one any more.

    Bounded: each turn gives credit, parks, or takes a sub-queue out.
    """
    cdef list_t *here
    cdef share_t *share
    cdef uint32_t at
    cdef int fresh
    shares_unpark(s, c, now)
    while c.fresh.head != SHAPE_NIL or c.old.head != SHAPE_NIL:
        fresh = c.fresh.head != SHAPE_NIL
        here = &c.fresh if fresh else &c.old
        share = share_at(s, c, here.head)
        if share.fifo.count and c.share_bucket.price and share_ready(s, c, share, now) > now:
            share_pop(s, c, here)
            share.place = PLACE_PARKED
            share.since = now
            c.parked += 1
            c.listed -= 1
            continue
        if share.credit <= 0:
            share.credit += c.row.quantum
            share_append(s, c, &c.old, share_pop(s, c, here), PLACE_OLD)
            continue
        at = share_serve(s, c, share, now, dropped)
        if at != SHAPE_NIL:
            share.credit -= <int64_t>s.waits[at].size
            return at
        if fresh:
            share_append(s, c, &c.old, share_pop(s, c, here), PLACE_OLD)
        else:
            share_pop(s, c, here)
            share.place = PLACE_OUT
    return SHAPE_NIL
