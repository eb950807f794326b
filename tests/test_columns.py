"""Frames as columns against the plain twin's parser, and the shortcut against the long way."""

import subprocess
import sys

import numpy as np
import pytest
from examples import SHARE
from frames import ethernet, icmp_error, ip, tcp, udp
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from test_twin_frames import FRAMES, damage, damaged
from twin import assert_columns

from fwcore._columns import (
    DESTINATION,
    PORTS,
    SOURCE,
    Fragment,
    Kind,
    flow_columns,
    parse,
    parse_columns,
)
from fwcore.capture import Chunk


def chunk_of(rows):
    """A chunk of (frame, wire length, link)."""
    frames, lengths, links = zip(*rows, strict=True)
    return Chunk.from_frames(frames, range(len(frames)), lengths, links)


def assert_flows(chunk, **options):
    """Whose frames are, by the shortcut, as the long way has it."""
    rows, (flow, swapped, parts) = parse_columns(chunk, **options), flow_columns(chunk, **options)
    assert (flow == rows["flow"]).all()
    assert (swapped == rows["swapped"]).all()
    assert (parts == np.flatnonzero(rows["fragment"] != Fragment.WHOLE)).all()
    return set(rows["fragment"].tolist())


@pytest.mark.parametrize("zone", [False, True])
def test_golden_frames_as_the_twin_reads_them(zone):
    assert_columns(chunk_of(FRAMES), zone)
    assert_columns(chunk_of(FRAMES[::7]), zone, shift=0xFFFFFE)
    assert assert_flows(chunk_of(FRAMES)) == assert_flows(
        chunk_of(FRAMES), shift=0xFFFFFE, cut=True) == {*Fragment}


