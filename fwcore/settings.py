"""Settings: what one firewall is, frozen and validated.

    personalities/fortios-7.toml   every setting, each with its mark and a reason
              |  overlaid by
    personalities/<name>.toml      only what this generation does otherwise
              |  posture           sets av_failopen and ips_fail_open
              |  settings file     key = value, [timeouts], [[base_item]], [[policy]], [[pressure]]
              |  --set key=value
              v  arguments
    Settings                       later layers win; where each value comes from is kept

Laws: every setting is one row of ``DECLARATIONS``, from which messages, ``--help`` and the
documentation are made. A ``Settings`` that exists is valid: ``__post_init__`` checks each value
against its row and the settings against each other. What the user did not give is worked out
anew when something else changes (``base_bytes`` stays 60 % when ``ram_bytes`` is replaced).

Units: bytes unless the name says otherwise; pages are 4096 bytes and byte amounts are rounded up
to them; thresholds in percent are rounded down. ``KiB MiB GiB TiB`` are always powers of two;
``kB MB GB TB`` are what the vendor means by them: 2^10, 2^20, ... in FortiOS, 10^3, 10^6, ...
elsewhere (the article's 512 000 x 412 B "= 210.9 MB" is 10^6).

Marks: C Clavister article, K FortiGate KB 198580, H FortiOS 5 online help, T FortiOS 7 tuning
guide, R public record, D decision of this project, "" given by the user.
"""

import dataclasses
import difflib
import functools
import itertools
import json
import operator
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from fwcore.errors import SettingsError

PAGE_BYTES = 4096
MIB = 1 << 20
GIB = 1 << 30
FORTIOS_MB_PAGES = MIB // PAGE_BYTES
LOW_MEMORY_BYTES = 100 * 10**6  # [C] "at least 100 MB of free RAM is recommended"
PERSONALITY_DIR = Path(__file__).parent / "personalities"
BASE_PERSONALITY = "fortios-7"  # complete: what others do not mention comes from here
MARKS = frozenset("CKHTRD")

POSTURES = {  # [T] "A Quick Decision Matrix"
    "availability": ("pass", True),
    "security": ("off", False),
    "balanced": ("pass", False),
    "diagnostic": ("one-shot", True),
}


def ceil_div(amount: int, unit: int) -> int:
    """``amount / unit`` rounded up."""
    return -(-amount // unit)


def to_ns(seconds: float) -> int:
    """Seconds as integer nanoseconds; whole seconds are exact."""
    return seconds * 10**9 if isinstance(seconds, int) else round(seconds * 10**9)


# ---------------------------------------------------------------- declarations


@dataclass(frozen=True, slots=True)
class Declaration:
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


_MANY = 1 << 30
_HUGE = 1 << 50
_LONG = 10**9
_TABLE = "record numbers have 31 bits"
_SPAN = "70 to 97 is what the appliance takes [R]"
_D = Declaration


def _timeout(name: str, text: str) -> Declaration:
    return _D(name, "seconds", "s", text, 0.001, _LONG, reason="a session must be able to stand")


DECLARATIONS: tuple[Declaration, ...] = (
    _D("personality", "name", "", "named set of settings that behaves like one firewall"),
    _D("seed", "count", "", "seed of the keyed hash; random for embedding", 0, 2**64 - 1,
       words=("random",), reason="the hash is seeded with 64 bits"),
    _D("ram_bytes", "bytes", "bytes", "RAM of the appliance", 4 * PAGE_BYTES, _HUGE,
       reason="an appliance has at least 4 pages"),
    _D("model_bytes", "bytes", "bytes", "RAM the model is sold with: row of the proxy's thresholds;"
       " auto: ram_bytes rounded up to 128 MiB", 1, _HUGE, words=("auto",)),
    _D("base_bytes", "bytes", "bytes", "base at start: OS, daemons, rings, all but the tunnels",
       0, _HUGE, share=True),
    _D("accounting", "choice", "", "when the memory of sessions is taken: all at start, or slab"
       " pages as needed", choices=("preallocated", "slab")),
    _D("session_bytes", "bytes", "bytes", "the appliance's figure for one session", 1, 16 * MIB),
    _D("max_connections", "count", "sessions", "capacity of the connection table; dynamic: as"
       " licence_connections says", 1, _MANY, words=("dynamic",), reason=_TABLE),
    _D("licence_connections", "count", "sessions", "what the licence allows", 1, _MANY,
       reason=_TABLE),
    _D("buckets", "count", "buckets", "hash buckets; decides what memory tension takes; auto:"
       " ceil(max_connections / 4)", 1, _MANY, words=("auto",)),
    _D("when_full", "choice", "", "what makes room when no record is free",
       choices=("refuse", "bucket", "tension", "replace_oldest", "early_drop")),
    _D("midstream", "choice", "", "a TCP segment without SYN and without a session",
       choices=("allow", "drop", "grace")),
    _D("midstream_grace_s", "seconds", "s", "how long from packet 1 grace allows midstream", 0,
       _LONG),
    _D("half_open_limit", "count", "sessions", "most half-open sessions; 0 is off", 0, _MANY),
    _D("sessions_per_host", "count", "sessions", "most sessions of one initiator; 0 is off", 0,
       _MANY),
    _D("zone", "choice", "", "whether the VLAN id is part of the key", choices=("none", "vlan")),
    _D("non_ip", "choice", "", "verdict of what is not IP", choices=("forward", "drop")),
    _D("orphan_fragments", "choice", "", "verdict of a later fragment whose first was not seen",
       choices=("forward", "drop")),
    _D("sweep_s", "seconds", "s", "distance of expiry ticks", 0.001, 86400,
       reason="expiry needs a tick"),
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
       " unlimited", 0, _HUGE),
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
       _LONG),
    _D("kernel_mode", "choice", "", "what the kernel machine does to AV: bypass it, or as"
       " av_failopen says", choices=("bypass", "av-failopen")),
    _D("lowmem", "bool", "", "32-bit model: the kernel machine watches 7/8 of RAM"),
    _D("sip_alg", "bool", "", "SIP ALG is on, so a proxy runs without an AV policy"),
    _D("shm_limit_bytes", "bytes", "bytes", "shared memory the proxies may use", PAGE_BYTES, _HUGE,
       share=True, reason="its free share is compared with 20 and 30 %"),
    _D("proxy_max_sessions", "count", "sessions", "capacity of the proxy session table", 1, _MANY,
       reason="a table of 0 would be full for ever"),
    _D("proxy_session_bytes", "bytes", "bytes", "shared memory of a proxied session", 0, GIB),
    _D("oversize_bytes", "bytes", "bytes", "objects above this are not scanned", 1, 1 << 40),
    _D("cache_limit_bytes", "bytes", "bytes", "released buffers kept as cache (freeable)", 0, _HUGE,
       share=True),
    _D("config_freeze", "bool", "", "conserve mode refuses configuration changes"),
    _D("fragments_max", "count", "entries", "fragment table", 1, 1 << 20),
    _D("victims_max", "count", "rows", "victim ledger", 1, 1 << 24),
    _D("transitions_max", "count", "rows", "transitions kept", 0, 1 << 24),
    _D("events_max", "count", "rows", "events kept", 0, 1 << 24),
    _D("timeline_interval_s", "seconds", "s", "distance of timeline samples; 0 is off", 0, _LONG),
    _timeout("tcp_s", "idle time of an established TCP session"),
    _timeout("tcp_halfopen_s", "idle time of a TCP session before ESTABLISHED"),
    _timeout("tcp_halfclose_s", "idle time of a TCP session after one FIN"),
    _timeout("tcp_timewait_s", "idle time of a TCP session after both FINs"),
    _timeout("tcp_rst_s", "idle time of a TCP session after RST"),
    _timeout("udp_s", "idle time of a UDP session"),
    _timeout("icmp_s", "idle time of an ICMP echo session"),
    _timeout("other_s", "idle time of a session of another protocol"),
)
BY_NAME: Mapping[str, Declaration] = {row.name: row for row in DECLARATIONS}
ROW_KINDS = {"base_item": "base_items", "policy": "policies", "pressure": "pressure"}


