"""An output: written beside its place and put there when it is whole.

    r.json  <- rename -  .fwcore-5d3c9a.part      a full disk, a signal: the earlier r.json stands
    /dev/null, a FIFO, "-"                        written as they are; nothing can be renamed there

A symbolic link stays, and what it points to is replaced. A fork has no part in what is written.
``check_apart`` is asked before anything is opened: an output is never an input, nor another output.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Self
from weakref import WeakSet

from fwcore import arguments
from fwcore.errors import FwcoreError, OutputError, PipeClosed
from fwcore.interruption import half_written

STREAMS = ("/dev/", "/proc/")     # what stands there may be a file that is open already
WRONG = (OSError, MemoryError)   # of which a file is given up, and the run goes on
Named = tuple[str, str]          # what it is to the user ("--json", "the capture"), its path


_open: WeakSet[Output] = WeakSet()


class Output:
    """A file that is being written; ``file`` takes bytes, ``commit`` makes it what it is named.

    Raises OutputError, which names the path; PipeClosed when nobody reads on.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = arguments.path("output", path, OutputError)
        self._target = self._part = ""
        self._left = False
        try:
            self.file: BinaryIO = self._open()
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from None

    def _open(self) -> BinaryIO:
        if self.path == "-":
            if sys.stdout is None:
                raise OutputError("standard output is closed: nothing can be written to it")
            return sys.stdout.buffer
        self._target = os.path.realpath(self.path)
        try:
            mode = os.stat(self.path).st_mode
        except FileNotFoundError:
            return self._beside()
        if not stat.S_ISREG(mode) or self.path.startswith(STREAMS):
            return open(self.path, "wb")
        with open(self._target, "ab"):      # says whether it may be written
            pass
        try:
            file = self._beside()
        except OSError:                     # a file that may be written in a folder that may not
            return open(self._target, "wb")
        os.fchmod(file.fileno(), stat.S_IMODE(mode))
        return file

    def _beside(self) -> BinaryIO:
        folder = os.path.dirname(self._target)
        part = os.path.join(folder, f".fwcore-{os.urandom(4).hex()}.part")
        half_written.add(part)
        try:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError:
            half_written.discard(part)
            raise
        self._part = part
        _open.add(self)
        return os.fdopen(handle, "wb")

    def _forget(self) -> None:
        """What was written is in its place, or gone."""
        half_written.discard(self._part)
        self._part = ""

    def leave(self) -> None:
        """In a fork: the file is its parent's, and what is written here goes nowhere."""
        if not self._part:
            return
        if not self.file.closed:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.file.fileno(), inheritable=False)
            os.close(nowhere)
        self._left = True
        self._forget()

    @property
    def placed(self) -> bool:
        """Whether it takes its place when it is whole; a pipe or a device has what is written."""
        return bool(self._part)

    def streamed(self) -> Any:
        """``file`` for who writes archives: in a device or a pipe, positions mean nothing.

        (/dev/null answers each question for one with 0.)
        """
        return self.file if self._part else _Stream(self.file)

    def write(self, data: bytes | memoryview) -> None:
        try:
            self.file.write(data)
        except WRONG as error:
            raise self.failure(error) from None

    def failure(self, error: OSError | MemoryError) -> OutputError:
        """What an error while writing means to the user."""
        if isinstance(error, BrokenPipeError):
            return PipeClosed(f"{self._shown}: nobody reads it any more")
        kept = "; an earlier file of that name is as it was" * os.path.exists(self._target)
        why = "not enough memory" if isinstance(error, MemoryError) else error.strerror or error
        return OutputError(f"{self._shown}: writing failed ({why}){kept if self._part else ''}")

    @property
    def _shown(self) -> str:
        return "standard output" if self.path == "-" else self.path

    def commit(self) -> None:
        """The file is whole: it takes its place."""
        if self._left:
            self.discard()
            raise OutputError(f"{self.path}: not written in a fork of who writes it")
        try:
            self.file.flush()
            if self.path != "-":
                self.file.close()
            if self._part:
                os.replace(self._part, self._target)
                self._forget()
        except WRONG as error:
            failure = self.failure(error)
            self.discard()
            raise failure from None

    def discard(self) -> None:
        """The file will not be whole: nothing of it stays, where that can be done."""
        if self.path == "-":
            return
        with suppress(OSError):          # what is left in the buffer has no place either
            self.file.close()
        if self._part:
            with suppress(OSError):      # or its folder went away
                os.unlink(self._part)
            self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if error is None:
            self.commit()
            return
        failure = self.failure(error) if isinstance(error, WRONG) else None
        self.discard()
        if failure is not None:
            raise failure from None


def _leave() -> None:
    for each in tuple(_open):
        each.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave)


class _Stream:
    """A file that can be written and nothing else. NumPy takes what can ``read`` for a file."""

    def __init__(self, file: BinaryIO) -> None:
        self.write, self.flush = file.write, file.flush

    def read(self, _size: int = -1) -> bytes:
        raise io.UnsupportedOperation("not readable")


# --- apart ----------------------------------------------------------------------------------------


def check_apart(outputs: Iterable[Named], inputs: Iterable[Named]) -> None:
    """Raises FwcoreError when an output is an input or another output, by whatever name.

    Files are compared by what they are (device and inode), so that links of both kinds count, and
    standard input and output where they are files. Devices and pipes may stand twice.
    """
    taken: dict[Any, tuple[str, bool]] = {}
    for name, path in inputs:
        for key in _identities(path, 0):
            taken.setdefault(key, (_called(name, path), True))
    for name, path in outputs:
        called = _called(name, path)
        for key in _identities(path, 1):
            other, is_input = taken.setdefault(key, (called, False))
            if is_input:
                raise FwcoreError(f"{called} is {other}, which is read: name another file")
            if other != called:
                raise FwcoreError(f"{called} and {other} are one file: name another for one")


def _called(name: str, path: str) -> str:
    return name if path == "-" and name == "standard output" else f"{name} {path}"


def _identities(path: str, stream: int) -> Iterator[Any]:
    """What a file is: itself, or the place where it would be made; nothing for devices, pipes."""
    try:
        found = os.fstat(stream) if path == "-" else os.stat(path)
    except FileNotFoundError:
        folder, name = os.path.split(os.path.realpath(path))
        try:
            where = os.stat(folder)
        except OSError:
            return
        yield where.st_dev, where.st_ino, name
        return
    except (OSError, ValueError):       # or none that a file can have
        return
    if path == "-":
        yield "standard stream", stream
    if stat.S_ISREG(found.st_mode):
        yield found.st_dev, found.st_ino
