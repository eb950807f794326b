"""The twin against scenarios worked out by hand: memory, machines, gate, inspection, the outcome.

As in test_reference.py: numbers stand beside their sums, times are seconds after packet 1.
"""

import hashlib
import json
import os
import re
import struct
import sys
from pathlib import Path

import pytest
from by_hand import (  # noqa: F401 - the fixture is in force
    ACK,
    FIN,
    RST,
    SYN,
    T0,
    A,
    B,
    C,
    S,
    X,
    books_balance,
    icmp,
    in_bucket,
    kinds,
    modes,
    plain,
    reasons,
    send,
    tcp,
    udp,
)

from fwcore import reference as twin
from fwcore.reference import (
    BYPASS,
    DROP,
    FORWARD,
    INSPECT,
    PAGE,
    Config,
    Firewall,
    gate,
    machines,
)
from fwcore.reference.leak import Leak

# --- Memory --------------------------------------------------------------------------------


def test_slab_with_a_hole_needs_nothing_after_the_pass():
    # 4 pages, 2 of them base; 4 sessions a page: 8 sessions fit
    firewall = plain(base_bytes=2 * PAGE, accounting="slab", session_bytes=1024,
                     max_connections=100)
    for port in range(8):
        send(firewall, udp(A, port, X, 9))
    assert firewall.memory.now() == {
        "base": 2, "sessions": 2, "shm": 0, "cache": 0, "free": 0, "used": 4}
    assert send(firewall, udp(A, 8, X, 9))[1] == "new"  # 8 - 1 + 1 = 8 sessions: 2 pages
    assert (firewall.page_requests, firewall.page_failures) == (3, 1)  # sessions 1, 5 and 9
    assert firewall.stampede["pages_needed"] == 1
    assert firewall.ended["tension"] == 1


def test_no_page_at_all():
    firewall = plain(base_bytes=4 * PAGE, accounting="slab", session_bytes=1024)
    assert send(firewall, udp(A, 1, X, 9)) == ("drop", "no_memory")
    assert firewall.stampede["passes"] == 1


def test_big_sessions_take_whole_pages():
    firewall = plain(accounting="slab", session_bytes=PAGE + 1)
    assert reasons(firewall, [udp(A, port, X, 9) for port in (1, 2, 3)]) == ["new"] * 3
    assert firewall.memory.now()["sessions"] == 4
    assert (firewall.live, firewall.ended["tension"]) == (2, 1)


def test_forced_failures_fail_the_first_attempt_only():
    firewall = plain(accounting="slab", session_bytes=PAGE, buckets=1,
                     pressure=[{"fail_every": 3}, {"fail_nth": 2}])
    assert reasons(firewall, [udp(A, port, X, 9) for port in range(4)]) == ["new"] * 4
    # request 2 costs session 1, request 3 session 2
    assert [v["created_packet"] for v in firewall.victims] == [1, 2]
    assert (firewall.page_requests, firewall.page_failures) == (4, 2)


def test_pressure_steps_and_retries():
    # 10 pages; 2 sessions of one page each
    firewall = plain(ram_bytes=10 * PAGE, accounting="slab", session_bytes=PAGE, udp_s=3,
                     pressure=[{"at_s": 1.5, "owner": "base", "add_bytes": 12 * PAGE},
                               {"at_s": 6.0, "add_bytes": -3 * PAGE}])
    reasons(firewall, [udp(A, 1, X, 9), udp(A, 2, X, 9)])
    send(firewall, bytes(60), 1.5)
    # 12 of 8 free: a pass deletes session 1, 9 are taken, 3 are short
    assert firewall.memory.now()["base"] == 9 and firewall.short["base"] == 3
    send(firewall, bytes(60), 1.9)
    assert firewall.live == 1
    send(firewall, bytes(60), 2.0)  # retry: a pass deletes session 2, its page is taken
    assert firewall.live == 0
    assert firewall.memory.now()["base"] == 10 and firewall.short["base"] == 2
    send(firewall, bytes(60), 6.0)  # 3 back: 2 that were short, 1 page
    assert firewall.memory.now()["base"] == 9 and firewall.short["base"] == 0
    assert firewall.stampede["pages_needed"] == 12 + 3
    assert firewall.counters()["memory"]["peak"]["free"] == 10


