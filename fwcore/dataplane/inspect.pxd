# Inspection: the object that a session's scan has grown to, and its place in the IPS buffer.
#
# With an inspector (inspector.pxd) a proxied session's first run of payload is gathered for it, and
# with the run's first bytes, or its end, the session leaves the proxy: the rest is the answer's.
#
# Laws: what is not scanned is counted as exposed, by cause; an object's pages are its session's.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fwcore.dataplane.clock cimport clock_set
from fwcore.dataplane.layout cimport (
    BLOCKED, CLASS_FIN, CLASS_RST, DIRTY_GAUGES, DUE_IPS, END_KILLED, EXPOSURE_INSPECTOR,
    EXPOSURE_IPS, EXPOSURE_NO_MEMORY, EXPOSURE_OVERSIZE, NEVER, OBJECT_BYPASS, OBJECT_KILL,
    OBJECT_NONE, OBJECT_PASSED, OBJECT_SCANNING, OWNER_SHM, PAGE_BYTES, REASON_BYPASS_CONSERVE,
    REASON_BYPASS_INSPECTOR, REASON_HIT, REASON_INSPECTOR_BLOCK, REASON_KILLED, REASON_NEW,
    SESSION_PROXIED, VERDICT_BYPASS, VERDICT_DROP, VERDICT_FORWARD, VERDICT_INSPECT, control_t,
    fw_clock_t, fw_drain, fw_drained_ns, fw_t, fw_unlikely, memory_t, packet_t, record_t,
)
from fwcore.dataplane.outcome cimport outcome_of
from fwcore.dataplane.pages cimport pages_release_buffers
from fwcore.dataplane.session cimport (
    exposure_enter, object_end, object_pages, request_pages, session_end,
)


cdef inline void exposure_count(fw_t *fw, record_t *r, int cause, uint32_t wire) noexcept nogil:
    """A packet passes without an inspection, unless it is dropped at egress."""
    if fw_unlikely(fw.shaper != NULL):
        fw.exposure = 1 + cause
    else:
        exposure_enter(&fw.counters, r, cause, wire)


cdef inline int bypass_reason(int cause, int reason) noexcept nogil:
    """A packet of a session that passes unscanned; one of another kind keeps its own reason."""
    if reason != REASON_NEW and reason != REASON_HIT:
        return reason
    if cause == EXPOSURE_INSPECTOR:
        return REASON_BYPASS_INSPECTOR
    return REASON_BYPASS_CONSERVE + cause


cdef inline uint32_t session_standing(
    fw_t *fw, record_t *r, uint32_t wire, int reason,
) noexcept nogil:
    """The session's outcome for a packet without payload; exposure is counted."""
    cdef int cause
    if r.inspection == 0:
        return outcome_of(VERDICT_FORWARD, reason)
    if r.bypass == BLOCKED:
        return outcome_of(VERDICT_DROP, REASON_INSPECTOR_BLOCK)
    if r.bypass:
        cause = r.bypass - 1
    elif r.inspection & 1 and fw.control.gate.ips_bypass:
        cause = EXPOSURE_IPS
    else:
        return outcome_of(VERDICT_INSPECT, reason)
    exposure_count(fw, r, cause, wire)
    return outcome_of(VERDICT_BYPASS, bypass_reason(cause, reason))


cdef inline void object_pass(
    memory_t *memory, const control_t *control, record_t *r, int cause,
) noexcept nogil:
    """The rest of the run goes unscanned; what was buffered is given up."""
    pages_release_buffers(memory, control, object_pages(r))
    r.object_bytes = 0
    r.object_phase = OBJECT_PASSED
    r.object_cause = cause


cdef inline int object_begin(fw_t *fw, record_t *r, int direction) noexcept nogil:
    """A run of payload begins; 0: the session is to be killed."""
    if fw.control.gate.object_start == OBJECT_KILL:
        return 0
    fw.counters.proxy_objects += 1
    r.object_direction = direction
    r.object_bytes = 0
    r.object_phase = OBJECT_SCANNING
    if fw.control.gate.object_start == OBJECT_BYPASS:
        fw.counters.proxy_objects_bypassed += 1
        object_pass(&fw.memory, &fw.control, r, fw.control.gate.object_cause)
    return 1


cdef inline int object_grow(fw_t *fw, uint32_t record, uint32_t payload) noexcept nogil:
    """Payload joins the object being scanned; 0: the session is to be killed."""
    cdef record_t *r = &fw.table.records[record]
    cdef uint64_t held = object_pages(r)
    cdef uint64_t total = r.object_bytes + payload
    cdef uint64_t need
    if total > fw.control.config.oversize_bytes:
        fw.counters.proxy_objects_oversize += 1
        object_pass(&fw.memory, &fw.control, r, EXPOSURE_OVERSIZE)
        return 1
    need = (total + PAGE_BYTES - 1) // PAGE_BYTES - held
    if need:
        if fw.control.gate.page_request == OBJECT_KILL:
            return 0
        if not request_pages(fw, OWNER_SHM, need, 0, record):
            if fw.control.gate.object_refused == OBJECT_KILL:
                return 0
            fw.counters.proxy_objects_bypassed += 1
            object_pass(&fw.memory, &fw.control, r, EXPOSURE_NO_MEMORY)
            return 1
    r.object_bytes = total
    return 1


