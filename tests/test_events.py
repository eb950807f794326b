"""Records in the digest's form, and every line against the vendor's words."""

import json
from collections import namedtuple
from types import SimpleNamespace

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from fwcore.engine import Engine
from fwcore.events import KIND_OF_STEP, KINDS, Event, EventLog, Transition, vendor_text
from fwcore.settings import load

Memory = namedtuple("Memory", "total_pages used_pages cache_pages free_pages")
MIB = 256                               # pages
T = 1667433517_502192693                # 2022-11-02 23:58:37 UTC
LEVELS = {
    "unified": {"green": 698 * MIB + 255, "red": 877 * MIB, "extreme": 947 * MIB},
    "proxy": {"enter": 120 * MIB, "leave": 180 * MIB},
    "fortios-5": {"enter": 200 * MIB, "leave": 300 * MIB},
}
SEEN = Memory(997 * MIB, 707 * MIB + 255, 0, 119 * MIB + 1)


def make(personality="fortios-7", machine="unified", **changes):
    values = {"personality": personality, "machine": machine, "ips_fail_open": False,
              "when_full": "tension"}
    return SimpleNamespace(**(values | changes))


NEW = make()
FIVE = make("fortios-5", "fortios-5")
FOUR = make("fortios-4", "kernel+proxy")
COS = make("cos-core", "none", when_full="replace_oldest")
LINUX = make("linux-conntrack", "none")
PLAIN = make("plain", "none")


def text(kind, values, machine="", **figures):
    return vendor_text(Event(kind, 7, T, machine, figures, SEEN), values, thresholds=LEVELS)


HEAD = 'date=2022-11-02 time=23:58:37 eventtime=1667433517502192693 tz="+0000" '
KIND = ' type="event" subtype="system" level="critical" vd="root" '
LIMIT = "FortiGate has reached system connection limit for {} seconds"

LINES = [
    ("conserve_entered", NEW, "unified", {},
     HEAD + 'logid="0100022011"' + KIND + 'logdesc="Memory conserve mode entered" '
     'service="kernel" conserve="on" total="997 MB" used="707 MB" red="877 MB" green="698 MB" '
     'msg="Kernel enters memory conserve mode"'),
    ("conserve_left", NEW, "unified", {},
     HEAD + 'logid="0100022012"' + KIND + 'logdesc="Memory conserve mode exited" '
     'service="kernel" conserve="exit" total="997 MB" used="707 MB" red="877 MB" green="698 MB" '
     'msg="Kernel leaves memory conserve mode"'),
    ("extreme_entered", NEW, "unified", {},
     HEAD + 'logid="0100022022"' + KIND + 'logdesc="Extreme low memory mode entered" '
     'msg="Kernel enters extreme low memory mode"'),
    ("extreme_left", NEW, "unified", {},
     HEAD + 'logid="0100022023"' + KIND + 'logdesc="Extreme low memory mode exited" '
     'msg="Kernel leaves extreme low memory mode"'),
    ("ips_fail_open_entered", NEW, "", {},
     HEAD + 'logid="0100022700"' + KIND + 'logdesc="IPS session scan paused" action="drop" '
     'msg="IPS session scan, enter fail open mode"'),
    ("ips_fail_open_entered", make(ips_fail_open=True), "", {},
     HEAD + 'logid="0100022700"' + KIND + 'logdesc="IPS session scan paused" action="pass" '
     'msg="IPS session scan, enter fail open mode"'),
    ("ips_fail_open_left", NEW, "", {},
     HEAD + 'logid="0100022701"' + KIND + 'logdesc="IPS session scan resumed" '
     'msg="IPS session scan, exit fail open mode"'),
    ("ips_fail_open_entered", FOUR, "", {},
     ('logid="0100022700" level="critical" logdesc="IPS session scan paused" action="drop" '
     'msg="IPS session scan, enter fail open mode"')),
    ("conserve_entered", FOUR, "proxy", {},
     ('conserve=on total=997 free=119 entermargin=120 exitmargin=180 '
     'msg="The system has entered conserve mode"')),
    ("conserve_left", FOUR, "proxy", {},
     ('conserve=exit total=997 free=119 entermargin=120 exitmargin=180 '
     'msg="The system exited conserve mode"')),
    ("conserve_entered", FIVE, "fortios-5", {},
     ('conserve=on total=997 free=119 entermargin=200 exitmargin=300 '
     'msg="The system has entered conserve mode"')),
    ("conserve_entered", FOUR, "kernel", {}, 'msg="The system has entered system conserve mode"'),
    ("conserve_left", FOUR, "kernel", {}, 'msg="The system exited system conserve mode"'),
    ("table_full", NEW, "", {}, LIMIT.format(0)),
    ("table_full_ended", NEW, "", {"duration_ns": 12_999_999_999}, LIMIT.format(12)),
    ("table_full_ended", FIVE, "", {"duration_ns": 1_000_000_000}, LIMIT.format(1)),
    ("table_full_ended", FOUR, "", {"duration_ns": 999_999_999}, LIMIT.format(0)),
    ("table_full", COS, "", {}, "connection table full"),
    ("table_full", LINUX, "", {}, "connection table full"),
    ("table_full", PLAIN, "", {}, "connection table full"),
    ("table_full_ended", PLAIN, "", {"duration_ns": 3_000_000_000},
     "connection table no longer full, after 3 s"),
    ("memory_warning", COS, "", {}, "free memory is low: 124 MB, below 100 MB"),
    ("idledrop", FIVE, "", {"hosts": 2, "sessions": 30},
     "idledrop: ended 30 sessions of 2 hosts"),
]


