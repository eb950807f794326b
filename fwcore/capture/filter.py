"""``--filter``: which frames of a capture are packets, in the words tcpdump uses.

    [src|dst] host ADDRESS      [src|dst] net NETWORK/BITS
    [tcp|udp|sctp] [src|dst] port NUMBER
    ip  ip6  arp  tcp  udp  sctp  icmp  icmp6  igmp  gre  esp  ah  ospf
    joined by and (&&), or (||), not (!), parentheses

As with tcpdump, ``not`` binds closest, and ``and`` and ``or`` bind alike, from left to right; a
host or net is also found in ARP; a later fragment has a protocol but no ports. Unlike tcpdump,
which wants ``vlan`` and the like spelled out, a filter sees through what the firewall sees
through: VLAN tags, MPLS, PPPoE, IPv6 extension headers. It looks at the outermost IP header only.
A frame that does not carry what a word asks for does not match it.

A filter is compiled once to functions of a chunk's columns (``parse_columns``: the firewall's own
parser) and evaluated with NumPy, a chunk at a time.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from fwcore import arguments
from fwcore._columns import DESTINATION, PORTS, SOURCE, parse_columns
from fwcore.capture.chunk import Array, Chunk, Fault, Reader
from fwcore.errors import CaptureError
from fwcore.words import ICMP, ICMPV6, OTHER_SPELLINGS, PROTOCOLS, WITH_PORTS, nearest

Test = Callable[[Array], Array]
"""FRAME_DTYPE[n] -> bool[n]."""

IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
TOKEN = re.compile(r"[()!]|&&|\|\||[^\s()!&|]+|[&|]")
SIDES = {"src": ("source",), "dst": ("destination",), "": ("source", "destination")}
KNOWN = {"source": SOURCE, "destination": DESTINATION}
HALF = (1 << 64) - 1


def _protocol(number: int, kind: int | None = None) -> Test:
    """Frames of an IP protocol, of one IP version if ``kind`` names it."""
    def test(rows: Array) -> Array:
        found: Array = rows["protocol"] == number
        return found if kind is None else found & (rows["ethertype"] == kind)
    return test


def _network(kind: int) -> Test:
    """Frames of an ethertype."""
    def test(rows: Array) -> Array:
        found: Array = rows["ethertype"] == kind
        return found
    return test


WORDS: dict[str, Test] = {
    "ip": _network(IPV4), "ip6": _network(IPV6), "arp": _network(ARP),
    **{name: _protocol(number) for name, number in PROTOCOLS.items()},
    "icmp": _protocol(ICMP, IPV4),
    **dict.fromkeys(("icmpv6", *OTHER_SPELLINGS), _protocol(ICMPV6, IPV6)),
}


def _ports(number: int, ends: tuple[str, ...], protocols: tuple[int, ...]) -> Test:
    """Frames with a port at one of the ends."""
    def test(rows: Array) -> Array:
        known: Array = (rows["has"] & PORTS != 0) & np.isin(rows["protocol"], protocols)
        known &= np.any([rows[f"{end}_port"] == number for end in ends], axis=0)
        return known
    return test


def _addresses(network: ipaddress.IPv4Network | ipaddress.IPv6Network,
               ends: tuple[str, ...]) -> Test:
    """Frames with an address within a network at one of the ends."""
    wanted, mask = int(network.network_address), int(network.netmask)
    kinds = (IPV4, ARP) if network.version == 4 else (IPV6,)
    halves = [(at, np.uint64(wanted >> shift & HALF), np.uint64(mask >> shift & HALF))
              for at, shift in ((1, 0), (0, 64)) if mask >> shift & HALF]

    def within(address: Array) -> Array:
        found = np.ones(len(address), bool)
        for at, bits, masked in halves:
            found &= address[:, at] & masked == bits
        return found

    def test(rows: Array) -> Array:
        known: Array = np.isin(rows["ethertype"], kinds)
        known &= np.any(
            [(rows["has"] & KNOWN[end] != 0) & within(rows[end]) for end in ends], axis=0)
        return known
    return test


class Filter:
    """A compiled filter; call it with a chunk for a mask, bool[n]. Raises CaptureError."""

    def __init__(self, text: str) -> None:
        self.text = arguments.text("filter", text, CaptureError)
        self._tokens = [(found.group(), found.start()) for found in TOKEN.finditer(text)]
        self._i = 0
        self._test = self._chain()
        if self._i < len(self._tokens):
            raise self._error("expected 'and', 'or' or the end")

    def __call__(self, chunk: Chunk) -> Array:
        return self._test(parse_columns(chunk))

    def _peek(self) -> str:
        return self._tokens[self._i][0] if self._i < len(self._tokens) else ""

    def _take(self, *words: str) -> str:
        """The next word if it is one of these, else ""."""
        word = self._peek()
        if word and word in words:
            self._i += 1
            return word
        return ""

    def _error(self, expected: str, known: tuple[str, ...] = ()) -> CaptureError:
        """What is wrong with the next word, and what may have been meant."""
        word = self._peek()
        position = self._tokens[self._i][1] if word else len(self.text)
        found = f"{word!r}" if word else "the end"
        hint = nearest(word, known) if word else ""
        return CaptureError(
            f"filter {self.text!r}, position {position + 1}: {found}: {expected}{hint}")

    def _chain(self) -> Test:
        """One or more terms, joined from left to right."""
        test = self._term()
        while join := self._take("and", "&&", "or", "||"):
            test = _join(test, self._term(), join in ("and", "&&"))
        return test

    def _term(self) -> Test:
        if self._take("not", "!"):
            inner = self._term()
            return lambda rows: ~inner(rows)
        if self._take("("):
            inner = self._chain()
            if not self._take(")"):
                raise self._error("expected 'and', 'or' or ')'")
            return inner
        return self._primitive()

    def _primitive(self) -> Test:
        protocol = self._take(*WORDS)
        if protocol:
            ported = PROTOCOLS.get(protocol) in WITH_PORTS
            if not ported or self._peek() not in ("src", "dst", "port"):
                return WORDS[protocol]
            side = self._take("src", "dst")
            if not self._take("port"):
                raise self._error(f"expected 'port' after {protocol!r}")
            return _ports(self._port(), SIDES[side], (PROTOCOLS[protocol],))
        side = self._take("src", "dst")
        word = self._take("host", "net", "port")
        if word == "port":
            return _ports(self._port(), SIDES[side], WITH_PORTS)
        if word:
            return _addresses(self._address(word), SIDES[side])
        known = ("host", "net", "port", *(() if side else ("src", "dst", "not", *WORDS)))
        try:
            ipaddress.ip_address(self._peek())
        except ValueError:
            raise self._error("expected one of " + ", ".join(known), known) from None
        raise self._error(f"expected a word before an address; write 'host {self._peek()}'")

    def _port(self) -> int:
        word = self._peek()
        if not (word.isascii() and word.isdigit() and len(word) <= 5 and int(word) <= 65535):
            raise self._error("expected a port number, 0 to 65535")
        self._i += 1
        return int(word)

    def _address(self, word: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        text = self._peek()
        try:
            if word == "host":
                network: Any = ipaddress.ip_network(ipaddress.ip_address(text))
            else:
                network = ipaddress.ip_network(text)
        except ValueError as error:
            wanted = "an IPv4 or IPv6 address" if word == "host" else "a network such as 10.0.0.0/8"
            raise self._error(f"expected {wanted} ({error})") from None
        self._i += 1
        return network  # type: ignore[no-any-return]


def _join(left: Test, right: Test, both: bool) -> Test:
    if both:
        return lambda rows: left(rows) & right(rows)
    return lambda rows: left(rows) | right(rows)


class FilteredReader:
    """A reader of which only the frames that match are packets."""

    def __init__(self, inner: Reader, chosen: Filter) -> None:
        self.inner, self.filter = inner, chosen
        self.path, self.reader, self.format = inner.path, inner.reader, inner.format
        self.size_bytes = inner.size_bytes
        self.packets = 0

    @property
    def fault(self) -> Fault | None:
        """That of the capture: its ``packet`` counts the frames before it, matching or not."""
        return self.inner.fault

    @property
    def notes(self) -> list[str]:
        return getattr(self.inner, "notes", [])

    @property
    def position_bytes(self) -> int:
        return self.inner.position_bytes

    def __iter__(self) -> Iterator[Chunk]:
        self.packets = 0
        for chunk in self.inner:
            mask = self.filter(chunk)
            kept = chunk if mask.all() else chunk.select(mask)
            if len(kept):
                self.packets += len(kept)
                yield kept

    def close(self) -> None:
        self.inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
