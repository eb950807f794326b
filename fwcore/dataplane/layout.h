/* Every enum, table and struct of the fast path, once.
 *
 * Lists are X-macros, so that the number, the name and the Python IntEnum of a thing cannot
 * disagree. Numbers are part of the outcome digest: append, never reorder.
 */
#ifndef FWCORE_LAYOUT_H
#define FWCORE_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#define FW_AS_NAME(prefix, name) #name,

#define FW_VERDICTS(X, p) X(p, FORWARD) X(p, INSPECT) X(p, BYPASS) X(p, DROP)

#define FW_REASONS(X, p)                                                                        \
    X(p, NEW) X(p, HIT) X(p, RELATED) X(p, FRAGMENT) X(p, TCP_INVALID) X(p, NON_IP)             \
    X(p, UNSUPPORTED_LINK) X(p, TRUNCATED) X(p, FRAGMENT_ORPHAN) X(p, BYPASS_CONSERVE)          \
    X(p, BYPASS_KERNEL) X(p, BYPASS_ONE_SHOT) X(p, BYPASS_PROXY_TABLE) X(p, BYPASS_IPS)         \
    X(p, BYPASS_OVERSIZE) X(p, BYPASS_NO_MEMORY) X(p, MALFORMED) X(p, ICMP_ORPHAN)              \
    X(p, NO_SESSION) X(p, DENIED) X(p, CONSERVE_BLOCK) X(p, EXTREME) X(p, IPS_BLOCK)            \
    X(p, HALF_OPEN_LIMIT) X(p, HOST_LIMIT) X(p, PROXY_TABLE_FULL) X(p, TABLE_FULL)              \
    X(p, NO_MEMORY) X(p, KILLED) X(p, OVER_LIMIT) X(p, QUEUE_FULL) X(p, BYPASS_INSPECTOR)       \
    X(p, INSPECTOR_BLOCK)

#define FW_EXPOSURES(X, p)                                                                      \
    X(p, CONSERVE) X(p, KERNEL) X(p, ONE_SHOT) X(p, PROXY_TABLE) X(p, IPS) X(p, OVERSIZE)       \
    X(p, NO_MEMORY) X(p, INSPECTOR)

#define FW_ENDS(X, p)                                                                           \
    X(p, EXPIRED) X(p, CLOSED) X(p, CLASH) X(p, EVICTED) X(p, TENSION) X(p, KILLED) X(p, CLEARED)

#define FW_STATES(X, p)                                                                         \
    X(p, NONE) X(p, SYN_SENT) X(p, SYN_RECV) X(p, ESTABLISHED) X(p, FIN_WAIT)                   \
    X(p, FIN_WAIT_REPLY) X(p, TIME_WAIT) X(p, CLOSED) X(p, CLOSE_WAIT) X(p, LAST_ACK)           \
    X(p, SYN_SENT2)

#define FW_WHEN_FULLS(X, p)                                                                     \
    X(p, REFUSE) X(p, BUCKET) X(p, TENSION) X(p, REPLACE_OLDEST) X(p, EARLY_DROP)
#define FW_MIDSTREAMS(X, p) X(p, ALLOW) X(p, DROP) X(p, GRACE)
#define FW_GATE_ACTIONS(X, p) X(p, ADMIT) X(p, BYPASS) X(p, DROP)
#define FW_OBJECT_ACTIONS(X, p) X(p, GRANT) X(p, BYPASS) X(p, KILL)
#define FW_POLICY_ACTIONS(X, p) X(p, ACCEPT) X(p, DENY) X(p, LOCAL)
#define FW_ANSWERS(X, p) X(p, ACCEPT) X(p, BLOCK) X(p, BYPASS)
#define FW_DECISIONS(X, p) X(p, ACCEPT) X(p, DROP)
#define FW_GAUGES(X, p)                                                                         \
    X(p, USED_PAGES) X(p, FREE_PAGES) X(p, SHM_PAGES) X(p, PROXY_SESSIONS) X(p, LIVE_SESSIONS)  \
    X(p, IPS_FULL)

#define FW_AS_ENUM(prefix, name) prefix##name,
enum { FW_VERDICTS(FW_AS_ENUM, VERDICT_) VERDICT_COUNT };
enum { FW_REASONS(FW_AS_ENUM, REASON_) REASON_COUNT };
enum { FW_EXPOSURES(FW_AS_ENUM, EXPOSURE_) EXPOSURE_COUNT };
enum { FW_ENDS(FW_AS_ENUM, END_) END_COUNT };
enum { FW_STATES(FW_AS_ENUM, STATE_) STATE_COUNT };
enum { FW_WHEN_FULLS(FW_AS_ENUM, WHEN_FULL_) WHEN_FULL_COUNT };
enum { FW_MIDSTREAMS(FW_AS_ENUM, MIDSTREAM_) MIDSTREAM_COUNT };
enum { FW_GATE_ACTIONS(FW_AS_ENUM, GATE_) GATE_COUNT };
enum { FW_OBJECT_ACTIONS(FW_AS_ENUM, OBJECT_) OBJECT_COUNT };
enum { FW_POLICY_ACTIONS(FW_AS_ENUM, POLICY_) POLICY_COUNT };
enum { FW_ANSWERS(FW_AS_ENUM, ANSWER_) ANSWER_COUNT };
enum { FW_DECISIONS(FW_AS_ENUM, DECISION_) DECISION_COUNT }; /* from here on: a policy's index */
enum { FW_GAUGES(FW_AS_ENUM, GAUGE_) GAUGE_COUNT };