@hypothesis_settings(max_examples=SHARE, deadline=None,
                     suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(damaged, st.booleans())
def test_damaged_frames_as_the_twin_reads_them(rows, zone):
    assert_columns(damage(rows), zone)
    assert_flows(damage(rows))


@pytest.mark.parametrize("cut", [False, True])
def test_frames_whose_length_on_the_wire_was_lost(cut):
    """Every fifth prefix of golden frames, which the record calls whole."""
    short = [(frame[:end], end, link) for frame, _, link in FRAMES[::7]
             for end in range(0, len(frame), 5)]
    assert_columns(chunk_of(short), False, cut=cut)
    for data, _, link in short[::11]:
        frame = np.frombuffer(data, np.uint8)
        assert parse(frame, link=link, cut=cut) == parse(
            frame, link=link, cut=cut, shortcut=False)


def test_the_shortcut_finds_what_the_long_way_finds_in_every_prefix():
    """Of every golden frame, cut at what was captured and at what was on the wire."""
    seen = set()
    for frame, wire, link in FRAMES:
        whole = np.frombuffer(frame, np.uint8)
        if link != 1:
            assert parse(whole, wire, link) == parse(whole, wire, link, shortcut=False)
            continue  # there is none
        for cut in range(min(len(frame), 80) + 1):
            for length in {wire, cut}:
                if (frame[:cut], length) in seen:
                    continue
                seen.add((frame[:cut], length))
                short = parse(whole[:cut], length, link)
                assert short == parse(whole[:cut], length, link, shortcut=False), (
                    frame[:cut].hex(), length)
        for given_ in ({"zone": True}, {"shift": 0xFFFFF0}, {"seeds": (1, 2, 3, 4, 5, 6)}):
            assert parse(whole, wire, link, **given_) == parse(
                whole, wire, link, shortcut=False, **given_)
    assert len(seen) > 10_000


@hypothesis_settings(max_examples=SHARE, deadline=None,
                     suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(damaged)
def test_the_shortcut_finds_what_the_long_way_finds_in_damaged_frames(rows):
    chunk = damage(rows)
    columns = parse_columns(chunk)
    for i, row in enumerate(columns):
        frame = np.frombuffer(chunk.frame(i), np.uint8)
        short = parse(frame, int(chunk.length[i]), int(chunk.link[i]))
        assert short == parse(frame, int(chunk.length[i]), int(chunk.link[i]), shortcut=False)
        assert (row["kind"], row["payload"], row["flow"]) == (
            short["kind"], short["payload"], short["hash"])


def test_what_was_captured_of_a_cut_frame_is_there():
    frame = ethernet(ip("10.0.0.1", "192.0.2.9", 6, tcp(80, 5000, "SA")))
    chunk = chunk_of([(frame[:cut], len(frame), 1) for cut in (13, 14, 24, 30, 34, 37, 38, 48)])
    rows = parse_columns(chunk)
    assert rows["ethertype"].tolist() == [0] + [0x0800] * 7
    assert rows["protocol"].tolist() == [0, 0] + [6] * 6
    both = SOURCE | DESTINATION
    assert rows["has"].tolist() == [0, 0, 0, SOURCE, both, both, both | PORTS, both | PORTS]
    assert rows["tcp_flags"].tolist() == [0] * 7 + [18]
    assert set(rows["kind"].tolist()) == {Kind.TRUNCATED}


def test_a_quote_has_the_ends_of_its_own_and_the_key_of_what_it_quotes():
    quoted = ip("10.0.0.5", "203.0.113.9", 17, udp(4321, 53))
    rows = parse_columns(chunk_of([(frame, len(frame), 1) for frame in (
        ethernet(quoted), ethernet(ip("192.0.2.1", "10.0.0.5", 1, icmp_error(quoted))))]))
    assert rows["kind"].tolist() == [Kind.KEYED, Kind.QUOTE]
    assert rows["flow"][0] == rows["flow"][1] != 0
    assert (rows["key"][0] == rows["key"][1]).all()
    assert rows["source"][1].tolist() == [0, 0xC0000201]


def test_misuse():
    frame = ethernet(ip("10.0.0.1", "192.0.2.9", 17, udp(1, 2)))
    chunk = chunk_of([(frame, len(frame), 1)])
    with pytest.raises(ValueError, match="seeds: 1 numbers"):
        parse_columns(chunk, seeds=(1,))
    with pytest.raises(ValueError, match="seeds: 7 numbers"):
        parse(chunk.data, seeds=(1,) * 7)
    far = Chunk(chunk.data, chunk.offset + np.uint64(1), *(
        getattr(chunk, name) for name in ("captured", "length", "time_ns", "link")))
    for read in (parse_columns, flow_columns):
        with pytest.raises(ValueError, match="frame 0 reaches past the data"):
            read(far)
    short = Chunk(chunk.data, chunk.offset, chunk.captured[:0], *(
        getattr(chunk, name) for name in ("length", "time_ns", "link")))
    for read in (parse_columns, flow_columns):
        with pytest.raises(ValueError, match="differ in length"):
            read(short)
    assert len(parse_columns(Chunk.from_frames([], []))) == 0
    assert len(parse_columns(Chunk.from_frames([b""], [0]))) == 1


RACE = """
import sys, threading, time
import subprocess
import sys

import numpy as np
from fwcore._columns import flow_columns, parse_columns
from fwcore.capture import Chunk
from fwcore.errors import FrameError
n, read = 50_000, {"parse": parse_columns, "flow": flow_columns}[sys.argv[1]]
chunk = Chunk.from_frames([bytes(60)] * n, range(n))
arrays = {name: np.array(getattr(chunk, name)) for name in (
    "data", "offset", "captured", "length", "time_ns", "link")}
chunk, done = Chunk(**arrays), threading.Event()

def spoil():
    good = {name: arrays[name].copy() for name in ("offset", "captured")}
    while not done.is_set():
        arrays["offset"][:], arrays["captured"][:] = 2**40, 2**31
        for name, array in good.items():
            arrays[name][:] = array

threading.Thread(target=spoil, daemon=True).start()
until = time.monotonic() + 1.5
while time.monotonic() < until:
    try:
        read(chunk)
    except FrameError:
        pass
done.set()
"""


@pytest.mark.parametrize("what", ["parse", "flow"])
def test_a_place_that_changes_while_it_is_read(what):
    """What was looked at is what is read: it ended the process within a second or so."""
    done = subprocess.run([sys.executable, "-c", RACE, what], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
