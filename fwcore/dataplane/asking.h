/* Who is asked of sessions, and what: an inspector of first bytes, a decider before they begin.
 *
 * A part of layout.h, which includes it where its own structs are known.
 */
#ifndef FWCORE_ASKING_H
#define FWCORE_ASKING_H

/* What an inspector is asked of a session: the row, and behind it the first bytes of a run. */
typedef struct {
    session_row_t session;       /* as of `packet` */
    uint64_t packet;             /* at which the bytes were there, or the run was over */
    uint64_t seen;               /* payload bytes of the run, by the lengths */
    uint32_t size;               /* of them those that are here: captured, without a gap */
    uint32_t next;               /* place of the next free row */
    uint8_t reply;               /* 1: the responder sent them */
    uint8_t gap;                 /* 1: a frame was cut, what follows it does not join */
    uint8_t pad[6];
} question_t;
_Static_assert(sizeof(question_t) == 152, "no holes");

/* An inspector's side of the data plane (inspector.pxd); called through here, as egress_t is. */
typedef struct {
    int (*look)(void *fw, const packet_t *p, const uint8_t *data, uint32_t captured, uint32_t wire,
                uint32_t link, const void *parser);
    void (*gather)(void *fw, uint32_t record, uint32_t payload);
    void (*ask)(void *fw, uint32_t record);
    void (*forget)(void *fw, uint32_t record);
    uint8_t *rows;               /* question_t, each with its bytes: `stride` apart */
    uint64_t stride;
    uint32_t places;             /* rows there are */
    uint32_t free;               /* place of the first free one; NIL: none */
    uint32_t first_bytes;        /* of a run, kept in a row */
    uint32_t waiting;            /* sessions that wait for the answer ... */
    uint32_t questions[QUESTIONS_MAX]; /* ... places of their rows, in order */
    const uint8_t *data;         /* the frame that is being judged ... */
    const void *parser;
    uint32_t captured, wire, link;
    uint32_t pad;
} inspector_t;

/* A session that would begin, as who decides of it sees it. NumPy's dtype is made from this. */
typedef struct {
    uint8_t initiator[ADDRESS_BYTES]; /* network order; IPv4 in the first four bytes */
    uint8_t responder[ADDRESS_BYTES];
    uint16_t initiator_port, responder_port;
    uint16_t zone;
    uint8_t protocol;
    uint8_t family;              /* 4 or 6 */
    uint32_t policy;             /* id of the one that matches, and accepts */
    uint32_t inspection;         /* class bits it asks for */
    uint64_t flow;               /* keyed hash of the key: joins with the flow of a packet */
    int64_t time_ns;             /* at which its first packet is judged, as far as it is known */
    uint64_t packet;             /* number of that packet */
} opening_t;
_Static_assert(sizeof(opening_t) == 72, "no holes");

/* The same for the loop: whose it is, and what was decided. */
typedef struct {
    fw_key_t key;
    uint32_t from_b;             /* 1: the initiator is endpoint b */
    uint32_t decision;           /* DECISION_*, or DECISION_COUNT + index of a policy */
    uint32_t next;               /* place of the next one in its chain; NIL: none */
    uint32_t pad;
} decision_t;
_Static_assert(sizeof(decision_t) == 56, "no holes");

/* A decider's side of the data plane (decider.pxd); called through here, as egress_t is. */
typedef struct {
    int (*look)(void *fw, const packet_t *p, int64_t time_ns);
    opening_t *openings;         /* OPENINGS_MAX, side by side with ... */
    decision_t *decisions;
    uint32_t *heads;             /* OPENINGS_MAX chains by hash; NIL: empty */
    uint64_t seen_packet;        /* frames up to this one were looked through */
    uint32_t answered;           /* decided ones, before those that wait for an answer ... */
    uint32_t count;              /* ... both */
} decider_t;

#endif
