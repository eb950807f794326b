"""Build of the extension modules; everything else about the package is in pyproject.toml.

    FWCORE_DEBUG=1                asserts of the data plane, and line tracing
    FWCORE_CFLAGS, FWCORE_LDFLAGS flags behind ours (sanitizers, mutants)

A change of these builds everything anew. Modules are compiled side by side, without debugging
information unless FWCORE_DEBUG asks for it: half the time. No flag depends on the machine's
model: one binary runs on every x86-64, another on every aarch64.
"""

import os
import shlex
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FWCORE_DEBUG", "") not in ("", "0")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
STAMP = Path("build", "flags.txt")
# Here and not in the .pyx files, for from there they do not reach the .pxd files.
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": True,
}

# What a header includes, Cython does not see.
HEADERS = sorted(map(str, Path("fwcore", "dataplane").glob("*.h")))

macros = []
# What compilers of today refuse (gcc from 14, clang from 16), those of before refuse too.
REFUSED = [f"-Werror={what}" for what in (
    "incompatible-pointer-types", "int-conversion", "implicit-function-declaration", "return-type")]
flags = ["-std=gnu11", "-fno-strict-aliasing", *REFUSED,
         *(("-O1", "-g") if DEBUG else ("-O3", "-g0"))]
if DEBUG:
    macros += [("FWCORE_DEBUG", "1"), ("CYTHON_TRACE_NOGIL", "1")]
extra = shlex.split(os.environ.get("FWCORE_CFLAGS", ""))
links = shlex.split(os.environ.get("FWCORE_LDFLAGS", ""))

wanted = " ".join([*flags, *extra, *links])
force = STAMP.exists() and STAMP.read_text() != wanted
STAMP.parent.mkdir(exist_ok=True)
STAMP.write_text(wanted)

extensions = [
    Extension(
        f"fwcore.{path.stem}",
        [str(path)],
        define_macros=macros,
        include_dirs=["fwcore/include"] if path.stem == "_capi" else [],
        depends=[*HEADERS, "fwcore/include/fwcore.h"] if path.stem == "_capi" else HEADERS,
        # The bare loop is the yardstick: what is tried on the others must not move it.
        extra_compile_args=flags if path.stem == "_bare" else [*flags, *extra],
        extra_link_args=links,
    )
    for path in sorted(Path("fwcore").glob("*.pyx"))
]

# What builds nothing needs no C: a source distribution, or its metadata.
BUILDS = not {"sdist", "egg_info", "dist_info"} & set(sys.argv)

setup(
    options={"build_ext": {"parallel": CORES} | ({"force": True} if force else {})},
    ext_modules=cythonize(
        extensions,
        force=force,
        compiler_directives=DIRECTIVES | {"linetrace": DEBUG},
        use_listing_file=1,  # what Cython said of each module, for tests/test_style.py
    ) if BUILDS else extensions,
)
