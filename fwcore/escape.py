"""What comes from outside, made harmless where it is shown: in a terminal, in a spreadsheet.

A file name, a line of a result or of a capture's error may hold anything: sequences that retitle a
window or wipe the screen, marks that turn the direction of writing, bytes that are no text at all.

    visible     a word       every character that is not printed is written as its escape
    shown       a page       the same, but for its newlines and the colours that a Style gave it
    cell        a CSV cell   no spreadsheet takes it for a formula
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")     # what begins a formula [OWASP, CSV injection]
NEWLINE = re.compile(r"(\n)")
NEWLINE_OR_COLOUR = re.compile(r"(\n|\x1b\[[0-9;]{1,8}m)")


def visible(text: str) -> str:
    """The text with ``\\x1b``, ``\\u202e``, ... for what is not printable.

    A byte of a file name that is no UTF-8 (a lone surrogate in Python) reads like ``\\xff``.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def visible_tree(value: Any) -> Any:
    """Plain values (dictionaries, lists, text) with every text in them ``visible``; a copy."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(str(key)): visible_tree(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [each if type(each) in (int, float, bool) else visible_tree(each) for each in value]
    return value


def shown(text: str, colour: bool = False) -> str:
    """A page for a terminal: what is not printable is escaped, newlines (and colours) stay."""
    parts = (NEWLINE_OR_COLOUR if colour else NEWLINE).split(text)
    parts[::2] = map(visible, parts[::2])
    return "".join(parts)


def cell(value: Any) -> Any:
    """A cell of a CSV file: text that would begin a formula is quoted with an apostrophe."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return value


def encodable(text: str) -> str:
    """The text as UTF-8 can hold it: lone surrogates are escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
