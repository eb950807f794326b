"""Laws of shaping on random settings and traffic, each from a source of its own.

The bucket bound over every window, one packet at a time on a line, order within a class, nothing
lost, and a line that is idle only while nothing may leave; CoDel against RFC 8289's own text.
"""

import itertools
import math
from collections import defaultdict, deque
from dataclasses import replace
from fractions import Fraction

from examples import SHARE, SOME
from hypothesis import given, settings, strategies as st

from fwcore.reference.config import Config
from fwcore.reference.discard import Codel, Fifo, Waiting
from fwcore.reference.machines import Snapshot, Unified
from fwcore.reference.memory import Memory
from fwcore.reference.rows import (
    Arrival,
    ClassRow,
    Declared,
    LinkRow,
    MeterRow,
    RungRow,
    Session,
    ShapingRow,
)
from fwcore.reference.shaping import Shaper

MS = 10**6
HOSTS = 3

# --- meters ---------------------------------------------------------------------------------------

RATES = st.one_of(st.integers(1, 50), st.sampled_from((8000, 10**6, 3 * 10**6, 10**9 + 7)))
GAPS = st.one_of(st.just(0), st.integers(0, 20 * MS), st.integers(0, 10**11))


@st.composite
def metered(draw):
    """A meter with a mark for each rung, and packets."""
    algorithm = draw(st.sampled_from(("rfc2698", "rfc2698", "rfc2697", "rfc4115")))
    count = 2 if algorithm != "rfc2698" else draw(st.integers(1, 3))
    rungs = [RungRow(draw(RATES), draw(st.integers(1, 4000)), dscp=n) for n in range(count)]
    if algorithm == "rfc2697":
        rungs[1] = replace(rungs[1], rate=0)
    row = MeterRow("m", tuple(rungs), algorithm, count="frame", over="drop",
                   need=draw(st.sampled_from(("packet", "level"))))
    packets = draw(st.lists(st.tuples(GAPS, st.integers(1, 3000)), min_size=1, max_size=40))
    return row, packets


def window_holds(passed, rate, depth, slack):
    """Whether no window has more than depth + rate x time: max(0, v - rate dt) + bytes."""
    level, last = Fraction(0), None
    for time, size in passed:
        if last is not None:
            level = max(Fraction(0), level - Fraction(rate * (time - last), 8 * 10**9))
        last = time
        level += size
        if level > depth + slack:
            return False
    return True


@settings(max_examples=SHARE)
@given(metered())
def test_no_window_has_more_than_burst_and_rate_allow(drawn):
    row, packets = drawn
    shaper = Shaper(Declared(meters=(row,), rows=(ShapingRow(1, meters=("m",)),)))
    shaped = shaper.begin(shaper.row_of(Session()), Session())
    time, passed = 0, defaultdict(list)
    for number, (gap, size) in enumerate(packets, 1):
        time += gap
        judged = shaper.arrive(Arrival(number, time, size), shaped)
        if not judged.reason:
            passed[judged.dscp].append((time, size))
    slack = max((size for _, size in packets), default=0) if row.need == "level" else 0
    for rung, each in enumerate(row.rungs):
        colours = range(rung + 1) if row.algorithm == "rfc2698" else [rung]
        seen = sorted(itertools.chain.from_iterable(passed[k] for k in colours))
        rate = row.rungs[0].rate if row.algorithm == "rfc2697" else each.rate
        assert window_holds(seen, rate, each.depth, slack), (rung, passed)
    meter = shaper.meters["m"]
    assert meter.passed["packets"] == sum(map(len, passed.values()))
    assert meter.passed["packets"] + meter.dropped["packets"] == len(packets)
    assert sum(meter.by_colour) == len(packets)


# --- trees ----------------------------------------------------------------------------------------


@st.composite
def tree(draw, link):
    """Classes of one link: leaves below it, or below one or two inner classes."""
    inner = draw(st.integers(0, 2))
    rows = [bucketed(draw, ClassRow(link, n + 1)) for n in range(inner)]
    if inner == 2 and draw(st.booleans()):
        rows[1] = replace(rows[1], parent=1)
    tops = {row.id for row in rows}
    for n in range(draw(st.integers(1, 4))):
        parent = draw(st.sampled_from([0, *sorted(tops)]))
        rows.append(leaf(draw, ClassRow(link, 10 + n, parent)))
    for top in tops - {row.parent for row in rows}:
        rows.append(leaf(draw, ClassRow(link, 20 + top, top)))
    return rows


