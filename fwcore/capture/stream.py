"""Where the bytes of a capture come from: a mapped file, or a stream that is decompressed.

    regular file      mapped whole; nothing is copied, the chunks keep the map alive
    .gz, .zst, "-"    what has come, some MiB at most; what a reader has not consumed stays

Both look the same to a reader: ``data`` is what there is, ``base`` the place of its first byte in
the (decompressed) capture, and ``more(keep)`` forgets all before ``keep`` and adds what comes next.
What a file is decides its content, never its name. A file that shrinks while it is mapped kills
the process (SIGBUS), as with every program that maps files: read such a one through "-".
"""

from __future__ import annotations

import mmap
import os
import select
import stat
import sys
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

import numpy as np

from fwcore.capture.chunk import Array
from fwcore.errors import CaptureError, MissingExtra

BLOCK_BYTES = 1 << 20
"""Decompressed bytes to gather before a reader sees them, where more come without waiting: some
thousand frames, and few enough to stay in the cache."""

READ_BYTES = 256 << 10
"""Compressed bytes per system call."""

FEED_BYTES = 16 << 10
"""Compressed bytes per call of the zstd decompressor."""

ZSTD_BYTES = 16 << 10
"""Decompressed bytes per call of the zstd decompressor: what a damaged block takes with it."""

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

Fill = Callable[[], bytes]
"""Gives the next bytes of a stream, b"" at its end; raises StreamError."""


class StreamError(Exception):
    """A compressed stream is cut or damaged; all that could be decompressed was handed out."""


class Source(Protocol):
    """What a reader reads."""

    data: Array
    base: int
    compression: str
    file_bytes: int
    """On the disk; 0 of what is no file, where who reads may have to wait."""

    def more(self, keep: int) -> bool:
        """Forget ``data[:keep]`` and add what comes next; False, and no change, at the end."""

    @property
    def problem(self) -> str:
        """Why nothing more comes, "" at a regular end."""

    def compressed_bytes(self) -> int:
        """Bytes read of a compressed file, for progress; 0 of a plain one."""

    def release(self) -> None:
        """Nothing more will be asked for: the file is let go of, what was read stays."""

    def close(self) -> None:
        """Let go of the file; chunks that were handed out stay valid."""


class MappedSource:
    """A whole file, mapped read-only."""

    base = 0
    compression = ""
    problem = ""

    def __init__(self, file: BinaryIO) -> None:
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_SEQUENTIAL"):
            self._map.madvise(mmap.MADV_SEQUENTIAL)
        self.data: Array = np.frombuffer(self._map, np.uint8)
        self.file_bytes = len(self.data)

    def more(self, keep: int) -> bool:
        return False

    def compressed_bytes(self) -> int:
        return 0

    def release(self) -> None:
        """The file is closed already; the map goes with the last chunk."""

    def close(self) -> None:
        self.data = np.empty(0, np.uint8)


class StreamSource:
    """A stream in blocks; ``fill`` hands out its next bytes."""

    def __init__(
        self, file: BinaryIO, first: bytes, *, close: bool, file_bytes: int = 0,
    ) -> None:
        self._file, self._close, self._first = file, close, first
        self.file_bytes = file_bytes
        self._read_bytes = 0
        self.data: Array = np.empty(0, np.uint8)
        self._room: Array = np.empty(0, np.uint8)
        self._begin = self._end = 0          # of what is in the room
        self.base = 0
        self.problem = ""
        self._ended = False
        if first.startswith(GZIP_MAGIC):
            self.compression = "gzip"
            self._fill: Fill = _Gzip(self._read)
        elif first.startswith(ZSTD_MAGIC):
            self.compression = "zstd"
            self._fill = _Zstd(self._read)
        else:
            self.compression = ""
            self._fill = self._read

    def _read(self) -> bytes:
        """The next bytes as they are in the file, as soon as there are some."""
        if self._first:
            block, self._first = self._first, b""
        else:
            try:
                block = _some(self._file, READ_BYTES)
            except OSError as error:
                raise StreamError(f"reading failed ({error.strerror})") from error
        self._read_bytes += len(block)
        return block

    def more(self, keep: int) -> bool:
        self._begin += keep
        added = 0
        while added < BLOCK_BYTES and not self._ended and (not added or _is_ready(self._file)):
            try:
                part = self._fill()
            except StreamError as error:
                part, self.problem = b"", str(error)
            self._ended = not part
            self._append(part)
            added += len(part)
        if not added:
            self._begin -= keep
            return False
        self.base += keep
        self.data = self._room[self._begin : self._end]
        self.data.flags.writeable = False
        return True

    def _append(self, part: bytes) -> None:
        """Behind what is there: chunks that were handed out keep their bytes.

        A room that is full gives way to one of twice what it still holds, so that a record of any
        size costs a copy or two of each of its bytes, however small the parts are.
        """
        end = self._end + len(part)
        if end > len(self._room):
            kept = self._room[self._begin : self._end]
            self._room = np.empty(2 * (len(kept) + len(part)) + BLOCK_BYTES, np.uint8)
            self._room[: len(kept)] = kept
            self._begin, self._end = 0, len(kept)
            end = len(kept) + len(part)
        self._room[self._end : end] = np.frombuffer(part, np.uint8)
        self._end = end

    def compressed_bytes(self) -> int:
        return self._read_bytes

    def release(self) -> None:
        self._ended = True
        if self._close:
            self._file.close()

    def close(self) -> None:
        self.data = self._room = np.empty(0, np.uint8)
        self._begin = self._end = 0
        self.release()


