# Pages by owner, and the gauges the control plane watches.
#
# Laws: used = base + sessions + shm + queues; used + cache + free = total; a page has one owner.
# Slab pages of sessions follow from the number of live sessions alone. Whoever moves a gauge sets
# fw.memory.dirty.

from libc.stdint cimport int64_t, uint64_t

from fwcore.dataplane.layout cimport (
    DIRTY_GAUGES, GAUGE_COUNT, GAUGE_FREE_PAGES, GAUGE_LIVE_SESSIONS, GAUGE_PROXY_SESSIONS,
    GAUGE_SHM_PAGES, GAUGE_USED_PAGES, OWNER_BASE, OWNER_CACHE, OWNER_QUEUES, OWNER_SESSIONS,
    OWNER_SHM, PEAK_FREE, PEAK_QUEUES, PEAK_USED, control_t, fw_t, memory_t, pages_t,
)


cdef inline uint64_t pages_used(const pages_t *pages) noexcept nogil:
    return (pages.owner[OWNER_BASE] + pages.owner[OWNER_SESSIONS] + pages.owner[OWNER_SHM]
            + pages.owner[OWNER_QUEUES])


cdef inline uint64_t pages_for_sessions(const control_t *control, uint64_t live) noexcept nogil:
    """Pages that `live` sessions occupy in the appliance."""
    if control.config.preallocated:
        return control.config.preallocated_pages
    if control.config.sessions_per_page:
        return (live + control.config.sessions_per_page - 1) // control.config.sessions_per_page
    return live * control.config.pages_per_session


cdef inline uint64_t pages_for_one_more(
    const memory_t *memory, const control_t *control,
) noexcept nogil:
    """What another session needs: with slabs one where the last is full, which is known without a
    division. => sessions own the pages that they need."""
    cdef uint64_t slab = control.config.sessions_per_page
    if control.config.preallocated:
        return 0
    if slab:
        return memory.live >= memory.pages.owner[OWNER_SESSIONS] * slab
    return control.config.pages_per_session


cdef inline int pages_take(memory_t *memory, uint64_t need) noexcept nogil:
    """Takes `need` pages out of free, reclaiming cache when short; 0: not enough (cache went)."""
    cdef pages_t *pages = &memory.pages
    cdef uint64_t missing
    if pages.free < need:
        missing = need - pages.free
        if missing > pages.owner[OWNER_CACHE]:
            missing = pages.owner[OWNER_CACHE]
        pages.owner[OWNER_CACHE] -= missing
        pages.free += missing
        memory.dirty = DIRTY_GAUGES
    if pages.free < need:
        return 0
    pages.free -= need
    memory.dirty = DIRTY_GAUGES
    return 1


cdef inline void pages_release_buffers(
    memory_t *memory, const control_t *control, uint64_t count,
) noexcept nogil:
    """Buffers given up by shm stay as cache up to its limit; what is beyond becomes free."""
    cdef pages_t *pages = &memory.pages
    cdef uint64_t kept = 0
    if count == 0:
        return
    pages.owner[OWNER_SHM] -= count
    if pages.owner[OWNER_CACHE] < control.config.cache_limit_pages:
        kept = control.config.cache_limit_pages - pages.owner[OWNER_CACHE]
        if kept > count:
            kept = count
    pages.owner[OWNER_CACHE] += kept
    pages.free += count - kept
    memory.dirty = DIRTY_GAUGES


cdef inline void pages_fit_sessions(
    memory_t *memory, const control_t *control, uint64_t live,
) noexcept nogil:
    """Slab pages that fewer sessions no longer need become free."""
    cdef uint64_t slab = control.config.sessions_per_page
    cdef uint64_t need
    if slab and live + slab > memory.pages.owner[OWNER_SESSIONS] * slab:
        return  # as nearly always: the last slab is not empty, which is known without a division
    need = pages_for_sessions(control, live)
    if need < memory.pages.owner[OWNER_SESSIONS]:
        memory.pages.free += memory.pages.owner[OWNER_SESSIONS] - need
        memory.pages.owner[OWNER_SESSIONS] = need
        memory.dirty = DIRTY_GAUGES


cdef inline int64_t pages_gauge(const memory_t *memory, int gauge) noexcept nogil:
    if gauge == GAUGE_USED_PAGES:
        return <int64_t>pages_used(&memory.pages)
    if gauge == GAUGE_FREE_PAGES:
        return <int64_t>memory.pages.free
    if gauge == GAUGE_SHM_PAGES:
        return <int64_t>memory.pages.owner[OWNER_SHM]
    if gauge == GAUGE_PROXY_SESSIONS:
        return <int64_t>memory.proxy_sessions
    if gauge == GAUGE_LIVE_SESSIONS:
        return <int64_t>memory.live
    return <int64_t>memory.ips_full


cdef inline void pages_note_peaks(fw_t *fw) noexcept nogil:
    """Peaks are taken where the machines look: after a packet, after a moment, after a stop."""
    cdef pages_t *pages = &fw.memory.pages
    cdef uint64_t used = pages_used(pages)
    cdef int i
    for i in range(OWNER_QUEUES):
        if pages.owner[i] > pages.peak[i]:
            pages.peak[i] = pages.owner[i]
    if pages.free > pages.peak[PEAK_FREE]:
        pages.peak[PEAK_FREE] = pages.free
    if used > pages.peak[PEAK_USED]:
        pages.peak[PEAK_USED] = used
    if pages.owner[OWNER_QUEUES] > pages.peak[PEAK_QUEUES]:
        pages.peak[PEAK_QUEUES] = pages.owner[OWNER_QUEUES]
    if fw.memory.proxy_sessions > fw.counters.proxy_peak:
        fw.counters.proxy_peak = fw.memory.proxy_sessions


cdef inline int pages_past_watermark(fw_t *fw) noexcept nogil:
    """Whether an armed gauge, as it stands now, left its quiet interval. Notes the peaks. Nearly
    always none did, so all are compared and one branch is taken."""
    cdef int gauge
    cdef int past = 0
    cdef int64_t value
    pages_note_peaks(fw)
    for gauge in range(GAUGE_COUNT):
        value = pages_gauge(&fw.memory, gauge)
        past |= (value <= fw.control.gate.low[gauge]) | (value >= fw.control.gate.high[gauge])
    return past


cdef inline int pages_look(fw_t *fw) noexcept nogil:
    """Whether a gauge that moved left its quiet interval. => one did (memory.dirty). Most who come
    here have made or ended a session whose page was there: then one gauge is compared."""
    cdef int64_t live = <int64_t>fw.memory.live
    cdef int alone = not fw.memory.dirty & DIRTY_GAUGES and fw.memory.quiet
    fw.memory.dirty = 0
    if alone:
        return (live <= fw.control.gate.low[GAUGE_LIVE_SESSIONS]
                or live >= fw.control.gate.high[GAUGE_LIVE_SESSIONS])
    fw.memory.quiet = not pages_past_watermark(fw)
    return not fw.memory.quiet
