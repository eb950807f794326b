"""One user at a time: threads, callbacks and signals come between calls or are told to wait."""

import signal
import threading
import time

import numpy as np
import pytest
from frames import ethernet, ip, udp

from fwcore._fastpath import Use, exclusive, undivided
from fwcore.capture import Chunk
from fwcore.capture.synth import make
from fwcore.engine import Engine
from fwcore.errors import EngineBusy, EngineClosed
from fwcore.settings import load

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
