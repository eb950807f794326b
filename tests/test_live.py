"""A live run between real ends, in namespaces of the test's own; and what it says to the world."""

import copy
import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import live_net
import numpy as np
import pytest
from frames import ip, udp

from fwcore import load
from fwcore._rings import FRAMES, WOKEN
from fwcore.cli import main
from fwcore.cli.live import _untold
from fwcore.errors import DataError, FwcoreError, LiveError
from fwcore.live import Live, live, metrics, serve, text, view
from fwcore.live.nfqueue import Queue
from fwcore.result import Result
from fwcore.units import PAGE_BYTES

MISSING = live_net.missing()
needs_net = pytest.mark.skipif(bool(MISSING), reason=MISSING)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for packet sockets")
SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 263, 8, 0x10   # linux/if_packet.h
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000             # linux/if_tun.h
SCANNED = {"policies": [{"id": 1, "action": "accept", "inspection": ["antivirus"]}]}
SMALL = {"ram_bytes": 4000 * PAGE_BYTES, "base_bytes": 2000 * PAGE_BYTES, "max_connections": 1000}


@pytest.fixture(scope="module")
def wire():
    with live_net.Wire() as made:
        yield made


@contextmanager
def running(wire, settings=None, interfaces=("in0", "out0"), **more):
    """A live run in a thread of its own; when the block is left it has ended by a signal."""
    with wire.inside("firewall"):
        size = 32 << 20 if more.get("at_once") else 4 << 20
        run = Live(interfaces, settings or load(), ring_bytes=size, **more)

    def work():
        with wire.inside("firewall"):
            run.run(60)

    with live_net.beside(work):
        try:
            yield run
        finally:
            run.interruption.number = signal.SIGTERM
            run.rings.wake()


def checked(run):
    """The result of a run that has ended; its laws hold, and it can be read again."""
    result = run.result()
    accounted = run.accounted()
    run.close()
    assert all(result.data["laws"].values()), result.data["laws"]
    assert accounted and result.data["interrupted_by"] == "SIGTERM"
    Result.from_json(result.to_json())
    return result


def passes(wire, port, data=b"x" * 1000, timeout_s=5):
    """A new connection's data comes back; otherwise the error."""
    listener = wire.listen(port)
    thread = threading.Thread(target=_quiet(live_net.echo(listener)), daemon=True)
    listener.settimeout(timeout_s)
    thread.start()
    try:
        with wire.connect(port, timeout_s) as client:
            return live_net.exchange(client, data) == data
    except OSError as error:
        return type(error).__name__
    finally:
        thread.join(timeout_s + 1)
        listener.close()


def _quiet(work):
    def run():
        with suppress(OSError):
            work()
    return run


# --- through it -----------------------------------------------------------------------------------


@needs_net
@pytest.mark.parametrize("at_once", [False, True])
def test_contents_pass_and_every_frame_is_accounted_for(wire, at_once):
    data = os.urandom(1 << 19)
    with running(wire, at_once=at_once) as run:
        assert passes(wire, 5001, data)
    result = checked(run)
    rows = result.data["live"]["interfaces"]
    assert rows["in0"]["taken"] == rows["out0"]["sent"] > 5
    assert result["packets"] == rows["in0"]["taken"] + rows["out0"]["taken"]
    assert result["sessions.created"] >= 1 and result["live.delay.p50_ns"] > 0
    assert "in0       arrived" in text.lines(result.data["live"])


def datagram(number, size=20, tags=()):
    """A frame that no kernel would send; of each number another flow."""
    return (b"\x02" + bytes(10) + b"\x01" + b"".join(struct.pack("!HH", *tag) for tag in tags)
            + b"\x08\x00" + ip("10.0.0.1", "10.0.0.2", 17, udp(1000 + number, 53, size)))


def arrived(receiver):
    """The next such frame, with the tag that the kernel took out of it."""
    while True:
        data, told, _, _ = receiver.recvmsg(1 << 16, 64)
        for _, _, beside in told:
            status, *_, tag, kind = struct.unpack("IIIHHHH", beside)
            if status & TP_STATUS_VLAN_VALID:
                data = data[:12] + struct.pack("!HH", kind, tag) + data[12:]
        if data[0] == 2:
            return data


@needs_net
@pytest.mark.parametrize("size", [20, 8900])
@pytest.mark.parametrize("tags", [
    (), ((0x8100, 7),), ((0x8100, 0xE007),), ((0x88A8, 7), (0x8100, 9)),
    ((0x8100, 7), (0x8100, 9))])
