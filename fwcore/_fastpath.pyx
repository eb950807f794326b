"""The fast path: load, run, advance; the only loop.

Frames flow down through one loop that only indexes tables; the control plane fills those tables
and is called exactly when a gauge leaves its quiet interval or something is due:

    capture -> load(chunk) -> run() ... run() -> verdicts, counters
                               |  ^
                 a stop: gauges|  |apply(gate row, quiet intervals)
                               v  |
                           control plane

FastPath has four parts, each of which knows those before it: Control owns the state and what is
set, Questions look at it, State is written down and taken up; here packets go through it.

Laws: no Python object is touched past ``with nogil``; all memory is taken and touched in the
constructor; a packet's outcome does not depend on how packets are divided into groups, chunks or
calls; nothing that Python hands over is believed: it is copied, or looked at before it is used.
A FastPath has one user at a time (EngineBusy); several share nothing.
"""

from functools import partial as _partial

import numpy as np

from cpython.buffer cimport PyBUF_ND, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fwcore import _layout
from fwcore._chunk cimport Loaded
from fwcore._fastpath_state cimport State
from fwcore._pack cimport Packed, whole
from fwcore._parsed cimport parsing_by
from fwcore._passes cimport group_begin, group_fetch, group_fetch_victims, group_size
from fwcore._shaper cimport Shaper
from fwcore._use cimport Use
from fwcore.dataplane.clock cimport clock_allowed, clock_trust
from fwcore.dataplane.decider cimport decider_see
from fwcore.dataplane.digest cimport digest_add
from fwcore.dataplane.due cimport due_moments, due_set_back, due_update
from fwcore.dataplane.egress cimport (
    egress_brims, egress_calls, egress_due, egress_give, egress_request, egress_unseen)
from fwcore.dataplane.frame cimport chunk_t, parser_t
from fwcore.dataplane.layout cimport (
    GROUP_MAX, NIL, OPENINGS_AHEAD, OPENINGS_MAX, STOP_ASK, STOP_BREATH, STOP_LOG, STOP_NONE,
    STOP_PACKET, STOP_TICK, STOP_TIME, TIME_MAX_NS, VERDICT_COUNT, WHEN_FULL_BUCKET, fw_bucket,
    fw_t, fw_unlikely, packet_t,
)
from fwcore.dataplane.link cimport shaper_advance, shaper_clear, shaper_drain
from fwcore.dataplane.pages cimport pages_look, pages_note_peaks
from fwcore.dataplane.parse cimport parse_placed
from fwcore.dataplane.script cimport script_await, script_begin
from fwcore.dataplane.shaping cimport shaper_t
from fwcore.dataplane.timeline cimport timeline_begin
from fwcore.dataplane.verdict cimport verdict_packet
from fwcore.arguments import whole as _whole
from fwcore.errors import DataError, FrameError, refusing

_index = _partial(_whole, "argument")     # DataError where it is none


cdef enum:
    BLOCK = 64                     # outcomes to a block of the digest: 128 bytes
    GROUPS = 2                     # one is judged, the next one parsed ahead
    BREATH = 1 << 19               # packets, sessions ended, buckets scanned between two looks

# What one frame's judgement is given out as, by verdict and reason: made once.
cdef list OUTCOMES = [(verdict, reason) for reason in _layout.Reason
                      for verdict in _layout.Verdict]

cdef object ZEROS = np.zeros, UINT8 = np.dtype(np.uint8)   # found once

STOPPED_BY_PACKET = STOP_PACKET
STOPPED_AT_TICK = STOP_TICK


# --- the loop -----------------------------------------------------------------------------------

