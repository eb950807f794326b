"""A closed engine: whatever is asked of it is refused by one error; what was noted stays."""

import inspect
import pickle

import pytest
from frames import chunk, dns

from fwcore import Engine, EngineClosed

NOTED = ("closed", "close", "restore")     # what a closed engine still is, and what needs none
GIVEN = {
    "chunk": chunk([dns(1)]), "time_ns": 0, "now_ns": 0, "frame": bytes(60), "frames": [bytes(60)],
    "times_ns": [0], "path": "nowhere", "owner": "base", "amount": 1, "mode": None, "kind": "event",
    "function": print, "source": "10.0.0.1", "source_port": 1, "destination": "10.0.0.2",
    "destination_port": 2,
}
MEMBERS = [name for name in dir(Engine) if not name.startswith("_") and name not in NOTED]


@pytest.fixture
def closed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Engine("fortios-7", max_connections=16, log=True)
    made.process(chunk([dns(1), dns(2)]))
    made.close()
    return made


def test_there_are_members():
    assert {"mode", "judged", "begun_ns", "shaping", "configure", "process"} <= set(MEMBERS)


def asked(engine, name):
    """A property, or a method with what it needs."""
    member = getattr(engine, name)
    parameters = inspect.signature(member).parameters.values()
    return member(**{each.name: GIVEN[each.name] for each in parameters
                     if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD})


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_is_refused(closed, name):
    with pytest.raises(EngineClosed):
        asked(closed, name)


@pytest.mark.parametrize("ask", [
    len, iter, pickle.dumps, lambda engine: dns(1) in engine, lambda engine: engine.__enter__(),
    lambda engine: engine._repr_html_()], ids=["len", "iter", "pickle", "in", "with", "html"])
def test_so_is_what_python_asks(closed, ask):
    with pytest.raises(EngineClosed):
        ask(closed)


def test_what_was_noted_stays(closed):
    assert closed.closed and bool(closed) and "Engine" in repr(closed)
    closed.close()
    closed.__exit__(None, None, None)
    assert closed.settings.max_connections == 16 and closed.policies[0].id == 0
    assert list(closed.events) == list(closed.transitions) == []
