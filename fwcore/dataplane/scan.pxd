# Walking the records of a capture, and packing them again: bytes in, arrays of frames out.
#
#   pcap      | header | bytes | header | bytes | ...            one link, one unit of time
#   pcapng    | block: type, length, body, length | block | ...  link and unit by interface
#
# A walk goes on until its room is used up or something needs its caller, who is told by a status
# and by the position of the record or block that was not taken. Nothing in here sees a Python
# object. Laws: no byte outside [begin, end) is read; what is taken lies whole within it; a walk
# that is resumed where it stopped takes the same frames as one that never stopped.
#
# Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fwcore.dataplane.layout cimport fw_prefetch_read

cdef extern from *:
    """
    #ifndef FWCORE_SCAN_H
    #define FWCORE_SCAN_H
    #include <stdint.h>
    #include <string.h>

    #include "dataplane/layout.h"

    /* Unaligned loads in the byte order of the file; `swapped` is loop-invariant. */
    static inline uint32_t fw_load32(const uint8_t *at, int swapped) {
        uint32_t value;
        memcpy(&value, at, 4);
        return swapped ? __builtin_bswap32(value) : value;
    }
    static inline uint16_t fw_load16(const uint8_t *at, int swapped) {
        uint16_t value;
        memcpy(&value, at, 2);
        return swapped ? __builtin_bswap16(value) : value;
    }

    /* floor(ticks * multiply / divide / 2**shift) ns + offset seconds, held in [0, TIME_MAX_NS];
     * *held: 1 where it had to be. divide 0 means a unit too fine for 64 bits of ticks to reach one
     * nanosecond. */
    static inline int64_t fw_ticks_ns(uint64_t ticks, uint64_t multiply, uint64_t divide,
                                      unsigned shift, int64_t offset_s, int *held) {
        unsigned __int128 scaled = (unsigned __int128)ticks * multiply;
        __int128 when;
        if (divide == 0)
            scaled = 0;
        else if (divide != 1)
            scaled /= divide;
        when = (__int128)(scaled >> shift) + (__int128)offset_s * 1000000000;
        *held = when < 0 || when > TIME_MAX_NS;
        if (when < 0)
            return 0;
        return when > TIME_MAX_NS ? TIME_MAX_NS : (int64_t)when;
    }
    #endif
    """
    uint32_t fw_load32(const uint8_t *at, bint swapped) noexcept nogil
    uint16_t fw_load16(const uint8_t *at, bint swapped) noexcept nogil
    int64_t fw_ticks_ns(uint64_t ticks, uint64_t multiply, uint64_t divide, unsigned int shift,
                        int64_t offset_s, int *held) noexcept nogil

cdef enum:
    # Every line this far ahead is prefetched: where the next header lies is known only when the
    # one before it has arrived, so that a walk without it waits for memory at every record.
    # Frames of mixed sizes from memory: 82 ns a record without, 13 with (EPYC, November 2026).
    # A prefetch never faults and may point past the end.
    SCAN_AHEAD = 4096    # bytes
    SCAN_LINE = 64

cdef enum:
    # why a walk ended
    SCAN_ROOM = 0        # the room is used up
    SCAN_END = 1         # the bytes ended between two records
    SCAN_CUT = 2         # the bytes end within the record at `next`
    SCAN_LONG = 3        # its length is beyond what any capture tool writes
    SCAN_LENGTH = 4      # pcapng: a block length below its minimum or not a multiple of 4
    SCAN_TRAILER = 5     # pcapng: the length after the block differs from the one before it
    SCAN_SPACE = 6       # pcapng: captured bytes reach past their block
    SCAN_INTERFACE = 7   # pcapng: an interface that the section does not describe
    SCAN_CONTROL = 8     # pcapng: a section header or interface: the caller reads it, then goes on
    SCAN_TAKEN = 9       # within the walk only: go on
    SCAN_JOINED = 10     # pcap: the header of another file, where a record would be

cdef enum:
    # columns of the pcapng interface table, uint64[n, INTERFACE_COLUMNS]
    INTERFACE_LINK = 0
    INTERFACE_SNAPLEN = 1    # bytes; 2**32 - 1 where the file says 0, no limit
    INTERFACE_LIMIT = 2      # longest sane captured length, bytes
    INTERFACE_MULTIPLY = 3   # fw_ticks_ns
    INTERFACE_DIVIDE = 4
    INTERFACE_SHIFT = 5
    INTERFACE_OFFSET_S = 6   # a signed number in 64 bits
    INTERFACE_COLUMNS = 7

