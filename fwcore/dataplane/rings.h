/* Live rings: frames of one or two interfaces, in without a copy, out by batches.
 *
 *      interface 0 --TPACKET_V3--> blocks \                      / sendmmsg --> interface 1
 *                                           take -> judge -> send
 *      interface 1 --TPACKET_V3--> blocks /                      \ sendmmsg --> interface 0
 *
 * Overview: rings_take walks the blocks that the kernel has filled, merges the interfaces' frames
 * by time and notes where each stands; all blocks lie in one range of addresses, so that an offset
 * names a frame of either. rings_send hands what may pass to the other interface, out of the very
 * block it came in, and gives the blocks that are done with back to the kernel, in order.
 *
 * Of TPACKET_V3 a block holds many frames and is seen when it is full or a millisecond old; of
 * TPACKET_V2 it is a slot, holds one frame, and is seen at once. Everything else is the same.
 *
 * Frames carry a virtio_net_hdr in front (PACKET_VNET_HDR): segmentation and checksums that the
 * sender left to a card stay to be done, by whatever card or kernel comes next. A VLAN tag that the
 * kernel took out stands beside the frame; it is put back where the parser reads it and the other
 * side expects it.
 *
 * Where links hold frames back, rings_leave takes the place of rings_send: frames that wait are
 * copied, for their blocks go back to the kernel, and go out when their packet leaves.
 *
 * Laws: what the kernel writes is held against its block before it is followed; frames taken = sent
 * + withheld + one counter of why not + those that wait; nothing here blocks but rings_wait; every
 * loop is bounded by the frames of a batch, the rows given or the blocks of a ring.
 */
#ifndef FWCORE_RINGS_H
#define FWCORE_RINGS_H

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "platform.h"
#include "waiting.h"

enum {
    PORTS_MAX = 2,
    BATCH_MAX = 4096,           /* frames between two calls of rings_take */
    BURST = 1024,               /* UIO_MAXIOV: what one sendmmsg takes */
    VNET_BYTES = sizeof(struct virtio_net_hdr),
    TAG_BYTES = 4,
    FRAME_ALIGNMENT = 8,        /* V3_ALIGNMENT of net/packet/af_packet.c */
    MACS_BYTES = 12,
    /* With these before it an IP header behind 14 bytes of Ethernet stands on 16 bytes. */
    RESERVE_BYTES = 16 - VNET_BYTES,
    LINK_ETHERNET = 1,          /* LINKTYPE_ETHERNET */
    DROPPED = 3,                /* VERDICT_DROP of layout.h */
    LATE_NS = 1000000,
    AGE_MAX_NS = 1000000000,    /* a frame that seems older: the wall clock was set meanwhile */
    DELAY_STEPS = 8,            /* classes of a delay to each power of two: 12 % wide */
    DELAYS = 64 * DELAY_STEPS,
    /* A slot for what offloads put together: 64 KiB and headers, in whole pages. */
    SLOT_BYTES = 17 * 4096,
    SLOTS = 15,                 /* in a MiB, so that they follow each other without gaps */
};
_Static_assert(sizeof(struct tpacket2_hdr) == 32, "linux/if_packet.h");
_Static_assert(sizeof(struct tpacket3_hdr) == 48, "linux/if_packet.h");
_Static_assert(sizeof(struct tpacket_block_desc) == 48, "linux/if_packet.h");
_Static_assert(offsetof(struct tpacket3_hdr, tp_mac) == 24, "linux/if_packet.h");
_Static_assert(VNET_BYTES == 10, "linux/virtio_net.h");

/* Counters of an interface; each frame taken ends in exactly one of `passed` on. A list, so that
 * the number, the name and the field of a counter cannot disagree. */
