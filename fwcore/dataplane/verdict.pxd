# One packet through all of it: every branch ends in one verdict and one reason.
#
# Overview: verdict_packet dispatches on what parsing found; a key is looked up, a miss passes
# session_admit's refusals in the order of semantics section 3, a hit takes its TCP step, its object
# and its place in the IPS buffer. What a class may do comes from the gate row; nothing here knows
# why.
#
# Laws: exactly one outcome per packet, counted by the caller; a refused packet leaves no session.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fwcore.dataplane.clock cimport clock_set
from fwcore.dataplane.fragment cimport fragment_find, fragment_store
from fwcore.dataplane.gate cimport ask_t, policy_match
from fwcore.dataplane.hosts cimport host_find
from fwcore.dataplane.layout cimport (
    CLASS_FIN, CLASS_RST, CLASS_SYN, CLASS_SYNACK, DUE_IPS, END_CLASH, END_CLOSED, END_KILLED,
    EXPOSURE_IPS, EXPOSURE_NO_MEMORY, EXPOSURE_OVERSIZE, FORWARD_WAY, GATE_BYPASS, GATE_DROP,
    KIND_BROKEN, KIND_KEYED, KIND_LATER, KIND_MALFORMED, KIND_NON_IP, KIND_QUOTE,
    KIND_TRUNCATED, KIND_UNSUPPORTED, KIND_UNTRACKED, META_FAMILY, META_PROTOCOL, META_ZONE,
    MIDSTREAM_ALLOW, MIDSTREAM_GRACE, NEVER, NIL, OBJECT_BYPASS, OBJECT_KILL, OBJECT_NONE,
    OBJECT_PASSED, OBJECT_SCANNING, OWNER_BASE, OWNER_SHM, PAGE_BYTES, PLACE_NONE, PLACE_STATE,
    PLACE_TIMEOUT, POLICY_DENY, POLICY_LOCAL, REASON_BYPASS_CONSERVE, REASON_DENIED,
    REASON_FRAGMENT, REASON_FRAGMENT_ORPHAN, REASON_HALF_OPEN_LIMIT, REASON_HIT,
    REASON_HOST_LIMIT, REASON_ICMP_ORPHAN, REASON_KILLED, REASON_MALFORMED, REASON_NEW,
    REASON_NON_IP, REASON_NO_MEMORY, REASON_NO_SESSION, REASON_RELATED, REASON_TABLE_FULL,
    REASON_TCP_INVALID, REASON_TRUNCATED, REASON_UNSUPPORTED_LINK, REPLY_WAY, SESSION_ANSWERED,
    SESSION_ASSURED, SESSION_FROM_B, SESSION_HALF_OPEN, SESSION_LEARNS, SESSION_LOCAL,
    SESSION_ONCE, SESSION_PROXIED, STATE_ESTABLISHED, STATE_SYN_RECV, STATE_SYN_SENT,
    STATE_SYN_SENT2, TCP_AGAIN, TCP_FIRST, TCP_IGNORED, TCP_ILLEGAL, TCP_STEP, TIMEOUT_GRE,
    TIMEOUT_GRE_STREAM, TIMEOUT_ICMP, TIMEOUT_OTHER, TIMEOUT_TCP_UNANSWERED, TIMEOUT_UDP,
    TIMEOUT_UDP_STREAM, TRACKER_LINUX, TRACKER_PLAIN, UDP_STREAM_NS, VERDICT_BYPASS,
    VERDICT_DROP, VERDICT_FORWARD, VERDICT_INSPECT, config_t, control_t, fw_bucket, fw_clock_t,
    fw_drain, fw_drained_ns, fw_likely, fw_t, fw_unlikely, memory_t, packet_t, record_t,
)
from fwcore.dataplane.pages cimport pages_release_buffers
from fwcore.dataplane.parse cimport key_hash
from fwcore.dataplane.session cimport (
    exposure_enter, grave_forgive, grave_free, object_end, object_pages, request_pages, session_arm,
    session_awaited, session_begin, session_end, session_make_room, session_past,
    session_set_timeout, session_timeout_cause,
)
from fwcore.dataplane.table cimport table_find, table_same


