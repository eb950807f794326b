"""Frames as columns: what the parser makes of each frame of a chunk, for whoever only reads.

    chunk --parse_columns--> FRAME_DTYPE rows --NumPy--> filter, who was hit, explain
    addresses, sessions --..._texts--> texts one behind the other --> files of rows

One walk of parse_any a frame, the long way that the fast path's shortcut (parse_common) has to
equal; ``parse`` goes either way with a single frame, so that tests can hold one against the other.
Where a frame is damaged or cut, a row has what was read before: the filter sees the address of a
packet whose transport was not captured.
"""

from enum import IntEnum

import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fwcore._parsed cimport Frames
from fwcore.dataplane.frame cimport frame_expect, frame_t, parser_begin, parser_t
from fwcore.dataplane.layout cimport (
    DECODE_IPV4, DECODE_IPV6, FRAME_FIRST, FRAME_LATER, FRAME_WHOLE, HAS_DESTINATION, HAS_PORTS,
    HAS_SOURCE, KIND_KEYED, KIND_LATER, KIND_MALFORMED, KIND_NO_QUOTE, KIND_NON_IP, KIND_QUOTE,
    KIND_TRUNCATED, KIND_UNSUPPORTED, SEED_WORDS, TRACKER_PLAIN, frame_row_t, fw_be16,
    fw_be32, fw_be64, fw_once32, fw_once64, fw_past, packet_t, session_row_t,
)
from fwcore.dataplane.mark cimport frame_mark
from fwcore.dataplane.shaping cimport MARK_CE_ALONE
from fwcore.dataplane.parse cimport parse_any, parse_common, parse_frame
from fwcore.errors import DataError, FrameError, refusing

cdef extern from "dataplane/text.h" nogil:
    enum:
        TEXT_IPV6_BYTES, TEXT_KEY_BYTES, TEXT_PROTOCOL_BYTES
    uint8_t *text_number(uint8_t *out, uint32_t number)
    uint8_t *text_address(uint8_t *out, uint64_t high, uint64_t low, int family)
    uint8_t *text_end(uint8_t *out, uint64_t high, uint64_t low, int family, uint16_t port)

Kind = IntEnum("Kind", {
    "KEYED": KIND_KEYED, "QUOTE": KIND_QUOTE, "LATER": KIND_LATER, "NO_QUOTE": KIND_NO_QUOTE,
    "NON_IP": KIND_NON_IP, "UNSUPPORTED": KIND_UNSUPPORTED, "TRUNCATED": KIND_TRUNCATED,
    "MALFORMED": KIND_MALFORMED,
}, module=__name__)
Fragment = IntEnum("Fragment", {
    "WHOLE": FRAME_WHOLE, "FIRST": FRAME_FIRST, "LATER": FRAME_LATER}, module=__name__)
SOURCE, DESTINATION, PORTS = HAS_SOURCE, HAS_DESTINATION, HAS_PORTS
# Of the flows' hash where nobody wants those of an engine: the first digits of pi.
SEEDS = (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0,
         0x082EFA98EC4E6C89, 0x452821E638D01377, 0xBE5466CF34E90C6C)

cdef enum:
    IPV4 = 0x0800           # ethertypes
    IPV6 = 0x86DD
    ARP = 0x0806
    ARP_SOURCE = 14         # in its body for IPv4: where the sender's address stands
    ARP_DESTINATION = 24
    ARP_BYTES = 28
    PROTOCOL_NUMBERS = 256


cdef object _dtype():
    cdef frame_row_t row
    return np.asarray(<const frame_row_t[:1]>&row).dtype


FRAME_DTYPE = _dtype()


cdef struct place_t:
    # Where a frame lies: what was looked at is what is used, also where another thread writes to
    # the arrays meanwhile.
    uint64_t at
    uint32_t captured, wire
    uint16_t link


cdef inline int frame_look(Frames frames, uint64_t i, place_t *place) except -1 nogil:
    """Frame i lies within the data, or FrameError; one that comes soon is fetched."""
    place.at = fw_once64(&frames.offset[i])
    place.captured = fw_once32(&frames.captured[i])
    place.wire = fw_once32(&frames.length[i])
    place.link = frames.link[i]
    if fw_past(place.at, place.captured, frames.size):
        with gil:
            raise FrameError(f"chunk: frame {i} reaches past the data")
    frame_expect(frames.bytes_, &frames.offset[0], i, frames.count)
    return 0


