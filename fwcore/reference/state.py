"""Everything that a firewall holds. What it does with it stands on this, floor on floor:

    State <- Ledger <- Sessions <- Eviction <- Inspection <- Control <- Script <- Clock <- Firewall

A floor calls its own methods and those of the floors to its left, never one to its right.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fwcore.reference.config import Config
from fwcore.reference.gate import Gate, gate_row
from fwcore.reference.leak import Leak
from fwcore.reference.linux import ICMP_UNTRACKED, LINUX_TIMEOUTS
from fwcore.reference.machines import make_machines
from fwcore.reference.memory import Memory
from fwcore.reference.packet import Key, Packet
from fwcore.reference.policy import ACCEPT_ALL, Policy, policy_parse
from fwcore.reference.session import FragmentEntry, Question, Session
from fwcore.reference.shaping import Shaper
from fwcore.reference.table import seeds
from fwcore.reference.tcp import TIMEOUT_SETTING
from fwcore.reference.words import (
    CAUSES,
    DECODE,
    ENDS,
    PROXY,
    REASONS,
    VERDICTS,
    nanoseconds,
    pages_of,
)

SHARED = 0
"""A place of `graves` that two victims have had: nobody can say whose it is."""


class State:
    """Settings, table, memory, clock, modes and counters of one appliance."""

    def __init__(self, config: Config) -> None:
        self.config = config = replace(config)
        self.shift = 0  # moves addresses in looped replays
        self.hash_keys = seeds(config.seed)
        self.memory = Memory(config)
        self.modes: dict[str, str] = {}
        self.forced: str | None = None  # the mode that the operator holds
        self.latch = False  # one-shot: AV stays bypassed after the mode
        self.ips_fail = False
        self.shaper: Shaper | None = None
        self.load_settings()
        self.start_counters()
        # the connection table: in order of creation, as a whole and in each bucket
        self.sessions: dict[Key, Session] = {}
        self.chains: dict[int, dict[Key, Session]] = {}
        self.expiry_floor: int | None = None  # no session is due before it
        self.unseen = False  # a drain moved gauges, and no machine has looked since
        self.fragments: OrderedDict[tuple[int, ...], FragmentEntry] = OrderedDict()
        self.start_reborn()
        self.graves_blind = False  # victims went by that are not written down
        # time
        self.started = False
        self.t0 = 0
        self.now = 0
        self.number = 0  # the packet being judged
        self.resuming = False  # after a restart: the clock takes the next packet's time
        self.reply = False  # its sender is the responder, of an ICMP error that of what it quotes
        self.sweep_ns = nanoseconds(config.sweep_s)
        # pressure script
        rows = config.pressure
        steps = [row for row in rows if row.get("add_bytes")]
        self.steps = deque(sorted(steps, key=lambda row: nanoseconds(row.get("at_s", 0))))
        self.leaks = [
            Leak(row.get("owner", "base"), nanoseconds(row.get("at_s", 0)),
                 row["leak_bytes_per_s"])
            for row in rows if row.get("leak_bytes_per_s")
        ]
        self.short = {"base": 0, "shm": 0}
        self.script_shm = 0  # pages of shm that the script holds
        # the buffer of the IPS, drained in bit-nanoseconds with carry
        self.ips_level = 0
        self.ips_carry = 0
        self.ips_drained_ns = 0
        self.ips_full = False
        # control plane
        self.warned = False
        self.table_full_since: int | None = None
        self.extreme_left_ns: int | None = None
        self.gate = Gate()
        self.set_gate()

    def load_settings(self) -> None:
        """What follows from settings that may change while running."""
        config = self.config
        self.policies = [policy_parse(row) for row in config.policies] or [ACCEPT_ALL]
        self.proxy_policies = any(
            policy.inspection & PROXY and policy.action != "deny" for policy in self.policies)
        self.machines = make_machines(config, self.memory.total, self.proxy_policies)
        self.modes = {m.name: self.modes.get(m.name, "off") for m in self.machines}
        self.linux = config.tracker == "linux"
        self.untracked = ICMP_UNTRACKED if self.linux else {4: (), 6: ()}
        settings = LINUX_TIMEOUTS if self.linux else TIMEOUT_SETTING
        self.timeouts = {
            kind: nanoseconds(getattr(config, name)) for kind, name in settings.items()
        }
        if self.linux:
            self.timeouts["unanswered"] = min(
                self.timeouts["unanswered"], self.timeouts["ESTABLISHED"])
        self.proxy_pages = pages_of(config.proxy_session_bytes)
        self.memory.cache_limit = pages_of(config.cache_limit_bytes)

    def start_reborn(self) -> None:
        """The memory of victims: as many places as the table, a power of two."""
        self.reborn_size = 1
        while self.reborn_size < min(2**20, self.config.max_connections):
            self.reborn_size *= 2
        self.reborn_filter: dict[int, int] = {}
        # TCP victims by place: hash | 1 of the only one, or SHARED; these keys have no grace
        self.graves: dict[int, int] = {}
        self.graves_size = max(2**16, self.reborn_size)
        self.collector_wanted = False  # tracker linux: a packet was refused since its last pass

    def start_counters(self) -> None:
        """All counters at zero, all ledgers empty."""
        self.packets = 0
        self.bytes = 0
        self.time_reversed = 0
        self.time_jumped = 0
        self.verdicts = dict.fromkeys(VERDICTS, 0)
        self.reasons = dict.fromkeys(REASONS, 0)
        self.decode = dict.fromkeys(DECODE, 0)
        self.created = 0
        self.peak = 0
        self.reborn = 0
        self.ended = dict.fromkeys(ENDS, 0)
        self.stampede: dict[str, Any] = {
            "passes": 0, "pages_needed": 0, "sessions_deleted": 0,
            "by_page": {"passes": 0, "sessions_deleted": 0},
            "by_full_table": {"passes": 0, "sessions_deleted": 0},
        }
        self.page_requests = 0
        self.page_failures = 0
        self.exposed_sessions = 0
        self.exposure = {c: {"sessions": 0, "packets": 0, "bytes": 0} for c in CAUSES}
        self.proxy_sessions = 0
        self.proxy_peak = 0
        self.objects = 0
        self.objects_bypassed = 0
        self.objects_oversize = 0
        self.inspector: Callable[[Question], str] | None = None
        # the policy by which a session begins: of its first packet, of whether that is the
        # initiator's, and of the policy that matches; None: it may not
        self.decider: Callable[[Packet, bool, Policy], Policy | None] | None = None
        self.first_bytes = 0
        self.captured_payload = b""  # of the packet that is being judged
        self.answers: list[tuple[Session, str]] = []
        self.ips_filled_bytes = 0
        self.ips_full_count = 0
        self.fragments_forgotten = 0
        self.grace_unsure = 0
        self.flaps = 0
        self.victims: deque[dict[str, Any]] = deque(maxlen=self.config.victims_max)
        self.victims_forgotten = 0
        self.transitions: list[dict[str, Any]] = []
        self.transitions_forgotten = 0
        self.events: list[dict[str, Any]] = []
        self.events_forgotten = 0
        self.idledrop_hosts: list[dict[str, Any]] = []
        self.packet_digest = hashlib.blake2b(digest_size=16)
        self.victim_digest = hashlib.blake2b(digest_size=16)

    def set_gate(self) -> None:
        """Hand the data plane its row."""
        self.gate = gate_row(self.modes, self.latch, self.ips_fail, self.config,
                             self.proxy_policies)

    @property
    def live(self) -> int:
        """Sessions that stand in the table."""
        return len(self.sessions)
