"""One live run: a bump in the wire between two interfaces, a look at one, a queue of the kernel.

Laws: every frame that arrived is taken, lost by the kernel or faulty; every frame taken was judged,
and was sent, withheld, or not sent for a reason that is counted (``accounted``). Time is the wall
clock of the start and what has passed since, so that setting the clock moves nothing.
"""

from __future__ import annotations

import queue
import signal
import socket
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any, Protocol, runtime_checkable

import numpy as np

from fwcore._rings import BATCH, COUNTERS, ERROR, Interface, Rings
from fwcore.capture import Chunk
from fwcore.counters import counters, refused
from fwcore.engine import Engine
from fwcore.engine_setup import FIXED
from fwcore.errors import FwcoreError, LiveError
from fwcore.hits import Hits
from fwcore.interruption import Interrupted, Interruption
from fwcore.live.leaving import Leaving
from fwcore.live.memory import HostMemory
from fwcore.live.nfqueue import Queue
from fwcore.replay import result_body
from fwcore.result import Result
from fwcore.settings import Settings, load, named

SECOND_NS = 10**9
TICK_NS = SECOND_NS             # between two looks of those who watch
PAUSE_NS = 100_000_000          # the longest wait for a frame
# Time without frames is let pass this far behind the clock: a frame stands in its block for some
# milliseconds before it is seen, and shall not come out older than what has passed.
BEHIND_NS = 50_000_000
DRAIN_S = 1.0                   # the longest wait for what has arrived when a run ends
UNSENT = ("full", "too_long", "down", "refused")
NOTHING = np.zeros((0, 2), np.uint8)
# Hit flows of which it is remembered who began them: 8 MB, in a run that may go on for days.
BEGUN_FLOWS = 1 << 18


class Watcher(Protocol):
    """Who is told, once a second, in the thread of the loop: it must not wait for anybody."""

    def tick(self, figures: dict[str, Any], events: list[dict[str, Any]]) -> None:
        """``figures`` as ``Live.figures`` gives them; ``events`` since the last tick."""

    def close(self) -> None:
        """The run is over."""


@runtime_checkable
class Sender(Protocol):
    """A watcher that tells others, who may not be there; ``option``: by which it was asked for."""

    option: str
    lost: int


def live(
    interfaces: Sequence[str],
    settings: Settings | None = None,
    *,
    queue_number: int | None = None,
    memory: str = "script",
    seconds: float | None = None,
    ring_bytes: int = 32 << 20,
    at_once: bool = False,
    watchers: Callable[[Live], Iterable[Watcher]] = lambda _: (),
    interruption: Interruption | None = None,
    say: Callable[[str], Any] = lambda _: None,
    quiet: bool = False,
    ours: Callable[[], object] = lambda: None,
) -> Result:
    """Judges what passes between two interfaces, or what one sees, until a signal or the time.

    ``interfaces``: inside and outside, or the one that is only read; none with ``queue_number``,
    a queue of the kernel (NFQUEUE) whose packets are judged where they pass. ``memory``: "script",
    or "host": the appliance's memory follows this machine's. ``watchers``: makes those who are told
    what happens. ``at_once``: less delay for a smaller ring, see ``Rings``. ``say``: takes lines
    about interfaces; ``quiet``: of what goes wrong only. ``ours`` is called once no other run has
    these interfaces, before any frame is taken. Returns a Result like a replay's with ``live``
    beside it. Raises LiveError, SettingsError before the first frame.
    """
    run = Live(interfaces, load() if settings is None else settings, memory=memory,
               ring_bytes=ring_bytes, at_once=at_once, say=say,
               interruption=interruption, queue_number=queue_number, quiet=quiet, ours=ours)
    try:
        run.watchers = list(watchers(run))
        run.run(seconds)
        return run.result()
    finally:
        run.close()


