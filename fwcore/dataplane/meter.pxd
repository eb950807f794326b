# Meters: how fast. The buckets of a key, who holds them, and the colour of a packet.
#
# Overview: a meter without a key has one account; a keyed one has an account for each key that a
# session holds, or held last. A session takes its accounts at its set-up and leaves them at its
# end. Beyond keys_max the key longest without a session is forgotten; where all are held, the new
# ones share one account.
#
# Laws: an account that a session holds is not forgotten; a packet that does not conform debits
# nothing; levels are exact.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from fwcore.dataplane.layout cimport DIRECTION_COUNT, fw_splitmix
from fwcore.dataplane.match cimport asker_t
from fwcore.dataplane.shaping cimport (
    ACCOUNT_FREE, ACCOUNT_HELD, ACCOUNT_IDLE, ACCOUNT_SHARED, ALONE_BUCKET, ALONE_LINK, ALONE_OUT,
    COUNT_IP, COUNT_PACKETS, COUNT_WIRE, KEY_INITIATOR, KEY_NONE, KEY_POLICY, KEY_RULE, KEY_SOURCE,
    METERS_MAX, NEED_PACKET, OVER_DROP, PASSES_OUT, RFC2697, RFC2698, SHAPE_NIL, UNITS_MAX,
    WIRE_OVERHEAD, account_t, bucket_t, cost_of, level_after, level_spilled, meter_t, shaped_t,
    shaper_t, shaping_row_t, wait_t, way_t,
)


# --- keys -----------------------------------------------------------------------------------------

cdef struct key_t:
    uint64_t high, low
    uint32_t family


cdef inline key_t meter_key(
    const meter_t *m, const asker_t *a, uint32_t rule, int direction,
) noexcept nogil:
    """What a session's account is told apart by."""
    cdef key_t key
    cdef const uint64_t *end = NULL
    key.high = key.low = 0
    key.family = 0
    if m.row.key == KEY_POLICY:
        key.low = a.policy
    elif m.row.key == KEY_RULE:
        key.low = rule
    elif m.row.key == KEY_INITIATOR or (m.row.key == KEY_SOURCE) == (direction == 0):
        end = &a.initiator[0]
    else:
        end = &a.responder[0]
    if m.row.key != KEY_NONE and end != NULL:
        key.high = end[0]
        key.low = end[1]
        key.family = a.family
    return key


cdef inline uint32_t *meter_head(
    const shaper_t *s, const meter_t *m, const key_t *key,
) noexcept nogil:
    """The slot of a key."""
    cdef uint64_t hash_ = fw_splitmix(
        fw_splitmix(s.seed ^ key.high ^ key.family) ^ key.low)
    return &s.account_heads[m.heads_first + (<uint32_t>(hash_ >> 32) & m.heads_mask)]


cdef inline uint32_t meter_find(
    const shaper_t *s, const meter_t *m, const key_t *key,
) noexcept nogil:
    """The account of a key, or NIL."""
    cdef uint32_t at = meter_head(s, m, key)[0]
    while at != SHAPE_NIL:  # bounded by the keys of the slot
        if (s.accounts[at].key[1] == key.low and s.accounts[at].key[0] == key.high
                and s.accounts[at].family == key.family):
            return at
        at = s.accounts[at].chain
    return SHAPE_NIL


# --- accounts -------------------------------------------------------------------------------------

cdef inline void account_fill(const meter_t *m, account_t *a, int64_t now) noexcept nogil:
    """=> all its buckets are full."""
    cdef int rung
    a.time_ns = now
    for rung in range(m.row.rungs):
        a.level[rung] = m.rung[rung].depth


cdef inline void idle_unlink(shaper_t *s, meter_t *m, account_t *a) noexcept nogil:
    if a.idle_prev != SHAPE_NIL:
        s.accounts[a.idle_prev].idle_next = a.idle_next
    else:
        m.idle_first = a.idle_next
    if a.idle_next != SHAPE_NIL:
        s.accounts[a.idle_next].idle_prev = a.idle_prev
    else:
        m.idle_last = a.idle_prev


cdef inline void idle_append(shaper_t *s, meter_t *m, uint32_t at) noexcept nogil:
    cdef account_t *a = &s.accounts[at]
    a.idle_prev = m.idle_last
    a.idle_next = SHAPE_NIL
    if m.idle_last != SHAPE_NIL:
        s.accounts[m.idle_last].idle_next = at
    else:
        m.idle_first = at
    m.idle_last = at
    a.state = ACCOUNT_IDLE


