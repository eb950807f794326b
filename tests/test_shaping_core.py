"""The fast path's shaper against the twin: every scenario, and random settings and traffic."""

import pytest
import shaping_scenario as notation
from examples import SHARE
from hypothesis import given, settings, strategies as st
from shaping_core import Core
from test_shaping_laws import GAPS, HOSTS, MS, linked, metered

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

ALL = notation.read_all()
DIRECTIONS = ("forward", "reply")


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in ALL])
def test_the_core_does_what_the_scenario_says(row):
    story = notation.Run(row, Core).run()
    assert notation.differences(row, story) == []
    assert [law for law, holds in story.laws.items() if not holds] == []


class Both:
    """The core and the twin side by side; whatever is done is done to both and compared."""

    def __init__(self, declared, pages=10**9, sessions=64):
        self.account = notation.Pages(pages)
        self.twin = Shaper(declared, self.account.request, self.account.give)
        self.core = Core(declared, pages, sessions)
        self.time = 0
        self.number = 0
        self.open = {}

    def begin(self, name, session):
        """Whether the session was let in."""
        row = self.twin.row_of(session)
        let = self.twin.admits(row, session)
        assert self.core.admits(None, session) == let
        if let:
            self.open[name] = (self.twin.begin(row, session), self.core.begin(None, session))
        return let

    def end(self, name):
        twin, core = self.open.pop(name)
        self.twin.end(twin)
        self.core.end(core)

    def packet(self, gap, size, name, direction="forward", metered=True, dscp=0):
        self.time += gap
        self.number += 1
        arrival = Arrival(self.number, self.time, size, max(0, size - 14), dscp,
                          self.number % 3 == 0)
        twin, core = self.open[name]
        found = self.core.arrive(arrival, core, direction, metered)
        assert found == self.twin.arrive(arrival, twin, direction, metered), self.number

    def advance(self, gap):
        self.time += gap
        self.twin.advance(self.time)
        self.core.advance(self.time)

    def both(self, deed, *args):
        getattr(self.twin, deed)(*args)
        getattr(self.core, deed)(*args)

    def compare(self):
        assert self.core.departures == self.twin.departures
        assert self.core.counters() == self.twin.counters()
        assert self.core.samples == merged(self.twin.samples)
        assert self.core.free == self.account.free
        assert all(self.core.laws().values()), self.core.laws()


def merged(rows):
    """Samples of one moment are one: the last, with what was most in any."""
    found = []
    for row in rows:
        if found and found[-1]["time_ns"] == row["time_ns"]:
            row = over(found.pop(), row)
        found.append(row)
    return found


def over(before, row):
    """A row with what was most in the one before."""
    most = {"links": (2,), "classes": (2, 3), "meters": ()}
    return row | {kind: {name: tuple(
        max(word, before[kind].get(name, words)[at]) if at in places else word
        for at, word in enumerate(words)) for name, words in row[kind].items()}
        for kind, places in most.items()}


@settings(max_examples=SHARE)
@given(linked(), st.lists(st.one_of(
    st.tuples(st.just("configure"), linked()), st.tuples(st.just("clear"), st.none()),
    st.tuples(st.just("save"), st.none()), st.tuples(st.just("save"), st.none()),
    st.tuples(st.just("sample"), st.none()), st.tuples(st.just("sample"), st.none()),
    st.tuples(st.just("advance"), st.integers(0, 10**8))), max_size=5), st.integers(0, 40))
def test_trees_are_served_as_the_twin_serves_them(drawn, deeds, every):
    declared, packets = drawn
    both = Both(declared, 20)
    for n in range(HOSTS):
        both.begin(n, Session(initiator=n, hash=n << 62))
    for number, (gap, size, host) in enumerate(packets):
        if deeds and number % (every + 1) == every:
            deed, what = deeds.pop()
            if deed == "advance":
                both.advance(what)
            elif deed == "save":
                both.core.save()
            else:
                both.both(deed, *((what[0],) if deed == "configure" else ()))
            both.compare()
        both.packet(gap, size, host)
    both.compare()
    both.both("drain")
    both.compare()


def test_a_debt_is_no_longer_than_a_minute_when_the_rate_changes():
    """Found at random: the twin kept 192 s of a debt that was made at a higher rate."""
    def tree(ceiling):
        return Declared(
            links=(LinkRow("b", 0),), classes=(ClassRow("b", 10, ceiling=ceiling, need="level"),),
            rows=(ShapingRow(0, link="b", cls=10),))

    both = Both(tree(50_000))
    both.begin("a", Session())
    both.packet(0, 25, "a")
    both.both("configure", tree(1))
    both.compare()
    both.packet(0, 25, "a")
    both.both("drain")
    both.compare()
    assert [each.time_ns for each in both.twin.departures] == [0, 60 * 10**9]


