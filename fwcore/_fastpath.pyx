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
calls; nothing that Python hands over is believed: it is copied, or looked at before it is used.
A FastPath has one user at a time (EngineBusy); several share nothing.
"""

from operator import index as _index

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from fwcore import _layout
from fwcore._chunk cimport Loaded, chunk_t
from fwcore._inspector cimport Inspector
from fwcore._layout cimport config_read, copied, gate_read
from fwcore._memory cimport LOG_SLACK_ROWS, Arena, Table
from fwcore._pack cimport Packed, whole
from fwcore._policies cimport Policies
from fwcore._shaper cimport Shaper
from fwcore._use cimport Use
from fwcore.dataplane.audit cimport audit_walk
from fwcore.dataplane.clear cimport table_clear
from fwcore.dataplane.clock cimport (
    clock_allowed, clock_disarm, clock_set, clock_settle, clock_trust)
from fwcore.dataplane.digest cimport digest_add, digest_begin, digest_end
from fwcore.dataplane.due cimport due_moments, due_set_back, due_update
from fwcore.dataplane.egress cimport (
    egress_brims, egress_calls, egress_due, egress_give, egress_request)
from fwcore.dataplane.fragment cimport fragment_link
from fwcore.dataplane.frame cimport parser_begin, parser_t
from fwcore.dataplane.hosts cimport host_find, host_slot, hosts_top
from fwcore.dataplane.inspect cimport ips_arm, ips_drain
from fwcore.dataplane.keep cimport keep_records, keep_timers, keep_wheel
from fwcore.dataplane.key cimport key_hash
from fwcore.dataplane.layout cimport (
    CLOCK_MEMORY_NS, DECODE_FRAGMENT, DECODE_IPV4, DECODE_IPV6, DECODE_OFFLOADED, DUE_COLLECT,
    DUE_COUNT, DUE_IPS, DUE_SAMPLE, END_COUNT, GROUP_MAX, KIND_KEYED, NEVER, NEWBORN_MAX, NIL,
    OWNER_BASE, OWNER_CACHE, OWNER_QUEUES, OWNER_SESSIONS, OWNER_SHM, PAGES_MAX, PEAK_QUEUES,
    REASON_COUNT, RECORD_MASK, STOP_ASK, STOP_BREATH, STOP_LOG, STOP_NONE, STOP_PACKET, STOP_TICK,
    STOP_TIME, TIME_MAX_NS, VERDICT_COUNT, WHEN_FULL_BUCKET, audit_t, config_t, control_t,
    counters_t, digest_t, fragment_t, fw_bucket, fw_ctz32, fw_key_t, fw_past, fw_prefetch, fw_t,
    fw_unlikely, gate_t, gauges_t, host_row_t, leak_t, line_t, packet_t, pages_t, record_t,
    sample_t, session_row_t, step_t, table_t,
)
from fwcore.dataplane.link cimport shaper_advance, shaper_clear, shaper_drain
from fwcore.dataplane.pages cimport (
    pages_for_sessions, pages_note_peaks, pages_past_watermark, pages_used)
from fwcore.dataplane.parse cimport parse_frame
from fwcore.dataplane.rows cimport rows_created, rows_find, rows_records, rows_sessions
from fwcore.dataplane.script cimport (
    leak_arm, leaks_set, script_begin, script_give, script_take, steps_set)
from fwcore.dataplane.session cimport session_arm, session_end, session_prefetch_end, session_row
from fwcore.dataplane.shaping cimport shaper_t
from fwcore.dataplane.table cimport table_find, table_tagged
from fwcore.dataplane.timeline cimport timeline_begin, timeline_take
from fwcore.dataplane.verdict cimport verdict_packet
from fwcore._shaper_written import SHAPER_DTYPES as _SHAPER_DTYPES
from fwcore.errors import DataError, FrameError


cdef enum:
    BLOCK = 64                     # outcomes to a block of the digest: 128 bytes
    RECOUNTS = 1 << 16             # an entry an outcome, whatever stands there
    BREATH = 1 << 19               # packets, sessions ended, buckets scanned between two looks
    AHEAD = 24                     # frames whose bytes are on their way
    CROWDED = 16                   # packets to a session: closer together, order needs no sort

# What one frame's judgement is given out as, by verdict and reason: made once.
cdef list OUTCOMES = [(verdict, reason) for reason in _layout.Reason
                      for verdict in _layout.Verdict]

STOPPED_BY_PACKET = STOP_PACKET
STOPPED_BY_TIME = STOP_TIME
STOPPED_AT_TICK = STOP_TICK
STOPPED_FOR_LOG = STOP_LOG


cdef dict _state_dtypes():
    """Tables of a saved FastPath: name -> dtype."""
    cdef record_t r
    cdef fragment_t fragment
    cdef pages_t pages
    cdef digest_t digest
    number = np.dtype(np.uint64)
    return {
        "records": np.asarray(<record_t[:1]>&r).dtype,
        "wheel_order": np.dtype(np.uint32), "wheel_ticks": number,
        "fragments": np.asarray(<fragment_t[:1]>&fragment).dtype,
        "victims": _layout.SESSION_DTYPE, "samples": _layout.SAMPLE_DTYPE,
        "counters": _layout.COUNTERS_DTYPE,
        "pages": np.asarray(<pages_t[:1]>&pages).dtype, "gate": _layout.GATE_DTYPE,
        "leaks": _layout.LEAK_DTYPE,
        "digests": np.asarray(<digest_t[:1]>&digest).dtype, **_SHAPER_DTYPES,
        **{name: number for name in ("reborn_at", "reborn", "graves_at", "graves", "recount_at",
                                     "recount")}}


STATE_DTYPES = _state_dtypes()

# Figure of a saved FastPath -> lowest and highest number.
cdef dict FIGURES = {
    "begun": (0, 1), "resuming": (0, 1), "packet": (0, (1 << 64) - 1), "now_ns": (0, TIME_MAX_NS),
    "start_ns": (-CLOCK_MEMORY_NS, TIME_MAX_NS), "tick": (0, TIME_MAX_NS),
    "due_collect_ns": (0, NEVER), "due_ips_ns": (0, NEVER), "due_sample_ns": (0, NEVER),
    "round_ns": (0, NEVER),
    "graves_blind": (0, 1), "next_step": (0, (1 << 32) - 1), "ips_level": (0, 1 << 40),
    "ips_carry": (0, 8_000_000_000 - 1), "ips_ns": (-CLOCK_MEMORY_NS, TIME_MAX_NS),
    "ips_full": (0, 1),
    "sample_step_ns": (0, TIME_MAX_NS), "shift": (0, (1 << 32) - 1),
}


# --- the loop -----------------------------------------------------------------------------------

cdef inline uint32_t group_size(
    const chunk_t *chunk, uint64_t position, uint32_t group,
) noexcept nogil:
    return group if chunk.count - position >= group else <uint32_t>(chunk.count - position)


cdef inline void group_parse(
    const table_t *table, const control_t *control, const parser_t *parser, const chunk_t *chunk,
    uint64_t first, uint32_t count, packet_t *packets,
) noexcept nogil:
    """Pass one: frames to packets and flows; the buckets' lines are on their way."""
    cdef uint64_t i, offset
    cdef uint32_t captured
    cdef packet_t *p
    for i in range(first, first + count):
        p = &packets[i - first]
        if i + AHEAD < chunk.count:
            fw_prefetch(chunk.data + chunk.offset[i + AHEAD])
        offset = chunk.offset[i]
        captured = chunk.captured[i]
        if fw_unlikely(fw_past(offset, captured, chunk.size)):
            offset = captured = 0
        parse_frame(chunk.data + offset, captured, chunk.length[i], chunk.link[i], parser, p)
        p.bucket = fw_bucket(p.hash, control.config.buckets)
        fw_prefetch(&table.lines[p.bucket])
    if chunk.flow != NULL:
        for i in range(count):
            chunk.flow[first + i] = packets[i].hash


cdef inline void group_fetch(
    const fw_t *fw, packet_t *packets, uint32_t count,
) noexcept nogil:
    """Pass two: tags to records, which are on their way. Guesses, which pass three looks at."""
    cdef packet_t *p
    cdef const line_t *line
    cdef const record_t *r
    cdef uint32_t i, mask
    cdef uint32_t free_record = fw.table.free_record
    cdef int ruled = fw.control.policies.count != 0
    for i in range(count):
        p = &packets[i]
        p.guess = 0
        if p.kind != KIND_KEYED:
            continue
        line = &fw.table.lines[p.bucket]
        mask = table_tagged(line, p.hash)
        if mask:
            p.guess = line.record[fw_ctz32(mask)] & RECORD_MASK
            r = &fw.table.records[p.guess]
            fw_prefetch(r)
            if ruled or p.key.meta >> 56 == 6:
                fw_prefetch(&r.a_hi)
        else:
            fw_prefetch(&fw.table.host_heads[host_slot(
                &fw.table, &fw.control, p.key.b_lo if p.swapped else p.key.a_lo,
                p.key.b_hi if p.swapped else p.key.a_hi, <uint32_t>(p.key.meta >> 56))])
            if free_record != NIL:
                fw_prefetch(&fw.table.records[free_record])
                fw_prefetch(&fw.table.records[free_record].a_hi)
                free_record = fw.table.timers[free_record].next
            elif line.count:
                fw_prefetch(&fw.table.records[line.record[0] & RECORD_MASK])
                fw_prefetch(&fw.table.records[line.record[0] & RECORD_MASK].a_hi)
            if fw.counters.victims:
                fw_prefetch(&fw.table.reborn[p.hash & fw.table.reborn_mask])


