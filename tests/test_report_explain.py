"""Flows as text, and the life of one, told from a scripted engine."""

from dataclasses import dataclass

import numpy as np
import pytest
from frames import chunk, echo, ethernet, icmp_error, ip, tcp, udp

from fwcore import flow
from fwcore.capture import Chunk
from fwcore.errors import FwcoreError
from fwcore.report import explain, text

TCP = "10.0.0.5:4321-203.0.113.9:443/tcp"


@pytest.mark.parametrize(
    "written",
    [TCP, "[2001:db8::5]:4321-[2001:db8::9]:53/udp", "10.0.0.1:7-10.0.0.2:7/icmp",
     "10.0.0.1:0-10.0.0.2:0/47", "10.0.0.1:1-10.0.0.2:2/sctp", "10.0.0.1:0-10.0.0.2:0/254",
     "10.0.0.1:1-10.0.0.2:2/tcp@12"],
)  # fmt: skip
def test_flows_read_as_they_are_written(written):
    assert str(flow.parse(written)) == written


def test_both_directions_have_one_key():
    there, back = flow.parse(TCP), flow.parse("203.0.113.9:443-10.0.0.5:4321/TCP")
    assert there.key == back.key and there != back
    assert flow.parse("2001:db8::1-2001:db8::2/50").protocol == 50


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("10.0.0.5:4321", "write it like"), ("10.0.0.5:1-10.0.0.9:2", "write it like"),
        ("10.0.0.5:1-10.0.0.9:2/tcpp", "did you mean \"tcp\".* or a number"),
        ("10.0.0.5-10.0.0.9:2/tcp", "lacks its port"),
        ("10.0.0.5:99999-10.0.0.9:2/tcp", "is not 0-65535"),
        ("ten:1-10.0.0.9:2/tcp", "is no address"),
        ("::1:80x-[::2]:5/udp", "brackets"), ("10.0.0.5:1-[::2]:5/udp", "one address is IPv4"),
    ],
)  # fmt: skip
def test_a_wrong_flow_says_what_is_wrong(written, said):
    with pytest.raises(FwcoreError, match=said):
        flow.parse(written)


@dataclass
class Part:
    """A chunk of scripted packets: numbers of the steps."""

    steps: list
    times: list

    def __len__(self):
        return len(self.steps)

    @property
    def time_ns(self):
        return np.array(self.times, dtype=np.int64)

    def slice(self, a, b):
        return Part(self.steps[a:b], self.times[a:b])


class Scripted:
    """An engine that plays back: packet n -> (session after it, verdict, reason, mode)."""

    def __init__(self, script, ended=(), moved=()):
        self.script, self.ended, self.moved, self.done = script, ended, moved, 0

    def process(self, chunk):
        self.done = chunk.steps[-1]
        return [self.script[step][1:3] for step in chunk.steps]

    def session(self):
        made = self.script.get(self.done, (None,))[0]
        return made and {"created_packet": made[0], "state": made[1]}

    def state(self):
        mode = self.script.get(self.done, (None, "", "", "off"))[3]
        gate = "proxy bypass" if mode == "on" else "all inspect"
        used = 90 if mode == "on" else 50
        return {"mode": mode, "used_pages": used, "freeable_pages": 2, "total_pages": 100,
                "gate": gate}  # fmt: skip

    def moved_before(self, packet):
        return packet in self.moved

    def met(self, packet):
        return None

    def ends(self):
        return self.ended


SCRIPT = {
    1: (None, "FORWARD", "NEW", "off"),
    2: ((2, "SYN_SENT"), "INSPECT", "NEW", "off"),
    3: ((2, "SYN_RECV"), "INSPECT", "HIT", "off"),
    4: (None, "FORWARD", "NEW", "on"),  # another flow's packet: its pass took the session
    5: ((5, "ESTABLISHED"), "BYPASS", "BYPASS_CONSERVE", "on"),
}
TAKEN = ({"created_packet": 2, "packet": 4, "time_ns": 4 * 10**9, "cause": "tension"},)