static const char *const VERDICT_NAMES[] = {FW_VERDICTS(FW_AS_NAME, )};
static const char *const REASON_NAMES[] = {FW_REASONS(FW_AS_NAME, )};
static const char *const EXPOSURE_NAMES[] = {FW_EXPOSURES(FW_AS_NAME, )};
static const char *const END_NAMES[] = {FW_ENDS(FW_AS_NAME, )};
static const char *const STATE_NAMES[] = {FW_STATES(FW_AS_NAME, )};
static const char *const WHEN_FULL_NAMES[] = {FW_WHEN_FULLS(FW_AS_NAME, )};
static const char *const MIDSTREAM_NAMES[] = {FW_MIDSTREAMS(FW_AS_NAME, )};
static const char *const GATE_NAMES[] = {FW_GATE_ACTIONS(FW_AS_NAME, )};
static const char *const OBJECT_NAMES[] = {FW_OBJECT_ACTIONS(FW_AS_NAME, )};
static const char *const POLICY_NAMES[] = {FW_POLICY_ACTIONS(FW_AS_NAME, )};
static const char *const ANSWER_NAMES[] = {FW_ANSWERS(FW_AS_NAME, )};
static const char *const DECISION_NAMES[] = {FW_DECISIONS(FW_AS_NAME, )};
static const char *const GAUGE_NAMES[] = {FW_GAUGES(FW_AS_NAME, )};

/* --- the words of a packet and of a step --------------------------------------------------- */

/* What parsing made of a frame. 4 and 6 are left free: parse_link answers with an IP version. */
enum {
    KIND_KEYED = 0,   /* has a key of its own: whole, or a first fragment */
    KIND_QUOTE = 8,   /* an ICMP error; the key is that of the packet it quotes */
    KIND_LATER,       /* a later fragment; found by its fragment key */
    KIND_NO_QUOTE,    /* an ICMP error whose quote gives no key */
    KIND_NON_IP,
    KIND_UNSUPPORTED,
    KIND_TRUNCATED,
    KIND_MALFORMED,
    KIND_BROKEN,      /* tracker linux: what is above IP contradicts itself */
    KIND_UNTRACKED,   /* tracker linux: ICMPv6 that passes without an entry */
};

#include "tcp.h" /* FLAG_CLASS, PLACE_*, TIMEOUT_*, TCP_FIRST, TCP_STEP */

/* Layer 4 as the decode counters name it. */
enum { L4_NONE, L4_TCP, L4_UDP, L4_ICMP, L4_SCTP, L4_OTHER, L4_MALFORMED };
/* A packet's decode code: L4 in bits 0-2, then these; one counter for each code. */
enum { DECODE_IPV4 = 8, DECODE_IPV6 = 16, DECODE_FRAGMENT = 32, DECODE_OFFLOADED = 64,
       DECODE_COUNT = 128 };

enum {
    SHIMS_MAX = 16,              /* VLAN tags and MPLS labels of one frame [D] */
    EXTENSIONS_MAX = 8,          /* IPv6 extension headers of one packet [D] */
    GROUP_MAX = 64,              /* packets whose cache misses overlap */
    EXPIRE_BATCH = 32,           /* sessions of a tick, likewise */
    COMING = 14,                 /* free records that a free one knows */
    WAYS = 8,                    /* entries of one line of the index */
    WHEEL_LEVELS = 8, WHEEL_SLOTS = 64,  /* 2^48 ticks: more than there are, see SWEEP_MIN_NS */
    NEWBORN_MAX = 16384,         /* sessions known by their birth, see session_begin */
    FORCED_MAX = 32,             /* fail_nth and fail_every rows of a pressure script */
    POLICIES_MAX = 65535,
    PAGE_BYTES = 4096,
    SEED_WORDS = 6,              /* of the keyed hash */
    ADDRESS_BYTES = 16,
    HALVES = 2,                  /* of an address: high and low 64 bits */
    KEY_WORDS = 5,               /* of fw_key_t */
    HOST_CHAINS = 2,             /* of a bucket, see host_head */
    WANTS = 2,                   /* why tension passes: a page, room in the table */
    INSPECTIONS = 4,             /* of a policy's inspection: none, flow, proxy, flow+proxy */
    REASON_ROOM = 64,            /* reasons of a verdict's row of counters */
    BLOCK_ROWS = 8,              /* IPv4 rows of policies compared side by side */
    EARLY_DROP_BUCKETS = 8,      /* Linux: NF_CT_EVICTION_RANGE [R] */
    QUESTIONS_MAX = 256,         /* sessions of which an inspector is asked at once */
    OPENINGS_MAX = 1024,         /* sessions of which a decider is asked at once */
    OPENINGS_AHEAD = 4096,       /* ... frames that are looked through for them */
    DIRTY_GAUGES = 1, DIRTY_LIVE = 2, /* a gauge moved; the number of sessions did */
    BLOCKED = 255,               /* record_t.bypass: the inspector said so */
};
/* Why the loop came back before the end of the chunk. */
enum {
    STOP_NONE = 0,
    STOP_PACKET = 1,             /* a gauge left its quiet interval with this packet */
    STOP_TIME = 2,               /* ... with something due before it; it is yet to be judged */
    STOP_TICK = 4,               /* with STOP_TIME: a round of idledrop is due */
    STOP_LOG = 8,                /* the session log wants to be collected */
    STOP_BREATH = 16,            /* much was done: look whether to go on; changes nothing */
    STOP_ASK = 32,               /* who is asked has to answer before the packet is judged */
};
#define COLLECTOR_NS 60000000000LL      /* Linux GC_SCAN_INTERVAL_MAX, 60 s [R] */
#define UDP_STREAM_NS 2000000000LL      /* Linux: UDP is a stream later than this [R] */
#define FRAGMENT_LIFE_NS 30000000000LL  /* Linux ipfrag_time, 30 s [R] */
#define NIL 0xFFFFFFFFu                 /* no record, no line, no host */
#define NEVER INT64_MAX                 /* a deadline that is not set */
#define SWEEP_MIN_NS 1000000LL          /* the shortest distance of two ticks */
#define TIME_MAX_NS (1LL << 62)         /* capture time ends here */
#define PAGES_MAX (1LL << 50)           /* of any owner, or asked for at once */
#define FRAGMENTS_MAX (1LL << 28)       /* known at once */
#define VICTIMS_MAX (1LL << 28)         /* kept in the ledger */
#define OBJECT_BYTES_MAX (1ULL << 40)   /* oversize_bytes goes so far */
#define CLOCK_MEMORY_NS (1LL << 60)     /* 36 years: as far back as a clock set back remembers */
_Static_assert(UINT64_MAX / SWEEP_MIN_NS < 63ULL << 6 * (WHEEL_LEVELS - 1), "each has its slot");
#define RECORD_MASK 0x7FFFFFFFu         /* record number within an index entry ... */
#define PROTECTED_BIT 0x80000000u       /* ... whose top bit says: not for a tension pass */
#define SLOT_BIT 0x80000000u            /* record_t.timer_prev: what follows is the slot */
#define HOST_SIX 0x80000000u            /* host_t.count: an IPv6 address */