cdef inline uint32_t outcome_of(int verdict, int reason) noexcept nogil:
    """Verdict in the low byte, reason in the next: the two bytes that the digest sees."""
    return verdict | reason << 8


# --- inspection ---------------------------------------------------------------------------------

cdef inline void exposure_count(fw_t *fw, record_t *r, int cause, uint32_t wire) noexcept nogil:
    """A packet passes without an inspection, unless it is dropped at egress."""
    if fw_unlikely(fw.shaper != NULL):
        fw.exposure = 1 + cause
    else:
        exposure_enter(fw, r, cause, wire)


cdef inline uint32_t session_standing(
    fw_t *fw, record_t *r, uint32_t wire, int reason,
) noexcept nogil:
    """The session's outcome for a packet without payload; exposure is counted."""
    cdef int cause
    if r.inspection == 0:
        return outcome_of(VERDICT_FORWARD, reason)
    if r.bypass:
        cause = r.bypass - 1
    elif r.inspection & 1 and fw.control.gate.ips_bypass:
        cause = EXPOSURE_IPS
    else:
        return outcome_of(VERDICT_INSPECT, reason)
    exposure_count(fw, r, cause, wire)
    if reason == REASON_NEW or reason == REASON_HIT:
        reason = REASON_BYPASS_CONSERVE + cause
    return outcome_of(VERDICT_BYPASS, reason)


cdef inline void object_pass(
    memory_t *memory, const control_t *control, record_t *r, int cause,
) noexcept nogil:
    """The rest of the run goes unscanned; what was buffered is given up."""
    pages_release_buffers(memory, control, object_pages(r))
    r.object_bytes = 0
    r.object_phase = OBJECT_PASSED
    r.object_cause = cause


cdef inline int object_begin(fw_t *fw, record_t *r, int way) noexcept nogil:
    """A run of payload begins; 0: the session is to be killed."""
    if fw.control.gate.object_start == OBJECT_KILL:
        return 0
    fw.counters.objects += 1
    r.object_way = way
    r.object_bytes = 0
    r.object_phase = OBJECT_SCANNING
    if fw.control.gate.object_start == OBJECT_BYPASS:
        fw.counters.objects_bypassed += 1
        object_pass(&fw.memory, &fw.control, r, fw.control.gate.object_cause)
    return 1


cdef inline int object_grow(fw_t *fw, uint32_t record, uint32_t payload) noexcept nogil:
    """Payload joins the object being scanned; 0: the session is to be killed."""
    cdef record_t *r = &fw.table.records[record]
    cdef uint64_t held = object_pages(r)
    cdef uint64_t total = r.object_bytes + payload
    cdef uint64_t need
    if total > fw.control.config.oversize_bytes:
        fw.counters.objects_oversize += 1
        object_pass(&fw.memory, &fw.control, r, EXPOSURE_OVERSIZE)
        return 1
    need = (total + PAGE_BYTES - 1) // PAGE_BYTES - held
    if need:
        if fw.control.gate.page_request == OBJECT_KILL:
            return 0
        if not request_pages(fw, OWNER_SHM, need, 0, record):
            if fw.control.gate.object_refused == OBJECT_KILL:
                return 0
            fw.counters.objects_bypassed += 1
            object_pass(&fw.memory, &fw.control, r, EXPOSURE_NO_MEMORY)
            return 1
    r.object_bytes = total
    return 1


cdef inline int object_step(
    fw_t *fw, uint32_t record, int way, uint32_t payload,
) noexcept nogil:
    """A proxied session's payload; 0: the session is to be killed."""
    cdef record_t *r = &fw.table.records[record]
    if r.object_phase != OBJECT_NONE and r.object_way != way:
        object_end(&fw.memory, &fw.control, r)
    if r.object_phase == OBJECT_NONE and not object_begin(fw, r, way):
        return 0
    if r.object_phase == OBJECT_SCANNING:
        return object_grow(fw, record, payload)
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
        fw.memory.dirty = 1
    if fw.memory.ips_full:
        ips_arm(&fw.memory, &fw.control, &fw.clock)


