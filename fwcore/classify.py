"""Policies laid out for the fast path: by protocol, then by the responder's port.

Eight tables (TCP, UDP, SCTP, other; for IPv4, then for IPv6). A table's ports are cut into
segments within which the same rows can match; each segment has its rows in policy order. IPv4 rows
are packed in blocks of eight that are compared side by side, each segment beginning a block.

Segments only leave out rows that cannot match: every row still carries its own protocol, zone and
ports, so that merging segments, which bounds the memory, changes nothing but speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

PROTOCOLS = (6, 17, 132, -1)      # -1: everything without ports
ROWS_MAX = 1 << 20                # rows of all segments of one table; more are merged
BLOCK4 = np.dtype([("source", "<u4", 8), ("source_mask", "<u4", 8),
                   ("destination", "<u4", 8), ("destination_mask", "<u4", 8)])
ROW6 = np.dtype([("source", "<u8", 2), ("source_mask", "<u8", 2),
                 ("destination", "<u8", 2), ("destination_mask", "<u8", 2)])
GUARD = np.dtype([("policy", "<u4"), ("zone", "<i4"), ("protocol", "<i2"), ("port_low", "<u2"),
                  ("port_high", "<u2"), ("has_ports", "<u2")])


@dataclass(frozen=True)
class Compiled:
    """What ``FastPath.set_policies`` takes.

    ``bounds``: eight uint32[s], where port segments begin; ``segments``: eight uint32[s, 2]
    (first row, rows); ``blocks4``, ``rows6``, ``guards4``, ``guards6``: the bytes of BLOCK4, ROW6
    and GUARD arrays; ``policy_id`` uint32[m], ``policy_action`` uint8[m], ``policy_inspection``
    uint8[m].
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
        wanted &= (table.row_has_ports == 0) & ~np.isin(table.row_protocol, PROTOCOLS[:3])
    return np.flatnonzero(wanted)


def _segments_of(table: Any, rows: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Where segments begin, and the rows of each."""
    low = np.where(table.row_has_ports[rows], table.row_port_low[rows], 0).astype(np.int64)
    high = np.where(table.row_has_ports[rows], table.row_port_high[rows], 65535).astype(np.int64)
    bounds = np.unique(np.concatenate([[0], low, high + 1]))
    bounds = bounds[bounds <= 65535]
    keep = max(1, min(len(bounds), ROWS_MAX // max(1, len(rows))))
    bounds = bounds[:: -(-len(bounds) // keep)]
    ends = np.append(bounds[1:], 65536)
    parts = [rows[(low < end) & (high >= begin)]
             for begin, end in zip(bounds, ends, strict=True)]
    return bounds.astype(np.uint32), parts


def _guards(table: Any, rows: np.ndarray) -> np.ndarray:
    guards = np.zeros(len(rows), dtype=GUARD)
    for name in ("policy", "zone", "protocol", "port_low", "port_high", "has_ports"):
        guards[name] = getattr(table, f"row_{name}")[rows]
    return guards


def _blocks4(table: Any, rows: np.ndarray) -> np.ndarray:
    """Rows eight by eight; what fills up the last block matches nothing."""
    blocks = np.zeros(-(-len(rows) // 8), dtype=BLOCK4)
    for name in ("source", "source_mask", "destination", "destination_mask"):
        column = np.zeros(len(blocks) * 8, dtype=np.uint32)
        column[: len(rows)] = getattr(table, f"row_{name}")[rows, 1]
        if name == "source":
            column[len(rows):] = 1  # under mask 0 nothing is 1
        blocks[name] = column.reshape(-1, 8)
    return blocks


def _rows6(table: Any, rows: np.ndarray) -> np.ndarray:
    packed = np.zeros(len(rows), dtype=ROW6)
    for name in ("source", "source_mask", "destination", "destination_mask"):
        packed[name] = getattr(table, f"row_{name}")[rows]
    return packed


def _bytes(parts: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """The parts one after another, as bytes; never empty, so that there is an address."""
    return np.concatenate([*parts, np.zeros(1, dtype=dtype)]).view(np.uint8)


def lay_out(table: Any) -> Compiled:
    """Lays out a ``policy.PolicyTable``."""
    bounds, segments = [], []
    blocks4, guards4, rows6, guards6 = [], [], [], []
    first4 = first6 = 0
    for family in (4, 6):
        for protocol in PROTOCOLS:
            begins, parts = _segments_of(table, _rows_of(table, protocol, family))
            pairs = []
            for rows in parts:
                if family == 4:
                    blocks4.append(_blocks4(table, rows))
                    guards = np.zeros(len(blocks4[-1]) * 8, dtype=GUARD)
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
        tuple(bounds), tuple(segments), _bytes(blocks4, BLOCK4), _bytes(rows6, ROW6),
        _bytes(guards4, GUARD), _bytes(guards6, GUARD),
        np.ascontiguousarray(table.policy_id, dtype=np.uint32),
        np.ascontiguousarray(table.policy_action, dtype=np.uint8),
        np.ascontiguousarray(table.policy_inspection, dtype=np.uint8),
    )
