"""Scapy as a reader, and packets made with Scapy: the frames of the native readers, or a fault."""

import gzip
import logging

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import PcapReader, RawPcapReader, rdpcap
from test_capture import (
    FRAMES,
    capture,
    enhanced,
    interface,
    obsolete,
    pcap,
    rows,
    section,
    simple,
    small_pcap,
    small_pcapng,
    zstd,
)

from fwcore.capture import CaptureError, from_packets, open_capture

__all__ = ["capture"]
BOTH = pytest.mark.parametrize("reader", ["RawPcapReader", "PcapReader"])


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("scapy").setLevel(logging.CRITICAL)


def same(path, reader):
    """Both readers give the same frames and the same fault; returns the one by Scapy."""
    native, scapy = open_capture(path), open_capture(path, reader=reader)
    assert rows(scapy) == rows(native)
    assert scapy.format == native.format
    assert scapy.packets == native.packets
    assert (scapy.fault and (scapy.fault.byte_offset, scapy.fault.packet)) == (
        native.fault and (native.fault.byte_offset, native.fault.packet))
    return scapy


@BOTH
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_pcap(capture, reader, order, magic):
    times = [(2**32 - 1 - i, 999_999 + i) for i in range(len(FRAMES))]
    scapy = same(capture(pcap(FRAMES, order, magic, 0x50000000 | 113, times)), reader)
    assert scapy.reader == reader
    assert scapy.load_s > 0


@BOTH
def test_pcapng(capture, reader):
    data = (section() + interface(tsresol=9) + interface(link=101, tsresol=0x80 | 33)
            + simple(b"first") + enhanced(b"one", 2**63 + 1) + enhanced(b"E", 12345, number=1)
            + obsolete(b"old", 7) + simple(b"later") + section(">") + interface(">", link=113)
            + enhanced(b"big", 5, ">"))
    assert same(capture(data), reader).reader == reader.replace("Pcap", "PcapNg")


@BOTH
@pytest.mark.parametrize("make", [small_pcap, small_pcapng])
def test_cut_at_every_byte(capture, reader, make):
    data, _ = make()
    for cut in range(28, len(data)):
        for pack in (bytes, gzip.compress) if reader == "RawPcapReader" else (bytes,):
            same(capture(pack(data[:cut])), reader)


def test_gzip_cut(capture):
    packed = gzip.compress(pcap([bytes([i]) * 700 for i in range(200)]), 0)
    scapy = same(capture(packed[:-20]), "RawPcapReader")
    assert scapy.fault is not None


@BOTH
def test_large_frames_are_not_cut(capture, reader):
    same(capture(pcap([b"a" * 65_535, b"b" * 65_536, b"c" * 262_140, b"d"])), reader)


def test_record_too_long(capture):
    same(capture(pcap([b"a", b"b" * 262_145, b"c"])), "RawPcapReader")


@BOTH
@pytest.mark.parametrize("bad", [enhanced(b"x", 1, number=9), interface(tsoffset=5)])
def test_what_scapy_would_pass_over_is_a_fault(capture, reader, bad):
    data = section() + interface() + enhanced(b"a", 1) + bad + enhanced(b"b", 2)
    scapy = open_capture(capture(data), reader=reader)
    assert [row[0] for row in rows(scapy)] == [b"a"]
    assert scapy.fault.byte_offset == len(section() + interface() + enhanced(b"a", 1))


@BOTH
def test_what_scapy_cannot_read(capture, reader):
    for data in (pcap(FRAMES, magic=0xA1B2CD34), zstd.compress(pcap(FRAMES))):
        with pytest.raises(CaptureError, match="--reader native"):
            open_capture(capture(data), reader=reader)
    with pytest.raises(CaptureError, match="--reader native"):
        open_capture("-", reader=reader)
    with pytest.raises(CaptureError, match="no such file"):
        open_capture("/nonexistent.pcap", reader=reader)
    with pytest.raises(CaptureError, match="empty"):
        open_capture(capture(b""), reader=reader)


def test_iterates_again_and_in_chunks(capture):
    path = capture(pcap(FRAMES))
    reader = open_capture(path, reader="scapy", chunk_size=4)
    assert [len(chunk) for chunk in reader] == [4, 2]
    assert rows(reader) == rows(open_capture(path))
    reader.close()
    assert reader.position_bytes == reader.size_bytes
    assert rows(reader) == rows(open_capture(path))


# --- packets ---

def test_dissected_packets(capture):
    frames = [bytes(Ether() / IP(src=f"10.0.0.{i}") / UDP(dport=53) / f"q{i}") for i in range(5)]
    for magic, unit in ((0xA1B2C3D4, 1000), (0xA1B23C4D, 1)):
        times = [(1_700_000_000 + i, 123_456 + i) for i in range(5)]
        path = capture(pcap(frames, magic=magic, times=times, lengths=[900 + i for i in range(5)]))
        wanted = rows(open_capture(path))
        assert wanted[1][2] == 1_700_000_001 * 10**9 + 123_457 * unit
        listed = from_packets(rdpcap(path))
        assert rows(listed) == wanted
        with PcapReader(path) as packets:
            read = from_packets(packets)
        assert rows(read) == wanted
        assert read.reader == "PcapReader"
        packet = rdpcap(path)[0]
        packet[UDP].dport = 99                 # what was captured counts
        assert rows(from_packets([packet]))[0][0] == frames[0]


def test_crafted_packets():
    packets = [Ether() / IP() / TCP(dport=i) for i in range(1, 4)]
    reader = from_packets(packets, times_ns=range(5, 8))
    assert rows(reader) == [(bytes(p), len(p), 5 + i, 1) for i, p in enumerate(packets)]
    assert rows(from_packets([IP() / UDP()], [1]))[0][3] in (12, 14, 101, 228)
    with pytest.raises(CaptureError, match=r"packet 1: was crafted.*times_ns"):
        from_packets(packets)
    with pytest.raises(CaptureError, match="packet 3: has no time"):
        from_packets(packets, [1, 2])
    with pytest.raises(CaptureError, match="packet 1: begins with Raw"):
        from_packets([Raw(b"x")], [1])
    assert rows(from_packets([Raw(b"x")], [1], link=147)) == [(b"x", 1, 1, 147)]


def test_bytes():
    assert rows(from_packets([b"a", bytearray(b"bc")])) == [(b"a", 1, 0, 1), (b"bc", 2, 0, 1)]
    assert rows(from_packets([b"a"], [7], link=101)) == [(b"a", 1, 7, 101)]
    assert rows(from_packets([])) == []
    with pytest.raises(CaptureError, match="packet 2: a str is neither"):
        from_packets([b"a", "b"])


@pytest.mark.parametrize("kind", [RawPcapReader, PcapReader])
def test_an_open_reader(capture, kind):
    for data, name in ((pcap(FRAMES), "Pcap"), (small_pcapng()[0], "PcapNg")):
        path = capture(data)
        with kind(path) as opened:
            reader = from_packets(opened)
        assert rows(reader) == rows(open_capture(path))
        assert reader.reader == kind.__name__.replace("Pcap", name)
        with kind(capture(data[:-1])) as opened:
            reader = from_packets(opened)
        assert reader.fault.packet == len(rows(reader)) > 0
