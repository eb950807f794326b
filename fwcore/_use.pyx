"""One user at a time: who is within an object, and what no signal cuts in two.

    use = Use()    with use: ...    @exclusive    @unclosed    @undivided    use.close()

Laws: whoever comes while another is within is refused, and changes nothing; what was closed stays
closed.
"""

from functools import wraps as _wraps
from threading import get_ident as _get_ident, main_thread as _main_thread

from cpython.pythread cimport PyThread_get_thread_ident

from fwcore.dataplane.layout cimport fw_exchange
from fwcore.errors import EngineBusy, EngineClosed

cdef extern from "dataplane/signals.h" nogil:
    void fw_signals_hold()
    void fw_signals_release()


cdef class Use:
    """Who is within: nobody, somebody, or nobody ever again.

    ``with use:`` raises EngineBusy while another thread, or this one further out, is within one,
    and EngineClosed after ``close``. Costs nanoseconds: one exchange in memory.
    """

    cdef int _refuse(self, int state) except -1:
        if state == 2:
            raise EngineClosed(self.why)
        if self.who == PyThread_get_thread_ident():
            raise EngineBusy(
                "engine is in use by this thread: what it calls back may not call it; do it"
                " when the call has returned")
        raise EngineBusy(
            "engine is in use by another thread: an engine has one user at a time; use a lock,"
            " or an engine for each thread")

    def __enter__(self):
        self.take()

    def __exit__(self, *exception):
        self.give()

    @property
    def closed(self):
        return self.state == 2

    def close(self, str why not None="engine is closed: make a new one"):
        """Ends it, ``why`` for who comes later; true the first time. Raises EngineBusy while
        somebody is within."""
        cdef int before = fw_exchange(&self.state, 0, 2)
        if before == 0:
            self.why = why
        if before == 1:
            self._refuse(before)
        return before == 0


def exclusive(method):
    """A method of an object with a ``Use`` as ``_use``: nobody else is within meanwhile."""
    @_wraps(method)
    def alone(self, /, *args, **kwargs):
        cdef Use use = self._use
        use.take()
        try:
            return method(self, *args, **kwargs)
        finally:
            use.give()
    return alone


def unclosed(method):
    """The same for what may be asked while somebody is within: not after ``close``."""
    @_wraps(method)
    def standing(self, /, *args, **kwargs):
        cdef Use use = self._use
        if use.state == 2:
            use._refuse(2)
        return method(self, *args, **kwargs)
    return standing


def undivided(function):
    """A function that no signal's handler cuts in two: signals wait until it is done."""
    @_wraps(function)
    def whole(*args, **kwargs):
        if _get_ident() != _main_thread().ident:
            return function(*args, **kwargs)
        fw_signals_hold()
        try:
            return function(*args, **kwargs)
        finally:
            fw_signals_release()
    return whole
