"""A firewall written down, taken up again, or moved into a table of another size. The third part
of FastPath.

    state ──► figures, tables ──► set_state          prepare ──► Table ──► rebuild

Laws: what is taken up is looked at field by field before it is used; what follows is the same as
if nothing had been written down.
"""

import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from fwcore import _layout
from fwcore._fastpath_control cimport RECOUNTS
from fwcore._fastpath_questions cimport Questions
from fwcore._layout cimport copied, gate_read
from fwcore._memory cimport Arena, Table
from fwcore.dataplane.clock cimport clock_set
from fwcore.dataplane.due cimport due_update
from fwcore.dataplane.egress cimport egress_due, egress_unseen
from fwcore.dataplane.fragment cimport fragment_link
from fwcore.dataplane.inspect cimport ips_arm, ips_drain
from fwcore.dataplane.keep cimport keep_records, keep_timers, keep_wheel
from fwcore.dataplane.layout cimport (
    CLOCK_MEMORY_NS, DECODE_COUNT, DIGEST_BLOCK, DIRTY_GAUGES, DIRTY_LIVE, DUE_COLLECT, DUE_IPS,
    DUE_SAMPLE, NEVER, NIL, OWNER_BASE, OWNER_CACHE, OWNER_QUEUES, OWNER_SESSIONS, OWNER_SHM,
    PAGES_MAX, REASON_COUNT, TIME_MAX_NS, VERDICT_COUNT, config_t, counters_t, digest_t, fragment_t,
    fw_t, gate_t, leak_t, pages_t, record_t, sample_t, session_row_t,
)
from fwcore.dataplane.pages cimport pages_for_sessions, pages_note_peaks
from fwcore.dataplane.script cimport leak_arm, leaks_set, steps_set
from fwcore._shaper_written import SHAPER_DTYPES as _SHAPER_DTYPES
from fwcore.errors import DataError, refusing
from fwcore.words import MODES as _MODES


cdef dict _state_dtypes():
    """Tables of a saved FastPath: name -> dtype."""
    cdef record_t r
    cdef fragment_t fragment
    cdef pages_t pages
    cdef digest_t digest
    number = np.dtype(np.uint64)
    return {
        "records": np.asarray(<const record_t[:1]>&r).dtype,
        "wheel_order": np.dtype(np.uint32), "wheel_ticks": number,
        "fragments": np.asarray(<const fragment_t[:1]>&fragment).dtype,
        "victims": _layout.SESSION_DTYPE, "samples": _layout.SAMPLE_DTYPE,
        "counters": _layout.COUNTERS_DTYPE,
        "pages": np.asarray(<const pages_t[:1]>&pages).dtype, "gate": _layout.GATE_DTYPE,
        "leaks": _layout.LEAK_DTYPE,
        "digests": np.asarray(<const digest_t[:1]>&digest).dtype, **_SHAPER_DTYPES,
        "reborn": np.dtype(np.uint32),
        **{name: number for name in ("reborn_at", "graves_at", "graves", "recount_at", "recount")}}


STATE_DTYPES = _state_dtypes()

# Figure of a saved FastPath -> lowest and highest number.
cdef dict FIGURES = {
    "begun": (0, 1), "resuming": (0, 1), "packet": (0, 1 << 60), "now_ns": (0, TIME_MAX_NS),
    "start_ns": (-CLOCK_MEMORY_NS, TIME_MAX_NS), "tick": (0, TIME_MAX_NS),
    "due_collect_ns": (0, NEVER), "due_ips_ns": (0, NEVER), "due_sample_ns": (0, NEVER),
    "round_ns": (0, NEVER),
    "graves_blind": (0, 1), "next_step": (0, (1 << 32) - 1), "ips_level": (0, 1 << 40),
    "ips_carry": (0, 8_000_000_000 - 1), "ips_ns": (-CLOCK_MEMORY_NS, TIME_MAX_NS),
    "ips_full": (0, 1), "dirty": (0, DIRTY_GAUGES | DIRTY_LIVE),
    "sample_step_ns": (0, TIME_MAX_NS), "shift": (0, (1 << 32) - 1),
}


