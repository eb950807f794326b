"""A TOML file whose keys know their lines, and rows that know where they were written."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fwcore import infile
from fwcore.errors import FwcoreError, SettingsError
from fwcore.words import spelled

DOCUMENT_MOST = 1 << 24     # bytes: a hundred thousand policies
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[A-Za-z0-9_"'-]+)*)\s*=""")
_TOKEN = re.compile(r"""\"{3}|'{3}|"(?:\\.|[^"\\])*"|'[^']*'|\#.*|[\[\]{}]""")
_CLOSED = {'"""': re.compile(r'(?:\\.|[^\\])*?"""'), "'''": re.compile(r".*?'''")}
_DEPTH = {"[": 1, "{": 1, "]": -1, "}": -1}


def key_lines(text: str) -> dict[tuple[Any, ...], int]:
    """Line of each key and table: ("ram_bytes",), ("timeouts", "tcp_s"), ("policy", 0, "id").

    A scanner, not a parser: tomllib has accepted the text before. Lines within arrays of several
    lines and within multi-line strings are no keys.
    """
    lines: dict[tuple[Any, ...], int] = {}
    table: tuple[Any, ...] = ()
    counts: dict[tuple[Any, ...], int] = {}
    depth, within = 0, ""
    for number, line in enumerate(text.split("\n"), 1):     # U+2028 ends no line
        header = None if depth or within else _HEADER.match(line)
        if header:
            table = _parts(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            lines.setdefault(table, number)
            continue
        key = None if depth or within else _KEY.match(line)
        if key:
            lines.setdefault((*table, *_parts(key[1])), number)
        depth, within = _open_after(line, depth, within)
    return lines


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _open_after(line: str, depth: int, within: str) -> tuple[int, str]:
    """Brackets open and the multi-line quote open at the end of this line."""
    at = 0
    while True:
        if within:
            closed = _CLOSED[within].match(line, at)
            if not closed:
                return depth, within
            at, within = closed.end(), ""
        token = _TOKEN.search(line, at)
        if not token:
            return depth, ""
        at = token.end()
        within = token[0] if token[0] in _CLOSED else ""
        depth += _DEPTH.get(token[0], 0)


class Row(dict[str, Any]):
    """A ``[[policy]]``, ``[[pressure]]`` or ``[[base_item]]`` that knows where it was written.

    ``where`` is "file:line" of the row, ``lines`` "file:line" of each key.
    """

    __slots__ = ("lines", "where")

    def __init__(
        self, values: Mapping[str, Any], where: str, lines: Mapping[str, str] | None = None
    ) -> None:
        super().__init__({spelled(key): value for key, value in values.items()})
        self.where = where
        self.lines = {spelled(key): line for key, line in (lines or {}).items()}
        if len(self) < len(values):
            raise SettingsError(f"{where}: a key is given twice, with - and with _")


class Document(NamedTuple):
    """A TOML file with the lines of its keys."""

    path: str
    data: dict[str, Any]
    lines: dict[tuple[Any, ...], int]

    def where(self, *key: Any) -> str:
        """``file:line`` of a key, or of the nearest table around it."""
        while key and key not in self.lines:
            key = key[:-1]
        return f"{self.path}:{self.lines.get(key, 1)}"

    def rows(self, kind: str) -> tuple[Row, ...]:
        """The rows of an array of tables."""
        found = self.data.get(kind, [])
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise SettingsError(f"{self.where(kind)}: write {kind} rows as [[{kind}]] tables")
        return tuple(
            Row(row, self.where(kind, at), {key: self.where(kind, at, key) for key in row})
            for at, row in enumerate(found)
        )


def read_document(path: str | Path) -> Document:
    """Read a TOML file. Raises SettingsError with file and line."""
    data, text = b"", ""
    try:
        data = infile.read(path, DOCUMENT_MOST)
        text = data.decode("utf-8")
        return Document(str(path), tomllib.loads(text), key_lines(text))
    except FwcoreError as error:
        raise SettingsError(str(error)) from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"{path}:{line}: byte {error.start} is not UTF-8; TOML is UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        at = re.search(r" \(at line (\d+), column (\d+)\)", str(error))
        line = int(at[1]) if at else text.rstrip("\n").count("\n") + 1     # at the end
        raise SettingsError(f"{path}:{line}: not valid TOML: {error}") from None
    except RecursionError:
        raise SettingsError(f"{path}: cannot be read: nested too deeply") from None
    except ValueError as error:      # what TOML allows and Python does not read
        raise SettingsError(f"{path}: cannot be read: {error}") from None