@refusing(FrameError)
def mark_frames(chunk, const uint8_t[::1] mark not None, uint8_t none=255):
    """Writes marks into the outermost IP headers of frames, in their place.

    ``mark``: uint8[n], a DSCP, 64 + a DSCP with CE (congestion experienced), 128 for CE alone;
    ``none`` leaves a frame as it is, and so does a frame without a whole IP header. Raises
    FrameError where a frame reaches past the data, DataError for a mark that is none, and where
    there are not as many as frames.
    """
    cdef uint8_t[::1] data = chunk.data
    cdef Frames frames = Frames(chunk)
    cdef place_t place
    cdef parser_t parser
    cdef uint64_t keys[SEED_WORDS]
    cdef uint64_t i
    if <uint64_t>data.shape[0] != frames.size:    # one that gives other arrays each time
        raise FrameError("chunk: its data is of two lengths")
    if <uint64_t>mark.shape[0] != frames.count:
        raise DataError(f"{mark.shape[0]} marks for {frames.count} frames")
    parser_make(&parser, keys, SEEDS, False, 0, False)
    for i in range(frames.count):
        if mark[i] == none:
            continue
        if mark[i] > MARK_CE_ALONE:
            raise DataError(f"mark {mark[i]} is not in 0..128")
        frame_look(frames, i, &place)
        frame_mark(&data[0] + place.at, place.captured, place.wire, place.link, &parser, mark[i])


cdef inline int has_ports(uint8_t protocol) noexcept nogil:
    return protocol == 6 or protocol == 17 or protocol == 132


cdef inline void row_addresses(const frame_t *f, frame_row_t *row) noexcept nogil:
    """Source and destination: IP's, or those that ARP asks about."""
    if f.family:
        row.source[0] = f.source_hi
        row.source[1] = f.source_lo
        row.destination[0] = f.destination_hi
        row.destination[1] = f.destination_lo
    elif f.ethertype == ARP and f.captured >= f.network + ARP_BYTES:
        row.source[1] = fw_be32(f.data + f.network + ARP_SOURCE)
        row.destination[1] = fw_be32(f.data + f.network + ARP_DESTINATION)
    else:
        return
    row.has |= HAS_SOURCE | HAS_DESTINATION


cdef inline void row_cut(const frame_t *f, frame_row_t *row) noexcept nogil:
    """Of an IP header that was captured in part: protocol and source, if those were."""
    cdef const uint8_t *h = f.data + f.network
    cdef uint32_t there = f.captured - f.network
    if f.ethertype == IPV4:
        if there >= 10 and h[0] >> 4 == 4 and h[0] & 15 >= 5:
            row.protocol = h[9]
        if there >= 16:
            row.source[1] = fw_be32(h + 12)
            row.has |= HAS_SOURCE
    elif f.ethertype == IPV6:
        if there >= 7 and h[0] >> 4 == 6:
            row.protocol = h[6]
        if there >= 24:
            row.source[0] = fw_be64(h + 8)
            row.source[1] = fw_be64(h + 16)
            row.has |= HAS_SOURCE


cdef inline void row_packet(const frame_t *f, const packet_t *p, frame_row_t *row) noexcept nogil:
    """Of a valid IP header: the packet's bytes and its mark."""
    cdef const uint8_t *h = f.data + f.network
    if not p.decode & (DECODE_IPV4 | DECODE_IPV6):
        return
    row.ip_bytes = f.limit - f.network
    row.dscp = h[1] >> 2 if f.family == 4 else (h[0] & 15) << 2 | h[1] >> 6


