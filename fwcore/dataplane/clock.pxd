# The clock: now, the sessions' timers, and every deadline. Capture time is the only time.
#
# Overview: two things make a moment. Sessions have timers in a wheel: levels of 64 slots, those of
# level l 64^l ticks long. A session stands on the lowest level where its slot is less than 64 from
# the present one: within 63 ticks it is not touched again before its own. A slot is a doubly linked
# list of records. Arming is lazy: a packet does not move its session, the slot finds out when it
# falls due and arms it again. So the work is one step per session made or armed again, not per
# packet, and a silence of years costs nothing: the maps say which slot comes next.
# Whatever else falls due has one next time (DUE_*), which its owner sets; due.pxd goes through
# what has come, in its order.
#
# A clock that glitches is held: one packet moves it by max_step_ns at most. That costs nothing, for
# the deadline is never further off than that, and whoever reaches it is looked at anyway.
#
# Laws: deadline_ns is no later than the earliest of due_ns: one compare a packet. Every live
# session stands in one slot, later than `tick`, and no later than the tick that ends it, or the
# next one where that has passed. Moments at which nothing is due cost nothing.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fwcore.dataplane.layout cimport (
    CLOCK_MEMORY_NS, DUE_COUNT, DUE_EXPIRY, NEVER, NIL, RECORD_MASK, SLOT_BIT,
    TIME_MAX_NS, WHEEL_LEVELS, WHEEL_SLOTS, control_t, fw_clock_t, fw_clz64, fw_ctz64, fw_t,
    fw_unlikely, table_t,
)


# --- deadlines ----------------------------------------------------------------------------------

cdef inline void clock_set(fw_clock_t *clock, int what, int64_t at_ns) noexcept nogil:
    """The next time of what is due (DUE_*), NEVER: none. The deadline only comes nearer here."""
    clock.due_ns[what] = at_ns
    if at_ns < clock.deadline_ns:
        clock.deadline_ns = at_ns


cdef inline int64_t clock_earliest(const fw_clock_t *clock, int kinds) noexcept nogil:
    """The earliest of the first `kinds` of DUE_*, or NEVER."""
    cdef int64_t earliest = NEVER
    cdef int what
    for what in range(kinds):
        if clock.due_ns[what] < earliest:
            earliest = clock.due_ns[what]
    return earliest


cdef inline int64_t clock_next(const fw_clock_t *clock) noexcept nogil:
    """The next moment: the earliest of all, or the present one that is not done yet."""
    return clock.now_ns if clock.unfinished else clock_earliest(clock, DUE_COUNT)


cdef inline void clock_settle(fw_t *fw) noexcept nogil:
    """=> the deadline is the next moment, or the time from which a packet's is looked at: a step
    too far, or beyond all time."""
    cdef int64_t step_ns = fw.clock.now_ns + fw.control.config.max_step_ns
    if fw.clock.step_packet == fw.packet:  # between two stops before one packet: it goes no further
        step_ns = fw.clock.step_ns
    fw.clock.deadline_ns = clock_next(&fw.clock)
    if fw.control.config.max_step_ns and fw.clock.deadline_ns > step_ns:
        fw.clock.deadline_ns = step_ns
    if fw.clock.deadline_ns > TIME_MAX_NS + 1:
        fw.clock.deadline_ns = TIME_MAX_NS + 1


cdef inline int64_t clock_allowed(fw_t *fw, int64_t time_ns) noexcept nogil:
    """The time at which the packet about to be judged is: its own, or as far on as one step goes,
    which is counted. Asked again about the same packet it is the same."""
    if fw.control.config.max_step_ns == 0:
        return time_ns
    if fw.clock.step_packet != fw.packet:
        fw.clock.step_packet = fw.packet
        fw.clock.step_ns = fw.clock.now_ns + fw.control.config.max_step_ns
        if time_ns > fw.clock.step_ns:
            fw.counters.time_jumped += 1
    if time_ns > fw.clock.step_ns:
        time_ns = fw.clock.step_ns
    return time_ns if time_ns > fw.clock.now_ns else fw.clock.now_ns


