"""The fast path's shaper behind the twin's door, so that both can be held against each other."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any, NamedTuple

from fwcore import _shaper, policy, shaping
from fwcore.reference import queues, rows, shaping as twin
from fwcore.shaping_layout import lay_out, places

WITH_PORTS = (6, 17, 132)


def networks(span: tuple[int, int] | None) -> tuple[Any, ...]:
    """An address range of the twin as networks."""
    if span is None:
        return ()
    low, high = (ipaddress.ip_address(number) for number in span)
    return tuple(ipaddress.summarize_address_range(low, high))


def declared_of(declared: rows.Declared) -> shaping.Declared:
    """The twin's rows as the package's own."""
    def same(kind: Any, row: Any, **more: Any) -> Any:
        fields = {each.name for each in dataclasses.fields(kind)} - more.keys()
        return kind(**{name: getattr(row, name) for name in fields}, **more)

    meters = [same(shaping.MeterRow, row, rungs=tuple(
        same(shaping.RungRow, rung) for rung in row.rungs)) for row in declared.meters]
    shaped = [same(shaping.ShapingRow, row, who=policy.Policy(
        0, networks(row.source), networks(row.destination),
        policy.ANY if row.protocol is None else row.protocol,
        () if row.ports is None else (row.ports,))) for row in declared.rows]
    return shaping.Declared(
        tuple(meters), tuple(same(shaping.LinkRow, row) for row in declared.links),
        tuple(same(shaping.ClassRow, row) for row in declared.classes), tuple(shaped))


class Handle(NamedTuple):
    """A session of the core."""

    number: int
    session: rows.Session


class Core:
    """``_shaper.Shaper`` with the seams of ``reference.shaping.Shaper``."""

    def __init__(self, declared: rows.Declared, free: int = 10**9, sessions: int = 64) -> None:
        self.declared = declared
        self.plan = lay_out(declared_of(declared))
        self.shaper = self.make(free, sessions)
        self.handles = set(range(sessions))
        self.kept: list[queues.Departure] = []
        self.fresh: int | None = None

    def make(self, free: int, sessions: int) -> _shaper.Shaper:
        declared = self.declared
        return _shaper.Shaper(
            self.plan, sessions=sessions, seed=declared.seed, keep=True, free=free,
            packets_max=declared.queue_packets_max, accounted=declared.accounting == "bytes")

    @staticmethod
    def told(session: rows.Session) -> tuple[Any, ...]:
        port = session.port if session.protocol in WITH_PORTS else None
        return (session.initiator, session.responder, 4, session.protocol, port, session.policy,
                session.dscp, 0)

    def row_of(self, session: rows.Session) -> rows.Session:
        return session

    def admits(self, row: Any, session: rows.Session) -> bool:
        """A session that is let in has begun."""
        self.fresh = min(self.handles)
        return self.shaper.begin(self.fresh, self.told(session))

    def begin(self, row: Any, session: rows.Session) -> Handle:
        if self.fresh is None:
            assert self.admits(row, session)
        number, self.fresh = self.fresh, None
        self.handles.discard(number)
        return Handle(number, session)

    def end(self, handle: Handle) -> None:
        self.shaper.end(handle.number)
        self.handles.add(handle.number)

    def arrive(self, arrival: rows.Arrival, handle: Handle | None, direction: str = "forward",
               metered: bool = True) -> twin.Judged:
        session = handle.session if handle else rows.Session()
        why, link, cls, mark = self.shaper.arrive(
            arrival.number, arrival.time_ns, arrival.frame, max(0, arrival.ip),
            handle.number if handle else None, self.told(session), session.hash,
            dscp=arrival.dscp, ect=arrival.ect, direction=int(direction == "reply"),
            metered=metered)
        self.collect()
        return twin.Judged(why, link, cls, None if why == "over_limit" else mark)

    def collect(self) -> None:
        for packet, time_ns, link, cls, fate, mark in self.shaper.departures().tolist():
            self.kept.append(queues.Departure(
                packet, time_ns, link, cls, _shaper.FATES[fate],
                None if mark == _shaper.UNMARKED else mark))

    def advance(self, until: int) -> None:
        self.shaper.advance(until)
        self.collect()

    def drain(self) -> None:
        self.shaper.drain()
        self.collect()

    def clear(self) -> None:
        self.shaper.clear()
        self.collect()

    def configure(self, declared: rows.Declared) -> None:
        old, before = self.shaper, self.plan
        self.declared, self.plan = declared, lay_out(declared_of(declared))
        self.shaper = self.make(0, old.sessions)
        self.shaper.take_over(old, *places(self.plan, before))
        self.collect()

    def save(self) -> None:
        """It is another from here on, made of what this one wrote down."""
        old = self.shaper
        self.shaper = self.make(old.free + old.pages, old.sessions)
        self.shaper.set_state(old.state())

    def sample(self) -> None:
        self.shaper.sample()

    @property
    def samples(self) -> list[dict[str, Any]]:
        """As the twin's, by names."""
        found = self.shaper.samples()
        names = {"links": self.plan.link_names, "meters": self.plan.meter_names,
                 "classes": tuple(self.counters()["classes"])}
        return [{"time_ns": time, **{
            kind: dict(zip(names[kind], map(tuple, found[kind][at].tolist()), strict=True))
            for kind in names}} for at, time in enumerate(found["time_ns"].tolist())]

    @property
    def departures(self) -> list[queues.Departure]:
        self.collect()
        return self.kept

    @property
    def free(self) -> int:
        return self.shaper.free

    @free.setter
    def free(self, pages: int) -> None:
        self.shaper.free = pages

    def laws(self) -> dict[str, bool]:
        return self.shaper.laws()

    def counters(self) -> dict[str, Any]:
        """As the twin's, by names."""
        return self.plan.named(self.shaper.counters())
