# One packet through all of it: every branch ends in one verdict and one reason.
#
# Overview: verdict_packet dispatches on what parsing found; a key is looked up, a miss passes
# verdict_miss's refusals in the order of semantics section 3, a hit takes its TCP step, its object
# and its place in the IPS buffer. What a class may do comes from the gate row; nothing here knows
# why.
#
# Laws: exactly one outcome per packet, counted by the caller; a refused packet leaves no session.

from libc.stdint cimport uint8_t, uint32_t

from fwcore.dataplane.admit cimport place_half_open, verdict_miss
from fwcore.dataplane.fragment cimport fragment_find, fragment_store
from fwcore.dataplane.inspect cimport session_standing, verdict_inspected
from fwcore.dataplane.key cimport key_hash
from fwcore.dataplane.layout cimport (
    BLOCKED, CLASS_RST, END_CLASH, END_CLOSED, FORWARD_DIRECTION, KIND_BROKEN, KIND_KEYED,
    KIND_LATER,
    KIND_MALFORMED, KIND_NON_IP, KIND_QUOTE, KIND_TRUNCATED, KIND_UNSUPPORTED, KIND_UNTRACKED,
    META_PROTOCOL, NIL, PLACE_NONE, PLACE_STATE, PLACE_TIMEOUT, REASON_FRAGMENT,
    REASON_FRAGMENT_ORPHAN, REASON_HIT, REASON_ICMP_ORPHAN, REASON_MALFORMED, REASON_NON_IP,
    REASON_RELATED, REASON_TCP_INVALID, REASON_TRUNCATED, REASON_UNSUPPORTED_LINK, REPLY_DIRECTION,
    SESSION_ANSWERED, SESSION_ASSURED, SESSION_FROM_B, SESSION_HALF_OPEN, SESSION_LEARNS,
    SESSION_ONCE, SESSION_PROXIED, STATE_ESTABLISHED, STATE_SYN_RECV, TCP_AGAIN, TCP_IGNORED,
    TCP_ILLEGAL, TCP_STEP, TIMEOUT_GRE_STREAM, TIMEOUT_TCP_UNANSWERED, TIMEOUT_UDP_STREAM,
    TRACKER_LINUX, TRACKER_PLAIN, UDP_STREAM_NS, VERDICT_DROP, VERDICT_FORWARD, VERDICT_INSPECT,
    control_t, fw_bucket, fw_likely, fw_t, fw_unlikely, packet_t, record_t,
)
from fwcore.dataplane.outcome cimport outcome_of, verdict_invalid
from fwcore.dataplane.session cimport (
    session_end, session_past, session_set_timeout, session_timeout_cause,
)
from fwcore.dataplane.table cimport table_find, table_same


# --- a packet of a session ----------------------------------------------------------------------

cdef inline void session_move(
    fw_t *fw, uint32_t record, uint8_t place, uint8_t timeout,
) noexcept nogil:
    """The one place that assigns the place of a session that exists; NONE: no TCP, seen again.

    It touches table, memory and clock: each by itself would be seven arguments, and ten
    instructions more a call.
    """
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
    fw_t *fw, uint32_t record, uint8_t place, int direction, int class_,
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
    if direction == REPLY_DIRECTION:
        r.flags |= SESSION_ANSWERED
    return class_ == CLASS_RST and not answered


cdef inline int session_watched(const control_t *control, const record_t *r) noexcept nogil:
    """Whether a packet of the session may change an object or the IPS buffer, or be exposed."""
    return (r.flags & SESSION_PROXIED) | r.bypass | (r.inspection & control.gate.flow_watched)


cdef inline uint32_t verdict_seen(
    fw_t *fw, uint32_t record, const packet_t *p, uint32_t wire, int direction, int reason,
) noexcept nogil:
    """The outcome of a packet that its session takes."""
    cdef record_t *r = &fw.table.records[record]
    if fw_unlikely(session_watched(&fw.control, r)):
        return verdict_inspected(fw, record, p, wire, direction, reason)
    return outcome_of(VERDICT_INSPECT if r.inspection else VERDICT_FORWARD, reason)


