"""--lru: what least-recently-used would have taken, against an engine asked at every packet."""

import json
from pathlib import Path

import numpy as np
import pytest
from frames import ethernet, ip, tcp, udp
from hypothesis import example, given, strategies as st

from fwcore import Engine, TcpState, cli
from fwcore.capture import Chunk
from fwcore.errors import SettingsError
from fwcore.replay import replay
from fwcore.replay.recency import CHOSEN
from fwcore.report.answer import sentences
from fwcore.settings import load

S = 10**9
PCAPS = sorted((Path(__file__).parent.parent / "pcaps").glob("*.pcap*"))
LOCAL = [{"id": 1, "protocol": "tcp", "action": "local"}, {"id": 2, "action": "accept"}]


WORDS = ("", "", ">S", ">S", ">S", "<SA", "<SA", ">A", ">A", "<A", ">FA", "<FA", ">R", "<R", ">F")


def frame(port: int, word: str = "") -> bytes:
    """UDP, or a segment: '>' the client's, '<' the server's, and its flags."""
    ends, ports = ("10.0.0.1", "192.0.2.1"), (2000 + port, 80)
    if not word:
        return ethernet(ip(*ends, 17, udp(port, 53)))
    turn = 1 if word[0] == ">" else -1
    return ethernet(ip(*ends[::turn], 6, tcp(*ports[::turn], word[1:])))


def chunk(packets) -> Chunk:
    return Chunk.from_frames([frame(*rest) for _, *rest in packets], [at for at, *_ in packets])


def by_asking(packets, settings):
    """Before each packet the table's idle times and states are read, after it what was taken.

    A session, known by the packet that made it, is chosen once.
    """
    idle: list[int] = []
    states: list[int] = []
    chosen: set[int] = set()
    with Engine(settings, log=True) as engine:
        for at, *rest in packets:
            engine.advance(at)
            engine.collect_ended()
            table, flow = engine.sessions(), np.zeros(1, np.uint64)
            engine.process(Chunk.from_frames([frame(*rest)], [at]), flow)
            ended = np.concatenate([*engine.collect_ended(), table[:0]])
            taken = ended["flow"][np.isin(ended["cause"], CHOSEN)]
            free = table[(table["flow"] != flow[0]) | np.isin(table["flow"], taken)]
            if settings.policies:
                free = free[free["protocol"] != 6]
            free = free[~np.isin(free["created_packet"], list(chosen))]
            free = np.sort(free, order="last_seen_ns")[:len(taken)]
            chosen |= set(free["created_packet"].tolist())
            idle += (at - free["last_seen_ns"]).tolist()
            states += free["state"].tolist()
    return idle, states


@given(
    steps=st.lists(st.tuples(st.integers(1, 3 * S), st.integers(1, 9), st.sampled_from(WORDS)),
                   min_size=1, max_size=60),
    personality=st.sampled_from(["plain", "fortios-7", "cos-core", "linux-conntrack"]),
    local=st.booleans(), size=st.sampled_from([1, 7, 8192]))
@example([(0, 1, ">S"), (0, 4, ""), (1, 1, ""), (0, 2, ""), (S - 1, 3, "")],
         "fortios-7", True, 1)      # TCP to the firewall itself is no candidate
@example([(1, 1, ">S"), (1, 1, "<R"), (1, 1, ">S"), (1, 1, ">S"), (1, 2, ">S"), (1, 3, ""),
          (1, 4, ">A"), (1, 5, ">S")], "linux-conntrack", False, 7)     # gone, ignored, taken
def test_it_is_what_the_table_says(steps, personality, local, size):
    packets, now = [], S
    for step, port, word in steps:
        now += step
        packets.append((now, port, word))
    settings = load(personality, max_connections=4, buckets=2, udp_s=9,
                    policies=LOCAL if local and personality == "fortios-7" else ())
    parts = [chunk(packets[at:at + size]) for at in range(0, len(packets), size)]
    result = replay(parts, settings, lru=True)
    idle, states = by_asking(packets, settings)
    row = result["lru"]
    assert row["established"] == states.count(TcpState.ESTABLISHED)
    assert result["laws"]["recency"]
    assert row["sessions"] == len(idle) and sum(row["idle"].values()) == len(idle)
    assert row["active"] == sum(each < S for each in idle)
    assert row["same"] <= row["sessions"] <= result["taken"]["sessions"]


