"""Types of the compiled module."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FIRST_BYTES_MAX: Final[int]

class Inspector:
    dtype: np.dtype[np.void]
    def __init__(self, first_bytes: int) -> None: ...
    @property
    def waits(self) -> int: ...
    def waiting(self) -> NDArray[Any]: ...
    def answer(self, answers: NDArray[np.uint8]) -> None: ...
    def make_room(self) -> None: ...
