# What happens between packets: the moments at which something is due, in their order.
#
# Overview: due_moments goes through the moments up to a time. Within one: what leaves links,
# what the script is short of (at ticks), its steps, its leaks, expiry, the IPS buffer, a sample;
# then, if an armed gauge left its quiet interval, or a round of idledrop is due, it stops for the
# control plane. The next times are kept in clock.pxd; here is only who is asked, and when.
#
# Law: the same moments happen, in the same order, however often it stops to take a breath.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fwcore.dataplane.clock cimport (
    clock_arm, clock_catch_up, clock_disarm, clock_earliest, clock_expiry_set, clock_go_to,
    clock_levels, clock_moved, clock_next, clock_next_tick_ns, clock_set, clock_settle,
    clock_tick_from, clock_tick_ns,
)
from fwcore.dataplane.inspect cimport ips_arm, ips_drain
from fwcore.dataplane.layout cimport (
    DIRTY_GAUGES, DUE_COLLECT, DUE_EXPIRY, DUE_IPS, DUE_LEAK, DUE_LINK, DUE_OWED, DUE_ROUND,
    DUE_SAMPLE, EXPIRE_BATCH, FW_ASSERT, NEVER, NIL, SLOT_BIT, STOP_BREATH, STOP_NONE, STOP_TICK,
    STOP_TIME, WHEEL_SLOTS, fw_clock_t, fw_prefetch, fw_t, record_t, table_t,
)
from fwcore.dataplane.pages cimport pages_look
from fwcore.dataplane.script cimport (
    leaks_run, script_leaks, script_move, script_retry, script_steps, script_tick_due)
from fwcore.dataplane.session cimport (
    evict_collect, session_due_tick, session_end, session_past, session_prefetch_end,
    session_timeout_cause,
)
from fwcore.dataplane.timeline cimport timeline_plan, timeline_take


# --- expiry -------------------------------------------------------------------------------------

cdef inline void expire_one(fw_t *fw, uint32_t record) noexcept nogil:
    """Ends a session whose time is over now; one that was seen since gets another slot."""
    cdef record_t *r = &fw.table.records[record]
    if session_past(&fw.control, fw.clock.now_ns, r):
        session_end(fw, record, session_timeout_cause(r))
    else:
        clock_disarm(&fw.table, &fw.clock, record)
        clock_arm(&fw.table, &fw.clock, record, session_due_tick(&fw.control, &fw.clock, r))


cdef inline uint32_t expire_merged(table_t *table, uint32_t a, uint32_t b) noexcept nogil:
    """Two lists in order of creation as one, by `next`; the first of it. => one is not empty"""
    cdef uint32_t first = NIL, last = NIL, record
    while a != NIL or b != NIL:  # bounded by the sessions of the slot
        if b == NIL or (a != NIL and table.records[a].created_packet
                        <= table.records[b].created_packet):
            record = a
            a = table.timers[a]
        else:
            record = b
            b = table.timers[b]
        if last == NIL:
            first = record
        else:
            table.timers[last] = record
        last = record
    table.timers[last] = NIL
    return first


