"""Rings: what comes in goes out, whole, in order, and nothing is without a counter.

On virtual Ethernet devices in namespaces of the test's own; the walk over what a kernel could
write is held against hostile blocks anywhere.
"""

import os
import struct
import subprocess
import sys
import threading
import time

import live_net
import numpy as np
import pytest
from hypothesis import given, strategies as st

from fwcore._layout import Verdict
from fwcore._rings import BATCH, COUNTERS, ERROR, FRAMES, WOKEN, Interface, Rings, walk
from fwcore.errors import DataError, LiveError

MISSING = live_net.missing()
needs_net = pytest.mark.skipif(bool(MISSING), reason=MISSING)
MS = 1_000_000
FAILED = ("withheld", "cut")                            # of frames taken at an interface
UNSENT = ("full", "too_long", "down", "refused")        # of frames that were to leave by one


@pytest.fixture(scope="module")
def wire():
    with live_net.Wire() as made:
        yield made


@pytest.fixture(params=[False, True], ids=["blocks", "slots"])
def rings(wire, request):
    """Of both kinds of ring."""
    with wire.inside("firewall"):
        made = Rings(["in0", "out0"], ring_bytes=(64 if request.param else 8) << 20,
                     at_once=request.param)
    yield made
    made.close()


def settled(rings, outcome=None, arrived=0):
    """Takes and sends until so many arrived and all of them are accounted for; the counters."""
    end = time.monotonic() + live_net.PATIENCE_S
    while sum(row["arrived"] for row in rings.counters().values()) < arrived:
        assert time.monotonic() < end, rings.counters()
        rings.wait(MS)
    rings.deafen()
    while time.monotonic() < end:
        count = rings.take()
        if outcome is None:
            rings.send(np.zeros((count, 2), np.uint8))
        else:
            rings.send(outcome(count))
        found = rings.counters()
        if all(row["arrived"] == row["taken"] + row["lost"] + row["faulty"]
               for row in found.values()) and not count:
            return found
        rings.wait(MS)
    raise AssertionError(f"arrived is not taken + lost + faulty: {found}")


def balance(found):
    """Taken at all interfaces = withheld, cut, sent, or not sent for a reason that is counted."""
    total = {name: sum(row[name] for row in found.values()) for name in COUNTERS}
    assert total["taken"] == total["sent"] + sum(total[name] for name in (*FAILED, *UNSENT))
    return total


def frame(number, size=60, tag=None):
    head = b"\x02" + bytes(10) + b"\x01"
    if tag is not None:
        head += struct.pack("!HH", *tag)
    return (head + b"\x88\xb5" + struct.pack("!I", number)).ljust(size, b"\xa5")


def received(raw, count):
    """So many of our frames, as they come."""
    found = []
    while len(found) < count:
        data = raw.recv(1 << 16)
        if data[0] == 2:
            found.append(data)
    return found


# --- through --------------------------------------------------------------------------------------


@needs_net
def test_a_connection_passes_whole_and_every_frame_is_accounted_for(wire, rings):
    data = os.urandom(1 << 20)
    done = threading.Event()

    def forward():
        while not done.is_set():
            rings.forward(20 * MS)

    with wire.listen(5001) as listener, live_net.beside(forward):
        with live_net.beside(live_net.echo(listener)), wire.connect(5001) as client:
            assert live_net.exchange(client, data) == data
        done.set()
    found = settled(rings)
    total = balance(found)
    assert total["taken"] == total["sent"] > 10
    assert found["in0"]["taken"] == found["out0"]["sent"]
    assert found["in0"]["taken_bytes"] == found["out0"]["sent_bytes"] > len(data)
    bounds, frames = rings.delays()
    assert frames.sum() == total["sent"] and (np.diff(bounds) > 0).all()


@needs_net
def test_frames_come_out_as_they_went_in_and_in_their_order(wire, rings):
    client, server = wire.raw("client"), wire.raw("server")
    sent = [frame(i, 60 + i % 1400) for i in range(700)]
    for each in sent:
        client.send(each)
    settled(rings, arrived=700)
    assert received(server, len(sent)) == sent


