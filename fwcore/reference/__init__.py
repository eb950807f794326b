"""The twin: the whole firewall once more, in plain Python, slow and obvious.

It shares nothing with the rest of the package and is the oracle of the tests: the same
capture, settings and seed must give the same verdict for every packet, the same events and
the same counters here and in the fast path. Each file is one noun, read in this order:

    words, config       what things are called; every setting
    frame, packet       bytes, and what they say
    headers, transport  frame -> packet, or a reason
    table, policy, tcp  key -> bucket; packet -> policy; TCP states as a table
    session             what is remembered of traffic
    machines, gate      memory -> mode -> what a new session gets
    memory, leak        who owns the pages, and who loses them
    rows, meter         shaping: what is declared; how fast
    discard, shares     ways to drop; sub-queues of a class
    tree, link          classes and their colours; a line and who is served
    queues, shaping     what waits and leaves; a packet through all of it

and then the firewall, floor on floor, each a class that stands on the one before:

    state       everything it holds            inspection  objects, IPS, verdict
    ledger      what is written down           control     machines, gate, idledrop
    sessions    find, begin, end               script      pressure on memory
    eviction    room, pages, tension           clock       moments between packets
                                               firewall    a packet, step by step

                  +---------------- the next packet sees the new gate -----------------+
                  v                                                                    |
    frame -> moments due -> parse -> find -> admit -> insert -> objects, IPS -> verdict -> settle

Laws. One reason per packet. Capture time in integer nanoseconds is the only clock. Every page
has one owner: base + sessions + shm + cache + free = total. Every session ends for one cause.

Marks beside numbers: [C] Clavister article, [K] FortiGate KB 198580, [H] FortiOS 5 help,
[T] FortiOS 7 tuning guide, [R] public record, [D] decision of this project.
"""

from fwcore.reference.config import Config
from fwcore.reference.firewall import Firewall
from fwcore.reference.headers import parse
from fwcore.reference.packet import Key, Packet
from fwcore.reference.tcp import TCP_LETTERS, TCP_ROWS, TCP_TABLE
from fwcore.reference.words import (
    BYPASS,
    CAUSES,
    DROP,
    ENDS,
    FORWARD,
    INSPECT,
    PAGE,
    REASONS,
    VERDICTS,
)

__all__ = [
    "Config", "Firewall", "Packet", "Key", "parse",
    "FORWARD", "INSPECT", "BYPASS", "DROP", "VERDICTS", "REASONS", "CAUSES", "ENDS", "PAGE",
    "TCP_ROWS", "TCP_LETTERS", "TCP_TABLE",
]
