"""Tables as people, and other programs, take them: addresses as text, numbers of enums by name.

    rows = engine.sessions()        Rows: a NumPy structured array, at the price of one
    rows["state"] == TcpState.FIN_WAIT          numbers as they are, addresses uint8[n, 16]
    rows.columns()                  {name: array (n,)}: texts, a column a direction
    pandas.DataFrame(rows)          these columns; rows.to_pandas() has them by time
    pyarrow.table(rows)             the same, as for whoever takes Arrow's streams (Polars, DuckDB)

Nothing is made before somebody asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from fwcore._layout import EndCause, TcpState
from fwcore.errors import MissingExtra
from fwcore.escape import encodable
from fwcore.words import CLASSES, MODES, protocol_text

Columns = dict[str, np.ndarray[Any, Any]]
Names = Mapping[str, Mapping[int, str]]      # column -> what its numbers are called


def _of_enum(enum: Any) -> dict[int, str]:
    return {int(member): member.name.lower() for member in enum}


NAMED: Names = {
    "state": _of_enum(TcpState), "cause": {**_of_enum(EndCause), 255: "live"},
    "protocol": {number: protocol_text(number) for number in range(256)},
    "inspection": dict(enumerate(CLASSES)), "mode": dict(enumerate(MODES)),
}
ENDS = ("initiator", "responder")
BOTH_WAYS = ("packets", "bytes")
UNNAMED = "pad"              # bytes between fields


class Rows(np.ndarray[Any, np.dtype[np.void]]):
    """A structured array (n,) that opens as a table; ``names`` of numbers beside the usual ones."""

    names: Names = MappingProxyType({})

    @classmethod
    def of(cls, table: np.ndarray[Any, Any], names: Names | None = None) -> Self:
        """The same memory, as rows."""
        made = table.view(cls)
        if names:
            made.names = names
        return made

    def __array_finalize__(self, other: Any) -> None:
        if isinstance(other, Rows) and other.names:
            self.names = other.names

    def __getitem__(self, chosen: Any) -> Any:
        """A column is an array as any other; some rows, or some fields, are Rows."""
        found = super().__getitem__(chosen)
        if isinstance(found, Rows) and found.dtype.names is None:
            return found.view(np.ndarray)
        return found

    def columns(self) -> Columns:
        """Columns (n,) for people: addresses and enums as text, a column a direction."""
        return readable(self.view(np.ndarray), self.names)

    def to_pandas(self) -> Any:
        """``columns`` as a pandas DataFrame, by time where rows have one (``time_ns``, a session's
        ``created_ns``; UTC); MissingExtra says how to get pandas."""
        return to_pandas(self.columns())

    def to_arrow(self) -> Any:
        """``columns`` as a pyarrow Table; MissingExtra says how to get pyarrow."""
        return to_arrow(self.columns())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    @property
    def _data(self) -> np.ndarray[Any, Any]:
        """What ``pandas.DataFrame(rows)`` takes, by ``numpy.ma.getdata``: a field a column. It has
        no place for fields of sixteen bytes."""
        return as_table(self.columns())


def readable(table: np.ndarray[Any, Any], names: Names | None = None) -> Columns:
    """Columns of a structured array as people read them."""
    named = {**NAMED, **(names or {})}
    columns: Columns = {}
    for name in table.dtype.names or ():
        column = table[name]
        if name in ENDS and column.ndim == 2:
            columns[name] = _addresses(column, table)
        elif column.ndim == 2 and name in BOTH_WAYS:
            columns[f"{name}_forward"], columns[f"{name}_reply"] = column.T
        elif column.ndim == 2 and name != UNNAMED:
            columns |= {f"{name}_{place}": _named(part, named.get(name))
                        for place, part in enumerate(column.T, 1)}
        elif column.ndim == 1:
            columns[name] = _named(column, named.get(name))
    return columns


def _addresses(packed: np.ndarray[Any, Any], table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Addresses as texts; without their family, as the bytes that they are."""
    if "family" not in (table.dtype.names or ()):
        return np.array([*map(bytes, packed), None], object)[:-1]
    texts = [str(ip_address(bytes(row[:4 if version == 4 else 16])))
             for row, version in zip(packed, table["family"].tolist(), strict=True)]
    return np.array(texts, dtype=object)


def _named(
    numbers: np.ndarray[Any, Any], names: Mapping[int, str] | None,
) -> np.ndarray[Any, Any]:
    if numbers.dtype.kind == "U":       # a name of a file that is no UTF-8
        return np.array([*map(encodable, numbers.tolist())], dtype=numbers.dtype.kind)
    if names is None or numbers.dtype.kind not in "iu":
        return numbers
    return np.array([names.get(number, str(number)) for number in numbers.tolist()], dtype=object)


def as_table(columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Columns as a structured array, as long as the shortest."""
    length = min((len(column) for column in columns.values()), default=0)
    table = np.zeros(length, dtype=[(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        table[name] = column[:length]
    return table


def to_pandas(columns: Columns) -> Any:
    """Columns as a pandas DataFrame, by time where they have one. Raises MissingExtra."""
    try:
        import pandas  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise MissingExtra(
            "a table as a DataFrame needs pandas: pip install 'fwcore[pandas]'"
        ) from None
    frame = pandas.DataFrame(columns)
    clock = next((each for each in ("time_ns", "created_ns") if each in frame), None)
    if clock is not None:
        frame.index = pandas.DatetimeIndex(
            pandas.to_datetime(frame[clock], unit="ns", utc=True), name="time")
    return frame


def to_arrow(columns: Columns) -> Any:
    """Columns as a pyarrow Table. Raises MissingExtra."""
    try:
        import pyarrow  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise MissingExtra(
            "a table of Arrow needs pyarrow: pip install 'fwcore[parquet]'") from None
    return pyarrow.table(columns)