cdef inline void row_transport(
    const frame_t *f, const packet_t *p, frame_row_t *row,
) noexcept nogil:
    """Ports and flags as far as they were captured; of ICMP what its key has instead."""
    cdef const uint8_t *h = f.data + f.transport
    cdef uint16_t port_a = <uint16_t>p.key.meta
    cdef uint16_t port_b = <uint16_t>(p.key.meta >> 16)
    if has_ports(f.protocol):
        if f.fragment_offset or f.captured < f.transport + 4:
            return
        row.has |= HAS_PORTS
        row.source_port = fw_be16(h)
        row.destination_port = fw_be16(h + 2)
        if f.protocol == 6 and f.captured >= f.transport + 14 and f.limit >= f.transport + 14:
            row.tcp_flags = h[13]
    elif p.kind == KIND_KEYED:
        row.source_port = port_b if p.swapped else port_a
        row.destination_port = port_a if p.swapped else port_b


cdef inline void row_fill(const frame_t *f, const packet_t *p, frame_row_t *row) noexcept nogil:
    """=> the row is zeroed"""
    row.kind = p.kind
    row.payload = p.payload
    row.captured = f.captured
    row.zone = <uint16_t>f.zone
    row.ethertype = <uint16_t>f.ethertype
    row_addresses(f, row)
    if p.kind == KIND_KEYED or p.kind == KIND_QUOTE:
        memcpy(row.key, &p.key, sizeof(p.key))
        row.flow = p.hash
        row.swapped = p.swapped
    if f.family == 0:
        row_cut(f, row)
        return
    row.family = f.family
    row.protocol = f.protocol
    row_packet(f, p, row)
    row_transport(f, p, row)
    if p.fragment:
        row.fragment = FRAME_LATER if p.kind == KIND_LATER else FRAME_FIRST
        row.fragment_id = f.fragment_id
        row.fragment_protocol = f.fragment_protocol


cdef inline void row_common(
    const uint8_t *data, uint32_t captured, const packet_t *p, frame_row_t *row,
) noexcept nogil:
    """What ``row_fill`` says of a frame that took the short way: Ethernet, an IP header without
    options or extensions, TCP or UDP. => the row is zeroed"""
    cdef uint32_t port_a = p.key.meta & 0xFFFF, port_b = p.key.meta >> 16 & 0xFFFF
    cdef int six = data[14] >> 4 == 6
    row.kind = KIND_KEYED
    row.payload = p.payload
    row.captured = captured
    row.ethertype = IPV6 if six else IPV4
    row.family = 6 if six else 4
    row.protocol = <uint8_t>(p.key.meta >> 48)
    row.has = HAS_SOURCE | HAS_DESTINATION | HAS_PORTS
    row.source[0] = p.key.b_hi if p.swapped else p.key.a_hi
    row.source[1] = p.key.b_lo if p.swapped else p.key.a_lo
    row.destination[0] = p.key.a_hi if p.swapped else p.key.b_hi
    row.destination[1] = p.key.a_lo if p.swapped else p.key.b_lo
    row.source_port = <uint16_t>(port_b if p.swapped else port_a)
    row.destination_port = <uint16_t>(port_a if p.swapped else port_b)
    memcpy(row.key, &p.key, sizeof(p.key))
    row.flow = p.hash
    row.swapped = p.swapped
    if six:
        row.ip_bytes = 40 + fw_be16(data + 18)
        row.dscp = (data[14] & 15) << 2 | data[15] >> 6
    else:
        row.ip_bytes = fw_be16(data + 16)
        row.dscp = data[15] >> 2
    if row.protocol == 6:
        row.tcp_flags = data[67 if six else 47]


cdef int parser_make(parser_t *parser, uint64_t *keys, seeds, zone, uint32_t shift, cut) except -1:
    """The parser's settings; DataError for seeds that are not six."""
    if len(seeds) != SEED_WORDS:
        raise DataError(f"seeds: {len(seeds)} numbers; give six")
    for i in range(SEED_WORDS):
        keys[i] = seeds[i]
    parser_begin(parser, keys, bool(zone), shift, TRACKER_PLAIN, bool(cut))
    return 0