cdef enum:
    RECORD_WORDS = 4         # of the header of a pcap record
    RECORD_BYTES = 16
    ENHANCED_WORDS = 7       # of an enhanced packet block, before its frame
    ENHANCED_BYTES = 28

cdef enum:
    BLOCK_INTERFACE = 1
    BLOCK_PACKET = 2         # obsolete
    BLOCK_SIMPLE = 3
    BLOCK_ENHANCED = 6
    BLOCK_JOURNAL = 9        # of systemd
    BLOCK_SYSDIG = 0x204     # an event of sysdig, and its later forms
    BLOCK_SYSDIG_FLAGS = 0x208
    BLOCK_SYSDIG_2 = 0x216
    BLOCK_SYSDIG_FLAGS_2 = 0x217
    BLOCK_SYSDIG_LARGE = 0x221
    BLOCK_SYSDIG_FLAGS_LARGE = 0x222
    BLOCK_CUSTOM = 0xBAD     # may be copied ...
    BLOCK_CUSTOM_KEPT = 0x40000BAD   # ... and may not
    BLOCK_SECTION = 0x0A0D0D0A
    BLOCK_FRAME = 12         # type, length, length again
    BLOCK_MAX = 0x8010000    # 128 MiB, the longest packet of libpcap, and 64 KiB of options

ctypedef struct scan_frames_t:
    # OUT arrays of `room` entries each, and how far they are filled
    uint64_t *offset
    uint32_t *captured
    uint32_t *length
    int64_t *time_ns
    uint16_t *link           # pcapng only: a pcap file has one
    Py_ssize_t room
    Py_ssize_t count

ctypedef struct scan_pcap_t:
    # IN: what the 24 bytes at the start of a pcap file say
    bint swapped             # the file's byte order is not ours
    uint32_t header_bytes    # of each record: 16, or 24 in the modified format
    uint32_t unit_ns         # of the fraction: 1000 or 1
    uint32_t limit           # longest sane captured length, bytes

ctypedef struct scan_pcapng_t:
    # IN: the section that the walk is in; last_ns IN and OUT
    bint swapped
    const uint64_t *interfaces   # [n, INTERFACE_COLUMNS]
    uint32_t interface_count
    int64_t last_ns              # time of the last packet, for simple blocks, which have none
    uint64_t held                # OUT: times that lay outside [0, TIME_MAX_NS] ...
    uint64_t first_held          # ... and which frame's was the first
    uint64_t shown               # OUT: blocks that are no packets, and frames for Wireshark ...
    uint64_t first_shown         # ... and how many frames stand before the first


cdef inline bint scan_joined(const uint8_t *record) noexcept nogil:
    """A record of no bytes, in 2055, is the header of a file that was put behind this one."""
    cdef bint swapped = fw_load16(record + 4, 0) != 2
    cdef uint32_t magic = fw_load32(record, swapped)
    return fw_load16(record + 4, swapped) == 2 and fw_load16(record + 6, swapped) == 4 and (
        magic == <uint32_t>0xA1B2C3D4 or magic == <uint32_t>0xA1B23C4D
        or magic == <uint32_t>0xA1B2CD34)


cdef inline int scan_pcap(const uint8_t *data, uint64_t begin, uint64_t end, scan_pcap_t *form,
                          scan_frames_t *out, uint64_t *next_record) noexcept nogil:
    """Take whole records of a pcap file from `begin` on.

    => returns why it ended; *next_record is the start of the first record not taken
    => bound: out.room records, SCAN_AHEAD / SCAN_LINE prefetches each
    A time needs no clamp: 2**32 s and 2**32 us are less than TIME_MAX_NS.
    """
    cdef uint64_t position = begin, left, fetched = begin
    cdef uint32_t captured, header = form.header_bytes, limit = form.limit
    cdef bint swapped = form.swapped
    cdef int64_t unit = form.unit_ns
    cdef const uint8_t *record
    cdef Py_ssize_t n = out.count, room = out.room
    cdef int status = SCAN_ROOM
    while n < room:
        left = end - position
        if left < header:
            status = SCAN_CUT if left else SCAN_END
            break
        record = data + position
        if fetched < position:
            fetched = position
        while fetched < position + SCAN_AHEAD:
            fw_prefetch_read(data + fetched)
            fetched += SCAN_LINE
        captured = fw_load32(record + 8, swapped)
        if captured > limit:
            status = SCAN_LONG
            break
        if captured > left - header:
            status = SCAN_CUT
            break
        if captured == 0 and scan_joined(record):
            status = SCAN_JOINED
            break
        out.time_ns[n] = (fw_load32(record, swapped) * <int64_t>1000000000
                          + fw_load32(record + 4, swapped) * unit)
        out.captured[n] = captured
        out.length[n] = fw_load32(record + 12, swapped)
        out.offset[n] = position + header
        n += 1
        position += header + captured
    out.count = n
    next_record[0] = position
    return status


