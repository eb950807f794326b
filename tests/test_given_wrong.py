"""What is wrong in what is given: whatever it is, wherever it stands, it is refused in our words.

Every public function and method of the package is called with values of every kind for each of its
parameters; what comes is an answer, or an error of the family.
"""

import inspect
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from frames import chunk, dns

import fwcore
from fwcore import DataError, Engine, FlowError, FwcoreError, MissingName, SettingsError, flow
from fwcore.replay import replay
from fwcore.settings import BY_NAME

ROOT = Path(__file__).parent.parent
CAPTURE = str(ROOT / "pcaps" / "web.pcap")


class Odd:
    """Nothing that anybody asks for."""


WRONG = [
    None, "x", "", "a\0b", "\ud800", b"x", 1.5, float("nan"), float("inf"), -1, 2**31, 2**63,
    10**30, -2**70, [], [1], [None], ["x"], [[]], {}, {"x": 1}, {1: 2}, (), (1, 2), set(), Odd(),
    np.zeros(3), np.zeros(2, np.int64), np.zeros((2, 2), np.uint8), np.zeros(0, np.uint32),
    np.float64(3), 3j, ...,
]  # fmt: skip
GOOD = {
    "frames": [bytes(60)], "times_ns": [0], "frame": bytes(60), "now_ns": 0,
    "chunk": chunk([dns(5)]), "kind": "event", "function": str, "time_ns": 0,
    "source": "10.0.0.1", "source_port": 1,
    "destination": "10.0.0.2", "destination_port": 2, "owner": "base", "amount": 1, "mode": None,
    "offsets": np.zeros(1, np.uint64), "captured": np.zeros(1, np.uint32), "buffer": b"xx",
    "name": "victims", "chunks": [], "start": 0, "stop": 1, "mask": np.ones(1, bool), "i": 0,
    "path": "out", "message": "m", "text": "{}", "rows": [], "key": "packets",
}  # fmt: skip
ASKED = {"inspect", "decide", "on"}     # functions, which are asked for answers later


def engine():
    made = Engine(max_connections=16, log=True)
    made.process(chunk([dns(1), dns(2)]))
    return made


def methods(of):
    """Public methods that Python can be asked about, of an object or a class."""
    return [name for name in dir(of) if not name.startswith("_")
            and inspect.isroutine(getattr(of, name)) and not hasattr(dict, name)]


