"""One user at a time: threads, callbacks and signals come between calls or are told to wait."""

import gc
import signal
import threading
import time

import numpy as np
import pytest
from frames import ethernet, ip, udp

from fwcore._fastpath import FastPath
from fwcore._layout import CONFIG_DTYPE, record
from fwcore._shaper import Shaper
from fwcore._use import Use, exclusive, undivided
from fwcore.capture import Chunk
from fwcore.capture.synth import make
from fwcore.engine import Engine
from fwcore.engine_setup import config_of
from fwcore.errors import DataError, EngineBusy, EngineClosed
from fwcore.settings import load
from fwcore.shaping_layout import lay_out

S = 10**9
START = 1_000 * S
SECONDS = 2.0


def dns(port):
    return ethernet(ip("10.0.0.1", "192.0.2.53", 17, udp(port, 53, 20)))


def busy_rounds(engine, calls, chunks):
    """Each call in a thread of its own beside process(), for a while: how many each was let in,
    how often somebody was told that the engine is in use."""
    done = threading.Event()
    let_in, refused, wrong = [0] * len(calls), [0], []
    said = set()

    def keep_calling(which):
        while not done.is_set():
            try:
                calls[which](engine)
                let_in[which] += 1
            except EngineBusy as error:
                said.add(str(error).split(":")[0])
                refused[0] += 1
            except BaseException as error:
                wrong.append(error)
                return

    threads = [threading.Thread(target=keep_calling, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    judged, until = 0, time.monotonic() + SECONDS
    while time.monotonic() < until and not wrong:
        for chunk in chunks:
            try:
                judged += len(engine.process(chunk))
            except EngineBusy:
                refused[0] += 1
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert said <= {"engine is in use by another thread"}
    return let_in, refused[0], judged


def test_many_threads_in_one_engine():
    """Before, this ended in SIGSEGV, a damaged heap, or packets lost with every law green."""
    chunks = list(make("mix", packets=60_000, sessions=500, seed=1))
    counted = [0]

    def judge(engine):
        counted[0] += len(engine.process(chunks[0]))

    with Engine(load("fortios-7", max_connections=400, seed=1)) as engine:
        let_in, refused, judged = busy_rounds(engine, [
            judge, lambda e: e.sessions(), lambda e: e.counters(), lambda e: e.top_hosts(),
            lambda e: e.configure(half_open_limit=100), lambda e: e.clear(), lambda e: e.laws(),
        ], chunks)
        assert refused
        assert judged + counted[0] == engine.counters()["packets"]
        assert sum(let_in) > 0
        engine.check_laws()


def test_closing_beside_a_run():
    chunk = Chunk.from_frames([dns(1)] * 200_000, [START] * 200_000)
    for _ in range(20):
        engine = Engine(max_connections=8)
        thread = threading.Thread(target=engine.process, args=(chunk,))
        thread.start()
        while True:
            try:
                engine.close()
            except EngineBusy:
                continue
            break
        thread.join()
        with pytest.raises(EngineClosed):
            engine.counters()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fastpath_guards_itself():
    """Whoever goes around the engine is told as well."""
    chunk = Chunk.from_frames([dns(1)] * 2_000_000, [START] * 2_000_000)
    outcome = np.zeros(len(chunk), np.uint16)
    with Engine(max_connections=8) as engine:
        engine.process_frames([dns(1)], [START])
        fast = engine.fastpath
        fast.load(chunk, outcome)
        thread = threading.Thread(target=fast.run)
        refused = 0
        thread.start()
        while thread.is_alive():
            try:
                fast.live_sessions()
                fast.gauges()
            except EngineBusy:
                refused += 1
        assert refused
        while not fast.at_end:
            fast.run()
        assert engine.counters()["packets"] == 2_000_001


# --- the shaper, which a fast path has within it ---

WIRE = {"queue_accounting": "bytes", "links": [{"name": "w", "rate": 10**6}],
        "shapings": [{"id": 1, "link": "w"}]}


@pytest.fixture
def plan():
    return lay_out(load("plain", **WIRE).shaping)


def test_the_shaper_of_a_running_engine_is_in_use():
    """Before, another thread worked on what the loop held: a damaged heap."""
    settings = load("plain", max_connections=8, seed=1, **WIRE)
    count = 300_000
    chunk = Chunk.from_frames([dns(1)] * count, [START + i * 1000 for i in range(count)])
    outcome = np.zeros(count, np.uint16)
    with Engine(settings) as engine:
        engine.process_frames([dns(1)], [START])
        fast, refused = engine.fastpath, 0
        fast.load(chunk, outcome)
        thread = threading.Thread(target=fast.run)
        thread.start()
        while thread.is_alive():
            try:
                fast.shaper.advance(START)
                fast.shaper.counters()
            except EngineBusy:
                refused += 1
        assert refused
        while not fast.at_end:
            fast.run()
        engine.check_laws()


CALLS = (
    lambda s: s.begin(0, (1, 2, 4, 6, None, 0, 0, 0)), lambda s: s.end(0),
    lambda s: s.arrive(1, START, 60, 40, None, (1, 2, 4, 6, None, 0, 0, 0), 1),
    lambda s: s.advance(START), lambda s: s.drain(), lambda s: s.clear(), lambda s: s.keep(),
    lambda s: s.departures(), lambda s: s.arrivals(), lambda s: s.digest(),
    lambda s: s.counters(), lambda s: s.open_loop(), lambda s: s.delays_ns(), lambda s: s.laws(),
)


def test_a_shaper_ends_with_its_engine(plan):
    """Before, it went on with pages of an engine whose memory had been given back."""
    with Engine(load("plain", max_connections=8, seed=1, **WIRE)) as engine:
        engine.process_frames([dns(1)] * 9, [START] * 9)
        closed = engine.fastpath.shaper
    engine = Engine(load("plain", max_connections=8, seed=1, **WIRE))
    engine.process_frames([dns(1)] * 9, [START] * 9)
    orphan = engine.fastpath.shaper
    del engine
    gc.collect()
    for shaper in (closed, orphan):
        for call in CALLS:
            with pytest.raises(EngineClosed):
                call(shaper)
        with pytest.raises(EngineClosed):
            Shaper(plan, sessions=8).take_over(shaper, [], [0])
        assert shaper.now_ns >= START


def test_a_shaper_has_one_owner(plan):
    """Before, the first engine's pages went to the second, or to nobody."""
    settings = load("plain", max_connections=8, seed=1, **WIRE)
    with Engine(settings) as one, Engine(settings) as other:
        for shaper, why in ((one.fastpath.shaper, "another fast path's"),
                            (Shaper(plan, sessions=8), "not taken over"),
                            (Shaper(plan), "of 1 sessions")):
            fast = other.fastpath
            if why.startswith("of"):
                fast = FastPath(record(CONFIG_DTYPE, config_of(settings, 1, False)))
            with pytest.raises(DataError, match=why):
                fast.set_shaper(shaper)
        one.fastpath.set_shaper(one.fastpath.shaper)    # which it has
    used = Shaper(plan, sessions=8, accounted=True, free=9)
    for number in range(2):
        used.begin(number, (1, 2, 4, 17, None, 0, 0, 0))
        used.arrive(1, START, 60, 40, number, (1, 2, 4, 17, None, 0, 0, 0), 1)
    with pytest.raises(DataError, match="packets wait in it"):
        FastPath(record(CONFIG_DTYPE, config_of(settings, 1, False))).set_shaper(used)


@pytest.mark.parametrize("meters, links", [
    ([], [1]), ([], [-2]), ([], []), ([], [0, 0]), ([0], [0]), ([], [1 << 40]), ([], [0.0])])
def test_a_shaper_takes_over_what_there_was(plan, meters, links):
    """Before, a number that leads nowhere was gone after."""
    old, new = Shaper(plan, sessions=8), Shaper(plan, sessions=8)
    with pytest.raises((DataError, TypeError)):
        new.take_over(old, meters, links)
    for one in (old, new):      # and nothing changed
        with pytest.raises(DataError):
            one.take_over(one, [], [0])
    new.take_over(old, [], [0])
    with pytest.raises(EngineClosed, match="another took over"):
        old.laws()
    assert all(new.laws().values())
    new.advance(START)
    with pytest.raises(DataError, match="did nothing yet"):
        new.take_over(Shaper(plan, sessions=8), [], [0])


# --- callbacks ---


class Nest:
    """Calls itself from within."""

    def __init__(self):
        self._use = Use()

    @exclusive
    def outer(self, call):
        """Calls what it is given."""
        return call()

    @exclusive
    def inner(self):
        return 5


def test_what_is_called_back_is_told():
    nest = Nest()
    with pytest.raises(EngineBusy, match="in use by this thread"):
        nest.outer(nest.inner)
    assert nest.outer(lambda: 5) == nest.inner() == 5
    assert Nest.outer.__name__ == "outer"
    assert Nest.outer.__doc__ == "Calls what it is given."
    with pytest.raises(ZeroDivisionError):
        nest.outer(lambda: 1 / 0)
    assert nest.inner() == 5
    assert nest._use.close()
    assert not nest._use.close()
    with pytest.raises(EngineClosed):
        nest.inner()


def test_a_use_is_closed_by_nobody_within():
    use = Use()
    with use, pytest.raises(EngineBusy):
        use.close()
    assert use.close()
    assert use.closed
    with pytest.raises(EngineClosed), use:
        pass


# --- signals ---


class Struck(Exception):
    """What the handler of a test raises."""


@pytest.fixture
def strike():
    """Sends SIGALRM to this process after some seconds; its handler raises."""

    def handler(_number, _frame):
        raise Struck

    before = signal.signal(signal.SIGALRM, handler)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM])