def test_tagged_and_large_frames_come_out_as_they_went_in(tags, size):
    """The outermost tag is the zone, wherever the kernel keeps it."""
    outer = tags[0] if tags else (0x8100, 0)
    with live_net.Wire(mtu=9000) as own:
        sender, receiver = own.raw("client"), own.raw("server")
        receiver.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        receiver.settimeout(live_net.PATIENCE_S)
        rules = [{"id": 1, "zone": outer[1] & 0xFFF}]
        with running(own, load(zone="vlan", policies=rules)) as run:
            for number in range(5):
                sender.send(datagram(number, size, ((outer[0], 8), *tags[1:])))     # denied
                sender.send(datagram(number, size, tags))
                assert arrived(receiver) == datagram(number, size, tags)
        result = checked(run)
    assert (result["decode.udp"], result["sessions.created"]) == (10, 5)


@needs_net
@pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="no /dev/net/tun")
@pytest.mark.parametrize("at_once", [False, True])
def test_a_tap_is_an_interface_as_any_other(at_once):
    with (live_net.Wire() as own, own.inside("firewall"),
          open("/dev/net/tun", "r+b", buffering=0) as tap):
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"tap0", IFF_TAP | IFF_NO_PI))
        own.ip("firewall", "link set tap0 up")
        server = own.raw("server")
        server.settimeout(live_net.PATIENCE_S)
        with running(own, interfaces=("tap0", "out0"), at_once=at_once) as run:
            for number in range(20):
                tap.write(datagram(number))
                assert arrived(server) == datagram(number)
                server.send(datagram(number, 40))
                while select.select([tap], [], [], live_net.PATIENCE_S)[0]:
                    if (back := tap.read(1 << 16))[0] == 2:
                        break
                assert back == datagram(number, 40)
        result = checked(run)
    rows = result.data["live"]["interfaces"]
    assert rows["tap0"]["taken"] == rows["out0"]["sent"] >= 20 == result["sessions.created"]


