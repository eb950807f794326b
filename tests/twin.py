"""Holds engine, parser and meters to their plain twins: the same deeds, the same story."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from simulation import story
from simulation.elsewhere import Elsewhere

from fwcore import reference
from fwcore._columns import DESTINATION, PORTS, SOURCE, Fragment, Kind, parse_columns
from fwcore._demand import Demand, Line
from fwcore._layout import Answer, EndCause, TcpState
from fwcore.capture import Chunk
from fwcore.engine import Engine
from fwcore.errors import FrameError
from fwcore.reference.demand import Demanded, dropped, late, smallest_depth
from fwcore.settings import Settings, Timeouts
from fwcore.settings.declared import ROW_KINDS

Twin = reference.Firewall | Elsewhere
CAUSES = np.array([cause.name.lower() for cause in EndCause], object)


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
    for kind, rows in settings.shaping_rows.items():
        given[ROW_KINDS[kind]] = [dict(row) for row in rows]
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
    return list(map(tuple, table_of(story.judged(firewall, *columns_of(chunk))).tolist()))


def columns_of(chunk: Chunk) -> tuple[list[bytes], list[int], list[int], list[int]]:
    """Frames, times, lengths on the wire, link types, as the twin has them."""
    frames = [chunk.frame(i) for i in range(len(chunk))]
    return frames, chunk.time_ns.tolist(), chunk.length.tolist(), chunk.link.tolist()


def table_of(judged: bytes) -> np.ndarray:
    """uint8[n, 3]: what ``story.judged`` tells."""
    return np.frombuffer(judged, np.uint8).reshape(-1, 3)


def told_by(twin: Twin, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of ``story`` says of a twin, wherever it runs."""
    if isinstance(twin, Elsewhere):
        return twin.run(function, *arguments)
    return function(twin, *arguments)