cdef inline void clock_trust(fw_t *fw, int64_t time_ns) noexcept nogil:
    """The next packet moves the clock to this time, however far off."""
    fw.clock.step_packet = fw.counters.packets + 1
    fw.clock.step_ns = time_ns


# --- ticks --------------------------------------------------------------------------------------

cdef inline int64_t clock_tick_ns(
    const control_t *control, const fw_clock_t *clock, uint64_t tick,
) noexcept nogil:
    """When a tick begins, 0 with the first packet; NEVER, where that is later than all time."""
    cdef uint64_t since = tick * <uint64_t>control.config.sweep_ns
    if since > <uint64_t>NEVER - <uint64_t>clock.start_ns:
        return NEVER
    return <int64_t>(<uint64_t>clock.start_ns + since)


cdef inline uint64_t clock_tick_from(
    const control_t *control, const fw_clock_t *clock, int64_t time_ns,
) noexcept nogil:
    """The first tick that begins at this time or later."""
    return (<uint64_t>time_ns - <uint64_t>clock.start_ns + <uint64_t>control.config.sweep_ns - 1
            ) // <uint64_t>control.config.sweep_ns


cdef inline uint64_t clock_tick_after(
    const control_t *control, const fw_clock_t *clock, uint8_t timeout,
) noexcept nogil:
    """The first tick that begins a timeout from now, or later, without a division: most sessions
    are armed by it. => `tick` is the present one, and its end a time (not NEVER)."""
    cdef uint64_t sweep_ns = <uint64_t>control.config.sweep_ns
    cdef uint64_t into_ns = (    # since `tick` began, and what the timeout has beyond whole ones
        sweep_ns - <uint64_t>(clock.tick_end_ns - clock.now_ns)
        + control.timeouts[timeout].rest_ns)
    return (clock.tick + control.timeouts[timeout].ticks
            + <uint64_t>(into_ns > 0) + <uint64_t>(into_ns > sweep_ns))


cdef inline int64_t clock_next_tick_ns(
    const control_t *control, const fw_clock_t *clock,
) noexcept nogil:
    """The first tick after now."""
    return clock_tick_ns(control, clock, clock_tick_from(control, clock, clock.now_ns + 1))


