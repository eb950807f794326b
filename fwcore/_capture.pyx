"""Captures in memory: records to arrays of frames and back, by the walks of scan.pxd.

Thin ways in for fwcore.capture, a module of its own since it shares nothing with the table: check
the arrays, then one ``with nogil``.
"""

from enum import IntEnum

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fwcore.dataplane.scan cimport (
    INTERFACE_COLUMNS, SCAN_CONTROL, SCAN_CUT, SCAN_END, SCAN_INTERFACE, SCAN_JOINED, SCAN_LENGTH,
    SCAN_LONG, SCAN_ROOM, SCAN_SPACE, SCAN_TRAILER, scan_frames_t, scan_pack,
    scan_pack_blocks, scan_pcap, scan_pcap_t, scan_pcapng, scan_pcapng_t,
)
from fwcore.errors import DataError, refusing

ScanStatus = IntEnum("ScanStatus", {
    "ROOM": SCAN_ROOM, "END": SCAN_END, "CUT": SCAN_CUT, "LONG": SCAN_LONG,
    "LENGTH": SCAN_LENGTH, "TRAILER": SCAN_TRAILER, "SPACE": SCAN_SPACE,
    "INTERFACE": SCAN_INTERFACE, "CONTROL": SCAN_CONTROL, "JOINED": SCAN_JOINED,
}, module=__name__)


cdef int _check_span(Py_ssize_t size, uint64_t begin, uint64_t end) except -1:
    """A span of a buffer, or DataError."""
    if begin > end or end > <uint64_t>size:
        raise DataError(f"span [{begin}, {end}) is not within {size} bytes")
    return 0


cdef int _check_frames(scan_frames_t *frames, uint64_t[::1] offset, uint32_t[::1] captured,
                       uint32_t[::1] length, int64_t[::1] time_ns) except -1:
    """Point `frames` at four arrays of equal length, or DataError."""
    cdef Py_ssize_t room = offset.shape[0]
    if captured.shape[0] != room or length.shape[0] != room or time_ns.shape[0] != room:
        raise DataError("the arrays of a scan must be of one length")
    frames.room = room
    frames.count = 0
    frames.link = NULL
    frames.offset, frames.captured, frames.length, frames.time_ns = NULL, NULL, NULL, NULL
    if room:
        frames.offset, frames.captured = &offset[0], &captured[0]
        frames.length, frames.time_ns = &length[0], &time_ns[0]
    return 0


@refusing(DataError)
def capture_scan_pcap(const uint8_t[::1] data, uint64_t begin, uint64_t end, bint swapped,
                      uint32_t header_bytes, uint32_t unit_ns, uint32_t limit,
                      uint64_t[::1] offset, uint32_t[::1] captured, uint32_t[::1] length,
                      int64_t[::1] time_ns):
    """Whole records of ``data[begin:end]`` into the arrays, up to their length.

    Returns (frames taken, position of the first record not taken, ScanStatus number).
    ``header_bytes`` is 16 or 24, ``unit_ns`` the unit of the fraction of a second, ``limit`` the
    longest sane captured length in bytes. Raises DataError.
    """
    cdef scan_pcap_t form
    cdef scan_frames_t frames
    cdef uint64_t position = begin
    cdef int status
    _check_span(data.shape[0], begin, end)
    _check_frames(&frames, offset, captured, length, time_ns)
    if header_bytes not in (16, 24):
        raise DataError(f"a record header has 16 or 24 bytes, not {header_bytes}")
    if frames.room == 0 or begin == end:
        return 0, begin, (SCAN_END if begin == end else SCAN_ROOM)
    form.swapped, form.header_bytes, form.unit_ns, form.limit = (
        swapped, header_bytes, unit_ns, limit)
    with nogil:
        status = scan_pcap(&data[0], begin, end, &form, &frames, &position)
    return frames.count, position, status


