# shaping.h for Cython, made by tools/layout.py; meanings are said there.

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fwcore.dataplane.layout cimport DIRECTION_COUNT, HALVES, ROW_KEYS, rows_digest_t

cdef extern from "dataplane/shaping.h" nogil:
    enum:
        RUNGS_MAX, METERS_MAX, CHAIN_MAX, TREE_DEPTH_MAX, PRIORITIES, DSCPS, COUNTED
        LENT_BY_ITSELF, NOT_LENT, ORDERS, MARK_CE, MARK_CE_ALONE, NO_MARK, NOWHERE, WENT_AWAY
        SAMPLES_MOST, SAMPLES_LEAST, SAMPLE_LINK, SAMPLE_CLASS, SAMPLE_METER, DELAY_BITS
        DELAY_BUCKETS, WIRE_OVERHEAD
        COUNT_IP, COUNT_FRAME, COUNT_WIRE, COUNT_PACKETS, COUNT_KINDS
        KEY_NONE, KEY_POLICY, KEY_RULE, KEY_SOURCE, KEY_DESTINATION, KEY_INITIATOR, KEY_KINDS
        NEED_PACKET, NEED_LEVEL, NEED_KINDS
        OVER_DROP, OVER_PASS, OVER_CLASS, OVER_KINDS
        RFC2698, RFC2697, RFC4115, ALGORITHMS
        DISCARD_TAIL, DISCARD_RED, DISCARD_CODEL, DISCARDS
        SHARE_NONE, SHARE_FLOW, SHARE_SOURCE, SHARE_DESTINATION, SHARE_KINDS
        PLACE_OUT, PLACE_NEW, PLACE_OLD, PLACE_PARKED
        COLOUR_RED, COLOUR_YELLOW, COLOUR_GREEN
        PASSES_NOT, PASSES_ONTO, PASSES_OUT
        FATE_SENT, FATE_PASSED_ON, FATE_QUEUE_FULL, FATE_CODEL, FATE_PUSHED_OUT, FATE_CLEARED
        FATE_NO_MEMORY, FATE_COUNT
        DROP_TAIL, DROP_RED, DROP_CODEL, DROP_PUSHED_OUT, DROP_NO_MEMORY, DROP_COUNT
        SHAPE_PASSED, SHAPE_OVER_LIMIT, SHAPE_QUEUE_FULL, SHAPE_NO_MEMORY
        SPAN_LEVELS
        ACCOUNT_FREE, ACCOUNT_HELD, ACCOUNT_IDLE, ACCOUNT_SHARED
        ALONE_BUCKET, ALONE_LINK, ALONE_OUT

    const int64_t UNITS_MAX
    const int64_t COST_MAX
    const uint64_t SHAPE_SECOND
    const int64_t SHAPE_NEVER
    const uint32_t SHAPE_NIL

    ctypedef struct meter_row_t:
        uint64_t rate[RUNGS_MAX]
        uint64_t depth[RUNGS_MAX]
        int32_t cls[RUNGS_MAX]
        uint32_t keys_max, max_sessions, max_tcp_sessions, max_udp_sessions
        int32_t overhead, over_class
        uint8_t dscp[RUNGS_MAX]
        uint8_t rungs, algorithm, key, need, count, over
        uint8_t pad[2]

    ctypedef struct link_row_t:
        uint64_t rate
        int32_t overhead, next
        uint32_t count, pad

    ctypedef struct class_row_t:
        uint64_t guarantee, ceiling, guarantee_burst, ceiling_burst, limit_bytes, share_ceiling
        uint64_t share_burst
        int64_t target_ns, interval_ns, quantum
        uint32_t link, id, parent, limit_packets, shares, red_min, red_max, red_probability
        uint8_t priority, discard, ecn, share, need
        uint8_t pad[3]

    ctypedef struct shaping_row_t:
        uint32_t id, pad
        int32_t meters[DIRECTION_COUNT][METERS_MAX]
        int32_t link[DIRECTION_COUNT]
        int32_t cls[DIRECTION_COUNT]
        int32_t by_dscp[DIRECTION_COUNT][DSCPS]

    ctypedef struct match_row_t:
        uint64_t source[HALVES]
        uint64_t source_mask[HALVES]
        uint64_t destination[HALVES]
        uint64_t destination_mask[HALVES]
        uint64_t dscp
        uint32_t row, policies_first, policies
        int32_t zone
        int16_t protocol
        uint16_t port_low, port_high
        uint8_t has_ports, family

    ctypedef struct match_kind_t:
        uint64_t source[HALVES]
        uint64_t destination[HALVES]
        uint64_t facts, policy
        uint32_t heads_first, heads_mask, first, pad

    ctypedef struct bucket_t:
        int64_t level, time_ns, depth, debt
        uint64_t fill, price, unit, pad

    ctypedef struct sum_t:
        uint64_t low, high

    ctypedef struct codel_t:
        int64_t first_above, drop_next
        uint64_t count, last_count, dropping

    ctypedef struct heap_t:
        int64_t *key
        uint32_t *at
        uint32_t *item
        uint32_t count, pad

    ctypedef struct span_t:
        uint32_t levels, total
        uint32_t first[SPAN_LEVELS]
        uint32_t words[SPAN_LEVELS]

    ctypedef struct turn_t:
        int32_t id
        uint32_t place

    ctypedef struct samples_t:
        uint64_t *rows
        uint64_t width, room, fill, every, passed

    ctypedef struct fifo_t:
        uint32_t head, tail
        uint64_t bytes, count

    ctypedef struct wait_t:
        uint64_t packet
        int64_t time_ns
        uint64_t order, flow
        uint32_t frame, ip, next, share
        uint64_t size
        uint16_t cls
        uint8_t mark, ect, direction, family, dscp, swapped

    ctypedef struct ends_t:
        uint64_t a_lo, b_lo, a_hi, b_hi

    ctypedef struct account_t:
        int64_t time_ns
        int64_t level[RUNGS_MAX]
        uint64_t key[HALVES]
        uint32_t family, sessions, tcp, udp, chain, idle_prev, idle_next, state, copied_to, pad

    ctypedef struct meter_t:
        bucket_t rung[RUNGS_MAX]
        meter_row_t row
        uint32_t first, room, used, high, free, idle_first, idle_last, shared_made, heads_first
        uint32_t heads_mask
        uint64_t passed[COUNTED]
        uint64_t dropped[COUNTED]
        uint64_t by_colour[RUNGS_MAX + 1]
        uint64_t keys_forgotten, keys_shared
        uint64_t charged[RUNGS_MAX]
        uint64_t heaviest, forgotten_before
        int64_t since

    ctypedef struct share_t:
        fifo_t fifo
        int64_t credit, level, time_ns, since
        codel_t codel
        uint64_t address[HALVES]
        uint32_t next, chain
        uint8_t family, place, made
        uint8_t pad[5]

    ctypedef struct list_t:
        uint32_t head, tail

    ctypedef struct class_t:
        bucket_t guarantee, ceiling
        int32_t parent
        uint32_t link, leaf_bit, child
        uint16_t id
        uint8_t depth, leaf, need, priority, lineage_asks, colour, asked, shuts, passes, tails
        uint32_t share_mask
        fifo_t fifo
        uint64_t waiting, waiting_bytes, largest, most, crest, slowest
        uint64_t arrived[COUNTED]
        uint64_t sent[COUNTED]
        class_row_t row
        int64_t deficit[ORDERS]
        uint64_t borrowed, giants, delay_max, dropped_bytes
        uint64_t dropped[DROP_COUNT]
        uint64_t cleared[COUNTED]
        turn_t turn[PRIORITIES]
        uint32_t children, children_count
        span_t span
        uint64_t *feed
        codel_t codel
        bucket_t share_bucket
        list_t fresh, old
        uint32_t shares_first, shares_high, parked, listed
        heap_t wakes, fat, fills
        span_t spare_span
        uint64_t *spare
        uint32_t *share_heads

    ctypedef struct link_t:
        link_row_t row
        uint32_t number, distance, rank, rows_held, classes, classes_count, leaves, leaves_count
        uint32_t lowest, ids, left
        uint32_t *leaf_by_id
        uint32_t words, map, line, line_leaf, plain
        uint64_t line_rate
        int64_t start_ns, end_ns
        uint64_t start_rest, end_rest
        int64_t due_ns
        turn_t row_at[ORDERS][PRIORITIES]
        uint32_t row_set[ORDERS]
        turn_t turn[PRIORITIES]
        uint32_t children, children_count, lent
        uint8_t row_any[ORDERS]
        uint8_t walks, exact
        span_t span, feed_span
        uint64_t *rows
        uint64_t *feed
        heap_t turns
        uint64_t queued, queued_bytes, pages, packets, bytes, line_bytes
        uint64_t peak[COUNTED]
        uint64_t crest, taken_ns
        sum_t busy, busy_before
        uint64_t before_rate
        int64_t first_ns, last_ns
        uint64_t last_rest, overlaps

    ctypedef struct way_t:
        meter_t *meter
        class_t *leaf
        link_t *link
        uint64_t pad

    ctypedef struct shaped_t:
        uint32_t row
        uint32_t account[DIRECTION_COUNT][METERS_MAX]
        uint8_t protocol, alone
        uint8_t meters[DIRECTION_COUNT]
        uint32_t dropped[DIRECTION_COUNT]
        uint64_t dropped_bytes[DIRECTION_COUNT]

    ctypedef packed struct departure_t:
        uint64_t packet
        int64_t time_ns
        uint16_t link, cls
        uint8_t fate, dscp

    ctypedef struct met_t:
        uint64_t packet
        int64_t time_ns
        uint64_t departed
        int64_t level[METERS_MAX]
        uint64_t waiting_bytes
        uint32_t meter[METERS_MAX]
        uint32_t waiting
        uint16_t link, cls
        uint8_t colour[METERS_MAX]
        uint8_t why, mark
        uint8_t pad[2]

    ctypedef struct shaper_t:
        int64_t now_ns, due_ns
        uint64_t seed, order, waiting, waiting_max, pages
        uint32_t accounted, meters_count, links_count, classes_count, rows_count, matches_count
        uint32_t kinds_count, wait_free, marked
        meter_t *meters
        account_t *accounts
        uint32_t *account_heads
        link_t *links
        uint32_t *by_distance
        heap_t due
        uint32_t *now_due
        uint32_t *children
        class_t *classes
        uint32_t *leaves
        uint64_t *maps
        int8_t *orders
        share_t *shares
        shaping_row_t *rows
        way_t *ways
        match_row_t *matches
        match_kind_t *kinds
        uint32_t *match_heads
        uint32_t *match_next
        uint32_t *policy_ids
        shaped_t *shaped
        wait_t *waits
        ends_t *ends
        uint64_t *delays
        departure_t *departures
        uint64_t departures_fill, departures_room
        met_t *met
        uint64_t met_fill, met_room
        rows_digest_t digest
        uint64_t row_keys[ROW_KEYS]
        samples_t samples
        uint64_t unshaped[COUNTED]
        uint64_t came_bytes, tcp_bytes, sessions_hit
        void *owner
        int (*request)(void *owner, uint64_t pages, uint32_t pinned) noexcept nogil
        void (*give)(void *owner, uint64_t pages) noexcept nogil

    uint64_t shape_gcd(uint64_t a, uint64_t b)
    int bucket_make(bucket_t *b, uint64_t rate, uint64_t depth, uint64_t bits, uint64_t unit_rate)
    void bucket_debt_60s(bucket_t *b)
    int64_t level_after(int64_t level, int64_t depth, uint64_t fill, uint64_t wait_ns)
    int64_t bucket_at(const bucket_t *b, int64_t now)
    int64_t bucket_settle(bucket_t *b, int64_t now)
    int64_t cost_of(uint64_t price, uint64_t things)
    int64_t bucket_want(const bucket_t *b, int need, uint64_t things)
    void bucket_pay(bucket_t *b, int64_t cost)
    void bucket_charge(bucket_t *b, int64_t now, uint64_t things)
    int64_t bucket_ready(const bucket_t *b, int64_t now, int64_t want)
    int64_t level_turned(int64_t level, uint64_t unit, uint64_t into, int64_t most)
    void bucket_take_over(bucket_t *b, const bucket_t *old, int64_t now)
    uint64_t bucket_holds(const bucket_t *b, int need)
    int64_t level_spilled(int64_t level, int64_t depth, uint64_t fill, uint64_t wait_ns,
                          int64_t into, int64_t most)
    int64_t line_end(uint64_t size, uint64_t rate, int64_t start, uint64_t rest, uint64_t *end_rest)
    void sum_add(sum_t *s, uint64_t a, uint64_t b, uint64_t c, uint64_t less)
    int red_drops(uint32_t low, uint32_t high, uint32_t percent, uint64_t waiting, uint64_t seed,
                  uint64_t packet, uint64_t link)
    uint64_t shape_scale(uint64_t hash, uint64_t count)
    uint64_t shape_isqrt(uint64_t n)
    void span_make(span_t *n, uint32_t members)
    void end_get(const ends_t *e, int which, uint64_t *address)
    void ends_set(ends_t *e, const uint64_t *a, const uint64_t *b)
    uint32_t delay_bucket(uint64_t ns)
