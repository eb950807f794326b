"""A shaper written down: a table for each noun.

Levels, turns, queues, counters and what sessions hold are written; heaps, sets, chains and sums
follow from them and are made again by who takes it up (``_shaper_state``). Colours are written as
of when they were last looked at, for whose turn it is depends on when that was.
"""

import numpy as np

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from fwcore.dataplane.shaping cimport (
    ACCOUNT_HELD, ACCOUNT_SHARED, DELAY_BUCKETS, METERS_MAX, ORDERS, PLACE_OUT, PLACE_PARKED,
    PRIORITIES, SHAPE_NEVER, SHAPE_NIL, SHARE_NONE, account_t, class_t, end_get, link_t, meter_t,
    shaped_t, shaper_t, shaping_row_t, share_t, wait_t,
)
from fwcore._shaper_change cimport Changed

from fwcore._shaper_plan import SHAPING_DTYPE as _SHAPING_DTYPE


cdef dict _dtypes():
    """Tables of a shaper written down: name -> dtype."""
    cdef kept_shaper_t shaper
    cdef kept_meter_t meter
    cdef kept_account_t account
    cdef kept_link_t link
    cdef kept_busy_t busy
    cdef kept_class_t cls
    cdef kept_delay_t delay
    cdef kept_share_t share
    cdef kept_wait_t wait
    cdef shaped_t shaped
    return {
        "shaper": np.asarray(<const kept_shaper_t[:1]>&shaper).dtype,
        "shaper_meters": np.asarray(<const kept_meter_t[:1]>&meter).dtype,
        "shaper_accounts": np.asarray(<const kept_account_t[:1]>&account).dtype,
        "shaper_links": np.asarray(<const kept_link_t[:1]>&link).dtype,
        "shaper_busy": np.asarray(<const kept_busy_t[:1]>&busy).dtype,
        "shaper_classes": np.asarray(<const kept_class_t[:1]>&cls).dtype,
        "shaper_delays": np.asarray(<const kept_delay_t[:1]>&delay).dtype,
        "shaper_shares": np.asarray(<const kept_share_t[:1]>&share).dtype,
        "shaper_waits": np.asarray(<const kept_wait_t[:1]>&wait).dtype,
        "shaper_sessions": np.asarray(<const shaped_t[:1]>&shaped).dtype,
        "shaper_rows": _SHAPING_DTYPE,
        "shaper_samples": np.dtype(np.uint64),
    }


SHAPER_DTYPES = _dtypes()


