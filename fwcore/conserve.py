"""The conserve machines: (mode, snapshot) -> mode, and when it is worth asking again.

    machine     gauge it watches                 off -> on            on -> off
    ---------   ------------------------------   ------------------   -----------------------------
    unified     used (and used + cache)          used >= red          used < green
                                                 on -> extreme: used + cache >= extreme
    kernel      free                             free < enter         free > leave
    proxy       free                             free < enter         free > leave
    fortios-5   free, shm free, proxy sessions   any of the three     all of the three
    (none)      free                             LowMemoryWarning: a warning, no mode

Laws:
 1. Pure. A machine holds thresholds, computed once from the settings, and nothing else. No clock.
 2. A mode is entered and left in one function (``step``); leaving asks for more than not entering,
    so that a gauge swinging between the two thresholds changes nothing.
 3. ``quiet(mode, snapshot)`` never misses: while every gauge it names stays strictly inside its
    interval, ``settle`` changes nothing. At a settled snapshot every gauge is inside, so that a
    stop never leads straight to the next one.
 4. `cache` (freeable) neither starts nor holds the unified mode; it only counts towards extreme.

Everything is in pages of 4096 bytes; used + cache + free = total. Marks: [K] FortiGate KB 198580,
[H] FortiOS 5 online help, [T] FortiOS 7 tuning guide, [C] Clavister cOS Core article, [R] public
record, [D] decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from fwcore._layout import Gauge
from fwcore.units import GIB, MB, MIB, PAGE_BYTES, pages_of, percent_of
from fwcore.words import EXTREME, MODES, OFF, ON

FREEABLE: Final = "freeable"        # a label, never a mode [T]

OPEN_LOW: Final = -1                # no gauge is ever as low ...
OPEN_HIGH: Final = 1 << 62          # ... or as high: this side of an interval is not watched

Interval = tuple[int, int]
Quiet = Mapping[Gauge, Interval]


class Snapshot(NamedTuple):
    """What the machines may look at. Pages, except ``proxy_sessions`` (a count)."""

    total_pages: int
    used_pages: int         # base + sessions + shm
    cache_pages: int        # freeable
    free_pages: int
    shm_pages: int          # part of used
    proxy_sessions: int


class Machine(Protocol):
    """What every machine offers. Modes are strings; the low memory warning's are booleans."""

    @property
    def name(self) -> str:
        """Its name in events and results."""

    def step(self, mode: str, snapshot: Snapshot) -> str:
        """The next mode; the same one when nothing changes."""

    def settle(self, mode: str, snapshot: Snapshot) -> list[str]:
        """The modes passed through until nothing changes; empty when nothing changed."""

    def quiet(self, mode: str, snapshot: Snapshot) -> Quiet:
        """Gauge -> (low, high): no change while low < gauge < high for every gauge named.

        => ``mode`` is settled at ``snapshot``. The mapping belongs to the machine: do not alter it.
        """

    def label(self, mode: str, snapshot: Snapshot) -> str:
        """The word to show for the mode."""

    def thresholds(self) -> dict[str, int]:
        """The levels by name: pages, except ``proxy_sessions_*``."""


# --- Rows of the sources -----------------------------------------------------------------------


class _Row(NamedTuple):
    """A row of the KB's tables: from this much memory on, enter and leave at these figures."""

    at_least_bytes: int
    enter: int              # MiB, or percent of RAM
    leave: int
    percent: bool


# [K] "Kernel Conserve Mode": 512 MB 20 % / 30 %, >= 1 GB 200 MB / 300 MB; below 512 MB it has no
# row, so the machine does not run.
KERNEL_ROWS: Final = (
    _Row(1 * GIB, 200, 300, percent=False),
    _Row(512 * MIB, 20, 30, percent=True),
)

# [K] internal note: "below the 20% threshold of total memory that can be accessed by kernel, and
# returns when 30%", 7/8 of it reachable. The note gives percentages for a 1 GB box, so with
# `lowmem` they hold for every size, in place of the row in MB [D].
LOWMEM_ROWS: Final = (_Row(512 * MIB, 20, 30, percent=True),)
LOWMEM_REACH: Final = (7, 8)

# [K] "Proxy Conserve Mode", by the model's memory; below 128 MB the first row [D].
PROXY_ROWS: Final = (
    _Row(1 * GIB, 12, 18, percent=True),
    _Row(512 * MIB, 20, 30, percent=True),
    _Row(256 * MIB, 40, 60, percent=False),
    _Row(0, 10, 20, percent=False),         # the KB's ">= 128 MB"
)

# [H] "about 20% free memory", "exceeds about 30%"; the same figures for shm, and 90 % of the proxy
# sessions for leaving [D].
FORTIOS_5_ENTER_PERCENT: Final = 20
FORTIOS_5_LEAVE_PERCENT: Final = 30
FORTIOS_5_LEAVE_SESSIONS_PERCENT: Final = 90

