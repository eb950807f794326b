"""The control plane: after every moment and every packet the machines decide."""

from __future__ import annotations

import ipaddress
from typing import Any

from fwcore.reference.gate import gate_governor
from fwcore.reference.inspection import Inspection
from fwcore.reference.session import Session
from fwcore.reference.words import PAGE, nanoseconds


class Control(Inspection):
    """Machines, one-shot latch, IPS, warnings, gate, idledrop."""

    def settle(self, cause: str) -> None:
        """A stop: the machines decide, and an entry into a mode begins an idledrop round.

        Settling again without a change of a gauge has no effect.
        """
        self.unseen = False
        entered = self.decide(cause)
        if entered and self.round_due():
            self.idledrop_round(cause)
        self.sample()

    def decide(self, cause: str) -> bool:
        """Machines, latch, IPS, warnings, gate, in this order; True if a machine left off."""
        entered = [m.name for m in self.machines if self.machine_settle(m, cause)]
        governed = [name for name in entered
                    if name != "kernel" or self.config.kernel_mode == "av-failopen"]
        if governed and self.config.av_failopen == "one-shot" and not self.latch:
            self.latch = True
            self.event("one_shot_latched")
        self.decide_ips()
        self.decide_low_memory()
        self.decide_table_full()
        self.set_gate()
        return bool(entered)

    def machine_settle(self, machine: Any, cause: str) -> bool:
        """Run one machine to its fixpoint; True if it left off on the way."""
        entered = False
        while True:
            mode = self.modes[machine.name]
            new = self.held(machine, mode) or machine.step(mode, self.snapshot())
            if new == mode:
                return entered
            entered |= mode == "off"
            self.modes[machine.name] = new
            self.transition(machine.name, mode, new, cause)

    def held(self, machine: Any, mode: str) -> str:
        """The next mode of a machine that the operator holds; empty when nobody does."""
        if self.forced is None:
            return ""
        target = self.forced
        if target == "extreme" and machine.name != "unified":
            target = "on"
        return "on" if (mode, target) == ("off", "extreme") else target

    def decide_ips(self) -> None:
        """IPS fails while a mode is on or while its buffer is full, as `ips_trigger` says."""
        trigger = self.config.ips_trigger
        conserve = any(
            mode != "off" and name != "kernel" and (name != "fortios-5" or self.proxy_policies)
            for name, mode in self.modes.items()
        )
        fail = ("conserve" in trigger and conserve) or ("buffer" in trigger and self.ips_full)
        if fail != self.ips_fail:
            self.ips_fail = fail
            self.event("ips_fail_open_entered" if fail else "ips_fail_open_left")

    def decide_low_memory(self) -> None:
        """Without a machine: a warning below 100 MB of free RAM [C], cleared at 110 [D]."""
        if self.config.machine != "none":
            return
        free_bytes = self.memory.free * PAGE
        if not self.warned and free_bytes < 100 * 10**6:
            self.warned = True
            self.event("memory_warning")
        elif self.warned and free_bytes >= 110 * 10**6:
            self.warned = False
            self.event("memory_warning_cleared")

    def decide_table_full(self) -> None:
        """The table is full until a tenth of it is free."""
        most = self.config.max_connections
        if self.table_full_since is None and self.live >= most:
            self.table_full_since = self.now
            self.event("table_full")
        elif self.table_full_since is not None and self.live <= most * 90 // 100:
            self.event("table_full_ended", duration_ns=self.now - self.table_full_since)
            self.table_full_since = None

    def round_due(self) -> bool:
        """Idledrop governs the gate now, and there are sessions to kill."""
        if self.config.av_failopen != "idledrop" or not self.sessions:
            return False
        return gate_governor(self.modes, self.config, self.proxy_policies) == "failopen"

    def idledrop_round(self, cause: str) -> None:
        """Kill the sessions of the busiest hosts, host by host, until the mode is left."""
        count: dict[tuple[int, int], int] = {}
        for session in self.sessions.values():
            count[session.host] = count.get(session.host, 0) + 1
        hosts = killed = 0
        for host in sorted(count, key=lambda host: (-count[host], host)):
            doomed = [s for s in self.sessions.values() if s.host == host and self.idle(s)]
            if not doomed:
                continue
            for session in doomed:
                self.end(session, "killed")
            hosts += 1
            killed += len(doomed)
            address = ipaddress.IPv4Address if host[1] == 4 else ipaddress.IPv6Address
            self.idledrop_hosts.append({"host": str(address(host[0])), "sessions": len(doomed)})
            self.decide(cause)
            if not self.round_due():
                break
        if killed:
            self.event("idledrop", hosts=hosts, sessions=killed)

    def idle(self, session: Session) -> bool:
        """Whether idledrop may kill a session: any [H], or only those long idle."""
        if session.local:
            return False
        idle_ns = self.now - session.last_seen_ns
        return (self.config.idledrop_variant == "host"
                or idle_ns >= nanoseconds(self.config.idledrop_idle_s))
