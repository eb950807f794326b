# DSCP marks written into frames, in their place.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fwcore.dataplane.frame cimport frame_t, parser_t
from fwcore.dataplane.layout cimport DECODE_IPV4, DECODE_IPV6, fw_be16, packet_t
from fwcore.dataplane.parse cimport parse_any


cdef inline void header_mark(uint8_t *h, int family, uint8_t dscp) noexcept nogil:
    """Writes a mark into an IP header; IPv4's checksum is mended (RFC 1624)."""
    cdef uint32_t before, sum_
    if family == 6:
        h[0] = 0x60 | dscp >> 2
        h[1] = (dscp & 3) << 6 | h[1] & 63
        return
    before = fw_be16(h)
    h[1] = dscp << 2 | h[1] & 3
    sum_ = (~fw_be16(h + 10) & 0xFFFF) + (~before & 0xFFFF) + fw_be16(h)
    sum_ = (sum_ & 0xFFFF) + (sum_ >> 16)
    sum_ = ~((sum_ & 0xFFFF) + (sum_ >> 16))
    h[10], h[11] = <uint8_t>(sum_ >> 8), <uint8_t>sum_


cdef inline void frame_mark(
    uint8_t *data, uint32_t captured, uint32_t length, uint16_t link, const parser_t *parser,
    uint8_t dscp,
) noexcept nogil:
    """Marks the outermost IP header of a frame; one without a whole one stays as it is."""
    cdef frame_t f
    cdef packet_t p
    parse_any(data, captured, length, link, parser, &f, &p)
    if p.decode & (DECODE_IPV4 | DECODE_IPV6):
        header_mark(data + f.network, f.family, dscp)
