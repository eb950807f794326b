"""Address- and UndefinedBehaviorSanitizer over every capture and every prefix of every frame.

    python tools/sanitize.py [CAPTURE ...]

Without arguments: all of pcaps/ and of the folder that $FWCORE_CAPTURES names. The extension is
built anew in a temporary copy; there, in a process with the sanitizers' runtime loaded first,

- every capture is replayed under several personalities, in groups and chunks of several sizes,
  and again out of memory that ends with the file's last byte, as each of its readers sees it;
- files are cut at many places and replayed so (small ones at every byte);
- every prefix of every frame is parsed from memory that ends with it: a read of one byte more is
  a report. Frames are cut at each of their first 512 bytes, and longer ones at some places beyond.

With `--brief`, for every change: fewer checks, cuts and personalities; then, in the same build,
the tests of the data plane and half a minute of simulation (a fresh seed, or --seed).

The runtime's parts of the connection table's memory stand apart too (FW_REDZONE). Ends with 1
when either sanitizer reported anything.
"""

from __future__ import annotations

import argparse
import collections
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from scratch import ROOT, build, copy_to, environment

FLAGS = "-g1 -O1 -DFWCORE_DEBUG=1 -fno-omit-frame-pointer -fsanitize=address,undefined"
# Half of the build's time; AddressSanitizer sees what two of them are for, x86 forgives the third.
BRIEF_FLAGS = "-fno-sanitize=null,pointer-overflow,alignment"
REPORTS = ("runtime error:", "AddressSanitizer", "does not hold")
ENDINGS = (".pcap", ".pcapng", ".cap", ".gz", ".zst", ".1")
PERSONALITIES = ("plain", "fortios-7", "fortios-5", "fortios-4", "cos-core", "linux-conntrack")
PREFIX_MAX = 512        # a frame is cut at each of its first bytes ...
FILE_CUTS = 1500        # a file at all of its bytes, or at about so many
BRIEF_CUTS = 60
BRIEF_STEP = 16          # of a capture's frames
BRIEF_PERSONALITIES = ("plain", "fortios-7")
BRIEF_TESTS = ("test_table.py", "test_clock.py", "test_scenarios.py", "test_scan.py",
               "test_columns.py", "test_demand.py", "test_twin.py", "test_twin_frames.py")
BRIEF_NOT = "cannot_be_had"  # a limit on memory leaves the sanitizer without its own
BRIEF_EXAMPLES = 50
BRIEF_SIMULATION_S = 30
SMALL = ["max_connections=64", "buckets=8", "seed=1"]  # a table that overflows and evicts


def captures(names: list[str]) -> list[Path]:
    folders = [ROOT / "pcaps"]
    if os.environ.get("FWCORE_CAPTURES"):
        folders.append(Path(os.environ["FWCORE_CAPTURES"]))
    found = [path for folder in folders for path in sorted(folder.iterdir())
             if path.suffix in ENDINGS]
    return [Path(name).resolve() for name in names] or found


# --- outside: build, run, judge -----------------------------------------------------------------


def runtime(name: str) -> str:
    """Where the compiler keeps a library that has to be loaded first."""
    compiler = os.environ.get("CC", "cc").split()
    return subprocess.run([*compiler, f"-print-file-name={name}"], capture_output=True,
                          text=True, check=True).stdout.strip()


def surroundings(folder: Path) -> dict[str, str]:
    """The sanitizers' runtime has to be loaded first."""
    return environment(
        folder, LD_PRELOAD=f"{runtime('libasan.so')} {runtime('libstdc++.so')}",
        ASAN_OPTIONS="detect_leaks=0:abort_on_error=0:handle_segv=1",
        UBSAN_OPTIONS="print_stacktrace=1", FWCORE_EXAMPLES=str(BRIEF_EXAMPLES))


def together(folder: Path, jobs: int, seed: int | None) -> int:
    """Tests and simulation in this build; how many reports or failures there were."""
    tests = [f"tests/{name}" for name in BRIEF_TESTS]
    reports = 0
    for command in (
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--capture=sys",
         "-n", str(jobs), "--benchmark-disable", "-m", "not slow", "-k", f"not {BRIEF_NOT}",
         *tests],
        ["tools/simulate.py", "--seconds", str(BRIEF_SIMULATION_S), "--jobs", str(jobs),
         *(["--seed", str(seed)] if seed is not None else [])],
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=folder, env=surroundings(folder), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        found = sum(done.stdout.count(word) for word in REPORTS)
        wrong = max(found, 1) if done.returncode else found
        lines = done.stdout.splitlines()
        print("\n".join(lines if wrong else lines[-1:]), flush=True)
        reports += wrong
    return reports


