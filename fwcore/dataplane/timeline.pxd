# The timeline: a row of gauges and counters on a grid, and wherever the control plane asks.
#
# Overview: the grid has points at whole intervals after the first packet; those within a time in
# which nothing happens are left out. A full buffer keeps every second row of the grid, and those
# of events. With timeline_most_ns the grid is fine at first and widens as time goes by.
#
# Law: it is looked at and never looks: no verdict depends on it.

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memset

from fwcore.dataplane.clock cimport clock_set
from fwcore.dataplane.layout cimport (
    DUE_SAMPLE, END_EVICTED, END_TENSION, NEVER, OWNER_QUEUES, REASON_COUNT, VERDICT_COUNT,
    fw_t, sample_t,
)


cdef enum:
    GROWS_AT = 256         # points of the grid before it widens: 0.4 % of the time so far [D]


cdef inline void timeline_begin(fw_t *fw) noexcept nogil:
    """The first row is due with the first packet; without an interval none ever is."""
    fw.sample_step_ns = fw.control.config.timeline_ns
    clock_set(&fw.clock, DUE_SAMPLE, fw.clock.now_ns if fw.control.config.timeline_ns else NEVER)


cdef inline void timeline_halve(fw_t *fw) noexcept nogil:
    """Keeps every second row of the grid, and rows of events while they are no more than half.

    And samples half as often, where it was the grid that filled it: rows that the control plane
    asked for, however many at one moment, say nothing of how far apart the others may be.
    """
    cdef uint64_t i, asked = 0, kept = 0, halved = 0, room = fw.samples_room
    for i in range(room):
        asked += fw.samples[i].asked
    for i in range(room):
        if not fw.samples[i].asked or 2 * asked > room:
            halved += 1
            if halved % 2 == 0:
                continue
        fw.samples[kept] = fw.samples[i]
        kept += 1
    fw.samples_fill = kept
    if 2 * asked <= room:
        fw.sample_step_ns *= 2


cdef inline void timeline_take(fw_t *fw, uint8_t asked) noexcept nogil:
    """Writes one row; of an event, or of the grid. => the buffer has room for another.

    What is asked for and says what the last row says is not written again: who looks often at an
    engine that stands still would push its course out of the buffer.
    """
    cdef sample_t row
    cdef sample_t *last
    cdef uint64_t i
    cdef int verdict, reason
    if fw.samples_room == 0:
        return
    if fw.shaper != NULL:
        fw.egress.sample(fw, asked)     # pages of what leaves by now are free
    memset(&row, 0, sizeof(sample_t))
    row.time_ns = fw.clock.now_ns
    row.packet = fw.packet
    row.live = fw.memory.live
    row.created = fw.counters.sessions_created
    row.ended = fw.counters.sessions_created - fw.memory.live
    row.tension = fw.counters.ended[END_TENSION]
    row.evicted = fw.counters.ended[END_EVICTED]
    for i in range(OWNER_QUEUES):
        row.pages[i] = fw.memory.pages.owner[i]
    row.free = fw.memory.pages.free
    row.mode = fw.control.gate.mode
    for verdict in range(VERDICT_COUNT):
        for reason in range(REASON_COUNT):
            row.verdicts[verdict] += fw.counters.outcome[verdict][reason]
            row.reasons[reason] += fw.counters.outcome[verdict][reason]
    row.exposed_packets = row.verdicts[2]
    if asked and fw.samples_fill:
        last = &fw.samples[fw.samples_fill - 1]
        row.asked = last.asked
        if memcmp(&row, last, sizeof(sample_t)) == 0:
            last.asked = asked
            return
    row.asked = asked
    if fw.samples_fill == fw.samples_room:
        timeline_halve(fw)
    fw.samples[fw.samples_fill] = row
    fw.samples_fill += 1


cdef inline void timeline_plan(fw_t *fw, int64_t quiet_until_ns) noexcept nogil:
    """The next sample on the grid; none while nothing changes."""
    cdef int64_t steps = 1
    cdef int64_t last_ns = fw.clock.due_ns[DUE_SAMPLE]
    while (fw.sample_step_ns < fw.control.config.timeline_most_ns
            and (last_ns - fw.clock.start_ns) // fw.sample_step_ns >= GROWS_AT):
        fw.sample_step_ns *= 2
    if quiet_until_ns > last_ns:
        steps = (quiet_until_ns - last_ns + fw.sample_step_ns - 1) // fw.sample_step_ns
    clock_set(&fw.clock, DUE_SAMPLE, last_ns + steps * fw.sample_step_ns)
