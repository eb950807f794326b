"""How the fast path looks a new session up: policies laid out by protocol, then by port.

    Policy, in order  --compile_policies-->  PolicyTable  --lay_out-->  Compiled

A policy expands to one row per (family, source, destination, port range), rows stand in the order
of their policies, so that the first row that matches names the first policy that matches.

Eight tables (TCP, UDP, SCTP, other; for IPv4, then for IPv6). A table's ports are cut into
segments within which the same rows can match; each segment has its rows in policy order. IPv4 rows
are packed in blocks of eight that are compared side by side, each segment beginning a block.

Segments only leave out rows that cannot match: every row still carries its own protocol, zone and
ports, so that merging segments, which bounds the memory, changes nothing but speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fwcore._layout import BLOCK4_DTYPE, GUARD_DTYPE, ROW6_DTYPE
from fwcore.errors import SettingsError
from fwcore.policy import Policy, of_family
from fwcore.words import WITH_PORTS

ROWS_MAX = 1_000_000              # rows that all policies expand to
SEGMENT_ROWS_MAX = 1 << 20        # rows of all segments of one table; more are merged
TABLES = (*WITH_PORTS, -1)        # -1: everything without ports


# --- policies -> arrays -------------------------------------------------------------------------



@dataclass(frozen=True, slots=True, eq=False)
class PolicyTable:
    """What the fast path reads: n rows in order, m policies. All arrays are C-contiguous.

    Addresses and masks are (high, low) 64-bit halves; IPv4 is its 32-bit number in the low half,
    high half and high mask 0. A row matches when ``(address & mask) == row``.
    """

    policies: tuple[Policy, ...] = field(repr=False)
    row_policy: NDArray[np.uint32]  # [n] index into policies
    row_protocol: NDArray[np.int16]  # [n] -1 any
    row_zone: NDArray[np.int32]  # [n] -1 any
    row_port_low: NDArray[np.uint16]  # [n]
    row_port_high: NDArray[np.uint16]  # [n]
    row_has_ports: NDArray[np.uint8]  # [n] 0: any port, any protocol
    row_family: NDArray[np.uint8]  # [n] 4 or 6
    row_source: NDArray[np.uint64]  # [n, 2]
    row_source_mask: NDArray[np.uint64]  # [n, 2]
    row_destination: NDArray[np.uint64]  # [n, 2]
    row_destination_mask: NDArray[np.uint64]  # [n, 2]
    policy_id: NDArray[np.uint32]  # [m]
    policy_action: NDArray[np.uint8]  # [m] PolicyAction
    policy_inspection: NDArray[np.uint8]  # [m] class bits

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.row_policy)


def row_count(policy: Policy) -> int:
    """Rows a policy expands to: sources x destinations x port ranges, per family."""
    return sum(
        len(of_family(policy.source, family)) * len(of_family(policy.destination, family))
        for family in (4, 6)
    ) * max(1, len(policy.ports))


def _check_count(policies: Sequence[Policy]) -> None:
    counts = [row_count(policy) for policy in policies]
    if sum(counts) > ROWS_MAX:
        largest = max(range(len(counts)), key=counts.__getitem__)
        raise SettingsError(
            f"policies expand to {sum(counts)} rows (sources x destinations x port ranges);"
            f" allowed: {ROWS_MAX}; policy {policies[largest].id} alone makes {counts[largest]}"
        )


def _halves(number: int) -> tuple[int, int]:
    return number >> 64, number & (2**64 - 1)


def _rows(policies: Sequence[Policy]) -> list[tuple[Any, ...]]:
    """One tuple per row, in the order of the arrays."""
    rows = []
    for index, policy in enumerate(policies):
        for family in (4, 6):
            for source, source_mask in of_family(policy.source, family):
                for target, target_mask in of_family(policy.destination, family):
                    addresses = (_halves(source), _halves(source_mask), _halves(target),
                                 _halves(target_mask))
                    for low, high in policy.ports or ((0, 65535),):
                        rows.append((index, policy.protocol, policy.zone, low, high,
                                     bool(policy.ports), family, *addresses))
    return rows


_ROW_TYPES: Mapping[str, type[np.generic]] = {  # in the order of _rows
    "row_policy": np.uint32, "row_protocol": np.int16, "row_zone": np.int32,
    "row_port_low": np.uint16, "row_port_high": np.uint16, "row_has_ports": np.uint8,
    "row_family": np.uint8, "row_source": np.uint64, "row_source_mask": np.uint64,
    "row_destination": np.uint64, "row_destination_mask": np.uint64,
}


def compile_policies(policies: Sequence[Policy]) -> PolicyTable:
    """Expand policies to the arrays of ``PolicyTable``.

    Raises SettingsError when they make more than 1 000 000 rows.
    """
    _check_count(policies)
    columns = list(zip(*_rows(policies), strict=True)) or [()] * len(_ROW_TYPES)
    arrays: dict[str, NDArray[Any]] = {}
    for (name, dtype), column in zip(_ROW_TYPES.items(), columns, strict=True):
        array = np.array(column, dtype=dtype)
        arrays[name] = array.reshape(-1, 2) if dtype is np.uint64 else array
    return PolicyTable(
        policies=tuple(policies),
        policy_id=np.array([policy.id for policy in policies], dtype=np.uint32),
        policy_action=np.array([policy.action for policy in policies], dtype=np.uint8),
        policy_inspection=np.array([policy.inspection for policy in policies], dtype=np.uint8),
        **arrays,
    )


# --- arrays -> what is looked up -----------------------------------------------------------------


class Compiled(NamedTuple):
    """What ``FastPath.set_policies`` takes.

    ``bounds``: eight uint32[s], where port segments begin; ``segments``: eight uint32[s, 2]
    (first row, rows); ``blocks4``: BLOCK4_DTYPE[b] and ``rows6``: ROW6_DTYPE[r], who to whom;
    ``guards4``: GUARD_DTYPE[8 b] and ``guards6``: GUARD_DTYPE[r], the rest of the same rows;
    ``policy_id`` uint32[m], ``policy_action`` uint8[m], ``policy_inspection`` uint8[m].
    """

    bounds: tuple[np.ndarray, ...]
    segments: tuple[np.ndarray, ...]
    blocks4: np.ndarray
    rows6: np.ndarray
    guards4: np.ndarray
    guards6: np.ndarray
    policy_id: np.ndarray
    policy_action: np.ndarray
    policy_inspection: np.ndarray


def _rows_of(table: Any, protocol: int, family: int) -> np.ndarray:
    """Indices of the rows that packets of this protocol and family can match, in order."""
    wanted = table.row_family == family
    if protocol >= 0:
        wanted &= (table.row_protocol == -1) | (table.row_protocol == protocol)
    else:
        wanted &= (table.row_has_ports == 0) & ~np.isin(table.row_protocol, WITH_PORTS)
    return np.flatnonzero(wanted)


def _segments_of(table: Any, rows: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Where segments begin, and the rows of each."""
    low = np.where(table.row_has_ports[rows], table.row_port_low[rows], 0).astype(np.int64)
    high = np.where(table.row_has_ports[rows], table.row_port_high[rows], 65535).astype(np.int64)
    bounds = np.unique(np.concatenate([[0], low, high + 1]))
    bounds = bounds[bounds <= 65535]
    keep = max(1, min(len(bounds), SEGMENT_ROWS_MAX // max(1, len(rows))))
    bounds = bounds[:: -(-len(bounds) // keep)]
    ends = np.append(bounds[1:], 65536)
    parts = [rows[(low < end) & (high >= begin)]
             for begin, end in zip(bounds, ends, strict=True)]
    return bounds.astype(np.uint32), parts


def _guards(table: Any, rows: np.ndarray) -> np.ndarray:
    guards = np.zeros(len(rows), dtype=GUARD_DTYPE)
    for name in ("policy", "zone", "protocol", "port_low", "port_high", "has_ports"):
        guards[name] = getattr(table, f"row_{name}")[rows]
    return guards


def _blocks4(table: Any, rows: np.ndarray) -> np.ndarray:
    """Rows eight by eight; a match beyond the last row does not count (gate.pxd)."""
    blocks = np.zeros(-(-len(rows) // 8), dtype=BLOCK4_DTYPE)
    for name in ("source", "source_mask", "destination", "destination_mask"):
        column = np.zeros(len(blocks) * 8, dtype=np.uint32)
        column[: len(rows)] = getattr(table, f"row_{name}")[rows, 1]
        blocks[name] = column.reshape(-1, 8)
    return blocks


def _rows6(table: Any, rows: np.ndarray) -> np.ndarray:
    packed = np.zeros(len(rows), dtype=ROW6_DTYPE)
    for name in ("source", "source_mask", "destination", "destination_mask"):
        packed[name] = getattr(table, f"row_{name}")[rows]
    return packed


def lay_out(table: Any) -> Compiled:
    """Lays out a ``PolicyTable``."""
    bounds, segments = [], []
    blocks4, guards4, rows6, guards6 = [], [], [], []
    first4 = first6 = 0
    for family in (4, 6):
        for protocol in TABLES:
            begins, parts = _segments_of(table, _rows_of(table, protocol, family))
            pairs = []
            for rows in parts:
                if family == 4:
                    blocks4.append(_blocks4(table, rows))
                    guards = np.zeros(len(blocks4[-1]) * 8, dtype=GUARD_DTYPE)
                    guards[: len(rows)] = _guards(table, rows)
                    guards4.append(guards)
                    pairs.append((first4, len(rows)))
                    first4 += len(guards)
                else:
                    rows6.append(_rows6(table, rows))
                    guards6.append(_guards(table, rows))
                    pairs.append((first6, len(rows)))
                    first6 += len(rows)
            bounds.append(begins)
            segments.append(np.array(pairs, dtype=np.uint32).reshape(-1, 2))
    return Compiled(
        tuple(bounds), tuple(segments), np.concatenate(blocks4), np.concatenate(rows6),
        np.concatenate(guards4), np.concatenate(guards6),
        np.ascontiguousarray(table.policy_id, dtype=np.uint32),
        np.ascontiguousarray(table.policy_action, dtype=np.uint8),
        np.ascontiguousarray(table.policy_inspection, dtype=np.uint8),
    )
