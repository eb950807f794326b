"""What is loaded: the arrays of a chunk, or frames that were packed, looked at and held.

    chunk, outcome, flow, reply ──hold──► chunk_t: pointers, which outlive the runs over it
    Packed ─────────────────────lend──┘

Laws: nothing is loaded, or all of it was looked at; what is loaded is held until it is let go of;
what is written lies apart from what is read.
"""

import numpy as np

from libc.stdint cimport uint16_t, uint64_t
from libc.string cimport memset

from fwcore._pack cimport Packed, frame_fault, frames_check
from fwcore._parsed cimport Frames, Parsed
from fwcore.dataplane.frame cimport chunk_t, parser_same, parser_t
from fwcore.errors import FrameError

COLUMNS = (("data", np.uint8), ("offset", np.uint64), ("captured", np.uint32),
           ("length", np.uint32), ("time_ns", np.int64), ("link", np.uint16))


cdef object _array_fault(str name, array, dtype, count):
    """What is wrong with an array of a chunk, as FrameError; None: nothing."""
    wanted = np.dtype(dtype)
    if not isinstance(array, np.ndarray):
        return FrameError(f"{name}: {type(array).__name__} is no NumPy array of {wanted}")
    if array.dtype != wanted:
        hint = ": times are integer nanoseconds, as time.time_ns() gives them"
        return FrameError(
            f"{name}: {array.dtype} instead of {wanted}{hint if wanted == np.int64 else ''}")
    if array.ndim != 1 or not array.flags.c_contiguous:
        return FrameError(f"{name}: one axis, C-contiguous, is asked for: np.ascontiguousarray")
    if count is not None and len(array) != count:
        return FrameError(f"{name}: its length is {len(array)}, and the chunk has {count} frames")
    return None


cdef struct span_t:
    size_t begin, end


cdef inline span_t _span(const void *at, size_t bytes) noexcept:
    """The addresses of an array; none of it where it is NULL."""
    cdef span_t span
    span.begin = <size_t>at
    span.end = span.begin + (bytes if at != NULL else 0)
    return span


cdef enum:
    SPANS = 9   # arrays of a chunk: three that are written, six that are read


cdef int _check_apart(const chunk_t *c, size_t count) except -1:
    """What is written into what is read would be judged: FrameError names the two."""
    cdef span_t[SPANS] spans = [
        _span(c.outcome, 2 * count), _span(c.flow, 8 * count), _span(c.reply, count),
        _span(c.data, c.size), _span(c.offset, 8 * count), _span(c.captured, 4 * count),
        _span(c.length, 4 * count), _span(c.time_ns, 8 * count), _span(c.link, 2 * count)]
    cdef size_t i, j
    for i in range(3):
        for j in range(i + 1, 9):
            if spans[i].begin < spans[j].end and spans[j].begin < spans[i].end:
                names = ("outcome", "flow", "reply", *(name for name, _ in COLUMNS))
                raise FrameError(f"{names[i]}: it is written to, and shares memory with"
                                 f" {names[j]}: give an array of its own")
    return 0


cdef object _chunk_fault(chunk, outcome, flow, reply):
    """What is wrong with what ``load`` was given, as FrameError."""
    for name, _ in COLUMNS:
        if not hasattr(chunk, name):
            return FrameError(
                f"{type(chunk).__name__} is no chunk: it has no {name}; frames given as bytes go"
                " to process_frames, or through Chunk.from_frames")
    count = len(chunk.offset) if isinstance(chunk.offset, np.ndarray) else None
    for name, dtype in COLUMNS:
        fault = _array_fault(f"chunk.{name}", getattr(chunk, name), dtype,
                             None if name == "data" else count)
        if fault is not None:
            return fault
    for name, array, dtype in (("outcome", outcome, np.uint16), ("flow", flow, np.uint64),
                               ("reply", reply, np.uint8)):
        if array is None and name != "outcome":
            continue
        fault = _array_fault(name, array, dtype, count)
        if fault is not None:
            return fault
        if not array.flags.writeable:
            return FrameError(f"{name}: it is written to, and this array is read-only")
    return FrameError("chunk: its arrays cannot be used")


