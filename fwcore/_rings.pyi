"""Types of the compiled module; tests/test_package.py holds them against the module."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

BATCH: Final[int]
COUNTERS: Final[tuple[str, ...]]
FRAMES: Final[int]
ERROR: Final[int]
WOKEN: Final[int]
LOOPBACK: Final[int]
ETHERNET: Final[tuple[int, ...]]
OFFLOADS: Final[tuple[tuple[str, int], ...]]

class Interface:
    name: str
    index: int
    kind: int
    mtu: int
    up: bool
    def __init__(self, name: str) -> None: ...
    @property
    def offloads(self) -> tuple[str, ...]: ...

class Rings:
    names: tuple[str, ...]
    bound: dict[str, tuple[int, str]]
    data: NDArray[np.uint8]
    offset: NDArray[np.uint64]
    captured: NDArray[np.uint32]
    length: NDArray[np.uint32]
    time_ns: NDArray[np.int64]
    link: NDArray[np.uint16]
    def __init__(
        self, names: Iterable[str], *, ring_bytes: int = ..., block_bytes: int = ...,
        retire_ms: int = ..., at_once: bool = ...,
    ) -> None: ...
    def close(self) -> None: ...
    def take(self, limit: int = ...) -> int: ...
    def send(self, outcome: NDArray[np.uint8]) -> None: ...
    def leave(
        self, first: int, kept: NDArray[np.uint8], packet: NDArray[np.uint64],
        due_ns: NDArray[np.int64], sent: NDArray[np.uint8], mark: NDArray[np.uint8],
    ) -> None: ...
    @property
    def waiting(self) -> int: ...
    def forsake(self) -> int: ...
    def wait(self, timeout_ns: int) -> int: ...
    def wake(self) -> None: ...
    def forward(self, duration_ns: int) -> int: ...
    def heal(self) -> dict[str, str]: ...
    def deafen(self) -> None: ...
    @property
    def now_ns(self) -> int: ...
    def counters(self) -> dict[str, dict[str, int]]: ...
    def delays(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...

def walk(
    data: Any, block_bytes: int, slots: bool = ..., limit: int = ...,
) -> tuple[list[tuple[int, int, int]], dict[str, int]]: ...