class Pair:
    """An engine and its twin side by side. Whatever is done is done to both and compared.

    Each method raises AssertionError that names the first difference. What the engine refuses is
    not done to the twin, so that ``compare`` shows whether nothing of it was done. ``elsewhere``:
    where the twin runs, if not here; then it has no inspector, no decider, and nobody's hands.
    """

    def __init__(
        self, settings: Settings, *, breath: int = 0, elsewhere: Elsewhere | None = None,
        **options: Any,
    ) -> None:
        self.engine = Engine(settings, **options)
        self.engine.fastpath.breath = breath or self.engine.fastpath.breath
        make = elsewhere.start if elsewhere else reference.Firewall
        self.twin: Any = make(config_of(settings))
        self.packets = 0
        self.openings: list[tuple[int, ...]] = []
        self.opened: list[tuple[int, ...]] = []
        self.asked: list[tuple[int, int]] = []
        self.wanted: list[tuple[int, int]] = []
        self.undecided: Callable[[], None] = lambda: None

    def process(self, chunk: Chunk) -> None:
        """Judges the chunk's packets: verdict, reason, direction."""
        reply = np.zeros(len(chunk), np.uint8)
        columns = columns_of(chunk)
        if isinstance(self.twin, Elsewhere):  # while the engine works, too
            self.twin.ask(story.judged, *columns)
        found = np.column_stack([self.engine.process(chunk, reply=reply), reply])
        wanted = table_of(self.twin.answer() if isinstance(self.twin, Elsewhere)
                          else story.judged(self.twin, *columns))
        for at in np.flatnonzero((found != wanted).any(axis=1))[:1]:
            got, want = (tuple(table[at].tolist()) for table in (found, wanted))
            raise AssertionError(f"packet {self.packets + at + 1}: engine {got}, twin {want}")
        self.packets += len(chunk)

    def judge(self, chunk: Chunk) -> None:
        """Judges the chunk's packets one by one, each by a call of its own."""
        for at in range(len(chunk)):
            alone = chunk.slice(at, at + 1)
            frame, time_ns, length, link = next(zip(*columns_of(alone), strict=True))
            try:
                found = self.engine.judge(frame, time_ns, length, link)
            except FrameError:  # longer than it was on the wire: only a chunk can say so
                self.process(alone)
                continue
            got, want = tuple(map(int, found)), judge(self.twin, alone)[0][:2]
            assert got == want, f"packet {self.packets + 1}: engine {got}, twin {want}"
            self.packets += 1

    def inspect(self, answer: Callable[..., str], first_bytes: int) -> None:
        """Sets an inspector: ``answer(payload, reply, seen, policy)``: accept, block or bypass."""
        def asked(rows: Any) -> list[Answer]:
            self.asked += [(int(row["created_packet"]), int(row["packet"])) for row in rows]
            return [Answer[answer(bytes(row["payload"][:row["size"]]), bool(row["reply"]),
                                  int(row["seen"]), int(row["policy"])).upper()] for row in rows]

        def question(row: Any) -> str:
            self.wanted.append((row.session.created_packet, row.packet))
            return answer(row.payload, row.reply, row.seen, row.session.policy.id)

        self.asked, self.wanted = [], []
        self.engine.inspect(asked, first_bytes=first_bytes)
        self.twin.set_inspector(question, first_bytes)

    def decide(self, decision: Callable[..., int]) -> None:
        """Sets a decider: ``decision(initiator, responder, protocol, port, zone, policy)``, port 0
        where there is none: -1 accept, -2 drop, or a policy's id."""
        def decided(rows: Any) -> list[int]:
            found = [opening_of(row) for row in rows]
            self.openings += found
            return [decision(*each[2:]) for each in found]

        def judged(packet: Any, from_initiator: bool, policy: Any) -> Any:
            ends, ports = (packet.source, packet.destination), packet.destination_port
            if not from_initiator:
                ends, ports = ends[::-1], packet.source_port
            port = ports if packet.transport in ("tcp", "udp", "sctp") else 0
            row = (*ends, packet.protocol, port, packet.zone, policy.id)
            self.opened.append((self.twin.number, self.twin.now, *row))
            said = decision(*row)
            if said < 0:
                return policy if said == -1 else None
            return next(each for each in self.twin.policies if each.id == said)

        self.twin.decider = judged
        self.undecided = self.engine.decide(decided)

    def decide_no_more(self) -> None:
        """Ends it."""
        self.twin.decider = None
        self.undecided()

    def configure(self, **changes: Any) -> None:
        """Changes settings. Raises what the engine raises, and then the twin is as it was."""
        before = self.engine.settings
        self.twin.configure(**changed(before, self.engine.configure(**changes)))

    def restart(self, *, keep: bool = False, **changes: Any) -> None:
        """Restarts. Raises SettingsError, and then the twin is as it was."""
        before, live = self.engine.settings, told_by(self.twin, story.live)
        cleared = self.engine.restart(keep=keep, **changes)
        live = max(0, live - self.engine.settings.max_connections) if keep else live
        assert cleared == live, f"restart: engine tore down {cleared} sessions, twin {live}"
        self.twin.restart(keep=keep, **changed(before, self.engine.settings))

    def save(self) -> None:
        """The engine is another from here on, made of what this one wrote down, less
        inspector and decider."""
        breath = self.engine.fastpath.breath
        self.twin.set_inspector(None)
        self.twin.decider, self.undecided = None, lambda: None
        self.engine = copy.deepcopy(self.engine)
        self.engine.fastpath.breath = breath

    def look(self) -> None:
        """Asks the engine for what it tells of itself; that changes nothing."""
        self.engine.shaping()
        self.engine.departures()
        self.engine.arrivals()
        self.engine.result()

    def drain(self) -> None:
        """Lets leave what waits."""
        self.engine.drain()
        self.twin.drain()

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
        engine, outcome = self.engine, bool(whole and self.packets)
        asked, wanted = (rows[-1:] for rows in (self.asked, self.wanted))
        assert self.asked == self.wanted, f"asked {asked} last, the twin {wanted}"
        assert_equal_tree({
            "transitions": engine.transitions.to_dicts(), "events": engine.events.to_dicts(),
            "counters": engine.counters(), "modes": engine.modes, "victims": victims_of(engine),
            "sessions": sessions_of(engine),
            "half_open": engine.fastpath.counters()["half_open"],
            "outcome": engine.outcome() if outcome else "",
        }, told_by(self.twin, story.told, outcome))
        assert_laws(engine)

    def compare_counters(self) -> None:
        """Counters and laws: of a large table soon had."""
        assert_equal_tree(self.engine.counters(), told_by(self.twin, story.counted), "counters")
        assert_laws(self.engine)


def opening_of(row: Any) -> tuple[int, ...]:
    """An opening: packet, time, initiator, responder, protocol, responder's port, zone, policy."""
    size = 4 if row["family"] == 4 else 16
    ends = (int.from_bytes(bytes(row[name][:size])) for name in ("initiator", "responder"))
    port = int(row["responder_port"]) if row["protocol"] in (6, 17, 132) else 0
    return (int(row["packet"]), int(row["time_ns"]), *ends, int(row["protocol"]), port,
            int(row["zone"]), int(row["policy"]))


