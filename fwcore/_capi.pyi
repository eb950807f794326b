"""Types of the compiled module; tests/test_package.py holds them against the module."""

from typing import Any, Final

API: Final[Any]
