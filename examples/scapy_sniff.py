"""Scapy: a verdict for every packet of a capture, or of an interface (iface= for offline=)."""

import sys

from scapy.all import sniff

from fwcore import Engine

if len(sys.argv) != 2:
    sys.exit(f"usage: {sys.argv[0]} CAPTURE")
engine = Engine(seed="random")


def judge(packet):
    """One packet, with the bytes and the time that Scapy read."""
    verdict, reason = engine.judge(packet.original, int(packet.time * 10**9))
    print(verdict.name, reason.name, packet.summary())


sniff(offline=sys.argv[1], prn=judge, store=False, count=10)
