"""Sums by key, for many rows and many keys: gathered in blocks, added up when there are enough.

Laws: keys are kept in the order of their first row, at most ``room`` of them, so that neither
blocks nor the moment of adding up matter; what comes for others is summed as forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 1 << 17           # rows gathered before they are added up

Key = tuple[int, ...]


class Tally:
    """Sums of ``sums`` amounts a row by keys of ``words`` numbers of 64 bits."""

    def __init__(self, words: int, sums: int, room: int) -> None:
        self._room = room
        self._keys = np.zeros((0, words), np.uint64)
        self._sums = np.zeros((0, sums), np.uint64)
        self._forgotten = np.zeros(sums, np.uint64)
        self._waiting: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]] = []
        self._rows = 0

    def add(self, keys: Iterable[NDArray[Any]], amounts: Iterable[NDArray[Any]]) -> None:
        """Rows of a block: ``keys`` the words of their keys, each integers[n]; ``amounts`` what
        is summed, each integers[n]. Sums stay below 2**64."""
        self._waiting.append((np.column_stack([word.astype(np.uint64) for word in keys]),
                              np.column_stack([each.astype(np.uint64) for each in amounts])))
        self._rows += len(self._waiting[-1][0])
        if self._rows >= BLOCK_ROWS:
            self._add_up()

    def _add_up(self) -> None:
        """=> nothing waits."""
        if not self._waiting:
            return
        keys = np.concatenate([self._keys, *(keys for keys, _ in self._waiting)])
        sums = np.concatenate([self._sums, *(sums for _, sums in self._waiting)])
        self._waiting, self._rows = [], 0
        order, begins = ranked(keys.T)
        at = np.flatnonzero(begins)
        first = order[at]                  # the sort is stable: a key's first row
        found = np.add.reduceat(sums[order], at, axis=0) if len(at) else sums
        by_row = np.argsort(first)
        self._keys, self._sums = keys[first[by_row]], found[by_row]
        if len(self._keys) > self._room:
            self._forgotten = self._forgotten + self._sums[self._room:].sum(
                axis=0, dtype=np.uint64)
            self._keys, self._sums = self._keys[: self._room], self._sums[: self._room]

    def forgotten(self) -> list[int]:
        """Sums of what came for keys that are not kept."""
        self._add_up()
        return [int(each) for each in self._forgotten]

    def table(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """(keys uint64[n, words], sums uint64[n, sums]) in the order of their first rows."""
        self._add_up()
        return self._keys, self._sums

    def items(self) -> Iterator[tuple[Key, list[int]]]:
        """(key, its sums) in the order of their first rows."""
        keys, sums = self.table()
        return zip(map(tuple, keys.tolist()), sums.tolist(), strict=True)

    def __len__(self) -> int:
        return len(self.table()[0])


def ranked(
    columns: Sequence[NDArray[Any]] | NDArray[Any],
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Rows of columns[n] sorted, the first column first: (their order intp[n], bool[n]: where a
    row differs from the one before it). Of equal ones the earlier comes first."""
    order = np.lexsort(columns[::-1])
    ordered = [column[order] for column in columns]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = np.any([column[1:] != column[:-1] for column in ordered], axis=0)
    return order, begins
