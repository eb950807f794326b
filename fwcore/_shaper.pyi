"""Types of the compiled module; tests/test_package.py holds them against the module."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FATES: Final[tuple[str, ...]]
DROPS: Final[tuple[str, ...]]
WHYS: Final[tuple[str, ...]]
COUNTS: Final[tuple[str, ...]]
KEYS: Final[tuple[str, ...]]
NEEDS: Final[tuple[str, ...]]
OVERS: Final[tuple[str, ...]]
ALGORITHM_NAMES: Final[tuple[str, ...]]
DISCARD_NAMES: Final[tuple[str, ...]]
SHARE_NAMES: Final[tuple[str, ...]]
WAY_METERS: Final[int]
UNMARKED: Final[int]
NO_METER: Final[int]
NO_LINK: Final[int]
METER_DTYPE: Final[np.dtype[Any]]
LINK_DTYPE: Final[np.dtype[Any]]
CLASS_DTYPE: Final[np.dtype[Any]]
SHAPING_DTYPE: Final[np.dtype[Any]]
MATCH_DTYPE: Final[np.dtype[Any]]
DEPARTURE_DTYPE: Final[np.dtype[Any]]
ARRIVAL_DTYPE: Final[np.dtype[Any]]

Session = tuple[int, int, int, int, int | None, int, int, int]

class Shaper:
    sessions: int
    free: int
    def __init__(
        self, plan: Any, *, sessions: int = 1, seed: int = 0, packets_max: int = 0,
        keep: bool = False, watch: bool = False, accounted: bool = False, free: int = 0,
    ) -> None: ...
    def take_over(
        self, old: Shaper, meters: Sequence[int], links: Sequence[int], serve: bool = True,
    ) -> None: ...
    def begin(self, handle: int, session: Session) -> bool: ...
    def end(self, handle: int) -> None: ...
    def arrive(
        self, packet: int, time_ns: int, frame: int, ip: int, handle: int | None,
        session: Session, flow: int, *, dscp: int = 0, ect: bool = False, way: int = 0,
        metered: bool = True,
    ) -> tuple[str, int | None, int | None, int | None]: ...
    def advance(self, until_ns: int) -> None: ...
    def drain(self) -> None: ...
    def clear(self) -> None: ...
    @property
    def now_ns(self) -> int: ...
    @property
    def next_ns(self) -> int | None: ...
    @property
    def pages(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    def keep(self) -> None: ...
    def departures(self) -> NDArray[Any]: ...
    def arrivals(self) -> NDArray[Any]: ...
    def digest(self) -> bytes: ...
    def counters(self) -> dict[str, Any]: ...
    def open_loop(self) -> tuple[int, int, int]: ...
    def delay_ns(self, number: int, percents: Sequence[int] = (50, 95, 99)) -> list[int]: ...
    def laws(self) -> dict[str, bool]: ...

def bucket_end(bucket: int) -> int: ...
