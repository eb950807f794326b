# Egress: what a packet meets after its verdict, and what a session has to do with it.
#
#     verdict (not DROP) -> meters -> class -> link -> departure
#
# A packet that is dropped here has been judged, and has moved its session; what its session and the
# exposure ledger count are packets that passed.
#
# Laws: without a shaper nothing of this is reached; what is due by a packet's time has happened
# before it arrives.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fwcore.dataplane.arrive cimport judged_t, shaper_arrive
from fwcore.dataplane.clock cimport clock_set
from fwcore.dataplane.frame cimport chunk_t, frame_t, parser_t
from fwcore.dataplane.layout cimport (
    DECODE_IPV4, DECODE_IPV6, DIRECTION_COUNT, DIRTY_GAUGES, DUE_LINK, KIND_KEYED, META_FAMILY,
    META_ZONE, NIL, OWNER_QUEUES, REASON_NO_MEMORY, REASON_OVER_LIMIT, REASON_QUEUE_FULL,
    REASON_RELATED, SESSION_FROM_B, VERDICT_DROP, egress_t, fw_be16, fw_le16, fw_past, fw_prefetch,
    fw_t, fw_unlikely, packet_t, record_t,
)
from fwcore.dataplane.link cimport (
    link_enqueue, link_is_idle, link_join, link_joins, link_out, shaper_advance,
)
from fwcore.dataplane.match cimport asker_t, shaping_match
from fwcore.dataplane.meter cimport (
    bytes_of, meter_alone, shaping_admits, shaping_begin, shaping_end, size_of, way_of,
)
from fwcore.dataplane.parse cimport parse_any
from fwcore.dataplane.samples cimport samples_take
from fwcore.dataplane.session cimport exposure_enter, request_pages
from fwcore.dataplane.shaping cimport (
    ALONE_BUCKET, ALONE_LINK, ALONE_OUT, COUNT_IP, NO_MARK, SHAPE_NIL, SHAPE_NO_MEMORY,
    SHAPE_OVER_LIMIT, SHAPE_PASSED, class_t, ends_t, link_row_t, meter_t, shaped_t, shaper_t,
    shaping_row_t, wait_t, way_t,
)
from fwcore.dataplane.tree cimport leaf_of


cdef enum:
    BURST_ROWS = 4096      # rows of packets after which they want to be collected
    SHAPED_FROM = 512      # live sessions; what fewer keep is near enough: a line each, ...
    ACCOUNTS_FROM = 4096   # ... and two of an account


# --- what the frame says --------------------------------------------------------------------------

cdef inline void egress_parse(void *of) noexcept nogil:
    """Notes bytes and mark of any frame's outermost IP packet; 0 where it has none."""
    cdef fw_t *fw = <fw_t *>of
    cdef const chunk_t *c = <const chunk_t *>fw.frames
    cdef uint64_t i = fw.packet - fw.frames_from
    cdef uint64_t offset = c.offset[i]
    cdef uint32_t captured = c.captured[i]
    cdef frame_t f
    cdef packet_t p
    cdef const uint8_t *h
    fw.ip_bytes = fw.traffic_class = 0
    if fw_past(offset, captured, c.size):
        return
    parse_any(c.data + offset, captured, c.length[i], c.link[i], <const parser_t *>fw.parser,
              &f, &p)
    if p.decode & (DECODE_IPV4 | DECODE_IPV6):
        h = f.data + f.network
        fw.ip_bytes = f.limit - f.network
        fw.traffic_class = h[1] if f.family == 4 else (h[0] & 15) << 4 | h[1] >> 4


cdef inline void egress_look(fw_t *fw) noexcept nogil:
    """=> ip_bytes and traffic_class are those of the present frame; of one as most are without a
    parser. Its place is looked at again: who owns the arrays may write to them meanwhile."""
    cdef const chunk_t *c = <const chunk_t *>fw.frames
    cdef uint64_t i = fw.packet - fw.frames_from, offset
    cdef const uint8_t *data
    cdef uint32_t captured, wire
    if fw.looked == fw.packet:
        return
    fw.looked = fw.packet
    offset, captured, wire = c.offset[i], c.captured[i], c.length[i]
    if captured > wire:
        captured = wire
    if c.link[i] == 1 and captured >= 34 and not fw_past(offset, captured, c.size):
        data = c.data + offset
        if fw_le16(data + 12) == 0x0008 and data[14] == 0x45:
            fw.ip_bytes = fw_be16(data + 16)
            fw.traffic_class = data[15]
            if 20 <= fw.ip_bytes <= wire - 14:
                return
    fw.egress.parse(fw)


