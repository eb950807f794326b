# layout.h and platform.h for Cython, made by tools/layout.py; meanings are said there.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "dataplane/layout.h" nogil:
    enum:
        VERDICT_FORWARD, VERDICT_INSPECT, VERDICT_BYPASS, VERDICT_DROP, VERDICT_COUNT
        REASON_NEW, REASON_HIT, REASON_RELATED, REASON_FRAGMENT, REASON_TCP_INVALID, REASON_NON_IP
        REASON_UNSUPPORTED_LINK, REASON_TRUNCATED, REASON_FRAGMENT_ORPHAN, REASON_BYPASS_CONSERVE
        REASON_BYPASS_KERNEL, REASON_BYPASS_ONE_SHOT, REASON_BYPASS_PROXY_TABLE, REASON_BYPASS_IPS
        REASON_BYPASS_OVERSIZE, REASON_BYPASS_NO_MEMORY, REASON_MALFORMED, REASON_ICMP_ORPHAN
        REASON_NO_SESSION, REASON_DENIED, REASON_CONSERVE_BLOCK, REASON_EXTREME, REASON_IPS_BLOCK
        REASON_HALF_OPEN_LIMIT, REASON_HOST_LIMIT, REASON_PROXY_TABLE_FULL, REASON_TABLE_FULL
        REASON_NO_MEMORY, REASON_KILLED, REASON_OVER_LIMIT, REASON_QUEUE_FULL
        REASON_BYPASS_INSPECTOR, REASON_INSPECTOR_BLOCK, REASON_COUNT
        EXPOSURE_CONSERVE, EXPOSURE_KERNEL, EXPOSURE_ONE_SHOT, EXPOSURE_PROXY_TABLE, EXPOSURE_IPS
        EXPOSURE_OVERSIZE, EXPOSURE_NO_MEMORY, EXPOSURE_INSPECTOR, EXPOSURE_COUNT
        END_EXPIRED, END_CLOSED, END_CLASH, END_EVICTED, END_TENSION, END_KILLED, END_CLEARED
        END_COUNT
        STATE_NONE, STATE_SYN_SENT, STATE_SYN_RECV, STATE_ESTABLISHED, STATE_FIN_WAIT
        STATE_FIN_WAIT_REPLY, STATE_TIME_WAIT, STATE_CLOSED, STATE_CLOSE_WAIT, STATE_LAST_ACK
        STATE_SYN_SENT2, STATE_COUNT
        WHEN_FULL_REFUSE, WHEN_FULL_BUCKET, WHEN_FULL_TENSION, WHEN_FULL_REPLACE_OLDEST
        WHEN_FULL_EARLY_DROP, WHEN_FULL_COUNT
        MIDSTREAM_ALLOW, MIDSTREAM_DROP, MIDSTREAM_GRACE, MIDSTREAM_COUNT
        GATE_ADMIT, GATE_BYPASS, GATE_DROP, GATE_COUNT
        OBJECT_GRANT, OBJECT_BYPASS, OBJECT_KILL, OBJECT_COUNT
        POLICY_ACCEPT, POLICY_DENY, POLICY_LOCAL, POLICY_COUNT
        ANSWER_ACCEPT, ANSWER_BLOCK, ANSWER_BYPASS, ANSWER_COUNT
        DECISION_ACCEPT, DECISION_DROP, DECISION_COUNT
        GAUGE_USED_PAGES, GAUGE_FREE_PAGES, GAUGE_SHM_PAGES, GAUGE_PROXY_SESSIONS
        GAUGE_LIVE_SESSIONS, GAUGE_IPS_FULL, GAUGE_COUNT
        KIND_KEYED, KIND_QUOTE, KIND_LATER, KIND_NO_QUOTE, KIND_NON_IP, KIND_UNSUPPORTED
        KIND_TRUNCATED, KIND_MALFORMED, KIND_BROKEN, KIND_UNTRACKED
        CLASS_SYN, CLASS_SYNACK, CLASS_FIN, CLASS_ACK, CLASS_RST, CLASS_NONE, CLASS_COUNT
        CLASS_ROOM
        FORWARD_DIRECTION, REPLY_DIRECTION, DIRECTION_COUNT
        TRACKER_PLAIN, TRACKER_LINUX, TRACKER_COUNT
        TIMEOUT_TCP, TIMEOUT_TCP_HALFOPEN, TIMEOUT_TCP_HALFCLOSE, TIMEOUT_TCP_TIMEWAIT
        TIMEOUT_TCP_RST, TIMEOUT_UDP, TIMEOUT_ICMP, TIMEOUT_OTHER, TIMEOUT_TCP_SYNRECV
        TIMEOUT_TCP_CLOSEWAIT, TIMEOUT_TCP_LASTACK, TIMEOUT_TCP_UNANSWERED, TIMEOUT_UDP_STREAM
        TIMEOUT_GRE, TIMEOUT_GRE_STREAM, TIMEOUT_COUNT
        PLACE_NONE, PLACE_SYN_SENT, PLACE_SYN_RECV, PLACE_ESTABLISHED, PLACE_FIN_WAIT
        PLACE_FIN_WAIT_REPLY, PLACE_TIME_WAIT, PLACE_CLOSED, PLACE_L_SYN_SENT
        PLACE_L_SYN_SENT_HEARD, PLACE_L_SYN_SENT2, PLACE_L_SYN_RECV, PLACE_L_SYN_RECV_BOTH
        PLACE_L_SYN_RECV_SYN, PLACE_L_ESTABLISHED, PLACE_L_ESTABLISHED_SYN, PLACE_L_FIN_WAIT
        PLACE_L_FIN_WAIT_SYN, PLACE_L_CLOSE_WAIT, PLACE_L_CLOSE_WAIT_SYN, PLACE_L_LAST_ACK
        PLACE_L_LAST_ACK_SYN, PLACE_L_LAST_ACK_TOLD, PLACE_L_TIME_WAIT, PLACE_L_CLOSED
        PLACE_L_CLOSED_SYN, PLACE_L_CLOSED_RST, PLACE_L_CLOSED_FIN, PLACE_COUNT
        TCP_IGNORED, TCP_AGAIN, TCP_ILLEGAL
        L4_NONE, L4_TCP, L4_UDP, L4_ICMP, L4_SCTP, L4_OTHER, L4_MALFORMED
        DECODE_IPV4, DECODE_IPV6, DECODE_FRAGMENT, DECODE_OFFLOADED, DECODE_COUNT
        SHIMS_MAX, EXTENSIONS_MAX, GROUP_MAX, EXPIRE_BATCH, COMING, WAYS, WHEEL_LEVELS, WHEEL_SLOTS
        NEWBORN_MAX, FORCED_MAX, POLICIES_MAX, PAGE_BYTES, SEED_WORDS, ADDRESS_BYTES, HALVES
        KEY_WORDS, HOST_CHAINS, WANTS, INSPECTIONS, REASON_ROOM, BLOCK_ROWS, EARLY_DROP_BUCKETS
        QUESTIONS_MAX, OPENINGS_MAX, OPENINGS_AHEAD, DIRTY_GAUGES, DIRTY_LIVE, BLOCKED
        STOP_NONE, STOP_PACKET, STOP_TIME, STOP_TICK, STOP_LOG, STOP_BREATH, STOP_ASK
        PARSED_BYTES
        SESSION_FROM_B, SESSION_LOCAL, SESSION_ASSURED, SESSION_HALF_OPEN, SESSION_PROXIED
        SESSION_ANSWERED, SESSION_LEARNS, SESSION_ONCE
        OBJECT_NONE, OBJECT_SCANNING, OBJECT_PASSED
        ASKED_NOT, ASKED_GATHERS, ASKED_WAITS, ASKED_COUNT, NAMED
        HAS_SOURCE, HAS_DESTINATION, HAS_PORTS
        FRAME_WHOLE, FRAME_FIRST, FRAME_LATER
        OWNER_BASE, OWNER_SESSIONS, OWNER_SHM, OWNER_CACHE, OWNER_QUEUES, OWNER_COUNT
        PEAK_FREE, PEAK_USED, PEAK_QUEUES, PEAK_COUNT
        DIGEST_WORDS, DIGEST_BLOCK, DIGEST_BYTES
        ROW_WORDS, BLOCK_ROW_COUNT, ROW_KEYS
        DUE_LINK, DUE_STEP, DUE_LEAK, DUE_OWED, DUE_EXPIRY, DUE_COLLECT, DUE_IPS, DUE_ROUND
        DUE_SAMPLE, DUE_COUNT
        POLICY_TABLES

    const int64_t COLLECTOR_NS
    const int64_t UDP_STREAM_NS
    const int64_t FRAGMENT_LIFE_NS
    const uint32_t NIL
    const int64_t NEVER
    const int64_t SWEEP_MIN_NS
    const int64_t TIME_MAX_NS
    const int64_t PAGES_MAX
    const int64_t FRAGMENTS_MAX
    const int64_t VICTIMS_MAX
    const uint64_t OBJECT_BYTES_MAX
    const int64_t CLOCK_MEMORY_NS
    const uint32_t RECORD_MASK
    const uint32_t PROTECTED_BIT
    const uint32_t SLOT_BIT
    const uint32_t HOST_SIX
    const uint64_t META_ASKER_B
    uint8_t META_PROTOCOL(uint64_t meta)
    uint16_t META_ZONE(uint64_t meta)
    uint8_t META_FAMILY(uint64_t meta)
    const char *const VERDICT_NAMES[]
    const char *const REASON_NAMES[]
    const char *const EXPOSURE_NAMES[]
    const char *const END_NAMES[]
    const char *const STATE_NAMES[]
    const char *const WHEN_FULL_NAMES[]
    const char *const MIDSTREAM_NAMES[]
    const char *const GATE_NAMES[]
    const char *const OBJECT_NAMES[]
    const char *const POLICY_NAMES[]
    const char *const ANSWER_NAMES[]
    const char *const DECISION_NAMES[]
    const char *const GAUGE_NAMES[]
    const char *const TRACKER_NAMES[]
    const uint8_t FLAG_CLASS[TRACKER_COUNT][64]
    const char *const TIMEOUT_NAMES[]
    const char *const PLACE_NAMES[]
    const uint8_t PLACE_STATE[PLACE_COUNT]
    const uint8_t PLACE_TIMEOUT[PLACE_COUNT]
    const uint8_t TCP_FIRST[TRACKER_COUNT][DIRECTION_COUNT][CLASS_COUNT]
    const uint8_t TCP_STEP[PLACE_COUNT][DIRECTION_COUNT][CLASS_ROOM]

    ctypedef struct fw_key_t:
        uint64_t meta, a_lo, b_lo, a_hi, b_hi

    ctypedef struct packet_t:
        fw_key_t key
        uint64_t hash
        uint32_t payload, bucket
        uint64_t head
        uint8_t kind, fragment, swapped, class_, syn, protocol, decode, no_start
        uint64_t fragment_meta, source_lo, source_hi, destination_lo, destination_hi
        uint32_t fragment_id, guess, direction
        uint32_t pad2[3]

    ctypedef struct record_t:
        uint64_t meta, a_lo, b_lo
        int64_t last_seen_ns
        uint32_t packets[DIRECTION_COUNT]
        uint64_t bytes[DIRECTION_COUNT]
        uint8_t place, flags, inspection, bypass, timeout, object_phase
        uint16_t policy
        uint64_t a_hi, b_hi
        int64_t created_ns
        uint64_t created_packet
        uint32_t age_prev, age_next, host
        uint8_t object_direction, object_cause, exposed, asked
        uint64_t object_bytes
        uint32_t question, timer_prev

    ctypedef struct free_t:
        uint64_t meta
        uint32_t coming[COMING]

    ctypedef struct line_t:
        uint16_t tag[WAYS]
        uint32_t record[WAYS]
        uint32_t next, count
        uint32_t hosts[HOST_CHAINS]

    ctypedef struct host_t:
        uint64_t lo, hi
        uint32_t count, next

    ctypedef struct host_row_t:
        uint64_t high, low
        uint32_t live, family

    ctypedef struct fragment_t:
        uint64_t meta, source_lo, source_hi, destination_lo, destination_hi
        fw_key_t key
        int64_t inserted_ns
        uint32_t id, chain, older, newer
        uint8_t used, session, swapped, verdict, reason, direction

    ctypedef struct session_row_t:
        uint8_t initiator[ADDRESS_BYTES]
        uint8_t responder[ADDRESS_BYTES]
        uint16_t initiator_port, responder_port, zone
        uint8_t protocol, family
        uint32_t policy
        uint8_t state, inspection, cause, exposed
        uint64_t flow
        int64_t created_ns, last_seen_ns, ended_ns
        uint64_t created_packet, ended_packet
        uint64_t bytes[DIRECTION_COUNT]
        uint32_t packets[DIRECTION_COUNT]

    ctypedef struct frame_row_t:
        uint64_t key[KEY_WORDS]
        uint64_t flow
        uint64_t source[HALVES]
        uint64_t destination[HALVES]
        uint32_t payload, length, captured, fragment_id
        uint16_t source_port, destination_port, zone, ethertype
        uint8_t kind, family, protocol, fragment_protocol, tcp_flags, fragment, swapped, has
        uint32_t ip_bytes
        uint8_t dscp

    ctypedef struct sample_t:
        int64_t time_ns
        uint64_t packet, live, created, ended, tension, evicted
        uint64_t pages[OWNER_QUEUES]
        uint64_t free, exposed_packets
        uint64_t verdicts[VERDICT_COUNT]
        uint64_t reasons[REASON_COUNT]
        uint8_t mode, asked

    ctypedef struct audit_t:
        uint64_t live, index_entries, hosts_live, timers, half_open, proxied, spared, shm_pages
        uint64_t depth, misplaced, tags_wrong, lines_wrong, host_entries_wrong, timers_wrong
        uint64_t overdue, ages_wrong, fragments_wrong

    ctypedef struct digest_t:
        uint64_t h[DIGEST_WORDS]
        uint64_t bytes
        uint32_t fill, pad
        uint8_t block[DIGEST_BLOCK]

    ctypedef struct rows_digest_t:
        uint64_t low, high, count
        digest_t blocks

    ctypedef struct step_t:
        int64_t time_ns, pages
        uint32_t owner

    ctypedef struct leak_t:
        int64_t anchor_ns, next_ns
        uint64_t rate, taken
        uint32_t owner, stalled

    ctypedef struct gate_t:
        uint8_t action[INSPECTIONS]
        uint8_t reason[INSPECTIONS]
        uint8_t cause[INSPECTIONS]
        uint8_t full_action, full_reason, full_cause, ips_bypass, object_start, object_cause
        uint8_t page_request, object_refused, idledrop, mode, flow_watched
        int64_t low[GAUGE_COUNT]
        int64_t high[GAUGE_COUNT]

    ctypedef struct gauges_t:
        uint64_t used_pages, free_pages, shm_pages, proxy_sessions, live_sessions, ips_full
        uint64_t cache_pages
        int64_t now_ns
        uint64_t packet

    ctypedef struct config_t:
        uint64_t seeds[SEED_WORDS]
        uint64_t max_connections, buckets
        int64_t sweep_ns, midstream_grace_ns, timeline_ns, idledrop_idle_ns, timeline_most_ns
        int64_t max_step_ns
        int64_t timeout_ns[TIMEOUT_COUNT]
        uint64_t half_open_limit, sessions_per_host, proxy_max_sessions, total_pages, base_pages
        uint64_t cache_limit_pages, proxy_session_pages, oversize_bytes, sessions_per_page
        uint64_t pages_per_session, preallocated_pages, ips_socket_bytes, ips_throughput_bps
        uint64_t fail_nth[FORCED_MAX]
        uint64_t fail_every[FORCED_MAX]
        uint32_t fail_nths, fail_everys, fragments_max, victims_max, steps, leaks
        uint8_t when_full, midstream, preallocated, non_ip_verdict, orphan_verdict, zone, log
        uint8_t tracker, invalid_verdict, ports_decide, short_cut

    ctypedef struct pages_t:
        uint64_t owner[OWNER_COUNT]
        uint64_t free, script_shm
        uint64_t short_[OWNER_SHM + 1]
        uint64_t peak[PEAK_COUNT]

    ctypedef struct counters_t:
        uint64_t packets, bytes, time_reversed, time_jumped
        uint64_t outcome[VERDICT_COUNT][REASON_ROOM]
        uint64_t decode[DECODE_COUNT]
        uint64_t sessions_created, sessions_peak, sessions_reborn
        uint64_t ended[END_COUNT]
        uint64_t memory_page_requests, memory_page_failures, stampede_passes, stampede_pages_needed
        uint64_t deleted[WANTS]
        uint64_t passes_for[WANTS]
        uint64_t exposed_packets[EXPOSURE_COUNT]
        uint64_t exposed_bytes[EXPOSURE_COUNT]
        uint64_t exposed_sessions[EXPOSURE_COUNT]
        uint64_t exposure_sessions, proxy_peak, proxy_objects, proxy_objects_bypassed
        uint64_t proxy_objects_oversize, ips_filled_bytes, ips_full_count, fragments_forgotten
        uint64_t victims, grace_unsure, failures_off, failure_used, failure_free, failure_shm
        uint64_t failure_cache, failure_need

    ctypedef struct fw_clock_t:
        int64_t now_ns, deadline_ns, start_ns
        uint64_t step_packet
        int64_t step_ns
        int64_t due_ns[DUE_COUNT]
        uint64_t unfinished
        int64_t tick_end_ns
        uint64_t tick
        uint64_t map[WHEEL_LEVELS]
        uint32_t head[WHEEL_LEVELS * WHEEL_SLOTS]

    ctypedef struct block4_t:
        uint32_t source[BLOCK_ROWS]
        uint32_t source_mask[BLOCK_ROWS]
        uint32_t destination[BLOCK_ROWS]
        uint32_t destination_mask[BLOCK_ROWS]

    ctypedef struct row6_t:
        uint64_t source[HALVES]
        uint64_t source_mask[HALVES]
        uint64_t destination[HALVES]
        uint64_t destination_mask[HALVES]

    ctypedef struct guard_t:
        uint32_t policy
        int32_t zone
        int16_t protocol
        uint16_t port_low, port_high, has_ports

    ctypedef struct segment_t:
        uint32_t first, rows

    ctypedef struct ports_t:
        uint32_t *bounds
        segment_t *segments
        uint32_t count

    ctypedef struct policies_t:
        ports_t ports[POLICY_TABLES]
        block4_t *blocks
        row6_t *rows6
        guard_t *guards4
        guard_t *guards6
        uint32_t *id
        uint8_t *action
        uint8_t *inspection
        uint32_t count

    ctypedef struct question_t:
        session_row_t session
        uint64_t packet, seen
        uint32_t size, next
        uint8_t reply, gap

    ctypedef struct inspector_t:
        int (*look)(void *fw, const packet_t *p, const uint8_t *data, uint32_t captured,
                    uint32_t wire, uint32_t link, const void *parser) noexcept nogil
        void (*gather)(void *fw, uint32_t record, uint32_t payload) noexcept nogil
        void (*ask)(void *fw, uint32_t record) noexcept nogil
        void (*forget)(void *fw, uint32_t record) noexcept nogil
        uint8_t *rows
        uint64_t stride
        uint32_t places, free, first_bytes, waiting
        uint32_t questions[QUESTIONS_MAX]
        const uint8_t *data
        const void *parser
        uint32_t captured, wire, link

    ctypedef struct opening_t:
        uint8_t initiator[ADDRESS_BYTES]
        uint8_t responder[ADDRESS_BYTES]
        uint16_t initiator_port, responder_port, zone
        uint8_t protocol, family
        uint32_t policy, inspection
        uint64_t flow
        int64_t time_ns
        uint64_t packet

    ctypedef struct decision_t:
        fw_key_t key
        uint32_t from_b, decision, next

    ctypedef struct decider_t:
        int (*look)(void *fw, const packet_t *p, int64_t time_ns) noexcept nogil
        opening_t *openings
        decision_t *decisions
        uint32_t *heads
        uint64_t seen_packet
        uint32_t answered, count

    ctypedef struct egress_t:
        void (*parse)(void *fw) noexcept nogil
        void (*fetch)(const void *fw, const packet_t *packets, uint32_t count) noexcept nogil
        void (*fetch_accounts)(const void *fw, const packet_t *packets,
                               uint32_t count) noexcept nogil
        uint32_t (*packet)(void *fw, const packet_t *p, uint32_t record, uint32_t wire,
                           uint32_t said) noexcept nogil
        uint32_t (*late)(void *fw, const packet_t *p, uint32_t record, uint32_t wire,
                         uint32_t said) noexcept nogil
        uint32_t (*bucket)(void *fw, const packet_t *p, uint32_t record, uint32_t wire,
                           uint32_t said) noexcept nogil
        uint32_t (*out)(void *fw, const packet_t *p, uint32_t record, uint32_t wire,
                        uint32_t said) noexcept nogil
        uint32_t (*queue)(void *fw, const packet_t *p, uint32_t record, uint32_t wire,
                          uint32_t said) noexcept nogil
        uint32_t (*meet)(void *fw, const packet_t *p, uint32_t record, uint32_t wire,
                         uint32_t said) noexcept nogil
        void (*moment)(void *fw, int64_t at_ns) noexcept nogil
        void (*sample)(void *fw, int asked) noexcept nogil
        int64_t (*next)(const void *fw) noexcept nogil
        uint32_t (*match)(void *fw, const packet_t *p, int from_b, uint32_t policy) noexcept nogil
        void (*begin)(void *fw, const packet_t *p, int from_b, uint32_t policy, uint32_t record,
                      uint32_t row) noexcept nogil
        void (*end)(void *fw, uint32_t record) noexcept nogil

    ctypedef struct timeout_t:
        uint64_t ticks, rest_ns

    ctypedef struct control_t:
        config_t config
        gate_t gate
        policies_t policies
        timeout_t timeouts[TIMEOUT_COUNT]

    ctypedef struct memory_t:
        pages_t pages
        uint64_t live, half_open, proxy_sessions, spared
        uint16_t dirty, quiet
        uint32_t next_step
        uint64_t ips_level, ips_carry
        int64_t ips_ns
        uint64_t ips_full
        step_t *steps
        leak_t *leaks
        fragment_t *fragments
        uint32_t *fragment_heads
        uint32_t fragment_mask, fragment_oldest, fragment_newest, fragment_free

    ctypedef struct table_t:
        line_t *lines
        record_t *records
        uint32_t *timers
        host_t *hosts
        uint32_t *reborn
        uint64_t *graves
        uint32_t *newborn
        uint32_t free_line, free_record, free_host, hosts_high, oldest, newest, reborn_mask
        uint32_t graves_mask, graves_blind, records_high

    ctypedef struct fw_t:
        control_t control
        memory_t memory
        fw_clock_t clock
        int64_t breath, round_ns
        uint64_t round_due, packet
        uint32_t shift, of_session, exposure, ip_bytes, traffic_class, hooked
        uint64_t looked
        void *frames
        void *parser
        uint64_t frames_from
        void *shaper
        egress_t egress
        inspector_t *inspector
        decider_t *decider
        uint64_t decided
        table_t table
        session_row_t *victims
        session_row_t *log
        uint64_t log_fill, log_room
        sample_t *samples
        uint64_t samples_fill, samples_room
        int64_t sample_step_ns
        counters_t counters
        digest_t packet_digest, victim_digest

    uint64_t fw_head(uint64_t swapped, uint64_t class_, uint64_t syn, uint64_t protocol,
                     uint64_t decode)

