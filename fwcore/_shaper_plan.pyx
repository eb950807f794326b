"""A shaper's memory: arrays made of a plan, and nothing in them believed.

    plan of arrays --checked--> Planned: meters, links, classes, rows, room for what waits

Laws: all memory is taken here; every index that a plan has was looked at, so that what runs over
the arrays need not.
"""

import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

from fwcore.dataplane.bits cimport bits_add
from fwcore.dataplane.digest cimport rows_begin, rows_keys
from fwcore.dataplane.layout cimport DIRECTION_COUNT, TIME_MAX_NS
from fwcore.dataplane.match cimport match_kind, match_slot_of
from fwcore.dataplane.meter cimport key_t, meter_take
from fwcore.dataplane.queue cimport fifo_begin
from fwcore.dataplane.samples cimport samples_width
from fwcore.dataplane.shaping cimport (
    ALGORITHMS, CHAIN_MAX, COUNT_KINDS, DELAY_BUCKETS, DISCARDS, DISCARD_RED,
    DISCARD_TAIL, DSCPS, KEY_KINDS, KEY_NONE, NEED_KINDS, NEED_LEVEL, NEED_PACKET, ORDERS,
    OVER_KINDS, PASSES_NOT, PASSES_ONTO, PASSES_OUT, PRIORITIES, RFC2698, RUNGS_MAX, SAMPLES_LEAST,
    SAMPLES_MOST, SHAPE_NEVER, SHAPE_NIL, SHARE_FLOW, SHARE_KINDS, SHARE_NONE, TREE_DEPTH_MAX,
    account_t, bucket_debt_60s, bucket_holds, bucket_make, bucket_t, class_row_t, class_t,
    departure_t, ends_t, heap_t, link_row_t, link_t, match_kind_t, match_row_t, met_t, meter_row_t,
    meter_t, shaped_t, shaper_t, shaping_row_t, share_t, span_make, wait_t, way_t,
)
from fwcore.dataplane.tree cimport class_of, leaf_of
from fwcore._use cimport Use
from fwcore.errors import DataError

cdef enum:
    BURST_ROWS = 4096      # rows of packets after which they want to be collected
    SAMPLES_BYTES = 1 << 23    # of rows of samples, where so many are enough for the least


cdef object _dtypes():
    """dtypes of the structs that cross the line; ``class`` is no name in C."""
    cdef meter_row_t meter
    cdef link_row_t link
    cdef class_row_t cls
    cdef shaping_row_t row
    cdef match_row_t match
    cdef met_t met
    cdef departure_t left
    *made, departure = [np.asarray(part).dtype for part in (
        <const meter_row_t[:1]>&meter, <const link_row_t[:1]>&link, <const class_row_t[:1]>&cls,
        <const shaping_row_t[:1]>&row, <const match_row_t[:1]>&match, <const met_t[:1]>&met,
        <const departure_t[:1]>&left)]
    return *made, np.dtype([("class" if name == "cls" else name, departure[name])
                            for name in departure.names])


(METER_DTYPE, LINK_DTYPE, CLASS_DTYPE, SHAPING_DTYPE, MATCH_DTYPE, ARRIVAL_DTYPE,
 DEPARTURE_DTYPE) = _dtypes()


cdef int _own_request(void *owner, uint64_t pages, uint32_t pinned) noexcept nogil:
    cdef long long *free = <long long *>owner
    if <long long>pages > free[0]:
        return 0
    free[0] -= <long long>pages
    return 1


cdef void _own_give(void *owner, uint64_t pages) noexcept nogil:
    (<long long *>owner)[0] += <long long>pages


# --- what may be declared -------------------------------------------------------------------------

cdef object within(array, str where, dict limits):
    """DataError where a column of rows leaves its limits."""
    for name, (low, high) in limits.items():
        for number in array[name].reshape(-1).tolist():
            if not low <= number <= high:
                raise DataError(f"{where}: {name}: {number} is not in {low}..{high}")


