# Marks written into frames, in their place: a DSCP, congestion experienced (CE), or both.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fwcore.dataplane.frame cimport frame_t, parser_t
from fwcore.dataplane.layout cimport DECODE_IPV4, DECODE_IPV6, fw_be16, packet_t
from fwcore.dataplane.parse cimport parse_any
from fwcore.dataplane.shaping cimport MARK_CE, MARK_CE_ALONE


cdef inline void header_mark(uint8_t *h, int family, uint8_t mark) noexcept nogil:
    """Writes a mark into an IP header; IPv4's checksum is mended (RFC 1624)."""
    cdef uint32_t before, sum_
    cdef uint8_t traffic = <uint8_t>(h[0] << 4 | h[1] >> 4) if family == 6 else h[1]
    if mark != MARK_CE_ALONE:
        traffic = <uint8_t>(mark << 2) | traffic & 3
    if mark & (MARK_CE | MARK_CE_ALONE):
        traffic |= 3
    if family == 6:
        h[0] = 0x60 | traffic >> 4
        h[1] = <uint8_t>(traffic << 4) | h[1] & 15
        return
    before = fw_be16(h)
    h[1] = traffic
    sum_ = (~fw_be16(h + 10) & 0xFFFF) + (~before & 0xFFFF) + fw_be16(h)
    sum_ = (sum_ & 0xFFFF) + (sum_ >> 16)
    sum_ = ~((sum_ & 0xFFFF) + (sum_ >> 16))
    h[10], h[11] = <uint8_t>(sum_ >> 8), <uint8_t>sum_


cdef inline void frame_mark(
    uint8_t *data, uint32_t captured, uint32_t length, uint16_t link, const parser_t *parser,
    uint8_t mark,
) noexcept nogil:
    """Marks the outermost IP header of a frame; one without a whole one stays as it is."""
    cdef frame_t f
    cdef packet_t p
    parse_any(data, captured, length, link, parser, &f, &p)
    if p.decode & (DECODE_IPV4 | DECODE_IPV6):
        header_mark(data + f.network, f.family, mark)
