# A frame becomes a packet, or the reason why it is none.
#
# Overview: parse_frame walks from the link header to an IP header (shims: VLAN tags, MPLS labels,
# PPPoE), parse_ip to the transport, parse_transport to the key. Lengths are checked against the
# wire, so that a frame cut by the snap length is `truncated` and only a header that contradicts
# itself is `malformed`; each header is checked once (parse_need) before it is read.
#
# Laws: parsing changes nothing but the packet it writes; no byte outside the captured ones is
# read; every prefix of every frame has a defined result; every loop is bounded.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fwcore.dataplane.frame cimport (
    frame_t, parse_link, parse_need, parse_shift4, parse_shift6, parser_t,
)
from fwcore.dataplane.key cimport icmp_is_error, icmp_untracked, key_hash, parse_icmp_key, parse_key
from fwcore.dataplane.layout cimport (
    CLASS_NONE, DECODE_FRAGMENT, DECODE_IPV4, DECODE_IPV6, DECODE_OFFLOADED, EXTENSIONS_MAX,
    KIND_BROKEN, KIND_KEYED, KIND_LATER, KIND_MALFORMED, KIND_NO_QUOTE, KIND_QUOTE, KIND_TRUNCATED,
    KIND_UNTRACKED, L4_ICMP, L4_MALFORMED, L4_OTHER, L4_SCTP, L4_TCP, L4_UDP, fw_be16, fw_be32,
    fw_be64, fw_head, fw_le16, fw_le32, fw_likely, fw_past, fw_unlikely, packet_t,
)


# --- IP -----------------------------------------------------------------------------------------

cdef inline int parse_short(frame_t *f, uint32_t bytes_, const parser_t *parser) noexcept nogil:
    """Whether `bytes_` from f.at on fit the frame.

    Some tools cut frames and lose their length on the wire: the record says that the frame is
    whole, and the IP header is right. With short_cut such a frame is as long as IP says.
    """
    if bytes_ <= f.limit - f.at:
        return 1
    if not parser.short_cut or f.captured < f.limit or bytes_ > 0xFFFF:  # no jumbo
        return 0
    f.limit = f.at + bytes_
    return 1


cdef inline int parse_ipv4(frame_t *f, packet_t *p, const parser_t *parser) noexcept nogil:
    cdef const uint8_t *h
    cdef uint32_t header, total, room, word
    cdef int status = parse_need(f, 20)
    if status:
        return status
    h = f.data + f.at
    f.family = 4
    f.source_lo = parse_shift4(fw_be32(h + 12), parser.shift)
    f.destination_lo = parse_shift4(fw_be32(h + 16), parser.shift)
    f.source_hi = f.destination_hi = 0
    header = (h[0] & 15) * 4
    if h[0] >> 4 != 4 or header < 20:
        return KIND_MALFORMED
    word = fw_be16(h + 6)
    f.protocol = f.fragment_protocol = h[9]
    f.fragment_offset = word & 0x1FFF
    f.more = (word >> 13) & 1
    f.fragmented = (word & 0x3FFF) != 0
    f.fragment_id = fw_be16(h + 4)
    f.transport = f.at + header
    total = fw_be16(h + 2)
    room = f.limit - f.at
    if total == 0:  # segmentation offload leaves the length to the card
        total = room
        p.decode |= DECODE_OFFLOADED
    if total < header or not parse_short(f, total, parser):
        return KIND_MALFORMED
    if f.captured < f.at + header:
        return KIND_TRUNCATED
    p.decode |= DECODE_IPV4
    f.limit = f.at + total
    f.at += header
    return 0


cdef inline int parse_jumbo(const frame_t *f, uint32_t *payload) noexcept nogil:
    """The jumbo option of the hop-by-hop header at f.at, into payload (0: none). RFC 2675."""
    cdef uint32_t end, at, length
    cdef int status = parse_need(f, 8)
    payload[0] = 0
    if status:
        return status
    length = (f.data[f.at + 1] + 1) * 8
    status = parse_need(f, length)
    if status:
        return status
    end = f.at + length
    at = f.at + 2
    while at + 1 < end:  # bounded by the header, at most 2 048 bytes
        if f.data[at] == 0:
            at += 1
            continue
        if f.data[at] == 0xC2 and f.data[at + 1] == 4 and at + 6 <= end:
            payload[0] = fw_be32(f.data + at + 2)
            return 0
        at += 2 + f.data[at + 1]
    return 0