cdef extern from "dataplane/platform.h" nogil:
    void FW_ASSERT(int condition)
    void fw_prefetch(const void *p)
    void fw_prefetch_read(const void *p)
    int fw_likely(int x)
    int fw_unlikely(int x)
    const uint64_t GOLDEN_RATIO
    int fw_exchange(int *state, int expected, int wanted)
    void fw_clear_128(void *p)
    uint16_t fw_be16(const uint8_t *p)
    uint32_t fw_be32(const uint8_t *p)
    uint64_t fw_be64(const uint8_t *p)
    void fw_put64(uint8_t *p, uint64_t v)
    void fw_put32(uint8_t *p, uint32_t v)
    uint16_t fw_le16(const uint8_t *p)
    uint32_t fw_le32(const uint8_t *p)
    uint64_t fw_le64(const uint8_t *p)
    uint64_t fw_mum(uint64_t a, uint64_t b)
    uint64_t fw_splitmix(uint64_t z)
    uint32_t fw_bucket(uint64_t hash, uint64_t buckets)
    int fw_ctz32(uint32_t v)
    int fw_ctz64(uint64_t v)
    int fw_clz64(uint64_t v)
    uint64_t fw_once64(const uint64_t *p)
    uint32_t fw_once32(const uint32_t *p)
    int fw_past(uint64_t offset, uint64_t bytes, uint64_t size)
    uint64_t fw_muldiv(uint64_t a, uint64_t b, uint64_t c, int up)
    uint64_t fw_drain(uint64_t elapsed, uint64_t bps, uint64_t *carry)
    int64_t fw_drained_ns(uint64_t bytes, uint64_t bps, uint64_t carry)
    uint32_t fw_tags(const uint16_t *tags, uint16_t tag)
    uint32_t fw_match8(const uint32_t *s, const uint32_t *sm, const uint32_t *d, const uint32_t *dm,
                       uint32_t source, uint32_t destination)