@refusing(FrameError)
def parse_columns(chunk, zone=False, seeds=SEEDS, shift=0, cut=False):
    """What each frame of a chunk of n says: FRAME_DTYPE[n], see ``frame_row_t`` in layout.h.

    ``zone``: the VLAN id is part of the key. ``seeds``: of the flows' hash. ``shift``: of the
    addresses in a looped replay. ``cut``: a frame that its IP header says is longer was cut (the
    setting ``short_frames``). Raises FrameError when arrays are of another kind or differ in
    length, or a frame reaches past the data.
    """
    cdef Frames frames = Frames(chunk)
    cdef uint64_t i
    cdef uint64_t keys[SEED_WORDS]
    cdef parser_t parser
    cdef frame_t f
    cdef packet_t p
    cdef frame_row_t[::1] out
    cdef const uint8_t *data
    cdef uint32_t captured
    cdef place_t place
    parser_make(&parser, keys, seeds, zone, shift, cut)
    rows = np.zeros(frames.count, dtype=FRAME_DTYPE)
    if frames.count == 0:
        return rows
    out = rows
    memset(&p, 0, sizeof(packet_t))
    with nogil:
        for i in range(frames.count):
            frame_look(frames, i, &place)
            data, captured = frames.bytes_ + place.at, min(place.captured, place.wire)
            out[i].length = place.wire
            if place.link == 1 and parse_common(data, captured, place.wire, &parser, &p):
                row_common(data, captured, &p, &out[i])
            else:
                parse_any(data, captured, place.wire, place.link, &parser, &f, &p)
                row_fill(&f, &p, &out[i])
    return rows


@refusing(FrameError)
def flow_columns(chunk, shift=0, cut=False):
    """Whose each frame of a chunk of n is, and nothing else of it, by the fast path's shortcut.

    As ``parse_columns`` has them: ``flow`` uint64[n], 0 without a key; ``swapped`` uint8[n]; and
    int64[m], which frames are fragments. Raises FrameError as it does.
    """
    cdef Frames frames = Frames(chunk)
    cdef uint64_t i, many = 0
    cdef uint64_t keys[SEED_WORDS]
    cdef parser_t parser
    cdef packet_t p
    cdef place_t place
    parser_make(&parser, keys, SEEDS, False, shift, cut)
    flow, swapped = np.zeros(frames.count, np.uint64), np.zeros(frames.count, np.uint8)
    parts = np.empty(frames.count, np.int64)
    cdef uint64_t[::1] flows = flow
    cdef uint8_t[::1] directions = swapped
    cdef int64_t[::1] fragments = parts
    memset(&p, 0, sizeof(packet_t))
    with nogil:
        for i in range(frames.count):
            frame_look(frames, i, &place)
            p.fragment = 0
            parse_frame(frames.bytes_ + place.at, place.captured, place.wire, place.link, &parser,
                        &p)
            if p.kind == KIND_KEYED or p.kind == KIND_QUOTE:
                flows[i] = p.hash
                directions[i] = p.swapped
            if p.fragment:
                fragments[many] = i
                many += 1
    return flow, swapped, parts[:many].copy()


@refusing(DataError)
def parse(const uint8_t[::1] frame, length=None, link=1, zone=False, seeds=SEEDS, shift=0,
          shortcut=True, cut=False):
    """What parsing makes of one frame: a dict of packet_t's fields, and its second half where the
    frame is a fragment.

    ``frame``: captured bytes; ``length``: on the wire (default: all captured); ``link``:
    LINKTYPE number; ``shortcut``: as the fast path does, or the long way round. DataError for
    seeds that are not six and for a link type beyond 16 bits.
    """
    cdef uint64_t keys[SEED_WORDS]
    cdef parser_t parser
    cdef frame_t f
    cdef packet_t p
    cdef uint32_t count = frame.shape[0]
    cdef uint32_t wire = count if length is None else length
    if not 0 <= link <= 0xFFFF:
        raise DataError(f"link: {link} is no LINKTYPE number, which has 16 bits")
    parser_make(&parser, keys, seeds, zone, shift, cut)
    memset(&p, 0, sizeof(packet_t))
    if shortcut:
        parse_frame(&frame[0] if count else NULL, count, wire, link, &parser, &p)
    else:
        parse_any(&frame[0] if count else NULL, min(count, wire), wire, link, &parser, &f, &p)
    return {"kind": p.kind, "key": p.key, "payload": p.payload, "swapped": p.swapped,
            "class": p.class_, "syn": p.syn, "protocol": p.protocol, "fragment": p.fragment,
            "decode": p.decode, "hash": p.hash, "fragment_meta": p.fragment_meta,
            "source": <object>p.source_hi << 64 | <object>p.source_lo,
            "destination": <object>p.destination_hi << 64 | <object>p.destination_lo,
            "fragment_id": p.fragment_id}


