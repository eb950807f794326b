"""A vendor's words for shaping, as rows of [[meter]], [[link]], [[class]] and [[shaping]].

    [[fortios.traffic-shaper]] [[cos.pipe]] [[tc.class]] ...
              |  rows_of: placed tables (tables.py), one kind a name
              |  translate: fortios, cos, tc
              v
    Made       rows of ours, each where the vendor's stands   -->  shaping.parse

A wiring is a spelling: whatever it says could be written in our rows, and means the same there.
What a vendor's box does and no row of ours can say is refused by name, and listed on the page of
docs (docs/shaping.md). Laws: no key is read over; the same tables give the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fwcore.errors import SettingsError
from fwcore.settings import cos, fortios, tc
from fwcore.settings.document import Document, Row
from fwcore.settings.tables import Made, Table, Tables, Vendor, hyphened
from fwcore.words import nearest, spelled

# Whose words are understood.
UNDERSTOOD: Mapping[str, Vendor] = {
    "fortios": fortios.VENDOR, "cos": cos.VENDOR, "tc": tc.VENDOR}


def rows_of(document: Document, vendor: str) -> Iterator[Row]:
    """The rows of [[vendor.kind]] tables; each has its kind beside its values."""
    tables = document.data[vendor]
    kinds = UNDERSTOOD[vendor].kinds
    if not isinstance(tables, dict):
        raise SettingsError(f"{document.where(vendor)}: write [[{vendor}.KIND]] tables; kinds:"
                            f" {_kinds(kinds)}")
    for kind, each in tables.items():
        where = document.where(vendor, kind)
        if spelled(kind) not in kinds:
            raise SettingsError(f"{document.where(vendor, kind, 0)}: unknown [[{vendor}.{kind}]]"
                                f"{nearest(kind, map(hyphened, kinds))}; allowed: {_kinds(kinds)}")
        if not isinstance(each, list) or not all(isinstance(row, dict) for row in each):
            raise SettingsError(f"{where}: write {kind} rows as [[{vendor}.{kind}]] tables")
        for at, row in enumerate(each):
            if "kind_of" in row:
                raise SettingsError(f"{document.where(vendor, kind, at, 'kind_of')}: unknown key"
                                    f' "kind_of" in [[{vendor}.{kind}]]')
            yield Row({"kind_of": f"{vendor}.{spelled(kind)}", **row},
                      document.where(vendor, kind, at),
                      {key: document.where(vendor, kind, at, key) for key in row})


def _kinds(kinds: Mapping[str, Any]) -> str:
    return ", ".join(map(hyphened, kinds))


def _check_keys(table: Table, vendor: Vendor) -> None:
    """Every key is known; one that is known elsewhere and not modelled here says why."""
    for key in table.row:
        if key in table.known:
            continue
        shown = hyphened(key)
        if key in vendor.missing:
            raise table.error(key, f"{shown} is not modelled: {vendor.missing[key]}")
        raise table.error(key, f'unknown key "{shown}" in [[{table.kind}]]'
                          f"{nearest(key, map(hyphened, table.known))}; allowed:"
                          f" {_kinds(table.known)}")


def translate(rows: Sequence[Row], kilo: int) -> dict[str, tuple[Row, ...]]:
    """{"meter": rows, "link": ..., "class": ..., "shaping": ...} of all wirings.

    kilo: what a kbps of FortiOS is. Raises SettingsError in the vendor's words.
    """
    given: dict[str, Tables] = {}
    for row in rows:
        name, _, kind = spelled(str(row.get("kind_of"))).partition(".")
        vendor = UNDERSTOOD.get(name)
        if vendor is None or kind not in vendor.kinds:
            raise SettingsError(f"{row.where}: kind_of = {row.get('kind_of')!r} is unknown;"
                                " allowed: VENDOR.KIND, such as fortios.traffic-shaper, cos.pipe,"
                                " tc.qdisc")
        tables = given.setdefault(name, Tables(name, vendor.kinds))
        values = Row({key: row[key] for key in row if key != "kind_of"}, row.where, row.lines)
        table = Table(values, f"{name}.{kind}", vendor.kinds[kind])
        _check_keys(table, vendor)
        tables[kind].append(table)
    made = Made()
    for name, tables in given.items():
        UNDERSTOOD[name].make(tables, made, kilo)
    return {kind: tuple(each) for kind, each in made.rows.items()}
