"""Other settings while running: a shaper goes on where one of another plan stands.

    Planned, of old rows --> levels, counters, sessions, what waits --> Changed, of new ones

Meters and links are known by numbers that the caller gives, classes by their ids. Laws: nothing is
forgotten but what has no place any more, and that is cleared or pushed out, and counted.
"""

from operator import index as _index

import numpy as np

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from fwcore.dataplane.colour cimport leaf_turn
from fwcore.dataplane.held cimport (
    class_over, class_push_out, class_put, link_cleared, link_depart, link_drop, wait_give,
    wait_new,
)
from fwcore.dataplane.link cimport link_clear, link_serve
from fwcore.dataplane.meter cimport (
    account_settle, idle_append, key_t, meter_take, shaping_alone,
)
from fwcore.dataplane.queue cimport share_of
from fwcore.dataplane.samples cimport samples_halve
from fwcore.dataplane.shaping cimport (
    ACCOUNT_FREE, COUNT_KINDS, DELAY_BUCKETS, DISCARD_CODEL, DROP_PUSHED_OUT, FATE_PUSHED_OUT,
    METERS_MAX, ORDERS, PRIORITIES, SAMPLE_CLASS, SAMPLE_LINK, SAMPLE_METER, SHAPE_NIL, SHARE_NONE,
    WENT_AWAY, account_t, bucket_take_over, class_t, departure_t, level_turned, link_t, meter_t,
    samples_t, shaped_t, shaper_t, shaping_row_t, share_t, turn_t, wait_t,
)
from fwcore.dataplane.tree cimport child_from, class_from, class_of
from fwcore._shaper_plan cimport Planned
from fwcore.errors import DataError

cdef list numbers_of(str what, given, size_t count, size_t there):
    """For each of ``count`` its number among those ``there``, or -1; DataError."""
    found = [_index(number) for number in given]
    kept = [number for number in found if number != -1]
    if len(found) != count or len(set(kept)) != len(kept) or not all(
            0 <= number < there for number in kept):
        raise DataError(f"take_over: {what}: {count} numbers are asked for, each one of the"
                        f" {there} there were and none twice, or -1")
    return found


