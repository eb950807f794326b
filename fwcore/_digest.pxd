# BLAKE2b with a 16-byte result (RFC 7693), over what the data plane produces.
#
# Here rather than in Python's hashlib, because victims arise below the line where no Python object
# is touched. Law: equal to hashlib.blake2b(digest_size=16) for every input, in any division.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fwcore._layout cimport BLAKE2B_IV, BLAKE2B_SIGMA, digest_t, fw_le64


cdef inline uint64_t digest_turn(uint64_t x, int bits) noexcept nogil:
    return (x >> bits) | (x << (64 - bits))


cdef inline void digest_mix(
    uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y,
) noexcept nogil:
    v[a] += v[b] + x
    v[d] = digest_turn(v[d] ^ v[a], 32)
    v[c] += v[d]
    v[b] = digest_turn(v[b] ^ v[c], 24)
    v[a] += v[b] + y
    v[d] = digest_turn(v[d] ^ v[a], 16)
    v[c] += v[d]
    v[b] = digest_turn(v[b] ^ v[c], 63)


cdef inline void digest_block(digest_t *d, const uint8_t *block, int last) noexcept nogil:
    """One block of 128 bytes; d.bytes already counts it."""
    cdef uint64_t m[16]
    cdef uint64_t v[16]
    cdef const uint8_t *s
    cdef int i
    for i in range(16):
        m[i] = fw_le64(block + 8 * i)
    for i in range(8):
        v[i] = d.h[i]
        v[i + 8] = BLAKE2B_IV[i]
    v[12] ^= d.bytes
    if last:
        v[14] = ~v[14]
    for i in range(12):
        s = BLAKE2B_SIGMA[i % 10]
        digest_mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]])
        digest_mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]])
        digest_mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]])
        digest_mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]])
        digest_mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]])
        digest_mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]])
        digest_mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]])
        digest_mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]])
    for i in range(8):
        d.h[i] ^= v[i] ^ v[i + 8]


cdef inline void digest_begin(digest_t *d) noexcept nogil:
    cdef int i
    memset(d, 0, sizeof(digest_t))
    for i in range(8):
        d.h[i] = BLAKE2B_IV[i]
    d.h[0] ^= 0x01010000 ^ 16  # no key, 16 bytes out


cdef inline void digest_add(digest_t *d, const uint8_t *data, uint64_t count) noexcept nogil:
    """=> any division of the same bytes leaves the same state. The last block waits."""
    cdef uint64_t part
    while count:  # bounded by count: each turn takes at least a byte
        if d.fill == 128:
            d.bytes += 128
            digest_block(d, d.block, 0)
            d.fill = 0
        if d.fill == 0 and count > 128:
            d.bytes += 128
            digest_block(d, data, 0)
            data += 128
            count -= 128
            continue
        part = 128 - d.fill
        if part > count:
            part = count
        memcpy(d.block + d.fill, data, part)
        d.fill += <uint32_t>part
        data += part
        count -= part


cdef inline void digest_end(const digest_t *running, uint8_t *out) noexcept nogil:
    """The 16 bytes as of now; the running state goes on."""
    cdef digest_t d = running[0]
    memset(d.block + d.fill, 0, 128 - d.fill)
    d.bytes += d.fill
    digest_block(&d, d.block, 1)
    memcpy(out, d.h, 16)
