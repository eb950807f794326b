# The pressure script: steps that take and give back pages, and leaks, each at its nanosecond.
#
# Overview: what the script cannot have its owner is short of: asked for again at each tick, base
# before shm. A leak that is short stands still until a tick has settled what its owner owes.
#
# A leak may lose more pages between two packets than a machine could count one by one. So while
# nothing would stop for them they are taken together (leaks_run), by the law below.
#
# Laws: the script never takes more than there is; what it holds and what it is short of add up to
# what it asked for. Pages taken together leave what they would leave one after the other.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fwcore.dataplane.clock cimport clock_moved, clock_next_tick_ns, clock_set
from fwcore.dataplane.layout cimport (
    DIRTY_GAUGES, DUE_COUNT, DUE_LEAK, DUE_OWED, DUE_STEP, GAUGE_FREE_PAGES, GAUGE_SHM_PAGES,
    GAUGE_USED_PAGES, NEVER, NIL, OWNER_BASE, OWNER_CACHE, OWNER_SHM, PAGE_BYTES, control_t,
    fw_clock_t, fw_muldiv, fw_t, fw_unlikely, gate_t, leak_t, memory_t, pages_t, step_t,
)
from fwcore.dataplane.pages cimport (
    pages_gauge, pages_note_peaks, pages_release_buffers, pages_take)
from fwcore.dataplane.session cimport request_pages


cdef inline void script_take(fw_t *fw, int owner, uint64_t pages) noexcept nogil:
    """All of it or, after the pass, what there is; the rest is what the owner is short of."""
    cdef uint64_t there
    if request_pages(fw, owner, pages, 0, NIL):
        if owner == OWNER_SHM:
            fw.memory.pages.script_shm += pages
        return
    there = fw.memory.pages.free + fw.memory.pages.owner[OWNER_CACHE]
    if there > pages:
        there = pages
    if there > fw.memory.pages.free:
        fw.memory.pages.owner[OWNER_CACHE] -= there - fw.memory.pages.free
        fw.memory.pages.free = there
    fw.memory.pages.free -= there
    fw.memory.pages.owner[owner] += there
    if owner == OWNER_SHM:
        fw.memory.pages.script_shm += there
    fw.memory.pages.short_[owner] += pages - there
    fw.memory.dirty = DIRTY_GAUGES


cdef inline void script_give(
    memory_t *memory, const control_t *control, int owner, uint64_t pages,
) noexcept nogil:
    """Less of what is missing first; then base to free, shm to the cache."""
    cdef const pages_t *now = &memory.pages
    cdef uint64_t held = now.script_shm if owner == OWNER_SHM else now.owner[owner]
    if pages <= memory.pages.short_[owner]:
        memory.pages.short_[owner] -= pages
        return
    pages -= memory.pages.short_[owner]
    memory.pages.short_[owner] = 0
    if pages > held:
        pages = held
    if owner == OWNER_SHM:
        memory.pages.script_shm -= pages
        pages_release_buffers(memory, control, pages)
    else:
        memory.pages.owner[owner] -= pages
        memory.pages.free += pages
        memory.dirty = DIRTY_GAUGES


cdef inline int script_may_retry(const memory_t *memory) noexcept nogil:
    """Whether a tick can change anything for an owner that is short: pages, or whom to take."""
    if memory.pages.short_[OWNER_BASE] == 0 and memory.pages.short_[OWNER_SHM] == 0:
        return 0
    return memory.pages.free + memory.pages.owner[OWNER_CACHE] > 0 or memory.live > memory.spared


cdef inline int script_tick_due(const memory_t *memory, const control_t *control) noexcept nogil:
    """Whether the next tick has work: a retry, or a leak that may go on."""
    cdef uint32_t i
    if script_may_retry(memory):
        return 1
    for i in range(control.config.leaks):
        if memory.leaks[i].stalled and memory.pages.short_[memory.leaks[i].owner] == 0:
            return 1
    return 0


cdef inline void script_await(fw_t *fw) noexcept nogil:
    """A gauge moved: who is short of pages may have what came free at the next tick."""
    if fw_unlikely(fw.memory.pages.short_[OWNER_BASE] | fw.memory.pages.short_[OWNER_SHM]):
        clock_set(&fw.clock, DUE_OWED, clock_next_tick_ns(&fw.control, &fw.clock))


cdef inline int64_t leak_due_ns(const leak_t *leak, uint64_t page) noexcept nogil:
    """When the leak's page k is due: anchor + ceil(k * 4096 s / rate)."""
    cdef uint64_t wait = fw_muldiv(page, <uint64_t>PAGE_BYTES * 1000000000, leak.rate, 1)
    if wait >= <uint64_t>NEVER - <uint64_t>leak.anchor_ns:
        return NEVER
    return <int64_t>(<uint64_t>leak.anchor_ns + wait)


