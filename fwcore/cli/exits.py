"""How a command ends. Results go to standard output, progress and errors to standard error.

An error is one line that begins with "fwcore:". Of several exit codes the gravest stands: 5, then
an interruption, then 2, 3, 4, and a closed pipe last. Exit codes:

    0  done
    1  a defect of fwcore; FWCORE_DEBUG=1 shows where
    2  usage, settings, or a file that cannot be read or written
    3  a fault within a capture; what came before it was processed
    4  what was expected differs or is worse, or a benchmark is too slow
    5  a law is broken: two sources of one figure disagree
  130  interrupted (INT); what was done until then is reported
  129  the same by HUP; 143 by TERM; 141 by a closed pipe, after all files
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fwcore import terminal
from fwcore.errors import FwcoreError, OutputError, PipeClosed

if TYPE_CHECKING:
    from fwcore.result import Result

DONE, DEFECT, USAGE, FAULT, EXPECTATION, INTERRUPTED = 0, 1, 2, 3, 4, 130
TEXT = (__doc__ or "").partition("Exit codes:\n\n")[2]


def gravest(*codes: int) -> int:
    """Of several exit codes the one that stands; 0 of none."""
    order = (5, DEFECT, INTERRUPTED, 143, 129, USAGE, FAULT, EXPECTATION, 141, DONE)
    return min(codes, key=order.index, default=DONE)


def fail(message: str, code: int) -> int:
    """Says what went wrong; the code, for ``return``."""
    terminal.note(f"fwcore: {message}")
    return code


def attempt(do: Callable[..., Any], *given: Any) -> int:
    """Writes one output; 0, or the exit code after it was said why not. A closed pipe is silent."""
    try:
        do(*given)
    except PipeClosed as error:
        return error.exit_code
    except FwcoreError as error:
        return fail(str(error), error.exit_code)
    except MemoryError:
        return fail("an output could not be made: not enough memory", USAGE)
    return DONE


def last(text: str, code: int) -> int:
    """Says a result when all files are written; the exit code, which a closed pipe hides not."""
    try:
        terminal.say(text)
    except PipeClosed as error:
        return gravest(code, error.exit_code)
    except OutputError as error:
        return gravest(code, fail(str(error), USAGE))
    return code


def of_inputs(inputs: Iterable[Mapping[str, Any]]) -> int:
    """FAULT if a capture has one, else DONE, with a line for each fault and note."""
    code = DONE
    for row in inputs:
        for note in row.get("notes", ()):
            fail(f"note: {row['path']}: {note}", DONE)
        if row.get("fault"):
            fault = row["fault"]
            where = f" at byte {fault['byte_offset']}" if isinstance(fault, dict) else ""
            what = fault["message"] if isinstance(fault, dict) else fault
            code = fail(f"{row['path']}: {what}{where}; everything before it was processed", FAULT)
    return code


def of_replay(result: Result, written: int, expected: str | None) -> int:
    """The exit code, with a line on standard error for everything that went wrong.

    ``written``: the code of the outputs.
    """
    from fwcore.report import facts

    broken = facts.broken_laws(result)
    if broken:
        fail(f"broken laws: {', '.join(broken)}: this is a defect of fwcore", 5)
    of_inputs(result.data.get("inputs", ()))
    for said in (facts.short_frames(result), facts.pressure_late(result)):
        if said:
            fail(f"note: {said}", DONE)
    for row in result.data.get("lost", ()):
        fail(row["message"], USAGE)
    code = result.exit_code
    if result.data.get("interrupted") and result.data.get("interrupted_by") != "SIGPIPE":
        left = result.data.get("unjudged", 0)
        rest = f"; {left} more had been read, and were not judged" if left else ""
        fail(f"interrupted after packet {result.data['packets']}{rest}", code)
    differs = expected is not None and expected != result.data["outcome"]
    if differs and not result.data.get("interrupted"):
        here, there = (each.partition(":")[0] for each in (result.data["outcome"], str(expected)))
        version = f": made by another version, whose outcomes begin with {there}:"
        fail(f"outcome {result.data['outcome']}, expected {expected}{version * (here != there)}",
             EXPECTATION)
    return gravest(code, written, EXPECTATION if differs and code in (DONE, FAULT) else DONE)


def of_expected(result: Result, differ: Mapping[str, Sequence[str]], whose: str = "") -> int:
    """EXPECTATION where a run does not hold against a saved result: by option, lines that say why;
    ``whose``: of which of several captures."""
    if result.data.get("interrupted"):
        return DONE
    for option, lines in differ.items():
        for line in lines:
            fail(f"{whose + ': ' if whose else ''}{option}: {line}", EXPECTATION)
    return EXPECTATION if any(differ.values()) else DONE
