"""Settings as keyword arguments, for who reads types: ``load(max_connections=...)``.

    Settings.replace    EveryKeyword                load, configure, restart    PolicyKeywords
    Engine              EngineKeywords              ... what all of them take   SettingsKeywords

Law: the same names, kinds and choices as in ``DECLARATIONS`` (tests/test_settings.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from fwcore.settings.resolved import Timeouts

Table = Iterable[Mapping[str, Any]]


class SettingsKeywords(TypedDict, total=False):
    """Any setting by its name, or by that of Linux' sysctl; tables as rows."""

    seed: int | Literal["random"] | None
    ram_bytes: int | str
    model_bytes: int | str
    base_bytes: int | str
    accounting: Literal["preallocated", "slab"]
    session_bytes: int | str
    max_connections: int | Literal["dynamic"]
    licence_connections: int
    buckets: int | Literal["auto"]
    when_full: Literal["refuse", "bucket", "tension", "replace_oldest", "early_drop"]
    midstream: Literal["allow", "drop", "grace"]
    midstream_grace_s: float
    midstream_initiator: Literal["ports", "sender"]
    tracker: Literal["plain", "linux"]
    invalid: Literal["forward", "drop"]
    half_open_limit: int
    sessions_per_host: int
    zone: Literal["none", "vlan"]
    non_ip: Literal["forward", "drop"]
    orphan_fragments: Literal["forward", "drop"]
    short_frames: Literal["malformed", "cut"]
    sweep_s: float
    max_step_s: float
    ipsec_max_tunnels: int
    licence_tunnels: int
    tunnel_base_bytes: int | str
    tunnel_bytes_per_connection: int | str
    machine: Literal["unified", "fortios-5", "kernel+proxy", "none"]
    posture: Literal["none", "availability", "security", "balanced", "diagnostic"]
    av_failopen: Literal["pass", "off", "one-shot", "idledrop"]
    av_failopen_session: bool
    ips_fail_open: bool
    ips_trigger: Sequence[Literal["conserve", "buffer"]]
    ips_socket_bytes: int | str
    ips_throughput_bps: int
    extreme_scope: Literal["all", "inspected"]
    memory_use_threshold_green: int
    memory_use_threshold_red: int
    memory_use_threshold_extreme: int
    idledrop_variant: Literal["host", "idle"]
    idledrop_idle_s: float
    kernel_mode: Literal["bypass", "av-failopen"]
    lowmem: bool
    sip_alg: bool
    shm_limit_bytes: int | str
    proxy_max_sessions: int
    proxy_session_bytes: int | str
    oversize_bytes: int | str
    cache_limit_bytes: int | str
    queue_accounting: Literal["none", "bytes"]
    queue_packets_max: int
    shaping_kilo: int
    config_freeze: bool
    fragments_max: int
    victims_max: int
    transitions_max: int
    events_max: int
    timeline_interval_s: float | Literal["auto"]
    tcp_s: float
    tcp_halfopen_s: float
    tcp_halfclose_s: float
    tcp_timewait_s: float
    tcp_rst_s: float
    udp_s: float
    icmp_s: float
    other_s: float
    tcp_synrecv_s: float
    tcp_closewait_s: float
    tcp_lastack_s: float
    tcp_unanswered_s: float
    udp_stream_s: float
    gre_s: float
    gre_stream_s: float
    timeouts: Mapping[str, float] | Timeouts
    base_items: Table
    pressure: Table
    meters: Table
    links: Table
    classes: Table
    shapings: Table
    wirings: Table
    nf_conntrack_max: int
    nf_conntrack_buckets: int
    nf_conntrack_tcp_loose: Literal[0, 1]
    nf_conntrack_tcp_timeout_established: float
    nf_conntrack_tcp_timeout_syn_sent: float
    nf_conntrack_tcp_timeout_fin_wait: float
    nf_conntrack_tcp_timeout_time_wait: float
    nf_conntrack_tcp_timeout_close: float
    nf_conntrack_tcp_timeout_syn_recv: float
    nf_conntrack_tcp_timeout_close_wait: float
    nf_conntrack_tcp_timeout_last_ack: float
    nf_conntrack_tcp_timeout_unacknowledged: float
    nf_conntrack_udp_timeout: float
    nf_conntrack_udp_timeout_stream: float
    nf_conntrack_icmp_timeout: float
    nf_conntrack_generic_timeout: float
    nf_conntrack_gre_timeout: float
    nf_conntrack_gre_timeout_stream: float


class PolicyKeywords(SettingsKeywords, total=False):
    """With policies."""

    policies: Table


class EngineKeywords(SettingsKeywords, total=False):
    """With a personality."""

    personality: str


class EveryKeyword(PolicyKeywords, total=False):
    """With both."""

    personality: str
