"""cOS Core's words for shaping: pipes and pipe rules.

    pipe with LimitKbpsTotal     a link of that rate; precedence n is class n + 1, 7 goes first
    pipe without a total         a link without a line: it is never full, precedences mean nothing
    LimitKbps0..7                a meter a precedence: what exceeds it falls to the minimum one
    LimitPPS0..7                 the same in packets;  LimitPPSTotal: a meter that drops
    Grouping, UserLimit...       meters with a bucket for each user; Dynamic: users served in turn
    pipe rule                    a row of [[shaping]]; its chains, links one after the other

Sources: D-Link NetDefendOS 11.04 manual and Amer E5Web manual (the same guide) R, Clavister C, D
where none says. Kilo is 1000 [R]. A precedence's own bucket holds 100 ms of its rate, at least
1600 bytes [D]; lower precedences are buffered, 1000 packets each [D: no figure is public].

Laws: a pipe is one link and its limits are one bucket each, whichever rules lead through it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from fwcore.settings.tables import Made, Table, Tables, Vendor, conditions, matching
from fwcore.shaping_values import CHAIN_MAX, METERS_MAX, Key
from fwcore.words import nearest

PRECEDENCES = 8
KILO = 1000             # "3 Kbps means 3000 bits per second" [R]
MAX = 10**9             # kbps: a line of 1 Tbit/s
LEAST_DEPTH = 1600      # bytes
NAME_MAX = 44           # characters, so that " UserLimitKbpsTotal" still makes a name of 64
_LIMIT = Key("count", "0: none", 0, 0, MAX)
_LEVEL = Key("count", "precedence", 0, 0, PRECEDENCES - 1)
CHAINS = {"": "ForwardChain", "reply_": "ReturnChain"}
KEYS = {"None": "none", "SourceIP": "source", "DestIP": "destination"}

KINDS: Mapping[str, Mapping[str, Key]] = {
    "pipe": {
        "Name": Key("name", "what pipe rules call it"),
        **{f"{user}Limit{unit}{which}": _LIMIT for user in ("", "User") for unit in ("Kbps", "PPS")
           for which in ("Total", *range(PRECEDENCES))},
        "Grouping": Key("choice", "who is a user", "None", choices=tuple(KEYS)),
        "Dynamic": Key("switch", "users present share in turn", False),
        "PrecedenceMin": _LEVEL, "PrecedenceDefault": _LEVEL,
        "PrecedenceMax": _LEVEL._replace(default=PRECEDENCES - 1),
    },
    "pipe_rule": {
        **matching(),
        "Name": Key("name", "for who reads it", ""),
        "SourceNetwork": Key("match", 'networks, or "all"'),
        "DestinationNetwork": Key("match", 'networks, or "all"'),
        "ForwardChain": Key("names", "pipes, in order", (), high=CHAIN_MAX),
        "ReturnChain": Key("names", "pipes, in order", (), high=CHAIN_MAX),
        "Precedence": Key("choice", "of the first pipe, of the DSCP's upper bits, or fixed",
                          "FromPipe", choices=("FromPipe", "DSCP", "Fixed")),
        "FixedPrecedence": _LEVEL,
    },
}
_TOLD = "sessions are told apart by addresses, protocol, ports, policy and DSCP; say it with these"
MISSING = {
    **dict.fromkeys(("SourceInterface", "DestinationInterface", "Service", "Schedule"), _TOLD),
    "GroupingNetworkSize": "users are addresses: no bucket stands for a network",
}


class Pipe:
    """A pipe's figures, and the names of what it is made of."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.name: str = table["Name"]
        self.low: int = table["PrecedenceMin"]
        self.high: int = table["PrecedenceMax"]
        self.default: int = table["PrecedenceDefault"]
        self.key = KEYS[table["Grouping"]]
        self.next = ""
        self.rule: Table | None = None
        if len(self.name) > NAME_MAX:
            raise table.error("Name", f"Name has {len(self.name)} characters; allowed: {NAME_MAX}")
        if self.low > self.high:
            raise table.error("PrecedenceMax", f"PrecedenceMax = {self.high} is below PrecedenceMin"
                              f" = {self.low}")
        if "PrecedenceDefault" in table and self.level(self.default) != self.default:
            raise table.error("PrecedenceDefault", f"PrecedenceDefault = {self.default} is not"
                              f" within PrecedenceMin and PrecedenceMax, {self.low} to {self.high}")
        for key in table.row:
            if (key.startswith("User") or key == "Dynamic") and self.key == "none":
                raise table.error(key, f"{key} is of users: it needs Grouping")
            if key[-1].isdecimal() and self.level(int(key[-1])) != int(key[-1]):
                raise table.error(key, f"{key}: the pipe's precedences are {self.low} to"
                                  f" {self.high}")

    def level(self, precedence: int) -> int:
        """Raised to the minimum, lowered to the maximum."""
        return min(self.high, max(self.low, precedence))

    def is_meter(self, user: str, unit: str, which: object) -> bool:
        """Whether a limit is a meter: a pipe's total is its line, and a user's is that of its
        sub-queue where the pipe has one precedence."""
        if not self.table[f"{user}Limit{unit}{which}"]:
            return False
        return which != "Total" or unit == "PPS" or (user == "User" and self.low < self.high)

    def meters(self, level: int) -> list[str]:
        """Names of the meters of a packet of a precedence, users' first."""
        return [meter_name(self.name, user, unit, which) for user, unit, which in LIMITS
                if which in ("Total", level) and self.is_meter(user, unit, which)]


