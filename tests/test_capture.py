"""Captures: every format by hand-made bytes, every way of ending badly, every way of cutting."""

import gzip
import io
import os
import random
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fwcore._layout import LATEST_NS
from fwcore.capture import CaptureError, Chunk, load, open_capture, open_captures, stream
from fwcore.capture.pcapng import resolution
from fwcore.capture.stream import ZSTD_BYTES, StreamSource, zstd_module
from fwcore.errors import FrameError, MissingExtra

PCAPS = Path(__file__).resolve().parent.parent / "pcaps"

zstd = zstd_module()
FRAMES = [b"\x00" * 14, b"abcdefghijklmnopq", b"", b"x" * 60, b"y" * 1514, b"z"]
US = 1_000


def pcap(frames, order="<", magic=0xA1B2C3D4, link=1, times=None, lengths=None, version=(2, 4)):
    """A pcap file of frames; times are (seconds, fraction)."""
    out = [struct.pack(order + "IHHIIII", magic, *version, 0, 0, 65535, link)]
    for i, frame in enumerate(frames):
        seconds, fraction = times[i] if times else (i, i)
        length = lengths[i] if lengths else len(frame)
        out.append(struct.pack(order + "IIII", seconds, fraction, len(frame), length))
        out.append(bytes(8) * (magic == 0xA1B2CD34) + frame)
    return b"".join(out)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34])
def test_a_file_behind_a_file_is_a_fault_where_it_begins(tmp_path, order, magic):
    """cat a.pcap b.pcap: its header would be a packet of 2055."""
    first = pcap(FRAMES[:2])
    path = tmp_path / "two.pcap"
    path.write_bytes(first + pcap(FRAMES, order, magic))
    with open_capture(str(path)) as reader:
        assert sum(map(len, reader)) == 2
        assert reader.fault.byte_offset == len(first) and "another capture" in reader.fault.message
    path.write_bytes(pcap([b"", b""], times=[(0xA1B2C3D4, 1), (5, 0x40002)]))
    with open_capture(str(path)) as reader:     # a packet of no bytes in that second is one
        assert sum(map(len, reader)) == 2 and reader.fault is None


def block(order, kind, body):
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + size + body + size


def section(order="<", major=1):
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1))


def option(order, code, value):
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(order="<", link=1, snaplen=0, tsresol=None, tsoffset=None):
    found = b""
    if tsresol is not None:
        found += option(order, 9, bytes([tsresol]))
    if tsoffset is not None:
        found += option(order, 14, struct.pack(order + "q", tsoffset))
    return block(order, 1, struct.pack(order + "HHI", link, 0, snaplen) + found)


def enhanced(frame, ticks, order="<", number=0, length=None):
    return block(order, 6, struct.pack(
        order + "5I", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame),
        len(frame) if length is None else length) + frame)


def obsolete(frame, ticks, order="<", number=0):
    return block(order, 2, struct.pack(
        order + "HHIIII", number, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(frame),
        len(frame)) + frame)


def simple(frame, order="<", length=None):
    return block(order, 3, struct.pack(order + "I", len(frame) if length is None else length)
                 + frame)


@pytest.fixture
def capture(tmp_path):
    """Write bytes to a file; returns its path."""
    def write(data, name="x.pcap"):
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)
    return write


def rows(reader):
    """All frames as (bytes, length, time_ns, link)."""
    return [(chunk.frame(i), int(chunk.length[i]), int(chunk.time_ns[i]), int(chunk.link[i]))
            for chunk in reader for i in range(len(chunk))]


# --- pcap ---

@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("magic", "name", "unit"), [
    (0xA1B2C3D4, "pcap", 1000), (0xA1B23C4D, "nsecpcap", 1), (0xA1B2CD34, "modpcap", 1000)])
def test_pcap_formats(capture, order, magic, name, unit):
    path = capture(pcap(FRAMES, order, magic, link=113))
    with open_capture(path) as reader:
        assert (reader.format, reader.reader, reader.compression) == (name, "native", "")
        assert rows(reader) == [(f, len(f), i * 10**9 + i * unit, 113)
                                for i, f in enumerate(FRAMES)]
        assert reader.packets == len(FRAMES)
        assert reader.fault is None
        assert reader.size_bytes == reader.position_bytes == os.path.getsize(path)


