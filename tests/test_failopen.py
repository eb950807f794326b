"""Every cell of the gate table, written out by hand; then the rules around it."""

from types import SimpleNamespace

import pytest

from fwcore._layout import Exposure, GateAction, ObjectAction, Reason
from fwcore.failopen import TABLE, GateRow, gate_row, idledrop_active, ips_fail_state, sets_latch

A, B, D = GateAction.ADMIT, GateAction.BYPASS, GateAction.DROP
GRANT, OBJ, KILL = ObjectAction.GRANT, ObjectAction.BYPASS, ObjectAction.KILL
CONS, KERN, SHOT = Exposure.CONSERVE, Exposure.KERNEL, Exposure.ONE_SHOT
FAILOPENS = ("pass", "off", "one-shot", "idledrop")

OFF = {"unified": "off"}
ON = {"unified": "on"}
EXTREME = {"unified": "extreme"}
CALM4 = {"kernel": "off", "proxy": "off"}
PROXY4 = {"kernel": "off", "proxy": "on"}
KERNEL4 = {"kernel": "on", "proxy": "off"}
BOTH4 = {"kernel": "on", "proxy": "on"}
OFF5 = {"fortios-5": "off"}
ON5 = {"fortios-5": "on"}


def make(**changes):
    values = {
        "machine": "unified",
        "av_failopen": "pass",
        "av_failopen_session": False,
        "ips_fail_open": False,
        "ips_trigger": ("conserve", "buffer"),
        "extreme_scope": "all",
        "kernel_mode": "bypass",
    }
    return SimpleNamespace(**(values | changes))


def row(modes, latch=False, ips=False, proxy_policies=True, **changes) -> GateRow:
    machine = next(iter(modes), "none")
    kind = {"kernel": "kernel+proxy"}.get(machine, machine)
    return gate_row(
        modes, latch, ips, make(machine=kind, **changes), proxy_policies=proxy_policies
    )


# The table of semantics 9. Cells of the four classes: none, flow, proxy, flow+proxy.
# state      av-failopen  kernel_mode    actions         DROP  cause  page   object
CB, EX = Reason.CONSERVE_BLOCK, Reason.EXTREME
TABLE_ROWS = [
    (OFF,      "pass",      "bypass",      (A, A, A, A),   None, None,  GRANT, GRANT),
    (OFF,      "off",       "bypass",      (A, A, A, A),   None, None,  GRANT, GRANT),
    (OFF,      "one-shot",  "bypass",      (A, A, A, A),   None, None,  GRANT, GRANT),
    (OFF,      "idledrop",  "bypass",      (A, A, A, A),   None, None,  GRANT, GRANT),
    (ON,       "pass",      "bypass",      (A, A, B, B),   None, CONS,  GRANT, OBJ),
    (ON,       "off",       "bypass",      (A, A, D, D),   CB,   None,  KILL,  KILL),
    (ON,       "one-shot",  "bypass",      (A, A, B, B),   None, CONS,  GRANT, OBJ),
    (ON,       "idledrop",  "bypass",      (A, A, D, D),   CB,   None,  GRANT, GRANT),
    (ON5,      "pass",      "bypass",      (A, A, B, B),   None, CONS,  GRANT, OBJ),
    (ON5,      "off",       "bypass",      (A, A, D, D),   CB,   None,  KILL,  KILL),
    (ON5,      "one-shot",  "bypass",      (A, A, B, B),   None, CONS,  GRANT, OBJ),
    (ON5,      "idledrop",  "bypass",      (A, A, D, D),   CB,   None,  GRANT, GRANT),
    (PROXY4,   "pass",      "bypass",      (A, A, B, B),   None, CONS,  GRANT, OBJ),
    (PROXY4,   "off",       "bypass",      (A, A, D, D),   CB,   None,  KILL,  KILL),
    (PROXY4,   "one-shot",  "bypass",      (A, A, B, B),   None, CONS,  GRANT, OBJ),
    (PROXY4,   "idledrop",  "bypass",      (A, A, D, D),   CB,   None,  GRANT, GRANT),
    (KERNEL4,  "pass",      "bypass",      (A, A, B, B),   None, KERN,  GRANT, OBJ),
    (KERNEL4,  "off",       "bypass",      (A, A, B, B),   None, KERN,  GRANT, OBJ),
    (KERNEL4,  "one-shot",  "bypass",      (A, A, B, B),   None, KERN,  GRANT, OBJ),
    (KERNEL4,  "idledrop",  "bypass",      (A, A, B, B),   None, KERN,  GRANT, OBJ),
    (BOTH4,    "pass",      "bypass",      (A, A, B, B),   None, KERN,  GRANT, OBJ),
    (BOTH4,    "off",       "bypass",      (A, A, B, B),   None, KERN,  GRANT, OBJ),
    (BOTH4,    "one-shot",  "bypass",      (A, A, B, B),   None, KERN,  GRANT, OBJ),
    (BOTH4,    "idledrop",  "bypass",      (A, A, B, B),   None, KERN,  GRANT, OBJ),
    (KERNEL4,  "pass",      "av-failopen", (A, A, B, B),   None, KERN,  GRANT, OBJ),
    (KERNEL4,  "off",       "av-failopen", (A, A, D, D),   CB,   None,  KILL,  KILL),
    (KERNEL4,  "one-shot",  "av-failopen", (A, A, B, B),   None, KERN,  GRANT, OBJ),
    (KERNEL4,  "idledrop",  "av-failopen", (A, A, D, D),   CB,   None,  GRANT, GRANT),
    (BOTH4,    "pass",      "av-failopen", (A, A, B, B),   None, KERN,  GRANT, OBJ),
    (EXTREME,  "pass",      "bypass",      (D, D, D, D),   EX,   None,  GRANT, OBJ),
    (EXTREME,  "off",       "bypass",      (D, D, D, D),   EX,   None,  KILL,  KILL),
    (EXTREME,  "one-shot",  "bypass",      (D, D, D, D),   EX,   None,  GRANT, OBJ),
    (EXTREME,  "idledrop",  "bypass",      (D, D, D, D),   EX,   None,  GRANT, GRANT),
]


