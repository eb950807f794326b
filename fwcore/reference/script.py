"""The pressure script: what others take from memory, step by step or as a leak."""

from __future__ import annotations

from fwcore.reference.control import Control
from fwcore.reference.leak import Leak


class Script(Control):
    """Asks for pages like everybody else, and waits for those it did not get."""

    def grow(self, owner: str, pages: int) -> None:
        """The script asks for pages; what there is not stays short until a later tick."""
        taken = pages
        if not self.request(lambda: pages):
            taken = min(pages, self.memory.free + self.memory.pages["cache"])
            self.memory.attempt(taken)
            self.short[owner] += pages - taken
        self.hold(owner, taken)

    def hold(self, owner: str, pages: int) -> None:
        """Book pages that were taken for the script."""
        self.memory.pages[owner] += pages
        if owner == "shm":
            self.script_shm += pages

    def give_back(self, owner: str, pages: int) -> None:
        """The script gives back: first what it still waits for, then what it holds."""
        forgiven = min(pages, self.short[owner])
        self.short[owner] -= forgiven
        pages -= forgiven
        if owner == "base":
            pages = min(pages, self.memory.pages["base"])
            self.memory.pages["base"] -= pages
            self.memory.free += pages
        else:
            pages = min(pages, self.script_shm)
            self.script_shm -= pages
            self.memory.release_shm(pages)

    def retry_worthwhile(self, owner: str) -> bool:
        """Short of pages, and there are some, or sessions that the pass would take."""
        there = self.memory.free + self.memory.pages["cache"]
        return self.short[owner] > 0 and (there > 0 or not all(
            session.local for session in self.sessions.values()))

    def retry(self) -> None:
        """At a tick: ask again for what is short; then stalled leaks may go on from here."""
        for owner in ("base", "shm"):
            if self.retry_worthwhile(owner):
                pages, self.short[owner] = self.short[owner], 0
                self.grow(owner, pages)
        for leak in self.leaks:
            if leak.stalled and self.short[leak.owner] == 0:
                leak.stalled, leak.anchor_ns, leak.page = False, self.now, 1

    def leak_pages(self, leak: Leak) -> None:
        """Take every page of a leak that is due; one it cannot have stalls the leak."""
        while not leak.stalled and leak.due_ns <= self.now:
            leak.page += 1
            if self.short[leak.owner] == 0 and self.request(lambda: 1):
                self.hold(leak.owner, 1)
            else:
                self.short[leak.owner] += 1
                leak.stalled = True
