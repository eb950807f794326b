# Who is within: taken and given in C, see _use.pyx.

from cpython.pythread cimport PyThread_get_thread_ident

from fwcore.dataplane.layout cimport fw_exchange, fw_unlikely


cdef class Use:
    cdef int state      # 0 free, 1 in use, 2 closed
    cdef unsigned long who
    cdef str why        # it is closed

    cdef inline int take(self) except -1:
        cdef int before = fw_exchange(&self.state, 0, 1)
        if fw_unlikely(before):
            self._refuse(before)
        self.who = PyThread_get_thread_ident()
        return 0

    cdef inline void give(self) noexcept:
        fw_exchange(&self.state, 1, 0)

    cdef int _refuse(self, int state) except -1
