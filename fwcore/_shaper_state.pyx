"""A shaper taken up again: rows that a file holds, and nothing in them believed.

    Written, that ran --> a table for each noun --> Kept, of the same plan --> goes on alike

Laws: no index comes from a file but one that was looked at, no number that its field or its bounds
do not hold; what follows is the same.
"""

import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fwcore.dataplane.colour cimport class_colour, class_enter, class_head
from fwcore.dataplane.heap cimport heap_first, heap_set
from fwcore.dataplane.layout cimport (
    BLOCK_ROW_COUNT, DIGEST_BLOCK, DIGEST_BYTES, TIME_MAX_NS, rows_digest_t,
)
from fwcore.dataplane.held cimport class_over, map_set, queue_pages, wait_new
from fwcore.dataplane.link cimport link_wait
from fwcore.dataplane.meter cimport (
    held_before, idle_append, key_t, meter_find, meter_take, shaping_alone,
)
from fwcore.dataplane.queue cimport (
    fifo_put, share_append, share_emptied, share_filled, share_get, share_slot, share_wakes,
)
from fwcore.dataplane.shaping cimport (
    ACCOUNT_HELD, ACCOUNT_SHARED, COLOUR_GREEN, COLOUR_RED, COLOUR_YELLOW, DELAY_BUCKETS, KEY_NONE,
    MARK_CE_ALONE, METERS_MAX, NO_MARK, ORDERS, PLACE_NEW, PLACE_OLD, PLACE_OUT, PLACE_PARKED,
    PRIORITIES, SHAPE_NEVER, SHAPE_NIL, SHAPE_SECOND, SHARE_NONE, UNITS_MAX, account_t, class_t,
    ends_set, fifo_t, link_t, meter_t, samples_t, shaped_t, shaper_t, shaping_row_t, share_t,
    turn_t, wait_t,
)
from fwcore.dataplane.tree cimport child_from, class_from, class_of, link_due
from fwcore._shaper_plan cimport within
from fwcore._shaper_written cimport (
    Written, kept_account_t, kept_class_t, kept_delay_t, kept_link_t, kept_meter_t, kept_shaper_t,
    kept_share_t, kept_wait_t,
)
from fwcore.errors import DataError

SIZE_MAX = 1 << 34            # bytes of a packet, as any link counts them
LATEST_NS = TIME_MAX_NS + (1 << 34)   # of what follows from an interval
CODEL_COUNT_MAX = 1 << 40
COUNT_MAX = 1 << 62            # of packets: they add up in 64 bits


cdef object _wrong(str what):
    return DataError(f"state: shaper: {what}")


cdef int _hold_to(str what, object values, object low, object high) except -1:
    """DataError where a column leaves its bounds."""
    flat = values.reshape(-1)
    if len(flat) and not (int(flat.min()) >= low and int(flat.max()) <= high):
        raise _wrong(f"{what} is not in {low}..{high}")
    return 0


cdef int _bounds(str what, object rows, dict limits) except -1:
    for name, (low, high) in limits.items():
        _hold_to(f"{what}: {name}", rows[name], low, high)
    return 0


cdef int _digest_of_rows(const rows_digest_t *d) except -1:
    """Whether it is one of so many rows: sums of 16 bytes, the last of which make the block."""
    cdef uint64_t full = d.count // BLOCK_ROW_COUNT * DIGEST_BYTES
    if (d.count > COUNT_MAX or d.blocks.fill > DIGEST_BLOCK or d.blocks.bytes % DIGEST_BLOCK
            or d.blocks.bytes + d.blocks.fill != full):
        raise _wrong(f"a digest of {d.count} departures that took in "
                     f"{d.blocks.bytes} + {d.blocks.fill} bytes, not {full}")
    return 0


cdef int _check_codels(str what, object rows) except -1:
    codels = rows["codel"]
    _bounds(what, codels, {
        "first_above": (0, LATEST_NS), "drop_next": (0, LATEST_NS), "count": (0, CODEL_COUNT_MAX),
        "last_count": (0, CODEL_COUNT_MAX), "dropping": (0, 1)})
    if (codels["last_count"] > codels["count"]).any():
        raise _wrong(f"{what}: codel counted back")
    return 0


