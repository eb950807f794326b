"""Policies as the gate looks them up: copied, each index looked at, and pointed at.

    policy_layout.Compiled ──► Policies ──► policies_t of the control plane's part

Law: what a lookup reads through these pointers is a copy that nobody else knows, and no index in it
reaches past what it points into.
"""

import numpy as np

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fwcore import _layout
from fwcore.dataplane.layout cimport (
    BLOCK_ROWS, POLICIES_MAX, POLICY_COUNT, POLICY_TABLES, block4_t, guard_t, policies_t,
    row6_t, segment_t,
)
from fwcore.errors import DataError

cdef enum:
    POLICY_IDS = 5                 # their place among the arrays of _policy_arrays


cdef object _column(compiled, str name, dtype):
    """A copy of one array of compiled policies, or DataError."""
    given = getattr(compiled, name)
    if not isinstance(given, np.ndarray) or given.dtype != dtype or given.ndim != 1:
        raise DataError(f"policies: {name}: {dtype}[n] is asked for")
    return np.array(given, order="C")


cdef object _segments(compiled, int table, uint64_t rows):
    """Copies of one table's bounds and segments, or DataError."""
    bounds, segments = compiled.bounds[table], compiled.segments[table]
    for name, array, axes in (("bounds", bounds, 1), ("segments", segments, 2)):
        if not isinstance(array, np.ndarray) or array.dtype != np.uint32 or array.ndim != axes:
            raise DataError(f"policies: {name}[{table}]: uint32 with {axes} axes is asked for")
    bounds, segments = np.array(bounds, order="C"), np.array(segments, order="C")
    where = f"policies: table {table}"
    if segments.shape != (len(bounds), 2):
        raise DataError(f"{where}: {len(bounds)} bounds and segments of shape {segments.shape}")
    if (not len(bounds) or bounds.min() or bounds.max() > 65535
            or (np.diff(bounds.astype(np.int64)) <= 0).any()):
        raise DataError(f"{where}: bounds go up from 0 to at most 65535")
    first, count = segments[:, 0].astype(np.uint64), segments[:, 1].astype(np.uint64)
    if (first + count > rows).any():
        raise DataError(f"{where}: a segment reaches past the {rows} rows there are")
    if table < POLICY_TABLES // 2 and (first % BLOCK_ROWS).any():
        raise DataError(f"{where}: a segment of IPv4 rows begins within a block of eight")
    return bounds, segments


cdef tuple _policy_arrays(compiled):
    """Copies of everything ``policy.Compiled`` holds, each index looked at, or DataError."""
    ids = _column(compiled, "policy_id", np.dtype(np.uint32))
    actions = _column(compiled, "policy_action", np.dtype(np.uint8))
    inspections = _column(compiled, "policy_inspection", np.dtype(np.uint8))
    blocks4 = _column(compiled, "blocks4", _layout.BLOCK4_DTYPE)
    rows6 = _column(compiled, "rows6", _layout.ROW6_DTYPE)
    guards4 = _column(compiled, "guards4", _layout.GUARD_DTYPE)
    guards6 = _column(compiled, "guards6", _layout.GUARD_DTYPE)
    if not 1 <= len(ids) <= POLICIES_MAX or not len(ids) == len(actions) == len(inspections):
        raise DataError(f"policies: {len(ids)} ids, {len(actions)} actions, {len(inspections)}"
                        f" inspections: as many of each are asked for, at most {POLICIES_MAX}")
    if actions.max() >= POLICY_COUNT or inspections.max() > 3:
        raise DataError("policies: an action or inspection that does not exist")
    for name, guards in (("guards4", guards4), ("guards6", guards6)):
        if len(guards) and guards["policy"].max() >= len(ids):
            raise DataError(f"policies: {name}: a policy beyond the {len(ids)} there are")
    if len(compiled.bounds) != POLICY_TABLES or len(compiled.segments) != POLICY_TABLES:
        raise DataError(f"policies: {POLICY_TABLES} tables are asked for")
    rows = [min(BLOCK_ROWS * len(blocks4), len(guards4)), min(len(rows6), len(guards6))]
    tables = [_segments(compiled, i, rows[i // (POLICY_TABLES // 2)])
              for i in range(POLICY_TABLES)]
    return tables, blocks4, rows6, guards4, guards6, ids, actions, inspections


cdef int policies_point(policies_t *policies, tuple arrays) except -1:
    """Points ``policies`` at arrays of _policy_arrays, which outlive it."""
    cdef const uint32_t[::1] numbers
    cdef const uint32_t[:, ::1] pairs
    cdef const uint8_t[::1] small
    cdef const block4_t[::1] blocks
    cdef const row6_t[::1] rows
    cdef const guard_t[::1] guards
    tables, blocks4, rows6, guards4, guards6, ids, actions, inspections = arrays
    for i, (bounds, segments) in enumerate(tables):
        numbers, pairs = bounds, segments
        policies.ports[<int>i].bounds = <uint32_t *>&numbers[0]
        policies.ports[<int>i].segments = <segment_t *>&pairs[0, 0]
        policies.ports[<int>i].count = <uint32_t>numbers.shape[0]
    if len(blocks4):
        blocks = blocks4
        policies.blocks = <block4_t *>&blocks[0]
    if len(rows6):
        rows = rows6
        policies.rows6 = <row6_t *>&rows[0]
    if len(guards4):
        guards = guards4
        policies.guards4 = <guard_t *>&guards[0]
    if len(guards6):
        guards = guards6
        policies.guards6 = <guard_t *>&guards[0]
    numbers = ids
    policies.id = <uint32_t *>&numbers[0]
    small = actions
    policies.count = <uint32_t>small.shape[0]  # the ids of policies that are gone stand behind
    policies.action = <uint8_t *>&small[0]
    small = inspections
    policies.inspection = <uint8_t *>&small[0]
    return 0


cdef class Policies:
    """Copies of ``compiled`` (as ``policy_layout.Compiled``, or None: no policies) and of ``gone``
    (uint32[m] or None), the ids of policies that sessions still have. Raises DataError."""

    def __cinit__(self, compiled, gone=None):
        cdef uint32_t[::1] numbers
        ids = np.zeros(1, np.uint32)
        arrays = None
        if compiled is not None and len(compiled.policy_id):
            arrays = _policy_arrays(compiled)
            ids = arrays[POLICY_IDS]
        if gone is not None:
            if not isinstance(gone, np.ndarray) or gone.dtype != np.uint32 or gone.ndim != 1:
                raise DataError("policies: gone: uint32[m] is asked for")
            ids = np.concatenate([ids, gone])
        if arrays is not None:
            arrays = (*arrays[:POLICY_IDS], ids, *arrays[POLICY_IDS + 1:])
            policies_point(&self.c, arrays)
        else:
            numbers = ids
            self.c.id = &numbers[0]
            arrays = (ids,)
        self.arrays = arrays
        self.known = len(ids)
