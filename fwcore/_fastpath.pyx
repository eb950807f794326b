"""The fast path: owns the memory, the only loop; load, run, snapshot, apply.

Frames flow down through one loop that only indexes tables; the control plane fills those tables
and is called exactly when a gauge leaves its quiet interval or something is due:

    capture -> load(chunk) -> run() ... run() -> verdicts, counters
                               |  ^
                 a stop: gauges|  |apply(gate row, quiet intervals)
                               v  |
                           control plane

Laws: no Python object is touched past ``with nogil``; all memory is taken and touched in the
constructor; a packet's outcome does not depend on how packets are divided into groups, chunks or
calls. One FastPath belongs to one thread; several share nothing.
"""

from enum import IntEnum

import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fwcore._digest cimport digest_add, digest_begin, digest_end
from fwcore._due cimport due_moments, due_update, leak_arm, sample_take
from fwcore._hosts cimport host_find, host_slot, hosts_top
from fwcore._layout cimport (
    CLASS_COUNT, DECODE_COUNT, DECODE_FRAGMENT, DECODE_IPV4, DECODE_IPV6, DECODE_OFFLOADED,
    END_COUNT, END_NAMES, EXPOSURE_COUNT, EXPOSURE_NAMES, FORCED_MAX, FW_REDZONE, GATE_COUNT,
    GATE_NAMES, GAUGE_COUNT, GAUGE_NAMES, GROUP_MAX, KIND_KEYED, MIDSTREAM_COUNT, MIDSTREAM_NAMES,
    NEVER, NIL, OBJECT_COUNT, OBJECT_NAMES, OWNER_BASE, OWNER_CACHE, OWNER_SESSIONS, OWNER_SHM,
    PLACE_COUNT, PLACE_NAMES, PLACE_STATE, POLICY_COUNT, POLICY_NAMES, POLICY_TABLES, REASON_COUNT,
    REASON_NAMES, RECORD_MASK, SESSION_HALF_OPEN, SESSION_PROXIED, STATE_COUNT, STATE_NAMES,
    STOP_LOG, STOP_NONE, STOP_PACKET, STOP_TICK, STOP_TIME, SWEEP_MIN_NS, TCP_FIRST, TCP_STEP,
    TIMEOUT_COUNT, TIMEOUT_NAMES, TRACKER_COUNT, TRACKER_NAMES, VERDICT_COUNT, VERDICT_NAMES,
    WAY_COUNT, WHEEL_LEVELS, WHEEL_SLOTS, WHEN_FULL_BUCKET, WHEN_FULL_COUNT, WHEN_FULL_NAMES,
    block4_t, counters_t, digest_t, fragment_t, fw_arena_free, fw_arena_new, fw_bucket, fw_ctz32,
    fw_key_t, fw_poison, fw_prefetch, fw_t, fw_timer_t, fw_unlikely, guard_t, host_row_t, host_t,
    leak_t, line_t, packet_t, policies_t, record_t, row6_t, sample_t, segment_t, session_row_t,
    step_t,
)
from fwcore._pages cimport pages_note_peaks, pages_past_watermark, pages_used
from fwcore._parse cimport key_hash, parse_frame, parser_begin, parser_t
from fwcore._rows cimport rows_created, rows_records, rows_sessions
from fwcore._session cimport (
    object_pages, session_arm, session_end, session_hash, session_prefetch_end, session_row,
)
from fwcore._table cimport table_find, table_tagged
from fwcore._verdict cimport ips_arm, ips_drain, verdict_packet
from fwcore._wheel cimport wheel_disarm


cdef object _enum(str name, const char *const *names, int count):
    """An IntEnum from a list of _layout.h."""
    members = {(<bytes>names[i]).decode(): i for i in range(count)}
    return IntEnum(name, members, module=__name__)


Verdict = _enum("Verdict", VERDICT_NAMES, VERDICT_COUNT)
Reason = _enum("Reason", REASON_NAMES, REASON_COUNT)
Exposure = _enum("Exposure", EXPOSURE_NAMES, EXPOSURE_COUNT)
EndCause = _enum("EndCause", END_NAMES, END_COUNT)
TcpState = _enum("TcpState", STATE_NAMES, STATE_COUNT)
WhenFull = _enum("WhenFull", WHEN_FULL_NAMES, WHEN_FULL_COUNT)
Midstream = _enum("Midstream", MIDSTREAM_NAMES, MIDSTREAM_COUNT)
Tracker = _enum("Tracker", TRACKER_NAMES, TRACKER_COUNT)
GateAction = _enum("GateAction", GATE_NAMES, GATE_COUNT)
ObjectAction = _enum("ObjectAction", OBJECT_NAMES, OBJECT_COUNT)
PolicyAction = _enum("PolicyAction", POLICY_NAMES, POLICY_COUNT)
Gauge = _enum("Gauge", GAUGE_NAMES, GAUGE_COUNT)
TIMEOUTS = tuple((<bytes>TIMEOUT_NAMES[i]).decode().lower() for i in range(TIMEOUT_COUNT))

STOPPED_BY_PACKET = STOP_PACKET
STOPPED_BY_TIME = STOP_TIME
STOPPED_AT_TICK = STOP_TICK
STOPPED_FOR_LOG = STOP_LOG
LATEST_NS = 1 << 62
LOG_SLACK = 4096       # ended sessions after which the log wants to be collected
SAMPLES = 4096         # rows of the timeline; more halve its resolution
REBORN_MAX = 1 << 20   # slots of the filter that knows a victim's return
GRAVES_MIN = 1 << 16   # places that remember TCP victims, see grave_dig

cdef enum:
    BLOCK = 64                     # outcomes to a block of the digest: 128 bytes
    RECOUNTS = REASON_COUNT << 8   # an entry an outcome; few are ever touched


cdef object _dtype(const char *which):
    cdef session_row_t row
    cdef host_row_t host
    cdef sample_t sample
    if which == b"session":
        return np.asarray(<session_row_t[:1]>&row).dtype
    if which == b"host":
        return np.asarray(<host_row_t[:1]>&host).dtype
    return np.asarray(<sample_t[:1]>&sample).dtype


SESSION_DTYPE = _dtype(b"session")
HOST_DTYPE = _dtype(b"host")
SAMPLE_DTYPE = _dtype(b"sample")


# --- the loop -----------------------------------------------------------------------------------

