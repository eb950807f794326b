"""The life of one flow, packet by packet: what the firewall was, and what it did, at each.

`follow` drives an engine through a capture and stops around the packets of the flow; nothing it
does changes the outcome, for results do not depend on how packets are cut into chunks. What it
writes down is a plain dictionary; `render_text` reads only that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple, Protocol

import numpy as np

from fwcore import units
from fwcore.flow import Endpoint, Flow
from fwcore.report import facts, text
from fwcore.words import CLASSES

SHOWN = 200  # rows on a terminal; the JSON has all
TAKEN = ("evicted", "tension", "killed")
VERDICT_TONES = {"FORWARD": "", "INSPECT": "info", "BYPASS": "warn", "DROP": "bad"}


class Seen(NamedTuple):
    """A packet of the flow within a chunk."""

    index: int  # type: ignore[assignment]  # tuple.index is not missed
    direction: str  # "forward" or "reply", as the flow was written
    flags: str  # TCP flags as letters, "" for others
    length: int


class Watch(Protocol):
    """What `follow` needs of an engine; `EngineWatch` is one."""

    def process(self, chunk: Any) -> Any:
        """Judges a chunk; rows of (verdict name, reason name)."""

    def session(self) -> Mapping[str, Any] | None:
        """The flow's session now: {created_packet, state}, or None."""

    def state(self) -> Mapping[str, Any]:
        """{mode, used_pages, freeable_pages, total_pages, gate}; gate is a line of text."""

    def moved_before(self, packet: int) -> bool:
        """Whether a mode changed at a moment that was due before this packet was judged."""

    def ends(self) -> Iterable[Mapping[str, Any]]:
        """Every session of the flow that ended: {created_packet, packet, time_ns, cause}."""


def follow(
    watch: Watch, chunks: Iterable[Any], flow: Flow, match: Callable[[Any], Iterable[Seen]]
) -> dict[str, Any]:
    """Runs the whole capture; the flow's life as a dictionary of plain values."""
    rows: list[dict[str, Any]] = []
    done, start_ns = 0, None
    for chunk in chunks:
        position = 0
        if start_ns is None and len(chunk):
            start_ns = int(chunk.time_ns[0])
        for seen in match(chunk):
            if seen.index > position:
                watch.process(chunk.slice(position, seen.index))
            packet = done + seen.index + 1
            rows.append(_one(watch, chunk.slice(seen.index, seen.index + 1), seen, packet))
            position = seen.index + 1
        if position < len(chunk):
            watch.process(chunk.slice(position, len(chunk)))
        done += len(chunk)
    return {
        "schema": 1, "flow": str(flow), "start_ns": start_ns or 0, "capture_packets": done,
        "rows": rows, "sessions": _sessions(rows, watch),
    }  # fmt: skip


def _one(watch: Watch, chunk: Any, seen: Seen, packet: int) -> dict[str, Any]:
    """One packet of the flow: the firewall as it met it, and what came of it."""
    before, met = watch.session(), watch.state()
    ((verdict, reason),) = watch.process(chunk)
    after = watch.session()
    if watch.moved_before(packet):  # the packet already saw what its time brought about
        met = watch.state()
    return {
        "packet": packet, "time_ns": int(chunk.time_ns[0]), "direction": seen.direction,
        "flags": seen.flags, "length": seen.length,
        "before": before and before["state"], "state": after and after["state"],
        "session": after and after["created_packet"], "was": before and before["created_packet"],
        **met, "verdict": verdict, "reason": reason,
    }  # fmt: skip


def _sessions(rows: list[dict[str, Any]], watch: Watch) -> list[dict[str, Any]]:
    """Each session of the flow and how it ended; `packet` None while it stands."""
    ended = {end["created_packet"]: dict(end) for end in watch.ends()}
    made = {row[name] for row in rows for name in ("session", "was")} - {None}
    return [
        ended.get(
            created, {"created_packet": created, "packet": None, "time_ns": None, "cause": "stands"}
        )
        for created in sorted(made | set(ended))
    ]


# -- finding the flow's packets ------------------------------------------------------------------

FLAG_LETTERS = ((2, "S"), (1, "F"), (4, "R"), (8, "P"), (16, "A"))


