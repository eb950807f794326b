"""The C API: its functions from C and Cython, their examples built and run, and every misuse."""

import ctypes
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import numpy as np
import pytest

import fwcore
from fwcore import Chunk, Engine, _capi

ROOT = Path(__file__).parent.parent
FRAME = bytes.fromhex("00" * 12 + "0800" "4500002e00000000401100000a000001cb007109"
                      "00350035001a0000").ljust(60, b"\0")

POINTER = ctypes.c_void_p


class Lent(ctypes.Structure):
    """fwcore_chunk."""

    _fields_ = [("data", POINTER), ("size", ctypes.c_uint64), ("offset", POINTER),
                ("captured", POINTER), ("length", POINTER), ("time_ns", POINTER),
                ("link", POINTER), ("count", ctypes.c_uint64)]


class Table(ctypes.Structure):
    """fwcore_api."""

    _fields_ = [
        ("version", ctypes.c_uint32), ("bytes", ctypes.c_uint32),
        ("new", ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_char_p, ctypes.c_char_p)),
        ("of", ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.py_object)),
        ("free", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64)),
        ("load", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64, POINTER)),
        ("run", ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_uint64, POINTER, POINTER, POINTER)),
        ("advance", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64, ctypes.c_int64)),
        ("counters", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64, POINTER, POINTER,
                                      ctypes.c_uint64)),
        ("mode", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64)),
        ("departures", ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_uint64, POINTER,
                                        ctypes.c_uint64)),
        ("error", ctypes.CFUNCTYPE(ctypes.c_char_p)),
        ("inspect", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64, POINTER, POINTER,
                                     ctypes.c_uint32)),
        ("decide", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64, POINTER, POINTER))]


@pytest.fixture(scope="module")
def api():
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = POINTER, [ctypes.py_object, ctypes.c_char_p]
    table = Table.from_address(pointer(_capi.API, b"fwcore._capi.API"))
    assert (table.version, table.bytes) == (1, ctypes.sizeof(Table))
    return table


def lend(chunk, **changes):
    """A chunk as C lends it; whoever has it keeps the arrays."""
    given = Lent(*(changes.get(name, getattr(chunk, name).ctypes.data if name != "size" else
                               len(chunk.data)) for name, _ in Lent._fields_[:-1]),
                 changes.get("count", len(chunk)))
    given.arrays = chunk
    return given


def chunk_of(count, at_ns=10**18):
    frames = [FRAME[:29] + bytes([i % 7]) + FRAME[30:] for i in range(count)]
    return Chunk.from_frames(frames, range(at_ns, at_ns + count))


def run(api, fw, chunk, flow=None, reply=None):
    outcome = np.full(len(chunk), 0xFFFF, np.uint16)
    lent = lend(chunk)
    assert api.load(fw, ctypes.byref(lent)) == 0, api.error()
    found = api.run(fw, outcome.ctypes.data, None if flow is None else flow.ctypes.data,
                    None if reply is None else reply.ctypes.data)
    return found, outcome


def test_it_judges_as_python_does(api):
    chunk = chunk_of(500)
    flow, reply = np.zeros(500, np.uint64), np.zeros(500, np.uint8)
    with Engine("fortios-7", max_connections=100, seed=1) as mine, \
            Engine("fortios-7", max_connections=100, seed=1) as other:
        fw = api.of(mine)
        flows = np.zeros(500, np.uint64)
        want = other.process(chunk, flows)
        found, outcome = run(api, fw, chunk, flow, reply)
        assert found == 500
        assert outcome.view(np.uint8).reshape(-1, 2).tolist() == want.tolist()
        assert flow.tolist() == flows.tolist() and mine.outcome() == other.outcome()
        assert api.advance(fw, 2 * 10**18) == 0 and len(mine) == 0
        assert api.free(fw) == 0 and mine.fastpath.packet == 500     # it was Python's


def test_a_firewall_of_its_own(api):
    fw = api.new(b"fortios-7", b"ram_bytes = '512MiB'\nmax_connections = 1000")
    assert fw, api.error()
    assert run(api, fw, chunk_of(3))[0] == 3
    names = (ctypes.c_char_p * 3)(b"packets", b"sessions.live", b"memory.total_pages")
    values = (ctypes.c_int64 * 3)()
    assert api.counters(fw, names, values, 3) == 0
    assert list(values) == [3, 3, 131072]
    assert api.mode(fw) == 0
    assert api.free(fw) == 0


