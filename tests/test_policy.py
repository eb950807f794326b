"""Policies: rows as an engineer writes them, expansion, refusals, array against plain match."""

import ipaddress
import random

import numpy as np
import pytest
from frames import ethernet, ip, sctp, tcp, udp
from hypothesis import given, strategies as st

from fwcore import policy, policy_layout, policy_lookup
from fwcore._layout import Reason
from fwcore.engine import Engine
from fwcore.errors import SettingsError
from fwcore.policy_layout import compile_policies
from fwcore.settings import Row, load
from fwcore.words import WITH_PORTS


def addresses(*texts):
    return tuple(ipaddress.ip_network(text) for text in texts)


def refusal(*rows):
    with pytest.raises(SettingsError) as refused:
        policy.parse(rows)
    return str(refused.value)


def first_match(policies, zone, source, destination, protocol, port):
    """The first policy that takes a session of these ends, or None (denied): the plain form."""
    def within(nets, address):
        return not nets or any(address in net for net in nets)

    return next((row for row in policies if row.zone in (policy.ANY, zone)
                 and row.protocol in (policy.ANY, protocol)
                 and (not row.ports or (protocol in WITH_PORTS and any(
                     low <= port <= high for low, high in row.ports)))
                 and within(row.source, source) and within(row.destination, destination)), None)


def test_what_reports_call_policies():
    """A name that is another's too, or reads like an id or like none, comes with its id."""
    names = {1: "2", 2: "x", 3: "x", 4: "mail", 5: "", 6: "no policy"}
    rows = policy.parse([{"id": number, "name": name} for number, name in names.items()])
    assert list(policy.called(rows).values()) == [
        "2 (id 1)", "x (id 2)", "x (id 3)", "mail", "5", "no policy (id 6)"]


def test_no_rows_are_one_policy():
    (only,) = policy.parse([])
    assert (only.id, only.action, only.inspection) == (0, policy.PolicyAction.ACCEPT, 0)


def test_the_row_of_the_contract():
    (row,) = policy.parse([{
        "id": 1, "source": ["10.0.0.0/8"], "destination": "any", "protocol": "tcp",
        "ports": [80, "8000-8099"], "action": "accept", "inspection": ["antivirus", "ips"],
    }])
    assert row == policy.Policy(
        1, addresses("10.0.0.0/8"), (), 6, ((80, 80), (8000, 8099)), -1, 0, 3,
        ("antivirus", "ips"),
    )


@pytest.mark.parametrize(
    ("inspection", "bits"),
    [
        ("none", 0), ("flow", 1), ("proxy", 2), ("flow+proxy", 3), ([], 0), ("ips", 1),
        (["application-control", "dos", "flow-antivirus", "flow-dlp", "flow-webfilter"], 1),
        (["antivirus"], 2), (["dlp"], 2), (["webfilter"], 2), (["waf", "ips"], 3),
    ],
)
def test_inspection_classes(inspection, bits):
    assert policy.parse([{"inspection": inspection}])[0].inspection == bits


def test_a_policy_has_a_name_on_which_nothing_depends():
    (row,) = policy.parse([{"id": 3, "name": "Gäste"}])
    assert row.name == "Gäste" and row == policy.Policy(3, name="Gäste")
    for bad in (7, "x" * 65, "a\x1b[0m"):
        assert "name = " in refusal({"name": bad})


