"""What a fuzzer's bytes become, and what has to hold of it. tools/fuzz.py feeds it.

    readers   the bytes are a file: mapped and streamed, in chunks of any size, it reads alike
    parser    the bytes are frames: the engine judges them as its twin does
    engine    the bytes are choices: settings and steps of a simulation's case
    columns   the bytes are frames: as columns they say what the twin's parser says
    demand    the bytes are choices: rates, depths and packets, metered as the twin meters them

A target raises AssertionError, or whatever else must not come out of it.
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable
from math import gcd
from pathlib import Path
from random import Random

from twin import assert_buckets, assert_columns, assert_lines

from fwcore._demand import DEPTHS_MAX, RATE_MAX, RATES_MAX, UNITS_MAX
from fwcore.capture import open_capture
from fwcore.errors import CaptureError
from fwcore.reference.demand import Demanded
from simulation import draw
from simulation.case import Case, chunk_of, run

LINKS = (1, 0, 12, 101, 105, 108, 113, 228, 229, 276)
COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
STEP_NS = 10**6
SECOND = 10**9
MOST_PACKETS = 1000  # of a fuzzer's case: many small ones find more than a long one


class Choices(Random):
    """A source of randomness that is fed from bytes; zeros when they are used up."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data, self._at = data, 0

    def getrandbits(self, k: int) -> int:
        size = (k + 7) // 8
        taken = self._data[self._at:self._at + size].ljust(size, b"\0")
        self._at += size
        return int.from_bytes(taken, "little") & ((1 << k) - 1)

    def random(self) -> float:
        return self.getrandbits(53) / (1 << 53)


def engine_case(data: bytes) -> Case:
    case, left = draw.case(Choices(data)), MOST_PACKETS
    steps = []
    for verb, *rest in case.steps:
        if verb == "packets":
            rest[1] = rest[1][:left]
            left -= len(rest[1])
        if verb != "packets" or rest[1]:
            steps.append((verb, *rest))
    return Case(case.settings, case.options, steps)


def parser_case(data: bytes) -> Case:
    """Frames, each behind three bytes: link type, how it was cut, captured bytes."""
    packets, at = [], 1
    while at + 3 <= len(data) and len(packets) < 64:
        link, cut, size = data[at:at + 3]
        frame = data[at + 3:at + 3 + size]
        wire = (len(frame), len(frame) + (cut >> 2), 1 << (cut >> 3), len(frame) * 2)[cut & 3]
        packets.append((STEP_NS * len(packets), frame, wire, LINKS[link % len(LINKS)]))
        at += 3 + size
    settings = {"zone": ("none", "vlan")[data[:1] > b"\x7f"], "seed": 1, "max_connections": 64}
    return Case(settings, {}, [("packets", 1000, packets)] if packets else [])


def told(path: Path, size: int) -> tuple[list[tuple[bytes, int, int, int]], str]:
    """Every frame of a file, in chunks of ``size``, and what stopped it."""
    frames = []
    try:
        with open_capture(str(path), chunk_size=size) as reader:
            for chunk in reader:
                columns = (chunk.length.tolist(), chunk.time_ns.tolist(), chunk.link.tolist())
                frames += zip(map(chunk.frame, range(len(chunk))), *columns, strict=True)
            fault = reader.fault
    except CaptureError as error:
        return [], str(error).replace(str(path), "")
    return frames, f"{fault.byte_offset} {fault.packet} {fault.message}" if fault else ""


def readers(data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="fwcore-fuzz-") as folder:
        plain = Path(folder, "capture")
        plain.write_bytes(data)
        frames, fault = told(plain, 8192)
        assert told(plain, 3) == (frames, fault), "chunks of 3 frames read otherwise"
        if frames and not data.startswith(COMPRESSED):
            packed = Path(folder, "packed")
            packed.write_bytes(gzip.compress(data, 1))
            assert told(packed, 8192)[0] == frames, "compressed it reads otherwise"


def parser(data: bytes) -> None:
    run(parser_case(data))


def engine(data: bytes) -> None:
    run(engine_case(data))


def columns(data: bytes) -> None:
    for _, _, packets in parser_case(data).steps:
        for zone, shift in ((False, 0), (True, 0), (False, 0xFFFFFF)):
            assert_columns(chunk_of(packets), zone, shift)


def demand(data: bytes) -> None:
    rng = Choices(data)
    now, packets = rng.choice((0, 10**18, draw.TIME_MAX)), []
    for _ in range(rng.randrange(1, 40)):
        step = rng.choice((-1, 1, 1, 1)) * draw.whole(rng, 0, 1 << 40)
        now = min(draw.TIME_MAX, max(0, now + step))
        flow = rng.randrange(5)
        packets.append(Demanded(now, draw.whole(rng, 0, 2**32 - 1), rng.randrange(4),
                                flow if flow < 4 else None, bool(rng.randrange(2))))
    rates = [draw.whole(rng, 1, RATE_MAX) for _ in range(rng.randrange(1, RATES_MAX + 1))]
    deepest = min(UNITS_MAX // (8 * (SECOND // gcd(rate, SECOND))) for rate in rates)
    depths = [draw.whole(rng, 0, deepest) for _ in range(rng.randrange(DEPTHS_MAX + 1))]
    cuts = [rng.randrange(100) for _ in range(rng.randrange(4))]
    assert_buckets(packets, rates, depths, cuts)
    assert_lines(packets, rates, draw.whole(rng, 0, draw.TIME_MAX), cuts)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "readers": readers, "parser": parser, "engine": engine, "columns": columns, "demand": demand}
CASES: dict[str, Callable[[bytes], Case]] = {"parser": parser_case, "engine": engine_case}
