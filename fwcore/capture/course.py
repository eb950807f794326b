"""The course of sessions made by arithmetic: which packet is which step of which session.

Sessions with a course (handshake, data, close) follow a *script*: all scripts of a workload have
the same number S of steps, and a round of packets holds one step of every open session:

    round 0     a0 b0                     a0 is step 0 of session a; two sessions begin each round
    round 1     a1 b1 c0 d0
    round 2     a2 b2 c1 d1 e0 f0         from round S-1 on S x 2 sessions are open, and in every
    round 3     ...                       round two of them end and two begin

so that the session and the step of packet i are two divisions away. Within a full round the order
is scrambled; each session still sees its own packets in order. Nothing here has a state.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fwcore.capture.assemble import Columns, Layout

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
FLAG_BITS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "A": ACK}
MASK64 = 2**64 - 1


# --- arithmetic on packet and session numbers -------------------------------------------------


def splitmix64(value: np.ndarray) -> np.ndarray:
    """The splitmix64 finaliser, uint64[n] -> uint64[n] (Steele, Lea, Flood 2014)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = value ^ (value >> np.uint64(31))
    return mixed


def scrambled(number: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """A pseudo-random uint64 for each number; ``stream`` tells independent uses apart."""
    key = (seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03) & MASK64
    return splitmix64(number ^ splitmix64(np.array([key], np.uint64))[0])


def below(random: np.ndarray, bound: int) -> np.ndarray:
    """Uniform in [0, bound), bound <= 2**32, from the high half of ``random``."""
    return ((random >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)


def divided(number: np.ndarray, by: int) -> tuple[np.ndarray, np.ndarray]:
    """Quotient and remainder, uint64[n]; NumPy divides by a scalar faster than it takes `%`."""
    quotient = number // np.uint64(by)
    return quotient, number - quotient * np.uint64(by)


# --- scripts ----------------------------------------------------------------------------------


class Script(NamedTuple):
    """The course of one session: a row a packet.

    Rows read ``"> SA 120"``: direction (> client, < server), TCP flags (absent in UDP), payload
    bytes. A row may name its payload text: ``"> PA 120 get"``.
    """

    protocol: int
    rows: tuple[str, ...]


TEXTS = {
    "get": b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: fwcore\r\n"
           b"Accept: */*\r\nConnection: keep-alive\r\nCookie: ",
    "ok": b"HTTP/1.1 200 OK\r\nServer: synth\r\nContent-Type: text/html\r\n\r\n<html><body>",
    # id (the stamp), flags, counts, "www.example.com" A IN; the answer adds one record, TTL 300
    "query": bytes.fromhex("0000 0100 0001 0000 0000 0000 03777777 076578616d706c65 03636f6d 00"
                           "0001 0001"),
    "answer": bytes.fromhex("0000 8180 0001 0001 0000 0000 03777777 076578616d706c65 03636f6d 00"
                            "0001 0001 c00c 0001 0001 0000012c 0004 c6120001"),
}


@functools.cache
def filler(size: int, text: str = "") -> bytes:
    """``size`` bytes of payload: the named text, cut or continued with letters."""
    start = TEXTS.get(text, b"")[:size]
    letters = b"abcdefghijklmnopqrstuvwxyz012345"
    return start + (letters * (size // len(letters) + 1))[:size - len(start)]


class Course:
    """Scripts of equal length as tables indexed by script * steps + step.

    ``layouts`` has two for each payload of a protocol: IPv4, then IPv6 (an odd number).
    """

    def __init__(self, *scripts: Script, snap_bytes: int = 0) -> None:
        self.steps = len(scripts[0].rows)
        self.layouts: list[Layout] = []
        tables: dict[str, list[Any]] = {k: [] for k in ("layout", "reply", "flags", "seq", "ack")}
        numbers: dict[tuple[Any, ...], int] = {}
        for script in scripts:
            assert len(script.rows) == self.steps
            sent = {">": 0, "<": 0}  # sequence space used so far, relative to the ISN
            for row in script.rows:
                direction, flags, payload = parse_row(row)
                key = script.protocol, payload
                if key not in numbers:
                    numbers[key] = len(self.layouts)
                    self.layouts += [Layout(f, *key, snap_bytes) for f in (4, 6)]
                other = "<" if direction == ">" else ">"
                tables["layout"].append(numbers[key])
                tables["reply"].append(direction == "<")
                tables["flags"].append(flags)
                tables["seq"].append(sent[direction])
                tables["ack"].append(sent[other])
                sent[direction] += len(payload) + bool(flags & SYN) + bool(flags & FIN)
        self.layout = np.array(tables["layout"], np.intp)
        self.reply = np.array(tables["reply"], bool)
        self.flags = np.array(tables["flags"], np.uint64)
        self.seq = np.array(tables["seq"], np.uint64)
        self.ack = np.array(tables["ack"], np.uint64)

    def columns(self, script: np.ndarray | int, step: np.ndarray, random: np.ndarray,
                ipv6: np.ndarray | None = None, **addresses: Any) -> Columns:
        """Columns of packets at ``step`` of a session; ``random`` (per session) makes its ISNs.

        ``addresses``: client, server, client_port, server_port. The stamp is the low 16 bits of
        ``random``.
        """
        row = (step + np.uint64(self.steps) * script).astype(np.intp)
        reply, flags = self.reply[row], self.flags[row]
        low, high = random & np.uint64(0xFFFFFFFF), random >> np.uint64(32)
        seq = (np.where(reply, high, low) + self.seq[row]) & np.uint64(0xFFFFFFFF)
        ack = (np.where(reply, low, high) + self.ack[row]) & np.uint64(0xFFFFFFFF)
        ack[(flags & np.uint64(ACK)) == 0] = 0
        layout = self.layout[row] + (0 if ipv6 is None else ipv6)
        return Columns(reply=reply, layout=layout, flags=flags, seq=seq, ack=ack,
                       stamp=random & np.uint64(0xFFFF), **addresses)


def parse_row(row: str) -> tuple[str, int, bytes]:
    """``"> PA 120 get"`` -> direction, flag bits, payload."""
    direction, *words = row.split()
    flags = 0
    if words and words[0].isalpha():
        flags = sum(FLAG_BITS[letter] for letter in words.pop(0))
    size = int(words[0]) if words else 0
    return direction, flags, filler(size, words[1] if len(words) > 1 else "")


@dataclass(frozen=True)
class Rounds:
    """Which session and step packet i is: see the picture on top. ``starts`` sessions a round."""

    steps: int
    starts: int
    seed: int

    @property
    def open_sessions(self) -> int:
        return self.steps * self.starts

    @functools.cached_property
    def stride(self) -> int:
        """A step through a round that visits every place: odd jumps are not enough, coprime is."""
        size = self.open_sessions
        stride = (int(size * 0.6180339887) + 2 * (self.seed % 97)) % size | 1
        while math.gcd(stride, size) != 1:
            stride += 2
        return stride

    def locate(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Session number and step, uint64[n], of packet numbers (from 0) uint64[n]."""
        warm = self.starts * self.steps * (self.steps - 1) // 2
        if len(index) and int(index[-1]) >= warm:
            session, step = self._full(np.maximum(index, np.uint64(warm)) - np.uint64(warm))
            if int(index[0]) >= warm:
                return session, step
            early = index < np.uint64(warm)
            session[early], step[early] = self._warm_up(index[early])
            return session, step
        return self._warm_up(index)

    def _full(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turn, place = divided(index, self.open_sessions)
        _, place = divided(place * np.uint64(self.stride), self.open_sessions)
        step, which = divided(place, self.starts)
        session = (turn + np.uint64(self.steps - 1) - step) * np.uint64(self.starts) + which
        return session, step

    def _warm_up(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Round r of the first S - 1 has r + 1 groups of ``starts``: triangular numbers."""
        group, which = divided(index, self.starts)
        turn = ((np.sqrt(8.0 * group + 1.0) - 1.0) / 2.0).astype(np.uint64)
        one = np.uint64(1)
        turn -= turn * (turn + one) // np.uint64(2) > group  # the root may be off by one
        turn += (turn + one) * (turn + np.uint64(2)) // np.uint64(2) <= group
        session_turn = group - turn * (turn + one) // np.uint64(2)
        return session_turn * np.uint64(self.starts) + which, turn - session_turn
