"""Errors a user meets: each says what is wrong, where, and what to do; none needs a traceback.

One family. Where Python has a word for a kind of misuse, an error is of that kind, too: what was
given is wrong (ValueError), or it is asked for at the wrong time (RuntimeError).
"""


from __future__ import annotations

import typing
from functools import wraps

_P = typing.ParamSpec("_P")
_R = typing.TypeVar("_R")


class FwcoreError(Exception):
    """Base of every error raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 2


class SettingsError(FwcoreError):
    """A setting, policy or personality is unknown, out of range or contradictory."""


class CaptureError(FwcoreError):
    """A capture cannot be opened: missing, empty, a directory, not a capture."""


class FrameError(FwcoreError, ValueError):
    """Frames, times or lengths handed over from Python are not what they have to be."""


class FlowError(FwcoreError, ValueError):
    """No flow: not two addresses of one IP version, a port, protocol or zone out of range."""


class DataError(FwcoreError, ValueError):
    """What was handed over would break it: a wrong array, record, index, order or kind of value."""


def refusing(
    kind: type[FwcoreError],
) -> typing.Callable[[typing.Callable[_P, _R]], typing.Callable[_P, _R]]:
    """A function whose arguments Cython looks at: what it refuses is an error of the family."""
    def of(function: typing.Callable[_P, _R]) -> typing.Callable[_P, _R]:
        @wraps(function)
        def refuses(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                return function(*args, **kwargs)
            except FwcoreError:
                raise
            except (AttributeError, TypeError, ValueError, OverflowError, BufferError) as error:
                raise kind(f"{function.__name__}: {error}") from None
        return refuses
    return of


class ConfigFrozen(FwcoreError):
    """A change was refused because conserve mode freezes the configuration."""


class EngineBusy(FwcoreError, RuntimeError):
    """An engine belongs to one caller at a time; another thread, or a callback, is within."""


class EngineClosed(FwcoreError, RuntimeError):
    """The engine was closed, and its table's memory given back."""


class StateError(FwcoreError, ValueError):
    """No saved engine: damaged, of another version, or with figures that no engine has."""


class MissingName(FwcoreError, KeyError):
    """A result has no such figure or table."""

    __str__ = Exception.__str__      # KeyError would quote it


class MissingExtra(FwcoreError):
    """An optional dependency is not installed; the message names the extra to install."""


class LiveError(FwcoreError):
    """An interface, port or socket of a live run cannot be had; the message says which and why."""


class LawBroken(FwcoreError):
    """Two independent sources of one figure disagree: a defect of fwcore."""

    exit_code = 5


class OutputError(FwcoreError):
    """An output cannot be written; the message names it."""


class PipeClosed(OutputError):
    """Whoever read an output has gone; 141 is what SIGPIPE would have given (128 + 13)."""

    exit_code = 141
