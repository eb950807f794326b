/* Structs, words and exact arithmetic of shaping: meters, classes, links, what waits.
 *
 * A level counts units of g nanobits, g = gcd(rate, 10^9): a nanosecond brings `fill` units and a
 * byte (or packet) costs `price`. Levels lie in -2^61..2^61; products have 128 bits, so that
 * nothing overflows and nothing is rounded.
 */
#ifndef FWCORE_SHAPING_H
#define FWCORE_SHAPING_H

#include <stdint.h>
#include <string.h>

#include "layout.h"

enum {
    RUNGS_MAX = 8,        /* rungs of a meter [D] */
    METERS_MAX = 4,       /* meters of a way of a row */
    CHAIN_MAX = 8,        /* links of a chain [R: Clavister: at most 8 pipes] */
    TREE_DEPTH_MAX = 8,   /* [R: TC_HTB_MAXDEPTH] */
    PRIORITIES = 8,       /* [R: TC_HTB_NUMPRIO] */
    DSCPS = 64,
    COUNTED = 2,          /* packets, bytes */
    LENT_BY_ITSELF = TREE_DEPTH_MAX + 1,  /* order of a green leaf, above every depth */
    NOT_LENT = -1,        /* order of a leaf that may not send */
    ORDERS = LENT_BY_ITSELF + 1,
    MARK_CE = 64,         /* a mark: congestion experienced, beside the DSCP that is added */
    MARK_CE_ALONE = 128,
    NO_MARK = 255,
    NOWHERE = 65535,
    WENT_AWAY = -2,
    SAMPLES_MOST = 512,   /* rows of samples that are kept */
    SAMPLES_LEAST = 64,
    SAMPLE_LINK = 3,      /* words of a link in a row (samples.pxd), ... */
    SAMPLE_CLASS = 4,     /* ... of a class ... */
    SAMPLE_METER = 2,     /* ... and of a meter */
    DELAY_BITS = 5,       /* a histogram's buckets to a doubling: 2^5 */
    DELAY_BUCKETS = (63 - DELAY_BITS + 1) << DELAY_BITS,
    WIRE_OVERHEAD = 24,   /* preamble, delimiter, check sequence, gap */
};
enum { COUNT_IP, COUNT_FRAME, COUNT_WIRE, COUNT_PACKETS, COUNT_KINDS };
enum { KEY_NONE, KEY_POLICY, KEY_RULE, KEY_SOURCE, KEY_DESTINATION, KEY_INITIATOR, KEY_KINDS };
enum { NEED_PACKET, NEED_LEVEL, NEED_KINDS };
enum { OVER_DROP, OVER_PASS, OVER_CLASS, OVER_KINDS };
enum { RFC2698, RFC2697, RFC4115, ALGORITHMS };
enum { DISCARD_TAIL, DISCARD_RED, DISCARD_CODEL, DISCARDS };
enum { SHARE_NONE, SHARE_FLOW, SHARE_SOURCE, SHARE_DESTINATION, SHARE_KINDS };
enum { PLACE_OUT, PLACE_NEW, PLACE_OLD, PLACE_PARKED };
enum { COLOUR_RED, COLOUR_YELLOW, COLOUR_GREEN };
enum { PASSES_NOT, PASSES_ONTO, PASSES_OUT };  /* the line; where there is none */
/* Why a packet ended at a link; part of the digest: append only. */
enum { FATE_SENT, FATE_PASSED_ON, FATE_QUEUE_FULL, FATE_CODEL, FATE_PUSHED_OUT, FATE_CLEARED,
       FATE_NO_MEMORY, FATE_COUNT };
/* What a class dropped, by what did it. */
enum { DROP_TAIL, DROP_RED, DROP_CODEL, DROP_PUSHED_OUT, DROP_NO_MEMORY, DROP_COUNT };
/* What became of a packet at arrival. */
enum { SHAPE_PASSED, SHAPE_OVER_LIMIT, SHAPE_QUEUE_FULL, SHAPE_NO_MEMORY };

