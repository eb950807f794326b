"""Scenarios: what the sources say, as packets an engineer would write on paper.

    tests/scenarios/*.toml  -->  Scenario  -->  steps (packets, checks, operator)
                                    |               |
                                    |               +--> run_engine, run_twin --> Story
                                    +--> differences(scenario, Story)
    render() --> docs/scenarios.md

A file has an `about` text, presets (`[preset.NAME]`, settings by name) and `[[scenario]]` rows:

    id           its name                    source   mark and place of the statement
    says         the statement, in our words
    preset       settings of the preset; `personality` and `settings` go on top of it
    policies, pressure, base_items           rows as in a settings file
    flows        NAME  SOURCE:PORT > DESTINATION:PORT PROTOCOL [bucket N]
                 NAME[n] is a family: `n` in an address or a bucket is the member's number, a port
                 may be `1000+n`; a port `*` with `bucket N` is the next port that falls into it
    packets      NUMBER TIME FLOW > WHAT -> VERDICT REASON      one packet, seconds from the first
                 FIRST-LAST TIME+STEP FLOW[1..9] > WHAT -> ...  one packet of each member
                 `>` is from the flow's source, `<` towards it; WHAT is TCP flags (letters of
                 SARFP, or - for none) and bytes of payload; for others bytes of payload only
                 = FIGURE VALUE ...       what holds after the packets so far
                 ! configure NAME=VALUE   the operator; `-> refused TEXT` where it must not work
                 ! restart NAME=VALUE -> cleared N
    transitions  PACKET CAUSE TIME MACHINE FROM > TO USED/CACHE/FREE (pages)
    victims      CREATED ENDED CAUSE   packets that made and ended the session; FIRST-LAST for
                 several that one packet ended
    events       PACKET TIME KIND FIGURE VALUE ...   without those that transitions are
    kinds        the kinds of all events in order, those of transitions too
    expect       counters at the end, by path
    thresholds   MACHINE.LEVEL = pages
    refused      text of the SettingsError: there is no run
    why          how the expectation is worked out

What is not given did not happen: a scenario without `victims` has none. Amounts may be written
"12 pages". Frames carry headers only; payload counts on the wire.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from frames import echo, ethernet, ip, sctp, tcp, udp
from twin import changed, config_of

FOLDER = Path(__file__).parent / "scenarios"
FILES = "[0-8]*.toml"
"""Those of shaping, 90 and on, have a notation of their own: shaping_scenario.py."""
PAGE = Path(__file__).parent.parent / "docs" / "scenarios.md"
START_NS = 1_700_000_000 * 10**9
PAGE_BYTES = 4096
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "sctp": 132}
TRANSPORTS = {PROTOCOLS["udp"]: udp, PROTOCOLS["sctp"]: sctp}
TRANSITION_KINDS = ("conserve_entered", "conserve_left", "extreme_entered", "extreme_left")
MASK = (1 << 64) - 1


# --- the keyed hash, from decisions.md, so that a flow can be put into a bucket ------------------


def seeds(seed: int) -> list[int]:
    """Six numbers of the splitmix64 stream."""
    numbers = []
    for _ in range(6):
        seed = seed + 0x9E3779B97F4A7C15 & MASK
        z = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        numbers.append(z ^ z >> 31)
    return numbers


def mum(a: int, b: int) -> int:
    product = a * b
    return (product & MASK) ^ (product >> 64)


def bucket_of(ends: tuple[tuple[int, int], tuple[int, int]], protocol: int, buckets: int) -> int:
    """The bucket of an IPv4 flow with seed 0. ``ends``: (address, port) twice."""
    k = seeds(0)
    (a, port_a), (b, port_b) = sorted(ends)
    meta = port_a | port_b << 16 | protocol << 48 | 4 << 56
    h = mum(mum(a ^ k[0], b ^ k[1]) ^ k[4], meta ^ k[5])
    return ((h >> 32) * buckets) >> 32


# --- flows and frames ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Flow:
    """Two ends and a protocol number."""

    source: str
    port: int
    destination: str
    service: int
    protocol: int

    def frame(self, forward: bool, flags: str, payload: int) -> tuple[bytes, int]:
        """Ethernet frame with headers only, and its length on the wire."""
        ends = [(self.source, self.port), (self.destination, self.service)]
        (source, sport), (destination, dport) = ends if forward else reversed(ends)
        if self.protocol == PROTOCOLS["tcp"]:
            body = tcp(sport, dport, flags)
        elif self.protocol in TRANSPORTS:
            body = TRANSPORTS[self.protocol](sport, dport)
        else:
            body = echo(self.port, not forward) if self.protocol == PROTOCOLS["icmp"] else b""
        frame = ethernet(ip(source, destination, self.protocol, body + bytes(payload)))
        return frame[:len(frame) - payload], len(frame)


FLOW_LINE = re.compile(
    r"(?P<name>\w+)(?P<family>\[n\])?\s+(?P<source>\S+):(?P<port>\*|\d+(?:\+n)?)\s+>\s+"
    r"(?P<destination>\S+):(?P<service>\d+)\s+(?P<protocol>\w+)(?:\s+bucket\s+(?P<bucket>n|\d+))?")


class Flows:
    """The flows of a scenario by name, made when first spoken of."""

    def __init__(self, text: str, buckets: int) -> None:
        self.buckets = buckets
        self.lines: dict[str, re.Match[str]] = {}
        self.made: dict[tuple[str, int | None], Flow] = {}
        for line in lines_of(text):
            match = FLOW_LINE.fullmatch(line)
            assert match, f"no flow: {line}"
            self.lines[match["name"]] = match

    def get(self, name: str, number: int | None) -> Flow:
        if (name, number) not in self.made:
            self.made[name, number] = self._make(self.lines[name], number)
        return self.made[name, number]

    def _make(self, line: re.Match[str], number: int | None) -> Flow:
        assert bool(line["family"]) == (number is not None), f"{line[0]}: member {number}"
        source = _numbered(line["source"], number)
        destination = _numbered(line["destination"], number)
        protocol = line["protocol"]
        kind = PROTOCOLS[protocol] if protocol in PROTOCOLS else int(protocol)
        service = int(line["service"])
        if line["bucket"] is None:
            base, plus, _ = line["port"].partition("+")
            port = int(base) + (number or 0 if plus else 0)
            return Flow(source, port, destination, service, kind)
        wanted = number if line["bucket"] == "n" else int(line["bucket"])
        return self._placed(source, destination, service, kind, wanted or 0)

    def _placed(self, source: str, destination: str, service: int, kind: int, want: int) -> Flow:
        """The first flow from port 1024 on that falls into the bucket and is not yet in use."""
        a, b = int(ip_address(source)), int(ip_address(destination))
        taken = {flow.port for flow in self.made.values() if flow.source == source}
        port = next(p for p in range(1024, 65536) if p not in taken and want % self.buckets
                    == bucket_of(((a, p), (b, service)), kind, self.buckets))
        return Flow(source, port, destination, service, kind)


def _numbered(address: str, number: int | None) -> str:
    return ".".join(str(number) if part == "n" else part for part in address.split("."))


# --- steps --------------------------------------------------------------------------------------


class Packet(NamedTuple):
    """A packet and what must become of it."""

    number: int
    time_ns: int
    frame: bytes
    wire: int
    outcome: str            # "verdict reason"


class Check(NamedTuple):
    """Figures that hold after the packets so far."""

    figures: dict[str, str]


class Operation(NamedTuple):
    """What the operator does, and what must come of it."""

    verb: str
    changes: dict[str, Any]
    outcome: str


PACKET_LINE = re.compile(
    r"(?P<first>\d+)(?:-(?P<last>\d+))?\s+(?P<time>[\d.]+)(?:\+(?P<step>[\d.]+))?\s+"
    r"(?P<flow>\w+)(?:\[(?P<low>\d+)(?:\.\.(?P<high>\d+))?\])?\s+(?P<way>[<>])\s*"
    r"(?P<what>[^-]*?|-(?:\s\d+)?)\s*->\s*(?P<outcome>\w+ \w+)")


def lines_of(text: str) -> Iterator[str]:
    """Lines without comments and blank ones."""
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if line:
            yield line


def ns(seconds: str) -> int:
    """Decimal seconds as exact nanoseconds."""
    amount = Fraction(seconds) * 10**9
    assert amount.denominator == 1, f"{seconds} s is no whole number of nanoseconds"
    return int(amount)


def steps_of(scenario: Scenario, buckets: int) -> Iterator[Packet | Check | Operation]:
    """The scenario's lines as packets, checks and operations, in order."""
    flows = Flows(scenario.row.get("flows", ""), buckets)
    count = 0
    for line in lines_of(scenario.row.get("packets", "")):
        if line.startswith("="):
            words = line[1:].split()
            yield Check(dict(zip(words[::2], words[1::2], strict=True)))
        elif line.startswith("!"):
            yield _operation(line[1:])
        else:
            for packet in _packets(line, flows):
                count += 1
                assert packet.number == count, f"packet {count} is numbered otherwise: {line}"
                yield packet