# --- what is on its way from memory ---------------------------------------------------------------

cdef inline void egress_fetch(
    const void *of, const packet_t *packets, uint32_t count,
) noexcept nogil:
    """What sessions met at their set-up, those guessed of by pass two."""
    cdef const fw_t *fw = <const fw_t *>of
    cdef const shaper_t *s = <const shaper_t *>fw.shaper
    cdef uint32_t i
    if fw.memory.live < SHAPED_FROM:
        return
    for i in range(count):
        if packets[i].guess:
            fw_prefetch(&s.shaped[packets[i].guess])


cdef inline void egress_fetch_accounts(
    const void *of, const packet_t *packets, uint32_t count,
) noexcept nogil:
    """The first account of each way of these sessions, which egress_fetch has asked for."""
    cdef const fw_t *fw = <const fw_t *>of
    cdef const shaper_t *s = <const shaper_t *>fw.shaper
    cdef const shaped_t *h
    cdef uint32_t i
    cdef int direction
    if fw.memory.live < ACCOUNTS_FROM:
        return
    for i in range(count):
        h = &s.shaped[packets[i].guess]
        for direction in range(DIRECTION_COUNT):
            if packets[i].guess and h.meters[direction] and h.account[direction][0] != SHAPE_NIL:
                fw_prefetch(&s.accounts[h.account[direction][0]])


# --- pages ----------------------------------------------------------------------------------------

cdef inline int egress_request(void *owner, uint64_t pages, uint32_t pinned) noexcept nogil:
    """Pages of the appliance for queues."""
    return request_pages(<fw_t *>owner, OWNER_QUEUES, pages, 0, pinned)


cdef inline void egress_give(void *owner, uint64_t pages) noexcept nogil:
    """Pages of queues become free."""
    cdef fw_t *fw = <fw_t *>owner
    fw.memory.pages.owner[OWNER_QUEUES] -= pages
    fw.memory.pages.free += pages
    fw.memory.dirty = DIRTY_GAUGES


cdef inline void egress_due(fw_t *fw) noexcept nogil:
    """The next moment of links, where one may change a gauge; others wait for who looks."""
    cdef shaper_t *s = <shaper_t *>fw.shaper
    if s.accounted:
        clock_set(&fw.clock, DUE_LINK, s.due_ns)


cdef inline void egress_unseen(fw_t *fw) noexcept nogil:
    """What left between packets moved gauges: that is looked at first of all, at this very time.
    Else a row of the timeline that is due before the next packet would be who sees it."""
    cdef const shaper_t *s = <const shaper_t *>fw.shaper
    if s != NULL and s.accounted and fw.memory.dirty:
        clock_set(&fw.clock, DUE_LINK, fw.clock.now_ns)


cdef inline int egress_brims(const fw_t *fw) noexcept nogil:
    """Whether rows of packets want to be collected."""
    cdef const shaper_t *s = <const shaper_t *>fw.shaper
    return s != NULL and (
        s.departures_fill > BURST_ROWS or s.met_fill > BURST_ROWS)


# --- sessions -------------------------------------------------------------------------------------

cdef inline void egress_ask(
    const packet_t *p, int from_b, uint32_t policy, uint32_t traffic_class, asker_t *ask,
) noexcept nogil:
    """What shaping has to know of the session that a packet would begin."""
    ask.initiator[0] = p.key.b_hi if from_b else p.key.a_hi
    ask.initiator[1] = p.key.b_lo if from_b else p.key.a_lo
    ask.responder[0] = p.key.a_hi if from_b else p.key.b_hi
    ask.responder[1] = p.key.a_lo if from_b else p.key.b_lo
    ask.family = META_FAMILY(p.key.meta)
    ask.zone = META_ZONE(p.key.meta)
    ask.protocol = p.protocol
    ask.has_ports = p.protocol == 6 or p.protocol == 17 or p.protocol == 132
    ask.port = 0
    if ask.has_ports:
        ask.port = <uint16_t>p.key.meta if from_b else <uint16_t>(p.key.meta >> 16)
    ask.policy = policy
    ask.dscp = <uint8_t>(traffic_class >> 2)


