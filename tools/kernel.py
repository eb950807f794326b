"""linux-conntrack held against the kernel it is named after.

    python tools/kernel.py [--seed N] [--quick] [PART ...]     sequences captures timeouts floods

The same packets go through the kernel of this machine (netlab.py) and through the twin, under
personality linux-conntrack; what each made of every packet, and what stands in the table at the
end, is compared. Window checks and checksums are off in the kernel, for fwcore has neither.

- sequences: all of directions and flag sets up to three packets, and a random sample of four to
  eight, new with every run. Two sequences agree when every packet and the last state do.
- captures: those of pcaps/ and of the folder that $FWCORE_CAPTURES names. The kernel judges a
  datagram once, so its fragments count as one packet.
- timeouts: what ctnetlink says remains, half a second and more after the last packet.
- floods: a table as full as it gets, then SYNs or UDP: how many are refused, which sessions live.

Prints agreement and each class of difference with an example. Ends with 1 when agreement is below
what FLOORS says, with 2 when this machine has no such kernel.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

from frames import checked, echo, ethernet, flag_bits, ip, tcp, udp  # noqa: E402 - found now
from netlab import CODES, Lab, fragment_name, missing, table_size  # noqa: E402
from twin import config_of  # noqa: E402

from fwcore import reference  # noqa: E402
from fwcore.capture import open_capture  # noqa: E402
from fwcore.reference.headers import parse  # noqa: E402
from fwcore.settings import Timeouts, load  # noqa: E402

FLOORS = {"sequences": 0.97, "captures": 0.999, "timeouts": 1.0, "floods": 1.0}
"""Share that has to agree."""
CRAFTED = 5
"""Packets of pcaps/ that may differ besides: it has every kind of fragment, on purpose."""
SECOND = 10**9
START_NS = 1_700_000_000 * SECOND
LONG_S = 400_000
HOSTS_IN_A_ROW = 50_000
CLIENT, SERVER = int(ip_address("10.0.0.1")), int(ip_address("192.0.2.1"))
FLAGS = ("S", "SA", "A", "FA", "R", "RA", "F", "", "SF", "PA")
MORE_FLAGS = (*FLAGS, "SR", "FR", "P", "FPU", "AU", "RU", "SU", "FAP", "SAP")
ENDINGS = (".pcap", ".pcapng", ".cap", ".1")
INVALID_REASONS = ("tcp_invalid", "malformed", "icmp_orphan")


@dataclasses.dataclass
class Score:
    """How many agreed, and the classes of those that did not: text -> (how many, an example)."""

    compared: int = 0
    agreed: int = 0
    classes: dict[str, list[Any]] = dataclasses.field(default_factory=dict)

    def count(self, same: bool, kind: str, example: str) -> None:
        self.compared += 1
        self.agreed += same
        if not same:
            row = self.classes.setdefault(kind, [0, example])
            row[0] += 1

    @property
    def share(self) -> float:
        return self.agreed / self.compared if self.compared else 1.0

    def text(self, title: str) -> str:
        lines = [f"{title}: {self.agreed} of {self.compared} agree, {100 * self.share:.3f} %"]
        lines += [f"{count:8}  {kind}   e.g. {example}" for kind, (count, example)
                  in sorted(self.classes.items(), key=lambda row: -row[1][0])]
        return "\n".join(lines)


# --- packets ------------------------------------------------------------------------------------


def ipv4(source: int, destination: int, protocol: int, body: bytes) -> bytes:
    return checked(ip(source, destination, protocol, body))


class Talk:
    """Two ends of a TCP connection with plausible sequence numbers, whatever they say.

    A SYN again is the same SYN as long as its sender said nothing else; later, it is a new one.
    """

    def __init__(self, number: int) -> None:
        self.ends = (CLIENT + number // HOSTS_IN_A_ROW, SERVER)
        self.ports = (1024 + number % HOSTS_IN_A_ROW, 80)
        self.first = [1_000_000, 5_000_000]
        self.next = list(self.first)

    def says(self, direction: int, flags: str) -> bytes:
        """The packet of one end: direction 0 is the client's."""
        if "S" in flags:
            if self.next[direction] not in (self.first[direction], self.first[direction] + 1):
                self.first[direction] = self.next[direction] + 64_000
            self.next[direction] = self.first[direction]
        numbers = (self.next[direction], self.next[1 - direction] if "A" in flags else 0)
        self.next[direction] += ("S" in flags) + ("F" in flags)
        turn = 1 if direction == 0 else -1
        return ipv4(*self.ends[::turn], 6, tcp(*self.ports[::turn], flags, numbers=numbers))