def _packets(line: str, flows: Flows) -> Iterator[Packet]:
    match = PACKET_LINE.fullmatch(line)
    assert match, f"no packet: {line}"
    low = None if match["low"] is None else int(match["low"])
    members = [low] if match["high"] is None else list(range(low or 0, int(match["high"]) + 1))
    first, last = int(match["first"]), int(match["last"] or match["first"])
    assert last - first + 1 == len(members), f"{line}: {len(members)} packets"
    for i, member in enumerate(members):
        flow = flows.get(match["flow"], member)
        flags, payload = "", 0
        for word in match["what"].split():
            if word.isdecimal():
                payload = int(word)
            elif word != "-":
                flags = word
        frame, wire = flow.frame(match["way"] == ">", flags, payload)
        time_ns = START_NS + ns(match["time"]) + i * ns(match["step"] or "0")
        yield Packet(first + i, time_ns, frame, wire, match["outcome"])


def _operation(text: str) -> Operation:
    deed, _, outcome = text.partition("->")
    verb, *changes = deed.split()
    found: dict[str, Any] = {}
    for change in changes:
        name, _, value = change.partition("=")
        found[name] = tomllib.loads(f"v = {value}")["v"]
    return Operation(verb, found, outcome.strip())


# --- scenarios ----------------------------------------------------------------------------------


