/* fwcore.h: the firewall in a program of C, or in another extension of Python.
 *
 *     if (fwcore_import()) ...                            once a file, Python has been initialized
 *     fwcore_t fw = fwcore_new("fortios-7", "max_connections = 100_000");
 *     fwcore_load(fw, &chunk);                            n frames, which stay yours
 *     fwcore_run(fw, outcome, NULL, NULL);                outcome[i]: FWCORE_VERDICT, FWCORE_REASON
 *     fwcore_free(fw);
 *
 * The functions are those of the Python module, reached through a capsule: nothing is linked, and
 * a header of another version is told from it. They may be called from any thread; a firewall has
 * one caller at a time, several share nothing. While packets are judged Python's lock is let go of.
 *
 * Laws: a function that fails returns -1 (fwcore_new: 0), changes nothing, and fwcore_error() says
 * why; a handle that was freed, or never was one, is refused and not followed; of the arrays only
 * what the numbers beside them say is read or written, and a frame that reaches past its data is
 * refused.
 */
#ifndef FWCORE_H
#define FWCORE_H

#include <Python.h>
#include <stdint.h>

#define FWCORE_API_VERSION 1        /* changes when something here does that was there before */
#define FWCORE_CAPSULE "fwcore._capi.API"

typedef uint64_t fwcore_t;          /* a firewall; 0 is none */

/* Frames side by side: frame i is captured[i] bytes from data + offset[i]. */
typedef struct {
    const uint8_t *data;
    uint64_t size;                  /* bytes of data */
    const uint64_t *offset;
    const uint32_t *captured;       /* bytes that are there */
    const uint32_t *length;         /* bytes on the wire */
    const int64_t *time_ns;         /* capture time, 0..2^62 */
    const uint16_t *link;           /* LINKTYPE of each: 1 Ethernet, 101 IP */
    uint64_t count;                 /* frames */
} fwcore_chunk;

/* A packet that ended at a link (see [[link]]). */
typedef struct {
    uint64_t packet;                /* its number, from 1 */
    int64_t time_ns;
    uint16_t link;                  /* by the order of [[link]] rows */
    uint16_t class_id;
    uint8_t fate;                   /* 0 sent, else why not: fwcore._shaper.FATES */
    uint8_t dscp;                   /* as it left; 64 + it, or 128 alone: with CE;
                                       255: as it came */
    uint8_t pad[2];
} fwcore_departure;

#define FWCORE_VERDICT(outcome) ((outcome) & 0xFF)      /* 0 forward, 1 inspect, 2 bypass, 3 drop */
#define FWCORE_REASON(outcome) ((outcome) >> 8)         /* as fwcore.Reason numbers them */
enum { FWCORE_FORWARD, FWCORE_INSPECT, FWCORE_BYPASS, FWCORE_DROP };

/* A session of which an inspector is asked; its first `size` payload bytes stand behind it. */
typedef struct {
    uint8_t initiator[16], responder[16];   /* network order; IPv4 in the first four bytes */
    uint16_t initiator_port, responder_port, zone;
    uint8_t protocol, family;       /* family: 4 or 6 */
    uint32_t policy;                /* its id */
    uint8_t state, inspection, cause, exposed;  /* as Engine.sessions has them */
    uint64_t flow;                  /* keyed hash of the session, as fwcore_run gives it */
    int64_t created_ns, last_seen_ns, ended_ns;
    uint64_t created_packet, ended_packet;
    uint64_t bytes[2];              /* of the initiator, of the responder, on the wire */
    uint32_t packets[2];
    uint64_t packet;                /* number of the packet that made it a question */
    uint64_t seen;                  /* payload bytes of the run, by the lengths */
    uint32_t size;                  /* of them those that are here: captured, without a gap */
    uint32_t unused;
    uint8_t reply;                  /* 1: the responder sent them */
    uint8_t pad[7];
} fwcore_question;

/* A session that would begin, of which a decider is asked. */
typedef struct {
    uint8_t initiator[16], responder[16];
    uint16_t initiator_port, responder_port, zone;
    uint8_t protocol, family;
    uint32_t policy;                /* id of the one that matches, and accepts */
    uint32_t inspection;            /* class bits it asks for: 1 flow, 2 proxy */
    uint64_t flow;
    int64_t time_ns;                /* at which its first packet is judged, as far as known */
    uint64_t packet;                /* number of that packet */
} fwcore_opening;

enum { FWCORE_ACCEPT, FWCORE_BLOCK, FWCORE_BYPASSED };      /* what an inspector answers */
enum { FWCORE_BY_POLICY = -1, FWCORE_DENY = -2 };           /* a decider; or a policy's id */

/* Called within fwcore_run, by the thread that called that, without Python's lock. What they are
 * handed is theirs during the call. Any other number ends the run with an error that names it, and
 * the same is asked again with the next one. */
typedef int (*fwcore_inspector)(void *context, const fwcore_question *question,
                                const uint8_t *payload);
typedef int64_t (*fwcore_decider)(void *context, const fwcore_opening *opening);