cdef inline void account_forget(shaper_t *s, meter_t *m, uint32_t at) noexcept nogil:
    """=> nobody holds it. It is free."""
    cdef account_t *a = &s.accounts[at]
    cdef key_t key
    cdef uint32_t *slot
    key.high, key.low, key.family = a.key[0], a.key[1], a.family
    slot = meter_head(s, m, &key)
    while slot[0] != at:  # bounded by the keys of the slot, of which it is one
        slot = &s.accounts[slot[0]].chain
    slot[0] = a.chain
    idle_unlink(s, m, a)
    a.state = ACCOUNT_FREE
    a.chain = m.free
    m.free = at
    m.used -= 1


cdef inline uint32_t account_new(
    shaper_t *s, meter_t *m, const key_t *key, int64_t now,
) noexcept nogil:
    """An account of a key, full. => there is room."""
    cdef uint32_t at = m.free
    cdef account_t *a
    cdef uint32_t *slot = meter_head(s, m, key)
    if at != SHAPE_NIL:
        m.free = s.accounts[at].chain
    else:
        at = m.first + m.high
        m.high += 1
    a = &s.accounts[at]
    memset(a, 0, sizeof(account_t))
    a.key[0] = key.high
    a.key[1] = key.low
    a.family = key.family
    a.chain = slot[0]
    slot[0] = at
    a.state = ACCOUNT_HELD
    a.idle_prev = a.idle_next = SHAPE_NIL
    account_fill(m, a, now)
    m.used += 1
    return at


cdef inline uint32_t account_shared(shaper_t *s, meter_t *m, int64_t now) noexcept nogil:
    """The account of all for whom there is no room."""
    cdef uint32_t at = m.first + m.room
    if not m.shared_made:
        m.shared_made = 1
        memset(&s.accounts[at], 0, sizeof(account_t))
        s.accounts[at].state = ACCOUNT_SHARED
        account_fill(m, &s.accounts[at], now)
    return at


cdef inline uint32_t meter_take(
    shaper_t *s, meter_t *m, const key_t *key, int64_t now,
) noexcept nogil:
    """The account that a new session of this key gets; who holds it is the caller's to count."""
    cdef uint32_t at = meter_find(s, m, key)
    if at == SHAPE_NIL:
        if m.used >= m.row.keys_max:
            if m.idle_first == SHAPE_NIL:
                m.keys_shared += 1
                return account_shared(s, m, now)
            account_forget(s, m, m.idle_first)
            m.keys_forgotten += 1
        return account_new(s, m, key, now)
    if s.accounts[at].state == ACCOUNT_IDLE:
        idle_unlink(s, m, &s.accounts[at])
        s.accounts[at].state = ACCOUNT_HELD
    return at


cdef inline int meter_admits(
    const shaper_t *s, const meter_t *m, const asker_t *a, uint32_t rule,
) noexcept nogil:
    """Whether the limits of sessions let one more of this key in."""
    cdef key_t key
    cdef uint32_t at
    if not (m.row.max_sessions | m.row.max_tcp_sessions | m.row.max_udp_sessions):
        return 1
    key = meter_key(m, a, rule, 0)
    at = meter_find(s, m, &key)
    if at == SHAPE_NIL:
        if m.used < m.row.keys_max or m.idle_first != SHAPE_NIL or not m.shared_made:
            return 1
        at = m.first + m.room
    if m.row.max_sessions and s.accounts[at].sessions >= m.row.max_sessions:
        return 0
    if a.protocol == 6 and m.row.max_tcp_sessions:
        return s.accounts[at].tcp < m.row.max_tcp_sessions
    if a.protocol == 17 and m.row.max_udp_sessions:
        return s.accounts[at].udp < m.row.max_udp_sessions
    return 1


# --- sessions -------------------------------------------------------------------------------------

cdef inline int shaping_admits(
    const shaper_t *s, uint32_t row, const asker_t *a,
) noexcept nogil:
    """Whether the limits of sessions of a row's meters let a new one in."""
    cdef const shaping_row_t *r
    cdef int direction, i
    if row == 0:
        return 1
    r = &s.rows[row - 1]
    for direction in range(2):
        for i in range(METERS_MAX):
            if r.meters[direction][i] >= 0:
                if not meter_admits(s, &s.meters[r.meters[direction][i]], a, r.id):
                    return 0
    return 1