#define UNITS_MAX (1LL << 61)
#define COST_MAX (1LL << 62)   /* of a packet: no level is above */
#define SHAPE_SECOND 1000000000ULL
#define SHAPE_NEVER INT64_MAX
#define SHAPE_NIL 0xFFFFFFFFu

/* --- what is declared: rows that Python hands over, every value a number ---------------------- */

typedef struct {
    uint64_t rate[RUNGS_MAX];    /* bit/s, or packets/s */
    uint64_t depth[RUNGS_MAX];   /* bytes, or packets */
    int32_t cls[RUNGS_MAX];      /* id; -1: none */
    uint32_t keys_max, max_sessions, max_tcp_sessions, max_udp_sessions;
    int32_t overhead, over_class;
    uint8_t dscp[RUNGS_MAX];     /* NO_MARK: none */
    uint8_t rungs, algorithm, key, need, count, over;
    uint8_t pad[2];
} meter_row_t;
typedef struct {
    uint64_t rate;               /* bit/s; 0: no line */
    int32_t overhead, next;      /* next: a link's number; -1: none */
    uint32_t count, pad;
} link_row_t;
typedef struct {
    uint64_t guarantee, ceiling, guarantee_burst, ceiling_burst; /* bit/s and bytes; 0: none */
    uint64_t limit_bytes, share_ceiling, share_burst;
    int64_t target_ns, interval_ns, quantum;
    uint32_t link, id, parent;   /* parent: an id; 0: the link */
    uint32_t limit_packets, shares, red_min, red_max, red_probability;
    uint8_t priority, discard, ecn, share, need;
    uint8_t pad[3];
} class_row_t;
typedef struct {
    uint32_t id, pad;
    int32_t meters[DIRECTION_COUNT][METERS_MAX];   /* by direction: numbers; -1, WENT_AWAY */
    int32_t link[DIRECTION_COUNT];                 /* -1: none, WENT_AWAY: no longer */
    int32_t cls[DIRECTION_COUNT];                  /* id; -1: the lowest leaf */
    int32_t by_dscp[DIRECTION_COUNT][DSCPS];          /* by direction: id; -1: not listed */
} shaping_row_t;
/* One way for a session to match a row; a row without conditions has one for each family. */
typedef struct {
    uint64_t source[HALVES], source_mask[HALVES];
    uint64_t destination[HALVES], destination_mask[HALVES];
    uint64_t dscp;                   /* bit set; 0: any */
    uint32_t row, policies_first, policies;  /* policies 0: any */
    int32_t zone;                    /* -1: any */
    int16_t protocol;                /* -1: any */
    uint16_t port_low, port_high;
    uint8_t has_ports, family;
} match_row_t;

/* Which bits of a session rows of one kind look at, and the slots of its rows (match.pxd). */
typedef struct {
    uint64_t source[HALVES], destination[HALVES];  /* high, low */
    uint64_t facts, policy;
    uint32_t heads_first, heads_mask;
    uint32_t first, pad;             /* first: the lowest of its rows */
} match_kind_t;

/* --- buckets ---------------------------------------------------------------------------------- */

/* A level and what it is made of. price 0: there is no bucket. */
typedef struct {
    int64_t level, time_ns;      /* as of time_ns */
    int64_t depth;
    int64_t debt;                /* no level stands below -debt */
    uint64_t fill;               /* units a ns */
    uint64_t price;              /* units a thing */
    uint64_t unit;               /* g, nanobits */
    uint64_t pad;
} bucket_t;
_Static_assert(sizeof(bucket_t) == 64, "one cache line");

static inline uint64_t shape_gcd(uint64_t a, uint64_t b) {
    while (b) { uint64_t rest = a % b; a = b; b = rest; }
    return a;
}

