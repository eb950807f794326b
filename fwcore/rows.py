"""Rows to a file, in blocks of columns: Parquet or JSON lines by its ending, otherwise CSV.

The one writer of every table that leaves fwcore: verdicts, sessions, victims, timelines.
"""

from __future__ import annotations

import csv
import importlib.util
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
from fwcore.outfile import WRONG, Output

ENDINGS = (".csv", ".jsonl", ".parquet")
Columns = Mapping[str, Any]          # name -> array (masked: empty cells), list, Words or Texts
GROUP_ROWS = 1 << 17                 # rows of a Parquet file that are written at a time
HASHES = ("flow",)                   # columns of numbers that neither rise nor repeat
INT8_MOST = 128                      # words that a code of 8 bits with a sign can tell apart


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
        """As strings of Arrow, each of which is there once."""
        import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

        codes, names = self.codes, [*dict.fromkeys(self.names)]
        if len(names) < len(self.names):     # Arrow writes no dictionary that has a word twice
            codes = np.array([names.index(name) for name in self.names])[codes]
        few = np.int8 if len(names) <= INT8_MOST else np.int32
        return pa.DictionaryArray.from_arrays(
            _numbers(codes.astype(few, copy=False)), Texts.of(names).arrow())

    def joined(self, others: Sequence[Words]) -> Words:
        """With other columns of the same names behind it."""
        return Words(np.concatenate([self.codes, *(each.codes for each in others)]), self.names)


@dataclass(frozen=True)
class Texts:
    """A column of n texts: ``data`` uint8[m], all of them in UTF-8, one behind the other;
    ``offset`` int64[n + 1], where each begins, and the end."""

    data: NDArray[np.uint8]
    offset: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """Texts as such a column."""
        coded = [text.encode() for text in texts]
        ends = np.cumsum([0, *map(len, coded)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(coded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.offset) - 1

    def __getitem__(self, chosen: Any) -> Texts:
        begin, size = self.offset[:-1][chosen], np.diff(self.offset)[chosen]
        offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(size)])
        place = np.arange(offset[-1]) + np.repeat(begin - offset[:-1], size)
        return Texts(self.data[place], offset)

    def tolist(self) -> list[str]:
        """As texts."""
        whole, ends = self.data.tobytes(), self.offset.tolist()
        if not whole.isascii():
            return [whole[begin:end].decode() for begin, end in pairwise(ends)]
        text = whole.decode()
        return [text[begin:end] for begin, end in pairwise(ends)]

    def arrow(self) -> Any:
        """As strings of Arrow."""
        import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

        return pa.LargeStringArray.from_buffers(
            len(self), pa.py_buffer(self.offset), pa.py_buffer(self.data))

    def joined(self, others: Sequence[Texts]) -> Texts:
        """With other texts behind them."""
        parts, offsets, end = [self.data], [self.offset], int(self.offset[-1])
        for each in others:
            parts.append(each.data)
            offsets.append(each.offset[1:] + end)
            end += int(each.offset[-1])
        return Texts(np.concatenate(parts), np.concatenate(offsets))


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
        self._parquet_wanted = ending == ".parquet"
        if self._parquet_wanted and importlib.util.find_spec("pyarrow") is None:
            raise MissingExtra(f"{path}: Parquet needs pyarrow: pip install 'fwcore[parquet]',"
                               " or write .csv")
        self._output = Output(self.path)

    @property
    def placed(self) -> bool:
        """Whether nobody sees the table before it is whole."""
        return self._output.placed

    def prepare(self) -> None:
        """Imports what it writes with, where that takes long, before there is anything to write."""
        if not self._parquet_wanted:
            return
        try:
            import pyarrow.parquet  # type: ignore[import-untyped, unused-ignore] # noqa: F401
        except ImportError as error:        # it is there, and made for another NumPy, say
            raise MissingExtra(f"{self.path}: Parquet needs pyarrow, which cannot be imported"
                               f" ({' '.join(str(error).split())[:200]}): install it anew, or write"
                               " .csv") from None

    def write(self, columns: Columns) -> None:
        """One block."""
        try:
            self._write_block(columns)
        except WRONG as error:
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
        self._waiting.append(columns)
        self._rows += max(map(len, columns.values()), default=0)
        if self._rows >= GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        """What waits, as one group of rows: thousands of small ones cost more than their rows."""
        self.prepare()
        import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

        blocks, self._waiting, self._rows = self._waiting, [], 0
        columns = {name: [block[name] for block in blocks] for name in blocks[0]}
        arrays = [_arrow(column) for column in columns.values()]
        if self._parquet is None:
            # A column without empty cells says so: else each cell is looked at once more.
            self._parquet = _parquet_writer(self._output.file, pa.schema([
                pa.field(name, array.type, nullable=_has_empty(column))
                for (name, column), array in zip(columns.items(), arrays, strict=True)]))
        self._parquet.write_table(pa.Table.from_arrays(arrays, schema=self._parquet.schema))

    def close(self) -> None:
        """The table is whole."""
        try:
            if self._waiting:
                self._write_group()
            if self._parquet is not None:
                self._parquet.close()
        except WRONG as error:
            failure = self._output.failure(error)
            self._output.discard()
            raise failure from None
        except BaseException:
            self._output.discard()
            raise
        self._output.commit()

    def discard(self) -> None:
        """The table will not be whole: nothing of it stays."""
        if self._parquet is not None:
            with suppress(*WRONG, ValueError):      # its end has no place either
                self._parquet.close()
        self._output.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, *_error: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def _has_empty(blocks: Sequence[Any]) -> bool:
    """Whether a column may have empty cells; its first blocks are as all of them."""
    return any(isinstance(each, np.ma.MaskedArray) for each in blocks)