@given(st.data())
def test_many_sessions_find_the_policy_that_one_would(data):
    """policy_lookup, which reports ask, against the plain form."""
    nets = st.sampled_from(["any", "10.0.0.0/9", "10.128.0.0/9", "10.0.0.1", "fd00::/8"])
    rows = data.draw(st.lists(st.fixed_dictionaries({
        "source": nets, "destination": st.just("any"),
        "protocol": st.sampled_from(["any", "tcp", "udp"]),
        "ports": st.sampled_from(["any", [80], ["80-90"]]),
        "zone": st.sampled_from(["any", 5])}), max_size=4))
    rules = policy.parse(rows)
    asked = data.draw(st.lists(st.tuples(
        st.sampled_from(["10.0.0.1", "10.200.0.1", "fd00::1"]), st.sampled_from([6, 17, 47]),
        st.sampled_from([79, 80, 85]), st.sampled_from([0, 5])), min_size=1, max_size=6))
    ends = np.zeros(len(asked), dtype=policy_lookup.ENDS_DTYPE)
    for row, (source, protocol, port, zone) in zip(ends, asked, strict=True):
        address = ipaddress.ip_address(source)
        row["initiator"] = divmod(int(address), 1 << 64)
        row["family"], row["protocol"], row["zone"] = address.version, protocol, zone
        row["responder_port"] = port
    found = policy_lookup.find(compile_policies(rules), ends).tolist()
    for at, (source, protocol, port, zone) in zip(found, asked, strict=True):
        address = ipaddress.ip_address(source)
        wanted = first_match(rules, zone, address, address, protocol, port)
        assert (rules[at] if at >= 0 else None) == wanted


def test_has_proxy_looks_at_what_passes():
    assert not policy.has_proxy(policy.parse([{"inspection": "flow"}]))
    assert not policy.has_proxy(policy.parse([{"inspection": "proxy", "action": "deny"}]))
    assert policy.has_proxy(policy.parse([{}, {"inspection": ["dlp"], "action": "local"}]))


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ({"inspection": ["antivirsu"]}, 'did you mean "antivirus"'),
        ({"inspection": "flow-proxy"}, "allowed: none, flow"),
        ({"inspection": [3]}, "3 is no feature"),
        ({"action": "allow"}, "accept, deny, local"),
        ({"action": ["deny"]}, "is unknown"),
        ({"inspection": [{}]}, "is no feature"),
        ({"action": "denny"}, 'did you mean "deny"'),
        ({"protocol": "tpc"}, 'did you mean "tcp"'),
        ({"protocol": 256}, "0 to 255"),
        ({"protocol": True}, "True is unknown"),
        ({"source": "10.0.0.1/8"}, 'the network is "10.0.0.0/8"'),
        ({"source": ["10.0.0.0/33"]}, "not an address or network"),
        ({"source": [10]}, "10 is not a network"),
        ({"destination": []}, "matches nothing"),
        ({"source": "10.0.0.0/8", "destination": "2001:db8::/32"}, "no IP version in common"),
        ({"ports": [65536]}, "0 to 65535"),
        ({"ports": ["9-8"]}, "'9-8' is not a port"),
        ({"ports": [True]}, "is not a port"),
        ({"ports": ["-5"]}, "is not a port"),
        ({"ports": [80], "protocol": "icmp"}, "protocol 1 has none"),
        ({"zone": 4096}, "0 to 4095"),
        ({"id": -1}, "allowed: a number"),
        ({"id": "1"}, "allowed: a number"),
        ({"sources": "any"}, 'did you mean "source"'),
    ],
)
def test_refused(row, part):
    message = refusal({"id": 7}, row)
    assert message.startswith("policy 2: ") and part in message


def test_duplicate_ids():
    assert "already the id of policy row 1" in refusal({"id": 5}, {"id": 5})


def test_rows_that_know_their_place():
    row = Row({"id": 1, "action": "x"}, "f.toml:3", {"id": "f.toml:4", "action": "f.toml:5"})
    assert refusal(row).startswith("f.toml:5: ")
    assert refusal(Row({"id": 1}, "f.toml:1"), Row({"id": 1}, "f.toml:9")).startswith("f.toml:9: ")


