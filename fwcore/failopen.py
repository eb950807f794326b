"""The gate: what a new session, an object and a page request get, from the state of things.

``TABLE`` below is the rule, one row per state, cells in the order

    none | proxy part | flow part | a scanning session asks for a page | an object starts

and ``gate_row`` is how one row becomes what the fast path indexes: one action per inspection
class. The flow part of every row is admitted here and decided by the IPS state afterwards, because
the IPS buffer counts in every mode.

Laws:
 1. Pure: equal arguments give the same (cached) row. No mode is decided here, only its effect.
 2. The verdict of a mixture is the worst part, DROP > BYPASS > ADMIT; where both parts drop, the
    proxy part names the reason.
 3. AV fails open by default and IPS closed; the asymmetry is the vendor's [T] and is kept.

Marks: [K] FortiGate KB 198580, [H] FortiOS 5 online help, [T] FortiOS 7 tuning guide, [R] public
record, [D] decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from fwcore._layout import Exposure, GateAction, ObjectAction, Reason

FLOW: Final = 1
PROXY: Final = 2

PASS: Final = "pass"
OFF: Final = "off"
ONE_SHOT: Final = "one-shot"
IDLEDROP: Final = "idledrop"

# Where an action needs no reason (not a DROP) or no cause (not a BYPASS), the field says this and
# is not read.
UNREAD_REASON: Final = Reason.NEW
UNREAD_CAUSE: Final = Exposure.CONSERVE


class GateRow(NamedTuple):
    """What the fast path indexes. Tuples have one place per class: none, flow, proxy, flow+proxy.

    ``BYPASS`` of flow+proxy means its proxy part; its flow part is inspected unless ``ips_bypass``.
    """

    action: tuple[GateAction, GateAction, GateAction, GateAction]
    reason: tuple[Reason, Reason, Reason, Reason]           # read where the action is DROP
    cause: tuple[Exposure, Exposure, Exposure, Exposure]    # read where the action is BYPASS
    # The proxy part of a session that would be proxied, when the proxy session table is full:
    full_action: GateAction
    full_reason: Reason
    full_cause: Exposure
    ips_bypass: bool                # the flow part of every session goes unscanned, old ones too
    object_start: ObjectAction      # a proxied session between objects starts one
    object_cause: Exposure          # read where object_start is BYPASS
    page_request: ObjectAction      # GRANT or KILL: a scanning session asks for a page
    object_refused: ObjectAction    # BYPASS or KILL: that page could not be had


class _Part(NamedTuple):
    """A cell for a part of a session; ``detail`` is the DROP's reason or the BYPASS's cause."""

    action: GateAction
    reason: Reason = UNREAD_REASON
    cause: Exposure = UNREAD_CAUSE


class _Line(NamedTuple):
    """A row of the table, cells in the order of the module's docstring."""

    none: _Part
    proxy: _Part
    flow: _Part
    page_request: ObjectAction
    object_start: ObjectAction


_ADMIT: Final = _Part(GateAction.ADMIT)
_BLOCK: Final = _Part(GateAction.DROP, reason=Reason.CONSERVE_BLOCK)
_EXTREME: Final = _Part(GateAction.DROP, reason=Reason.EXTREME)
_IPS_BLOCK: Final = _Part(GateAction.DROP, reason=Reason.IPS_BLOCK)
_CONSERVE: Final = _Part(GateAction.BYPASS, cause=Exposure.CONSERVE)
_KERNEL: Final = _Part(GateAction.BYPASS, cause=Exposure.KERNEL)
_LATCHED: Final = _Part(GateAction.BYPASS, cause=Exposure.ONE_SHOT)

_GRANT: Final = ObjectAction.GRANT
_BYPASS: Final = ObjectAction.BYPASS
_KILL: Final = ObjectAction.KILL

# Conditions: the state of things, in the table's words.
CALM: Final = "off"
CONSERVE: Final = "conserve"                    # av-failopen decides
KERNEL: Final = "kernel"                        # kernel machine on, kernel_mode bypass
KERNEL_FAILOPEN: Final = "kernel, av-failopen"  # kernel machine on, kernel_mode av-failopen
LATCHED: Final = "one-shot, afterwards"         # every mode off, the latch still set