/* 1: made, full at time 0; 0: its depth is above 2^61 units. unit_rate: for a rate of 0. */
static inline int bucket_make(bucket_t *b, uint64_t rate, uint64_t depth, uint64_t bits,
                              uint64_t unit_rate) {
    unsigned __int128 units;
    memset(b, 0, sizeof(*b));
    b->unit = shape_gcd(rate ? rate : unit_rate, SHAPE_SECOND);
    b->fill = rate / b->unit;
    b->price = bits * (SHAPE_SECOND / b->unit);
    units = (unsigned __int128)depth * b->price;
    if (units > UNITS_MAX)
        return 0;
    b->depth = b->level = (int64_t)units;
    b->debt = UNITS_MAX;
    return 1;
}

/* A class is never in debt of more than 60 s of its rate [R: sch_htb's mbuffer]. */
static inline void bucket_debt_60s(bucket_t *b) {
    unsigned __int128 debt = (unsigned __int128)b->fill * (60 * SHAPE_SECOND);
    b->debt = debt > UNITS_MAX ? UNITS_MAX : (int64_t)debt;
}

static inline int64_t level_after(int64_t level, int64_t depth, uint64_t fill, uint64_t wait_ns) {
    uint64_t units;
    int64_t now;
    /* Level and depth lie in -2^61..2^61: with 2^62 units more it is full. */
    if (__builtin_mul_overflow(fill, wait_ns, &units) || units >= 1ULL << 62)
        return depth;
    now = level + (int64_t)units;
    return now < depth ? now : depth;
}

static inline int64_t bucket_at(const bucket_t *b, int64_t now) {
    if (b->time_ns == now)  /* it was looked at, or charged, in this nanosecond */
        return b->level;
    return level_after(b->level, b->depth, b->fill, (uint64_t)(now - b->time_ns));
}

/* The same, and it is kept, for who charges it next. */
static inline int64_t bucket_settle(bucket_t *b, int64_t now) {
    b->level = bucket_at(b, now);
    b->time_ns = now;
    return b->level;
}

static inline int64_t cost_of(uint64_t price, uint64_t things) {
    uint64_t cost;
    if (__builtin_mul_overflow(price, things, &cost) || cost > COST_MAX)
        return COST_MAX;
    return (int64_t)cost;
}

static inline int64_t bucket_want(const bucket_t *b, int need, uint64_t things) {
    return need == NEED_PACKET ? cost_of(b->price, things) : 0;
}

/* => it was settled now. */
static inline void bucket_pay(bucket_t *b, int64_t cost) {
    int64_t level = b->level - cost;
    b->level = level < -b->debt ? -b->debt : level;
}

static inline void bucket_charge(bucket_t *b, int64_t now, uint64_t things) {
    bucket_settle(b, now);
    bucket_pay(b, cost_of(b->price, things));
}

/* The first ns from `now` on at which so much is there; SHAPE_NEVER: there is none. */
static inline int64_t bucket_ready(const bucket_t *b, int64_t now, int64_t want) {
    int64_t short_ = want - bucket_at(b, now);
    uint64_t wait;
    if (short_ <= 0)
        return now;
    if (want > b->depth || b->fill == 0)
        return SHAPE_NEVER;
    wait = ((uint64_t)short_ + b->fill - 1) / b->fill;
    return wait > (uint64_t)(SHAPE_NEVER - now) ? SHAPE_NEVER : now + (int64_t)wait;
}

static inline int64_t level_turned(int64_t level, uint64_t unit, uint64_t into, int64_t most) {
    __int128 nanobits = (__int128)level * (__int128)unit;
    __int128 units = nanobits / (__int128)into;
    if (nanobits < 0 && units * (__int128)into != nanobits)
        units -= 1;  /* rounded down */
    return units < most ? (int64_t)units : most;
}

/* Goes on with an older bucket's level, at most full. */
static inline void bucket_take_over(bucket_t *b, const bucket_t *old, int64_t now) {
    b->level = level_turned(bucket_at(old, now), old->unit, b->unit, b->depth);
    if (b->level < -b->debt)
        b->level = -b->debt;
    b->time_ns = now;
}