class Session(ctypes.Structure):
    """What fwcore_question and fwcore_opening begin with."""

    _fields_ = [("initiator", ctypes.c_uint8 * 16), ("responder", ctypes.c_uint8 * 16),
                ("initiator_port", ctypes.c_uint16), ("responder_port", ctypes.c_uint16),
                ("zone", ctypes.c_uint16), ("protocol", ctypes.c_uint8),
                ("family", ctypes.c_uint8), ("policy", ctypes.c_uint32)]


class Question(Session):
    """fwcore_question."""

    _fields_ = [(name, ctypes.c_uint8) for name in ("state", "inspection", "cause", "exposed")]
    _fields_ += [(name, ctypes.c_uint64) for name in (
        "flow", "created_ns", "last_seen_ns", "ended_ns", "created_packet", "ended_packet")]
    _fields_ += [("bytes", ctypes.c_uint64 * 2), ("packets", ctypes.c_uint32 * 2),
                 ("packet", ctypes.c_uint64), ("seen", ctypes.c_uint64), ("size", ctypes.c_uint32),
                 ("unused", ctypes.c_uint32), ("reply", ctypes.c_uint8),
                 ("pad", ctypes.c_uint8 * 7)]


class Opening(Session):
    """fwcore_opening."""

    _fields_ = [("inspection", ctypes.c_uint32), ("flow", ctypes.c_uint64),
                ("time_ns", ctypes.c_int64), ("packet", ctypes.c_uint64)]


ASKED = ctypes.CFUNCTYPE(ctypes.c_int, POINTER, ctypes.POINTER(Question),
                         ctypes.POINTER(ctypes.c_uint8))
DECIDES = ctypes.CFUNCTYPE(ctypes.c_int64, POINTER, ctypes.POINTER(Opening))
PROXIED = [{"id": 7, "protocol": "tcp", "inspection": "proxy"}, {"id": 2}]


def judged(engine, hook, chunks):
    """Outcomes of an engine with a hook, which ``hook(engine)`` sets."""
    with engine:
        hook(engine)
        return [engine.process(chunk).tolist() for chunk in chunks], engine.outcome()


def both(api, settings, in_c, in_python, chunks):
    """The same engine twice: asked through the C API, and by a function of Python."""
    handles = []

    def by_c(engine):
        handles.append(api.of(engine))
        assert in_c(handles[0]) == 0, api.error()

    found = judged(Engine("fortios-7", seed=1, policies=PROXIED, **settings), by_c, chunks)
    assert api.free(handles[0]) == 0                # the engine is closed: nothing to end
    return found, judged(Engine("fortios-7", seed=1, policies=PROXIED, **settings), in_python,
                         chunks)


def test_an_inspector_in_c_is_asked_as_one_in_python(api):
    """Rows and bytes are the same, and so is what becomes of them."""
    with fwcore.open_capture(ROOT / "pcaps" / "web.pcap") as capture:
        chunks = list(capture)
    mine, theirs = [], []

    def in_c(context, question, payload):
        row = question[0]
        mine.append((row.flow, row.packet, row.seen, row.size, row.reply, row.responder_port,
                     row.policy, bytes(row.initiator)[:4], row.packets[0], row.created_ns,
                     bytes(payload[:row.size])))
        return row.flow % 3

    def in_python(rows):
        theirs.extend(
            (*(int(row[name]) for name in ("flow", "packet", "seen", "size", "reply",
                                           "responder_port", "policy")),
             row["initiator"][:4].tobytes(), int(row["packets"][0]), int(row["created_ns"]),
             row["payload"][:row["size"]].tobytes()) for row in rows)
        return (rows["flow"] % 3).astype(int)

    asked = ASKED(in_c)
    found, want = both(
        api, {}, lambda fw: api.inspect(fw, asked, None, 100),
        lambda engine: engine.inspect(in_python, first_bytes=100), chunks)
    assert len(mine) == 20 and mine == theirs and found == want


