"""Who was hit: by initiator, behind every link header, bounded, whatever the chunks."""

import struct

import numpy as np
import pytest
from frames import WAYS, ethernet, icmp_error, ip, tcp, travelling, udp

import fwcore
from fwcore import hits as module, policy
from fwcore._columns import parse_columns
from fwcore._layout import Verdict
from fwcore.capture import CHUNK_SIZE, Chunk
from fwcore.engine import Engine
from fwcore.hits import HIT_HOSTS, Hits
from fwcore.replay import replay, result_body
from fwcore.report.compare import Comparison
from fwcore.report.flow_ledger import FlowLedger
from fwcore.settings import load

DNS = {"id": 1, "source": "any", "destination": "any", "protocol": "udp", "ports": [53],
       "action": "accept"}
ARP = bytes(12) + b"\x08\x06" + struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, b"", bytes(4),
                                           b"", bytes(4))


def dropped_of(frames, links=1, **settings):
    given = {"policies": [DNS], **settings}
    result = replay([Chunk.from_frames(frames, range(len(frames)), link=links)],
                    load("plain", **given))
    top = result["top"]
    hosts = {host["host"]: host["dropped"] for host in top["hosts"] if host["dropped"]}
    assert sum(hosts.values()) + top["forgotten_packets"] == result["verdicts.drop"]
    return hosts, top["forgotten_packets"]


def test_hosts_by_lost_packets():
    frames = [ethernet(ip(source, target, 17, udp(9, port))) for source, target, port in (
        ("10.0.0.1", "192.0.2.1", 54), ("10.0.0.1", "192.0.2.1", 55),
        ("10.0.0.2", "192.0.2.1", 53), ("2001:db8::1", "2001:db8::2", 54),
        ("10.0.0.3", "192.0.2.1", 54))]
    assert dropped_of(frames) == ({"10.0.0.1": 2, "10.0.0.3": 1, "2001:db8::1": 1}, 0)


@pytest.mark.parametrize("way", sorted(WAYS.keys() - {"unknown"}))
def test_packets_have_their_host_however_they_travel(way):
    frame, link = travelling(ip("10.0.0.9", "192.0.2.1", 17, udp(1, 2)), way)
    assert dropped_of([frame], [link]) == ({"10.0.0.9": 1}, 0)


def test_what_has_no_address_is_forgotten():
    frames = [ARP, ethernet(ip("10.0.0.9", "192.0.2.1", 17, udp(1, 2)))]
    assert dropped_of(frames, non_ip="drop") == ({"10.0.0.9": 1}, 1)


def test_a_malformed_packet_counts_for_its_sender():
    frame = bytearray(ethernet(ip("10.0.0.9", "192.0.2.1", 17, udp(1, 53))))
    frame[16:18] = b"\xff\xff"    # its total length
    assert dropped_of([bytes(frame)]) == ({"10.0.0.9": 1}, 0)


def test_replies_count_for_the_initiator():
    """A refused SYN+ACK, a reply of a killed session, a fragment and an error on their way back."""
    syn_ack = ethernet(ip("192.0.2.1", "10.0.0.5", 6, tcp(80, 1000, "SA")))
    first = ethernet(ip("192.0.2.1", "10.0.0.6", 6, tcp(80, 1000, "SA"), more=True))
    later = ethernet(ip("192.0.2.1", "10.0.0.6", 6, bytes(64), fragment=3))
    hosts, _ = dropped_of([syn_ack, first, later])
    assert hosts == {"10.0.0.5": 1, "10.0.0.6": 2}


def test_bypassed_replies_and_errors_count_for_the_initiator():
    policy = {"id": 1, "protocol": "tcp", "action": "accept", "inspection": "proxy"}
    settings = load(
        "fortios-7", ram_bytes=400 * 4096, base_bytes=360 * 4096, max_connections=100,
        policies=[policy], av_failopen="pass", cache_limit_bytes=0)
    there = ip("10.0.0.5", "192.0.2.1", 6, tcp(1000, 80, "A", 100))
    back = ip("192.0.2.1", "10.0.0.5", 6, tcp(80, 1000, "A", 100))
    frames = [ip("10.0.0.5", "192.0.2.1", 6, tcp(1000, 80, "S")),
              ip("192.0.2.1", "10.0.0.5", 6, tcp(80, 1000, "SA")), there, back, back,
              ip("198.51.100.7", "192.0.2.1", 1, icmp_error(back)),
              ip("198.51.100.7", "10.0.0.5", 1, icmp_error(there))]
    chunk = Chunk.from_frames([ethernet(frame) for frame in frames], range(len(frames)))
    result = replay([chunk], settings)
    assert result["verdicts.bypass"] >= 6
    hosts = {host["host"]: host for host in result["top"]["hosts"]}
    assert set(hosts) == {"10.0.0.5"}
    assert hosts["10.0.0.5"]["bypassed"] == result["verdicts.bypass"]
    assert hosts["10.0.0.5"]["sessions"] == 1
    bypassed = chunk.length[: len(frames)].sum() - hosts["10.0.0.5"]["dropped_bytes"]
    assert hosts["10.0.0.5"]["bypassed_bytes"] == bypassed == result["exposure.bytes"]