/* --- structs ------------------------------------------------------------------------------- */

/* A key: endpoint a is the smaller (address, port). IPv4 addresses stand in the low half. */
typedef struct {
    uint64_t meta;   /* port a, port b << 16, zone << 32, protocol << 48, family << 56 */
    uint64_t a_lo;   /* address of endpoint a: low 64 bits */
    uint64_t b_lo;
    uint64_t a_hi;   /* high 64 bits, 0 for IPv4 */
    uint64_t b_hi;
} fw_key_t;
_Static_assert(sizeof(fw_key_t) == 8 * KEY_WORDS, "a key has no holes");

#define META_PROTOCOL(meta) ((uint8_t)((meta) >> 48))
#define META_ZONE(meta) ((uint16_t)((meta) >> 32 & 0xFFF))
#define META_ASKER_B (1ULL << 47)  /* tracker linux: the ICMP request is endpoint b's */
#define META_FAMILY(meta) ((uint8_t)((meta) >> 56))

/* A frame's packet. The second half is written for fragments only, but for `guess` and `way`. */
typedef struct {
    fw_key_t key;
    uint64_t hash;         /* keyed; 0 unless there is a key */
    uint32_t payload;      /* bytes of transport payload, from the IP lengths */
    uint32_t bucket;
    union {
        uint64_t head;             /* the eight that follow at once, see fw_head */
        struct {
            uint8_t kind;          /* KIND_* */
            uint8_t fragment;      /* 1: first or later fragment, the second half is set */
            uint8_t swapped;       /* 1: the source is endpoint b */
            uint8_t class_;        /* CLASS_*; CLASS_NONE unless TCP */
            uint8_t syn;           /* 1: a TCP segment with SYN */
            uint8_t protocol;      /* of the key; 0 without one */
            uint8_t decode;        /* DECODE_* | L4_* */
            uint8_t no_start;      /* tracker linux: ICMP that is no request begins nothing */
        };
    };
    uint64_t fragment_meta;              /* zone << 32, protocol << 48, family << 56 */
    uint64_t source_lo, source_hi, destination_lo, destination_hi;
    uint32_t fragment_id;
    uint32_t guess;                      /* the record that seemed to be the key's a little ago */
    uint32_t direction;        /* written by who judges: FORWARD_DIRECTION or REPLY_DIRECTION */
    uint32_t pad2[3];
} packet_t;
enum { PARSED_BYTES = 64 };  /* what parsing writes of every frame */
_Static_assert(offsetof(packet_t, fragment_meta) == PARSED_BYTES, "the hot part comes first");
_Static_assert(sizeof(packet_t) == 128, "two cache lines");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fw_head, and loads without a turn");

/* packet_t.head of a packet that has a key and is no fragment. */
static inline uint64_t fw_head(uint64_t swapped, uint64_t class_, uint64_t syn, uint64_t protocol,
                               uint64_t decode) {
    return (uint64_t)KIND_KEYED | swapped << 16 | class_ << 24 | syn << 32 | protocol << 40
           | decode << 48;
}

/* A session: the first cache line is all that a hit of an IPv4 packet touches. */
enum {
    SESSION_FROM_B = 1,      /* the initiator is endpoint b */
    SESSION_LOCAL = 2,       /* TCP to the firewall itself: protected from tension */
    SESSION_ASSURED = 4,     /* TCP that has been ESTABLISHED; tracker linux: as Linux means it */
    SESSION_HALF_OPEN = 8,   /* TCP before ESTABLISHED: counted in half_open */
    SESSION_PROXIED = 16,    /* holds the pages of a proxy session */
    SESSION_ANSWERED = 32,   /* tracker linux: the responder was heard */
    SESSION_LEARNS = 64,     /* tracker linux: not assured, and may come to be */
    SESSION_ONCE = 128,      /* no TCP, seen once: half-open until its next packet */
};
enum { OBJECT_NONE, OBJECT_SCANNING, OBJECT_PASSED }; /* phase: none, scanned, let through */
enum { ASKED_NOT, ASKED_GATHERS, ASKED_WAITS, ASKED_COUNT, /* an inspector: its first bytes come,
                                                              its answer is yet to come */
       NAMED = 128 };                                      /* within end_sessions: named already */
