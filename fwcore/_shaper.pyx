"""The shaper: meters, classes and links, and everything that waits.

    plan of arrays -> Shaper -> begin, arrive, end      sessions and packets
                        |       advance, drain, clear   time
                        |       take_over               other settings while running
                        v
              departures, digest, counters, laws

The fast path drives its core between packets; alone it is driven by hand, for tests and for those
who shape without a firewall. Times come in; they do not go back.

    Planned <- Changed <- Written <- Kept <- Shaper
    memory     other      written    taken   this
               settings   down       up

Laws: all memory is taken in the constructor; nothing that Python hands over is believed. A shaper
has one user at a time; that of a fast path has the fast path's, and ends with it.
"""

from functools import wraps as _wraps
from weakref import ref as _weak

import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fwcore.dataplane.arrive cimport judged_t, shaper_arrive
from fwcore.dataplane.digest cimport rows_end
from fwcore.dataplane.layout cimport DIGEST_BYTES, TIME_MAX_NS
from fwcore.dataplane.held cimport queue_pages
from fwcore.dataplane.link cimport shaper_advance, shaper_clear, shaper_drain
from fwcore.dataplane.match cimport asker_t, shaping_match
from fwcore.dataplane.meter cimport shaping_admits, shaping_begin, shaping_end
from fwcore.dataplane.samples cimport samples_take
from fwcore.dataplane.shaping cimport (
    COUNT_PACKETS, DELAY_BITS, DELAY_BUCKETS, DROP_COUNT, MARK_CE, MARK_CE_ALONE, METERS_MAX,
    NEED_LEVEL, NOWHERE, NO_MARK, RFC2697, RFC2698, SAMPLE_CLASS, SAMPLE_LINK, SAMPLE_METER,
    SHAPE_NEVER, SHAPE_NIL, SHAPE_SECOND, SHARE_NONE, UNITS_MAX, class_t, departure_t, ends_set,
    link_t, met_t, meter_t, shaped_t, shaper_t, wait_t,
)
from fwcore._shaper_change cimport numbers_of
from fwcore._shaper_state cimport Kept
from fwcore._use cimport Use

from fwcore._shaper_plan import ARRIVAL_DTYPE, DEPARTURE_DTYPE
from fwcore._shaper_written import SHAPER_DTYPES as _SHAPER_DTYPES
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
DIRECTION_METERS = METERS_MAX
NO_METER, NO_LINK = SHAPE_NIL, NOWHERE
MARKED_CE, MARKED_CE_ALONE, UNMARKED = MARK_CE, MARK_CE_ALONE, NO_MARK


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
    meters = numbers_of("meters", meters, new.core.meters_count, old.core.meters_count)
    links = numbers_of("links", links, new.core.links_count, old.core.links_count)
    try:
        new._take_over(old, meters, links, serve)
    except BaseException:
        new.close("shaper: it could not take over: make a new one")
        raise
    new.keeper, new.use = old.keeper, old.use if old.keeper is not None else new.use
    old.close("shaper: another took over from it")


_go_on = _exclusive(_take_over)


