"""Shaping scenarios: meters, links and packets as an engineer would write them on paper.

    tests/scenarios/90-shaping*.toml --> Scenario --> run (twin; any shaper behind the same door)
                                             |             |
                                             +--> differences(scenario, story)

A `[[scenario]]` row:

    id, says, source        its name, the statement, where that comes from
    wiring       a vendor's tables, as in a settings file: rows of the next kinds
    meter, link, class, shaping, seed, queue_accounting, queue_packets_max    as in a settings file
    pages        free pages that queues may take; what they hold more is refused
    flows        NAME  SOURCE:PORT > DESTINATION:PORT PROTOCOL [policy N]
    packets      NUMBER TIME FLOW > FRAME [ip N] [dscp N] [ect] -> END, END ...
                 times are milliseconds after the first packet, FRAME bytes on the wire; `>` is
                 from the flow's source, `<` towards it; `icmp` is an ICMP error of the session
                 FIRST-LAST TIME+STEP ...    several alike
                 END   LINK:CLASS FATE TIME [dscp N] [ce], for each link;  pass [dscp N] where no
                       link holds it;  over_limit, queue_full, no_memory, host_limit
                 = FIGURE VALUE ...          counters after the packets so far
                 ! TIME end FLOW             the session ends
                 ! TIME clear | pages N      nothing waits any more | free pages are N more
                 ! TIME set KIND NAME [ID] {..}    configure: values of a row; without them it goes
    order        numbers of the packets as the departures stand
    expect       counters at the end, by path
    why          how the expectation is worked out

A flow's session begins with its first packet; one refused leaves none.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from fwcore.reference import declared as reading, rows, shaping
from fwcore.reference.discard import CE, CE_ALONE
from fwcore.settings import wirings
from fwcore.settings.document import Document, key_lines

FOLDER = Path(__file__).parent / "scenarios"
FILES = "90-shaping*.toml"
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1}
START_NS = 1_700_000_000 * 10**9
ETHERNET = 14

# --- settings -------------------------------------------------------------------------------------


def declared(row: dict[str, Any]) -> rows.Declared:
    """The settings of a scenario, resolved; its rows know addresses as numbers."""
    found = reading.declared(
        *(row.get(kind, ()) for kind in ("meter", "link", "class")), (),
        seed=row.get("seed", 0), queue_packets_max=row.get("queue_packets_max", 0),
        accounting=row.get("queue_accounting", "none"))
    return replace(found, rows=tuple(shaping_row(each) for each in row.get("shaping", ())))


def shaping_row(row: dict[str, Any]) -> rows.ShapingRow:
    """A `[[shaping]]` for sessions that have no packet."""
    given = {"id": 0, **row}
    for name in ("source", "destination"):
        if name in given:
            net = ip_network(given[name])
            given[name] = (int(net[0]), int(net[-1]))
    if "protocol" in given:
        given["protocol"] = PROTOCOLS[given["protocol"]]
    if "ports" in given:
        given["ports"] = (given["ports"], given["ports"])
    plain = {name: given.pop(name) for name in reading.CONDITIONS if name in given}
    return replace(reading.shaping_row(given, 0), **plain, who=None)


# --- scenarios ------------------------------------------------------------------------------------

KEYS = {"id", "source", "says", "wiring", "meter", "link", "class", "shaping", "seed",
        "queue_accounting", "queue_packets_max", "pages", "flows", "packets", "order", "expect",
        "why"}
FLOW_LINE = re.compile(r"(\w+)\s+(\S+):(\d+)\s+>\s+(\S+):(\d+)\s+(\w+)(?:\s+policy\s+(\d+))?")
PACKET_LINE = re.compile(
    r"(?P<first>\d+)(?:-(?P<last>\d+))?\s+(?P<time>[\d.]+)(?:\+(?P<step>[\d.]+))?\s+"
    r"(?P<flow>\w+)\s+(?P<way>[<>])\s+(?P<frame>\d+)(?:\s+ip\s+(?P<ip>\d+))?"
    r"(?:\s+dscp\s+(?P<dscp>\d+))?"
    r"(?P<ect>\s+ect)?(?P<icmp>\s+icmp)?\s+->\s+(?P<ends>.+)")
DEED_LINE = re.compile(r"!\s+(?P<time>[\d.]+)\s+(?P<verb>\w+)\s*(?P<rest>.*)")


@dataclass
class Scenario:
    """One row of the table."""

    file: str
    row: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.row["id"])

    def lines(self) -> Iterator[str]:
        """Lines of the packets without comments."""
        for line in self.row.get("packets", "").splitlines():
            if line := line.partition("#")[0].strip():
                yield " ".join(line.split())


@dataclass
class Story:
    """What happened, in the notation of the files."""

    ends: dict[int, list[str]] = field(default_factory=dict)
    wanted: dict[int, list[str]] = field(default_factory=dict)
    wrong_figures: list[str] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    laws: dict[str, bool] = field(default_factory=dict)
    counters: dict[str, Any] = field(default_factory=dict)


def read_all() -> list[Scenario]:
    """Every scenario of every file, in order."""
    found = []
    for path in sorted(FOLDER.glob(FILES)):
        for row in tomllib.loads(path.read_text())["scenario"]:
            unknown = row.keys() - KEYS
            assert not unknown, f"{path.name}: {row['id']}: {unknown}"
            found.append(Scenario(path.stem, row | wired(row.get("wiring", ""))))
    return found


def wired(text: str) -> dict[str, Any]:
    """The rows that a vendor's tables stand for."""
    document = Document("wiring", tomllib.loads(text), key_lines(text))
    rows = [row for vendor in document.data for row in wirings.rows_of(document, vendor)]
    made = wirings.translate(rows, 1000)
    return {kind: [dict(row) for row in each] for kind, each in made.items() if each}