@pytest.mark.parametrize(("kind", "values", "machine", "figures", "line"), LINES)
def test_lines(kind, values, machine, figures, line):
    assert text(kind, values, machine, **figures) == line


@pytest.mark.parametrize("values", [NEW, FIVE, FOUR, COS, LINUX, PLAIN])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_line_in_every_generation(kind, values):
    line = text(kind, values, "unified")
    assert line
    assert "\n" not in line


def test_the_log_id_of_something_else_is_not_used():
    assert not any("0100044545" in text(kind, NEW, "unified") for kind in KINDS)


def test_without_figures_the_vendors_nothing_is_printed():
    line = vendor_text(Event("conserve_entered", 1, T, "unified"), NEW)
    assert 'total="0 MB" used="0 MB" red="0 MB" green="0 MB"' in line


def test_a_snapshot_given_stands_in_for_the_events_own():
    event = Event("conserve_entered", 1, T, "proxy", snapshot=SEEN)
    line = vendor_text(event, FOUR, Memory(MIB * 10, 0, 0, MIB * 3), thresholds=LEVELS)
    assert "total=10 free=3" in line


# --- a full table ---

@pytest.mark.parametrize(("values", "followed", "said"), [
    (COS, {"evicted": 1}, "CONN: id=00600003 event=connection_table_full action=replacing_conn"),
    (COS, {"refused": 2}, "CONN: id=00600011 event=out_of_connections action=drop"),
    (COS, {"refused": 1, "evicted": 1}, "CONN: id=00600011 event=out_of_connections action=drop"),
    (LINUX, {"refused": 1}, "nf_conntrack: table full, dropping packet"),
    (LINUX, {"evicted": 8, "refused": 0}, "connection table full"),
    (PLAIN, {"refused": 1}, "connection table full"),
])  # fmt: skip
def test_a_full_table_is_said_as_the_device_says_what_came_of_it(values, followed, said):
    event = Event("table_full", 7, T, followed=followed)
    assert vendor_text(event, values) == said
    assert "followed" not in event.to_dict() and not followed.keys() & event.to_dict().keys()