TABLE: Final[dict[tuple[str, str], _Line]] = {
    # state, av-failopen                none     proxy part  flow    page    object starts
    # --- off: everything is scanned; av-failopen has no say
    (CALM, PASS):                 _Line(_ADMIT, _ADMIT,     _ADMIT, _GRANT, _GRANT),
    (CALM, OFF):                  _Line(_ADMIT, _ADMIT,     _ADMIT, _GRANT, _GRANT),
    (CALM, ONE_SHOT):             _Line(_ADMIT, _ADMIT,     _ADMIT, _GRANT, _GRANT),
    (CALM, IDLEDROP):             _Line(_ADMIT, _ADMIT,     _ADMIT, _GRANT, _GRANT),
    # --- conserve. pass: "bypass the AV proxy and continue"; objects not yet in scan too [H]
    (CONSERVE, PASS):             _Line(_ADMIT, _CONSERVE,  _ADMIT, _GRANT, _BYPASS),
    # off: "Sessions requesting more memory are terminated"; so is one that starts an object [H]
    (CONSERVE, OFF):              _Line(_ADMIT, _BLOCK,     _ADMIT, _KILL,  _KILL),
    # one-shot: as pass; what stays afterwards is LATCHED [H]
    (CONSERVE, ONE_SHOT):         _Line(_ADMIT, _CONSERVE,  _ADMIT, _GRANT, _BYPASS),
    # idledrop: "no unscanned traffic is allowed to pass" [R]; the kills make room [H]
    (CONSERVE, IDLEDROP):         _Line(_ADMIT, _BLOCK,     _ADMIT, _GRANT, _GRANT),
    # --- kernel machine on: "Always by-passing afaik" [K], whatever av-failopen says
    (KERNEL, PASS):               _Line(_ADMIT, _KERNEL,    _ADMIT, _GRANT, _BYPASS),
    (KERNEL, OFF):                _Line(_ADMIT, _KERNEL,    _ADMIT, _GRANT, _BYPASS),
    (KERNEL, ONE_SHOT):           _Line(_ADMIT, _KERNEL,    _ADMIT, _GRANT, _BYPASS),
    (KERNEL, IDLEDROP):           _Line(_ADMIT, _KERNEL,    _ADMIT, _GRANT, _BYPASS),
    # --- kernel machine on, kernel_mode av-failopen: as conserve, the cause is kernel's [D]
    (KERNEL_FAILOPEN, PASS):      _Line(_ADMIT, _KERNEL,    _ADMIT, _GRANT, _BYPASS),
    (KERNEL_FAILOPEN, OFF):       _Line(_ADMIT, _BLOCK,     _ADMIT, _KILL,  _KILL),
    (KERNEL_FAILOPEN, ONE_SHOT):  _Line(_ADMIT, _KERNEL,    _ADMIT, _GRANT, _BYPASS),
    (KERNEL_FAILOPEN, IDLEDROP):  _Line(_ADMIT, _BLOCK,     _ADMIT, _GRANT, _GRANT),
    # --- every mode off again, latch set: "new sessions ... even after it leaves" [H]; sessions
    # that are proxied already are scanned as normal [D]. The latch decides whatever the setting is.
    (LATCHED, PASS):              _Line(_ADMIT, _LATCHED,   _ADMIT, _GRANT, _GRANT),
    (LATCHED, OFF):               _Line(_ADMIT, _LATCHED,   _ADMIT, _GRANT, _GRANT),
    (LATCHED, ONE_SHOT):          _Line(_ADMIT, _LATCHED,   _ADMIT, _GRANT, _GRANT),
    (LATCHED, IDLEDROP):          _Line(_ADMIT, _LATCHED,   _ADMIT, _GRANT, _GRANT),
}

# Extreme drops new sessions; what stands asks for pages and starts objects as in conserve.
EXTREME: Final[dict[str, tuple[_Part, _Part, _Part]]] = {
    # scope        none      proxy part  flow part
    "all":       (_EXTREME, _EXTREME,   _EXTREME),      # "regardless of inspection" [T], [R]
    "inspected": (_ADMIT,   _EXTREME,   _EXTREME),      # the other sentence of [T]
}

# A session's page that cannot be had, in every mode (semantics 6) [D].
OBJECT_REFUSED: Final = {PASS: _BYPASS, ONE_SHOT: _BYPASS, OFF: _KILL, IDLEDROP: _KILL}

# A full proxy session table under av-failopen-session enable: the av-failopen action [R].
_TABLE_BYPASS: Final = _Part(GateAction.BYPASS, cause=Exposure.PROXY_TABLE)
_TABLE_DROP: Final = _Part(GateAction.DROP, reason=Reason.PROXY_TABLE_FULL)
PROXY_TABLE_FULL: Final = {
    PASS: _TABLE_BYPASS, ONE_SHOT: _TABLE_BYPASS, OFF: _TABLE_DROP, IDLEDROP: _TABLE_DROP,
}


