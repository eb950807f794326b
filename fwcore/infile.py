"""A file that is read whole: no more of it than it may have, and no more than its beginning where
that tells that it is something else.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from fwcore import arguments
from fwcore.errors import FwcoreError

BLOCK = 1 << 20


def read(path: str | os.PathLike[str], most: int,
         begins: Callable[[bytes], bool] = lambda _head: True) -> bytes:
    """The bytes of a file, at most ``most``; its first block alone where ``begins`` denies it.

    Raises OSError where it cannot be read; FwcoreError for what is no path, and for a longer one
    (``/dev/zero`` has no end).
    """
    with open(arguments.path("file", path, FwcoreError), "rb") as file:
        parts = [file.read(min(BLOCK, most + 1))]
        if not begins(parts[0]):
            return parts[0]
        size = len(parts[0])
        while size <= most and (part := file.read(min(BLOCK, most + 1 - size))):
            parts.append(part)
            size += len(part)
    if size > most:
        raise FwcoreError(f"{os.fspath(path)}: has more than {most} bytes, which is as much as is"
                          " read of such a file")
    return b"".join(parts)
