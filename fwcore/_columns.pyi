"""Types of the compiled module; tests/test_package.py holds them against the module."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

class Kind(IntEnum):
    KEYED = 0
    QUOTE = 8
    LATER = 9
    NO_QUOTE = 10
    NON_IP = 11
    UNSUPPORTED = 12
    TRUNCATED = 13
    MALFORMED = 14

class Fragment(IntEnum):
    WHOLE = 0
    FIRST = 1
    LATER = 2

SOURCE: Final[int]
DESTINATION: Final[int]
PORTS: Final[int]
SEEDS: Final[tuple[int, ...]]
FRAME_DTYPE: Final[np.dtype[Any]]

def mark_frames(chunk: Any, mark: NDArray[np.uint8], none: int = 255) -> None: ...
def parse_columns(
    chunk: Any, zone: bool = False, seeds: Sequence[int] = ..., shift: int = 0, cut: bool = False,
) -> NDArray[Any]: ...
def flow_columns(
    chunk: Any, shift: int = 0, cut: bool = False,
) -> tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.int64]]: ...
def parse(
    frame: Any,
    length: int | None = None,
    link: int = 1,
    zone: bool = False,
    seeds: Sequence[int] = ...,
    shift: int = 0,
    shortcut: bool = True,
    cut: bool = False,
) -> dict[str, Any]: ...
def key_texts(rows: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]: ...
def address_texts(
    high: NDArray[np.uint64], low: NDArray[np.uint64], family: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]: ...
