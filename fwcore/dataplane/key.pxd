# Keys: which ends, which ports, of whose session; how ICMP asks and answers.
#
# Laws: both ways of a connection have one key and one hash.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fwcore.dataplane.frame cimport frame_t, parser_t
from fwcore.dataplane.layout cimport META_ASKER_B, fw_be16, fw_key_t, fw_mum, packet_t


cdef inline void parse_key(
    const frame_t *f, packet_t *p, uint32_t source_port, uint32_t destination_port,
    const parser_t *parser,
) noexcept nogil:
    """The canonical key: the smaller (address, port) is endpoint a. Sets swapped and the hash."""
    cdef fw_key_t *key = &p.key
    cdef uint64_t source, destination, low, high, ports
    cdef int swapped
    if f.family == 4:
        source = f.source_lo << 16 | source_port
        destination = f.destination_lo << 16 | destination_port
        swapped = source > destination
        low = destination if swapped else source
        high = source if swapped else destination
        key.a_lo = low >> 16
        key.b_lo = high >> 16
        key.a_hi = key.b_hi = 0
        ports = (low & 0xFFFF) | (high & 0xFFFF) << 16
    else:
        if f.source_hi != f.destination_hi:
            swapped = f.source_hi > f.destination_hi
        elif f.source_lo != f.destination_lo:
            swapped = f.source_lo > f.destination_lo
        else:
            swapped = source_port > destination_port
        key.a_lo = f.destination_lo if swapped else f.source_lo
        key.b_lo = f.source_lo if swapped else f.destination_lo
        key.a_hi = f.destination_hi if swapped else f.source_hi
        key.b_hi = f.source_hi if swapped else f.destination_hi
        if swapped:
            ports = destination_port | source_port << 16
        else:
            ports = source_port | destination_port << 16
    p.swapped = swapped
    p.protocol = f.protocol
    key.meta = ports | <uint64_t>f.protocol << 48 | <uint64_t>f.family << 56
    if parser.zone:
        key.meta |= <uint64_t>f.zone << 32


cdef inline uint64_t key_hash(const fw_key_t *key, const uint64_t *seeds) noexcept nogil:
    """Keyed hash of a key: multiply and fold, a secret under each word."""
    cdef uint64_t h = fw_mum(key.a_lo ^ seeds[0], key.b_lo ^ seeds[1])
    if key.meta >> 56 == 6:
        h ^= fw_mum(key.a_hi ^ seeds[2], key.b_hi ^ seeds[3])
    return fw_mum(h ^ seeds[4], key.meta ^ seeds[5])


cdef inline void parse_typed_key(
    const frame_t *f, packet_t *p, uint8_t icmp_type, const parser_t *parser,
) noexcept nogil:
    """The key of an ICMP message that is no echo: by type; 65535 keeps it apart from echoes."""
    parse_key(f, p, 0, 0, parser)
    p.key.meta |= icmp_type | <uint64_t>0xFFFF0000


cdef inline int icmp_asks(uint8_t family, uint8_t icmp_type) noexcept nogil:
    """Whether a reply may follow: echo, timestamp, information, mask; echo, node information."""
    if family == 6:
        return icmp_type == 128 or icmp_type == 139
    return icmp_type == 8 or icmp_type == 13 or icmp_type == 15 or icmp_type == 17


cdef inline int icmp_answers(uint8_t family, uint8_t icmp_type) noexcept nogil:
    if family == 6:
        return icmp_type == 129 or icmp_type == 140
    return icmp_type == 0 or icmp_type == 14 or icmp_type == 16 or icmp_type == 18


cdef inline int icmp_untracked(uint8_t family, uint8_t icmp_type) noexcept nogil:
    """Neighbour discovery and multicast listeners [R]."""
    return family == 6 and (130 <= icmp_type <= 136 or icmp_type == 143)


cdef inline void parse_pair_key(
    const frame_t *f, packet_t *p, const uint8_t *h, const parser_t *parser,
) noexcept nogil:
    """The key of ICMP as Linux tracks it: identifier and type of the request, and who asks."""
    cdef int answers = icmp_answers(f.family, h[0])
    cdef uint32_t request = h[0]
    cdef int same = f.source_lo == f.destination_lo and f.source_hi == f.destination_hi
    if answers:
        request = h[0] - 1 if h[0] else 8
    p.no_start = not icmp_asks(f.family, h[0])
    parse_key(f, p, 0, 0, parser)
    p.key.meta |= request << 16
    if icmp_asks(f.family, request):
        p.key.meta |= fw_be16(h + 4)
    if same:
        p.swapped = answers
    elif p.swapped ^ answers:
        p.key.meta |= META_ASKER_B


cdef inline void parse_icmp_key(
    const frame_t *f, packet_t *p, const uint8_t *h, const parser_t *parser,
) noexcept nogil:
    """The key of an ICMP message that is no error; `h`: its header."""
    if parser.as_linux:
        parse_pair_key(f, p, h, parser)
    elif icmp_is_echo(f.family, h[0]):
        parse_key(f, p, fw_be16(h + 4), fw_be16(h + 4), parser)
    else:
        parse_typed_key(f, p, h[0], parser)


cdef inline int icmp_is_error(uint8_t family, uint8_t icmp_type) noexcept nogil:
    if family == 6:
        return 1 <= icmp_type <= 4
    return icmp_type == 3 or icmp_type == 4 or icmp_type == 5 or icmp_type == 11 or icmp_type == 12


cdef inline int icmp_is_echo(uint8_t family, uint8_t icmp_type) noexcept nogil:
    if family == 6:
        return icmp_type == 128 or icmp_type == 129
    return icmp_type == 8 or icmp_type == 0
