"""Where do the nanoseconds of a packet go? Read, + parse, + hit, + everything, on one capture."""

from __future__ import annotations

from shared import PACKETS, later

from fwcore._bare import BareLoop, bench_parse
from fwcore.bench.turns import drive, mapped
from fwcore.capture import open_capture


def test_bare(measure, capture, sessions):
    """The yardstick: nothing but key, session and two counters."""
    bare = BareLoop(sessions, mapped(capture))
    bare.run(PACKETS)

    def rewound(_turn):
        bare.rewind(mapped(capture))
        return PACKETS

    assert measure(bare.run, PACKETS, rewound) == PACKETS


def test_read(measure, capture, sessions):
    def read(path):
        with open_capture(path) as reader:
            return sum(len(chunk) for chunk in reader)

    assert measure(read, PACKETS, lambda _turn: str(capture)) == PACKETS


def test_parse(measure, capture, sessions):
    def parse(path):
        with open_capture(path) as reader:
            for chunk in reader:
                bench_parse(chunk)

    measure(parse, PACKETS, lambda _turn: str(capture))


def test_hit(measure, capture, engine, sessions):
    """The fast path alone; chunks are in memory."""
    work = drive(engine)

    def hit(chunks):
        for chunk in chunks:
            work(chunk)

    measure(hit, PACKETS, lambda turn: later(capture, turn))
    assert engine.fastpath.live == sessions


def test_everything(measure, capture, engine, sessions):
    """What the engine adds; it goes on where test_hit has left the clock."""
    def everything(chunks):
        for chunk in chunks:
            engine.process(chunk)

    measure(everything, PACKETS, lambda turn: later(capture, turn + 100))
    assert engine.fastpath.live == sessions
