"""Types of the compiled module; tests/test_package.py holds them against the module."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

from fwcore._fastpath_state import State
from fwcore._layout import Reason, Verdict
from fwcore._pack import Packed
from fwcore._parsed import Parsing
from fwcore._shaper import Shaper
from fwcore._use import Use

STOPPED_BY_PACKET: Final[int]
STOPPED_AT_TICK: Final[int]

class FastPath(State):
    breath: int
    loads: int
    position: int
    rows: NDArray[np.uint8]
    watched: bool
    def __init__(
        self,
        config: NDArray[Any],
        steps: Sequence[tuple[int, int, int]] = (),
        leaks: Sequence[tuple[int, int, int]] = (),
        group: int = 32,
        outer: Use | None = None,
    ) -> None: ...
    def close(self) -> None: ...
    @property
    def at_end(self) -> bool: ...
    @property
    def unfinished(self) -> bool: ...
    @property
    def first_ns(self) -> int: ...
    def begin(self, time_ns: int) -> None: ...
    def resume(self, time_ns: int) -> bool: ...
    def load(
        self,
        chunk: Any,
        outcome: NDArray[np.uint16],
        flow: NDArray[np.uint64] | None = None,
        reply: NDArray[np.uint8] | None = None,
    ) -> None: ...
    def parsing(self) -> Parsing: ...
    def unload(self) -> None: ...
    def judge(
        self,
        keeper: Any,
        frame: Buffer,
        now_ns: int,
        length: int | None = None,
        link: int = 1,
    ) -> tuple[Verdict, Reason]: ...
    def judge_on(
        self, frame: Buffer, now_ns: int, length: int | None = None, link: int = 1
    ) -> tuple[Verdict, Reason] | None: ...
    def judge_frames(
        self, keeper: Any, packed: Packed, frames: Any, times_ns: Iterable[int],
        lengths: Iterable[int] | None, link: int | Iterable[int],
    ) -> NDArray[np.uint8]: ...
    def run(self) -> int: ...
    def advance(self, time_ns: int) -> int: ...
    def set_shaper(self, shaper: Shaper) -> None: ...
    def let_leave(self, drain: bool = False, clear: bool = False) -> None: ...
