"""fwcore top: sums by host, policy and service, whatever the chunks; nothing gets lost."""

import json
from pathlib import Path

import numpy as np
import pytest
from frames import ethernet, ip, tcp, udp

from fwcore import cli, policy
from fwcore.capture import Chunk, open_capture
from fwcore.report import text, top
from fwcore.settings import load

PCAPS = Path(__file__).parent.parent / "pcaps"
RULES = policy.parse([{"id": 7, "name": "names", "protocol": "udp"}, {"id": 8}])


def made(chunks, rules=RULES):
    return top.make(chunks, rules)


def test_by_hand():
    """A reply met first still counts for the client; a flow has one host, policy and service."""
    frames = [ethernet(packet) for packet in (
        ip("192.0.2.1", "10.0.0.5", 6, tcp(443, 40000, "A", 46)),
        ip("10.0.0.5", "192.0.2.1", 6, tcp(40000, 443, "A", 6)),
        ip("10.0.0.6", "192.0.2.1", 17, udp(9, 53, 18)))]
    frames.append(bytes(12) + b"\x08\x06" + bytes(46))
    sizes = [len(frame) for frame in frames]
    found = made([Chunk.from_frames(frames, [0, 10**9, 2 * 10**9, 2 * 10**9])])
    rows = {row["name"]: row for row in found["host"]}
    assert rows["10.0.0.5"]["bytes"] == sizes[0] + sizes[1] and rows["10.0.0.5"]["packets"] == 2
    assert rows["10.0.0.5"]["bits_per_s"] == 8 * (sizes[0] + sizes[1]) / 2
    assert set(rows) == {"10.0.0.5", "10.0.0.6"}
    assert {row["name"] for row in found["policy"]} == {"names", "8"}
    assert {row["name"] for row in found["service"]} == {"tcp/443", "udp/53"}
    assert found["without_flow"] == {"packets": 1, "bytes": sizes[3]}


@pytest.mark.parametrize(("last_s", "said"), [(5, "100 ms"), (33, "400 ms"), (100_000, "27 m")])
def test_how_long_a_peak_is_is_said(last_s, said):
    """It is the most of a stretch, which is as long as the capture makes it."""
    frame = ethernet(ip("10.0.0.5", "192.0.2.1", 17, udp(9, 53, 18)))
    found = made([Chunk.from_frames([frame] * 2, [0, last_s * 10**9])])
    (row,) = found["host"]
    assert row["peak_bits_per_s"] == 8 * len(frame) * 10**9 / found["stretch_ns"]
    assert f"UTC; a peak is the most of {said}" in top.show(found, text.Style()).splitlines()[1]


def test_policies_of_one_name_stay_two():
    frames = [ethernet(ip("10.0.0.5", "192.0.2.1", 17, udp(9, port, 18))) for port in (53, 54)]
    rules = policy.parse([{"id": 1, "name": "x", "ports": [53], "protocol": "udp"},
                          {"id": 2, "name": "x"}])
    found = made([Chunk.from_frames(frames, [0, 1])], rules)
    assert {row["name"]: row["packets"] for row in found["policy"]} == {
        "x (id 1)": 1, "x (id 2)": 1}


@pytest.mark.parametrize("size", [17, 8192])
def test_nothing_is_lost_and_chunks_do_not_matter(size):
    path = str(PCAPS / "conserve.pcap")
    rules = policy.parse(load(file=PCAPS / "conserve.toml").policies)
    found = made(open_capture(path, chunk_size=size), rules)
    for kind in top.KINDS:
        for name in ("packets", "bytes"):
            whole = sum(row[name] for row in found[kind]) + found["without_flow"][name]
            assert whole == found[name] > 0
            for row in found[kind]:
                assert sum(row[f"series_{name}"]) == row[name]
    assert found == made(open_capture(path, chunk_size=1000), rules)


def test_time_is_cut_into_at_most_so_many_stretches():
    frame = ethernet(ip("10.0.0.6", "192.0.2.1", 17, udp(9, 53, 18)))
    for seconds in (0, 1, 11, 12, 13, 10**6):
        found = made([Chunk.from_frames([frame] * 2, [5, 5 + seconds * 10**9])])
        (row,) = found["host"]
        series = np.array(row["series_packets"])
        assert len(series) <= top.STRETCHES and series.sum() == 2
        assert series[0] >= 1 and series[-1] >= 1
    assert made([])["host"] == []


def test_on_a_terminal(capfd, tmp_path):
    out = tmp_path / "top.json"
    argv = ["top", str(PCAPS / "conserve.pcap"), "--settings", str(PCAPS / "conserve.toml")]
    assert cli.main([*argv, "--json", str(out)]) == 0
    written = capfd.readouterr().out
    assert max(map(len, written.splitlines())) <= 80
    found = json.loads(out.read_text())
    assert found["host"][0]["name"] in written and "30 more: --json" in written
    assert cli.main([*argv, "--by", "service", "--filter", "udp"]) == 0
    narrow = capfd.readouterr().out
    assert "udp/53" in narrow and "tcp/" not in narrow and "host" not in narrow
    for colour in (False, True):
        shown = top.show(found, text.Style(colour=colour, unicode=False))
        assert all(ord(each) < 128 for each in shown)


def test_hosts_that_end_differently_are_told_apart():
    """Of a long address each digit is shown, and the table keeps to 80 columns."""
    hosts = [f"2001:db8:1234:5678:9abc:def0:1234:567{last}" for last in range(3)]
    frames = [ethernet(ip(host, "2001:db8::9", 6, tcp(4000, 80, "S"))) for host in hosts]
    lines = top.show(made([Chunk.from_frames(frames, range(3))]), text.Style()).splitlines()
    assert sorted(line.strip() for line in lines if "2001" in line) == hosts
    assert max(map(len, lines)) <= 80


def test_less_than_one_packet_a_second_is_not_none():
    frames = [ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(port, 53))) for port in range(1, 8)]
    times = [number * 10**10 // 6 for number in range(7)]       # 0.7 a second
    lines = top.show(made([Chunk.from_frames(frames, times)]), text.Style()).splitlines()
    (row,) = (line for line in lines if line.split()[:1] == ["10.0.0.1"])
    assert "<1" in row.split()
