"""Sums by key in one pass, who was taken, and who began: one look-up a row, however many rows and
keys.

    rows of a block -> hash of the key's words -> entry -> sums     entries: in order of arrival

Laws: keys are kept in the order of their first row, at most ``room`` of them, so that blocks do not
matter; what comes for others is summed as forgotten. The hash is keyed anew for each table, since
keys are addresses that a sender chooses; no order and no sum depends on it.
"""

from os import urandom as _urandom

import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from fwcore.dataplane.layout cimport (
    ADDRESS_BYTES, END_EVICTED, END_KILLED, END_TENSION, STATE_ESTABLISHED, fw_be32, fw_be64,
    session_row_t)
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
        grown = np.zeros((size, self.words), np.uint64)
        grown[:self.count] = self.key_rows[:self.count]
        self.key_rows = grown
        grown = np.zeros((size, self.sums), np.uint64)
        grown[:self.count] = self.sum_rows[:self.count]
        self.sum_rows = grown
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
