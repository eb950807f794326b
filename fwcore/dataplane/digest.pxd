# BLAKE2b with a 16-byte result (RFC 7693), and BLAKE2bp cut to one, over what the data plane
# produces.
#
# Here rather than in Python's hashlib, because victims and departures arise below the line where no
# Python object is touched. A departure has 22 bytes, eleven times those of a packet: so they go
# through BLAKE2bp, four blocks at a time, which costs a third. Law: equal to
# hashlib.blake2b(digest_size=16), and to its tree of four, for every input, in any division.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fwcore.dataplane.layout cimport (
    DIGEST_BLOCK, DIGEST_BYTES, DIGEST_LANES, DIGEST_STRIPE, DIGEST_WORDS, digest4_t, digest_t,
)

cdef extern from "dataplane/digest.h" nogil:
    const uint64_t BLAKE2B_IV[DIGEST_WORDS]
    void blake2b_block(uint64_t *h, const uint8_t *block, uint64_t bytes, int last)
    void blake2b_stripe(uint64_t *h, const uint8_t *stripe, uint64_t bytes)
    int BLOCK_LAST, BLOCK_LAST_NODE


cdef inline void digest_begin(digest_t *d) noexcept nogil:
    cdef int i
    memset(d, 0, sizeof(digest_t))
    for i in range(DIGEST_WORDS):
        d.h[i] = BLAKE2B_IV[i]
    d.h[0] ^= 0x01010000 ^ DIGEST_BYTES  # no key, so many bytes out


cdef inline void digest_add(digest_t *d, const uint8_t *data, uint64_t count) noexcept nogil:
    """=> any division of the same bytes leaves the same state. The last block waits."""
    cdef uint64_t part
    if count <= DIGEST_BLOCK - d.fill:
        memcpy(d.block + d.fill, data, count)
        d.fill += <uint32_t>count
        return
    while count:  # bounded by count: each turn takes at least a byte
        if d.fill == DIGEST_BLOCK:
            d.bytes += DIGEST_BLOCK
            blake2b_block(d.h, d.block, d.bytes, 0)
            d.fill = 0
        if d.fill == 0 and count > DIGEST_BLOCK:
            d.bytes += DIGEST_BLOCK
            blake2b_block(d.h, data, d.bytes, 0)
            data += DIGEST_BLOCK
            count -= DIGEST_BLOCK
            continue
        part = DIGEST_BLOCK - d.fill
        if part > count:
            part = count
        memcpy(d.block + d.fill, data, part)
        d.fill += <uint32_t>part
        data += part
        count -= part


cdef inline void digest_end(const digest_t *running, uint8_t *out) noexcept nogil:
    """The 16 bytes as of now; the running state goes on."""
    cdef digest_t d = running[0]
    memset(d.block + d.fill, 0, DIGEST_BLOCK - d.fill)
    d.bytes += d.fill
    blake2b_block(d.h, d.block, d.bytes, BLOCK_LAST)
    memcpy(out, d.h, DIGEST_BYTES)


# --- BLAKE2bp -------------------------------------------------------------------------------------

cdef enum:
    BLAKE2BP = 2 << 24 | 4 << 16 | 64    # depth, fanout, bytes of a result (blake2.net, 2.10)
    INNER_BYTES = 64                     # ... and of a lane's
    ROOT = 1                             # depth of the last one, where a lane has 0


cdef inline uint64_t lane_word(int word, uint64_t lane) noexcept nogil:
    """A lane before it takes in anything."""
    cdef uint64_t parameters = 0
    if word == 0:
        parameters = BLAKE2BP
    elif word == 1:
        parameters = lane
    elif word == 2:
        parameters = INNER_BYTES << 8
    return BLAKE2B_IV[word] ^ parameters


cdef inline void digest4_begin(digest4_t *d) noexcept nogil:
    cdef int word, lane
    memset(d, 0, sizeof(digest4_t))
    for word in range(DIGEST_WORDS):
        for lane in range(DIGEST_LANES):
            d.h[word][lane] = lane_word(word, lane)


cdef inline void digest4_take(digest4_t *d) noexcept nogil:
    """The first of two stripes is taken in. => both are full, and more comes"""
    d.bytes += DIGEST_BLOCK
    blake2b_stripe(&d.h[0][0], d.stripes, d.bytes)
    memcpy(d.stripes, d.stripes + DIGEST_STRIPE, DIGEST_STRIPE)
    d.fill = DIGEST_STRIPE


cdef inline void digest4_add(digest4_t *d, const uint8_t *data, uint64_t count) noexcept nogil:
    """=> any division of the same bytes leaves the same state."""
    cdef uint64_t part
    while count:  # bounded by count: each turn takes at least a byte
        if d.fill == 2 * DIGEST_STRIPE:
            digest4_take(d)
        part = 2 * DIGEST_STRIPE - d.fill
        if part > count:
            part = count
        memcpy(d.stripes + d.fill, data, part)
        d.fill += <uint32_t>part
        data += part
        count -= part


cdef inline void *digest4_room(digest4_t *d, uint32_t count) noexcept nogil:
    """Where so many bytes that are taken in stand, for who writes them there; NULL: they do not
    fit in the stripes, and are added."""
    cdef uint32_t fill = d.fill
    if count > 2 * DIGEST_STRIPE - fill:
        return NULL
    d.fill = fill + count
    return d.stripes + fill


cdef inline void lane_end(const digest4_t *d, int lane, uint8_t *out) noexcept nogil:
    """What a lane comes to: of what waits it has a block of each stripe, as far as it is filled."""
    cdef uint64_t h[DIGEST_WORDS]
    cdef uint8_t block[DIGEST_BLOCK]
    cdef uint64_t bytes = d.bytes
    cdef uint32_t at = lane * DIGEST_BLOCK, have
    cdef int word
    for word in range(DIGEST_WORDS):
        h[word] = d.h[word][lane]
    if d.fill > DIGEST_STRIPE + at:      # there is one behind it
        bytes += DIGEST_BLOCK
        blake2b_block(h, d.stripes + at, bytes, 0)
        at += DIGEST_STRIPE
    have = d.fill - at if d.fill > at else 0
    if have > DIGEST_BLOCK:
        have = DIGEST_BLOCK
    memset(block, 0, DIGEST_BLOCK)
    memcpy(block, d.stripes + at, have)
    blake2b_block(h, block, bytes + have,
                  BLOCK_LAST | (BLOCK_LAST_NODE if lane == DIGEST_LANES - 1 else 0))
    memcpy(out, h, INNER_BYTES)


cdef inline void digest4_end(const digest4_t *d, uint8_t *out) noexcept nogil:
    """The 16 bytes as of now; the running state goes on."""
    cdef uint8_t inner[DIGEST_LANES * INNER_BYTES]
    cdef uint64_t h[DIGEST_WORDS]
    cdef int word, lane
    for lane in range(DIGEST_LANES):
        lane_end(d, lane, inner + lane * INNER_BYTES)
    for word in range(DIGEST_WORDS):
        h[word] = lane_word(word, 0)
    h[2] ^= ROOT
    blake2b_block(h, inner, DIGEST_BLOCK, 0)
    blake2b_block(h, inner + DIGEST_BLOCK, 2 * DIGEST_BLOCK, BLOCK_LAST | BLOCK_LAST_NODE)
    memcpy(out, h, DIGEST_BYTES)
