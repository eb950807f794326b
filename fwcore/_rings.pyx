"""Rings of one or two interfaces: frames in without a copy, out by batches (see dataplane/rings.h).

    take()  -> number of frames; their places in data, offset, captured, length, time_ns, link
    send(outcome uint8[n, 2])   what may pass goes out of the other interface; blocks go back
    leave(...)                  the same where links hold frames back, or marks are written
    wait(timeout_ns)            until frames, an error or wake()

The arrays are the same in every batch, and so is their memory: after ``send`` the kernel writes
there. Nothing here runs per frame in Python; every call lets go of the GIL.
"""

import errno as _errno
import os as _os
import socket as _socket

import numpy as np

from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fwcore.dataplane.frame cimport parser_begin, parser_t
from fwcore.dataplane.layout cimport SEED_WORDS, TRACKER_PLAIN
from fwcore.dataplane.mark cimport frame_mark
from fwcore.dataplane.shaping cimport MARK_CE_ALONE
from fwcore.errors import DataError, LiveError

cdef extern from "dataplane/rings.h" nogil:
    enum:
        PORTS_MAX
        PORT_COUNTER_COUNT
        ETHTOOL_GTSO
        ETHTOOL_GGSO
        ETHTOOL_GGRO
        ETHTOOL_GFLAGS
        IFF_UP
        IFNAMSIZ
        LINK_ETHERNET
        BATCH_MAX
        DELAYS
        DELAY_STEPS
        SLOT_BYTES
        SLOTS
        CLOCK_REALTIME
        CLOCK_MONOTONIC
    const char *const PORT_COUNTERS[]
    ctypedef struct port_counters_t:
        pass
    ctypedef struct port_t:
        int fd
        int ifindex
        int last_errno
        int slots
        uint8_t *blocks
        uint32_t block_bytes
        uint32_t blocks_count "count"
        port_counters_t counted "is"
    ctypedef struct waiting_t:
        uint32_t captured, length, front
        uint8_t *bytes
    ctypedef struct waits_t:
        uint64_t count
    waiting_t *waits_find(const waits_t *w, uint64_t packet)
    void waits_clear(waits_t *w)
    ctypedef struct departing_t:
        const uint64_t *packet
        const int64_t *due_ns
        const uint8_t *sent
        uint64_t rows
    ctypedef struct rings_t:
        port_t port[PORTS_MAX]
        uint32_t ports
        uint32_t count
        int wake_fd
        uint8_t *base
        uint64_t bytes
        uint64_t *offset
        uint32_t *captured
        uint32_t *length
        int64_t *time_ns
        uint64_t *delay
        int64_t begin_ns
        int64_t steady_ns
        int64_t last_ns
        waits_t waits
    int64_t clock_ns(int which)
    int port_open(port_t *p, uint32_t block_bytes, uint32_t blocks, uint32_t retire_ms,
                  int both_ways, const char **what)
    int port_bind(port_t *p, int ifindex)
    int port_bound(const port_t *p)
    int port_deafen(port_t *p)
    int port_error(port_t *p)
    void port_count(port_t *p)
    int rings_map(rings_t *r)
    int64_t rings_now(const rings_t *r)
    uint32_t rings_take(rings_t *r, uint32_t limit)
    void rings_give(rings_t *r)
    void rings_send(rings_t *r, const uint8_t *outcome)
    void rings_leave(rings_t *r, uint64_t first, const uint8_t *kept, const departing_t *d)
    uint64_t rings_forsake(rings_t *r)
    int rings_wait(rings_t *r, int64_t timeout_ns)
    uint64_t rings_forward(rings_t *r, int64_t until_ns)
    int interface_feature(const char *name, uint32_t command)
    int interface_ask(const char *name, int *ifindex, int *flags, int *kind, int *mtu)

cdef extern from "<sys/mman.h>" nogil:
    int munmap(void *address, size_t bytes)


BATCH = BATCH_MAX               # frames that one take gives at most
COUNTERS = tuple((<bytes>PORT_COUNTERS[i]).decode() for i in range(PORT_COUNTER_COUNT))
FRAMES, ERROR, WOKEN = 3, 3 << 8, 1 << 16     # bits of wait
LOOPBACK = 772          # ARPHRD_LOOPBACK
ETHERNET = (1, LOOPBACK)        # kinds of interface with an Ethernet header; 1: ARPHRD_ETHER
# What a card or the kernel does to frames on their way in, by the names of ethtool -k.
OFFLOADS = (("generic-receive-offload", ETHTOOL_GGRO), ("large-receive-offload", ETHTOOL_GFLAGS),
            ("tcp-segmentation-offload", ETHTOOL_GTSO),
            ("generic-segmentation-offload", ETHTOOL_GGSO))