cdef class Changed(Planned):
    """A shaper that can go on where another one, of other settings, stands."""

    cdef int _take_over(self, Planned old, list meters, list links, bint serve) except -1:
        """=> nothing was done yet, and both uses are taken."""
        cdef shaper_t *s = &self.core
        cdef shaper_t *o = &old.core
        cdef uint32_t i
        s.now_ns, s.order = o.now_ns, o.order
        s.unshaped[0], s.unshaped[1] = o.unshaped[0], o.unshaped[1]
        s.came_bytes, s.tcp_bytes, s.sessions_hit = o.came_bytes, o.tcp_bytes, o.sessions_hit
        s.owner, s.request, s.give = o.owner, o.request, o.give
        if o.owner == &old.free:
            s.owner = &self.free
        kept = self._take_meters(old, meters)
        self._take_sessions(old, kept, meters, links)
        for i in range(o.links_count):
            if i not in links:
                link_clear(o, &o.links[i])
        if s.owner == &self.free:
            self.free = old.free
        s.digest = o.digest
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
        self._take_samples(old, kept, links)
        if serve:
            self.serve()
        return 0

    cdef int _take_samples(self, Planned old, list meters, list links) except -1:
        """Rows of what there still is; what is new was at 0 until now."""
        cdef samples_t *new = &self.core.samples
        cdef samples_t *before = &old.core.samples
        while before.fill > new.room:
            samples_halve(&old.core)
        new.fill, new.every, new.passed = before.fill, before.every, before.passed
        if new.fill:
            here, there = self._same_words(old, meters, links)
            rows = np.asarray(<uint64_t[:new.fill, :new.width]>new.rows)
            rows[:, here] = np.asarray(<uint64_t[:new.fill, :before.width]>before.rows)[:, there]
        return 0

    cdef tuple _same_words(self, Planned old, list meters, list links):
        """Words of a row of samples here, and those there that are of the same noun."""
        cdef shaper_t *s = &self.core
        cdef shaper_t *o = &old.core
        cdef const class_t *c
        cdef uint32_t i
        here, there = [0], [0]
        same = []
        for i in range(s.classes_count):
            c = &s.classes[i]
            was = links[c.link]
            at = SHAPE_NIL if was < 0 else class_of(o, &o.links[<uint32_t>was], c.id)
            same.append(-1 if at == SHAPE_NIL else at)
        first, before = 1, 1
        for numbers, count, words in ((links, o.links_count, SAMPLE_LINK),
                                      (same, o.classes_count, SAMPLE_CLASS),
                                      (meters, o.meters_count, SAMPLE_METER)):
            for at, was in enumerate(numbers):
                if was >= 0:
                    here += range(first + at * words, first + (at + 1) * words)
                    there += range(before + was * words, before + (was + 1) * words)
            first, before = first + len(numbers) * words, before + count * words
        return here, there

    cdef int serve(self) except -1:
        """What may leave now leaves, and when the next one may is known."""
        cdef shaper_t *s = &self.core
        cdef uint32_t i
        for i in range(s.links_count):
            link_serve(s, &s.links[s.by_distance[i]], s.now_ns, s.now_ns, 0)
        return 0

    cdef list _take_meters(self, Planned old, meters):
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

    cdef int _take_account(self, Planned old, meter_t *m, meter_t *before, uint32_t there,
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
        was.copied_to = here
        return 0

    cdef int _take_meter(self, Planned old, meter_t *m, meter_t *before) except -1:
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
            idle_append(s, m, o.accounts[at].copied_to)
            at = o.accounts[at].idle_next
        m.row.keys_max = keep
        if before.shared_made:
            m.shared_made = 1
            at = m.first + m.room
            s.accounts[at] = o.accounts[before.first + before.room]
            self._take_account(old, m, before, before.first + before.room, at)
        return 0

    cdef int _take_sessions(self, Planned old, kept, meters, links) except -1:
        """Rows that sessions are under go on behind the new ones, and sessions under them."""
        cdef shaper_t *s = &self.core
        cdef shaper_t *o = &old.core
        cdef shaped_t *h
        cdef uint32_t i
        cdef int direction, k
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
            for direction in range(2):
                if rows[k].link[direction] != -1:
                    rows[k].link[direction] = linked.get(rows[k].link[direction], WENT_AWAY)
                for j in range(METERS_MAX):
                    if rows[k].meters[direction][<int>j] != -1:
                        rows[k].meters[direction][<int>j] = there.get(
                            rows[k].meters[direction][<int>j], WENT_AWAY)
        for i in range(old.sessions):
            h = &s.shaped[i]
            h[0] = o.shaped[i]
            if h.row == 0:
                continue
            row = h.row
            h.row = place[row]
            for direction in range(2):
                for k in range(METERS_MAX):
                    if h.account[direction][k] == SHAPE_NIL:
                        continue
                    if rows[h.row - 1].meters[direction][k] < 0:
                        h.account[direction][k] = SHAPE_NIL
                    else:
                        h.account[direction][k] = o.accounts[h.account[direction][k]].copied_to
        s.rows, s.rows_count = rows, s.rows_count + len(used)
        self.ways()
        for i in range(old.sessions):
            shaping_alone(s, &s.shaped[i])
        return 0

    cdef int _take_link(self, Planned old, uint32_t here, uint32_t there) except -1:
        """Line, levels, turns and queues under new rows."""
        cdef shaper_t *s = &self.core
        cdef shaper_t *o = &old.core
        cdef link_t *link = &s.links[here]
        cdef link_t *was = &o.links[there]
        cdef uint32_t i, at
        memcpy(link.row_at, was.row_at, sizeof(link.row_at))
        memcpy(link.row_set, was.row_set, sizeof(link.row_set))
        link.rows_held, link.left = was.rows_held, 1
        for i in range(ORDERS * PRIORITIES):
            (&link.row_at[0][0])[i].place = class_from(s, link, (&link.row_at[0][0])[i].id)
        self._take_turns(link.turn, was.turn, link.children, link.children_count)
        link.queued, link.queued_bytes, link.pages = was.queued, was.queued_bytes, was.pages
        link.packets, link.bytes, link.line_bytes = was.packets, was.bytes, was.line_bytes
        link.peak[0], link.peak[1] = was.peak[0], was.peak[1]
        link.crest, link.taken_ns = was.crest, was.taken_ns
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
            self._put_back(old, was, link, <uint32_t>number)
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

    cdef int _take_line(self, Planned old, link_t *link, link_t *was) except -1:
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

    cdef list _leave(self, Planned old, link_t *link, link_t *was, uint32_t number):
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
        if c.row.discard == DISCARD_CODEL and was.row.discard == DISCARD_CODEL:
            c.codel = was.codel
        memcpy(c.deficit, was.deficit, sizeof(c.deficit))
        self._take_turns(c.turn, was.turn, c.children, c.children_count)
        memcpy(c.arrived, was.arrived, sizeof(c.arrived))
        memcpy(c.sent, was.sent, sizeof(c.sent))
        memcpy(c.cleared, was.cleared, sizeof(c.cleared))
        memcpy(c.dropped, was.dropped, sizeof(c.dropped))
        c.dropped_bytes, c.giants, c.borrowed = was.dropped_bytes, was.giants, was.borrowed
        c.largest, c.delay_max = was.largest, was.delay_max
        c.crest, c.slowest = was.crest, was.slowest
        memcpy(s.delays + here * DELAY_BUCKETS, before + there * DELAY_BUCKETS,
               DELAY_BUCKETS * sizeof(uint64_t))
        return 0

    cdef int _put_back(self, Planned old, link_t *was, link_t *link, uint32_t place) except -1:
        """A packet that waited goes on waiting, unless it never could leave."""
        cdef shaper_t *s = &self.core
        cdef class_t *leaf
        cdef wait_t *w
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
            w.share = share_of(s, leaf, at, s.now_ns)
            self._go_on(old, leaf, was, &old.core.waits[place], w.share)
        class_put(s, leaf, at)
        return 0

    cdef int _go_on(self, Planned old, const class_t *leaf, link_t *was, const wait_t *w,
                    uint32_t number) except -1:
        """CoDel of a sub-queue goes on where that of its first packet stood."""
        cdef shaper_t *o = &old.core
        cdef const class_t *before = &o.classes[class_of(o, was, w.cls)]
        cdef share_t *share = &self.core.shares[leaf.shares_first + number]
        if (leaf.row.discard == DISCARD_CODEL and before.row.discard == DISCARD_CODEL
                and before.row.share != SHARE_NONE and share.fifo.count == 0):
            share.codel = o.shares[before.shares_first + w.share].codel
        return 0
