# What may be asked, for who writes the answers down.

from libc.stdint cimport uint32_t

from fwcore._fastpath_control cimport Control
from fwcore.dataplane.layout cimport fw_key_t


cdef class Questions(Control):
    cdef uint32_t[::1] newborn  # records in order of birth, for who listens; None: nobody does

    cdef object _in_order(self, object numbers)
    cdef int _key(self, object key, fw_key_t *k) except -1
    cdef object _ring(self)
    cdef object _counters(self)
