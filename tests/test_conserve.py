"""The machines: rows of thresholds, rows of steps, the laws of ``quiet`` on random snapshots."""

from types import SimpleNamespace

import pytest
from examples import SHARE, SOME
from hypothesis import given, settings, strategies as st

from fwcore._layout import Gauge
from fwcore.conserve import (
    GIB,
    MIB,
    OPEN_HIGH,
    FreeMemory,
    LowMemoryWarning,
    Snapshot,
    Unified,
    intersect,
    machines,
)

PAGE = 4096


def make(machine, total_pages=1000, **changes):
    """Settings with the contract's names; ``total_pages`` of RAM."""
    values = {
        "machine": machine,
        "total_pages": total_pages,
        "model_bytes": total_pages * PAGE,
        "memory_use_threshold_green": 82,
        "memory_use_threshold_red": 88,
        "memory_use_threshold_extreme": 95,
        "lowmem": False,
        "sip_alg": True,
        "shm_limit_pages": total_pages // 4,
        "proxy_max_sessions": 100,
    }
    return SimpleNamespace(**(values | changes))


def snap(total, used, cache=0, shm=0, proxy=0):
    return Snapshot(total, used, cache, total - used - cache, shm, proxy)


def free(total, pages):
    """A snapshot of which only the free pages matter."""
    return snap(total, total - pages)


def one(machine, total_pages=1000, *, proxy_policies=True, name=None, **changes):
    found = machines(make(machine, total_pages, **changes), proxy_policies=proxy_policies)
    return next(m for m in found if name in (None, m.name))


def run(machine, snapshots, mode="off"):
    """Every mode passed through, over a row of snapshots."""
    passed = []
    for snapshot in snapshots:
        steps = machine.settle(mode, snapshot)
        mode = steps[-1] if steps else mode
        passed += steps
    return passed


# --- unified ---

def test_unified_thresholds_are_floored_percentages():
    assert Unified(make("unified", 1000)).thresholds() == {"green": 820, "red": 880, "extreme": 950}
    assert Unified(make("unified", 999)).thresholds() == {"green": 819, "red": 879, "extreme": 949}


UNIFIED = [
    # mode       used  cache  -> passed through
    ("off",       879,    0,  []),
    ("off",       880,    0,  ["on"]),
    ("off",       879,  121,  []),                      # all RAM taken, but the rest is freeable
    ("off",       950,    0,  ["on", "extreme"]),       # two steps from one packet
    ("off",       880,   70,  ["on", "extreme"]),       # cache counts towards extreme only
    ("off",       880,   69,  ["on"]),
    ("on",        880,   69,  []),
    ("on",        820,    0,  []),
    ("on",        819,    0,  ["off"]),
    ("on",        819,  181,  ["off"]),                 # cache does not hold the mode
    ("on",        820,  130,  ["extreme"]),
    ("on",        949,    0,  []),
    ("on",        950,    0,  ["extreme"]),
    ("extreme",   950,    0,  []),
    ("extreme",   949,    0,  ["on"]),                  # no hysteresis of its own
    ("extreme",   820,  130,  []),
    ("extreme",   820,  129,  ["on"]),
    ("extreme",   819,  131,  ["off"]),                 # straight off
    ("extreme",   819,    0,  ["off"]),
]


@pytest.mark.parametrize(("mode", "used", "cache", "passed"), UNIFIED)
def test_unified_steps(mode, used, cache, passed):
    assert one("unified").settle(mode, snap(1000, used, cache)) == passed


def test_sawtooth_between_thresholds_is_one_transition():
    machine = one("unified")
    rise = [snap(1000, used) for used in (700, 880)]
    saw = [snap(1000, used) for used in (820, 879, 881, 820, 949, 820)] * 50
    assert run(machine, rise + saw) == ["on"]


def test_unified_on_four_pages_where_thresholds_coincide():
    machine = one("unified", 4)
    assert machine.thresholds() == {"green": 3, "red": 3, "extreme": 3}
    assert machine.settle("off", snap(4, 3)) == ["on", "extreme"]
    assert machine.settle("extreme", snap(4, 2)) == ["off"]
    assert machine.settle("off", snap(4, 2, cache=2)) == []


