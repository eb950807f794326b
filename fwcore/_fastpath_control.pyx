"""What the control plane sets, and who owns what it sets it in: the first part of FastPath.

    config, steps, leaks ──► fw_t: table, memory, control, clock
                              ▲
       set_soft, set_policies, apply ... end_sessions, take, give

Laws: nothing that Python hands over is believed: it is copied, or looked at before it is used; what
is refused changes nothing.
"""

from functools import partial as _partial

import numpy as np

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from fwcore import _layout
from fwcore._layout cimport config_read, gate_read, timeouts_split
from fwcore._memory cimport LOG_SLACK_ROWS, Arena, Table
from fwcore._memory import graves_bytes as _graves_bytes
from fwcore._policies cimport Policies
from fwcore._use cimport Use
from fwcore.dataplane.arena cimport FW_REDZONE
from fwcore.dataplane.clear cimport table_clear
from fwcore.dataplane.clock cimport clock_disarm, clock_set, clock_settle
from fwcore.dataplane.digest cimport digest_begin
from fwcore.dataplane.due cimport due_update
from fwcore.dataplane.egress cimport egress_due
from fwcore.dataplane.frame cimport parser_begin
from fwcore.dataplane.inspect cimport ips_arm, ips_drain
from fwcore.dataplane.layout cimport (
    DUE_COUNT, END_COUNT, MIDSTREAM_GRACE, NAMED, NEVER, OWNER_BASE, OWNER_SHM,
    PAGES_MAX, TIME_MAX_NS, config_t, fw_t, gate_t, leak_t, record_t, step_t,
)
from fwcore.dataplane.pages cimport pages_note_peaks
from fwcore.dataplane.rows cimport rows_records
from fwcore.dataplane.script cimport script_give, script_take
from fwcore.dataplane.session cimport session_arm, session_end
from fwcore.dataplane.timeline cimport timeline_take
from fwcore.arguments import whole as _whole
from fwcore.errors import DataError, refusing

_index = _partial(_whole, "argument")     # DataError where it is none