# --- the twin -----------------------------------------------------------------------------------


def linux(**changes: Any) -> reference.Config:
    settings = load("linux-conntrack", **{
        name: value for name, value in changes.items() if name in ("max_connections", "buckets")})
    return dataclasses.replace(config_of(settings), **changes)


def patient(**changes: Any) -> reference.Config:
    """Timeouts so long that only steps count."""
    return linux(**dict.fromkeys(Timeouts.names(), LONG_S) | changes)


class Judged(NamedTuple):
    """What the twin made of a packet, in the kernel's words (one of several that are the same
    here), and its own reason."""

    codes: tuple[str, ...]
    reason: str


def judge(firewall: reference.Firewall, packet: bytes, time_ns: int) -> Judged:
    """One packet through the twin. `hit` in the kernel is a packet of the initiator once an
    answer was seen; before, it is `new`."""
    frame = ethernet(packet)
    parsed = parse(frame, len(frame), 1, linux=True)
    before = firewall.sessions.get(parsed.key) if parsed.key else None
    answered = before is not None and before.answered
    verdict, number = firewall.packet(frame, time_ns)[:2]
    reason = reference.REASONS[number]
    if reason == "malformed" or (reason in INVALID_REASONS and verdict == reference.DROP):
        return Judged(("invalid", "gone"), reason)
    if reason == "icmp_orphan":
        return Judged(("invalid", "untracked"), reason)
    if reason == "tcp_invalid":
        return Judged(("invalid",), reason)
    if reason == "hit" and before is not None:
        if parsed.source_first != before.initiator_first:
            return Judged(("reply",), reason)
        return Judged(("hit",) if answered else ("new",), reason)
    if reason == "fragment":  # its datagram was judged with its first one
        return Judged(("new", "hit", "reply", "related"), reason)
    codes = {"new": ("new",), "related": ("related",)}
    return Judged(codes.get(reason, ("gone",)), reason)


# --- sequences ----------------------------------------------------------------------------------

Step = tuple[int, str]


def short_sequences(length: int) -> Iterator[tuple[Step, ...]]:
    """Every sequence of up to `length` packets."""
    steps = list(itertools.product((0, 1), FLAGS))
    for count in range(1, length + 1):
        yield from itertools.product(steps, repeat=count)


def random_sequences(count: int, seed: int) -> Iterator[tuple[Step, ...]]:
    """Four to eight packets; those that open, answer and close come more often than oddities."""
    chance = random.Random(seed)
    for _ in range(count):
        odd = chance.random() < 0.3
        flags = MORE_FLAGS if odd else ("S", "SA", "A", "A", "FA", "R")
        first = (0, chance.choice(("S", "S", "S", "A")))
        yield first, *((chance.randrange(2), chance.choice(flags))
                       for _ in range(chance.randint(3, 7)))


def sequence_text(steps: Sequence[Step]) -> str:
    return " ".join("><"[direction] + (flags or "-") for direction, flags in steps)