cdef inline void group_fetch_victims(
    const table_t *table, const control_t *control, const packet_t *packets, uint32_t count,
) noexcept nogil:
    """With a full table, what the end of each likely victim touches."""
    cdef const line_t *line
    cdef uint32_t i
    for i in range(count):
        if packets[i].kind != KIND_KEYED:
            continue
        line = &table.lines[packets[i].bucket]
        if line.count and not table_tagged(line, packets[i].hash):
            session_prefetch_end(table, control, line.record[0] & RECORD_MASK)


cdef inline int packet_look(
    fw_t *fw, const parser_t *parser, const chunk_t *chunk, uint64_t i, const packet_t *p,
) noexcept nogil:
    """With a shaper or an inspector: what they ask of the frame; whether it has to wait."""
    cdef uint64_t offset = chunk.offset[i]
    cdef uint32_t captured = chunk.captured[i]
    if fw_unlikely(offset > chunk.size or chunk.size - offset < captured):
        offset = captured = 0
    if fw.inspector != NULL and fw.inspector.look(
            fw, p, chunk.data + offset, captured, chunk.length[i], chunk.link[i], parser):
        return STOP_ASK
    if fw.shaper != NULL:
        fw.egress.look(fw, chunk.data + offset, captured, chunk.length[i], chunk.link[i], parser)
    return STOP_NONE


cdef inline int packet_finish(
    fw_t *fw, const parser_t *parser, const chunk_t *chunk, uint64_t i, packet_t *p,
) noexcept nogil:
    """Pass three: one packet, whole. STOP_TIME, STOP_ASK: it is yet to be judged; any other: it
    was."""
    cdef int64_t time_ns = chunk.time_ns[i]
    cdef uint32_t outcome
    cdef int late = time_ns < fw.clock.now_ns
    cdef int stop
    if fw_unlikely(late):
        time_ns = fw.clock.now_ns
    if fw_unlikely(time_ns >= fw.clock.deadline_ns):
        time_ns = clock_allowed(fw, time_ns)
        stop = due_moments(fw, time_ns)
        if stop:
            return stop
    if fw_unlikely(fw.hooked) and packet_look(fw, parser, chunk, i, p):
        return STOP_ASK
    if fw_unlikely(late):
        fw.counters.time_reversed += 1
    fw.clock.now_ns = time_ns
    outcome = verdict_packet(fw, p, chunk.length[i])
    if fw_unlikely(fw.shaper != NULL):
        outcome = fw.egress.packet(fw, p, fw.of_session, chunk.length[i], outcome)
    chunk.outcome[i] = <uint16_t>outcome
    fw.counters.outcome[outcome & 255][outcome >> 8] += 1
    fw.counters.decode[p.decode] += 1
    if fw_unlikely(fw.memory.dirty):
        fw.memory.dirty = 0
        if pages_past_watermark(fw):
            return STOP_PACKET
        # Whoever makes a session comes here: since the last look at most the sessions that lived
        # then, and one more, have ended, and for so many there is room behind log_room.
        if fw.log_fill >= fw.log_room or egress_brims(fw):
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
    cdef uint64_t done = position, before = fw.counters.packets + 1 - position, first
    cdef uint32_t count = group_size(&chunk, position, group), more, i
    cdef int why = STOP_NONE
    group_parse(&fw.table, &fw.control, parser, &chunk, position, count, packets)
    group_fetch(fw, packets, count)
    while count and why == STOP_NONE:
        more = group_size(&chunk, position + count, group)
        group_parse(&fw.table, &fw.control, parser, &chunk, position + count, more, after)
        if fw.table.free_record == NIL and fw.control.config.when_full == WHEN_FULL_BUCKET:
            group_fetch_victims(&fw.table, &fw.control, packets, count)
        if position - done >= BLOCK:
            block_finish(fw, &chunk, done, BLOCK, recount)
            done += BLOCK
        first = position
        for i in range(count):
            fw.packet = before + position
            why = packet_finish(fw, parser, &chunk, position, &packets[i])
            if fw_unlikely(why != STOP_NONE):
                position += 0 if why & (STOP_TIME | STOP_ASK) else 1  # it is yet to be judged
                break
            position += 1
        if chunk.reply != NULL:
            for i in range(<uint32_t>(position - first)):
                chunk.reply[first + i] = <uint8_t>packets[i].way
        fw.breath -= count
        if fw_unlikely(fw.breath <= 0) and why == STOP_NONE:
            why = STOP_BREATH
        group_fetch(fw, after, more)
        packets, after = after, packets
        count = more
    block_finish(fw, &chunk, done, position - done, recount)
    stop[0] = why
    return position


# --- the class ----------------------------------------------------------------------------------