LABELS = [
    ("off",     879,   0, "off"),
    ("off",     879,   1, "freeable"),
    ("off",     700, 180, "freeable"),
    ("off",     700, 179, "off"),
    ("on",      880,  50, "on"),
    ("extreme", 950,   0, "extreme"),
]


@pytest.mark.parametrize(("mode", "used", "cache", "label"), LABELS)
def test_unified_label(mode, used, cache, label):
    assert one("unified").label(mode, snap(1000, used, cache)) == label


# --- kernel and proxy: the KB's rows ---

KERNEL = [
    # RAM                 enter  leave, free pages
    (512 * MIB,           26214, 39321),         # 20 / 30 % of 131072
    (768 * MIB,           39321, 58982),
    (GIB - PAGE,          52428, 78642),
    (GIB,                 51200, 76800),         # 200 / 300 MB
    (2 * GIB,             51200, 76800),
    (16 * GIB,            51200, 76800),
]


@pytest.mark.parametrize(("ram", "enter", "leave"), KERNEL)
def test_kernel_rows(ram, enter, leave):
    machine = one("kernel+proxy", ram // PAGE, name="kernel")
    assert machine.thresholds() == {"enter": enter, "leave": leave}


@pytest.mark.parametrize("lowmem", [False, True])
def test_kernel_does_not_run_below_512_mb(lowmem):
    found = machines(
        make("kernel+proxy", 512 * MIB // PAGE - 1, lowmem=lowmem), proxy_policies=True
    )
    assert [m.name for m in found] == ["proxy"]


def test_kernel_decides_before_proxy():
    found = machines(make("kernel+proxy", GIB // PAGE), proxy_policies=False)
    assert [m.name for m in found] == ["kernel", "proxy"]


def test_lowmem_counts_what_the_kernel_can_reach():
    """1 GiB: 7/8 = 229376 pages reachable, 32768 beyond; 20 % = 45875, 30 % = 68812 of reach."""
    total = GIB // PAGE
    machine = one("kernel+proxy", total, name="kernel", lowmem=True)
    assert machine.thresholds() == {"enter": 45875 + 32768, "leave": 68812 + 32768}
    reach = 229376
    for used, cache in [(reach - 45875, 0), (reach - 45876, 0), (0, reach - 45875), (total, 0)]:
        reachable = max(0, reach - used - cache)
        expected = ["on"] if reachable < 45875 else []
        assert machine.settle("off", snap(total, used, cache)) == expected
    assert machine.settle("on", snap(total, reach - 68812)) == []
    assert machine.settle("on", snap(total, reach - 68813)) == ["off"]


PROXY = [
    # model           RAM          enter   leave
    (64 * MIB,        64 * MIB,     2560,   5120),      # below the table: its first row
    (128 * MIB,      128 * MIB,     2560,   5120),      # 10 / 20 MB
    (256 * MIB - 1,  256 * MIB,     2560,   5120),
    (256 * MIB,      256 * MIB,    10240,  15360),      # 40 / 60 MB
    (512 * MIB - 1,  512 * MIB,    10240,  15360),
    (512 * MIB,      512 * MIB,    26214,  39321),      # 20 / 30 %
    (512 * MIB,      497 * MIB,    25446,  38169),      # ... of RAM, not of the model
    (GIB - 1,        GIB,          52428,  78643),
    (GIB,            GIB,          31457,  47185),      # 12 / 18 %
    (2 * GIB,        2 * GIB,      62914,  94371),
]


@pytest.mark.parametrize(("model", "ram", "enter", "leave"), PROXY)
def test_proxy_rows(model, ram, enter, leave):
    machine = one("kernel+proxy", ram // PAGE, name="proxy", model_bytes=model)
    assert machine.thresholds() == {"enter": enter, "leave": leave}


FREE_MEMORY = [
    ("off", 20, []), ("off", 19, ["on"]), ("off", 30, []),
    ("on", 30, []), ("on", 20, []), ("on", 31, ["off"]),
]


@pytest.mark.parametrize(("mode", "pages", "passed"), FREE_MEMORY)
def test_free_memory_steps(mode, pages, passed):
    assert FreeMemory("proxy", 20, 30).settle(mode, free(100, pages)) == passed


def test_free_memory_ignores_what_is_freeable():
    assert FreeMemory("kernel", 20, 30).settle("off", snap(100, 10, cache=71)) == ["on"]


def test_free_memory_sawtooth():
    machine = FreeMemory("proxy", 20, 30)
    saw = [free(100, pages) for pages in (40, 19, 25, 30, 18, 30, 20, 31, 20, 30)]
    assert run(machine, saw) == ["on", "off"]


# --- fortios-5 ---

FORTIOS_5 = [
    # mode  proxy   free  shm  sessions  passed
    ("off", True,    200,    0,   0, []),
    ("off", True,    199,    0,   0, ["on"]),
    ("off", True,    500,  200,   0, []),               # limit 250: 50 free is not below 50
    ("off", True,    500,  201,   0, ["on"]),
    ("off", True,    500,  300,   0, ["on"]),           # beyond its limit
    ("off", True,    500,    0,  99, []),
    ("off", True,    500,    0, 100, ["on"]),
    ("off", False,   500,  250, 100, []),               # no proxy runs: RAM alone
    ("off", False,   199,    0,   0, ["on"]),
    ("on",  True,    301,    0,   0, ["off"]),
    ("on",  True,    300,    0,   0, []),
    ("on",  True,    301,  175,   0, []),               # 75 free is not above 75
    ("on",  True,    301,  174,   0, ["off"]),
    ("on",  True,    301,    0,  91, []),
    ("on",  True,    301,    0,  90, ["off"]),
    ("on",  True,    301,  174,  90, ["off"]),
    ("on",  False,   301,  250, 100, ["off"]),
]


@pytest.mark.parametrize(("mode", "runs", "pages", "shm", "sessions", "passed"), FORTIOS_5)
def test_fortios_5_steps(mode, runs, pages, shm, sessions, passed):
    machine = one("fortios-5", proxy_policies=runs, sip_alg=False)
    state = snap(1000, 1000 - pages, shm=shm, proxy=sessions)
    assert machine.settle(mode, state) == passed


def test_fortios_5_sip_alg_keeps_a_proxy_running():
    full = snap(1000, 0, proxy=100)
    assert one("fortios-5", proxy_policies=False, sip_alg=True).settle("off", full) == ["on"]
    assert one("fortios-5", proxy_policies=False, sip_alg=False).settle("off", full) == []


def test_fortios_5_thresholds():
    assert one("fortios-5").thresholds() == {
        "enter": 200, "leave": 300, "shm_enter": 50, "shm_leave": 75,
        "proxy_sessions_enter": 100, "proxy_sessions_leave": 90,
    }
    alone = one("fortios-5", proxy_policies=False, sip_alg=False)
    assert alone.thresholds() == {"enter": 200, "leave": 300}


def test_fortios_5_arms_one_blocking_gauge_at_a_time():
    machine = one("fortios-5")
    assert set(machine.quiet("off", free(1000, 500))) == {
        Gauge.FREE_PAGES, Gauge.SHM_PAGES, Gauge.PROXY_SESSIONS
    }
    assert set(machine.quiet("on", snap(1000, 800, shm=250, proxy=100))) == {Gauge.FREE_PAGES}
    assert set(machine.quiet("on", snap(1000, 500, shm=250, proxy=100))) == {Gauge.SHM_PAGES}
    assert set(machine.quiet("on", snap(1000, 500, shm=0, proxy=100))) == {Gauge.PROXY_SESSIONS}


# --- none ---

def test_none_has_no_machine_and_unknown_names_are_refused():
    assert machines(make("none"), proxy_policies=True) == ()
    with pytest.raises(ValueError, match="no such machine"):
        machines(make("magic"), proxy_policies=True)


WARNING = [
    # warned, free bytes -> warned
    (False, 100_003_840, False),        # 24415 pages, the first at or above 100 MB
    (False,  99_999_744, True),         # 24414
    (True,  109_998_080, True),         # 26855
    (True,  110_002_176, False),        # 26856, the first at or above 110 MB
]


@pytest.mark.parametrize(("before", "free_bytes", "after"), WARNING)
def test_low_memory_warning(before, free_bytes, after):
    warning = LowMemoryWarning()
    state = free(1 << 20, free_bytes // PAGE)
    assert warning.step(before, state) is after
    assert warning.settle(before, state) == ([] if before == after else [after])


def test_low_memory_warning_thresholds():
    warning = LowMemoryWarning()
    assert warning.thresholds() == {"enter": 24415, "leave": 26856}
    assert [warning.label(mode, free(1, 1)) for mode in (False, True)] == ["ok", "low"]


# --- quiet: never misses, never spins ---

GAUGES = {
    Gauge.USED_PAGES: lambda s: s.used_pages,
    Gauge.FREE_PAGES: lambda s: s.free_pages,
    Gauge.SHM_PAGES: lambda s: s.shm_pages,
    Gauge.PROXY_SESSIONS: lambda s: s.proxy_sessions,
}


@st.composite
def states(draw, total):
    used = draw(st.integers(0, total))
    cache = draw(st.integers(0, total - used))
    shm = draw(st.integers(0, used))
    return snap(total, used, cache, shm, draw(st.integers(0, 12)))


@st.composite
def cases(draw):
    """A machine of any kind over small RAM, where thresholds are crossed often, and two states."""
    total = draw(st.integers(4, 60))
    kind = draw(st.sampled_from(["unified", "fortios-5", "fortios-5 idle", "proxy"]))
    green, red, extreme = sorted(draw(st.permutations(range(70, 98)))[:3])
    values = make(
        kind.split()[0], total, sip_alg=False,
        memory_use_threshold_green=green, memory_use_threshold_red=red,
        memory_use_threshold_extreme=extreme,
        shm_limit_pages=draw(st.integers(1, total)), proxy_max_sessions=draw(st.integers(1, 11)),
    )
    if kind == "proxy":
        enter = draw(st.integers(0, total))
        machine = FreeMemory("proxy", enter, draw(st.integers(enter, total)))
    else:
        machine = machines(values, proxy_policies=kind != "fortios-5 idle")[0]
    mode = draw(st.sampled_from(["off", "on"] + ["extreme"] * (kind == "unified")))
    return machine, mode, draw(states(total)), draw(states(total))


def outside(quiet, state):
    return [g for g, (low, high) in quiet.items() if not low < GAUGES[g](state) < high]


@settings(max_examples=SHARE, deadline=None)
@given(cases())
def test_quiet_never_misses_and_never_spins(case):
    machine, mode, here, there = case
    steps = machine.settle(mode, here)
    settled = steps[-1] if steps else mode
    assert machine.step(settled, here) == settled
    quiet = machine.quiet(settled, here)
    assert outside(quiet, here) == []
    if machine.settle(settled, there):
        assert outside(quiet, there)


@settings(max_examples=SOME, deadline=None)
@given(cases())
def test_one_gauge_quiet_is_exact(case):
    """Off and all of FreeMemory: a gauge outside means a change, so no stop is wasted."""
    machine, mode, here, there = case
    steps = machine.settle(mode, here)
    settled = steps[-1] if steps else mode
    if settled != "off" and machine.name == "fortios-5":
        return
    if outside(machine.quiet(settled, here), there):
        assert machine.settle(settled, there)


@settings(max_examples=SOME)
@given(st.booleans(), st.integers(24000, 27000), st.integers(24000, 27000))
def test_low_memory_warning_quiet(mode, here, there):
    warning = LowMemoryWarning()
    settled = warning.step(mode, free(1 << 20, here))
    quiet = warning.quiet(settled, free(1 << 20, here))
    assert outside(quiet, free(1 << 20, here)) == []
    changed = warning.step(settled, free(1 << 20, there)) != settled
    assert changed == bool(outside(quiet, free(1 << 20, there)))


def test_intersect():
    both = intersect([
        {Gauge.FREE_PAGES: (19, OPEN_HIGH)},
        {Gauge.FREE_PAGES: (-1, 31), Gauge.USED_PAGES: (5, 9)},
        {},
    ])
    assert both == {Gauge.FREE_PAGES: (19, 31), Gauge.USED_PAGES: (5, 9)}
