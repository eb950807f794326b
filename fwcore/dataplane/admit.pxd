# A new session: may it be, and if so, how does it begin.
#
# Overview: verdict_miss passes the refusals in the order of semantics section 3: policy, gate,
# shaping, limits, room in the table, pages. What stands before the gate (admit_first) changes
# nothing, so that a decider may be asked of who passes it (decider.pxd), in the policy's place.
#
# Laws: a refused packet leaves no session.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fwcore.dataplane.gate cimport ask_t, policy_match
from fwcore.dataplane.hosts cimport host_find, host_live
from fwcore.dataplane.inspect cimport verdict_inspected
from fwcore.dataplane.layout cimport (
    ASKED_GATHERS, CLASS_SYN, CLASS_SYNACK, DECISION_ACCEPT, DECISION_COUNT, DECISION_DROP,
    DIRTY_GAUGES, FORWARD_DIRECTION, GATE_BYPASS, GATE_DROP, META_FAMILY, META_ZONE,
    MIDSTREAM_ALLOW, MIDSTREAM_GRACE, NIL, OWNER_BASE, OWNER_SHM, PLACE_NONE, PLACE_STATE,
    PLACE_TIMEOUT, POLICY_DENY, POLICY_LOCAL, REASON_DENIED, REASON_HALF_OPEN_LIMIT,
    REASON_HOST_LIMIT, REASON_ICMP_ORPHAN, REASON_NEW, REASON_NO_MEMORY, REASON_NO_SESSION,
    REASON_TABLE_FULL, REASON_TCP_INVALID, REPLY_DIRECTION, SESSION_ANSWERED, SESSION_ASSURED,
    SESSION_FROM_B, SESSION_HALF_OPEN, SESSION_LEARNS, SESSION_LOCAL, SESSION_ONCE, SESSION_PROXIED,
    STATE_ESTABLISHED, STATE_SYN_RECV, STATE_SYN_SENT, STATE_SYN_SENT2, TCP_FIRST, TCP_ILLEGAL,
    TIMEOUT_GRE, TIMEOUT_ICMP, TIMEOUT_OTHER, TIMEOUT_TCP_UNANSWERED, TIMEOUT_UDP, TRACKER_LINUX,
    TRACKER_PLAIN, VERDICT_DROP, VERDICT_FORWARD, config_t, control_t, fw_t, fw_unlikely, packet_t,
    record_t,
)
from fwcore.dataplane.outcome cimport outcome_of, verdict_invalid
from fwcore.dataplane.pages cimport pages_for_one_more
from fwcore.dataplane.session cimport (
    grave_forgive, grave_free, request_pages, session_arm, session_awaited, session_begin,
    session_make_room,
)


cdef inline int place_half_open(uint8_t place) noexcept nogil:
    cdef uint8_t state = PLACE_STATE[place]
    return ((1 << STATE_SYN_SENT | 1 << STATE_SYN_RECV | 1 << STATE_SYN_SENT2) >> state) & 1


cdef struct admission_t:
    # What verdict_miss finds out on its way.
    int direction               # of the packet: REPLY_DIRECTION is the responder's
    int from_b            # the initiator is endpoint b
    uint16_t policy       # index
    uint8_t action        # POLICY_*
    uint8_t inspection    # class bits
    uint8_t place         # the session's first
    uint8_t half_open
    uint8_t proxied
    uint8_t bypass        # 0, or 1 + EXPOSURE_*
    uint8_t unsure        # 1: mid-stream, and whether it is a victim cannot be told
    uint32_t shaped       # with a shaper: the row of it that matches + 1; 0: none


cdef inline void ask_make(const packet_t *p, int from_b, ask_t *ask) noexcept nogil:
    ask.source_lo = p.key.b_lo if from_b else p.key.a_lo
    ask.source_hi = p.key.b_hi if from_b else p.key.a_hi
    ask.destination_lo = p.key.a_lo if from_b else p.key.b_lo
    ask.destination_hi = p.key.a_hi if from_b else p.key.b_hi
    ask.zone = META_ZONE(p.key.meta)
    ask.protocol = p.protocol
    ask.family = META_FAMILY(p.key.meta)
    ask.has_ports = p.protocol == 6 or p.protocol == 17 or p.protocol == 132
    ask.port = 0
    if ask.has_ports:
        ask.port = <uint16_t>p.key.meta if from_b else <uint16_t>(p.key.meta >> 16)


cdef inline void admit_by(
    const control_t *control, const packet_t *p, uint32_t index, admission_t *a,
) noexcept nogil:
    """The policy that accepts it."""
    a.policy = <uint16_t>index
    a.action = control.policies.action[index]
    a.inspection = 0
    if p.protocol == 6 or p.protocol == 17:
        a.inspection = control.policies.inspection[index]