def test_expansion():
    rows = [
        {"id": 1, "source": ["10.0.0.0/8", "2001:db8::/32"], "ports": [80, 443]},
        {"id": 2, "zone": 7, "protocol": "udp", "action": "local"},
        {"id": 3, "destination": "192.0.2.1", "action": "deny", "inspection": "proxy"},
    ]
    table = compile_policies(policy.parse(rows))
    assert len(table) == 4 + 2 + 1
    assert table.row_policy.tolist() == [0, 0, 0, 0, 1, 1, 2]
    assert table.row_family.tolist() == [4, 4, 6, 6, 4, 6, 4]
    assert table.row_port_low.tolist() == [80, 443, 80, 443, 0, 0, 0]
    assert table.row_has_ports.tolist() == [1, 1, 1, 1, 0, 0, 0]
    assert table.row_protocol.tolist() == [-1, -1, -1, -1, 17, 17, -1]
    assert table.row_zone.tolist() == [-1] * 4 + [7, 7, -1]
    assert table.row_source[0].tolist() == [0, 0x0A000000]
    assert table.row_source_mask[0].tolist() == [0, 0xFF000000]
    assert table.row_source[2].tolist() == [0x20010DB8 << 32, 0]
    assert table.row_source_mask[2].tolist() == [0xFFFFFFFF << 32, 0]
    assert table.row_destination[6].tolist() == [0, 0xC0000201]
    assert table.row_destination_mask[6].tolist() == [0, 0xFFFFFFFF]
    assert table.policy_id.tolist() == [1, 2, 3]
    assert table.policy_action.tolist() == [0, 2, 1]
    assert table.policy_inspection.tolist() == [0, 0, 0]


def test_array_types():
    table = compile_policies(policy.parse([]))
    types = {
        "row_policy": np.uint32, "row_protocol": np.int16, "row_zone": np.int32,
        "row_port_low": np.uint16, "row_port_high": np.uint16, "row_has_ports": np.uint8,
        "row_family": np.uint8, "row_source": np.uint64, "row_source_mask": np.uint64,
        "row_destination": np.uint64, "row_destination_mask": np.uint64, "policy_id": np.uint32,
        "policy_action": np.uint8, "policy_inspection": np.uint8,
    }
    for name, dtype in types.items():
        array = getattr(table, name)
        assert array.dtype == dtype and array.flags.c_contiguous, name
        wide = dtype == np.uint64
        assert array.shape == ((2, 2) if wide else (1,) if name[0] == "p" else (2,)), name
    assert len(compile_policies(())) == 0 and compile_policies(()).row_source.shape == (0, 2)


def test_expansion_is_bounded_before_it_is_made():
    nets = [f"10.{a}.{b}.0/24" for a in range(4) for b in range(256)]
    rows = [{"id": 9, "source": nets, "destination": nets}]  # 1024 x 1024
    with pytest.raises(SettingsError, match=r"1048576 rows.*policy 9"):
        compile_policies(policy.parse(rows))


def test_as_many_rows_as_are_allowed(monkeypatch):
    policies = policy.parse([{"source": ["10.0.0.1", "10.0.0.2"], "ports": [1, 2, 3]}])
    monkeypatch.setattr(policy_layout, "ROWS_MAX", 6)
    assert len(compile_policies(policies)) == 6
    monkeypatch.setattr(policy_layout, "ROWS_MAX", 5)
    with pytest.raises(SettingsError, match="6 rows"):
        compile_policies(policies)


def look_up(table, zone, source, destination, protocol, port):
    """The fast path's look-up over the arrays: index of the first policy that matches, or None."""

    def inside(address, net, mask):
        number = int(address)
        halves = np.array([number >> 64, number & (2**64 - 1)], dtype=np.uint64)
        return ((halves & mask) == net).all(axis=1)

    found = (
        (table.row_family == source.version)
        & ((table.row_zone == -1) | (table.row_zone == zone))
        & ((table.row_protocol == -1) | (table.row_protocol == protocol))
        & inside(source, table.row_source, table.row_source_mask)
        & inside(destination, table.row_destination, table.row_destination_mask)
        & ((table.row_has_ports == 0) | (
            (protocol in (6, 17, 132)) & (table.row_port_low <= port)
            & (port <= table.row_port_high)))
    )
    rows = np.flatnonzero(found)
    return table.policies[table.row_policy[rows[0]]] if rows.size else None


