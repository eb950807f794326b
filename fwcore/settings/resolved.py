"""Settings as they are used: frozen, every share and "auto" a number; ``layers`` validates them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from fwcore import arguments
from fwcore.errors import SettingsError
from fwcore.settings.declared import BY_NAME, DECLARATIONS, ROW_KINDS
from fwcore.settings.document import Row
from fwcore.settings.values import Given
from fwcore.units import PAGE_BYTES, ceil_div, pages_of, to_ns
from fwcore.words import nearest

if TYPE_CHECKING:    # who shapes nothing does not wait for it
    from fwcore.shaping import Declared

TIMELINE_FINEST_NS = 10**6      # timeline_interval_s = "auto" begins with this distance [D]
TIMELINE_MOST_NS = 10**8        # ... and ends with this one, before the buffer is full [D]


class Timeouts(NamedTuple):
    """Idle times by protocol and state, seconds."""

    tcp_s: float
    tcp_halfopen_s: float
    tcp_halfclose_s: float
    tcp_timewait_s: float
    tcp_rst_s: float
    udp_s: float
    icmp_s: float
    other_s: float
    tcp_synrecv_s: float
    tcp_closewait_s: float
    tcp_lastack_s: float
    tcp_unanswered_s: float
    udp_stream_s: float
    gre_s: float
    gre_stream_s: float

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the timeouts, in the order of the contract."""
        return cls._fields

    def as_ns(self) -> dict[str, int]:
        """The same by name without the unit: {"tcp": ns, "tcp_halfopen": ns, ...}."""
        return {name[:-2]: to_ns(getattr(self, name)) for name in self.names()}