cdef inline uint32_t verdict_inspected(
    fw_t *fw, uint32_t record, const packet_t *p, uint32_t wire, int way, int reason,
) noexcept nogil:
    """A packet of a session whose policy asks for inspection; a legal step."""
    cdef record_t *r = &fw.table.records[record]
    cdef int passed = 0
    if r.flags & SESSION_PROXIED:
        if p.payload:
            if not object_step(fw, record, way, p.payload):
                session_end(fw, record, END_KILLED)
                return outcome_of(VERDICT_DROP, REASON_KILLED)
            passed = r.object_phase == OBJECT_PASSED
        if p.class_ == CLASS_FIN or p.class_ == CLASS_RST:
            object_end(&fw.memory, &fw.control, r)
    if p.payload and r.inspection & 1 and not fw.control.gate.ips_bypass:
        ips_fill(fw, p.payload)
    if passed:
        exposure_count(fw, r, r.object_cause, wire)
        if reason == REASON_NEW or reason == REASON_HIT:
            reason = REASON_BYPASS_CONSERVE + r.object_cause
        return outcome_of(VERDICT_BYPASS, reason)
    return session_standing(fw, r, wire, reason)


# --- a packet of a session ----------------------------------------------------------------------

cdef inline int place_half_open(uint8_t place) noexcept nogil:
    cdef uint8_t state = PLACE_STATE[place]
    return state == STATE_SYN_SENT or state == STATE_SYN_RECV or state == STATE_SYN_SENT2


cdef inline void session_move(
    fw_t *fw, uint32_t record, uint8_t place, uint8_t timeout,
) noexcept nogil:
    """The one place that assigns the place of a session that exists; NONE: no TCP, seen again."""
    cdef record_t *r = &fw.table.records[record]
    if place == PLACE_NONE:
        if r.flags & SESSION_ONCE:
            r.flags &= ~SESSION_ONCE
            fw.memory.half_open -= 1
        return
    if r.flags & SESSION_HALF_OPEN and not place_half_open(place):
        r.flags &= ~SESSION_HALF_OPEN
        fw.memory.half_open -= 1
    if not r.flags & SESSION_HALF_OPEN and place_half_open(place):  # tracker linux: in step again
        r.flags |= SESSION_HALF_OPEN
        fw.memory.half_open += 1
    r.place = place
    if fw.control.config.tracker == TRACKER_PLAIN and PLACE_STATE[place] == STATE_ESTABLISHED:
        r.flags |= SESSION_ASSURED
    session_set_timeout(&fw.table, &fw.control, &fw.clock, record, timeout)


cdef inline void session_assure(record_t *r) noexcept nogil:
    r.flags |= SESSION_ASSURED
    r.flags &= ~SESSION_LEARNS


cdef inline uint8_t learn_tcp(record_t *r, uint8_t before, uint8_t place) noexcept nogil:
    """The timeout of TCP that moved; assured by the packet after the first answer."""
    cdef int established = PLACE_STATE[place] == STATE_ESTABLISHED
    if not r.flags & SESSION_ANSWERED:
        return TIMEOUT_TCP_UNANSWERED if established else PLACE_TIMEOUT[place]
    if established and (before == STATE_SYN_RECV or before == STATE_ESTABLISHED):
        session_assure(r)
    return PLACE_TIMEOUT[place]


cdef inline int session_learn(
    fw_t *fw, uint32_t record, uint8_t place, int way, int class_,
) noexcept nogil:
    """Tracker linux: a packet of a session that is not assured yet. 1: nothing is left of it.

    Whether the responder was heard counts as of before the packet, as in the kernel.
    """
    cdef record_t *r = &fw.table.records[record]
    cdef uint8_t before = PLACE_STATE[r.place]
    cdef uint8_t timeout = r.timeout
    cdef int answered = r.flags & SESSION_ANSWERED
    if place != PLACE_NONE:
        timeout = learn_tcp(r, before, place)
    elif META_PROTOCOL(r.meta) == 17:
        if answered and fw.clock.now_ns - r.created_ns > UDP_STREAM_NS:
            session_assure(r)
            timeout = TIMEOUT_UDP_STREAM
    elif answered:
        session_assure(r)
        timeout = TIMEOUT_GRE_STREAM
    session_move(fw, record, place, timeout)
    if place == PLACE_NONE:
        session_set_timeout(&fw.table, &fw.control, &fw.clock, record, timeout)
    if way == REPLY_WAY:
        r.flags |= SESSION_ANSWERED
    return class_ == CLASS_RST and not answered