def test_a_victim_has_its_lost_packets_and_its_sessions_too():
    frames = [ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(port, 53))) for port in range(1, 6)]
    frames += [ethernet(ip(f"10.0.1.{i}", "192.0.2.1", 17, udp(9, 54)))
               for i in range(1, 21) for _ in range(2)]
    frames.append(ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(9, 54))))
    settings = load("plain", policies=[DNS], max_connections=3, buckets=1, when_full="bucket")
    result = replay([Chunk.from_frames(frames, range(len(frames)))], settings)
    first = result["top"]["hosts"][0]
    assert (first["host"], first["taken"], first["sessions"], first["dropped"]) == (
        "10.0.0.1", 2, 3, 1)


def test_sessions_taken_are_whole_where_the_ledger_forgot_them():
    frames = [ethernet(ip(f"10.0.0.{1 + n % 3}", "192.0.2.1", 17, udp(n, 53)))
              for n in range(1, 301)]
    settings = load("plain", policies=[DNS], max_connections=30, when_full="bucket", victims_max=2)
    chunk = Chunk.from_frames(frames, range(len(frames)))
    result = replay([chunk], settings)
    taken = result["sessions.ended.evicted"]
    assert taken > 200 and len(result["victims"]) == 2
    assert sum(host["taken"] for host in result["top"]["hosts"]) == taken
    assert [row["taken"] for row in result["top"]["policies"]] == [taken]
    assert result["top"]["forgotten_sessions"] == 0
    with fwcore.Engine(settings) as engine:     # without a gatherer: what the ledger has, and said
        engine.process(chunk)
        top = result_body(engine)["top"]
    assert sum(row["taken"] for row in top["policies"]) == 2
    assert top["forgotten_sessions"] == taken - 2


# --- bounds ---------------------------------------------------------------------------------------


def crowd(count):
    frames = [ethernet(ip(f"10.1.{i >> 8}.{i & 255}", "192.0.2.1", 17, udp(1, 2)))
              for i in range(count)]
    return Chunk.from_frames(frames, range(count))


def strangers(count):
    """Flows that nobody knows, and numbers."""
    return np.zeros(count, np.uint64), np.arange(1, count + 1, dtype=np.uint64)


def test_hosts_are_bounded_and_named_as_the_engine_names_them():
    chunk, hits = crowd(CHUNK_SIZE), Hits()
    verdict = np.full(CHUNK_SIZE, int(Verdict.DROP), np.uint8)
    reply = np.zeros(CHUNK_SIZE, np.uint8)
    for turn in range(30):
        hits.add(chunk, verdict, reply, *strangers(CHUNK_SIZE), turn * CHUNK_SIZE)
    engine = Engine("plain")
    assert hits.forgotten_packets() == 30 * CHUNK_SIZE - HIT_HOSTS
    rows = hits.rows(engine, 2 * HIT_HOSTS)["hosts"]
    assert len(rows) == HIT_HOSTS == sum(row["dropped"] for row in rows)
    assert "10.1.32.7" in {row["host"] for row in rows}


@pytest.mark.parametrize("size", [1, 7, 64])
def test_who_is_kept_does_not_depend_on_the_chunks(monkeypatch, size):
    monkeypatch.setattr(module, "HIT_HOSTS", 20)
    chunk = crowd(64)
    verdict = np.array([Verdict.DROP, Verdict.BYPASS, Verdict.FORWARD] * 22, np.uint8)[:64]
    whole, parts = Hits(), Hits()
    whole.add(chunk, verdict, np.zeros(64, np.uint8), *strangers(64))
    for begin in range(0, 64, size):
        part = slice(begin, begin + size)
        parts.add(chunk.slice(part.start, min(64, part.stop)), verdict[part],
                  np.zeros(len(verdict[part]), np.uint8),
                  *(each[part] for each in strangers(64)))
    engine = Engine("plain")
    assert whole.rows(engine, 64) == parts.rows(engine, 64)
    rows = whole.rows(engine, 64)["hosts"]
    assert [sum(row[name] for row in rows) for name in ("dropped", "bypassed")] == [10, 10]
    assert whole.forgotten_packets() == 23


@pytest.mark.parametrize(("most", "dropped"), [(2, {"10.0.0.1": 2, "10.0.0.2": 2}), (
    1, {"10.0.0.1": 2, "10.0.0.2": 1, "192.0.2.1": 1})])
def test_of_so_many_flows_it_is_remembered_who_began_them(most, dropped):
    """The answer of another one, which has no session, counts for its sender."""
    there = [ip(f"10.0.0.{i}", "192.0.2.1", 17, udp(1000, 53)) for i in (1, 2)]
    back = [ip("192.0.2.1", f"10.0.0.{i}", 17, udp(53, 1000)) for i in (1, 2)]
    chunk = Chunk.from_frames([ethernet(packet) for packet in there + back], range(4))
    hits = Hits(flows_max=most)
    hits.add(chunk, np.full(4, Verdict.DROP, np.uint8), np.zeros(4, np.uint8),
             np.array([7, 8, 7, 8], np.uint64), np.arange(1, 5, dtype=np.uint64))
    rows = hits.rows(Engine("plain"), 4)["hosts"]
    assert {row["host"]: row["dropped"] for row in rows} == dropped


