# Where a session is born and where it ends, and who pays for its pages.
#
# Overview: session_begin and session_end are the only places where a record comes into use and
# goes out of it; both keep index, timers, hosts, order of creation, pages and counters in step.
# request_pages is the only way to more memory: free pages, then cache, then one tension pass.
#
# Laws: created = live + every cause of ending; a victim is written down before its record is free;
# the session that asks (pinned) never pays for itself.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fwcore.dataplane.clock cimport (
    clock_arm, clock_catch_up, clock_disarm, clock_expiry_set, clock_set, clock_tick_after,
    clock_tick_from)
from fwcore.dataplane.digest cimport digest_add
from fwcore.dataplane.hosts cimport host_enter, host_head, host_leave
from fwcore.dataplane.key cimport key_hash
from fwcore.dataplane.layout cimport (
    COLLECTOR_NS, DIRTY_GAUGES, DIRTY_LIVE, DUE_COLLECT, DUE_OWED, EARLY_DROP_BUCKETS, END_CLOSED,
    END_EVICTED, END_EXPIRED, END_KILLED, END_TENSION, FW_ASSERT, META_FAMILY, META_PROTOCOL,
    META_ZONE, MIDSTREAM_GRACE, NEVER, NEWBORN_MAX, NIL, OBJECT_NONE, OBJECT_SCANNING, OWNER_CACHE,
    OWNER_SESSIONS, OWNER_SHM, PAGE_BYTES, PLACE_STATE, PROTECTED_BIT, RECORD_MASK, SESSION_ASSURED,
    SESSION_FROM_B, SESSION_HALF_OPEN, SESSION_LOCAL, SESSION_ONCE, SESSION_PROXIED, SLOT_BIT,
    STATE_CLOSED, STATE_CLOSE_WAIT, STATE_FIN_WAIT, STATE_LAST_ACK, STATE_TIME_WAIT, TRACKER_LINUX,
    WHEN_FULL_BUCKET, WHEN_FULL_EARLY_DROP, WHEN_FULL_REFUSE, WHEN_FULL_REPLACE_OLDEST, control_t,
    counters_t, fw_bucket, fw_clear_128, fw_clock_t, fw_key_t, fw_prefetch, fw_put32, fw_put64,
    fw_t, fw_unlikely, line_t, memory_t, packet_t, record_t, session_row_t, table_t,
)
from fwcore.dataplane.pages cimport (
    pages_fit_sessions, pages_for_one_more, pages_release_buffers, pages_take, pages_used)
from fwcore.dataplane.shaping cimport shaped_t, shaper_t
from fwcore.dataplane.table cimport (
    table_free, table_link, table_oldest, table_oldest_free, table_unlink)


cdef inline void session_key(const record_t *r, fw_key_t *key) noexcept nogil:
    key.meta = r.meta
    key.a_lo = r.a_lo
    key.b_lo = r.b_lo
    key.a_hi = r.a_hi
    key.b_hi = r.b_hi


cdef inline uint64_t session_hash(const control_t *control, const record_t *r) noexcept nogil:
    cdef fw_key_t key
    session_key(r, &key)
    return key_hash(&key, control.config.seeds)


# --- rows ---------------------------------------------------------------------------------------

cdef inline void row_address(uint8_t *out, uint64_t lo, uint64_t hi, int family) noexcept nogil:
    memset(out, 0, 16)
    if family == 4:
        fw_put32(out, <uint32_t>lo)
    else:
        fw_put64(out, hi)
        fw_put64(out + 8, lo)


cdef inline void row_passed(
    const shaper_t *s, uint32_t record, session_row_t *row,
) noexcept nogil:
    """What its meters and queues dropped did not pass."""
    cdef const shaped_t *held = &s.shaped[record]
    cdef int direction
    for direction in range(2):
        row.bytes[direction] -= held.dropped_bytes[direction]
        row.packets[direction] -= held.dropped[direction]