cdef inline int parse_extensions(frame_t *f) noexcept nogil:
    """Walks IPv6 extension headers up to the transport or a later fragment; 0 or a kind.

    A quote's lengths are only held against the enclosing packet, as its own limit says.
    """
    cdef int status, count
    cdef uint8_t header
    cdef uint32_t length, word
    for count in range(EXTENSIONS_MAX + 1):
        header = f.protocol
        if not (header == 0 or header == 43 or header == 44 or header == 51 or header == 60
                or header == 135 or header == 139 or header == 140):
            return 0
        if count == EXTENSIONS_MAX:
            break
        status = parse_need(f, 8)
        if status:
            return status
        f.protocol = f.data[f.at]
        if header == 44:
            length = 8
            word = fw_be16(f.data + f.at + 2)
            f.fragment_offset = word >> 3
            f.more = word & 1
            f.fragmented = f.fragment_offset != 0 or f.more != 0
            f.fragment_id = fw_be32(f.data + f.at + 4)
            f.fragment_protocol = f.protocol
        elif header == 51:
            length = (f.data[f.at + 1] + 2) * 4
        else:
            length = (f.data[f.at + 1] + 1) * 8
        if length > f.limit - f.at:
            return KIND_MALFORMED
        f.at += length
        if f.fragment_offset != 0:
            return 0
    return KIND_MALFORMED


cdef inline int parse_ipv6(frame_t *f, packet_t *p, const parser_t *parser) noexcept nogil:
    cdef const uint8_t *h
    cdef uint32_t payload, room
    cdef int status = parse_need(f, 40)
    if status:
        return status
    h = f.data + f.at
    f.family = 6
    f.source_hi = fw_be64(h + 8)
    f.source_lo = parse_shift6(fw_be64(h + 16), parser.shift)
    f.destination_hi = fw_be64(h + 24)
    f.destination_lo = parse_shift6(fw_be64(h + 32), parser.shift)
    if h[0] >> 4 != 6:
        return KIND_MALFORMED
    f.protocol = f.fragment_protocol = h[6]
    f.fragment_offset = f.more = f.fragmented = 0
    payload = fw_be16(h + 4)
    room = f.limit - f.at - 40
    f.at += 40
    f.transport = f.at
    if payload == 0:
        if h[6] == 0:
            status = parse_jumbo(f, &payload)
            if status:
                return status
        if payload == 0:
            payload = room
            p.decode |= DECODE_OFFLOADED
    if not parse_short(f, payload, parser):
        return KIND_MALFORMED
    p.decode |= DECODE_IPV6
    f.limit = f.at + payload
    status = parse_extensions(f)
    f.transport = f.at
    if f.fragmented:
        p.decode |= DECODE_FRAGMENT
    return status


# --- transport ----------------------------------------------------------------------------------


cdef inline int transport_of(uint8_t family, uint8_t protocol) noexcept nogil:
    """L4_*: ICMP counts as such in its own IP version only."""
    if protocol == 6:
        return L4_TCP
    if protocol == 17:
        return L4_UDP
    if protocol == 132:
        return L4_SCTP
    if (protocol == 1 and family == 4) or (protocol == 58 and family == 6):
        return L4_ICMP
    return L4_OTHER


cdef inline uint32_t quote_need(const parser_t *parser, uint8_t protocol) noexcept nogil:
    """Bytes of transport a quote must have: Linux is content with ports."""
    return 4 if parser.as_linux and (protocol == 6 or protocol == 17 or protocol == 132) else 8


cdef inline int udp_broken(const uint8_t *h, uint32_t length, int fragmented) noexcept nogil:
    """Whether UDP's own length cannot be; a fragment holds less than it says."""
    cdef uint32_t said = fw_be16(h + 4)
    return said < 8 or (said > length and not fragmented)


