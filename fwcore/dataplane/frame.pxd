# A frame, and its headers in front of IP: links, VLAN tags, MPLS labels, PPPoE.
#
# Laws: no byte outside the captured ones is read; every loop is bounded by SHIMS_MAX.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp

from fwcore.dataplane.layout cimport (
    FLAG_CLASS, KIND_MALFORMED, KIND_NON_IP, KIND_TRUNCATED, KIND_UNSUPPORTED, SEED_WORDS,
    SHIMS_MAX, TRACKER_LINUX, fw_be16, fw_be32, fw_le32, fw_prefetch,
)

cdef enum:
    AHEAD = 24             # frames whose bytes are on their way


cdef inline void frame_expect(
    const uint8_t *data, const uint64_t *offset, uint64_t i, uint64_t count,
) noexcept nogil:
    """Of frames that are read one after the other, from frame i: one that comes soon is on its
    way. Nobody has looked at its place; what is no address fetches nothing."""
    if i + AHEAD < count:
        fw_prefetch(<const void *>(<size_t>data + offset[i + AHEAD]))


cdef struct chunk_t:
    # The arrays of a loaded chunk; they outlive every run over it. That they are not written to
    # meanwhile is not believed: a frame's place is looked at again when it is read.
    const uint8_t *data
    uint64_t size
    const uint64_t *offset
    const uint32_t *captured
    const uint32_t *length
    const int64_t *time_ns
    const uint16_t *link
    uint16_t *outcome     # verdict, reason << 8
    uint64_t *flow        # keyed hash a packet; NULL: not wanted
    uint8_t *reply        # 1: sent by the session's responder; NULL: not wanted
    uint64_t count
    const uint8_t *parsed  # PARSED_BYTES a frame, see _parsed.pyx; NULL: nobody has


# What stays the same for every frame of a call.
cdef struct parser_t:
    uint32_t shift         # address shift of a looped replay
    uint8_t zone           # 1: the VLAN id is part of the key
    uint8_t short_cut      # 1: a frame that its IP header says is longer was cut, see parse_short
    uint8_t as_linux       # 1: tracker linux: ICMP pairs, UDP lengths, what an error quotes
    uint8_t tracker
    uint8_t special        # 1: shift or as_linux say something: one look a frame
    const uint8_t *classes  # FLAG_CLASS of the tracker
    const uint64_t *seeds  # six, of the keyed hash


cdef inline void parser_begin(
    parser_t *parser, const uint64_t *seeds, int zone, uint32_t shift, int tracker,
    int short_cut,
) noexcept nogil:
    """Every field; there is no other way to a parser."""
    parser.shift = shift
    parser.zone = zone
    parser.short_cut = short_cut
    parser.tracker = <uint8_t>tracker
    parser.as_linux = tracker == TRACKER_LINUX
    parser.special = shift != 0 or parser.as_linux
    parser.classes = FLAG_CLASS[tracker]
    parser.seeds = seeds


cdef inline int parser_same(const parser_t *a, const parser_t *b) noexcept nogil:
    """Whether both make the same packet of any frame."""
    return (a.shift == b.shift and a.zone == b.zone and a.short_cut == b.short_cut
            and a.tracker == b.tracker
            and memcmp(a.seeds, b.seeds, SEED_WORDS * sizeof(uint64_t)) == 0)


# The frame, and how far its present layer reaches. Offsets count from the first byte.
cdef struct frame_t:
    const uint8_t *data
    uint32_t captured     # bytes that may be read
    uint32_t limit        # end of the enclosing layer on the wire
    uint32_t at           # begin of the next header
    uint32_t zone
    # how far the long way came, for those who read more of a frame than its packet
    uint32_t ethertype    # of what is no IP; 0: none
    uint32_t network      # where the IP header begins, or what is there instead
    uint32_t transport    # where the transport begins, once there is a protocol
    # of the IP header; family 0: it was not captured; protocol 0: it contradicts itself
    uint64_t source_lo, source_hi, destination_lo, destination_hi
    uint32_t fragment_id
    uint32_t fragment_offset
    uint8_t family, protocol, fragment_protocol, more, fragmented


cdef inline int parse_need(const frame_t *f, uint32_t count) noexcept nogil:
    """0 when the next `count` bytes can be read, else KIND_MALFORMED or KIND_TRUNCATED."""
    if f.limit - f.at < count:
        return KIND_MALFORMED
    if f.captured < f.at + count:
        return KIND_TRUNCATED
    return 0