cdef inline void expire_in_order(
    table_t *table, fw_clock_t *clock, uint32_t slot, uint64_t tick,
) noexcept nogil:
    """Puts all that this tick may end into one slot, in order of creation: which key of a meter is
    longest without a session depends on who ends first. A merge sort, list i of 2^i sessions."""
    cdef uint32_t lists[EXPIRE_BATCH]
    cdef uint32_t record, next_, other
    cdef int i, level
    for i in range(EXPIRE_BATCH):
        lists[i] = NIL
    for level in range(clock_levels(tick)):
        other = level * WHEEL_SLOTS + <uint32_t>(tick >> (6 * level)) % WHEEL_SLOTS
        record = clock.head[other]
        clock.head[other] = NIL
        clock.map[level] &= ~(<uint64_t>1 << (other % WHEEL_SLOTS))
        while record != NIL:
            next_ = table.timers[record]
            table.timers[record] = NIL
            i = 0
            while lists[i] != NIL:
                record = expire_merged(table, lists[i], record)
                lists[i] = NIL
                i += 1
            lists[i] = record
            record = next_
    record = NIL
    for i in range(EXPIRE_BATCH):
        if lists[i] != NIL:
            record = expire_merged(table, lists[i], record)
    clock.head[slot] = record
    clock.map[slot // WHEEL_SLOTS] |= <uint64_t>1 << (slot % WHEEL_SLOTS)
    other = SLOT_BIT | slot
    while record != NIL:
        table.records[record].timer_prev = other
        other = record
        record = table.timers[record]


cdef enum:
    BATCHES = 2         # of one the sessions end, the next one is gathered


cdef inline uint32_t expire_gather(
    table_t *table, uint32_t record, uint32_t *batch, uint32_t *count,
) noexcept nogil:
    """The record goes into the batch, and on its way from memory; the one after it in its slot."""
    cdef uint32_t after = table.timers[record]
    batch[count[0]] = record
    count[0] += 1
    fw_prefetch(&table.records[record])
    fw_prefetch(&table.records[record].a_hi)
    if after != NIL:
        fw_prefetch(&table.timers[after])
    return after


cdef inline int expire_slot(fw_t *fw, uint32_t slot) noexcept nogil:
    """Empties a slot that is due, a batch at a time, so that the cache misses overlap. Going along
    the list is itself a miss a session: while one of a batch ends, one goes into the next.

    1: done; 0: out of breath, call again for the rest.
    """
    cdef uint32_t batches[BATCHES][EXPIRE_BATCH]
    cdef uint32_t *batch = batches[0]
    cdef uint32_t *following = batches[1]
    cdef uint32_t record = fw.clock.head[slot], count = 0, more, i
    while record != NIL and count < EXPIRE_BATCH:
        record = expire_gather(&fw.table, record, batch, &count)
    while count:  # bounded by the sessions of the slot
        for i in range(count):
            if session_past(&fw.control, fw.clock.now_ns, &fw.table.records[batch[i]]):
                session_prefetch_end(&fw.table, &fw.control, batch[i], 0)
        more = 0
        for i in range(count):
            if record != NIL:
                record = expire_gather(&fw.table, record, following, &more)
            expire_one(fw, batch[i])
        fw.breath -= count
        if fw.breath <= 0 and more:
            return 0
        batch, following = following, batch
        count = more
    return 1


cdef inline int expire_tick(fw_t *fw, uint64_t tick) noexcept nogil:
    """Empties all slots that begin with this tick; 0: out of breath, call again for the rest."""
    cdef uint32_t slot = clock_go_to(&fw.clock, tick)
    if fw.shaper != NULL and slot != NIL:
        expire_in_order(&fw.table, &fw.clock, slot, tick)
    while slot != NIL:  # bounded by the levels
        if not expire_slot(fw, slot):
            return 0
        slot = clock_go_to(&fw.clock, tick)
    return 1


# --- moments ------------------------------------------------------------------------------------

cdef inline int64_t due_round_ns(const fw_t *fw) noexcept nogil:
    """The next tick at which a round of idledrop may end something, or NEVER."""
    cdef int64_t next_ns
    if not fw.control.gate.idledrop or not fw.memory.live or fw.round_ns == NEVER:
        return NEVER
    next_ns = clock_next_tick_ns(&fw.control, &fw.clock)
    if fw.round_ns <= next_ns:
        return next_ns
    return clock_tick_ns(
        &fw.control, &fw.clock, clock_tick_from(&fw.control, &fw.clock, fw.round_ns))


cdef inline void due_update(fw_t *fw) noexcept nogil:
    """=> the deadline is the next moment, also where sessions and gate decide whether there is one.

    Between packets this is asked anew; a packet itself only brings the deadline nearer.
    """
    cdef int owed = script_tick_due(&fw.memory, &fw.control)
    clock_set(&fw.clock, DUE_OWED, clock_next_tick_ns(&fw.control, &fw.clock) if owed else NEVER)
    clock_set(&fw.clock, DUE_ROUND, due_round_ns(fw))
    clock_expiry_set(&fw.control, &fw.clock)
    clock_settle(fw)


cdef inline int due_begin(fw_t *fw, int64_t at_ns) noexcept nogil:
    """The first half of a moment, up to its expiry; 0: out of breath within that."""
    cdef uint32_t step = fw.memory.next_step
    if not fw.clock.unfinished:
        if fw.clock.due_ns[DUE_LINK] <= at_ns:
            fw.egress.moment(fw, at_ns)
        if fw.clock.due_ns[DUE_OWED] == at_ns:
            script_retry(fw, at_ns)
        script_steps(fw, at_ns)
        script_leaks(fw, at_ns)
        if fw.memory.next_step != step:
            timeline_take(fw, 1)  # so that what a step does shows at the step
    fw.clock.unfinished = 0
    clock_expiry_set(&fw.control, &fw.clock)
    if fw.clock.due_ns[DUE_EXPIRY] == at_ns:
        if not expire_tick(fw, clock_tick_from(&fw.control, &fw.clock, at_ns)):
            fw.clock.unfinished = 1
            return 0
    return 1


cdef inline int due_moment(fw_t *fw, int64_t at_ns, int64_t until_ns) noexcept nogil:
    """One moment in its order; STOP_* when the control plane has to decide, or for a breath."""
    cdef int stop = STOP_NONE
    cdef int64_t quiet_until
    FW_ASSERT(at_ns >= fw.clock.now_ns)
    if not fw.clock.unfinished:
        fw.round_due = fw.clock.due_ns[DUE_ROUND] == at_ns
    fw.clock.now_ns = at_ns
    fw.breath -= 1
    if not due_begin(fw, at_ns):
        return STOP_TIME | STOP_BREATH
    if fw.clock.due_ns[DUE_COLLECT] <= at_ns:
        evict_collect(fw)
    if fw.clock.due_ns[DUE_IPS] <= at_ns:
        ips_drain(&fw.memory, &fw.control, at_ns)
        fw.memory.ips_full = 0
        clock_set(&fw.clock, DUE_IPS, NEVER)
        fw.memory.dirty = DIRTY_GAUGES
    if fw.round_due and fw.memory.live:
        stop = STOP_TIME | STOP_TICK
    if fw.clock.due_ns[DUE_SAMPLE] <= at_ns:
        timeline_take(fw, 0)
        due_update(fw)
        quiet_until = clock_earliest(&fw.clock, DUE_SAMPLE)
        if fw.shaper != NULL and fw.egress.next(fw) < quiet_until:
            quiet_until = fw.egress.next(fw)
        timeline_plan(fw, quiet_until if quiet_until < until_ns else until_ns)
    if fw.memory.dirty and stop == STOP_NONE:  # a round of idledrop is still part of the moment
        if pages_look(fw):
            stop = STOP_TIME
    return stop


cdef inline int due_moments(fw_t *fw, int64_t until_ns) noexcept nogil:
    """Every moment up to a time, or a stop after one of them (call again)."""
    cdef int stop
    cdef int64_t at_ns
    due_update(fw)
    at_ns = clock_next(&fw.clock)
    while at_ns <= until_ns:  # each turn does what is due, or moves a sample on
        stop = due_moment(fw, at_ns, until_ns)
        due_update(fw)
        if stop:
            return stop
        if fw.breath <= 0:
            return STOP_TIME | STOP_BREATH
        if fw.clock.due_ns[DUE_LEAK] <= until_ns:
            leaks_run(fw, until_ns)
            due_update(fw)
        at_ns = clock_next(&fw.clock)
    return STOP_NONE


cdef inline void due_set_back(fw_t *fw, int64_t to_ns) noexcept nogil:
    """The clock is set back; what is to come stays as far off. => no session lives"""
    cdef int64_t start_ns = clock_moved(&fw.clock, fw.clock.start_ns, to_ns)
    script_move(&fw.memory, &fw.control, &fw.clock, to_ns)
    if fw.clock.due_ns[DUE_SAMPLE] != NEVER:
        clock_set(&fw.clock, DUE_SAMPLE, clock_moved(&fw.clock, fw.clock.due_ns[DUE_SAMPLE], to_ns))
    fw.memory.ips_ns = clock_moved(&fw.clock, fw.memory.ips_ns, to_ns)
    if fw.memory.ips_full:
        ips_arm(&fw.memory, &fw.control, &fw.clock)
    fw.round_ns = 0
    fw.clock.unfinished = 0
    fw.clock.start_ns = start_ns
    fw.clock.now_ns = fw.clock.tick_end_ns = to_ns
    clock_catch_up(&fw.control, &fw.clock)
    due_update(fw)