#define RINGS_COUNTERS(X)                                                                        \
    X(arrived)     /* at the interface, as the kernel counts: taken, lost, or yet to be taken */  \
    X(lost)        /* by the kernel: no room in the ring */                                       \
    X(faulty)      /* in a block that contradicts itself: not taken */                            \
    X(taken)                                                                                     \
    X(taken_bytes)                                                                               \
    X(tagged)      /* taken, with a VLAN tag put back */                                          \
    X(sent)        /* out of this interface */                                                    \
    X(sent_bytes)                                                                                \
    X(withheld)    /* taken here and judged DROP, or with nowhere to go */                        \
    X(cut)         /* taken here, not whole: cannot be sent */                                    \
    X(full)        /* not sent here: the kernel's queue or memory is full */                      \
    X(too_long)    /* not sent here: longer than the interface's MTU */                           \
    X(down)        /* not sent here: the interface is down or gone */                             \
    X(refused)     /* not sent here for another reason: last_errno */                             \
    X(late)        /* sent here more than 1 ms after it was due */
#define RINGS_FIELD(name) uint64_t name;
typedef struct { RINGS_COUNTERS(RINGS_FIELD) } port_counters_t;
#define RINGS_NAME(name) #name,
static const char *const PORT_COUNTERS[] = {RINGS_COUNTERS(RINGS_NAME)};
enum { PORT_COUNTER_COUNT = sizeof(port_counters_t) / sizeof(uint64_t) };

/* One interface: a socket, its ring of blocks, and where the walk stands. */
typedef struct {
    int fd;                     /* -1: none */
    int ifindex;                /* 0: not bound */
    int last_errno;             /* of a send that failed, other than those that have a counter */
    int slots;                  /* 1: a block is a slot of TPACKET_V2 */
    uint8_t *blocks;
    uint32_t block_bytes, count;
    uint32_t head;              /* the block that is opened next */
    uint32_t held;              /* blocks opened and not given back; the oldest is head - held */
    uint32_t at;                /* in the open block, which is head - 1: its next frame */
    uint32_t left;              /* frames of it that are not taken */
    int64_t stamp_ns;           /* of the next frame, by the wall clock */
    port_counters_t is;
} port_t;

/* One frame of a burst. */
typedef struct {
    int64_t stamp_ns, due_ns;   /* by the wall clock: when it arrived, and when it was to go */
    uint32_t length;
    waiting_t *waited;          /* its copy, to be freed; NULL: it lies in its block */
} leaving_t;

typedef struct {
    port_t port[PORTS_MAX];
    uint32_t ports;             /* 1: frames are only read */
    int wake_fd;
    uint8_t *base;              /* the first block; all offsets count from here */
    uint64_t bytes;
    /* a batch */
    uint32_t count;
    uint64_t *offset;           /* BATCH_MAX of each, which others own */
    uint32_t *captured, *length;
    int64_t *time_ns;           /* as the firewall has it */
    int64_t stamp_ns[BATCH_MAX];   /* by the wall clock, when it arrived */
    uint8_t from[BATCH_MAX];    /* which interface it came from */
    /* time: the wall clock at the start, and what has passed since by one that is never set */
    int64_t begin_ns, steady_ns, last_ns;
    uint64_t delay[DELAYS];     /* frames sent, by how long they were here: see delay_of */
    struct mmsghdr message[BURST];
    struct iovec piece[BURST];
    leaving_t leaving[BURST];
    waits_t waits;              /* frames that links hold back */
    uint8_t settled[BATCH_MAX]; /* rings_leave: what became of the frames of the batch is counted */
} rings_t;

