/* Which sessions may begin, said by a function in C: here, those of addresses on a list.
 *
 *     cc c_decider.c $(python3-config --embed --cflags --ldflags) \
 *        -I$(python3 -c 'import fwcore; print(fwcore.get_include())') -o c_decider
 */
#include <fwcore.h>
#include <string.h>

enum { N = 256, BYTES = 60 };
static uint8_t data[N * BYTES], listed[256];
static uint64_t offset[N];
static uint32_t size[N];
static int64_t time_ns[N];
static uint16_t kind[N], outcome[N];
static const uint8_t dns[] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 0,
    203, 0, 113, 9, 0, 53, 0, 53, 0, 26, 0, 0};

static int64_t by_list(void *list, const fwcore_opening *opening) {
    return ((const uint8_t *)list)[opening->initiator[3]] ? FWCORE_BY_POLICY : FWCORE_DENY;
}

int main(void) {
    fwcore_chunk chunk = {data, sizeof(data), offset, size, size, time_ns, kind, N};
    int denied = 0;
    Py_Initialize();
    fwcore_t fw = fwcore_import() ? 0 : fwcore_new(NULL, "max_connections = 1000");
    for (uint32_t i = 0; i < N; i++) {
        memcpy(data + i * BYTES, dns, sizeof(dns));
        data[i * BYTES + 29] = (uint8_t)i, listed[i] = i % 4 == 0;
        offset[i] = i * BYTES, size[i] = BYTES, kind[i] = 1;
        time_ns[i] = (int64_t)i * 1000;
    }
    if (!fw || fwcore_decide(fw, by_list, listed) || fwcore_load(fw, &chunk)
        || fwcore_run(fw, outcome, NULL, NULL) != N)
        return fprintf(stderr, "%s\n", fwcore_error()), 1;
    for (int i = 0; i < N; i++) denied += FWCORE_VERDICT(outcome[i]) == FWCORE_DROP;
    return printf("%d of %d denied\n", denied, N), fwcore_free(fw) ? 1 : Py_FinalizeEx();
}