@settings(max_examples=SHARE)
@given(metered(), metered())
def test_colours_are_the_twins(drawn, other):
    row, packets = drawn
    both = Both(Declared(meters=(row,), rows=(ShapingRow(1, meters=("m",)),)))
    both.begin("a", Session())
    for number, (gap, size) in enumerate(packets):
        if number % 8 == 7:
            both.both("sample")
        if number == 30:
            both.both("configure", Declared(
                meters=(other[0],), rows=(ShapingRow(1, meters=("m",)),)))
        both.packet(gap, size, "a")
    both.compare()


KEYED = st.builds(
    MeterRow, st.just("m"), st.just((RungRow(8000, 300, dscp=1), RungRow(24000, 900, dscp=2))),
    key=st.sampled_from(("none", "policy", "rule", "source", "destination", "initiator")),
    keys_max=st.integers(1, 3), need=st.sampled_from(("packet", "level")),
    count=st.sampled_from(("ip", "frame", "wire")), over=st.sampled_from(("drop", "pass")))
LIMITED = st.builds(
    MeterRow, st.just("n"), st.just((RungRow(9000, 200),)), key=st.just("initiator"),
    keys_max=st.integers(1, 2), max_sessions=st.integers(0, 2),
    max_tcp_sessions=st.integers(0, 2), max_udp_sessions=st.integers(0, 2))
NAMES = st.sampled_from((("m",), ("n",), ("m", "n"), ("n", "m", "m"), ()))
DEEDS = st.one_of(
    st.tuples(st.just("begin"), st.integers(0, 5), st.integers(0, 3), st.integers(0, 3),
              st.sampled_from((6, 17)), st.integers(0, 2)),
    st.tuples(st.just("end"), st.integers(0, 5)),
    st.tuples(st.just("packet"), st.integers(0, 5), GAPS, st.integers(1, 400),
              st.sampled_from(DIRECTIONS), st.booleans()),
    st.tuples(st.just("configure"), KEYED, LIMITED, NAMES, NAMES),
    st.tuples(st.just("save"), st.none()))


def rules(meters, forward, reply):
    """Two rows; the second is of one policy."""
    return Declared(meters=meters, rows=(
        ShapingRow(7, forward, reply, policy=frozenset((1,))),
        ShapingRow(8, reply, forward, source=(0, 2))))


@settings(max_examples=SHARE)
@given(KEYED, LIMITED, NAMES, NAMES, st.lists(DEEDS, min_size=5, max_size=60))
def test_buckets_of_sessions_come_and_go_as_the_twins(keyed, limited, forward, reply, deeds):
    both = Both(rules((keyed, limited), forward, reply))
    for deed, name, *rest in deeds:
        if deed == "configure":
            both.both("configure", rules((name, rest[0]), rest[1], rest[2]))
        elif deed == "save":
            both.core.save()
        elif deed == "begin" and name not in both.open:
            initiator, responder, protocol, policy = rest
            both.begin(name, Session(initiator, responder, protocol, 80, policy))
        elif deed == "end" and name in both.open:
            both.end(name)
        elif deed == "packet" and name in both.open:
            gap, size, direction, metered_too = rest
            both.packet(gap, size, name, direction, metered_too)
    both.compare()


def test_each_session_goes_on_with_its_own_bucket_under_other_rows():
    """Host 1 has emptied its bucket before the rows are changed, host 2 has not."""
    row = MeterRow("m", (RungRow(8, 1000),), key="source", count="frame")
    declared = Declared(meters=(row,), rows=(ShapingRow(1, meters=("m",)),))
    both = Both(declared)
    for host in (1, 2):
        both.begin(host, Session(initiator=host))
    both.packet(0, 1000, 1)
    both.both("configure", declared)
    for host in (1, 2, 2):
        both.packet(0, 1000, host)
    both.compare()
    assert both.core.counters()["meters"]["m"]["passed"]["packets"] == 2


def test_a_held_bucket_is_not_forgotten():
    """Two sessions of host 1 hold its bucket, one ends: host 2 finds no room and shares."""
    row = MeterRow("m", (RungRow(8000, 1000),), key="source", keys_max=1, count="frame")
    both = Both(Declared(meters=(row,), rows=(ShapingRow(1, meters=("m",)),)))
    both.begin("a", Session(initiator=1, port=1))
    both.begin("b", Session(initiator=1, port=2))
    both.end("a")
    both.begin("c", Session(initiator=2))
    both.packet(0, 900, "b")
    both.packet(0, 900, "c")
    counts = both.core.counters()["meters"]["m"]
    assert (counts["keys"], counts["keys_shared"], counts["keys_forgotten"]) == (1, 1, 0)
    both.compare()