def assert_laws(engine: Engine) -> None:
    """Every law holds; each compares with a fresh audit of the table."""
    broken = [name for name, holds in engine.laws().items() if not holds]
    assert not broken, f"broken laws: {', '.join(broken)}"


def victims_of(engine: Engine) -> list[tuple[int, ...]]:
    """The engine's ledger, as story.LEDGER."""
    rows = engine.victims()
    columns = (rows["created_packet"], rows["ended_packet"], CAUSES[rows["cause"]],
               rows["ended_ns"] - rows["created_ns"], rows["ended_ns"] - rows["last_seen_ns"],
               rows["bytes"].sum(axis=1), rows["policy"])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def sessions_of(engine: Engine) -> list[tuple]:
    """What stands, as story.standing says."""
    def ways(row: Any) -> tuple[bool, ...]:  # with a shaper packets are those that passed
        return tuple(map(bool, row["packets"])) if engine.fastpath.shaper is None else ()

    return [
        (int(r["created_packet"]), int.from_bytes(bytes(r["initiator"])[:4 if r["family"] == 4
                                                                        else 16]),
         TcpState(int(r["state"])).name, int(r["packets"].sum()), int(r["bytes"].sum()),
         int(r["last_seen_ns"]), bool(r["exposed"]), *ways(r))
        for r in engine.sessions()]


def assert_same(settings: Settings, chunks: list[Chunk], **options: Any) -> Engine:
    """Engine and twin agree in every verdict, reason, transition, event, counter and the outcome;
    and every law holds."""
    pair = Pair(settings, **options)
    for chunk in chunks:
        pair.process(chunk)
    pair.compare()
    return pair.engine


def assert_equal_tree(got: Any, want: Any, path: str = "") -> None:
    """Equality that names the place of the first difference."""
    if got == want:
        return
    if isinstance(want, dict):
        assert set(got) == set(want), f"{path}: keys {set(got) ^ set(want)}"
        for key in want:
            assert_equal_tree(got[key], want[key], f"{path}.{key}" if path else key)
    elif isinstance(want, list):
        for i, (one, other) in enumerate(zip(got, want, strict=False)):
            assert_equal_tree(one, other, f"{path}[{i}]")
        assert len(got) == len(want), f"{path}: engine {len(got)} rows, twin {len(want)}"
    else:
        raise AssertionError(f"{path}: engine {got}, twin {want}")


# --- the parser ---------------------------------------------------------------------------------

FRAME_KINDS = {"session": (Kind.KEYED,), "icmp_error": (Kind.QUOTE, Kind.NO_QUOTE),
         "later": (Kind.LATER,), "non_ip": (Kind.NON_IP,), "truncated": (Kind.TRUNCATED,),
         "unsupported_link": (Kind.UNSUPPORTED,), "malformed": (Kind.MALFORMED,)}
FRAGMENTS = {"": Fragment.WHOLE, "first": Fragment.FIRST, "later": Fragment.LATER}


def number(halves: np.ndarray) -> int:
    return int(halves[0]) << 64 | int(halves[1])


def ip_headers(frame: bytes, row: np.void) -> set[tuple[int, int]]:
    """(bytes of the packet, dscp) as headers with these addresses say; what was on the wire of an
    offloaded one. Where both addresses are found more than once, one of several may be meant."""
    family, count = int(row["family"]), 4 if row["family"] == 4 else 16
    before = 12 if family == 4 else 8
    pair = b"".join(number(row[name]).to_bytes(16, "big")[-count:]
                    for name in ("source", "destination"))
    found = set()
    for at in range(len(frame) - before - len(pair) + 1):
        if frame[at + before:at + before + len(pair)] != pair:
            continue
        word = int.from_bytes(frame[at:at + 4], "big")
        if family == 4:
            said, dscp = word & 0xFFFF, word >> 18 & 63
        else:
            said, dscp = int.from_bytes(frame[at + 4:at + 6], "big"), word >> 22 & 63
            said += 40 if said else 0
        found.add((said or int(row["length"]) - at, dscp))
    return found


