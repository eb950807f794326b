"""The glossary: one entry for every counter of a result, in the order in which it stands there.

An entry's ``name`` is the counter's path in the result, dots between the keys. ``find`` also
answers for what stands below an entry (``exposure.by_cause.ips.packets``). The documentation and
``--help`` are made from here, so a counter without an entry does not exist (a test). So is the
result: a field of ``counters_t`` (dataplane/layout.h) that is named after the path of an entry,
underscores for the dots, is that counter.

``reset`` says when a counter goes back to zero:

    RUN     never within a run: counts from its first packet on
    NOW     never: it is the present figure, it rises and falls
    PEAK    never: the highest since the start
    FIXED   never: set at construction
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

RUN: Final = "never within a run"
NOW: Final = "never: the present figure"
PEAK: Final = "never: the highest since the start"
FIXED: Final = "never: fixed at construction"


class Entry(NamedTuple):
    """What a counter means."""

    name: str           # path in the result
    meaning: str
    reset: str = RUN
    vendor: str = ""    # the vendor's name for it; empty where there is none
    later: bool = False     # came after the first outcomes: stands there unless it is 0


def _under(prefix: str, *entries: Entry) -> tuple[Entry, ...]:
    """The same entries with the prefix before each name."""
    return tuple(entry._replace(name=f"{prefix}.{entry.name}") for entry in entries)


TOP: Final = (
    Entry("packets", "frames processed, whatever their verdict"),
    Entry("bytes", "length of those frames on the wire"),
    Entry("duration_ns", "capture time from the first packet to the latest"),
    Entry("refused", "packets refused for want of memory or room: the reasons conserve_block,"
          " extreme, ips_block, half_open_limit, host_limit, proxy_table_full, table_full,"
          " no_memory and killed. Of a flow, in compare: every packet of it was dropped"),
    Entry("short_frames", "frames malformed only because their IP header says more than the record,"
          " which calls them whole; in the result when not 0"),
    Entry("pressure_late", "rows of [[pressure]] whose moment came after the last packet, so that"
          " they never happened; in the result when not 0"),
    Entry("silence", "longest time without a packet, ns, and the packet that ended it; in the"
          " result when above an hour"),
    Entry("time_reversed", "packets older than one before them; handled at the later time"),
    Entry("time_jumped", "packets further ahead than max_step_s; handled so far on and no further",
          later=True),
)

VERDICTS: Final = _under(
    "verdicts",
    Entry("forward", "packets forwarded; their policy asks for no inspection"),
    Entry("inspect", "packets forwarded and inspected as their policy asks"),
    Entry("bypass", "packets forwarded without an inspection that their policy asks for"),
    Entry("drop", "packets not forwarded"),
)

REASONS: Final = _under(
    "reasons",
    Entry("new", "first packet of a session that was made"),
    Entry("hit", "packet of a standing session"),
    Entry("related", "ICMP error quoting a packet of a standing session; gets its verdict"),
    Entry("fragment", "later fragment, followed to its session through the fragment table"),
    Entry("tcp_invalid", "TCP step that the state does not allow; it changes nothing. Tracker"
          " linux: also a first segment that opens nothing", vendor="conntrack -S invalid"),
    Entry("non_ip", "frame that carries no IP (ARP, LLDP, ...)"),
    Entry("unsupported_link", "frame of a link type that is not read"),
    Entry("truncated", "header cut off by the capture's snap length"),
    Entry("fragment_orphan", "later fragment whose first was not seen, or is forgotten"),
    Entry("bypass_conserve", "forwarded uninspected: conserve mode, av-failopen pass or one-shot"),
    Entry("bypass_kernel", "forwarded uninspected: kernel conserve mode",
          vendor="av_break=pass/pass"),
    Entry("bypass_one_shot", "forwarded uninspected: what one-shot left behind after the mode"),
    Entry("bypass_proxy_table", "forwarded uninspected: proxy session table full",
          vendor="av-failopen-session"),
    Entry("bypass_ips", "forwarded uninspected: IPS in its fail state, fail-open enable"),
    Entry("bypass_oversize", "forwarded uninspected: rest of an object larger than oversize_bytes"),
    Entry("bypass_no_memory", "forwarded uninspected: no page for the object"),
    Entry("malformed", "a header contradicts itself or the frame's length; also the later"
          " fragments of such a packet"),
    Entry("icmp_orphan", "ICMP error that quotes no standing session. Tracker linux: ICMP that has"
          " no session, which passes unless it is invalid and `invalid` says drop"),
    Entry("no_session", "TCP segment without SYN and without a session, refused by midstream;"
          " tracker linux calls it tcp_invalid"),
    Entry("denied", "no policy accepts it; counts packets", vendor="policy_deny"),
    Entry("conserve_block", "new session refused: conserve mode, av-failopen off or idledrop"),
    Entry("extreme", "new session refused: extreme low memory"),
    Entry("ips_block", "new session refused: IPS in its fail state, fail-open disable"),
    Entry("half_open_limit", "new session refused: as many half-open ones as allowed"),
    Entry("host_limit", "new session refused: as many of its initiator as allowed"),
    Entry("proxy_table_full", "new session refused: no room in the proxy session table"),
    Entry("table_full", "new session refused: no record free",
          vendor="nf_conntrack: table full, dropping packet; conntrack -S drop"),
    Entry("no_memory", "new session refused, or a packet that would wait in a queue dropped: no"
          " page, not even after a tension pass"),
    Entry("killed", "packet at which its session was killed: it asked for memory under off"),
    Entry("over_limit", "dropped by a meter: beyond its last rung",
          vendor="exceeded shaper limit, drop"),
    Entry("queue_full", "dropped at a link: no room in the class's queue, RED, or too large ever to"
          " leave"),
    Entry("bypass_inspector", "forwarded uninspected: an inspector's answer"),
    Entry("inspector_block", "packet of a session that an inspector blocked"),
)

DECODE: Final = _under(
    "decode",
    Entry("ipv4", "packets with a whole and valid IPv4 header, outermost"),
    Entry("ipv6", "packets with a whole and valid IPv6 header, outermost"),
    Entry("tcp", "TCP packets with a key; later fragments excepted"),
    Entry("udp", "UDP packets with a key; later fragments excepted"),
    Entry("icmp", "ICMP and ICMPv6 packets, errors included"),
    Entry("sctp", "SCTP packets with a key; later fragments excepted"),
    Entry("other_ip", "packets of other IP protocols"),
    Entry("non_ip", "frames that carry no IP"),
    Entry("fragments", "first and later fragments"),
    Entry("malformed", "frames whose headers contradict themselves"),
    Entry("truncated", "frames whose headers were cut by the snap length"),
    Entry("offloaded", "packets with length 0 in the header, as segmentation offload leaves them"),
    Entry("unsupported_link", "frames of a link type that is not read"),
)

SESSIONS: Final = _under(
    "sessions",
    Entry("created", "sessions inserted into the connection table"),
    Entry("live", "sessions standing", NOW, "session_count"),
    Entry("half_open", "TCP before ESTABLISHED, and UDP with one packet; part of live", NOW,
          "ephemeral"),
    Entry("peak", "most sessions standing at once", PEAK),
    Entry("reborn", "sessions made anew after they were evicted, taken by tension or killed"),
)

ENDED: Final = _under(
    "sessions.ended",
    Entry("expired", "sessions idle for their timeout"),
    Entry("closed", "sessions past their time-wait, or past the wait after a RST"),
    Entry("clash", "closed sessions replaced by a SYN of the same key", vendor="clash"),
    Entry("evicted", "sessions that made room in a full table, tension passes excepted",
          vendor="connection_table_full, replacing_conn; conntrack -S early_drop"),
    Entry("tension", "sessions deleted by tension passes", vendor="memory_tension_drop"),
    Entry("killed", "sessions ended by idledrop, or for asking for memory under off"),
    Entry("cleared", "sessions ended by the operator or a restart", vendor="flush"),
)

TENSION: Final = (
    Entry("memory_tension", "sessions deleted because a page could not be allocated, or no record"
          " was free: the oldest of every bucket", vendor="memory_tension_drop"),
    *_under(
        "stampede",
        Entry("passes", "scans of the whole table that deleted the oldest of every bucket"),
        Entry("pages_needed", "pages that were missing when those passes began"),
        Entry("sessions_deleted", "sessions they deleted; what exceeds the need is the stampede"),
        Entry("by_page.passes", "passes because a page could not be allocated"),
        Entry("by_page.sessions_deleted", "sessions deleted for a page"),
        Entry("by_full_table.passes", "passes because no record was free (when_full tension)"),
        Entry("by_full_table.sessions_deleted", "sessions deleted for a record"),
    ),
)

_OWNERS: Final = (
    Entry("base", "pages of the system, its daemons, and what a pressure script adds"),
    Entry("sessions", "pages of the connection table"),
    Entry("shm", "pages of proxy, logging and quarantine buffers", vendor="shm"),
    Entry("cache", "released buffers, kept until needed", vendor="freeable; Inactive"),
    Entry("free", "pages nobody has", vendor="MemFree"),
    Entry("used", "base + sessions + shm + queues", vendor="memory used"),
    Entry("queues", "pages of bytes that wait in shaping queues (queue_accounting); there where"
          " they are not 0", later=True),
)

MEMORY: Final = (
    Entry("memory.total_pages", "RAM of the appliance in pages of 4096 bytes", FIXED, "total RAM"),
    *(owner._replace(name=f"memory.now.{owner.name}", reset=NOW) for owner in _OWNERS),
    *(owner._replace(name=f"memory.peak.{owner.name}", reset=PEAK, vendor="",
                     meaning=f"most at once: {owner.meaning}") for owner in _OWNERS),
    *_under(
        "memory",
        Entry("thresholds", "levels of each machine in pages", FIXED,
              "threshold green, red, extreme; entermargin, exitmargin"),
        Entry("script_short_pages", "pages the pressure script asked for and still lacks", NOW),
        Entry("page_requests", "requests for pages, whether met or not"),
        Entry("page_failures", "requests whose first attempt failed, forced failures included"),
    ),
)

TOP_ROWS: Final = _under(
    "top",
    Entry("forgotten_packets", "dropped or bypassed packets of no host in the rows: without an"
          " address, or of more hosts than are kept"),
    Entry("forgotten_sessions", "sessions taken of hosts beyond those that are kept; policies"
          " have all"),
)

TAKEN: Final = _under(
    "taken",
    Entry("sessions", "sessions evicted, taken by tension or killed"),
    Entry("established", "of these, TCP in ESTABLISHED: connections that were in use"),
    Entry("active", "of these, with a packet in the second before they were taken"),
    Entry("bytes", "bytes that they had carried"),
    Entry("idle", "how many had been idle how long"),
)

LRU: Final = _under(
    "lru",
    Entry("sessions", "sessions that least-recently-used would have taken: at each moment as many"
          " as were evicted or taken by tension, none of them twice; fewer where no other stood"),
    Entry("same", "of these, those that were taken in fact"),
    Entry("established", "of these, TCP in ESTABLISHED: connections that were in use"),
    Entry("active", "of these, with a packet in the second before"),
    Entry("idle", "how many had been idle how long"),
)

EXPOSURE: Final = _under(
    "exposure",
    Entry("after.sessions", "sessions that passed packets unscanned when the mode had ended:"
          " what a session is given at its start holds for its life"),
    Entry("after.packets", "those packets; part of packets"),
    Entry("after.bytes", "length of those packets on the wire; part of bytes"),
    Entry("sessions", "sessions with a packet that passed without an inspection due to it"),
    Entry("packets", "packets that did; as many as verdicts.bypass"),
    Entry("bytes", "length of those packets on the wire"),
)

EXPOSURE_CAUSES: Final = _under(
    "exposure.by_cause",
    Entry("conserve", "conserve mode, av-failopen pass or one-shot", vendor="AV bypass"),
    Entry("kernel", "kernel conserve mode", vendor="av_break=pass/pass"),
    Entry("one_shot", "what one-shot left behind after the mode"),
    Entry("proxy_table", "the proxy session table was full", vendor="av-failopen-session"),
    Entry("ips", "IPS in its fail state, fail-open enable", vendor="IPS session scan paused"),
    Entry("oversize", "objects larger than oversize_bytes, from there on"),
    Entry("no_memory", "objects for which a page could not be had"),
    Entry("inspector", "sessions that an inspector bypassed"),
)

INSPECTION: Final = (
    Entry("idledrop.hosts", "sessions that idledrop ended, by host (initiator)"),
    *_under(
        "proxy",
        Entry("sessions", "proxied sessions standing", NOW),
        Entry("peak", "most proxied sessions at once", PEAK),
        Entry("objects", "objects started, bypassed ones included"),
        Entry("objects_bypassed", "objects that a mode or want of a page left unscanned"),
        Entry("objects_oversize", "objects given up at oversize_bytes"),
    ),
    *_under(
        "ips",
        Entry("filled_bytes", "payload put into the IPS buffer"),
        Entry("full_count", "times the IPS buffer became full", vendor="IPS session scan paused"),
    ),
)

FORGOTTEN: Final = (
    Entry("fragments_forgotten", "fragment entries pushed out before their 30 s by newer ones"),
    Entry("flaps", "entries into extreme less than 60 s after the last exit from it"),
    Entry("transitions_forgotten", "transitions beyond transitions_max: counted, not kept"),
    Entry("events_forgotten", "events beyond events_max: counted, not kept"),
    Entry("victims_forgotten", "rows that the victim ledger, a ring of victims_max, had to forget"),
    Entry("grace_unsure", "segments that got no midstream grace because it could not be told"
          " whether they belong to a victim of this run; in the result when not 0", later=True),
)

CONSERVE: Final = _under(
    "conserve",
    Entry("flaps", "the same as flaps"),
    Entry("seconds", "capture time spent in each mode"),
)

TABLE: Final = _under(
    "table",
    Entry("max_connections", "sessions that the connection table can hold", FIXED,
          "nf_conntrack_max"),
    Entry("buckets", "chains of the appliance's table; tension takes one session of each", FIXED,
          "table_size; nf_conntrack_buckets"),
    Entry("bytes", "memory that fwcore's own table takes, index and timers included", FIXED),
    Entry("bytes_per_connection", "the same for one connection; not the appliance's figure", FIXED),
    Entry("max_depth", "most sessions in one bucket", PEAK, "max_depth"),
)

SHAPING: Final = _under(
    "shaping",
    Entry("unshaped", "packets, and their bytes, that met no meter and no link: they matched no"
          " row, or what it named went away while running"),
    Entry("pages", "pages of the queued bytes of all links (queue_accounting)", NOW),
    Entry("drain_ns", "from the last packet until the last one had left its link"),
    *_under(
        "meters",
        Entry("keys", "keys that have a bucket of their own", NOW),
        Entry("keys_forgotten", "keys without a session that made room for others"),
        Entry("keys_shared", "sessions whose key found no room and shares one bucket"),
        Entry("passed", "packets, and bytes as the meter counts, that it let pass"),
        Entry("dropped", "packets, and bytes, that it dropped"),
        Entry("by_colour", "packets by rung, the first one first; last those beyond all rungs"),
    ),
    *_under(
        "links",
        Entry("packets", "packets that left it"),
        Entry("bytes", "their bytes as the link counts"),
        Entry("priorities", "different ones among its leaves", NOW),
        Entry("busy_ns", "how long its line was taken; 0 where it has no rate"),
        Entry("queue_peak", "most packets, and most bytes, in its queues and on its line", PEAK),
        Entry("pages", "pages of its queued bytes (queue_accounting)", NOW),
    ),
    *_under(
        "classes",
        Entry("packets", "packets that left it"),
        Entry("bytes", "their bytes as the link counts"),
        Entry("dropped", "packets dropped by tail, RED, CoDel, pushed out, or for want of a page"),
        Entry("borrowed", "packets that it sent on what a class above it, or the link, lent",
              vendor="htb: borrowed"),
        Entry("giants", "packets larger than what a bucket that they need ever holds: dropped",
              vendor="htb: giants"),
        Entry("waiting", "packets in its queue", NOW),
        Entry("delay_max", "longest time from arrival to release", PEAK),
        Entry("delay_ns", "arrival to release at p50, p95, p99, and the longest"),
    ),
    *_under(
        "open_loop",
        Entry("tcp_share_of_bytes", "TCP's share of the bytes that came under a row"),
        Entry("flows_hit", "sessions that lost a packet to a meter or at a full queue"),
    ),
)

SPEED: Final = (
    *_under(
        "speed",
        Entry("wall_s", "seconds of real time for the packets; the capture's loading excepted"),
        Entry("packets_per_s", "packets over wall_s"),
        Entry("ns_per_packet", "wall_s over packets"),
        Entry("longest_pause_ns", "longest time that one call of the fast path took"),
        Entry("load_s", "seconds of real time for reading the capture"),
    ),
    *_under(
        "pace",
        Entry("late_packets", "packets processed after the moment that the pace asked for; of a"
              " live run, sent more than 1 ms after they were due"),
        Entry("max_late_ns", "how late the latest of them was; a live run has none", PEAK),
    ),
)

LIVE: Final = (
    *_under(
        "live.interfaces",
        Entry("arrived", "frames at the interface, as the kernel counts them: taken, lost, faulty"),
        Entry("lost", "frames for which the ring had no room: the kernel dropped them"),
        Entry("faulty", "frames in a block of the ring that contradicts itself; not taken"),
        Entry("taken", "frames taken from the ring and judged"),
        Entry("taken_bytes", "bytes of the frames taken"),
        Entry("tagged", "frames taken whose VLAN tag was put back"),
        Entry("sent", "frames sent out of this interface"),
        Entry("sent_bytes", "bytes of the frames sent"),
        Entry("withheld", "frames taken here and not sent on: dropped, or the interface is only"
              " read"),
        Entry("cut", "frames taken here that were not whole, so that they could not be sent on"),
        Entry("full", "frames not sent here: the kernel's queue or memory was full"),
        Entry("too_long", "frames not sent here: longer than the interface's MTU"),
        Entry("down", "frames not sent here: the interface was down or gone"),
        Entry("refused", "frames not sent here for another reason, errno in last_errno"),
        Entry("late", "frames sent here more than 1 ms after they were due"),
    ),
    *_under(
        "live.delay",
        Entry("p50_ns", "from arrival to sent, of half of the frames at most; 12 % coarse"),
        Entry("p99_ns", "the same of 99 in 100"),
        Entry("max_ns", "the same of all", PEAK),
    ),
)

EVENTS: Final = _under(
    "events",
    Entry("conserve_entered", "a machine left off", vendor="Memory conserve mode entered"),
    Entry("conserve_left", "a machine is off again", vendor="Memory conserve mode exited"),
    Entry("extreme_entered", "used + freeable reached extreme",
          vendor="Extreme low memory mode entered"),
    Entry("extreme_left", "back from extreme to on", vendor="Extreme low memory mode exited"),
    Entry("one_shot_latched", "one-shot: new sessions bypass from here on, after the mode too"),
    Entry("one_shot_released", "av-failopen was changed or the engine restarted"),
    Entry("ips_fail_open_entered", "IPS entered its fail state", vendor="IPS session scan paused"),
    Entry("ips_fail_open_left", "IPS left its fail state", vendor="IPS session scan resumed"),
    Entry("memory_warning", "no machine, and less than 100 MB (10**6) of RAM free"),
    Entry("memory_warning_cleared", "110 MB free again"),
    Entry("table_full", "the connection table holds max_connections; the device's own line only"
          " where a packet was refused or a session evicted for it",
          vendor="connection_table_full"),
    Entry("table_full_ended", "it holds at most 90 % again; duration_ns since table_full",
          vendor="FortiGate has reached system connection limit for <n> seconds"),
    Entry("idledrop", "one round that ended sessions: hosts, sessions"),
    Entry("configured", "settings were changed while running"),
    Entry("restarted", "the engine was restarted"),
    Entry("mode_forced", "the operator holds the machines in a mode: 0 off, 1 on, 2 extreme"),
    Entry("mode_released", "the operator lets the machines decide again"),
)

ENTRIES: Final = (
    *TOP, *VERDICTS, *REASONS, *DECODE, *SESSIONS, *ENDED, *TENSION, *MEMORY, *EXPOSURE,
    *EXPOSURE_CAUSES, *INSPECTION, *FORGOTTEN, *CONSERVE, *TOP_ROWS, *TAKEN, *LRU, *TABLE,
    *SHAPING, *SPEED, *LIVE, *EVENTS,
)
BY_NAME: Final = {entry.name: entry for entry in ENTRIES}


def find(name: str) -> Entry | None:
    """The entry of a counter, or of the nearest thing above it; None for an unknown name."""
    while name:
        if name in BY_NAME:
            return BY_NAME[name]
        name = name.rpartition(".")[0]
    return None


def search(word: str) -> Iterator[Entry]:
    """Entries with the word in their name, meaning or vendor's name; case does not matter."""
    wanted = word.lower()
    return (
        entry for entry in ENTRIES
        if wanted in f"{entry.name}\n{entry.meaning}\n{entry.vendor}".lower()
    )


def text(entry: Entry) -> str:
    """One entry in one line."""
    vendor = f" [vendor: {entry.vendor}]" if entry.vendor else ""
    return f"{entry.name}: {entry.meaning}{vendor} (reset: {entry.reset})"


def markdown() -> str:
    """All entries as a Markdown table, for the documentation."""
    lines = ["| counter | meaning | reset | vendor's name |", "|---|---|---|---|"]
    lines += [
        f"| `{each.name}` | {each.meaning} | {each.reset} | {each.vendor} |" for each in ENTRIES
    ]
    return "\n".join(lines) + "\n"
