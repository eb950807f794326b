"""FortiOS' words for shaping: shapers, per-IP shapers, profiles, interfaces, shaping policies.

    interface with outbandwidth            a link; its six queues are classes 1 to 6, strict
    interface with a profile, queuing      a link; classes as HTB has them
    interface with a profile, policing     the same decision, and no queue
    traffic-shaper                         a meter: rungs guaranteed (exceed) maximum, depth 1 s
    per-ip-shaper                          a meter keyed by initiator, both ways in one bucket
    shaping-policy                         a row of [[shaping]]

A packet below its shaper's guarantee goes to queue 0, else to the sum of ToS priority (high 0,
medium 1, low 2) and the shaper's (high 1, medium 2, low 3); without a shaper to its ToS priority.
Queue n is class n + 1. Sources: design facts R (CLI references 7.0 to 7.4, cookbook 6.2, one
measured unit), D where no source says.

Laws: one shaper is one bucket, wherever it is named; with per-policy it is one for each shaping
policy. mbps is 1024 kbps [R: captures]; kbps is ``shaping_kilo`` bit/s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fwcore.settings.tables import (
    ALWAYS,
    Made,
    Table,
    Tables,
    Vendor,
    conditions,
    found,
    matching,
)
from fwcore.shaping_values import LARGEST_FRAME, Key

LEVELS = {"high": 0, "medium": 1, "low": 2}
PRIORITIES = {"high": 1, "medium": 2, "low": 3}
CLASSES = {"top": 0, "critical": 1, "high": 2, "medium": 3, "low": 4}
QUEUES = 6
ROOT = 1                # the class of a whole policing interface; a profile's own are 2 to 31 [R]
DEPTH = "1s"            # of a shaper [R: measured on a unit, 0.8 to 1 s]
LEAST_BURST = 1600      # bytes: what HTB is given where burst-in-msec is 0 [D: tc's own default]
KBPS_MAX = 80_000_000   # [R: 7.2 and later]
_BANDWIDTH = Key("count", "bandwidth-unit; 0: none", 0, 0, KBPS_MAX)
_UNIT = Key("choice", "of the bandwidths; mbps is 1024 kbps", "kbps",
            choices=("kbps", "mbps", "gbps"))
_SWITCH = Key("switch", "enable or disable", False)
_CODE = Key("code", "DSCP: 0 to 63, or six binary digits", 0)

KINDS: Mapping[str, Mapping[str, Key]] = {
    "interface": {
        "name": Key("name", "what shaping policies call it"),
        "outbandwidth": Key("count", "kbps; 0: no limit", 0, 0, KBPS_MAX),
        "egress_shaping_profile": Key("name", "instead of the six queues", ""),
    },
    "traffic_shaper": {
        "name": Key("name", "what shaping policies call it"),
        "guaranteed_bandwidth": _BANDWIDTH, "maximum_bandwidth": _BANDWIDTH,
        "bandwidth_unit": _UNIT,
        "priority": Key("choice", "above the guarantee", "high", choices=tuple(PRIORITIES)),
        "per_policy": Key("switch", "a bucket for each shaping policy", False),
        "diffserv": _SWITCH, "diffservcode": _CODE,
        "dscp_marking_method": Key("choice", "multi-stage: by three rates", "static",
                                   choices=("static", "multi-stage")),
        "exceed_bandwidth": _BANDWIDTH, "exceed_dscp": _CODE, "maximum_dscp": _CODE,
        "exceed_class_id": Key("count", "class above the guarantee", 0, 0, 31),
        "overhead": Key("count", "bytes added to each packet", 0, 0, 100),
    },
    "per_ip_shaper": {
        "name": Key("name", "what shaping policies call it"),
        "max_bandwidth": _BANDWIDTH, "bandwidth_unit": _UNIT,
        "max_concurrent_session": Key("count", "of one address; 0 is off", 0, 0, 2_097_000),
        "max_concurrent_tcp_session": Key("count", "the same of TCP", 0, 0, 2_097_000),
        "max_concurrent_udp_session": Key("count", "the same of UDP", 0, 0, 2_097_000),
        "diffserv_forward": _SWITCH, "diffservcode_forward": _CODE,
        "diffserv_reverse": _SWITCH, "diffservcode_rev": _CODE,
    },
    "shaping_profile": {
        "profile_name": Key("name", "what interfaces call it"),
        "type": Key("choice", "drop at once, or queue", "policing",
                    choices=("policing", "queuing")),
        "default_class_id": Key("count", "of what has no class-id; 0: beside the link", 0, 0, 31),
    },
    "shaping_entry": {
        "profile": Key("name", "whose entry it is"),
        "class_id": Key("count", "of the class", None, 2, 31),
        "priority": Key("choice", "for what the guarantees leave", "high",
                        choices=tuple(CLASSES)),
        "guaranteed_bandwidth_percentage": Key("count", "of outbandwidth", 0, 0, 100),
        "maximum_bandwidth_percentage": Key("count", "of outbandwidth", 1, 1, 100),
        "limit": Key("count", "packets that may wait", 100, 5, 10_000),
        "burst_in_msec": Key("count", "of the maximum, for the guarantee", 0, 0, 2000),
        "cburst_in_msec": Key("count", "of the maximum, for the ceiling", 0, 0, 2000),
        "red_probability": Key("count", "percent; 0: no RED", 0, 0, 20),
        "min": Key("count", "packets from which RED drops", 83, 3, 3000),
        "max": Key("count", "packets from which RED drops all", 250, 3, 3000),
    },
    "shaping_policy": {
        **matching(),
        "id": Key("count", "of the row", None, 0, 2**32 - 1),
        "srcaddr": Key("match", 'networks, or "all"'),
        "dstaddr": Key("match", 'networks, or "all"'),
        "tos": Key("count", "ToS byte, with tos-mask", None, 0, 255),
        "tos_mask": Key("count", "bits of the ToS byte that count", 0, 0, 255),
        "tos_negate": Key("switch", "all but these", False),
        "srcintf": Key("name", "interface by which replies leave", ""),
        "dstintf": Key("name", "interface by which the initiator's packets leave", ""),
        "traffic_shaper": Key("name", "of the initiator's packets", ""),
        "traffic_shaper_reverse": Key("name", "of replies", ""),
        "per_ip_shaper": Key("name", "of both together, for each initiator", ""),
        "class_id": Key("count", "class of a profile", 0, 0, 31),
        "diffserv_forward": _SWITCH, "diffservcode_forward": _CODE,
        "diffserv_reverse": _SWITCH, "diffservcode_rev": _CODE,
    },
    "global": {
        "traffic_priority_level": Key("choice", "ToS priority of what is not listed", "high",
                                      choices=tuple(LEVELS)),
    },
    "tos_based_priority": {
        "tos": Key("count", "ToS nibble, RFC 1349", None, 0, 15),
        "priority": Key("choice", "its priority", "high", choices=tuple(LEVELS)),
    },
    "dscp_based_priority": {
        "ds": Key("count", "DSCP", None, 0, 63),
        "priority": Key("choice", "its priority", "high", choices=tuple(LEVELS)),
    },
}
_TOLD = "sessions are told apart by addresses, protocol, ports, policy and DSCP; say it with these"
_INGRESS = "shaping stands at egress, after inspection; put it where the traffic leaves"
MISSING = {
    "ingress_shaping_profile": _INGRESS, "inbandwidth": _INGRESS,
    **dict.fromkeys(("application", "app_category", "app_group", "url_category", "service",
                     "internet_service", "users", "groups", "schedule"), _TOLD),
    **dict.fromkeys(("cos", "cos_marking", "cos_marking_method", "exceed_cos", "maximum_cos"),
                    "priorities of 802.1Q are not written"),
}


def bandwidth(table: Table, name: str, kilo: int) -> int:
    """Bit/s of a bandwidth in the table's unit."""
    steps = ("kbps", "mbps", "gbps").index(table["bandwidth_unit"])
    bits: int = table[name] * kilo * 1024**steps
    return table.within(name, bits, 0, 10**12, "bit/s")


