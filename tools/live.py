"""What a live run costs, and that it lasts: on virtual Ethernet in namespaces of its own.

    python tools/live.py rate  [--frames N] [--repeats N]     beside the bare forwarder, and Python
    python tools/live.py delay [--seconds N] [--low-latency]  of a ping-pong, p50 and p99
    python tools/live.py shape [--seconds N]                  TCP through a link: rate, lateness
    python tools/live.py police [--seconds N]                 TCP through a meter: its rate
    python tools/live.py wait  [--seconds N]                  ping beside TCP: FIFO, and fq_codel
    python tools/live.py soak  [--seconds N]                  TCP and UDP for so long; flat memory
    python tools/live.py crowd [--connections N]              three times what the table holds

Each prints one JSON line. `rate`: frames are put into the rings first, then taken out, judged and
sent; the processor's time of the thread that does it counts, the kernel's for sending included, so
that who else is at work here matters less. The median of the repeats, in turns.
"""

from __future__ import annotations

import argparse
import array
import fcntl
import json
import os
import signal
import socket
import statistics
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).parent.parent))

import frames
import live_net

from fwcore import Engine, load
from fwcore._rings import Rings
from fwcore.live import Live

RING = 64 << 20
SETTINGS = {"max_connections": 100_000}
WARM_S = 30                     # of a soak, until memory has to be flat
TCP_REPAIR = 19                 # linux/tcp.h
SECONDS_MAX = 600               # of a run that is ended before
GROWTH = 0.05                   # of memory in a soak that is no leak yet


def udp(flow: int, payload: int = 18) -> bytes:
    """An Ethernet frame with UDP of one of many flows."""
    packet = frames.ip(0x0A000000 + flow // 60_000, "10.9.0.2", 17,
                       frames.udp(1024 + flow % 60_000, 53, payload), identifier=flow)
    return frames.ethernet(packet, ends=b"\x02" + bytes(10) + b"\x01")


def fill(wire: live_net.Wire, count: int, flows: int) -> None:
    raw = wire.raw("client")
    made = [udp(i) for i in range(flows)]
    for i in range(count):
        raw.send(made[i % flows])
    raw.close()


def arrived(rings: Rings, count: int) -> None:
    end = time.monotonic() + live_net.PATIENCE_S
    while rings.counters()["in0"]["arrived"] < count and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.01)            # the last block is retired


def bare(wire: live_net.Wire, count: int, flows: int) -> float:
    """Frames a second of the bare forwarder, by its processor's time."""
    with wire.inside("firewall"):
        rings = Rings(["in0", "out0"], ring_bytes=RING)
    fill(wire, count, flows)
    arrived(rings, count)
    begin, done = time.thread_time(), 0
    while (more := rings.forward(1_000_000)):
        done += more
    spent = time.thread_time() - begin
    rings.close()
    return done / spent


def whole(wire: live_net.Wire, count: int, flows: int) -> float:
    """The same of a live run with figures, metrics and all counters."""
    with wire.inside("firewall"):
        run = Live(["in0", "out0"], load("fortios-7", **SETTINGS), ring_bytes=RING)
        fill(wire, count, flows)
        arrived(run.rings, count)
        begin, done = time.thread_time(), 0
        while done < count:
            before = done
            run._turn(None)
            done = run.engine.fastpath.counters()["packets"]
            if done == before:
                break
        spent = time.thread_time() - begin
        run._drain()
        assert run.accounted()
    run.close()
    return done / spent


def python(wire: live_net.Wire, count: int, flows: int) -> float:
    """A loop in Python: recv, process_frames for 32 at a time, send."""
    count = min(count, 5000)
    ports = [wire.raw("firewall", name) for name in ("in0", "out0")]
    with Engine(load("fortios-7", **SETTINGS)) as engine:
        fill(wire, count, flows)
        ports[0].settimeout(0.2)
        begin, done, batch = time.thread_time(), 0, []
        try:
            while True:
                batch.append(ports[0].recv(65536))
                if len(batch) == 32:
                    now = time.time_ns()
                    for frame, (verdict, _) in zip(
                            batch, engine.process_frames(batch, [now] * 32), strict=True):
                        if verdict != 3:
                            ports[1].send(frame)
                    done += 32
                    batch = []
        except TimeoutError:
            pass
        spent = time.thread_time() - begin
    for port in ports:
        port.close()
    return done / spent