@needs_net
def test_frames_of_two_interfaces_come_by_their_times(wire):
    ends = wire.raw("client"), wire.raw("server")
    with wire.inside("firewall"):
        rings = Rings(["in0", "out0"], at_once=True)
    for i in range(12):
        ends[i // 2 % 2].send(frame(i))
        time.sleep(0.001)                   # so that their times differ
    found = []
    while len(found) < 12:
        count = rings.take()
        assert count or rings.wait(500 * MS) & FRAMES
        at = rings.offset[:count].astype(np.int64)
        shown = [bytes(rings.data[each:each + 18]) for each in at]
        found += [int.from_bytes(each[14:], "big") for each in shown if each[0] == 2]
        rings.send(np.zeros((count, 2), np.uint8))
    rings.close()
    assert found == list(range(12))


@needs_net
@pytest.mark.parametrize("tag", [(0x8100, 5), (0x88A8, 0xE00A)])
def test_a_tag_that_the_kernel_took_out_is_put_back(wire, rings, tag):
    client, server = wire.raw("client"), wire.raw("server")
    server.setsockopt(263, 8, 1)      # SOL_PACKET, PACKET_AUXDATA: the tag comes beside the frame
    sent = frame(7, 80, tag)
    client.send(sent)
    assert rings.wait(500 * MS) & FRAMES
    assert rings.take() == 1
    at = int(rings.offset[0])
    assert bytes(rings.data[at:at + 80]) == sent
    assert rings.captured[0] == rings.length[0] == 80
    rings.send(np.zeros((1, 2), np.uint8))
    data, notes, _, _ = server.recvmsg(200, 200)
    assert data == sent[:12] + sent[16:]
    tci, tpid = struct.unpack_from("=HH", notes[0][2], 16)
    assert (tpid, tci) == tag
    assert rings.counters()["in0"]["tagged"] == 1


@needs_net
def test_what_is_dropped_is_withheld(wire, rings):
    client, server = wire.raw("client"), wire.raw("server")
    for i in range(100):
        client.send(frame(i))

    def every_third(count):
        made = np.zeros((count, 2), np.uint8)
        made[::3, 0] = Verdict.DROP
        return made

    total = balance(settled(rings, every_third, arrived=100))
    assert 34 <= total["withheld"] <= 40
    assert len(received(server, total["sent"])) == 100 - total["withheld"]


@needs_net
def test_one_interface_is_only_read(wire):
    with wire.inside("firewall"):
        rings = Rings(["in0"], ring_bytes=2 << 20)
    client = wire.raw("client")
    for i in range(10):
        client.send(frame(i))
    total = balance(settled(rings, arrived=10))
    assert total["taken"] == total["withheld"] == 10
    rings.close()


@needs_net
def test_what_a_ring_has_no_room_for_is_lost_and_counted(wire):
    with wire.inside("firewall"):
        rings = Rings(["in0", "out0"], ring_bytes=1 << 18)
    client = wire.raw("client")
    for i in range(500):
        client.send(frame(i, 1400))
    total = balance(settled(rings, arrived=500))
    assert total["lost"] > 100 and total["taken"] > 0
    assert total["arrived"] == 500
    rings.close()


@needs_net
def test_frames_too_long_for_the_other_side_are_counted(wire):
    with live_net.Wire() as own:
        own.ip("firewall", "link set out0 mtu 600")
        with own.inside("firewall"):
            rings = Rings(["in0", "out0"], ring_bytes=2 << 20)
        own.raw("client").send(frame(1, 1000))
        total = balance(settled(rings, arrived=1))
        assert total["too_long"] == 1 == total["taken"]
        rings.close()


@needs_net
def test_an_interface_goes_and_comes(wire):
    with live_net.Wire() as own:
        with own.inside("firewall"):
            rings = Rings(["in0", "out0"], ring_bytes=2 << 20)
            assert rings.heal() == {"in0": "up", "out0": "up"}
            own.ip("firewall", "link set out0 down")
            assert rings.wait(500 * MS) & ERROR
            assert rings.heal() == {"in0": "up", "out0": "down"}
            own.ip("firewall", "link set out0 up")
            assert rings.heal()["out0"] == "up"
            own.ip("firewall", "link del out0")
            assert rings.heal()["out0"] == "gone"
            own.raw("client").send(frame(1))
            while not (count := rings.take()):
                rings.wait(100 * MS)
            rings.send(np.zeros((count, 2), np.uint8))
            own.link("server", "out0")
            assert rings.heal()["out0"] == "up"
        server = own.raw("server")
        own.raw("client").send(frame(2))
        total = balance(settled(rings, arrived=2))
        assert received(server, 1) == [frame(2)]
        assert total["down"] == 1
        rings.close()


@needs_net
def test_a_wait_ends_when_it_is_woken_or_in_time(wire, rings):
    begin = time.monotonic()
    assert not rings.wait(5 * MS) & WOKEN      # a late frame of another test ends it, too
    rings.wake()
    assert rings.wait(10**9) & WOKEN
    assert time.monotonic() - begin < 0.9
    assert rings.now_ns <= rings.now_ns


@needs_net
def test_arrays_outlive_the_rings(wire):
    with wire.inside("firewall"):
        rings = Rings(["in0"], ring_bytes=1 << 18)
    data = rings.data
    rings.close()
    rings.close()
    del rings
    assert len(data) == 1 << 18 and int(data.sum()) >= 0
    assert Interface("lo").kind == 772


@needs_net
def test_batches_are_sent_before_the_next_is_taken(wire, rings):
    wire.raw("client").send(frame(1))
    rings.wait(500 * MS)
    assert rings.take() == 1
    for wrong in (np.zeros((2, 2), np.uint8), np.zeros((1, 3), np.uint8)):
        with pytest.raises(DataError):
            rings.send(wrong)
    with pytest.raises(DataError):
        rings.take()
    with pytest.raises(DataError):
        rings.forward(1)
    rings.send(np.zeros((1, 2), np.uint8))


# --- what cannot be had ---------------------------------------------------------------------------


@pytest.mark.parametrize(("names", "what"), [
    (["no-such-if0"], "no-such-if0: there is no such interface"),
    (["lo", "lo"], "two different interfaces"), ([], "two different interfaces"),
    (["a" * 16], "no name of an interface"), (["a/b"], "no name"), ([""], "no name"),
])
def test_interfaces_that_are_none_are_named(names, what):
    with pytest.raises(LiveError, match=what):
        Rings(names)


@pytest.mark.parametrize("given", [
    {"ring_bytes": 1}, {"block_bytes": 5000}, {"block_bytes": 1 << 30}, {"retire_ms": 0},
])
def test_sizes_that_cannot_be_are_refused(given):
    with pytest.raises(DataError):
        Rings(["lo"], **given)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give it up")
def test_without_permission_it_says_so():
    code = ("import os; from fwcore._rings import Rings; os.setgid(65534); os.setuid(65534)\n"
            "try: Rings(['lo'])\nexcept Exception as error: print(error)")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "lo: not permitted: frames of an interface need root or CAP_NET_RAW\n"


# --- what a kernel could write --------------------------------------------------------------------

BLOCK = 4096
FIELDS = {"next": 0, "snaplen": 12, "len": 16, "status": 20, "mac": 24, "tci": 32, "tpid": 36}
WIDTHS = dict.fromkeys(FIELDS, "=I") | {"mac": "=H", "tpid": "=H"}


def block(frames, status=1, count=None, first=48):
    """A block as the kernel writes it; each frame: its bytes, and fields to write over."""
    made, at = bytearray(BLOCK), 48
    places = []
    for data, fields in frames:
        places.append(at)
        mac = 98
        step = mac + len(data) + 7 & ~7
        struct.pack_into("=IIIIIIHH", made, at, step, 1, 2, len(data), len(data), 0, mac, mac + 14)
        made[at + mac:at + mac + len(data)] = data
        for name, value in fields.items():
            struct.pack_into(WIDTHS[name], made, at + FIELDS[name], value)
        at += step
    struct.pack_into("=IIIII", made, 0, 1, 0, status, len(frames) if count is None else count,
                     first)
    return made


def test_blocks_are_walked_until_one_is_not_ours():
    blocks = block([(frame(1), {}), (frame(2, 77), {})]) + block([(frame(3), {})]) + block([], 0)
    data = np.frombuffer(bytearray(blocks), np.uint8)
    rows, counters = walk(data, BLOCK)
    assert [bytes(data[at:at + size]) for at, size, _ in rows] == [frame(1), frame(2, 77), frame(3)]
    assert counters["taken"] == 3 and counters["faulty"] == 0


@pytest.mark.parametrize(("limit", "ours"), [(1, [1, 1]), (2, [0, 1]), (3, [0, 0])])
def test_a_block_is_given_back_when_its_last_frame_is_taken(limit, ours):
    blocks = block([(frame(1), {}), (frame(2), {})]) + block([(frame(3), {})])
    data = np.frombuffer(blocks, np.uint8)
    assert len(walk(data, BLOCK, limit=limit)[0]) == limit
    assert data.view(np.uint32)[2::BLOCK // 4].tolist() == ours


@pytest.mark.parametrize("fields", [
    {"mac": 10}, {"mac": 65535}, {"snaplen": 1 << 31}, {"snaplen": 5000, "len": 5000},
    {"len": 59}, {"next": 0}, {"next": 8},
])
def test_a_frame_that_leaves_its_block_ends_the_block(fields):
    good = block([(frame(4), {})])
    blocks = block([(frame(1), {}), (frame(2), fields), (frame(3), {})]) + good
    rows, counters = walk(np.frombuffer(bytearray(blocks), np.uint8), BLOCK)
    assert [at // BLOCK for at, _, _ in rows] == [0, 1]
    assert (counters["taken"], counters["faulty"]) == (2, 2)


@pytest.mark.parametrize("fields", [{"next": 4}, {"next": 1 << 31}, {"next": 4000}])
def test_a_step_that_leaves_its_block_ends_the_block(fields):
    blocks = block([(frame(1), fields), (frame(2), {})])
    rows, counters = walk(np.frombuffer(bytearray(blocks), np.uint8), BLOCK)
    assert len(rows) + counters["faulty"] == 2 and len(rows) <= 1


numbers = st.one_of(st.integers(0, 200), st.integers(0, 5000), st.integers(0, 2**32 - 1))


@given(st.lists(st.tuples(
    st.binary(max_size=200), st.dictionaries(st.sampled_from(sorted(FIELDS)), numbers)),
    max_size=3), st.integers(0, 5), numbers)
def test_no_frame_reaches_past_its_block(frames, count, first):
    frames = [(data, {name: value & (0xFFFF if WIDTHS[name] == "=H" else 2**32 - 1)
                      for name, value in fields.items()}) for data, fields in frames]
    room = 48
    for data, _ in frames:
        room += 98 + len(data) + 8
    frames = frames if room < BLOCK else []
    data = np.frombuffer(block(frames, 1, count, first) + block([], 0), np.uint8)
    rows, counters = walk(data, BLOCK)
    assert counters["taken"] == len(rows) <= BATCH
    assert counters["taken"] + counters["faulty"] == count
    for at, captured, length in rows:
        assert at > 48 and at + captured <= BLOCK and captured <= length


def slot(data, **fields):
    """A slot of TPACKET_V2 as the kernel writes it, with fields written over."""
    made, mac = bytearray(BLOCK), 82
    row = {"status": 1, "len": len(data), "snaplen": len(data), "mac": mac, "net": mac + 14,
           "sec": 1, "nsec": 2, "tci": 0, "tpid": 0} | fields
    struct.pack_into("=IIIHHIIHH", made, 0, *row.values())
    made[mac:mac + len(data)] = data
    return made


def test_slots_are_walked_one_frame_each():
    tagged = slot(frame(2), status=1 | 16 | 64, tci=7, tpid=0x88A8)
    blocks = slot(frame(1)) + tagged + slot(frame(3), status=0) + slot(frame(4))
    data = np.frombuffer(bytearray(blocks), np.uint8)
    rows, counters = walk(data, BLOCK, slots=True)
    assert [bytes(data[at:at + size]) for at, size, _ in rows] == [
        frame(1), frame(2, 64, (0x88A8, 7))]
    assert counters["taken"] == 2 and counters["tagged"] == 1 and counters["faulty"] == 0


def test_a_tag_makes_no_length_of_32_bits_small():
    data = np.frombuffer(slot(frame(1), status=1 | 16, len=2**32 - 4) + slot(frame(2)), np.uint8)
    rows, counters = walk(data, BLOCK, slots=True)
    assert (len(rows), counters["faulty"]) == (1, 1)
    data = np.frombuffer(slot(frame(1), status=1 | 16, len=2**32 - 5) + slot(frame(2)), np.uint8)
    assert walk(data, BLOCK, slots=True)[0][0][2] == 2**32 - 1


@given(st.fixed_dictionaries({}, optional={
    "len": numbers, "snaplen": numbers, "status": numbers, "mac": st.integers(0, 65535)}))
def test_no_frame_reaches_past_its_slot(fields):
    status = fields.pop("status", 1) | 1
    data = np.frombuffer(slot(frame(1), status=status, **fields) + slot(frame(2)), np.uint8)
    rows, counters = walk(data, BLOCK, slots=True)
    assert counters["taken"] + counters["faulty"] == 2
    assert rows[-1] == (BLOCK + 82, 60, 60)
    for at, captured, length in rows[:-1]:
        assert at > 52 and at + captured <= BLOCK and captured <= length


def test_blocks_that_are_none_are_refused():
    for size, each in ((0, 128), (200, 128), (256, 127)):
        with pytest.raises(DataError):
            walk(np.zeros(size, np.uint8), each)