def compare_sequences(
    lab: Lab, sequences: Iterable[tuple[Step, ...]], score: Score, **changes: Any
) -> None:
    """Adds to the score; each sequence is a connection of its own. ``changes``: settings here of
    what was set there."""
    chosen = list(sequences)
    for at in range(0, len(chosen), HOSTS_IN_A_ROW):
        some = chosen[at:at + HOSTS_IN_A_ROW]
        lab.flush()
        firewall = reference.Firewall(patient(**changes))
        packets = []
        for number, steps in enumerate(some):
            talk = Talk(number)
            packets += [talk.says(direction, flags) for direction, flags in steps]
        kernel = iter(lab.send(packets))
        ours = iter([judge(firewall, packet, START_NS) for packet in packets])
        stands = {entry_name(e): e.state for e in lab.entries()}
        state = {session_name(s): s.state for s in firewall.sessions.values()}
        for number, steps in enumerate(some):
            name = (Talk(number).ends[0], Talk(number).ports[0])
            compare_sequence(score, steps, [next(kernel) for _ in steps],
                             [next(ours) for _ in steps], stands.get(name), state.get(name))


def entry_name(entry: Any) -> tuple[int, int]:
    """The client's address and port, whichever end opened the entry."""
    source = int.from_bytes(entry.source, "big")
    if source == SERVER:
        return int.from_bytes(entry.destination, "big"), entry.destination_port
    return source, entry.source_port


def session_name(session: Any) -> tuple[int, int]:
    key = session.key
    if key.address_a == SERVER:
        return key.address_b, key.port_b
    return key.address_a, key.port_a


def compare_sequence(
    score: Score, steps: Sequence[Step], kernel: list[int], ours: list[Judged],
    stands: str | None, state: str | None,
) -> None:
    for at, (code, judged) in enumerate(zip(kernel, ours, strict=True)):
        if CODES[code] not in judged.codes:
            score.count(False, f"{sequence_text(steps[at:at + 1])}: kernel {CODES[code]}, "
                        f"fwcore {judged.reason}", sequence_text(steps[:at + 1]))
            return
    score.count(stands == state, f"last state: kernel {stands}, fwcore {state}",
                sequence_text(steps))


# --- captures -----------------------------------------------------------------------------------


def captures() -> list[Path]:
    folders = [ROOT / "pcaps"]
    if os.environ.get("FWCORE_CAPTURES"):
        folders.append(Path(os.environ["FWCORE_CAPTURES"]))
    return [path for folder in folders for path in sorted(folder.iterdir())
            if path.suffix in ENDINGS]


def ip_begins(frame: bytes, link: int) -> int | None:
    """Where the IP header of a frame is; None when there is none within reach."""
    if link in (101, 12, 14, 228, 229):
        return 0
    if link in (0, 108):
        return 4
    if link == 1:
        at, kind = 14, frame[12:14]
    elif link == 113:
        at, kind = 16, frame[14:16]
    elif link == 276:
        at, kind = 20, frame[0:2]
    else:
        return None
    while kind in (b"\x81\x00", b"\x88\xa8", b"\x91\x00"):
        at, kind = at + 4, frame[at + 2:at + 4]
    if kind == b"\x88\x64" and frame[at + 1:at + 2] == b"\0":
        ppp = {b"\0\x21": b"\x08\0", b"\0\x57": b"\x86\xdd"}
        at, kind = at + 8, ppp.get(frame[at + 6:at + 8], b"")
    if kind in (b"\x88\x47", b"\x88\x48"):
        while at + 4 <= len(frame) and not frame[at + 2] & 1:
            at += 4
        return at + 4
    return at if kind in (b"\x08\x00", b"\x86\xdd") else None


def ip_packet(frame: bytes, wire: int, link: int) -> bytes | None:
    """The IP packet of a frame as it was on the wire, zeros where the capture cut it; None when
    it cannot be sent: no IP, headers cut, no length, longer than IP allows."""
    at = ip_begins(frame, link)
    if at is None or at + 20 > min(len(frame), wire) or frame[at] >> 4 not in (4, 6):
        return None
    total = int.from_bytes(frame[at + 2:at + 4], "big")
    if frame[at] >> 4 == 6:
        total = int.from_bytes(frame[at + 4:at + 6], "big") + 40
    whole = parse(frame, wire, link)
    length = min(total, wire - at, 65535)
    if whole.kind == "truncated" or whole.offloaded or length < 20:
        return None
    return checked(frame[at:at + length].ljust(length, b"\0"))


