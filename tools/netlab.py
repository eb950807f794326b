"""Two network namespaces and the kernel's connection tracking between them.

    sender  s0 ---- t0  tracker  t1 ---- s1  sender
            ^            br0                 |
            frames go in                     what leaves comes back

The tracker is a bridge whose IPv4 and IPv6 packets pass netfilter (br_netfilter), so that any
address is tracked and forwarded, without routes, neighbours or a hop less to live. A packet's
number travels in its source MAC, what the kernel made of it in its DSCP, which nft sets from the
ct state; entries are read through ctnetlink. Nothing leaves the two namespaces.

Laws. The namespaces end with the ``with`` block, whatever happens in it. What is changed outside of
them (``table_size``: the one machine-wide limit) is restored in the same way.

Sources: linux/netfilter/nfnetlink_conntrack.h, linux/netfilter/nf_conntrack_tcp.h (UAPI).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

CODES = ("gone", "invalid", "untracked", "new", "hit", "reply", "related")
"""What became of a packet; ``gone``: it did not leave. ``hit``: established, from the initiator;
``reply``: from the responder. The number is the DSCP."""
CODE_OF_STATE = {"invalid": "invalid", "untracked": "untracked", "related": "related",
                 "new": "new", "established ct direction original": "hit",
                 "established ct direction reply": "reply"}
TCP_STATES = ("NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK",
              "TIME_WAIT", "CLOSED", "SYN_SENT2")
"""Names of tcp_conntrack_states; the kernel's CLOSE is CLOSED here."""

BATCH = 200
"""Frames in flight at once: less than a queue of the kernel holds (netdev_max_backlog, 1000)."""
WAIT_S = 5.0
MTU = 65535
MARK = b"\x88\xb5"  # IEEE 802 local experimental: not IP, passes the bridge untracked
TARGET = bytes.fromhex("020000000002")
CLONE_NEWNET = 0x40000000
SO_RCVBUFFORCE = 33
PARAMETERS = Path("/proc/sys/net/netfilter")


class Entry(NamedTuple):
    """One entry of the kernel's table."""

    source: bytes
    destination: bytes
    protocol: int
    source_port: int  # 0 unless the protocol has ports
    destination_port: int
    state: str  # of TCP_STATES, "" unless TCP
    status: int
    timeout_s: int


def missing() -> str:
    """Why there can be no lab on this machine; empty when there can."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    for program in ("ip", "nft"):
        if shutil.which(program) is None:
            return f"needs the program {program}"
    if not PARAMETERS.joinpath("nf_conntrack_max").exists():
        return "needs a kernel with nf_conntrack"
    try:
        with Lab():
            return ""
    except (OSError, subprocess.CalledProcessError, TimeoutError) as error:
        said = getattr(error, "stderr", "") or str(error)
        return f"needs namespaces, bridge, br_netfilter and nft's ct: {said.strip()}"


def run(*command: str, text: str | None = None) -> str:
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True,
                          timeout=30).stdout


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread works in a namespace; sockets opened meanwhile stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as home, open(f"/run/netns/{name}") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns to {name}")
        try:
            yield
        finally:
            if libc.setns(home.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns back")


@contextlib.contextmanager
def table_size(entries: int, buckets: int) -> Iterator[None]:
    """The machine's limit of entries and buckets for a while: they belong to no namespace."""
    names = {"nf_conntrack_max": entries, "nf_conntrack_buckets": buckets}
    before = {name: PARAMETERS.joinpath(name).read_text() for name in names}
    try:
        for name, value in reversed(names.items()):  # the number of buckets sets no maximum
            PARAMETERS.joinpath(name).write_text(str(value))
        yield
    finally:
        for name, value in reversed(before.items()):
            PARAMETERS.joinpath(name).write_text(value)


def ruleset() -> str:
    rules = [
        f"ct state {state} {ip} dscp set {CODES.index(code)} accept"
        for state, code in CODE_OF_STATE.items() for ip in ("ip", "ip6")
    ]
    return "\n".join(("table inet lab {", "chain after {",
                      "type filter hook prerouting priority -150; policy accept;", *rules,
                      "}", "}", ""))