cdef object _checked(plan):
    """DataError where a plan of arrays has an index with nothing behind it."""
    for name, dtype in (("meters", METER_DTYPE), ("links", LINK_DTYPE), ("classes", CLASS_DTYPE),
                        ("rows", SHAPING_DTYPE), ("matches", MATCH_DTYPE),
                        ("policy_ids", np.dtype(np.uint32))):
        array = getattr(plan, name)
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
            raise DataError(f"shaping: {name}: {dtype}[n] is asked for")
    meters, links, classes, rows = len(plan.meters), len(plan.links), len(plan.classes), len(
        plan.rows)
    if links > 65535 or classes > 1 << 24 or meters > 1 << 24:
        raise DataError(f"shaping: {meters} meters, {links} links, {classes} classes are too many")
    within(plan.meters, "meter", {
        "rungs": (1, RUNGS_MAX), "algorithm": (0, ALGORITHMS - 1), "key": (0, KEY_KINDS - 1),
        "need": (0, NEED_KINDS - 1), "count": (0, COUNT_KINDS - 1), "over": (0, OVER_KINDS - 1),
        "keys_max": (1, 1 << 24), "cls": (-1, 65535), "over_class": (-1, 65535)})
    for row in plan.meters:
        if row["algorithm"] != RFC2698 and row["rungs"] != 2:
            raise DataError("meter: rfc2697 and rfc4115 have two rungs")
        if row["rate"][0] == 0:
            raise DataError("meter: a first rung of rate 0")
    within(plan.links, "link", {"next": (-1, links - 1), "count": (0, COUNT_KINDS - 2),
                                "rate": (0, 1 << 40)})
    within(plan.classes, "class", {
        "link": (0, links - 1), "id": (1, 65535), "parent": (0, 65535),
        "priority": (0, PRIORITIES - 1), "discard": (0, DISCARDS - 1), "ecn": (0, 1),
        "share": (0, SHARE_KINDS - 1), "need": (0, NEED_KINDS - 1), "shares": (1, 1 << 20),
        "quantum": (1, 1 << 40), "interval_ns": (1, (1 << 32) - 1), "target_ns": (0, TIME_MAX_NS),
        "red_max": (0, 1 << 30), "limit_packets": (0, 1 << 30)})
    within(plan.rows, "shaping", {
        "meters": (-1, meters - 1), "link": (-1, links - 1), "cls": (-1, 65535),
        "by_dscp": (-1, 65535)})
    within(plan.matches, "shaping", {"row": (0, rows - 1), "policies": (0, len(plan.policy_ids))})
    if (plan.matches["policies_first"].astype(np.uint64) + plan.matches["policies"]
            > len(plan.policy_ids)).any():
        raise DataError("shaping: policies beyond those there are")
    order = classes and (np.diff(plan.classes["link"].astype(np.int64) << 16
                                 | plan.classes["id"]) <= 0).any()
    if order or (links and set(plan.classes["link"].tolist()) != set(range(links))):
        raise DataError("shaping: classes stand by link and id, and each link has one")


cdef object distances_of(links):
    """Links after each one; DataError for a circle or a long chain."""
    found = []
    for at in range(len(links)):
        steps, here = 0, at
        while links["next"][here] >= 0:
            here, steps = int(links["next"][here]), steps + 1
            if steps >= CHAIN_MAX:
                raise DataError(f"link {at}: a circle, or a chain of more than {CHAIN_MAX}")
        found.append(steps)
    return found