cdef inline uint32_t verdict_invalid(const control_t *control, int reason) noexcept nogil:
    """What is invalid and has no session passes or not, as the setting says."""
    return outcome_of(control.config.invalid_verdict, reason)


cdef inline int session_watched(const control_t *control, const record_t *r) noexcept nogil:
    """Whether a packet of the session may change an object or the IPS buffer, or be exposed."""
    return (r.flags & SESSION_PROXIED) | r.bypass | (r.inspection & control.gate.flow_watched)


cdef inline uint32_t verdict_seen(
    fw_t *fw, uint32_t record, const packet_t *p, uint32_t wire, int way, int reason,
) noexcept nogil:
    """The outcome of a packet that its session takes."""
    cdef record_t *r = &fw.table.records[record]
    if fw_unlikely(session_watched(&fw.control, r)):
        return verdict_inspected(fw, record, p, wire, way, reason)
    return outcome_of(VERDICT_INSPECT if r.inspection else VERDICT_FORWARD, reason)


cdef inline void session_count(record_t *r, int way, uint32_t wire) noexcept nogil:
    r.packets[way] += 1
    r.bytes[way] += wire


cdef inline uint32_t verdict_last(
    fw_t *fw, uint32_t record, const packet_t *p, uint32_t wire, int way,
) noexcept nogil:
    """Tracker linux: a RST of a session that was never answered takes it along at once."""
    cdef uint32_t outcome = verdict_seen(fw, record, p, wire, way, REASON_HIT)
    if fw.table.records[record].meta:  # it may have been killed just now
        session_end(fw, record, END_CLOSED)
    return outcome


cdef inline uint32_t verdict_moved(
    fw_t *fw, uint32_t record, const packet_t *p, uint32_t wire, int way, uint8_t place,
    int reason,
) noexcept nogil:
    """A packet that takes its session to another place, or tells something new of it."""
    if fw.table.records[record].flags & SESSION_LEARNS and reason == REASON_HIT:
        if session_learn(fw, record, place, way, p.class_):
            return verdict_last(fw, record, p, wire, way)
    else:
        session_move(fw, record, place, PLACE_TIMEOUT[place])
    return verdict_seen(fw, record, p, wire, way, reason)


cdef inline uint32_t verdict_hit(
    fw_t *fw, uint32_t record, const packet_t *p, uint32_t wire, int way, uint8_t place,
    int reason,
) noexcept nogil:
    """A packet of a standing session, which it takes to `place`: counters, deadline, outcome.

    A later fragment makes no step and teaches nothing.
    """
    cdef record_t *r = &fw.table.records[record]
    cdef uint8_t telling = SESSION_ONCE | (SESSION_LEARNS if reason == REASON_HIT else 0)
    session_count(r, way, wire)
    r.last_seen_ns = fw.clock.now_ns
    if fw_unlikely((place ^ r.place) | (r.flags & telling)):
        return verdict_moved(fw, record, p, wire, way, place, reason)
    return verdict_seen(fw, record, p, wire, way, reason)


cdef inline uint32_t verdict_unmoved(
    fw_t *fw, uint32_t *record, packet_t *p, uint32_t wire, int way, uint8_t cell,
) noexcept nogil:
    """A TCP packet that moves no deadline: it is invalid, or (tracker linux) ignored. Or it is a
    SYN that makes a closed session anew: that one ends, and the packet has none."""
    cdef record_t *r = &fw.table.records[record[0]]
    if cell == TCP_AGAIN:
        session_end(fw, record[0], END_CLASH)
        record[0] = NIL
        return verdict_miss(fw, p, wire, record)
    session_count(r, way, wire)
    if cell == TCP_ILLEGAL:
        if fw.control.config.invalid_verdict == VERDICT_DROP:
            return outcome_of(VERDICT_DROP, REASON_TCP_INVALID)
        return session_standing(fw, r, wire, REASON_TCP_INVALID)
    r.place = cell & ~TCP_IGNORED  # the same state: no timeout and no count changes
    if way == REPLY_WAY:
        r.flags |= SESSION_ANSWERED
    return verdict_seen(fw, record[0], p, wire, way, REASON_HIT)