def test_script_gives_back_only_its_own_shm():
    firewall = plain(ram_bytes=10 * PAGE, cache_limit_bytes=PAGE, pressure=[
        {"at_s": 0.0, "owner": "shm", "add_bytes": 3 * PAGE},
        {"at_s": 1.0, "owner": "shm", "add_bytes": -9 * PAGE}])
    send(firewall, bytes(60))
    assert firewall.memory.now()["shm"] == 3
    send(firewall, bytes(60), 1)
    now = firewall.memory.now()  # one page of sessions; one of three stays in the cache
    assert (now["shm"], now["cache"], now["free"]) == (0, 1, 8)
    assert firewall.memory.attempt(9) and firewall.memory.now()["cache"] == 0


def test_a_leak_page_by_page():
    # 1 page of preallocated sessions, 3 free; 8192 bytes a second from 0.25 s
    firewall = plain(pressure=[{"at_s": 0.25, "leak_bytes_per_s": 8192},
                               {"at_s": 3.6, "add_bytes": -2 * PAGE}])
    send(firewall, bytes(60))
    for at, base in ((0.749999999, 0), (0.75, 1), (1.25, 2), (1.75, 3), (2.25, 3), (3.5, 3)):
        send(firewall, bytes(60), at)
        assert firewall.memory.now()["base"] == base
    assert firewall.short["base"] == 1  # due at 2.25, stalled
    send(firewall, bytes(60), 3.6)  # one page that was short, one real
    assert (firewall.short["base"], firewall.memory.now()["base"]) == (0, 2)
    send(firewall, bytes(60), 4.499999999)  # goes on from tick 4: next page at 4.5
    assert firewall.memory.now()["base"] == 2
    send(firewall, bytes(60), 4.5)
    assert firewall.memory.now()["base"] == 3


def test_odd_leak_rate_rounds_up():
    leak = Leak("base", 0, 3)
    assert leak.due_ns == 1_365_333_333_334  # 4096e9 / 3 = 1365333333333.3
    leak.page = 3
    assert leak.due_ns == 4096 * S


def test_memory_warning_without_machine():
    ram = 200 * 10**6
    ram -= ram % PAGE
    firewall = Firewall(Config(ram_bytes=ram, accounting="slab", pressure=[
        {"at_s": 1.0, "add_bytes": 101 * 10**6}, {"at_s": 2.0, "add_bytes": -9 * 10**6},
        {"at_s": 3.0, "add_bytes": -3 * 10**6}]))
    for at in range(4):
        send(firewall, bytes(60), at)
    assert [(e["kind"], e["packet"]) for e in firewall.events] == [
        ("memory_warning", 2), ("memory_warning_cleared", 4)]


# --- Machines ------------------------------------------------------------------------------


def snapshot(total=100, used=0, cache=0, shm=0, proxy=0):
    return machines.Snapshot(total, used, cache, total - used - cache, shm, proxy)


def steps(machine, key, values, start="off", **fixed):
    """Modes after each value of one field, every step on its own."""
    mode, seen = start, []
    for value in values:
        mode = machine.step(mode, snapshot(**{**fixed, key: value}))
        seen.append(mode)
    return seen


def test_unified_levels_of_997_mib():
    machine = machines.Unified(Config(ram_bytes=997 * 2**20), 997 * 256)
    # 255232 pages: 82 % is 209290.24, 88 % is 224604.16, 95 % is 242470.4
    assert (machine.green, machine.red, machine.extreme) == (209290, 224604, 242470)
    assert steps(machine, "used", (224603, 224604, 209290, 209289), total=255232) == [
        "off", "on", "on", "off"]
    assert steps(machine, "used", (242469, 242470, 242469, 209289), "on", total=255232) == [
        "on", "extreme", "on", "off"]


def test_unified_counts_freeable_for_extreme_only():
    machine = machines.Unified(Config(), 100)
    assert machine.step("off", snapshot(used=87, cache=13)) == "off"
    assert machine.step("on", snapshot(used=88, cache=7)) == "extreme"
    assert machine.step("extreme", snapshot(used=81, cache=19)) == "off"