cdef class Planned:
    """The memory of a plan: what a ``Shaper`` stands on, whose arguments these are.

    Raises DataError, and MemoryError.
    """

    def __cinit__(self, plan, *, sessions=1, seed=0, packets_max=0, keep=False, watch=False,
                  accounted=False, free=0):
        _checked(plan)
        self.use = Use()
        self.parts, self.plan = [], plan
        self.busy = [{} for _ in range(len(plan.links))]
        memset(&self.core, 0, sizeof(shaper_t))
        self.core.seed = seed
        self.core.accounted = accounted
        self.free = free
        self.disown()
        self.core.due_ns = SHAPE_NEVER
        rows_begin(&self.core.digest)
        rows_keys(self.core.row_keys)
        self._rows(plan)
        self._meters(plan)
        self._links(plan, distances_of(plan.links))
        self._classes(plan)
        self._maps()
        self.ways()
        self._waits(packets_max, keep)
        self._samples()
        if watch:
            self.core.met_room = BURST_ROWS + 2
            self.core.met = <met_t *>self.room(self.core.met_room * sizeof(met_t))
        self.resize(sessions)

    cdef void disown(self) noexcept:
        """Its pages are its own."""
        self.core.owner = &self.free
        self.core.request = _own_request
        self.core.give = _own_give

    # --- memory ---

    cdef void *room(self, size_t bytes) except NULL:
        """Memory of zeros that begins on a cache line, touched."""
        part = np.empty(bytes + 64, dtype=np.uint8)
        part.fill(0)
        self.parts.append(part)
        cdef uint8_t[::1] view = part
        return <void *>((<uintptr_t>&view[0] + 63) & ~<uintptr_t>63)

    cdef int resize(self, uint32_t sessions) except -1:
        """Room for so many sessions. => none is under a row."""
        self.core.shaped = <shaped_t *>self.room((<size_t>sessions + 1) * sizeof(shaped_t))
        self.sessions = sessions
        return 0

    # --- rows, meters, links ---

    cdef int _rows(self, plan) except -1:
        cdef shaper_t *s = &self.core
        cdef const shaping_row_t[::1] rows
        cdef const match_row_t[::1] matches
        cdef const uint32_t[::1] ids
        cdef uint32_t i
        s.rows_count, s.matches_count = len(plan.rows), len(plan.matches)
        s.rows = <shaping_row_t *>self.room((s.rows_count + 1) * sizeof(shaping_row_t))
        s.matches = <match_row_t *>self.room((s.matches_count + 1) * sizeof(match_row_t))
        s.policy_ids = <uint32_t *>self.room((len(plan.policy_ids) + 1) * sizeof(uint32_t))
        if s.rows_count:
            rows = plan.rows
            memcpy(s.rows, &rows[0], s.rows_count * sizeof(shaping_row_t))
        if s.matches_count:
            matches = plan.matches
            memcpy(s.matches, &matches[0], s.matches_count * sizeof(match_row_t))
        for i in range(s.matches_count):
            s.marked |= s.matches[i].dscp != 0
        if len(plan.policy_ids):
            ids = plan.policy_ids
            memcpy(s.policy_ids, &ids[0], ids.shape[0] * sizeof(uint32_t))
        self._kinds()
        return 0

    cdef int _kinds(self) except -1:
        """Rows by what they look at, and by what they want to see."""
        cdef shaper_t *s = &self.core
        cdef uint64_t[:, ::1] looks = np.zeros((s.matches_count, 6), np.uint64)
        cdef match_kind_t kind
        cdef uint32_t[::1] numbers
        cdef uint32_t i, heads = 0, slot
        for i in range(s.matches_count):
            kind = match_kind(s, &s.matches[i])
            looks[i, 0], looks[i, 1] = kind.source[0], kind.source[1]
            looks[i, 2], looks[i, 3] = kind.destination[0], kind.destination[1]
            looks[i, 4], looks[i, 5] = kind.facts, kind.policy
        _, firsts, whose, counts = np.unique(
            np.asarray(looks), axis=0, return_index=True, return_inverse=True, return_counts=True)
        order = np.argsort(firsts)
        numbers = np.argsort(order).astype(np.uint32)[whose.reshape(-1)]
        s.kinds_count = len(order)
        s.kinds = <match_kind_t *>self.room((s.kinds_count + 1) * sizeof(match_kind_t))
        for i in range(s.kinds_count):
            s.kinds[i] = match_kind(s, &s.matches[<uint32_t>firsts[order[i]]])
            s.kinds[i].first, s.kinds[i].heads_first = firsts[order[i]], heads
            s.kinds[i].heads_mask = (1 << (int(counts[order[i]]) - 1).bit_length()) - 1
            heads += s.kinds[i].heads_mask + 1
        s.match_heads = <uint32_t *>self.room((<size_t>heads + 1) * sizeof(uint32_t))
        s.match_next = <uint32_t *>self.room((<size_t>s.matches_count + 1) * sizeof(uint32_t))
        memset(s.match_heads, 255, heads * sizeof(uint32_t))
        i = s.matches_count
        while i:  # the last one first, so that slots ascend
            i -= 1
            slot = match_slot_of(s, &s.kinds[numbers[i]], &s.matches[i])
            s.match_next[i] = s.match_heads[slot]
            s.match_heads[slot] = i
        return 0

    cdef int _meters(self, plan, rooms=None) except -1:
        """``rooms``: accounts of each meter, where more are held than keys_max."""
        cdef shaper_t *s = &self.core
        cdef const meter_row_t[::1] rows
        cdef meter_t *m
        cdef key_t none
        cdef uint32_t first = 0, heads = 0, i, slots
        cdef int rung
        cdef uint64_t bits
        s.meters_count = len(plan.meters)
        s.meters = <meter_t *>self.room((s.meters_count + 1) * sizeof(meter_t))
        if s.meters_count:
            rows = plan.meters
        for i in range(s.meters_count):
            m = &s.meters[i]
            m.row = rows[i]
            m.room = 1 if m.row.key == KEY_NONE else m.row.keys_max
            if rooms is not None:
                m.room = max(m.room, rooms[i])
            slots = 1 << (int(m.room) - 1).bit_length()
            m.first, m.heads_first, m.heads_mask = first, heads, slots - 1
            first += m.room + 1
            heads += slots
            m.free = m.idle_first = m.idle_last = SHAPE_NIL
            bits = 1 if m.row.count == COUNT_KINDS - 1 else 8
            for rung in range(m.row.rungs):
                if not bucket_make(&m.rung[rung], m.row.rate[rung], m.row.depth[rung], bits,
                                   m.row.rate[0]):
                    raise DataError(f"meter {i}: depth {m.row.depth[rung]} at rate"
                                    f" {m.row.rate[rung]} is above 2^61 units")
        s.accounts = <account_t *>self.room((<size_t>first + 1) * sizeof(account_t))
        s.account_heads = <uint32_t *>self.room((<size_t>heads + 1) * sizeof(uint32_t))
        memset(s.account_heads, 255, heads * sizeof(uint32_t))
        none.high = none.low = 0
        none.family = 0
        for i in range(s.meters_count):
            if s.meters[i].row.key == KEY_NONE:
                meter_take(s, &s.meters[i], &none, 0)
        return 0

    cdef int _links(self, plan, distances) except -1:
        cdef shaper_t *s = &self.core
        cdef const link_row_t[::1] rows
        cdef link_t *link
        cdef uint32_t i
        s.links_count = len(plan.links)
        s.links = <link_t *>self.room((s.links_count + 1) * sizeof(link_t))
        s.by_distance = <uint32_t *>self.room((s.links_count + 1) * sizeof(uint32_t))
        if s.links_count:
            rows = plan.links
        for i in range(s.links_count):
            link = &s.links[i]
            link.row = rows[i]
            link.number, link.distance = i, distances[i]
            link.line = SHAPE_NIL
            link.due_ns = SHAPE_NEVER
            memset(link.row_at, 255, sizeof(link.row_at))
            memset(link.turn, 255, sizeof(link.turn))
        for i, at in enumerate(sorted(range(s.links_count), key=lambda n: (distances[n], n))):
            s.by_distance[i] = at
            s.links[<uint32_t>at].rank = i
        s.now_due = <uint32_t *>self.room((s.links_count + 1) * sizeof(uint32_t))
        self._heap(&s.due, s.links_count)
        return 0

    cdef int _classes(self, plan) except -1:
        """The trees; behind all classes one for each link that stands for what went away."""
        cdef shaper_t *s = &self.core
        cdef const class_row_t[::1] rows
        cdef class_t *c
        cdef link_t *link
        cdef uint32_t i, shares = 0
        s.classes_count = len(plan.classes)
        total = <size_t>s.classes_count + s.links_count + 1
        s.classes = <class_t *>self.room(total * sizeof(class_t))
        s.orders = <signed char *>self.room(total)
        s.delays = <uint64_t *>self.room(total * DELAY_BUCKETS * sizeof(uint64_t))
        if s.classes_count:
            rows = plan.classes
        for i in range(s.classes_count):
            c = &s.classes[i]
            c.row = rows[i]
            c.id, c.link, c.need = c.row.id, c.row.link, c.row.need
            c.priority = c.row.priority
            if c.row.share != SHARE_NONE:
                c.need = NEED_LEVEL
                c.shares_first = shares
                shares += c.row.shares
            link = &s.links[c.link]
            if link.classes_count == 0:
                link.classes = i
            link.classes_count += 1
            c.leaf = 1
            fifo_begin(&c.fifo)
            c.fresh.head = c.fresh.tail = c.old.head = c.old.tail = SHAPE_NIL
            memset(c.turn, 255, sizeof(c.turn))
        for i in range(s.links_count):
            s.classes[s.classes_count + i].link = i
        s.shares = <share_t *>self.room((<size_t>shares + 1) * sizeof(share_t))
        for i in range(s.classes_count):
            self._parent(i)
        for i in range(s.classes_count):
            self._class(i)
        self._children()
        for i in range(s.links_count):
            self._rows_of(&s.links[i])
        for i in range(s.classes_count):
            if s.classes[i].row.share != SHARE_NONE:
                self._shares_of(&s.classes[i])
        return 0

    cdef int _parent(self, uint32_t i) except -1:
        cdef shaper_t *s = &self.core
        cdef class_t *c = &s.classes[i]
        cdef uint32_t parent
        c.parent = -1
        if c.row.parent:
            parent = class_of(s, &s.links[c.link], c.row.parent)
            if parent == SHAPE_NIL:
                raise DataError(f"class {c.id}: there is no class {c.row.parent} on its link")
            c.parent = parent
            s.classes[parent].leaf = 0
        return 0

    cdef int _class(self, uint32_t i) except -1:
        """Depth, buckets, and the largest packet that could ever leave."""
        cdef shaper_t *s = &self.core
        cdef class_t *c = &s.classes[i]
        cdef class_t *node = c
        cdef uint64_t most = <uint64_t>-1, own
        path = []
        while True:
            path.append(node - s.classes)
            if len(path) > TREE_DEPTH_MAX:
                raise DataError(
                    f"class {c.id}: a circle, or more than {TREE_DEPTH_MAX} classes deep")
            if node.parent < 0:
                break
            node = &s.classes[node.parent]
        c.depth = len(path)
        for bucket_rate, bucket_depth, which in (
                (c.row.guarantee, c.row.guarantee_burst, 0),
                (c.row.ceiling, c.row.ceiling_burst, 1),
                (c.row.share_ceiling, c.row.share_burst, 2)):
            if bucket_rate:
                self._bucket(c, which, bucket_rate, bucket_depth)
        for at in reversed(path):
            node = &s.classes[<uint32_t>at]
            c.lineage_asks |= node.need == NEED_PACKET
            self._lineage(node, &most)
        if c.row.share != SHARE_NONE and c.share_bucket.price:
            own = bucket_holds(&c.share_bucket, c.row.need)
            most = min(most, own)
        c.most = most
        return 0

    cdef int _heap(self, heap_t *h, uint32_t count) except -1:
        """Room for a heap of numbers below a count."""
        h.key = <int64_t *>self.room((<size_t>count + 1) * sizeof(int64_t))
        h.at = <uint32_t *>self.room((<size_t>count + 1) * sizeof(uint32_t))
        h.item = <uint32_t *>self.room((<size_t>count + 1) * sizeof(uint32_t))
        return 0

    cdef int _children(self) except -1:
        """Classes by parent, ascending ids, and the sets of those that feed it."""
        cdef shaper_t *s = &self.core
        cdef class_t *c
        cdef link_t *link
        cdef uint32_t i, fill = 0
        s.children = <uint32_t *>self.room((<size_t>s.classes_count + 1) * sizeof(uint32_t))
        for i in range(s.classes_count):
            c = &s.classes[i]
            if c.parent < 0:
                s.links[c.link].children_count += 1
            else:
                s.classes[c.parent].children_count += 1
        for i in range(s.links_count):
            link = &s.links[i]
            link.children = fill
            fill += link.children_count
            span_make(&link.feed_span, link.children_count)
            link.feed = <uint64_t *>self.room(
                <size_t>PRIORITIES * link.feed_span.total * sizeof(uint64_t))
            link.children_count = 0
        for i in range(s.classes_count):
            c = &s.classes[i]
            if not c.leaf:
                c.children = fill
                fill += c.children_count
                span_make(&c.span, c.children_count)
                c.feed = <uint64_t *>self.room(
                    <size_t>PRIORITIES * c.span.total * sizeof(uint64_t))
                c.children_count = 0
        for i in range(s.classes_count):
            c = &s.classes[i]
            if c.parent < 0:
                link = &s.links[c.link]
                c.child = link.children_count
                s.children[link.children + c.child] = i
                link.children_count += 1
            else:
                c.child = s.classes[c.parent].children_count
                s.children[s.classes[c.parent].children + c.child] = i
                s.classes[c.parent].children_count += 1
        return 0

    cdef int _rows_of(self, link_t *link) except -1:
        """Sets of who may send, and times of those who may not."""
        cdef shaper_t *s = &self.core
        cdef class_t *c
        cdef uint32_t i
        span_make(&link.span, link.classes_count)
        link.rows = <uint64_t *>self.room(
            <size_t>ORDERS * PRIORITIES * link.span.total * sizeof(uint64_t))
        self._heap(&link.turns, link.classes_count)
        link.exact, link.plain = s.accounted, link.children_count == link.classes_count
        for i in range(link.classes, link.classes + link.classes_count):
            c = &s.classes[i]
            c.shuts = c.guarantee.price != 0 or c.ceiling.price != 0
            link.walks |= not c.leaf and c.shuts and c.need == NEED_PACKET
            link.exact |= c.share_bucket.price != 0
            link.plain &= c.share_bucket.price == 0 and not (c.shuts and c.need == NEED_PACKET)
        link.exact |= link.walks
        for i in range(link.classes, link.classes + link.classes_count):
            c = &s.classes[i]
            c.tails = (c.row.share == SHARE_NONE and c.row.discard == DISCARD_TAIL
                       and c.row.limit_packets != 0)
            c.passes = PASSES_ONTO if link.row.rate else PASSES_OUT
            if (link.walks or s.accounted or c.row.share != SHARE_NONE
                    or (c.row.discard == DISCARD_RED and c.row.red_min == 0)
                    or (link.row.rate == 0 and link.row.next >= 0)):
                c.passes = PASSES_NOT
        return 0

    cdef int _shares_of(self, class_t *c) except -1:
        """Which sub-queue is the fattest, which are free, which wake when."""
        cdef uint32_t count = c.row.shares, i
        self._heap(&c.fat, count)
        if c.share_bucket.price:
            self._heap(&c.wakes, count)
            self._heap(&c.fills, count)
        if c.row.share == SHARE_FLOW:
            return 0
        span_make(&c.spare_span, count)
        c.spare = <uint64_t *>self.room(c.spare_span.total * sizeof(uint64_t))
        for i in range(count):
            bits_add(c.spare, &c.spare_span, i)
        c.share_mask = (1 << (int(count) - 1).bit_length()) - 1
        c.share_heads = <uint32_t *>self.room((<size_t>c.share_mask + 1) * sizeof(uint32_t))
        memset(c.share_heads, 255, (<size_t>c.share_mask + 1) * sizeof(uint32_t))
        return 0

    cdef int _bucket(self, class_t *c, int which, uint64_t rate, uint64_t depth) except -1:
        cdef bucket_t *b = (&c.guarantee if which == 0 else &c.ceiling if which == 1
                            else &c.share_bucket)
        if not bucket_make(b, rate, depth, 8, rate):
            raise DataError(f"class {c.id}: depth {depth} at rate {rate} is above 2^61 units")
        if which < 2:
            bucket_debt_60s(b)
        return 0

    cdef int _lineage(self, const class_t *c, uint64_t *most) except -1:
        """Most bytes that a class lets pass, given what those above do."""
        cdef bucket_t b
        if c.row.guarantee:
            bucket_make(&b, c.row.guarantee, c.row.guarantee_burst, 8, 1)
            if bucket_holds(&b, c.need) > most[0]:
                most[0] = bucket_holds(&b, c.need)
        if c.row.ceiling:
            bucket_make(&b, c.row.ceiling, c.row.ceiling_burst, 8, 1)
            if bucket_holds(&b, c.need) < most[0]:
                most[0] = bucket_holds(&b, c.need)
        return 0

    cdef int _maps(self) except -1:
        cdef shaper_t *s = &self.core
        cdef link_t *link
        cdef uint32_t i, j, leaves = 0, words = 0
        s.leaves = <uint32_t *>self.room((s.classes_count + 1) * sizeof(uint32_t))
        s.maps = <uint64_t *>self.room(
            (<size_t>s.classes_count // 64 + s.links_count + 1) * sizeof(uint64_t))
        for i in range(s.links_count):
            link = &s.links[i]
            link.leaves, link.map = leaves, words
            for j in range(link.classes, link.classes + link.classes_count):
                if s.classes[j].leaf:
                    s.classes[j].leaf_bit = link.leaves_count
                    s.leaves[leaves] = j
                    leaves += 1
                    link.leaves_count += 1
            link.lowest = s.leaves[link.leaves]
            self._ids(link)
            link.words = (link.leaves_count + 63) // 64
            words += link.words
        return 0

    cdef int ways(self) except -1:
        """Where each row leads. => rows, meters, links and leaves stand where they will"""
        cdef shaper_t *s = &self.core
        cdef shaping_row_t *r
        cdef way_t *way
        cdef uint32_t i
        cdef int direction, dscp
        s.ways = <way_t *>self.room(
            (<size_t>s.rows_count + 1) * DIRECTION_COUNT * sizeof(way_t))
        for i in range(s.rows_count):
            r = &s.rows[i]
            for direction in range(DIRECTION_COUNT):
                way = &s.ways[i * DIRECTION_COUNT + direction]
                way.meter, way.leaf, way.link = NULL, NULL, NULL
                if r.meters[direction][0] >= 0:
                    way.meter = &s.meters[r.meters[direction][0]]
                if r.link[direction] < 0:
                    continue
                way.link = &s.links[r.link[direction]]
                for dscp in range(DSCPS):
                    if r.by_dscp[direction][dscp] >= 0:
                        break
                else:
                    way.leaf = &s.classes[leaf_of(way.link, r.cls[direction])]
        return 0

    cdef int _ids(self, link_t *link) except -1:
        """Leaves by id. => they are known; ids ascend, so that the last class has the highest"""
        cdef class_t *c
        cdef uint32_t i
        link.ids = self.core.classes[link.classes + link.classes_count - 1].id + 1
        link.leaf_by_id = <uint32_t *>self.room(link.ids * sizeof(uint32_t))
        for i in range(link.ids):
            link.leaf_by_id[i] = link.lowest
        for i in range(link.classes, link.classes + link.classes_count):
            c = &self.core.classes[i]
            if c.leaf:
                link.leaf_by_id[c.id] = i
        return 0

    cdef int _waits(self, packets_max, keep) except -1:
        cdef shaper_t *s = &self.core
        cdef uint32_t i
        cdef uint64_t total = 0
        for i in range(s.classes_count):
            if s.classes[i].leaf:
                total += s.classes[i].row.limit_packets or 1  # one passes through
        s.waiting_max = packets_max or total
        if s.waiting_max >= 1 << 31:
            raise DataError(f"queues: {s.waiting_max} packets are more than have numbers")
        self._arena(s.waiting_max)
        if keep:
            self.keep_rows()
        return 0

    cdef int _samples(self) except -1:
        """Rows of samples: as many as are worth their bytes, an even number, and one to write."""
        cdef shaper_t *s = &self.core
        s.samples.width = samples_width(s.links_count, s.classes_count, s.meters_count)
        row = s.samples.width * sizeof(uint64_t)
        s.samples.room = max(SAMPLES_LEAST, min(SAMPLES_MOST, SAMPLES_BYTES // row & ~1))
        s.samples.rows = <uint64_t *>self.room((s.samples.room + 1) * row)
        s.samples.every = 1
        return 0

    cdef int keep_rows(self) except -1:
        """From now on departures are kept."""
        cdef shaper_t *s = &self.core
        if not s.departures_room:
            distances = distances_of(self.plan.links)
            rows = BURST_ROWS + (s.waiting_max + s.links_count + 2) * (
                max(distances, default=0) + 2)
            s.departures = <departure_t *>self.room(rows * sizeof(departure_t))
            s.departures_room = rows
        return 0

    cdef int _arena(self, uint64_t packets) except -1:
        """Places for waiting packets, those on lines, and one that pushes another out."""
        cdef shaper_t *s = &self.core
        cdef uint64_t count = packets + s.links_count + 2, i
        s.waits = <wait_t *>self.room(count * sizeof(wait_t))
        for i in range(count):
            s.waits[i].next = <uint32_t>(i + 1) if i + 1 < count else SHAPE_NIL
        s.wait_free = 0
        s.ends = <ends_t *>self.room(count * sizeof(ends_t))
        return 0

    cdef dict _busy(self, uint32_t i):
        """How long a line was taken, by rate, in 1 / rate ns."""
        cdef link_t *link = &self.core.links[i]
        found = dict(self.busy[i])
        for rate, low, high in ((link.row.rate, link.busy.low, link.busy.high),
                                (link.before_rate, link.busy_before.low, link.busy_before.high)):
            if low or high:
                found[rate] = found.get(rate, 0) + (int(high) << 64 | int(low))
        return found
