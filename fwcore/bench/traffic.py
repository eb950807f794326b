"""Traffic that only benchmarks need: openings of sessions, an office and its thousand policies."""

from __future__ import annotations

from dataclasses import replace as replaced
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fwcore.capture import Chunk, synth
from fwcore.capture.assemble import RECORD_BYTES, TCP, Columns, Layout
from fwcore.capture.course import SYN, below, divided, scrambled
from fwcore.capture.workload import BLOCK, CLIENT_NET, FIRST_PORT, PORTS, START_NS, Workload


class Openings(synth.Uniform):
    """The uniform workload's sessions, one packet each, in order: packet i is session i."""

    def columns(self, index: np.ndarray) -> Columns:
        client, client_port = self._clients(index)
        return Columns(client, synth.SERVER_NET + 1, client_port, 5001,
                       stamp=index & np.uint64(0xFFFF))


class MixOpenings(synth.Mix):
    """The first packet of each session of ``mix``: TCP and UDP, IPv6, all its policies."""

    def columns(self, index: np.ndarray) -> Columns:
        random = scrambled(index, self.seed, 1)
        client, client_port = self._clients(index)
        return self.course.columns(
            step=np.zeros_like(index), random=random, client=client, client_port=client_port,
            **self.choose(index, random))


class OfficeOpenings(synth.Uniform):
    """SYNs, a session each, spread evenly over the policies of ``office_policies``."""

    policy_count: ClassVar[int] = 1000

    def layouts(self) -> tuple[Any, ...]:
        return (Layout(4, TCP, b"", self.snap_bytes),)

    def columns(self, index: np.ndarray) -> Columns:
        number = below(scrambled(index, self.seed, 1), self.policy_count)
        turn, host = divided(index, 200)
        client = np.uint64(CLIENT_NET) + number // np.uint64(4) * np.uint64(65536)
        server = np.uint64(synth.SERVER_NET) + number % np.uint64(500) * np.uint64(256)
        ports = np.array([_office_port(i) for i in range(self.policy_count)], np.uint64)
        return Columns(client + host + np.uint64(10), server + host + np.uint64(10),
                       turn % np.uint64(PORTS) + np.uint64(FIRST_PORT),
                       ports[number.astype(np.intp)], flags=SYN)


def _office_port(number: int) -> int:
    """A few services carry most rules: every second one is 443, every fourth 80, then 22, 53 ..."""
    services = (443, 80, 22, 53, 25, 3389, 445, 8443)
    return services[min(((number + 1) & -(number + 1)).bit_length() - 1, len(services) - 1)]


def office_policies(count: int = 1000) -> list[dict[str, Any]]:
    """``count`` rules between a site's /16 and a server's /24, one service each; every tenth has
    no ports, so that it stands in every port's list."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        row: dict[str, Any] = {
            "id": number + 1, "source": [f"10.{number // 4}.0.0/16"],
            "destination": [f"198.{18 + number % 500 // 256}.{number % 500 % 256}.0/24"],
            "protocol": "tcp", "action": "accept", "inspection": "none",
        }
        if number % 10 != 9:
            row["ports"] = [_office_port(number)]
        rows.append(row)
    return rows


def write_part(path: Path, workload: Workload, first: int, last: int) -> Path:
    """Packets first to last - 1 of a workload as a pcap."""
    with open(path, "wb") as file:
        file.write(synth.PCAP_HEADER)
        for begin in range(first, last, BLOCK):
            frames, _ = workload.frames(begin, min(begin + BLOCK, last), RECORD_BYTES)
            file.write(frames.data.data)
    return path


def earlier(chunk: Chunk) -> Chunk:
    """The chunk in the time just before START_NS, a packet every 100 ns."""
    count = len(chunk)
    times = START_NS - 100 * np.arange(count, 0, -1, dtype=np.int64)
    return replaced(chunk, time_ns=times)