def packets_of(path: Path) -> tuple[list[tuple[int, bytes, int]], int]:
    """(number, IP packet, time) of a capture, and how many frames were left out."""
    found, left_out, number = [], 0, 0
    with open_capture(str(path)) as reader:
        for chunk in reader:
            for i in range(len(chunk)):
                number += 1
                packet = ip_packet(bytes(chunk.frame(i)), int(chunk.length[i]), int(chunk.link[i]))
                if packet is None:
                    left_out += 1
                else:
                    found.append((number, packet, int(chunk.time_ns[i])))
    return found, left_out


def compare_capture(lab: Lab, path: Path, score: Score) -> int:
    """Adds to the score; gives how many frames were left out."""
    lab.flush()
    found, left_out = packets_of(path)
    kernel = lab.send([packet for _, packet, _ in found])
    firewall = reference.Firewall(patient())
    datagrams: dict[bytes, tuple[bool, str, str]] = {}
    for (number, packet, time_ns), code in zip(found, kernel, strict=True):
        ours = judge(firewall, packet, time_ns)
        said = (CODES[code] in ours.codes,
                f"{described(packet)}: kernel {CODES[code]}, fwcore {ours.reason}",
                f"{path.name}, packet {number}")
        name = fragment_name(packet)
        if name is None:
            score.count(*said)
        elif name not in datagrams or datagrams[name][0]:  # its first difference stands for it
            datagrams[name] = said
    for said in datagrams.values():
        score.count(*said)
    return left_out


def described(packet: bytes) -> str:
    """What kind of packet it is, for the list of differences."""
    frame = ethernet(packet)
    parsed = parse(frame, len(frame), 1)
    name = parsed.transport or f"protocol {parsed.protocol}"
    if name == "other":
        name = f"protocol {parsed.protocol}"
    if name == "tcp":
        name += " " + "".join(letter for letter in "FSRPAU" if parsed.flags & flag_bits(letter))
    if name == "icmp":
        name = f"icmp{parsed.family} {parsed.kind}"
    return f"{name} {parsed.fragment} fragment" if parsed.fragment else name


# --- timeouts -----------------------------------------------------------------------------------

# name: packets at once, packets 2.2 s later. TCP unless the name begins with another word.
KINDS: dict[str, tuple[str, str]] = {
    "syn": (">S", ""), "syn again": (">S", ">S"), "syn both": (">S <S", ""),
    "syn answered": (">S <SA", ""), "syn answered again": (">S <SA", "<SA"),
    "syn answered, syn": (">S <SA", ">S"),
    "established": (">S <SA >A", ""), "established, invalid": (">S <SA >A", ">F"),
    "established, ignored": (">S <SA >A", ">S"), "established, goes on": (">S <SA >A", ">A"),
    "midstream": (">A", ""), "midstream, goes on": (">A", ">A"),
    "midstream, answered": (">A <A", ""), "midstream, answered twice": (">A <A <A", ""),
    "fin": (">S <SA >A >FA", ""), "fin, acked": (">S <SA >A >FA <A", ""),
    "both fins": (">S <SA >A >FA <FA", ""), "both fins, acked": (">S <SA >A >FA <FA >A", ""),
    "rst": (">S <SA >A >RA", ""), "rst alone": (">A >R", ""), "refused": (">S <RA", ""),
    "reset, fin": (">S <SA >A >RA", "<FA"),
    "udp": (">", ""), "udp again": (">", ">"), "udp both ways": ("> <", ""),
    "udp stream": ("> <", ">"), "udp late reply": (">", "<"), "udp late stream": (">", "< >"),
    "icmp": (">", ""), "icmp answered": ("> <", ""), "icmp answered again": ("> <", "> <"),
    "gre": (">", ""), "gre both ways": ("> <", ""), "gre stream": ("> < >", ""),
    "esp": (">", ""), "esp both ways": ("> < >", ""),
}


