"""Connection tracking as Linux 6.18 does it (nf_conntrack_proto_tcp.c and its neighbours) [R].

A table and five rules beside it, each where the kernel has it. What the kernel takes from sequence
numbers is not here; docs/rules.md says what that costs.
"""

from __future__ import annotations

from fwcore.reference.packet import FLAG_CLASSES, Packet
from fwcore.reference.session import Session
from fwcore.reference.words import SECOND

# (state, direction) -> the next state in the columns of FLAG_CLASSES.
#   - invalid: nothing changes            = ignored: the packet passes, the timer is not restarted
#   n a SYN that makes the session anew, or is ignored: see `reopens`
#   S SYN_SENT  2 SYN_SENT2 (SYN from both sides)  R SYN_RECV  E ESTABLISHED  F FIN_WAIT
#   W CLOSE_WAIT  L LAST_ACK  T TIME_WAIT  C CLOSED
LINUX_ROWS = {
    #                          SYN  SYNACK FIN  ACK  RST  NONE
    ("SYN_SENT", "forward"):    "S   -      -    -    C    -",
    ("SYN_SENT", "reply"):      "2   R      -    =    C    -",
    ("SYN_SENT2", "forward"):   "2   R      -    -    C    -",
    ("SYN_SENT2", "reply"):     "2   R      -    =    C    -",
    ("SYN_RECV", "forward"):    "=   R      F    E    C    -",
    ("SYN_RECV", "reply"):      "-   =      F    R    C    -",
    ("ESTABLISHED", "forward"): "=   -      F    E    C    -",
    ("ESTABLISHED", "reply"):   "-   =      F    E    C    -",
    ("FIN_WAIT", "forward"):    "=   -      L    W    C    -",
    ("FIN_WAIT", "reply"):      "-   =      L    W    C    -",
    ("CLOSE_WAIT", "forward"):  "=   -      L    W    C    -",
    ("CLOSE_WAIT", "reply"):    "-   =      L    W    C    -",
    ("LAST_ACK", "forward"):    "=   -      L    T    C    -",
    ("LAST_ACK", "reply"):      "-   =      L    T    C    -",
    ("TIME_WAIT", "forward"):   "n   -      T    T    C    -",
    ("TIME_WAIT", "reply"):     "n   =      T    T    C    -",
    ("CLOSED", "forward"):      "n   -      C    C    C    -",
    ("CLOSED", "reply"):        "-   =      C    C    C    -",
}
LINUX_LETTERS = {
    "-": "invalid", "=": "ignored", "n": "again", "S": "SYN_SENT", "2": "SYN_SENT2",
    "R": "SYN_RECV", "E": "ESTABLISHED", "F": "FIN_WAIT", "W": "CLOSE_WAIT", "L": "LAST_ACK",
    "T": "TIME_WAIT", "C": "CLOSED",
}
LINUX_TABLE = {
    (state, direction, flags): LINUX_LETTERS[letter]
    for (state, direction), row in LINUX_ROWS.items()
    for flags, letter in zip(FLAG_CLASSES, row.split(), strict=True)
}
LINUX_START = {"SYN": "SYN_SENT", "ACK": "ESTABLISHED"}
"""Only these open an entry; any other first packet is invalid."""

LINUX_TIMEOUTS = {
    "SYN_SENT": "tcp_halfopen_s", "SYN_SENT2": "tcp_halfopen_s", "SYN_RECV": "tcp_synrecv_s",
    "ESTABLISHED": "tcp_s", "FIN_WAIT": "tcp_halfclose_s", "CLOSE_WAIT": "tcp_closewait_s",
    "LAST_ACK": "tcp_lastack_s", "TIME_WAIT": "tcp_timewait_s", "CLOSED": "tcp_rst_s",
    "udp": "udp_s", "udp stream": "udp_stream_s", "gre": "gre_s", "gre stream": "gre_stream_s",
    "icmp": "icmp_s", "sctp": "other_s", "other": "other_s", "unanswered": "tcp_unanswered_s",
}
"""Timeouts by state or protocol; "unanswered" is a TCP session that began with ACK."""

