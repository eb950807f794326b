# BLAKE2b with a 16-byte result (RFC 7693) over what the data plane produces, and over the sums of
# NH where that is much.
#
# Here rather than in Python's hashlib, because victims and departures arise below the line where no
# Python object is touched. A departure has 22 bytes, eleven times those of a packet: so a block of
# them is summed up first, each word with a key of its own (NH, as UMAC has it): a tenth of the
# cost. The keys are no secret: an outcome tells runs apart, not who wrote them.
#
# Laws: equal to hashlib.blake2b(digest_size=16) for every input, in any division.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fwcore.dataplane.layout cimport (
    DIGEST_BLOCK, DIGEST_BYTES, DIGEST_WORDS, GOLDEN_RATIO, ROW_KEYS, digest_t, fw_splitmix,
    fw_unlikely, rows_digest_t,
)

cdef extern from "dataplane/digest.h" nogil:
    const uint64_t BLAKE2B_IV[DIGEST_WORDS]
    void blake2b_block(uint64_t *h, const uint8_t *block, uint64_t bytes, int last)
    int rows_sum(
        rows_digest_t *d, const uint64_t *keys, uint64_t a, uint64_t b, uint64_t c, uint64_t e)


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
    blake2b_block(d.h, d.block, d.bytes, 1)
    memcpy(out, d.h, DIGEST_BYTES)


# --- rows ----------------------------------------------------------------------------------------

cdef inline void rows_keys(uint64_t *keys) noexcept nogil:
    """The ROW_KEYS words that rows are multiplied with."""
    cdef uint64_t i
    for i in range(ROW_KEYS):
        keys[i] = fw_splitmix((i + 1) * GOLDEN_RATIO)


cdef inline void rows_begin(rows_digest_t *d) noexcept nogil:
    memset(d, 0, sizeof(rows_digest_t))
    digest_begin(&d.blocks)


cdef inline void rows_full(rows_digest_t *d) noexcept nogil:
    """A block's sum is taken in, and the next one begins."""
    digest_add(&d.blocks, <const uint8_t *>&d.low, sizeof(d.low))
    digest_add(&d.blocks, <const uint8_t *>&d.high, sizeof(d.high))
    d.low = d.high = 0


cdef inline void rows_add(
    rows_digest_t *d, const uint64_t *keys, uint64_t a, uint64_t b, uint64_t c, uint64_t e,
) noexcept nogil:
    """Takes in a row. => keys are those of rows_keys"""
    if fw_unlikely(rows_sum(d, keys, a, b, c, e)):
        rows_full(d)


cdef inline void rows_end(const rows_digest_t *running, uint8_t *out) noexcept nogil:
    """The 16 bytes as of now: with the sum of the last block, full or not, and the count of rows;
    the running state goes on."""
    cdef rows_digest_t d = running[0]
    rows_full(&d)
    digest_add(&d.blocks, <const uint8_t *>&d.count, sizeof(d.count))
    digest_end(&d.blocks, out)
