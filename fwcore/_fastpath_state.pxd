# A firewall that can be written down, for who judges packets with it.

from libc.stdint cimport uint64_t

from fwcore._memory cimport Table
from fwcore._fastpath_questions cimport Questions


cdef class State(Questions):
    cdef int _check_rebuild(self, Table table, uint64_t held, bint keep) except -1
    cdef dict _state_sessions(self)
    cdef dict _state_ledgers(self)
    cdef dict _sparse(self)
    cdef dict _state_shaper(self)
    cdef int _set_clock(self, dict given) except -1
    cdef int _set_ledgers(self, object tables) except -1
    cdef int _set_script(self, dict given, object leaks) except -1
    cdef int _link(self, object tables) except -1
    cdef int _set_shaped(self, object tables) except -1
    cdef int _set_fragments(self, object fragments) except -1