def run(paths: list[Path], folder: Path, jobs: int, brief: bool) -> int:
    """The captures shared out between processes; how many reports there were."""
    env = surroundings(folder)
    how = ["--brief"] if brief else []
    shares: list[list[Path]] = [[] for _ in range(jobs)]
    for path in sorted(paths, key=lambda path: -path.stat().st_size):
        min(shares, key=lambda share: sum(p.stat().st_size for p in share)).append(path)
    running = [
        subprocess.Popen(
            [sys.executable, folder / "tools" / "sanitize.py", "--inside", *how, *share],
            cwd=folder,
            env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for share in shares if share
    ]
    reports = 0
    for process in running:
        text, _ = process.communicate()
        print(text, end="")
        found = sum(text.count(word) for word in REPORTS)
        reports += max(found, 1) if process.returncode else found
    return reports


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--brief", action="store_true", help="what every change has to pass")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, help="of the simulation; a fresh one if not given")
    parser.add_argument("captures", nargs="*")
    options = parser.parse_args()
    if options.inside:
        return inside([Path(name) for name in options.captures], options.brief)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fwcore-sanitize-") as temporary:
        folder = copy_to(Path(temporary) / "fwcore")
        flags = f"{FLAGS} {BRIEF_FLAGS}" if options.brief else FLAGS
        built = build(folder, flags, "-fsanitize=address,undefined")
        if built.returncode:
            print(built.stdout)
            return 1
        reports = run(captures(options.captures), folder, options.jobs, options.brief)
        if options.brief:
            reports += together(folder, options.jobs, options.seed)
    print(f"sanitize: {reports} reports in {time.monotonic() - begin:.0f} s")
    return 1 if reports else 0


# --- inside: what is looked at ------------------------------------------------------------------


def exactly(data):
    """A copy in memory that ends with its last byte."""
    import numpy as np

    copy = np.empty(len(data), np.uint8)
    copy[:] = np.frombuffer(data, np.uint8)
    return copy


def replay(path: Path, personality: str, chunk_size: int, group: int, small: bool) -> None:
    import fwcore
    from fwcore.errors import CaptureError
    from fwcore.replay import replay as judge

    settings = fwcore.load(personality, assignments=SMALL if small else ["seed=1"])
    try:
        result = judge(str(path), settings, chunk_size=chunk_size, group=group)
    except CaptureError:
        return
    broken = [name for name, holds in result["laws"].items() if not holds]
    if broken:
        raise SystemExit(f"sanitize: {path}: {personality}: broken laws: {broken}")


def cut_file(path: Path, folder: Path, most: int) -> int:
    """Replays beginnings of a file, each out of memory that ends with it; how many."""
    data = path.read_bytes()
    step = max(1, len(data) // most)
    cuts = sorted({*range(1, min(len(data), 300, most)), *range(1, len(data), step)})
    if step > 1 and len(data) > 200_000:  # each cut reads all before it
        cuts = cuts[::10]
    target = folder / f"cut{path.suffix}"
    for cut in cuts:
        target.write_bytes(data[:cut])
        read_all(target)
    return len(cuts)


def read_all(path: Path) -> None:
    from fwcore.capture import open_capture
    from fwcore.errors import FwcoreError

    try:
        with open_capture(str(path)) as reader:
            for chunk in reader:
                len(chunk)
    except FwcoreError:
        pass


def beginnings(memory, cuts, wire: int, link: int):
    """One frame captured so far as each cut says, as a chunk that ends with its memory."""
    import numpy as np

    from fwcore.capture import Chunk

    same = np.ones(len(cuts), np.uint32)
    return Chunk(memory, np.zeros(len(cuts), np.uint64), np.array(cuts, np.uint32), same * wire,
                 np.zeros(len(cuts), np.int64), (same * link).astype(np.uint16))


def cut_frames(path: Path, seen: set[tuple[bytes, int, int]], step: int) -> int:
    """Parses every prefix of each ``step``th frame that differs from those before; how many."""
    from fwcore._columns import parse, parse_columns
    from fwcore.capture import open_capture
    from fwcore.errors import FwcoreError

    prefixes = 0
    try:
        with open_capture(str(path)) as reader:
            for chunk in reader:
                for i in range(0, len(chunk), step):
                    frame, wire, link = chunk.frame(i), int(chunk.length[i]), int(chunk.link[i])
                    if (frame[:PREFIX_MAX], wire, link) in seen:
                        continue
                    seen.add((frame[:PREFIX_MAX], wire, link))
                    size = len(frame)
                    cuts = {*range(min(size, PREFIX_MAX) + 1), *range(PREFIX_MAX, size, 97), size}
                    for cut in cuts:
                        memory = exactly(frame[:cut])
                        parse(memory, wire, link)
                        parse(memory, wire, link, shortcut=False)
                        prefixes += 1
                    whole = exactly(frame)
                    parse(whole, link=link, zone=True, shift=7)
                    parse_columns(beginnings(whole, sorted(cuts), wire, link), zone=True)
    except FwcoreError:
        pass
    return prefixes


def restart() -> None:
    """A table made smaller and larger while a firewall runs; figures are read after each."""
    import fwcore
    from fwcore.capture import synth

    with fwcore.Engine(fwcore.load("cos-core", assignments=["max_connections=4096"])) as engine:
        for chunk in synth.make("uniform", sessions=4000, packets=8000):
            engine.process(chunk)
        for connections in (16, 8192, 1):
            engine.restart(max_connections=connections)
            engine.fastpath.hosts()
            engine.fastpath.audit()


def inside(paths: list[Path], brief: bool) -> int:
    """What runs under the sanitizers."""
    from fwcore.capture import stream

    class ExactSource(stream.MappedSource):
        def __init__(self, file):
            super().__init__(file)
            self.data = exactly(self.data.tobytes())

    seen: set[tuple[bytes, int, int]] = set()
    totals: collections.Counter[str] = collections.Counter()
    restart()
    stream.MappedSource = ExactSource
    with tempfile.TemporaryDirectory(prefix="fwcore-cut-") as temporary:
        for path in paths:
            for personality in BRIEF_PERSONALITIES if brief else PERSONALITIES:
                for chunk_size, group, small in ((8192, 32, False), (7, 2, True), (4096, 64, True)):
                    replay(path, personality, chunk_size, group, small)
            totals["files"] += 1
            totals["cuts"] += cut_file(path, Path(temporary), BRIEF_CUTS if brief else FILE_CUTS)
            totals["prefixes"] += cut_frames(path, seen, BRIEF_STEP if brief else 1)
    print(f"sanitize: {totals['files']} files, {totals['cuts']} beginnings of files,"
          f" {totals['prefixes']} beginnings of frames", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