def rate(given: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, list[float]] = {"bare": [], "live": [], "python": []}
    ways: dict[str, Callable[..., float]] = {"bare": bare, "live": whole, "python": python}
    for _ in range(given.repeats):
        for name, way in ways.items():
            with live_net.Wire() as wire:
                found[name].append(way(wire, given.frames, given.flows))
    per_s = {name: round(statistics.median(values)) for name, values in found.items()}
    of = {name: statistics.median(a / b for a, b in zip(found["live"], found[name], strict=True))
          for name in ("bare", "python")}      # of runs one after the other, then the median
    return {"frames_per_s": per_s, "of_bare": round(of["bare"], 3),
            "of_python": round(of["python"], 2),
            "spread": {name: round((max(v) - min(v)) / statistics.median(v), 3)
                       for name, v in found.items()}}


def ping_pong(wire: live_net.Wire, seconds: float) -> list[float]:
    """Round trips of small UDP packets, one at a time, in seconds."""
    server = wire.socket("server", socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((live_net.ENDS["server"], 7000))
    client = wire.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
    client.connect((live_net.ENDS["server"], 7000))
    done = threading.Event()

    def answer() -> None:
        server.settimeout(0.2)
        while not done.is_set():
            try:
                data, who = server.recvfrom(100)
            except TimeoutError:
                continue
            server.sendto(data, who)

    with live_net.beside(answer):
        found, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.perf_counter()
            client.send(b"x" * 50)
            client.recv(100)
            found.append(time.perf_counter() - begin)
        done.set()
    return found


def delay(given: argparse.Namespace) -> dict[str, Any]:
    with live_net.Wire() as wire:
        run = made(wire, load("fortios-7", **SETTINGS), given)
        with judging(wire, run):
            trips = sorted(ping_pong(wire, given.seconds))
        told = run.delay()
        run.close()
    return {"round_trip_us": {"p50": round(trips[len(trips) // 2] * 1e6),
                              "p99": round(trips[len(trips) * 99 // 100] * 1e6)},
            "one_way_us": {name: value // 1000 for name, value in told.items()}}


LINK = 20_000_000               # bit/s of the link, and of the meter
BURST_S = 0.25                  # of the meter: bytes / rate
FLOWS = 4                       # TCP connections at a time: policing starves one


def shape(given: argparse.Namespace) -> dict[str, Any]:
    """One TCP connection through a link: its rate beside the link's, and what is late."""
    settings = load("plain", **SETTINGS, links=[{"name": "wan", "rate": LINK}],
                    shapings=[{"link": "wan", "reply_link": ""}])
    with live_net.Wire() as wire:
        run = made(wire, settings, given)
        with judging(wire, run):
            carried, payload, seconds = uploaded(wire, given.seconds)
        rows, accounted = run.interfaces(), run.accounted()
        run.close()
    out = rows["out0"]
    share = out["sent_bytes"] / carried         # frames' bytes for each byte that TCP carried
    return {"link_bps": LINK, "ratio": round(payload * share * 8 / seconds / LINK, 4),
            "frames": out["sent"], "late": out["late"], "accounted": accounted,
            "good": accounted}


def police(given: argparse.Namespace) -> dict[str, Any]:
    """TCP connections through a meter: what passed beyond its burst, beside its rate."""
    depth = int(LINK * BURST_S / 8)
    settings = load("plain", **SETTINGS, shapings=[{"meters": ["m"]}], meters=[
        {"name": "m", "rungs": [{"rate": LINK, "depth": depth}]}])
    with live_net.Wire() as wire:
        run = made(wire, settings, given)
        with judging(wire, run):
            begin = time.monotonic()
            uploaded(wire, given.seconds, FLOWS)
            seconds = time.monotonic() - begin
        meter, accounted = run.result()["shaping.meters"][0], run.accounted()
        run.close()
    passed = 8 * (meter["passed"]["bytes"] - depth)
    return {"rate_bps": LINK, "ratio": round(passed / seconds / LINK, 4),
            "dropped": meter["dropped"]["packets"], "accounted": accounted, "good": accounted}


def wait(given: argparse.Namespace) -> dict[str, Any]:
    """Round trips of small packets beside a TCP connection that fills the link."""
    found = {}
    for name, leaf in (("fifo", {"limit_bytes": 1 << 20}),
                       ("fq_codel", {"share": "flow", "discard": "codel"})):
        settings = load(
            "plain", **SETTINGS, links=[{"name": "wan", "rate": LINK}],
            classes=[{"link": "wan", "id": 1, **leaf}],
            shapings=[{"link": "wan", "class": 1, "reply_link": ""}])
        with live_net.Wire() as wire:
            run = made(wire, settings, given)
            with judging(wire, run), live_net.beside(
                    lambda at=wire: uploaded(at, given.seconds)):
                time.sleep(min(1, given.seconds / 4))       # TCP finds the link's rate
                trips = sorted(ping_pong(wire, given.seconds / 2))
            accounted = run.accounted()
            run.close()
        found[name] = {"p50": round(trips[len(trips) // 2] * 1e3, 2),
                       "p99": round(trips[len(trips) * 99 // 100] * 1e3, 2),
                       "trips": len(trips), "accounted": accounted}
    return {"link_bps": LINK, "round_trip_ms": found,
            "good": all(each["accounted"] for each in found.values())}


def made(wire: live_net.Wire, settings: Any, given: argparse.Namespace) -> Live:
    with wire.inside("firewall"):
        return Live(["in0", "out0"], settings, ring_bytes=RING, at_once=given.low_latency)


@contextmanager
def judging(wire: live_net.Wire, run: Live) -> Iterator[None]:
    """A run that is under way beside what is done within; it ends with that."""
    def work() -> None:
        with wire.inside("firewall"):
            run.run(SECONDS_MAX)

    with live_net.beside(work):
        try:
            yield
        finally:
            run.interruption.number = signal.SIGTERM
            run.rings.wake()


def uploaded(wire: live_net.Wire, seconds: float, flows: int = 1) -> tuple[int, int, float]:
    """As many connections for so long: see _upload, of the first."""
    listener = wire.listen(7001)
    with ExitStack() as stack:
        received = [stack.enter_context(live_net.beside(lambda: _upload(listener)))
                    for _ in range(flows)]
        clients = [wire.connect(7001) for _ in range(flows)]
        end = time.monotonic() + seconds
        for client in clients[1:]:
            stack.enter_context(live_net.beside(lambda at=client: _fill(at, end)))
        _fill(clients[0], end)
    return received[0][0]


def _fill(client: socket.socket, end: float) -> None:
    with client:
        while time.monotonic() < end:
            client.send(bytes(1 << 14))


def _upload(listener: socket.socket) -> tuple[int, int, float]:
    """(bytes, those after the first piece, seconds that these took) of the next connection."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(live_net.PATIENCE_S)
        total = first = 0
        begin = last = 0.0
        while data := connection.recv(1 << 16):
            last = time.monotonic()
            total += len(data)
            if not first:
                begin, first = last, len(data)
    return total, total - first, last - begin


def memory_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def soak(given: argparse.Namespace) -> dict[str, Any]:
    """TCP connections with contents looked at, and UDP of ever new flows, for so long."""
    with live_net.Wire() as wire, tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "result.json")
        process = wire.spawn("firewall", [
            sys.executable, "-m", "fwcore", "live", "-q", "--inside", "in0", "--outside", "out0",
            "--personality", "fortios-7", "--set", "max_connections=10000",
            "--set", "udp_s=5", "--json", str(out), "--control", str(Path(folder, "c"))])
        try:
            end = time.monotonic() + live_net.PATIENCE_S
            while not Path(folder, "c").exists() and time.monotonic() < end:
                time.sleep(0.01)
            return _soak(wire, process, given.seconds, out)
        finally:
            process.kill()
            process.wait()


def _soak(wire: live_net.Wire, process: Any, seconds: float, out: Path) -> dict[str, Any]:
    listener = wire.listen(7001)
    sender = wire.raw("client")
    data, samples, connections, flow = os.urandom(1 << 18), [], 0, 0
    begin = time.monotonic()
    while (past := time.monotonic() - begin) < seconds:
        with live_net.beside(live_net.echo(listener)), wire.connect(7001) as client:
            assert live_net.exchange(client, data) == data
        wire.forget()
        for _ in range(2000):
            sender.send(udp(flow % 3_000_000))
            flow += 1
        connections += 1
        samples.append((past, memory_kib(process.pid)))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    warm = [kib for past, kib in samples if past > min(WARM_S, seconds / 3)]
    result = json.loads(out.read_text())
    flat = max(warm) - warm[0] <= GROWTH * warm[0]
    return {"seconds": round(seconds), "connections": connections, "packets": result["packets"],
            "memory_kib": [warm[0], max(warm)], "laws": all(result["laws"].values()),
            "exit_code": process.returncode, "errors": errors[-200:],
            "good": flat and all(result["laws"].values()) and process.returncode == 143}


# --- more than the table holds --------------------------------------------------------------------


def crowd(given: argparse.Namespace) -> dict[str, Any]:
    """TCP connections that nobody ends, three times as many as the table holds: each is whole."""
    sys.setswitchinterval(0.0005)       # both ends and the firewall are threads of this process
    with live_net.Wire() as wire:
        return _crowd(wire, given.connections)


def exchanged(client: socket.socket, server: socket.socket) -> bool:
    """A byte each way, until nothing of it is on its way: an end that is gone answers with RST."""
    client.send(b"x")
    asked = server.recv(1)
    server.send(b"y")
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    answered, end = client.recv(1), time.monotonic() + live_net.PATIENCE_S
    unsent = array.array("i", [1])
    while unsent[0] and time.monotonic() < end:
        fcntl.ioctl(server, termios.TIOCOUTQ, unsent)
    return (asked, answered, unsent[0]) == (b"x", b"y", 0)


def vanish(end: socket.socket) -> None:
    """Closes a TCP socket of which nothing more is heard: no FIN, no RST."""
    end.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    end.close()


def _crowd(wire: live_net.Wire, count: int) -> dict[str, Any]:
    room = count // 3
    with wire.inside("firewall"):
        run = Live(["in0", "out0"], load("plain", max_connections=room), ring_bytes=RING,
                   at_once=True)
    listener, held, begin = wire.listen(7101), 0, time.monotonic()
    with judging(wire, run):
        for i in range(count):
            client = wire.socket("client", socket.AF_INET, socket.SOCK_STREAM)
            client.bind(("", 10_000 + i))
            client.connect((live_net.ENDS["server"], 7101))
            server, _ = listener.accept()
            held += exchanged(client, server)
            vanish(client)
            vanish(server)
    result, accounted = run.result(), run.accounted()
    run.close()
    laws, peak = all(result.data["laws"].values()), result["sessions.peak"]
    return {"connections": held, "table": room, "peak": peak,
            "evicted": result["sessions.ended.evicted"], "laws": laws,
            "seconds": round(time.monotonic() - begin, 1),
            "good": laws and accounted and held == count and peak == room}


MEASURES = {"rate": rate, "delay": delay, "shape": shape, "police": police, "wait": wait,
            "soak": soak, "crowd": crowd}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=list(MEASURES))
    parser.add_argument("--frames", type=int, default=50_000)
    parser.add_argument("--flows", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--connections", type=int, default=30_000)
    parser.add_argument("--low-latency", action="store_true")
    given = parser.parse_args()
    why = live_net.missing()
    if why:
        print(f"cannot be run here: {why}", file=sys.stderr)
        return 2
    if given.what in ("delay", "shape", "police", "wait"):
        given.seconds = min(given.seconds, live_net.PATIENCE_S / 2)
    found = MEASURES[given.what](given)
    print(json.dumps({"what": given.what} | found))
    return 0 if found.get("good", True) else 1


if __name__ == "__main__":
    sys.exit(main())
