"""What an engine is made of: settings and policies as the figures that the fast path reads.

    Settings, seed -> config() -> CONFIG_DTYPE          pressure -> script() -> steps, leaks

Nothing here knows an engine; what may change while one runs is told by FIXED and RESTARTABLE.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fwcore import arguments
from fwcore._layout import LATEST_NS, TIMEOUTS, Midstream, Tracker, Verdict, WhenFull
from fwcore._memory import memory_plan
from fwcore._shaper import Shaper
from fwcore.errors import DataError, SettingsError
from fwcore.settings import Settings, load
from fwcore.units import pages_of, to_ns
from fwcore.words import OWNERS

if TYPE_CHECKING:
    from fwcore.shaping_layout import Plan

# Settings whose figures are memory taken at the start: they change by restart() only.
FIXED = frozenset((
    "personality", "ram_bytes", "base_bytes", "accounting", "session_bytes", "max_connections",
    "licence_connections", "buckets", "when_full", "zone", "short_frames", "tracker", "sweep_s",
    "ipsec_max_tunnels",
    "licence_tunnels", "tunnel_base_bytes", "tunnel_bytes_per_connection", "machine", "seed",
    "model_bytes", "proxy_session_bytes", "shm_limit_bytes", "fragments_max", "victims_max",
    "transitions_max", "events_max", "queue_accounting", "timeline_interval_s", "pressure",
    "base_items",
))
RESTARTABLE = frozenset(("max_connections", "ipsec_max_tunnels"))


def splitmix64(seed: int, count: int) -> list[int]:
    """The first ``count`` numbers of the splitmix64 stream (Steele, Lea, Flood 2014)."""
    mask = (1 << 64) - 1
    numbers = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        numbers.append(z ^ (z >> 31))
    return numbers


def check_time(time_ns: int) -> None:
    """Raises DataError for what is no time in ns, where the fast path is not asked."""
    if not 0 <= arguments.whole("time in ns", time_ns) <= LATEST_NS:
        raise DataError(f"time {time_ns} is not in 0..2**62 ns")


def settings_of(
    given: Settings | str | os.PathLike[str] | None, overrides: Mapping[str, Any],
) -> Settings:
    """Settings as an engine takes them: made already, a personality's name, a settings file.

    Raises SettingsError.
    """
    if isinstance(given, Settings):
        return given.replace(**overrides) if overrides else given
    if given is None:
        return load(**overrides)
    if isinstance(given, str) and not given.endswith(".toml"):
        return load(given, **overrides)
    if isinstance(given, str | os.PathLike):
        return load(file=os.fspath(given), **overrides)
    raise SettingsError(
        f"settings: {type(given).__name__} is none; give the name of a personality, the path of a"
        " settings file, or what fwcore.load made")


def config_of(settings: Settings, seed: int, log: bool | str) -> dict[str, Any]:
    """The numbers of ``config_t``, by its names."""
    drop, forward = int(Verdict.DROP), int(Verdict.FORWARD)
    slab = settings.accounting == "slab"
    timeouts = settings.timeouts.as_ns()
    # TCP that was never answered has no more than TCP.
    timeouts["tcp_unanswered"] = min(timeouts["tcp_unanswered"], timeouts["tcp"])
    nths = [row["fail_nth"] for row in settings.pressure if "fail_nth" in row]
    everys = [row["fail_every"] for row in settings.pressure if "fail_every" in row]
    return {
        "timeout_ns": [timeouts[name] for name in TIMEOUTS],
        "short_cut": int(settings.short_frames == "cut"),
        "ports_decide": int(settings.midstream_initiator == "ports"),
        "invalid_verdict": drop if settings.invalid == "drop" else forward,
        "midstream": int(Midstream[settings.midstream.upper()]),
        "midstream_grace_ns": settings.midstream_grace_ns,
        "max_step_ns": settings.max_step_ns,
        "half_open_limit": settings.half_open_limit,
        "sessions_per_host": settings.sessions_per_host,
        "proxy_max_sessions": settings.proxy_max_sessions,
        "proxy_session_pages": settings.proxy_session_pages,
        "cache_limit_pages": settings.cache_limit_pages,
        "oversize_bytes": settings.oversize_bytes,
        "ips_socket_bytes": settings.ips_socket_bytes,
        "ips_throughput_bps": settings.ips_throughput_bps,
        "idledrop_idle_ns":
            settings.idledrop_idle_ns if settings.idledrop_variant == "idle" else 0,
        "non_ip_verdict": drop if settings.non_ip == "drop" else forward,
        "orphan_verdict": drop if settings.orphan_fragments == "drop" else forward,
        "seeds": splitmix64(seed, 6),
        "max_connections": settings.max_connections,
        "buckets": settings.buckets,
        "sweep_ns": settings.sweep_ns,
        "timeline_ns": settings.timeline_interval_ns,
        "timeline_most_ns": settings.timeline_most_ns,
        "total_pages": settings.total_pages,
        "base_pages": settings.base_pages,
        "sessions_per_page": settings.sessions_per_page if slab else 0,
        "pages_per_session": settings.pages_per_session if slab else 0,
        "preallocated_pages": settings.preallocated_pages,
        "preallocated": int(not slab),
        "fragments_max": settings.fragments_max,
        "victims_max": settings.victims_max,
        "when_full": int(WhenFull[settings.when_full.upper()]),
        "zone": int(settings.zone == "vlan"),
        "tracker": int(Tracker[settings.tracker.upper()]),
        "log": 2 if log == "victims" else int(log),
        "fail_nth": nths, "fail_nths": len(nths),
        "fail_every": everys, "fail_everys": len(everys),
    }


def script_of(settings: Settings) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Steps (time_ns, owner, pages) by time, and leaks (time_ns, owner, bytes a second)."""
    owner = {name: number for number, name in enumerate(OWNERS)}
    steps, leaks = [], []
    for row in settings.pressure:
        if "at" in row:
            raise SettingsError(
                f"pressure: at = {row['at']!r} is a time of day; what it is in seconds the first"
                " packet says, which fwcore.replay knows: an Engine takes at_s")
        at_ns = row.get("at_ns", to_ns(row.get("at_s", 0)))
        if "add_bytes" in row:
            steps.append((at_ns, owner[row.get("owner", "base")], pages_of(row["add_bytes"])))
        elif "leak_bytes_per_s" in row:
            leaks.append((at_ns, owner[row.get("owner", "base")], int(row["leak_bytes_per_s"])))
    return sorted(steps, key=lambda step: step[0]), leaks


def shaper_of(
    settings: Settings, seed: int, sessions: int, keep: bool, watch: bool,
) -> tuple[Plan, Shaper]:
    """Meters, links and classes as they begin, and how they are numbered."""
    from fwcore.shaping_layout import lay_out

    plan = lay_out(settings.shaping)
    need = plan.bytes(sessions, settings.queue_packets_max, keep)
    _check_memory(need, f"shaping of {sessions} sessions needs {need} bytes", "keys_max or limits")
    return plan, Shaper(
        plan, sessions=sessions, seed=seed, packets_max=settings.queue_packets_max, keep=keep,
        watch=watch, accounted=settings.queue_accounting == "bytes")


def check_room(config: dict[str, Any]) -> None:
    """Raises SettingsError when this machine has less memory than the table takes."""
    need = sum(memory_plan(config).values())
    _check_memory(
        need, f"max_connections = {config['max_connections']}: fwcore's own table needs {need}"
        " bytes", "connections or buckets")


def _check_memory(need: int, what: str, fewer: str) -> None:
    try:
        there = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        there = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    if need > there:
        raise SettingsError(f"{what}, this machine has {there} available; choose fewer {fewer}")
