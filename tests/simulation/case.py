"""A case: settings, options of the engine and steps; how it is run, and how it is written down."""

from __future__ import annotations

import functools
import pprint
from dataclasses import dataclass
from typing import Any
from unittest.mock import MagicMock

import numpy as np
from twin import Pair, assert_laws

from fwcore import Decision
from fwcore.capture import Chunk
from fwcore.errors import ConfigFrozen, FwcoreError, SettingsError
from fwcore.settings import load

Packet = tuple[int, bytes, int, int]
"""time_ns, captured bytes, wire length, link type."""
Step = tuple[Any, ...]
"""("packets", chunk size, [Packet]); 0: by a call each · ("configure", changes) ·
("restart", changes) · ("clear",) · ("advance", now_ns) · ("end", place ...) ·
("take", owner, bytes) · ("give", owner, bytes) · ("force", mode) · ("save",) · ("drain",) ·
("look",) · ("inspect", salt, first bytes) · ("decide", salt) · ("undecide",)."""


@dataclass(frozen=True)
class Case:
    """``settings``: arguments of ``fwcore.load``; ``options``: of ``Engine``."""

    settings: dict[str, Any]
    options: dict[str, Any]
    steps: list[Step]

    @property
    def packets(self) -> int:
        return sum(len(step[2]) for step in self.steps if step[0] == "packets")

    def program(self) -> str:
        """The case as a program that fails as it does."""
        given = pprint.pformat(self.settings, width=96, sort_dicts=False)
        steps = "".join(f"    {_written(step)},\n" for step in self.steps)
        return ("from simulation.case import Case, run\n\nhexed = bytes.fromhex\n"
                f"run(Case(\n{given},\n{self.options!r}, [\n{steps}]))\n")


def _written(step: Step) -> str:
    """A step as Python, frames in hex."""
    if step[0] != "packets":
        return repr(step)
    packets = "".join(f'        ({time_ns}, hexed("{data.hex()}"), {wire}, {link}),\n'
                      for time_ns, data, wire, link in step[2])
    return f'("packets", {step[1]}, [\n{packets}    ])'


def chunk_of(packets: list[Packet]) -> Chunk:
    """The packets as one chunk."""
    times, frames, lengths, links = zip(*packets, strict=True)
    chunk = Chunk.from_frames(frames, times, lengths)
    return Chunk(chunk.data, chunk.offset, chunk.captured, chunk.length, chunk.time_ns,
                 np.array(links, np.uint16))


def pieces(chunk: Chunk, size: int) -> list[Chunk]:
    """The chunk, cut: no result may depend on it."""
    return [chunk.slice(at, min(at + size, len(chunk))) for at in range(0, len(chunk), size)]


class Alone(Pair):
    """The engine, and a twin that does nothing: to tell which of the two does not end."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.twin = MagicMock()

    def process(self, chunk: Chunk) -> None:
        self.engine.process(chunk)
        self.packets += len(chunk)

    def judge(self, chunk: Chunk) -> None:
        for piece in pieces(chunk, 1):
            self.process(piece)

    def restart(self, *, keep: bool = False, **changes: Any) -> None:
        self.engine.restart(keep=keep, **changes)

    def end(self, *places: int) -> None:
        rows = self.engine.sessions()
        self.engine.end(*(rows[place % len(rows)] for place in places if len(rows)))

    def compare(self, *, whole: bool = True) -> None:
        self.wanted = list(self.asked)      # nobody else was to be asked
        assert_laws(self.engine)


def run(case: Case, beside: type[Pair] = Pair) -> int:
    """Engine and twin through the whole case, compared after each step; packets judged.

    Raises AssertionError that names the first difference or the broken law. A case whose settings
    are refused has nothing to say.
    """
    try:
        settings = load(**case.settings)
    except FwcoreError:
        return 0
    pair = beside(settings, **case.options)
    for number, step in enumerate(case.steps, 1):
        do(pair, *step)
        pair.compare(whole=number == len(case.steps))
    return pair.packets


def answer(salt: int, payload: bytes, reply: bool, seen: int, policy: int) -> str:
    """An inspector's: any function of its row."""
    return ("accept", "block", "bypass")[(sum(payload) + 2 * reply + seen + policy + salt) % 3]


def decision(pair: Pair, salt: int, *opening: int) -> int:
    """A decider's: accept, drop, or one of the policies that there are now."""
    number = (sum(opening) + salt) % 11
    ids = [row["id"] for row in pair.engine.settings.policies] or [0]
    if number < 5:
        return Decision.ACCEPT
    return Decision.DROP if number < 7 else ids[number % len(ids)]


def do(pair: Pair, verb: str, *rest: Any) -> None:
    """One step, to both."""
    if verb == "packets" and rest[0] == 0:
        pair.judge(chunk_of(rest[1]))
    elif verb == "packets":
        for piece in pieces(chunk_of(rest[1]), rest[0]):
            pair.process(piece)
    elif verb == "inspect":
        pair.inspect(functools.partial(answer, rest[0]), rest[1])
    elif verb == "decide":
        pair.decide(functools.partial(decision, pair, rest[0]))
    elif verb == "undecide":
        pair.decide_no_more()
    elif verb in ("configure", "restart", "save"):
        try:
            getattr(pair, verb)(**(rest[0] if rest else {}))
        except ConfigFrozen:
            modes = set(pair.twin.modes.values())
            assert modes != {"off"}, "the configuration is frozen while no mode is on"
        except SettingsError:
            pass  # the comparison shows that nothing was done
    else:
        getattr(pair, verb)(*rest)
