"""Types of the compiled module; tests/test_package.py holds them against the module."""

from typing import Final

from fwcore._shaper_written import Written

SIZE_MAX: Final[int]
LATEST_NS: Final[int]
CODEL_COUNT_MAX: Final[int]
COUNT_MAX: Final[int]

class Kept(Written): ...
