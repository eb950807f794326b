"""Every setting of the twin, resolved to numbers; the marks are those of the package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fwcore.reference.words import GIB, MIB


@dataclass
class Config:
    """Every setting, already resolved to numbers; the defaults are the personality `plain`.

    `buckets`, `model_bytes` and `shm_limit_bytes` of 0 take their default from other fields.
    """

    ram_bytes: int = GIB
    base_bytes: int = 0
    session_bytes: int = 144
    max_connections: int = 262_144
    buckets: int = 0
    when_full: str = "bucket"  # refuse | bucket | tension | replace_oldest | early_drop
    midstream: str = "allow"  # allow | drop | grace
    midstream_grace_s: float = 30
    midstream_initiator: str = "ports"  # ports | sender
    short_frames: str = "malformed"  # malformed | cut
    tracker: str = "plain"  # plain | linux
    invalid: str = "forward"  # forward | drop
    accounting: str = "preallocated"  # slab | preallocated
    machine: str = "none"  # unified | fortios-5 | kernel+proxy | none
    memory_use_threshold_green: int = 82  # percent of RAM [T]
    memory_use_threshold_red: int = 88  # [T]
    memory_use_threshold_extreme: int = 95  # [T]
    av_failopen: str = "pass"  # pass | off | one-shot | idledrop [H]
    av_failopen_session: bool = False
    ips_fail_open: bool = False
    ips_trigger: tuple[str, ...] = ("conserve", "buffer")
    ips_socket_bytes: int = 64 * MIB
    ips_throughput_bps: int = 0  # 0: unlimited
    extreme_scope: str = "all"  # all | inspected
    idledrop_variant: str = "host"  # host | idle
    idledrop_idle_s: float = 60
    kernel_mode: str = "bypass"  # bypass | av-failopen [K]
    lowmem: bool = False
    model_bytes: int = 0  # 0: RAM rounded up to 128 MiB
    sip_alg: bool = True
    shm_limit_bytes: int = 0  # 0: a quarter of RAM [D]
    proxy_max_sessions: int = 50_000
    proxy_session_bytes: int = 16 * 1024
    oversize_bytes: int = 10 * MIB
    cache_limit_bytes: int = 0
    half_open_limit: int = 0  # 0: off
    sessions_per_host: int = 0  # 0: off
    zone: str = "none"  # none | vlan
    non_ip: str = "forward"  # forward | drop
    orphan_fragments: str = "forward"  # forward | drop
    sweep_s: float = 1
    max_step_s: float = 0  # 0: off
    tcp_s: float = 3600  # timeouts: FortiOS [R]
    tcp_halfopen_s: float = 10
    tcp_halfclose_s: float = 120
    tcp_timewait_s: float = 1
    tcp_rst_s: float = 5
    udp_s: float = 180
    icmp_s: float = 60
    other_s: float = 60
    tcp_synrecv_s: float = 60  # these for tracker linux: its defaults [R]
    tcp_closewait_s: float = 60
    tcp_lastack_s: float = 30
    tcp_unanswered_s: float = 300
    udp_stream_s: float = 120
    gre_s: float = 30
    gre_stream_s: float = 180
    fragments_max: int = 1024
    victims_max: int = 10_000
    transitions_max: int = 10_000
    events_max: int = 10_000
    seed: int = 0
    policies: list[dict[str, Any]] = field(default_factory=list)
    pressure: list[dict[str, Any]] = field(default_factory=list)
    queue_accounting: str = "none"  # none | bytes
    queue_packets_max: int = 0  # 0: the sum of the leaves' limits
    meters: list[dict[str, Any]] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)
    classes: list[dict[str, Any]] = field(default_factory=list)
    shapings: list[dict[str, Any]] = field(default_factory=list)
    posture: str = "none"  # these three were looked at before; that they changed is told
    config_freeze: bool = False
    shaping_kilo: int = 1000

    def __post_init__(self) -> None:
        """Fill the three settings whose default depends on others."""
        self.buckets = self.buckets or -(-self.max_connections // (
            2 if self.tracker == "linux" else 4))
        self.model_bytes = self.model_bytes or -(-self.ram_bytes // (128 * MIB)) * 128 * MIB
        self.shm_limit_bytes = self.shm_limit_bytes or self.ram_bytes // 4
