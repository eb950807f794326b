"""What a caller gives, held against what is asked for: given back, or refused with a word of whose.

A wrong one would be found much later otherwise, by whoever trips over it, in its own words.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from operator import index
from typing import Any

from fwcore.errors import DataError, FwcoreError

Kind = type[FwcoreError]


def whole(what: str, value: Any, least: int | None = None, error: Kind = DataError) -> int:
    """A whole number, NumPy's too; no truth value."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = index(value)
    except TypeError:
        raise error(f"{what}: {value!r:.80} is no whole number") from None
    if least is not None and number < least:
        raise error(f"{what}: {number} is below {least}")
    return number


def flag(what: str, value: Any, error: Kind = DataError) -> bool:
    """True or false, NumPy's too, also as 0 or 1."""
    of_numpy = getattr(value, "shape", None) == () and value.dtype.kind == "b"
    if of_numpy or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise error(f"{what}: {value!r:.80} is neither true nor false")


def text(what: str, value: Any, error: Kind = DataError) -> str:
    """A text."""
    if not isinstance(value, str):
        raise error(f"{what}: {value!r:.80} is no text")
    return value


def path(what: str, value: Any, error: Kind = DataError) -> str:
    """A path that a file can have: text, or what has one (``pathlib``). A number is none: it would
    be a file that is open already, and closed behind its owner's back."""
    try:
        name = os.fspath(value)
        if not isinstance(name, str) or b"\0" in os.fsencode(name):
            raise TypeError
    except (TypeError, UnicodeEncodeError):
        raise error(f"{what}: {value!r:.80} is no path") from None
    return name


def function(what: str, value: Any, error: Kind = DataError) -> Callable[..., Any]:
    """What can be called."""
    if not callable(value):
        raise error(f"{what}: {value!r:.80} is no function")
    found: Callable[..., Any] = value
    return found