# --- texts ----------------------------------------------------------------------------------------

cdef struct names_t:
    uint8_t text[PROTOCOL_NUMBERS][TEXT_PROTOCOL_BYTES]
    uint8_t size[PROTOCOL_NUMBERS]


cdef names_t PROTOCOLS


cdef int names_fill(names_t *names) except -1:
    """How a key spells each protocol."""
    from fwcore.words import protocol_text
    cdef const uint8_t[::1] view
    for number in range(PROTOCOL_NUMBERS):
        text = protocol_text(number).encode()
        if len(text) > TEXT_PROTOCOL_BYTES:
            raise DataError(f"protocol {number}: {text} is longer than a key has room for")
        view = text
        memcpy(names.text[number], &view[0], view.shape[0])
        names.size[number] = <uint8_t>view.shape[0]
    return 0


names_fill(&PROTOCOLS)


cdef inline uint8_t *text_key(uint8_t *out, const session_row_t *row) noexcept nogil:
    cdef int family = row.family
    cdef uint64_t a_hi = 0, a_lo, b_hi = 0, b_lo
    if family == 4:
        a_lo, b_lo = fw_be32(row.initiator), fw_be32(row.responder)
    else:
        a_hi, a_lo = fw_be64(row.initiator), fw_be64(row.initiator + 8)
        b_hi, b_lo = fw_be64(row.responder), fw_be64(row.responder + 8)
    out = text_end(out, a_hi, a_lo, family, row.initiator_port)
    out[0] = c"-"
    out = text_end(out + 1, b_hi, b_lo, family, row.responder_port)
    out[0] = c"/"
    memcpy(out + 1, PROTOCOLS.text[row.protocol], PROTOCOLS.size[row.protocol])
    out += 1 + PROTOCOLS.size[row.protocol]
    if row.zone:
        out[0] = c"@"
        out = text_number(out + 1, row.zone)
    return out


@refusing(DataError)
def key_texts(const session_row_t[:] rows not None):
    """Keys of sessions (``SESSION_DTYPE[n]``) as ``fwcore explain --flow`` takes them: (bytes of
    all, UTF-8, uint8[m]; where each begins, and the end, int64[n + 1]). DataError for rows of
    another kind."""
    cdef int64_t[::1] at
    cdef uint8_t[::1] room
    cdef uint64_t i, count = rows.shape[0]
    cdef uint8_t *begin
    cdef uint8_t *out
    data, offset = np.empty(count * TEXT_KEY_BYTES + 1, np.uint8), np.zeros(count + 1, np.int64)
    room, at = data, offset
    begin = out = &room[0]
    with nogil:
        for i in range(count):
            out = text_key(out, &rows[i])
            at[i + 1] = out - begin
    return data[:offset[count]], offset


@refusing(DataError)
def address_texts(const uint64_t[:] high not None, const uint64_t[:] low not None,
                  const uint8_t[:] family not None):
    """Addresses, uint64[n] twice and uint8[n], as text, "" where the family is 0; as
    ``key_texts``. DataError where arrays are of another kind or differ in length."""
    cdef int64_t[::1] at
    cdef uint8_t[::1] room
    cdef uint64_t i, count = family.shape[0]
    cdef uint8_t *begin
    cdef uint8_t *out
    if not high.shape[0] == low.shape[0] == family.shape[0]:
        raise DataError("addresses: the arrays differ in length")
    data, offset = np.empty(count * TEXT_IPV6_BYTES + 1, np.uint8), np.zeros(count + 1, np.int64)
    room, at = data, offset
    begin = out = &room[0]
    with nogil:
        for i in range(count):
            if family[i]:
                out = text_address(out, high[i], low[i], family[i])
            at[i + 1] = out - begin
    return data[:offset[count]], offset
