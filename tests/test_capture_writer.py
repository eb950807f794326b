"""Written captures are read back, natively and by Scapy, to the nanosecond."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scapy.utils import RawPcapReader
from test_capture import FRAMES, rows

from fwcore.capture import CaptureError, Chunk, PcapWriter, open_capture
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
