"""Meters, links and classes of an engine: made from settings, and what they did.

What came to them, and what left, is kept in rows until somebody asks, where it was said that
somebody will (``departures=True``, ``arrivals=True``).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from fwcore import counters
from fwcore._layout import blake2b16
from fwcore._shaper import ARRIVAL_DTYPE, DEPARTURE_DTYPE, NO_LINK, NO_METER, WHYS
from fwcore._use import exclusive, unclosed, undivided
from fwcore.engine_hooks import DEPARTED, Hooks
from fwcore.engine_setup import shaper_of
from fwcore.settings import Settings
from fwcore.tables import Rows

if TYPE_CHECKING:
    from fwcore.shaping_layout import Plan


class Shaped(Hooks):
    """The part of an engine that has a shaper, where its settings have [[shaping]] rows."""

    seed: int
    _plan: Plan | None = None

    def _shape(self, settings: Settings) -> None:
        """Meters, links and classes of these settings; what waits goes on waiting."""
        fastpath, before = self.fastpath, self._plan
        plan, shaper = shaper_of(
            settings, self.seed, fastpath.max_connections,
            self._keep or self._heard is not None, self._watch)
        if before is not None and fastpath.shaper is not None:
            from fwcore.shaping_layout import places

            fastpath.let_leave()
            self._collect_left()
            shaper.take_over(fastpath.shaper, *places(plan, before), serve=False)
        fastpath.set_shaper(shaper)
        self._plan = plan

    def _reshape(self, old: Settings, new: Settings) -> None:
        """The same where these settings say otherwise than those; before the first row nothing."""
        if (self._plan is not None or new.shapes) and (
                (new.shaping, new.queue_packets_max) != (old.shaping, old.queue_packets_max)):
            self._shape(new)

    @exclusive
    @undivided
    def departures(self) -> Rows:
        """What left links or was dropped in them since the last call, in order.

        A row for each link that a packet ends at: packet u64, time_ns i64, link u16 (by the order
        of [[link]] rows), class u16 (its id), fate u8 (``_shaper.FATES``), dscp u8 (255: no mark;
        64 + DSCP, or 128 alone, where congestion experienced (CE) was set instead of a drop).
        Kept with ``departures=True`` only.
        """
        self.fastpath.let_leave()
        self._collect_left()
        rows, self._left = self._left, []
        names = {**DEPARTED, "link": dict(enumerate(self._names()[1]))}
        return Rows.of(np.concatenate([np.zeros(0, DEPARTURE_DTYPE), *rows]), names)

    @exclusive
    @undivided
    def arrivals(self) -> Rows:
        """What came to meters or links since the last call, in order: ``_shaper.ARRIVAL_DTYPE``.

        packet u64, time_ns i64 of its arrival, departed u64: rows of departures before it; for each
        meter of its row in order meter u32 (its number), colour u8 (rungs from 0) and level i64
        (what it found in the last rung's bucket: bytes, or packets), NO_METER where there is none;
        link u16 (NO_LINK: none), cls u16, waiting u32 and waiting_bytes u64 (packets, and bytes as
        the link counts, before it in its class), mark u8, why u8
        (``_shaper.WHYS``). Kept with ``arrivals=True`` only.
        """
        self._collect_left()
        rows, self._came = self._came, []
        meters, links = self._names()
        return Rows.of(np.concatenate([np.zeros(0, ARRIVAL_DTYPE), *rows]), {
            "why": dict(enumerate(WHYS)), "meter": {**dict(enumerate(meters)), NO_METER: ""},
            "link": {**dict(enumerate(links)), NO_LINK: ""}})

    @unclosed
    def shaping_names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of meters and links, as rows of arrivals and departures number them."""
        return self._names()

    def _names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        plan = self._plan
        return ((), ()) if plan is None else (plan.meter_names, plan.link_names)

    @exclusive
    @undivided
    def shaping(self) -> dict[str, Any]:
        """What meters, links and classes counted, by name; empty where nothing is shaped."""
        return self._shaping()

    def _shaping(self) -> dict[str, Any]:
        shaper, plan = self.fastpath.shaper, self._plan
        if shaper is None or plan is None:
            return {}
        self.fastpath.let_leave()
        return plan.named(shaper.counters())

    @exclusive
    def outcome(self) -> str:
        """The digest of everything that happened: "1:" and 32 hex digits (semantics 2)."""
        packets, victims = self.fastpath.digests()
        story = {
            "transitions": self.transitions.to_dicts(), "events": self.events.to_dicts(),
            "counters": counters.counters(self),
        }
        text = json.dumps(story, sort_keys=True, separators=(",", ":"))
        if self.fastpath.shaper is not None:
            victims += self.fastpath.shaper.digest()
        return "1:" + blake2b16([packets, victims, text.encode("ascii")]).hex()
