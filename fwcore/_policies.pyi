"""Types of the compiled module; tests/test_package.py holds them against the module."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

class Policies:
    def __init__(self, compiled: Any, gone: NDArray[np.uint32] | None = None) -> None: ...