cdef struct chunk_t:
    # The arrays of a loaded chunk; they outlive every run over it.
    const uint8_t *data
    const uint64_t *offset
    const uint32_t *captured
    const uint32_t *length
    const int64_t *time_ns
    const uint16_t *link
    uint16_t *outcome     # verdict, reason << 8
    uint64_t *flow        # keyed hash a packet; NULL: not wanted
    uint8_t *reply        # 1: sent by the session's responder; NULL: not wanted
    uint64_t count


cdef inline uint32_t group_size(
    const chunk_t *chunk, uint64_t position, uint32_t group,
) noexcept nogil:
    return group if chunk.count - position >= group else <uint32_t>(chunk.count - position)


cdef inline void group_parse(
    const fw_t *fw, const parser_t *parser, const chunk_t *chunk, uint64_t first, uint32_t count,
    packet_t *packets,
) noexcept nogil:
    """Pass one: frames to packets and flows; the buckets' lines are on their way."""
    cdef uint64_t i
    cdef packet_t *p
    for i in range(first, first + count):
        p = &packets[i - first]
        if i + 24 < chunk.count:
            fw_prefetch(chunk.data + chunk.offset[i + 24])
        parse_frame(chunk.data + chunk.offset[i], chunk.captured[i], chunk.length[i],
                    chunk.link[i], parser, p)
        p.bucket = fw_bucket(p.hash, fw.config.buckets)
        fw_prefetch(&fw.lines[p.bucket])
        if chunk.flow != NULL:
            chunk.flow[i] = p.hash


cdef inline void group_fetch(
    const fw_t *fw, packet_t *packets, uint32_t count,
) noexcept nogil:
    """Pass two: tags to records, which are on their way. Guesses, which pass three looks at."""
    cdef packet_t *p
    cdef const line_t *line
    cdef const record_t *r
    cdef uint32_t i, mask
    cdef uint32_t free_record = fw.free_record
    for i in range(count):
        p = &packets[i]
        p.guess = 0
        if p.kind != KIND_KEYED:
            continue
        line = &fw.lines[p.bucket]
        mask = table_tagged(line, p.hash)
        if mask:
            p.guess = line.record[fw_ctz32(mask)] & RECORD_MASK
            r = &fw.records[p.guess]
            fw_prefetch(r)
            if fw.policies.count or p.key.meta >> 56 == 6:
                fw_prefetch(&r.a_hi)
        else:
            fw_prefetch(&fw.host_heads[host_slot(
                fw, p.key.b_lo if p.swapped else p.key.a_lo,
                p.key.b_hi if p.swapped else p.key.a_hi, <uint32_t>(p.key.meta >> 56))])
            if free_record != NIL:
                fw_prefetch(&fw.records[free_record])
                fw_prefetch(&fw.records[free_record].a_hi)
                free_record = fw.timers[free_record].next
            elif line.count:
                fw_prefetch(&fw.records[line.record[0] & RECORD_MASK])
                fw_prefetch(&fw.records[line.record[0] & RECORD_MASK].a_hi)
            if fw.counters.victims:
                fw_prefetch(&fw.reborn[p.hash & fw.reborn_mask])


cdef inline void group_fetch_victims(
    const fw_t *fw, const packet_t *packets, uint32_t count,
) noexcept nogil:
    """With a full table, what the end of each likely victim touches."""
    cdef const line_t *line
    cdef uint32_t i
    for i in range(count):
        if packets[i].kind != KIND_KEYED:
            continue
        line = &fw.lines[packets[i].bucket]
        if line.count and not table_tagged(line, packets[i].hash):
            session_prefetch_end(fw, line.record[0] & RECORD_MASK)


cdef inline int packet_finish(
    fw_t *fw, const chunk_t *chunk, uint64_t i, packet_t *p,
) noexcept nogil:
    """Pass three: one packet, whole. STOP_TIME: it is yet to be judged; any other: it was."""
    cdef int64_t time_ns = chunk.time_ns[i]
    cdef uint32_t outcome
    cdef int late = time_ns < fw.now_ns
    cdef int stop
    if fw_unlikely(late):
        time_ns = fw.now_ns
    if fw_unlikely(time_ns >= fw.deadline_ns):
        stop = due_moments(fw, time_ns)
        if stop:
            return stop
    if fw_unlikely(late):
        fw.counters.time_reversed += 1
    fw.now_ns = time_ns
    outcome = verdict_packet(fw, p, chunk.length[i])
    chunk.outcome[i] = <uint16_t>outcome
    if chunk.reply != NULL:
        chunk.reply[i] = <uint8_t>fw.direction
    fw.counters.outcome[outcome & 255][outcome >> 8] += 1
    fw.counters.decode[p.decode] += 1
    if fw_unlikely(fw.dirty):
        fw.dirty = 0
        if pages_past_watermark(fw):
            return STOP_PACKET
        # Whoever makes a session comes here: since the last look at most the sessions that lived
        # then, and one more, have ended, and for so many there is room behind log_room.
        if fw.log_fill >= fw.log_room:
            return STOP_LOG
    return STOP_NONE


cdef inline void outcome_recount(
    uint64_t *recount, const uint16_t *outcome, uint64_t count,
) noexcept nogil:
    """Counts what was handed out, apart from the counters that were kept while judging."""
    cdef uint64_t i
    cdef uint16_t others = 0
    for i in range(count):
        others |= outcome[i] ^ outcome[0]
    if not others and count:  # often; told by comparing several at a time
        recount[outcome[0]] += count
        return
    for i in range(count):
        recount[outcome[i]] += 1


cdef inline void block_finish(
    fw_t *fw, const chunk_t *chunk, uint64_t first, uint64_t count, uint64_t *recount,
) noexcept nogil:
    """What is done with outcomes block by block: figures, digest, recount."""
    cdef uint64_t i, wire = 0
    for i in range(first, first + count):
        wire += chunk.length[i]
    fw.counters.packets += count
    fw.counters.bytes += wire
    digest_add(&fw.packet_digest, <const uint8_t *>(chunk.outcome + first), 2 * count)
    outcome_recount(recount, chunk.outcome + first, count)


