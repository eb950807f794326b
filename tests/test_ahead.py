"""Reading ahead in a thread: outcomes, faults, figures and stops are those of one thread."""

import gc
import gzip
import json
import os
import signal
import struct
import threading
import time
import tomllib
from dataclasses import replace as replaced
from pathlib import Path

import numpy as np
import pytest
from frames import ethernet, ip, udp

from fwcore import cli
from fwcore.capture import Chunk, Filter, ahead, open_captures, parse_ahead
from fwcore.capture.ahead import AHEAD, AheadReader
from fwcore.capture.stream import zstd_module
from fwcore.engine import Engine
from fwcore.errors import CaptureError, FrameError, SettingsError
from fwcore.interruption import Interruption
from fwcore.replay import replay
from fwcore.settings import load

PCAPS = Path(__file__).parent.parent / "pcaps"
SHAPING = Path(__file__).parent.parent / "docs" / "shaping"
RUNS = tomllib.loads((PCAPS / "expected.toml").read_text())["run"]
S = 10**9
WEB, CONSERVE = PCAPS / "web.pcap", PCAPS / "conserve.pcap"


@pytest.fixture(autouse=True)
def every_file_is_large(monkeypatch):
    monkeypatch.setattr(ahead, "WORTH_BYTES", 1)
    yield
    assert not running()


def running():
    return [each for each in threading.enumerate() if each.name == "capture-ahead"]


def settings_of(run, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text((PCAPS / run["settings_file"]).read_text() if "settings_file" in run
                    else run["settings"])
    return load(file=file)


def both(source, settings=None, chunk_size=64, **given):
    """The results of one, two and three threads, without how long they took; they are the same."""
    found = []
    for threads in (1, 2, 3):
        result = replay(source, settings, threads=threads, chunk_size=chunk_size, **given)
        body = dict(result.data)
        del body["speed"]
        found.append(body)
    assert found[0] == found[1] == found[2]
    return found[1]


# --- the same to the digest -----------------------------------------------------------------------


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run["file"])
def test_outcomes_do_not_depend_on_threads(run, tmp_path):
    result = replay(PCAPS / run["file"], settings_of(run, tmp_path), threads=2, chunk_size=64)
    assert result["outcome"] == run["outcome"]     # which is that of one thread: test_pcaps.py


@pytest.mark.parametrize("name", ["rows.toml", "tc-htb.toml"])
def test_nor_with_links(name):
    body = both(CONSERVE, load(file=SHAPING / name))
    assert body["shaping"]["links"]


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: zstd_module().compress(data)],
                         ids=["gz", "zst"])
def test_nor_where_a_file_is_compressed(tmp_path, pack):
    path = tmp_path / "a.pcap.packed"
    path.write_bytes(pack(CONSERVE.read_bytes()))
    settings = load(file=PCAPS / "conserve.toml")
    assert both(path, settings)["outcome"] == both(CONSERVE, settings)["outcome"]


@pytest.mark.parametrize("given", [
    {"filter": "tcp port 80 or udp"}, {"loop": 3}, {"limit": 100}, {"timing": "pps:1000"},
    {"focus": "host 10.0.0.5"}])
def test_nor_what_is_asked(given):
    both(WEB, **given)


def test_a_filter_is_asked_beside_the_thread_that_judges(monkeypatch):
    """Of whole chunks; what a limit cut is asked again."""
    asked = []

    def ask(self, chunk):
        asked.append(threading.current_thread().name)
        return really(self, chunk)

    really = Filter.__call__
    monkeypatch.setattr(Filter, "__call__", ask)
    result = replay(WEB, filter="udp", threads=2)
    assert set(asked) == {"capture-ahead"}
    asked.clear()
    replay(WEB, filter="udp", threads=2, limit=result["inputs"][0]["packets"] - 1)
    assert asked.count("capture-ahead") >= 1 and asked.count(threading.current_thread().name) == 1


def test_nor_where_captures_are_merged(tmp_path):
    paths = [str(WEB), str(CONSERVE), str(PCAPS / "one-shot.pcap")]
    results = [replay(paths, merge=True, threads=threads, chunk_size=64) for threads in (1, 2, 4)]
    assert len({result["outcome"] for result in results}) == 1
    assert results[0]["inputs"] == results[1]["inputs"] == results[2]["inputs"]


# --- what was parsed ahead ------------------------------------------------------------------------


def frames_of(count):
    frames = [ethernet(ip("10.0.0.1", "192.0.2.53", 17, udp(port, 53, 20)))
              for port in range(1, count)]
    frames.append(ethernet(ip("10.0.0.1", "192.0.2.53", 17, udp(9, 53, 20), more=True)))
    return Chunk.from_frames(frames, range(S, S + count))


