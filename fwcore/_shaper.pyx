"""The shaper: owns the memory of meters, classes and links, and everything that waits.

    plan of arrays -> Shaper -> begin, arrive, end      sessions and packets
                        |       advance, drain, clear   time
                        |       take_over               other settings while running
                        v
              departures, digest, counters, laws

The fast path drives its core between packets; alone it is driven by hand, for tests and for those
who shape without a firewall. Times come in; they do not go back.

Laws: all memory is taken in the constructor; nothing that Python hands over is believed. A shaper
has one user at a time; that of a fast path has the fast path's, and ends with it.
"""

from functools import wraps as _wraps
from operator import index as _index
from weakref import ref as _weak

import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

from fwcore.dataplane.bits cimport bits_add
from fwcore.dataplane.colour cimport leaf_turn
from fwcore.dataplane.digest cimport digest_begin, digest_end
from fwcore.dataplane.link cimport (
    class_over, class_push_out, class_put, judged_t, link_cleared, link_clear, link_depart,
    link_drop, link_serve, queue_pages, shaper_advance, shaper_arrive, shaper_clear, shaper_drain,
    wait_give, wait_new,
)
from fwcore.dataplane.meter cimport (
    account_settle, asker_t, idle_append, key_t, meter_take, shaping_admits,
    shaping_begin, shaping_end, shaping_match,
)
from fwcore.dataplane.queue cimport fifo_begin, share_of
from fwcore.dataplane.shaping cimport (
    ACCOUNT_FREE, ALGORITHMS, CHAIN_MAX, COUNT_KINDS, COUNT_PACKETS, DELAY_BITS, DELAY_BUCKETS,
    DISCARDS, DROP_COUNT, DROP_PUSHED_OUT, END_OF_TIME, FATE_PUSHED_OUT, KEY_KINDS, KEY_NONE,
    METERS_MAX, NEED_KINDS, NEED_LEVEL, NEED_PACKET, NO_MARK, NOWHERE, ORDERS, OVER_KINDS,
    PRIORITIES,
    RFC2697, RFC2698, RUNGS_MAX, SHAPE_NEVER, SHAPE_NIL, SHAPE_SECOND,
    SHARE_FLOW, SHARE_KINDS, SHARE_NONE, TREE_DEPTH_MAX,
    account_t, arrival_t, bucket_debt_60s, bucket_holds,
    bucket_make, bucket_t, bucket_take_over, class_row_t, class_t, departure_t, ends_t,
    heap_t, level_turned, link_row_t, link_t, match_row_t, met_t, meter_row_t, meter_t, shaped_t,
    shaper_t,
    shaping_row_t, share_t, span_make, turn_t, wait_t,
)
from fwcore.dataplane.tree cimport child_from, class_from, class_of
from fwcore._use cimport Use
from fwcore.errors import DataError, EngineClosed

FATES = ("sent", "passed_on", "queue_full", "codel", "pushed_out", "cleared", "no_memory")
DROPS = ("tail", "red", "codel", "pushed_out", "no_memory")
WHYS = ("", "over_limit", "queue_full", "no_memory")
COUNTS = ("ip", "frame", "wire", "packets")
KEYS = ("none", "policy", "rule", "source", "destination", "initiator")
NEEDS = ("packet", "level")
OVERS = ("drop", "pass", "class")
ALGORITHM_NAMES = ("rfc2698", "rfc2697", "rfc4115")
DISCARD_NAMES = ("tail", "red", "codel")
SHARE_NAMES = ("none", "flow", "source", "destination")
WAY_METERS = METERS_MAX
NO_METER, NO_LINK = SHAPE_NIL, NOWHERE
UNMARKED = NO_MARK
cdef enum:
    BURST_ROWS = 4096      # rows of packets after which they want to be collected


cdef object _dtypes():
    """dtypes of the structs that cross the line."""
    cdef meter_row_t meter
    cdef link_row_t link
    cdef class_row_t cls
    cdef shaping_row_t row
    cdef match_row_t match
    cdef met_t met
    return [np.asarray(part).dtype for part in (
        <meter_row_t[:1]>&meter, <link_row_t[:1]>&link, <class_row_t[:1]>&cls,
        <shaping_row_t[:1]>&row, <match_row_t[:1]>&match,
        <met_t[:1]>&met)]


METER_DTYPE, LINK_DTYPE, CLASS_DTYPE, SHAPING_DTYPE, MATCH_DTYPE, ARRIVAL_DTYPE = _dtypes()
DEPARTURE_DTYPE = np.dtype([("packet", "<u8"), ("time_ns", "<i8"), ("link", "<u2"),
                            ("class", "<u2"), ("fate", "u1"), ("dscp", "u1")])


cdef int _own_request(void *owner, uint64_t pages, uint32_t pinned) noexcept nogil:
    cdef long long *free = <long long *>owner
    if <long long>pages > free[0]:
        return 0
    free[0] -= <long long>pages
    return 1


