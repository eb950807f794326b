"""Who makes the traffic: bit/s and packets/s by host, policy and service, over time.

Nothing is judged here: frames are counted as they were captured. A flow belongs to the host that
began it (as for sessions met mid-stream: its first packet's sender, unless only that one's port is
below 1024), to the policy that takes it, and to the service at its other end. Time is cut into
stretches of equal length, at most ``STRETCHES``; they double when the capture is longer.

Law: the packets and bytes of all rows of one kind and of what has no flow are those of the capture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fwcore import policy, policy_layout, policy_lookup, units
from fwcore._columns import parse_columns
from fwcore.report import text
from fwcore.report.compare import address_of
from fwcore.words import protocol_text

STRETCHES = 120
FIRST_STRETCH_NS = units.SECOND_NS // 10
SHOWN = 10
KINDS = ("host", "policy", "service")
BARS = " ▁▂▃▄▅▆▇█"
ASCII_BARS = " .:-=+*#@"
LAST_SYSTEM_PORT = 1023
SUM_DTYPE = np.dtype([("stretch", "i8"), ("flow", "u8"), ("packets", "i8"), ("bytes", "i8")])
NAME_DTYPE = np.dtype([("flow", "u8"), ("packet", "u8"), ("key", "u8", 5), ("from_b", "u1")])


class Traffic:
    """Sums per flow and stretch of time, gathered chunk by chunk."""

    def __init__(self, *, vlan_zone: bool = False) -> None:
        self.packets = self.bytes = 0
        self.first_ns: int | None = None
        self.last_ns = 0
        self.stretch_ns = FIRST_STRETCH_NS
        self._vlan_zone = vlan_zone
        self.sums = np.zeros(0, dtype=SUM_DTYPE)
        self.names = np.zeros(0, dtype=NAME_DTYPE)

    def take(self, chunk: Any) -> None:
        """One chunk of frames."""
        if not len(chunk):
            return
        rows = parse_columns(chunk, cut=True)
        if self.first_ns is None:
            self.first_ns = int(chunk.time_ns[0])
        since = np.maximum(chunk.time_ns - self.first_ns, 0)
        self.last_ns = max(self.last_ns, self.first_ns + int(since.max()))
        while int(since.max()) // self.stretch_ns >= STRETCHES:
            self.stretch_ns *= 2
            self.sums["stretch"] //= 2
        made = np.zeros(len(rows), dtype=SUM_DTYPE)
        made["stretch"], made["flow"] = since // self.stretch_ns, rows["flow"]
        made["packets"], made["bytes"] = 1, chunk.length
        self.sums = _merged(np.concatenate([self.sums, made]))
        named = np.zeros(len(rows), dtype=NAME_DTYPE)
        named["flow"], named["key"] = rows["flow"], rows["key"]
        named["packet"] = np.arange(self.packets + 1, self.packets + len(rows) + 1)
        if self._vlan_zone:
            named["key"] = policy_lookup.zoned(rows["key"], rows["zone"])
        system = [rows[f"{side}_port"] <= LAST_SYSTEM_PORT for side in ("source", "destination")]
        named["from_b"] = rows["swapped"] ^ (system[0] & ~system[1])
        both = np.concatenate([self.names, named[rows["flow"] != 0]])
        self.names = both[np.unique(both["flow"], return_index=True)[1]]
        self.packets += len(rows)
        self.bytes += int(chunk.length.sum())

    def kinds(self, policies: Sequence[policy.Policy]) -> dict[str, list[str]]:
        """The host, policy and service of each flow of ``names``, as text."""
        ends = policy_lookup.ends_of(self.names["key"], self.names["from_b"])
        table = policy_layout.compile_policies(policies)
        called = [*policy.called(policies).values(), policy.NO_POLICY]
        return {
            "host": [str(address_of(row, "initiator")) for row in ends],
            "policy": [called[at] for at in policy_lookup.find(table, ends).tolist()],
            "service": [_service(int(row["protocol"]), int(row["responder_port"]))
                        for row in ends],
        }


def _merged(sums: np.ndarray) -> np.ndarray:
    """One row for each stretch and flow."""
    order = np.lexsort((sums["flow"], sums["stretch"]))
    ordered = sums[order]
    begins = np.ones(len(ordered), dtype=bool)
    begins[1:] = ((ordered["flow"][1:] != ordered["flow"][:-1])
                  | (ordered["stretch"][1:] != ordered["stretch"][:-1]))
    at = np.flatnonzero(begins)
    made = ordered[at]
    for name in ("packets", "bytes"):
        made[name] = np.add.reduceat(ordered[name], at) if len(at) else ordered[name]
    return made


def _service(protocol: int, port: int) -> str:
    name = protocol_text(protocol)
    return f"{name}/{port}" if name in ("tcp", "udp", "sctp") else name


def make(
    chunks: Iterable[Any], policies: Sequence[policy.Policy], *, vlan_zone: bool = False
) -> dict[str, Any]:
    """Plain values: for each kind its rows, most bytes first, with a series each."""
    traffic = Traffic(vlan_zone=vlan_zone)
    for chunk in chunks:
        traffic.take(chunk)
    start = traffic.first_ns or 0
    duration_ns = traffic.last_ns - start if traffic.packets else 0
    stretches = duration_ns // traffic.stretch_ns + 1
    seconds = max(duration_ns, traffic.stretch_ns) / units.SECOND_NS
    known = traffic.sums[traffic.sums["flow"] != 0]
    place = np.searchsorted(traffic.names["flow"], known["flow"])
    none = traffic.sums[traffic.sums["flow"] == 0]
    made: dict[str, Any] = {
        "schema": 1, "kind": "top", "packets": traffic.packets, "bytes": traffic.bytes,
        "start_ns": start, "duration_ns": duration_ns, "stretch_ns": traffic.stretch_ns,
        "without_flow": {name: int(none[name].sum()) for name in ("packets", "bytes")},
    }
    for kind, names in traffic.kinds(policies).items():
        labels, number = np.unique(np.array(names, dtype=str), return_inverse=True)
        series = {name: np.zeros((len(labels), stretches), dtype=np.int64)
                  for name in ("packets", "bytes")}
        for name, grid in series.items():
            np.add.at(grid, (number[place], known["stretch"]), known[name])
        rows = [_row(str(label), series["packets"][at], series["bytes"][at], seconds,
                     traffic.stretch_ns) for at, label in enumerate(labels.tolist())]
        made[kind] = sorted(rows, key=lambda row: (-row["bytes"], row["name"]))
    return made


def _row(
    name: str, packets: np.ndarray, sizes: np.ndarray, seconds: float, stretch_ns: int
) -> dict[str, Any]:
    whole = int(sizes.sum())
    each = stretch_ns / units.SECOND_NS
    return {
        "name": name, "packets": int(packets.sum()), "bytes": whole,
        "bits_per_s": 8 * whole / seconds, "packets_per_s": int(packets.sum()) / seconds,
        "peak_bits_per_s": 8 * int(sizes.max()) / each,
        "series_bytes": sizes.tolist(), "series_packets": packets.tolist(),
    }


def show(made: Mapping[str, Any], style: text.Style, kinds: Sequence[str] = KINDS) -> str:
    """Ten rows of each kind at 80 columns, with a line of bars over time."""
    head = (f"{units.plural(made['packets'], 'packet')}, {units.size(made['bytes'])} in"
            f" {units.nanoseconds(made['duration_ns'])}")
    lines = [style.paint("fwcore top", "strong") + style.dot + head,
             f"  from {units.clock(made['start_ns'])} UTC; a peak is the most of"
             f" {units.nanoseconds(made['stretch_ns'])}"]
    for kind in kinds:
        rows = made[kind]
        table = [[kind, "bytes", "share", "bit/s", "peak", "packets/s"]]
        for row in rows[:SHOWN]:
            table.append([
                text.beside(row["name"]), units.size(row["bytes"]),
                units.share(row["bytes"], made["bytes"]), units.short(row["bits_per_s"]),
                units.short(row["peak_bits_per_s"]),
                units.short(row["packets_per_s"]) if row["packets_per_s"] >= 1 else "<1"])
        written = text.columns(table, ["", "", "dim", "", "", ""], style)
        width = max(8, text.WIDTH - max(len(line) for line in text.columns(
            table, [""] * 6, text.Style())) - 4)
        bars = ["", *(_bars(row["series_bytes"], width, style) for row in rows[:SHOWN])]
        lines.append("")
        drawn = [f"{line:<{text.WIDTH - width - 4 + len(line) - _seen(line)}}  {bar}".rstrip()
                 for line, bar in zip(written, bars, strict=True)]
        names = [row["name"] for row in rows[:SHOWN]]
        lines += [f"  {line}" for line in text.below_names(drawn, names)]
        if len(rows) > SHOWN:
            lines.append(f"  {units.count(len(rows) - SHOWN)} more: --json")
    if made["without_flow"]["packets"]:
        lines += ["", f"  {units.plural(made['without_flow']['packets'], 'packet')} of no flow"
                  " (no IP, later fragments, damaged)"]
    return "\n".join(lines) + "\n"


def _seen(line: str) -> int:
    """Characters of a line without its colours."""
    return sum(len(part.partition("m")[2]) if at else len(part)
               for at, part in enumerate(line.split("\x1b[")))


def _bars(series: Sequence[int], width: int, style: text.Style) -> str:
    """The series in at most `width` characters, each the most of its stretches."""
    cells = [max(part) for part in np.array_split(np.array(series), min(width, len(series)))]
    most = max(cells) or 1
    marks = BARS if style.unicode else ASCII_BARS
    return "".join(marks[-(-int(cell) * 8 // int(most))] for cell in cells)
