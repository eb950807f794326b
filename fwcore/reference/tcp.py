"""TCP: (state, direction, class of flags) -> state, and which timeout a session has."""

from __future__ import annotations

from fwcore.reference.packet import FLAG_CLASSES

HALF_OPEN = ("SYN_SENT", "SYN_RECV", "SYN_SENT2")
CLOSING = ("TIME_WAIT", "CLOSED")

TCP_START = {
    "forward": {"SYN": "SYN_SENT", "FIN": "FIN_WAIT", "ACK": "ESTABLISHED", "RST": "CLOSED",
                "NONE": "ESTABLISHED"},
    "reply": {"SYNACK": "SYN_RECV", "FIN": "FIN_WAIT_REPLY", "ACK": "ESTABLISHED",
              "RST": "CLOSED", "NONE": "ESTABLISHED"},
}
"""A first packet by its direction: a SYN is the initiator's, a SYN+ACK the responder's."""

# (state, direction) -> the next state in the columns of FLAG_CLASSES; "-" is illegal.
#   S SYN_SENT  R SYN_RECV  E ESTABLISHED  F FIN_WAIT (initiator's FIN)
#   G FIN_WAIT_REPLY (responder's FIN)  T TIME_WAIT  C CLOSED
TCP_ROWS = {
    #                             SYN  SYNACK FIN  ACK  RST  NONE
    ("SYN_SENT", "forward"):       "S   -      -    -    C    -",
    ("SYN_SENT", "reply"):         "R   R      -    -    C    -",
    ("SYN_RECV", "forward"):       "R   R      F    E    C    -",
    ("SYN_RECV", "reply"):         "R   R      G    R    C    -",
    ("ESTABLISHED", "forward"):    "-   -      F    E    C    -",
    ("ESTABLISHED", "reply"):      "-   E      G    E    C    -",
    ("FIN_WAIT", "forward"):       "-   -      F    F    C    -",
    ("FIN_WAIT", "reply"):         "-   -      T    F    C    -",
    ("FIN_WAIT_REPLY", "forward"): "-   -      T    G    C    -",
    ("FIN_WAIT_REPLY", "reply"):   "-   -      G    G    C    -",
    ("TIME_WAIT", "forward"):      "-   -      T    T    C    -",
    ("TIME_WAIT", "reply"):        "-   -      T    T    C    -",
    ("CLOSED", "forward"):         "-   -      C    C    C    -",
    ("CLOSED", "reply"):           "-   -      C    C    C    -",
}
TCP_LETTERS = {
    "-": None, "S": "SYN_SENT", "R": "SYN_RECV", "E": "ESTABLISHED", "F": "FIN_WAIT",
    "G": "FIN_WAIT_REPLY", "T": "TIME_WAIT", "C": "CLOSED",
}
TCP_TABLE = {
    (state, direction, flags): TCP_LETTERS[letter]
    for (state, direction), row in TCP_ROWS.items()
    for flags, letter in zip(FLAG_CLASSES, row.split(), strict=True)
}

TIMEOUT_SETTING = {
    "SYN_SENT": "tcp_halfopen_s", "SYN_RECV": "tcp_halfopen_s", "ESTABLISHED": "tcp_s",
    "FIN_WAIT": "tcp_halfclose_s", "FIN_WAIT_REPLY": "tcp_halfclose_s",
    "TIME_WAIT": "tcp_timewait_s", "CLOSED": "tcp_rst_s",
    "udp": "udp_s", "icmp": "icmp_s", "sctp": "other_s", "other": "other_s",
}