class Matcher:
    """Finds the packets of a flow in a chunk: its own, its fragments, ICMP errors quoting it.

    A frame is a candidate when it holds the bytes of both addresses; only candidates are parsed,
    by the plain parser of `fwcore.reference`. The newest FRAGMENTS first fragments are remembered.
    """

    FRAGMENTS = 1024
    NEAREST = 5
    LOOKS = 10_000  # packets parsed, at most, for flows of the initiator with others

    def __init__(self, flow: Flow, *, vlan_zone: bool = False) -> None:
        self._needles = tuple(end.address.packed for end in flow.key[:2])
        low, high = flow.key[:2]
        self._key = (low.address.version, flow.protocol, int(low.address), low.port,
                     int(high.address), high.port)  # fmt: skip
        self._initiator = int(flow.initiator.address), flow.initiator.port
        self._vlan_zone, self._zone = vlan_zone, flow.zone
        self._fragments: dict[tuple[int, ...], bool] = {}
        self._source = flow.initiator.address.packed
        self._near: tuple[dict[Any, Flow], dict[Any, Flow]] = {}, {}  # same hosts, same initiator
        self._found, self._looks = False, 0

    def __call__(self, chunk: Any) -> Iterator[Seen]:
        """The flow's packets of a chunk, in order; the chunk itself is not changed."""
        low, high = self._needles
        for index in range(len(chunk)):
            frame = chunk.frame(index)
            if low in frame and high in frame:
                seen = self._look(chunk, index, frame)
                if seen is not None:
                    self._found = True
                    yield seen
            elif not self._found and self._looks < self.LOOKS and self._source in frame:
                self._looks += 1
                self._remember(self._parse(chunk, index, frame), 1)

    def nearest(self) -> list[str]:
        """Flows between the same hosts, then others of the initiator; none if it was found."""
        if self._found:
            return []
        near = [*self._near[0].values(), *self._near[1].values()]
        return [str(flow) for flow in near[: self.NEAREST]]

    def _remember(self, packet: Any, kind: int) -> None:
        """Keeps a packet's flow for `nearest`, written as the packet goes."""
        key, known = packet.key, self._near[kind]
        if key is None or packet.kind != "session" or key in known or len(known) >= self.NEAREST:
            return
        if kind and packet.source != self._initiator[0]:
            return
        kinds = IPv4Address if key.family == 4 else IPv6Address
        ends = [Endpoint(kinds(address), port) for address, port in (
            (key.address_a, key.port_a), (key.address_b, key.port_b))]  # fmt: skip
        if not packet.source_first:
            ends.reverse()
        known[key] = Flow(ends[0], ends[1], key.protocol, key.zone)

    def _parse(self, chunk: Any, index: int, frame: bytes) -> Any:
        from fwcore import reference

        length, link = int(chunk.length[index]), int(chunk.link[index])
        return reference.parse(frame, length, link, vlan_zone=self._vlan_zone)

    def _look(self, chunk: Any, index: int, frame: bytes) -> Seen | None:
        length, packet = int(chunk.length[index]), self._parse(chunk, index, frame)
        if packet.fragment == "later":
            if packet.fragment_key() not in self._fragments:
                return None
        elif packet.key is None or not self._same(packet.key):
            if not self._found:
                self._remember(packet, 0)
            return None
        elif packet.fragment == "first":
            self._fragments[packet.fragment_key()] = True
            if len(self._fragments) > self.FRAGMENTS:
                del self._fragments[next(iter(self._fragments))]
        source = packet.source, packet.source_port
        forward = source == self._initiator or (
            packet.fragment == "later" and packet.source == self._initiator[0]
        )
        letters = "".join(letter for bit, letter in FLAG_LETTERS if packet.flags & bit)
        return Seen(index, "forward" if forward else "reply", letters or packet.fragment, length)

    def _same(self, key: Any) -> bool:
        found = (key.family, key.protocol, key.address_a, key.port_a, key.address_b, key.port_b)
        return found == self._key and key.zone == self._zone


# -- the engine, as `follow` wants it -------------------------------------------------------------



