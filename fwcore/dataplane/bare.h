/* The bare loop: the least that a program could do for each packet, as the yardstick of the
 * benchmarks. It walks the records of a mapped pcap, reads the frame, computes the symmetric key,
 * finds the session and bumps its two counters. No validation, policy, time, state or verdict.
 *
 * What a noisy machine cannot spoil is the ratio of fwcore's speed to this one, measured in the
 * same minute on the same packets. The loop is written to be hard to beat: one cache line a packet
 * (open addressing, two 32-byte slots to a line, at most half of them used), groups of 32 whose
 * misses overlap, memory in large pages. Nothing of fwcore's table is shared with it.
 *
 * Frames are Ethernet without VLAN tags; IPv4 without options or IPv6 without extension headers;
 * TCP or UDP; anything else gets some key, too. An IPv4 key is kept whole; of an IPv6 one each end
 * is folded to 56 bits. No byte outside the data is read, whatever it contains. */
#ifndef FWCORE_BARE_H
#define FWCORE_BARE_H

#include "platform.h"

enum { BARE_GROUP = 32, BARE_HEADER_BYTES = 16, BARE_FRAME_BYTES = 58 };

typedef struct {
    uint64_t low, high;        /* the key; high is 0 in a free slot */
    uint64_t packets, bytes;   /* on the wire */
} bare_slot_t;
_Static_assert(sizeof(bare_slot_t) == 32, "two to a cache line");

typedef struct {
    bare_slot_t *slots;
    uint64_t mask;             /* slots - 1; a power of two of them */
    uint64_t used;
} bare_t;

#define BARE_SEED_A 0x9E3779B97F4A7C15u
#define BARE_SEED_B 0xD1B54A32D192ED03u

static inline uint64_t bare_fold6(const uint8_t *address, uint16_t port) {
    return fw_mum(fw_le64(address) ^ BARE_SEED_A ^ port, fw_le64(address + 8) ^ BARE_SEED_B);
}

/* The key of a frame, the same in both directions. */
static inline void bare_key(const uint8_t *f, uint64_t *low, uint64_t *high) {
    uint64_t a, b, protocol;
    if (fw_likely(f[12] == 0x08)) {
        a = (uint64_t)fw_be32(f + 26) << 16 | fw_be16(f + 34);
        b = (uint64_t)fw_be32(f + 30) << 16 | fw_be16(f + 36);
        protocol = f[23];
    } else {
        a = bare_fold6(f + 22, fw_be16(f + 54)) >> 8;
        b = bare_fold6(f + 38, fw_be16(f + 56)) >> 8;
        protocol = f[20];
    }
    *low = (a < b ? a : b) | (uint64_t)(f[12] == 0x08 ? 4 : 6) << 56;
    *high = (a < b ? b : a) | protocol << 56;
}

/* Walks `count` records of a pcap (little-endian, 16-byte headers) from *at on; how many found
 * their session. *at is left at the first record not taken: that is before `count` only where fewer
 * than a header and BARE_FRAME_BYTES are left of `size`. A new key takes a free slot while at most
 * half are used, and is not counted as found. */
static inline uint64_t bare_run(bare_t *t, const uint8_t *data, uint64_t size, uint64_t *at,
                                uint64_t count) {
    uint64_t low[BARE_GROUP], high[BARE_GROUP], where[BARE_GROUP], found = 0, n;
    uint32_t length[BARE_GROUP], captured;
    do {
        for (n = 0; n < BARE_GROUP && n < count; n++) {
            if (fw_unlikely(*at > size || size - *at < BARE_HEADER_BYTES + BARE_FRAME_BYTES)) break;
            memcpy(&captured, data + *at + 8, 4);
            memcpy(&length[n], data + *at + 12, 4);
            bare_key(data + *at + BARE_HEADER_BYTES, &low[n], &high[n]);
            where[n] = fw_mum(low[n] ^ BARE_SEED_A, high[n] ^ BARE_SEED_B) & t->mask;
            fw_prefetch(&t->slots[where[n]]);
            *at += BARE_HEADER_BYTES + (uint64_t)captured;
        }
        for (uint64_t i = 0; i < n; i++) {
            bare_slot_t *slot = &t->slots[where[i]];
            /* bounded: half of the slots are free */
            while (slot->high && (slot->low != low[i] || slot->high != high[i])) {
                where[i] = (where[i] + 1) & t->mask;
                slot = &t->slots[where[i]];
            }
            if (fw_unlikely(!slot->high)) {
                if (t->used * 2 > t->mask) continue;
                t->used++;
                slot->low = low[i];
                slot->high = high[i];
            } else {
                found++;
            }
            slot->packets++;
            slot->bytes += length[i];
        }
        count -= n;
    } while (n == BARE_GROUP);
    return found;
}

#endif
