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

A filter is compiled once to functions of ``Fields`` and evaluated with NumPy, a chunk at a time.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Self

import numpy as np

from fwcore.capture.chunk import Array, Chunk, Fault, Reader
from fwcore.errors import CaptureError
from fwcore.words import ICMP, ICMPV6, OTHER_SPELLINGS, PROTOCOLS, WITH_PORTS, nearest

Test = Callable[["Fields"], Array]

IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
VLANS = (0x8100, 0x88A8, 0x9100)
MPLS = (0x8847, 0x8848)
PPPOE = 0x8864
RAW_LINKS = (12, 14, 101, 228, 229)
NULL_LINKS = (0, 108)
TYPED_LINKS = {1: (12, 14), 113: (14, 16), 276: (0, 20)}
"""Link type -> where its ethertype stands, and where what follows begins."""
TOKEN = re.compile(r"[()!]|&&|\|\||[^\s()!&|]+|[&|]")
SHIMS_MAX = 16
EXTENSIONS_MAX = 8
EXTENSIONS = (0, 43, 44, 51, 60, 135, 139, 140)
FRAGMENT, AUTHENTICATION = 44, 51
ADDRESSES = {IPV4: (12, 16), IPV6: (8, 24), ARP: (14, 24)}
"""Ethertype -> where source and destination address stand."""


class Fields:
    """Headers of the frames of a chunk, as far as a filter asks; arrays of length n."""

    def __init__(self, chunk: Chunk) -> None:
        self.data = chunk.data if len(chunk.data) else np.zeros(1, np.uint8)
        self.link = chunk.link
        self.begin = chunk.offset.astype(np.int64)
        self.end = self.begin + np.minimum(chunk.captured, chunk.length)

    def read(self, which: Array, at: Array, size: int) -> tuple[Array, Array]:
        """A big-endian number of ``size`` bytes (to 8) at absolute positions of the frames
        ``which`` (indices), and where it was captured; 0 where not."""
        there = at + size <= self.end[which]
        safe = np.where(there, at, 0)
        value = np.zeros(len(at), np.uint64)
        for i in range(size):
            byte = self.data[np.where(there, safe + i, 0)]
            value = (value << np.uint64(8)) | byte
        return np.where(there, value, np.uint64(0)), there

    @cached_property
    def network(self) -> tuple[Array, Array]:
        """Ethertype (0: none) and position of the network header, behind all shims."""
        kind = np.zeros(len(self.begin), np.int64)
        at = self.begin.copy()
        for link in np.unique(self.link):
            which = np.flatnonzero(self.link == link)
            kind[which], at[which] = self._after_link(int(link), which)
        for _ in range(SHIMS_MAX):
            which = np.flatnonzero(np.isin(kind, (*VLANS, *MPLS, PPPOE)))
            if not len(which):
                break
            kind[which], at[which] = self._after_shim(which, kind[which], at[which])
        return kind, at

    def _after_link(self, link: int, which: Array) -> tuple[Array, Array]:
        """Ethertype and position of what follows the link header of frames of one link type."""
        begin = self.begin[which]
        if link in TYPED_LINKS:
            type_at, size = TYPED_LINKS[link]
            return self.read(which, begin + type_at, 2)[0].astype(np.int64), begin + size
        if link in RAW_LINKS:
            return self._by_version(which, begin), begin
        if link in NULL_LINKS:
            family = self.read(which, begin, 4)[0]
            family = np.where(family < 1 << 16, family, family >> np.uint64(24))
            kind = np.where(family == 2, IPV4, np.where(np.isin(family, (10, 24, 28, 30)), IPV6, 0))
            return kind, begin + 4
        return np.zeros(len(which), np.int64), begin

    def _by_version(self, which: Array, at: Array) -> Array:
        """Ethertype by the first four bits of an IP header."""
        version = self.read(which, at, 1)[0] >> np.uint64(4)
        kind: Array = np.where(version == 4, IPV4, np.where(version == 6, IPV6, 0))
        return kind

    def _after_shim(self, which: Array, kind: Array, at: Array) -> tuple[Array, Array]:
        """Ethertype and position behind one VLAN tag, MPLS label or PPPoE header each."""
        tag = self.read(which, at + 2, 2)[0].astype(np.int64)
        bottom = (tag >> 8) & 1 == 1
        inner = np.where(bottom, self._by_version(which, at + 4), kind)
        ppp = self.read(which, at + 6, 2)[0]
        behind_ppp = np.where(ppp == 0x21, IPV4, np.where(ppp == 0x57, IPV6, 0))
        vlan, mpls = np.isin(kind, VLANS), np.isin(kind, MPLS)
        return (np.where(vlan, tag, np.where(mpls, inner, behind_ppp)),
                np.where(vlan | mpls, at + 4, at + 8))

    @cached_property
    def transport(self) -> tuple[Array, Array]:
        """IP protocol (-1: none) and position of the transport header (-1: none, a later
        fragment or a header that was not captured)."""
        kind, network = self.network
        protocol = np.full(len(kind), -1, np.int64)
        position = np.full(len(kind), -1, np.int64)
        v4 = np.flatnonzero(kind == IPV4)
        first = self.read(v4, network[v4], 1)[0].astype(np.int64)
        next_protocol, there = self.read(v4, network[v4] + 9, 1)
        later = self.read(v4, network[v4] + 6, 2)[0].astype(np.int64) & 0x1FFF != 0
        sound = there & (first >> 4 == 4) & (first & 15 >= 5)
        protocol[v4] = np.where(sound, next_protocol.astype(np.int64), -1)
        position[v4] = np.where(sound & ~later, network[v4] + 4 * (first & 15), -1)
        v6 = np.flatnonzero(kind == IPV6)
        protocol[v6], position[v6] = self._after_extensions(v6, network[v6])
        return protocol, position

    def _after_extensions(self, which: Array, network: Array) -> tuple[Array, Array]:
        """Protocol and transport position behind the extension headers of IPv6."""
        first = self.read(which, network, 1)[0]
        number, there = self.read(which, network + 6, 1)
        protocol = np.where(there & (first >> np.uint64(4) == 6), number.astype(np.int64), -1)
        at = network + 40
        later = np.zeros(len(which), bool)
        for _ in range(EXTENSIONS_MAX):
            more = np.flatnonzero(np.isin(protocol, EXTENSIONS) & ~later)
            if not len(more):
                break
            head, there = self.read(which[more], at[more], 4)
            now, size = protocol[more], (head >> np.uint64(16)).astype(np.int64) & 0xFF
            later[more] = (now == FRAGMENT) & (head.astype(np.int64) & 0xFFF8 != 0)
            step = np.where(now == FRAGMENT, 8,
                            np.where(now == AUTHENTICATION, 4 * (size + 2), 8 * (size + 1)))
            protocol[more] = np.where(there, (head >> np.uint64(24)).astype(np.int64), -1)
            at[more] += step
        return protocol, np.where(later | (protocol < 0), -1, at)


