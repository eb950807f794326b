"""Workloads: valid frames, the same whatever the block size, the shares they promise."""

import collections
import io
import struct
import sys

import numpy as np
import pytest
from scapy.all import ICMP, IP, TCP, UDP, Ether, IPv6, RawPcapReader

from fwcore.capture import synth
from fwcore.capture.course import Rounds, parse_row
from fwcore.capture.workload import START_NS, Scripted
from fwcore.errors import OutputError, SettingsError

NAMES = list(synth.WORKLOADS)
VARIANTS = [(name, {}) for name in NAMES] + [
    ("uniform", {"ipv6": True, "frame_bytes": 62}),
    ("uniform", {"ipv6": True, "frame_bytes": 63}),
    ("uniform", {"frame_bytes": 1514, "sessions": 5}),
    ("uniform", {"frame_bytes": 71, "hosts": 1, "sessions": 100_000}),
    ("syn-flood", {"hosts": 7}),
]


def small(name, packets=4000, **given):
    return synth.make(name, **{"packets": packets, "sessions": 200, **given})


def frames_of(workload, chunk_size=1000):
    return [chunk.frame(i) for chunk in workload.chunks(chunk_size) for i in range(len(chunk))]


def rebuilt(frame):
    """The frame after Scapy has computed lengths and checksums itself."""
    packet = Ether(frame)
    for layer in (IP, IPv6, TCP, UDP):
        if layer in packet:
            for name in ("chksum", "len", "plen"):
                if name in packet[layer].fields:
                    delattr(packet[layer], name)
    return bytes(packet)


@pytest.mark.parametrize("name,given", VARIANTS)
def test_checksums_and_lengths_are_what_scapy_computes(name, given):
    frames = frames_of(small(name, **given))
    for frame in frames[:60] + frames[60::67]:
        assert rebuilt(frame) == frame
        assert len(frame) >= 60
        assert ICMP not in Ether(frame)


@pytest.mark.parametrize("name,given", VARIANTS)
def test_chunk_size_changes_nothing(name, given):
    workload = small(name, **given)
    reference = frames_of(workload, 4000)
    times = np.concatenate([c.time_ns for c in workload.chunks(4000)])
    for size in (1, 7, 1023):
        limit = 200 if size == 1 else 4000
        part = small(name, limit, **given)
        assert frames_of(part, size) == reference[:limit]
        assert (np.concatenate([c.time_ns for c in part.chunks(size)]) == times[:limit]).all()


def test_parts_can_be_made_alone():
    for name in NAMES:
        workload = small(name)
        chunk = workload.part(1234, 1240)
        assert [chunk.frame(i) for i in range(6)] == frames_of(workload)[1234:1240]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_frames_and_another_does_not(name):
    one = frames_of(small(name, 500, seed=5))
    assert one == frames_of(small(name, 500, seed=5))
    assert one != frames_of(small(name, 500, seed=6))


@pytest.mark.parametrize("name", NAMES)
def test_chunks_have_the_dtypes_of_the_contract(name):
    (chunk,) = small(name, 100).chunks()
    dtypes = {"offset": "u8", "captured": "u4", "length": "u4", "time_ns": "i8", "link": "u2"}
    for field, dtype in dtypes.items():
        column = getattr(chunk, field)
        assert column.dtype == np.dtype(dtype) and column.flags.c_contiguous
        assert column.shape == (100,)
    assert (chunk.link == 1).all()
    assert int(chunk.offset[-1]) + int(chunk.captured[-1]) == len(chunk.data)  # packed, in order
    assert (np.diff(chunk.offset.astype(np.int64)) == chunk.captured[:-1]).all()


def test_an_empty_workload_has_no_chunks():
    assert list(synth.make("web", packets=0)) == []