cdef inline void session_row(
    const fw_t *fw, uint32_t record, int cause, uint64_t hash_, session_row_t *row,
) noexcept nogil:
    """One session as others see it; cause 255 while it lives."""
    cdef const record_t *r = &fw.table.records[record]
    cdef int from_b = r.flags & SESSION_FROM_B
    cdef uint16_t port_a = <uint16_t>r.meta
    cdef uint16_t port_b = <uint16_t>(r.meta >> 16)
    row.family = META_FAMILY(r.meta)
    row.protocol = META_PROTOCOL(r.meta)
    row.zone = META_ZONE(r.meta)
    cdef uint8_t *initiator = row.initiator
    cdef uint8_t *responder = row.responder
    row_address(responder if from_b else initiator, r.a_lo, r.a_hi, row.family)
    row_address(initiator if from_b else responder, r.b_lo, r.b_hi, row.family)
    row.initiator_port = port_b if from_b else port_a
    row.responder_port = port_a if from_b else port_b
    row.policy = fw.control.policies.id[r.policy]
    row.state = PLACE_STATE[r.place]
    row.inspection = r.inspection
    row.cause = cause
    row.exposed = r.exposed
    row.flow = hash_
    row.created_ns = r.created_ns
    row.last_seen_ns = r.last_seen_ns
    row.ended_ns = fw.clock.now_ns if cause != 255 else 0
    row.created_packet = r.created_packet
    row.ended_packet = fw.packet if cause != 255 else 0
    row.bytes[0] = r.bytes[0]
    row.bytes[1] = r.bytes[1]
    row.packets[0] = r.packets[0]
    row.packets[1] = r.packets[1]
    if fw.shaper != NULL:
        row_passed(<const shaper_t *>fw.shaper, record, row)


# --- timers -------------------------------------------------------------------------------------

cdef inline uint64_t session_due_tick(
    const control_t *control, const fw_clock_t *clock, const record_t *r,
) noexcept nogil:
    """The first tick that begins at or after last_seen + timeout."""
    return clock_tick_from(control, clock, r.last_seen_ns + control.config.timeout_ns[r.timeout])


cdef inline uint64_t session_next_tick(
    const control_t *control, const fw_clock_t *clock, const record_t *r,
) noexcept nogil:
    """The same, cheaper for one that was seen just now. => `tick` is the present one"""
    cdef uint64_t tick
    if fw_unlikely(r.last_seen_ns != clock.now_ns or clock.tick_end_ns == NEVER):
        return session_due_tick(control, clock, r)
    tick = clock_tick_after(control, clock, r.timeout)
    FW_ASSERT(tick == session_due_tick(control, clock, r))
    return tick


cdef inline void session_arm(
    table_t *table, const control_t *control, fw_clock_t *clock, uint32_t record,
) noexcept nogil:
    """Sets the session's timer; the deadline comes nearer when this is now the next thing due. A
    slot in which others stand is no news: expiry comes by then at the latest."""
    clock_catch_up(control, clock)
    if fw_unlikely(clock_arm(
            table, clock, record, session_next_tick(control, clock, &table.records[record]))):
        clock_expiry_set(control, clock)


cdef inline void session_awaited(fw_t *fw, const record_t *r) noexcept nogil:
    """Rounds of idledrop, and who is owed pages, wait for sessions: for this one from now on.

    => session_arm made `tick` the present one.
    """
    cdef int64_t idle_ns = fw.clock.now_ns + fw.control.config.idledrop_idle_ns
    if fw.control.gate.idledrop and not r.flags & SESSION_LOCAL and idle_ns < fw.round_ns:
        fw.round_ns = idle_ns
    clock_set(&fw.clock, DUE_OWED, fw.clock.tick_end_ns)  # what of it is due, due_update finds out


cdef inline void session_set_timeout(
    table_t *table, const control_t *control, fw_clock_t *clock, uint32_t record, uint8_t timeout,
) noexcept nogil:
    """A shorter timeout moves the session in the wheel; a longer one waits for its slot."""
    cdef record_t *r = &table.records[record]
    cdef int shorter = control.config.timeout_ns[timeout] < control.config.timeout_ns[r.timeout]
    r.timeout = timeout
    if shorter:
        clock_disarm(table, clock, record)
        session_arm(table, control, clock, record)


