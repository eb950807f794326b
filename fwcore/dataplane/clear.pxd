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
    DIRTY_GAUGES, END_CLEARED, NIL, OWNER_SHM, WHEEL_LEVELS, WHEEL_SLOTS, control_t, fw_clock_t,
    fw_t, host_t, line_t, table_t,
)
from fwcore.dataplane.pages cimport pages_fit_sessions, pages_release_buffers
from fwcore.dataplane.table cimport overflow_lines


cdef inline void table_lay_out(
    table_t *table, const control_t *control, fw_clock_t *clock, uint64_t hosts,
) noexcept nogil:
    """Nothing in the index, in the order of creation, in the wheel; every record and host free.

    => the first `hosts` hosts may have been used; the others stand as in a table just laid out.
    Overflow lines are as none was ever used (line_after), and stay untouched but for the last.
    """
    cdef uint64_t i, connections = control.config.max_connections
    cdef uint64_t buckets = control.config.buckets
    memset(table.lines, 0, buckets * sizeof(line_t))
    for i in range(buckets):
        table.lines[i].next = table.lines[i].hosts[0] = table.lines[i].hosts[1] = NIL
    table.lines[buckets + overflow_lines(control) - 1].next = NIL
    table.free_line = <uint32_t>buckets
    for i in range(connections):
        table.timers[i] = <uint32_t>i + 1 if i + 1 < connections else NIL
    for i in range(hosts):
        memset(&table.hosts[i], 0, sizeof(host_t))
        table.hosts[i].next = <uint32_t>i + 1 if i + 1 < connections else NIL
    table.free_record = table.records_high = table.free_host = table.hosts_high = 0
    table.oldest = table.newest = NIL
    for i in range(WHEEL_LEVELS):
        clock.map[i] = 0
    for i in range(WHEEL_LEVELS * WHEEL_SLOTS):
        clock.head[i] = NIL


cdef inline void table_clear(fw_t *fw) noexcept nogil:
    """=> between packets, config.log is 0."""
    cdef uint64_t i
    cdef line_t *overflow = fw.table.lines + fw.control.config.buckets
    for i in range(fw.control.config.max_connections):
        fw.table.records[i].meta = 0
    for i in range(overflow_lines(&fw.control)):
        if overflow[i].next:    # else it is untouched, and stays so
            overflow[i].next = 0
    table_lay_out(&fw.table, &fw.control, &fw.clock, fw.table.hosts_high)
    fw.counters.ended[END_CLEARED] += fw.memory.live
    pages_release_buffers(&fw.memory, &fw.control,
                          fw.memory.pages.owner[OWNER_SHM] - fw.memory.pages.script_shm)
    fw.memory.live = fw.memory.half_open = fw.memory.proxy_sessions = fw.memory.spared = 0
    pages_fit_sessions(&fw.memory, &fw.control, 0)
    clock_expiry_set(&fw.control, &fw.clock)
    fw.memory.dirty = DIRTY_GAUGES