UDP_STREAM_NS = 2 * SECOND
"""UDP is a stream, and assured, when a packet comes later than this after the first."""
COLLECTOR_NS = 60 * SECOND
"""Distance of the collector's passes: gc_worker's longest, which it takes below 14 million
sessions, whatever their timeouts."""
GRE = 47

CLOSING_LINUX = ("FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSED")
"""tcp_can_early_drop: the collector takes these although they are assured."""

# ICMP: request -> reply. Only requests open an entry; a reply belongs to its request's.
ICMP_PAIRS = {4: {8: 0, 13: 14, 15: 16, 17: 18}, 6: {128: 129, 139: 140}}
ICMP_REPLIES = {family: {reply: request for request, reply in pairs.items()}
                for family, pairs in ICMP_PAIRS.items()}
ICMP_UNTRACKED = {4: (), 6: (130, 131, 132, 133, 134, 135, 136, 143)}
"""Neighbour discovery and multicast listeners: they pass and make no entry."""


def reopens(session: Session, direction: str, flags: str) -> bool:
    """A SYN makes a session anew in TIME_WAIT, or in CLOSED when a FIN had been seen, or right
    after a RST of the same side; any other is ignored."""
    if LINUX_TABLE[session.state, direction, flags] != "again":
        return False
    return session.closing or session.last == ("RST", direction)


def tcp_step(session: Session, direction: str, flags: str) -> str:
    """Move the session: "invalid", "ignored", "kept" (no new deadline), "gone", or "moved"."""
    old = session.state
    new = LINUX_TABLE[old, direction, flags]
    if new == "invalid":
        return new
    if new in ("ignored", "again"):
        in_step = flags == "SYNACK" and session.last[0] == "SYN" and session.last[1] != direction
        if not in_step:
            return tcp_ignored(session, direction, flags)
        old, new = "SYN_SENT", "SYN_RECV"  # both ends agree, the firewall did not
        session.closing = session.challenge = False
    challenged = session.challenge and session.last == ("SYN", "forward")
    if new == "TIME_WAIT" and old == "LAST_ACK" and challenged and direction == "reply":
        session.challenge = False  # an answer to the SYN, not to the last FIN
        return "ignored"
    if new == "SYN_SENT2":
        session.both = True
    if new == "SYN_RECV" and direction == "reply" and flags == "ACK" and session.both:
        new = "ESTABLISHED"
    session.last = (flags, direction)
    session.closing |= new == "FIN_WAIT" and old != new
    session.state = new
    if not session.answered:
        if flags == "RST":
            return "gone"
        return "kept" if flags == "SYN" and old == "SYN_SENT" and new == old else "moved"
    session.assured |= old in ("SYN_RECV", "ESTABLISHED") and new == "ESTABLISHED"
    return "moved"


def opens_nothing(packet: Packet, flags: str) -> str:
    """The reason why a first packet opens no entry in Linux; empty when it does."""
    if flags and flags not in LINUX_START:
        return "tcp_invalid"
    if packet.transport == "icmp" and packet.icmp_type not in ICMP_PAIRS[packet.family]:
        return "icmp_orphan"
    return ""


def tcp_ignored(session: Session, direction: str, flags: str) -> str:
    """The packet passes; what it was is remembered."""
    session.last = (flags, direction)
    if flags == "SYN" and direction == "forward":
        session.challenge = session.state == "LAST_ACK"
        session.both = False
    return "ignored"


def timeout_of(session: Session, now: int) -> str:
    """The row of LINUX_TIMEOUTS after a packet that restarts the timer; assures streams.

    Whether an answer was seen counts as of before the packet.
    """
    if session.transport == "tcp":
        alone = session.state == "ESTABLISHED" and not session.answered
        return "unanswered" if alone else session.state
    if session.transport == "udp":
        if session.answered and now - session.created_ns > UDP_STREAM_NS:
            session.assured = True
            return "udp stream"
    elif session.key.protocol == GRE:
        session.assured |= session.answered
        return "gre stream" if session.answered else "gre"
    return session.transport
