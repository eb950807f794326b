/* The few things C leaves to compiler and machine: byte order, prefetch, wide multiply, the
 * comparison of eight tags. Portable across x86-64 and aarch64. */
#ifndef FWCORE_PLATFORM_H
#define FWCORE_PLATFORM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#ifdef __ARM_NEON
#include <arm_neon.h>
#endif

#ifdef FWCORE_DEBUG
#define FW_ASSERT(condition)                                                                    \
    do {                                                                                        \
        if (!(condition)) {                                                                     \
            fprintf(stderr, "fwcore: %s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort();                                                                            \
        }                                                                                       \
    } while (0)
#else
#define FW_ASSERT(condition) ((void)0)
#endif

/* The empty asm keeps gcc from taking a function that only prefetches for one without effects,
 * whose calls it then drops (seen with gcc 12 at -O3: 10 instead of 22 million packets/s). */
#define fw_prefetch(p) do { __builtin_prefetch((p), 1, 3); __asm__ volatile(""); } while (0)
/* The same for what is only read: another core that has it keeps it. */
#define fw_prefetch_read(p) __builtin_prefetch((p), 0, 3)
#define fw_likely(x) __builtin_expect(!!(x), 1)
#define fw_unlikely(x) __builtin_expect(!!(x), 0)

/* *state becomes `wanted` if it is `expected`, at once for every thread; what it was. */
static inline int fw_exchange(int *state, int expected, int wanted) {
    __atomic_compare_exchange_n(state, &expected, wanted, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    return expected;
}

/* 128 bytes become 0. For so many gcc writes a `rep stos`, which takes as long as all else that is
 * done for a new session's record. */
static inline void fw_clear_128(void *p) {
    typedef uint64_t two __attribute__((vector_size(16), aligned(8), may_alias));
    two *at = (two *)p;
    at[0] = at[1] = at[2] = at[3] = at[4] = at[5] = at[6] = at[7] = (two){0, 0};
}

static inline uint16_t fw_be16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return __builtin_bswap16(v);
}
static inline uint32_t fw_be32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}
static inline uint64_t fw_be64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}
static inline void fw_put64(uint8_t *p, uint64_t v) {
    v = __builtin_bswap64(v);
    memcpy(p, &v, 8);
}
static inline void fw_put32(uint8_t *p, uint32_t v) {
    v = __builtin_bswap32(v);
    memcpy(p, &v, 4);
}
static inline uint16_t fw_le16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}
static inline uint32_t fw_le32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static inline uint64_t fw_le64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

/* Multiply and fold: low half xor high half of the 128-bit product. */
static inline uint64_t fw_mum(uint64_t a, uint64_t b) {
    unsigned __int128 p = (unsigned __int128)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}
/* The mixing of splitmix64 (Steele, Lea, Flood 2014), whose numbers are those of GOLDEN_RATIO's
 * multiples. */
#define GOLDEN_RATIO 0x9E3779B97F4A7C15ULL
static inline uint64_t fw_splitmix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}
static inline uint32_t fw_bucket(uint64_t hash, uint64_t buckets) {
    return (uint32_t)(((hash >> 32) * buckets) >> 32);
}
static inline int fw_ctz32(uint32_t v) { return __builtin_ctz(v); }
static inline int fw_ctz64(uint64_t v) { return __builtin_ctzll(v); }
static inline int fw_clz64(uint64_t v) { return __builtin_clzll(v); }

/* What another thread may write meanwhile: it is read here, and what was read is what counts. */
static inline uint64_t fw_once64(const uint64_t *p) {
    return *(const volatile uint64_t *)p;
}

static inline uint32_t fw_once32(const uint32_t *p) {
    return *(const volatile uint32_t *)p;
}

/* Whether `bytes` from `offset` on reach past `size`, whatever the numbers. */
static inline int fw_past(uint64_t offset, uint64_t bytes, uint64_t size) {
    return bytes > size || offset > size - bytes;
}

/* a * b / c with a 128-bit product; saturates at 2^64 - 1. up: rounded up. */
static inline uint64_t fw_muldiv(uint64_t a, uint64_t b, uint64_t c, int up) {
    unsigned __int128 p = (unsigned __int128)a * b;
    unsigned __int128 q = (p + (up ? c - 1 : 0)) / c;
    return q > UINT64_MAX ? UINT64_MAX : (uint64_t)q;
}

/* Bytes drained in `elapsed` ns at `bps` bits a second; *carry keeps the bit-nanoseconds left. */
static inline uint64_t fw_drain(uint64_t elapsed, uint64_t bps, uint64_t *carry) {
    unsigned __int128 bits = (unsigned __int128)elapsed * bps + *carry;
    unsigned __int128 bytes = bits / 8000000000u;
    *carry = (uint64_t)(bits % 8000000000u);
    return bytes > UINT64_MAX ? UINT64_MAX : (uint64_t)bytes;
}

/* The ns after which `bytes` are drained at `bps`, of which `carry` bit-nanoseconds are done;
 * INT64_MAX where it is later than that. */
static inline int64_t fw_drained_ns(uint64_t bytes, uint64_t bps, uint64_t carry) {
    unsigned __int128 bits = (unsigned __int128)bytes * 8000000000u - carry;
    unsigned __int128 wait = (bits + bps - 1) / bps;
    return wait > INT64_MAX ? INT64_MAX : (int64_t)wait;
}

/* Bit i is set where tags[i] == tag, i < 8. */
static inline uint32_t fw_tags(const uint16_t *tags, uint16_t tag) {
#if defined(__SSE2__)
    __m128i eq = _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)tags), _mm_set1_epi16((short)tag));
    return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(eq, _mm_setzero_si128()));
#elif defined(__ARM_NEON) && defined(__aarch64__)
    static const uint16_t bits[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    return vaddvq_u16(vandq_u16(vceqq_u16(vld1q_u16(tags), vdupq_n_u16(tag)), vld1q_u16(bits)));
#else
    uint32_t mask = 0;
    for (int i = 0; i < 8; i++) mask |= (uint32_t)(tags[i] == tag) << i;
    return mask;
#endif
}

/* Bit i is set where row i of eight agrees with (source, destination) under its masks. */
static inline uint32_t fw_match8(const uint32_t *s, const uint32_t *sm, const uint32_t *d,
                                 const uint32_t *dm, uint32_t source, uint32_t destination) {
#if defined(__SSE2__)
    __m128i src = _mm_set1_epi32((int)source), dst = _mm_set1_epi32((int)destination);
    __m128i hit[2];
    for (int i = 0; i < 2; i++) {
        __m128i a = _mm_and_si128(src, _mm_loadu_si128((const __m128i *)sm + i));
        __m128i b = _mm_and_si128(dst, _mm_loadu_si128((const __m128i *)dm + i));
        a = _mm_cmpeq_epi32(a, _mm_loadu_si128((const __m128i *)s + i));
        b = _mm_cmpeq_epi32(b, _mm_loadu_si128((const __m128i *)d + i));
        hit[i] = _mm_and_si128(a, b);
    }
    __m128i both = _mm_packs_epi32(hit[0], hit[1]);
    return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(both, _mm_setzero_si128()));
#else
    uint32_t mask = 0;
    for (int i = 0; i < 8; i++) {
        mask |= (uint32_t)(((source & sm[i]) == s[i]) & ((destination & dm[i]) == d[i])) << i;
    }
    return mask;
#endif
}

#endif