cdef inline int session_past(
    const control_t *control, int64_t now_ns, const record_t *r,
) noexcept nogil:
    return r.last_seen_ns + control.config.timeout_ns[r.timeout] <= now_ns


cdef inline int session_timeout_cause(const record_t *r) noexcept nogil:
    """A session that had been closed ends `closed`, whatever found that its time was over."""
    if PLACE_STATE[r.place] == STATE_TIME_WAIT or PLACE_STATE[r.place] == STATE_CLOSED:
        return END_CLOSED
    return END_EXPIRED


# --- objects' pages -----------------------------------------------------------------------------

cdef inline uint64_t object_pages(const record_t *r) noexcept nogil:
    """Pages that the object being scanned holds."""
    if r.object_phase != OBJECT_SCANNING:
        return 0
    return (r.object_bytes + PAGE_BYTES - 1) // PAGE_BYTES


cdef inline void object_end(memory_t *memory, const control_t *control, record_t *r) noexcept nogil:
    pages_release_buffers(memory, control, object_pages(r))
    r.object_phase = OBJECT_NONE
    r.object_bytes = 0


cdef enum:
    LOG_ENDED = 1       # config.log: every session that ends has its row in the log
    LOG_VICTIMS = 2     # only those evicted, taken by tension or killed

cdef enum:
    ENDS = 2            # packets of a victim's trace: which made it, and which ended it
    TRACE_BYTES = 17    # ... with the cause

# --- exposure -----------------------------------------------------------------------------------

cdef inline void exposure_enter(
    counters_t *counters, record_t *r, int cause, uint32_t wire,
) noexcept nogil:
    """A packet passed without an inspection that its policy asks for."""
    counters.exposed_packets[cause] += 1
    counters.exposed_bytes[cause] += wire
    if not r.exposed:
        counters.exposure_sessions += 1
    if not (r.exposed >> cause) & 1:
        counters.exposed_sessions[cause] += 1
        r.exposed |= 1 << cause


# --- the end ------------------------------------------------------------------------------------

cdef inline uint32_t reborn_tag(uint64_t hash_) noexcept nogil:
    """A victim's trace: what its place does not say of the hash. 0 is none."""
    return <uint32_t>(hash_ >> 32) | 1


cdef inline void victim_write(fw_t *fw, uint32_t record, int cause, uint64_t hash_) noexcept nogil:
    """The ledger's row, the digest's 17 bytes, and the trace by which a rebirth is known."""
    cdef record_t *r = &fw.table.records[record]
    cdef uint64_t ends[ENDS]
    cdef uint8_t trace[TRACE_BYTES]
    session_row(fw, record, cause, hash_,
                &fw.victims[fw.counters.victims % fw.control.config.victims_max])
    fw.counters.victims += 1
    ends[0] = r.created_packet
    ends[1] = fw.packet
    memcpy(trace, ends, sizeof(ends))
    trace[sizeof(ends)] = cause
    digest_add(&fw.victim_digest, trace, TRACE_BYTES)
    fw.table.reborn[hash_ & fw.table.reborn_mask] = reborn_tag(hash_)
    if META_PROTOCOL(r.meta) == 6:
        grave_dig(&fw.table, &fw.control, hash_)


# --- graves: victims that get no grace ----------------------------------------------------------
#
# A place holds hash | 1 of the one TCP victim it has had, GRAVE_SHARED after a second. While
# midstream is not `grace` nobody asks, and nothing is written: from the first victim gone by so,
# nobody can be told from a victim (graves_blind).

cdef enum:
    GRAVE_SHARED = 2

cdef inline void grave_dig(table_t *table, const control_t *control, uint64_t hash_) noexcept nogil:
    cdef uint64_t *grave = &table.graves[hash_ & table.graves_mask]
    if control.config.midstream != MIDSTREAM_GRACE:
        table.graves_blind = 1
    elif grave[0] == 0 or grave[0] == (hash_ | 1):
        grave[0] = hash_ | 1
    else:
        grave[0] = GRAVE_SHARED


