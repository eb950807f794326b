"""Types of the compiled module; a test holds the enums here against the module's own."""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

from fwcore._pack import Packed
from fwcore._shaper import Shaper
from fwcore._use import Use

# --- made from dataplane/layout.h by tools/layout.py ---

class Verdict(IntEnum):
    FORWARD = 0
    INSPECT = 1
    BYPASS = 2
    DROP = 3

class Reason(IntEnum):
    NEW = 0
    HIT = 1
    RELATED = 2
    FRAGMENT = 3
    TCP_INVALID = 4
    NON_IP = 5
    UNSUPPORTED_LINK = 6
    TRUNCATED = 7
    FRAGMENT_ORPHAN = 8
    BYPASS_CONSERVE = 9
    BYPASS_KERNEL = 10
    BYPASS_ONE_SHOT = 11
    BYPASS_PROXY_TABLE = 12
    BYPASS_IPS = 13
    BYPASS_OVERSIZE = 14
    BYPASS_NO_MEMORY = 15
    MALFORMED = 16
    ICMP_ORPHAN = 17
    NO_SESSION = 18
    DENIED = 19
    CONSERVE_BLOCK = 20
    EXTREME = 21
    IPS_BLOCK = 22
    HALF_OPEN_LIMIT = 23
    HOST_LIMIT = 24
    PROXY_TABLE_FULL = 25
    TABLE_FULL = 26
    NO_MEMORY = 27
    KILLED = 28
    OVER_LIMIT = 29
    QUEUE_FULL = 30

class Exposure(IntEnum):
    CONSERVE = 0
    KERNEL = 1
    ONE_SHOT = 2
    PROXY_TABLE = 3
    IPS = 4
    OVERSIZE = 5
    NO_MEMORY = 6

class EndCause(IntEnum):
    EXPIRED = 0
    CLOSED = 1
    CLASH = 2
    EVICTED = 3
    TENSION = 4
    KILLED = 5
    CLEARED = 6

class TcpState(IntEnum):
    NONE = 0
    SYN_SENT = 1
    SYN_RECV = 2
    ESTABLISHED = 3
    FIN_WAIT = 4
    FIN_WAIT_REPLY = 5
    TIME_WAIT = 6
    CLOSED = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    SYN_SENT2 = 10

class WhenFull(IntEnum):
    REFUSE = 0
    BUCKET = 1
    TENSION = 2
    REPLACE_OLDEST = 3
    EARLY_DROP = 4

class Midstream(IntEnum):
    ALLOW = 0
    DROP = 1
    GRACE = 2

class Tracker(IntEnum):
    PLAIN = 0
    LINUX = 1

class GateAction(IntEnum):
    ADMIT = 0
    BYPASS = 1
    DROP = 2

class ObjectAction(IntEnum):
    GRANT = 0
    BYPASS = 1
    KILL = 2

class PolicyAction(IntEnum):
    ACCEPT = 0
    DENY = 1
    LOCAL = 2

class Gauge(IntEnum):
    USED_PAGES = 0
    FREE_PAGES = 1
    SHM_PAGES = 2
    PROXY_SESSIONS = 3
    LIVE_SESSIONS = 4
    IPS_FULL = 5

class Gauges(NamedTuple):
    used_pages: int
    free_pages: int
    shm_pages: int
    proxy_sessions: int
    live_sessions: int
    ips_full: int
    cache_pages: int
    now_ns: int
    packet: int

# --- by hand again ---

TIMEOUTS: Final[tuple[str, ...]]
STOPPED_BY_PACKET: Final[int]
STOPPED_BY_TIME: Final[int]
STOPPED_AT_TICK: Final[int]
STOPPED_FOR_LOG: Final[int]
LATEST_NS: Final[int]
MEMORY_NS: Final[int]
LOG_SLACK: Final[int]
SAMPLES: Final[int]
REBORN_MAX: Final[int]
GRAVES_MIN: Final[int]
SESSION_DTYPE: Final[np.dtype[Any]]
HOST_DTYPE: Final[np.dtype[Any]]
SAMPLE_DTYPE: Final[np.dtype[Any]]
CONFIG_DTYPE: Final[np.dtype[Any]]
GATE_DTYPE: Final[np.dtype[Any]]
BLOCK4_DTYPE: Final[np.dtype[Any]]
ROW6_DTYPE: Final[np.dtype[Any]]
GUARD_DTYPE: Final[np.dtype[Any]]
STEP_DTYPE: Final[np.dtype[Any]]
LEAK_DTYPE: Final[np.dtype[Any]]
COUNTERS_DTYPE: Final[np.dtype[Any]]
STATE_DTYPES: Final[dict[str, np.dtype[Any]]]
COLUMNS: Final[tuple[tuple[str, type], ...]]

def record(dtype: np.dtype[Any], values: Mapping[str, Any]) -> NDArray[Any]: ...
def memory_plan(config: Mapping[str, Any]) -> dict[str, int]: ...

