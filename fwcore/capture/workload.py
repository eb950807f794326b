"""A workload: packets by their number, as chunks or behind the attributes of a capture reader.

Laws
- Everything about packet i follows from (workload, parameters, seed, i): no generator has a state,
  so results do not depend on the chunk size and any part can be made alone (``Workload.part``).
- Time is ``START_NS + i * 10**9 // rate_pps``, exactly, in integers.
- All checksums are valid; frames have no FCS and at least 60 bytes. Client addresses are in
  10.0.0.0/8 and fd00::/8, server addresses in 198.18.0.0/15 and 2001:2::/48 (RFC 2544, RFC 5180).
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fwcore.capture.assemble import Columns, Frames, Layout, assemble
from fwcore.capture.chunk import Chunk
from fwcore.capture.course import MASK64, Course, Rounds, Script, divided, scrambled
from fwcore.errors import SettingsError
from fwcore.units import SECOND_NS

START_NS = 1_700_000_000 * SECOND_NS
LINK_ETHERNET = 1
MIN_SNAP_BYTES = 74  # Ethernet, IPv6, TCP: what every column needs
MAX_FRAME_BYTES = 9018  # jumbo
PORTS = 64_512  # client ports 1024-65535
FIRST_PORT = 1024
CLIENT_NET = 10 << 24  # 10.0.0.0/8
BLOCK = 8192  # frames made at once when the caller has no wish


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
    policies: ClassVar[tuple[dict[str, Any], ...]] = ()
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

    def choose(self, session: np.ndarray, random: np.ndarray) -> dict[str, Any]:
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


def describe(workload: Workload) -> str:
    """``synth:name?key=value&...``: everything needed to make the workload again."""
    values = "&".join(f"{f.name}={int(getattr(workload, f.name))}"
                      for f in dataclasses.fields(workload))
    return f"synth:{workload.name}?{values}"
