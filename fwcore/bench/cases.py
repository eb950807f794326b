"""What ``fwcore bench`` measures: one case answers one question.

    runs ── a fresh process a run ──►  python -m fwcore.bench.worker NAME SETUP
                                       pinned; makes its capture; bare, fwcore, bare, fwcore
         ◄── one JSON line ──

The staircase goes up a capture of 60-byte frames in a mapped, warm file; each step does all that
the one before it did:

    read         records found, arrays of a chunk filled
    parse        + headers checked, key and hash computed
    hit          + session found, time, counters, verdict and reason, digest
    miss         ... where every packet makes a session
    everything   + what ``Engine.process`` adds: recount, stops, policies if any

Laws: a case asserts no speed; it does assert that the work was done (packets, sessions, verdicts).
Everything is deterministic but time.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace as replaced
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fwcore._bare import bench_parse
from fwcore._layout import Verdict, blake2b16
from fwcore.bench import whole
from fwcore.bench.shaping import SHAPED, measure_shaping
from fwcore.bench.traffic import (
    MixOpenings,
    OfficeOpenings,
    Openings,
    earlier,
    office_policies,
    write_part,
)
from fwcore.bench.turns import (
    QUICK_CHUNKS,
    SLICES,
    Measured,
    Setup,
    along_file,
    alternate,
    bare_loop,
    bare_time,
    chunk_step,
    clock,
    drive,
    finished,
    many_slices,
    timed,
    whole_slices,
)
from fwcore.capture import CHUNK_SIZE, Chunk, open_capture, synth
from fwcore.capture.workload import BLOCK, Workload
from fwcore.engine import Engine
from fwcore.errors import FwcoreError
from fwcore.replay import result_body
from fwcore.settings import load

PLAIN_CONNECTIONS = 262_144
MILLION = 1_000_000
SLOW_PPS = 10_000
GIB = 1 << 30
# pages for every proxied session
WIDE: dict[str, Any] = {"ram_bytes": 256 * GIB, "proxy_max_sessions": 1 << 24}


@dataclass(frozen=True)
class Case:
    """One benchmark. ``aim`` is what the project wants of it, in words; nothing asserts it."""

    name: str
    unit: str
    question: str
    measure: Callable[[Setup], Measured]
    packets: int
    sessions: int
    aim: str = ""
    compared: bool = True       # by the guard; a difference of two figures is not
    yardstick: str = "bare loop"    # what its ratio is held against
    on_request: bool = False    # runs only when it is named: large files
    source: str = "file"        # where packets are, or what is timed: file, memory, whole
    quick_packets: int = SLICES * QUICK_CHUNKS * CHUNK_SIZE
    quick_sessions: int = 65_536

    def setup(self, directory: str, quick: bool) -> Setup:
        """Sizes of a run: the case's own, or small ones."""
        if not quick:
            return Setup(directory, self.packets, self.sessions)
        return Setup(directory, min(self.packets, self.quick_packets),
                     min(self.sessions, self.quick_sessions))


# --- the staircase --------------------------------------------------------------------------------


def uniform_file(setup: Setup, **given: Any) -> tuple[Path, int]:
    """The uniform capture in the run's directory, and its packets."""
    packets = whole_slices(setup.packets)
    workload = synth.make("uniform", sessions=setup.sessions, packets=packets, **given)
    path = Path(setup.directory) / "uniform.pcap"
    synth.to_pcap(path, workload)
    return path, packets