@needs_net
def test_of_one_flow_nothing_is_reordered(wire):
    receiver = wire.socket("server", socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((live_net.ENDS["server"], 6000))
    sender = wire.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect((live_net.ENDS["server"], 6000))
    with running(wire):
        sender.send(b"0")               # and its address is known
        receiver.recv(100)
        for i in range(1, 501):
            sender.send(b"%d" % i)
        assert [int(receiver.recv(100)) for _ in range(500)] == list(range(1, 501))


@needs_net
def test_more_connections_than_the_table_holds(wire):
    receiver = wire.socket("server", socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((live_net.ENDS["server"], 6001))
    with running(wire, load(max_connections=50, buckets=10)) as run:
        for port in range(10_000, 10_100):
            sender = wire.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
            sender.bind(("", port))
            sender.sendto(b"x", (live_net.ENDS["server"], 6001))
            sender.close()
            receiver.recv(10)
    result = checked(run)
    assert result["sessions.peak"] == 50
    assert result["sessions.ended.evicted"] >= 50
    assert sum(row["taken"] for row in result.data["top"]["hosts"]) >= 50


@needs_net
def test_policies_have_their_dropped_packets_also_when_they_are_replaced(wire):
    sender = wire.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
    deny = [{"id": 7, "protocol": "udp", "ports": [6002], "action": "deny"},
            {"id": 9, "protocol": "udp", "ports": [6003], "action": "accept"}]
    with running(wire, load(policies=deny)) as run:
        def seen():
            rows = run.ask(lambda: run.hits.rows(run.engine)["policies"])
            return {row["id"]: row["dropped"] for row in rows}

        for policies, port, want in ((None, 6002, {7: 1}),
                                     ([{**deny[0], "id": 8, "ports": [6003]}], 6003,
                                      {7: 1, 8: 1})):
            if policies:
                run.ask(lambda rows=policies: run.engine.configure(policies=rows))
            sender.sendto(b"x", (live_net.ENDS["server"], port))
            end = time.monotonic() + live_net.PATIENCE_S
            while seen() != want and time.monotonic() < end:
                run.rings.wake()
            assert seen() == want
    rows = {row["id"]: row["dropped"] for row in checked(run).data["top"]["policies"]}
    assert rows == {7: 1, 8: 1}


# --- a queue of the kernel ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def queued(wire):
    """What the firewall's own namespace sends to itself goes to queue 3."""
    wire.ip("firewall", "link set lo up")
    try:
        wire.queue("firewall", 3)
    except OSError as error:
        pytest.skip(f"no NFQUEUE: {error.strerror}")
    return wire


def datagrams(wire, *ports):
    """A sender within the firewall's namespace, and a receiver of each port."""
    sender = wire.socket("firewall", socket.AF_INET, socket.SOCK_DGRAM)
    receivers = []
    for port in ports:
        receivers.append(wire.socket("firewall", socket.AF_INET, socket.SOCK_DGRAM))
        receivers[-1].bind(("127.0.0.1", port))
    return sender, receivers


@needs_net
def test_a_queue_of_the_kernel_gets_its_verdicts(queued):
    sender, (let, denied) = datagrams(queued, 6004, 6005)
    settings = load(policies=[{"id": 1, "protocol": "udp", "ports": [6004]}])
    with running(queued, settings, (), queue_number=3) as run:
        for i in range(20):
            sender.sendto(b"%d" % i, ("127.0.0.1", 6004 + i % 2))
        assert [int(let.recv(9)) for _ in range(10)] == list(range(0, 20, 2))
    result = checked(run)
    row = result.data["live"]["interfaces"]["queue 3"]
    assert row["arrived"] == row["taken"] == 20 and row["lost"] == 0
    assert (row["sent"], row["withheld"]) == (10, 10) == (
        result["verdicts.forward"], result["reasons.denied"])
    assert (row["taken_bytes"], row["sent_bytes"]) == (20 * 28 + 30, 10 * 28 + 15)  # and no more
    assert result["decode.udp"] == 20 and result.data["inputs"][0]["format"] == "NFQUEUE"
    denied.settimeout(0)
    with pytest.raises(BlockingIOError):
        denied.recv(9)


@needs_net
def test_what_a_queue_holds_when_it_ends_is_counted(queued):
    sender, (receiver,) = datagrams(queued, 6006)
    with queued.inside("firewall"):
        queue = Queue(3, buffer_bytes=1 << 17)
        with pytest.raises(LiveError, match=r"queue 3: not permitted .* another program has it"):
            Queue(3)
    for _ in range(3):
        sender.sendto(b"x", ("127.0.0.1", 6006))
    assert queue.wait(10**9) == FRAMES and queue.take(2) == 2
    verdicts = np.zeros((2, 2), np.uint8)
    queue.send(verdicts)
    assert receiver.recv(9) == receiver.recv(9) == b"x"
    queue.deafen()
    queue.deafen()
    assert queue.take() == 1
    with pytest.raises(DataError, match="not been sent"):
        queue.take()
    with pytest.raises(DataError, match=r"uint8\[1, 2\]"):
        queue.send(verdicts)
    queue.send(verdicts[:1])
    assert queue.take() == 0
    queue.wake()
    assert queue.wait(10**9) & WOKEN
    counted = queue.counters()["queue 3"]
    assert [counted[name] for name in ("arrived", "taken", "sent", "down")] == [3, 3, 2, 1]
    queue.close()
    queue.close()


@needs_net
def test_what_finds_a_queue_full_is_lost(queued):
    sender, (receiver,) = datagrams(queued, 6008)
    with queued.inside("firewall"):
        queue = Queue(3, waiting=4)
    for i in range(10):
        with suppress(OSError):         # the sender may be told
            sender.sendto(b"%d" % i, ("127.0.0.1", 6008))
    assert queue.take() == 4
    queue.send(np.zeros((4, 2), np.uint8))
    assert [receiver.recv(9) for _ in range(4)] == [b"0", b"1", b"2", b"3"]
    counted = queue.counters()["queue 3"]
    assert [counted[name] for name in ("arrived", "taken", "lost")] == [10, 4, 6]
    queue.close()


@pytest.mark.parametrize("number", [-1, 65536])
def test_queues_that_are_none(number):
    with pytest.raises(LiveError, match=r"is not in 0\.\.65535"):
        Queue(number)
    with pytest.raises(LiveError, match="less than one packet"):
        Queue(1, buffer_bytes=1000)
    with pytest.raises(LiveError, match="waiting"):
        Queue(1, waiting=0)


@needs_net
@pytest.mark.parametrize("failopen", ["pass", "off"])
def test_conserve_mode_is_seen_by_a_real_client(wire, failopen):
    settings = load("fortios-7", av_failopen=failopen, **SMALL, **SCANNED)
    with running(wire, settings) as run:
        assert passes(wire, 5002) is True
        run.ask(lambda: run.engine.take("base", 1560 * PAGE_BYTES))
        assert run.ask(lambda: run.engine.mode) == "on"
        seen = passes(wire, 5003, timeout_s=5 if failopen == "pass" else 0.3)
        assert seen is True if failopen == "pass" else seen == "TimeoutError"
        run.ask(lambda: run.engine.give("base", 1560 * PAGE_BYTES))
        assert run.ask(lambda: run.engine.mode) == "off"
        assert passes(wire, 5004) is True
    result = checked(run)
    kinds = [event["kind"] for event in result.data["events"]]
    assert kinds.count("conserve_entered") == kinds.count("conserve_left") == 1
    if failopen == "pass":
        assert result["verdicts.bypass"] > 0 and result["exposure.sessions"] == 1
    else:
        assert result["reasons.conserve_block"] > 0 == result["verdicts.bypass"]


@needs_net
def test_an_interface_taken_down_and_up(wire):
    said = []
    with running(wire, say=said.append) as run:
        assert passes(wire, 5005) is True
        wire.ip("firewall", "link set out0 down")
        end = time.monotonic() + live_net.PATIENCE_S
        while run.states["out0"] != "down" and time.monotonic() < end:
            time.sleep(0.002)
        wire.ip("firewall", "link set out0 up")
        assert passes(wire, 5006) is True
    checked(run)
    assert [line for line in said if "out0 is" in line] == [
        "out0 is down; waiting for it", "out0 is up"]


@needs_net
def test_one_interface_is_looked_at_and_nothing_is_sent(wire):
    with running(wire, interfaces=("in0",)) as run:
        assert passes(wire, 5007, timeout_s=0.2) != True  # noqa: E712 - it is a text otherwise
        run.ask(lambda: None)
    result = checked(run)
    row = result.data["live"]["interfaces"]["in0"]
    assert row["taken"] == row["withheld"] > 0 == row["sent"]


@needs_net
@pytest.mark.parametrize("at_once", [False, True])
def test_both_ways_of_one_interface_are_looked_at(at_once):
    """What left it was not seen: every answer of a host's own wire, or of a port of a bridge."""
    with live_net.Wire() as own:
        own.ip("firewall", "link add br0 type bridge", "link set in0 master br0",
               "link set out0 master br0", "link set br0 up")
        data = os.urandom(1 << 16)
        with running(own, interfaces=("in0",), at_once=at_once) as run:
            end = time.monotonic() + live_net.PATIENCE_S
            while (seen := passes(own, 5012, data)) is not True and time.monotonic() < end:
                time.sleep(0.01)        # the ports of a bridge are not forwarding at once
            assert seen is True
            run.ask(lambda: None)
        result = checked(run)
    row = result.data["live"]["interfaces"]["in0"]
    assert row["arrived"] == row["taken"] == row["withheld"]
    assert result["reasons.tcp_invalid"] == 0 < result["reasons.hit"]
    assert result["bytes"] > 2 * len(data)


@needs_net
def test_term_ends_it_with_a_report(wire, tmp_path):
    out = tmp_path / "r.json"
    process = wire.spawn("firewall", [
        sys.executable, "-m", "fwcore", "live", "--inside", "in0", "--outside", "out0",
        "--json", str(out), "--control", str(tmp_path / "c")], cwd=Path(__file__).parent.parent)
    end = time.monotonic() + 2 * live_net.PATIENCE_S
    while not (tmp_path / "c").exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert passes(wire, 5008) is True
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=2 * live_net.PATIENCE_S)
    assert process.returncode == 143, errors
    assert "laws      all" in said and "in0       arrived" in said
    assert "wire is cut" in errors and "interrupted after packet" in errors
    assert Result.load(out)["laws.frames_accounted"] is True
    assert not (tmp_path / "c").exists()


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "what"), [
    ([], "--inside and --outside are asked for"),
    (["--inside", "lo"], "--inside and --outside are asked for"),
    (["--read-only", "lo", "--inside", "lo"], "--read-only stands alone"),
    (["--read-only", "lo", "--bypass-on-exit"], "nothing is forwarded"),
    (["--read-only", "no-such-if"], "no-such-if: there is no such interface"),
    (["--inside", "lo", "--outside", "no-such-if", "--bypass-on-exit"],
     "no-such-if: there is no such interface"),
    (["--inside", "lo", "--outside", "lo"], "two different interfaces"),
    (["--queue", "3", "--read-only", "lo"], "--queue stands alone: without --read-only"),
    (["--queue", "3", "--bypass-on-exit"], "--queue stands alone: without --bypass-on-exit"),
    (["--read-only", "lo", "--seconds", "nan"], "'nan' is no number"),
    (["--read-only", "lo", "--events", "s.toml", "--settings", "s.toml"], "--events"),
    (["--read-only", "lo", "--events", "e.json", "--json", "e.json"], "e.json"),
    (["--read-only", "lo", "--events", "-", "--json", "-"], "--events"),
])
def test_what_cannot_be_is_one_line_and_exit_2(words, what, capsys):
    assert main(["live", "-q", *words]) == 2
    said = capsys.readouterr().err
    assert what in said and said.count("\n") == 1 and said.startswith("fwcore: ")


