"""What fwcore.bench holds the fast path against: the bare loop, and parsing alone.

The loop is bare.h's; nothing of the table is shared with it. Parsing alone is the staircase's
first step.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fwcore._parsed cimport Frames
from fwcore.dataplane.arena cimport fw_arena_free, fw_arena_new
from fwcore.dataplane.frame cimport frame_expect, parser_begin, parser_t
from fwcore.dataplane.layout cimport SEED_WORDS, TRACKER_PLAIN, packet_t
from fwcore.dataplane.parse cimport parse_frame

SESSIONS_MAX = 1 << 32   # as many records as a table of the fast path may have


cdef extern from "dataplane/bare.h":
    ctypedef struct bare_slot_t:
        uint64_t packets
    ctypedef struct bare_t:
        bare_slot_t *slots
        uint64_t mask
        uint64_t used
    uint64_t bare_run(bare_t *t, const uint8_t *data, uint64_t size, uint64_t *at,
                      uint64_t count) noexcept nogil


cdef class BareLoop:
    """The bare loop over a pcap in memory (little-endian), with room for ``sessions`` keys.

    ``data``: uint8[size], the whole file. Raises MemoryError when the table cannot be had,
    ValueError for more than 2**32 sessions.
    """

    cdef bare_t bare
    cdef void *mapped
    cdef size_t mapped_bytes
    cdef const uint8_t[::1] data
    cdef readonly uint64_t position

    def __cinit__(self, uint64_t sessions, data):
        cdef uint64_t slots, bytes_
        if sessions > SESSIONS_MAX:
            raise ValueError(f"sessions: {sessions} are more than the {SESSIONS_MAX} there may be")
        slots = 1 << (2 * <object>sessions + 1).bit_length()
        bytes_ = slots * sizeof(bare_slot_t)
        self.bare.slots = <bare_slot_t *>fw_arena_new(
            bytes_, bytes_, &self.mapped, &self.mapped_bytes)
        if self.bare.slots == NULL:
            raise MemoryError(
                f"the bare loop's table needs {slots * sizeof(bare_slot_t)} bytes, "
                "which cannot be had")
        self.bare.mask = slots - 1
        self.rewind(data)

    def __dealloc__(self):
        if self.mapped != NULL:
            fw_arena_free(self.mapped, self.mapped_bytes)

    @property
    def sessions(self):
        """Keys seen so far."""
        return self.bare.used

    def rewind(self, data):
        """To the first record of ``data``; the sessions stay."""
        self.data = data
        self.position = 24

    def run(self, uint64_t count):
        """The next ``count`` records, or all that are left; how many found their session."""
        cdef uint64_t found, size = self.data.shape[0]
        if size == 0:
            return 0
        with nogil:
            found = bare_run(&self.bare, &self.data[0], size, &self.position, count)
        return found


def bench_parse(chunk):
    """Parses every frame of a chunk as the fast path does, and nothing else; xor of the hashes.

    Raises ValueError when a frame reaches past the data.
    """
    cdef Frames frames = Frames(chunk)
    cdef const uint8_t *data = frames.bytes_
    cdef const uint64_t *offset
    cdef const uint32_t *captured
    cdef const uint32_t *length
    cdef const uint16_t *link
    cdef uint64_t i, checksum = 0, count = frames.count, size = frames.size
    cdef uint64_t seeds[SEED_WORDS]
    cdef parser_t parser
    cdef packet_t p
    if count == 0 or size == 0:
        return 0
    offset, captured = &frames.offset[0], &frames.captured[0]
    length, link = &frames.length[0], &frames.link[0]
    memset(&p, 0, sizeof(packet_t))
    for i in range(SEED_WORDS):
        seeds[i] = i + 1
    parser_begin(&parser, seeds, 0, 0, TRACKER_PLAIN, 0)
    with nogil:
        for i in range(count):
            if offset[i] > size or size - offset[i] < captured[i]:
                with gil:
                    raise ValueError(f"chunk: frame {i} reaches past the data")
            frame_expect(data, offset, i, count)
            parse_frame(data + offset[i], captured[i], length[i], link[i], &parser, &p)
            checksum ^= p.hash + p.kind
    return checksum