def filled_engine(setup: Setup, frame_bytes: int = 60, ipv6: bool = False,
                  room: int = PLAIN_CONNECTIONS, **settings: Any) -> Engine:
    """``plain`` with every session of the uniform workload in its table."""
    connections = max(room, setup.sessions + setup.sessions // 16)
    engine = Engine(load("plain", seed=1, max_connections=connections, **settings))
    opening = Openings(sessions=setup.sessions, packets=setup.sessions, frame_bytes=frame_bytes,
                       ipv6=ipv6)
    engine.process(earlier(opening.part(0, setup.sessions)))
    assert engine.fastpath.live == setup.sessions
    return engine


def measure_read(setup: Setup) -> Measured:
    path, packets = uniform_file(setup)
    return finished(along_file(path, packets, setup.sessions, len), setup, None, packets)


def measure_parse(setup: Setup) -> Measured:
    path, packets = uniform_file(setup)
    return finished(along_file(path, packets, setup.sessions, bench_parse), setup, None, packets)


def measure_hit(setup: Setup) -> Measured:
    path, packets = uniform_file(setup)
    engine = filled_engine(setup)
    turns = along_file(path, packets, setup.sessions, drive(engine))
    assert engine.fastpath.counters()["sessions_created"] == setup.sessions
    return finished(turns, setup, engine, packets)


def measure_miss(setup: Setup) -> Measured:
    """Every packet makes a session: the table grows from nothing to ``sessions``.

    A small table is filled again and again; that it is emptied between is not counted.
    """
    sessions = setup.sessions
    fills = max(1, setup.packets // SLICES // sessions) if sessions <= PLAIN_CONNECTIONS else 1
    slices = SLICES if sessions <= PLAIN_CONNECTIONS else 1
    packets = slices * fills * sessions
    opening = Openings(sessions=packets, packets=packets)
    path = write_part(Path(setup.directory) / "openings.pcap", opening, 0, packets)
    engine = Engine(load("plain", seed=1, max_connections=max(
        PLAIN_CONNECTIONS, sessions + sessions // 16)))
    engine.process(earlier(opening.part(0, 1)))
    work = drive(engine)

    def fill(chunks: Iterator[Chunk]) -> int:
        spent = 0
        for _ in range(fills):
            engine.clear()
            begin, last = clock(), engine.fastpath.packet + sessions
            while engine.fastpath.packet < last:
                work(next(chunks))
            spent += clock() - begin
            assert engine.fastpath.live == sessions
        return spent

    size = math.gcd(sessions, 1000 if sessions % 1000 == 0 else CHUNK_SIZE)
    with open_capture(str(path), chunk_size=size) as reader:
        step = partial(fill, iter(reader))
        turns = alternate(bare_loop(path, packets), packets, [step], slices)
    return finished(turns, setup, engine, packets, fills=slices * fills)


def measure_everything(setup: Setup, frame_bytes: int = 60, ipv6: bool = False,
                       settings: dict[str, Any] | None = None, in_bursts: bool = False,
                       **given: Any) -> Measured:
    path, packets = uniform_file(setup, frame_bytes=frame_bytes, ipv6=ipv6, **given)
    engine = filled_engine(setup, frame_bytes, ipv6, **(settings or {}))
    turns = along_file(path, packets, setup.sessions, engine.process)
    assert engine.fastpath.counters()["packets"] == packets + setup.sessions
    return finished(turns, setup, engine, packets, in_bursts, result_ms=timed(
        partial(result_body, engine)) / 1e6)


def measure_expiring(setup: Setup) -> Measured:
    """Slow traffic whose sessions are seen less often than they live: 60 s at a million. Those that
    stood before end in the third slice, all at once."""
    udp_s = max(1, setup.sessions * 6 // (10 * SLOW_PPS))
    return measure_everything(
        setup, rate_pps=SLOW_PPS, settings={"udp_s": udp_s}, in_bursts=True)


def mix_file(setup: Setup, packets: int, engines: Sequence[Engine]) -> Path:
    """The mix capture from where all its sessions are open; the engines have seen what is before.

    Its rate lets a session live for some 20 s, so that those that linger are as many again.
    """
    mix = synth.Mix(sessions=setup.sessions, packets=1 << 40, snap_bytes=96,
                    rate_pps=max(1, setup.sessions * 4 // 5))
    warm = mix.rounds.open_sessions * (mix.course.steps - 1) // 2
    for begin in range(0, warm, BLOCK):
        chunk = mix.part(begin, min(begin + BLOCK, warm))
        for engine in engines:
            engine.process(chunk)
    return write_part(Path(setup.directory) / "mix.pcap", mix, warm, warm + packets)


def measure_mix(setup: Setup) -> Measured:
    """A busy day: sessions open and close all the time; the table holds those that linger, too."""
    sessions, packets = setup.sessions, whole_slices(setup.packets)
    engine = Engine(load("plain", seed=1, max_connections=max(PLAIN_CONNECTIONS, 3 * sessions),
                         **WIDE), policies=synth.MIX_POLICIES)
    path = mix_file(setup, packets, [engine])
    created = engine.fastpath.counters()["sessions_created"]
    turns = along_file(path, packets, sessions, engine.process, known=packets)
    made = engine.fastpath.counters()["sessions_created"] - created
    return finished(turns, setup, engine, packets, set_ups=made)


# --- set-ups and evictions ------------------------------------------------------------------------


def measure_setups(setup: Setup, opening: type[Workload],
                   policies: Sequence[dict[str, Any]]) -> Measured:
    """Every packet asks the policies and makes a session."""
    packets = whole_slices(setup.packets)
    workload = opening(sessions=packets, packets=packets)
    path = write_part(Path(setup.directory) / "openings.pcap", workload, 0, packets)
    engine = Engine(load("plain", seed=1, max_connections=max(
        PLAIN_CONNECTIONS, packets + packets // 16), **WIDE), policies=policies)
    turns = along_file(path, packets, packets, engine.process)
    dropped = int(engine.fastpath.outcome_counts()[Verdict.DROP].sum())
    assert engine.fastpath.live == packets
    return finished(turns, setup, engine, packets, policies=len(policies), dropped=dropped)


def measure_evictions(setup: Setup, when_full: Any) -> Measured:
    """Every packet makes a session in a full table: as many evictions as set-ups, in the end. A
    pass of tension frees a quarter of it at once, so every other slice has one."""
    sessions, packets = setup.sessions, whole_slices(setup.packets)
    everyone = Openings(sessions=sessions + packets, packets=sessions + packets)
    path = write_part(Path(setup.directory) / "openings.pcap", everyone, sessions,
                      sessions + packets)
    engine = Engine(load("plain", seed=1, max_connections=sessions, when_full=when_full))
    engine.process(everyone.part(0, sessions))
    assert engine.fastpath.live == sessions
    turns = along_file(path, packets, packets, engine.process)
    victims = engine.fastpath.counters()["victims"]
    return finished(turns, setup, engine, packets, in_bursts=True, evictions=victims)


def measure_tension(setup: Setup) -> Measured:
    """One pass over a full table, called by one packet; then the holes are filled again."""
    sessions, buckets = setup.sessions, max(1, setup.sessions * 262_144 // MILLION)
    engine = Engine(load("plain", seed=1, max_connections=sessions, buckets=buckets,
                         when_full="tension"))
    everyone = Openings(sessions=4 * sessions, packets=4 * sessions)
    path, packets = uniform_file(setup)
    bare = bare_loop(path, sessions)
    engine.process(everyone.part(0, sessions))
    position, spent, deleted = sessions, [], 0
    for _ in range(SLICES):
        chunk = everyone.part(position, position + 1)
        spent.append(timed(partial(engine.process, chunk)))
        deleted += sessions - engine.fastpath.live + 1
        holes = sessions - engine.fastpath.live
        engine.process(everyone.part(position + 1, position + 1 + holes))
        position += 1 + holes
    bare_ns = bare_time(bare, packets) / packets
    assert engine.fastpath.counters()["stampede_passes"] == SLICES
    pass_ns = statistics.median(spent)
    return Measured(pass_ns / 1e6, bare_ns, pass_ns * SLICES / deleted, packets, sessions,
                    {"buckets": buckets, "deleted_a_pass": deleted // SLICES,
                     "longest_ms": max(spent) / 1e6})


# --- conserve mode --------------------------------------------------------------------------------


def pressure(count: int, step_s: float, low: int, high: int) -> list[dict[str, Any]]:
    """Base memory begins at ``low``, goes to ``high`` and back (bytes), ``count`` times each."""
    rows: list[dict[str, Any]] = [{"at_s": 0.0, "owner": "base", "add_bytes": low}]
    for i in range(2 * count):
        change = (high - low) if i % 2 == 0 else (low - high)
        rows.append({"at_s": (i + 1) * step_s, "owner": "base", "add_bytes": change})
    return rows


def conserve_engine(rows: list[dict[str, Any]], **settings: Any) -> Engine:
    """``fortios-7`` of 8 GiB with nothing in its base but what the script puts there."""
    return Engine(load("fortios-7", seed=1, ram_bytes=8 * GIB, base_bytes=0,
                       pressure=rows, **settings))


def measure_transitions(setup: Setup) -> Measured:
    """Off to on and back, each by a step of the script between two packets."""
    count = min(5000, setup.packets // 4)
    chunk = synth.make("uniform", sessions=1000, packets=2 * count + 2, rate_pps=1000).part(
        0, 2 * count + 2)
    spent, made = [], 0
    for rows in (pressure(count, 0.001, GIB, 15 * GIB // 2), []):
        engine = conserve_engine(rows)
        spent.append(timed(partial(engine.process, chunk)))
        made = made or len(engine.transitions) + engine.transitions.forgotten
    assert made == 2 * count, f"{made} transitions instead of {2 * count}"
    path, packets = uniform_file(setup._replace(sessions=1000, packets=500_000))
    bare_ns = bare_time(bare_loop(path, 1000), packets) / packets
    each_ns = (spent[0] - spent[1]) / made
    return Measured(each_ns / 1e3, bare_ns, each_ns, len(chunk), 1000, {"transitions": made})


def measure_crossings(setup: Setup) -> Measured:
    """Red is crossed again and again without reaching green: in turn with and without."""
    turns, sessions = 16, setup.sessions
    packets = setup.packets // turns
    crossings = setup.packets // 1600
    workload = synth.make("uniform", sessions=sessions, packets=packets)
    chunk = workload.part(0, packets)
    path, count = uniform_file(setup._replace(packets=packets))
    bare = bare_loop(path, sessions)
    step_s = setup.packets / workload.rate_pps / (2 * crossings + 2)
    high, low = GIB * 8 * 90 // 100, GIB * 8 * 86 // 100
    rows = pressure(crossings, step_s, high, low)
    engines = [conserve_engine(rows), conserve_engine(rows[:1])]
    spent: list[list[int]] = [[], []]
    for turn in range(turns):
        part = replaced(chunk, time_ns=chunk.time_ns + turn * workload.duration_ns)
        for which in (0, 1) if turn % 2 else (1, 0):
            spent[which].append(timed(partial(engines[which].process, part)))
    bare_ns = bare_time(bare, count) / count
    transitions = [len(engine.transitions) for engine in engines]
    assert transitions == [1, 1], f"{transitions} transitions instead of one each"
    more = statistics.median(a / b for a, b in zip(*spent, strict=True)) - 1
    each_ns = statistics.median(spent[0]) / packets
    return Measured(100 * more, bare_ns, each_ns, setup.packets, sessions, {
        "crossings": crossings, "transitions": transitions[0],
        "ns_per_packet": each_ns, "ns_per_packet_without": statistics.median(spent[1]) / packets,
        "more_in_sum_percent": 100 * (sum(spent[0]) / sum(spent[1]) - 1)})


def measure_share(setup: Setup) -> Measured:
    """Pages, gate, ledgers and digest of a packet of ``mix``, by difference.

    The same packets through two engines in turn: one with everything (policies that inspect, slab
    pages for sessions and buffers, the machine's watermarks), one whose policies ask for no
    inspection, whose sessions need no pages and which has no machine. The digest cannot be
    switched off and is in both: what it takes for two bytes a packet is measured alone and added.
    """
    sessions, packets = setup.sessions, whole_slices(setup.packets)
    common: dict[str, Any] = {
        "seed": 1, "max_connections": max(PLAIN_CONNECTIONS, 3 * sessions), "base_bytes": 0,
        "midstream": "allow", **WIDE}
    bare_rows = [{**row, "inspection": "none"} for row in synth.MIX_POLICIES]
    engines = [
        Engine(load("fortios-7", **common), policies=synth.MIX_POLICIES),
        Engine(load("fortios-7", accounting="preallocated", machine="none", **common),
               policies=bare_rows)]
    path = mix_file(setup, packets, engines)
    slices = many_slices(packets)
    per_slice = packets // slices // CHUNK_SIZE
    readers = [open_capture(str(path)) for _ in engines]
    turns = alternate(bare_loop(path, packets), packets, [
        chunk_step(iter(reader), per_slice, engine.process)
        for reader, engine in zip(readers, engines, strict=True)], slices)
    outcomes = [bytes(2 * CHUNK_SIZE)] * (packets // CHUNK_SIZE)
    digest_ns = timed(partial(blake2b16, outcomes)) / packets
    full, stripped = turns.each_ns(0), turns.each_ns(1)
    more = statistics.median(1 - b / a for a, b in zip(*turns.others, strict=True))
    value = 100 * (more + digest_ns / full)
    return Measured(value, turns.bare_ns, full, packets, engines[0].fastpath.live, {
        "full_ns": full, "stripped_ns": stripped, "digest_ns": digest_ns})


# --- the process ----------------------------------------------------------------------------------


def resident_bytes() -> int:
    """Memory of this process that is really there."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        raise FwcoreError("bytes-per-connection needs /proc (Linux)") from None


def measure_memory(setup: Setup) -> Measured:
    """What the process grows by between a tenth and all of the connections, full tables both.

    The table proper (records with their timers, index, overflow); what is listed apart (hosts,
    the filter of reborn sessions, ...) is subtracted as planned and shown in the detail.
    """
    sizes, grown, plans, filling = (setup.sessions // 10, setup.sessions), [], [], 0
    for size in sizes:
        opening = Openings(sessions=size, packets=size)
        before = resident_bytes()
        engine = Engine(load("plain", seed=1, max_connections=size))
        empty = resident_bytes()
        plans.append(engine.fastpath.memory)
        for chunk in opening.chunks(CHUNK_SIZE):
            engine.process(chunk)
        grown.append(resident_bytes() - before)
        filling = grown[-1] + before - empty
        assert engine.fastpath.live == size
        engine.close()
    table = ("records", "index", "overflow", "timers")
    more = sizes[1] - sizes[0]
    apart = {name: (plans[1][name] - plans[0][name]) / more for name in plans[0]
             if name not in table}
    total = (grown[1] - grown[0]) / more
    return Measured(total - sum(apart.values()), None, None, sizes[1], sizes[1], {
        "grown": total, "planned": sum(plans[1][n] - plans[0][n] for n in table) / more,
        "apart": {name: size for name, size in apart.items() if size},
        "grown_while_filling_bytes": filling})


def measure_imix(setup: Setup) -> Measured:
    """A large warm file against the same packets in memory, in turn."""
    packets = whole_slices(setup.packets)
    path = Path(setup.directory) / "imix.pcap"
    synth.to_pcap(path, synth.make("imix", sessions=setup.sessions, packets=packets))
    copy = np.fromfile(path, np.uint8)
    with open_capture(str(path)) as reader:
        held = [replaced(chunk, data=copy) for chunk in reader]
    settings = load("plain", seed=1, max_connections=MILLION)
    slices = many_slices(packets)
    per_slice = packets // slices // CHUNK_SIZE
    with open_capture(str(path)) as reader:
        turns = alternate(bare_loop(path, packets), packets, [
            chunk_step(iter(reader), per_slice, Engine(settings).process),
            chunk_step(iter(held), per_slice, Engine(settings).process)], slices)
    return Measured(
        statistics.median(a / b for a, b in zip(*turns.others, strict=True)), turns.bare_ns,
        turns.each_ns(0), packets, setup.sessions,
        {"file_bytes": len(copy), "file_ns": turns.each_ns(0), "memory_ns": turns.each_ns(1)})


# --- the list -------------------------------------------------------------------------------------

PACKETS = 1 << 21     # eight slices of 32 chunks, or 32 of 8
NS = "ns/packet"
SIZES = (1000, 65_536, MILLION)


def _sized(name: str, question: str, measure: Callable[[Setup], Measured],
           sizes: Sequence[int] = SIZES, unit: str = NS, aims: Sequence[str] = ()) -> list[Case]:
    aims = aims or [""] * len(sizes)
    return [Case(f"{name}-{size}", unit, question, measure, PACKETS, size, aim)
            for size, aim in zip(sizes, aims, strict=True)]


def _whole() -> list[Case]:
    """What a user waits for."""
    rows = []
    for size, aim, gain in ((1000, "0.5 of bare", "1.6"), (MILLION, "0.5 of bare", "1.3")):
        rows += [
            Case(f"command-{size}", NS, "fwcore replay, from its start to its exit",
                 whole.measure_command, 1 << 23, size, aim, yardstick="the bare loop, whole",
                 source="whole"),
            Case(f"two-cores-{size}", "x", "a replay by two threads, times one thread's speed",
                 whole.measure_two_cores, 1 << 23, size, f"at least {gain}", compared=False)]
    rows += [Case(f"calls-{frames}", NS, f"frames as bytes, {frames} a call",
                  partial(whole.measure_calls, frames=frames), PACKETS // 2, 1000,
                  source="memory") for frames in (1, 32, 4096)]
    return [*rows, Case(
        "outputs", "x", "outputs as multiples of the plain command, by what they may cost",
        whole.measure_outputs, 1 << 22, MILLION, "at most 1", compared=False, source="whole")]


def _cases() -> list[Case]:
    slow = partial(measure_everything, rate_pps=SLOW_PPS, settings={"udp_s": 3600})
    six = partial(measure_everything, frame_bytes=62, ipv6=True)
    ends = (1000, MILLION)
    sixteen = ("at most 1.6 x everything-1000", "at most 1.6 x everything-1000000")
    rows = [
        Case("read", NS, "a warm mapped pcap into chunks", measure_read, PACKETS, 1000),
        Case("parse", NS, "+ headers, key and hash", measure_parse, PACKETS, 1000),
        *_sized("hit", "+ session, verdict, counters, digest", measure_hit),
        *_sized("miss", "the same where every packet makes a session", measure_miss),
        *_sized("everything", "+ recount and the engine", measure_everything, aims=(
            "33 ns (30 M/s), 2/5 of bare", "", "50 ns (20 M/s), 1/2 of bare")),
        *_sized("ipv6", "everything, IPv6", six, ends, aims=sixteen),
        *_sized("mix", "everything, 8 policies, sessions come and go", measure_mix, ends,
                aims=sixteen),
        *_sized("slow", "everything, 10 000 packets a second of capture", slow, ends,
                aims=sixteen),
        Case("slow-expiring", NS, "the same where every second packet finds its session expired",
             measure_expiring, PACKETS, MILLION),
        Case("setup-8", "ns/set-up", "a new session under 8 policies",
             partial(measure_setups, opening=MixOpenings, policies=synth.MIX_POLICIES),
             PACKETS // 2, 0, "125 ns (8 M/s)"),
        Case("setup-1000", "ns/set-up", "a new session under 1 000 policies",
             partial(measure_setups, opening=OfficeOpenings, policies=office_policies()),
             PACKETS // 2, 0, "500 ns (2 M/s)"),
    ]
    for how in ("bucket", "replace_oldest", "tension"):
        rows.append(Case(f"evict-{how.replace('_', '-')}", "ns/set-up",
                         f"a new session in a full table, when_full {how}",
                         partial(measure_evictions, when_full=how), PACKETS // 2, MILLION,
                         "333 ns (3 M/s)"))
    return [
        *rows,
        Case("tension-pass", "ms", "one pass over a full table", measure_tension, PACKETS // 4,
             MILLION, "under 20 ms", source="memory"),
        Case("transition", "us", "one transition of conserve mode", measure_transitions, 20_000,
             1000, "at most 20 us", source="memory", quick_packets=4000),
        Case("crossings", "%", "more time for crossings of red that change nothing",
             measure_crossings, 16 * MILLION, 65_536, "at most 2 %", compared=False,
             quick_packets=MILLION, source="memory"),
        Case("share", "%", "pages, gate, ledgers and digest of a packet of mix", measure_share,
             PACKETS, 65_536, "at most 25 %", compared=False),
        *(Case(name, NS, f"{question}: more than without", partial(measure_shaping, rows=made),
               PACKETS, hosts, aim, compared=False)
          for name, question, made, hosts, aim in SHAPED),
        Case("import", "ms", "python -c 'import fwcore'",
             partial(whole.measure_start, replayed=False), 7, 0, yardstick="an empty Python",
             source="whole", quick_packets=3),
        Case("start", "ms", "python -m fwcore replay, ten packets",
             partial(whole.measure_start, replayed=True), 7, 0, "under 500 ms",
             yardstick="an empty Python", source="whole", quick_packets=3),
        *_whole(),
        Case("bytes-per-connection", "bytes", "what the process grows by for a connection",
             measure_memory, 0, MILLION, "at most 160", quick_sessions=MILLION,
             source="memory"),
        Case("imix-file", "x", "a warm 1.5 GB file against the same packets in memory",
             measure_imix, 4_194_304, 65_536, "at most 1.3", compared=False, on_request=True),
    ]


GUARDED = ("hit-1000", "hit-65536", "miss-65536", "setup-8", "evict-bucket", "evict-tension")
"""What a job of a CI holds against another build, with --guard."""

QUICK = ("read", "hit-1000", "hit-65536", "miss-65536", "everything-65536", "mix-1000", "setup-8",
         "evict-bucket", "tension-pass", "transition", "police-1", "start", "command-1000",
         "calls-32")
"""What --quick has without being asked: one of each kind. The sizes of others are cut to those of
one of these, or they cost as much as half of them."""

CASES = {case.name: case for case in _cases()}