def _arrow(blocks: Sequence[Any]) -> Any:
    """A column's blocks, one behind the other, as an array of Arrow."""
    first, *others = blocks
    if isinstance(first, Words | Texts):
        return (first.joined(others) if others else first).arrow()
    if _has_empty(blocks):
        whole = np.ma.concatenate(blocks)  # type: ignore[no-untyped-call, unused-ignore]
        return _numbers(whole.data, np.ma.getmaskarray(whole))
    if all(isinstance(each, np.ndarray) and each.dtype.kind in "iufb" for each in blocks):
        return _numbers(np.concatenate(blocks) if others else first)
    return Texts.of([encodable(str(text)) for each in blocks for text in each]).arrow()


def _numbers(values: NDArray[Any], empty: NDArray[np.bool_] | None = None) -> Any:
    """Numbers as an array of Arrow; ``empty`` bool[n]: cells without one.

    Not by ``pyarrow.array``, which imports pandas, if it is there, to see whether it was given any:
    that takes as long as writing millions of rows.
    """
    import pyarrow as pa

    kind, count = pa.from_numpy_dtype(values.dtype), len(values)
    if values.dtype.kind == "b":
        values = np.packbits(values, bitorder="little")
    known = None if empty is None else pa.py_buffer(np.packbits(~empty, bitorder="little"))
    return pa.Array.from_buffers(
        kind, count, [known, pa.py_buffer(np.ascontiguousarray(values))])


def _parquet_writer(file: Any, schema: Any) -> Any:
    """Integers as what they are more than the one before: most of ours rise, few come twice, so
    that looking each up in a dictionary is four fifths of the time and gains nothing; hashes as
    they are. Words have theirs; they are strings to who reads them, whatever they were here, and
    least and most of them are not looked for: they are few, and that takes longer than all else."""
    import pyarrow as pa
    from pyarrow import parquet

    words = [each.name for each in schema if pa.types.is_dictionary(each.type)]
    steps = {each.name: "PLAIN" if each.name in HASHES else "DELTA_BINARY_PACKED"
             for each in schema if pa.types.is_integer(each.type)}
    return parquet.ParquetWriter(file, schema, use_dictionary=words, column_encoding=steps,
                                 write_statistics=[
                                     each.name for each in schema if each.name not in words],
                                 store_schema=False)


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