cdef class Kept(Written):
    """A shaper that can go on where another one was written down."""

    cdef int take_up(self, tables, uint64_t packets) except -1:
        """Goes on where ``written`` stood. => a new one of the same plan, that has done nothing.

        ``packets``: that there have been. Raises DataError for what cannot be; it is of no use
        then. Sums that do not agree are for the laws to find.
        """
        cdef shaper_t *s = &self.core
        cdef const kept_shaper_t[::1] one
        for name, rows in (("shaper", 1), ("shaper_meters", s.meters_count),
                           ("shaper_links", s.links_count), ("shaper_classes", s.classes_count)):
            if len(tables[name]) != rows:
                raise _wrong(f"{name} has {len(tables[name])} rows, not {rows}")
        one = tables["shaper"]
        _bounds("whole", tables["shaper"], {
            "now_ns": (0, TIME_MAX_NS), "order": (0, COUNT_MAX),
            "samples_every": (1, COUNT_MAX), "samples_passed": (0, COUNT_MAX)})
        _digest_of_rows(&one[0].digest)
        s.now_ns, s.order = one[0].now_ns, one[0].order
        s.came_bytes, s.tcp_bytes = one[0].came_bytes, one[0].tcp_bytes
        s.sessions_hit = one[0].sessions_hit
        s.unshaped[0], s.unshaped[1] = one[0].unshaped[0], one[0].unshaped[1]
        s.digest = one[0].digest
        s.samples.every, s.samples.passed = one[0].samples_every, one[0].samples_passed
        self._set_samples(tables["shaper_samples"])
        self._set_rows(tables["shaper_rows"])
        places = self._set_accounts(tables["shaper_meters"], tables["shaper_accounts"])
        self.ways()
        self._set_sessions(tables["shaper_sessions"], tables["shaper_accounts"], places)
        self._set_classes(tables["shaper_classes"], tables["shaper_delays"])
        self._set_shares(tables["shaper_shares"])
        self._set_waits(tables["shaper_waits"], packets)
        self._set_links(tables["shaper_links"], tables["shaper_busy"])
        for i in range(s.links_count):
            self._stand(&s.links[<uint32_t>i], tables["shaper_classes"])
        return 0

    cdef int _set_samples(self, words) except -1:
        """=> now_ns is known. Times ascend; what rows say is but shown."""
        cdef samples_t *samples = &self.core.samples
        cdef const uint64_t[::1] given
        if len(words) % samples.width or len(words) // samples.width > samples.room:
            raise _wrong("samples of another width, or more than there is room for")
        times = words[::samples.width]
        if len(times) and (int(times.max()) > self.core.now_ns
                           or (times[1:] <= times[:len(times) - 1]).any()):
            raise _wrong("samples whose times do not ascend to now")
        samples.fill = len(times)
        if samples.fill:
            given = words
            memcpy(samples.rows, &given[0], len(words) * sizeof(uint64_t))
        return 0

    cdef int _set_rows(self, extra) except -1:
        """Rows that are no more, but for the sessions under them."""
        cdef shaper_t *s = &self.core
        cdef const shaping_row_t[::1] given
        cdef shaping_row_t *rows
        within(extra, "state: shaper: row", {
            "meters": (-2, <int64_t>s.meters_count - 1), "link": (-2, <int64_t>s.links_count - 1),
            "cls": (-1, 65535), "by_dscp": (-1, 65535)})
        if len(extra) == 0:
            return 0
        given = extra
        rows = <shaping_row_t *>self.room((s.rows_count + len(extra) + 1) * sizeof(shaping_row_t))
        memcpy(rows, s.rows, s.rows_count * sizeof(shaping_row_t))
        memcpy(rows + s.rows_count, &given[0], len(extra) * sizeof(shaping_row_t))
        s.rows, s.rows_count = rows, s.rows_count + len(extra)
        return 0

    # --- meters, and who holds their accounts ---

    cdef object _set_accounts(self, meters, accounts):
        """Their numbers by place."""
        cdef shaper_t *s = &self.core
        cdef const kept_meter_t[::1] counted
        cdef const kept_account_t[::1] given
        cdef uint32_t[::1] place
        cdef uint64_t i, count = len(accounts)
        _bounds("meter", meters, {"since": (0, s.now_ns)})
        _bounds("account", accounts, {
            "meter": (0, <int64_t>s.meters_count - 1), "shared": (0, 1), "family": (0, 6),
            "time_ns": (0, s.now_ns)})
        kept = np.bincount(accounts["meter"][accounts["shared"] == 0], minlength=s.meters_count)
        keys = [s.meters[i].row.key for i in range(s.meters_count)]
        if any(key == KEY_NONE and n > 1 for key, n in zip(keys, kept, strict=True)):
            raise _wrong("two buckets of a meter that has one")
        self._meters(self.plan, kept.tolist())
        counted = meters
        for i in range(s.meters_count):
            self._set_meter(&s.meters[i], &counted[i])
        places = np.zeros(count, np.uint32)
        given, place = accounts, places
        for i in range(count):
            s.meters[given[i].meter].row.keys_max = s.meters[given[i].meter].room
            self._set_account(&given[i], &place[i])
        for i in range(s.meters_count):
            s.meters[i].row.keys_max = self.plan.meters[i]["keys_max"]
        return places

    cdef int _set_meter(self, meter_t *m, const kept_meter_t *row) except -1:
        memcpy(m.passed, row.passed, sizeof(m.passed))
        memcpy(m.dropped, row.dropped, sizeof(m.dropped))
        memcpy(m.by_colour, row.by_colour, sizeof(m.by_colour))
        memcpy(m.charged, row.charged, sizeof(m.charged))
        m.keys_forgotten, m.keys_shared = row.keys_forgotten, row.keys_shared
        m.heaviest, m.forgotten_before, m.since = row.heaviest, row.forgotten_before, row.since
        return 0

    cdef int _set_account(self, const kept_account_t *row, uint32_t *place) except -1:
        cdef shaper_t *s = &self.core
        cdef meter_t *m = &s.meters[row.meter]
        cdef account_t *a
        cdef key_t key
        cdef int k
        key.high, key.low, key.family = row.key[0], row.key[1], row.family
        if row.shared:
            if m.shared_made or m.row.key == KEY_NONE:
                raise _wrong("two accounts for those without one")
            m.shared_made, place[0] = 1, m.first + m.room
            s.accounts[place[0]].state = ACCOUNT_SHARED
        else:
            if m.row.key == KEY_NONE:
                if row.key[0] or row.key[1] or row.family:
                    raise _wrong("a key of a meter that has none")
            elif meter_find(s, m, &key) != SHAPE_NIL:
                raise _wrong("a key that is there twice")
            place[0] = meter_take(s, m, &key, s.now_ns)
        a = &s.accounts[place[0]]
        a.time_ns = row.time_ns
        for k in range(m.row.rungs):
            if not -UNITS_MAX <= row.level[k] <= m.rung[k].depth:
                raise _wrong("a level that no bucket has")
            a.level[k] = row.level[k]
        return 0

    cdef int _set_sessions(self, sessions, accounts, places) except -1:
        """What they hold; accounts that nobody holds are idle in their order."""
        cdef shaper_t *s = &self.core
        cdef const shaped_t[::1] given
        cdef const uint32_t[::1] place
        cdef const kept_account_t[::1] rows
        cdef const shaping_row_t *r
        cdef shaped_t *h
        cdef uint64_t i, count = len(sessions)
        cdef uint32_t at
        cdef int direction, k
        if count > self.sessions:
            raise _wrong("more sessions than there are")
        _bounds("session", sessions, {"row": (0, s.rows_count), "protocol": (0, 255)})
        place, rows, given = places, accounts, sessions
        for i in range(count):
            h = &s.shaped[i]
            h[0] = given[i]
            memset(h.account, 255, sizeof(h.account))
            h.meters[0] = h.meters[1] = h.alone = 0
            if h.row == 0:
                continue
            r = &s.rows[h.row - 1]
            for direction in range(2):
                for k in range(METERS_MAX):
                    at = given[i].account[direction][k]
                    if r.meters[direction][k] < 0:
                        continue
                    if at >= <uint64_t>len(places):
                        raise _wrong("a session without its account")
                    self._hold(h, direction, k, place[at],
                               <int64_t>rows[at].meter - r.meters[direction][k])
            shaping_alone(s, h)
        for i in range(<uint64_t>len(places)):
            if s.accounts[place[i]].state == ACCOUNT_HELD and s.accounts[place[i]].sessions == 0:
                idle_append(s, &s.meters[rows[i].meter], place[i])
        return 0

    cdef int _hold(self, shaped_t *h, int direction, int k, uint32_t at, int64_t meter) except -1:
        cdef account_t *a = &self.core.accounts[at]
        if meter:
            raise _wrong("a session with another meter's account")
        h.account[direction][k] = at
        h.meters[direction] = <unsigned char>(k + 1)
        if not held_before(h, at, direction, k):
            a.sessions += 1
            a.tcp += h.protocol == 6
            a.udp += h.protocol == 17
        return 0

    # --- classes and what waits in them ---

    cdef int _set_classes(self, classes, delays) except -1:
        cdef shaper_t *s = &self.core
        cdef const kept_class_t[::1] given
        cdef const kept_delay_t[::1] counts
        cdef uint64_t i
        _bounds("class", classes, {
            "guarantee_ns": (0, s.now_ns), "ceiling_ns": (0, s.now_ns),
            "deficit": (-TIME_MAX_NS, TIME_MAX_NS), "turn": (-1, 65535),
            "turn_ns": (0, SHAPE_NEVER), "colour": (COLOUR_RED, COLOUR_GREEN),
            "largest": (0, SIZE_MAX)})
        _check_codels("class", classes)
        _bounds("delays", delays, {"cls": (0, <int64_t>s.classes_count - 1),
                                   "bucket": (0, DELAY_BUCKETS - 1)})
        given, counts = classes, delays
        for i in range(s.classes_count):
            self._set_class(&s.classes[i], &given[i])
        for i in range(<uint64_t>len(delays)):
            s.delays[<size_t>counts[i].cls * DELAY_BUCKETS + counts[i].bucket] = counts[i].count
        return 0

    cdef int _set_class(self, class_t *c, const kept_class_t *row) except -1:
        cdef shaper_t *s = &self.core
        cdef int i
        for bucket_level, bucket_depth, debt in (
                (row.guarantee, c.guarantee.depth, c.guarantee.debt),
                (row.ceiling, c.ceiling.depth, c.ceiling.debt)):
            if not -debt <= bucket_level <= bucket_depth:
                raise _wrong("a class with a level that no bucket has")
        c.guarantee.level, c.guarantee.time_ns = row.guarantee, row.guarantee_ns
        c.ceiling.level, c.ceiling.time_ns = row.ceiling, row.ceiling_ns
        c.codel = row.codel
        memcpy(c.deficit, row.deficit, sizeof(c.deficit))
        for i in range(PRIORITIES):
            c.turn[i].id = row.turn[i]
            c.turn[i].place = child_from(s, c.children, c.children_count, row.turn[i])
        c.largest, c.giants, c.borrowed = row.largest, row.giants, row.borrowed
        c.delay_max, c.dropped_bytes = row.delay_max, row.dropped_bytes
        c.crest, c.slowest = row.crest, row.slowest
        memcpy(c.arrived, row.arrived, sizeof(c.arrived))
        memcpy(c.sent, row.sent, sizeof(c.sent))
        memcpy(c.cleared, row.cleared, sizeof(c.cleared))
        memcpy(c.dropped, row.dropped, sizeof(c.dropped))
        c.colour = <unsigned char>row.colour
        return 0

    cdef int _set_shares(self, shares) except -1:
        cdef shaper_t *s = &self.core
        cdef const kept_share_t[::1] given
        cdef class_t *c
        cdef uint64_t i
        _bounds("share", shares, {
            "cls": (0, <int64_t>s.classes_count - 1), "place": (PLACE_OUT, PLACE_PARKED),
            "time_ns": (0, s.now_ns), "since": (0, s.now_ns), "credit": (-SIZE_MAX, 1 << 40)})
        _check_codels("share", shares)
        given = shares
        for i in range(<uint64_t>len(shares)):
            c = &s.classes[given[i].cls]
            if c.row.share == SHARE_NONE or given[i].number >= c.row.shares:
                raise _wrong("a share of a class that has it not")
            self._set_share(c, &s.shares[c.shares_first + given[i].number], &given[i])
        return 0

    cdef int _set_share(self, class_t *c, share_t *share, const kept_share_t *row) except -1:
        cdef shaper_t *s = &self.core
        cdef uint32_t *slot
        cdef uint32_t other
        if share.made:
            raise _wrong("a share that is there twice")
        share_get(s, c, row.number)
        if not -UNITS_MAX <= row.level <= c.share_bucket.depth:
            raise _wrong("a share with a level that no bucket has")
        share.credit, share.level, share.time_ns, share.since = (
            row.credit, row.level, row.time_ns, row.since)
        share.codel = row.codel
        share.address[0], share.address[1] = row.address[0], row.address[1]
        if row.place == PLACE_NEW:
            share_append(s, c, &c.fresh, row.number, PLACE_NEW)
        elif row.place == PLACE_OLD:
            share_append(s, c, &c.old, row.number, PLACE_OLD)
        share.place = <uint8_t>row.place
        if row.family == 0:
            return 0
        if c.share_heads == NULL or row.family not in (4, 6):
            raise _wrong("a share with an address, by no address")
        slot = share_slot(s, c, row.address)
        other = slot[0]
        while other != SHAPE_NIL:   # bounded by the shares
            if (s.shares[c.shares_first + other].family == row.family
                    and s.shares[c.shares_first + other].address[0] == row.address[0]
                    and s.shares[c.shares_first + other].address[1] == row.address[1]):
                raise _wrong("an address that has two shares")
            other = s.shares[c.shares_first + other].chain
        share.family, share.chain = <uint8_t>row.family, slot[0]
        slot[0] = row.number
        return 0

    cdef int _set_waits(self, waits, uint64_t packets) except -1:
        """What waits, and lists and heaps that follow from it."""
        cdef shaper_t *s = &self.core
        cdef const kept_wait_t[::1] given
        cdef class_t *c
        cdef uint64_t i
        cdef uint32_t at
        _bounds("packet", waits, {
            "packet": (0, packets), "order": (0, s.order), "size": (1, SIZE_MAX),
            "time_ns": (0, s.now_ns), "ect": (0, 1), "direction": (0, 1), "family": (0, 6),
            "line": (0, 1)})
        if (waits["mark"][waits["mark"] != NO_MARK] > MARK_CE_ALONE).any():
            raise _wrong("a mark that is none")
        self._arena(max(<int64_t>s.waiting_max, <int64_t>len(waits)))
        given = waits
        for i in range(<uint64_t>len(waits)):
            at = self._set_wait(&given[i])
            if given[i].line:
                if given[i].cls >= s.links_count or s.links[given[i].cls].line != SHAPE_NIL:
                    raise _wrong("a packet on a line that is not there, or taken")
                s.links[given[i].cls].line = at
                continue
            if given[i].cls >= s.classes_count or not s.classes[given[i].cls].leaf:
                raise _wrong("a packet in a class that has no queue")
            self._put(&s.classes[given[i].cls], at)
        for i in range(s.classes_count):
            c = &s.classes[i]
            if not c.leaf:
                continue
            if class_over(c):
                raise _wrong("more waits than may")
            map_set(s, c)
            if c.row.share != SHARE_NONE:
                self._wake_shares(c)
        return 0

    cdef uint32_t _set_wait(self, const kept_wait_t *row) noexcept:
        """A place for it. => there is one"""
        cdef shaper_t *s = &self.core
        cdef uint32_t at = wait_new(s)
        cdef wait_t *w = &s.waits[at]
        w.packet, w.order, w.flow, w.size = row.packet, row.order, row.flow, row.size
        w.time_ns, w.frame, w.ip, w.share = row.time_ns, row.frame, row.ip, row.share
        w.cls, w.mark, w.ect, w.direction = row.id, row.mark, row.ect, row.direction
        w.family, w.swapped = row.family, 0
        ends_set(&s.ends[at], row.source, row.destination)
        return at

    cdef int _put(self, class_t *c, uint32_t at) except -1:
        cdef shaper_t *s = &self.core
        cdef wait_t *w = &s.waits[at]
        cdef fifo_t *f = &c.fifo
        if w.cls != c.id or w.size > c.most:
            raise _wrong("a packet of another class, or larger than may ever leave")
        if c.row.share != SHARE_NONE:
            if w.share >= c.row.shares or not s.shares[c.shares_first + w.share].made:
                raise _wrong("a packet in a share that is not there")
            f = &s.shares[c.shares_first + w.share].fifo
        if f.count and s.waits[f.tail].order >= w.order:
            raise _wrong("packets that passed each other in a queue")
        fifo_put(s, f, at)
        c.waiting += 1
        c.waiting_bytes += w.size
        s.waiting += 1
        return 0

    cdef int _wake_shares(self, class_t *c) except -1:
        """=> its queues hold what they held. Which are free, parked, full; which is the fattest."""
        cdef shaper_t *s = &self.core
        cdef share_t *share
        cdef uint32_t number
        for number in range(c.shares_high):
            share = &s.shares[c.shares_first + number]
            if not share.made:
                continue
            share_filled(c, number)
            if share.fifo.count == 0:
                if share.place == PLACE_PARKED:
                    raise _wrong("a share that waits with nothing in it")
                share_emptied(s, c, number)
                continue
            heap_set(&c.fat, number, -<int64_t>share.fifo.bytes)
            if share.place == PLACE_OUT:
                raise _wrong("a share that holds packets and is nowhere")
            if share.place == PLACE_PARKED:
                if c.share_bucket.price == 0:
                    raise _wrong("a share that waits for a bucket that it has not")
                heap_set(&c.wakes, number, share_wakes(s, c, share))
                c.parked += 1
            else:
                c.listed += 1
        return 0

    # --- links ---

    cdef int _set_links(self, links, busy) except -1:
        cdef shaper_t *s = &self.core
        cdef const kept_link_t[::1] given
        cdef uint32_t i
        _bounds("link", links, {
            "row_at": (-1, 65535), "turn": (-1, 65535), "line_gone": (0, 1),
            "line_cls": (0, 65535), "line_rate": (0, 1 << 40), "start_ns": (0, s.now_ns),
            "end_ns": (0, SHAPE_NEVER - 1), "before_rate": (0, 1 << 40),
            "first_ns": (0, TIME_MAX_NS), "last_ns": (0, TIME_MAX_NS)})
        _bounds("busy", busy, {"link": (0, <int64_t>s.links_count - 1), "rate": (1, 1 << 40)})
        given = links
        for i in range(s.links_count):
            self._set_link(&s.links[i], &given[i])
        for rate, low, high, link, _ in busy.tolist():
            self.busy[link][rate] = high << 64 | low
        return 0

    cdef int _set_link(self, link_t *link, const kept_link_t *row) except -1:
        cdef shaper_t *s = &self.core
        cdef turn_t *turn
        cdef uint64_t queued = 0, size = 0
        cdef uint32_t i
        link.left = 1
        for i in range(ORDERS * PRIORITIES):
            turn = &(&link.row_at[0][0])[i]
            turn.id, turn.place = row.row_at[i], class_from(s, link, row.row_at[i])
            if turn.id >= 0:
                link.row_set[i // PRIORITIES] |= <uint32_t>1 << (i % PRIORITIES)
                link.rows_held |= <uint32_t>1 << (i // PRIORITIES)
        for i in range(PRIORITIES):
            link.turn[i].id = row.turn[i]
            link.turn[i].place = child_from(s, link.children, link.children_count, row.turn[i])
        if (row.line_rate != 0) != (link.line != SHAPE_NIL) or (
                row.before_rate == 0 and (row.busy_before[0] or row.busy_before[1])):
            raise _wrong("a line that is taken and free")
        if link.line != SHAPE_NIL:
            self._set_line(link, row)
            queued, size = 1, s.waits[link.line].size
        for i in range(link.classes, link.classes + link.classes_count):
            queued += s.classes[i].waiting
            size += s.classes[i].waiting_bytes
        link.queued, link.queued_bytes, link.pages = queued, size, queue_pages(s, size)
        s.pages += link.pages
        link.packets, link.bytes, link.line_bytes = row.packets, row.bytes, row.line_bytes
        link.peak[0], link.peak[1] = row.peak[0], row.peak[1]
        link.busy.low, link.busy.high = row.busy[0], row.busy[1]
        link.busy_before.low, link.busy_before.high = row.busy_before[0], row.busy_before[1]
        link.before_rate, link.overlaps = row.before_rate, row.overlaps
        link.first_ns, link.last_ns, link.last_rest = row.first_ns, row.last_ns, row.last_rest
        link.crest, link.taken_ns = row.crest, row.taken_ns
        return 0

    cdef int _set_line(self, link_t *link, const kept_link_t *row) except -1:
        """The packet in transmission: its times are those of its bytes at its rate."""
        cdef shaper_t *s = &self.core
        cdef uint32_t leaf = class_of(s, link, row.line_cls)
        parts = int(s.waits[link.line].size) * 8 * SHAPE_SECOND + row.start_rest
        end_ns = min(int(SHAPE_NEVER) - 1, row.start_ns + parts // row.line_rate)
        if (row.start_rest >= row.line_rate or row.end_ns != end_ns
                or row.end_rest != parts % row.line_rate
                or row.end_ns + (row.end_rest != 0) < s.now_ns):
            raise _wrong("a transmission that began and ended at other times")
        if row.line_gone:
            leaf = s.classes_count + link.number
            s.classes[leaf].id = row.line_cls
        elif leaf == SHAPE_NIL:
            raise _wrong("a packet on a line, of no class")
        link.line_leaf, link.line_rate = leaf, row.line_rate
        link.start_ns, link.start_rest = row.start_ns, row.start_rest
        link.end_ns, link.end_rest = row.end_ns, row.end_rest
        return 0

    # --- who is asked, and by what colour ---

    cdef int _stand(self, link_t *link, classes) except -1:
        """Rows of who may send, as of when they were last looked at, and what is due."""
        cdef shaper_t *s = &self.core
        cdef const kept_class_t[::1] given = classes
        cdef class_t *c
        cdef uint32_t i
        cdef int64_t due_ns
        if not link.walks:
            for i in range(link.classes, link.classes + link.classes_count):
                c = &s.classes[i]
                if c.leaf and (c.fifo.count if c.row.share == SHARE_NONE else c.listed):
                    c.asked = <unsigned char>(1 << c.priority)
                    class_enter(s, link, c, c.priority, s.now_ns, 0)
            for i in range(link.classes, link.classes + link.classes_count):
                self._check_colour(link, &s.classes[i], &given[i])
                if given[i].turn_ns != SHAPE_NEVER:
                    heap_set(&link.turns, i - link.classes, given[i].turn_ns)
        due_ns = link_due(s, link, s.now_ns)
        if due_ns < s.now_ns:
            raise _wrong("a link with something due that did not happen")
        link_wait(s, link, due_ns)
        return 0

    cdef int _check_colour(self, link_t *link, class_t *c, const kept_class_t *row) except -1:
        """A colour, and when it may change, follow from levels, but where that is past already:
        then the next look at the link finds it."""
        cdef shaper_t *s = &self.core
        cdef int64_t until = SHAPE_NEVER
        cdef int colour = COLOUR_YELLOW
        if c.asked and row.turn_ns <= s.now_ns:
            if not c.shuts and not c.parked:
                raise _wrong("a class whose colour changes without a bucket")
            return 0
        if c.asked and c.shuts:
            colour = class_colour(c, s.now_ns, class_head(s, c) if c.leaf else 0, &until)
        if c.leaf and c.parked and heap_first(&c.wakes) < until:
            until = heap_first(&c.wakes)
        if row.turn_ns != until or (c.asked and row.colour != <uint32_t>colour):
            raise _wrong("a class of another colour than its levels have")
        return 0
