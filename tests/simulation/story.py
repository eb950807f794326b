"""What a twin is asked, wherever it runs: the standard library is enough, and any Python from 3.9.

``python tests/simulation/story.py`` is a process with a twin of its own, for ``elsewhere.py``: it
reads calls from its input and writes what they return.
"""

from __future__ import annotations

import builtins
import io
import os
import pickle
import signal
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
LEDGER = ("created_packet", "ended_packet", "cause", "age_ns", "idle_ns", "bytes", "policy")


def judged(
    firewall: Any, frames: list[bytes], times: list[int], lengths: list[int], links: list[int],
) -> bytes:
    """Judges packets: verdict, reason, whether the responder sent it, a byte each."""
    told = bytearray()
    for packet in zip(frames, times, lengths, links, strict=True):
        verdict, reason = firewall.packet(*packet)
        told += bytes((verdict, reason, firewall.reply))
    return bytes(told)


def told(firewall: Any, whole: bool) -> dict[str, Any]:
    """What became of everything; ``whole``: the outcome, too."""
    sessions = firewall.sessions.values()
    return {
        "transitions": firewall.transitions, "events": firewall.events,
        "counters": firewall.counters(), "modes": firewall.modes,
        "victims": [tuple(row[name] for name in LEDGER) for row in firewall.victims],
        "sessions": sorted(standing(session, firewall.shaper is None) for session in sessions),
        "half_open": sum(session.half_open for session in sessions),
        "outcome": firewall.outcome() if whole else "",
    }


def standing(session: Any, directions: bool) -> tuple[Any, ...]:
    """(created packet, initiator, state, packets, bytes, last seen, exposed?), and which directions
    it has been seen in; with a shaper those are packets that passed, which is told otherwise."""
    dropped = sum(session.dropped[name][0] for name in ("forward", "reply"))
    seen = tuple(name in session.directions for name in ("forward", "reply")) if directions else ()
    return (session.created_packet, session.host[0], session.state or "NONE",
            session.packets - dropped, session.passed_bytes, session.last_seen_ns,
            bool(session.exposed), *seen)


def live(firewall: Any) -> int:
    """How many sessions stand."""
    return int(firewall.live)


def counted(firewall: Any) -> dict[str, Any]:
    """Every counter."""
    found: dict[str, Any] = firewall.counters()
    return found


def serve() -> None:
    """Answers calls, each (function, arguments, keywords), until there are no more.

    The first argument of each is the firewall; the first call of all makes it, and so does any
    later one whose function is a class.
    """
    package = ModuleType("fwcore")  # without what is compiled, which other Pythons do not have
    package.__path__ = [str(ROOT / "fwcore")]
    sys.modules["fwcore"] = package
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        zip(strict=True)
    except TypeError:  # before 3.10
        builtins.zip = unstrict(zip)  # type: ignore[misc, assignment]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asks; the end of calls is ours
    firewall: Any = None
    calls, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = io.TextIOWrapper(sys.stderr.buffer)
    while True:
        try:
            function, arguments, keywords = pickle.load(calls)
        except EOFError:
            return
        answer: tuple[bool, Any] = (True, None)
        try:
            if isinstance(function, type):
                firewall = function(*arguments, **keywords)
            else:
                answer = (True, function(firewall, *arguments, **keywords))
        except Exception:
            answer = (False, traceback.format_exc())
        try:
            pickle.dump(answer, answers, 4)
            answers.flush()
        except BrokenPipeError:  # nobody waits for it any more
            os._exit(0)


def unstrict(function: Any) -> Any:
    """A ``zip`` that takes ``strict`` and does not ask."""
    def zipped(*columns: Any, strict: bool = False) -> Any:
        return function(*columns)

    return zipped


if __name__ == "__main__":
    serve()