cdef inline uint32_t egress_match(
    void *of, const packet_t *p, int from_b, uint32_t policy,
) noexcept nogil:
    """The row that a new session would be under, as its number + 1, 0: none; NIL: the limits of
    sessions of its meters do not let it in."""
    cdef fw_t *fw = <fw_t *>of
    cdef asker_t ask
    cdef uint32_t row
    if (<const shaper_t *>fw.shaper).marked:
        egress_look(fw)
    egress_ask(p, from_b, policy, fw.traffic_class, &ask)
    row = shaping_match(<const shaper_t *>fw.shaper, &ask)
    return row if shaping_admits(<const shaper_t *>fw.shaper, row, &ask) else NIL


cdef inline void egress_begin(
    void *of, const packet_t *p, int from_b, uint32_t policy, uint32_t record, uint32_t row,
) noexcept nogil:
    """A session is made under this row."""
    cdef fw_t *fw = <fw_t *>of
    cdef asker_t ask
    egress_ask(p, from_b, policy, 0, &ask)    # its row is known
    shaping_begin(<shaper_t *>fw.shaper, record, row, &ask, fw.clock.now_ns)


cdef inline void egress_end(void *of, uint32_t record) noexcept nogil:
    """A session ends."""
    shaping_end(<shaper_t *>(<fw_t *>of).shaper, record)


cdef inline void egress_moment(void *of, int64_t at_ns) noexcept nogil:
    """What is due at links up to a time leaves."""
    cdef fw_t *fw = <fw_t *>of
    shaper_advance(<shaper_t *>fw.shaper, at_ns)
    egress_due(fw)
    if fw_unlikely(egress_brims(fw)):
        fw.memory.dirty = DIRTY_GAUGES  # so that it is seen


cdef inline void egress_sample(void *of, int asked) noexcept nogil:
    """A row of what links, classes and meters did until now."""
    cdef fw_t *fw = <fw_t *>of
    egress_moment(fw, fw.clock.now_ns)
    samples_take(<shaper_t *>fw.shaper, fw.clock.now_ns, asked)


cdef inline int64_t egress_next(const void *of) noexcept nogil:
    """When something leaves a link next."""
    return (<const shaper_t *>(<const fw_t *>of).shaper).due_ns


# --- packets --------------------------------------------------------------------------------------

cdef inline void egress_says(
    const fw_t *fw, const packet_t *p, wait_t *w, uint32_t wire,
) noexcept nogil:
    """What is known of a packet without a look at its frame."""
    w.packet, w.flow, w.frame, w.ip = fw.packet, p.hash, wire, 0
    w.direction, w.mark, w.family = p.direction, NO_MARK, META_FAMILY(p.key.meta)


cdef inline void egress_stand(
    fw_t *fw, const packet_t *p, uint32_t record, wait_t *w,
) noexcept nogil:
    """All that is asked of a packet that waits: what its frame says, and whose it is."""
    cdef ends_t *ends = &(<shaper_t *>fw.shaper).ends[(<shaper_t *>fw.shaper).wait_free]
    cdef const record_t *r
    egress_look(fw)
    w.ip, w.dscp = fw.ip_bytes, <uint8_t>(fw.traffic_class >> 2)
    w.ect = fw.traffic_class & 3 != 0
    if p.kind == KIND_KEYED:
        w.swapped = p.swapped
        ends.a_lo, ends.b_lo, ends.a_hi, ends.b_hi = p.key.a_lo, p.key.b_lo, p.key.a_hi, p.key.b_hi
    elif record != NIL:
        r = &fw.table.records[record]
        w.swapped = (r.flags & SESSION_FROM_B) ^ w.direction
        ends.a_lo, ends.b_lo, ends.a_hi, ends.b_hi = r.a_lo, r.b_lo, r.a_hi, r.b_hi