# --- a new session ------------------------------------------------------------------------------

cdef struct admission_t:
    # What session_admit finds out on its way.
    int way               # of the packet: REPLY_WAY is the responder's
    int from_b            # the initiator is endpoint b
    uint16_t policy       # index
    uint8_t action        # POLICY_*
    uint8_t inspection    # class bits
    uint8_t place         # the session's first
    uint8_t half_open
    uint8_t proxied
    uint8_t bypass        # 0, or 1 + EXPOSURE_*
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
    a.policy = <uint16_t>index
    a.action = control.policies.action[index]
    if p.protocol == 6 or p.protocol == 17:
        a.inspection = control.policies.inspection[index]
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
        if host != NIL and fw.table.hosts[host].live >= config.sessions_per_host:
            return REASON_HOST_LIMIT
    if fw_unlikely(fw.shaper != NULL) and not admit_shaping(fw, p, a):
        return REASON_HOST_LIMIT
    if a.proxied and fw.memory.proxy_sessions >= fw.control.config.proxy_max_sessions:
        if fw.control.gate.full_action != GATE_BYPASS:
            return fw.control.gate.full_reason
        a.proxied = 0
        a.bypass = 1 + fw.control.gate.full_cause
    return 0


cdef inline int admit_midstream(fw_t *fw, uint64_t hash_) noexcept nogil:
    """Whether TCP without SYN may begin a session now."""
    if fw.control.config.midstream != MIDSTREAM_GRACE:
        return fw.control.config.midstream == MIDSTREAM_ALLOW
    if fw.clock.now_ns - fw.clock.start_ns >= fw.control.config.midstream_grace_ns:
        return 0
    return grave_free(fw, hash_)


cdef inline int admit_way(const control_t *control, const packet_t *p) noexcept nogil:
    """Whose packet a first one is: a SYN+ACK is the responder's; mid-stream, so is one from a port
    below 1024 to another [D]."""
    cdef uint16_t port_a = <uint16_t>p.key.meta
    cdef uint16_t port_b = <uint16_t>(p.key.meta >> 16)
    if p.class_ == CLASS_SYNACK:
        return REPLY_WAY
    if p.protocol != 6 or p.class_ == CLASS_SYN or not control.config.ports_decide:
        return FORWARD_WAY
    if p.swapped:
        return REPLY_WAY if port_b < 1024 <= port_a else FORWARD_WAY
    return REPLY_WAY if port_a < 1024 <= port_b else FORWARD_WAY


cdef inline int admit_flow(fw_t *fw, const packet_t *p, admission_t *a) noexcept nogil:
    """Everything a miss has to pass, in order; 0 or the reason of the first refusal."""
    cdef int reason
    a.way = admit_way(&fw.control, p)
    a.from_b = p.swapped ^ a.way
    a.place = PLACE_NONE
    if p.no_start:
        return REASON_ICMP_ORPHAN
    if p.protocol == 6:
        a.place = TCP_FIRST[fw.control.config.tracker][a.way][p.class_]
        if a.place == TCP_ILLEGAL:
            return REASON_TCP_INVALID
        if not p.syn and not admit_midstream(fw, p.hash):
            return REASON_NO_SESSION
    a.half_open = p.protocol == 17 or place_half_open(a.place)
    reason = admit_policy(&fw.control, p, a)
    if reason == 0:
        reason = admit_gate(&fw.control, a)
    if reason == 0:
        reason = admit_limits(fw, p, a)
    if reason:
        return reason
    if not session_make_room(fw, p.bucket):
        return REASON_TABLE_FULL
    if not request_pages(
            fw, OWNER_SHM, fw.control.config.proxy_session_pages if a.proxied else 0, 1, NIL):
        return REASON_NO_MEMORY
    return 0