cdef inline void session_count(record_t *r, int direction, uint32_t wire) noexcept nogil:
    r.packets[direction] += 1
    r.bytes[direction] += wire


cdef inline uint32_t verdict_last(
    fw_t *fw, uint32_t record, const packet_t *p, uint32_t wire, int direction,
) noexcept nogil:
    """Tracker linux: a RST of a session that was never answered takes it along at once."""
    cdef uint32_t outcome = verdict_seen(fw, record, p, wire, direction, REASON_HIT)
    if fw.table.records[record].meta:  # it may have been killed just now
        session_end(fw, record, END_CLOSED)
    return outcome


cdef inline uint32_t verdict_moved(
    fw_t *fw, uint32_t record, const packet_t *p, uint32_t wire, int direction, uint8_t place,
    int reason,
) noexcept nogil:
    """A packet that takes its session to another place, or tells something new of it. Of a blocked
    session none does: it does not arrive."""
    if fw_unlikely(fw.table.records[record].bypass == BLOCKED):
        if place == PLACE_NONE:
            session_move(fw, record, PLACE_NONE, 0)
    elif fw.table.records[record].flags & SESSION_LEARNS and reason == REASON_HIT:
        if session_learn(fw, record, place, direction, p.class_):
            return verdict_last(fw, record, p, wire, direction)
    else:
        session_move(fw, record, place, PLACE_TIMEOUT[place])
    return verdict_seen(fw, record, p, wire, direction, reason)


cdef inline uint32_t verdict_hit(
    fw_t *fw, uint32_t record, const packet_t *p, uint32_t wire, int direction, uint8_t place,
    int reason,
) noexcept nogil:
    """A packet of a standing session, which it takes to `place`: counters, deadline, outcome.

    A later fragment makes no step and teaches nothing.
    """
    cdef record_t *r = &fw.table.records[record]
    cdef uint8_t telling = SESSION_ONCE | (SESSION_LEARNS if reason == REASON_HIT else 0)
    session_count(r, direction, wire)
    r.last_seen_ns = fw.clock.now_ns
    if fw_unlikely((place ^ r.place) | (r.flags & telling)):
        return verdict_moved(fw, record, p, wire, direction, place, reason)
    return verdict_seen(fw, record, p, wire, direction, reason)


cdef inline uint32_t verdict_unmoved(
    fw_t *fw, uint32_t *record, packet_t *p, uint32_t wire, int direction, uint8_t cell,
) noexcept nogil:
    """A TCP packet that moves no deadline: it is invalid, or (tracker linux) ignored. Or it is a
    SYN that makes a closed session anew: that one ends, and the packet has none."""
    cdef record_t *r = &fw.table.records[record[0]]
    if cell == TCP_AGAIN:
        session_end(fw, record[0], END_CLASH)
        record[0] = NIL
        return verdict_miss(fw, p, wire, record)
    session_count(r, direction, wire)
    if fw_unlikely(r.bypass == BLOCKED):
        r.last_seen_ns = fw.clock.now_ns
        return session_standing(fw, r, wire, REASON_HIT)
    if cell == TCP_ILLEGAL:
        if fw.control.config.invalid_verdict == VERDICT_DROP:
            return outcome_of(VERDICT_DROP, REASON_TCP_INVALID)
        return session_standing(fw, r, wire, REASON_TCP_INVALID)
    r.place = cell & ~TCP_IGNORED  # the same state: no timeout and no count changes
    if direction == REPLY_DIRECTION:
        r.flags |= SESSION_ANSWERED
    return verdict_seen(fw, record[0], p, wire, direction, REASON_HIT)


# --- dispatch -----------------------------------------------------------------------------------

cdef inline uint32_t session_in_time(fw_t *fw, uint32_t record) noexcept nogil:
    """The session itself; one past its deadline ends here, and is not found."""
    cdef record_t *r = &fw.table.records[record]
    if fw_unlikely(session_past(&fw.control, fw.clock.now_ns, r)):
        session_end(fw, record, session_timeout_cause(r))
        return NIL
    return record