cdef inline void egress_came(shaper_t *s, const packet_t *p, uint32_t wire) noexcept nogil:
    """Counts a packet of a session under a row."""
    s.came_bytes += wire
    s.tcp_bytes += wire if p.protocol == 6 else 0


cdef inline void egress_left(fw_t *fw) noexcept nogil:
    """A packet has come to links: when the next one leaves, and whether rows brim over."""
    egress_due(fw)
    if fw_unlikely(egress_brims(fw)):
        fw.memory.dirty = DIRTY_GAUGES  # so that it is seen


cdef inline uint32_t egress_drop(int why) noexcept nogil:
    """The outcome of a packet that does not pass."""
    if why == SHAPE_OVER_LIMIT:
        return VERDICT_DROP | REASON_OVER_LIMIT << 8
    if why == SHAPE_NO_MEMORY:
        return VERDICT_DROP | REASON_NO_MEMORY << 8
    return VERDICT_DROP | REASON_QUEUE_FULL << 8


cdef inline uint32_t egress_refused(
    shaper_t *s, shaped_t *held, int direction, uint32_t wire, int why,
) noexcept nogil:
    """The same of a session's packet, which is counted."""
    s.sessions_hit += held.dropped[0] + held.dropped[1] == 0
    held.dropped[direction] += 1
    held.dropped_bytes[direction] += wire
    return egress_drop(why)


cdef inline uint32_t egress_meet(
    void *of, const packet_t *p, uint32_t record, uint32_t wire, uint32_t outcome,
) noexcept nogil:
    """Any packet: meters and a link."""
    cdef fw_t *fw = <fw_t *>of
    cdef shaper_t *s = <shaper_t *>fw.shaper
    cdef wait_t *w = &s.waits[s.wait_free]
    cdef uint32_t cause = fw.exposure
    cdef shaped_t *held = NULL
    cdef int related = outcome >> 8 == REASON_RELATED
    cdef judged_t judged
    egress_says(fw, p, w, wire)
    w.direction ^= related    # an error goes back to whom it is about
    egress_stand(fw, p, record, w)
    if record != NIL:
        held = &s.shaped[record]
    else:
        w.family = 0
    judged = shaper_arrive(s, held, not related, record)
    fw.exposure = 0
    egress_left(fw)
    if held != NULL and held.row:
        egress_came(s, p, wire)
    if judged.why == SHAPE_PASSED:
        if cause:
            exposure_enter(&fw.counters, &fw.table.records[record], cause - 1, wire)
        return outcome
    if related:
        return egress_drop(judged.why)
    return egress_refused(s, held, p.direction, wire, judged.why)


cdef inline uint32_t egress_queue(
    void *of, const packet_t *p, uint32_t record, uint32_t wire, uint32_t outcome,
) noexcept nogil:
    """A packet that meets a link and no meter, and that nobody is told of."""
    cdef fw_t *fw = <fw_t *>of
    cdef shaper_t *s = <shaper_t *>fw.shaper
    cdef shaped_t *held = &s.shaped[record]
    cdef const way_t *way = way_of(s, held, p.direction)
    cdef class_t *leaf = way.leaf
    cdef wait_t *w = &s.waits[s.wait_free]
    cdef const shaping_row_t *r
    cdef int why, cls
    egress_came(s, p, wire)
    egress_says(fw, p, w, wire)
    egress_stand(fw, p, record, w)
    if leaf == NULL:
        r = &s.rows[held.row - 1]
        cls = r.by_dscp[p.direction][w.dscp]
        leaf = &s.classes[leaf_of(way.link, r.cls[p.direction] if cls < 0 else cls)]
    w.size, w.share = bytes_of(w, way.link.row.count, way.link.row.overhead), 0
    if link_joins(s, way.link, leaf, w.size):
        link_join(s, way.link, leaf)
        return outcome
    why = link_enqueue(s, way.link, leaf, record)
    egress_left(fw)
    if why == SHAPE_PASSED:
        return outcome
    return egress_refused(s, held, p.direction, wire, why)