def test_the_oldest_may_be_the_busiest():
    """Session 1 is the oldest of its bucket, and talks all the time; 2 has been silent."""
    packets = [(S, 1), (2 * S, 2), (3 * S, 3), (20 * S, 1), (20 * S + 1, 4)]
    settings = load("plain", max_connections=3, buckets=1)
    result = replay(chunk(packets), settings, lru=True)
    assert result["taken"]["active"] == 1 and result["victims"][0]["created_packet"] == 1
    assert result["lru"] == {"sessions": 1, "same": 0, "established": 0, "active": 0, "idle": {
        "below_1s": 0, "below_10s": 0, "below_60s": 1, "below_600s": 0, "from_600s": 0}}
    assert "lru" not in replay(chunk(packets), settings).data


@pytest.mark.parametrize("path", PCAPS, ids=lambda path: path.name)
def test_the_law_holds_on_every_capture(path):
    for personality in ("plain", "fortios-7", "linux-conntrack"):
        settings = load(personality, max_connections=8, buckets=3, max_step_s=0.5)
        assert replay(path, settings, lru=True)["laws"]["recency"]


def test_a_user_reads_it(tmp_path, capfd):
    given = ["replay", str(PCAPS[-1]), "--lru", "--set", "max_connections=8"]
    assert cli.main([*given, "--json", str(tmp_path / "r.json")]) == 0
    said = capfd.readouterr().out
    row = json.loads((tmp_path / "r.json").read_text())["lru"]
    assert row["sessions"] > 0
    assert f"of {row['sessions']} the same" in " ".join(said.split())
    assert cli.main(["report", str(tmp_path / "r.json")]) == 0
    assert capfd.readouterr().out == said


def test_what_the_oldest_were_doing_is_said():
    """Linux takes what is not assured; least-recently-used the connection that has been silent."""
    words = [(S, 1, ">S"), (S + 1, 1, "<SA"), (S + 2, 1, ">A"), (S + 3, 1, ">A"), (2 * S, 2, ">S"),
             (3 * S, 3, ">S")]
    settings = load("linux-conntrack", max_connections=2, buckets=1)
    result = replay(chunk(words), settings, lru=True)
    assert result["taken"]["established"] == 0 and result["lru"]["established"] == 1
    assert ("least-recently-used would have taken 1: 1 established, none active"
            in " ".join(sentences(result)))


def test_a_session_is_chosen_once():
    """Linux spares the one established connection of a flood; least-recently-used takes it once."""
    path = PCAPS[0].parent / "syn-flood.pcap"
    settings = load("linux-conntrack", max_connections=64, buckets=16)
    result = replay(path, settings, lru=True)
    row, taken = result["lru"], result["taken"]["sessions"]
    assert row["established"] == 1 and taken - 64 <= row["sessions"] <= taken
    assert (f"least-recently-used would have taken {row['sessions']}: 1 established,"
            in " ".join(sentences(result)))


def test_what_a_meter_dropped_has_made_its_session():
    rows = {"meters": [{"name": "slow", "rungs": [{"rate": 8, "depth": 64}]}],
            "shapings": [{"id": 1, "meters": ["slow"]}]}
    settings = load("plain", max_connections=2, buckets=1, **rows)
    result = replay(chunk([(S + at, at) for at in range(1, 6)]), settings, lru=True)
    assert result["reasons"]["over_limit"] and result["laws"]["recency"]
    assert result["lru"]["sessions"] == 3


def test_where_it_could_not_be_exact_it_is_refused():
    rows = {"links": [{"name": "w", "rate": "1Mbit"}], "shapings": [{"id": 1, "link": "w"}]}
    with pytest.raises(SettingsError, match="lru"):
        replay(chunk([(S, 1)]), load("plain", queue_accounting="bytes", **rows), lru=True)
