"""Types of the compiled module; tests/test_package.py holds them against the module."""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

class ScanStatus(IntEnum):
    ROOM = 0
    END = 1
    CUT = 2
    LONG = 3
    LENGTH = 4
    TRAILER = 5
    SPACE = 6
    INTERFACE = 7
    CONTROL = 8
    JOINED = 10

def capture_scan_pcap(
    data: NDArray[np.uint8],
    begin: int,
    end: int,
    swapped: bool,
    header_bytes: int,
    unit_ns: int,
    limit: int,
    offset: NDArray[np.uint64],
    captured: NDArray[np.uint32],
    length: NDArray[np.uint32],
    time_ns: NDArray[np.int64],
) -> tuple[int, int, int]: ...
def capture_scan_pcapng(
    data: NDArray[np.uint8],
    begin: int,
    end: int,
    swapped: bool,
    interfaces: NDArray[np.uint64],
    last_ns: int,
    offset: NDArray[np.uint64],
    captured: NDArray[np.uint32],
    length: NDArray[np.uint32],
    time_ns: NDArray[np.int64],
    link: NDArray[np.uint16],
) -> tuple[int, int, int, int, int, int, int, int]: ...
def capture_pack(
    data: NDArray[np.uint8],
    offset: NDArray[np.uint64],
    captured: NDArray[np.uint32],
    length: NDArray[np.uint32],
    time_ns: NDArray[np.int64],
    chosen: NDArray[np.int64],
    out: NDArray[np.uint8],
    interface: NDArray[np.uint32] | None = None,
) -> int: ...