def test_pcap_fields_are_passed_on(capture):
    data = pcap([b"abcd"] * 3, link=0x30000000 | 101, lengths=[2, 4, 4_000_000_000],
                times=[(1, 1_000_000), (0, 0), (2**32 - 1, 2**32 - 1)])
    assert rows(open_capture(capture(data))) == [
        (b"abcd", 2, 2 * 10**9, 101), (b"abcd", 4, 0, 101),
        (b"abcd", 4_000_000_000, (2**32 - 1) * (10**9 + 1000), 101)]


def test_pcap_header_only(capture):
    reader = open_capture(capture(pcap([])))
    assert rows(reader) == []
    assert reader.fault is None


def test_pcap_longest_record(capture):
    frames = [b"a" * 262_144, b"b" * 262_145, b"c"]
    reader = open_capture(capture(pcap(frames)))
    assert len(rows(reader)) == 1
    assert reader.fault.byte_offset == 24 + 16 + 262_144
    assert "262145" in reader.fault.message
    assert len(rows(open_capture(capture(pcap(frames, link=249))))) == 3


# --- pcapng ---

@pytest.mark.parametrize("order", "<>")
def test_pcapng_blocks(capture, order):
    data = (section(order) + interface(order, link=1, snaplen=4)
            + interface(order, link=101, tsresol=9, tsoffset=100)
            + simple(b"abcdefgh", order) + block(order, 5, b"statistics")
            + enhanced(b"hello", 7, order) + block(order, 0x80000BAD, b"custom")
            + enhanced(b"world!", 5, order, number=1, length=99)
            + obsolete(b"old", 2**33, order) + simple(b"ab", order, length=2)
            + simple(b"abc", order, length=3000))
    with open_capture(capture(data)) as reader:
        assert reader.format == "pcapng"
        assert rows(reader) == [
            (b"abcd", 8, 0, 1), (b"hello", 5, 7 * US, 1), (b"world!", 99, 100 * 10**9 + 5, 101),
            (b"old", 3, 2**33 * US, 1), (b"ab", 2, 2**33 * US, 1), (b"abc\0", 3000, 2**33 * US, 1)]
        assert reader.fault is None


def test_pcapng_sections_forget(capture):
    data = (section() + interface(link=1) + enhanced(b"a", 1) + section(">")
            + interface(">", link=113, tsresol=0) + enhanced(b"b", 2, ">") + section()
            + enhanced(b"c", 3))
    reader = open_capture(capture(data, "named.pcap"))
    assert rows(reader) == [(b"a", 1, US, 1), (b"b", 1, 2 * 10**9, 113)]
    assert reader.fault.byte_offset == len(data) - len(enhanced(b"c", 3))
    assert reader.fault.packet == 2
    assert "interface" in reader.fault.message


@pytest.mark.parametrize("code", [0, 3, 6, 9, 10, 12, 18, 27, 28, 29, 127, 0x80, 0x80 | 10,
                                  0x80 | 30, 0x80 | 63, 0x80 | 64, 0x80 | 127])