cdef class Written(Changed):
    """A shaper that can be written down, in tables of ``SHAPER_DTYPES``."""

    cdef dict written(self, numbers):
        """Its tables. ``numbers``: uint32[live], sessions as they will be numbered.
        => all that is due has happened, and what is kept of departures was collected."""
        cdef shaper_t *s = &self.core
        cdef kept_shaper_t[::1] one
        whole = np.zeros(1, SHAPER_DTYPES["shaper"])
        one = whole
        one[0].now_ns, one[0].order = s.now_ns, s.order
        one[0].came_bytes, one[0].tcp_bytes = s.came_bytes, s.tcp_bytes
        one[0].sessions_hit = s.sessions_hit
        one[0].unshaped[0], one[0].unshaped[1] = s.unshaped[0], s.unshaped[1]
        one[0].samples_every, one[0].samples_passed = s.samples.every, s.samples.passed
        one[0].digest = s.digest
        extra = np.zeros(s.rows_count - len(self.plan.rows), _SHAPING_DTYPE)
        cdef shaping_row_t[::1] rows
        if len(extra):
            rows = extra
            memcpy(&rows[0], &s.rows[len(self.plan.rows)], len(extra) * sizeof(shaping_row_t))
        return {
            "shaper": whole, "shaper_meters": self._meters_written(),
            "shaper_accounts": self._accounts_written(),   # numbers them, for the sessions
            "shaper_links": self._links_written(), "shaper_busy": self._busy_written(),
            "shaper_classes": self._classes_written(), "shaper_delays": self._delays_written(),
            "shaper_shares": self._shares_written(), "shaper_waits": self._waits_written(),
            "shaper_sessions": self._sessions_written(numbers), "shaper_rows": extra,
            "shaper_samples": self._samples_written()}

    cdef object _samples_written(self):
        cdef size_t words = self.core.samples.fill * self.core.samples.width
        if words == 0:
            return np.zeros(0, SHAPER_DTYPES["shaper_samples"])
        return np.array(<uint64_t[:words]>self.core.samples.rows)

    cdef object _meters_written(self):
        cdef kept_meter_t[::1] out
        cdef const meter_t *m
        cdef uint32_t i
        found = np.zeros(self.core.meters_count, SHAPER_DTYPES["shaper_meters"])
        out = found
        for i in range(self.core.meters_count):
            m = &self.core.meters[i]
            memcpy(out[i].passed, m.passed, sizeof(m.passed))
            memcpy(out[i].dropped, m.dropped, sizeof(m.dropped))
            memcpy(out[i].by_colour, m.by_colour, sizeof(m.by_colour))
            memcpy(out[i].charged, m.charged, sizeof(m.charged))
            out[i].keys_forgotten, out[i].keys_shared = m.keys_forgotten, m.keys_shared
            out[i].heaviest, out[i].forgotten_before = m.heaviest, m.forgotten_before
            out[i].since = m.since
        return found

    cdef object _accounts_written(self):
        """Each meter's: held, idle the longest first, shared. Notes in each its place."""
        cdef shaper_t *s = &self.core
        cdef kept_account_t[::1] out
        cdef account_t *a
        cdef meter_t *m
        cdef uint32_t i, at, fill = 0, k
        cdef uint64_t count = 0
        for i in range(s.meters_count):
            count += s.meters[i].used + (s.meters[i].shared_made != 0)
        found = np.zeros(count, SHAPER_DTYPES["shaper_accounts"])
        out = found
        for i in range(s.meters_count):
            m = &s.meters[i]
            order = [at for at in range(m.first, m.first + m.high)
                     if s.accounts[at].state == ACCOUNT_HELD]
            at = m.idle_first
            while at != SHAPE_NIL:      # bounded by the keys
                order.append(at)
                at = s.accounts[at].idle_next
            if m.shared_made:
                order.append(m.first + m.room)
            for at in order:
                a = &s.accounts[at]
                a.copied_to = fill
                out[fill].time_ns, out[fill].family, out[fill].meter = a.time_ns, a.family, i
                out[fill].shared = a.state == ACCOUNT_SHARED
                out[fill].key[0], out[fill].key[1] = a.key[0], a.key[1]
                for k in range(m.row.rungs):
                    out[fill].level[k] = a.level[k]
                fill += 1
        return found

    cdef object _sessions_written(self, numbers):
        """What they met, with places of accounts for numbers. => _accounts_written"""
        cdef shaper_t *s = &self.core
        cdef shaped_t[::1] out
        cdef const uint32_t[::1] which
        cdef uint64_t i, count = len(numbers)
        cdef int direction, k
        found = np.zeros(count, SHAPER_DTYPES["shaper_sessions"])
        if count == 0:
            return found
        out, which = found, numbers
        for i in range(count):
            out[i] = s.shaped[which[i]]
            for direction in range(2):
                for k in range(METERS_MAX):
                    if out[i].account[direction][k] != SHAPE_NIL and out[i].row:
                        out[i].account[direction][k] = (
                            s.accounts[out[i].account[direction][k]].copied_to)
        return found

    cdef object _links_written(self):
        cdef shaper_t *s = &self.core
        cdef kept_link_t[::1] out
        cdef const link_t *link
        cdef uint32_t i, k
        found = np.zeros(s.links_count, SHAPER_DTYPES["shaper_links"])
        out = found
        for i in range(s.links_count):
            link = &s.links[i]
            for k in range(ORDERS * PRIORITIES):
                out[i].row_at[k] = (&link.row_at[0][0])[k].id
            for k in range(PRIORITIES):
                out[i].turn[k] = link.turn[k].id
            if link.line != SHAPE_NIL:
                out[i].line_rate, out[i].line_cls = link.line_rate, s.classes[link.line_leaf].id
                out[i].line_gone = link.line_leaf >= s.classes_count
                out[i].start_ns, out[i].end_ns = link.start_ns, link.end_ns
                out[i].start_rest, out[i].end_rest = link.start_rest, link.end_rest
            out[i].packets, out[i].bytes, out[i].line_bytes = (
                link.packets, link.bytes, link.line_bytes)
            out[i].peak[0], out[i].peak[1] = link.peak[0], link.peak[1]
            out[i].busy[0], out[i].busy[1] = link.busy.low, link.busy.high
            out[i].busy_before[0], out[i].busy_before[1] = (
                link.busy_before.low, link.busy_before.high)
            out[i].before_rate, out[i].overlaps = link.before_rate, link.overlaps
            out[i].crest, out[i].taken_ns = link.crest, link.taken_ns
            out[i].first_ns, out[i].last_ns, out[i].last_rest = (
                link.first_ns, link.last_ns, link.last_rest)
        return found

    cdef object _busy_written(self):
        half = (1 << 64) - 1
        return np.array(
            [(rate, parts & half, parts >> 64, link, 0) for link, rates in enumerate(self.busy)
             for rate, parts in rates.items()], SHAPER_DTYPES["shaper_busy"])

    cdef object _classes_written(self):
        cdef shaper_t *s = &self.core
        cdef kept_class_t[::1] out
        cdef const class_t *c
        cdef const link_t *link
        cdef uint32_t i, k
        found = np.zeros(s.classes_count, SHAPER_DTYPES["shaper_classes"])
        out = found
        for i in range(s.classes_count):
            c, link = &s.classes[i], &s.links[s.classes[i].link]
            out[i].guarantee, out[i].guarantee_ns = c.guarantee.level, c.guarantee.time_ns
            out[i].ceiling, out[i].ceiling_ns = c.ceiling.level, c.ceiling.time_ns
            out[i].codel = c.codel
            memcpy(out[i].deficit, c.deficit, sizeof(c.deficit))
            for k in range(PRIORITIES):
                out[i].turn[k] = c.turn[k].id
            k = i - link.classes
            out[i].turn_ns = link.turns.key[k] if link.turns.at[k] else SHAPE_NEVER
            out[i].colour = c.colour
            out[i].largest, out[i].giants, out[i].borrowed = c.largest, c.giants, c.borrowed
            out[i].delay_max, out[i].dropped_bytes = c.delay_max, c.dropped_bytes
            out[i].crest, out[i].slowest = c.crest, c.slowest
            memcpy(out[i].arrived, c.arrived, sizeof(c.arrived))
            memcpy(out[i].sent, c.sent, sizeof(c.sent))
            memcpy(out[i].cleared, c.cleared, sizeof(c.cleared))
            memcpy(out[i].dropped, c.dropped, sizeof(c.dropped))
        return found

    cdef object _delays_written(self):
        cdef size_t count = <size_t>self.core.classes_count * DELAY_BUCKETS
        if count == 0:
            return np.zeros(0, SHAPER_DTYPES["shaper_delays"])
        counts = np.asarray(<uint64_t[:count]>self.core.delays)
        where = np.flatnonzero(counts)
        found = np.zeros(len(where), SHAPER_DTYPES["shaper_delays"])
        found["count"] = counts[where]
        found["cls"], found["bucket"] = where // DELAY_BUCKETS, where % DELAY_BUCKETS
        return found

    cdef list _shares_in_order(self, const class_t *c):
        """Numbers of the sub-queues that were made: the new list's, the old one's, the others."""
        cdef const share_t *shares = &self.core.shares[c.shares_first]
        cdef uint32_t at
        found = []
        for at in (c.fresh.head, c.old.head):
            while at != SHAPE_NIL:      # bounded by the shares
                found.append(at)
                at = shares[at].next
        return found + [at for at in range(c.shares_high) if shares[at].made
                        and shares[at].place in (PLACE_OUT, PLACE_PARKED)]

    cdef object _shares_written(self):
        cdef shaper_t *s = &self.core
        cdef const share_t *share
        cdef kept_share_t[::1] out
        cdef uint32_t i, number, fill = 0
        order = []
        for i in range(s.classes_count):
            if s.classes[i].row.share != SHARE_NONE:
                order += [(i, number) for number in self._shares_in_order(&s.classes[i])]
        found = np.zeros(len(order), SHAPER_DTYPES["shaper_shares"])
        out = found
        for i, number in order:
            share = &s.shares[s.classes[i].shares_first + number]
            out[fill].credit, out[fill].level = share.credit, share.level
            out[fill].time_ns, out[fill].since = share.time_ns, share.since
            out[fill].codel = share.codel
            out[fill].address[0], out[fill].address[1] = share.address[0], share.address[1]
            out[fill].family, out[fill].place = share.family, share.place
            out[fill].number, out[fill].cls = number, i
            fill += 1
        return found

    cdef list _queue(self, const class_t *c):
        """Places of what waits in a class, each queue in its order."""
        cdef shaper_t *s = &self.core
        cdef uint32_t at, number
        heads = []
        if c.row.share == SHARE_NONE:
            heads.append(c.fifo.head)
        else:
            for number in range(c.shares_high):
                if s.shares[c.shares_first + number].made:
                    heads.append(s.shares[c.shares_first + number].fifo.head)
        found = []
        for at in heads:
            while at != SHAPE_NIL:      # bounded by the queue
                found.append(at)
                at = s.waits[at].next
        return found

    cdef object _waits_written(self):
        cdef shaper_t *s = &self.core
        cdef kept_wait_t[::1] out
        cdef const wait_t *w
        cdef uint32_t i, at, place, fill = 0
        places = []
        for i in range(s.classes_count):
            places += [(at, i, 0) for at in self._queue(&s.classes[i])]
        places += [(s.links[i].line, i, 1) for i in range(s.links_count)
                   if s.links[i].line != SHAPE_NIL]
        found = np.zeros(len(places), SHAPER_DTYPES["shaper_waits"])
        out = found
        for place, i, line in places:
            w = &s.waits[place]
            out[fill].packet, out[fill].order, out[fill].flow = w.packet, w.order, w.flow
            out[fill].size, out[fill].time_ns, out[fill].cls = w.size, w.time_ns, i
            end_get(&s.ends[place], w.swapped, out[fill].source)
            end_get(&s.ends[place], not w.swapped, out[fill].destination)
            out[fill].frame, out[fill].ip, out[fill].share = w.frame, w.ip, w.share
            out[fill].id, out[fill].mark, out[fill].ect = w.cls, w.mark, w.ect
            out[fill].direction, out[fill].family, out[fill].line = w.direction, w.family, line
            fill += 1
        return found

    # --- another table of sessions ---

    cdef int renumber(self, numbers, uint32_t sessions) except -1:
        """Room for so many; those of ``numbers`` (uint32[n], n <= sessions) are 0..n - 1 then."""
        cdef const shaped_t *before = self.core.shaped
        cdef const uint32_t[::1] which
        cdef uint64_t i
        self.resize(sessions)
        if len(numbers):
            which = numbers
            for i in range(<uint64_t>which.shape[0]):
                self.core.shaped[i] = before[which[i]]
        return 0
