"""The memory of a table: planned from its configuration, taken at once, touched, lent in parts.

    config ──► memory_plan ──► Arena ──► Table.install(fw): lines, records, timers, hosts ...

Law: whoever has a Table has all the memory that it will ever need; installing it cannot fail.
What stands last is touched as it is written: the log has a row for every session, since all may
end in one moment, and its owner empties it at LOG_SLACK_ROWS: a third of the memory, and of the
time that touching it takes. Overflow lines would hold all sessions in one bucket; spread as they
are, they need one line in twenty.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fwcore._layout cimport config_read, timeouts_split
from fwcore.dataplane.arena cimport FW_REDZONE, fw_arena_free, fw_arena_new, fw_poison
from fwcore.dataplane.clear cimport table_lay_out
from fwcore.dataplane.clock cimport clock_set
from fwcore.dataplane.layout cimport (
    DUE_COLLECT, GAUGE_COUNT, MIDSTREAM_GRACE, NEVER, NIL, OWNER_BASE, OWNER_SESSIONS, WAYS,
    fragment_t, fw_t, host_t, line_t, record_t, sample_t, session_row_t,
)

LOG_SLACK = LOG_SLACK_ROWS
SAMPLES = 4096         # rows of the timeline; more halve its resolution
REBORN_MAX = 1 << 20   # slots of the filter that knows a victim's return
GRAVES_MIN = 1 << 16   # places that remember TCP victims, see grave_dig
_UNTOUCHED = ("overflow", "victims", "samples", "log")   # stand last, in this order


def _power_of_two(number):
    """The smallest power of two that is no less."""
    return 1 << max(0, int(number) - 1).bit_length()


def _reborn(connections):
    """Slots of the filter that knows a victim's return."""
    return min(REBORN_MAX, _power_of_two(connections))


def graves_bytes(connections):
    """Bytes for the TCP victims that midstream = "grace" asks for, see grave_dig."""
    return 8 * max(GRAVES_MIN, _reborn(connections))


