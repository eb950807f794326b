"""Words of Linux' tc for shaping: devices, qdiscs, classes, filters, police.

    device with a speed       a link of that rate; without one a link without a line
    qdisc tbf                 a class with a ceiling, need = packet; peakrate: one more above it
    qdisc htb, its classes    a tree: rate is the guarantee, ceil the ceiling
    qdisc prio                strict classes, chosen by DSCP as rt_tos2priority has it
    qdisc fq_codel, codel, pfifo, bfifo     the queue of a leaf, or of the whole link
    police                    a meter;   filter: a row of [[shaping]]

Rates, sizes and times are written as tc writes them: 1mbit is 10^6 bit/s, 1kbps 1000 bytes/s, 1k
1024 bytes, a time without a unit us. Source: man pages and iproute2 6.1, kernel 6.18 R, D where
neither says.

Laws: a packet enters one leaf; a class without parent never borrows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fwcore.settings.tables import READERS, Made, Table, Tables, Vendor, conditions, found, matching
from fwcore.shaping_values import Key
from fwcore.words import nearest

BURST = 1600            # bytes: tc's own where none is given [R: tc-testing b924]
WAITING_MAX = 1 << 20
QDISCS = ("tbf", "htb", "prio", "fq_codel", "codel", "pfifo", "bfifo")
QUEUES = ("fq_codel", "codel", "pfifo", "bfifo")
PRIOMAP = (1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)  # [R: printed by the kernel]
TOS_PRIORITY = (0, 2, 6, 4)     # by DSCP bits 1 and 2 [R: ip_tos2prio]
_RATE = Key("tc-rate", "such as 1mbit, 125kbps (bytes)", 0)
_SIZE = Key("tc-size", "bytes, 15k, 1m", 0)
_TIME = Key("tc-time", "such as 50ms; without a unit us", 0)

KINDS: Mapping[str, Mapping[str, Key]] = {
    "device": {
        "name": Key("name", "what qdiscs call it"),
        "speed": Key("tc-rate", "of the line; left out: no line", 0),
        "overhead": Key("count", "bytes added to each packet", 0, -65_535, 65_535),
    },
    "qdisc": {
        "dev": Key("name", "device"),
        "kind": Key("choice", "which", None, choices=QDISCS),
        "handle": Key("name", "such as 1:", ""),
        "parent": Key("name", "root, or a class such as 1:10", "root"),
        "rate": _RATE, "burst": _SIZE, "latency": _TIME, "peakrate": _RATE, "mtu": _SIZE,
        "limit": Key("raw", "packets, or of tbf and bfifo bytes"),
        "default": Key("raw", "htb: minor of the class of what no filter takes; 0: beside", 0),
        "r2q": Key("count", "htb: quantum is rate in bytes / r2q", 10, 1, 1 << 20),
        "bands": Key("count", "prio", 3, 2, 16),
        "priomap": Key("raw", "prio: band of each of 16 priorities", PRIOMAP),
        "flows": Key("count", "fq_codel", 1024, 1, 65_536),
        "quantum": Key("tc-size", "fq_codel", 1514),
        "target": Key("tc-time", "codel", 5_000_000),
        "interval": Key("tc-time", "codel", 100_000_000),
        "ecn": Key("switch", "mark what can be marked; on in fq_codel, off in codel", None),
    },
    "class": {
        "dev": Key("name", "device"),
        "parent": Key("name", "such as 1: or 1:1"),
        "classid": Key("name", "such as 1:10"),
        "rate": _RATE, "ceil": _RATE, "burst": _SIZE, "cburst": _SIZE,
        "prio": Key("count", "0 first", 0, 0, 7),
        "quantum": Key("tc-size", "bytes", 0),
    },
    "police": {
        "name": Key("name", "what filters call it; one index, one bucket"),
        "rate": _RATE, "burst": _SIZE,
        "pkts_rate": Key("count", "packets/s", 0, 1, 10**12),
        "pkts_burst": Key("count", "packets", 0, 1, 1 << 40),
        "overhead": Key("count", "bytes added to each packet", 0, 0, 65_535),
        "conform_exceed": Key("choice", "what exceeds", "drop", choices=("drop", "pass")),
    },
    "filter": {
        **matching(),
        "dev": Key("name", "by which the initiator's packets leave", ""),
        "flowid": Key("name", "class; left out: the default one", ""),
        "police": Key("name", "meter of the initiator's packets", ""),
        "reply_dev": Key("name", "by which replies leave", ""),
        "reply_flowid": Key("name", "class", ""),
        "reply_police": Key("name", "meter of replies", ""),
    },
}
MISSING = {
    "mpu": "no packet is counted as longer than it is",
    **dict.fromkeys(("linklayer", "atm", "tcmpu", "tsize"), "ATM cells are not counted"),
    "memory_limit": "queues are limited in packets", "ce_threshold": "CoDel alone marks",
    "drop_batch": "one packet goes for each that is too many",
    "action": "write what exceeds as conform_exceed",
}
OF = {  # which qdiscs take a key
    "rate": ("tbf",), "burst": ("tbf",), "latency": ("tbf",), "peakrate": ("tbf",),
    "mtu": ("tbf",), "limit": ("tbf", *QUEUES), "default": ("htb",), "r2q": ("htb",),
    "bands": ("prio",), "priomap": ("prio",), "flows": ("fq_codel",), "quantum": ("fq_codel",),
    "target": ("fq_codel", "codel"), "interval": ("fq_codel", "codel"),
    "ecn": ("fq_codel", "codel")}


def minor(table: Table, key: str, major: str = "") -> int:
    """The class of a handle: ``1:1e`` -> 30; of "1:" 0."""
    text = str(table[key])
    left, colon, right = text.partition(":")
    try:
        number = int(right or "0", 16)
        int(left or "0", 16)
    except ValueError:
        number = -1
    if not colon or not 0 <= number <= 0xffff or len(text) > 9:
        raise table.error(key, f"{key} = {text!r} is no handle such as 1:10, in hexadecimal")
    if major and left != major:
        raise table.error(key, f"{key} = {text!r} is not of qdisc {major}:")
    return number


def whole(table: Table, key: str, low: int, high: int, default: int) -> int:
    """A number that tc writes bare."""
    if key not in table:
        return default
    given = table[key]
    if isinstance(given, bool) or not isinstance(given, int):
        raise table.error(key, f"{key} = {given!r} is no number; allowed: {low} to {high}")
    return table.within(key, given, low, high, "packets")


def queue_of(table: Table) -> dict[str, Any]:
    """The queue of a leaf, as a qdisc of its own says."""
    kind = table["kind"]
    if kind == "pfifo":
        return {"limit_packets": whole(table, "limit", 1, WAITING_MAX, 1000)}
    if kind == "bfifo":
        size = table.within("limit", limit_bytes(table, 1000 * 1514), 1, 1 << 40, "bytes")
        return {"limit_bytes": size, "limit_packets": min(WAITING_MAX, size // 14 + 1)}
    fair = kind == "fq_codel"
    row: dict[str, Any] = {
        "discard": "codel", "target": f"{table['target']}ns", "interval": f"{table['interval']}ns",
        "ecn": fair if table["ecn"] is None else table["ecn"],
        "limit_packets": whole(table, "limit", 1, WAITING_MAX, 10_240 if fair else 1000)}
    if fair:
        row |= {"share": "flow", "shares": table["flows"],
                "quantum_bytes": table.within("quantum", table["quantum"], 256, 1 << 30, "bytes")}
    return row


def limit_bytes(table: Table, default: int) -> int:
    """A limit in bytes, as tc writes a size."""
    if "limit" not in table:
        return default
    size: int = READERS["tc-size"](table, "limit", table.row["limit"])
    return size


class Device:
    """A device: its link, its classes, and where its traffic goes by default."""

    def __init__(self, name: str, table: Table | None, first: Table, made: Made) -> None:
        self.name = name
        self.place = table or first
        self.made = made
        self.leaves: set[int] = set()
        self.major = ""
        self.default: int | None = None     # class of what no filter takes; None: no class at all
        self.whole = True                   # what has no class of its own takes the link
        self.by_dscp: dict[int, int] = {}
        row: dict[str, Any] = {"name": name}
        if table is not None:
            row |= {"rate": table["speed"], "overhead_bytes": table["overhead"]}
        made.add("link", self.place, row, rate="speed", overhead_bytes="overhead")

    def plant(self, qdiscs: list[Table], classes: list[Table]) -> None:
        """The classes of a device."""
        roots = [table for table in qdiscs if table["parent"] == "root"]
        if len(roots) > 1:
            raise roots[1].error("parent", f"device {self.name!r} has two root qdiscs")
        below = [table for table in qdiscs if table["parent"] != "root"]
        if not roots:
            for table in (*below, *classes):
                raise table.error("parent", f"device {self.name!r} has no root qdisc")
            return
        root = roots[0]
        if root["kind"] in ("htb", "prio", "tbf"):
            minor(root, "handle") if "handle" in root else None
            self.major = (root["handle"] or "1:").partition(":")[0]
        if root["kind"] != "htb" and classes:
            raise classes[0].error("classid", f"the root qdisc is {root['kind']}: classes are of"
                                   " htb")
        getattr(self, f"root_{root['kind'] if root['kind'] not in QUEUES else 'queue'}")(
            root, below, classes)

    def add(self, table: Table, row: Mapping[str, Any], **lines: str) -> None:
        self.made.add("class", table, {"link": self.name, **row}, **lines)

    def root_queue(self, root: Table, below: list[Table], _: list[Table]) -> None:
        """One queue for all."""
        self.refuse_below(root, below)
        self.leaves.add(1)
        self.add(root, {"id": 1, **queue_of(root)}, limit_packets="limit")

    def refuse_below(self, root: Table, below: list[Table]) -> None:
        for table in below:
            raise table.error("parent", f"parent = {table['parent']!r}: {root['kind']} has no such"
                              " class")

    # -- tbf --

    def root_tbf(self, root: Table, below: list[Table], _: list[Table]) -> None:
        """One bucket, and above it that of the peak rate; a prio may share it out."""
        for key in ("rate", "burst"):
            if not root[key]:
                raise root.error(key, f"tbf needs {key}")
        if ("limit" in root) == ("latency" in root):
            raise root.error("limit", "tbf needs limit or latency, one of them")
        if bool(root["peakrate"]) != bool(root["mtu"]):
            raise root.error("peakrate", "peakrate and mtu go together")
        if root["peakrate"] and root["peakrate"] <= root["rate"]:
            raise root.error("peakrate", "peakrate is not above rate")
        size = limit_bytes(root, root["rate"] * root["latency"] // (8 * 10**9) + root["burst"])
        queue = {"limit_bytes": size, "limit_packets": min(WAITING_MAX, size // 14 + 1)}
        bucket = {"ceiling": root["rate"], "ceiling_burst": root["burst"], "need": "packet"}
        peak = {"ceiling": root["peakrate"], "ceiling_burst": root["mtu"], "need": "packet"}
        parent = {}
        if root["peakrate"]:
            self.add(root, {"id": 0x7ffe, **peak}, ceiling="peakrate", ceiling_burst="mtu")
            parent = {"parent": 0x7ffe}
        if not below:
            self.leaves.add(1)
            self.add(root, {"id": 1, **bucket, **parent, **queue}, ceiling="rate",
                     ceiling_burst="burst", limit_bytes="limit")
            return
        child = below[0]
        if child["kind"] != "prio" or minor(child, "parent", self.major) > 1:
            raise child.error("kind", f"below tbf stands a prio, parent {self.major}:1; or nothing")
        self.add(root, {"id": 0x7fff, **bucket, **parent}, ceiling="rate", ceiling_burst="burst")
        self.major = (child["handle"] or "2:").partition(":")[0]
        self.bands(child, below[1:], 0x7fff)

    # -- prio --

    def root_prio(self, root: Table, below: list[Table], _: list[Table]) -> None:
        self.bands(root, below, 0)

    def bands(self, table: Table, below: list[Table], parent: int) -> None:
        """Strict classes; each may have a queue of its own."""
        count, bands = table["bands"], table["priomap"]
        if count > 8:
            raise table.error("bands", f"bands = {count}: there are 8 priorities here")
        if not isinstance(bands, (list, tuple)) or len(bands) != 16 or not all(
                type(band) is int and 0 <= band < count for band in bands):
            raise table.error("priomap", f"priomap: 16 bands are asked for, each below {count}")
        queues = self.queues(below)
        for band in range(count):
            own = queues.pop(band + 1, None)
            row = queue_of(own) if own is not None else {}
            row |= {"need": "packet"} if parent and row.get("discard") != "codel" else {}
            self.add(own if own is not None else table, {
                "id": band + 1, "parent": parent, "priority": band, **row}, limit_packets="limit")
            self.leaves.add(band + 1)
        for child in queues.values():
            raise child.error("parent", f"parent = {child['parent']!r}: prio has {count} bands,"
                              f" {self.major}:1 to {self.major}:{count:x}")
        self.by_dscp = {mark: bands[TOS_PRIORITY[mark >> 1 & 3]] + 1 for mark in range(64)}
        self.default = self.by_dscp[0]

    def queues(self, below: list[Table]) -> dict[int, Table]:
        """Qdiscs of leaves, by class."""
        made: dict[int, Table] = {}
        for table in below:
            if table["kind"] not in QUEUES:
                raise table.error("kind", f"kind = {table['kind']!r} below a class is not modelled;"
                                  f" allowed there: {', '.join(QUEUES)}")
            number = minor(table, "parent", self.major)
            if number in made:
                raise table.error("parent", f"parent = {table['parent']!r} has two qdiscs")
            made[number] = table
        return made

    # -- htb --

    def root_htb(self, root: Table, below: list[Table], classes: list[Table]) -> None:
        """A tree."""
        queues = self.queues(below)
        parents = {minor(table, "parent", self.major) for table in classes}
        for table in classes:
            number = minor(table, "classid", self.major)
            own = None if number in parents else queues.pop(number, None)
            self.htb_class(root, table, number, own, inner=number in parents)
            if number not in parents:
                self.leaves.add(number)
        for child in queues.values():
            raise child.error("parent", f"parent = {child['parent']!r} is no leaf of device"
                              f" {self.name!r}; leaves: {self.shown()}")
        default = root["default"]
        try:
            wanted = int(str(default), 16)
        except ValueError:
            wanted = -1
        if wanted and wanted not in self.leaves:
            raise root.error("default", f"default = {default!r} is no leaf; leaves:"
                             f" {self.shown()}; 0: beside all classes, as the kernel does then")
        self.default, self.whole = wanted or None, bool(wanted)

    def htb_class(self, root: Table, table: Table, number: int, own: Table | None, *,
                  inner: bool) -> None:
        """A class: two buckets, and a leaf's turn."""
        rate = table["rate"]
        if not rate:
            raise table.error("rate", "a class of htb needs rate")
        ceil = table["ceil"] or rate
        burst, cburst = table["burst"] or BURST, table["cburst"] or BURST
        parent = minor(table, "parent", self.major)
        if ceil < rate:
            raise table.error("ceil", "ceil is below rate")
        if not parent:
            if ceil > rate and cburst < burst:
                raise table.error("cburst", "at a class without parent, which cannot borrow, a"
                                  " cburst below burst with a ceil above rate is not modelled")
            ceil, burst = rate, burst if ceil > rate else min(burst, cburst)
            cburst = burst
        row: dict[str, Any] = {
            "id": number, "parent": parent, "guarantee": rate, "guarantee_burst": burst,
            "ceiling": ceil, "ceiling_burst": cburst}
        if not inner:
            auto = min(200_000, max(1000, rate // 8 // root["r2q"]))
            row |= {"priority": table["prio"], "quantum_bytes": table["quantum"] or auto}
            row |= queue_of(own) if own is not None else {}
        self.add(table, row, id="classid", guarantee="rate", ceiling="ceil",
                 guarantee_burst="burst", ceiling_burst="cburst", priority="prio",
                 quantum_bytes="quantum", parent="parent")

    def shown(self) -> str:
        return ", ".join(f"{self.major}:{number:x}" for number in sorted(self.leaves)[:20])


# --- filters --------------------------------------------------------------------------------------


def police_rows(tables: Tables, made: Made) -> dict[str, list[str]]:
    """Meters of each police action: bytes, packets, or both; above either it exceeds."""
    names: dict[str, list[str]] = {}
    for name, table in tables.named("police").items():
        if bool(table["rate"]) != bool(table["burst"]):
            raise table.error("burst", "rate and burst go together")
        if bool(table["pkts_rate"]) != bool(table["pkts_burst"]):
            raise table.error("pkts_burst", "pkts_rate and pkts_burst go together")
        if not table["rate"] and not table["pkts_rate"]:
            raise table.error("rate", "police needs rate and burst, or pkts_rate and pkts_burst")
        names[name] = []
        for unit, rate, burst in (("", "rate", "burst"), (" packets", "pkts_rate", "pkts_burst")):
            if table[rate]:
                names[name].append(name + unit)
                made.add("meter", table, {
                    "name": name + unit, "over": table["conform_exceed"],
                    "count": "packets" if unit else "frame", "overhead_bytes": table["overhead"],
                    "rungs": [{"rate": table[rate], "depth": table[burst]}]}, rungs=rate)
    return names


def direction(
    table: Table, prefix: str, devices: Mapping[str, Device],
) -> tuple[str, int | None, bool]:
    """Link, class and whether the class may follow the DSCP, of one way of a filter."""
    name, flowid = table[f"{prefix}dev"], table[f"{prefix}flowid"]
    if not name:
        if flowid:
            raise table.error(f"{prefix}flowid", f"{prefix}flowid needs {prefix}dev")
        return "", None, False
    if name not in devices:
        raise table.error(f"{prefix}dev", f"{prefix}dev = {name!r} is not declared"
                          f"{nearest(name, devices)}")
    device = devices[name]
    if not flowid:
        return (name if device.whole else ""), device.default, bool(device.by_dscp)
    number = minor(table, f"{prefix}flowid", device.major)
    if number not in device.leaves:
        raise table.error(f"{prefix}flowid", f"{prefix}flowid = {flowid!r} is no leaf of"
                          f" {name!r}; leaves: {device.shown()}")
    return name, number, False


def filter_row(
    table: Table, devices: Mapping[str, Device], police: Mapping[str, list[str]],
    named: Mapping[str, Table], made: Made,
) -> None:
    """A filter is a row."""
    row = conditions(table)
    for prefix in ("", "reply_"):
        found(table, f"{prefix}police", named)
        row[f"{prefix}meters"] = police.get(table[f"{prefix}police"], [])
        link, cls, follows = direction(table, prefix, devices)
        if link:
            row[f"{prefix}link"] = link
            row |= {f"{prefix}class": cls} if cls is not None else {}
            row[f"{prefix}class_by_dscp"] = devices[link].by_dscp if follows else {}
    made.add("shaping", table, row, link="dev", reply_link="reply_dev", meters="police",
             reply_meters="reply_police", **{"class": "flowid", "reply_class": "reply_flowid"})


def make(tables: Tables, made: Made, kilo: int) -> None:
    """All of tc's tables as rows."""
    named = tables.named("device")
    devices: dict[str, Device] = {}
    for table in (*tables["device"], *tables["qdisc"], *tables["class"]):
        name = table["name"] if table in tables["device"] else table["dev"]
        if name not in devices:
            devices[name] = Device(name, named.get(name), table, made)
    for table in tables["qdisc"]:
        if "kind" not in table:
            raise table.error("kind", f"[[tc.qdisc]] needs kind; allowed: {', '.join(QDISCS)}")
        for key in table.row:
            if key in OF and table["kind"] not in OF[key]:
                raise table.error(key, f"{key} is of {', '.join(OF[key])}")
    for name, device in devices.items():
        device.plant([table for table in tables["qdisc"] if table["dev"] == name],
                     [table for table in tables["class"] if table["dev"] == name])
    police = police_rows(tables, made)
    for table in tables["filter"]:
        filter_row(table, devices, police, tables.named("police"), made)


VENDOR = Vendor(KINDS, MISSING, make)
