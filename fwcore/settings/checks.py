"""Settings against each other: what is refused, and what is allowed and probably not meant."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from fwcore import conserve
from fwcore.errors import SettingsError
from fwcore.units import PAGE_BYTES, count, plural, share

if TYPE_CHECKING:
    from fwcore.settings.resolved import Resolved


def _blame(settings: Resolved, *names: str) -> str:
    """The first of these that the user gave, else the first."""
    return next((name for name in names if name in settings.given), names[0])


def _threshold_span(settings: Resolved, name: str) -> tuple[int, int]:
    """What the other two thresholds leave for this one."""
    green, red, extreme = (
        settings.value(f"memory_use_threshold_{level}") for level in ("green", "red", "extreme")
    )
    if name.endswith("green"):
        return 70, red - 1
    if name.endswith("red"):
        return green + 1, extreme - 1
    return red + 1, 97


def _check_thresholds(settings: Resolved) -> None:
    """green < red < extreme [D]."""
    names = [f"memory_use_threshold_{level}" for level in ("green", "red", "extreme")]
    for lower, upper in itertools.pairwise(names):
        if settings.value(lower) < settings.value(upper):
            continue
        name = _blame(settings, upper, lower)
        relation, other = ("above", lower) if name == upper else ("below", upper)
        low, high = _threshold_span(settings, name)
        raise SettingsError(
            f"{settings.where(name)}: {name} = {settings.value(name)} is not {relation} {other}"
            f" ({settings.value(other)}); allowed: {low} to {high} %; green < red < extreme, or"
            " conserve mode could not be entered and left at two different levels"
        )


def _check_fits(settings: Resolved) -> None:
    """What is taken at start must fit RAM; says how much is needed and how much there is."""
    table = settings.preallocated_pages
    needed = (settings.base_pages + table) * PAGE_BYTES
    if needed <= settings.total_pages * PAGE_BYTES:
        return
    name = _blame(settings, *(("max_connections", "session_bytes") if table else ()), "base_bytes",
                  "ram_bytes", "ipsec_max_tunnels")
    parts = f"base {settings.base_bytes}"
    if settings.tunnels_bytes:
        parts += f" + tunnels {settings.tunnels_bytes}"
    if table:
        parts += (f" + {settings.max_connections} connections x {settings.session_bytes} ="
                  f" {settings.max_connections * settings.session_bytes}")
    raise SettingsError(
        f"{settings.where(name)}: {name} = {settings.value(name)} does not fit memory: {needed}"
        f" bytes are needed at start ({parts}), ram_bytes is {settings.ram_bytes}"
    )


def cache_room_pages(settings: Resolved) -> int | None:
    """Most pages of cache with which every legacy machine can still be left; None: no limit.

    Machines on free memory do not count the cache as free. With base and the preallocated table
    in place, nothing else used and the cache full,
    free = watched - base - preallocated - cache must exceed ``leave``.
    Negative: the base alone holds the mode, whatever the cache.
    """
    if settings.machine in ("none", "unified"):
        return None
    exits = conserve.exit_pages(settings).values()
    return min(exits) - settings.base_pages - settings.preallocated_pages


def _check_cache(settings: Resolved) -> None:
    room = cache_room_pages(settings)
    if room is None or room < 0 or settings.cache_limit_pages <= room:
        return
    name = _blame(settings, "cache_limit_bytes", "base_bytes", "ram_bytes", "max_connections")
    raise SettingsError(
        f"{settings.where(name)}: {name} = {settings.value(name)} would latch the machine:"
        f" cache_limit_bytes = {settings.cache_limit_bytes}; allowed: 0 to {room * PAGE_BYTES}"
        " bytes; a full cache is not free memory, and conserve mode is left on free memory only"
    )


def _pages(settings: Resolved, pages: int) -> str:
    """'440 402 pages (84.0 % of RAM)': thresholds are given in percent."""
    return f"{plural(pages, 'page')} ({share(pages, settings.total_pages)} of RAM)"


def _warn_never_left(settings: Resolved) -> str:
    start = settings.base_pages + settings.preallocated_pages
    stuck = [name for name, limit in conserve.exit_pages(settings).items() if start > limit]
    if not stuck:
        return ""
    least = min(conserve.exit_pages(settings)[name] for name in stuck)
    left = (f"is left only at {_pages(settings, least)} or fewer" if least >= 0
            else "is never left")
    return (
        f"{', '.join(stuck)}: {_pages(settings, start)} are used at start, but the mode {left}:"
        " once entered it stays"
    )


def _warn_table_first(settings: Resolved) -> str:
    if settings.machine == "none" or (settings.queue_accounting == "bytes" and settings.shapes):
        return ""       # queues too take memory, as many packets as may wait
    full = settings.base_pages + settings.session_pages(settings.max_connections)
    name, entry = min(conserve.entry_pages(settings).items(), key=lambda item: item[1])
    if full >= entry:
        return ""
    return (
        f"the connection table fills before {name} is reached:"
        f" with {plural(settings.max_connections, 'session')} {_pages(settings, full)} are used,"
        f" the mode begins at {_pages(settings, entry)}; traffic without inspection cannot bring it"
        " about"
    )


def _warn_kernel_first(settings: Resolved) -> str:
    entries = conserve.entry_pages(settings)
    if settings.kernel_mode != "bypass" or "kernel" not in entries:
        return ""
    if entries["kernel"] > entries["proxy"]:
        return ""
    return (
        f"with {count(settings.ram_bytes)} bytes of RAM the kernel machine enters no later than the"
        f" proxy: at {_pages(settings, entries['kernel'])} and"
        f" {_pages(settings, entries['proxy'])}; 1.67 GB is the border, and av_failopen never"
        " shows: AV is bypassed whatever it says"
    )


def _warn_items(settings: Resolved) -> str:
    if settings.base_items and "base_bytes" in settings.given:
        return "base_bytes is given: the [[base_item]] rows are not counted"
    return ""


def _warn_zone(settings: Resolved) -> str:
    """Rows that ask for a VLAN where the key of a session has none."""
    rows = (*settings.policies, *settings.shaping_rows["shaping"])
    zones = sorted({row["zone"] for row in rows
                    if isinstance(row.get("zone"), int) and row["zone"]})
    if settings.zone == "vlan" or not zones:
        return ""
    named = ", ".join(map(str, zones[:5])) + (", ..." if len(zones) > 5 else "")
    return (f'what asks for zone {named} never matches: with zone = "none" every session is of zone'
            ' 0; --set zone=vlan makes the VLAN id the zone')


def _has_shaping(settings: Resolved) -> bool:
    """Whether there is a row of it, to act or not: who shapes nothing does not wait for it."""
    return any((settings.meters, settings.links, settings.classes, settings.shapings,
                settings.wirings))


def refuse_together(settings: Resolved) -> None:
    """Raises SettingsError for the first combination that is not allowed."""
    _check_thresholds(settings)
    _check_fits(settings)
    _check_cache(settings)
    if _has_shaping(settings):
        _ = settings.shaping  # refuses what it does not understand


def warnings(settings: Resolved) -> tuple[str, ...]:
    """What is allowed and probably not meant."""
    found = (_warn_never_left(settings), _warn_table_first(settings),
             _warn_kernel_first(settings), _warn_items(settings), _warn_zone(settings),
             *(settings.shaping.warnings if _has_shaping(settings) else ()))
    return tuple(text for text in found if text)
