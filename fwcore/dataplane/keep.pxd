# Sessions written down, and linked anew: for a saved engine, and for a table of another size.
#
# Overview: what a session is stands in its record; index, hosts, order of creation and wheel follow
# from the records in order of creation, and from where each stood in the wheel. So they are not
# written down but made again, by the same functions that made them, and what is read from outside
# is looked at field by field before anything is linked.
#
# Laws: numbers after linking are places in the order of creation; those who stand in a slot of the
# same tick are gone through in the order as before, though all may stand on its lowest level now.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fwcore.dataplane.clock cimport clock_arm
from fwcore.dataplane.key cimport key_hash
from fwcore.dataplane.layout cimport (
    ASKED_COUNT, BLOCKED, EXPOSURE_COUNT, META_FAMILY, NIL, OBJECT_BYTES_MAX, OBJECT_PASSED,
    OBJECT_SCANNING, PLACE_COUNT, SESSION_HALF_OPEN, SESSION_ONCE, SESSION_PROXIED, TIMEOUT_COUNT,
    WHEEL_LEVELS, WHEEL_SLOTS, control_t, fw_bucket, fw_clock_t, fw_key_t, fw_t, memory_t,
    record_t, table_t,
)
from fwcore.dataplane.session cimport session_due_tick, session_enter, session_key
from fwcore.dataplane.table cimport table_find


cdef inline void keep_wheel(
    const table_t *table, const fw_clock_t *clock, const uint32_t *place, uint32_t *order,
    uint64_t *ticks,
) noexcept nogil:
    """Slot by slot, each list from its end, and the tick at which the slot begins.

    `place`: by record, its place in the order of creation. => room for all in both. Who arms
    them in this order, or in that of their ticks, goes through those of a tick as before.
    """
    cdef uint64_t base, found = 0, begin, end
    cdef uint32_t record, other
    cdef int level, slot
    for level in range(WHEEL_LEVELS):
        base = clock.tick >> 6 * level
        for slot in range(WHEEL_SLOTS):
            record = clock.head[level * WHEEL_SLOTS + slot]
            begin = found
            while record != NIL:  # bounded by the sessions of the slot
                order[found] = place[record]
                ticks[found] = (base + (slot - base) % WHEEL_SLOTS) << 6 * level
                found += 1
                record = table.timers[record]
            end = found
            while begin + 1 < end:  # the other way round
                end -= 1
                other = order[begin]
                order[begin] = order[end]
                order[end] = other
                begin += 1


cdef inline int keep_valid(
    const fw_clock_t *clock, const record_t *r, uint64_t policies, uint64_t last_packet,
) noexcept nogil:
    """Whether a record that comes from outside can be one: every index has something behind it,
    every time has been."""
    cdef uint8_t family = META_FAMILY(r.meta)
    if family != 4 and family != 6:
        return 0
    if family == 4 and (r.a_hi or r.b_hi or r.a_lo >> 32 or r.b_lo >> 32):
        return 0
    if r.place >= PLACE_COUNT or r.timeout >= TIMEOUT_COUNT or r.policy >= policies:
        return 0
    if r.asked >= ASKED_COUNT or r.inspection > 3:
        return 0
    if r.bypass > EXPOSURE_COUNT and r.bypass != BLOCKED:
        return 0
    if r.object_phase > OBJECT_PASSED or r.object_direction > 1 or r.object_cause >= EXPOSURE_COUNT:
        return 0
    if r.object_phase == OBJECT_SCANNING and (
            not r.flags & SESSION_PROXIED or r.object_bytes > OBJECT_BYTES_MAX):
        return 0
    if r.exposed >> EXPOSURE_COUNT or r.created_packet <= last_packet:
        return 0
    return 0 <= r.created_ns <= r.last_seen_ns <= clock.now_ns


cdef inline int keep_link(
    table_t *table, memory_t *memory, const control_t *control, const record_t *given,
) noexcept nogil:
    """The next record in order of creation; 0: its key is there already. => one is free."""
    cdef fw_key_t key
    cdef uint32_t number = table.free_record
    cdef uint32_t bucket
    cdef uint64_t hash_
    cdef record_t *r = &table.records[number]
    session_key(given, &key)
    hash_ = key_hash(&key, control.config.seeds)
    bucket = fw_bucket(hash_, control.config.buckets)
    if table_find(table, &key, hash_, bucket) != NIL:
        return 0
    r[0] = given[0]
    session_enter(table, memory, control, number, &key, bucket, hash_)
    memory.half_open += (r.flags & (SESSION_HALF_OPEN | SESSION_ONCE)) != 0
    memory.proxy_sessions += (r.flags & SESSION_PROXIED) != 0
    return 1


cdef inline int64_t keep_records(
    fw_t *fw, const record_t *records, uint64_t count, uint64_t policies,
) noexcept nogil:
    """Links records in order of creation; the place of the first that cannot be, or -1.

    => the table is empty, and has room; the clock stands.
    """
    cdef uint64_t i, last_packet = 0
    for i in range(count):
        if fw.inspector == NULL and (records[i].asked or records[i].question):
            return <int64_t>i
        if not keep_valid(&fw.clock, &records[i], policies, last_packet) or not keep_link(
                &fw.table, &fw.memory, &fw.control, &records[i]):
            return <int64_t>i
        last_packet = records[i].created_packet
    return -1


cdef inline int64_t keep_timers(
    table_t *table, const control_t *control, fw_clock_t *clock, const uint32_t *order,
    const uint64_t *ticks, uint64_t count, uint8_t *armed,
) noexcept nogil:
    """Arms every session, in the order of keep_wheel; the place of the first that cannot be, or -1.

    `armed`: a byte a session, zeros; written. => `count` live, their numbers are below it.
    """
    cdef uint64_t i, due
    for i in range(count):
        if order[i] >= count or armed[order[i]]:
            return <int64_t>i
        due = session_due_tick(control, clock, &table.records[order[i]])
        if due <= clock.tick:
            due = clock.tick + 1
        if ticks[i] <= clock.tick or ticks[i] > due:
            return <int64_t>i
        armed[order[i]] = 1
        clock_arm(table, clock, order[i], ticks[i])
    return -1