/* Most things that a full bucket lets pass. */
static inline uint64_t bucket_holds(const bucket_t *b, int need) {
    return need == NEED_PACKET ? (uint64_t)b->depth / b->price : UINT64_MAX;
}

/* What a first bucket cannot hold goes to a second one (RFC 2697): the second one's level then. */
static inline int64_t level_spilled(int64_t level, int64_t depth, uint64_t fill, uint64_t wait_ns,
                                    int64_t into, int64_t most) {
    __int128 spare = (__int128)((unsigned __int128)fill * wait_ns) + level - depth;
    if (spare <= 0)
        return into;
    spare += into;
    return spare < most ? (int64_t)spare : most;
}

/* --- the line: exact times, whole ns and a rest in 1 / rate ----------------------------------- */

/* When a transmission ends that begins at start + rest / rate; the whole part saturates. */
static inline int64_t line_end(uint64_t size, uint64_t rate, int64_t start, uint64_t rest,
                               uint64_t *end_rest) {
    unsigned __int128 parts;
    if (size >> 28 == 0) {  /* 2^28 x 8 x 10^9 + rate: 64 bits are enough */
        uint64_t few = size * (8 * SHAPE_SECOND) + rest;
        *end_rest = few % rate;
        few /= rate;
        return few > (uint64_t)(SHAPE_NEVER - 1 - start) ? SHAPE_NEVER - 1
                                                              : start + (int64_t)few;
    }
    parts = (unsigned __int128)size * (8 * SHAPE_SECOND) + rest;
    *end_rest = (uint64_t)(parts % rate);
    parts /= rate;
    return parts > (uint64_t)(SHAPE_NEVER - 1 - start) ? SHAPE_NEVER - 1
                                                            : start + (int64_t)parts;
}

/* 128-bit sum in two halves. */
typedef struct { uint64_t low, high; } sum_t;
static inline void sum_add(sum_t *s, uint64_t a, uint64_t b, uint64_t c, uint64_t less) {
    unsigned __int128 all = ((unsigned __int128)s->high << 64 | s->low)
                            + (unsigned __int128)a * b + c - less;
    s->low = (uint64_t)all;
    s->high = (uint64_t)(all >> 64);
}

/* --- discarding ------------------------------------------------------------------------------- */

static inline int red_drops(uint32_t low, uint32_t high, uint32_t percent, uint64_t waiting,
                            uint64_t seed, uint64_t packet, uint64_t link) {
    unsigned __int128 chance;
    if (waiting < low)
        return 0;
    if (waiting >= high)
        return 1;
    chance = fw_splitmix(seed + (packet * 65536 + link) * GOLDEN_RATIO) >> 32;
    return chance * 100 * (high - low) < (unsigned __int128)percent * (waiting - low) << 32;
}

/* floor(hash * count / 2^64) */
static inline uint64_t shape_scale(uint64_t hash, uint64_t count) {
    return (uint64_t)((unsigned __int128)hash * count >> 64);
}

static inline uint64_t shape_isqrt(uint64_t n) {
    uint64_t root = (uint64_t)__builtin_sqrt((double)n);
    while (root * root > n || root > 0xFFFFFFFFULL) root--;
    while (root < 0xFFFFFFFFULL && (root + 1) * (root + 1) <= n) root++;
    return root;
}

/* RFC 8289; times of 0 are not set. */
typedef struct {
    int64_t first_above, drop_next;
    uint64_t count, last_count, dropping;
} codel_t;

/* --- who is next ------------------------------------------------------------------------------ */

/* Numbers by a key of their own, the least first (heap.pxd). */
typedef struct {
    int64_t *key;                /* by number */
    uint32_t *at;                /* by number: its place + 1; 0: not in it */
    uint32_t *item;              /* by place */
    uint32_t count, pad;
} heap_t;

/* Levels of a set of bits (bits.pxd): words of each, the first at 0; `total` together. */
enum { SPAN_LEVELS = 4 };        /* 64^4 members */
typedef struct {
    uint32_t levels, total;
    uint32_t first[SPAN_LEVELS], words[SPAN_LEVELS];
} span_t;