cdef inline void grave_forgive(fw_t *fw, uint64_t hash_) noexcept nogil:
    """A SYN has made the session anew."""
    if (fw.counters.victims and fw.control.config.midstream == MIDSTREAM_GRACE
            and fw.table.graves[hash_ & fw.table.graves_mask] == (hash_ | 1)):
        fw.table.graves[hash_ & fw.table.graves_mask] = 0


cdef inline int grave_free(const fw_t *fw, uint64_t hash_, uint8_t *unsure) noexcept nogil:
    """1: certainly no victim of this run. *unsure: it cannot be told."""
    cdef uint64_t grave
    if fw.counters.victims == 0:
        return 1
    grave = fw.table.graves[hash_ & fw.table.graves_mask]
    if fw.table.graves_blind or grave == GRAVE_SHARED:
        unsure[0] = 1
        return 0
    return grave != (hash_ | 1)


cdef inline void age_unlink(table_t *table, const record_t *r) noexcept nogil:
    if r.age_prev != NIL:
        table.records[r.age_prev].age_next = r.age_next
    else:
        table.oldest = r.age_next
    if r.age_next != NIL:
        table.records[r.age_next].age_prev = r.age_prev
    else:
        table.newest = r.age_prev


cdef inline void session_end(fw_t *fw, uint32_t record, int cause) noexcept nogil:
    """=> the record is in use. Everything that it held is given back; the record is free."""
    cdef record_t *r = &fw.table.records[record]
    cdef uint64_t hash_ = session_hash(&fw.control, r)
    cdef int taken = cause == END_EVICTED or cause == END_TENSION or cause == END_KILLED
    if taken:
        victim_write(fw, record, cause, hash_)
    if fw.control.config.log == LOG_ENDED or (taken and fw.control.config.log == LOG_VICTIMS):
        session_row(fw, record, cause, hash_, &fw.log[fw.log_fill])
        fw.log_fill += 1
    if r.flags & SESSION_PROXIED:
        if fw_unlikely(r.question):
            fw.inspector.forget(fw, record)
        object_end(&fw.memory, &fw.control, r)
        pages_release_buffers(&fw.memory, &fw.control, fw.control.config.proxy_session_pages)
        fw.memory.proxy_sessions -= 1
        fw.memory.dirty |= DIRTY_GAUGES
    if r.flags & (SESSION_HALF_OPEN | SESSION_ONCE):
        fw.memory.half_open -= 1
    fw.memory.spared -= (r.flags & SESSION_LOCAL) != 0
    if fw_unlikely(fw.shaper != NULL):
        fw.egress.end(fw, record)
    table_unlink(&fw.table, fw_bucket(hash_, fw.control.config.buckets), record)
    clock_disarm(&fw.table, &fw.clock, record)
    host_leave(&fw.table, &fw.control, r.host)
    if fw.control.config.when_full == WHEN_FULL_REPLACE_OLDEST:
        age_unlink(&fw.table, r)
    fw.memory.live -= 1
    fw.counters.ended[cause] += 1
    fw.memory.dirty |= DIRTY_LIVE
    pages_fit_sessions(&fw.memory, &fw.control, fw.memory.live)
    table_free(&fw.table, record)


# --- tension and eviction -----------------------------------------------------------------------

cdef inline void session_prefetch_end(
    const table_t *table, const control_t *control, uint32_t record, int taken,
) noexcept nogil:
    """Sets on their way what session_end will touch beside the record, which is there already.

    `taken`: it is to be a victim, which leaves a trace.
    """
    cdef const record_t *r = &table.records[record]
    cdef uint64_t hash_ = session_hash(control, r)
    cdef uint32_t after = table.timers[record]
    fw_prefetch(&table.lines[fw_bucket(hash_, control.config.buckets)])
    fw_prefetch(&table.hosts[r.host])
    if taken:
        fw_prefetch(&table.reborn[hash_ & table.reborn_mask])
    if r.flags & SESSION_FROM_B:
        fw_prefetch(host_head(table, control, r.b_lo, r.b_hi, META_FAMILY(r.meta)))
    else:
        fw_prefetch(host_head(table, control, r.a_lo, r.a_hi, META_FAMILY(r.meta)))
    if after != NIL:
        fw_prefetch(&table.records[after].timer_prev)
    if not r.timer_prev & SLOT_BIT:
        fw_prefetch(&table.timers[r.timer_prev])


