"""fwcore bench: cases, their processes, and the guard that says whether one became slower.

    cases (traffic, turns) -> worker: one process -> runs: several, in turn -> guard
"""

from fwcore.bench.runs import run

__all__ = ["run"]
