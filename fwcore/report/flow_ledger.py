"""Sums per flow, of runs that judge one capture side by side: a look-up a packet for all of them.

    Traffic      which flow each packet is of; packets and bytes of each      one for all runs
    FlowLedger   what one run made of each flow                               one for each
    FlowTable    both, when the capture is at its end

Law: which flow a packet is of comes from frames and times alone, and is the same in every run.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from fwcore import policy_lookup
from fwcore._columns import Fragment, flow_columns, parse_columns
from fwcore._tally import FLOW_DTYPE, Fates, Flows, Tally
from fwcore.datagrams import Arrivals, Datagrams
from fwcore.hits import TAKEN
from fwcore.replay.judged import Judged, Seen

FLOWS_MOST = 1 << 31  # entries that a tally has room for
NAMES_WAITING = 1 << 20  # of flows, before they are sorted out


class Looked(NamedTuple):
    """A chunk of n packets: the place of the flow of each, from 1, and 0 without one, uint32[n];
    whether its sender is endpoint b, uint8[n]; its fragments, FRAME_DTYPE[m], their places in the
    chunk, int64[m], and when they came, m times in ns."""

    place: np.ndarray
    swapped: np.ndarray
    fragments: np.ndarray
    parts: np.ndarray
    times_ns: list[int]


class Traffic:
    """The flows of a capture. ``datagram_zone``: whether fragments of two VLANs are of two
    datagrams; whoever comes first with a chunk has it looked up, for all."""

    def __init__(self, *, datagram_zone: bool = False) -> None:
        self.datagram_zone = datagram_zone
        self._flows = Flows()
        self._keys: list[tuple[np.ndarray, np.ndarray]] = []     # (key, VLAN id) of new flows
        self._datagrams: Datagrams[int] = Datagrams(vlan_zone=datagram_zone)    # flow
        self._arrivals = Arrivals()
        self._lock = threading.Lock()
        self._newest: tuple[int, Looked] | None = None     # by the number of its first packet

    def look(self, seen: Seen) -> Looked:
        """Which flow each packet of a chunk is of. All come with a chunk before anybody comes with
        the next."""
        with self._lock:
            if self._newest is None or self._newest[0] != seen.first:
                self._newest = seen.first, self._look(seen)
            return self._newest[1]

    def _look(self, seen: Seen) -> Looked:
        chunk, shift = seen.chunk, seen.shift
        flow, swapped, parts = flow_columns(chunk, shift=shift, cut=True)
        fragments = parse_columns(chunk.select(parts), shift=shift, cut=True)
        times_ns = self._arrivals.at(chunk.time_ns, parts)
        for row, at, time_ns in zip(fragments, parts.tolist(), times_ns, strict=True):
            if row["fragment"] == Fragment.FIRST:
                self._datagrams.begin(row, time_ns, int(flow[at]))
            else:
                flow[at] = self._datagrams.of(row, time_ns) or flow[at]
        place, new = self.add(flow, seen.number, chunk.length)
        if len(new):
            rows = parse_columns(chunk.select(new), shift=shift, cut=True)
            self._keys.append((np.ascontiguousarray(rows["key"]), rows["zone"].copy()))
        return Looked(place, swapped, fragments, parts, times_ns)

    def add(
        self, flow: np.ndarray, number: np.ndarray, length: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """One chunk: flow uint64[n] (0: none), number uint64[n] of the packets, length[n]. The
        place of each packet's flow, uint32[n], and which are the first of one, int64[m]."""
        return self._flows.add(
            np.ascontiguousarray(flow, np.uint64), np.ascontiguousarray(number, np.uint64),
            np.ascontiguousarray(length, np.uint32))

    def table(self) -> np.ndarray:
        """FLOW_DTYPE[m], in the order of the flows' first packets."""
        return self._flows.table()

    @cached_property
    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        """Key and VLAN id of each flow, once all are there; 0 where no frame told."""
        keys = [np.zeros((0, 5), np.uint64), *(key for key, _ in self._keys)]
        zones = [np.zeros(0, np.uint16), *(zone for _, zone in self._keys)]
        self._keys.clear()
        rest = len(self._flows) - sum(map(len, keys))
        return (np.concatenate([*keys, np.zeros((rest, 5), np.uint64)]),
                np.concatenate([*zones, np.zeros(rest, np.uint16)]))

    def key(self, *, vlan_zone: bool) -> np.ndarray:
        """The key of each flow, uint64[m, 5] (words of fw_key_t), once all are there."""
        key, zone = self._known
        return policy_lookup.zoned(key, zone) if vlan_zone else key


