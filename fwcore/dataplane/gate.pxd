# Policies and the gate row: what a new session may do. Indexes tables that the control plane fills.
#
# Overview: policy_match finds the first row that agrees. Rows of one protocol stand by segments of
# the responder's port; IPv4 rows are compared eight at a time.

from libc.stdint cimport int32_t, uint32_t, uint64_t

from fwcore.dataplane.layout cimport (
    NIL, block4_t, fw_ctz32, fw_match8, guard_t, policies_t, ports_t, row6_t,
    segment_t,
)


cdef struct ask_t:
    # Who wants a session: initiator, responder and what it speaks.
    uint64_t source_lo, source_hi, destination_lo, destination_hi
    int32_t zone
    int32_t protocol
    uint32_t port         # the responder's
    int family
    int has_ports         # TCP, UDP, SCTP


cdef inline const segment_t *policy_segment(const ports_t *ports, uint32_t port) noexcept nogil:
    """The segment that holds the port: binary search, at most 17 steps."""
    cdef uint32_t low = 0
    cdef uint32_t high = ports.count
    cdef uint32_t middle
    while high - low > 1:
        middle = (low + high) >> 1
        if ports.bounds[middle] <= port:
            low = middle
        else:
            high = middle
    return &ports.segments[low]


cdef inline int policy_guard(const guard_t *g, const ask_t *ask) noexcept nogil:
    if g.protocol >= 0 and g.protocol != ask.protocol:
        return 0
    if g.zone >= 0 and g.zone != ask.zone:
        return 0
    if g.has_ports:
        return ask.has_ports and g.port_low <= ask.port <= g.port_high
    return 1


cdef inline uint32_t policy_match4(
    const policies_t *policies, const segment_t *segment, const ask_t *ask,
) noexcept nogil:
    cdef uint32_t first = segment.first
    cdef uint32_t done, mask, row
    cdef const block4_t *block
    for done in range(0, segment.rows, 8):
        block = &policies.blocks[(first + done) >> 3]
        mask = fw_match8(block.source, block.source_mask, block.destination,
                         block.destination_mask, <uint32_t>ask.source_lo,
                         <uint32_t>ask.destination_lo)
        while mask:  # at most eight
            row = done + fw_ctz32(mask)
            if row < segment.rows and policy_guard(&policies.guards4[first + row], ask):
                return policies.guards4[first + row].policy
            mask &= mask - 1
    return NIL


cdef inline uint32_t policy_match6(
    const policies_t *policies, const segment_t *segment, const ask_t *ask,
) noexcept nogil:
    cdef uint32_t i
    cdef const row6_t *row
    for i in range(segment.first, segment.first + segment.rows):
        row = &policies.rows6[i]
        if (ask.source_hi & row.source_mask[0] == row.source[0]
                and ask.source_lo & row.source_mask[1] == row.source[1]
                and ask.destination_hi & row.destination_mask[0] == row.destination[0]
                and ask.destination_lo & row.destination_mask[1] == row.destination[1]
                and policy_guard(&policies.guards6[i], ask)):
            return policies.guards6[i].policy
    return NIL


cdef inline uint32_t policy_match(const policies_t *policies, const ask_t *ask) noexcept nogil:
    """Index of the first policy that agrees, or NIL. => there are policies."""
    cdef int table = 3
    if ask.protocol == 6:
        table = 0
    elif ask.protocol == 17:
        table = 1
    elif ask.protocol == 132:
        table = 2
    if ask.family == 6:
        return policy_match6(
            policies, policy_segment(&policies.ports[4 + table], ask.port), ask)
    return policy_match4(policies, policy_segment(&policies.ports[table], ask.port), ask)