LOW_MEMORY_BYTES: Final = 100 * MB          # [C] "at least 100 MB of free RAM is recommended"
LOW_MEMORY_CLEARED_BYTES: Final = 110 * MB  # [D]


def free_level(total: int, percent: int) -> int:
    """Pages of free memory below which a mode is entered: floored, but at least one.

    There is nothing below 0 pages: with a level of 0 memory would fail and the mode never begin.
    """
    return max(1, percent_of(total, percent))


def row_pages(rows: Iterable[_Row], size_bytes: int, of_pages: int) -> tuple[int, int] | None:
    """(enter, leave) in pages from the first row that ``size_bytes`` reaches; None without one.

    ``of_pages`` is what percentages are taken of. Rows stand largest first.
    """
    for row in rows:
        if size_bytes >= row.at_least_bytes:
            if row.percent:
                return free_level(of_pages, row.enter), percent_of(of_pages, row.leave)
            return row.enter * MIB // PAGE_BYTES, row.leave * MIB // PAGE_BYTES
    return None


# --- Machines ----------------------------------------------------------------------------------


class Unified:
    """FortiOS 5.6 and later [T]: percent of RAM in use, three levels."""

    __slots__ = ("_extreme", "_extreme_free", "_green", "_quiet", "_red")
    name: Final = "unified"

    def __init__(self, settings: Any) -> None:
        total = settings.total_pages
        self._green = percent_of(total, settings.memory_use_threshold_green)
        self._red = percent_of(total, settings.memory_use_threshold_red)
        self._extreme = percent_of(total, settings.memory_use_threshold_extreme)
        # used + cache >= extreme, said of the free pages: free <= total - extreme.
        self._extreme_free = total - self._extreme
        not_green = (self._green - 1, OPEN_HIGH)
        self._quiet: dict[str, Quiet] = {
            OFF: {Gauge.USED_PAGES: (OPEN_LOW, self._red)},
            ON: {
                Gauge.USED_PAGES: not_green,
                Gauge.FREE_PAGES: (self._extreme_free, OPEN_HIGH),
            },
            EXTREME: {
                Gauge.USED_PAGES: not_green,
                Gauge.FREE_PAGES: (OPEN_LOW, self._extreme_free + 1),
            },
        }

    def step(self, mode: str, snapshot: Snapshot) -> str:
        if mode == OFF:
            return ON if snapshot.used_pages >= self._red else OFF
        if snapshot.used_pages < self._green:
            return OFF                      # whatever is freeable: extreme goes off in one step
        return EXTREME if snapshot.free_pages <= self._extreme_free else ON

    def settle(self, mode: str, snapshot: Snapshot) -> list[str]:
        return _settle(self, mode, snapshot)

    def quiet(self, mode: str, snapshot: Snapshot) -> Quiet:
        return self._quiet[mode]

    def label(self, mode: str, snapshot: Snapshot) -> str:
        """The mode, or ``freeable``: off, but red if what can be freed counted as used [T]."""
        if mode == OFF and snapshot.used_pages + snapshot.cache_pages >= self._red:
            return FREEABLE
        return mode

    def thresholds(self) -> dict[str, int]:
        return {"green": self._green, "red": self._red, "extreme": self._extreme}


class FreeMemory:
    """Kernel and proxy conserve mode of FortiOS 4 [K]: one gauge, free memory without cache."""

    __slots__ = ("_enter", "_leave", "_quiet", "name")

    def __init__(self, name: str, enter: int, leave: int) -> None:
        """Enter below ``enter`` free pages, leave above ``leave``. => enter <= leave + 1."""
        self.name = name
        self._enter = enter
        self._leave = leave
        self._quiet: dict[str, Quiet] = {
            OFF: {Gauge.FREE_PAGES: (enter - 1, OPEN_HIGH)},
            ON: {Gauge.FREE_PAGES: (OPEN_LOW, leave + 1)},
        }

    def step(self, mode: str, snapshot: Snapshot) -> str:
        if mode == OFF:
            return ON if snapshot.free_pages < self._enter else OFF
        return OFF if snapshot.free_pages > self._leave else ON

    def settle(self, mode: str, snapshot: Snapshot) -> list[str]:
        return _settle(self, mode, snapshot)

    def quiet(self, mode: str, snapshot: Snapshot) -> Quiet:
        return self._quiet[mode]

    def label(self, mode: str, snapshot: Snapshot) -> str:
        return mode

    def thresholds(self) -> dict[str, int]:
        """Free pages of the whole RAM; with `lowmem`, what lies out of reach is in the figure."""
        return {"enter": self._enter, "leave": self._leave}


