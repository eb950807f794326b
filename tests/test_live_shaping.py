"""Links and marks of a live run: what waits leaves in order, at its time, and is accounted for.

Between real ends, in namespaces of the test's own. That nothing leaves too early is asserted; how
late it leaves depends on who else is at work here: ``make live-rate`` prints it.
"""

import socket
import struct
import threading
import time
from contextlib import suppress

import live_net
import numpy as np
import pytest
from test_live import checked, datagrams, needs_net, queued, running, wire
from test_rings import frame, received

from fwcore import load
from fwcore._rings import Rings
from fwcore.errors import DataError, LiveError
from fwcore.report import text

__all__ = ["queued", "wire"]     # fixtures
WAN = {"links": [{"name": "wan", "rate": "8Mbit", "count": "ip"}],
       "shapings": [{"protocol": "udp", "link": "wan"}]}
MARKED = {"meters": [{"name": "m", "rungs": [{"rate": "1Gbit", "depth": 100_000, "dscp": 46}]}],
          "shapings": [{"protocol": "udp", "meters": ["m"]}]}
BATCH_S = 0.01


def batch(rings, client, count):
    """So many frames, numbered from 0, in one batch; those that come in pieces are sent again."""
    for sent in range(count, 50 * count, count):
        for number in range(count):
            client.send(frame(number))
        end = time.monotonic() + live_net.PATIENCE_S
        while rings.counters()["in0"]["arrived"] < sent:
            assert time.monotonic() < end
            rings.wait(10**6)
        while not (found := rings.take()):
            assert time.monotonic() < end
        if found == count:
            return
        while rings.counters()["in0"]["taken"] < sent or found:
            assert time.monotonic() < end
            rings.leave(1, np.zeros(found, np.uint8), *told([]))
            found = rings.take()
    raise AssertionError("never in one batch")


def told(packets, sent=1, mark=255):
    """Columns of ``leave``."""
    packets = np.array(packets, np.uint64)
    return (packets, np.zeros(len(packets), np.int64), np.full(len(packets), sent, np.uint8),
            np.full(len(packets), mark, np.uint8))


# --- rings ----------------------------------------------------------------------------------------


@needs_net
def test_frames_leave_in_any_order_whatever_came_meanwhile(wire):
    """3 000 wait, more than places there are at first; those in even places are dropped."""
    client, server = wire.raw("client"), wire.raw("server")
    with wire.inside("firewall"):
        rings = Rings(["in0", "out0"], ring_bytes=8 << 20)
    for number in range(3000):
        client.send(frame(number, 60 + number % 900))
    first = 1
    while first <= 3000:
        count = rings.take()
        rings.leave(first, np.ones(count, np.uint8), *told([]))
        first += count
    assert rings.waiting == 3000
    order = np.random.default_rng(1).permutation(np.arange(1, 3001))
    nobody = np.zeros(0, np.uint8)
    for part in np.array_split(order, 7):
        leaving = told(part)
        leaving[2][part % 2 == 0] = 0
        rings.leave(first, nobody, *leaving)
    assert rings.waiting == 0
    odd = [int(packet) - 1 for packet in order if packet % 2]
    assert received(server, 1500) == [frame(number, 60 + number % 900) for number in odd]
    found = rings.counters()
    assert (found["in0"]["withheld"], found["out0"]["sent"]) == (1500, 1500)
    rings.leave(first, nobody, *told(order))        # nobody waits: nothing happens
    assert rings.counters()["out0"]["sent"] == 1500
    rings.close()


@needs_net
def test_what_leaves_at_once_waits_for_nobody(wire):
    client, server = wire.raw("client"), wire.raw("server")
    with wire.inside("firewall"):
        rings = Rings(["in0", "out0"], ring_bytes=8 << 20)
    batch(rings, client, 4)
    before = rings.counters()["in0"]["withheld"]
    rings.leave(1, np.array([1, 0, 0, 0], np.uint8), *told([3, 2]))
    assert received(server, 2) == [frame(2), frame(1)]
    assert rings.waiting == 1 and rings.counters()["in0"]["withheld"] == before + 1
    assert rings.forsake() == 1 and rings.forsake() == rings.waiting == 0
    assert rings.counters()["in0"]["withheld"] == before + 2
    rings.close()