def in_bytes(value: Any) -> Any:
    """"12 pages" as bytes; everything else as it is."""
    if isinstance(value, str) and (match := re.fullmatch(r"(-?\d+) pages?", value)):
        return int(match[1]) * PAGE_BYTES
    return value


def plain_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: in_bytes(value) for key, value in row.items()} for row in rows]


@dataclass
class Scenario:
    """One row of the table."""

    file: str
    row: dict[str, Any]
    preset: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return str(self.row["id"])

    def overrides(self) -> dict[str, Any]:
        """Keyword arguments of ``fwcore.load``."""
        given = self.preset | self.row.get("settings", {})
        if "personality" in self.row:
            given["personality"] = self.row["personality"]
        given = {name: in_bytes(value) for name, value in given.items()}
        for kind in ("policies", "pressure", "base_items"):
            if kind in self.row:
                given[kind] = plain_rows(self.row[kind])
        return given

    def text(self, name: str) -> list[str]:
        """Lines of one of the tables, blanks made single."""
        return [" ".join(line.split()) for line in lines_of(self.row.get(name, ""))]


KEYS = {"id", "source", "says", "preset", "personality", "settings", "policies", "pressure",
        "base_items", "flows", "packets", "transitions", "victims", "events", "expect",
        "thresholds", "refused", "why", "kinds"}


