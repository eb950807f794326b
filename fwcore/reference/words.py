"""Words and numbers: verdicts, reasons, causes, ends, inspection classes, units."""

from __future__ import annotations

PAGE = 4096
"""Bytes of one page of accounted memory."""
SECOND = 10**9
"""Nanoseconds of a second."""
MIB = 2**20
GIB = 2**30
MASK64 = 2**64 - 1

FORWARD, INSPECT, BYPASS, DROP = range(4)
VERDICTS = ("forward", "inspect", "bypass", "drop")

REASONS = (
    "new", "hit", "related", "fragment", "tcp_invalid", "non_ip", "unsupported_link",
    "truncated", "fragment_orphan", "bypass_conserve", "bypass_kernel", "bypass_one_shot",
    "bypass_proxy_table", "bypass_ips", "bypass_oversize", "bypass_no_memory", "malformed",
    "icmp_orphan", "no_session", "denied", "conserve_block", "extreme", "ips_block",
    "half_open_limit", "host_limit", "proxy_table_full", "table_full", "no_memory", "killed",
    "over_limit", "queue_full", "bypass_inspector", "inspector_block",
)
REASONS_LATER = ("over_limit", "queue_full", "bypass_inspector", "inspector_block")
"""Those that stand in a digest only where they are not 0."""
REASON = {name: number for number, name in enumerate(REASONS)}

CAUSES = ("conserve", "kernel", "one_shot", "proxy_table", "ips", "oversize", "no_memory",
          "inspector")
"""Why a packet passed without an inspection that its policy asks for."""
CAUSES_LATER = ("inspector",)

ENDS = ("expired", "closed", "clash", "evicted", "tension", "killed", "cleared")
END = {name: number for number, name in enumerate(ENDS)}
VICTIM_ENDS = ("evicted", "tension", "killed")

DECODE = (
    "ipv4", "ipv6", "tcp", "udp", "icmp", "sctp", "other_ip", "non_ip", "fragments",
    "malformed", "truncated", "offloaded", "unsupported_link",
)

FLOW, PROXY = 1, 2
"""Bits of an inspection class: 0 none, 1 flow, 2 proxy, 3 flow and proxy."""
INSPECTIONS = ("none", "flow", "proxy", "flow+proxy")


def pages_of(byte_count: int) -> int:
    """Pages that hold so many bytes: rounded up."""
    return -(-byte_count // PAGE)


def nanoseconds(seconds: float) -> int:
    """Seconds of a setting as integer nanoseconds."""
    return round(seconds * SECOND)