cdef inline uint8_t timeout_of(
    const control_t *control, const packet_t *p, const admission_t *a,
) noexcept nogil:
    cdef int linux = control.config.tracker == TRACKER_LINUX
    if a.place != PLACE_NONE:
        if linux and a.way == FORWARD_WAY and PLACE_STATE[a.place] == STATE_ESTABLISHED:
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
        flags |= SESSION_LEARNS | (SESSION_ANSWERED if a.way == REPLY_WAY else 0)
    if a.half_open:
        flags |= SESSION_ONCE if a.place == PLACE_NONE else SESSION_HALF_OPEN
        fw.memory.half_open += 1
    if a.proxied:
        flags |= SESSION_PROXIED
        fw.memory.proxy_sessions += 1
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
    p.way = a.way
    if reason == REASON_TCP_INVALID or reason == REASON_ICMP_ORPHAN:
        return verdict_invalid(&fw.control, reason)
    if reason:
        return outcome_of(VERDICT_DROP, reason)
    record[0] = admit_begin(fw, p, &a)
    if p.syn:
        grave_forgive(fw, p.hash)
    r = &fw.table.records[record[0]]
    r.packets[a.way] = 1
    r.bytes[a.way] = wire
    if a.inspection == 0:
        return outcome_of(VERDICT_FORWARD, REASON_NEW)
    return verdict_inspected(fw, record[0], p, wire, a.way, REASON_NEW)


# --- dispatch -----------------------------------------------------------------------------------

cdef inline uint32_t session_find(fw_t *fw, const packet_t *p) noexcept nogil:
    """The session under the packet's key. One past its deadline ends here, and is not found."""
    cdef uint32_t record = p.guess
    cdef record_t *r = &fw.table.records[record]
    if fw_unlikely(not table_same(r, &p.key)):  # a free record has no key
        record = table_find(&fw.table, &p.key, p.hash, p.bucket)
        if record == NIL:
            return NIL
        r = &fw.table.records[record]
    if fw_unlikely(session_past(&fw.control, &fw.clock, r)):
        session_end(fw, record, session_timeout_cause(r))
        return NIL
    return record


cdef inline int session_way(const record_t *r, const packet_t *p) noexcept nogil:
    """FORWARD_WAY 0: the initiator's packet; REPLY_WAY 1."""
    return p.swapped ^ (r.flags & SESSION_FROM_B)


cdef inline uint32_t verdict_later(fw_t *fw, packet_t *p, uint32_t wire) noexcept nogil:
    """A later fragment follows its first one, to its session or to its verdict."""
    cdef uint32_t entry = fragment_find(&fw.memory, &fw.control, &fw.clock, p)
    cdef uint32_t record
    fw.of_session = NIL
    if entry != NIL:
        p.way = fw.memory.fragments[entry].direction
        if not fw.memory.fragments[entry].session:
            return outcome_of(fw.memory.fragments[entry].verdict, fw.memory.fragments[entry].reason)
        p.key = fw.memory.fragments[entry].key
        p.swapped = fw.memory.fragments[entry].swapped
        p.hash = key_hash(&p.key, fw.control.config.seeds)
        p.bucket = fw_bucket(p.hash, fw.control.config.buckets)
        record = session_find(fw, p)
        fw.of_session = record
        if record != NIL:
            p.way = session_way(&fw.table.records[record], p)
            return verdict_hit(
                fw, record, p, wire, p.way, fw.table.records[record].place, REASON_FRAGMENT)
    return outcome_of(fw.control.config.orphan_verdict, REASON_FRAGMENT_ORPHAN)


cdef inline uint32_t verdict_orphan(const control_t *control) noexcept nogil:
    """An ICMP error of no session: dropped, but in Linux just invalid."""
    if control.config.tracker == TRACKER_LINUX:
        return verdict_invalid(control, REASON_ICMP_ORPHAN)
    return outcome_of(VERDICT_DROP, REASON_ICMP_ORPHAN)


