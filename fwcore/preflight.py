"""What can be known before packet 1: outputs that could not be written, settings that do nothing.

A run may take hours; a missing directory or an extra that is not installed is said at its start.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fwcore.errors import FwcoreError, MissingExtra
from fwcore.outfile import Named, check_apart

TABLES, PICTURES = (".csv", ".jsonl", ".parquet"), (".png", ".svg", ".pdf")
BLOCKS = (*TABLES, "")     # of a row a packet: CSV where the name does not say
OUTPUTS: Mapping[str, tuple[str, ...]] = {  # name of an output -> the endings it may have
    "json": (), "html": (), "plot": PICTURES, "state": (), "write": (), "verdicts": BLOCKS,
    "sessions": BLOCKS, "victims": TABLES, "timeline": TABLES, "output": (), "markdown": (),
    "junit": (), "flows": TABLES, "departures": BLOCKS, "events": (),
}  # fmt: skip
ROWS = ("verdicts", "departures", "sessions", "victims", "timeline", "flows")
CAPTURES = (".pcap", ".pcapng", ".cap", ".gz", ".zst", ".dmp")
STREAMS = ("json", "write", "output", "events")     # may be "-"


def check_outputs(outputs: Mapping[str, str], inputs: Iterable[Named] = ()) -> None:
    """Raises FwcoreError for the first path (by name of its output) that cannot be written.

    Also for one that is an input or another output. ``inputs``: what each is called, its path.
    """
    named = [(f"--{name}" if name != "output" else "FILE", path) for name, path in outputs.items()]
    if "-" not in outputs.values():
        named.insert(0, ("standard output", "-"))
    check_apart(named, inputs)
    for name, path in outputs.items():
        if path == "-":
            if name not in STREAMS:
                raise FwcoreError(f"--{name} -: standard output takes JSON or a capture only; name"
                                  " a file")
            continue
        _check_path(path)
        ending = Path(path).suffix.lower()
        if OUTPUTS[name] and ending not in OUTPUTS[name]:
            endings = " or ".join(filter(None, OUTPUTS[name]))
            raise FwcoreError(f"{path}: --{name} is written as {endings}")
        if name == "html":
            _check_extra(path, "the page", "bokeh", "report")
        elif name == "plot":
            _check_extra(path, "a picture", "matplotlib", "report")
        elif ending == ".parquet" and name in ROWS:
            _check_extra(path, "Parquet", "pyarrow", "parquet")


def for_capture(path: str, capture: str) -> str:
    """A path for one of several captures: {name} is its name without endings like .pcap.gz."""
    name = Path(capture).name
    while Path(name).suffix.lower() in CAPTURES:
        name = Path(name).stem
    return path.replace("{name}", "stdin" if capture == "-" else name)


def check_each(
    outputs: Mapping[str, str], captures: Sequence[str], merge: bool, outcome: str | None,
) -> None:
    """Raises FwcoreError where several runs would write one file, or cannot be several."""
    if merge:
        raise FwcoreError("--each is a run for each capture, --merge one for all: use one of them")
    if outcome is not None and len(captures) > 1:
        raise FwcoreError("--expect-outcome is of one run: with --each hold every capture against"
                          " a result of its own (--expect '{name}.json')")
    for name, path in outputs.items():
        if path == "-":
            if name != "json" and len(captures) > 1:
                raise FwcoreError(f"--{name} -: of several runs only JSON goes to standard output")
            continue
        made: dict[str, str] = {}
        for capture in captures:
            other = made.setdefault(for_capture(path, capture), capture)
            if len(made) < 2 and other is not capture and "{name}" not in path:
                raise FwcoreError(f"--{name} {path}: several runs would write it; put {{name}} into"
                                  " its path, which becomes the capture's name")
            if other is not capture:
                raise FwcoreError(f"--{name} {path}: {other} and {capture} would both write"
                                  f" {for_capture(path, capture)}: replay them apart")


def _check_path(path: str) -> None:
    where = Path(path)
    if where.is_dir():
        raise FwcoreError(f"{path}: cannot be written (it is a directory)")
    if not where.parent.exists():
        raise FwcoreError(f"{path}: cannot be written (there is no directory {where.parent})")
    if not where.parent.is_dir():
        raise FwcoreError(f"{path}: cannot be written ({where.parent} is no directory)")
    if not os.access(where if where.exists() else where.parent, os.W_OK):
        raise FwcoreError(f"{path}: cannot be written (permission denied)")


def _check_extra(path: str, what: str, module: str, extra: str) -> None:
    if find_spec(module) is None:
        raise MissingExtra(f"{path}: {what} needs {module}: pip install 'fwcore[{extra}]'")


def notes(settings: Any, loop: int) -> Iterator[str]:
    """What these settings will not do, a line each."""
    from fwcore.policy import parse

    policies = parse(settings.policies)
    if settings.machine != "none" and not any(policy.inspection for policy in policies):
        nothing = "conserve mode will change nothing"
        before = " before extreme" if settings.machine == "unified" else " about inspection"
        yield f"no policy inspects anything: {nothing}{before}; see --policy"
    given = settings.given
    if settings.tracker == "linux" and "max_connections" in given and "buckets" not in given:
        yield (f"buckets = {settings.buckets}, as of a machine that was made for max_connections ="
               f" {settings.max_connections}; where nf_conntrack_max alone was changed, its"
               " nf_conntrack_buckets stay: --set nf_conntrack_buckets=N")
    if loop > 1 and any(policy.destination for policy in policies):
        yield (
            f"--loop {loop}: later turns have other addresses (all but the first octet move), so"
            " policies by destination may not match them"
        )
