"""A wire in network namespaces made for one test: client === firewall === server.

    with Wire() as wire:
        with wire.inside("firewall"): ...       sockets and programs made here see in0 and out0
        wire.tcp_server(), wire.tcp_client()    sockets of the two ends, at once usable

    client eth0 10.9.0.1/24 --veth-- in0 [firewall] out0 --veth-- eth0 10.9.0.2/24 server

The namespaces are held by file descriptors of this process alone: whatever becomes of a test, they
are gone with it, and so is every interface in them. Nothing outside is touched. A namespace is
that of one thread: ``inside`` is for the thread that calls it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

CLONE_NEWNET = 0x40000000
SO_RCVBUFFORCE = 33
IPT_SO_SET_REPLACE = 64
SIOCGIFFLAGS, IFF_RUNNING = 0x8913, 0x40
ENDS = {"client": "10.9.0.1", "server": "10.9.0.2"}
PATIENCE_S = 10


def missing() -> str:
    """Why there can be no namespaces here; "" when there can."""
    if sys.platform != "linux":
        return "not Linux"
    if os.geteuid():
        return "needs root"
    if not shutil.which("ip"):
        return "no ip (iproute2)"
    try:
        with Wire():
            pass
    except OSError as error:
        return f"no namespace: {error.strerror}"
    except subprocess.CalledProcessError as error:
        return f"no veth: {error.stderr.strip()[:120]}"
    return ""


def _call(name: str, *given: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*given):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _here() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Wire:
    """Three namespaces and two pairs of virtual Ethernet devices between them."""

    def __init__(self, mtu: int = 1500) -> None:
        self._mtu = mtu
        self._spaces: dict[str, int] = {}
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        try:
            for name in ("client", "firewall", "server"):
                self._spaces[name] = self._new()
            for end, here in (("client", "in0"), ("server", "out0")):
                self.link(end, here)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for each in self._sockets:
            each.close()
        while self._spaces:
            os.close(self._spaces.popitem()[1])

    def _new(self) -> int:
        home = _here()
        try:
            _call("unshare", CLONE_NEWNET)
            try:
                with open("/proc/thread-self/net/dev"):   # proc is there, and is this thread's
                    pass
                for scope in ("all", "default"):
                    path = f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"
                    if os.path.exists(path):
                        with open(path, "w") as off:      # nobody speaks but the test
                            off.write("1")
                return _here()
            finally:
                _call("setns", home, CLONE_NEWNET)
        finally:
            os.close(home)

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """This thread is within the namespace."""
        home = _here()
        try:
            _call("setns", self._spaces[name], CLONE_NEWNET)
            try:
                yield
            finally:
                _call("setns", home, CLONE_NEWNET)
        finally:
            os.close(home)

    def ip(self, name: str, *lines: str) -> None:
        """Lines of ``ip`` within a namespace."""
        with self.inside(name):
            subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True,
                           check=True, capture_output=True, timeout=PATIENCE_S)

    def link(self, end: str, here: str) -> None:
        """The pair between an end and the firewall."""
        there = f"/proc/{os.getpid()}/fd/{self._spaces[end]}"
        # With a number that its peer has not, or the kernel waits a second to tell of a carrier.
        number = 100 + sum(here.encode())
        self.ip("firewall", f"link add {here} index {number} mtu {self._mtu} type veth peer"
                f" name eth0 mtu {self._mtu} netns {there}", f"link set {here} up")
        self.ip(end, f"addr add {ENDS[end]}/24 dev eth0", "link set eth0 up", "link set lo up")
        for space, name in (("firewall", here), (end, "eth0")):
            self._running(space, name)

    def _running(self, space: str, interface: str) -> None:
        """Waits until frames pass: a carrier is told some time after the other end is up."""
        end = time.monotonic() + PATIENCE_S
        request = struct.pack("16sh14x", interface.encode(), 0)
        with self.inside(space), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            while time.monotonic() < end:
                flags = struct.unpack_from("H", fcntl.ioctl(asked, SIOCGIFFLAGS, request), 16)[0]
                if flags & IFF_RUNNING:
                    return
                time.sleep(0.001)
        raise OSError(f"{interface} has no carrier")

    def queue(self, name: str, number: int) -> None:
        """What is sent within a namespace goes to NFQUEUE first. Raises OSError where the kernel
        has none; by the socket option of iptables, which need not be installed."""
        accept = _rule(b"", struct.pack("i4x", -2))         # -NF_ACCEPT - 1
        queued = _rule(b"NFQUEUE", struct.pack("H6x", number))
        # INPUT, FORWARD: their policy; OUTPUT: the rule, its policy; then the end.
        rules = 2 * accept + queued + accept + _rule(b"ERROR", struct.pack("30s2x", b"ERROR"))
        begins = 0, 0, len(accept), 2 * len(accept), 0
        policies = 0, 0, len(accept), 2 * len(accept) + len(queued), 0
        before = 4                                          # rules of a table nobody has changed
        counters = ctypes.create_string_buffer(16 * before)
        with self.inside(name), socket.socket(
                socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as control:
            control.setsockopt(0, IPT_SO_SET_REPLACE, struct.pack(
                "32s3I5I5IIP", b"filter", 0b1110, 5, len(rules), *begins, *policies, before,
                ctypes.addressof(counters)) + rules)

    # --- the ends ---

    def socket(self, name: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket within a namespace; it is closed with the wire."""
        with self.inside(name):
            made = socket.socket(family, kind, protocol)
        made.settimeout(PATIENCE_S)
        if kind != socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self._sockets.append(made)
        return made

    def forget(self) -> None:
        """Closes every socket made so far that is neither listening nor raw."""
        kept = []
        for each in self._sockets:
            listens = each.fileno() >= 0 and (
                each.family == socket.AF_PACKET
                or each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            if listens:
                kept.append(each)
            else:
                each.close()
        self._sockets = kept

    def raw(self, name: str, interface: str = "eth0") -> socket.socket:
        """A packet socket: whole frames, as they are."""
        made = self.socket(name, socket.AF_PACKET, socket.SOCK_RAW)
        made.bind((interface, 3))
        return made

    def listen(self, port: int = 5000, backlog: int = 128) -> socket.socket:
        """A TCP listener of the server."""
        made = self.socket("server", socket.AF_INET, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((ENDS["server"], port))
        made.listen(backlog)
        return made

    def connect(self, port: int = 5000, timeout_s: float = PATIENCE_S) -> socket.socket:
        """A TCP connection of the client."""
        made = self.socket("client", socket.AF_INET, socket.SOCK_STREAM)
        made.settimeout(timeout_s)
        made.connect((ENDS["server"], port))
        return made

    def spawn(self, name: str, command: list[str], **more: Any) -> subprocess.Popen[str]:
        """A program within a namespace. => the caller ends it."""
        with self.inside(name):
            return subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def _rule(target: bytes, given: bytes) -> bytes:
    """An ipt_entry for every packet, and its target (linux/netfilter_ipv4/ip_tables.h)."""
    size = 112 + 32 + len(given)
    return (struct.pack("84xIHHI16x", 0, 112, size, 0)
            + struct.pack("H29sB", 32 + len(given), target, 0) + given)


@contextmanager
def beside(work: Callable[[], Any]) -> Iterator[list[Any]]:
    """``work()`` in a thread of its own while the block runs; its result is in the list then."""
    found: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield found
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "the other end does not end"
    if failed:
        raise failed[0]


def echo(listener: socket.socket, count: int = 1) -> Callable[[], int]:
    """What a server does: sends back what it gets, of so many connections; bytes in all."""

    def work() -> int:
        total = 0
        for _ in range(count):
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PATIENCE_S)
                while data := connection.recv(1 << 16):
                    connection.sendall(data)
                    total += len(data)
        return total

    return work


def exchange(connection: socket.socket, data: bytes) -> bytes:
    """Sends all of it and reads as much back."""
    with beside(lambda: connection.sendall(data)):
        parts, left = [], len(data)
        while left:
            part = connection.recv(min(left, 1 << 16))
            if not part:
                break
            parts.append(part)
            left -= len(part)
    return b"".join(parts)