cdef inline int scan_take(uint64_t position, uint32_t interface, uint32_t captured,
                          uint32_t length, bint timed, uint64_t ticks, uint32_t space,
                          scan_pcapng_t *section, scan_frames_t *out) noexcept nogil:
    """One packet of a pcapng block whose bytes start at `position`, `space` of them its own."""
    cdef const uint64_t *row
    cdef Py_ssize_t n = out.count
    cdef int held = 0
    if interface >= section.interface_count:
        return SCAN_INTERFACE
    row = section.interfaces + <uint64_t>interface * INTERFACE_COLUMNS
    if timed:
        section.last_ns = fw_ticks_ns(
            ticks, row[INTERFACE_MULTIPLY], row[INTERFACE_DIVIDE],
            <unsigned int>row[INTERFACE_SHIFT], <int64_t>row[INTERFACE_OFFSET_S], &held)
    else:
        captured = min(captured, min(<uint32_t>row[INTERFACE_SNAPLEN], space))
    if captured > row[INTERFACE_LIMIT]:
        return SCAN_LONG
    if captured > space:
        return SCAN_SPACE
    if held:
        section.first_held = <uint64_t>n if section.held == 0 else section.first_held
        section.held += 1
    out.offset[n] = position
    out.captured[n] = captured
    out.length[n] = length
    out.time_ns[n] = section.last_ns
    out.link[n] = <uint16_t>row[INTERFACE_LINK]
    out.count = n + 1
    return SCAN_TAKEN


cdef inline bint scan_shown(uint32_t kind) noexcept nogil:
    """Whether Wireshark (4.0) gives a block that is no packet the number of a frame."""
    return (kind == BLOCK_CUSTOM or kind == BLOCK_CUSTOM_KEPT or kind == BLOCK_JOURNAL
            or kind == BLOCK_SYSDIG or kind == BLOCK_SYSDIG_FLAGS or kind == BLOCK_SYSDIG_2
            or kind == BLOCK_SYSDIG_FLAGS_2 or kind == BLOCK_SYSDIG_LARGE
            or kind == BLOCK_SYSDIG_FLAGS_LARGE)


cdef inline int scan_block(const uint8_t *data, uint64_t position, uint32_t kind, uint32_t total,
                           scan_pcapng_t *section, scan_frames_t *out) noexcept nogil:
    """A block of `total` bytes that lies whole at `position`: take its packet, or skip it."""
    cdef const uint8_t *body = data + position + 8
    cdef bint swapped = section.swapped
    cdef uint32_t space = total - BLOCK_FRAME, interface, length
    cdef uint64_t ticks
    if kind == BLOCK_ENHANCED or kind == BLOCK_PACKET:
        if space < 20:
            return SCAN_LENGTH
        if kind == BLOCK_ENHANCED:
            interface = fw_load32(body, swapped)
        else:
            interface = fw_load16(body, swapped)
        ticks = (<uint64_t>fw_load32(body + 4, swapped) << 32) | fw_load32(body + 8, swapped)
        return scan_take(position + 28, interface, fw_load32(body + 12, swapped),
                         fw_load32(body + 16, swapped), True, ticks, space - 20, section, out)
    if kind == BLOCK_SIMPLE:
        if space < 4:
            return SCAN_LENGTH
        length = fw_load32(body, swapped)
        return scan_take(position + 12, 0, length, length, False, 0, space - 4, section, out)
    if scan_shown(kind):
        section.first_shown = <uint64_t>out.count if section.shown == 0 else section.first_shown
        section.shown += 1
    return SCAN_TAKEN