@needs_root
def test_traps_to_nobody_are_refused_at_the_start(capsys):
    pytest.importorskip("pysnmp")
    assert main(["live", "-q", "--read-only", "lo", "--seconds", "0",
                 "--traps", "no-such-host.invalid"]) == 2
    assert "--traps no-such-host.invalid: " in capsys.readouterr().err


@needs_root
@pytest.mark.parametrize("error", [OSError("no space"), LiveError("no space")])
def test_a_watcher_that_fails_at_the_end_costs_no_report(error):
    closed, said = [], []

    class Watcher:
        def tick(self, figures, events):
            """Nothing."""

        def close(self):
            closed.append(self)
            raise error

    result = live(["lo"], load(), seconds=0, say=said.append,
                       watchers=lambda run: [Watcher(), Watcher()])
    assert result["laws.frames_accounted"] and len(closed) == 2
    assert said[-2:] == ["no space", "no space"]


def test_events_that_cannot_be_written_cost_nothing_else(capsys):
    """The run is told each time, closing is silent, and the exit code says it at the end."""
    lines = view.EventLines("/dev/full")
    with pytest.raises(FwcoreError, match="/dev/full: writing failed"):
        lines.tick({}, [{"kind": "x"}])
    lines.close()
    assert _untold([lines, object()]) == 2
    assert "/dev/full: writing failed" in capsys.readouterr().err
    assert _untold([object()]) == 0


