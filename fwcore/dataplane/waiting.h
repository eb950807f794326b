/* Frames that wait at links of a live run, each a copy, by the number of its packet.
 *
 * Overview: a packet's place is its number modulo `room`, a power of two above the distance from
 * the oldest that waits to the newest: found in one step, whatever order they leave in. Where the
 * distance outgrows it, room doubles.
 *
 * Laws: every number in [oldest, next) has a place of its own; count places are taken; what is put
 * is taken once, or freed by waiting_clear. Memory is that of the frames and 8 bytes a number.
 */
#ifndef FWCORE_WAITING_H
#define FWCORE_WAITING_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    WAITING_ROOM = 1024,        /* the first one */
    WAITING_ROOM_MAX = 1 << 26, /* half a GiB of places: more packets than came in a minute */
};

typedef struct {
    int64_t stamp_ns;           /* by the wall clock, when it arrived */
    uint32_t captured, length;
    uint32_t front;             /* bytes before the frame that belong to it */
    uint8_t from;               /* the interface */
    uint8_t bytes[];            /* front, frame */
} waiting_t;

typedef struct {
    waiting_t **place;          /* NULL: nobody */
    uint64_t room;              /* 0: none yet */
    uint64_t oldest, next;      /* numbers that may wait */
    uint64_t count;
} waits_t;

static inline waiting_t **waits_place(const waits_t *w, uint64_t packet) {
    return &w->place[packet & (w->room - 1)];
}

/* => packet has a place of its own. 0 where there is no memory for that. */
static inline int waits_reach(waits_t *w, uint64_t packet) {
    uint64_t room = w->room ? w->room : WAITING_ROOM;
    if (!w->count) w->oldest = w->next = packet;
    while (w->oldest < w->next && !*waits_place(w, w->oldest)) w->oldest++;
    while (packet - w->oldest >= room && room <= WAITING_ROOM_MAX) room *= 2;
    if (room > WAITING_ROOM_MAX) return 0;
    if (room == w->room) return 1;
    waiting_t **place = (waiting_t **)calloc(room, sizeof(waiting_t *));
    if (!place) return 0;
    for (uint64_t at = w->oldest; at < w->next; at++)
        place[at & (room - 1)] = *waits_place(w, at);
    free(w->place);
    w->place = place;
    w->room = room;
    return 1;
}

/* A place for a frame, to be filled; NULL: no memory. => packets come with growing numbers. */
static inline waiting_t *waits_put(waits_t *w, uint64_t packet, uint64_t bytes) {
    waiting_t *made = waits_reach(w, packet) ? (waiting_t *)malloc(sizeof(waiting_t) + bytes)
                                             : NULL;
    if (!made) return NULL;
    *waits_place(w, packet) = made;
    w->next = packet + 1;
    w->count++;
    return made;
}

/* The frame of a packet; NULL: it does not wait. */
static inline waiting_t *waits_find(const waits_t *w, uint64_t packet) {
    return w->count && packet >= w->oldest && packet < w->next ? *waits_place(w, packet) : NULL;
}

/* It waits no longer; whoever calls has it now. => waits_find knows it. */
static inline void waits_take(waits_t *w, uint64_t packet) {
    *waits_place(w, packet) = NULL;
    w->count--;
}

/* The first of those that wait; NULL: nobody does. Bounded by the numbers in reach. */
static inline waiting_t *waits_first(waits_t *w, uint64_t *packet) {
    while (w->oldest < w->next && !*waits_place(w, w->oldest)) w->oldest++;
    *packet = w->oldest;
    return w->oldest < w->next ? *waits_place(w, w->oldest) : NULL;
}

/* Frees all; as it was made. */
static inline void waits_clear(waits_t *w) {
    for (uint64_t at = w->oldest; at < w->next; at++) free(*waits_place(w, at));
    free(w->place);
    memset(w, 0, sizeof(*w));
}

#endif
