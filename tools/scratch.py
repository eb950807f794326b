"""A copy of the project in a folder of its own, built with flags of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = (".*", "dist", "out", "site", "__pycache__", "*.egg-info")
BUILT = ("build", "*.so")       # the C that Cython made goes along, and is made anew where stale


def copy_to(folder: Path) -> Path:
    """Copies the checkout, without what was compiled, into a new folder."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*ELSEWHERE, *BUILT))
    return folder


def built_copy(folder: Path) -> Path:
    """Copies the checkout with its extensions as they are built, into a new folder."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*ELSEWHERE))
    return folder


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment in which ``import fwcore`` means the copy."""
    return os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"} | more


def build(
    folder: Path, cflags: str, ldflags: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Builds the copy's extensions in place; the caller looks at the return code."""
    return subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=folder,
        env=environment(folder, FWCORE_CFLAGS=cflags, FWCORE_LDFLAGS=ldflags, **more),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