cdef inline int parse_quote(
    const frame_t *outer, packet_t *p, const parser_t *parser,
) noexcept nogil:
    """The key of the packet that an ICMP error quotes: KIND_QUOTE, NO_QUOTE or TRUNCATED."""
    cdef frame_t f = outer[0]
    cdef const uint8_t *h
    cdef int status, transport
    f.at += 8
    status = parse_need(&f, 40 if f.family == 6 else 20)
    if status:
        return KIND_TRUNCATED if status == KIND_TRUNCATED else KIND_NO_QUOTE
    h = f.data + f.at
    if h[0] >> 4 != f.family:
        return KIND_NO_QUOTE
    f.fragment_offset = f.fragmented = 0
    if f.family == 4:
        if (h[0] & 15) < 5 or fw_be16(h + 6) & 0x1FFF:
            return KIND_NO_QUOTE
        f.protocol = h[9]
        f.source_lo = parse_shift4(fw_be32(h + 12), parser.shift)
        f.destination_lo = parse_shift4(fw_be32(h + 16), parser.shift)
        status = parse_need(&f, (h[0] & 15) * 4 + quote_need(parser, f.protocol))
        f.at += (h[0] & 15) * 4
    else:
        f.protocol = h[6]
        f.source_hi = fw_be64(h + 8)
        f.source_lo = parse_shift6(fw_be64(h + 16), parser.shift)
        f.destination_hi = fw_be64(h + 24)
        f.destination_lo = parse_shift6(fw_be64(h + 32), parser.shift)
        f.at += 40
        status = parse_extensions(&f)
        if status == 0:
            status = parse_need(&f, quote_need(parser, f.protocol))
            if f.fragment_offset:
                status = KIND_NO_QUOTE
    if status:
        return KIND_TRUNCATED if status == KIND_TRUNCATED else KIND_NO_QUOTE
    h = f.data + f.at
    transport = transport_of(f.family, f.protocol)
    if transport == L4_TCP or transport == L4_UDP or transport == L4_SCTP:
        parse_key(&f, p, fw_be16(h), fw_be16(h + 2), parser)
    elif transport == L4_ICMP:
        parse_icmp_key(&f, p, h, parser)
    else:
        parse_key(&f, p, 0, 0, parser)
    if parser.as_linux and (f.source_lo != outer.destination_lo
                            or f.source_hi != outer.destination_hi):
        return KIND_NO_QUOTE  # an error goes to whoever sent the packet
    return KIND_QUOTE


cdef inline int parse_icmp(frame_t *f, packet_t *p, const parser_t *parser) noexcept nogil:
    cdef const uint8_t *h
    cdef int status = parse_need(f, 8)
    if status:
        return status
    h = f.data + f.at
    p.decode |= L4_ICMP
    if icmp_is_error(f.family, h[0]):
        status = parse_quote(f, p, parser)
        if status == KIND_TRUNCATED:
            p.decode ^= L4_ICMP
        return status
    p.payload = f.limit - f.at - 8
    if parser.as_linux and icmp_untracked(f.family, h[0]):
        return KIND_UNTRACKED
    parse_icmp_key(f, p, h, parser)
    return KIND_KEYED


cdef inline int parse_tcp(frame_t *f, packet_t *p, const parser_t *parser) noexcept nogil:
    """A TCP segment, or the first fragment of one, which may be cut after its ports."""
    cdef const uint8_t *h = f.data + f.at
    cdef uint32_t length = f.limit - f.at
    cdef uint32_t header = 20
    cdef int status
    if f.fragmented:
        header = 14 if length >= 14 else 4
    status = parse_need(f, header)
    if status:
        return status
    if header >= 14:
        header = (h[12] >> 4) * 4
        if header < 20 or (header > length and not f.fragmented):
            return KIND_MALFORMED
        p.class_ = parser.classes[h[13] & 63]
        p.syn = (h[13] >> 1) & 1
        p.payload = length - header if length > header else 0
    p.decode |= L4_TCP
    parse_key(f, p, fw_be16(h), fw_be16(h + 2), parser)
    return KIND_KEYED


cdef inline int parse_transport(frame_t *f, packet_t *p, const parser_t *parser) noexcept nogil:
    cdef const uint8_t *h
    cdef int transport = transport_of(f.family, f.protocol)
    cdef uint32_t header, length
    cdef int status
    if transport == L4_TCP:
        return parse_tcp(f, p, parser)
    if transport == L4_ICMP:
        return parse_icmp(f, p, parser)
    length = f.limit - f.at
    if transport == L4_OTHER:
        p.decode |= L4_OTHER
        p.payload = length
        parse_key(f, p, 0, 0, parser)
        return KIND_KEYED
    header = 8 if transport == L4_UDP else 12
    status = parse_need(f, 4 if f.fragmented else header)
    if status:
        return status
    h = f.data + f.at
    p.payload = length - header if length > header else 0
    p.decode |= transport
    parse_key(f, p, fw_be16(h), fw_be16(h + 2), parser)
    if (parser.as_linux and transport == L4_UDP and length >= 8 and f.captured >= f.at + 8
            and udp_broken(h, length, f.fragmented)):
        return KIND_BROKEN
    return KIND_KEYED