class Fortios5:
    """FortiOS 5 [H]: one mode, entered for want of RAM or by a proxy, left when both are well."""

    __slots__ = (
        "_enter", "_enter_sessions", "_enter_shm", "_leave", "_leave_sessions", "_leave_shm",
        "_off", "_proxy_runs", "_shm_limit", "_wait_free", "_wait_sessions", "_wait_shm",
    )
    name: Final = "fortios-5"

    def __init__(self, settings: Any, *, proxy_runs: bool) -> None:
        total, limit = settings.total_pages, settings.shm_limit_pages
        self._proxy_runs = proxy_runs
        self._shm_limit = limit
        self._enter = free_level(total, FORTIOS_5_ENTER_PERCENT)
        self._leave = percent_of(total, FORTIOS_5_LEAVE_PERCENT)
        self._enter_shm = percent_of(limit, FORTIOS_5_ENTER_PERCENT)
        self._leave_shm = percent_of(limit, FORTIOS_5_LEAVE_PERCENT)
        self._enter_sessions = settings.proxy_max_sessions
        self._leave_sessions = percent_of(
            settings.proxy_max_sessions, FORTIOS_5_LEAVE_SESSIONS_PERCENT
        )
        self._off: Quiet = self._entrances()
        # Leaving needs all conditions at once: waiting for one that blocks is enough.
        self._wait_free: Quiet = {Gauge.FREE_PAGES: (OPEN_LOW, self._leave + 1)}
        self._wait_shm: Quiet = {Gauge.SHM_PAGES: (limit - self._leave_shm - 1, OPEN_HIGH)}
        self._wait_sessions: Quiet = {Gauge.PROXY_SESSIONS: (self._leave_sessions, OPEN_HIGH)}

    def _entrances(self) -> dict[Gauge, Interval]:
        """Where each gauge may be while the mode is off: any entrance is enough, so all count."""
        inside = {Gauge.FREE_PAGES: (self._enter - 1, OPEN_HIGH)}
        if self._proxy_runs:
            # shm free < enter, said of the shm in use.
            inside[Gauge.SHM_PAGES] = (OPEN_LOW, self._shm_limit - self._enter_shm + 1)
            inside[Gauge.PROXY_SESSIONS] = (OPEN_LOW, self._enter_sessions)
        return inside

    def step(self, mode: str, snapshot: Snapshot) -> str:
        shm_free = self._shm_limit - snapshot.shm_pages     # may be negative
        if mode == OFF:
            entered = snapshot.free_pages < self._enter or (self._proxy_runs and (
                shm_free < self._enter_shm or snapshot.proxy_sessions >= self._enter_sessions
            ))
            return ON if entered else OFF
        left = snapshot.free_pages > self._leave and (not self._proxy_runs or (
            shm_free > self._leave_shm and snapshot.proxy_sessions <= self._leave_sessions
        ))
        return OFF if left else ON

    def settle(self, mode: str, snapshot: Snapshot) -> list[str]:
        return _settle(self, mode, snapshot)

    def quiet(self, mode: str, snapshot: Snapshot) -> Quiet:
        """Off: all entrances. On: the first condition that still blocks leaving, alone.

        With one blocking gauge armed, the others may come and go without a stop; when it gives
        way, the next stop arms the next one. So there is at most one stop per crossing.
        """
        if mode == OFF:
            return self._off
        if self._proxy_runs and snapshot.free_pages > self._leave:
            if self._shm_limit - snapshot.shm_pages <= self._leave_shm:
                return self._wait_shm
            if snapshot.proxy_sessions > self._leave_sessions:
                return self._wait_sessions
        return self._wait_free

    def label(self, mode: str, snapshot: Snapshot) -> str:
        return mode

    def thresholds(self) -> dict[str, int]:
        """``enter``, ``leave`` free pages; ``shm_*`` free shm pages; ``proxy_sessions_*`` counts.

        The last two pairs only while a proxy runs.
        """
        levels = {"enter": self._enter, "leave": self._leave}
        if self._proxy_runs:
            levels |= {
                "shm_enter": self._enter_shm,
                "shm_leave": self._leave_shm,
                "proxy_sessions_enter": self._enter_sessions,
                "proxy_sessions_leave": self._leave_sessions,
            }
        return levels