@needs_root
@pytest.mark.parametrize("option", ["--page", "--metrics"])
def test_a_port_that_is_taken(option, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["live", "-q", "--read-only", "lo", "--seconds", "0", option, f":{port}"]) == 2
    assert f"{option} 127.0.0.1:{port}: Address already in use" in capsys.readouterr().err


@needs_root
def test_a_socket_in_use_and_a_file_that_is_none(tmp_path, capsys):
    path = str(tmp_path / "c")
    words = ["live", "-q", "--read-only", "lo", "--seconds", "0", "--control"]
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen(1)
        assert main([*words, path]) == 2
    assert "in use: another fwcore live listens there" in capsys.readouterr().err
    assert main([*words, path]) == 0          # left behind: taken over, and gone at the end
    assert not os.path.exists(path)
    (tmp_path / "f").write_text("mine")
    assert main([*words, str(tmp_path / "f")]) == 2
    assert (tmp_path / "f").read_text() == "mine"
    assert main([*words, str(tmp_path / "none" / "c")]) == 2


@pytest.mark.parametrize("given", ["x:y", "h:70000", "h:-1", "99999", ":99999", "h:²", "9" * 5000,
                                   "[::1]:70000"])
def test_ports_that_are_none(given):
    with pytest.raises(LiveError, match="is no port"):
        view.address(given, 1, "--page")


def test_addresses():
    assert view.address(":8080", 1, "") == ("", 8080)
    assert view.address("[::1]:9", 1, "") == ("::1", 9)
    assert view.address("[::1]", 7, "") == ("::1", 7)
    assert view.address("h", 7, "") == ("h", 7)
    assert view.address("9108", 7, "") == ("", 9108)
    assert view.address("::1", 7, "") == ("::1", 7)


# --- those who watch ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told():
    """Figures and events as those who watch get them, of a run without traffic."""
    if os.geteuid() != 0:
        pytest.skip("needs root for packet sockets")
    run = Live(["lo"], load("fortios-7", **SMALL), ring_bytes=1 << 20)
    event = {"kind": "conserve_entered", "time_ns": 10**18, "packet": 7, "text": 'a "b]\x1b'}
    yield run.figures(), [event]
    run.close()


