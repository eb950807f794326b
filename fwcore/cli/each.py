"""replay --each: a run for each capture, with the same settings, and one table of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fwcore import preflight, terminal, units
from fwcore.cli import exits, running
from fwcore.errors import FwcoreError
from fwcore.escape import visible

if TYPE_CHECKING:
    from fwcore.result import Result

HEAD = ("capture", "packets", "inspect", "bypass", "drop", "taken", "conserve", "exit")
ROOM = 22  # of a capture's name


def run(captures: Sequence[str], settings: Any, given: dict[str, Any]) -> int:
    """The gravest exit code. One capture that cannot be read does not keep the others back."""
    for option, name in running.SAVED.items():
        if given[name] and len(captures) > 1 and "{name}" not in given[name]:
            raise FwcoreError(f"{option} {given[name]}: with --each it has {{name}} in it, like"
                              " 'ci/{name}.json', for a result of each capture")
    rows, codes = [], []
    for capture in captures:
        result, code = _one(capture, settings, _named(given, capture))
        rows.append(_row(capture, result, code))
        codes.append(code)
        if result is not None and result.data.get("interrupted"):
            break
    quiet = given["quiet"] or given["json_file"] == "-"
    return exits.last("" if quiet else table(rows), exits.gravest(*codes))


def _named(given: Mapping[str, Any], capture: str) -> dict[str, Any]:
    """The options with this capture's files: {name} in a path is its name."""
    return {name: preflight.for_capture(value, capture)
            if name.endswith("_file") and name not in ("settings_file", "policy_file")
            and isinstance(value, str) else value for name, value in given.items()}


def _one(capture: str, settings: Any, given: dict[str, Any]) -> tuple[Result | None, int]:
    try:
        with running.checked(given):
            saved = running.saved_results(given)
            result = running.replay([capture], settings, given)
    except FwcoreError as error:
        return None, exits.fail(str(error), error.exit_code)
    differ = running.differences(result, saved)
    written = exits.gravest(running.write_files(result, given),
                            running.write_checks(result, given, differ))
    spoken = exits.last(_said(capture, result, given), 0)
    return result, exits.gravest(exits.of_replay(result, written, None),
                                 exits.of_expected(result, differ, capture), spoken)


def _said(capture: str, result: Result, given: Mapping[str, Any]) -> str:
    """The answer alone; the figures of all stand in the table."""
    if given["json_file"] == "-":
        return result.to_json()
    if given["quiet"]:
        return ""
    from fwcore.report import answer, text

    style = terminal.style()
    lines = [line for told in answer.sentences(result) for line in text.fold(told, text.WIDTH - 2)]
    return "\n".join([style.paint(visible(capture), "strong"), *(f"  {line}" for line in lines),
                      ""]) + "\n"


def _row(capture: str, result: Result | None, code: int) -> list[str]:
    from fwcore.report import answer

    if result is None:
        return [visible(capture), *[""] * (len(HEAD) - 2), str(code)]
    data = result.data
    spent = sum(value for mode, value in data["conserve"]["seconds"].items() if mode != "off")
    figures = [data["packets"], *(data["verdicts"][name] for name in ("inspect", "bypass", "drop")),
               answer.taken(result)]
    return [visible(capture), *map(units.count, figures), units.seconds(spent) if spent else "-",
            str(code)]


def table(rows: Sequence[Sequence[str]]) -> str:
    """A row a capture; long names stand at their ends, where they differ."""
    from fwcore.report import text

    found = [list(HEAD), *([_short(row[0]), *row[1:]] for row in rows)]
    return "\n".join(text.columns(found, [""] * len(HEAD), terminal.style())) + "\n"


def _short(name: str) -> str:
    return name if len(name) <= ROOM else "..." + name[3 - ROOM:]
