"""What traffic demands: the fast path against the plain twin, rows worked out, and the command."""

import json

import numpy as np
import pytest
from examples import SOME
from frames import ethernet, ip, tcp, udp
from hypothesis import given, settings as hypothesis_settings, strategies as st
from twin import assert_buckets, assert_lines, demand_columns, fed

from fwcore import Engine, Verdict, cli, demand
from fwcore._demand import DEPTHS_MAX, RATE_MAX, RATES_MAX, Demand, Line
from fwcore.capture import Chunk, open_captures
from fwcore.errors import FwcoreError
from fwcore.reference.demand import Demanded, dropped, late, smallest_depth
from fwcore.settings import load

MS = 10**6
SECOND = 10**9
PCAPS = ("pcaps/web.pcap", "pcaps/fragments.pcap", "pcaps/ipv6.pcap", "pcaps/icmp-errors.pcap")


# --- against the twin ----------------------------------------------------------------------------

times = st.lists(st.one_of(st.integers(-5 * MS, 20 * MS), st.just(0), st.integers(0, 2 * SECOND)),
                 min_size=1, max_size=30)
rates = st.one_of(st.integers(1, RATE_MAX), st.integers(10**4, 10**8),
                  st.sampled_from([1, 3, 8, 64_000, 10**6, 10**9, RATE_MAX]))


@st.composite
def traffic(draw):
    now, made = draw(st.sampled_from([0, 2**62 - 60 * SECOND, 1_700_000_000 * SECOND])), []
    for step in draw(times):
        now = max(0, now + step)
        made.append(Demanded(now, draw(st.one_of(st.integers(0, 3000), st.just(2**32 - 1))),
                             draw(st.integers(0, 3)), draw(st.one_of(st.none(), st.integers(0, 3))),
                             draw(st.booleans())))
    return made


@hypothesis_settings(max_examples=SOME, deadline=None)
@given(traffic(), st.lists(rates, min_size=1, max_size=RATES_MAX),
       st.lists(st.integers(0, 10_000), max_size=DEPTHS_MAX), st.lists(st.integers(0, 99)))
def test_buckets_as_the_twin_reckons_them(packets, chosen, depths, cuts):
    assert_buckets(packets, chosen, depths, cuts)


@hypothesis_settings(max_examples=SOME, deadline=None)
@given(traffic(), st.lists(rates, min_size=1, max_size=RATES_MAX),
       st.one_of(st.integers(0, SECOND), st.just(2**62)), st.lists(st.integers(0, 99)))
def test_lines_as_the_twin_reckons_them(packets, chosen, delay_ns, cuts):
    assert_lines(packets, chosen, delay_ns, cuts)