def test_a_bucket_that_is_held_again_is_idle_no_longer():
    """Host 1 goes and comes back; host 2 finds no room and shares."""
    row = MeterRow("m", (RungRow(8000, 1000),), key="source", keys_max=1, count="frame")
    both = Both(Declared(meters=(row,), rows=(ShapingRow(1, meters=("m",)),)))
    both.begin("a", Session(initiator=1))
    both.end("a")
    both.begin("b", Session(initiator=1))
    both.begin("c", Session(initiator=2))
    both.packet(0, 900, "b")
    both.packet(0, 900, "c")
    counts = both.core.counters()["meters"]["m"]
    assert (counts["keys"], counts["keys_shared"], counts["keys_forgotten"]) == (1, 1, 0)
    both.compare()


def test_a_turn_that_took_too_much_is_made_good():
    """A frame of five quanta, then small ones against those of another leaf."""
    leaves = tuple(ClassRow("w", n, quantum=300, limit_packets=50) for n in (1, 2))
    both = Both(Declared(links=(LinkRow("w", 10**6),), classes=leaves, rows=tuple(
        ShapingRow(n, link="w", cls=n, source=(n, n)) for n in (1, 2))))
    for n in (1, 2):
        both.begin(n, Session(initiator=n))
    both.packet(0, 1500, 1)
    for number in range(12):
        both.packet(0, 1500 if number == 1 else 100, 1)
        both.packet(0, 100, 2)
    both.both("drain")
    both.compare()


def test_a_class_that_has_of_its_own_again_goes_before_who_borrows():
    """However long that one's turn is, and though nothing comes meanwhile."""
    classes = (ClassRow("w", 1, quantum=60_000),
               ClassRow("w", 2, guarantee=800_000, guarantee_burst=1000))
    both = Both(Declared(links=(LinkRow("w", 8_000_000),), classes=classes, rows=tuple(
        ShapingRow(n, link="w", cls=n, source=(n, n)) for n in (1, 2))))
    for n in (1, 2):
        both.begin(n, Session(initiator=n))
    for name in [2] * 4 + [1] * 30:
        both.packet(0, 1000, name)
    both.both("drain")
    both.compare()
    order = [row.cls for row in both.core.departures]
    assert order[:3] == [2, 2, 1] and order.index(2, 4) < 15


@pytest.mark.parametrize("bits", range(28, 36))
def test_a_bucket_fills_by_more_than_any_integer_holds(bits):
    """2^31 units a nanosecond: after 2^31 ns they are 2^62, after 2^33 a 64-bit product is 0."""
    both = Both(Declared(
        meters=(MeterRow("m", (RungRow(2**40, 100_000),), count="frame"),),
        rows=(ShapingRow(1, meters=("m",)),)))
    both.begin("a", Session())
    for gap in (0, 0, 2**bits, 0, 2**bits - 1, 0, 2**61, 0):
        both.packet(gap, 90_000, "a")
    both.compare()
    assert both.core.counters()["meters"]["m"]["passed"] == {"packets": 4, "bytes": 360_000}


@pytest.mark.parametrize("size", [2305843009, 2305843010, 2**32 - 1])
def test_a_packet_costs_more_than_any_integer_holds(size):
    """8 x 10^9 units a byte: such a frame's 64-bit product is near 0, or past 2^64."""
    both = Both(Declared(
        meters=(MeterRow("m", (RungRow(10**9 + 7, 100_000),), count="frame"),),
        rows=(ShapingRow(1, meters=("m",)),)))
    both.begin("a", Session())
    both.packet(0, size, "a")
    both.compare()
    assert both.core.counters()["meters"]["m"]["passed"] == {"packets": 0, "bytes": 0}


