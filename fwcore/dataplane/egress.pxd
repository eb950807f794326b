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
from fwcore.dataplane.frame cimport frame_t, parser_t
from fwcore.dataplane.layout cimport (
    DECODE_IPV4, DECODE_IPV6, DIRECTION_COUNT, DIRTY_GAUGES, DUE_LINK, KIND_KEYED, META_FAMILY,
    META_ZONE, NIL, OWNER_QUEUES, REASON_NO_MEMORY, REASON_OVER_LIMIT, REASON_QUEUE_FULL,
    REASON_RELATED, SESSION_FROM_B, VERDICT_DROP, egress_t, fw_be16, fw_le16, fw_prefetch, fw_t,
    fw_unlikely, packet_t, record_t,
)
from fwcore.dataplane.link cimport link_enqueue, shaper_advance
from fwcore.dataplane.match cimport asker_t, shaping_match
from fwcore.dataplane.meter cimport (
    meter_alone, shaping_admits, shaping_begin, shaping_end,
)
from fwcore.dataplane.parse cimport parse_any
from fwcore.dataplane.samples cimport samples_take
from fwcore.dataplane.session cimport exposure_enter, request_pages
from fwcore.dataplane.shaping cimport (
    ALONE_BUCKET, ALONE_LINK, NO_MARK, SHAPE_NIL, SHAPE_NO_MEMORY, SHAPE_OVER_LIMIT, SHAPE_PASSED,
    ends_t, link_t, shaped_t, shaper_t, shaping_row_t, wait_t,
)
from fwcore.dataplane.tree cimport leaf_of


cdef enum:
    BURST_ROWS = 4096      # rows of packets after which they want to be collected
    FETCHED_FROM = 4096    # live sessions; what fewer keep is near enough


# --- what the frame says --------------------------------------------------------------------------

cdef inline void egress_parse(
    void *of, const uint8_t *data, uint32_t captured, uint32_t wire, uint32_t link,
    const void *parser,
) noexcept nogil:
    """Notes bytes and mark of any frame's outermost IP packet; 0 where it has none."""
    cdef fw_t *fw = <fw_t *>of
    cdef frame_t f
    cdef packet_t p
    cdef const uint8_t *h
    fw.ip_bytes = fw.traffic_class = 0
    parse_any(data, captured, wire, link, <const parser_t *>parser, &f, &p)
    if p.decode & (DECODE_IPV4 | DECODE_IPV6):
        h = f.data + f.network
        fw.ip_bytes = f.limit - f.network
        fw.traffic_class = h[1] if f.family == 4 else (h[0] & 15) << 4 | h[1] >> 4


cdef inline void egress_look(
    void *of, const uint8_t *data, uint32_t captured, uint32_t wire, uint32_t link,
    const void *parser,
) noexcept nogil:
    """The same; of a frame as most are without a parser."""
    cdef fw_t *fw = <fw_t *>of
    if captured > wire:
        captured = wire
    if link == 1 and captured >= 34 and fw_le16(data + 12) == 0x0008 and data[14] == 0x45:
        fw.ip_bytes = fw_be16(data + 16)
        fw.traffic_class = data[15]
        if 20 <= fw.ip_bytes <= wire - 14:
            return
    fw.egress.parse(fw, data, captured, wire, link, parser)


# --- what is on its way from memory ---------------------------------------------------------------

cdef inline void egress_fetch(
    const void *of, const packet_t *packets, uint32_t count,
) noexcept nogil:
    """What sessions met at their set-up, those guessed of by pass two."""
    cdef const fw_t *fw = <const fw_t *>of
    cdef const shaper_t *s = <const shaper_t *>fw.shaper
    cdef uint32_t i
    if fw.memory.live < FETCHED_FROM:
        return
    for i in range(count):
        if packets[i].guess:
            fw_prefetch(&s.shaped[packets[i].guess])
            if s.links_count:   # whose packet it is
                fw_prefetch(&fw.table.records[packets[i].guess].a_hi)


