"""Columns of texts, made in C, against Python's own spelling; tables in blocks."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import given, strategies as st

from fwcore._columns import address_texts, key_texts
from fwcore._layout import SESSION_DTYPE
from fwcore.counters import key_text
from fwcore.errors import DataError
from fwcore.rows import RowFile, Texts, Words

words = st.lists(st.sampled_from([0, 0, 0, 1, 0xF, 0x10, 0xFF, 0x100, 0xFFF, 0x1000, 0xFFFF]),
                 min_size=8, max_size=8)
# IPv4 within IPv6 is spelt otherwise from Python 3.13 on.
longs = words.map(lambda each: sum(word << 16 * at for at, word in enumerate(each))).filter(
    lambda number: number >> 32 != 0xFFFF)
shorts = st.integers(0, 2**32 - 1)
ends = st.one_of(st.tuples(st.just(4), shorts, shorts), st.tuples(st.just(6), longs, longs))
keys = st.lists(st.tuples(ends, st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 255),
                          st.integers(0, 4095)), max_size=5)


@given(keys)
def test_keys_are_spelt_as_one_by_one(found):
    rows = np.zeros(len(found), SESSION_DTYPE)
    for row, ((family, a, b), port_a, port_b, protocol, zone) in zip(rows, found, strict=True):
        for name, address in (("initiator", a), ("responder", b)):
            packed = address.to_bytes(4 if family == 4 else 16, "big").ljust(16, b"\0")
            row[name] = np.frombuffer(packed, np.uint8)
        row["initiator_port"], row["responder_port"], row["zone"] = port_a, port_b, zone
        row["family"], row["protocol"] = family, protocol
    texts = Texts(*key_texts(rows))
    assert texts.tolist() == [key_text(row) for row in rows]
    assert Texts(*key_texts(rows[::-1])).tolist() == texts.tolist()[::-1]


@given(st.lists(ends, max_size=9))
def test_addresses_are_spelt_as_python_does(found):
    family = np.array([row[0] for row in found], np.uint8)
    numbers = [row[1] for row in found]
    high = np.array([number >> 64 for number in numbers], np.uint64)
    low = np.array([number & 2**64 - 1 for number in numbers], np.uint64)
    wanted = [str(ip_address(number.to_bytes(4 if row[0] == 4 else 16, "big")))
              for row, number in zip(found, numbers, strict=True)]
    assert Texts(*address_texts(high, low, family)).tolist() == wanted
    nobody = Texts(*address_texts(high, low, np.zeros_like(family)))
    assert nobody.tolist() == [""] * len(found)


def test_arrays_of_another_kind_are_refused():
    none = np.zeros(2, np.uint64)
    for given_ in ((none, none, np.zeros(3, np.uint8)), (none, none, none),
                   (none[:1], none, np.zeros(2, np.uint8)), ([1], [2], [4])):
        with pytest.raises(DataError):
            address_texts(*given_)
    for rows in (none, np.zeros(2, [("key", "u1", 16)]), None):
        with pytest.raises(DataError):
            key_texts(rows)


def blocks():
    for first in (0, 3, 3, 40):
        number = np.arange(first, first + 3, dtype=np.uint64)
        text = Texts(*address_texts(number * 0, number, np.full(3, 4, np.uint8)))
        yield {"number": number, "host": text, "word": Words(number % 2, ("even", "odd")),
               "said": [f"it's, {n}" for n in number]}


def test_a_table_is_the_same_in_all_formats_whatever_its_blocks(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    for path in (tmp_path / "a.csv", tmp_path / "a.parquet", tmp_path / "a.jsonl"):
        with RowFile(path) as file:
            for block in blocks():
                file.write(block)
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    table = parquet.read_table(tmp_path / "a.parquet")
    lines = [*map(json.loads, (tmp_path / "a.jsonl").read_text().splitlines())]
    assert lines == table.to_pylist()
    assert parquet.ParquetFile(tmp_path / "a.parquet").num_row_groups == 1
    assert [{name: str(value) for name, value in row.items()} for row in table.to_pylist()] == rows
    assert rows[4] == {"number": "4", "host": "0.0.0.4", "word": "even", "said": "it's, 4"}
    assert {str(each) for each in table.schema.types} == {"uint64", "string"}


def test_an_empty_cell_is_null_in_json_lines(tmp_path):
    with RowFile(tmp_path / "a.jsonl") as file:
        file.write({"n": np.zeros(0, np.uint8), "said": []})
        file.write({"n": np.ma.array([7, 8], mask=[False, True]), "said": ["=\udc80", ""]})
    assert (tmp_path / "a.jsonl").read_bytes() == (
        b'{"n":7,"said":"=\\udc80"}\n{"n":null,"said":""}\n')


def test_texts_are_chosen_like_numbers():
    texts = Texts.of(["a", "é", "bcd", ""])
    assert texts[np.array([True, False, True, True])].tolist() == ["a", "bcd", ""]
    assert texts[1:3].tolist() == ["é", "bcd"]
    assert texts[np.array([2, 2, 0])].tolist() == ["bcd", "bcd", "a"]
    assert texts[:0].joined([texts]).tolist() == texts.tolist()


def test_numbers_of_every_kind_come_back_from_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    kinds = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "?")
    ends = [0, 1, -1, 2**63 - 1, -2**63, 2**64 - 1]
    whole = {kind: np.array([end % 2**64 for end in ends], np.uint64).astype(kind)
             for kind in kinds}
    whole["empty"] = np.ma.array(np.arange(6), mask=[1, 0, 0, 1, 0, 1])
    whole["code"] = Words(np.arange(6)[::-1], [str(number) for number in range(200)])
    with RowFile(tmp_path / "a.parquet") as file:
        for part in (np.s_[:0], np.s_[:4], np.s_[4:]):
            file.write({name: each[part] for name, each in whole.items()})
    table = parquet.read_table(tmp_path / "a.parquet")
    for kind in kinds:
        assert table[kind].to_pylist() == whole[kind].tolist()
        assert table.schema.field(kind).type.to_pandas_dtype() == np.dtype(kind)
    assert table["empty"].to_pylist() == [None, 1, 2, None, 4, None]
    assert table["code"].to_pylist() == ["5", "4", "3", "2", "1", "0"]


def test_a_column_of_parquet_says_whether_it_may_be_empty(tmp_path, monkeypatch):
    """By its kind, in every group of rows: also where the first has no empty cell."""
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("fwcore.rows.GROUP_ROWS", 2)
    path = tmp_path / "t.parquet"
    with RowFile(path) as file:
        for empty in ([False, False], [True, False], [True, True]):
            file.write({"number": np.arange(2), "word": Words(np.arange(2), ["a", "b"]),
                        "text": Texts.of(["x", ""]), "list": ["y", "z"],
                        "wait": np.ma.MaskedArray(np.arange(2), mask=empty)})
    whole = parquet.ParquetFile(path)
    assert whole.num_row_groups == 3
    assert {each.name: each.nullable for each in whole.schema_arrow} == {
        "number": False, "word": False, "text": False, "list": False, "wait": True}
    assert whole.read().column("wait").to_pylist() == [0, 1, None, 1, None, None]


def test_a_word_that_has_two_codes_is_once_in_the_dictionary(tmp_path):
    """FIN_WAIT has: the column was plain, behind a page with whatever lay in memory."""
    parquet = pytest.importorskip("pyarrow.parquet")
    with RowFile(tmp_path / "a.parquet") as file:
        file.write({"word": Words(np.array([0, 1, 2, 3, 2, 0]), ["a", "b", "a", "c"])})
    assert parquet.read_table(tmp_path / "a.parquet")["word"].to_pylist() == [*"abacaa"]
    column = parquet.read_metadata(tmp_path / "a.parquet").row_group(0).column(0)
    assert "RLE_DICTIONARY" in column.encodings


def test_parquet_is_written_without_pandas(tmp_path):
    """Importing it takes as long as writing millions of rows."""
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    subprocess.run([sys.executable, "-c", """
import sys
import numpy as np
from fwcore.rows import RowFile, Texts, Words
with RowFile(sys.argv[1]) as file:
    file.write({"n": np.arange(3), "m": np.ma.array([1, 2, 3]), "b": np.ones(3, bool),
                "w": Words(np.zeros(3, int), ["a"]), "t": Texts.of(["a", "b", "c"]),
                "l": ["a", "b", "c"]})
sys.exit("pandas" in sys.modules)
""", str(tmp_path / "a.parquet")], check=True)