def bucketed(draw, row):
    """Some guarantee and some ceiling."""
    rate = st.one_of(st.just(0), st.integers(1, 40).map(lambda n: n * 50_000), RATES)
    return replace(row, guarantee=draw(rate), ceiling=draw(rate),
                   guarantee_burst=draw(st.integers(1, 4000)),
                   ceiling_burst=draw(st.integers(1, 4000)))


def leaf(draw, row):
    """A queue of any kind."""
    discard = draw(st.sampled_from(("tail", "tail", "red", "codel")))
    need = "level" if discard == "codel" else draw(st.sampled_from(("level", "packet")))
    share = draw(st.sampled_from(("none", "none", "flow", "source")))
    least = 0 if (share, discard) == ("none", "tail") else 1  # 0: no queue
    return replace(
        bucketed(draw, row), discard=discard, need=need, share=share,
        shares=draw(st.integers(1, 3)), priority=draw(st.integers(0, 2)),
        quantum=draw(st.integers(1, 2000)), limit_packets=draw(st.integers(least, 12)),
        limit_bytes=draw(st.sampled_from((0, 0, 3000))), red_min=0, red_max=8,
        red_probability=50, target_ns=5 * MS, interval_ns=20 * MS,
        share_ceiling=draw(st.sampled_from((0, 0, 300_000))), share_burst=2000)


@st.composite
def linked(draw):
    """One or two links in a chain, their trees, and packets of some sessions."""
    rate = st.sampled_from((0, 0, 10**6, 3 * 10**6, 7))
    links = [LinkRow("a", draw(rate), next=draw(st.sampled_from(("", "b")))),
             LinkRow("b", draw(rate), "wire")]
    classes = [*draw(tree("a")), *draw(tree("b"))]
    leaves = [row.id for row in classes if row.link == "a" and row.id >= 10]
    rows = tuple(ShapingRow(n, link=draw(st.sampled_from("ab")), cls=draw(st.sampled_from(leaves)),
                            source=(n, n)) for n in range(HOSTS))
    packets = draw(st.lists(st.tuples(
        st.one_of(st.just(0), st.just(0), st.integers(0, 15 * MS)), st.integers(1, 1600),
        st.integers(0, HOSTS - 1)), min_size=1, max_size=40))
    return Declared(links=tuple(links), classes=tuple(classes), rows=rows,
                    accounting="bytes"), packets


def run(declared, packets, changed=None):
    """The shaper after all packets have left, the arrivals, and the pages left over."""
    pages = [20]

    def request(need, pinned):
        if need() > pages[0]:
            return False
        pages[0] -= need()
        return True

    def give(count):
        pages[0] += count

    shaper = Shaper(declared, request, give)
    sessions = [Session(initiator=n, hash=n << 62) for n in range(HOSTS)]
    shaped = [shaper.begin(shaper.row_of(session), session) for session in sessions]
    time, told = 0, {}
    for number, (gap, size, host) in enumerate(packets, 1):
        time += gap
        if changed and number == len(packets) // 2 + 1:
            through(shaper, time)
            shaper.configure(changed)
            assert all(shaper.laws().values()), shaper.laws()
        through(shaper, time)
        told[number] = shaper.arrive(Arrival(number, time, size, ect=number % 3 == 0),
                                     shaped[host])
        assert all(shaper.laws().values()), shaper.laws()
    through(shaper, None)
    shaper.drain()
    return shaper, told, pages[0]


def through(shaper, until):
    """All moments until a time; before each no line was idle while something could leave."""
    while (time := shaper.due()) is not None and (until is None or time <= until):
        assert time >= shaper.now
        for link in shaper.links.values():
            if link.line is None and time > shaper.now:
                assert not link.lenders(time - 1), "idle although something may leave"
        shaper.moment(time)
        assert (after := shaper.due()) is None or after > time, "a moment is gone through once"
        if time > 10**15:
            return


@settings(max_examples=SOME)
@given(linked())
def test_every_packet_has_an_end_and_lines_send_one_at_a_time(drawn):
    declared, packets = drawn
    shaper, told, pages = run(declared, packets)
    assert all(shaper.laws().values())
    assert pages == 20
    ends = defaultdict(list)
    for row in shaper.departures:
        ends[row.packet].append(row)
    for number, judged in told.items():
        fates = [row.fate for row in ends[number]]
        if judged.reason:
            assert fates == []
        else:
            assert fates[-1] != "passed_on"
            assert fates[:-1] == ["passed_on"] * (len(fates) - 1)
    times = [row.time_ns for row in shaper.departures]
    assert times == sorted(times)
    for link in shaper.links.values():
        serial(shaper, link, packets)
        in_order(shaper, link)