cdef inline uint32_t egress_out(
    void *of, const packet_t *p, uint32_t record, uint32_t wire, uint32_t outcome,
) noexcept nogil:
    """A packet that meets a link without a line and no meter, and that nobody is told of: gone at
    once, or on to egress_queue."""
    cdef fw_t *fw = <fw_t *>of
    cdef shaper_t *s = <shaper_t *>fw.shaper
    cdef const way_t *way = way_of(s, &s.shaped[record], p.direction)
    cdef const link_row_t *row = &way.link.row
    if not link_is_idle(way.link) or not link_out(
            s, way.link, way.leaf, size_of(wire, 0, row.count, row.overhead), fw.packet, NO_MARK):
        return fw.egress.queue(fw, p, record, wire, outcome)
    egress_came(s, p, wire)
    if fw_unlikely(egress_brims(fw)):
        fw.memory.dirty = DIRTY_GAUGES  # so that it is seen
    return outcome


cdef inline uint32_t egress_bucket(
    void *of, const packet_t *p, uint32_t record, uint32_t wire, uint32_t outcome,
) noexcept nogil:
    """A packet that meets a bucket and nothing else, and that nobody is told of."""
    cdef fw_t *fw = <fw_t *>of
    cdef shaper_t *s = <shaper_t *>fw.shaper
    cdef shaped_t *held = &s.shaped[record]
    cdef meter_t *m = way_of(s, held, p.direction).meter
    cdef uint32_t ip = 0
    if m.row.count == COUNT_IP:
        egress_look(fw)
        ip = fw.ip_bytes
    egress_came(s, p, wire)
    if meter_alone(m, &s.accounts[held.account[p.direction][0]], s.now_ns,
                   size_of(wire, ip, m.row.count, m.row.overhead)):
        return outcome
    return egress_refused(s, held, p.direction, wire, SHAPE_OVER_LIMIT)


cdef inline uint32_t egress_late(
    void *of, const packet_t *p, uint32_t record, uint32_t wire, uint32_t outcome,
) noexcept nogil:
    """What is due leaves; then the packet."""
    cdef fw_t *fw = <fw_t *>of
    fw.egress.moment(fw, fw.clock.now_ns)
    return fw.egress.packet(fw, p, record, wire, outcome)


cdef inline uint32_t egress_packet(
    void *of, const packet_t *p, uint32_t record, uint32_t wire, uint32_t outcome,
) noexcept nogil:
    """The outcome of a packet that was judged, after meters and queues; exposure is entered.

    What meets one thing and nothing else goes a way of its own: half the instructions.
    """
    cdef fw_t *fw = <fw_t *>of
    cdef shaper_t *s = <shaper_t *>fw.shaper
    cdef uint32_t alone
    if outcome & 255 == VERDICT_DROP:
        fw.exposure = 0
        return outcome
    if fw_unlikely(s.due_ns <= fw.clock.now_ns):
        return fw.egress.late(fw, p, record, wire, outcome)
    if s.now_ns < fw.clock.now_ns:
        s.now_ns = fw.clock.now_ns
    if record == NIL or outcome >> 8 == REASON_RELATED or s.met_room or fw.exposure:
        return fw.egress.meet(fw, p, record, wire, outcome)
    alone = s.shaped[record].alone >> p.direction
    if alone & ALONE_BUCKET:
        return fw.egress.bucket(fw, p, record, wire, outcome)
    if alone & ALONE_OUT:
        return fw.egress.out(fw, p, record, wire, outcome)
    if alone & ALONE_LINK:
        return fw.egress.queue(fw, p, record, wire, outcome)
    return fw.egress.meet(fw, p, record, wire, outcome)


cdef inline egress_t egress_calls() noexcept nogil:
    """All of it, for a firewall with a shaper."""
    cdef egress_t calls
    calls.parse = egress_parse
    calls.fetch = egress_fetch
    calls.fetch_accounts = egress_fetch_accounts
    calls.packet = egress_packet
    calls.late = egress_late
    calls.bucket = egress_bucket
    calls.out = egress_out
    calls.queue = egress_queue
    calls.meet = egress_meet
    calls.moment = egress_moment
    calls.sample = egress_sample
    calls.next = egress_next
    calls.match = egress_match
    calls.begin = egress_begin
    calls.end = egress_end
    return calls