class LowMemoryWarning:
    """Where no machine watches [C]: warn below 100 MB of free RAM, cleared at 110 MB (10**6).

    The shape of a machine with False and True for modes. It governs nothing.
    """

    __slots__ = ("_cleared", "_quiet", "_warned")
    name: Final = "low memory"

    def __init__(self) -> None:
        # Whole pages: free * 4096 < bytes is free < ceil(bytes / 4096).
        self._warned = pages_of(LOW_MEMORY_BYTES)
        self._cleared = pages_of(LOW_MEMORY_CLEARED_BYTES)
        self._quiet: dict[bool, Quiet] = {
            False: {Gauge.FREE_PAGES: (self._warned - 1, OPEN_HIGH)},
            True: {Gauge.FREE_PAGES: (OPEN_LOW, self._cleared)},
        }

    def step(self, mode: bool, snapshot: Snapshot) -> bool:
        return snapshot.free_pages < (self._cleared if mode else self._warned)

    def settle(self, mode: bool, snapshot: Snapshot) -> list[bool]:
        after = self.step(mode, snapshot)
        return [] if after == mode else [after]

    def quiet(self, mode: bool, snapshot: Snapshot) -> Quiet:
        return self._quiet[mode]

    def label(self, mode: bool, snapshot: Snapshot) -> str:
        return "low" if mode else "ok"

    def thresholds(self) -> dict[str, int]:
        """Free pages: warned below ``enter``, cleared from ``leave`` on."""
        return {"enter": self._warned, "leave": self._cleared}


def _settle(machine: Machine, mode: str, snapshot: Snapshot) -> list[str]:
    """The modes passed through; bounded, for a machine never comes back to a mode it left."""
    passed: list[str] = []
    for _ in MODES:
        after = machine.step(mode, snapshot)
        if after == mode:
            break
        passed.append(after)
        mode = after
    return passed


def _kernel(settings: Any) -> FreeMemory | None:
    """The kernel machine, or None where the KB lists no row for so little RAM [K]."""
    total = settings.total_pages
    ram_bytes = total * PAGE_BYTES
    if not settings.lowmem:
        levels = row_pages(KERNEL_ROWS, ram_bytes, total)
        return FreeMemory("kernel", *levels) if levels else None
    # What the kernel can reach is free: max(0, reach - used - cache) = max(0, free - beyond).
    # Both thresholds are above 0, so the max never decides, and free can be compared directly.
    reach = total * LOWMEM_REACH[0] // LOWMEM_REACH[1]
    beyond = total - reach
    levels = row_pages(LOWMEM_ROWS, ram_bytes, reach)
    return FreeMemory("kernel", levels[0] + beyond, levels[1] + beyond) if levels else None


def _proxy(settings: Any) -> FreeMemory:
    """The proxy machine: the row by ``model_bytes``, percentages of RAM [K]."""
    levels = row_pages(PROXY_ROWS, settings.model_bytes, settings.total_pages)
    assert levels is not None       # the last row has no lower end
    return FreeMemory("proxy", *levels)


def machines(settings: Any, *, proxy_policies: bool) -> tuple[Machine, ...]:
    """The machines of ``settings.machine``, in the order in which they decide.

    ``proxy_policies``: some policy asks for proxy inspection (fortios-5: or ``sip_alg``: a proxy
    runs). ``kernel+proxy`` is the proxy alone where RAM is too small for a kernel row.
    """
    kind = settings.machine
    if kind == "unified":
        return (Unified(settings),)
    if kind == "fortios-5":
        return (Fortios5(settings, proxy_runs=proxy_policies or settings.sip_alg),)
    if kind == "kernel+proxy":
        kernel = _kernel(settings)
        return (kernel, _proxy(settings)) if kernel else (_proxy(settings),)
    if kind == "none":
        return ()
    raise ValueError(f"no such machine: {kind!r}")


def entry_pages(settings: Any) -> dict[str, int]:
    """Used pages at which each mode begins while nothing is cached.

    {"red", "extreme"} · {"kernel", "proxy"} · {"fortios-5"} · {"low memory"} (machine none).
    """
    total = settings.total_pages
    found: dict[str, int] = {}
    for machine in machines(settings, proxy_policies=False) or (LowMemoryWarning(),):
        levels = machine.thresholds()
        if "red" in levels:
            found |= {name: levels[name] for name in ("red", "extreme")}
        else:
            found[machine.name] = max(0, total - levels["enter"] + 1)
    return found


def exit_pages(settings: Any) -> dict[str, int]:
    """Most used plus cached pages at which each machine's mode still ends (unified: used pages)."""
    total = settings.total_pages
    found: dict[str, int] = {}
    for machine in machines(settings, proxy_policies=False):
        levels = machine.thresholds()
        found[machine.name] = (
            levels["green"] if "green" in levels else total - levels["leave"]) - 1
    return found


def intersect(quiets: Iterable[Quiet]) -> dict[Gauge, Interval]:
    """What several machines ask for at once: per gauge the interval in which none can change."""
    armed: dict[Gauge, Interval] = {}
    for quiet in quiets:
        for gauge, (low, high) in quiet.items():
            if gauge in armed:
                low, high = max(low, armed[gauge][0]), min(high, armed[gauge][1])
            armed[gauge] = (low, high)
    return armed
