"""The firewall: a packet, step by step (semantics 3), and the operator's hand."""

from __future__ import annotations

from typing import Any

from fwcore.reference.egress import Egress
from fwcore.reference.headers import parse
from fwcore.reference.linux import LINUX_START, opens_nothing, tcp_step
from fwcore.reference.memory import Memory
from fwcore.reference.packet import SYN_FLAG, Packet
from fwcore.reference.policy import Policy, policy_match
from fwcore.reference.session import FragmentEntry, Judgement, Session
from fwcore.reference.state import SHARED
from fwcore.reference.table import bucket_of, key_hash
from fwcore.reference.tcp import HALF_OPEN, TCP_START, TCP_TABLE
from fwcore.reference.words import (
    BYPASS,
    DROP,
    FLOW,
    FORWARD,
    PROXY,
    REASON,
    SECOND,
    VERDICTS,
    nanoseconds,
    pages_of,
)

FRAGMENT_LIFE_NS = 30 * SECOND


class Firewall(Egress):
    """One appliance. `packet` judges one frame and gives its verdict and reason."""

    def packet(
        self, frame: bytes, time_ns: int, wire_length: int | None = None, link: int = 1
    ) -> tuple[int, int]:
        """Judge one frame; give the numbers of its verdict and of its one reason."""
        wire = len(frame) if wire_length is None else wire_length
        if not self.started:
            self.start(time_ns)
        self.packets += 1
        self.bytes += wire
        self.number = self.packets
        target = self.time_of(time_ns)
        self.pass_time(target)
        self.now = target
        packet = parse(frame, wire, link, vlan_zone=self.config.zone == "vlan", shift=self.shift,
                       linux=self.linux, short_cut=self.config.short_frames == "cut")
        self.count_decode(packet)
        self.reply = False
        self.of_session = None
        self.captured_payload = frame[:wire][packet.end - packet.payload:packet.end]
        judged = self.judge(packet, wire)
        if packet.fragment == "first" and packet.kind in ("session", "icmp_error", "malformed"):
            self.fragment_store(packet, judged)
        judged = self.egress(packet, judged, wire)
        if judged.verdict == BYPASS:
            self.expose(judged, wire)
        self.verdicts[VERDICTS[judged.verdict]] += 1
        self.reasons[judged.reason] += 1
        self.packet_digest.update(bytes((judged.verdict, REASON[judged.reason])))
        self.sample()
        self.settle("packet")
        self.give_answers()
        return judged.verdict, REASON[judged.reason]

    def judge(self, packet: Packet, wire: int) -> Judgement:
        """One verdict and one reason for any kind of packet."""
        if packet.kind == "session":
            return self.judge_session(packet, wire)
        if packet.kind == "later":
            return self.judge_later(packet, wire)
        if packet.kind == "icmp_error":
            return self.judge_icmp_error(packet)
        if packet.kind == "malformed" and self.linux and packet.transport:
            return self.invalid("malformed")  # above IP: not the kernel's to drop
        if packet.kind == "malformed" or self.config.non_ip == "drop":
            return Judgement(DROP, packet.kind)
        return Judgement(FORWARD, packet.kind)

    def invalid(self, reason: str) -> Judgement:
        """What is invalid passes or not, as the setting says."""
        return Judgement(DROP if self.config.invalid == "drop" else FORWARD, reason)

    def judge_session(self, packet: Packet, wire: int) -> Judgement:
        """Find or admit the session, step TCP, then inspect."""
        assert packet.key is not None
        flags = packet.flag_class if packet.transport == "tcp" else ""
        if packet.broken:
            return self.invalid("malformed")
        if packet.transport == "icmp" and packet.icmp_type in self.untracked[packet.family]:
            return Judgement(FORWARD, "icmp_orphan")
        session = self.find(packet.key, flags, packet.source_first)
        if session is not None:
            return self.judge_hit(session, packet, flags, wire)
        self.reply = not self.initiator_sent(packet, flags)
        if self.linux and (reason := opens_nothing(packet, flags)):
            return self.invalid(reason)
        made = self.admit(packet, flags)
        if made == "no_session" and self.linux:
            return self.invalid("tcp_invalid")
        if isinstance(made, str):
            return Judgement(DROP, made)
        direction = self.count_to_session(made, packet.source_first, wire)
        self.of_session = made
        made.last = (flags, direction)
        made.answered = direction == "reply"
        self.touch(made)
        return self.inspect(made, direction, packet.payload, flags in ("FIN", "RST"), "new")

    def judge_hit(self, session: Session, packet: Packet, flags: str, wire: int) -> Judgement:
        """A packet of a standing session: its step, then inspection."""
        self.of_session = session
        direction = self.count_to_session(session, packet.source_first, wire)
        self.reply = direction == "reply"
        if session.blocked:  # it does not arrive, and moves nothing
            self.touch(session, step=False)
            return self.session_judgement(session, "hit", None)
        step = self.step(session, direction, flags)
        if step == "invalid":
            if self.config.invalid == "drop":
                return Judgement(DROP, "tcp_invalid")
            return self.session_judgement(session, "tcp_invalid", None)
        if step in ("moved", "gone"):
            self.touch(session)
        session.answered |= direction == "reply"
        judged = self.inspect(
            session, direction, packet.payload, flags in ("FIN", "RST"), "hit")
        if step == "gone" and packet.key in self.sessions:
            self.end(session, "closed")
        return judged

    def step(self, session: Session, direction: str, flags: str) -> str:
        """Move TCP: "invalid", "ignored", "kept", "gone" or "moved"; what is no TCP moves."""
        if not flags:
            return "moved"
        if self.linux:
            return tcp_step(session, direction, flags)
        state = TCP_TABLE[session.state, direction, flags]
        if state is None:
            return "invalid"
        session.state = state
        return "moved"

    def judge_icmp_error(self, packet: Packet) -> Judgement:
        """An error shares the verdict of the session it speaks of and touches nothing."""
        misled = self.linux and packet.quoted_source != packet.destination
        session = self.find(packet.key, "") if packet.key and not misled else None
        if session is None and self.linux:
            return self.invalid("icmp_orphan")
        if session is None:
            return Judgement(DROP, "icmp_orphan")
        self.of_session = session
        self.reply = packet.source_first != session.initiator_first
        return self.session_judgement(session, "related", None)

    def judge_later(self, packet: Packet, wire: int) -> Judgement:
        """A later fragment follows its first."""
        entry = self.fragments.get(packet.fragment_key())
        if entry and self.now - entry.inserted_ns < FRAGMENT_LIFE_NS:
            self.reply = entry.reply
            if entry.key is None:
                return entry.judgement._replace(session=None)
            session = self.find(entry.key, "")
            if session is not None:
                self.of_session = session
                direction = self.count_to_session(session, entry.source_first, wire)
                self.reply = direction == "reply"
                self.touch(session, step=False)
                return self.inspect(session, direction, packet.payload, False, "fragment")
        drop = self.config.orphan_fragments == "drop"
        return Judgement(DROP if drop else FORWARD, "fragment_orphan")

    def fragment_store(self, packet: Packet, judged: Judgement) -> None:
        """Remember a first fragment, as the newest; when full the oldest entry goes."""
        table = self.fragments
        while table:
            oldest = next(iter(table.values()))
            if self.now - oldest.inserted_ns < FRAGMENT_LIFE_NS:
                break
            table.popitem(last=False)
        table.pop(packet.fragment_key(), None)
        if len(table) >= self.config.fragments_max:
            self.fragments_forgotten += 1
            if not table:
                return
            table.popitem(last=False)
        stands = (packet.kind == "session" and not packet.broken
                  and packet.key in self.sessions)
        key = packet.key if stands else None
        entry = FragmentEntry(self.now, key, packet.source_first, self.reply, judged)
        table[packet.fragment_key()] = entry

    def admit(self, packet: Packet, flags: str) -> Session | str:
        """A miss: make a session, or say the reason of the first refusal."""
        config = self.config
        assert packet.key is not None
        hash_value = key_hash(packet.key, self.hash_keys)
        if flags and not packet.flags & SYN_FLAG and not self.midstream_allowed(hash_value):
            return "no_session"
        from_initiator = self.initiator_sent(packet, flags)
        policy = self.policy_of(packet, from_initiator)
        if policy is not None and policy.action != "deny" and self.decider:
            policy = self.decider(packet, from_initiator, policy)
        if policy is None or policy.action == "deny":
            return "denied"
        inspection = policy.inspection if packet.transport in ("tcp", "udp") else 0
        refusal, bypass = self.gate_decide(inspection)
        if refusal:
            return refusal
        state = self.first_state(flags, from_initiator) if flags else ""
        host = (packet.source if from_initiator else packet.destination, packet.family)
        refusal = self.limits_refuse(host, state in HALF_OPEN or packet.transport == "udp")
        if refusal:
            return refusal
        asker = self.asker(packet, from_initiator, policy)
        row = self.shaper.row_of(asker) if self.shaper else None
        if self.shaper and not self.shaper.admits(row, asker):
            return "host_limit"
        proxied = bool(inspection & PROXY) and bypass is None
        if proxied and self.proxy_sessions >= config.proxy_max_sessions:
            action, word = self.gate.proxy_full
            if action == "drop":
                return word
            proxied, bypass = False, word
        bucket = bucket_of(hash_value, config.buckets)
        if self.live >= config.max_connections and not self.make_room(bucket):
            return "table_full"
        need_proxy = self.proxy_pages if proxied else 0
        if not self.request(lambda: self.slab_need() + need_proxy):
            return "no_memory"
        session = Session(
            packet.key, hash_value, bucket, self.now, self.now, self.number, packet.transport,
            packet.source_first == from_initiator, policy, inspection, proxied, bypass, state,
        )
        self.insert(session)
        session.asks = proxied and self.inspector is not None
        if self.shaper:
            session.shaped = self.shaper.begin(row, asker)
        if packet.flags & SYN_FLAG:
            self.forgive(hash_value)
        return session

    def policy_of(self, packet: Packet, from_initiator: bool) -> Policy | None:
        """The first policy that matches a new session."""
        ends = (packet.source, packet.destination)
        initiator, responder = ends if from_initiator else ends[::-1]
        port = packet.destination_port if from_initiator else packet.source_port
        for policy in self.policies:
            if policy_match(policy, packet, initiator, responder, port):
                return policy
        return None

    def initiator_sent(self, packet: Packet, flags: str) -> bool:
        """Whether a first packet is the initiator's: a SYN+ACK is not; mid-stream, one from a port
        below 1024 to another is not [D]."""
        if flags in ("", "SYN", "SYNACK"):
            return flags != "SYNACK"
        ports = self.config.midstream_initiator == "ports"
        return not (ports and packet.source_port < 1024 <= packet.destination_port)

    def first_state(self, flags: str, from_initiator: bool) -> str:
        """The state in which a TCP session begins."""
        if self.linux:
            return LINUX_START[flags]
        return TCP_START["forward" if from_initiator else "reply"][flags]

    def midstream_allowed(self, hash_value: int) -> bool:
        """Whether TCP without SYN may begin a session now. Grace is for what began before the
        capture: not for a victim of this run, nor where two of them share a place."""
        if self.config.midstream != "grace":
            return self.config.midstream == "allow"
        if self.now - self.t0 >= nanoseconds(self.config.midstream_grace_s):
            return False
        grave = self.graves.get(hash_value % self.graves_size)
        unsure = self.graves_blind or grave == SHARED
        self.grace_unsure += unsure
        return not unsure and grave != hash_value | 1

    def gate_decide(self, inspection: int) -> tuple[str | None, str | None]:
        """Drop reason and bypass cause of a new session, from the gate row alone."""
        gate = self.gate
        if inspection in gate.whole:
            return gate.whole[inspection], None
        bypass = None
        if inspection & PROXY and gate.proxy:
            action, word = gate.proxy
            if action == "drop":
                return word, None
            bypass = word
        if inspection & FLOW and gate.flow:
            return gate.flow[1], None
        return None, bypass

    def clear(self, most: int | None = None, *, queues: bool = True) -> None:
        """End all sessions, or the oldest so many, in order of creation; and what waits."""
        for session in list(self.sessions.values())[:most]:
            self.end(session, "cleared")
        if self.shaper and queues:
            self.shaper.advance(self.now)
            self.shaper.clear()
        self.after_operator()

    def end_by_hand(self, keys: list[Any]) -> int:
        """The operator ends the sessions under these keys; how many there were."""
        found = [session for key, session in self.sessions.items() if key in keys]
        for session in found:
            self.end(session, "cleared")
        self.after_operator()
        return len(found)

    def take(self, owner: str, amount: int) -> None:
        """The operator takes so many bytes for an owner."""
        self.grow(owner, pages_of(amount))
        self.after_operator()

    def give(self, owner: str, amount: int) -> None:
        """The operator gives so many bytes of an owner back."""
        self.give_back(owner, pages_of(amount))
        self.after_operator()

    def force(self, mode: str | None) -> None:
        """The operator holds every machine in a mode, or lets go of them."""
        if mode == self.forced:
            return
        self.forced = mode
        if mode is None:
            self.event("mode_released")
        else:
            self.event("mode_forced", mode=("off", "on", "extreme").index(mode))
        self.after_operator()

    def restart(self, *, keep: bool = False, **changes: Any) -> None:
        """Tear every session down and build the table anew; counters and ledgers go on.

        ``keep``: the newest sessions stay, as many as the new table holds, and what waits.
        What the script holds and what is cached outlives it; fragments and the memory of victims
        do not.
        """
        room = changes.get("max_connections", self.config.max_connections) if keep else 0
        cleared = max(0, self.live - room)
        if cleared or not keep:
            self.clear(cleared, queues=not keep)
        memory = self.memory
        extra = memory.pages["base"] - pages_of(self.config.base_bytes)
        self.ips_drain()  # at the rate that held until now
        for name, value in changes.items():
            setattr(self.config, name, value)
        fresh = Memory(self.config)
        memory.total = fresh.total
        memory.pages["base"] = max(0, fresh.pages["base"] + extra)
        memory.pages["sessions"] = fresh.pages["sessions"] + self.slab_pages(self.live)
        memory.free = memory.total - sum(memory.pages.values()) - memory.queues
        self.load_settings()
        self.set_shaper()
        self.chains.clear()
        for session in self.sessions.values():
            session.bucket = bucket_of(session.hash, self.config.buckets)
            self.chains.setdefault(session.bucket, {})[session.key] = session
        self.fragments.clear()
        self.start_reborn()
        self.graves_blind |= bool(self.victims or self.victims_forgotten)
        if self.latch:
            self.latch = False
            self.event("one_shot_released")
        self.resuming = self.started and not keep
        self.event("restarted", sessions=cleared)
        self.after_operator()

    def configure(self, **changes: Any) -> None:
        """Change soft settings; a change of av-failopen ends the one-shot residue [H].

        What is as it was is no change: nothing happens, and nothing is told.
        """
        changes = {name: value for name, value in changes.items()
                   if getattr(self.config, name) != value}
        if not changes:
            return
        released = self.latch and changes.get("av_failopen", "one-shot") != "one-shot"
        self.ips_drain()  # at the rate that held until now
        for name, value in changes.items():
            setattr(self.config, name, value)
        self.load_settings()
        self.set_shaper()
        self.sweep_ns = nanoseconds(self.config.sweep_s)
        self.expiry_floor = min(map(self.deadline, self.sessions.values()), default=None)
        if released:
            self.latch = False
            self.event("one_shot_released")
        self.event("configured")
        self.after_operator()

    def after_operator(self) -> None:
        """What changed by hand takes effect for the next packet."""
        self.sample()
        if self.started:
            self.settle("packet")
        self.set_gate()
