"""The engine as others embed it: frames in, verdicts, sessions and figures out; control."""

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

import numpy as np
import pytest
from frames import echo, ethernet, ip, tcp, udp
from twin import Pair, assert_equal_tree, run_twin

from fwcore._layout import EndCause, Reason, TcpState, Verdict
from fwcore.capture import Chunk
from fwcore.capture.synth import make
from fwcore.engine import Engine
from fwcore.engine_setup import splitmix64
from fwcore.errors import ConfigFrozen, EngineClosed, FrameError, SettingsError
from fwcore.flow import flow_key
from fwcore.settings import load

S = 10**9
START = 1_000 * S


def frame(source, destination, body, protocol):
    return ethernet(ip(source, destination, protocol, body))


def dns(host=1, port=5000):
    return frame(f"10.0.0.{host}", "192.0.2.53", udp(port, 53, 20), 17)


TALK = [
    frame("10.0.0.1", "192.0.2.1", tcp(4000, 80, "S"), 6),
    frame("192.0.2.1", "10.0.0.1", tcp(80, 4000, "SA"), 6),
    frame("10.0.0.1", "192.0.2.1", tcp(4000, 80, "A"), 6),
    frame("2001:db8::1", "2001:db8::53", udp(5000, 53, 8), 17),
    frame("2001:db8::53", "2001:db8::1", udp(53, 5000, 8), 17),
    frame("10.0.0.1", "192.0.2.1", echo(77), 1),
]
TIMES = [START + i for i in range(len(TALK))]


def reasons(outcome):
    return [Reason(reason).name.lower() for reason in outcome[:, 1].tolist()]


def laws_hold(engine):
    laws = engine.laws()
    assert all(laws.values()), [name for name, holds in laws.items() if not holds]


@pytest.fixture
def engine():
    with Engine(max_connections=64, when_full="replace_oldest") as made:
        yield made
        laws_hold(made)


# --- packets and looking in ---


def test_frames_in_verdicts_out(engine):
    outcome = engine.process_frames(TALK, TIMES)
    assert outcome.shape == (6, 2)
    assert outcome.dtype == np.uint8
    assert reasons(outcome) == ["new", "hit", "hit", "new", "hit", "new"]
    assert set(outcome[:, 0].tolist()) == {int(Verdict.FORWARD)}


def test_lengths_on_the_wire_and_link_types(engine):
    engine.process_frames([TALK[0][:54]], [START], lengths=[1514])
    engine.process_frames([TALK[2][14:]], [START + 1], link=101)
    counters = engine.counters()
    assert counters["bytes"] == 1514 + len(TALK[2]) - 14
    assert counters["sessions"]["created"] == 1


def test_sessions_are_a_copy_in_order(engine):
    engine.process_frames(TALK, TIMES)
    rows = engine.sessions()
    assert rows["created_packet"].tolist() == [1, 4, 6]
    assert rows["protocol"].tolist() == [6, 17, 1]
    assert rows["state"][0] == TcpState.ESTABLISHED
    assert rows["packets"].tolist() == [[2, 1], [1, 1], [1, 0]]
    assert bytes(rows["initiator"][0][:4]) == ip_address("10.0.0.1").packed
    rows["packets"] = 0
    assert engine.sessions()["packets"][0].tolist() == [2, 1]


@pytest.mark.parametrize("given, created", [
    (("10.0.0.1", 4000, "192.0.2.1", 80), 1),
    (("192.0.2.1", 80, "10.0.0.1", 4000), 1),
    (("2001:db8::1", 5000, "2001:db8::53", 53, "udp"), 4),
    (("2001:db8::53", 53, "2001:db8::1", 5000, 17), 4),
    (("10.0.0.1", 4001, "192.0.2.1", 80), None),
    (("10.0.0.1", 4000, "192.0.2.1", 80, "udp"), None),
])
def test_lookup_in_both_directions(engine, given, created):
    engine.process_frames(TALK, TIMES)
    row = engine.lookup(*given)
    assert (None if row is None else int(row["created_packet"])) == created


