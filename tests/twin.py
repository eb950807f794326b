"""Holds the engine and its plain twin together: the same deeds, the same story."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from fwcore import reference
from fwcore._fastpath import EndCause, TcpState
from fwcore.capture import Chunk
from fwcore.engine import Engine
from fwcore.settings import Settings, Timeouts

LEDGER = ("created_packet", "ended_packet", "cause", "age_ns", "idle_ns", "bytes", "policy")


def config_of(settings: Settings) -> reference.Config:
    """The twin's settings: the same names, resolved to numbers."""
    given: dict[str, Any] = {}
    for field in dataclasses.fields(reference.Config):
        if field.name in Timeouts.names():
            given[field.name] = getattr(settings.timeouts, field.name)
        elif hasattr(settings, field.name):
            given[field.name] = getattr(settings, field.name)
    given["base_bytes"] = settings.base_pages * 4096
    given["policies"] = [dict(row) for row in settings.policies]
    given["pressure"] = [dict(row) for row in settings.pressure]
    return reference.Config(**given)


def changed(before: Settings, after: Settings) -> dict[str, Any]:
    """What the twin has to change; what nobody gave may have been worked out anew."""
    old, new = config_of(before), config_of(after)
    names = [field.name for field in dataclasses.fields(new)]
    return {name: getattr(new, name) for name in names if getattr(new, name) != getattr(old, name)}


def run_twin(settings: Settings, chunks: Iterable[Chunk]):
    """(list of (verdict, reason, reply), firewall) of the twin over chunks."""
    firewall = reference.Firewall(config_of(settings))
    judged = []
    for chunk in chunks:
        judged += judge(firewall, chunk)
    return judged, firewall


def judge(firewall: reference.Firewall, chunk: Chunk) -> list[tuple[int, int, int]]:
    """The twin's (verdict, reason, whether the responder sent it) of each packet."""
    frames = [chunk.frame(i) for i in range(len(chunk))]
    columns = (chunk.time_ns.tolist(), chunk.length.tolist(), chunk.link.tolist())
    return [(int(verdict), int(reason), int(firewall.reply)) for verdict, reason in map(
        firewall.packet, frames, *columns)]


class Pair:
    """An engine and its twin side by side. Whatever is done is done to both and compared.

    Each method raises AssertionError that names the first difference. What the engine refuses is
    not done to the twin, so that ``compare`` shows whether nothing of it was done.
    """

    def __init__(self, settings: Settings, *, breath: int = 0, **options: Any) -> None:
        self.engine = Engine(settings, **options)
        self.engine.fastpath.breath = breath or self.engine.fastpath.breath
        self.twin = reference.Firewall(config_of(settings))
        self.packets = 0

    def process(self, chunk: Chunk) -> None:
        """Judges the chunk's packets: verdict, reason, direction."""
        reply = np.zeros(len(chunk), np.uint8)
        found = np.column_stack([self.engine.process(chunk, reply=reply), reply]).tolist()
        for got, want in zip(map(tuple, found), judge(self.twin, chunk), strict=True):
            self.packets += 1
            assert got == want, f"packet {self.packets}: engine {got}, twin {want}"

    def configure(self, **changes: Any) -> None:
        """Changes settings. Raises what the engine raises, and then the twin is as it was."""
        before = self.engine.settings
        self.twin.configure(**changed(before, self.engine.configure(**changes)))

    def restart(self, **changes: Any) -> None:
        """Restarts. Raises SettingsError, and then the twin is as it was."""
        before, live = self.engine.settings, self.twin.live
        cleared = self.engine.restart(**changes)
        assert cleared == live, f"restart: engine tore down {cleared} sessions, twin {live}"
        self.twin.restart(**changed(before, self.engine.settings))

    def clear(self) -> None:
        """Ends every session."""
        self.engine.clear()
        self.twin.clear()

    def end(self, *places: int) -> None:
        """Ends the sessions at these places of the order of creation, counted round."""
        rows, keys = self.engine.sessions(), list(self.twin.sessions)
        chosen = sorted({place % len(rows) for place in places}) if len(rows) else []
        ended = self.engine.end(*(rows[place] for place in chosen))
        assert ended == len(chosen), f"end: {ended} of {len(chosen)} sessions"
        self.twin.end_by_hand([keys[place] for place in chosen])

    def take(self, owner: str, amount: int) -> None:
        """Takes pages by hand."""
        self.engine.take(owner, amount)
        self.twin.take(owner, amount)

    def give(self, owner: str, amount: int) -> None:
        """Gives pages back by hand."""
        self.engine.give(owner, amount)
        self.twin.give(owner, amount)

    def force(self, mode: str | None) -> None:
        """Holds a mode by hand, where there is a machine to hold."""
        if self.engine.machines:
            self.engine.force(mode)
            self.twin.force(mode)

    def advance(self, now_ns: int) -> None:
        """Lets time pass without a packet."""
        self.engine.advance(now_ns)
        self.twin.advance(now_ns)

    def compare(self, *, whole: bool = True) -> None:
        """Transitions, events, counters, victims and sessions; laws; ``whole``: the outcome."""
        engine, twin = self.engine, self.twin
        assert_equal_tree(engine.transitions.to_dicts(), twin.transitions, "transitions")
        assert_equal_tree(engine.events.to_dicts(), twin.events, "events")
        assert_equal_tree(engine.counters(), twin.counters())
        modes = {name: twin.modes[name] for name in engine.modes}  # below 512 MiB no kernel row
        assert engine.modes == modes, f"modes: engine {engine.modes}, twin {modes}"
        assert_equal_tree(victims_of(engine), ledger_of(twin), "victims")
        assert_equal_tree(sessions_of(engine), standing_of(twin), "sessions")
        half_open = sum(session.half_open for session in twin.sessions.values())
        assert engine.fastpath.counters()["half_open"] == half_open, "half-open sessions"
        if whole and self.packets:
            assert engine.outcome() == twin.outcome(), "outcome"
        assert_laws(engine)