def _protocol(number: int, kind: int | None = None) -> Test:
    """Frames of an IP protocol, of one IP version if ``kind`` names it."""
    def test(fields: Fields) -> Array:
        found: Array = fields.transport[0] == number
        return found if kind is None else found & (fields.network[0] == kind)
    return test


def _network(kind: int) -> Test:
    """Frames of an ethertype."""
    return lambda fields: fields.network[0] == kind


WORDS: dict[str, Test] = {
    "ip": _network(IPV4), "ip6": _network(IPV6), "arp": _network(ARP),
    **{name: _protocol(number) for name, number in PROTOCOLS.items()},
    "icmp": _protocol(ICMP, IPV4),
    **dict.fromkeys(("icmpv6", *OTHER_SPELLINGS), _protocol(ICMPV6, IPV6)),
}


def _ports(number: int, ends: tuple[int, ...], protocols: tuple[int, ...]) -> Test:
    """Frames with a port; ``ends`` are 0 for the source, 1 for the destination."""
    def test(fields: Fields) -> Array:
        protocol, position = fields.transport
        which = np.flatnonzero(np.isin(protocol, protocols) & (position >= 0))
        found = np.zeros(len(protocol), bool)
        for end in ends:
            value, there = fields.read(which, position[which] + 2 * end, 2)
            found[which] |= there & (value == number)
        return found
    return test


def _addresses(network: ipaddress.IPv4Network | ipaddress.IPv6Network,
               ends: tuple[int, ...]) -> Test:
    """Frames with an address within a network."""
    size = network.max_prefixlen // 8
    parts = range(0, size, 8) if size == 16 else (0,)
    width = min(size, 8)
    wanted, mask = int(network.network_address), int(network.netmask)
    low = (1 << 8 * width) - 1

    def test(fields: Fields) -> Array:
        kind, at = fields.network
        found = np.zeros(len(kind), bool)
        for number in (IPV4, ARP) if size == 4 else (IPV6,):
            which = np.flatnonzero(kind == number)
            for end in ends:
                match = np.ones(len(which), bool)
                for part in parts:
                    shift = 8 * (size - width - part)
                    value, there = fields.read(
                        which, at[which] + ADDRESSES[number][end] + part, width)
                    match &= there & (value & np.uint64(mask >> shift & low)
                                      == np.uint64(wanted >> shift & low))
                found[which] |= match
        return found
    return test


class Filter:
    """A compiled filter; call it with a chunk for a mask, bool[n]. Raises CaptureError."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = [(found.group(), found.start()) for found in TOKEN.finditer(text)]
        self._i = 0
        self._test = self._chain()
        if self._i < len(self._tokens):
            raise self._error("expected 'and', 'or' or the end")

    def __call__(self, chunk: Chunk) -> Array:
        return self._test(Fields(chunk))

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
            return lambda fields: ~inner(fields)
        if self._take("("):
            inner = self._chain()
            if not self._take(")"):
                raise self._error("expected 'and', 'or' or ')'")
            return inner
        return self._primitive()

    def _primitive(self) -> Test:
        protocol = self._take(*WORDS)
        ends = {"src": (0,), "dst": (1,), "": (0, 1)}
        if protocol:
            ported = PROTOCOLS.get(protocol) in WITH_PORTS
            if not ported or self._peek() not in ("src", "dst", "port"):
                return WORDS[protocol]
            side = self._take("src", "dst")
            if not self._take("port"):
                raise self._error(f"expected 'port' after {protocol!r}")
            return _ports(self._port(), ends[side], (PROTOCOLS[protocol],))
        side = self._take("src", "dst")
        word = self._take("host", "net", "port")
        if word == "port":
            return _ports(self._port(), ends[side], WITH_PORTS)
        if word:
            return _addresses(self._address(word), ends[side])
        known = ("host", "net", "port", *(() if side else ("src", "dst", "not", *WORDS)))
        try:
            ipaddress.ip_address(self._peek())
        except ValueError:
            raise self._error("expected one of " + ", ".join(known), known) from None
        raise self._error(f"expected a word before an address; write 'host {self._peek()}'")

    def _port(self) -> int:
        word = self._peek()
        if not (word.isascii() and word.isdigit() and int(word) <= 65535):
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
        return lambda fields: left(fields) & right(fields)
    return lambda fields: left(fields) | right(fields)


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