cdef class FastPath:
    """The data plane of one firewall.

    ``config``: a record of CONFIG_DTYPE (see ``Engine`` for how settings become one); ``steps``,
    ``leaks``: the pressure script as (time_ns after the first packet, owner, pages or bytes a
    second), steps by time; ``group``: packets whose memory accesses overlap; ``outer``: who has
    taken it uses this fast path, too.

    Raises DataError for what would break it, and MemoryError when the table cannot be had; every
    method EngineBusy while another is at work, and EngineClosed after ``close``. What is a
    property may be read at any time.
    """

    cdef fw_t fw
    cdef parser_t parser
    cdef Loaded loaded
    cdef Use use
    cdef Arena arena
    cdef public object rows     # outcomes uint8[n, 2] of what was loaded last, see Engine.judged
    cdef Use outer              # whose fast path it is: taken by `judge`
    cdef public bint watched    # every frame of `judge` goes through its keeper
    cdef Policies policies
    cdef object script_arrays
    cdef readonly Shaper shaper  # None: packets meet nothing after their verdict
    cdef readonly Inspector inspector  # None: nobody is asked about first bytes
    cdef dict plan
    cdef readonly uint64_t position
    cdef readonly int stopped   # STOPPED_* that no `apply` has answered yet
    cdef public int64_t breath  # work between two looks at Python's signals, see BREATH
    cdef uint32_t group
    cdef uint64_t recount[RECOUNTS]  # by outcome, from those that were handed out
    cdef uint32_t[::1] newborn  # records in order of birth, for who listens; None: nobody does
    cdef bint begun
    cdef readonly bint resuming  # the clock waits for the next packet, see resume
    cdef object __weakref__

    def __cinit__(self, config, steps=(), leaks=(), group=32, Use outer=None):
        cdef Table table = Table(config)
        group = _index(group)
        if not 1 <= group <= GROUP_MAX:
            raise DataError(f"group: {group} is not in 1..{GROUP_MAX}")
        self.use = Use()
        self.loaded = Loaded()
        self.rows = np.zeros((0, 2), np.uint8)
        self.outer = Use() if outer is None else outer
        self.group = group
        self.breath = BREATH
        memset(&self.fw, 0, sizeof(fw_t))
        self._point(Policies(None))
        memset(self.recount, 0, sizeof(self.recount))
        for what in range(DUE_COUNT):
            clock_set(&self.fw.clock, what, NEVER)
        clock_settle(&self.fw)
        self._script(steps, leaks)
        self._take_in(table)
        digest_begin(&self.fw.packet_digest)
        digest_begin(&self.fw.victim_digest)
        pages_note_peaks(&self.fw)  # figures may be asked for before packet 1

    cdef int _take_in(self, Table table) except -1:
        """The table becomes this FastPath's."""
        table.install(&self.fw)
        self.arena, self.plan = table.arena, table.plan
        table.arena = None
        self._begin_parser()
        self._watch()
        return 0

    cdef void _begin_parser(self) noexcept:
        cdef config_t *config = &self.fw.control.config
        parser_begin(&self.parser, config.seeds, config.zone, self.fw.shift, config.tracker,
                     config.short_cut)

    def close(self):
        """Gives the memory back; a second time is no error. Raises EngineBusy."""
        if self.use.close():
            self._unload()
            self.arena = None
            self.fw.shaper = NULL
            if self.shaper is not None:     # who holds it has this one's use, which is closed
                self.shaper.disown()
                self.shaper = None
            if self.inspector is not None:
                self.inspector.disown()
                self.inspector = None

    def set_soft(self, config):
        """Settings that may change while running; timeouts arm every session anew.

        ``config``: a record of CONFIG_DTYPE, of which everything else is left alone.
        """
        cdef config_t new
        cdef config_t *old = &self.fw.control.config
        cdef uint32_t number
        cdef bint rearm
        config_read(config, &new)
        with self.use:
            if self.begun:
                # at the rate that held until now
                ips_drain(&self.fw.memory, &self.fw.control, self.fw.clock.now_ns)
            rearm = memcmp(old.timeout_ns, new.timeout_ns, sizeof(new.timeout_ns)) != 0
            memcpy(old.timeout_ns, new.timeout_ns, sizeof(new.timeout_ns))
            old.midstream = new.midstream
            old.midstream_grace_ns = new.midstream_grace_ns
            old.ports_decide = new.ports_decide
            old.invalid_verdict = new.invalid_verdict
            old.half_open_limit = new.half_open_limit
            old.sessions_per_host = new.sessions_per_host
            old.proxy_max_sessions = new.proxy_max_sessions
            old.cache_limit_pages = new.cache_limit_pages
            old.oversize_bytes = new.oversize_bytes
            old.idledrop_idle_ns = new.idledrop_idle_ns
            old.max_step_ns = new.max_step_ns
            old.ips_socket_bytes = new.ips_socket_bytes
            old.ips_throughput_bps = new.ips_throughput_bps
            old.non_ip_verdict = new.non_ip_verdict
            old.orphan_verdict = new.orphan_verdict
            self.fw.round_ns = 0
            self._watch()
            if not self.begun:  # what a live proxy session holds must be what it gives back
                old.proxy_session_pages = new.proxy_session_pages
                return
            if rearm:
                for number in self._live_records():
                    clock_disarm(&self.fw.table, &self.fw.clock, number)
                    session_arm(&self.fw.table, &self.fw.control, &self.fw.clock, number)
            if self.fw.memory.ips_full:
                ips_arm(&self.fw.memory, &self.fw.control, &self.fw.clock)
            due_update(&self.fw)

    cdef void _watch(self) noexcept:
        """What the gate and a setting together say of flow sessions."""
        self.fw.control.gate.flow_watched = (
            self.fw.control.gate.ips_bypass or self.fw.control.config.ips_throughput_bps != 0)

    cdef int _script(self, steps, leaks) except -1:
        """The pressure script, by time; DataError for what cannot be gone through."""
        cdef step_t[::1] step
        cdef leak_t[::1] leak
        cdef Py_ssize_t i
        rows = [[], []]
        for name, given, low, high, out in (
                ("steps", steps, -PAGES_MAX, PAGES_MAX, rows[0]),
                ("leaks", leaks, 1, TIME_MAX_NS, rows[1])):
            for number, row in enumerate(given):
                time_ns, owner, amount = map(_index, row)
                if not (0 <= time_ns < TIME_MAX_NS and owner in (OWNER_BASE, OWNER_SHM)
                        and low <= amount <= high):
                    raise DataError(f"{name}[{number}]: {row} is no (time_ns, owner, amount)")
                out.append((time_ns, owner, amount))
        self.script_arrays = (np.zeros(len(rows[0]) + 1, _layout.STEP_DTYPE),
                              np.zeros(len(rows[1]) + 1, _layout.LEAK_DTYPE))
        step, leak = self.script_arrays
        for i, (time_ns, owner, amount) in enumerate(rows[0]):
            step[i].time_ns, step[i].owner, step[i].pages = time_ns, owner, amount
        for i, (time_ns, owner, amount) in enumerate(rows[1]):
            leak[i].anchor_ns, leak[i].owner, leak[i].rate = time_ns, owner, amount
        self.fw.memory.steps, self.fw.control.config.steps = &step[0], <uint32_t>len(rows[0])
        self.fw.memory.leaks, self.fw.control.config.leaks = &leak[0], <uint32_t>len(rows[1])
        return 0

    # --- figures ---

    @property
    def max_connections(self):
        return self.fw.control.config.max_connections

    @property
    def buckets(self):
        return self.fw.control.config.buckets

    @property
    def fragments_max(self):
        return self.fw.control.config.fragments_max

    @property
    def victims_max(self):
        return self.fw.control.config.victims_max

    @property
    def memory(self):
        """name -> bytes of the memory taken in the constructor."""
        return dict(self.plan)

    @property
    def live(self):
        return self.fw.memory.live

    @property
    def packet(self):
        """Number of the packet judged last, or yet to be judged after a stop by time."""
        return self.fw.packet

    @property
    def at_end(self):
        """Whether every packet of the loaded chunk was judged."""
        return self.position == self.loaded.c.count

    @property
    def first_ns(self):
        """Time of the first frame that is loaded; 0 where there is none."""
        return self.loaded.c.time_ns[0] if self.loaded.c.count else 0

    @property
    def now_ns(self):
        return self.fw.clock.now_ns

    @property
    def shift(self):
        """Added to every address: other sessions in each turn of a looped replay."""
        return self.fw.shift

    @shift.setter
    def shift(self, uint32_t value):
        with self.use:
            self.fw.shift = value
            self._begin_parser()

    # --- running ---

    def begin(self, time_ns):
        """The first packet's time: ticks and the pressure script count from it."""
        cdef fw_t *fw = &self.fw
        cdef int64_t start_ns
        time_ns = _index(time_ns)
        if not 0 <= time_ns <= TIME_MAX_NS:
            raise DataError(f"begin: {time_ns} is not in 0..2**62 ns")
        start_ns = time_ns
        with self.use:
            if self.begun:
                raise DataError("begin: this FastPath has begun already")
            self.begun = True
            fw.clock.start_ns = fw.clock.now_ns = fw.memory.ips_ns = start_ns
            script_begin(&fw.memory, &fw.control, &fw.clock, start_ns)
            timeline_begin(fw)
            pages_note_peaks(fw)
            due_update(fw)

    def resume(self, time_ns):
        """After a restart: the time of the packet that comes next, which the clock takes; whether
        it was set back.

        Forward it goes as with any packet, however far (``max_step_ns`` does not hold this one).
        Back, what is to come stays as far off as it was; not while sessions live, whose times say
        when they were seen, nor with a shaper, whose meters and links know their times. Raises
        DataError before ``begin``, and for a time outside 0..2**62.
        """
        cdef fw_t *fw = &self.fw
        cdef bint back
        time_ns = _index(time_ns)
        if not 0 <= time_ns <= TIME_MAX_NS:
            raise DataError(f"resume: {time_ns} is not in 0..2**62 ns")
        with self.use:
            if not self.begun:
                raise DataError("resume: call begin first")
            back = time_ns < fw.clock.now_ns and fw.memory.live == 0 and fw.shaper == NULL
            if back:
                due_set_back(fw, time_ns)
            clock_trust(fw, time_ns)
            self.resuming = False
        return back

    def load(self, chunk, outcome, flow=None, reply=None):
        """Makes a chunk ready to run; its arrays are held until it is unloaded.

        ``chunk``: data uint8[bytes], offset uint64[n], captured uint32[n], length uint32[n],
        time_ns int64[n], link uint16[n]. ``outcome``: uint16[n], written: verdict in the low
        byte, reason in the high one. ``flow``: uint64[n] or None, written: keyed hash of the
        packet's key, 0 without one. ``reply``: uint8[n] or None, written: 1 where the sender is
        the session's responder (of an ICMP error: who sent the packet that it quotes), or would be
        had the packet made one. Raises FrameError when an array is of another kind or length, a
        frame reaches past the data, or a time is outside 0..2**62; then nothing is loaded.
        """
        with self.use:
            self._unload()
            self.loaded.hold(chunk, outcome, flow, reply)

    def unload(self):
        """Lets go of what is loaded, judged or not."""
        with self.use:
            self._unload()

    cdef void _unload(self) noexcept:
        self.loaded.let_go()
        self.position = 0

    def run(self):
        """Judges packets of the loaded chunk until its end (0) or a stop (STOPPED_*).

        After a stop by time the packet at ``position`` has not been judged; after one by packet
        the one before it has. Call again to go on. Every `breath` the signals are looked at, within
        a long expiry as well: an exception of a handler leaves the position behind the last packet
        judged, too, and everything whole; then, or to go on later, call again.
        """
        cdef int stop = 0
        with self.use:
            if self.loaded.c.count and not self.begun:
                raise DataError("run: call begin first")
            if self.fw.log_fill >= self.fw.log_room:
                raise DataError("run: the log is full; collect it first")
            while stop == 0 and self.position < self.loaded.c.count:
                self.fw.breath = self.breath
                with nogil:
                    self.position = loop(
                        &self.fw, &self.parser, &self.loaded.c, self.position, self.group,
                        self.recount, &stop)
                stop = self._look_around(stop)
        return stop

    def judge(self, keeper, frame, now_ns, length=None, link=1):
        """(Verdict, Reason) of one frame, without a chunk; ``load`` and ``run`` do not notice.

        ``keeper``: who answers stops: ``keeper.judge_slowly(found, frame, now_ns, length, link)``
        gives the judgement where there is one to answer, or where it has not begun; ``found``:
        the judgement, if the frame was judged already. Raises FrameError.
        """
        cdef object found
        self.outer.take()
        try:
            if (self.begun and not self.stopped and not self.resuming
                    and self.fw.log_fill < self.fw.log_room and not egress_brims(&self.fw)):
                found = self._judge(frame, now_ns, length, link)
                if found is not None and not self.watched and not self.stopped:
                    return found
            else:
                found = None
            return keeper.judge_slowly(found, frame, now_ns, length, link)
        finally:
            self.outer.give()

    def judge_frames(self, keeper, Packed packed, frames, times_ns, lengths, link):
        """Outcomes uint8[n, 2] of frames that ``packed`` takes up, in one go.

        ``keeper``: who answers stops: ``keeper.frames_slowly()`` judges what was packed where there
        is more to do than that, ``keeper.frames_on()`` goes on after a stop. Raises FrameError.
        """
        cdef uint8_t[:, ::1] out
        self.outer.take()
        try:
            self.unload()
            packed.pack(frames, times_ns, lengths, link)
            if (not packed.count or not self.begun or self.stopped or self.resuming or self.watched
                    or self.fw.control.config.log or self.shaper is not None):
                return keeper.frames_slowly()
            self.rows = rows = np.zeros((packed.count, 2), np.uint8)
            out = rows
            self.use.take()
            try:
                self.loaded.lend(packed, <uint16_t *>&out[0, 0])
                self.fw.breath = self.breath
                self._turn()
            finally:
                self.use.give()
            if self.stopped or self.position < packed.count:
                keeper.frames_on()
            return rows
        finally:
            self.outer.give()

    cdef void _turn(self) noexcept:
        """Judges what is loaded until its end or the first stop."""
        cdef int stop = 0
        with nogil:
            self.position = loop(&self.fw, &self.parser, &self.loaded.c, self.position, self.group,
                                 self.recount, &stop)
        self.stopped = stop & ~(STOP_LOG | STOP_BREATH | STOP_ASK)

    def judge_on(self, frame, now_ns, length=None, link=1):
        """The same for the keeper; None: a stop came before it, answer it and call again."""
        if not self.begun:
            raise DataError("judge: call begin first")
        return self._judge(frame, now_ns, length, link)

    cdef object _judge(self, frame, now_ns, length, link):
        cdef chunk_t one
        cdef Py_buffer view
        cdef uint32_t captured
        cdef int64_t at_ns = whole(now_ns, "time_ns", 0, TIME_MAX_NS)
        cdef uint16_t link_type = <uint16_t>whole(link, "link", 0, 65535)
        cdef uint32_t wire
        cdef bint viewed = not PyBytes_CheckExact(frame)
        memset(&one, 0, sizeof(chunk_t))
        if viewed:
            try:
                PyObject_GetBuffer(frame, &view, PyBUF_SIMPLE)
            except (TypeError, ValueError, BufferError):
                raise FrameError(f"{type(frame).__name__} is no frame; give bytes, a memoryview or"
                                 " a NumPy row") from None
            one.data, one.size = <const uint8_t *>view.buf, view.len
        else:
            one.data, one.size = <const uint8_t *>PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame)
        try:
            if one.size > 0xFFFFFFFF:
                raise FrameError(f"{one.size} bytes are more than a frame may have")
            captured = <uint32_t>one.size
            wire = captured if length is None else <uint32_t>whole(length, "length", 0, 0xFFFFFFFF)
            one.captured, one.length, one.time_ns, one.link = &captured, &wire, &at_ns, &link_type
            return self._judge_one(&one)
        finally:
            if viewed:
                PyBuffer_Release(&view)

    cdef object _judge_one(self, chunk_t *one):
        """Judges a chunk of one frame; None: something was due before it."""
        cdef uint64_t offset = 0, done = 0
        cdef uint16_t outcome = 0
        cdef int stop = STOP_BREATH
        one.offset, one.outcome, one.count = &offset, &outcome, 1
        self.use.take()
        try:
            while done == 0 and stop & STOP_BREATH:
                self.fw.breath = self.breath
                done = loop(&self.fw, &self.parser, one, 0, 1, self.recount, &stop)
                if stop:
                    if stop & STOP_BREATH:
                        self._look_around(STOP_BREATH)
                    else:
                        self.stopped = stop & ~(STOP_LOG | STOP_ASK)
        finally:
            self.use.give()
        return OUTCOMES[(outcome & 255) + VERDICT_COUNT * (outcome >> 8)] if done else None

    cdef int _look_around(self, int stop) except -1:
        """Keeps a stop for who has to answer it, then lets signals have their say; a breath is
        no stop."""
        if stop & STOP_BREATH:
            stop = 0
        self.stopped = stop & ~(STOP_LOG | STOP_ASK)
        PyErr_CheckSignals()
        return stop

    def advance(self, time_ns):
        """Lets capture time pass without a packet: what is due up to ``time_ns`` happens.

        Stops as ``run`` does; 0 when the clock stands at ``time_ns`` (or later already). The
        packet number of what happens is that of the last packet. Raises DataError before
        ``begin``, and for a time outside 0..2**62.
        """
        cdef fw_t *fw = &self.fw
        cdef int64_t until_ns
        cdef int found = STOP_BREATH, stop = 0
        time_ns = _index(time_ns)
        if not 0 <= time_ns <= TIME_MAX_NS:
            raise DataError(f"advance: {time_ns} is not in 0..2**62 ns")
        until_ns = time_ns
        with self.use:
            if not self.begun:
                raise DataError("advance: call begin first")
            if fw.log_fill >= fw.log_room:
                raise DataError("advance: the log is full; collect it first")
            fw.packet = fw.counters.packets
            while found & STOP_BREATH:
                fw.breath = self.breath
                with nogil:
                    found = due_moments(fw, until_ns)
                stop = self._look_around(found)
            if stop == 0 and until_ns > fw.clock.now_ns:
                fw.clock.now_ns = until_ns
            if stop == 0 and fw.shaper != NULL:
                with nogil:
                    shaper_advance(<shaper_t *>fw.shaper, fw.clock.now_ns)
                egress_due(fw)
        return stop

    def set_shaper(self, Shaper shaper not None):
        """From now on packets meet this shaper; it has taken over from the one before.

        Raises DataError where it has not as many sessions as the table, where it is another fast
        path's, and where it has not taken over from the one there is.
        """
        cdef Use own = shaper.use
        if own is self.use:
            with own:
                self._set_shaper(shaper)
            return
        if shaper.keeper is not None:
            raise DataError("shaper: it is another fast path's")
        with self.use, own:
            if self.shaper is not None:
                raise DataError("shaper: it has not taken over from the one there is")
            self._set_shaper(shaper)

    cdef int _set_shaper(self, Shaper shaper) except -1:
        cdef fw_t *fw = &self.fw
        if shaper.sessions < fw.control.config.max_connections:
            raise DataError(f"shaper: of {shaper.sessions} sessions, and the table has"
                            f" {fw.control.config.max_connections}")
        shaper.own(self, self.use)
        shaper.core.owner = fw
        shaper.core.request = egress_request
        shaper.core.give = egress_give
        shaper.core.now_ns = max(shaper.core.now_ns, fw.clock.now_ns)
        self.shaper = shaper
        fw.shaper = &shaper.core
        fw.egress = egress_calls()
        fw.hooked = 1
        shaper.serve()
        egress_due(fw)
        if self.begun:
            due_update(fw)
        return 0

    def set_inspector(self, Inspector inspector):
        """From now on the first bytes of sessions that begin and are proxied are gathered for this
        one; None: for nobody. Those of the one before are scanned as without it, or bypassed where
        an answer was due. Raises DataError where it is another fast path's."""
        cdef fw_t *fw = &self.fw
        with self.use:
            if inspector is not None and inspector.keeper is not None:
                raise DataError("inspector: it is a fast path's already, or was")
            if self.inspector is not None:
                self.inspector.leave()
            self.inspector = inspector
            if inspector is not None:
                inspector.join(self, fw, self.use)
            fw.hooked = fw.shaper != NULL or fw.inspector != NULL

    def let_leave(self, drain=False, clear=False):
        """What is due at links up to now leaves; ``drain``: all that waits, in its time, the
        clock stands; ``clear``: what waits is cleared. Nothing without a shaper."""
        cdef shaper_t *s
        with self.use:
            if self.fw.shaper == NULL:
                return
            s = <shaper_t *>self.fw.shaper
            with nogil:
                shaper_advance(s, self.fw.clock.now_ns)
            if drain:
                with nogil:
                    shaper_drain(s)
            if clear:
                with nogil:
                    shaper_clear(s)
            egress_due(&self.fw)
            pages_note_peaks(&self.fw)
            if self.begun:
                due_update(&self.fw)

    def apply(self, row):
        """Sets the gate row, the quiet intervals of the gauges and whether idledrop has rounds.

        ``row``: a record of GATE_DTYPE. Answers a stop. Raises DataError.
        """
        cdef fw_t *fw = &self.fw
        cdef gate_t given
        gate_read(row, &given)
        with self.use:
            if given.idledrop and not fw.control.gate.idledrop:
                fw.round_ns = 0
            fw.control.gate = given
            self._watch()
            self.stopped = 0
            fw.memory.dirty = 0
            pages_note_peaks(fw)
            due_update(fw)

    def rest_until(self, time_ns):
        """No round of idledrop before ``time_ns``, unless sessions are made or settings changed.

        For the control plane to say after a round: what stands now cannot be ended before.
        """
        time_ns = _index(time_ns)
        if not 0 <= time_ns <= NEVER:
            raise DataError(f"rest_until: {time_ns} is no time in ns")
        with self.use:
            self.fw.round_ns = time_ns
            due_update(&self.fw)

    def gauges(self):
        """As they stand: ``Gauges``, a field for each of ``gauges_t`` (layout.h)."""
        cdef fw_t *fw = &self.fw
        cdef const pages_t *pages = &fw.memory.pages
        cdef gauges_t now
        with self.use:
            now.used_pages, now.free_pages = pages_used(pages), pages.free
            now.shm_pages, now.cache_pages = pages.owner[OWNER_SHM], pages.owner[OWNER_CACHE]
            now.proxy_sessions, now.live_sessions = fw.memory.proxy_sessions, fw.memory.live
            now.ips_full, now.now_ns, now.packet = fw.memory.ips_full, fw.clock.now_ns, fw.packet
        return _layout.Gauges(**now)

    def owners(self):
        """(base, sessions, shm, cache) pages; ``queue_pages`` has those of queues."""
        cdef fw_t *fw = &self.fw
        with self.use:
            return (fw.memory.pages.owner[OWNER_BASE], fw.memory.pages.owner[OWNER_SESSIONS],
                    fw.memory.pages.owner[OWNER_SHM], fw.memory.pages.owner[OWNER_CACHE])

    @property
    def queue_pages(self):
        """Pages that queued bytes own, now and at most."""
        return self.fw.memory.pages.owner[OWNER_QUEUES], self.fw.memory.pages.peak[PEAK_QUEUES]

    def end_sessions(self, records, cause):
        """Ends the given records (uint32[n], as ``live_sessions`` names them), in this order.

        ``cause``: an EndCause. Raises DataError, and ends none, when a record is not live or is
        named twice.
        """
        cdef const uint32_t[::1] numbers
        cdef fw_t *fw = &self.fw
        cdef Py_ssize_t i, bad
        cause = _index(cause)
        if not 0 <= cause < END_COUNT:
            raise DataError(f"end_sessions: there is no cause {cause}")
        if not isinstance(records, np.ndarray) or records.dtype != np.uint32 or records.ndim != 1:
            raise DataError("end_sessions: uint32[n] of live_sessions() is asked for")
        numbers = np.array(records, order="C")
        cdef int why = cause
        with self.use:
            if fw.control.config.log and fw.log_fill + numbers.shape[0] > self._log_rows():
                raise DataError("end_sessions: the log is full; collect it first")
            bad = self._name(numbers)
            for i in range(numbers.shape[0] if bad < 0 else bad):
                fw.table.records[numbers[i]].named = 0
            if bad >= 0:
                raise DataError(
                    f"end_sessions: records[{bad}]: {numbers[bad]} is not live, or named twice")
            for i in range(numbers.shape[0]):
                session_end(fw, numbers[i], why)
            due_update(fw)

    def clear(self):
        """Ends every session `cleared`, all at once; how many. DataError where a log is kept, or
        with a shaper or an inspector."""
        cdef uint64_t ended = self.fw.memory.live
        with self.use:
            if self.fw.control.config.log or self.fw.hooked:
                raise DataError("clear: each session's end is noted; end_sessions(live_records())")
            with nogil:
                table_clear(&self.fw)
            due_update(&self.fw)
        return ended

    def take(self, owner, pages):
        """Pages for base (0) or shm (2) as a step of the script takes them; those had at once."""
        return self._by_hand(owner, pages, 1)

    def give(self, owner, pages):
        """Gives pages back, as a step of the script does; those that were held and went."""
        return self._by_hand(owner, pages, 0)

    cdef object _by_hand(self, owner, pages, bint taken):
        cdef fw_t *fw = &self.fw
        cdef int who
        cdef uint64_t before, after, count
        owner, pages = _index(owner), _index(pages)
        if owner not in (OWNER_BASE, OWNER_SHM) or not 0 <= pages <= PAGES_MAX:
            raise DataError(f"owner {owner}, {pages} pages: base (0) or shm (2), 0..2**50")
        who, count = owner, pages
        with self.use:
            if fw.log_fill >= fw.log_room:
                raise DataError("take: the log is full; collect it first")
            before = fw.memory.pages.script_shm if who == OWNER_SHM else fw.memory.pages.owner[who]
            if taken and count:
                script_take(fw, who, count)
            elif not taken:
                script_give(&fw.memory, &fw.control, who, count)
            after = fw.memory.pages.script_shm if who == OWNER_SHM else fw.memory.pages.owner[who]
            pages_note_peaks(fw)
            due_update(fw)
        return <int64_t>(after - before) if taken else <int64_t>(before - after)

    cdef Py_ssize_t _name(self, const uint32_t[::1] numbers) noexcept:
        """Marks each record; where the first stands that is not live or was named; -1: none."""
        cdef Py_ssize_t i
        cdef record_t *r
        for i in range(numbers.shape[0]):
            if numbers[i] >= self.fw.control.config.max_connections:
                return i
            r = &self.fw.table.records[numbers[i]]
            if r.meta == 0 or r.named:
                return i
            r.named = 1
        return -1

    cdef uint64_t _log_rows(self) noexcept:
        return self.fw.control.config.max_connections + 2 * LOG_SLACK_ROWS

    def prepare(self, config):
        """Memory for a table of this configuration, for ``rebuild``; nothing changes yet.

        Raises DataError, and MemoryError when it cannot be had.
        """
        return Table(config)

    def rebuild(self, Table table not None, bint keep=False):
        """A restart with a table of ``prepare``; counters, clock and ledgers go on.

        ``keep``: the sessions that live move into it. Raises DataError, and changes nothing, while
        more live than it holds (without ``keep``, any; the caller tears them down), while their
        log has not been collected, and when base and table no longer fit.
        """
        cdef fw_t *fw = &self.fw
        cdef Arena before = self.arena
        cdef session_row_t *victims = fw.victims
        cdef sample_t *samples = fw.samples
        cdef const uint64_t *owner = fw.memory.pages.owner
        cdef uint64_t buffers = owner[OWNER_SHM] + owner[OWNER_CACHE]
        cdef uint64_t queues = owner[OWNER_QUEUES]
        # What the script added to the base or gave back of it outlives the restart.
        cdef uint64_t base = max(
            0, int(table.config.base_pages) + int(fw.memory.pages.owner[OWNER_BASE])
            - int(fw.control.config.base_pages))
        cdef uint64_t sessions
        with self.use:
            self._check_rebuild(table, base + buffers + queues, keep)
            standing = self._state_sessions()
            if self.shaper is not None:     # before, for it may find no memory
                self.shaper.renumber(self._in_order(self._live_records()),
                                     <uint32_t>table.config.max_connections)
            self._take_in(table)
            fw.memory.live = fw.memory.half_open = fw.memory.proxy_sessions = 0
            if self.fw.table.newborn != NULL:     # other records have other numbers now
                self.newborn[:] = NIL
            self._link(standing)
            memcpy(fw.victims, victims, fw.control.config.victims_max * sizeof(session_row_t))
            if fw.counters.victims:
                fw.table.graves_blind = 1  # who they were went with the old table
            memcpy(fw.samples, samples, fw.samples_fill * sizeof(sample_t))
            before = None  # no-cython-lint
            sessions = pages_for_sessions(&fw.control, fw.memory.live)
            fw.memory.pages.owner[OWNER_SESSIONS] = sessions
            fw.memory.pages.free = (
                fw.control.config.total_pages - sessions - base - buffers - queues)
            fw.memory.pages.owner[OWNER_BASE] = base
            pages_note_peaks(fw)
            fw.memory.dirty = 1
            self.resuming = self.begun and not keep
            due_update(fw)

    cdef int _check_rebuild(self, Table table, uint64_t held, bint keep) except -1:
        cdef fw_t *fw = &self.fw
        cdef config_t *new = &table.config
        if table.arena is None:
            raise DataError("rebuild: this table has been taken already; prepare another")
        if fw.memory.live > (new.max_connections if keep else 0) or fw.clock.unfinished:
            raise DataError("rebuild: sessions live; end them first")
        if fw.log_fill:
            raise DataError("rebuild: the log has rows; collect them first")
        if (new.victims_max != fw.control.config.victims_max or new.log != fw.control.config.log
                or (new.timeline_ns != 0) != (fw.control.config.timeline_ns != 0)
                or memcmp(new.seeds, fw.control.config.seeds, sizeof(new.seeds))):
            raise DataError("rebuild: seeds, ledgers and timeline stay as they are")
        if not new.preallocated:
            held += fw.memory.pages.owner[OWNER_SESSIONS]
        if held + new.preallocated_pages > new.total_pages:
            raise DataError("rebuild: base, table and what the script holds exceed the RAM")
        return 0

    def sample(self):
        """Adds a row to the timeline, as of now."""
        with self.use:
            timeline_take(&self.fw, 1)

    # --- written down, and taken up again ---

    def state(self):
        """(figures, tables): all that what follows depends on, and what is told of what was.

        figures: name -> int; tables: name -> array of STATE_DTYPES, a copy. Raises DataError while
        a stop waits for its answer, within a moment, and before the log was collected.
        """
        cdef fw_t *fw = &self.fw
        cdef int64_t *due = fw.clock.due_ns
        with self.use:
            if self.stopped or fw.clock.unfinished or fw.log_fill:
                raise DataError("state: answer the stop, finish the moment, collect the log first")
            figures = {
                "begun": int(self.begun), "resuming": int(self.resuming),
                "packet": fw.packet, "now_ns": fw.clock.now_ns,
                "start_ns": fw.clock.start_ns, "tick": fw.clock.tick,
                "due_collect_ns": due[DUE_COLLECT], "due_ips_ns": due[DUE_IPS],
                "due_sample_ns": due[DUE_SAMPLE], "round_ns": fw.round_ns,
                "graves_blind": fw.table.graves_blind, "next_step": fw.memory.next_step,
                "ips_level": fw.memory.ips_level, "ips_carry": fw.memory.ips_carry,
                "ips_ns": fw.memory.ips_ns, "ips_full": fw.memory.ips_full,
                "sample_step_ns": fw.sample_step_ns, "shift": fw.shift}
            tables = self._state_sessions() | self._state_ledgers() | self._state_shaper()
        return figures, tables

    cdef dict _state_sessions(self):
        """Records in order of creation, and how they stand in the wheel."""
        cdef fw_t *fw = &self.fw
        cdef uint64_t count = fw.memory.live, i
        cdef const uint32_t[::1] numbers
        cdef uint32_t[::1] place, order
        cdef uint64_t[::1] ticks
        cdef record_t[::1] out
        found = self._in_order(self._live_records())
        tables = {"records": np.empty(count, STATE_DTYPES["records"]),
                  "wheel_order": np.empty(count, np.uint32),
                  "wheel_ticks": np.empty(count, np.uint64)}
        if count:
            numbers, out = found, tables["records"]
            order, ticks = tables["wheel_order"], tables["wheel_ticks"]
            place = np.zeros(fw.control.config.max_connections, np.uint32)
            with nogil:
                for i in range(count):
                    place[numbers[i]] = <uint32_t>i
                    out[i] = fw.table.records[numbers[i]]
                keep_wheel(&fw.table, &fw.clock, &place[0], &order[0], &ticks[0])
        return tables

    cdef dict _state_shaper(self):
        if self.shaper is None:
            return {name: np.zeros(0, dtype) for name, dtype in _SHAPER_DTYPES.items()}
        return self.shaper.written(self._in_order(self._live_records()))

    cdef dict _state_ledgers(self):
        cdef fw_t *fw = &self.fw
        cdef uint32_t entry = fw.memory.fragment_oldest
        fragments = []
        while entry != NIL:  # bounded by fragments_max
            fragments.append(copied(&fw.memory.fragments[entry], 1, STATE_DTYPES["fragments"]))
            entry = fw.memory.fragments[entry].newer
        tables = {
            "fragments": np.concatenate([np.zeros(0, STATE_DTYPES["fragments"]), *fragments]),
            "victims": self._ring(),
            "samples": copied(fw.samples, fw.samples_fill, _layout.SAMPLE_DTYPE),
            "counters": copied(&fw.counters, 1, _layout.COUNTERS_DTYPE),
            "pages": copied(&fw.memory.pages, 1, STATE_DTYPES["pages"]),
            "gate": copied(&fw.control.gate, 1, _layout.GATE_DTYPE),
            "leaks": copied(fw.memory.leaks, fw.control.config.leaks, _layout.LEAK_DTYPE),
            "digests": np.concatenate([
                copied(&fw.packet_digest, 1, STATE_DTYPES["digests"]),
                copied(&fw.victim_digest, 1, STATE_DTYPES["digests"])])}
        number = np.dtype(np.uint64)
        for name, values in (
                ("reborn", copied(fw.table.reborn, <size_t>fw.table.reborn_mask + 1, number)),
                ("graves", copied(fw.table.graves, <size_t>fw.table.graves_mask + 1, number)),
                ("recount", copied(self.recount, RECOUNTS, number))):
            places = np.flatnonzero(values)
            tables[name + "_at"], tables[name] = places.astype(np.uint64), values[places]
        return {name: table.astype(STATE_DTYPES[name], copy=False)
                for name, table in tables.items()}

    def set_state(self, figures, tables):
        """Takes up what ``state`` gave, in a FastPath of the same config, script and policies.

        Raises DataError for what cannot be; this FastPath is of no use then. Not everything that
        cannot be is seen here: ask the laws.
        """
        cdef fw_t *fw = &self.fw
        given = dict(figures)
        if given.keys() != FIGURES.keys():
            raise DataError(f"state: the figures are {', '.join(FIGURES)}")
        for name, (low, high) in FIGURES.items():
            if type(given[name]) is not int or not low <= given[name] <= high:
                raise DataError(f"state: {name} {given[name]!r} is not in {low}..{high}")
        for name, dtype in STATE_DTYPES.items():
            table = tables[name]
            if not isinstance(table, np.ndarray) or table.dtype != dtype or table.ndim != 1:
                raise DataError(f"state: table {name}: {dtype}[n] is asked for")
        with self.use:
            if self.begun or fw.memory.live or fw.inspector != NULL:
                raise DataError("state: this FastPath has begun already, or has an inspector")
            self._set_clock(given)
            self._set_ledgers(tables)
            self._set_script(given, tables["leaks"])
            self._link(tables)
            self._set_fragments(tables["fragments"])
            self._set_shaped(tables)
            fw.packet, fw.shift = given["packet"], given["shift"]
            self.parser.shift = fw.shift
            self.begun, self.resuming = given["begun"], given["resuming"]
            due_update(fw)

    cdef int _set_clock(self, dict given) except -1:
        cdef fw_t *fw = &self.fw
        now_ns, start_ns, tick = given["now_ns"], given["start_ns"], given["tick"]
        if start_ns > now_ns or tick > (now_ns - start_ns) // fw.control.config.sweep_ns:
            raise DataError(f"state: start {start_ns}, tick {tick} and now {now_ns} ns")
        for name in ("due_collect_ns", "due_ips_ns", "due_sample_ns"):
            if given["begun"] and given[name] < now_ns:
                raise DataError(f"state: {name} {given[name]} has passed at {now_ns}")
        step_ns = given["sample_step_ns"]
        if given["begun"] and fw.control.config.timeline_ns and (
                step_ns == 0 or step_ns % fw.control.config.timeline_ns):
            raise DataError(f"state: sample_step_ns {step_ns} is no multiple")
        if given["ips_ns"] > now_ns or given["ips_level"] > fw.control.config.ips_socket_bytes:
            raise DataError("state: the IPS buffer is of another time or size")
        fw.clock.start_ns, fw.clock.now_ns, fw.clock.tick = start_ns, now_ns, tick
        fw.clock.tick_end_ns = 0
        if given["begun"]:
            fw.clock.tick_end_ns = start_ns + (tick + 1) * fw.control.config.sweep_ns
        fw.sample_step_ns = step_ns
        fw.round_ns, fw.table.graves_blind = given["round_ns"], given["graves_blind"]
        fw.memory.ips_level, fw.memory.ips_carry = given["ips_level"], given["ips_carry"]
        fw.memory.ips_ns, fw.memory.ips_full = given["ips_ns"], given["ips_full"]
        clock_set(&fw.clock, DUE_COLLECT, given["due_collect_ns"])
        clock_set(&fw.clock, DUE_IPS, given["due_ips_ns"])
        clock_set(&fw.clock, DUE_SAMPLE, given["due_sample_ns"])
        return 0

    cdef int _set_ledgers(self, tables) except -1:
        cdef fw_t *fw = &self.fw
        cdef const counters_t[::1] counters
        cdef const pages_t[::1] pages
        cdef const digest_t[::1] digests
        cdef gate_t gate
        cdef const session_row_t[::1] victims
        cdef const sample_t[::1] samples
        cdef uint64_t i, kept, first
        for name, rows in (("counters", 1), ("pages", 1), ("gate", 1), ("digests", 2)):
            if len(tables[name]) != rows:
                raise DataError(f"state: {name} has {len(tables[name])} rows, not {rows}")
        counters, pages, digests = tables["counters"], tables["pages"], tables["digests"]
        gate_read(tables["gate"], &gate)
        for name in STATE_DTYPES["pages"].names:
            if max(tables["pages"][name].reshape(-1).tolist()) > PAGES_MAX:
                raise DataError(f"state: pages: {name} is more than 2**50")
        if digests[0].fill > 128 or digests[1].fill > 128:
            raise DataError("state: a digest of more bytes than its block has")
        fw.counters, fw.memory.pages, fw.control.gate = counters[0], pages[0], gate
        fw.packet_digest, fw.victim_digest = digests[0], digests[1]
        self._watch()
        kept = len(tables["victims"])
        if kept != min(counters[0].victims, fw.control.config.victims_max) \
                or len(tables["samples"]) > fw.samples_room:
            raise DataError("state: victims or samples that the counters do not know")
        first = (counters[0].victims - kept) % fw.control.config.victims_max
        if kept:
            victims = tables["victims"]
            for i in range(kept):
                fw.victims[(first + i) % fw.control.config.victims_max] = victims[i]
        fw.samples_fill = len(tables["samples"])
        if fw.samples_fill:
            samples = tables["samples"]
            memcpy(fw.samples, &samples[0], fw.samples_fill * sizeof(sample_t))
        self._scatter(tables, "reborn", fw.table.reborn, <uint64_t>fw.table.reborn_mask + 1)
        self._scatter(tables, "graves", fw.table.graves, <uint64_t>fw.table.graves_mask + 1)
        self._scatter(tables, "recount", self.recount, RECOUNTS)
        return 0

    cdef int _scatter(self, tables, str name, uint64_t *to, uint64_t room) except -1:
        cdef const uint64_t[::1] at
        cdef const uint64_t[::1] values
        cdef uint64_t i
        places = tables[name + "_at"]
        if len(places) != len(tables[name]) or (len(places) and places.max() >= room):
            raise DataError(f"state: {name}: places beyond the {room} there are")
        if len(places):
            at, values = places, tables[name]
            for i in range(<uint64_t>at.shape[0]):
                to[at[i]] = values[i]
        return 0

    cdef int _set_script(self, dict given, leaks) except -1:
        """Steps and leaks, which count from the first packet, and how far they are."""
        cdef fw_t *fw = &self.fw
        cdef const leak_t[::1] rows
        cdef uint32_t i
        cdef int64_t now_ns = fw.clock.now_ns
        if len(leaks) != fw.control.config.leaks or given["next_step"] > fw.control.config.steps:
            raise DataError("state: another pressure script's")
        fw.memory.next_step = given["next_step"]
        if not given["begun"]:
            return 0
        for i in range(fw.control.config.steps):
            fw.memory.steps[i].time_ns += fw.clock.start_ns
            if i >= fw.memory.next_step and fw.memory.steps[i].time_ns < now_ns:
                raise DataError(f"state: step {i} of the pressure script is of another time")
        for i in range(fw.control.config.leaks):
            rows = leaks
            if (rows[i].owner != fw.memory.leaks[i].owner or rows[i].rate != fw.memory.leaks[i].rate
                    or rows[i].stalled > 1 or rows[i].taken > <uint64_t>PAGES_MAX
                    or not -CLOCK_MEMORY_NS <= rows[i].anchor_ns <= NEVER):
                raise DataError(f"state: leak {i} is another script's")
            fw.memory.leaks[i] = rows[i]
            if rows[i].stalled:
                fw.memory.leaks[i].next_ns = NEVER
            else:
                leak_arm(&fw.memory.leaks[i])
            if fw.memory.leaks[i].next_ns < now_ns:
                raise DataError(f"state: leak {i} is of another time")
        steps_set(&fw.memory, &fw.control, &fw.clock)
        leaks_set(&fw.memory, &fw.control, &fw.clock)
        return 0

    cdef int _link(self, tables) except -1:
        """Sessions of ``_state_sessions`` into an empty table."""
        cdef fw_t *fw = &self.fw
        cdef const record_t[::1] records
        cdef const uint32_t[::1] order
        cdef const uint64_t[::1] ticks
        cdef uint8_t[::1] armed
        cdef uint64_t count = len(tables["records"])
        cdef int64_t bad
        if not (count == len(tables["wheel_order"]) == len(tables["wheel_ticks"])
                and count <= fw.control.config.max_connections):
            raise DataError(f"state: {count} sessions, and a wheel or a table of others")
        if count == 0:
            return 0
        records, armed = tables["records"], np.zeros(count, np.uint8)
        order, ticks = tables["wheel_order"], tables["wheel_ticks"]
        with nogil:
            bad = keep_records(fw, &records[0], count, self.policies.known)
        if bad >= 0:
            raise DataError(f"state: session {bad} cannot be, or is there twice")
        with nogil:
            bad = keep_timers(&fw.table, &fw.control, &fw.clock, &order[0], &ticks[0], count,
                              &armed[0])
        if bad >= 0:
            raise DataError(f"state: timer {bad} is of another session or time")
        return 0

    cdef int _set_shaped(self, tables) except -1:
        """Meters, links, and what waits. => sessions and pages stand"""
        cdef fw_t *fw = &self.fw
        if (self.shaper is not None) != (len(tables["shaper"]) != 0):
            raise DataError("state: it was saved with [[shaping]] rows, or without")
        if self.shaper is None:
            return 0
        records, sessions = tables["records"], tables["shaper_sessions"]
        if len(sessions) != len(records) or (sessions["dropped"] > records["packets"]).any() or (
                sessions["dropped_bytes"] > records["bytes"]).any():
            raise DataError("state: shaper: sessions that dropped more than came, or others")
        self.shaper.take_up(tables, fw.counters.packets)
        if (fw.memory.pages.owner[OWNER_QUEUES] != self.shaper.core.pages
                or self.shaper.core.now_ns < fw.clock.now_ns):
            raise DataError("state: shaper: it is of other pages, or of another time")
        egress_due(fw)
        return 0

    cdef int _set_fragments(self, fragments) except -1:
        """First fragments in order of arrival."""
        cdef fw_t *fw = &self.fw
        cdef const fragment_t[::1] rows
        cdef uint64_t i
        cdef int64_t last_ns = 0
        if len(fragments) > fw.control.config.fragments_max:
            raise DataError("state: more fragments than there is room for")
        if len(fragments):
            rows = fragments
            for i in range(<uint64_t>rows.shape[0]):
                if (rows[i].verdict >= VERDICT_COUNT or rows[i].reason >= REASON_COUNT
                        or rows[i].direction > 1 or rows[i].session > 1 or rows[i].swapped > 1
                        or not last_ns <= rows[i].inserted_ns <= fw.clock.now_ns):
                    raise DataError(f"state: fragment {i} cannot be")
                last_ns = rows[i].inserted_ns
                fragment_link(&fw.memory, &fw.control, &rows[i])
        return 0

    # --- policies ---

    def set_policies(self, compiled, moved=None, gone=None):
        """Replaces the policies: ``compiled`` as ``policy.Compiled`` lays them out, or None.

        Everything is copied. Sessions keep what they were given; so that their policy's id is
        known still, while any live: ``moved`` uint16[n], for each of the policies there were (by
        index) its index now, ``gone`` uint32[m], ids that stand behind those of ``compiled``.
        Raises DataError, and changes nothing, when an array is of another kind or an index has
        nothing behind it.
        """
        cdef Policies policies = Policies(compiled, gone)
        cdef const uint16_t[::1] places
        cdef uint32_t number
        cdef record_t *r
        with self.use:
            if self.fw.memory.live:
                self._check_moved(moved, policies.known)
                places = np.array(moved)
                for number in self._live_records():
                    r = &self.fw.table.records[number]
                    r.policy = places[r.policy]
            self._point(policies)

    cdef void _point(self, Policies policies) noexcept:
        self.policies = policies
        self.fw.control.policies = policies.c

    cdef int _check_moved(self, moved, known) except -1:
        if moved is None:
            raise DataError("policies: sessions live; say where their policies are now")
        if (not isinstance(moved, np.ndarray) or moved.dtype != np.uint16 or moved.ndim != 1
                or (len(moved) and moved.max() >= known)
                or len(moved) <= self._policies_standing().max()):
            raise DataError(f"policies: moved: uint16, an index below {known} for each there was")
        return 0

    def policies_standing(self):
        """Index of the policy of each live session: uint16[live], in no order."""
        with self.use:
            return self._policies_standing()

    cdef object _policies_standing(self):
        cdef uint32_t[::1] numbers = self._live_records()
        found = np.zeros(self.fw.memory.live, np.uint16)
        cdef uint16_t[::1] out = found
        cdef Py_ssize_t i
        for i in range(numbers.shape[0]):
            out[i] = self.fw.table.records[numbers[i]].policy
        return found

    # --- looking in: copies, never views ---

    def live_records(self):
        """Record numbers in use, in order of creation: uint32[live]."""
        with self.use:
            return self._in_order(self._live_records())

    cdef object _in_order(self, numbers):
        cdef uint64_t count = numbers.shape[0]
        cdef const uint32_t[::1] records = numbers
        cdef uint64_t[::1] made
        if count == 0:
            return numbers
        created = np.empty(count, dtype=np.uint64)
        made = created
        with nogil:
            rows_created(&self.fw.table, &records[0], count, &made[0])
        created -= created.min()
        span = int(created.max()) + 1
        if span > CROWDED * count:
            return numbers[np.argsort(created)]
        places = np.full(span, NIL, np.uint32)  # no two were made by one packet: no sort is needed
        places[created] = numbers
        return places[places != NIL]

    def rows_of(self, records):
        """Rows (SESSION_DTYPE[n]) of record numbers (uint32[n]); DataError where one is free."""
        cdef const uint32_t[::1] numbers
        cdef session_row_t[::1] out
        cdef uint8_t[::1] marks
        cdef Py_ssize_t i
        if not isinstance(records, np.ndarray) or records.dtype != np.uint32 or records.ndim != 1:
            raise DataError("rows_of: uint32[n] of live_records() is asked for")
        numbers = np.array(records, order="C")
        rows = np.empty(numbers.shape[0], dtype=_layout.SESSION_DTYPE)
        if not numbers.shape[0]:
            return rows
        out, marks = rows, np.empty(numbers.shape[0], dtype=np.uint8)
        with self.use:
            for i in range(numbers.shape[0]):
                if (numbers[i] >= self.fw.control.config.max_connections
                        or self.fw.table.records[numbers[i]].meta == 0):
                    raise DataError(f"rows_of: records[{i}]: {numbers[i]} is not live")
            with nogil:
                rows_sessions(&self.fw, &numbers[0], numbers.shape[0], &out[0], &marks[0])
        return rows

    def note_newborn(self, bint wanted):
        """From now on the newest NEWBORN_MAX sessions are known by their birth, or no longer."""
        with self.use:
            self.newborn = np.full(NEWBORN_MAX, NIL, np.uint32) if wanted else None
            self.fw.table.newborn = &self.newborn[0] if wanted else NULL

    def newborn_rows(self, count):
        """Of the ``count`` sessions made last (16 384 at most, see ``note_newborn``) those that
        live, in order of creation: SESSION_DTYPE[n]."""
        cdef uint64_t made = self.fw.counters.created, place, wanted, before = <uint64_t>-1
        cdef uint32_t number
        cdef const record_t *r
        found = []
        wanted = min(_index(count), NEWBORN_MAX, made)
        with self.use:
            if self.fw.table.newborn == NULL:
                raise DataError("newborn_rows: note_newborn(True) comes first")
            for place in range(wanted):  # newest first: a record used again is its last
                number = self.fw.table.newborn[(made - 1 - place) % NEWBORN_MAX]
                if number == NIL:
                    continue
                r = &self.fw.table.records[number]
                if r.meta and r.created_packet < before:
                    before = r.created_packet
                    found.append(number)
        return self.rows_of(np.array(found[::-1], np.uint32))

    def locate(self, which):
        """The record under a key (as ``find`` takes it), or of the session whose ``flow`` is the
        number given; None: no such session. Raises DataError."""
        cdef fw_t *fw = &self.fw
        cdef fw_key_t k
        cdef uint64_t hash_
        cdef uint32_t number
        if isinstance(which, tuple):
            self._key(which, &k)
            with self.use:
                hash_ = key_hash(&k, fw.control.config.seeds)
                number = table_find(
                    &fw.table, &k, hash_, fw_bucket(hash_, fw.control.config.buckets))
        else:
            if not 0 <= _index(which) < 1 << 64:
                raise DataError(f"locate: {which} is no flow")
            hash_ = which
            with self.use:
                number = rows_find(&fw.table, &fw.control, hash_)
        return None if number == NIL else number

    cdef object _live_records(self):
        """Record numbers in use, in order of their buckets: uint32[live]."""
        numbers = np.empty(self.fw.memory.live, dtype=np.uint32)
        cdef uint32_t[::1] out = numbers
        if self.fw.memory.live:
            with nogil:
                rows_records(&self.fw.table, &self.fw.control, &out[0])
        return numbers

    def live_sessions(self):
        """(records uint32[live], rows SESSION_DTYPE[live], protected uint8[live]).

        In order of creation. ``protected``: TCP to the firewall itself.
        """
        cdef uint64_t count
        cdef const uint32_t[::1] records
        cdef session_row_t[::1] out
        cdef uint8_t[::1] marks
        with self.use:
            count = self.fw.memory.live
            records = numbers = self._in_order(self._live_records())
            rows = np.empty(count, dtype=_layout.SESSION_DTYPE)
            protected = np.empty(count, dtype=np.uint8)
            if count:
                out, marks = rows, protected
                with nogil:
                    rows_sessions(&self.fw, &records[0], count, &out[0], &marks[0])
        return numbers, rows, protected

    def find(self, key):
        """The row (SESSION_DTYPE scalar) of the session under (source, destination as ints,
        ports, protocol, zone, family), in either direction, or None. Raises DataError."""
        cdef fw_t *fw = &self.fw
        cdef fw_key_t k
        cdef session_row_t[::1] out
        cdef uint64_t hash_
        cdef uint32_t record
        self._key(key, &k)
        rows = np.zeros(1, dtype=_layout.SESSION_DTYPE)
        out = rows
        with self.use:
            hash_ = key_hash(&k, fw.control.config.seeds)
            record = table_find(&fw.table, &k, hash_, fw_bucket(hash_, fw.control.config.buckets))
            if record == NIL:
                return None
            session_row(fw, record, 255, hash_, &out[0])
        return rows[0]

    def flow_of(self, key):
        """The keyed hash by which packets, sessions and victims of one flow are joined."""
        cdef fw_key_t k
        self._key(key, &k)
        return key_hash(&k, self.fw.control.config.seeds)

    def bucket_of(self, key):
        """The bucket that a key falls into."""
        return fw_bucket(self.flow_of(key), self.fw.control.config.buckets)

    cdef int _key(self, key, fw_key_t *k) except -1:
        """Canonical form of (source, destination, source port, destination port, protocol,
        zone, family); DataError for what does not fit it."""
        source, destination, source_port, destination_port, protocol, zone, family = key
        if family not in (4, 6):
            raise DataError(f"key: family {family!r} is neither 4 nor 6")
        for name, value, bits in (
                ("source", source, 32 if family == 4 else 128),
                ("destination", destination, 32 if family == 4 else 128),
                ("source port", source_port, 16), ("destination port", destination_port, 16),
                ("protocol", protocol, 8), ("zone", zone, 12)):
            if not 0 <= _index(value) < 1 << bits:
                raise DataError(f"key: {name} {value} is not in 0..{(1 << bits) - 1}")
        a, b = (source, source_port), (destination, destination_port)
        if b < a:
            a, b = b, a
        k.meta = (a[1] | b[1] << 16 | (zone << 32 if self.fw.control.config.zone else 0)
                  | protocol << 48 | family << 56)
        k.a_lo = a[0] & 0xFFFFFFFFFFFFFFFF
        k.a_hi = a[0] >> 64
        k.b_lo = b[0] & 0xFFFFFFFFFFFFFFFF
        k.b_hi = b[0] >> 64
        return 0

    def hosts(self, count=None):
        """Initiators with live sessions, ``count`` at most: HOST_DTYPE rows, most sessions first.

        Of equal ones the lower address, then IPv4 comes first.
        """
        cdef uint64_t room, found = 0
        cdef host_row_t[::1] out
        with self.use:
            room = self.fw.table.hosts_high
            if count is not None:
                room = min(max(0, _index(count)), room)
            rows = np.empty(room, dtype=_layout.HOST_DTYPE)
            if room == 0:
                return rows
            out = rows
            with nogil:
                found = hosts_top(&self.fw.table, &out[0], room)
        return rows[:found]

    def sessions_of(self, address, uint32_t family):
        """Live sessions of an initiator: its address as a number, 4 or 6."""
        cdef uint32_t host
        with self.use:
            host = host_find(&self.fw.table, &self.fw.control, address & 0xFFFFFFFFFFFFFFFF,
                             address >> 64, family)
            return 0 if host == NIL else self.fw.table.hosts[host].live

    def victims(self):
        """The victim ledger, oldest first: SESSION_DTYPE rows, the last ``victims_max``."""
        with self.use:
            return self._ring()

    cdef object _ring(self):
        cdef uint64_t total = self.fw.counters.victims, room = self.fw.control.config.victims_max
        cdef uint64_t kept = min(total, room)
        if kept == 0:
            return np.zeros(0, dtype=_layout.SESSION_DTYPE)
        ring = copied(self.fw.victims, kept, _layout.SESSION_DTYPE)
        return np.roll(ring, -<Py_ssize_t>(total % room) if total > room else 0)

    def collect_log(self):
        """Sessions that ended since the last call, in order (``log`` was configured)."""
        with self.use:
            rows = copied(self.fw.log, self.fw.log_fill, _layout.SESSION_DTYPE)
            self.fw.log_fill = 0
        return rows

    def samples(self):
        """The timeline: SAMPLE_DTYPE rows."""
        with self.use:
            return copied(self.fw.samples, self.fw.samples_fill, _layout.SAMPLE_DTYPE)

    def digests(self):
        """BLAKE2b-128 of the packets' and of the victims' bytes, as of now: two times 16 bytes."""
        cdef uint8_t packets[16]
        cdef uint8_t victims[16]
        with self.use:
            digest_end(&self.fw.packet_digest, packets)
            digest_end(&self.fw.victim_digest, victims)
        return bytes(packets[:16]), bytes(victims[:16])

    cdef object _counters(self):
        """The counters: a record of COUNTERS_DTYPE, a copy."""
        with self.use:
            return copied(&self.fw.counters, 1, _layout.COUNTERS_DTYPE)[0]

    def outcome_counts(self):
        """Packets by verdict and reason: uint64[4, 31]."""
        return self._counters()["outcome"][:, :REASON_COUNT].copy()

    def outcome_recount(self):
        """The same from the outcomes that were handed out, counted apart: uint64[4, 31]."""
        with self.use:
            recount = copied(self.recount, RECOUNTS, np.dtype(np.uint64)).reshape(-1, 256)
        return recount[:REASON_COUNT, :VERDICT_COUNT].T.copy()

    def decode_counts(self):
        """Packets by what decoding found; those of no IP header are told by their reasons."""
        names = ("none", "tcp", "udp", "icmp", "sctp", "other_ip", "malformed")
        found = dict.fromkeys(
            ("ipv4", "ipv6", *names[1:], "fragments", "offloaded"), 0)
        for code, count in enumerate(self._counters()["decode"].tolist()):
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
        """Every counter of ``counters_t`` by its name, arrays as lists of int; and gauges."""
        row = self._counters()
        figures = {name: row[name].tolist() for name in _layout.COUNTERS_DTYPE.names}
        with self.use:
            return figures | {
                "live": self.fw.memory.live, "half_open": self.fw.memory.half_open,
                "proxy_sessions": self.fw.memory.proxy_sessions,
                "script_short": self.fw.memory.pages.short_[OWNER_BASE]
                + self.fw.memory.pages.short_[OWNER_SHM],
                "script_shm": self.fw.memory.pages.script_shm,
                "peaks": [self.fw.memory.pages.peak[i] for i in range(PEAK_QUEUES)]}

    def audit(self):
        """A fresh walk through index, records, hosts, timers, fragments and all that is free.

        A dict of the fields of ``audit_t`` (layout.h): what was counted, then faults by kind,
        each of which has to be 0.
        """
        cdef audit_t found
        cdef uint32_t[::1] hosts
        memset(&found, 0, sizeof(audit_t))
        with self.use:
            hosts = np.zeros(max(1, self.fw.table.hosts_high), dtype=np.uint32)
            with nogil:
                audit_walk(&self.fw, &hosts[0], &found)
        return found
