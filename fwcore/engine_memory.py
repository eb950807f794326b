"""Memory of an engine by hand: pages taken and given back, a mode held.

What a pressure script does at its times, whoever embeds an engine does at any moment; the rules
are the same (semantics 6): what there is not is owed, and asked for again at each tick.
"""

from __future__ import annotations

from fwcore._use import exclusive, undivided
from fwcore.engine_control import told
from fwcore.engine_sessions import Sessions
from fwcore.errors import SettingsError
from fwcore.events import Event
from fwcore.settings.values import amount_bytes
from fwcore.units import pages_of
from fwcore.words import MODES, OWNERS, nearest

TAKERS = ("base", "shm")       # who may take and give: sessions and cache follow from what happens


class Memory(Sessions):
    """The part of an engine that knows who owns its memory."""

    @exclusive
    def owners(self) -> dict[str, int]:
        """Pages of 4096 bytes by owner (base, sessions, shm, cache; queues where there is a
        shaper), and free and used ones."""
        gauges = self.fastpath.gauges()
        used, free = gauges.used_pages, gauges.free_pages
        owners = dict(zip(OWNERS, self.fastpath.owners(), strict=True))
        if self.fastpath.shaper is not None:
            owners["queues"] = self.fastpath.queue_pages[0]
        return owners | {"free": free, "used": used}

    @exclusive
    @told
    @undivided
    def take(self, owner: str, amount: int | str) -> int:
        """Pages for ``base`` or ``shm``, as a step of a pressure script takes them.

        ``amount``: bytes, or text like "100MiB"; rounded up to pages. What is not there even after
        a tension pass is owed and asked for again at each tick. Returns the pages had at once.
        Raises SettingsError.
        """
        number, pages = self._asked(owner, amount)
        self._answer()
        had = self.fastpath.take(number, pages)
        self._by_hand()
        return had

    @exclusive
    @told
    @undivided
    def give(self, owner: str, amount: int | str) -> int:
        """Gives pages of ``base`` or ``shm`` back: what is owed first, then what is held.

        Of shm that is what ``take`` and the pressure script hold, and it goes to the cache, as far
        as that has room. Returns the pages given back. Raises SettingsError.
        """
        number, pages = self._asked(owner, amount)
        self._answer()
        given = self.fastpath.give(number, pages)
        self._by_hand()
        return given

    def _asked(self, owner: str, amount: int | str) -> tuple[int, int]:
        if not isinstance(owner, str) or owner not in TAKERS:
            raise SettingsError(f"owner {owner!r}: allowed: {', '.join(TAKERS)}"
                                f"{nearest(owner, TAKERS)}")
        return OWNERS.index(owner), pages_of(amount_bytes(amount, self.settings.kilo))

    @exclusive
    @told
    @undivided
    def force(self, mode: str | None) -> None:
        """Holds every machine in a mode, whatever its gauges say; None: they decide again.

        ``extreme`` is on for a machine that has no such mode. An event, ``mode_forced`` or
        ``mode_released``, and transitions as ever. Raises SettingsError where no machine watches.
        """
        if mode is not None and (not isinstance(mode, str) or mode not in MODES):
            raise SettingsError(f"mode {mode!r}: allowed: {', '.join(MODES)}, or None")
        if not self.machines:
            raise SettingsError(f"force: {self.settings.personality} has no conserve machine")
        self._answer()
        if mode == self.forced:
            return
        self.forced = mode
        figures = {} if mode is None else {"mode": MODES.index(mode)}
        kind = "mode_released" if mode is None else "mode_forced"
        self.events.append(Event(kind, self.fastpath.packet, self.fastpath.now_ns, figures=figures))
        self._by_hand()
