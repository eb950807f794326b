"""layout.h and shaping.h, and what is made of them: their .pxd, the enums and records of
_layout.pyi."""

import ast
import importlib.util
import re
import threading
from pathlib import Path

import numpy as np

from fwcore import _fastpath_state, _layout, _shaper_plan

ROOT = Path(__file__).parent.parent


def load():
    spec = importlib.util.spec_from_file_location("layout", ROOT / "tools" / "layout.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LAYOUT = load()


def test_what_is_made_of_it_is_as_it_would_be_made():
    for path, text in LAYOUT.made().items():
        assert path.read_text() == text, f"{path.name}: python tools/layout.py"


def test_padding_is_left_out_where_alignment_puts_it():
    """NumPy's dtypes are Cython's: what Cython does not know of moves the fields behind it."""
    fields = [
        ("uint32_t", "fill"), ("uint32_t", "pad"), ("uint8_t", "block[128]"),
        ("uint8_t", "mode"), ("uint8_t", "pad2[3]"), ("int64_t", "low"), ("uint32_t", "pad3")]
    kept = [name for _, name in LAYOUT.without_padding(fields)]
    assert kept == ["fill", "pad", "block[128]", "mode", "low"]
    assert [name for _, name in LAYOUT.without_padding(fields, ends=False)] == [*kept, "pad3"]


def test_a_constant_that_names_another_one_has_its_type():
    code = "#define LAST (1LL << 62)\n#define END LAST\n#define FEW 3\n#define PART FEW\n"
    assert list(LAYOUT.constants_of(code)) == [
        "    const int64_t LAST", "    const int64_t END", "    const uint32_t FEW",
        "    const uint32_t PART"]


def test_dtypes_are_as_long_as_their_structs():
    """A field that is missing, or too much, would show here: the headers assert these."""
    said = {name: int(size) for header in ("layout.h", "shaping.h") for name, size in re.findall(
        r"_Static_assert\(sizeof\((\w+)\) == (\d+)", (LAYOUT.DATAPLANE / header).read_text())}
    made = {"session_row_t": _layout.SESSION_DTYPE, "host_row_t": _layout.HOST_DTYPE,
            "record_t": _fastpath_state.STATE_DTYPES["records"],
            "met_t": _shaper_plan.ARRIVAL_DTYPE, "departure_t": _shaper_plan.DEPARTURE_DTYPE,
            "shaped_t": _fastpath_state.STATE_DTYPES["shaper_sessions"]}
    assert {name: said[name] for name in made} == {
        name: dtype.itemsize for name, dtype in made.items()}
    for dtype in made.values():
        assert sum(np.dtype(dtype[name]).itemsize for name in dtype.names) == dtype.itemsize


def test_gauges_are_read_by_name():
    """A number's place may change, its name may not."""
    places = {
        name for path in (ROOT / "fwcore").rglob("*.py") for node in ast.walk(
            ast.parse(path.read_text()))
        if isinstance(node, ast.Subscript) and "gauges" in ast.unparse(node.value)
        for name in [f"{path.name}:{node.lineno}"]}
    assert places == set()
    assert _layout.Gauges._fields[:len(_layout.Gauge)] == tuple(
        gauge.name.lower() for gauge in _layout.Gauge)


def test_no_size_is_written_twice():
    """Arrays of the data plane have names for their sizes; what pads, tables that are written out
    where they stand and what the processor has are as long as they are."""
    declared = re.compile(r"\s*(?:cdef |const |static |typedef struct { )*[a-z]\w* \*?[a-z]\w*\[")
    files = [*LAYOUT.DATAPLANE.glob("*.pxd"), *LAYOUT.DATAPLANE.glob("*.h"),
             *(ROOT / "fwcore").glob("*.pyx")]
    found = {f"{path.name}: {line.strip()}" for path in files
             if path not in LAYOUT.made() and path.name != "platform.h"
             for line in path.read_text().splitlines()
             if declared.match(line) and "= {" not in line
             and not re.match(r"\s*(return|if|while|elif|for|and|or) ", line)
             and re.search(r"\b(?!pad)\w+(\[\w+\])*\[\d+\]", line)}
    assert found == set()


def test_what_was_decided_is_only_read():
    """Settings, gate row and policies are written between two calls, by FastPath."""
    wrong = [f"{path.name}: {line.strip()}" for path in LAYOUT.DATAPLANE.glob("*.pxd")
             for line in path.read_text().splitlines()
             if re.search(r"\bcontrol\.[\w.\[\]]+ [-+|&]?= ", line)
             or re.search(r"(?<!const )control_t \*", line)]
    assert wrong == []


def test_a_record_of_a_kind_that_two_threads_are_the_first_to_ask_for(monkeypatch):
    """Nobody sees the fields of a dtype while another is still finding them out."""
    begun, seen = threading.Event(), threading.Event()
    iinfo = np.iinfo

    def slow(kind):
        begun.set()
        seen.wait(5)
        return iinfo(kind)

    monkeypatch.setattr(np, "iinfo", slow)
    dtype = np.dtype([("first_of_two", np.uint32), ("second_of_two", np.uint32)])
    thread = threading.Thread(target=_layout.record, args=(dtype, {"first_of_two": 1}))
    thread.start()
    assert begun.wait(5)
    monkeypatch.setattr(np, "iinfo", iinfo)
    try:
        assert _layout.record(dtype, {"second_of_two": 2})["second_of_two"] == 2
    finally:
        seen.set()
        thread.join()
