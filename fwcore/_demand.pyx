"""What traffic demands: how deep a bucket has to be at each rate, what it drops where it is not.

    packets --Demand.feed--> a bucket for each (key, rate, depth), and one without a bottom
    packets --Line.feed----> a FIFO line for each rate, and who left it late

A bucket is kept as what was spent of it, which is 0 when it is full: ``spent`` falls with time and
rises by what a packet costs. Without a bottom nothing is dropped, and the most ever spent is the
smallest depth that drops nothing. Units are those of a meter: g nanobits, g = gcd(rate, 10^9), so
that a nanosecond brings rate / g units and a bit costs 10^9 / g. A line's time is counted in
1 / rate ns from the first packet on. Nothing is ever rounded or divided but for ``depth_bytes``.

Laws: results do not depend on how packets are cut into calls; a packet older than the one before
it arrives when that did; memory is taken once, and keys and flows that find no place are counted.
"""

from math import gcd as _gcd

import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from fwcore.dataplane.layout cimport fw_mum

RATES_MAX, DEPTHS_MAX = RATES, DEPTHS
KEY_WORDS, FLOW_WORDS = KEYS, FLOWS
UNITS_MAX = 2**61       # as of a meter's depth
RATE_MAX = 10**13       # bit/s; 2^44 x 2^64 ns is far from 2^128
SIZE_MAX = 2**33        # of a packet: a frame has 32 bits, its overhead a few more
ENTRIES_MAX = 1 << 24   # keys, flows

cdef extern from *:
    ctypedef unsigned long long u128 "unsigned __int128"

cdef enum:
    RATES = 16          # rates at once
    DEPTHS = 8          # depths of each
    HIT_WORDS = RATES * DEPTHS >> 6   # a bit of each tells where a flow was hit
    KEYS = 6            # words of a key
    FLOWS = 5           # words of a flow: fw_key_t

# A key and its buckets.
cdef struct bucket_t:
    u128 spent[RATES]             # without a bottom
    u128 most[RATES]              # the most it ever was
    uint64_t held[RATES][DEPTHS]  # spent of a bucket that drops what does not fit
    uint64_t word[KEYS]
    uint64_t packets, bytes
    uint64_t hit[HIT_WORDS]       # a bit for each cell (rate x DEPTHS + depth): dropped something
    int64_t time_ns               # until when it was filled

cdef struct flow_t:
    uint64_t word[FLOWS]
    uint64_t hit[HIT_WORDS]       # as above

# What became of all packets at one rate and one depth.
cdef struct cell_t:
    uint64_t packets, bytes, tcp_packets, tcp_bytes

# Rates, depths and counters.
cdef struct demand_t:
    uint32_t rates, depths
    uint64_t fill[RATES]          # units a ns
    uint64_t price[RATES]         # units a byte
    uint64_t depth[RATES][DEPTHS]  # units
    cell_t cell[RATES][DEPTHS]
    bucket_t *bucket
    flow_t *flow
    uint32_t *bucket_slot         # number + 1; 0: free. Twice as many as there are buckets
    uint32_t *flow_slot
    uint64_t buckets, buckets_max, bucket_mask
    uint64_t flows, flows_max, flow_mask
    uint64_t forgotten_packets, forgotten_bytes
    uint64_t flowless             # dropped somewhere; no flow, or none that found a place
    int64_t now_ns
    uint8_t begun


cdef inline uint64_t words_hash(const uint64_t *word, int count) noexcept nogil:
    cdef uint64_t hash_ = 0x243F6A8885A308D3
    cdef int i
    for i in range(count):
        hash_ = fw_mum(hash_ ^ word[i], 0x9E3779B97F4A7C15) + <uint64_t>i + 1
    return fw_mum(hash_, 0xA4093822299F31D1)


cdef bucket_t *bucket_of(demand_t *d, const uint64_t *word, int64_t now) noexcept nogil:
    """The key's buckets, new ones full; NULL: no place. The walk is bounded by the free half."""
    cdef uint64_t at = words_hash(word, KEYS) & d.bucket_mask
    cdef uint64_t _turn
    cdef bucket_t *b
    for _turn in range(d.bucket_mask + 1):
        if d.bucket_slot[at] == 0:
            break
        b = &d.bucket[d.bucket_slot[at] - 1]
        if memcmp(b.word, word, sizeof(b.word)) == 0:
            return b
        at = (at + 1) & d.bucket_mask
    if d.buckets == d.buckets_max:
        return NULL
    b = &d.bucket[d.buckets]
    d.buckets += 1
    d.bucket_slot[at] = <uint32_t>d.buckets
    memcpy(b.word, word, sizeof(b.word))
    b.time_ns = now
    return b