static inline void span_make(span_t *n, uint32_t members) {
    memset(n, 0, sizeof(*n));
    do {
        members = (members + 63) / 64;
        members += members == 0;
        n->first[n->levels] = n->total;
        n->words[n->levels] = members;
        n->total += members;
        n->levels++;
    } while (members > 1);
}

/* One of several side by side: an id, and where it stands among them. */
typedef struct {
    int32_t id;                  /* -1: none */
    uint32_t place;              /* the first one at or above the id */
} turn_t;

/* --- over time -------------------------------------------------------------------------------- */

/* Rows of words, one a sample (samples.pxd). */
typedef struct {
    uint64_t *rows;
    uint64_t width, room, fill;  /* words of a row; rows */
    uint64_t every, passed;      /* a call of so many is kept; those since the last that was */
} samples_t;

/* --- what stands while it runs ---------------------------------------------------------------- */

/* Packets in order of their coming: numbers of wait_t. */
typedef struct { uint32_t head, tail; uint64_t bytes, count; } fifo_t;

/* A packet in a queue or on a line; or one that arrives, at the first free place (wait_free), where
 * it would wait. */
typedef struct {
    uint64_t packet;             /* number */
    int64_t time_ns;             /* when it came to this link */
    uint64_t order;              /* of its coming, over all links */
    uint64_t flow;               /* hash of its session */
    uint32_t frame, ip;          /* bytes; ip 0: not IP */
    uint32_t next;               /* behind it */
    uint32_t share;              /* its sub-queue */
    uint64_t size;               /* bytes as the link counts */
    uint16_t cls;                /* id of the class it was put into */
    uint8_t mark;                /* a DSCP, MARK_CE + a DSCP, MARK_CE_ALONE; NO_MARK: none */
    uint8_t ect, direction, family;
    uint8_t dscp;                /* as it arrived */
    uint8_t swapped;             /* 1: its source is b */
} wait_t;
_Static_assert(sizeof(wait_t) == 64, "one cache line");
typedef struct { uint64_t a_lo, b_lo, a_hi, b_hi; } ends_t;   /* of the packet, as in its key */

/* An address, high half first, is end a (0) or b of it. */
static inline void end_get(const ends_t *e, int which, uint64_t *address) {
    address[0] = which ? e->b_hi : e->a_hi;
    address[1] = which ? e->b_lo : e->a_lo;
}
static inline void ends_set(ends_t *e, const uint64_t *a, const uint64_t *b) {
    e->a_hi = a[0]; e->a_lo = a[1];
    e->b_hi = b[0]; e->b_lo = b[1];
}

/* The buckets of one key. */
typedef struct {
    int64_t time_ns;
    int64_t level[RUNGS_MAX];
    uint64_t key[HALVES];             /* high, low */
    uint32_t family;             /* of an address; else 0 */
    uint32_t sessions, tcp, udp; /* that hold it */
    uint32_t chain;              /* next of its hash slot, or of the free ones */
    uint32_t idle_prev, idle_next;   /* keys without a session, the longest first */
    uint32_t state;              /* ACCOUNT_* */
    uint32_t copied_to;          /* its number where it is written down, or taken over */
    uint32_t pad;
} account_t;
enum { ACCOUNT_FREE, ACCOUNT_HELD, ACCOUNT_IDLE, ACCOUNT_SHARED };
_Static_assert(sizeof(account_t) == 128, "two cache lines");

typedef struct {
    bucket_t rung[RUNGS_MAX];    /* level and time stand in the accounts */
    meter_row_t row;
    uint32_t first, room;        /* accounts: `room` for keys, then one that is shared */
    uint32_t used, high;         /* kept keys; accounts ever taken */
    uint32_t free, idle_first, idle_last;
    uint32_t shared_made;
    uint32_t heads_first, heads_mask;
    uint64_t passed[COUNTED], dropped[COUNTED];  /* packets, bytes */
    uint64_t by_colour[RUNGS_MAX + 1];
    uint64_t keys_forgotten, keys_shared;
    /* for the law of its bound, since its rungs are what they are: */
    uint64_t charged[RUNGS_MAX]; /* things that its buckets paid for, by colour */
    uint64_t heaviest;           /* things of one packet, at most */
    uint64_t forgotten_before;   /* of keys_forgotten */
    int64_t since;               /* when the first of them came */
} meter_t;

