"""Results from files: whatever was done to them, they are shown or refused, and never a defect."""

import copy
import io
import json
import random
import struct
import zipfile
from pathlib import Path

import fake
import numpy as np
import pytest

from fwcore.errors import FwcoreError
from fwcore.replay import replay
from fwcore.result import JSON_MEMBER, Result
from fwcore.settings import load

PCAPS = Path(__file__).parent.parent / "pcaps"
ODD = (None, True, -1, 0, 2**63, 2**64, 10**400, 1e308, float("nan"), float("-inf"), "", "x" * 300,
       "\x1b[2J", "=1", "\ud800", [], [1, "x"], {}, {"a": {"b": []}}, [[1]], "extreme", 1.5)


@pytest.fixture(scope="module")
def fresh():
    """Results of ours, as plain values."""
    made = [replay(PCAPS / "conserve.pcap", load(file=PCAPS / "conserve.toml")),
            replay(PCAPS / "idledrop.pcap", load("fortios-5", assignments=["ram_bytes=4MiB"]))]
    return [json.loads(Result(fake.make()).to_json()), *(json.loads(r.to_json()) for r in made)]


def places(value, path=()):
    """Every place in a tree of plain values; of long lists the first two."""
    yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from places(each, (*path, key))
    elif isinstance(value, list):
        for at, each in enumerate(value[:2]):
            yield from places(each, (*path, at))


def damaged(data, draw):
    """A copy with one place removed, replaced, doubled or put elsewhere."""
    made = copy.deepcopy(data)
    *way, last = draw.choice([path for path in places(made) if path])
    at = made
    for key in way:
        at = at[key]
    what = draw.randrange(4)
    if what == 0:
        del at[last]
    elif what == 1 and isinstance(at[last], list) and at[last]:
        at[last] = draw.choice([at[last] * 2, at[last][:-1], at[last][::-1]])
    else:
        at[last] = draw.choice(ODD)
    return made


def show(path, folder, *, page):
    """All views of a result; what they raise is a FwcoreError or nothing."""
    from fwcore import rows
    from fwcore.report import html, text

    result = Result.load(path)
    assert "\x1b" not in text.summary(result)
    assert result.exit_code in (0, 2, 3, 5, 129, 130, 141, 143)
    repr(result)
    for name in ("victims", "timeline", "events", "transitions", "hosts", "inputs"):
        rows.write(result.array(name), folder / "t.csv")
    if page:
        html.write(result, folder / "p.html")


def refusal(do):
    """What a FwcoreError says; nothing, where all is well."""
    try:
        do()
    except FwcoreError as error:
        return str(error)
    return ""


def test_ours_have_the_shape(fresh, tmp_path):
    for data in fresh:
        Result(data).to_json(tmp_path / "r")
        show(tmp_path / "r", tmp_path, page=True)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_result_is_shown_or_refused(fresh, tmp_path, seed):
    draw, refused = random.Random(seed), 0
    for number in range(100):
        (tmp_path / "r").write_text(json.dumps(damaged(draw.choice(fresh), draw)))
        said = refusal(lambda at=number: show(tmp_path / "r", tmp_path, page=at % 20 == 0))
        refused += bool(said)
        assert not said or (said.startswith(str(tmp_path / "r")) and "\n" not in said)
    assert 20 < refused < 100


@pytest.mark.parametrize("way", [
    ("victims",), ("events",), ("inputs",), ("conserve", "transitions"), ("top", "hosts"),
    ("top", "policies")])
def test_a_row_has_no_key_of_its_own(fresh, way):
    """Each key of a row is a column: a forged one was shown as a figure of ours."""
    made = copy.deepcopy(next(data for data in fresh if of(data, way)))
    of(made, way)[-1]["sessions_hijacked"] = "9" if way == ("events",) else 9
    with pytest.raises(FwcoreError, match=r"\]\.sessions_hijacked(: there are| is)"):
        Result.from_json(json.dumps(made))


def of(data, way):
    """What stands at a place, if something does."""
    for key in way:
        data = data.get(key, {})
    return data


@pytest.mark.parametrize("text, said", [
    ('{"schema": 1, "packets": ' + "9" * 100_000 + "}", "digits"),
    ('{"schema":' + "[" * 100_000 + "]" * 100_000 + "}", "deep"),
    ('{"schema": 1, "a": ' + "[" * 500 + "]" * 500 + "}", "."),
    ('{"schema": 1}', "is missing"),
])
def test_what_is_no_result_is_said(tmp_path, text, said):
    (tmp_path / "r").write_text(text)
    with pytest.raises(FwcoreError, match=said):
        Result.load(tmp_path / "r")


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_state_file_is_refused(tmp_path, seed):
    path = tmp_path / "r.state"
    Result(fake.make(), {"sessions": np.zeros(3, dtype=[("a", "u8")])}).save_state(path)
    whole, draw = path.read_bytes(), random.Random(seed)
    for _ in range(150):
        raw = bytearray(whole)
        for _ in range(draw.choice((1, 1, 4, 40))):
            raw[draw.randrange(len(raw))] = draw.randrange(256)
        path.write_bytes(bytes(raw[: draw.choice((len(raw), len(raw), draw.randrange(len(raw))))]))
        said = refusal(lambda: Result.load(path))
        assert not said or "neither a result" in said


def member(name, data):
    """A state file with one table made by hand."""
    text = np.frombuffer(json.dumps(fake.make()).encode(), np.uint8)
    out, array = io.BytesIO(), io.BytesIO()
    np.save(array, text)
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(f"{JSON_MEMBER}.npy", array.getvalue())
        archive.writestr(name, data)
    return out.getvalue()


def header(text):
    """An array of format 1.0 with any header."""
    body = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body


@pytest.mark.parametrize("name, data", [
    ("s.npy", header("{'descr': '<u8', 'fortran_order': False, 'shape': (1152921504606846976,)}")),
    ("s.npy", header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}")),
    ("s.npy", header("(" * 100)), ("s.npy", b""), ("s.txt", b"text"),
    ("s.npy", header("{'descr': '<u8', 'fortran_order': False, 'shape': ()}") + bytes(8)),
])
def test_tables_of_a_state_file_are_tables(tmp_path, name, data):
    (tmp_path / "s").write_bytes(member(name, data))
    with pytest.raises(FwcoreError, match="neither a result"):
        Result.load(tmp_path / "s")
