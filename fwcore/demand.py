"""Which rate and which bucket this traffic needs: captures -> figures.

    chunk --parse_columns--> packets --Demand--> drops at 16 rates and up to 8 depths, in one pass
                                     --Line----> packets late on a FIFO line, 16 rates a pass
    chunk --Owners--> which policy takes each packet, for a bucket a policy

Meters see IP packets of sessions, first and later fragments; ICMP errors that quote a session meet
the line alone; what has no session (ARP, damaged frames) meets nothing and is counted. The bytes
are those of a meter's `count` for buckets and of the frame for the line. The capture is taken as
it is: exact for what does not react, while captured TCP was sent by ends that saw another network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore import policy, policy_layout, policy_lookup, units, words
from fwcore._columns import Fragment, Kind, parse_columns
from fwcore._demand import (
    DEPTHS_MAX,
    FLOW_WORDS,
    KEY_WORDS,
    RATE_MAX,
    RATES_MAX,
    UNITS_MAX,
    Demand,
    Line,
)
from fwcore._layout import PolicyAction
from fwcore.capture import Chunk
from fwcore.counters import address_text
from fwcore.datagrams import Datagrams
from fwcore.engine import Engine
from fwcore.errors import FwcoreError
from fwcore.settings import Settings, load

BY = ("all", "policy", "host", "flow", "dscp")
COUNTS = ("ip", "frame", "wire")
RATES = "64k,128k,256k,512k,1M,2M,5M,10M,20M,50M,100M,200M,500M,1G,2G,10G"
DEPTHS = "15kB,10ms,50ms,100ms,1s"
DELAY = "20ms"
WIRE_OVERHEAD_BYTES = 24       # as of shaping's `wire`: preamble 8, FCS 4, gap 12
TOP = 20
LINE_LEAST = 1000              # bit/s where the search for a line's rate begins
PREFIX = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
TIMES = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
AMOUNT = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([a-zA-Z]*)", re.ASCII)


# --- rates and depths -----------------------------------------------------------------------------


def _amount(text: str, what: str, factors: dict[str, int], example: str) -> int:
    match = AMOUNT.fullmatch(text.strip())
    if not match or match[2] not in factors:
        raise FwcoreError(f"{what} {text[:80]!r}: write it like {example}")
    number = Fraction(match[1]) * factors[match[2]]
    if number.denominator != 1:
        raise FwcoreError(f"{what} {text[:80]!r} is not whole in its smallest unit")
    return int(number)


def rate_of(text: str) -> int:
    """bit/s of '64k', '1.5Mbit', '2MB' (bytes a second); FwcoreError says what is wrong."""
    factors = {f"{prefix}{unit}": factor * (8 if unit == "B" else 1)
               for prefix, factor in PREFIX.items() for unit in ("", "bit", "B")}
    rate = _amount(text, "rate", factors, "64k, 1.5Mbit or 2MB")
    if not 1 <= rate <= RATE_MAX:
        raise FwcoreError(f"rate {text[:80]!r} is not 1 bit/s to 10 Tbit/s")
    return rate


def time_of(text: str, what: str = "delay") -> int:
    """Nanoseconds of '20ms'; FwcoreError says what is wrong."""
    found = _amount(text, what, TIMES, "20ms, 500us or 1s")
    if found > 2**62:
        raise FwcoreError(f"{what} {text[:80]!r} is above 2^62 ns")
    return found


@dataclass(frozen=True)
class Depth:
    """A depth as given: bytes, or a time of whatever the rate is."""

    text: str
    amount: int
    is_time: bool

    @classmethod
    def of(cls, text: str) -> Depth:
        """'15kB' (k, M, G are powers of ten; a number alone is bytes) or '10ms'."""
        text = text.strip()
        if text[-1:] in "0123456789B":
            factors = {f"{prefix}B": factor for prefix, factor in PREFIX.items()} | {"": 1}
            return cls(text, _amount(text, "depth", factors, "15kB or 10ms"), False)
        return cls(text, time_of(text, "depth"), True)

    def bytes(self, rate: int) -> int:
        """In bytes, floored."""
        return rate * self.amount // (8 * units.SECOND_NS) if self.is_time else self.amount


def rates_of(text: str) -> list[int]:
    """Up to 16 rates of a list with commas, in rising order, each once."""
    return _several("rates", sorted({rate_of(part) for part in text.split(",")}), RATES_MAX)


def depths_of(text: str) -> list[Depth]:
    """Up to 8 depths of a list with commas, each once."""
    found = [Depth.of(part) for part in text.split(",")]
    return _several("depths", list(dict.fromkeys(found)), DEPTHS_MAX)


def _several(what: str, found: list[Any], most: int) -> list[Any]:
    if len(found) > most:
        raise FwcoreError(f"{len(found)} {what}: at most {most} at once")
    return found


def rate_text(rate: int) -> str:
    """1500000 -> '1.5M'; exact."""
    for prefix in ("G", "M", "k"):
        if rate >= PREFIX[prefix] and rate * 1000 % PREFIX[prefix] == 0:
            return f"{rate / PREFIX[prefix]:.3f}".rstrip("0").rstrip(".") + prefix
    return str(rate)


# --- packets --------------------------------------------------------------------------------------


class Owners:
    """Which policy takes each packet: the one that takes its session where there is room for all.

    Sessions are made by an engine of personality plain, which tells who began each of them, so
    that both ways of a session are its policy's. Raises FwcoreError where no policy accepts.
    """

    def __init__(self, settings: Settings) -> None:
        rows = policy.parse(settings.policies) if settings.policies else ()
        if not any(each.action == PolicyAction.ACCEPT for each in rows):
            raise FwcoreError("a bucket a policy needs policies that accept: give --policy FILE, or"
                              " --settings FILE with [[policies]]")
        self._table = policy_layout.compile_policies(rows)
        self.vlan_zone = settings.zone == "vlan"
        self._engine = Engine(load("plain", policies=settings.policies, zone=settings.zone))
        self._accepts = np.array([each.action == PolicyAction.ACCEPT for each in rows] + [False])
        self.ids = np.array([each.id for each in rows], np.int64)
        self.called = policy.called(rows)

    def replies(self, chunk: Chunk) -> NDArray[np.uint8]:
        """1 for each packet whose sender is its session's responder, or would be; uint8[n]."""
        reply = np.zeros(len(chunk), np.uint8)
        self._engine.process(chunk, np.zeros(len(chunk), np.uint64), reply)
        return reply

    def of(self, rows: NDArray[Any], flows: NDArray[np.uint64],
           from_b: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Place of each row's policy, -1 where none accepts it; from_b: endpoint b began it."""
        key = policy_lookup.zoned(flows, rows["zone"]) if self.vlan_zone else flows
        found = policy_lookup.find(self._table, policy_lookup.ends_of(key, from_b))
        return np.where(self._accepts[found], found, -1)


@dataclass
class Packets:
    """Frames as what meters and lines ask for; keeps the clock and fragments between chunks."""

    by: str = "all"
    count: str = "ip"
    owners: Owners | None = None
    now_ns: int = -1
    start_ns: int = -1
    time_reversed: int = 0
    frames: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    firsts: Datagrams[tuple[int, ...]] = field(init=False)      # flow's words, way

    def __post_init__(self) -> None:
        self.firsts = Datagrams(vlan_zone=self.owners is not None and self.owners.vlan_zone)

    def times(self, chunk: Chunk) -> NDArray[np.int64]:
        """When each frame arrives: one older than `now` arrives at `now`."""
        before = np.concatenate(([self.now_ns], chunk.time_ns))
        if self.start_ns < 0:
            before[0] = self.start_ns = int(chunk.time_ns[0])
        now = np.maximum.accumulate(before)
        self.time_reversed += int((now[:-1] > chunk.time_ns).sum())
        self.now_ns = int(now[-1])
        self.frames += len(chunk)
        return now[1:]

    def size(self, rows: NDArray[Any], count: str) -> NDArray[np.uint64]:
        """Bytes of each row as a meter counts them."""
        if count == "ip":
            return rows["ip_bytes"].astype(np.uint64)
        over = WIRE_OVERHEAD_BYTES if count == "wire" else 0
        return rows["length"].astype(np.uint64) + np.uint64(over)

    def metered(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """Which rows meet a meter; counts the others by what they are."""
        kinds, numbers = np.unique(rows["kind"], return_counts=True)
        for kind, number in zip(kinds.tolist(), numbers.tolist(), strict=True):
            if kind not in (Kind.KEYED, Kind.LATER):
                name = "icmp_error" if kind in (Kind.QUOTE, Kind.NO_QUOTE) else \
                    Kind(kind).name.lower()
                self.left_out[name] = self.left_out.get(name, 0) + number
        met: NDArray[np.bool_] = (rows["kind"] == Kind.KEYED) | (rows["kind"] == Kind.LATER)
        return met

    def flows(
        self, rows: NDArray[Any], now_ns: NDArray[np.int64],
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
        """(words of the flow, way) of each row; a later fragment has those of its first."""
        flows = np.ascontiguousarray(rows["key"])
        direction = rows["swapped"].copy()
        for at in np.flatnonzero(rows["fragment"] != Fragment.WHOLE).tolist():
            row = rows[at]
            if row["fragment"] == Fragment.FIRST:
                self.firsts.begin(row, now_ns[at], (*row["key"].tolist(), int(row["swapped"])))
            elif first := self.firsts.of(row, now_ns[at]):
                *found, direction[at] = first
                flows[at] = found
        return flows, direction

    def keys(self, rows: NDArray[Any], flows: NDArray[np.uint64], direction: NDArray[np.uint8],
             policies: NDArray[np.int64]) -> NDArray[np.uint64]:
        """What the rows' buckets are told apart by: uint64[n, KEY_WORDS]."""
        made = np.zeros((len(rows), KEY_WORDS), np.uint64)
        if self.owners is not None:
            made[:, 0] = self.owners.ids[policies]
        if self.by == "host":
            made[:, :2] = rows["source"]
            made[:, 2] = rows["family"]
        elif self.by == "flow":
            made[:, :FLOW_WORDS] = flows
            made[:, FLOW_WORDS] = direction
        elif self.by == "dscp":
            made[:, 0] = rows["dscp"]
        return made

    def key_text(self, key: Sequence[int]) -> str:
        """A key as people read it."""
        if self.owners is not None:
            return f"policy {self.owners.called[key[0]]}"
        if self.by == "host":
            return address_text(key[0] << 64 | key[1], key[2])
        if self.by == "dscp":
            return f"dscp {key[0]}"
        return "all" if self.by == "all" else _flow_text(key)


def _flow_text(key: Sequence[int]) -> str:
    """'10.0.0.1:4321-10.0.0.2:443/tcp', from the end that sends; see fw_key_t for the words."""
    meta, a_lo, b_lo, a_hi, b_hi, direction = key
    family, protocol = meta >> 56, meta >> 48 & 255
    ends = []
    ports = meta & 0xFFFF, meta >> 16 & 0xFFFF
    for number, port in zip((a_hi << 64 | a_lo, b_hi << 64 | b_lo), ports, strict=True):
        text = address_text(number, family)
        text = f"[{text}]" if family == 6 else text
        ends.append(f"{text}:{port}" if protocol in words.WITH_PORTS else text)
    first, second = ends[::-1] if direction else ends
    return f"{first}-{second}/{words.protocol_text(protocol)}"


# --- passes ---------------------------------------------------------------------------------------


def meters(
    chunks: Iterable[Chunk], rates: Sequence[int], depths: Sequence[Depth], by: str = "all",
    count: str = "ip", keys_max: int = 65536, owners: Owners | None = None,
) -> dict[str, Any]:
    """One pass: plain values, as ``fwcore demand --json`` has them without its line.

    ``owners``: of a bucket a policy, and given for no other. Raises FwcoreError for a depth that no
    meter takes.
    """
    if (owners is not None) != (by == "policy"):
        raise FwcoreError("a bucket a policy needs owners, and no other does")
    table = [[_fitting(depth, rate) for depth in depths] for rate in rates]
    demand = Demand(rates, table, keys_max)
    packets = Packets(by, count, owners)
    sums = {"packets": 0, "bytes": 0, "tcp_bytes": 0}
    keyless = unowned = 0
    for chunk in chunks:
        if not len(chunk):
            continue
        now = packets.times(chunk)
        rows = parse_columns(chunk)
        chosen = packets.metered(rows)
        reply = np.zeros(len(chunk), np.uint8) if owners is None else owners.replies(chunk)
        rows, now, reply = rows[chosen], now[chosen], reply[chosen]
        flows, direction = packets.flows(rows, now)
        policies = np.zeros(len(rows), np.int64)
        if by in ("flow", "policy"):
            known = flows[:, 0] != 0
            keyless += int((~known).sum())
            if owners is not None:
                policies = owners.of(rows, flows, direction ^ reply)
                unowned += int((known & (policies < 0)).sum())
                known &= policies >= 0
            rows, now, flows, direction, policies = (
                each[known] for each in (rows, now, flows, direction, policies))
        size, tcp = packets.size(rows, count), (rows["protocol"] == 6).astype(np.uint8)
        demand.feed(now, size, packets.keys(rows, flows, direction, policies), flows, tcp)
        sums["packets"] += len(rows)
        sums["bytes"] += int(size.sum())
        sums["tcp_bytes"] += int(size[tcp == 1].sum())
    if keyless:
        packets.left_out["fragment_without_first"] = keyless
    if unowned:
        packets.left_out["of_no_policy_that_accepts"] = unowned
    return {
        "by": by, "count": count, "frames": packets.frames, **sums,
        "duration_ns": max(packets.now_ns - packets.start_ns, 0),
        "time_reversed": packets.time_reversed, "left_out": packets.left_out,
        "keys": demand.keys, "forgotten": demand.forgotten, "flowless": demand.flowless,
        "rates": _rates(demand, rates, depths, table), "top": _top(demand, packets),
    }


def _fitting(depth: Depth, rate: int) -> int:
    """The depth in bytes, if a meter of this rate takes it."""
    found = depth.bytes(rate)
    price = 8 * (units.SECOND_NS // gcd(rate, units.SECOND_NS))     # of a byte, in units
    if found * price > UNITS_MAX:
        raise FwcoreError(
            f"depth {depth.text} at rate {rate_text(rate)}: at most {UNITS_MAX // price} bytes, "
            "for its units have to fit 2^61")
    return found


def _rates(demand: Demand, rates: Sequence[int], depths: Sequence[Depth],
           table: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    found = []
    for rate, smallest, cells, row in zip(
            rates, demand.depth_bytes(), demand.dropped(), table, strict=True):
        dropped = [{"depth": depth.text, "depth_bytes": number, **cell}
                   for depth, number, cell in zip(depths, row, cells, strict=True)]
        found.append({"rate": rate, "depth_bytes": smallest, "depth_ns": time_at(smallest, rate),
                      "dropped": dropped})
    return found


def time_at(number: int, rate: int) -> int:
    """How long a rate takes for bytes, in ns, rounded up."""
    return units.ceil_div(number * 8 * units.SECOND_NS, rate)


def _top(demand: Demand, packets: Packets) -> list[dict[str, Any]]:
    if packets.by == "all":
        return []
    return [row | {"key": packets.key_text(row["key"])} for row in demand.top(TOP)]


def line(passes: Callable[[], Iterator[Chunk]], delay_ns: int) -> dict[str, Any]:
    """The smallest rate of a FIFO line at which at most 1 % of the packets take longer than
    ``delay_ns`` (nearest rank: p99 is not above it), to 1 %.

    ``passes`` begins a new pass over the same packets. Each pass tries 16 rates, so that the
    bracket shrinks to its seventeenth. ``rate`` is None where no rate up to 10 Tbit/s will do.
    """
    low, high = LINE_LEAST, RATE_MAX
    late, packets, frames = _late(passes(), [low, high], delay_ns)
    made = {"delay_ns": delay_ns, "packets": packets, "bytes": frames, "passes": 1}
    may = packets // 100
    if not packets or late[1] > may:
        return made | {"rate": None, "late": late[1], "at_least": False}
    if late[0] <= may:
        return made | {"rate": low, "late": late[0], "at_least": True}
    at_high = late[1]
    while high * 100 > low * 101 and high - low > 1:
        rates = _between(low, high)
        late, _, _ = _late(passes(), rates, delay_ns)
        made["passes"] += 1
        for rate, number in zip(rates, late, strict=True):
            if number <= may:
                high, at_high = rate, number
                break
            low = rate
    return made | {"rate": high, "late": at_high, "at_least": False}


def _between(low: int, high: int) -> list[int]:
    """Up to 16 rates that cut a bracket into equal ratios, its ends left out."""
    step = (high / low) ** (1 / (RATES_MAX + 1))
    made = {round(low * step**i) for i in range(1, RATES_MAX + 1)}
    return sorted(rate for rate in made if low < rate < high) or [(low + high) // 2]


def _late(chunks: Iterable[Chunk], rates: Sequence[int],
          delay_ns: int) -> tuple[list[int], int, int]:
    """(late packets by rate, packets, bytes) of one pass."""
    lines, packets, total = Line(rates, delay_ns), Packets(), 0
    for chunk in chunks:
        if not len(chunk):
            continue
        now = packets.times(chunk)
        rows = parse_columns(chunk)
        chosen = packets.metered(rows) | (rows["kind"] == Kind.QUOTE)
        size = packets.size(rows[chosen], "frame")
        total += int(size.sum())
        lines.feed(now[chosen], size)
    return lines.late, lines.packets, total