/* What fwcore_import fetches; later versions append. */
typedef struct {
    uint32_t version, bytes;
    fwcore_t (*make)(const char *settings, const char *lines);
    fwcore_t (*of)(PyObject *engine);
    int (*release)(fwcore_t fw);
    int (*load)(fwcore_t fw, const fwcore_chunk *chunk);
    int64_t (*run)(fwcore_t fw, uint16_t *outcome, uint64_t *flow, uint8_t *reply);
    int (*advance)(fwcore_t fw, int64_t now_ns);
    int (*counters)(fwcore_t fw, const char *const *names, int64_t *values, uint64_t count);
    int (*mode)(fwcore_t fw);
    int64_t (*departures)(fwcore_t fw, fwcore_departure *rows, uint64_t room);
    const char *(*error)(void);
    int (*inspect)(fwcore_t fw, fwcore_inspector ask, void *context, uint32_t first_bytes);
    int (*decide)(fwcore_t fw, fwcore_decider ask, void *context);
} fwcore_api;

static const fwcore_api *fwcore_table;
static const char *fwcore_missing = "fwcore_import has not been called";

/* Python is there, and fwcore was imported. */
static inline int fwcore_ready(void) { return fwcore_table && Py_IsInitialized(); }

/* Fetches the functions; 0, or -1 when there is no fwcore, or one of another version. */
static inline int fwcore_import(void) {
    PyGILState_STATE state;
    PyObject *module;
    const fwcore_api *found = NULL;
    fwcore_missing = "Python has not been initialized";
    if (!Py_IsInitialized()) return -1;
    state = PyGILState_Ensure();
    module = PyImport_ImportModule("fwcore._capi");
    if (module) found = (const fwcore_api *)PyCapsule_Import(FWCORE_CAPSULE, 0);
    Py_XDECREF(module);
    fwcore_missing = module ? "fwcore is of another version than fwcore.h"
                            : "Python cannot import fwcore: try it there";
    PyErr_Clear();
    if (found && (found->version != FWCORE_API_VERSION || found->bytes < sizeof(fwcore_api)))
        found = NULL;
    fwcore_table = found;
    PyGILState_Release(state);
    return found ? 0 : -1;
}

/* Why the last call of this thread failed: text until the next call that fails. */
static inline const char *fwcore_error(void) {
    return fwcore_ready() ? fwcore_table->error() : fwcore_missing;
}

/* A firewall. settings: a personality, the path of a settings file (.toml), or NULL for plain;
 * lines: what Engine takes by name, a "name = value" each (TOML): settings, policies, links, log,
 * departures ...; or NULL. */
static inline fwcore_t fwcore_new(const char *settings, const char *lines) {
    return fwcore_ready() ? fwcore_table->make(settings, lines) : 0;
}

/* The same of an Engine that Python has, which is kept until fwcore_free. */
static inline fwcore_t fwcore_of(PyObject *engine) {
    return fwcore_ready() ? fwcore_table->of(engine) : 0;
}

/* Gives a firewall's memory back; one that Python has stays as it is. */
static inline int fwcore_free(fwcore_t fw) {
    return fwcore_ready() ? fwcore_table->release(fw) : -1;
}

/* Takes frames to be judged next. Their memory is read by fwcore_run, and never afterwards. */
static inline int fwcore_load(fwcore_t fw, const fwcore_chunk *chunk) {
    return fwcore_ready() ? fwcore_table->load(fw, chunk) : -1;
}

/* Judges what was loaded; how many frames. outcome[count], written. flow[count] (a keyed hash of
 * the session, 0: none) and reply[count] (1: sent by the responder) likewise, or NULL. When a
 * signal's handler ends it (Ctrl-C), -1: what was judged stands in outcome, the others are 0. */
static inline int64_t fwcore_run(fwcore_t fw, uint16_t *outcome, uint64_t *flow, uint8_t *reply) {
    return fwcore_ready() ? fwcore_table->run(fw, outcome, flow, reply) : -1;
}

/* Lets time pass without frames. */
static inline int fwcore_advance(fwcore_t fw, int64_t now_ns) {
    return fwcore_ready() ? fwcore_table->advance(fw, now_ns) : -1;
}

/* Counters by their names in a result ("packets", "sessions.live", "memory.now.used"), all as of
 * the same moment: values[i] of names[i]. */
static inline int fwcore_counters(fwcore_t fw, const char *const *names, int64_t *values,
                                  uint64_t count) {
    return fwcore_ready() ? fwcore_table->counters(fw, names, values, count) : -1;
}

/* What left links or was dropped in them, in order, each once: the oldest `room` at most, written
 * to rows; how many. Kept where the firewall was made with "departures = true". */
static inline int64_t fwcore_departures(fwcore_t fw, fwcore_departure *rows, uint64_t room) {
    return fwcore_ready() ? fwcore_table->departures(fw, rows, room) : -1;
}

/* From now on, ask(context, question, payload) says what becomes of sessions whose policy wants
 * proxy inspection, by the first_bytes (1..2^20) of payload: Engine.inspect says when. NULL: nobody
 * is asked any more; fwcore_free is that too. */
static inline int fwcore_inspect(fwcore_t fw, fwcore_inspector ask, void *context,
                                 uint32_t first_bytes) {
    return fwcore_ready() ? fwcore_table->inspect(fw, ask, context, first_bytes) : -1;
}

/* From now on, ask(context, opening) says which sessions may begin: Engine.decide says when. */
static inline int fwcore_decide(fwcore_t fw, fwcore_decider ask, void *context) {
    return fwcore_ready() ? fwcore_table->decide(fw, ask, context) : -1;
}

/* Conserve mode: 0 off, 1 on, 2 extreme. */
static inline int fwcore_mode(fwcore_t fw) { return fwcore_ready() ? fwcore_table->mode(fw) : -1; }

#endif
