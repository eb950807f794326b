"""Sums by key in one pass, who was taken, who began, and what became of each flow: one look-up a
row, however many rows and keys.

    rows of a block -> hash of the key's words -> entry -> sums     entries: in order of arrival

Laws: keys are kept in the order of their first row, at most ``room`` of them, so that blocks do not
matter; what comes for others is summed as forgotten. The hash is keyed anew for each table, since
keys are addresses that a sender chooses; no order and no sum depends on it.
"""

from os import urandom as _urandom

import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from fwcore.dataplane.layout cimport (
    ADDRESS_BYTES, END_EVICTED, END_KILLED, END_TENSION, REASON_DENIED, STATE_ESTABLISHED,
    VERDICT_BYPASS, VERDICT_DROP, VERDICT_FORWARD, fw_be32, fw_be64, fw_prefetch, session_row_t)
from fwcore.errors import DataError, refusing

_ENTRIES_MOST = 1 << 31     # entry numbers have 32 bits, and 0 is none

cdef enum:
    WORDS_MOST = 4
    SLOTS_LEAST = 64        # of an empty table; a power of two
    IDLES = 5               # bounds_ns has one less


cdef class Tally:
    """Sums of ``sums`` amounts a row by keys of ``words`` (1 to 4) numbers of 64 bits, for at most
    ``room`` keys. Raises DataError."""

    cdef readonly int words, sums
    cdef uint64_t room, count, mask
    cdef uint64_t seed[WORDS_MOST]
    cdef object key_rows, sum_rows, slot_rows, lost
    cdef uint64_t[:, ::1] keys
    cdef uint64_t[:, ::1] totals
    cdef uint32_t[::1] slots
    cdef uint64_t[::1] forgot

    def __cinit__(self, int words, int sums, uint64_t room):
        cdef int i
        if not 1 <= words <= WORDS_MOST or sums < 1:
            raise DataError(f"a tally has 1 to {WORDS_MOST} words and a sum, not {words}, {sums}")
        self.words, self.sums, self.room = words, sums, min(room, _ENTRIES_MOST)
        drawn = np.frombuffer(_urandom(8 * WORDS_MOST), np.uint64)
        for i in range(WORDS_MOST):
            self.seed[i] = drawn[i] | 1
        self.lost = np.zeros(sums, np.uint64)
        self.forgot = self.lost
        self.key_rows = np.zeros((SLOTS_LEAST // 2, words), np.uint64)
        self.sum_rows = np.zeros((SLOTS_LEAST // 2, sums), np.uint64)
        self._view(SLOTS_LEAST)

    cdef int _view(self, uint64_t slots) except -1:
        """The arrays as they are now, and an index of ``slots``, a power of two, over them."""
        cdef uint64_t i
        self.keys, self.totals = self.key_rows, self.sum_rows
        self.slot_rows = np.zeros(slots, np.uint32)
        self.slots = self.slot_rows
        self.mask = slots - 1
        for i in range(self.count):
            self.slots[self._slot(&self.keys[i, 0])] = <uint32_t>(i + 1)
        return 0

    cdef int _reserve(self, uint64_t more) except -1:
        """Room for ``more`` entries, as far as there may be so many."""
        cdef uint64_t wanted = min(self.count + more, self.room), slots = self.mask + 1
        if wanted <= <uint64_t>self.keys.shape[0] and 2 * wanted <= slots:
            return 0
        while slots < 2 * wanted:
            slots *= 2
        size = max(wanted, min(2 * <uint64_t>self.keys.shape[0], self.room))
        self.key_rows = _longer(self.key_rows, self.count, size)
        self.sum_rows = _longer(self.sum_rows, self.count, size)
        return self._view(slots)

    cdef inline uint64_t _slot(self, const uint64_t *key) noexcept nogil:
        """The slot of a key, or the empty one where it would be. Half of the slots are empty."""
        cdef uint64_t hash = 0, at
        cdef uint32_t entry
        cdef int i
        for i in range(self.words):
            hash = (hash ^ key[i] ^ self.seed[i]) * <uint64_t>0x9E3779B97F4A7C15
            hash ^= hash >> 29
            hash *= self.seed[i]
            hash ^= hash >> 32
        at = hash & self.mask
        while True:
            entry = self.slots[at]
            if entry == 0 or self._same(entry - 1, key):
                return at
            at = (at + 1) & self.mask

    cdef inline bint _same(self, uint64_t entry, const uint64_t *key) noexcept nogil:
        cdef int i
        for i in range(self.words):
            if self.keys[entry, i] != key[i]:
                return False
        return True

    cdef inline uint64_t *_of(self, const uint64_t *key) noexcept nogil:
        """The sums of a key, which has an entry now; those of the forgotten where none is left."""
        cdef uint64_t at = self._slot(key)
        cdef uint32_t entry = self.slots[at]
        cdef int i
        if entry == 0:
            if self.count == self.room:
                return &self.forgot[0]
            for i in range(self.words):
                self.keys[self.count, i] = key[i]
            self.count += 1
            entry = <uint32_t>self.count
            self.slots[at] = entry
        return &self.totals[entry - 1, 0]

    def add(self, keys, amounts):
        """Rows of a block: ``keys`` the words of their keys, each integers[n]; ``amounts`` what is
        summed, each integers[n]. Sums stay below 2**64. Raises DataError.

        Returns the rows whose keys were not there before, int64[m], as their entries follow.
        """
        cdef const uint64_t[:, ::1] words = _columns(keys, self.words, "words")
        cdef const uint64_t[:, ::1] given = _columns(amounts, self.sums, "amounts")
        cdef uint64_t key[WORDS_MOST]
        cdef uint64_t *sums
        cdef uint64_t before, made = 0
        cdef Py_ssize_t row
        cdef int i
        first = np.empty(words.shape[1], np.int64)
        cdef int64_t[::1] news = first
        if words.shape[1] != given.shape[1]:
            raise DataError(f"a tally's keys and amounts differ: {words.shape[1]} rows and"
                            f" {given.shape[1]}")
        self._reserve(words.shape[1])
        with nogil:
            for row in range(words.shape[1]):
                for i in range(self.words):
                    key[i] = words[i, row]
                before = self.count
                sums = self._of(key)
                if self.count != before:
                    news[made] = row
                    made += 1
                for i in range(self.sums):
                    sums[i] += given[i, row]
        return first[:made].copy()

    def places(self, keys):
        """The entry of each row's key, int64[n], as ``table`` has them; -1 where it has none.
        Raises DataError."""
        cdef const uint64_t[:, ::1] words = _columns(keys, self.words, "words")
        cdef uint64_t key[WORDS_MOST]
        cdef Py_ssize_t row
        cdef int i
        found = np.empty(words.shape[1], np.int64)
        cdef int64_t[::1] at = found
        with nogil:
            for row in range(words.shape[1]):
                for i in range(self.words):
                    key[i] = words[i, row]
                at[row] = <int64_t>self.slots[self._slot(key)] - 1
        return found

    def forgotten(self):
        """Sums of what came for keys that are not kept."""
        return self.lost.tolist()

    def table(self):
        """(keys uint64[n, words], sums uint64[n, sums]) in the order of their first rows; copies.
        """
        return self.key_rows[:self.count].copy(), self.sum_rows[:self.count].copy()

    def items(self):
        """(key, its sums) in the order of their first rows."""
        keys, sums = self.table()
        return zip(map(tuple, keys.tolist()), sums.tolist(), strict=True)

    def __len__(self):
        return self.count


cdef object _columns(given, int many, str name):
    """Columns of integers as uint64[many, n]; DataError."""
    rows = [np.asarray(each) for each in given]
    if len(rows) != many or len({len(row) for row in rows}) != 1:
        raise DataError(f"a tally takes {many} {name} of one length")
    made = np.empty((many, len(rows[0])), np.uint64)
    for i in range(many):
        made[i] = rows[i]
    return made


cdef inline bint _was_taken(const session_row_t *row) noexcept nogil:
    return row.cause == END_EVICTED or row.cause == END_TENSION or row.cause == END_KILLED


cdef inline bint _from_b(const session_row_t *row) noexcept nogil:
    """Whether the initiator is the key's endpoint b, the greater (address, port)."""
    cdef int order = memcmp(row.initiator, row.responder, ADDRESS_BYTES)
    return order > 0 or (order == 0 and row.initiator_port > row.responder_port)


cdef inline void _mention(Tally ways, const session_row_t *row) noexcept nogil:
    """Who began the flow of a session that was taken, unless somebody is remembered."""
    cdef uint64_t *seen
    if _was_taken(row):
        seen = ways._of(&row.flow)
        if seen[0] == 0 and seen != &ways.forgot[0]:
            seen[0] = 1 + _from_b(row)


@refusing(DataError)
def begun(Tally ways not None, const session_row_t[:] ended not None,
          const uint64_t[::1] flow not None, const uint64_t[::1] number not None,
          uint8_t[::1] from_b not None):
    """Who began the flow of each of n packets, as far as ``ways`` (a word, a sum) remembers.

    A flow's first mention stays: a packet, by ``flow`` uint64[n] (0: none), ``number`` uint64[n]
    ascending and ``from_b`` uint8[n] (1: its initiator is the key's endpoint b), which becomes what
    is remembered; or a session taken among ``ended`` (``SESSION_DTYPE[m]``, in the order in which
    they ended), whose initiator is known. Returns how many of ``ended`` came before the last
    packet; without packets all do. Raises DataError.
    """
    cdef Py_ssize_t i, at = 0
    cdef uint64_t *seen
    if ways.words != 1 or ways.sums != 1:
        raise DataError("who began is kept by a word, as a sum")
    if not flow.shape[0] == number.shape[0] == from_b.shape[0]:
        raise DataError("flow, number and from_b have one row a packet")
    ways._reserve(ended.shape[0] + flow.shape[0])
    with nogil:
        if flow.shape[0] == 0:
            while at < ended.shape[0]:
                _mention(ways, &ended[at])
                at += 1
        for i in range(flow.shape[0]):
            while at < ended.shape[0] and ended[at].ended_packet <= number[i]:
                _mention(ways, &ended[at])
                at += 1
            if flow[i] == 0:
                continue
            seen = ways._of(&flow[i])
            if seen == &ways.forgot[0]:
                continue
            if seen[0] == 0:
                seen[0] = 1 + from_b[i]
            from_b[i] = seen[0] == 2
    return at


@refusing(DataError)
def taken(const session_row_t[:] rows not None, Tally hosts not None, Tally policies not None,
          const int64_t[::1] bounds_ns not None):
    """Counts the sessions taken (evicted, tension, killed) among ended ones (``SESSION_DTYPE[n]``).

    ``hosts`` (3 words: high and low half of the initiator, family) and ``policies`` (1 word: id)
    get a session and its bytes each. Returns (sessions, bytes, established, those idle for less
    than each of four ``bounds_ns``, and for longer: a list of five). Raises DataError.
    """
    cdef uint64_t idle[IDLES]
    cdef uint64_t sessions = 0, size = 0, established = 0, lost
    cdef uint64_t key[WORDS_MOST]
    cdef uint64_t *sums
    cdef Py_ssize_t i
    cdef int64_t rest
    cdef int place
    cdef const session_row_t *row
    if hosts.words != 3 or policies.words != 1 or hosts.sums != 2 or policies.sums != 2:
        raise DataError("tallies of hosts have 3 words and 2 sums, of policies 1 and 2")
    if bounds_ns.shape[0] != IDLES - 1:
        raise DataError(f"{IDLES - 1} bounds are asked for, not {bounds_ns.shape[0]}")
    hosts._reserve(rows.shape[0])
    policies._reserve(rows.shape[0])
    memset(idle, 0, sizeof(idle))
    memset(key, 0, sizeof(key))
    with nogil:
        for i in range(rows.shape[0]):
            row = &rows[i]
            if not _was_taken(row):
                continue
            lost = row.bytes[0] + row.bytes[1]
            sessions += 1
            size += lost
            established += row.state == STATE_ESTABLISHED
            rest, place = row.ended_ns - row.last_seen_ns, 0
            while place < IDLES - 1 and rest >= bounds_ns[place]:
                place += 1
            idle[place] += 1
            if row.family == 4:
                key[0], key[1] = 0, fw_be32(row.initiator)
            else:
                key[0], key[1] = fw_be64(row.initiator), fw_be64(row.initiator + 8)
            key[2] = row.family
            sums = hosts._of(key)
            sums[0] += 1
            sums[1] += lost
            key[0] = row.policy
            sums = policies._of(key)
            sums[0] += 1
            sums[1] += lost
    return sessions, size, established, [idle[place] for place in range(IDLES)]


@refusing(DataError)
def kinds(const uint8_t[:, ::1] outcome not None):
    """The pairs (verdict, reason) that occur in ``outcome`` uint8[n, 2]: a frozenset."""
    cdef uint8_t seen[1 << 16]
    cdef Py_ssize_t i
    cdef int last = -1, kind
    if outcome.shape[1] != 2:
        raise DataError(f"outcomes have a verdict and a reason, not {outcome.shape[1]} bytes")
    found = []
    memset(seen, 0, sizeof(seen))
    for i in range(outcome.shape[0]):
        kind = outcome[i, 0] << 8 | outcome[i, 1]
        if kind != last and not seen[kind]:     # most are as the one before
            seen[kind] = 1
            found.append((outcome[i, 0], outcome[i, 1]))
        last = kind
    return frozenset(found)


# --- flows ----------------------------------------------------------------------------------------


cdef enum:
    GROUP = 32              # packets whose entries are fetched side by side


cdef struct flow_row_t:
    uint64_t flow           # number, from the frames alone
    uint64_t first_packet
    int64_t packets
    int64_t bytes


cdef struct met_t:
    # of a flow under one setting: what each of its packets touches
    uint64_t own            # the run's number for it, of its last packet that had one
    uint32_t fate           # its sums in the table of fates, counted from 1; 0: it has none
    uint32_t from_b         # 1: endpoint b began the first packet's session


cdef struct fate_row_t:
    # sums of what most flows never meet
    uint64_t place          # of the flow
    int64_t dropped
    int64_t dropped_bytes
    int64_t denied          # of the dropped
    int64_t denied_bytes
    int64_t bypassed
    int64_t bypassed_bytes
    int64_t turned          # bytes forwarded in sessions that the other end began
    int64_t taken           # sessions


cdef object _flow_dtype():
    cdef flow_row_t row
    return np.asarray(<const flow_row_t[:1]>&row).dtype


cdef object _fate_dtype():
    cdef fate_row_t row
    return np.asarray(<const fate_row_t[:1]>&row).dtype


FLOW_DTYPE = _flow_dtype()
FATE_DTYPE = _fate_dtype()


cdef class Flows:
    """The flows of a capture, FLOW_DTYPE, in the order of first packets. Raises DataError.

    The index has a word a slot, half of the hash and the entry: another flow's entry, which is far
    away, is looked at once in 4 billion. The entries of a group are fetched before the first of
    them is used.
    """

    cdef object table_rows, slot_rows
    cdef flow_row_t *rows
    cdef uint64_t *slots
    cdef uint64_t count, room, mask, seed
    cdef bint shown         # the table is with somebody: who adds has a copy made

    def __cinit__(self):
        self.seed = np.frombuffer(_urandom(8), np.uint64)[0] | 1
        self.table_rows = np.zeros(SLOTS_LEAST, FLOW_DTYPE)
        self.room = SLOTS_LEAST
        self._index(2 * SLOTS_LEAST)
        self._place()

    cdef int _place(self) except -1:
        cdef size_t at = self.table_rows.ctypes.data
        self.rows = <flow_row_t *>at
        return 0

    cdef int _index(self, uint64_t slots) except -1:
        """An index of ``slots``, a power of two, over the entries there are."""
        cdef size_t at
        cdef uint64_t i, hash
        cdef const flow_row_t *rows = self.rows
        self.slot_rows = np.zeros(slots, np.uint64)
        at = self.slot_rows.ctypes.data
        self.slots, self.mask = <uint64_t *>at, slots - 1
        with nogil:
            for i in range(self.count):
                if i + GROUP < self.count:
                    fw_prefetch(&self.slots[self._hash(rows[i + GROUP].flow) & self.mask])
                hash = self._hash(rows[i].flow)
                self.slots[self._free(hash)] = (hash >> 32 << 32) | (i + 1)
        return 0

    cdef int _reserve(self, uint64_t more) except -1:
        """Room for ``more`` entries, in a table that nobody else has."""
        cdef uint64_t wanted = self.count + more, slots = self.mask + 1
        cdef const flow_row_t *before
        if wanted > _ENTRIES_MOST:
            raise DataError(f"there are more than {_ENTRIES_MOST} flows")
        if wanted > self.room or self.shown:
            self.room = max(self.room, 2 * wanted if wanted > self.room else 0)
            earlier, before = self.table_rows, self.rows
            self.table_rows, self.shown = np.zeros(self.room, FLOW_DTYPE), False
            self._place()
            memcpy(self.rows, before, self.count * sizeof(flow_row_t))
            del earlier     # which held what was copied
        if 2 * wanted > slots:
            while slots < 4 * wanted:       # anew half as often as the table
                slots *= 2
            self._index(slots)
        return 0

    cdef inline uint64_t _hash(self, uint64_t flow) noexcept nogil:
        cdef uint64_t hash = (flow ^ self.seed) * <uint64_t>0x9E3779B97F4A7C15
        hash ^= hash >> 29
        hash *= self.seed
        return hash ^ hash >> 32

    cdef inline uint64_t _free(self, uint64_t hash) noexcept nogil:
        """The first empty slot for a hash. Half of the slots are empty."""
        cdef uint64_t at = hash & self.mask
        while self.slots[at]:
            at = (at + 1) & self.mask
        return at

    cdef inline int64_t _find(self, uint64_t flow, uint64_t hash) noexcept nogil:
        """The entry of a flow, -1 without one."""
        cdef uint64_t at = hash & self.mask, slot
        while True:
            slot = self.slots[at]
            if slot == 0:
                return -1
            if slot >> 32 == hash >> 32 and self.rows[<uint32_t>slot - 1].flow == flow:
                return <int64_t><uint32_t>slot - 1
            at = (at + 1) & self.mask

    cdef inline void _fetch(self, const uint64_t *hash, int many) noexcept nogil:
        """Has the entries of a group on their way, if they are where they should be."""
        cdef uint64_t slot
        cdef int i
        for i in range(many):
            fw_prefetch(&self.slots[hash[i] & self.mask])
        for i in range(many):
            slot = self.slots[hash[i] & self.mask]
            if slot:
                fw_prefetch(&self.rows[<uint32_t>slot - 1])

    def add(self, const uint64_t[::1] flow not None, const uint64_t[::1] number not None,
            const uint32_t[::1] length not None):
        """A block of n packets: the flow of each (0: none), its number and length.

        Returns the place of each packet's flow, counted from 1, 0 for none: uint32[n]; and which
        packets are the first of theirs, int64[m].
        """
        cdef uint64_t hash[GROUP]
        cdef Py_ssize_t begin = 0, row, made = 0, count = flow.shape[0]
        cdef int64_t[::1] news
        cdef uint32_t[::1] found
        cdef int64_t at
        cdef int i, many
        if not count == number.shape[0] == length.shape[0]:
            raise DataError("flows: all columns have a row a packet")
        first, places = np.empty(count, np.int64), np.zeros(count, np.uint32)
        news, found = first, places
        self._reserve(count)
        with nogil:
            while begin < count:
                many = <int>min(GROUP, count - begin)
                for i in range(many):
                    hash[i] = self._hash(flow[begin + i])
                self._fetch(hash, many)
                for i in range(many):
                    row = begin + i
                    if flow[row] == 0:
                        continue
                    at = self._find(flow[row], hash[i])
                    if at < 0:
                        at = <int64_t>self.count
                        self.count += 1
                        self.slots[self._free(hash[i])] = (hash[i] >> 32 << 32) | self.count
                        self.rows[at].flow = flow[row]
                        self.rows[at].first_packet = number[row]
                        news[made] = row
                        made += 1
                    self.rows[at].packets += 1
                    self.rows[at].bytes += length[row]
                    found[row] = <uint32_t>(at + 1)
                begin += GROUP
        return places, first[:made].copy()

    def table(self):
        """FLOW_DTYPE[m]; what is added later is not in it."""
        self.shown = True
        return self.table_rows[:self.count]

    def __len__(self):
        return self.count


cdef class Fates:
    """What one setting made of each flow. Raises DataError.

    A word and a bit a flow; sums, FATE_DTYPE, for those alone of which something did not pass as it
    should.
    """

    cdef object met_rows, fate_rows
    cdef met_t *met
    cdef fate_row_t *fates
    cdef uint64_t count, room, fate_count, fate_room

    def __cinit__(self):
        self.met_rows, self.fate_rows = np.zeros(0, np.uint8), np.zeros(0, np.uint8)
        self._reserve(SLOTS_LEAST, SLOTS_LEAST)

    cdef int _reserve(self, uint64_t flows, uint64_t fates) except -1:
        """Room for so many of each."""
        cdef size_t at
        if flows > self.room:
            self.room = 2 * flows
            self.met_rows = _longer(self.met_rows, self.count * sizeof(met_t),
                                    self.room * sizeof(met_t))
            at = self.met_rows.ctypes.data
            self.met = <met_t *>at
        if fates > self.fate_room:
            self.fate_room = 2 * fates
            self.fate_rows = _longer(self.fate_rows, self.fate_count * sizeof(fate_row_t),
                                     self.fate_room * sizeof(fate_row_t))
            at = self.fate_rows.ctypes.data
            self.fates = <fate_row_t *>at
        return 0

    cdef inline fate_row_t *_fate(self, uint32_t place) noexcept nogil:
        """The sums of a flow, which has some now. => there is room"""
        cdef met_t *met = &self.met[place - 1]
        if met.fate == 0:
            self.fates[self.fate_count].place = place - 1
            self.fate_count += 1
            met.fate = <uint32_t>self.fate_count
        return &self.fates[met.fate - 1]

    def add(self, const uint32_t[::1] place not None, const uint64_t[::1] own not None,
            const uint8_t[:, ::1] outcome not None, const uint32_t[::1] length not None,
            const uint8_t[::1] from_b not None):
        """A block of n packets, in order: the place of the flow of each (``Flows.add``), the run's
        own number for it, outcome (verdict, reason), length, and 1 where endpoint b began its
        session.

        Returns which packets are the first with their own number, or the first of their flow after
        one with another, int64[...].
        """
        cdef Py_ssize_t row, named = 0, count = place.shape[0]
        cdef int64_t[::1] others
        cdef uint32_t most = 0
        cdef met_t *met
        if not (count == own.shape[0] == outcome.shape[0] == length.shape[0] == from_b.shape[0]
                ) or outcome.shape[1] != 2:
            raise DataError("fates: all columns have a row a packet, and outcomes two bytes")
        names = np.empty(count, np.int64)
        others = names
        for row in range(count):
            most = max(most, place[row])
        if most > self.count + count:
            raise DataError("fates: blocks come in order, and flows with their first packet")
        self._reserve(most, self.fate_count + count)
        with nogil:
            for row in range(count):
                if row + GROUP < count and place[row + GROUP]:
                    fw_prefetch(&self.met[place[row + GROUP] - 1])
                if place[row] == 0:
                    continue
                met = &self.met[place[row] - 1]
                if place[row] > self.count:
                    self.count = place[row]
                    met.from_b = from_b[row] != 0
                if own[row] != met.own and own[row] != 0:
                    met.own = own[row]
                    others[named] = row
                    named += 1
                if outcome[row, 0] == VERDICT_FORWARD:
                    if met.from_b != (from_b[row] != 0):
                        self._fate(place[row]).turned += length[row]
                elif outcome[row, 0] == VERDICT_DROP or outcome[row, 0] == VERDICT_BYPASS:
                    _count(self._fate(place[row]), outcome[row, 0], outcome[row, 1], length[row])
        return names[:named].copy()

    def take(self, const uint32_t[::1] place not None):
        """A session was taken of each of these flows. DataError where one has no packet."""
        cdef Py_ssize_t i
        for i in range(place.shape[0]):
            if not 0 < place[i] <= self.count:
                raise DataError("a session was taken of a flow that has no packet")
        self._reserve(0, self.fate_count + place.shape[0])
        for i in range(place.shape[0]):
            self._fate(place[i]).taken += 1

    def table(self):
        """FATE_DTYPE[k], by the flows' places, from 0; a copy."""
        rows = self.fate_rows[:self.fate_count * sizeof(fate_row_t)].view(FATE_DTYPE)
        return rows[np.argsort(rows["place"])]

    def begun(self):
        """Whether endpoint b began the first packet's session, of each flow: bool[m]; a copy."""
        cdef uint64_t i
        found = np.zeros(self.count, np.bool_)
        cdef uint8_t[::1] from_b = found.view(np.uint8)
        for i in range(self.count):
            from_b[i] = self.met[i].from_b
        return found


cdef object _longer(rows, uint64_t kept, uint64_t size):
    """So many rows, zero behind those that are kept."""
    made = np.zeros((size, *rows.shape[1:]), rows.dtype)
    made[:kept] = rows[:kept]
    return made


cdef inline void _count(
    fate_row_t *fate, uint8_t verdict, uint8_t reason, uint32_t length,
) noexcept nogil:
    """One packet that did not pass as it should."""
    if verdict == VERDICT_BYPASS:
        fate.bypassed += 1
        fate.bypassed_bytes += length
        return
    fate.dropped += 1
    fate.dropped_bytes += length
    if reason == REASON_DENIED:
        fate.denied += 1
        fate.denied_bytes += length
