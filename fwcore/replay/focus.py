"""``--focus``: whom the report is about. Every packet is judged; nothing but the report changes.

    host 10.0.0.5     net 10.1.0.0/16     packets and sessions with an end there
    policy 3          policy web out      those that this policy takes, by its number or its name
    10.0.0.5:4321-203.0.113.9:443/tcp     one flow

Memory, modes, transitions, events, laws and the outcome stay those of the whole machine, for that
is what the focus lived in. Verdicts, reasons, sessions, exposure, victims, hosts, policies, the
rows of ``--verdicts`` and ``--sessions`` and their columns of the timeline are of the focus alone;
what they are of all traffic stands in ``whole``.

Law: the counts of a focus on everything (``net 0.0.0.0/0`` where all is IPv4) are those of all.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fwcore import flow as flows, policy, policy_layout, policy_lookup
from fwcore._columns import Fragment, Kind
from fwcore._layout import SESSION_DTYPE, EndCause, Exposure, Reason, Verdict
from fwcore._tally import Tally, begun
from fwcore.counters import causes_met, refused, victim_rows, without_later
from fwcore.datagrams import Datagrams
from fwcore.errors import FwcoreError, SettingsError
from fwcore.hits import TAKEN
from fwcore.replay.judged import Judged
from fwcore.replay.selection import Selection
from fwcore.settings import Settings
from fwcore.words import ICMP, ICMPV6, SCTP, TCP, UDP, nearest

HALF = (1 << 64) - 1
FLOWS = 1 << 24            # whose first packets say whose they are
STANDS = 255  # a session's cause while it lives
WHOLE = ("packets", "bytes", "verdicts", "reasons", "decode", "sessions", "memory_tension",
         "exposure", "denied", "refused", "top")
EXAMPLES = "'host 10.0.0.5', 'net 10.1.0.0/16', 'policy 3' or a flow like " + flows.EXAMPLE


class Focus:
    """Whom it is about: a mask for packets and one for sessions. Raises FwcoreError."""

    def __init__(self, text: str, settings: Settings, policies: tuple[policy.Policy, ...]) -> None:
        self.text = text.strip()
        self._vlan_zone = settings.zone == "vlan"
        self._fragments: Datagrams[bool] = Datagrams(vlan_zone=self._vlan_zone)    # in focus
        self._directions = Tally(1, 1, FLOWS)      # (flow,): 1, or 2 where endpoint b began it
        word, _, rest = self.text.partition(" ")
        self._network: Any = None
        self._policy: policy.Policy | None = None
        self._flow: flows.Flow | None = None
        if word in ("host", "net"):
            self._network = _network(word, rest.strip())
        elif word == "policy":
            self._policy = _policy(rest.strip(), policies)
            self._table = policy_layout.compile_policies(policies)
        elif "/" in self.text and "-" in self.text:
            self._flow = flows.parse(self.text)
        else:
            raise FwcoreError(f"focus {self.text[:80]!r}: write {EXAMPLES}")

    def packets(self, judged: Judged) -> NDArray[np.bool_]:
        """Which packets of a chunk, bool[n]; an ICMP error goes with the packet that it quotes."""
        rows = judged.rows
        if self._network is not None:
            return self._at_network(rows)
        key = rows["key"]
        if self._vlan_zone:
            key = policy_lookup.zoned(key, rows["zone"])
        keyed = rows["flow"] != 0
        if self._flow is not None:
            found: NDArray[np.bool_] = keyed & (key == _words(self._flow)).all(axis=1)
        else:
            found = np.zeros(len(rows), dtype=bool)
            from_b = rows["swapped"] ^ judged.reply
            begun(self._directions, np.zeros(0, SESSION_DTYPE), judged.flow,
                  np.zeros(len(rows), np.uint64), from_b)
            ends = policy_lookup.ends_of(key[keyed], from_b[keyed])
            at = policy_lookup.find(self._table, ends)
            found[keyed] = at == self._table.policies.index(self._policy)
        found |= self._later(judged, found)
        return found

    def _later(self, judged: Judged, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Later fragments of the packets in focus, bool[n]."""
        rows = judged.rows
        later = np.zeros(len(rows), dtype=bool)
        first = rows["fragment"] == Fragment.FIRST
        for at in np.flatnonzero(first | (rows["kind"] == Kind.LATER)).tolist():
            if first[at]:
                self._fragments.begin(rows[at], judged.now_ns[at], bool(found[at]))
            else:
                later[at] = self._fragments.of(rows[at], judged.now_ns[at]) or False
        return later

    def _at_network(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        found = np.zeros(len(rows), dtype=bool)
        for address in (rows["source"], rows["destination"], rows["key"][:, [3, 1]],
                        rows["key"][:, [4, 2]]):
            found |= self._within(address)
        found &= rows["family"] == self._network.version
        return found

    def _within(self, address: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which addresses (high and low half) lie in the network, bool[n]."""
        bits, mask = int(self._network.network_address), int(self._network.netmask)
        found = np.ones(len(address), dtype=bool)
        for at, shift in ((1, 0), (0, 64)):
            part = np.uint64(mask >> shift & HALF)
            found &= address[:, at] & part == np.uint64(bits >> shift & HALF)
        return found

    def sessions(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of SESSION_DTYPE[n], bool[n]."""
        if self._policy is not None:
            return rows["policy"] == self._policy.id  # type: ignore[no-any-return]
        found = np.zeros(len(rows), dtype=bool)
        if self._network is not None:
            for side in ("initiator", "responder"):
                found |= self._within(_halves(rows, side))
            found &= rows["family"] == self._network.version
            return found
        assert self._flow is not None
        ends = [(end.address.packed.ljust(16, b"\0"), end.port)
                for end in (self._flow.initiator, self._flow.responder)]
        for first, second in (ends, ends[::-1]):
            here = (rows["protocol"] == self._flow.protocol) & (rows["zone"] == self._flow.zone)
            for side, (address, port) in (("initiator", first), ("responder", second)):
                here &= (rows[side] == np.frombuffer(address, np.uint8)).all(axis=1)
                here &= rows[f"{side}_port"] == port
            found |= here
        return found


def _network(word: str, text: str) -> Any:
    try:
        return ipaddress.ip_network(ipaddress.ip_address(text) if word == "host" else text)
    except ValueError as error:
        raise FwcoreError(f"focus '{word} {text[:80]}': {error}; write {EXAMPLES}") from None


def _policy(text: str, policies: tuple[policy.Policy, ...]) -> policy.Policy:
    """The policy of a number, or of a name as reports write it."""
    called = policy.called(policies)
    for found in ([each for each in policies if text == str(each.id)],
                  [each for each in policies if text in (each.name, called[each.id]) and text]):
        if len(found) > 1:
            raise SettingsError(f"focus: policies {', '.join(str(each.id) for each in found)} are"
                                f" all named {text[:80]!r}; give the id")
        if found:
            return found[0]
    known = [name for each in policies for name in (each.name, str(each.id)) if name]
    raise SettingsError(f"focus: there is no policy {text[:80]!r}{nearest(text, known)}; there are "
                        + ", ".join(known[:20]) + (", ..." if len(known) > 20 else ""))


def _words(wanted: flows.Flow) -> NDArray[np.uint64]:
    """A flow as the words of its key."""
    low, high = wanted.key[:2]
    (low_hi, low_lo), (high_hi, high_lo) = (divmod(int(end.address), 1 << 64)
                                            for end in (low, high))
    meta = (low.port | high.port << 16 | wanted.zone << 32 | wanted.protocol << 48
            | low.address.version << 56)
    return np.array([meta, low_lo, high_lo, low_hi, high_hi], dtype=np.uint64)


def _halves(rows: NDArray[Any], side: str) -> NDArray[np.uint64]:
    """A session's address as high and low half, uint64[n, 2]; IPv4 in the low one."""
    high, low = np.ascontiguousarray(rows[side]).view(">u8").astype(np.uint64).reshape(-1, 2).T
    four = rows["family"] == 4
    return np.column_stack([np.where(four, np.uint64(0), high),
                            np.where(four, high >> np.uint64(32), low)])


# --- what it came to ------------------------------------------------------------------------------


class FocusLedger:
    """Figures of a focus, gathered beside the engine; ten bytes for each of its packets."""

    def __init__(self, focus: Focus, victims_max: int) -> None:
        self.focus = focus
        self._victims_max = victims_max
        self._packets: list[tuple[NDArray[Any], ...]] = []     # of the run: number, verdict, reason
        self._seen = 0                                         # packets of the run
        self._ended: list[NDArray[np.int64]] = []              # places in the order of all ends
        self._all_ended = 0
        self._flows: list[NDArray[np.uint64]] = []
        self._sessions: list[NDArray[Any]] = []
        self._bytes = 0
        self._exposed_bytes = np.zeros(len(Exposure), dtype=np.int64)
        self._decode = dict.fromkeys(
            ("ipv4", "ipv6", "tcp", "udp", "icmp", "sctp", "other_ip", "fragments"), 0)

    def take(self, judged: Judged) -> NDArray[np.bool_]:
        """Counts a chunk; which of its packets are in focus, bool[n]."""
        mask = self.focus.packets(judged)
        rows, outcome = judged.rows[mask], judged.outcome[mask]
        own = (np.flatnonzero(mask) + self._seen + 1).astype(np.uint64)
        self._packets.append((own, outcome[:, 0].copy(), outcome[:, 1].copy()))
        self._seen += len(mask)
        self._flows = [np.unique(np.concatenate([*self._flows, rows["flow"][rows["flow"] != 0]]))]
        self._bytes += int(judged.chunk.length[mask].sum())
        bypassed = outcome[:, 0] == Verdict.BYPASS
        for cause in Exposure:
            of_cause = bypassed & (outcome[:, 1] == Reason[f"BYPASS_{cause.name}"])
            self._exposed_bytes[cause] += int(judged.chunk.length[mask][of_cause].sum())
        for name, chosen in _decoded(rows).items():
            self._decode[name] += int(chosen.sum())
        return mask

    def end(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Those in focus among sessions that ended or, at last, stand: they are kept."""
        mask = self.focus.sessions(rows)
        self._ended.append(np.flatnonzero(mask & (rows["cause"] != STANDS)) + self._all_ended + 1)
        self._all_ended += int((rows["cause"] != STANDS).sum())
        if mask.any():
            self._sessions.append(rows[mask])
        return rows[mask]

    def apply(self, body: dict[str, Any], top: dict[str, Any], selection: Selection) -> None:
        """Puts the focus' figures into a result, and what they were of all into ``whole``."""
        number, verdict, reason = (np.concatenate(part) if part else np.zeros(0, np.uint64)
                                   for part in (list(zip(*self._packets, strict=True)) or [()] * 3))
        sessions = np.concatenate(self._sessions) if self._sessions else None
        body["whole"] = {name: body[name] for name in WHOLE}
        body["focus"] = {"text": self.focus.text, "flows": sum(map(len, self._flows))}
        reasons = without_later(_counted(reason, Reason))
        body |= {
            "packets": len(number), "bytes": self._bytes, "top": top, "reasons": reasons,
            "verdicts": _counted(verdict, Verdict), "denied": reasons["denied"],
            "decode": self._decode | {name: reasons[name] for name in (
                "non_ip", "malformed", "truncated", "unsupported_link")},
            "refused": refused(reasons),
        }
        created, ended, cause, exposed = _lives(sessions)
        body["sessions"] = _session_counts(created, ended, cause)
        body["memory_tension"] = body["sessions"]["ended"]["tension"]
        body["exposure"] = self._exposure(verdict, reason, exposed)
        self._victims(body, sessions, selection)
        over = cause[cause != STANDS]
        _restrict(body["timeline"], (number, verdict, reason), created,
                  (np.concatenate([np.zeros(0, np.int64), *self._ended]), over))

    def _exposure(
        self, verdict: NDArray[Any], reason: NDArray[Any], exposed: NDArray[Any],
    ) -> dict[str, Any]:
        bypassed = verdict == Verdict.BYPASS
        by_cause = {
            cause.name.lower(): {
                "sessions": int((exposed >> cause & 1).sum()),
                "packets": int((bypassed & (reason == Reason[f"BYPASS_{cause.name}"])).sum()),
                "bytes": int(self._exposed_bytes[cause])}
            for cause in Exposure
        }
        return {"sessions": int((exposed != 0).sum()), "packets": int(bypassed.sum()),
                "bytes": int(self._exposed_bytes.sum()), "by_cause": causes_met(by_cause)}

    def _victims(self, body: dict[str, Any], rows: Any, selection: Selection) -> None:
        """The newest of those taken; from the log, which has them all."""
        rows = np.zeros(0, SESSION_DTYPE) if rows is None else rows[np.isin(rows["cause"], TAKEN)]
        kept = rows[-self._victims_max:]
        body["victims_forgotten"] = len(rows) - len(kept)
        body["victims"] = victim_rows(kept)
        for row in body["victims"]:
            for name in ("packet", "created_packet"):
                row[name] = selection.number(row[name])


def _counted(values: NDArray[Any], enum: Any) -> dict[str, int]:
    counts = np.bincount(values.astype(np.int64), minlength=len(enum)).tolist()
    return {member.name.lower(): counts[member] for member in enum}


def _decoded(rows: NDArray[Any]) -> dict[str, NDArray[np.bool_]]:
    """Which frames count where in ``decode``."""
    keyed, protocol = rows["kind"] == Kind.KEYED, rows["protocol"]
    found = {name: keyed & (protocol == number)
             for name, number in (("tcp", TCP), ("udp", UDP), ("sctp", SCTP))}
    found["icmp"] = (rows["family"] != 0) & np.isin(protocol, (ICMP, ICMPV6))
    valid = rows["ip_bytes"] != 0
    found["other_ip"] = keyed & ~np.isin(protocol, (TCP, UDP, SCTP, ICMP, ICMPV6))
    found["fragments"] = rows["fragment"] != Fragment.WHOLE
    return found | {"ipv4": valid & (rows["family"] == 4), "ipv6": valid & (rows["family"] == 6)}


def _lives(rows: Any) -> tuple[NDArray[Any], ...]:
    """Numbers of the packets that made and ended each session, cause of its end, exposure."""
    if rows is None:
        none = np.zeros(0, dtype=np.uint64)
        return none, none, np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.uint8)
    return rows["created_packet"], rows["ended_packet"], rows["cause"], rows["exposed"]


def _session_counts(
    created: NDArray[Any], ended: NDArray[Any], cause: NDArray[Any]
) -> dict[str, Any]:
    over = cause != STANDS
    moments = np.concatenate([created, ended[over]])
    steps = np.concatenate([np.ones(len(created), int), np.full(int(over.sum()), -1)])
    order = np.lexsort((steps, moments))     # what ends at a packet makes room for what begins
    return {
        "created": len(created), "live": int((~over).sum()),
        "peak": int(np.cumsum(steps[order]).max(initial=0)),
        "ended": _counted(cause[over], EndCause),
    }


def _restrict(
    line: dict[str, Any], packets: tuple[NDArray[Any], ...], created: NDArray[Any],
    ends: tuple[NDArray[Any], NDArray[Any]],
) -> None:
    """The timeline's counts of packets and sessions, of the focus alone, at the same moments.

    How far the run was at a sample say its counts of all: packets judged, and sessions ended.
    """
    number, verdict, reason = packets
    place, cause = ends
    judged = np.zeros(len(line["time_ns"]), dtype=np.int64)
    for column in line["verdicts"].values():
        judged += column

    def so_far(values: NDArray[Any], moments: Any = judged) -> list[int]:
        found: list[int] = np.searchsorted(
            np.sort(values).astype(np.int64), moments, side="right").tolist()
        return found

    line["tension"], line["evicted"] = (
        so_far(place[cause == EndCause[name]], line["ended"]) for name in ("TENSION", "EVICTED"))
    line["created"], line["ended"] = so_far(created), so_far(place, line["ended"])
    line["live"] = [a - b for a, b in zip(line["created"], line["ended"], strict=True)]
    for name, values, enum in (("verdicts", verdict, Verdict), ("reasons", reason, Reason)):
        line[name] = {member.name.lower(): so_far(number[values == member])
                      for member in enum if (values == member).any()}
    line["exposed_packets"] = so_far(number[verdict == Verdict.BYPASS])