@refusing(DataError)
def capture_scan_pcapng(const uint8_t[::1] data, uint64_t begin, uint64_t end, bint swapped,
                        const uint64_t[:, ::1] interfaces, int64_t last_ns,
                        uint64_t[::1] offset, uint32_t[::1] captured, uint32_t[::1] length,
                        int64_t[::1] time_ns, uint16_t[::1] link):
    """Packets of the whole blocks of ``data[begin:end]``, one section, into the arrays.

    Returns (frames taken, position of the first block not dealt with, ScanStatus number, time of
    the last packet, times that lay outside 0 to 2**62 ns and are held there, which of the frames
    was the first of these, blocks that are no packets and have a number in Wireshark, frames
    before the first of these). ``interfaces`` is uint64[n, 7] (columns: INTERFACE_ in scan.pxd).
    Raises DataError.
    """
    cdef scan_pcapng_t section
    cdef scan_frames_t frames
    cdef uint64_t position = begin
    cdef int status
    _check_span(data.shape[0], begin, end)
    _check_frames(&frames, offset, captured, length, time_ns)
    if link.shape[0] != frames.room:
        raise DataError("the arrays of a scan must be of one length")
    if interfaces.shape[1] != INTERFACE_COLUMNS:
        raise DataError(f"an interface has {INTERFACE_COLUMNS} columns")
    if frames.room == 0 or begin == end:
        return 0, begin, (SCAN_END if begin == end else SCAN_ROOM), last_ns, 0, 0, 0, 0
    frames.link = &link[0]
    section.swapped, section.last_ns = swapped, last_ns
    section.held = section.first_held = section.shown = section.first_shown = 0
    section.interface_count = <uint32_t>interfaces.shape[0]
    section.interfaces = &interfaces[0, 0] if interfaces.shape[0] else NULL
    with nogil:
        status = scan_pcapng(&data[0], begin, end, &section, &frames, &position)
    return (frames.count, position, status, section.last_ns, section.held,
            section.first_held, section.shown, section.first_shown)


@refusing(DataError)
def capture_pack(const uint8_t[::1] data, const uint64_t[::1] offset,
                 const uint32_t[::1] captured, const uint32_t[::1] length,
                 const int64_t[::1] time_ns, const int64_t[::1] chosen, uint8_t[::1] out,
                 const uint32_t[::1] interface=None):
    """The chosen frames (indices) as nanosecond pcap records in ``out``; returns its bytes used.

    interface: uint32[len(chosen)], then enhanced packet blocks of pcapng. Raises DataError naming
    the first frame that does not fit its data, ``out``, or the 32 bits that pcap has for seconds.
    """
    cdef scan_frames_t frames
    cdef Py_ssize_t written
    frames.room = frames.count = offset.shape[0]
    if not (frames.room == captured.shape[0] == length.shape[0] == time_ns.shape[0]):
        raise DataError("the arrays of a chunk must be of one length")
    if frames.room:      # read only in there, whatever the type of these pointers says
        frames.offset, frames.captured = <uint64_t *>&offset[0], <uint32_t *>&captured[0]
        frames.length, frames.time_ns = <uint32_t *>&length[0], <int64_t *>&time_ns[0]
    if interface is not None and interface.shape[0] != chosen.shape[0]:
        raise DataError("an interface for each chosen frame")
    if chosen.shape[0] == 0:
        return 0
    cdef const uint8_t *first = &data[0] if data.shape[0] else NULL
    cdef uint8_t *into = &out[0] if out.shape[0] else NULL
    cdef const uint32_t *interfaces = &interface[0] if interface is not None else NULL
    with nogil:
        if interfaces == NULL:
            written = scan_pack(first, <uint64_t>data.shape[0], &frames, &chosen[0],
                                chosen.shape[0], into, <uint64_t>out.shape[0])
        else:
            written = scan_pack_blocks(
                first, <uint64_t>data.shape[0], &frames, &chosen[0], interfaces,
                chosen.shape[0], into, <uint64_t>out.shape[0])
    if written < 0:
        raise DataError(f"frame {chosen[-1 - written]} cannot be written as a pcap record")
    return written