class Share(NamedTuple):
    """A share of RAM, not yet resolved."""

    percent: Fraction

    def of(self, ram_bytes: int) -> int:
        """Bytes, rounded down."""
        return int(ram_bytes * self.percent / 100)


class _Bad(ValueError):
    """A value that its declaration does not take; the caller knows where it stands."""


# ---------------------------------------------------------------- one value

_AMOUNT = re.compile(r"\s*(-?[0-9][0-9_]{0,30}(?:\.[0-9]{1,30})?)\s*([A-Za-z]+|%)\s*")
_BINARY = {"kib": 1, "mib": 2, "gib": 3, "tib": 4}
_VENDOR = {"b": 0, "kb": 1, "mb": 2, "gb": 3, "tb": 4}
_BOOL_WORDS = {"true": True, "yes": True, "on": True, "enable": True,
               "false": False, "no": False, "off": False, "disable": False}


def _amount(text: str, declaration: Declaration, kilo: int) -> int | Share:
    """``"64MiB"`` -> 67108864, ``"60%"`` -> Share(60). Raises _Bad."""
    match = _AMOUNT.fullmatch(text)
    if not match:
        raise _Bad("is not a number of bytes such as 65536 or 64KiB")
    number, unit = Fraction(match[1].replace("_", "")), match[2].lower()
    if unit == "%":
        if not declaration.share or not 0 <= number <= 100:
            raise _Bad("is not a share it can take")
        return Share(number)
    if unit in _BINARY:
        number *= 1024 ** _BINARY[unit]
    elif unit in _VENDOR:
        number *= kilo ** _VENDOR[unit]
    else:
        raise _Bad(f"has the unknown unit {match[2]} (KiB, MiB, GiB, kB, MB, GB)")
    if number.denominator != 1:
        raise _Bad("is not a whole number of bytes")
    return int(number)


def _whole(value: Any) -> int:
    """An int that is no bool (numpy integers too). Raises _Bad."""
    if isinstance(value, bool):
        raise _Bad("is true or false, not a number")
    try:
        return operator.index(value)
    except TypeError:
        kind = "text" if isinstance(value, str) else type(value).__name__
        raise _Bad(f"is not a whole number but {kind}") from None


def _ranged(declaration: Declaration, number: Any) -> Any:
    if not declaration.low <= number <= declaration.high:
        raise _Bad("is out of range")
    return number


