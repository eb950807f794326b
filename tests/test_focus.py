"""--focus: the report is restricted, the traffic is not."""

import csv
from pathlib import Path

import pytest
from frames import ethernet, ip, udp

from fwcore import cli
from fwcore.capture import Chunk
from fwcore.errors import FwcoreError, SettingsError
from fwcore.flow import parse
from fwcore.replay import replay
from fwcore.report import text
from fwcore.result import Result
from fwcore.settings import load

PCAPS = Path(__file__).parent.parent / "pcaps"
CONSERVE = PCAPS / "conserve.pcap"
COUNTS = ("packets", "bytes", "verdicts", "reasons", "denied", "refused")


@pytest.fixture(scope="module")
def settings():
    rows = [dict(row) for row in load(file=PCAPS / "conserve.toml").policies]
    rows[2]["name"] = "web"
    return load(file=PCAPS / "conserve.toml", policies=rows, av_failopen="off")


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory):
    """Everything: the result, its verdict rows by packet, its sessions."""
    folder = tmp_path_factory.mktemp("whole")
    result = replay(CONSERVE, settings, verdicts=str(folder / "v.csv"),
                    sessions=str(folder / "s.csv"))
    return result, rows(folder / "v.csv"), rows(folder / "s.csv")


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_focus_on_everything_says_the_same(settings, whole):
    result, _, _ = whole
    focused = replay(CONSERVE, settings, focus="net 0.0.0.0/0")
    for name in (*COUNTS, "memory_tension", "outcome", "conserve", "memory", "laws", "events"):
        assert focused.data[name] == result.data[name], name
    assert focused.data["exposure"] == result.data["exposure"]
    assert focused.data["victims"] == result.data["victims"]
    assert focused["sessions"]["ended"] == result["sessions"]["ended"]
    told = {name: count for name, count in result.data["decode"].items() if name != "offloaded"}
    assert focused.data["decode"] == told      # whether a frame is offloaded its row does not say
    for name in ("created", "live", "peak"):
        assert focused["sessions"][name] == result["sessions"][name]
    for name in ("verdicts", "reasons", "created", "ended", "live", "packet", "base", "sessions",
                 "free", "exposed_packets"):
        line, other = focused.data["timeline"], result.data["timeline"]
        assert line[name] == other[name], name
    assert focused.data["whole"]["verdicts"] == result.data["verdicts"]


@pytest.mark.parametrize("chunk_size", [50, 8192])
@pytest.mark.parametrize("focus", [
    "host 10.1.1.17", "policy 6", "policy web", "10.1.1.17:31008-203.0.113.11:443/tcp",
    "203.0.113.11:443-10.1.1.17:31008/tcp"])
def test_what_is_said_of_a_focus_is_said_of_its_packets(tmp_path, settings, whole, focus,
                                                        chunk_size):
    result, verdicts, sessions = whole
    focused = replay(CONSERVE, settings, focus=focus, verdicts=str(tmp_path / "v.csv"),
                     sessions=str(tmp_path / "s.csv"), chunk_size=chunk_size)
    shown = rows(tmp_path / "v.csv")
    assert 0 < len(shown) == focused["packets"] < result["packets"]
    by_number = {row["packet"]: row for row in verdicts}
    assert shown == [by_number[row["packet"]] for row in shown]
    for kind in ("verdict", "reason"):
        names = [row[kind] for row in shown]
        assert {name: names.count(name) for name in focused[f"{kind}s"]} == focused.data[
            f"{kind}s"]
    lived = rows(tmp_path / "s.csv")
    assert sorted(row["key"] for row in lived) == sorted(
        row["key"] for row in sessions if member(row, focus))
    assert focused["sessions.created"] == len(lived) > 0
    assert focused["outcome"] == result["outcome"]
    assert focused.data["exposure"]["packets"] == focused["verdicts.bypass"]
    ended = focused["sessions.ended"]
    assert sum(ended.values()) + focused["sessions.live"] == len(lived)
    assert focused.data["timeline"]["verdicts"].get("drop", [0])[-1] == focused["verdicts.drop"]


def member(row, focus):
    word, _, rest = focus.partition(" ")
    if word == "policy":
        return row["policy"] == {"web": "3"}.get(rest, rest)
    wanted = parse(row["key"])
    if word == "host":
        return rest in (str(wanted.initiator.address), str(wanted.responder.address))
    return wanted.key == parse(focus).key


def test_packets_of_a_policy_are_those_of_its_sessions_and_those_it_refused(settings, whole):
    _, verdicts, sessions = whole
    of_policy = {row["flow"] for row in sessions if row["policy"] == "6"}
    focused = replay(CONSERVE, settings, focus="policy 6")
    least = sum(row["flow"] in of_policy for row in verdicts)
    assert focused["packets"] >= least > 0
    dropped = {row["id"]: row["dropped"] for row in focused.data["top"]["policies"]}
    assert dropped == {6: focused["verdicts.drop"]}


def test_dropped_packets_count_for_their_policy(settings, whole):
    result, _, _ = whole
    top = {row["id"]: row for row in result.data["top"]["policies"]}
    assert sum(row["dropped"] for row in top.values()) == result["verdicts.drop"]
    assert sum(row["taken"] for row in top.values()) == sum(
        result["sessions.ended"][name] for name in ("evicted", "tension", "killed"))
    for number in (3, 4):
        assert top[number]["dropped"] == replay(CONSERVE, settings, focus=f"policy {number}")[
            "verdicts.drop"]