cdef inline void clock_catch_up(const control_t *control, fw_clock_t *clock) noexcept nogil:
    """=> `tick` is the present one. For who arms: a slot reckoned from a tick long past could lie
    in the past itself. Nothing stands in the wheel that was due by then."""
    if fw_unlikely(clock.now_ns >= clock.tick_end_ns):
        clock.tick = (<uint64_t>(clock.now_ns - clock.start_ns)
                      // <uint64_t>control.config.sweep_ns)
        clock.tick_end_ns = clock_tick_ns(control, clock, clock.tick + 1)


cdef inline int64_t clock_moved(
    const fw_clock_t *clock, int64_t then_ns, int64_t to_ns,
) noexcept nogil:
    """A time as far from `to` as it is from now; what is longer ago than CLOCK_MEMORY_NS, so far.

    So nothing drifts out of 63 bits, however often the clock is set back.
    """
    cdef int64_t past = clock.now_ns - then_ns
    return to_ns - (past if past < CLOCK_MEMORY_NS else CLOCK_MEMORY_NS)


# --- the wheel ----------------------------------------------------------------------------------

cdef inline uint64_t clock_turned(uint64_t map_, uint64_t present) noexcept nogil:
    """The map of a level, bit 0 the slot in which the present tick is: empty but while that is gone
    through."""
    cdef int by = present % WHEEL_SLOTS
    return map_ >> by | map_ << (-by & 63)


cdef inline uint64_t clock_slot_tick(const fw_clock_t *clock) noexcept nogil:
    """The tick at which the first slot falls due; 0: none (ticks begin at 1)."""
    cdef uint64_t earliest = 0, present, tick, map_
    cdef int level
    for level in range(WHEEL_LEVELS):
        map_ = clock.map[level]
        if map_:
            present = clock.tick >> 6 * level
            tick = (present + fw_ctz64(clock_turned(map_, present))) << 6 * level
            if earliest == 0 or tick < earliest:
                earliest = tick
    return earliest


cdef inline uint32_t clock_slot(const fw_clock_t *clock, uint64_t tick) noexcept nogil:
    """Where who is due at this tick stands. => it is later than the present one"""
    cdef uint64_t ahead = tick - clock.tick
    cdef int level
    if ahead < WHEEL_SLOTS:
        return tick % WHEEL_SLOTS
    level = (63 - fw_clz64(ahead)) // 6
    if (tick >> 6 * level) - (clock.tick >> 6 * level) == WHEEL_SLOTS:
        level += 1
    return level * WHEEL_SLOTS + (tick >> 6 * level) % WHEEL_SLOTS


cdef inline int clock_arm(
    table_t *table, fw_clock_t *clock, uint32_t record, uint64_t tick,
) noexcept nogil:
    """Puts the record into the slot of its tick, or of the next one where that has passed; whether
    it is the first one there."""
    cdef uint32_t slot = clock_slot(clock, tick if tick > clock.tick else clock.tick + 1)
    cdef uint32_t after = clock.head[slot]
    table.records[record].timer_prev = SLOT_BIT | slot
    table.timers[record] = after
    if after != NIL:
        table.records[after].timer_prev = record
    else:
        clock.map[slot // WHEEL_SLOTS] |= <uint64_t>1 << (slot % WHEEL_SLOTS)
    clock.head[slot] = record
    return after == NIL


cdef inline void clock_disarm(table_t *table, fw_clock_t *clock, uint32_t record) noexcept nogil:
    """Takes the record out of the clock. => it stands in a slot."""
    cdef uint32_t before = table.records[record].timer_prev
    cdef uint32_t after = table.timers[record]
    cdef uint32_t slot
    if after != NIL:
        table.records[after].timer_prev = before
    if before & SLOT_BIT:
        slot = before & RECORD_MASK
        clock.head[slot] = after
        if after == NIL:
            clock.map[slot // WHEEL_SLOTS] &= ~(<uint64_t>1 << (slot % WHEEL_SLOTS))
    else:
        table.timers[before] = after


cdef inline void clock_expiry_set(const control_t *control, fw_clock_t *clock) noexcept nogil:
    """The next time of expiry is that of the first slot."""
    cdef uint64_t tick = clock_slot_tick(clock)
    clock_set(clock, DUE_EXPIRY, clock_tick_ns(control, clock, tick) if tick else NEVER)


cdef inline int clock_levels(uint64_t tick) noexcept nogil:
    """On how many levels a slot begins with this tick, which is not 0: from the lowest on."""
    cdef int levels = fw_ctz64(tick) // 6 + 1
    return levels if levels < WHEEL_LEVELS else WHEEL_LEVELS


cdef inline uint32_t clock_go_to(fw_clock_t *clock, uint64_t tick) noexcept nogil:
    """Goes on to a tick that is due, and gives the next slot that begins with it, or NIL.

    The highest level comes first: so it is all the same whether a session stood there or on a lower
    one (keep.pxd). Nothing armed from now on comes into them, for it would be due at this tick.
    """
    cdef int level
    cdef uint32_t place
    clock.tick = tick
    for level in range(clock_levels(tick) - 1, -1, -1):
        place = (tick >> 6 * level) % WHEEL_SLOTS
        if (clock.map[level] >> place) & 1:
            return level * WHEEL_SLOTS + place
    return NIL
