# The firewall in a loop of Cython: an engine made in Python, frames of a table, no object a frame.
#
#     cythonize -i cython_loop.pyx      with fwcore.get_include() among the include directories
#     python -c 'import cython_loop; cython_loop.demo()'
import fwcore
import numpy as np

from fwcore.fastpath cimport *
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

if fwcore_import():
    raise ImportError("there is no fwcore, or one of another version")


def drops(engine, const uint8_t[:, ::1] frames, int64_t begin_ns):
    """How many of a table's frames are dropped, a microsecond from each to the next."""
    cdef uint64_t n = frames.shape[0], i, found = 0
    cdef uint64_t[::1] offset = np.arange(n, dtype=np.uint64) * frames.shape[1]
    cdef uint32_t[::1] size = np.full(n, frames.shape[1], np.uint32)
    cdef int64_t[::1] time_ns = begin_ns + 1000 * np.arange(n)
    cdef uint16_t[::1] link = np.ones(n, np.uint16), outcome = np.zeros(n, np.uint16)
    cdef fwcore_chunk chunk = [&frames[0, 0], frames.nbytes, &offset[0], &size[0], &size[0],
                               &time_ns[0], &link[0], n]
    cdef fwcore_t fw = fwcore_of(engine)
    with nogil:     # each call takes the lock where it needs it
        if fwcore_load(fw, &chunk) or fwcore_run(fw, &outcome[0], NULL, NULL) < 0:
            with gil:
                raise RuntimeError(fwcore_error().decode())
        for i in range(n):
            found += FWCORE_VERDICT(outcome[i]) == FWCORE_DROP
    fwcore_free(fw)
    return found


def demo():
    frames = np.zeros((1000, 60), np.uint8)     # a thousand hosts, and room for a hundred sessions
    frames[:, 12:24] = list(bytes.fromhex("08004500002e000000004011"))
    frames[:, 28], frames[:, 29] = np.divmod(np.arange(1000), 256)
    engine = fwcore.Engine(max_connections=100, when_full="refuse")
    print(f"1000 frames, {drops(engine, frames, 10**18)} dropped, {len(engine)} sessions")