static inline int64_t clock_ns(clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The class of a delay: DELAY_STEPS to each power of two; exact below that. */
static inline uint32_t delay_of(int64_t ns) {
    uint64_t v = ns < 0 ? 0 : (uint64_t)ns;
    if (v < DELAY_STEPS) return (uint32_t)v;
    uint32_t power = 63 - (uint32_t)fw_clz64(v);
    return (power - 2) * DELAY_STEPS + (uint32_t)(v >> (power - 3) & (DELAY_STEPS - 1));
}

/* --- an interface --------------------------------------------------------------------------- */

/* 0, or the errno of what was refused; *what names it. */
static inline int port_set(port_t *p, int level, int name, const void *value, socklen_t bytes) {
    return setsockopt(p->fd, level, name, value, bytes) ? errno : 0;
}

/* A socket with its ring, not yet bound; `both_ways`: sees what leaves, too. 0 or an errno; *what
 * says what was tried. => the caller maps the ring, and closes fd also when this fails. */
static inline int port_open(port_t *p, uint32_t block_bytes, uint32_t blocks, uint32_t retire_ms,
                            int both_ways, const char **what) {
    int version = p->slots ? TPACKET_V2 : TPACKET_V3;
    int one = 1, incoming = !both_ways, room = 16 << 20, reserve = RESERVE_BYTES, code;
    struct tpacket_req3 ring = {
        .tp_block_size = block_bytes, .tp_block_nr = blocks, .tp_frame_size = 2048,
        .tp_frame_nr = block_bytes / 2048 * blocks, .tp_retire_blk_tov = retire_ms,
    };
    struct tpacket_req slots = {
        .tp_block_size = SLOT_BYTES * SLOTS, .tp_block_nr = blocks / SLOTS,
        .tp_frame_size = SLOT_BYTES, .tp_frame_nr = blocks / SLOTS * SLOTS,
    };
    p->block_bytes = p->slots ? SLOT_BYTES : block_bytes;
    p->count = p->slots ? slots.tp_frame_nr : blocks;
    *what = "a packet socket";
    p->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->fd < 0) return errno;
    *what = "TPACKET_V2 or V3";
    if ((code = port_set(p, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)))) return code;
    *what = "PACKET_VNET_HDR";
    if ((code = port_set(p, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)))) return code;
    *what = "PACKET_IGNORE_OUTGOING (Linux 4.20)";
    if ((code = port_set(p, SOL_PACKET, PACKET_IGNORE_OUTGOING, &incoming, sizeof(incoming))))
        return code;
    *what = "PACKET_RESERVE";
    if ((code = port_set(p, SOL_PACKET, PACKET_RESERVE, &reserve, sizeof(reserve)))) return code;
    *what = "a ring of this size";
    code = p->slots ? port_set(p, SOL_PACKET, PACKET_RX_RING, &slots, sizeof(slots))
                    : port_set(p, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring));
    if (code) return code;
    /* What it gives is enough: it only delays when a full queue is told. */
    if (port_set(p, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)))
        port_set(p, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    return 0;
}

/* Binds to the interface of this number and sees all that passes it. 0 or an errno. */
static inline int port_bind(port_t *p, int ifindex) {
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = ifindex};
    struct packet_mreq all = {.mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC};
    if (bind(p->fd, (struct sockaddr *)&address, sizeof(address))) return errno;
    p->ifindex = ifindex;
    return port_set(p, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all));
}

/* The number of the interface that it is bound to, as the kernel has it: -1 when that was removed,
 * also where another of the same number has come since. */
static inline int port_bound(const port_t *p) {
    struct sockaddr_ll address = {.sll_ifindex = -1};
    socklen_t bytes = sizeof(address);
    return getsockname(p->fd, (struct sockaddr *)&address, &bytes) ? -1 : address.sll_ifindex;
}

