"""Fuzzing guided by coverage: readers, parser and whole engine (tests/simulation/targets.py).

    python tools/fuzz.py [--seconds 600] [--jobs 2] [--keep] [TARGET ...]
    python tools/fuzz.py --input FILE TARGET

Needs clang and Atheris (Linux on x86-64); without them it says so and ends with 0. The extensions
are built in a copy by clang with coverage, asserts, Address- and UndefinedBehaviorSanitizer; then
libFuzzer runs each target for its share of the time, from the inputs in tests/corpus. What it found
is left in out/fuzz; the end is 1 when anything failed. `--keep` puts the inputs that together reach
everything seen into tests/corpus. `--input` runs one in the checkout as it is built, and shrinks
a case to a program of a few lines.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from scratch import ROOT, build, copy_to, environment
from simulation.corpus import corpus, corpus_store

NAMES = ("readers", "parser", "engine", "columns", "demand")
FLAGS = ("-g -O1 -w -DFWCORE_DEBUG=1 -fno-omit-frame-pointer"
         " -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined")
FOUND = ROOT / "out" / "fuzz"
MOST_BYTES = {"readers": 2048, "parser": 1024, "engine": 2048, "columns": 1024, "demand": 512}
INPUT_S = 60  # of one input: the sanitizers are slow, a machine may be busy


def missing() -> str:
    """Why there can be no fuzzing here, or ""."""
    if not shutil.which("clang"):
        return "clang is missing"
    return "" if importlib.util.find_spec("atheris") else "Atheris is missing"


def command(folder: Path, target: str) -> list[str]:
    return [sys.executable, str(folder / "tools" / "fuzz.py"), "--inside", target]


def surroundings(folder: Path) -> dict[str, str]:
    """Atheris' runtime of sanitizer and fuzzer has to be loaded first."""
    package = Path(importlib.util.find_spec("atheris").origin).parent  # type: ignore[union-attr]
    return environment(
        folder, LD_PRELOAD=str(package.parent / "asan_with_fuzzer.so"),
        ASAN_OPTIONS="detect_leaks=0:handle_segv=1:abort_on_error=0",
        UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")


def fuzz(folder: Path, target: str, seconds: float) -> bool:
    """Runs one target; whether it failed."""
    grown, known = folder / "grown" / target, folder / "known" / target
    grown.mkdir(parents=True)
    known.mkdir(parents=True)
    for name, data in corpus(target).items():
        (known / name).write_bytes(data)
    done = subprocess.run(
        [*command(folder, target), str(grown), str(known), f"-max_total_time={seconds:.0f}",
         f"-max_len={MOST_BYTES[target]}", f"-timeout={INPUT_S}",
         f"-artifact_prefix={FOUND}/{target}-", "-rss_limit_mb=4096"],
        cwd=folder, env=surroundings(folder), text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    lines = done.stdout.splitlines()
    last = [line for line in lines if " cov: " in line][-1:]
    print(f"fuzz: {target}: {last[0].strip() if last else 'no input was run'}", flush=True)
    if done.returncode:
        print("\n".join(lines[-60:]))
        print(f"again: make fuzz INPUT=out/fuzz/{target}-... TARGET={target}", flush=True)
    return done.returncode != 0


def keep(folder: Path, target: str) -> None:
    """The inputs that together reach all that the corpus and what has grown from it reach."""
    kept = folder / "kept" / target
    kept.mkdir(parents=True)
    subprocess.run(
        [*command(folder, target), "-merge=1", f"-max_len={MOST_BYTES[target]}", str(kept),
         str(folder / "known" / target), str(folder / "grown" / target)],
        cwd=folder, env=surroundings(folder), check=True, capture_output=True)
    inputs = {path.name: path.read_bytes() for path in kept.iterdir()}
    corpus_store(target, inputs)
    print(f"fuzz: {target}: {len(inputs)} inputs kept", flush=True)


def inside(target: str, arguments: list[str]) -> None:
    """The fuzzer's process: the bytes it makes up go into the target."""
    import atheris

    with atheris.instrument_imports(include=["fwcore.capture"]):
        from simulation.targets import TARGETS
    atheris.Setup([sys.argv[0], *arguments], TARGETS[target])
    atheris.Fuzz()


def again(path: str, target: str) -> int:
    """One input in this build; what fails is shrunk where it is a case."""
    from simulation.shrink import failure_of, smallest
    from simulation.targets import CASES, TARGETS

    data = Path(path).read_bytes()
    failure = failure_of(lambda: TARGETS[target](data))
    print(f"fuzz: {path}: {failure or 'nothing fails'}")
    if failure and target in CASES:
        case, failure = smallest(CASES[target](data), failure)
        print(f"smallest: {failure}\n\n{case.program()}")
    return 1 if failure else 0


def main() -> int:
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2], sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="into the corpus")
    parser.add_argument("--input", help="only this one, without a fuzzer")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    options = parser.parse_args()
    if wrong := set(options.targets) - set(NAMES):
        parser.error(f"no such target: {', '.join(sorted(wrong))}")
    targets = options.targets or list(NAMES)
    if options.input:
        return again(options.input, targets[0])
    if why := missing():
        print(f"fuzz: skipped: {why} (apt-get install clang; pip install 'fwcore[fuzz]')")
        return 0
    os.makedirs(FOUND, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fwcore-fuzz-") as temporary:
        folder = copy_to(Path(temporary) / "fwcore")
        built = build(folder, FLAGS, CC="clang", LDSHARED="clang -shared")
        if built.returncode:
            print(built.stdout)
            return 1
        share = options.seconds * min(options.jobs, len(targets)) / len(targets)
        with ThreadPoolExecutor(options.jobs) as pool:
            failed = list(pool.map(lambda target: fuzz(folder, target, share), targets))
        if options.keep and not any(failed):
            for target in targets:
                keep(folder, target)
    return 1 if any(failed) else 0


if __name__ == "__main__":
    sys.exit(main())