cdef inline void leak_arm(leak_t *leak) noexcept nogil:
    """The next page has its time."""
    leak.next_ns = leak_due_ns(leak, leak.taken + 1)


cdef inline void leaks_set(
    memory_t *memory, const control_t *control, fw_clock_t *clock,
) noexcept nogil:
    """The clock knows the next leaked page."""
    cdef int64_t next_ns = NEVER
    cdef uint32_t i
    for i in range(control.config.leaks):
        if memory.leaks[i].next_ns < next_ns:
            next_ns = memory.leaks[i].next_ns
    clock_set(clock, DUE_LEAK, next_ns)


cdef inline void steps_set(
    memory_t *memory, const control_t *control, fw_clock_t *clock,
) noexcept nogil:
    """The clock knows the next step."""
    cdef int more = memory.next_step < control.config.steps
    clock_set(clock, DUE_STEP, memory.steps[memory.next_step].time_ns if more else NEVER)


cdef inline void script_begin(
    memory_t *memory, const control_t *control, fw_clock_t *clock, int64_t time_ns,
) noexcept nogil:
    """Steps and leaks count from the first packet's time."""
    cdef uint32_t i
    for i in range(control.config.steps):
        memory.steps[i].time_ns += time_ns
    for i in range(control.config.leaks):
        memory.leaks[i].anchor_ns += time_ns
        leak_arm(&memory.leaks[i])
    steps_set(memory, control, clock)
    leaks_set(memory, control, clock)


cdef inline void script_move(
    memory_t *memory, const control_t *control, fw_clock_t *clock, int64_t to_ns,
) noexcept nogil:
    """The clock is about to be set back: what is to come stays as far off."""
    cdef int64_t by_ns = clock_moved(clock, clock.start_ns, to_ns) - clock.start_ns
    cdef uint32_t i
    for i in range(memory.next_step, control.config.steps):
        memory.steps[i].time_ns += by_ns
    for i in range(control.config.leaks):
        memory.leaks[i].anchor_ns = clock_moved(clock, memory.leaks[i].anchor_ns, to_ns)
        if not memory.leaks[i].stalled:
            leak_arm(&memory.leaks[i])
    steps_set(memory, control, clock)
    leaks_set(memory, control, clock)


cdef inline void leaks_resume(
    memory_t *memory, const control_t *control, fw_clock_t *clock, int64_t at_ns,
) noexcept nogil:
    """Leaks whose owner is no longer short go on from this tick."""
    cdef uint32_t i
    cdef leak_t *leak
    for i in range(control.config.leaks):
        leak = &memory.leaks[i]
        if leak.stalled and memory.pages.short_[leak.owner] == 0:
            leak.stalled = 0
            leak.anchor_ns = at_ns
            leak.taken = 0
            leak_arm(leak)
    leaks_set(memory, control, clock)


cdef inline void script_retry(fw_t *fw, int64_t at_ns) noexcept nogil:
    """At a tick: what an owner is short of is asked for again, base before shm."""
    cdef int owner
    cdef uint64_t missing
    for owner in range(OWNER_BASE, OWNER_SHM + 1):
        missing = fw.memory.pages.short_[owner]
        if missing and script_may_retry(&fw.memory):
            fw.memory.pages.short_[owner] = 0
            script_take(fw, owner, missing)
    leaks_resume(&fw.memory, &fw.control, &fw.clock, at_ns)


cdef inline void script_steps(fw_t *fw, int64_t at_ns) noexcept nogil:
    """Steps due at this moment, in the order of the file."""
    cdef const step_t *step
    if at_ns < fw.clock.due_ns[DUE_STEP]:
        return
    while (fw.memory.next_step < fw.control.config.steps
           and fw.memory.steps[fw.memory.next_step].time_ns <= at_ns):
        step = &fw.memory.steps[fw.memory.next_step]
        fw.memory.next_step += 1
        if step.pages > 0:
            script_take(fw, step.owner, <uint64_t>step.pages)
        elif step.pages < 0:
            script_give(&fw.memory, &fw.control, step.owner, <uint64_t>-step.pages)
    steps_set(&fw.memory, &fw.control, &fw.clock)


cdef inline void script_leaks(fw_t *fw, int64_t at_ns) noexcept nogil:
    """Leaked pages due at this moment. One that cannot be had stalls its leak."""
    cdef uint32_t i
    cdef leak_t *leak
    if at_ns < fw.clock.due_ns[DUE_LEAK]:
        return
    for i in range(fw.control.config.leaks):
        leak = &fw.memory.leaks[i]
        while leak.next_ns <= at_ns:  # several pages a ns at most at absurd rates; each is taken
            if fw.memory.pages.short_[leak.owner]:
                fw.memory.pages.short_[leak.owner] += 1
            else:
                script_take(fw, leak.owner, 1)
            if fw.memory.pages.short_[leak.owner]:
                leak.stalled = 1
                leak.next_ns = NEVER
            else:
                leak.taken += 1
                leak_arm(leak)
    leaks_set(&fw.memory, &fw.control, &fw.clock)