def _coerce_choices(declaration: Declaration, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise _Bad("is not a list")
    names = tuple(value)
    for name in names:
        if name not in declaration.choices:
            raise _Bad(f"names {name!r}{_nearest(name, declaration.choices)}")
    return tuple(name for name in declaration.choices if name in names)


def _coerce_seconds(declaration: Declaration, value: Any) -> float:
    if isinstance(value, float):
        return _ranged(declaration, value)
    return _ranged(declaration, _whole(value))


def _coerce_typed(declaration: Declaration, value: Any) -> Any:
    """Names, choices and booleans: values that are no numbers."""
    kind = declaration.kind
    if kind == "name" and not isinstance(value, str):
        raise _Bad("is not a name")
    if kind == "bool" and not isinstance(value, bool):
        raise _Bad("is neither true nor false")
    if kind == "choice" and value not in declaration.choices:
        raise _Bad(f"is unknown{_nearest(value, declaration.choices)}")
    return value


def coerce(declaration: Declaration, value: Any, kilo: int = 1024) -> Any:
    """A typed value of this setting, or _Bad with what is wrong. ``kilo``: the vendor's kB."""
    if isinstance(value, str) and value in declaration.words:
        return None if value == "random" else value
    if value is None and "random" in declaration.words:
        return None
    if declaration.kind in ("name", "bool", "choice"):
        return _coerce_typed(declaration, value)
    if declaration.kind == "choices":
        return _coerce_choices(declaration, value)
    if declaration.kind == "seconds":
        return _coerce_seconds(declaration, value)
    if declaration.kind == "bytes" and isinstance(value, str):
        value = _amount(value, declaration, kilo)
    if isinstance(value, Share):
        return value
    return _ranged(declaration, _whole(value))


def _from_text(declaration: Declaration, text: str) -> Any:
    """The right side of ``--set``, typed by the declaration; coerce judges the rest."""
    text = text.strip().strip("\"'")
    if declaration.kind == "bool":
        return _BOOL_WORDS.get(text.lower(), text)
    if declaration.kind == "choices":
        words = [word.strip(" []\"'") for word in text.split(",")]
        return [word for word in words if word not in ("", "none")]
    if declaration.kind in ("choice", "name"):
        return text
    if declaration.kind == "percent":
        text = text.removesuffix("%").strip()
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _nearest(name: Any, names: Iterable[str]) -> str:
    """``; did you mean "x"?`` or nothing."""
    near = difflib.get_close_matches(str(name).lower(), list(names), n=1, cutoff=0.5)
    return f'; did you mean "{near[0]}"?' if near else ""


def _show(value: Any) -> str:
    """A value as it is written in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        shown = value if len(value) <= 60 else value[:60] + "..."
        return json.dumps(shown, ensure_ascii=False)
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_show(each) for each in value) + "]"
    return "random" if value is None else str(value)[:60]


def _refuse(where: str, declaration: Declaration, value: Any, problem: str) -> SettingsError:
    """The one form of a refusal: place, setting, problem, allowed range, reason."""
    reason = f"; {declaration.reason}" if declaration.reason else ""
    return SettingsError(
        f"{where}: {declaration.name} = {_show(value)} {problem}; "
        f"allowed: {declaration.allowed()}{reason}"
    )


def _declared(name: str, where: str) -> Declaration:
    try:
        return BY_NAME[name]
    except KeyError:
        near = _nearest(name, BY_NAME) or "; `fwcore personality show plain` lists them"
        raise SettingsError(f'{where}: unknown setting {_show(name)}{near}') from None


class Given(NamedTuple):
    """A value somebody gave, and where: "file x.toml:3", "--set", "argument"."""

    value: Any
    origin: str


def _give(name: str, value: Any, origin: str, kilo: int) -> Given:
    """Look the name up and type the value. Raises SettingsError."""
    where = origin.removeprefix("file ")
    declaration = _declared(name, where)
    try:
        return Given(coerce(declaration, value, kilo), origin)
    except _Bad as bad:
        raise _refuse(where, declaration, value, str(bad)) from None


# ---------------------------------------------------------------- TOML with line numbers

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[A-Za-z0-9_"'-]+)*)\s*=""")
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'')
_TRIPLE = re.compile(r'"""|\'\'\'')


