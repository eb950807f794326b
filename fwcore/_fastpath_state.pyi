"""Types of the compiled module; tests/test_package.py holds them against the module."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fwcore._fastpath_questions import Questions
from fwcore._memory import Table

STATE_DTYPES: Final[dict[str, np.dtype[Any]]]

class State(Questions):
    def prepare(self, config: NDArray[Any]) -> Table: ...
    def rebuild(self, table: Table, keep: bool = False) -> None: ...
    def state(self) -> tuple[dict[str, int], dict[str, NDArray[Any]]]: ...
    def set_state(
        self, figures: Mapping[str, int], tables: Mapping[str, NDArray[Any]]
    ) -> None: ...