@pytest.mark.parametrize("source", ["10.255.255.250", "2001:db8::ffff:fffa"])
def test_the_shift_of_a_loop_stays_below_the_octets_it_may_change(source):
    """Each turn has other hosts, and the first octet, or all above 32 bits, stays as it was."""
    target = "192.0.2.1" if "." in source else "2001:db8::1"
    chunk = Chunk.from_frames([ethernet(ip(source, target, 17, udp(1, 2)))], [0])
    result = replay([chunk], load("plain", policies=[DNS]), loop=3)
    hosts = sorted(host["host"] for host in result["top"]["hosts"])
    steps = [0, 0x9E3779, 2 * 0x9E3779 & 0xFFFFFF]
    if "." in source:
        wanted = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
                  for n in ((0xFFFFFA + step) & 0xFFFFFF for step in steps)]
    else:
        wanted = [f"2001:db8::{n >> 16:x}:{n & 0xFFFF:x}".replace("::0:", "::")
                  for n in ((0xFFFFFFFA + step) & 0xFFFFFFFF for step in steps)]
    assert hosts == sorted(wanted)


def test_an_engine_says_who_answers():
    frames = [ethernet(packet) for packet in (
        ip("10.0.0.5", "192.0.2.1", 17, udp(1000, 53)), ip("192.0.2.1", "10.0.0.5", 17,
                                                           udp(53, 1000)))] + [b""]
    chunk = Chunk.from_frames(frames, range(3))
    reply = np.full(3, 7, np.uint8)
    with fwcore.Engine(load("plain")) as engine:
        engine.process(chunk, reply=reply)
        assert reply.tolist() == [0, 1, 0]
        with pytest.raises(ValueError, match="reply: its length is 2"):
            engine.process(chunk, reply=reply[:2].copy())
    assert len(parse_columns(chunk)) == 3


# --- beside the comparison ------------------------------------------------------------------------


def talks(count):
    """``count`` connections between ports above 1023, 40 packets each, side by side."""
    frames = []
    for turn in range(40):
        for i in range(count):
            client, server = f"10.0.0.{i % 5 + 1}", f"192.0.2.{i % 3 + 1}"
            flags = ("S", "SA", "A")[turn] if turn < 3 else "PA"
            asks = turn % 2 == 0
            ends = (client, server) if asks else (server, client)
            ports = (40000 + i, 50000) if asks else (50000, 40000 + i)
            frames.append(ethernet(ip(*ends, 6, tcp(*ports, flags, payload=bytes(turn)))))
    return Chunk.from_frames(frames, [i * 10_000_000 for i in range(len(frames))])


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_replay_and_comparison_count_for_the_same_hosts_and_policies(size):
    """Flows that were taken or refused lose packets both ways without a session: their initiator
    loses them, in every view."""
    chunk = talks(30)
    policies = [{"id": 3, "source": "10.0.0.0/8", "inspection": "proxy"}, {"id": 9}]
    settings = load("fortios-7", policies=policies, av_failopen="off", midstream="drop",
                    ram_bytes=64 << 20, max_connections=24, buckets=3,
                    pressure=[{"at_s": 6, "add_bytes": 60 << 20}])
    ledger = FlowLedger()
    result = replay([chunk.slice(at, min(at + size, len(chunk)))
                     for at in range(0, len(chunk), size)], settings,
                    flows=ledger.packets, ended=ledger.take)
    joined = Comparison(("run",), (result,), (ledger.table(),), (policy.parse(policies),))
    ended = result["sessions.ended"]
    assert result["verdicts.drop"] > 300 and ended["tension"] + ended["evicted"] > 10
    for rows, name in ((joined.hosts(), "host"), (joined.by_policy(), "policy_name")):
        lost = {row[name]: row["cost"]["run"]["dropped_bytes"] for row in rows}
        shown = {str(row.get("host", row.get("id"))): row["dropped_bytes"]
                 for row in result["top"]["hosts" if name == "host" else "policies"]}
        assert {each: size for each, size in shown.items() if size} == {
            each: size for each, size in lost.items() if size}
    with_focus = replay([chunk], settings, focus="policy 3")
    assert with_focus["verdicts.drop"] == result["verdicts.drop"]


def test_those_who_lost_sessions_do_not_hide_those_who_lost_packets():
    none = {"taken": 0, "dropped": 0, "bypassed": 0, "sessions": 0}
    rows = [{**none, "host": f"10.0.0.{n}", "taken": 100 - n} for n in range(3)]
    rows += [{**none, "host": f"10.0.1.{n}", "dropped": 10 - n, "bypassed": 1} for n in range(2)]
    rows += [{**none, "host": "10.0.2.1", "sessions": 5}]
    assert [row["host"] for row in module._worst(rows[::-1])] == [
        "10.0.0.0", "10.0.1.0", "10.0.0.1", "10.0.1.1", "10.0.0.2", "10.0.2.1"]
