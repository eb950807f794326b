"""Flows as text, and the life of one, told from a scripted engine."""

from dataclasses import dataclass

import pytest

from fwcore import flow
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
        return self.times

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
    written = explain.render_text(life(), text.Style(unicode=True))
    assert "The session of packet 2 was ended by packet 4 at 3.000 s: tension." in written
    assert "The session of packet 5 stands at the end of the capture." in written
    assert "session of packet 2 was gone" in written
    assert "gate: proxy bypass" in written and "bypass_conserve" in written
    assert max(map(len, written.splitlines())) <= 80


def test_an_end_that_nobody_forced():
    ended = ({"created_packet": 2, "packet": 5, "time_ns": 4 * 10**9, "cause": "expired"},)
    written = explain.render_text(life(ended=ended))
    assert "The session of packet 2 ended at 3.000 s, as packet 5 came: expired." in written


def test_a_flow_that_is_not_there():
    made = explain.follow(Scripted(SCRIPT), [Part([1], [0])], flow.parse(TCP), lambda _: [])
    assert "No packet of this flow among 1 packet." in explain.render_text(made)


def ipv4(source, destination, protocol, fragment=0, payload=b""):
    import ipaddress
    import struct

    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 7, fragment, 64, protocol, 0)
    ends = b"".join(ipaddress.ip_address(end).packed for end in (source, destination))
    return b"\0" * 12 + b"\x08\0" + head + ends + payload


class Frames(list):
    """A chunk of frames, as the matcher reads it."""

    def frame(self, index):
        return self[index]

    @property
    def length(self):
        return [len(frame) for frame in self]

    @property
    def link(self):
        return [1] * len(self)


def test_the_matcher_finds_both_directions_fragments_and_quotes():
    pytest.importorskip("fwcore.reference")
    import struct

    ports = struct.pack(">HHHH", 4321, 53, 40, 0)
    back = struct.pack(">HHHH", 53, 4321, 40, 0)
    there = ipv4("10.0.0.5", "203.0.113.9", 17, 0, ports + b"x" * 32)
    quote = b"\x03\x03" + b"\0" * 6 + there[14:]
    frames = Frames([
        there,
        ipv4("10.0.0.5", "203.0.113.9", 17, 0, struct.pack(">HHHH", 1, 53, 8, 0)),  # other port
        ipv4("203.0.113.9", "10.0.0.5", 17, 0x2000, back + b"y" * 32),  # first fragment
        ipv4("203.0.113.9", "10.0.0.5", 17, 5, b"z" * 40),  # its later one
        ipv4("10.0.0.5", "203.0.113.9", 17, 5, b"z" * 40),  # nobody's later one
        ipv4("203.0.113.9", "10.0.0.5", 1, 0, quote),
        ipv4("10.0.0.6", "203.0.113.9", 17, 0, ports + b"x" * 32),
        b"",
    ])  # fmt: skip
    wanted = flow.parse("10.0.0.5:4321-203.0.113.9:53/udp")
    found = [(seen.index, seen.direction, seen.flags)
             for seen in explain.Matcher(wanted)(frames)]  # fmt: skip
    assert found == [(0, "forward", ""), (2, "reply", "first"), (3, "reply", "later"),
                     (5, "reply", "")]  # fmt: skip
