"""The gate: modes and settings -> what a new session gets."""

from __future__ import annotations

from dataclasses import dataclass, field

from fwcore.reference.config import Config


@dataclass
class Gate:
    """What the control plane tells the data plane: one row, looked up and never computed.

    `flow`, `proxy`: what happens to that part of a new session: None admits it, ("bypass",
    cause) or ("drop", reason). `whole` does not care about parts: None or ("drop", reason).
    """

    whole: dict[int, str] = field(default_factory=dict)  # inspection class -> drop reason
    flow: tuple[str, str] | None = None
    proxy: tuple[str, str] | None = None
    proxy_full: tuple[str, str] = ("drop", "proxy_table_full")
    ips_bypass: bool = False  # packets of flow sessions pass unscanned
    object_start: str = "grant"  # grant | kill | exposure cause of the bypass
    page_request: str = "grant"  # grant | kill
    object_refused: str = "bypass"  # bypass | kill


def gate_governor(modes: dict[str, str], config: Config, proxy_policies: bool) -> str:
    """Who decides about the proxy part: "off", "kernel" or "failopen" (av-failopen)."""
    if modes.get("kernel", "off") != "off" and config.kernel_mode == "bypass":
        return "kernel"
    if config.machine == "fortios-5" and not proxy_policies:
        return "off"
    return "failopen" if any(mode != "off" for mode in modes.values()) else "off"


def gate_row(
    modes: dict[str, str], latch: bool, ips_fail: bool, config: Config, proxy_policies: bool
) -> Gate:
    """The row of the table in semantics 9 for a state of things."""
    gate = Gate()
    action = config.av_failopen
    governor = gate_governor(modes, config, proxy_policies)
    if governor == "kernel":
        gate.proxy, gate.object_start = ("bypass", "kernel"), "kernel"
    elif governor == "failopen" and action == "off":
        gate.proxy = ("drop", "conserve_block")
        gate.object_start = gate.page_request = "kill"
    elif governor == "failopen" and action == "idledrop":
        gate.proxy = ("drop", "conserve_block")
    elif governor == "failopen":
        cause = "kernel" if modes.get("kernel", "off") != "off" else "conserve"
        gate.proxy, gate.object_start = ("bypass", cause), cause
    elif latch:  # "will force new sessions to bypass": what is proxied already is scanned [H]
        gate.proxy = ("bypass", "one_shot")
    if action in ("off", "idledrop"):
        gate.object_refused = "kill"
    elif config.av_failopen_session and config.machine != "fortios-5":
        gate.proxy_full = ("bypass", "proxy_table")
    if ips_fail and config.ips_fail_open:
        gate.ips_bypass = True
    elif ips_fail:
        gate.flow = ("drop", "ips_block")
    if "extreme" in modes.values():
        classes = (0, 1, 2, 3) if config.extreme_scope == "all" else (1, 2, 3)
        gate.whole = dict.fromkeys(classes, "extreme")
    return gate
