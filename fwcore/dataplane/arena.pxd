# arena.h for Cython; meanings are said there.

cdef extern from "dataplane/arena.h" nogil:
    enum:
        FW_REDZONE
    void fw_poison(void *p, size_t bytes)
    void *fw_arena_new(size_t bytes, size_t touched, void **mapped, size_t *mapped_bytes)
    void fw_arena_free(void *mapped, size_t mapped_bytes)
