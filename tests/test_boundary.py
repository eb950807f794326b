"""What Python may hand to the data plane: everything is looked at, nothing breaks the process."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from frames import ethernet, ip, tcp, udp

from fwcore import _layout, _memory
from fwcore._columns import parse
from fwcore._fastpath import FastPath
from fwcore._layout import (
    CONFIG_DTYPE,
    GATE_DTYPE,
    EndCause,
    Exposure,
    Gauge,
    Reason,
    record,
)
from fwcore.capture import Chunk
from fwcore.engine import Engine
from fwcore.errors import (
    DataError,
    EngineClosed,
    FlowError,
    FrameError,
    FwcoreError,
    SettingsError,
)
from fwcore.settings import load

S = 10**9
START = 1_000 * S
FRAME = ethernet(ip("10.0.0.1", "192.0.2.1", 6, tcp(4000, 80, "S")))


def dns(port):
    return ethernet(ip("10.0.0.1", "192.0.2.53", 17, udp(port, 53, 20)))


def written_over(value):
    """The clock, and the laws, of an engine whose decider writes to the times being judged."""
    settings = load("fortios-7", max_connections=64, timeline_interval_s=0.001)
    with Engine(settings) as engine:
        made = Chunk.from_frames([dns(port) for port in range(1, 40)], range(S, 40 * S, S))
        engine.decide(lambda rows: made.time_ns.fill(value) or [-1] * len(rows))
        engine.process(made)
        engine.check_laws()
        assert not any(count for name, count in engine.fastpath.audit().items()
                       if name.endswith(("wrong", "overdue", "misplaced")))
        return engine.fastpath.now_ns, engine.counters()["time_reversed"]


def test_times_that_are_written_over_while_they_are_judged():
    """What is beyond all time counts as late; what is not, as it stands."""
    for value in ((1 << 63) - 1, (1 << 62) + 1):
        assert written_over(value) == (S, 39)
    assert written_over(-1) == (S, 39)
    assert written_over(1 << 62) == (1 << 62, 0)


@pytest.mark.parametrize(("ours", "theirs"), [
    ("flow", "time_ns"), ("flow", "offset"), ("reply", "data"), ("reply", "captured")])
def test_what_is_written_shares_nothing_with_what_is_read(engine, ours, theirs):
    made = Chunk.from_frames([dns(port) for port in range(1, 40)], range(39))
    place = getattr(made, theirs).view({"flow": np.uint64, "reply": np.uint8}[ours])[:39]
    with pytest.raises(FrameError, match=rf"{ours}: .* shares memory with {theirs}"):
        engine.process(made, **{ours: place})
    assert len(engine) == 0
    both = np.zeros(39 * 8, np.uint8)
    with pytest.raises(FrameError, match=r"flow: .* shares memory with reply"):
        engine.process(made, both.view(np.uint64), both[:39])


def test_a_table_of_more_frames_than_memory_can_name():
    """Rows of no bytes may be any number; what was there is not let go of for them."""
    with Engine(max_connections=8) as engine:
        for rows in (1 << 61, 1 << 62, 1 << 40, 1 << 30):
            engine.process_frames([dns(1)] * 10, range(10))
            empty = np.zeros((rows, 0), np.uint8)
            for times, frames in (([], empty), (iter([]), [empty]), (iter([]), empty)):
                if rows > 1 << 40 or times == []:
                    with pytest.raises(FrameError, match="frames"):
                        engine.process_frames(frames, times)
        assert engine.process_frames([dns(1)], [11]).tolist() == [[0, 1]]


@pytest.fixture
def engine():
    with Engine(max_connections=64) as made:
        yield made
        made.check_laws()


def config(**changes):
    """A record that makes a small FastPath, with changes."""
    return record(CONFIG_DTYPE, {
        "max_connections": 8, "buckets": 4, "sweep_ns": S, "total_pages": 64, "victims_max": 4,
        "fragments_max": 4, "preallocated": 1} | changes)


def gate(**changes):
    return record(GATE_DTYPE, {
        "low": [-1] * len(Gauge), "high": [1 << 62] * len(Gauge)} | changes)


# --- records ---


@pytest.mark.parametrize("values, says", [
    ({"speed": 1}, "no such field"),
    ({"buckets": 1.5}, "is no integer"),
    ({"buckets": "4"}, "is no integer"),
    ({"buckets": -1}, "does not fit uint64"),
    ({"buckets": 1 << 64}, "does not fit uint64"),
    ({"when_full": 256}, "does not fit uint8"),
    ({"seeds": range(7)}, "is no integer"),
    ({"seeds": list(range(7))}, "7 numbers, and there is room for 6"),
    ({"fail_nth": [1] * 33}, "33 numbers"),
])
def test_a_record_takes_what_fits_and_nothing_else(values, says):
    with pytest.raises(DataError, match=says):
        record(CONFIG_DTYPE, values)


@pytest.mark.parametrize("changes", [
    {"max_connections": 0}, {"max_connections": 1 << 31}, {"buckets": 0}, {"buckets": 1 << 32},
    {"sweep_ns": 0}, {"sweep_ns": -1}, {"timeline_ns": -1}, {"timeout_ns": [1 << 62] * 8},
    {"victims_max": 0}, {"fragments_max": 0}, {"when_full": 5}, {"midstream": 3},
    {"non_ip_verdict": 4}, {"orphan_verdict": 255}, {"fail_nths": 33}, {"fail_everys": 1},
    {"base_pages": 65}, {"base_pages": 40, "preallocated_pages": 40}, {"zone": 2},
])
def test_a_configuration_that_would_break_the_loop(changes):
    with pytest.raises(DataError, match=next(iter(changes)).removesuffix("s")):
        FastPath(config(**changes))
    FastPath(config()).close()
    fast = FastPath(config())
    with pytest.raises(DataError):
        fast.set_soft(config(**changes))
    with pytest.raises(DataError):
        fast.prepare(config(**changes))


@pytest.mark.parametrize("given", [
    {}, None, (), np.zeros(1), np.zeros(2, CONFIG_DTYPE), np.zeros(0, CONFIG_DTYPE),
    np.zeros(1, GATE_DTYPE),
])
def test_a_configuration_is_one_record(given):
    with pytest.raises(DataError, match="CONFIG_DTYPE"):
        FastPath(given)


@pytest.mark.parametrize("script", [
    {"steps": [(0, 1, 5)]}, {"steps": [(0, 3, 5)]}, {"steps": [(-1, 0, 5)]},
    {"steps": [(1 << 62, 0, 5)]}, {"steps": [(0, 0, 1 << 51)]}, {"leaks": [(0, 0, 0)]},
    {"leaks": [(0, 7, 5)]}, {"leaks": [(0, 2, -4)]},
])
def test_a_script_that_would_break_the_loop(script):
    with pytest.raises(DataError, match=next(iter(script))):
        FastPath(config(), **script)


@pytest.mark.parametrize("group", [0, 65, -1, 1 << 40])
def test_a_group_has_its_bounds(group):
    with pytest.raises(DataError, match="group"):
        FastPath(config(), group=group)
    with pytest.raises(SettingsError, match="group"):
        Engine(max_connections=4, group=group)


@pytest.mark.parametrize("changes", [
    {"action": [0, 0, 0, 3]}, {"reason": [len(Reason)] * 4}, {"cause": [len(Exposure)] * 4},
    {"full_action": 3}, {"full_reason": 255}, {"full_cause": 99}, {"object_start": 3},
    {"object_cause": len(Exposure)}, {"page_request": 200}, {"object_refused": 3},
    {"ips_bypass": 2},
])
def test_a_gate_row_that_points_nowhere(changes):
    fast = FastPath(config())
    with pytest.raises(DataError, match=next(iter(changes))):
        fast.apply(gate(**changes))
    with pytest.raises(DataError, match="GATE_DTYPE"):
        fast.apply(())
    fast.apply(gate())


# --- sessions ---


@pytest.mark.parametrize("records", [
    np.array([64], np.uint32), np.array([1 << 31], np.uint32), np.array([0xFFFFFFFF], np.uint32),
    np.array([5], np.uint32), np.array([0, 1, 0], np.uint32), np.array([0, 2, 1, 5], np.uint32),
    np.array([0.0]), np.array([-1]), np.array([[0]], np.uint32), [0], None,
])
def test_only_live_sessions_end_and_each_once(engine, records):
    engine.process_frames([dns(port) for port in (1, 2, 3)], [START] * 3)
    with pytest.raises(DataError, match="end_sessions"):
        engine.fastpath.end_sessions(records, EndCause.CLEARED)
    assert len(engine.sessions()) == 3
    engine.check_laws()
    numbers, _, _ = engine.fastpath.live_sessions()
    engine.fastpath.end_sessions(numbers[[2, 0]], EndCause.CLEARED)
    assert len(engine.sessions()) == 1


@pytest.mark.parametrize("cause", [-1, len(EndCause), 255, 1 << 40])
def test_sessions_end_for_a_cause(engine, cause):
    engine.process_frames([dns(1)], [START])
    with pytest.raises(DataError, match="no cause"):
        engine.fastpath.end_sessions(engine.fastpath.live_sessions()[0], cause)


def test_the_log_does_not_overflow():
    """Who never collects it is told; the room behind it was made for one table full."""
    with Engine(max_connections=64, log=True) as engine:
        fast = engine.fastpath
        chunk = Chunk.from_frames([dns(port) for port in range(8)], [START] * 8)
        engine.process(chunk)
        outcome = np.zeros(8, np.uint16)

        def never_collect():
            for _ in range(2000):
                fast.load(chunk, outcome)
                fast.run()
                fast.end_sessions(fast.live_sessions()[0], EndCause.CLEARED)

        with pytest.raises(DataError, match="the log is full; collect it first"):
            never_collect()
        assert len(fast.collect_log()) <= 64 + 2 * _memory.LOG_SLACK


# --- policies ---

ROWS = [
    {"id": 7, "source": ["10.0.0.0/8"], "protocol": "tcp", "ports": [80, "8000-8099"],
     "action": "accept"},
    {"id": 8, "source": ["2001:db8::/32"], "action": "deny"},
]


def compiled():
    """What the engine hands over for ROWS, as something that can be changed."""
    from fwcore import policy
    from fwcore.policy_layout import compile_policies, lay_out
    found = lay_out(compile_policies(policy.parse(ROWS)))
    return SimpleNamespace(**{
        name: list(map(np.copy, value)) if isinstance(value, tuple) else value.copy()
        for name, value in found._asdict().items()})


def test_policies_are_copied():
    mine = compiled()
    with Engine(max_connections=8) as engine:
        engine.fastpath.set_policies(mine)
        for array in (mine.guards4, mine.guards6):
            array["policy"] = 0xFFFFFFFF
        for bounds, segments in zip(mine.bounds, mine.segments, strict=True):
            bounds[:], segments[:] = 99, 0xFFFFFFFF
        mine.policy_action[:] = 255
        assert engine.process_frames([FRAME], [START])[0, 1] == Reason.NEW
        assert engine.process_frames([dns(1)], [START])[0, 1] == Reason.DENIED


def change(name, value, where=slice(None)):
    def do(given):
        getattr(given, name)[where] = value
    return do


def put(name, value):
    def do(given):
        setattr(given, name, value)
    return do


@pytest.mark.parametrize("spoil", [
    change("guards4", 2, "policy"), change("guards6", 0xFFFFFFFF, "policy"),
    change("policy_action", 3), change("policy_inspection", 4),
    put("policy_id", np.arange(3, dtype=np.uint32)), put("policy_id", np.arange(2)),
    put("bounds", []), put("segments", []), put("blocks4", np.zeros(4, np.uint8)),
    put("rows6", np.zeros(0, _layout.ROW6_DTYPE)), put("guards4", None),
    lambda p: p.bounds[0].__setitem__(0, 1), lambda p: p.bounds[0].__setitem__(1, 0),
    lambda p: p.bounds[0].__setitem__(-1, 70_000), lambda p: p.segments[0].__setitem__((0, 0), 1),
    lambda p: p.segments[0].__setitem__((0, 1), 1 << 20),
    lambda p: p.segments[4].__setitem__((0, 0), 0xFFFFFFFF),
    lambda p: p.segments.__setitem__(2, p.segments[2][:0]),
    lambda p: p.bounds.__setitem__(3, p.bounds[3].astype(np.int64)),
])
def test_policies_that_point_nowhere(spoil):
    given = compiled()
    spoil(given)
    with Engine(max_connections=8, policies=ROWS) as engine:
        with pytest.raises(DataError, match="policies"):
            engine.fastpath.set_policies(given)
        assert engine.process_frames([FRAME], [START])[0, 1] == Reason.NEW


# --- parsing ---


@pytest.mark.parametrize("given", [
    {"seeds": (1,)}, {"seeds": ()}, {"seeds": range(7)}, {"seeds": (-1,) * 6},
    {"seeds": (1 << 64,) * 6}, {"length": -1}, {"length": 1 << 32}, {"link": 1 << 16},
    {"link": -1}, {"shift": 1 << 32}, {"shift": -1},
])
def test_parse_takes_what_fits(given):
    with pytest.raises(DataError):
        parse(FRAME, **given)
    assert parse(FRAME, seeds=range(6))["protocol"] == 6


# --- chunks ---

ARRAYS = ("data", "offset", "captured", "length", "time_ns", "link")


@pytest.mark.parametrize("name, array, says", [
    ("time_ns", np.array([1e18]), r"chunk\.time_ns: float64 .*integer nanoseconds"),
    ("time_ns", np.array(["2026-01-01"], "datetime64[ns]"), "integer nanoseconds"),
    ("time_ns", np.array([1], np.uint64), "integer nanoseconds"),
    ("time_ns", [1], r"chunk\.time_ns: list is no NumPy array"),
    ("offset", np.array([0], np.int64), r"chunk\.offset: int64 instead of uint64"),
    ("captured", np.array([10.0]), r"chunk\.captured: float64"),
    ("data", "frame", r"chunk\.data: str is no NumPy array"),
    ("data", np.frombuffer(FRAME[:52], np.float32), r"chunk\.data: float32 instead of uint8"),
    ("link", np.array([[1]], np.uint16), r"chunk\.link: one axis"),
    ("length", np.array([99, 99], np.uint32), r"chunk\.length: its length is 2.* 1 frames"),
    ("time_ns", np.array([-1]), "frame 0: time_ns -1 is outside"),
    ("time_ns", np.array([(1 << 62) + 1]), "frame 0: time_ns 4611686018427387905 is outside"),
    ("captured", np.array([99], np.uint32), r"frame 0 \(offset 0, captured 99\) reaches past"),
])
def test_a_chunk_that_is_none(engine, name, array, says):
    whole = Chunk.from_frames([FRAME], [START])
    arrays = {each: getattr(whole, each) for each in ARRAYS} | {name: array}
    with pytest.raises(FrameError, match=says):
        engine.process(SimpleNamespace(**arrays))
    assert engine.counters()["packets"] == 0


@pytest.mark.parametrize("given", [b"frame", [b"frame"], None, 5, np.zeros(3)])
def test_what_is_no_chunk_at_all(engine, given):
    with pytest.raises(FrameError, match=r"is no chunk.* process_frames"):
        engine.process(given)


@pytest.mark.parametrize("flow", [
    np.zeros(1), np.zeros(2, np.uint64), [0], np.zeros((1, 1), np.uint64)])
def test_flows_have_their_array(engine, flow):
    with pytest.raises(FrameError, match="flow"):
        engine.process(Chunk.from_frames([FRAME], [START]), flow)


def test_a_chunk_changed_after_it_was_looked_at():
    """What an array says when the loop comes to it is looked at again: no frame reaches out."""
    with Engine(max_connections=64) as engine:
        engine.process_frames([FRAME], [START])
        chunk = Chunk.from_frames([dns(port) for port in range(1, 9)], [START] * 8)
        engine.fastpath.load(chunk, np.zeros(8, np.uint16))
        chunk.offset[3:] = 1 << 60
        chunk.captured[5] = 0xFFFFFFFF
        assert engine.fastpath.run() == 0
        assert engine.counters()["decode"]["udp"] == 3


@pytest.mark.parametrize("host", ["10.0.0.1", "2001:db8::1"])
@pytest.mark.parametrize("piece", [False, True])
def test_a_host_that_talks_to_itself_has_one_session(host, piece):
    """Both ends have one address: the ports say which is which, of a first fragment too."""
    with Engine(max_connections=4) as engine:
        for ports in ((1000, 2000), (2000, 1000)):
            packet = ip(host, host, 17, udp(*ports, 16), more=piece)
            engine.judge(ethernet(packet), 0)
        assert engine.counters()["sessions"]["created"] == 1


def test_an_outcome_that_is_the_chunk_itself():
    with Engine(max_connections=64) as engine:
        engine.process_frames([FRAME], [START])
        chunk = Chunk.from_frames([dns(port) for port in range(1, 9)], [START] * 8)
        with pytest.raises(FrameError, match=r"outcome: .* shares memory with captured"):
            engine.fastpath.load(chunk, chunk.captured.view(np.uint16)[:8])
        assert engine.fastpath.run() == 0 and engine.fastpath.packet == 1


# --- keys ---


@pytest.mark.parametrize("given, says", [
    (("10.0.0.1", 70_000, "10.0.0.2", 80), "port 70000"),
    (("10.0.0.1", -1, "10.0.0.2", 80), "port -1"),
    (("10.0.0.1", 1, "10.0.0.2", 80.0), "port 80.0"),
    (("10.0.0.1", 1, "10.0.0.2", "80"), "port '80'"),
    (("10.0.0.1", True, "10.0.0.2", 80), "port True"),
    (("10.0.0.1", 1, "10.0.0.2", 80, "tcp", 4096), "zone 4096"),
    (("10.0.0.1", 1, "10.0.0.2", 80, "tpc"), "protocol 'tpc' is unknown"),
    (("10.0.0.1", 1, "10.0.0.2", 80, 256), "protocol 256"),
    (("10.0.0.1", 1, "10.0.0.2", 80, None), "protocol None"),
    (("10.0.0.1", 1, None, 80), "None is no address"),
    (("10.0.0.300", 1, "10.0.0.2", 80), "'10.0.0.300' is no address"),
    (("10.0.0.1", 1, "2001:db8::1", 80), "different IP versions"),
])
def test_a_look_up_says_what_is_wrong(engine, given, says):
    with pytest.raises(FlowError, match=says):
        engine.lookup(*given)


@pytest.mark.parametrize("name, number", [
    ("gre", 47), ("esp", 50), ("ah", 51), ("ospf", 89), ("igmp", 2), ("GRE", 47)])
def test_a_look_up_by_every_name(engine, name, number):
    engine.process_frames([ethernet(ip("10.0.0.1", "192.0.2.1", number, b"x" * 20))], [START])
    assert engine.lookup("10.0.0.1", 0, "192.0.2.1", 0, name)["protocol"] == number


@pytest.mark.parametrize("name", ["icmpv6", "icmp6", "icmp", 58])
def test_icmp_of_both_versions(engine, name):
    assert engine.lookup("2001:db8::1", 1, "2001:db8::2", 1, name) is None


@pytest.mark.parametrize("key", [
    (1 << 32, 1, 1, 1, 6, 0, 4), (1, 1, 1 << 16, 1, 6, 0, 4), (1, 1, 1, 1, 256, 0, 4),
    (1, 1, 1, 1, 6, -1, 4), (1, 1, 1, 1, 6, 0, 5), (1 << 128, 1, 1, 1, 6, 0, 6)])
def test_a_key_that_does_not_fit(engine, key):
    for look in (engine.fastpath.find, engine.fastpath.flow_of, engine.fastpath.bucket_of):
        with pytest.raises(DataError, match="key"):
            look(key)


# --- closed ---

CALLS = [
    lambda e: e.process(Chunk.from_frames([FRAME], [START])),
    lambda e: e.process_frames([FRAME], [START]),
    lambda e: e.sessions(), lambda e: e.counters(), lambda e: e.top_hosts(), lambda e: e.laws(),
    lambda e: e.check_laws(), lambda e: e.outcome(), lambda e: e.victims(), lambda e: e.clear(),
    lambda e: e.restart(), lambda e: e.configure(half_open_limit=5), lambda e: e.label,
    lambda e: e.lookup("10.0.0.1", 1, "10.0.0.2", 2), lambda e: list(e.collect_ended()),
    lambda e: e.mode_times_ns(),
    lambda e: e.fastpath.run(), lambda e: e.fastpath.gauges(), lambda e: e.fastpath.audit(),
    lambda e: e.fastpath.counters(), lambda e: e.fastpath.live_sessions(),
    lambda e: e.fastpath.hosts(), lambda e: e.fastpath.digests(), lambda e: e.fastpath.samples(),
    lambda e: e.fastpath.sample(), lambda e: e.fastpath.victims(),
    lambda e: e.fastpath.collect_log(), lambda e: e.fastpath.owners(),
    lambda e: e.fastpath.apply(gate()), lambda e: e.fastpath.set_policies(None),
    lambda e: e.fastpath.begin(5), lambda e: e.fastpath.outcome_counts(),
    lambda e: e.fastpath.outcome_recount(), lambda e: e.fastpath.decode_counts(),
    lambda e: e.fastpath.find((1, 1, 1, 1, 6, 0, 4)),
    lambda e: e.fastpath.end_sessions(np.zeros(1, np.uint32), 0),
    lambda e: e.fastpath.load(Chunk.from_frames([FRAME], [START]), np.zeros(1, np.uint16)),
    lambda e: setattr(e.fastpath, "shift", 5),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_closed_engine_says_so(call):
    engine = Engine(max_connections=8)
    engine.process_frames([FRAME], [START])
    engine.close()
    with pytest.raises(EngineClosed, match="engine is closed"):
        call(engine)
    engine.close()
    assert issubclass(EngineClosed, FwcoreError)


def test_leaving_a_with_block_twice():
    with Engine(max_connections=8) as engine:
        engine.close()


# --- memory ---

REFUSED = """
import resource, sys
sys.path[:0] = {path!r}
from test_boundary import FRAME, START
from fwcore.engine import Engine
engine = Engine(max_connections=1000)
assert engine.process_frames([FRAME], [START])[0, 1] == 0
before = engine.counters(), engine.outcome()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), -1))
try:
    engine.restart(max_connections=1_000_000)