cdef inline void tension_prefetch(
    table_t *table, const control_t *control, uint64_t bucket,
) noexcept nogil:
    """Three steps ahead of the pass: line, oldest record, what ending that one touches."""
    cdef const line_t *line
    cdef uint32_t record
    if bucket + 36 < control.config.buckets:
        fw_prefetch(&table.lines[bucket + 36])
    if bucket + 24 < control.config.buckets:
        line = &table.lines[bucket + 24]
        if line.count:
            record = line.record[0] & RECORD_MASK
            fw_prefetch(&table.records[record])
            fw_prefetch(&table.records[record].a_hi)
            fw_prefetch(&table.timers[record])
    if bucket + 12 < control.config.buckets:
        line = &table.lines[bucket + 12]
        if line.count:
            session_prefetch_end(table, control, line.record[0] & RECORD_MASK, 1)


cdef inline uint64_t tension_pass(fw_t *fw, uint32_t pinned, int full_table) noexcept nogil:
    """Deletes the oldest session of every bucket [H]; how many that were."""
    cdef uint64_t bucket, deleted = 0
    cdef uint32_t record
    for bucket in range(fw.control.config.buckets):
        tension_prefetch(&fw.table, &fw.control, bucket)
        record = table_oldest_free(&fw.table, bucket, pinned)
        if record != NIL:
            session_end(fw, record, END_TENSION)
            deleted += 1
    fw.breath -= fw.control.config.buckets
    fw.counters.stampede_passes += 1
    fw.counters.passes_for[full_table] += 1
    fw.counters.deleted[full_table] += deleted
    return deleted


cdef inline uint64_t request_need(
    const memory_t *memory, const control_t *control, uint64_t pages, int session,
) noexcept nogil:
    """Pages the request asks for as things stand: a slab may have a hole."""
    if session:
        pages += pages_for_one_more(memory, control)
    return pages


cdef inline int request_forced(const fw_t *fw) noexcept nogil:
    """Whether the pressure script wants this request's first attempt to fail."""
    cdef uint32_t i
    for i in range(fw.control.config.fail_nths):
        if fw.counters.memory_page_requests == fw.control.config.fail_nth[i]:
            return 1
    for i in range(fw.control.config.fail_everys):
        if fw.counters.memory_page_requests % fw.control.config.fail_every[i] == 0:
            return 1
    return 0


cdef inline void request_failed(fw_t *fw, uint64_t need, int forced) noexcept nogil:
    """What the memory law looks at: an unforced failure while every machine was off."""
    cdef uint64_t used
    fw.counters.memory_page_failures += 1
    if forced or fw.control.gate.mode:
        return
    fw.counters.failures_off += 1
    used = pages_used(&fw.memory.pages)
    if fw.counters.failures_off == 1 or used < fw.counters.failure_used:
        fw.counters.failure_used = used
        fw.counters.failure_free = fw.memory.pages.free
        fw.counters.failure_shm = fw.memory.pages.owner[OWNER_SHM]
        fw.counters.failure_cache = fw.memory.pages.owner[OWNER_CACHE]
        fw.counters.failure_need = need


