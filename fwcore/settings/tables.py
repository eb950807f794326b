"""What a vendor's table is: its keys read and held against what each takes; rows made of it.

    Row   -->   Table      a value by its name, as the vendor writes it
                Tables     all of one vendor, by kind
                Made       rows of [[meter]], [[link]], [[class]] and [[shaping]], each where the
                           vendor's row stands

Law: what is refused is told in the vendor's words, with file and line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fwcore.errors import SettingsError
from fwcore.settings.document import Row
from fwcore.shaping_values import Key, Place, read_value
from fwcore.words import cut, nearest

MATCH: Mapping[str, str] = {  # conditions of a session, as in [[policy]] and [[shaping]]
    "zone": "VLAN id", "source": "networks", "destination": "networks",
    "protocol": "name or number", "ports": "the responder's", "policy": "ids of policies",
    "dscp": "of the first packet"}
NUMBERS = ("count", "name", "choice", "names", "ids")  # kinds that shaping reads
ALWAYS = {"rate": 10**12, "depth": 1 << 40}  # a rung that every packet conforms to


class Vendor(NamedTuple):
    """A vendor's tables, what of them is not modelled and why, and what makes rows of them."""

    kinds: Mapping[str, Mapping[str, Key]]
    missing: Mapping[str, str]
    make: Callable[[Tables, Made, int], None]


def hyphened(name: str) -> str:
    """A name as vendors write it."""
    return name.replace("_", "-")


class Table(Place):
    """A vendor's row: its values, each held against what the key takes."""

    def __init__(self, row: Row, kind: str, known: Mapping[str, Key]) -> None:
        super().__init__(row, hyphened(kind), 1)
        self.known = known

    def __contains__(self, name: str) -> bool:
        return name in self.row

    def __getitem__(self, name: str) -> Any:
        """The value of a key, given or as it is without."""
        key = self.known[name]
        if name not in self.row:
            if key.default is None and key.kind == "name":
                raise self.error(name, f"[[{self.kind}]] needs {hyphened(name)}")
            return key.default
        given = self.row[name]
        if key.kind == "switch":
            return self.switch(name, given)
        if key.kind in NUMBERS:
            return read_value(self, name, key, given)
        return READERS[key.kind](self, name, given)

    def refuse(self, name: str, key: Key, value: Any, problem: str) -> SettingsError:
        """In the vendor's spelling."""
        return self.error(name, f"{hyphened(name)} = {cut(repr(value))} {problem}; allowed:"
                          f" {key.allowed()}")

    def switch(self, name: str, given: Any) -> bool:
        """enable, disable, true, false."""
        words = {"enable": True, "disable": False, "yes": True, "no": False}
        if isinstance(given, bool):
            return given
        if not isinstance(given, str) or given not in words:
            raise self.error(name, f"{hyphened(name)} = {cut(repr(given))} is unknown;"
                             " allowed: enable, disable")
        return words[given]

    def within(self, name: str, number: int, low: int, high: int, unit: str) -> int:
        """A number held to its range."""
        if not low <= number <= high:
            raise self.error(name, f"{hyphened(name)} = {self.row.get(name)!r} is {number} {unit};"
                             f" allowed: {low} to {high}")
        return number


class Tables:
    """All tables of one vendor, by kind."""

    def __init__(self, vendor: str, kinds: Mapping[str, Mapping[str, Key]]) -> None:
        self.vendor = vendor
        self.kinds = kinds
        self.all: dict[str, list[Table]] = {kind: [] for kind in kinds}

    def __getitem__(self, kind: str) -> list[Table]:
        return self.all[kind]

    def named(self, kind: str, key: str = "name") -> dict[str, Table]:
        """By a name that no two have."""
        found: dict[str, Table] = {}
        for table in self[kind]:
            if table[key] in found:
                raise table.error(key, f"{hyphened(key)} = {table[key]!r} is given twice")
            found[table[key]] = table
        return found


class Made:
    """Rows of ours; each stands where the vendor's row does."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {
            kind: [] for kind in ("meter", "link", "class", "shaping")}

    def add(self, kind: str, table: Table, values: Mapping[str, Any], **lines: str) -> None:
        """A row; ``lines``: a key of ours -> the vendor's key that it comes from."""
        places = {name: table.where(theirs) for name, theirs in lines.items()}
        places |= {name: table.where(name) for name in MATCH if name in table}
        self.rows[kind].append(Row(values, table.where(""), places))


