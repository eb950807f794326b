# Queues of a class: packets in order, ways to discard at departure, and sub-queues in turn.
#
#     new list --> credit > 0: serve --> old list --> ... --> emptied: out     (RFC 8290)
#                                           ^
#     parked (its own bucket does not conform) --- the first ns it conforms
#
# Overview: parked sub-queues stand in a heap by when they conform. The fattest is found by a heap
# of bounds, which a put raises and only a push-out lowers: most packets do not touch it. An
# address finds its sub-queue by its hash; those that are free stand in a set, and those that hold
# nothing and wait for their bucket in a heap.
#
# Laws: a sub-queue stands in one place; `listed` counts those in the lists that hold packets.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fwcore.dataplane.bits cimport bits_add, bits_drop, bits_has, bits_next
from fwcore.dataplane.heap cimport heap_drop, heap_first, heap_set
from fwcore.dataplane.layout cimport HALVES, fw_splitmix
from fwcore.dataplane.shaping cimport (
    DISCARD_CODEL, MARK_CE, MARK_CE_ALONE, NO_MARK, PLACE_NEW, PLACE_OLD, PLACE_OUT, PLACE_PARKED,
    SHAPE_NIL, SHARE_DESTINATION, SHARE_FLOW, bucket_charge, bucket_ready, bucket_t, bucket_want,
    class_t, codel_t, end_get, fifo_t, list_t, shape_isqrt, shape_scale, shaper_t, share_t, wait_t,
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


cdef inline int codel_marks(shaper_t *s, const class_t *leaf, uint32_t at) noexcept nogil:
    """Tells of congestion by a mark instead of a drop, where it can [R: Linux]."""
    if not leaf.row.ecn or at == SHAPE_NIL or not s.waits[at].ect:
        return 0
    if s.waits[at].mark == NO_MARK:
        s.waits[at].mark = MARK_CE_ALONE
    elif s.waits[at].mark != MARK_CE_ALONE:
        s.waits[at].mark |= MARK_CE
    return 1


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


cdef inline int codel_rests(const codel_t *c, const class_t *leaf, const shaper_t *s,
                            const fifo_t *f, int64_t now) noexcept nogil:
    """Whether it has nothing to say of the head: it drops none, and that one came a while ago."""
    return not c.dropping and (
        f.count == 0 or now - s.waits[f.head].time_ns < leaf.row.target_ns)


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


cdef inline void share_emptied(shaper_t *s, class_t *c, uint32_t number) noexcept nogil:
    """It holds nothing: it is free for another address once its bucket is full."""
    cdef bucket_t bucket
    cdef int64_t full
    if c.share_heads == NULL:
        return
    if c.share_bucket.price:
        bucket = share_bucket(c, share_at(s, c, number))
        full = bucket_ready(&bucket, bucket.time_ns, bucket.depth)
        if full > s.now_ns:
            heap_set(&c.fills, number, full)
            return
    bits_add(c.spare, &c.spare_span, number)


cdef inline void share_filled(class_t *c, uint32_t number) noexcept nogil:
    """It holds something."""
    if c.share_heads != NULL:
        bits_drop(c.spare, &c.spare_span, number)
        if c.share_bucket.price:
            heap_drop(&c.fills, number)


cdef inline uint32_t *share_slot(
    const shaper_t *s, const class_t *c, const uint64_t *address,
) noexcept nogil:
    """The first sub-queue of an address's hash slot."""
    return &c.share_heads[
        <uint32_t>(address_hash(s, address) >> 32) & c.share_mask]


cdef inline uint64_t address_hash(const shaper_t *s, const uint64_t *address) noexcept nogil:
    return fw_splitmix(fw_splitmix(s.seed ^ address[0]) ^ address[1])


cdef inline void share_disown(shaper_t *s, class_t *c, uint32_t number) noexcept nogil:
    """It is no address's any more. Bounded by the sub-queues of its slot."""
    cdef share_t *share = share_at(s, c, number)
    cdef uint32_t *slot
    if share.family == 0:
        return
    slot = share_slot(s, c, share.address)
    while slot[0] != number:
        slot = &share_at(s, c, slot[0]).chain
    slot[0] = share.chain
    share.family = 0


cdef inline uint32_t share_of_address(
    shaper_t *s, class_t *c, const uint64_t *address, uint32_t family, int64_t now,
) noexcept nogil:
    """The sub-queue of an address: its own as long as it holds packets or its bucket is not full;
    where all are taken, that of its hash. Bounded by the shares."""
    cdef share_t *share
    cdef uint32_t *slot = share_slot(s, c, address)
    cdef uint32_t number = slot[0]
    while heap_first(&c.fills) <= now:
        bits_add(c.spare, &c.spare_span, c.fills.item[0])
        heap_drop(&c.fills, c.fills.item[0])
    while number != SHAPE_NIL:
        share = share_at(s, c, number)
        if share.family == family and share.address[0] == address[0] and (
                share.address[1] == address[1]):
            if not bits_has(c.spare, number):
                return number
            share_disown(s, c, number)
            break
        number = share.chain
    number = bits_next(c.spare, &c.spare_span, 0)
    if number == SHAPE_NIL:
        return share_get(s, c, <uint32_t>shape_scale(address_hash(s, address), c.row.shares))
    share_get(s, c, number)
    share_disown(s, c, number)
    share = share_at(s, c, number)
    share.family = <uint8_t>family
    share.address[0], share.address[1] = address[0], address[1]
    share.chain = slot[0]
    slot[0] = number
    return number


cdef inline uint32_t share_of(
    shaper_t *s, class_t *c, uint32_t at, int64_t now,
) noexcept nogil:
    """The sub-queue of a packet: by its session's hash, or one for each address."""
    cdef const wait_t *w = &s.waits[at]
    cdef uint64_t address[HALVES]
    if c.row.share == SHARE_FLOW:
        return share_get(s, c, <uint32_t>shape_scale(w.flow, c.row.shares))
    end_get(&s.ends[at], (c.row.share == SHARE_DESTINATION) ^ w.swapped, address)
    return share_of_address(s, c, address, w.family, now)


cdef inline void share_append(
    shaper_t *s, class_t *c, list_t *to, uint32_t number, uint32_t place,
) noexcept nogil:
    """At the end of one of the lists."""
    cdef share_t *share = share_at(s, c, number)
    share.place = <uint8_t>place
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
    cdef uint32_t number = s.waits[at].share
    cdef share_t *share = share_at(s, c, number)
    cdef int empty = share.fifo.count == 0
    fifo_put(s, &share.fifo, at)
    if empty:
        share_filled(c, number)
    if c.fat.at[number] == 0 or -<int64_t>share.fifo.bytes < c.fat.key[number]:
        heap_set(&c.fat, number, -<int64_t>share.fifo.bytes)
    if share.place == PLACE_OUT:
        share.credit = c.row.quantum
        share_append(s, c, &c.fresh, number, PLACE_NEW)
        c.listed += 1
    elif share.place != PLACE_PARKED:
        c.listed += empty


cdef inline uint32_t shares_fattest(shaper_t *s, class_t *c) noexcept nogil:
    """The sub-queue with most bytes, ties the lowest number. => a packet waits.

    Bounded: a bound that is put right was raised by a put before.
    """
    cdef uint32_t number
    cdef int64_t key
    while True:
        number = c.fat.item[0]
        key = -<int64_t>share_at(s, c, number).fifo.bytes
        if c.fat.key[number] == key:
            return number
        heap_set(&c.fat, number, key)


cdef inline uint32_t shares_push_out(shaper_t *s, class_t *c, int64_t now) noexcept nogil:
    """The head of the fattest sub-queue. => a packet waits."""
    cdef uint32_t number = shares_fattest(s, c)
    cdef share_t *fattest = share_at(s, c, number)
    cdef uint32_t at = fifo_take(s, &fattest.fifo)
    if fattest.fifo.count == 0:
        share_emptied(s, c, number)
    if fattest.place == PLACE_PARKED:
        fattest.since = now
        if fattest.fifo.count == 0:
            fattest.place = PLACE_OUT
            c.parked -= 1
            heap_drop(&c.wakes, number)
        else:
            heap_set(&c.wakes, number, share_wakes(s, c, fattest))
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
    cdef uint32_t number
    while heap_first(&c.wakes) <= now:  # bounded by the parked ones
        number = c.wakes.item[0]
        heap_drop(&c.wakes, number)
        share_append(s, c, &c.old, number, PLACE_OLD)
        c.parked -= 1
        c.listed += 1


cdef inline int64_t shares_wake(const class_t *c, int64_t now) noexcept nogil:
    """When a list will hold a packet. => something waits."""
    cdef int64_t first
    if c.listed:
        return now
    first = heap_first(&c.wakes)
    return first if first > now else now


cdef inline uint32_t share_serve(
    shaper_t *s, class_t *c, share_t *share, int64_t now, list_t *dropped,
) noexcept nogil:
    """The head of one sub-queue, by its CoDel; its bucket is charged. NIL: nothing is left."""
    cdef uint32_t at = SHAPE_NIL
    cdef int before = share.fifo.count != 0
    cdef bucket_t bucket
    if c.row.discard == DISCARD_CODEL and not codel_rests(&share.codel, c, s, &share.fifo, now):
        at = codel_take(s, c, &share.codel, &share.fifo, now, dropped)
    else:
        share.codel.first_above = 0
        if before:
            at = fifo_take(s, &share.fifo)
    if not before:
        return at
    if at != SHAPE_NIL and c.share_bucket.price:
        bucket = share_bucket(c, share)
        bucket_charge(&bucket, now, s.waits[at].size)
        share.level = bucket.level
        share.time_ns = bucket.time_ns
    if share.fifo.count == 0:
        c.listed -= 1
        share_emptied(s, c, <uint32_t>(share - share_at(s, c, 0)))
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
        if c.share_bucket.price and share.fifo.count and share_ready(s, c, share, now) > now:
            share.place = PLACE_PARKED
            share.since = now
            heap_set(&c.wakes, share_pop(s, c, here), share_wakes(s, c, share))
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