def serial(shaper, link, packets):
    """Releases of a line stand at least its time apart, rounding aside."""
    last = None
    for row in shaper.departures:
        if row.link == link.number and row.fate in ("sent", "passed_on") and link.row.rate:
            size = packets[row.packet - 1][1] + (24 if link.row.count == "wire" else 0)
            least = Fraction(size * 8 * 10**9, link.row.rate)
            if last is not None:
                assert row.time_ns - last > least - 1
            last = row.time_ns


def in_order(shaper, link):
    """Within a class without shares packets leave in the order of their numbers' coming."""
    came = defaultdict(list)
    for row in shaper.departures:
        if row.link == link.number and row.fate in ("sent", "passed_on"):
            came[row.cls].append(row.packet)
    for cls, numbers in came.items():
        if link.classes[cls].row.share == "none" and not any(
                other.row.next == link.row.name for other in shaper.links.values()):
            assert numbers == sorted(numbers)


@settings(max_examples=SOME)
@given(linked(), linked())
def test_laws_hold_across_a_change_of_everything(drawn, other):
    declared, packets = drawn
    shaper, _, pages = run(declared, packets, changed=other[0])
    assert all(shaper.laws().values())
    assert pages == 20


@settings(max_examples=SOME)
@given(linked(), st.lists(st.integers(0, 15 * MS), min_size=1, max_size=5))
def test_looking_more_often_changes_nothing(drawn, steps):
    declared, packets = drawn
    shapers = Shaper(declared), Shaper(declared)
    sessions = [Session(initiator=n, hash=n << 62) for n in range(HOSTS)]
    shaped = [[each.begin(each.row_of(s), s) for s in sessions] for each in shapers]
    time = 0
    for number, (gap, size, host) in enumerate(packets, 1):
        for step in sorted(steps):
            if step < gap:
                shapers[1].advance(time + step)
        time += gap
        judged = [each.arrive(Arrival(number, time, size), mine[host])
                  for each, mine in zip(shapers, shaped, strict=True)]
        assert judged[0] == judged[1]
    for step in sorted(steps):
        shapers[1].drain(time + step)
    for each in shapers:
        each.drain()
    assert shapers[0].departures == shapers[1].departures
    assert shapers[0].counters() == shapers[1].counters()


# --- CoDel by RFC 8289's text ---------------------------------------------------------------------