cdef uint64_t loop(
    fw_t *fw, const parser_t *parser, const chunk_t *loaded, uint64_t position, uint32_t group,
    uint64_t *recount, int *stop,
) noexcept nogil:
    """Judges packets from position on, group by group; where it came to, and why it stopped.

    While a group's records are on their way, the next group is parsed; after a stop it is parsed
    once more, for nothing is kept from one call to the next.
    """
    cdef packet_t groups[2][GROUP_MAX]
    cdef packet_t *packets = groups[0]
    cdef packet_t *after = groups[1]
    cdef chunk_t chunk = loaded[0]  # a copy stays in registers: no store through fw can change it
    cdef uint64_t done = position, before = fw.counters.packets + 1 - position
    cdef uint32_t count = group_size(&chunk, position, group), more, i
    cdef int why = STOP_NONE
    group_parse(fw, parser, &chunk, position, count, packets)
    group_fetch(fw, packets, count)
    while count and why == STOP_NONE:
        more = group_size(&chunk, position + count, group)
        group_parse(fw, parser, &chunk, position + count, more, after)
        if fw.free_record == NIL and fw.config.when_full == WHEN_FULL_BUCKET:
            group_fetch_victims(fw, packets, count)
        if position - done >= BLOCK:
            block_finish(fw, &chunk, done, BLOCK, recount)
            done += BLOCK
        for i in range(count):
            fw.packet = before + position
            why = packet_finish(fw, &chunk, position, &packets[i])
            if fw_unlikely(why != STOP_NONE):
                position += 0 if why & STOP_TIME else 1  # the packet itself is yet to be judged
                break
            position += 1
        group_fetch(fw, after, more)
        packets, after = after, packets
        count = more
    block_finish(fw, &chunk, done, position - done, recount)
    stop[0] = why
    return position


cdef uint64_t chunk_check(const chunk_t *chunk, uint64_t count, uint64_t bytes) noexcept nogil:
    """The first frame that reaches past the data or has no valid time; count: none."""
    cdef uint64_t i, time_ns, latest = <uint64_t>1 << 62, bad = 0
    if bytes < latest:  # then a top bit below tells, and the compiler takes several at once
        for i in range(count):
            bad |= chunk.offset[i] | chunk.offset[i] << 1
            bad |= bytes - chunk.offset[i] - chunk.captured[i]
            bad |= <uint64_t>chunk.time_ns[i] | (latest - <uint64_t>chunk.time_ns[i])
        if not bad >> 63:
            return count
    for i in range(count):
        time_ns = <uint64_t>chunk.time_ns[i]
        if (chunk.offset[i] > bytes or bytes - chunk.offset[i] < chunk.captured[i]
                or time_ns > latest):
            return i
    return count


# --- memory -------------------------------------------------------------------------------------

cdef void fastpath_chain(fw_t *fw) noexcept nogil:
    """Everything free: chains of lines, records, hosts and fragments; the pages at start."""
    cdef uint64_t i
    cdef uint64_t lines = fw.config.buckets + (fw.config.max_connections + 7) // 8
    for i in range(lines):
        fw.lines[i].next = NIL
        if fw.config.buckets <= i < lines - 1:
            fw.lines[i].next = <uint32_t>i + 1
    fw.free_line = <uint32_t>fw.config.buckets
    for i in range(fw.config.max_connections):
        fw.timers[i].next = <uint32_t>i + 1 if i + 1 < fw.config.max_connections else NIL
        fw.hosts[i].next = fw.timers[i].next
    fw.free_record = fw.free_host = fw.hosts_high = 0
    fw.oldest = fw.newest = NIL
    for i in range(<uint64_t>fw.host_mask + 1):
        fw.host_heads[i] = NIL
    for i in range(fw.config.fragments_max):
        fw.fragments[i].chain = <uint32_t>i + 1 if i + 1 < fw.config.fragments_max else NIL
    fw.fragment_free = 0
    fw.fragment_oldest = fw.fragment_newest = NIL
    for i in range(<uint64_t>fw.fragment_mask + 1):
        fw.fragment_heads[i] = NIL
    for i in range(WHEEL_LEVELS * WHEEL_SLOTS):
        fw.wheel.head[i] = NIL
    fw.pages.owner[OWNER_BASE] = fw.config.base_pages
    fw.pages.owner[OWNER_SESSIONS] = fw.config.preallocated_pages
    fw.pages.free = (fw.config.total_pages - fw.config.base_pages
                     - fw.config.preallocated_pages)
    fw.deadline_ns = fw.collect_ns = NEVER
    for i in range(GAUGE_COUNT):
        fw.gate.low[i] = -1
        fw.gate.high[i] = NEVER


def _power_of_two(number):
    """The smallest power of two that is no less."""
    return 1 << max(0, int(number) - 1).bit_length()


