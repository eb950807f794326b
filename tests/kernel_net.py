"""Frames through a qdisc of the running kernel, in a network namespace made for them alone.

    play(setup, frames) --> unshare --net python kernel_net.py --> v0 [qdisc] === v1 --> releases

Run as a program it is what happens within: a pair of virtual Ethernet devices, the `tc` lines on
the first, frames sent there by number and caught on the second with the kernel's time stamps.
A refused frame shows at once as ENOBUFS. Nothing outside the namespace is touched.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

SO_TIMESTAMPNS = 35
ETHERTYPE = 0x88B5  # for local experiments, IEEE 802
SETTLE_S = 0.02
LONGEST_S = 20


class Frame(NamedTuple):
    """What is sent: nanoseconds after the first, bytes, class (0: the qdisc itself)."""

    time_ns: int
    size: int
    cls: int


class Heard(NamedTuple):
    """What became of the frames, by index, in nanoseconds after the first was sent."""

    sent_ns: list[int]
    refused: list[int]
    releases: list[tuple[int, int]]  # (index, time) in order


def missing() -> str:
    """Why the kernel cannot be asked here; "" when it can."""
    if sys.platform != "linux":
        return "not Linux"
    if os.geteuid():
        return "needs root"
    for tool in ("unshare", "ip", "tc"):
        if not shutil.which(tool):
            return f"no {tool}"
    probe = ("ip link add v0 type veth peer name v1 && tc qdisc add dev v0 root handle 1: htb "
             "&& tc qdisc replace dev v1 root tbf rate 1mbit burst 2000 limit 4000")
    done = subprocess.run(["unshare", "--net", "sh", "-c", probe], capture_output=True,
                          text=True, timeout=30)
    if done.returncode:
        return f"no namespace with veth, htb and tbf: {done.stderr.strip()[:120]}"
    return ""


def play(setup: list[str], frames: list[Frame], lasts_s: float) -> Heard:
    """Send frames through the qdisc that `tc` lines make on v0; wait so long after the last."""
    job = {"setup": setup, "frames": frames, "lasts_s": min(lasts_s, LONGEST_S)}
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-S", str(Path(__file__))], input=json.dumps(job),
        capture_output=True, text=True, timeout=LONGEST_S + 30)
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    told = json.loads(done.stdout)
    return Heard(told["sent"], told["refused"], [(i, t) for i, t in told["releases"]])


def inside(job: dict[str, Any]) -> dict[str, Any]:
    """Within the namespace."""
    lines = ["ip link add v0 type veth peer name v1"]
    for name in ("v0", "v1"):
        lines += [f"ip link set {name} up"]
    off = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")
    if off.exists():
        off.write_text("1")
    for line in lines + job["setup"]:
        subprocess.run(line.split(), check=True)
    receiver = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
    receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    receiver.bind(("v1", ETHERTYPE))
    frames = [Frame(*frame) for frame in job["frames"]]
    senders = {}
    for cls in {0, *(frame.cls for frame in frames)}:
        senders[cls] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        senders[cls].setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 0x10000 | cls)
        senders[cls].bind(("v0", ETHERTYPE))
    head = b"\x02" + bytes(10) + b"\x01" + ETHERTYPE.to_bytes(2, "big")
    senders[0].send(head + (0xFFFF).to_bytes(2, "big") + bytes(44))  # wakes the path up
    time.sleep(SETTLE_S)
    sent, refused = send(senders, frames, head)
    end = time.monotonic() + job["lasts_s"]
    releases = []
    while len(releases) < len(frames) - len(refused) + 1 and time.monotonic() < end:
        receiver.settimeout(max(0.001, end - time.monotonic()))
        try:
            data, notes, _, _ = receiver.recvmsg(64, 256)
        except TimeoutError:
            break
        stamp = next(data for _, kind, data in notes if kind == SO_TIMESTAMPNS)
        seconds = int.from_bytes(stamp[:8], sys.byteorder)
        nanos = int.from_bytes(stamp[8:16], sys.byteorder)
        index = int.from_bytes(data[14:16], "big")
        releases.append((index, seconds * 10**9 + nanos))
    first = sent[0]
    return {"sent": [t - first for t in sent], "refused": refused,
            "releases": [(i, t - first) for i, t in releases if i != 0xFFFF]}


def send(
    senders: dict[int, socket.socket], frames: list[Frame], head: bytes
) -> tuple[list[int], list[int]]:
    """Send each frame at its time; when each was sent, and which were refused."""
    sent, refused = [], []
    ready = [head + i.to_bytes(2, "big") + bytes(frame.size - 16)
             for i, frame in enumerate(frames)]
    start = time.clock_gettime_ns(time.CLOCK_REALTIME) + 1_000_000
    for i, frame in enumerate(frames):
        while (now := time.clock_gettime_ns(time.CLOCK_REALTIME)) < start + frame.time_ns:
            if start + frame.time_ns - now > 2_000_000:
                time.sleep(0.001)
        sent.append(now)
        try:
            senders[frame.cls].send(ready[i])
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            refused.append(i)
    return sent, refused


if __name__ == "__main__":
    print(json.dumps(inside(json.load(sys.stdin))))