typedef struct {
    fifo_t fifo;
    int64_t credit;
    int64_t level, time_ns;      /* its bucket, see class_t.share_bucket */
    int64_t since;               /* parked: from when on it may conform */
    codel_t codel;
    uint64_t address[HALVES];
    uint32_t next;               /* behind it in its list */
    uint32_t chain;              /* next of its address's hash slot */
    uint8_t family;              /* 0: no address */
    uint8_t place, made;
    uint8_t pad[5];
} share_t;
_Static_assert(sizeof(share_t) == 128, "two cache lines, found by a shift");

typedef struct { uint32_t head, tail; } list_t;

/* A node of a link's tree; a leaf has a queue. What a packet touches stands together: of
 * many classes each line is far away. */
typedef struct {
    bucket_t guarantee, ceiling; /* price 0: none */
    int32_t parent;              /* number; -1: the link */
    uint32_t link;
    uint32_t leaf_bit;           /* among the link's leaves, by ascending id */
    uint32_t child;              /* place among its parent's children */
    uint16_t id;
    uint8_t depth;               /* steps below the link */
    uint8_t leaf, need, priority;
    uint8_t lineage_asks;        /* 1: it or a class above needs the whole packet */
    uint8_t colour;              /* COLOUR_*, where something is asked of it */
    uint8_t asked;               /* bit a priority: something below it, or in it, would go */
    uint8_t shuts;               /* 1: it has a bucket, so that its colour changes */
    uint8_t passes;              /* PASSES_*: where who finds nothing here may go at once */
    uint8_t tails;               /* 1: no shares, no RED, a queue: limits alone refuse */
    uint32_t share_mask;         /* slots - 1, see share_heads */
    fifo_t fifo;
    uint64_t waiting;
    uint64_t waiting_bytes, largest, most;  /* most: larger packets are giants */
    uint64_t crest, slowest;     /* since the last sample: most waiting bytes, longest delay */
    uint64_t arrived[COUNTED], sent[COUNTED];  /* packets, bytes */
    class_row_t row;
    int64_t deficit[ORDERS];
    uint64_t borrowed, giants, delay_max, dropped_bytes, dropped[DROP_COUNT], cleared[COUNTED];
    turn_t turn[PRIORITIES];     /* below this class */
    uint32_t children, children_count;  /* into shaper_t.children */
    span_t span;                 /* of the sets of its children */
    uint64_t *feed;              /* by priority: children that would borrow from it */
    codel_t codel;
    bucket_t share_bucket;       /* what the buckets of shares are made of */
    list_t fresh, old;           /* shares in turn */
    uint32_t shares_first, shares_high, parked, listed; /* listed: non-empty ones in the lists */
    heap_t wakes;                /* parked ones, by when they conform */
    heap_t fat;                  /* by -(most bytes that each may hold): the fattest first */
    heap_t fills;                /* empty ones with an address, by when their bucket is full */
    span_t spare_span;
    uint64_t *spare;             /* set of those that are free for an address */
    uint32_t *share_heads;       /* slots of addresses; NULL: shares are not by address */
} class_t;
_Static_assert(sizeof(class_t) % 128 == 64, "an odd number of lines: each is in other sets of a "
               "cache than that of the class before");