def memory_plan(config):
    """Bytes of each part of a FastPath's memory, from the same figures as its constructor.

    ``config`` maps the names of ``config_t`` to integers. Returns name -> bytes; ``records``,
    ``index``, ``overflow`` and ``timers`` are the connection table.
    """
    connections, buckets = int(config["max_connections"]), int(config["buckets"])
    reborn = min(REBORN_MAX, _power_of_two(connections))
    fragments = int(config["fragments_max"])
    log = (connections + 2 * LOG_SLACK) if config.get("log") else 1
    return {
        "records": connections * sizeof(record_t),
        "index": buckets * sizeof(line_t),
        "overflow": -(-connections // 8) * sizeof(line_t),
        "timers": connections * sizeof(fw_timer_t),
        "hosts": connections * sizeof(host_t) + 4 * _power_of_two(connections),
        "fragments": fragments * sizeof(fragment_t) + 4 * _power_of_two(fragments),
        "reborn": 8 * reborn,
        "graves": 8 * max(GRAVES_MIN, reborn),
        "victims": int(config["victims_max"]) * sizeof(session_row_t),
        "log": log * sizeof(session_row_t),
        "samples": SAMPLES * sizeof(sample_t),
    }


cdef class _Arena:
    """One piece of memory for all arrays of a FastPath; parts begin on cache lines."""
    cdef void *mapped
    cdef size_t mapped_bytes
    cdef uint8_t *memory
    cdef size_t used
    cdef readonly size_t bytes

    def __cinit__(self, size_t bytes):
        self.mapped = NULL
        self.memory = <uint8_t *>fw_arena_new(bytes, &self.mapped, &self.mapped_bytes)
        if self.memory == NULL:
            raise MemoryError(f"the connection table needs {bytes} bytes, which cannot be had")
        self.bytes = bytes
        self.used = 0

    def __dealloc__(self):
        if self.mapped != NULL:
            fw_arena_free(self.mapped, self.mapped_bytes)

    cdef void *take(self, size_t bytes) except NULL:
        cdef uint8_t *part = self.memory + self.used
        cdef size_t end = ((bytes + 63) & ~<size_t>63) + FW_REDZONE
        self.used += end
        if self.used > self.bytes:
            raise MemoryError("the arena was planned too small")
        fw_poison(part + bytes, end - bytes)
        return part


# --- the class ----------------------------------------------------------------------------------

cdef class FastPath:
    """The data plane of one firewall.

    ``config``: mapping with the integers of ``config_t`` (see ``Engine`` for how settings become
    these). Raises MemoryError when the table cannot be had.
    """

    cdef fw_t fw
    cdef parser_t parser
    cdef chunk_t chunk
    cdef _Arena arena
    cdef object loaded          # keeps a chunk's arrays alive while it runs
    cdef object outcomes
    cdef object policy_arrays   # keeps the compiled policies alive
    cdef object script_arrays
    cdef dict plan
    cdef readonly uint64_t position
    cdef uint32_t group
    cdef uint64_t recount[RECOUNTS]  # by outcome, from those that were handed out
    cdef bint begun

    def __cinit__(self, config, steps=(), leaks=()):
        memset(&self.fw, 0, sizeof(fw_t))
        memset(self.recount, 0, sizeof(self.recount))
        self._configure(config)
        self._script(steps, leaks)
        self._allocate()
        digest_begin(&self.fw.packet_digest)
        digest_begin(&self.fw.victim_digest)
        pages_note_peaks(&self.fw)  # figures may be asked for before packet 1

    def _configure(self, config):
        """Copies settings; everything the data plane reads that is not a table."""
        cdef fw_t *fw = &self.fw
        for i, seed in enumerate(config["seeds"]):
            fw.config.seeds[i] = seed
        fw.config.max_connections = config["max_connections"]
        fw.config.buckets = config["buckets"]
        fw.config.sweep_ns = config["sweep_ns"]
        if fw.config.sweep_ns < SWEEP_MIN_NS:
            raise ValueError(f"sweep_ns: {fw.config.sweep_ns} is below {SWEEP_MIN_NS}")
        fw.config.timeline_ns = config["timeline_ns"]
        fw.config.total_pages = config["total_pages"]
        fw.config.base_pages = config["base_pages"]
        fw.config.sessions_per_page = config["sessions_per_page"]
        fw.config.pages_per_session = config["pages_per_session"]
        fw.config.preallocated_pages = config["preallocated_pages"]
        fw.config.preallocated = config["preallocated"]
        fw.config.fragments_max = config["fragments_max"]
        fw.config.victims_max = config["victims_max"]
        fw.config.when_full = config["when_full"]
        fw.config.zone = config["zone"]
        fw.config.tracker = config["tracker"]
        fw.config.log = config.get("log", 0)
        self.group = config.get("group", 32)
        if not 1 <= self.group <= GROUP_MAX:
            raise ValueError(f"group: {self.group} is not in 1..{GROUP_MAX}")
        for name in ("fail_nth", "fail_every"):
            if len(config[name]) > FORCED_MAX:
                raise ValueError(f"{name}: more than {FORCED_MAX} rows")
        fw.config.fail_nths = len(config["fail_nth"])
        fw.config.fail_everys = len(config["fail_every"])
        for i, number in enumerate(config["fail_nth"]):
            fw.config.fail_nth[i] = number
        for i, number in enumerate(config["fail_every"]):
            fw.config.fail_every[i] = number
        parser_begin(&self.parser, fw.config.seeds, fw.config.zone, fw.shift, fw.config.tracker)
        self.set_soft(config)

    def set_soft(self, config):
        """Settings that may change while running; timeouts arm every session anew."""
        cdef fw_t *fw = &self.fw
        cdef uint32_t record
        timeouts = [int(config["timeout_ns"][name]) for name in TIMEOUTS]
        if self.begun:
            ips_drain(fw, fw.now_ns)  # at the rate that held until now
        fw.config.midstream = config["midstream"]
        fw.config.midstream_grace_ns = config["midstream_grace_ns"]
        fw.config.ports_decide = config["ports_decide"]
        fw.config.invalid_verdict = config["invalid_verdict"]
        fw.config.half_open_limit = config["half_open_limit"]
        fw.config.sessions_per_host = config["sessions_per_host"]
        fw.config.proxy_max_sessions = config["proxy_max_sessions"]
        fw.config.cache_limit_pages = config["cache_limit_pages"]
        fw.config.oversize_bytes = config["oversize_bytes"]
        fw.config.idledrop_idle_ns = config["idledrop_idle_ns"]
        fw.config.ips_socket_bytes = config["ips_socket_bytes"]
        fw.config.ips_throughput_bps = config["ips_throughput_bps"]
        fw.config.non_ip_verdict = config["non_ip_verdict"]
        fw.config.orphan_verdict = config["orphan_verdict"]
        fw.round_ns = 0
        self._watch()
        if not self.begun:  # what a live proxy session holds must be what it gives back
            fw.config.proxy_session_pages = config["proxy_session_pages"]
        rearm = [fw.config.timeout_ns[i] for i in range(TIMEOUT_COUNT)] != timeouts
        for i in range(TIMEOUT_COUNT):
            fw.config.timeout_ns[i] = timeouts[i]
        if not self.begun:
            return
        if rearm:
            for record in self._live_records():
                wheel_disarm(fw, record)
                session_arm(fw, record)
        if fw.ips_full:
            ips_arm(fw)
        due_update(fw)

    cdef void _watch(self):
        """What the gate and a setting together say of flow sessions."""
        self.fw.gate.flow_watched = (
            self.fw.gate.ips_bypass or self.fw.config.ips_throughput_bps != 0)

    def _script(self, steps, leaks):
        """The pressure script: (time_ns after the first packet, owner, pages), by time."""
        steps_array = np.zeros((max(1, len(steps)), sizeof(step_t)), dtype=np.uint8)
        leaks_array = np.zeros((max(1, len(leaks)), sizeof(leak_t)), dtype=np.uint8)
        cdef uint8_t[:, ::1] step_bytes = steps_array
        cdef uint8_t[:, ::1] leak_bytes = leaks_array
        self.script_arrays = (steps_array, leaks_array)
        self.fw.steps = <step_t *>&step_bytes[0, 0]
        self.fw.leaks = <leak_t *>&leak_bytes[0, 0]
        self.fw.config.steps = len(steps)
        self.fw.config.leaks = len(leaks)
        for i, (time_ns, owner, pages) in enumerate(steps):
            self.fw.steps[i].time_ns = time_ns
            self.fw.steps[i].owner = owner
            self.fw.steps[i].pages = pages
        for i, (time_ns, owner, rate) in enumerate(leaks):
            self.fw.leaks[i].anchor_ns = time_ns
            self.fw.leaks[i].owner = owner
            self.fw.leaks[i].rate = rate

    def _allocate(self):
        """Takes and touches all memory: records, index, hosts, fragments, ledgers."""
        cdef fw_t *fw = &self.fw
        cdef _Arena arena
        cdef uint64_t connections = fw.config.max_connections
        config = {name: getattr(self, name) for name in (
            "max_connections", "buckets", "fragments_max", "victims_max")}
        config["log"] = fw.config.log
        plan = memory_plan(config)
        arena = _Arena(sum((size + 63) & ~63 for size in plan.values()) + 64 * 16)
        self.plan = plan
        fw.records = <record_t *>arena.take(plan["records"])
        fw.timers = <fw_timer_t *>arena.take(plan["timers"])
        fw.lines = <line_t *>arena.take(plan["index"] + plan["overflow"])
        fw.hosts = <host_t *>arena.take(connections * sizeof(host_t))
        fw.host_heads = <uint32_t *>arena.take(4 * _power_of_two(connections))
        fw.fragments = <fragment_t *>arena.take(fw.config.fragments_max * sizeof(fragment_t))
        fw.fragment_heads = <uint32_t *>arena.take(4 * _power_of_two(fw.config.fragments_max))
        fw.reborn = <uint64_t *>arena.take(plan["reborn"])
        fw.graves = <uint64_t *>arena.take(plan["graves"])
        fw.victims = <session_row_t *>arena.take(plan["victims"])
        fw.log = <session_row_t *>arena.take(plan["log"])
        fw.samples = <sample_t *>arena.take(plan["samples"])
        fw.host_mask = _power_of_two(connections) - 1
        fw.fragment_mask = _power_of_two(fw.config.fragments_max) - 1
        fw.reborn_mask = min(REBORN_MAX, _power_of_two(connections)) - 1
        fw.graves_mask = plan["graves"] // 8 - 1
        fw.samples_room = SAMPLES if fw.config.timeline_ns else 0
        fw.log_room = LOG_SLACK if fw.config.log else <uint64_t>-1
        self.arena = arena
        with nogil:
            fastpath_chain(fw)

    # --- figures ---

    @property
    def max_connections(self):
        return self.fw.config.max_connections

    @property
    def buckets(self):
        return self.fw.config.buckets

    @property
    def fragments_max(self):
        return self.fw.config.fragments_max

    @property
    def victims_max(self):
        return self.fw.config.victims_max

    @property
    def memory(self):
        """name -> bytes of the memory taken in the constructor."""
        return dict(self.plan)

    @property
    def live(self):
        return self.fw.live

    @property
    def packet(self):
        """Number of the packet judged last, or yet to be judged after a stop by time."""
        return self.fw.packet

    @property
    def now_ns(self):
        return self.fw.now_ns

    @property
    def shift(self):
        """Added to every address: other sessions in each turn of a looped replay."""
        return self.fw.shift

    @shift.setter
    def shift(self, uint32_t value):
        self.fw.shift = value
        self.parser.shift = value

    # --- running ---

    def begin(self, int64_t time_ns):
        """The first packet's time: ticks and the pressure script count from it."""
        cdef fw_t *fw = &self.fw
        if self.begun:
            raise ValueError("begin: this FastPath has begun already")
        self.begun = True
        fw.start_ns = fw.now_ns = fw.ips_ns = time_ns
        for i in range(fw.config.steps):
            fw.steps[i].time_ns += time_ns
        for i in range(fw.config.leaks):
            fw.leaks[i].anchor_ns += time_ns
            leak_arm(&fw.leaks[i])
        fw.sample_step_ns = fw.config.timeline_ns
        fw.sample_ns = time_ns
        pages_note_peaks(fw)
        due_update(fw)

    def load(self, chunk, outcome, flow=None, reply=None):
        """Makes a chunk ready to run.

        ``chunk``: data uint8[bytes], offset uint64[n], captured uint32[n], length uint32[n],
        time_ns int64[n], link uint16[n]. ``outcome``: uint16[n], written: verdict in the low
        byte, reason in the high one. ``flow``: uint64[n] or None, written: keyed hash of the
        packet's key, 0 without one. ``reply``: uint8[n] or None, written: 1 where the sender is
        the session's responder (of an ICMP error: who sent the packet that it quotes), or would be
        had the packet made one. Raises ValueError when a frame reaches past the data or a time is
        outside 0..2**62.
        """
        cdef const uint8_t[::1] data = chunk.data
        cdef const uint64_t[::1] offset = chunk.offset
        cdef const uint32_t[::1] captured = chunk.captured
        cdef const uint32_t[::1] length = chunk.length
        cdef const int64_t[::1] time_ns = chunk.time_ns
        cdef const uint16_t[::1] link = chunk.link
        cdef uint16_t[::1] out = outcome
        cdef uint64_t[::1] flows
        cdef uint8_t[::1] replies
        cdef uint64_t count = offset.shape[0]
        cdef uint64_t bad
        if not (captured.shape[0] == length.shape[0] == time_ns.shape[0] == link.shape[0]
                == out.shape[0] == offset.shape[0]):
            raise ValueError("chunk: its arrays differ in length")
        memset(&self.chunk, 0, sizeof(chunk_t))
        self.position = 0
        self.loaded = (chunk, outcome, flow, reply)
        if count == 0:
            return
        self.chunk.data = &data[0] if data.shape[0] else NULL
        self.chunk.offset = &offset[0]
        self.chunk.captured = &captured[0]
        self.chunk.length = &length[0]
        self.chunk.time_ns = &time_ns[0]
        self.chunk.link = &link[0]
        self.chunk.outcome = &out[0]
        if flow is not None:
            flows = flow
            if flows.shape[0] != offset.shape[0]:
                raise ValueError("flow: its length differs from the chunk's")
            self.chunk.flow = &flows[0]
        if reply is not None:
            replies = reply
            if replies.shape[0] != offset.shape[0]:
                raise ValueError("reply: its length differs from the chunk's")
            self.chunk.reply = &replies[0]
        with nogil:
            bad = chunk_check(&self.chunk, count, data.shape[0])
        if bad < count:
            raise ValueError(
                f"chunk: frame {bad} reaches past the data, or its time is outside 0..2**62")
        self.chunk.count = count

    def run(self):
        """Judges packets of the loaded chunk until its end (0) or a stop (STOPPED_*).

        After a stop by time the packet at ``position`` has not been judged; after one by packet
        the one before it has. Call again to go on.
        """
        cdef int stop = 0
        if not self.begun:
            raise ValueError("run: call begin first")
        with nogil:
            self.position = loop(
                &self.fw, &self.parser, &self.chunk, self.position, self.group, self.recount,
                &stop)
        return stop

    def apply(self, row, low, high, idledrop, mode):
        """Sets the gate row, the quiet intervals of the gauges and whether idledrop has rounds.

        ``row``: the fields of GateRow in order; ``low``, ``high``: an integer a Gauge.
        """
        cdef fw_t *fw = &self.fw
        cdef int i
        for i in range(4):
            fw.gate.action[i] = row[0][i]
            fw.gate.reason[i] = row[1][i]
            fw.gate.cause[i] = row[2][i]
        fw.gate.full_action = row[3]
        fw.gate.full_reason = row[4]
        fw.gate.full_cause = row[5]
        fw.gate.ips_bypass = row[6]
        fw.gate.object_start = row[7]
        fw.gate.object_cause = row[8]
        fw.gate.page_request = row[9]
        fw.gate.object_refused = row[10]
        for i in range(GAUGE_COUNT):
            fw.gate.low[i] = low[i]
            fw.gate.high[i] = high[i]
        if idledrop and not fw.gate.idledrop:
            fw.round_ns = 0
        fw.gate.idledrop = idledrop
        fw.gate.mode = mode
        self._watch()
        fw.dirty = 0
        pages_note_peaks(fw)
        due_update(fw)

    def rest_until(self, int64_t time_ns):
        """No round of idledrop before ``time_ns``, unless sessions are made or settings changed.

        For the control plane to say after a round: what stands now cannot be ended before.
        """
        self.fw.round_ns = time_ns
        due_update(&self.fw)

    def gauges(self):
        """(used, free, shm, proxy sessions, live sessions, ips full, cache, now_ns, packet)."""
        cdef fw_t *fw = &self.fw
        return (pages_used(&fw.pages), fw.pages.free, fw.pages.owner[OWNER_SHM],
                fw.proxy_sessions, fw.live, fw.ips_full, fw.pages.owner[OWNER_CACHE],
                fw.now_ns, fw.packet)

    def owners(self):
        """(base, sessions, shm, cache) pages."""
        cdef fw_t *fw = &self.fw
        return (fw.pages.owner[OWNER_BASE], fw.pages.owner[OWNER_SESSIONS],
                fw.pages.owner[OWNER_SHM], fw.pages.owner[OWNER_CACHE])

    def end_sessions(self, records, int cause):
        """Ends the given records (uint32[n], as ``live_sessions`` names them), in this order."""
        cdef const uint32_t[::1] numbers = np.ascontiguousarray(records, dtype=np.uint32)
        cdef Py_ssize_t i
        for i in range(numbers.shape[0]):
            session_end(&self.fw, numbers[i], cause)
        due_update(&self.fw)

    def rebuild(self, config):
        """A restart with other figures of the table; counters, clock and ledgers go on.

        Raises ValueError while sessions live (the caller tears them down) and when base and table
        no longer fit, MemoryError when the table cannot be had; then nothing was changed.
        """
        cdef fw_t *fw = &self.fw
        cdef _Arena before = self.arena
        cdef session_row_t *victims = fw.victims
        cdef sample_t *samples = fw.samples
        cdef fw_t whole = fw[0]
        cdef uint64_t buffers = fw.pages.owner[OWNER_SHM] + fw.pages.owner[OWNER_CACHE]
        # What the script added to the base or gave back of it outlives the restart.
        cdef uint64_t base = max(
            0, config["base_pages"] + int(fw.pages.owner[OWNER_BASE]) - int(fw.config.base_pages))
        if fw.live:
            raise ValueError("rebuild: sessions live; end them first")
        if base + buffers + config["preallocated_pages"] > config["total_pages"]:
            raise ValueError("rebuild: base, table and what the script holds exceed the RAM")
        try:
            self._configure(config)
            self._allocate()
        except BaseException:
            fw[0] = whole
            self.parser.zone = fw.config.zone
            raise
        memcpy(fw.victims, victims, fw.config.victims_max * sizeof(session_row_t))
        if fw.counters.victims:
            fw.graves_blind = 1  # who they were went with the old table
        memcpy(fw.samples, samples, fw.samples_fill * sizeof(sample_t))
        before = None  # no-cython-lint
        fw.pages.free = (fw.config.total_pages - fw.config.preallocated_pages - base
                         - buffers)
        fw.pages.owner[OWNER_BASE] = base
        pages_note_peaks(fw)
        fw.dirty = 1
        due_update(fw)

    def sample(self):
        """Adds a row to the timeline, as of now."""
        sample_take(&self.fw)

    # --- policies ---

    def set_policies(self, compiled):
        """Replaces the policies: ``compiled`` as ``policy.Compiled`` lays them out, or None.

        Takes effect with the next new session; sessions keep what they were given, by index, so
        the list may only be replaced while no session lives. Raises ValueError otherwise.
        """
        cdef policies_t *policies = &self.fw.policies
        cdef uint32_t[::1] numbers
        cdef uint32_t[:, ::1] pairs
        cdef uint8_t[::1] small
        cdef const uint8_t[::1] raw
        if self.fw.live:
            raise ValueError("policies: sessions live; end them first")
        memset(policies, 0, sizeof(policies_t))
        self.policy_arrays = compiled
        if compiled is None or not len(compiled.policy_id):
            return
        for i in range(POLICY_TABLES):
            numbers = compiled.bounds[i]
            pairs = compiled.segments[i]
            policies.ports[i].bounds = &numbers[0]
            policies.ports[i].segments = <segment_t *>&pairs[0, 0]
            policies.ports[i].count = numbers.shape[0]
        raw = compiled.blocks4
        policies.blocks = <block4_t *>&raw[0]
        raw = compiled.rows6
        policies.rows6 = <row6_t *>&raw[0]
        raw = compiled.guards4
        policies.guards4 = <guard_t *>&raw[0]
        raw = compiled.guards6
        policies.guards6 = <guard_t *>&raw[0]
        numbers = compiled.policy_id
        policies.id = &numbers[0]
        small = compiled.policy_action
        policies.action = &small[0]
        small = compiled.policy_inspection
        policies.inspection = &small[0]
        policies.count = numbers.shape[0]

    # --- looking in: copies, never views ---

    def _live_records(self):
        """Record numbers in use, in order of their buckets: uint32[live]."""
        numbers = np.empty(self.fw.live, dtype=np.uint32)
        cdef uint32_t[::1] out = numbers
        if self.fw.live:
            with nogil:
                rows_records(&self.fw, &out[0])
        return numbers

    def live_sessions(self):
        """(records uint32[live], rows SESSION_DTYPE[live], protected uint8[live]).

        In order of creation. ``protected``: TCP to the firewall itself.
        """
        cdef uint64_t count = self.fw.live
        numbers = self._live_records()
        rows = np.empty(count, dtype=SESSION_DTYPE)
        protected = np.empty(count, dtype=np.uint8)
        created = np.empty(count, dtype=np.uint64)
        cdef uint32_t[::1] records = numbers
        cdef uint64_t[::1] made = created
        cdef session_row_t[::1] out = rows
        cdef uint8_t[::1] marks = protected
        if count == 0:
            return numbers, rows, protected
        with nogil:
            rows_created(&self.fw, &records[0], count, &made[0])
        records = numbers = numbers[np.argsort(created)]
        with nogil:
            rows_sessions(&self.fw, &records[0], count, &out[0], &marks[0])
        return numbers, rows, protected

    def find(self, key):
        """The row (SESSION_DTYPE scalar) of the session under (source, destination as ints,
        ports, protocol, zone, family), in either direction, or None."""
        cdef fw_t *fw = &self.fw
        cdef fw_key_t k
        cdef session_row_t[::1] out
        cdef uint64_t hash_
        cdef uint32_t record
        self._key(key, &k)
        hash_ = key_hash(&k, fw.config.seeds)
        record = table_find(fw, &k, hash_, fw_bucket(hash_, fw.config.buckets))
        if record == NIL:
            return None
        rows = np.zeros(1, dtype=SESSION_DTYPE)
        out = rows
        session_row(fw, record, 255, hash_, &out[0])
        return rows[0]

    def flow_of(self, key):
        """The keyed hash by which packets, sessions and victims of one flow are joined."""
        cdef fw_key_t k
        self._key(key, &k)
        return key_hash(&k, self.fw.config.seeds)

    def bucket_of(self, key):
        """The bucket that a key falls into."""
        return fw_bucket(self.flow_of(key), self.fw.config.buckets)

    cdef void _key(self, key, fw_key_t *k):
        """Canonical form of (source, destination, source port, destination port, protocol,
        zone, family)."""
        source, destination, source_port, destination_port, protocol, zone, family = key
        a, b = (source, source_port), (destination, destination_port)
        if b < a:
            a, b = b, a
        k.meta = (a[1] | b[1] << 16 | (zone << 32 if self.fw.config.zone else 0)
                  | protocol << 48 | family << 56)
        k.a_lo = a[0] & 0xFFFFFFFFFFFFFFFF
        k.a_hi = a[0] >> 64
        k.b_lo = b[0] & 0xFFFFFFFFFFFFFFFF
        k.b_hi = b[0] >> 64

    def hosts(self, count=None):
        """Initiators with live sessions, ``count`` at most: HOST_DTYPE rows, most sessions first.

        Of equal ones the lower address, then IPv4 comes first.
        """
        cdef uint64_t room = self.fw.hosts_high, found
        cdef host_row_t[::1] out
        if count is not None:
            room = min(max(0, count), room)
        rows = np.empty(room, dtype=HOST_DTYPE)
        if room == 0:
            return rows
        out = rows
        with nogil:
            found = hosts_top(&self.fw, &out[0], room)
        return rows[:found]

    def sessions_of(self, address, uint32_t family):
        """Live sessions of an initiator: its address as a number, 4 or 6."""
        cdef uint32_t host = host_find(
            &self.fw, address & 0xFFFFFFFFFFFFFFFF, address >> 64, family)
        return 0 if host == NIL else self.fw.hosts[host].live

    def victims(self):
        """The victim ledger, oldest first: SESSION_DTYPE rows, the last ``victims_max``."""
        cdef uint64_t total = self.fw.counters.victims
        cdef uint64_t room = self.fw.config.victims_max
        cdef uint64_t kept = total if total < room else room
        cdef uint64_t first = total % room if total > room else 0
        if kept == 0:
            return np.zeros(0, dtype=SESSION_DTYPE)
        ring = np.array(<session_row_t[:kept]>self.fw.victims, dtype=SESSION_DTYPE)
        return np.roll(ring, -<Py_ssize_t>first)

    def collect_log(self):
        """Sessions that ended since the last call, in order (``log`` was configured)."""
        cdef uint64_t fill = self.fw.log_fill
        if fill == 0:
            return np.zeros(0, dtype=SESSION_DTYPE)
        rows = np.array(<session_row_t[:fill]>self.fw.log, dtype=SESSION_DTYPE)
        self.fw.log_fill = 0
        return rows

    def samples(self):
        """The timeline: SAMPLE_DTYPE rows."""
        cdef uint64_t fill = self.fw.samples_fill
        if fill == 0:
            return np.zeros(0, dtype=SAMPLE_DTYPE)
        return np.array(<sample_t[:fill]>self.fw.samples, dtype=SAMPLE_DTYPE)

    def digests(self):
        """BLAKE2b-128 of the packets' and of the victims' bytes, as of now: two times 16 bytes."""
        cdef uint8_t packets[16]
        cdef uint8_t victims[16]
        digest_end(&self.fw.packet_digest, packets)
        digest_end(&self.fw.victim_digest, victims)
        return bytes(packets[:16]), bytes(victims[:16])

    def outcome_counts(self):
        """Packets by verdict and reason: uint64[4, 29]."""
        counts = np.zeros((VERDICT_COUNT, REASON_COUNT), dtype=np.uint64)
        for v in range(VERDICT_COUNT):
            for r in range(REASON_COUNT):
                counts[v, r] = self.fw.counters.outcome[v][r]
        return counts

    def outcome_recount(self):
        """The same from the outcomes that were handed out, counted apart: uint64[4, 29]."""
        counts = np.zeros((VERDICT_COUNT, REASON_COUNT), dtype=np.uint64)
        for v in range(VERDICT_COUNT):
            for r in range(REASON_COUNT):
                counts[v, r] = self.recount[v | r << 8]
        return counts

    def decode_counts(self):
        """Packets by what decoding found; those of no IP header are told by their reasons."""
        cdef uint64_t count
        names = ("none", "tcp", "udp", "icmp", "sctp", "other_ip", "malformed")
        found = dict.fromkeys(
            ("ipv4", "ipv6", *names[1:], "fragments", "offloaded"), 0)
        for code in range(DECODE_COUNT):
            count = self.fw.counters.decode[code]
            if count == 0:
                continue
            for bit, name in ((DECODE_IPV4, "ipv4"), (DECODE_IPV6, "ipv6"),
                              (DECODE_FRAGMENT, "fragments"), (DECODE_OFFLOADED, "offloaded")):
                if code & bit:
                    found[name] += count
            if code & 7:
                found[names[code & 7]] += count
        return found

    def counters(self):
        """Every other counter of ``counters_t``, by name; arrays as lists of int."""
        cdef counters_t c = self.fw.counters
        figures = {
            "packets": c.packets, "bytes": c.bytes, "time_reversed": c.time_reversed,
            "created": c.created, "peak": c.peak, "reborn": c.reborn,
            "ended": [c.ended[i] for i in range(END_COUNT)],
            "page_requests": c.page_requests, "page_failures": c.page_failures,
            "passes": c.passes, "pages_needed": c.pages_needed,
            "deleted": [c.deleted[0], c.deleted[1]],
            "passes_for": [c.passes_for[0], c.passes_for[1]],
            "exposed_packets": [c.exposed_packets[i] for i in range(EXPOSURE_COUNT)],
            "exposed_bytes": [c.exposed_bytes[i] for i in range(EXPOSURE_COUNT)],
            "exposed_sessions": [c.exposed_sessions[i] for i in range(EXPOSURE_COUNT)],
            "exposed_any": c.exposed_any, "proxy_peak": c.proxy_peak, "objects": c.objects,
            "objects_bypassed": c.objects_bypassed, "objects_oversize": c.objects_oversize,
            "ips_filled_bytes": c.ips_filled_bytes, "ips_full_count": c.ips_full_count,
            "fragments_forgotten": c.fragments_forgotten, "victims": c.victims,
            "grace_unsure": c.grace_unsure,
            "failures_off": c.failures_off, "failure_used": c.failure_used,
            "failure_free": c.failure_free, "failure_shm": c.failure_shm,
            "failure_cache": c.failure_cache, "failure_need": c.failure_need,
            "live": self.fw.live, "half_open": self.fw.half_open,
            "proxy_sessions": self.fw.proxy_sessions,
            "script_short": self.fw.pages.short_[0] + self.fw.pages.short_[2],
            "script_shm": self.fw.pages.script_shm,
        }
        figures["peaks"] = [self.fw.pages.peak[i] for i in range(6)]
        return figures

    def audit(self):
        """A fresh count of everything the counters claim, from records, index and hosts.

        Keys: live, index_entries, hosts_live, host_entries_wrong, proxied, shm_pages,
        session_pages, half_open, misplaced, depth.
        """
        cdef fw_t *fw = &self.fw
        cdef line_t *line
        cdef record_t *r
        cdef uint64_t bucket, entries = 0, proxied = 0, shm = 0, misplaced = 0, depth
        cdef uint64_t deepest = 0, half_open = 0, hosts_live = 0, last
        cdef uint32_t way, i
        counted = np.zeros(max(1, fw.hosts_high), dtype=np.uint32)
        cdef uint32_t[::1] hosts = counted
        for bucket in range(fw.config.buckets):
            line = &fw.lines[bucket]
            depth = last = 0
            while True:
                for way in range(line.count):
                    r = &fw.records[line.record[way] & RECORD_MASK]
                    depth += 1
                    misplaced += fw_bucket(session_hash(fw, r), fw.config.buckets) != bucket
                    misplaced += r.created_packet < last
                    last = r.created_packet
                    hosts[r.host] += 1
                    half_open += (r.flags & SESSION_HALF_OPEN) != 0
                    if r.flags & SESSION_PROXIED:
                        proxied += 1
                        shm += object_pages(r) + fw.config.proxy_session_pages
                if line.next == NIL:
                    break
                line = &fw.lines[line.next]
            entries += depth
            deepest = max(deepest, depth)
        free = 0
        i = fw.free_record
        while i != NIL:
            free += 1
            i = fw.timers[i].next
        wrong = 0
        for i in range(fw.hosts_high):
            hosts_live += fw.hosts[i].live
            wrong += fw.hosts[i].live != hosts[i]
        return {"live": fw.config.max_connections - free, "index_entries": entries,
                "hosts_live": hosts_live, "host_entries_wrong": wrong, "proxied": proxied,
                "shm_pages": shm, "half_open": half_open, "misplaced": misplaced,
                "depth": deepest}


# --- single stages, for tests and for those who build on them ------------------------------------

def tcp_tables():
    """The TCP tables as they are indexed: {"first": [tracker][way][class], "step":
    [place][way][class], "places": (name, state's name) each}; 128 and more are no places."""
    return {
        "first": [[[TCP_FIRST[t][w][c] for c in range(CLASS_COUNT)] for w in range(WAY_COUNT)]
                  for t in range(TRACKER_COUNT)],
        "step": [[[TCP_STEP[p][w][c] for c in range(CLASS_COUNT)] for w in range(WAY_COUNT)]
                 for p in range(PLACE_COUNT)],
        "places": [((<bytes>PLACE_NAMES[p]).decode(), (<bytes>STATE_NAMES[PLACE_STATE[p]]).decode())
                   for p in range(PLACE_COUNT)],
    }


def blake2b16(parts):
    """BLAKE2b with 16 bytes out, fed part by part, as the data plane computes it."""
    cdef digest_t digest
    cdef const uint8_t[::1] part
    cdef uint8_t out[16]
    digest_begin(&digest)
    for data in parts:
        if len(data):
            part = data
            digest_add(&digest, &part[0], part.shape[0])
    digest_end(&digest, out)
    return bytes(out[:16])