class FlowLedger:
    """What one run made of each flow: its packets, and with `take` its sessions that ended.

    Memory follows the number of flows, not of packets. ``traffic``: that of all runs side by side;
    ``vlan_zone``: whether a policy may ask for a flow's VLAN.
    """

    def __init__(self, traffic: Traffic | None = None, *, vlan_zone: bool = False) -> None:
        self.traffic = Traffic(datagram_zone=vlan_zone) if traffic is None else traffic
        self._fates = Fates()
        self._vlan_zone = vlan_zone
        self._datagrams: Datagrams[int] = Datagrams(
            vlan_zone=self.traffic.datagram_zone)    # from_b
        self._names = Tally(1, 1, FLOWS_MOST)   # the run's own numbers ...
        self._named: list[np.ndarray] = []      # ... and the flow that came first under each
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []     # (own, place): not yet there
        self._waits = 0

    def packets(self, judged: Judged) -> None:
        """The replay's `flows`."""
        chunk, looked = judged.chunk, self.traffic.look(judged)
        from_b = looked.swapped ^ judged.reply
        for row, at, time_ns in zip(
                looked.fragments, looked.parts.tolist(), looked.times_ns, strict=True):
            if row["fragment"] == Fragment.FIRST:
                self._datagrams.begin(row, time_ns, int(from_b[at]))
            elif (first := self._datagrams.of(row, time_ns)) is not None:
                from_b[at] = first
        self.add(looked.place, judged.outcome, chunk.length, judged.flow, from_b)

    def add(
        self, place: np.ndarray, outcome: np.ndarray, length: np.ndarray, own: np.ndarray,
        from_b: np.ndarray,
    ) -> None:
        """One chunk: the place of each packet's flow, uint32[n] (`Traffic.add`); outcome
        uint8[n, 2] (verdict, reason); length[n]; own uint64[n]: the run's numbers for the flows;
        from_b uint8[n]: 1 where endpoint b began the packet's session."""
        own = np.ascontiguousarray(own, np.uint64)
        named = self._fates.add(
            place, own, np.ascontiguousarray(outcome, np.uint8),
            np.ascontiguousarray(length, np.uint32), np.ascontiguousarray(from_b, np.uint8))
        self._waiting.append((own[named], place[named]))
        self._waits += len(named)
        if self._waits > NAMES_WAITING:
            self._sort_out()

    def _sort_out(self) -> None:
        """Numbers that wait get their flow: that of the first packet with it."""
        own, place = (np.concatenate(each) for each in zip(*self._waiting, strict=True))
        self._waiting, self._waits = [], 0
        self._named.append(place[self._names.add((own,), (np.ones(len(own)),))])

    def take(self, ended: np.ndarray) -> None:
        """Sessions that ended (SESSION_DTYPE[n]); those taken count for their flow: that of the
        first packet with the session's number."""
        own = ended["flow"][np.isin(ended["cause"], TAKEN)]
        if not len(own):
            return
        if self._waiting:
            self._sort_out()
        at = self._names.places((own,))
        if at.min() < 0:
            raise RuntimeError("a session was taken of a flow that has no packet")
        self._named = [np.concatenate(self._named)]
        self._fates.take(self._named[0][at])

    def table(self) -> FlowTable:
        """What became of the flows, once all are there."""
        return FlowTable(self.traffic.table(), self.traffic.key(vlan_zone=self._vlan_zone),
                         self._fates.begun(), self._fates.table())


class FlowTable:
    """Flows under one setting, in the order of their first packets: ``flows`` FLOW_DTYPE[m],
    ``key`` uint64[m, 5], ``from_b`` bool[m] (endpoint b began the first packet's session), and
    ``fates`` FATE_DTYPE[k] of those of which something did not pass as it should, by place."""

    def __init__(
        self, flows: np.ndarray, key: np.ndarray, from_b: np.ndarray, fates: np.ndarray,
    ) -> None:
        self.flows, self.key, self.from_b, self.fates = flows, key, from_b, fates

    def __len__(self) -> int:
        return len(self.flows)

    def __getitem__(self, name: str) -> np.ndarray:
        """A column of FLOW_DTYPE, or of FATE_DTYPE with 0 where a flow has no fate, [m]."""
        if name in (FLOW_DTYPE.names or ()):
            return self.flows[name]
        return self.spread(self.fates[name])

    def spread(self, values: Any) -> np.ndarray:
        """Values of the fates, [k], as those of all flows, [m]; 0 where a flow has none."""
        found = np.zeros(len(self), values.dtype)
        found[self.fates["place"]] = values
        return found