cdef inline int scan_pcapng(const uint8_t *data, uint64_t begin, uint64_t end,
                            scan_pcapng_t *section, scan_frames_t *out,
                            uint64_t *next_block) noexcept nogil:
    """Take the packets of whole blocks of one pcapng section from `begin` on.

    => returns why it ended; *next_block is the start of the first block not dealt with
    => bound: (end - begin) / 12 blocks, out.room packets
    """
    cdef uint64_t position = begin, left
    cdef uint32_t kind, total
    cdef int status = SCAN_ROOM
    while out.count < out.room:
        left = end - position
        if left < BLOCK_FRAME:
            status = SCAN_CUT if left else SCAN_END
            break
        kind = fw_load32(data + position, section.swapped)
        if kind == BLOCK_SECTION:        # the same four bytes in either byte order
            status = SCAN_CONTROL
            break
        total = fw_load32(data + position + 4, section.swapped)
        if total < BLOCK_FRAME or total & 3:
            status = SCAN_LENGTH
            break
        if total > BLOCK_MAX:
            status = SCAN_LONG
            break
        if total > left:
            status = SCAN_CUT
            break
        if fw_load32(data + position + total - 4, section.swapped) != total:
            status = SCAN_TRAILER
            break
        if kind == BLOCK_INTERFACE:
            status = SCAN_CONTROL
            break
        status = scan_block(data, position, kind, total, section, out)
        if status != SCAN_TAKEN:
            break
        status = SCAN_ROOM
        position += total
    next_block[0] = position
    return status


cdef inline int scan_lies(const scan_frames_t *frames, int64_t k, uint64_t size) noexcept nogil:
    """Whether there is a k-th frame, and all of it lies in data of this size."""
    return (0 <= k < frames.count and frames.offset[k] <= size
            and frames.captured[k] <= size - frames.offset[k])


cdef inline Py_ssize_t scan_pack(const uint8_t *data, uint64_t size, const scan_frames_t *frames,
                                 const int64_t *chosen, Py_ssize_t count, uint8_t *out,
                                 uint64_t room) noexcept nogil:
    """Write the chosen frames as records of a nanosecond pcap file in our byte order.

    => returns the bytes written; -1 - i when the i-th chosen one does not fit the data, the
       room, or 32 bits of seconds
    """
    cdef uint64_t written = 0
    cdef Py_ssize_t i
    cdef int64_t k, time_ns, second_ns = 1000000000
    cdef uint32_t header[RECORD_WORDS]
    for i in range(count):
        k = chosen[i]
        if not scan_lies(frames, k, size):
            return -1 - i
        header[2] = frames.captured[k]
        header[3] = frames.length[k]
        if room - written < RECORD_BYTES + <uint64_t>header[2]:
            return -1 - i
        time_ns = frames.time_ns[k]
        if time_ns < 0 or (time_ns / second_ns) >> 32:
            return -1 - i
        header[0] = <uint32_t>(time_ns / second_ns)
        header[1] = <uint32_t>(time_ns % second_ns)
        memcpy(out + written, header, RECORD_BYTES)
        memcpy(out + written + RECORD_BYTES, data + frames.offset[k], header[2])
        written += RECORD_BYTES + header[2]
    return <Py_ssize_t>written


cdef inline Py_ssize_t scan_pack_blocks(const uint8_t *data, uint64_t size,
                                        const scan_frames_t *frames, const int64_t *chosen,
                                        const uint32_t *interface, Py_ssize_t count, uint8_t *out,
                                        uint64_t room) noexcept nogil:
    """The same as enhanced packet blocks of pcapng, each of the interface beside its index, whose
    times are in ns: they have 64 bits here."""
    cdef uint64_t written = 0, total
    cdef Py_ssize_t i
    cdef int64_t k
    cdef uint32_t header[ENHANCED_WORDS]
    cdef uint64_t padded
    cdef uint32_t ends
    for i in range(count):
        k = chosen[i]
        if not scan_lies(frames, k, size):
            return -1 - i
        header[5] = frames.captured[k]
        header[6] = frames.length[k]
        padded = (<uint64_t>header[5] + 3) & ~<uint64_t>3
        total = ENHANCED_BYTES + padded + sizeof(ends)
        if room - written < total or total > BLOCK_MAX or frames.time_ns[k] < 0:
            return -1 - i
        header[0], header[1], header[2] = BLOCK_ENHANCED, <uint32_t>total, interface[i]
        header[3] = <uint32_t>(<uint64_t>frames.time_ns[k] >> 32)
        header[4] = <uint32_t>frames.time_ns[k]
        ends = <uint32_t>total
        memcpy(out + written, header, ENHANCED_BYTES)
        memcpy(out + written + ENHANCED_BYTES, data + frames.offset[k], header[5])
        memset(out + written + ENHANCED_BYTES + header[5], 0, padded - header[5])
        memcpy(out + written + total - sizeof(ends), &ends, sizeof(ends))
        written += total
    return <Py_ssize_t>written
