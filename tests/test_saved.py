"""An engine saved and restored: what follows is the same; what is no saved engine is refused."""

import copy
import hashlib
import json
import os
import pickle
import re
from pathlib import Path
from random import Random

import numpy as np
import pytest
from frames import START, chunk, dns, ethernet, ip, tcp, udp, web
from hypothesis import example, given, strategies as st
from simulation import draw
from simulation.case import Case, run
from twin import Pair

from fwcore import (
    Chunk,
    Engine,
    EngineBusy,
    OutputError,
    SettingsError,
    StateError,
    engine_state,
    load,
)
from fwcore.report import text
from fwcore.result import Result

S = 10**9
PAGE = 4096


# Lines so slow that packets wait, in sub-queues by address of which one is parked, and in CoDel's
# queue; buckets by host, of which there are too few; rows, one of which goes away.
SHAPING = {
    "meters": [{"name": "m", "rungs": [{"rate": 8000, "depth": 4000, "dscp": 9},
                                       {"rate": 80_000, "depth": 9000}],
                "key": "source", "keys_max": 5, "over": "pass"},
               {"name": "n", "rungs": [{"rate": 10**9, "depth": 10**6}]}],
    "links": [{"name": "a", "rate": 400_000, "next": "b"}, {"name": "b", "rate": 9_000}],
    "classes": [
        {"link": "a", "id": 2, "guarantee": 1000, "guarantee_burst": 100, "ceiling": 300_000},
        {"link": "a", "id": 3, "parent": 2, "guarantee": 500, "share": "source", "shares": 4,
         "share_ceiling": 800, "share_burst": 90, "limit_packets": 40},
        {"link": "a", "id": 4, "parent": 2, "discard": "codel"},
        {"link": "b", "id": 3}, {"link": "b", "id": 4}],
    "shapings": [{"id": 1, "protocol": "tcp", "meters": ["m", "n"], "link": "a", "class": 4},
                 {"id": 2, "meters": ["m"], "link": "a", "class": 3}]}


def settings():
    return load(
        "fortios-7", ram_bytes=200 * PAGE, base_bytes=100 * PAGE, max_connections=16, buckets=4,
        session_bytes=PAGE, proxy_session_bytes=PAGE, cache_limit_bytes=3 * PAGE, seed=None,
        victims_max=3, timeline_interval_s=0.5, config_freeze=False,
        ips_throughput_bps=1000, ips_socket_bytes=60,
        policies=[{"id": 5, "protocol": "tcp", "inspection": "flow+proxy"}, {"id": 6}], **SHAPING,
        pressure=[{"at_s": 1, "add_bytes": 80 * PAGE}, {"at_s": 3, "add_bytes": -60 * PAGE},
                  {"at_s": 0, "leak_bytes_per_s": 2000}])


def living(**options):
    """An engine in the midst of things: every table of its file has rows."""
    engine = Engine(settings(), departures=True, arrivals=True, **options)
    piece = ethernet(ip("10.0.0.1", "192.0.2.53", 17, udp(1, 2, 16), more=True, identifier=7))
    frames = [web(1), web(1, "A"), *(dns(host) for host in range(1, 20)), piece, dns(3)]
    engine.process(chunk(frames))
    engine.process(chunk(frames, START + S))
    engine.configure(links=[{**SHAPING["links"][0], "rate": 500_000}, SHAPING["links"][1]])
    engine.process(chunk([dns(7), dns(8), dns(7)], START + S + 1))
    engine.configure(policies=[{"id": 6, "action": "deny"}], shapings=SHAPING["shapings"][1:])
    return engine


def later(engine):
    """What becomes of it: the outcome and all that is told."""
    engine.process(chunk([web(1, "A"), web(2), dns(1), dns(40)], START + 2 * S))
    engine.configure(half_open_limit=3)
    engine.advance(START + 400 * S)
    engine.process(chunk([dns(1), web(3)], START + 401 * S))
    samples = engine.fastpath.samples()
    return (engine.outcome(), engine.counters(), engine.event_rows(), engine.sessions().tobytes(),
            engine.victims().tobytes(), engine.mode_times_ns(), engine.laws(),
            [samples[name].tolist() for name in samples.dtype.names], engine.top_hosts(),
            str(engine.settings), engine.departures().tobytes(), engine.arrivals().tobytes(),
            engine.shaping())


