"""Build of the one extension module. ``FWCORE_DEBUG=1`` adds asserts and line tracing."""

import os
import shlex

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FWCORE_DEBUG", "") not in ("", "0")
HEADERS = ["fwcore/_layout.h", "fwcore/_platform.h", "fwcore/_bare.h"]

macros = [("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")]
flags = ["-std=gnu11", "-fno-strict-aliasing", "-O1" if DEBUG else "-O3"]
if DEBUG:
    macros += [("FWCORE_DEBUG", "1"), ("CYTHON_TRACE_NOGIL", "1")]
    flags += ["-g"]
flags += shlex.split(os.environ.get("FWCORE_CFLAGS", ""))
links = shlex.split(os.environ.get("FWCORE_LDFLAGS", ""))

extension = Extension(
    "fwcore._fastpath",
    ["fwcore/_fastpath.pyx"],
    define_macros=macros,
    depends=HEADERS,
    extra_compile_args=flags,
    extra_link_args=links,
)

setup(
    ext_modules=cythonize(
        [extension],
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
            "linetrace": DEBUG,
        },
    )
)