def test_lookup_in_a_zone():
    with Engine(max_connections=64, zone="vlan") as engine:
        engine.process_frames([ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(1, 2)), 5)],
                              [START])
        given = ("192.0.2.1", 2, "10.0.0.1", 1, "udp")
        assert engine.lookup(*given, 5)["zone"] == 5
        assert engine.lookup(*given, 6) is None
        assert engine.lookup(*given) is None


def test_keys_that_cannot_be():
    with pytest.raises(ValueError, match="different IP versions"):
        flow_key("10.0.0.1", 1, "2001:db8::1", 2, "tcp")
    with pytest.raises(ValueError, match="is no address"):
        flow_key("nobody", 1, "10.0.0.1", 2, "tcp")


def test_victims_and_the_ended(engine):
    frames = [dns(host=1 + i % 200, port=1000 + i) for i in range(70)]
    engine.process_frames(frames, [START + i for i in range(70)])
    victims = engine.victims()
    assert victims["created_packet"].tolist() == list(range(1, 7))
    assert victims["ended_packet"].tolist() == list(range(65, 71))
    assert set(victims["cause"].tolist()) == {int(EndCause.EVICTED)}
    assert not list(engine.collect_ended())  # only with log=True
    with Engine(max_connections=64, when_full="replace_oldest", log=True) as logged:
        logged.process_frames(frames, [START + i for i in range(70)])
        (rows,) = logged.collect_ended()
        assert rows["created_packet"].tolist() == list(range(1, 7))
        assert not list(logged.collect_ended())


def test_a_full_table_of_fragments_forgets_the_oldest():
    def piece(identifier, **place):
        return ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(1, 2, 16), identifier=identifier,
                           **place))

    with Engine(max_connections=4, fragments_max=2) as small:
        small.process_frames([piece(i, more=True) for i in range(3)], [START] * 3)
        for identifier, followed in ((0, 0), (1, 1), (2, 2)):
            small.judge(piece(identifier, fragment=3), START)
            assert small.counters()["reasons"]["fragment"] == followed


def test_no_more_cache_goes_than_is_missing():
    page = 4096
    with Engine("fortios-7", ram_bytes=100 * page, base_bytes=50 * page, max_connections=16,
                cache_limit_bytes=15 * page) as engine:
        engine.take("shm", 10 * page)
        engine.give("shm", 10 * page)
        engine.take("base", 45 * page)
        now = engine.counters()["memory"]["now"]
        assert (now["base"], now["cache"], now["free"]) == (95, 5, 0)


def test_a_ledger_of_one_row():
    with Engine(max_connections=4, when_full="replace_oldest", victims_max=1,
                fragments_max=1) as small:
        pieces = [ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(1, 2, 16), more=True, identifier=i))
                  for i in range(3)]
        small.process_frames([dns(port=i) for i in range(1, 9)] + pieces,
                             [START + i for i in range(11)])
        assert len(small.victims()) == 1
        assert small.counters()["fragments_forgotten"] == 2
        laws_hold(small)


def test_nothing_is_left_after_close():
    engine = Engine(max_connections=4)
    engine.process_frames([dns()], [START])
    rows = engine.sessions()
    engine.close()
    assert len(rows) == 1
    with pytest.raises(EngineClosed, match="make a new one"):
        engine.process_frames([dns()], [START])


def test_an_empty_chunk_and_an_engine_without_packets(engine):
    assert engine.process_frames([], []).shape == (0, 2)
    assert engine.counters()["packets"] == 0
    assert engine.outcome() == Engine(max_connections=64, when_full="replace_oldest").outcome()


