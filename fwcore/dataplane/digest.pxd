# BLAKE2b with a 16-byte result (RFC 7693), over what the data plane produces.
#
# Here rather than in Python's hashlib, because victims arise below the line where no Python object
# is touched. Law: equal to hashlib.blake2b(digest_size=16) for every input, in any division.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fwcore.dataplane.layout cimport DIGEST_BLOCK, DIGEST_BYTES, DIGEST_WORDS, digest_t

cdef extern from "dataplane/digest.h" nogil:
    const uint64_t BLAKE2B_IV[DIGEST_WORDS]
    void blake2b_block(uint64_t *h, const uint8_t *block, uint64_t bytes, int last)


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


cdef inline void *digest_room(digest_t *d, uint32_t count) noexcept nogil:
    """Where so many bytes that are taken in stand, for who writes them there; NULL: they do not
    fit in the block, and are added."""
    cdef uint32_t fill = d.fill
    if count > DIGEST_BLOCK - fill:
        return NULL
    d.fill = fill + count
    return d.block + fill


cdef inline void digest_end(const digest_t *running, uint8_t *out) noexcept nogil:
    """The 16 bytes as of now; the running state goes on."""
    cdef digest_t d = running[0]
    memset(d.block + d.fill, 0, DIGEST_BLOCK - d.fill)
    d.bytes += d.fill
    blake2b_block(d.h, d.block, d.bytes, 1)
    memcpy(out, d.h, DIGEST_BYTES)
