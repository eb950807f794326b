"""A case from a source of randomness: settings, then steps.

The source is a ``random.Random``; a fuzzer gives one that is fed from its bytes. Settings begin
with some that reach every mode with few packets (little RAM, small tables); then others are drawn
over them from the whole range that their declaration allows, both ends most often.
"""

from __future__ import annotations

import functools
from pathlib import Path
from random import Random
from typing import Any

from frames import WAYS, echo, icmp_error, ip, sctp, tcp, travelling, udp

from fwcore.capture import open_capture
from fwcore.errors import SettingsError
from fwcore.settings import DECLARATIONS, Timeouts, load, personalities
from simulation.case import Case, Step
from simulation.shaping import shaping

PCAPS = Path(__file__).resolve().parent.parent.parent / "pcaps"
PAGE = 4096
SECOND = 10**9
YEARS_100 = 100 * 365 * 86400 * SECOND
TIME_MAX = 2**62
HOSTS = (("10.0.0.1", "10.0.0.2", "10.0.1.3", "192.0.2.9"),
         ("2001:db8::1", "2001:db8::2", "2001:db8:1::3", "2001:db8:9::9"))
PORTS = (80, 443, 53, 1000, 1001, 1002, 65535)
TCP_FLAGS = ("S", "S", "S", "SA", "A", "A", "PA", "FA", "R", "RA", "F", "", "SF", "SR")
PAYLOADS = (0, 0, 1, 100, 1400, 4096, 9000, 65000)
KINDS = ("tcp", "tcp", "tcp", "tcp", "udp", "udp", "echo", "gre", "sctp", "error", "first", "later")
STEPS_NS = (0, 0, 1, 1000, 10**6, 4 * 10**8, SECOND, SECOND, 3 * SECOND, 12 * SECOND, 70 * SECOND)
STARTS_NS = (0, 1, 10**18, 1_700_000_000 * SECOND, TIME_MAX - YEARS_100, TIME_MAX)
SWEEPS_S = (0.001, 0.02, 1, 1, 7)
# What this machine holds in memory; what they mean is the same with fewer.
MOST = {"max_connections": 4096, "licence_connections": 4096, "buckets": 4096,
        "victims_max": 4096, "fragments_max": 4096}
LEAKED_PAGES = 2000
SOFT = ("av_failopen", "av_failopen_session", "ips_fail_open", "ips_trigger", "ips_socket_bytes",
        "ips_throughput_bps", "extreme_scope", "memory_use_threshold_green",
        "memory_use_threshold_red", "memory_use_threshold_extreme", "idledrop_variant",
        "idledrop_idle_s", "kernel_mode", "lowmem", "sip_alg", "proxy_max_sessions",
        "oversize_bytes", "cache_limit_bytes", "config_freeze", "midstream", "midstream_grace_s",
        "half_open_limit", "sessions_per_host", "non_ip", "orphan_fragments", "posture",
        "max_step_s",
        *Timeouts.names())


# --- one value ----------------------------------------------------------------------------------


def whole(rng: Random, low: int, high: int) -> int:
    """A number of [low, high]: one of its ends, or any order of magnitude between."""
    pick = rng.randrange(16)
    if pick < 2:
        return (low, high)[pick]
    if pick < 4:
        return min(high, low + 1) if pick == 2 else max(low, high - 1)
    span = high - low
    return low + min(span, rng.getrandbits(rng.randrange(1, max(2, span.bit_length() + 1))))


def seconds(rng: Random, low: float, high: float) -> float:
    """A time of [low, high] in seconds: an end, a whole number, or nanoseconds."""
    pick = rng.randrange(8)
    if pick < 2:
        return (low, high)[pick]
    if pick < 5:
        return whole(rng, int(low) + (low > int(low)), int(high))
    return min(high, max(low, whole(rng, 0, 10**9) / rng.choice((1, 1000, 10**6, 10**9))))


def value_of(rng: Random, declaration: Any) -> Any:
    """Any value that a setting's declaration allows."""
    if declaration.words and not rng.randrange(8):
        return rng.choice([word for word in declaration.words if word != "random"] or [0])
    if declaration.kind == "name":
        return rng.choice(personalities())
    if declaration.kind == "choice":
        return rng.choice(declaration.choices)
    if declaration.kind == "choices":
        return [name for name in declaration.choices if rng.randrange(2)]
    if declaration.kind == "bool":
        return bool(rng.randrange(2))
    if declaration.kind == "seconds":
        return seconds(rng, declaration.low, declaration.high)
    high = min(declaration.high, MOST.get(declaration.name, declaration.high))
    return whole(rng, declaration.low, high)


