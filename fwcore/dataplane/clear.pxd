# Every session ends at once, `cleared`: what session_end does for each, done for the whole table.
#
# Overview: index, hosts, wheel and chains of what is free are laid out as at the start; pages go
# back in one go, which leaves the same figures as one session after the other would. Fragments,
# victims' traces and counters stay.
#
# Law: nobody is told of each session, so that no log may be kept.

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from fwcore.dataplane.clock cimport clock_expiry_set
from fwcore.dataplane.layout cimport (
    END_CLEARED, NIL, OWNER_SHM, WHEEL_LEVELS, WHEEL_SLOTS, fw_t, host_t, line_t,
)
from fwcore.dataplane.pages cimport pages_fit_sessions, pages_release_buffers


cdef inline void table_lay_out(fw_t *fw, uint64_t hosts) noexcept nogil:
    """Nothing in the index, in the order of creation, in the wheel; every record and host free.

    => the first `hosts` hosts may have been used; the others stand as in a table just laid out.
    """
    cdef uint64_t i, connections = fw.config.max_connections
    cdef uint64_t lines = fw.config.buckets + (connections + 7) // 8
    memset(fw.lines, 0, lines * sizeof(line_t))
    for i in range(lines):
        fw.lines[i].next = NIL
        if fw.config.buckets <= i < lines - 1:
            fw.lines[i].next = <uint32_t>i + 1
    fw.free_line = <uint32_t>fw.config.buckets
    for i in range(connections):
        fw.timers[i].next = <uint32_t>i + 1 if i + 1 < connections else NIL
    for i in range(hosts):
        memset(&fw.hosts[i], 0, sizeof(host_t))
        fw.hosts[i].next = <uint32_t>i + 1 if i + 1 < connections else NIL
    fw.free_record = fw.free_host = fw.hosts_high = 0
    fw.oldest = fw.newest = NIL
    for i in range(<uint64_t>fw.host_mask + 1):
        fw.host_heads[i] = NIL
    for i in range(WHEEL_LEVELS):
        fw.clock.map[i] = 0
    for i in range(WHEEL_LEVELS * WHEEL_SLOTS):
        fw.clock.head[i] = NIL


cdef inline void table_clear(fw_t *fw) noexcept nogil:
    """=> between packets, config.log is 0."""
    cdef uint64_t i
    for i in range(fw.config.max_connections):
        fw.records[i].meta = 0
    table_lay_out(fw, fw.hosts_high)
    fw.counters.ended[END_CLEARED] += fw.live
    pages_release_buffers(fw, fw.pages.owner[OWNER_SHM] - fw.pages.script_shm)
    fw.live = fw.half_open = fw.proxy_sessions = 0
    pages_fit_sessions(fw, 0)
    clock_expiry_set(fw)
    fw.dirty = 1