def fetch(port, path, method="GET"):
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    with urllib.request.urlopen(asked, timeout=5) as answer:
        return answer.headers, answer.read().decode()


def refusal(port, path):
    """The code with which a page is refused."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(port, path)
    with caught.value as answer:
        return answer.code


def test_the_page_shows_figures_and_fetches_nothing_else(told):
    page = serve.Page(":0")
    try:
        page.tick(*told)
        headers, body = fetch(page.site.port, "/")
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert {"page.css", "page.js"} == set(re.findall(r'(?:href|src)="([^"]+)"', body))
        assert fetch(page.site.port, "/page.js")[1] and fetch(page.site.port, "/page.css")[1]
        headers, body = fetch(page.site.port, "/page.js", "HEAD")
        assert int(headers["Content-Length"]) > 0 and not body
        data = json.loads(fetch(page.site.port, "/data")[1])
        assert data["samples"][0]["mode"] == "off" and data["events"] == told[1]
        assert refusal(page.site.port, "/../etc/passwd") == 404
    finally:
        page.close()


def test_a_page_that_cannot_be_made_says_why():
    site = serve.Site(":0", 1, "--page", {"/": ("text/plain", lambda: b"%d" % (1 // 0))})
    try:
        assert refusal(site.port, "/") == 500
    finally:
        site.close()


def test_syslog_is_rfc5424(told):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        log = view.Syslog(f"127.0.0.1:{server.getsockname()[1]}")
        log.tick(*told)
        message = server.recv(2000).decode()
        log.close()
    assert re.fullmatch(
        r'<26>1 2001-09-09T01:46:40\.000000Z \S+ fwcore \d+ conserve_entered'
        r' \[event@32473 packet="7"\] a "b\]\\x1b', message), message


def test_events_are_lines_of_json(told, tmp_path):
    lines = view.EventLines(str(tmp_path / "e"))
    lines.tick(*told)
    lines.close()
    assert [json.loads(line) for line in (tmp_path / "e").open()] == told[1]
    with pytest.raises(FwcoreError, match="cannot be written"):
        view.EventLines(str(tmp_path / "none" / "e"))


def test_the_screen_has_what_matters(told):
    lines = "\n".join(text.screen(told[0], ["an event"]))
    for word in ("fortios-7", "conserve mode: off", "memory", "sessions", "lo", "an event"):
        assert word in lines


def test_traps_of_conserve_mode(told):
    pytest.importorskip("pysnmp")
    from fwcore.live import traps

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        sender = traps.Traps(f"127.0.0.1:{server.getsockname()[1]}", "secret")
        sender.tick(*told)
        message = server.recv(2000)
        sender.close()
    assert sender.lost == 0 and b"secret" in message
    # 1.3.6.1.4.1.12356.101.2.0.605 in BER
    assert bytes.fromhex("2b06010401e0446502008 45d".replace(" ", "")) in message


def test_a_trap_of_bypassed_av_comes_once_a_mode(told, monkeypatch):
    """What passes uninspected while no mode is on does so for another reason (oversize)."""
    pytest.importorskip("pysnmp")
    from fwcore.live import traps

    sent = []
    sender = traps.Traps("127.0.0.1:9", "public")
    monkeypatch.setattr(sender, "_waiting", SimpleNamespace(put_nowait=sent.append))
    figures = copy.deepcopy(told[0])
    for mode, exposed, traps_sent in (
            ("off", 1, 0), ("off", 1, 0), ("off", 2, 0), ("on", 2, 0), ("on", 3, 1), ("on", 4, 1),
            ("off", 4, 1), ("off", 5, 1), ("on", 5, 1), ("extreme", 6, 2)):
        figures["mode"], figures["exposure"]["sessions"] = mode, exposed
        sender.tick(figures, [])
        assert len(sent) == traps_sent
    assert {trap for trap, _ in sent} == {traps.AV_BYPASS}
    monkeypatch.undo()
    sender.close()


def test_what_is_missing_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(FwcoreError, match=re.escape("pip install 'fwcore[live]'")):
        metrics.Metrics(":0")
    monkeypatch.setitem(sys.modules, "pysnmp.hlapi.v3arch.asyncio", None)
    from fwcore.live import traps
    with pytest.raises(FwcoreError, match=re.escape("pip install 'fwcore[live]'")):
        traps.Traps("h", "c")
