"""Frames as Python has them, side by side in memory: one pass, a copy of each byte and no more.

    frames  ──► bytes | anything with a buffer | a table uint8[n, w] | an iterable of such things
    times_ns ─► integers, or int64[n]                                      ──► Packed

A ``Packed`` is made once and filled again and again: an engine has one for ``process_frames``, and
``Chunk.from_frames`` takes NumPy arrays out of one. ``Borrowed`` has the frames of a caller in C,
where they are. Law: what was filled is whole, or a FrameError
named the frame, and it is empty.
"""

import numpy as np

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_Clear
from cpython.list cimport PyList_CheckExact
from cpython.ref cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from fwcore.dataplane.layout cimport TIME_MAX_NS

from fwcore.errors import DataError, EngineBusy, FrameError

cdef extern from *:
    """
    _Static_assert(sizeof(long) == 8, "PyLong_AsLong is quicker than AsLongLong by a hundred"
                   " instructions where a number has three digits, as every time of today has");
    """

cdef extern from "Python.h":
    bint PyLong_CheckExact(object thing)
    # of what a list or tuple holds, without a reference of our own: nobody else runs meanwhile
    long borrowed_number "PyLong_AsLong"(PyObject *number)
    bint borrowed_is_number "PyLong_CheckExact"(PyObject *thing)
    bint borrowed_is_bytes "PyBytes_CheckExact"(PyObject *thing)
    Py_ssize_t borrowed_size "PyBytes_GET_SIZE"(PyObject *frame)
    char *borrowed_data "PyBytes_AS_STRING"(PyObject *frame)
    Py_ssize_t PySequence_Fast_GET_SIZE(object items)
    PyObject **PySequence_Fast_ITEMS(object items)

cdef enum:
    NESTED = 8                     # iterables within iterables
    FRAME_BYTES = 0xFFFFFFFF       # what a frame's length holds
    LINK_MAX = 0xFFFF

cdef uint64_t FRAMES_MAX = <uint64_t>1 << 40

cdef int64_t LATEST_NS = TIME_MAX_NS
_PLENTY = "one of each per frame is asked for"


cdef int64_t whole(object number, str what, size_t place, int64_t highest) except -1:
    """An integer of 0..highest; FrameError names it otherwise."""
    cdef int64_t found
    try:
        if not PyLong_CheckExact(number):
            if isinstance(number, bool) or not hasattr(number, "__index__"):
                raise TypeError
            number = number.__index__()
        found = <long>number
    except (TypeError, OverflowError):
        found = -1
    if not 0 <= found <= highest:
        hint = ("integer nanoseconds of 0..2**62, as time.time_ns() gives them are asked for"
                if what == "time_ns" else f"an integer of 0..{highest} is asked for")
        raise FrameError(f"frame {place}: {what} {number!r}: {hint}")
    return found


cdef object _listed(str what, object numbers):
    """What can be gone through; FrameError otherwise."""
    if not hasattr(numbers, "__iter__"):
        raise FrameError(f"{what}: {type(numbers).__name__}: {_PLENTY}")
    return numbers