@pytest.mark.parametrize("change", [
    {"offset": np.array([10], np.uint64)}, {"captured": np.array([1 << 31], np.uint32)},
    *({"offset": np.array([at], np.uint64)} for at in (
        1, 1 << 61, 1 << 62, (1 << 62) + 1, 1 << 63, (1 << 64) - (1 << 32), (1 << 64) - 1)),
    *({"time_ns": np.array([at], np.int64)} for at in (
        -1, (1 << 62) + 1, (1 << 63) - 1, -(1 << 63))),
])
def test_frames_that_reach_past_their_data(engine, change):
    whole = Chunk.from_frames([dns()], [START])
    arrays = {name: getattr(whole, name) for name in
              ("data", "offset", "captured", "length", "time_ns", "link")} | change
    with pytest.raises(FrameError, match=r"frame 0.*(reaches past|is outside)"):
        engine.process(Chunk(**arrays))
    assert reasons(engine.process(whole)) == ["new"]  # nothing of the bad chunk was judged
    assert engine.counters()["packets"] == 1


def test_the_latest_time_and_the_last_byte(engine):
    whole = Chunk.from_frames([dns()] * 3, [0, 1, 1 << 62])
    assert int(whole.offset[2]) + int(whole.captured[2]) == len(whole.data)
    assert reasons(engine.process(whole)) == ["new", "hit", "new"]


def test_arrays_of_unequal_length(engine):
    whole = Chunk.from_frames([dns(), dns()], [START, START])
    for name in ("captured", "length", "time_ns", "link"):
        arrays = {other: getattr(whole, other) for other in
                  ("data", "offset", "captured", "length", "time_ns", "link")}
        arrays[name] = arrays[name][:1]
        with pytest.raises(FrameError, match=name):
            engine.process(Chunk(**arrays))
    with pytest.raises(ValueError, match="flow"):
        engine.process(whole, np.zeros(1, np.uint64))


# --- several engines ---


def uniform(seed):
    return list(make("mix", packets=60_000, sessions=500, seed=seed))


def test_two_engines_in_two_threads_are_as_alone():
    streams = [uniform(1), uniform(2)]

    def run(chunks):
        with Engine(max_connections=400, when_full="tension") as engine:
            for chunk in chunks:
                engine.process(chunk)
            laws_hold(engine)
            return engine.outcome()

    alone = [run(chunks) for chunks in streams]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(run, streams))
    assert together == alone
    assert alone[0] != alone[1]


def test_a_random_seed_places_otherwise_and_judges_alike():
    settings = load("plain", max_connections=4096)
    key = flow_key("10.0.0.1", 4000, "192.0.2.1", 80, "tcp")
    engines = [Engine(settings.replace(seed=seed)) for seed in (None, None, 7)]
    assert len({engine.seed for engine in engines}) == 3
    assert len({tuple(engine.fastpath.bucket_of(key) for key in [key, *(
        flow_key("10.0.0.1", port, "192.0.2.1", 80, "tcp") for port in range(20))])
        for engine in engines}) == 3
    chunks = uniform(3)
    found = [np.concatenate([engine.process(chunk) for chunk in chunks]) for engine in engines]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_splitmix_as_published():
    assert splitmix64(1234567, 3) == [
        6457827717110365317, 3203168211198807973, 9817491932198370423]


# --- settings in the ways they are given ---


