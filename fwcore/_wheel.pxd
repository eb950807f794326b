# The timer wheel: which sessions to look at when a tick begins.
#
# Overview: levels of 64 slots; level l holds ticks that differ from the present one in their l-th
# group of six bits first. A slot is a doubly linked list of records. Arming is lazy:
# a packet does not move its session, the slot finds out when it falls due and arms it again. So
# the work is one step per session made or armed again, not per packet, and a silence of years
# costs nothing: the maps say which slot comes next.

from libc.stdint cimport uint32_t, uint64_t

from fwcore._layout cimport (
    FW_ASSERT, NIL, PROTECTED_BIT, RECORD_MASK, WHEEL_LEVELS, WHEEL_SLOTS, fw_clz64, fw_ctz64,
    fw_t, fw_timer_t, wheel_t,
)


cdef inline uint64_t wheel_next(const wheel_t *wheel) noexcept nogil:
    """The tick at which the next slot falls due; 0: none (ticks begin at 1)."""
    cdef int level, shift
    cdef uint64_t slot
    for level in range(WHEEL_LEVELS):
        if wheel.map[level]:
            slot = fw_ctz64(wheel.map[level])
            shift = 6 * level
            return (wheel.now >> (shift + 6) << (shift + 6)) | slot << shift
    return 0


cdef inline void wheel_arm(fw_t *fw, uint32_t record, uint64_t tick) noexcept nogil:
    """Puts the record into the slot of its tick; => that is later than wheel.now."""
    cdef wheel_t *wheel = &fw.wheel
    cdef fw_timer_t *t = &fw.timers[record]
    cdef int level
    cdef uint32_t slot
    FW_ASSERT(tick > wheel.now)
    level = (63 - fw_clz64(tick ^ wheel.now)) // 6
    slot = level * WHEEL_SLOTS + ((tick >> (6 * level)) & (WHEEL_SLOTS - 1))
    t.prev = PROTECTED_BIT | slot
    t.next = wheel.head[slot]
    if t.next != NIL:
        fw.timers[t.next].prev = record
    else:
        wheel.map[level] |= <uint64_t>1 << (slot % WHEEL_SLOTS)
    wheel.head[slot] = record


cdef inline void wheel_disarm(fw_t *fw, uint32_t record) noexcept nogil:
    """Takes the record out of the wheel. => it stands in a slot."""
    cdef wheel_t *wheel = &fw.wheel
    cdef fw_timer_t *t = &fw.timers[record]
    cdef uint32_t slot
    if t.next != NIL:
        fw.timers[t.next].prev = t.prev
    if t.prev & PROTECTED_BIT:
        slot = t.prev & RECORD_MASK
        wheel.head[slot] = t.next
        if t.next == NIL:
            wheel.map[slot // WHEEL_SLOTS] &= ~(<uint64_t>1 << (slot % WHEEL_SLOTS))
    else:
        fw.timers[t.prev].next = t.next


cdef inline uint32_t wheel_take(fw_t *fw, uint64_t tick, uint32_t *taken) noexcept nogil:
    """Goes on to the tick of wheel_next: its slot's list, now out of the wheel; *taken: the slot.

    Whoever walks the list calls wheel_isolate on each record before arming or ending it: nothing
    armed from now on can come into the taken slot, for it would have to be due at this very tick.
    """
    cdef wheel_t *wheel = &fw.wheel
    cdef int level
    cdef uint32_t slot, head
    for level in range(WHEEL_LEVELS):
        if wheel.map[level]:
            slot = level * WHEEL_SLOTS + fw_ctz64(wheel.map[level])
            wheel.map[level] &= wheel.map[level] - 1
            wheel.now = tick
            head = wheel.head[slot]
            wheel.head[slot] = NIL
            taken[0] = slot
            return head
    return NIL


cdef inline void wheel_isolate(fw_t *fw, uint32_t record, uint32_t slot) noexcept nogil:
    """A record of a taken list, alone in its slot: it may be disarmed like any other."""
    fw.timers[record].prev = PROTECTED_BIT | slot
    fw.timers[record].next = NIL