def test_pcapng_times_are_exact(capture, code):
    values = [0, 1, 999, 2**32, 2**53 + 1, 10**18 + 7, 2**63, 2**64 - 1]
    base = 2 if code & 0x80 else 10
    for offset in (0, 5, -3, 2**62, -(2**63)):
        data = section() + interface(tsresol=code, tsoffset=offset) + b"".join(
            enhanced(b"", ticks) for ticks in values)
        wanted = [min(max(ticks * 10**9 // base ** (code & 127) + offset * 10**9, 0), LATEST_NS)
                  for ticks in values]
        assert [row[2] for row in rows(open_capture(capture(data)))] == wanted


def test_resolution_fits_64_bits():
    for code in range(256):
        assert all(0 <= part < 2**64 for part in resolution(code))


@pytest.mark.parametrize(("bad", "words"), [
    (block("<", 6, bytes(16)), "impossible length"),
    (b"\x06\0\0\0\x0b\0\0\0\0\0\0\0\x0b\0\0\0", "impossible length"),
    (b"\x99\0\0\0\x0e\0\0\0\0\0\0\0\x0e\0\0\0", "impossible length"),
    (b"\x99\0\0\0\x10\0\0\0\0\0\0\0\x14\0\0\0", "another length at its end"),
    (b"\x99\0\0\0\x00\0\0\x7f\0\0\0\0", "longer than"),
    (enhanced(b"a", 1, number=5), "does not describe"),
    (block("<", 6, struct.pack("<5I", 0, 0, 0, 5, 5) + b"abcd"), "more captured bytes"),
    (block("<", 6, struct.pack("<5I", 0, 0, 0, 300_000, 5) + b"abcd"), "longer than"),
    (block("<", 1, b"abcd"), "at least 20"),
    (block("<", 1, bytes(8) + b"\x09\0\xff\0"), "reaches past"),
    (section(major=2), "version 2.0"),
    (block("<", 0x0A0D0D0A, b"\1\2\3\4"), "byte-order mark"),
    (block("<", 0x0A0D0D0A, struct.pack("<I", 0x1A2B3C4D)), "section header of 16 bytes"),
    (section()[:-4] + b"\0\0\0\0", "after a section header"),
])
def test_pcapng_damage(capture, bad, words):
    start = section() + interface() + enhanced(b"good", 1)
    reader = open_capture(capture(start + bad + enhanced(b"lost", 2)))
    assert [row[0] for row in rows(reader)] == [b"good"]
    assert reader.fault.byte_offset == len(start)
    assert reader.fault.packet == 1
    assert words in reader.fault.message
    assert str(reader.fault).startswith(f"{reader.path}: byte {len(start)}: ")


def test_times_outside_capture_time_are_held_and_said(capture):
    """Two packets a microsecond apart come at one time: it is said, and which they are."""
    def odd(seconds):
        return block("<", 1, bytes(8) + option("<", 14, struct.pack("<q", seconds)))

    plain = section() + odd(0) + odd(2**62 // 10**9) + odd(-1)
    packets = [enhanced(b"a", 5), enhanced(b"b", 999_999, number=1), enhanced(b"c", 5, number=2),
               enhanced(b"d", 6, number=2), enhanced(b"e", 10**6, number=2)]
    for chunk_size in (1, 100):
        reader = open_capture(capture(plain + b"".join(packets)), chunk_size=chunk_size)
        for _ in range(2):
            assert [row[2] for row in rows(reader)] == [5000, 2**62, 0, 0, 0]
            (said,) = reader.notes
            assert said.startswith("3 packets, packet 2 the first, have times outside seconds 0 to")
    reader = open_capture(capture(plain + packets[0] + packets[2]))
    assert len(rows(reader)) == 2 and reader.notes[0].startswith("packet 2 has a time outside")


@pytest.mark.parametrize("order", ["<", ">"])
def test_blocks_that_only_wireshark_numbers_are_said(capture, order):
    """tshark 4.0 gives the packets behind the blocks the numbers 2, 4, 7: 1 is a custom block."""
    def other(kind):
        return block(order, kind, bytes(40))

    start = section(order) + interface(order) + other(0x0BAD)
    data = start + b"".join(
        enhanced(name, at, order) + b"".join(map(other, kinds)) for at, (name, kinds) in enumerate(
            [(b"a", [5, 9, 0x80000001]), (b"b", [0x40000BAD, 0x204]), (b"c", [0x7777])]))
    for chunk_size in (1, 2, 100):
        reader = open_capture(capture(data), chunk_size=chunk_size)
        for _ in range(2):
            assert [row[0] for row in rows(reader)] == [b"a", b"b", b"c"]
            assert reader.notes == [
                "4 blocks after packet 0, custom ones or entries of a log, no packets here and"
                " frames for Wireshark: its numbers are higher from there on"]
    late = section(order) + interface(order) + enhanced(b"a", 0, order) + other(9)
    reader = open_capture(capture(late + enhanced(b"b", 1, order)))
    assert len(rows(reader)) == 2 and reader.notes[0].startswith("a block after packet 1, custom")
    for quiet in (5, 10, 0x203, 0x223, 0xBAC, 0x40000BAE):
        reader = open_capture(capture(late[:-52] + other(quiet)))
        assert len(rows(reader)) == 1 and not reader.notes


@pytest.mark.parametrize("code, size, words", [
    (9, 0, "if_tsresol has 0 bytes"), (9, 2, "if_tsresol has 2 bytes"),
    (14, 4, "if_tsoffset has 4 bytes"), (14, 12, "if_tsoffset has 12 bytes")])
def test_pcapng_options_of_a_wrong_length_are_as_good_as_none(capture, code, size, words):
    """Wireshark reads on in microseconds and without an offset; so do we, and say so."""
    odd = block("<", 1, bytes(8) + option("<", code, b"\7" * size))
    reader = open_capture(capture(section() + interface() + odd + enhanced(b"a", 5, number=1)))
    assert [(row[0], row[2]) for row in rows(reader)] == [(b"a", 5000)]
    assert reader.fault is None
    assert len(reader.notes) == 1 and reader.notes[0].startswith(f"interface 1: {words}")
    many = open_capture(capture(section() + odd * 100 + enhanced(b"a", 5)))
    assert len(rows(many)) == 1 and len(many.notes) == 10
    filtered = open_capture(reader.path, filter="ip")
    assert not rows(filtered) and len(filtered.notes) == 10


def test_a_record_of_any_size_is_copied_a_few_times_at_most():
    """A new room is at least twice as large: 60 MiB of one block are gathered in a few of them."""
    source = StreamSource(io.BytesIO(bytes(60 << 20)), b"\x0a\x0d\x0d\x0a", close=False)
    rooms = set()
    while source.more(0):
        rooms.add(len(source._room))
    assert len(source.data) == (60 << 20) + 4 and 2 <= len(rooms) <= 8
    held = source.data
    assert not source.more(5) and source.data is held and source.base == 0


def test_what_was_handed_out_stays(monkeypatch):
    """Chunks keep their bytes while the room they are in is filled behind them."""
    monkeypatch.setattr("fwcore.capture.stream.BLOCK_BYTES", 4)
    source = StreamSource(io.BytesIO(bytes(range(4, 250))), bytes(range(4)), close=False)
    seen = []
    while source.more(len(source.data)):
        seen.append(source.data)
        assert not source.data.flags.writeable
    assert b"".join(part.tobytes() for part in seen) == bytes(range(250))


def test_pcapng_many_interfaces(capture):
    data = section() + b"".join(interface(link=i) for i in range(3000)) + b"".join(
        enhanced(b"", i, number=i) for i in range(3000))
    assert [row[3] for row in rows(open_capture(capture(data)))] == list(range(3000))


# --- truncation, chunk sizes, compression ---



def small_pcapng():
    """A pcapng file and the ends of its blocks, with the packets until there."""
    parts = [section(">"), interface(">"), enhanced(b"abc", 1, ">"), block(">", 5, b"skip"),
             simple(b"de", ">"), obsolete(b"f", 3, ">")]
    ends = [sum(map(len, parts[: i + 1])) for i in range(len(parts))]
    return b"".join(parts), dict(zip([0, *ends], (0, 0, 0, 1, 1, 2, 3), strict=True))


def small_pcap():
    data = pcap(FRAMES[:4])
    ends = [24]
    for frame in FRAMES[:4]:
        ends.append(ends[-1] + 16 + len(frame))
    return data, dict(zip(ends, range(5), strict=True))


@pytest.mark.parametrize("make", [small_pcap, small_pcapng])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_cut_at_every_byte(capture, make, pack):
    data, ends = make()
    whole = rows(open_capture(capture(data)))
    for cut in range(len(data)):
        path = capture(pack(data[:cut]))
        last = max((end for end in ends if end <= cut), default=0)
        if cut < (24 if make is small_pcap else 12):
            with pytest.raises(CaptureError, match=r"empty|within|too short"):
                open_capture(path)
            continue
        reader = open_capture(path, chunk_size=2)
        assert rows(reader) == whole[: ends[last]], cut
        if cut in ends:
            assert reader.fault is None
        else:
            assert (reader.fault.byte_offset, reader.fault.packet) == (last, ends[last])
            assert "ends" in reader.fault.message


@pytest.mark.parametrize("name", ["gz", "zst"])
def test_compressed_stream_cut_anywhere(capture, name):
    frames = [random.Random(i).randbytes(50 + i % 40) for i in range(300)]
    data = pcap(frames)
    packed = gzip.compress(data, mtime=0) if name == "gz" else zstd.compress(data)
    whole = rows(open_capture(capture(packed, "x." + name)))
    assert [row[0] for row in whole] == frames
    for cut in range(5, len(packed), 97):
        path = capture(packed[:cut], "x." + name)
        try:
            reader = open_capture(path)
        except CaptureError as error:
            assert "cut off" in str(error)  # noqa: PT017 - it need not be raised
            continue
        found = rows(reader)
        assert found == whole[: len(found)]
        assert "cut off" in reader.fault.message
        assert "decompressed" in reader.fault.message
        assert reader.fault.packet == len(found)


@pytest.mark.parametrize("name", ["gz", "zst"])
def test_compressed_stream_damaged(capture, name):
    data = pcap([random.Random(i).randbytes(80) for i in range(300)])
    packed = bytearray(gzip.compress(data, mtime=0) if name == "gz" else
                       zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}))
    packed[-3] ^= 0xFF
    path = capture(bytes(packed), "x.pcap." + name)
    whole = rows(open_capture(capture(data)))
    reader = open_capture(path, chunk_size=10)
    found = rows(reader)
    lost = 0 if name == "gz" else ZSTD_BYTES     # of a damaged block zstd may lose a step
    assert found == whole[:len(found)]
    assert len(found) >= 300 - lost // (16 + 80) - 1
    assert len(found) == 300 or name == "zst"
    assert "damaged" in reader.fault.message
    assert reader.fault.packet == len(found)


def test_zstd_is_an_extra(capture, monkeypatch):
    for name in ("compression", "backports"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=r"pip install 'fwcore\[zst\]'"):
        open_capture(capture(zstd.compress(pcap(FRAMES))))


def test_ten_thousand_empty_frames_are_no_more_work_than_their_bytes(capture):
    copied = []

    class Counting(bytes):
        def __getitem__(self, part):
            found = super().__getitem__(part)
            copied.append(len(found))
            return found

    packed = zstd.compress(pcap(FRAMES)) + zstd.compress(b"") * 10_000
    blocks = [Counting(packed), b""]
    fill = stream._Zstd(lambda: blocks.pop(0))
    assert b"".join(iter(fill, b"")) == pcap(FRAMES)
    assert max(copied) <= stream.FEED_BYTES


def test_several_members_and_frames(capture):
    data = pcap(FRAMES)
    whole = rows(open_capture(capture(data)))
    pieces = [data[:30], data[30:31], data[31:]]
    for pack in (gzip.compress, zstd.compress):
        reader = open_capture(capture(b"".join(map(pack, pieces))))
        assert rows(reader) == whole
        assert reader.fault is None
    padded = gzip.compress(data, mtime=0) + bytes(700_000)
    reader = open_capture(capture(padded))
    assert rows(reader) == whole
    assert reader.fault is None


@pytest.mark.parametrize("make", [small_pcap, small_pcapng])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_chunk_size_and_block_size_do_not_matter(capture, monkeypatch, make, pack):
    data, _ = make()
    path = capture(pack(data))
    whole = rows(open_capture(path))
    for block_bytes in (1, 13, 4096):
        monkeypatch.setattr("fwcore.capture.stream.BLOCK_BYTES", block_bytes)
        for size in (1, 2, 7, 4096, 1 << 40):
            reader = open_capture(path, chunk_size=size)
            chunks = list(reader)
            assert all(0 < len(chunk) <= size for chunk in chunks)
            assert rows(chunks) == whole
            assert reader.packets == len(whole)


@settings(max_examples=60, deadline=None)
@given(frames=st.lists(st.binary(max_size=80), max_size=30), order=st.sampled_from("<>"),
       size=st.integers(1, 9), ng=st.booleans())
def test_round_trip(tmp_path_factory, frames, order, size, ng):
    if ng:
        data = section(order) + interface(order) + b"".join(
            enhanced(f, i, order) for i, f in enumerate(frames))
    else:
        data = pcap(frames, order)
    path = tmp_path_factory.mktemp("c") / "x"
    path.write_bytes(data)
    reader = open_capture(str(path), chunk_size=size)
    assert [row[0] for row in rows(reader)] == frames
    assert reader.fault is None


@settings(max_examples=150, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
       ng=st.booleans(), size=st.sampled_from([1, 3, 4096]))
def test_garbage_never_reads_outside(tmp_path_factory, flips, ng, size):
    data = bytearray((small_pcapng if ng else small_pcap)()[0])
    for where, value in flips:
        data[where % len(data)] = value
    path = tmp_path_factory.mktemp("c") / "x"
    path.write_bytes(data)
    try:
        reader = open_capture(str(path), chunk_size=size)
    except CaptureError:
        return
    for chunk in reader:
        assert (chunk.offset + chunk.captured <= len(chunk.data)).all()
        assert (chunk.time_ns >= 0).all()
        assert (chunk.time_ns <= LATEST_NS).all()


def test_large_stream_is_carried_over(capture):
    frames = [bytes([i % 256]) * (i * 37 % 1500) for i in range(20_000)]
    data = pcap(frames)
    assert len(data) > 3 * (4 << 20)
    for pack in (lambda d: gzip.compress(d, 1, mtime=0), lambda d: zstd.compress(d, 1)):
        reader = open_capture(capture(pack(data)))
        assert [row[0] for row in rows(reader)] == frames
        assert reader.fault is None
        assert reader.position_bytes == os.path.getsize(reader.path)


# --- where captures come from ---

def test_standard_input(monkeypatch, capture):
    for data in (pcap(FRAMES), gzip.compress(pcap(FRAMES), mtime=0)):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        reader = open_capture("-")
        assert [row[0] for row in rows(reader)] == FRAMES
        with pytest.raises(CaptureError, match="once"):
            next(iter(reader))


def test_standard_input_empty(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
    with pytest.raises(CaptureError, match="empty"):
        open_capture("-")


def test_named_pipe(tmp_path):
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    child = os.fork()
    if child == 0:
        with open(path, "wb") as file:
            file.write(pcap(FRAMES))
        os._exit(0)
    assert [row[0] for row in rows(open_capture(path))] == FRAMES
    os.waitpid(child, 0)


def test_iterates_again(capture):
    for data in (pcap(FRAMES), gzip.compress(pcap(FRAMES), mtime=0)):
        reader = open_capture(capture(data))
        first = rows(reader)
        assert rows(reader) == first
        reader.close()
        assert rows(reader) == first
        assert reader.packets == len(FRAMES)


def test_chunks_outlive_their_reader(capture):
    for data in (pcap(FRAMES), gzip.compress(pcap(FRAMES), mtime=0)):
        with open_capture(capture(data)) as reader:
            chunks = list(reader)
        del reader
        assert [row[0] for row in rows(chunks)] == FRAMES


def test_several_in_a_row(capture, tmp_path):
    early = pcap(FRAMES[:2], times=[(1, 0), (2, 0)])
    cut = pcap(FRAMES, times=[(2 + at, 0) for at in range(len(FRAMES))])[:-1]
    paths = [capture(small_pcapng()[0], "a"), capture(early, "b"), capture(cut, "c")]
    chain = open_captures(paths, chunk_size=3)
    assert [row[0] for row in rows(chain)] == [
        b"abc", b"de", b"f", *FRAMES[:2], *FRAMES[:-1]]
    assert chain.packets == 3 + 2 + 5
    assert [part.packets for part in chain.parts] == [3, 2, 5]
    assert chain.fault is chain.parts[2].fault
    assert chain.fault.path == paths[2]
    assert chain.format == "pcapng pcap"
    assert chain.size_bytes == sum(map(os.path.getsize, paths))
    with pytest.raises(CaptureError, match="no such file"):
        open_captures([*paths, str(tmp_path / "missing")])
    with pytest.raises(CaptureError, match="more than once"):
        open_captures(["-", "-"])


@pytest.mark.parametrize("empty_between", [False, True])
@pytest.mark.parametrize("size", [1, 4096])
def test_captures_that_do_not_follow_each_other_are_refused(capture, empty_between, size):
    """The second begins within the first, though it ends later."""
    first = capture(pcap(FRAMES[:2], times=[(1, 0), (1_700_000_000, 250_000)]), "first")
    second = capture(pcap(FRAMES[:2], times=[(1_700_000_000, 249_999), (1_700_000_009, 0)]), "next")
    between = [capture(pcap([]), "between")] * empty_between
    with pytest.raises(CaptureError) as refused:
        rows(open_captures([first, *between, second], chunk_size=size))
    said = str(refused.value)
    assert said.startswith(f"{second} begins at 2023-11-14 22:13:20.249999, before {first} ends")
    assert "22:13:20.250000" in said and "order them" in said
    assert len(rows(open_captures([first, second, second][:1]))) == 2


@pytest.mark.parametrize(("data", "words"), [
    (b"", "is empty"), (b"ab", "too short"), (b"abcdefgh" * 9, "not a capture"),
    (pcap([])[:23], "within the 24 bytes"),
    (gzip.compress(b"", mtime=0), "empty once decompressed"),
    (gzip.compress(gzip.compress(pcap([]), mtime=0), mtime=0),
     "gzip within gzip"),
    (gzip.compress(b"some text", mtime=0), "not a capture"), (b"BZh91AY&SY", "bzip2"),
    (b"\xfd7zXZ\0\0\0", "xz"), (b"snoop\0\0\0", "snoop"), (b"\x1f\x8b\x08\x00", "cut off"),
    (b"\x1f\x8bnot gzip at all", "damaged"), (b"\x28\xb5\x2f\xfd" + b"\xff" * 40, "damaged"),
    (pcap([], version=(9, 1)), "version 9.1"), (section()[:8] + b"\0\0\0\0", "byte-order mark"),
])
def test_what_is_no_capture(capture, data, words):
    path = capture(data, "x.pcap.gz")
    with pytest.raises(CaptureError, match=words) as error:
        open_capture(path)
    assert str(error.value).startswith(path)
    assert error.value.exit_code == 2
    assert len(str(error.value).splitlines()) == 1


def test_named_gz_but_is_not(capture):
    assert len(rows(open_capture(capture(pcap(FRAMES), "x.pcap.gz")))) == len(FRAMES)
    with pytest.raises(CaptureError, match="not compressed either"):
        open_capture(capture(b"plain text", "x.pcap.gz"))


def test_cannot_be_opened(tmp_path, capture):
    with pytest.raises(CaptureError, match="no such file"):
        open_capture(str(tmp_path / "none.pcap"))
    with pytest.raises(CaptureError, match="is a directory"):
        open_capture(str(tmp_path))
    with pytest.raises(CaptureError, match="unknown reader 'nativ'"):
        open_capture(capture(pcap([])), reader="nativ")
    with pytest.raises(CaptureError, match="chunk_size: 0 is below 1"):
        open_capture(capture(pcap([])), chunk_size=0)


# --- chunks ---

def test_chunk_from_frames():
    chunk = Chunk.from_frames(FRAMES, [0, 1, 2, 3, 4, LATEST_NS], link=101)
    assert [chunk.frame(i) for i in range(len(chunk))] == FRAMES
    assert chunk.time_ns.tolist() == [0, 1, 2, 3, 4, LATEST_NS]
    *arrays, matched, parsed = Chunk.__slots__
    assert (matched, parsed) == ("matched", "parsed")
    assert chunk.matched is chunk.parsed is None                # nobody has read ahead
    assert [getattr(chunk, name).dtype for name in arrays] == [
        np.uint8, np.uint64, np.uint32, np.uint32, np.int64, np.uint16]
    assert chunk.slice(1, 3).frame(0) == FRAMES[1]
    assert len(chunk.slice(4, 99)) == 2
    both = Chunk.concatenate([chunk.slice(0, 2), chunk.slice(2, 6), chunk])
    assert [both.frame(i) for i in range(len(both))] == FRAMES * 2
    assert len(Chunk.concatenate([])) == len(Chunk.from_frames([], [])) == 0
    with pytest.raises(FrameError, match="one of each"):
        Chunk.from_frames(FRAMES, [1])


def test_load(capture):
    for data in (pcap(FRAMES), gzip.compress(pcap(FRAMES), mtime=0)):
        chunk = load(open_capture(capture(data), chunk_size=2))
        assert [chunk.frame(i) for i in range(len(chunk))] == FRAMES


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("before", "after"), [
    ("web.pcap", "two-interfaces.pcapng"), ("two-interfaces.pcapng", "web.pcap"),
    ("web.pcap", "conserve.toml")])
def test_a_later_capture_that_was_written_anew_before_its_turn(tmp_path, threads, before, after):
    """What it is was asked when it was opened; it was a KeyError."""
    later = tmp_path / "later.pcap"
    later.write_bytes((PCAPS / before).read_bytes())
    with open_captures([str(PCAPS / "web.pcap"), str(later)], threads=threads) as reader:
        chunks = iter(reader)
        assert len(next(chunks))
        later.write_bytes((PCAPS / after).read_bytes())
        for again in (chunks, reader.parts[1]):
            with pytest.raises(CaptureError, match=r"later\.pcap: .*it was written anew since"):
                list(again)
        later.write_bytes((PCAPS / before).read_bytes())
        assert len(rows(reader.parts[1])) == reader.parts[1].packets > 0