def timeout_packets(number: int, kind: str, text: str, talk: Talk) -> list[bytes]:
    """The packets that a row of KINDS speaks of; each kind has a client of its own."""
    packets = []
    for word in text.split():
        direction = "><".index(word[0])
        turn = 1 if direction == 0 else -1
        ends = (CLIENT + number, SERVER)[::turn]
        if kind.startswith("udp"):
            packets.append(ipv4(*ends, 17, udp(*(7, 9)[::turn], 4)))
        elif kind.startswith("icmp"):
            packets.append(ipv4(*ends, 1, echo(1, reply=direction == 1)))
        elif kind.startswith(("gre", "esp")):
            packets.append(ipv4(*ends, 47 if kind.startswith("gre") else 50, bytes(16)))
        else:
            packets.append(talk.says(direction, word[1:]))
    return packets


def compare_timeouts(lab: Lab, score: Score) -> None:
    """Under the kernel's own timeouts: the lab has not been made patient."""
    lab.flush()
    firewall = reference.Firewall(linux())
    talks = []
    for number in range(len(KINDS)):
        talks.append(Talk(0))
        talks[-1].ends = (CLIENT + number, SERVER)
    waited_ns = [0, 2_200_000_000]
    begun = time.monotonic_ns()
    for phase, wait_ns in enumerate(waited_ns):
        time.sleep(max(0, begun + wait_ns - time.monotonic_ns()) / SECOND)
        packets = [packet for number, (kind, rows) in enumerate(KINDS.items())
                   for packet in timeout_packets(number, kind, rows[phase], talks[number])]
        lab.send(packets)
        for packet in packets:
            firewall.packet(ethernet(packet), START_NS + wait_ns)
    time.sleep(0.5)
    kernel = {int.from_bytes(e.source, "big"): e.timeout_s for e in lab.entries()}
    ours = {s.host[0]: (firewall.deadline(s) - firewall.now) / SECOND - 0.5
            for s in firewall.sessions.values()}
    for number, kind in enumerate(KINDS):
        there, here = kernel.get(CLIENT + number), ours.get(CLIENT + number)
        same = there is None if here is None else there is not None and abs(there - here) <= 1.5
        score.count(same, f"{kind}: kernel {there} s, fwcore {here} s", " ... ".join(KINDS[kind]))


# --- floods -------------------------------------------------------------------------------------

FILLS: dict[str, tuple[str, str]] = {
    "established": (">S <SA >A", ""), "close wait": (">S <SA >A >FA <A", ""),
    "time wait": (">S <SA >A >FA <FA >A", ""), "udp stream": ("> <", ">"),
    "syn only": (">S", ""), "syn answered": (">S <SA", ""), "midstream": (">A", ""),
    "udp one way": (">", ""), "udp both ways": ("> <", ""),
}
NEAR = 0.06
"""Shares of survivors and of refused packets are the same within this: two hash functions."""


def flood_packet(number: int, protocol: str) -> bytes:
    source = int(ip_address("172.16.0.1")) + number
    if protocol == "udp":
        return ipv4(source, SERVER, 17, udp(5, 53, 4))
    return ipv4(source, SERVER, 6, tcp(5, 80, "S", numbers=(1, 0)))


def fill(entries: int, kinds: dict[str, float]) -> tuple[list[bytes], list[bytes], list[str]]:
    """Packets of as many sessions as fit, now and 2.2 s later, and each session's kind."""
    members = list(itertools.chain.from_iterable(
        [kind] * round(entries * share) for kind, share in kinds.items()))[:entries]
    members += [next(iter(kinds))] * (entries - len(members))
    random.Random(1).shuffle(members)
    now, later = [], []
    for number, kind in enumerate(members):
        talk = Talk(0)
        talk.ends = (CLIENT + number, SERVER)
        now += timeout_packets(number, kind, FILLS[kind][0], talk)
        later += timeout_packets(number, kind, FILLS[kind][1], talk)
    return now, later, members