def test_a_decider_in_c_is_asked_as_one_in_python(api):
    with fwcore.open_capture(ROOT / "pcaps" / "web.pcap") as capture:
        chunks = list(capture)
    seen = []

    def in_c(context, opening):
        row = opening[0]
        seen.append((row.flow, row.packet, row.time_ns, row.protocol, row.policy, row.inspection))
        return (-1, -2, 2)[row.flow % 3]

    def in_python(rows):
        want.extend(tuple(int(row[name]) for name in (
            "flow", "packet", "time_ns", "protocol", "policy", "inspection")) for row in rows)
        return [(-1, -2, 2)[int(flow) % 3] for flow in rows["flow"]]

    want, decides = [], DECIDES(in_c)
    found, expected = both(api, {}, lambda fw: api.decide(fw, decides, None),
                           lambda engine: engine.decide(in_python), chunks)
    assert len(seen) > 20 and seen == want and found == expected


def test_hooks_of_c_end_with_their_handle(api):
    """A library that is gone is not called: freeing a handle ends what was set through it."""
    calls = []
    decides = DECIDES(lambda context, opening: calls.append(context) or -1)
    with Engine(max_connections=100) as engine:
        fw = api.of(engine)
        assert api.decide(fw, decides, 77) == 0
        assert run(api, fw, chunk_of(2))[0] == 2 and calls == [77, 77]
        assert api.decide(fw, None, None) == api.decide(fw, None, None) == 0
        assert api.inspect(fw, None, None, 0) == 0
        engine.clear()
        assert run(api, fw, chunk_of(2, 2 * 10**18))[0] == 2 and len(calls) == 2
        assert api.decide(fw, decides, 78) == api.free(fw) == 0
        engine.clear()
        engine.process(chunk_of(2, 3 * 10**18))
        assert len(calls) == 2


def test_answers_that_are_none_end_the_run(api):
    with fwcore.open_capture(ROOT / "pcaps" / "web.pcap") as capture:
        chunk = next(iter(capture))
    answers = [3]
    asked = ASKED(lambda context, question, payload: answers[0])
    decides = DECIDES(lambda context, opening: 99)
    with Engine("fortios-7", policies=PROXIED) as engine:
        fw = api.of(engine)
        for size, text in ((0, b"first_bytes: 0"), ((1 << 20) + 1, b"first_bytes: 1048577")):
            assert api.inspect(fw, asked, None, size) == -1 and text in api.error()
        assert api.inspect(fw, asked, None, 64) == 0
        assert run(api, fw, chunk)[0] == -1 and b"inspector in C answered 3" in api.error()
        answers[0] = -1
        assert run(api, fw, chunk)[0] == -1 and b"inspector in C answered -1" in api.error()
        answers[0] = 0
        assert run(api, fw, chunk)[0] == len(chunk)
        engine.clear()
        assert api.decide(fw, decides, None) == 0
        chunk.time_ns[:] += 10**15
        assert run(api, fw, chunk)[0] == -1 and b"99 is the id of no policy" in api.error()
        assert api.free(fw) == 0
        assert api.decide(fw, decides, None) == api.inspect(fw, asked, None, 64) == -1


class Departure(ctypes.Structure):
    """fwcore_departure."""

    _fields_ = [("packet", ctypes.c_uint64), ("time_ns", ctypes.c_int64),
                ("link", ctypes.c_uint16), ("class_id", ctypes.c_uint16),
                ("fate", ctypes.c_uint8), ("dscp", ctypes.c_uint8), ("pad", ctypes.c_uint8 * 2)]


def test_departures_come_in_order_each_once(api):
    lines = b"""
        departures = true
        links = [{name = "w", rate = "8Mbit"}]
        shapings = [{id = 1, link = "w"}]
    """
    fw = api.new(None, lines)
    assert fw, api.error()
    assert run(api, fw, chunk_of(5))[0] == 5
    assert api.advance(fw, 10**18 + 10**9) == 0
    rows = (Departure * 3)()
    assert api.departures(fw, None, 0) == 0
    assert api.departures(fw, rows, 3) == 3
    assert [row.packet for row in rows] == [1, 2, 3]
    # 60 bytes at 8 Mbit/s are 60 us on the line.
    assert [row.time_ns - 10**18 for row in rows] == [60_000, 120_000, 180_000]
    assert api.departures(fw, rows, 3) == 2 and [row.packet for row in rows[:2]] == [4, 5]
    assert api.departures(fw, rows, 3) == 0 == api.free(fw)
    plain = api.new(None, None)
    assert api.departures(plain, rows, 3) == 0
    assert api.departures(plain, None, 1) == -1 and b"rows is NULL" in api.error()
    assert api.free(plain) == 0