def assert_laws(engine: Engine) -> None:
    """Every law holds; each compares with a fresh audit of the table."""
    broken = [name for name, holds in engine.laws().items() if not holds]
    assert not broken, f"broken laws: {', '.join(broken)}"


def victims_of(engine: Engine) -> list[tuple[int, ...]]:
    """The engine's ledger, as LEDGER."""
    rows = engine.victims()
    columns = (rows["created_packet"], rows["ended_packet"], rows["cause"],
               rows["ended_ns"] - rows["created_ns"], rows["ended_ns"] - rows["last_seen_ns"],
               rows["bytes"].sum(axis=1), rows["policy"])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def ledger_of(twin: reference.Firewall) -> list[tuple[int, ...]]:
    """The same of the twin."""
    return [tuple(int(EndCause[row[name].upper()]) if name == "cause" else row[name]
                  for name in LEDGER) for row in twin.victims]


def sessions_of(engine: Engine) -> list[tuple]:
    """What stands: (created packet, initiator, state, packets, bytes, last seen, exposed?)."""
    return [
        (int(r["created_packet"]), int.from_bytes(bytes(r["initiator"])[:4 if r["family"] == 4
                                                                        else 16]),
         TcpState(int(r["state"])).name, int(r["packets"].sum()), int(r["bytes"].sum()),
         int(r["last_seen_ns"]), bool(r["exposed"]),
         bool(r["packets"][0]), bool(r["packets"][1]))
        for r in engine.sessions()]


def standing_of(twin: reference.Firewall) -> list[tuple]:
    """The same of the twin."""
    return sorted(
        (s.created_packet, s.host[0], s.state or "NONE", s.packets, s.bytes, s.last_seen_ns,
         bool(s.exposed), "forward" in s.directions, "reply" in s.directions)
        for s in twin.sessions.values())


def assert_same(settings: Settings, chunks: list[Chunk], **options: Any) -> Engine:
    """Engine and twin agree in every verdict, reason, transition, event, counter and the outcome;
    and every law holds."""
    pair = Pair(settings, **options)
    for chunk in chunks:
        pair.process(chunk)
    pair.compare()
    return pair.engine


def assert_equal_tree(got: Any, want: Any, path: str = "counters") -> None:
    """Equality that names the place of the first difference."""
    if got == want:
        return
    if isinstance(want, dict):
        assert set(got) == set(want), f"{path}: keys {set(got) ^ set(want)}"
        for key in want:
            assert_equal_tree(got[key], want[key], f"{path}.{key}")
    elif isinstance(want, list):
        for i, (one, other) in enumerate(zip(got, want, strict=False)):
            assert_equal_tree(one, other, f"{path}[{i}]")
        assert len(got) == len(want), f"{path}: engine {len(got)} rows, twin {len(want)}"
    else:
        raise AssertionError(f"{path}: engine {got}, twin {want}")
