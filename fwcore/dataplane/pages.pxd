# Pages by owner, and the gauges the control plane watches.
#
# Laws: used = base + sessions + shm + queues; used + cache + free = total; a page has one owner.
# Slab pages of sessions follow from the number of live sessions alone. Whoever moves a gauge sets
# fw.dirty.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fwcore.dataplane.layout cimport (
    GAUGE_COUNT, GAUGE_FREE_PAGES, GAUGE_IPS_FULL, GAUGE_LIVE_SESSIONS, GAUGE_PROXY_SESSIONS,
    GAUGE_SHM_PAGES, GAUGE_USED_PAGES, OWNER_BASE, OWNER_CACHE, OWNER_QUEUES, OWNER_SESSIONS,
    OWNER_SHM, PEAK_FREE, PEAK_QUEUES, PEAK_USED, fw_t, pages_t,
)


cdef inline uint64_t pages_used(const pages_t *pages) noexcept nogil:
    return (pages.owner[OWNER_BASE] + pages.owner[OWNER_SESSIONS] + pages.owner[OWNER_SHM]
            + pages.owner[OWNER_QUEUES])


cdef inline uint64_t pages_for_sessions(const fw_t *fw, uint64_t live) noexcept nogil:
    """Pages that `live` sessions occupy in the appliance."""
    if fw.config.preallocated:
        return fw.config.preallocated_pages
    if fw.config.sessions_per_page:
        return (live + fw.config.sessions_per_page - 1) // fw.config.sessions_per_page
    return live * fw.config.pages_per_session


cdef inline int pages_take(fw_t *fw, uint64_t need) noexcept nogil:
    """Takes `need` pages out of free, reclaiming cache when short; 0: not enough (cache went)."""
    cdef pages_t *pages = &fw.pages
    cdef uint64_t missing
    if pages.free < need:
        missing = need - pages.free
        if missing > pages.owner[OWNER_CACHE]:
            missing = pages.owner[OWNER_CACHE]
        pages.owner[OWNER_CACHE] -= missing
        pages.free += missing
        fw.dirty = 1
    if pages.free < need:
        return 0
    pages.free -= need
    fw.dirty = 1
    return 1


cdef inline void pages_release_buffers(fw_t *fw, uint64_t count) noexcept nogil:
    """Buffers given up by shm stay as cache up to its limit; what is beyond becomes free."""
    cdef pages_t *pages = &fw.pages
    cdef uint64_t kept = 0
    if count == 0:
        return
    pages.owner[OWNER_SHM] -= count
    if pages.owner[OWNER_CACHE] < fw.config.cache_limit_pages:
        kept = fw.config.cache_limit_pages - pages.owner[OWNER_CACHE]
        if kept > count:
            kept = count
    pages.owner[OWNER_CACHE] += kept
    pages.free += count - kept
    fw.dirty = 1


cdef inline void pages_fit_sessions(fw_t *fw, uint64_t live) noexcept nogil:
    """Slab pages that fewer sessions no longer need become free."""
    cdef uint64_t need = pages_for_sessions(fw, live)
    if need < fw.pages.owner[OWNER_SESSIONS]:
        fw.pages.free += fw.pages.owner[OWNER_SESSIONS] - need
        fw.pages.owner[OWNER_SESSIONS] = need
        fw.dirty = 1


cdef inline int64_t pages_gauge(const fw_t *fw, int gauge) noexcept nogil:
    if gauge == GAUGE_USED_PAGES:
        return <int64_t>pages_used(&fw.pages)
    if gauge == GAUGE_FREE_PAGES:
        return <int64_t>fw.pages.free
    if gauge == GAUGE_SHM_PAGES:
        return <int64_t>fw.pages.owner[OWNER_SHM]
    if gauge == GAUGE_PROXY_SESSIONS:
        return <int64_t>fw.proxy_sessions
    if gauge == GAUGE_LIVE_SESSIONS:
        return <int64_t>fw.live
    return <int64_t>fw.ips_full


cdef inline void pages_note_peaks(fw_t *fw) noexcept nogil:
    """Peaks are taken where the machines look: after a packet, after a moment, after a stop."""
    cdef pages_t *pages = &fw.pages
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
    if fw.proxy_sessions > fw.counters.proxy_peak:
        fw.counters.proxy_peak = fw.proxy_sessions


cdef inline int pages_past_watermark(fw_t *fw) noexcept nogil:
    """Whether an armed gauge, as it stands now, left its quiet interval. Notes the peaks."""
    cdef int gauge
    cdef int64_t value
    pages_note_peaks(fw)
    for gauge in range(GAUGE_COUNT):
        value = pages_gauge(fw, gauge)
        if value <= fw.gate.low[gauge] or value >= fw.gate.high[gauge]:
            return 1
    return 0
