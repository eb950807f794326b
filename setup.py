"""Build of the one extension module; everything else about the package is in pyproject.toml.

    FWCORE_DEBUG=1                asserts of the data plane, and line tracing
    FWCORE_CFLAGS, FWCORE_LDFLAGS flags behind ours (sanitizers, mutants)

A change of these builds everything anew. No flag depends on the machine's model: one binary runs
on every x86-64, another on every aarch64.
"""

import os
import shlex
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FWCORE_DEBUG", "") not in ("", "0")
STAMP = Path("build", "flags.txt")
# Here and not in _fastpath.pyx, for from there they do not reach the .pxd files.
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": True,
}

macros = []
flags = ["-std=gnu11", "-fno-strict-aliasing", "-O1" if DEBUG else "-O3"]
if DEBUG:
    macros += [("FWCORE_DEBUG", "1"), ("CYTHON_TRACE_NOGIL", "1")]
    flags += ["-g"]
flags += shlex.split(os.environ.get("FWCORE_CFLAGS", ""))
links = shlex.split(os.environ.get("FWCORE_LDFLAGS", ""))

wanted = " ".join([*flags, *links])
force = STAMP.exists() and STAMP.read_text() != wanted
STAMP.parent.mkdir(exist_ok=True)
STAMP.write_text(wanted)

extension = Extension(
    "fwcore._fastpath",
    ["fwcore/_fastpath.pyx"],
    define_macros=macros,
    depends=sorted(map(str, [*Path("fwcore").glob("*.h"), *Path("fwcore").glob("*.pxd")])),
    extra_compile_args=flags,
    extra_link_args=links,
)

setup(
    options={"build_ext": {"force": True}} if force else {},
    ext_modules=cythonize(
        [extension],
        force=force,
        compiler_directives=DIRECTIVES | {"linetrace": DEBUG},
    ),
)