typedef struct {
    link_row_t row;
    uint32_t number, distance;
    uint32_t rank;                    /* its place in by_distance */
    uint32_t rows_held;               /* bit an order: row_set is not 0 */
    uint32_t classes, classes_count;  /* the first one, ascending ids */
    uint32_t leaves, leaves_count;    /* into shaper_t.leaves */
    uint32_t lowest;                  /* the leaf with the lowest id */
    uint32_t ids;                     /* entries of leaf_by_id */
    uint32_t left;                    /* 1: somebody left a row since its pointers were looked at */
    uint32_t *leaf_by_id;             /* the leaf of each id, or the lowest one */
    uint32_t words;                   /* of the map of leaves where something waits */
    uint32_t map;                     /* the first one, into shaper_t.maps */
    uint32_t line;                    /* packet on it; NIL: none */
    uint32_t line_leaf;
    uint32_t plain;                   /* 1: its classes are leaves below it; what has a bucket
                                         needs a level, and shares have none */
    uint64_t line_rate;
    int64_t start_ns, end_ns;         /* whole parts */
    uint64_t start_rest, end_rest;
    int64_t due_ns;                   /* when something happens by itself */
    turn_t row_at[ORDERS][PRIORITIES];   /* who stands first; id 0: the link */
    uint32_t row_set[ORDERS];            /* bit a priority: row_at is an id */
    turn_t turn[PRIORITIES];             /* as class_t.turn, for the link itself */
    uint32_t children, children_count;   /* as class_t's */
    uint32_t lent;                       /* bit an order: a row of it has members */
    uint8_t row_any[ORDERS];             /* bit a priority: the row has members */
    uint8_t walks;                       /* 1: a parent asks for the whole packet, so that colours
                                            depend on whose packet it is: leaf by leaf */
    uint8_t exact;                       /* 1: due_ns is exact; else no later than that */
    span_t span, feed_span;              /* of sets of classes; of children */
    uint64_t *rows;                      /* by order and priority: set of classes */
    uint64_t *feed;                      /* as class_t's */
    heap_t turns;                        /* classes by when their colour may change */
    uint64_t queued, queued_bytes, pages, packets, bytes, line_bytes;
    uint64_t peak[COUNTED];
    uint64_t crest;                   /* most queued bytes since the last sample */
    uint64_t taken_ns;                /* of transmissions that ended, each rounded down */
    sum_t busy, busy_before;          /* time taken, in 1 / rate ns; before: of a former rate */
    uint64_t before_rate;
    int64_t first_ns, last_ns;        /* when transmissions began, when the last one ended, ... */
    uint64_t last_rest, overlaps;     /* ... and how many began before the one before had ended */
} link_t;

/* What a direction of a row leads to, at once; NULL: to none. */
typedef struct {
    meter_t *meter;              /* the first one */
    class_t *leaf;               /* of its link, where no DSCP says which */
    link_t *link;
    uint64_t pad;
} way_t;

/* What may be all that a way of a session meets; shifted by the direction. */
enum { ALONE_BUCKET = 1, ALONE_LINK = 1 << DIRECTION_COUNT,
       ALONE_OUT = ALONE_LINK << DIRECTION_COUNT };

/* What a session met at its set-up. */
typedef struct {
    uint32_t row;                     /* number + 1; 0: no row */
    uint32_t account[DIRECTION_COUNT][METERS_MAX];  /* by way; NIL: none */
    uint8_t protocol;                 /* 6, 17 or another */
    uint8_t alone;                    /* ALONE_* of both directions */
    uint8_t meters[DIRECTION_COUNT];  /* by direction: accounts behind so many are NIL */
    uint32_t dropped[DIRECTION_COUNT];  /* by direction: packets that arrived, did not pass */
    uint64_t dropped_bytes[DIRECTION_COUNT];  /* ... and their bytes on the wire */
} shaped_t;
_Static_assert(sizeof(shaped_t) == 64, "one cache line");

#pragma pack(push, 1)
typedef struct {
    uint64_t packet;
    int64_t time_ns;
    uint16_t link, cls;
    uint8_t fate, dscp;
} departure_t;
#pragma pack(pop)
_Static_assert(sizeof(departure_t) == 22, "no padding");