def random_row(rng):
    row = {}
    nets = ["10.0.0.0/30", "10.0.0.2", "10.0.0.0/31", "2001:db8::/126", "2001:db8::1"]
    for key in ("source", "destination"):
        if rng.random() < 0.6:
            row[key] = rng.sample(nets, rng.randint(3, 5))
    if rng.random() < 0.5:
        row["zone"] = rng.randint(0, 2)
    if rng.random() < 0.5:
        row["protocol"] = rng.choice(["tcp", 17, "sctp"])
    if rng.random() < 0.5:
        row["ports"] = [rng.randint(0, 5), f"{rng.randint(0, 3)}-{rng.randint(3, 5)}"]
    return row


def test_arrays_and_plain_match_agree():
    rng = random.Random(1)
    for _ in range(60):
        policies = policy.parse([random_row(rng) for _ in range(rng.randint(1, 5))])
        table = compile_policies(policies)
        for _ in range(40):
            base = ipaddress.ip_address(rng.choice(["10.0.0.0", "2001:db8::"]))
            ends = (base + rng.randint(0, 4), base + rng.randint(0, 4))
            asked = (rng.randint(0, 2), *ends, rng.choice([1, 6, 17, 58, 132]), rng.randint(0, 6))
            assert look_up(table, *asked) is first_match(policies, *asked)


def asked(rng, policies):
    """A look-up near the bounds of some policy: (zone, source, destination, protocol, port)."""
    ports = [edge + step for row in policies for low, high in row.ports
             for edge in (low, high) for step in (-1, 0, 1) if 0 <= edge + step <= 65535]
    base = ipaddress.ip_address(rng.choice(["10.0.0.0", "2001:db8::"]))
    protocols = [1, 6, 6, 17, 58, 132] + [0] * (base.version == 4)  # of IPv6: an extension header
    return (rng.randint(0, 2), base + rng.randint(0, 4), base + 8 + rng.randint(0, 4),
            rng.choice(protocols), rng.choice([0, 65535, *ports]))


def test_the_fast_path_finds_the_first_match():
    """Segments, blocks of eight and guards against the plain form; a session for each look-up."""
    transports = {6: lambda *ports: tcp(*ports, "S"), 17: udp, 132: sctp}
    rng = random.Random(2)
    for _ in range(12):
        rows = [random_row(rng) | ({"ports": rng.sample(EDGES, 3)} if rng.random() < 0.5 else {})
                for _ in range(rng.choice((1, 4, 12)))]
        for row in rows:
            row["destination"] = "any" if rng.random() < 0.5 else ["10.0.0.8/31", "2001:db8::8/127"]
        policies = policy.parse(rows)
        wanted = [asked(rng, policies) for _ in range(150)]
        frames = [ethernet(ip(str(source), str(destination), protocol, transports.get(
            protocol, lambda sport, port: bytes(8))(1000 + number, port)), zone)
            for number, (zone, source, destination, protocol, port) in enumerate(wanted)]
        with Engine(load("plain", zone="vlan", policies=rows, max_connections=1024)) as engine:
            reasons = engine.process_frames(frames, [0] * len(frames))[:, 1]
            made = {int(row["created_packet"]): int(row["policy"]) for row in engine.sessions()}
        for number, look in enumerate(wanted, 1):
            if reasons[number - 1] != Reason.HIT:  # another look-up's session
                expected = first_match(policies, *look)
                assert made.get(number) == (expected and expected.id), look
                assert (reasons[number - 1] == Reason.DENIED) == (expected is None)


EDGES = [0, 1, 79, 80, "80-81", "1024-65535", 65535, "0-79", "65534-65535", "0-65535"]
