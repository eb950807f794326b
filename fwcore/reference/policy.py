"""Policies: the first that matches a new session says what it may and how it is inspected."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, NamedTuple

from fwcore.reference.packet import Packet
from fwcore.reference.words import FLOW, INSPECTIONS, PROXY

PROTOCOLS = {
    "icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58,
    "ospf": 89, "sctp": 132,
}
FLOW_FEATURES = ("ips", "application-control", "dos", "flow-antivirus", "flow-dlp",
                 "flow-webfilter")  # [H]; every other feature inspects content in a proxy


class Policy(NamedTuple):
    """One rule: what it matches (None: anything) and what it does."""

    id: int
    zone: int | None
    sources: list[Any] | None  # ipaddress networks
    destinations: list[Any] | None
    protocol: int | None
    ports: list[tuple[int, int]] | None  # of the responder, both ends included
    action: str  # accept | deny | local
    inspection: int  # FLOW and PROXY bits


ACCEPT_ALL = Policy(0, None, None, None, None, None, "accept", 0)


def policy_parse(row: dict[str, Any]) -> Policy:
    """One `[[policy]]` of the settings file."""
    protocol = row.get("protocol", "any")
    zone = row.get("zone", "any")
    ports = row.get("ports", "any")
    if isinstance(ports, int):
        ports = [ports]
    return Policy(
        id=int(row.get("id", 0)),
        zone=None if zone in ("any", None) else int(zone),
        sources=policy_networks(row.get("source", "any")),
        destinations=policy_networks(row.get("destination", "any")),
        protocol=None if protocol in ("any", None) else policy_protocol(protocol),
        ports=[port_range(p) for p in ports] if ports not in ("any", None, []) else None,
        action=row.get("action", "accept"),
        inspection=inspection_class(row.get("inspection", "none")),
    )


def policy_networks(value: str | Iterable[str] | None) -> list[Any] | None:
    """CIDR strings as networks; None is any address of either family."""
    if value in ("any", None) or value == ["any"]:
        return None
    names = [value] if isinstance(value, str) else list(value or ())
    return [ipaddress.ip_network(name, strict=False) for name in names]


def policy_protocol(value: str | int) -> int:
    """A protocol by name or number."""
    text = str(value).lower()
    return PROTOCOLS[text] if text in PROTOCOLS else int(text)


def port_range(value: int | str) -> tuple[int, int]:
    """`80` or `"8000-8099"`."""
    low, _, high = str(value).partition("-")
    return int(low), int(high or low)


def inspection_class(value: str | Iterable[str]) -> int:
    """Class bits of a word or of a list of features [H]."""
    if isinstance(value, str) and value in INSPECTIONS:
        return INSPECTIONS.index(value)
    features = [value] if isinstance(value, str) else value
    bits = 0
    for feature in features:
        if feature in INSPECTIONS:
            bits |= INSPECTIONS.index(feature)
        else:
            bits |= FLOW if feature in FLOW_FEATURES else PROXY
    return bits


def networks_contain(networks: list[Any] | None, family: int, address: int) -> bool:
    """Whether an address lies in one of the networks (None: always)."""
    if networks is None:
        return True
    return any(
        net.version == family
        and address & int(net.netmask) == int(net.network_address)
        for net in networks
    )


def policy_match(policy: Policy, packet: Packet, initiator: int, responder: int, port: int) -> bool:
    """Whether a policy speaks of a new session; `port` is the responder's."""
    if policy.zone is not None and policy.zone != packet.zone:
        return False
    if policy.protocol is not None and policy.protocol != packet.protocol:
        return False
    if policy.ports is not None:
        if packet.transport not in ("tcp", "udp", "sctp"):
            return False
        if not any(low <= port <= high for low, high in policy.ports):
            return False
    return (networks_contain(policy.sources, packet.family, initiator)
            and networks_contain(policy.destinations, packet.family, responder))
