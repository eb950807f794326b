# A table's memory, for who installs it and keeps it.

from libc.stdint cimport uint8_t

from fwcore.dataplane.layout cimport config_t, fw_t

cdef enum:
    LOG_SLACK_ROWS = 4096          # ended sessions after which the log wants to be collected


cdef class Arena:
    cdef void *mapped
    cdef size_t mapped_bytes
    cdef uint8_t *memory
    cdef size_t used, size

    cdef void *take(self, size_t bytes) except NULL


cdef class Table:
    cdef config_t config
    cdef Arena arena    # None: it has been installed
    cdef dict plan

    cdef int install(self, fw_t *fw) except -1