cdef inline void egress_fetch_accounts(
    const void *of, const packet_t *packets, uint32_t count,
) noexcept nogil:
    """The first account of each way of these sessions, which egress_fetch has asked for."""
    cdef const fw_t *fw = <const fw_t *>of
    cdef const shaper_t *s = <const shaper_t *>fw.shaper
    cdef const shaped_t *h
    cdef uint32_t i
    cdef int direction
    if fw.memory.live < FETCHED_FROM:
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
    egress_ask(p, from_b, policy, fw.traffic_class, &ask)
    row = shaping_match(<const shaper_t *>fw.shaper, &ask)
    return row if shaping_admits(<const shaper_t *>fw.shaper, row, &ask) else NIL


cdef inline void egress_begin(
    void *of, const packet_t *p, int from_b, uint32_t policy, uint32_t record, uint32_t row,
) noexcept nogil:
    """A session is made under this row."""
    cdef fw_t *fw = <fw_t *>of
    cdef asker_t ask
    egress_ask(p, from_b, policy, fw.traffic_class, &ask)
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

cdef inline void egress_stand(
    const fw_t *fw, const packet_t *p, uint32_t record, uint32_t wire, int related,
) noexcept nogil:
    """A packet stands where it would wait, with what it says itself, and whose it is. =>
    egress_look has looked at its frame"""
    cdef shaper_t *s = <shaper_t *>fw.shaper
    cdef wait_t *w = &s.waits[s.wait_free]
    cdef ends_t *ends = &s.ends[s.wait_free]
    cdef const record_t *r
    w.packet, w.flow, w.frame, w.ip = fw.packet, p.hash, wire, fw.ip_bytes
    w.dscp, w.ect = <uint8_t>(fw.traffic_class >> 2), fw.traffic_class & 3 != 0
    w.direction = p.direction ^ related    # an error goes back to whom it is about
    w.mark, w.family = NO_MARK, 0
    if record == NIL:
        return
    w.family = META_FAMILY(p.key.meta)
    if p.kind == KIND_KEYED:
        w.swapped = p.swapped
        ends.a_lo, ends.b_lo, ends.a_hi, ends.b_hi = p.key.a_lo, p.key.b_lo, p.key.a_hi, p.key.b_hi
        return
    r = &fw.table.records[record]
    w.swapped = (r.flags & SESSION_FROM_B) ^ w.direction
    ends.a_lo, ends.b_lo, ends.a_hi, ends.b_hi = r.a_lo, r.b_lo, r.a_hi, r.b_hi


cdef inline uint32_t egress_drop(int why) noexcept nogil:
    """The outcome of a packet that does not pass."""
    if why == SHAPE_OVER_LIMIT:
        return VERDICT_DROP | REASON_OVER_LIMIT << 8
    if why == SHAPE_NO_MEMORY:
        return VERDICT_DROP | REASON_NO_MEMORY << 8
    return VERDICT_DROP | REASON_QUEUE_FULL << 8


cdef inline judged_t egress_arrive(
    fw_t *fw, const packet_t *p, uint32_t record, uint32_t wire, int related, shaped_t **held,
) noexcept nogil:
    """Meters and a link. => what is due has happened"""
    cdef shaper_t *s = <shaper_t *>fw.shaper
    egress_stand(fw, p, record, wire, related)
    if record != NIL:
        held[0] = &s.shaped[record]
    return shaper_arrive(s, held[0], not related, record)


cdef inline void egress_refused(
    shaper_t *s, shaped_t *held, int direction, uint32_t wire,
) noexcept nogil:
    """A packet of a session does not pass. Counts it."""
    s.sessions_hit += held.dropped[0] + held.dropped[1] == 0
    held.dropped[direction] += 1
    held.dropped_bytes[direction] += wire