def test_time_is_exact():
    workload = synth.make("uniform", packets=10, rate_pps=3)
    times = workload.part(0, 10).time_ns.tolist()
    assert times == [START_NS + i * 10**9 // 3 for i in range(10)]
    late = 10**13 + 7
    far = synth.make("uniform", packets=late + 1, rate_pps=999_983).part(late, late + 1)
    assert far.time_ns.tolist() == [START_NS + late * 10**9 // 999_983]


def test_two_of_packets_rate_and_duration_give_the_third():
    assert synth.make("web", rate_pps=2000, duration_s=5).packets == 10_000
    assert synth.make("web", packets=2000, duration_s=5).rate_pps == 400
    assert synth.make("web", packets=2000, rate_pps=500).duration_ns == 4 * 10**9
    with pytest.raises(SettingsError, match="two of them"):
        synth.make("web", packets=1, rate_pps=1, duration_s=1)


@pytest.mark.parametrize("name,given,words", [
    ("wbe", {}, 'did you mean "web"'),
    ("web", {"session": 3}, 'did you mean "sessions"'),
    ("web", {"ipv6": True}, "no parameter ipv6"),
    ("web", {"sessions": 0}, "out of range"),
    ("web", {"sessions": "many"}, "must be an integer"),
    ("web", {"seed": 1.5}, "must be an integer"),
    ("uniform", {"ipv6": 1}, "true or false"),
    ("uniform", {"ipv6": True}, "at least 62"),
    ("uniform", {"frame_bytes": 59}, "60 to"),
    ("uniform", {"hosts": 1, "sessions": 64_512 * 256 + 1}, "raise hosts"),
    ("web", {"hosts": 1, "sessions": 20_000}, "at least 2 hosts"),
    ("mix", {"snap_bytes": 60}, "cut headers"),
    ("web", {"duration_s": -1}, "out of range"),
    ("uniform", {"packets": 2**47, "rate_pps": 1}, "2116"),
])
def test_wrong_parameters_are_explained(name, given, words):
    with pytest.raises(SettingsError, match=words):
        synth.make(name, **given)


def key_of(frame):
    """The connection of a frame: both ends, the initiator's first, and its protocol; and whether
    the frame goes backwards. By offsets: Scapy takes a second for two thousand."""
    if frame[12:14] == b"\x08\x00":
        protocol, source, destination, at = frame[23], frame[26:30], frame[30:34], 34
    else:
        protocol, source, destination, at = frame[20], frame[22:38], frame[38:54], 54
    source_port, destination_port = struct.unpack_from("!2H", frame, at)
    ends = (source, source_port), (destination, destination_port)
    reply = source.startswith((b"\xc6", b"\x20\x01"))  # 198.0.0.0/8, 2001::/16
    return (*(ends[::-1] if reply else ends), {6: "TCP", 17: "UDP"}[protocol]), reply


SCRIPTED = [n for n, kind in synth.WORKLOADS.items() if issubclass(kind, Scripted)]


@pytest.mark.parametrize("name", [*SCRIPTED, "port-scan"])
def test_sessions_run_from_handshake_to_close_in_order(name):
    """Every TCP session begins with a SYN, its numbers add up, both sides close it."""
    sessions = collections.defaultdict(list)
    for frame in frames_of(small(name, 3000, sessions=50)):
        key, reply = key_of(frame)
        packet = Ether(frame)
        sessions[key].append((reply, packet[TCP] if TCP in packet else packet[UDP]))
    closed = 0
    for key, packets in sessions.items():
        if key[2] == "UDP":
            assert not packets[0][0]
            continue
        assert packets[0][1].flags == "S" and not packets[0][0]
        expected = {}
        for reply, tcp in packets:
            length = len(bytes(tcp.payload)) if "P" in tcp.flags or tcp.payload else 0
            if hasattr(tcp.payload, "load") and not bytes(tcp.payload).strip(b"\0"):
                length = 0  # Ethernet padding
            if reply in expected:
                assert tcp.seq == expected[reply], key
            if "A" in tcp.flags and (not reply) in expected:
                assert tcp.ack == expected[not reply], key
            expected[reply] = (tcp.seq + length + ("S" in tcp.flags)
                               + ("F" in tcp.flags)) % 2**32
        flags = [str(tcp.flags) for _, tcp in packets]
        closed += flags[-1] == "RA" or sum("F" in f for f in flags) == 2
    if name != "dns-storm":
        assert closed > 10


@pytest.mark.parametrize("steps,starts", [(1, 3), (2, 1), (8, 5), (22, 4), (18, 100)])
def test_rounds_visit_every_step_of_every_session_once_and_in_order(steps, starts):
    rounds = Rounds(steps, starts, seed=9)
    count = starts * steps * (steps - 1) // 2 + 20 * steps * starts  # ends with a round
    session, step = rounds.locate(np.arange(count, dtype=np.uint64))
    seen = collections.defaultdict(list)
    for s, t in zip(session.tolist(), step.tolist(), strict=True):
        seen[s].append(t)
    assert all(steps_seen == list(range(len(steps_seen))) for steps_seen in seen.values())
    assert sorted(seen) == list(range(len(seen)))
    assert sum(len(v) == steps for v in seen.values()) == 20 * starts
    assert sum(len(v) < steps for v in seen.values()) == (steps - 1) * starts


def test_rounds_warm_up_is_exact_far_out():
    """The square root of the warm-up is corrected: compared with integers at the edges."""
    rounds = Rounds(1_000_000, 1, seed=1)
    turn = np.array([1, 2, 77_777, 500_000, 999_998], np.uint64)
    first = turn * (turn + 1) // 2
    for index, session, step in ((first, 0 * turn, turn), (first - 1, turn - 1, 0 * turn)):
        got_session, got_step = rounds._warm_up(index)
        assert got_session.tolist() == session.tolist() and got_step.tolist() == step.tolist()


def test_uniform_draws_all_sessions_alike():
    workload = synth.make("uniform", packets=100_000, sessions=50)
    chunk = workload.part(0, 100_000)
    frames = chunk.data.reshape(-1, 60)
    keys = frames[:, 26:36].copy().view("V10")[:, 0]
    _, counts = np.unique(keys, return_counts=True)
    assert len(counts) == 50
    assert abs(counts - 2000).max() < 250  # 5.6 standard deviations


def test_uniform_sessions_are_distinct_when_ports_run_out():
    workload = synth.make("uniform", packets=400_000, sessions=100_000, hosts=1)
    frames = workload.part(0, 400_000).data.reshape(-1, 60)
    keys = {bytes(row) for row in frames[:, 26:36]}
    expected = 100_000 * (1 - np.exp(-4))
    assert abs(len(keys) - expected) < 600


def test_syn_flood_is_only_new_sessions():
    frames = frames_of(small("syn-flood", 5000))
    assert all(f[47] == 2 for f in frames)
    assert len({f[26:36] for f in frames}) > 4990
    assert {f[26] for f in frames} == set(range(11, 127))


def test_port_scan_asks_every_port_and_gets_a_reset():
    count = 2 * 65_535
    workload = synth.make("port-scan", packets=count)
    frames = workload.part(0, count).data.reshape(-1, 60)
    asked = frames[:, 47] == 2
    assert set(np.unique(frames[:, 47])) == {2, 0x14}
    ports = frames[asked, 36:38].copy().view(">u2")[:, 0]
    assert len(set(ports.tolist())) == 65_535
    assert abs(asked.sum() - 65_535) <= 64
    assert len(np.unique(frames[asked, 26:30], axis=0)) == 1


def test_imix_is_seven_four_one():
    """Shares over whole sessions are exact: each carries the mix once."""
    per_session = collections.defaultdict(list)
    for frame in frames_of(small("imix", 6000, sessions=60)):
        per_session[key_of(frame)[0]].append(len(frame))
    whole = [v for v in per_session.values() if len(v) == 12]
    assert len(whole) > 300
    for sizes in whole:
        assert collections.Counter(sizes) == {60: 7, 590: 4, 1514: 1}
    udp = sum(k[2] == "UDP" for k in per_session) / len(per_session)
    assert abs(udp - 0.25) < 0.01


def test_elephants_carry_nearly_all_bytes():
    by_flow = collections.Counter()
    for frame in frames_of(small("elephants", 20_000, sessions=160)):
        by_flow[key_of(frame)[0]] += len(frame)
    top = sum(size for _, size in by_flow.most_common(10))
    assert top / by_flow.total() > 0.95
    assert len(by_flow) > 300


def policy_of(key):
    """The policy of MIX_POLICIES by protocol and server port, looked up by hand."""
    port = {443: 1, 22: 2, 53: 3, 8042: 4, 445: 5, 5004: 6, 80: 7, 25: 8}
    return port[key[1][1]]


def test_mix_has_the_shares_it_promises():
    sessions = {}
    packets = collections.Counter()
    for frame in frames_of(small("mix", 15_000, sessions=1000)):
        key, _ = key_of(frame)
        sessions[key] = policy_of(key)
        packets[key[2]] += 1
    total = len(sessions)
    assert total > 1000
    shares = collections.Counter(sessions.values())
    inspection = {1: "none", 2: "none", 3: "none", 4: "none", 5: "flow", 6: "flow",
                  7: "proxy", 8: "proxy"}
    parts = collections.Counter()
    for policy, count in shares.items():
        parts[inspection[policy]] += count
    assert abs(parts["none"] / total - 0.50) < 0.01
    assert abs(parts["flow"] / total - 0.25) < 0.01
    assert abs(parts["proxy"] / total - 0.25) < 0.01
    assert abs(sum(len(k[0][0]) == 16 for k in sessions) / total - 0.20) < 0.01
    assert abs(sum(k[2] == "TCP" for k in sessions) / total - 0.75) < 0.01
    assert abs(packets["TCP"] / packets.total() - 0.75) < 0.02
    udp = {3, 6}
    assert all((k[2] == "UDP") == (p in udp) for k, p in sessions.items())


def test_mix_objects_are_4096_bytes():
    runs = collections.Counter()
    course = synth.make("mix").course
    for row in synth.Mix.scripts[0].rows:
        direction, _, payload = parse_row(row)
        if payload:
            runs[direction] += len(payload)
    assert runs == {">": 3 * 400, "<": 3 * 4096}
    assert course.steps == 18


def test_mix_policies_are_rows_of_the_settings_form():
    assert [p["id"] for p in synth.MIX_POLICIES] == list(range(1, 9))
    assert synth.make("mix").policies is synth.MIX_POLICIES
    for row in synth.MIX_POLICIES:
        assert set(row) == {"id", "source", "destination", "protocol", "ports", "action",
                            "inspection"}


def test_snap_cuts_the_frames_and_keeps_the_wire_length():
    whole, cut = (small("mix", 1000, snap_bytes=n).part(0, 1000) for n in (0, 96))
    assert (cut.length == whole.length).all()
    assert (cut.captured == np.minimum(whole.length, 96)).all()
    assert all(whole.frame(i)[:96] == cut.frame(i) for i in range(1000))


@pytest.mark.parametrize("name", NAMES)
def test_the_pcap_holds_the_same_frames(name, tmp_path):
    path = tmp_path / "w.pcap"
    workload = small(name, 10_000, rate_pps=777, snap_bytes=100)
    seen = []
    packets, size = synth.to_pcap(path, workload, lambda *x: seen.append(x))
    assert (packets, size) == (10_000, path.stat().st_size) == seen[-1]
    (chunk,) = workload.chunks(10_000)
    with RawPcapReader(str(path)) as reader:
        assert reader.nano and reader.linktype == 1
        for i, (frame, meta) in enumerate(reader):
            assert frame == chunk.frame(i)
            assert (meta.sec * 10**9 + meta.usec, meta.wirelen) == (
                int(chunk.time_ns[i]), int(chunk.length[i]))
    assert i == 9999


def test_standard_output_is_a_path(monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", type("Out", (), {"buffer": out})())
    synth.to_pcap("-", small("web", 10))
    assert out.getvalue()[:4] == bytes.fromhex("4d3cb2a1")


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        synth.to_pcap(tmp_path / "missing" / "w.pcap", small("web", 10))


def test_the_reader_has_the_attributes_of_a_capture():
    with small("web", 100, seed=3).open(chunk_size=30) as reader:
        assert [len(c) for c in reader] == [30, 30, 30, 10]
        assert (reader.packets, reader.position_bytes, reader.size_bytes) == (100, 100, 100)
        assert reader.fault is None and reader.format == "synth"
        assert reader.path.startswith("synth:web?sessions=200&packets=100")


def test_every_workload_says_what_it_is():
    for name in NAMES:
        assert len(synth.make(name).description) > 30
        assert "seed" in synth.parameters(name)