cdef class Loaded:
    """Frames that are loaded, and where what is found of them is written."""

    cdef int hold(self, chunk, outcome, flow, reply) except -1:
        """Takes what ``FastPath.load`` is given; FrameError, and nothing is loaded."""
        self.let_go()
        self.holds = True
        try:
            if isinstance(chunk, Packed):
                self._hold_packed(chunk, outcome, flow, reply)
            else:
                self._hold(chunk, outcome, flow, reply)
        except FrameError:
            self.let_go()
            raise
        except (AttributeError, TypeError, ValueError, BufferError):
            self.let_go()
            raise _chunk_fault(chunk, outcome, flow, reply) from None
        return 0

    cdef int _hold(self, chunk, outcome, flow, reply) except -1:
        """The arrays of a chunk, checked."""
        cdef chunk_t *to = &self.c
        cdef uint64_t count, bad
        cdef Frames frames = Frames(chunk)
        self.frames, self.time_ns = frames, chunk.time_ns
        self.outcome, self.flow, self.reply = outcome, flow, reply
        count = frames.count
        if not <Py_ssize_t>count == self.time_ns.shape[0] == self.outcome.shape[0]:
            raise _chunk_fault(chunk, outcome, flow, reply)
        if ((flow is not None and self.flow.shape[0] != <Py_ssize_t>count)
                or (reply is not None and self.reply.shape[0] != <Py_ssize_t>count)):
            raise _chunk_fault(chunk, outcome, flow, reply)
        if count == 0:
            return 0
        to.data, to.size, to.offset = frames.bytes_, frames.size, &frames.offset[0]
        to.captured, to.length, to.link = &frames.captured[0], &frames.length[0], &frames.link[0]
        to.time_ns, to.outcome = &self.time_ns[0], &self.outcome[0]
        to.flow = NULL if flow is None else &self.flow[0]
        to.reply = NULL if reply is None else &self.reply[0]
        _check_apart(to, count)
        with nogil:
            bad = frames_check(to.offset, to.captured, to.time_ns, count, to.size)
        if bad < count:
            raise frame_fault(
                bad, to.offset[bad], to.captured[bad], to.time_ns[bad], to.size)
        to.count = count
        parsed = getattr(chunk, "parsed", None)
        if isinstance(parsed, Parsed) and (<Parsed>parsed).of(frames):
            self.parsed = parsed
        return 0

    cdef void trust(self, const parser_t *parser) noexcept:
        """What was parsed beforehand is taken where this parser would find the same."""
        self.c.parsed = NULL
        if self.parsed is not None and parser_same(&self.parsed.parsing.parser, parser):
            self.c.parsed = self.parsed.packets

    cdef int _hold_packed(self, Packed packed, outcome, flow, reply) except -1:
        """Frames that were packed: every place and time was looked at then."""
        self.outcome, self.flow, self.reply = outcome, flow, reply
        if (<size_t>self.outcome.shape[0] != packed.count
                or (flow is not None and <size_t>self.flow.shape[0] != packed.count)
                or (reply is not None and <size_t>self.reply.shape[0] != packed.count)):
            raise FrameError(f"outcome, flow, reply: the frames are {packed.count}")
        self.lend(packed, &self.outcome[0] if packed.count else NULL)
        if packed.count:
            self.c.flow = NULL if flow is None else &self.flow[0]
            self.c.reply = NULL if reply is None else &self.reply[0]
            _check_apart(&self.c, packed.count)
        return 0

    cdef void lend(self, Packed packed, uint16_t *outcome) noexcept:
        """=> nothing is loaded; outcome outlives it."""
        cdef chunk_t *to = &self.c
        self.packed = packed
        packed.held += 1
        to.size, to.data = packed.size, packed.data
        to.offset, to.captured, to.length = packed.offset, packed.captured, packed.length
        to.time_ns, to.link, to.outcome = packed.time_ns, packed.link, outcome
        to.count = packed.count

    cdef void let_go(self) noexcept:
        """Nothing is loaded."""
        if self.packed is not None:
            self.packed.held -= 1
            self.packed = None
        memset(&self.c, 0, sizeof(chunk_t))
        if not self.holds:
            return
        self.holds = False
        self.frames = self.parsed = None
        self.time_ns = self.outcome = self.flow = self.reply = None
