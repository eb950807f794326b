"""One value: text, a number or a list -> what its declaration takes, or what is wrong with it."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from fwcore.errors import SettingsError
from fwcore.settings import sysctl
from fwcore.settings.declared import BY_NAME, HUGE, Declaration
from fwcore.words import cut, nearest, spelled

if TYPE_CHECKING:
    from fractions import Fraction


class Share(NamedTuple):
    """A share of RAM, not yet resolved."""

    percent: int | Fraction

    def of(self, ram_bytes: int) -> int:
        """Bytes, rounded down."""
        return int(ram_bytes * self.percent // 100)


def _number(text: str) -> int | Fraction:
    """"60" or "12.5", exactly."""
    if "." not in text:
        return int(text)
    from fractions import Fraction

    return Fraction(text)


class Bad(ValueError):
    """A value that its declaration does not take; the caller knows where it stands."""

_AMOUNT = re.compile(r"\s*(-?[0-9][0-9_]{0,30}(?:\.[0-9]{1,30})?)\s*([A-Za-z]+|%)\s*")
_BINARY = {"kib": 1, "mib": 2, "gib": 3, "tib": 4}
_VENDOR = {"b": 0, "kb": 1, "mb": 2, "gb": 3, "tb": 4,
           "k": 1, "m": 2, "g": 3, "t": 4}
_BOOL_WORDS = {"true": True, "yes": True, "on": True, "enable": True,
               "false": False, "no": False, "off": False, "disable": False}


def _amount(text: str, declaration: Declaration, kilo: int) -> int | Share:
    """``"64MiB"`` -> 67108864, ``"60%"`` -> Share(60). Raises Bad."""
    match = _AMOUNT.fullmatch(text)
    if not match:
        raise Bad("is not a number of bytes such as 65536 or 64KiB")
    number, unit = _number(match[1].replace("_", "")), match[2].lower()
    if unit == "%":
        if not declaration.share or not 0 <= number <= 100:
            raise Bad("is not a share it can take")
        return Share(number)
    if unit in _BINARY:
        number *= 1024 ** _BINARY[unit]
    elif unit in _VENDOR:
        number *= kilo ** _VENDOR[unit]
    else:
        raise Bad(f"has the unknown unit {match[2]} (KiB, MiB, GiB, kB, MB, GB, k, M, G)")
    if number.denominator != 1:
        raise Bad("is not a whole number of bytes")
    return int(number)


def _whole(value: Any) -> int:
    """An int that is no bool (numpy integers too). Raises Bad."""
    if isinstance(value, bool):
        raise Bad("is true or false, not a number")
    try:
        return operator.index(value)
    except TypeError:
        kind = "text" if isinstance(value, str) else type(value).__name__
        raise Bad(f"is not a whole number but {kind}") from None


def _ranged(declaration: Declaration, number: Any) -> Any:
    if not declaration.low <= number <= declaration.high:
        raise Bad("is out of range")
    return number


def _coerce_choices(declaration: Declaration, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise Bad("is not a list")
    names = tuple(value)
    chosen = {_choice(name, declaration.choices): name for name in names}
    if None in chosen:
        raise Bad(f"names {chosen[None]!r}{nearest(chosen[None], declaration.choices)}")
    return tuple(name for name in declaration.choices if name in chosen)


def _choice(value: Any, choices: Iterable[str]) -> str | None:
    """The choice that is meant, with ``-`` and ``_`` alike; None: none of them."""
    if not isinstance(value, str):
        return None
    return {spelled(each): each for each in choices}.get(spelled(value))


def _coerce_seconds(declaration: Declaration, value: Any) -> Any:
    if isinstance(value, float):
        if 0 < value < 1e-9:
            raise Bad("is shorter than a nanosecond, the unit of time here")
        return _ranged(declaration, value)
    return _ranged(declaration, _whole(value))


def _coerce_typed(declaration: Declaration, value: Any) -> Any:
    """Names, choices and booleans: values that are no numbers."""
    kind = declaration.kind
    if kind == "name" and not isinstance(value, str):
        raise Bad("is not a name")
    if kind == "bool" and not isinstance(value, bool):
        raise Bad("is neither true nor false")
    if kind == "choice":
        chosen = _choice(value, declaration.choices)
        if chosen is None:
            near = nearest(value, declaration.choices) if isinstance(value, str) else ""
            raise Bad(f"is unknown{near}")
        return chosen
    return value


def coerce(declaration: Declaration, value: Any, kilo: int = 1024) -> Any:
    """A typed value of this setting, or Bad with what is wrong. ``kilo``: the vendor's kB."""
    if isinstance(value, str) and value in declaration.words:
        return None if value == "random" else value
    if value is None and "random" in declaration.words:
        return None
    if declaration.kind in ("name", "bool", "choice"):
        return _coerce_typed(declaration, value)
    if declaration.kind == "choices":
        return _coerce_choices(declaration, value)
    if declaration.kind == "seconds":
        return _coerce_seconds(declaration, value)
    if declaration.kind == "bytes" and isinstance(value, str):
        value = _amount(value, declaration, kilo)
    if isinstance(value, Share):
        return value
    return _ranged(declaration, _whole(value))


def from_text(declaration: Declaration, text: str) -> Any:
    """The right side of ``--set``, typed by the declaration; coerce judges the rest."""
    text = text.strip().strip("\"'")
    if declaration.kind == "bool":
        return _BOOL_WORDS.get(text.lower(), text)
    if declaration.kind == "choices":
        words = [word.strip(" []\"'") for word in text.split(",")]
        return [word for word in words if word not in ("", "none")]
    if declaration.kind in ("choice", "name"):
        return text
    if declaration.kind == "percent":
        text = text.removesuffix("%").strip()
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def show(value: Any) -> str:
    """A value as it is written in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(cut(value), ensure_ascii=False)
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(show(each) for each in value) + "]"
    return cut(str(value))


def refuse(where: str, declaration: Declaration, value: Any, problem: str) -> SettingsError:
    """The one form of a refusal: place, setting, problem, allowed range, reason."""
    reason = f"; {declaration.reason}" if declaration.reason else ""
    return SettingsError(
        f"{where}: {declaration.name} = {show(value)} {problem}; "
        f"allowed: {declaration.allowed()}{reason}"
    )


def declared(name: str, where: str) -> Declaration:
    try:
        return BY_NAME[name]
    except KeyError:
        near = nearest(name, (*BY_NAME, *sysctl.NAMES)) or "; `fwcore settings` lists them"
        raise SettingsError(f'{where}: unknown setting {show(name)}{near}') from None


class Given(NamedTuple):
    """A value somebody gave, and where: "file x.toml:3", "--set", "argument"."""

    value: Any
    origin: str


def give(name: str, value: Any, origin: str, kilo: int) -> Given:
    """Look the name up and type the value. Raises SettingsError."""
    where = origin.removeprefix("file ")
    declaration = declared(name, where)
    try:
        return Given(coerce(declaration, value, kilo), origin)
    except Bad as bad:
        raise refuse(where, declaration, value, str(bad)) from None


DIGITS = 20     # of what has a meaning; more are out of range all the same


def amount_bytes(value: Any, kilo: int, what: str = "amount") -> int:
    """Bytes of a number or a text like "100MiB" or "65536"; SettingsError for anything else."""
    declaration = Declaration(what, "bytes", "bytes", "", 0, HUGE)
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value[:DIGITS])
    try:
        return int(coerce(declaration, value, kilo))
    except Bad as bad:
        raise refuse("argument", declaration, value, str(bad)) from None
