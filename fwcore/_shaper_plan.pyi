"""Types of the compiled module; tests/test_package.py holds them against the module."""

from typing import Any, Final

import numpy as np

METER_DTYPE: Final[np.dtype[Any]]
LINK_DTYPE: Final[np.dtype[Any]]
CLASS_DTYPE: Final[np.dtype[Any]]
SHAPING_DTYPE: Final[np.dtype[Any]]
MATCH_DTYPE: Final[np.dtype[Any]]
DEPARTURE_DTYPE: Final[np.dtype[Any]]
ARRIVAL_DTYPE: Final[np.dtype[Any]]

class Planned:
    sessions: int
    free: int
    def __init__(
        self, plan: Any, *, sessions: int = 1, seed: int = 0, packets_max: int = 0,
        keep: bool = False, watch: bool = False, accounted: bool = False, free: int = 0,
    ) -> None: ...