cdef inline void parse_fragment(
    const frame_t *f, packet_t *p, const parser_t *parser,
) noexcept nogil:
    """The key under which fragments of one packet find each other; not canonical."""
    p.fragment = 1
    p.fragment_meta = <uint64_t>f.fragment_protocol << 48 | <uint64_t>f.family << 56
    if parser.zone:
        p.fragment_meta |= <uint64_t>f.zone << 32
    p.source_lo = f.source_lo
    p.source_hi = f.source_hi
    p.destination_lo = f.destination_lo
    p.destination_hi = f.destination_hi
    p.fragment_id = f.fragment_id


cdef inline int parse_ip(
    frame_t *f, packet_t *p, int version, const parser_t *parser,
) noexcept nogil:
    cdef int status
    if version == 4:
        status = parse_ipv4(f, p, parser)
        if status == 0 and f.fragmented:
            p.decode |= DECODE_FRAGMENT
    else:
        status = parse_ipv6(f, p, parser)
    if f.fragmented and (status == 0 or (status == KIND_MALFORMED and version == 6)):
        parse_fragment(f, p, parser)  # also of what is malformed behind its place: others follow
    if status:
        return status
    if f.fragment_offset:
        p.payload = f.limit - f.at
        p.protocol = f.fragment_protocol
        return KIND_LATER
    status = parse_transport(f, p, parser)
    if status == KIND_MALFORMED and parser.as_linux:
        p.decode |= L4_MALFORMED
        return KIND_BROKEN
    return status


# Nearly every frame: Ethernet, an IP header without options, extensions or fragments, TCP or UDP.
# The same results as the long way round, by fewer steps; whatever is not as expected is left to it.

cdef inline int common_transport(
    const uint8_t *h, uint32_t length, uint32_t captured, uint32_t protocol, uint32_t family,
    uint64_t swapped, const parser_t *parser, packet_t *p,
) noexcept nogil:
    """Payload and head. => `length` bytes of transport, 8 or more, of which 8 were captured."""
    cdef uint32_t header
    if protocol == 17:
        p.payload = length - 8
        p.head = fw_head(swapped, CLASS_NONE, 0, 17, family | L4_UDP)
        return 1
    if protocol != 6 or length < 20 or captured < 20:
        return 0
    header = (h[12] >> 4) * 4
    if header < 20 or header > length:
        return 0
    p.payload = length - header
    p.head = fw_head(swapped, parser.classes[h[13] & 63], (h[13] >> 1) & 1, 6, family | L4_TCP)
    return 1


cdef inline int parse_common4(
    const uint8_t *data, uint32_t captured, uint32_t wire, const parser_t *parser, packet_t *p,
) noexcept nogil:
    cdef uint64_t addresses, source, destination, low, high
    cdef uint32_t total, ports
    if fw_le16(data + 20) & 0xFF3F:  # more fragments, or an offset
        return 0
    total = fw_be16(data + 16)
    if total - 28 > wire - 42:  # less than 28, or more than there is
        return 0
    addresses = fw_be64(data + 26)
    if fw_unlikely(parser.special):
        if parser.as_linux and data[23] == 17 and udp_broken(data + 34, total - 20, 0):
            return 0
        addresses = (parse_shift4(<uint32_t>(addresses >> 32), parser.shift) << 32
                     | parse_shift4(<uint32_t>addresses, parser.shift))
    ports = fw_be32(data + 34)
    source = (addresses >> 32) << 32 | ports >> 16
    destination = addresses << 32 | (ports & 0xFFFF)
    if not common_transport(data + 34, total - 20, captured - 34, data[23], DECODE_IPV4,
                            source > destination, parser, p):
        return 0
    low = destination if source > destination else source
    high = source if source > destination else destination
    p.key.a_lo = low >> 32
    p.key.b_lo = high >> 32
    p.key.a_hi = p.key.b_hi = 0
    p.key.meta = (<uint64_t>4 << 56 | <uint64_t>data[23] << 48
                  | (high & 0xFFFF) << 16 | (low & 0xFFFF))
    p.hash = key_hash(&p.key, parser.seeds)
    return 1


