"""The trade's words, each once: protocols, inspection classes, owners of memory, modes.

Everything may import this file; it imports nothing of the package. The twin has its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

# --- protocols -----------------------------------------------------------------------------------

PROTOCOLS: Final[Mapping[str, int]] = {
    "icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58,
    "ospf": 89, "sctp": 132,
}  # fmt: skip
"""IP protocol numbers by the name that a policy, a flow or a look-up may use."""
OTHER_SPELLINGS: Final[Mapping[str, str]] = {"icmp6": "icmpv6", "ipv6-icmp": "icmpv6"}
TCP: Final = PROTOCOLS["tcp"]
UDP: Final = PROTOCOLS["udp"]
SCTP: Final = PROTOCOLS["sctp"]
ICMP: Final = PROTOCOLS["icmp"]
ICMPV6: Final = PROTOCOLS["icmpv6"]
WITH_PORTS: Final = (TCP, UDP, SCTP)
# As a key is written: the notation of flows has icmp6, and numbers for what is rare.
_IN_KEYS: Final[Mapping[int, str]] = {
    ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmp6", SCTP: "sctp",
}  # fmt: skip


def protocol_number(name: object) -> int:
    """The IP protocol of a name, of a number, or of a number as text.

    Raises ValueError, which says what would do.
    """
    word = "" if isinstance(name, bool) else str(name).strip().lower()
    word = OTHER_SPELLINGS.get(word, word)
    if word in PROTOCOLS:
        return PROTOCOLS[word]
    if word.isascii() and word.isdecimal() and len(word) <= 3 and int(word) <= 255:
        return int(word)
    raise ValueError(
        f"protocol {name!r} is unknown{nearest(word, PROTOCOLS)}; allowed: {', '.join(PROTOCOLS)},"
        " or a number from 0 to 255")


def protocol_text(number: int) -> str:
    """How a key spells a protocol: ``tcp``, ``icmp6``, ``47``."""
    return _IN_KEYS.get(number, str(number))


# --- inspection, memory, modes -------------------------------------------------------------------

FLOW: Final = 1
PROXY: Final = 2
CLASSES: Final = ("none", "flow", "proxy", "flow+proxy")
"""Inspection classes; the index is flow 1 | proxy 2 (semantics 9)."""

OWNERS: Final = ("base", "sessions", "shm", "cache")
"""Who owns pages; what nobody owns is free."""

OFF: Final = "off"
ON: Final = "on"
EXTREME: Final = "extreme"
MODES: Final = (OFF, ON, EXTREME)
"""Modes of conserve machines, mildest first; the index is the mode's number."""

# --- words that were probably meant --------------------------------------------------------------


def spelled(name: str) -> str:
    """A name as it is written here: vendors write ``av-failopen`` for ``av_failopen``."""
    return name.replace("-", "_")


def near(name: object, names: Iterable[str]) -> str | None:
    """The one of ``names`` that comes nearest to what was written, or None."""
    by_spelling = {spelled(each).lower(): each for each in names}
    word = spelled(str(name)[:100].lower())
    import difflib  # when something is amiss

    found = difflib.get_close_matches(word, list(by_spelling), n=1, cutoff=0.6)
    return by_spelling[found[0]] if found else None


def cut(text: str, most: int = 80) -> str:
    """A text in a message: whole, or so much of its beginning and ``...``."""
    return text if len(text) <= most else text[:most] + "..."


def nearest(name: object, names: Iterable[str]) -> str:
    """``; did you mean "x"?`` or nothing: the end of a refusal."""
    found = near(name, names)
    return f'; did you mean "{found}"?' if found else ""
