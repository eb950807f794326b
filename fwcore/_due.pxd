# What falls due between packets: pressure script, leaks, expiry, the IPS buffer, samples.
#
# Overview: due_moments goes through the due moments up to a packet's time, in order. Within one:
# what the script is short of (at ticks), its steps, its leaks, expiry, IPS, sample; then, if an
# armed gauge left its quiet interval, or a tick of idledrop, it stops for the control plane.
#
# Law: moments at which nothing is due cost nothing; fw.deadline_ns is never later than the next.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from fwcore._layout cimport (
    END_EVICTED, END_TENSION, EXPIRE_BATCH, FW_ASSERT, NEVER, NIL, OWNER_BASE, OWNER_CACHE,
    OWNER_SHM, PAGE_BYTES, REASON_COUNT, STOP_NONE, STOP_TICK, STOP_TIME, VERDICT_COUNT, fw_muldiv,
    fw_prefetch, fw_t, leak_t, record_t, sample_t, step_t,
)
from fwcore._pages cimport pages_note_peaks, pages_past_watermark, pages_release_buffers
from fwcore._session cimport (
    evict_collect, request_pages, session_due_tick, session_end, session_past, session_prefetch_end,
    session_timeout_cause,
)
from fwcore._verdict cimport ips_drain
from fwcore._wheel cimport wheel_arm, wheel_isolate, wheel_next, wheel_take


# --- the pressure script ------------------------------------------------------------------------

cdef inline void script_take(fw_t *fw, int owner, uint64_t pages) noexcept nogil:
    """All of it or, after the pass, what there is; the rest is what the owner is short of."""
    cdef uint64_t there
    if request_pages(fw, owner, pages, 0, NIL):
        if owner == OWNER_SHM:
            fw.pages.script_shm += pages
        return
    there = fw.pages.free + fw.pages.owner[OWNER_CACHE]
    if there > pages:
        there = pages
    if there > fw.pages.free:
        fw.pages.owner[OWNER_CACHE] -= there - fw.pages.free
        fw.pages.free = there
    fw.pages.free -= there
    fw.pages.owner[owner] += there
    if owner == OWNER_SHM:
        fw.pages.script_shm += there
    fw.pages.short_[owner] += pages - there
    fw.dirty = 1


cdef inline void script_give(fw_t *fw, int owner, uint64_t pages) noexcept nogil:
    """Less of what is missing first; then base to free, shm to the cache."""
    cdef uint64_t held = fw.pages.script_shm if owner == OWNER_SHM else fw.pages.owner[owner]
    if pages <= fw.pages.short_[owner]:
        fw.pages.short_[owner] -= pages
        return
    pages -= fw.pages.short_[owner]
    fw.pages.short_[owner] = 0
    if pages > held:
        pages = held
    if owner == OWNER_SHM:
        fw.pages.script_shm -= pages
        pages_release_buffers(fw, pages)
    else:
        fw.pages.owner[owner] -= pages
        fw.pages.free += pages
        fw.dirty = 1


cdef inline int script_may_retry(const fw_t *fw) noexcept nogil:
    """Whether a tick can change anything for an owner that is short."""
    if fw.pages.short_[OWNER_BASE] == 0 and fw.pages.short_[OWNER_SHM] == 0:
        return 0
    return fw.pages.free + fw.pages.owner[OWNER_CACHE] > 0 or fw.live > 0


cdef inline int script_tick_due(const fw_t *fw) noexcept nogil:
    """Whether the next tick has work: a retry, or a leak that may go on."""
    cdef uint32_t i
    if script_may_retry(fw):
        return 1
    for i in range(fw.config.leaks):
        if fw.leaks[i].stalled and fw.pages.short_[fw.leaks[i].owner] == 0:
            return 1
    return 0


cdef inline void leak_arm(leak_t *leak) noexcept nogil:
    """When the next page is due: anchor + ceil(k * 4096 s / rate)."""
    cdef uint64_t wait = fw_muldiv(
        leak.taken + 1, <uint64_t>PAGE_BYTES * 1000000000, leak.rate, 1)
    if wait > <uint64_t>(NEVER - 1 - leak.anchor_ns):
        leak.next_ns = NEVER
    else:
        leak.next_ns = leak.anchor_ns + <int64_t>wait


cdef inline void leaks_resume(fw_t *fw, int64_t at_ns) noexcept nogil:
    """Leaks whose owner is no longer short go on from this tick."""
    cdef uint32_t i
    cdef leak_t *leak
    for i in range(fw.config.leaks):
        leak = &fw.leaks[i]
        if leak.stalled and fw.pages.short_[leak.owner] == 0:
            leak.stalled = 0
            leak.anchor_ns = at_ns
            leak.taken = 0
            leak_arm(leak)


