"""The result of a replay: one dictionary of plain values, with comfortable handles on it.

What it holds is the contract's result (``schema`` 1): nested dictionaries of integers, strings
and lists, the same as its JSON. Everything that is shown later - the summary, the page, a
comparison, a device's view - is made from a Result and from nothing else, so that a saved one
shows the same as a fresh one.

    result = Result.load("run.json")
    result["packets"], result.sessions.peak, result["memory.peak.used"]
    result.array("victims")["cause"]          NumPy, one row a victim
    result.to_pandas("timeline")              with the extra "pandas"

A *state file* is a NumPy ``.npz``: the JSON beside the tables that are too long for JSON (the
sessions that still stand, 120 bytes each; it is not compressed, but one that is can be read, too).
No pickle: reading one runs no code.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fwcore import infile
from fwcore._layout import SESSION_DTYPE
from fwcore.errors import FwcoreError, MissingName
from fwcore.escape import visible
from fwcore.outfile import Output
from fwcore.tables import as_table, readable, to_arrow, to_pandas

if TYPE_CHECKING:
    import zipfile


class Blocked(NamedTuple):
    """A table of ``rows`` rows that is made whole, or for a file block by block: memory that was
    never touched costs more than what is copied there."""

    rows: int
    dtype: np.dtype[Any]
    whole: Callable[[], np.ndarray]
    blocks: Callable[[], Iterable[np.ndarray]]


Table = np.ndarray | Callable[[], np.ndarray] | Blocked
"""A table of a result, or what makes it: millions of sessions are copied when somebody asks."""

SCHEMA = 1
EXIT_DONE, EXIT_LOST, EXIT_FAULT, EXIT_LAW = 0, 2, 3, 5
EXIT_INTERRUPTED = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGPIPE": 141}
_HIT = "taken bytes dropped bypassed dropped_bytes bypassed_bytes"
ROW_TABLES: Mapping[str, str] = {   # their columns, which stand there without a row too
    "victims": "packet created_packet key cause age_ns idle_ns bytes state policy inspection",
    "events": "kind packet time_ns machine text",
    "transitions": "packet time_ns cause machine from to used_pages freeable_pages free_pages",
    "hosts": f"host {_HIT} sessions", "policies": f"id {_HIT}",
    "inputs": "path reader format packets fault",
}
TEXT_COLUMNS = {*"key cause state inspection kind machine text from to host path reader format"
                .split()}
JSON_MEMBER = "result_json"
RESULT_MOST = 1 << 32     # bytes of a file: more than thirty million sessions make
JSON_MOST = 1 << 28       # ... and of the JSON within a state file
CAPTURES = tuple(map(bytes.fromhex, (  # first bytes of pcap (us, ns; both orders) and pcapng
    "d4c3b2a1", "a1b2c3d4", "4d3cb2a1", "a1b23c4d", "0a0d0d0a")))  # fmt: skip


def _store(archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], rows: int,
           blocks: Iterable[np.ndarray]) -> None:
    """A table as a member of an ``.npz``, as ``numpy.savez`` has it; FwcoreError where it was not
    of so many rows."""
    shape = np.lib.format.header_data_from_array_1_0(np.empty(0, dtype)) | {"shape": (rows,)}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, shape)
        for block in blocks:
            if len(block):
                member.write(np.ascontiguousarray(block).view(np.uint8).data)
                rows -= len(block)
    if rows:
        raise FwcoreError(f"{name}: a table of the result was changed while it was written")


class Section(Mapping[str, Any]):
    """A dictionary of the result, read by attribute, by item, or by a dotted path."""

    def __init__(self, data: Mapping[str, Any], name: str = "result") -> None:
        self._data = data
        self._name = name

    def __getitem__(self, key: str) -> Any:
        if not isinstance(key, str):
            raise MissingName(f"{self._name}: {key!r:.80} is no name")
        value = self._data[key] if key in self._data else self._walk(key)
        return Section(value, f"{self._name}.{key}") if isinstance(value, Mapping) else value

    def _walk(self, path: str) -> Any:
        value: Any = self._data
        for part in path.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise MissingName(f"{self._name} has no {path!r}")
            value = value[part]
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            known = ", ".join(self._data)
            raise AttributeError(f"{self._name} has no {name!r}; it has {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        inner = ", ".join(f"{key}={_short(value)}" for key, value in self._data.items())
        return visible(f"<{self._name}: {inner}>")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._data]


class Result(Section):
    """What a replay found; see the module's text for how to read it."""

    def __init__(
        self, data: Mapping[str, Any], tables: Mapping[str, Table] | None = None
    ) -> None:
        super().__init__(data, "result")
        self._tables = dict(tables or {})

    def _table(self, name: str) -> np.ndarray:
        """A table beside the JSON; one that is made when it is asked for is kept then."""
        table = self._tables[name]
        if not isinstance(table, np.ndarray):
            make = table.whole if isinstance(table, Blocked) else table
            table = self._tables[name] = make()
        return table

    @property
    def data(self) -> Mapping[str, Any]:
        """The plain dictionary, as in the JSON."""
        return self._data

    @property
    def exit_code(self) -> int:
        """What a command line returns, the gravest first.

        5 a broken law; 130, 143, 129, 141 interrupted by INT, TERM, HUP, or a closed pipe; 2 an
        output that could not be written; 3 a capture's fault; 0.
        """
        if not all(self._data.get("laws", {}).values()):
            return EXIT_LAW
        if self._data.get("interrupted"):
            return EXIT_INTERRUPTED.get(self._data.get("interrupted_by", ""), 130)
        if self._data.get("lost"):
            return EXIT_LOST
        if any(row.get("fault") for row in self._data.get("inputs", ())):
            return EXIT_FAULT
        return EXIT_DONE

    def __repr__(self) -> str:
        data = self._data
        verdicts = data.get("verdicts", {})
        parts = [f"{name} {verdicts[name]:,}" for name in verdicts if verdicts[name]]
        mode = data.get("conserve", {}).get("label", "off")
        transitions = len(data.get("conserve", {}).get("transitions", ()))
        return visible(
            f"<Result {data.get('personality')}: {data.get('packets', 0):,} packets"
            f" ({', '.join(parts)}); {data.get('sessions', {}).get('created', 0):,} sessions,"
            f" peak {data.get('sessions', {}).get('peak', 0):,}; conserve {mode},"
            f" {transitions} transitions; outcome {data.get('outcome')}>"
        )

    def with_lost(self, path: str, message: str) -> Result:
        """The same, with one more output that could not be written."""
        lost = [*self._data.get("lost", ()), {"path": path, "message": message}]
        return Result({**self._data, "lost": lost}, self._tables)

    # -- tables ---------------------------------------------------------------------------------

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names that `array` understands for this result."""
        return (*ROW_TABLES, "timeline", *self._tables)

    def array(self, name: str) -> np.ndarray:
        """One table as a NumPy structured array (n,), a copy; MissingName for an unknown name.

        victims, events, transitions, inputs: the rows of the result. hosts, policies: who was
        hit. timeline: a row a sample: ``time_ns``, ``packet``, ``mode``, ``live`` sessions; pages:
        ``free``, ``base``, ``sessions``, ``shm``, ``cache``; since the start: sessions ``created``,
        ``ended``, by ``tension``, ``evicted``, ``exposed_packets``, and packets as
        ``verdict_drop``, ``reason_no_memory``. sessions: what stood at the end, of a state file or
        a live run, as ``Engine.sessions`` has them.
        """
        if not isinstance(name, str) or name not in self.arrays:
            raise MissingName(f"no table {name!r:.80}; there are {', '.join(self.arrays)}")
        if name in self._tables:
            return self._table(name).copy()
        if name == "timeline":
            return as_table(timeline_columns(self._data.get("timeline", {})))
        return rows_to_array(self._rows(name), ROW_TABLES[name].split())

    def _rows(self, name: str) -> list[dict[str, Any]]:
        section = {"transitions": "conserve", "hosts": "top", "policies": "top"}.get(name)
        of = self._data if section is None else self._data.get(section, {})
        found: list[dict[str, Any]] = of.get(name, [])
        return found

    def columns(self, name: str) -> dict[str, np.ndarray]:
        """One table as columns (n,) for people: addresses and enums as text, a column a direction.

        MissingName for an unknown name.
        """
        return readable(self.array(name))

    def to_pandas(self, name: str) -> Any:
        """``columns`` as a pandas DataFrame, by time where rows have one (``time_ns``, a session's
        ``created_ns``; UTC); MissingExtra says how to get pandas."""
        return to_pandas(self.columns(name))

    def to_arrow(self, name: str) -> Any:
        """``columns`` as a pyarrow Table; MissingExtra says how to get pyarrow."""
        return to_arrow(self.columns(name))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        data = self._data
        sessions, memory = data.get("sessions", {}), data.get("memory", {})
        conserve = data.get("conserve", {})
        return as_html(f"fwcore: {data.get('personality', '')}", {
            "packets": data.get("packets", 0),
            **{f"verdict {name}": count for name, count in data.get("verdicts", {}).items()},
            "sessions created": sessions.get("created", 0), "at most": sessions.get("peak", 0),
            "memory tension": data.get("memory_tension", 0),
            "pages used at most": memory.get("peak", {}).get("used", 0),
            "of": memory.get("total_pages", 0), "conserve mode": conserve.get("label", "off"),
            "transitions": len(conserve.get("transitions", ())),
            "outcome": data.get("outcome", ""),
        })

    def iter_sessions(self) -> Iterator[np.void]:
        """The sessions that stood at the end, record by record (empty when none were kept)."""
        return iter(self._table("sessions") if "sessions" in self._tables else ())

    # -- files ----------------------------------------------------------------------------------

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The result as JSON text; written to `path` when one is given.

        A line a key, and a line a row of a table.
        """
        text = laid_out(self._data) + "\n"
        if path is not None:
            with Output(path) as output:
                output.write(text.encode())
        return text

    @classmethod
    def from_json(cls, text: str | bytes) -> Result:
        """A Result from `to_json`'s text; FwcoreError when it is something else."""
        if not isinstance(text, str | bytes):
            raise FwcoreError(f"not a result: {text!r:.80} is no text")
        return cls(_read(text))

    def save_state(self, path: str | os.PathLike[str]) -> None:
        """Writes the state file: this result and its tables, not compressed: zlib would take
        longer for a million sessions than judging their packets did."""
        import zipfile  # which most runs need not wait for

        with Output(path) as output, zipfile.ZipFile(output.streamed(), "w") as archive:
            text = np.frombuffer(self.to_json().encode(), dtype=np.uint8)
            _store(archive, JSON_MEMBER, text.dtype, len(text), [text])
            for name, table in [*self._tables.items()]:
                if isinstance(table, Blocked):
                    _store(archive, name, table.dtype, table.rows, table.blocks())
                else:
                    made = self._table(name)
                    _store(archive, name, made.dtype, len(made), [made])

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Result:
        """A Result from a JSON or a state file, told apart by their first bytes."""
        try:
            raw = infile.read(path, RESULT_MOST, _may_be)
        except OSError as error:
            raise FwcoreError(f"{path}: cannot be read: {error.strerror}") from None
        if raw[:4] in CAPTURES or {".pcap", ".pcapng", ".cap"} & set(Path(path).suffixes):
            raise FwcoreError(f"{path}: this is a capture: use fwcore replay")
        try:
            if raw[:2] == b"PK":
                return cls._from_state(raw)
            return cls.from_json(raw)
        except FwcoreError as error:
            raise FwcoreError(
                f"{path}: neither a result (--json) nor a state file (--state): {error}"
            ) from None

    @classmethod
    def _from_state(cls, raw: bytes) -> Result:
        try:
            with np.load(io.BytesIO(raw), allow_pickle=False) as members:
                if JSON_MEMBER not in members.files:
                    raise FwcoreError(f"no {JSON_MEMBER} in the archive")
                _hold(members.zip, JSON_MEMBER, np.dtype(np.uint8), JSON_MOST)
                data = _read(members[JSON_MEMBER].tobytes())
                tables = {}
                for name in members.files:
                    if name != JSON_MEMBER:
                        _hold(members.zip, name, SESSION_DTYPE, data["sessions"]["live"])
                        tables[name] = members[name]
        except FwcoreError:
            raise
        except Exception as error:     # of zipfile, zlib and NumPy: the archive is what is wrong
            raise FwcoreError(f"a damaged archive: {str(error)[:200]}") from None
        return cls(data, tables)


