"""Vendors' words for shaping: what is refused where, the files of docs/shaping/, and what a check
says. What the rows do to packets stands in tests/scenarios/90-shaping-wirings.toml."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import shaping_kernel
from examples import SHARE, SOME
from hypothesis import given, settings, strategies as st
from shaping_core import declared_of
from test_shaping_laws import linked, run
from twin import run_twin

from fwcore.capture import open_capture
from fwcore.cli import main
from fwcore.engine import Engine
from fwcore.errors import SettingsError
from fwcore.replay import replay
from fwcore.report import shape as view
from fwcore.report.text import Style
from fwcore.settings import Row, load, tables, wirings
from fwcore.settings.declared import VENDORS
from fwcore.settings.saved import from_plain, to_plain
from fwcore.shaping import parse
from fwcore.shaping_check import NEVER, Check, meaning
from fwcore.shaping_layout import lay_out
from fwcore.shaping_values import Key

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "shaping"
CAPTURE = ROOT / "pcaps" / "web.pcap"

# file: (outcome as engine and twin gave it, packets dropped by meters, at a queue, longest wait ms)
FILES = {
    "cos-balancing": ("1:6450683f65d6eeea4f69b44f312804b6", 0, 0, 167.5),
    "cos-chain": ("1:e351c02bf89279f002389df13a826a9d", 0, 0, 7040),
    "cos-groups": ("1:d86b48262556909d9d062391587b90a1", 0, 0, 142.5),
    "cos-pipes": ("1:109f5e1568830365334b97b07d7ebaa4", 0, 0, 167.5),
    "fortios-multi-stage": ("1:8aabaea2c2fb8c65546f14784b0e79fc", 10, 0, 11.0625),
    "fortios-per-ip": ("1:a061aaab484ce901787e9ce7fd1086c6", 0, 0, 0),
    "fortios-per-policy": ("1:9e578f05213528b4f84b3de05111d2d7", 58, 0, 0),
    "fortios-profile-policing": ("1:5cd363cea2cce0bd780465e9fc8fb4d8", 0, 90, 0),
    "fortios-profile-queuing": ("1:7e348bf32849eecc5626679bfa85a70c", 0, 0, 370.25),
    "fortios-shared": ("1:7d3e6bb0ca7f43c0925d34d2207feb75", 58, 0, 11.0625),
    "rows": ("1:9c0dc0c7333fb14d3834ac4531b2fb6f", 60, 0, 394.5),
    "tc-fq-codel": ("1:39a47e35d36f0df95b16cdc93e406ce2", 0, 0, 370.25),
    "tc-htb": ("1:38d8c41a8ea244d2168b0cbb1d364553", 0, 0, 31110),
    "tc-police": ("1:531877b4bd237d89acda0a7ca723bcbf", 39, 0, 0),
    "tc-prio": ("1:ec59ac0618554c16ae5fde8b76c64214", 0, 0, 370.25),
    "tc-tbf": ("1:2acc9a288989d384b2c20158424279c8", 0, 0, 74.625),
}


def test_each_file_of_the_docs_is_here():
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_engine_and_twin_give_the_outcome_of_each_file(name):
    settings = load(file=FOLDER / f"{name}.toml")
    outcome, metered, queued, waited_ms = FILES[name]
    result = replay(CAPTURE, settings).data
    assert result["outcome"] == outcome
    assert result["reasons"].get("over_limit", 0) == metered
    assert result["reasons"].get("queue_full", 0) == queued
    with open_capture(CAPTURE) as reader:
        _, twin = run_twin(settings, list(reader))
    twin.drain()
    assert twin.outcome() == outcome
    waits = [row["delay_max"] for row in twin.counters()["shaping"]["classes"].values()]
    assert max(waits, default=0) == waited_ms * 10**6


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_checked_in_words(name, capsys):
    assert main(["shape", "check", str(FOLDER / f"{name}.toml")]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert max(map(len, said.out.splitlines())) <= 80
    assert f"{name}.toml:" in said.out


# --- what is refused ------------------------------------------------------------------------------

SHAPER = '[[fortios.traffic-shaper]]\nname = "s"\n'
PROFILE = ('[[fortios.interface]]\nname = "w"\noutbandwidth = 100\negress-shaping-profile = "p"\n'
           '[[fortios.shaping-profile]]\nprofile-name = "p"\n')
ENTRY = '[[fortios.shaping-entry]]\nprofile = "p"\nclass-id = 2\n'
PIPE = '[[cos.pipe]]\nName = "a"\n'
RULE = "[[cos.pipe-rule]]\n"
HTB = '[[tc.qdisc]]\ndev = "e"\nkind = "htb"\nhandle = "1:"\n'
CLASS = '[[tc.class]]\ndev = "e"\nparent = "1:"\nclassid = "1:1"\nrate = "1mbit"\n'
TBF = '[[tc.qdisc]]\ndev = "e"\nkind = "tbf"\nrate = "1mbit"\nburst = 3000\n'
REFUSED = [
    # FortiOS
    ("[[fortios.trafic-shaper]]\n", 1, 'did you mean "traffic-shaper"'),
    ('[fortios.traffic-shaper]\nname = "s"\n', 1, "write traffic-shaper rows as"),
    ("fortios = 3\n", 1, "write \\[\\[fortios.KIND\\]\\]"),
    (SHAPER + "maximum-bandwith = 3\n", 3, 'did you mean "maximum-bandwidth"'),
    (SHAPER + "maximum-bandwidth = 80_000_001\n", 3, "maximum-bandwidth = .* out of range"),
    (SHAPER + "maximum-bandwidth = -1\n", 3, "out of range"),
    (SHAPER + 'maximum-bandwidth = 80_000_000\nbandwidth-unit = "gbps"\n', 3, "0 to 10000000000"),
    (SHAPER + "guaranteed-bandwidth = 9\nmaximum-bandwidth = 8\n", 4, "below the stage before"),
    (SHAPER + "exceed-bandwidth = 8\n", 3, "is of dscp-marking-method multi-stage"),
    (SHAPER + 'maximum-bandwidth = 8\ndiffserv = "enable"\ndiffservcode = "10111"\n', 5, "no DSCP"),
    (SHAPER + 'diffserv = "maybe"\n', 3, "enable, disable"),
    (SHAPER + "cos = 3\n", 3, "802.1Q"),
    (SHAPER + SHAPER, 4, "given twice"),
    (SHAPER + '[[fortios.per-ip-shaper]]\nname = "s"\n', 4, "traffic-shaper too"),
    ("[[fortios.traffic-shaper]]\nmaximum-bandwidth = 8\n", 1, "needs name"),
    (SHAPER.replace('"s"', '"voice"') + '[[fortios.shaping-policy]]\ntraffic-shaper = "voise"\n', 4,
     'did you mean "voice"'),
    ('[[fortios.interface]]\nname = "wan1"\n[[fortios.shaping-policy]]\ndstintf = "wan2"\n', 4,
     'did you mean "wan1"'),
    ('[[fortios.interface]]\nname = "w"\ninbandwidth = 3\n', 3, "stands at egress"),
    ('[[fortios.interface]]\nname = "w"\ningress-shaping-profile = "p"\n', 3, "not modelled"),
    ('[[fortios.shaping-policy]]\napplication = "web"\n', 2, "told apart by addresses"),
    ("[[fortios.shaping-policy]]\nclass-id = 3\n", 2, "class of a profile"),
    ("[[fortios.shaping-policy]]\ntos = 4\ntos-mask = 3\n", 3, "upper six"),
    ("[[fortios.shaping-policy]]\ntos = 5\ntos-mask = 252\n", 2, "matches nothing"),
    ("[[fortios.tos-based-priority]]\ntos = 3\n", 2, "belongs to ECN"),
    ("[[fortios.dscp-based-priority]]\npriority = \"low\"\n", 1, "needs ds"),
    ("[[fortios.global]]\n[[fortios.global]]\n", 2, "given twice"),
    (PROFILE + ENTRY + "guaranteed-bandwidth-percentage = 30\n", 7,
     "percentage = 1, as it is without one, is below guaranteed-bandwidth-percentage = 30"),
    (PROFILE + ENTRY + "guaranteed-bandwidth-percentage = 3\nmaximum-bandwidth-percentage = 2\n",
     11, "maximum-bandwidth-percentage = 2 is below"),
    (PROFILE + 'type = "queuing"\n' + ENTRY + "min = 300\nmax = 200\nred-probability = 1\n", 12,
     "max = 200 is not above min = 300"),
    (PROFILE + PROFILE.partition("profile = \"p\"\n")[2], 8, "profile-name = 'p' is given twice"),
    (PROFILE + ENTRY.replace("2", "1"), 9, "out of range"),
    (PROFILE.replace('"p"', '"pro"') + ENTRY.replace('"p"', '"prof"'), 8, 'did you mean "pro"'),
    (PROFILE + ENTRY + "maximum-bandwidth-percentage = 101\n", 10, "out of range"),
    (PROFILE + "default-class-id = 3\n" + ENTRY, 7, "classes: 2"),
    (PROFILE, 6, "has no"),
    (PROFILE.replace("100", "0") + ENTRY, 4, "there is none"),
    (PROFILE + ENTRY + "guaranteed-bandwidth-percentage = 60\nmaximum-bandwidth-percentage = 100\n"
     + ENTRY.replace("2", "3") + "guaranteed-bandwidth-percentage = 60\n"
     "maximum-bandwidth-percentage = 100\n", 10, "add up to 120000"),
    (PROFILE + ENTRY + '[[fortios.shaping-policy]]\ndstintf = "w"\nclass-id = 4\n', 12,
     "leaves: 2"),
    (SHAPER + "guaranteed-bandwidth = 1\n" + PROFILE + ENTRY
     + '[[fortios.interface]]\nname = "x"\noutbandwidth = 8\n[[fortios.shaping-policy]]\n'
     'dstintf = "x"\nsrcintf = "w"\nclass-id = 2\ntraffic-shaper = "s"\n'
     'traffic-shaper-reverse = "s"\n', 2, "one for each"),
    # cOS
    (PIPE.replace('"a"', '"' + 45 * "a" + '"'), 2, "45 characters"),
    (PIPE + "LimitKbpsTotl = 3\n", 3, 'did you mean "LimitKbpsTotal"'),
    (PIPE + "LimitKbpsTotal = 1_000_000_001\n", 3, "out of range"),
    (PIPE + "PrecedenceMin = 3\nPrecedenceMax = 2\n", 4, "below PrecedenceMin"),
    (PIPE + "PrecedenceMin = 3\nPrecedenceDefault = 2\n", 4, "not within"),
    (PIPE + "PrecedenceMax = 8\n", 3, "out of range"),
    (PIPE + "PrecedenceMax = 3\nLimitKbps6 = 3\n", 4, "precedences are 0 to 3"),
    (PIPE + "UserLimitKbpsTotal = 3\n", 3, "needs Grouping"),
    (PIPE + 'Grouping = "SourceNet"\n', 3, 'did you mean "SourceIP"'),
    (PIPE + "GroupingNetworkSize = 24\n", 3, "not modelled"),
    (PIPE + RULE + 'ForwardChain = ["b"]\n', 4, "not declared"),
    (PIPE + RULE + 'ForwardChain = ["a", "a"]\n', 4, "pipe 'a' stands in it twice"),
    (PIPE + PIPE.replace('"a"', '"b"') + RULE + 'ForwardChain = ["a", "b"]\n' + RULE
     + 'ForwardChain = ["a"]\n', 8, "followed by nothing here, and by 'b'"),
    (PIPE + PIPE.replace('"a"', '"b"') + "PrecedenceMax = 3\n" + RULE
     + 'ForwardChain = ["a", "b"]\n', 7, "would lower precedence"),
    (PIPE + RULE + "FixedPrecedence = 3\n", 4, 'goes with Precedence = "Fixed"'),
    (PIPE + RULE + 'SourceNetwork = "10.0.0.0/8"\nsource = "10.0.0.0/8"\n', 4, "one is enough"),
    (PIPE + RULE + 'Schedule = "x"\n', 4, "not modelled"),
    (PIPE + "LimitKbps6 = 8\nLimitPPS6 = 8\nUserLimitKbps6 = 8\nUserLimitPPS6 = 8\n"
     "LimitPPSTotal = 9\n"
     'Grouping = "SourceIP"\n' + RULE + 'ForwardChain = ["a"]\nPrecedence = "Fixed"\n'
     "FixedPrecedence = 6\n", 10, "at most 4 limits"),
    # tc
    ('[[tc.qdisc]]\ndev = "e"\nkind = "hfsc"\n', 3, "is unknown"),
    ('[[tc.qdisc]]\ndev = "e"\n', 1, "needs kind"),
    (TBF, 1, "limit or latency"),
    (TBF + 'limit = 3000\nlatency = "1ms"\n', 6, "one of them"),
    (TBF + 'latency = "1ms"\npeakrate = "2mbit"\n', 7, "go together"),
    (TBF + 'latency = "1ms"\npeakrate = "1mbit"\nmtu = 1514\n', 7, "not above rate"),
    (TBF.replace("mbit", "mbt") + "limit = 3000\n", 4, "no rate as tc writes it"),
    (TBF + "limit = 3000\nmpu = 64\n", 7, "not modelled"),
    (TBF + "limit = 3000\nr2q = 10\n", 7, "is of htb"),
    (HTB + CLASS.replace('"1:1"', '"1:g"'), 8, "hexadecimal"),
    (HTB + CLASS.replace('"1:1"', '"2:1"'), 8, "not of qdisc 1:"),
    (HTB + CLASS + 'ceil = "1kbit"\n', 10, "ceil is below rate"),
    (HTB + CLASS + 'ceil = "2mbit"\nburst = "9k"\ncburst = "3k"\n', 12, "not modelled"),
    (HTB + "default = 30\n" + CLASS, 5, "leaves: 1:1"),
    (HTB + CLASS + CLASS.replace('"1:"', '"1:1"').replace('classid = "1:1"', 'classid = "1:2"')
     .replace("1mbit", "2mbit"), 14, "add up to 2000000"),
    (HTB + CLASS + '[[tc.qdisc]]\ndev = "e"\nparent = "1:2"\nkind = "pfifo"\n', 12, "no leaf"),
    (HTB + CLASS + '[[tc.qdisc]]\ndev = "e"\nparent = "1:1"\nkind = "prio"\n', 13, "not modelled"),
    (HTB + CLASS + '[[tc.filter]]\ndev = "e"\nflowid = "1:2"\n', 12, "leaves: 1:1"),
    (HTB.replace('"e"', '"eth0"') + CLASS.replace('"e"', '"eth0"')
     + '[[tc.filter]]\ndev = "eth1"\n', 11, 'did you mean "eth0"'),
    (CLASS, 3, "has no root qdisc"),
    (HTB + HTB, 5, "two root qdiscs"),
    ('[[tc.qdisc]]\ndev = "e"\nkind = "prio"\nbands = 9\n', 4, "8 priorities"),
    ('[[tc.qdisc]]\ndev = "e"\nkind = "prio"\npriomap = [3]\n', 4, "16 bands"),
    ('[[tc.police]]\nname = "p"\nrate = "1mbit"\n', 1, "go together"),
    ('[[tc.police]]\nname = "p"\n', 1, "police needs"),
    ('[[tc.police]]\nname = "p"\npkts_rate = 0\npkts_burst = 1\n', 3, "out of range"),
    ('[[tc.filter]]\nflowid = "1:1"\n', 2, "needs dev"),
]


@pytest.mark.parametrize(("text", "line", "says"), REFUSED)
def test_what_is_wrong_is_refused_where_it_stands(tmp_path, text, line, says):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=says) as refused:
        load("fortios-7", path)
    assert str(refused.value).startswith(f"{path}:{line}: ")


def test_every_number_of_a_vendor_is_taken_at_both_ends_and_not_beyond():
    seen = 0
    for vendor, words in wirings.UNDERSTOOD.items():
        for kind, keys in words.kinds.items():
            for name, key in keys.items():
                if key.kind != "count":
                    continue
                for number, good in ((key.low, True), (key.high, True), (key.low - 1, False),
                                     (key.high + 1, False)):
                    row = Row({name: number}, "here")
                    table = tables.Table(row, f"{vendor}.{kind}", keys)
                    if good:
                        assert table[name] == number
                    else:
                        with pytest.raises(SettingsError, match=r"here: .* out of range"):
                            table[name]
                seen += 1
    assert seen > 60


@pytest.mark.parametrize("given", [True, 1.5, "7", None, [3]])
def test_a_number_is_a_whole_number(given):
    keys = wirings.UNDERSTOOD["fortios"].kinds["interface"]
    table = tables.Table(Row({"outbandwidth": given}, "here"), "fortios.interface", keys)
    with pytest.raises(SettingsError, match="not a whole number"):
        table["outbandwidth"]


@pytest.mark.parametrize(("kind", "text", "number"), [
    ("tc-rate", "1mbit", 10**6), ("tc-rate", "125kbps", 10**6), ("tc-rate", "1Mibit", 1 << 20),
    ("tc-rate", 8000, 8000), ("tc-rate", "0.5kbit", 500), ("tc-size", "15k", 15_360),
    ("tc-size", 1600, 1600), ("tc-size", "1mb", 1 << 20), ("tc-time", "5ms", 5 * 10**6),
    ("tc-time", 50, 50_000), ("tc-time", "1s", 10**9)])
def test_amounts_are_read_as_tc_reads_them(kind, text, number):
    keys = {"x": Key(kind, "")}
    table = tables.Table(Row({"x": text}, "here"), "tc.qdisc", keys)
    assert table["x"] == number


def test_a_kbps_is_that_of_the_generation():
    rows = [{"kind_of": "fortios.per_ip_shaper", "name": "p", "max_bandwidth": 5,
             "bandwidth_unit": "mbps"}]
    rates = [load(name, wirings=rows).shaping.meters[0].rungs[0].rate
             for name in ("fortios-5", "fortios-7")]
    assert rates == [5 * 1024 * 1024, 5 * 1024 * 1000]  # the first: measured on a unit


def test_rows_of_ours_and_of_vendors_stand_side_by_side(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text('[[link]]\nname = "mine"\nrate = 8\n[[shaping]]\nid = 7\nlink = "mine"\n'
                    "source = \"10.0.0.0/8\"\n" + PIPE + RULE + 'ForwardChain = ["a"]\n')
    settings = load("cos-core", path)
    assert [row.name for row in settings.shaping.links] == ["mine", "a"]
    assert [row.id for row in settings.shaping.rows] == [7, 2]
    assert from_plain(to_plain(settings)).shaping == settings.shaping


def test_rows_of_vendors_are_given_as_arguments_and_changed_while_running():
    rows = [{"kind_of": "tc.police", "name": "p", "rate": "8kbit", "burst": 1000},
            {"kind_of": "tc.filter", "police": "p"}]
    with Engine("plain", max_connections=16, wirings=rows) as engine:
        engine.configure(wirings=[rows[0] | {"burst": 500}, rows[1]])
        assert engine.settings.shaping.meters[0].rungs[0].depth == 500
    with pytest.raises(SettingsError, match=r"argument, wiring 1: kind_of = 'tc.polise'"):
        load(wirings=[{"kind_of": "tc.polise"}])


def test_every_key_of_a_vendor_can_be_looked_up(capsys):
    assert main(["settings", "fortios.traffic-shaper"]) == 0
    said = capsys.readouterr().out
    assert "fortios.traffic-shaper.maximum-bandwidth" in said
    assert "enable, disable" in said and max(map(len, said.splitlines())) <= 80
    for words in wirings.UNDERSTOOD.values():
        for keys in words.kinds.values():
            assert all(key.help and "0 to 0" not in tables.allowed(key) for key in keys.values())


# --- what can never act ---------------------------------------------------------------------------

METER = '[[meter]]\nname = "m"\nrungs = [{rate = "1Mbit", depth = "1s"}]\n'
LINK = '[[link]]\nname = "w"\nrate = "1Mbit"\n'
ALL = '[[shaping]]\nlink = "w"\nreply_link = "w"\n'
USES = '[[shaping]]\nmeters = ["m"]\nreply_meters = ["m"]\n'
FOUND = [
    (METER + USES + USES, "never", 7, "rule 2 stands behind rule 1"),
    (METER + USES + 'destination = "10.0.0.0/8"\nports = ["80-90"]\n' + USES
     + 'destination = ["10.1.0.0/16", "10.2.0.0/16"]\nports = [80]\nprotocol = "tcp"\n', "never", 9,
     "rule 2 stands behind rule 1"),
    (METER + USES + "policy = [1, 2]\ndscp = [3, 4]\n" + USES + "policy = 2\ndscp = 4\n", "never",
     9, "rule 2 stands behind rule 1"),
    (METER + USES.replace('["m"]', '["m", "m"]', 1), "never", 4, "named twice is one bucket"),
    (METER + LINK + ALL, "never", 1, "no rule leads to meter 'm'"),
    (METER.replace("1s", "1ms") + USES, "perhaps", 1, "125 bytes are less than 10 ms"),
    (METER.replace("1s", "5ms") + USES, "perhaps", 1, "625 bytes never lets a frame of 1514"),
    (METER.replace('"1s"}', '"1s"}, {rate = "1Mbit", depth = "1s"}') + USES, "never", 1,
     "rung 2 is no faster and no deeper"),
    (METER + 'key = "initiator"\nmax_sessions = 3\nmax_tcp_sessions = 3\n' + USES, "never", 1,
     "TCP or UDP sessions not below"),
    (METER.replace('"1s"}', '"1s", class = 1}') + USES, "never", 1, "no rule that names it has a"),
    (LINK + LINK.replace("w", "x") + ALL, "never", 4, "no rule leads to link 'x'"),
    (LINK + 'next = "x"\n' + LINK.replace('"w"', '"x"') + ALL, "perhaps", 5,
     "'x' holds hardly more"),
    (LINK + '[[class]]\nlink = "w"\nid = 1\n[[class]]\nlink = "w"\nid = 2\n' + ALL, "never", 7,
     "no rule leads to class 2"),
    (LINK + '[[class]]\nlink = "w"\nid = 1\nceiling = "2Mbit"\n' + ALL, "never", 4,
     "ceiling is not below the rate of the link"),
    (LINK + '[[class]]\nlink = "w"\nid = 1\nceiling = "50%"\n[[class]]\nlink = "w"\nid = 2\n'
     'parent = 1\nceiling = "60%"\nceiling_burst = "10ms"\n' + ALL, "never", 8,
     "not below that of a class above"),
    (LINK + '[[class]]\nlink = "w"\nid = 1\nceiling = "50%"\nceiling_burst = 1513\n'
     'need = "packet"\n' + ALL, "perhaps", 4, "1513 bytes, never lets pass a frame of 1514"),
    (LINK.replace('rate = "1Mbit"\n', "") + '[[class]]\nlink = "w"\nid = 1\npriority = 3\n' + ALL,
     "never", 3, "nothing waits here"),
    (LINK + '[[class]]\nlink = "w"\nid = 1\ndiscard = "red"\nred_min = 9\nlimit_packets = 10\n'
     + ALL, "never", 4, "before RED begins"),
    (LINK + '[[class]]\nlink = "w"\nid = 1\ndiscard = "red"\nlimit_packets = 250\n' + ALL, "never",
     4, "RED of 0 percent"),
    (LINK + '[[class]]\nlink = "w"\nid = 1\nshare = "flow"\nshares = 1\n' + ALL, "perhaps",
     4, "one sub-queue"),
    (LINK + '[[class]]\nlink = "w"\nid = 1\nshare = "flow"\nshare_ceiling = "2Mbit"\n' + ALL,
     "never", 4, "share_ceiling is not below"),
    (LINK + '[[class]]\nlink = "w"\nid = 1\nshare = "source"\nshare_ceiling = "2Mbit"\n' + ALL,
     "perhaps", 4, "keep the sub-queue for its address"),
    (LINK + ALL + "ports = [80]\n", "perhaps", 4, "put a last rule without conditions"),
    (LINK + "[[shaping]]\nlink = \"w\"\n", "perhaps", 4, "rule 1: the initiator's packets alone"),
]


def checked(tmp_path, text, **more):
    path = tmp_path / "x.toml"
    path.write_text(text)
    settings = load("plain", path)
    return path, meaning(settings.shaping, settings.shaping_rows, **more)["findings"]


@pytest.mark.parametrize(("text", "kind", "line", "says"), FOUND)
def test_what_can_never_act_is_found(tmp_path, text, kind, line, says):
    path, found = checked(tmp_path, text)
    assert [row for row in found if row["kind"] == kind and says in row["text"]
            and row["where"] == f"{path}:{line}"], found


@pytest.mark.parametrize("text", [
    METER + USES, LINK + ALL,
    METER + USES + 'destination = "10.0.0.0/8"\n' + USES + 'destination = "10.0.0.0/7"\n',
    METER + USES + "dscp = 3\n" + USES,
    METER.replace('"1s"}', '"1s"}, {rate = "1Mbit", depth = "2s"}') + USES,
    LINK + '[[class]]\nlink = "w"\nid = 1\ndiscard = "red"\nred_min = 9\nlimit_packets = 11\n'
    "red_probability = 1\n" + ALL,
    LINK + 'next = "x"\n' + LINK.replace('"w"', '"x"').replace("1M", "0.9M") + ALL,
])
def test_what_acts_is_not_found(tmp_path, text):
    assert checked(tmp_path, text)[1] == []


def test_a_frame_of_segmentation_offload_is_larger_than_a_bucket(tmp_path):
    text = METER.replace('"1s"', "20_000") + USES
    assert checked(tmp_path, text)[1] == []
    (row,) = checked(tmp_path, text, largest=65_549)[1]
    assert "never lets a frame of 65549 bytes pass" in row["text"]


def test_what_is_told_never_to_act_does_not(tmp_path):
    """A rule behind another, and a line that never fills: the outcome is that without them."""
    first = (METER + LINK + 'next = "x"\n' + LINK.replace('"w"', '"x"') + USES
             + ALL.partition("\n")[2])
    (tmp_path / "a.toml").write_text(first)
    (tmp_path / "b.toml").write_text(first + USES + "protocol = 17\n")
    one, other = (replay(CAPTURE, load("plain", tmp_path / name))["outcome"]
                  for name in ("a.toml", "b.toml"))
    assert one == other


def test_reach_follows_chains_to_the_lowest_leaf():
    settings = load(links=[{"name": "a", "next": "b"}, {"name": "b"}],
                    classes=[{"link": "a", "id": 5}, {"link": "b", "id": 3},
                             {"link": "b", "id": 9}],
                    shapings=[{"link": "a"}])
    check = Check(settings.shaping, settings.shaping_rows)
    assert check.reached == {("a", 5), ("b", 3)}


# --- the command ----------------------------------------------------------------------------------


def test_check_says_it_as_json(tmp_path, capsys):
    path = FOLDER / "tc-htb.toml"
    assert main(["shape", "check", str(path), "--json", "-"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["personality"] == "linux-conntrack"
    assert [row["sessions"] for row in said["rules"]] == ["udp, port 53", "all sessions"]
    (link,) = said["links"]
    assert [row["guarantee"] for row in link["classes"]] == [16_000, 4000, 12_000]
    assert link["classes"][0]["guarantees_below"] == 16_000 and link["guarantees"] == 16_000
    assert main(["shape", "check", str(path), "--json", str(tmp_path / "out.json")]) == 0
    assert json.loads((tmp_path / "out.json").read_text()) == said


def test_check_takes_the_largest_frame_of_a_capture(capsys):
    path = FOLDER / "tc-tbf.toml"
    assert main(["shape", "check", str(path), "--json", "-", "--capture", str(CAPTURE)]) == 0
    with open_capture(CAPTURE) as reader:
        largest = max(int(np.max(chunk.length)) for chunk in reader)
    assert json.loads(capsys.readouterr().out)["largest_frame"] == largest


@pytest.mark.parametrize(("text", "says"), [
    ('[[tc.police]]\nname = "p"\n', r"x.toml:1: police needs"), ("[[", "x.toml:1: not valid TOML"),
    (None, "cannot be read")])
def test_check_refuses_in_one_line(tmp_path, capsys, text, says):
    path = tmp_path / "x.toml"
    if text is not None:
        path.write_text(text)
    assert main(["shape", "check", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and re.search(says, said.err) and said.err.count("\n") == 1
    assert said.err.startswith("fwcore: ")


def test_check_of_no_shaping_says_so(tmp_path, capsys):
    path = tmp_path / "x.toml"
    path.write_text('personality = "plain"\n')
    assert main(["shape", "check", str(path)]) == 0
    assert capsys.readouterr().out == (
        "nothing is shaped: there is no rule that leads to a meter or a link\n")


def test_check_is_narrow_whatever_the_names(tmp_path, capsys):
    path = tmp_path / f"{'long' * 30}.toml"
    path.write_text(METER.replace('"m"', f'"{"m" * 64}"') + USES.replace('"m"', f'"{"m" * 64}"')
                    + "source = [" + ", ".join(f'"10.{n}.0.0/16"' for n in range(200)) + "]\n")
    assert main(["shape", "check", str(path)]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def without(row, text):
    """A class row without what a finding says can never act."""
    if "its ceiling" in text:
        return dataclasses.replace(row, ceiling=0, ceiling_burst=0)
    if "share_ceiling" in text:
        return dataclasses.replace(row, share_ceiling=0)
    if "RED" in text:
        return dataclasses.replace(row, discard="tail")
    assert "nothing waits" in text
    return dataclasses.replace(
        row, guarantee=0, priority=0, limit_packets=max(1, row.limit_packets))


@settings(max_examples=SOME)
@given(linked())
def test_without_what_can_never_act_the_twin_does_the_same(drawn):
    declared, packets = drawn
    places = {"meter": (), "link": declared.links, "shaping": declared.rows,
              "class": [Row({}, str(at)) for at in range(len(declared.classes))]}
    check = Check(declared_of(declared), places, largest=1700)
    shaper, told, _ = run(declared, packets)
    came = {(link.row.name, leaf.row.id) for link in shaper.links.values()
            for leaf in link.leaves() if leaf.arrived["packets"]}
    assert came <= check.reached
    for found in check.findings():
        if found.kind != NEVER or "no rule leads" in found.text:
            continue
        classes = list(declared.classes)
        classes[int(found.where)] = without(classes[int(found.where)], found.text)
        other, again, _ = run(dataclasses.replace(declared, classes=tuple(classes)), packets)
        assert again == told, found
        assert other.departures == shaper.departures, found


# --- the kernel's words ---------------------------------------------------------------------------


def tables_of(lines):
    """tc commands as tables."""
    rows = []
    for line in lines:
        words = line.split()
        kind = words[1]
        row = {"kind_of": f"tc.{kind}", "dev": words[4]}
        rest = words[5:]
        while rest:
            word = rest.pop(0)
            if word in ("htb", "tbf", "pfifo"):
                row |= {} if kind == "class" else {"kind": word}
            elif word != "root":
                row[word] = int(rest[0]) if rest[0].isdecimal() else rest[0]
                rest.pop(0)
        rows.append(Row(row, line))
    return rows


@pytest.mark.parametrize("seed", range(12))
def test_commands_that_the_kernel_was_held_against_are_the_same_rows(seed):
    """tests/shaping_kernel.py says each setting twice: as a command of tc, and as rows."""
    draw = random.Random(seed)
    for setting in (shaping_kernel.tbf(draw), shaping_kernel.htb(draw, deep=False),
                    shaping_kernel.htb(draw, deep=True)):
        made = wirings.translate(tables_of(setting.setup), 1000)
        declared = parse(links=made["link"], classes=made["class"])
        found = {row.id: row for row in declared.classes}
        for wanted in setting.classes:
            inner = any(row.parent == wanted.id for row in setting.classes)
            names = ("parent", "guarantee", "ceiling", "guarantee_burst", "ceiling_burst", "need")
            names += () if inner else ("priority", "limit_bytes")
            names += () if inner or setting.name == "tbf" else ("quantum", "limit_packets")
            for name in names:
                assert getattr(found[wanted.id], name) == getattr(wanted, name), (setting, name)
        assert declared.links[0].rate == 0 and len(found) == len(setting.classes)


# --- whatever stands in a table -------------------------------------------------------------------

WORDS = ("a", "b", "1:", "1:1", "1:10", "root", "10.0.0.0/8", "101110", "1mbit", "10ms", "enable",
         "DSCP", "htb", "tbf", "prio", "fq_codel", "")
ODD = st.one_of(
    st.integers(-1, 3), st.sampled_from(WORDS), st.booleans(), st.none(), st.just(2**70),
    st.floats(), st.lists(st.sampled_from((1, "a", "b")), max_size=2),
    st.just({"a": 1}), st.text(max_size=3))


@st.composite
def any_table(draw):
    """A table of some vendor: known keys, values that fit for the most part."""
    vendor = draw(st.sampled_from(VENDORS))
    kinds = wirings.UNDERSTOOD[vendor].kinds
    rows = []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(sorted(kinds)))
        row = {"kind_of": f"{vendor}.{kind}"}
        for name, key in kinds[kind].items():
            if not draw(st.integers(0, 0 if key.default is None else 3)):
                likely = {"choice": st.sampled_from(key.choices or ("",)),
                          "count": st.integers(key.low, min(key.high, key.low + 9)),
                          "name": st.sampled_from(("a", "a", "1:", "1:1")),
                          "names": st.sampled_from((["a"], ["a", "b"])),
                          "switch": st.just("enable")}.get(key.kind, st.sampled_from(WORDS))
                row[name] = draw(st.one_of(likely, likely, likely, ODD))
        rows.append(row)
    return rows


@settings(max_examples=SHARE)
@given(any_table())
def test_whatever_stands_in_a_table_is_rows_or_is_refused(rows):
    with contextlib.suppress(SettingsError):
        fits(load("plain", wirings=rows))


def fits(loaded):
    made = meaning(loaded.shaping, loaded.shaping_rows)
    assert all(len(line) <= 80 for line in view.render_text(made, Style()).splitlines())
    lay_out(loaded.shaping)