class EngineWatch:
    """A `Watch` over an engine made with ``log=True``, so that it tells how sessions ended."""

    def __init__(self, engine: Any, flow: Flow) -> None:
        self._engine = engine
        first, second = flow.initiator, flow.responder
        self._tuple = (str(first.address), first.port, str(second.address), second.port,
                       flow.protocol, flow.zone)  # fmt: skip
        self._ends = {_end_bytes(first), _end_bytes(second)}
        self._flow = flow
        self._ended: list[dict[str, Any]] = []

    def process(self, chunk: Any) -> list[tuple[str, str]]:
        """Verdict and reason of each packet by name; keeps the flow's sessions that ended."""
        from fwcore._fastpath import Reason, Verdict

        outcome = self._engine.process(chunk)
        for rows in self._engine.collect_ended():
            self._keep(rows)
        if len(chunk) > 1:
            return []  # nobody asks about the packets in between
        return [(Verdict(int(a)).name, Reason(int(b)).name) for a, b in outcome]

    def _keep(self, rows: Any) -> None:
        from fwcore._fastpath import EndCause

        ports = {self._flow.initiator.port, self._flow.responder.port}
        wanted = (rows["protocol"] == self._flow.protocol) & (rows["zone"] == self._flow.zone)
        for side in ("initiator_port", "responder_port"):
            wanted &= np.isin(rows[side], list(ports))
        for row in rows[wanted]:
            ends = {
                (bytes(row[side]), int(row[f"{side}_port"])) for side in ("initiator", "responder")
            }
            if ends == self._ends:
                self._ended.append({
                    "created_packet": int(row["created_packet"]),
                    "packet": int(row["ended_packet"]), "time_ns": int(row["ended_ns"]),
                    "cause": EndCause(int(row["cause"])).name.lower(),
                })  # fmt: skip

    def session(self) -> Mapping[str, Any] | None:
        """created_packet and the state by name of the flow's session."""
        from fwcore.counters import state_name

        found = self._engine.lookup(*self._tuple)
        if found is None:
            return None
        name = state_name(int(found["state"]))
        if name == "NONE":
            name = "STANDS"
        return {"created_packet": int(found["created_packet"]), "state": name}

    def state(self) -> Mapping[str, Any]:
        """Mode, pages and the gate row, as they stand between two packets."""
        gauges = self._engine.fastpath.gauges()
        row = getattr(self._engine, "row", None)  # none before the first packet
        return {
            "mode": self._engine.mode, "used_pages": gauges[0], "freeable_pages": gauges[6],
            "total_pages": self._engine.settings.total_pages,
            "gate": gate_text(row) if row is not None else "not asked yet",
        }  # fmt: skip

    def moved_before(self, packet: int) -> bool:
        """A transition at this packet whose cause is time or start; before packet 1 always."""
        found = reversed(self._engine.transitions.to_dicts()[-8:])
        return packet == 1 or any(
            row["packet"] == packet and row["cause"] != "packet" for row in found
        )

    def ends(self) -> Iterable[Mapping[str, Any]]:
        """The flow's sessions that ended, in order."""
        return self._ended


def _end_bytes(end: Any) -> tuple[bytes, int]:
    """An endpoint as a session's row holds it: 16 bytes, IPv4 in the first four."""
    return end.address.packed.ljust(16, b"\0"), end.port


def gate_text(row: Any) -> str:
    """A gate row in words: what each class of new sessions gets, and who asks for a page."""
    from fwcore._fastpath import Exposure, GateAction, ObjectAction, Reason

    parts = []
    for at, name in enumerate(CLASSES):
        action = GateAction(row.action[at])
        why = ""
        if action == GateAction.BYPASS:
            why = f" ({Exposure(row.cause[at]).name.lower()})"
        elif action == GateAction.DROP:
            why = f" ({Reason(row.reason[at]).name.lower()})"
        admitted = "forward" if at == 0 else "inspect"
        done = admitted if action == GateAction.ADMIT else action.name.lower()
        parts.append(f"{name} {done}{why}")
    if row.ips_bypass:
        parts.append("flow inspection bypassed")
    parts.append(f"new object {ObjectAction(row.object_start).name.lower()}")
    parts.append(f"page request {ObjectAction(row.page_request).name.lower()}")
    return ", ".join(parts)