def test_what_follows_is_the_same(tmp_path):
    for log in (False, True, "victims"):
        engine = living(log=log)
        engine.save(tmp_path / "engine.fw")
        other = Engine.restore(tmp_path / "engine.fw")
        assert other.settings == engine.settings
        assert (other.seed, other.policies) == (engine.seed, engine.policies)
        assert later(other) == later(engine)
        if log:
            assert np.array_equal(other.ended(), engine.ended())


def test_every_table_of_a_file_has_been_tried():
    _, tables = engine_state.from_bytes(living(log=True)._bytes())
    assert [name for name, table in tables.items() if not len(table)] == []


class Named(Engine):
    """An engine of somebody's own; pickle finds it here."""


def test_an_engine_of_ones_own_stays_one():
    with Named(max_connections=4) as engine:
        for other in (copy.deepcopy(engine), pickle.loads(pickle.dumps(engine))):
            assert type(other) is Named


def test_pickle_and_deepcopy_are_by_it_and_copy_is_refused():
    engine = living()
    others = [copy.deepcopy(engine), pickle.loads(pickle.dumps(engine))]
    want = later(engine)
    assert [later(other) for other in others] == [want, want]
    with pytest.raises(StateError, match="deepcopy"):
        copy.copy(engine)


def test_before_the_first_packet_too():
    engine = Engine(settings())
    engine.take("base", 3 * PAGE)
    other = copy.deepcopy(engine)
    assert other.owners() == engine.owners()
    assert later(other) == later(engine)


@example(1598)      # a clock set back to before its first packet: figures below 0
@given(st.integers(0, 2**32))
def test_whatever_was_done_before(seed):
    """A drawn life with the twin beside it, saved and restored after each deed."""
    case = draw.case(Random(seed))
    steps = [part for step in case.steps[:4] for part in (step, ("save",))]
    run(Case(case.settings, case.options, steps))


def test_an_object_larger_than_objects_may_be_by_now():
    pair = Pair(load("fortios-7", ram_bytes="512MiB", base_bytes=0, max_connections=16, seed=1,
                     policies=[{"id": 1, "inspection": "proxy"}]))
    body = ethernet(ip("10.0.0.1", "192.0.2.1", 6, tcp(4000, 80, "A", 900)))
    pair.process(chunk([web(1), body]))
    assert pair.engine.owners()["shm"] > 0
    pair.configure(oversize_bytes=3)
    pair.save()
    pair.process(chunk([body], START + S))
    pair.compare()


