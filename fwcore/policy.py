"""Policies: what ordered rules say. How the fast path looks them up: fwcore/policy_layout.py.

    [[policy]] rows  --parse-->  Policy, in order  --policy_layout-->  rows by protocol and port
    id, zone, source, destination, protocol, ports  ->  action, inspection

Laws: the first match wins; no match denies; no policies at all are one, id 0, accept, none.
A policy is looked up once per session, with the responder's address as destination and the
responder's port as port; one with ports matches only TCP, UDP and SCTP. A policy expands to one
row per (family, source, destination, port range), rows stand in the order of their policies, so
that the first row that matches names the first policy that matches.

Inspection is a class of two bits, flow 1 and proxy 2 (semantics 9). Which feature needs which:
[H] "All of the Security Profiles features use the AV proxy with the exception of IPS,
application control, DoS as well as flow-based antivirus, DLP, and web filter scanning."
"""

import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fwcore._layout import PolicyAction
from fwcore.errors import SettingsError
from fwcore.words import CLASSES, FLOW, PROXY, WITH_PORTS, nearest, protocol_number

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

ANY = -1

INSPECTIONS: Mapping[str, int] = {name: bits for bits, name in enumerate(CLASSES)}
FEATURES: Mapping[str, int] = {
    "ips": FLOW,  # [H] these six continue to operate in conserve mode
    "application-control": FLOW,
    "dos": FLOW,
    "flow-antivirus": FLOW,
    "flow-dlp": FLOW,
    "flow-webfilter": FLOW,
    "antivirus": PROXY,
    "dlp": PROXY,
    "webfilter": PROXY,
    "antispam": PROXY,  # other content features: buffered and examined as a whole
    "emailfilter": PROXY,
    "file-filter": PROXY,
    "icap": PROXY,
    "ssl-inspection": PROXY,
    "videofilter": PROXY,
    "waf": PROXY,
}
ACTIONS: Mapping[str, int] = {action.name.lower(): int(action) for action in PolicyAction}
NO_POLICY = "no policy"  # what reports call it where none takes a flow
NAME_MAX = 64  # characters of a policy's name
KEYS = ("id", "name", "zone", "source", "destination", "protocol", "ports", "action", "inspection")


@dataclass(frozen=True, slots=True)
class Policy:
    """One rule. Empty ``source``, ``destination`` or ``ports`` is any."""

    id: int
    source: tuple[Network, ...] = ()
    destination: tuple[Network, ...] = ()
    protocol: int = ANY  # IP protocol number
    ports: tuple[tuple[int, int], ...] = ()  # of the responder: (low, high), both included
    zone: int = ANY  # VLAN id
    action: int = 0  # PolicyAction
    inspection: int = 0  # class bits: flow 1, proxy 2
    features: tuple[str, ...] = ()
    name: str = ""  # as people call it; nothing depends on it

    def families(self) -> tuple[int, ...]:
        """IP versions for which both address lists have something: 4, 6 or both."""
        return tuple(
            family for family in (4, 6)
            if all(of_family(nets, family) for nets in (self.source, self.destination))
        )


DEFAULT = Policy(id=0)


def of_family(nets: Sequence[Network], family: int) -> list[tuple[int, int]]:
    """(address, mask) of the networks of a family; any is one with mask 0."""
    if not nets:
        return [(0, 0)]
    return [(int(net.network_address), int(net.netmask)) for net in nets if net.version == family]


# ---------------------------------------------------------------- rows -> policies


class _Place(NamedTuple):
    """Where a row stands. Rows of a settings file bring ``where`` and ``lines`` of their own."""

    row: Mapping[str, Any]
    fallback: str

    def error(self, key: str, text: str) -> SettingsError:
        where = getattr(self.row, "where", self.fallback)
        where = getattr(self.row, "lines", {}).get(key, where)
        return SettingsError(f"{where}: {text}")