def test_what_settings_cannot_be(api):
    for settings, lines, text in (
            (b"fortios-99", None, b"fortios-99"), (None, b"max_connections = 0", b"max_conn"),
            (None, b"=", b"lines: "), (b"\xff", None, b"utf-8"), (b"none.toml", None, b"none.toml"),
            (None, b"nothing_known = 1", b"nothing_known")):
        assert api.new(settings, lines) == 0
        assert text in api.error()
    assert api.of(3) == 0 and b"an Engine is asked for" in api.error()


def test_a_handle_that_is_none_is_refused(api):
    fw = api.new(None, b"max_connections = 10")
    assert api.free(fw) == 0
    lent = lend(chunk_of(1))
    for wrong in (0, fw, fw + 1, (1 << 64) - 1):
        assert api.free(wrong) == api.load(wrong, ctypes.byref(lent)) == -1
        assert api.run(wrong, None, None, None) == api.advance(wrong, 1) == api.mode(wrong) == -1
        assert api.counters(wrong, None, None, 0) == -1
        assert api.error().startswith(b"%d is no firewall's handle" % wrong)


@pytest.mark.parametrize(("changes", "text"), [
    ({"data": None}, b"NULL"), ({"offset": None}, b"NULL"), ({"time_ns": None}, b"NULL"),
    ({"captured": None}, b"NULL"), ({"length": None}, b"NULL"), ({"link": None}, b"NULL"),
    ({"size": 179}, b"frame 2 .* reaches past the 179 bytes"), ({"size": 0}, b"frame 0"),
    ({"count": 1 << 62}, b"frames are more than"),
])
def test_frames_that_cannot_be_are_not_taken(api, changes, text):
    with Engine(max_connections=10) as engine:
        fw = api.of(engine)
        assert api.load(fw, ctypes.byref(lend(chunk_of(3), **changes))) == -1
        assert re.search(text, api.error()), api.error()
        assert api.load(fw, None) == -1 and b"no chunk" in api.error()
        assert api.run(fw, None, None, None) == 0       # nothing is loaded
        api.free(fw)


def test_times_that_cannot_be(api):
    with Engine(max_connections=10) as engine:
        fw = api.of(engine)
        for at_ns in (-1, (1 << 62) + 1, -1 << 63):
            chunk = chunk_of(2)
            chunk.time_ns[1] = at_ns
            assert api.load(fw, ctypes.byref(lend(chunk))) == -1
            assert b"frame 1: time_ns %d" % at_ns in api.error()
        assert api.load(fw, ctypes.byref(lend(chunk_of(1)))) == 0
        assert api.run(fw, None, None, None) == -1 and b"outcome is NULL" in api.error()
        assert api.run(fw, np.zeros(1, np.uint16).ctypes.data, None, None) == 1
        assert api.run(fw, None, None, None) == 0       # each once
        assert api.advance(fw, -1) == -1
        api.free(fw)


def test_counters_that_are_none(api):
    with Engine(max_connections=10) as engine:
        fw = api.of(engine)
        values = (ctypes.c_int64 * 2)(7, 7)
        for name, text in ((b"packet", b"there is no counter"), (b"sessions", b"is no number"),
                           (b"packets.x", b"there is no counter"), (None, b"is NULL"),
                           (b"\xff", b"utf-8")):
            names = (ctypes.c_char_p * 2)(b"packets", name)
            assert api.counters(fw, names, values, 2) == -1
            assert text in api.error() and list(values) == [7, 7]
        assert api.counters(fw, None, values, 1) == -1
        api.free(fw)