BY_NAME = {declaration.name: declaration for declaration in DECLARATIONS}


# --- settings -----------------------------------------------------------------------------------


def table(rng: Random) -> dict[str, Any]:
    """A small table, so that it fills and buckets chain."""
    chosen = {
        "max_connections": rng.choice((1, 4, 8, 16, 64, 300)),
        "buckets": rng.choice((1, 2, 5, 8, 64)),
        "seed": rng.randrange(4), "sweep_s": rng.choice(SWEEPS_S),
        "timeline_interval_s": rng.choice((0, 0.001, 0.3, 1, 2, 7, 10**9)),
        "fragments_max": rng.choice((1, 2, 1024)), "victims_max": rng.choice((1, 3, 1000)),
        "zone": rng.choice(("none", "vlan")),
        "half_open_limit": rng.choice((0, 0, 0, 2)), "sessions_per_host": rng.choice((0, 0, 0, 3)),
    }
    for name in ("when_full", "midstream"):
        if rng.randrange(2):
            chosen[name] = value_of(rng, BY_NAME[name])
    return chosen


def memory(rng: Random) -> dict[str, Any]:
    """Little RAM, so that conserve mode is some packets away."""
    pages = rng.randrange(60, 121)
    chosen = {
        "ram_bytes": pages * PAGE, "base_bytes": rng.randrange(10, 51) * PAGE,
        "accounting": rng.choice(("slab", "slab", "slab", "preallocated")),
        "session_bytes": rng.choice((100, 1024, 2000, 4096, 9000)),
        "machine": rng.choice(("unified", "unified", "fortios-5", "kernel+proxy", "none")),
        "av_failopen": rng.choice(("pass", "off", "one-shot", "idledrop")),
        "ips_fail_open": bool(rng.randrange(2)),
        "ips_socket_bytes": rng.choice((2000, 10_000, 64 << 20)),
        "ips_throughput_bps": rng.choice((0, 8000, 1_000_003)),
        "shm_limit_bytes": rng.choice((4, 12, 40)) * PAGE,
        "proxy_max_sessions": rng.choice((1, 2, 50)),
        "proxy_session_bytes": rng.choice((0, PAGE, 16384)),
        "oversize_bytes": rng.choice((1, 5000, 10 << 20)),
        "cache_limit_bytes": rng.choice((0, 0, 3 * PAGE, 10 * PAGE)),
        "model_bytes": rng.choice((512 << 20, 1 << 30)),
    }
    if rng.randrange(8) == 0:  # sizes for which the KB has rows
        chosen |= {"ram_bytes": 1 << 30, "base_bytes": (1 << 30) - (260 << 20),
                   "session_bytes": 4 << 20, "machine": "kernel+proxy", "cache_limit_bytes": 0}
    if chosen["accounting"] == "preallocated":
        chosen["session_bytes"] = 100
    if chosen["machine"] != "unified":
        chosen["cache_limit_bytes"] = 0
    return chosen


def policies(rng: Random) -> list[dict[str, Any]]:
    rows = []
    for number in range(rng.choice((0, 1, 1, 2, 4))):
        row: dict[str, Any] = {
            "id": number + 1,
            "source": rng.choice(("any", "any", ["10.0.0.0/24"], ["10.0.0.1/32", "2001:db8::/64"])),
            "destination": rng.choice(("any", "any", ["192.0.2.0/24", "2001:db8:9::/48"])),
            "protocol": rng.choice(("any", "any", "tcp", "udp", 47)),
            "action": rng.choice(("accept", "accept", "accept", "accept", "deny", "local")),
            "inspection": rng.choice(("none", "flow", "proxy", "flow+proxy", ["antivirus", "ips"])),
        }
        if row["protocol"] != 47 and rng.randrange(3) == 0:
            row["ports"] = rng.choice(([80], ["50-500"], ["0-65535"]))
        if rng.randrange(6) == 0:
            row["zone"] = rng.choice((0, 7))
        rows.append(row)
    return rows