cdef class Control:
    """A firewall's state, and what sets it while no packet is judged. See FastPath."""

    def __cinit__(self, config, steps=(), leaks=(), group=None, outer=None):
        """``group``, ``outer``: FastPath's."""
        cdef Table table = Table(config)
        self.use = Use()
        memset(&self.fw, 0, sizeof(fw_t))
        memset(self.recount, 0, sizeof(self.recount))
        self._point(Policies(None))
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
        self.arena, self.graves, self.plan = table.arena, None, table.plan
        table.arena = None
        self._begin_parser()
        self._watch()
        return 0

    cdef int _have_graves(self) except -1:
        """Memory for the TCP victims that grace asks for, from now on."""
        cdef size_t size
        if self.fw.table.graves == NULL:
            size = _graves_bytes(int(self.fw.control.config.max_connections))
            self.graves = Arena(size + 64 + FW_REDZONE)
            self.fw.table.graves = <uint64_t *>self.graves.take(size)
            self.plan["graves"] = size
        return 0

    cdef void _begin_parser(self) noexcept:
        cdef config_t *config = &self.fw.control.config
        parser_begin(&self.parser, config.seeds, config.zone, self.fw.shift, config.tracker,
                     config.short_cut)

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

    # --- settings, script, policies ---

    def make_ready(self, config):
        """Takes what memory ``set_soft`` of the same config needs. Raises MemoryError."""
        cdef config_t new
        config_read(config, &new)
        with self.use:
            if new.midstream == MIDSTREAM_GRACE:
                self._have_graves()

    def set_soft(self, config):
        """Settings that may change while running; timeouts arm every session anew.

        ``config``: a record of CONFIG_DTYPE, of which everything else is left alone. Raises
        MemoryError, and changes nothing.
        """
        cdef config_t new
        cdef config_t *old = &self.fw.control.config
        cdef uint32_t number
        cdef bint rearm
        config_read(config, &new)
        self.make_ready(config)
        with self.use:
            if self.begun:
                # at the rate that held until now
                ips_drain(&self.fw.memory, &self.fw.control, self.fw.clock.now_ns)
            rearm = memcmp(old.timeout_ns, new.timeout_ns, sizeof(new.timeout_ns)) != 0
            memcpy(old.timeout_ns, new.timeout_ns, sizeof(new.timeout_ns))
            timeouts_split(&self.fw.control)
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
            if old.max_step_ns != new.max_step_ns:
                old.max_step_ns = new.max_step_ns
                if self.fw.clock.step_packet <= self.fw.counters.packets:
                    self.fw.clock.step_packet = 0     # how far that one could go holds no longer
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

    @refusing(DataError)
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
        if self.decider is not None:    # what it said, it said of the old ones
            self.decider.drop()

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

    # --- who is asked ---

    @refusing(DataError)
    def set_inspector(self, Inspector inspector):
        """From now on the first bytes of sessions that begin and are proxied are gathered for this
        one; None: for nobody. Those of the one before are scanned as without it, or bypassed where
        an answer was due. Raises DataError where it is a fast path's already, or was."""
        with self.use:
            if inspector is not None:
                inspector.join(self, &self.fw, self.use)
            if self.inspector is not None:
                self.inspector.leave()
            self.inspector = inspector
            self.fw.inspector = NULL if inspector is None else &inspector.core
            self._hook()

    @refusing(DataError)
    def set_decider(self, Decider decider):
        """From now on this one is asked before a session begins; None: nobody. Raises DataError
        where it is a fast path's already, or was."""
        with self.use:
            if decider is not None:
                decider.join(self, &self.fw, self.use)
            if self.decider is not None:
                self.decider.leave()
            self.decider = decider
            self.fw.decider = NULL if decider is None else &decider.core
            self._hook()

    cdef void _hook(self) noexcept:
        """Whether packets are looked at before they are judged."""
        self.fw.hooked = self.fw.inspector != NULL or self.fw.decider != NULL

    # --- the answer to a stop ---

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
            fw.memory.dirty = fw.memory.quiet = 0
            pages_note_peaks(fw)
            if fw.shaper != NULL:
                egress_due(fw)
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

    # --- by hand ---

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
                fw.table.records[numbers[i]].asked &= ~NAMED
            if bad >= 0:
                raise DataError(
                    f"end_sessions: records[{bad}]: {numbers[bad]} is not live, or named twice")
            for i in range(numbers.shape[0]):
                session_end(fw, numbers[i], why)
            due_update(fw)

    cdef Py_ssize_t _name(self, const uint32_t[::1] numbers) noexcept:
        """Marks each record; where the first stands that is not live or was named; -1: none."""
        cdef Py_ssize_t i
        cdef record_t *r
        for i in range(numbers.shape[0]):
            if numbers[i] >= self.fw.control.config.max_connections:
                return i
            r = &self.fw.table.records[numbers[i]]
            if r.meta == 0 or r.asked & NAMED:
                return i
            r.asked |= NAMED
        return -1

    cdef uint64_t _log_rows(self) noexcept:
        return self.fw.control.config.max_connections + 2 * LOG_SLACK_ROWS

    def clear(self):
        """Ends every session `cleared`, all at once; how many. DataError where a log is kept, or
        with a shaper or an inspector."""
        cdef uint64_t ended = self.fw.memory.live
        with self.use:
            if (self.fw.control.config.log or self.fw.shaper != NULL
                    or self.fw.inspector != NULL):
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

    def sample(self):
        """Adds a row to the timeline, as of now."""
        with self.use:
            timeline_take(&self.fw, 1)

    cdef object _live_records(self):
        """Record numbers in use, in order of their buckets: uint32[live]."""
        numbers = np.empty(self.fw.memory.live, dtype=np.uint32)
        cdef uint32_t[::1] out = numbers
        if self.fw.memory.live:
            with nogil:
                rows_records(&self.fw.table, &self.fw.control, &out[0])
        return numbers
