"""A replay with a progress line, signals that finish it, and the files made from its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fwcore.cli import exits
from fwcore.errors import FwcoreError

if TYPE_CHECKING:
    from fwcore.result import Result


SAVED = {"--expect": "expect_file", "--no-worse": "no_worse_file"}


def replay(captures: Sequence[str], settings: Any, given: dict[str, Any], **more: Any) -> Result:
    """Calls the replay with the shared options."""
    from fwcore import replay as module

    files = {
        name: given[f"{name}_file"]
        for name in ("write", "verdicts", "departures", "sessions", "state")
        if given.get(f"{name}_file")
    }
    with _asked(given) as asked:
        return module.replay(
            list(captures), settings, pace=given.get("pace", False), focus=given.get("focus"),
            addresses=given.get("addresses", False), lru=given.get("lru", False),
            **asked, **files, **more,
        )  # fmt: skip


def replay_beside(
    captures: Sequence[str], settings: Sequence[Any], given: dict[str, Any], **more: Any,
) -> list[Result]:
    """The same under several settings, side by side."""
    from fwcore.replay.beside import replay_beside as beside

    with _asked(given) as asked:
        return beside(list(captures), settings, **asked, **more)


@contextmanager
def _asked(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The options of whoever replays, with a progress line, and signals that finish it."""
    from fwcore.interruption import Interruption
    from fwcore.terminal import Progress

    with Interruption() as interruption, Progress(given.get("quiet", False)) as progress:
        yield {
            "timing": given["timing"], "loop": given["loop"], "limit": given["limit"],
            "reader": given["reader"], "filter": given["filter_"],
            "chunk_size": given["chunk_size"], "threads": given["threads"],
            "merge": given.get("merge", False), "progress": progress,
            "interruption": interruption,
        }  # fmt: skip


def write_files(result: Result, given: dict[str, Any]) -> int:
    """The files that are made from a result, in the order in which they cost time.

    Each is tried, whatever became of the others; the exit code.
    """
    codes = [0]
    if given.get("json_file") not in (None, "-"):
        codes.append(exits.attempt(result.to_json, given["json_file"]))
    for name in ("victims", "timeline"):
        if given.get(f"{name}_file"):
            from fwcore import rows

            codes.append(exits.attempt(rows.write, result.array(name), given[f"{name}_file"]))
    if given.get("plot_file"):
        from fwcore.report import plot

        codes.append(exits.attempt(plot.write, result, given["plot_file"]))
    if given.get("html_file"):
        from fwcore.report import html

        codes.append(exits.attempt(html.write, result, given["html_file"]))
    return exits.gravest(*codes)


def saved_results(given: dict[str, Any]) -> dict[str, Result]:
    """What the run will be held against, by option: --expect, --no-worse. Read before it."""
    from fwcore.result import Result

    return {option: Result.load(given[name])
            for option, name in SAVED.items() if given[name]}


def differences(result: Result, saved: dict[str, Result]) -> dict[str, list[str]]:
    """By option: what differs, or is worse; nothing where it holds."""
    if not saved:
        return {}
    from fwcore.report import expect

    ask = {"--expect": expect.differences, "--no-worse": expect.worse}
    return {option: ask[option](result, other) for option, other in saved.items()}


def write_checks(result: Result, given: dict[str, Any], differ: dict[str, list[str]]) -> int:
    """--junit and --markdown; the exit code."""
    if not given["junit_file"] and not given["markdown_file"]:
        return exits.DONE
    from fwcore.report import checks

    names = {"--expect": "outcome", "--no-worse": "no worse"}
    held = {names[option]: lines for option, lines in differ.items()}
    wanted = given["expect_outcome"]
    if wanted:
        other = [f"outcome {result.data['outcome']}, expected {wanted}"]
        held["outcome"] = other * (wanted != result.data["outcome"]) + held.get("outcome", [])
    found = checks.of_replay(result, held)
    codes = [exits.DONE]
    if given["junit_file"]:
        codes.append(exits.attempt(
            checks.write, given["junit_file"], checks.junit(found, "fwcore replay")))
    if given["markdown_file"]:
        codes.append(exits.attempt(
            checks.write, given["markdown_file"], checks.markdown(result, found)))
    return exits.gravest(*codes)


@contextmanager
def checked(given: dict[str, Any]) -> Iterator[None]:
    """Around a run: where there is no result, --junit and --markdown say why, so that none of an
    earlier run stands for this one."""
    try:
        yield
    except FwcoreError as error:
        from fwcore.report import checks

        if given["junit_file"]:
            exits.attempt(checks.write, given["junit_file"], checks.junit_of_error(str(error)))
        if given["markdown_file"]:
            exits.attempt(
                checks.write, given["markdown_file"], checks.markdown_of_error(str(error)))
        raise


def said(result: Result, given: dict[str, Any]) -> str:
    """What goes to standard output: the summary, the JSON, or nothing."""
    if given.get("json_file") == "-":
        return result.to_json()
    if given["quiet"] or given.get("write_file") == "-":
        return ""
    from fwcore import terminal
    from fwcore.report import text

    return text.summary(result, terminal.style())


def json_or_text(data: Any, json_file: str | None, text: Callable[[], str]) -> int:
    """JSON to its file and the text to the terminal, or JSON alone for '-'; the exit code."""
    from fwcore.outfile import Output
    from fwcore.result import laid_out

    made = laid_out(data) + "\n" if json_file else ""
    if json_file == "-":
        return exits.last(made, 0)

    def write(path: str) -> None:
        with Output(path) as output:
            output.write(made.encode())

    code = exits.attempt(write, json_file) if json_file else 0
    return exits.last(text(), code)