def key_lines(text: str) -> dict[tuple[Any, ...], int]:
    """Line of each key and table: ("ram_bytes",), ("timeouts", "tcp_s"), ("policy", 0, "id").

    A scanner, not a parser: tomllib has accepted the text before. Lines within arrays of several
    lines and within multi-line strings are no keys.
    """
    lines: dict[tuple[Any, ...], int] = {}
    table: tuple[Any, ...] = ()
    counts: dict[tuple[Any, ...], int] = {}
    depth, within = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        header = None if depth or within else _HEADER.match(line)
        if header:
            table = _parts(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            lines.setdefault(table, number)
            continue
        key = None if depth or within else _KEY.match(line)
        if key:
            lines.setdefault((*table, *_parts(key[1])), number)
        depth, within = _open_after(line, depth, within)
    return lines


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _open_after(line: str, depth: int, within: str) -> tuple[int, str]:
    """Brackets open and the multi-line quote open at the end of this line."""
    for quote in _TRIPLE.findall(line):
        within = "" if quote == within else within or quote
    if within:
        return depth, within
    bare = _QUOTED.sub("", _TRIPLE.sub("", line)).split("#")[0]
    return depth + sum(map(bare.count, "[{")) - sum(map(bare.count, "]}")), ""


class Row(dict[str, Any]):
    """A ``[[policy]]``, ``[[pressure]]`` or ``[[base_item]]`` that knows where it was written.

    ``where`` is "file:line" of the row, ``lines`` "file:line" of each key.
    """

    __slots__ = ("lines", "where")

    def __init__(
        self, values: Mapping[str, Any], where: str, lines: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(values)
        self.where = where
        self.lines = dict(lines or {})


class _Document(NamedTuple):
    """A TOML file with the lines of its keys."""

    path: str
    data: dict[str, Any]
    lines: dict[tuple[Any, ...], int]

    def where(self, *key: Any) -> str:
        """``file:line`` of a key, or of the nearest table around it."""
        while key and key not in self.lines:
            key = key[:-1]
        return f"{self.path}:{self.lines.get(key, 1)}"

    def rows(self, kind: str) -> tuple[Row, ...]:
        """The rows of an array of tables."""
        found = self.data.get(kind, [])
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise SettingsError(f"{self.where(kind)}: write {kind} rows as [[{kind}]] tables")
        return tuple(
            Row(row, self.where(kind, at), {key: self.where(kind, at, key) for key in row})
            for at, row in enumerate(found)
        )


def _read(path: str | Path) -> _Document:
    """Read a TOML file. Raises SettingsError with file and line."""
    try:
        text = Path(path).read_bytes().decode("utf-8")
        return _Document(str(path), tomllib.loads(text), key_lines(text))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: byte {error.start} is not UTF-8; TOML is UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        at = re.search(r" \(at line (\d+), column (\d+)\)", str(error))
        where = f"{path}:{at[1]}" if at else str(path)
        raise SettingsError(f"{where}: not valid TOML: {error}") from None


# ---------------------------------------------------------------- personalities


@dataclass(frozen=True)
class Entry:
    """A value of a personality with its mark, its reason and its ``file:line``."""

    value: Any
    mark: str
    why: str
    where: str


@dataclass(frozen=True)
class Personality:
    """A named set of settings. ``entries`` are its own values only, in the order of the file."""

    name: str
    summary: str
    kilo: int  # what this vendor's kB is: 1000 or 1024
    entries: Mapping[str, Entry]
    path: str


def personalities() -> tuple[str, ...]:
    """Names of the built-in personalities."""
    return tuple(sorted(path.stem for path in PERSONALITY_DIR.glob("*.toml")))


def personality(name: str, where: str = "argument") -> Personality:
    """A built-in personality, or one read from a file when ``name`` is a path ending in .toml.

    Raises SettingsError: unknown name, or whatever is wrong in the file, with file and line.
    """
    if name.endswith(".toml"):
        return _read_personality(name, Path(name))
    if name not in personalities():
        raise SettingsError(
            f'{where}: unknown personality {_show(name)}{_nearest(name, personalities())}; '
            f"allowed: {', '.join(personalities())}, or the path of a .toml file"
        )
    return _built_in(name)


@functools.cache
def _built_in(name: str) -> Personality:
    return _read_personality(name, PERSONALITY_DIR / f"{name}.toml")


def _read_personality(name: str, path: Path) -> Personality:
    document = _read(path)
    for key in document.data:
        if key not in ("about", "settings", "timeouts"):
            raise SettingsError(
                f"{document.where(key)}: a personality has [about], [settings] and [timeouts],"
                f" not {key}"
            )
        if not isinstance(document.data[key], dict):
            raise SettingsError(f"{document.where(key)}: {key} is a table: [{key}]")
    about = document.data.get("about", {})
    megabyte = about.get("megabyte", MIB)
    if megabyte not in (10**6, MIB):
        raise SettingsError(
            f"{document.where('about', 'megabyte')}: megabyte is 1000000 or 1048576"
        )
    kilo = 1000 if megabyte == 10**6 else 1024
    entries = {
        key: _entry(document, table, key, kilo)
        for table in ("settings", "timeouts")
        for key in document.data.get(table, {})
    }
    return Personality(name, str(about.get("summary", "")), kilo, entries, str(path))


def _entry(document: _Document, table: str, key: str, kilo: int) -> Entry:
    """``key = {value = ..., mark = "T", why = "..."}`` of a personality."""
    where = document.where(table, key)
    _declared(key, where)
    if key == "personality" or (key in Timeouts.names()) != (table == "timeouts"):
        raise SettingsError(f"{where}: {key} does not belong into [{table}]")
    written = document.data[table][key]
    if not isinstance(written, dict) or set(written) != {"value", "mark", "why"}:
        raise SettingsError(
            f"{where}: write {key} = {{value = ..., mark = ..., why = ...}}: in a personality"
            " every value goes with its mark and reason"
        )
    mark = written["mark"]
    if not isinstance(mark, str) or mark not in MARKS:
        raise SettingsError(
            f"{where}: mark = {_show(mark)} is unknown; allowed: one of {', '.join(sorted(MARKS))}"
        )
    given = _give(key, written["value"], where, kilo)
    return Entry(given.value, mark, str(written["why"]), where)


# ---------------------------------------------------------------- rows

_POSITIVE = Declaration("", "count", "", "", 1, _HUGE)
_AT = Declaration("at_s", "seconds", "s", "", 0, _LONG)


def _row_value(row: Row, key: str, declaration: Declaration, kilo: int) -> Any:
    try:
        return coerce(declaration, row[key], kilo)
    except _Bad as bad:
        named = dataclasses.replace(declaration, name=key)
        raise _refuse(row.lines.get(key, row.where), named, row[key], str(bad)) from None


def _row_keys(row: Row, kind: str, known: Sequence[str]) -> None:
    for key in row:
        if key not in known:
            raise SettingsError(
                f'{row.lines.get(key, row.where)}: unknown key "{key}" in [[{kind}]]'
                f"{_nearest(key, known)}; allowed: {', '.join(known)}"
            )


def _check_base_item(row: Row, kilo: int) -> Row:
    """name, count, bytes_each; all required."""
    _row_keys(row, "base_item", ("name", "count", "bytes_each"))
    for key in ("name", "count", "bytes_each"):
        if key not in row:
            raise SettingsError(f"{row.where}: [[base_item]] needs {key}")
    if not isinstance(row["name"], str) or not row["name"]:
        raise SettingsError(f"{row.lines.get('name', row.where)}: name must be a text")
    count = Declaration("count", "count", "", "", 0, _MANY)
    size = Declaration("bytes_each", "bytes", "bytes", "", 0, _HUGE)
    values = {
        "name": row["name"],
        "count": _row_value(row, "count", count, kilo),
        "bytes_each": _row_value(row, "bytes_each", size, kilo),
    }
    return Row(values, row.where, row.lines)


def _check_pressure(row: Row, kilo: int) -> Row:
    """One of: add_bytes at at_s, leak_bytes_per_s from at_s, fail_every, fail_nth.

    The row returned has at_s, at_ns and owner filled in where they mean something; the defaults
    are at_s = 0 for a leak and owner = "base".
    """
    verbs = ("add_bytes", "leak_bytes_per_s", "fail_every", "fail_nth")
    row = Row({key: row[key] for key in row if key != "at_ns"}, row.where, row.lines)
    _row_keys(row, "pressure", ("at_s", "owner", *verbs))
    named = [verb for verb in verbs if verb in row]
    if len(named) != 1:
        raise SettingsError(f"{row.where}: [[pressure]] needs exactly one of {', '.join(verbs)}")
    verb = named[0]
    if verb.startswith("fail"):
        for key in ("at_s", "owner"):
            if key in row:
                raise SettingsError(
                    f"{row.lines.get(key, row.where)}: {verb} counts page requests; {key} has no"
                    " meaning with it"
                )
        return Row({verb: _row_value(row, verb, _POSITIVE, kilo)}, row.where, row.lines)
    owner = row.get("owner", "base")
    if owner not in ("base", "shm"):
        raise SettingsError(
            f"{row.lines.get('owner', row.where)}: owner = {_show(owner)} is unknown; allowed:"
            " base, shm; sessions and cache follow from traffic"
        )
    if verb == "add_bytes" and "at_s" not in row:
        raise SettingsError(f"{row.where}: add_bytes needs at_s (seconds from packet 1)")
    at_s = _row_value(row, "at_s", _AT, kilo) if "at_s" in row else 0
    size = Declaration(verb, "bytes", "bytes", "", -_HUGE if verb == "add_bytes" else 1, _HUGE)
    values = {"at_s": at_s, "at_ns": to_ns(at_s), "owner": owner,
              verb: _row_value(row, verb, size, kilo)}
    if not values[verb]:
        raise SettingsError(f"{row.lines.get(verb, row.where)}: add_bytes = 0 does nothing")
    return Row(values, row.where, row.lines)


def _check_policy(row: Row, kilo: int) -> Row:
    """Policies are judged by policy.parse; here they only keep their place."""
    return row


_ROW_CHECKS: Mapping[str, Callable[[Row, int], Row]] = {
    "base_item": _check_base_item,
    "policy": _check_policy,
    "pressure": _check_pressure,
}


def _rows_of(kind: str, rows: Any, origin: str) -> tuple[Row, ...]:
    """Rows given as an argument."""
    if isinstance(rows, (str, Mapping)) or not isinstance(rows, Iterable):
        raise SettingsError(f"{origin}: {kind} is not a list of rows")
    result: list[Row] = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise SettingsError(f"{origin}: {kind} row {number} is not a table")
        placed = row if isinstance(row, Row) else Row(row, f"{origin}, {kind} {number}")
        result.append(placed)
    return tuple(result)


# ---------------------------------------------------------------- Settings


@dataclass(frozen=True)
class Timeouts:
    """Idle times by protocol and state, seconds."""

    tcp_s: float
    tcp_halfopen_s: float
    tcp_halfclose_s: float
    tcp_timewait_s: float
    tcp_rst_s: float
    udp_s: float
    icmp_s: float
    other_s: float

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the timeouts, in the order of the contract."""
        return tuple(each.name for each in dataclasses.fields(cls))

    def as_ns(self) -> dict[str, int]:
        """The same by name without the unit: {"tcp": ns, "tcp_halfopen": ns, ...}."""
        return {name[:-2]: to_ns(getattr(self, name)) for name in self.names()}


@dataclass(frozen=True)
class Settings:
    """Every setting of ``DECLARATIONS``, resolved: byte amounts, connections and buckets are ints.

    Made by ``load``; changed by ``replace``. Equality and hash look at the values, not at where
    they come from. Raises SettingsError when a value or a combination is not allowed.
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
    half_open_limit: int
    sessions_per_host: int
    zone: str
    non_ip: str
    orphan_fragments: str
    sweep_s: float
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
    config_freeze: bool
    fragments_max: int
    victims_max: int
    transitions_max: int
    events_max: int
    timeline_interval_s: float
    timeouts: Timeouts
    base_items: tuple[Row, ...] = field(default=(), hash=False)
    policies: tuple[Row, ...] = field(default=(), hash=False)
    pressure: tuple[Row, ...] = field(default=(), hash=False)
    kilo: int = field(default=1024, compare=False)
    given: Mapping[str, Given] = field(default_factory=dict, compare=False, repr=False)
    origin: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    marks: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    reasons: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for declaration in DECLARATIONS:
            value = self.value(declaration.name)
            try:
                coerce(declaration, value)
            except _Bad as bad:
                raise _refuse(
                    self.where(declaration.name), declaration, value, str(bad)
                ) from None
        _check_thresholds(self)
        _check_fits(self)
        _check_cache(self)

    def value(self, name: str) -> Any:
        """A setting by its flat name (timeouts too)."""
        return getattr(self.timeouts if name in Timeouts.names() else self, name)

    def where(self, name: str) -> str:
        """Where a value comes from, as messages begin."""
        return self.origin.get(name, "argument").removeprefix("file ")

    def replace(self, **changes: Any) -> "Settings":
        """The same with changes, validated again; what was not given is worked out anew.

        Keyword arguments as in ``load``: any setting, a timeout, policies, pressure, base_items.
        """
        origin = "argument" if "personality" in changes else self.origin.get("personality", "")
        chosen = personality(changes.pop("personality", self.personality))
        rows = {kind: getattr(self, attribute) for kind, attribute in ROW_KINDS.items()}
        given = dict(self.given)
        _take_arguments(changes, chosen.kilo, given, rows)
        return _build(chosen, origin, given, rows)

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

    # Pages. Byte amounts are rounded up, thresholds down.

    @property
    def total_pages(self) -> int:
        """RAM."""
        return ceil_div(self.ram_bytes, PAGE_BYTES)

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
        return ceil_div(self.base_bytes + self.tunnels_bytes, PAGE_BYTES)

    @property
    def sessions_per_page(self) -> int:
        """Sessions in a slab page; 0 when a session needs whole pages."""
        return PAGE_BYTES // self.session_bytes

    @property
    def pages_per_session(self) -> int:
        """Whole pages of one session (1 when it shares a page)."""
        return ceil_div(self.session_bytes, PAGE_BYTES)

    @property
    def preallocated_pages(self) -> int:
        """Pages of the connection table taken at start (0 with slab)."""
        if self.accounting != "preallocated":
            return 0
        return ceil_div(self.max_connections * self.session_bytes, PAGE_BYTES)

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
        return ceil_div(self.cache_limit_bytes, PAGE_BYTES)

    @property
    def shm_limit_pages(self) -> int:
        """Shared memory of the proxies (fortios-5)."""
        return ceil_div(self.shm_limit_bytes, PAGE_BYTES)

    @property
    def proxy_session_pages(self) -> int:
        """Pages a proxied session holds while it lives."""
        return ceil_div(self.proxy_session_bytes, PAGE_BYTES)

    @property
    def reachable_pages(self) -> int:
        """What the kernel machine watches: 7/8 of RAM with lowmem [K], else RAM."""
        return self.total_pages * 7 // 8 if self.lowmem else self.total_pages

    # Nanoseconds

    @property
    def sweep_ns(self) -> int:
        """Distance of expiry ticks."""
        return to_ns(self.sweep_s)

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
        """Distance of timeline samples; 0 is off."""
        return to_ns(self.timeline_interval_s)

    # Thresholds

    @property
    def thresholds(self) -> dict[str, dict[str, int]]:
        """Thresholds in pages of the machines this firewall has.

        unified {green, red, extreme} of used pages; kernel, proxy, fortios-5 {enter, leave} of
        free pages (with lowmem, what the kernel cannot reach is in its figures). A kernel machine
        below 512 MiB has no row.
        """
        total = self.total_pages
        if self.machine == "unified":
            levels = ("green", "red", "extreme")
            return {"unified": {each: total * self.value(f"memory_use_threshold_{each}") // 100
                                for each in levels}}
        if self.machine == "fortios-5":
            return {"fortios-5": {"enter": total * 20 // 100, "leave": total * 30 // 100}}
        if self.machine == "none":
            return {}
        kernel, proxy = _kernel_row(self), _proxy_row(self)
        both = {"kernel": kernel, "proxy": proxy}
        return {name: {"enter": row[0], "leave": row[1]} for name, row in both.items() if row}

    @property
    def entry_pages(self) -> dict[str, int]:
        """Used pages at which each mode begins while nothing is cached.

        {"red", "extreme"} · {"kernel", "proxy"} · {"fortios-5"} · {"low memory"} (machine none,
        100 MB free [C]).
        """
        levels = self.thresholds
        if self.machine == "unified":
            return {name: levels["unified"][name] for name in ("red", "extreme")}
        if self.machine == "none":
            low = ceil_div(LOW_MEMORY_BYTES, PAGE_BYTES) - 1
            return {"low memory": max(0, self.total_pages - low)}
        return {name: self.total_pages - row["enter"] + 1 for name, row in levels.items()}

    @property
    def exit_pages(self) -> dict[str, int]:
        """Most used plus cached pages at which each mode still ends (unified: used pages)."""
        levels = self.thresholds
        if self.machine == "unified":
            return {"unified": levels["unified"]["green"] - 1}
        return {name: self.total_pages - row["leave"] - 1 for name, row in levels.items()}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed and probably not meant; said at start."""
        found = (_warn_never_left(self), _warn_table_first(self), _warn_kernel_first(self),
                 _warn_items(self))
        return tuple(text for text in found if text)


def _kernel_row(settings: Settings) -> tuple[int, int] | None:
    """[K] kernel machine: enter, leave; None below 512 MiB, where the KB lists nothing.

    With lowmem the percentages of the note ("below the 20% threshold of total memory that can be
    accessed by kernel") hold for every size [D].
    """
    total, reach = settings.total_pages, settings.reachable_pages
    ram_bytes = total * PAGE_BYTES
    if ram_bytes < 512 * MIB:
        return None
    if ram_bytes >= GIB and not settings.lowmem:
        return 200 * FORTIOS_MB_PAGES, 300 * FORTIOS_MB_PAGES
    beyond = total - reach  # free RAM that the kernel cannot reach
    return reach * 20 // 100 + beyond, reach * 30 // 100 + beyond


def _proxy_row(settings: Settings) -> tuple[int, int]:
    """[K] proxy machine: enter, leave, by the RAM the model is sold with."""
    model, total = settings.model_bytes, settings.total_pages
    if model >= GIB:
        return total * 12 // 100, total * 18 // 100
    if model >= 512 * MIB:
        return total * 20 // 100, total * 30 // 100
    if model >= 256 * MIB:
        return 40 * FORTIOS_MB_PAGES, 60 * FORTIOS_MB_PAGES
    return 10 * FORTIOS_MB_PAGES, 20 * FORTIOS_MB_PAGES


# ---------------------------------------------------------------- settings against each other


def _blame(settings: Settings, *names: str) -> str:
    """The first of these that the user gave, else the first."""
    return next((name for name in names if name in settings.given), names[0])


def _threshold_span(settings: Settings, name: str) -> tuple[int, int]:
    """What the other two thresholds leave for this one."""
    green, red, extreme = (
        settings.value(f"memory_use_threshold_{level}") for level in ("green", "red", "extreme")
    )
    if name.endswith("green"):
        return 70, red - 1
    if name.endswith("red"):
        return green + 1, extreme - 1
    return red + 1, 97


def _check_thresholds(settings: Settings) -> None:
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


def _check_fits(settings: Settings) -> None:
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


def cache_room_pages(settings: Settings) -> int | None:
    """Most pages of cache with which every legacy machine can still be left; None: no limit.

    Machines on free memory do not count the cache as free. With base and the preallocated table
    in place, nothing else used and the cache full,
    free = watched - base - preallocated - cache must exceed ``leave``.
    Negative: the base alone holds the mode, whatever the cache.
    """
    if settings.machine in ("none", "unified"):
        return None
    exits = settings.exit_pages.values()
    return min(exits) - settings.base_pages - settings.preallocated_pages


def _check_cache(settings: Settings) -> None:
    room = cache_room_pages(settings)
    if room is None or room < 0 or settings.cache_limit_pages <= room:
        return
    name = _blame(settings, "cache_limit_bytes", "base_bytes", "ram_bytes", "max_connections")
    raise SettingsError(
        f"{settings.where(name)}: {name} = {settings.value(name)} would latch the machine:"
        f" cache_limit_bytes = {settings.cache_limit_bytes}; allowed: 0 to {room * PAGE_BYTES}"
        " bytes; a full cache is not free memory, and conserve mode is left on free memory only"
    )


def _warn_never_left(settings: Settings) -> str:
    start = settings.base_pages + settings.preallocated_pages
    stuck = [name for name, limit in settings.exit_pages.items() if start > limit]
    if not stuck:
        return ""
    least = min(settings.exit_pages[name] for name in stuck)
    left = f"is left only at {least} or fewer" if least >= 0 else "is never left"
    return (
        f"{', '.join(stuck)}: {start} pages are used at start, but the mode {left}: once entered"
        " it stays"
    )


def _warn_table_first(settings: Settings) -> str:
    if settings.machine == "none":
        return ""
    full = settings.base_pages + settings.session_pages(settings.max_connections)
    name, entry = min(settings.entry_pages.items(), key=lambda item: item[1])
    if full >= entry:
        return ""
    return (
        f"the connection table fills before {name} is reached: {settings.max_connections} sessions"
        f" make {full} used pages, the mode begins at {entry}; traffic without inspection cannot"
        " bring it about"
    )


def _warn_kernel_first(settings: Settings) -> str:
    entries = settings.entry_pages
    if settings.kernel_mode != "bypass" or "kernel" not in entries:
        return ""
    if entries["kernel"] > entries["proxy"]:
        return ""
    return (
        f"with {settings.ram_bytes} bytes of RAM the kernel machine enters no later than the proxy"
        f" (at {entries['kernel']} and {entries['proxy']} used pages; 1.67 GB is the border), so"
        " that av_failopen never shows: AV is bypassed whatever it says"
    )


def _warn_items(settings: Settings) -> str:
    if settings.base_items and "base_bytes" in settings.given:
        return "base_bytes is given: the [[base_item]] rows are not counted"
    return ""


# ---------------------------------------------------------------- loading


def _flat(name: str) -> str:
    return name.removeprefix("timeouts.")


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SettingsError(f'--set: {_show(text)} is not key=value')
    name = _flat(name.strip())
    if name in ROW_KINDS or name in ROW_KINDS.values():
        raise SettingsError(f"--set: {name} are rows of a settings file, not a value")
    return name, value


def _take_assignments(texts: Sequence[str], kilo: int, given: dict[str, Given]) -> None:
    for text in texts:
        name, value = _assignment(text)
        typed = _from_text(_declared(name, "--set"), value)
        given[name] = _give(name, typed, "--set", kilo)


def _take_document(
    document: _Document, kilo: int, given: dict[str, Given], rows: dict[str, tuple[Row, ...]]
) -> None:
    for key, value in document.data.items():
        if key in ROW_KINDS:
            rows[key] = document.rows(key)
        elif key == "timeouts":
            _take_timeouts(document, kilo, given)
        else:
            given[key] = _give(key, value, f"file {document.where(key)}", kilo)


def _take_timeouts(document: _Document, kilo: int, given: dict[str, Given]) -> None:
    table = document.data["timeouts"]
    if not isinstance(table, dict):
        raise SettingsError(f"{document.where('timeouts')}: timeouts is a table: [timeouts]")
    for key, value in table.items():
        where = document.where("timeouts", key)
        if key not in Timeouts.names():
            raise SettingsError(
                f'{where}: unknown timeout "{key}"{_nearest(key, Timeouts.names())}; allowed:'
                f" {', '.join(Timeouts.names())}"
            )
        given[key] = _give(key, value, f"file {where}", kilo)


def _take_arguments(
    arguments: Mapping[str, Any], kilo: int, given: dict[str, Given],
    rows: dict[str, tuple[Row, ...]],
) -> None:
    plural = {attribute: kind for kind, attribute in ROW_KINDS.items()}
    for name, value in arguments.items():
        kind = plural.get(name, name)
        if kind in ROW_KINDS:
            rows[kind] = _rows_of(kind, value, "argument")
        elif name == "timeouts":
            values = dataclasses.asdict(value) if isinstance(value, Timeouts) else value
            _take_arguments(dict(values), kilo, given, rows)
        else:
            given[name] = _give(name, value, "argument", kilo)


def _choose(
    name: str | None, document: _Document | None, assignments: Sequence[str]
) -> tuple[Personality, str]:
    """The personality: argument, then --set, then the settings file, then plain; and its origin."""
    origin = "argument"
    if name is None:
        for text in assignments:
            key, value = _assignment(text)
            if key == "personality":
                name, origin = value.strip().strip("\"'"), "--set"
    if name is None and document is not None and "personality" in document.data:
        name, origin = document.data["personality"], f"file {document.where('personality')}"
    if name is None:
        name, origin = "plain", "default"
    if not isinstance(name, str):
        raise SettingsError(f"{origin.removeprefix('file ')}: personality is not a name")
    return personality(name, origin.removeprefix("file ")), origin


def load(
    personality: str | None = None,
    file: str | Path | None = None,
    assignments: Sequence[str] = (),
    *,
    policy_file: str | Path | None = None,
    **overrides: Any,
) -> Settings:
    """Settings from a personality, a settings file, ``--set`` texts and arguments, in this order.

    personality: built-in name or the path of a .toml; None: as ``--set personality=`` or the file
    says, else "plain". file: TOML, ``key = value``. assignments: "key=value" each. policy_file:
    TOML with [[policy]] rows, replaces those of ``file``. overrides: any setting or timeout by
    name, policies, pressure, base_items (sequences of dicts), timeouts (dict).
    Raises SettingsError with setting, place, allowed range and reason.
    """
    document = None if file is None else _read(file)
    chosen, origin = _choose(personality, document, assignments)
    given: dict[str, Given] = {}
    rows: dict[str, tuple[Row, ...]] = dict.fromkeys(ROW_KINDS, ())
    if document is not None:
        _take_document(document, chosen.kilo, given, rows)
    if policy_file is not None:
        rows["policy"] = _read_policy_file(policy_file)
    _take_assignments(assignments, chosen.kilo, given)
    _take_arguments(overrides, chosen.kilo, given, rows)
    return _build(chosen, origin, given, rows)


def _read_policy_file(path: str | Path) -> tuple[Row, ...]:
    document = _read(path)
    for key in document.data:
        if key != "policy":
            raise SettingsError(f"{document.where(key)}: a policy file has [[policy]] rows only")
    return document.rows("policy")


def _overlay(
    chosen: Personality, given: Mapping[str, Given]
) -> dict[str, tuple[Any, str, str, str]]:
    """name -> (value, origin, mark, why): fortios-7, the personality, posture, what was given."""
    values: dict[str, tuple[Any, str, str, str]] = {}
    for source in (_built_in(BASE_PERSONALITY), chosen):
        own = source.name == chosen.name
        origin = f"personality {source.name}" if own else "default"
        for name, entry in source.entries.items():
            values[name] = (entry.value, origin, entry.mark, entry.why)
    posture = given["posture"].value if "posture" in given else values["posture"][0]
    if posture != "none":
        for name, value in zip(("av_failopen", "ips_fail_open"), POSTURES[posture], strict=True):
            values[name] = (value, f"posture {posture}", "T", "decision matrix of the guide")
    for name, each in given.items():
        values[name] = (each.value, each.origin, "", "")
    return values


def _resolve(values: Mapping[str, Any]) -> dict[str, Any]:
    """Shares of RAM, "auto" and "dynamic" as numbers."""
    ram = values["ram_bytes"]
    numbers = {name: value.of(ram) if isinstance(value, Share) else value
               for name, value in values.items()}
    if numbers["max_connections"] == "dynamic":
        numbers["max_connections"] = numbers["licence_connections"]
    if numbers["buckets"] == "auto":
        numbers["buckets"] = ceil_div(numbers["max_connections"], 4)
    if numbers["model_bytes"] == "auto":
        numbers["model_bytes"] = ceil_div(ram, 128 * MIB) * 128 * MIB
    return numbers


def _build(
    chosen: Personality, personality_origin: str, given: Mapping[str, Given],
    rows: Mapping[str, tuple[Row, ...]],
) -> Settings:
    """Overlay, resolve, validate."""
    given = {name: each for name, each in given.items() if name != "personality"}
    layers = _overlay(chosen, given)
    numbers = _resolve({name: layer[0] for name, layer in layers.items()})
    origin = {name: layer[1] for name, layer in layers.items()}
    origin["personality"] = personality_origin
    checked = {kind: tuple(_ROW_CHECKS[kind](row, chosen.kilo) for row in each)
               for kind, each in rows.items()}
    marks = {name: layer[2] for name, layer in layers.items()}
    if checked["base_item"] and "base_bytes" not in given:
        items = checked["base_item"]
        numbers["base_bytes"] = sum(row["count"] * row["bytes_each"] for row in items)
        origin["base_bytes"], marks["base_bytes"] = f"file {items[0].where}", ""
    timeouts = Timeouts(**{name: numbers.pop(name) for name in Timeouts.names()})
    cache_limit = numbers.pop("cache_limit_bytes")
    settings = Settings(
        **numbers,
        cache_limit_bytes=cache_limit if "cache_limit_bytes" in given else 0,
        personality=chosen.name,
        timeouts=timeouts,
        base_items=checked["base_item"],
        policies=checked["policy"],
        pressure=checked["pressure"],
        kilo=chosen.kilo, given=given, origin=origin, marks=marks,
        reasons={name: layer[3] for name, layer in layers.items()},
    )
    return settings if "cache_limit_bytes" in given else _with_cache(settings, cache_limit)


def _with_cache(settings: Settings, cache_limit: int) -> Settings:
    """The personality's cache, lowered where it would latch the machine [D].

    60 % base, 10 % cache and leaving above 30 % free do not go together to the last page; a
    default must not be refused for that.
    """
    room = cache_room_pages(settings)
    origin = dict(settings.origin)
    if room is not None and room >= 0 and ceil_div(cache_limit, PAGE_BYTES) > room:
        cache_limit = room * PAGE_BYTES
        origin["cache_limit_bytes"] += ", lowered so that the machine can be left"
    return dataclasses.replace(settings, cache_limit_bytes=cache_limit, origin=origin)