# Codes of ``decode`` without a meaning: there are seven numbers of layer 4.
_DECODE_IMPOSSIBLE = np.flatnonzero(np.arange(DECODE_COUNT) & 7 == 7)


cdef class State(Questions):
    """What a firewall will do next, as figures and tables. See FastPath."""

    # --- another table ---

    def prepare(self, config):
        """Memory for a table of this configuration, for ``rebuild``; nothing changes yet.

        Raises DataError, and MemoryError when it cannot be had.
        """
        return Table(config)

    @refusing(DataError)
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
            if self.begun:      # at the rate that held until now
                ips_drain(&fw.memory, &fw.control, fw.clock.now_ns)
            self._take_in(table)
            if fw.memory.ips_full:
                ips_arm(&fw.memory, &fw.control, &fw.clock)
            fw.memory.live = fw.memory.half_open = fw.memory.proxy_sessions = 0
            fw.memory.spared = 0
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
            fw.memory.dirty = DIRTY_GAUGES
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
                "dirty": fw.memory.dirty,   # what a drain gave back is looked at yet
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
            following = np.argsort(ticks, kind="stable")  # whatever the levels: one way to say it
            for name in ("wheel_order", "wheel_ticks"):
                tables[name] = tables[name][following]
        return tables

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
        for name, values in self._sparse().items():
            places = np.flatnonzero(values)
            tables[name + "_at"], tables[name] = places.astype(np.uint64), values[places]
        return {name: table.astype(STATE_DTYPES[name], copy=False)
                for name, table in tables.items()}

    cdef dict _sparse(self):
        """Tables that are written down by what is not 0, as they stand in memory."""
        cdef fw_t *fw = &self.fw
        graves = np.zeros(0, np.uint64)
        if fw.table.graves != NULL:
            graves = np.asarray(<uint64_t[:<size_t>fw.table.graves_mask + 1]>fw.table.graves)
        return {
            "reborn": np.asarray(<uint32_t[:<size_t>fw.table.reborn_mask + 1]>fw.table.reborn),
            "graves": graves, "recount": np.asarray(<uint64_t[:RECOUNTS]>&self.recount[0])}

    cdef dict _state_shaper(self):
        if self.shaper is None:
            return {name: np.zeros(0, dtype) for name, dtype in _SHAPER_DTYPES.items()}
        return self.shaper.written(self._in_order(self._live_records()))

    @refusing(DataError)
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
            fw.memory.dirty = given["dirty"]    # last: what was done here moved nothing
            egress_unseen(fw)
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
        if given["ips_ns"] > now_ns:  # it may hold more than it is large, since that was lowered
            raise DataError("state: the IPS buffer is of another time")
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
        if tables["counters"]["decode"][0, _DECODE_IMPOSSIBLE].any():
            raise DataError("state: counters: packets of a kind that there is not")
        if (tables["samples"]["mode"] >= len(_MODES)).any():
            raise DataError("state: samples: a mode that there is not")
        if digests[0].fill > DIGEST_BLOCK or digests[1].fill > DIGEST_BLOCK:
            raise DataError("state: a digest of more bytes than its block has")
        fw.counters, fw.memory.pages, fw.control.gate = counters[0], pages[0], gate
        fw.packet_digest, fw.victim_digest = digests[0], digests[1]
        fw.memory.quiet = 0
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
        if len(tables["graves"]):
            self._have_graves()
        for name, values in self._sparse().items():
            places = tables[name + "_at"]
            if len(places) != len(tables[name]) or (len(places) and places.max() >= len(values)):
                raise DataError(f"state: {name}: places beyond the {len(values)} there are")
            values[places] = tables[name]
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