cdef inline uint32_t verdict_quote(fw_t *fw, packet_t *p, uint32_t wire) noexcept nogil:
    """An ICMP error shares the outcome of the session it speaks of, and changes nothing in it."""
    cdef uint32_t record = session_find(fw, p)
    fw.of_session = record
    if record == NIL:
        return verdict_orphan(&fw.control)
    p.way = session_way(&fw.table.records[record], p)
    return session_standing(fw, &fw.table.records[record], wire, REASON_RELATED)


cdef inline uint32_t verdict_keyed(
    fw_t *fw, packet_t *p, uint32_t wire, uint32_t *record,
) noexcept nogil:
    """A packet with a key; *record: its session, or the one it made, or NIL."""
    cdef record_t *r
    cdef int way
    cdef uint8_t cell
    record[0] = session_find(fw, p)
    if fw_unlikely(record[0] == NIL):
        return verdict_miss(fw, p, wire, record)
    r = &fw.table.records[record[0]]
    p.way = way = session_way(r, p)
    cell = TCP_STEP[r.place][way][p.class_]
    if fw_unlikely(cell >= TCP_IGNORED):
        return verdict_unmoved(fw, record, p, wire, way, cell)
    return verdict_hit(fw, record[0], p, wire, way, cell, REASON_HIT)


cdef inline uint32_t verdict_alone(const control_t *control, const packet_t *p) noexcept nogil:
    """What has no key and asks for no session."""
    if p.kind == KIND_MALFORMED:
        return outcome_of(VERDICT_DROP, REASON_MALFORMED)
    if p.kind == KIND_BROKEN:
        return verdict_invalid(control, REASON_MALFORMED)
    if p.kind == KIND_TRUNCATED:
        return outcome_of(control.config.non_ip_verdict, REASON_TRUNCATED)
    if p.kind == KIND_NON_IP:
        return outcome_of(control.config.non_ip_verdict, REASON_NON_IP)
    if p.kind == KIND_UNSUPPORTED:
        return outcome_of(control.config.non_ip_verdict, REASON_UNSUPPORTED_LINK)
    if p.kind == KIND_UNTRACKED:
        return outcome_of(VERDICT_FORWARD, REASON_ICMP_ORPHAN)
    return verdict_orphan(control)


cdef inline uint32_t verdict_fragment(fw_t *fw, packet_t *p, uint32_t wire) noexcept nogil:
    """A first fragment: judged like any packet, then remembered for those that follow."""
    cdef uint32_t record = NIL
    cdef uint32_t outcome
    fw.of_session = NIL
    if p.kind == KIND_KEYED:
        outcome = verdict_keyed(fw, p, wire, &record)
        fw.of_session = record
    elif p.kind == KIND_QUOTE:
        outcome = verdict_quote(fw, p, wire)
    else:
        outcome = verdict_alone(&fw.control, p)
        if p.kind == KIND_TRUNCATED:  # who sent what the capture cut is not known
            return outcome
    fragment_store(fw, p, record != NIL and fw.table.records[record].meta != 0,
                   outcome & 255, outcome >> 8)
    return outcome


cdef inline uint32_t verdict_packet(fw_t *fw, packet_t *p, uint32_t wire) noexcept nogil:
    """Verdict and reason of one packet (outcome_of); fw.of_session is the record of its session, or
    NIL, even where it ended with it. => the clock stands at the packet's time."""
    cdef uint32_t record = NIL
    cdef uint32_t outcome
    if fw_likely(not (p.kind | p.fragment)):  # KIND_KEYED is 0
        outcome = verdict_keyed(fw, p, wire, &record)
        fw.of_session = record
        return outcome
    p.way = FORWARD_WAY  # who has no key has nobody to answer
    if p.kind == KIND_LATER:
        return verdict_later(fw, p, wire)
    if p.fragment:
        return verdict_fragment(fw, p, wire)
    if p.kind == KIND_QUOTE:
        return verdict_quote(fw, p, wire)
    fw.of_session = NIL
    return verdict_alone(&fw.control, p)
