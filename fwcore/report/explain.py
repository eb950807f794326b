"""The life of one flow, packet by packet: what the firewall was, and what it did, at each.

`follow` drives an engine through a capture and stops around the packets of the flow; nothing it
does changes the outcome, for results do not depend on how packets are cut into chunks. What it
writes down is a plain dictionary; `show` reads only that.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple, Protocol

import numpy as np

from fwcore import _shaper, units
from fwcore._columns import Fragment, Kind, parse_columns
from fwcore._layout import EndCause, Exposure, GateAction, ObjectAction, Reason, Verdict
from fwcore.counters import state_name
from fwcore.datagrams import Arrivals, Datagrams
from fwcore.errors import FwcoreError
from fwcore.flow import Endpoint, Flow
from fwcore.replay.selection import Selection
from fwcore.replay.shaped import shaping_timeline
from fwcore.report import facts, graph, over_time, text
from fwcore.words import CLASSES

FILTERED = 20  # packets in the display filter to copy
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

    def begin(self, time_ns: int) -> None:
        """Time zero, where the capture begins before its first packet; further calls do nothing."""

    def session(self) -> Mapping[str, Any] | None:
        """The flow's session now: {created_packet, state}, or None."""

    def state(self) -> Mapping[str, Any]:
        """{mode, used_pages, freeable_pages, total_pages, gate}; gate is a line of text."""

    def moved_before(self, packet: int) -> bool:
        """Whether a mode changed at a moment that was due before this packet was judged."""

    def met(self, packet: int) -> dict[str, Any] | None:
        """What this packet, the last one, met of shaping; its fate comes later. None: nothing."""

    def ends(self) -> Iterable[Mapping[str, Any]]:
        """Every session of the flow that ended: {created_packet, packet, time_ns, cause}."""


def follow(
    watch: Watch, frames: Iterable[Any], flow: Flow, match: Callable[[Any], Iterable[Seen]],
    selection: Selection | None = None,
) -> dict[str, Any]:
    """Runs the whole capture; the flow's life as a dictionary of plain values.

    ``selection``: which frames are packets; rows have the capture's numbers.
    """
    rows: list[dict[str, Any]] = []
    selection = selection or Selection()
    done = 0
    for each in frames:
        chunk = selection.take(each)
        if selection and selection.first_ns is not None:
            watch.begin(selection.first_ns)
        position = 0
        for seen in match(chunk):
            if seen.index > position:
                watch.process(chunk.slice(position, seen.index))
            packet = done + seen.index + 1
            rows.append(_one(watch, chunk.slice(seen.index, seen.index + 1), seen, packet))
            position = seen.index + 1
        if position < len(chunk):
            watch.process(chunk.slice(position, len(chunk)))
        done += len(chunk)
    sessions = _sessions(rows, watch)
    for row in (*rows, *sessions):
        for name in ("packet", "session", "was", "created_packet"):
            if row.get(name) is not None:
                row[name] = selection.number(row[name])
    return {
        "schema": 1, "kind": "explain", "flow": str(flow), "start_ns": selection.first_ns or 0,
        "capture_packets": selection.frames, "kept": selection.packets,
        "rows": rows, "sessions": sessions,
    }  # fmt: skip