def calls(function):
    """(what is wrong, arguments by place, by name): every parameter with every value."""
    parameters = inspect.signature(function).parameters.values()
    for wrong in parameters:
        needed = [each for each in parameters if each is not wrong and each.default is each.empty
                  and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
        for value in WRONG:
            named = {each.name: GOOD[each.name] for each in needed}
            if wrong.kind is wrong.VAR_POSITIONAL:
                yield wrong.name, value, [*named.values(), value], {}
            elif wrong.kind is wrong.VAR_KEYWORD:
                yield wrong.name, value, [], {**named, "udp_s": value}
            else:
                yield wrong.name, value, [], {**named, wrong.name: value}


def refused_or_done(what, function, /, *given, **named):
    """Calls it; fails for an error that is not of the family."""
    try:
        found = function(*given, **named)
        if hasattr(found, "__next__"):
            next(found, None)
    except (FwcoreError, MemoryError):
        pass
    except Exception as error:
        pytest.fail(f"{what}: {type(error).__name__}: {error}", pytrace=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", methods(Engine))
def test_engine(folder, name):
    made = engine()
    for wrong, value, given, named in calls(getattr(made, name)):
        refused_or_done(f"{name}({wrong}={value!r:.40})", getattr(made, name), *given, **named)
        if made.closed or name in ("restart", *ASKED) or wrong == "changes":
            made = engine()
    assert all(made.laws().values())


def test_a_new_engine(folder):
    for wrong, value, given, named in calls(Engine):
        refused_or_done(f"Engine({wrong}={value!r:.40})", Engine, *given, **named)


def test_a_flow_by_any_name(folder):
    made = engine()
    for value in WRONG:
        for what in (value, (value,) * 5, flow.Flow(value, value, value), {"flow": value}):
            refused_or_done(f"{what!r:.40} in engine", lambda it=what: it in made)
            refused_or_done(f"end({what!r:.40})", made.end, what)
        refused_or_done(f"lookup({value!r:.40})", made.lookup, *[value] * 6)
        refused_or_done(f"sessions(f -> {value!r:.40})", made.sessions, lambda _, it=value: it)
        for field in (*made.sessions().dtype.names, "host", "port"):
            refused_or_done(f"sessions({field}={value!r:.40})", made.sessions, {field: value})
    assert len(made.sessions(lambda rows: rows["responder_port"] == 53)) == len(made)


@pytest.mark.parametrize("asked", ["inspect", "decide"])
def test_answers_of_functions(asked):
    for value in WRONG:
        made = Engine("fortios-7", policies=[{"id": 1, "inspection": "proxy"}], max_connections=16)
        getattr(made, asked)(lambda _, it=value: it)
        refused_or_done(f"{asked} -> {value!r:.40}", made.process, chunk([dns(1)]))


@pytest.mark.parametrize("name", [*BY_NAME, "timeouts", "policies", "pressure", "base_items",
                                  "meters", "links", "classes", "shapings", "wirings"])
def test_settings(name):
    made = engine()
    for value in WRONG:
        refused_or_done(f"load({name}={value!r:.40})", fwcore.load, **{name: value})
        refused_or_done(f"configure({name}={value!r:.40})", made.configure, **{name: value})
    for key in ("id", "name", "zone", "source", "destination", "protocol", "ports", "action",
                "inspection") if name == "policies" else ():
        for value in WRONG:
            refused_or_done(f"policy {key}={value!r:.40}", made.configure, policies=[{key: value}])


@pytest.mark.parametrize("function", [
    fwcore.load, fwcore.Chunk.from_frames, fwcore.Chunk.from_array, fwcore.Chunk.from_buffer,
    fwcore.Chunk.concatenate, fwcore.Result.load, fwcore.Result.from_json, Engine.restore,
    flow.parse, fwcore.open_capture,
    *(getattr(fwcore.load(), name) for name in methods(fwcore.load())),
    *(getattr(GOOD["chunk"], name) for name in ("slice", "select", "frame")),
], ids=lambda function: function.__qualname__)  # fmt: skip
def test_functions(folder, monkeypatch, function):
    if function is fwcore.Chunk.from_array:
        monkeypatch.setitem(GOOD, "frames", np.zeros((1, 60), np.uint8))
    if function is fwcore.open_capture:
        monkeypatch.setitem(GOOD, "path", CAPTURE)
    for wrong, value, given, named in calls(function):
        refused_or_done(f"{wrong}={value!r:.40}", function, *given, **named)


@pytest.mark.slow
def test_replay(folder, monkeypatch):
    monkeypatch.setitem(GOOD, "source", CAPTURE)
    for wrong, value, given, named in calls(replay):
        refused_or_done(f"replay({wrong}={value!r:.40})", replay, *given, **{**named, "limit": 9}
                        if wrong != "limit" else named)


def test_a_result(folder):
    found = engine().result()
    for name in methods(found):
        for wrong, value, given, named in calls(getattr(found, name)):
            refused_or_done(f"{name}({wrong}={value!r:.40})", getattr(found, name), *given, **named)
    for value in WRONG:
        refused_or_done(f"result[{value!r:.40}]", lambda it=value: found[it])
        assert value not in found
    with pytest.raises(MissingName, match=r"^no table 'foo'; there are victims"):
        found.to_pandas("foo")
    with pytest.raises(KeyError):
        found["nobody.knows"]


def test_a_number_is_no_file_that_is_open_already(folder):
    """It would be written to, and closed."""
    with open("own", "wb") as own:
        for save in (engine().save, engine().result().to_json, engine().result().save_state):
            with pytest.raises(FwcoreError, match="is no path"):
                save(own.fileno())
        os.fstat(own.fileno())
    for load in (Engine.restore, fwcore.Result.load):
        with pytest.raises(FwcoreError, match="is no path"):
            load(0)


def test_what_is_said(folder):
    made = engine()
    for kind, call in {
        SettingsError: lambda: Engine(log="x"), FlowError: lambda: made.sessions(limit="3"),
        DataError: lambda: made.top_hosts("x"),
    }.items():
        with pytest.raises(kind):
            call()
    with pytest.raises(FlowError, match=r"2 rows want bool\[2\]"):
        made.sessions(lambda _: 1)
    policies = iter([{"id": 3, "action": "deny"}])
    assert [each.id for each in Engine(policies=policies, max_connections=4).policies] == [3]


def test_the_fast_path_alone():
    """No part of what others call, and still: what it is given is refused in our own words."""
    keeper = {"judge", "judge_frames"}     # Python's words for a keeper that is none
    for name in methods(engine().fastpath):
        function = getattr(engine().fastpath, name)
        count = len(inspect.signature(function).parameters)
        refusals = (FwcoreError, TypeError, AttributeError) if name in keeper else FwcoreError
        for value in WRONG if count else ():
            with suppress(refusals):
                getattr(engine().fastpath, name)(*[value] * count)
