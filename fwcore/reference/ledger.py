"""What is written down: events, transitions, victims, exposure, peaks, and the outcome of a run."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from fwcore.reference.machines import Snapshot
from fwcore.reference.packet import Packet
from fwcore.reference.session import Judgement, Session
from fwcore.reference.state import SHARED, State
from fwcore.reference.words import CAUSES_LATER, END, INSPECTIONS, REASONS_LATER, SECOND

FLAP_NS = 60 * SECOND
"""An entry into extreme sooner than this after the last exit is a flap [D]."""


class Ledger(State):
    """Counts and records; decides nothing."""

    def count_decode(self, packet: Packet) -> None:
        """Count a frame by its outermost IP header and by what became of it."""
        if packet.kind in ("malformed", "truncated", "non_ip", "unsupported_link"):
            self.decode[packet.kind] += 1
        if packet.family:
            self.decode[f"ipv{packet.family}"] += 1
        if packet.kind in ("session", "icmp_error"):
            name = packet.transport
            self.decode["other_ip" if name == "other" else name] += 1
        self.decode["fragments"] += bool(packet.fragment)
        self.decode["offloaded"] += packet.offloaded

    def expose(self, judged: Judgement, wire: int) -> None:
        """Enter a BYPASS into the exposure ledger."""
        assert judged.cause is not None
        row = self.exposure[judged.cause]
        row["packets"] += 1
        row["bytes"] += wire
        session = judged.session
        if session is not None and judged.cause not in session.exposed:
            row["sessions"] += 1
            self.exposed_sessions += not session.exposed
            session.exposed.add(judged.cause)

    def add_victim(self, session: Session, cause: str) -> None:
        """One row of the victim ledger; the filter will recognise the session if reborn."""
        self.reborn_filter[session.hash % self.reborn_size] = session.hash | 1
        if session.transport == "tcp" and self.config.midstream != "grace":
            self.graves_blind = True
        elif session.transport == "tcp":
            place, mark = session.hash % self.graves_size, session.hash | 1
            self.graves[place] = mark if self.graves.get(place, mark) == mark else SHARED
        self.victim_digest.update(session.created_packet.to_bytes(8, "little"))
        self.victim_digest.update(self.number.to_bytes(8, "little"))
        self.victim_digest.update(bytes([END[cause]]))
        if len(self.victims) == self.victims.maxlen:
            self.victims_forgotten += 1
        self.victims.append({
            "created_packet": session.created_packet, "ended_packet": self.number,
            "key": session.key, "cause": cause, "age_ns": self.now - session.created_ns,
            "idle_ns": self.now - session.last_seen_ns, "bytes": session.passed_bytes,
            "state": session.state, "policy": session.policy.id,
            "inspection": INSPECTIONS[session.inspection],
        })

    def transition(self, machine: str, old: str, new: str, cause: str) -> None:
        """Record a change of mode and its event."""
        row = {"packet": self.number, "time_ns": self.now, "cause": cause, "machine": machine,
               "from": old, "to": new, "used_pages": self.memory.used,
               "freeable_pages": self.memory.pages["cache"], "free_pages": self.memory.free}
        if len(self.transitions) < self.config.transitions_max:
            self.transitions.append(row)
        else:
            self.transitions_forgotten += 1
        if new == "extreme":
            left = self.extreme_left_ns
            self.flaps += left is not None and self.now - left < FLAP_NS
            kind = "extreme_entered"
        elif new == "off":
            kind = "conserve_left"
        else:
            kind = "extreme_left" if old == "extreme" else "conserve_entered"
        if old == "extreme":
            self.extreme_left_ns = self.now
        self.event(kind, machine=machine)

    def event(self, kind: str, **figures: Any) -> None:
        """Report something."""
        if len(self.events) < self.config.events_max:
            self.events.append(
                {"kind": kind, "packet": self.number, "time_ns": self.now, **figures}
            )
        else:
            self.events_forgotten += 1

    def snapshot(self) -> Snapshot:
        """What the machines look at now."""
        memory = self.memory
        return Snapshot(memory.total, memory.used, memory.pages["cache"], memory.free,
                        memory.pages["shm"], self.proxy_sessions)

    def sample(self) -> None:
        """Remember peaks."""
        self.memory.sample()
        self.proxy_peak = max(self.proxy_peak, self.proxy_sessions)

    def counters(self) -> dict[str, Any]:
        """All counters, as they go into the outcome."""
        by_cause = {cause: dict(row) for cause, row in self.exposure.items()
                    if row["packets"] or cause not in CAUSES_LATER}
        # counters that stand here unless they are 0
        later = {"grace_unsure": self.grace_unsure, "time_jumped": self.time_jumped}
        return {
            **{name: count for name, count in later.items() if count},
            "packets": self.packets,
            "bytes": self.bytes,
            "time_reversed": self.time_reversed,
            "verdicts": dict(self.verdicts),
            "reasons": {name: count for name, count in self.reasons.items()
                        if count or name not in REASONS_LATER},
            "decode": dict(self.decode),
            "sessions": {"created": self.created, "live": self.live, "peak": self.peak,
                         "reborn": self.reborn, "ended": dict(self.ended)},
            "memory_tension": self.ended["tension"],
            "stampede": {name: dict(value) if isinstance(value, dict) else value
                         for name, value in self.stampede.items()},
            "memory": {
                "total_pages": self.memory.total,
                "now": self.memory.now(),
                "peak": dict(self.memory.peak),
                "script_short_pages": sum(self.short.values()),
                "page_requests": self.page_requests,
                "page_failures": self.page_failures,
            },
            "exposure": {
                "sessions": self.exposed_sessions,
                "packets": sum(row["packets"] for row in by_cause.values()),
                "bytes": sum(row["bytes"] for row in by_cause.values()),
                "by_cause": by_cause,
            },
            "proxy": {"sessions": self.proxy_sessions, "peak": self.proxy_peak,
                      "objects": self.objects, "objects_bypassed": self.objects_bypassed,
                      "objects_oversize": self.objects_oversize},
            "ips": {"filled_bytes": self.ips_filled_bytes, "full_count": self.ips_full_count},
            "fragments_forgotten": self.fragments_forgotten,
            "flaps": self.flaps,
            "transitions_forgotten": self.transitions_forgotten,
            "events_forgotten": self.events_forgotten,
            **({"shaping": self.shaper.counters()} if self.shaper else {}),
        }

    def outcome(self) -> str:
        """The digest of everything that must not depend on how the run was made."""
        ledger = {"transitions": self.transitions, "events": self.events,
                  "counters": self.counters()}
        text = json.dumps(ledger, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.packet_digest.digest())
        digest.update(self.victim_digest.digest())
        if self.shaper:
            digest.update(self.shaper.digest())
        digest.update(text.encode("ascii"))
        return "1:" + digest.hexdigest()