def _one(watch: Watch, chunk: Any, seen: Seen, packet: int) -> dict[str, Any]:
    """One packet of the flow: the firewall as it met it, and what came of it."""
    before, met = watch.session(), watch.state()
    ((verdict, reason),) = watch.process(chunk)
    after, shaped = watch.session(), watch.met(packet)
    if watch.moved_before(packet):  # the packet already saw what its time brought about
        met = watch.state()
    return {
        "packet": packet, "time_ns": int(chunk.time_ns[0]), "direction": seen.direction,
        "flags": seen.flags, "length": seen.length,
        "before": before and before["state"], "state": after and after["state"],
        "session": after and after["created_packet"], "was": before and before["created_packet"],
        **met, "verdict": verdict, "reason": reason, **({"met": shaped} if shaped else {}),
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

    A chunk is parsed at once, as the firewall parses it; only what matches is looked at one by one.
    """

    NEAREST = 5

    def __init__(self, flow: Flow, *, vlan_zone: bool = False) -> None:
        low, high = flow.key[:2]
        self._ends = tuple(_halves(end) for end in (flow.initiator, flow.responder))
        self._initiator_first = flow.initiator == low
        self._words = np.array([
            low.port | high.port << 16 | flow.zone << 32 | flow.protocol << 48
            | low.address.version << 56,
            _halves(low)[1], _halves(high)[1], _halves(low)[0], _halves(high)[0],
        ], dtype=np.uint64)
        self._family = low.address.version
        self._vlan_zone, self._zone = vlan_zone, flow.zone
        self._fragments: Datagrams[bool] = Datagrams(vlan_zone=vlan_zone)      # of this flow
        self._arrivals = Arrivals()
        self._near: tuple[dict[int, Flow], dict[int, Flow]] = {}, {}  # same hosts, same initiator
        self._found = False

    def __call__(self, chunk: Any) -> Iterator[Seen]:
        """The flow's packets of a chunk, in order; the chunk itself is not changed."""
        rows = parse_columns(chunk, zone=self._vlan_zone, cut=True)
        if not self._found:
            self._look_around(rows)
        maybe = np.flatnonzero((rows["key"][:, 1] == self._words[1])
                               | (rows["fragment"] != Fragment.WHOLE))
        few, times_ns = rows[maybe], self._arrivals.at(chunk.time_ns, maybe)
        own = (few["key"] == self._words).all(axis=1)
        there, back = self._between(few, 0, 1), self._between(few, 1, 0)
        parts = (few["fragment"] != Fragment.WHOLE) & (there | back)
        seen = [self._seen(few[at], int(maybe[at]), bool(there[at]))
                for at in np.flatnonzero(own | parts).tolist()
                if self._belongs(few[at], times_ns[at], bool(own[at]))]
        self._found |= bool(seen)
        yield from seen

    def _look_around(self, rows: Any) -> None:
        """Who else there was, as long as the flow itself was not."""
        both = self._between(rows, 0, 1) | self._between(rows, 1, 0)
        self._remember(rows, both, 0)
        self._remember(rows, self._at(rows["source"], 0) & ~both, 1)

    def nearest(self) -> list[str]:
        """Flows between the same hosts, then others of the initiator; none if it was found."""
        if self._found:
            return []
        near = [*self._near[0].values(), *self._near[1].values()]
        return [str(flow) for flow in near[: self.NEAREST]]

    def _at(self, address: Any, end: int) -> Any:
        return (address == np.array(self._ends[end], np.uint64)).all(axis=1)

    def _between(self, rows: Any, source: int, destination: int) -> Any:
        """Rows from one of the flow's ends to another, bool[n]; ports are not looked at."""
        return (self._at(rows["source"], source) & self._at(rows["destination"], destination)
                & (rows["family"] == self._family))

    def _remember(self, rows: Any, which: Any, kind: int) -> None:
        """Keeps the first flows among the chosen rows for `nearest`, written as the packet goes."""
        known = self._near[kind]
        if len(known) >= self.NEAREST:
            return
        index = np.flatnonzero(
            which & (rows["kind"] == Kind.KEYED) & (rows["family"] == self._family))
        _, first = np.unique(rows["flow"][index], return_index=True)
        for row in rows[index[np.sort(first)]]:
            if int(row["flow"]) not in known and len(known) < self.NEAREST:
                known[int(row["flow"])] = _flow_of(row, self._vlan_zone)

    def _belongs(self, row: Any, time_ns: int, own: bool) -> bool:
        """Whether a packet is the flow's: its own, or a fragment that follows one."""
        if row["kind"] == Kind.LATER:
            return self._fragments.of(row, time_ns) or False
        if row["fragment"] == Fragment.FIRST:
            self._fragments.begin(row, time_ns, own)
        return own

    def _seen(self, row: Any, index: int, there: bool) -> Seen:
        """One of the flow's packets, in words."""
        letters = "".join(letter for bit, letter in FLAG_LETTERS if row["tcp_flags"] & bit)
        forward = there
        if row["kind"] != Kind.LATER:
            forward = bool(row["swapped"]) != self._initiator_first
        if row["kind"] == Kind.QUOTE:  # an error goes back to who sent the packet that it quotes
            forward = not forward
        part = ("", "first", "later")[row["fragment"]]
        return Seen(index, "forward" if forward else "reply", letters or part, int(row["length"]))


def _halves(end: Endpoint) -> tuple[int, int]:
    """High and low half of an address."""
    return divmod(int(end.address), 1 << 64)


def _flow_of(row: Any, vlan_zone: bool) -> Flow:
    """A packet's flow, its sender first."""
    kinds = IPv4Address if row["family"] == 4 else IPv6Address
    ends = [Endpoint(kinds(int(row[end][0]) << 64 | int(row[end][1])), int(row[f"{end}_port"]))
            for end in ("source", "destination")]  # fmt: skip
    return Flow(ends[0], ends[1], int(row["protocol"]), int(row["zone"]) if vlan_zone else 0)


def _quoted(row: Any, vlan_zone: bool) -> Flow:
    """The flow that an ICMP error is about: the sender of what it quotes first."""
    meta, a_low, b_low, a_high, b_high = (int(word) for word in row["key"])
    kinds = IPv4Address if meta >> 56 == 4 else IPv6Address
    ends = [Endpoint(kinds(a_high << 64 | a_low), meta & 0xFFFF),
            Endpoint(kinds(b_high << 64 | b_low), meta >> 16 & 0xFFFF)]
    first, second = ends[::-1] if row["swapped"] else ends
    return Flow(first, second, meta >> 48 & 0xFF, int(row["zone"]) if vlan_zone else 0)


def flow_of_packet(frames: Iterable[Any], number: int, *, vlan_zone: bool = False) -> Flow:
    """The flow of a packet by its number in the capture, its sender first; of an ICMP error the
    one that it quotes. Raises FwcoreError."""
    done = 0
    firsts: Datagrams[Any] = Datagrams(vlan_zone=vlan_zone)
    arrivals = Arrivals()
    for chunk in frames:
        rows = parse_columns(chunk, zone=vlan_zone, cut=True)
        at = number - done - 1
        parts = np.flatnonzero(rows["fragment"][:max(at, 0) + 1] != Fragment.WHOLE)
        times_ns = dict(zip(parts.tolist(), arrivals.at(chunk.time_ns, parts), strict=True))
        for index, time_ns in times_ns.items():
            if index < at and rows["fragment"][index] == Fragment.FIRST:
                firsts.begin(rows[index], time_ns, rows[index])
        if at < len(chunk):
            row = rows[at]
            if row["kind"] == Kind.LATER:
                first = firsts.of(row, times_ns[at])
                row = row if first is None else first
            if row["kind"] == Kind.QUOTE:
                return _quoted(row, vlan_zone)
            if row["kind"] != Kind.KEYED:
                kind = Kind(int(row["kind"])).name.lower().replace("_", " ")
                if row["kind"] == Kind.LATER:
                    kind = "a later fragment; the first one is not before it"
                raise FwcoreError(f"packet {number} has no flow of its own ({kind})")
            return _flow_of(row, vlan_zone)
        done += len(chunk)
    raise FwcoreError(f"there is no packet {number}: the capture has {done}")


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
        self._last = np.zeros(0, _shaper.ARRIVAL_DTYPE)
        self._waits: dict[int, dict[str, Any]] = {}     # the flow's packets that are at links

    def process(self, chunk: Any) -> list[tuple[str, str]]:
        """Verdict and reason of each packet by name; keeps the flow's sessions that ended."""
        outcome = self._engine.process(chunk)
        for rows in self._engine.collect_ended():
            self._keep(rows)
        self._last = self._engine.arrivals()[-1:]
        if len(chunk) > 1:
            return []  # nobody asks about the packets in between
        return [(Verdict(int(a)).name, Reason(int(b)).name) for a, b in outcome]

    def begin(self, time_ns: int) -> None:
        """Time zero, where the capture begins before its first packet."""
        self._engine.begin(time_ns)

    def _keep(self, rows: Any) -> None:
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
        found = self._engine.lookup(*self._tuple)
        if found is None:
            return None
        name = state_name(int(found["state"]))
        return {"created_packet": int(found["created_packet"]),
                "state": "STANDS" if name == "NONE" else name}

    def state(self) -> Mapping[str, Any]:
        """Mode, pages and the gate row, as they stand between two packets."""
        gauges = self._engine.fastpath.gauges()
        row = getattr(self._engine, "row", None)  # none before the first packet
        return {
            "mode": self._engine.mode, "used_pages": gauges.used_pages,
            "freeable_pages": gauges.cache_pages, "total_pages": self._engine.settings.total_pages,
            "gate": gate_text(row) if row is not None else "not asked yet",
        }  # fmt: skip

    def moved_before(self, packet: int) -> bool:
        """A transition at this packet whose cause is time or start; before packet 1 always."""
        found = reversed(self._engine.transitions.to_dicts()[-8:])
        return packet == 1 or any(
            row["packet"] == packet and row["cause"] != "packet" for row in found
        )

    def met(self, packet: int) -> dict[str, Any] | None:
        """Meters in their order with colour and level found, the class and who waited there."""
        found = self._met(packet)
        self._note(self._engine.departures())
        return found

    def _met(self, packet: int) -> dict[str, Any] | None:
        if not len(self._last) or self._last["packet"][0] != packet:
            return None
        (row,), (_, links) = self._last, self._engine.shaping_names()
        meters = self._engine.settings.shaping.meters
        found: dict[str, Any] = {
            "meters": [
                {"name": meters[number].name, "colour": int(colour), "level": int(level),
                 "rungs": len(meters[number].rungs),
                 "counts": "packet" if meters[number].count == "packets" else "byte"}
                for number, colour, level in zip(row["meter"], row["colour"], row["level"],
                                                 strict=True)
                if number != _shaper.NO_METER],
            "dscp": None if row["mark"] == _shaper.UNMARKED else int(row["mark"])}
        if row["link"] != _shaper.NO_LINK:
            found |= {"link": links[row["link"]], "class": int(row["cls"]),
                      "waiting": int(row["waiting"]),
                      "waiting_bytes": int(row["waiting_bytes"]), "fate": "", "wait_ns": None}
            if not row["why"]:
                self._waits[packet] = found | {"time_ns": int(row["time_ns"])}
                found = self._waits[packet]
        return found

    def _note(self, departures: Any) -> None:
        """What left: the fates of the flow's packets."""
        for row in departures[departures["fate"] != _shaper.FATES.index("passed_on")]:
            found = self._waits.pop(int(row["packet"]), None)
            if found is not None:
                found["fate"] = _shaper.FATES[row["fate"]]
                found["wait_ns"] = int(row["time_ns"]) - found.pop("time_ns")
                if _shaper.MARKED_CE <= row["dscp"] != _shaper.UNMARKED:
                    found["ce"] = True

    def drain(self) -> None:
        """What waits at the end leaves in its time."""
        self._engine.drain()
        self._note(self._engine.departures())

    def ends(self) -> Iterable[Mapping[str, Any]]:
        """The flow's sessions that ended, in order."""
        return self._ended

    def queues(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Links and classes that these packets came to, from the first of them to the last of them
        to leave: {"shaping_timeline": ...}."""
        held = [row for row in rows if "link" in row.get("met", {})]
        if not held:
            return {}
        came = {(row["met"]["link"], row["met"]["class"]) for row in held}
        last_ns = max(row["time_ns"] + (row["met"]["wait_ns"] or 0) for row in held)
        found, links = shaping_timeline(self._engine), {link for link, _ in came}
        return {"shaping_timeline": within(found | {
            "links": [row for row in found["links"] if row["name"] in links],
            "classes": [row for row in found["classes"] if (row["link"], row["id"]) in came],
            "meters": []}, held[0]["time_ns"], last_ns)}


def within(found: Mapping[str, Any], first: int, last: int) -> dict[str, Any]:
    """A ``shaping_timeline`` from a moment to another: the samples that have both within them."""
    times = found["time_ns"]
    part = slice(max(0, bisect_right(times, first) - 1), bisect_left(times, last) + 1)
    return {**found, "time_ns": times[part], **{kind: [
        {name: each[part] if isinstance(each, list) else each for name, each in row.items()}
        for row in found[kind]] for kind in ("links", "classes", "meters")}}


def _end_bytes(end: Any) -> tuple[bytes, int]:
    """An endpoint as a session's row holds it: 16 bytes, IPv4 in the first four."""
    return end.address.packed.ljust(16, b"\0"), end.port


def gate_text(row: Any) -> str:
    """A gate row in words: what each class of new sessions gets, and who asks for a page."""
    parts = []
    for at, name in enumerate(CLASSES):
        action = GateAction(row.action[at])
        done = action.name.lower()
        if action == GateAction.ADMIT:
            done = "forward" if at == 0 else "inspect"
        elif action == GateAction.BYPASS:
            done += f" ({Exposure(row.cause[at]).name.lower()})"
        elif action == GateAction.DROP:
            done += f" ({Reason(row.reason[at]).name.lower()})"
        parts.append(f"{name} {done}")
    if row.ips_bypass:
        parts.append("flow inspection bypassed")
    parts.append(f"new object {ObjectAction(row.object_start).name.lower()}")
    parts.append(f"page request {ObjectAction(row.page_request).name.lower()}")
    return ", ".join(parts)


def run(
    frames: Iterable[Any], engine: Any, flow: Flow, *, vlan_zone: bool = False,
    selection: Selection | None = None,
) -> dict[str, Any]:
    """Follows a flow through an engine that has seen nothing yet."""
    matcher = Matcher(flow, vlan_zone=vlan_zone)
    watch = EngineWatch(engine, flow)
    life = follow(watch, frames, flow, matcher, selection)
    watch.drain()
    return life | {"nearest": matcher.nearest()} | watch.queues(life["rows"])


# -- rendering ----------------------------------------------------------------------------------


def show(life: Mapping[str, Any], style: text.Style | None = None) -> str:
    """The life at 80 columns: a line a packet, and under it what changed since the last."""
    style = style or text.Style()
    lines = [style.paint(f"fwcore explain  {life['flow']}", "strong"), ""]
    if not life["rows"]:
        checked = units.plural(life["capture_packets"], "packet")
        if life["kept"] < life["capture_packets"]:
            checked = (f"the {units.plural(life['kept'], 'packet')} that the filter keeps of"
                       f" {units.count(life['capture_packets'])}")
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
        lines += [style.paint(f"{'':11} {line}", "dim")
                  for line in text.fold(shaped_text(row["met"]), text.WIDTH - 12)
                  ] if row.get("met") else []
        previous = row
    hidden = len(life["rows"]) - SHOWN
    if hidden > 0:
        lines.append(style.paint(f"  ... {units.plural(hidden, 'more packet')}: --json", "dim"))
    lines += _over_time(life, style)
    lines += ["", *ending(life, style)]
    numbers = ", ".join(str(row["packet"]) for row in life["rows"][:FILTERED])
    more = ", ..." if len(life["rows"]) > FILTERED else ""
    told = text.fold(f"Wireshark: frame.number in {{{numbers}{more}}}", text.WIDTH - 2)
    lines += ["", *(style.paint(f"  {line}", "dim") for line in told)]
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


def shaped_text(met: Mapping[str, Any]) -> str:
    """A packet's meters with their levels, its queue, its wait."""
    parts = [f"meter {each['name']}: {_colour(each)}{units.plural(each['level'], each['counts'])}"
             " in the bucket" for each in met["meters"]]
    if met.get("dscp") is not None:
        parts.append(f"marked DSCP {met['dscp']}")
    if "link" in met:
        queue = (f"class {met['link']}:{met['class']} behind"
                 f" {units.plural(met['waiting'], 'packet')}")
        if met["waiting"]:
            queue += f", {units.size(met['waiting_bytes'])}"
        if met["fate"]:
            queue += f", {met['fate'].replace('_', ' ')} after {units.nanoseconds(met['wait_ns'])}"
            if met.get("ce"):
                queue += ", told of congestion (CE)"
        parts.append(queue)
    return "; ".join(parts) or "no row of shaping matched"


def _colour(met: Mapping[str, Any]) -> str:
    """Which of a meter's rungs a packet is of; nothing where it has one, and it conforms."""
    rungs = met["rungs"]
    if met["colour"] >= rungs:
        return f"beyond its {units.plural(rungs, 'rung')}, " if rungs > 1 else "too much, "
    return f"rung {met['colour'] + 1} of {rungs}, " if rungs > 1 else ""


def _over_time(life: Mapping[str, Any], style: text.Style) -> list[str]:
    """The queues that the flow's packets came to, while they came, and when these came."""
    found = life.get("shaping_timeline")
    came = [row["time_ns"] for row in life["rows"] if "link" in row.get("met", {})]
    if not found or not found["time_ns"] or not came:
        return []
    start = min(*came, found["time_ns"][0])
    shown = over_time.of_timeline(found, start, text.GRAPH)
    picture = graph.queues(shown, [(time - start) / 1e9 for time in came], width=text.GRAPH,
                           unicode=style.unicode) if shown else None
    if picture is None:
        return []
    begins, ends = (units.since(time, life["start_ns"]).strip()
                    for time in (start, max(*came, found["time_ns"][-1])))
    return ["", *text.picture(picture, 0, style, begins, ends)]


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
