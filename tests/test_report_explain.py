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
     "10.0.0.1:0-10.0.0.2:0/gre", "10.0.0.1:1-10.0.0.2:2/sctp", "10.0.0.1:0-10.0.0.2:0/254"],
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
        ("10.0.0.5:1-10.0.0.9:2/tcpp", "neither icmp"),
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

    def __init__(self, script, victims=()):
        self.script, self.taken, self.done = script, victims, 0

    def process(self, chunk):
        self.done = chunk.steps[-1]
        return [self.script[step][1:3] for step in chunk.steps]

    def session(self, _flow):
        made = self.script.get(self.done, (None,))[0]
        return made and {"created_packet": made[0], "state": made[1]}

    def state(self):
        mode = self.script.get(self.done, (None, "", "", "off"))[3]
        gate = "proxy BYPASS" if mode == "on" else "all INSPECT"
        used = 90 if mode == "on" else 50
        return {"mode": mode, "used_pages": used, "freeable_pages": 2, "total_pages": 100,
                "gate": gate}  # fmt: skip

    def victims(self):
        return self.taken


SCRIPT = {
    1: (None, "FORWARD", "NEW", "off"),
    2: ((2, "SYN_SENT"), "INSPECT", "NEW", "off"),
    3: ((2, "SYN_RECV"), "INSPECT", "HIT", "off"),
    4: (None, "FORWARD", "NEW", "on"),  # another flow's packet: its pass took the session
    5: ((5, "ESTABLISHED"), "BYPASS", "BYPASS_CONSERVE", "on"),
}


def match(chunk, _flow):
    for index, step in enumerate(chunk.steps):
        if step in (2, 3, 5):
            yield explain.Seen(index, "reply" if step == 3 else "forward", "S", 60)


TAKEN = ({"created_packet": 2, "packet": 4, "cause": "tension"},)


def life(chunk_size=5, script=SCRIPT, victims=TAKEN):
    steps = sorted(script)
    chunks = [
        Part(steps[at : at + chunk_size], [step * 10**9 for step in steps[at : at + chunk_size]])
        for at in range(0, len(steps), chunk_size)
    ]
    return explain.follow(Scripted(script, victims), chunks, flow.parse(TCP), match)


@pytest.mark.parametrize("chunk_size", [1, 2, 5])
def test_follow_tells_who_ended_it(chunk_size):
    made = life(chunk_size)
    assert [row["packet"] for row in made["rows"]] == [2, 3, 5]
    assert [row["state"] for row in made["rows"]] == ["SYN_SENT", "SYN_RECV", "ESTABLISHED"]
    assert [row["mode"] for row in made["rows"]] == ["off", "off", "on"]
    taken, standing = made["sessions"]
    assert (taken["packet"], taken["cause"], taken["last_packet"]) == (4, "tension", 3)
    assert standing["cause"] == "stands"


def test_the_life_on_a_terminal():
    written = explain.render_text(life(), text.Style(unicode=True))
    assert "The session of packet 2 was ended by packet 4: tension." in written
    assert "session of packet 2 was gone" in written
    assert "gate: proxy BYPASS" in written and "bypass_conserve" in written
    assert max(map(len, written.splitlines())) <= 80


@pytest.mark.parametrize(
    ("state", "following", "cause", "packet"),
    [("ESTABLISHED", None, "expired", None), ("CLOSED", None, "closed", None),
     ("TIME_WAIT", ((3, "SYN_SENT"), "FORWARD", "NEW", "off"), "clash", 3)],
)  # fmt: skip
def test_endings_without_a_victim(state, following, cause, packet):
    script = {1: (None, "FORWARD", "NEW", "off"), 2: ((2, state), "FORWARD", "HIT", "off")}
    script[3] = following or (None, "FORWARD", "NEW", "off")
    if following is None:
        script[4] = script[3]

    made = explain.follow(
        Scripted(script), [Part(sorted(script), [0] * len(script))], flow.parse(TCP),
        lambda chunk, _: [explain.Seen(1, "forward", "", 60)]
        + ([explain.Seen(2, "forward", "S", 60)] if following else []),
    )  # fmt: skip
    assert (made["sessions"][0]["cause"], made["sessions"][0]["packet"]) == (cause, packet)


def test_a_flow_that_is_not_there():
    made = explain.follow(Scripted(SCRIPT), [Part([1], [0])], flow.parse(TCP), lambda *_: [])
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
             for seen in explain.Matcher(wanted)(frames, wanted)]  # fmt: skip
    assert found == [(0, "forward", ""), (2, "reply", "first"), (3, "reply", "later"),
                     (5, "reply", "")]  # fmt: skip
