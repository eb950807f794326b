/* Memory in one piece, in large pages, zeroed and touched before it is lent in parts.
 *
 * Law: no thread outlives the call that made it, and none gets a signal.
 */
#ifndef FWCORE_ARENA_H
#define FWCORE_ARENA_H

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Under AddressSanitizer the parts of an arena stand apart, and what lies between is forbidden. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
enum { FW_REDZONE = 64 };
#define fw_poison(p, bytes) ASAN_POISON_MEMORY_REGION((p), (bytes))
#define fw_unpoison(p, bytes) ASAN_UNPOISON_MEMORY_REGION((p), (bytes))
#else
enum { FW_REDZONE = 0 };
#define fw_poison(p, bytes) ((void)(p), (void)(bytes))
#define fw_unpoison(p, bytes) ((void)(p), (void)(bytes))
#endif

enum { FW_TOUCHERS = 8 };           /* threads at most ... */
#define FW_TOUCH ((size_t)16 << 20) /* ... with so many bytes each at least */
#define FW_HUGE ((size_t)2 << 20)

typedef struct {
    volatile uint8_t *from, *to;
    pthread_t thread;
} fw_touch_t;

/* Processors that this thread may use. */
static inline size_t fw_cores(void) {
#ifdef __linux__
    unsigned long set[128];     /* 8 192 processors; where there are more: one */
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof set, set);
    size_t count = 0;
    for (long i = 0; i < bytes / (long)sizeof *set; i++) {
        count += (size_t)__builtin_popcountl(set[i]);
    }
    return count ? count : 1;
#else
    return 1;
#endif
}

static inline void *fw_touch(void *part) {
    const fw_touch_t *t = (const fw_touch_t *)part;
    for (volatile uint8_t *at = t->from; at < t->to; at += 4096) *at = 0;
    return NULL;
}

/* By as many threads as there are cores: what takes time is the kernel, which clears pages, and in
 * a guest the host, which gives one when it is touched (EPYC, 190 MB: 380 ms; 200 by two). Where a
 * thread cannot start, the caller does its part. */
static inline void fw_touch_all(uint8_t *memory, size_t bytes) {
    fw_touch_t parts[FW_TOUCHERS];
    size_t many = bytes / FW_TOUCH, cores = fw_cores(), each, i, started = 1;
    sigset_t every, before;
    if (many > cores) many = cores;
    if (many > FW_TOUCHERS) many = FW_TOUCHERS;
    if (many < 1) many = 1;
    each = bytes / many & ~(FW_HUGE - 1); /* a large page is one thread's */
    for (i = 0; i < many; i++) {
        parts[i].from = memory + i * each;
        parts[i].to = i + 1 < many ? memory + (i + 1) * each : memory + bytes;
    }
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    while (started < many
           && pthread_create(&parts[started].thread, NULL, fw_touch, &parts[started]) == 0) {
        started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    fw_touch(&parts[0]);
    for (i = started; i < many; i++) fw_touch(&parts[i]);
    for (i = 1; i < started; i++) pthread_join(parts[i].thread, NULL);
}

/* Zeroed memory, the first `touched` bytes touched, in large pages where the kernel offers them.
 * *mapped is what to free. */
static inline void *fw_arena_new(size_t bytes, size_t touched, void **mapped,
                                 size_t *mapped_bytes) {
    size_t total = bytes + (bytes >= FW_HUGE ? FW_HUGE : 0);
    uint8_t *map = (uint8_t *)mmap(NULL, total, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == (uint8_t *)MAP_FAILED) return NULL;
    uint8_t *memory = map;
    if (total != bytes) memory = (uint8_t *)(((uintptr_t)map + FW_HUGE - 1) & ~(FW_HUGE - 1));
#ifdef MADV_HUGEPAGE
    madvise(memory, touched, MADV_HUGEPAGE);
#endif
    fw_touch_all(memory, touched);
    *mapped = map;
    *mapped_bytes = total;
    return memory;
}
static inline void fw_arena_free(void *mapped, size_t mapped_bytes) {
    fw_unpoison(mapped, mapped_bytes);
    munmap(mapped, mapped_bytes);
}

#endif