def match(chunk):
    for index, step in enumerate(chunk.steps):
        if step in (2, 3, 5):
            yield explain.Seen(index, "reply" if step == 3 else "forward", "S", 60)


def life(chunk_size=5, ended=TAKEN, moved=()):
    steps = sorted(SCRIPT)
    chunks = [
        Part(steps[at : at + chunk_size], [step * 10**9 for step in steps[at : at + chunk_size]])
        for at in range(0, len(steps), chunk_size)
    ]
    return explain.follow(Scripted(SCRIPT, ended, moved), chunks, flow.parse(TCP), match)


@pytest.mark.parametrize("chunk_size", [1, 2, 5])
def test_follow_tells_who_ended_it(chunk_size):
    made = life(chunk_size)
    assert [row["packet"] for row in made["rows"]] == [2, 3, 5]
    assert [row["state"] for row in made["rows"]] == ["SYN_SENT", "SYN_RECV", "ESTABLISHED"]
    assert [row["mode"] for row in made["rows"]] == ["off", "off", "on"]
    taken, standing = made["sessions"]
    assert (taken["packet"], taken["cause"]) == (4, "tension")
    assert (standing["packet"], standing["cause"]) == (None, "stands")


def test_a_mode_that_changed_by_time_is_the_one_the_packet_met():
    steps = [1, 2]
    script = {1: (None, "FORWARD", "NEW", "off"), 2: ((2, "SYN_SENT"), "BYPASS", "NEW", "on")}
    for moved, mode in (((), "off"), ((2,), "on")):
        made = explain.follow(Scripted(script, (), moved), [Part(steps, [0, 1])], flow.parse(TCP),
                              match)  # fmt: skip
        assert made["rows"][0]["mode"] == mode


def test_the_life_on_a_terminal():
    written = explain.show(life(), text.Style(unicode=True))
    assert "The session of packet 2 was ended by packet 4 at 3.000 s: tension." in written
    assert "The session of packet 5 stands at the end of the capture." in written
    assert "session of packet 2 was gone" in written
    assert "gate: proxy bypass" in written and "bypass_conserve" in written
    assert max(map(len, written.splitlines())) <= 80


def test_an_end_that_nobody_forced():
    ended = ({"created_packet": 2, "packet": 5, "time_ns": 4 * 10**9, "cause": "expired"},)
    written = explain.show(life(ended=ended))
    assert "The session of packet 2 ended at 3.000 s, as packet 5 came: expired." in written


def test_a_flow_that_is_not_there():
    made = explain.follow(Scripted(SCRIPT), [Part([1], [0])], flow.parse(TCP), lambda _: [])
    assert "No packet of this flow among 1 packet." in explain.show(made)


def chunk_of(frames):
    return Chunk.from_frames(frames, range(len(frames)))


def test_the_matcher_finds_both_directions_fragments_and_quotes():
    ends = "10.0.0.5", "203.0.113.9"
    there, back = udp(4321, 53, 32), udp(53, 4321, 32)
    error = icmp_error(ip(*ends, 17, there))
    wanted = [
        (ethernet(ip(*ends, 17, there)), ("forward", "")),
        (ethernet(ip(*ends, 17, udp(1, 53))), None),  # another port
        (ethernet(ip(*ends[::-1], 17, back, more=True)), ("reply", "first")),
        (ethernet(ip(*ends[::-1], 17, bytes(40), fragment=5)), ("reply", "later")),
        (ethernet(ip(*ends, 17, bytes(40), fragment=5)), None),  # nobody's later one
        (ethernet(ip(*ends[::-1], 1, error)), ("reply", "")),
        (ethernet(ip("192.0.2.1", "10.0.0.5", 1, error)), ("reply", "")),  # of a router
        (ethernet(ip("192.0.2.1", ends[1], 1, icmp_error(ip(*ends[::-1], 17, back)))),
         ("forward", "")),
        (ethernet(ip("10.0.0.6", ends[1], 17, there)), None),
        (b"", None),
    ]
    chunk = chunk_of([frame for frame, _ in wanted])
    for written, turned in (("10.0.0.5:4321-203.0.113.9:53/udp", False),
                            ("203.0.113.9:53-10.0.0.5:4321/udp", True)):
        found = {seen.index: (seen.direction, seen.flags)
                 for seen in explain.Matcher(flow.parse(written))(chunk)}  # fmt: skip
        other = {"forward": "reply", "reply": "forward"}
        assert found == {
            index: (other[seen[0]] if turned else seen[0], seen[1])
            for index, (_, seen) in enumerate(wanted) if seen}  # fmt: skip


