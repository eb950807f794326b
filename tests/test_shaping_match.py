"""Which row a session is under: the fast path's slots against asking one row after another."""

import ipaddress

import pytest
from hypothesis import given, strategies as st
from test_policy import first_match

from fwcore import _shaper
from fwcore.policy import ANY, Policy
from fwcore.shaping import Declared, MeterRow, RungRow, ShapingRow
from fwcore.shaping_layout import lay_out

HOSTS = tuple(tuple(map(ipaddress.ip_address, family)) for family in (
    ("10.0.0.1", "10.0.0.2", "10.0.1.1", "192.0.2.7"), ("2001:db8::1", "2001:db8:0:1::1")))
NETWORKS = tuple(map(ipaddress.ip_network, (
    "0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.1/32", "10.0.1.1/32", "192.0.2.0/29",
    "::/0", "2001:db8::/32", "2001:db8::/64", "2001:db8::1/128")))
NETS = st.one_of(st.just(()), st.lists(st.sampled_from(NETWORKS), max_size=3).map(tuple))
PORTS = st.one_of(
    st.just(()), st.lists(st.sampled_from(((0, 0), (53, 53), (80, 80), (80, 90), (0, 65535))),
                          min_size=1, max_size=2).map(tuple))
RULES = st.builds(
    Policy, st.just(0), NETS, NETS, st.sampled_from((ANY, 6, 17, 1)), PORTS,
    st.sampled_from((ANY, 0, 7)))
SOME = st.sampled_from((frozenset(), frozenset(), frozenset({1}), frozenset({1, 2})))
ROWS = st.lists(st.tuples(RULES, SOME, SOME), max_size=20)
SESSIONS = st.lists(st.sampled_from(HOSTS).flatmap(lambda hosts: st.tuples(
    st.sampled_from(hosts), st.sampled_from(hosts), st.sampled_from((6, 17, 1)),
    st.sampled_from((0, 53, 80, 85, 65535)), st.integers(0, 2), st.integers(0, 2),
    st.sampled_from((0, 7)))), min_size=1, max_size=40)


def found(rows, sessions):
    """The number + 1 of each session's row in the fast path; 0: none."""
    shaper = _shaper.Shaper(lay_out(Declared(rows=tuple(rows))), sessions=len(sessions))
    for at, (initiator, responder, protocol, port, policy, dscp, zone) in enumerate(sessions):
        shaper.begin(at, (int(initiator), int(responder), initiator.version, protocol,
                          None if protocol == 1 else port, policy, dscp, zone))
    return shaper.state()["shaper_sessions"]["row"].tolist()


@given(ROWS, SESSIONS)
def test_a_session_is_under_the_first_row_that_matches(drawn, sessions):
    rows = [ShapingRow(number + 1, who=who, policy=policies, dscp=marks)
            for number, (who, policies, marks) in enumerate(drawn)]
    wanted = []
    for initiator, responder, protocol, port, policy, dscp, zone in sessions:
        port = 0 if protocol == 1 else port
        wanted.append(next((row.id for row in rows if first_match(
            (row.who,), zone, initiator, responder, protocol, port)
            and (not row.policy or policy in row.policy)
            and (not row.dscp or dscp in row.dscp)), 0))
    assert found(rows, sessions) == wanted


def test_marks_and_policies_are_sets():
    """What no bits say is asked row by row, also behind one that looks at the same bits."""
    rows = [ShapingRow(1, who=Policy(0), dscp=frozenset({10, 46})),
            ShapingRow(2, who=Policy(0), policy=frozenset({5})),
            ShapingRow(3, who=Policy(0, ports=((80, 90),)), policy=frozenset({6, 7})),
            ShapingRow(4, who=Policy(0))]
    host = HOSTS[0][0]
    asked = [(46, 5, 80), (10, 0, 0), (0, 5, 80), (0, 6, 80), (0, 7, 90), (0, 7, 91), (0, 8, 85),
             (63, 9, 0)]
    sessions = [(host, host, 17, port, policy, mark, 0) for mark, policy, port in asked]
    assert found(rows, sessions) == [1, 1, 2, 3, 3, 4, 4, 4]


def test_thousands_of_hosts_have_a_row_each():
    """And the last row takes the rest, the first one a network of them all to itself."""
    first = ipaddress.ip_address("10.0.0.0")
    nets = [ipaddress.ip_network(f"{first + host}/32") for host in range(3000)]
    rows = [ShapingRow(1, who=Policy(0, (ipaddress.ip_network("10.0.4.0/24"),))),
            *(ShapingRow(n + 2, who=Policy(0, (net,))) for n, net in enumerate(nets)),
            ShapingRow(9999, who=Policy(0))]
    hosts = [0, 1, 1023, 1024, 1279, 1280, 2999, 3000]
    sessions = [(first + host, first, 17, 53, 0, 0, 0) for host in hosts]
    assert found(rows, sessions) == [2, 3, 1025, 1, 1, 1282, 3001, 3002]


def test_a_plan_says_what_its_rows_take():
    meters = (MeterRow("m", (RungRow(8000, 2000),)),)
    few, many = (lay_out(Declared(meters=meters, rows=tuple(
        ShapingRow(n + 1, who=Policy(0, (ipaddress.ip_network(f"10.0.{n // 250}.{n % 250}/32"),)))
        for n in range(count)))) for count in (1, 1001))
    taken = many.bytes(1, 1, False) - few.bytes(1, 1, False)
    assert taken >= 1000 * (many.matches.itemsize + many.rows.itemsize)


@pytest.mark.parametrize(("made", "asked"), [
    (lambda n: {"who": Policy(0, ports=((10 * n, 10 * n + 5),))}, lambda n: (17, 10 * n + 3, 0, 0)),
    (lambda n: {"who": Policy(0, ports=((n, n),))}, lambda n: (17, n, 0, 0)),
    (lambda n: {"who": Policy(0, protocol=n)}, lambda n: (n, 0, 0, 0)),
    (lambda n: {"who": Policy(0, zone=n)}, lambda n: (17, 1, 0, n)),
    (lambda n: {"who": Policy(0), "policy": frozenset({n})}, lambda n: (17, 1, n, 0)),
    (lambda n: {"who": Policy(0), "policy": frozenset({n, n + 1000})}, lambda n: (17, 1, n, 0))])
def test_many_rows_of_one_kind_are_told_apart(made, asked):
    """So many slots that a row in another one than its sessions' is not found."""
    rows = [ShapingRow(n, **made(n)) for n in range(1, 201)]
    host = HOSTS[0][0]
    sessions = [(host, host, protocol, port, policy, 0, zone)
                for protocol, port, policy, zone in map(asked, range(1, 201))]
    assert found(rows, sessions) == list(range(1, 201))