cdef inline int object_over(fw_t *fw, uint32_t record) noexcept nogil:
    """The run is over; 1: an inspector is asked, and the proxy is done with the session."""
    cdef record_t *r = &fw.table.records[record]
    if fw_unlikely(r.asked) and r.object_phase == OBJECT_SCANNING and r.object_bytes:
        fw.inspector.ask(fw, record)
        return 1
    object_end(&fw.memory, &fw.control, r)
    return 0


cdef inline int object_step(
    fw_t *fw, uint32_t record, int direction, uint32_t payload,
) noexcept nogil:
    """A proxied session's payload; 0: the session is to be killed."""
    cdef record_t *r = &fw.table.records[record]
    if (r.object_phase != OBJECT_NONE and r.object_direction != direction
            and object_over(fw, record)):
        return 1
    if r.object_phase == OBJECT_NONE and not object_begin(fw, r, direction):
        return 0
    if r.object_phase != OBJECT_SCANNING:
        return 1
    if not object_grow(fw, record, payload):
        return 0
    if fw_unlikely(r.asked) and r.object_phase == OBJECT_SCANNING:
        fw.inspector.gather(fw, record, payload)
    return 1


cdef inline void ips_drain(
    memory_t *memory, const control_t *control, int64_t at_ns,
) noexcept nogil:
    """Takes out what the engine read since the last look; integers, the rest is carried.

    Without a limit (0) that is everything.
    """
    cdef uint64_t drained = fw_drain(
        <uint64_t>(at_ns - memory.ips_ns), control.config.ips_throughput_bps, &memory.ips_carry)
    memory.ips_ns = at_ns
    if drained >= memory.ips_level or control.config.ips_throughput_bps == 0:
        memory.ips_level = 0
        memory.ips_carry = 0
    else:
        memory.ips_level -= drained


cdef inline void ips_arm(
    memory_t *memory, const control_t *control, fw_clock_t *clock,
) noexcept nogil:
    """The first moment at which a full buffer will be half empty: now, where a setting made it so.

    => the buffer was drained up to now.
    """
    cdef uint64_t half = control.config.ips_socket_bytes // 2
    cdef int64_t wait = 0
    if memory.ips_level > half and control.config.ips_throughput_bps:
        wait = fw_drained_ns(
            memory.ips_level - half, control.config.ips_throughput_bps, memory.ips_carry)
    clock_set(clock, DUE_IPS, memory.ips_ns + wait if wait < NEVER - memory.ips_ns else NEVER)


cdef inline void ips_fill(fw_t *fw, uint32_t payload) noexcept nogil:
    """Payload of a flow session waits for the IPS engine."""
    if fw.control.config.ips_throughput_bps == 0:
        return
    ips_drain(&fw.memory, &fw.control, fw.clock.now_ns)
    fw.counters.ips_filled_bytes += payload
    fw.memory.ips_level += payload
    if fw.memory.ips_level > fw.control.config.ips_socket_bytes:
        fw.memory.ips_level = fw.control.config.ips_socket_bytes
    if fw.memory.ips_level == fw.control.config.ips_socket_bytes and not fw.memory.ips_full:
        fw.memory.ips_full = 1
        fw.counters.ips_full_count += 1
        fw.memory.dirty = DIRTY_GAUGES
    if fw.memory.ips_full:
        ips_arm(&fw.memory, &fw.control, &fw.clock)


cdef inline uint32_t verdict_inspected(
    fw_t *fw, uint32_t record, const packet_t *p, uint32_t wire, int direction, int reason,
) noexcept nogil:
    """A packet of a session whose policy asks for inspection; a legal step."""
    cdef record_t *r = &fw.table.records[record]
    cdef int passed = 0
    if fw_unlikely(r.bypass == BLOCKED):
        return outcome_of(VERDICT_DROP, REASON_INSPECTOR_BLOCK)
    if r.flags & SESSION_PROXIED:
        if p.payload:
            if not object_step(fw, record, direction, p.payload):
                session_end(fw, record, END_KILLED)
                return outcome_of(VERDICT_DROP, REASON_KILLED)
            passed = r.object_phase == OBJECT_PASSED
        if p.class_ == CLASS_FIN or p.class_ == CLASS_RST:
            object_over(fw, record)
    if p.payload and r.inspection & 1 and not fw.control.gate.ips_bypass:
        ips_fill(fw, p.payload)
    if passed:
        exposure_count(fw, r, r.object_cause, wire)
        return outcome_of(VERDICT_BYPASS, bypass_reason(r.object_cause, reason))
    return session_standing(fw, r, wire, reason)