def test_the_matcher_keeps_zones_and_flags_apart():
    chunk = chunk_of([ethernet(ip("10.0.0.5", "192.0.2.9", 6, tcp(1, 2, letters)), *vlans)
                      for letters, vlans in (("S", [5]), ("SA", [6]), ("PA", []))])  # fmt: skip
    for written, zones, found in (
        ("10.0.0.5:1-192.0.2.9:2/tcp", False, [(0, "S"), (1, "SA"), (2, "PA")]),
        ("10.0.0.5:1-192.0.2.9:2/tcp@5", True, [(0, "S")]),
        ("10.0.0.5:1-192.0.2.9:2/tcp", True, [(2, "PA")]),
        ("10.0.0.5:1-192.0.2.9:2/tcp@5", False, []),
    ):  # fmt: skip
        matcher = explain.Matcher(flow.parse(written), vlan_zone=zones)
        assert [(seen.index, seen.flags) for seen in matcher(chunk)] == found


def test_the_nearest_flows_in_the_order_of_the_capture():
    ends = "10.0.0.5", "203.0.113.9"
    frames = [ip("10.0.0.5", "192.0.2.7", 6, tcp(9, 80)), *(
        ip(*(ends if port % 2 else ends[::-1]), 17, udp(port, 53)) for port in (7, 3, 8, 3))]
    matcher = explain.Matcher(flow.parse("10.0.0.5:1-203.0.113.9:2/tcp"))
    for frame in frames:  # a chunk each: what was near before is not near again
        assert list(matcher(chunk_of([ethernet(frame)]))) == []
    assert matcher.nearest() == [
        "10.0.0.5:7-203.0.113.9:53/udp", "10.0.0.5:3-203.0.113.9:53/udp",
        "203.0.113.9:8-10.0.0.5:53/udp", "10.0.0.5:9-192.0.2.7:80/tcp"]  # fmt: skip
    near = explain.Matcher(flow.parse("10.0.0.5:9-192.0.2.7:80/tcp"))
    assert len(list(near(chunk_of([ethernet(frame) for frame in frames])))) == 1
    assert near.nearest() == []


@pytest.mark.parametrize("vlans", [(), (7,)])
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("body", [(17, udp(5000, 53, 8)), (6, tcp(53, 5000)), (1, echo(9))])
@pytest.mark.parametrize("ends", [("10.0.0.1", "192.0.2.9"), ("2001:db8::1", "2001:db8::2")])
def test_an_icmp_error_is_of_the_flow_that_it_quotes(ends, body, there, vlans):
    """Whoever looks an error up wants to know of the packet that did not arrive."""
    sender, receiver = ends if there else ends[::-1]
    protocol, content = body
    if protocol == 1 and ":" in sender:
        protocol, content = 58, echo(9, family=6)
    packet = ip(sender, receiver, protocol, content)
    family = 58 if ":" in sender else 1
    error = ip(receiver, sender, family, icmp_error(packet, 3 if family == 1 else 1))
    both = chunk([ethernet(packet, *vlans), ethernet(error, *vlans)])
    found = [explain.flow_of_packet([both], number, vlan_zone=bool(vlans)) for number in (1, 2)]
    assert found[0] == found[1] and str(found[0].initiator.address) == sender
    assert len(list(explain.Matcher(found[1], vlan_zone=bool(vlans))(both))) == 2
