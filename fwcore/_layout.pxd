# _layout.h for Cython: declarations only, no code. What a thing means is said there.

cdef extern from "_layout.h" nogil:
    enum:
        VERDICT_COUNT, REASON_COUNT, EXPOSURE_COUNT, END_COUNT, STATE_COUNT, WHEN_FULL_COUNT
        MIDSTREAM_COUNT, GATE_COUNT, OBJECT_COUNT, POLICY_COUNT, GAUGE_COUNT
    const char *VERDICT_NAMES[]
    const char *REASON_NAMES[]
    const char *EXPOSURE_NAMES[]
    const char *END_NAMES[]
    const char *STATE_NAMES[]
    const char *WHEN_FULL_NAMES[]
    const char *MIDSTREAM_NAMES[]
    const char *GATE_NAMES[]
    const char *OBJECT_NAMES[]
    const char *POLICY_NAMES[]
    const char *GAUGE_NAMES[]
