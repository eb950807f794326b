"""Who listens to an engine, who is asked, and what is refused when it is given."""

import pytest
from frames import chunk, dns

from fwcore import DataError, Engine, EngineClosed, SettingsError


def test_who_fails_costs_no_other_a_batch_and_who_listens_may_end_itself():
    def failing(batch):
        raise KeyError(len(batch))

    def once(batch):
        heard.append((len(batch), batch.lost))
        stop()

    heard = []
    with Engine(max_connections=64) as engine:
        engine.on("new_session", failing)
        stop = engine.on("new_session", once)
        with pytest.raises(KeyError, match="2"):
            engine.process(chunk([dns(1), dns(2)]))
        with pytest.raises(KeyError, match="1"):
            engine.process(chunk([dns(3)]))
    assert heard == [(2, 0)]


@pytest.mark.parametrize("register", ["on", "inspect", "decide"])
def test_what_is_no_function_is_refused_when_it_is_given(register):
    with Engine(max_connections=4) as engine:
        words = ("event",) if register == "on" else ()
        for wrong in (None, 5, "print"):
            with pytest.raises(SettingsError, match="is no function"):
                getattr(engine, register)(*words, wrong)
        engine.process(chunk([dns(1)]))


def test_times_are_looked_at_before_the_first_packet_too():
    with Engine(max_connections=4) as engine:
        for wrong in ("x", None, -5, 2**62 + 1, 1.5, True):
            with pytest.raises(DataError, match="time "):
                engine.advance(wrong)
        engine.advance(2**62)
    with pytest.raises(EngineClosed), engine:
        pass
