"""Types of the compiled module; tests/test_package.py holds them against the module."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SESSIONS_MAX: Final[int]

class BareLoop:
    position: int
    def __init__(self, sessions: int, data: NDArray[np.uint8]) -> None: ...
    @property
    def sessions(self) -> int: ...
    def rewind(self, data: NDArray[np.uint8]) -> None: ...
    def run(self, count: int) -> int: ...

def bench_parse(chunk: Any) -> int: ...