typedef struct {
    uint64_t meta, a_lo, b_lo; /* fw_key_t, in its order; meta 0: the record is free */
    int64_t last_seen_ns;
    uint32_t packets[DIRECTION_COUNT]; /* forward, reply; modulo 2^32 */
    uint64_t bytes[DIRECTION_COUNT]; /* on the wire */
    uint8_t place;             /* PLACE_* */
    uint8_t flags;             /* SESSION_* */
    uint8_t inspection;        /* class bits the policy asks for: 1 flow, 2 proxy */
    uint8_t bypass;            /* 0: not bypassed, BLOCKED, else 1 + EXPOSURE_* of the proxy part */
    uint8_t timeout;           /* TIMEOUT_* */
    uint8_t object_phase;      /* OBJECT_* */
    uint16_t policy;           /* index */
    uint64_t a_hi, b_hi;       /* second line: IPv6, birth, links, objects */
    int64_t created_ns;
    uint64_t created_packet;
    uint32_t age_prev, age_next;     /* order of creation */
    uint32_t host;                   /* the initiator's entry */
    uint8_t object_direction;              /* direction of the object being scanned */
    uint8_t object_cause;            /* EXPOSURE_* of an object let through */
    uint8_t exposed;                 /* bit a cause: counted in that cause's sessions */
    uint8_t asked;                   /* with an inspector: ASKED_*; NAMED */
    uint64_t object_bytes;           /* of the object being scanned; oversize_bytes at the time */
    uint32_t question;               /* with an inspector: place of its row + 1; 0: none */
    uint32_t timer_prev;             /* before it in its wheel slot's list; top bit: the slot */
} record_t;
_Static_assert((int)SESSION_FROM_B == (int)REPLY_DIRECTION, "verdict_hit's exclusive or");
_Static_assert(sizeof(record_t) == 128, "two cache lines");
_Static_assert(offsetof(record_t, a_hi) == 64, "a hit of IPv4 stays in the first line");
_Static_assert(offsetof(record_t, a_lo) == offsetof(fw_key_t, a_lo), "the key's order");

/* The first line of a record that was used and is free: which free ones come after it, see
 * table_free. */
typedef struct {
    uint64_t meta;               /* 0: the record is free */
    uint32_t coming[COMING];     /* the next free records, up to NIL */
} free_t;
_Static_assert(sizeof(free_t) == 64, "one line");
_Static_assert(offsetof(free_t, meta) == offsetof(record_t, meta), "free by the same word");

/* A line of the index: up to eight sessions of a bucket, oldest first. */
typedef struct {
    uint16_t tag[WAYS];      /* low 16 bits of the hash */
    uint32_t record[WAYS];   /* number, top bit: protected */
    uint32_t next;           /* line that goes on with the bucket, NIL: none */
    uint32_t count;          /* entries in this line; only the last line may be short */
    uint32_t hosts[HOST_CHAINS]; /* of a bucket's first line: chains of hosts, see host_head */
} line_t;
_Static_assert(sizeof(line_t) == 64, "one cache line");

/* An initiator. */
typedef struct {
    uint64_t lo, hi;
    uint32_t count;          /* sessions that live, see host_live; top bit: IPv6. 0: free */
    uint32_t next;           /* chain of its hash, or of free entries */
} host_t;
_Static_assert(sizeof(host_t) == 24, "no holes");

/* A host as others see it. NumPy's dtype is made from this. */
typedef struct {
    uint64_t high, low;      /* halves of the address; IPv4 in the low one */
    uint32_t live;           /* sessions it has initiated and that live */
    uint32_t family;         /* 4 or 6 */
} host_row_t;
_Static_assert(sizeof(host_row_t) == 24, "no holes");

/* A first fragment that later ones follow. Linked in order of arrival. */
typedef struct {
    uint64_t meta, source_lo, source_hi, destination_lo, destination_hi;
    fw_key_t key;            /* the session's, when session is 1 */
    int64_t inserted_ns;
    uint32_t id;
    uint32_t chain;          /* next of its hash slot */
    uint32_t older, newer;
    uint8_t used, session, swapped, verdict, reason;
    uint8_t direction;       /* of the first fragment */
    uint8_t pad[2];
} fragment_t;

/* One session as others see it: live, ended or victim. NumPy's dtype is made from this. */
typedef struct {
    uint8_t initiator[ADDRESS_BYTES]; /* network order; IPv4 in the first four bytes */
    uint8_t responder[ADDRESS_BYTES];
    uint16_t initiator_port, responder_port;
    uint16_t zone;
    uint8_t protocol;
    uint8_t family;              /* 4 or 6 */
    uint32_t policy;             /* the policy's id */
    uint8_t state;               /* STATE_* */
    uint8_t inspection;          /* class bits the policy asks for */
    uint8_t cause;               /* END_*; 255 while it lives */
    uint8_t exposed;             /* bit a cause of EXPOSURE_* */
    uint64_t flow;               /* keyed hash of the key: joins with the flow of a packet */
    int64_t created_ns, last_seen_ns, ended_ns;
    uint64_t created_packet, ended_packet;
    uint64_t bytes[DIRECTION_COUNT];   /* forward, reply */
    uint32_t packets[DIRECTION_COUNT];
} session_row_t;
_Static_assert(sizeof(session_row_t) == 120, "no holes but by design");

