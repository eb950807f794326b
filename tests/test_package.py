"""The package as others get it: metadata, stubs, what sdist and wheel contain, a run elsewhere."""

import ast
import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import tomllib
import venv
import zipfile
from enum import IntEnum
from pathlib import Path

import pytest
import typed_program
from frames import ethernet, ip, udp

import fwcore
from fwcore import errors

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import job  # noqa: E402 - in tools/
import oldest  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
STUBS = {path.stem: ast.parse(path.read_text()) for path in (ROOT / "fwcore").glob("*.pyi")}
LEFT = "_use"     # small, and cimported by others
COMPILED = sorted(path.stem for path in (ROOT / "fwcore").glob("*.pyx"))

TRY = """
import sys
import fwcore, fwcore.replay
from fwcore.capture import synth
assert "site-packages" in fwcore.__file__, fwcore.__file__
settings = fwcore.load("fortios-7", assignments=["max_connections=1000"])
result = fwcore.replay.replay(sys.argv[1], settings)
assert result["packets"] > 0 and all(result["laws"].values()), result["laws"]
print(result["packets"])
"""


def test_there_is_one_version():
    assert fwcore.__version__ == PROJECT["project"]["version"]
    assert f"## {fwcore.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_importing_fwcore_imports_nothing_heavy():
    code = "import sys, fwcore; print(*{'numpy', 'scapy', 'fwcore._layout'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, check=True,
                         capture_output=True)
    assert out.stdout.strip() == ""


def test_every_public_name_is_there():
    assert all(getattr(fwcore, name) is not None for name in fwcore.__all__)


