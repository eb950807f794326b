"""Types of the compiled module; a test holds the enums here against the module's own."""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    BYPASS_INSPECTOR = 31
    INSPECTOR_BLOCK = 32

class Exposure(IntEnum):
    CONSERVE = 0
    KERNEL = 1
    ONE_SHOT = 2
    PROXY_TABLE = 3
    IPS = 4
    OVERSIZE = 5
    NO_MEMORY = 6
    INSPECTOR = 7

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

class Answer(IntEnum):
    ACCEPT = 0
    BLOCK = 1
    BYPASS = 2

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
LATEST_NS: Final[int]
MEMORY_NS: Final[int]
CONFIG_DTYPE: Final[np.dtype[Any]]
GATE_DTYPE: Final[np.dtype[Any]]
BLOCK4_DTYPE: Final[np.dtype[Any]]
ROW6_DTYPE: Final[np.dtype[Any]]
GUARD_DTYPE: Final[np.dtype[Any]]
SESSION_DTYPE: Final[np.dtype[Any]]
HOST_DTYPE: Final[np.dtype[Any]]
SAMPLE_DTYPE: Final[np.dtype[Any]]
STEP_DTYPE: Final[np.dtype[Any]]
LEAK_DTYPE: Final[np.dtype[Any]]
COUNTERS_DTYPE: Final[np.dtype[Any]]
OPENING_DTYPE: Final[np.dtype[Any]]

def record(dtype: np.dtype[Any], values: Mapping[str, Any]) -> NDArray[Any]: ...
def tcp_tables() -> dict[str, Any]: ...
def blake2b16(parts: Iterable[bytes]) -> bytes: ...
def rows_digest(rows: ArrayLike) -> bytes: ...