cdef flow_t *flow_of(demand_t *d, const uint64_t *word) noexcept nogil:
    """As bucket_of."""
    cdef uint64_t at = words_hash(word, FLOWS) & d.flow_mask
    cdef uint64_t _turn
    cdef flow_t *f
    for _turn in range(d.flow_mask + 1):
        if d.flow_slot[at] == 0:
            break
        f = &d.flow[d.flow_slot[at] - 1]
        if memcmp(f.word, word, sizeof(f.word)) == 0:
            return f
        at = (at + 1) & d.flow_mask
    if d.flows == d.flows_max:
        return NULL
    f = &d.flow[d.flows]
    d.flows += 1
    d.flow_slot[at] = <uint32_t>d.flows
    memcpy(f.word, word, sizeof(f.word))
    return f


cdef inline int bucket_spend(
    demand_t *d, bucket_t *b, int r, uint64_t elapsed, uint64_t size, uint8_t tcp, uint64_t *hit,
) noexcept nogil:
    """One packet at one rate, at all depths; sets the bits of those that drop it."""
    cdef u128 gain = <u128>d.fill[r] * elapsed
    cdef u128 cost = <u128>d.price[r] * size
    cdef uint64_t held
    cdef int at, i
    b.spent[r] = (b.spent[r] - gain if b.spent[r] > gain else 0) + cost
    if b.spent[r] > b.most[r]:
        b.most[r] = b.spent[r]
    for i in range(<int>d.depths):
        held = b.held[r][i]
        held = held - <uint64_t>gain if held > gain else 0
        if held + cost <= d.depth[r][i]:
            b.held[r][i] = held + <uint64_t>cost
            continue
        b.held[r][i] = held
        at = r * DEPTHS + i
        hit[at >> 6] |= <uint64_t>1 << (at & 63)
        d.cell[r][i].packets += 1
        d.cell[r][i].bytes += size
        d.cell[r][i].tcp_packets += tcp
        d.cell[r][i].tcp_bytes += size if tcp else 0
    return 0


cdef void demand_packet(
    demand_t *d, int64_t time_ns, uint64_t size, const uint64_t *key, const uint64_t *flow,
    uint8_t tcp,
) noexcept nogil:
    cdef uint64_t hit[HIT_WORDS]
    cdef uint64_t elapsed
    cdef bucket_t *b
    cdef flow_t *f = NULL
    cdef int r
    if not d.begun or time_ns > d.now_ns:
        d.now_ns = time_ns
        d.begun = 1
    b = bucket_of(d, key, d.now_ns)
    if b == NULL:
        d.forgotten_packets += 1
        d.forgotten_bytes += size
        return
    elapsed = <uint64_t>d.now_ns - <uint64_t>b.time_ns
    b.time_ns = d.now_ns
    b.packets += 1
    b.bytes += size
    hit[0] = hit[1] = 0
    for r in range(<int>d.rates):
        bucket_spend(d, b, r, elapsed, size, tcp, hit)
    if hit[0] == 0 and hit[1] == 0:
        return
    b.hit[0] |= hit[0]
    b.hit[1] |= hit[1]
    if flow[0]:
        f = flow_of(d, flow)
    if f == NULL:
        d.flowless += 1
        return
    f.hit[0] |= hit[0]
    f.hit[1] |= hit[1]


cdef uint64_t slots_of(uint64_t count) noexcept:
    """A power of two, at least twice as many."""
    cdef uint64_t slots = 2
    cdef int _turn
    for _turn in range(40):
        if slots >= 2 * count:
            break
        slots *= 2
    return slots


def _checked(name, value, least, most):
    if not least <= value <= most:
        raise ValueError(f"{name}: {value} is not {least} to {most}")
    return value


def _arrays(time_ns, size, *others):
    """Checked before the loop: lengths that agree, sizes that fit."""
    for array in (size, *others):
        if len(array) != len(time_ns):
            raise ValueError(f"arrays differ in length: {len(time_ns)} times, {len(array)} others")
    if len(size) and int(size.max()) >= SIZE_MAX:
        raise ValueError(f"size: {int(size.max())} is not below {SIZE_MAX}")


