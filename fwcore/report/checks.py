"""What was checked, for a job's page: JUnit for its list of tests, markdown for its summary.

A replay checks that its outcome is the one that was expected, that every law holds, and that each
capture was read to its end; ``fwcore bench`` that no benchmark became slower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from fwcore import units
from fwcore.escape import visible
from fwcore.outfile import Output
from fwcore.report import answer, facts
from fwcore.result import Result


class Check(NamedTuple):
    """One thing that was checked. ``failed``: why it failed, '' where it did not."""

    name: str
    failed: str = ""


def of_replay(result: Result, held: Mapping[str, Sequence[str]]) -> list[Check]:
    """``held``: what the run was held against, by name: why it does not hold, nothing where it
    does."""
    found = [Check(name, "\n".join(lines)) for name, lines in held.items()]
    if result.data.get("interrupted"):
        found.append(Check("run to the end", f"interrupted after packet {result.data['packets']}"))
    for row in result.data["inputs"]:
        fault = row.get("fault")
        why = fault["message"] if isinstance(fault, dict) else fault
        found.append(Check(f"capture {row['path']}", f"{why}" if why else ""))
    broken = facts.broken_laws(result)
    return found + [Check(f"law {name}", "two sources of one figure disagree" * (name in broken))
                    for name in result.data["laws"]]


def junit(checks: Sequence[Check], suite: str) -> bytes:
    """A JUnit file: a test suite with a case a check."""
    failures = sum(bool(check.failed) for check in checks)
    root = ElementTree.Element("testsuites")
    node = ElementTree.SubElement(root, "testsuite", {
        "name": suite, "tests": str(len(checks)), "failures": str(failures), "errors": "0"})
    for check in checks:
        case = ElementTree.SubElement(
            node, "testcase", {"classname": suite, "name": visible(check.name)})
        if check.failed:
            lines = [visible(line) for line in check.failed.splitlines()]
            ElementTree.SubElement(case, "failure", {"message": lines[0]}).text = "\n".join(lines)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root) + b"\n"


def junit_of_error(message: str) -> bytes:
    """The JUnit file of a run that could not be."""
    return junit([Check("run", message)], "fwcore replay")


def markdown_of_error(message: str) -> str:
    """The summary of a run that could not be."""
    return f"### fwcore replay\n\n{_plain(message)}\n"


def markdown(result: Result, checks: Sequence[Check]) -> str:
    """What happened, and what was checked: one line where all holds."""
    failed = [check for check in checks if check.failed]
    names = ", ".join(str(row["path"]) for row in result.data["inputs"])
    lines = [f"### {_plain(names)}", "", *map(_plain, answer.sentences(result)), "",
             f"{units.plural(len(checks), 'check')}, {units.count(len(failed))} failed"]
    if failed:
        lines += ["", "| check | |", "|---|---|"]
        lines += [f"| {_plain(check.name)} | {'<br>'.join(map(_plain, check.failed.splitlines()))}"
                  " |" for check in failed]
    return "\n".join([*lines, ""])


def _plain(text: str) -> str:
    """Text that says nothing to markdown or HTML."""
    shown = visible(text).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{each}" if each in "\\`*_[]|#" else each for each in shown)


def write(path: str, data: bytes | str) -> None:
    """A whole file, in its place when it is written. Raises OutputError."""
    with Output(path) as output:
        output.write(data if isinstance(data, bytes) else data.encode())