@pytest.mark.parametrize(("ram", "lowmem", "enter", "leave"), [
    (2**30, False, 51200, 76800),  # 200 and 300 MB of 256 pages
    (2**30 - 2**20, False, 52377, 78566),  # 261888 pages: 52377.6, 78566.4
    (512 * 2**20, False, 26214, 39321),  # 131072 pages: 26214.4, 39321.6
    (2**30, True, 45875, 68812),  # reach 229376: 45875.2, 68812.8
])
def test_kernel_levels(ram, lowmem, enter, leave):
    machine = machines.kernel_machine(Config(ram_bytes=ram, lowmem=lowmem), ram // PAGE)
    assert (machine.enter, machine.leave) == (enter, leave)


@pytest.mark.parametrize("lowmem", [False, True])
def test_below_512_mib_there_is_no_kernel_machine(lowmem):
    config = Config(ram_bytes=511 * 2**20, lowmem=lowmem, machine="kernel+proxy")
    assert [machine.name for machine in machines.make_machines(config, 511 * 256, False)] == [
        "proxy"]


@pytest.mark.parametrize(("ram_mib", "enter", "leave"), [
    (100, 2560, 5120), (128, 2560, 5120), (129, 10240, 15360), (256, 10240, 15360),
    (512, 26214, 39321),  # 20 and 30 % of 131072
    (1024, 31457, 47185),  # 12 and 18 % of 262144: 31457.28, 47185.92
])
def test_proxy_levels(ram_mib, enter, leave):
    machine = machines.proxy_machine(Config(ram_bytes=ram_mib * 2**20), ram_mib * 256)
    assert (machine.enter, machine.leave) == (enter, leave)


def test_free_memory_in_both_directions():
    machine = machines.FreeMemory("proxy", 12, 18)
    assert steps(machine, "used", (88, 89, 82, 81)) == ["off", "on", "on", "off"]
    kernel = machines.FreeMemory("kernel", 17, 26, reach=87)
    assert steps(kernel, "used", (70, 71, 61, 60)) == ["off", "on", "on", "off"]
    assert kernel.step("off", snapshot(used=60, cache=11)) == "on"
    assert kernel.step("on", snapshot(used=99)) == "on"


def test_fortios_5_three_ways_in():
    config = Config(proxy_max_sessions=10, shm_limit_bytes=40 * PAGE)
    machine = machines.FortiOS5(config, 100, proxy_runs=True)
    assert steps(machine, "used", (80, 81, 70, 69)) == ["off", "on", "on", "off"]
    # free shm below 8 of 40 enters, above 12 leaves
    assert steps(machine, "shm", (32, 33, 28, 27)) == ["off", "on", "on", "off"]
    assert steps(machine, "proxy", (9, 10, 9, 8), "off") == ["off", "on", "off", "off"]
    assert machine.step("on", snapshot(used=69, shm=28)) == "on"
    quiet = machines.FortiOS5(config, 100, proxy_runs=False)
    assert quiet.step("off", snapshot(shm=40, proxy=10)) == "off"
    assert quiet.step("on", snapshot(shm=40, proxy=10)) == "off"


def test_modes_events_and_flaps():
    firewall = Firewall(Config(
        ram_bytes=100 * PAGE, base_bytes=80 * PAGE, accounting="slab", machine="unified",
        ips_trigger=(), pressure=[{"at_s": at, "add_bytes": pages * PAGE} for at, pages in (
            (1.0, 8), (2.0, 7), (3.0, -5), (62.0, 5), (63.0, -20))]))
    send(firewall, udp(A, 1, X, 9))  # 80 + 1 pages
    assert send(firewall, udp(A, 2, X, 9), 1.5) == ("forward", "new")  # 89: on
    assert send(firewall, udp(A, 3, X, 9), 2.5) == ("drop", "extreme")  # 96
    assert send(firewall, udp(A, 2, X, 9), 2.6) == ("forward", "hit")
    assert send(firewall, udp(A, 3, X, 9), 3.5) == ("forward", "new")  # 91: on
    send(firewall, bytes(60), 63.5)
    assert modes(firewall) == [
        (2, 1 * S, "time", "off", "on"), (3, 2 * S, "time", "on", "extreme"),
        (5, 3 * S, "time", "extreme", "on"), (6, 62 * S, "time", "on", "extreme"),
        (6, 63 * S, "time", "extreme", "off")]
    assert kinds(firewall) == ["conserve_entered", "extreme_entered", "extreme_left",
                               "extreme_entered", "conserve_left"]
    assert firewall.flaps == 1  # 59 s after the exit


def test_a_packet_may_cross_two_levels_and_the_next_sees_it():
    firewall = Firewall(Config(
        ram_bytes=100 * PAGE, base_bytes=80 * PAGE, accounting="slab", machine="unified",
        policies=[{"id": 1, "inspection": "proxy"}], proxy_session_bytes=14 * PAGE))
    assert send(firewall, udp(A, 1, X, 9)) == ("inspect", "new")  # 80 + 1 + 14 = 95
    assert modes(firewall) == [(1, 0, "packet", "off", "on"), (1, 0, "packet", "on", "extreme")]
    assert send(firewall, udp(A, 2, X, 9)) == ("drop", "extreme")
    start = Firewall(Config(ram_bytes=100 * PAGE, base_bytes=88 * PAGE, accounting="slab",
                            machine="unified"))
    send(start, udp(A, 1, X, 9))
    assert modes(start) == [(0, 0, "start", "off", "on")]


# --- The gate ------------------------------------------------------------------------------

ADMIT = None
BLOCK = ("drop", "conserve_block")


@pytest.mark.parametrize(("modes", "action", "proxy", "start", "page", "refused"), [
    ({"unified": "off"}, "pass", ADMIT, "grant", "grant", "bypass"),
    ({"unified": "off"}, "off", ADMIT, "grant", "grant", "kill"),
    ({"unified": "off"}, "idledrop", ADMIT, "grant", "grant", "kill"),
    ({"unified": "on"}, "pass", ("bypass", "conserve"), "conserve", "grant", "bypass"),
    ({"unified": "on"}, "one-shot", ("bypass", "conserve"), "conserve", "grant", "bypass"),
    ({"unified": "on"}, "off", BLOCK, "kill", "kill", "kill"),
    ({"unified": "on"}, "idledrop", BLOCK, "grant", "grant", "kill"),
    ({"unified": "extreme"}, "off", BLOCK, "kill", "kill", "kill"),
    ({"kernel": "on", "proxy": "on"}, "off", ("bypass", "kernel"), "kernel", "grant", "kill"),
    ({"kernel": "off", "proxy": "on"}, "off", BLOCK, "kill", "kill", "kill"),
])
def test_gate_cells(modes, action, proxy, start, page, refused):
    row = gate.gate_row(modes, False, False, Config(av_failopen=action), True)
    assert (row.proxy, row.object_start, row.page_request, row.object_refused) == (
        proxy, start, page, refused)
    assert row.flow is None and not row.ips_bypass
    assert row.whole == (dict.fromkeys(range(4), "extreme") if "extreme" in modes.values()
                         else {})


def test_gate_of_ips_scope_latch_and_kernel_mode():
    on = {"unified": "on"}
    assert gate.gate_row(on, False, True, Config(), True).flow == ("drop", "ips_block")
    opened = gate.gate_row(on, False, True, Config(ips_fail_open=True), True)
    assert opened.ips_bypass and opened.flow is None
    config = Config(extreme_scope="inspected")
    assert 0 not in gate.gate_row({"unified": "extreme"}, False, False, config, True).whole
    config = Config(av_failopen="one-shot")
    assert gate.gate_row({"unified": "off"}, True, False, config, True).proxy == (
        "bypass", "one_shot")
    config = Config(av_failopen="off", kernel_mode="av-failopen", machine="kernel+proxy")
    assert gate.gate_row({"kernel": "on", "proxy": "off"}, False, False, config, True
                         ).proxy == BLOCK
    config = Config(av_failopen="off", machine="fortios-5")
    assert gate.gate_row({"fortios-5": "on"}, False, False, config, False).proxy is None


def squeezed(**settings):
    """100 pages, 70 base; conserve from 1 s on by 20 pages more, until 5 s."""
    return Firewall(Config(**{
        "ram_bytes": 100 * PAGE, "base_bytes": 70 * PAGE, "accounting": "slab",
        "machine": "unified", "proxy_session_bytes": PAGE, "ips_trigger": (),
        "policies": [{"id": 1, "protocol": "tcp", "inspection": ["antivirus"]},
                     {"id": 2, "ports": [53], "inspection": ["ips"]},
                     {"id": 3, "ports": [99], "inspection": "flow+proxy"}, {"id": 4}],
        "pressure": [{"at_s": 1.0, "add_bytes": 20 * PAGE},
                     {"at_s": 5.0, "add_bytes": -20 * PAGE}], **settings}))


def classes(port):
    """One new flow of each class: proxy, flow, both, none."""
    return [tcp(A, port, X, 80, SYN), udp(A, port, X, 53), udp(A, port, X, 99),
            udp(A, port, X, 1000)]


@pytest.mark.parametrize(("settings", "expected"), [
    ({"av_failopen": "pass"}, ["bypass_conserve", "new", "bypass_conserve", "new"]),
    ({"av_failopen": "off"}, ["conserve_block", "new", "conserve_block", "new"]),
    ({"av_failopen": "off", "ips_trigger": ("conserve",)},
     ["conserve_block", "ips_block", "conserve_block", "new"]),
    ({"av_failopen": "pass", "ips_trigger": ("conserve",)},
     ["bypass_conserve", "ips_block", "ips_block", "new"]),
    ({"av_failopen": "pass", "ips_trigger": ("conserve",), "ips_fail_open": True},
     ["bypass_conserve", "bypass_ips", "bypass_conserve", "new"]),
])
def test_classes_while_conserving(settings, expected):
    firewall = squeezed(**settings)
    for frame in classes(1):
        assert send(firewall, frame)[1] == "new"
    send(firewall, bytes(60), 1)
    assert reasons(firewall, classes(2), 1) == expected
    send(firewall, bytes(60), 5)
    assert reasons(firewall, classes(3), 5) == ["new"] * 4


def test_ips_fail_open_reaches_existing_flow_sessions():
    firewall = squeezed(ips_trigger=("conserve",), ips_fail_open=True)
    dns = udp(A, 1, X, 53)
    assert send(firewall, dns) == ("inspect", "new")
    assert send(firewall, dns, 1) == ("bypass", "bypass_ips")
    assert send(firewall, dns, 5) == ("inspect", "hit")
    assert firewall.exposure["ips"] == {"sessions": 1, "packets": 1, "bytes": 42}
    assert kinds(firewall) == ["conserve_entered", "ips_fail_open_entered", "conserve_left",
                               "ips_fail_open_left"]


def test_one_shot_stays_after_recovery_until_it_is_changed():
    firewall = squeezed(av_failopen="one-shot")
    assert send(firewall, tcp(A, 1, X, 80, SYN))[1] == "new"
    assert send(firewall, tcp(A, 2, X, 80, SYN), 1)[1] == "bypass_conserve"
    assert send(firewall, tcp(A, 3, X, 80, SYN), 5)[1] == "bypass_one_shot"
    assert send(firewall, tcp(A, 2, X, 80, SYN), 5)[1] == "bypass_conserve"  # for its life
    assert send(firewall, tcp(A, 1, X, 80, SYN), 5) == ("inspect", "hit")
    firewall.configure(av_failopen="pass")
    assert send(firewall, tcp(A, 4, X, 80, SYN), 5) == ("inspect", "new")
    assert kinds(firewall) == ["conserve_entered", "one_shot_latched", "conserve_left",
                               "one_shot_released", "configured"]
    assert firewall.exposure["conserve"]["packets"] == 2
    assert firewall.exposure["conserve"]["sessions"] == 1


def test_kernel_and_proxy_side_by_side():
    gib = 2**30
    firewall = Firewall(Config(
        ram_bytes=2 * gib, base_bytes=gib, accounting="slab", machine="kernel+proxy",
        av_failopen="off", policies=[{"id": 1, "inspection": "proxy"}], pressure=[
            # proxy enters below 12 % of 2 GiB: 62914 pages, kernel below 51200
            {"at_s": 1.0, "add_bytes": gib - 60000 * PAGE},
            {"at_s": 2.0, "add_bytes": 10000 * PAGE}]))
    assert send(firewall, udp(A, 1, X, 9))[1] == "new"
    assert send(firewall, udp(A, 2, X, 9), 1)[1] == "conserve_block"
    assert send(firewall, udp(A, 2, X, 9), 2)[1] == "bypass_kernel"
    assert [row["machine"] for row in firewall.transitions] == ["proxy", "kernel"]


def test_fortios_5_without_proxy_policies_changes_nothing():
    firewall = squeezed(base_bytes=80 * PAGE, machine="fortios-5", av_failopen="off", policies=[],
                        ips_trigger=("conserve",))
    assert send(firewall, udp(A, 1, X, 9))[1] == "new"
    assert firewall.modes == {"fortios-5": "on"}  # 19 free of 20
    assert send(firewall, udp(A, 2, X, 9))[1] == "new"
    assert kinds(firewall) == ["conserve_entered"]


# --- Idledrop ------------------------------------------------------------------------------


def crowd(**settings):
    """79 base pages and 7 one-page sessions; 2 more pages at 1 s; green 84, red 88."""
    firewall = squeezed(base_bytes=79 * PAGE, session_bytes=PAGE, av_failopen="idledrop",
                        memory_use_threshold_green=84, policies=[{"id": 1}],
                        pressure=[{"at_s": 1.0, "add_bytes": 2 * PAGE}], **settings)
    for packet, host in enumerate((B, A, C, B, A, C, C)):
        send(firewall, udp(host, packet, X, 9))
    return firewall


def test_idledrop_kills_the_busiest_hosts_and_breaks_ties_by_address():
    firewall = crowd()
    firewall.configure(policies=[{"id": 1}, {"id": 2, "inspection": "proxy"}])
    send(firewall, bytes(60), 1)
    # 88 used: C's three go (85), then A's two (83 < 84), B stays
    assert firewall.idledrop_hosts == [{"host": C, "sessions": 3}, {"host": A, "sessions": 2}]
    assert [(v["created_packet"], v["ended_packet"]) for v in firewall.victims] == [
        (3, 8), (6, 8), (7, 8), (2, 8), (5, 8)]
    assert modes(firewall) == [(8, S, "time", "off", "on"), (8, S, "time", "on", "off")]
    assert kinds(firewall) == ["configured", "conserve_entered", "conserve_left", "idledrop"]
    assert firewall.events[-1] == {"kind": "idledrop", "packet": 8, "time_ns": T0 + S,
                                   "hosts": 2, "sessions": 5}


def test_idledrop_of_the_idle_waits_for_a_tick():
    firewall = crowd(idledrop_variant="idle", idledrop_idle_s=2)
    send(firewall, udp(C, 2, X, 9), 1)  # on, nobody idle for 2 s
    assert firewall.live == 7
    send(firewall, bytes(60), 1.999)
    assert firewall.live == 7
    send(firewall, bytes(60), 2)  # C's two that are idle: 86, A's two: 84, B's two: 82
    assert firewall.live == 1 and firewall.ended["killed"] == 6
    assert firewall.transitions[-1]["time_ns"] == T0 + 2 * S


def test_idledrop_spares_local_tcp_and_blocks_proxied_flows():
    firewall = squeezed(av_failopen="idledrop", session_bytes=PAGE, policies=[
        {"id": 1, "ports": [22], "action": "local"}, {"id": 2, "inspection": "proxy"}])
    send(firewall, tcp(A, 1, X, 22, SYN))
    send(firewall, udp(A, 1, X, 22))
    send(firewall, tcp(A, 1, X, 80, SYN), 1)
    assert firewall.ended["killed"] == 1 and firewall.live == 1
    assert send(firewall, tcp(A, 1, X, 80, SYN), 2)[1] == "conserve_block"


# --- Objects -------------------------------------------------------------------------------


def proxied(**settings):
    """1000 pages, a page a proxied session, no machine; the session of port 1 is open."""
    firewall = Firewall(Config(**{
        "ram_bytes": 1000 * PAGE, "accounting": "slab", "proxy_session_bytes": PAGE,
        "cache_limit_bytes": 2 * PAGE, "oversize_bytes": 10_000,
        "policies": [{"id": 1, "inspection": "proxy"}], **settings}))
    assert send(firewall, tcp(A, 1, X, 80, ACK)) == ("inspect", "new")
    return firewall


def test_object_pages_come_and_go():
    firewall = proxied()
    there, back = (A, 1, X, 80), (X, 80, A, 1)

    def after(ends, flags, payload):
        result = send(firewall, tcp(*ends, flags, payload))
        now = firewall.memory.now()
        return (*result, now["shm"], now["cache"])

    assert after(there, ACK, 4096) == ("inspect", "hit", 2, 0)
    assert after(there, ACK, 1) == ("inspect", "hit", 3, 0)
    assert after(back, ACK, 0) == ("inspect", "hit", 3, 0)  # no payload: the run goes on
    assert after(back, ACK, 100) == ("inspect", "hit", 2, 2)  # two to the cache, one new
    assert after(back, ACK, 9900) == ("inspect", "hit", 4, 2)  # 10000 bytes: 3 pages
    assert after(back, ACK, 1) == ("bypass", "bypass_oversize", 1, 2)
    assert after(back, ACK, 1) == ("bypass", "bypass_oversize", 1, 2)
    assert after(back, ACK, 0) == ("inspect", "hit", 1, 2)
    assert after(there, FIN | ACK, 10) == ("inspect", "hit", 1, 2)  # counted, then ended
    assert after(there, RST, 0) == ("inspect", "hit", 1, 2)
    counters = firewall.counters()
    assert counters["proxy"] == {"sessions": 1, "peak": 1, "objects": 3,
                                 "objects_bypassed": 0, "objects_oversize": 1}
    assert counters["memory"]["peak"]["shm"] == 4
    send(firewall, bytes(60), 5)
    assert firewall.memory.now()["shm"] == 0


def test_objects_in_conserve_finish_or_pass():
    pressure = [{"at_s": 1.0, "add_bytes": 900 * PAGE}]
    firewall = proxied(machine="unified", ips_trigger=(), pressure=pressure)
    there, back = (A, 1, X, 80), (X, 80, A, 1)
    assert send(firewall, tcp(*there, ACK, 100))[1] == "hit"
    assert send(firewall, tcp(*there, ACK, 5000), 1)[1] == "hit"  # finished
    assert send(firewall, tcp(*back, ACK, 100), 1) == ("bypass", "bypass_conserve")
    assert send(firewall, tcp(*back, ACK, 0), 1) == ("inspect", "hit")
    assert (firewall.objects, firewall.objects_bypassed) == (2, 1)
    for payload, result in ((3996, "hit"), (3997, "killed")):  # a second page is asked for
        firewall = proxied(machine="unified", ips_trigger=(), av_failopen="off",
                           pressure=pressure)
        send(firewall, tcp(*there, ACK, 100))
        assert send(firewall, tcp(*there, ACK, payload), 1)[1] == result
    assert firewall.victims[-1]["cause"] == "killed"
    assert firewall.victims[-1]["bytes"] == 54 + 154 + 54 + 3997


@pytest.mark.parametrize(("action", "result"), [
    ("pass", ("bypass", "bypass_no_memory")), ("one-shot", ("bypass", "bypass_no_memory")),
    ("off", ("drop", "killed")), ("idledrop", ("drop", "killed")),
])
def test_an_object_that_gets_no_page(action, result):
    firewall = proxied(ram_bytes=2 * PAGE, av_failopen=action)  # session, proxy session
    assert send(firewall, tcp(A, 1, X, 80, ACK, 10)) == result
    assert firewall.ended["tension"] == 0  # its own session is pinned


def test_proxy_table_full():
    other = udp(B, 1, X, 80)
    assert send(proxied(proxy_max_sessions=1), other) == ("drop", "proxy_table_full")
    for action, result in (("pass", "bypass_proxy_table"), ("one-shot", "bypass_proxy_table"),
                           ("off", "proxy_table_full"), ("idledrop", "proxy_table_full")):
        firewall = proxied(proxy_max_sessions=1, av_failopen_session=True, av_failopen=action)
        assert send(firewall, other)[1] == result


# --- IPS -----------------------------------------------------------------------------------


def test_ips_buffer_fills_and_drains_by_the_nanosecond():
    # 8000 bit/s: one byte a millisecond
    firewall = squeezed(machine="none", ips_trigger=("buffer",), ips_socket_bytes=1000,
                        ips_throughput_bps=8000, pressure=[])
    assert send(firewall, udp(A, 1, X, 53, 600))[1] == "new"
    assert send(firewall, udp(A, 1, X, 53, 600), 0.1)[1] == "hit"  # 600 - 100 + 600: full
    assert send(firewall, udp(A, 1, X, 53), 0.1) == ("inspect", "hit")
    assert send(firewall, udp(A, 2, X, 53), 0.599999999)[1] == "ips_block"
    assert send(firewall, udp(A, 2, X, 53), 0.6)[1] == "new"
    assert (firewall.ips_filled_bytes, firewall.ips_full_count) == (1200, 1)
    assert [(e["kind"], e["packet"]) for e in firewall.events[1:]] == [
        ("ips_fail_open_entered", 2), ("ips_fail_open_left", 5)]


def test_ips_deadline_moves_with_later_filling():
    firewall = squeezed(machine="none", ips_trigger=("buffer",), ips_socket_bytes=1000,
                        ips_throughput_bps=8000, pressure=[])
    send(firewall, udp(A, 1, X, 53, 1000))
    send(firewall, udp(A, 1, X, 53, 200), 0.3)  # 700 + 200: half empty at 0.7
    assert send(firewall, udp(A, 2, X, 53), 0.699999999)[1] == "ips_block"
    assert send(firewall, udp(A, 2, X, 53), 0.7)[1] == "new"


# --- The outcome and the captures ----------------------------------------------------------


def test_outcome_by_hand():
    firewall = plain(max_connections=1)
    for port in (1, 2):
        send(firewall, udp(A, port, X, 9))

    def short(data):
        return hashlib.blake2b(data, digest_size=16)

    pairs = short(bytes([FORWARD, 0, FORWARD, 0])).digest()
    victims = short(struct.pack("<QQB", 1, 2, 3)).digest()
    text = json.dumps({"transitions": [], "events": firewall.events,
                       "counters": firewall.counters()}, sort_keys=True,
                      separators=(",", ":")).encode()
    assert firewall.outcome() == "1:" + short(pairs + victims + text).hexdigest()
    assert (FORWARD, INSPECT, BYPASS, DROP) == (0, 1, 2, 3)
    assert (len(twin.REASONS), len(twin.CAUSES), len(twin.ENDS)) == (33, 8, 7)
    assert all(twin.REASONS[9 + n] == f"bypass_{cause}" for n, cause in enumerate(twin.CAUSES[:7]))


def test_the_twin_shares_nothing():
    files = sorted(Path(twin.__file__).parent.glob("*.py"))
    assert len(files) > 20
    for path in files:
        text = path.read_text()
        imported = re.findall(r"^\s*(?:from|import)\s+([\w.]+)", text, re.MULTILINE)
        assert [name for name in imported if name.split(".")[0] not in sys.stdlib_module_names
                and not name.startswith("fwcore.reference.")] == [], path
        assert len(text.splitlines()) <= 400, f"{path}: more than can be read in a sitting"


CAPTURES = Path(os.environ.get(
    "FWCORE_CAPTURES", Path(__file__).parents[2] / "shared" / "pcaps"))


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no captures beside the checkout")
def test_captures_never_raise():
    utils = pytest.importorskip("scapy.utils")
    faults = (EOFError, OSError, ValueError, struct.error, utils.Scapy_Exception)
    for path in sorted(CAPTURES.iterdir()):
        firewall = squeezed(max_connections=50, when_full="tension")
        with path.open("rb") as file:
            try:
                reader = utils.RawPcapReader(file)
            except faults:  # not a capture that Scapy reads
                continue
            while True:
                try:
                    frame, meta = reader._read_packet()
                except faults:  # the end, or a fault of the capture
                    break
                link = meta.linktype if hasattr(meta, "linktype") else reader.linktype
                firewall.packet(bytes(frame), firewall.packets * 10**7, meta.wirelen, link)
        assert firewall.outcome()
