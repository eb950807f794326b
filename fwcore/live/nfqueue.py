"""Packets of a queue of the kernel (NFQUEUE), a batch at a time, with the names of ``Rings``.

    nft add rule inet filter forward queue num 3        fwcore live --queue 3

The kernel holds each packet until its verdict comes, and does with it what it would have done:
routing, address translation, checksums. Nothing is copied back. Of a packet longer than the wire
takes at once the kernel makes those that will be on the wire before they come here.

One message of netlink brings one packet; it stays where it was received until the batch is judged,
and all verdicts of a batch go back in one message or few. Written after linux/netfilter/
nfnetlink_queue.h [R]; the protocol is older and smaller than the libraries around it.

Where links hold packets back, the kernel holds them: their verdicts come later (``leave``).

Law: what arrived = taken + lost + what the kernel has still; what was taken was sent (accepted),
withheld (dropped), waits, or came too late for the kernel to hold it (refused, down).
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fwcore._columns import mark_frames
from fwcore._layout import Verdict
from fwcore._rings import BATCH, COUNTERS, ERROR, FRAMES, WOKEN
from fwcore._shaper import UNMARKED
from fwcore.capture import Chunk
from fwcore.errors import DataError, LiveError

LINK_RAW = 101                   # LINKTYPE_RAW: a frame begins with its IP header
QUEUES = 1 << 16
NETLINK_NETFILTER, SOL_NETLINK, NETLINK_NO_ENOBUFS = 12, 270, 5
SO_RCVBUFFORCE = 33
NLMSG_ERROR, REQUEST, ACK = 2, 1, 4
PACKET, VERDICT, CONFIG = 3 << 8, 3 << 8 | 1, 3 << 8 | 2      # NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_*
CFG_CMD, CFG_PARAMS, CFG_MAXLEN = 1, 2, 3
BIND, UNBIND = 1, 2
COPY_PACKET, COPY_BYTES = 2, 0xFFFF
HDR, PAYLOAD, CAP_LEN = 1, 10, 13                             # NFQA_*
NF_DROP, NF_ACCEPT = 0, 1
HEADER_BYTES, HEAD_BYTES = 16, 20    # nlmsghdr; with nfgenmsg
WORD = 0xFFFFFFFF
LATE_NS = 1_000_000
ANSWER_S = 5
MESSAGE_BYTES = COPY_BYTES + 1024     # the longest message: a packet, its attributes
WAITING_MAX = 8 * BATCH
SOCKET_BYTES = 32 << 20

# A verdict: nlmsghdr, nfgenmsg, one attribute NFQA_VERDICT_HDR.
ANSWER = np.dtype([
    ("bytes", "<u4"), ("type", "<u2"), ("flags", "<u2"), ("sequence", "<u4"), ("port", "<u4"),
    ("family", "u1"), ("version", "u1"), ("queue", ">u2"), ("attribute_bytes", "<u2"),
    ("attribute", "<u2"), ("verdict", ">u4"), ("id", ">u4")])
ANSWERS = 2048                   # to one message: 64 KiB


class Packet(NamedTuple):
    """One that the kernel holds: its number there, its length, its bytes as far as they came."""

    id: int
    length: int
    data: bytes


class Queue:
    """The queue of this number: ``take``, ``send``, ``wait`` as ``Rings`` has them.

    ``buffer_bytes``: memory of a batch; ``waiting``: packets that the kernel holds for us, more
    are lost. Raises LiveError: not permitted, taken, no such kernel.
    """

    def __init__(
        self, number: int, *, buffer_bytes: int = 4 << 20, waiting: int = WAITING_MAX,
    ) -> None:
        if not 0 <= number < QUEUES:
            raise LiveError(f"queue {number} is not in 0..{QUEUES - 1}")
        if buffer_bytes < MESSAGE_BYTES:
            raise LiveError(f"a buffer of {buffer_bytes} bytes is less than one packet needs")
        if not 1 <= waiting <= WORD:
            raise LiveError(f"{waiting} waiting packets: not in 1..2**32-1")
        self.number, self._waiting = number, waiting
        self.names = (f"queue {number}",)
        self.bound: dict[str, tuple[int, str]] = {}     # to no interface
        self._memory = bytearray(buffer_bytes)
        self._view = memoryview(self._memory)
        self.data = np.frombuffer(self._memory, np.uint8)
        self.offset = np.zeros(BATCH, np.uint64)
        self.captured = np.zeros(BATCH, np.uint32)
        self.length = np.zeros(BATCH, np.uint32)
        self.time_ns = np.zeros(BATCH, np.int64)
        self.link = np.full(BATCH, LINK_RAW, np.uint16)
        self._ids = np.zeros(BATCH, np.uint32)
        self._count = 0
        self._waits: dict[int, Packet] = {}             # by the number of the packet
        self._counted = dict.fromkeys((*COUNTERS, "last_errno"), 0)
        # The kernel's last figures: packets numbered, dropped before that, dropped after it.
        self._numbered = self._dropped = self._unread = 0
        self._open = False
        self._begin_ns, self._steady_ns = time.time_ns(), time.monotonic_ns()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            self._socket, self._figures = self._connect()
        except OSError as error:
            os.close(self._wake)
            raise LiveError(f"{self.names[0]}: {self._why(error)}") from None
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)

    # --- netlink ---

    def _connect(self) -> tuple[socket.socket, int]:
        """The socket, bound to the queue, and where its figures stand in /proc."""
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC,
                             NETLINK_NETFILTER)
        try:
            made.bind((0, 0))
            made.setsockopt(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)
            for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):
                try:
                    made.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
                    break
                except PermissionError:
                    continue
            self._bind(made)
            made.setblocking(False)
            return made, os.open("/proc/thread-self/net/netfilter/nfnetlink_queue",
                                 os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            made.close()
            raise

    def _bind(self, to: socket.socket) -> None:
        """The queue becomes ours; packets come from the last request on. Raises OSError."""
        to.settimeout(ANSWER_S)
        to.send(self._request(CFG_CMD, struct.pack(">BxH", BIND, 0), ACK))
        code = -struct.unpack_from("<i", to.recv(MESSAGE_BYTES), HEADER_BYTES)[0]
        if code:
            raise OSError(code, os.strerror(code))
        to.send(self._request(CFG_MAXLEN, struct.pack(">I", self._waiting)))
        to.send(self._request(CFG_PARAMS, struct.pack(">IB", COPY_BYTES, COPY_PACKET)))
        self._open = True

    def _request(self, attribute: int, value: bytes, flags: int = 0) -> bytes:
        body = struct.pack(">BBH", socket.AF_UNSPEC, 0, self.number)
        body += struct.pack("<HH", 4 + len(value), attribute) + value + bytes(-len(value) % 4)
        return struct.pack("<IHHII", HEADER_BYTES + len(body), CONFIG, REQUEST | flags, 0, 0) + body

    def _why(self, error: OSError) -> str:
        if error.errno in (errno.EPERM, errno.EACCES):
            return "not permitted (root or CAP_NET_ADMIN), or another program has it"
        if error.errno in (errno.EPROTONOSUPPORT, errno.EINVAL, errno.ENOENT):
            return "this kernel has no NFQUEUE"
        return error.strerror or str(error)

    # --- a batch ---

    def take(self, limit: int = BATCH) -> int:
        """What has arrived, at most ``limit`` packets; how many.

        Raises DataError when the batch before was not sent: the kernel waits for its verdicts.
        """
        if self._count:
            raise DataError("take: the batch before has not been sent")
        count = at = 0
        limit = min(limit, BATCH)
        now_ns = self.now_ns
        while count < limit and at + MESSAGE_BYTES <= len(self._memory):
            try:
                size = self._socket.recv_into(self._view[at:at + MESSAGE_BYTES])
            except BlockingIOError:
                break
            except OSError as error:
                self._counted["last_errno"] = error.errno or 0
                break
            if self._read(at, size, count):
                at += (size + 63) & ~63
                count += 1
        self.time_ns[:count] = now_ns
        self._counted["taken"] += count
        self._counted["taken_bytes"] += int(self.length[:count].sum())
        self._count = count
        return count

    def _read(self, at: int, size: int, place: int) -> bool:
        """One message; whether it is a packet, which then stands at this place of the batch."""
        if size < HEAD_BYTES:
            return False
        _, kind, _, _, _ = struct.unpack_from("<IHHII", self._memory, at)
        if kind == NLMSG_ERROR:
            self._late(-struct.unpack_from("<i", self._memory, at + 16)[0])
        if kind != PACKET:
            return False
        number = begin = wire = None
        end, step, captured = at + size, at + HEAD_BYTES, 0
        while step + 4 <= end:      # bounded by the message: each step is 4 bytes at least
            length, attribute = struct.unpack_from("<HH", self._memory, step)
            if length < 4 or step + length > end:
                break
            if attribute == HDR and length >= 8:
                number = struct.unpack_from(">I", self._memory, step + 4)[0]
            elif attribute == CAP_LEN and length >= 8:
                wire = struct.unpack_from(">I", self._memory, step + 4)[0]
            elif attribute == PAYLOAD:
                begin, captured = step + 4, length - 4
            step += (length + 3) & ~3
        if number is None:
            return False
        if 0 < (number - self._numbered & WORD) < 1 << 31:     # newer than the kernel's figures
            self._counted["arrived"] += number - self._numbered & WORD
            self._numbered = number
        self._ids[place] = number
        self.offset[place] = at if begin is None else begin
        self.captured[place] = captured
        self.length[place] = captured if wire is None else wire
        return True

    def _late(self, code: int) -> None:
        """The kernel refused a verdict: it holds the packet no longer."""
        if code:
            self._counted["sent"] -= 1
            self._counted["refused"] += 1
            self._counted["last_errno"] = code

    def send(self, outcome: NDArray[np.uint8]) -> None:
        """The verdicts of the batch, uint8[n, 2] as ``Engine.process`` gives them.

        Raises DataError where they are of another number.
        """
        if outcome.shape != (self._count, 2) or outcome.dtype != np.uint8:
            raise DataError(f"send: uint8[{self._count}, 2] is asked for")
        count, self._count = self._count, 0
        if not count:
            return
        dropped = outcome[:count, 0] == Verdict.DROP
        self._decide(self._ids[:count], self.length[:count], dropped)

    def _decide(self, ids: NDArray[np.uint32], lengths: NDArray[np.uint32],
                dropped: NDArray[np.bool_]) -> None:
        """Verdicts for packets that the kernel holds, in this order."""
        withheld = int(dropped.sum())
        passed = len(ids) - withheld
        self._counted["withheld"] += withheld
        if not self._open:
            self._counted["down"] += passed
            return
        rows = np.zeros(len(ids), ANSWER)
        rows["bytes"], rows["type"], rows["flags"] = ANSWER.itemsize, VERDICT, REQUEST
        rows["queue"], rows["attribute_bytes"], rows["attribute"] = self.number, 12, 2
        rows["verdict"] = np.where(dropped, NF_DROP, NF_ACCEPT)
        rows["id"] = ids
        self._counted["sent"] += passed
        self._counted["sent_bytes"] += int(lengths[~dropped].sum())
        for begin in range(0, len(rows), ANSWERS):
            part = rows[begin:begin + ANSWERS]
            self._answer(part.tobytes(), int((part["verdict"] == NF_ACCEPT).sum()))

    def _answer(self, message: bytes, passed: int) -> None:
        try:
            self._socket.send(message)
        except OSError as error:
            self._counted["sent"] -= passed
            self._counted["full"] += passed
            self._counted["last_errno"] = error.errno or 0

    # --- packets that wait ---

    def leave(
        self, first: int, kept: NDArray[np.uint8], packet: NDArray[np.uint64],
        due_ns: NDArray[np.int64], sent: NDArray[np.uint8], mark: NDArray[np.uint8],
    ) -> None:
        """As ``Rings.leave``: what is kept gets its verdict when it leaves. A mark goes back with
        the packet's bytes; where not all of them came, it is dropped (``cut``)."""
        if len(kept) != self._count:
            raise DataError(f"leave: {len(kept)} packets for a batch of {self._count}")
        count, self._count = self._count, 0
        batch = {}
        for i in range(count):
            begin, size = int(self.offset[i]), int(self.captured[i])
            batch[first + i] = Packet(
                int(self._ids[i]), int(self.length[i]), bytes(self._view[begin:begin + size]))
        self._waits |= batch
        now = self.now_ns
        leave: list[tuple[Packet, bool]] = []
        for number, due, goes, written in zip(packet.tolist(), due_ns.tolist(), sent.tolist(),
                                           mark.tolist(), strict=True):
            found = self._waits.pop(number, None)
            if found is None:
                continue
            self._counted["late"] += bool(goes and now - due > LATE_NS)
            if not goes or written == UNMARKED:
                leave.append((found, not goes))
                continue
            self._let_go(leave)
            leave = []
            self._marked(found, written)
        dropped = [number for number in batch if number in self._waits and not kept[number - first]]
        leave += [(self._waits.pop(number), True) for number in dropped]
        self._let_go(leave)

    def _let_go(self, packets: list[tuple[Packet, bool]]) -> None:
        """Packets, each with whether it is dropped, in this order."""
        if packets:
            self._decide(np.array([each.id for each, _ in packets], np.uint32),
                         np.array([each.length for each, _ in packets], np.uint32),
                         np.array([dropped for _, dropped in packets], bool))

    def _marked(self, packet: Packet, mark: int) -> None:
        """Lets a packet go with a mark."""
        size = len(packet.data)
        if size != packet.length:
            self._counted["cut"] += 1
            self._counted["withheld"] -= 1      # below as one that is dropped
            self._let_go([(packet, True)])
            return
        if not self._open:
            self._counted["down"] += 1
            return
        data = np.frombuffer(bytearray(packet.data), np.uint8)
        mark_frames(Chunk(data, np.zeros(1, np.uint64), np.full(1, size, np.uint32),
                          np.full(1, size, np.uint32), np.zeros(1, np.int64),
                          np.full(1, LINK_RAW, np.uint16)), np.full(1, mark, np.uint8))
        body = struct.pack(">BBH", socket.AF_UNSPEC, 0, self.number)
        body += struct.pack("<HH", 12, 2) + struct.pack(">II", NF_ACCEPT, packet.id)
        body += struct.pack("<HH", 4 + size, PAYLOAD) + data.tobytes() + bytes(-size % 4)
        self._counted["sent"] += 1
        self._counted["sent_bytes"] += packet.length
        self._answer(struct.pack(
            "<IHHII", HEADER_BYTES + len(body), VERDICT, REQUEST, 0, 0) + body, 1)

    @property
    def waiting(self) -> int:
        """Packets that links hold back."""
        return len(self._waits)

    def forsake(self) -> int:
        """Drops what waits (``withheld``); how many packets."""
        waits, self._waits = self._waits, {}
        self._let_go([(each, True) for each in waits.values()])
        return len(waits)

    # --- waiting ---

    def wait(self, timeout_ns: int) -> int:
        """Until packets, or ``wake``, or the time: bits FRAMES, ERROR, WOKEN."""
        found = 0
        for handle, event in self._poll.poll(max(0, -(-timeout_ns // 1_000_000))):
            if handle == self._wake:
                os.eventfd_read(self._wake)
                found |= WOKEN
            else:
                found |= FRAMES if event & select.POLLIN else ERROR
        return found

    def wake(self) -> None:
        """Ends a wait; from any thread, and from a signal's handler."""
        os.eventfd_write(self._wake, 1)

    def heal(self) -> dict[str, str]:
        """A queue neither goes nor comes."""
        return {}

    def deafen(self) -> None:
        """Lets go of the queue: what the kernel holds for us it drops, or passes by ``bypass``."""
        if not self._open:
            return
        self._look()
        self._open = False
        try:
            self._socket.send(self._request(CFG_CMD, struct.pack(">BxH", UNBIND, 0)))
        except OSError as error:
            self._counted["last_errno"] = error.errno or 0

    def close(self) -> None:
        """Lets go of everything; a second time is no error."""
        self._open = False
        if self._socket.fileno() >= 0:
            self._socket.close()
            os.close(self._wake)
            os.close(self._figures)

    # --- figures ---

    @property
    def now_ns(self) -> int:
        """The wall clock of the start, and what has passed since."""
        return self._begin_ns + time.monotonic_ns() - self._steady_ns

    def counters(self) -> dict[str, dict[str, int]]:
        """Counters by the queue's name, as those of an interface."""
        self._look()
        return {self.names[0]: dict(self._counted)}

    def _look(self) -> None:
        """The kernel's figures: 32 bits each, of which what was added since counts."""
        if not self._open:
            return
        for line in os.pread(self._figures, 1 << 16, 0).splitlines():
            row = [int(word) for word in line.split()]
            if len(row) >= 8 and row[0] == self.number:
                dropped, unread, newest = row[5:8]
                arrived = (newest - self._numbered & WORD) + (dropped - self._dropped & WORD)
                self._counted["arrived"] += arrived
                self._counted["lost"] += (dropped - self._dropped & WORD) + (
                    unread - self._unread & WORD)
                self._numbered, self._dropped, self._unread = newest, dropped, unread

    def delays(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Nothing: the kernel does not say when a packet arrived."""
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