class _Gzip:
    """gzip, of any number of members; zlib checks each member's CRC and length."""

    def __init__(self, read: Fill) -> None:
        self._read = read
        self._rest = b""
        self._member = zlib.decompressobj(wbits=31)
        self._damage: zlib.error | None = None

    def __call__(self) -> bytes:
        while True:
            if self._damage is not None:
                raise StreamError(f"the gzip stream is damaged ({self._damage})")
            if self._member.eof:
                self._rest = self._member.unused_data.lstrip(b"\0")   # tapes are padded with 0
                while not self._rest and (block := self._read()):
                    self._rest = block.lstrip(b"\0")
                if not self._rest:
                    return b""
                self._member = zlib.decompressobj(wbits=31)
            block = self._rest or self._read()
            self._rest = b""
            if not block:
                raise StreamError("the gzip stream is cut off: its end marker is missing")
            before = self._member.copy()
            try:
                part = self._member.decompress(block, BLOCK_BYTES)
            except zlib.error as error:
                part = _salvage(before, block)
                if not part:
                    raise StreamError(f"the gzip stream is damaged ({error})") from error
                self._damage = error
            self._rest = self._member.unconsumed_tail
            if part:
                return part


def _salvage(member: Any, block: bytes) -> bytes:
    """What a block gives before its damage: zlib hands out nothing of a call that fails."""
    parts = []
    try:
        for i in range(len(block)):
            parts.append(member.decompress(block[i : i + 1]))
    except zlib.error:
        pass
    return b"".join(parts)


class _Zstd:
    """zstd, of any number of frames."""

    def __init__(self, read: Fill) -> None:
        zstd = zstd_module()
        self._read = read
        self._error = zstd.ZstdError
        self._new = zstd.ZstdDecompressor
        self._frame: Any = None
        self._rest = b""
        self._at = 0

    def _feed(self) -> bytes:
        """The next few compressed bytes: what follows the end of a frame is copied each time."""
        if self._at >= len(self._rest):
            self._rest, self._at = self._read(), 0
        block = self._rest[self._at : self._at + FEED_BYTES]
        self._at += len(block)
        if not block and self._frame is not None:
            raise StreamError("the zstd stream is cut off: its last frame is not whole")
        return block

    def __call__(self) -> bytes:
        while True:
            block = b""
            if self._frame is None or self._frame.needs_input:
                block = self._feed()
                if not block:
                    return b""
            if self._frame is None:
                self._frame = self._new()
            try:
                part: bytes = self._frame.decompress(block, ZSTD_BYTES)
            except self._error as error:
                raise StreamError(f"the zstd stream is damaged ({error})") from error
            if self._frame.eof:
                self._at -= len(self._frame.unused_data)
                self._frame = None
            if part:
                return part


def zstd_module() -> Any:
    """Python's own zstd; before 3.14 its backport, the extra ``zst``."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise MissingExtra(
            "a zstd-compressed capture needs zstd, which this Python lacks: pip install "
            "'fwcore[zst]', or pipe it: zstd -dc FILE | fwcore replay -"
        ) from error
    return zstd


def open_source(path: str) -> Source:
    """The bytes of a capture file, or of standard input for "-".

    Raises CaptureError for what cannot be read at all, MissingExtra for zstd without its package.
    """
    if path == "-":
        if sys.stdin is None:
            raise CaptureError("standard input is closed: name a file, or pipe a capture in")
        stdin = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)   # what is there, and no more
        try:
            return StreamSource(stdin, _first_bytes(stdin), close=False)
        except OSError as error:
            raise CaptureError(f"standard input cannot be read ({error.strerror})") from error
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - the source closes it
        kind = os.fstat(file.fileno())
    except FileNotFoundError:
        raise CaptureError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise CaptureError(f"{path}: is a directory; name the captures in it") from None
    except OSError as error:
        raise CaptureError(f"{path}: cannot be opened ({error.strerror})") from error
    except ValueError as error:         # a zero byte, half a character
        raise CaptureError(f"{path!r}: no file has such a name ({error})") from None
    try:
        if not stat.S_ISREG(kind.st_mode):
            return StreamSource(file, _first_bytes(file), close=True)
        first = file.read(4)
        if not first:
            raise CaptureError(f"{path}: is empty (0 bytes): was the capture ever written?")
        if first.startswith((GZIP_MAGIC, ZSTD_MAGIC)):
            return StreamSource(file, first, close=True, file_bytes=kind.st_size)
        source = MappedSource(file)
        file.close()
        return source
    except OSError as error:
        file.close()
        raise CaptureError(f"{path}: cannot be read ({error.strerror})") from error
    except BaseException:
        file.close()
        raise


def _first_bytes(file: BinaryIO) -> bytes:
    """At least 4 bytes of a stream, unless it is shorter."""
    first = b""
    while len(first) < 4 and (block := _some(file, 4 - len(first))):
        first += block
    return first


def _some(file: BinaryIO, size: int) -> bytes:
    """At most ``size`` bytes, as soon as there are any; also where the file does not block."""
    while True:
        block: bytes | None = file.read(size)
        if block is not None:
            return block
        select.select([file], [], [])


def _is_ready(file: BinaryIO) -> bool:
    """Whether a read would not wait."""
    try:
        return bool(select.select([file], [], [], 0)[0])
    except (OSError, ValueError):    # nothing to wait for: bytes in memory
        return True