cdef inline int admit_policy(
    const control_t *control, const packet_t *p, admission_t *a,
) noexcept nogil:
    """0 when a policy accepts, else the reason."""
    cdef ask_t ask
    cdef uint32_t index
    a.policy = 0
    a.action = 0
    a.inspection = 0
    if control.policies.count == 0:
        return 0
    ask_make(p, a.from_b, &ask)
    index = policy_match(&control.policies, &ask)
    if index == NIL or control.policies.action[index] == POLICY_DENY:
        return REASON_DENIED
    admit_by(control, p, index, a)
    return 0


cdef inline int admit_decided(const fw_t *fw, const packet_t *p, admission_t *a) noexcept nogil:
    """The same by what a decider said of it."""
    cdef uint64_t index = fw.decided - DECISION_COUNT
    if (fw.decided == DECISION_DROP or index >= fw.control.policies.count
            or fw.control.policies.action[index] == POLICY_DENY):
        return REASON_DENIED
    admit_by(&fw.control, p, <uint32_t>index, a)
    return 0


cdef inline int admit_gate(const control_t *control, admission_t *a) noexcept nogil:
    """0 when the gate row lets the class in (inspected or bypassed), else the reason."""
    cdef int action = control.gate.action[a.inspection]
    a.bypass = 0
    a.proxied = 0
    if action == GATE_DROP:
        return control.gate.reason[a.inspection]
    if a.inspection & 2:
        if action == GATE_BYPASS:
            a.bypass = 1 + control.gate.cause[a.inspection]
        else:
            a.proxied = 1
    return 0


cdef inline uint32_t admitted_by(const control_t *control, const admission_t *a) noexcept nogil:
    """The id of the policy that lets it in."""
    return control.policies.id[a.policy] if control.policies.count else 0


cdef inline int admit_shaping(fw_t *fw, const packet_t *p, admission_t *a) noexcept nogil:
    """The row of shaping that matches; whether the limits of sessions of its meters let it in."""
    a.shaped = fw.egress.match(fw, p, a.from_b, admitted_by(&fw.control, a))
    return a.shaped != NIL


cdef inline int admit_limits(fw_t *fw, const packet_t *p, admission_t *a) noexcept nogil:
    """Half-open limit, sessions per host, proxy session table: 0 or the reason."""
    cdef const config_t *config = &fw.control.config
    cdef uint32_t host
    if a.half_open and config.half_open_limit and fw.memory.half_open >= config.half_open_limit:
        return REASON_HALF_OPEN_LIMIT
    if config.sessions_per_host:
        host = host_find(
            &fw.table, &fw.control, p.key.b_lo if a.from_b else p.key.a_lo,
            p.key.b_hi if a.from_b else p.key.a_hi, META_FAMILY(p.key.meta))
        if host != NIL and host_live(&fw.table.hosts[host]) >= config.sessions_per_host:
            return REASON_HOST_LIMIT
    if fw_unlikely(fw.shaper != NULL) and not admit_shaping(fw, p, a):
        return REASON_HOST_LIMIT
    if a.proxied and fw.memory.proxy_sessions >= fw.control.config.proxy_max_sessions:
        if fw.control.gate.full_action != GATE_BYPASS:
            return fw.control.gate.full_reason
        a.proxied = 0
        a.bypass = 1 + fw.control.gate.full_cause
    return 0


cdef inline int admit_midstream(
    const fw_t *fw, uint64_t hash_, int64_t now_ns, uint8_t *unsure,
) noexcept nogil:
    """Whether TCP without SYN may begin a session now."""
    if fw.control.config.midstream != MIDSTREAM_GRACE:
        return fw.control.config.midstream == MIDSTREAM_ALLOW
    if now_ns - fw.clock.start_ns >= fw.control.config.midstream_grace_ns:
        return 0
    return grave_free(fw, hash_, unsure)


cdef inline int admit_direction(const control_t *control, const packet_t *p) noexcept nogil:
    """Whose packet a first one is: a SYN+ACK is the responder's; mid-stream, so is one from a port
    below 1024 to another [D]."""
    cdef uint16_t port_a = <uint16_t>p.key.meta
    cdef uint16_t port_b = <uint16_t>(p.key.meta >> 16)
    if p.class_ == CLASS_SYNACK:
        return REPLY_DIRECTION
    if p.protocol != 6 or p.class_ == CLASS_SYN or not control.config.ports_decide:
        return FORWARD_DIRECTION
    if p.swapped:
        return REPLY_DIRECTION if port_b < 1024 <= port_a else FORWARD_DIRECTION
    return REPLY_DIRECTION if port_a < 1024 <= port_b else FORWARD_DIRECTION


cdef inline int admit_first(
    const fw_t *fw, const packet_t *p, int64_t now_ns, admission_t *a,
) noexcept nogil:
    """What a miss has to pass before the gate; 0 or the reason. Changes nothing but *a."""
    a.direction = admit_direction(&fw.control, p)
    a.from_b = p.swapped ^ a.direction
    a.place = PLACE_NONE
    a.unsure = 0
    if p.no_start:
        return REASON_ICMP_ORPHAN
    if p.protocol == 6:
        a.place = TCP_FIRST[fw.control.config.tracker][a.direction][p.class_]
        if a.place == TCP_ILLEGAL:
            return REASON_TCP_INVALID
        if not p.syn and not admit_midstream(fw, p.hash, now_ns, &a.unsure):
            return (REASON_TCP_INVALID if fw.control.config.tracker == TRACKER_LINUX
                    else REASON_NO_SESSION)
    a.half_open = p.protocol == 17 or place_half_open(a.place)
    return admit_policy(&fw.control, p, a)