cdef inline void script_retry(fw_t *fw, int64_t at_ns) noexcept nogil:
    """At a tick: what an owner is short of is asked for again, base before shm."""
    cdef int owner
    cdef uint64_t missing
    for owner in range(OWNER_BASE, OWNER_SHM + 1):
        missing = fw.pages.short_[owner]
        if missing and script_may_retry(fw):
            fw.pages.short_[owner] = 0
            script_take(fw, owner, missing)
    leaks_resume(fw, at_ns)


cdef inline void script_steps(fw_t *fw, int64_t at_ns) noexcept nogil:
    """Steps due at this moment, in the order of the file."""
    cdef const step_t *step
    while fw.next_step < fw.config.steps and fw.steps[fw.next_step].time_ns <= at_ns:
        step = &fw.steps[fw.next_step]
        fw.next_step += 1
        if step.pages > 0:
            script_take(fw, step.owner, <uint64_t>step.pages)
        elif step.pages < 0:
            script_give(fw, step.owner, <uint64_t>-step.pages)


cdef inline void script_leaks(fw_t *fw, int64_t at_ns) noexcept nogil:
    """Leaked pages due at this moment. One that cannot be had stalls its leak."""
    cdef uint32_t i
    cdef leak_t *leak
    for i in range(fw.config.leaks):
        leak = &fw.leaks[i]
        while leak.next_ns <= at_ns:  # several pages a ns at most at absurd rates; each is taken
            if fw.pages.short_[leak.owner]:
                fw.pages.short_[leak.owner] += 1
            else:
                script_take(fw, leak.owner, 1)
            if fw.pages.short_[leak.owner]:
                leak.stalled = 1
                leak.next_ns = NEVER
            else:
                leak.taken += 1
                leak_arm(leak)


# --- expiry -------------------------------------------------------------------------------------

cdef inline void expire_one(fw_t *fw, uint32_t record, uint32_t slot) noexcept nogil:
    """Ends a session whose time is over now; one that was seen since goes back into the wheel."""
    cdef record_t *r = &fw.records[record]
    wheel_isolate(fw, record, slot)
    if session_past(fw, r):
        session_end(fw, record, session_timeout_cause(r))
    else:
        wheel_arm(fw, record, session_due_tick(fw, r))


cdef inline void expire_tick(fw_t *fw, uint64_t tick) noexcept nogil:
    """Goes along the list of this tick, a batch at a time, so that the cache misses overlap."""
    cdef uint32_t batch[EXPIRE_BATCH]
    cdef uint32_t slot, record, count, i
    record = wheel_take(fw, tick, &slot)
    while record != NIL:  # bounded by the sessions of the slot
        count = 0
        while record != NIL and count < EXPIRE_BATCH:
            batch[count] = record
            count += 1
            fw_prefetch(&fw.records[record])
            fw_prefetch(&fw.records[record].a_hi)
            record = fw.timers[record].next
        for i in range(count):
            if session_past(fw, &fw.records[batch[i]]):
                session_prefetch_end(fw, batch[i])
        for i in range(count):
            expire_one(fw, batch[i], slot)


# --- the timeline -------------------------------------------------------------------------------

