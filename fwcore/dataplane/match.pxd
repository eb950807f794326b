# Which row of [[shaping]] a new session is under: the first that matches.
#
#     rows --by what they look at--> kinds --by what they want to see--> slots of rows, in order
#
# Overview: rows that look at the same bits of a session (of its addresses, its port, protocol,
# zone, policy) are a kind. Of each kind a session's own bits name one slot, and only the rows in it
# are asked (tuple space search). Ranges of ports, sets of DSCP and of policies are no bits that a
# kind looks at: such rows are asked one by one, with those that are alike in the rest.
#
# Laws: a row that matches stands in the slot that its kind names for the session; kinds stand by
# the lowest of their rows, so that one behind the row found cannot change it.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fwcore.dataplane.layout cimport GOLDEN_RATIO, HALVES, fw_splitmix
from fwcore.dataplane.shaping cimport (
    SHAPE_NIL, match_kind_t, match_row_t, shaper_t,
)


cdef struct asker_t:
    # What shaping has to know of a session; facts of its set-up.
    uint64_t initiator[HALVES]
    uint64_t responder[HALVES]
    uint32_t family            # 4 or 6
    uint32_t policy            # its id
    int zone
    uint8_t protocol
    uint8_t has_ports
    uint8_t dscp               # of its first packet
    uint32_t port              # the responder's


cdef enum:
    FACTS_PROTOCOL = 16        # where it stands in a session's facts; the port is at 0
    FACTS_FAMILY = 24
    FACTS_ZONE = 32


cdef inline uint64_t match_facts(
    uint32_t port, uint32_t protocol, uint32_t family, uint32_t zone,
) noexcept nogil:
    """What else than addresses and the policy tells rows apart, in one word."""
    return (port | <uint64_t>protocol << FACTS_PROTOCOL | <uint64_t>family << FACTS_FAMILY
            | <uint64_t>zone << FACTS_ZONE)


cdef inline match_kind_t match_kind(const shaper_t *s, const match_row_t *m) noexcept nogil:
    """Which bits a row looks at."""
    cdef match_kind_t kind
    kind.source[0], kind.source[1] = m.source_mask[0], m.source_mask[1]
    kind.destination[0], kind.destination[1] = m.destination_mask[0], m.destination_mask[1]
    kind.policy = 0xFFFFFFFF if m.policies == 1 else 0
    kind.facts = match_facts(
        0xFFFF if m.has_ports and m.port_low == m.port_high else 0,
        0xFF if m.protocol >= 0 else 0, 0xFF, 0xFFFFFFFF if m.zone >= 0 else 0)
    kind.first = kind.heads_first = kind.heads_mask = 0
    return kind


cdef inline uint32_t match_slot(
    const match_kind_t *kind, const uint64_t *source, const uint64_t *destination, uint64_t facts,
    uint32_t policy,
) noexcept nogil:
    """The slot of a kind for what a session has, or a row wants."""
    cdef uint64_t hash_ = fw_splitmix(
        (source[0] & kind.source[0]) * GOLDEN_RATIO ^ (source[1] & kind.source[1]))
    hash_ = fw_splitmix(hash_ ^ (destination[0] & kind.destination[0]) * GOLDEN_RATIO
                        ^ (destination[1] & kind.destination[1]))
    hash_ = fw_splitmix(hash_ ^ (facts & kind.facts) * GOLDEN_RATIO ^ (policy & kind.policy))
    return kind.heads_first + (<uint32_t>(hash_ >> 32) & kind.heads_mask)


cdef inline uint32_t match_slot_of(
    const shaper_t *s, const match_kind_t *kind, const match_row_t *m,
) noexcept nogil:
    """Where a row of a kind stands."""
    return match_slot(
        kind, m.source, m.destination,
        match_facts(m.port_low, <uint32_t>m.protocol & 0xFF, m.family, <uint32_t>m.zone),
        s.policy_ids[m.policies_first] if m.policies else 0)


# --- a session ------------------------------------------------------------------------------------

cdef inline int match_ends(const match_row_t *m, const asker_t *a) noexcept nogil:
    return ((a.initiator[0] & m.source_mask[0]) == m.source[0]
            and (a.initiator[1] & m.source_mask[1]) == m.source[1]
            and (a.responder[0] & m.destination_mask[0]) == m.destination[0]
            and (a.responder[1] & m.destination_mask[1]) == m.destination[1])


cdef inline int match_policy(
    const shaper_t *s, const match_row_t *m, uint32_t policy,
) noexcept nogil:
    cdef uint32_t i
    for i in range(m.policies):
        if s.policy_ids[m.policies_first + i] == policy:
            return 1
    return m.policies == 0


cdef inline int match_holds(
    const shaper_t *s, const match_row_t *m, const asker_t *a,
) noexcept nogil:
    """Whether a session matches a row."""
    if m.family != a.family or (m.protocol >= 0 and m.protocol != a.protocol):
        return 0
    if m.zone >= 0 and m.zone != a.zone:
        return 0
    if m.has_ports and not (a.has_ports and m.port_low <= a.port <= m.port_high):
        return 0
    if m.dscp and not (m.dscp >> a.dscp) & 1:
        return 0
    return match_ends(m, a) and match_policy(s, m, a.policy)


cdef inline uint32_t shaping_match(const shaper_t *s, const asker_t *a) noexcept nogil:
    """The first row that matches, as its number + 1; 0: none. Bounded by the kinds and the rows."""
    cdef uint64_t facts = match_facts(a.port, a.protocol, a.family, <uint32_t>a.zone)
    cdef uint32_t best = SHAPE_NIL, i, at
    for i in range(s.kinds_count):
        if s.kinds[i].first >= best:
            break
        at = s.match_heads[match_slot(&s.kinds[i], a.initiator, a.responder, facts, a.policy)]
        while at < best:  # NIL is above all
            if match_holds(s, &s.matches[at], a):
                best = at
                break
            at = s.match_next[at]
    return s.matches[best].row + 1 if best != SHAPE_NIL else 0