def read_file(path: Path) -> tuple[dict[str, Any], list[Scenario]]:
    document = tomllib.loads(path.read_text())
    presets = document.get("preset", {})
    scenarios = []
    for row in document["scenario"]:
        unknown = row.keys() - KEYS
        assert not unknown, f"{path.name}: {row['id']}: {unknown}"
        preset = presets[row["preset"]] if "preset" in row else {}
        scenarios.append(Scenario(path.stem, row, preset))
    return document, scenarios


def read_all() -> list[Scenario]:
    """Every scenario of every file, in order."""
    return [scenario for path in sorted(FOLDER.glob(FILES)) for scenario in read_file(path)[1]]


# --- running ------------------------------------------------------------------------------------


@dataclass
class Story:
    """What happened, in the notation of the files."""

    outcomes: list[str] = field(default_factory=list)
    checks: list[dict[str, str]] = field(default_factory=list)
    deeds: list[str] = field(default_factory=list)
    transitions: list[str] = field(default_factory=list)
    victims: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    counters: dict[str, Any] = field(default_factory=dict)
    thresholds: dict[str, Any] = field(default_factory=dict)
    laws: dict[str, bool] = field(default_factory=dict)
    outcome: str = ""


def seconds(time_ns: int) -> str:
    """Time since the first packet, as it is written."""
    whole, rest = divmod(time_ns - START_NS, 10**9)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")


def transition_text(t: Mapping[str, Any]) -> str:
    return (f"{t['packet']} {t['cause']} {seconds(t['time_ns'])} {t['machine']} {t['from']} >"
            f" {t['to']} {t['used_pages']}/{t['freeable_pages']}/{t['free_pages']}")