cdef inline void sample_take(fw_t *fw) noexcept nogil:
    """Writes one row; a full buffer keeps every second row.

    And it samples half as often, where it was the grid that filled it: rows that the control
    plane asked for, however many at one moment, say nothing of how far apart the others may be.
    """
    cdef sample_t *s
    cdef uint64_t i
    cdef int verdict, reason
    if fw.samples_room == 0:
        return
    if fw.samples_fill == fw.samples_room:
        for i in range(fw.samples_room // 2):
            fw.samples[i] = fw.samples[2 * i]
        fw.samples_fill = fw.samples_room // 2
        if (fw.now_ns - fw.start_ns) // fw.sample_step_ns >= <int64_t>fw.samples_fill:
            fw.sample_step_ns *= 2
    s = &fw.samples[fw.samples_fill]
    fw.samples_fill += 1
    memset(s, 0, sizeof(sample_t))
    s.time_ns = fw.now_ns
    s.packet = fw.packet
    s.live = fw.live
    s.created = fw.counters.created
    s.ended = fw.counters.created - fw.live
    s.tension = fw.counters.ended[END_TENSION]
    s.evicted = fw.counters.ended[END_EVICTED]
    for i in range(4):
        s.pages[i] = fw.pages.owner[i]
    s.free = fw.pages.free
    s.mode = fw.gate.mode
    for verdict in range(VERDICT_COUNT):
        for reason in range(REASON_COUNT):
            s.verdicts[verdict] += fw.counters.outcome[verdict][reason]
            s.reasons[reason] += fw.counters.outcome[verdict][reason]
    s.exposed_packets = s.verdicts[2]


cdef inline void sample_plan(fw_t *fw, int64_t quiet_until_ns) noexcept nogil:
    """The next sample on the grid; none while nothing changes."""
    cdef int64_t steps = 1
    if quiet_until_ns > fw.sample_ns:
        steps = (quiet_until_ns - fw.sample_ns + fw.sample_step_ns - 1) // fw.sample_step_ns
        if steps < 1:
            steps = 1
    fw.sample_ns += steps * fw.sample_step_ns


# --- moments ------------------------------------------------------------------------------------

cdef inline int64_t due_tick_ns(const fw_t *fw) noexcept nogil:
    """The next tick, for what is done at every one of them."""
    cdef int64_t ticks = (fw.now_ns - fw.start_ns) // fw.config.sweep_ns + 1
    return fw.start_ns + ticks * fw.config.sweep_ns


cdef inline int64_t due_round_ns(const fw_t *fw) noexcept nogil:
    """The next tick at which a round of idledrop may end something, or NEVER."""
    cdef int64_t next_ns, ticks
    if not fw.gate.idledrop or not fw.live or fw.round_ns == NEVER:
        return NEVER
    next_ns = due_tick_ns(fw)
    if fw.round_ns <= next_ns:
        return next_ns
    ticks = (fw.round_ns - fw.start_ns + fw.config.sweep_ns - 1) // fw.config.sweep_ns
    return fw.start_ns + ticks * fw.config.sweep_ns


cdef inline int64_t due_work_ns(const fw_t *fw) noexcept nogil:
    """The next moment at which something other than a sample is due, or NEVER."""
    cdef int64_t due = NEVER
    cdef int64_t at
    cdef uint64_t tick
    cdef uint32_t i
    if fw.next_step < fw.config.steps:
        due = fw.steps[fw.next_step].time_ns
    for i in range(fw.config.leaks):
        if fw.leaks[i].next_ns < due:
            due = fw.leaks[i].next_ns
    if fw.ips_full and fw.ips_due_ns < due:
        due = fw.ips_due_ns
    tick = wheel_next(&fw.wheel)
    if tick:
        at = fw.start_ns + <int64_t>tick * fw.config.sweep_ns
        if at < due:
            due = at
    if script_tick_due(fw):
        at = due_tick_ns(fw)
        if at < due:
            due = at
    if fw.collect_ns < due:
        due = fw.collect_ns
    at = due_round_ns(fw)
    return at if at < due else due


cdef inline void due_update(fw_t *fw) noexcept nogil:
    """=> fw.deadline_ns is the next moment."""
    fw.deadline_ns = due_work_ns(fw)
    if fw.config.timeline_ns and fw.sample_ns < fw.deadline_ns:
        fw.deadline_ns = fw.sample_ns


cdef inline int due_moment(fw_t *fw, int64_t at_ns, int64_t packet_ns) noexcept nogil:
    """One moment in its order; STOP_* when the control plane has to decide."""
    cdef int stop = STOP_NONE
    cdef int tick = (at_ns - fw.start_ns) % fw.config.sweep_ns == 0 and at_ns > fw.start_ns
    cdef int idledrop = due_round_ns(fw) == at_ns
    cdef int64_t quiet_until
    FW_ASSERT(at_ns >= fw.now_ns)
    fw.now_ns = at_ns
    if tick and script_tick_due(fw):
        script_retry(fw, at_ns)
    script_steps(fw, at_ns)
    script_leaks(fw, at_ns)
    if tick and wheel_next(&fw.wheel) * <uint64_t>fw.config.sweep_ns == <uint64_t>(
            at_ns - fw.start_ns):
        expire_tick(fw, <uint64_t>(at_ns - fw.start_ns) // <uint64_t>fw.config.sweep_ns)
    if fw.collect_ns <= at_ns:
        evict_collect(fw)
    if fw.ips_full and fw.ips_due_ns <= at_ns:
        ips_drain(fw, at_ns)
        fw.ips_full = 0
        fw.dirty = 1
    if idledrop and fw.live:
        stop = STOP_TIME | STOP_TICK
    if fw.config.timeline_ns and fw.sample_ns <= at_ns:
        sample_take(fw)
        quiet_until = due_work_ns(fw)
        sample_plan(fw, quiet_until if quiet_until < packet_ns else packet_ns)
    if fw.dirty and stop == STOP_NONE:  # a round of idledrop is still part of the moment
        fw.dirty = 0
        if pages_past_watermark(fw):
            stop = STOP_TIME
    return stop


cdef inline int due_moments(fw_t *fw, int64_t packet_ns) noexcept nogil:
    """Every moment up to the packet's, or a stop after one of them (call again)."""
    cdef int stop
    due_update(fw)
    while fw.deadline_ns <= packet_ns:  # each turn does what is due, or moves a sample on
        stop = due_moment(fw, fw.deadline_ns, packet_ns)
        due_update(fw)
        if stop:
            return stop
    return STOP_NONE