cdef inline int request_pages(
    fw_t *fw, int owner, uint64_t pages, int session, uint32_t pinned,
) noexcept nogil:
    """All or nothing: `pages` for owner, and what one more session needs when session is 1.

    0: refused, nothing was taken; the cache and the oldest of every bucket may be gone.
    """
    cdef uint64_t need = request_need(&fw.memory, &fw.control, pages, session)
    cdef int forced
    if need == 0:
        return 1
    fw.counters.memory_page_requests += 1
    forced = request_forced(fw)
    if forced or not pages_take(&fw.memory, need):
        request_failed(fw, need, forced)
        fw.counters.stampede_pages_needed += need
        tension_pass(fw, pinned, 0)
        need = request_need(&fw.memory, &fw.control, pages, session)
        if not pages_take(&fw.memory, need):
            return 0
    fw.memory.pages.owner[owner] += pages
    fw.memory.pages.owner[OWNER_SESSIONS] += need - pages
    return 1


cdef inline int session_closes(const record_t *r) noexcept nogil:
    """Linux tcp_can_early_drop: what the collector takes although it is assured."""
    cdef uint8_t state = PLACE_STATE[r.place]
    return (state == STATE_FIN_WAIT or state == STATE_CLOSE_WAIT or state == STATE_LAST_ACK
            or state == STATE_TIME_WAIT or state == STATE_CLOSED)


cdef inline int session_assured(const record_t *r, int tracker) noexcept nogil:
    """TCP that has been established, UDP answered; tracker linux: what learned it (SESSION_*)."""
    if tracker == TRACKER_LINUX or META_PROTOCOL(r.meta) == 6:
        return (r.flags & SESSION_ASSURED) != 0
    return META_PROTOCOL(r.meta) == 17 and r.packets[0] != 0 and r.packets[1] != 0


cdef inline uint64_t evict_not_assured(
    fw_t *fw, uint32_t bucket, uint64_t enough, int closing,
) noexcept nogil:
    """Ends every session of the bucket that is not assured (or closes, when `closing`), oldest
    first, as long as no less than `enough` live; how many."""
    cdef line_t *line = &fw.table.lines[bucket]
    cdef uint32_t direction = 0
    cdef uint32_t record
    cdef uint64_t deleted = 0
    while fw.memory.live >= enough:  # bounded by the chain: each turn ends a session or goes one on
        if direction >= line.count:
            if line.next == NIL or line.count == 0:
                return deleted
            line = &fw.table.lines[line.next]
            direction = 0
            continue
        record = line.record[direction] & RECORD_MASK
        if session_assured(&fw.table.records[record], fw.control.config.tracker) and not (
                closing and session_closes(&fw.table.records[record])):
            direction += 1
            continue
        if line.count == 1 and direction == 0 and line != &fw.table.lines[bucket]:
            session_end(fw, record, END_EVICTED)  # the line itself is given back
            return deleted + 1
        session_end(fw, record, END_EVICTED)
        deleted += 1
    return deleted


cdef inline int64_t collector_next(const fw_clock_t *clock) noexcept nogil:
    """Passes stand at whole minutes after the first packet [D]."""
    cdef int64_t passes = (clock.now_ns - clock.start_ns) // COLLECTOR_NS
    return clock.start_ns + (passes + 1) * COLLECTOR_NS


cdef inline void evict_collect(fw_t *fw) noexcept nogil:
    """Linux gc_worker after a refusal: from bucket 0, until 95 % of the table stand."""
    cdef uint64_t enough = fw.control.config.max_connections // 100 * 95
    cdef uint64_t bucket
    clock_set(&fw.clock, DUE_COLLECT, NEVER)
    if enough == 0:
        return
    for bucket in range(fw.control.config.buckets):
        if fw.memory.live < enough:
            return
        evict_not_assured(fw, <uint32_t>bucket, enough, 1)


cdef inline int evict_early_drop(fw_t *fw, uint32_t bucket) noexcept nogil:
    cdef uint64_t step
    for step in range(EARLY_DROP_BUCKETS):
        if step == fw.control.config.buckets:
            break
        if evict_not_assured(fw, <uint32_t>((bucket + step) % fw.control.config.buckets), 0, 0):
            return 1
    if fw.control.config.tracker == TRACKER_LINUX and fw.clock.due_ns[DUE_COLLECT] == NEVER:
        clock_set(&fw.clock, DUE_COLLECT, collector_next(&fw.clock))
    return 0