def _number(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _networks(place: _Place, key: str) -> tuple[Network, ...]:
    """``"any"``, one network or a list of them; a single address is a network of one."""
    value = place.row.get(key, "any")
    if isinstance(value, str) and value == "any":
        return ()
    nets: list[Network] = []
    for text in _listed(value):
        if not isinstance(text, str):
            raise place.error(key, f'{key}: {text!r} is not a network such as "10.0.0.0/8"')
        try:
            net = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise place.error(
                key, f'{key}: "{text}" is not an address or network such as "10.0.0.0/8", or "any"'
            ) from None
        if "/" in text and ipaddress.ip_interface(text).ip != net.network_address:
            raise place.error(
                key, f'{key}: "{text}" has bits beyond its prefix; the network is "{net}"'
            )
        nets.append(net)
    if not nets:
        raise place.error(key, f'{key} = [] matches nothing; write "any" or leave it out')
    return tuple(nets)


def _protocol(place: _Place) -> int:
    value = place.row.get("protocol", "any")
    if isinstance(value, str) and value.lower() == "any":
        return ANY
    try:
        return protocol_number(value)
    except ValueError as error:
        raise place.error("protocol", f'{error}, or "any"') from None


def _port_range(place: _Place, value: Any) -> tuple[int, int]:
    """``80``, ``"80"`` or ``"8000-8099"``."""
    low, dash, high = str(value).partition("-")
    low, high = low.strip(), high.strip() if dash else low.strip()
    digits = all(text.isdecimal() and len(text) <= 5 for text in (low, high))
    if isinstance(value, (int, str)) and digits and int(low) <= int(high) <= 65535:
        return int(low), int(high)
    raise place.error(
        "ports", f"ports: {value!r} is not a port; allowed: 0 to 65535, or a range such as"
        ' "8000-8099"'
    )


def _ports(place: _Place, protocol: int) -> tuple[tuple[int, int], ...]:
    value = place.row.get("ports", "any")
    if isinstance(value, str) and value == "any":
        return ()
    if protocol != ANY and protocol not in WITH_PORTS:
        raise place.error("ports", f"ports: protocol {protocol} has none; tcp, udp and sctp do")
    ranges = tuple(_port_range(place, each) for each in _listed(value))
    if not ranges:
        raise place.error("ports", 'ports = [] matches nothing; write "any" or leave it out')
    return ranges


def _zone(place: _Place) -> int:
    value = place.row.get("zone", "any")
    if isinstance(value, str) and value == "any":
        return ANY
    if _number(value, 0, 4095):
        return int(value)
    raise place.error("zone", f'zone = {value!r}: allowed: a VLAN id from 0 to 4095, or "any"')


def _action(place: _Place) -> int:
    value = place.row.get("action", "accept")
    if isinstance(value, str) and value in ACTIONS:
        return ACTIONS[value]
    raise place.error(
        "action", f"action = {value!r} is unknown{nearest(value, ACTIONS)}; allowed: "
        f"{', '.join(ACTIONS)}"
    )


def _inspection(place: _Place) -> tuple[int, tuple[str, ...]]:
    """Class bits and the features named."""
    value = place.row.get("inspection", "none")
    if isinstance(value, str) and value in INSPECTIONS:
        return INSPECTIONS[value], ()
    bits, features = 0, []
    for name in _listed(value):
        if not isinstance(name, str) or name not in FEATURES:
            alone = isinstance(name, str) and name in INSPECTIONS
            near = f"; {name!r} stands alone, not in a list" if alone else nearest(name, FEATURES)
            raise place.error(
                "inspection", f"inspection: {name!r} is no feature"
                f"{near}; allowed: {', '.join(INSPECTIONS)}, or"
                f" a list of {', '.join(FEATURES)}"
            )
        bits |= FEATURES[name]
        features.append(name)
    return bits, tuple(features)


def _name(place: _Place) -> str:
    value = place.row.get("name", "")
    if isinstance(value, str) and len(value) <= NAME_MAX and value.isprintable():
        return value.strip()
    raise place.error("name", f"name = {value!r:.80}: allowed: up to {NAME_MAX} printable"
                      " characters")


def _parse_row(place: _Place, number: int) -> Policy:
    for key in place.row:
        if key not in KEYS:
            raise place.error(
                key, f'unknown key "{key}" in [[policy]]{nearest(key, KEYS)}; allowed: '
                f"{', '.join(KEYS)}"
            )
    identity = place.row.get("id", number)
    if not _number(identity, 0, 2**32 - 1):
        raise place.error("id", f"id = {identity!r}: allowed: a number from 0 to {2**32 - 1}")
    protocol, action = _protocol(place), _action(place)
    inspection, features = _inspection(place)
    policy = Policy(
        id=identity,
        source=_networks(place, "source"),
        destination=_networks(place, "destination"),
        protocol=protocol,
        ports=_ports(place, protocol),
        zone=_zone(place),
        action=action,
        inspection=0 if action == PolicyAction.DENY else inspection,
        features=features,
        name=_name(place),
    )
    if not policy.families():
        raise place.error(
            "destination", f"policy {identity} matches nothing: source and destination have no IP"
            " version in common"
        )
    return policy


def who(row: Mapping[str, Any], where: str) -> Policy:
    """The conditions of a row alone: zone, source, destination, protocol, ports. SettingsError."""
    place = _Place(row, where)
    protocol = _protocol(place)
    found = Policy(
        id=0, source=_networks(place, "source"), destination=_networks(place, "destination"),
        protocol=protocol, ports=_ports(place, protocol), zone=_zone(place))
    if not found.families():
        raise place.error(
            "destination", f"{where} matches nothing: source and destination have no IP version in"
            " common")
    return found


def listed(rows: Any) -> tuple[Mapping[str, Any], ...]:
    """Rows of policies, whatever gives them. Raises SettingsError."""
    found = tuple(rows) if isinstance(rows, Iterable) and not isinstance(rows, Mapping) else (rows,)
    for row in found:
        if not isinstance(row, Mapping):
            raise SettingsError(f"policies: {row!r:.80} is no row; a list of them is asked for,"
                                ' like [{"id": 1, "protocol": "udp"}]')
    return found


def parse(rows: Iterable[Mapping[str, Any]], where: str = "policy") -> tuple[Policy, ...]:
    """Policies from ``[[policy]]`` rows, in order; no rows: one, id 0, accept, none.

    Keys: id (default: the row's number), name (what reports call it), zone, source, destination,
    protocol, ports (default any), action (accept), inspection (none). A denied session is not
    inspected, so that a deny policy has class none whatever it names. ``where`` begins the message
    about a row that does not know its own place. Raises SettingsError.
    """
    policies: list[Policy] = []
    seen: dict[int, int] = {}
    for number, row in enumerate(listed(rows), 1):
        place = _Place(row, f"{where} {number}")
        policy = _parse_row(place, number)
        if policy.id in seen:
            raise place.error(
                "id", f"id = {policy.id} is already the id of policy row {seen[policy.id]};"
                " every policy has its own"
            )
        seen[policy.id] = number
        policies.append(policy)
    return tuple(policies) or (DEFAULT,)


def called(policies: Iterable[Policy]) -> dict[int, str]:
    """What reports call each policy, by id: its name, or its id where it has none. Where the name
    is another's too, or could be taken for an id or for no policy at all: name and id."""
    rows = list(policies)
    names = Counter(each.name for each in rows)
    unclear = {name for name in names if names[name] > 1 or name.isdecimal() or name == NO_POLICY}
    return {each.id: str(each.id) if not each.name else
            f"{each.name} (id {each.id})" if each.name in unclear else each.name for each in rows}


def has_proxy(policies: Iterable[Policy]) -> bool:
    """Whether any policy that lets sessions through has a proxy part."""
    return any(policy.inspection & PROXY for policy in policies)  # what denies has none