cdef class Interface:
    """What the system says of an interface: ``index``, ``up``, ``kind`` (ARPHRD), ``mtu``.

    Raises LiveError when there is none of this name.
    """

    cdef readonly object name
    cdef readonly int index, kind, mtu
    cdef readonly bint up

    def __init__(self, name):
        cdef int index = 0, flags = 0, kind = 0, mtu = 0, code
        cdef bytes text = _os.fsencode(name)
        if not 0 < len(text) < IFNAMSIZ or b"/" in text or b"\0" in text:
            raise LiveError(f"{name!r} is no name of an interface")
        code = interface_ask(text, &index, &flags, &kind, &mtu)
        if code == _errno.ENODEV:
            raise LiveError(f"{name}: there is no such interface")
        if code:
            raise LiveError(f"{name}: {_os.strerror(code)}")
        self.name, self.index, self.kind, self.mtu = name, index, kind, mtu
        self.up = bool(flags & IFF_UP)

    @property
    def offloads(self):
        """Names of offloads by which a frame here may be more than what was on the wire."""
        text = _os.fsencode(self.name)
        return tuple(name for name, command in OFFLOADS if interface_feature(text, command) == 1)


cdef class _Blocks:
    """The blocks' memory, for as long as somebody has an array of it."""

    cdef uint8_t *memory
    cdef uint64_t bytes

    def __reduce__(self):
        raise TypeError("a ring's memory is not copied")

    def __dealloc__(self):
        if self.memory != NULL:
            munmap(self.memory, self.bytes)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.memory, self.bytes, 1, flags)