def check(found, actions, reason, cause, page, start):
    assert found.action == actions
    for action, why, whose in zip(found.action, found.reason, found.cause, strict=True):
        if action == D:
            assert why == reason
        if action == B:
            assert whose == cause
    assert found.page_request == page
    assert found.object_start == start
    if start == OBJ and cause is not None:
        assert found.object_cause == cause


@pytest.mark.parametrize(
    ("modes", "failopen", "kernel_mode", "actions", "reason", "cause", "page", "start"), TABLE_ROWS
)
def test_table(modes, failopen, kernel_mode, actions, reason, cause, page, start):
    found = row(modes, av_failopen=failopen, kernel_mode=kernel_mode)
    check(found, actions, reason, cause, page, start)


def test_every_cell_is_written():
    states = {state for state, _ in TABLE}
    assert set(TABLE) == {(state, failopen) for state in states for failopen in FAILOPENS}
    assert len(states) == 5


def test_objects_in_extreme_are_conserves():
    assert row(EXTREME).object_cause == CONS


@pytest.mark.parametrize("failopen", FAILOPENS)
def test_latch_bypasses_new_sessions_and_scans_old_ones(failopen):
    found = row(OFF, latch=True, av_failopen=failopen)
    check(found, (A, A, B, B), None, SHOT, GRANT, GRANT)


def test_a_mode_comes_before_the_latch():
    assert row(ON, latch=True, av_failopen="one-shot").cause[2] == CONS
    assert row(KERNEL4, latch=True, av_failopen="one-shot").cause[2] == KERN
    assert row(EXTREME, latch=True, av_failopen="one-shot").action == (D, D, D, D)


def test_extreme_of_inspected_sessions_only():
    found = row(EXTREME, extreme_scope="inspected", av_failopen="off")
    check(found, (A, D, D, D), EX, None, KILL, KILL)


@pytest.mark.parametrize("modes", [{}, OFF, CALM4, OFF5])
def test_everything_off_scans_everything(modes):
    check(row(modes), (A, A, A, A), None, None, GRANT, GRANT)


@pytest.mark.parametrize("failopen", FAILOPENS)
def test_fortios_5_without_proxy_policies_changes_nothing(failopen):
    found = row(ON5, proxy_policies=False, av_failopen=failopen)
    assert found == row(OFF5, proxy_policies=False, av_failopen=failopen)
    check(found, (A, A, A, A), None, None, GRANT, GRANT)


# --- the flow part: IPS ---

IB = Reason.IPS_BLOCK
IPS_CLOSED = [
    # state     av-failopen  actions        reasons where DROP: flow, proxy, flow+proxy
    (OFF,       "pass",      (A, D, A, D),  (IB, None, IB)),      # the buffer, outside conserve
    (ON,        "pass",      (A, D, B, D),  (IB, None, IB)),
    (ON,        "off",       (A, D, D, D),  (IB, CB, CB)),        # both drop: the proxy part's
    (ON,        "idledrop",  (A, D, D, D),  (IB, CB, CB)),
    (KERNEL4,   "pass",      (A, D, B, D),  (IB, None, IB)),
    (EXTREME,   "pass",      (D, D, D, D),  (EX, EX, EX)),
]


@pytest.mark.parametrize(("modes", "failopen", "actions", "reasons"), IPS_CLOSED)
def test_ips_fails_closed(modes, failopen, actions, reasons):
    found = row(modes, ips=True, av_failopen=failopen)
    assert found.action == actions
    assert found.ips_bypass is False
    for place, reason in enumerate(reasons, start=1):
        if reason is not None:
            assert found.reason[place] == reason


@pytest.mark.parametrize("failopen", FAILOPENS)
@pytest.mark.parametrize("modes", [OFF, ON, EXTREME, KERNEL4, ON5])
def test_ips_fails_open(modes, failopen):
    """Only the bypass of flow sessions is added; admission is as if IPS were well."""
    well = row(modes, av_failopen=failopen, ips_fail_open=True)
    failed = row(modes, ips=True, av_failopen=failopen, ips_fail_open=True)
    assert well.ips_bypass is False
    assert failed == well._replace(ips_bypass=True)


