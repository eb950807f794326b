"""Memory: who owns the pages."""

from __future__ import annotations

from fwcore.reference.config import Config
from fwcore.reference.words import pages_of

OWNERS = ("base", "sessions", "shm", "cache")


class Memory:
    """The RAM of the appliance in pages; `free` is a counter of its own, never derived."""

    def __init__(self, config: Config) -> None:
        self.total = pages_of(config.ram_bytes)
        self.cache_limit = pages_of(config.cache_limit_bytes)
        self.pages = dict.fromkeys(OWNERS, 0)
        self.queues = 0  # pages of queued bytes; an owner where it is not 0
        self.pages["base"] = pages_of(config.base_bytes)
        if config.accounting == "preallocated":
            self.pages["sessions"] = pages_of(config.max_connections * config.session_bytes)
        self.free = self.total - sum(self.pages.values())
        if self.free < 0:
            raise ValueError(f"{-self.free} pages more at start than the {self.total} of RAM")
        self.peak = self.now()

    @property
    def used(self) -> int:
        """Pages in use; the cache counts as freeable, not as used."""
        return self.pages["base"] + self.pages["sessions"] + self.pages["shm"] + self.queues

    def now(self) -> dict[str, int]:
        """Pages by owner, with free and used."""
        queues = {"queues": self.queues} if self.queues else {}
        return {**self.pages, **queues, "free": self.free, "used": self.used}

    def sample(self) -> None:
        """Remember the highest values seen."""
        for name, value in self.now().items():
            self.peak[name] = max(self.peak.get(name, 0), value)

    def attempt(self, need: int) -> bool:
        """Take `need` pages from free, reclaiming cache when short; all or nothing."""
        if self.free < need:
            moved = min(self.pages["cache"], need - self.free)
            self.pages["cache"] -= moved
            self.free += moved
        if self.free < need:
            return False
        self.free -= need
        return True

    def release_shm(self, count: int) -> None:
        """Buffers go to the cache up to its limit, the rest to free."""
        self.pages["shm"] -= count
        cached = min(count, max(0, self.cache_limit - self.pages["cache"]))
        self.pages["cache"] += cached
        self.free += count - cached