cdef inline int packet_look(
    fw_t *fw, const parser_t *parser, const chunk_t *chunk, uint64_t i, const packet_t *p,
    int64_t time_ns,
) noexcept nogil:
    """Shows the frame to who is asked about it; whether it has to wait."""
    cdef uint64_t offset = chunk.offset[i]
    cdef uint32_t captured = chunk.captured[i]
    if fw_unlikely(offset > chunk.size or chunk.size - offset < captured):
        offset = captured = 0
    if fw.inspector != NULL and fw.inspector.look(
            fw, p, chunk.data + offset, captured, chunk.length[i], chunk.link[i], parser):
        return STOP_ASK
    if fw.decider != NULL and fw.decider.look(fw, p, time_ns):
        return STOP_ASK
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
        if time_ns > TIME_MAX_NS:  # written over since it was looked at: as if it came late
            late, time_ns = 1, fw.clock.now_ns
        time_ns = clock_allowed(fw, time_ns)
        stop = due_moments(fw, time_ns)
        if stop:
            return stop
    if fw_unlikely(fw.hooked) and packet_look(fw, parser, chunk, i, p, time_ns):
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
        script_await(fw)
        if pages_look(fw):
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
    cdef packet_t groups[GROUPS][GROUP_MAX]
    cdef packet_t *packets = groups[0]
    cdef packet_t *after = groups[1]
    cdef chunk_t chunk = loaded[0]  # a copy stays in registers: no store through fw can change it
    cdef uint64_t done = position, before = fw.counters.packets + 1 - position, first
    cdef uint32_t count = group_size(&chunk, position, group), more, i
    cdef int why = STOP_NONE
    fw.frames, fw.parser = <void *>loaded, <void *>parser
    fw.frames_from, fw.looked = before, 0
    group_begin(fw, parser, &chunk, position, count, packets)
    group_fetch(fw, packets, count)
    while count and why == STOP_NONE:
        more = group_size(&chunk, position + count, group)
        group_begin(fw, parser, &chunk, position + count, more, after)
        if fw.table.free_record == NIL and fw.control.config.when_full == WHEN_FULL_BUCKET:
            group_fetch_victims(&fw.table, &fw.control, packets, count)
        if fw_unlikely(fw.shaper != NULL):
            fw.egress.fetch_accounts(fw, packets, count)
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
                chunk.reply[first + i] = <uint8_t>packets[i].direction
        fw.breath -= count
        if fw_unlikely(fw.breath <= 0) and why == STOP_NONE:
            why = STOP_BREATH
        group_fetch(fw, after, more)
        packets, after = after, packets
        count = more
    block_finish(fw, &chunk, done, position - done, recount)
    stop[0] = why
    return position


cdef void openings_see(
    fw_t *fw, const parser_t *parser, const chunk_t *chunk, uint64_t position,
) noexcept nogil:
    """A decider is asked: looks through the frames behind the packet that waits, each once, for
    further sessions that would begin. => no packet of the chunk is being judged"""
    cdef packet_t p
    cdef uint64_t i, number = fw.counters.packets + 1   # of the one that waits
    cdef uint64_t end = position + OPENINGS_AHEAD
    cdef int64_t now_ns = fw.decider.openings[fw.decider.count - 1].time_ns, time_ns = now_ns
    for i in range(position + 1, chunk.count if chunk.count < end else end):
        if time_ns < chunk.time_ns[i] <= TIME_MAX_NS:
            time_ns = chunk.time_ns[i]
        if number + i - position <= fw.decider.seen_packet:
            continue
        if fw.decider.count == OPENINGS_MAX:
            break
        parse_placed(chunk.data, chunk.size, chunk.offset[i], chunk.captured[i], chunk.length[i],
                     chunk.link[i], parser, &p)
        p.bucket = fw_bucket(p.hash, fw.control.config.buckets)
        decider_see(fw, &p, now_ns, time_ns, number + i - position)
        fw.decider.seen_packet = number + i - position


# --- the class ----------------------------------------------------------------------------------