def test_an_ips_buffer_larger_than_it_may_be_by_now():
    """What it holds drains on; it could not be restored."""
    pair = Pair(load("fortios-7", config_freeze=False, ips_throughput_bps=8000,
                     policies=[{"id": 1, "inspection": "flow"}]))
    frame = ethernet(ip("10.0.0.1", "192.0.2.9", 17, udp(1, 2, 1400)))
    pair.process(chunk([frame]))
    pair.configure(ips_socket_bytes=600)
    pair.save()
    for after in (S // 2, 2 * S):
        pair.process(chunk([frame], START + after))
        pair.compare()


def test_what_a_drain_gave_back_is_looked_at_after_a_restore():
    """The machine decides with the next packet. It did not where the engine was saved between."""
    pair = Pair(load("fortios-7", ram_bytes=100 * PAGE, base_bytes=75 * PAGE, max_connections=16,
                     accounting="slab", cache_limit_bytes=0, queue_accounting="bytes", seed=1,
                     links=[{"name": "wan", "rate": 8000}],
                     shapings=[{"link": "wan", "protocol": "udp"}]))
    pair.process(chunk([web(1)]))
    pair.process(Chunk.from_frames([dns(1)] * 9, [START] * 9, [2 * PAGE] * 9))
    assert pair.engine.mode != "off"
    pair.drain()
    pair.save()
    assert pair.engine.owners()["queues"] == 0
    pair.process(chunk([web(1, "A")]))      # moves nothing itself
    assert pair.engine.mode == "off"
    pair.compare()


@pytest.mark.parametrize("deed", ["save", "restart"])
def test_what_is_due_at_this_nanosecond_waits_for_the_next_packet(deed):
    """Saved or not: an emptied buffer was told of before what followed it by hand."""
    pair = Pair(load("fortios-7", config_freeze=False, ips_throughput_bps=8, ips_socket_bytes=60,
                     policies=[{"id": 1, "inspection": "flow"}]))
    pair.process(chunk([ethernet(ip("10.0.0.1", "192.0.2.9", 17, udp(1, 2, 1400)))]))
    pair.configure(ips_throughput_bps=0)
    getattr(pair, deed)()
    pair.compare()
    pair.process(chunk([dns(1)], START + 1))
    pair.compare()
    assert [event.kind for event in pair.engine.events] == [
        "ips_fail_open_entered", "configured", *["restarted"][:deed == "restart"],
        "ips_fail_open_left"]


def test_a_held_mode_and_a_moment_cut_short_are_saved():
    pair = Pair(settings().replace(seed=1))
    pair.process(chunk([web(1), dns(1)]))
    pair.force("extreme")
    pair.save()
    pair.process(chunk([web(2)], START + S // 2))
    pair.force(None)
    pair.save()
    pair.process(chunk([web(3)], START + S))
    pair.compare()


# --- a table of another size ---


@pytest.mark.parametrize("when_full", ["bucket", "replace_oldest", "tension"])
@pytest.mark.parametrize("accounting", ["slab", "preallocated"])
def test_a_restart_that_keeps_sessions(when_full, accounting):
    pair = Pair(load("fortios-7", ram_bytes="512MiB", base_bytes=0, max_connections=16, buckets=3,
                     when_full=when_full, accounting=accounting, seed=1, proxy_session_bytes=PAGE,
                     policies=[{"id": 1, "protocol": "tcp", "inspection": "proxy"},
                               {"id": 2, "protocol": "udp"}]))
    for at, room in enumerate((40, 20, 5, 100)):
        pair.process(chunk([dns(host) for host in range(1, 12)] + [web(at + 1), web(1, "A")],
                           START + at * S))
        pair.restart(keep=True, max_connections=room)
        assert len(pair.engine) == min(room, pair.twin.live)
        pair.compare()
    pair.advance(START + 10_000 * S)
    pair.compare()
    assert len(pair.engine) == 0


# --- what is no saved engine ---


def test_a_file_that_is_none(tmp_path, monkeypatch):
    path = tmp_path / "x"
    with pytest.raises(StateError, match="x: cannot be read"):
        Engine.restore(path)
    for data in (b"", b"FWCORE", b"nonsense" * 100, pickle.dumps([])):
        path.write_bytes(data)
        with pytest.raises(StateError, match="x: "):
            Engine.restore(path)
    path.write_bytes(b"FWCORE" + bytes(100))
    monkeypatch.setattr("fwcore.engine_state.FILE_MOST", 100)
    with pytest.raises(StateError, match="x: has more than"):
        Engine.restore(path)
    with pytest.raises(OutputError):
        living().save(tmp_path / "none" / "x")


def test_a_byte_that_changed_or_is_missing():
    data = living()._bytes()
    for at in range(0, len(data), 97):
        other = bytearray(data)
        other[at] ^= 1 << at % 8
        with pytest.raises(StateError):
            Engine._from_bytes(bytes(other))
        with pytest.raises(StateError):
            Engine._from_bytes(data[:at])
    newer = b"FWCORE\0\377" + data[8:]
    with pytest.raises(StateError, match="another version: format ff"):
        Engine._from_bytes(newer)


def sealed(header, tables):
    """A file with a right checksum, whatever is in it."""
    header = {name: value for name, value in header.items() if name != "tables"}
    return engine_state.to_bytes(header, tables)


def judged(data):
    """A forged file is refused, or an engine came of it that is one."""
    try:
        engine = Engine._from_bytes(data)
    except StateError:
        return False
    text.summary(Result.from_json(engine.result().to_json()))
    engine.process(chunk([web(1, "A"), dns(2), dns(50)], engine.fastpath.now_ns + S))
    engine.clear()
    return True


DATA = living(log=True)._bytes()
NUMBERS = (0, 1, 2, 63, 64, 127, 128, 255, 1 << 16, (1 << 32) - 1, 1 << 62, (1 << 63) - 1,
           (1 << 64) - 1, -1)


@given(st.data())
def test_a_table_that_was_forged(data):
    header, tables = engine_state.from_bytes(DATA)
    name = data.draw(st.sampled_from(sorted(tables)))
    raw = tables[name].view(np.uint8)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.sampled_from(
            (0, 1, 2, 4, 6, 127, 128, 255)))
    judged(sealed(header, tables))


@given(st.data())
def test_a_table_with_other_rows(data):
    header, tables = engine_state.from_bytes(DATA)
    name = data.draw(st.sampled_from(sorted(tables)))
    rows = data.draw(st.lists(st.integers(0, len(tables[name]) - 1), max_size=40))
    tables[name] = tables[name][np.array(rows, np.int64)]
    judged(sealed(header, tables))


@pytest.mark.parametrize(("name", "field", "place", "value"), [
    ("victims", "cause", 0, 255), ("ended", "cause", 0, 255),
    ("counters", "decode", (0, 103), (1 << 63) - 1), ("samples", "mode", 0, 3),
    ("gate", "mode", 0, 3), ("samples", "packet", -1, 0)])
def test_what_has_no_name_is_refused(name, field, place, value):
    header, tables = engine_state.from_bytes(DATA)
    tables[name][field][place] = value
    assert not judged(sealed(header, tables))


@pytest.mark.parametrize(("place", "value"), [(4, 0), (-1, 1 << 62)])
def test_samples_in_no_order_are_taken_as_a_restart(place, value):
    header, tables = engine_state.from_bytes(DATA)
    tables["samples"]["time_ns"][place] = value
    assert judged(sealed(header, tables))


def test_restarted_on_an_earlier_clock():
    """It could be saved and not restored, and its result not read."""
    engine = Engine(load("fortios-7", seed=1))
    engine.process(chunk([web(1), dns(2)], START))
    engine.advance(START + 30 * S)
    engine.restart()
    engine.process(chunk([web(1)], START - 100 * S))
    engine = Engine._from_bytes(engine._bytes())
    engine.advance(START - 60 * S)
    timeline = Result.from_json(engine.result().to_json()).timeline
    assert timeline["time_ns"][0] >= START - 100 * S and timeline["time_ns"][-1] <= START - 60 * S
    assert engine.fastpath.samples()["time_ns"][0] == START


def test_what_was_left_before_the_clock_began():
    """Found at random: set back, what was noted is as long ago as before, below 0 too."""
    header, tables = engine_state.from_bytes(DATA)
    for name in ("_left_extreme_ns", "_full_since"):
        header["control"][name] = -5 * S
    assert judged(sealed(header, tables))


def test_what_more_counts_than_there_were_is_refused():
    """Each count that is told: a result of it could not be read again."""
    for name in engine_state.TOLD:
        whole = engine_state.from_bytes(DATA)[1][name]
        for field in whole.dtype.names or (...,):
            if whole[field].dtype != np.uint64 or field in engine_state.NO_COUNT:
                continue
            header, tables = engine_state.from_bytes(DATA)
            tables[name][field][-1] = 1 << 63
            with pytest.raises(StateError):
                Engine._from_bytes(sealed(header, tables))
    header, tables = engine_state.from_bytes(DATA)
    header["figures"]["packet"] = 1 << 63
    assert not judged(sealed(header, tables))


OWN = """[about]
megabyte = 1000000
[settings]
max_connections = {value = 1000, mark = "D", why = "ours"}
base_bytes = {value = "50%", mark = "D", why = "ours"}
[timeouts]
udp_s = {value = 7, mark = "D", why = "ours"}
"""


def test_a_personality_of_ones_own_is_saved_with_the_engine(tmp_path):
    """Its file was opened again: restored elsewhere, or changed later, an engine had none."""
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    engine = Engine(load(str(path), seed=1, ram_bytes="64MiB"))
    engine.process(chunk([web(1), dns(2)], START))
    saved = engine._bytes()
    path.unlink()
    other = Engine._from_bytes(saved)
    assert other.settings == engine.settings
    assert other.settings.describe() == engine.settings.describe()
    for each in (engine, other):
        each.configure(tcp_s=9)
        each.restart(keep=True, max_connections=500)
        each.advance(START + 8 * S)
    assert other.settings.timeouts.udp_s == 7 and other.outcome() == engine.outcome()
    assert len(engine) == len(other) == 1
    assert other._bytes() == engine._bytes()


@pytest.mark.parametrize("forge, told", [
    (lambda kept: kept.update(own=None), "is unknown"),
    (lambda kept: kept.update(personality="plain"), "is the package's own"),
    (lambda kept: kept["own"].update(kilo=1010), "a kilobyte of 1010"),
    (lambda kept: kept["own"]["entries"].update(nothing=[1, "D", "", ""]), "unknown setting"),
    (lambda kept: kept["own"]["entries"]["udp_s"].pop(), "a list of 4"),
])
def test_a_forged_personality_is_refused_and_no_file_of_its_name_is_opened(tmp_path, forge, told):
    (tmp_path / "own.toml").write_text(OWN)
    engine = Engine(load(str(tmp_path / "own.toml")))
    header, tables = engine_state.from_bytes(engine._bytes())
    (tmp_path / "own.toml").unlink()
    os.mkfifo(tmp_path / "own.toml")        # who opened it would wait
    forge(header["settings"])
    with pytest.raises(StateError, match=told):
        Engine._from_bytes(sealed(header, tables))


def places(tree, path=()):
    """Every place in a header."""
    yield path
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield from places(tree[key], (*path, key))


HEADER = json.loads(DATA[16:16 + int.from_bytes(DATA[8:16], "little")])
PLACES = [path for path in places(HEADER) if path and path[0] != "tables"]


@given(st.sampled_from(PLACES), st.sampled_from((*NUMBERS, None, "", "on", [], {}, 1.5, True)))
def test_a_header_that_was_forged(path, value):
    header, tables = engine_state.from_bytes(DATA)
    place = header
    for key in path[:-1]:
        place = place[key]
    before, place[path[-1]] = place[path[-1]], value
    same = place[path[-1]] == before
    taken = judged(sealed(header, tables))
    if path[:2] in (("settings", "given"), ("settings", "values")) and path[-1] != 1:
        assert same or not taken   # the settings no longer come out the same


@pytest.mark.parametrize("value", [None, 1, "on", [1], {"a": 1}], ids=str)
def test_a_header_of_other_types(value):
    """At every place: refused in words of ours, or an engine that is one."""
    for path in PLACES:
        header, tables = engine_state.from_bytes(DATA)
        place = header
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        judged(sealed(header, tables))


@pytest.mark.parametrize("share", [[1, 0], [-1, 1], ["1e99999999", 1], "1/0", [1], None])
def test_a_share_that_was_forged(share):
    header, tables = engine_state.from_bytes(DATA)
    header["settings"]["given"]["base_bytes"] = [{"share": share}, "argument"]
    assert not judged(sealed(header, tables))


def test_a_share_of_ram_is_saved():
    engine = Engine(load("fortios-7", ram_bytes="1GiB", base_bytes="12.5%"))
    again = Engine._from_bytes(engine._bytes())
    assert again.settings == engine.settings
    assert again.settings.base_bytes == (1 << 30) // 8


def test_the_checksum_is_of_everything():
    assert DATA[-16:] == hashlib.blake2b(DATA[:-16], digest_size=16).digest()


def test_from_within_it_is_refused():
    engine = living()

    class Asking(list):
        def __iter__(self):
            engine.save("nowhere")
            return iter([])

    with pytest.raises(EngineBusy):
        engine.process_frames(Asking(), [])
    with pytest.raises(SettingsError, match="fixed when an engine is made"):
        engine.restart(keep=True, ram_bytes=1 << 30)


# --- nothing is left out ---

WRITTEN = set("""
    gate pages clock round_ns packet shift records timers fragments reborn graves victims
    graves_blind leaks next_step ips_level ips_carry ips_ns ips_full samples samples_fill
    sample_step_ns counters packet_digest victim_digest shaper dirty""".split())
MADE_AGAIN = set("""
    config lines hosts fragment_heads fragment_mask reborn_mask graves_mask
    policies timeouts steps log log_room samples_room live half_open proxy_sessions spared free_line
    free_record free_host hosts_high records_high oldest newest fragment_oldest fragment_newest
    fragment_free egress hooked frames frames_from parser""".split())
# between two calls; who is asked is not saved
EMPTY = set("""
    breath round_due quiet log_fill newborn exposure ip_bytes traffic_class looked inspector
    decider decided of_session""".split())


def test_every_field_of_the_data_plane_is_written_or_made_again():
    """Who adds one says here what becomes of it in a saved engine."""
    text = (Path(__file__).parent.parent / "fwcore/dataplane/layout.h").read_text()
    text = re.sub(r"/\*.*?\*/|\bstruct (?=\w+ \*)", "", text, flags=re.DOTALL)
    fields = set()
    for part in ("control_t", "memory_t", "table_t", "fw_t"):
        body = re.search(rf"typedef struct {{([^}}]*)}} {part};", text)[1]
        fields |= {re.sub(r"[*\s]|\[.*?\]", "", name)
                   for line in body.split(";") if line.strip()
                   for name in line.split(None, 1)[1].split(",")}
    fields -= {"control", "memory", "table"}
    assert fields == WRITTEN | MADE_AGAIN | EMPTY