cdef class Shaper(Kept):
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

    @_exclusive
    def keep(self):
        """From now on departures are kept."""
        self.keep_rows()

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

    # --- written down, and taken up again ---

    @_exclusive
    def state(self):
        """Tables of ``SHAPER_DTYPES`` by name: all that what follows depends on, as copies.

        Raises DataError while there are departures or arrivals that nobody collected.
        """
        if self.core.departures_fill or self.core.met_fill:
            raise DataError("state: collect departures and arrivals first")
        return self.written(np.arange(self.sessions, dtype=np.uint32))

    @_exclusive
    def set_state(self, tables):
        """Takes up what ``state`` gave, in a shaper of the same plan that did nothing yet.

        Pages of what waits are taken from ``free``. Raises DataError for what cannot be; this
        shaper is of no use then. Sums that do not agree are for ``laws`` to find.
        """
        if self.keeper is not None or self.core.order or self.core.now_ns:
            raise DataError("state: it is for a shaper that did nothing yet")
        for name, dtype in _SHAPER_DTYPES.items():
            table = tables[name]
            if not isinstance(table, np.ndarray) or table.dtype != dtype or table.ndim != 1:
                raise DataError(f"state: table {name}: {dtype}[n] is asked for")
        self.take_up(tables, <uint64_t>-1)
        self.free -= <long long>self.core.pages

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
               session, flow, *, uint8_t dscp=0, bint ect=False, int direction=0,
               bint metered=True):
        """A packet that was let pass: (why it was dropped or "", link, class, mark).

        ``handle``: of its session, None: it has none; ``flow``: the session's hash.
        """
        cdef uint32_t at
        cdef wait_t *p
        cdef asker_t a
        cdef judged_t judged
        cdef shaped_t *held = NULL
        if handle is not None:
            if handle >= self.sessions:
                raise DataError(f"arrive: {handle} is not below {self.sessions}")
            held = &self.core.shaped[<uint32_t>handle]
        if not 0 <= dscp < 64 or direction not in (0, 1):
            raise DataError(f"arrive: dscp {dscp}, direction {direction}")
        self._advance(time_ns)
        self._ask(&a, session)
        at = self.core.wait_free
        p = &self.core.waits[at]
        p.packet, p.flow, p.frame, p.ip = packet, flow, frame, ip
        p.family, p.dscp, p.ect, p.direction = a.family, dscp, ect, direction
        p.swapped = direction != 0
        ends_set(&self.core.ends[at], a.initiator, a.responder)
        judged = shaper_arrive(&self.core, held, metered, 0)
        return (WHYS[judged.why], None if judged.link < 0 else judged.link,
                None if judged.cls < 0 else judged.cls,
                None if judged.mark == NO_MARK else judged.mark)

    # --- time ---

    @_exclusive
    def advance(self, int64_t until_ns):
        """What is due up to a time happens."""
        self._advance(until_ns)

    cdef int _advance(self, int64_t until_ns) except -1:
        if not 0 <= until_ns <= TIME_MAX_NS:
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
        """The digest of all departures, as of now: 16 bytes."""
        cdef uint8_t out[DIGEST_BYTES]
        rows_end(&self.core.digest, out)
        return bytes(out[:DIGEST_BYTES])

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
    def delays_ns(self):
        """Of each class, by number: the upper ends of the histogram's buckets (at most 3 % above)
        that hold the percentiles of its delays: p50, p95, p99; 0 where nothing left."""
        return [self._delays(number) for number in range(self.core.classes_count)]

    cdef dict _delays(self, uint32_t number):
        cdef const uint64_t *counts = self.core.delays + <size_t>number * DELAY_BUCKETS
        cdef uint64_t total = 0, so_far, want
        cdef int bucket
        cdef dict found = {}
        for bucket in range(DELAY_BUCKETS):
            total += counts[bucket]
        for percent in (50, 95, 99):
            want, so_far, bucket = -(-int(total) * percent // 100), 0, -1
            while so_far < want:  # bounded by DELAY_BUCKETS: want is not above the total
                bucket += 1
                so_far += counts[bucket]
            found[f"p{percent}"] = (
                min(bucket_end(bucket), self.core.classes[number].delay_max) if total else 0)
        return found

    @_exclusive
    def sample(self):
        """Keeps a row of ``samples`` as of now."""
        samples_take(&self.core, self.core.now_ns, 1)

    @_exclusive
    def samples(self):
        """Links, classes and meters over time, by number: uint64, ``time_ns`` (n,), ``links``
        (n, links, 3): bytes that left and ns that the line was taken until then, most queued bytes
        since the row before; ``classes`` (n, classes, 4): packets that left and dropped ones until
        then, most waiting bytes and longest delay (ns) since the row before; ``meters``
        (n, meters, 2): packets that passed and dropped ones until then. A fast path adds rows
        where its timeline does; a full table keeps every second one.
        """
        cdef shaper_t *s = &self.core
        cdef size_t words = s.samples.fill * s.samples.width
        rows = np.zeros((0, s.samples.width), np.uint64)
        if words:
            rows = np.array(<uint64_t[:words]>s.samples.rows).reshape(-1, s.samples.width)
        links, classes = 1, 1 + s.links_count * SAMPLE_LINK
        meters = classes + s.classes_count * SAMPLE_CLASS
        return {"time_ns": rows[:, 0],
                "links": rows[:, links:classes].reshape(len(rows), s.links_count, SAMPLE_LINK),
                "classes": rows[:, classes:meters].reshape(
                    len(rows), s.classes_count, SAMPLE_CLASS),
                "meters": rows[:, meters:].reshape(len(rows), s.meters_count, SAMPLE_METER)}

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
            busy = busy and sum(self._busy(i).values()) == int(link.line_bytes) * 8 * SHAPE_SECOND
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
        """What passed in a colour is at most depth + rate x time, for each bucket there was. Where
        a packet's debt may have been cut to what a level holds, nothing is known."""
        buckets = m.used + m.shared_made + m.keys_forgotten - m.forgotten_before
        time_ns = self.core.now_ns - m.since
        bits = 1 if m.row.count == COUNT_PACKETS else 8
        slack = m.heaviest if m.row.need == NEED_LEVEL else 0
        passed = 0
        for rung in range(m.row.rungs):
            passed = m.charged[rung] + (passed if m.row.algorithm == RFC2698 else 0)
            rate = m.row.rate[0 if m.row.algorithm == RFC2697 else rung]
            if int(slack) * m.rung[rung].price > UNITS_MAX:
                continue
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