@pytest.mark.parametrize(("flows", "said"), [(4, "connection table full"),
                                             (5, "nf_conntrack: table full, dropping packet")])
def test_linux_says_table_full_only_when_a_packet_was_refused(flows, said):
    """Half of the flows answered, so that early drop has nothing to take from a full table."""
    frames, times = [], []
    for flow in range(flows):
        there = Ether() / IP(src="10.0.0.1", dst="192.0.2.1") / UDP(sport=1000 + flow, dport=53)
        back = Ether() / IP(src="192.0.2.1", dst="10.0.0.1") / UDP(sport=53, dport=1000 + flow)
        frames += [bytes(there), bytes(back), bytes(there)] * 2
    times = [T + n * 1_000_000_000 for n in range(len(frames))]
    with Engine(load("linux-conntrack", max_connections=4, buckets=1)) as engine:
        engine.process_frames(frames, times)
        refused = engine.counters()["reasons"]["table_full"]
        (row,) = [row for row in engine.event_rows() if row["kind"] == "table_full"]
    assert (refused > 0) == (flows > 4)
    assert row["text"] == said


# --- records ---

STEP = Transition(5, T, "packet", "unified", "off", "on", 880, 20, 100)


def test_transition_to_dict():
    assert STEP.to_dict() == {
        "packet": 5, "time_ns": T, "cause": "packet", "machine": "unified",
        "from": "off", "to": "on", "used_pages": 880, "freeable_pages": 20, "free_pages": 100,
    }
    assert STEP.to_result() == STEP.to_dict()


def test_the_snapshot_is_in_the_result_but_not_in_the_digest():
    step = Transition(5, T, "packet", "unified", "off", "on", 880, 20, 100, {"sessions": 4})
    assert step.to_dict() == STEP.to_dict()
    assert step.to_result() == STEP.to_dict() | {"snapshot": {"sessions": 4}}


def test_conserve_mode_is_left_as_often_as_it_is_entered():
    assert {step for step, kind in KIND_OF_STEP.items() if kind == "conserve_entered"} == {
        ("off", "on")}
    assert {step for step, kind in KIND_OF_STEP.items() if kind == "conserve_left"} == {
        ("on", "off"), ("extreme", "off")}


@pytest.mark.parametrize(("step", "kind"), KIND_OF_STEP.items())
def test_one_event_for_each_transition(step, kind):
    transition = Transition(5, T, "time", "unified", *step, 1, 2, 3)
    event = transition.to_event(SEEN)
    assert event.to_dict() == {"kind": kind, "packet": 5, "time_ns": T, "machine": "unified"}
    given = vendor_text(transition, NEW, SEEN, thresholds=LEVELS)
    assert given == vendor_text(event, NEW, thresholds=LEVELS)
    assert kind in KINDS


def test_event_to_dict_has_figures_but_no_text():
    event = Event("idledrop", 3, T, figures={"hosts": 1, "sessions": 2}, snapshot=SEEN)
    record = {"kind": "idledrop", "packet": 3, "time_ns": T, "hosts": 1, "sessions": 2}
    assert event.to_dict() == record
    assert event.to_result(FIVE) == record | {"text": "idledrop: ended 2 sessions of 1 hosts"}
    assert json.loads(json.dumps(event.to_dict())) == record


def test_records_cannot_be_changed():
    with pytest.raises(AttributeError):
        STEP.packet = 6


# --- the log ---

def test_log_keeps_the_first_and_counts_the_rest():
    log = EventLog(2)
    for packet in range(5):
        log.append(Event("configured", packet, T))
    assert [event.packet for event in log] == [0, 1]
    assert (len(log), log.forgotten, log.full, log[1].packet) == (2, 3, True, 1)
    assert [row["packet"] for row in log.to_dicts()] == [0, 1]


def test_log_of_nothing():
    log = EventLog(0)
    log.append(STEP)
    assert (len(log), log.forgotten, list(log)) == (0, 1, [])