def ns(text: str) -> int:
    """Milliseconds of a file as exact nanoseconds after the start."""
    amount = Fraction(text) * 10**6
    assert amount.denominator == 1, f"{text} ms is no whole number of nanoseconds"
    return START_NS + int(amount)


def ms(time_ns: int) -> str:
    """A time as the files have it."""
    whole, rest = divmod(time_ns - START_NS, 10**6)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


class Pages:
    """An account that queues take pages from."""

    def __init__(self, free: int) -> None:
        self.free = free

    def request(self, need: Any, pinned: int | None) -> bool:
        if need() > self.free:
            return False
        self.free -= need()
        return True

    def give(self, pages: int) -> None:
        self.free += pages


class Run:
    """A scenario through a shaper: the twin's, or what `make` makes behind the same door."""

    def __init__(self, scenario: Scenario, make: Any = None) -> None:
        self.scenario = scenario
        self.settings = {key: list(scenario.row.get(key, ()))
                         for key in ("meter", "link", "class", "shaping")}
        self.pages = Pages(scenario.row.get("pages", 10**9))
        if make is None:
            self.shaper = shaping.Shaper(
                declared(scenario.row), self.pages.request, self.pages.give)
        else:
            self.shaper = self.pages = make(declared(scenario.row), self.pages.free)
        self.flows = dict(map(flow_of, (scenario.row.get("flows", "")).strip().splitlines()))
        self.open: dict[str, shaping.Shaped | None] = {}
        self.story = Story()

    def run(self) -> Story:
        """All lines, then what waits leaves."""
        count = 0
        for line in self.scenario.lines():
            if line.startswith("="):
                self.check(line[1:].split())
            elif line.startswith("!"):
                self.deed(line)
            else:
                count = self.packets(line, count)
        self.shaper.drain()
        story = self.story
        names = [link.name for link in self.shaper.declared.links]
        for row in self.shaper.departures:
            link = names[row.link] if row.link < len(names) else f"#{row.link}"
            mark = "" if row.dscp is None else (
                f" dscp {row.dscp % CE}" * (row.dscp < CE_ALONE) + " ce" * (row.dscp >= CE))
            story.order.append(row.packet)
            story.ends[row.packet].append(
                f"{link}:{row.cls} {row.fate} {ms(row.time_ns)}{mark}")
        story.laws = self.shaper.laws()
        story.counters = self.shaper.counters()
        for path, value in self.scenario.row.get("expect", {}).items():
            self.figure(path, value)
        return story

    def packets(self, line: str, count: int) -> int:
        match = PACKET_LINE.fullmatch(line)
        assert match, f"{self.scenario.id}: no packet: {line}"
        first, last = int(match["first"]), int(match["last"] or match["first"])
        step = Fraction(match["step"] or 0) * 10**6
        for i, number in enumerate(range(first, last + 1)):
            count += 1
            assert number == count, f"{self.scenario.id}: packet {count}: {line}"
            self.story.wanted[number] = [end.strip() for end in match["ends"].split(",")]
            self.story.ends[number] = self.packet(
                match, number, ns(match["time"]) + int(i * step))
        return count

    def packet(self, match: re.Match[str], number: int, time_ns: int) -> list[str]:
        frame, dscp = int(match["frame"]), int(match["dscp"] or 0)
        ip = int(match["ip"] or frame - ETHERNET)
        name = match["flow"]
        if name not in self.open:
            session = rows.Session(dscp=dscp, **self.flows[name])
            self.shaper.advance(time_ns)
            row = self.shaper.row_of(session)
            if not self.shaper.admits(row, session):
                return ["host_limit"]
            self.open[name] = self.shaper.begin(row, session)
        told = self.shaper.arrive(
            rows.Arrival(number, time_ns, frame, ip, dscp, bool(match["ect"])),
            self.open[name], "forward" if match["way"] == ">" else "reply", not match["icmp"])
        if told.reason:
            return [told.reason]
        if told.link is None:
            return ["pass" if told.dscp is None else f"pass dscp {told.dscp}"]
        return []

    def check(self, words: list[str]) -> None:
        self.story.counters = self.shaper.counters()
        for path, value in zip(words[::2], words[1::2], strict=True):
            self.figure(path, int(value))

    def figure(self, path: str, value: int) -> None:
        found: Any = self.story.counters | {"free": self.pages.free}
        for part in path.split("."):
            found = found[int(part) if isinstance(found, list) else part]
        if found != value:
            self.story.wrong_figures.append(f"{path} is {found}, not {value}")

    def deed(self, line: str) -> None:
        match = DEED_LINE.fullmatch(line)
        assert match, f"{self.scenario.id}: no deed: {line}"
        verb, rest = match["verb"], match["rest"]
        self.shaper.advance(ns(match["time"]))
        if verb == "end":
            self.shaper.end(self.open.pop(rest))
        elif verb == "clear":
            self.shaper.clear()
        elif verb == "pages":
            self.pages.free += int(rest)
        else:
            assert verb == "set", line
            self.change(rest)

    def change(self, text: str) -> None:
        """`KIND NAME [ID] {values}`: values of a row, or the row goes."""
        words, brace, values = text.partition("{")
        kind, name, *number = words.split()
        table = self.settings[kind]
        at = next(i for i, row in enumerate(table) if (
            row.get("link") == name and row["id"] == int(number[0]) if number
            else str(row.get("name", row.get("id"))) == name))
        if brace:
            table[at] = table[at] | tomllib.loads(f"v = {{{values}")["v"]
        else:
            del table[at]
        self.shaper.configure(declared({**self.scenario.row, **self.settings}))


def flow_of(line: str) -> tuple[str, dict[str, int]]:
    """A flow's name and the facts of its session."""
    match = FLOW_LINE.fullmatch(line.strip())
    assert match, f"no flow: {line}"
    name, source, port, destination, service, protocol, policy = match.groups()
    facts = {"initiator": int(ip_address(source)), "responder": int(ip_address(destination)),
             "protocol": PROTOCOLS[protocol], "port": int(service), "policy": int(policy or 0),
             "hash": int(port) << 48}
    return name, facts


def differences(scenario: Scenario, story: Story) -> list[str]:
    """Everything that is not as the scenario says."""
    found = [f"packet {number}: {story.ends.get(number)}, not {wanted}"
             for number, wanted in story.wanted.items()
             if wanted != ["*"] and story.ends.get(number) != wanted]
    if "order" in scenario.row:
        wanted_order = [int(word) for word in scenario.row["order"].split()]
        if story.order != wanted_order:
            found.append(f"order {story.order}, not {wanted_order}")
    return found + story.wrong_figures
