"""The tests with the oldest packages that pyproject.toml allows, in a clone and environment of
their own: what is committed.

    python tools/oldest.py [--list] [--jobs 2] [TESTS ...]

What is asked for as >=2.0 is taken as ==2.0.*, also where the package is built; what these ask for
themselves is new, so that they may be told of what is deprecated there. `--list` prints the limits
and does nothing else. Ends as pytest does. Needs the package index.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

from job import ROOT, cloned

ASKED = re.compile(r"([\w.-]+)(?:\[.*\])?>=([\d.]+)")


def oldest() -> list[str]:
    """A line for each package that this project asks for, for pip's constraints."""
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [text["build-system"]["requires"], text["project"]["dependencies"],
             *text["project"]["optional-dependencies"].values()]
    found = {}
    for each in (each for group in asked for each in group if not each.startswith("fwcore[")):
        named = ASKED.match(each)
        if named is None:
            raise SystemExit(f"pyproject.toml: {each!r} names no oldest version")
        name, version = named.groups()
        found[name] = f"{name}=={version}{'' if '.' in version else '.0'}.*"
    return sorted(found.values())


def run(folder: Path, jobs: int, tests: Sequence[str]) -> int:
    limits = folder / "oldest.txt"
    limits.write_text("\n".join(oldest()) + "\n")
    checkout = cloned(folder)
    venv.create(folder / "env", with_pip=True)
    python = str(folder / "env" / "bin" / "python")
    env = os.environ | {"PIP_CONSTRAINT": str(limits)}
    env.pop("PYTHONPATH", None)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    "--editable", ".[test]"], cwd=checkout, env=env, check=True)
    return subprocess.run(
        [python, "-m", "pytest", "-q", "-n", str(jobs), "--dist", "worksteal",
         "--benchmark-disable", "-W", "ignore::DeprecationWarning", *tests],
        cwd=checkout, env=env, check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=" ".join(__doc__.partition("\n\n")[0].split()))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("tests", nargs="*")
    chosen = parser.parse_args(arguments)
    if chosen.list:
        print("\n".join(oldest()))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), chosen.jobs, chosen.tests)


if __name__ == "__main__":
    sys.exit(main())