cdef inline int parse_common6(
    const uint8_t *data, uint32_t captured, uint32_t wire, const parser_t *parser, packet_t *p,
) noexcept nogil:
    cdef uint64_t source_hi, source_lo, destination_hi, destination_lo, ports
    cdef uint32_t length
    cdef int swapped
    if captured < 62 or data[14] >> 4 != 6:
        return 0
    length = fw_be16(data + 18)
    if length - 8 > wire - 62:  # less than 8, or more than there is
        return 0
    if fw_unlikely(parser.special and parser.as_linux and data[20] == 17
                   and udp_broken(data + 54, length, 0)):
        return 0
    source_hi = fw_be64(data + 22)
    source_lo = parse_shift6(fw_be64(data + 30), parser.shift)
    destination_hi = fw_be64(data + 38)
    destination_lo = parse_shift6(fw_be64(data + 46), parser.shift)
    ports = fw_be32(data + 54)
    swapped = (source_hi > destination_hi) | (source_hi == destination_hi) & (
        (source_lo > destination_lo) | (source_lo == destination_lo) & (
            ports >> 16 > ports & 0xFFFF))
    if not common_transport(data + 54, length, captured - 54, data[20], DECODE_IPV6, swapped,
                            parser, p):
        return 0
    p.key.a_lo = destination_lo if swapped else source_lo
    p.key.b_lo = source_lo if swapped else destination_lo
    p.key.a_hi = destination_hi if swapped else source_hi
    p.key.b_hi = source_hi if swapped else destination_hi
    if not swapped:
        ports = ports >> 16 | (ports & 0xFFFF) << 16
    p.key.meta = <uint64_t>6 << 56 | <uint64_t>data[20] << 48 | ports
    p.hash = key_hash(&p.key, parser.seeds)
    return 1


cdef inline int parse_common(
    const uint8_t *data, uint32_t captured, uint32_t wire, const parser_t *parser, packet_t *p,
) noexcept nogil:
    """1: the packet is parsed; 0: it goes the long way. => captured is no more than wire"""
    if captured < 42:  # Ethernet, IPv4, UDP
        return 0
    if fw_likely(fw_le32(data + 12) & 0xFFFFFF == 0x450008):  # ethertype, version, header length
        return parse_common4(data, captured, wire, parser, p)
    return fw_le16(data + 12) == 0xDD86 and parse_common6(data, captured, wire, parser, p)


cdef inline void parse_any(
    const uint8_t *data, uint32_t captured, uint32_t wire, uint32_t link,
    const parser_t *parser, frame_t *f, packet_t *p,
) noexcept nogil:
    """parse_frame, the long way round. => captured is no more than wire"""
    cdef int status
    f.data = data
    f.captured = captured
    f.limit = wire
    f.at = 0
    f.zone = 0
    f.ethertype = f.family = f.protocol = 0
    f.fragmented = f.fragment_offset = 0
    p.payload = 0
    p.head = fw_head(0, CLASS_NONE, 0, 0, 0)
    p.hash = 0
    status = parse_link(f, link)
    f.network = f.at
    if status == 4 or status == 6:
        f.ethertype = 0x0800 if status == 4 else 0x86DD
        status = parse_ip(f, p, status, parser)
    p.kind = status
    if status == KIND_MALFORMED:
        p.decode |= L4_MALFORMED
    if status == KIND_KEYED or status == KIND_QUOTE:
        p.hash = key_hash(&p.key, parser.seeds)


cdef inline void parse_frame(
    const uint8_t *data, uint32_t captured, uint32_t wire, uint32_t link,
    const parser_t *parser, packet_t *p,
) noexcept nogil:
    """=> p.kind is set; key, hash and the rest where the kind has them; nothing else changes."""
    cdef frame_t f
    if captured > wire:
        captured = wire
    if fw_unlikely(link != 1 or not parse_common(data, captured, wire, parser, p)):
        parse_any(data, captured, wire, link, parser, &f, p)


cdef inline void parse_placed(
    const uint8_t *data, uint64_t size, uint64_t offset, uint32_t captured, uint32_t wire,
    uint32_t link, const parser_t *parser, packet_t *p,
) noexcept nogil:
    """The frame at ``offset`` of ``size`` bytes; one that is not within them has no bytes."""
    if fw_unlikely(fw_past(offset, captured, size)):
        offset = captured = 0
    parse_frame(data + offset, captured, wire, link, parser, p)