/* From here on nothing arrives; what is in the ring stays. 0 or an errno. */
static inline int port_deafen(port_t *p) {
    struct sock_filter nothing[1] = {{.code = BPF_RET | BPF_K, .k = 0}};
    struct sock_fprog program = {.len = 1, .filter = nothing};
    return port_set(p, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

/* The kernel's counters since the last call, added to ours. */
static inline void port_count(port_t *p) {
    struct tpacket_stats_v3 now;
    socklen_t bytes = sizeof(now);
    memset(&now, 0, sizeof(now));
    if (p->fd < 0 || getsockopt(p->fd, SOL_PACKET, PACKET_STATISTICS, &now, &bytes)) return;
    p->is.arrived += now.tp_packets;
    p->is.lost += now.tp_drops;
}

/* An error that the socket kept (the interface went down); asking forgets it. 0: none. */
static inline int port_error(port_t *p) {
    int code = 0;
    socklen_t bytes = sizeof(code);
    return getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &code, &bytes) ? errno : code;
}

/* One range of addresses for the blocks of all interfaces; 0 or an errno. => rings_unmap. */
static inline int rings_map(rings_t *r) {
    uint8_t *map;
    uint64_t at = 0;
    r->bytes = 0;
    for (uint32_t i = 0; i < BURST; i++)
        r->message[i].msg_hdr = (struct msghdr){.msg_iov = &r->piece[i], .msg_iovlen = 1};
    for (uint32_t i = 0; i < r->ports; i++)
        r->bytes += (uint64_t)r->port[i].block_bytes * r->port[i].count;
    map = (uint8_t *)mmap(NULL, r->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == (uint8_t *)MAP_FAILED) return errno;
    r->base = map;
    for (uint32_t i = 0; i < r->ports; i++) {
        port_t *p = &r->port[i];
        uint64_t bytes = (uint64_t)p->block_bytes * p->count;
        p->blocks = map + at;
        if (mmap(p->blocks, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, p->fd, 0)
            == MAP_FAILED) return errno;
        at += bytes;
    }
    return 0;
}

/* --- walking the blocks --------------------------------------------------------------------- */

static inline uint8_t *port_block(const port_t *p, uint32_t number) {
    return p->blocks + (uint64_t)number * p->block_bytes;
}

static inline uint32_t port_last(const port_t *p) {
    return (p->head ? p->head : p->count) - 1;
}

/* Whether at..at+bytes lies within a block. */
static inline int port_within(const port_t *p, uint64_t at, uint64_t bytes) {
    return at <= p->block_bytes && bytes <= p->block_bytes - at;
}

/* The rest of the open block cannot be read. */
static inline void port_abandon(port_t *p) {
    p->is.faulty += p->left;
    p->left = 0;
}

/* What a header of either kind says of a frame. */
typedef struct {
    uint32_t seconds, nanoseconds, captured, length, status, next;
    uint16_t mac, tci, tpid;
} port_frame_t;

static inline port_frame_t port_frame(const port_t *p) {
    const uint8_t *at = port_block(p, port_last(p)) + p->at;
    if (p->slots) {
        const struct tpacket2_hdr *h = (const struct tpacket2_hdr *)at;
        return (port_frame_t){h->tp_sec, h->tp_nsec, h->tp_snaplen, h->tp_len, h->tp_status,
                              p->block_bytes, h->tp_mac, h->tp_vlan_tci, h->tp_vlan_tpid};
    }
    const struct tpacket3_hdr *h = (const struct tpacket3_hdr *)at;
    return (port_frame_t){h->tp_sec, h->tp_nsec, h->tp_snaplen, h->tp_len, h->tp_status,
                          h->tp_next_offset, h->tp_mac, (uint16_t)h->hv1.tp_vlan_tci,
                          h->hv1.tp_vlan_tpid};
}

/* Where a block says whose it is. */
static inline uint32_t *port_status(const port_t *p, uint32_t number) {
    uint8_t *block = port_block(p, number);
    return p->slots ? &((struct tpacket2_hdr *)block)->tp_status
                    : &((struct tpacket_block_desc *)block)->hdr.bh1.block_status;
}

/* Whether a frame waits: its time is in stamp_ns then. Opens a block where the last is done with,
 * as long as there are blocks: bounded by their number, each is opened once until given back. */
static inline int port_ready(port_t *p) {
    for (;;) {
        if (p->left) {
            if (!port_within(p, p->at, TPACKET3_HDRLEN) || p->at % FRAME_ALIGNMENT) {
                port_abandon(p);
                continue;
            }
            port_frame_t frame = port_frame(p);
            p->stamp_ns = (int64_t)frame.seconds * 1000000000 + frame.nanoseconds;
            return 1;
        }
        if (p->held == p->count || p->fd < 0) return 0;
        uint32_t status = __atomic_load_n(port_status(p, p->head), __ATOMIC_ACQUIRE);
        if (!(status & TP_STATUS_USER)) return 0;
        const struct tpacket_block_desc *block =
            (const struct tpacket_block_desc *)port_block(p, p->head);
        p->at = p->slots ? 0 : block->hdr.bh1.offset_to_first_pkt;
        p->left = p->slots ? 1 : block->hdr.bh1.num_pkts;
        p->head = p->head + 1 == p->count ? 0 : p->head + 1;
        p->held++;
    }
}

/* Puts a tag back between addresses and ethertype, 4 bytes further in front, together with the
 * virtio_net_hdr, whose offsets into the frame grow by it. */
static inline uint8_t *frame_tag(uint8_t *frame, uint16_t tci, uint16_t tpid) {
    struct virtio_net_hdr *net;
    memmove(frame - VNET_BYTES - TAG_BYTES, frame - VNET_BYTES, VNET_BYTES + MACS_BYTES);
    frame -= TAG_BYTES;
    frame[12] = (uint8_t)(tpid >> 8);
    frame[13] = (uint8_t)tpid;
    frame[14] = (uint8_t)(tci >> 8);
    frame[15] = (uint8_t)tci;
    net = (struct virtio_net_hdr *)(frame - VNET_BYTES);
    if (net->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) net->csum_start += TAG_BYTES;
    if (net->hdr_len) net->hdr_len += TAG_BYTES;
    return frame;
}

/* Takes the frame that port_ready has found into place i of the batch; 0: it was faulty. */
static inline int port_take(rings_t *r, port_t *p, uint32_t i) {
    port_frame_t f = port_frame(p);
    uint32_t front = p->slots ? TPACKET2_HDRLEN : TPACKET3_HDRLEN;
    uint8_t *frame = port_block(p, port_last(p)) + p->at + f.mac;
    front += VNET_BYTES + TAG_BYTES;
    if (fw_unlikely(f.mac < front || !port_within(p, (uint64_t)p->at + f.mac, f.captured)
                    || f.captured > f.length || f.length > UINT32_MAX - TAG_BYTES
                    || (p->left > 1 && f.next < front))) {
        port_abandon(p);
        return 0;
    }
    if (fw_unlikely(f.status & TP_STATUS_VLAN_VALID) && f.captured >= MACS_BYTES) {
        frame = frame_tag(frame, f.tci,
                          f.status & TP_STATUS_VLAN_TPID_VALID ? f.tpid : ETH_P_8021Q);
        f.captured += TAG_BYTES;
        f.length += TAG_BYTES;
        p->is.tagged++;
    }
    r->offset[i] = (uint64_t)(frame - r->base);
    r->captured[i] = f.captured;
    r->length[i] = f.length;
    r->stamp_ns[i] = p->stamp_ns;
    r->from[i] = (uint8_t)(p - r->port);
    p->is.taken++;
    p->is.taken_bytes += f.length;
    p->left--;
    /* A sum beyond 32 bits is beyond the block too: port_ready sees it. */
    p->at = p->block_bytes - p->at < f.next ? p->block_bytes : p->at + f.next;
    return 1;
}

/* --- a batch -------------------------------------------------------------------------------- */

/* Time as the firewall has it: the wall clock at the start and what has passed since, so that
 * setting the clock moves nothing; never backwards. */
static inline int64_t rings_now(const rings_t *r) {
    int64_t now = r->begin_ns + clock_ns(CLOCK_MONOTONIC) - r->steady_ns;
    return now > r->last_ns ? now : r->last_ns;
}

/* The frames that wait, by time, at most `limit`; how many. => rings_send has been called for the
 * batch before. */
static inline uint32_t rings_take(rings_t *r, uint32_t limit) {
    uint32_t n = 0, i;
    int ready[PORTS_MAX] = {0, 0};
    int64_t wall, now, age;
    for (i = 0; i < r->ports; i++) ready[i] = port_ready(&r->port[i]);
    while (n < limit && (ready[0] || ready[1])) {
        uint32_t from = !ready[0] || (ready[1] && r->port[1].stamp_ns < r->port[0].stamp_ns);
        n += (uint32_t)port_take(r, &r->port[from], n);
        ready[from] = port_ready(&r->port[from]);
    }
    wall = clock_ns(CLOCK_REALTIME);
    now = r->begin_ns + clock_ns(CLOCK_MONOTONIC) - r->steady_ns;
    for (i = 0; i < n; i++) {
        age = wall - r->stamp_ns[i];
        age = age < 0 ? 0 : age > AGE_MAX_NS ? AGE_MAX_NS : age;
        if (now - age > r->last_ns) r->last_ns = now - age;
        r->time_ns[i] = r->last_ns;
    }
    r->count = n;
    return n;
}

/* Gives the blocks that are done with back to the kernel. */
static inline void rings_give(rings_t *r) {
    for (uint32_t i = 0; i < r->ports; i++) {
        port_t *p = &r->port[i];
        while (p->held > (p->left != 0)) {   /* bounded by the blocks that are held */
            uint32_t oldest = (p->head + p->count - p->held) % p->count;
            __atomic_store_n(port_status(p, oldest), TP_STATUS_KERNEL, __ATOMIC_RELEASE);
            p->held--;
        }
    }
}

/* Why a frame was not sent. */
static inline void port_failed(port_t *p, int code, uint64_t frames) {
    switch (code) {
    case EAGAIN: case ENOBUFS: case ENOMEM: p->is.full += frames; break;
    case EMSGSIZE: p->is.too_long += frames; break;
    case ENETDOWN: case ENXIO: case ENODEV: p->is.down += frames; break;
    default: p->is.refused += frames; p->last_errno = code;
    }
}

/* Sends the burst that was gathered, in order; each message is sent or counted. */
static inline void rings_burst(rings_t *r, port_t *out, uint32_t count) {
    uint32_t done = 0, i;
    int64_t now;
    while (done < count) {       /* each turn is done with one at least, but for an interruption */
        int sent = sendmmsg(out->fd, r->message + done, count - done, MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) continue;
        now = clock_ns(CLOCK_REALTIME);
        for (i = done; sent > 0 && i < done + (uint32_t)sent; i++) {
            out->is.late += now - r->leaving[i].due_ns > LATE_NS;
            out->is.sent_bytes += r->leaving[i].length;
            r->delay[delay_of(now - r->leaving[i].stamp_ns)]++;
        }
        if (sent > 0) {
            out->is.sent += (uint64_t)sent;
            done += (uint32_t)sent;
        } else {
            int code = sent ? errno : EAGAIN;
            uint32_t gone = code == ENETDOWN || code == ENXIO || code == ENODEV ? count - done : 1;
            port_failed(out, code, gone);
            done += gone;
        }
    }
    for (i = 0; i < count; i++) free(r->leaving[i].waited);
}

/* A frame joins the burst of `out`, which is sent when it is full; how many it has then. */
static inline uint32_t rings_gather(rings_t *r, port_t *out, uint32_t burst, uint8_t *bytes,
                                    uint32_t captured, leaving_t leaving) {
    r->piece[burst].iov_base = bytes;
    r->piece[burst].iov_len = (size_t)captured + VNET_BYTES;
    r->leaving[burst++] = leaving;
    if (burst < BURST) return burst;
    rings_burst(r, out, burst);
    return 0;
}

/* Frame i of the batch joins the burst, where it was captured whole. */
static inline uint32_t rings_gather_here(rings_t *r, port_t *from, port_t *out, uint32_t burst,
                                         uint32_t i, int64_t due_ns) {
    if (fw_unlikely(r->captured[i] != r->length[i])) {
        from->is.cut++;
        return burst;
    }
    return rings_gather(r, out, burst, r->base + r->offset[i] - VNET_BYTES, r->captured[i],
                        (leaving_t){r->stamp_ns[i], due_ns, r->length[i], NULL});
}

/* Sends each frame of the batch whose verdict (every other byte of outcome; NULL: all pass) is not
 * DROP out of the other interface, and gives the blocks back. */
static inline void rings_send(rings_t *r, const uint8_t *outcome) {
    for (uint32_t in = 0; in < r->ports; in++) {
        port_t *from = &r->port[in], *out = &r->port[1 - in];
        uint32_t burst = 0;
        for (uint32_t i = 0; i < r->count; i++) {
            if (r->from[i] != in) continue;
            if (r->ports < 2 || (outcome && outcome[2 * i] == DROPPED)) from->is.withheld++;
            else burst = rings_gather_here(r, from, out, burst, i, r->stamp_ns[i]);
        }
        if (burst) rings_burst(r, out, burst);
    }
    r->count = 0;
    rings_give(r);
}

/* --- frames that wait ----------------------------------------------------------------------- */

/* What leaves, in order: see leaving of fwcore/live/leaving.py. */
typedef struct {
    const uint64_t *packet;
    const int64_t *due_ns;      /* as the firewall has time */
    const uint8_t *sent;        /* 0: it was dropped while it waited */
    uint64_t rows;
} departing_t;

/* Frame i of the batch is copied, to wait for its packet's turn. */
static inline void rings_keep(rings_t *r, uint32_t i, uint64_t packet) {
    port_t *from = &r->port[r->from[i]];
    uint64_t bytes = (uint64_t)r->captured[i] + VNET_BYTES;
    waiting_t *made;
    r->settled[i] = 1;
    if (fw_unlikely(r->captured[i] != r->length[i])) {
        from->is.cut++;
        return;
    }
    made = waits_put(&r->waits, packet, bytes);
    if (fw_unlikely(!made)) {
        r->port[1 - r->from[i]].is.full++;
        return;
    }
    *made = (waiting_t){.stamp_ns = r->stamp_ns[i], .captured = r->captured[i],
                        .length = r->length[i], .front = VNET_BYTES, .from = r->from[i]};
    memcpy(made->bytes, r->base + r->offset[i] - VNET_BYTES, bytes);
}

/* Of the rows those that came in at interface `in` go out of the other one, or are dropped. */
static inline void rings_depart(rings_t *r, uint32_t in, uint64_t first, const departing_t *d) {
    port_t *from = &r->port[in], *out = &r->port[1 - in];
    int64_t ahead = clock_ns(CLOCK_REALTIME) - rings_now(r);    /* of the firewall's time */
    uint32_t burst = 0;
    for (uint64_t row = 0; row < d->rows; row++) {
        uint64_t i = d->packet[row] - first;    /* beyond the batch where it is of an earlier one */
        waiting_t *w;
        if (i < r->count) {
            if (r->from[i] != in || r->settled[i] || !d->sent[row]) continue;
            r->settled[i] = 1;
            burst = rings_gather_here(r, from, out, burst, (uint32_t)i, d->due_ns[row] + ahead);
            continue;
        }
        w = waits_find(&r->waits, d->packet[row]);
        if (!w || w->from != in) continue;
        waits_take(&r->waits, d->packet[row]);
        if (d->sent[row]) {
            burst = rings_gather(r, out, burst, w->bytes, w->captured,
                                 (leaving_t){w->stamp_ns, d->due_ns[row] + ahead, w->length, w});
        } else {
            from->is.withheld++;
            free(w);
        }
    }
    if (burst) rings_burst(r, out, burst);
}

/* Of the batch, whose first packet has the number `first`, frames that are `kept` (a byte each)
 * wait; rows leave, of this batch or before; the others are dropped. Blocks go back. => there are
 * two interfaces; a frame that is kept is in no row. */
static inline void rings_leave(rings_t *r, uint64_t first, const uint8_t *kept,
                               const departing_t *d) {
    memset(r->settled, 0, r->count);
    for (uint32_t i = 0; i < r->count; i++)
        if (kept[i]) rings_keep(r, i, first + i);
    for (uint32_t in = 0; in < r->ports; in++) rings_depart(r, in, first, d);
    for (uint32_t i = 0; i < r->count; i++) r->port[r->from[i]].is.withheld += !r->settled[i];
    r->count = 0;
    rings_give(r);
}

/* What waits is dropped; how many. */
static inline uint64_t rings_forsake(rings_t *r) {
    uint64_t packet, dropped = 0;
    waiting_t *w;
    while ((w = waits_first(&r->waits, &packet))) {
        r->port[w->from].is.withheld++;
        waits_take(&r->waits, packet);
        free(w);
        dropped++;
    }
    return dropped;
}

/* Waits for frames, an error or a wake-up, at most so long. Bit i: interface i has frames; bit
 * 8 + i: an error; bit 16: woken. A signal ends it with 0. */
static inline int rings_wait(rings_t *r, int64_t timeout_ns) {
    struct pollfd on[PORTS_MAX + 1];
    struct timespec most = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    int found = 0;
    for (uint32_t i = 0; i < r->ports; i++)
        on[i] = (struct pollfd){.fd = r->port[i].ifindex ? r->port[i].fd : -1, .events = POLLIN};
    on[r->ports] = (struct pollfd){.fd = r->wake_fd, .events = POLLIN};
    if (timeout_ns < 0 || ppoll(on, r->ports + 1, &most, NULL) <= 0) return 0;
    for (uint32_t i = 0; i < r->ports; i++) {
        if (on[i].revents & POLLIN) found |= 1 << i;
        if (on[i].revents & (POLLERR | POLLHUP | POLLNVAL)) found |= 256 << i;
    }
    return found | (on[r->ports].revents ? 1 << 16 : 0);
}

/* The bare forwarder, the benchmarks' yardstick: the least that must be done with each frame over
 * the same rings. Until the clock (CLOCK_MONOTONIC) says so. */
static inline uint64_t rings_forward(rings_t *r, int64_t until_ns) {
    uint64_t frames = 0;
    int64_t left;
    while ((left = until_ns - clock_ns(CLOCK_MONOTONIC)) > 0) {
        uint32_t n = rings_take(r, BATCH_MAX);
        frames += n;
        rings_send(r, NULL);
        if (!n) rings_wait(r, left);
    }
    return frames;
}

/* --- what an interface is ------------------------------------------------------------------- */

/* Whether a feature of linux/ethtool.h (ETHTOOL_GTSO ...) is on: 1, 0; -1: it cannot be asked. */
static inline int interface_feature(const char *name, uint32_t command) {
    struct ethtool_value value = {.cmd = command};
    struct ifreq request;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), code;
    if (fd < 0) return -1;
    memset(&request, 0, sizeof(request));
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_data = (char *)&value;
    code = ioctl(fd, SIOCETHTOOL, &request);
    close(fd);
    if (code) return -1;
    return command == ETHTOOL_GFLAGS ? (value.data & ETH_FLAG_LRO) != 0 : value.data != 0;
}

/* Number, flags (IFF_UP ...), kind (ARPHRD_...) and MTU of an interface; 0 or an errno. */
static inline int interface_ask(const char *name, int *ifindex, int *flags, int *kind, int *mtu) {
    struct ifreq request;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), code = 0;
    if (fd < 0) return errno;
    memset(&request, 0, sizeof(request));
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (!code && ioctl(fd, SIOCGIFINDEX, &request)) code = errno;
    *ifindex = code ? 0 : request.ifr_ifindex;
    if (!code && ioctl(fd, SIOCGIFFLAGS, &request)) code = errno;
    *flags = code ? 0 : (uint16_t)request.ifr_flags;
    if (!code && ioctl(fd, SIOCGIFHWADDR, &request)) code = errno;
    *kind = code ? 0 : request.ifr_hwaddr.sa_family;
    if (!code && ioctl(fd, SIOCGIFMTU, &request)) code = errno;
    *mtu = code ? 0 : request.ifr_mtu;
    close(fd);
    return code;
}

#endif