@dataclass(frozen=True)
class Resolved:
    """Every setting of ``DECLARATIONS``, resolved: byte amounts, connections and buckets are ints.

    What follows from the values alone. ``Settings`` is made of it, and holds them to their rows.
    Equality and hash look at the values, not at where they come from.
    """

    personality: str
    seed: int | None
    ram_bytes: int
    model_bytes: int
    base_bytes: int
    accounting: str
    session_bytes: int
    max_connections: int
    licence_connections: int
    buckets: int
    when_full: str
    midstream: str
    midstream_grace_s: float
    midstream_initiator: str
    tracker: str
    invalid: str
    half_open_limit: int
    sessions_per_host: int
    zone: Literal["none", "vlan"]
    non_ip: str
    orphan_fragments: str
    short_frames: str
    sweep_s: float
    max_step_s: float
    ipsec_max_tunnels: int
    licence_tunnels: int
    tunnel_base_bytes: int
    tunnel_bytes_per_connection: int
    machine: str
    posture: str
    av_failopen: str
    av_failopen_session: bool
    ips_fail_open: bool
    ips_trigger: tuple[str, ...]
    ips_socket_bytes: int
    ips_throughput_bps: int
    extreme_scope: str
    memory_use_threshold_green: int
    memory_use_threshold_red: int
    memory_use_threshold_extreme: int
    idledrop_variant: str
    idledrop_idle_s: float
    kernel_mode: str
    lowmem: bool
    sip_alg: bool
    shm_limit_bytes: int
    proxy_max_sessions: int
    proxy_session_bytes: int
    oversize_bytes: int
    cache_limit_bytes: int
    queue_accounting: str
    queue_packets_max: int
    shaping_kilo: int
    config_freeze: bool
    fragments_max: int
    victims_max: int
    transitions_max: int
    events_max: int
    timeline_interval_s: float | str
    timeouts: Timeouts
    base_items: tuple[Row, ...] = field(default=(), hash=False)
    policies: tuple[Row, ...] = field(default=(), hash=False)
    pressure: tuple[Row, ...] = field(default=(), hash=False)
    meters: tuple[Row, ...] = field(default=(), hash=False)
    links: tuple[Row, ...] = field(default=(), hash=False)
    classes: tuple[Row, ...] = field(default=(), hash=False)
    shapings: tuple[Row, ...] = field(default=(), hash=False)
    wirings: tuple[Row, ...] = field(default=(), hash=False)
    kilo: int = field(default=1024, compare=False)
    given: Mapping[str, Given] = field(default_factory=dict, compare=False, repr=False)
    origin: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    marks: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    reasons: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def value(self, name: str) -> Any:
        """A setting by its flat name (timeouts too). Raises SettingsError."""
        if not isinstance(name, str) or (
                name not in BY_NAME and name not in ROW_KINDS.values() and name != "timeouts"):
            raise SettingsError(f"{name!r:.80} is no setting{nearest(name, BY_NAME)}")
        return getattr(self.timeouts if name in Timeouts.names() else self, name)

    def where(self, name: str) -> str:
        """Where a value comes from, as messages begin."""
        name = arguments.text("where", name, SettingsError)
        return self.origin.get(name, "argument").removeprefix("file ")

    def describe(self) -> dict[str, dict[str, Any]]:
        """{name: {"value", "from", "mark", "why"}} of every setting; values fit JSON."""
        result = {}
        for declaration in DECLARATIONS:
            name = declaration.name
            value = self.value(name)
            result[name] = {
                "value": list(value) if isinstance(value, tuple) else value,
                "from": self.origin.get(name, "argument"),
                "mark": self.marks.get(name, ""),
                "why": self.reasons.get(name, ""),
            }
        return result

    @cached_property
    def shaping(self) -> Declared:
        """Meters, links, classes and who meets them; false where nothing is shaped."""
        from fwcore import shaping

        rows = self.shaping_rows
        return shaping.parse(rows["meter"], rows["link"], rows["class"], rows["shaping"])

    @property
    def shapes(self) -> bool:
        """Whether anything is shaped, as ``bool(settings.shaping)``; at no cost without a row."""
        return any((self.shapings, self.wirings)) and bool(self.shaping)

    @cached_property
    def shaping_rows(self) -> Mapping[str, tuple[Row, ...]]:
        """[[meter]], [[link]], [[class]], [[shaping]]: as written, then as vendors' words say."""
        given = {"meter": self.meters, "link": self.links, "class": self.classes,
                 "shaping": self.shapings}
        if not self.wirings:
            return given
        from fwcore.settings import wirings

        made = wirings.translate(self.wirings, self.shaping_kilo)
        return {kind: rows + made[kind] for kind, rows in given.items()}

    # Pages. Byte amounts are rounded up, thresholds down.

    @property
    def total_pages(self) -> int:
        """RAM."""
        return pages_of(self.ram_bytes)

    @property
    def tunnels(self) -> int:
        """Preallocated tunnels: ipsec_max_tunnels, or as the licence says [C]."""
        return self.ipsec_max_tunnels or self.licence_tunnels

    @property
    def tunnels_bytes(self) -> int:
        """Memory of all tunnels: more connections make each tunnel dearer [C]."""
        each = self.tunnel_base_bytes + self.tunnel_bytes_per_connection * self.max_connections
        return self.tunnels * each

    @property
    def base_pages(self) -> int:
        """Base at start: base_bytes and the tunnels."""
        return pages_of(self.base_bytes + self.tunnels_bytes)

    @property
    def sessions_per_page(self) -> int:
        """Sessions in a slab page; 0 when a session needs whole pages."""
        return PAGE_BYTES // self.session_bytes

    @property
    def pages_per_session(self) -> int:
        """Whole pages of one session (1 when it shares a page)."""
        return pages_of(self.session_bytes)

    @property
    def preallocated_pages(self) -> int:
        """Pages of the connection table taken at start (0 with slab)."""
        if self.accounting != "preallocated":
            return 0
        return pages_of(self.max_connections * self.session_bytes)

    def session_pages(self, live: int) -> int:
        """Pages owned by ``sessions`` when so many are live."""
        if self.accounting == "preallocated":
            return self.preallocated_pages
        if self.sessions_per_page:
            return ceil_div(live, self.sessions_per_page)
        return live * self.pages_per_session

    @property
    def cache_limit_pages(self) -> int:
        """Most pages kept as cache."""
        return pages_of(self.cache_limit_bytes)

    @property
    def shm_limit_pages(self) -> int:
        """Shared memory of the proxies (fortios-5)."""
        return pages_of(self.shm_limit_bytes)

    @property
    def proxy_session_pages(self) -> int:
        """Pages a proxied session holds while it lives."""
        return pages_of(self.proxy_session_bytes)

    # Nanoseconds

    @property
    def sweep_ns(self) -> int:
        """Distance of expiry ticks."""
        return to_ns(self.sweep_s)

    @property
    def max_step_ns(self) -> int:
        """As far as one packet moves the clock; 0: as far as it says."""
        return to_ns(self.max_step_s)

    @property
    def midstream_grace_ns(self) -> int:
        """Grace from packet 1."""
        return to_ns(self.midstream_grace_s)

    @property
    def idledrop_idle_ns(self) -> int:
        """Idle time of idledrop_variant idle."""
        return to_ns(self.idledrop_idle_s)

    @property
    def timeline_interval_ns(self) -> int:
        """Distance of timeline samples, at first; 0 is off."""
        if isinstance(self.timeline_interval_s, str):
            return TIMELINE_FINEST_NS
        return to_ns(self.timeline_interval_s)

    @property
    def timeline_most_ns(self) -> int:
        """Up to which the distance grows as time goes by; 0: it stays."""
        return TIMELINE_MOST_NS if isinstance(self.timeline_interval_s, str) else 0