class FastPath:
    breath: int
    position: int
    rows: NDArray[np.uint8]
    stopped: int
    watched: bool
    shift: int
    def __init__(
        self,
        config: NDArray[Any],
        steps: Sequence[tuple[int, int, int]] = (),
        leaks: Sequence[tuple[int, int, int]] = (),
        group: int = 32,
        outer: Use | None = None,
    ) -> None: ...
    def close(self) -> None: ...
    @property
    def at_end(self) -> bool: ...
    @property
    def max_connections(self) -> int: ...
    @property
    def buckets(self) -> int: ...
    @property
    def fragments_max(self) -> int: ...
    @property
    def victims_max(self) -> int: ...
    @property
    def memory(self) -> dict[str, int]: ...
    @property
    def live(self) -> int: ...
    @property
    def packet(self) -> int: ...
    @property
    def first_ns(self) -> int: ...
    @property
    def now_ns(self) -> int: ...
    def set_soft(self, config: NDArray[Any]) -> None: ...
    def begin(self, time_ns: int) -> None: ...
    @property
    def resuming(self) -> bool: ...
    def resume(self, time_ns: int) -> bool: ...
    def load(
        self,
        chunk: Any,
        outcome: NDArray[np.uint16],
        flow: NDArray[np.uint64] | None = None,
        reply: NDArray[np.uint8] | None = None,
    ) -> None: ...
    def unload(self) -> None: ...
    def judge(
        self,
        keeper: Any,
        frame: Buffer,
        now_ns: int,
        length: int | None = None,
        link: int = 1,
    ) -> tuple[Verdict, Reason]: ...
    def judge_on(
        self, frame: Buffer, now_ns: int, length: int | None = None, link: int = 1
    ) -> tuple[Verdict, Reason] | None: ...
    def judge_frames(
        self, keeper: Any, packed: Packed, frames: Any, times_ns: Iterable[int],
        lengths: Iterable[int] | None, link: int | Iterable[int],
    ) -> NDArray[np.uint8]: ...
    def run(self) -> int: ...
    def advance(self, time_ns: int) -> int: ...
    def apply(self, row: NDArray[Any]) -> None: ...
    def set_shaper(self, shaper: Shaper) -> None: ...
    def let_leave(self, drain: bool = False, clear: bool = False) -> None: ...
    def rest_until(self, time_ns: int) -> None: ...
    def gauges(self) -> Gauges: ...
    @property
    def shaper(self) -> Shaper | None: ...
    @property
    def queue_pages(self) -> tuple[int, int]: ...
    def owners(self) -> tuple[int, int, int, int]: ...
    def end_sessions(self, records: NDArray[np.uint32], cause: int) -> None: ...
    def prepare(self, config: NDArray[Any]) -> Any: ...
    def rebuild(self, table: Any, keep: bool = False) -> None: ...
    def state(self) -> tuple[dict[str, int], dict[str, NDArray[Any]]]: ...
    def set_state(
        self, figures: Mapping[str, int], tables: Mapping[str, NDArray[Any]]
    ) -> None: ...
    def sample(self) -> None: ...
    def set_policies(
        self,
        compiled: Any,
        moved: NDArray[np.uint16] | None = None,
        gone: NDArray[np.uint32] | None = None,
    ) -> None: ...
    def policies_standing(self) -> NDArray[np.uint16]: ...
    def clear(self) -> int: ...
    def take(self, owner: int, pages: int) -> int: ...
    def give(self, owner: int, pages: int) -> int: ...
    def live_records(self) -> NDArray[np.uint32]: ...
    def rows_of(self, records: NDArray[np.uint32]) -> NDArray[np.void]: ...
    def note_newborn(self, wanted: bool) -> None: ...
    def newborn_rows(self, count: int) -> NDArray[np.void]: ...
    def locate(self, which: tuple[int, ...] | int) -> int | None: ...
    def live_sessions(
        self,
    ) -> tuple[NDArray[np.uint32], NDArray[np.void], NDArray[np.uint8]]: ...
    def find(self, key: tuple[int, ...]) -> np.void | None: ...
    def flow_of(self, key: tuple[int, ...]) -> int: ...
    def bucket_of(self, key: tuple[int, ...]) -> int: ...
    def hosts(self, count: int | None = None) -> NDArray[np.void]: ...
    def sessions_of(self, address: int, family: int) -> int: ...
    def victims(self) -> NDArray[np.void]: ...
    def collect_log(self) -> NDArray[np.void]: ...
    def samples(self) -> NDArray[np.void]: ...
    def digests(self) -> tuple[bytes, bytes]: ...
    def outcome_counts(self) -> NDArray[np.uint64]: ...
    def outcome_recount(self) -> NDArray[np.uint64]: ...
    def decode_counts(self) -> dict[str, int]: ...
    def counters(self) -> dict[str, Any]: ...
    def audit(self) -> dict[str, int]: ...

def tcp_tables() -> dict[str, Any]: ...
def blake2b16(parts: Iterable[bytes]) -> bytes: ...
