"""Types of the compiled module; tests/test_package.py holds them against the module."""

from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

LOG_SLACK: Final[int]
SAMPLES: Final[int]
REBORN_MAX: Final[int]
GRAVES_MIN: Final[int]

def graves_bytes(connections: int) -> int: ...
def memory_plan(config: Mapping[str, Any]) -> dict[str, int]: ...

class Arena:
    def __init__(self, size: int) -> None: ...

class Table:
    def __init__(self, config: NDArray[Any]) -> None: ...
