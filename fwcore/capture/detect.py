"""Which native reader reads a file: told by its first bytes, never by its name."""

from __future__ import annotations

from fwcore.capture.chunk import CHUNK_SIZE
from fwcore.capture.native import NativeReader
from fwcore.capture.pcap import MAGICS, PcapReader
from fwcore.capture.pcapng import MAGIC, PcapNgReader
from fwcore.capture.stream import GZIP_MAGIC, ZSTD_MAGIC, Source, open_source
from fwcore.errors import CaptureError

OTHERS = {
    b"BZh": "bzip2: decompress it first (bzip2 -dc FILE | fwcore replay -)",
    b"\xfd7zXZ": "xz: decompress it first (xz -dc FILE | fwcore replay -)",
    b"\x04\x22\x4d\x18": "lz4: decompress it first (lz4 -dc FILE | fwcore replay -)",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"snoop\0": "a snoop capture: convert it with editcap -F pcap",
    GZIP_MAGIC: "gzip within gzip: decompress it once",
    ZSTD_MAGIC: "zstd within a compressed file: decompress it once",
}
"""What a file that is no capture may be instead, and what to do then."""


def open_native(path: str, chunk_size: int = CHUNK_SIZE) -> NativeReader:
    """The native reader for what the file contains; its name does not matter."""
    source = open_source(path)
    try:
        while len(source.data) < 4 and source.more(0):
            pass
        magic = source.data[:8].tobytes()
        if magic[:4] == MAGIC:
            return PcapNgReader(path, source, chunk_size)
        if magic[:4] in MAGICS:
            return PcapReader(path, source, chunk_size)
        raise CaptureError(_not_a_capture(path, source, magic))
    except BaseException:
        source.close()
        raise


def _not_a_capture(path: str, source: Source, magic: bytes) -> str:
    """The message for a file that begins with ``magic``."""
    where = f" once decompressed ({source.compression})" if source.compression else ""
    if source.problem:
        return f"{path}: byte {len(source.data)}{where}: {source.problem}; fetch the file again"
    if not magic:
        return f"{path}: is empty{where} (0 bytes): was the capture ever written?"
    if len(magic) < 4:
        return f"{path}: ends at byte {len(magic)}{where}, too short for a capture"
    for start, hint in OTHERS.items():
        if magic.startswith(start):
            return f"{path}: byte 0{where}: not a capture but {hint}"
    wrong = ""
    if path.endswith((".gz", ".zst")) and not source.compression:
        wrong = f"; it is not compressed either, whatever its name {path.rpartition('.')[2]} says"
    return (f"{path}: byte 0{where}: not a capture: begins with {magic[:4].hex(' ')}, neither "
            f"pcap nor pcapng{wrong}; convert other formats with editcap -F pcap")
