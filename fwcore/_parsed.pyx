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

from fwcore.dataplane.frame cimport frame_expect, parser_t
from fwcore.dataplane.layout cimport PARSED_BYTES, SEED_WORDS, packet_t
from fwcore.dataplane.parse cimport parse_placed
from fwcore.errors import FrameError, refusing

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size)


cdef class Frames:
    """The arrays that the frames of a chunk are read from. ValueError, TypeError and AttributeError
    for what is no chunk; nobody has looked at the frames' places."""

    def __cinit__(self, chunk):
        self.data, self.offset, self.captured = chunk.data, chunk.offset, chunk.captured
        self.length, self.link = chunk.length, chunk.link
        self.count, self.size = self.offset.shape[0], self.data.shape[0]
        self.bytes_ = &self.data[0] if self.size else NULL
        if not (self.captured.shape[0] == self.length.shape[0] == self.link.shape[0]
                == self.offset.shape[0]):
            raise ValueError("the arrays of a chunk differ in length")

    cdef bint same(self, Frames other) noexcept:
        """Whether these are the others' arrays. => there is a frame"""
        return (self.count == other.count and self.size == other.size
                and self.bytes_ == other.bytes_ and &self.offset[0] == &other.offset[0]
                and &self.captured[0] == &other.captured[0]
                and &self.length[0] == &other.length[0] and &self.link[0] == &other.link[0])


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
        made.frames, made.parsing = Frames(chunk), self
        if made.frames.count:
            # Of the last one, too, all that a packet has may be written.
            made.room = (made.frames.count - 1) * PARSED_BYTES + sizeof(packet_t)
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
        cdef const uint8_t *data = self.frames.bytes_
        cdef const uint64_t *offset = &self.frames.offset[0]
        cdef const uint32_t *captured = &self.frames.captured[0]
        cdef const uint32_t *length = &self.frames.length[0]
        cdef const uint16_t *link = &self.frames.link[0]
        cdef const parser_t *parser = &self.parsing.parser
        cdef uint64_t i, size = self.frames.size, count = self.frames.count
        cdef packet_t *p
        with nogil:
            # In order: what a fragment has beyond PARSED_BYTES goes where the next one will stand.
            # A copy of each would wait for the narrow stores it is made of.
            for i in range(count):
                frame_expect(data, offset, i, count)
                p = <packet_t *>(self.packets + i * PARSED_BYTES)
                parse_placed(data, size, offset[i], captured[i], length[i], link[i], parser, p)

    cdef bint of(self, Frames frames) noexcept:
        """Whether these are its frames. => there is a frame"""
        return self.packets != NULL and self.frames.same(frames)


cdef Parsing parsing_by(const parser_t *parser):
    """A parser's twin, with seeds of its own, which outlives it."""
    cdef Parsing made = Parsing.__new__(Parsing)
    made.parser = parser[0]
    memcpy(made.seeds, parser.seeds, SEED_WORDS * sizeof(uint64_t))
    made.parser.seeds = made.seeds
    return made