except MemoryError as error:
    assert "cannot be had: max_connections = 1000000 asks for" in str(error)
else:
    raise SystemExit("there was memory")
assert (engine.counters(), engine.outcome()) == before
assert engine.settings.max_connections == engine.fastpath.max_connections == 1000
assert engine.process_frames([FRAME], [START + 5])[0, 1] == 1
assert engine.restart(max_connections=2000) == 1
assert engine.process_frames([FRAME], [START + 6])[0, 1] == 0
engine.check_laws()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc of Linux")
def test_a_restart_without_memory_leaves_the_engine_whole():
    done = subprocess.run([sys.executable, "-c", REFUSED.format(path=sys.path)],
                          capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_table_is_taken_once():
    fast = FastPath(config())
    table = fast.prepare(config(max_connections=16))
    fast.rebuild(table)
    assert fast.max_connections == 16
    with pytest.raises(DataError, match="taken already"):
        fast.rebuild(table)
    with pytest.raises(DataError, match="stay as they are"):
        fast.rebuild(fast.prepare(config(victims_max=5)))
    with pytest.raises(DataError, match=r"Argument .table. has incorrect type"):
        fast.rebuild(None)


def test_settings_are_settings():
    with pytest.raises(SettingsError, match=r"or what fwcore\.load made"):
        Engine({"max_connections": 5})
    assert load("plain").personality == "plain"
