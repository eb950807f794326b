"""Inspection: objects in the proxy, the buffer of the IPS, and the verdict they lead to."""

from __future__ import annotations

from collections.abc import Callable

from fwcore.reference.eviction import Eviction
from fwcore.reference.session import Judgement, Object, Question, Session
from fwcore.reference.words import BYPASS, DROP, FLOW, FORWARD, INSPECT, SECOND, pages_of


class Inspection(Eviction):
    """What happens to the payload of a session."""

    def set_inspector(self, inspector: Callable[[Question], str] | None, first_bytes: int = 0
                      ) -> None:
        """Who says accept, block or bypass of sessions that begin from now on; None: nobody."""
        self.inspector, self.first_bytes = inspector, first_bytes
        for session in self.sessions.values():
            session.asks = False

    def session_judgement(self, session: Session, reason: str, cause: str | None) -> Judgement:
        """The worst of the parts; `cause` is that of an object which is not scanned."""
        if session.blocked:
            return Judgement(DROP, "inspector_block")
        cause = session.bypass or cause
        if cause is None and session.inspection & FLOW and self.gate.ips_bypass:
            cause = "ips"
        if cause is not None:
            if reason in ("new", "hit"):
                reason = f"bypass_{cause}"
            return Judgement(BYPASS, reason, cause, session)
        return Judgement(INSPECT if session.inspection else FORWARD, reason)

    def inspect(
        self, session: Session, direction: str, payload: int, ends: bool, reason: str
    ) -> Judgement:
        """Object and IPS accounting of a packet, then its verdict; `ends`: FIN or RST."""
        if session.blocked:
            return self.session_judgement(session, reason, None)
        cause = None
        if session.proxied and payload:
            cause = self.object_payload(session, direction, payload)
            if cause == "kill":
                self.end(session, "killed")
                return Judgement(DROP, "killed")
        if ends:
            self.object_over(session)
        if payload and session.inspection & FLOW and not self.gate.ips_bypass:
            self.ips_fill(payload)
        return self.session_judgement(session, reason, cause)

    def object_payload(self, session: Session, direction: str, payload: int) -> str | None:
        """Payload of a proxied session: None (scanned), an exposure cause, or "kill"."""
        if session.object and session.object.direction != direction:
            self.object_over(session)
            if not session.proxied:
                return None
        cause = self.object_scan(session, direction, payload)
        thing = session.object
        if session.asks and thing and cause is None:
            if not thing.gap:
                room = self.first_bytes - len(thing.shown)
                thing.gap = len(self.captured_payload) < payload
                thing.shown += self.captured_payload[:room]
            if thing.bytes >= self.first_bytes:
                self.ask(session, thing)
        return cause

    def object_over(self, session: Session) -> None:
        """The run of payload is over: what was gathered of it is all that an inspector will see."""
        thing = session.object
        if session.asks and thing and thing.bytes and thing.bypass is None:
            self.ask(session, thing)
        else:
            self.object_end(session)

    def ask(self, session: Session, thing: Object) -> None:
        """The session leaves the proxy; the inspector is asked, what it says is for later packets.
        """
        assert self.inspector is not None
        question = Question(session, thing.direction == "reply", thing.shown, thing.bytes,
                            self.number)
        self.object_end(session)
        self.memory.release_shm(self.proxy_pages)
        self.proxy_sessions -= 1
        session.proxied = session.asks = False
        self.answers.append((session, self.inspector(question)))

    def give_answers(self) -> None:
        """What the inspector said of this packet's session."""
        for session, answer in self.answers:
            session.blocked = answer == "block"
            if answer == "bypass":
                session.bypass = "inspector"
        self.answers.clear()

    def object_scan(self, session: Session, direction: str, payload: int) -> str | None:
        """The same, of a run that goes on or begins."""
        if session.object is None:
            start = self.gate.object_start
            if start == "kill":
                return "kill"
            session.object = Object(direction)
            self.objects += 1
            if start != "grant":
                session.object.bypass = start
                self.objects_bypassed += 1
        thing = session.object
        if thing.bypass:
            return thing.bypass
        if thing.bytes + payload > self.config.oversize_bytes:
            self.objects_oversize += 1
            return self.object_bypass(thing, "oversize")
        thing.bytes += payload
        need = pages_of(thing.bytes) - thing.pages
        if need == 0:
            return None
        if self.gate.page_request == "kill":
            return "kill"
        if self.request(lambda: need, pinned=session):
            thing.pages += need
            self.memory.pages["shm"] += need
            return None
        if self.gate.object_refused == "kill":
            return "kill"
        self.objects_bypassed += 1
        return self.object_bypass(thing, "no_memory")

    def object_bypass(self, thing: Object, cause: str) -> str:
        """Give up scanning: the pages go at once, the rest of the run passes."""
        self.memory.release_shm(thing.pages)
        thing.pages = 0
        thing.bypass = cause
        return cause

    def ips_drain(self) -> None:
        """Empty the IPS buffer by what its throughput allowed since the last time; 0: by all."""
        self.ips_carry += (self.now - self.ips_drained_ns) * self.config.ips_throughput_bps
        self.ips_drained_ns = self.now
        drained, self.ips_carry = divmod(self.ips_carry, 8 * SECOND)
        self.ips_level = max(0, self.ips_level - drained)
        if self.config.ips_throughput_bps == 0:
            self.ips_level = 0
        if self.ips_level == 0:
            self.ips_carry = 0

    def ips_fill(self, payload: int) -> None:
        """Payload that the IPS has to look at; throughput 0 is unlimited."""
        if self.config.ips_throughput_bps == 0:
            return
        self.ips_drain()
        self.ips_filled_bytes += payload
        self.ips_level = min(self.ips_level + payload, self.config.ips_socket_bytes)
        if self.ips_level >= self.config.ips_socket_bytes and not self.ips_full:
            self.ips_full = True
            self.ips_full_count += 1

    def ips_half_empty_ns(self) -> int:
        """The first nanosecond at which the buffer is drained to half."""
        excess = self.ips_level - self.config.ips_socket_bytes // 2
        if excess <= 0 or self.config.ips_throughput_bps == 0:
            return self.now
        bits = excess * 8 * SECOND - self.ips_carry
        return self.ips_drained_ns + -(-bits // self.config.ips_throughput_bps)