cdef inline int held_before(const shaped_t *h, uint32_t at, int direction, int i) noexcept nogil:
    """Whether an earlier place of this session has the same account."""
    cdef int w, k
    for w in range(direction + 1):
        for k in range(i if w == direction else METERS_MAX):
            if h.account[w][k] == at:
                return 1
    return 0


cdef inline const way_t *way_of(
    const shaper_t *s, const shaped_t *h, int direction,
) noexcept nogil:
    """Where a session's packets are led to. => it is under a row"""
    return &s.ways[(h.row - 1) * DIRECTION_COUNT + direction]


cdef inline void shaping_alone(const shaper_t *s, shaped_t *h) noexcept nogil:
    """=> h.alone says in which directions a session meets one bucket and nothing else, in which a
    link and no meter, and in which that may let it go at once, whatever its frame says."""
    cdef const shaping_row_t *r
    cdef const meter_t *m
    cdef const way_t *way
    cdef int direction
    h.alone = 0
    if h.row == 0:
        return
    r = &s.rows[h.row - 1]
    for direction in range(2):
        if r.link[direction] >= 0 and h.meters[direction] == 0:
            h.alone |= ALONE_LINK << direction
            way = way_of(s, h, direction)
            if (way.leaf != NULL and way.leaf.passes == PASSES_OUT
                    and way.link.row.count != COUNT_IP):
                h.alone |= ALONE_OUT << direction
        if (h.meters[direction] != 1 or r.link[direction] >= 0 or r.meters[direction][0] < 0
                or h.account[direction][0] == SHAPE_NIL):
            continue
        m = &s.meters[r.meters[direction][0]]
        if m.row.rungs == 1 and m.row.count != COUNT_PACKETS:
            h.alone |= ALONE_BUCKET << direction


cdef inline void shaping_begin(
    shaper_t *s, uint32_t session, uint32_t row, const asker_t *a, int64_t now,
) noexcept nogil:
    """A session is made under a row: it takes its accounts, the forward way's first."""
    cdef shaped_t *h = &s.shaped[session]
    cdef const shaping_row_t *r
    cdef account_t *account
    cdef key_t key
    cdef uint32_t at
    cdef int direction, i
    memset(h, 0, sizeof(shaped_t))
    h.row = row
    h.protocol = a.protocol
    memset(h.account, 255, sizeof(h.account))
    if row == 0:
        return
    r = &s.rows[row - 1]
    for direction in range(2):
        for i in range(METERS_MAX):
            if r.meters[direction][i] < 0:
                continue
            key = meter_key(&s.meters[r.meters[direction][i]], a, r.id, direction)
            at = meter_take(s, &s.meters[r.meters[direction][i]], &key, now)
            h.account[direction][i] = at
            h.meters[direction] = <uint8_t>(i + 1)
            if not held_before(h, at, direction, i):
                account = &s.accounts[at]
                account.sessions += 1
                account.tcp += a.protocol == 6
                account.udp += a.protocol == 17
    shaping_alone(s, h)


cdef inline void shaping_end(shaper_t *s, uint32_t session) noexcept nogil:
    """A session ends: a key that nobody holds any more may be forgotten. What it has in queues
    still leaves."""
    cdef shaped_t *h = &s.shaped[session]
    cdef const shaping_row_t *r
    cdef account_t *account
    cdef uint32_t at
    cdef int direction, i
    if h.row == 0:
        return
    r = &s.rows[h.row - 1]
    for direction in range(2):
        for i in range(METERS_MAX):
            at = h.account[direction][i]
            if at == SHAPE_NIL or held_before(h, at, direction, i):
                continue
            account = &s.accounts[at]
            account.sessions -= 1
            account.tcp -= h.protocol == 6
            account.udp -= h.protocol == 17
            if account.sessions == 0 and account.state == ACCOUNT_HELD:
                idle_append(s, &s.meters[r.meters[direction][i]], at)


# --- packets --------------------------------------------------------------------------------------

cdef inline uint64_t bytes_of(
    const wait_t *p, uint32_t count, int64_t overhead,
) noexcept nogil:
    """The same of a packet."""
    return size_of(p.frame, p.ip, count, overhead)