# --- leaked pages together ----------------------------------------------------------------------

cdef inline uint64_t leak_pages(const leak_t *leak, int64_t until_ns) noexcept nogil:
    """Pages that fall due up to a time: the largest k whose leak_due_ns is no later, less taken."""
    if leak.next_ns > until_ns:   # stalled ones too: NEVER
        return 0
    return fw_muldiv(<uint64_t>until_ns - <uint64_t>leak.anchor_ns, leak.rate,
                     <uint64_t>PAGE_BYTES * 1000000000, 0) - leak.taken


cdef inline int script_fails_within(const fw_t *fw, uint64_t requests) noexcept nogil:
    """Whether the script wants one of the next so many page requests to fail."""
    cdef uint64_t before = fw.counters.memory_page_requests
    cdef uint32_t i
    for i in range(fw.control.config.fail_nths):
        if before < fw.control.config.fail_nth[i] <= before + requests:
            return 1
    for i in range(fw.control.config.fail_everys):
        if (before + requests) // fw.control.config.fail_every[i] > (
                before // fw.control.config.fail_every[i]):
            return 1
    return 0


cdef inline int gauge_quiet(
    const memory_t *memory, const gate_t *gate, int gauge, int64_t by,
) noexcept nogil:
    """Whether the gauge is within its quiet interval, as it stands and moved by so much."""
    cdef int64_t value = pages_gauge(memory, gauge)
    return (gate.low[gauge] < value < gate.high[gauge]
            and gate.low[gauge] < value + by < gate.high[gauge])


cdef inline int leaks_quiet(const fw_t *fw, int64_t until_ns) noexcept nogil:
    """Whether every page leaked up to a time is had, and stops for nothing: then nor does one
    before it, for each gauge goes one way."""
    cdef const pages_t *pages = &fw.memory.pages
    cdef const gate_t *gate = &fw.control.gate
    cdef uint64_t there = pages.free + pages.owner[OWNER_CACHE], count, all_ = 0, shm = 0
    cdef uint32_t i
    for i in range(fw.control.config.leaks):
        count = leak_pages(&fw.memory.leaks[i], until_ns)
        if count > there - all_ or (count and pages.short_[fw.memory.leaks[i].owner]):
            return 0
        all_ += count
        if fw.memory.leaks[i].owner == OWNER_SHM:
            shm += count
    return (not script_fails_within(fw, all_)
            and gauge_quiet(&fw.memory, gate, GAUGE_USED_PAGES, <int64_t>all_)
            and gauge_quiet(&fw.memory, gate, GAUGE_SHM_PAGES, <int64_t>shm)
            and gauge_quiet(&fw.memory, gate, GAUGE_FREE_PAGES,
                            -<int64_t>(all_ if all_ < pages.free else pages.free)))


cdef inline int64_t leaks_quiet_until(const fw_t *fw, int64_t until_ns) noexcept nogil:
    """The last time up to this one until which leaks_quiet holds, or now."""
    cdef int64_t low = fw.clock.now_ns, high = until_ns, middle
    if leaks_quiet(fw, high):
        return high
    while low + 1 < high:  # bounded by the bits of a time
        middle = low + (high - low) // 2
        if leaks_quiet(fw, middle):
            low = middle
        else:
            high = middle
    return low


cdef inline void leaks_run(fw_t *fw, int64_t until_ns) noexcept nogil:
    """Takes together the leaked pages of moments at which nothing else happens, up to the first
    that stops. => the moments before are done, and what their gauges say has been looked at"""
    cdef leak_t *leak
    cdef uint64_t count
    cdef uint32_t i
    cdef int what
    for what in range(DUE_COUNT):
        if what != DUE_LEAK and fw.clock.due_ns[what] <= until_ns:
            until_ns = fw.clock.due_ns[what] - 1
    if fw.clock.due_ns[DUE_LEAK] > until_ns:
        return
    until_ns = leaks_quiet_until(fw, until_ns)
    for i in range(fw.control.config.leaks):
        leak = &fw.memory.leaks[i]
        count = leak_pages(leak, until_ns)
        if count == 0:
            continue
        pages_take(&fw.memory, count)
        fw.memory.pages.owner[leak.owner] += count
        if leak.owner == OWNER_SHM:
            fw.memory.pages.script_shm += count
        fw.counters.memory_page_requests += count
        leak.taken += count
        if leak_due_ns(leak, leak.taken) > fw.clock.now_ns:
            fw.clock.now_ns = leak_due_ns(leak, leak.taken)
        leak_arm(leak)
    pages_note_peaks(fw)
    fw.memory.dirty = fw.memory.quiet = 0
    leaks_set(&fw.memory, &fw.control, &fw.clock)
