"""Written captures are read back, natively and by Scapy, to the nanosecond."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from frames import ethernet, ip, udp
from scapy.utils import RawPcapNgReader, RawPcapReader
from test_capture import FRAMES, rows

from fwcore.capture import (
    CaptureError,
    Chunk,
    PcapngWriter,
    PcapWriter,
    capture_writer,
    open_capture,
)
from fwcore.cli import main
from fwcore.errors import OutputError

TIMES = [0, 1, 10**9 - 1, 1_700_000_000_123_456_789, 5, (2**32 - 1) * 10**9 + 999_999_999]


def test_round_trip(tmp_path):
    path = str(tmp_path / "out.pcap")
    chunk = Chunk.from_frames(FRAMES, TIMES, [len(f) + 3 for f in FRAMES], link=101)
    with PcapWriter(path) as writer:
        assert writer.write(chunk) == len(FRAMES)
        assert writer.write(chunk, np.arange(len(chunk)) % 2 == 1) == 3
        assert writer.write(chunk, np.zeros(len(chunk), bool)) == 0
        assert writer.packets == 9
    whole = rows([chunk])
    reader = open_capture(path)
    assert rows(reader) == whole + whole[1::2]
    assert reader.format == "nsecpcap"
    with RawPcapReader(path) as raw:
        assert [data for data, _ in raw] == FRAMES + FRAMES[1::2]


def test_no_frames(tmp_path):
    path = str(tmp_path / "out.pcap")
    with PcapWriter(path, link=113):
        pass
    assert rows(open_capture(path)) == []


def test_standard_output(monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
    with PcapWriter("-") as writer:
        writer.write(Chunk.from_frames([b"abc"], [5]))
    assert len(out.getvalue()) == 24 + 16 + 3


def test_what_does_not_fit(tmp_path):
    path = str(tmp_path / "out.pcap")
    mixed = Chunk.from_frames([b"a", b"b", b"c"], [0, 0, 0], link=[1, 1, 101])
    with PcapWriter(path) as writer:
        with pytest.raises(CaptureError, match="packet 3 has link type 101 and the file 1"):
            writer.write(mixed)
        with pytest.raises(CaptureError, match="after 2106"):
            writer.write(Chunk.from_frames([b"a"], [2**62]))
        outside = mixed.slice(0, 1)
        outside.captured[0] = 9
        with pytest.raises(CaptureError, match="not there"):
            writer.write(outside)
    with pytest.raises(OutputError, match="cannot be written"):
        PcapWriter(str(tmp_path / "none" / "out.pcap"))


def test_pcapng_holds_frames_of_all_link_types_and_times(tmp_path):
    path = str(tmp_path / "out.pcapng")
    links = [1, 101, 1, 113, 101, 0]
    chunk = Chunk.from_frames(FRAMES, [*TIMES[:5], 2**62], [len(f) + 3 for f in FRAMES],
                              link=links)
    with capture_writer(path) as writer:
        assert isinstance(writer, PcapngWriter)
        assert writer.write(chunk, np.array(links) == 1) == 2    # one interface, then all others
        assert writer.write(chunk) == 6
    whole = rows([chunk])
    assert rows(open_capture(path)) == [whole[0], whole[2], *whole]
    with RawPcapNgReader(path) as raw:
        assert [data for data, _ in raw] == [FRAMES[0], FRAMES[2], *FRAMES]


def test_a_pcapng_file_without_frames_and_one_with_a_frame_that_is_not_there(tmp_path):
    path = str(tmp_path / "out.pcapng")
    with PcapngWriter(path, link=113):
        pass
    assert rows(open_capture(path)) == []
    chunk = Chunk.from_frames([b"abcde"], [7])
    for field, value in (("captured", 9), ("captured", 2**32 - 1), ("offset", 2**63),
                         ("time_ns", -1)):
        wrong = Chunk.from_frames([b"abcde"], [7])
        getattr(wrong, field)[0] = value
        with PcapngWriter(path) as writer, pytest.raises(CaptureError, match="not there"):
            writer.write(wrong)
    with PcapngWriter(path) as writer:
        writer.write(chunk)
    assert rows(open_capture(path)) == rows([chunk])


@pytest.mark.parametrize("name", ["out.pcap", "out.pcapng"])
def test_a_capture_of_two_link_types_is_written_by_a_replay(tmp_path, name, capsys):
    """pcap has one: the error says which name would do."""
    source = tmp_path / "in.pcapng"
    frames = [ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(1, 2))), ip("10.0.0.3", "10.0.0.2", 17,
                                                                     udp(1, 2))]
    with PcapngWriter(str(source)) as writer:
        writer.write(Chunk.from_frames(frames, [0, 5], link=[1, 101]))
    code = main(["replay", str(source), "--quiet", "--write", str(tmp_path / name)])
    if name == "out.pcap":
        assert code == 2 and "ends with .pcapng" in capsys.readouterr().err
        return
    assert code == 0
    assert rows(open_capture(str(tmp_path / name))) == rows(open_capture(str(source)))
