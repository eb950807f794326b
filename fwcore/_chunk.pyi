"""Types of the compiled module; tests/test_package.py holds them against the module."""

from typing import Final

COLUMNS: Final[tuple[tuple[str, type], ...]]

class Loaded: ...
