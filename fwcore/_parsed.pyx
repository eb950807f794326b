"""Frames parsed beforehand, in a thread beside the one that judges: the other core's half.

    reader's thread   Parsing.parse(chunk) -> Parsed      one line of the cache a frame
    judge             Chunk.parsed -> Loaded -> loop      which then reads no frame at all

Parsing changes nothing, and depends on nothing but the frame and the parser: what is found is what
the loop would find, by the same function.

Laws: what was parsed is taken only for the very arrays that it is of, and only by who would parse
alike (``parser_same``); for anything else the loop parses by itself. Nobody can write to it.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from fwcore.dataplane.frame cimport parser_t
from fwcore.dataplane.layout cimport PARSED_BYTES, SEED_WORDS, fw_prefetch, packet_t
from fwcore.dataplane.parse cimport parse_placed
from fwcore.errors import FrameError, refusing

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size)

cdef enum:
    AHEAD = 24               # frames whose bytes are on their way


cdef class Parsing:
    """How a fast path parses, for another thread (``FastPath.parsing``); rooms are used again, for
    new ones would cost as much as parsing does."""

    def __dealloc__(self):
        for i in range(SPARES):
            free(self.spare[i])

    @refusing(FrameError)
    def parse(self, chunk):
        """What the frames of a chunk are, as ``Parsed``. Raises FrameError, and MemoryError."""
        cdef Parsed made = Parsed.__new__(Parsed)
        if self.parser.seeds == NULL:
            raise FrameError("Parsing: what FastPath.parsing() gives is asked for")
        made.data, made.offset, made.captured = chunk.data, chunk.offset, chunk.captured
        made.length, made.link, made.parsing = chunk.length, chunk.link, self
        if not (made.offset.shape[0] == made.captured.shape[0] == made.length.shape[0]
                == made.link.shape[0]):
            raise FrameError("the arrays of a chunk must be of one length")
        made.room = <size_t>made.offset.shape[0] * PARSED_BYTES
        if made.room:
            made.packets = self.room(made.room)
            made.parse()
        return made

    cdef uint8_t *room(self, size_t bytes) except NULL:
        """So many bytes, on lines of the cache."""
        cdef void *found = NULL
        for i in range(SPARES):
            if self.spare[i] != NULL and self.spare_bytes[i] == bytes:
                found, self.spare[i] = self.spare[i], NULL
                return <uint8_t *>found
        if posix_memalign(&found, PARSED_BYTES, bytes):
            raise MemoryError(f"{bytes} bytes for parsed frames")
        return <uint8_t *>found

    cdef void give_back(self, uint8_t *room, size_t bytes) noexcept:
        for i in range(SPARES):
            if self.spare[i] == NULL:
                self.spare[i], self.spare_bytes[i] = room, bytes
                return
        free(room)


cdef class Parsed:
    """The frames of one chunk, parsed."""

    def __dealloc__(self):
        # Python clears what it finds in a circle before it lets go of it.
        if self.packets != NULL and self.parsing is not None:
            self.parsing.give_back(self.packets, self.room)
        else:
            free(self.packets)

    cdef void parse(self) noexcept:
        """=> there is a frame, and room for each"""
        cdef const uint8_t *data = &self.data[0] if self.data.shape[0] else NULL
        cdef const uint64_t *offset = &self.offset[0]
        cdef const uint32_t *captured = &self.captured[0]
        cdef const uint32_t *length = &self.length[0]
        cdef const uint16_t *link = &self.link[0]
        cdef const parser_t *parser = &self.parsing.parser
        cdef uint64_t i, size = self.data.shape[0], count = self.offset.shape[0]
        cdef packet_t p
        with nogil:
            for i in range(count):
                if i + AHEAD < count:
                    fw_prefetch(data + offset[i + AHEAD])
                parse_placed(data, size, offset[i], captured[i], length[i], link[i], parser, &p)
                memcpy(self.packets + i * PARSED_BYTES, &p, PARSED_BYTES)

    cdef bint of(self, const uint8_t[::1] data, const uint64_t[::1] offset,
                 const uint32_t[::1] captured, const uint32_t[::1] length,
                 const uint16_t[::1] link) noexcept:
        """Whether these are its frames. => there is a frame"""
        return (self.packets != NULL and self.offset.shape[0] == offset.shape[0]
                and self.data.shape[0] == data.shape[0]
                and (data.shape[0] == 0 or &self.data[0] == &data[0])
                and &self.offset[0] == &offset[0] and &self.captured[0] == &captured[0]
                and &self.length[0] == &length[0] and &self.link[0] == &link[0])


cdef Parsing parsing_by(const parser_t *parser):
    """A parser's twin, with seeds of its own, which outlives it."""
    cdef Parsing made = Parsing.__new__(Parsing)
    made.parser = parser[0]
    memcpy(made.seeds, parser.seeds, SEED_WORDS * sizeof(uint64_t))
    made.parser.seeds = made.seeds
    return made