cdef inline int admit_flow(fw_t *fw, const packet_t *p, admission_t *a) noexcept nogil:
    """Everything a miss has to pass, in order; 0 or the reason of the first refusal."""
    cdef int reason = admit_first(fw, p, fw.clock.now_ns, a)
    cdef uint64_t pages
    if reason == 0 and fw_unlikely(fw.decided != DECISION_ACCEPT):
        reason = admit_decided(fw, p, a)
    if reason == 0:
        reason = admit_gate(&fw.control, a)
    if reason == 0:
        reason = admit_limits(fw, p, a)
    if reason:
        fw.counters.grace_unsure += a.unsure
        return reason
    if not session_make_room(fw, p.bucket):
        return REASON_TABLE_FULL
    pages = fw.control.config.proxy_session_pages if a.proxied else 0
    if pages | pages_for_one_more(&fw.memory, &fw.control) and not request_pages(
            fw, OWNER_SHM, pages, 1, NIL):
        return REASON_NO_MEMORY
    return 0


cdef inline uint8_t timeout_of(
    const control_t *control, const packet_t *p, const admission_t *a,
) noexcept nogil:
    cdef int linux = control.config.tracker == TRACKER_LINUX
    if a.place != PLACE_NONE:
        if linux and a.direction == FORWARD_DIRECTION and PLACE_STATE[a.place] == STATE_ESTABLISHED:
            return TIMEOUT_TCP_UNANSWERED
        return PLACE_TIMEOUT[a.place]
    if linux and p.protocol == 47:
        return TIMEOUT_GRE
    if p.protocol == 17:
        return TIMEOUT_UDP
    if p.protocol == (1 if META_FAMILY(p.key.meta) == 4 else 58):
        return TIMEOUT_ICMP
    return TIMEOUT_OTHER


cdef inline uint32_t admit_begin(fw_t *fw, const packet_t *p, const admission_t *a) noexcept nogil:
    """The session that was let in; its record."""
    cdef uint32_t flags = SESSION_FROM_B if a.from_b else 0
    cdef uint32_t record
    cdef record_t *r
    if a.action == POLICY_LOCAL and p.protocol == 6:
        flags |= SESSION_LOCAL
    if fw.control.config.tracker == TRACKER_PLAIN:
        if PLACE_STATE[a.place] == STATE_ESTABLISHED:
            flags |= SESSION_ASSURED
    elif p.protocol == 6 or p.protocol == 17 or p.protocol == 47:
        flags |= SESSION_LEARNS | (SESSION_ANSWERED if a.direction == REPLY_DIRECTION else 0)
    if a.half_open:
        flags |= SESSION_ONCE if a.place == PLACE_NONE else SESSION_HALF_OPEN
        fw.memory.half_open += 1
    if a.proxied:
        flags |= SESSION_PROXIED
        fw.memory.proxy_sessions += 1
        fw.memory.dirty |= DIRTY_GAUGES
    record = session_begin(fw, p, flags)
    r = &fw.table.records[record]
    r.place = a.place
    r.policy = a.policy
    r.inspection = a.inspection
    r.bypass = a.bypass
    r.timeout = timeout_of(&fw.control, p, a)
    session_arm(&fw.table, &fw.control, &fw.clock, record)
    if fw_unlikely(fw.shaper != NULL):
        fw.egress.begin(fw, p, a.from_b, admitted_by(&fw.control, a), record, a.shaped)
    if fw_unlikely(fw.control.gate.idledrop | fw.memory.pages.short_[OWNER_BASE]
                   | fw.memory.pages.short_[OWNER_SHM]):
        session_awaited(fw, r)
    return record


cdef inline uint32_t verdict_miss(
    fw_t *fw, packet_t *p, uint32_t wire, uint32_t *record,
) noexcept nogil:
    """A packet without a session: makes one (*record), or says why not."""
    cdef admission_t a
    cdef record_t *r
    cdef int reason = admit_flow(fw, p, &a)
    p.direction = a.direction
    if reason == REASON_TCP_INVALID or reason == REASON_ICMP_ORPHAN:
        return verdict_invalid(&fw.control, reason)
    if reason:
        return outcome_of(VERDICT_DROP, reason)
    record[0] = admit_begin(fw, p, &a)
    if p.syn:
        grave_forgive(fw, p.hash)
    r = &fw.table.records[record[0]]
    r.packets[a.direction] = 1
    r.bytes[a.direction] = wire
    if a.inspection == 0:
        return outcome_of(VERDICT_FORWARD, REASON_NEW)
    if fw_unlikely(fw.inspector != NULL) and a.proxied:
        r.asked = ASKED_GATHERS
    return verdict_inspected(fw, record[0], p, wire, a.direction, REASON_NEW)
