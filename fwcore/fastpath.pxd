# The firewall in a module of Cython: what fwcore.h has, which says what each does.
#
#     from fwcore.fastpath cimport fwcore_chunk, fwcore_import, fwcore_of, fwcore_run ...
#     if fwcore_import(): raise ImportError(...)
#
# Compile with fwcore.get_include() among the include directories; nothing is linked.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "fwcore.h" nogil:
    enum:
        FWCORE_FORWARD, FWCORE_INSPECT, FWCORE_BYPASS, FWCORE_DROP
        FWCORE_ACCEPT, FWCORE_BLOCK, FWCORE_BYPASSED
        FWCORE_BY_POLICY, FWCORE_DENY
    ctypedef uint64_t fwcore_t
    ctypedef struct fwcore_chunk:
        const uint8_t *data
        uint64_t size
        const uint64_t *offset
        const uint32_t *captured
        const uint32_t *length
        const int64_t *time_ns
        const uint16_t *link
        uint64_t count
    ctypedef struct fwcore_departure:
        uint64_t packet
        int64_t time_ns
        uint16_t link, class_id
        uint8_t fate, dscp
    ctypedef struct fwcore_question:
        uint8_t initiator[16]
        uint8_t responder[16]
        uint16_t initiator_port, responder_port, zone
        uint8_t protocol, family
        uint32_t policy
        uint8_t state, inspection, cause, exposed
        uint64_t flow
        int64_t created_ns, last_seen_ns, ended_ns
        uint64_t created_packet, ended_packet
        uint64_t bytes[2]
        uint32_t packets[2]
        uint64_t packet, seen
        uint32_t size
        uint8_t reply
    ctypedef struct fwcore_opening:
        uint8_t initiator[16]
        uint8_t responder[16]
        uint16_t initiator_port, responder_port, zone
        uint8_t protocol, family
        uint32_t policy, inspection
        uint64_t flow
        int64_t time_ns
        uint64_t packet
    ctypedef int (*fwcore_inspector)(
        void *context, const fwcore_question *question, const uint8_t *payload) noexcept
    ctypedef int64_t (*fwcore_decider)(void *context, const fwcore_opening *opening) noexcept
    int FWCORE_VERDICT(int outcome)
    int FWCORE_REASON(int outcome)
    int fwcore_import()
    const char *fwcore_error()
    fwcore_t fwcore_new(const char *settings, const char *lines)
    int fwcore_free(fwcore_t fw)
    int fwcore_load(fwcore_t fw, const fwcore_chunk *chunk)
    int64_t fwcore_run(fwcore_t fw, uint16_t *outcome, uint64_t *flow, uint8_t *reply)
    int fwcore_advance(fwcore_t fw, int64_t now_ns)
    int fwcore_counters(
        fwcore_t fw, const char *const *names, int64_t *values, uint64_t count)
    int fwcore_inspect(
        fwcore_t fw, fwcore_inspector ask, void *context, uint32_t first_bytes)
    int fwcore_decide(fwcore_t fw, fwcore_decider ask, void *context)
    int fwcore_mode(fwcore_t fw)
    int64_t fwcore_departures(fwcore_t fw, fwcore_departure *rows, uint64_t room)

cdef extern from "fwcore.h":
    fwcore_t fwcore_of(object engine)