cdef class Demand:
    """Buckets of up to 16 rates (bit/s) and, for each, up to 8 depths in bytes.

    ``depths``: for each rate as many numbers. ``keys_max``, ``flows_max``: how many are kept; a
    packet of a further key meets no bucket and is in ``forgotten``. Raises ValueError for what is
    out of range, also for a depth above 2^61 units of its rate.
    """

    cdef demand_t d
    cdef readonly list rates
    cdef readonly list depths

    def __cinit__(self, rates, depths, keys_max=65536, flows_max=262144):
        cdef uint64_t slots
        self.rates = [_checked("rate", rate, 1, RATE_MAX) for rate in rates]
        self.depths = [list(row) for row in depths]
        self.d.rates = _checked("rates", len(self.rates), 1, RATES)
        if len(self.depths) != len(self.rates) or len(set(map(len, self.depths))) != 1:
            raise ValueError("depths: give as many for each rate")
        self.d.depths = _checked("depths", len(self.depths[0]), 0, DEPTHS)
        for r, rate in enumerate(self.rates):
            g = _gcd(rate, 10**9)
            self.d.fill[r], self.d.price[r] = rate // g, 8 * (10**9 // g)
            for i, depth in enumerate(self.depths[r]):
                units = _checked("depth", depth, 0, 2**61) * self.d.price[r]
                if units > UNITS_MAX:
                    raise ValueError(
                        f"depth {depth} at rate {rate} is above 2^61 units of {g} nanobits")
                self.d.depth[r][i] = units
        self.d.buckets_max = _checked("keys_max", keys_max, 1, ENTRIES_MAX)
        self.d.flows_max = _checked("flows_max", flows_max, 1, ENTRIES_MAX)
        slots = slots_of(self.d.buckets_max)
        self.d.bucket_mask = slots - 1
        self.d.bucket_slot = <uint32_t *>calloc(slots, sizeof(uint32_t))
        self.d.bucket = <bucket_t *>calloc(self.d.buckets_max, sizeof(bucket_t))
        slots = slots_of(self.d.flows_max)
        self.d.flow_mask = slots - 1
        self.d.flow_slot = <uint32_t *>calloc(slots, sizeof(uint32_t))
        self.d.flow = <flow_t *>calloc(self.d.flows_max, sizeof(flow_t))
        if not (self.d.bucket_slot and self.d.bucket and self.d.flow_slot and self.d.flow):
            raise MemoryError(f"{keys_max} keys and {flows_max} flows")

    def __dealloc__(self):
        free(self.d.bucket_slot)
        free(self.d.bucket)
        free(self.d.flow_slot)
        free(self.d.flow)

    def feed(self, const int64_t[::1] time_ns, size, key, flow, const uint8_t[::1] tcp):
        """n packets: int64[n] ns, uint64[n] bytes, uint64[n, 6] keys, uint64[n, 5] flows (first
        word 0: none), uint8[n] 1 for TCP. ValueError for arrays that do not agree."""
        cdef const uint64_t[::1] sizes = size
        cdef const uint64_t[:, ::1] keys = key
        cdef const uint64_t[:, ::1] flows = flow
        cdef uint64_t i, count = time_ns.shape[0]
        _arrays(time_ns, size, key, flow, tcp)
        if keys.shape[1] != KEYS or flows.shape[1] != FLOWS:
            raise ValueError(f"keys have {KEYS} words, flows {FLOWS}")
        with nogil:
            for i in range(count):
                demand_packet(&self.d, time_ns[i], sizes[i], &keys[i, 0], &flows[i, 0],
                              tcp[i] != 0)

    @property
    def forgotten(self):
        """{"packets", "bytes"} of keys that found no place."""
        return {"packets": self.d.forgotten_packets, "bytes": self.d.forgotten_bytes}

    @property
    def flowless(self):
        """Packets dropped somewhere that count for no flow: they have none, or it found no place.
        """
        return self.d.flowless

    def depth_bytes(self):
        """The smallest depth of each rate at which no bucket of any key drops anything."""
        cdef int r
        cdef uint64_t i
        cdef u128 most
        found = []
        for r in range(<int>self.d.rates):
            most = 0
            for i in range(self.d.buckets):
                if self.d.bucket[i].most[r] > most:
                    most = self.d.bucket[i].most[r]
            found.append(<uint64_t>((most + self.d.price[r] - 1) // self.d.price[r]))
        return found

    def dropped(self):
        """By rate and depth: {"packets", "bytes", "tcp_packets", "tcp_bytes", "keys", "flows"}."""
        cdef int r, i
        found = []
        for r in range(<int>self.d.rates):
            row = []
            for i in range(<int>self.d.depths):
                cell = dict(self.d.cell[r][i])
                row.append(cell | {"keys": self._keys_hit(r * DEPTHS + i),
                                   "flows": self._flows_hit(r * DEPTHS + i)})
            found.append(row)
        return found

    cdef uint64_t _keys_hit(self, int at):
        cdef uint64_t i, found = 0
        for i in range(self.d.buckets):
            found += self.d.bucket[i].hit[at >> 6] >> (at & 63) & 1
        return found

    cdef uint64_t _flows_hit(self, int at):
        cdef uint64_t i, found = 0
        for i in range(self.d.flows):
            found += self.d.flow[i].hit[at >> 6] >> (at & 63) & 1
        return found

    @property
    def keys(self):
        """How many have buckets."""
        return self.d.buckets

    def top(self, uint64_t count=20):
        """The keys with most bytes (equal ones in the order they came): {"key": 6 words,
        "packets", "bytes", "depth_bytes": one of each rate}."""
        cdef uint64_t i
        cdef int r
        sizes = np.array([self.d.bucket[i].bytes for i in range(self.d.buckets)], np.uint64)
        found = []
        for i in np.argsort(np.uint64(2**64 - 1) - sizes, kind="stable")[:count]:
            found.append({
                "key": [self.d.bucket[i].word[r] for r in range(KEYS)],
                "packets": self.d.bucket[i].packets, "bytes": self.d.bucket[i].bytes,
                "depth_bytes": [
                    <uint64_t>((self.d.bucket[i].most[r] + self.d.price[r] - 1) // self.d.price[r])
                    for r in range(<int>self.d.rates)],
            })
        return found


cdef struct line_t:
    uint64_t rate
    uint64_t late         # packets that left later than they may
    u128 free             # from when on the line is free, in 1 / rate ns since the first packet


cdef class Line:
    """FIFO lines of up to 16 rates (bit/s) without a limit of packets.

    ``delay_ns``: from arrival to the end of transmission, given out at the next whole ns; who
    takes longer is ``late``. Raises ValueError for what is out of range.
    """

    cdef line_t line[RATES]
    cdef int rates
    cdef uint64_t delay_ns
    cdef int64_t start_ns, now_ns
    cdef uint8_t begun
    cdef readonly uint64_t packets

    def __cinit__(self, rates, delay_ns):
        self.rates = _checked("rates", len(rates), 1, RATES)
        for r, rate in enumerate(rates):
            self.line[r].rate = _checked("rate", rate, 1, RATE_MAX)
        self.delay_ns = _checked("delay_ns", delay_ns, 0, 2**62)

    def feed(self, const int64_t[::1] time_ns, size):
        """n packets: int64[n] ns, uint64[n] bytes. ValueError for arrays that do not agree."""
        cdef const uint64_t[::1] sizes = size
        cdef uint64_t i, count = time_ns.shape[0]
        _arrays(time_ns, size)
        with nogil:
            for i in range(count):
                self._packet(time_ns[i], sizes[i])
        self.packets += count

    cdef void _packet(self, int64_t time_ns, uint64_t size) noexcept nogil:
        cdef uint64_t elapsed
        cdef u128 arrival
        cdef int r
        if not self.begun:
            self.start_ns = self.now_ns = time_ns
            self.begun = 1
        if time_ns > self.now_ns:
            self.now_ns = time_ns
        elapsed = <uint64_t>self.now_ns - <uint64_t>self.start_ns
        for r in range(self.rates):
            arrival = <u128>elapsed * self.line[r].rate
            if self.line[r].free < arrival:
                self.line[r].free = arrival
            self.line[r].free += <u128>8000000000 * size
            if self.line[r].free > arrival + <u128>self.delay_ns * self.line[r].rate:
                self.line[r].late += 1

    @property
    def late(self):
        """Packets that left later than they may, by rate."""
        cdef int r
        return [self.line[r].late for r in range(self.rates)]
