"""The connection table: how a session is found, begins, is counted to, and ends."""

from __future__ import annotations

from fwcore.reference.ledger import Ledger
from fwcore.reference.linux import reopens, timeout_of
from fwcore.reference.packet import Key
from fwcore.reference.session import Session
from fwcore.reference.tcp import CLOSING
from fwcore.reference.words import PAGE, VICTIM_ENDS, pages_of


class Sessions(Ledger):
    """Sessions in order of creation, as a whole and in each bucket."""

    def find(self, key: Key, flags: str, source_first: bool = True) -> Session | None:
        """The session under a key; one past its deadline or closed before a SYN ends here."""
        session = self.sessions.get(key)
        if session is None:
            return None
        if self.deadline(session) <= self.now:
            self.end_by_timeout(session)
            return None
        if flags == "SYN" and self.clashes(session, source_first):
            self.end(session, "clash")
            return None
        return session

    def clashes(self, session: Session, source_first: bool) -> bool:
        """Whether a SYN makes a session anew."""
        if self.linux:
            return reopens(session, self.direction(session, source_first), "SYN")
        return session.state in CLOSING

    def direction(self, session: Session, source_first: bool) -> str:
        """Which way a packet of a session goes."""
        return "forward" if source_first == session.initiator_first else "reply"

    def insert(self, session: Session) -> None:
        """Put a new session into the table; its pages have been granted."""
        self.memory.pages["sessions"] += self.slab_need()
        if session.proxied:
            self.memory.pages["shm"] += self.proxy_pages
            self.proxy_sessions += 1
        self.sessions[session.key] = session
        self.chains.setdefault(session.bucket, {})[session.key] = session
        self.created += 1
        self.peak = max(self.peak, self.live)
        slot = session.hash % self.reborn_size
        if self.reborn_filter.get(slot) == session.hash | 1:
            self.reborn += 1
            del self.reborn_filter[slot]

    def forgive(self, key_hash: int) -> None:
        """A SYN has made the session of this hash anew: it may have grace again."""
        place = key_hash % self.graves_size
        if self.config.midstream == "grace" and self.graves.get(place) == key_hash | 1:
            del self.graves[place]

    def end(self, session: Session, cause: str) -> None:
        """Take a session out of the table, give its pages back, enter it into the ledgers."""
        if self.shaper:
            self.shaper.end(session.shaped)
        self.object_end(session)
        if session.proxied:
            self.memory.release_shm(self.proxy_pages)
            self.proxy_sessions -= 1
        pages = self.slab_pages(self.live) - self.slab_pages(self.live - 1)
        self.memory.pages["sessions"] -= pages
        self.memory.free += pages
        del self.sessions[session.key]
        chain = self.chains[session.bucket]
        del chain[session.key]
        if not chain:
            del self.chains[session.bucket]
        self.ended[cause] += 1
        if cause in VICTIM_ENDS:
            self.add_victim(session, cause)

    def end_by_timeout(self, session: Session) -> None:
        """A session past its deadline was closed before, or it expired."""
        self.end(session, "closed" if session.state in CLOSING else "expired")

    def object_end(self, session: Session) -> None:
        """The run of payload is over."""
        if session.object:
            self.memory.release_shm(session.object.pages)
            session.object = None

    def count_to_session(self, session: Session, source_first: bool, wire: int) -> str:
        """Count a packet to its session; give its direction."""
        direction = self.direction(session, source_first)
        session.packets += 1
        session.bytes += wire
        session.directions.add(direction)
        if session.transport == "udp" and len(session.directions) == 2 and not self.linux:
            session.assured = True
        return direction

    def touch(self, session: Session, *, step: bool = True) -> None:
        """Re-arm the deadline of a session; a later fragment makes no step."""
        session.last_seen_ns = self.now
        if self.linux and step:
            session.timeout = timeout_of(session, self.now)
        elif not self.linux:
            session.assured |= session.state == "ESTABLISHED"
        deadline = self.deadline(session)
        if self.expiry_floor is None or deadline < self.expiry_floor:
            self.expiry_floor = deadline

    def deadline(self, session: Session) -> int:
        """The moment from which a session is never hit again."""
        kind = session.timeout or session.state or session.transport
        return session.last_seen_ns + self.timeouts[kind]

    def expire(self) -> None:
        """At a tick: end every session whose deadline has come."""
        if self.expiry_floor is None or self.expiry_floor > self.now:
            return
        for session in list(self.sessions.values()):
            if self.deadline(session) <= self.now:
                self.end_by_timeout(session)
        self.expiry_floor = min(map(self.deadline, self.sessions.values()), default=None)

    def limits_refuse(self, host: tuple[int, int], half_open: bool) -> str | None:
        """The limits on half-open sessions and on sessions of one initiator; 0 is off."""
        standing = self.sessions.values()
        limit = self.config.half_open_limit
        if half_open and limit and sum(s.half_open for s in standing) >= limit:
            return "half_open_limit"
        limit = self.config.sessions_per_host
        if limit and sum(s.host == host for s in standing) >= limit:
            return "host_limit"
        return None

    def slab_pages(self, live: int) -> int:
        """Pages of so many sessions; preallocated sessions need none beyond the start's."""
        size = self.config.session_bytes
        if self.config.accounting == "preallocated":
            return 0
        if size > PAGE:
            return live * pages_of(size)
        return -(-live // (PAGE // size))

    def slab_need(self) -> int:
        """Pages that one more session needs."""
        return self.slab_pages(self.live + 1) - self.slab_pages(self.live)