@pytest.mark.parametrize("count", [9, 14, 23, 37])
def test_codel_of_bursts_ends_and_begins_again_as_the_twins(count):
    """Bursts on a line that takes 8 ms a frame; the second comes within 16 intervals."""
    row = ClassRow("w", 1, discard="codel", target_ns=5 * MS, interval_ns=20 * MS,
                   limit_packets=100)
    both = Both(Declared(links=(LinkRow("w", 10**6),), classes=(row,),
                         rows=(ShapingRow(1, link="w"),)))
    both.begin("a", Session())
    for gap in (0, 8 * MS * count, 100 * MS):
        both.packet(gap, 1000, "a")
        for _ in range(count):
            both.packet(0, 1000, "a")
        both.packet(8 * MS * count // 2, 1000, "a")
    both.both("drain")
    both.compare()


@pytest.mark.parametrize("count", [31, 36])
def test_codel_ends_where_the_queue_is_short_again(count):
    """A burst that CoDel thins out, and long after it a frame that nobody is before."""
    row = ClassRow("w", 1, discard="codel", target_ns=5 * MS, interval_ns=20 * MS,
                   limit_packets=100)
    both = Both(Declared(links=(LinkRow("w", 10**6),), classes=(row,),
                         rows=(ShapingRow(1, link="w"),)))
    both.begin("a", Session())
    for _ in range(count):
        both.packet(0, 1000, "a")
    both.packet(8 * MS * count + 500 * MS, 1000, "a")
    both.both("drain")
    both.compare()


# --- more than one word of each set ---------------------------------------------------------------

MANY_LEAVES, ADDRESSES = 70, 80


@st.composite
def wide(draw):
    """A tree of more classes than a word has bits, a class of more sub-queues, and packets."""
    rate = st.sampled_from((0, 20_000, 200_000, 3_000_000))
    inner = [ClassRow("w", n + 1, parent, guarantee=draw(rate), ceiling=draw(rate),
                      guarantee_burst=2000, ceiling_burst=3000,
                      need=draw(st.sampled_from(("level", "level", "level", "packet"))))
             for n, parent in ((0, 0), (1, 1), (2, 0))]
    plain = [ClassRow("w", 10 + n, n % 4, guarantee=draw(rate) if n < 8 else 30_000 * (n % 3),
                      guarantee_burst=1500, ceiling=200_000 * (n % 2), ceiling_burst=1000,
                      priority=n % 3, quantum=300 + n, limit_packets=4) for n in range(MANY_LEAVES)]
    shared = ClassRow("w", 900, share="source", shares=draw(st.integers(1, 80)), limit_packets=30,
                      share_ceiling=draw(st.sampled_from((0, 100_000))), share_burst=900)
    hosts = MANY_LEAVES + ADDRESSES
    rows = tuple(ShapingRow(n, link="w", cls=10 + n if n < MANY_LEAVES else 900, source=(n, n))
                 for n in range(hosts))
    packets = draw(st.lists(st.tuples(
        st.sampled_from((0, 0, 0, 100_000, 3 * 10**6)), st.integers(1, 900),
        st.integers(0, hosts - 1)), min_size=60, max_size=120))
    link = LinkRow("w", draw(st.sampled_from((0, 2 * 10**6))))
    return Declared(links=(link,), classes=(*inner, *plain, shared), rows=rows), packets, hosts


@settings(max_examples=max(3, SHARE // 10))
@given(wide())
def test_hundreds_of_classes_and_sub_queues_are_served_as_the_twins(drawn):
    declared, packets, hosts = drawn
    both = Both(declared, sessions=hosts)
    for n in range(hosts):
        both.begin(n, Session(initiator=n, hash=n << 56))
    for number, (gap, size, host) in enumerate(packets):
        both.packet(gap, size, host)
        if number == 60:
            both.advance(10**8)
        if number in (30, 90):
            both.core.save()
    both.both("drain")
    both.compare()


# --- laws that can fail ---------------------------------------------------------------------------


def test_laws_alone_see_a_meter_and_a_line_that_give_too_much():
    """Nothing else is compared here: mutants that give more than there is are killed by a law."""
    declared = Declared(
        meters=(MeterRow("m", (RungRow(8_000, 1000),), count="frame"),),
        links=(LinkRow("w", 3_000_001),), classes=(ClassRow("w", 1),),
        rows=(ShapingRow(1, source=(1, 1), meters=("m",)), ShapingRow(2, link="w")))
    core = Core(declared)
    metered, queued = (core.begin(None, Session(initiator=n)) for n in (1, 2))
    for number in range(20):
        core.arrive(Arrival(2 * number, number * MS, 600), metered)
        core.arrive(Arrival(2 * number + 1, number * MS, 1001), queued)
    core.drain()
    assert [law for law, holds in core.laws().items() if not holds] == []


@pytest.mark.parametrize("share", ["none", "flow"])
def test_codel_goes_on_dropping_under_other_rows(share):
    """Rows that say the same change nothing: its count and its next drop are what they were."""
    declared = Declared(
        links=(LinkRow("w", 8_000_000),), rows=(ShapingRow(1, link="w"),),
        classes=(ClassRow("w", 1, discard="codel", share=share, shares=4,
                         target_ns=MS, interval_ns=10 * MS),))
    left = []
    for changes in ((), (150, 151, 220)):
        both = Both(declared)
        both.begin("a", Session())
        for number in range(260):
            if number in changes:
                both.both("configure", declared)
            both.packet(MS // 2, 1000, "a")
        both.compare()
        left.append(both.core.departures)
    assert sum(row.fate == "codel" for row in left[0]) > 5
    assert left[0] == left[1]