cdef inline uint32_t session_seek(fw_t *fw, const packet_t *p) noexcept nogil:
    """The session under the packet's key, or NIL."""
    cdef uint32_t record = table_find(&fw.table, &p.key, p.hash, p.bucket)
    return NIL if record == NIL else session_in_time(fw, record)


cdef inline uint32_t session_find(fw_t *fw, const packet_t *p) noexcept nogil:
    """The same where the key was guessed of: it is the frame's own. A free record has none."""
    if fw_unlikely(not table_same(&fw.table.records[p.guess], &p.key)):
        return session_seek(fw, p)
    return session_in_time(fw, p.guess)


cdef inline int session_direction(const record_t *r, const packet_t *p) noexcept nogil:
    """FORWARD_DIRECTION 0: the initiator's packet; REPLY_DIRECTION 1."""
    return p.swapped ^ (r.flags & SESSION_FROM_B)


cdef inline uint32_t verdict_later(fw_t *fw, packet_t *p, uint32_t wire) noexcept nogil:
    """A later fragment follows its first one, to its session or to its verdict."""
    cdef uint32_t entry = fragment_find(&fw.memory, &fw.control, &fw.clock, p)
    cdef uint32_t record
    fw.of_session = NIL
    if entry != NIL:
        p.direction = fw.memory.fragments[entry].direction
        if not fw.memory.fragments[entry].session:
            return outcome_of(fw.memory.fragments[entry].verdict, fw.memory.fragments[entry].reason)
        p.key = fw.memory.fragments[entry].key
        p.swapped = fw.memory.fragments[entry].swapped
        p.hash = key_hash(&p.key, fw.control.config.seeds)
        p.bucket = fw_bucket(p.hash, fw.control.config.buckets)
        record = session_seek(fw, p)
        fw.of_session = record
        if record != NIL:
            p.direction = session_direction(&fw.table.records[record], p)
            return verdict_hit(
                fw, record, p, wire, p.direction, fw.table.records[record].place, REASON_FRAGMENT)
    return outcome_of(fw.control.config.orphan_verdict, REASON_FRAGMENT_ORPHAN)


cdef inline uint32_t verdict_orphan(const control_t *control) noexcept nogil:
    """An ICMP error of no session: dropped, but in Linux just invalid."""
    if control.config.tracker == TRACKER_LINUX:
        return verdict_invalid(control, REASON_ICMP_ORPHAN)
    return outcome_of(VERDICT_DROP, REASON_ICMP_ORPHAN)


cdef inline uint32_t verdict_quote(fw_t *fw, packet_t *p, uint32_t wire) noexcept nogil:
    """An ICMP error shares the outcome of the session it speaks of, and changes nothing in it."""
    cdef uint32_t record = session_seek(fw, p)
    fw.of_session = record
    if record == NIL:
        return verdict_orphan(&fw.control)
    p.direction = session_direction(&fw.table.records[record], p)
    return session_standing(fw, &fw.table.records[record], wire, REASON_RELATED)


cdef inline uint32_t verdict_keyed(
    fw_t *fw, packet_t *p, uint32_t wire, uint32_t *record,
) noexcept nogil:
    """A packet with a key; *record: its session, or the one it made, or NIL."""
    cdef record_t *r
    cdef int direction
    cdef uint8_t cell
    record[0] = session_find(fw, p)
    if fw_unlikely(record[0] == NIL):
        return verdict_miss(fw, p, wire, record)
    r = &fw.table.records[record[0]]
    p.direction = direction = session_direction(r, p)
    cell = TCP_STEP[r.place][direction][p.class_]
    if fw_unlikely(cell >= TCP_IGNORED):
        return verdict_unmoved(fw, record, p, wire, direction, cell)
    return verdict_hit(fw, record[0], p, wire, direction, cell, REASON_HIT)


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
    p.direction = FORWARD_DIRECTION  # who has no key has nobody to answer
    if p.kind == KIND_LATER:
        return verdict_later(fw, p, wire)
    if p.fragment:
        return verdict_fragment(fw, p, wire)
    if p.kind == KIND_QUOTE:
        return verdict_quote(fw, p, wire)
    fw.of_session = NIL
    return verdict_alone(&fw.control, p)
