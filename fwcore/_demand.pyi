"""Types of the compiled module; tests/test_package.py holds them against the module."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

RATES_MAX: Final[int]
DEPTHS_MAX: Final[int]
KEY_WORDS: Final[int]
FLOW_WORDS: Final[int]
UNITS_MAX: Final[int]
RATE_MAX: Final[int]
SIZE_MAX: Final[int]
ENTRIES_MAX: Final[int]

class Demand:
    rates: list[int]
    depths: list[list[int]]
    def __init__(
        self, rates: Sequence[int], depths: Sequence[Sequence[int]], keys_max: int = 65536,
        flows_max: int = 262144,
    ) -> None: ...
    def feed(
        self, time_ns: NDArray[np.int64], size: NDArray[np.uint64], key: NDArray[np.uint64],
        flow: NDArray[np.uint64], tcp: NDArray[np.uint8],
    ) -> None: ...
    @property
    def forgotten(self) -> dict[str, int]: ...
    @property
    def flowless(self) -> int: ...
    @property
    def keys(self) -> int: ...
    def depth_bytes(self) -> list[int]: ...
    def dropped(self) -> list[list[dict[str, int]]]: ...
    def top(self, count: int = 20) -> list[dict[str, Any]]: ...

class Line:
    packets: int
    def __init__(self, rates: Sequence[int], delay_ns: int) -> None: ...
    def feed(self, time_ns: NDArray[np.int64], size: NDArray[np.uint64]) -> None: ...
    @property
    def late(self) -> list[int]: ...
