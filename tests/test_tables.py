"""Tables of an engine as other programs open them: pandas, pyarrow, what takes Arrow's streams."""

import pickle
import re

import numpy as np
import pytest
from frames import chunk, dns, ethernet, ip, tcp

from fwcore import Engine, Result, TcpState
from fwcore.tables import Rows

pandas = pytest.importorskip("pandas")
pyarrow = pytest.importorskip("pyarrow")

LINE = {
    "links": [{"name": "wan", "rate": "80kbit"}, {"name": "lan", "rate": "8Mbit"}],
    "meters": [{"name": "all", "rungs": [{"rate": 800_000, "depth": 10_000}]}],
    "shapings": [{"meters": ["all"], "link": "wan"}],
}
SYN6 = ethernet(ip("2001:db8::1", "2001:db8::2", 6, tcp(1000, 80, "S")))


@pytest.fixture
def engine():
    with Engine(max_connections=4, when_full="replace_oldest", log=True, departures=True,
                arrivals=True, **LINE) as made:
        made.process(chunk([dns(number) for number in range(1, 6)] + [SYN6]))
        yield made


@pytest.mark.parametrize("look", [Engine.sessions, Engine.departures, Engine.arrivals])
def test_each_column_is_told_of_where_its_rows_come_from(engine, look):
    """Sessions referred to a struct of the data plane, which no user of Python sees."""
    told = set(re.findall(r"\w+", look.__doc__))
    assert set(look(engine).dtype.names) - {"pad"} <= told


def test_each_column_of_a_timeline_is_told_of(engine):
    told = set(re.findall(r"\w+", Result.array.__doc__))
    columns = engine.result().array("timeline").dtype.names
    assert {name for name in columns if not name.startswith(("reason_", "verdict_"))} <= told


def test_sessions_open_in_pandas_as_they_are(engine):
    rows = engine.sessions()
    for frame in (pandas.DataFrame(rows), rows.to_pandas()):
        assert len(frame) == 4
        assert frame["initiator"].iloc[-1] == "2001:db8::1"
        assert frame["responder_port"].tolist() == [53, 53, 53, 80]
        assert frame["state"].iloc[-1] == "syn_sent" and frame["protocol"].iloc[0] == "udp"
        assert frame["packets_forward"].tolist() == [1] * 4
        assert frame["cause"].tolist() == ["live"] * 4
    assert rows.to_pandas().index.name == "time"
    assert str(rows.to_pandas().index.dtype) == "datetime64[ns, UTC]"
    assert pandas.DataFrame(rows[:0]).columns.tolist() == [*rows.columns()]
    assert pandas.DataFrame(rows[rows["protocol"] == 6])["initiator"].tolist() == ["2001:db8::1"]
    assert [*pandas.DataFrame(rows[["state", "policy"]])] == ["state", "policy"]


def test_victims_and_ended_sessions_too(engine):
    for rows in (engine.victims(), engine.ended(), engine.collect_ended()[0]):
        assert pandas.DataFrame(rows)["cause"].tolist() == ["evicted"] * 2
    assert pandas.DataFrame(engine.top_hosts()).columns.tolist() == ["host", "sessions"]


def test_departures_and_arrivals_name_links_and_fates(engine):
    engine.drain()
    arrivals, departures = engine.arrivals().to_pandas(), engine.departures().to_pandas()
    assert departures["link"].unique().tolist() == arrivals["link"].unique().tolist() == ["wan"]
    assert departures["fate"].tolist() == ["sent"] * 6
    assert arrivals["meter_1"].tolist() == ["all"] * 6 and arrivals["meter_2"].tolist() == [""] * 6
    assert "pad" not in arrivals and "pad_1" not in arrivals


def test_whoever_takes_arrow_takes_rows(engine):
    rows = engine.sessions()
    table = pyarrow.table(rows)
    assert table.equals(rows.to_arrow()) and table.num_rows == 4
    assert table["initiator"].to_pylist()[-1] == "2001:db8::1"
    assert engine.result().to_arrow("sessions").num_rows == 4


def test_rows_are_arrays_still(engine):
    rows = engine.sessions()
    assert isinstance(rows, Rows) and isinstance(rows[1:], Rows)
    assert type(rows["state"]) is np.ndarray and isinstance(rows[0], np.void)
    assert (rows["state"] == TcpState.SYN_SENT).tolist() == [False] * 3 + [True]
    assert rows["initiator"].shape == (4, 16)
    again = pickle.loads(pickle.dumps(rows))
    assert type(again) is Rows and np.array_equal(again, rows)
    heard = []
    engine.on("new_session", lambda batch: heard.extend(batch.rows.to_pandas()["initiator"]))
    engine.process(chunk([dns(7)]))
    assert heard == ["10.0.0.7"]


def test_without_its_family_an_address_is_what_it_is(engine):
    only = engine.sessions()[["initiator"]].columns()["initiator"]
    assert only[-1] == bytes.fromhex("20010db8") + bytes(11) + b"\1"