cdef class Rings:
    """Rings of the interfaces ``names``: two, between which frames pass, or one that is read: what
    comes in there, and what leaves.

    ``data`` uint8[bytes], read-only: the blocks of all rings. ``offset`` uint64[BATCH],
    ``captured`` and ``length`` uint32[BATCH], ``time_ns`` int64[BATCH], ``link`` uint16[BATCH]:
    the first ``take()`` of each are the batch. ``ring_bytes``: memory of one ring, a multiple of
    ``block_bytes``. ``retire_ms``: a frame waits at most so long in a block that is not full; so a
    ring bridges a pause of ``retire_ms`` a block at least, however few frames there are.
    ``at_once``: a frame is seen as soon as it is there; a ring then holds only as many frames, of
    any size, as 68 KiB go into ``ring_bytes``.

    ``bound``: number and name of each of ``names`` when ``heal`` last saw it.

    Raises LiveError: no such interface, not permitted, no memory, a kernel that is too old.
    """

    cdef rings_t r
    cdef _Blocks blocks
    cdef readonly tuple names
    cdef readonly dict bound
    cdef readonly object data, offset, captured, length, time_ns, link
    cdef uint64_t[::1] _offset
    cdef uint32_t[::1] _captured
    cdef uint32_t[::1] _length
    cdef int64_t[::1] _time_ns

    def __cinit__(self):
        memset(&self.r, 0, sizeof(rings_t))
        for i in range(PORTS_MAX):
            self.r.port[i].fd = -1
        self.r.wake_fd = -1

    def __init__(self, names, *, ring_bytes=32 << 20, block_bytes=1 << 17, retire_ms=1,
                 at_once=False):
        cdef port_t *port
        cdef const char *what = NULL
        cdef int code
        if self.names is not None:
            raise DataError("Rings: made already")
        self.names = tuple(names)
        if not 1 <= len(self.names) <= PORTS_MAX or len(set(self.names)) != len(self.names):
            raise LiveError("two different interfaces, or one, are asked for")
        if block_bytes % 4096 or not 1 << 17 <= block_bytes <= 1 << 24 or not (
                2 * block_bytes <= ring_bytes <= 1 << 32) or not 1 <= retire_ms <= 1000:
            raise DataError("Rings: ring_bytes, block_bytes or retire_ms is out of range")
        interfaces = [Interface(name) for name in self.names]
        self.bound = {each.name: (each.index, each.name) for each in interfaces}
        for each in interfaces:
            if each.kind not in ETHERNET:
                raise LiveError(f"{each.name}: its frames are not Ethernet (kind {each.kind})")
        self.r.ports = <uint32_t>len(self.names)
        blocks = ring_bytes // block_bytes
        if at_once:
            blocks = max(1, ring_bytes // (SLOT_BYTES * SLOTS)) * SLOTS
        for i, each in enumerate(interfaces):
            port = &self.r.port[<int>i]
            port.slots = bool(at_once)
            # What is only read is seen as by tcpdump; what leaves by loopback comes back anyway.
            code = port_open(port, block_bytes, blocks, retire_ms,
                             len(interfaces) == 1 and each.kind != LOOPBACK, &what)
            if code in (_errno.EPERM, _errno.EACCES):
                raise LiveError(
                    f"{each.name}: not permitted: frames of an interface need root or CAP_NET_RAW")
            if code:
                raise LiveError(f"{each.name}: {(<bytes>what).decode()}: {_os.strerror(code)}")
        code = rings_map(&self.r)
        self.blocks = _Blocks()
        self.blocks.memory, self.blocks.bytes = self.r.base, self.r.bytes
        if code:
            raise LiveError(f"memory of the rings: {_os.strerror(code)}")
        self._arrays()
        self.r.wake_fd = _os.eventfd(0, _os.EFD_CLOEXEC | _os.EFD_NONBLOCK)
        for i, each in enumerate(interfaces):
            code = port_bind(&self.r.port[<int>i], each.index)
            if code and code != _errno.ENETDOWN:
                raise LiveError(f"{each.name}: cannot be bound: {_os.strerror(code)}")
        self.r.begin_ns = clock_ns(CLOCK_REALTIME)
        self.r.steady_ns = clock_ns(CLOCK_MONOTONIC)

    cdef int _arrays(self) except -1:
        self.data = np.asarray(self.blocks)
        self.offset = self._offset = np.zeros(BATCH_MAX, np.uint64)
        self.captured = self._captured = np.zeros(BATCH_MAX, np.uint32)
        self.length = self._length = np.zeros(BATCH_MAX, np.uint32)
        self.time_ns = self._time_ns = np.zeros(BATCH_MAX, np.int64)
        self.link = np.full(BATCH_MAX, LINK_ETHERNET, np.uint16)
        self.r.offset, self.r.captured = &self._offset[0], &self._captured[0]
        self.r.length, self.r.time_ns = &self._length[0], &self._time_ns[0]
        return 0

    def __dealloc__(self):
        self._close()
        waits_clear(&self.r.waits)

    cdef void _close(self) noexcept:
        for i in range(PORTS_MAX):
            if self.r.port[i].fd >= 0:
                _os.close(self.r.port[i].fd)
            self.r.port[i].fd = -1
            self.r.port[i].ifindex = 0
        if self.r.wake_fd >= 0:
            _os.close(self.r.wake_fd)
        self.r.wake_fd = -1

    def close(self):
        """Lets go of the interfaces; figures stay. A second time is no error."""
        for i in range(self.r.ports):
            port_count(&self.r.port[i])
        self.r.count = 0
        self._close()

    # --- a batch ---

    def take(self, uint32_t limit=BATCH_MAX):
        """The frames that wait, at most ``limit``, by time; how many.

        Raises DataError when the batch before was not sent.
        """
        cdef uint32_t count
        if self.r.count:
            raise DataError("take: the batch before has not been sent")
        if limit > BATCH_MAX:
            limit = BATCH_MAX
        with nogil:
            count = rings_take(&self.r, limit)
        return count

    def send(self, const uint8_t[:, ::1] outcome):
        """Sends what is not dropped out of the other interface; the batch is done with.

        ``outcome``: uint8[n, 2], verdict and reason of the n frames of the batch. Raises DataError.
        """
        if outcome.shape[0] != self.r.count or outcome.shape[1] != 2:
            raise DataError(
                f"send: {outcome.shape[0]} outcomes for a batch of {self.r.count} frames")
        if self.r.count == 0:
            return
        with nogil:
            rings_send(&self.r, &outcome[0, 0])

    def leave(
        self, uint64_t first, const uint8_t[::1] kept, const uint64_t[::1] packet,
        const int64_t[::1] due_ns, const uint8_t[::1] sent, const uint8_t[::1] mark,
    ):
        """Instead of ``send``: frames of the batch wait, leave or are dropped, and some of earlier
        batches leave. Also without a batch.

        ``first``: number of the batch's first packet, numbers follow each other; ``kept``:
        uint8[n], frames that wait. Rows in the order in which they leave: ``packet`` their numbers,
        ``due_ns`` when (as ``now_ns`` counts), ``sent`` 0 for one that was dropped while it waited,
        ``mark`` as ``mark_frames`` has it, 255: none. What is neither kept nor in a row is
        dropped. Raises DataError.
        """
        cdef departing_t d
        cdef Py_ssize_t rows = packet.shape[0]
        cdef const uint8_t *keep = NULL
        if self.r.ports != 2:
            raise DataError("leave: two interfaces are asked for")
        if kept.shape[0] != self.r.count:
            raise DataError(
                f"leave: {kept.shape[0]} frames for a batch of {self.r.count}")
        if not rows == due_ns.shape[0] == sent.shape[0] == mark.shape[0]:
            raise DataError("leave: columns of different lengths")
        if first > <uint64_t>1 << 63:
            raise DataError(f"leave: packet {first} is not below 2**63")
        d.rows = <uint64_t>rows
        if rows:
            d.packet, d.due_ns, d.sent = &packet[0], &due_ns[0], &sent[0]
        if kept.shape[0]:
            keep = &kept[0]
        with nogil:
            self._mark(first, packet, mark)
            rings_leave(&self.r, first, keep, &d)

    cdef void _mark(
        self, uint64_t first, const uint64_t[::1] packet, const uint8_t[::1] mark,
    ) noexcept nogil:
        """Marks are written where the frames lie: nobody reads them here afterwards."""
        cdef parser_t parser
        cdef uint64_t keys[SEED_WORDS]
        cdef waiting_t *w
        cdef Py_ssize_t row
        cdef uint64_t i
        memset(keys, 0, sizeof(keys))
        parser_begin(&parser, keys, False, 0, TRACKER_PLAIN, False)
        for row in range(packet.shape[0]):
            if mark[row] > MARK_CE_ALONE:
                continue
            i = packet[row] - first
            if i < self.r.count:
                frame_mark(self.r.base + self.r.offset[i], self.r.captured[i], self.r.length[i],
                           LINK_ETHERNET, &parser, mark[row])
                continue
            w = waits_find(&self.r.waits, packet[row])
            if w != NULL:
                frame_mark(w.bytes + w.front, w.captured, w.length, LINK_ETHERNET, &parser,
                           mark[row])

    @property
    def waiting(self):
        """Frames that links hold back."""
        return self.r.waits.count

    def forsake(self):
        """Drops what waits (``withheld``); how many frames."""
        return rings_forsake(&self.r)

    def wait(self, int64_t timeout_ns):
        """Until there are frames, an error or a wake-up; bits FRAMES, ERROR, WOKEN; 0: none."""
        cdef int found
        if timeout_ns < 0:
            timeout_ns = 0
        with nogil:
            found = rings_wait(&self.r, timeout_ns)
        if found & WOKEN:
            try:
                _os.eventfd_read(self.r.wake_fd)
            except BlockingIOError:
                pass
        return found

    def wake(self):
        """Ends a wait, also from another thread."""
        if self.r.wake_fd >= 0:
            _os.eventfd_write(self.r.wake_fd, 1)

    def forward(self, int64_t duration_ns):
        """The bare forwarder: everything passes, nothing is judged, for so long; frames taken.

        The benchmarks' yardstick: the same rings, and nothing else.
        """
        cdef uint64_t frames
        cdef int64_t until_ns = clock_ns(CLOCK_MONOTONIC) + duration_ns
        if self.r.count:
            raise DataError("forward: the batch before has not been sent")
        with nogil:
            frames = rings_forward(&self.r, until_ns)
        return frames

    # --- interfaces ---

    def heal(self):
        """Looks at the interfaces, and binds again to one that came back; state by name.

        The states: "up", "down", "gone". One that was renamed is followed (``bound``), whoever has
        its name now; one that went away is waited for under its name in ``names``.
        """
        found = {}
        for i, name in enumerate(self.names):
            if self.r.port[<int>i].fd < 0:
                raise DataError("heal: these rings are closed")
            port_error(&self.r.port[<int>i])
            bound, code = port_bound(&self.r.port[<int>i]), 0
            now = _interface(bound, name)
            if now is None:
                found[name] = "gone"
                continue
            if now.index != bound:
                code = port_bind(&self.r.port[<int>i], now.index)
            self.bound[name] = (now.index, now.name)
            found[name] = "up" if now.up and not code else "down"
        return found

    def deafen(self):
        """From here on nothing arrives; what has arrived can be taken."""
        for i in range(self.r.ports):
            port_deafen(&self.r.port[i])

    # --- figures ---

    @property
    def now_ns(self):
        """Time as frames have it: the wall clock at the start, and what has passed since."""
        return rings_now(&self.r)

    def counters(self):
        """Counters by interface, each a dict of COUNTERS and ``last_errno``."""
        found = {}
        for i, name in enumerate(self.names):
            port_count(&self.r.port[<int>i])
            found[name] = _counters(&self.r.port[<int>i])
        return found

    def delays(self):
        """Frames sent by how long they were here: (upper bounds ns, frames), int64[m] each."""
        cdef uint64_t[::1] out
        counts = np.zeros(DELAYS, np.uint64)
        out = counts
        for i in range(DELAYS):
            out[i] = self.r.delay[i]
        powers, steps = np.divmod(np.arange(DELAYS, dtype=np.int64), DELAY_STEPS)
        bounds = np.where(powers == 0, steps + 1, (DELAY_STEPS + steps + 1) << np.minimum(
            np.maximum(powers - 1, 0), 50))
        last = int(counts.nonzero()[0].max(initial=-1)) + 1
        return bounds[:last], counts[:last].astype(np.int64)


def _interface(index, name):
    """The interface of this number, whatever it is called; where there is none, of this name; or
    None."""
    for _ in range(3):      # it may be renamed between two questions
        try:
            called, known = _socket.if_indextoname(index), True
        except (OSError, OverflowError):
            called, known = name, False
        try:
            found = Interface(called)
        except LiveError:
            continue
        if not known or found.index == index:
            return found
    return None


cdef dict _counters(const port_t *port):
    cdef const uint64_t *row = <const uint64_t *>&port.counted
    return {COUNTERS[k]: row[k] for k in range(PORT_COUNTER_COUNT)} | {
        "last_errno": port.last_errno}


# --- a single stage, for tests -------------------------------------------------------------------

def walk(uint8_t[::1] data, uint32_t block_bytes, bint slots=False, uint32_t limit=BATCH_MAX):
    """What ``take`` makes of blocks in memory: (rows of (offset, captured, length), counters).

    ``data``: uint8[n * block_bytes], n blocks (of TPACKET_V3; ``slots``: of TPACKET_V2, a frame
    each) as the kernel writes them; tags are put back in place, and blocks that are done with
    given back. At most ``limit`` frames, and BATCH.

    Raises DataError.
    """
    cdef rings_t *r
    cdef uint64_t[::1] offset = np.zeros(BATCH_MAX, np.uint64)
    cdef uint32_t[::1] captured = np.zeros(BATCH_MAX, np.uint32)
    cdef uint32_t[::1] length = np.zeros(BATCH_MAX, np.uint32)
    cdef int64_t[::1] time_ns = np.zeros(BATCH_MAX, np.int64)
    if block_bytes < 128 or block_bytes % 8 or not data.shape[0] or data.shape[0] % block_bytes:
        raise DataError("walk: whole blocks of a multiple of 8 bytes are asked for")
    r = <rings_t *>calloc(1, sizeof(rings_t))
    if r == NULL:
        raise MemoryError
    try:
        r.ports = 1
        r.base = r.port[0].blocks = &data[0]
        r.port[0].block_bytes = block_bytes
        r.port[0].slots = slots
        r.port[0].blocks_count = <uint32_t>(data.shape[0] // block_bytes)
        r.offset, r.captured, r.length = &offset[0], &captured[0], &length[0]
        r.time_ns = &time_ns[0]
        with nogil:
            rings_take(r, min(limit, <uint32_t>BATCH_MAX))
            rings_give(r)
        return ([(offset[i], captured[i], length[i]) for i in range(r.count)],
                _counters(&r.port[0]))
    finally:
        free(r)
