"""What may be asked of a firewall: copies, never views. The second part of FastPath.

    sessions    live_records ──► rows_of       find, locate       newborn_rows      hosts
    figures     gauges   counters   samples   victims   digests   audit
"""

from functools import partial as _partial

import numpy as np

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from fwcore import _layout
from fwcore._fastpath_control cimport RECOUNTS, Control
from fwcore._layout cimport copied
from fwcore.dataplane.audit cimport audit_walk
from fwcore.dataplane.digest cimport digest_end
from fwcore.dataplane.hosts cimport host_find, host_live, hosts_top
from fwcore.dataplane.key cimport key_hash
from fwcore.dataplane.layout cimport (
    DECODE_FRAGMENT, DECODE_IPV4, DECODE_IPV6, DECODE_OFFLOADED, DIGEST_BYTES, NEWBORN_MAX, NIL,
    OWNER_BASE, OWNER_CACHE, OWNER_QUEUES, OWNER_SESSIONS, OWNER_SHM, PEAK_QUEUES, REASON_COUNT,
    VERDICT_COUNT, audit_t, fw_bucket, fw_key_t, fw_t, gauges_t, host_row_t, pages_t, record_t,
    session_row_t,
)
from fwcore.dataplane.pages cimport pages_used
from fwcore.dataplane.rows cimport rows_created, rows_find, rows_sessions
from fwcore.dataplane.session cimport session_row
from fwcore.dataplane.table cimport table_find
from fwcore.arguments import whole as _whole
from fwcore.errors import DataError, refusing

_index = _partial(_whole, "argument")     # DataError where it is none

cdef enum:
    CROWDED = 16                   # packets to a session: closer together, order needs no sort


cdef class Questions(Control):
    """Sessions and figures, as they stand. See FastPath."""

    # --- sessions ---

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

    @refusing(DataError)
    def note_newborn(self, bint wanted):
        """From now on the newest NEWBORN_MAX sessions are known by their birth, or no longer."""
        with self.use:
            self.newborn = np.full(NEWBORN_MAX, NIL, np.uint32) if wanted else None
            self.fw.table.newborn = &self.newborn[0] if wanted else NULL

    @refusing(DataError)
    def newborn_rows(self, count):
        """Of the ``count`` sessions made last (16 384 at most, see ``note_newborn``) those that
        live, in order of creation: SESSION_DTYPE[n]."""
        cdef uint64_t made = self.fw.counters.sessions_created, place, wanted, before = <uint64_t>-1
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

    @refusing(DataError)
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

    @refusing(DataError)
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

    @refusing(DataError)
    def flow_of(self, key):
        """The keyed hash by which packets, sessions and victims of one flow are joined."""
        cdef fw_key_t k
        self._key(key, &k)
        return key_hash(&k, self.fw.control.config.seeds)

    @refusing(DataError)
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

    @refusing(DataError)
    def sessions_of(self, address, uint32_t family):
        """Live sessions of an initiator: its address as a number, 4 or 6."""
        cdef uint32_t host
        with self.use:
            host = host_find(&self.fw.table, &self.fw.control, address & 0xFFFFFFFFFFFFFFFF,
                             address >> 64, family)
            return 0 if host == NIL else host_live(&self.fw.table.hosts[host])

    # --- figures ---

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
        cdef uint8_t packets[DIGEST_BYTES]
        cdef uint8_t victims[DIGEST_BYTES]
        with self.use:
            digest_end(&self.fw.packet_digest, packets)
            digest_end(&self.fw.victim_digest, victims)
        return bytes(packets[:DIGEST_BYTES]), bytes(victims[:DIGEST_BYTES])

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
                "sessions_live": self.fw.memory.live, "half_open": self.fw.memory.half_open,
                "proxy_sessions": self.fw.memory.proxy_sessions, "spared": self.fw.memory.spared,
                "memory_script_short_pages": self.fw.memory.pages.short_[OWNER_BASE]
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
                audit_walk(&self.fw.table, &self.fw.memory, &self.fw.control, &self.fw.clock,
                           &hosts[0], &found)
        return found
