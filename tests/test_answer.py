"""The sentences on top: each number is one of the result's, and nothing is said that is not so."""

from pathlib import Path

import fake
import numpy as np
import pytest
from frames import ethernet, ip, tcp, udp

from fwcore._layout import Verdict
from fwcore.capture import Chunk
from fwcore.replay import replay
from fwcore.replay.beside import replay_beside
from fwcore.report import answer, compare, compare_text, facts, html, text
from fwcore.result import Result
from fwcore.settings import load

PCAPS = Path(__file__).parent.parent / "pcaps"


@pytest.fixture(scope="module")
def conserve():
    return load(file=PCAPS / "conserve.toml")


def flood(count):
    """SYNs of as many hosts, 1 ms apart, after one connection that goes on until the end."""
    ends = ip("10.9.9.9", "192.0.2.1", 6, tcp(1000, 443, "A", 10))
    frames = [ethernet(ip("10.9.9.9", "192.0.2.1", 6, tcp(1000, 443, "S"))),
              ethernet(ip("192.0.2.1", "10.9.9.9", 6, tcp(443, 1000, "SA"))), ethernet(ends)]
    for n in range(count):
        host = f"11.{n >> 8 & 255}.{n & 255}.1"
        frames.append(ethernet(ip(host, "192.0.2.1", 6, tcp(2000, 443, "S"))))
        if n % 16 == 0:
            frames.append(ethernet(ends))
    return Chunk.from_frames(frames, [n * 10**6 for n in range(len(frames))])


def test_a_mode_that_passed(conserve):
    result = replay(PCAPS / "conserve.pcap", conserve)
    mode, cost, whom = answer.sentences(result)
    rows = result["conserve"]["transitions"]
    assert mode == "Conserve mode 30 s, 8 s of it extreme; packets 1 629 to 3 277."
    assert (rows[0]["packet"], rows[-1]["packet"]) == (1629, 3277)
    assert cost.startswith("41 sessions, 228 KiB passed unscanned (7 packets of these after the")
    assert "83 packets refused" in cost and answer.refused(result) == 83
    assert whom.startswith("Hit most: host 10.1.1.39 (") and "policy 3" in whom


def test_two_machines_side_by_side_are_one_spell():
    settings = load("fortios-4", PCAPS.parent / "docs" / "legacy.toml")
    result = replay(PCAPS / "conserve.pcap", settings)
    assert len(result["conserve"]["transitions"]) == 4
    assert answer.sentences(result)[0] == "Conserve mode 35 s; packets 1 249 to 3 240."


def test_nothing_happened():
    result = replay(PCAPS / "web.pcap", load("fortios-7"))
    assert answer.sentences(result) == [
        "Conserve mode was never on: memory in use rose to 60.0 %.",
        "Nothing was lost for want of memory or room, and nothing passed unscanned."]
    assert not facts.eventful(result) and "\u2508" not in text.summary(result)


def test_what_was_dropped_otherwise_is_no_secret():
    """Conserve mode from the first packet on, policies that inspect nothing, midstream refused."""
    frames = [ethernet(ip("10.0.0.1", "192.0.2.1", 6, tcp(port, 80, "A"))) for port in range(1, 4)]
    settings = load("fortios-7", base_bytes="90%", midstream="drop",
                    policies=[{"id": 7, "inspection": "none", "action": "accept"}])
    result = replay(Chunk.from_frames(frames, range(3)), settings)
    _, cost, whom, nothing = answer.sentences(result)
    assert cost == ("Nothing was lost for want of memory or room, and nothing passed unscanned;"
                    " 3 packets dropped otherwise (no_session 3).")
    assert whom == "Hit most: host 10.0.0.1 (3 packets dropped) and policy 7 (3 packets dropped)."
    assert nothing == answer.NOTHING_INSPECTED
    assert "10.0.0.1  3 · 162 B" in text.summary(result)
    met = replay(PCAPS / "conserve.pcap", load(None, PCAPS / "conserve.toml"))
    assert answer.NOTHING_INSPECTED not in answer.sentences(met)


@pytest.mark.parametrize(("days", "said"), [
    (2000, "2000 d 00 h of the capture passed without a packet, before packet 4;"
           " durations count them"),
    (0, "")])
@pytest.mark.parametrize("chunk_size", [1, 3, 4096])
def test_a_capture_that_is_mostly_silence_says_so(days, said, chunk_size):
    frames = [ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(port, 53))) for port in range(1, 7)]
    times = [n * 10**9 + (n >= 3) * days * 86_400 * 10**9 for n in range(len(frames))]
    result = replay(Chunk.from_frames(frames, times), load("fortios-7"), chunk_size=chunk_size)
    assert facts.silence(result) == said
    for shown in (text.summary(result), html.render(result)):
        assert ("passed without a packet" in " ".join(shown.split())) is bool(said)
    named = {name: load("fortios-7", max_connections=number)
             for name, number in (("a", 10), ("b", 20))}
    made = compare.run([Chunk.from_frames(frames, times)], named, replay_beside)
    shown = " ".join(compare_text.show(made.to_dict()).split())
    assert ("passed without a packet" in shown) is bool(said)


def test_a_flood_took_no_connection_that_was_established():
    settings = load("linux-conntrack", max_connections=64)
    result = replay([flood(600)], settings)
    table, cost, _ = answer.sentences(result)
    taken = result["sessions.ended.evicted"]
    assert table == "The connection table was full (64)."
    assert f"{taken} sessions taken (none established, " in cost and taken > 400
    assert result.data["taken"]["idle"]["below_1s"] == result["taken.active"] == taken


def test_a_stampede_took_the_established_one_too():
    settings = load("plain", max_connections=64, when_full="replace_oldest", midstream="drop")
    row = replay([flood(600)], settings).data["taken"]
    assert row["established"] == 1 and row["sessions"] == sum(row["idle"].values()) > 400


@pytest.mark.parametrize("chunk_size", [1, 64, 8192])
def test_what_went_on_unscanned_after_the_mode(conserve, chunk_size):
    """Counted anew from each packet's verdict and the transitions' packets."""
    seen = []
    result = replay(PCAPS / "conserve.pcap", conserve, chunk_size=chunk_size, limit=3600,
                    flows=lambda judged: seen.append(
                        np.column_stack([judged.number, judged.outcome[:, 0], judged.flow])))
    rows = np.concatenate(seen)
    first, last = (result["conserve"]["transitions"][at] for at in (0, -1))
    assert (first["cause"], last["cause"], last["to"]) == ("time", "time", "off")
    after = rows[(rows[:, 1] == Verdict.BYPASS) & (rows[:, 0] >= last["packet"])]
    assert result.data["exposure"]["after"]["packets"] == len(after) > 0
    assert result.data["exposure"]["after"]["sessions"] == len(np.unique(after[:, 2]))


def test_of_forgotten_transitions_nothing_is_said(conserve):
    result = replay(PCAPS / "conserve.pcap", conserve.replace(transitions_max=2))
    assert "after" not in result.data["exposure"]
    assert "after the mode" not in " ".join(answer.sentences(result))


def test_an_older_result_has_its_sentences_too():
    data = fake.make(ends="on")
    mode, cost, whom = answer.sentences(Result(data))
    assert "to the end" in mode and "unscanned" in cost and "10.0.0.7" in whom