def test_a_signal_waits_until_it_is_decided(number):
    steps = []

    def handler(_number, _frame):
        raise Struck

    @undivided
    def decide():
        steps.append("before")
        signal.raise_signal(number)
        inner()
        steps.append("after")

    @undivided
    def inner():
        steps.append("inner")

    before = signal.signal(number, handler)
    try:
        with pytest.raises(Struck):
            decide()
        assert steps == ["before", "inner", "after"]
        with pytest.raises(Struck):
            signal.raise_signal(number)   # and the handler is back
    finally:
        signal.signal(number, before)


def test_a_signal_in_another_thread_of_ours():
    found = []
    thread = threading.Thread(target=undivided(lambda: found.append(1)))
    thread.start()
    thread.join()
    assert found == [1]


def flapping():
    """A FortiOS whose pages go up and down, so that the control plane has much to decide."""
    return load("fortios-7", ram_bytes=4_096_000, base_bytes=0, max_connections=1024, seed=1,
                buckets=64, cache_limit_bytes=0, session_bytes=4096, timeline_interval_s=0.001,
                pressure=[{"at_s": i / 1000, "add_bytes": (-1) ** i * 3_800_000}
                          for i in range(400)])


def test_an_exception_in_the_middle_tells_what_was_judged(strike):
    """Wherever it strikes: what was judged is kept, the rest can follow, the outcome is the same
    as without it."""
    frames = [dns(1 + i % 500) for i in range(20_000)]
    chunk = Chunk.from_frames(frames, [START + i * 20_000 for i in range(20_000)])
    with Engine(flapping()) as whole:
        wanted = whole.process(chunk)
        expected = whole.outcome()
        assert len(whole.transitions) > 100
        struck, notes = 0, set()
    for turn in range(60):
        with Engine(flapping()) as engine:
            rest, parts = chunk, []
            try:    # a busy machine strikes before the call begins
                strike(0.0005 + turn * 0.0007)
                parts.append(engine.process(rest))
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Struck as error:
                struck += 1
                done = engine.judged
                assert len(done) == engine.fastpath.position
                notes.update(getattr(error, "__notes__", ()))
                parts.append(done)
                if len(done) < len(rest):
                    parts.append(engine.process(rest.slice(len(done), len(rest))))
            assert np.array_equal(np.concatenate(parts), wanted)
            assert engine.outcome() == expected
            engine.check_laws()
    assert struck
    assert any("of the 20000 packets of this chunk were judged" in note for note in notes)


def test_a_long_chunk_is_left_early(strike):
    """One call does not keep Ctrl-C waiting for ten million packets."""
    count = 10_000_000
    chunk = Chunk.from_frames([dns(1)], [START])
    chunk = Chunk(chunk.data, *(np.repeat(getattr(chunk, name), count) for name in (
        "offset", "captured", "length", "time_ns", "link")))
    with Engine(max_connections=8) as engine:
        engine.process_frames([dns(1)], [START])
        strike(0.05)
        with pytest.raises(Struck):
            engine.process(chunk)
        assert len(engine.judged) < count
        assert engine.counters()["packets"] == len(engine.judged) + 1
        engine.check_laws()
