"""Captures whose tool cut frames and lost their length on the wire: noticed, said, and a choice."""

import numpy as np
import pytest
from frames import ethernet, ip, tcp, udp
from twin import assert_same

from fwcore import cli
from fwcore.capture import Chunk, PcapWriter
from fwcore.replay import replay
from fwcore.report import text
from fwcore.settings import load

SEEN = 60      # bytes that the tool kept of each frame


def cut(frame):
    return frame[:SEEN]


def capture():
    """A connection with 400 bytes of payload each way, DNS, and a frame that is really broken."""
    ends, back = ("10.0.0.5", "192.0.2.1"), ("192.0.2.1", "10.0.0.5")
    whole = [ethernet(packet) for packet in (
        ip(*ends, 6, tcp(1000, 80, "S")), ip(*back, 6, tcp(80, 1000, "SA")),
        ip(*ends, 6, tcp(1000, 80, "A", 400)), ip(*back, 6, tcp(80, 1000, "A", 400)),
        ip("2001:db8::5", "2001:db8::1", 17, udp(9, 53, 300)),
        ip(*ends, 17, udp(9, 53, 10)))]
    broken = bytearray(whole[0])
    broken[14] = 0x42                                     # IHL below 5
    return Chunk.from_frames([*map(cut, whole), bytes(broken)], range(len(whole) + 1))


def test_they_are_noticed_and_said():
    result = replay([capture()], load("plain"))
    assert result["reasons.malformed"] == 4 and result["short_frames"] == 3
    flat = " ".join(text.summary(result).split())
    assert "3 frames malformed only because IP says more than the record" in flat
    assert 'short_frames = "cut"' in flat


def test_taken_as_cut_they_belong_to_their_sessions():
    settings = load("plain", short_frames="cut")
    result = replay([capture()], settings)
    assert result["reasons.malformed"] == 1 and "short_frames" not in result.data
    assert result["reasons.hit"] == 3 and result["sessions.created"] == 2
    assert result["reasons.truncated"] == 1                # the header of UDP behind IPv6's


def test_payload_is_that_of_the_ip_header():
    policy = {"id": 1, "protocol": "tcp", "action": "accept", "inspection": "flow"}
    settings = load("fortios-7", short_frames="cut", policies=[policy, {"id": 2}],
                    ips_throughput_bps=8)
    assert replay([capture()], settings)["ips.filled_bytes"] == 800


@pytest.mark.parametrize("choice", ["malformed", "cut"])
def test_engine_and_twin_agree(choice):
    chunk = capture()
    assert_same(load("plain", short_frames=choice), [chunk, chunk])
    lost = Chunk(chunk.data, chunk.offset, chunk.captured, chunk.captured - np.uint32(1),
                 chunk.time_ns, chunk.link)               # captured beyond the record's length
    assert_same(load("plain", short_frames=choice), [lost])


def test_a_frame_that_the_record_calls_cut_is_not_counted():
    chunk = capture()
    told = Chunk(chunk.data, chunk.offset, chunk.captured, chunk.length + np.uint32(500),
                 chunk.time_ns, chunk.link)
    result = replay([told], load("plain"))
    assert result["reasons.malformed"] == 1 and "short_frames" not in result.data


def test_the_command_line_says_what_to_do(tmp_path, capfd):
    path = tmp_path / "short.pcap"
    writer = PcapWriter(str(path))
    chunk = capture()
    writer.write(chunk, np.ones(len(chunk), bool))
    writer.close()
    assert cli.main(["replay", str(path), "-q"]) == 0
    assert "note: 3 frames malformed only because" in capfd.readouterr().err
    assert cli.main(["replay", str(path), "-q", "--set", "short-frames=cut"]) == 0
    assert capfd.readouterr().err == ""
