"""A table of a page that is searched and sorted there: all its rows are in the page, as columns.

    kinds   count (a number), bytes, seconds (from ms), code (addresses), word (one of few)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fwcore import units
from fwcore.report import page

NUMBERS = ("count", "bytes", "seconds")


@dataclass(frozen=True)
class Column:
    """One column; of kind `word` the values are places in `words`."""

    name: str
    kind: str
    values: Sequence[Any]
    words: Sequence[str] = ()
    tones: Mapping[str, str] = field(default_factory=dict)


def words(name: str, values: Sequence[str], tones: Mapping[str, str] | None = None) -> Column:
    """A column of few words, each written once."""
    known = sorted(set(values))
    number = {word: at for at, word in enumerate(known)}
    return Column(name, "word", [number[value] for value in values], known, tones or {})


@dataclass(frozen=True)
class Table:
    """Columns of one length; `every` is how many rows there are, in the page or not."""

    identifier: str
    columns: Sequence[Column]
    every: int
    noun: str
    hint: str
    choose: str = ""  # the column of words that a menu narrows down

    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        return {
            "id": self.identifier, "every": self.every, "noun": self.noun,
            "choose": next((at for at, column in enumerate(self.columns)
                            if column.name == self.choose), -1),
            "columns": [
                {"kind": column.kind, "values": list(column.values), "words": list(column.words),
                 "name": column.name, "tones": dict(column.tones)}
                for column in self.columns
            ],
        }  # fmt: skip

    def section(self, title: str, *parts: str) -> str:
        """The card with its search; rows are filled in by the script."""
        menu = (f'<select id="{self.identifier}-choose"><option value="">every {self.choose}'
                "</option></select>") if self.choose else ""  # fmt: skip
        tools = (
            f'<div class="tools"><input id="{self.identifier}-search" type="search" '
            f'placeholder="{self.hint}" aria-label="Search {self.noun}">{menu}'
            f'<span id="{self.identifier}-found" class="dim"></span></div>'
        )
        numbers = [at for at, column in enumerate(self.columns) if column.kind in NUMBERS]
        body = page.table([column.name for column in self.columns], (), numbers)
        body = body.replace("<table>", f'<table class="sortable" id="{self.identifier}">')
        shown = len(self.columns[0].values)
        missing = page.note(f"{units.count(shown)} of {units.count(self.every)} {self.noun} are in"
                            " this page") if shown < self.every else ""
        return page.section(title, *parts, missing, tools, body)
