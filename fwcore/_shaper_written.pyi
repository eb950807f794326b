"""Types of the compiled module; tests/test_package.py holds them against the module."""

from typing import Any, Final

import numpy as np

from fwcore._shaper_change import Changed

SHAPER_DTYPES: Final[dict[str, np.dtype[Any]]]

class Written(Changed): ...