def judged(chunk, parsing=None, shift=0):
    """Sessions, outcomes, flows of a fresh engine; ``parsing``: who parsed ahead, None: itself."""
    with Engine("plain", seed=1, max_connections=64) as engine:
        engine.fastpath.shift = shift
        flow = np.zeros(len(chunk), np.uint64)
        chunk = replaced(chunk, parsed=(parsing or engine.fastpath.parsing()).parse(chunk))
        chunk.data[:] = 0      # from here on a frame is no packet
        outcome = engine.process(chunk, flow)
        return engine.counters()["sessions"]["created"], outcome.tolist(), flow.tolist()


def test_what_was_parsed_is_not_read_again():
    created, outcome, _ = judged(frames_of(20))
    assert created == 19 and outcome[:19] == [outcome[0]] * 19
    assert outcome[19] != outcome[0]       # of a fragment there is more to know: it is read again


@pytest.mark.parametrize("given", [{"seed": 2}, {"zone": "vlan"}, {"short_frames": "cut"},
                                   {"tracker": "linux"}, {}])
def test_nobody_takes_what_another_would_parse_otherwise(given):
    with Engine("plain", **{"seed": 1, "max_connections": 64} | given) as other:
        if not given:
            other.fastpath.shift = 1
        assert judged(frames_of(20), other.fastpath.parsing())[0] == 0


def test_nor_what_is_of_other_frames():
    with Engine("plain", seed=1, max_connections=64) as engine:
        chunk, other = frames_of(20), frames_of(20)
        parsed = engine.fastpath.parsing().parse(other)
        chunk.data[:] = 0
        engine.process(replaced(chunk, parsed=parsed))
        assert engine.counters()["sessions"]["created"] == 0


def test_what_was_parsed_may_end_in_a_circle():
    with Engine(load("plain", max_connections=64)) as engine:
        parsing = engine.fastpath.parsing()
        for _ in range(3):
            circle = [parsing.parse(frames_of(3))]
            circle.append(circle)
            del circle
            gc.collect()
        assert parsing.parse(frames_of(3)) is not None
    with pytest.raises(FrameError, match=r"FastPath\.parsing\(\)"):
        type(parsing)().parse(frames_of(1))


def test_frames_that_lie_nowhere_are_none():
    with Engine("plain", seed=1, max_connections=64) as engine:
        chunk = frames_of(20)
        chunk.offset[5], chunk.captured[6] = 1 << 60, 0xFFFFFFFF
        engine.fastpath.parsing().parse(chunk)
        with pytest.raises(FrameError, match="differ in length"):
            engine.fastpath.parsing().parse(replaced(chunk, length=chunk.length[1:]))
        with pytest.raises(FrameError):
            engine.fastpath.parsing().parse(replaced(chunk, length=chunk.length.astype(float)))


# --- faults ---------------------------------------------------------------------------------------


def damaged(tmp_path):
    """web.pcap with a record in its middle that claims to be longer than any packet; its number."""
    data, at, before = bytearray(WEB.read_bytes()), 24, 0
    while at < len(data) // 2:
        at += 16 + struct.unpack_from("<I", data, at + 8)[0]
        before += 1
    struct.pack_into("<I", data, at + 8, 0xFFFFFFF)
    path = tmp_path / "damaged.pcap"
    path.write_bytes(data)
    return path, before


def test_a_fault_in_mid_file_comes_after_all_that_is_before_it(tmp_path):
    path, before = damaged(tmp_path)
    body = both(path, chunk_size=7)
    assert body["packets"] == body["inputs"][0]["fault"]["packet"] == before


def test_a_fault_beyond_the_limit_was_not_met(tmp_path):
    path, before = damaged(tmp_path)
    body = both(path, chunk_size=7, limit=before - 10)
    assert body["inputs"][0]["fault"] is None
    assert body["inputs"][0]["packets"] == before - 10


def test_an_error_of_the_reader_comes_in_its_turn():
    class Failing:
        path = reader = format = "failing"
        packets = size_bytes = position_bytes = 0
        fault = None

        def __iter__(self):
            with open_captures([str(WEB)], chunk_size=50) as reader:
                yield from list(reader)[:2]
            raise MemoryError("no more")

        def close(self):
            pass

    with AheadReader(Failing()) as reader:
        chunks = iter(reader)
        assert [len(next(chunks)) for _ in range(2)] == [50, 50]
        with pytest.raises(MemoryError, match="no more"):
            next(chunks)


# --- figures, ends and stops ----------------------------------------------------------------------