@hypothesis_settings(max_examples=SOME, deadline=None)
@given(traffic(), rates)
def test_the_smallest_depth_drops_nothing_and_one_byte_less_drops(packets, rate):
    least = fed(lambda: Demand([rate], [[]]), packets).depth_bytes()[0]
    price = 8 * (SECOND // np.gcd(rate, SECOND))
    if least * int(price) > 2**61:
        return
    cells = fed(lambda: Demand([rate], [[least, max(least - 1, 0)]]), packets).dropped()[0]
    assert cells[0]["packets"] == 0
    assert least == 0 or cells[1]["packets"] > 0


# --- worked out ----------------------------------------------------------------------------------

ROWS = [
    # packets (time, bytes),                     rate,   smallest depth; why
    ([(0, 1000)], 8_000, 1000, "one packet needs itself"),
    ([(0, 1000), (0, 1000)], 8_000, 2000, "two at once need both"),
    ([(0, 1000), (SECOND, 1000)], 8_000, 1000, "1 kB/s brings exactly 1000 bytes in a second"),
    ([(0, 1000), (SECOND - 1, 1000)], 8_000, 1001, "a nanosecond short: a part of a byte more"),
    ([(0, 1000), (SECOND // 2, 1000)], 8_000, 1500, "half of it came back"),
    ([(0, 1000), (-5, 1000)], 8_000, 2000, "back in time is now"),
    ([(0, 500), (3 * SECOND, 1500)], 8_000, 1500, "a full bucket does not save up"),
    ([(0, 1000), (1, 1000), (2, 1000)], 3_000_000, 3000, "three of 1000 bytes at 3 Mbit/s"),
]


@pytest.mark.parametrize(("packets", "rate", "depth", "why"), ROWS, ids=[row[3] for row in ROWS])
def test_smallest_depths_worked_out(packets, rate, depth, why):
    made = [Demanded(*row) for row in packets]
    assert fed(lambda: Demand([rate], [[]]), made).depth_bytes() == [depth] == [
        smallest_depth(made, rate)], why


def test_equality_conforms_and_a_byte_less_does_not():
    made = [Demanded(0, 1000), Demanded(SECOND, 1000), Demanded(SECOND, 1)]
    cells = fed(lambda: Demand([8_000], [[1000, 999, 1001]]), made).dropped()[0]
    assert [cell["packets"] for cell in cells] == [1, 2, 0]
    assert [cell["bytes"] for cell in cells] == [1, 2000, 0]


def test_a_line_is_late_by_the_nanosecond_at_which_it_gives_out():
    """1000 bytes at 3 Mbit/s take 2 666 666 and two thirds ns: given out at 2 666 667."""
    for delay_ns, expected in ((2_666_666, 1), (2_666_667, 0)):
        assert fed(lambda d=delay_ns: Line([3_000_000], d), [Demanded(0, 1000)]).late == [expected]
    three = [Demanded(0, 1000)] * 3          # nothing is rounded twice: the third at 8 000 000
    assert fed(lambda: Line([3_000_000], 8_000_000), three).late == [0]
    assert fed(lambda: Line([3_000_000], 7_999_999), three).late == [1]


def test_a_key_without_a_place_is_counted_and_meets_no_bucket():
    made = [Demanded(0, 100 + key, key, key) for key in (1, 2, 3, 2, 3)]
    found = fed(lambda: Demand([8], [[0]], 2, 1), made)
    assert (found.keys, found.forgotten) == (2, {"packets": 2, "bytes": 206})
    assert found.dropped()[0][0]["packets"] == 3
    assert found.dropped()[0][0]["flows"] == 1
    assert found.flowless == 2


@pytest.mark.parametrize("wrong", [
    {"rates": []}, {"rates": [0]}, {"rates": [RATE_MAX + 1]}, {"rates": [1] * 17},
    {"depths": []}, {"depths": [[1], [1]]}, {"depths": [[1] * 9]}, {"depths": [[-1]]},
    {"depths": [[2**61]]}, {"keys_max": 0}, {"flows_max": 2**24 + 1},
])
def test_what_is_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=r"rates?|depths?|_max"):
        Demand(**{"rates": [8], "depths": [[1]]} | wrong)


def test_the_deepest_bucket_is_the_meters():
    """2^61 units: of a rate of 1 bit/s, 2^61 // (8 x 10^9) bytes."""
    most = 2**61 // (8 * SECOND)
    assert fed(lambda: Demand([1], [[most]]), [Demanded(0, most)]).dropped()[0][0]["packets"] == 0
    with pytest.raises(ValueError, match="above 2\\^61 units of 1 nanobits"):
        Demand([1], [[most + 1]])


def test_arrays_that_do_not_agree_are_refused():
    given_ = demand_columns([Demanded(0, 1)])
    for at in range(1, 5):
        with pytest.raises(ValueError, match="differ in length"):
            Demand([1], [[]]).feed(*(part if i != at else part[:0]
                                     for i, part in enumerate(given_)))
    with pytest.raises(ValueError, match="size: "):
        Line([1], 0).feed(given_[0], np.array([2**33], np.uint64))
    with pytest.raises(ValueError, match="words"):
        Demand([1], [[]]).feed(*given_[:2], given_[2][:, :5].copy(), *given_[3:])


# --- captures ------------------------------------------------------------------------------------


def frames_of(rows):
    """A chunk of (time, source, destination, transport); transport like tcp(1, 2)."""
    return Chunk.from_frames(
        [ethernet(ip(*row[1:])) for row in rows], [row[0] for row in rows])


TALK = [
    (0, "10.0.0.1", "10.0.0.9", 6, tcp(1000, 80, payload=100)),
    (MS, "10.0.0.9", "10.0.0.1", 6, tcp(80, 1000, payload=1000)),
    (MS, "10.0.0.2", "10.0.0.9", 17, udp(53, 53, payload=500)),
    (3 * MS, "10.0.0.1", "10.0.0.9", 6, tcp(1000, 80, payload=1000)),
    (2 * MS, "10.0.0.1", "10.0.0.9", 6, tcp(1001, 80, payload=10)),
]


POLICIES = [{"id": 7, "name": "web", "protocol": "tcp", "ports": ["80"], "action": "accept"},
            {"id": 9, "protocol": "tcp", "destination": ["10.9.0.0/16"], "action": "deny"},
            {"id": 8, "action": "accept"}]


def owners(by, policies=POLICIES):
    """Of a bucket a policy; None for the others."""
    return demand.Owners(load("plain", policies=policies)) if by == "policy" else None


@pytest.mark.parametrize(("by", "key"), [
    ("all", lambda row: 0), ("host", lambda row: row[1]), ("dscp", lambda row: 0),
    ("flow", lambda row: (row[1], row[2], row[4][:4])), ("policy", lambda row: row[3]),
])
@pytest.mark.parametrize("count", demand.COUNTS)
def test_frames_are_told_apart_and_weighed(by, key, count):
    over = {"ip": 0, "frame": 14, "wire": 38}[count]
    flow = [frozenset([row[1], row[2]]) | {frozenset([row[4][:2], row[4][2:4]])} for row in TALK]
    packets = [Demanded(row[0], 20 + len(row[4]) + over, key(row), flow[i], row[3] == 6)
               for i, row in enumerate(TALK)]
    chosen, depths = [8_000, 10**6], demand.depths_of("600,1ms,1s")
    whole = demand.meters([frames_of(TALK)], chosen, depths, by, count, owners=owners(by))
    parts = demand.meters([frames_of([row]) for row in TALK], chosen, depths, by, count,
                          owners=owners(by))
    assert whole == parts
    assert (whole["packets"], whole["bytes"]) == (5, sum(packet.bytes for packet in packets))
    assert whole["keys"] == len({packet.key for packet in packets})
    assert whole["time_reversed"] == 1
    assert whole["duration_ns"] == 3 * MS
    for row in whole["rates"]:
        assert row["depth_bytes"] == smallest_depth(packets, row["rate"])
        for cell, depth in zip(row["dropped"], depths, strict=True):
            expected = dropped(packets, row["rate"], depth.bytes(row["rate"]))
            assert {name: cell[name] for name in expected} == expected


@pytest.mark.parametrize("path", PCAPS)
@pytest.mark.parametrize("by", demand.BY)
def test_cuts_of_a_capture_do_not_matter(path, by):
    results = []
    for size in (1, 7, 65536):
        with open_captures([path], chunk_size=size) as chunks:
            results.append(demand.meters(
                chunks, demand.rates_of(demand.RATES), demand.depths_of(demand.DEPTHS), by,
                owners=owners(by)))
    assert results[0] == results[1] == results[2]
    found = results[0]
    assert found["frames"] == found["packets"] + sum(found["left_out"].values())


def test_a_line_is_as_slow_as_its_delay_allows():
    """The rate holds, one percent less does not, by the twin."""
    draw = np.random.default_rng(7)
    now, packets = 0, []
    for _ in range(400):
        now += int(draw.integers(0, 3 * MS))
        packets.append(Demanded(now, int(draw.integers(60, 1500))))
    body = [b"\0" * (packet.bytes - 34) for packet in packets]
    chunk = Chunk.from_frames([ethernet(ip("10.0.0.1", "10.0.0.2", 99, part)) for part in body],
                              [packet.time_ns for packet in packets])
    for delay_ns in (MS, 20 * MS, SECOND):
        found = demand.line(lambda: iter([chunk]), delay_ns)
        rate, may = found["rate"], len(packets) // 100
        assert late(packets, rate, delay_ns) == found["late"] <= may
        assert late(packets, rate * 100 // 102, delay_ns) > may
        assert found["passes"] <= 5
    assert demand.line(lambda: iter([chunk]), 0)["rate"] is None
    assert demand.line(lambda: iter([chunk]), 2**62)["at_least"]
    assert demand.line(lambda: iter([]), MS)["rate"] is None


def test_later_fragments_belong_to_the_flow_of_their_first():
    rows = [(0, {"more": True}, udp(1, 2, payload=100)), (1, {"fragment": 14}, b"x" * 40),
            (2, {"fragment": 14, "identifier": 9}, b"x" * 40)]
    chunk = Chunk.from_frames([ethernet(ip("10.0.0.1", "10.0.0.2", 17, body, **how))
                               for _, how, body in rows], [row[0] for row in rows])
    found = demand.meters([chunk], [8_000], demand.depths_of("1"), "flow")
    assert (found["packets"], found["keys"]) == (2, 1)
    assert found["left_out"] == {"fragment_without_first": 1}
    assert found["top"][0]["key"] == "10.0.0.1:1-10.0.0.2:2/udp"
    found = demand.meters([chunk], [8_000], demand.depths_of("1"))
    assert (found["packets"], found["flowless"]) == (3, 1)


def test_packets_belong_to_the_policy_that_takes_their_session():
    """Both ways of it, by the engine's own count of each session's packets and bytes."""
    settings = load("plain", policies=load(None, "pcaps/conserve.toml").policies)
    with Engine(settings, log=True) as engine:
        with open_captures(["pcaps/conserve.pcap"]) as chunks:
            verdicts = np.concatenate([engine.process(chunk)[:, 0].copy() for chunk in chunks])
        rows = np.concatenate([*engine.collect_ended(), engine.sessions()])
    with open_captures(["pcaps/conserve.pcap"]) as chunks:
        found = demand.meters(chunks, [64_000], demand.depths_of("1s"), "policy", "frame",
                              owners=demand.Owners(settings))
    assert (verdicts == Verdict.DROP).sum() == found["left_out"].pop("of_no_policy_that_accepts")
    assert not found["left_out"]
    assert {row["key"]: (row["packets"], row["bytes"]) for row in found["top"]} == {
        f"policy {number}": (rows["packets"][rows["policy"] == number].sum(),
                             rows["bytes"][rows["policy"] == number].sum())
        for number in set(rows["policy"].tolist())}


def test_what_a_policy_denies_needs_no_bucket():
    chunk = frames_of([(0, "10.0.0.1", "10.9.0.9", 6, tcp(1000, 22, "S")),
                       (1, "10.0.0.1", "10.0.0.9", 6, tcp(1000, 80, "S")),
                       (2, "10.0.0.9", "10.0.0.1", 6, tcp(80, 1000, "SA"))])
    found = demand.meters([chunk], [8_000], demand.depths_of("1"), "policy",
                          owners=owners("policy"))
    assert [row["key"] for row in found["top"]] == ["policy web"]
    assert (found["packets"], found["left_out"]) == (2, {"of_no_policy_that_accepts": 1})
    for by, given_ in (("policy", None), ("host", owners("policy"))):
        with pytest.raises(FwcoreError, match="needs owners"):
            demand.meters([], [8], [], by, owners=given_)
    for policies in ([], POLICIES[1:2]):
        with pytest.raises(FwcoreError, match="needs policies that accept"):
            owners("policy", policies)


# --- texts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "rate"), [
    ("64k", 64_000), ("1.5Mbit", 1_500_000), ("2MB", 16_000_000), ("8", 8), ("10G", 10**10),
    ("1B", 8), ("0.001k", 1),
])
def test_rates_read(text, rate):
    assert demand.rate_of(text) == rate
    assert demand.rate_of(demand.rate_text(rate)) == rate


@pytest.mark.parametrize("text", [
    "", "0", "-1", "1e3", "0.5", "1m", "1T", "10001G", "1 2", "9" * 99])
def test_rates_refused(text):
    with pytest.raises(FwcoreError, match="rate"):
        demand.rate_of(text)


@pytest.mark.parametrize(("text", "at_a_megabit"), [
    ("15kB", 15_000), ("1500", 1500), ("10ms", 1250), ("1s", 125_000), ("1ns", 0), ("9us", 1),
])
def test_depths_read(text, at_a_megabit):
    assert demand.Depth.of(text).bytes(10**6) == at_a_megabit


@pytest.mark.parametrize("text", ["", "ms", "10Mbit", "-1s", "1h", "0.5", "1.5B", "99999999999s"])
def test_depths_refused(text):
    with pytest.raises(FwcoreError, match="depth"):
        demand.depths_of(text)


def test_a_depth_that_no_meter_takes_is_refused_with_what_it_takes():
    with pytest.raises(FwcoreError, match="at most"):
        demand.meters([], [10**10 + 1], demand.depths_of("1s"))


# --- the command ---------------------------------------------------------------------------------


def test_the_command_says_it_in_80_columns(capsys):
    for by in demand.BY:
        policies = ["--settings", "pcaps/conserve.toml"] if by == "policy" else []
        assert cli.main(["demand", "pcaps/web.pcap", "--by", by, *policies]) == 0
        said = capsys.readouterr().out
        assert max(map(len, said.splitlines())) <= 80
        assert "TCP 96.1 % of the bytes" in said
        assert "Open loop" in said
        assert "keeps p99 within 20 ms" in said


def test_the_command_writes_its_figures_and_a_page(tmp_path, capsys):
    page = tmp_path / "page.html"
    assert cli.main(["demand", "pcaps/web.pcap", "--json", "-", "--html", str(page), "--delay",
                     "5ms", "--rates", "2M,64k", "--depths", "1s,600"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert [row["rate"] for row in made["rates"]] == [64_000, 2_000_000]
    assert [cell["depth_bytes"] for cell in made["rates"][0]["dropped"]] == [8000, 600]
    assert made["line"]["delay_ns"] == 5 * MS
    text = page.read_text()
    assert text.count("<h2>") == 3
    assert "Content-Security-Policy" in text
    for row in made["rates"]:
        assert f"{row['depth_bytes']:,}".replace(",", " ") in text


@pytest.mark.parametrize(("options", "said"), [
    (["--loop", "2"], "--loop"), (["--rates", "1x"], "rate '1x'"),
    (["--depths", "1,2,3,4,5,6,7,8,9"], "at most 8"), (["--delay", "5"], "delay '5'"),
    (["--rates", ",".join(map(str, range(1, 18)))], "at most 16"),
    (["--by", "policy"], "--policy FILE"), (["--policy", "x.toml"], "--by policy"),
    (["--by", "policy", "--policy", "no.toml"], "no.toml"),
    (["--rates", "64001", "--depths", "100000s"], "at most"), (["--rates", ""], "empty"),
])
def test_what_is_wrong_is_one_line(options, said, capsys):
    assert cli.main(["demand", "pcaps/web.pcap", *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_capture_cut_short_is_said_and_reckoned_until_there(tmp_path, capsys):
    with open("pcaps/web.pcap", "rb") as whole:
        (tmp_path / "cut.pcap").write_bytes(whole.read()[:-63])    # within the last but one
    assert cli.main(["demand", str(tmp_path / "cut.pcap")]) == 3
    said = capsys.readouterr()
    assert "239 packets" in said.out
    assert "everything before it was processed" in said.err


def test_nothing_in_is_nothing_out(capsys):
    assert cli.main(["demand", "pcaps/web.pcap", "--filter", "port 9", "--html", "/dev/null"]) == 0
    assert "0 packets" in capsys.readouterr().out


def test_tcp_is_whole_from_the_depth_above_which_it_loses_nothing():
    from fwcore.report.demand import tcp_word

    def row(*cells):
        return {"dropped": [{"depth": f"{depth}B", "depth_bytes": depth, "tcp_packets": lost}
                            for depth, lost in cells]}

    assert tcp_word(row((3000, 0), (1000, 2), (2000, 1))) == "whole from 3000B"
    assert tcp_word(row((1000, 0), (2000, 1))) == "loses at each"
    assert tcp_word(row((1000, 2), (2000, 0))) == "whole from 2000B"
    assert tcp_word(row()) == ""
