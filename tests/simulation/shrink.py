"""The smallest case that still fails in the same way.

Everything is tried in a child of its own, for a case may crash or never end.
"""

from __future__ import annotations

import dataclasses
import os
import re
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from simulation.case import Case

HANG_S = 60  # of the processor's time: a machine may be busy with something else
WAIT_S = 20 * HANG_S  # for what does not even work


def failure_of(deed: Callable[[], Any], seconds: int = HANG_S, wait: float = WAIT_S) -> str:
    """What becomes of a deed in a child: "" or its error, the signal that killed it, a hang.

    ``seconds`` of the processor's time are its own, ``wait`` seconds may pass.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        text = ""
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        try:
            deed()
        except BaseException as error:
            text = told(error)
        os.write(writer, text.encode()[:60_000])
        os._exit(0)
    os.close(writer)
    text, ended = "", False
    if select.select([reader], [], [], wait)[0]:
        text, ended = os.read(reader, 65_536).decode(errors="replace"), True
    os.close(reader)
    if not ended:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if not ended or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        return f"hang: no end after {seconds} s of work"
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else text


def told(error: BaseException) -> str:
    """An error as one line; where it came from, unless it is a difference."""
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(error, AssertionError) and str(error):
        return line
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{line} ({os.path.basename(last.filename)}:{last.lineno})"


def kind(failure: str) -> str:
    """Failures that are taken for the same: figures do not count."""
    return re.sub(r"\d+|\[.*?\]", "#", failure)[:48]


def smallest(case: Case, failure: str, seconds: float = 120.0) -> tuple[Case, str]:
    """A case without what can be left out, and how it fails.

    Any difference is taken for the one looked for: with fewer packets another figure shows first.
    """
    deadline = time.monotonic() + seconds
    hang_s = HANG_S // 10 if failure.startswith("hang") else HANG_S
    wanted = failure.split()[0]

    def fails(candidate: Case) -> str:
        from simulation.case import run

        found = failure_of(lambda: run(candidate), hang_s)
        return found if found.startswith(wanted) else ""

    best, again = case, True
    while again:
        again = False
        for simpler in (without_steps, without_settings, without_packets, without_rows,
                        one_by_one, without_bytes):
            for candidate in simpler(best):
                if time.monotonic() > deadline:
                    return best, failure
                if found := fails(candidate):
                    best, failure, again = candidate, found, True
                    break
            if again:
                break
    return best, failure


def runs(length: int) -> Iterator[tuple[int, int]]:
    """Parts of a list to leave out, largest first."""
    size = length
    while size:
        for at in range(length - size, -1, -size):
            yield at, at + size
        size //= 2


def without_steps(case: Case) -> Iterator[Case]:
    for low, high in runs(len(case.steps)):
        yield dataclasses.replace(case, steps=case.steps[:low] + case.steps[high:])


def without_packets(case: Case) -> Iterator[Case]:
    for at, (verb, *rest) in enumerate(case.steps):
        for low, high in runs(len(rest[1])) if verb == "packets" else ():
            fewer = rest[1][:low] + rest[1][high:]
            if fewer:
                steps = [*case.steps[:at], (verb, rest[0], fewer), *case.steps[at + 1:]]
                yield dataclasses.replace(case, steps=steps)


def one_by_one(case: Case) -> Iterator[Case]:
    """Each packet of a step as a step of its own."""
    for at, step in enumerate(case.steps):
        if step[0] != "packets" or len(step[2]) == 1:
            continue
        singles = [("packets", 1, [packet]) for packet in step[2]]
        yield dataclasses.replace(case, steps=[*case.steps[:at], *singles, *case.steps[at + 1:]])


def without_settings(case: Case) -> Iterator[Case]:
    """Settings and options left out, many at once first."""
    for part in ("settings", "options"):
        given = list(getattr(case, part).items())
        for low, high in runs(len(given)):
            yield dataclasses.replace(case, **{part: dict(given[:low] + given[high:])})


def without_rows(case: Case) -> Iterator[Case]:
    """Policies and rows of pressure left out; then changes of a step."""
    for name in ("policies", "pressure"):
        rows = case.settings.get(name, [])
        for low, high in runs(len(rows)):
            fewer = case.settings | {name: rows[:low] + rows[high:]}
            yield dataclasses.replace(case, settings=fewer)
    for at, step in enumerate(case.steps):
        if step[0] in ("configure", "restart") and len(step[1]) > 1:
            for name in step[1]:
                given = {key: value for key, value in step[1].items() if key != name}
                steps = [*case.steps[:at], (step[0], given), *case.steps[at + 1:]]
                yield dataclasses.replace(case, steps=steps)


def without_bytes(case: Case) -> Iterator[Case]:
    """Frames cut to their headers, to nothing."""
    for at, step in enumerate(case.steps):
        if step[0] != "packets":
            continue
        for cut in (0, 14, 34, 54):
            packets = [(now, data[:cut], *rest) for now, data, *rest in step[2]]
            if packets != [tuple(packet) for packet in step[2]]:
                steps = [*case.steps[:at], ("packets", step[1], packets), *case.steps[at + 1:]]
                yield dataclasses.replace(case, steps=steps)
