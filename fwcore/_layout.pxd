# Records that cross the line, for the modules below it: read and copied.

from fwcore.dataplane.layout cimport config_t, control_t, gate_t


cdef object copied(const void *rows, size_t count, object dtype)
cdef int config_read(object values, config_t *config) except -1
cdef void timeouts_split(control_t *control) noexcept
cdef int gate_read(object values, gate_t *gate) except -1
