# What becomes of a packet, as two bytes.

from libc.stdint cimport uint32_t

from fwcore.dataplane.layout cimport control_t


cdef inline uint32_t outcome_of(int verdict, int reason) noexcept nogil:
    """Verdict in the low byte, reason in the next: the two bytes that the digest sees."""
    return verdict | reason << 8


cdef inline uint32_t verdict_invalid(const control_t *control, int reason) noexcept nogil:
    """What is invalid and has no session passes or not, as the setting says."""
    return outcome_of(control.config.invalid_verdict, reason)
