"""Conserve machines: (mode, memory) -> mode. Each enters and leaves in one function."""

from __future__ import annotations

from typing import Any, NamedTuple

from fwcore.reference.config import Config
from fwcore.reference.words import GIB, MIB, PAGE, pages_of


class Snapshot(NamedTuple):
    """What the machines look at, in pages and sessions."""

    total: int
    used: int
    cache: int
    free: int
    shm: int
    proxy_sessions: int


class Unified:
    """FortiOS 5.6 and later [T]: three levels of used memory."""

    name = "unified"

    def __init__(self, config: Config, total: int) -> None:
        self.green = total * config.memory_use_threshold_green // 100
        self.red = total * config.memory_use_threshold_red // 100
        self.extreme = total * config.memory_use_threshold_extreme // 100

    def step(self, mode: str, now: Snapshot) -> str:
        """One decision; extreme has no hysteresis of its own."""
        if mode == "off":
            return "on" if now.used >= self.red else "off"
        if now.used < self.green:
            return "off"
        return "extreme" if now.used + now.cache >= self.extreme else "on"


class FreeMemory:
    """FortiOS 4 [K]: on below `enter` free pages, off above `leave`."""

    def __init__(self, name: str, enter: int, leave: int, reach: int | None = None) -> None:
        self.name = name
        self.enter = enter
        self.leave = leave
        self.reach = reach  # pages the kernel can reach (lowmem); None: all

    def step(self, mode: str, now: Snapshot) -> str:
        """One decision on the pages that are free without the cache."""
        free = now.free if self.reach is None else max(0, self.reach - now.used - now.cache)
        if mode == "off":
            return "on" if free < self.enter else "off"
        return "off" if free > self.leave else "on"


def kernel_machine(config: Config, total: int) -> FreeMemory | None:
    """Levels by RAM [K]; below 512 MiB the KB lists none, and there is no such machine."""
    if config.ram_bytes < 512 * MIB:
        return None
    if config.lowmem:
        reach = total * 7 // 8
        return FreeMemory("kernel", reach * 20 // 100, reach * 30 // 100, reach)
    if config.ram_bytes >= GIB:
        return FreeMemory("kernel", 200 * MIB // PAGE, 300 * MIB // PAGE)
    return FreeMemory("kernel", total * 20 // 100, total * 30 // 100)


def proxy_machine(config: Config, total: int) -> FreeMemory:
    """Levels by the RAM of the model [K]; below 128 MiB the first row [D]."""
    if config.model_bytes >= GIB:
        return FreeMemory("proxy", max(1, total * 12 // 100), total * 18 // 100)
    if config.model_bytes >= 512 * MIB:
        return FreeMemory("proxy", max(1, total * 20 // 100), total * 30 // 100)
    if config.model_bytes >= 256 * MIB:
        return FreeMemory("proxy", 40 * MIB // PAGE, 60 * MIB // PAGE)
    return FreeMemory("proxy", 10 * MIB // PAGE, 20 * MIB // PAGE)


class FortiOS5:
    """FortiOS 5 [H]: one mode; RAM, shared memory and the proxy table lead into it."""

    name = "fortios-5"

    def __init__(self, config: Config, total: int, proxy_runs: bool) -> None:
        self.enter = max(1, total * 20 // 100)  # below 0 pages there is nothing
        self.leave = total * 30 // 100
        self.proxy_runs = proxy_runs
        self.shm_limit = pages_of(config.shm_limit_bytes)
        self.shm_enter = self.shm_limit * 20 // 100
        self.shm_leave = self.shm_limit * 30 // 100
        self.proxy_max = config.proxy_max_sessions
        self.proxy_leave = config.proxy_max_sessions * 90 // 100

    def step(self, mode: str, now: Snapshot) -> str:
        """One decision: any way leads in, all of them must be clear to leave."""
        shm_free = self.shm_limit - now.shm
        enters = now.free < self.enter
        leaves = now.free > self.leave
        if self.proxy_runs:
            enters |= shm_free < self.shm_enter or now.proxy_sessions >= self.proxy_max
            leaves &= shm_free > self.shm_leave and now.proxy_sessions <= self.proxy_leave
        if mode == "off":
            return "on" if enters else "off"
        return "off" if leaves and not enters else "on"


def make_machines(config: Config, total: int, proxy_policies: bool) -> list[Any]:
    """The machines of an appliance, in the order in which they decide."""
    if config.machine == "unified":
        return [Unified(config, total)]
    if config.machine == "fortios-5":
        return [FortiOS5(config, total, proxy_policies or config.sip_alg)]
    if config.machine == "kernel+proxy":
        both = kernel_machine(config, total), proxy_machine(config, total)
        return [machine for machine in both if machine]
    return []
