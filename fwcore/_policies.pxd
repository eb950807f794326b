# Policies that were looked at, for who points the gate at them.

from libc.stdint cimport uint64_t

from fwcore.dataplane.layout cimport policies_t


cdef class Policies:
    cdef policies_t c       # points into `arrays`
    cdef tuple arrays       # copies, which nobody else knows
    cdef uint64_t known     # ids that a session's policy may be the index of