cdef inline uint64_t parse_shift4(uint32_t address, uint32_t shift) noexcept nogil:
    return (address & <uint32_t>0xFF000000) | ((address + shift) & 0xFFFFFF)


cdef inline uint64_t parse_shift6(uint64_t lo, uint32_t shift) noexcept nogil:
    return (lo & <uint64_t>0xFFFFFFFF00000000) | <uint32_t>(<uint32_t>lo + shift)


# --- link ---------------------------------------------------------------------------------------

cdef inline int parse_labels(frame_t *f, int shims) noexcept nogil:
    """MPLS labels down to the bottom of the stack; then 4, 6 or a kind."""
    cdef int status, bottom, _turn
    for _turn in range(shims, SHIMS_MAX):
        status = parse_need(f, 4)
        if status:
            return status
        bottom = f.data[f.at + 2] & 1
        f.at += 4
        if bottom:
            status = parse_need(f, 1)
            if status:
                return status
            if f.data[f.at] >> 4 == 4:
                return 4
            return 6 if f.data[f.at] >> 4 == 6 else KIND_NON_IP
    return KIND_MALFORMED


cdef inline int parse_pppoe(frame_t *f) noexcept nogil:
    cdef int status = parse_need(f, 8)
    cdef uint32_t protocol
    if status:
        return status
    if f.data[f.at + 1] != 0:  # not session data
        return KIND_NON_IP
    protocol = fw_be16(f.data + f.at + 6)
    f.at += 8
    if protocol == 0x0021:
        return 4
    return 6 if protocol == 0x0057 else KIND_NON_IP


cdef inline int parse_ethertype(frame_t *f, uint32_t ethertype) noexcept nogil:
    """From an ethertype to an IP header: 4 or 6, with f.at there, or a kind."""
    cdef int status, shims
    for shims in range(SHIMS_MAX + 1):
        if ethertype == 0x0800:
            return 4
        if ethertype == 0x86DD:
            return 6
        if ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100:
            if shims == SHIMS_MAX:
                break
            status = parse_need(f, 4)
            if status:
                return status
            if shims == 0:
                f.zone = fw_be16(f.data + f.at) & 0xFFF
            ethertype = fw_be16(f.data + f.at + 2)
            f.at += 4
        elif ethertype == 0x8847 or ethertype == 0x8848:
            return parse_labels(f, shims)
        elif ethertype == 0x8864:
            return parse_pppoe(f)
        else:
            f.ethertype = ethertype
            return KIND_NON_IP
    return KIND_MALFORMED


cdef inline int parse_raw(frame_t *f, uint32_t link) noexcept nogil:
    """Raw IP: the link type says the version, or its first four bits do."""
    cdef int status
    cdef int version
    if link == 228:
        return 4
    if link == 229:
        return 6
    status = parse_need(f, 1)
    if status:
        return status
    version = f.data[f.at] >> 4
    return version if version == 4 or version == 6 else KIND_MALFORMED


cdef inline int loopback_version(uint32_t family) noexcept nogil:
    """4 or 6 of an address family as Linux, the BSDs and macOS number them; 0: another."""
    if family == 2:
        return 4
    return 6 if family == 24 or family == 28 or family == 30 or family == 10 else 0


cdef inline int parse_loopback(frame_t *f) noexcept nogil:
    """NULL and LOOP: an address family in either byte order."""
    cdef int status = parse_need(f, 4)
    cdef int version
    if status:
        return status
    f.at = 4
    version = loopback_version(fw_be32(f.data))
    if version == 0:
        version = loopback_version(fw_le32(f.data))
    return version if version else KIND_NON_IP


cdef inline int parse_link(frame_t *f, uint32_t link) noexcept nogil:
    """4 or 6 with f.at at the IP header, or a kind (kinds are not 4 or 6: see parse_any)."""
    cdef int status
    cdef uint32_t header
    if link == 1:
        status = parse_need(f, 14)
        if status:
            return status
        f.at = 14
        return parse_ethertype(f, fw_be16(f.data + 12))
    if link == 101 or link == 12 or link == 14 or link == 228 or link == 229:
        return parse_raw(f, link)
    if link == 0 or link == 108:
        return parse_loopback(f)
    if link == 113 or link == 276:
        header = 16 if link == 113 else 20
        status = parse_need(f, header)
        if status:
            return status
        f.at = header
        return parse_ethertype(f, fw_be16(f.data + (14 if link == 113 else 0)))
    return KIND_UNSUPPORTED