cdef void _own_give(void *owner, uint64_t pages) noexcept nogil:
    (<long long *>owner)[0] += <long long>pages


# --- what may be declared -------------------------------------------------------------------------

cdef object _within(array, str where, dict limits):
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
    _within(plan.meters, "meter", {
        "rungs": (1, RUNGS_MAX), "algorithm": (0, ALGORITHMS - 1), "key": (0, KEY_KINDS - 1),
        "need": (0, NEED_KINDS - 1), "count": (0, COUNT_KINDS - 1), "over": (0, OVER_KINDS - 1),
        "keys_max": (1, 1 << 24), "cls": (-1, 65535), "over_class": (-1, 65535)})
    for row in plan.meters:
        if row["algorithm"] != RFC2698 and row["rungs"] != 2:
            raise DataError("meter: rfc2697 and rfc4115 have two rungs")
        if row["rate"][0] == 0:
            raise DataError("meter: a first rung of rate 0")
    _within(plan.links, "link", {"next": (-1, links - 1), "count": (0, COUNT_KINDS - 2),
                                 "rate": (0, 1 << 40)})
    _within(plan.classes, "class", {
        "link": (0, links - 1), "id": (1, 65535), "parent": (0, 65535),
        "priority": (0, PRIORITIES - 1), "discard": (0, DISCARDS - 1), "ecn": (0, 1),
        "share": (0, SHARE_KINDS - 1), "need": (0, NEED_KINDS - 1), "shares": (1, 1 << 20),
        "quantum": (1, 1 << 40), "interval_ns": (1, (1 << 32) - 1), "target_ns": (0, 1 << 62),
        "red_max": (0, 1 << 30), "limit_packets": (0, 1 << 30)})
    _within(plan.rows, "shaping", {
        "meters": (-1, meters - 1), "link": (-1, links - 1), "cls": (-1, 65535),
        "by_dscp": (-1, 65535)})
    _within(plan.matches, "shaping", {"row": (0, rows - 1), "policies": (0, len(plan.policy_ids))})
    if (plan.matches["policies_first"].astype(np.uint64) + plan.matches["policies"]
            > len(plan.policy_ids)).any():
        raise DataError("shaping: policies beyond those there are")
    order = classes and (np.diff(plan.classes["link"].astype(np.int64) << 16
                                 | plan.classes["id"]) <= 0).any()
    if order or (links and set(plan.classes["link"].tolist()) != set(range(links))):
        raise DataError("shaping: classes stand by link and id, and each link has one")


cdef object _distances(links):
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


def _exclusive(method):
    """A method of a Shaper: nobody else is within meanwhile, and what it points into stays."""
    @_wraps(method)
    def alone(Shaper self not None, *args, **kwargs):
        cdef Use use = self.use
        held = None if self.keeper is None else self.keeper()
        if held is None and self.keeper is not None:
            raise EngineClosed("shaper: its engine is gone: make a new one")
        use.take()
        try:
            return method(self, *args, **kwargs)
        finally:
            use.give()
    return alone


def _take_over(Shaper old, Shaper new, meters, links, serve):
    """What ``take_over`` does, with both to itself."""
    meters = _numbers("meters", meters, new.core.meters_count, old.core.meters_count)
    links = _numbers("links", links, new.core.links_count, old.core.links_count)
    try:
        new._take_over(old, meters, links, serve)
    except BaseException:
        new.close("shaper: it could not take over: make a new one")
        raise
    new.keeper, new.use = old.keeper, old.use if old.keeper is not None else new.use
    old.close("shaper: another took over from it")


_go_on = _exclusive(_take_over)


cdef list _numbers(str what, given, size_t count, size_t there):
    """For each of ``count`` its number among those ``there``, or -1; DataError."""
    found = [_index(number) for number in given]
    kept = [number for number in found if number != -1]
    if len(found) != count or len(set(kept)) != len(kept) or not all(
            0 <= number < there for number in kept):
        raise DataError(f"take_over: {what}: {count} numbers are asked for, each one of the"
                        f" {there} there were and none twice, or -1")
    return found


