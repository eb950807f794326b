"""One course through the captures, judged under several settings side by side.

    main thread   chunk -> all hands, and waits for them        the next chunk -> ...
    hand, each    its run: judge, count, tell who listens

Laws: a run is with one hand at a time, and all have a chunk behind them before any has the next:
what it finds is what it would find alone. Signals are for the main thread, and come between chunks.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Self, TypeVar

from fwcore.capture import READ_SIZE, Chunk
from fwcore.capture.ahead import WAIT_S, cores
from fwcore.engine import Engine
from fwcore.engine_setup import settings_of
from fwcore.interruption import Interruption, block_signals
from fwcore.replay.feed import Feed, Progress
from fwcore.replay.judged import Seen
from fwcore.replay.run import Ended, Flows, Run, begin_turn, by_the_clock, check, check_kinds
from fwcore.replay.selection import Selection
from fwcore.replay.sinks import Sinks
from fwcore.replay.sources import opener_of
from fwcore.replay.timing import Timing
from fwcore.replay.turns import Turns
from fwcore.result import Result
from fwcore.settings import Settings

Made = TypeVar("Made")


def side_by_side(threads: int | None) -> int:
    """How many runs are worth judging at once; None: a core each."""
    return cores() if threads is None else threads


def replay_beside(
    source: Any,
    settings: Sequence[Settings | str | os.PathLike[str] | None],
    *,
    flows: Sequence[Flows],
    ended: Sequence[Ended],
    seen: Callable[[Seen], Any] | None = None,
    timing: str | None = None,
    loop: int = 1,
    limit: int | None = None,
    reader: str = "native",
    filter: str | None = None,  # noqa: A002 - the option's name
    merge: bool = False,
    chunk_size: int = READ_SIZE,
    threads: int | None = None,
    progress: Progress | None = None,
    interruption: Interruption | None = None,
) -> list[Result]:
    """Replays captures under several settings, each in a thread of its own; options as in `replay`.

    ``flows`` and ``ended``: who is told of each run, in its thread; ``seen``: who may look at
    packets in the caller's meanwhile, where there is one. Each result is that of a replay
    under its settings alone; all engines stand at once. Raises as `replay`.
    """
    check_kinds({"timing": timing, "filter": filter, "reader": reader}, {}, {"merge": merge},
                {"progress": progress, "seen": seen}, interruption)
    check(source, loop, limit, chunk_size, threads, {})
    begin = time.perf_counter_ns()
    selection = Selection(filter)
    opener = opener_of(source, reader, chunk_size, merge, threads, selection.filter)
    each = [by_the_clock(settings_of(one, {}), source, opener) for one in settings]
    feed = Feed(Turns(opener, loop, limit), Timing.parse(timing), selection,
                interruption or Interruption(), None, progress)
    with closing(feed.open()), Hands(len(each)) as hands:
        engines = hands.do([partial(Engine, one, log="victims") for one in each])
        runs = [Run(engine, feed, Sinks(), flows=told, ended=gone)
                for engine, told, gone in zip(engines, flows, ended, strict=True)]
        feed.turns.begins = partial(begin_turn, engines)

        def judge(chunk: Chunk) -> None:
            look = None
            if seen is not None and len(chunk):
                look = partial(seen, Seen(chunk, first=feed.packets + 1, numbers=selection.numbers,
                                          shift=engines[0].fastpath.shift))
            hands.do([partial(run.judge, chunk) for run in runs], look)

        feed.through(judge)
        hands.do([run.finish for run in runs])
        return hands.do([partial(run.result, begin) for run in runs])


class _Job:
    """A thing to do, and what came of it."""

    def __init__(self, what: Callable[[], Any]) -> None:
        self._what = what
        self.made: Any = None
        self.error: BaseException | None = None
        self.ended = False

    def do(self) -> None:
        """Does it, once: a signal may have it given twice."""
        if self.ended:
            return
        try:
            self.made = self._what()
        except BaseException as error:  # whatever it is, it is the caller's
            self.error = error
        finally:                         # also where a second signal comes between
            self.ended = True


class Hands:
    """So many threads, each of which does one thing at a time; one alone is the caller's own."""

    def __init__(self, many: int) -> None:
        self._asked: list[SimpleQueue[_Job | None]] = []
        self._woken: SimpleQueue[None] = SimpleQueue()
        self._many = many if many > 1 else 0

    def __enter__(self) -> Self:
        for number in range(self._many):
            asked: SimpleQueue[_Job | None] = SimpleQueue()
            thread = threading.Thread(
                target=self._work, args=(asked,), name=f"replay-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError:     # the limit of processes: the caller does the rest
                break
            self._asked.append(asked)
        return self

    def __exit__(self, *exception: object) -> None:
        for asked in self._asked:
            asked.put(None)

    def do(
        self, what: Sequence[Callable[[], Made]], meanwhile: Callable[[], Any] | None = None,
    ) -> list[Made]:
        """What each of them gives, in their order, when all are through; raises what a signal
        raised meanwhile, or else the first error of theirs. ``meanwhile`` is the caller's part of
        the work, left out where it has another."""
        jobs = [_Job(each) for each in what]
        alone = jobs[len(self._asked):]
        meant = [] if meanwhile is None or alone else [meanwhile]
        raised: BaseException | None = None
        given = 0
        while True:
            try:
                while given < len(jobs) - len(alone):
                    self._asked[given].put(jobs[given])
                    given += 1
                while meant:
                    meant.pop()()
                for job in alone:
                    job.do()
                while not all(job.ended for job in jobs):
                    with suppress(Empty):
                        self._woken.get(timeout=WAIT_S)
                break
            except BaseException as error:  # the jobs end first: their run goes on behind them
                raised = error
        for problem in (raised, *(job.error for job in jobs)):
            if problem is not None:
                raise problem
        return [job.made for job in jobs]

    def _work(self, asked: SimpleQueue[_Job | None]) -> None:
        """A thread, until there is no more to do; signals are for the main one."""
        block_signals()
        while (job := asked.get()) is not None:
            job.do()
            self._woken.put(None)
            del job     # and what it holds, while the next is waited for
