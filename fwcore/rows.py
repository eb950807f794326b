"""Rows to a file, in blocks of columns: Parquet or JSON lines by its ending, otherwise CSV.

The one writer of every table that leaves fwcore: verdicts, sessions, victims, timelines.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fwcore.errors import FwcoreError, MissingExtra
from fwcore.escape import cell, encodable
from fwcore.outfile import Output

ENDINGS = (".csv", ".jsonl", ".parquet")
Columns = Mapping[str, Any]          # name -> array (masked: empty cells), list, Words or Texts
GROUP_ROWS = 1 << 17                 # rows of a Parquet file that are written at a time


@dataclass(frozen=True)
class Words:
    """A column of n words out of a few: ``codes`` integers[n], places in ``names``."""

    codes: NDArray[Any]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, chosen: Any) -> Words:
        return Words(self.codes[chosen], self.names)

    def tolist(self) -> list[str]:
        """As texts."""
        return [self.names[code] for code in self.codes.tolist()]

    def arrow(self) -> Any:
        """As strings of Arrow."""
        import pyarrow as pa

        codes = pa.array(self.codes.astype(np.int32, copy=False))
        return pa.DictionaryArray.from_arrays(codes, [*self.names]).cast(pa.string())


@dataclass(frozen=True)
class Texts:
    """A column of n texts: ``data`` uint8[m], all of them in ASCII, one behind the other;
    ``offset`` int64[n + 1], where each begins, and the end."""

    data: NDArray[np.uint8]
    offset: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offset) - 1

    def __getitem__(self, chosen: Any) -> list[str]:
        return np.array(self.tolist(), dtype=object)[chosen].tolist()

    def tolist(self) -> list[str]:
        """As texts."""
        whole = self.data.tobytes().decode()
        ends = self.offset.tolist()
        return [whole[begin:end] for begin, end in pairwise(ends)]

    def arrow(self) -> Any:
        """As strings of Arrow."""
        import pyarrow as pa

        whole = pa.LargeStringArray.from_buffers(
            len(self), pa.py_buffer(self.offset), pa.py_buffer(self.data))
        return whole.cast(pa.string())


class RowFile:
    """A table that is written block by block; ``close`` puts it in its place.

    By the ending .csv (or none), .jsonl or .parquet. The first block, which may be empty, says what
    the columns are. Raises OutputError, FwcoreError for another ending, and MissingExtra for
    Parquet without pyarrow.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._parquet: Any = None
        self._waiting: list[Any] = []
        self._rows = 0
        self._begun = False
        ending = Path(path).suffix.lower()
        if ending and ending not in ENDINGS:
            raise FwcoreError(f"{path}: a table is written as .csv, .jsonl or .parquet,"
                              f" not {ending}")
        self._write_block = {".parquet": self._write_parquet, ".jsonl": self._write_jsonl}.get(
            ending, self._write_csv)
        if ending == ".parquet":
            try:
                import pyarrow.parquet  # noqa: F401 - heavy, and an extra
            except ImportError:
                raise MissingExtra(f"{path}: Parquet needs pyarrow: pip install 'fwcore[parquet]',"
                                   " or write .csv") from None
        self._output = Output(self.path)

    def write(self, columns: Columns) -> None:
        """One block."""
        try:
            self._write_block(columns)
        except OSError as error:
            raise self._output.failure(error) from None

    def _write_csv(self, columns: Columns) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self._begun:
            self._begun = True
            writer.writerow(map(cell, columns))
        lists = [[*map(cell, each)] if each and isinstance(each[0], str) else each
                 for each in _lists(columns)]
        writer.writerows(zip(*lists, strict=True))
        self._output.write(text.getvalue().encode("utf-8", "backslashreplace"))

    def _write_jsonl(self, columns: Columns) -> None:
        """An object a line; a cell that is empty is null. ASCII: what is no text stays readable."""
        encode = json.JSONEncoder(separators=(",", ":")).encode
        self._output.write("".join(
            encode(dict(zip(columns, row, strict=True))) + "\n"
            for row in zip(*_lists(columns), strict=True)).encode("ascii"))

    def _write_parquet(self, columns: Columns) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        made = {}
        for name, each in columns.items():
            if isinstance(each, Words | Texts):
                made[name] = each.arrow()
            elif isinstance(each, np.ma.MaskedArray):
                made[name] = pa.array(each.data, mask=np.ma.getmaskarray(each))
            elif isinstance(each, np.ndarray) and each.dtype.kind in "iufb":
                made[name] = pa.array(each)
            else:
                made[name] = pa.array([encodable(str(text)) for text in each], pa.string())
        table = pa.table(made)
        if self._parquet is None:
            self._parquet = parquet.ParquetWriter(self._output.file, table.schema)
        self._waiting.append(table)
        self._rows += len(table)
        if self._rows >= GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        """What waits, as one group of rows: thousands of small ones cost more than their rows."""
        import pyarrow as pa

        if self._waiting:
            tables, self._waiting, self._rows = self._waiting, [], 0
            self._parquet.write_table(pa.concat_tables(tables))

    def close(self) -> None:
        """The table is whole."""
        try:
            if self._parquet is not None:
                self._write_group()
                self._parquet.close()
        except OSError as error:
            failure = self._output.failure(error)
            self._output.discard()
            raise failure from None
        self._output.commit()

    def discard(self) -> None:
        """The table will not be whole: nothing of it stays."""
        if self._parquet is not None:
            with suppress(OSError, ValueError):     # its end has no place either
                self._parquet.close()
        self._output.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, *_error: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def _lists(columns: Columns) -> list[Any]:
    """Each column as Python's own values; an empty cell is None."""
    return [each if isinstance(each, list | tuple) else each.tolist() for each in columns.values()]


def write(table: np.ndarray, path: str | os.PathLike[str]) -> int:
    """Writes a structured array (n,) as .csv, .jsonl or .parquet, by the ending; rows written."""
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise FwcoreError(
            f"{path}: a table is written as .csv, .jsonl or .parquet, not {ending or 'this'}")
    with RowFile(path) as file:
        file.write({name: table[name] for name in table.dtype.names or ()})
    return len(table)