/* A frame as those see it who read and do not judge: filter, who was hit, explain. A damaged or cut
 * one as far as it says something, whatever its kind. NumPy's dtype is made from this. */
enum { HAS_SOURCE = 1, HAS_DESTINATION = 2, HAS_PORTS = 4 };
typedef struct {
    uint64_t key[KEY_WORDS];     /* words of fw_key_t, of the packet or of the one that an ICMP
                                    error quotes; 0: none */
    uint64_t flow;               /* keyed hash of the key, 0 without one */
    uint64_t source[HALVES];     /* of the outermost IP header or of ARP */
    uint64_t destination[HALVES];
    uint32_t payload;            /* bytes of transport payload, from the IP lengths */
    uint32_t length, captured;   /* bytes of the frame on the wire, and those to be read */
    uint32_t fragment_id;
    uint16_t source_port, destination_port; /* ICMP: what stands for them in the key */
    uint16_t zone;               /* VLAN id of the outermost tag, 0 without */
    uint16_t ethertype;          /* behind VLAN tags, labels and PPPoE; 0: none */
    uint8_t kind;                /* KIND_* */
    uint8_t family;              /* 4 or 6; 0: no IP header, or it was cut */
    uint8_t protocol;            /* of the transport, behind IPv6's extension headers */
    uint8_t fragment_protocol;   /* as the fragments of one packet have it in common */
    uint8_t tcp_flags;           /* FIN 1, SYN 2, RST 4, PSH 8, ACK 16 ... */
    uint8_t fragment;            /* FRAME_* */
    uint8_t swapped;             /* 1: the source is the key's endpoint b */
    uint8_t has;                 /* HAS_*: what was captured; the rest is 0 */
    uint32_t ip_bytes;           /* of the outermost IP packet with its header; 0: no valid one */
    uint8_t dscp;                /* upper six bits of IPv4's TOS, of IPv6's traffic class */
    uint8_t pad[3];
} frame_row_t;
enum { FRAME_WHOLE, FRAME_FIRST, FRAME_LATER };
_Static_assert(sizeof(frame_row_t) == 120, "no holes");

/* Who has pages. Peaks are noted of each, of what is free and of what is used. */
enum { OWNER_BASE, OWNER_SESSIONS, OWNER_SHM, OWNER_CACHE, OWNER_QUEUES, OWNER_COUNT };
enum { PEAK_FREE = OWNER_QUEUES, PEAK_USED, PEAK_QUEUES, PEAK_COUNT }; /* before: by owner */

/* One sample of the timeline: gauges, and counters since the start. */
typedef struct {
    int64_t time_ns;
    uint64_t packet;
    uint64_t live, created, ended, tension, evicted;
    uint64_t pages[OWNER_QUEUES]; /* base, sessions, shm, cache */
    uint64_t free;
    uint64_t exposed_packets;
    uint64_t verdicts[VERDICT_COUNT];
    uint64_t reasons[REASON_COUNT];
    uint8_t mode;                /* as the control plane last said */
    uint8_t asked;               /* 1: of an event, which halving keeps; 0: of the grid */
    uint8_t pad[6];
} sample_t;

/* What an audit found by walking; all but the first eight are faults. */
typedef struct {
    uint64_t live;               /* records that are not free */
    uint64_t index_entries, hosts_live, timers;  /* sessions by index, by hosts, by the wheel */
    uint64_t half_open, proxied, spared, shm_pages;  /* as the records have it */
    uint64_t depth;              /* of the fullest bucket */
    uint64_t misplaced;          /* entries of no record, in another's bucket, or out of order */
    uint64_t tags_wrong, lines_wrong, host_entries_wrong;
    uint64_t timers_wrong;       /* links and marks of the wheel */
    uint64_t overdue;            /* slots whose tick has passed, sessions past their tick */
    uint64_t ages_wrong, fragments_wrong;
} audit_t;

/* BLAKE2b with a 16-byte result (RFC 7693). */
enum { DIGEST_WORDS = 8, DIGEST_BLOCK = 128, DIGEST_BYTES = 16 };
typedef struct {
    uint64_t h[DIGEST_WORDS];
    uint64_t bytes;
    uint32_t fill;
    uint32_t pad;
    uint8_t block[DIGEST_BLOCK];
} digest_t;

/* Rows of four words: NH over blocks of 64 rows (UMAC, 1999), BLAKE2b over what those come to. */
enum { ROW_WORDS = 4, BLOCK_ROW_COUNT = 64, ROW_KEYS = ROW_WORDS * BLOCK_ROW_COUNT };
typedef struct {
    uint64_t low, high;          /* of the block that is not full yet */
    uint64_t count;              /* rows */
    digest_t blocks;
} rows_digest_t;

/* A step of a pressure script, and a leak. */
typedef struct { int64_t time_ns; int64_t pages; uint32_t owner; uint32_t pad; } step_t;
typedef struct {
    int64_t anchor_ns, next_ns;
    uint64_t rate;               /* bytes a second */
    uint64_t taken;              /* pages since the anchor */
    uint32_t owner;
    uint32_t stalled;            /* 1: waits for a page that its owner is short of */
} leak_t;

