"""Time: the moments between two packets (semantics 2). Capture time is the only clock."""

from __future__ import annotations

from fwcore.reference.linux import COLLECTOR_NS
from fwcore.reference.script import Script
from fwcore.reference.words import nanoseconds, pages_of

CLOCK_MEMORY_NS = 1 << 60  # 36 years


class Clock(Script):
    """Goes from one moment at which something is due to the next."""

    def start(self, time_ns: int) -> None:
        """Before packet 1: its time is the zero of ticks and script, the machines decide once."""
        self.started = True
        self.t0 = self.now = self.ips_drained_ns = time_ns
        for leak in self.leaks:
            leak.anchor_ns = self.t0 + leak.start_ns
        self.settle("start")

    def time_of(self, time_ns: int) -> int:
        """When a packet is judged: never earlier than now, and one step later at most."""
        resuming, self.resuming = self.resuming, False
        if resuming and time_ns < self.now and self.shaper is None:
            self.set_back(time_ns)
        step = nanoseconds(self.config.max_step_s)
        if step and not resuming and time_ns > self.now + step:
            self.time_jumped += 1
            return self.now + step
        self.time_reversed += time_ns < self.now
        return max(self.now, time_ns)

    def set_back(self, time_ns: int) -> None:
        """What is to come stays as far off; what is longer ago than the clock remembers, so far."""
        def moved(then: int) -> int:
            return time_ns - min(self.now - then, CLOCK_MEMORY_NS)

        self.t0, self.ips_drained_ns = moved(self.t0), moved(self.ips_drained_ns)
        for leak in self.leaks:
            leak.anchor_ns = moved(leak.anchor_ns)
        if self.table_full_since is not None:
            self.table_full_since = moved(self.table_full_since)
        if self.extreme_left_ns is not None:
            self.extreme_left_ns = moved(self.extreme_left_ns)
        self.now = time_ns

    def advance(self, now_ns: int) -> None:
        """Time passes without a packet; what happens has the number of the last one."""
        if self.started:
            self.pass_time(now_ns)
            self.now = max(self.now, now_ns)

    def pass_time(self, target: int) -> None:
        """Go through the moments due up to `target` in time order; silence costs nothing."""
        while (moment := self.next_moment()) is not None and moment <= target:
            self.moment(moment)

    def next_moment(self) -> int | None:
        """The next nanosecond at which something may be due."""
        due = [leak.due_ns for leak in self.leaks if not leak.stalled]
        if self.shaper and (leaves := self.shaper.due()) is not None:
            due.append(leaves)
        if self.steps:
            due.append(self.t0 + nanoseconds(self.steps[0].get("at_s", 0)))
        if self.ips_full:
            due.append(max(self.now, self.ips_half_empty_ns()))
        if self.unseen:
            due.append(self.now)
        if self.collector_wanted:
            due.append(self.now + COLLECTOR_NS - (self.now - self.t0) % COLLECTOR_NS)
        tick = self.tick_after(self.now)
        if self.round_due() or any(map(self.retry_worthwhile, self.short)) or any(
            leak.stalled and self.short[leak.owner] == 0 for leak in self.leaks
        ):
            due.append(tick)
        elif self.sessions and self.expiry_floor is not None:
            due.append(max(tick, self.tick_after(self.expiry_floor - 1)))
        return min(due, default=None)

    def tick_after(self, time_ns: int) -> int:
        """The first tick later than a time; ticks stand at whole sweeps after packet 1."""
        return self.t0 + max(1, (time_ns - self.t0) // self.sweep_ns + 1) * self.sweep_ns

    def moment(self, time_ns: int) -> None:
        """All that is due at one nanosecond, in its order; then the machines decide."""
        tick = time_ns > self.now and (time_ns - self.t0) % self.sweep_ns == 0
        self.now = time_ns
        if self.shaper:
            self.shaper.advance(time_ns)  # it may be ahead: `drain` went on without the clock
        if tick:
            self.retry()
        while self.steps and self.t0 + nanoseconds(self.steps[0].get("at_s", 0)) <= time_ns:
            row = self.steps.popleft()
            owner = row.get("owner", "base")
            if row["add_bytes"] > 0:
                self.grow(owner, pages_of(row["add_bytes"]))
            else:
                self.give_back(owner, pages_of(-row["add_bytes"]))
        for leak in self.leaks:
            self.leak_pages(leak)
        if tick:
            self.expire()
        if self.collector_wanted and time_ns > self.t0 and not (time_ns - self.t0) % COLLECTOR_NS:
            self.collect()
        if self.ips_full and self.ips_half_empty_ns() <= time_ns:
            self.ips_drain()
            self.ips_full = False
        if tick and self.round_due():
            self.idledrop_round("time")
        self.sample()
        self.settle("time")