LIMITS: tuple[tuple[str, str, Any], ...] = tuple(
    (user, unit, which) for user in ("User", "") for unit in ("Kbps", "PPS")
    for which in (*range(PRECEDENCES), "Total"))


def meter_name(pipe: str, user: str, unit: str, which: object) -> str:
    """As the pipe's own key."""
    return f"{pipe} {user}Limit{unit}{which}"


def pipe_rows(pipe: Pipe, made: Made) -> None:
    """The link of a pipe, its classes and its meters."""
    table = pipe.table
    made.add("link", table, {"name": pipe.name, "rate": table["LimitKbpsTotal"] * KILO,
                             "count": "ip", "next": pipe.next}, rate="LimitKbpsTotal", name="Name")
    for level in range(pipe.low, pipe.high + 1):
        row: dict[str, Any] = {"link": pipe.name, "id": level + 1,
                               "priority": PRECEDENCES - 1 - level}
        if table["Dynamic"]:
            row |= {"share": pipe.key}
        if table["UserLimitKbpsTotal"] and pipe.low == pipe.high:
            rate = table["UserLimitKbpsTotal"] * KILO
            row |= {"share": pipe.key, "share_ceiling": rate,
                    "share_burst": max(LEAST_DEPTH, rate // 80)}
        made.add("class", table, row, share="Grouping", share_ceiling="UserLimitKbpsTotal")
    for user, unit, which in LIMITS:
        if which == "Total" or pipe.low <= int(which) <= pipe.high:
            limit(pipe, made, user, unit, which)


def limit(pipe: Pipe, made: Made, user: str, unit: str, which: object) -> None:
    """A meter for one limit; above it a packet falls to the minimum precedence, or is dropped."""
    key = f"{user}Limit{unit}{which}"
    rate = pipe.table[key]
    if not pipe.is_meter(user, unit, which):
        return
    rung = {"rate": rate, "depth": max(1, rate // 10)}
    if unit == "Kbps":
        rung = {"rate": rate * KILO, "depth": max(LEAST_DEPTH, rate * KILO // 80)}
    row: dict[str, Any] = {
        "name": meter_name(pipe.name, user, unit, which), "rungs": [rung],
        "count": "ip" if unit == "Kbps" else "packets", "key": pipe.key if user else "none"}
    if which not in ("Total", pipe.low):
        row |= {"over": "class", "over_class": pipe.low + 1}
    made.add("meter", pipe.table, row, rungs=key, name=key, over_class="PrecedenceMin")


# --- chains and rules -----------------------------------------------------------------------------


def chain(rule: Table, key: str, pipes: Mapping[str, Pipe]) -> list[Pipe]:
    """The pipes of a chain; each is followed by the same one in every rule."""
    made = []
    for name in rule[key]:
        if name not in pipes:
            raise rule.error(key, f"{key}: {name!r} is not declared{nearest(name, pipes)}")
        if pipes[name] in made:
            raise rule.error(key, f"{key}: pipe {name!r} stands in it twice")
        made.append(pipes[name])
    for here, after in itertools.zip_longest(made, made[1:]):
        further = after.name if after else ""
        if here.rule is not None and here.next != further:
            raise rule.error(key, f"{key}: pipe {here.name!r} is followed by"
                             f" {told(further)} here, and by {told(here.next)} at"
                             f" {here.rule.where(key)}: here a pipe has one successor; declare a"
                             " second pipe")
        here.rule, here.next = rule, further
        if after and after.high < here.high:
            raise rule.error(key, f"{key}: pipe {after.name!r} would lower precedence {here.high}"
                             f" to {after.high}; what comes from another pipe keeps its own, here:"
                             f" lower PrecedenceMax of {here.name!r}")
    return made


def told(pipe: str) -> str:
    """A successor's name."""
    return repr(pipe) if pipe else "nothing"


def direction(
    rule: Table, key: str, pipes: Sequence[Pipe], level: int,
) -> tuple[list[str], str, int]:
    """Meters, link and class of a chain for a precedence."""
    first = pipes[0].level(level)
    names: list[str] = []
    for number, pipe in enumerate(pipes):
        at = pipe.level(first)
        names += pipe.meters(at)
        if number and at != pipe.low and pipe.low != pipes[0].low and any(
                pipe.table[f"{user}Limit{unit}{at}"] for user in ("", "User")
                for unit in ("Kbps", "PPS")):
            raise rule.error(key, f"pipe {pipe.name!r} lowers what exceeds its limit to"
                             f" precedence {pipe.low}, and the first of the chain has another"
                             " minimum: give both the same PrecedenceMin")
    if len(names) > METERS_MAX:
        raise rule.error(key, f"a chain meets at most {METERS_MAX} limits beside totals,"
                         f" and this one {len(names)}: {', '.join(names)}")
    return names, pipes[0].name, first + 1


def rule_rows(rule: Table, pipes: Mapping[str, Pipe], made: Made) -> None:
    """The rows of a pipe rule: one, or one for each precedence where limits depend on it."""
    chains = {prefix: chain(rule, key, pipes) for prefix, key in CHAINS.items()}
    if "FixedPrecedence" in rule and rule["Precedence"] != "Fixed":
        raise rule.error("FixedPrecedence", 'FixedPrecedence goes with Precedence = "Fixed"')
    match = conditions(rule, source="SourceNetwork", destination="DestinationNetwork")
    given = [level for level in range(PRECEDENCES) if any(
        pipe.table[f"{user}Limit{unit}{level}"] for pipes_of in chains.values()
        for pipe in pipes_of for user in ("", "User") for unit in ("Kbps", "PPS"))]
    if rule["Precedence"] == "DSCP" and given:
        if "dscp" in match:
            raise rule.error("dscp", "dscp beside Precedence = DSCP: one is enough")
        spans = [(level, {"dscp": list(range(8 * level, 8 * level + 8))})
                 for level in range(PRECEDENCES)]
    else:
        spans = [(rule["FixedPrecedence"], {})]
    for level, more in spans:
        row: dict[str, Any] = match | more
        for prefix, key in CHAINS.items():
            pipes_of = chains[prefix]
            if not pipes_of:
                continue
            own = pipes_of[0].default if rule["Precedence"] == "FromPipe" else level
            names, link, cls = direction(rule, key, pipes_of, own)
            row |= {f"{prefix}meters": names, f"{prefix}link": link, f"{prefix}class": cls}
        if rule["Precedence"] == "DSCP" and not given:
            row |= by_dscp(chains)
        made.add("shaping", rule, row, link="ForwardChain", reply_link="ReturnChain",
                 source="SourceNetwork", destination="DestinationNetwork",
                 class_by_dscp="Precedence")


def by_dscp(chains: Mapping[str, Sequence[Pipe]]) -> dict[str, Any]:
    """Classes by the upper three bits of each packet's DSCP [D: the natural reading]."""
    return {f"{prefix}class_by_dscp": {
        mark: pipes[0].level(mark // 8) + 1 for mark in range(64)}
        for prefix, pipes in chains.items() if pipes}


def make(tables: Tables, made: Made, kilo: int) -> None:
    """All of cOS' tables as rows."""
    pipes = {name: Pipe(table) for name, table in tables.named("pipe", "Name").items()}
    for rule in tables["pipe_rule"]:
        for key in CHAINS.values():
            chain(rule, key, pipes)
    for pipe in pipes.values():
        pipe_rows(pipe, made)
    for rule in tables["pipe_rule"]:
        rule_rows(rule, pipes, made)


VENDOR = Vendor(KINDS, MISSING, make)