def assert_columns(chunk: Chunk, zone: bool, shift: int = 0, cut: bool = False) -> None:
    """``parse_columns`` says of each frame what the twin's parser says."""
    rows = parse_columns(chunk, zone=zone, shift=shift, cut=cut)
    there = parse_columns(chunk, zone=zone, cut=cut) if shift else rows
    for i, row in enumerate(rows):
        packet = reference.parse(chunk.frame(i), int(chunk.length[i]), int(chunk.link[i]),
                                 vlan_zone=zone, shift=shift, short_cut=cut)

        def where(i: int = i, row: np.void = row) -> str:  # only when it is wanted
            return f"frame {i}: {chunk.frame(i).hex()}: {row}"

        assert row["kind"] in FRAME_KINDS[packet.kind], where()
        assert row["length"] == chunk.length[i], where()
        if packet.kind not in ("session", "icmp_error", "later"):
            continue
        assert (row["family"], row["protocol"]) == (packet.family, packet.protocol), where()
        assert row["has"] & (SOURCE | DESTINATION) == SOURCE | DESTINATION, where()
        assert number(row["source"]) == packet.source, where()
        assert number(row["destination"]) == packet.destination, where()
        assert row["fragment"] == FRAGMENTS[packet.fragment], where()
        if packet.fragment:
            assert (row["fragment_id"], row["fragment_protocol"]) == (
                packet.fragment_id, packet.fragment_protocol), where()
        assert (row["ip_bytes"], row["dscp"]) in ip_headers(
            chunk.frame(i), there[i]), where()
        if zone:
            assert row["zone"] == packet.zone, where()
        if packet.kind == "session":
            ports = [packet.key.port_a, packet.key.port_b]  # ICMP's stand with the key's ends
            assert [row["source_port"], row["destination_port"]] == (
                ports if packet.source_first else ports[::-1]), where()
            assert bool(row["has"] & PORTS) == (packet.transport in ("tcp", "udp", "sctp")), where()
            assert row["payload"] == packet.payload, where()
            assert row["tcp_flags"] == packet.flags, where()
        if row["kind"] in (Kind.KEYED, Kind.QUOTE) and packet.key is not None:
            key = packet.key
            meta = (key.port_a | key.port_b << 16 | key.zone << 32 | key.protocol << 48
                    | key.family << 56)
            words = row["key"].tolist()
            assert words[0] == meta, where()
            assert (words[3] << 64 | words[1], words[4] << 64 | words[2]) == (
                key.address_a, key.address_b), where()
            assert row["swapped"] == (not packet.source_first), where()
            assert row["flow"] != 0, where()


# --- what traffic demands -----------------------------------------------------------------------


def demand_columns(packets: list[Demanded]) -> tuple[np.ndarray, ...]:
    """What Demand.feed takes; a flow's number is its first word, from 1."""
    keys, flows = np.zeros((len(packets), 6), np.uint64), np.zeros((len(packets), 5), np.uint64)
    keys[:, 5] = [packet.key or 0 for packet in packets]
    flows[:, 0] = [0 if packet.flow is None else packet.flow + 1 for packet in packets]
    return (np.array([packet.time_ns for packet in packets], np.int64),
            np.array([packet.bytes for packet in packets], np.uint64), keys, flows,
            np.array([packet.tcp for packet in packets], np.uint8))


def fed(maker: Callable[[], Any], packets: list[Demanded], cuts: Iterable[int] = ()) -> Any:
    """A kernel after these packets, given in parts."""
    made, edges = maker(), sorted({0, len(packets), *(cut % (len(packets) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(edges):
        given = demand_columns(packets[begin:end])
        made.feed(*(given[:2] if isinstance(made, Line) else given))
    return made


def assert_buckets(
    packets: list[Demanded], rates: list[int], depths: list[int], cuts: Iterable[int],
) -> None:
    """Smallest depths, and what deeper and shallower buckets drop."""
    found = fed(lambda: Demand(rates, [depths] * len(rates), 8, 8), packets, cuts)
    assert found.depth_bytes() == [smallest_depth(packets, rate) for rate in rates]
    assert found.dropped() == [[dropped(packets, rate, depth) for depth in depths]
                               for rate in rates]
    assert found.keys == len({packet.key for packet in packets})
    assert found.forgotten == {"packets": 0, "bytes": 0}
    assert sum(row["bytes"] for row in found.top()) == sum(packet.bytes for packet in packets)


def assert_lines(
    packets: list[Demanded], rates: list[int], delay_ns: int, cuts: Iterable[int],
) -> None:
    """How many packets lines of these rates give out too late."""
    found = fed(lambda: Line(rates, delay_ns), packets, cuts)
    assert found.late == [late(packets, rate, delay_ns) for rate in rates]
    assert found.packets == len(packets)