def run(
    chunks: Iterable[Any], engine: Any, flow: Flow, *, vlan_zone: bool = False
) -> dict[str, Any]:
    """Follows a flow through an engine that has seen nothing yet."""
    matcher = Matcher(flow, vlan_zone=vlan_zone)
    life = follow(EngineWatch(engine, flow), chunks, flow, matcher)
    return life | {"nearest": matcher.nearest()}


# -- rendering ----------------------------------------------------------------------------------


def render_text(life: Mapping[str, Any], style: text.Style | None = None) -> str:
    """The life at 80 columns: a line a packet, and under it what changed since the last."""
    style = style or text.Style()
    lines = [style.paint(f"fwcore explain  {life['flow']}", "strong"), ""]
    if not life["rows"]:
        checked = units.plural(life["capture_packets"], "packet")
        lines.append(f"  No packet of this flow among {checked}.")
        near = life.get("nearest", ())
        lines += ["", "  Nearest flows in the capture:"] if near else []
        return "\n".join([*lines, *(f"    {flow}" for flow in near)]) + "\n"
    head = (
        f"{'packet':>11} {'time':>11}    {'flags':<5} "
        f"{'state':<11} {'used':>6} {'verdict':<7} reason"
    )
    lines.append(style.paint(head, "dim"))
    previous: Mapping[str, Any] | None = None
    for row in life["rows"][:SHOWN]:
        lines += _changes(row, previous, style)
        lines.append(_line(row, life["start_ns"], style))
        previous = row
    hidden = len(life["rows"]) - SHOWN
    if hidden > 0:
        lines.append(style.paint(f"  ... {units.plural(hidden, 'more packet')}: --json", "dim"))
    lines += ["", *ending(life, style)]
    return "\n".join(lines) + "\n"


def _line(row: Mapping[str, Any], start_ns: int, style: text.Style) -> str:
    arrows = ("→", "←") if style.unicode else (">", "<")
    arrow = arrows[row["direction"] == "reply"]
    state = row["state"] or "none"
    used = f"{100 * row['used_pages'] / row['total_pages']:.1f}%"
    verdict = style.paint(f"{row['verdict']:<7}", VERDICT_TONES.get(row["verdict"], ""))
    return (
        f"{units.count(row['packet']):>11} {units.since(row['time_ns'], start_ns):>11} "
        f"{arrow}  {row['flags']:<5} {state:<11} {used:>6} {verdict} {row['reason'].lower()}"
    )


def _changes(
    row: Mapping[str, Any], previous: Mapping[str, Any] | None, style: text.Style
) -> Iterator[str]:
    """A line when mode or gate are others than at the packet before, or the session was gone."""
    if previous and previous["session"] is not None and row["was"] != previous["session"]:
        yield style.paint(f"{'':11} session of packet {previous['session']} was gone", "bad")
    if previous and (row["mode"], row["gate"]) == (previous["mode"], previous["gate"]):
        return
    used = units.share(row["used_pages"], row["total_pages"])
    freeable = units.pages_size(row["freeable_pages"])
    mode = f"conserve {row['mode']}, memory {used} used, {freeable} freeable"
    yield style.paint(f"{'':11} {mode}", facts.MODE_TONES.get(row["mode"], "warn"))
    for part in text.fold(f"gate: {row['gate']}", text.WIDTH - 12):
        yield style.paint(f"{'':11} {part}", "dim")


def ending(life: Mapping[str, Any], style: text.Style) -> Iterator[str]:
    """How each session ended, in a sentence each."""
    if not life["sessions"]:
        yield "  No session was ever made for this flow."
    for end in life["sessions"]:
        made = f"  The session of packet {units.count(end['created_packet'])}"
        if end["packet"] is None:
            yield f"{made} stands at the end of the capture."
            continue
        when = units.since(end["time_ns"], life["start_ns"])
        packet = units.count(end["packet"])
        if end["cause"] in TAKEN:
            ended = f"{made} was ended by packet {packet} at {when}: {end['cause']}."
            yield style.paint(ended, "bad")
        else:
            yield f"{made} ended at {when}, as packet {packet} came: {end['cause']}."