def _may_be(head: bytes) -> bool:
    """Whether a file that begins so can be a result or a state file."""
    return head[:2] == b"PK" or head.lstrip()[:1] == b"{"


def _hold(archive: Any, name: str, dtype: np.dtype[Any], most: int) -> None:
    """Raises FwcoreError unless a member is a table of at most ``most`` rows of a type.

    Asked before it is unpacked: an archive of a few bytes may unpack to any number of them.
    """
    with archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        header = (np.lib.format.read_array_header_1_0 if version == (1, 0)
                  else np.lib.format.read_array_header_2_0)
        extent, _, found = header(member)
    if len(extent) != 1 or found != dtype:
        raise FwcoreError(f"{name} in the archive is no table of ours")
    if not 0 <= extent[0] <= most:
        raise FwcoreError(f"{name} in the archive has {extent[0]} rows, where the result knows"
                          f" {most}")


def as_html(title: str, figures: Mapping[str, Any]) -> str:
    """A table of two columns."""
    from html import escape

    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:right'>"
        f"{escape(f'{value:,}' if isinstance(value, int) else str(value))}</td></tr>"
        for name, value in figures.items())
    return f"<table><caption>{escape(title)}</caption><tbody>{rows}</tbody></table>"


def timeline_columns(timeline: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The timeline's columns (n,) by name; nested groups get their singular as a prefix."""
    columns: dict[str, np.ndarray] = {}
    for name, value in timeline.items():
        if isinstance(value, Mapping):
            prefix = name[:-1] if name.endswith("s") else name
            columns.update({f"{prefix}_{key}": np.asarray(part) for key, part in value.items()})
        else:
            columns[name] = np.asarray(value)
    return columns


def rows_to_array(rows: list[dict[str, Any]], known: Iterable[str] = ()) -> np.ndarray:
    """Rows of plain values -> structured array; a key missing from a row becomes 0 or ''.

    The ``known`` columns stand first, also when no row has them.
    """
    columns: dict[str, np.ndarray] = {}
    for name in dict.fromkeys([*known, *(key for row in rows for key in row)]):
        values = [row.get(name) for row in rows]
        if any(isinstance(value, dict | list) for value in values):
            continue  # nested figures (a transition's snapshot) have no place in a flat table
        is_text = name in TEXT_COLUMNS or any(isinstance(value, str) for value in values)
        filler: Any = "" if is_text else 0
        columns[name] = np.asarray([filler if value is None else value for value in values],
                                   None if values else "U1" if is_text else "i8")
    return as_table(columns)


def _read(text: str | bytes) -> dict[str, Any]:
    """The result that a JSON text is; FwcoreError with the place where it is none."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise FwcoreError(f"not a result: {error}") from None
    except RecursionError:
        raise FwcoreError("not a result: nested too deeply") from None
    if not isinstance(data, dict) or "schema" not in data:
        raise FwcoreError("the JSON has no 'schema'")
    if data["schema"] != SCHEMA:
        raise FwcoreError(f"its schema is {data['schema']}, this fwcore reads {SCHEMA}")
    from fwcore import schema  # for whoever reads one

    schema.check(data, schema.RESULT)
    return data


def laid_out(value: Any, margin: str = "") -> str:
    """JSON: a line a key, and a line a row of a table; within them by the encoder in C."""
    within = margin + " "
    if isinstance(value, Mapping) and value:
        lines = [f"{within}{json.dumps(str(name))}: {laid_out(each, within)}"
                 for name, each in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{margin}}}"
    if isinstance(value, list) and value and isinstance(value[0], Mapping | list):
        return "[\n" + ",\n".join(within + ENCODER.encode(row) for row in value) + f"\n{margin}]"
    return ENCODER.encode(value)


def plain(value: Any) -> Any:
    """What JSON does not know, as what it knows: NumPy's scalars and arrays, paths, mappings."""
    if isinstance(value, np.integer | np.floating | np.bool_):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in a result")


ENCODER = json.JSONEncoder(default=plain)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{...}"
    return f"[{len(value)}]" if isinstance(value, list) else repr(value)
