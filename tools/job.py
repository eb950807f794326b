"""The documented CI job, done: every line of docs/ci/gitlab.yml in a fresh clone and environment.

    python tools/job.py [--keep FOLDER]

A clone of this checkout, as it is committed, whose branch point is the commit before; an empty
environment on PATH; a shell that ends at the first line that fails. Prints each line and how long
it took. Ends with 1 when a line fails or a report is missing. Needs the package index. What the
quick tests hold is less: that the command line takes the lines (tests/test_expect.py), and that the
wheel does what they ask for where the checkout's own source was not built (tests/test_package.py).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JOB = ROOT / "docs" / "ci" / "gitlab.yml"
BRANCH = "trunk"
"""What the clone calls the branch that the change came from."""


def lines() -> tuple[str, list[str]]:
    """What is done once and committed, and the lines of the job."""
    text = JOB.read_text()
    kept = re.search(r"^#   (fwcore .*)$", text, re.MULTILINE)
    script = text.partition("  script:\n")[2].partition("  artifacts:")[0]
    found = re.findall(r"^    - (.*)$", script, re.MULTILINE)
    if kept is None or len(found) < 2:
        raise SystemExit(f"{JOB}: has no script as this reads it")
    return kept[1], found


def cloned(folder: Path) -> Path:
    """A clone as CI has it: detached, and the branch of before under origin/."""
    checkout = folder / "checkout"
    git = ("git", "-C", str(checkout))
    subprocess.run(["git", "clone", "--quiet", "--no-local", str(ROOT), str(checkout)], check=True)
    subprocess.run([*git, "checkout", "--quiet", "--detach"], check=True)
    before = subprocess.run([*git, "rev-parse", "--quiet", "--verify", "HEAD~1"], text=True,
                            capture_output=True, check=False).stdout.strip() or "HEAD"
    subprocess.run([*git, "update-ref", f"refs/remotes/origin/{BRANCH}", before], check=True)
    return checkout


def run(folder: Path) -> int:
    checkout = cloned(folder)
    venv.create(folder / "env", with_pip=True)
    env = os.environ | {"PATH": f"{folder / 'env' / 'bin'}:{os.environ['PATH']}",
                        "CI_DEFAULT_BRANCH": BRANCH}
    env.pop("PYTHONPATH", None)
    keep, script = lines()
    (checkout / "ci").mkdir()
    for line in (script[0], keep, *script[1:]):
        begun = time.monotonic()
        code = subprocess.run(["bash", "-ec", line], cwd=checkout, env=env, check=False).returncode
        print(f"{time.monotonic() - begun:7.1f} s  exit {code}  {line}", flush=True)
        if code:
            return 1
    wanted = [name for name in ("report.html", "outcome.xml", "speed.xml")
              if not (checkout / name).is_file()]
    print(f"missing: {', '.join(wanted)}" if wanted else "it passes, and its reports are there")
    return int(bool(wanted))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there, and leave it")
    chosen = parser.parse_args(arguments)
    if chosen.keep:
        chosen.keep.mkdir(parents=True)
        return run(chosen.keep.resolve())
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder))


if __name__ == "__main__":
    sys.exit(main())