class Lab:
    """The two namespaces, for a ``with`` block; ``send`` is what one does with them."""

    def __init__(self) -> None:
        self.tracker, self.sender = (f"lab{os.getpid()}{end}" for end in "ts")
        self.number = 0
        self.datagrams: dict[bytes, int] = {}  # code by fragment_name

    def __enter__(self) -> Lab:
        self.stack = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.callback(self.__exit__)
            self.cpus = os.sched_getaffinity(0)
            for name in (self.tracker, self.sender):
                run("ip", "netns", "add", name)
                self.stack.callback(run, "ip", "netns", "del", name)
            self.connect()
            with inside(self.sender):
                self.out = self.opened(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
                self.out.bind(("s0", 0))
                self.back = self.opened(socket.socket(
                    socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
                self.back.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
                self.back.bind(("s1", 3))
                self.back.settimeout(WAIT_S)
            with inside(self.tracker):
                self.netlink = self.opened(socket.socket(
                    socket.AF_NETLINK, socket.SOCK_RAW, 12))
                self.netlink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
                self.netlink.settimeout(WAIT_S)
            os.sched_setaffinity(0, {min(self.cpus)})  # one queue: nothing overtakes
            self.stack.callback(os.sched_setaffinity, 0, self.cpus)
            self.exchange([])  # the bridge's ports have come up
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def opened(self, one: socket.socket) -> socket.socket:
        self.stack.callback(one.close)
        return one

    def connect(self) -> None:
        """Two wires, a bridge, quiet interfaces, and the rules."""
        for sender, tracker in (("s0", "t0"), ("s1", "t1")):
            run("ip", "link", "add", sender, "mtu", str(MTU), "netns", self.sender, "type", "veth",
                "peer", "name", tracker, "mtu", str(MTU), "netns", self.tracker)
        run("ip", "-n", self.tracker, "link", "add", "br0", "mtu", str(MTU), "type", "bridge",
            "mcast_snooping", "0", "stp_state", "0", "forward_delay", "0")
        for port in ("t0", "t1"):
            run("ip", "-n", self.tracker, "link", "set", port, "master", "br0")
            run("ip", "-n", self.tracker, "link", "set", port, "type", "bridge_slave", "learning",
                "off", "flood", "on")
        for name, links in ((self.tracker, ("t0", "t1", "br0")), (self.sender, ("s0", "s1"))):
            for link in links:
                run("ip", "-n", name, "link", "set", link, "addrgenmode", "none", "up")
        self.set("bridge/bridge-nf-call-iptables", 1)
        self.set("bridge/bridge-nf-call-ip6tables", 1)
        self.set("netfilter/nf_conntrack_checksum", 0)
        self.set("netfilter/nf_conntrack_tcp_be_liberal", 1)
        run("ip", "netns", "exec", self.tracker, "nft", "-f", "-", text=ruleset())

    def set(self, name: str, value: int) -> None:
        """A parameter below net/ of the tracker's namespace."""
        with inside(self.tracker):
            Path("/proc/sys/net", name).write_text(str(value))

    def long_timeouts(self, seconds: int = 400_000) -> None:
        """Nothing expires, so that only steps are compared."""
        with inside(self.tracker):
            for path in PARAMETERS.glob("nf_conntrack_*timeout*"):
                path.write_text(str(seconds))

    def statistics(self) -> dict[str, int]:
        """Counters of the table, summed over the processors (as ``conntrack -S`` has them)."""
        with inside(self.tracker):
            head, *rows = Path("/proc/self/net/stat/nf_conntrack").read_text().splitlines()
        sums = zip(*([int(word, 16) for word in row.split()] for row in rows), strict=True)
        return dict(zip(head.split(), map(sum, sums), strict=True))

    # -- frames --

    def send(self, packets: Sequence[bytes]) -> list[int]:
        """Numbers of CODES for IP packets, sent in order. A fragment has its datagram's code."""
        codes: list[int] = []
        self.datagrams.clear()
        for at in range(0, len(packets), BATCH):
            codes += self.exchange(packets[at:at + BATCH])
        for i, packet in enumerate(packets):
            if (name := fragment_name(packet)) is not None:
                codes[i] = self.datagrams.get(name, 0)
        return codes

    def exchange(self, packets: Sequence[bytes]) -> list[int]:
        """One batch out and back; the mark behind it tells that all have been through."""
        first = self.number
        for packet in packets:
            kind = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
            self.out.send(TARGET + b"\x06" + self.number.to_bytes(5, "big") + kind + packet)
            self.number += 1
        codes = [0] * len(packets)
        deadline = time.monotonic() + WAIT_S
        mark = self.number.to_bytes(5, "big")
        self.number += 1
        self.out.send(TARGET + b"\x06" + mark + MARK + bytes(46))
        while time.monotonic() < deadline:
            frame = self.back.recv(MTU + 100)
            if frame[6] != 6:
                continue
            if frame[12:14] == MARK and frame[7:12] == mark:
                return codes
            if frame[12:14] == MARK:
                continue
            code = int.from_bytes(frame[14:16], "big") >> 6 & 63 if frame[14] >> 4 == 6 \
                else frame[15] >> 2
            if (name := fragment_name(frame[14:])) is not None:
                self.datagrams[name] = code
            number = int.from_bytes(frame[7:12], "big") - first
            if 0 <= number < len(codes):
                codes[number] = code
        raise TimeoutError("what was sent does not come back: is there a bridge between?")

    # -- the table --

    def ask(self, message: int, flags: int) -> Iterator[bytes]:
        """Payloads of the answers to one ctnetlink message without attributes."""
        kind = 1 << 8 | message  # NFNL_SUBSYS_CTNETLINK
        self.netlink.send(struct.pack("=IHHII4x", 20, kind, 1 | flags, 1, 0))
        while True:
            data = self.netlink.recv(1 << 20)
            while data:
                size, kind, flags = struct.unpack_from("=IHH", data)
                body, data = data[16:size], data[size + 3 & ~3:]
                if kind == 3:  # NLMSG_DONE
                    return
                if kind == 2:  # NLMSG_ERROR; 0 says that it is done
                    error = -struct.unpack_from("=i", body)[0]
                    if error:
                        raise OSError(error, f"ctnetlink: {os.strerror(error)}")
                    return
                yield body[4:]

    def entries(self) -> list[Entry]:
        """Every entry of the tracker's table."""
        return [entry(body) for body in self.ask(1, 0x300)]

    def flush(self) -> None:
        """The table is empty."""
        for _ in self.ask(2, 4):
            pass


def fragment_name(packet: bytes) -> bytes | None:
    """What the fragments of a datagram have in common; None for a packet that is none."""
    if packet[0] >> 4 == 4:
        place = int.from_bytes(packet[6:8], "big") & 0x3FFF
        return packet[4:6] + packet[9:10] + packet[12:20] if place else None
    at, following = 40, packet[6]
    while following in (0, 43, 60) and at + 8 <= len(packet):
        following, at = packet[at], at + 8 * (packet[at + 1] + 1)
    if following != 44 or at + 8 > len(packet):
        return None
    place = int.from_bytes(packet[at + 2:at + 4], "big") & 0xFFF9
    return packet[at + 4:at + 8] + packet[8:40] if place else None


def attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3FFF] = data[4:size]
        data = data[size + 3 & ~3:]
    return found


def entry(body: bytes) -> Entry:
    """CTA_TUPLE_ORIG 1, CTA_STATUS 3, CTA_PROTOINFO 4, CTA_TIMEOUT 7."""
    outer = attributes(body)
    tuple_ = attributes(outer[1])
    addresses, ports = attributes(tuple_[1]), attributes(tuple_[2])
    info = attributes(outer.get(4, b""))
    state = attributes(info[1])[1][0] if 1 in info else None
    return Entry(
        addresses.get(1) or addresses[3], addresses.get(2) or addresses[4], ports[1][0],
        int.from_bytes(ports.get(2, b""), "big"), int.from_bytes(ports.get(3, b""), "big"),
        "" if state is None else TCP_STATES[state],
        int.from_bytes(outer[3], "big"), int.from_bytes(outer.get(7, b""), "big"))