cdef class Shaper:
    """Meters, links and classes of a plan, and what waits.

    ``plan``: has meters METER_DTYPE[n], links LINK_DTYPE[n], classes CLASS_DTYPE[n] (by link and
    id; each link has at least one), rows SHAPING_DTYPE[n], matches MATCH_DTYPE[n], policy_ids
    uint32[n]. ``sessions``: as many may be under rows at once. ``packets_max``: that may wait;
    0: the sum of the leaves' limits. ``keep``: departures are kept for ``departures``; ``watch``:
    what each packet met for ``arrivals``.
    ``accounted``: queued bytes own pages. ``free``: of these, where there is no firewall.

    Raises DataError, and MemoryError; every method EngineBusy while another is at work, within
    the fast path too, and EngineClosed when that is closed. What is a property may be read at any
    time.
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
        digest_begin(&self.core.digest)
        self._rows(plan)
        self._meters(plan)
        self._links(plan, _distances(plan.links))
        self._classes(plan)
        self._maps()
        self._waits(packets_max, keep)
        if watch:
            self.core.met_room = BURST_ROWS + 2
            self.core.met = <met_t *>self.room(self.core.met_room * sizeof(met_t))
        self.resize(sessions)

    # --- whose it is ---

    cdef int own(self, object fastpath, Use use) except -1:
        """From now on this is a fast path's: its one user. => both uses are taken."""
        if self.keeper is None and self.core.pages:
            raise DataError("shaper: packets wait in it, whose pages are not this firewall's")
        self.keeper, self.use = _weak(fastpath), use
        return 0

    cdef int close(self, str why) except -1:
        """Every method raises EngineClosed from now on."""
        self.disown()
        self.use, self.keeper = Use(), None
        self.use.close(why)
        return 0

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

    # --- building ---

    cdef int _rows(self, plan) except -1:
        cdef shaper_t *s = &self.core
        cdef const shaping_row_t[::1] rows
        cdef const match_row_t[::1] matches
        cdef const uint32_t[::1] ids
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
        if len(plan.policy_ids):
            ids = plan.policy_ids
            memcpy(s.policy_ids, &ids[0], ids.shape[0] * sizeof(uint32_t))
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
        link.exact = s.accounted
        for i in range(link.classes, link.classes + link.classes_count):
            c = &s.classes[i]
            c.shuts = c.guarantee.price != 0 or c.ceiling.price != 0
            link.walks |= not c.leaf and c.shuts and c.need == NEED_PACKET
            link.exact |= c.share_bucket.price != 0
        link.exact |= link.walks
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
            link.words = (link.leaves_count + 63) // 64
            words += link.words
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
            self.keep()
        return 0

    @_exclusive
    def keep(self):
        """From now on departures are kept."""
        cdef shaper_t *s = &self.core
        if not s.departures_room:
            distances = _distances(self.plan.links)
            rows = BURST_ROWS + (s.waiting_max + s.links_count + 2) * (
                max(distances, default=0) + 2)
            s.departures = <departure_t *>self.room(rows * sizeof(departure_t))
            s.departures_room = rows

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

    # --- other settings while running ---

    @_exclusive
    def take_over(self, Shaper old not None, meters, links, serve=True):
        """Goes on where ``old`` stands, which is closed then.

        ``meters``, ``links``: for each of this one's the number it had there, -1: it is new. The
        sessions of ``old`` keep their rows; what no longer fits leaves. ``serve``: now, not when a
        fast path takes it. Raises DataError where this one did something already or the numbers
        cannot be; after any other error this one is closed, too.
        """
        if self.keeper is not None or self is old or self.core.order or self.core.now_ns:
            raise DataError("take_over: it is for a shaper that did nothing yet")
        _go_on(old, self, meters, links, serve)

    cdef int _take_over(self, Shaper old, list meters, list links, bint serve) except -1:
        """=> nothing was done yet, and both uses are taken."""
        cdef shaper_t *s = &self.core
        cdef shaper_t *o = &old.core
        cdef uint32_t i
        s.now_ns, s.order, s.departed = o.now_ns, o.order, o.departed
        s.unshaped[0], s.unshaped[1] = o.unshaped[0], o.unshaped[1]
        s.came_bytes, s.tcp_bytes, s.sessions_hit = o.came_bytes, o.tcp_bytes, o.sessions_hit
        s.owner, s.request, s.give = o.owner, o.request, o.give
        if o.owner == &old.free:
            s.owner = &self.free
        self._take_sessions(old, self._take_meters(old, meters), meters, links)
        for i in range(o.links_count):
            if i not in links:
                link_clear(o, &o.links[i])
        if s.owner == &self.free:
            self.free = old.free
        s.digest, s.departed = o.digest, o.departed
        s.pages = o.pages
        if s.departures_room:
            if o.departures_fill > s.departures_room:
                raise DataError("departures: collect them first")
            memcpy(s.departures, o.departures, o.departures_fill * sizeof(departure_t))
            s.departures_fill = o.departures_fill
        self._arena(max(s.waiting_max, o.waiting))
        for i in range(s.links_count):
            if links[i] >= 0:
                self._take_link(old, i, <uint32_t>links[i])
        if serve:
            self.serve()
        return 0

    cdef int serve(self) except -1:
        """What may leave now leaves, and when the next one may is known."""
        cdef shaper_t *s = &self.core
        cdef uint32_t i
        for i in range(s.links_count):
            link_serve(s, &s.links[s.by_distance[i]], s.now_ns, s.now_ns, 0)
        return 0

    cdef list _take_meters(self, Shaper old, meters):
        """Levels and counters of the meters that go on; a list of those."""
        cdef shaper_t *s = &self.core
        cdef shaper_t *o = &old.core
        cdef meter_t *m
        cdef meter_t *before
        cdef uint32_t i
        kept, rooms = [], []
        for i in range(s.meters_count):
            rooms.append(0)
            if meters[i] < 0:
                kept.append(-1)
                continue
            m, before = &s.meters[i], &o.meters[<uint32_t>meters[i]]
            same = (m.row.key == before.row.key and m.row.algorithm == before.row.algorithm
                    and m.row.rungs == before.row.rungs
                    and (m.row.count == COUNT_KINDS - 1) == (before.row.count == COUNT_KINDS - 1))
            kept.append(meters[i] if same else -1)
            if same:
                rooms[i] = before.used
        self._meters(self.plan, rooms)
        for i in range(s.meters_count):
            if kept[i] >= 0:
                self._take_meter(old, &s.meters[i], &o.meters[<uint32_t>kept[i]])
        return kept

    cdef int _take_account(self, Shaper old, meter_t *m, meter_t *before, uint32_t there,
                           uint32_t here) except -1:
        """Levels and holders of one account."""
        cdef account_t *a = &self.core.accounts[here]
        cdef account_t *was = &old.core.accounts[there]
        cdef int rung
        account_settle(before, was, old.core.now_ns)
        a.time_ns = old.core.now_ns
        a.sessions, a.tcp, a.udp = was.sessions, was.tcp, was.udp
        for rung in range(m.row.rungs):
            a.level[rung] = level_turned(was.level[rung], before.rung[rung].unit,
                                         m.rung[rung].unit, m.rung[rung].depth)
            if a.level[rung] < -m.rung[rung].debt:
                a.level[rung] = -m.rung[rung].debt
        was.pad = here
        return 0

    cdef int _take_meter(self, Shaper old, meter_t *m, meter_t *before) except -1:
        cdef shaper_t *s = &self.core
        cdef shaper_t *o = &old.core
        cdef uint32_t i, at, keep = m.row.keys_max
        cdef key_t key
        memcpy(m.passed, before.passed, sizeof(m.passed))
        memcpy(m.dropped, before.dropped, sizeof(m.dropped))
        memcpy(m.by_colour, before.by_colour, sizeof(m.by_colour))
        m.keys_forgotten, m.keys_shared = before.keys_forgotten, before.keys_shared
        m.forgotten_before = m.keys_forgotten
        m.row.keys_max = m.room  # what is kept is kept, more than new ones may be
        for i in range(before.first, before.first + before.high):
            if o.accounts[i].state == ACCOUNT_FREE:
                continue
            key.high, key.low, key.family = (
                o.accounts[i].key[0], o.accounts[i].key[1], o.accounts[i].family)
            self._take_account(old, m, before, i, meter_take(s, m, &key, s.now_ns))
        at = before.idle_first
        while at != SHAPE_NIL:
            idle_append(s, m, <uint32_t>o.accounts[at].pad)
            at = o.accounts[at].idle_next
        m.row.keys_max = keep
        if before.shared_made:
            m.shared_made = 1
            at = m.first + m.room
            s.accounts[at] = o.accounts[before.first + before.room]
            self._take_account(old, m, before, before.first + before.room, at)
        return 0

    cdef int _take_sessions(self, Shaper old, kept, meters, links) except -1:
        """Rows that sessions are under go on behind the new ones, and sessions under them."""
        cdef shaper_t *s = &self.core
        cdef shaper_t *o = &old.core
        cdef shaped_t *h
        cdef uint32_t i
        cdef int way, k
        used = sorted({o.shaped[i].row for i in range(old.sessions)} - {0})
        place = {row: s.rows_count + at + 1 for at, row in enumerate(used)}
        there = {was: at for at, was in enumerate(kept) if was >= 0}
        linked = {was: at for at, was in enumerate(links) if was >= 0}
        rows = <shaping_row_t *>self.room((s.rows_count + len(used) + 1) * sizeof(shaping_row_t))
        self.core.shaped = <shaped_t *>self.room((<size_t>old.sessions + 1) * sizeof(shaped_t))
        self.sessions = old.sessions
        memcpy(rows, s.rows, s.rows_count * sizeof(shaping_row_t))
        for row in used:
            k = place[row] - 1
            rows[k] = o.rows[<uint32_t>row - 1]
            for way in range(2):
                rows[k].link[way] = linked.get(rows[k].link[way], -1)
                for j in range(METERS_MAX):
                    rows[k].meters[way][<int>j] = there.get(rows[k].meters[way][<int>j], -1)
        for i in range(old.sessions):
            h = &s.shaped[i]
            h[0] = o.shaped[i]
            if h.row == 0:
                continue
            row = h.row
            h.row = place[row]
            for way in range(2):
                for k in range(METERS_MAX):
                    if h.account[way][k] == SHAPE_NIL:
                        continue
                    if rows[h.row - 1].meters[way][k] < 0:
                        h.account[way][k] = SHAPE_NIL
                    else:
                        h.account[way][k] = <uint32_t>o.accounts[h.account[way][k]].pad
        s.rows, s.rows_count = rows, s.rows_count + len(used)
        return 0

    cdef int _take_link(self, Shaper old, uint32_t here, uint32_t there) except -1:
        """Line, levels, turns and queues under new rows."""
        cdef shaper_t *s = &self.core
        cdef shaper_t *o = &old.core
        cdef link_t *link = &s.links[here]
        cdef link_t *was = &o.links[there]
        cdef uint32_t i, at
        memcpy(link.row_at, was.row_at, sizeof(link.row_at))
        memcpy(link.row_set, was.row_set, sizeof(link.row_set))
        for i in range(ORDERS * PRIORITIES):
            (&link.row_at[0][0])[i].place = class_from(s, link, (&link.row_at[0][0])[i].id)
        self._take_turns(link.turn, was.turn, link.children, link.children_count)
        link.queued, link.queued_bytes, link.pages = was.queued, was.queued_bytes, was.pages
        link.packets, link.bytes, link.line_bytes = was.packets, was.bytes, was.line_bytes
        link.peak[0], link.peak[1] = was.peak[0], was.peak[1]
        link.first_ns, link.last_ns, link.last_rest, link.overlaps = (
            was.first_ns, was.last_ns, was.last_rest, was.overlaps)
        self.busy[here] = old._busy(there)
        if was.line != SHAPE_NIL:
            self._take_line(old, link, was)
        packets = []
        for i in range(was.leaves_count):
            packets += self._leave(old, link, was, o.leaves[was.leaves + i])
        for i in range(was.classes, was.classes + was.classes_count):
            at = class_of(s, link, o.classes[i].id)
            if at != SHAPE_NIL:
                self._adopt(&s.classes[at], &o.classes[i], o.delays, i, at)
        for _, number in sorted(packets):
            self._put_back(old, link, <uint32_t>number)
        for i in range(link.leaves_count):
            at = s.leaves[link.leaves + i]
            while class_over(&s.classes[at]):
                link_drop(s, link, &s.classes[at], class_push_out(s, &s.classes[at], s.now_ns),
                          DROP_PUSHED_OUT, s.now_ns)
            leaf_turn(s, link, &s.classes[at], s.now_ns)
        return 0

    cdef int _take_turns(self, turn_t *turns, const turn_t *was, uint32_t first,
                         uint32_t count) except -1:
        """Whose turn it is, by the same ids among other children."""
        cdef int i
        for i in range(PRIORITIES):
            turns[i].id = was[i].id
            turns[i].place = child_from(&self.core, first, count, was[i].id)
        return 0

    cdef int _take_line(self, Shaper old, link_t *link, link_t *was) except -1:
        """The packet in transmission, and its class or what stands for it."""
        cdef shaper_t *s = &self.core
        cdef class_t *leaf = &old.core.classes[was.line_leaf]
        link.line = wait_new(s)
        s.waits[link.line] = old.core.waits[was.line]
        s.ends[link.line] = old.core.ends[was.line]
        link.line_rate = was.line_rate
        link.start_ns, link.start_rest, link.end_ns, link.end_rest = (
            was.start_ns, was.start_rest, was.end_ns, was.end_rest)
        link.line_leaf = SHAPE_NIL
        if was.line_leaf < old.core.classes_count:
            link.line_leaf = class_of(s, link, leaf.id)
        if link.line_leaf == SHAPE_NIL:
            link.line_leaf = s.classes_count + link.number
            s.classes[link.line_leaf].id = leaf.id
        return 0

    cdef list _leave(self, Shaper old, link_t *link, link_t *was, uint32_t number):
        """Packets of a leaf as (order, old place); cleared where the leaf is none any more."""
        cdef shaper_t *s = &self.core
        cdef shaper_t *o = &old.core
        cdef class_t *c = &o.classes[number]
        cdef uint32_t at, n
        found = []
        for n in range(1 if c.row.share == SHARE_NONE else c.shares_high):
            at = (c.fifo.head if c.row.share == SHARE_NONE
                  else o.shares[c.shares_first + n].fifo.head)
            if c.row.share != SHARE_NONE and not o.shares[c.shares_first + n].made:
                continue
            while at != SHAPE_NIL:
                found.append((o.waits[at].order, at))
                at = o.waits[at].next
        found.sort()
        n = class_of(s, link, c.id)
        if n != SHAPE_NIL and s.classes[n].leaf:
            return found
        for _, place in found:
            at = wait_new(s)
            s.waits[at] = o.waits[<uint32_t>place]
            link_cleared(s, link, c, at)
        return []

    cdef int _adopt(
        self, class_t *c, const class_t *was, const uint64_t *before, size_t there, size_t here,
    ) except -1:
        """Levels, deficits and counters of a class."""
        cdef shaper_t *s = &self.core
        if c.guarantee.price and was.guarantee.price:
            bucket_take_over(&c.guarantee, &was.guarantee, s.now_ns)
        if c.ceiling.price and was.ceiling.price:
            bucket_take_over(&c.ceiling, &was.ceiling, s.now_ns)
        memcpy(c.deficit, was.deficit, sizeof(c.deficit))
        self._take_turns(c.turn, was.turn, c.children, c.children_count)
        memcpy(c.arrived, was.arrived, sizeof(c.arrived))
        memcpy(c.sent, was.sent, sizeof(c.sent))
        memcpy(c.cleared, was.cleared, sizeof(c.cleared))
        memcpy(c.dropped, was.dropped, sizeof(c.dropped))
        c.dropped_bytes, c.giants, c.borrowed = was.dropped_bytes, was.giants, was.borrowed
        c.largest, c.delay_max = was.largest, was.delay_max
        memcpy(s.delays + here * DELAY_BUCKETS, before + there * DELAY_BUCKETS,
               DELAY_BUCKETS * sizeof(uint64_t))
        return 0

    cdef int _put_back(self, Shaper old, link_t *link, uint32_t place) except -1:
        """A packet that waited goes on waiting, unless it never could leave."""
        cdef shaper_t *s = &self.core
        cdef class_t *leaf
        cdef wait_t *w
        cdef arrival_t p
        cdef uint32_t at = wait_new(s)
        w = &s.waits[at]
        w[0] = old.core.waits[place]
        leaf = &s.classes[class_of(s, link, w.cls)]
        s.ends[at] = old.core.ends[place]
        if w.size > leaf.most:
            leaf.giants += 1
            leaf.dropped[DROP_PUSHED_OUT] += 1
            leaf.dropped_bytes += w.size
            link_depart(s, link, leaf, at, FATE_PUSHED_OUT, s.now_ns)
            wait_give(s, at)
            return 0
        if leaf.row.share != SHARE_NONE:
            p.flow, p.family = w.flow, w.family
            p.ends = s.ends[at]
            w.share = share_of(s, leaf, &p, s.now_ns)
        class_put(s, leaf, at)
        return 0

    # --- sessions and packets, by hand ---

    cdef int _ask(self, asker_t *a, session) except -1:
        """``session``: (initiator, responder, family, protocol, port, policy, dscp, zone)."""
        initiator, responder, family, protocol, port, policy, dscp, zone = session
        a.initiator[0], a.initiator[1] = initiator >> 64, initiator & 0xFFFFFFFFFFFFFFFF
        a.responder[0], a.responder[1] = responder >> 64, responder & 0xFFFFFFFFFFFFFFFF
        a.family, a.policy, a.zone = family, policy, zone
        a.protocol, a.dscp = protocol, dscp
        a.has_ports, a.port = port is not None, port or 0
        return 0

    @_exclusive
    def begin(self, uint32_t handle, session):
        """A session is made, if the limits of its row let it in; whether they did.

        ``handle``: its number, below ``sessions``. ``session``: (initiator, responder as numbers,
        family, protocol, port or None, policy, dscp, zone).
        """
        cdef asker_t a
        cdef uint32_t row
        if handle >= self.sessions:
            raise DataError(f"begin: {handle} is not below {self.sessions}")
        self._ask(&a, session)
        row = shaping_match(&self.core, &a)
        if not shaping_admits(&self.core, row, &a):
            return False
        shaping_begin(&self.core, handle, row, &a, self.core.now_ns)
        return True

    @_exclusive
    def end(self, uint32_t handle):
        """A session ends. => it began."""
        if handle >= self.sessions:
            raise DataError(f"end: {handle} is not below {self.sessions}")
        shaping_end(&self.core, handle)
        self.core.shaped[handle].row = 0

    @_exclusive
    def arrive(self, uint64_t packet, int64_t time_ns, uint32_t frame, uint32_t ip, handle,
               session, flow, *, uint8_t dscp=0, bint ect=False, int way=0, bint metered=True):
        """A packet that was let pass: (why it was dropped or "", link, class, mark).

        ``handle``: of its session, None: it has none; ``flow``: the session's hash.
        """
        cdef arrival_t p
        cdef asker_t a
        cdef judged_t judged
        cdef shaped_t *held = NULL
        if handle is not None:
            if handle >= self.sessions:
                raise DataError(f"arrive: {handle} is not below {self.sessions}")
            held = &self.core.shaped[<uint32_t>handle]
        if not 0 <= dscp < 64 or way not in (0, 1):
            raise DataError(f"arrive: dscp {dscp}, way {way}")
        self._advance(time_ns)
        self._ask(&a, session)
        p.packet, p.flow, p.frame, p.ip = packet, flow, frame, ip
        p.family, p.dscp, p.ect, p.way = a.family, dscp, ect, way
        memcpy(p.ends.source, &a.responder[0] if way else &a.initiator[0], 16)
        memcpy(p.ends.destination, &a.initiator[0] if way else &a.responder[0], 16)
        judged = shaper_arrive(&self.core, held, &p, metered, 0)
        return (WHYS[judged.why], None if judged.link < 0 else judged.link,
                None if judged.cls < 0 else judged.cls,
                None if judged.mark == NO_MARK else judged.mark)

    # --- time ---

    @_exclusive
    def advance(self, int64_t until_ns):
        """What is due up to a time happens."""
        self._advance(until_ns)

    cdef int _advance(self, int64_t until_ns) except -1:
        if not 0 <= until_ns <= END_OF_TIME:
            raise DataError(f"advance: {until_ns} is not in 0..2**62 ns")
        with nogil:
            shaper_advance(&self.core, until_ns)
        return 0

    @_exclusive
    def drain(self):
        """Lets leave what waits; what would leave after 2**62 ns is cleared."""
        with nogil:
            shaper_drain(&self.core)

    @_exclusive
    def clear(self):
        """What waits is cleared."""
        with nogil:
            shaper_clear(&self.core)

    @property
    def now_ns(self):
        return self.core.now_ns

    @property
    def next_ns(self):
        """When something leaves a line next; None: nothing waits."""
        return None if self.core.due_ns == SHAPE_NEVER else self.core.due_ns

    @property
    def pages(self):
        """Pages of all queued bytes, where they are accounted."""
        return self.core.pages

    @property
    def waiting(self):
        """Packets that wait, and those on lines."""
        return sum(self.core.links[i].queued for i in range(self.core.links_count))

    # --- looking in ---

    @_exclusive
    def departures(self):
        """DEPARTURE_DTYPE rows since the last call (``keep``), in order."""
        cdef uint64_t fill = self.core.departures_fill
        if fill == 0:
            return np.zeros(0, dtype=DEPARTURE_DTYPE)
        raw = np.asarray(<uint8_t[:fill * sizeof(departure_t)]><uint8_t *>self.core.departures)
        self.core.departures_fill = 0
        return raw.copy().view(DEPARTURE_DTYPE)

    @_exclusive
    def arrivals(self):
        """ARRIVAL_DTYPE rows since the last call (``watch``): packets that came to meters or links,
        in order."""
        cdef uint64_t fill = self.core.met_fill
        if fill == 0:
            return np.zeros(0, dtype=ARRIVAL_DTYPE)
        self.core.met_fill = 0
        return np.array(<met_t[:fill]>self.core.met, dtype=ARRIVAL_DTYPE)

    @_exclusive
    def digest(self):
        """BLAKE2b-128 over all departures, as of now: 16 bytes."""
        cdef uint8_t out[16]
        digest_end(&self.core.digest, out)
        return bytes(out[:16])

    cdef dict _busy(self, uint32_t i):
        """How long a line was taken, by rate, in 1 / rate ns."""
        cdef link_t *link = &self.core.links[i]
        found = dict(self.busy[i])
        for rate, low, high in ((link.row.rate, link.busy.low, link.busy.high),
                                (link.before_rate, link.busy_before.low, link.busy_before.high)):
            if low or high:
                found[rate] = found.get(rate, 0) + (int(high) << 64 | int(low))
        return found

    @_exclusive
    def counters(self):
        """By number: meters, links, classes; and what met no row."""
        cdef shaper_t *s = &self.core
        cdef meter_t *m
        cdef link_t *link
        cdef class_t *c
        cdef uint32_t i
        meters, links, classes = [], [], []
        for i in range(s.meters_count):
            m = &s.meters[i]
            meters.append({
                "keys": m.used, "passed": _pair(m.passed), "dropped": _pair(m.dropped),
                "by_colour": [m.by_colour[k] for k in range(m.row.rungs + 1)],
                "keys_forgotten": m.keys_forgotten, "keys_shared": m.keys_shared})
        for i in range(s.links_count):
            link = &s.links[i]
            links.append({
                "packets": link.packets, "bytes": link.bytes,
                "busy_ns": sum(parts // rate for rate, parts in self._busy(i).items()),
                "queue_peak": _pair(link.peak), "pages": link.pages})
        for i in range(s.classes_count):
            c = &s.classes[i]
            classes.append({
                "link": c.link, "id": c.id, **_pair(c.sent),
                "dropped": {name: c.dropped[k] for k, name in enumerate(DROPS)},
                "borrowed": c.borrowed, "giants": c.giants, "waiting": c.waiting,
                "delay_max": c.delay_max})
        return {"unshaped": _pair(s.unshaped), "pages": s.pages, "meters": meters,
                "links": links, "classes": classes}

    @_exclusive
    def open_loop(self):
        """(bytes that came under a row, those of TCP, sessions that lost a packet at arrival)."""
        return self.core.came_bytes, self.core.tcp_bytes, self.core.sessions_hit

    @_exclusive
    def delay_ns(self, uint32_t number, percents=(50, 95, 99)):
        """Upper ends of the histogram's buckets that hold these percentiles of a class's delays."""
        if number >= self.core.classes_count:
            raise DataError(f"delay_ns: {number} is not below {self.core.classes_count}")
        counts = np.asarray(<uint64_t[:DELAY_BUCKETS]>(
            self.core.delays + <size_t>number * DELAY_BUCKETS))
        sums = np.cumsum(counts)
        last = len(sums) - 1
        found = []
        for percent in percents:
            want = -(-int(sums[last]) * percent // 100)
            bucket = int(np.searchsorted(sums, max(1, want)))
            found.append(min(bucket_end(bucket), self.core.classes[number].delay_max)
                         if sums[last] else 0)
        return found

    @_exclusive
    def laws(self):
        """What holds at every moment, each from two sources."""
        cdef shaper_t *s = &self.core
        cdef link_t *link
        cdef uint32_t i
        accounted = pages = busy = serial = bound = True
        total = 0
        for i in range(s.links_count):
            link = &s.links[i]
            held = s.waits[link.line].size if link.line != SHAPE_NIL else 0
            for at in range(link.classes, link.classes + link.classes_count):
                packets, size = self._waiting(at)
                held += size
                accounted = accounted and self._accounted(link, at, packets, size)
            pages = pages and link.pages == queue_pages(s, held) and link.queued_bytes == held
            total += link.pages
            busy = busy and sum(self._busy(i).values()) == link.line_bytes * 8 * SHAPE_SECOND
            serial = serial and self._serial(i)
        for i in range(s.meters_count):
            bound = bound and self._bound(&s.meters[i])
        return {"shaped_accounted": accounted, "queue_pages": pages and total == s.pages,
                "link_busy": busy, "link_serial": serial, "meter_bound": bound}

    cdef bint _serial(self, uint32_t i):
        """No transmission began before the last one ended; all fit between first and last."""
        cdef link_t *link = &self.core.links[i]
        busy = sum(parts // rate for rate, parts in self._busy(i).items())
        return link.overlaps == 0 and busy <= max(0, link.last_ns + 1 - link.first_ns)

    cdef bint _bound(self, const meter_t *m):
        """What passed in a colour is at most depth + rate x time, for each bucket there was."""
        buckets = m.used + m.shared_made + m.keys_forgotten - m.forgotten_before
        time_ns = self.core.now_ns - m.since
        bits = 1 if m.row.count == COUNT_PACKETS else 8
        slack = m.heaviest if m.row.need == NEED_LEVEL else 0
        passed = 0
        for rung in range(m.row.rungs):
            passed = m.charged[rung] + (passed if m.row.algorithm == RFC2698 else 0)
            rate = m.row.rate[0 if m.row.algorithm == RFC2697 else rung]
            over = passed - (m.row.depth[rung] + slack) * buckets
            if over * bits * SHAPE_SECOND > rate * time_ns * buckets:
                return False
        return True

    cdef tuple _waiting(self, uint32_t number):
        """(packets, bytes) of a class, by going along its queues."""
        cdef shaper_t *s = &self.core
        cdef class_t *c = &s.classes[number]
        cdef uint32_t n, at
        packets = size = 0
        for n in range(1 if c.row.share == SHARE_NONE else c.shares_high):
            if c.row.share == SHARE_NONE:
                at = c.fifo.head
            elif s.shares[c.shares_first + n].made:
                at = s.shares[c.shares_first + n].fifo.head
            else:
                continue
            while at != SHAPE_NIL:
                packets += 1
                size += s.waits[at].size
                at = s.waits[at].next
        return packets, size

    cdef bint _accounted(self, const link_t *link, uint32_t number, packets, size):
        """Arrivals = left + dropped + cleared + waiting, in packets and bytes."""
        cdef shaper_t *s = &self.core
        cdef class_t *c = &s.classes[number]
        if packets != c.waiting or size != c.waiting_bytes:
            return False
        if link.line != SHAPE_NIL and link.line_leaf == number:
            packets, size = packets + 1, size + s.waits[link.line].size
        packets += c.sent[0] + c.cleared[0] + sum(c.dropped[k] for k in range(DROP_COUNT))
        size += c.sent[1] + c.cleared[1] + c.dropped_bytes
        return c.arrived[0] == packets and c.arrived[1] == size


def bucket_end(bucket):
    """The longest delay of a histogram's bucket, ns."""
    if bucket < 1 << DELAY_BITS:
        return bucket
    shift, rest = (bucket >> DELAY_BITS) - 1, bucket & ((1 << DELAY_BITS) - 1)
    return (((1 << DELAY_BITS) + rest + 1) << shift) - 1


cdef dict _pair(const uint64_t *counts):
    return {"packets": counts[0], "bytes": counts[1]}