cdef class FastPath(State):
    """The data plane of one firewall.

    ``config``: a record of CONFIG_DTYPE (see ``Engine`` for how settings become one); ``steps``,
    ``leaks``: the pressure script as (time_ns after the first packet, owner, pages or bytes a
    second), steps by time; ``group``: packets whose memory accesses overlap; ``outer``: who has
    taken it uses this fast path, too.

    Raises DataError for what would break it, and MemoryError when the table cannot be had; every
    method EngineBusy while another is at work, and EngineClosed after ``close``. What is a
    property may be read at any time.
    """

    cdef Loaded loaded
    cdef public object rows     # outcomes uint8[n, 2] of what was loaded last, see Engine.judged
    cdef Use outer              # whose fast path it is: taken by `judge`
    cdef public bint watched    # every frame of `judge` goes through its keeper
    cdef readonly uint64_t position
    cdef readonly uint64_t loads    # times that something was loaded, or let go of
    cdef public int64_t breath  # work between two looks at Python's signals, see BREATH
    cdef uint32_t group

    def __cinit__(self, config, steps=(), leaks=(), group=32, Use outer=None):
        group = _index(group)
        if not 1 <= group <= GROUP_MAX:
            raise DataError(f"group: {group} is not in 1..{GROUP_MAX}")
        self.loaded = Loaded()
        self.rows = np.zeros((0, 2), np.uint8)
        self.outer = Use() if outer is None else outer
        self.group = group
        self.breath = BREATH

    def close(self):
        """Gives the memory back; a second time is no error. Raises EngineBusy."""
        if self.use.close():
            self._unload()
            self.arena = None
            self.fw.shaper = NULL
            self.fw.inspector = NULL
            self.fw.decider = NULL
            if self.shaper is not None:     # who holds it has this one's use, which is closed
                self.shaper.disown()
                self.shaper = None
            if self.inspector is not None:
                self.inspector.disown()
                self.inspector = None
            if self.decider is not None:
                self.decider.leave()
                self.decider = None

    @property
    def at_end(self):
        """Whether every packet of the loaded chunk was judged."""
        return self.position == self.loaded.c.count

    @property
    def unfinished(self):
        """Whether the moment of ``now_ns`` was cut short within what expires in it."""
        return bool(self.fw.clock.unfinished)

    @property
    def first_ns(self):
        """Time of the first frame that is loaded; 0 where there is none."""
        return self.loaded.c.time_ns[0] if self.loaded.c.count else 0

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
            clock_trust(fw, time_ns)    # first: a step of before would stand as a deadline
            if back:
                due_set_back(fw, time_ns)
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

    def parsing(self):
        """How frames are parsed here, as it stands: for who reads ahead in another thread."""
        with self.use:
            return parsing_by(&self.parser)

    def unload(self):
        """Lets go of what is loaded, judged or not."""
        with self.use:
            self._unload()

    cdef void _unload(self) noexcept:
        self.loads += 1
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
            self.loaded.trust(&self.parser)
            while stop == 0 and self.position < self.loaded.c.count:
                self.fw.breath = self.breath
                with nogil:
                    self.position = loop(
                        &self.fw, &self.parser, &self.loaded.c, self.position, self.group,
                        self.recount, &stop)
                    if (stop & STOP_ASK and self.fw.decider != NULL
                            and self.fw.decider.answered < self.fw.decider.count):
                        openings_see(&self.fw, &self.parser, &self.loaded.c, self.position)
                stop = self._look_around(stop)
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

    cdef int _look_around(self, int stop) except -1:
        """Keeps a stop for who has to answer it, then lets signals have their say; a breath is
        no stop."""
        if stop & STOP_BREATH:
            stop = 0
        self.stopped = stop & ~(STOP_LOG | STOP_ASK)
        PyErr_CheckSignals()
        return stop

    # --- what packets meet ---

    @refusing(DataError)
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
        self._hook()
        shaper.serve()
        egress_due(fw)
        if self.begun:
            due_update(fw)
        return 0

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
            egress_unseen(&self.fw)
            pages_note_peaks(&self.fw)
            if self.begun:
                due_update(&self.fw)

    # --- frame by frame ---

    def judge(self, keeper, frame, now_ns, length=None, link=1):
        """(Verdict, Reason) of one frame, without a chunk; ``load`` and ``run`` do not notice.

        ``keeper``: who answers stops:
        ``keeper._judge_slowly(found, frame, now_ns, length, link)`` gives the judgement where there
        is one to answer, or where it has not begun; ``found``: the judgement, if the frame was
        judged already. Raises FrameError.
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
            return keeper._judge_slowly(found, frame, now_ns, length, link)
        finally:
            self.outer.give()

    def judge_frames(self, keeper, Packed packed not None, frames, times_ns, lengths, link):
        """Outcomes uint8[n, 2] of frames that ``packed`` takes up, in one go.

        ``keeper``: who answers stops: ``keeper._frames_slowly()`` judges what was packed where
        there is more to do than that, ``keeper._frames_on()`` goes on after a stop. Raises
        FrameError.
        """
        cdef Py_buffer view
        self.outer.take()
        try:
            self.use.take()
            self._unload()
            self.use.give()
            packed.fill(frames, times_ns, lengths, link)
            if (not packed.count or not self.begun or self.stopped or self.resuming or self.watched
                    or self.fw.control.config.log or self.shaper is not None):
                return keeper._frames_slowly()
            self.rows = rows = ZEROS((packed.count, 2), UINT8)
            self.use.take()
            try:
                PyObject_GetBuffer(rows, &view, PyBUF_SIMPLE)   # held by self.rows
                self.loaded.lend(packed, <uint16_t *>view.buf)
                PyBuffer_Release(&view)
                self.fw.breath = self.breath
                self._turn()
            finally:
                self.use.give()
            if self.stopped or self.position < packed.count:
                try:
                    keeper._frames_on()
                except BaseException as error:  # a signal's handler comes before its first line
                    keeper._cut_short(error)
                    raise
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
                PyObject_GetBuffer(frame, &view, PyBUF_ND)
            except (TypeError, ValueError, BufferError):
                raise FrameError(f"{type(frame).__name__} is no frame; give bytes, a memoryview or"
                                 " a NumPy row") from None
            one.data, one.size = <const uint8_t *>view.buf, view.len
        else:
            one.data, one.size = <const uint8_t *>PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame)
        try:
            if viewed and (view.itemsize != 1 or view.ndim > 1):
                raise FrameError(f"{type(frame).__name__} of {view.ndim} dimensions and items of"
                                 f" {view.itemsize} bytes is no frame; give a row of uint8")
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