def test_the_summary_says_whom_it_is_about(settings, tmp_path):
    focused = replay(CONSERVE, settings, focus="host 10.1.1.17", filter="tcp")
    written = text.summary(focused)
    flat = " ".join(written.split())
    assert "about host 10.1.1.17: " in flat and "filter tcp: " in flat
    assert max(map(len, written.splitlines())) <= 80
    focused.to_json(tmp_path / "r.json")
    assert text.summary(Result.load(tmp_path / "r.json")) == written


@pytest.mark.parametrize("focus", ["10.0.0.5:9-192.0.2.1:53/udp", "policy 1"])
def test_later_fragments_go_with_their_first(tmp_path, focus):
    ends = "10.0.0.5", "192.0.2.1"
    first = ethernet(ip(*ends, 17, udp(9, 53, 64), more=True, identifier=7))
    later = ethernet(ip(*ends, 17, bytes(64), fragment=9, identifier=7))
    other = ethernet(ip(*ends, 17, bytes(64), fragment=9, identifier=8))
    chunk = Chunk.from_frames([later, other, first, other, later], range(5))
    settings = load("plain", policies=[{"id": 1, "ports": [53], "protocol": "udp"}, {"id": 2}])
    for size in (1, 8):
        parts = [chunk.slice(at, at + size) for at in range(0, 5, size)]
        replay(parts, settings, focus=focus, verdicts=str(tmp_path / "v.csv"))
        assert [(row["packet"], row["reason"]) for row in rows(tmp_path / "v.csv")] == [
            ("3", "new"), ("5", "fragment")]


@pytest.mark.parametrize("focus", ["10.0.0.5:9-192.0.2.1:53/udp", "policy 1"])
@pytest.mark.parametrize("zone", ["none", "vlan"])
def test_later_fragments_are_of_the_newest_first_one_and_of_its_zone(tmp_path, focus, zone):
    """Two datagrams of one id, and parts of them that went over another VLAN."""
    ends = "10.0.0.5", "192.0.2.1"
    first, other = (ip(*ends, 17, udp(9, port, 64), more=True) for port in (53, 99))
    later = ip(*ends, 17, bytes(64), fragment=9)
    chunk = Chunk.from_frames([
        ethernet(first, 5), ethernet(later, 6), ethernet(later, 5), ethernet(other, 5),
        ethernet(later, 5)], range(5))
    settings = load("plain", zone=zone, policies=[
        {"id": 1, "ports": [53], "protocol": "udp"}, {"id": 2}])
    if "/" in focus and zone == "vlan":
        focus += "@5"
    replay(chunk, settings, focus=focus, verdicts=str(tmp_path / "v.csv"))
    assert [row["packet"] for row in rows(tmp_path / "v.csv")] == (
        ["1", "2", "3"] if zone == "none" else ["1", "3"])


@pytest.mark.parametrize("bad", [
    "10.0.0.5", "host", "host x", "net 10.0.0.1/8", "policy", "policy 99", "policy wbe", "a-b/tcp"])
def test_what_is_no_focus_is_refused(settings, bad):
    with pytest.raises((FwcoreError, SettingsError), match=r"focus|flow"):
        replay(CONSERVE, settings, focus=bad)


def test_who_was_not_there_has_nothing(settings, whole):
    result = replay(CONSERVE, settings, focus="host 203.0.113.250")
    assert result["packets"] == result["sessions"]["created"] == result["exposure"]["sessions"] == 0
    assert result["whole"]["packets"] == whole[0]["packets"]


def test_on_the_command_line(capfd):
    argv = ["replay", str(CONSERVE), "--settings", str(PCAPS / "conserve.toml")]
    assert cli.main([*argv, "--focus", "policy 6"]) == 0
    assert "about policy 6" in capfd.readouterr().out
    assert cli.main([*argv, "--focus", "policy 99"]) == 2
    assert "there is no policy '99'" in capfd.readouterr().err


def test_an_id_comes_before_a_name_and_a_name_that_is_two_policies_is_refused():
    frames = [ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(1000, port))) for port in (1, 2, 3, 3)]
    rules = [{"id": 1, "name": "2", "protocol": "udp", "ports": [1]},
             {"id": 2, "name": "1", "protocol": "udp", "ports": [2]},
             {"id": 3, "name": "1"}]
    chunk, settings = Chunk.from_frames(frames, [0, 1, 2, 3]), load("plain", policies=rules)
    result = replay(chunk, settings)
    assert result["policy_names"] == {"1": "2 (id 1)", "2": "1 (id 2)", "3": "1 (id 3)"}
    for called, packets in (("2", 1), ("3", 2), ("1 (id 3)", 2), ("2 (id 1)", 1)):
        assert replay(chunk, settings, focus=f"policy {called}")["packets"] == packets
    rules[0]["id"] = 7
    with pytest.raises(SettingsError, match="policies 2, 3 are all named '1'; give the id"):
        replay(chunk, load("plain", policies=rules), focus="policy 1")


def test_shaping_is_that_of_all():
    """Queues and meters are shared: they have no part that is one host's."""
    shaped = load("plain", links=[{"name": "w", "rate": 10**9}], shapings=[{"link": "w"}])
    found = [replay(CONSERVE, given, focus="host 10.1.1.18") for given in (load("plain"), shaped)]
    plain, with_link = (" ".join(text.summary(result).split()) for result in found)
    assert "flows; memory and modes are those of all" in plain
    assert "flows; memory, modes and shaping are those of all" in with_link
