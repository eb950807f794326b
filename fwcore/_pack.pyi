"""Types of the compiled module."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

class Packed:
    def __len__(self) -> int: ...
    def pack(
        self,
        frames: Any,
        times_ns: Iterable[int],
        lengths: Iterable[int] | None = None,
        link: int | Iterable[int] = 1,
    ) -> None: ...
    def arrays(
        self,
    ) -> tuple[
        NDArray[np.uint8],
        NDArray[np.uint64],
        NDArray[np.uint32],
        NDArray[np.uint32],
        NDArray[np.int64],
        NDArray[np.uint16],
    ]: ...

class Borrowed(Packed):
    def pack(
        self,
        frames: Any,
        times_ns: Iterable[int],
        lengths: Iterable[int] | None = None,
        link: int | Iterable[int] = 1,
    ) -> None: ...
