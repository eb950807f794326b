/* Addresses, ports and keys as text, for tables of many rows. Python's ipaddress spells them the
 * same way (RFC 5952, without dotted quads within IPv6). Every function writes at `out`, without an
 * end mark, and gives the place behind what it wrote; TEXT_*_BYTES are the most that they write. */
#ifndef FWCORE_TEXT_H
#define FWCORE_TEXT_H

#include <stdint.h>
#include <string.h>

enum {
    TEXT_IPV6_BYTES = 39,
    TEXT_PORT_BYTES = 5,
    TEXT_PROTOCOL_BYTES = 15,
    /* [a]:port-[b]:port/protocol@zone */
    TEXT_KEY_BYTES = 2 * (2 + TEXT_IPV6_BYTES + 1 + TEXT_PORT_BYTES) + 1 + 1 + TEXT_PROTOCOL_BYTES
                     + 1 + TEXT_PORT_BYTES,
    TEXT_DIGITS = 10,           /* of a number of 32 bits */
    TEXT_WORDS = 8,             /* of 16 bits, of an IPv6 address */
};

static inline uint8_t *text_number(uint8_t *out, uint32_t number) {
    uint8_t digits[TEXT_DIGITS];
    int count = 0;
    do digits[count++] = (uint8_t)('0' + number % 10); while (number /= 10);
    while (count) *out++ = digits[--count];
    return out;
}

static inline uint8_t *text_hex(uint8_t *out, uint32_t number) {
    int shift = number > 0xFFF ? 12 : number > 0xFF ? 8 : number > 0xF ? 4 : 0;
    for (; shift >= 0; shift -= 4) *out++ = (uint8_t)"0123456789abcdef"[number >> shift & 15];
    return out;
}

static inline uint8_t *text_ipv4(uint8_t *out, uint32_t address) {
    int shift;
    for (shift = 24; shift >= 0; shift -= 8) {
        out = text_number(out, address >> shift & 255);
        if (shift) *out++ = '.';
    }
    return out;
}

/* The longest run of two zero words or more, the first of equal ones, becomes "::". */
static inline uint8_t *text_ipv6(uint8_t *out, uint64_t high, uint64_t low) {
    uint16_t words[TEXT_WORDS];
    int i, run = 0, best = 1, begin = -1;
    for (i = 0; i < TEXT_WORDS; i++) {
        words[i] = (uint16_t)((i < 4 ? high : low) >> (48 - 16 * (i & 3)));
        run = words[i] ? 0 : run + 1;
        if (run > best) {
            best = run;
            begin = i + 1 - run;
        }
    }
    for (i = 0; i < TEXT_WORDS; i++) {
        if (i == begin) {
            *out++ = ':';
            if (i == 0) *out++ = ':';
            i += best - 1;
            if (i == 7) break;
            continue;
        }
        out = text_hex(out, words[i]);
        if (i < 7) *out++ = ':';
    }
    return out;
}

static inline uint8_t *text_address(uint8_t *out, uint64_t high, uint64_t low, int family) {
    return family == 4 ? text_ipv4(out, (uint32_t)low) : text_ipv6(out, high, low);
}

/* address:port, [address]:port */
static inline uint8_t *text_end(uint8_t *out, uint64_t high, uint64_t low, int family,
                                uint16_t port) {
    if (family != 4) *out++ = '[';
    out = text_address(out, high, low, family);
    if (family != 4) *out++ = ']';
    *out++ = ':';
    return text_number(out, port);
}

#endif
