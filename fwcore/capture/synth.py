"""Synthetic workloads: traffic made by arithmetic, as chunks, as fast as NumPy writes it.

    make("web", sessions=20_000, rate_pps=500_000, duration_s=10)  ->  Workload
    workload.chunks(8192)           Chunk after Chunk, bounded memory, straight into an engine
    workload.open(8192)             the same behind the attributes of a capture reader
    to_pcap("web.pcap", workload)   streamed to disk (or "-")

Laws
- Everything about packet i follows from (workload, parameters, seed, i): no generator has a state,
  so results do not depend on the chunk size and any part can be made alone (``workload.part``).
- Time is ``START_NS + i * 10**9 // rate_pps``, exactly, in integers.
- All checksums are valid; frames have no FCS and at least 60 bytes. Client addresses are in
  10.0.0.0/8 and fd00::/8, server addresses in 198.18.0.0/15 and 2001:2::/48 (RFC 2544, RFC 5180).

Sessions with a course (handshake, data, close) follow a *script*: all scripts of a workload have
the same number S of steps, and a round of packets holds one step of every open session:

    round 0     a0 b0                     a0 is step 0 of session a; two sessions begin each round
    round 1     a1 b1 c0 d0
    round 2     a2 b2 c1 d1 e0 f0         from round S-1 on S x 2 sessions are open, and in every
    round 3     ...                       round two of them end and two begin

so that the session and the step of packet i are two divisions away. Within a full round the order
is scrambled; each session still sees its own packets in order.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fwcore.capture.assemble import RECORD_BYTES, TCP, UDP, Columns, Frames, Layout, assemble
from fwcore.capture.chunk import Chunk
from fwcore.errors import SettingsError
from fwcore.outfile import Output
from fwcore.words import nearest

START_NS = 1_700_000_000 * 10**9
SECOND_NS = 10**9
LINK_ETHERNET = 1
MIN_SNAP_BYTES = 74  # Ethernet, IPv6, TCP: what every column needs
MAX_FRAME_BYTES = 9018  # jumbo
PORTS = 64_512  # client ports 1024-65535
FIRST_PORT = 1024
CLIENT_NET = 10 << 24  # 10.0.0.0/8
SERVER_NET = 198 << 24 | 18 << 16  # 198.18.0.0/15
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
FLAG_BITS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "A": ACK}
MASK64 = 2**64 - 1
BLOCK = 8192  # frames made at once when the caller has no wish

PCAP_HEADER = bytes.fromhex("4d3cb2a1 0200 0400 00000000 00000000 00000400 01000000")


# --- arithmetic on packet and session numbers -------------------------------------------------


def splitmix64(value: np.ndarray) -> np.ndarray:
    """The splitmix64 finaliser, uint64[n] -> uint64[n] (Steele, Lea, Flood 2014)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def scrambled(number: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """A pseudo-random uint64 for each number; ``stream`` tells independent uses apart."""
    key = (seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03) & MASK64
    return splitmix64(number ^ splitmix64(np.array([key], np.uint64))[0])


def below(random: np.ndarray, bound: int) -> np.ndarray:
    """Uniform in [0, bound), bound <= 2**32, from the high half of ``random``."""
    return ((random >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)


def divided(number: np.ndarray, by: int) -> tuple[np.ndarray, np.ndarray]:
    """Quotient and remainder, uint64[n]; NumPy divides by a scalar faster than it takes `%`."""
    quotient = number // np.uint64(by)
    return quotient, number - quotient * np.uint64(by)


# --- scripts ----------------------------------------------------------------------------------


class Script(NamedTuple):
    """The course of one session: a row a packet.

    Rows read ``"> SA 120"``: direction (> client, < server), TCP flags (absent in UDP), payload
    bytes. A row may name its payload text: ``"> PA 120 get"``.
    """

    protocol: int
    rows: tuple[str, ...]


TEXTS = {
    "get": b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: fwcore\r\n"
           b"Accept: */*\r\nConnection: keep-alive\r\nCookie: ",
    "ok": b"HTTP/1.1 200 OK\r\nServer: synth\r\nContent-Type: text/html\r\n\r\n<html><body>",
    # id (the stamp), flags, counts, "www.example.com" A IN; the answer adds one record, TTL 300
    "query": bytes.fromhex("0000 0100 0001 0000 0000 0000 03777777 076578616d706c65 03636f6d 00"
                           "0001 0001"),
    "answer": bytes.fromhex("0000 8180 0001 0001 0000 0000 03777777 076578616d706c65 03636f6d 00"
                            "0001 0001 c00c 0001 0001 0000012c 0004 c6120001"),
}


@functools.cache
def filler(size: int, text: str = "") -> bytes:
    """``size`` bytes of payload: the named text, cut or continued with letters."""
    start = TEXTS.get(text, b"")[:size]
    letters = b"abcdefghijklmnopqrstuvwxyz012345"
    return start + (letters * (size // len(letters) + 1))[:size - len(start)]


class Course:
    """Scripts of equal length as tables indexed by script * steps + step.

    ``layouts`` has two for each payload of a protocol: IPv4, then IPv6 (an odd number).
    """

    def __init__(self, *scripts: Script, snap_bytes: int = 0) -> None:
        self.steps = len(scripts[0].rows)
        self.layouts: list[Layout] = []
        tables: dict[str, list] = {k: [] for k in ("layout", "reply", "flags", "seq", "ack")}
        numbers: dict[tuple, int] = {}
        for script in scripts:
            assert len(script.rows) == self.steps
            sent = {">": 0, "<": 0}  # sequence space used so far, relative to the ISN
            for row in script.rows:
                way, flags, payload = _parse_row(row)
                key = script.protocol, payload
                if key not in numbers:
                    numbers[key] = len(self.layouts)
                    self.layouts += [Layout(f, *key, snap_bytes) for f in (4, 6)]
                other = "<" if way == ">" else ">"
                tables["layout"].append(numbers[key])
                tables["reply"].append(way == "<")
                tables["flags"].append(flags)
                tables["seq"].append(sent[way])
                tables["ack"].append(sent[other])
                sent[way] += len(payload) + bool(flags & SYN) + bool(flags & FIN)
        self.layout = np.array(tables["layout"], np.intp)
        self.reply = np.array(tables["reply"], bool)
        self.flags = np.array(tables["flags"], np.uint64)
        self.seq = np.array(tables["seq"], np.uint64)
        self.ack = np.array(tables["ack"], np.uint64)

    def columns(self, script: np.ndarray | int, step: np.ndarray, random: np.ndarray,
                ipv6: np.ndarray | None = None, **addresses) -> Columns:
        """Columns of packets at ``step`` of a session; ``random`` (per session) makes its ISNs.

        ``addresses``: client, server, client_port, server_port. The stamp is the low 16 bits of
        ``random``.
        """
        row = (step + np.uint64(self.steps) * script).astype(np.intp)
        reply, flags = self.reply[row], self.flags[row]
        low, high = random & np.uint64(0xFFFFFFFF), random >> np.uint64(32)
        seq = (np.where(reply, high, low) + self.seq[row]) & np.uint64(0xFFFFFFFF)
        ack = (np.where(reply, low, high) + self.ack[row]) & np.uint64(0xFFFFFFFF)
        ack[(flags & np.uint64(ACK)) == 0] = 0
        layout = self.layout[row] + (0 if ipv6 is None else ipv6)
        return Columns(reply=reply, layout=layout, flags=flags, seq=seq, ack=ack,
                       stamp=random & np.uint64(0xFFFF), **addresses)


def _parse_row(row: str) -> tuple[str, int, bytes]:
    """``"> PA 120 get"`` -> direction, flag bits, payload."""
    way, *words = row.split()
    flags = 0
    if words and words[0].isalpha():
        flags = sum(FLAG_BITS[letter] for letter in words.pop(0))
    size = int(words[0]) if words else 0
    return way, flags, filler(size, words[1] if len(words) > 1 else "")


@dataclass(frozen=True)
class Rounds:
    """Which session and step packet i is: see the picture on top. ``starts`` sessions a round."""

    steps: int
    starts: int
    seed: int

    @property
    def open_sessions(self) -> int:
        return self.steps * self.starts

    @functools.cached_property
    def stride(self) -> int:
        """A step through a round that visits every place: odd jumps are not enough, coprime is."""
        size = self.open_sessions
        stride = (int(size * 0.6180339887) + 2 * (self.seed % 97)) % size | 1
        while math.gcd(stride, size) != 1:
            stride += 2
        return stride

    def locate(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Session number and step, uint64[n], of packet numbers (from 0) uint64[n]."""
        warm = self.starts * self.steps * (self.steps - 1) // 2
        if len(index) and int(index[-1]) >= warm:
            session, step = self._full(np.maximum(index, np.uint64(warm)) - np.uint64(warm))
            if int(index[0]) >= warm:
                return session, step
            early = index < np.uint64(warm)
            session[early], step[early] = self._warm_up(index[early])
            return session, step
        return self._warm_up(index)

    def _full(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turn, place = divided(index, self.open_sessions)
        _, place = divided(place * np.uint64(self.stride), self.open_sessions)
        step, which = divided(place, self.starts)
        session = (turn + np.uint64(self.steps - 1) - step) * np.uint64(self.starts) + which
        return session, step

    def _warm_up(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Round r of the first S - 1 has r + 1 groups of ``starts``: triangular numbers."""
        group, which = divided(index, self.starts)
        turn = ((np.sqrt(8.0 * group + 1.0) - 1.0) / 2.0).astype(np.uint64)
        one = np.uint64(1)
        turn -= turn * (turn + one) // np.uint64(2) > group  # the root may be off by one
        turn += (turn + one) * (turn + np.uint64(2)) // np.uint64(2) <= group
        session_turn = group - turn * (turn + one) // np.uint64(2)
        return session_turn * np.uint64(self.starts) + which, turn - session_turn


# --- the workload -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What all workloads share. Build one with ``make``; iterate it for chunks.

    sessions     sessions open at a time (uniform, elephants: flows)
    packets      how many in all; with ``rate_pps`` and ``duration_s`` two give the third
    rate_pps     packets per second of capture time
    hosts        client addresses (syn-flood, port-scan: targets)
    frame_bytes  size of the frames without FCS, where a workload has one size
    snap_bytes   bytes captured of each frame, 0 for all (the wire length stays)
    """

    name: ClassVar[str] = ""
    policies: ClassVar[tuple[dict, ...]] = ()
    defaults: ClassVar[dict[str, int]] = {}
    hosts_limit: ClassVar[int] = 2**24 - 2

    sessions: int = 1000
    packets: int = 1_000_000
    rate_pps: int = 1_000_000
    hosts: int = 250
    frame_bytes: int = 60
    snap_bytes: int = 0
    seed: int = 1

    @property
    def duration_ns(self) -> int:
        """Time from the first packet to the end of the last packet's slot."""
        return self.packets * SECOND_NS // self.rate_pps

    @property
    def description(self) -> str:
        """First paragraph of what the workload is, one line."""
        text = inspect.getdoc(type(self)) or ""
        return " ".join(text.split("\n\n")[0].split())

    def check(self) -> None:
        """Raises SettingsError for values that cannot be."""
        bounds = {
            "sessions": (1, 2**32 - 1), "packets": (0, 2**48), "rate_pps": (1, SECOND_NS),
            "hosts": (1, self.hosts_limit), "frame_bytes": (60, MAX_FRAME_BYTES),
            "snap_bytes": (0, 2**18), "seed": (0, MASK64),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"synth {self.name}: {name} = {value} is out of range; "
                                    f"it must be {low} to {high}")
        if 0 < self.snap_bytes < MIN_SNAP_BYTES:
            raise SettingsError(f"synth {self.name}: snap_bytes = {self.snap_bytes} would cut "
                                f"headers; take 0 (whole frames) or at least {MIN_SNAP_BYTES}")
        if START_NS + self.duration_ns > 2**62:
            raise SettingsError(f"synth {self.name}: {self.packets} packets at {self.rate_pps}/s "
                                "end after the year 2116; raise rate_pps")

    def layouts(self) -> tuple[Layout, ...]:
        raise NotImplementedError

    def columns(self, index: np.ndarray) -> Columns:
        """Columns of the packets numbered ``index`` (from 0), uint64[n], ascending."""
        raise NotImplementedError

    def times(self, first: int, last: int) -> np.ndarray:
        """Times of packets first to last - 1, int64[n]."""
        second, rest = divided(np.arange(first, last, dtype=np.uint64), self.rate_pps)
        time = second * np.uint64(SECOND_NS)
        time += rest * np.uint64(SECOND_NS) // np.uint64(self.rate_pps)
        return time.astype(np.int64) + START_NS

    def frames(self, first: int, last: int, room: int = 0) -> tuple[Frames, np.ndarray]:
        """Frames of packets first to last - 1 (from 0) and their times."""
        time_ns = self.times(first, last)
        columns = self.columns(np.arange(first, last, dtype=np.uint64))
        return assemble(self._layouts, columns, time_ns, room), time_ns

    @functools.cached_property
    def _layouts(self) -> tuple[Layout, ...]:
        return self.layouts()

    def part(self, first: int, last: int) -> Chunk:
        """Packets first to last - 1, counted from 0, as one chunk."""
        frames, time_ns = self.frames(first, last)
        link = np.full(len(time_ns), LINK_ETHERNET, np.uint16)
        return Chunk(frames.data, frames.offset, frames.captured, frames.length, time_ns, link)

    def chunks(self, chunk_size: int = BLOCK) -> Iterator[Chunk]:
        """All packets, in chunks of at most ``chunk_size`` frames."""
        for first in range(0, self.packets, chunk_size):
            yield self.part(first, min(first + chunk_size, self.packets))

    def __iter__(self) -> Iterator[Chunk]:
        return self.chunks()

    def open(self, chunk_size: int = BLOCK) -> SynthReader:
        """The workload behind the attributes of a capture reader."""
        return SynthReader(self, chunk_size)

    # what the workloads below share

    def _clients(self, session: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Client address and port of each session: hosts in turn, a new port each time."""
        turn, host = divided(session, self.hosts)
        _, port = divided(turn, PORTS)
        return host + np.uint64(CLIENT_NET + 1), port + np.uint64(FIRST_PORT)

    def _need_ports(self) -> None:
        """Raises SettingsError when ports would be used again before their session has ended."""
        if self.sessions > self.hosts * PORTS // 4:
            need = -(-self.sessions * 4 // PORTS)
            raise SettingsError(f"synth {self.name}: {self.sessions} sessions at a time need "
                                f"at least {need} hosts, not {self.hosts}")


class Scripted(Workload):
    """A workload whose sessions follow scripts, ``sessions`` of them open at a time."""

    scripts: ClassVar[tuple[Script, ...]] = ()

    def check(self) -> None:
        super().check()
        self._need_ports()

    @functools.cached_property
    def course(self) -> Course:
        return Course(*self.scripts, snap_bytes=self.snap_bytes)

    @functools.cached_property
    def rounds(self) -> Rounds:
        steps = self.course.steps
        return Rounds(steps, max(1, -(-self.sessions // steps)), self.seed)

    def layouts(self) -> tuple[Layout, ...]:
        return tuple(self.course.layouts)

    def columns(self, index: np.ndarray) -> Columns:
        session, step = self.rounds.locate(index)
        random = scrambled(session, self.seed, 1)
        client, client_port = self._clients(session)
        return self.course.columns(step=step, random=random, client=client,
                                   client_port=client_port, **self.choose(session, random))

    def choose(self, session: np.ndarray, random: np.ndarray) -> dict:
        """script, server, server_port (and ipv6) of each session; arrays or ints."""
        raise NotImplementedError


class SynthReader:
    """A workload as a capture: the attributes and methods every reader has."""

    reader = "synth"
    format = "synth"
    fault = None

    def __init__(self, workload: Workload, chunk_size: int) -> None:
        self.workload = workload
        self.path = describe(workload)
        self.packets = 0
        self.size_bytes = workload.packets  # progress is counted in packets: there is no file
        self._chunk_size = chunk_size

    @property
    def position_bytes(self) -> int:
        return self.packets

    def __iter__(self) -> Iterator[Chunk]:
        for chunk in self.workload.chunks(self._chunk_size):
            self.packets += len(chunk)
            yield chunk

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> SynthReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- the workloads ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Uniform(Workload):
    """One-way UDP over a fixed number of flows, each packet of a flow drawn uniformly.

    The question it asks: what does a look-up cost when nothing is near in time? ``frame_bytes``
    is the size without FCS (60 is a 64-byte Ethernet frame), at least 62 with ``ipv6``. With
    rate_pps = 10000 it is the slow traffic in which per-second work dominates.
    """

    name: ClassVar[str] = "uniform"
    servers: ClassVar[int] = 256
    ipv6: bool = False

    def check(self) -> None:
        super().check()
        if self.ipv6 and self.frame_bytes < 62:
            raise SettingsError("synth uniform: frame_bytes must be at least 62 with ipv6 "
                                "(14 Ethernet + 40 IPv6 + 8 UDP)")
        if self.sessions > self.hosts * PORTS * self.servers:
            raise SettingsError(f"synth uniform: {self.hosts} hosts can have at most "
                                f"{self.hosts * PORTS * self.servers} sessions; raise hosts")

    def layouts(self) -> tuple[Layout, ...]:
        family = 6 if self.ipv6 else 4
        size = self.frame_bytes - (62 if self.ipv6 else 42)
        return (Layout(family, UDP, filler(size), self.snap_bytes),)

    def columns(self, index: np.ndarray) -> Columns:
        session = below(scrambled(index, self.seed, 1), self.sessions)
        client, client_port = self._clients(session)
        server: np.ndarray | int = SERVER_NET + 1
        if self.sessions > self.hosts * PORTS:
            server = session // np.uint64(self.hosts * PORTS) + np.uint64(server)
        return Columns(client, server, client_port, 5001, stamp=index & np.uint64(0xFFFF))


@dataclass(frozen=True, kw_only=True)
class Imix(Scripted):
    """Simple IMIX, 7:4:1 frames of 64, 594 and 1518 bytes with FCS (60, 590, 1514 captured).

    Every session carries the mix once: twelve packets, handshake and close among the seven small
    ones; TCP:UDP 3:1. The sizes are the IP lengths 40, 576 and 1500 of the "simple IMIX";
    RFC 6985 gives the notation (its genome would be aaaaaaa bbbb f), not this mix.
    """

    name: ClassVar[str] = "imix"
    scripts: ClassVar[tuple[Script, ...]] = (
        Script(TCP, ("> S", "< SA", "> A", "> PA 536", "< A 536", "< A 1460", "> A",
                     "< A 536", "< PA 536", "> FA", "< FA", "> A")),
        Script(UDP, ("> 18", "< 18", "> 18", "> 548", "< 548", "< 1472", "> 18",
                     "< 548", "< 548", "> 18", "< 18", "> 18")),
    )

    def choose(self, session: np.ndarray, random: np.ndarray) -> dict:
        udp = ((session & np.uint64(3)) == 3).astype(np.uint64)
        return {"script": udp, "server": SERVER_NET + 1 + below(random, 64),
                "server_port": 443 + udp * np.uint64(4500 - 443)}


@dataclass(frozen=True, kw_only=True)
class Web(Scripted):
    """Browsing: many clients, 16 servers; connections of two requests, opened and closed.

    Handshake, two GETs of 420 bytes, answers of four segments (5 080 bytes) with delayed ACKs,
    FIN from both sides: 22 packets, 557 bytes a frame on average. Port 80, 1 of 4 on 443.
    """

    name: ClassVar[str] = "web"
    page: ClassVar[tuple[str, ...]] = (
        "> PA 420 get", "< A", "< A 1460 ok", "< A 1460", "> A", "< A 1460", "< PA 700", "> A")
    scripts: ClassVar[tuple[Script, ...]] = (
        Script(TCP, ("> S", "< SA", "> A", *page, *page, "> FA", "< FA", "> A")),)

    def choose(self, session: np.ndarray, random: np.ndarray) -> dict:
        tls = (random >> np.uint64(20) & np.uint64(3)) == 0
        return {"script": 0, "server": SERVER_NET + 1 + below(random, 16),
                "server_port": np.where(tls, np.uint64(443), np.uint64(80))}


@dataclass(frozen=True, kw_only=True)
class DnsStorm(Scripted):
    """DNS at full speed: a query and an answer a session, a new source port each.

    Two resolvers. Sessions last two packets and then only wait for the UDP timeout: the table
    fills with entries nobody needs, at half the packet rate.
    """

    name: ClassVar[str] = "dns-storm"
    scripts: ClassVar[tuple[Script, ...]] = (Script(UDP, ("> 33 query", "< 49 answer")),)

    def choose(self, session: np.ndarray, random: np.ndarray) -> dict:
        return {"script": 0, "server": SERVER_NET + 53 + below(random, 2), "server_port": 53}


@dataclass(frozen=True, kw_only=True)
class SynFlood(Workload):
    """SYNs and nothing else, from spoofed addresses, to ``hosts`` targets (default 1).

    Every packet is a new session that stays half-open. Sources are spread over 116 /8 networks
    (11 to 126) and all ports from 1024.
    """

    name: ClassVar[str] = "syn-flood"
    defaults: ClassVar[dict[str, int]] = {"hosts": 1}
    hosts_limit: ClassVar[int] = 65_534

    def layouts(self) -> tuple[Layout, ...]:
        return (Layout(4, TCP, b"", self.snap_bytes),)

    def columns(self, index: np.ndarray) -> Columns:
        random = scrambled(index, self.seed, 1)
        network = (np.uint64(11) + below(random, 116)) << np.uint64(24)
        _, port = divided(random & np.uint64(0xFFFFFFFF), PORTS)
        server: np.ndarray | int = SERVER_NET + 80
        if self.hosts > 1:
            server = divided(index, self.hosts)[1] + np.uint64(server)
        return Columns(network | (random & np.uint64(0xFFFFFF)), server,
                       port + np.uint64(FIRST_PORT), 443, flags=SYN,
                       seq=scrambled(index, self.seed, 2) & np.uint64(0xFFFFFFFF))


@dataclass(frozen=True, kw_only=True)
class PortScan(Workload):
    """One host asks every port of ``hosts`` targets (default 16); each answers with RST.

    10.0.0.66 sends a SYN to ports 1 to 65535 of one target after the other, 64 at a time, then
    begins again with the next source port. Sessions open and close within 64 packets.
    """

    name: ClassVar[str] = "port-scan"
    defaults: ClassVar[dict[str, int]] = {"hosts": 16, "sessions": 64}
    hosts_limit: ClassVar[int] = 65_534
    script: ClassVar[Script] = Script(TCP, ("> S", "< RA"))

    @functools.cached_property
    def course(self) -> Course:
        return Course(self.script, snap_bytes=self.snap_bytes)

    def layouts(self) -> tuple[Layout, ...]:
        return tuple(self.course.layouts)

    def columns(self, index: np.ndarray) -> Columns:
        probe, step = Rounds(2, max(1, self.sessions // 2), self.seed).locate(index)
        target, port = divided(probe, 65_535)
        again, target = divided(target, self.hosts)
        random = scrambled(probe, self.seed, 1) & np.uint64(0xFFFFFFFF)
        _, source_port = divided(again, PORTS)
        return self.course.columns(
            0, step, random, client=CLIENT_NET + 66, client_port=source_port + np.uint64(54_321)
            - np.where(source_port > 11_214, np.uint64(PORTS), np.uint64(0)),
            server=target + np.uint64(SERVER_NET + 1), server_port=port + np.uint64(1))


@dataclass(frozen=True, kw_only=True)
class Churn(Scripted):
    """Short TCP sessions at a steady set-up rate: rate_pps / 8 begin and end every second.

    Eight packets each, 60 to 314 bytes: handshake, a request, an answer, close from both sides.
    """

    name: ClassVar[str] = "churn"
    scripts: ClassVar[tuple[Script, ...]] = (
        Script(TCP, ("> S", "< SA", "> A", "> PA 100", "< PA 260", "> FA", "< FA", "> A")),)

    def choose(self, session: np.ndarray, random: np.ndarray) -> dict:
        return {"script": 0, "server": SERVER_NET + 1 + below(random, 64), "server_port": 8080}


@dataclass(frozen=True, kw_only=True)
class Elephants(Scripted):
    """A few long flows that carry nearly all bytes, and many mice.

    Of five packets four belong to one of ``sessions`` // 16 elephants in turn (a handshake, then
    two segments of 1 460 bytes and an ACK for ever) and one to a mouse (the sessions of churn).
    """

    name: ClassVar[str] = "elephants"
    scripts: ClassVar[tuple[Script, ...]] = (
        Churn.scripts[0],
        Script(TCP, ("> S", "< SA", "> A", "< A 1460", "< A 1460", "> A", "> A", "> A")),
    )

    @property
    def elephants(self) -> int:
        return max(1, self.sessions // 16)

    def columns(self, index: np.ndarray) -> Columns:
        fifth, place = divided(index, 5)
        mouse = place == 4
        session, step = self.rounds.locate(fifth)
        turn, flow = divided(fifth * np.uint64(4) + place, self.elephants)
        # rows 0 to 2 are the handshake; then rows 3, 4, 5 again and again
        again, part = divided(np.maximum(turn, np.uint64(3)) - np.uint64(3), 3)
        row = np.where(turn < 3, turn, part + np.uint64(3))
        random = scrambled(np.where(mouse, session, flow), self.seed, 1)
        client, client_port = self._clients(session)
        herd = flow % np.uint64(self.hosts)
        columns = self.course.columns(
            (~mouse).astype(np.uint64), np.where(mouse, step, row), random,
            client=np.where(mouse, client, herd + np.uint64(CLIENT_NET + 1)),
            client_port=np.where(mouse, client_port, flow // np.uint64(self.hosts)
                                 % np.uint64(PORTS) + np.uint64(FIRST_PORT)),
            server=np.uint64(SERVER_NET + 1) + below(random, 64),
            server_port=np.where(mouse, np.uint64(8080), np.uint64(443)))
        sent = np.where(mouse, np.uint64(0), again * np.uint64(2 * 1460))
        seq, ack, reply = map(np.asarray, (columns.seq, columns.ack, columns.reply))
        np.copyto(seq, (seq + sent) & np.uint64(0xFFFFFFFF), where=reply)
        np.copyto(ack, (ack + sent) & np.uint64(0xFFFFFFFF), where=~reply & (turn > 0))
        return columns


class Service(NamedTuple):
    """A class of sessions of ``mix``: ``share`` sixteenths of them, their script and policy."""

    share: int
    protocol: str
    script: int
    port: int
    ports: list
    inspection: object


SERVICES = (
    Service(3, "tcp", 0, 443, [443], "none"),
    Service(2, "tcp", 0, 22, [22], "none"),
    Service(2, "udp", 1, 53, [53], "none"),
    Service(1, "tcp", 0, 8042, ["8000-8099"], "none"),
    Service(2, "tcp", 0, 445, [445], ["ips"]),
    Service(2, "udp", 2, 5004, ["5004-5007"], "flow"),
    Service(3, "tcp", 0, 80, [80], ["antivirus", "webfilter"]),
    Service(1, "tcp", 0, 25, [25], "proxy"),
)

MIX_POLICIES: tuple[dict, ...] = tuple(
    {"id": number, "source": ["10.0.0.0/8", "fd00::/8"],
     "destination": ["198.18.0.0/15", "2001:2::/48"], "protocol": service.protocol,
     "ports": service.ports, "action": "accept", "inspection": service.inspection}
    for number, service in enumerate(SERVICES, 1))


@dataclass(frozen=True, kw_only=True)
class Mix(Scripted):
    """A whole firewall's day: TCP:UDP 3:1, 20 % IPv6, and the 8 policies of ``MIX_POLICIES``.

    Half the sessions are uninspected, a quarter flow, a quarter proxy with objects of 4 096 bytes
    (three segments from the server), each asked for by a request of 400 bytes: exact shares in
    any 80 sessions in a row. Eighteen packets a session, TCP opened and closed. ``snap_bytes`` =
    96 keeps the headers only and changes nothing for an engine, which counts from IP lengths.
    """

    name: ClassVar[str] = "mix"
    policies: ClassVar[tuple[dict, ...]] = MIX_POLICIES
    get: ClassVar[tuple[str, ...]] = ("> PA 400 get", "< A 1460 ok", "< A 1460", "< PA 1176")
    scripts: ClassVar[tuple[Script, ...]] = (
        Script(TCP, ("> S", "< SA", "> A", *get, *get, *get, "> FA", "< FA", "> A")),
        Script(UDP, ("> 33 query", "< 49 answer") * 9),
        Script(UDP, ("> 172", "< 172") * 9),
    )

    def choose(self, session: np.ndarray, random: np.ndarray) -> dict:
        place = divided(session * np.uint64(7), 80)[1]  # 7 and 80 are coprime: neighbours differ
        service = _SERVICE_OF[(place & np.uint64(15)).astype(np.intp)]
        return {"script": _SERVICE_SCRIPT[service], "server_port": _SERVICE_PORT[service],
                "server": SERVER_NET + 1 + below(random, 200),
                "ipv6": (divided(place, 5)[1] == 0).astype(np.intp)}


_SERVICE_OF = np.repeat(np.arange(len(SERVICES)), [s.share for s in SERVICES])
_SERVICE_SCRIPT = np.array([s.script for s in SERVICES], np.uint64)
_SERVICE_PORT = np.array([s.port for s in SERVICES], np.uint64)

WORKLOADS: dict[str, type[Workload]] = {
    kind.name: kind
    for kind in (Imix, Web, DnsStorm, SynFlood, PortScan, Churn, Elephants, Uniform, Mix)
}


# --- from a name to a workload, from a workload to a file --------------------------------------


def parameters(name: str) -> dict[str, int | bool]:
    """Parameters of a workload and their defaults; ``duration_s`` is accepted by ``make`` too."""
    kind = _kind(name)
    values: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(kind)}
    return {**values, **kind.defaults}


def make(name: str, **given: object) -> Workload:
    """The named workload. Parameters are integers; None means not given.

    Of packets, rate_pps and duration_s two give the third. Raises SettingsError.
    """
    known = parameters(name)
    given = {key: value for key, value in given.items() if value is not None}
    for key, value in given.items():
        _check_type(name, known, key, value)
    workload = _kind(name)(**{**known, **_with_duration(name, known, given)})
    workload.check()
    return workload


def _check_type(name: str, known: dict, key: str, value: object) -> None:
    """Raises SettingsError for a key nobody knows or a value that is not of its type."""
    if key == "duration_s" and isinstance(value, float):
        return
    if key not in known and key != "duration_s":
        raise SettingsError(f"synth {name}: there is no parameter {key}"
                            f"{nearest(key, [*known, 'duration_s'])}")
    if isinstance(known.get(key), bool):
        if not isinstance(value, bool):
            raise SettingsError(f"synth {name}: {key} must be true or false, not {value!r}")
    elif isinstance(value, bool) or not isinstance(value, int):
        raise SettingsError(f"synth {name}: {key} must be an integer, not {value!r}")


def _with_duration(name: str, known: dict, given: dict) -> dict:
    """Replaces ``duration_s`` by what it says about packets or rate_pps."""
    given = dict(given)
    duration_s = given.pop("duration_s", None)
    if duration_s is None:
        return given
    if not 0 < duration_s < 10**9:
        raise SettingsError(f"synth {name}: duration_s = {duration_s} is out of range")
    if "packets" in given and "rate_pps" in given:
        raise SettingsError(f"synth {name}: packets, rate_pps and duration_s: give two of them")
    if "packets" in given:
        given["rate_pps"] = max(1, round(given["packets"] / duration_s))
    else:
        given["packets"] = int(given.get("rate_pps", known["rate_pps"]) * duration_s)
    return given


def _kind(name: str) -> type[Workload]:
    if name not in WORKLOADS:
        raise SettingsError(f"there is no workload {name!r}{nearest(name, list(WORKLOADS))} "
                            f"(workloads: {', '.join(WORKLOADS)})")
    return WORKLOADS[name]


def describe(workload: Workload) -> str:
    """``synth:name?key=value&...``: everything needed to make the workload again."""
    values = "&".join(f"{f.name}={int(getattr(workload, f.name))}"
                      for f in dataclasses.fields(workload))
    return f"synth:{workload.name}?{values}"


def to_pcap(path: str | Path, workload: Workload,
            progress: Callable[[int, int], None] | None = None) -> tuple[int, int]:
    """Streams a nanosecond pcap to ``path`` ("-": standard output); (packets, bytes written).

    ``progress(packets, bytes)`` is called after each block. Raises OutputError when the file
    cannot be written.
    """
    with Output(path) as output:
        return _write(output, workload, progress)


def _write(file, workload: Workload, progress: Callable[[int, int], None] | None):
    file.write(PCAP_HEADER)
    done, written = 0, len(PCAP_HEADER)
    while done < workload.packets:
        last = min(done + BLOCK, workload.packets)
        frames, _ = workload.frames(done, last, RECORD_BYTES)
        file.write(frames.data)
        done, written = last, written + frames.data.nbytes
        if progress is not None:
            progress(done, written)
    return done, written