def test_figures_are_those_of_the_chunk_that_was_taken():
    with open_captures([str(WEB)], chunk_size=10, threads=2) as reader:
        seen = 0
        for chunk in reader:
            seen += len(chunk)
            assert reader.packets == seen
            assert reader.position_bytes <= WEB.stat().st_size
        assert reader.position_bytes == reader.size_bytes == WEB.stat().st_size


def test_it_is_never_further_ahead_than_its_turns():
    with open_captures([str(WEB)], chunk_size=10, threads=2) as reader:
        chunks = iter(reader)
        next(chunks)
        inner = reader.parts[0].inner
        end = time.monotonic() + 10
        while inner.packets < 10 * (AHEAD + 1) and time.monotonic() < end:
            os.sched_yield()
        assert inner.packets == 10 * (AHEAD + 1)
        assert [row.packets for row in reader.parts] == [10]
        chunks.close()


def test_a_capture_is_read_again_as_often_as_wanted():
    with open_captures([str(WEB)], chunk_size=10, threads=2) as reader:
        part = reader.parts[0]
        assert isinstance(part, AheadReader)
        next(iter(part))
        counts = [sum(map(len, part)) for _ in range(3)]
    assert counts == [241] * 3


def test_stopped_by_who_looks_on():
    seen = []

    def stop(packets, done, total):
        seen.append((packets, done, total))
        return len(seen) == 2

    results = []
    for threads in (1, 2):
        seen.clear()
        results.append(replay(WEB, threads=threads, chunk_size=50, progress=stop))
        results[-1].data["speed"] = list(seen)
    assert results[0].data == results[1].data
    assert results[1]["interrupted"] and results[1]["packets"] == 100
    assert [row["packets"] for row in results[1]["inputs"]] == [100]


def test_an_interrupt_ends_both(monkeypatch):
    """The signal comes while chunks wait: those judged count, the others are nobody's."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    seen = []

    def strike(packets, done, total):
        seen.append(packets)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)

    try:
        with Interruption() as interruption:
            result = replay(WEB, threads=2, chunk_size=20, progress=strike,
                            interruption=interruption)
    finally:
        signal.signal(signal.SIGINT, before)
    assert result["interrupted_by"] == "SIGINT" and result.exit_code == 130
    assert result["packets"] == seen[-1] == 60
    assert result["outcome"] == replay(WEB, limit=60)["outcome"]
    assert not running()


def test_an_interrupt_ends_the_wait_for_a_chunk():
    """Nothing comes from this reader: who waits for it hears the signal, and so does the thread."""
    free = threading.Event()

    class Silent:
        path = reader = format = "silent"
        packets = size_bytes = position_bytes = 0
        fault = None

        def __iter__(self):
            waiting.set()
            free.wait(10)
            return iter(())

        def close(self):
            pass

    waiting = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: (free.set(), 1 / 0))
    main = threading.main_thread().ident
    threading.Thread(target=lambda: (
        waiting.wait(10), signal.pthread_kill(main, signal.SIGUSR1)), daemon=True).start()
    try:
        with pytest.raises(ZeroDivisionError), AheadReader(Silent()) as reader:
            list(reader)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("how", ["closed", "begun anew"])
def test_who_reads_on_where_another_stopped_it_is_told(threads, how):
    with open_captures([str(WEB)], chunk_size=10, threads=threads) as reader:
        chunks, others = iter(reader), iter(reader)
        next(chunks)
        if how == "closed":
            reader.close()
        else:
            next(others)
        with pytest.raises(CaptureError, match="closed, or begun anew, while it was being read"):
            list(chunks)
        assert list(chunks) == []
        if how == "begun anew":
            del chunks       # and who began anew is none the worse
            assert sum(map(len, others)) == 231


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_no_thread_to_wait_for():
    with open_captures([str(WEB)], chunk_size=10, threads=2) as reader:
        chunks = iter(reader)
        next(chunks)
        child = os.fork()
        if not child:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)      # one that waits for ever is ended
            code = 1
            try:
                list(chunks)
            except CaptureError:
                code = 0 if sum(map(len, reader)) == 241 else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert sum(map(len, chunks)) == 231


def test_where_no_thread_can_start_the_caller_reads(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    alone = replay(WEB, threads=1, chunk_size=10, filter="udp")
    monkeypatch.setattr(threading.Thread, "start", start)
    beside = replay(WEB, threads=2, chunk_size=10, filter="udp")
    assert beside["outcome"] == alone["outcome"] and beside["inputs"] == alone["inputs"]
    with open_captures([str(WEB)], chunk_size=10, threads=2) as reader:
        chunks, seen = iter(reader), 0
        for chunk in chunks:
            seen += len(chunk)
            assert reader.packets == seen
            if seen == 100:
                reader.close()
                break
        with pytest.raises(CaptureError, match="closed"):
            next(chunks)


class Slow:
    """A reader whose second chunk takes until it is let go."""

    path = reader = format = "slow"
    packets = size_bytes = position_bytes = 0
    fault = None

    def __init__(self):
        self.waits, self.free, self.closed = threading.Event(), threading.Event(), False

    def __iter__(self):
        yield frames_of(2)
        self.waits.set()
        self.free.wait(10)
        yield frames_of(2)

    def close(self):
        self.closed = True


def test_a_signal_while_it_ends_comes_behind_the_end():
    """The thread is waited for nevertheless, and what the handler raised is the caller's."""
    slow, handled = Slow(), threading.Event()

    def strike():
        for _ in range(2):
            handled.clear()
            signal.pthread_kill(main, signal.SIGUSR1)
            handled.wait(10)
        slow.free.set()

    main = threading.main_thread().ident
    before = signal.signal(signal.SIGUSR1, lambda *_: (handled.set(), 1 / 0))
    reader = AheadReader(slow)
    chunks = iter(reader)
    next(chunks)
    assert slow.waits.wait(10)
    striker = threading.Timer(0.05, strike)
    striker.start()
    try:
        with pytest.raises(ZeroDivisionError):
            reader.close()
        assert not running() and slow.closed
    finally:
        slow.free.set()
        striker.join()
        signal.signal(signal.SIGUSR1, before)