cdef class Packed:
    """Frames side by side. Empty at first; each ``pack`` replaces what there was."""

    def __dealloc__(self):
        free(self.data)
        free(self.offset)
        free(self.captured)
        free(self.length)
        free(self.time_ns)
        free(self.link)

    def __len__(self):
        return self.count

    def pack(self, frames, times_ns, lengths=None, link=1):
        """Fills it with frames, in order.

        ``frames``: an iterable of frames, of tables uint8[n, w] (a frame a row), or of iterables
        of such things, up to eight deep; or such a table. A frame is anything with a buffer.
        ``times_ns``: capture times, 0..2**62; ``lengths``: on the wire, by default a frame's own;
        ``link``: LINKTYPE, one or one a frame. Raises FrameError, and is empty then.
        """
        self.fill(frames, times_ns, lengths, link)

    cdef int fill(self, object frames, object times, object lengths, object link) except -1:
        if self.filling or self.held:
            raise EngineBusy("frames are being packed: who is asked for them may not call it")
        self.filling = True
        self.count = self.size = 0
        try:
            if PyObject_CheckBuffer(frames):
                self.check_count(frames, times)
                self.add_rows(frames)
            else:
                self.add_all(frames, 0)
            self.set_times(times)
            self.set_lengths(lengths)
            self.set_links(link)
        except BaseException:
            self.count = self.size = 0
            raise
        finally:
            self.filling = False
        return 0

    cdef int check_count(self, object rows, object times) except -1:
        """Before memory is taken for a table of frames: rows of no bytes may be any number."""
        shape = memoryview(rows).shape
        if shape and hasattr(times, "__len__") and len(shape) == 2 and len(times) != shape[0]:
            raise FrameError(f"{shape[0]} frames, {len(times)} times: {_PLENTY}")
        return 0

    # --- memory ---

    cdef int reserve(self, size_t bytes, size_t frames) except -1:
        """Room for so many frames more, and for their bytes."""
        cdef size_t wanted
        if frames > FRAMES_MAX - self.count:
            raise FrameError(f"{frames} frames are more than memory can hold")
        if self.room - self.size < bytes:
            wanted = max(self.size + bytes, 2 * self.room, 1 << 12)
            self.grow(<void **>&self.data, wanted)
            self.room = wanted
        if self.places - self.count < frames:
            wanted = max(self.count + frames, 2 * self.places, 64)
            for array, width in ((<size_t>&self.offset, 8), (<size_t>&self.captured, 4),
                                 (<size_t>&self.length, 4), (<size_t>&self.time_ns, 8),
                                 (<size_t>&self.link, 2)):
                self.grow(<void **><size_t>array, wanted * <size_t>width)
            self.places = wanted
        return 0

    cdef int check(self, size_t bytes) except -1:
        """Whether a frame may have so many."""
        if bytes > FRAME_BYTES:
            raise FrameError(f"frame {self.count}: {bytes} bytes are more than a frame may have")
        return 0

    cdef int grow(self, void **array, size_t bytes) except -1:
        cdef void *made = realloc(array[0], bytes)
        if made == NULL:
            raise MemoryError(f"frames: {bytes} bytes cannot be had")
        array[0] = made
        return 0

    # --- frames ---

    cdef void put(self, const void *data, size_t size) noexcept:
        """=> there is room for it, and it was checked"""
        if size:
            memcpy(self.data + self.size, data, size)
        self.offset[self.count] = self.size
        self.captured[self.count] = <uint32_t>size
        self.count += 1
        self.size += size

    cdef int add(self, const void *data, size_t size) except -1:
        self.check(size)
        self.reserve(size, 1)
        self.put(data, size)
        return 0

    cdef int add_rows(self, object rows) except -1:
        """A table of bytes, a frame a row."""
        cdef Py_buffer view
        cdef size_t row, count, width
        table = memoryview(rows)
        if table.ndim != 2 or table.itemsize != 1:
            raise FrameError(
                f"frames: {type(rows).__name__} is one frame, or none; give a list of them, or"
                " uint8[n, width]")
        PyObject_GetBuffer(table if table.c_contiguous else np.ascontiguousarray(table), &view,
                           PyBUF_C_CONTIGUOUS)
        try:
            count, width = view.shape[0], view.shape[1]
            if count:
                self.check(width)
            self.reserve(count * width, count)
            for row in range(count):
                self.put(<const uint8_t *>view.buf + row * width, width)
        finally:
            PyBuffer_Release(&view)
        return 0

    cdef int add_one(self, object item, int depth) except -1:
        """A frame, a table of them, or what gives some."""
        cdef Py_buffer view
        if PyBytes_CheckExact(item):
            return self.add(PyBytes_AS_STRING(item), PyBytes_GET_SIZE(item))
        if not PyObject_CheckBuffer(item):
            if isinstance(item, str) or not hasattr(item, "__iter__") or depth == NESTED:
                raise FrameError(f"frame {self.count}: {type(item).__name__} has no bytes; give"
                                 " bytes, a memoryview or a NumPy row")
            return self.add_all(item, depth + 1)
        try:
            PyObject_GetBuffer(item, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        except (BufferError, ValueError):
            item = np.ascontiguousarray(item)
            PyObject_GetBuffer(item, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        try:
            if view.itemsize != 1:
                raise FrameError(f"frame {self.count}: its items have {view.itemsize} bytes; one"
                                 " each is asked for (uint8)")
            if view.ndim <= 1:
                return self.add(view.buf, view.len)
        finally:
            PyBuffer_Release(&view)
        return self.add_rows(item)

    cdef int add_all(self, object items, int depth) except -1:
        if PyList_CheckExact(items) or PyTuple_CheckExact(items):
            return self.add_list(items, depth)
        if isinstance(items, str) or not hasattr(items, "__iter__"):
            raise FrameError(f"frames: {type(items).__name__} are none; give a list of bytes")
        for item in items:
            self.add_one(item, depth)
        return 0

    cdef int add_list(self, object items, int depth) except -1:
        """The same of a list or tuple; a frame that is no bytes may change it when it is asked."""
        cdef Py_ssize_t at = 0, count
        while at < PySequence_Fast_GET_SIZE(items):
            count = self.add_bytes(
                PySequence_Fast_ITEMS(items) + at, PySequence_Fast_GET_SIZE(items) - at)
            if count == 0:
                self.add_one(items[at], depth)
            at += count or 1
        return 0

    cdef Py_ssize_t add_bytes(self, PyObject **items, Py_ssize_t count) except -1:
        """Frames up to the first that is no bytes, or too long: how many. Nobody is asked."""
        cdef Py_ssize_t found = 0, i
        cdef size_t size = 0
        while (found < count and borrowed_is_bytes(items[found])
               and borrowed_size(items[found]) <= FRAME_BYTES):
            size += borrowed_size(items[found])
            found += 1
        self.reserve(size, found)
        for i in range(found):
            self.put(borrowed_data(items[i]), borrowed_size(items[i]))
        return found

    # --- what goes with them ---

    cdef int set_times(self, object times) except -1:
        cdef const int64_t[::1] given
        cdef size_t place = 0
        cdef int64_t at_ns
        if isinstance(times, np.ndarray) and times.dtype == np.int64 and times.ndim == 1:
            given = np.ascontiguousarray(times)
            if <size_t>given.shape[0] != self.count:
                raise FrameError(f"{self.count} frames, {given.shape[0]} times: {_PLENTY}")
            for place in range(self.count):
                at_ns = given[place]
                if not 0 <= at_ns <= LATEST_NS:
                    whole(at_ns, "time_ns", place, LATEST_NS)
                self.time_ns[place] = at_ns
            return 0
        if PyList_CheckExact(times) or PyTuple_CheckExact(times):
            return self.set_times_list(times)
        for number in _listed("times_ns", times):
            if place == self.count:
                raise FrameError(f"{self.count} frames, and more times: {_PLENTY}")
            self.time_ns[place] = whole(number, "time_ns", place, LATEST_NS)
            place += 1
        if place != self.count:
            raise FrameError(f"{self.count} frames, {place} times: {_PLENTY}")
        return 0

    cdef int set_times_list(self, object times) except -1:
        """The same of a list or tuple; a time that is no int may change it when it is asked."""
        cdef size_t place
        cdef int64_t at_ns
        cdef PyObject *number
        for place in range(self.count):
            if <size_t>PySequence_Fast_GET_SIZE(times) <= place:
                raise FrameError(f"{self.count} frames, {place} times: {_PLENTY}")
            number = PySequence_Fast_ITEMS(times)[place]
            at_ns = -1
            if borrowed_is_number(number):
                at_ns = borrowed_number(number)
            if not 0 <= at_ns <= LATEST_NS:
                PyErr_Clear()
                at_ns = whole(times[place], "time_ns", place, LATEST_NS)
            self.time_ns[place] = at_ns
        if <size_t>PySequence_Fast_GET_SIZE(times) > self.count:
            raise FrameError(f"{self.count} frames, and more times: {_PLENTY}")
        return 0

    cdef int set_lengths(self, object lengths) except -1:
        cdef size_t place = 0
        if lengths is None:
            if self.count:
                memcpy(self.length, self.captured, 4 * self.count)
            return 0
        for number in _listed("lengths", lengths):
            if place == self.count:
                raise FrameError(f"{self.count} frames, and more lengths: {_PLENTY}")
            self.length[place] = <uint32_t>whole(number, "length", place, FRAME_BYTES)
            place += 1
        if place != self.count:
            raise FrameError(f"{self.count} frames, {place} lengths: {_PLENTY}")
        return 0

    cdef int set_links(self, object link) except -1:
        cdef size_t place = 0
        cdef uint16_t one
        if PyLong_CheckExact(link) or not hasattr(link, "__iter__"):
            one = <uint16_t>whole(link, "link", 0, LINK_MAX)
            for place in range(self.count):
                self.link[place] = one
            return 0
        for number in link:
            if place == self.count:
                raise FrameError(f"{self.count} frames, and more links: {_PLENTY}")
            self.link[place] = <uint16_t>whole(number, "link", place, LINK_MAX)
            place += 1
        if place != self.count:
            raise FrameError(f"{self.count} frames, {place} links: {_PLENTY}")
        return 0

    def arrays(self):
        """(data, offset, captured, length, time_ns, link) of a Chunk, as NumPy arrays: copies."""
        cdef size_t n = self.count
        if n == 0:
            return tuple(np.zeros(0, dtype) for dtype in (
                np.uint8, np.uint64, np.uint32, np.uint32, np.int64, np.uint16))
        data = (np.array(<uint8_t[:self.size]>self.data) if self.size
                else np.zeros(0, np.uint8))
        return (data, np.array(<uint64_t[:n]>self.offset), np.array(<uint32_t[:n]>self.captured),
                np.array(<uint32_t[:n]>self.length), np.array(<int64_t[:n]>self.time_ns),
                np.array(<uint16_t[:n]>self.link))


cdef object frame_fault(
    uint64_t place, uint64_t offset, uint32_t captured, int64_t time_ns, uint64_t size,
):
    """What is wrong with the frame that ``frames_check`` found, as FrameError."""
    if 0 <= time_ns <= LATEST_NS:
        return FrameError(f"chunk: frame {place} (offset {offset}, captured {captured}) reaches"
                          f" past the {size} bytes of data")
    return FrameError(f"chunk: frame {place}: time_ns {time_ns} is outside 0..2**62 ns")


cdef class Borrowed(Packed):
    """Frames that a caller in C has, and keeps where they are while they are judged."""

    def __dealloc__(self):
        self.data, self.offset, self.captured, self.length = NULL, NULL, NULL, NULL  # not ours
        self.time_ns, self.link = NULL, NULL

    def pack(self, frames, times_ns, lengths=None, link=1):
        """Raises DataError: the memory is somebody else's."""
        raise DataError("frames that were lent are not packed")

    cdef int lend(
        self, const uint8_t *data, uint64_t size, const uint64_t *offset, const uint32_t *captured,
        const uint32_t *length, const int64_t *time_ns, const uint16_t *link, uint64_t count,
    ) except -1:
        """Once: takes them as they are. Raises FrameError, and is empty then."""
        cdef uint64_t bad
        if count > FRAMES_MAX:
            raise FrameError(f"chunk: {count} frames are more than memory can hold")
        if count == 0:
            return 0
        if (offset == NULL or captured == NULL or length == NULL or time_ns == NULL or link == NULL
                or (data == NULL and size)):
            raise FrameError("chunk: an array is NULL")
        with nogil:
            bad = frames_check(offset, captured, time_ns, count, size)
        if bad < count:
            raise frame_fault(bad, offset[bad], captured[bad], time_ns[bad], size)
        self.data, self.size = <uint8_t *>data, size
        self.offset, self.captured = <uint64_t *>offset, <uint32_t *>captured
        self.length, self.time_ns = <uint32_t *>length, <int64_t *>time_ns
        self.link, self.count = <uint16_t *>link, count
        return 0