cdef inline uint32_t egress_line(
    fw_t *fw, const packet_t *p, uint32_t record, uint32_t wire, uint32_t outcome,
) noexcept nogil:
    """The outcome of a packet that meets a link and no meter, and that nobody is told of."""
    cdef shaper_t *s = <shaper_t *>fw.shaper
    cdef shaped_t *held = &s.shaped[record]
    cdef const shaping_row_t *r = &s.rows[held.row - 1]
    cdef link_t *link = &s.links[r.link[p.direction]]
    cdef int cls, why
    s.came_bytes += wire
    s.tcp_bytes += wire if p.protocol == 6 else 0
    egress_stand(fw, p, record, wire, 0)
    cls = r.by_dscp[p.direction][fw.traffic_class >> 2]
    why = link_enqueue(
        s, link, &s.classes[leaf_of(link, r.cls[p.direction] if cls < 0 else cls)], record)
    egress_due(fw)
    if fw_unlikely(egress_brims(fw)):
        fw.memory.dirty = DIRTY_GAUGES  # so that it is seen
    if why == SHAPE_PASSED:
        return outcome
    egress_refused(s, held, p.direction, wire)
    return egress_drop(why)


cdef inline uint32_t egress_meet(
    void *of, const packet_t *p, uint32_t record, uint32_t wire, uint32_t outcome,
) noexcept nogil:
    """The outcome of a packet that the firewall let pass, after meters and queues; exposure is
    entered. => what is due has happened"""
    cdef fw_t *fw = <fw_t *>of
    cdef shaper_t *s = <shaper_t *>fw.shaper
    cdef uint32_t cause = fw.exposure
    cdef shaped_t *held = NULL
    cdef int related = outcome >> 8 == REASON_RELATED
    cdef judged_t judged
    if record != NIL and not (related or s.met_room or cause) and (
            s.shaped[record].alone >> p.direction) & ALONE_LINK:
        return egress_line(fw, p, record, wire, outcome)
    judged = egress_arrive(fw, p, record, wire, related, &held)
    fw.exposure = 0
    egress_due(fw)
    if fw_unlikely(egress_brims(fw)):
        fw.memory.dirty = DIRTY_GAUGES  # so that it is seen
    if held != NULL and held.row:
        s.came_bytes += wire
        s.tcp_bytes += wire if p.protocol == 6 else 0
    if judged.why == SHAPE_PASSED:
        if cause:
            exposure_enter(&fw.counters, &fw.table.records[record], cause - 1, wire)
        return outcome
    if not related:
        egress_refused(s, held, p.direction, wire)
    return egress_drop(judged.why)


cdef inline uint32_t egress_packet(
    void *of, const packet_t *p, uint32_t record, uint32_t wire, uint32_t outcome,
) noexcept nogil:
    """The outcome of a packet that was judged, after meters and queues; exposure is entered.

    One that meets a bucket and nothing else goes a way of its own: half the instructions.
    => egress_look has looked at its frame, where something asks for that (shaper_t.looks).
    """
    cdef fw_t *fw = <fw_t *>of
    cdef shaper_t *s = <shaper_t *>fw.shaper
    cdef shaped_t *held
    if outcome & 255 == VERDICT_DROP:
        fw.exposure = 0
        return outcome
    if fw_unlikely(s.due_ns <= fw.clock.now_ns):
        fw.egress.moment(fw, fw.clock.now_ns)
    if s.now_ns < fw.clock.now_ns:
        s.now_ns = fw.clock.now_ns
    if record == NIL or outcome >> 8 == REASON_RELATED or s.met_room or fw.exposure:
        return fw.egress.meet(fw, p, record, wire, outcome)
    held = &s.shaped[record]
    if not (held.alone >> p.direction) & ALONE_BUCKET:
        return fw.egress.meet(fw, p, record, wire, outcome)
    s.came_bytes += wire
    s.tcp_bytes += wire if p.protocol == 6 else 0
    if meter_alone(s, held, p.direction, wire, fw.ip_bytes):
        return outcome
    egress_refused(s, held, p.direction, wire)
    return VERDICT_DROP | REASON_OVER_LIMIT << 8


cdef inline egress_t egress_calls() noexcept nogil:
    """All of it, for a firewall with a shaper."""
    cdef egress_t calls
    calls.look = egress_look
    calls.parse = egress_parse
    calls.fetch = egress_fetch
    calls.fetch_accounts = egress_fetch_accounts
    calls.packet = egress_packet
    calls.meet = egress_meet
    calls.moment = egress_moment
    calls.sample = egress_sample
    calls.next = egress_next
    calls.match = egress_match
    calls.begin = egress_begin
    calls.end = egress_end
    return calls