def memory_plan(config):
    """Bytes of each part of a FastPath's memory, from the same figures as its constructor.

    ``config`` maps the names of ``config_t`` to integers. Returns name -> bytes; ``records``,
    ``index``, ``overflow`` and ``timers`` are the connection table.
    """
    connections, buckets = int(config["max_connections"]), int(config["buckets"])
    fragments = int(config["fragments_max"])
    log = (connections + 2 * LOG_SLACK) if config.get("log") else 1
    return {
        "records": connections * sizeof(record_t),
        "index": buckets * sizeof(line_t),
        "overflow": -(-connections // WAYS) * sizeof(line_t),
        "timers": connections * sizeof(uint32_t),
        "hosts": connections * sizeof(host_t),
        "fragments": fragments * sizeof(fragment_t) + 4 * _power_of_two(fragments),
        "reborn": sizeof(uint32_t) * _reborn(connections),
        "graves": graves_bytes(connections) if config.get("midstream") == MIDSTREAM_GRACE else 0,
        "victims": int(config["victims_max"]) * sizeof(session_row_t),
        "log": log * sizeof(session_row_t),
        "samples": SAMPLES * sizeof(sample_t),
    }


def _largest(plan, config):
    """Which setting asks for most of the memory, and for how much."""
    asked = {}
    for part, size in plan.items():
        setting = {"index": "buckets", "fragments": "fragments_max", "victims": "victims_max"}.get(
            part, "max_connections")
        asked[setting] = asked.get(setting, 0) + size
    setting = max(asked, key=asked.get)
    return f"{setting} = {int(config[setting])} asks for {asked[setting]} of them; set it lower"


cdef class Arena:
    """One piece of memory for all arrays of a FastPath; parts begin on cache lines. The last
    ``untouched`` bytes are touched by who writes them."""

    def __cinit__(self, size_t size, size_t untouched=0):
        self.mapped = NULL
        with nogil:
            self.memory = <uint8_t *>fw_arena_new(
                size, size - untouched, &self.mapped, &self.mapped_bytes)
        if self.memory == NULL:
            raise MemoryError(f"{size} bytes")
        self.size = size
        self.used = 0

    def __dealloc__(self):
        if self.mapped != NULL:
            fw_arena_free(self.mapped, self.mapped_bytes)

    cdef void *take(self, size_t bytes) except NULL:
        cdef uint8_t *part = self.memory + self.used
        cdef size_t end = ((bytes + 63) & ~<size_t>63) + FW_REDZONE
        self.used += end
        if self.used > self.size:
            raise MemoryError("the arena was planned too small")
        fw_poison(part + bytes, end - bytes)
        return part


cdef void fw_lay_out(fw_t *fw) noexcept nogil:
    """The start: everything free, the pages of base and table taken, no gauge watched."""
    cdef uint64_t i
    table_lay_out(&fw.table, &fw.control, &fw.clock, fw.control.config.max_connections)
    cdef uint64_t fragments = fw.control.config.fragments_max
    for i in range(fragments):
        fw.memory.fragments[i].chain = <uint32_t>i + 1 if i + 1 < fragments else NIL
    fw.memory.fragment_free = 0
    fw.memory.fragment_oldest = fw.memory.fragment_newest = NIL
    for i in range(<uint64_t>fw.memory.fragment_mask + 1):
        fw.memory.fragment_heads[i] = NIL
    fw.memory.pages.owner[OWNER_BASE] = fw.control.config.base_pages
    fw.memory.pages.owner[OWNER_SESSIONS] = fw.control.config.preallocated_pages
    fw.memory.pages.free = (fw.control.config.total_pages - fw.control.config.base_pages
                            - fw.control.config.preallocated_pages)
    clock_set(&fw.clock, DUE_COLLECT, NEVER)
    for i in range(GAUGE_COUNT):
        fw.control.gate.low[i] = -1
        fw.control.gate.high[i] = NEVER


cdef class Table:
    """Memory for the table of a configuration, taken and touched, that no FastPath has yet."""

    def __cinit__(self, config):
        config_read(config, &self.config)
        self.plan = memory_plan({
            "max_connections": self.config.max_connections, "buckets": self.config.buckets,
            "fragments_max": self.config.fragments_max, "victims_max": self.config.victims_max,
            "log": self.config.log, "midstream": self.config.midstream})
        size = sum((size + 63) & ~63 for size in self.plan.values()) + 64 * 16
        try:
            # What is written from its beginning, a row at a time, is touched by who writes it.
            self.arena = Arena(size, sum(self.plan[part] for part in _UNTOUCHED))
        except MemoryError:
            why = _largest(self.plan, self.config)
            raise MemoryError(f"{size} bytes cannot be had: {why}") from None

    cdef int install(self, fw_t *fw) except -1:
        """Gives the memory to ``fw``: everything free, pages as at the start. Cannot fail."""
        cdef uint64_t connections = self.config.max_connections
        cdef uint64_t fragments = self.config.fragments_max
        cdef uint32_t steps = fw.control.config.steps, leaks = fw.control.config.leaks
        plan, arena = self.plan, self.arena
        fw.control.config = self.config
        fw.control.config.steps, fw.control.config.leaks = steps, leaks
        timeouts_split(&fw.control)
        fw.table.records = <record_t *>arena.take(plan["records"])
        fw.table.timers = <uint32_t *>arena.take(plan["timers"])
        fw.table.hosts = <host_t *>arena.take(plan["hosts"])
        fw.memory.fragments = <fragment_t *>arena.take(fragments * sizeof(fragment_t))
        fw.memory.fragment_heads = <uint32_t *>arena.take(4 * _power_of_two(fragments))
        fw.table.reborn = <uint32_t *>arena.take(plan["reborn"])
        fw.table.graves = <uint64_t *>arena.take(plan["graves"]) if plan["graves"] else NULL
        fw.table.lines = <line_t *>arena.take(plan["index"] + plan["overflow"])
        fw.victims = <session_row_t *>arena.take(plan["victims"])
        fw.samples = <sample_t *>arena.take(plan["samples"])
        fw.log = <session_row_t *>arena.take(plan["log"])
        fw.memory.fragment_mask = _power_of_two(fragments) - 1
        fw.table.reborn_mask = _reborn(connections) - 1
        fw.table.graves_mask = graves_bytes(connections) // 8 - 1
        fw.samples_room = SAMPLES if fw.control.config.timeline_ns else 0
        fw.log_room = LOG_SLACK if fw.control.config.log else <uint64_t>-1
        with nogil:
            fw_lay_out(fw)
        return 0
