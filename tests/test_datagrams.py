"""Later fragments: every view counts them for the flow of their first, and says the same."""

import csv

import numpy as np
import pytest
from frames import ethernet, ip, udp

from fwcore.capture import Chunk
from fwcore.datagrams import LIFE_NS, Datagrams
from fwcore.demand import Owners, depths_of, meters
from fwcore.flow import parse
from fwcore.replay import replay
from fwcore.replay.beside import replay_beside
from fwcore.report import compare, explain
from fwcore.settings import load

S = 10**9
ENDS = "10.0.0.1", "192.0.2.1"
POLICIES = [{"id": 1, "ports": [53], "protocol": "udp", "inspection": ["antivirus"]},
            {"id": 2, "inspection": ["antivirus"]}]
FULL = [{"at_s": 0, "add_bytes": "20MiB"}]


def first(port):
    return ip(*ENDS, 17, udp(9, port, 64), more=True, identifier=7)


def later(at=9):
    return ip(*ENDS, 17, bytes(64), fragment=at, identifier=7)


def chunk():
    """Two datagrams of one id over two VLANs, and parts of both."""
    packets = [(first(53), 10), (first(99), 20), (later(), 10), (later(), 20), (later(18), 10)]
    return Chunk.from_frames([ethernet(*each) for each in packets],
                             [n * S // 10 for n in range(len(packets))])


def settings(zone="vlan", **more):
    return load("fortios-7", ram_bytes="64MiB", zone=zone, policies=POLICIES, pressure=FULL, **more)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_replay_and_compare_agree_on_every_part(size):
    parts = [chunk().slice(at, at + size) for at in range(0, 5, size)]
    named = {kind: settings(av_failopen=kind) for kind in ("pass", "off")}
    made = compare.run(parts, named, replay_beside)
    for row, result in zip(made.harm(), made.results, strict=True):
        verdicts = result["verdicts"]
        assert row["uninspected_packets"] == verdicts["bypass"] == result["exposure.packets"]
        assert row["dropped_packets"] == verdicts["drop"]
        assert verdicts["drop"] + verdicts["bypass"] == 5
        name = "dropped" if verdicts["drop"] else "bypassed"
        assert {each["id"]: each[name] for each in result["top"]["policies"]} == {1: 3, 2: 2}
        assert sum(each[name] for each in result["top"]["hosts"]) == 5


def test_what_is_denied_counts_apart_with_its_parts():
    made = compare.run([chunk()], {name: load("plain", policies=[
        {"id": 7, "action": "deny"}], buckets=size) for name, size in (("a", 4), ("b", 8))},
        replay_beside)
    for row in made.harm():
        assert (row["denied_packets"], row["dropped_packets"], row["lost"], row["harmed"]) == (
            5, 0, 0, 0)
        assert row["denied_bytes"] == made.results[0]["bytes"]
    assert made.hosts() == made.by_policy() == []


@pytest.mark.parametrize("zone", ["none", "vlan"])
def test_demand_finds_the_policy_of_every_part(zone, tmp_path):
    plain = load("plain", policies=POLICIES, zone=zone)
    found = meters([chunk()], [64_000], depths_of("1s"), "policy", "frame", owners=Owners(plain))
    replay(chunk(), plain, sessions=str(tmp_path / "s.csv"))
    with open(tmp_path / "s.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.startswith(("packets", "forward_packets"))]
    assert names
    counted = {int(row["policy"]): sum(int(value) for name, value in row.items()
                                       if "packets" in name and value) for row in rows}
    assert {int(row["key"].split()[1]): row["packets"] for row in found["top"]} == counted


@pytest.mark.parametrize(("wait_ns", "parts"), [(LIFE_NS - 1, 2), (LIFE_NS, 1)])
def test_a_part_that_comes_too_late_is_of_nobody(wait_ns, parts):
    """As in the firewall's own table."""
    late = Chunk.from_frames([ethernet(first(53)), ethernet(later())], [0, wait_ns])
    result = replay(late, load("plain"))
    assert result["reasons.fragment"] == parts - 1
    found = meters([late], [64_000], depths_of("1s"), "flow")
    assert (found["packets"], found["left_out"].get("fragment_without_first", 0)) == (
        parts, 2 - parts)
    matched = list(explain.Matcher(parse("10.0.0.1:9-192.0.2.1:53/udp"))(late))
    assert len(matched) == parts
    made = compare.run([late], {"a": load("plain"), "b": load("plain", buckets=4)},
                       replay_beside, 2)
    assert made.flows[0]["packets"].tolist() == [parts]


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize(("times_s", "followed"), [((100, 60, 95), True), ((0, 10, 20), False)])
def test_the_age_of_a_part_goes_by_when_packets_were_judged(times_s, followed, size):
    """A packet older than another before it came with that one, in every view: 35 s later by their
    own times, two parts came at one moment; ten seconds later, a packet of 31 s between them."""
    ahead, begin, end = times_s
    frames = [other := ethernet(ip("10.0.0.8", "10.0.0.9", 17, udp(1, 2))), ethernet(first(53)),
              other, ethernet(later())]
    whole = Chunk.from_frames(frames, [ahead * S, begin * S, (0 if followed else 41) * S, end * S])
    parts = [whole.slice(at, at + size) for at in range(0, 4, size)]
    for options in ({}, {"focus": "10.0.0.1:9-192.0.2.1:53/udp"}, {"focus": "policy 1"}):
        result = replay(parts, settings("none"), **options)
        assert result["reasons.fragment" if not options else "packets"] == (
            (1 if not options else 2) if followed else (0 if not options else 1))
    assert sum(row["bypassed"] for row in result["top"]["policies"]) == 1 + followed
    matcher = explain.Matcher(parse("10.0.0.1:9-192.0.2.1:53/udp"))
    assert sum(len(list(matcher(part))) for part in parts) == 1 + followed
    if followed:
        assert str(explain.flow_of_packet(parts, 4)) == "10.0.0.1:9-192.0.2.1:53/udp"
    made = compare.run(parts, {name: settings("none", av_failopen=name) for name in (
        "pass", "off")}, replay_beside, 2)
    assert made.flows[0]["packets"].tolist() == [2, 1 + followed]


def test_the_newest_are_kept(monkeypatch):
    monkeypatch.setattr("fwcore.datagrams.MOST", 2)
    known = Datagrams()
    rows = np.zeros(3, [("source", "u8", 2), ("destination", "u8", 2), ("fragment_id", "u4"),
                        ("fragment_protocol", "u1"), ("family", "u1")])
    rows["fragment_id"] = [1, 2, 3]
    for row in rows[[0, 1, 0, 2]]:
        known.begin(row, 0, int(row["fragment_id"]))
    assert [known.of(row, 0) for row in rows] == [1, None, 3]
