"""What may be set: one row a setting, from which messages, help and documentation are made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fwcore._layout import LATEST_NS
from fwcore.units import GIB, MIB, PAGE_BYTES, SECOND_NS

PERSONALITIES = Path(__file__).parent.parent / "personalities"
POSTURES = {  # [T] "A Quick Decision Matrix"
    "availability": ("pass", True),
    "security": ("off", False),
    "balanced": ("pass", False),
    "diagnostic": ("one-shot", True),
}


MEANINGS: Mapping[str, Mapping[str, str]] = {
    "av_failopen": {
        "pass": "new sessions pass unscanned while the mode is on",
        "off": "new sessions are dropped, and one that is being scanned ends when it asks for"
        " memory",
        "one-shot": "as pass, and new sessions pass unscanned after the mode too, until the setting"
        " is changed",
        "idledrop": "sessions of the host that has most are ended until the mode is left",
    },
    "when_full": {
        "refuse": "the new session is dropped",
        "bucket": "the oldest session of the new one's bucket goes",
        "tension": "the oldest session of every bucket goes",
        "replace_oldest": "the oldest session of the table goes",
        "early_drop": "up to 8 buckets are searched for one that is not assured; none: dropped",
    },
    "midstream": {
        "allow": "makes a session", "drop": "is dropped; tracker linux: is invalid",
        "grace": "makes a session in the first midstream_grace_s; later as drop",
    },
    "idledrop_variant": {
        "host": "ends all sessions of the busiest host", "idle": "ends its idle ones only",
    },
    "posture": {
        "none": "nothing", "availability": "av_failopen pass, ips_fail_open true",
        "security": "av_failopen off, ips_fail_open false",
        "balanced": "av_failopen pass, ips_fail_open false",
        "diagnostic": "av_failopen one-shot, ips_fail_open true",
    },
    "machine": {
        "unified": "green, red, extreme in percent of RAM (FortiOS 5.6 and later)",
        "fortios-5": "free RAM, shared memory of the proxies, the proxy session table",
        "kernel+proxy": "two machines on free memory (FortiOS 4)",
        "none": "no conserve mode; a warning when RAM is low",
    },
    "kernel_mode": {
        "bypass": "AV is bypassed whatever av_failopen says", "av-failopen": "as av_failopen says",
    },
    "extreme_scope": {
        "all": "every new session", "inspected": "those whose policy asks for inspection",
    },
    "short_frames": {
        "malformed": "dropped, as a header that contradicts itself",
        "cut": "as long as the IP header says",
    },
}
MARKS: Mapping[str, str] = {  # whose word a value is
    "C": "Clavister's article on memory", "K": "FortiGate KB 198580",
    "H": "FortiOS 5 online help", "T": "FortiOS 7 tuning guide",
    "R": "the public record: manuals, captures, kernel sources", "D": "a decision of this project",
}


def personalities() -> tuple[str, ...]:
    """Names of the built-in personalities."""
    return tuple(sorted(path.stem for path in PERSONALITIES.glob("*.toml")))


class Declaration(NamedTuple):
    """One setting: its kind, what is allowed and why. ``words`` stand instead of a number."""

    name: str
    kind: str  # "name" | "choice" | "choices" | "bool" | "count" | "bytes" | "percent" | "seconds"
    unit: str
    help: str
    low: int | float = 0
    high: int | float = 0
    choices: tuple[str, ...] = ()
    reason: str = ""
    share: bool = False  # "60%" of ram_bytes is accepted
    words: tuple[str, ...] = ()
    table: str = ""  # of a settings file; "" is its top

    def meanings(self) -> Mapping[str, str]:
        """What each choice does."""
        return MEANINGS.get(self.name, {})

    def allowed(self) -> str:
        """The allowed values in words, for messages and help."""
        if self.kind == "bool":
            return "true or false"
        if self.kind == "name":
            return "one of " + ", ".join(personalities())
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "choices":
            return "a list of " + ", ".join(self.choices)
        text = f"{self.low} to {self.high} {self.unit}".rstrip()
        if self.share:
            text += ', or a share of RAM such as "10%"'
        return text + "".join(f', or "{word}"' for word in self.words)


# Bounds follow the fields that hold the values (layout.h); tests/test_settings_bounds.py holds the
# two together and tries both ends of each.
MANY = 1 << 30  # records and lines: half of their numbers' 31 bits, so that overflow lines fit too
HUGE = 1 << 50  # bytes: 2^38 pages, and thousands of them fit a sum of 64 bits
LONG = (2**63 - 1 - LATEST_NS) // SECOND_NS  # a deadline so long after the last time is one still
_TABLE = "record numbers have 31 bits"
_SPAN = "70 to 97 is what the appliance takes [R]"
_D = Declaration


def _timeout(name: str, text: str) -> Declaration:
    return _D(name, "seconds", "s", text, 0.001, LONG, reason="a session must be able to stand",
              table="timeouts")


DECLARATIONS: tuple[Declaration, ...] = (
    _D("personality", "name", "", "named set of settings that behaves like one firewall"),
    _D("seed", "count", "", "seed of the keyed hash; random for embedding", 0, 2**64 - 1,
       words=("random",), reason="the hash is seeded with 64 bits"),
    _D("ram_bytes", "bytes", "bytes", "RAM of the appliance; auto: a GiB, and more where base and a"
       " table taken at start need it", 4 * PAGE_BYTES, HUGE, words=("auto",),
       reason="an appliance has at least 4 pages"),
    _D("model_bytes", "bytes", "bytes", "RAM the model is sold with: row of the proxy's thresholds;"
       " auto: ram_bytes rounded up to 128 MiB", 1, HUGE, words=("auto",)),
    _D("base_bytes", "bytes", "bytes", "base at start: OS, daemons, rings, all but the tunnels",
       0, HUGE, share=True),
    _D("accounting", "choice", "", "when the memory of sessions is taken: all at start, or slab"
       " pages as needed", choices=("preallocated", "slab")),
    _D("session_bytes", "bytes", "bytes", "the appliance's figure for one session", 1, 16 * MIB),
    _D("max_connections", "count", "sessions", "capacity of the connection table; dynamic: as"
       " licence_connections says", 1, MANY, words=("dynamic",), reason=_TABLE),
    _D("licence_connections", "count", "sessions", "what the licence allows", 1, MANY,
       reason=_TABLE),
    _D("buckets", "count", "buckets", "hash buckets; decides what memory tension takes; auto:"
       " a quarter of max_connections, half of it with tracker linux", 1, MANY, words=("auto",)),
    _D("when_full", "choice", "", "what makes room when no record is free",
       choices=("refuse", "bucket", "tension", "replace_oldest", "early_drop")),
    _D("midstream", "choice", "", "a TCP segment without SYN and without a session",
       choices=("allow", "drop", "grace")),
    _D("midstream_grace_s", "seconds", "s", "how long from packet 1 grace allows midstream", 0,
       LONG),
    _D("midstream_initiator", "choice", "", "who began a TCP session met mid-stream: the sender, or"
       " (ports) the end whose port is not below 1024", choices=("ports", "sender")),
    _D("tracker", "choice", "", "who tracks: fwcore's own table of TCP states, or Linux's with its"
       " ICMP pairs, timeouts and assured sessions", choices=("plain", "linux")),
    _D("invalid", "choice", "", "verdict of what the tracker calls invalid (tcp_invalid; tracker"
       " linux: also broken headers above IP and unpaired ICMP)", choices=("forward", "drop")),
    _D("half_open_limit", "count", "sessions", "most half-open sessions; 0 is off", 0, MANY),
    _D("sessions_per_host", "count", "sessions", "most sessions of one initiator; 0 is off", 0,
       MANY),
    _D("zone", "choice", "", "whether the VLAN id is part of the key", choices=("none", "vlan")),
    _D("non_ip", "choice", "", "verdict of what is not IP", choices=("forward", "drop")),
    _D("orphan_fragments", "choice", "", "verdict of a later fragment whose first was not seen",
       choices=("forward", "drop")),
    _D("short_frames", "choice", "", "a frame shorter than its IP header says although the record"
       " calls it whole: malformed, or cut by a tool that lost its length",
       choices=("malformed", "cut")),
    _D("sweep_s", "seconds", "s", "distance of expiry ticks", 0.001, 86400,
       reason="expiry needs a tick"),
    _D("max_step_s", "seconds", "s", "as far as one packet moves the clock, for live clocks that"
       " glitch; 0 is off: as far as it says", 0, LONG),
    _D("ipsec_max_tunnels", "count", "tunnels", "tunnels preallocated; 0: as licence_tunnels says",
       0, 1 << 20),
    _D("licence_tunnels", "count", "tunnels", "tunnels the licence allows", 0, 1 << 20),
    _D("tunnel_base_bytes", "bytes", "bytes", "cost of a tunnel", 0, GIB),
    _D("tunnel_bytes_per_connection", "bytes", "bytes", "added to each tunnel's cost for every"
       " connection the table can hold", 0, MIB),
    _D("machine", "choice", "", "conserve machine",
       choices=("unified", "fortios-5", "kernel+proxy", "none")),
    _D("posture", "choice", "", "sets av_failopen and ips_fail_open unless these are given",
       choices=("none", *POSTURES)),
    _D("av_failopen", "choice", "", "proxy-inspected traffic in conserve mode",
       choices=("pass", "off", "one-shot", "idledrop")),
    _D("av_failopen_session", "bool", "", "full proxy session table: act as av_failopen says"
       " (false: drop)"),
    _D("ips_fail_open", "bool", "", "IPS that cannot scan lets packets pass"),
    _D("ips_trigger", "choices", "", "what puts IPS into its fail state",
       choices=("conserve", "buffer")),
    _D("ips_socket_bytes", "bytes", "bytes", "IPS buffer", 1, 1 << 40),
    _D("ips_throughput_bps", "count", "bit/s", "rate at which the IPS buffer drains; 0 is"
       " unlimited", 0, HUGE),
    _D("extreme_scope", "choice", "", "new sessions refused in extreme mode",
       choices=("all", "inspected")),
    _D("memory_use_threshold_green", "percent", "%", "conserve mode ends below this use", 70, 97,
       reason=_SPAN),
    _D("memory_use_threshold_red", "percent", "%", "conserve mode begins at this use", 70, 97,
       reason=_SPAN),
    _D("memory_use_threshold_extreme", "percent", "%", "extreme mode begins at this use, freeable"
       " counted", 70, 97, reason="above 97 is not recommended: it leaves the device no time to"
       " recover before it crashes [T]; " + _SPAN),
    _D("idledrop_variant", "choice", "", "idledrop ends all sessions of the busiest host, or its"
       " idle ones", choices=("host", "idle")),
    _D("idledrop_idle_s", "seconds", "s", "idle time from which variant idle ends a session", 0,
       LONG),
    _D("kernel_mode", "choice", "", "what the kernel machine does to AV: bypass it, or as"
       " av_failopen says", choices=("bypass", "av-failopen")),
    _D("lowmem", "bool", "", "32-bit model: the kernel machine watches 7/8 of RAM"),
    _D("sip_alg", "bool", "", "SIP ALG is on, so a proxy runs without an AV policy"),
    _D("shm_limit_bytes", "bytes", "bytes", "shared memory the proxies may use", PAGE_BYTES, HUGE,
       share=True, reason="its free share is compared with 20 and 30 %"),
    _D("proxy_max_sessions", "count", "sessions", "capacity of the proxy session table", 1, MANY,
       reason="a table of 0 would be full for ever"),
    _D("proxy_session_bytes", "bytes", "bytes", "shared memory of a proxied session", 0, GIB),
    _D("oversize_bytes", "bytes", "bytes", "objects above this are not scanned", 1, 1 << 40),
    _D("cache_limit_bytes", "bytes", "bytes", "released buffers kept as cache (freeable)", 0, HUGE,
       share=True),
    _D("queue_accounting", "choice", "", "whether packets that wait in shaping queues own memory:"
       " none, or pages of their bytes", choices=("none", "bytes")),
    _D("queue_packets_max", "count", "packets", "most packets that wait in all shaping queues; 0:"
       " the sum of their limits", 0, 1 << 24, reason="their memory is taken at start"),
    _D("shaping_kilo", "count", "bit", "what a kbps of FortiOS' shapers is", 1000, 1024,
       reason="1000 or, on older units, 1024 [R: captures]"),
    _D("config_freeze", "bool", "", "conserve mode refuses configuration changes"),
    _D("fragments_max", "count", "entries", "fragment table", 1, 1 << 20),
    _D("victims_max", "count", "rows", "victim ledger", 1, 1 << 24),
    _D("transitions_max", "count", "rows", "transitions kept", 0, 1 << 24),
    _D("events_max", "count", "rows", "events kept", 0, 1 << 24),
    _D("timeline_interval_s", "seconds", "s", "distance of timeline samples; 0 is off; auto: a"
       " millisecond at first, and up to 0.1 s as time goes by", 0, LONG, words=("auto",)),
    _timeout("tcp_s", "idle time of an established TCP session"),
    _timeout("tcp_halfopen_s", "idle time of a TCP session before ESTABLISHED"),
    _timeout("tcp_halfclose_s", "idle time of a TCP session after one FIN"),
    _timeout("tcp_timewait_s", "idle time of a TCP session after both FINs"),
    _timeout("tcp_rst_s", "idle time of a TCP session after RST"),
    _timeout("udp_s", "idle time of a UDP session"),
    _timeout("icmp_s", "idle time of an ICMP echo session"),
    _timeout("other_s", "idle time of a session of another protocol"),
    _timeout("tcp_synrecv_s", "tracker linux: idle time of TCP in SYN_RECV"),
    _timeout("tcp_closewait_s", "tracker linux: idle time of TCP in CLOSE_WAIT"),
    _timeout("tcp_lastack_s", "tracker linux: idle time of TCP in LAST_ACK"),
    _timeout("tcp_unanswered_s", "tracker linux: idle time of TCP met mid-stream until it was"
             " answered; at most tcp_s"),
    _timeout("udp_stream_s", "tracker linux: idle time of UDP both ways for more than 2 s"),
    _timeout("gre_s", "tracker linux: idle time of GRE"),
    _timeout("gre_stream_s", "tracker linux: idle time of GRE that was answered"),
)
BY_NAME: Mapping[str, Declaration] = {row.name: row for row in DECLARATIONS}
TIMEOUTS = tuple(row.name for row in DECLARATIONS if row.table == "timeouts")
ROW_KINDS = {"base_item": "base_items", "policy": "policies", "pressure": "pressure",
             "meter": "meters", "link": "links", "class": "classes", "shaping": "shapings",
             "wiring": "wirings"}
VENDORS = ("fortios", "cos", "tc")     # whose words for shaping are understood