def test_an_engine_of_a_personality_or_of_a_file(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text('personality = "fortios-7"\nram_bytes = "512MiB"\n')
    want = load("fortios-7", ram_bytes="512MiB", max_connections=1000)
    for given in (str(file), file, load(file=file)):
        with Engine(given, max_connections=1000) as engine:
            assert engine.settings == want
    with Engine("fortios-7", ram_bytes="512MiB", max_connections=1000) as engine:
        assert engine.settings == want
    with pytest.raises(SettingsError, match='did you mean "fortios-7"'):
        Engine("fortios7")
    with pytest.raises(SettingsError, match="int is none; give the name of a personality"):
        Engine(5)


def test_plain_is_a_table_and_its_ram_no_obstacle():
    settings = load(max_connections=10_000_000)
    assert settings.total_pages == settings.preallocated_pages == -(-1_440_000_000 // 4096)
    assert load(max_connections=10_000).ram_bytes == load().ram_bytes == 1 << 30
    assert load(base_bytes=1 << 31).ram_bytes == (1 << 31) + load().preallocated_pages * 4096
    with pytest.raises(SettingsError, match="does not fit memory"):
        load(max_connections=10_000_000, ram_bytes="1GiB")


def test_a_restart_takes_the_ram_with_it():
    pair = Pair(load("plain", max_connections=10, session_bytes="16MiB"))
    pair.process(Chunk.from_frames([dns(1), dns(2)], [START, START]))
    pair.restart(max_connections=100)
    pair.process(Chunk.from_frames([dns(1), dns(2)], [START + 1, START + 2]))
    pair.compare()
    assert pair.engine.counters()["memory"]["total_pages"] == 100 << 12


# --- control ---


def test_configure_before_the_first_packet():
    with Engine(max_connections=64) as engine:
        assert engine.configure(timeouts={"udp_s": 5}).timeouts.udp_s == 5
        with pytest.raises(SettingsError, match=r"restart\(max_connections=\.\.\.\)"):
            engine.configure(max_connections=128)
        with pytest.raises(SettingsError, match="fixed when an engine is made"):
            engine.configure(ram_bytes=1 << 30)
        engine.process_frames([dns()], [START])
        engine.process_frames([dns(host=2)], [START + 7 * S])
        assert engine.counters()["sessions"]["ended"]["expired"] == 1
        laws_hold(engine)


def test_what_is_as_it_was_is_no_change_and_no_event():
    rules = [{"id": 1, "protocol": "udp"}]
    pair = Pair(load("plain", max_connections=64, udp_s=5, policies=rules))
    pair.process(Chunk.from_frames([dns()], [START]))
    for same in ({}, {"udp_s": 5}, {"av-failopen": "pass"}, {"policies": rules, "udp_s": 5.0}):
        assert pair.engine.configure(**same) == pair.engine.settings
        assert pair.engine.event_rows() == []
    pair.configure(udp_s=5)
    pair.configure(udp_s=6)
    pair.configure(config_freeze=True)
    pair.configure(policies=[*rules, {"id": 2}])
    assert [event.kind for event in pair.engine.events] == ["configured"] * 3
    pair.compare()
    with Engine(policies=rules) as engine:      # whose own settings know no policy
        for times, row in ((1, ()), (1, ()), (2, rules), (3, ())):
            engine.configure(policies=row)
            assert len(engine.events) == times


def test_other_names_of_a_setting_change_what_its_own_does():
    with Engine("linux-conntrack", max_connections=64) as engine:
        for other in ("nf_conntrack_max", "max-connections"):
            with pytest.raises(SettingsError, match=r"restart\(max_connections=\.\.\.\)"):
                engine.configure(**{other: 5})
        engine.configure(policy=[{"id": 7, "action": "deny"}])
        assert engine.process_frames([dns()], [START]).tolist() == [[Verdict.DROP, Reason.DENIED]]
        engine.restart(**{"nf-conntrack-max": 5})
        assert engine.settings.max_connections == engine.fastpath.max_connections == 5
        with pytest.raises(SettingsError, match="given too"):
            engine.configure(udp_s=5, **{"udp-s": 5})


def test_timeouts_hold_for_the_sessions_that_stand():
    """Shorter and longer, as the twin has it."""
    chunks = [Chunk.from_frames([dns(1), dns(2)], [START, START + S]),
              Chunk.from_frames([dns(3)], [START + 12 * S]),
              Chunk.from_frames([dns(4)], [START + 300 * S])]
    settings = load("plain", max_connections=64)
    _, twin = run_twin(settings, chunks[:1])
    with Engine(settings) as engine:
        engine.process(chunks[0])
        engine.configure(timeouts={"udp_s": 10})
        twin.configure(udp_s=10)
        for chunk, live in ((chunks[1], 1), (chunks[2], 2)):
            engine.process(chunk)
            twin.packet(chunk.frame(0), int(chunk.time_ns[0]), int(chunk.length[0]), 1)
            assert engine.counters()["sessions"]["live"] == live
            engine.configure(timeouts={"udp_s": 600})
            twin.configure(udp_s=600)
        assert engine.counters()["sessions"]["ended"]["expired"] == 2
        assert_equal_tree(engine.counters(), twin.counters())
        assert engine.outcome() == twin.outcome()
        laws_hold(engine)


def pressed():
    """A FortiOS that is in conserve mode from one second on."""
    return Engine(load("fortios-7", ram_bytes=4_096_000, base_bytes=2_457_600,
                       max_connections=1024, buckets=256, cache_limit_bytes=0, config_freeze=True,
                       pressure=[{"at_s": 1, "add_bytes": 1_228_800},
                                 {"at_s": 9, "add_bytes": -1_228_800}]))


def test_a_frozen_configuration():
    with pressed() as engine:
        engine.process_frames([dns(1)], [START])
        engine.configure(av_failopen="off")
        engine.process_frames([dns(1)], [START + 2 * S])
        assert engine.mode == "on"
        with pytest.raises(ConfigFrozen, match="wait until it is left"):
            engine.configure(av_failopen="pass")
        assert engine.settings.av_failopen == "off"
        engine.process_frames([dns(1)], [START + 10 * S])
        assert engine.mode == "off"
        engine.configure(av_failopen="pass")
        laws_hold(engine)


def test_a_refused_change_leaves_everything(engine):
    before = engine.settings
    with pytest.raises(SettingsError):
        engine.configure(midstream="perhaps")
    assert engine.settings is before


def test_clear_and_restart(engine):
    engine.process_frames(TALK, TIMES)
    assert engine.clear() == 3
    assert len(engine.sessions()) == 0
    laws_hold(engine)
    engine.process_frames(TALK, [START + S] * len(TALK))
    assert engine.restart(max_connections=2) == 3
    assert engine.settings.max_connections == 2
    laws_hold(engine)
    engine.process_frames([dns(i) for i in range(1, 6)], [START + 2 * S] * 5)
    counters = engine.counters()
    assert counters["packets"] == 2 * len(TALK) + 5
    assert counters["sessions"]["live"] == 2
    assert counters["sessions"]["ended"]["cleared"] == 6
    with pytest.raises(SettingsError, match="fixed when an engine is made"):
        engine.restart(ram_bytes=1 << 30)


def test_a_restart_that_does_not_fit_changes_nothing():
    page = 4096
    engine = Engine(load(
        "plain", ram_bytes=67 * page, base_bytes=20 * page, session_bytes=100, max_connections=4,
        pressure=[{"at_s": 0, "owner": "base", "add_bytes": 45 * page}]))
    engine.process_frames([dns(1), dns(2)], [START, START + 1])
    before = engine.counters(), engine.outcome(), engine.settings
    # 300 sessions of 100 bytes are 8 pages; 67 - 65 are 2
    with pytest.raises(SettingsError, match="max_connections: the new table takes 8 of 67 pages"):
        engine.restart(max_connections=300)
    assert (engine.counters(), engine.outcome(), engine.settings) == before
    assert reasons(engine.process_frames([dns(1)], [START + 2])) == ["hit"]
    assert engine.restart(max_connections=40) == 2
    laws_hold(engine)


def test_a_restart_that_keeps_sessions_has_room_for_them_or_changes_nothing():
    """A larger table makes tunnels dearer: the base grew into the pages of what was kept."""
    page = 4096
    engine = Engine(load(
        "plain", ram_bytes=10 * page, base_bytes=3 * page, accounting="slab", session_bytes=page,
        max_connections=4096, ipsec_max_tunnels=1, tunnel_base_bytes=0,
        tunnel_bytes_per_connection=1))
    engine.process_frames([dns(1), dns(2)], [START, START + 1])
    assert engine.take("base", 4 * page) == 4 and engine.fastpath.owners() == (8, 2, 0, 0)
    before = engine.counters(), engine.outcome(), engine.settings
    with pytest.raises(SettingsError, match="table takes 2 of 10 pages, and 9 are held"):
        engine.restart(keep=True, max_connections=8192)
    assert (engine.counters(), engine.outcome(), engine.settings) == before
    engine.give("base", page)
    assert engine.restart(keep=True, max_connections=8192) == 0 and len(engine) == 2
    laws_hold(engine)


def test_the_buffers_of_sessions_outlive_a_restart_as_cache():
    page = 4096
    engine = Engine(
        load("fortios-7", ram_bytes=100 * page, base_bytes=10 * page, cache_limit_bytes=50 * page,
             accounting="preallocated", session_bytes=page, max_connections=10,
             proxy_session_bytes=30 * page, seed=1),
        policies=[{"id": 1, "source": "any", "destination": "any", "protocol": "tcp",
                   "action": "accept", "inspection": ["antivirus"]}])
    engine.process_frames(TALK[:1], TIMES[:1])
    assert engine.fastpath.owners() == (10, 10, 30, 0)
    with pytest.raises(SettingsError, match="the new table takes 61 of 100 pages, and 40 are"):
        engine.restart(max_connections=61)
    assert engine.restart(max_connections=60) == 1
    assert engine.fastpath.owners() == (10, 60, 0, 30)
    laws_hold(engine)


def test_top_hosts(engine):
    engine.process_frames([dns(1, 10), dns(1, 11), dns(2, 10), dns(3, 10)], [START] * 4)
    assert engine.top_hosts(2) == [{"host": "10.0.0.1", "sessions": 2},
                                   {"host": "10.0.0.2", "sessions": 1}]


def test_a_full_table_is_full_until_a_tenth_of_it_is_free():
    """Of 20 places one that comes free is not enough: one session more, and it is full again."""
    pair = Pair(load("plain", max_connections=20, udp_s=30))
    pair.process(Chunk.from_frames(
        [dns(host) for host in range(1, 21)], [START + i * S for i in range(20)]))
    for at_s, live, kinds in (
            (30, 19, ["table_full"]), (31, 18, ["table_full", "table_full_ended"])):
        pair.advance(START + at_s * S)
        assert len(pair.engine) == live
        assert [event.kind for event in pair.engine.events] == kinds
    pair.compare()


def test_a_mode_that_comes_and_goes_a_hundred_times():
    """60 of 100 pages; every three seconds there are 30 more (red is 88), for one second.

    Hosts are kept for the first hundred transitions; a mode has the time until the next begins;
    one-shot latches once.
    """
    script = [{"at_s": at, "owner": "base", "add_bytes": pages * 4096}
              for third in range(0, 153, 3) for at, pages in ((third + 1, 30), (third + 2, -30))]
    with Engine(load("fortios-7", ram_bytes=100 * 4096, max_connections=16,
                     av_failopen="one-shot", pressure=script)) as engine:
        engine.process_frames([dns(), dns()], [START, START + 200 * S])
        assert [event.kind for event in engine.events].count("one_shot_latched") == 1
        assert len(engine.transitions) == 102
        assert [step.snapshot is None for step in engine.transitions] == [False] * 100 + [True] * 2
        assert {step.to_mode: step.time_ns for step in list(engine.transitions)[:2]} == {
            "on": START + S, "off": START + 2 * S}
        assert engine.mode_times_ns() == {"off": 149 * S, "on": 51 * S, "extreme": 0}