@needs_net
def test_columns_that_do_not_fit_are_refused(wire):
    nobody = np.zeros(0, np.uint8)
    with wire.inside("firewall"):
        rings, one = Rings(["in0", "out0"], ring_bytes=4 << 20), Rings(["in0"], ring_bytes=4 << 20)
    with pytest.raises(DataError, match="two interfaces"):
        one.leave(1, nobody, *told([]))
    with pytest.raises(DataError, match="1 frames for a batch of 0"):
        rings.leave(1, np.zeros(1, np.uint8), *told([]))
    for place in range(4):
        columns = list(told([1, 2]))
        columns[place] = columns[place][:1]
        with pytest.raises(DataError, match="different lengths"):
            rings.leave(1, nobody, *columns)
    with pytest.raises(DataError, match="below"):
        rings.leave(2**64 - 1, nobody, *told([]))
    rings.leave(0, nobody, *told([2**64 - 1, 0], mark=1))
    rings.close()
    one.close()


# --- a run ----------------------------------------------------------------------------------------


@needs_net
def test_a_link_sends_in_order_and_never_above_its_rate(wire):
    receiver = wire.socket("server", socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((live_net.ENDS["server"], 6100))
    sender = wire.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect((live_net.ENDS["server"], 6100))
    with running(wire, load("plain", **WAN)) as run:
        sender.send(bytes(972))         # and its address is known
        receiver.recv(2000)
        begin = time.monotonic()
        for number in range(100):
            sender.send(struct.pack("!I", number).ljust(972))       # 1 000 bytes of IP
        found = [struct.unpack("!I", receiver.recv(2000)[:4])[0] for _ in range(100)]
        spent = time.monotonic() - begin
        assert run.figures()["waiting"] == 0
    result = checked(run)
    assert found == list(range(100))
    assert spent >= 99 * 0.001
    assert result["shaping.classes"][0]["packets"] == 101
    assert run.interfaces()["out0"]["late"] <= result["live.interfaces.out0.sent"]
    late = sum(row["late"] for row in result.data["live"]["interfaces"].values())
    assert result.data["pace"] == {"late_packets": late}    # a wait that was meant is not late
    assert "Open loop" not in text.summary(result)


@needs_net
def test_what_waits_when_a_run_ends_is_counted(wire):
    sender = wire.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
    slow = WAN | {"links": [{"name": "wan", "rate": "8kbit", "count": "ip"}]}
    with running(wire, load("plain", **slow)) as run:
        for _ in range(20):
            sender.sendto(bytes(972), (live_net.ENDS["server"], 6101))      # a second each
        end = time.monotonic() + live_net.PATIENCE_S
        while run.rings.waiting < 19:
            assert time.monotonic() < end
            time.sleep(BATCH_S)
    checked(run)
    row = run.interfaces()["in0"]
    assert run.rings.waiting == 0 and 16 <= row["withheld"] <= 19


def tos_of(raw, port):
    """TOS of the next UDP datagram to a port; its header's checksum is right."""
    while True:
        data = raw.recv(2000)
        if data[12:14] == b"\x08\x00" and data[23] == 17 and data[36:38] == struct.pack("!H", port):
            break
    total = sum(struct.unpack("!10H", data[14:34]))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
    return data[15]


@needs_net
@pytest.mark.parametrize("settings", [MARKED, {
    **MARKED, "links": WAN["links"], "shapings": [MARKED["shapings"][0] | {"link": "wan"}]}],
    ids=["passing", "waiting"])
def test_marks_are_written(wire, settings):
    raw = wire.raw("server")
    sender = wire.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 3)
    with running(wire, load("plain", **settings)) as run:
        for _ in range(3):
            sender.sendto(b"x", (live_net.ENDS["server"], 6102))
            assert tos_of(raw, 6102) == 46 << 2 | 3
    checked(run)


CODEL = {"links": [WAN["links"][0] | {"rate": "800kbit"}], "shapings": WAN["shapings"], "classes": [
    {"link": "wan", "id": 1, "discard": "codel", "ecn": True, "target": "1ms", "interval": "1ms"}]}


def told_of_congestion(sender, receiver, port, to):
    """ECN bits of 20 packets, as they come: 10 ms each on the line."""
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 2)
    receiver.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    for _ in range(20):
        sender.sendto(bytes(972), (to, port))
    return [receiver.recvmsg(2000, 100)[1][0][2][0] & 3 for _ in range(20)]