def events_text(events: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = []
    for event in events:
        if event["kind"] in TRANSITION_KINDS:
            continue
        figures = sorted((k, v) for k, v in event.items() if k not in ("kind", "packet", "time_ns"))
        words = [f"{key} {value}" for key, value in figures]
        lines.append(" ".join([str(event["packet"]), seconds(event["time_ns"]), event["kind"],
                               *words]))
    return lines


def figures_of(counters: Mapping[str, Any], modes: Mapping[str, str]) -> dict[str, str]:
    """Short names for what a check line may ask."""
    worst = max(modes.values(), key=("off", "on", "extreme").index, default="off")
    found = dict(counters["memory"]["now"]) | counters["sessions"]["ended"] | modes
    found |= {"live": counters["sessions"]["live"], "mode": worst,
              "short": counters["memory"]["script_short_pages"],
              "proxied": counters["proxy"]["sessions"]}
    return {name: str(value) for name, value in found.items()}


def run_engine(scenario: Scenario, *, one_call: bool = False) -> Story:
    """Through fwcore.Engine: packet by packet, or in as few calls as checks allow."""
    import fwcore
    from fwcore._layout import EndCause, Reason, Verdict

    engine = fwcore.Engine(fwcore.load(**scenario.overrides()))
    story = Story()

    def flush(batch: list[Packet]) -> None:
        size = len(batch) or 1 if one_call else 1
        for at in range(0, len(batch), size):
            part = batch[at:at + size]
            judged = engine.process_frames([p.frame for p in part], [p.time_ns for p in part],
                                           [p.wire for p in part])
            story.outcomes += [f"{Verdict(int(v)).name.lower()} {Reason(int(r)).name.lower()}"
                               for v, r in judged]
        batch.clear()

    waiting: list[Packet] = []
    for step in steps_of(scenario, engine.settings.buckets):
        if isinstance(step, Packet):
            waiting.append(step)
            continue
        flush(waiting)
        if isinstance(step, Check):
            found = figures_of(engine.counters(), engine.modes) | {"label": engine.label}
            story.checks.append({name: found[name] for name in step.figures})
        else:
            story.deeds.append(_operate(engine, step))
    flush(waiting)
    story.transitions = [transition_text(t.to_dict()) for t in engine.transitions]
    story.events = events_text(event.to_dict() for event in engine.events)
    story.kinds = [event.kind for event in engine.events]
    story.victims = [
        f"{v['created_packet']} {v['ended_packet']} {EndCause(v['cause']).name.lower()}"
        for v in engine.victims()]
    story.counters, story.thresholds = engine.counters(), engine.thresholds
    story.laws, story.outcome = engine.laws(), engine.outcome()
    return story


def _operate(engine: Any, step: Operation) -> str:
    """What comes of the operator's deed: "", "cleared N" or "refused TEXT"."""
    from fwcore.errors import ConfigFrozen, SettingsError

    try:
        if step.verb == "restart":
            return f"cleared {engine.restart(**step.changes)}"
        engine.configure(**step.changes)
    except (ConfigFrozen, SettingsError) as error:
        return f"refused {type(error).__name__}: {error}"
    return ""


def run_twin(scenario: Scenario) -> Story:
    """Through the twin; what the settings refuse is not asked of it."""
    import fwcore
    from fwcore import reference

    settings = fwcore.load(**scenario.overrides())
    firewall = reference.Firewall(config_of(settings))
    story = Story()
    for step in steps_of(scenario, settings.buckets):
        if isinstance(step, Packet):
            verdict, reason = firewall.packet(step.frame, step.time_ns, step.wire, 1)
            story.outcomes.append(f"{reference.VERDICTS[verdict]} {reference.REASONS[reason]}")
        elif isinstance(step, Check):
            found = figures_of(firewall.counters(), firewall.modes)
            story.checks.append(
                {name: found[name] if name != "label" else value
                 for name, value in step.figures.items()})
        elif not step.outcome.startswith("refused"):
            before, settings = settings, settings.replace(**step.changes)
            getattr(firewall, step.verb)(**changed(before, settings))
    story.transitions = [transition_text(t) for t in firewall.transitions]
    story.events = events_text(firewall.events)
    story.kinds = [event["kind"] for event in firewall.events]
    story.victims = [f"{v['created_packet']} {v['ended_packet']} {v['cause']}"
                     for v in firewall.victims]
    story.counters, story.outcome = firewall.counters(), firewall.outcome()
    return story


# --- comparing ----------------------------------------------------------------------------------


def differences(scenario: Scenario, story: Story, buckets: int) -> list[str]:
    """Where the story is not the expected one, a line each."""
    steps = list(steps_of(scenario, buckets))
    found = []
    packets = [step for step in steps if isinstance(step, Packet)]
    for packet, outcome in zip(packets, story.outcomes, strict=True):
        if packet.outcome != outcome:
            found.append(f"packet {packet.number}: expected {packet.outcome}, was {outcome}")
    checks = [step.figures for step in steps if isinstance(step, Check)]
    for n, (expected, was) in enumerate(zip(checks, story.checks, strict=True), 1):
        if expected != was:
            found.append(f"check {n}: expected {expected}, was {was}")
    for name in ("transitions", "victims", "events"):
        expected, was = list(unrolled(scenario.text(name))), getattr(story, name)
        if expected != was:
            found.append(f"{name}: expected {expected}, was {was}")
    if "kinds" in scenario.row and (kinds := scenario.row["kinds"].split()) != story.kinds:
        found.append(f"kinds: expected {kinds}, was {story.kinds}")
    for path, value in scenario.row.get("expect", {}).items():
        if (was := by_path(story.counters, path)) != value:
            found.append(f"{path}: expected {value}, was {was}")
    return found


def unrolled(lines: Iterable[str]) -> Iterator[str]:
    """``1-3 9 tension`` as three lines."""
    for line in lines:
        span = re.match(r"(\d+)-(\d+) (.*)", line)
        if span:
            yield from (f"{n} {span[3]}" for n in range(int(span[1]), int(span[2]) + 1))
        else:
            yield line


def deeds_differences(scenario: Scenario, story: Story, buckets: int) -> list[str]:
    """The same for the operator: a refusal has to name what the scenario names."""
    steps = steps_of(scenario, buckets)
    expected = [step.outcome for step in steps if isinstance(step, Operation)]
    return [f"operator: expected {want!r}, was {was!r}"
            for want, was in zip(expected, story.deeds, strict=True)
            if not was.startswith(want) or bool(want) != bool(was)]


def by_path(tree: Any, path: str) -> Any:
    for name in path.split("."):
        tree = tree[name]
    return tree


# --- the page -----------------------------------------------------------------------------------

OPENING = """# Scenarios

Every statement of the sources that fwcore follows, as a run small enough for paper. Made by
`python tests/scenario.py` from `tests/scenarios/*.toml`, and tested: each runs through the fast
path packet by packet and in one call, and through the plain twin, with the same outcome.

Marks: C Clavister cOS Core article, K FortiGate KB 198580, H FortiOS 5 online help, T FortiOS 7
tuning guide, R public record, D decision of this project. A page is 4096 bytes. A transition reads
*packet, cause, second, machine, from > to, used/cache/free pages*: cause `packet` means that this
packet crossed the level and the next one sees the new gate, `time` that something was due when it
arrived and it sees the new gate already, `start` that it was so before packet 1. A victim reads
*packet that created the session, packet that ended it, cause*; an event *packet, second, kind,
figures*. In packet lines `>` runs from the flow's source, `<` towards it; letters are TCP flags, a
number is payload in bytes; `=` is what holds after the packets so far, `!` the operator.
"""


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    return str(value)


def _table(rows: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name} = {_value(value)}`" for name, value in rows.items())


def _block(title: str, text: str) -> list[str]:
    """A titled block of lines, dedented; nothing where there is no text."""
    lines = [line.strip() for line in text.strip().splitlines()]
    return [f"{title}:", "", "```", *lines, "```", ""] if lines else []


def _section(scenario: Scenario) -> list[str]:
    row = scenario.row
    lines = [f"### {scenario.id}", "", f"**[{row['source']}]** {row['says']}", ""]
    settings = dict(row.get("settings", {}))
    if "personality" in row:
        settings = {"personality": row["personality"]} | settings
    begin = f"Preset *{row['preset']}*" if "preset" in row else "Settings"
    lines += [f"{begin}: {_table(settings)}" if settings else f"{begin}.", ""]
    for title, key in (("Base items", "base_items"), ("Policies", "policies"),
                       ("Pressure", "pressure")):
        if key in row:
            lines += [f"{title}: " + "; ".join(_table(each) for each in row[key]), ""]
    for title, key in (("Flows", "flows"), ("Packets", "packets"), ("Transitions", "transitions"),
                       ("Victims", "victims"), ("Events", "events"),
                       ("Events by kind, in order", "kinds")):
        lines += _block(title, row.get(key, ""))
    for title, key in (("Thresholds", "thresholds"), ("At the end", "expect")):
        if key in row:
            lines += [f"{title}: {_table(row[key])}", ""]
    if "refused" in row:
        lines += [f"Refused: {row['refused']}", ""]
    return [*lines, "Why: " + " ".join(row["why"].split()), ""]


def render() -> str:
    """The page: a table of all scenarios, then each file with its presets and scenarios."""
    lines = [OPENING, "| scenario | source | statement |", "|---|---|---|"]
    for scenario in read_all():
        row = scenario.row
        lines.append(f"| [{scenario.id}](#{scenario.id}) | {row['source']} | {row['says']} |")
    lines.append("")
    for path in sorted(FOLDER.glob(FILES)):
        document, scenarios = read_file(path)
        lines += [f"## {document['title']}", "", document["about"].strip(), ""]
        for name, preset in document.get("preset", {}).items():
            lines += [f"Preset *{name}*: {_table(preset)}", ""]
        for scenario in scenarios:
            lines += _section(scenario)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render())
    sys.stdout.write(f"{PAGE}: {len(read_all())} scenarios\n")