/* What a packet met at its arrival, for who wants to be told. */
typedef struct {
    uint64_t packet;
    int64_t time_ns;                  /* of its arrival; never before that of an earlier one */
    uint64_t departed;                /* rows of departures before it came */
    int64_t level[METERS_MAX];        /* things in the bucket of the last rung that it found */
    uint64_t waiting_bytes;           /* in its class before it */
    uint32_t meter[METERS_MAX];       /* numbers, in the row's order; NIL: none */
    uint32_t waiting;                 /* packets before it in its class */
    uint16_t link, cls;               /* link: number; NOWHERE: none */
    uint8_t colour[METERS_MAX];       /* rungs from 0; as many as there are rungs: beyond */
    uint8_t why, mark;                /* SHAPE_*; NO_MARK: none */
    uint8_t pad[2];
} met_t;
_Static_assert(sizeof(met_t) == 96, "no gaps");

/* All of it. One to a firewall; times come in, it holds no clock. */
typedef struct shaper {
    int64_t now_ns;                   /* the latest moment that it went through */
    int64_t due_ns;                   /* the earliest of all links */
    uint64_t seed, order, waiting, waiting_max, pages;
    uint32_t accounted;               /* 1: queued bytes own pages */
    uint32_t meters_count, links_count, classes_count, rows_count, matches_count;
    uint32_t kinds_count;
    uint32_t wait_free;               /* the first place of waits that is free */
    uint32_t marked;                  /* 1: a row matches by DSCP */
    meter_t *meters;
    account_t *accounts;
    uint32_t *account_heads;
    link_t *links;
    uint32_t *by_distance;            /* links, those that end a chain first */
    heap_t due;                       /* places in by_distance, by due_ns */
    uint32_t *now_due;                /* those of one moment */
    uint32_t *children;               /* classes by parent, ascending ids */
    class_t *classes;
    uint32_t *leaves;                 /* classes, a link's side by side, ascending ids */
    uint64_t *maps;                   /* bit a leaf: something waits */
    int8_t *orders;                   /* of each class, where leaves are walked */
    share_t *shares;
    shaping_row_t *rows;
    way_t *ways;                      /* DIRECTION_COUNT a row */
    match_row_t *matches;
    match_kind_t *kinds;              /* of matches, those with the lowest first */
    uint32_t *match_heads;            /* the first of each slot */
    uint32_t *match_next;             /* of a match: the next one of its slot */
    uint32_t *policy_ids;
    shaped_t *shaped;                 /* by session */
    wait_t *waits;
    ends_t *ends;                     /* beside waits: other rows may share by address */
    uint64_t *delays;                 /* DELAY_BUCKETS a class */
    departure_t *departures;
    uint64_t departures_fill, departures_room;  /* room 0: not kept */
    met_t *met;
    uint64_t met_fill, met_room;      /* room 0: not kept */
    rows_digest_t digest;        /* of departures */
    uint64_t row_keys[ROW_KEYS]; /* ... and its keys */
    samples_t samples;
    uint64_t unshaped[COUNTED];             /* packets, bytes */
    uint64_t came_bytes, tcp_bytes;   /* on the wire, of sessions under a row; those of TCP */
    uint64_t sessions_hit;            /* that a meter or a full queue took a packet of */
    void *owner;                      /* who is asked for pages and gets them back */
    int (*request)(void *owner, uint64_t pages, uint32_t pinned);
    void (*give)(void *owner, uint64_t pages);
} shaper_t;

/* The bucket of a histogram: exact below 2^DELAY_BITS, then 2^DELAY_BITS to a doubling. */
static inline uint32_t delay_bucket(uint64_t ns) {
    uint32_t top;
    if (ns >> DELAY_BITS == 0)
        return (uint32_t)ns;
    top = 63 - (uint32_t)__builtin_clzll(ns);
    return ((top - DELAY_BITS + 1) << DELAY_BITS)
           + (uint32_t)(ns >> (top - DELAY_BITS)) - (1u << DELAY_BITS);
}

#endif