/* What the control plane decided; the data plane only indexes it. */
typedef struct {
    uint8_t action[INSPECTIONS];     /* GATE_* by class */
    uint8_t reason[INSPECTIONS];     /* REASON_* of a DROP */
    uint8_t cause[INSPECTIONS];      /* EXPOSURE_* of a BYPASS */
    uint8_t full_action, full_reason, full_cause; /* proxy part when the proxy table is full */
    uint8_t ips_bypass;          /* 1: packets of flow sessions pass unscanned */
    uint8_t object_start, object_cause, page_request, object_refused; /* OBJECT action */
    uint8_t idledrop;            /* 1: rounds at each tick */
    uint8_t mode;                /* for the timeline: 0 off, 1 on, 2 extreme */
    uint8_t flow_watched;        /* 1: packets of flow sessions need a look: IPS buffer or bypass */
    uint8_t pad;
    int64_t low[GAUGE_COUNT];    /* quiet while low < gauge < high */
    int64_t high[GAUGE_COUNT];
} gate_t;

/* The gauges as the control plane reads them at a stop: those of FW_GAUGES first, in order. */
typedef struct {
    uint64_t used_pages, free_pages, shm_pages, proxy_sessions, live_sessions;
    uint64_t ips_full;           /* 1: the IPS buffer is full */
    uint64_t cache_pages;
    int64_t now_ns;
    uint64_t packet;             /* as FastPath.packet */
} gauges_t;
_Static_assert(offsetof(gauges_t, ips_full) == 8 * GAUGE_IPS_FULL
               && offsetof(gauges_t, cache_pages) == 8 * GAUGE_COUNT, "FW_GAUGES, in order");

/* Settings the data plane reads; times in ns, sizes in pages. */
typedef struct {
    uint64_t seeds[SEED_WORDS];
    uint64_t max_connections, buckets;
    int64_t sweep_ns, midstream_grace_ns, timeline_ns;
    int64_t idledrop_idle_ns;    /* a round ends sessions idle for so long; 0: all */
    int64_t timeline_most_ns;    /* the grid widens with the time so far, up to this; 0: it stays */
    int64_t max_step_ns;         /* as far as one packet moves the clock; 0: as far as it says */
    int64_t timeout_ns[TIMEOUT_COUNT];
    uint64_t half_open_limit, sessions_per_host, proxy_max_sessions;
    uint64_t total_pages, base_pages, cache_limit_pages, proxy_session_pages, oversize_bytes;
    uint64_t sessions_per_page;  /* slab; 0: a session needs whole pages */
    uint64_t pages_per_session;  /* slab with whole pages; 0 otherwise */
    uint64_t preallocated_pages; /* 0 with slab accounting */
    uint64_t ips_socket_bytes, ips_throughput_bps;
    uint64_t fail_nth[FORCED_MAX], fail_every[FORCED_MAX];
    uint32_t fail_nths, fail_everys;
    uint32_t fragments_max, victims_max, steps, leaks;
    uint8_t when_full, midstream, preallocated;
    uint8_t non_ip_verdict, orphan_verdict;  /* VERDICT_FORWARD or VERDICT_DROP */
    uint8_t zone;                /* 1: the VLAN id is part of the key */
    uint8_t log;                 /* 1: every ended session is written to the session log */
    uint8_t tracker;             /* TRACKER_* */
    uint8_t invalid_verdict;     /* of what is invalid: VERDICT_FORWARD or VERDICT_DROP */
    uint8_t ports_decide;        /* 1: ports say who began a session met mid-stream */
    uint8_t short_cut;           /* 1: frames shorter than IP says were cut, not malformed */
    uint8_t pad[5];
} config_t;

/* Pages: the gauges. used = base + sessions + shm + queues; used + cache + free = total. */
typedef struct {
    uint64_t owner[OWNER_COUNT];
    uint64_t free;
    uint64_t script_shm;         /* what the script holds in shm */
    uint64_t short_[OWNER_SHM + 1]; /* what the script is short of: base, -, shm */
    uint64_t peak[PEAK_COUNT];   /* base, sessions, shm, cache, free, used, queues */
} pages_t;

/* A plain counter is named after its path in the result: sessions_created is sessions.created,
 * and its line in glossary.py is all that brings it there. */
typedef struct {
    uint64_t packets, bytes, time_reversed, time_jumped;
    uint64_t outcome[VERDICT_COUNT][REASON_ROOM]; /* by verdict and reason */
    uint64_t decode[DECODE_COUNT];
    uint64_t sessions_created, sessions_peak, sessions_reborn, ended[END_COUNT];
    uint64_t memory_page_requests, memory_page_failures;
    uint64_t stampede_passes, stampede_pages_needed, deleted[WANTS], passes_for[WANTS];
    uint64_t exposed_packets[EXPOSURE_COUNT], exposed_bytes[EXPOSURE_COUNT];
    uint64_t exposed_sessions[EXPOSURE_COUNT], exposure_sessions;
    uint64_t proxy_peak, proxy_objects, proxy_objects_bypassed, proxy_objects_oversize;
    uint64_t ips_filled_bytes, ips_full_count;
    uint64_t fragments_forgotten, victims, grace_unsure;
    /* the first unforced page failure while no machine was on: what the memory law looks at */
    uint64_t failures_off, failure_used, failure_free, failure_shm, failure_cache, failure_need;
} counters_t;

/* What falls due beside the sessions' timers, in no order; the sample comes last, for it looks at
 * when the others will. */
enum { DUE_LINK, DUE_STEP, DUE_LEAK, DUE_OWED, DUE_EXPIRY, DUE_COLLECT, DUE_IPS, DUE_ROUND,
       DUE_SAMPLE, DUE_COUNT };

/* Now, the next time of everything that falls due, and the wheel: lists of sessions by the tick at
 * which to look at them again. */
