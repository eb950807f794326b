"""Capacity: memory by owner, what each lever saves, headroom, and the outlook with a leak.

    plan      n connections, m tunnels  ->  who owns how much, what stays free
    levers    fewer connections, tunnels, smaller scans, smaller caches  ->  bytes saved
    headroom  sessions until each mode begins, the table is full, memory is gone
    outlook   a leak  ->  days to each of these, and between restarts before and after a change

Pure arithmetic on a ``Settings``; nothing is run, nothing is printed. Amounts are integers (bytes
unless the name says pages), days are Fractions. ``as_dict`` gives what JSON can hold.

The model [C] "Freeing up more memory in the Firewall":

    used at start = base + tunnels x (tunnel_base + tunnel_per_connection x max_connections)
                    + max_connections x session_bytes                  (accounting preallocated)
    used          = base + tunnels + ceil(live / floor(4096 / session_bytes)) pages    (slab)

Its figures: 512 000 x 412 B = 210.9 MB, 128 000 x 412 B = 52.7 MB, "at least 150 MB" saved, 100 MB
of free RAM as the floor, a restart "once a week would instead be e.g. once a month". MB is 10^6.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from typing import Any

from fwcore import conserve
from fwcore.errors import SettingsError
from fwcore.units import DAY_S, MB, PAGE_BYTES, ceil_div, pages_of

Settings = Any  # a fwcore.settings.Settings: files of one floor do not import each other

ROOMY_BYTES = 1 << 50  # the most RAM that settings take
FLOOR_BYTES = 100 * MB  # [C] "at least 100 MB of free RAM is recommended"


@dataclass(frozen=True)
class _Result:
    """Dataclasses that turn into plain dicts: Fractions become floats, tuples lists."""

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, ready for JSON."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, _Result):
        return value.as_dict()
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return value


# ---------------------------------------------------------------- memory by owner


@dataclass(frozen=True, slots=True)
class Line(_Result):
    """``count`` things of ``bytes_each`` bytes; ``owner`` is base or sessions."""

    owner: str
    name: str
    count: int
    bytes_each: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Plan(_Result):
    """Memory by owner. ``used_pages`` counts whole pages, as the accounting does."""

    personality: str
    connections: int
    tunnels: int
    when: str  # "at start": preallocated; "at a full table": slab, with all connections live
    lines: tuple[Line, ...]
    total_bytes: int
    total_pages: int
    used_pages: int
    free_bytes: int  # 0 when it does not fit
    short_bytes: int  # what is missing when it does not fit
    floor_bytes: int
    above_floor: bool  # at least the recommended 100 MB stay free

    def within(self, total_pages: int) -> "Plan":
        """The same in so much RAM."""
        free = (total_pages - self.used_pages) * PAGE_BYTES
        return replace(
            self, total_pages=total_pages, total_bytes=total_pages * PAGE_BYTES,
            free_bytes=max(free, 0), short_bytes=max(-free, 0), above_floor=free - FLOOR_BYTES >= 0)


def roomy(settings: Settings) -> Settings:
    """The same appliance with all the RAM that a plan may need; what it holds stays the same."""
    return settings.replace(
        ram_bytes=ROOMY_BYTES, base_bytes=settings.base_bytes, model_bytes=settings.model_bytes,
        cache_limit_bytes=settings.cache_limit_bytes, shm_limit_bytes=settings.shm_limit_bytes)


def connections_for(settings: Settings, free_bytes: int) -> int:
    """The largest max_connections, up to what is set, that leaves so much free; 0: none does."""
    low, high = 0, settings.max_connections
    while low < high:
        middle = (low + high + 1) // 2
        found = plan(settings, middle)
        if not found.short_bytes and found.free_bytes >= free_bytes:
            low = middle
        else:
            high = middle - 1
    return low


def with_counts(
    settings: Settings, connections: int | None = None, tunnels: int | None = None
) -> Settings:
    """The same appliance with another maximum of connections and tunnels.

    Raises SettingsError when a count is not allowed, or the table does not fit memory.
    """
    changes: dict[str, int] = {}
    if connections is not None:
        changes["max_connections"] = connections
    if tunnels is not None:
        changes["ipsec_max_tunnels"] = tunnels
        if tunnels == 0:  # 0 means "as the licence says", which then has to say 0
            changes["licence_tunnels"] = 0
    return settings.replace(**changes) if changes else settings


def _lines(settings: Settings) -> Iterator[Line]:
    items = settings.base_items
    listed = sum(row["count"] * row["bytes_each"] for row in items)
    if items and listed == settings.base_bytes:
        for row in items:
            count, each = row["count"], row["bytes_each"]
            yield Line("base", row["name"], count, each, count * each)
    else:
        yield Line("base", "system", 1, settings.base_bytes, settings.base_bytes)
    if settings.tunnels:
        tunnels, cost = settings.tunnels, settings.tunnels_bytes
        yield Line("base", "IPsec tunnels", tunnels, cost // tunnels, cost)
    count, each = settings.max_connections, settings.session_bytes
    yield Line("sessions", "connections", count, each, count * each)


def plan(
    settings: Settings, connections: int | None = None, tunnels: int | None = None
) -> Plan:
    """Memory by owner for so many connections and tunnels (default: as the settings say).

    A line is count x bytes each; pages of each owner are rounded up, so that
    free = total - used_pages x 4096. With slab the figure is that of a full table, which may need
    more than there is (``short_bytes``). Raises SettingsError as ``with_counts`` does.
    """
    planned = with_counts(settings, connections, tunnels)
    used = planned.base_pages + planned.session_pages(planned.max_connections)
    free = (planned.total_pages - used) * PAGE_BYTES
    return Plan(
        personality=planned.personality,
        connections=planned.max_connections,
        tunnels=planned.tunnels,
        when="at start" if planned.accounting == "preallocated" else "at a full table",
        lines=tuple(_lines(planned)),
        total_bytes=planned.total_pages * PAGE_BYTES,
        total_pages=planned.total_pages,
        used_pages=used,
        free_bytes=max(0, free),
        short_bytes=max(0, -free),
        floor_bytes=FLOOR_BYTES,
        above_floor=free >= FLOOR_BYTES,
    )


# ---------------------------------------------------------------- levers


@dataclass(frozen=True, slots=True)
class Lever(_Result):
    """One change and what it saves by itself. ``saves``: "at start" or "at most"."""

    lever: str
    setting: str
    before: int
    after: int
    saved_bytes: int
    of_which_tunnels_bytes: int  # fewer connections make tunnels cheaper
    saves: str
    restart: bool
    source: str


def _connections_bytes(settings: Settings) -> int:
    """The table: exact bytes when preallocated, whole pages of a full table with slab."""
    if settings.accounting == "preallocated":
        return int(settings.max_connections * settings.session_bytes)
    return int(settings.session_pages(settings.max_connections) * PAGE_BYTES)


def _lever_connections(settings: Settings, connections: int) -> Lever:
    """[C] 512 000 -> 128 000 connections of 412 bytes: 158 208 000 bytes."""
    fewer = with_counts(settings, connections)
    by_tunnels = settings.tunnels_bytes - fewer.tunnels_bytes
    saved = _connections_bytes(settings) - _connections_bytes(fewer) + by_tunnels
    ahead = settings.accounting == "preallocated"
    return Lever("fewer connections", "max_connections", settings.max_connections, connections,
                 saved, by_tunnels, "at start" if ahead else "at most", ahead, "C")


def _lever_tunnels(settings: Settings, tunnels: int) -> Lever:
    """[C] tunnels are preallocated too."""
    saved = settings.tunnels_bytes - with_counts(settings, tunnels=tunnels).tunnels_bytes
    return Lever("fewer tunnels", "ipsec_max_tunnels", settings.tunnels, tunnels, saved, saved,
                 "at start", True, "C")


def _lever_scan(settings: Settings, oversize_bytes: int, objects: int) -> Lever:
    """[K] "Reduce the maximum file size for antivirus scanning": so many objects at once."""
    before, after = (pages_of(size) for size in (settings.oversize_bytes, oversize_bytes))
    saved = (before - after) * PAGE_BYTES * objects
    return Lever("smaller scan size", "oversize_bytes", settings.oversize_bytes, oversize_bytes,
                 saved, 0, "at most", False, "K")


def _lever_cache(settings: Settings, cache_limit_bytes: int) -> Lever:
    """[K] "Reduce memory caching in some features"."""
    fewer = settings.replace(cache_limit_bytes=cache_limit_bytes)
    saved = (settings.cache_limit_pages - fewer.cache_limit_pages) * PAGE_BYTES
    return Lever("smaller caches", "cache_limit_bytes", settings.cache_limit_bytes,
                 cache_limit_bytes, saved, 0, "at most", False, "K")


def levers(
    settings: Settings,
    connections: int | None = None,
    tunnels: int | None = None,
    oversize_bytes: int | None = None,
    cache_limit_bytes: int | None = None,
    objects: int = 1,
) -> list[Lever]:
    """What each lever saves by itself, largest first.

    Not given: a quarter of the connections and a fifth of the tunnels (the article goes from
    512 000 to 128 000 and from 500 to 100), half the scan size, half the cache. ``objects`` is
    the number of objects scanned at once. Levers that have nothing to move are left out. A
    negative figure means the change costs memory.
    """
    found: list[Lever] = []
    fewer = max(1, settings.max_connections // 4) if connections is None else connections
    if fewer != settings.max_connections:
        found.append(_lever_connections(settings, fewer))
    fewer = settings.tunnels // 5 if tunnels is None else tunnels
    if fewer != settings.tunnels:
        found.append(_lever_tunnels(settings, fewer))
    size = max(1, settings.oversize_bytes // 2) if oversize_bytes is None else oversize_bytes
    if oversize_bytes is not None or settings.machine != "none":
        found.append(_lever_scan(settings, size, objects))
    limit = settings.cache_limit_bytes // 2 if cache_limit_bytes is None else cache_limit_bytes
    if limit != settings.cache_limit_bytes:
        found.append(_lever_cache(settings, limit))
    for line in _lines(settings):
        if line.owner == "base" and line.name not in ("system", "IPsec tunnels"):
            found.append(Lever(f"without {line.name}", "base_item", line.count, 0, line.bytes, 0,
                               "at start", True, "C"))
    return sorted(found, key=lambda lever: -lever.saved_bytes)


# ---------------------------------------------------------------- headroom


@dataclass(frozen=True, slots=True)
class Headroom(_Result):
    """How far it is. ``sessions``: the how-manieth new session brings each about.

    Names: the modes of the machine ("red", "extreme"; "kernel", "proxy"; "fortios-5";
    "low memory"), "table full", "memory" (a page fails). 0: it has come already. None: sessions
    alone never bring it about. ``bytes`` is what may still be used before each.
    """

    live: int
    used_pages: int
    sessions: Mapping[str, int | None]
    bytes: Mapping[str, int]
    first: str


def used_pages(settings: Settings, live: int = 0, shm_pages: int = 0) -> int:
    """Used pages with so many sessions and so much shared memory."""
    return int(settings.base_pages + settings.session_pages(live) + shm_pages)


def levels(settings: Settings) -> dict[str, int]:
    """Used pages at which each mode begins while nothing is cached, and "memory": all of it."""
    return {**conserve.entry_pages(settings), "memory": settings.total_pages}


def _sessions_until(settings: Settings, pages: int) -> int | None:
    """The smallest number of live sessions that own so many pages; None: never (preallocated)."""
    if pages <= settings.session_pages(0):
        return 0
    if settings.accounting == "preallocated":
        return None
    if settings.sessions_per_page:
        return int((pages - 1) * settings.sessions_per_page + 1)
    return ceil_div(pages, settings.pages_per_session)


def headroom(settings: Settings, live: int = 0, shm_pages: int = 0) -> Headroom:
    """Sessions until each mode begins, the table is full and memory is gone; what comes first.

    With slab and s sessions a page, a mode that begins at u used pages begins with session
    (u - base - shm - 1) x s + 1. Memory is gone with the session whose page there is not.
    Nothing is cached (what is cached is free memory to these sessions, but the machines on free
    memory enter so much earlier). Raises SettingsError when more are live than the table holds.
    """
    if not 0 <= live <= settings.max_connections:
        raise SettingsError(
            f"live = {live} sessions; allowed: 0 to max_connections = {settings.max_connections}"
        )
    other = settings.base_pages + shm_pages
    now = used_pages(settings, live, shm_pages)
    sessions: dict[str, int | None] = {}
    for name, level in levels(settings).items():
        wanted = level + 1 if name == "memory" else level
        until = _sessions_until(settings, wanted - other)
        sessions[name] = None if until is None else max(0, until - live)
    sessions["table full"] = settings.max_connections - live
    first = min(
        (count, name) for name, count in sessions.items() if count is not None
    )
    room = {name: max(0, level - now) * PAGE_BYTES for name, level in levels(settings).items()}
    return Headroom(live, now, sessions, room, first[1])


# ---------------------------------------------------------------- outlook


@dataclass(frozen=True, slots=True)
class Outlook(_Result):
    """Days from a restart until a leak brings each level about; 0: it is there at start.

    ``until`` is the level at which a restart is due, the first one unless asked for.
    """

    leak_bytes_per_day: Fraction
    until: str
    days: Mapping[str, Fraction]
    days_between_restarts: Fraction
    days_after: Mapping[str, Fraction] = field(default_factory=dict)
    days_between_restarts_after: Fraction | None = None


def _distance_pages(settings: Settings, live: int, shm_pages: int) -> dict[str, int]:
    """Pages from the state after a restart to each level."""
    start = used_pages(settings, live, shm_pages)
    return {name: max(0, level - start) for name, level in levels(settings).items()}


def leak_per_day(
    settings: Settings, restart_every_days: Fraction | int, until: str | None = None,
    live: int = 0, shm_pages: int = 0,
) -> Fraction:
    """The leak of a firewall that must be restarted so often, bytes a day.

    = bytes between the state after a restart and the level ``until`` / days.
    """
    distance = _distance_pages(settings, live, shm_pages)
    level = _until(distance, until)
    if restart_every_days <= 0 or not distance[level]:
        raise SettingsError(
            f"a restart every {restart_every_days} days tells nothing about a leak: {level} is"
            f" {distance[level] * PAGE_BYTES} bytes away after a restart"
        )
    return Fraction(distance[level] * PAGE_BYTES) / Fraction(restart_every_days)


def _until(distance: Mapping[str, int], until: str | None) -> str:
    if until is None:
        return min(distance, key=distance.__getitem__)
    if until not in distance:
        raise SettingsError(f'until = "{until}" is unknown; allowed: {", ".join(distance)}')
    return until


def outlook(
    settings: Settings,
    leak_bytes_per_s: int | Fraction | None = None,
    *,
    leak_bytes_per_day: int | Fraction | None = None,
    restart_every_days: int | Fraction | None = None,
    after: Settings | None = None,
    until: str | None = None,
    live: int = 0,
    shm_pages: int = 0,
) -> Outlook:
    """Days to each level with a leak, and days between restarts before and after a change.

    The leak is given in bytes per second, per day, or by how often a restart is needed now (give
    exactly one). days = pages to the level x 4096 / leak per day. ``after`` is the same appliance
    with other settings: freeing b bytes turns d days into d + b / leak: the article's "once a
    week ... once a month" is a firewall with 48 MB left that frees the 158 MB of 384 000
    connections. Raises SettingsError on a leak that is not positive.
    """
    given = (leak_bytes_per_s, leak_bytes_per_day, restart_every_days)
    if sum(each is not None for each in given) != 1:
        raise SettingsError("give one of leak_bytes_per_s, leak_bytes_per_day, restart_every_days")
    if restart_every_days is not None:
        leak = leak_per_day(settings, restart_every_days, until, live, shm_pages)
    elif leak_bytes_per_day is not None:
        leak = Fraction(leak_bytes_per_day)
    else:
        leak = Fraction(leak_bytes_per_s or 0) * DAY_S
    if leak <= 0:
        raise SettingsError("a leak must be more than 0 bytes")
    distance = _distance_pages(settings, live, shm_pages)
    level = _until(distance, until)
    days = {name: pages * PAGE_BYTES / leak for name, pages in distance.items()}
    if after is None:
        return Outlook(leak, level, days, days[level])
    later = _distance_pages(after, live, shm_pages)
    changed = {name: pages * PAGE_BYTES / leak for name, pages in later.items()}
    same = level if level in later else None  # another machine has other levels
    return Outlook(leak, level, days, days[level], changed, changed[_until(later, same)])
