"""Captures: files, streams and Scapy packets, all as chunks of frames.

    open_capture("x.pcap.gz")  ->  Reader  ->  Chunk, Chunk, ...      then Reader.fault, if any

Natively read, by content and not by name: pcap (both byte orders; micro- and nanoseconds; the
modified format) and pcapng (sections, interfaces, simple and obsolete packets), plain (mapped),
gzip, zstd, standard input. Through Scapy: its readers and any iterable of packets. Nothing here
parses a frame, but for ``filter``.
"""

from collections.abc import Iterable
from typing import Any

from fwcore.capture.chain import ChainReader
from fwcore.capture.chunk import CHUNK_SIZE, READ_SIZE, Chunk, Fault, Reader
from fwcore.capture.detect import open_native
from fwcore.capture.filter import Filter
from fwcore.capture.reader import (
    READERS,
    load,
    open_capture,
    open_captures,
    parse_ahead,
)
from fwcore.capture.writer import PcapngWriter, PcapWriter, capture_writer
from fwcore.errors import CaptureError

__all__ = [
    "CHUNK_SIZE",
    "READ_SIZE",
    "READERS",
    "CaptureError",
    "ChainReader",
    "Chunk",
    "Fault",
    "Filter",
    "PcapWriter",
    "PcapngWriter",
    "Reader",
    "capture_writer",
    "from_packets",
    "load",
    "open_capture",
    "open_captures",
    "open_native",
    "parse_ahead",
]


def from_packets(
    packets: Iterable[Any], times_ns: Iterable[int] | None = None, *, link: int | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> Reader:
    """Scapy packets or ``bytes`` as a reader; see ``fwcore.capture.scapy.from_packets``."""
    from fwcore.capture.scapy import from_packets as build

    return build(packets, times_ns, link=link, chunk_size=chunk_size)
