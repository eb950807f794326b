"""Which policy takes a session: many sessions at once, for those who report and do not judge.

The fast path asks its own layout (``policy_layout``) once per session and keeps the answer with
it; a refused flow has no session, and then the rows are gone through here, in order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore.policy import ANY
from fwcore.policy_layout import PolicyTable
from fwcore.words import WITH_PORTS

ENDS_DTYPE = np.dtype([
    ("initiator", "u8", 2), ("responder", "u8", 2),     # high and low half of an address
    ("initiator_port", "u2"), ("responder_port", "u2"), ("zone", "u2"), ("protocol", "u1"),
    ("family", "u1"),
])
LOW, HIGH = np.uint64(0xFFFF), np.uint64(0xFF)


def zoned(key: NDArray[np.uint64], zone: NDArray[Any]) -> NDArray[np.uint64]:
    """Keys uint64[n, 5] with their VLAN id as zone, as ``zone = "vlan"`` has them; a copy."""
    found = key.copy()
    found[:, 0] |= zone.astype(np.uint64) << np.uint64(32)
    return found


def ends_of(key: NDArray[np.uint64], from_b: NDArray[Any]) -> NDArray[Any]:
    """Who began and whom to: ENDS_DTYPE[n] of keys uint64[n, 5] (words of fw_key_t).

    ``from_b`` bool[n]: the initiator is the key's endpoint b.
    """
    found = np.zeros(len(key), dtype=ENDS_DTYPE)
    meta = key[:, 0]
    from_b = np.asarray(from_b, dtype=bool)
    addresses = key[:, [3, 1]], key[:, [4, 2]]
    ports = meta & LOW, meta >> np.uint64(16) & LOW
    for name, first in (("initiator", from_b), ("responder", ~from_b)):
        found[name] = np.where(first[:, None], addresses[1], addresses[0])
        found[f"{name}_port"] = np.where(first, ports[1], ports[0])
    found["zone"] = meta >> np.uint64(32) & LOW
    found["protocol"] = meta >> np.uint64(48) & HIGH
    found["family"] = meta >> np.uint64(56)
    return found


def find(table: PolicyTable, ends: NDArray[Any]) -> NDArray[np.int64]:
    """Index of the first policy that matches each of ENDS_DTYPE[n], -1 where none does."""
    found = np.full(len(ends), -1, dtype=np.int64)
    left = np.arange(len(ends))
    for row in range(len(table)):
        if not len(left):
            break
        hit = _matches(table, row, ends[left])
        found[left[hit]] = table.row_policy[row]
        left = left[~hit]
    return found


def _matches(table: PolicyTable, row: int, ends: NDArray[Any]) -> NDArray[np.bool_]:
    """Which sessions one row takes, bool[n]."""
    hit: NDArray[np.bool_] = ends["family"] == table.row_family[row]
    for side, network in (("initiator", "source"), ("responder", "destination")):
        wanted = getattr(table, f"row_{network}")[row]
        mask = getattr(table, f"row_{network}_mask")[row]
        if mask.any():
            hit &= (ends[side] & mask == wanted).all(axis=1)
    if table.row_protocol[row] != ANY:
        hit &= ends["protocol"] == table.row_protocol[row]
    if table.row_zone[row] != ANY:
        hit &= ends["zone"] == table.row_zone[row]
    if table.row_has_ports[row]:
        port = ends["responder_port"]
        hit &= (np.isin(ends["protocol"], WITH_PORTS) & (port >= table.row_port_low[row])
                & (port <= table.row_port_high[row]))
    return hit
