"""Synthetic workloads: traffic made by arithmetic, as chunks, as fast as NumPy writes it.

    make("web", sessions=20_000, rate_pps=500_000, duration_s=10)  ->  Workload
    workload.chunks(8192)           Chunk after Chunk, bounded memory, straight into an engine
    workload.open(8192)             the same behind the attributes of a capture reader
    to_pcap("web.pcap", workload)   streamed to disk (or "-")

What every workload has is in ``workload``, how sessions take their course in ``course``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fwcore.capture.assemble import RECORD_BYTES, TCP, UDP, Columns, Layout
from fwcore.capture.course import SYN, Course, Rounds, Script, below, divided, filler, scrambled
from fwcore.capture.workload import (
    BLOCK,
    CLIENT_NET,
    FIRST_PORT,
    PORTS,
    Scripted,
    Workload,
)
from fwcore.errors import SettingsError
from fwcore.outfile import Output
from fwcore.words import nearest

SERVER_NET = 198 << 24 | 18 << 16  # 198.18.0.0/15
PCAP_HEADER = bytes.fromhex("4d3cb2a1 0200 0400 00000000 00000000 00000400 01000000")


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

    def choose(self, session: np.ndarray, random: np.ndarray) -> dict[str, Any]:
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

    def choose(self, session: np.ndarray, random: np.ndarray) -> dict[str, Any]:
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

    def choose(self, session: np.ndarray, random: np.ndarray) -> dict[str, Any]:
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

    def choose(self, session: np.ndarray, random: np.ndarray) -> dict[str, Any]:
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
    ports: list[Any]
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

MIX_POLICIES: tuple[dict[str, Any], ...] = tuple(
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
    policies: ClassVar[tuple[dict[str, Any], ...]] = MIX_POLICIES
    get: ClassVar[tuple[str, ...]] = ("> PA 400 get", "< A 1460 ok", "< A 1460", "< PA 1176")
    scripts: ClassVar[tuple[Script, ...]] = (
        Script(TCP, ("> S", "< SA", "> A", *get, *get, *get, "> FA", "< FA", "> A")),
        Script(UDP, ("> 33 query", "< 49 answer") * 9),
        Script(UDP, ("> 172", "< 172") * 9),
    )

    def choose(self, session: np.ndarray, random: np.ndarray) -> dict[str, Any]:
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


def _check_type(name: str, known: dict[str, Any], key: str, value: object) -> None:
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


def _with_duration(
    name: str, known: dict[str, Any], given: dict[str, Any],
) -> dict[str, Any]:
    """Replaces ``duration_s`` by what it says about packets or rate_pps."""
    given = dict(given)
    duration_s = given.pop("duration_s", None)
    if duration_s is None:
        return given
    if not 0 < duration_s < 10**9:
        raise SettingsError(f"synth {name}: duration_s = {duration_s} is out of range;"
                            " allowed: more than 0 and less than 1000000000")
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


def to_pcap(path: str | Path, workload: Workload,
            progress: Callable[[int, int], None] | None = None) -> tuple[int, int]:
    """Streams a nanosecond pcap to ``path`` ("-": standard output); (packets, bytes written).

    ``progress(packets, bytes)`` is called after each block. Raises OutputError when the file
    cannot be written.
    """
    done, written = 0, len(PCAP_HEADER)
    with Output(path) as file:
        file.write(PCAP_HEADER)
        while done < workload.packets:
            last = min(done + BLOCK, workload.packets)
            frames, _ = workload.frames(done, last, RECORD_BYTES)
            file.write(frames.data.data)
            done, written = last, written + frames.data.nbytes
            if progress is not None:
                progress(done, written)
    return done, written