# --- interfaces -----------------------------------------------------------------------------------


class Direction(NamedTuple):
    """A link, "" for none; its kind; the class of a way, and others by DSCP."""

    link: str
    kind: str
    cls: int | None
    by_dscp: dict[int, int]


class Interfaces:
    """Links, and of which kind each is: queues, policing, queuing; nothing where nothing limits."""

    def __init__(self, tables: Tables, made: Made, kilo: int) -> None:
        self.tables = tables.named("interface")
        self.profiles = tables.named("shaping_profile", "profile_name")
        self.entries = tables["shaping_entry"]
        self.made = made
        self.kinds: dict[str, str] = {}
        self.levels = levels(tables)
        for entry in self.entries:
            found(entry, "profile", self.profiles)
        for name, table in self.tables.items():
            self.link(name, table, table["outbandwidth"] * kilo)

    def link(self, name: str, table: Table, rate: int) -> None:
        """What of an interface is a link."""
        profile = found(table, "egress_shaping_profile", self.profiles)
        if profile is None:
            if rate:
                self.kinds[name] = "queues"
                self.made.add("link", table, {"name": name, "rate": rate}, rate="outbandwidth")
                for queue in range(QUEUES):
                    self.made.add("class", table, {
                        "link": name, "id": queue + 1, "priority": queue})
            return
        if not rate:
            raise table.error("egress_shaping_profile", f"egress-shaping-profile ="
                              f" {table['egress_shaping_profile']!r} shares out outbandwidth, and"
                              " there is none")
        self.kinds[name] = profile["type"]
        mine = [entry for entry in self.entries
                if entry["profile"] == profile["profile_name"]]
        if not mine:
            raise profile.error("profile_name", f"profile {profile['profile_name']!r} has no"
                                " [[fortios.shaping-entry]]")
        queuing = profile["type"] == "queuing"
        self.made.add("link", table, {"name": name, "rate": rate if queuing else 0},
                      rate="outbandwidth")
        if not queuing:
            self.made.add("class", table, {
                "link": name, "id": ROOT, "guarantee": rate, "ceiling": rate,
                "guarantee_burst": DEPTH, "ceiling_burst": DEPTH})
        smallest = min((share for entry in mine
                        if (share := entry["guaranteed_bandwidth_percentage"])), default=1)
        for entry in mine:
            self.entry(name, entry, rate, queuing, smallest)
        self.default(profile, mine)

    def entry(self, name: str, entry: Table, rate: int, queuing: bool, smallest: int) -> None:
        """A class of a profile."""
        if "class_id" not in entry:
            raise entry.error("class_id", "[[fortios.shaping-entry]] needs class-id")
        share, most = (entry[f"{word}_bandwidth_percentage"] for word in ("guaranteed", "maximum"))
        if most < share:
            name = "maximum_bandwidth_percentage"
            raise entry.error(name, f"maximum-bandwidth-percentage = {most}"
                              f"{'' if name in entry else ', as it is without one,'} is below"
                              f" guaranteed-bandwidth-percentage = {share}")
        guarantee, ceiling = rate * share // 100, rate * most // 100
        row: dict[str, Any] = {"link": name, "id": entry["class_id"]}
        if guarantee:
            row |= {"guarantee": guarantee, "guarantee_burst": DEPTH}
        if most < 100:
            row |= {"ceiling": ceiling, "ceiling_burst": DEPTH}
        if queuing:
            row |= {"priority": CLASSES[entry["priority"]], "limit_packets": entry["limit"],
                    "quantum_bytes": LARGEST_FRAME * share // smallest or LARGEST_FRAME}
            row |= {f"{ours}_burst": burst_of(entry[theirs], of, ceiling)
                    for ours, theirs, of in (("guarantee", "burst_in_msec", guarantee),
                                             ("ceiling", "cburst_in_msec", ceiling))
                    if f"{ours}_burst" in row}
            if entry["red_probability"]:
                if entry["min"] >= entry["max"]:
                    raise entry.error("max", f"max = {entry['max']} is not above min ="
                                      f" {entry['min']}")
                row |= {"discard": "red", "red_min": entry["min"], "red_max": entry["max"],
                        "red_probability": entry["red_probability"]}
        else:
            row |= {"parent": ROOT, "limit_packets": 0}
        self.made.add("class", entry, row, id="class_id", red_max="max", red_min="min",
                      guarantee="guaranteed_bandwidth_percentage",
                      ceiling="maximum_bandwidth_percentage")

    @staticmethod
    def default(profile: Table, entries: list[Table]) -> None:
        """The default class is one of the profile's."""
        ids = sorted(entry["class_id"] for entry in entries)
        if profile["default_class_id"] and profile["default_class_id"] not in ids:
            raise profile.error("default_class_id", "default-class-id ="
                                f" {profile['default_class_id']}: the profile has no such class;"
                                f" classes: {', '.join(map(str, ids))}")

    def direction(self, policy: Table, key: str, shaper: Table | None) -> Direction:
        """Where one way of a shaping policy leaves."""
        table = found(policy, key, self.tables)
        kind = self.kinds.get(policy[key], "") if table is not None else ""
        if table is None or not kind:
            return Direction("", "", None, {})
        if kind == "queues":
            own = 1 + (PRIORITIES[shaper["priority"]] if shaper is not None else 0)
            default, listed = self.levels
            return Direction(policy[key], kind, default + own,
                       {mark: level + own for mark, level in listed.items()})
        default = self.profiles[table["egress_shaping_profile"]]["default_class_id"]
        wanted = policy["class_id"] or default
        return Direction(policy[key], kind, wanted, {}) if wanted else Direction("", kind, None, {})


def burst_of(ms: int, rate: int, maximum: int) -> int:
    """Bytes: of the maximum for so long [R]; 0: 10 ms of its rate [D]; never below a frame."""
    return max(LEAST_BURST, maximum * ms // 8000 if ms else rate // 800)


def levels(tables: Tables) -> tuple[int, dict[int, int]]:
    """ToS priority of what is not listed, and of each DSCP that is."""
    if len(tables["global"]) > 1:
        raise tables["global"][1].error("", "[[fortios.global]] is given twice")
    default = LEVELS[tables["global"][0]["traffic_priority_level"]] if tables["global"] else 0
    listed: dict[int, int] = {}
    if tables["tos_based_priority"] and tables["dscp_based_priority"]:
        raise tables["tos_based_priority"][0].error(
            "tos", "priorities are by ToS or by DSCP, not by both")
    for table in tables["tos_based_priority"]:
        if table["tos"] is None or table["tos"] % 2:
            raise table.error("tos", f"tos = {table['tos']}: an even nibble is asked for; the"
                              " lowest bit belongs to ECN today")
        listed |= {mark: LEVELS[table["priority"]] for mark in range(64)
                   if mark % 8 == table["tos"] // 2}
    for table in tables["dscp_based_priority"]:
        if table["ds"] is None:
            raise table.error("ds", "[[fortios.dscp-based-priority]] needs ds")
        listed[table["ds"]] = LEVELS[table["priority"]]
    return default, {mark: level for mark, level in listed.items() if level != default}


# --- shapers --------------------------------------------------------------------------------------


def shaper_row(table: Table, kinds: set[str], kilo: int) -> dict[str, Any] | None:
    """The meter of a shared shaper; None where it has no rate and no mark."""
    stages = [("guaranteed_bandwidth", "diffservcode"), ("maximum_bandwidth", "maximum_dscp")]
    multi = table["dscp_marking_method"] == "multi-stage"
    if multi:
        stages.insert(1, ("exceed_bandwidth", "exceed_dscp"))
    for name in ("exceed_bandwidth", "exceed_dscp", "maximum_dscp", "exceed_class_id"):
        if name in table and not multi:
            raise table.error(name, f"{name.replace('_', '-')} is of dscp-marking-method"
                              " multi-stage")
    queues = "queues" in kinds
    if queues and kinds & {"policing", "queuing"}:
        raise table.error("name", f"shaper {table['name']!r} is used on an interface with six"
                          " queues and on one with a profile; it needs one for each")
    if queues and table["exceed_class_id"]:
        raise table.error("exceed_class_id", "exceed-class-id is a class of a profile, and"
                          f" shaper {table['name']!r} is used on an interface without one")
    rungs: list[dict[str, Any]] = []
    for stage, code in stages:
        rate = bandwidth(table, stage, kilo)
        if not rate and stage != "maximum_bandwidth":
            continue
        rung: dict[str, Any] = {"rate": rate, "depth": DEPTH} if rate else dict(ALWAYS)
        if rungs and rate and rate < rungs[-1]["rate"]:
            raise table.error(stage, f"{stage.replace('_', '-')} is below the stage before it")
        if table["diffserv"]:
            rung["dscp"] = table[code if multi else "diffservcode"]
        if stage == "guaranteed_bandwidth":
            rung |= {"class": 1} if queues else {}
        elif table["exceed_class_id"]:
            rung["class"] = table["exceed_class_id"]
        rungs.append(rung)
    if rungs == [ALWAYS]:
        return None
    return {"name": table["name"], "rungs": rungs, "overhead_bytes": table["overhead"],
            "key": "rule" if table["per_policy"] else "none"}


def per_ip_row(table: Table, kilo: int) -> dict[str, Any]:
    """The meter of a per-IP shaper."""
    rate = bandwidth(table, "max_bandwidth", kilo)
    limits = {f"max_{word}sessions": table[f"max_concurrent_{word}session"]
              for word in ("", "tcp_", "udp_")}
    return {"name": table["name"], "key": "initiator", **limits,
            "rungs": [{"rate": rate, "depth": DEPTH} if rate else dict(ALWAYS)]}


# --- policies -------------------------------------------------------------------------------------


class Policies:
    """Shaping policies as rows, and the meters that they name."""

    def __init__(self, tables: Tables, made: Made, kilo: int) -> None:
        self.interfaces = Interfaces(tables, made, kilo)
        self.shapers = tables.named("traffic_shaper")
        self.per_ip = tables.named("per_ip_shaper")
        self.made = made
        self.kilo = kilo
        self.kinds: dict[str, set[str]] = {name: set() for name in self.shapers}
        self.marks: set[int] = set()
        directions = [self.directions(policy) for policy in tables["shaping_policy"]]
        for name, table in self.per_ip.items():
            if name in self.shapers:
                raise table.error("name", f"name = {name!r} is that of a traffic-shaper too")
        idle = {name for name, table in self.shapers.items() if not self.shaper(name, table)}
        for table in self.per_ip.values():
            made.add("meter", table, per_ip_row(table, kilo), name="name", rungs="max_bandwidth")
        for policy, both in zip(tables["shaping_policy"], directions, strict=True):
            self.policy(policy, both, idle)

    def directions(self, policy: Table) -> tuple[Direction, Direction]:
        """Both ways of a policy; which kind of interface its shapers are used on is noted."""
        both = []
        for key, named in (("dstintf", "traffic_shaper"), ("srcintf", "traffic_shaper_reverse")):
            shaper = found(policy, named, self.shapers)
            direction = self.interfaces.direction(policy, key, shaper)
            if shaper is not None and direction.kind:
                self.kinds[shaper["name"]].add(direction.kind)
            both.append(direction)
        forward, reply = both
        if policy["class_id"] and not {forward.kind, reply.kind} & {"policing", "queuing"}:
            raise policy.error("class_id", "class-id is a class of a profile, and neither dstintf"
                               " nor srcintf has one")
        return forward, reply

    def shaper(self, name: str, table: Table) -> bool:
        """Whether a shared shaper is a meter."""
        row = shaper_row(table, self.kinds[name], self.kilo)
        if row is not None:
            self.made.add("meter", table, row, name="name", rungs="maximum_bandwidth")
        return row is not None

    def mark(self, table: Table, direction: str, code: str) -> list[str]:
        """A meter that only marks."""
        if not table[f"diffserv_{direction}"]:
            return []
        dscp = table[code]
        if dscp not in self.marks:
            self.marks.add(dscp)
            self.made.add("meter", table, {"name": f"dscp {dscp}",
                                           "rungs": [ALWAYS | {"dscp": dscp}]})
        return [f"dscp {dscp}"]

    def meters(self, policy: Table, direction: str, shaper: str, idle: set[str]) -> list[str]:
        """Names, the one whose mark wins first: shaper, per-IP shaper, policy."""
        code = "diffservcode_forward" if direction == "forward" else "diffservcode_rev"
        names = [policy[shaper]] if policy[shaper] and policy[shaper] not in idle else []
        per_ip = found(policy, "per_ip_shaper", self.per_ip)
        if per_ip is not None:
            names += [per_ip["name"], *self.mark(per_ip, direction, code)]
        return names + self.mark(policy, direction, code)

    def policy(self, table: Table, both: tuple[Direction, Direction], idle: set[str]) -> None:
        """A shaping policy."""
        row = conditions(table, source="srcaddr", destination="dstaddr")
        row |= {"id": table["id"]} if "id" in table else {}
        if "tos" in table:
            row["dscp"] = by_tos(table)
        row["meters"] = self.meters(table, "forward", "traffic_shaper", idle)
        row["reply_meters"] = self.meters(table, "reverse", "traffic_shaper_reverse", idle)
        for prefix, direction in zip(("", "reply_"), both, strict=True):
            if direction.link:
                row |= {f"{prefix}link": direction.link, f"{prefix}class": direction.cls}
                row[f"{prefix}class_by_dscp"] = direction.by_dscp
        self.made.add("shaping", table, row, id="id", meters="traffic_shaper",
                      reply_meters="traffic_shaper_reverse", link="dstintf", reply_link="srcintf",
                      source="srcaddr", destination="dstaddr", dscp="tos",
                      **{"class": "class_id", "reply_class": "class_id"})


def by_tos(table: Table) -> list[int]:
    """The DSCPs of a ToS byte under its mask."""
    if "dscp" in table:
        raise table.error("tos", "tos and dscp are the same: one is enough")
    if not table["tos_mask"] > 0 or table["tos_mask"] & 3:
        raise table.error("tos_mask", f"tos-mask = {table['tos_mask']}: a mask of the upper six"
                          " bits is asked for; the lower two are ECN's")
    marks = [mark for mark in range(64)
             if ((mark << 2 & table["tos_mask"]) == table["tos"]) != table["tos_negate"]]
    if not marks:
        raise table.error("tos", f"tos = {table['tos']} with tos-mask = {table['tos_mask']} matches"
                          " nothing")
    return marks


def make(tables: Tables, made: Made, kilo: int) -> None:
    """All of FortiOS' tables as rows."""
    Policies(tables, made, kilo)


VENDOR = Vendor(KINDS, MISSING, make)