def test_av_fails_open_and_ips_closed_by_default():
    found = row(ON, ips=ips_fail_state(ON, False, make(), proxy_policies=True))
    assert found.action == (A, D, B, D)


IPS_STATE = [
    # modes    buffer full, trigger                 proxy policies -> fail state
    (OFF,      False,  ("conserve", "buffer"),      True,  False),
    (ON,       False,  ("conserve", "buffer"),      True,  True),
    (EXTREME,  False,  ("conserve",),               True,  True),
    (ON,       False,  ("buffer",),                 True,  False),
    (OFF,      True,   ("buffer",),                 True,  True),
    (OFF,      True,   ("conserve",),               True,  False),
    (ON,       True,   (),                          True,  False),
    (KERNEL4,  False,  ("conserve",),               True,  False),    # the kernel's does not count
    (BOTH4,    False,  ("conserve",),               True,  True),
    (ON5,      False,  ("conserve",),               True,  True),
    (ON5,      False,  ("conserve",),               False, False),
    (ON5,      True,   ("buffer",),                 False, True),
    (ON,       False,  ("conserve",),               False, True),     # only fortios-5 asks
    ({},       True,   ("conserve", "buffer"),      True,  True),
]


@pytest.mark.parametrize(("modes", "full", "trigger", "policies", "fails"), IPS_STATE)
def test_ips_fail_state(modes, full, trigger, policies, fails):
    values = make(machine=next(iter(modes), "none"), ips_trigger=trigger)
    assert ips_fail_state(modes, full, values, proxy_policies=policies) is fails


# --- what a refused page and a full proxy table do ---

REFUSED = [("pass", OBJ), ("one-shot", OBJ), ("off", KILL), ("idledrop", KILL)]


@pytest.mark.parametrize(("failopen", "action"), REFUSED)
@pytest.mark.parametrize("modes", [OFF, ON, EXTREME, KERNEL4, ON5, {}])
def test_object_refused_in_every_mode(modes, failopen, action):
    assert row(modes, av_failopen=failopen).object_refused == action


FULL = [
    # state   av-failopen  av_failopen_session -> action
    (OFF,     "pass",      False,  D),
    (OFF,     "pass",      True,   B),
    (OFF,     "one-shot",  True,   B),
    (OFF,     "off",       True,   D),
    (OFF,     "idledrop",  True,   D),
    (CALM4,   "pass",      False,  D),
    (CALM4,   "pass",      True,   B),
    (OFF5,    "pass",      True,   D),      # a way into the mode: it never bypasses by itself
    (OFF5,    "pass",      False,  D),
]


@pytest.mark.parametrize(("modes", "failopen", "enabled", "action"), FULL)
def test_full_proxy_table(modes, failopen, enabled, action):
    found = row(modes, av_failopen=failopen, av_failopen_session=enabled)
    assert found.full_action == action
    if action == D:
        assert found.full_reason == Reason.PROXY_TABLE_FULL
    else:
        assert found.full_cause == Exposure.PROXY_TABLE


# --- idledrop and the latch ---

IDLEDROP = [
    # modes    kernel_mode    proxy policies -> at work
    (OFF,      "bypass",      True,  False),
    (ON,       "bypass",      True,  True),
    (EXTREME,  "bypass",      True,  True),
    (ON,       "bypass",      False, True),
    (PROXY4,   "bypass",      True,  True),
    (KERNEL4,  "bypass",      True,  False),
    (BOTH4,    "bypass",      True,  False),
    (KERNEL4,  "av-failopen", True,  True),
    (CALM4,    "av-failopen", True,  False),
    (ON5,      "bypass",      True,  True),
    (ON5,      "bypass",      False, False),
]


@pytest.mark.parametrize(("modes", "kernel_mode", "policies", "active"), IDLEDROP)
def test_idledrop_active(modes, kernel_mode, policies, active):
    machine = next(iter(modes))
    values = make(machine=machine, av_failopen="idledrop", kernel_mode=kernel_mode)
    assert idledrop_active(modes, values, proxy_policies=policies) is active
    values.av_failopen = "pass"
    assert idledrop_active(modes, values, proxy_policies=policies) is False


LATCH = [
    ("unified", "bypass", True), ("fortios-5", "bypass", True), ("proxy", "bypass", True),
    ("kernel", "bypass", False), ("kernel", "av-failopen", True),
]


@pytest.mark.parametrize(("machine", "kernel_mode", "sets"), LATCH)
def test_sets_latch(machine, kernel_mode, sets):
    values = make(av_failopen="one-shot", kernel_mode=kernel_mode)
    assert sets_latch(machine, values) is sets
    values.av_failopen = "pass"
    assert sets_latch(machine, values) is False


def test_rows_are_made_once():
    assert row(ON) is row(ON)