def compare_flood(lab: Lab, score: Score, *, entries: int, times: int, protocol: str,
                  kinds: dict[str, float]) -> None:
    """A full table of some kinds of sessions, and `times` its size of packets of new ones."""
    lab.flush()
    now, later, members = fill(entries, kinds)
    packets = [flood_packet(number, protocol) for number in range(entries * times)]
    firewall = reference.Firewall(patient(max_connections=entries, buckets=entries // 2))
    with table_size(entries, entries):
        lab.send(now)
        time.sleep(2.2)
        lab.send(later)
        refused = lab.send(packets).count(0)
        alive = {int.from_bytes(e.source, "big") for e in lab.entries()}
    for packet in now:
        firewall.packet(ethernet(packet), START_NS)
    for packet in later:
        firewall.packet(ethernet(packet), START_NS + 2_200_000_000)
    ours_refused = sum(firewall.packet(ethernet(packet), START_NS + 2_300_000_000)[0]
                       == reference.DROP for packet in packets)
    ours = {s.host[0] for s in firewall.sessions.values()}
    title = f"{protocol} flood of {len(packets)} on {entries}"
    compare_shares(score, f"{title}, refused", refused / len(packets), ours_refused / len(packets))
    for kind in kinds:
        hosts = {CLIENT + number for number, one in enumerate(members) if one == kind}
        compare_shares(score, f"{title}, {kind} alive", len(alive & hosts) / len(hosts),
                       len(ours & hosts) / len(hosts))


def compare_shares(score: Score, what: str, kernel: float, ours: float) -> None:
    score.count(abs(kernel - ours) <= NEAR, f"{what}: kernel {kernel:.3f}, fwcore {ours:.3f}", what)


def compare_floods(lab: Lab, score: Score, entries: int) -> None:
    even = dict.fromkeys(FILLS, 1 / len(FILLS))
    mostly = {"established": 0.97, "syn only": 0.03}
    for protocol in ("tcp", "udp"):
        compare_flood(lab, score, entries=entries, times=5, protocol=protocol, kinds=even)
    compare_flood(lab, score, entries=entries, times=3, protocol="tcp", kinds=mostly)


# --- the whole ----------------------------------------------------------------------------------


def part_sequences(lab: Lab, seed: int, quick: bool) -> Score:
    score = Score()
    lab.long_timeouts(LONG_S)
    compare_sequences(lab, short_sequences(3), score)
    compare_sequences(lab, random_sequences(4_000 if quick else 40_000, seed), score)
    return score


def part_captures(lab: Lab, _seed: int, _quick: bool) -> Score:
    score = Score()
    lab.long_timeouts(LONG_S)
    left_out = 0
    for path in captures():
        left_out += compare_capture(lab, path, score)
    print(f"captures: {left_out} frames left out: no IP, cut headers, or no length", flush=True)
    return score


def part_timeouts(lab: Lab, _seed: int, _quick: bool) -> Score:
    score = Score()
    compare_timeouts(lab, score)
    return score


def part_floods(lab: Lab, _seed: int, quick: bool) -> Score:
    score = Score()
    lab.long_timeouts(LONG_S)
    compare_floods(lab, score, 1024 if quick else 4096)
    return score


PARTS: dict[str, Callable[[Lab, int, bool], Score]] = {
    "sequences": part_sequences, "captures": part_captures, "timeouts": part_timeouts,
    "floods": part_floods,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--seed", type=int, default=None, help="of the random sample")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sample, small floods")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if why := missing():
        print(f"no kernel to ask: {why}", file=sys.stderr)
        return 2
    seed = random.SystemRandom().randrange(2**32) if chosen.seed is None else chosen.seed
    print(f"kernel {os.uname().release}, seed {seed}", flush=True)
    failed = False
    for name in chosen.parts or PARTS:
        with Lab() as lab:
            score = PARTS[name](lab, seed, chosen.quick)
        print(score.text(name), flush=True)
        crafted = CRAFTED if name == "captures" else 0
        failed |= score.agreed + crafted < score.compared * FLOORS[name]
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
