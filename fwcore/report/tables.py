"""A table of the result as a file: CSV from the base install, Parquet through an extra."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from fwcore.errors import FwcoreError, MissingExtra


def write(table: np.ndarray, path: str | Path) -> int:
    """Writes a structured array by the file's ending, .csv or .parquet; rows written."""
    ending = Path(path).suffix.lower()
    if ending == ".parquet":
        _write_parquet(table, path)
    elif ending == ".csv":
        _write_csv(table, path)
    else:
        raise FwcoreError(f"{path}: a table is written as .csv or .parquet, not {ending or 'this'}")
    return len(table)


def _write_csv(table: np.ndarray, path: str | Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.dtype.names or ())
        writer.writerows(table.tolist())


def _write_parquet(table: np.ndarray, path: str | Path) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra(
            f"{path}: Parquet needs pyarrow: pip install 'fwcore[parquet]'"
        ) from None
    columns = {
        name: pyarrow.array(table[name].tolist() if table[name].dtype.kind == "U" else table[name])
        for name in table.dtype.names or ()
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
