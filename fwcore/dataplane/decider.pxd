# The decider's side of the loop: which sessions would begin, and whom to ask before they do.
#
# Overview: in front of a packet that would begin a session, by all that stands before the gate, the
# loop looks for what was decided of it (decider_look); where nothing was, the session is an opening
# that waits, and the loop stops. Whoever runs it looks on through the frames behind (decider_see),
# so that one question has many openings, asks, and goes on. What was said of the present packet is
# fw.decided, which stands in the policy's place (admit_decided).
#
# Laws: looking changes nothing; an opening is found by key and direction; a key is asked of once,
# until the decisions are forgotten: at the end of a call, or where there is no room for another.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from fwcore.dataplane.admit cimport admission_t, admit_first, admitted_by
from fwcore.dataplane.layout cimport (
    DECISION_ACCEPT, KIND_KEYED, META_FAMILY, META_ZONE, NIL, OPENINGS_MAX, TCP_AGAIN, TCP_STEP,
    decider_t, decision_t, fw_key_t, fw_t, opening_t, packet_t, record_t,
)
from fwcore.dataplane.session cimport row_address, session_past
from fwcore.dataplane.table cimport table_find
from fwcore.dataplane.verdict cimport session_direction

cdef enum:
    EITHER_DIRECTION = 2             # of an opening that is looked for: whoever began it


cdef inline int packet_opens(
    const fw_t *fw, const packet_t *p, int64_t now_ns, admission_t *a,
) noexcept nogil:
    """Whether a session would begin with the packet, by all that stands before the gate; then who
    begins it, and by which policy."""
    cdef uint32_t record
    cdef const record_t *r
    if p.kind != KIND_KEYED:
        return 0
    record = table_find(&fw.table, &p.key, p.hash, p.bucket)
    if record != NIL:
        r = &fw.table.records[record]
        if (TCP_STEP[r.place][session_direction(r, p)][p.class_] != TCP_AGAIN
                and not session_past(&fw.control, now_ns, r)):
            return 0
    return admit_first(fw, p, now_ns, a) == 0


cdef inline uint32_t decision_find(
    const decider_t *decider, const packet_t *p, uint32_t from_b,
) noexcept nogil:
    """Place of the opening of a key that endpoint b begins, or a, or EITHER_DIRECTION; or NIL."""
    cdef uint32_t place = decider.heads[p.hash % OPENINGS_MAX]
    cdef const decision_t *d
    while place != NIL:  # at most OPENINGS_MAX
        d = &decider.decisions[place]
        if (from_b == EITHER_DIRECTION or d.from_b == from_b) and memcmp(
                &d.key, &p.key, sizeof(fw_key_t)) == 0:
            break
        place = d.next
    return place


cdef inline void decider_forget(decider_t *decider) noexcept nogil:
    """What was decided, and what was asked and not answered."""
    cdef uint32_t place
    for place in range(decider.count):
        decider.heads[decider.openings[place].flow % OPENINGS_MAX] = NIL
    decider.count = decider.answered = 0
    decider.seen_packet = 0


cdef inline void decider_note(
    fw_t *fw, const packet_t *p, const admission_t *a, int64_t time_ns, uint64_t number,
) noexcept nogil:
    """The session waits for an answer. => there is room for it"""
    cdef decider_t *decider = fw.decider
    cdef uint32_t place = decider.count
    cdef opening_t *row = &decider.openings[place]
    cdef decision_t *d = &decider.decisions[place]
    cdef uint8_t *initiator = row.initiator
    cdef uint8_t *responder = row.responder
    cdef uint32_t *head = &decider.heads[p.hash % OPENINGS_MAX]
    row.family = META_FAMILY(p.key.meta)
    row.protocol = p.protocol
    row.zone = META_ZONE(p.key.meta)
    row_address(responder if a.from_b else initiator, p.key.a_lo, p.key.a_hi, row.family)
    row_address(initiator if a.from_b else responder, p.key.b_lo, p.key.b_hi, row.family)
    row.initiator_port = p.key.meta >> 16 if a.from_b else p.key.meta
    row.responder_port = p.key.meta if a.from_b else p.key.meta >> 16
    row.policy = admitted_by(&fw.control, a)
    row.inspection = a.inspection
    row.flow = p.hash
    row.time_ns = time_ns
    row.packet = number
    d.key = p.key
    d.from_b = a.from_b
    d.next = head[0]
    head[0] = place
    decider.count += 1


cdef inline int decider_look(void *of, const packet_t *p, int64_t time_ns) noexcept nogil:
    """Sets fw.decided of the packet that is judged next; 1: it has to wait for an answer."""
    cdef fw_t *fw = <fw_t *>of
    cdef decider_t *decider = fw.decider
    cdef admission_t a
    cdef uint32_t place
    fw.decided = DECISION_ACCEPT
    if not packet_opens(fw, p, time_ns, &a):
        return 0
    place = decision_find(decider, p, a.from_b)
    if place != NIL:
        fw.decided = decider.decisions[place].decision
        return 0
    if decider.count == OPENINGS_MAX:
        decider_forget(decider)
    decider_note(fw, p, &a, time_ns, fw.packet)
    return 1


cdef inline void decider_see(
    fw_t *fw, const packet_t *p, int64_t now_ns, int64_t time_ns, uint64_t number,
) noexcept nogil:
    """A frame that comes later: whose session would begin with it now is asked of, too; of a key
    that was asked of, in whichever direction, who begins it is known only then. => there is room"""
    cdef admission_t a
    if (p.kind == KIND_KEYED and decision_find(fw.decider, p, EITHER_DIRECTION) == NIL
            and packet_opens(fw, p, now_ns, &a)):
        decider_note(fw, p, &a, time_ns, number)
