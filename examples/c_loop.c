/* The firewall in a program of C: 4 096 frames a turn, from memory.
 *
 *     cc c_loop.c $(python3-config --embed --cflags --ldflags) \
 *        -I$(python3 -c 'import fwcore; print(fwcore.get_include())') -o c_loop
 */
#include <fwcore.h>
#include <string.h>

enum { N = 4096, BYTES = 60, TURNS = 8 };
static uint8_t data[N * BYTES];
static uint64_t offset[N];
static uint32_t size[N];
static int64_t time_ns[N];
static uint16_t kind[N], outcome[N];
static const uint8_t dns[] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 0,
    203, 0, 113, 9, 0, 53, 0, 53, 0, 26, 0, 0};

int main(void) {
    static const char *const names[] = {"packets", "sessions.live", "memory.now.used"};
    fwcore_chunk chunk = {data, sizeof(data), offset, size, size, time_ns, kind, N};
    int64_t values[3], dropped = 0;
    Py_Initialize();
    fwcore_t fw = fwcore_import() ? 0 : fwcore_new("fortios-7", "max_connections = 100_000");
    for (int turn = 0; fw && turn < TURNS; turn++) {
        for (uint32_t i = 0; i < N; i++) {
            memcpy(data + i * BYTES, dns, sizeof(dns));
            data[i * BYTES + 28] = (uint8_t)(i >> 8), data[i * BYTES + 29] = (uint8_t)i;
            offset[i] = i * BYTES, size[i] = BYTES, kind[i] = 1;
            time_ns[i] = (int64_t)(turn * N + i) * 1000;
        }
        if (fwcore_load(fw, &chunk) || fwcore_run(fw, outcome, NULL, NULL) != N) break;
        for (int i = 0; i < N; i++) dropped += FWCORE_VERDICT(outcome[i]) == FWCORE_DROP;
    }
    if (!fw || fwcore_counters(fw, names, values, 3) || values[0] != N * TURNS)
        return fprintf(stderr, "%s\n", fwcore_error()), 1;
    printf("%lld packets, %lld dropped, %lld sessions, mode %d\n", (long long)values[0],
           (long long)dropped, (long long)values[1], fwcore_mode(fw));
    return fwcore_free(fw) ? 1 : Py_FinalizeEx();
}
