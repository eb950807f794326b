"""A twin that speaks in names, for scenarios that are worked out by hand: test_reference*.py."""


import pytest
from frames import ethernet, ip, tcp as tcp_header, udp as udp_header

from fwcore import reference as twin
from fwcore.reference import (
    PAGE,
    Config,
    Firewall,
    parse,
    table,
)

S = 10**9
T0 = 1_700_000_000 * S
FIN, SYN, RST, ACK = 1, 2, 4, 16
A, B, C, X = "10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.1"


# --- Frames --------------------------------------------------------------------------------


def tcp(source, sport, destination, dport, flags, payload=0):
    return ethernet(ip(source, destination, 6, tcp_header(sport, dport, flags, payload)))


def udp(source, sport, destination, dport, payload=0):
    return ethernet(ip(source, destination, 17, udp_header(sport, dport, payload)))


def icmp(source, destination, kind, rest=b"\0\0\0\0", body=b""):
    return ethernet(ip(source, destination, 1, bytes([kind, 0, 0, 0]) + rest + body))


# --- A firewall that speaks in names -------------------------------------------------------


def plain(**settings):
    return Firewall(Config(**{"ram_bytes": 4 * PAGE, "max_connections": 8, "buckets": 1,
                              **settings}))


def send(firewall, frame, at=0.0, **more):
    """(verdict, reason) by name."""
    verdict, reason = firewall.packet(frame, T0 + round(at * S), **more)
    return twin.VERDICTS[verdict], twin.REASONS[reason]


def reasons(firewall, frames, at=0.0):
    return [send(firewall, frame, at)[1] for frame in frames]


def kinds(firewall):
    return [event["kind"] for event in firewall.events]


def modes(firewall):
    return [(row["packet"], row["time_ns"] - T0, row["cause"], row["from"], row["to"])
            for row in firewall.transitions]


def in_bucket(firewall, bucket, source=A, first_port=1000):
    """Frames of new UDP sessions that all hash to one bucket."""
    port = first_port
    while True:
        frame = udp(source, port, X, 53)
        key = parse(frame, len(frame), 1).key
        hashed = table.key_hash(key, firewall.hash_keys)
        if table.bucket_of(hashed, firewall.config.buckets) == bucket:
            yield frame
        port += 1


@pytest.fixture(autouse=True)
def books_balance(monkeypatch):
    """After every packet of every test: pages add up, sessions made = standing + ended."""
    packet = Firewall.packet

    def checked(self, *arguments, **more):
        result = packet(self, *arguments, **more)
        memory = self.memory
        assert memory.free + sum(memory.pages.values()) == memory.total
        assert min(memory.free, *memory.pages.values()) >= 0
        assert self.created == self.live + sum(self.ended.values())
        assert sum(self.reasons.values()) == sum(self.verdicts.values()) == self.packets
        held = sum(s.object.pages if s.object else 0 for s in self.sessions.values())
        proxied = sum(s.proxied for s in self.sessions.values())
        assert proxied == self.proxy_sessions
        assert memory.pages["shm"] == held + proxied * self.proxy_pages + self.script_shm
        exposed = sum(row["packets"] for row in self.exposure.values())
        assert exposed == self.verdicts["bypass"]
        return result

    monkeypatch.setattr(Firewall, "packet", checked)
