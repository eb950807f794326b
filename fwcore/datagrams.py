"""Which packet a later fragment is a part of: what the newest first fragments were, by datagram."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Generic, TypeVar

import numpy as np

from fwcore.units import SECOND_NS

MOST = 1 << 16     # first fragments kept, more than a fragment table keeps
LIFE_NS = 30 * SECOND_NS     # as long as the firewall's own table follows one
WHICH = ("source", "destination", "fragment_id", "fragment_protocol", "family")

Said = TypeVar("Said")


class Arrivals:
    """When packets arrive, chunk by chunk: one older than another before it arrives with that one,
    as the firewall has it."""

    def __init__(self) -> None:
        self._now_ns = 0

    def at(self, times_ns: Any, places: Any) -> list[int]:
        """Of the packets at these places, int64[m], of the next chunk; its times are int64[n]."""
        before_ns, self._now_ns = self._now_ns, max(self._now_ns, int(times_ns.max(initial=0)))
        if not len(places):
            return []
        now_ns: list[int] = np.maximum(
            np.maximum.accumulate(times_ns), before_ns)[places].tolist()
        return now_ns


class Datagrams(Generic[Said]):
    """What was said of each first fragment, for those that follow it; the newest MOST.

    A row is one of ``parse_columns``, and its time is when the firewall judged it. Fragments of one
    packet have in common what the firewall's fragment table goes by: ends, id, protocol, and the
    zone with ``zone = "vlan"``. A first fragment takes the place of an older one with the same,
    whoever it belongs to.
    """

    def __init__(self, *, vlan_zone: bool = False) -> None:
        self._which = (*WHICH, "zone") if vlan_zone else WHICH
        self._said: OrderedDict[bytes, tuple[int, Said]] = OrderedDict()

    def begin(self, row: Any, time_ns: int, said: Said) -> None:
        """A first fragment."""
        datagram = self._datagram(row)
        self._said[datagram] = int(time_ns), said
        self._said.move_to_end(datagram)
        if len(self._said) > MOST:
            self._said.popitem(last=False)

    def of(self, row: Any, time_ns: int) -> Said | None:
        """What was said of a later fragment's first; None where none was seen, or too long ago."""
        began_ns, said = self._said.get(self._datagram(row), (0, None))
        return said if int(time_ns) - began_ns < LIFE_NS else None

    def _datagram(self, row: Any) -> bytes:
        return b"".join(row[name].tobytes() for name in self._which)
