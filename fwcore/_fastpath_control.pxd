# A firewall's state, for who asks, writes it down, or judges packets with it.

from libc.stdint cimport uint32_t, uint64_t

from fwcore._decider cimport Decider
from fwcore._inspector cimport Inspector
from fwcore._memory cimport Arena, Table
from fwcore._policies cimport Policies
from fwcore._shaper cimport Shaper
from fwcore._use cimport Use
from fwcore.dataplane.frame cimport parser_t
from fwcore.dataplane.layout cimport fw_t

cdef enum:
    RECOUNTS = 1 << 16             # an entry an outcome, whatever stands there


cdef class Control:
    cdef fw_t fw
    cdef parser_t parser
    cdef Use use                # who is within
    cdef Arena arena            # what fw points into ...
    cdef Arena graves           # ... and, where grace came later, its graves
    cdef dict plan
    cdef Policies policies
    cdef object script_arrays
    cdef readonly Shaper shaper  # None: packets meet nothing after their verdict
    cdef readonly Inspector inspector  # None: nobody is asked about first bytes
    cdef readonly Decider decider      # None: nobody is asked before a session begins
    cdef uint64_t recount[RECOUNTS]  # by outcome, from those that were handed out
    cdef bint begun
    cdef readonly bint resuming  # the clock waits for the next packet, see resume
    cdef readonly int stopped   # STOPPED_* that no `apply` has answered yet
    cdef object __weakref__

    cdef int _take_in(self, Table table) except -1
    cdef int _have_graves(self) except -1
    cdef void _begin_parser(self) noexcept
    cdef void _watch(self) noexcept
    cdef void _hook(self) noexcept
    cdef int _script(self, object steps, object leaks) except -1
    cdef void _point(self, Policies policies) noexcept
    cdef int _check_moved(self, object moved, object known) except -1
    cdef object _policies_standing(self)
    cdef Py_ssize_t _name(self, const uint32_t[::1] numbers) noexcept
    cdef uint64_t _log_rows(self) noexcept
    cdef object _by_hand(self, object owner, object pages, bint taken)
    cdef object _live_records(self)
