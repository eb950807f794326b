"""A made-up result with every field of the contract, so that the face is tested without an engine.

The story: memory climbs through red (on) and extreme, sessions are taken by tension passes, the
pressure is given back and green ends the mode - or, with ``ends="on"``, the capture stops before.
"""

from __future__ import annotations

import math
from typing import Any

START_NS = 1_667_433_500 * 10**9
REASONS = (
    "new hit related fragment tcp_invalid non_ip unsupported_link truncated fragment_orphan "
    "bypass_conserve bypass_kernel bypass_one_shot bypass_proxy_table bypass_ips bypass_oversize "
    "bypass_no_memory malformed icmp_orphan no_session denied conserve_block extreme ips_block "
    "half_open_limit host_limit proxy_table_full table_full no_memory killed"
).split()
CAUSES = "conserve kernel one_shot proxy_table ips oversize no_memory".split()
TOTAL, GREEN, RED, EXTREME = 255_232, 209_290, 224_604, 242_470


def _used(position: float, ends: str) -> int:
    rise = min(1.0, position * 1.6)
    fall = max(0.0, (position - 0.72) / 0.28) if ends == "off" else 0.0
    wave = 0.012 * math.sin(position * 40)
    return int(TOTAL * min(0.965, 0.60 + 0.37 * rise - 0.25 * fall + wave))


def _mode(used: int, cache: int, mode: int) -> int:
    if mode == 0:
        return int(used >= RED)
    return 0 if used < GREEN else (2 if used + cache >= EXTREME else 1)


def _timeline(samples: int, packets: int, duration_ns: int, ends: str) -> dict[str, Any]:
    line: dict[str, Any] = {
        key: []
        for key in "time_ns packet mode live created ended tension evicted base sessions shm "
        "cache free exposed_packets".split()
    }
    verdicts: dict[str, list[int]] = {name: [] for name in ("forward", "inspect", "bypass", "drop")}
    reasons: dict[str, list[int]] = {name: [] for name in REASONS}
    mode, tension, dropped, bypassed = 0, 0, 0, 0
    step = packets / max(1, samples - 1)
    for index in range(samples):
        position = index / max(1, samples - 1)
        done = round(index * step)
        used = _used(position, ends)
        cache = int(TOTAL * 0.02 * (1 + math.sin(position * 9)) / 2)
        mode = _mode(used, cache, mode)
        fresh = round(step) if index else 0
        tension += 900 if mode == 2 else 0
        dropped += round(fresh * (0.45 if mode == 2 else 0.002))
        bypassed += round(fresh * 0.2) if mode else 0
        shm, sessions = int(used * 0.18), int(used * 0.15)
        values = (
            START_NS + round(position * duration_ns), done, mode, 40_000 + int(30_000 * position),
            done // 12, done // 14, tension, 0, used - shm - sessions, sessions, shm, cache,
            TOTAL - used - cache, bypassed,
        )  # fmt: skip
        for key, value in zip(line, values, strict=True):
            line[key].append(value)
        inspected = (done - dropped - bypassed) // 3
        parts = {"drop": dropped, "bypass": bypassed, "inspect": inspected}
        parts["forward"] = done - sum(parts.values())
        for name, column in verdicts.items():
            column.append(parts[name])
        by_reason = {
            "extreme": dropped, "bypass_conserve": bypassed, "new": (done - dropped - bypassed) // 9
        }  # fmt: skip
        by_reason["hit"] = done - sum(by_reason.values())
        for name, column in reasons.items():
            column.append(by_reason.get(name, 0))
    return {**line, "verdicts": verdicts, "reasons": reasons}


def _transitions(line: dict[str, Any]) -> list[dict[str, Any]]:
    names, rows = ("off", "on", "extreme"), []
    for at in range(1, len(line["mode"])):
        old, new = line["mode"][at - 1], line["mode"][at]
        if old == new:
            continue
        memory = {name: line[name][at] for name in ("base", "sessions", "shm", "cache", "free")}
        rows.append({
            "packet": line["packet"][at], "time_ns": line["time_ns"][at], "cause": "packet",
            "machine": "unified", "from": names[old], "to": names[new],
            "used_pages": memory["base"] + memory["sessions"] + memory["shm"],
            "freeable_pages": memory["cache"], "free_pages": memory["free"],
            "snapshot": {"memory": memory, "sessions": line["live"][at],
                         "hosts": [{"host": "10.0.0.7", "sessions": 812}]},
        })  # fmt: skip
    return rows