@needs_net
def test_congestion_is_told_by_a_mark(wire):
    receiver = wire.socket("server", socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((live_net.ENDS["server"], 6107))
    sender = wire.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
    with running(wire, load("plain", **CODEL)) as run:
        bits = told_of_congestion(sender, receiver, 6107, live_net.ENDS["server"])
    checked(run)
    assert bits[0] == 2 and set(bits) == {2, 3}


@needs_net
def test_a_queue_tells_of_congestion_by_a_mark(queued):
    sender, (receiver,) = datagrams(queued, 6108)
    with running(queued, load("plain", **CODEL), (), queue_number=3) as run:
        bits = told_of_congestion(sender, receiver, 6108, "127.0.0.1")
    checked(run)
    assert bits[0] == 2 and set(bits) == {2, 3}


@needs_net
def test_links_go_while_it_runs_but_do_not_come(wire):
    receiver = wire.socket("server", socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((live_net.ENDS["server"], 6106))
    sender = wire.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
    slow = WAN | {"links": [{"name": "wan", "rate": "80kbit", "count": "ip"}]}
    with running(wire, load("plain", **slow)) as run:
        for number in range(5):
            sender.sendto(b"%d" % number * 972, (live_net.ENDS["server"], 6106))
        assert receiver.recv(2000)[:1] in b"01234"      # in what order a sender's kernel likes
        run.ask(lambda: run.configure(shapings=[], links=[]))
        sender.sendto(b"5", (live_net.ENDS["server"], 6106))
        while (data := receiver.recv(2000)) != b"5":
            assert data[:1] in b"01234"
    checked(run)
    assert run.rings.waiting == 0
    with running(wire) as run, pytest.raises(LiveError, match="start it anew"):
        run.ask(lambda: run.configure(**WAN))
    checked(run)
    with running(wire, None, ("in0",)) as run:
        run.ask(lambda: run.configure(**WAN))
    checked(run)


@needs_net
def test_one_that_is_only_read_shapes_nothing(wire):
    with running(wire, load("plain", **WAN), ("in0",)) as run:
        sender = wire.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
        with suppress(OSError):
            sender.sendto(b"x", (live_net.ENDS["server"], 6103))
    checked(run)


# --- a queue of the kernel ------------------------------------------------------------------------


@needs_net
def test_a_queue_answers_when_a_packet_leaves(queued):
    sender, (receiver,) = datagrams(queued, 6104)
    with running(queued, load("plain", **WAN), (), queue_number=3) as run:
        begin = time.monotonic()
        for number in range(50):
            sender.sendto(struct.pack("!I", number).ljust(972), ("127.0.0.1", 6104))
        found = [struct.unpack("!I", receiver.recv(2000)[:4])[0] for _ in range(50)]
        spent = time.monotonic() - begin
    result = checked(run)
    assert found == list(range(50)) and spent >= 49 * 0.001
    row = result.data["live"]["interfaces"]["queue 3"]
    assert (row["sent"], row["withheld"]) == (50, 0)


@needs_net
def test_a_queue_writes_marks_and_drops_what_waits_at_its_end(queued):
    sender, (receiver,) = datagrams(queued, 6105)
    receiver.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    settings = {**MARKED, "links": [{"name": "wan", "rate": "8kbit", "count": "ip"}],
                "shapings": [{"protocol": "udp", "meters": ["m"], "link": "wan"}]}
    with running(queued, load("plain", **settings), (), queue_number=3) as run:
        for _ in range(9):
            sender.sendto(bytes(972), ("127.0.0.1", 6105))
        _, extra, _, _ = receiver.recvmsg(2000, 100)
        assert extra == [(socket.IPPROTO_IP, socket.IP_TOS, bytes([46 << 2]))]
    checked(run)
    row = run.interfaces()["queue 3"]
    assert 1 <= row["sent"] <= 3 and row["withheld"] == 9 - row["sent"]


@needs_net
def test_a_queue_that_is_never_empty_ends_with_every_packet_accounted_for(queued):
    sender, _ = datagrams(queued, 6107)
    slow = WAN | {"links": [{"name": "wan", "rate": "8kbit", "count": "ip"}]}
    done = threading.Event()

    def send():
        while not done.wait(0.0005):
            sender.sendto(bytes(972), ("127.0.0.1", 6107))

    with live_net.beside(send):
        try:
            with running(queued, load("plain", **slow), (), queue_number=3) as run:
                end = time.monotonic() + live_net.PATIENCE_S
                while not run.rings.waiting:
                    assert time.monotonic() < end
                    time.sleep(BATCH_S)
        finally:
            done.set()
    checked(run)
    assert run.rings.waiting == 0