typedef struct {
    int64_t now_ns;                          /* the latest time seen */
    int64_t deadline_ns;                     /* no later than any of due_ns, nor than a packet may
                                                move the clock without a look */
    int64_t start_ns;                        /* the first packet's: tick 0; from -CLOCK_MEMORY_NS */
    uint64_t step_packet;                    /* the packet whose step was looked at ... */
    int64_t step_ns;                         /* ... and the latest time that it may have */
    int64_t due_ns[DUE_COUNT];               /* NEVER: not due */
    uint64_t unfinished;                     /* 1: the moment of now_ns is within its expiry */
    int64_t tick_end_ns;                     /* `tick` is the present one before this */
    uint64_t tick;                           /* the last tick gone through */
    uint64_t map[WHEEL_LEVELS];              /* bit a slot: not empty */
    uint32_t head[WHEEL_LEVELS * WHEEL_SLOTS];
} fw_clock_t;

/* Compiled policies; arrays of rows in order (see policy.py), owned by the FastPath. */
typedef struct {
    uint32_t source[BLOCK_ROWS], source_mask[BLOCK_ROWS];
    uint32_t destination[BLOCK_ROWS], destination_mask[BLOCK_ROWS];
} block4_t;                                   /* eight IPv4 rows, compared side by side */
typedef struct {
    uint64_t source[HALVES], source_mask[HALVES];
    uint64_t destination[HALVES], destination_mask[HALVES];
} row6_t;
typedef struct {
    uint32_t policy;
    int32_t zone;                             /* -1 any */
    int16_t protocol;                         /* -1 any */
    uint16_t port_low, port_high;
    uint16_t has_ports;
} guard_t;                                    /* the rest of a row */
typedef struct { uint32_t first, rows; } segment_t; /* rows of a range of ports */
typedef struct {
    uint32_t *bounds;                         /* port segments begin here, ascending */
    segment_t *segments;
    uint32_t count;
} ports_t;
enum { POLICY_TABLES = 8 }; /* tcp, udp, sctp, other for IPv4, then for IPv6 */
typedef struct {
    ports_t ports[POLICY_TABLES];
    block4_t *blocks;
    row6_t *rows6;
    guard_t *guards4, *guards6;
    uint32_t *id;
    uint8_t *action, *inspection;
    uint32_t count;                           /* policies; 0: accept everything */
} policies_t;

#include "asking.h" /* inspector_t, decider_t */

struct shaper;                       /* shaping.h */
/* What there is of shaping in the way of a packet, called through here (egress.pxd): were it woven
 * into the loop, the compiler would take the rest of the loop apart. `fw` is a fw_t. */
typedef struct {
    void (*parse)(void *fw);             /* what is needed only of other frames than most are */
    void (*fetch)(const void *fw, const packet_t *packets, uint32_t count);
    void (*fetch_accounts)(const void *fw, const packet_t *packets, uint32_t count);
    /* each calls at its end what a packet needs more; late: something is due before it */
    uint32_t (*packet)(void *fw, const packet_t *p, uint32_t record, uint32_t wire, uint32_t said);
    uint32_t (*late)(void *fw, const packet_t *p, uint32_t record, uint32_t wire, uint32_t said);
    uint32_t (*bucket)(void *fw, const packet_t *p, uint32_t record, uint32_t wire, uint32_t said);
    uint32_t (*out)(void *fw, const packet_t *p, uint32_t record, uint32_t wire, uint32_t said);
    uint32_t (*queue)(void *fw, const packet_t *p, uint32_t record, uint32_t wire, uint32_t said);
    uint32_t (*meet)(void *fw, const packet_t *p, uint32_t record, uint32_t wire, uint32_t said);
    void (*moment)(void *fw, int64_t at_ns);
    void (*sample)(void *fw, int asked);
    int64_t (*next)(const void *fw);
    uint32_t (*match)(void *fw, const packet_t *p, int from_b, uint32_t policy);
    void (*begin)(void *fw, const packet_t *p, int from_b, uint32_t policy, uint32_t record,
                  uint32_t row);
    void (*end)(void *fw, uint32_t record);
} egress_t;

/* A timeout in whole ticks, and what is left of it: see clock_tick_after. */
typedef struct { uint64_t ticks, rest_ns; } timeout_t;

/* What was decided: settings, the gate row, policies. Written between two calls, read within. */
typedef struct {
    config_t config;
    gate_t gate;
    policies_t policies;
    timeout_t timeouts[TIMEOUT_COUNT];   /* of config.timeout_ns */
} control_t;

/* What an appliance has one of, however many tables: pages, the gauges, the pressure script, the
 * IPS buffer, fragments. */
typedef struct {
    pages_t pages;
    uint64_t live, half_open, proxy_sessions, spared;  /* spared: tension never takes them */
    uint16_t dirty, quiet;           /* DIRTY_* since a look; 1: one at all found none outside */
    uint32_t next_step;              /* of the script */
    uint64_t ips_level;              /* bytes in the buffer, as of ips_ns */
    uint64_t ips_carry;              /* bit-nanoseconds not yet a byte */
    int64_t ips_ns;
    uint64_t ips_full;
    step_t *steps;
    leak_t *leaks;
    fragment_t *fragments;
    uint32_t *fragment_heads;
    uint32_t fragment_mask, fragment_oldest, fragment_newest, fragment_free;
} memory_t;

/* The connection table: index, records, timers, hosts, and the ghosts of those that had to go. */
typedef struct {
    line_t *lines;                   /* buckets, then overflow lines */
    record_t *records;
    uint32_t *timers;                /* the record after each in its wheel slot's list: apart from
                                        the records, so that going along it stays in the cache. Of a
                                        free record: the next free one */
    host_t *hosts;
    uint32_t *reborn;                /* traces of victims, see victim_write */
    uint64_t *graves;                /* TCP victims, see grave_dig; NULL where nobody asks */
    uint32_t *newborn;               /* records by the number of the session; NULL: not wanted */
    uint32_t free_line, free_record, free_host, hosts_high;
    uint32_t oldest, newest;         /* order of creation */
    uint32_t reborn_mask, graves_mask;
    uint32_t graves_blind;           /* 1: victims went by while nobody wrote them down */
    uint32_t records_high;           /* none from here on was given back: the free ones are last */
} table_t;