def _events(transitions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = {"on": "conserve_entered", "extreme": "extreme_entered", "off": "conserve_left"}
    texts = {"on": "Kernel enters memory conserve mode",
             "off": "Kernel leaves memory conserve mode",
             "extreme": "Kernel enters extreme low memory mode"}  # fmt: skip
    return [
        {
            "kind": kinds[row["to"]], "packet": row["packet"], "time_ns": row["time_ns"],
            "used_pages": row["used_pages"],
            "text": 'logid="0100022011" type="event" level="critical" service="kernel" '
            f'total="997 MB" used="{row["used_pages"] // 256} MB" msg="{texts[row["to"]]}"',
        }
        for row in transitions
    ]  # fmt: skip


def _victims(number: int, packets: int) -> list[dict[str, Any]]:
    causes = ("tension", "tension", "tension", "killed", "evicted")
    return [
        {
            "packet": packets // 2 + index, "created_packet": 1 + index * 3,
            "key": f"10.{index % 7}.{index // 250 % 250}.{index % 250}:{1024 + index % 60000}"
            f"-203.0.113.{index % 9}:443/tcp",
            "cause": causes[index % 5], "age_ns": 10**9 + index * 10**6, "idle_ns": index * 10**5,
            "bytes": 1500 * (index % 90 + 1), "state": "ESTABLISHED", "policy": index % 4,
            "inspection": ("none", "flow", "proxy", "flow+proxy")[index % 4],
        }
        for index in range(number)
    ]  # fmt: skip


def _top() -> dict[str, Any]:
    return {
        "hosts": [
            {
                "host": f"10.0.0.{7 + row}",
                "sessions": 900 - 70 * row,
                "packets": 52_000 - 4000 * row,
                "bytes": 33_000_000 - 2_500_000 * row,
                "dropped": 4100 - 300 * row,
                "bypassed": 9100 - 700 * row,
            }
            for row in range(10)
        ],
        "policies": [
            {
                "id": row,
                "sessions": 30_000 - 6000 * row,
                "packets": 400_000 - row,
                "dropped": 70_000 - 20_000 * row,
                "bypassed": 30_000 * row,
            }
            for row in range(4)
        ],
    }


def make(
    *, packets: int = 1_204_331, samples: int = 240, victims: int = 400, ends: str = "off",
    duration_s: float = 60.25, personality: str = "fortios-7",
) -> dict[str, Any]:  # fmt: skip
    """The dictionary of a result; ``ends`` is the mode at the end: "off" or "on"."""
    duration_ns = int(duration_s * 10**9)
    line = _timeline(samples, packets, duration_ns, ends)
    transitions = _transitions(line)
    last = {name: line[name][-1] for name in ("base", "sessions", "shm", "cache", "free")}
    last["used"] = last["base"] + last["sessions"] + last["shm"]
    peak = {name: max(line[name]) for name in ("base", "sessions", "shm", "cache", "free")}
    peak["used"] = max(row["used_pages"] for row in transitions) if transitions else last["used"]
    bypassed, tension = line["exposed_packets"][-1], line["tension"][-1]
    none = {"sessions": 0, "packets": 0, "bytes": 0}
    exposed = {"sessions": bypassed // 11, "packets": bypassed, "bytes": bypassed * 640}
    created, live = line["created"][-1], line["live"][-1]
    mode = ("off", "on", "extreme")[line["mode"][-1]]
    return {
        "schema": 1, "fwcore": "0.1.0",
        "inputs": [{"path": "web.pcap", "reader": "native", "format": "pcap",
                    "packets": packets, "fault": None}],
        "personality": personality,
        "settings": {
            "personality": {"value": personality, "from": "argument", "mark": "D"},
            "ram_bytes": {"value": TOTAL * 4096, "from": "--set", "mark": "D"},
            "av_failopen": {"value": "pass", "from": "default", "mark": "H, T"},
            "memory_use_threshold_red": {"value": 88, "from": "file my.toml:4", "mark": "T"},
        },
        "packets": packets, "bytes": packets * 674, "duration_ns": duration_ns, "time_reversed": 12,
        "verdicts": {name: column[-1] for name, column in line["verdicts"].items()},
        "reasons": {name: column[-1] for name, column in line["reasons"].items()},
        "decode": {"ipv4": packets * 4 // 5, "ipv6": packets // 5, "tcp": packets * 3 // 4,
                   "udp": packets // 4 - 90, "icmp": 50, "sctp": 0, "other_ip": 0, "non_ip": 30,
                   "fragments": 14, "malformed": 3, "truncated": 7, "offloaded": 0,
                   "unsupported_link": 0},
        "sessions": {"created": created, "live": live, "peak": max(line["live"]), "reborn": 410,
                     "ended": {"expired": max(0, created - live - tension - 90), "closed": 60,
                               "clash": 30, "evicted": 0, "tension": tension, "killed": 0,
                               "cleared": 0}},
        "memory_tension": tension,
        "stampede": {"passes": 3, "pages_needed": 5, "sessions_deleted": tension,
                     "by_page": {"passes": 3, "sessions_deleted": tension},
                     "by_full_table": {"passes": 0, "sessions_deleted": 0}},
        "memory": {"total_pages": TOTAL, "now": last, "peak": peak,
                   "thresholds": {"unified": {"green": GREEN, "red": RED, "extreme": EXTREME}},
                   "script_short_pages": 0},
        "conserve": {"mode": mode, "label": mode, "flaps": 0,
                     "seconds": {"off": 25.0, "on": 20.25, "extreme": 15.0},
                     "transitions": transitions},
        "exposure": {**exposed, "by_cause": {
            name: exposed if name == "conserve" else dict(none) for name in CAUSES}},
        "idledrop": {"hosts": []},
        "proxy": {"sessions": 12, "peak": 400, "objects": 900, "objects_bypassed": 80,
                  "objects_oversize": 1},
        "ips": {"filled_bytes": 0, "full_count": 0},
        "victims": _victims(victims, packets), "victims_forgotten": 0,
        "events": _events(transitions),
        "table": {"max_connections": 1_000_000, "buckets": 262_144, "bytes": 152_000_000,
                  "bytes_per_connection": 152, "max_depth": 7},
        "laws": {"verdicts": True, "sessions": True, "pages": True, "exposure": True},
        "outcome": "1:8c6976e5b5410415bde908bd4dee15df",
        "speed": {"wall_s": 0.061, "packets_per_s": 19_700_000, "ns_per_packet": 50.7,
                  "longest_pause_ns": 1_830_000, "load_s": 0.004},
        "pace": {"late_packets": 0, "max_late_ns": 0},
        "timeline": line,
        "top": _top(),
    }  # fmt: skip