def gate_row(
    modes: Mapping[str, str],
    one_shot_latch: bool,
    ips_fail: bool,
    settings: Any,
    *,
    proxy_policies: bool,
) -> GateRow:
    """The row for a state of things.

    ``modes``: machine name -> mode, as the machines report them; ``ips_fail``: as
    ``ips_fail_state`` says; ``settings``: machine, av_failopen, av_failopen_session, ips_fail_open,
    extreme_scope, kernel_mode. The result is cached: a key is a handful of small values.
    """
    av_failopen = settings.av_failopen
    # A full table is fortios-5's way into the mode, so there a full table only ever drops [H].
    full_bypasses = settings.av_failopen_session and settings.machine != "fortios-5"
    scope = settings.extreme_scope if modes.get("unified") == "extreme" else ""
    return _row(
        _condition(modes, one_shot_latch, settings, proxy_policies),
        av_failopen, scope, bool(ips_fail), bool(settings.ips_fail_open), bool(full_bypasses),
    )


def ips_fail_state(
    modes: Mapping[str, str], ips_full: bool, settings: Any, *, proxy_policies: bool
) -> bool:
    """Whether IPS is in its fail state: conserve mode [T] or a full buffer [R], as configured.

    The kernel machine does not count: flow features "continue to operate normally" [H].
    """
    trigger = settings.ips_trigger
    if ips_full and "buffer" in trigger:
        return True
    return "conserve" in trigger and _governed(modes, settings, proxy_policies)


def idledrop_active(modes: Mapping[str, str], settings: Any, *, proxy_policies: bool) -> bool:
    """Whether idledrop is at work: it is the setting, and av-failopen governs the gate.

    Not under a bypassing kernel machine, for there av-failopen has no say [K].
    """
    if settings.av_failopen != IDLEDROP:
        return False
    if modes.get("kernel", "off") != "off":
        return bool(settings.kernel_mode == "av-failopen")
    return _governed(modes, settings, proxy_policies)


def sets_latch(machine: str, settings: Any) -> bool:
    """Whether this machine, leaving off, sets the one-shot latch: av-failopen decides in it."""
    if settings.av_failopen != ONE_SHOT:
        return False
    return machine != "kernel" or settings.kernel_mode == "av-failopen"


def _governed(modes: Mapping[str, str], settings: Any, proxy_policies: bool) -> bool:
    """Whether a machine other than the kernel's is on and has an effect.

    fortios-5 without a policy with proxy inspection: "the actions associated with Conserve mode
    will not actually take place" [H].
    """
    if settings.machine == "fortios-5" and not proxy_policies:
        return False
    return any(mode != "off" for name, mode in modes.items() if name != "kernel")


def _condition(
    modes: Mapping[str, str], one_shot_latch: bool, settings: Any, proxy_policies: bool
) -> str:
    """Which block of the table holds. Where kernel and proxy are both on, kernel decides."""
    if modes.get("kernel", "off") != "off":
        return KERNEL_FAILOPEN if settings.kernel_mode == "av-failopen" else KERNEL
    if _governed(modes, settings, proxy_policies):
        return CONSERVE
    return LATCHED if one_shot_latch else CALM


@cache
def _row(
    condition: str, av_failopen: str, scope: str, ips_fail: bool, ips_open: bool,
    full_bypasses: bool,
) -> GateRow:
    """One row of the table, with extreme and the IPS state laid over it."""
    line = TABLE[condition, av_failopen]
    if scope:
        none, proxy, flow = EXTREME[scope]
    else:
        none, proxy, flow = line.none, line.proxy, line.flow
    if ips_fail and not ips_open and flow.action != GateAction.DROP:
        flow = _IPS_BLOCK
    parts = (none, flow, proxy, _worst(proxy, flow))
    full = PROXY_TABLE_FULL[av_failopen] if full_bypasses else _TABLE_DROP
    return GateRow(
        action=(parts[0].action, parts[1].action, parts[2].action, parts[3].action),
        reason=(parts[0].reason, parts[1].reason, parts[2].reason, parts[3].reason),
        cause=(parts[0].cause, parts[1].cause, parts[2].cause, parts[3].cause),
        full_action=full.action,
        full_reason=full.reason,
        full_cause=full.cause,
        ips_bypass=ips_fail and ips_open,
        object_start=line.object_start,
        object_cause=_object_cause(condition),
        page_request=line.page_request,
        object_refused=OBJECT_REFUSED[av_failopen],
    )


def _worst(proxy: _Part, flow: _Part) -> _Part:
    """The worse part decides a mixture; the proxy part where they are equal."""
    return flow if flow.action > proxy.action else proxy


def _object_cause(condition: str) -> Exposure:
    """Whose fault an object's BYPASS is."""
    return Exposure.KERNEL if condition in (KERNEL, KERNEL_FAILOPEN) else Exposure.CONSERVE