def test_who_drops_an_iteration_waits_for_nothing():
    """So no signal can come there; the thread ends by itself, and ``close`` sees to it."""
    slow = Slow()
    with AheadReader(slow) as reader:
        chunks = iter(reader)
        next(chunks)
        assert slow.waits.wait(10)
        del chunks
        assert running() and not slow.free.is_set()
        slow.free.set()
        end = time.monotonic() + 10
        while running() and time.monotonic() < end:
            os.sched_yield()
        assert not running()


# --- when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("processors", "core_of", "many"), [
    ({0}, "{0}", False), ({0, 1}, "{0}", True), ({0, 1}, "0-1", False), ({1, 3}, "1,3", False),
    ({0, 1, 2, 3}, "{0}", True)])
def test_two_where_there_are_two_cores(monkeypatch, tmp_path, processors, core_of, many, packed):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: processors, raising=False)
    monkeypatch.setattr(ahead, "siblings", core_of.format)
    path = tmp_path / "a.pcap"
    path.write_bytes((gzip.compress if packed else bytes)(WEB.read_bytes()))
    with open_captures([str(path)], threads=None) as reader:
        assert isinstance(reader.parts[0], AheadReader) == many


def test_a_processor_that_nothing_is_known_of_is_a_core():
    assert ahead.siblings(10**6) == str(10**6)
    assert ahead.siblings(0)


@pytest.mark.parametrize("packed", [False, True])
def test_who_decompresses_does_not_parse_too(tmp_path, packed):
    path = tmp_path / "a.pcap"
    path.write_bytes((gzip.compress if packed else bytes)(WEB.read_bytes()))
    with Engine("plain") as engine, open_captures([str(path)], threads=2) as reader:
        parse_ahead(reader, engine.fastpath.parsing())
        assert [chunk.parsed is None for chunk in reader] == [packed]


def test_small_files_and_pipes_are_read_in_turn(monkeypatch, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(WEB.read_bytes()))
    writer.start()
    with open_captures([str(fifo)], threads=2) as reader:
        assert not isinstance(reader.parts[0], AheadReader)
        assert sum(map(len, reader)) == 241
    writer.join()
    monkeypatch.setattr(ahead, "WORTH_BYTES", 1 << 20)
    with open_captures([str(WEB)], threads=2) as reader:
        assert not isinstance(reader.parts[0], AheadReader)


def test_the_option(capsys):
    found = []
    for threads in ("1", "2"):
        assert cli.main(["replay", str(WEB), "--quiet", "--json", "-", "--threads", threads]) == 0
        found.append(json.loads(capsys.readouterr().out)["outcome"])
    assert found[0] == found[1]
    assert cli.main(["replay", str(WEB), "--threads", "0"]) == 2


@pytest.mark.parametrize("threads", [0, -1, 65, 1 << 64])
def test_threads_that_cannot_be(threads):
    with pytest.raises(SettingsError, match=f"threads {threads}: 1, .* to 64"):
        replay(WEB, threads=threads)


@pytest.mark.parametrize("threads", [0, -1, 65, 1.5, True, "2"])
def test_nor_where_captures_are_opened(threads):
    with pytest.raises(CaptureError, match="threads"):
        open_captures([str(WEB)], threads=threads)
    with pytest.raises(SettingsError, match="threads"):
        replay(WEB, threads=threads)
