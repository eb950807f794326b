"""Types of the compiled module; tests/test_package.py holds them against the module."""

from typing import Any

class Frames:
    def __init__(self, chunk: Any) -> None: ...

class Parsing:
    def parse(self, chunk: Any) -> Parsed: ...

class Parsed: ...
