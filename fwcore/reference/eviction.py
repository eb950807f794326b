"""Shortage: a record for a full table, pages for whoever asks, and the tension pass."""

from __future__ import annotations

from collections.abc import Callable

from fwcore.reference.linux import CLOSING_LINUX
from fwcore.reference.session import Session
from fwcore.reference.sessions import Sessions

EARLY_DROP_BUCKETS = 8
"""Linux looks at this many buckets before it refuses [R]."""


class Eviction(Sessions):
    """Takes from sessions what others need."""

    def make_room(self, bucket: int) -> bool:
        """The table is full: free a record in the way of `when_full`, or refuse."""
        choice = self.config.when_full
        if choice == "bucket":
            while bucket not in self.chains:
                bucket = (bucket + 1) % self.config.buckets
            self.end(next(iter(self.chains[bucket].values())), "evicted")
            return True
        if choice == "replace_oldest":
            self.end(next(iter(self.sessions.values())), "evicted")
            return True
        if choice == "early_drop":
            return self.early_drop(bucket)
        if choice == "tension":
            return self.tension_pass("by_full_table", 0, None) > 0
        return False

    def early_drop(self, bucket: int) -> bool:
        """Linux: all sessions that are not assured, of the first near bucket that has any."""
        for step in range(min(EARLY_DROP_BUCKETS, self.config.buckets)):
            chain = self.chains.get((bucket + step) % self.config.buckets, {})
            doomed = [session for session in chain.values() if not session.assured]
            for session in doomed:
                self.end(session, "evicted")
            if doomed:
                return True
        self.collector_wanted = self.linux
        return False

    def collect(self) -> None:
        """The collector's pass after a refusal, from bucket 0: what is not assured, or closing,
        goes until 95 % of the table stand."""
        self.collector_wanted = False
        enough = self.config.max_connections // 100 * 95
        for bucket in sorted(self.chains) if enough else ():
            for session in list(self.chains[bucket].values()):
                if self.live < enough:
                    return
                if not session.assured or session.state in CLOSING_LINUX:
                    self.end(session, "evicted")

    def tension_pass(self, why: str, needed: int, pinned: Session | None) -> int:
        """Delete the oldest session of every bucket [H], except local TCP and the pinned one."""
        deleted = 0
        for bucket in sorted(self.chains):
            for session in self.chains[bucket].values():
                if not session.local and session is not pinned:
                    self.end(session, "tension")
                    deleted += 1
                    break
        self.stampede["pages_needed"] += needed
        for counter in (self.stampede, self.stampede[why]):
            counter["passes"] += 1
            counter["sessions_deleted"] += deleted
        return deleted

    def request(self, need: Callable[[], int], pinned: Session | None = None) -> bool:
        """Take pages, all or nothing, if need be with one tension pass; need 0 asks nothing."""
        first = need()
        if first == 0:
            return True
        self.page_requests += 1
        if not self.failure_forced() and self.memory.attempt(first):
            return True
        self.page_failures += 1
        self.tension_pass("by_page", first, pinned)
        return self.memory.attempt(need())  # a slab may have a hole now: nothing needed

    def failure_forced(self) -> bool:
        """Whether the script fails this request."""
        number = self.page_requests
        for row in self.config.pressure:
            every = row.get("fail_every", 0)
            if row.get("fail_nth") == number or (every and number % every == 0):
                return True
        return False
