"""Types of the compiled module; tests/test_package.py holds them against the module."""

from fwcore._shaper_plan import Planned

class Changed(Planned): ...
