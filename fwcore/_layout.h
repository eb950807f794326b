/* Every enum, table and struct of the fast path, once.
 *
 * Lists are X-macros, so that the number, the name and the Python IntEnum of a thing cannot
 * disagree. Numbers are part of the outcome digest: append, never reorder.
 */
#ifndef FWCORE_LAYOUT_H
#define FWCORE_LAYOUT_H

#define FW_AS_NAME(prefix, name) #name,

#define FW_VERDICTS(X, p) X(p, FORWARD) X(p, INSPECT) X(p, BYPASS) X(p, DROP)

#define FW_REASONS(X, p)                                                                        \
    X(p, NEW) X(p, HIT) X(p, RELATED) X(p, FRAGMENT) X(p, TCP_INVALID) X(p, NON_IP)             \
    X(p, UNSUPPORTED_LINK) X(p, TRUNCATED) X(p, FRAGMENT_ORPHAN) X(p, BYPASS_CONSERVE)          \
    X(p, BYPASS_KERNEL) X(p, BYPASS_ONE_SHOT) X(p, BYPASS_PROXY_TABLE) X(p, BYPASS_IPS)         \
    X(p, BYPASS_OVERSIZE) X(p, BYPASS_NO_MEMORY) X(p, MALFORMED) X(p, ICMP_ORPHAN)              \
    X(p, NO_SESSION) X(p, DENIED) X(p, CONSERVE_BLOCK) X(p, EXTREME) X(p, IPS_BLOCK)            \
    X(p, HALF_OPEN_LIMIT) X(p, HOST_LIMIT) X(p, PROXY_TABLE_FULL) X(p, TABLE_FULL)              \
    X(p, NO_MEMORY) X(p, KILLED)

#define FW_EXPOSURES(X, p)                                                                      \
    X(p, CONSERVE) X(p, KERNEL) X(p, ONE_SHOT) X(p, PROXY_TABLE) X(p, IPS) X(p, OVERSIZE)       \
    X(p, NO_MEMORY)

#define FW_ENDS(X, p)                                                                           \
    X(p, EXPIRED) X(p, CLOSED) X(p, CLASH) X(p, EVICTED) X(p, TENSION) X(p, KILLED) X(p, CLEARED)

#define FW_STATES(X, p)                                                                         \
    X(p, NONE) X(p, SYN_SENT) X(p, SYN_RECV) X(p, ESTABLISHED) X(p, FIN_WAIT)                   \
    X(p, FIN_WAIT_REPLY) X(p, TIME_WAIT) X(p, CLOSED)

#define FW_WHEN_FULLS(X, p) X(p, REFUSE) X(p, BUCKET) X(p, TENSION) X(p, REPLACE_OLDEST) X(p, EARLY_DROP)
#define FW_MIDSTREAMS(X, p) X(p, ALLOW) X(p, DROP) X(p, GRACE)
#define FW_GATE_ACTIONS(X, p) X(p, ADMIT) X(p, BYPASS) X(p, DROP)
#define FW_OBJECT_ACTIONS(X, p) X(p, GRANT) X(p, BYPASS) X(p, KILL)
#define FW_POLICY_ACTIONS(X, p) X(p, ACCEPT) X(p, DENY) X(p, LOCAL)
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
static const char *const GAUGE_NAMES[] = {FW_GAUGES(FW_AS_NAME, )};

#endif