class Live:
    """A live run under way."""

    def __init__(
        self, interfaces: Sequence[str], settings: Settings, *, memory: str = "script",
        ring_bytes: int = 32 << 20, at_once: bool = False,
        say: Callable[[str], Any] = lambda _: None,
        interruption: Interruption | None = None, queue_number: int | None = None,
        quiet: bool = False, ours: Callable[[], object] = lambda: None,
    ) -> None:
        if memory not in ("script", "host"):
            raise LiveError(f"memory {memory!r}: allowed: script, host")
        self.say = say
        self.host = HostMemory() if memory == "host" else None
        if self.host is not None:
            settings = self.host.settings(settings)
        self._host_lost = False         # it was said that the machine cannot be read
        self.interruption = interruption or Interruption()
        self.rings: Rings | Queue
        self._claims = _claimed(interfaces) if len(interfaces) == 2 else {}
        self._unclaim = weakref.finalize(self, _closed, self._claims)
        # What is only read goes nowhere: there links are reckoned, and nothing waits.
        self._passes_on = queue_number is not None or len(interfaces) == 2
        shapes = settings.shaping.changes_frames and self._passes_on
        with ExitStack() as undone:     # what a run that cannot begin gives back at once
            undone.callback(self._unclaim)
            ours()
            if queue_number is None:
                self.rings = Rings(interfaces, ring_bytes=ring_bytes, at_once=at_once)
                self._kind = "AF_PACKET, " + ("TPACKET_V2" if at_once else "TPACKET_V3")
            elif interfaces:
                raise LiveError("a queue stands alone: without interfaces")
            else:
                self.rings, self._kind = Queue(queue_number), "NFQUEUE"
            undone.callback(self.rings.close)
            self.engine = Engine(settings, log="victims", departures=shapes, arrivals=shapes)
            undone.callback(self.engine.close)
            for text in () if quiet else self._peculiar():
                say(text)
            undone.pop_all()
        self.leaving = Leaving(self.engine) if shapes else None
        self.watchers: list[Watcher] = []
        self.hits = Hits(self.engine.policies, vlan_zone=settings.zone == "vlan",
                         flows_max=BEGUN_FLOWS)
        self._judged = 0
        self.states = dict.fromkeys(self.rings.names, "up")
        self.interrupted_by = ""
        self._asked: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._told = 0                 # events that those who watch have been told
        self._begin_ns = self._tick_ns = time.monotonic_ns()
        self._process_ns = self._longest_ns = 0
        self._first_ns: int | None = None
        self._last = (self._begin_ns, 0, 0, 0)

    def _peculiar(self) -> Iterable[str]:
        """What is not wrong, and surprises who does not know of it: offloads, MTUs that differ."""
        if self.host is not None and self.host.limits_hidden:
            yield ("--memory host: nothing is mounted in /sys/fs/cgroup here (ip netns exec hides"
                   " it, nsenter --net does not): no limit of a cgroup is seen, RAM is the"
                   " machine's")
        names = self.rings.names if isinstance(self.rings, Rings) else ()
        sides = [Interface(name) for name in names]
        for side in sides:
            if side.offloads:
                yield (f"{side.name}: {', '.join(side.offloads)}: what a card or the kernel has put"
                       " together is judged as one packet of up to 64 KiB, and passes as it is"
                       " (ethtool -K)")
        if len({side.mtu for side in sides}) > 1:
            told = ", ".join(f"{side.name} {side.mtu}" for side in sides)
            yield (f"MTU of {told}: a bump in the wire sends no ICMP; a frame that is longer than"
                   " the other side's is not sent, and counted in too_long (ip link set ... mtu)")

    # --- the loop ---

    def run(self, seconds: float | None = None) -> None:
        """Until a signal, or for so long; then what has arrived is still judged."""
        end_ns = None if seconds is None else self._begin_ns + int(seconds * SECOND_NS)
        try:
            self._look()
            # Time begins with the run: machines, pressure and leaks do not wait for a frame.
            self.engine.begin(max(0, self.rings.now_ns - BEHIND_NS))
            while end_ns is None or time.monotonic_ns() < end_ns:
                self._turn(end_ns)
        except KeyboardInterrupt as error:
            number = error.number if isinstance(error, Interrupted) else signal.SIGINT
            self.interrupted_by = signal.Signals(number).name
        self._drain()
        self.engine.fastpath.sample()     # the timeline reaches to the end
        self._tick()

    def _turn(self, end_ns: int | None) -> None:
        count = self.rings.take()
        if count:
            self._judge(count)
            if self.interruption.number:
                raise Interrupted(self.interruption.number)
        else:
            self._rest(end_ns)
        if not self._asked.empty():
            self._answer()
        if time.monotonic_ns() >= self._tick_ns:
            self._tick()

    def _rest(self, end_ns: int | None) -> None:
        """Nothing has arrived: time passes, what is due leaves, and the next frame, release or
        request is waited for."""
        self._pass()
        now = time.monotonic_ns()
        pause = min(PAUSE_NS, self._tick_ns - now, self._release_in_ns(),
                    *(() if end_ns is None else (end_ns - now,)))
        with self.interruption.waiting():
            found = self.rings.wait(pause)
        if found & ERROR:
            self._look()

    def _pass(self) -> None:
        """Time passes without a frame."""
        if self.leaving is None:
            self.engine.advance(max(0, self.rings.now_ns - BEHIND_NS))
            return
        self.engine.advance(self.rings.now_ns)
        self.rings.leave(*self.leaving.take(NOTHING))

    def _release_in_ns(self) -> int:
        """How long until something leaves a link, as far as is known now."""
        at_ns = None if self.leaving is None else self.leaving.next_ns
        return PAUSE_NS if at_ns is None else max(0, at_ns - self.rings.now_ns)

    def _judge(self, count: int) -> None:
        """A batch, from ring to ring."""
        rings, times = self.rings, self.rings.time_ns[:count]
        if self.leaving is not None:    # releases have gone on to now: a frame comes no earlier
            times = np.maximum(times, self.engine.fastpath.now_ns)
        chunk = Chunk(rings.data, rings.offset[:count], rings.captured[:count],
                      rings.length[:count], times, rings.link[:count])
        reply, flow = np.zeros(count, dtype=np.uint8), np.zeros(count, dtype=np.uint64)
        number = np.arange(self._judged + 1, self._judged + count + 1, dtype=np.uint64)
        self._judged += count
        begin = time.perf_counter_ns()
        outcome = self.engine.process(chunk, flow, reply)
        self.hits.follow(self.engine)
        # Before they are sent: then the frames are the kernel's again.
        self.hits.add(chunk, outcome[:, 0], reply, flow, number)
        if self.leaving is None:
            rings.send(outcome)
        else:
            rings.leave(*self.leaving.take(outcome))
        spent = time.perf_counter_ns() - begin
        self._process_ns += spent
        self._longest_ns = max(self._longest_ns, spent)
        if self._first_ns is None:
            self._first_ns = int(chunk.time_ns[0])

    def _drain(self) -> None:
        """What has arrived is judged and sent, what waits leaves as far as there is time for it;
        nothing more arrives."""
        held = isinstance(self.rings, Queue)      # by the kernel, which drops them when let go
        if held and self.leaving is not None:
            self._run_out(waits=True)
            self.rings.forsake()
        self.rings.deafen()
        self._run_out(waits=not held)
        self.rings.forsake()
        self._answer()

    def _run_out(self, *, waits: bool) -> None:
        """Until nothing comes and, with ``waits``, nothing waits; at most for a while."""
        end = time.monotonic() + DRAIN_S
        while time.monotonic() < end:
            count = self.rings.take()
            if count:
                self._judge(count)
                continue
            if self.leaving is not None:
                self._pass()
            if self.accounted() and not (waits and self.rings.waiting):
                break
            self.rings.wait(min(2_000_000, self._release_in_ns()))

    def accounted(self) -> bool:
        """Whether every frame that arrived has its one fate; see the laws above."""
        rows = self.rings.counters().values()
        total = {name: sum(row[name] for row in rows) for name in COUNTERS}
        judged = self.engine.fastpath.counters()["packets"]
        return (total["arrived"] == total["taken"] + total["lost"] + total["faulty"]
                and total["taken"] == judged == total["sent"] + total["withheld"] + total["cut"]
                + sum(total[name] for name in UNSENT) + self.rings.waiting)

    # --- interfaces ---

    def _look(self) -> None:
        """What became of the interfaces; one that came back is taken up again, and one that was
        renamed is followed."""
        before = dict(self.rings.bound)
        for name, state in self.rings.heal().items():
            (index, called), (number, now) = before[name], self.rings.bound[name]
            what = []
            if index != number and self.states[name] != "gone":
                what.append(f"{called} went away, and another {now} is taken up")
            elif index == number and called != now:
                what.append(f"{called} was renamed {now}, and is followed")
                self._claim_also(now)
            if state != self.states[name]:
                self.states[name] = state
                what.append(f"{name} is {state}" + ("" if state == "up" else "; waiting for it"))
            if what:
                self.say("; ".join(what))

    def _claim_also(self, name: str) -> None:
        if not self._claims or name in self._claims:    # it is only read; it has its name again
            return
        try:
            self._claims |= _claimed([name])
        except LiveError as error:      # another run waits for an interface of this name
            self.say(str(error))

    # --- those who watch, and those who ask ---

    def ask(self, do: Callable[[], Any], timeout_s: float = 10) -> Any:
        """Runs ``do`` in the loop, between two batches; from any thread. Raises what it raises,
        and LiveError where the time is over before it has begun, and it never will."""
        answer: Future[Any] = Future()
        self._asked.put((do, answer))
        self.rings.wake()
        try:
            return answer.result(timeout_s)
        except TimeoutError:
            if answer.cancel():
                raise LiveError(f"not done, and will not be: the loop had no time for it within"
                                f" {timeout_s:g} s") from None
            if not answer.done():
                raise LiveError(f"begun, and not done within {timeout_s:g} s: it goes on") from None
            return answer.result()

    def _answer(self) -> None:
        while not self._asked.empty():
            do, answer = self._asked.get_nowait()
            if not answer.set_running_or_notify_cancel():
                continue                # nobody waits for it any more: it was said to be undone
            try:
                answer.set_result(do())
            except Exception as error:
                answer.set_exception(error)

    def _tick(self) -> None:
        self._tick_ns = max(self._tick_ns + TICK_NS, time.monotonic_ns())
        self._look()
        if self.host is not None:
            self._follow(self.host)
        for rows in self.engine.collect_ended():
            self.hits.take(rows)
        events = self._new_events()
        if self.watchers:
            figures = self.figures()
            for watcher in self.watchers:
                try:
                    watcher.tick(figures, events)
                except FwcoreError as error:
                    self.say(str(error))

    def _follow(self, host: HostMemory) -> None:
        """The appliance's memory goes with the machine's; what cannot be read any more is said
        once, and stays as it was last known."""
        try:
            host.follow(self.engine)
        except LiveError as error:
            if not self._host_lost:
                self.say(f"{error}: memory stays as it was last known")
            self._host_lost = True
        else:
            if self._host_lost:
                self.say("memory of the machine can be read again, and is followed")
            self._host_lost = False

    def _new_events(self) -> list[dict[str, Any]]:
        """Events since the last call, in the result's form."""
        log = self.engine.events
        new = len(log) + log.forgotten - self._told
        self._told += new
        if not new or not len(log):
            return []
        return self.engine.event_rows()[-new:]

    def figures(self) -> dict[str, Any]:
        """Every counter of the engine as now, the interfaces', rates and delays; plain values."""
        now = time.monotonic_ns()
        body, raw = counters(self.engine), self.engine.fastpath.counters()
        shaper = self.engine.fastpath.shaper
        delays = {} if shaper is None else dict(
            zip(body["shaping"]["classes"], shaper.delays_ns(), strict=True))
        body["sessions"]["half_open"] = raw["half_open"]
        body["victims_forgotten"] = max(0, raw["victims"] - self.engine.settings.victims_max)
        body["refused"] = refused(body["reasons"])
        then, packets, size, created = self._last
        past = max(1, now - then) / SECOND_NS
        self._last = (now, body["packets"], body["bytes"], body["sessions"]["created"])
        return body | {
            "time_ns": time.time_ns(), "up_s": (now - self._begin_ns) / SECOND_NS,
            "personality": self.engine.settings.personality,
            "mode": self.engine.mode, "label": self.engine.label,
            "mode_seconds": {name: ns / SECOND_NS
                             for name, ns in self.engine.mode_times_ns().items()},
            "thresholds": self.engine.thresholds,
            "interfaces": self.interfaces(), "delay": self.delay(), "waiting": self.rings.waiting,
            "class_delays_ns": delays,
            "rates": {"packets": (body["packets"] - packets) / past,
                      "bits": (body["bytes"] - size) * 8 / past,
                      "sessions": (body["sessions"]["created"] - created) / past},
            "host": self.host.figures if self.host is not None else {},
            "messages_lost": {each.option.removeprefix("--"): each.lost
                              for each in self.watchers if isinstance(each, Sender)},
        }

    def interfaces(self) -> dict[str, dict[str, Any]]:
        """Counters and state by interface."""
        return {name: {"state": self.states[name], **row}
                for name, row in self.rings.counters().items()}

    def delay(self) -> dict[str, int]:
        """How long frames were here, from arrival to sent: p50_ns, p99_ns, max_ns (12 % coarse)."""
        bounds, frames = self.rings.delays()
        if not len(frames):
            return {"p50_ns": 0, "p99_ns": 0, "max_ns": 0}
        so_far = np.cumsum(frames)
        at = [int(bounds[np.searchsorted(so_far, so_far[-1] * part)]) for part in (0.5, 0.99)]
        return {"p50_ns": at[0], "p99_ns": at[1], "max_ns": int(bounds[-1])}

    def configure(self, /, **changes: Any) -> None:
        """Engine.configure. Raises LiveError for what is taken when a run begins, and where one
        that began without links and marks would have to hold frames back: its engine does not
        tell which."""
        fixed = sorted(FIXED & named(changes).keys())
        if fixed:
            raise LiveError(f"{', '.join(fixed)}: taken when a live run begins: end it, and"
                            " start it anew with other settings")
        shapes = self.engine.settings.replace(**changes).shaping.changes_frames
        if shapes and self.leaving is None and self._passes_on:
            raise LiveError("links and marks have to be there when a run begins: start it anew")
        self.engine.configure(**changes)

    # --- the end ---

    def result(self) -> Result:
        """What was found, like a replay's, and ``live``: interfaces, delay, memory source."""
        for rows in self.engine.collect_ended():
            self.hits.take(rows)
        body = result_body(self.engine, self.hits)
        wall_ns = time.monotonic_ns() - self._begin_ns
        packets, interfaces = body["packets"], self.interfaces()
        body["laws"]["frames_accounted"] = self.accounted()
        body |= {
            "inputs": [{"path": name, "reader": "live", "format": self._kind,
                        "packets": row["taken"], "fault": None}
                       for name, row in interfaces.items()],
            "duration_ns": max(0, self.engine.fastpath.now_ns - (self._first_ns or 0))
            if packets else 0,
            "interrupted": bool(self.interrupted_by),
            "speed": {
                "wall_s": wall_ns / SECOND_NS,
                "packets_per_s": packets * SECOND_NS / max(1, self._process_ns),
                "ns_per_packet": self._process_ns / max(1, packets),
                "longest_pause_ns": self._longest_ns, "load_s": 0.0},
            "pace": {"late_packets": sum(row["late"] for row in interfaces.values())},
            "live": {"interfaces": interfaces, "delay": self.delay(),
                     "memory": "script" if self.host is None else "host"},
        }
        if self.interrupted_by:
            body["interrupted_by"] = self.interrupted_by
        return Result(body, {"sessions": self.engine.sessions()})

    def close(self) -> None:
        """Lets go of everything; a second time is no error."""
        watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            try:
                watcher.close()
            except (FwcoreError, OSError) as error:     # said, and the report comes all the same
                self.say(str(error))
        self.rings.close()
        self.engine.close()
        self._unclaim()


def _closed(sockets: Mapping[str, socket.socket]) -> None:
    for each in sockets.values():
        each.close()


def _claimed(names: Sequence[str]) -> dict[str, socket.socket]:
    """Interfaces that are ours until these are closed: their names as abstract sockets, which stand
    in a network namespace, as interfaces do, and go with the process. Two runs on one pair would
    each forward each frame."""
    claims = {}
    for name in sorted(set(names)):
        claims[name] = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claims[name].bind(f"\0fwcore-live/{name}")
        except OSError:
            _closed(claims)
            raise LiveError(f"{name}: another fwcore live forwards its frames; a second one would"
                            " forward them twice: end that one first") from None
    return claims


__all__ = ["BATCH", "Live", "Watcher", "live"]