def pressure(rng: Random) -> list[dict[str, Any]]:
    rows = []
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        kind = rng.randrange(5)
        at_s = rng.choice((0.0, 0.4, 1.0, 1.5, 2.5, 12.0, seconds(rng, 0, 10**9)))
        owner = rng.choice(("base", "shm"))
        if kind < 2:
            pages = rng.choice((-30, -3, 5, 10, 30, 60, whole(rng, 1, 1 << 38)))
            rows.append({"at_s": at_s, "owner": owner, "add_bytes": pages * PAGE})
        elif kind == 2:
            rate = rng.choice((1000, 4096, 50_000, whole(rng, 1, 1 << 50)))
            rows.append({"at_s": at_s, "owner": owner, "leak_bytes_per_s": rate})
        else:
            rows.append({("fail_every", "fail_nth")[kind - 3]: rng.randrange(1, 9)})
    return rows


def settings(rng: Random) -> dict[str, Any]:
    """Arguments of ``fwcore.load`` that are allowed together."""
    chosen = {"personality": rng.choice(personalities()), **table(rng)}
    if rng.randrange(4):
        chosen |= memory(rng)
    chosen |= {"policies": policies(rng), "pressure": pressure(rng)}
    wild = rng.choice((0, 2, 8, 40))
    bold = {row.name: value_of(rng, row) for row in rng.sample(DECLARATIONS, wild)
            if row.name != "personality"}
    while bold and not loads(chosen | bold):  # half of them may be allowed where all are not
        bold = dict(rng.sample(list(bold.items()), len(bold) // 2))
    chosen |= bold
    if rng.randrange(3) == 0:
        shaped = chosen | shaping(rng) | rng.choice((
            {}, {}, {"queue_accounting": "bytes"}, {"queue_packets_max": rng.choice((1, 5))}))
        chosen = shaped if loads(shaped) else chosen
    return fitting(chosen) if loads(chosen) else {"personality": "plain", **table(rng)}


def fitting(chosen: dict[str, Any]) -> dict[str, Any]:
    """Without leaks where RAM is large: the twin would take its pages one by one."""
    if load(**chosen).total_pages <= LEAKED_PAGES:
        return chosen
    return chosen | {"pressure": [row for row in chosen["pressure"]
                                  if "leak_bytes_per_s" not in row]}


def loads(chosen: dict[str, Any]) -> bool:
    try:
        return load(**chosen).max_connections <= MOST["max_connections"]
    except SettingsError:
        return False


# --- packets ------------------------------------------------------------------------------------


@functools.cache
def golden() -> list[tuple[bytes, int, int]]:
    """(frame, wire length, link) of the golden captures, some of each."""
    found = []
    for path in sorted(PCAPS.glob("*.pcap*")):
        with open_capture(str(path)) as reader:
            for chunk in reader:
                step = max(1, len(chunk) // 20)
                found += [(chunk.frame(i)[:200], int(chunk.length[i]), int(chunk.link[i]))
                          for i in range(0, len(chunk), step)]
    return found


def transport(rng: Random, six: bool) -> bytes:
    """One IP packet between a few hosts, in either direction."""
    hosts = HOSTS[six]
    ends = (hosts[rng.randrange(4)], hosts[rng.randrange(4)])
    ports = (rng.choice(PORTS), rng.choice(PORTS))
    kind, payload = rng.choice(KINDS), rng.choice(PAYLOADS[:-1] if six else PAYLOADS)
    if kind == "tcp":
        return ip(*ends, 6, tcp(*ports, rng.choice(TCP_FLAGS), payload))
    if kind == "udp":
        return ip(*ends, 17, udp(*ports, payload))
    if kind == "sctp":
        return ip(*ends, 132, sctp(*ports, payload))
    if kind == "echo":
        return ip(*ends, 58 if six else 1, echo(ports[0], bool(rng.randrange(2)), 6 if six else 4))
    if kind == "gre":
        return ip(*ends, rng.choice((47, 50, 0, 2, 89)) if not six else 47, bytes(payload % 50))
    if kind == "error":
        quoted = ip(*ends, rng.choice((6, 17)), udp(*ports))
        return ip(ends[1], ends[0], 58 if six else 1,
                  icmp_error(quoted, rng.choice((1, 2, 3)) if six else rng.choice((3, 5, 11))))
    identifier = rng.randrange(3)
    if kind == "first":
        body = udp(*ports, 16) if rng.randrange(2) else tcp(*ports, "S", rng.randrange(2) * 8)
        return ip(*ends, rng.choice((17, 6)), body, more=True, identifier=identifier)
    return ip(*ends, 17, bytes(24), fragment=3, identifier=identifier)


def frame(rng: Random) -> tuple[bytes, int, int]:
    """(captured bytes, wire length, link type); now and then cut, damaged or offloaded."""
    if rng.randrange(6) == 0:
        data, wire, link = rng.choice(golden())
    else:
        packet = transport(rng, rng.randrange(3) == 0)
        data, link = travelling(packet, "ethernet" if rng.randrange(3) else rng.choice(list(WAYS)))
        wire = len(data)
    data = data[:rng.choice((70, 100, 200))]
    odd = rng.randrange(24)
    if odd == 0 and data:
        changed = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        data = bytes(changed)
    elif odd == 1:
        data = data[:rng.randrange(len(data) + 1)]
    elif odd == 2:
        wire = rng.choice((0, 1, len(data), 2**16, 2**31, 2**32 - 1, whole(rng, 0, 2**32 - 1)))
    elif odd == 3 and data[12:14] == b"\x08\x00":  # IPv4 length 0: offload, the wire length counts
        data = data[:16] + b"\0\0" + data[18:]
        wire = rng.choice((len(data), 2**16, 2**32 - 1))
    elif odd == 4:
        link = rng.choice((0, 1, 12, 101, 105, 108, 113, 228, 229, 276, 65535))
    return data, wire, link


class Clock:
    """Times that mostly creep, sometimes leap, sometimes go back."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.now = rng.choice(STARTS_NS)
        self.leaps = rng.choice((0, 0, 60, 10))  # one packet in so many

    def next(self) -> int:
        rng = self.rng
        if self.leaps and rng.randrange(self.leaps) == 0:
            step = whole(rng, 1, YEARS_100)
        elif rng.randrange(30) == 0:
            step = -whole(rng, 1, rng.choice((SECOND, YEARS_100)))
        else:
            step = rng.choice(STEPS_NS)
        self.now = min(TIME_MAX, max(0, self.now + step))
        return self.now


# --- steps --------------------------------------------------------------------------------------


def changes(rng: Random) -> dict[str, Any]:
    """What an operator changes while it runs."""
    return {name: value_of(rng, BY_NAME[name])
            for name in rng.sample(SOFT, rng.choice((1, 1, 2, 5)))}


def by_hand(rng: Random) -> Step:
    """What only who embeds an engine does: sessions ended, pages taken and given, a mode held."""
    pick = rng.randrange(12)
    if pick == 9:
        return ("inspect", rng.randrange(3), rng.choice((1, 8, 40, 1500)))
    if pick == 10:
        return ("decide", rng.randrange(11))
    if pick == 11:
        return ("undecide",)
    if pick == 7:
        return ("look",)
    if pick == 8:
        return ("save",)
    if pick == 6:
        return ("restart", {"keep": True, "max_connections": rng.choice((1, 4, 16, 300))})
    if pick == 0:
        return ("end", *(rng.randrange(1000) for _ in range(rng.choice((0, 1, 5)))))
    if pick == 1:
        return ("force", rng.choice((None, None, "off", "on", "extreme")))
    if pick == 2:
        return ("configure", rng.choice(({"policies": policies(rng)}, shaping(rng))))
    owner, pages = rng.choice(("base", "shm")), rng.choice((0, 1, 3, 20, 1 << 38))
    return (rng.choice(("take", "give")), owner, 4096 * pages)


def step(rng: Random, clock: Clock, pool: list[tuple[bytes, int, int]]) -> Step:
    """One deed."""
    pick = rng.randrange(24)
    if pick > 20:
        return by_hand(rng)
    if pick == 0:
        return ("configure", changes(rng))
    if pick == 1:
        given: dict[str, Any] = {}
        if rng.randrange(2):
            given["max_connections"] = rng.choice((1, 4, 16, 300))
        if rng.randrange(4) == 0:
            given |= changes(rng)
        return ("restart", given)
    if pick == 2:
        return ("clear",)
    if pick == 3:
        return ("advance", clock.next())
    if pick == 4:
        return ("drain",)
    count = rng.choice((1, 3, 10, 40, 100, 400))
    packets = [(clock.next(), *rng.choice(pool)) for _ in range(count)]
    return ("packets", rng.choice((0, 1, 3, 1000)), packets)


def case(rng: Random) -> Case:
    """Settings, an engine's options and some steps."""
    chosen = settings(rng)
    clock = Clock(rng)
    pool = [frame(rng) for _ in range(rng.choice((3, 10, 40, 120)))]
    options = {"group": rng.choice((1, 2, 32, 64)), "log": bool(rng.randrange(2)),
               "departures": True, "arrivals": True}
    steps = [step(rng, clock, pool) for _ in range(rng.choice((1, 4, 12, 30)))]
    return Case(chosen, options, steps)
