"""A flow as people write it.

``10.0.0.5:4321-203.0.113.9:443/tcp``, ``[2001:db8::1]:4321-[2001:db8::9]:53/udp``.
The first endpoint is meant as the initiator, but both orders name the same flow. ICMP echo has its
identifier where ports stand; other protocols have no port: ``10.0.0.1-10.0.0.2/47``. With zones,
the VLAN follows: ``.../tcp@12``.
"""

from __future__ import annotations

import ipaddress
from operator import index
from typing import NamedTuple

from fwcore import arguments
from fwcore.errors import FlowError
from fwcore.words import ICMP, ICMPV6, WITH_PORTS, protocol_number, protocol_text

EXAMPLE = "10.0.0.5:4321-203.0.113.9:443/tcp"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Endpoint(NamedTuple):
    """An address and its port (0 without ports)."""

    address: Address
    port: int

    def __str__(self) -> str:
        name = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{name}:{self.port}"


class Flow(NamedTuple):
    """A 5-tuple: initiator, responder, protocol number; and the zone, 0 without."""

    initiator: Endpoint
    responder: Endpoint
    protocol: int
    zone: int = 0

    def __str__(self) -> str:
        name = protocol_text(self.protocol)
        zone = f"@{self.zone}" if self.zone else ""
        return f"{self.initiator}-{self.responder}/{name}{zone}"

    @property
    def key(self) -> tuple[Endpoint, Endpoint, int]:
        """The same for both directions: the lower endpoint first."""
        low, high = sorted((self.initiator, self.responder), key=lambda end: (int(end[0]), end[1]))
        return low, high, self.protocol


def parse(text: str) -> Flow:
    """The flow a text names; FlowError says what is wrong with it."""
    ends, slash, protocol = arguments.text("flow", text, FlowError).strip().partition("/")
    first, dash, second = ends.partition("-")
    if not slash or not dash:
        raise FlowError(f"flow {text!r}: write it like {EXAMPLE}")
    protocol, _, zone = protocol.partition("@")
    number = _protocol(protocol, text)
    if zone and not (zone.isdecimal() and len(zone) <= 5):
        raise FlowError(f"flow {text!r}: zone {zone[:20]!r} is no VLAN")
    ends_found = _endpoint(first, number, text), _endpoint(second, number, text)
    flow = Flow(*ends_found, number, int(zone or 0))
    if flow.initiator.address.version != flow.responder.address.version:
        raise FlowError(f"flow {text!r}: one address is IPv4, the other IPv6")
    return flow


def _protocol(name: str, text: str) -> int:
    try:
        return protocol_number(name)
    except ValueError as error:
        raise FlowError(f"flow {text!r}: {error}") from None


def _endpoint(part: str, protocol: int, text: str) -> Endpoint:
    part = part.strip()
    if part.startswith("["):
        name, _, rest = part[1:].partition("]")
        port = rest.removeprefix(":")
    elif part.count(":") > 1:
        name, port = part, ""
    else:
        name, _, port = part.partition(":")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        hint = " (an IPv6 address with a port stands in brackets)" * (":" in name)
        raise FlowError(f"flow {text!r}: {name!r} is no address{hint}") from None
    if not port and protocol in WITH_PORTS:
        raise FlowError(f"flow {text!r}: {name} lacks its port, like {EXAMPLE}")
    if port and not (port.isdecimal() and len(port) <= 5 and int(port) < 65536):
        raise FlowError(f"flow {text!r}: port {port!r} is not 0-65535")
    return Endpoint(address, int(port or 0))


# --- as the fast path takes them -----------------------------------------------------------------


def flow_key(
    source: str, source_port: int, destination: str, destination_port: int,
    protocol: str | int, zone: int = 0,
) -> tuple[int, ...]:
    """A 5-tuple in the form ``FastPath.find`` takes.

    ``protocol``: a name or a number. Raises FlowError.
    """
    ends = [_address(source), _address(destination)]
    version = ends[0].version
    if ends[1].version != version:
        raise FlowError(f"{source} and {destination} are of different IP versions")
    try:
        number = protocol_number(protocol)
    except ValueError as error:
        raise FlowError(str(error)) from None
    if isinstance(protocol, str) and number == ICMP and version == 6:
        number = ICMPV6
    numbers = [_number("port", source_port, 65535), _number("port", destination_port, 65535)]
    return (int(ends[0]), int(ends[1]), *numbers, number, _number("zone", zone, 4095), version)


def key_of(flow: Flow) -> tuple[int, ...]:
    """A flow in the form ``FastPath.locate`` takes."""
    one, other = flow.initiator, flow.responder
    if not isinstance(one, Endpoint) or not isinstance(other, Endpoint):
        raise FlowError(f"{flow!r:.80}: a flow goes from one Endpoint to another")
    return flow_key(str(one.address), one.port, str(other.address), other.port, flow.protocol,
                    flow.zone)


def _number(what: str, value: object, highest: int) -> int:
    try:
        found = -1 if isinstance(value, bool) else index(value)  # type: ignore[arg-type]
    except TypeError:
        found = -1
    if not 0 <= found <= highest:
        raise FlowError(f"{what} {value!r} is not a whole number of 0..{highest}")
    return found


def _address(text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise FlowError(f"{text!r} is no address, like 10.0.0.5 or 2001:db8::5") from None
