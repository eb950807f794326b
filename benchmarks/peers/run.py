"""Programs of the trade on one capture, in turn, each as a whole from its start to its exit.

    python benchmarks/peers/run.py [CAPTURE] [--rounds 3] [--packets 4000000 --sessions 1000000]

Those that a Debian has, as far as they are installed here; which are missing is said, with their
package. Without CAPTURE one is made. None of them does what another does: the column says what each
is for. What was read is in memory before anything is timed, and who begins moves on by one a round.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from fwcore.bench.whole import BARE, room_for
from fwcore.capture import open_capture, synth

LIMIT_S = 600


class Peer(NamedTuple):
    """A program: its Debian package, what it makes of packets, its words ({file}, {place})."""

    name: str
    package: str
    makes: str
    words: tuple[str, ...]


PEERS = (
    Peer("tcpdump", "tcpdump", "a copy to /dev/null",
         ("tcpdump", "-r", "{file}", "-w", "/dev/null")),
    Peer("nfpcapd", "nfdump", "flows on disk", ("nfpcapd", "-r", "{file}", "-w", "{place}")),
    Peer("nfpcapd -l", "nfdump", "the same, version 1.6",
         ("nfpcapd", "-r", "{file}", "-l", "{place}")),
    Peer("softflowd", "softflowd", "flows, sent nowhere", ("softflowd", "-d", "-r", "{file}")),
    Peer("argus", "argus-server", "flows to /dev/null",
         ("argus", "-r", "{file}", "-w", "/dev/null")),
    Peer("pmacctd", "pmacct", "flows, printed", ("pmacctd", "-I", "{file}", "-P", "print")),
    Peer("yaf", "yaf", "flows to /dev/null", ("yaf", "--in", "{file}", "--out", "/dev/null")),
    Peer("ndpiReader", "libndpi-bin", "flows and applications",
         ("ndpiReader", "-i", "{file}", "-q")),
    Peer("tcptrace", "tcptrace", "connections", ("tcptrace", "{file}")),
    Peer("tcpstat", "tcpstat", "counters", ("tcpstat", "-r", "{file}", "-1")),
    Peer("capinfos", "wireshark-common", "counters", ("capinfos", "-c", "{file}")),
    Peer("suricata", "suricata", "flows, rules, streams",
         ("suricata", "-r", "{file}", "-l", "{place}", "--runmode", "single")),
    Peer("zeek", "zeek", "connections, scripts", ("zeek", "-r", "{file}")),
    Peer("snort", "snort", "flows, rules", ("snort", "-q", "-r", "{file}", "-l", "{place}")),
    # Without a statistic it reads, and dissects nothing.
    Peer("tshark", "tshark", "dissection, counters by protocol",
         ("tshark", "-r", "{file}", "-q", "-z", "io,phs")),
)
REPLAY = (sys.executable, "-P", "-m", "fwcore", "replay", "{file}", "--quiet", "--json",
          "{place}/r", "--set", "max_connections={room}")
OURS = (
    Peer("bare loop", "", "parse, key, two counters",
         (sys.executable, "-P", "-c", BARE, "{file}", "{sessions}")),
    Peer("fwcore", "", "verdicts, sessions, memory",
         REPLAY),
    Peer("fwcore, 1 thread", "", "the same",
         (*REPLAY, "--threads", "1")),
)


def seconds(peer: Peer, file: Path, sessions: int) -> float | None:
    """Wall time of a run in a directory of its own; None where it failed."""
    with tempfile.TemporaryDirectory() as place:
        words = [word.replace("{file}", str(file)).replace("{place}", place)
                 .replace("{sessions}", str(sessions))
                 .replace("{room}", str(room_for(sessions))) for word in peer.words]
        begin = time.perf_counter()
        try:
            done = subprocess.run(words, cwd=place, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  timeout=LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            return None
        spent = time.perf_counter() - begin
        return spent if done.returncode == 0 else None


def table(spent: dict[Peer, list[float]], packets: int) -> list[str]:
    """A line a program, the fastest first."""
    lines = [f"{'program':<18}{'M packets/s':>12}{'median s':>10}{'least':>8}{'most':>8}  makes"]
    for peer, each in sorted(spent.items(), key=lambda row: statistics.median(row[1])):
        middle = statistics.median(each)
        lines.append(f"{peer.name:<18}{packets / middle / 1e6:>12.3f}{middle:>10.3f}"
                     f"{min(each):>8.3f}{max(each):>8.3f}  {peer.makes}")
    return lines


def made(place: str, packets: int, sessions: int) -> Path:
    """A capture of 60-byte frames, spread evenly over the sessions."""
    path = Path(place) / "peers.pcap"
    synth.to_pcap(path, synth.make("uniform", packets=packets, sessions=sessions))
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("capture", nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--packets", type=int, default=4_000_000)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    given = parser.parse_args()
    here = [peer for peer in PEERS if shutil.which(peer.words[0])]
    missing = [peer for peer in PEERS if peer not in here]
    with tempfile.TemporaryDirectory() as place:
        file = Path(given.capture).resolve() if given.capture else made(
            place, given.packets, given.sessions)
        with open_capture(str(file)) as reader:      # which warms the file, too
            packets = sum(map(len, reader))
        spent: dict[Peer, list[float]] = {}
        failed: set[Peer] = set()
        programs = [*OURS, *here]
        for turn in range(given.rounds):
            for at in range(len(programs)):
                peer = programs[(at + turn) % len(programs)]
                took = None if peer in failed else seconds(peer, file, given.sessions)
                if took is None:
                    failed.add(peer)
                else:
                    spent.setdefault(peer, []).append(took)
    print(f"{packets} packets, {os.cpu_count()} cores, {given.rounds} rounds in turn")
    print("\n".join(table(spent, packets)))
    if failed:
        print("failed on it: " + ", ".join(sorted(peer.name for peer in failed)))
    if missing:
        print("missing here: " + ", ".join(
            f"{peer.name} (apt: {peer.package})" for peer in missing))
    return 0


if __name__ == "__main__":
    sys.exit(main())