cdef inline uint64_t size_of(
    uint32_t frame, uint32_t ip, uint32_t count, int64_t overhead,
) noexcept nogil:
    """Bytes as a meter or link counts them; at least 1 [R: Linux qdisc_pkt_len]."""
    cdef int64_t size = frame
    if count == COUNT_IP and ip:
        size = ip
    elif count == COUNT_WIRE:
        size += WIRE_OVERHEAD
    size += overhead
    return <uint64_t>size if size > 1 else 1


cdef inline uint64_t meter_things(const meter_t *m, const wait_t *p) noexcept nogil:
    """What a packet costs, in what the meter counts."""
    if m.row.count == COUNT_PACKETS:
        return 1
    return bytes_of(p, m.row.count, m.row.overhead)


cdef inline void account_settle(const meter_t *m, account_t *a, int64_t now) noexcept nogil:
    """Fills up to now; by RFC 2697 what the first bucket cannot hold goes to the second."""
    cdef uint64_t wait = <uint64_t>(now - a.time_ns)
    cdef int rung
    if m.row.algorithm == RFC2697:
        a.level[1] = level_spilled(
            a.level[0], m.rung[0].depth, m.rung[0].fill, wait, a.level[1], m.rung[1].depth)
        a.level[0] = level_after(a.level[0], m.rung[0].depth, m.rung[0].fill, wait)
    else:
        for rung in range(m.row.rungs):
            a.level[rung] = level_after(
                a.level[rung], m.rung[rung].depth, m.rung[rung].fill, wait)
    a.time_ns = now


cdef inline int account_fits(
    const meter_t *m, const account_t *a, int rung, uint64_t things,
) noexcept nogil:
    if m.row.need == NEED_PACKET:
        return a.level[rung] >= cost_of(m.rung[rung].price, things)
    return a.level[rung] >= 0


cdef inline int account_colour(
    const meter_t *m, account_t *a, int64_t now, uint64_t things,
) noexcept nogil:
    """The rung of a packet, from 0; as many as there are rungs: beyond the last."""
    cdef int colour = m.row.rungs
    account_settle(m, a, now)
    if m.row.algorithm != RFC2698:
        return 0 if account_fits(m, a, 0, things) else 1 if account_fits(m, a, 1, things) else 2
    while colour and account_fits(m, a, colour - 1, things):
        colour -= 1
    return colour


cdef inline void account_debit(
    const meter_t *m, account_t *a, uint64_t things, int colour,
) noexcept nogil:
    """Pays for a packet of a colour that conforms. => it was settled now."""
    cdef int rung
    cdef int last = colour + 1 if m.row.algorithm != RFC2698 else m.row.rungs
    for rung in range(colour, last):
        a.level[rung] -= cost_of(m.rung[rung].price, things)
        if a.level[rung] < -UNITS_MAX:
            a.level[rung] = -UNITS_MAX


cdef inline void meter_charge(
    meter_t *m, account_t *a, uint64_t things, int colour, int64_t now,
) noexcept nogil:
    """The same, and it is noted beside the levels, for the law of the meter's bound."""
    if m.heaviest == 0:
        m.since = now
    if things > m.heaviest:
        m.heaviest = things
    m.charged[colour] += things
    account_debit(m, a, things, colour)


cdef inline int meter_alone(
    meter_t *m, account_t *a, int64_t now, uint64_t size,
) noexcept nogil:
    """Judges a packet by its one bucket; 0: it is dropped. => it counts bytes, and nobody wants to
    be told"""
    cdef const bucket_t *b = &m.rung[0]
    cdef int64_t cost = cost_of(b.price, size)
    cdef int64_t level = level_after(
        a.level[0], b.depth, b.fill, <uint64_t>(now - a.time_ns))
    a.time_ns = now
    a.level[0] = level
    if level < (cost if m.row.need == NEED_PACKET else 0):
        m.by_colour[1] += 1
        if m.row.over == OVER_DROP:
            m.dropped[0] += 1
            m.dropped[1] += size
            return 0
    else:
        m.by_colour[0] += 1
        if m.heaviest < size:
            m.since = m.since if m.heaviest else now
            m.heaviest = size
        m.charged[0] += size
        level -= cost
        a.level[0] = level if level > -UNITS_MAX else -UNITS_MAX
    m.passed[0] += 1
    m.passed[1] += size
    return 1