def test_what_readers_of_types_see_is_what_there_is():
    """Names under TYPE_CHECKING, __all__ and where they are loaded from: one list."""
    tree = ast.parse((ROOT / "fwcore" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == fwcore._HOME
    assert {*seen, "__version__", "get_include"} == set(fwcore.__all__)
    errors_there = {name for name, value in vars(errors).items() if isinstance(value, type)}
    enums = {name for name, value in vars(compiled("_layout")).items()
             if isinstance(value, type) and issubclass(value, IntEnum)} - {"IntEnum"}
    assert errors_there | enums <= set(seen)


def test_a_program_with_strict_types_runs():
    frame = ethernet(ip("10.0.0.1", "192.0.2.53", 17, udp(5000, 53, 20)))
    assert typed_program.main(frame) == {"FORWARD NEW": 1, "FORWARD HIT": 1}


# --- stubs --------------------------------------------------------------------------------------


def compiled(name):
    return importlib.import_module(f"fwcore.{name}")


def stub_enums(stub):
    """Enum -> {member: number} as the stub says."""
    return {
        node.name: {item.targets[0].id: item.value.value for item in node.body
                    if isinstance(item, ast.Assign)}
        for node in stub.body
        if isinstance(node, ast.ClassDef) and [ast.unparse(b) for b in node.bases] == ["IntEnum"]
    }


def stub_names(body):
    """What a stub, or a class in it, declares; without what its methods are called by Python."""
    names = {node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    names |= {node.target.id for node in body if isinstance(node, ast.AnnAssign)}
    return _public(names)


def _public(names):
    return {name for name in names if not name.startswith("_")}


def test_every_compiled_module_has_a_stub():
    assert sorted(STUBS) == COMPILED


@pytest.mark.parametrize("name", COMPILED)
def test_the_stub_has_the_modules_enums(name):
    enums = {each: {member.name: member.value for member in value}
             for each, value in vars(compiled(name)).items()
             if isinstance(value, type) and issubclass(value, IntEnum) and value is not IntEnum}
    assert stub_enums(STUBS[name]) == enums


@pytest.mark.parametrize("name", COMPILED)
def test_the_stub_has_the_modules_names(name):
    names = _public(vars(compiled(name))) - {"IntEnum", "np"} - set(vars(errors))
    assert stub_names(STUBS[name].body) == names


@pytest.mark.parametrize("name", COMPILED)
def test_the_stub_has_the_methods_of_the_classes(name):
    for node in STUBS[name].body:
        if isinstance(node, ast.ClassDef) and not (
                {ast.unparse(base) for base in node.bases} & {"IntEnum", "NamedTuple"}):
            assert stub_names(node.body) == _public(vars(getattr(compiled(name), node.name)))


# --- sdist and wheel ----------------------------------------------------------------------------


def run(*command, **options):
    done = subprocess.run(
        [str(part) for part in command], text=True, capture_output=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution, built by the build backend that pyproject.toml names."""
    folder = tmp_path_factory.mktemp("sdist")
    code = ("import sys, setuptools.build_meta as backend;"
            "print(backend.build_sdist(sys.argv[1]))")
    env = os.environ | {"FWCORE_CFLAGS": "", "FWCORE_LDFLAGS": "", "FWCORE_DEBUG": ""}
    clone = tmp_path_factory.mktemp("tree")
    run("git", "-C", ROOT, "ls-files")  # fails outside of a checkout
    names = run("git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard")
    for name in names.splitlines():
        if (ROOT / name).exists():
            target = clone / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    name = run(sys.executable, "-c", code, folder, cwd=clone, env=env).splitlines()[-1]
    return folder / name


@pytest.mark.slow
def test_the_sdist_has_what_a_build_and_the_tests_need(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tree = {str(path.relative_to(ROOT)) for pattern in (
        "fwcore/*.py*", "fwcore/dataplane/*.*", "fwcore/capture/*.py", "fwcore/py.typed",
        "fwcore/personalities/*.toml", "pcaps/*.pcap*", "pcaps/*.toml", "tests/*.py",
        "tests/*.toml", "tools/*.py", "LICENSE", "README.md", "CHANGELOG.md", "Makefile",
    ) for path in ROOT.glob(pattern)}
    assert tree - names == set()
    assert [name for name in names if name.endswith((".so", ".pyc"))
            or (name.startswith("fwcore/") and name.endswith(".c"))] == []
    assert {"examples/c_loop.c", "examples/cython_loop.pyx", "fwcore/include/fwcore.h"} <= names


def unpacked(sdist, folder):
    """The tree of the source distribution, beside what the checkout has made of the same sources:
    a build then makes one module only, LEFT. `make job` builds all of it from nothing."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    tree, soon = next(folder.iterdir()), time.time() + 3600
    where = f"lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
    made = [*ROOT.glob("fwcore/_*.c"), *ROOT.glob("fwcore/_*.so"), *ROOT.glob("build/flags.txt")]
    for path in made:
        # An editable installation leaves them beside the sources; a build looks for them there.
        target = (tree / "build" / where if path.suffix == ".so" else tree) / path.relative_to(ROOT)
        if not path.name.startswith(f"{LEFT}."):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            os.utime(target, (soon, soon))      # newer than Cython's own files in the new place
    return tree


@pytest.mark.slow
def test_the_wheel_runs_in_an_empty_environment(sdist, tmp_path):
    """sdist -> wheel (build isolation) -> a new environment, with nothing of the checkout."""
    tree = unpacked(sdist, tmp_path / "tree")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, tree, cwd=tmp_path)
    assert (tree / "fwcore" / f"{LEFT}.c").exists()
    wheel = next(tmp_path.glob("fwcore-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"fwcore/py.typed", "fwcore/personalities/plain.toml",
            *(f"fwcore/{name}.pyi" for name in COMPILED)} <= set(names)
    assert sorted(name for name in names if name.endswith((".c", ".h", ".pxd", ".pyx"))) == [
        "fwcore/fastpath.pxd", "fwcore/include/fwcore.h"]
    assert [name for name in names if "test" in name] == []
    run(*pip, "install", wheel, cwd=tmp_path)
    packets = run(python, "-c", TRY, ROOT / "pcaps" / "web.pcap", cwd=tmp_path)
    assert int(packets) > 0
    the_documented_job(tmp_path / "env" / "bin", tmp_path / "checkout")


def the_documented_job(folder, checkout):
    """What docs/ci/gitlab.yml asks of fwcore, in a checkout whose own source was not built, with
    the least of benchmarks; `make job` does all of it, in an environment made as it says."""
    unbuilt = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
    shutil.copytree(ROOT / "fwcore", checkout / "fwcore", ignore=unbuilt)
    shutil.copytree(ROOT / "pcaps", checkout / "pcaps")
    (checkout / "ci").mkdir()
    keep, script = job.lines()
    for line in (keep, *(line for line in script if line.startswith("fwcore "))):
        line = line.replace("before/env/bin/python", str(folder / "python"))
        line = line.replace("--html report.html ", "")      # Bokeh is an extra
        assert "bench" not in line or "--guard" in line     # a minute or more, in make job only
        line = line.replace("--guard", "--quick --repeat 3 --only parse --fail-over 200%")
        program, *given = line.split()
        run(folder / program, *given, cwd=checkout)
    for name in ("outcome.xml", "speed.xml"):
        assert "<testsuite " in (checkout / name).read_text()


def test_metadata_names_what_the_classifiers_say():
    minimum = PROJECT["project"]["requires-python"].removeprefix(">=")
    listed = [text.rpartition(" ")[2] for text in PROJECT["project"]["classifiers"]
              if text.startswith("Programming Language :: Python :: 3.")]
    assert listed[0] == minimum
    assert listed == sorted(listed, key=lambda text: int(text.partition(".")[2]))
    try:
        found = importlib.metadata.metadata("fwcore")
    except importlib.metadata.PackageNotFoundError:
        return  # a checkout with the extension built in place
    assert found["License-Expression"] == "BSD-3-Clause"


def test_every_package_has_an_oldest_version():
    """Which tools/oldest.py runs the tests with."""
    limits = dict(each.split("==") for each in oldest.oldest())
    assert {"numpy", "scapy", "click", "cython", "setuptools", "pytest"} <= limits.keys()
    assert all(re.fullmatch(r"\d+(\.\d+)+\.\*", each) for each in limits.values())