def found(table: Table, key: str, among: Mapping[str, Table]) -> Table | None:
    """The table that a key names; None where it names nothing."""
    name = table[key]
    if name and name not in among:
        raise table.error(key, f"{hyphened(key)} = {name!r} is not declared"
                          f"{nearest(name, among)}")
    return among[name] if name else None


def conditions(table: Table, **others: str) -> dict[str, Any]:
    """What a session must be like; ``others``: our key -> the vendor's."""
    made = {name: table.row[name] for name in MATCH if name in table}
    for ours, theirs in others.items():
        if theirs in table:
            if ours in made:
                raise table.error(theirs, f"{hyphened(theirs)} and {ours} are the same: one is"
                                  " enough")
            given = table.row[theirs]
            made[ours] = "any" if given in ("all", ["all"]) else given
    return made


def matching() -> dict[str, Key]:
    """Keys of the conditions."""
    return {name: Key("match", f"sessions: {text}") for name, text in MATCH.items()}


# --- reading --------------------------------------------------------------------------------------


def _raw(table: Table, name: str, given: Any) -> Any:
    return given


def _code(table: Table, name: str, given: Any) -> int:
    """A DSCP: 0 to 63, or six binary digits as FortiOS has it."""
    if isinstance(given, str) and re.fullmatch("[01]{6}", given):
        return int(given, 2)
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < 64:
        raise table.error(name, f"{hyphened(name)} = {given!r} is no DSCP; allowed: 0 to 63, or"
                          ' six binary digits such as "101110"')
    return given


_AMOUNT = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")
_SI = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12,
       "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}
_RATES = ({f"{prefix}bit": factor for prefix, factor in _SI.items()}
          | {f"{prefix}bps": 8 * factor for prefix, factor in _SI.items()} | {"": 1})
_SIZES = {"": 1, "b": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "g": 1 << 30,
          "gb": 1 << 30}
_TIMES = {"": 1000, "us": 1000, "usec": 1000, "usecs": 1000, "ms": 10**6, "msec": 10**6,
          "msecs": 10**6, "s": 10**9, "sec": 10**9, "secs": 10**9}


def _amount(table: Table, name: str, given: Any, units: Mapping[str, int], what: str) -> int:
    """A number and a unit of tc, whole in the end."""
    from fractions import Fraction

    text = str(given) if isinstance(given, int) and not isinstance(given, bool) else given
    match = _AMOUNT.fullmatch(text.strip()) if isinstance(text, str) else None
    if not match or match[2].lower() not in units:
        raise table.error(name, f"{hyphened(name)} = {given!r} is no {what} as tc writes it; units:"
                          f" {', '.join(unit for unit in units if unit)}")
    return int(Fraction(match[1]) * units[match[2].lower()])


def _tc_rate(table: Table, name: str, given: Any) -> int:
    return table.within(name, _amount(table, name, given, _RATES, "rate"), 1, 10**12, "bit/s")


def _tc_size(table: Table, name: str, given: Any) -> int:
    return table.within(name, _amount(table, name, given, _SIZES, "size"), 1, 1 << 40, "bytes")


def _tc_time(table: Table, name: str, given: Any) -> int:
    return table.within(name, _amount(table, name, given, _TIMES, "time"), 1, (1 << 32) - 1, "ns")


_ALLOWED = {
    "match": "as in [[policy]] and [[shaping]]", "raw": "as the vendor writes it",
    "switch": "enable, disable, true or false", "code": "0 to 63, or six binary digits",
    "tc-rate": "as tc writes a rate: 1mbit, 125kbps", "tc-size": "as tc writes a size: 1600, 15k",
    "tc-time": "as tc writes a time: 5ms, 50 (us)"}


def allowed(key: Key) -> str:
    """The allowed values of a vendor's key, in words."""
    return _ALLOWED.get(key.kind) or key.allowed()


READERS: Mapping[str, Callable[[Table, str, Any], Any]] = {
    "match": _raw, "raw": _raw, "code": _code, "tc-rate": _tc_rate, "tc-size": _tc_size,
    "tc-time": _tc_time}