/* Everything. One of these to a FastPath; nothing is shared between two. A stage that needs one of
 * the three takes that; what takes it all may move the clock, count and write ledgers, too. */
typedef struct {
    control_t control;
    memory_t memory;
    fw_clock_t clock;
    int64_t breath;                  /* work that may be done before a look around */
    int64_t round_ns;                /* a round of idledrop ends nothing before this */
    uint64_t round_due;              /* 1: one is part of the present moment */
    uint64_t packet;                 /* number of the packet being judged */
    uint32_t shift;                  /* address shift of a looped replay */
    uint32_t of_session;             /* record of the session that the last packet is of, or NIL */
    uint32_t exposure;               /* with a shaper: 1 + EXPOSURE_* that it may come to be */
    uint32_t ip_bytes;               /* with a shaper: of the outermost IP packet, 0: none */
    uint32_t traffic_class;          /* ... its DSCP << 2 | ECN */
    uint32_t hooked;                 /* 1: an inspector or a decider looks at frames */
    uint64_t looked;                 /* the packet that ip_bytes and traffic_class are of */
    void *frames, *parser;           /* the chunk_t that is gone through, its parser_t, ... */
    uint64_t frames_from;            /* ... and the number of its first packet */
    struct shaper *shaper;           /* what packets meet after their verdict; NULL: nothing */
    egress_t egress;                 /* ... how they come to it */
    inspector_t *inspector;          /* who is asked about first bytes; NULL: nobody */
    decider_t *decider;              /* who is asked before a session begins; NULL: nobody */
    uint64_t decided;                /* what was said of the present packet, as decision_t has it */
    table_t table;
    session_row_t *victims;          /* ring */
    session_row_t *log;              /* sessions that ended and were not collected yet */
    uint64_t log_fill, log_room;
    sample_t *samples;
    uint64_t samples_fill, samples_room;
    int64_t sample_step_ns;
    counters_t counters;
    digest_t packet_digest, victim_digest;
} fw_t;

/* Every bound fits the field that holds it. */
#define FW_HOLDS(type, field, highest)                                                          \
    _Static_assert((uint64_t)(highest) <= UINT64_MAX >> (64 - 8 * sizeof(((type *)0)->field)),  \
                   #type "." #field " holds " #highest)
FW_HOLDS(packet_t, kind, KIND_UNTRACKED);
FW_HOLDS(packet_t, class_, CLASS_COUNT - 1);
FW_HOLDS(packet_t, decode, DECODE_COUNT - 1);
FW_HOLDS(record_t, place, PLACE_COUNT - 1);
FW_HOLDS(record_t, flags, 2 * SESSION_ONCE - 1);
FW_HOLDS(record_t, inspection, INSPECTIONS - 1);
FW_HOLDS(record_t, bypass, BLOCKED);
FW_HOLDS(record_t, asked, (ASKED_COUNT - 1) | NAMED);
FW_HOLDS(record_t, timeout, TIMEOUT_COUNT - 1);
FW_HOLDS(record_t, policy, POLICIES_MAX - 1);
FW_HOLDS(record_t, exposed, (1 << EXPOSURE_COUNT) - 1);
FW_HOLDS(record_t, object_bytes, OBJECT_BYTES_MAX);
FW_HOLDS(line_t, record[0], RECORD_MASK | PROTECTED_BIT);
FW_HOLDS(line_t, count, WAYS);
FW_HOLDS(host_t, count, RECORD_MASK | HOST_SIX);
FW_HOLDS(fragment_t, chain, FRAGMENTS_MAX);
FW_HOLDS(fragment_t, reason, REASON_COUNT - 1);
FW_HOLDS(session_row_t, exposed, (1 << EXPOSURE_COUNT) - 1);
FW_HOLDS(session_row_t, state, STATE_COUNT - 1);
FW_HOLDS(session_row_t, cause, 255); /* while it lives */
FW_HOLDS(gate_t, reason[0], REASON_COUNT - 1);
FW_HOLDS(config_t, fragments_max, FRAGMENTS_MAX);
FW_HOLDS(config_t, victims_max, VICTIMS_MAX);
FW_HOLDS(config_t, when_full, WHEN_FULL_COUNT - 1);
FW_HOLDS(decision_t, decision, DECISION_COUNT + POLICIES_MAX);
_Static_assert((int)EXPOSURE_COUNT < BLOCKED, "what is blocked is not bypassed");
_Static_assert(RECORD_MASK < NIL && FRAGMENTS_MAX < NIL, "what there is not is no number of one");
_Static_assert(END_COUNT <= 255, "a living session has no cause");
_Static_assert((int)REASON_COUNT <= REASON_ROOM && VERDICT_COUNT <= 256, "an outcome: two bytes");
_Static_assert(TIME_MAX_NS <= INT64_MAX - TIME_MAX_NS + 1, "a time and a timeout fit 63 bits");
_Static_assert(PAGES_MAX <= INT64_MAX / (2 * OWNER_COUNT), "sums of pages fit 63 bits");
_Static_assert(CLOCK_MEMORY_NS < TIME_MAX_NS, "a start before time began fits, too");

#endif
