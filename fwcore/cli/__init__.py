"""The command line: a file a command, and what they share.

    app        the root, how a command is checked before it runs
    options    the options that several commands share
    given      settings from those options
    exits      exit codes, and what a command says when it ends
    running    a replay with a progress line and signals that finish it

A command's file is imported when it is asked for, and what it needs when it runs: --help and a
replay are quick.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Sequence

import click

from fwcore import EXTENSIONS, terminal
from fwcore.cli.app import app
from fwcore.cli.exits import DEFECT, INTERRUPTED, USAGE, fail, last
from fwcore.errors import FwcoreError, PipeClosed
from fwcore.interruption import Interrupted, Taken, interrupt

__all__ = ["app", "main"]
NAME, COMPLETION = "fwcore", "_FWCORE_COMPLETE"
GARBAGE_OBJECTS = 100_000    # more are made than let go of before Python looks for cycles


ARGUMENTS = {"seed ": "--seed: ", "max_connections ": "--connections: ",
             "ipsec_max_tunnels ": "--tunnels: "}
"""How what is wrong with an argument of `load` begins, and the option that it came from."""


def _of_options(text: str) -> str:
    """What is wrong with an argument, as who typed it knows it."""
    if text.startswith("argument, pressure "):
        return f"--pressure {text.removeprefix('argument, pressure ')}"
    if not text.startswith("argument: "):
        return text
    text = text.removeprefix("argument: ")
    return next((option for name, option in ARGUMENTS.items() if text.startswith(name)), "") + text


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; the exit code."""
    _settle_in()
    terminal.hold_streams()
    try:
        with Taken(interrupt):
            return _run(sys.argv[1:] if argv is None else list(argv))
    except (BrokenPipeError, PipeClosed):
        return _unread()
    except FwcoreError as error:
        return fail(_of_options(str(error)), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        return last(error.format_message() + "\n", USAGE)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "fwcore"
        said = error.format_message().replace("not a valid integer range", "not a whole number")
        said = said.replace("not a valid integer", "not a whole number")
        return fail(f"{said} (see {command} --help)", USAGE)
    except click.ClickException as error:
        return fail(error.format_message(), USAGE)
    except Interrupted as signal:
        return fail(f"interrupted by {signal}", 128 + signal.number)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    except ImportError as error:
        return fail(str(error), USAGE) if error.name in EXTENSIONS else _defect(error)
    except MemoryError as error:
        return fail(": ".join(filter(None, (
            "not enough memory", str(error), "a smaller file, table or part of a capture (--limit)"
            " needs less"))), USAGE)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        terminal.silence()
        return fail(f"{where}{error.strerror or error}", USAGE)
    except Exception as error:
        return _defect(error)


def _settle_in() -> None:
    """What a process may have that is ours alone; a program that calls us has begun with NumPy."""
    if "numpy" in sys.modules:
        return
    # Nothing in here multiplies matrices, and OpenBLAS would start a thread a core, which spin
    # beside those that read and judge: 8 million packets took 1.45 s, and 1.05 with one thread.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What is imported stays: Python went through it dozens of times looking for garbage, a fifth
    # of the time to the first packet, and twice more at its end.
    gc.set_threshold(GARBAGE_OBJECTS)
    atexit.register(gc.freeze)


def _run(argv: list[str]) -> int:
    """Without click's own main, which makes 1 of a closed pipe and hides which signal it was."""
    wanted = os.environ.get(COMPLETION)
    if wanted:
        from click.shell_completion import shell_complete

        return shell_complete(app, {}, NAME, COMPLETION, wanted)
    try:
        with app.make_context(NAME, argv) as context:
            code = app.invoke(context)
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    if sys.stdout is not None:
        sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _unread() -> int:
    """Nobody reads on, which needs no words."""
    terminal.silence()
    return PipeClosed.exit_code


def _defect(error: Exception) -> int:
    """A mistake of ours: one line too, unless FWCORE_DEBUG asks for the whole story."""
    if os.environ.get("FWCORE_DEBUG"):
        raise error
    what = f"{type(error).__name__}: {error}"
    return fail(f"{what} - a defect of fwcore; FWCORE_DEBUG=1 shows where", DEFECT)
