"""Holds the engine and its plain twin together: the same packets through both."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from fwcore import reference
from fwcore._fastpath import TcpState
from fwcore.capture import Chunk
from fwcore.engine import Engine
from fwcore.settings import Settings, Timeouts


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


def run_engine(settings: Settings, chunks: Iterable[Chunk], **options: Any):
    """(outcomes uint8[n, 2], engine) of an engine over chunks."""
    engine = Engine(settings, **options)
    parts = [engine.process(chunk) for chunk in chunks]
    return np.concatenate(parts) if parts else np.zeros((0, 2), np.uint8), engine


def run_twin(settings: Settings, chunks: Iterable[Chunk]):
    """(list of (verdict, reason), firewall) of the twin over the same chunks."""
    firewall = reference.Firewall(config_of(settings))
    judged = []
    for chunk in chunks:
        for i in range(len(chunk)):
            judged.append(tuple(map(int, firewall.packet(
                chunk.frame(i), int(chunk.time_ns[i]), int(chunk.length[i]),
                int(chunk.link[i])))))
    return judged, firewall


def victims_of(engine: Engine) -> list[tuple[int, int, int]]:
    """(created, ended, cause) of the engine's ledger."""
    return [(int(r["created_packet"]), int(r["ended_packet"]), int(r["cause"]))
            for r in engine.victims()]


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
    """Engine and twin agree in every verdict and reason, and in all that ``compare`` sees."""
    pair = Pair(settings, **options)
    for chunk in chunks:
        pair.process(chunk)
    pair.compare()
    return pair.engine


class Pair:
    """An engine and its twin that are given the same packets and the same orders."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        self.engine = Engine(settings, **options)
        self.twin = reference.Firewall(config_of(settings))

    def process(self, chunk: Chunk) -> None:
        """Judges the chunk twice; each packet's outcome is compared."""
        found = self.engine.process(chunk).tolist()
        for i in range(len(chunk)):
            want = self.twin.packet(
                chunk.frame(i), int(chunk.time_ns[i]), int(chunk.length[i]), int(chunk.link[i]))
            assert tuple(found[i]) == tuple(map(int, want)), (
                f"packet {self.twin.packets}: engine {found[i]}, twin {want}")

    def configure(self, **changes: Any) -> None:
        """Changes settings of both."""
        self.engine.configure(**changes)
        self.twin.configure(**changes)

    def compare(self) -> None:
        """The same transitions, events, counters, outcome and sessions; and every law holds."""
        engine, twin = self.engine, self.twin
        assert_equal_tree(engine.transitions.to_dicts(), twin.transitions, "transitions")
        assert_equal_tree(engine.events.to_dicts(), twin.events, "events")
        assert_equal_tree(engine.counters(), twin.counters())
        assert engine.outcome() == twin.outcome()
        assert sessions_of(engine) == standing_of(twin)
        assert engine.fastpath.counters()["half_open"] == sum(
            session.half_open for session in twin.sessions.values())
        laws = engine.laws()
        assert all(laws.values()), [name for name, holds in laws.items() if not holds]


def assert_equal_tree(got: Any, want: Any, path: str = "counters") -> None:
    """Equality that names the place of the first difference."""
    if isinstance(want, dict):
        assert set(got) == set(want), f"{path}: keys {set(got) ^ set(want)}"
        for key in want:
            assert_equal_tree(got[key], want[key], f"{path}.{key}")
    elif isinstance(want, list):
        for i, (one, other) in enumerate(zip(got, want, strict=False)):
            assert_equal_tree(one, other, f"{path}[{i}]")
        assert len(got) == len(want), f"{path}: engine {len(got)} rows, twin {len(want)}"
    else:
        assert got == want, f"{path}: engine {got}, twin {want}"