cdef inline void evict_from_bucket(fw_t *fw, uint32_t bucket) noexcept nogil:
    """The oldest of this bucket; of the next one that holds any when it is empty."""
    cdef uint64_t _step
    cdef uint32_t record
    for _step in range(fw.control.config.buckets):
        record = table_oldest(&fw.table, bucket)
        if record != NIL:
            session_end(fw, record, END_EVICTED)
            return
        bucket = bucket + 1 if bucket + 1 < fw.control.config.buckets else 0


cdef inline int session_make_room(fw_t *fw, uint32_t bucket) noexcept nogil:
    """A free record, by `when_full` if need be; 0: the table stays full."""
    cdef int how = fw.control.config.when_full
    if fw.table.free_record != NIL:
        return 1
    if how == WHEN_FULL_REFUSE:
        return 0
    if how == WHEN_FULL_BUCKET:
        evict_from_bucket(fw, bucket)
    elif how == WHEN_FULL_REPLACE_OLDEST:
        session_end(fw, fw.table.oldest, END_EVICTED)
    elif how == WHEN_FULL_EARLY_DROP:
        return evict_early_drop(fw, bucket)
    else:
        return tension_pass(fw, NIL, 1) != 0
    return 1


# --- the beginning ------------------------------------------------------------------------------

cdef inline void session_enter(
    table_t *table, memory_t *memory, const control_t *control, uint32_t number,
    const fw_key_t *key, uint32_t bucket, uint64_t hash_,
) noexcept nogil:
    """The first free record is in use: index, host and order of creation know it. => its key and
    flags stand, and its key is not in the table."""
    cdef record_t *r = &table.records[number]
    table.free_record = table.timers[number]
    if r.flags & SESSION_FROM_B:
        r.host = host_enter(table, control, key.b_lo, key.b_hi, META_FAMILY(key.meta))
    else:
        r.host = host_enter(table, control, key.a_lo, key.a_hi, META_FAMILY(key.meta))
    table_link(table, bucket, hash_, number | (PROTECTED_BIT if r.flags & SESSION_LOCAL else 0))
    if control.config.when_full == WHEN_FULL_REPLACE_OLDEST:
        r.age_prev = table.newest
        r.age_next = NIL
        if table.newest != NIL:
            table.records[table.newest].age_next = number
        else:
            table.oldest = number
        table.newest = number
    memory.live += 1
    memory.spared += (r.flags & SESSION_LOCAL) != 0


cdef inline uint32_t session_begin(
    fw_t *fw, const packet_t *p, uint32_t entry_flags,
) noexcept nogil:
    """A record for the packet's key; => a record is free, pages were granted.

    entry_flags: SESSION_FROM_B, SESSION_LOCAL. State, timeout, policy and inspection are the
    caller's to set before session_arm.
    """
    cdef uint32_t record = fw.table.free_record
    cdef record_t *r = &fw.table.records[record]
    FW_ASSERT(record != NIL)
    fw_clear_128(r)
    r.meta = p.key.meta
    r.a_lo = p.key.a_lo
    r.b_lo = p.key.b_lo
    r.a_hi = p.key.a_hi
    r.b_hi = p.key.b_hi
    r.flags = entry_flags
    r.created_ns = r.last_seen_ns = fw.clock.now_ns
    r.created_packet = fw.packet
    session_enter(&fw.table, &fw.memory, &fw.control, record, &p.key, p.bucket, p.hash)
    if fw_unlikely(fw.table.newborn != NULL):
        fw.table.newborn[fw.counters.sessions_created % NEWBORN_MAX] = record
    fw.counters.sessions_created += 1
    if fw.memory.live > fw.counters.sessions_peak:
        fw.counters.sessions_peak = fw.memory.live
    if fw.counters.victims and (
            fw.table.reborn[p.hash & fw.table.reborn_mask] == reborn_tag(p.hash)):
        fw.counters.sessions_reborn += 1
        fw.table.reborn[p.hash & fw.table.reborn_mask] = 0
    fw.memory.dirty |= DIRTY_LIVE
    return record
