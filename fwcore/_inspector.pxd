# Who is asked about sessions' first bytes: the class that owns the rows, for the fast path.

from libc.stdint cimport uint32_t

from fwcore._use cimport Use
from fwcore.dataplane.layout cimport fw_t, inspector_t


cdef class Inspector:
    cdef inspector_t core
    cdef object rows            # behind core.rows
    cdef readonly object dtype  # of a row
    cdef fw_t *fw               # of the fast path whose it is; NULL: nobody's
    cdef object keeper          # ... weak reference to it
    cdef Use use                # that of the fast path

    cdef int _grow(self, uint32_t places) except -1
    cdef int join(self, object fastpath, fw_t *fw, Use use) except -1
    cdef void leave(self) noexcept
    cdef void disown(self) noexcept