class Rfc8289:
    """Section 5 of the RFC, transcribed; times are integers, the root is exact."""

    def __init__(self, target, interval):
        self.TARGET, self.INTERVAL = target, interval
        self.queue = deque()
        self.bytes = self.maxpacket = 0
        self.first_above_time = self.drop_next = self.count = self.lastcount = 0
        self.dropping = False
        self.dropped = []

    def enqueue(self, number, size, now):
        self.queue.append((number, size, now))
        self.bytes += size
        self.maxpacket = max(self.maxpacket, size)

    def control_law(self, t, count):
        return t + math.isqrt(self.INTERVAL * self.INTERVAL // count)

    def dodequeue(self, now):
        if not self.queue:
            self.first_above_time = 0
            return None, False
        p = self.queue.popleft()
        self.bytes -= p[1]
        ok_to_drop = False
        sojourn_time = now - p[2]
        if sojourn_time < self.TARGET or self.bytes <= self.maxpacket:
            self.first_above_time = 0
        elif self.first_above_time == 0:
            self.first_above_time = now + self.INTERVAL
        elif now >= self.first_above_time:
            ok_to_drop = True
        return p, ok_to_drop

    def dequeue(self, now):
        p, ok = self.dodequeue(now)
        if self.dropping:
            if not ok:
                self.dropping = False
            while now >= self.drop_next and self.dropping:
                self.dropped.append(p[0])
                self.count += 1
                p, ok = self.dodequeue(now)
                if not ok:
                    self.dropping = False
                else:
                    self.drop_next = self.control_law(self.drop_next, self.count)
        elif ok:
            self.dropped.append(p[0])
            p, ok = self.dodequeue(now)
            self.dropping = True
            delta = self.count - self.lastcount
            self.count = 1
            if delta > 1 and now - self.drop_next < 16 * self.INTERVAL:
                self.count = delta
            self.drop_next = self.control_law(now, self.count)
            self.lastcount = self.count
        return p and p[0]


@settings(max_examples=SOME)
@given(st.integers(0, 20), st.integers(1, 60),
       st.lists(st.tuples(st.integers(0, 9), st.integers(1, 1500), st.integers(0, 3)),
                min_size=20, max_size=200))
def test_codel_is_rfc_8289(target, interval, steps):
    rfc = Rfc8289(target * MS, interval * MS)
    fifo, codel, dropped = Fifo(), Codel(target * MS, interval * MS, False), []
    now, largest = 1, 0
    for number, (gap, size, puts) in enumerate(steps):
        now += gap * MS
        for _ in range(puts):
            rfc.enqueue(number, size, now)
            largest = max(largest, size)
            fifo.put(Waiting(Arrival(number, now, size), size, now, 0, None, 1, 0, Session(), ""))
        sent = codel.take(fifo, now, largest, lambda p: dropped.append(p.arrival.number))
        assert (sent and sent.arrival.number) == rfc.dequeue(now)
        assert dropped == rfc.dropped
    state = (codel.first_above, codel.drop_next, codel.count, codel.last_count, codel.dropping)
    assert state == (rfc.first_above_time, rfc.drop_next, rfc.count, rfc.lastcount, rfc.dropping)


# --- laws that can fail ---------------------------------------------------------------------------


def metering(key="none"):
    """A meter of 8 kbit/s and 1000 bytes, and two packets of 800 at once: the second is over."""
    row = MeterRow("m", (RungRow(8000, 1000),), count="frame", key=key)
    shaper = Shaper(Declared(meters=(row,), rows=(ShapingRow(1, meters=("m",)),)))
    return shaper, shaper.begin(shaper.row_of(Session()), Session())


def test_a_meter_that_lets_too_much_pass_breaks_its_bound():
    shaper, shaped = metering()
    for number in (1, 2):
        shaper.arrive(Arrival(number, 0, 800), shaped)
    assert shaper.laws()["meter_bound"]
    (account,) = shaper.meters["m"].accounts.values()
    account.buckets[0].level = account.buckets[0].depth     # as if it had cost nothing
    shaper.arrive(Arrival(3, 0, 800), shaped)
    assert [law for law, holds in shaper.laws().items() if not holds] == ["meter_bound"]


def test_transmissions_that_overlap_break_the_line():
    shaper = Shaper(Declared(links=(LinkRow("w", 8000),), rows=(ShapingRow(1, link="w"),)))
    shaped = shaper.begin(shaper.row_of(Session()), Session())
    for number in (1, 2):
        shaper.arrive(Arrival(number, 0, 1000), shaped)     # a second each
    shaper.advance(10**9)
    assert shaper.laws()["link_serial"]
    (link,) = shaper.links.values()
    link.last_end = (10**9 + 1, 0)      # as if the first had ended behind the second's begin
    link.line = link.line._replace(start=(10**9, 0))
    link.begin(link.line.packet, link.line.leaf, 10**9, (10**9, 0))
    assert [law for law, holds in shaper.laws().items() if not holds] == ["link_serial"]


# --- a queue that drives a firewall into conserve mode and out again ------------------------------


def test_a_queue_drives_the_machine_on_and_off_again():
    """100 pages, 80 of them base: red at 88, green at 82, as FortiOS 7 has them.

    Frames of 4096 bytes on a line of 1 Mbit/s (32.768 ms each): the n-th queued is the n-th page.
    The 8th makes 88: on. Off when fewer than 82 are used: when one is left.
    """
    memory = Memory(Config(ram_bytes=100 * 4096, base_bytes=80 * 4096, accounting="slab",
                           cache_limit_bytes=0))
    queues = [0]

    def request(need, pinned):
        wanted = need()
        queues[0] += wanted
        return memory.attempt(wanted)

    def give(pages):
        queues[0] -= pages
        memory.free += pages

    machine = Unified(Config(), memory.total)
    shaper = Shaper(Declared(links=(LinkRow("w", 10**6),), rows=(ShapingRow(1, link="w"),),
                             accounting="bytes"), request, give)
    shaped = shaper.begin(shaper.row_of(Session()), Session())
    mode, seen = "off", []

    def decide(now):
        nonlocal mode
        used = memory.used + queues[0]
        told = machine.step(mode, Snapshot(memory.total, used, 0, memory.free, 0, 0))
        if told != mode:
            seen.append((now, mode, told, used))
        mode = told

    for number in range(1, 13):
        shaper.arrive(Arrival(number, 0, 4096), shaped)
        decide(number)
    while (time := shaper.due()) is not None:
        shaper.moment(time)
        decide(time)
    # 12 are queued; after the 11th has left one is: 81 < 82, at 11 x 32.768 ms.
    assert seen == [(8, "off", "on", 88), (360_448_000, "on", "off", 81)]
    assert memory.free == 20