def test_a_firewall_in_use_or_closed_says_so(api):
    """From a function that the engine calls, and after it was closed from Python."""
    engine = Engine(max_connections=10)
    fw, heard = api.of(engine), []
    own = api.new(None, b"max_connections = 10")

    def listen(batch):
        outcome = np.zeros(1, np.uint16)
        chunk = chunk_of(1)
        lent = lend(chunk)
        heard.append((api.load(fw, ctypes.byref(lent)),
                      api.run(fw, outcome.ctypes.data, None, None), api.error()))

    engine.on("new_session", listen)
    assert run(api, fw, chunk_of(1))[0] == 1
    assert heard[0][:2] == (0, -1) and b"by this thread" in heard[0][2]
    engine.close()
    assert run(api, fw, chunk_of(1))[0] == -1 and b"engine is closed" in api.error()
    assert api.free(fw) == 0 == api.free(own)


def test_a_run_within_a_call_changes_nothing_of_that(api):
    """The chunk of the call goes on being judged, and nothing is written beyond one's own frame."""
    outcome, ran = np.full(100, 0xEEEE, np.uint16), []
    with Engine(max_connections=100) as engine:
        fw = api.of(engine)
        mine = lend(chunk_of(1))

        def decide(rows):
            if not ran:
                ran.append((api.load(fw, ctypes.byref(mine)),
                            api.run(fw, outcome.ctypes.data, None, None)))
            return [-2] * len(rows)

        engine.decide(decide)
        rows = engine.process(chunk_of(50))
        assert ran == [(0, -1)] and (outcome == 0xEEEE).all()
        assert len(rows) == engine.counters()["packets"] == 50 and (rows[:, 0] == 3).all()
        assert api.run(fw, outcome.ctypes.data, None, None) == 1    # what was loaded is there still
        assert (outcome[1:] == 0xEEEE).all() and outcome[0] & 0xFF == 3
        assert api.free(fw) == 0


def test_what_fails_is_told_in_its_own_thread(api):
    said = []

    def other():
        said.append(api.error())
        api.free(12345)
        said.append(api.error())

    api.free(54321)
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert said[0] == b"nothing has failed yet" and b"12345" in said[1]
    assert b"54321" in api.error()


# --- the examples ---

CC = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
needs_compiler = pytest.mark.skipif(not shutil.which(CC), reason=f"no C compiler ({CC})")
INCLUDES = [f"-I{fwcore.get_include()}", f"-I{sysconfig.get_path('include')}"]


@needs_compiler
@pytest.mark.parametrize(("example", "says"), [
    ("c_loop", "32768 packets, 0 dropped, 4096 sessions, mode 0\n"),
    ("c_decider", "192 of 256 denied\n")])
def test_the_programs_in_c(tmp_path, example, says):
    where = sysconfig.get_config_var("LIBDIR")
    library = sysconfig.get_config_var("LDLIBRARY") or ""
    if not library.endswith((".so", ".dylib")) or not (Path(where) / library).exists():
        pytest.skip("Python's library is not shared")
    name = library.removeprefix("lib").rsplit(".", 1)[0]
    made = subprocess.run(
        [CC, "-O1", "-Wall", "-Wextra", "-Werror", str(ROOT / f"examples/{example}.c"),
         *INCLUDES,
         f"-L{where}", f"-Wl,-rpath,{where}", f"-l{name}", "-o", str(tmp_path / example)],
        capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    paths = ":".join([str(ROOT), *(path for path in sys.path if "site-packages" in path)])
    done = subprocess.run([str(tmp_path / example)], capture_output=True, text=True, timeout=60,
                          env={"PYTHONPATH": paths, "PYTHONHOME": sys.base_prefix})
    assert (done.stdout, done.stderr) == (says, "")


@needs_compiler
def test_the_loop_in_cython(tmp_path):
    source = ROOT / "examples" / "cython_loop.pyx"
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for command in (
            [sys.executable, "-m", "cython", "-3", "-I", str(ROOT), "-o", str(tmp_path / "made.c"),
             str(source)],
            [CC, "-O1", "-shared", "-fPIC", str(tmp_path / "made.c"), *INCLUDES,
             "-o", str(tmp_path / f"cython_loop{suffix}")]):
        made = subprocess.run(command, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr[-2000:]
    done = subprocess.run(
        [sys.executable, "-c", "import cython_loop; cython_loop.demo()"], capture_output=True,
        text=True, timeout=60, cwd=ROOT, env={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert done.stderr == "" and done.stdout == "1000 frames, 900 dropped, 100 sessions\n"
